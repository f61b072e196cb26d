/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Splicing as core sees it: opens the kernel half, answers the workers' questions by it, and has
 * the kernel look at sockets (a pass) off the workers: one network namespace at a time, seldom
 * enough that passes cost at most about a hundredth of a core (a twentieth while somebody waits).
 *
 * Thread: control, unless a function says otherwise.
 */
#include "base/buf.h"
#include "obs/metrics.h"
#include "proxy/proxy.h"

struct sl_control;
struct sl_splicer;

enum sl_splice_mode {
	SL_SPLICE_MODE_OFF,
	SL_SPLICE_VOUCHED, /* where an annotation of the Service or the Pod says so */
	SL_SPLICE_ON,	   /* all, where there is a detector; else as VOUCHED */
	SL_SPLICE_FORCE,   /* all, also without a detector */
};

/* Before the workers start, with the datapath open. When the kernel cannot it says so in the log,
 * and *ret stays NULL, which all functions here accept; off (of that size) gets the reason. Returns
 * 0 or -ENOMEM. */
int sl_splicer_open(struct sl_control *c, struct sl_splicer **ret, char *off, size_t len);
/* No more passes: afterwards nothing is posted to the control's mailbox. Workers must be gone.
 * Returns false when a pass does not end: mailbox and splicer must stay then. */
bool sl_splicer_stop(struct sl_splicer *s);
/* After that. */
void sl_splicer_close(struct sl_splicer *s);

/* What a worker's proxy is given: all zero when splicing is off. */
struct sl_splice_host sl_splicer_host(struct sl_splicer *s, uint32_t worker);

struct sl_splicer_stats {
	const char *detector; /* "fentry", "none", ... */
	uint64_t n_passes, passes_ns, n_looks;
};
struct sl_splicer_stats sl_splicer_stats(const struct sl_splicer *s);
