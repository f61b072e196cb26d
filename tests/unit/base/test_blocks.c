/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include "base/alloc.h"
#include "base/blocks.h"
#include "base/buf.h"
#include "../../lib/leak.h"

#ifdef __SANITIZE_ADDRESS__
#define KEEPS 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define KEEPS 0
#endif
#endif
#ifndef KEEPS
#define KEEPS SL_BLOCKS_KEPT
#endif

Test(blocks, the_last_one_back_is_the_first_one_out)
{
	struct sl_blocks b = SL_BLOCKS_INIT;
	void *one = sl_blocks_get(&b), *two = sl_blocks_get(&b);

	memset(one, 1, SL_BLOCK_BYTES);
	memset(two, 2, SL_BLOCK_BYTES);
	sl_blocks_put(&b, one);
	sl_blocks_put(&b, two);
	if (KEEPS) {
		(void)sl_alloc_fail_after(0);
		cr_assert_eq(sl_blocks_get(&b), two);
		cr_assert_eq(sl_blocks_get(&b), one);
		cr_assert_null(sl_blocks_get(&b));
		(void)sl_alloc_fail_after(-1);
		sl_blocks_put(&b, one);
		free(two);
	}
	sl_blocks_deinit(&b);
	cr_assert_eq(b.n, 0);
	check_leaks();
}

Test(blocks, only_a_few_are_kept)
{
	struct sl_blocks b = SL_BLOCKS_INIT;
	void *all[2 * SL_BLOCKS_KEPT];

	for (int i = 0; i < 2 * SL_BLOCKS_KEPT; i++)
		all[i] = sl_blocks_get(&b);
	for (int i = 0; i < 2 * SL_BLOCKS_KEPT; i++)
		sl_blocks_put(&b, all[i]);
	cr_assert_eq(b.n, KEEPS);
	sl_blocks_deinit(&b);
	check_leaks();
}

Test(blocks, queues_share_them)
{
	struct sl_blocks blocks = SL_BLOCKS_INIT;
	struct sl_buf one = {.blocks = &blocks}, other = {.blocks = &blocks};
	static char big[SL_BLOCK_BYTES];
	const char *block;

	cr_assert_eq(sl_buf_append_str(&one, SL_STR("hello")), 0);
	cr_assert_eq(one.cap, SL_BLOCK_BYTES, "a small queue grows step by step");
	block = one.data;
	sl_buf_consume(&one, 5);
	sl_buf_release(&one);
	cr_assert_null(one.data);
	if (KEEPS) {
		(void)sl_alloc_fail_after(0);
		cr_assert_eq(sl_buf_append_str(&other, SL_STR("x")), 0);
		(void)sl_alloc_fail_after(-1);
		cr_assert_eq(other.data, block);
	} else {
		cr_assert_eq(sl_buf_append_str(&other, SL_STR("x")), 0);
	}
	/* What is larger is the heap's; the block that it grew out of goes back. */
	cr_assert_eq(sl_buf_append(&other, big, sizeof(big)), 0);
	cr_assert_eq(blocks.n, KEEPS ? 1 : 0);
	cr_assert_eq(other.data[0], 'x');
	sl_buf_deinit(&other);
	cr_assert_eq(blocks.n, KEEPS ? 1 : 0);
	sl_blocks_deinit(&blocks);
	check_leaks();
}

/* Blocks change places between queues with and without; each goes where it may. */
Test(blocks, a_block_may_move_to_a_queue_of_the_heap)
{
	struct sl_blocks blocks = SL_BLOCKS_INIT;
	struct sl_buf with = {.blocks = &blocks}, without = SL_BUF_INIT(0), taken;
	static char big[SL_BLOCK_BYTES];

	cr_assert_eq(sl_buf_append(&with, big, sizeof(big)), 0);
	cr_assert_eq(sl_buf_move(&without, &with, sizeof(big)), 0);
	cr_assert_null(without.blocks);
	cr_assert_eq(with.blocks, &blocks);
	cr_assert_eq(sl_buf_move(&with, &without, sizeof(big)), 0);
	cr_assert_eq(with.blocks, &blocks);
	taken = sl_buf_take(&with);
	cr_assert_eq(with.blocks, &blocks);
	cr_assert_null(with.data);
	cr_assert_eq(sl_buf_len(&taken), sizeof(big));
	sl_buf_deinit(&taken);
	sl_buf_deinit(&with);
	sl_buf_deinit(&without);
	cr_assert_eq(blocks.n, KEEPS ? 1 : 0);
	sl_blocks_deinit(&blocks);
	check_leaks();
}
