/* SPDX-License-Identifier: Apache-2.0 */
#include "resource/model.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include "base/alloc.h"

/* Longer than any key that the decoder lets pass (63 + 1 + 253). */
enum { MAX_KEY = 512 };

int sl_model_new(struct sl_model **ret)
{
	static atomic_ullong last_id;
	struct sl_model *m = sl_new(struct sl_model);

	if (!m)
		return -ENOMEM;
	m->id = atomic_fetch_add(&last_id, 1) + 1;
	*ret = m;
	return 0;
}

/* ---- history ---- */

static void history_free(struct sl_model *m)
{
	for (size_t i = 0; m->history && i < SL_MODEL_HISTORY; i++)
		free((char *)m->history[i].key.ptr);
	free(m->history);
	m->history = NULL;
}

/* Counts the change. Without memory for its name the history begins anew. */
static void remember(struct sl_model *m, enum sl_kind kind, struct sl_str key)
{
	struct sl_model_change *c;
	char *copy = sl_malloc(key.len);

	m->generation++;
	if (copy && !m->history)
		m->history = sl_new_n(struct sl_model_change, SL_MODEL_HISTORY);
	if (!copy || !m->history) {
		free(copy);
		m->history_from = m->generation;
		return;
	}
	if (m->generation - m->history_from > SL_MODEL_HISTORY)
		m->history_from = m->generation - SL_MODEL_HISTORY;
	memcpy(copy, key.ptr, key.len);
	c = &m->history[m->generation % SL_MODEL_HISTORY];
	free((char *)c->key.ptr);
	*c = (struct sl_model_change){kind, {copy, key.len}};
}

bool sl_model_knows(const struct sl_model *m, uint64_t generation)
{
	return generation >= m->history_from && generation <= m->generation;
}

const struct sl_model_change *sl_model_change(const struct sl_model *m, uint64_t generation)
{
	assert(generation > m->history_from && generation <= m->generation);
	return &m->history[generation % SL_MODEL_HISTORY];
}

/* ---- objects ---- */

struct sl_model *sl_model_free(struct sl_model *m)
{
	if (!m)
		return NULL;
	for (size_t k = 0; k < SL_N_KINDS; k++) {
		struct sl_object *o;
		size_t pos = 0;

		while ((o = sl_map_next(&m->by_kind[k], &pos, NULL)))
			sl_object_unref(o);
		sl_map_deinit(&m->by_kind[k]);
	}
	history_free(m);
	free(m);
	return NULL;
}

int sl_model_prepare(struct sl_object *o)
{
	if (o->key.ptr)
		return 0;
	return sl_arena_printf(&o->arena, &o->key, "%.*s/%.*s", SL_STR_ARG(o->meta.namespace),
			       SL_STR_ARG(o->meta.name));
}

int sl_model_reserve(struct sl_model *m, enum sl_kind kind, size_t n)
{
	assert(kind < SL_N_KINDS);
	return sl_map_reserve(&m->by_kind[kind], n);
}

int sl_model_put(struct sl_model *m, struct sl_object *o)
{
	void *old = NULL;
	int r = sl_model_prepare(o);

	assert(o->kind < SL_N_KINDS);
	if (r)
		return r;
	r = sl_map_put(&m->by_kind[o->kind], o->key, o, &old);
	if (r)
		return r;
	sl_object_ref(o);
	remember(m, o->kind, o->key);
	sl_object_unref(old);
	return 0;
}

/* The key in buf; an over-long one is empty, which no object has. */
static struct sl_str make_key(char buf[MAX_KEY], struct sl_str namespace, struct sl_str name)
{
	int n = snprintf(buf, MAX_KEY, "%.*s/%.*s", SL_STR_ARG(namespace), SL_STR_ARG(name));

	if (n < 0 || n >= MAX_KEY)
		return SL_STR("");
	return (struct sl_str){buf, (size_t)n};
}

bool sl_model_remove(struct sl_model *m, enum sl_kind kind, struct sl_str namespace,
		     struct sl_str name)
{
	char buf[MAX_KEY];
	struct sl_object *o;

	assert(kind < SL_N_KINDS);
	o = sl_map_del(&m->by_kind[kind], make_key(buf, namespace, name));
	if (!o)
		return false;
	remember(m, kind, o->key);
	sl_object_unref(o);
	return true;
}

struct sl_object *sl_model_get(const struct sl_model *m, enum sl_kind kind, struct sl_str namespace,
			       struct sl_str name)
{
	char buf[MAX_KEY];

	assert(kind < SL_N_KINDS);
	return sl_map_get(&m->by_kind[kind], make_key(buf, namespace, name));
}

struct sl_object *sl_model_get_key(const struct sl_model *m, enum sl_kind kind, struct sl_str key)
{
	assert(kind < SL_N_KINDS);
	return sl_map_get(&m->by_kind[kind], key);
}

static int compare(const void *a, const void *b)
{
	const struct sl_object *x = *(struct sl_object *const *)a;
	const struct sl_object *y = *(struct sl_object *const *)b;
	int r = sl_str_cmp(x->meta.namespace, y->meta.namespace);

	return r ? r : sl_str_cmp(x->meta.name, y->meta.name);
}

int sl_model_list(const struct sl_model *m, enum sl_kind kind, struct sl_object ***ret,
		  size_t *ret_n)
{
	struct sl_object **list, *o;
	size_t n = 0, pos = 0;

	assert(kind < SL_N_KINDS);
	/* One more than needed, so that an empty list is an array too. */
	list = sl_new_n(struct sl_object *, m->by_kind[kind].n + 1);
	if (!list)
		return -ENOMEM;
	while ((o = sl_map_next(&m->by_kind[kind], &pos, NULL)))
		list[n++] = o;
	qsort(list, n, sizeof(*list), compare);
	*ret = list;
	*ret_n = n;
	return 0;
}

size_t sl_model_count(const struct sl_model *m, enum sl_kind kind)
{
	assert(kind < SL_N_KINDS);
	return m->by_kind[kind].n;
}
