/* SPDX-License-Identifier: Apache-2.0 */
#include "resource/model.h"

#include <assert.h>
#include <errno.h>
#include "base/alloc.h"

/* Longer than any key that the decoder lets pass (63 + 1 + 253). */
enum { MAX_KEY = 512 };

int sl_model_new(struct sl_model **ret)
{
	struct sl_model *m = sl_new(struct sl_model);

	if (!m)
		return -ENOMEM;
	*ret = m;
	return 0;
}

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
	free(m);
	return NULL;
}

int sl_model_put(struct sl_model *m, struct sl_object *o)
{
	void *old = NULL;
	int r;

	assert(o->kind < SL_N_KINDS);
	if (!o->key.ptr) {
		r = sl_arena_printf(&o->arena, &o->key, "%.*s/%.*s", SL_STR_ARG(o->meta.namespace),
				    SL_STR_ARG(o->meta.name));
		if (r)
			return r;
	}
	r = sl_map_put(&m->by_kind[o->kind], o->key, o, &old);
	if (r)
		return r;
	sl_object_ref(o);
	sl_object_unref(old);
	m->generation++;
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
	sl_object_unref(o);
	m->generation++;
	return true;
}

struct sl_object *sl_model_get(const struct sl_model *m, enum sl_kind kind, struct sl_str namespace,
			       struct sl_str name)
{
	char buf[MAX_KEY];

	assert(kind < SL_N_KINDS);
	return sl_map_get(&m->by_kind[kind], make_key(buf, namespace, name));
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
