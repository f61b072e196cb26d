/* SPDX-License-Identifier: Apache-2.0 */
#include "snapshot/snapshot.h"

#include <errno.h>
#include "base/alloc.h"
#include "snapshot/match_index.h"

/* First blocks of the arenas: a large cluster has many parts, most of them small. */
enum { PART_BLOCK_BYTES = 1024, SNAPSHOT_BLOCK_BYTES = 16 * 1024 };

/* True when it was the last reference. */
static bool drop_ref(atomic_uint *refs)
{
	return atomic_fetch_sub_explicit(refs, 1, memory_order_acq_rel) == 1;
}

int sl_upstream_new(struct sl_upstream **ret)
{
	struct sl_upstream *u = sl_new(struct sl_upstream);

	if (!u)
		return -ENOMEM;
	atomic_init(&u->refs, 1);
	u->arena = SL_ARENA_INIT(PART_BLOCK_BYTES);
	*ret = u;
	return 0;
}

struct sl_upstream *sl_upstream_unref(struct sl_upstream *u)
{
	if (u && drop_ref(&u->refs)) {
		sl_arena_deinit(&u->arena);
		free(u);
	}
	return NULL;
}

int sl_route_table_new(struct sl_route_table **ret)
{
	struct sl_route_table *t = sl_new(struct sl_route_table);

	if (!t)
		return -ENOMEM;
	atomic_init(&t->refs, 1);
	t->arena = SL_ARENA_INIT(PART_BLOCK_BYTES);
	*ret = t;
	return 0;
}

struct sl_route_table *sl_route_table_unref(struct sl_route_table *t)
{
	if (t && drop_ref(&t->refs)) {
		sl_match_index_deinit(t->index);
		sl_arena_deinit(&t->arena);
		free(t);
	}
	return NULL;
}

int sl_snapshot_new(struct sl_snapshot **ret)
{
	struct sl_snapshot *s = sl_new(struct sl_snapshot);

	if (!s)
		return -ENOMEM;
	atomic_init(&s->refs, 1);
	s->arena = SL_ARENA_INIT(SNAPSHOT_BLOCK_BYTES);
	*ret = s;
	return 0;
}

struct sl_snapshot *sl_snapshot_ref(struct sl_snapshot *s)
{
	atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
	return s;
}

struct sl_snapshot *sl_snapshot_unref(struct sl_snapshot *s)
{
	struct sl_upstream *u;
	size_t pos = 0;

	if (!s || !drop_ref(&s->refs))
		return NULL;
	while ((u = sl_map_next(&s->upstreams, &pos, NULL)))
		sl_upstream_unref(u);
	for (uint32_t i = 0; i < s->n_tables; i++)
		sl_route_table_unref(s->tables[i]);
	sl_map_deinit(&s->frontends);
	sl_map_deinit(&s->upstreams);
	sl_map_deinit(&s->pods_by_ip);
	sl_map_deinit(&s->pods_by_uid);
	sl_arena_deinit(&s->arena);
	free(s);
	return NULL;
}

const struct sl_frontend *sl_snapshot_frontend(const struct sl_snapshot *s,
					       const struct sl_addr *vip)
{
	return sl_map_get(&s->frontends, SL_KEY(vip));
}

const struct sl_upstream *sl_snapshot_upstream(const struct sl_snapshot *s, struct sl_str key)
{
	return sl_map_get(&s->upstreams, key);
}

const struct sl_pod_ref *sl_snapshot_pod_by_ip(const struct sl_snapshot *s,
					       const struct sl_addr *ip)
{
	return sl_map_get(&s->pods_by_ip, SL_KEY(&ip->ip));
}

const struct sl_pod_ref *sl_snapshot_pod_by_uid(const struct sl_snapshot *s, struct sl_str uid)
{
	return sl_map_get(&s->pods_by_uid, uid);
}

const struct sl_route_table *sl_frontend_table(const struct sl_frontend *f,
					       struct sl_str client_namespace)
{
	uint32_t low = 0, high = f->n_consumers;

	while (client_namespace.len && low < high) {
		uint32_t mid = low + (high - low) / 2;
		int order = sl_str_cmp(client_namespace, f->consumers[mid].namespace);

		if (order == 0)
			return f->consumers[mid].table;
		if (order < 0)
			high = mid;
		else
			low = mid + 1;
	}
	return f->producer;
}
