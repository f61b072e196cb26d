/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* A client's connection in HTTP/2. Private to proxy/. */
#include "proxy/state.h"

enum sl_down_h2_wait {
	SL_DOWN_H2_IDLE,  /* a request */
	SL_DOWN_H2_HEAD,  /* the end of a head that has begun */
	SL_DOWN_H2_LEAVE, /* the client to have heard of the first GOAWAY */
	SL_DOWN_H2_PING,  /* the time to ask whether the client is still there */
};

struct sl_down_h2 {
	struct sl_h2 *session;
	struct sl_list streams; /* sl_stream.node */
	uint32_t n_streams;
	uint32_t n_requests;   /* of the conn, when the clock was set */
	struct sl_turns turns; /* of the conn's task */
	struct sl_debtor debtor;
	enum sl_down_h2_wait wait;
	enum sl_end_reason reason; /* why streams are cut; 0: the client closed */
	uint64_t pinged_at_bytes;
	uint64_t n_refused; /* of the session, as counted */
	bool upgraded;	    /* began as HTTP/1.1: the client did not know what it would meet */
	bool leaving, left; /* sent the first GOAWAY, the second */
	bool abused, half_closed;
	bool over;	/* the session is: what is queued goes out */
	bool too_heavy; /* see shed.c: it goes at once */
};

/* A stream's part of the session, in its arena. */
struct sl_down_h2_stream {
	struct sl_h2_stream h2;
	struct sl_stream *stream;
};
