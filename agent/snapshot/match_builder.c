/* SPDX-License-Identifier: Apache-2.0 */
/* The index's builder: all buckets of a table, and which of them changed since the last build. */
#include <errno.h>
#include "base/alloc.h"
#include "snapshot/match_bucket.h"

struct length {
	uint32_t bytes, n; /* buckets with a path of that length */
};

struct sl_match_builder {
	struct sl_map work[SL_MATCH_PREFIX + 1]; /* struct bucket_work by path */
	struct sl_list changed;
	struct sl_pmap exact, prefix;
	const struct bucket *regex;
	struct length *lengths; /* longest first */
	uint32_t n_lengths, cap_lengths;
};

/* All regular expressions share a bucket. */
static struct sl_str bucket_path(const struct sl_match *m)
{
	return m->class == SL_MATCH_REGEX ? SL_STR("") : m->path;
}

static void work_changed(struct sl_match_builder *b, struct bucket_work *w)
{
	if (sl_list_empty(&w->changed))
		sl_list_append(&b->changed, &w->changed);
}

static int length_count(struct sl_match_builder *b, size_t bytes, int by)
{
	uint32_t i = 0;

	while (i < b->n_lengths && b->lengths[i].bytes > bytes)
		i++;
	if (i < b->n_lengths && b->lengths[i].bytes == bytes) {
		b->lengths[i].n += (uint32_t)by;
		if (!b->lengths[i].n)
			memmove(&b->lengths[i], &b->lengths[i + 1],
				(--b->n_lengths - i) * sizeof(b->lengths[0]));
		return 0;
	}
	if (b->n_lengths == b->cap_lengths) {
		uint32_t cap = b->cap_lengths ? b->cap_lengths * 2 : 2;
		struct length *lengths = sl_reallocarray(b->lengths, cap, sizeof(*lengths));

		if (!lengths)
			return -ENOMEM;
		b->lengths = lengths;
		b->cap_lengths = cap;
	}
	memmove(&b->lengths[i + 1], &b->lengths[i], (b->n_lengths++ - i) * sizeof(b->lengths[0]));
	b->lengths[i] = (struct length){(uint32_t)bytes, 1};
	return 0;
}

static int work_add(struct sl_match_builder *b, enum sl_match_class class, struct sl_str path,
		    struct bucket_work **ret)
{
	struct bucket_work *w;
	int r = bucket_work_new(class, path, &w);

	if (r)
		return r;
	r = sl_map_put(&b->work[class], w->path, w, NULL);
	if (r) {
		bucket_work_free(w);
		return r;
	}
	*ret = w;
	return class == SL_MATCH_PREFIX ? length_count(b, path.len, 1) : 0;
}

static int match_add(struct sl_match_builder *b, struct sl_match *m)
{
	struct sl_str path = bucket_path(m);
	struct bucket_work *w = sl_map_get(&b->work[m->class], path);
	int r = 0;

	if (!w)
		r = work_add(b, m->class, path, &w);
	if (!r)
		r = bucket_work_add(w, m);
	if (!r)
		work_changed(b, w);
	return r;
}

int sl_match_builder_add(struct sl_match_builder *b, struct sl_route *route)
{
	for (uint32_t i = 0; i < route->n_matches; i++) {
		int r = match_add(b, &route->matches[i]);

		if (r)
			return r;
	}
	return 0;
}

int sl_match_builder_remove(struct sl_match_builder *b, struct sl_route *route)
{
	for (uint32_t i = 0; i < route->n_matches; i++) {
		struct sl_match *m = &route->matches[i];
		struct bucket_work *w = sl_map_get(&b->work[m->class], bucket_path(m));
		int r = bucket_work_remove(w, m);

		if (r)
			return r;
		work_changed(b, w);
	}
	return 0;
}

/* ---- building ---- */

/* Where the index looks for it. */
static int bucket_publish(struct sl_match_builder *b, const struct bucket_work *w,
			  struct bucket *to)
{
	struct sl_pmap *map = w->class == SL_MATCH_EXACT ? &b->exact : &b->prefix;

	if (w->class == SL_MATCH_REGEX) {
		sl_part_unref(b->regex ? &b->regex->part : NULL);
		b->regex = to;
		if (to)
			sl_part_ref(&to->part);
		return 0;
	}
	return to ? sl_pmap_put(map, to->path, &to->part) : sl_pmap_del(map, w->path);
}

static int work_build(struct sl_match_builder *b, struct bucket_work *w)
{
	struct bucket *bucket = NULL;
	int r = bucket_work_build(w, &bucket);

	if (!r)
		r = bucket_publish(b, w, bucket);
	sl_part_unref(bucket ? &bucket->part : NULL);
	if (r)
		return r;
	sl_list_remove(&w->changed);
	if (w->n)
		return 0;
	(void)sl_map_del(&b->work[w->class], w->path); /* it is there */
	if (w->class == SL_MATCH_PREFIX)
		r = length_count(b, w->path.len, -1);
	bucket_work_free(w);
	return r;
}

static int index_build(const struct sl_match_builder *b, struct sl_match_index **ret)
{
	struct sl_match_index *index =
		sl_malloc(sizeof(*index) + b->n_lengths * sizeof(index->prefix_lengths[0]));

	if (!index)
		return -ENOMEM;
	index->exact = sl_pmap_copy(&b->exact);
	index->prefix = sl_pmap_copy(&b->prefix);
	index->regex = b->regex;
	if (index->regex)
		sl_part_ref(&index->regex->part);
	index->n_prefix_lengths = b->n_lengths;
	for (uint32_t i = 0; i < b->n_lengths; i++)
		index->prefix_lengths[i] = b->lengths[i].bytes;
	*ret = index;
	return 0;
}

int sl_match_builder_build(struct sl_match_builder *b, struct sl_match_index **ret)
{
	sl_list_foreach_safe (it, &b->changed) {
		int r = work_build(b, sl_container_of(it, struct bucket_work, changed));

		if (r)
			return r;
	}
	return index_build(b, ret);
}

/* ---- life ---- */

int sl_match_builder_new(struct sl_match_builder **ret)
{
	struct sl_match_builder *b = sl_new(struct sl_match_builder);

	if (!b)
		return -ENOMEM;
	sl_list_init(&b->changed);
	*ret = b;
	return 0;
}

struct sl_match_builder *sl_match_builder_free(struct sl_match_builder *b)
{
	if (!b)
		return NULL;
	for (int class = SL_MATCH_EXACT; class <= SL_MATCH_PREFIX; class ++) {
		struct bucket_work *w;
		size_t pos = 0;

		while ((w = sl_map_next(&b->work[class], &pos, NULL)))
			bucket_work_free(w);
		sl_map_deinit(&b->work[class]);
	}
	sl_pmap_deinit(&b->exact);
	sl_pmap_deinit(&b->prefix);
	sl_part_unref(b->regex ? &b->regex->part : NULL);
	free(b->lengths);
	free(b);
	return NULL;
}
