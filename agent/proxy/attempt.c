/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include "base/clock.h"
#include "proxy/state.h"

/* Connections to one endpoint that were full, or ended while a request waited for its turn. */
enum { MAX_ELSEWHERE = 250 };
/* Endpoints that are asked for a further connection. */
enum { MAX_FULL = 3 };

/* Of the first try: the endpoint of the client's session. */
static const struct sl_endpoint *wanted(struct sl_stream *s, const struct sl_upstream *up)
{
	const struct sl_upstream *then = up;

	/* The answer needs it too: it has to live as long as the stream. */
	if (s->config != s->conn->proxy->config)
		then = sl_snapshot_upstream(s->config->snap, s->backend->upstream);
	s->persistence = sl_persistence_of(s->rule, then);
	return s->persistence ? sl_persistence_find(s, up) : NULL;
}

/* An endpoint, and the protocol that is spoken with it. */
static const struct sl_endpoint *choose(struct sl_stream *s)
{
	struct sl_proxy *p = s->conn->proxy;
	/* Rule and filters are those the stream began with; endpoints are those of the moment. */
	const struct sl_upstream *up = sl_stream_upstream(s);
	const struct sl_endpoint *e = NULL;

	s->attempt.full = false;
	if (!up)
		return NULL;
	/* What no rule governs goes as it would without a mesh. */
	(void)sl_tls_context_unref(s->attempt.tls); /* always NULL */
	s->attempt.tls = s->rule ? sl_tls_context_ref(up->tls) : NULL;
	if (s->rule && up->tls_refused) {
		s->attempt.tls_failed = true;
		s->why = "the BackendTLSPolicy of the backend cannot be honoured";
		return NULL;
	}
	s->attempt.ops = sl_up_choose(s, up);
	if (up->budget && !s->attempt.n_tries)
		sl_budget_request(up->budget, sl_loop_now(p->loop));
	if (s->rule && !s->attempt.n_tries)
		e = wanted(s, up);
	if (sl_balance_pick(p,
			    &(struct sl_balance_ask){
				    .up = up,
				    .wanted = e,
				    .avoid = s->attempt.n_tries ? &s->attempt.endpoint : NULL,
				    .client = &s->conn->peer,
				    .req = &s->req,
			    },
			    &s->attempt.lease, &e))
		s->attempt.full = true;
	return e;
}

/* None of the tries reached an endpoint, the last one least. */
static enum sl_end_reason unreached(const struct sl_stream *s)
{
	return s->attempt.tls_failed ? SL_END_UPSTREAM_TLS : SL_END_CONNECT_FAILED;
}

static void start_clock(struct sl_stream *s)
{
	struct sl_loop *loop = s->conn->proxy->loop;

	if (s->rule && s->rule->backend_request_timeout_ns)
		sl_timer_arm(loop, &s->attempt.timer,
			     sl_loop_now(loop) + s->rule->backend_request_timeout_ns);
}

/* On success the endpoint's connection is leased or under way, and the state is CONNECTING. Returns
 * 0, -EBUSY or -EDQUOT when a policy allows no further connection, or none that waits for it,
 * -errno. */
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
	a->head_queued = false;
	a->unreachable = false;
	r = a->ops->open(s, endpoint, reuse);
	if (r || a->ops->ready(s) != -EINPROGRESS)
		return r;
	if (sl_balance_wait(s->conn->proxy, &a->lease)) {
		a->ops->release(s, false);
		return -EDQUOT;
	}
	sl_timer_arm(loop, &a->connect_timer,
		     sl_loop_now(loop) + s->conn->proxy->opts.connect_timeout_ns);
	return 0;
}

/* Whether doing it twice does no harm: idempotent, no body (RFC 9112 section 9.3.1). */
static bool harmless(const struct sl_request *r)
{
	return sl_method_idempotent(r->method) && r->body != SL_BODY_CHUNKED && !r->content_length;
}

/* A body that the redirect cannot carry, or a tunnel to be, would end a splice for good. */
static enum sl_reuse reuse_for(const struct sl_stream *s, bool repeat)
{
	const struct sl_request *req = &s->req;
	bool fits = req->body != SL_BODY_CHUNKED &&
		    req->content_length <= s->conn->proxy->opts.splice_bytes / 2 &&
		    !req->upgrade.ptr && req->method != SL_METHOD_CONNECT;

	if (!fits)
		return SL_REUSE_PLAIN;
	return repeat ? SL_REUSE_AGAIN : SL_REUSE_ONCE;
}

static void back_off(struct sl_stream *s, uint64_t pause_ns)
{
	struct sl_loop *loop = s->conn->proxy->loop;

	s->connect_expired = false;
	sl_timer_arm(loop, &s->attempt.connect_timer, sl_loop_now(loop) + pause_ns);
	sl_stream_move(s, SL_STREAM_BACKOFF);
}

/* Without a word in the rule an endpoint that could not be reached is not tried at once again. */
static bool is_hopeless(const struct sl_stream *s, const struct sl_endpoint *e)
{
	return s->attempt.unreachable && !(s->rule && s->rule->retry) &&
	       sl_addr_eq(&e->addr, &s->attempt.endpoint);
}

/* No endpoint is left, or none that has not reached its limits. */
static void give_up(struct sl_stream *s)
{
	struct sl_attempt *a = &s->attempt;

	sl_balance_end(s->conn->proxy, &a->lease, SL_OUTCOME_NONE, 0); /* it was not tried */
	sl_stream_reply(s, 503,
			a->full			      ? SL_END_OVERFLOW
			: a->n_tries || a->tls_failed ? unreached(s)
						      : SL_END_NO_ENDPOINT);
}

/* The endpoint is the one that it has to be. */
static void open_failed(struct sl_stream *s, int r)
{
	s->attempt.full = r == -EBUSY || r == -EDQUOT;
	if (s->attempt.full)
		give_up(s);
	else
		sl_stream_reply(s, 503, SL_END_CONNECT_FAILED);
}

/* Of state CONNECTING: another endpoint where there is one. */
static void try_next(struct sl_stream *s)
{
	bool repeat = harmless(&s->req) && !s->attempt.retried_stale && !sl_retry_forbidden(s);
	unsigned n_full = 0;

	for (;;) {
		const struct sl_endpoint *e = choose(s);
		uint64_t pause_ns;
		int r;

		if (!e || is_hopeless(s, e)) {
			give_up(s);
			return;
		}
		r = open_to(s, &e->addr, reuse_for(s, repeat));
		if (!r)
			break;
		if (r == -ENOMEM || r == -EMFILE || r == -ENFILE || r == -ENOBUFS) {
			sl_stream_limit(s, r == -ENOMEM ? SL_LIMIT_MEMORY : SL_LIMIT_DESCRIPTORS,
					503, SL_END_INTERNAL);
			return;
		}
		if (r == -EBUSY && ++n_full < MAX_FULL) {
			sl_balance_end(s->conn->proxy, &s->attempt.lease, SL_OUTCOME_NONE, 0);
			continue;
		}
		if (r == -EBUSY || r == -EDQUOT) {
			open_failed(s, r);
			return;
		}
		s->attempt.unreachable = true;
		if (!sl_retry_take(s)) {
			sl_retry_give_answer(s, 503, SL_END_CONNECT_FAILED);
			return;
		}
		sl_balance_retry(s, SL_COUNTER_RETRIES_CONNECT);
		pause_ns = sl_retry_pause_ns(s);
		if (pause_ns) {
			back_off(s, pause_ns);
			return;
		}
	}
	start_clock(s);
}

void sl_attempt_begin(struct sl_stream *s)
{
	sl_stream_move(s, SL_STREAM_CONNECTING);
	try_next(s);
}

/* Nothing is left of the try before: the request goes out from its beginning. */
static void rewind_request(struct sl_stream *s)
{
	s->req_ended = false;
	s->n_interim = 0;
	s->res = (struct sl_response){0};
	s->res_body = (struct sl_h1_body){0};
	s->res_scan = (struct sl_h1_scan){0};
	s->res_trailers = (struct sl_headers){0};
}

/* The try that sl_retry_take() gave, at once or after a pause. */
static void try_again(struct sl_stream *s, enum sl_counter why)
{
	uint64_t pause_ns = sl_retry_pause_ns(s);

	sl_balance_retry(s, why);
	sl_metrics_inc(s->conn->proxy->metrics, why);
	sl_timer_cancel(&s->attempt.timer);
	sl_timer_cancel(&s->attempt.connect_timer);
	rewind_request(s);
	if (pause_ns) {
		back_off(s, pause_ns);
		return;
	}
	if (s->state != SL_STREAM_CONNECTING)
		sl_stream_move(s, SL_STREAM_CONNECTING);
	try_next(s);
}

/* Whether it was TLS that failed, and why. */
static void note_tls(struct sl_stream *s)
{
	const struct sl_upconn *up = s->attempt.up;
	const char *error = sl_sock_tls_error(&up->sock);
	struct sl_str text;

	s->attempt.tls_failed = sl_upconn_tls_failed(up);
	s->why = NULL;
	/* Without memory for it the usual words do. */
	if (s->attempt.tls_failed && *error &&
	    !sl_arena_printf(&s->arena, &text, "TLS to the endpoint failed: %s%c", error, 0))
		s->why = text.ptr;
}

static void connect_failed(struct sl_stream *s, int err)
{
	struct sl_attempt *a = &s->attempt;

	sl_upconn_count_connect(a->up, err);
	note_tls(s);
	a->ops->release(s, false);
	a->unreachable = true;
	if (sl_retry_take(s))
		try_again(s, SL_COUNTER_RETRIES_CONNECT);
	else
		sl_retry_give_answer(s, 503, unreached(s));
}

/* The same, or all of its body is still here. */
static bool repeatable(const struct sl_stream *s)
{
	return !sl_retry_forbidden(s) &&
	       (harmless(&s->req) || (sl_method_idempotent(s->req.method) &&
				      sl_retry_keeps_body(s) && !s->attempt.no_replay));
}

/*
 * The connection ended before a byte of an answer. From the pool, that is mostly the server's idle
 * timeout crossing our request. Sent again when it cannot have been acted on (nothing was
 * sent), or when doing it twice does no harm.
 */
static bool retry_stale(struct sl_stream *s)
{
	struct sl_attempt *a = &s->attempt;
	bool unsent = a->ops == &sl_up_h1 && !sl_upconn_n_sent(a->up);
	struct sl_buf queued = {0};
	bool ended = s->req_ended;
	int r;

	if (a->retried_stale || (!unsent && !repeatable(s)))
		return false;
	a->retried_stale = true;
	sl_metrics_inc(s->conn->proxy->metrics, SL_COUNTER_RETRIES_STALE);
	if (unsent)
		queued = sl_buf_take(&a->up->sock.out); /* head, and what of the body was read */
	a->ops->release(s, false);
	rewind_request(s);
	sl_stream_move(s, SL_STREAM_CONNECTING);
	r = open_to(s, &a->endpoint, SL_REUSE_NEVER);
	if (r) {
		sl_buf_deinit(&queued);
		open_failed(s, r);
		return true;
	}
	if (unsent) {
		a->up->sock.out = queued;
		a->head_queued = true;
		s->req_ended = ended;
	}
	return true;
}

/* The endpoint did nothing with it, whatever the method (RFC 9113 section 8.7). */
static bool retry_untouched(struct sl_stream *s)
{
	if (s->attempt.no_replay || !sl_retry_take(s))
		return false;
	s->attempt.ops->release(s, false);
	try_again(s, SL_COUNTER_RETRIES_REFUSED);
	return true;
}

void sl_attempt_lost(struct sl_stream *s, enum sl_lost lost)
{
	if (lost == SL_LOST_UNTOUCHED && retry_untouched(s))
		return;
	if (lost == SL_LOST_STALE && retry_stale(s))
		return;
	sl_retry_give_answer(s, lost == SL_LOST_UNTOUCHED ? 503 : 502, SL_END_UPSTREAM_CLOSED);
}

/* The endpoint may have gone since the request began; the pool has forgotten its others. */
static bool endpoint_stays(const struct sl_stream *s)
{
	const struct sl_config *now = s->conn->proxy->config;
	const struct sl_upstream *up;

	if (s->config == now)
		return true;
	up = sl_stream_upstream(s);
	if (up && s->rule && up->tls != s->attempt.tls)
		return false;
	for (uint32_t i = 0; up && i < up->n_endpoints; i++) {
		if (sl_addr_eq(&up->endpoints[i].addr, &s->attempt.endpoint))
			return true;
	}
	return false;
}

bool sl_attempt_refuses(struct sl_stream *s)
{
	bool wanted = sl_retry_wants_answer(s);

	if (!wanted || !sl_retry_take(s)) {
		if (wanted && s->attempt.over_budget) {
			sl_retry_give_answer(s, 503, SL_END_RETRY_BUDGET);
			return true;
		}
		sl_retry_give_up(s);
		return false;
	}
	s->attempt.ops->release(s, s->attempt.ops->skip(s) && s->req_ended && endpoint_stays(s));
	try_again(s, SL_COUNTER_RETRIES_CODE);
	return true;
}

void sl_attempt_expired(struct sl_stream *s)
{
	s->attempt_expired = false;
	if (!sl_retry_wants_timeout(s) || !sl_retry_take(s)) {
		sl_retry_give_answer(s, 504, SL_END_UPSTREAM_TIMEOUT);
		return;
	}
	s->attempt.unreachable = s->state == SL_STREAM_CONNECTING;
	s->attempt.ops->release(s, false);
	try_again(s, SL_COUNTER_RETRIES_TIMEOUT);
}

static void count_connect(struct sl_stream *s)
{
	struct sl_metrics_shard *m = s->conn->proxy->metrics;
	struct sl_upconn *up = s->attempt.up;

	if (up->counted_connect)
		return;
	sl_upconn_count_connect(up, 0);
	sl_metrics_observe(m, SL_HISTOGRAM_CONNECT,
			   sl_loop_now(s->conn->proxy->loop) - s->attempt.started_ns);
}

/* The connection that it waited for takes no further stream. */
static void open_elsewhere(struct sl_stream *s)
{
	int r;

	s->attempt.ops->release(s, false);
	s->attempt.n_tries--; /* this one was none */
	r = ++s->attempt.n_elsewhere > MAX_ELSEWHERE
		    ? -ELOOP
		    : open_to(s, &s->attempt.endpoint, SL_REUSE_ONCE);
	if (r)
		open_failed(s, r);
}

/* What of the body went to another endpoint already. */
static int replay_body(struct sl_stream *s)
{
	_cleanup_(sl_buf_deinit) struct sl_buf copy = SL_BUF_INIT(0);
	size_t n = sl_buf_len(&s->attempt.replay);

	if (!n)
		return 0;
	if (sl_buf_append(&copy, sl_buf_ptr(&s->attempt.replay), n))
		return -ENOMEM;
	return s->attempt.ops->write_body(s, &copy, n);
}

static bool connecting_step(struct sl_stream *s)
{
	int r = s->attempt.ops->ready(s);

	if (r == -EINPROGRESS && s->connect_expired)
		r = -ETIMEDOUT;
	if (r == -ETIMEDOUT)
		sl_metrics_limit(s->conn->proxy->metrics, SL_LIMIT_CONNECT_TIMEOUT);
	if (r == -EINPROGRESS)
		return false;
	if (r == -EAGAIN) {
		open_elsewhere(s);
		return true;
	}
	if (r) {
		connect_failed(s, r);
		return true;
	}
	sl_timer_cancel(&s->attempt.connect_timer);
	sl_lb_waited(&s->attempt.lease);
	count_connect(s);
	/* A configured value that the protocol cannot carry, or out of memory. */
	if (!s->attempt.head_queued) {
		r = s->attempt.ops->write_head(s);
		if (!r)
			r = replay_body(s);
	}
	if (r) {
		sl_stream_reply(s, r == -EOPNOTSUPP ? 501 : 503, SL_END_INTERNAL);
		return true;
	}
	s->attempt.head_queued = true;
	sl_stream_move(s, SL_STREAM_WAITING);
	return true;
}

static int take_body(struct sl_stream *s, struct sl_buf *from, size_t n)
{
	sl_retry_remember(s, from, n);
	if (s->mirrors)
		sl_mirrors_feed(s, sl_buf_ptr(from), n);
	return s->attempt.ops->write_body(s, from, n);
}

/* Returns true on progress. */
static bool send_body(struct sl_stream *s)
{
	const struct sl_up_ops *ops = s->attempt.ops;
	bool progress = false;

	if (s->req_ended || ops->full(s))
		return false;
	if (!s->req_body.done) {
		progress = s->down->read_body(s, take_body);
		if (s->state != SL_STREAM_WAITING && s->state != SL_STREAM_RESPONDING)
			return true;
	}
	if (!s->req_body.done)
		return progress;
	s->req_ended = true;
	if (s->mirrors)
		sl_mirrors_end_body(s);
	if (ops->write_end(s))
		sl_stream_reply(s, 503, SL_END_INTERNAL);
	return true;
}

bool sl_attempt_step(struct sl_stream *s)
{
	bool progress = false;

	if (s->state == SL_STREAM_BACKOFF) {
		if (!s->connect_expired)
			return false;
		sl_stream_move(s, SL_STREAM_CONNECTING);
		try_next(s);
		return true;
	}
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
	if (s->res_ended && s->req_ended) {
		sl_answer_end(s);
		return s->state == SL_STREAM_DONE || progress;
	}
	return s->attempt.ops->read(s) || progress;
}

void sl_attempt_release(struct sl_stream *s)
{
	bool whole;

	if (s->auth)
		sl_auth_drop(s);
	if (s->inject)
		sl_inject_drop(s);
	sl_timer_cancel(&s->attempt.timer);
	sl_timer_cancel(&s->attempt.connect_timer);
	sl_buf_deinit(&s->attempt.replay);
	sl_balance_release(s);
	if (s->attempt.up) {
		whole = s->state == SL_STREAM_RESPONDING && s->res_body.done && s->req_ended &&
			!s->tunnel;
		s->attempt.ops->release(s, whole && endpoint_stays(s));
	}
	s->attempt.tls = sl_tls_context_unref(s->attempt.tls);
}
