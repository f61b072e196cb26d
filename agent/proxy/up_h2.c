/* SPDX-License-Identifier: Apache-2.0 */
/* The endpoint's side of HTTP/2: an exchange on a connection that others share. */
#include <errno.h>
#include "http/websocket.h"
#include "proxy/mux.h"

/*
 * appProtocol of the backend's port decides (GEP-1911). Where it says nothing, the client does: one
 * that spoke HTTP/2 without being asked to expects servers that do, as without a mesh. What HTTP/1
 * alone can carry (a WebSocket, where nothing says that the server takes RFC 8441) goes in HTTP/1,
 * what HTTP/2 alone can carry (gRPC, all that a GRPCRoute leads on) in HTTP/2. In TLS that is what
 * is offered, and HTTP/1.1 where nothing is said: servers of TLS know it, whatever else they know.
 */
const struct sl_up_ops *sl_up_choose(const struct sl_stream *s, const struct sl_upstream *up)
{
	bool tls = s->rule && up->tls;

	/* Under shadow routes alone, as without a mesh, whatever was declared. */
	if (s->trial && !s->table)
		return s->req.version == 20 && !s->conn_upgraded ? &sl_up_h2 : &sl_up_h1;
	if (up->app_protocol == SL_APP_H2C)
		return &sl_up_h2;
	if (s->req.upgrade.ptr || s->req.method == SL_METHOD_CONNECT)
		return &sl_up_h1;
	if (s->req.version == 20 && !s->conn_upgraded && !tls && up->app_protocol == SL_APP_UNKNOWN)
		return &sl_up_h2;
	if (s->table && s->table->kind == SL_ROUTE_GRPC)
		return &sl_up_h2;
	return s->is_grpc ? &sl_up_h2 : &sl_up_h1;
}

static int open_exchange(struct sl_stream *s, const struct sl_addr *endpoint, enum sl_reuse reuse)
{
	struct sl_exchange *x = sl_arena_new(&s->arena, struct sl_exchange);
	int r;

	if (!x)
		return -ENOMEM;
	x->stream = s;
	x->h2.arena = &s->arena;
	x->h2.req = &s->req;
	x->h2.trailers = &s->res_trailers;
	r = sl_mux_lease(x, endpoint, reuse == SL_REUSE_NEVER);
	if (r)
		return r;
	s->attempt.x = x;
	s->attempt.up = x->mux->up;
	return 0;
}

static int ready(struct sl_stream *s)
{
	return sl_mux_ready(s->attempt.x);
}

static int write_head(struct sl_stream *s)
{
	struct sl_exchange *x = s->attempt.x;
	int r;

	/* A server may leave an upgrade aside, and so may who speaks for it. But a client of HTTP/2
	 * asked for nothing else. */
	if (s->req.upgrade.ptr && !sl_h2_takes_protocols(x->mux->session)) {
		if (s->req.version == 20)
			return -EOPNOTSUPP;
		s->req.upgrade = SL_STR_NULL;
	}
	r = sl_h2_request(x->mux->session, &x->h2);
	sl_mux_wake(x->mux);
	return r;
}

static int write_body(struct sl_stream *s, struct sl_buf *from, size_t n)
{
	return sl_h2_write(&s->attempt.x->h2, from, n);
}

static int write_end(struct sl_stream *s)
{
	/* What follows the request belongs to the tunnel, should there be one. */
	if (!s->tunnel && (s->req.upgrade.ptr || s->req.method == SL_METHOD_CONNECT))
		return 0;
	return sl_h2_end(&s->attempt.x->h2, &s->req_trailers);
}

static bool full(const struct sl_stream *s)
{
	return sl_h2_full(&s->attempt.x->h2);
}

static bool flush(struct sl_stream *s)
{
	sl_mux_wake(s->attempt.x->mux);
	return false; /* it does so later */
}

static bool sent(const struct sl_stream *s)
{
	return s->attempt.x->h2.closed;
}

/* What HTTP/1 says with 101 is a 200 here (RFC 8441 section 5). */
static int make_switch(struct sl_stream *s)
{
	const struct sl_header *key = sl_headers_find(&s->req.headers, SL_STR("sec-websocket-key"));
	char accept[SL_WEBSOCKET_ACCEPT_TEXT];
	struct sl_str text;

	s->res.status = 101;
	s->res.upgrade = s->req.upgrade;
	if (!key || !sl_str_ieq(s->req.upgrade, SL_STR("websocket")))
		return 0;
	if (sl_websocket_accept(key->value, accept))
		return -EINVAL;
	if (sl_arena_str(&s->arena, sl_str_from(accept), &text))
		return -ENOMEM;
	return sl_headers_set(&s->res.headers, &s->arena, SL_STR("Sec-WebSocket-Accept"), text);
}

static bool begin_tunnel(struct sl_stream *s)
{
	return !s->attempt.x->h2.ended_out;
}

/* Returns true on progress. */
static bool read_head(struct sl_stream *s)
{
	struct sl_exchange *x = s->attempt.x;
	const struct sl_response *res = sl_h2_next_head(&x->h2);
	int r = 0;

	if (!res)
		return false;
	sl_answer_first_byte(s);
	s->res = *res;
	if (res->status >= 200)
		x->mux->served = true;
	if (s->req.upgrade.ptr && res->status / 100 == 2)
		r = make_switch(s);
	if (r == -ENOMEM)
		sl_stream_reply(s, 503, SL_END_INTERNAL);
	else if (r)
		sl_answer_bad(s);
	else
		sl_answer_head(s);
	return true;
}

static bool read_body(struct sl_stream *s)
{
	struct sl_h2_stream *st = &s->attempt.x->h2;
	size_t n = sl_buf_len(&st->in);

	if (n) {
		if (s->down->write_body(s, &st->in, n)) {
			s->down->abort(s, SL_END_INTERNAL);
			return true;
		}
		sl_h2_took(st, n);
		sl_mux_wake(s->attempt.x->mux);
		return true;
	}
	if (!st->ended_in || s->res_ended)
		return false;
	s->res_body.done = true;
	sl_answer_end(s);
	return true;
}

/* Before the head of an answer. */
static void lost(struct sl_stream *s)
{
	const struct sl_exchange *x = s->attempt.x;

	if (x->h2.error == SL_H2_REFUSED_STREAM && x->h2.closed)
		sl_attempt_lost(s, SL_LOST_UNTOUCHED);
	else if (!x->mux->session && x->was_served)
		sl_attempt_lost(s, SL_LOST_STALE);
	else if (x->mux->session && !x->h2.reset_by_peer)
		sl_answer_bad(s);
	else
		sl_attempt_lost(s, SL_LOST_SENT);
}

static bool read_answer(struct sl_stream *s)
{
	struct sl_h2_stream *st = &s->attempt.x->h2;
	bool progress = false;

	while (s->state == SL_STREAM_WAITING && read_head(s))
		progress = true;
	if (s->state == SL_STREAM_WAITING && st->closed) {
		lost(s);
		return true;
	}
	if (s->state != SL_STREAM_RESPONDING || s->down->full(s))
		return progress;
	if (read_body(s))
		return true;
	if (s->tunnel && st->closed && s->res_ended) {
		s->req_ended = true; /* what the client still sends has nowhere to go */
		sl_answer_end(s);
		return true;
	}
	if (st->closed && !st->ended_in) {
		s->reset_code = st->reset_by_peer ? st->error : SL_H2_NO_ERROR;
		s->down->abort(s, st->reset_by_peer || !s->attempt.x->mux->session
					  ? SL_END_UPSTREAM_CLOSED
					  : SL_END_UPSTREAM_INVALID);
		return true;
	}
	return progress;
}

/* The stream is reset, the connection goes on. */
static bool skip(struct sl_stream *s)
{
	return false;
}

static void release(struct sl_stream *s, bool reusable)
{
	struct sl_exchange *x = sl_take(s->attempt.x);

	s->attempt.up = NULL;
	sl_mux_release(x);
}

const struct sl_up_ops sl_up_h2 = {
	.open = open_exchange,
	.ready = ready,
	.write_head = write_head,
	.write_body = write_body,
	.write_end = write_end,
	.full = full,
	.flush = flush,
	.sent = sent,
	.read = read_answer,
	.begin_tunnel = begin_tunnel,
	.skip = skip,
	.release = release,
};
