/* SPDX-License-Identifier: Apache-2.0 */
/* The endpoint's side of HTTP/1: requests out, responses in. The connection is the stream's own. */
#include <errno.h>
#include "http/h1_write.h"
#include "http/websocket.h"
#include "proxy/state.h"
#include "upstream/random.h"

static int open_conn(struct sl_stream *s, const struct sl_addr *endpoint, enum sl_reuse reuse)
{
	const struct sl_dial dial = {.endpoint = *endpoint,
				     .reuse = reuse,
				     .lease = &s->attempt.lease,
				     .tls = s->attempt.tls,
				     .protocol = SL_TLS_HTTP1};
	int r = sl_upconn_open(s->conn->source, &dial, s->wakes, &s->attempt.up);

	if (!r)
		s->attempt.up->n_exchanges++;
	return r;
}

static int ready(struct sl_stream *s)
{
	return sl_sock_connected(&s->attempt.up->sock);
}

/* A client of HTTP/2 does not make the handshake that HTTP/1 needs (RFC 8441 section 5). */
static int add_websocket_key(struct sl_stream *s)
{
	uint8_t nonce[SL_WEBSOCKET_NONCE_BYTES];
	char key[SL_WEBSOCKET_KEY_TEXT];

	for (size_t i = 0; i < sizeof(nonce); i += sizeof(uint64_t)) {
		uint64_t random = sl_random_next(&s->conn->proxy->random);

		memcpy(nonce + i, &random, sizeof(random));
	}
	sl_websocket_key(nonce, key);
	if (sl_arena_str(&s->arena, sl_str_from(key), &s->websocket_key))
		return -ENOMEM;
	return sl_headers_set(&s->req.headers, &s->arena, SL_STR("Sec-WebSocket-Key"),
			      s->websocket_key);
}

static int write_head(struct sl_stream *s)
{
	if (s->req.upgrade.ptr && s->req.version == 20 &&
	    sl_str_ieq(s->req.upgrade, SL_STR("websocket"))) {
		int r = add_websocket_key(s);

		if (r)
			return r;
	}
	sl_splice_announce(&s->attempt.up->sock, s->req.content_length);
	return sl_h1_write_request(&s->attempt.up->sock.out, &s->req);
}

static int write_body(struct sl_stream *s, struct sl_buf *from, size_t n)
{
	struct sl_buf *out = &s->attempt.up->sock.out;
	int r;

	if (s->req.body != SL_BODY_CHUNKED)
		return sl_buf_move(out, from, n);
	r = sl_h1_write_chunk_head(out, n);
	if (!r)
		r = sl_buf_move(out, from, n);
	if (!r)
		r = sl_h1_write_chunk_tail(out);
	return r;
}

static int write_end(struct sl_stream *s)
{
	if (s->req.body != SL_BODY_CHUNKED)
		return 0;
	return sl_h1_write_chunk_end(&s->attempt.up->sock.out, &s->req_trailers);
}

static bool full(const struct sl_stream *s)
{
	const struct sl_sock *up = &s->attempt.up->sock;

	return up->broken || sl_sock_out_full(up);
}

static bool flush(struct sl_stream *s)
{
	bool progress = sl_sock_flush(&s->attempt.up->sock) > 0;

	if (s->tunnel && s->req_ended)
		sl_sock_shutdown(&s->attempt.up->sock); /* no-op while something is queued */
	return progress;
}

static bool sent(const struct sl_stream *s)
{
	const struct sl_sock *up = &s->attempt.up->sock;

	return !sl_buf_len(&up->out) || up->broken || up->error || up->gone;
}

static bool begin_tunnel(struct sl_stream *s)
{
	const struct sl_header *accept;
	char expected[SL_WEBSOCKET_ACCEPT_TEXT];

	sl_h1_body_init(&s->res_body, SL_BODY_EOF, 0);
	if (!s->websocket_key.ptr)
		return true;
	accept = sl_headers_find(&s->res.headers, SL_STR("sec-websocket-accept"));
	return accept && !sl_websocket_accept(s->websocket_key, expected) &&
	       sl_str_eqc(accept->value, expected);
}

static bool read_head(struct sl_stream *s)
{
	struct sl_sock *up = &s->attempt.up->sock;
	struct sl_h1_error err;
	size_t used = 0;
	int r = SL_H1_MORE;

	if (sl_buf_len(&up->in))
		r = sl_h1_parse_response(&s->conn->proxy->opts.h1, &s->res_scan,
					 sl_buf_ptr(&up->in), sl_buf_len(&up->in), s->req.method,
					 &s->arena, &s->res, &used, &err);
	if (r == SL_H1_MORE) {
		if (!sl_sock_read_done(up))
			return false;
		sl_attempt_lost(s, s->attempt.up->reused && !sl_upconn_n_received(s->attempt.up)
					   ? SL_LOST_STALE
					   : SL_LOST_SENT);
		return true;
	}
	if (r == SL_H1_BAD) {
		sl_answer_bad(s);
		return true;
	}
	if (r) {
		sl_stream_reply(s, 503, SL_END_INTERNAL);
		return true;
	}
	s->res_scan = (struct sl_h1_scan){0};
	sl_buf_consume(&up->in, used);
	sl_h1_body_init(&s->res_body, s->res.body, s->res.content_length);
	sl_answer_head(s);
	return true;
}

static bool read_body(struct sl_stream *s)
{
	struct sl_sock *up = &s->attempt.up->sock;
	struct sl_h1_body *body = &s->res_body;
	bool progress = false;

	while (!body->done && !s->down->full(s)) {
		struct sl_str part = SL_STR_NULL;
		struct sl_h1_error err;
		size_t used = 0, before = 0;
		int r = sl_h1_body_next(body, &s->conn->proxy->opts.h1, sl_buf_ptr(&up->in),
					sl_buf_len(&up->in), &s->arena, &s->res_trailers, &part,
					&used, &err);

		if (part.len) {
			before = (size_t)(part.ptr - sl_buf_ptr(&up->in));
			sl_buf_consume(&up->in, before);
		}
		if (r || (part.len && s->down->write_body(s, &up->in, part.len))) {
			s->down->abort(s,
				       r == SL_H1_BAD ? SL_END_UPSTREAM_INVALID : SL_END_INTERNAL);
			return true;
		}
		sl_buf_consume(&up->in, used - before - part.len);
		if (!used)
			break;
		progress = true;
	}
	/* What is left in the queue then is the start of a trailer section. */
	if (!body->done && !s->down->full(s) && sl_sock_read_done(up)) {
		/* A reset is no end: a body that only the close ends would be cut unnoticed. */
		if (up->error || sl_h1_body_eof(body)) {
			s->down->abort(s, SL_END_UPSTREAM_CLOSED);
			return true;
		}
	}
	if (body->done) {
		sl_answer_end(s);
		return true;
	}
	sl_buf_release(&up->in);
	return progress;
}

static bool read_answer(struct sl_stream *s)
{
	const struct sl_h1_limits *limits = &s->conn->proxy->opts.h1;
	struct sl_sock *up = &s->attempt.up->sock;
	ssize_t n;

	if (s->res_ended && (up->broken || up->error || up->gone)) {
		s->req_ended = true; /* what the client still sends has nowhere to go */
		sl_answer_end(s);
		return true;
	}
	if (s->res_ended || s->down->full(s))
		return false;
	n = sl_sock_fill(up,
			 sl_sock_read_limit(s->state == SL_STREAM_WAITING ? limits->head_bytes
									  : limits->trailer_bytes));
	if (n == -ENOMEM) {
		sl_stream_reply(s, 503, SL_END_INTERNAL);
		return true;
	}
	if (n > 0)
		sl_answer_first_byte(s);
	if (s->state == SL_STREAM_WAITING) {
		if (!read_head(s))
			return n > 0;
		/* Head and body that came together leave together: one send(2) fewer. */
		if (s->state != SL_STREAM_RESPONDING)
			return true;
		(void)read_body(s); /* the head was progress */
		return true;
	}
	return read_body(s) || n > 0;
}

static bool skip(struct sl_stream *s)
{
	struct sl_buf *in = &s->attempt.up->sock.in;

	while (!s->res_body.done) {
		struct sl_str part;
		struct sl_h1_error err;
		size_t used = 0;

		if (sl_h1_body_next(&s->res_body, &s->conn->proxy->opts.h1, sl_buf_ptr(in),
				    sl_buf_len(in), &s->arena, &s->res_trailers, &part, &used,
				    &err) ||
		    !used)
			return s->res_body.done;
		sl_buf_consume(in, used);
	}
	return true;
}

static void release(struct sl_stream *s, bool reusable)
{
	struct sl_upconn *up = sl_take(s->attempt.up);

	if (reusable && s->res.keep_alive && !up->sock.broken && !sl_buf_len(&up->sock.out) &&
	    !sl_upconn_is_spent(up)) {
		up->pooled.served = true;
		sl_splice_consider_endpoint(s, up);
		sl_upconn_give(up);
		return;
	}
	/* An answer that was not taken to its end: the endpoint may stop working on it. */
	sl_upconn_close(up, !s->res_body.done);
}

const struct sl_up_ops sl_up_h1 = {
	.open = open_conn,
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
