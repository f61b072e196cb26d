/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <errno.h>
#include "base/alloc.h"
#include "base/buf.h"
#include "../../lib/leak.h"

Test(buf, bytes_come_out_as_they_went_in)
{
	struct sl_buf b = SL_BUF_INIT(0);
	unsigned in = 0, out = 0, seed = 9;

	for (int step = 0; step < 5000; step++) {
		unsigned char chunk[300];
		size_t n = (size_t)rand_r(&seed) % sizeof(chunk);

		for (size_t i = 0; i < n; i++)
			chunk[i] = (unsigned char)(in++ * 31);
		cr_assert_eq(sl_buf_append(&b, chunk, n), 0);
		n = (size_t)rand_r(&seed) % (sl_buf_len(&b) + 1);
		for (size_t i = 0; i < n; i++)
			cr_assert_eq((unsigned char)sl_buf_ptr(&b)[i], (unsigned char)(out++ * 31));
		sl_buf_consume(&b, n);
		cr_assert_eq(sl_buf_len(&b), in - out);
	}
	sl_buf_deinit(&b);
}

Test(buf, a_queue_that_is_emptied_does_not_grow)
{
	struct sl_buf b = SL_BUF_INIT(0);
	char chunk[400] = {0};

	for (int i = 0; i < 1000; i++) {
		cr_assert_eq(sl_buf_append(&b, chunk, sizeof(chunk)), 0);
		sl_buf_consume(&b, sizeof(chunk));
	}
	cr_assert_leq(b.cap, 1024);
	sl_buf_release(&b);
	cr_assert_null(b.data);
	cr_assert_eq(b.cap, 0);
}

Test(buf, release_keeps_content)
{
	struct sl_buf b = SL_BUF_INIT(0);

	cr_assert_eq(sl_buf_append_str(&b, SL_STR("x")), 0);
	sl_buf_release(&b);
	cr_assert(sl_str_eqc(sl_buf_str(&b), "x"));
	sl_buf_deinit(&b);
	cr_assert_null(sl_buf_str(&b).ptr);
}

Test(buf, the_limit_counts_content_only)
{
	struct sl_buf b = SL_BUF_INIT(10);

	cr_assert_eq(sl_buf_append_str(&b, SL_STR("12345678901")), -ENOBUFS);
	cr_assert_eq(sl_buf_len(&b), 0);
	cr_assert_eq(sl_buf_append_str(&b, SL_STR("1234567890")), 0);
	cr_assert_eq(sl_buf_append_str(&b, SL_STR("1")), -ENOBUFS);
	sl_buf_consume(&b, 4);
	cr_assert_eq(sl_buf_append_str(&b, SL_STR("abcd")), 0);
	cr_assert(sl_str_eqc(sl_buf_str(&b), "567890abcd"));
	cr_assert_eq(sl_buf_append(&b, NULL, 0), 0);
	sl_buf_consume(&b, 10);
	cr_assert_eq(sl_buf_reserve(&b, 11), -ENOBUFS);
	sl_buf_deinit(&b);
}

Test(buf, printf_may_fill_the_limit_exactly)
{
	struct sl_buf b = SL_BUF_INIT(5);

	cr_assert_eq(sl_buf_printf(&b, "%d", 12345), 0);
	cr_assert(sl_str_eqc(sl_buf_str(&b), "12345"));
	cr_assert_eq(sl_buf_printf(&b, "%d", 6), -ENOBUFS);
	cr_assert_eq(sl_buf_len(&b), 5);
	sl_buf_deinit(&b);
}

Test(buf, printf_appends_without_the_nul)
{
	struct sl_buf b = SL_BUF_INIT(0);

	for (int i = 0; i < 1000; i++)
		cr_assert_eq(sl_buf_printf(&b, "%03d", i), 0);
	cr_assert_eq(sl_buf_len(&b), 3000);
	cr_assert_eq(memcmp(sl_buf_ptr(&b) + 2997, "999", 3), 0);
	cr_assert_null(memchr(sl_buf_ptr(&b), '\0', 3000));
	sl_buf_deinit(&b);
}

Test(buf, a_size_that_cannot_be_is_refused)
{
	struct sl_buf b = SL_BUF_INIT(0);

	cr_assert_eq(sl_buf_reserve(&b, SIZE_MAX), -ENOMEM);
	cr_assert_eq(sl_buf_reserve(&b, SIZE_MAX / 2), -ENOMEM);
}

Test(buf, a_failed_allocation_keeps_the_content)
{
	struct sl_buf b = SL_BUF_INIT(0);
	char big[2000] = {0};

	sl_alloc_fail_after(0);
	cr_assert_eq(sl_buf_printf(&b, "x"), -ENOMEM);
	cr_assert_eq(sl_buf_append_str(&b, SL_STR("hello")), 0);
	sl_alloc_fail_after(0);
	cr_assert_eq(sl_buf_append(&b, big, sizeof(big)), -ENOMEM);
	sl_alloc_fail_after(-1);
	cr_assert(sl_str_eqc(sl_buf_str(&b), "hello"));
	sl_buf_deinit(&b);
	check_leaks();
}

Test(buf, all_of_a_filled_block_moves_without_a_copy)
{
	struct sl_buf from = SL_BUF_INIT(0), to = SL_BUF_INIT(100000);
	char chunk[700];
	const char *block;

	memset(chunk, 'c', sizeof(chunk));
	cr_assert_eq(sl_buf_append(&from, "head", 4), 0);
	cr_assert_eq(sl_buf_append(&from, chunk, sizeof(chunk)), 0);
	sl_buf_consume(&from, 4);
	block = from.data;
	cr_assert_eq(sl_buf_move(&to, &from, sizeof(chunk)), 0);
	cr_assert_eq(to.data, block);
	cr_assert(sl_str_eq(sl_buf_str(&to), (struct sl_str){chunk, sizeof(chunk)}));
	cr_assert_eq(to.limit_bytes, 100000);
	cr_assert_eq(from.limit_bytes, 0);
	cr_assert_eq(sl_buf_len(&from), 0);
	cr_assert_eq(sl_buf_append_str(&from, SL_STR("next")), 0);
	cr_assert(sl_str_eqc(sl_buf_str(&from), "next"));
	sl_buf_deinit(&from);
	sl_buf_deinit(&to);
}

Test(buf, move_keeps_the_order_and_the_rest)
{
	static const struct {
		const char *name, *to, *from, *to_after, *from_after;
		size_t n;
	} cases[] = {
		{"all, into content", "ab", "cd", "abcd", "", 2},
		{"a part, into nothing", "", "cdef", "cd", "ef", 2},
		{"a part, into content", "ab", "cdef", "abcde", "f", 3},
		{"few bytes of a large block", "", "c", "c", "", 1},
		{"nothing", "ab", "cd", "ab", "cd", 0},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct sl_buf from = SL_BUF_INIT(0), to = SL_BUF_INIT(0);
		const char *block;

		cr_assert_eq(sl_buf_append_str(&to, sl_str_from(cases[i].to)), 0);
		cr_assert_eq(sl_buf_append_str(&from, sl_str_from(cases[i].from)), 0);
		block = from.data;
		cr_assert_eq(sl_buf_move(&to, &from, cases[i].n), 0, "%s", cases[i].name);
		cr_assert_neq(to.data, block, "%s", cases[i].name);
		cr_assert(sl_str_eqc(sl_buf_str(&to), cases[i].to_after), "%s", cases[i].name);
		cr_assert_eq(sl_buf_len(&from), strlen(cases[i].from_after), "%s", cases[i].name);
		cr_assert(!sl_buf_len(&from) || sl_str_eqc(sl_buf_str(&from), cases[i].from_after),
			  "%s", cases[i].name);
		sl_buf_deinit(&from);
		sl_buf_deinit(&to);
	}
}

Test(buf, a_failed_move_changes_nothing)
{
	struct sl_buf from = SL_BUF_INIT(0), to = SL_BUF_INIT(3);

	cr_assert_eq(sl_buf_append_str(&from, SL_STR("abcd")), 0);
	cr_assert_eq(sl_buf_move(&to, &from, 4), -ENOBUFS);
	sl_alloc_fail_after(0);
	cr_assert_eq(sl_buf_move(&to, &from, 2), -ENOMEM);
	sl_alloc_fail_after(-1);
	cr_assert(sl_str_eqc(sl_buf_str(&from), "abcd"));
	cr_assert_eq(sl_buf_len(&to), 0);
	sl_buf_deinit(&from);
	sl_buf_deinit(&to);
}
