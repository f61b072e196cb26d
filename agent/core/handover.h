/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * One process of sluiced takes over from another without a connection lost
 * (docs/architecture/upgrade.md has the picture). handover.c is the side of the old process,
 * takeover.c that of the new one.
 *
 * Thread: control, unless a function says any.
 */
#include "core/state.h"

/* The handover socket's path; the caller frees it. NULL: out of memory. */
char *sl_handover_path(const struct sl_options *opts);

/* ---- the old process ---- */

/* Wait for a process that wants to take over. inherited: the listening socket of the process
 * before, taken in any case; -1: make one. Returns 0, or -errno after saying why. */
int sl_handover_open(struct sl_control *c, int inherited);
/* Another process has the socket: closing leaves its file. */
void sl_handover_leave(struct sl_control *c);
/* What is under way is given up; then the other process fails. No-op when not open. */
void sl_handover_close(struct sl_control *c);
/* SIGTERM. True: this process is about to end, or will know whether it has to. */
bool sl_handover_ends(struct sl_control *c);
/* Another process has taken over and was given everything, and SIGTERM has not come. */
bool sl_handover_is_over(const struct sl_control *c);
/* host.give(). Thread: any worker. */
int sl_handover_give(struct sl_control *c, const struct sl_handed *h);

/* ---- the new process ---- */

enum { SL_TAKEOVER_NOBODY = 1 };

/* Ask the process that runs for what it has. Returns 0 (c->passive is set: be ready, change
 * nothing), SL_TAKEOVER_NOBODY when none runs, or -errno after saying why. */
int sl_takeover_begin(struct sl_control *c);
/* The loop, the datapath and the workers are there: go on in the loop. Returns 0 or -errno. */
int sl_takeover_watch(struct sl_control *c);
/* A snapshot is in force: this process could serve at once. */
void sl_takeover_prepared(struct sl_control *c);
/* Accepts that there is none. */
void sl_takeover_close(struct sl_control *c);
/* The listeners of a network namespace: moves them into s. False: there are none. */
bool sl_takeover_claim(struct sl_control *c, struct sl_served *s);
/* host.ask_before(). Thread: any worker. */
bool sl_takeover_ask(struct sl_control *c, const struct sl_proxy_accepted *a);
