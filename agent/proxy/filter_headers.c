/* SPDX-License-Identifier: Apache-2.0 */
/*
 * RequestHeaderModifier and ResponseHeaderModifier. Fields that frame a message or belong to one
 * hop may be edited without effect: the codec writes those itself.
 */
#include "proxy/filter_impl.h"

/* The old value first, as the tests of the API want it: "old,new". */
static int join(struct sl_arena *a, struct sl_str old, struct sl_str separator, struct sl_str added,
		struct sl_str *ret)
{
	if (!old.len) {
		*ret = added;
		return 0;
	}
	return sl_arena_printf(a, ret, "%.*s%.*s%.*s", SL_STR_ARG(old), SL_STR_ARG(separator),
			       SL_STR_ARG(added));
}

static int add_value(struct sl_headers *h, struct sl_arena *a, const struct sl_header_edit *e)
{
	struct sl_header *first = sl_headers_find(h, e->name);
	struct sl_str value;
	int r;

	/* Set-Cookie lines cannot be joined (RFC 9110 section 5.3). */
	if (!first || sl_str_ieq(e->name, SL_STR("set-cookie")))
		return sl_headers_append(h, a, e->name, e->value);
	/* Nor is Cookie a list (RFC 6265 section 4.2.1). */
	if (sl_str_ieq(e->name, SL_STR("cookie")))
		return join(a, first->value, SL_STR("; "), e->value, &first->value);
	r = sl_headers_join(h, a, e->name, &value);
	if (r)
		return r;
	r = join(a, value, SL_STR(","), e->value, &value);
	if (r)
		return r;
	return sl_headers_set(h, a, first->name, value);
}

static int edit(struct sl_headers *h, struct sl_arena *a, const struct sl_header_edits *edits)
{
	int r;

	for (uint32_t i = 0; i < edits->n_set; i++) {
		r = sl_headers_set(h, a, edits->set[i].name, edits->set[i].value);
		if (r)
			return r;
	}
	for (uint32_t i = 0; i < edits->n_add; i++) {
		r = add_value(h, a, &edits->add[i]);
		if (r)
			return r;
	}
	for (uint32_t i = 0; i < edits->n_remove; i++)
		(void)sl_headers_remove(h, edits->remove[i].name); /* it may be absent */
	return 0;
}

/* A request has one Host, which its codec writes from the authority: it can be set, and nothing
 * else. */
static int keep_host(const struct sl_filter_env *env, const struct sl_header_edits *edits,
		     struct sl_request *req)
{
	for (uint32_t i = 0; i < edits->n_set; i++)
		if (sl_str_ieq(edits->set[i].name, SL_STR("host")))
			req->authority = edits->set[i].value;
	if (!sl_headers_find(&req->headers, SL_STR("host")) && !req->authority.len)
		return 0;
	return sl_filter_set_authority(env, req, req->authority);
}

int sl_filter_request_headers(const struct sl_filter *f, struct sl_filter_env *env,
			      struct sl_request *req, struct sl_response *ret_response)
{
	int r = edit(&req->headers, env->arena, &f->headers);

	(void)ret_response; /* this filter never answers */
	return r ? r : keep_host(env, &f->headers, req);
}

int sl_filter_response_headers(const struct sl_filter *f, const struct sl_filter_env *env,
			       struct sl_response *res)
{
	return edit(&res->headers, env->arena, &f->headers);
}
