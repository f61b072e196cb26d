/* SPDX-License-Identifier: Apache-2.0 */
#include "snapshot/budget.h"

#include <errno.h>
#include "base/alloc.h"

static void count_free(struct sl_part *p)
{
	free(p); /* embedded first */
}

int sl_budget_count_new(struct sl_budget_count **ret)
{
	struct sl_budget_count *c = sl_new(struct sl_budget_count);

	if (!c)
		return -ENOMEM;
	sl_part_init(&c->part, count_free);
	*ret = c;
	return 0;
}

static unsigned get(const atomic_uint *n)
{
	return atomic_load_explicit((atomic_uint *)n, memory_order_relaxed);
}

/* The slot of this moment, empty when it was another's. Turns are counted from 1: a slot that is
 * zeroed is nobody's. */
static struct sl_budget_slot *slot_now(const struct sl_retry_budget *b, uint64_t now_ns,
				       uint64_t *ret_turn)
{
	uint64_t turn = now_ns / (b->interval_ns / SL_BUDGET_SLOTS) + 1;
	struct sl_budget_slot *s = &b->spent->slots[turn % SL_BUDGET_SLOTS];
	uint64_t was = atomic_load_explicit(&s->turn, memory_order_relaxed);

	if (was != turn && atomic_compare_exchange_strong(&s->turn, &was, turn)) {
		atomic_store_explicit(&s->requests, 0, memory_order_relaxed);
		atomic_store_explicit(&s->retries, 0, memory_order_relaxed);
	}
	*ret_turn = turn;
	return s;
}

void sl_budget_request(const struct sl_retry_budget *b, uint64_t now_ns)
{
	uint64_t turn;

	atomic_fetch_add_explicit(&slot_now(b, now_ns, &turn)->requests, 1, memory_order_relaxed);
}

static bool within_share(const struct sl_retry_budget *b, uint64_t turn)
{
	uint64_t requests = 0, retries = 0;

	for (int i = 0; i < SL_BUDGET_SLOTS; i++) {
		const struct sl_budget_slot *s = &b->spent->slots[i];
		uint64_t of =
			atomic_load_explicit((_Atomic uint64_t *)&s->turn, memory_order_relaxed);

		if (of + SL_BUDGET_SLOTS <= turn)
			continue;
		requests += get(&s->requests);
		retries += get(&s->retries);
	}
	return (retries + 1) * 100 <= b->percent * (requests + retries + 1);
}

/* Takes one of those that are always allowed. */
static bool take_rate(const struct sl_retry_budget *b, uint64_t now_ns)
{
	struct sl_budget_count *c = b->spent;
	uint64_t turn = now_ns / b->rate_interval_ns + 1;
	uint64_t was = atomic_load_explicit(&c->rate_turn, memory_order_relaxed);

	if (was != turn && atomic_compare_exchange_strong(&c->rate_turn, &was, turn))
		atomic_store_explicit(&c->rate_retries, 0, memory_order_relaxed);
	if (atomic_fetch_add_explicit(&c->rate_retries, 1, memory_order_relaxed) < b->rate_count)
		return true;
	atomic_fetch_sub_explicit(&c->rate_retries, 1, memory_order_relaxed);
	return false;
}

bool sl_budget_take(const struct sl_retry_budget *b, uint64_t now_ns)
{
	uint64_t turn;
	struct sl_budget_slot *s = slot_now(b, now_ns, &turn);

	if (!take_rate(b, now_ns) && !within_share(b, turn))
		return false;
	atomic_fetch_add_explicit(&s->retries, 1, memory_order_relaxed);
	return true;
}
