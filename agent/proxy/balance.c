/* SPDX-License-Identifier: Apache-2.0 */
/* What a request tells the balancer before, and how its endpoint did afterwards. */
#include "proxy/state.h"

/* The first cookie of that name, without quotes being looked at (RFC 6265 section 5.4). */
static bool find_cookie(const struct sl_headers *headers, struct sl_str name, struct sl_str *ret)
{
	for (uint32_t i = 0; i < headers->n; i++) {
		struct sl_str rest = headers->items[i].value;

		while (sl_str_ieq(headers->items[i].name, SL_STR("cookie")) && rest.len) {
			const char *end = memchr(rest.ptr, ';', rest.len);
			size_t len = end ? (size_t)(end - rest.ptr) : rest.len;
			struct sl_str pair = {rest.ptr, len};

			rest = sl_str_skip(rest, end ? len + 1 : len);
			while (pair.len && (*pair.ptr == ' ' || *pair.ptr == '\t'))
				pair = sl_str_skip(pair, 1);
			if (pair.len > name.len && pair.ptr[name.len] == '=' &&
			    sl_str_starts(pair, name)) {
				*ret = sl_str_skip(pair, name.len + 1);
				return true;
			}
		}
	}
	return false;
}

static bool find_key(const struct sl_request *req, const struct sl_balance *b, struct sl_str *ret)
{
	const struct sl_header *h;

	if (b->hash == SL_HASH_COOKIE)
		return find_cookie(&req->headers, b->hash_name, ret);
	if (b->hash != SL_HASH_HEADER)
		return false;
	if (sl_str_eqc(b->hash_name, "host")) {
		*ret = req->authority;
		return true;
	}
	h = sl_headers_find(&req->headers, b->hash_name);
	if (h)
		*ret = h->value;
	return h;
}

static void count_limit(struct sl_proxy *p, enum sl_lb_limit limit)
{
	static const enum sl_counter counters[] = {
		[SL_LB_REQUESTS] = SL_COUNTER_OVERFLOWS_REQUESTS,
		[SL_LB_PENDING] = SL_COUNTER_OVERFLOWS_PENDING,
		[SL_LB_CONNECTIONS] = SL_COUNTER_OVERFLOWS_CONNECTIONS,
	};

	if (limit)
		sl_metrics_inc(p->metrics, counters[limit]);
}

enum sl_lb_limit sl_balance_pick(struct sl_proxy *p, const struct sl_balance_ask *ask,
				 struct sl_lb_lease *lease, const struct sl_endpoint **ret)
{
	struct sl_lb_ask lb = {
		.avoid = ask->avoid, .client = ask->client, .now_ns = sl_loop_now(p->loop)};
	enum sl_lb_limit limit = SL_LB_GRANTED;
	const struct sl_upstream *up = ask->up;
	const struct sl_endpoint *e;
	struct sl_str key;

	if (up->balance && ask->req && find_key(ask->req, up->balance, &key)) {
		lb.hash = sl_balance_hash(key);
		lb.hashed = true;
	}
	e = ask->wanted;
	if (!e || sl_lb_is_ejected(up, (uint32_t)(e - up->endpoints), lb.now_ns))
		e = sl_lb_pick(p->lb, up, &lb);
	if (e)
		limit = sl_lb_begin(lease, up, e);
	else if (up->n_usable)
		limit = SL_LB_REQUESTS;
	count_limit(p, limit);
	*ret = limit ? NULL : e;
	return limit;
}

enum sl_lb_limit sl_balance_wait(struct sl_proxy *p, struct sl_lb_lease *lease)
{
	enum sl_lb_limit limit = sl_lb_wait(lease);

	count_limit(p, limit);
	return limit;
}

/* Connections that nobody uses make room first, to whichever of the endpoints they lead. */
enum sl_lb_limit sl_balance_connect(struct sl_proxy *p, const struct sl_lb_lease *request,
				    struct sl_lb_lease *ret)
{
	enum sl_lb_limit limit = sl_lb_connect(ret, request);
	const struct sl_upstream *up = request ? request->up : NULL;

	for (uint32_t i = 0; limit && i < up->n_endpoints; i++) {
		const struct sl_endpoint *e =
			&up->endpoints[(request->endpoint + i) % up->n_endpoints];

		if (sl_pool_drop_idle(p->pool, &e->addr))
			limit = sl_lb_connect(ret, request);
	}
	count_limit(p, limit);
	return limit;
}

void sl_balance_end(struct sl_proxy *p, struct sl_lb_lease *lease, enum sl_outcome outcome,
		    uint64_t latency_ns)
{
	if (sl_lb_end(lease, outcome, latency_ns, sl_loop_now(p->loop)))
		sl_metrics_inc(p->metrics, SL_COUNTER_EJECTIONS);
}

/* ---- streams ---- */

/* UNAVAILABLE is what gRPC says instead of 503. */
static bool is_unavailable(const struct sl_stream *s)
{
	const struct sl_header *h =
		s->is_grpc ? sl_headers_find(&s->res.headers, SL_STR("grpc-status")) : NULL;

	return h && sl_str_eqc(h->value, "14");
}

static enum sl_outcome by_status(const struct sl_stream *s)
{
	uint16_t status = s->res.status;

	if (!s->attempt.first_byte_ns || !status)
		return SL_OUTCOME_NONE;
	if ((status >= 502 && status <= 504) || is_unavailable(s))
		return SL_OUTCOME_GATEWAY;
	return status >= 500 ? SL_OUTCOME_5XX : SL_OUTCOME_OK;
}

static enum sl_outcome by_end(const struct sl_stream *s)
{
	switch (s->end) {
	case SL_END_CONNECT_FAILED:
		return SL_OUTCOME_CONNECT;
	case SL_END_UPSTREAM_CLOSED:
	case SL_END_UPSTREAM_INVALID:
	case SL_END_UPSTREAM_TIMEOUT:
		return SL_OUTCOME_GATEWAY;
	case SL_END_REQUEST_TIMEOUT:
		return s->attempt.first_byte_ns ? by_status(s) : SL_OUTCOME_GATEWAY;
	default:
		return by_status(s);
	}
}

static void end_lease(struct sl_stream *s, enum sl_outcome outcome)
{
	const struct sl_attempt *a = &s->attempt;

	if (a->lease.up)
		sl_balance_end(s->conn->proxy, &s->attempt.lease, outcome,
			       a->first_byte_ns ? a->first_byte_ns - a->started_ns + 1 : 0);
}

void sl_balance_release(struct sl_stream *s)
{
	end_lease(s, s->attempt.lease.up ? by_end(s) : SL_OUTCOME_NONE);
}

void sl_balance_retry(struct sl_stream *s, enum sl_counter why)
{
	switch (why) {
	case SL_COUNTER_RETRIES_CONNECT:
		end_lease(s, SL_OUTCOME_CONNECT);
		break;
	case SL_COUNTER_RETRIES_CODE:
		end_lease(s, by_status(s));
		break;
	case SL_COUNTER_RETRIES_TIMEOUT:
		end_lease(s, s->attempt.unreachable ? SL_OUTCOME_CONNECT : SL_OUTCOME_GATEWAY);
		break;
	default:
		end_lease(s, SL_OUTCOME_NONE);
	}
}
