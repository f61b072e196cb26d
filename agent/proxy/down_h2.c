/* SPDX-License-Identifier: Apache-2.0 */
/* The client's side of HTTP/2: one session, and a stream with a task of its own for each request.
 */
#include <errno.h>
#include "base/alloc.h"
#include "http/grpc.h"
#include "proxy/down_h2.h"

enum { STEPS_PER_TURN = 16 };

static void run_stream(struct sl_task *t);

static struct sl_stream *stream_of(struct sl_h2_stream *st)
{
	return sl_container_of(st, struct sl_down_h2_stream, h2)->stream;
}

/* A stream with its part of the session; NULL without memory. */
static struct sl_h2_stream *adopt(struct sl_conn *c, struct sl_stream *s)
{
	struct sl_down_h2_stream *d = sl_arena_new(&s->arena, struct sl_down_h2_stream);

	if (!d)
		return NULL;
	d->stream = s;
	d->h2.arena = &s->arena;
	d->h2.req = &s->req;
	d->h2.trailers = &s->req_trailers;
	s->h2 = &d->h2;
	s->down = &sl_down_h2;
	s->task = SL_TASK_INIT_OWNED(run_stream, &c->source->turn);
	s->wakes = &s->task;
	s->req.version = 20;
	s->conn_upgraded = c->h2->upgraded;
	sl_list_append(&c->h2->streams, &s->node);
	c->h2->n_streams++;
	return s->h2;
}

static struct sl_h2_stream *on_open(void *arg)
{
	struct sl_conn *c = arg;
	struct sl_stream *s = sl_stream_new(c, &sl_down_h2, NULL);
	struct sl_h2_stream *st = s ? adopt(c, s) : NULL;

	if (!st) {
		sl_metrics_limit(c->proxy->metrics, SL_LIMIT_MEMORY);
		if (s)
			sl_stream_free(s);
		return NULL;
	}
	c->n_requests++;
	return st;
}

static void on_news(void *arg, struct sl_h2_stream *st)
{
	sl_stream_wake(stream_of(st));
}

static bool is_tight(void *arg)
{
	struct sl_conn *c = arg;

	return sl_shed_is_tight(c->proxy, &c->h2->debtor);
}

static const struct sl_h2_events events = {.open = on_open, .news = on_news, .tight = is_tight};

static int begin(struct sl_conn *c)
{
	c->h2 = sl_new(struct sl_down_h2);
	if (!c->h2)
		return -ENOMEM;
	sl_list_init(&c->h2->streams);
	c->h2->debtor = SL_DEBTOR_INIT(c->h2->debtor, &c->task);
	return sl_h2_new(SL_H2_SERVER, &c->proxy->opts.h2, &events, c, &c->h2->session);
}

static void forget(struct sl_conn *c)
{
	if (!c->h2)
		return;
	sl_list_remove(&c->h2->debtor.node);
	sl_h2_free(c->h2->session);
	free(sl_take(c->h2));
}

int sl_down_h2_begin(struct sl_conn *c)
{
	if (begin(c)) {
		forget(c);
		return -ENOMEM;
	}
	c->head_begun = false;
	sl_timer_cancel(&c->timer);
	sl_conn_move(c, SL_CONN_HTTP2);
	sl_splice_leave(&c->sock, SL_SPLICE_PROTOCOL);
	return 0;
}

int sl_down_h2_upgrade(struct sl_conn *c, struct sl_stream *s)
{
	static const char answer[] = "HTTP/1.1 101 Switching Protocols\r\n"
				     "Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n";
	struct sl_str settings = s->req.h2_settings;
	uint8_t version = s->req.version;
	int r;

	if (begin(c)) {
		forget(c);
		return -ENOMEM;
	}
	c->h2->upgraded = true;
	if (!adopt(c, s))
		r = -ENOMEM;
	else
		r = sl_h2_upgrade(c->h2->session, s->h2, settings);
	if (!r && sl_buf_append(&c->sock.out, answer, sizeof(answer) - 1))
		r = -ENOMEM;
	if (r) {
		/* HTTP/1.1 goes on. */
		if (s->h2)
			sl_h2_stream_deinit(sl_take(s->h2), SL_H2_CANCEL);
		sl_list_remove(&s->node);
		forget(c);
		s->down = &sl_down_h1;
		s->wakes = &c->task;
		s->req.version = version;
		return r;
	}
	c->stream = NULL;
	sl_conn_move(c, SL_CONN_HTTP2);
	sl_splice_leave(&c->sock, SL_SPLICE_PROTOCOL);
	sl_stream_wake(s);
	return 0;
}

/* ---- the connection ---- */

static void arm(struct sl_conn *c, uint64_t timeout_ns)
{
	struct sl_loop *loop = c->proxy->loop;

	c->timed_out = false;
	sl_timer_arm(loop, &c->timer, sl_loop_now(loop) + timeout_ns);
}

static enum sl_down_h2_wait waits_for(const struct sl_conn *c)
{
	if (c->h2->over)
		return SL_DOWN_H2_LEAVE;
	if (sl_h2_in_head(c->h2->session))
		return SL_DOWN_H2_HEAD;
	if (c->h2->leaving && !c->h2->left)
		return SL_DOWN_H2_LEAVE;
	return c->h2->n_streams ? SL_DOWN_H2_PING : SL_DOWN_H2_IDLE;
}

/* One timer for what the connection waits for now. */
static void set_clock(struct sl_conn *c)
{
	const struct sl_proxy_opts *o = &c->proxy->opts;
	const uint64_t timeouts[] = {
		[SL_DOWN_H2_IDLE] = o->idle_timeout_ns,
		[SL_DOWN_H2_HEAD] = o->header_timeout_ns,
		[SL_DOWN_H2_LEAVE] = o->linger_timeout_ns,
		[SL_DOWN_H2_PING] = o->ping_interval_ns,
	};
	struct sl_down_h2 *h = c->h2;
	enum sl_down_h2_wait wait = waits_for(c);

	/* Each head has the whole time, each answer begins the idle time anew. */
	if (c->timer.loop && wait == h->wait &&
	    (wait == SL_DOWN_H2_PING || h->n_requests == c->n_requests))
		return;
	h->wait = wait;
	h->n_requests = c->n_requests;
	arm(c, timeouts[wait]);
}

/* Two steps, so that no request is lost that was on its way (RFC 9113 section 6.8): the answer to
 * the PING behind the first GOAWAY says that the client has heard. */
static void leave(struct sl_conn *c)
{
	struct sl_down_h2 *h = c->h2;

	if (!h->leaving) {
		h->leaving = true;
		sl_h2_go_away_soon(h->session);
		if (!sl_h2_ping(h->session))
			return;
	}
	if (!h->left && sl_h2_pings_answered(h->session)) {
		h->left = true;
		sl_h2_go_away(h->session);
	}
}

/* Returns false when the conn was cut. */
static bool ask_for_life(struct sl_conn *c)
{
	struct sl_down_h2 *h = c->h2;

	if (!sl_h2_pings_answered(h->session) && c->sock.n_received == h->pinged_at_bytes) {
		sl_metrics_limit(c->proxy->metrics, SL_LIMIT_PING_INTERVAL);
		sl_conn_kill(c, SL_END_CLIENT_TIMEOUT);
		return false;
	}
	h->pinged_at_bytes = c->sock.n_received;
	if (sl_h2_pings_answered(h->session))
		(void)sl_h2_ping(h->session); /* without memory: the next time */
	return true;
}

/* Returns false when the conn was cut. */
static bool look_at_clock(struct sl_conn *c)
{
	struct sl_down_h2 *h = c->h2;

	c->timed_out = false;
	if (h->over || (h->left && h->wait == SL_DOWN_H2_IDLE)) {
		/* It does not even take its GOAWAY. */
		sl_conn_kill(c, SL_END_CLIENT_TIMEOUT);
		return false;
	}
	switch (h->wait) {
	case SL_DOWN_H2_IDLE:
		sl_metrics_limit(c->proxy->metrics, SL_LIMIT_IDLE_TIMEOUT);
		leave(c);
		return true;
	case SL_DOWN_H2_HEAD:
		sl_metrics_limit(c->proxy->metrics, SL_LIMIT_HEADER_TIMEOUT);
		h->reason = SL_END_CLIENT_TIMEOUT;
		h->over = true;
		sl_h2_terminate(h->session, SL_H2_ENHANCE_YOUR_CALM);
		return true;
	case SL_DOWN_H2_LEAVE:
		h->left = true;
		sl_h2_go_away(h->session);
		return true;
	case SL_DOWN_H2_PING:
		break;
	}
	return ask_for_life(c);
}

static enum sl_limit limit_of(enum sl_h2_flood flood)
{
	static const enum sl_limit limits[SL_H2_FLOOD_MAX] = {
		[SL_H2_FLOOD_RESETS] = SL_LIMIT_H2_RESETS,
		[SL_H2_FLOOD_SETTINGS] = SL_LIMIT_H2_SETTINGS,
		[SL_H2_FLOOD_PINGS] = SL_LIMIT_H2_PINGS,
		[SL_H2_FLOOD_EMPTY_FRAMES] = SL_LIMIT_H2_EMPTY_FRAMES,
		[SL_H2_FLOOD_WINDOW_UPDATES] = SL_LIMIT_H2_WINDOW_UPDATES,
		[SL_H2_FLOOD_PRIORITIES] = SL_LIMIT_H2_PRIORITIES,
		[SL_H2_FLOOD_CONTINUATIONS] = SL_LIMIT_H2_CONTINUATIONS,
		[SL_H2_FLOOD_HEADER_BYTES] = SL_LIMIT_HEADER_BYTES,
	};

	return limits[flood];
}

/* What the client sends is always read: its windows and limits bound it, and two ends that stop
 * reading because the other does not would wait for ever. Returns true on progress. */
static bool take_in(struct sl_conn *c)
{
	struct sl_sock *sock = &c->sock;
	struct sl_down_h2 *h = c->h2;
	ssize_t n = sl_sock_fill(sock, SL_SOCK_HIGH_BYTES);
	size_t len = sl_buf_len(&sock->in);
	int r = 0;

	if (n != -ENOMEM && len)
		r = sl_h2_recv(h->session, sl_loop_now(c->proxy->loop), sl_buf_ptr(&sock->in), len);
	if (n == -ENOMEM || r == -ENOMEM) {
		sl_metrics_limit(c->proxy->metrics, SL_LIMIT_MEMORY);
		sl_conn_kill(c, SL_END_INTERNAL);
		return false;
	}
	sl_buf_consume(&sock->in, len);
	sl_buf_release(&sock->in);
	for (; h->n_refused < sl_h2_n_refused(h->session); h->n_refused++)
		sl_metrics_limit(c->proxy->metrics, SL_LIMIT_H2_STREAMS);
	h->over |= r == SL_H2_OVER;
	if (h->over && sl_h2_abuse(h->session) && !h->abused) {
		h->abused = true;
		h->reason = SL_END_CLIENT_INVALID;
		sl_metrics_limit(c->proxy->metrics, limit_of(sl_h2_abuse(h->session)));
	}
	return len > 0;
}

static bool is_over(const struct sl_conn *c)
{
	const struct sl_down_h2 *h = c->h2;

	if (sl_buf_len(&c->sock.out))
		return false;
	return sl_h2_is_done(h->session) || (c->sock.eof && !h->n_streams);
}

/* A client that closed its side says nothing more: requests that are not whole never will be. */
static void give_up_requests(struct sl_conn *c)
{
	sl_list_foreach_safe (n, &c->h2->streams) {
		struct sl_stream *s = sl_container_of(n, struct sl_stream, node);

		if (s->h2->ended_in || s->h2->closed)
			continue;
		sl_down_h2.abort(s, SL_END_CLIENT_CLOSED);
	}
}

bool sl_down_h2_step(struct sl_conn *c)
{
	struct sl_down_h2 *h = c->h2;
	bool progress;

	if (c->sock.error || c->sock.broken || c->sock.gone) {
		sl_conn_kill(c, SL_END_CLIENT_CLOSED);
		return false;
	}
	if (h->too_heavy) {
		sl_metrics_limit(c->proxy->metrics, SL_LIMIT_BUFFERED_BYTES);
		sl_conn_kill(c, SL_END_LIMIT);
		return false;
	}
	if (c->timed_out && !look_at_clock(c))
		return false;
	progress = take_in(c);
	if (c->state != SL_CONN_HTTP2)
		return false;
	if (c->sock.eof && !h->half_closed) {
		h->half_closed = true;
		give_up_requests(c);
	}
	if (c->proxy->draining || c->proxy->giving || h->leaving)
		leave(c);
	sl_shed_pay(c->proxy, &h->debtor, h->session);
	if (sl_h2_send(h->session, &c->sock.out, SL_SOCK_HIGH_BYTES)) {
		sl_conn_kill(c, SL_END_INTERNAL);
		return false;
	}
	if (sl_sock_flush(&c->sock))
		progress = true;
	sl_buf_release(&c->sock.out);
	if (is_over(c)) {
		sl_down_h2_cut(c, h->reason ? h->reason : SL_END_CLIENT_CLOSED);
		sl_down_h2_free(c);
		sl_conn_finish(c);
		return true;
	}
	set_clock(c);
	return progress;
}

static void count_buffers(struct sl_stream *s)
{
	const struct sl_upconn *up = s->attempt.x ? NULL : s->attempt.up; /* a mux counts itself */
	uint64_t now = up ? up->sock.in.cap + up->sock.out.cap : 0;

	now += s->attempt.replay.cap;
	s->conn->proxy->buffered_bytes += now - s->buffered_bytes;
	s->buffered_bytes = now;
}

static void end_stream(struct sl_stream *s)
{
	sl_attempt_release(s);
	count_buffers(s);
	sl_task_cancel(&s->task);
	sl_list_remove(&s->node);
	s->conn->h2->n_streams--;
	sl_stream_end(s);
}

void sl_down_h2_cut(struct sl_conn *c, enum sl_end_reason end)
{
	sl_list_foreach_safe (n, &c->h2->streams) {
		struct sl_stream *s = sl_container_of(n, struct sl_stream, node);

		if (s->state != SL_STREAM_DONE)
			sl_stream_cut(s, end);
		sl_task_cancel(&s->task);
	}
}

void sl_down_h2_free(struct sl_conn *c)
{
	if (!c->h2)
		return;
	sl_list_foreach_safe (n, &c->h2->streams)
		end_stream(sl_container_of(n, struct sl_stream, node));
	forget(c);
}

uint64_t sl_down_h2_buffered_bytes(const struct sl_conn *c)
{
	return sl_h2_buffered_bytes(c->h2->session);
}

/* ---- a stream ---- */

static void begin_request(struct sl_stream *s)
{
	struct sl_conn *c = s->conn;

	/* Its head may have taken its time. */
	sl_config_unref(s->config);
	s->config = sl_config_ref(c->proxy->config);
	sl_conn_resolve(c);
	s->frontend = c->frontend;
	s->table = c->table;
	s->trial = c->trial;
	s->client = c->client;
	s->is_grpc = sl_grpc_is_call(&s->req);
	/* What follows such a request belongs to the tunnel, should there be one. */
	if (s->req.upgrade.ptr || s->req.method == SL_METHOD_CONNECT)
		s->req_body.done = true;
	if (s->h2->fault.status)
		sl_stream_fault(s, SL_H1_BAD, &s->h2->fault);
	else
		sl_stream_begin(s);
}

/* The session is through with a stream that is not: the client gave it up, or broke the rules. */
static bool was_cut(const struct sl_stream *s)
{
	const struct sl_h2_stream *st = s->h2;

	return st->closed && s->state != SL_STREAM_DONE &&
	       (st->error || !st->ended_in || !st->ended_out);
}

static void run_stream(struct sl_task *t)
{
	struct sl_stream *s = sl_container_of(t, struct sl_stream, task);
	struct sl_conn *c = s->conn;
	unsigned i = 0;

	if (was_cut(s))
		sl_stream_cut(s,
			      s->h2->reset_by_peer ? SL_END_CLIENT_CLOSED : SL_END_CLIENT_INVALID);
	if (s->state == SL_STREAM_NEW && s->h2->head_in)
		begin_request(s);
	while (s->state != SL_STREAM_DONE && i < STEPS_PER_TURN && sl_stream_step(s))
		i++;
	if (i == STEPS_PER_TURN)
		sl_task_queue_next(c->proxy->loop, &s->task);
	if (s->state == SL_STREAM_DONE)
		sl_h2_stop(s->h2);
	if (s->state == SL_STREAM_DONE && s->h2->closed)
		end_stream(s);
	else
		count_buffers(s);
	sl_proxy_shed(c->proxy);
	sl_wake_fairly(c->proxy->loop, &c->task, &c->h2->turns);
}

static bool read_body(struct sl_stream *s, sl_body_fn fn)
{
	struct sl_h2_stream *st = s->h2;
	bool progress = false;
	size_t n;

	if (!fn)
		return false; /* whoever sends it is told to stop behind the answer */
	if (st->fault.status) {
		sl_stream_fault(s, SL_H1_BAD, &st->fault);
		return true;
	}
	n = sl_buf_len(&st->in);
	if (n) {
		if (fn(s, &st->in, n)) {
			sl_stream_fault(s, -ENOMEM, NULL);
			return true;
		}
		s->req_bytes += n;
		sl_h2_took(st, n);
		progress = true;
	}
	if (st->ended_in && !sl_buf_len(&st->in)) {
		s->req_body.done = true;
		progress = true;
	}
	return progress;
}

static int write_interim(struct sl_stream *s, const struct sl_response *res)
{
	return sl_h2_interim(s->h2, res);
}

static int write_head(struct sl_stream *s)
{
	return sl_h2_respond(s->h2, &s->res, false);
}

static int write_switch(struct sl_stream *s)
{
	return sl_h2_respond(s->h2, &s->res, true);
}

static int write_body(struct sl_stream *s, struct sl_buf *from, size_t n)
{
	s->res_bytes += n;
	return sl_h2_write(s->h2, from, n);
}

static int write_text(struct sl_stream *s, struct sl_str text)
{
	s->res_bytes += text.len;
	return sl_h2_write_text(s->h2, text);
}

static int write_end(struct sl_stream *s)
{
	return sl_h2_end(s->h2, &s->res_trailers);
}

static bool full(const struct sl_stream *s)
{
	return sl_h2_full(s->h2);
}

static uint32_t code_of(const struct sl_stream *s, enum sl_end_reason end)
{
	switch (end) {
	case SL_END_CLIENT_CLOSED:
	case SL_END_CLIENT_TIMEOUT:
	case SL_END_REQUEST_TIMEOUT:
	case SL_END_UPSTREAM_TIMEOUT:
		return SL_H2_CANCEL;
	case SL_END_CLIENT_INVALID:
		return SL_H2_PROTOCOL_ERROR;
	default:
		if (s->tunnel)
			return SL_H2_CONNECT_ERROR;
		/* Others of the endpoint's codes are between it and the agent. */
		return s->reset_code == SL_H2_CANCEL ? SL_H2_CANCEL : SL_H2_INTERNAL_ERROR;
	}
}

static void abort_stream(struct sl_stream *s, enum sl_end_reason end)
{
	sl_h2_reset(s->h2, code_of(s, end));
	sl_stream_cut(s, end);
	sl_stream_wake(s);
}

const struct sl_down_ops sl_down_h2 = {
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
