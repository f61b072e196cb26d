/* SPDX-License-Identifier: Apache-2.0 */
/* "explain": filters, backends and timeouts of the rule that takes a request. */
#include <errno.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "core/views_explain.h"
#include "http/uri.h"

/* Endpoints that are named; the rest is counted. */
enum { MAX_ADDRESSES = 16 };

static int describe_edits(json_t *list, const char *kind, const char *verb,
			  const struct sl_header_edit *edits, uint32_t n)
{
	int r = 0;

	for (uint32_t i = 0; i < n && !r; i++) {
		_cleanup_(sl_buf_deinit) struct sl_buf text = SL_BUF_INIT(0);

		r = sl_buf_printf(&text, "%s: %s %.*s%s%.*s", kind, verb, SL_STR_ARG(edits[i].name),
				  edits[i].value.len ? " = " : "", SL_STR_ARG(edits[i].value));
		if (!r)
			r = explain_add(list, sl_view_str(sl_buf_str(&text)));
	}
	return r;
}

static int describe_headers(json_t *list, const char *kind, const struct sl_header_edits *h)
{
	int r = describe_edits(list, kind, "set", h->set, h->n_set);

	if (!r)
		r = describe_edits(list, kind, "add", h->add, h->n_add);
	return r ? r : describe_edits(list, kind, "remove", h->remove, h->n_remove);
}

/* "RequestMirror: 25 of 50 requests to ns/name:port" */
static int describe_mirror(json_t *list, const struct sl_mirror *m)
{
	_cleanup_(sl_buf_deinit) struct sl_buf text = SL_BUF_INIT(0);
	int r = sl_buf_printf(&text, "RequestMirror: %u of %u requests to %.*s", m->numerator,
			      m->denominator, SL_STR_ARG(m->backend));

	return r ? r : explain_add(list, sl_view_str(sl_buf_str(&text)));
}

/* "ExternalAuth: GRPC, ns/name:port is asked" */
static int describe_auth(json_t *list, const struct sl_ext_auth *auth)
{
	_cleanup_(sl_buf_deinit) struct sl_buf text = SL_BUF_INIT(0);
	int r = sl_buf_printf(&text, "ExternalAuth: %s, %.*s %s", auth->grpc ? "GRPC" : "HTTP",
			      SL_STR_ARG(auth->backend),
			      auth->resolved ? "is asked" : "is not resolved: 500");

	return r ? r : explain_add(list, sl_view_str(sl_buf_str(&text)));
}

static int describe_filters(json_t *list, const struct sl_filter *filters, uint32_t n)
{
	int r = 0;

	for (uint32_t i = 0; i < n && !r; i++) {
		switch (filters[i].kind) {
		case SL_FILTER_KIND_REQUEST_HEADERS:
			r = describe_headers(list, "RequestHeaderModifier", &filters[i].headers);
			break;
		case SL_FILTER_KIND_RESPONSE_HEADERS:
			r = describe_headers(list, "ResponseHeaderModifier", &filters[i].headers);
			break;
		case SL_FILTER_KIND_REDIRECT:
			r = explain_add(list, json_string("RequestRedirect"));
			break;
		case SL_FILTER_KIND_REWRITE:
			r = explain_add(list, json_string("URLRewrite"));
			break;
		case SL_FILTER_KIND_CORS:
			r = explain_add(list, json_string("CORS"));
			break;
		case SL_FILTER_KIND_MIRROR:
			r = describe_mirror(list, filters[i].mirror);
			break;
		case SL_FILTER_KIND_AUTH:
			r = describe_auth(list, filters[i].auth);
			break;
		}
	}
	return r;
}

static json_t *filters_json(const struct sl_filter *filters, uint32_t n)
{
	json_t *list = json_array();

	if (list && describe_filters(list, filters, n)) {
		json_decref(list);
		return NULL;
	}
	return list;
}

/* The request line's path and Host as they are sent. */
static int put_sent(json_t *to, const struct sl_request *req)
{
	_cleanup_(sl_buf_deinit) struct sl_buf path = SL_BUF_INIT(0);
	int r = sl_buf_printf(&path, "%.*s%s%.*s", SL_STR_ARG(req->path), req->query.ptr ? "?" : "",
			      SL_STR_ARG(req->query));

	if (!r)
		r = explain_put_str(to, "path", sl_buf_str(&path));
	return r ? r : explain_put_str(to, "authority", req->authority);
}

/* What a filter answers: a redirect, or to a CORS preflight. */
static int put_answer(json_t *to, const struct sl_response *res)
{
	const struct sl_header *location = sl_headers_find(&res->headers, SL_STR("Location"));
	int r = explain_put(to, "kind", json_string(location ? "redirect" : "preflight"));

	if (!r)
		r = explain_put(to, "status", json_integer(res->status));
	return r || !location ? r : explain_put_str(to, "location", location->value);
}

/* As if nobody were called, or everything allowed. */
static int run_filters(struct explain *e, const struct sl_filter *filters, uint32_t n,
		       struct sl_request *req, struct sl_response *ret)
{
	int r;

	do
		r = sl_filters_request(filters, n, &e->env, req, ret);
	while (r == SL_FILTER_CALL);
	return r;
}

static json_t *addresses_json(const struct sl_upstream *up)
{
	json_t *list = json_array();
	char text[SL_ADDR_TEXT];
	int r = list ? 0 : -ENOMEM;

	for (uint32_t i = 0; up && i < up->n_usable && i < MAX_ADDRESSES && !r; i++)
		r = explain_add(list, json_string(sl_addr_format(&up->endpoints[i].addr, text)));
	if (r) {
		json_decref(list);
		return NULL;
	}
	return list;
}

static int describe_limits(struct sl_buf *out, const struct sl_breaker *l)
{
	const struct {
		const char *name;
		uint32_t max;
	} limits[] = {
		{"maxConnections", l->connections},
		{"maxPendingRequests", l->pending},
		{"maxRequests", l->requests},
		{"maxRequestsPerConnection", l->requests_per_connection},
		{"perEndpoint.maxConnections", l->endpoint_connections},
		{"perEndpoint.maxRequests", l->endpoint_requests},
	};
	int r = 0;

	for (size_t i = 0; i < sizeof(limits) / sizeof(*limits) && !r; i++) {
		if (limits[i].max)
			r = sl_buf_printf(out, ", %s %u", limits[i].name, limits[i].max);
	}
	return r;
}

/* "TrafficPolicy/ns/name: ConsistentHash of header x, outlierDetection, maxRequests 9" */
static int put_balancing(json_t *to, const struct sl_balance *b)
{
	static const char *const balancers[] = {"RoundRobin", "LeastRequest", "PeakEWMA",
						"ConsistentHash"};
	static const char *const sources[] = {" of header ", " of cookie ", " of the source IP"};
	_cleanup_(sl_buf_deinit) struct sl_buf text = SL_BUF_INIT(0);
	bool sticky = b->affinity_ns && b->balancer != SL_BALANCER_HASH;
	bool hashes = b->balancer == SL_BALANCER_HASH;
	int r = sl_buf_printf(&text, "%.*s%s%s%s%.*s", SL_STR_ARG(b->policy),
			      b->policy.len ? ": " : "",
			      sticky ? "sessionAffinity ClientIP" : balancers[b->balancer],
			      hashes ? sources[b->hash] : "", SL_STR_ARG(b->hash_name));

	if (!r && b->slow_start_ns)
		r = sl_buf_append_str(&text, SL_STR(", slowStart"));
	if (!r && b->outliers.interval_ns)
		r = sl_buf_append_str(&text, SL_STR(", outlierDetection"));
	if (!r)
		r = describe_limits(&text, &b->limits);
	return r ? r : explain_put_str(to, "balancing", sl_buf_str(&text));
}

/* "XBackendTrafficPolicy/ns/name: 20 % in 10000 ms, or 10 in 1000 ms" */
static int put_budget(json_t *to, const struct sl_retry_budget *b)
{
	_cleanup_(sl_buf_deinit) struct sl_buf text = SL_BUF_INIT(0);
	int r = sl_buf_printf(&text, "%.*s: %u %% in %llu ms, or %u in %llu ms",
			      SL_STR_ARG(b->policy), b->percent,
			      (unsigned long long)(b->interval_ns / SL_NS_PER_MS), b->rate_count,
			      (unsigned long long)(b->rate_interval_ns / SL_NS_PER_MS));

	return r ? r : explain_put_str(to, "retry_budget", sl_buf_str(&text));
}

/* Of a backend, for the request as it would get it. */
static int put_faults_of(struct explain *e, json_t *j, const struct sl_faults *f,
			 const struct sl_request *req)
{
	struct sl_str path;

	if (sl_uri_path_to_match(&e->arena, req->path, &path))
		return -ENOMEM;
	return explain_put_faults(e, j, f, req, path);
}

static int fill_backend(struct explain *e, const struct sl_backend *b, json_t *j)
{
	const struct sl_upstream *up = sl_snapshot_upstream(e->control->snap, b->upstream);
	struct sl_response res = {0};
	struct sl_request req = e->req;
	int r;

	if (b->state != SL_BACKEND_OK)
		return explain_put(j, "status", json_integer(500));
	r = sl_headers_copy(&e->req.headers, &e->arena, &req.headers);
	if (!r)
		r = run_filters(e, b->filters, b->n_filters, &req, &res);
	if (r == SL_FILTER_ANSWER)
		return put_answer(j, &res);
	if (!r)
		r = put_sent(j, &req);
	if (!r)
		r = explain_put(j, "addresses", addresses_json(up));
	if (!r && up)
		r = put_faults_of(e, j, up->faults, &req);
	if (r || (up && up->n_usable && !up->tls_refused))
		return r;
	return explain_put(j, "status", json_integer(503));
}

/* Of a rule for connections. */
static int fill_target(struct explain *e, enum sl_route_kind kind, const struct sl_backend *b,
		       json_t *j)
{
	const struct sl_upstream *up = sl_snapshot_upstream(e->control->snap, b->upstream);
	bool usable = b->state == SL_BACKEND_OK && up && up->n_usable &&
		      (kind == SL_ROUTE_TLS || !up->tls_refused);

	return usable ? explain_put(j, "addresses", addresses_json(up))
		      : explain_put(j, "refused", json_true());
}

static json_t *tls_json(const struct sl_upstream *up)
{
	if (!up->tls)
		return json_pack("{s:o, s:b}", "policy", sl_view_str(up->tls_policy), "refused", 1);
	return json_pack("{s:o, s:o}", "policy", sl_view_str(up->tls_policy), "hostname",
			 sl_view_str(sl_tls_context_hostname(up->tls)));
}

static int put_persistence(json_t *to, const struct sl_persistence *p)
{
	json_t *j = json_pack("{s:s, s:o, s:I, s:I}", "type", p->is_header ? "Header" : "Cookie",
			      "name", sl_view_str(p->name), "absolute_timeout_ms",
			      (json_int_t)(p->absolute_timeout_ns / SL_NS_PER_MS),
			      "idle_timeout_ms", (json_int_t)(p->idle_timeout_ns / SL_NS_PER_MS));

	return explain_put(to, "session", j);
}

static json_t *backend_json(struct explain *e, const struct sl_rule *rule,
			    const struct sl_backend *b)
{
	const struct sl_upstream *up = sl_snapshot_upstream(e->control->snap, b->upstream);
	_cleanup_(sl_view_decrefp) json_t *j = json_pack(
		"{s:o, s:I, s:f, s:b, s:i, s:i, s:o}", "name", sl_view_str(b->name), "weight",
		(json_int_t)b->weight, "share", (double)b->weight / (double)rule->total_weight,
		"resolved", b->state == SL_BACKEND_OK, "endpoints", up ? (int)up->n_endpoints : 0,
		"ready", up ? (int)up->n_usable : 0, "filters",
		filters_json(b->filters, b->n_filters));
	const struct sl_persistence *session;

	if (!j ||
	    (rule->kind >= SL_ROUTE_TLS ? fill_target(e, rule->kind, b, j) : fill_backend(e, b, j)))
		return NULL;
	/* What a TLSRoute passes on is TLS already. */
	if (up && up->tls_policy.len && rule->kind != SL_ROUTE_TLS &&
	    explain_put(j, "tls", tls_json(up)))
		return NULL;
	if ((up && up->balance && put_balancing(j, up->balance)) ||
	    (up && up->budget && put_budget(j, up->budget)))
		return NULL;
	/* The rule's own is shown with the rule. */
	session = sl_persistence_of(rule, up);
	if (session && session != rule->persistence && put_persistence(j, session))
		return NULL;
	return sl_take(j);
}

static int put_backends(struct explain *e, const struct sl_rule *rule)
{
	json_t *list = json_array();
	int r = explain_put(e->answer, "backends", list);

	for (uint32_t i = 0; i < rule->n_backends && !r; i++) {
		if (rule->backends[i].weight)
			r = explain_add(list, backend_json(e, rule, &rule->backends[i]));
	}
	return r;
}

static json_t *codes_json(const struct sl_retry *retry)
{
	json_t *list = json_array();
	int r = list ? 0 : -ENOMEM;

	for (uint16_t code = SL_RETRY_MIN_CODE; code <= SL_RETRY_MAX_CODE && !r; code++) {
		if (sl_retry_has(retry, code))
			r = explain_add(list, json_integer(code));
	}
	if (r) {
		json_decref(list);
		return NULL;
	}
	return list;
}

/* backoff_ms is left out where the agent chooses. */
static int put_retry(json_t *rule, const struct sl_retry *retry)
{
	json_t *j = json_pack("{s:I, s:o}", "attempts", (json_int_t)retry->attempts, "codes",
			      codes_json(retry));
	int r = explain_put(rule, "retry", j);

	if (r || retry->backoff_ns == SL_RETRY_BACKOFF_DEFAULT)
		return r;
	return explain_put(j, "backoff_ms",
			   json_integer((json_int_t)(retry->backoff_ns / SL_NS_PER_MS)));
}

static int put_rule(struct explain *e, const struct sl_rule *rule)
{
	json_t *j = json_pack("{s:o, s:o, s:o, s:I, s:I}", "route", sl_view_str(rule->route),
			      "name", sl_view_str(rule->name), "filters",
			      filters_json(rule->filters, rule->n_filters), "request_timeout_ms",
			      (json_int_t)(rule->request_timeout_ns / SL_NS_PER_MS),
			      "backend_request_timeout_ms",
			      (json_int_t)(rule->backend_request_timeout_ns / SL_NS_PER_MS));
	int r = explain_put(e->answer, "rule", j);

	if (!r && rule->retry)
		r = put_retry(j, rule->retry);
	if (!r)
		r = explain_put_faults(e, j, rule->faults, &e->req, e->env.path);
	return r || !rule->persistence ? r : put_persistence(j, rule->persistence);
}

int explain_rule(struct explain *e, const struct sl_rule *rule)
{
	struct sl_response res = {0};
	json_t *result;
	int r = put_rule(e, rule);

	if (r)
		return r;
	r = run_filters(e, rule->filters, rule->n_filters, &e->req, &res);
	if (r < 0)
		return r;
	if (r != SL_FILTER_ANSWER && !rule->total_weight)
		return explain_put_result(e, "answer", 500, "the rule has no usable backend");
	result = json_pack("{s:s}", "kind", "backends");
	if (explain_put(e->answer, "result", result))
		return -ENOMEM;
	if (r == SL_FILTER_ANSWER)
		return put_answer(result, &res);
	r = put_sent(result, &e->req);
	return r ? r : put_backends(e, rule);
}

/* Who follows the rule, where the route asks for the kernel. */
static int put_enforcer(const struct explain *e, json_t *result)
{
	const struct sl_frontend *f = e->frontend;
	int r = 0;

	if (e->table != f->producer)
		return 0;
	if (f->by_kernel || f->by_agent_why.len)
		r = explain_put_str(result, "enforced_by",
				    f->by_kernel ? SL_STR("kernel") : SL_STR("agent"));
	if (!r && f->by_agent_why.len)
		r = explain_put_str(result, "enforced_by_why", f->by_agent_why);
	return r;
}

int explain_connection_rule(struct explain *e, const struct sl_rule *rule)
{
	json_t *result; /* borrowed, once it is put */
	int r = put_rule(e, rule);

	if (r)
		return r;
	if (!rule->total_weight)
		return explain_put_result(e, "refused", 0, "all weights of the rule are zero");
	result = json_pack("{s:s}", "kind", rule->kind == SL_ROUTE_UDP ? "flow" : "connection");
	r = explain_put(e->answer, "result", result);
	if (!r)
		r = put_enforcer(e, result);
	return r ? r : put_backends(e, rule);
}
