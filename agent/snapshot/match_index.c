/* SPDX-License-Identifier: Apache-2.0 */
#include "snapshot/match_index.h"

#include <errno.h>
#include "base/alloc.h"
#include "base/cleanup.h"
#include "snapshot/match_impl.h"

/* ---- order ---- */

/* An exact part precedes a pattern, which the API leaves unranked, and that no part. */
static unsigned rank_of(const struct sl_match_text *t)
{
	return !t->text.len ? 2 : t->regex ? 1 : 0;
}

/*
 * More characters in the service, more in the method, more headers (GRPCRouteRule in the Gateway
 * API's Go types). Exact parts that match one request are equally long.
 */
static uint64_t rpc_order_of(const struct sl_match *m)
{
	return (uint64_t)(rank_of(&m->rpc_service) * 3 + rank_of(&m->rpc_method)) << 16 |
	       (0xffff - (uint64_t)(m->n_headers & 0xffff));
}

/*
 * The API leaves regular expressions unranked: here exact paths come first, then regular
 * expressions, then prefixes, longest first. Then a method, more headers, more query parameters
 * (HTTPRouteMatch in the Gateway API's Go types).
 */
static uint64_t order_of(const struct sl_match *m)
{
	uint64_t len = m->class == SL_MATCH_PREFIX ? m->path.len : 0;

	if (m->is_rpc)
		return rpc_order_of(m);
	return (uint64_t)m->class << 62 | (0xffffff - (len & 0xffffff)) << 33 |
	       (uint64_t)(m->method == SL_METHOD_OTHER) << 32 |
	       (0xffff - (uint64_t)(m->n_headers & 0xffff)) << 16 |
	       (0xffff - (uint64_t)(m->n_queries & 0xffff));
}

/* Then the older route, the first by name; the first rule, the first match. */
int sl_match_cmp(const struct sl_match *a, const struct sl_match *b)
{
	int order;

	if (a->order != b->order)
		return a->order < b->order ? -1 : 1;
	if (a->route->created_at != b->route->created_at)
		return a->route->created_at < b->route->created_at ? -1 : 1;
	order = a->route == b->route ? 0 : sl_str_cmp(a->route->key, b->route->key);
	if (order)
		return order;
	if (a->rule->index != b->rule->index)
		return a->rule->index < b->rule->index ? -1 : 1;
	return (a->index > b->index) - (a->index < b->index);
}

/* ---- routes ---- */

static int hash_header_name(struct sl_arena *arena, struct sl_match_value *v)
{
	char *p = sl_arena_alloc(arena, v->name.len + 1);

	if (!p)
		return -ENOMEM;
	for (size_t i = 0; i < v->name.len; i++) {
		char c = v->name.ptr[i];

		p[i] = c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
	}
	v->name_hash = sl_hash_bytes(p, v->name.len);
	return 0;
}

/* The ends of "/service/method". */
static int rpc_literals(struct sl_match *m, struct sl_arena *arena)
{
	struct sl_str head = SL_STR_NULL, tail = SL_STR_NULL, other;
	int r = 0;

	if (m->rpc_service.regex)
		r = sl_regex_literals(m->rpc_service.text, arena, &head, &other);
	if (!r && head.len)
		r = sl_arena_printf(arena, &m->head, "/%.*s", SL_STR_ARG(head));
	if (!r && m->rpc_method.regex)
		r = sl_regex_literals(m->rpc_method.text, arena, &other, &tail);
	if (!r && tail.len)
		m->tail = tail;
	if (!r && m->rpc_method.text.len && !m->rpc_method.regex)
		r = sl_arena_printf(arena, &m->tail, "/%.*s", SL_STR_ARG(m->rpc_method.text));
	return r;
}

static int find_literals(struct sl_match *m, struct sl_arena *arena)
{
	if (m->class != SL_MATCH_REGEX)
		return 0;
	return m->is_rpc ? rpc_literals(m, arena)
			 : sl_regex_literals(m->path, arena, &m->head, &m->tail);
}

int sl_match_seal(struct sl_match *m, struct sl_arena *arena)
{
	for (uint32_t i = 0; i < m->n_headers; i++) {
		int r = hash_header_name(arena, &m->headers[i]);

		if (r)
			return r;
	}
	for (uint32_t i = 0; i < m->n_queries; i++)
		m->queries[i].name_hash = sl_str_hash(m->queries[i].name);
	return find_literals(m, arena);
}

int sl_route_seal(struct sl_route *r)
{
	int err = 0;

	for (uint32_t i = 0; i < r->n_matches && !err; i++) {
		struct sl_match *m = &r->matches[i];

		m->route = r;
		m->index = i;
		m->order = order_of(m);
		err = sl_match_seal(m, &r->arena);
	}
	return err;
}

static void values_unref(const struct sl_match_value *values, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		sl_regex_unref(values[i].regex);
}

void sl_matches_deinit(const struct sl_match *matches, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		sl_regex_unref(matches[i].path_regex);
		sl_regex_unref(matches[i].rpc_service.regex);
		sl_regex_unref(matches[i].rpc_method.regex);
		values_unref(matches[i].headers, matches[i].n_headers);
		values_unref(matches[i].queries, matches[i].n_queries);
	}
}

/* ---- parts ---- */

bool bin_key_set(struct bin_key *key, enum bin_kind kind, uint64_t name, struct sl_str value)
{
	if (value.len > sizeof(key->value))
		return false;
	key->prefix = (struct bin_prefix){name, kind};
	if (value.len)
		memcpy(key->value, value.ptr, value.len);
	key->len = offsetof(struct bin_key, value) + value.len;
	return true;
}

struct sl_match_index *sl_match_index_free(struct sl_match_index *index)
{
	if (!index)
		return NULL;
	sl_pmap_deinit(&index->exact);
	sl_pmap_deinit(&index->prefix);
	sl_part_unref(index->regex ? &index->regex->part : NULL);
	free(index);
	return NULL;
}

/* ---- listing ---- */

struct listing {
	const struct sl_match **items;
	size_t n, cap;
};

static int list_matches(struct listing *out, const struct match_list *from)
{
	size_t n = out->n + (from ? from->n : 0);

	if (n > out->cap) {
		size_t cap = n * 2;
		const struct sl_match **items = sl_reallocarray(out->items, cap, sizeof(*items));

		if (!items)
			return -ENOMEM;
		out->items = items;
		out->cap = cap;
	}
	if (from)
		memcpy(out->items + out->n, from->items, from->n * sizeof(*out->items));
	out->n = n;
	return 0;
}

static int list_bucket(struct listing *out, const struct bucket *b)
{
	struct sl_pmap_iter it = sl_pmap_iterate(&b->bins);
	const struct sl_part *p;
	int r = b->rest ? list_matches(out, b->rest) : 0;

	while (!r && (p = sl_pmap_next(&it, NULL)))
		r = list_matches(out, match_list_of(p));
	return r;
}

static int list_buckets(struct listing *out, const struct sl_pmap *buckets)
{
	struct sl_pmap_iter it = sl_pmap_iterate(buckets);
	const struct sl_part *p;
	int r = 0;

	while (!r && (p = sl_pmap_next(&it, NULL)))
		r = list_bucket(out, bucket_of(p));
	return r;
}

static int match_ptr_cmp(const void *a, const void *b)
{
	return sl_match_cmp(*(const struct sl_match *const *)a, *(const struct sl_match *const *)b);
}

int sl_match_index_list(const struct sl_match_index *index, const struct sl_match ***ret,
			uint32_t *ret_n)
{
	struct listing out = {0};
	int r = list_buckets(&out, &index->exact);

	if (!r)
		r = list_buckets(&out, &index->prefix);
	if (!r && index->regex)
		r = list_bucket(&out, index->regex);
	if (r) {
		free(out.items);
		return r;
	}
	if (out.n)
		qsort(out.items, out.n, sizeof(*out.items), match_ptr_cmp);
	*ret = out.items;
	*ret_n = (uint32_t)out.n;
	return 0;
}
