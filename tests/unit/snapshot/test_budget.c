/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include "base/clock.h"
#include "snapshot/budget.h"

static struct sl_retry_budget budget;
static uint64_t now = 1000 * SL_NS_PER_S;

static void set_up(void)
{
	budget = (struct sl_retry_budget){.percent = 20,
					  .interval_ns = 10 * SL_NS_PER_S,
					  .rate_count = 3,
					  .rate_interval_ns = SL_NS_PER_S};
	cr_assert_eq(sl_budget_count_new(&budget.spent), 0);
}

static void tear_down(void)
{
	sl_part_unref(&budget.spent->part);
}

TestSuite(budget, .init = set_up, .fini = tear_down);

static unsigned take_all(void)
{
	unsigned n = 0;

	while (n < 10000 && sl_budget_take(&budget, now))
		n++;
	return n;
}

static void requests(unsigned n)
{
	while (n--)
		sl_budget_request(&budget, now);
}

Test(budget, a_rate_is_always_allowed)
{
	cr_expect_eq(take_all(), 3);
	now += SL_NS_PER_S;
	cr_expect_eq(take_all(), 3);
	cr_expect_eq(take_all(), 0);
}

Test(budget, retries_are_a_share_of_what_goes_out)
{
	requests(80);
	/* 20 of 100. */
	cr_expect_eq(take_all(), 20);
	requests(4);
	cr_expect_eq(take_all(), 1);
}

Test(budget, nothing_is_a_share_too)
{
	budget.percent = 0;
	requests(1000);
	cr_expect_eq(take_all(), 3);
}

Test(budget, all_of_it_is_no_limit)
{
	budget.percent = 100;
	requests(1);
	cr_expect_eq(take_all(), 10000);
}

Test(budget, requests_count_for_an_interval)
{
	requests(80);
	now += 9 * SL_NS_PER_S;
	cr_expect_eq(take_all(), 20);
	now += 1 * SL_NS_PER_S;
	/* The requests are over, the retries are not. */
	cr_expect_eq(take_all(), 3);
	now += 30 * SL_NS_PER_S;
	requests(8);
	cr_expect_eq(take_all(), 3, "nothing is left of the time before");
}
