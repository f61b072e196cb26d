/* SPDX-License-Identifier: Apache-2.0 */
/* "explain": filters, backends and timeouts of the rule that takes a request. */
#include <errno.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "core/views_explain.h"

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

static int put_redirect(json_t *to, const struct sl_response *res)
{
	const struct sl_header *location = sl_headers_find(&res->headers, SL_STR("Location"));
	int r = explain_put(to, "status", json_integer(res->status));

	return r ? r : explain_put_str(to, "location", location ? location->value : SL_STR(""));
}

/* A copy whose header lines can be edited without touching the original. */
static int copy_request(struct explain *e, const struct sl_request *from, struct sl_request *ret)
{
	struct sl_request copy = *from;

	copy.headers = (struct sl_headers){0};
	for (uint32_t i = 0; i < from->headers.n; i++) {
		const struct sl_header *h = &from->headers.items[i];

		if (sl_headers_append(&copy.headers, &e->arena, h->name, h->value))
			return -ENOMEM;
	}
	*ret = copy;
	return 0;
}

static json_t *addresses_json(const struct sl_upstream *up)
{
	json_t *list = json_array();
	char text[SL_ADDR_TEXT];
	int r = list ? 0 : -ENOMEM;

	for (uint32_t i = 0; up && i < up->n_ready && i < MAX_ADDRESSES && !r; i++)
		r = explain_add(list, json_string(sl_addr_format(&up->endpoints[i].addr, text)));
	if (r) {
		json_decref(list);
		return NULL;
	}
	return list;
}

static int fill_backend(struct explain *e, const struct sl_backend *b, json_t *j)
{
	const struct sl_upstream *up = sl_snapshot_upstream(e->control->snap, b->name);
	struct sl_response res = {0};
	struct sl_request req;
	int r;

	if (b->state != SL_BACKEND_OK)
		return explain_put(j, "status", json_integer(500));
	r = copy_request(e, &e->req, &req);
	if (!r)
		r = sl_filters_request(b->filters, b->n_filters, &e->env, &req, &res);
	if (r == SL_FILTER_ANSWER)
		return put_redirect(j, &res);
	if (!r)
		r = put_sent(j, &req);
	if (!r)
		r = explain_put(j, "addresses", addresses_json(up));
	return r || (up && up->n_ready) ? r : explain_put(j, "status", json_integer(503));
}

/* Of a rule for connections. */
static int fill_target(struct explain *e, const struct sl_backend *b, json_t *j)
{
	const struct sl_upstream *up = sl_snapshot_upstream(e->control->snap, b->name);
	bool usable = b->state == SL_BACKEND_OK && up && up->n_ready;

	return usable ? explain_put(j, "addresses", addresses_json(up))
		      : explain_put(j, "refused", json_true());
}

static json_t *backend_json(struct explain *e, const struct sl_rule *rule,
			    const struct sl_backend *b)
{
	int (*fill)(struct explain *, const struct sl_backend *, json_t *) =
		rule->kind >= SL_ROUTE_TLS ? fill_target : fill_backend;
	const struct sl_upstream *up = sl_snapshot_upstream(e->control->snap, b->name);
	_cleanup_(sl_view_decrefp) json_t *j = json_pack(
		"{s:o, s:I, s:f, s:b, s:i, s:i, s:o}", "name", sl_view_str(b->name), "weight",
		(json_int_t)b->weight, "share", (double)b->weight / (double)rule->total_weight,
		"resolved", b->state == SL_BACKEND_OK, "endpoints", up ? (int)up->n_endpoints : 0,
		"ready", up ? (int)up->n_ready : 0, "filters",
		filters_json(b->filters, b->n_filters));

	if (!j || fill(e, b, j))
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

static int put_rule(struct explain *e, const struct sl_rule *rule)
{
	return explain_put(
		e->answer, "rule",
		json_pack("{s:o, s:o, s:o, s:I, s:I}", "route", sl_view_str(rule->route), "name",
			  sl_view_str(rule->name), "filters",
			  filters_json(rule->filters, rule->n_filters), "request_timeout_ms",
			  (json_int_t)(rule->request_timeout_ns / SL_NS_PER_MS),
			  "backend_request_timeout_ms",
			  (json_int_t)(rule->backend_request_timeout_ns / SL_NS_PER_MS)));
}

int explain_rule(struct explain *e, const struct sl_rule *rule)
{
	struct sl_response res = {0};
	json_t *result;
	int r = put_rule(e, rule);

	if (r)
		return r;
	r = sl_filters_request(rule->filters, rule->n_filters, &e->env, &e->req, &res);
	if (r < 0)
		return r;
	if (r != SL_FILTER_ANSWER && !rule->total_weight)
		return explain_put_result(e, "answer", 500, "the rule has no usable backend");
	result = json_pack("{s:s}", "kind", r == SL_FILTER_ANSWER ? "redirect" : "backends");
	if (explain_put(e->answer, "result", result))
		return -ENOMEM;
	if (r == SL_FILTER_ANSWER)
		return put_redirect(result, &res);
	r = put_sent(result, &e->req);
	return r ? r : put_backends(e, rule);
}

int explain_connection_rule(struct explain *e, const struct sl_rule *rule)
{
	int r = put_rule(e, rule);

	if (r)
		return r;
	if (!rule->total_weight)
		return explain_put_result(e, "refused", 0, "all weights of the rule are zero");
	r = explain_put(e->answer, "result", json_pack("{s:s}", "kind", "connection"));
	return r ? r : put_backends(e, rule);
}
