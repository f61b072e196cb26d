/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A moving average of latencies that believes bad news at once and good news slowly (as Finagle's
 * PeakEWMA): a slow answer counts in full, and is forgotten within seconds, with answers or
 * without.
 */
#include "base/clock.h"
#include "upstream/lb.h"

#define DECAY_NS (10 * SL_NS_PER_S)

/* What is left of it after elapsed_ns: 1 / (1 + t), which is e^-t for the short times between
 * answers, and forgets slower. */
static uint64_t decay(uint64_t latency_ns, uint64_t elapsed_ns)
{
	return (uint64_t)((__uint128_t)latency_ns * DECAY_NS / (DECAY_NS + elapsed_ns));
}

static uint64_t get(const _Atomic uint64_t *v)
{
	return atomic_load_explicit(v, memory_order_relaxed);
}

uint64_t sl_latency_now(const struct sl_load *l, uint64_t now_ns)
{
	uint64_t at = get(&l->latency_at_ns);

	return decay(get(&l->latency_ns), now_ns > at ? now_ns - at : 0);
}

void sl_latency_note(struct sl_load *l, uint64_t latency_ns, uint64_t now_ns)
{
	uint64_t kept = sl_latency_now(l, now_ns), before = get(&l->latency_ns);
	uint64_t mean = latency_ns;

	/* The part of the average that time has taken is the newcomer's. */
	if (before && latency_ns < before)
		mean = kept + (uint64_t)((__uint128_t)latency_ns * (before - kept) / before);
	atomic_store_explicit(&l->latency_ns, mean ? mean : 1, memory_order_relaxed);
	atomic_store_explicit(&l->latency_at_ns, now_ns, memory_order_relaxed);
}
