/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include "base/clock.h"
#include "loop/wheel.h"

static const uint64_t ms = SL_NS_PER_MS;
static struct sl_wheel wheel;

static void unused(struct sl_timer *t)
{
}

static void add(struct sl_timer *t, uint64_t deadline_ns, uint64_t now_ns)
{
	*t = SL_TIMER_INIT(unused);
	t->deadline_ns = deadline_ns;
	sl_wheel_add(&wheel, t, now_ns);
}

/* Takes the first due timer, NULL when none is. */
static struct sl_timer *take_due(void)
{
	struct sl_timer *t;

	if (sl_list_empty(&wheel.due))
		return NULL;
	t = sl_container_of(wheel.due.next, struct sl_timer, node);
	sl_wheel_remove(&wheel, t);
	return t;
}

Test(timer, each_deadline_is_kept_to_the_millisecond)
{
	static const uint64_t after[] = {1,
					 SL_NS_PER_MS - 1,
					 SL_NS_PER_MS,
					 SL_NS_PER_MS + 1,
					 63 * SL_NS_PER_MS,
					 64 * SL_NS_PER_MS,
					 65 * SL_NS_PER_MS + 5,
					 4095 * SL_NS_PER_MS,
					 4096 * SL_NS_PER_MS,
					 30 * SL_NS_PER_S,
					 3600 * SL_NS_PER_S,
					 400ULL * 86400 * SL_NS_PER_S};
	static const uint64_t starts[] = {0, 1, 62 * SL_NS_PER_MS + 3, 4095 * SL_NS_PER_MS,
					  123456789012345ULL};

	for (size_t i = 0; i < sizeof(starts) / sizeof(*starts); i++) {
		for (size_t k = 0; k < sizeof(after) / sizeof(*after); k++) {
			uint64_t deadline = starts[i] + after[k], next;
			struct sl_timer t;
			int steps = 0;

			sl_wheel_init(&wheel, starts[i]);
			add(&t, deadline, starts[i]);
			while (sl_list_empty(&wheel.due)) {
				next = sl_wheel_next_ns(&wheel);
				cr_assert_lt(next, deadline + ms, "start %zu after %zu", i, k);
				sl_wheel_advance(&wheel, next);
				cr_assert_lt(++steps, SL_WHEEL_LEVELS + 1);
				if (!sl_list_empty(&wheel.due))
					cr_assert_geq(next, deadline, "start %zu after %zu", i, k);
			}
			cr_assert_eq(take_due(), &t);
			cr_assert_eq(sl_wheel_next_ns(&wheel), UINT64_MAX);
		}
	}
}

Test(timer, never_is_a_deadline_too)
{
	struct sl_timer t;

	sl_wheel_init(&wheel, 5);
	add(&t, UINT64_MAX, 5);
	sl_wheel_advance(&wheel, UINT64_MAX - ms);
	cr_assert_null(take_due());
	sl_wheel_remove(&wheel, &t);
	cr_assert_eq(sl_wheel_next_ns(&wheel), UINT64_MAX);
}

Test(timer, one_millisecond_keeps_the_order_of_arming)
{
	struct sl_timer t[5];

	/* The first three wait at a higher level and move down together. */
	sl_wheel_init(&wheel, 0);
	for (int i = 0; i < 3; i++)
		add(&t[i], 100 * ms, 0);
	sl_wheel_advance(&wheel, 70 * ms);
	for (int i = 3; i < 5; i++)
		add(&t[i], 100 * ms - 1, 70 * ms);
	sl_wheel_advance(&wheel, 99 * ms);
	cr_assert_null(take_due());
	sl_wheel_advance(&wheel, 100 * ms);
	for (int i = 0; i < 5; i++)
		cr_assert_eq(take_due(), &t[i], "place %d", i);
	cr_assert_null(take_due());
}

Test(timer, a_deadline_in_the_past_queues_behind_what_is_due)
{
	struct sl_timer early, late;

	sl_wheel_init(&wheel, 0);
	add(&early, 10 * ms, 0);
	add(&late, 3 * ms, 20 * ms);
	cr_assert_eq(take_due(), &early);
	cr_assert_eq(take_due(), &late);
}

Test(timer, a_removed_timer_leaves_no_wakeup_behind)
{
	struct sl_timer a, b;

	sl_wheel_init(&wheel, 0);
	add(&a, 10 * ms, 0);
	add(&b, 10 * ms, 0);
	sl_wheel_remove(&wheel, &a);
	cr_assert_eq(sl_wheel_next_ns(&wheel), 10 * ms);
	sl_wheel_remove(&wheel, &b);
	cr_assert_eq(sl_wheel_next_ns(&wheel), UINT64_MAX);
}

enum { N = 500 };

/* Against a plain list: at each step exactly the expected timers are due, in order. */
Test(timer, random_timers_match_a_plain_list)
{
	static struct sl_timer t[N];
	static bool armed[N];
	uint64_t now = 987654321, last;
	unsigned seed = 20;
	int fired = 0;

	sl_wheel_init(&wheel, now);
	for (int step = 0; step < 3000; step++) {
		int i = rand_r(&seed) % N;

		if (armed[i]) {
			sl_wheel_remove(&wheel, &t[i]);
			armed[i] = false;
		} else {
			uint64_t width = ms << (rand_r(&seed) % 24);

			add(&t[i], now + (uint64_t)rand_r(&seed) * 7919 % width, now);
			armed[i] = true;
		}
		now += (uint64_t)rand_r(&seed) % (step % 100 ? ms : 5000 * ms);
		sl_wheel_advance(&wheel, now);
		last = 0;
		for (struct sl_timer *d = take_due(); d; d = take_due(), fired++) {
			uint64_t tick = (d->deadline_ns + ms - 1) / ms;

			cr_assert(armed[d - t]);
			cr_assert_leq(d->deadline_ns, now);
			cr_assert_geq(tick, last);
			last = tick;
			armed[d - t] = false;
		}
		for (i = 0; i < N; i++)
			cr_assert(!armed[i] || t[i].deadline_ns > now / ms * ms, "%d is overdue",
				  i);
	}
	cr_assert_gt(fired, N);
}
