/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What handover.c and handover_give.c share. Thread: control. */
#include "core/handover.h"
#include "core/handover_channel.h"

enum sl_handover_stage { IDLE, HELLO, OFFERED, PAUSED, GIVING, ENDING };

struct sl_handover {
	struct sl_control *control;
	char *path;
	dev_t dev; /* of the socket's file, while it is ours */
	ino_t ino;
	int listen_fd;
	struct sl_watch listen;

	enum sl_handover_stage stage;
	struct sl_channel *channel;
	struct sl_timer timer;
	atomic_uint session; /* which one; in the ids that workers give */
	int peer;	     /* pidfd of the new process; -1: not to be had */
	uint32_t peer_abi;
	uint64_t until_ns, not_before_ns; /* GIVING */
	bool asked;			  /* every worker has begun to give */
	bool term;			  /* SIGTERM came */
};

/* handover_give.c: connections on their way. Ids begin with the session and the worker. */
enum { SL_HANDOVER_WORKER_SHIFT = 40, SL_HANDOVER_SESSION_SHIFT = 56 };
/* Orders to all workers. */
void sl_handover_begin_giving(struct sl_handover *h);
/* Frames of the new process: HAS and ACCEPTED. */
void sl_handover_on_has(struct sl_handover *h, const struct sl_wire_frame *f);
void sl_handover_on_accepted(struct sl_handover *h, struct sl_received *r);
