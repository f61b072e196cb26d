/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * A client or a server in HTTP/2 that the test plays over a rig_peer. Each request is a call; what
 * came of it is in its h2, req and trailers.
 */
#include "rig.h"

enum { H2_SIDE_CALLS = 16 };

struct h2_call {
	struct sl_h2_stream h2; /* first: events find it so */
	struct sl_arena arena;
	struct sl_request req;
	struct sl_headers trailers;
};

struct h2_side {
	struct rig_peer peer;
	struct sl_h2 *session;
	struct sl_h2_limits limits; /* as SL_H2_LIMITS_DEFAULT unless set before */
	struct sl_buf out;
	struct h2_call calls[H2_SIDE_CALLS];
	unsigned n_calls;
	bool deaf; /* nothing is read */
	bool mute; /* nothing is sent */
	int error; /* of sl_h2_recv() */
};
#define H2_SIDE_INIT ((struct h2_side){.peer = RIG_PEER_INIT, .limits = SL_H2_LIMITS_DEFAULT})

void h2_side_connect(struct rig *r, struct h2_side *s);
void h2_side_accept(struct rig *r, struct rig_backend *b, struct h2_side *s);
/* A session over the peer that is there. */
void h2_side_begin(struct h2_side *s, enum sl_h2_role role);
/* Closes it. Fine twice. */
void h2_side_deinit(struct h2_side *s);
/* What came, and what is to be sent. */
void h2_side_turn(struct h2_side *s);

/* One round with the sides; NULL ends them. */
void h2_round(struct rig *r, struct h2_side *const sides[]);
/* Turns until cond holds; a failed wait names it. */
#define h2_until(r, sides, cond)                                              \
	do {                                                                  \
		uint64_t deadline_ = 0;                                       \
		while (!(cond)) {                                             \
			cr_assert(rig_waiting((r), &deadline_), "%s", #cond); \
			h2_round((r), (sides));                               \
		}                                                             \
	} while (0)
/* Some rounds in which nothing else is to happen. */
void h2_settle(struct rig *r, struct h2_side *const sides[]);

/* A request without a body; more can be said before h2_ask(). */
struct h2_call *h2_prepare(struct h2_side *s, const char *method, const char *path);
void h2_ask(struct h2_side *s, struct h2_call *c);
struct h2_call *h2_get(struct h2_side *s, const char *path);
/* 200 with a body of that text, and the end. */
void h2_answer(struct h2_call *c, const char *text);
/* Status of the next head, 0 when there is none. */
unsigned h2_status(struct h2_call *c);
bool h2_has(const struct h2_call *c, const char *text);
