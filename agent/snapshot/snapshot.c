/* SPDX-License-Identifier: Apache-2.0 */
#include "snapshot/snapshot.h"

#include <errno.h>
#include "base/alloc.h"
#include "snapshot/faults.h"
#include "snapshot/match_index.h"

/* First blocks of the arenas: a large cluster has many parts, most of them small. */
enum { PART_BLOCK_BYTES = 1024 };

static void upstream_free(struct sl_part *p)
{
	struct sl_upstream *u = (struct sl_upstream *)p;
	const struct sl_balance *b = u->balance;

	(void)sl_tls_context_unref(u->tls); /* always NULL */
	sl_faults_unref(u->faults);
	for (uint32_t i = 0; b && b->loads && i < u->n_endpoints; i++)
		sl_load_unref(b->loads[i]);
	sl_load_unref(b ? b->load : NULL);
	if (u->budget && u->budget->spent)
		sl_part_unref(&u->budget->spent->part);
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

static void route_free(struct sl_part *p)
{
	struct sl_route *r = (struct sl_route *)p;

	for (uint32_t i = 0; i < r->n_rules; i++)
		sl_faults_unref(r->rules[i].faults);
	sl_matches_deinit(r->matches, r->n_matches);
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
	for (uint32_t i = 0; i < f->n_trials; i++) {
		sl_part_unref(&f->trials[i].shadow->part);
		sl_part_unref(f->trials[i].enforced ? &f->trials[i].enforced->part : NULL);
	}
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
	sl_pmap_deinit(&s->udp_frontends);
	sl_pmap_deinit(&s->upstreams);
	sl_pmap_deinit(&s->pods_by_ip);
	sl_pmap_deinit(&s->pods_by_uid);
	sl_pmap_deinit(&s->plan.services);
	sl_pmap_deinit(&s->plan.splits);
	free(s);
	return NULL;
}

const struct sl_frontend *sl_snapshot_frontend(const struct sl_snapshot *s,
					       const struct sl_addr *vip)
{
	return (const struct sl_frontend *)sl_pmap_get(&s->frontends, SL_KEY(vip));
}

const struct sl_frontend *sl_snapshot_udp_frontend(const struct sl_snapshot *s,
						   const struct sl_addr *vip)
{
	return (const struct sl_frontend *)sl_pmap_get(&s->udp_frontends, SL_KEY(vip));
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

const struct sl_trial *sl_frontend_trial(const struct sl_frontend *f,
					 struct sl_str client_namespace)
{
	const struct sl_trial *producers = NULL;

	for (uint32_t i = 0; i < f->n_trials; i++) {
		if (sl_str_eq(f->trials[i].namespace, f->namespace))
			producers = &f->trials[i];
		else if (client_namespace.len &&
			 sl_str_eq(f->trials[i].namespace, client_namespace))
			return &f->trials[i];
	}
	/* Who has consumer routes is not governed by the producers'. */
	return producers && sl_frontend_table(f, client_namespace) == f->producer ? producers
										  : NULL;
}
