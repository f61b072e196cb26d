/* SPDX-License-Identifier: Apache-2.0 */
/* The endpoint's side of HTTP/1: requests out, responses in. */
#include <errno.h>
#include "base/clock.h"
#include "http/h1_write.h"
#include "proxy/state.h"

/* Interim responses of one request; more is abuse of memory, as each head stays in the arena. */
enum { MAX_INTERIM = 32 };

int sl_up_write_head(struct sl_stream *s)
{
	return sl_h1_write_request(&s->attempt.up->sock.out, &s->req);
}

static int write_part(struct sl_stream *s, struct sl_buf *from, size_t n)
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

bool sl_up_write_body(struct sl_stream *s)
{
	struct sl_sock *up = &s->attempt.up->sock;
	bool progress = false;

	if (s->req_ended || up->broken || sl_sock_out_full(up))
		return false;
	if (!s->req_body.done) {
		progress = sl_down_read_body(s, write_part);
		if (s->state != SL_STREAM_WAITING && s->state != SL_STREAM_RESPONDING)
			return true;
	}
	if (s->req_body.done) {
		s->req_ended = true;
		progress = true;
		if (s->req.body == SL_BODY_CHUNKED &&
		    sl_h1_write_chunk_end(&up->out, &s->req_trailers)) {
			sl_stream_reply(s, 503, SL_END_INTERNAL);
			return true;
		}
	} else if (!progress && s->conn->sock.eof) {
		/* The client ended in the middle of its request (RFC 9112 section 8). */
		s->close_after = true;
		sl_stream_reply(s, 400, SL_END_CLIENT_CLOSED);
		return true;
	}
	return progress;
}

static bool bad_answer(struct sl_stream *s)
{
	sl_stream_reply(s, 502, SL_END_UPSTREAM_INVALID);
	return true;
}

/* 101, or 2xx to CONNECT: from here on bytes. */
static bool switch_protocols(struct sl_stream *s)
{
	struct sl_conn *c = s->conn;
	struct sl_upconn *up = s->attempt.up;

	if (s->res.status == 101 && !s->req.upgrade.ptr)
		return bad_answer(s);
	if (sl_down_write_head(s)) {
		sl_stream_reply(s, 503, SL_END_INTERNAL);
		return true;
	}
	s->attempt.up = NULL;
	sl_timer_cancel(&s->timer);
	sl_timer_cancel(&s->attempt.timer);
	c->tunnel_of = sl_take(c->stream);
	sl_tunnel_begin(c, up);
	return true;
}

static bool interim(struct sl_stream *s)
{
	bool asked = s->res.status != 100 || s->req.expect_continue;

	if (++s->n_interim > MAX_INTERIM)
		return bad_answer(s);
	if (asked && sl_down_write_interim(s, &s->res)) {
		sl_stream_reply(s, 503, SL_END_INTERNAL);
		return true;
	}
	s->res = (struct sl_response){0};
	return true;
}

static bool final_head(struct sl_stream *s)
{
	int r = sl_stream_filter_response(s);

	if (r) {
		sl_stream_reply(s, 503, SL_END_INTERNAL);
		return true;
	}
	sl_h1_body_init(&s->res_body, s->res.body, s->res.content_length);
	r = sl_down_write_head(s);
	if (r == -EINVAL)
		return bad_answer(s);
	if (r) {
		sl_stream_reply(s, 503, SL_END_INTERNAL);
		return true;
	}
	sl_stream_move(s, SL_STREAM_RESPONDING);
	sl_detect_learn(s->conn);
	return true;
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
		sl_attempt_lost(s);
		return true;
	}
	if (r == SL_H1_BAD)
		return bad_answer(s);
	if (r) {
		sl_stream_reply(s, 503, SL_END_INTERNAL);
		return true;
	}
	s->res_scan = (struct sl_h1_scan){0};
	sl_buf_consume(&up->in, used);
	if (s->res.status == 101 ||
	    (s->req.method == SL_METHOD_CONNECT && s->res.status / 100 == 2))
		return switch_protocols(s);
	return s->res.status < 200 ? interim(s) : final_head(s);
}

static bool end_of_body(struct sl_stream *s)
{
	if (sl_down_write_end(s)) {
		sl_conn_kill(s->conn, SL_END_INTERNAL);
		return true;
	}
	s->end = SL_END_COMPLETE;
	sl_attempt_release(s);
	sl_stream_move(s, SL_STREAM_DONE);
	return true;
}

static bool read_body(struct sl_stream *s)
{
	struct sl_sock *up = &s->attempt.up->sock;
	struct sl_h1_body *body = &s->res_body;
	bool progress = false;

	while (!body->done && !sl_sock_out_full(&s->conn->sock)) {
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
		if (r || (part.len && sl_down_write_body(s, &up->in, part.len))) {
			sl_conn_kill(s->conn,
				     r == SL_H1_BAD ? SL_END_UPSTREAM_INVALID : SL_END_INTERNAL);
			return true;
		}
		sl_buf_consume(&up->in, used - before - part.len);
		if (!used)
			break;
		progress = true;
	}
	/* What is left in the queue then is the start of a trailer section. */
	if (!body->done && !sl_sock_out_full(&s->conn->sock) && sl_sock_read_done(up)) {
		/* A reset is no end: a body that only the close ends would be cut unnoticed. */
		if (up->error || sl_h1_body_eof(body)) {
			sl_conn_kill(s->conn, SL_END_UPSTREAM_CLOSED);
			return true;
		}
	}
	if (body->done)
		return end_of_body(s);
	sl_buf_release(&up->in);
	return progress;
}

bool sl_up_read(struct sl_stream *s)
{
	const struct sl_h1_limits *limits = &s->conn->proxy->opts.h1;
	struct sl_sock *up = &s->attempt.up->sock;
	ssize_t n;

	if (sl_sock_out_full(&s->conn->sock))
		return false;
	n = sl_sock_fill(up, sl_sock_read_limit(s->state == SL_STREAM_WAITING
							? limits->head_bytes
							: limits->trailer_bytes));
	if (n == -ENOMEM) {
		sl_stream_reply(s, 503, SL_END_INTERNAL);
		return true;
	}
	if (n > 0 && !s->attempt.first_byte_ns) {
		s->attempt.first_byte_ns = sl_loop_now(s->conn->proxy->loop);
		sl_metrics_observe(s->conn->proxy->metrics, SL_HISTOGRAM_FIRST_BYTE,
				   s->attempt.first_byte_ns - s->attempt.started_ns);
	}
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
