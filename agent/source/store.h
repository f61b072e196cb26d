/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * All files of a folder and the model that they make together. Knows nothing of watching: the
 * folder says when to look again. Private to this folder. Thread: control.
 */
#include "resource/model.h"
#include "source/file.h"
#include "source/folder.h"
#include "source/index.h"

struct sl_store {
	char *root;
	struct sl_map files; /* by path relative to root */

	/* Called for each folder before it is read; returns 0, or -errno when it cannot be watched,
	 * which is reported. May be NULL. */
	int (*on_folder)(void *arg, const char *rel, const char *path);
	void *arg;

	struct sl_model *model; /* of the last load; the same one all the time */
	struct sl_diags diags;	/* of everything, as it belongs to model */
	struct sl_config_report report;

	struct sl_index index;
	struct sl_list touched;	 /* files to look at, if nothing else happened */
	struct sl_list troubled; /* files with diags */
	size_t n_documents;

	bool dirty;	 /* something changed that model does not show yet */
	bool rescan;	 /* the next load looks everywhere, not only at what was touched */
	bool scanned;	 /* the last one did */
	bool unwatched;	 /* a folder of it is not watched: likewise */
	bool has_links;	 /* events do not tell all that may have changed: always look everywhere */
	bool incomplete; /* the last scan could not look everywhere: nothing is taken as gone */
	uint64_t retry_ns;	  /* look again then, a file is being written; 0: no need */
	struct sl_diags problems; /* of the scan itself */
	uint64_t problems_hash;

	bool force;	 /* of the load that is going on */
	uint64_t now_ns; /* likewise */
};

/* How long a file that is being written is left alone; a writer that takes longer is not waited
 * for. */
#define SL_STORE_PATIENCE_NS (10 * SL_NS_PER_S)

int sl_store_init(struct sl_store *s, const char *root);
void sl_store_deinit(struct sl_store *s);

enum { SL_STORE_SAME = 1 };
/*
 * Look at the files that were touched, or at the whole folder (force: read everything, also what is
 * being written), and bring model and diags to it if there was a change. Returns 0, SL_STORE_SAME,
 * or -errno (-ENOMEM: model and diags are as before, the change is not forgotten; others, first
 * load only: the folder cannot be read).
 */
int sl_store_load(struct sl_store *s, bool force, uint64_t now_ns);
/* Something happened to the file. */
void sl_store_touch(struct sl_store *s, struct sl_file *f);
/* The file of that path, made if need be. 0 or -ENOMEM. */
int sl_store_file(struct sl_store *s, struct sl_str path, struct sl_file **ret);
