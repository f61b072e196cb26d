/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * An exchange that the agent has for a request of somebody else: a stream whose client is the agent
 * itself. It takes the ways of every other stream to an endpoint (balancing, pools, both protocols,
 * timeouts), and has a task, memory and a fate of its own: what becomes of it never touches the
 * main stream but through the callbacks below. Not logged, not among the requests in metrics.
 * Private to proxy/.
 */
#include "proxy/state.h"

struct sl_side;

struct sl_side_ops {
	/* side->stream->res is the head of the answer. */
	void (*head)(struct sl_side *side);
	/* There was none, or not all of it. side->stream->end says why. */
	void (*fail)(struct sl_side *side);
	/* The first n bytes of from; does not take them. Returns 0, or -errno to hear no more. */
	int (*body)(struct sl_side *side, const struct sl_buf *from, size_t n);
	/* It is over, and freed behind this. */
	void (*end)(struct sl_side *side);
};

struct sl_side {
	const struct sl_side_ops *ops;
	struct sl_stream *stream; /* its own; the side lives in its arena */
	struct sl_stream *main;	  /* NULL: has ended, or is not waited for any more */
	struct sl_side *next;	  /* of main's mirrors */
	struct sl_list node;	  /* of its source */
	struct sl_buf body;	  /* of the request: to be sent */
	bool body_ended;
	bool answered;	/* the final head has come */
	bool is_mirror; /* counted in proxy->n_mirrors */
};

/* A stream that begins with the next wake; request, upstream_key and side->main are the caller's to
 * set. NULL: out of memory. */
struct sl_side *sl_side_new(struct sl_proxy_source *src, const struct sl_side_ops *ops);
/* All of the request is in side->body; from now on it has that long. */
void sl_side_end_body(struct sl_side *side, uint64_t timeout_ns);
/* Away with it at once, without a callback. Not from one. */
void sl_side_cut(struct sl_side *side);
