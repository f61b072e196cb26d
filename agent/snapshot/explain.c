/* SPDX-License-Identifier: Apache-2.0 */
#include "snapshot/explain.h"

#include <errno.h>
#include "base/cleanup.h"
#include "snapshot/match_impl.h"

SL_DEFINE_CLEANUP(struct sl_regex_scratch *, sl_regex_scratch_free)

struct walk {
	const struct sl_request *req;
	struct sl_str path;
	struct sl_regex_scratch *scratch;
	struct sl_arena *arena;
};

static bool regex_fits(const struct walk *w, const struct sl_regex *regex, struct sl_str value,
		       struct sl_explain_step *step)
{
	enum sl_regex_result r = sl_regex_match(regex, value, w->scratch);

	step->limit |= r == SL_REGEX_LIMIT;
	return r == SL_REGEX_YES;
}

static bool text_fits(const struct walk *w, const struct sl_match_text *want, struct sl_str have,
		      struct sl_explain_step *step)
{
	if (!want->text.len)
		return true;
	return want->regex ? regex_fits(w, want->regex, have, step) : sl_str_eq(want->text, have);
}

static bool rpc_fits(const struct walk *w, const struct sl_match *m, struct sl_explain_step *step)
{
	struct sl_str service, method;

	match_split_rpc(w->path, &service, &method);
	return text_fits(w, &m->rpc_service, service, step) &&
	       text_fits(w, &m->rpc_method, method, step);
}

/* want: empty is any. */
static bool name_fits(struct sl_str want, struct sl_str have)
{
	if (!sl_str_starts(want, SL_STR("*.")))
		return !want.len || sl_str_eq(want, have);
	want = sl_str_skip(want, 1);
	return have.len > want.len && sl_str_eq(sl_str_skip(have, have.len - want.len), want);
}

static bool path_fits(const struct walk *w, const struct sl_match *m, struct sl_explain_step *step)
{
	if (m->rule->kind >= SL_ROUTE_TLS)
		return name_fits(m->server_name, w->path);
	if (m->is_rpc)
		return rpc_fits(w, m, step);
	switch (m->class) {
	case SL_MATCH_EXACT:
		return sl_str_eq(w->path, m->path);
	case SL_MATCH_PREFIX:
		/* Element-wise: it ends where the path does, or before a "/". */
		return sl_str_starts(w->path, m->path) &&
		       (w->path.len == m->path.len || w->path.ptr[m->path.len] == '/');
	case SL_MATCH_REGEX:
		break;
	}
	return regex_fits(w, m->path_regex, w->path, step);
}

static int check_value(const struct walk *w, enum bin_kind kind, const struct sl_match_value *v,
		       struct sl_explain_step *step)
{
	int r = kind == BIN_HEADER ? match_find_header(w->req, w->arena, v->name, &step->have)
				   : match_find_query(w->req, w->arena, v->name, &step->have);

	if (r == -ENOMEM)
		return r;
	if (!r && (v->regex ? regex_fits(w, v->regex, step->have, step)
			    : sl_str_eq(v->value, step->have)))
		return 0;
	if (r)
		step->have = SL_STR_NULL;
	else if (!step->have.ptr)
		step->have = SL_STR(""); /* there, and empty */
	step->value = v;
	step->verdict = kind == BIN_HEADER ? SL_EXPLAIN_HEADER : SL_EXPLAIN_QUERY;
	return 0;
}

/* Leaves the verdict at TAKES when every condition holds. */
static int check_match(const struct walk *w, struct sl_explain_step *step)
{
	const struct sl_match *m = step->match;
	int r = 0;

	if (!path_fits(w, m, step))
		step->verdict = SL_EXPLAIN_PATH;
	else if (m->method != SL_METHOD_OTHER && m->method != w->req->method)
		step->verdict = SL_EXPLAIN_METHOD;
	for (uint32_t i = 0; i < m->n_headers && !r && step->verdict == SL_EXPLAIN_TAKES; i++)
		r = check_value(w, BIN_HEADER, &m->headers[i], step);
	for (uint32_t i = 0; i < m->n_queries && !r && step->verdict == SL_EXPLAIN_TAKES; i++)
		r = check_value(w, BIN_QUERY, &m->queries[i], step);
	return r;
}

int sl_route_table_explain(const struct sl_route_table *t, const struct sl_request *req,
			   struct sl_str path, struct sl_arena *arena, struct sl_explain *ret)
{
	_cleanup_(sl_regex_scratch_freep) struct sl_regex_scratch *scratch = NULL;
	struct walk w = {.req = req, .path = path, .arena = arena};
	struct sl_explain e = {0};
	_cleanup_(sl_freep) const struct sl_match **matches = NULL;
	int r = sl_match_index_list(t->index, &matches, &e.n_steps);

	if (!r)
		r = sl_regex_scratch_new(&scratch);
	if (r)
		return r;
	w.scratch = scratch;
	if (t->kind < SL_ROUTE_TLS && (!path.len || path.ptr[0] != '/'))
		w.path = SL_STR("/"); /* CONNECT and "OPTIONS *" name the whole server */
	e.steps = sl_arena_new_n(arena, struct sl_explain_step, e.n_steps + 1);
	if (!e.steps)
		return -ENOMEM;
	for (uint32_t i = 0; i < e.n_steps; i++) {
		e.steps[i].match = matches[i];
		r = check_match(&w, &e.steps[i]);
		if (r)
			return r;
		if (e.steps[i].verdict != SL_EXPLAIN_TAKES)
			continue;
		if (e.rule)
			e.steps[i].verdict = SL_EXPLAIN_LATER;
		else
			e.rule = matches[i]->rule;
	}
	*ret = e;
	return 0;
}

int sl_match_value_describe(const char *kind, const struct sl_match_value *v, struct sl_buf *out)
{
	return sl_buf_printf(out, "%s %.*s %s %.*s", kind, SL_STR_ARG(v->name),
			     v->regex ? "~" : "=", SL_STR_ARG(v->value));
}

static int describe_values(const char *kind, const struct sl_match_value *values, uint32_t n,
			   struct sl_buf *out)
{
	int r = 0;

	for (uint32_t i = 0; i < n && !r; i++) {
		r = sl_buf_append_str(out, SL_STR(", "));
		if (!r)
			r = sl_match_value_describe(kind, &values[i], out);
	}
	return r;
}

/* "Exact service/method", "*" for a part that can be any. */
static int describe_rpc(const struct sl_match *m, struct sl_buf *out)
{
	struct sl_str any = SL_STR("*");
	bool regex = m->rpc_service.regex || m->rpc_method.regex;

	if (!m->rpc_service.text.len && !m->rpc_method.text.len)
		return sl_buf_printf(out, "any method");
	return sl_buf_printf(out, "%s %.*s/%.*s", regex ? "RegularExpression" : "Exact",
			     SL_STR_ARG(m->rpc_service.text.len ? m->rpc_service.text : any),
			     SL_STR_ARG(m->rpc_method.text.len ? m->rpc_method.text : any));
}

int sl_match_describe(const struct sl_match *m, struct sl_buf *out)
{
	static const char *const classes[] = {
		[SL_MATCH_EXACT] = "Exact",
		[SL_MATCH_REGEX] = "RegularExpression",
		[SL_MATCH_PREFIX] = "PathPrefix",
	};
	/* In the order of enum sl_method. */
	static const char *const methods[] = {"",	"GET",	   "HEAD",    "POST",  "PUT",
					      "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"};
	int r;

	if (m->rule && m->rule->kind == SL_ROUTE_TCP)
		return sl_buf_append_str(out, SL_STR("any connection"));
	if (m->rule && m->rule->kind == SL_ROUTE_UDP)
		return sl_buf_append_str(out, SL_STR("any flow"));
	if (m->rule && m->rule->kind == SL_ROUTE_TLS)
		return sl_buf_printf(out, "name %.*s", SL_STR_ARG(m->server_name));
	r = m->is_rpc ? describe_rpc(m, out)
		      : sl_buf_printf(out, "%s %.*s", classes[m->class],
				      SL_STR_ARG(m->path.len ? m->path : SL_STR("/")));

	if (!r && m->method != SL_METHOD_OTHER)
		r = sl_buf_printf(out, ", method %s", methods[m->method]);
	if (!r)
		r = describe_values("header", m->headers, m->n_headers, out);
	return r ? r : describe_values("query", m->queries, m->n_queries, out);
}
