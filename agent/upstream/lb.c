/* SPDX-License-Identifier: Apache-2.0 */
#include "upstream/lb.h"

#include <errno.h>
#include "base/alloc.h"
#include "base/cleanup.h"
#include "upstream/random.h"

/* Of 1024: an endpoint gets as much at once, or nobody would learn how fast it is. */
enum { FULL_WARMTH = 1024, MIN_WARMTH = 102 };

static const struct sl_lb_ops *const balancers[SL_N_BALANCERS] = {
	[SL_BALANCER_ROUND_ROBIN] = &sl_lb_round_robin,
	[SL_BALANCER_LEAST_REQUEST] = &sl_lb_least_request,
	[SL_BALANCER_PEAK_EWMA] = &sl_lb_peak_ewma,
	[SL_BALANCER_HASH] = &sl_lb_hash,
};

/* ---- life ---- */

int sl_lb_new(struct sl_lb **ret)
{
	struct sl_lb *lb = sl_new(struct sl_lb);

	if (!lb)
		return -ENOMEM;
	lb->random = sl_random_seed();
	*ret = lb;
	return 0;
}

static void state_free(struct sl_lb_state *s)
{
	if (s)
		(void)sl_lb_clients_free(s->clients); /* always NULL */
	free(s);
}

struct sl_lb *sl_lb_free(struct sl_lb *lb)
{
	struct sl_lb_state *s;
	size_t pos = 0;

	if (!lb)
		return NULL;
	while ((s = sl_map_next(&lb->states, &pos, NULL)))
		state_free(s);
	sl_map_deinit(&lb->states);
	free(lb);
	return NULL;
}

/* Each worker starts anywhere in the round: none of them favours the first endpoint. NULL when out
 * of memory. */
static struct sl_lb_state *find_state(struct sl_lb *lb, struct sl_str key)
{
	struct sl_lb_state *found = sl_map_get(&lb->states, key);
	_cleanup_(sl_freep) struct sl_lb_state *s = NULL;

	if (found)
		return found;
	s = sl_calloc(1, sizeof(*s) + key.len);
	if (!s)
		return NULL;
	s->next = sl_random_next(&lb->random) >> 32;
	s->key = (struct sl_str){s->bytes, key.len};
	if (key.len)
		memcpy(s->bytes, key.ptr, key.len);
	if (sl_map_put(&lb->states, s->key, s, NULL))
		return NULL;
	return sl_take(s);
}

static int forget_gone(void *arg, struct sl_str key, const struct sl_part *before,
		       const struct sl_part *after)
{
	struct sl_lb *lb = arg;

	if (!after)
		state_free(sl_map_del(&lb->states, key));
	return 0;
}

void sl_lb_prune(struct sl_lb *lb, const struct sl_snapshot *before,
		 const struct sl_snapshot *after)
{
	if (before)
		(void)sl_pmap_diff(&before->upstreams, &after->upstreams, forget_gone, lb); /* 0 */
}

/* ---- what balancers ask ---- */

static uint32_t get(const atomic_uint *n)
{
	return atomic_load_explicit(n, memory_order_relaxed);
}

static bool is_under(const atomic_uint *n, uint32_t max)
{
	return !max || get(n) < max;
}

bool sl_lb_is_ejected(const struct sl_upstream *up, uint32_t endpoint, uint64_t now_ns)
{
	const struct sl_balance *b = up->balance;

	return b && b->loads &&
	       atomic_load_explicit(&b->loads[endpoint]->ejected_until_ns, memory_order_relaxed) >
		       now_ns;
}

bool sl_lb_takes(const struct sl_lb_choice *c, uint32_t i)
{
	const struct sl_balance *b = c->up->balance;
	const struct sl_lb_ask *ask = c->ask;

	if (c->level < SL_LB_ANY && ask->avoid && sl_addr_eq(&c->up->endpoints[i].addr, ask->avoid))
		return false;
	if (!b->loads)
		return true;
	return is_under(&b->loads[i]->requests, b->limits.endpoint_requests) &&
	       (c->level >= SL_LB_EJECTED || !sl_lb_is_ejected(c->up, i, ask->now_ns));
}

uint32_t sl_lb_scan(const struct sl_lb_choice *c, uint32_t start)
{
	uint32_t n = c->up->n_usable;

	for (uint32_t k = 0; k < n; k++) {
		uint32_t i = (uint32_t)(((uint64_t)start + k) % n);

		if (sl_lb_takes(c, i))
			return i;
	}
	return SL_LB_NONE;
}

uint32_t sl_lb_warmth(const struct sl_lb_choice *c, uint32_t i)
{
	const struct sl_balance *b = c->up->balance;
	uint64_t since = 0, now = c->ask->now_ns;
	uint64_t warmth;

	if (!b->slow_start_ns || !b->loads)
		return FULL_WARMTH;
	/* Who picks it first starts its clock. */
	if (atomic_compare_exchange_strong(&b->loads[i]->since_ns, &since, now))
		since = now;
	if (now - since >= b->slow_start_ns)
		return FULL_WARMTH;
	warmth = (now - since) * FULL_WARMTH / b->slow_start_ns;
	return warmth < MIN_WARMTH ? MIN_WARMTH : (uint32_t)warmth;
}

/* ---- choosing ---- */

/* What nobody has said anything about costs no more than this. */
static const struct sl_endpoint *pick_next(struct sl_lb *lb, const struct sl_upstream *up,
					   const struct sl_addr *avoid)
{
	struct sl_lb_state *s = find_state(lb, up->key);
	/* Out of memory, any endpoint serves. */
	uint64_t at = s ? s->next++ : sl_random_next(&lb->random);
	const struct sl_endpoint *e = &up->endpoints[at % up->n_usable];

	if (!avoid || up->n_usable == 1 || !sl_addr_eq(&e->addr, avoid))
		return e;
	if (s)
		s->next++;
	return &up->endpoints[(at + 1) % up->n_usable];
}

static uint32_t pick(const struct sl_lb_choice *c)
{
	const struct sl_balance *b = c->up->balance;

	if (b->affinity_ns && b->balancer != SL_BALANCER_HASH)
		return sl_lb_stay(c, sl_lb_hash.pick);
	return balancers[b->balancer]->pick(c);
}

const struct sl_endpoint *sl_lb_pick(struct sl_lb *lb, const struct sl_upstream *up,
				     const struct sl_lb_ask *ask)
{
	struct sl_lb_choice c = {.lb = lb, .up = up, .ask = ask};

	if (up->n_usable == 0)
		return NULL;
	if (!up->balance)
		return pick_next(lb, up, ask->avoid);
	c.state = find_state(lb, up->key);
	for (int level = SL_LB_BEST; level < SL_LB_N_LEVELS; level++) {
		uint32_t i;

		c.level = (enum sl_lb_level)level;
		i = pick(&c);
		if (i != SL_LB_NONE)
			return &up->endpoints[i];
	}
	return NULL;
}
