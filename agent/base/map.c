/* SPDX-License-Identifier: Apache-2.0 */
#include "base/map.h"

#include <errno.h>
#include "base/alloc.h"

enum { EMPTY = 0, DELETED = 1, MIN_CAP = 8 };

static uint64_t hash_of(struct sl_str key)
{
	uint64_t h = sl_str_hash(key);

	return h <= DELETED ? h + 2 : h;
}

void sl_map_deinit(struct sl_map *m)
{
	free(m->slots);
	*m = SL_MAP_INIT;
}

static struct sl_map_slot *find(const struct sl_map *m, struct sl_str key, uint64_t h)
{
	if (!m->cap)
		return NULL;
	for (size_t i = h & (m->cap - 1);; i = (i + 1) & (m->cap - 1)) {
		struct sl_map_slot *s = &m->slots[i];

		if (s->hash == EMPTY)
			return NULL;
		if (s->hash == h && sl_str_eq(s->key, key))
			return s;
	}
}

static void place(struct sl_map *m, struct sl_map_slot v)
{
	size_t i = v.hash & (m->cap - 1);

	while (m->slots[i].hash > DELETED)
		i = (i + 1) & (m->cap - 1);
	if (m->slots[i].hash == EMPTY)
		m->n_used++;
	m->slots[i] = v;
	m->n++;
}

/* For n more entries. */
static int grow(struct sl_map *m, size_t n)
{
	struct sl_map next = SL_MAP_INIT;

	next.cap = MIN_CAP;
	while (next.cap < (m->n + n) * 2)
		next.cap *= 2;
	next.slots = sl_calloc(next.cap, sizeof(*next.slots));
	if (!next.slots)
		return -ENOMEM;
	for (size_t i = 0; i < m->cap; i++) {
		if (m->slots[i].hash > DELETED)
			place(&next, m->slots[i]);
	}
	free(m->slots);
	*m = next;
	return 0;
}

void *sl_map_get(const struct sl_map *m, struct sl_str key)
{
	struct sl_map_slot *s = m->n ? find(m, key, hash_of(key)) : NULL;

	return s ? s->value : NULL;
}

int sl_map_put(struct sl_map *m, struct sl_str key, void *value, void **ret_old)
{
	uint64_t h = hash_of(key);
	struct sl_map_slot *s = find(m, key, h);
	int r;

	if (s) {
		if (ret_old)
			*ret_old = s->value;
		s->key = key;
		s->value = value;
		return 0;
	}
	if ((m->n_used + 1) * 4 > m->cap * 3) {
		r = grow(m, 1);
		if (r)
			return r;
	}
	place(m, (struct sl_map_slot){h, key, value});
	if (ret_old)
		*ret_old = NULL;
	return 0;
}

int sl_map_reserve(struct sl_map *m, size_t n)
{
	return (m->n_used + n) * 4 > m->cap * 3 ? grow(m, n) : 0;
}

void *sl_map_del(struct sl_map *m, struct sl_str key)
{
	struct sl_map_slot *s = m->n ? find(m, key, hash_of(key)) : NULL;
	void *v;

	if (!s)
		return NULL;
	v = s->value;
	*s = (struct sl_map_slot){.hash = DELETED};
	m->n--;
	return v;
}

void *sl_map_next(const struct sl_map *m, size_t *pos, struct sl_str *ret_key)
{
	for (; *pos < m->cap; (*pos)++) {
		struct sl_map_slot *s = &m->slots[*pos];

		if (s->hash <= DELETED)
			continue;
		if (ret_key)
			*ret_key = s->key;
		(*pos)++;
		return s->value;
	}
	return NULL;
}
