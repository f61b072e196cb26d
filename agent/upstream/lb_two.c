/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The better of two that were drawn at random: nearly as good as the best of all (Mitzenmacher, The
 * Power of Two Choices), without everybody running to the same endpoint.
 */
#include "upstream/lb.h"
#include "upstream/random.h"

/* Draws before the next best serves: ejected endpoints are few. */
enum { DRAWS = 4 };

/* So much costs an endpoint that has not answered yet while it is asked: it is tried once. */
#define UNKNOWN_NS (1ULL << 40)

static uint32_t draw(const struct sl_lb_choice *c, uint32_t not )
{
	uint32_t n = c->up->n_usable, i = 0;

	for (int k = 0; k < DRAWS; k++) {
		i = (uint32_t)((sl_random_next(&c->lb->random) >> 32) % n);
		if (i != not &&sl_lb_takes(c, i))
			return i;
	}
	i = sl_lb_scan(c, i == not ? i + 1 : i);
	return i == not ? SL_LB_NONE : i;
}

/* Costs of b are lower; what is in its slow start counts for more than it is. */
static bool is_better(const struct sl_lb_choice *c, uint32_t a, uint64_t cost_a, uint32_t b,
		      uint64_t cost_b)
{
	return (__uint128_t)cost_b * sl_lb_warmth(c, a) < (__uint128_t)cost_a * sl_lb_warmth(c, b);
}

static uint32_t pick(const struct sl_lb_choice *c,
		     uint64_t (*cost)(const struct sl_load *l, uint64_t now_ns))
{
	struct sl_load *const *loads = c->up->balance->loads;
	uint64_t now = c->ask->now_ns;
	uint32_t a = draw(c, SL_LB_NONE), b;

	if (a == SL_LB_NONE || c->up->n_usable == 1)
		return a;
	b = draw(c, a);
	if (b == SL_LB_NONE)
		return a;
	return is_better(c, a, cost(loads[a], now), b, cost(loads[b], now)) ? b : a;
}

static uint64_t by_requests(const struct sl_load *l, uint64_t now_ns)
{
	return (uint64_t)atomic_load_explicit(&l->requests, memory_order_relaxed) + 1;
}

static uint64_t by_latency(const struct sl_load *l, uint64_t now_ns)
{
	uint64_t n = atomic_load_explicit(&l->requests, memory_order_relaxed);
	uint64_t latency = sl_latency_now(l, now_ns);

	return latency ? latency * (n + 1) : n * UNKNOWN_NS;
}

static uint32_t pick_least(const struct sl_lb_choice *c)
{
	return pick(c, by_requests);
}

static uint32_t pick_fastest(const struct sl_lb_choice *c)
{
	return pick(c, by_latency);
}

const struct sl_lb_ops sl_lb_least_request = {.pick = pick_least};
const struct sl_lb_ops sl_lb_peak_ewma = {.pick = pick_fastest};
