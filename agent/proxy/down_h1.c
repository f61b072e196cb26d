/* SPDX-License-Identifier: Apache-2.0 */
/* The client's side of HTTP/1: request heads and bodies in, answers out (RFC 9112). */
#include <errno.h>
#include "http/h1_write.h"
#include "proxy/state.h"

static void arm(struct sl_conn *c, uint64_t timeout_ns)
{
	struct sl_loop *loop = c->proxy->loop;

	sl_timer_arm(loop, &c->timer, sl_loop_now(loop) + timeout_ns);
}

static void refuse_request(struct sl_conn *c, struct sl_stream *s)
{
	c->stream = s;
	c->close_after = true;
	if (!s->req.version)
		s->req.version = 11;
}

/* The client waits for nothing, or went, or was too slow. */
static bool give_up_head(struct sl_conn *c, struct sl_stream *s)
{
	bool begun = sl_buf_len(&c->sock.in) > 0;
	/* See sl_conn_drain() for one that has yet to speak. */
	bool drains = c->proxy->draining && !begun && c->n_requests;

	if (c->timed_out && begun) {
		refuse_request(c, s);
		sl_stream_limit(s, SL_LIMIT_HEADER_TIMEOUT, 408, SL_END_CLIENT_TIMEOUT);
		return true;
	}
	if (c->timed_out || c->close_after || drains || sl_sock_read_done(&c->sock)) {
		if (c->timed_out && !c->proxy->draining)
			sl_metrics_limit(c->proxy->metrics, SL_LIMIT_IDLE_TIMEOUT);
		sl_stream_free(s);
		sl_conn_finish(c);
		return true;
	}
	if (begun && !c->head_begun) {
		c->head_begun = true;
		arm(c, c->proxy->opts.header_timeout_ns);
	}
	sl_stream_free(s);
	sl_buf_release(&c->sock.in);
	return false;
}

/* What the first bytes of a connection may be instead of a request: HTTP/2 with prior knowledge, on
 * a port that says HTTP and does not say which. */
static enum sl_h1_guess guess(const struct sl_conn *c)
{
	const char *p = sl_buf_ptr(&c->sock.in);
	size_t n = sl_buf_len(&c->sock.in);

	if (c->n_requests || !n || p[0] != 'P' || (n > 1 && p[1] != 'R'))
		return SL_H1_GUESS_HTTP1;
	return sl_h1_guess(p, n);
}

static bool become_http2(struct sl_conn *c)
{
	if (!sl_down_h2_begin(c))
		return true;
	sl_metrics_limit(c->proxy->metrics, SL_LIMIT_MEMORY);
	sl_conn_kill(c, SL_END_INTERNAL);
	return false;
}

static bool next_request(struct sl_conn *c)
{
	enum sl_h1_guess spoken;
	const struct sl_h1_limits *limits = &c->proxy->opts.h1;
	struct sl_h1_error err;
	struct sl_stream *s;
	size_t used = 0;
	int r = SL_H1_MORE;

	/* Answers that the client does not take hold back its further requests. */
	if (sl_sock_out_full(&c->sock))
		return false;
	if (sl_sock_fill(&c->sock, limits->head_bytes + SL_SOCK_READ_BYTES) == -ENOMEM) {
		sl_conn_kill(c, SL_END_INTERNAL);
		return false;
	}
	if (c->sock.error) {
		sl_conn_kill(c, SL_END_CLIENT_CLOSED);
		return false;
	}
	/* Mostly the last look behind an answer: the client thinks. */
	if (!sl_buf_len(&c->sock.in) && !sl_sock_read_done(&c->sock) && !c->timed_out &&
	    !c->close_after && !c->proxy->draining)
		return false;
	spoken = guess(c);
	if (spoken == SL_H1_GUESS_H2_PREFACE)
		return become_http2(c);
	s = sl_stream_new(c, &sl_down_h1, &c->task);
	if (!s) {
		sl_conn_kill(c, SL_END_INTERNAL);
		return false;
	}
	sl_conn_resolve(c);
	s->frontend = c->frontend;
	s->table = c->table;
	s->trial = c->trial;
	s->client = c->client;
	if (sl_buf_len(&c->sock.in) && !c->close_after && spoken != SL_H1_GUESS_MORE)
		r = sl_h1_parse_request(limits, &c->scan, sl_buf_ptr(&c->sock.in),
					sl_buf_len(&c->sock.in), &s->arena, &s->req, &used, &err);
	if (r == SL_H1_MORE)
		return give_up_head(c, s);
	c->scan = (struct sl_h1_scan){0};
	c->head_begun = false;
	c->n_requests++;
	sl_timer_cancel(&c->timer);
	if (r) {
		refuse_request(c, s);
		sl_stream_fault(s, r, &err);
		return true;
	}
	sl_buf_consume(&c->sock.in, used);
	sl_buf_release(&c->sock.in); /* mostly all there was: nothing is held until the answer */
	sl_h1_body_init(&s->req_body, s->req.body, s->req.content_length);
	c->stream = s;
	if (s->req.h2_settings.ptr && !sl_buf_len(&c->sock.out)) {
		r = sl_down_h2_upgrade(c, s);
		if (!r)
			return true;
		if (r == -ENOMEM) {
			sl_stream_fault(s, r, NULL);
			return true;
		}
	}
	sl_stream_begin(s);
	return true;
}

/* A request whose end has not been read cannot be followed by another. */
static bool is_last(const struct sl_conn *c)
{
	return c->stream->close_after || c->close_after || !c->stream->req_body.done;
}

static bool finish_request(struct sl_conn *c)
{
	const struct sl_stream *s = c->stream;
	bool close = is_last(c);

	/* RFC 9112 section 9.6: who said close must not send another request. */
	c->parted = close && !c->close_after && !s->req.keep_alive && s->req_body.done &&
		    !sl_buf_len(&c->sock.in) && !c->sock.can_read;
	sl_stream_end(sl_take(c->stream));
	c->timed_out = false;
	if (close) {
		sl_conn_finish(c);
		return true;
	}
	arm(c, c->proxy->opts.idle_timeout_ns);
	sl_splice_consider_client(c);
	return true;
}

bool sl_down_h1_step(struct sl_conn *c)
{
	bool progress, done;

	/* While nobody reads, a reset would go unnoticed until the next byte of the answer. */
	if (c->stream && c->sock.hangup && c->sock.can_read)
		(void)sl_sock_fill(
			&c->sock,
			SL_SOCK_HIGH_BYTES); /* out of memory: tried again at the next event */
	/* With a full queue even that does not tell, and nobody is there for the answer. */
	if (c->sock.error || c->sock.broken || c->sock.gone) {
		sl_conn_kill(c, SL_END_CLIENT_CLOSED);
		return false;
	}
	if (!c->stream)
		progress = next_request(c);
	else
		progress = sl_stream_step(c->stream);
	if (c->state != SL_CONN_HTTP1)
		return c->state != SL_CONN_DEAD;
	done = c->stream && c->stream->state == SL_STREAM_DONE;
	/* The end of the last answer leaves with the FIN, in the next step. */
	if (!(done && is_last(c)) && sl_sock_flush(&c->sock))
		progress = true;
	if (c->shut_after)
		sl_sock_shutdown(&c->sock); /* no-op while something is queued */
	if (done)
		progress = finish_request(c);
	return progress;
}

/* A part of the body goes to fn; framing around it is dropped. */
static int hand_on(struct sl_stream *s, sl_body_fn fn, struct sl_str part, size_t used)
{
	struct sl_buf *in = &s->conn->sock.in;
	size_t before = (size_t)(part.ptr - sl_buf_ptr(in));
	int r;

	sl_buf_consume(in, before);
	r = fn(s, in, part.len);
	if (!r)
		sl_buf_consume(in, used - before - part.len);
	return r;
}

static bool read_body(struct sl_stream *s, sl_body_fn fn)
{
	const struct sl_h1_limits *limits = &s->conn->proxy->opts.h1;
	struct sl_sock *sock = &s->conn->sock;
	struct sl_h1_body *body = &s->req_body;
	size_t budget = SL_SOCK_HIGH_BYTES;
	bool progress = false;

	while (!body->done && budget) {
		struct sl_str part = SL_STR_NULL;
		struct sl_h1_error err;
		size_t used = 0;
		ssize_t n;
		int r = sl_h1_body_next(body, limits, sl_buf_ptr(&sock->in), sl_buf_len(&sock->in),
					&s->arena, &s->req_trailers, &part, &used, &err);

		if (!r && part.len && fn)
			r = hand_on(s, fn, part, used);
		else if (!r)
			sl_buf_consume(&sock->in, used);
		if (r && !fn)
			return false; /* thrown away anyway: the connection ends with the answer */
		if (r) {
			sl_stream_fault(s, r, &err);
			return true;
		}
		s->req_bytes += part.len;
		budget -= part.len < budget ? part.len : budget;
		if (used) {
			progress = true;
			if (fn && s->attempt.up && s->attempt.ops->full(s))
				break;
			continue;
		}
		if (body->done)
			break;
		n = sl_sock_fill(sock, sl_sock_read_limit(limits->trailer_bytes));
		if (n == -ENOMEM && fn) {
			/* No further edge will say that there is something to read. */
			sl_stream_fault(s, -ENOMEM, NULL);
			return true;
		}
		if (n <= 0)
			break;
		progress = true;
	}
	if (s->tunnel && !progress && sock->eof) {
		body->done = true;
		return true;
	}
	if (fn && !progress && !body->done && sock->eof) {
		/* The client ended in the middle of its request (RFC 9112 section 8). */
		s->close_after = true;
		sl_stream_reply(s, 400, SL_END_CLIENT_CLOSED);
		return true;
	}
	sl_buf_release(&sock->in);
	return progress;
}

static int write_head(struct sl_stream *s)
{
	struct sl_conn *c = s->conn;
	struct sl_h1_response_opts opts = {.client_version = s->req.version};

	if (s->res.body == SL_BODY_CHUNKED || s->res.body == SL_BODY_EOF)
		s->res.body = s->req.version == 10 ? SL_BODY_EOF : SL_BODY_CHUNKED;
	s->down_body = s->res.body;
	if (!s->req.keep_alive || c->close_after || c->proxy->draining ||
	    s->down_body == SL_BODY_EOF)
		s->close_after = true;
	if (s->res.has_length && s->res.body == SL_BODY_LENGTH)
		sl_splice_announce(&c->sock, s->res.content_length);
	opts.close = s->close_after;
	opts.keep_alive_10 = s->req.version == 10 && !s->close_after;
	return sl_h1_write_response(&c->sock.out, &s->res, &opts);
}

static int write_body(struct sl_stream *s, struct sl_buf *from, size_t n)
{
	struct sl_buf *out = &s->conn->sock.out;
	int r;

	s->res_bytes += n;
	if (s->down_body != SL_BODY_CHUNKED)
		return sl_buf_move(out, from, n);
	r = sl_h1_write_chunk_head(out, n);
	if (!r)
		r = sl_buf_move(out, from, n);
	if (!r)
		r = sl_h1_write_chunk_tail(out);
	return r;
}

static int write_text(struct sl_stream *s, struct sl_str text)
{
	s->res_bytes += text.len;
	return sl_buf_append_str(&s->conn->sock.out, text);
}

static int write_end(struct sl_stream *s)
{
	if (s->tunnel)
		s->conn->shut_after = true;
	if (s->down_body != SL_BODY_CHUNKED)
		return 0;
	return sl_h1_write_chunk_end(&s->conn->sock.out, &s->res_trailers);
}

static int write_interim(struct sl_stream *s, const struct sl_response *res)
{
	struct sl_h1_response_opts opts = {.client_version = s->req.version};

	/* RFC 9110 section 15.2: never to 1.0. */
	if (s->req.version < 11)
		return 0;
	return sl_h1_write_response(&s->conn->sock.out, res, &opts);
}

static bool full(const struct sl_stream *s)
{
	return sl_sock_out_full(&s->conn->sock);
}

static void abort_stream(struct sl_stream *s, enum sl_end_reason end)
{
	sl_conn_kill(s->conn, end);
}

static int write_switch(struct sl_stream *s)
{
	int r = write_head(s);

	if (r)
		return r;
	s->down_body = SL_BODY_EOF;
	sl_h1_body_init(&s->req_body, SL_BODY_EOF, 0);
	return 0;
}

const struct sl_down_ops sl_down_h1 = {
	.read_body = read_body,
	.write_interim = write_interim,
	.write_head = write_head,
	.write_body = write_body,
	.write_text = write_text,
	.write_end = write_end,
	.full = full,
	.abort = abort_stream,
	.write_switch = write_switch,
};
