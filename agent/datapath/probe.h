/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * What the running kernel can do for Sluice, by trying it, never by its version. Needs no running
 * agent and leaves nothing behind. For `sluicectl check` and for the loader's messages.
 * Thread: any, one at a time (some probes load programs).
 */
#include <stdbool.h>
#include <stddef.h>

#define SL_PROBE_MESSAGE 200

struct sl_probe {
	const char *name; /* "kernel_btf"; static */
	bool required;	  /* the agent does not start without it */
	bool ok;
	char message[SL_PROBE_MESSAGE]; /* what was found, or what is missing and the remedy */
};

#define SL_PROBE_MAX 32

/* Fills probes[0 .. return value). cgroup_path: where the agent would attach, NULL: the cgroup2
 * mount. Never fails: what cannot be tried is not ok and says why. */
size_t sl_probe_run(const char *cgroup_path, struct sl_probe probes[SL_PROBE_MAX]);
/* True when every required one is ok. */
bool sl_probe_passed(const struct sl_probe *probes, size_t n);
