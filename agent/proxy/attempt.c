/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include "base/clock.h"
#include "proxy/state.h"

/* Endpoints that one request tries while none of its bytes was sent. */
enum { MAX_TRIES = 3 };

static const struct sl_endpoint *choose(struct sl_stream *s, bool again)
{
	struct sl_proxy *p = s->conn->proxy;
	/* Rule and filters are those the stream began with; endpoints are those of the moment. */
	const struct sl_upstream *up = sl_snapshot_upstream(p->config->snap, s->upstream_key);

	return up ? sl_lb_pick(p->lb, up, again ? &s->attempt.endpoint : NULL) : NULL;
}

static void start_clock(struct sl_stream *s)
{
	struct sl_loop *loop = s->conn->proxy->loop;

	if (s->rule && s->rule->backend_request_timeout_ns)
		sl_timer_arm(loop, &s->attempt.timer,
			     sl_loop_now(loop) + s->rule->backend_request_timeout_ns);
}

/* On success the endpoint's connection is leased or under way, and the state is CONNECTING. */
static int open_to(struct sl_stream *s, const struct sl_addr *endpoint, enum sl_reuse reuse)
{
	struct sl_loop *loop = s->conn->proxy->loop;
	struct sl_attempt *a = &s->attempt;
	int r;

	a->endpoint = *endpoint;
	a->n_tries++;
	a->first_byte_ns = 0;
	a->started_ns = sl_loop_now(loop);
	s->connect_expired = false;
	a->ops = &sl_up_h1;
	r = sl_upconn_open(s->conn->source, endpoint, reuse, s->wakes, &a->up);
	if (!r && a->up->sock.connecting)
		sl_timer_arm(loop, &a->connect_timer,
			     sl_loop_now(loop) + s->conn->proxy->opts.connect_timeout_ns);
	return r;
}

/* Whether doing it twice does no harm: idempotent, no body (RFC 9112 section 9.3.1). */
static bool harmless(const struct sl_request *r)
{
	return sl_method_idempotent(r->method) && r->body != SL_BODY_CHUNKED && !r->content_length;
}

static void try_next(struct sl_stream *s, bool again)
{
	bool repeat = harmless(&s->req) && !s->attempt.retried_stale;

	for (;;) {
		const struct sl_endpoint *e = choose(s, again);
		int r;

		if (!e || (again && sl_addr_eq(&e->addr, &s->attempt.endpoint))) {
			sl_stream_reply(s, 503, again ? SL_END_CONNECT_FAILED : SL_END_NO_ENDPOINT);
			return;
		}
		r = open_to(s, &e->addr, repeat ? SL_REUSE_AGAIN : SL_REUSE_ONCE);
		if (!r)
			break;
		if (r == -ENOMEM || r == -EMFILE || r == -ENFILE || r == -ENOBUFS) {
			sl_stream_limit(s, r == -ENOMEM ? SL_LIMIT_MEMORY : SL_LIMIT_DESCRIPTORS,
					503, SL_END_INTERNAL);
			return;
		}
		if (s->attempt.n_tries >= MAX_TRIES) {
			sl_stream_reply(s, 503, SL_END_CONNECT_FAILED);
			return;
		}
		again = true;
	}
	start_clock(s);
}

void sl_attempt_begin(struct sl_stream *s)
{
	sl_stream_move(s, SL_STREAM_CONNECTING);
	try_next(s, false);
}

static void connect_failed(struct sl_stream *s, int err)
{
	struct sl_attempt *a = &s->attempt;
	struct sl_metrics_shard *m = s->conn->proxy->metrics;

	sl_metrics_inc(m, err == -ECONNREFUSED ? SL_COUNTER_CONNECTS_REFUSED
			  : err == -ETIMEDOUT  ? SL_COUNTER_CONNECTS_TIMEOUT
					       : SL_COUNTER_CONNECTS_FAILED);
	sl_upconn_close(sl_take(a->up), false);
	if (a->n_tries >= MAX_TRIES) {
		sl_stream_reply(s, 503, SL_END_CONNECT_FAILED);
		return;
	}
	sl_metrics_inc(m, SL_COUNTER_RETRIES_CONNECT);
	try_next(s, true);
}

/*
 * The connection ended before a byte of an answer. From the pool, that is mostly the server's idle
 * timeout crossing our request. Sent again when it cannot have been acted on (nothing was
 * sent), or when doing it twice does no harm.
 */
static bool retry_stale(struct sl_stream *s)
{
	struct sl_attempt *a = &s->attempt;
	struct sl_upconn *up = a->up;
	bool unsent = !up->sock.n_sent;
	struct sl_buf queued = {0};

	if (!up->reused || up->sock.n_received || a->retried_stale ||
	    (!unsent && !harmless(&s->req)))
		return false;
	a->retried_stale = true;
	sl_metrics_inc(s->conn->proxy->metrics, SL_COUNTER_RETRIES_STALE);
	if (unsent)
		queued = sl_buf_take(&up->sock.out);
	sl_upconn_close(sl_take(a->up), false);
	sl_stream_move(s, SL_STREAM_CONNECTING);
	if (open_to(s, &a->endpoint, SL_REUSE_NEVER)) {
		sl_buf_deinit(&queued);
		sl_stream_reply(s, 503, SL_END_CONNECT_FAILED);
		return true;
	}
	if (unsent)
		a->up->sock.out = queued;
	a->head_queued = unsent;
	return true;
}

void sl_attempt_lost(struct sl_stream *s)
{
	if (!retry_stale(s))
		sl_stream_reply(s, 502, SL_END_UPSTREAM_CLOSED);
}

static bool connecting_step(struct sl_stream *s)
{
	struct sl_metrics_shard *m = s->conn->proxy->metrics;
	struct sl_upconn *up = s->attempt.up;
	int r = sl_sock_connected(&up->sock);

	if (r == -EINPROGRESS && s->connect_expired)
		r = -ETIMEDOUT;
	if (r == -ETIMEDOUT)
		sl_metrics_limit(m, SL_LIMIT_CONNECT_TIMEOUT);
	if (r == -EINPROGRESS)
		return false;
	if (r) {
		connect_failed(s, r);
		return true;
	}
	sl_timer_cancel(&s->attempt.connect_timer);
	if (!up->counted_connect) {
		up->counted_connect = true;
		sl_metrics_inc(m, SL_COUNTER_CONNECTS_OK);
		sl_metrics_observe(m, SL_HISTOGRAM_CONNECT,
				   sl_loop_now(s->conn->proxy->loop) - s->attempt.started_ns);
	}
	/* A configured value that the protocol cannot carry, or out of memory. */
	if (!s->attempt.head_queued && s->attempt.ops->write_head(s)) {
		sl_stream_reply(s, 503, SL_END_INTERNAL);
		return true;
	}
	s->attempt.head_queued = true;
	sl_stream_move(s, SL_STREAM_WAITING);
	return true;
}

/* Returns true on progress. */
static bool send_body(struct sl_stream *s)
{
	const struct sl_up_ops *ops = s->attempt.ops;
	bool progress = false;

	if (s->req_ended || ops->full(s))
		return false;
	if (!s->req_body.done) {
		progress = s->down->read_body(s, ops->write_body);
		if (s->state != SL_STREAM_WAITING && s->state != SL_STREAM_RESPONDING)
			return true;
	}
	if (!s->req_body.done)
		return progress;
	s->req_ended = true;
	if (ops->write_end(s))
		sl_stream_reply(s, 503, SL_END_INTERNAL);
	return true;
}

bool sl_attempt_step(struct sl_stream *s)
{
	bool progress = false;

	if (s->state == SL_STREAM_CONNECTING) {
		if (!connecting_step(s))
			return false;
		if (s->state != SL_STREAM_WAITING)
			return true; /* another endpoint, or answered */
		progress = true;
	}
	if (send_body(s))
		progress = true;
	if (s->state != SL_STREAM_WAITING && s->state != SL_STREAM_RESPONDING)
		return true;
	if (s->attempt.ops->flush(s))
		progress = true;
	return s->attempt.ops->read(s) || progress;
}

/* The endpoint may have gone since the request began; the pool has forgotten its others. */
static bool endpoint_stays(const struct sl_stream *s)
{
	const struct sl_config *now = s->conn->proxy->config;
	const struct sl_upstream *up;

	if (s->config == now)
		return true;
	up = sl_snapshot_upstream(now->snap, s->upstream_key);
	for (uint32_t i = 0; up && i < up->n_endpoints; i++) {
		if (sl_addr_eq(&up->endpoints[i].addr, &s->attempt.endpoint))
			return true;
	}
	return false;
}

void sl_attempt_release(struct sl_stream *s)
{
	bool whole;

	sl_timer_cancel(&s->attempt.timer);
	sl_timer_cancel(&s->attempt.connect_timer);
	if (!s->attempt.up)
		return;
	whole = s->state == SL_STREAM_RESPONDING && s->res_body.done && s->req_ended;
	s->attempt.ops->release(s, whole && endpoint_stays(s));
}
