/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <errno.h>
#include "base/alloc.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "h1_check.h"
#include "http/uri.h"

#define N_OF(a) (sizeof(a) / sizeof((a)[0]))

static const struct {
	const char *in, *want;
} paths[] = {
	{"/", "/"},
	{"/a/b", "/a/b"},
	{"/a/b/", "/a/b/"},
	{"/a/b/c/./../../g", "/a/g"},
	{"/.", "/"},
	{"/..", "/"},
	{"/./", "/"},
	{"/../", "/"},
	{"/../a", "/a"},
	{"/a/..", "/"},
	{"/a/../", "/"},
	{"/a/.", "/a/"},
	{"/a/./b", "/a/b"},
	{"/a/../../../b", "/b"},
	{"/a/b/..", "/a/"},
	{"/a//b", "/a//b"},
	{"/a//../b", "/a/b"},
	{"/a/..//b", "//b"},
	{"//..", "/"},
	{"/...", "/..."},
	{"/a/.../b", "/a/.../b"},
	{"/.a", "/.a"},
	{"/a.", "/a."},
	{"/a/..b", "/a/..b"},
	{"/a/b..", "/a/b.."},
	{"/a/%2e/b", "/a/b"},
	{"/a/%2E%2e/b", "/b"},
	{"/a/.%2e/b", "/b"},
	{"/a/%2e./b", "/b"},
	{"/a/%2e", "/a/"},
	{"/a/%2e%2e%2e", "/a/%2e%2e%2e"},
	{"/a/%2", "/a/%2"},
	{"/a/%252e%252e/b", "/a/%252e%252e/b"},
	{"/a%2f../b", "/a%2f../b"},
	{"/a%2F%2e%2e%2Fb", "/a%2F%2e%2e%2Fb"},
	{"/a\\..\\b", "/a\\..\\b"},
	{"/a/..;x/b", "/a/..;x/b"},
	{"*", "*"},
	{"", ""},
	{"a/../b", "a/../b"},
};

Test(uri, dot_segments_go)
{
	for (size_t i = 0; i < N_OF(paths); i++) {
		_cleanup_(sl_arena_deinit) struct sl_arena a = SL_ARENA_INIT(1024);
		struct sl_str in = sl_str_from(paths[i].in), out;
		bool same = strcmp(paths[i].in, paths[i].want) == 0;
		const char *fault = h1_check_uri(in.ptr, in.len);

		cr_assert_null(fault, "%s: %s", paths[i].in, fault);
		cr_assert_eq(sl_uri_normalise(&a, in, &out), 0);
		cr_assert(sl_str_eqc(out, paths[i].want), "%s gave %.*s", paths[i].in,
			  SL_STR_ARG(out));
		cr_assert_eq(out.ptr == in.ptr, same, "%s copied: %d", paths[i].in, !same);
	}
}

static const struct {
	const char *in, *want;
} queries[] = {
	{"", ""},
	{"a", "[a|]"},
	{"a=", "[a|]"},
	{"a=b", "[a|b]"},
	{"a=b&c=d", "[a|b][c|d]"},
	{"&&a=b&&c&", "[a|b][c|]"},
	{"=", "[|]"},
	{"=b", "[|b]"},
	{"a=b=c", "[a|b=c]"},
	{"a=b;c=d", "[a|b;c=d]"},
	{"a=1&a=2", "[a|1][a|2]"},
	{"%61=%26&b=?/", "[%61|%26][b|?/]"},
};

Test(uri, queries_are_walked)
{
	for (size_t i = 0; i < N_OF(queries); i++) {
		_cleanup_(sl_buf_deinit) struct sl_buf b = SL_BUF_INIT(0);
		struct sl_str in = sl_str_from(queries[i].in), name, value;
		size_t pos = 0;

		cr_assert_null(h1_check_uri(in.ptr, in.len), "%s", queries[i].in);
		while (sl_uri_query_next(in, &pos, &name, &value))
			cr_assert_eq(sl_buf_printf(&b, "[%.*s|%.*s]", SL_STR_ARG(name),
						   SL_STR_ARG(value)),
				     0);
		cr_assert(sl_str_eqc(sl_buf_str(&b), queries[i].want), "%s gave %.*s",
			  queries[i].in, SL_STR_ARG(sl_buf_str(&b)));
	}
}

static const struct {
	const char *query, *name, *value, *want; /* value NULL: it goes; want NULL: no query */
} replacements[] = {
	{"a=1&b=2", "a", NULL, "b=2"},
	{"a=1&b=2&%61=3&a", "a", NULL, "b=2"},
	{"a=1", "a", NULL, NULL},
	{"", "a", NULL, NULL},
	{"&&a=1&&b&&", "c", NULL, "a=1&b"},
	{"a%20b=1&a+b=2&c", "a b", NULL, "c"},
	{"a%20b=1&c", "a%20b", NULL, "c"},
	{"a=1&b=2", "a", "3", "b=2&a=3"},
	{"", "a", "", "a="},
	{"x", "a=b", "c=d", "x&a%3Db=c=d"},
	{"x", "n", "a b&c#\n\xff%41+", "x&n=a%20b%26c%23%0A%FF%41+"},
};

Test(uri, parameters_are_replaced)
{
	for (size_t i = 0; i < N_OF(replacements); i++) {
		struct sl_arena a = SL_ARENA_INIT(64);
		struct sl_str value = SL_STR_NULL, out = SL_STR("?");

		if (replacements[i].value)
			value = sl_str_from(replacements[i].value);
		cr_assert_eq(sl_uri_query_replace(&a, sl_str_from(replacements[i].query),
						  sl_str_from(replacements[i].name),
						  replacements[i].value ? &value : NULL, &out),
			     0);
		cr_expect_eq(!out.ptr, !replacements[i].want, "case %zu", i);
		cr_expect(!out.ptr || sl_str_eqc(out, replacements[i].want), "case %zu: %.*s", i,
			  SL_STR_ARG(out));
		sl_arena_deinit(&a);
	}
}

static const struct {
	const char *in;
	struct sl_str want;
} escapes[] = {
	{"", SL_STR("")},
	{"abc", SL_STR("abc")},
	{"a+b", SL_STR("a b")},
	{"%41%62", SL_STR("Ab")},
	{"%2b", SL_STR("+")},
	{"%2B+", SL_STR("+ ")},
	{"a%00b", SL_STR("a\0b")},
	{"%", SL_STR("%")},
	{"%4", SL_STR("%4")},
	{"%4g", SL_STR("%4g")},
	{"%%41", SL_STR("%A")},
	{"%25%34%31", SL_STR("%41")},
	{"%c3%A4", SL_STR("\xc3\xa4")},
	{"%fF", SL_STR("\xff")},
};

Test(uri, escapes_are_decoded_once)
{
	for (size_t i = 0; i < N_OF(escapes); i++) {
		_cleanup_(sl_arena_deinit) struct sl_arena a = SL_ARENA_INIT(1024);
		struct sl_str out;

		cr_assert_eq(sl_uri_query_decode(&a, sl_str_from(escapes[i].in), &out), 0);
		cr_assert(sl_str_eq(out, escapes[i].want), "%s gave %.*s", escapes[i].in,
			  SL_STR_ARG(out));
	}
}

static const struct {
	const char *in, *host;
	bool valid, valid_with_port;
} authorities[] = {
	{"a.example", "a.example", true, false},
	{"a.example:80", "a.example", true, true},
	{"a.example:", "a.example", true, false},
	{"a.example:0080", "a.example", true, true},
	{"a.example:65535", "a.example", true, true},
	{"a.example:65536", "a.example", false, false},
	{"a.example:+80", "a.example", false, false},
	{"a.example:80:80", "a.example", false, false},
	{"10.0.0.1:80", "10.0.0.1", true, true},
	{"a_b-c~d!$&'()*+,;=", "a_b-c~d!$&'()*+,;=", true, false},
	{"%61:1", "%61", true, true},
	{"%6:1", "%6", false, false},
	{"%zz", "%zz", false, false},
	{"[::1]", "[::1]", true, false},
	{"[::1]:80", "[::1]", true, true},
	{"[2001:db8::ffff:10.0.0.1]:80", "[2001:db8::ffff:10.0.0.1]", true, true},
	{"[::1]80", "[::1]", false, false},
	{"[::1", "[::1", false, false},
	{"[]", "[]", false, false},
	{"[1.2.3.4]", "[1.2.3.4]", false, false},
	{"[v1.a]", "[v1.a]", false, false},
	{"[fe80::1%25eth0]", "[fe80::1%25eth0]", false, false},
	{"[0000:0000:0000:0000:0000:0000:0000:0000:0000:0000]",
	 "[0000:0000:0000:0000:0000:0000:0000:0000:0000:0000]", false, false},
	{"::1", "", false, false},
	{":80", "", false, false},
	{"", "", false, false},
	{"u@a", "u@a", false, false},
	{"u:p@a", "u", false, false},
	{"a/b", "a/b", false, false},
	{"a b", "a b", false, false},
	{"a\\b", "a\\b", false, false},
	{"\xc3\xa4", "\xc3\xa4", false, false},
};

Test(uri, authorities_are_a_host_and_a_port)
{
	for (size_t i = 0; i < N_OF(authorities); i++) {
		struct sl_str in = sl_str_from(authorities[i].in), host = sl_uri_host(in);

		cr_assert_null(h1_check_uri(in.ptr, in.len), "%s", authorities[i].in);
		cr_assert(sl_str_eqc(host, authorities[i].host), "%s gave %.*s", authorities[i].in,
			  SL_STR_ARG(host));
		cr_assert_eq(sl_uri_authority_valid(in, false), authorities[i].valid, "%s",
			     authorities[i].in);
		cr_assert_eq(sl_uri_authority_valid(in, true), authorities[i].valid_with_port, "%s",
			     authorities[i].in);
	}
	cr_assert_not(sl_uri_authority_valid(SL_STR("[::1\0]"), false));
	cr_assert_not(sl_uri_authority_valid(SL_STR("a\0b"), false));
}

Test(uri, failed_allocations_are_reported)
{
	struct sl_arena a = SL_ARENA_INIT(1024);
	struct sl_str out = SL_STR("untouched");

	sl_alloc_fail_after(0);
	cr_assert_eq(sl_uri_normalise(&a, SL_STR("/a/.."), &out), -ENOMEM);
	sl_alloc_fail_after(0);
	cr_assert_eq(sl_uri_query_decode(&a, SL_STR("a+b"), &out), -ENOMEM);
	sl_alloc_fail_after(-1);
	cr_assert(sl_str_eqc(out, "untouched"));
}

Test(uri, a_replacement_without_memory_changes_nothing)
{
	enum { BLOCK = 1024, STEP = 16 };
	struct sl_str value = SL_STR("c d"), out = SL_STR("untouched");
	int n_failed = 0, r = -ENOMEM;

	/* With a little more room in the arena each time, until all of it fits. */
	for (size_t room = 0; r; room += STEP) {
		struct sl_arena a = SL_ARENA_INIT(BLOCK);

		cr_assert(sl_arena_alloc(&a, BLOCK - room));
		sl_alloc_fail_after(0);
		r = sl_uri_query_replace(&a, SL_STR("%61=1&b+=2"), SL_STR("a+b"), &value, &out);
		sl_alloc_fail_after(-1);
		cr_assert(!r || r == -ENOMEM);
		cr_assert(sl_str_eqc(out, r ? "untouched" : "%61=1&b+=2&a+b=c%20d"), "%.*s",
			  SL_STR_ARG(out));
		n_failed += r != 0;
		sl_arena_deinit(&a);
	}
	/* The result, and the names, decoded. */
	cr_assert_geq(n_failed, 3, "only %d", n_failed);
}
