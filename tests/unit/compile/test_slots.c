/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <stdbool.h>
#include <string.h>
#include "base/alloc.h"
#include "compile/slots.h"

Test(slots, what_was_given_back_is_taken_again)
{
	struct sl_slots s = {0};

	cr_expect_eq(sl_slots_take(&s, 3), 0);
	cr_expect_eq(sl_slots_take(&s, 2), 3);
	cr_expect_eq(sl_slots_take(&s, 4), 5);
	sl_slots_give(&s, 3, 2);
	cr_expect_eq(sl_slots_take(&s, 3), 9, "the gap is too small");
	cr_expect_eq(sl_slots_take(&s, 1), 3);
	cr_expect_eq(sl_slots_take(&s, 1), 4);
	sl_slots_give(&s, 0, 3);
	sl_slots_give(&s, 4, 1);
	sl_slots_give(&s, 3, 1);
	cr_expect_eq(sl_slots_take(&s, 5), 0, "gaps that touch are one");
	sl_slots_give(&s, 5, 4);
	sl_slots_give(&s, 9, 3);
	cr_expect_eq(s.end, 5, "the end comes down");
	sl_slots_give(&s, 0, 5);
	cr_expect_eq(s.end, 0);
	cr_expect_eq(s.n_gaps, 0);
	sl_slots_deinit(&s);
}

Test(slots, none_is_given_out_twice)
{
	enum { RANGES = 200, NUMBERS = 4096 };
	struct sl_slot_range held[RANGES] = {0};
	static bool taken[NUMBERS];
	struct sl_slots s = {0};
	uint64_t state = 1;

	for (unsigned step = 0; step < 100000; step++) {
		struct sl_slot_range *h;

		state = state * 6364136223846793005ULL + 1442695040888963407ULL;
		h = &held[(state >> 33) % RANGES];
		if (h->n) {
			memset(&taken[h->from], 0, h->n);
			sl_slots_give(&s, h->from, h->n);
			h->n = 0;
			continue;
		}
		h->n = 1 + (uint32_t)(state >> 50) % 8;
		h->from = sl_slots_take(&s, h->n);
		cr_assert_leq(h->from + h->n, s.end);
		cr_assert_lt(s.end, NUMBERS);
		for (uint32_t i = 0; i < h->n; i++)
			cr_assert_not(taken[h->from + i]);
		memset(&taken[h->from], 1, h->n);
	}
	sl_slots_deinit(&s);
}

Test(slots, without_memory_a_gap_is_lost_and_nothing_else)
{
	struct sl_slots s = {0};

	(void)sl_slots_take(&s, 2);
	(void)sl_slots_take(&s, 2);
	(void)sl_alloc_fail_after(0);
	sl_slots_give(&s, 0, 2);
	(void)sl_alloc_fail_after(-1);
	cr_expect_eq(sl_slots_take(&s, 2), 4);
	sl_slots_deinit(&s);
}
