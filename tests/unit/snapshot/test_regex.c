/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <errno.h>
#include "base/alloc.h"
#include "base/clock.h"
#include "snapshot/regex.h"

static struct sl_regex *compile(const char *pattern)
{
	char error[SL_REGEX_ERROR_TEXT];
	struct sl_regex *r = NULL;

	cr_assert_eq(sl_regex_new(sl_str_from(pattern), &r, error), 0, "%s: %s", pattern, error);
	return r;
}

Test(regex, the_whole_value_must_match)
{
	static const struct {
		const char *pattern, *value;
		enum sl_regex_result want;
	} cases[] = {
		{"/a", "/a", SL_REGEX_YES},
		{"/a", "/ab", SL_REGEX_NO},
		{"/a", "x/a", SL_REGEX_NO},
		{"/a|/abc", "/abc", SL_REGEX_YES}, /* leftmost alternative is no end */
		{"a|b", "ab", SL_REGEX_NO},
		{"^/a$", "/a", SL_REGEX_YES},
		{"a$", "a\n", SL_REGEX_NO},
		{"", "", SL_REGEX_YES},
		{"", "a", SL_REGEX_NO},
		{".*", "", SL_REGEX_YES},
		{"a.c",
		 "a\xff"
		 "c",
		 SL_REGEX_YES}, /* bytes, not UTF-8 */
		{"A", "a", SL_REGEX_NO},
		/* the portable floor of GEP-4359 */
		{"[\\w-]+", "a-b_1", SL_REGEX_YES},
		{"\\d{2,3}", "1234", SL_REGEX_NO},
		{"\\d{2,3}", "123", SL_REGEX_YES},
		{"\\S+\\s\\W", "a \t", SL_REGEX_YES},
		{"[[:alpha:]]+", "abc", SL_REGEX_YES},
		{"(a|b)+c?", "abab", SL_REGEX_YES},
		{"[\\]]", "]", SL_REGEX_YES},
	};
	struct sl_regex_scratch *s;

	cr_assert_eq(sl_regex_scratch_new(&s), 0);
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct sl_regex *r = compile(cases[i].pattern);

		cr_expect_eq(sl_regex_match(r, sl_str_from(cases[i].value), s), cases[i].want,
			     "%s on %s", cases[i].pattern, cases[i].value);
		sl_regex_unref(r);
	}
	sl_regex_scratch_free(s);
}

Test(regex, a_bad_pattern_is_an_error_with_a_text)
{
	static const char *const bad[] = {"(",	    "[a",   "a**b(", "\\",
					  "a{2,1}", "(?<n", "\\C",   "(*UTF)a"};

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		char error[SL_REGEX_ERROR_TEXT] = "";
		struct sl_regex *r = NULL;

		cr_expect_eq(sl_regex_new(sl_str_from(bad[i]), &r, error), SL_REGEX_BAD, "%s",
			     bad[i]);
		cr_expect(strstr(error, " at offset "), "%s: '%s'", bad[i], error);
		cr_expect_null(r);
	}
}

Test(regex, a_pattern_that_would_take_the_memory_of_many_is_refused)
{
	char deep[1001], error[SL_REGEX_ERROR_TEXT];
	struct sl_regex *r = NULL;

	memset(deep, '(', 500);
	memset(deep + 500, ')', 500);
	deep[1000] = '\0';
	cr_assert_eq(sl_regex_new(sl_str_from(deep), &r, error), SL_REGEX_BAD);
	cr_assert_eq(sl_regex_new(SL_STR("(((a{1,60000}){1,60000}){1,60000})"), &r, error),
		     SL_REGEX_BAD);
}

Test(regex, catastrophic_patterns_end_at_the_limit)
{
	static const char *const patterns[] = {
		"(a+)+[bc]",	 "(a|aa)+[bc]",	 "(a*)*[bc]",	 "(.*)*[xy](.*)*[xy]",
		"(a|b|aa)*[cd]", "([a-z]+)*\\d", "(.*a){20}[bc]"};
	char value[8192];
	struct sl_regex_scratch *s;

	memset(value, 'a', sizeof(value));
	cr_assert_eq(sl_regex_scratch_new(&s), 0);
	for (size_t i = 0; i < sizeof(patterns) / sizeof(*patterns); i++) {
		struct sl_regex *r = compile(patterns[i]);
		uint64_t start = sl_clock_now_ns(), took;

		cr_expect_neq(sl_regex_match(r, (struct sl_str){value, sizeof(value)}, s),
			      SL_REGEX_YES, "%s", patterns[i]);
		took = sl_clock_now_ns() - start;
		cr_expect_lt(took, SL_NS_PER_S, "%s took %llu ns", patterns[i],
			     (unsigned long long)took);
		sl_regex_unref(r);
	}
	sl_regex_scratch_free(s);
}

Test(regex, a_limit_is_told_from_no_match)
{
	struct sl_regex_scratch *s;
	struct sl_regex *r = compile("(a+)+[bc]"); /* no fixed byte that a quick look could miss */
	char value[4096];

	memset(value, 'a', sizeof(value));
	cr_assert_eq(sl_regex_scratch_new(&s), 0);
	cr_expect_eq(sl_regex_match(r, (struct sl_str){value, sizeof(value)}, s), SL_REGEX_LIMIT);
	cr_expect_eq(sl_regex_match(r, SL_STR("c"), s), SL_REGEX_NO);
	cr_expect_eq(sl_regex_match(r, SL_STR("aab"), s), SL_REGEX_YES, "usable after a limit");
	sl_regex_unref(r);
	sl_regex_scratch_free(s);
}

Test(regex, ordinary_patterns_stay_below_the_limit_on_long_values)
{
	static const char *const patterns[] = {"/.*/x.*/y", ".*a.*b", "(/[^/]+)+/z", "[a-z/]+\\d?",
					       "(?:/\\w+)*"};
	char value[8000];
	struct sl_regex_scratch *s;

	for (size_t i = 0; i < sizeof(value); i++)
		value[i] = i % 8 ? 'a' : '/';
	cr_assert_eq(sl_regex_scratch_new(&s), 0);
	for (size_t i = 0; i < sizeof(patterns) / sizeof(*patterns); i++) {
		struct sl_regex *r = compile(patterns[i]);

		cr_expect_neq(sl_regex_match(r, (struct sl_str){value, sizeof(value)}, s),
			      SL_REGEX_LIMIT, "%s", patterns[i]);
		sl_regex_unref(r);
	}
	sl_regex_scratch_free(s);
}

Test(regex, each_allocation_fails_once)
{
	char error[SL_REGEX_ERROR_TEXT];
	int r = -ENOMEM;

	for (long n = 0; r; n++) {
		struct sl_regex *regex = NULL;

		(void)sl_alloc_fail_after(n);
		r = sl_regex_new(SL_STR("(a|b)+[c-e]{2,5}"), &regex, error);
		(void)sl_alloc_fail_after(-1);
		cr_assert(r == 0 || r == -ENOMEM, "%ld: %d", n, r);
		cr_assert_eq(!regex, r != 0);
		sl_regex_unref(regex);
	}
	r = -ENOMEM;
	for (long n = 0; r; n++) {
		struct sl_regex_scratch *s = NULL;

		(void)sl_alloc_fail_after(n);
		r = sl_regex_scratch_new(&s);
		(void)sl_alloc_fail_after(-1);
		cr_assert(r == 0 || r == -ENOMEM);
		sl_regex_scratch_free(s);
	}
}

/* ---- literals ---- */

Test(regex, literal_ends_are_what_every_match_begins_and_ends_with)
{
	static const struct {
		const char *pattern, *head, *tail;
	} cases[] = {
		{"/items", "/items", "/items"},
		{"/items/[0-9]+", "/items/", ""},
		{"^/items/[0-9]+/x$", "/items/", "/x"},
		{".*\\.png", "", ".png"},
		{"/a/b*", "/a/", ""},
		{"/a/b?c", "/a/", "c"},
		{"/a/b{2}c", "/a/", "c"},
		{"/a/b+?c*+d", "/a/", "d"},
		{"/a/(b|c)/d", "/a/", "/d"},
		{"/a/(?:b|(c[)\\]]))+/d", "/a/", "/d"},
		{"/a|/b", "", ""},
		{"(?i)/a", "", ""},
		{"/a(?i)b", "", ""},
		{"/a(?=b)b", "", ""},
		{"/a(*F)", "", ""},
		{"(*UTF)/a", "", ""},
		{"/a\\Qb*\\E", "", ""},
		{"/a\\bc", "", ""},
		{"/\\d\\.x", "/", ".x"},
		{"/(a)\\1", "", ""},
		{"/[^]x]y", "/", "y"},
		{"/[]x]y", "/", "y"},
		{"/[[:alpha:]]y", "", ""},
		{"/a{b", "", ""},
		{"/a$b", "", ""},
		{"/a^b", "", ""},
		{"", "", ""},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct sl_arena a = SL_ARENA_INIT(0);
		struct sl_str head, tail;

		cr_assert_eq(sl_regex_literals(sl_str_from(cases[i].pattern), &a, &head, &tail), 0);
		cr_expect(sl_str_eqc(head, cases[i].head), "%s: \"%.*s\"", cases[i].pattern,
			  SL_STR_ARG(head));
		cr_expect(sl_str_eqc(tail, cases[i].tail), "%s: \"%.*s\"", cases[i].pattern,
			  SL_STR_ARG(tail));
		sl_arena_deinit(&a);
	}
}

Test(regex, long_literals_are_cut_where_it_does_not_matter)
{
	char pattern[301];
	struct sl_arena a = SL_ARENA_INIT(0);
	struct sl_str head, tail;

	for (size_t i = 0; i < 300; i++)
		pattern[i] = (char)('a' + i % 26);
	pattern[300] = '\0';
	cr_assert_eq(sl_regex_literals(sl_str_from(pattern), &a, &head, &tail), 0);
	cr_expect_eq(head.len, SL_REGEX_LITERAL_MAX);
	cr_expect_eq(tail.len, SL_REGEX_LITERAL_MAX);
	cr_expect(sl_str_starts(sl_str_from(pattern), head));
	cr_expect_eq(memcmp(pattern + 300 - tail.len, tail.ptr, tail.len), 0);
	sl_arena_deinit(&a);
}

/* Random patterns out of few pieces, random texts: what matches has both ends. */
Test(regex, a_text_that_matches_has_the_literal_ends)
{
	static const char *const pieces[] = {"a",   "b",    "/",   ".",	  "*",	  "+",	   "?",
					     "{2}", "(",    ")",   "|",	  "[",	  "]",	   "^",
					     "$",   "\\.",  "\\d", "(?:", "[ab]", "(a|b)", "\\Q",
					     "\\E", "(?i)", "{",   "}",	  ",",	  "\\b"};
	struct sl_regex_scratch *scratch = NULL;
	uint64_t state = 7;
	unsigned n_matched = 0;

	cr_assert_eq(sl_regex_scratch_new(&scratch), 0);
	for (unsigned round = 0; round < 60000; round++) {
		char pattern[64] = "", error[SL_REGEX_ERROR_TEXT], text[8];
		struct sl_arena a = SL_ARENA_INIT(0);
		struct sl_regex *regex = NULL;
		struct sl_str head, tail;

		for (unsigned i = 0; i < 1 + round % 6; i++) {
			state = state * 6364136223846793005ULL + 1442695040888963407ULL;
			strncat(pattern, pieces[(state >> 33) % (sizeof(pieces) / sizeof(*pieces))],
				sizeof(pattern) - strlen(pattern) - 1);
		}
		if (sl_regex_new(sl_str_from(pattern), &regex, error))
			continue;
		cr_assert_eq(sl_regex_literals(sl_str_from(pattern), &a, &head, &tail), 0);
		for (unsigned i = 0; i < 40; i++) {
			struct sl_str s = {text, i % 7};

			for (size_t j = 0; j < s.len; j++) {
				state = state * 6364136223846793005ULL + 1442695040888963407ULL;
				text[j] = "ab/.A1{2},"[(state >> 33) % 10];
			}
			if (sl_regex_match(regex, s, scratch) != SL_REGEX_YES)
				continue;
			n_matched++;
			cr_assert(sl_str_starts(s, head), "%s", pattern);
			cr_assert(s.len >= tail.len &&
					  !memcmp(s.ptr + s.len - tail.len, tail.ptr, tail.len),
				  "%s", pattern);
		}
		sl_arena_deinit(&a);
		sl_regex_unref(regex);
	}
	cr_expect_gt(n_matched, 1000);
	sl_regex_scratch_free(scratch);
}
