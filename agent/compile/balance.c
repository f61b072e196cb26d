/* SPDX-License-Identifier: Apache-2.0 */
/* What a policy, or the Service itself, says about balancing, as workers need it. */
#include <errno.h>
#include "base/alloc.h"
#include "base/clock.h"
#include "base/cleanup.h"
#include "compile/work.h"

static const enum sl_balancer balancers[] = {
	[SL_POLICY_ROUND_ROBIN] = SL_BALANCER_ROUND_ROBIN,
	[SL_POLICY_LEAST_REQUEST] = SL_BALANCER_LEAST_REQUEST,
	[SL_POLICY_PEAK_EWMA] = SL_BALANCER_PEAK_EWMA,
	[SL_POLICY_CONSISTENT_HASH] = SL_BALANCER_HASH,
};

static const enum sl_hash_source hashes[] = {
	[SL_POLICY_HASH_HEADER] = SL_HASH_HEADER,
	[SL_POLICY_HASH_COOKIE] = SL_HASH_COOKIE,
	[SL_POLICY_HASH_SOURCE_IP] = SL_HASH_CLIENT,
};

static int policy_fill(struct sl_arena *a, const struct sl_traffic_policy *p, struct sl_balance *b)
{
	b->balancer = balancers[p->balancer];
	b->hash = hashes[p->hash];
	b->slow_start_ns = p->slow_start_ns;
	b->outliers = (struct sl_outliers){
		.in_a_row = {p->outliers.errors, p->outliers.gateway_errors,
			     p->outliers.connect_errors},
		.interval_ns = p->outliers.interval_ns,
		.ejection_ns = p->outliers.ejection_ns,
		.max_ejection_ns = p->outliers.max_ejection_ns,
		.max_percent = p->outliers.max_percent,
	};
	b->limits = (struct sl_breaker){
		.connections = p->limits.connections,
		.pending = p->limits.pending,
		.requests = p->limits.requests,
		.requests_per_connection = p->limits.requests_per_connection,
		.endpoint_connections = p->limits.endpoint_connections,
		.endpoint_requests = p->limits.endpoint_requests,
	};
	if (sl_arena_str(a, p->hash_name, &b->hash_name))
		return -ENOMEM;
	return sl_arena_printf(a, &b->policy, "%s/%.*s", sl_kind_name(SL_KIND_TRAFFICPOLICY),
			       SL_STR_ARG(p->policy.object.key));
}

/* ---- loads ---- */

/* Of the version before, by address. */
static int loads_collect(const struct sl_upstream *old, struct sl_map *ret)
{
	int r = 0;

	for (uint32_t i = 0; i < old->n_endpoints && !r; i++)
		r = sl_map_put(ret, SL_KEY(&old->endpoints[i].addr), old->balance->loads[i], NULL);
	return r;
}

/* Those that took no requests until now begin slowly, as new ones do. */
static void loads_restart(const struct sl_upstream *old)
{
	for (uint32_t i = old->n_usable; i < old->n_endpoints; i++)
		atomic_store_explicit(&old->balance->loads[i]->since_ns, 0, memory_order_relaxed);
}

static int load_keep(struct sl_load *before, struct sl_load **ret)
{
	if (!before)
		return sl_load_new(ret);
	sl_part_ref(&before->part);
	*ret = before;
	return 0;
}

static int loads_fill(const struct sl_upstream *u, const struct sl_upstream *old,
		      struct sl_balance *b)
{
	_cleanup_(sl_map_deinit) struct sl_map before = SL_MAP_INIT;
	int r = 0;

	if (old && (!old->balance || !old->balance->loads))
		old = NULL;
	if (old) {
		r = loads_collect(old, &before);
		loads_restart(old);
	}
	if (!r)
		r = load_keep(old ? old->balance->load : NULL, &b->load);
	for (uint32_t i = 0; i < u->n_endpoints && !r; i++)
		r = load_keep(sl_map_get(&before, SL_KEY(&u->endpoints[i].addr)), &b->loads[i]);
	return r;
}

/* ---- consistent hashing ---- */

static int slots_fill(struct sl_upstream *u, struct sl_balance *b)
{
	uint32_t n = u->n_usable < UINT16_MAX ? u->n_usable : UINT16_MAX - 1;
	_cleanup_(sl_freep) uint64_t *names = sl_new_n(uint64_t, n);
	char text[SL_ADDR_TEXT];

	if (!names)
		return -ENOMEM;
	for (uint32_t i = 0; i < n; i++)
		names[i] =
			sl_balance_hash(sl_str_from(sl_addr_format(&u->endpoints[i].addr, text)));
	return n ? sl_hash_slots(&u->arena, names, n, &b->slots) : 0;
}

int balance_build(const struct port_node *port, const struct sl_traffic_policy *p,
		  const struct sl_upstream *old, struct sl_upstream *u)
{
	uint64_t affinity_s = port->service->service->affinity_s;
	struct sl_balance *b;
	int r = 0;

	if (!p && !affinity_s)
		return 0;
	b = sl_arena_new(&u->arena, struct sl_balance);
	if (!b)
		return -ENOMEM;
	u->balance = b;
	b->affinity_ns = affinity_s * SL_NS_PER_S;
	if (p) {
		b->loads = sl_arena_new_n(&u->arena, struct sl_load *, u->n_endpoints + 1);
		r = b->loads ? policy_fill(&u->arena, p, b) : -ENOMEM;
		if (!r)
			r = loads_fill(u, old, b);
	}
	/* Who stays with an endpoint finds it by hashing: so all workers agree on it. */
	if (!r && (b->balancer == SL_BALANCER_HASH || affinity_s))
		r = slots_fill(u, b);
	return r;
}
