/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * A connection to an endpoint in HTTP/2, shared by streams of one worker and one source namespace.
 * While it takes further streams it is in the pool; one that does not (its endpoint or namespace
 * went, GOAWAY, an error) serves those it has and closes. Private to proxy/.
 */
#include "proxy/state.h"

struct sl_mux {
	struct sl_shared shared;
	struct sl_proxy *proxy;
	struct sl_upconn *up;  /* its own */
	struct sl_h2 *session; /* NULL: the connection is over */
	struct sl_list leases; /* sl_exchange.node */
	uint32_t n_leases;
	struct sl_task task;
	struct sl_turns turns;
	struct sl_debtor debtor;
	struct sl_timer timer; /* idle, or keep-alive while there are leases */
	uint64_t deadline_ns;  /* for the connection and the peer's SETTINGS */
	uint64_t pinged_at_bytes;
	uint64_t buffered_bytes; /* as the proxy has counted it */
	int error;		 /* -errno that it ended with */
	bool connected;
	bool settled; /* when it ended, the peer had said SETTINGS: it was one of HTTP/2 */
	bool served;  /* an answer has come on it */
	bool retired; /* takes no further streams */
	bool timed_out;
};

/* A stream's part of it: waiting for the connection, then open. */
struct sl_exchange {
	struct sl_h2_stream h2;
	struct sl_list node;
	struct sl_stream *stream;
	struct sl_mux *mux;
	bool was_served; /* the mux had served others when this began */
};

/* One that has room, or a new one. x->stream is set. fresh: only one that nobody has used. Returns
 * 0 or -errno. */
int sl_mux_lease(struct sl_exchange *x, const struct sl_addr *endpoint, bool fresh);
/* Whether a request can be sent on it: 0, or as struct sl_up_ops.ready. */
int sl_mux_ready(const struct sl_exchange *x);
/* The lease ends; an exchange that is not over is reset. */
void sl_mux_release(struct sl_exchange *x);
/* Something is to be sent. */
void sl_mux_wake(struct sl_mux *m);
