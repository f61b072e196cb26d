/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which bin a match is in is settled when it is built for the first time, by what else is there
 * then; any choice finds the same.
 */
#include "snapshot/match_bucket.h"

#include <assert.h>
#include <errno.h>
#include "base/alloc.h"

/* A bucket with more matches than FAN_MIN has bins, until it has fewer than FAN_KEEP. */
enum { FAN_MIN = 8, FAN_KEEP = 4 };

struct bin_dimension {
	struct sl_list node; /* in the bucket's in_use */
	struct bin_prefix id;
	struct sl_str name;
	uint32_t n_bins;
	uint32_t n_filed; /* in them */
};

static int append(struct match_pointers *p, const struct sl_match *m)
{
	if (p->n == p->cap) {
		uint32_t cap = p->cap ? p->cap * 2 : 2;
		const struct sl_match **items = sl_reallocarray(p->items, cap, sizeof(*items));

		if (!items)
			return -ENOMEM;
		p->items = items;
		p->cap = cap;
	}
	p->items[p->n++] = m;
	return 0;
}

static void forget(struct match_pointers *p)
{
	free(p->items);
	*p = (struct match_pointers){0};
}

static int pointer_cmp(const void *a, const void *b)
{
	return sl_match_cmp(*(const struct sl_match *const *)a, *(const struct sl_match *const *)b);
}

static void sort(struct match_pointers *p)
{
	if (p->n > 1)
		qsort(p->items, p->n, sizeof(*p->items), pointer_cmp);
}

/* ---- bins ---- */

static void bin_deinit(struct match_bin *bin)
{
	sl_list_remove(&bin->changed);
	sl_part_unref(bin->now ? &bin->now->part : NULL);
	forget(&bin->added);
	forget(&bin->removed);
}

static void bin_free(struct bucket_work *w, struct match_bin *bin)
{
	struct bin_dimension *d = bin->dimension;

	if (d && --d->n_bins == 0) {
		sl_list_remove(&d->node);
		(void)sl_map_del(&w->dimensions, SL_KEY(&d->id)); /* it is there */
		free(d);
	}
	(void)sl_map_del(&w->bins, bin->key); /* likewise */
	bin_deinit(bin);
	free(bin);
}

static int bin_new(struct bucket_work *w, struct sl_str key, struct match_bin **ret)
{
	struct match_bin *bin = sl_calloc(1, sizeof(*bin) + key.len);
	int r;

	if (!bin)
		return -ENOMEM;
	sl_list_init(&bin->changed);
	memcpy(bin + 1, key.ptr, key.len);
	bin->key = (struct sl_str){(const char *)(bin + 1), key.len};
	r = sl_map_put(&w->bins, bin->key, bin, NULL);
	if (r) {
		free(bin);
		return r;
	}
	*ret = bin;
	return 0;
}

static void bin_changed(struct bucket_work *w, struct match_bin *bin)
{
	if (sl_list_empty(&bin->changed))
		sl_list_append(&w->changed_bins, &bin->changed);
}

/* The values that m can be filed under: header, query, method, head, tail, in turn. i counts on;
 * false at the end. name: of a header or parameter. */
static bool next_value(const struct sl_match *m, uint32_t *i, struct bin_key *ret,
		       struct sl_str *name)
{
	const char method = (char)m->method;

	for (;;) {
		uint32_t at = (*i)++, n = m->n_headers + m->n_queries;
		const struct sl_match_value *v = at < m->n_headers ? &m->headers[at]
						 : at < n	   ? &m->queries[at - m->n_headers]
								   : NULL;
		bool usable;

		*name = v ? v->name : SL_STR_NULL;
		if (v)
			usable = !v->regex &&
				 bin_key_set(ret, at < m->n_headers ? BIN_HEADER : BIN_QUERY,
					     v->name_hash, v->value);
		else if (at == n)
			usable = m->method != SL_METHOD_OTHER &&
				 bin_key_set(ret, BIN_METHOD, 0, (struct sl_str){&method, 1});
		else if (at == n + 1)
			usable = m->head.len && bin_key_set(ret, BIN_HEAD, m->head.len, m->head);
		else if (at == n + 2)
			usable = m->tail.len && bin_key_set(ret, BIN_TAIL, m->tail.len, m->tail);
		else
			return false;
		if (usable)
			return true;
	}
}

static int count_values(struct bucket_work *w, const struct sl_match *m)
{
	struct bin_key key;
	struct sl_str name;

	for (uint32_t i = 0; next_value(m, &i, &key, &name);) {
		struct match_bin *bin = sl_map_get(&w->bins, bin_key_str(&key));
		int r = bin ? 0 : bin_new(w, bin_key_str(&key), &bin);

		if (r)
			return r;
		bin->n_users++;
	}
	return 0;
}

/* Bins that nobody names go with the next build. */
static void uncount_values(struct bucket_work *w, const struct sl_match *m)
{
	struct bin_key key;
	struct sl_str name;

	for (uint32_t i = 0; next_value(m, &i, &key, &name);) {
		struct match_bin *bin = sl_map_get(&w->bins, bin_key_str(&key));

		if (--bin->n_users == 0)
			bin_changed(w, bin);
	}
}

static int dimension_get(struct bucket_work *w, const struct bin_prefix *id, struct sl_str name,
			 struct bin_dimension **ret)
{
	struct bin_dimension *d = sl_map_get(&w->dimensions, SL_KEY(id));
	int r;

	if (!d) {
		d = sl_calloc(1, sizeof(*d) + name.len);
		if (!d)
			return -ENOMEM;
		sl_list_init(&d->node);
		d->id = *id;
		if (name.len)
			memcpy(d + 1, name.ptr, name.len);
		d->name = (struct sl_str){(const char *)(d + 1), name.len};
		r = sl_map_put(&w->dimensions, SL_KEY(&d->id), d, NULL);
		if (r) {
			free(d);
			return r;
		}
	}
	*ret = d;
	return 0;
}

/* Into the bin of m's rarest value: what keeps the lists short. */
static int file_match(struct bucket_work *w, struct sl_match *m)
{
	struct match_bin *best = &w->rest;
	struct sl_str name, best_name = SL_STR_NULL;
	struct bin_key key;
	int r = 0;

	for (uint32_t i = 0; w->fanned && next_value(m, &i, &key, &name);) {
		struct match_bin *bin = sl_map_get(&w->bins, bin_key_str(&key));

		if (best == &w->rest || bin->n_users < best->n_users) {
			best = bin;
			best_name = name;
		}
	}
	if (best != &w->rest && !best->dimension) {
		struct bin_prefix id;

		memcpy(&id, best->key.ptr, sizeof(id));
		r = dimension_get(w, &id, best_name, &best->dimension);
		if (!r)
			best->dimension->n_bins++;
	}
	if (!r)
		r = append(&best->added, m);
	if (r)
		return r;
	m->bin = best;
	best->n_filed++;
	if (best->dimension && best->dimension->n_filed++ == 0)
		sl_list_append(&w->in_use, &best->dimension->node);
	bin_changed(w, best);
	return 0;
}

static void bins_free(struct bucket_work *w)
{
	struct match_bin *bin;
	size_t pos = 0;

	while ((bin = sl_map_next(&w->bins, &pos, NULL)))
		bin_free(w, bin);
	sl_map_deinit(&w->bins);
	sl_map_deinit(&w->dimensions); /* empty: they go with the last bin */
	sl_pmap_deinit(&w->now);
}

void bucket_work_free(struct bucket_work *w)
{
	bins_free(w);
	bin_deinit(&w->rest);
	forget(&w->waiting);
	sl_list_remove(&w->changed);
	free(w);
}

int bucket_work_new(enum sl_match_class class, struct sl_str path, struct bucket_work **ret)
{
	struct bucket_work *w = sl_calloc(1, sizeof(*w) + path.len);

	if (!w)
		return -ENOMEM;
	sl_list_init(&w->changed);
	sl_list_init(&w->changed_bins);
	sl_list_init(&w->in_use);
	sl_list_init(&w->rest.changed);
	w->class = class;
	if (path.len)
		memcpy(w + 1, path.ptr, path.len);
	w->path = (struct sl_str){(const char *)(w + 1), path.len};
	*ret = w;
	return 0;
}

int bucket_work_add(struct bucket_work *w, struct sl_match *m)
{
	int r = append(&w->waiting, m);

	if (!r && w->fanned)
		r = count_values(w, m);
	if (!r)
		w->n++;
	return r;
}

int bucket_work_remove(struct bucket_work *w, struct sl_match *m)
{
	struct match_bin *bin = m->bin;
	int r = append(&bin->removed, m);

	if (r)
		return r;
	bin->n_filed--;
	if (bin->dimension && --bin->dimension->n_filed == 0)
		sl_list_remove(&bin->dimension->node);
	bin_changed(w, bin);
	if (w->fanned)
		uncount_values(w, m);
	w->n--;
	return 0;
}

/* ---- building ---- */

static void list_free(struct sl_part *p)
{
	struct match_list *l = (struct match_list *)p;

	for (uint32_t i = 0; i < l->n; i++)
		sl_part_unref(&l->items[i]->route->part);
	free(l);
}

/* What the bin holds now. Lists are in order, and so stay: a merge. */
static uint32_t merge(const struct match_bin *bin, const struct sl_match **out)
{
	uint32_t n = 0, add = 0, gone = 0;

	for (uint32_t i = 0; bin->now && i < bin->now->n; i++) {
		const struct sl_match *m = bin->now->items[i];

		if (gone < bin->removed.n && bin->removed.items[gone] == m) {
			gone++;
			continue;
		}
		while (add < bin->added.n && sl_match_cmp(bin->added.items[add], m) < 0)
			out[n++] = bin->added.items[add++];
		out[n++] = m;
	}
	while (add < bin->added.n)
		out[n++] = bin->added.items[add++];
	return n;
}

static int list_build(struct match_bin *bin, struct match_list **ret)
{
	size_t n = bin->n_filed, bytes = n * sizeof(bin->now->items[0]);
	struct match_list *l = sl_malloc(sizeof(*l) + bytes + bin->key.len);
	char *key;

	if (!l)
		return -ENOMEM;
	sl_part_init(&l->part, list_free);
	sort(&bin->added);
	sort(&bin->removed);
	l->n = merge(bin, l->items);
	assert(l->n == n);
	for (uint32_t i = 0; i < l->n; i++)
		sl_part_ref(&l->items[i]->route->part);
	key = (char *)l->items + bytes;
	if (bin->key.len)
		memcpy(key, bin->key.ptr, bin->key.len);
	l->key = (struct sl_str){key, bin->key.len};
	*ret = l;
	return 0;
}

static int bin_build(struct bucket_work *w, struct match_bin *bin)
{
	struct match_list *l = NULL;
	int r = bin->n_filed ? list_build(bin, &l) : 0;

	if (!r && bin->key.len)
		r = l ? sl_pmap_put(&w->now, l->key, &l->part) : sl_pmap_del(&w->now, bin->key);
	if (r) {
		sl_part_unref(l ? &l->part : NULL);
		return r;
	}
	sl_part_unref(bin->now ? &bin->now->part : NULL);
	bin->now = l;
	forget(&bin->added);
	forget(&bin->removed);
	sl_list_remove(&bin->changed);
	if (bin->key.len && !bin->n_users)
		bin_free(w, bin);
	return 0;
}

static int bins_build(struct bucket_work *w)
{
	sl_list_foreach_safe (it, &w->changed_bins) {
		int r = bin_build(w, sl_container_of(it, struct match_bin, changed));

		if (r)
			return r;
	}
	return 0;
}

/* Everything in the bin waits again. */
static int unfile(struct bucket_work *w, struct match_bin *bin)
{
	for (uint32_t i = 0; bin->now && i < bin->now->n; i++) {
		int r = append(&w->waiting, bin->now->items[i]);

		if (r)
			return r;
	}
	return 0;
}

/* The matches of one list into bins, or of all bins into one list. */
static int refile(struct bucket_work *w)
{
	struct match_bin *bin;
	size_t pos = 0;
	int r = bins_build(w); /* forgets what was removed; nothing was filed yet */

	if (!r)
		r = unfile(w, &w->rest);
	while (!r && (bin = sl_map_next(&w->bins, &pos, NULL)))
		r = unfile(w, bin);
	if (r)
		return r;
	bins_free(w);
	sl_part_unref(w->rest.now ? &w->rest.now->part : NULL);
	w->rest.now = NULL;
	w->rest.n_filed = 0;
	bin_changed(w, &w->rest);
	w->fanned = !w->fanned;
	for (uint32_t i = 0; w->fanned && i < w->waiting.n; i++) {
		r = count_values(w, w->waiting.items[i]);
		if (r)
			return r;
	}
	return 0;
}

static void bucket_free(struct sl_part *p)
{
	struct bucket *b = (struct bucket *)p;

	sl_part_unref(b->rest ? &b->rest->part : NULL);
	sl_pmap_deinit(&b->bins);
	free(b);
}

static struct sl_str put_text(char **at, struct sl_str s)
{
	struct sl_str copy = {*at, s.len};

	if (s.len)
		memcpy(*at, s.ptr, s.len);
	*at += s.len;
	return copy;
}

static int part_build(const struct bucket_work *w, struct bucket **ret)
{
	size_t n = 0, text_len = w->path.len;
	struct bucket *b;
	char *text;

	sl_list_foreach (it, &w->in_use) {
		n++;
		text_len += sl_container_of(it, struct bin_dimension, node)->name.len;
	}
	b = sl_malloc(sizeof(*b) + n * sizeof(b->dimensions[0]) + text_len);
	if (!b)
		return -ENOMEM;
	sl_part_init(&b->part, bucket_free);
	text = (char *)&b->dimensions[n];
	b->path = put_text(&text, w->path);
	b->n_dimensions = 0;
	sl_list_foreach (it, &w->in_use) {
		const struct bin_dimension *d = sl_container_of(it, struct bin_dimension, node);

		b->dimensions[b->n_dimensions++] =
			(struct dimension){.kind = (enum bin_kind)d->id.kind,
					   .name_id = d->id.name,
					   .name = put_text(&text, d->name)};
	}
	b->rest = w->rest.now;
	if (b->rest)
		sl_part_ref(&b->rest->part);
	b->bins = sl_pmap_copy(&w->now);
	*ret = b;
	return 0;
}

int bucket_work_build(struct bucket_work *w, struct bucket **ret)
{
	struct bucket *bucket = NULL;
	bool flip = w->fanned ? w->n < FAN_KEEP : w->n > FAN_MIN;
	int r = flip ? refile(w) : 0;

	for (uint32_t i = 0; i < w->waiting.n && !r; i++)
		r = file_match(w, (struct sl_match *)w->waiting.items[i]);
	if (!r)
		r = bins_build(w);
	if (!r && w->n)
		r = part_build(w, &bucket);
	if (r)
		return r;
	forget(&w->waiting);
	*ret = bucket;
	return 0;
}
