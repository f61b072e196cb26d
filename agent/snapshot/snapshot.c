/* SPDX-License-Identifier: Apache-2.0 */
#include "snapshot/snapshot.h"

#include <errno.h>
#include "base/alloc.h"
#include "snapshot/match_index.h"

/* First blocks of the arenas: a large cluster has many parts, most of them small. */
enum { PART_BLOCK_BYTES = 1024 };

static void upstream_free(struct sl_part *p)
{
	struct sl_upstream *u = (struct sl_upstream *)p;

	sl_arena_deinit(&u->arena);
	free(u);
}

int sl_upstream_new(struct sl_upstream **ret)
{
	struct sl_upstream *u = sl_new(struct sl_upstream);

	if (!u)
		return -ENOMEM;
	sl_part_init(&u->part, upstream_free);
	u->arena = SL_ARENA_INIT(PART_BLOCK_BYTES);
	*ret = u;
	return 0;
}

struct sl_upstream *sl_upstream_unref(struct sl_upstream *u)
{
	sl_part_unref(u ? &u->part : NULL);
	return NULL;
}

static void values_unref(const struct sl_match_value *values, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		sl_regex_unref(values[i].regex);
}

static void route_free(struct sl_part *p)
{
	struct sl_route *r = (struct sl_route *)p;

	for (uint32_t i = 0; i < r->n_matches; i++) {
		sl_regex_unref(r->matches[i].path_regex);
		sl_regex_unref(r->matches[i].rpc_service.regex);
		sl_regex_unref(r->matches[i].rpc_method.regex);
		values_unref(r->matches[i].headers, r->matches[i].n_headers);
		values_unref(r->matches[i].queries, r->matches[i].n_queries);
	}
	sl_arena_deinit(&r->arena);
	free(r);
}

int sl_route_new(struct sl_route **ret)
{
	struct sl_route *r = sl_new(struct sl_route);

	if (!r)
		return -ENOMEM;
	sl_part_init(&r->part, route_free);
	r->arena = SL_ARENA_INIT(PART_BLOCK_BYTES);
	*ret = r;
	return 0;
}

struct sl_route *sl_route_unref(struct sl_route *r)
{
	sl_part_unref(r ? &r->part : NULL);
	return NULL;
}

static void table_free(struct sl_part *p)
{
	struct sl_route_table *t = (struct sl_route_table *)p;

	sl_match_index_free(t->index);
	free(t);
}

int sl_route_table_new(struct sl_route_table **ret)
{
	struct sl_route_table *t = sl_new(struct sl_route_table);

	if (!t)
		return -ENOMEM;
	sl_part_init(&t->part, table_free);
	*ret = t;
	return 0;
}

struct sl_route_table *sl_route_table_unref(struct sl_route_table *t)
{
	sl_part_unref(t ? &t->part : NULL);
	return NULL;
}

static void frontend_free(struct sl_part *p)
{
	struct sl_frontend *f = (struct sl_frontend *)p;

	sl_part_unref(f->producer ? &f->producer->part : NULL);
	for (uint32_t i = 0; i < f->n_consumers; i++)
		sl_part_unref(&f->consumers[i].table->part);
	sl_arena_deinit(&f->arena);
	free(f);
}

int sl_frontend_new(struct sl_frontend **ret)
{
	struct sl_frontend *f = sl_new(struct sl_frontend);

	if (!f)
		return -ENOMEM;
	sl_part_init(&f->part, frontend_free);
	f->arena = SL_ARENA_INIT(PART_BLOCK_BYTES);
	*ret = f;
	return 0;
}

static void pod_free(struct sl_part *p)
{
	struct sl_pod_ref *pod = (struct sl_pod_ref *)p;

	sl_arena_deinit(&pod->arena);
	free(pod);
}

int sl_pod_ref_new(struct sl_pod_ref **ret)
{
	struct sl_pod_ref *pod = sl_new(struct sl_pod_ref);

	if (!pod)
		return -ENOMEM;
	sl_part_init(&pod->part, pod_free);
	pod->arena = SL_ARENA_INIT(PART_BLOCK_BYTES);
	*ret = pod;
	return 0;
}

int sl_snapshot_new(struct sl_snapshot **ret)
{
	struct sl_snapshot *s = sl_new(struct sl_snapshot);

	if (!s)
		return -ENOMEM;
	atomic_init(&s->refs, 1);
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
	if (!s || atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) != 1)
		return NULL;
	sl_pmap_deinit(&s->frontends);
	sl_pmap_deinit(&s->upstreams);
	sl_pmap_deinit(&s->pods_by_ip);
	sl_pmap_deinit(&s->pods_by_uid);
	sl_pmap_deinit(&s->plan.services);
	free(s);
	return NULL;
}

const struct sl_frontend *sl_snapshot_frontend(const struct sl_snapshot *s,
					       const struct sl_addr *vip)
{
	return (const struct sl_frontend *)sl_pmap_get(&s->frontends, SL_KEY(vip));
}

const struct sl_upstream *sl_snapshot_upstream(const struct sl_snapshot *s, struct sl_str key)
{
	return sl_upstream_of(sl_pmap_get(&s->upstreams, key));
}

const struct sl_pod_ref *sl_snapshot_pod_by_ip(const struct sl_snapshot *s,
					       const struct sl_addr *ip)
{
	return (const struct sl_pod_ref *)sl_pmap_get(&s->pods_by_ip, SL_KEY(&ip->ip));
}

const struct sl_pod_ref *sl_snapshot_pod_by_uid(const struct sl_snapshot *s, struct sl_str uid)
{
	return (const struct sl_pod_ref *)sl_pmap_get(&s->pods_by_uid, uid);
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
