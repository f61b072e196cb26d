/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <errno.h>
#include "base/alloc.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "http/message.h"

static void append(struct sl_headers *h, struct sl_arena *a, const char *name, const char *value)
{
	cr_assert_eq(sl_headers_append(h, a, sl_str_from(name), sl_str_from(value)), 0);
}

static void expect(const struct sl_headers *h, const char *want)
{
	_cleanup_(sl_buf_deinit) struct sl_buf b = SL_BUF_INIT(0);

	for (uint32_t i = 0; i < h->n; i++)
		cr_assert_eq(sl_buf_printf(&b, "%.*s:%.*s ", SL_STR_ARG(h->items[i].name),
					   SL_STR_ARG(h->items[i].value)),
			     0);
	cr_assert(sl_str_eqc(sl_buf_str(&b), want), "%.*s", SL_STR_ARG(sl_buf_str(&b)));
}

static void fill(struct sl_headers *h, struct sl_arena *a)
{
	append(h, a, "A", "1");
	append(h, a, "b", "2");
	append(h, a, "a", "3");
	append(h, a, "C", "");
	append(h, a, "A", "4");
}

Test(message, lines_are_found_in_order_without_case)
{
	_cleanup_(sl_arena_deinit) struct sl_arena a = SL_ARENA_INIT(1024);
	struct sl_headers h = {0};
	struct sl_header *it;

	cr_assert_null(sl_headers_find(&h, SL_STR("a")));
	fill(&h, &a);
	it = sl_headers_find(&h, SL_STR("a"));
	cr_assert(it && sl_str_eqc(it->value, "1"));
	it = sl_headers_next(&h, SL_STR("a"), it);
	cr_assert(it && sl_str_eqc(it->value, "3"));
	it = sl_headers_next(&h, SL_STR("A"), it);
	cr_assert(it && sl_str_eqc(it->value, "4"));
	cr_assert_null(sl_headers_next(&h, SL_STR("a"), it));
	cr_assert_null(sl_headers_find(&h, SL_STR("aa")));
}

Test(message, set_replaces_in_the_first_place)
{
	_cleanup_(sl_arena_deinit) struct sl_arena a = SL_ARENA_INIT(1024);
	struct sl_headers h = {0};

	fill(&h, &a);
	cr_assert_eq(sl_headers_set(&h, &a, SL_STR("a"), SL_STR("5")), 0);
	expect(&h, "a:5 b:2 C: ");
	cr_assert_eq(sl_headers_set(&h, &a, SL_STR("D"), SL_STR("6")), 0);
	expect(&h, "a:5 b:2 C: D:6 ");
}

Test(message, remove_takes_every_line)
{
	_cleanup_(sl_arena_deinit) struct sl_arena a = SL_ARENA_INIT(1024);
	struct sl_headers h = {0};

	fill(&h, &a);
	cr_assert_eq(sl_headers_remove(&h, SL_STR("a")), 3);
	expect(&h, "b:2 C: ");
	cr_assert_eq(sl_headers_remove(&h, SL_STR("a")), 0);
}

Test(message, join_puts_commas_between)
{
	_cleanup_(sl_arena_deinit) struct sl_arena a = SL_ARENA_INIT(1024);
	struct sl_headers h = {0};
	struct sl_str s;

	fill(&h, &a);
	cr_assert_eq(sl_headers_join(&h, &a, SL_STR("a"), &s), 0);
	cr_assert(sl_str_eqc(s, "1,3,4"), "%.*s", SL_STR_ARG(s));
	cr_assert_eq(sl_headers_join(&h, &a, SL_STR("B"), &s), 0);
	cr_assert_eq(s.ptr, h.items[1].value.ptr);
	append(&h, &a, "c", "x");
	cr_assert_eq(sl_headers_join(&h, &a, SL_STR("c"), &s), 0);
	cr_assert(sl_str_eqc(s, ",x"), "%.*s", SL_STR_ARG(s));
	cr_assert_eq(sl_headers_join(&h, &a, SL_STR("d"), &s), -ENOENT);
}

Test(message, cookies_are_joined_as_one_line_has_them)
{
	_cleanup_(sl_arena_deinit) struct sl_arena a = SL_ARENA_INIT(1024);
	struct sl_headers h = {0};
	struct sl_str s;

	append(&h, &a, "Cookie", "a=1");
	append(&h, &a, "cookie", "b=2; c=3");
	append(&h, &a, "COOKIE", "d=4");
	cr_assert_eq(sl_headers_join(&h, &a, SL_STR("cookie"), &s), 0);
	cr_assert(sl_str_eqc(s, "a=1; b=2; c=3; d=4"), "%.*s", SL_STR_ARG(s));
}

Test(message, many_lines_stay_in_order)
{
	_cleanup_(sl_arena_deinit) struct sl_arena a = SL_ARENA_INIT(1024);
	struct sl_headers h = {0};

	for (int i = 0; i < 1000; i++) {
		struct sl_str s;

		cr_assert_eq(sl_arena_printf(&a, &s, "%d", i), 0);
		cr_assert_eq(sl_headers_append(&h, &a, s, s), 0);
	}
	for (int i = 0; i < 1000; i++) {
		char text[16];

		snprintf(text, sizeof(text), "%d", i);
		cr_assert(sl_str_eqc(h.items[i].value, text), "%d", i);
	}
}

/* Appends, sets and joins. Returns what the first call to fail returned. */
static int use(struct sl_headers *h, struct sl_arena *a, struct sl_str *ret)
{
	int r;

	for (uint32_t i = 0; i < 40; i++) {
		r = sl_headers_append(h, a, SL_STR("a"), SL_STR("0123456789012345678901234567"));
		cr_assert_eq(h->n, r ? i : i + 1);
		if (r)
			return r;
	}
	r = sl_headers_set(h, a, SL_STR("b"), SL_STR("c"));
	cr_assert_eq(h->n, r ? 40 : 41);
	return r ? r : sl_headers_join(h, a, SL_STR("a"), ret);
}

Test(message, failed_allocations_change_nothing)
{
	long n = 0;
	int r;

	do {
		_cleanup_(sl_arena_deinit) struct sl_arena a = SL_ARENA_INIT(1);
		struct sl_str s = SL_STR("untouched");
		struct sl_headers h = {0};

		sl_alloc_fail_after(n++);
		r = use(&h, &a, &s);
		sl_alloc_fail_after(-1);
		cr_assert(r == 0 || r == -ENOMEM, "%d", r);
		cr_assert_eq(sl_str_eqc(s, "untouched"), r != 0);
	} while (r);
	cr_assert_gt(n, 2);
}

Test(message, methods_have_a_case)
{
	static const struct {
		const char *text;
		enum sl_method method;
		bool idempotent;
	} cases[] = {
		{"GET", SL_METHOD_GET, true},	      {"HEAD", SL_METHOD_HEAD, true},
		{"POST", SL_METHOD_POST, false},      {"PUT", SL_METHOD_PUT, true},
		{"DELETE", SL_METHOD_DELETE, true},   {"CONNECT", SL_METHOD_CONNECT, false},
		{"OPTIONS", SL_METHOD_OPTIONS, true}, {"TRACE", SL_METHOD_TRACE, true},
		{"PATCH", SL_METHOD_PATCH, false},    {"get", SL_METHOD_OTHER, false},
		{"GETS", SL_METHOD_OTHER, false},     {"", SL_METHOD_OTHER, false},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		enum sl_method m = sl_method_from(sl_str_from(cases[i].text));

		cr_assert_eq(m, cases[i].method, "%s", cases[i].text);
		cr_assert_eq(sl_method_idempotent(m), cases[i].idempotent, "%s", cases[i].text);
	}
}
