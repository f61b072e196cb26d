/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What takeover.c and takeover_offer.c share. Thread: control. */
#include "core/handover.h"
#include "core/handover_channel.h"

enum sl_takeover_stage { PREPARING, ASKING, ACTING, TAKING };

/* The listeners of one network namespace. */
struct sl_inherited {
	uint64_t cookie;
	uint16_t port4, port6, n_addr4;
	unsigned n_fds;
	int fds[SL_MAX_LISTENERS];
};

struct sl_takeover {
	struct sl_control *control;
	enum sl_takeover_stage stage;
	struct sl_channel *channel; /* NULL: the old process has died */
	struct sl_map sources;	    /* cookie -> struct sl_inherited, not claimed yet */
	int handover_fd, lock;
	bool ready;  /* a snapshot is in force */
	bool yields; /* the old process says when it accepts no more */
	uint64_t asked_ns, died_ns;
	struct sl_timer timer;
	atomic_bool knows; /* the old process can be asked about connections */
	size_t n_conns, n_pooled;
};

/* takeover_offer.c: what is said before there is a loop. */

/* Returns 0, SL_TAKEOVER_NOBODY when no process runs, or -errno. */
int sl_takeover_dial(const struct sl_options *opts, int *ret_fd);
int sl_takeover_say_hello(struct sl_takeover *t);

enum { SL_OFFER_COMPLETE = 1 };
/* Returns SL_OFFER_COMPLETE, -EPIPE when the old process died, or -errno. */
int sl_takeover_receive_offer(struct sl_takeover *t);
