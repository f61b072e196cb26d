/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <errno.h>
#include "base/alloc.h"
#include "base/map.h"
#include "../../lib/leak.h"

static struct sl_map map;

static void teardown(void)
{
	sl_map_deinit(&map);
}

TestSuite(map, .fini = teardown);

Test(map, put_get_replace_delete)
{
	int a, b;
	void *old = &a;

	cr_assert_null(sl_map_get(&map, SL_STR("x")));
	cr_assert_null(sl_map_del(&map, SL_STR("x")));
	cr_assert_eq(sl_map_put(&map, SL_STR("x"), &a, &old), 0);
	cr_assert_null(old);
	cr_assert_eq(sl_map_put(&map, SL_STR("x"), &b, &old), 0);
	cr_assert_eq(old, &a);
	cr_assert_eq(map.n, 1);
	cr_assert_eq(sl_map_get(&map, SL_STR("x")), &b);
	cr_assert_null(sl_map_get(&map, SL_STR("y")));
	cr_assert_eq(sl_map_del(&map, SL_STR("x")), &b);
	cr_assert_null(sl_map_get(&map, SL_STR("x")));
	cr_assert_eq(map.n, 0);
}

Test(map, the_empty_key_is_a_key)
{
	int a;

	cr_assert_eq(sl_map_put(&map, SL_STR_NULL, &a, NULL), 0);
	cr_assert_eq(sl_map_get(&map, SL_STR("")), &a);
}

Test(map, replacing_keeps_the_bytes_of_the_new_key)
{
	char first[] = "key", second[] = "key";
	struct sl_str key;
	size_t pos = 0;
	int a;

	cr_assert_eq(sl_map_put(&map, sl_str_from(first), &a, NULL), 0);
	cr_assert_eq(sl_map_put(&map, sl_str_from(second), &a, NULL), 0);
	first[0] = '!';
	cr_assert_eq(sl_map_get(&map, SL_STR("key")), &a);
	cr_assert_eq(sl_map_next(&map, &pos, &key), &a);
	cr_assert_eq(key.ptr, second);
}

enum { N = 1000 };
static uint32_t keys[N];

/* Random puts and deletes against an array of what must be there. */
Test(map, a_long_life_of_puts_and_deletes)
{
	static bool present[N];
	unsigned seed = 3;
	size_t n = 0;

	for (int i = 0; i < N; i++)
		keys[i] = (uint32_t)i;
	for (int step = 0; step < 50000; step++) {
		uint32_t k = (uint32_t)rand_r(&seed) % (step < 25000 ? N : 20);
		void *was;

		if (present[k]) {
			was = sl_map_del(&map, SL_KEY(&keys[k]));
			cr_assert_eq(was, &keys[k]);
			n--;
		} else {
			cr_assert_eq(sl_map_put(&map, SL_KEY(&keys[k]), &keys[k], &was), 0);
			cr_assert_null(was);
			n++;
		}
		present[k] = !present[k];
		cr_assert_eq(map.n, n);
		cr_assert_leq(map.n_used * 4, map.cap * 3, "no slot left for a search to end at");
	}
	for (int i = 0; i < N; i++)
		cr_assert_eq(sl_map_get(&map, SL_KEY(&keys[i])), present[i] ? &keys[i] : NULL);
	cr_assert_leq(map.cap, 4096, "deleted entries do not make the table grow for ever");
}

Test(map, iteration_sees_each_entry_once_and_may_delete)
{
	static int seen[N];
	size_t pos = 0;
	uint32_t *v;

	for (uint32_t i = 0; i < 100; i++) {
		keys[i] = i;
		cr_assert_eq(sl_map_put(&map, SL_KEY(&keys[i]), &keys[i], NULL), 0);
	}
	while ((v = sl_map_next(&map, &pos, NULL))) {
		seen[*v]++;
		if (*v % 2)
			cr_assert_eq(sl_map_del(&map, SL_KEY(v)), v);
	}
	for (int i = 0; i < 100; i++)
		cr_assert_eq(seen[i], 1, "key %d", i);
	cr_assert_eq(map.n, 50);
	pos = 0;
	sl_map_deinit(&map);
	cr_assert_null(sl_map_next(&map, &pos, NULL));
}

Test(map, a_failed_allocation_leaves_the_map_unchanged)
{
	uint32_t i;
	int r = 0;

	for (i = 0; i < 100; i++) {
		keys[i] = i;
		sl_alloc_fail_after(0);
		r = sl_map_put(&map, SL_KEY(&keys[i]), &keys[i], NULL);
		sl_alloc_fail_after(-1);
		if (r) {
			cr_assert_eq(r, -ENOMEM);
			cr_assert_null(sl_map_get(&map, SL_KEY(&keys[i])));
			cr_assert_eq(map.n, i);
			cr_assert_eq(sl_map_put(&map, SL_KEY(&keys[i]), &keys[i], NULL), 0);
		}
		for (uint32_t k = 0; k <= i; k++)
			cr_assert_eq(sl_map_get(&map, SL_KEY(&keys[k])), &keys[k]);
	}
	check_leaks();
}

Test(map, puts_that_were_reserved_do_not_fail)
{
	struct sl_map m = SL_MAP_INIT;
	static int numbers[300];

	for (size_t round = 0; round < 3; round++) {
		cr_assert_eq(sl_map_reserve(&m, 100), 0);
		(void)sl_alloc_fail_after(0);
		for (size_t i = 0; i < 100; i++) {
			int *key = &numbers[round * 100 + i];

			*key = (int)(round * 100 + i);
			cr_assert_eq(sl_map_put(&m, SL_KEY(key), key, NULL), 0);
		}
		(void)sl_alloc_fail_after(-1);
	}
	cr_expect_eq(m.n, 300);
	(void)sl_alloc_fail_after(0);
	cr_expect_eq(sl_map_reserve(&m, 10000), -ENOMEM);
	(void)sl_alloc_fail_after(-1);
	cr_expect_eq(sl_map_get(&m, SL_KEY(&numbers[299])), &numbers[299]);
	sl_map_deinit(&m);
}
