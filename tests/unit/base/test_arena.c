/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <errno.h>
#include "base/alloc.h"
#include "base/arena.h"
#include "../../lib/leak.h"

Test(arena, allocations_are_aligned_and_do_not_overlap)
{
	enum { N = 500 };
	struct sl_arena a = SL_ARENA_INIT(100);
	static unsigned char *p[N];
	static size_t len[N];
	unsigned seed = 4;

	for (int i = 0; i < N; i++) {
		len[i] = (size_t)rand_r(&seed) % (i % 50 ? 100 : 20000);
		p[i] = sl_arena_alloc(&a, len[i]);
		cr_assert_not_null(p[i]);
		cr_assert_eq((uintptr_t)p[i] % 16, 0);
		memset(p[i], i & 0xff, len[i]);
	}
	for (int i = 0; i < N; i++) {
		for (size_t k = 0; k < len[i]; k++)
			cr_assert_eq(p[i][k], i & 0xff, "allocation %d, byte %zu", i, k);
	}
	sl_arena_deinit(&a);
	cr_assert_eq(a.used_bytes, 0);
}

Test(arena, zalloc_clears_used_memory)
{
	struct sl_arena a = SL_ARENA_INIT(0);
	unsigned char *p = sl_arena_alloc(&a, 200);

	memset(p, 0xff, 200);
	sl_arena_reset(&a);
	cr_assert_eq(a.used_bytes, 0);
	p = sl_arena_zalloc(&a, 10, 20);
	for (int i = 0; i < 200; i++)
		cr_assert_eq(p[i], 0);
	sl_arena_deinit(&a);
}

Test(arena, reset_keeps_one_block_for_the_next_use)
{
	struct sl_arena a = SL_ARENA_INIT(1024);

	for (int i = 0; i < 100; i++)
		cr_assert_not_null(sl_arena_alloc(&a, 500));
	sl_arena_reset(&a);
	(void)sl_alloc_fail_after(-1);
	cr_assert_not_null(sl_arena_alloc(&a, 500));
	cr_assert_eq(sl_alloc_fail_after(-1), 0, "the block kept serves");
	sl_arena_deinit(&a);
	sl_arena_reset(&a);
}

Test(arena, strings_are_copied_and_terminated)
{
	struct sl_arena a = SL_ARENA_INIT(0);
	char source[] = "text";
	struct sl_str s, empty, number;

	cr_assert_eq(sl_arena_str(&a, (struct sl_str){source, 3}, &s), 0);
	source[0] = '!';
	cr_assert(sl_str_eqc(s, "tex"));
	cr_assert_eq(s.ptr[3], '\0');
	cr_assert_eq(sl_arena_str(&a, SL_STR_NULL, &empty), 0);
	cr_assert_not_null(empty.ptr);
	cr_assert_eq(empty.len, 0);
	cr_assert_eq(sl_arena_printf(&a, &number, "%s-%d", "n", 42), 0);
	cr_assert(sl_str_eqc(number, "n-42"));
	cr_assert_eq(number.ptr[4], '\0');
	sl_arena_deinit(&a);
}

Test(arena, a_size_that_cannot_be_is_refused)
{
	struct sl_arena a = SL_ARENA_INIT(0);

	cr_assert_null(sl_arena_alloc(&a, SIZE_MAX));
	cr_assert_null(sl_arena_alloc(&a, SIZE_MAX - 64));
	cr_assert_null(sl_arena_zalloc(&a, SIZE_MAX / 2, 3));
	sl_arena_deinit(&a);
}

Test(arena, a_failed_allocation_leaves_the_arena_usable)
{
	struct sl_arena a = SL_ARENA_INIT(0);
	struct sl_str s = SL_STR("before");

	sl_alloc_fail_after(0);
	cr_assert_eq(sl_arena_str(&a, SL_STR("x"), &s), -ENOMEM);
	sl_alloc_fail_after(0);
	cr_assert_eq(sl_arena_printf(&a, &s, "x"), -ENOMEM);
	cr_assert(sl_str_eqc(s, "before"));
	cr_assert_eq(sl_arena_str(&a, SL_STR("x"), &s), 0);
	sl_alloc_fail_after(0);
	cr_assert_null(sl_arena_alloc(&a, 100000));
	sl_alloc_fail_after(-1);
	cr_assert(sl_str_eqc(s, "x"));
	sl_arena_deinit(&a);
	check_leaks();
}
