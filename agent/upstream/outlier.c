/* SPDX-License-Identifier: Apache-2.0 */
/* Endpoints that fail several times in a row get no requests for a while, longer each time. */
#include "upstream/lb.h"

static uint32_t get(const atomic_uint *n)
{
	return atomic_load_explicit(n, memory_order_relaxed);
}

static void set(_Atomic uint64_t *v, uint64_t to)
{
	atomic_store_explicit(v, to, memory_order_relaxed);
}

static void forget_errors(struct sl_load *l)
{
	for (int i = 0; i < 3; i++) {
		if (get(&l->in_a_row[i]))
			atomic_store_explicit(&l->in_a_row[i], 0, memory_order_relaxed);
	}
}

/* Whether one more can go, by the part that the policy allows. */
static bool has_room(const struct sl_upstream *up, uint64_t now_ns)
{
	uint64_t n = 1;

	for (uint32_t i = 0; i < up->n_usable; i++)
		n += sl_lb_is_ejected(up, i, now_ns);
	return n * 100 <= (uint64_t)up->n_usable * up->balance->outliers.max_percent;
}

/* The n-th time it lasts n times as long. Who has been well for the longest time that there is
 * begins anew. */
static uint64_t ejection_ns(const struct sl_outliers *o, struct sl_load *l, uint64_t now_ns)
{
	uint64_t until = atomic_load_explicit(&l->ejected_until_ns, memory_order_relaxed);
	uint64_t n = until && now_ns - until < o->max_ejection_ns ? get(&l->n_ejections) + 1 : 1;
	uint64_t max = o->max_ejection_ns / o->ejection_ns;

	atomic_store_explicit(&l->n_ejections, (uint32_t)n, memory_order_relaxed);
	return n > max ? o->max_ejection_ns : n * o->ejection_ns;
}

static bool eject(const struct sl_upstream *up, struct sl_load *l, uint64_t now_ns)
{
	const struct sl_balance *b = up->balance;
	bool ejected;

	/* Another worker is just about to: the next error decides. */
	if (atomic_flag_test_and_set(&b->load->judging))
		return false;
	ejected = has_room(up, now_ns);
	if (ejected) {
		forget_errors(l);
		set(&l->ejected_until_ns, now_ns + ejection_ns(&b->outliers, l, now_ns));
		set(&l->since_ns, 0); /* comes back slowly, if the policy says so */
	}
	atomic_flag_clear(&b->load->judging);
	return ejected;
}

bool sl_outlier_note(const struct sl_upstream *up, uint32_t endpoint, enum sl_outcome outcome,
		     uint64_t now_ns)
{
	const struct sl_outliers *o = &up->balance->outliers;
	struct sl_load *l = up->balance->loads[endpoint];
	uint64_t last = atomic_load_explicit(&l->error_ns, memory_order_relaxed);
	bool is_outlier = false;

	if (!o->interval_ns || outcome == SL_OUTCOME_NONE)
		return false;
	if (outcome == SL_OUTCOME_OK || (now_ns > last && now_ns - last > o->interval_ns))
		forget_errors(l);
	if (outcome == SL_OUTCOME_OK)
		return false;
	set(&l->error_ns, now_ns);
	for (int i = 0; i < 3; i++) {
		uint32_t n = 0;

		if (SL_OUTCOME_5XX + i > (int)outcome)
			atomic_store_explicit(&l->in_a_row[i], 0, memory_order_relaxed);
		else
			n = atomic_fetch_add_explicit(&l->in_a_row[i], 1, memory_order_relaxed) + 1;
		is_outlier |= o->in_a_row[i] && n >= o->in_a_row[i];
	}
	/* Requests that were under way when it was ejected are no news. */
	return is_outlier && !sl_lb_is_ejected(up, endpoint, now_ns) && eject(up, l, now_ns);
}
