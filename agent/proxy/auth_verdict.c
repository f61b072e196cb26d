/* SPDX-License-Identifier: Apache-2.0 */
/* What an authorization service over gRPC has done to a request, and to its answer. */
#include <errno.h>
#include "http/ext_authz.h"
#include "http/h1_fields.h"
#include "http/uri.h"
#include "proxy/state.h"

struct sl_auth_edits {
	struct sl_auth_edits *next; /* of a service that was asked before */
	struct sl_authz_edits edits;
};

/* Where a message ends and who it is for is the agent's to say. */
static bool is_ours(struct sl_str name)
{
	return sl_h1_field_from(name) != SL_H1_FIELD_OTHER ||
	       sl_str_ieq(name, SL_STR("http2-settings"));
}

static int edit_header(const struct sl_authz_edit *e, struct sl_arena *a, struct sl_headers *to)
{
	if (is_ours(e->name))
		return 0;
	switch (e->action) {
	case SL_AUTHZ_ADD:
		return sl_headers_append(to, a, e->name, e->value);
	case SL_AUTHZ_ADD_IF_ABSENT:
		return sl_headers_find(to, e->name) ? 0
						    : sl_headers_append(to, a, e->name, e->value);
	case SL_AUTHZ_SET:
		return sl_headers_set(to, a, e->name, e->value);
	case SL_AUTHZ_SET_IF_PRESENT:
		return sl_headers_find(to, e->name) ? sl_headers_set(to, a, e->name, e->value) : 0;
	}
	return 0;
}

static int edit_headers(const struct sl_authz_edits *edits, struct sl_arena *a,
			struct sl_headers *to)
{
	int r = 0;

	for (const struct sl_authz_edit *e = edits->first; e && !r; e = e->next)
		r = edit_header(e, a, to);
	return r;
}

static int edit_query(struct sl_stream *s, const struct sl_authz_verdict *v)
{
	struct sl_str *query = &s->req.query;
	int r = 0;

	for (uint32_t i = 0; i < v->query_set.n && !r; i++)
		r = sl_uri_query_replace(&s->arena, *query, v->query_set.items[i].name,
					 &v->query_set.items[i].value, query);
	for (uint32_t i = 0; i < v->query_removed.n && !r; i++)
		r = sl_uri_query_replace(&s->arena, *query, v->query_removed.items[i].name, NULL,
					 query);
	return r;
}

static int keep_for_answer(struct sl_stream *s, const struct sl_authz_edits *edits)
{
	struct sl_auth_edits *e =
		edits->first ? sl_arena_new(&s->arena, struct sl_auth_edits) : NULL;

	if (!e)
		return edits->first ? -ENOMEM : 0;
	*e = (struct sl_auth_edits){.next = s->auth_edits, .edits = *edits};
	s->auth_edits = e;
	return 0;
}

int sl_auth_allow(struct sl_stream *s, const struct sl_authz_verdict *v)
{
	int r = edit_headers(&v->edits, &s->arena, &s->req.headers);

	if (r)
		return r;
	for (uint32_t i = 0; i < v->removed.n; i++) {
		if (!is_ours(v->removed.items[i].name))
			(void)sl_headers_remove(&s->req.headers, v->removed.items[i].name);
	}
	r = edit_query(s, v);
	return r ? r : keep_for_answer(s, &v->of_answer);
}

int sl_auth_fill_denial(struct sl_stream *s, const struct sl_authz_verdict *v,
			struct sl_headers *headers)
{
	return edit_headers(&v->edits, &s->arena, headers);
}

int sl_auth_edit_answer(struct sl_stream *s)
{
	int r = 0;

	for (const struct sl_auth_edits *e = s->auth_edits; e && !r; e = e->next)
		r = edit_headers(&e->edits, &s->arena, &s->res.headers);
	return r;
}
