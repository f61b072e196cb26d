/* SPDX-License-Identifier: Apache-2.0 */
#include "snapshot/match_index.h"

#include <errno.h>
#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/map.h"
#include "snapshot/match_impl.h"

enum { FAN_MIN = 8 }; /* shorter lists are walked */

struct builder {
	struct sl_arena *arena;
	struct sl_match_index *index;
	struct sl_map header_ids, query_ids; /* name -> number + 1; header names in lower case */
	uint32_t *seen[2]; /* by value_kind and name_id: last bucket that has it */
	uint32_t n_fans;
};

static void builder_deinit(struct builder *b)
{
	sl_map_deinit(&b->header_ids);
	sl_map_deinit(&b->query_ids);
	free(b->seen[VALUE_HEADER]);
	free(b->seen[VALUE_QUERY]);
}

/* Slots for n entries with room to spare. */
static uint32_t slot_count(uint32_t n)
{
	uint32_t cap = 2;

	while (cap < n * 2)
		cap *= 2;
	return cap;
}

static uint64_t value_hash(enum value_kind kind, uint32_t name_id, struct sl_str value)
{
	return sl_str_hash(value) + (2ULL * name_id + kind + 1) * 0x9e3779b97f4a7c15ULL;
}

const struct bucket *bucket_find(const struct bucket_table *t, struct sl_str path)
{
	uint64_t h;

	if (!t->n)
		return NULL;
	h = sl_str_hash(path);
	for (uint32_t i = h & t->mask; t->slots[i]; i = (i + 1) & t->mask) {
		if (t->slots[i]->hash == h && sl_str_eq(t->slots[i]->path, path))
			return t->slots[i];
	}
	return NULL;
}

const struct value_node *value_find(const struct fan *f, enum value_kind kind, uint32_t name_id,
				    struct sl_str value)
{
	uint64_t h = value_hash(kind, name_id, value);

	for (uint32_t i = h & f->mask; f->slots[i]; i = (i + 1) & f->mask) {
		const struct value_node *v = f->slots[i];

		if (v->hash == h && v->kind == kind && v->name_id == name_id &&
		    sl_str_eq(v->value, value))
			return v;
	}
	return NULL;
}

/* ---- names to numbers ---- */

static int lower_case(struct sl_arena *arena, struct sl_str s, struct sl_str *ret)
{
	char *p = sl_arena_alloc(arena, s.len + 1);

	if (!p)
		return -ENOMEM;
	for (size_t i = 0; i < s.len; i++)
		p[i] = s.ptr[i] >= 'A' && s.ptr[i] <= 'Z' ? (char)(s.ptr[i] + 32) : s.ptr[i];
	*ret = (struct sl_str){p, s.len};
	return 0;
}

static int name_id(struct sl_map *ids, struct sl_str name, uint32_t *ret)
{
	uintptr_t id = (uintptr_t)sl_map_get(ids, name);
	int r;

	if (!id) {
		id = ids->n + 1;
		r = sl_map_put(ids, name, (void *)id, NULL);
		if (r)
			return r;
	}
	*ret = (uint32_t)id - 1;
	return 0;
}

static int number_names(struct builder *b, struct sl_match *m)
{
	struct sl_str lower;
	int r;

	for (uint32_t i = 0; i < m->n_headers; i++) {
		r = lower_case(b->arena, m->headers[i].name, &lower);
		if (r)
			return r;
		r = name_id(&b->header_ids, lower, &m->headers[i].name_id);
		if (r)
			return r;
	}
	for (uint32_t i = 0; i < m->n_queries; i++) {
		r = name_id(&b->query_ids, m->queries[i].name, &m->queries[i].name_id);
		if (r)
			return r;
	}
	return 0;
}

/* ---- buckets by path ---- */

static struct bucket *bucket_add(struct builder *b, struct bucket_table *t, struct sl_str path)
{
	struct bucket *bucket = (struct bucket *)bucket_find(t, path);
	uint32_t i;

	if (bucket)
		return bucket;
	bucket = sl_arena_new(b->arena, struct bucket);
	if (!bucket)
		return NULL;
	bucket->hash = sl_str_hash(path);
	bucket->path = path;
	for (i = bucket->hash & t->mask; t->slots[i];)
		i = (i + 1) & t->mask;
	t->slots[i] = bucket;
	t->n++;
	return bucket;
}

static int list_reserve(struct builder *b, struct match_list *l)
{
	if (l->n) {
		l->items = sl_arena_new_n(b->arena, const struct sl_match *, l->n);
		if (!l->items)
			return -ENOMEM;
	}
	l->n = 0; /* filled next */
	return 0;
}

static void list_append(struct match_list *l, const struct sl_match *m)
{
	l->items[l->n++] = m;
}

/* matches: all of one class. Lists keep the order because they are filled in order. */
static int table_build(struct builder *b, struct bucket_table *t, const struct sl_match *matches,
		       uint32_t n)
{
	uint32_t cap = slot_count(n);

	if (!n)
		return 0;
	t->slots = sl_arena_new_n(b->arena, struct bucket *, cap);
	if (!t->slots)
		return -ENOMEM;
	t->mask = cap - 1;
	for (uint32_t i = 0; i < n; i++) {
		struct bucket *bucket = bucket_add(b, t, matches[i].path);

		if (!bucket)
			return -ENOMEM;
		bucket->list.n++;
	}
	for (uint32_t i = 0; i < cap; i++) {
		if (t->slots[i] && list_reserve(b, &t->slots[i]->list))
			return -ENOMEM;
	}
	for (uint32_t i = 0; i < n; i++)
		list_append(&bucket_add(b, t, matches[i].path)->list, &matches[i]);
	return 0;
}

static int regex_build(struct builder *b, const struct sl_match *matches, uint32_t n)
{
	struct match_list *l = &b->index->regex.list;

	l->n = n;
	if (list_reserve(b, l))
		return -ENOMEM;
	for (uint32_t i = 0; i < n; i++)
		list_append(l, &matches[i]);
	return 0;
}

static int lengths_build(struct builder *b, const struct sl_match *matches, uint32_t n)
{
	struct sl_match_index *index = b->index;

	if (!n)
		return 0;
	index->prefix_lengths = sl_arena_new_n(b->arena, uint32_t, n);
	if (!index->prefix_lengths)
		return -ENOMEM;
	for (uint32_t i = 0; i < n; i++) {
		if (i == 0 || matches[i].path.len != matches[i - 1].path.len)
			index->prefix_lengths[index->n_prefix_lengths++] =
				(uint32_t)matches[i].path.len;
	}
	return 0;
}

/* ---- long lists by value ---- */

static struct value_node *value_add(struct builder *b, struct fan *f, enum value_kind kind,
				    const struct sl_match_value *v)
{
	struct value_node *node = (struct value_node *)value_find(f, kind, v->name_id, v->value);
	uint32_t i;

	if (node)
		return node;
	node = sl_arena_new(b->arena, struct value_node);
	if (!node)
		return NULL;
	node->hash = value_hash(kind, v->name_id, v->value);
	node->kind = kind;
	node->name_id = v->name_id;
	node->value = v->value;
	for (i = node->hash & f->mask; f->slots[i];)
		i = (i + 1) & f->mask;
	f->slots[i] = node;
	return node;
}

static int count_values(struct builder *b, struct fan *f, enum value_kind kind,
			const struct sl_match_value *values, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		struct value_node *node;

		if (values[i].regex)
			continue;
		node = value_add(b, f, kind, &values[i]);
		if (!node)
			return -ENOMEM;
		node->n_users++;
	}
	return 0;
}

/* The node of m's rarest exact value: what keeps the lists shortest. name gets its name. */
static struct value_node *choose_value(const struct fan *f, const struct sl_match *m,
				       struct sl_str *name)
{
	struct value_node *best = NULL;

	for (uint32_t i = 0; i < m->n_headers + m->n_queries; i++) {
		enum value_kind kind = i < m->n_headers ? VALUE_HEADER : VALUE_QUERY;
		const struct sl_match_value *v =
			kind == VALUE_HEADER ? &m->headers[i] : &m->queries[i - m->n_headers];
		struct value_node *node;

		if (v->regex)
			continue;
		node = (struct value_node *)value_find(f, kind, v->name_id, v->value);
		if (!best || node->n_users < best->n_users) {
			best = node;
			*name = v->name;
		}
	}
	return best;
}

static void add_dimension(struct builder *b, struct fan *f, const struct value_node *node,
			  struct sl_str name)
{
	uint32_t *seen = &b->seen[node->kind][node->name_id];

	if (*seen == b->n_fans)
		return;
	*seen = b->n_fans;
	f->dimensions[f->n_dimensions++] = (struct dimension){node->kind, node->name_id, name};
}

static int fan_fill(struct builder *b, struct fan *f, const struct match_list *all)
{
	struct value_node *node;
	struct sl_str name;

	for (uint32_t i = 0; i < all->n; i++) {
		node = choose_value(f, all->items[i], &name);
		if (node)
			add_dimension(b, f, node, name);
		(node ? &node->list : &f->rest)->n++;
	}
	for (uint32_t i = 0; i <= f->mask; i++) {
		if (f->slots[i] && list_reserve(b, &f->slots[i]->list))
			return -ENOMEM;
	}
	if (list_reserve(b, &f->rest))
		return -ENOMEM;
	for (uint32_t i = 0; i < all->n; i++) {
		node = choose_value(f, all->items[i], &name);
		list_append(node ? &node->list : &f->rest, all->items[i]);
	}
	return 0;
}

static int fan_build(struct builder *b, struct bucket *bucket)
{
	const struct match_list *all = &bucket->list;
	uint32_t n_values = 0, cap;
	struct fan *f;
	int r;

	if (all->n <= FAN_MIN)
		return 0;
	for (uint32_t i = 0; i < all->n; i++)
		n_values += all->items[i]->n_headers + all->items[i]->n_queries;
	cap = slot_count(n_values);
	b->n_fans++;
	f = sl_arena_new(b->arena, struct fan);
	if (!f)
		return -ENOMEM;
	f->mask = cap - 1;
	f->slots = sl_arena_new_n(b->arena, struct value_node *, cap);
	f->dimensions = sl_arena_new_n(b->arena, struct dimension, n_values + 1);
	if (!f->slots || !f->dimensions)
		return -ENOMEM;
	for (uint32_t i = 0; i < all->n; i++) {
		const struct sl_match *m = all->items[i];

		r = count_values(b, f, VALUE_HEADER, m->headers, m->n_headers);
		if (!r)
			r = count_values(b, f, VALUE_QUERY, m->queries, m->n_queries);
		if (r)
			return r;
	}
	r = fan_fill(b, f, all);
	if (r)
		return r;
	bucket->fan = f;
	return 0;
}

static int fans_build(struct builder *b)
{
	const struct bucket_table *tables[] = {&b->index->exact, &b->index->prefix};
	int r;

	b->seen[VALUE_HEADER] = sl_new_n(uint32_t, b->header_ids.n + 1);
	b->seen[VALUE_QUERY] = sl_new_n(uint32_t, b->query_ids.n + 1);
	if (!b->seen[VALUE_HEADER] || !b->seen[VALUE_QUERY])
		return -ENOMEM;
	for (size_t t = 0; t < 2; t++) {
		for (uint32_t i = 0; tables[t]->n && i <= tables[t]->mask; i++) {
			r = tables[t]->slots[i] ? fan_build(b, tables[t]->slots[i]) : 0;
			if (r)
				return r;
		}
	}
	return fan_build(b, &b->index->regex);
}

/* ---- the whole ---- */

typedef struct sl_regex *(*regex_fn)(struct sl_regex *);

static void each_regex(const struct sl_match_index *index, regex_fn fn)
{
	for (uint32_t i = 0; i < index->n_matches; i++) {
		const struct sl_match *m = &index->matches[i];

		if (m->path_regex)
			(void)fn(m->path_regex);
		for (uint32_t j = 0; j < m->n_headers; j++) {
			if (m->headers[j].regex)
				(void)fn(m->headers[j].regex);
		}
		for (uint32_t j = 0; j < m->n_queries; j++) {
			if (m->queries[j].regex)
				(void)fn(m->queries[j].regex);
		}
	}
}

static int index_build(struct builder *b)
{
	struct sl_match_index *index = b->index;
	struct sl_match *m = index->matches;
	uint32_t first[SL_MATCH_PREFIX + 2] = {0};
	int r;

	for (uint32_t i = 0; i < index->n_matches; i++) {
		m[i].rank = i;
		first[m[i].class + 1]++;
		r = number_names(b, &m[i]);
		if (r)
			return r;
	}
	for (int c = SL_MATCH_EXACT; c <= SL_MATCH_PREFIX; c++)
		first[c + 1] += first[c];
	r = table_build(b, &index->exact, m, first[SL_MATCH_REGEX]);
	if (!r)
		r = regex_build(b, m + first[SL_MATCH_REGEX],
				first[SL_MATCH_PREFIX] - first[SL_MATCH_REGEX]);
	if (!r)
		r = table_build(b, &index->prefix, m + first[SL_MATCH_PREFIX],
				index->n_matches - first[SL_MATCH_PREFIX]);
	if (!r)
		r = lengths_build(b, m + first[SL_MATCH_PREFIX],
				  index->n_matches - first[SL_MATCH_PREFIX]);
	return r ? r : fans_build(b);
}

int sl_match_index_new(struct sl_arena *arena, struct sl_match *matches, uint32_t n,
		       struct sl_match_index **ret)
{
	_cleanup_(builder_deinit) struct builder b = {.arena = arena};
	int r;

	b.index = sl_arena_new(arena, struct sl_match_index);
	if (!b.index)
		return -ENOMEM;
	b.index->matches = matches;
	b.index->n_matches = n;
	r = index_build(&b);
	if (r)
		return r;
	each_regex(b.index, sl_regex_ref);
	*ret = b.index;
	return 0;
}

void sl_match_index_deinit(struct sl_match_index *index)
{
	if (index)
		each_regex(index, sl_regex_unref);
}

const struct sl_match *sl_match_index_matches(const struct sl_match_index *index, uint32_t *ret_n)
{
	*ret_n = index->n_matches;
	return index->matches;
}
