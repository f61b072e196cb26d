/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Walk a folder for configuration files. Names starting with "." are left out, which makes a
 * Kubernetes ConfigMap volume (visible links through a hidden ..data) look like plain files. Links
 * to files are followed; links to folders only inside the root, so that no link can drag in the
 * rest of the disk. Private to this folder. Thread: control.
 */
#include "base/str.h"

struct sl_scan_sink {
	void *arg;
	/* Before a folder is read, so that a watch misses nothing. rel is "" for the root. 0 or
	 * -errno (ends the scan). */
	int (*on_folder)(void *arg, const char *rel, const char *path);
	/* A configuration file. 0 or -errno (ends the scan). */
	int (*on_file)(void *arg, const char *rel, const char *path);
	/* Something is there under another name too: a link, or a file with several names. */
	void (*on_link)(void *arg);
	/* A part of the tree could not be looked at. */
	void (*on_problem)(void *arg, const char *rel, const char *message);
};

/* Whether a file of this name is configuration. */
bool sl_scan_wants(const char *name);
/* Returns 0, -errno of the root itself (nothing was called but on_folder), or what a callback
 * returned. */
int sl_scan(const char *root, const struct sl_scan_sink *sink);
