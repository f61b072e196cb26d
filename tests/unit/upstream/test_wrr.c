/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <errno.h>
#include "../../lib/leak.h"
#include "base/alloc.h"
#include "upstream/random.h"
#include "upstream/upstream.h"

enum { MAX_BACKENDS = 16 };

struct fixture {
	struct sl_backend backends[MAX_BACKENDS];
	struct sl_rule rule;
};

static uint64_t last_id;

static void make_rule(struct fixture *f, uint32_t n, const uint32_t *weights, uint32_t offset)
{
	*f = (struct fixture){0};
	for (uint32_t i = 0; i < n; i++) {
		f->backends[i].weight = weights[i];
		f->rule.total_weight += weights[i];
	}
	f->rule.backends = f->backends;
	f->rule.n_backends = n;
	f->rule.wrr_offset = offset;
	f->rule.id = ++last_id;
}

/* ---- shares ---- */

static const struct {
	const char *name;
	uint32_t n;
	uint32_t weights[MAX_BACKENDS];
} share_cases[] = {
	{"one backend", 1, {7}},
	{"two equal", 2, {1, 1}},
	{"ninety to ten", 2, {90, 10}},
	{"weight zero in front", 3, {0, 1, 2}},
	{"weight zero behind", 3, {2, 1, 0}},
	{"weight zero between", 4, {3, 0, 0, 5}},
	{"a common divisor", 3, {50, 100, 250}},
	{"primes", 5, {2, 3, 5, 7, 11}},
	{"one of a thousand", 2, {1, 999}},
	{"sixteen", 16, {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}},
};

static void check_window(struct sl_wrr *w, const struct fixture *f, const char *name)
{
	uint64_t picks[MAX_BACKENDS] = {0};

	for (uint64_t i = 0; i < f->rule.total_weight; i++)
		picks[sl_wrr_pick(w, &f->rule)]++;
	for (uint32_t i = 0; i < f->rule.n_backends; i++)
		cr_assert_eq(picks[i], f->backends[i].weight, "%s: backend %u got %lu", name, i,
			     picks[i]);
}

Test(wrr, any_window_of_the_total_weight_has_exact_shares)
{
	struct sl_wrr w = {.seed = 1};

	for (size_t c = 0; c < sizeof(share_cases) / sizeof(share_cases[0]); c++) {
		struct fixture f;

		for (int phase = 0; phase < 50; phase++) {
			make_rule(&f, share_cases[c].n, share_cases[c].weights, 0);
			cr_assert_eq(sl_wrr_resize(&w, f.rule.n_backends), 0);
			for (int window = 0; window < 3; window++)
				check_window(&w, &f, share_cases[c].name);
		}
	}
	sl_wrr_deinit(&w);
}

Test(wrr, the_largest_weights_keep_their_shares)
{
	uint32_t weights[MAX_BACKENDS];
	struct sl_wrr w = SL_WRR_INIT;
	uint64_t picks[MAX_BACKENDS] = {0};
	struct fixture f;

	for (int i = 0; i < MAX_BACKENDS; i++)
		weights[i] = 1000000;
	weights[3] = 999999;
	make_rule(&f, MAX_BACKENDS, weights, 0);
	cr_assert_eq(sl_wrr_resize(&w, MAX_BACKENDS), 0);
	for (int i = 0; i < 160000; i++)
		picks[sl_wrr_pick(&w, &f.rule)]++;
	for (int i = 0; i < MAX_BACKENDS; i++)
		cr_assert(picks[i] >= 9998 && picks[i] <= 10002, "backend %d got %lu", i, picks[i]);
	sl_wrr_deinit(&w);
}

Test(wrr, a_rare_backend_is_picked_within_its_period)
{
	static const uint32_t weights[] = {1000000, 1};
	struct sl_wrr w = SL_WRR_INIT;
	struct fixture f;
	uint64_t n_rare = 0;

	make_rule(&f, 2, weights, 0);
	cr_assert_eq(sl_wrr_resize(&w, 2), 0);
	for (int i = 0; i < 1000001; i++)
		n_rare += sl_wrr_pick(&w, &f.rule) == 1;
	cr_assert_eq(n_rare, 1);
	sl_wrr_deinit(&w);
}

Test(wrr, zero_weights_only_pick_nothing)
{
	static const uint32_t weights[] = {0, 0};
	struct sl_wrr w = SL_WRR_INIT;
	struct fixture f;

	make_rule(&f, 2, weights, 0);
	cr_assert_eq(sl_wrr_resize(&w, 2), 0);
	cr_assert_eq(sl_wrr_pick(&w, &f.rule), -1);
	make_rule(&f, 0, weights, 0);
	cr_assert_eq(sl_wrr_pick(&w, &f.rule), -1);
	sl_wrr_deinit(&w);
}

/* ---- smoothness ---- */

Test(wrr, no_backend_strays_from_its_share_at_any_time)
{
	uint64_t random = 42;

	for (int round = 0; round < 300; round++) {
		uint32_t n = 2 + (uint32_t)(sl_random_next(&random) % (MAX_BACKENDS - 1));
		uint32_t weights[MAX_BACKENDS];
		uint64_t picks[MAX_BACKENDS] = {0};
		struct sl_wrr w = SL_WRR_INIT;
		struct fixture f;

		for (uint32_t i = 0; i < n; i++)
			weights[i] =
				(uint32_t)(sl_random_next(&random) % (round % 2 ? 10 : 1000001));
		weights[0]++;
		make_rule(&f, n, weights, 0);
		cr_assert_eq(sl_wrr_resize(&w, n), 0);
		for (uint64_t k = 1; k <= 1000; k++) {
			picks[sl_wrr_pick(&w, &f.rule)]++;
			for (uint32_t i = 0; i < n; i++) {
				double due = (double)k * weights[i] / (double)f.rule.total_weight;
				double off = (double)picks[i] - due;

				/* One pick for the phase, and the known bound of the method for the
				 * rest. */
				cr_assert(off > -3.5 && off < 2.5,
					  "round %d, n %u, pick %lu, backend %u: %f", round, n, k,
					  i, off);
				cr_assert(weights[i] || !picks[i]);
			}
		}
		sl_wrr_deinit(&w);
	}
}

Test(wrr, equal_weights_are_never_picked_twice_in_a_row)
{
	static const uint32_t weights[] = {5, 5, 5};
	struct sl_wrr w = SL_WRR_INIT;
	struct fixture f;
	int last = -1;

	make_rule(&f, 3, weights, 0);
	cr_assert_eq(sl_wrr_resize(&w, 3), 0);
	for (int i = 0; i < 100; i++) {
		int at = sl_wrr_pick(&w, &f.rule);

		cr_assert_neq(at, last);
		last = at;
	}
	sl_wrr_deinit(&w);
}

/* ---- phases and snapshots ---- */

Test(wrr, the_first_picks_of_each_of_many_rules_follow_the_weights)
{
	static const uint32_t weights[] = {70, 20, 10};
	struct sl_wrr w = {.seed = 7};
	enum { RULES = 20000, PICKS = 2 };
	uint64_t picks[3] = {0};
	struct fixture f;

	for (int i = 0; i < RULES; i++) {
		make_rule(&f, 3, weights, 0);
		cr_assert_eq(sl_wrr_resize(&w, 3), 0);
		for (int k = 0; k < PICKS; k++)
			picks[sl_wrr_pick(&w, &f.rule)]++;
	}
	for (int i = 0; i < 3; i++) {
		double share = (double)picks[i] / (RULES * PICKS);

		cr_assert(share > weights[i] / 100.0 - 0.02 && share < weights[i] / 100.0 + 0.02,
			  "backend %d: %f", i, share);
	}
	sl_wrr_deinit(&w);
}

Test(wrr, a_rule_that_stays_goes_on_where_it_was)
{
	static const uint32_t weights[] = {2, 1}, other[] = {1, 1};
	struct sl_wrr w = {.seed = 5};
	struct fixture f, g;
	uint64_t picks[2] = {0};

	make_rule(&f, 2, weights, 1);
	for (uint32_t i = 0; i < 300; i++) {
		/* As snapshots would come, between any two picks, with other rules around. */
		cr_assert_eq(sl_wrr_resize(&w, 3 + i % 5), 0);
		make_rule(&g, 1, other, 0);
		(void)sl_wrr_pick(&w, &g.rule);
		picks[sl_wrr_pick(&w, &f.rule)]++;
	}
	cr_assert(picks[0] == 200 && picks[1] == 100, "%lu, %lu", picks[0], picks[1]);
	sl_wrr_deinit(&w);
}

Test(wrr, rules_do_not_share_state)
{
	static const uint32_t even[] = {1, 1}, odd[] = {1, 2};
	struct sl_wrr w = SL_WRR_INIT;
	uint64_t picks_a[2] = {0}, picks_b[2] = {0};
	struct fixture a, b;

	make_rule(&a, 2, even, 0);
	make_rule(&b, 2, odd, 2);
	cr_assert_eq(sl_wrr_resize(&w, 4), 0);
	for (int i = 0; i < 300; i++) {
		picks_a[sl_wrr_pick(&w, &a.rule)]++;
		picks_b[sl_wrr_pick(&w, &b.rule)]++;
	}
	cr_assert(picks_a[0] == 150 && picks_a[1] == 150);
	cr_assert(picks_b[0] == 100 && picks_b[1] == 200);
	sl_wrr_deinit(&w);
}

Test(wrr, a_rule_of_an_older_snapshot_is_served_by_its_weights)
{
	static const uint32_t weights[] = {30, 0, 10};
	struct sl_wrr w = {.seed = 3};
	uint64_t picks[3] = {0};
	struct fixture f;

	make_rule(&f, 3, weights, 100);
	cr_assert_eq(sl_wrr_resize(&w, 2), 0);
	for (int i = 0; i < 40000; i++)
		picks[sl_wrr_pick(&w, &f.rule)]++;
	cr_assert(picks[0] > 29000 && picks[0] < 31000);
	cr_assert_eq(picks[1], 0);
	sl_wrr_deinit(&w);
}

Test(wrr, cells_that_another_rule_left_behind_starve_nobody)
{
	static const uint32_t heavy[] = {1000000, 999999}, light[] = {1, 1};
	struct sl_wrr w = SL_WRR_INIT;
	struct fixture old, now;
	uint64_t picks[2] = {0};

	make_rule(&old, 2, heavy, 0);
	make_rule(&now, 2, light, 0);
	cr_assert_eq(sl_wrr_resize(&w, 2), 0);
	for (int i = 0; i < 1000; i++) {
		(void)sl_wrr_pick(&w, &old.rule);
		picks[sl_wrr_pick(&w, &now.rule)]++;
	}
	cr_assert(picks[0] > 300 && picks[1] > 300, "%lu, %lu", picks[0], picks[1]);
	sl_wrr_deinit(&w);
}

Test(wrr, a_failed_resize_keeps_the_old_state)
{
	static const uint32_t weights[] = {1, 1};
	struct sl_wrr w = SL_WRR_INIT;
	struct fixture f;
	int first;

	make_rule(&f, 2, weights, 0);
	cr_assert_eq(sl_wrr_resize(&w, 2), 0);
	first = sl_wrr_pick(&w, &f.rule);
	(void)sl_alloc_fail_after(0);
	cr_assert_eq(sl_wrr_resize(&w, 1000), -ENOMEM);
	(void)sl_alloc_fail_after(-1);
	cr_assert_eq(w.n_cells, 2);
	cr_assert_eq(sl_wrr_pick(&w, &f.rule), !first);
	cr_assert_eq(sl_wrr_resize(&w, 0), 0);
	cr_assert_eq(w.n_cells, 0);
	sl_wrr_deinit(&w);
	check_leaks();
}
