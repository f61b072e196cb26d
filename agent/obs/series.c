/* SPDX-License-Identifier: Apache-2.0 */
#include "obs/series.h"

#include <errno.h>
#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/map.h"

struct sl_series_table {
	uint32_t n_labels, n_values;
	uint32_t limit;
	uint32_t n; /* release store by the worker: all before it may be read */
	struct sl_series **all;
	struct sl_map by_key; /* the worker's alone */
};

SL_DEFINE_CLEANUP(struct sl_series_table *, sl_series_table_free)

/* In front of the text: a byte for the number of labels, two for the length of each, low byte
 * first. */
enum { KEY_HEAD = 1, MAX_KEY = KEY_HEAD + SL_SERIES_MAX_LABELS * (2 + SL_SERIES_MAX_LABEL_BYTES) };

static struct sl_str build_key(const struct sl_str *labels, uint32_t n, char out[MAX_KEY])
{
	size_t len = KEY_HEAD + 2 * (size_t)n;

	out[0] = (char)n;
	for (uint32_t i = 0; i < n; i++) {
		size_t part = labels[i].len;

		if (part > SL_SERIES_MAX_LABEL_BYTES)
			part = SL_SERIES_MAX_LABEL_BYTES;
		out[KEY_HEAD + 2 * i] = (char)(part & 0xff);
		out[KEY_HEAD + 2 * i + 1] = (char)(part >> 8);
		if (part)
			memcpy(out + len, labels[i].ptr, part);
		len += part;
	}
	return (struct sl_str){out, len};
}

static size_t label_len(const unsigned char *key, uint32_t i)
{
	return (size_t)key[KEY_HEAD + 2 * i] | (size_t)key[KEY_HEAD + 2 * i + 1] << 8;
}

struct sl_str sl_series_label(struct sl_str key, uint32_t i)
{
	const unsigned char *p = (const unsigned char *)key.ptr;
	size_t at = KEY_HEAD + 2 * (size_t)p[0];

	for (uint32_t k = 0; k < i; k++)
		at += label_len(p, k);
	return (struct sl_str){key.ptr + at, label_len(p, i)};
}

static struct sl_series *add(struct sl_series_table *t, struct sl_str key)
{
	size_t values_bytes = t->n_values * sizeof(uint64_t);
	struct sl_series *s = sl_calloc(1, sizeof(*s) + values_bytes + key.len);
	char *text;

	if (!s)
		return NULL;
	s->values = (uint64_t *)(s + 1);
	text = (char *)(s->values + t->n_values);
	memcpy(text, key.ptr, key.len);
	s->key = (struct sl_str){text, key.len};
	if (sl_map_put(&t->by_key, s->key, s, NULL)) {
		free(s);
		return NULL;
	}
	t->all[t->n] = s;
	__atomic_store_n(&t->n, t->n + 1, __ATOMIC_RELEASE);
	return s;
}

int sl_series_table_new(uint32_t n_labels, uint32_t n_values, uint32_t limit,
			struct sl_series_table **ret)
{
	_cleanup_(sl_series_table_freep) struct sl_series_table *t = sl_new(struct sl_series_table);
	struct sl_str other[SL_SERIES_MAX_LABELS];
	char key[MAX_KEY];

	if (!t)
		return -ENOMEM;
	t->n_labels = n_labels;
	t->n_values = n_values;
	t->limit = limit;
	t->all = sl_new_n(struct sl_series *, (size_t)limit + 1);
	if (!t->all)
		return -ENOMEM;
	for (uint32_t i = 0; i < n_labels; i++)
		other[i] = SL_STR("other");
	if (!add(t, build_key(other, n_labels, key)))
		return -ENOMEM;
	*ret = sl_take(t);
	return 0;
}

struct sl_series_table *sl_series_table_free(struct sl_series_table *t)
{
	if (!t)
		return NULL;
	for (uint32_t i = 0; i < t->n; i++)
		free(t->all[i]);
	free(t->all);
	sl_map_deinit(&t->by_key);
	free(t);
	return NULL;
}

uint64_t *sl_series_values(struct sl_series_table *t, const struct sl_str *labels)
{
	char buf[MAX_KEY];
	struct sl_str key = build_key(labels, t->n_labels, buf);
	struct sl_series *s = sl_map_get(&t->by_key, key);

	if (!s && t->n <= t->limit)
		s = add(t, key);
	return s ? s->values : t->all[0]->values;
}

uint32_t sl_series_count(const struct sl_series_table *t)
{
	return __atomic_load_n(&t->n, __ATOMIC_ACQUIRE);
}

const struct sl_series *sl_series_at(const struct sl_series_table *t, uint32_t index)
{
	return t->all[index];
}
