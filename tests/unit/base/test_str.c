/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <errno.h>
#include "base/str.h"

Test(str, numbers_are_whole_decimal_and_bounded)
{
	static const struct {
		const char *text;
		uint64_t max, value;
		int r;
	} cases[] = {
		{"0", 0, 0, 0},
		{"7", 7, 7, 0},
		{"8", 7, 0, -ERANGE},
		{"65535", 65535, 65535, 0},
		{"65536", 65535, 0, -ERANGE},
		{"655350", 65535, 0, -ERANGE},
		{"0080", 65535, 80, 0},
		{"18446744073709551615", UINT64_MAX, UINT64_MAX, 0},
		{"18446744073709551616", UINT64_MAX, 0, -ERANGE},
		{"99999999999999999999999", UINT64_MAX, 0, -ERANGE},
		{"9", 3, 0, -ERANGE},
		{"", 10, 0, -EINVAL},
		{"-1", 10, 0, -EINVAL},
		{"+1", 10, 0, -EINVAL},
		{" 1", 10, 0, -EINVAL},
		{"1 ", 10, 0, -EINVAL},
		{"0x1", 10, 0, -EINVAL},
		{"1/", 100, 0, -EINVAL},
		{"1:", 100, 0, -EINVAL},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		uint64_t v = 12345;
		int r = sl_str_to_u64(sl_str_from(cases[i].text), cases[i].max, &v);

		cr_assert_eq(r, cases[i].r, "'%s': %d", cases[i].text, r);
		cr_assert_eq(v, r ? 12345 : cases[i].value, "'%s'", cases[i].text);
	}
}

Test(str, equality_ignores_case_only_where_asked)
{
	cr_assert(sl_str_ieq(SL_STR("Content-Type"), SL_STR("cONTENT-tYPE")));
	cr_assert_not(sl_str_eq(SL_STR("Content-Type"), SL_STR("cONTENT-tYPE")));
	cr_assert(sl_str_ieq(SL_STR_NULL, SL_STR("")));
	cr_assert(sl_str_eq(SL_STR_NULL, SL_STR("")));
	cr_assert_not(sl_str_ieq(SL_STR("a"), SL_STR("ab")));
	cr_assert(sl_str_eqc(SL_STR("a"), "a"));
	cr_assert(sl_str_eqc(SL_STR_NULL, NULL));
}

Test(str, case_is_folded_for_ascii_letters_only)
{
	/* Neighbours of the letters, 0x20 apart, and bytes of UTF-8. */
	cr_assert_not(sl_str_ieq(SL_STR("@"), SL_STR("`")));
	cr_assert_not(sl_str_ieq(SL_STR("["), SL_STR("{")));
	cr_assert_not(sl_str_ieq(SL_STR("\xc3\x84"), SL_STR("\xc3\xa4")));
	cr_assert_not(sl_str_ieq(SL_STR("\x01"), SL_STR("!")));
}

Test(str, case_is_folded_for_each_byte_and_length)
{
	char a[40], b[40];

	memset(a, 'x', sizeof(a));
	memset(b, 'X', sizeof(b));
	for (size_t len = 1; len <= sizeof(a); len++) {
		cr_assert(sl_str_ieq((struct sl_str){a, len}, (struct sl_str){b, len}));
		for (size_t at = 0; at < len; at++) {
			for (unsigned c = 0; c < 0x10000; c += 1 + (len > 3) * 30) {
				char one = (char)(c >> 8), other = (char)c;
				bool letter = (one | 0x20) >= 'a' && (one | 0x20) <= 'z';
				bool same = one == other || (letter && (one ^ other) == 0x20);

				a[at] = one;
				b[at] = other;
				cr_assert_eq(sl_str_ieq((struct sl_str){a, len},
							(struct sl_str){b, len}),
					     same, "%#x at %zu of %zu", c, at, len);
			}
			a[at] = 'x';
			b[at] = 'X';
		}
	}
}

Test(str, a_nul_byte_does_not_end_a_comparison)
{
	cr_assert_not(sl_str_ieq(SL_STR("a\0b"), SL_STR("a\0c")));
	cr_assert(sl_str_ieq(SL_STR("a\0b"), SL_STR("A\0B")));
	cr_assert_not(sl_str_eq(SL_STR("a\0b"), SL_STR("a\0c")));
	cr_assert_lt(sl_str_cmp(SL_STR("a\0b"), SL_STR("a\0c")), 0);
}

Test(str, order_is_bytewise_and_shorter_first)
{
	cr_assert_lt(sl_str_cmp(SL_STR("a"), SL_STR("b")), 0);
	cr_assert_gt(sl_str_cmp(SL_STR("b"), SL_STR("a")), 0);
	cr_assert_lt(sl_str_cmp(SL_STR("a"), SL_STR("aa")), 0);
	cr_assert_gt(sl_str_cmp(SL_STR("aa"), SL_STR("a")), 0);
	cr_assert_lt(sl_str_cmp(SL_STR("z"), SL_STR("\xff")), 0);
	cr_assert_lt(sl_str_cmp(SL_STR_NULL, SL_STR("a")), 0);
	cr_assert_eq(sl_str_cmp(SL_STR_NULL, SL_STR("")), 0);
}

Test(str, trim_takes_spaces_and_tabs_only)
{
	static const struct {
		const char *in, *out;
	} cases[] = {
		{" \t a b \t", "a b"}, {"a", "a"}, {"", ""}, {" \t ", ""}, {"\na\r", "\na\r"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		cr_assert(sl_str_eqc(sl_str_trim(sl_str_from(cases[i].in)), cases[i].out),
			  "case %zu", i);
}

Test(str, prefixes)
{
	cr_assert(sl_str_starts(SL_STR("/api/v1"), SL_STR("/api")));
	cr_assert(sl_str_starts(SL_STR("/api"), SL_STR("/api")));
	cr_assert(sl_str_starts(SL_STR("x"), SL_STR_NULL));
	cr_assert_not(sl_str_starts(SL_STR("/ap"), SL_STR("/api")));
	cr_assert(sl_str_eqc(sl_str_skip(SL_STR("/api"), 4), ""));
}

Test(str, the_hash_depends_on_every_byte_and_on_the_length)
{
	char text[65] = "abcdefghijklmnopqrstuvwxyz012345ABCDEFGHIJKLMNOPQRSTUVWXYZ6789+-";

	for (size_t len = 0; len <= 64; len++) {
		uint64_t h = sl_hash_bytes(text, len);

		cr_assert_eq(h, sl_hash_bytes(text, len));
		if (len < 64)
			cr_assert_neq(h, sl_hash_bytes(text, len + 1));
		for (size_t i = 0; i < len; i++) {
			text[i] ^= 1;
			cr_assert_neq(h, sl_hash_bytes(text, len), "byte %zu of %zu", i, len);
			text[i] ^= 1;
		}
	}
	cr_assert_neq(sl_hash_bytes("\0\0", 1), sl_hash_bytes("\0\0", 2));
}

Test(str, the_low_bits_of_the_hash_are_spread)
{
	enum { N = 4096, BUCKETS = 256 };
	int count[BUCKETS] = {0};

	for (uint32_t i = 0; i < N; i++)
		count[sl_hash_bytes(&i, sizeof(i)) % BUCKETS]++;
	/* 16 a bucket on average; 60 has a chance of less than one in 10^15. */
	for (int i = 0; i < BUCKETS; i++)
		cr_assert_lt(count[i], 60, "bucket %d", i);
}
