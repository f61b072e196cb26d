/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <errno.h>
#include "base/alloc.h"
#include "http/message.h"
#include "snapshot/match.h"
#include "tables.h"

/*
 * Tables are written as text, one match a line, in order of precedence:
 *   "= /path" exact, "~ regex", "< /prefix", then "M:GET", "H:name=value", "H:name~regex",
 * "Q:name=value" ... Requests as "METHOD /path?query Name:value Name:value".
 */
enum { MAX_MATCHES = 64, MAX_WORDS = 12 };

struct fixture {
	struct sl_route_table *table;
	struct sl_match_scratch *scratch;
	struct sl_arena arena; /* of the request */
};

static uint32_t split(struct sl_str s, char by, struct sl_str *words, uint32_t max)
{
	uint32_t n = 0;

	while (s.len && n < max) {
		const char *end = memchr(s.ptr, by, s.len);
		size_t len = end ? (size_t)(end - s.ptr) : s.len;

		if (len)
			words[n++] = (struct sl_str){s.ptr, len};
		s = sl_str_skip(s, end ? len + 1 : len);
	}
	return n;
}

static struct sl_regex *regex_of(struct sl_str pattern)
{
	char error[SL_REGEX_ERROR_TEXT];
	struct sl_regex *r = NULL;

	cr_assert_eq(sl_regex_new(pattern, &r, error), 0, "%s", error);
	return r;
}

static void add_value(struct sl_arena *a, struct sl_match_value **list, uint32_t *n,
		      struct sl_str text)
{
	size_t at = strcspn(text.ptr, "=~");
	struct sl_match_value *v;

	if (!*list)
		*list = sl_arena_new_n(a, struct sl_match_value, MAX_WORDS);
	v = &(*list)[(*n)++];
	v->name = (struct sl_str){text.ptr, at};
	v->value = sl_str_skip(text, at + 1);
	if (text.ptr[at] == '~')
		v->regex = regex_of(v->value);
}

static void parse_match(struct sl_arena *a, struct sl_str line, struct sl_match *m)
{
	struct sl_str words[MAX_WORDS] = {0};
	uint32_t n = split(line, ' ', words, MAX_WORDS);

	m->class = words[0].ptr[0] == '='   ? SL_MATCH_EXACT
		   : words[0].ptr[0] == '~' ? SL_MATCH_REGEX
					    : SL_MATCH_PREFIX;
	m->path = words[1];
	if (m->class == SL_MATCH_REGEX)
		m->path_regex = regex_of(m->path);
	if (m->class == SL_MATCH_PREFIX && m->path.ptr[m->path.len - 1] == '/')
		m->path.len--;
	for (uint32_t i = 2; i < n; i++) {
		struct sl_str rest = sl_str_skip(words[i], 2);

		if (words[i].ptr[0] == 'M')
			m->method = sl_method_from(rest);
		else if (words[i].ptr[0] == 'H')
			add_value(a, &m->headers, &m->n_headers, rest);
		else
			add_value(a, &m->queries, &m->n_queries, rest);
	}
}

/* text must live as long as the fixture. Rule i belongs to line i. */
static struct fixture fixture_new(const char *text)
{
	struct sl_str lines[MAX_MATCHES];
	struct fixture f = {.arena = SL_ARENA_INIT(1024)};
	uint32_t n = split(sl_str_from(text), '\n', lines, MAX_MATCHES);
	struct sl_route *route = route_with(n);

	for (uint32_t i = 0; i < n; i++) {
		/* words need an end of their own for strcspn */
		struct sl_str line;

		cr_assert_eq(sl_arena_str(&route->arena, lines[i], &line), 0);
		parse_match(&route->arena, line, &route->matches[i]);
		route->rules[i].index = i;
		route->matches[i].rule = &route->rules[i];
	}
	f.table = table_of(route);
	cr_assert_eq(sl_match_scratch_new(&f.scratch), 0);
	return f;
}

static void fixture_free(struct fixture *f)
{
	sl_route_table_unref(f->table);
	sl_match_scratch_free(f->scratch);
	sl_arena_deinit(&f->arena);
}

static void parse_request(struct fixture *f, const char *text, struct sl_request *req)
{
	struct sl_str words[MAX_WORDS];
	uint32_t n = split(sl_str_from(text), ' ', words, MAX_WORDS);
	const char *mark;

	*req = (struct sl_request){.method = sl_method_from(words[0]),
				   .method_text = words[0],
				   .target = words[1],
				   .path = words[1]};
	mark = memchr(words[1].ptr, '?', words[1].len);
	if (mark) {
		req->path.len = (size_t)(mark - words[1].ptr);
		req->query = sl_str_skip(words[1], req->path.len + 1);
	}
	for (uint32_t i = 2; i < n; i++) {
		const char *colon = memchr(words[i].ptr, ':', words[i].len);
		struct sl_str name = {words[i].ptr, (size_t)(colon - words[i].ptr)};

		cr_assert_eq(sl_headers_append(&req->headers, &f->arena, name,
					       sl_str_skip(words[i], name.len + 1)),
			     0);
	}
}

/* Line of the match found, counted from 0; -1: none. */
static int match(struct fixture *f, const char *request)
{
	struct sl_request req;
	const struct sl_rule *rule;

	sl_arena_reset(&f->arena);
	parse_request(f, request, &req);
	rule = sl_route_table_match(f->table, &req, req.path, f->scratch, &f->arena);
	return rule ? (int)rule->index : -1;
}

struct match_case {
	const char *table, *request;
	int want;
};

static void check(const struct match_case *cases, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct fixture f = fixture_new(cases[i].table);

		cr_expect_eq(match(&f, cases[i].request), cases[i].want, "'%s' on:\n%s\n",
			     cases[i].request, cases[i].table);
		fixture_free(&f);
	}
}
#define CHECK(cases) check((cases), sizeof(cases) / sizeof(*(cases)))

Test(match, exact_paths_compare_bytes)
{
	static const struct match_case cases[] = {
		{"= /abc", "GET /abc", 0},	{"= /abc", "GET /abc/", -1},
		{"= /abc", "GET /ABC", -1},	{"= /abc", "GET /abc/d", -1},
		{"= /abc", "GET /abc?x=1", 0},	{"= /", "GET /", 0},
		{"= /a%2Fb", "GET /a/b", -1},	{"= /a%2Fb", "GET /a%2Fb", 0},
		{"= /a%2Fb", "GET /a%2fb", -1}, {"= /abc/", "GET /abc/", 0},
	};

	CHECK(cases);
}

Test(match, prefixes_are_element_wise)
{
	static const struct match_case cases[] = {
		{"< /abc", "GET /abc", 0},	    {"< /abc", "GET /abc/", 0},
		{"< /abc", "GET /abc/def", 0},	    {"< /abc", "GET /abcd", -1},
		{"< /abc/", "GET /abc", 0},	    {"< /abc/", "GET /abc/def", 0},
		{"< /abc/", "GET /abcd", -1},	    {"< /abc", "GET /Abc", -1},
		{"< /", "GET /anything/at/all", 0}, {"< /", "GET /", 0},
		{"< /abc", "GET /ab", -1},	    {"< /a/b", "GET /a", -1},
		{"< /a/b", "GET /a/b//c", 0},	    {"< /a/b", "GET /a//b", -1},
		{"< /a", "GET /a//b", 0},	    {"< /a", "GET /a%2Fb", -1},
	};

	CHECK(cases);
}

Test(match, the_longest_prefix_wins)
{
	static const char table[] = "< /a/b/c\n< /a/b\n< /a\n< /";
	static const struct match_case cases[] = {
		{table, "GET /a/b/c/d", 0}, {table, "GET /a/b/cc", 1}, {table, "GET /a/bb", 2},
		{table, "GET /aa", 3},	    {table, "GET /a/b/", 1},   {table, "GET /", 3},
	};

	CHECK(cases);
}

Test(match, exact_comes_before_regex_before_prefix)
{
	static const char table[] = "= /a/b\n~ /a/.\n< /a/b\n< /";
	static const struct match_case cases[] = {
		{table, "GET /a/b", 0},	 {table, "GET /a/c", 1},   {table, "GET /a/b/c", 2},
		{table, "GET /a/bb", 3}, {table, "GET /x/a/b", 3},
	};

	CHECK(cases);
}

Test(match, a_more_specific_path_that_fails_otherwise_leaves_it_to_the_next)
{
	static const char table[] = "= /a M:POST\n~ /a M:PUT\n< /a H:k=v\n< / M:GET";
	static const struct match_case cases[] = {
		{table, "POST /a", 0},	      {table, "PUT /a", 1},	{table, "GET /a k:v", 2},
		{table, "GET /a k:other", 3}, {table, "DELETE /a", -1},
	};

	CHECK(cases);
}

Test(match, methods_are_exact)
{
	static const struct match_case cases[] = {
		{"< / M:GET", "GET /", 0},  {"< / M:GET", "HEAD /", -1},
		{"< / M:GET", "get /", -1}, {"< / M:PATCH", "PATCH /", 0},
		{"< /", "BREW /", 0},	    {"< / M:GET", "BREW /", -1},
	};

	CHECK(cases);
}

Test(match, header_names_ignore_case_and_values_do_not)
{
	static const struct match_case cases[] = {
		{"< / H:Version=one", "GET / version:one", 0},
		{"< / H:version=one", "GET / VERSION:one", 0},
		{"< / H:version=one", "GET / version:One", -1},
		{"< / H:version=one", "GET /", -1},
		{"< / H:version=one", "GET / version:one,two", -1},
		{"< / H:a=1 H:b=2", "GET / b:2 a:1", 0},
		{"< / H:a=1 H:b=2", "GET / a:1", -1},
	};

	CHECK(cases);
}

Test(match, repeated_headers_are_joined_with_a_comma)
{
	static const struct match_case cases[] = {
		{"< / H:a=1,2", "GET / a:1 a:2", 0},
		{"< / H:a=2,1", "GET / a:1 a:2", -1},
		{"< / H:a=1", "GET / a:1 a:2", -1},
		{"< / H:a~.*,2", "GET / a:1 b:x A:2", 0},
	};

	CHECK(cases);
}

Test(match, header_patterns_match_the_whole_value)
{
	static const struct match_case cases[] = {
		{"< / H:a~v[0-9]+", "GET / a:v12", 0},	 {"< / H:a~v[0-9]+", "GET / a:xv12", -1},
		{"< / H:a~v[0-9]+", "GET / a:v12x", -1}, {"< / H:a~.*", "GET /", -1},
		{"< / H:a~.*", "GET / a:", 0},
	};

	CHECK(cases);
}

Test(match, host_is_the_authority)
{
	struct fixture f = fixture_new("< / H:host=shop.test\n");
	struct sl_request req;

	cr_expect_eq(match(&f, "GET / Host:shop.test"), 0);
	cr_expect_eq(match(&f, "GET / Host:other.test"), -1);
	parse_request(&f, "GET / Host:other.test", &req);
	req.authority = SL_STR("shop.test"); /* absolute form, or :authority */
	cr_expect_not_null(sl_route_table_match(f.table, &req, req.path, f.scratch, &f.arena));
	req.headers.n = 0;
	cr_expect_not_null(sl_route_table_match(f.table, &req, req.path, f.scratch, &f.arena));
	req.authority = SL_STR("other.test");
	cr_expect_null(sl_route_table_match(f.table, &req, req.path, f.scratch, &f.arena));
	fixture_free(&f);
}

Test(match, query_parameters)
{
	static const struct match_case cases[] = {
		{"< / Q:animal=whale", "GET /?animal=whale", 0},
		{"< / Q:animal=whale", "GET /?x=1&animal=whale&y", 0},
		{"< / Q:animal=whale", "GET /?Animal=whale", -1},
		{"< / Q:animal=whale", "GET /?animal=Whale", -1},
		{"< / Q:animal=whale", "GET /?animal=whales", -1},
		{"< / Q:animal=whale", "GET /", -1},
		/* of a repeated one the first counts */
		{"< / Q:a=1", "GET /?a=1&a=2", 0},
		{"< / Q:a=2", "GET /?a=1&a=2", -1},
		/* names and values are compared decoded */
		{"< / Q:a=x/y", "GET /?a=x%2Fy", 0},
		{"< / Q:a=x%2Fy", "GET /?a=x%252Fy", 0},
		{"< / Q:ab=1", "GET /?%61b=1", 0},
		{"< / Q:ab=1", "GET /?a%6=1&ab=1", 0},
		{"< / Q:a=1 Q:b=2", "GET /?b=2&a=1", 0},
		{"< / Q:a=1 Q:b=2", "GET /?a=1", -1},
		{"< / Q:a~\\d+", "GET /?a=42", 0},
		{"< / Q:a~\\d+", "GET /?a=42x", -1},
		{"< / Q:a~.*", "GET /?a", 0},
	};

	CHECK(cases);
}

Test(match, plus_in_a_query_is_a_space)
{
	struct fixture f = fixture_new("< / Q:a~x\\sy\n");

	cr_expect_eq(match(&f, "GET /?a=x+y"), 0);
	cr_expect_eq(match(&f, "GET /?a=x%20y"), 0);
	cr_expect_eq(match(&f, "GET /?a=x%2By"), -1);
	fixture_free(&f);
}

Test(match, requests_without_a_path_are_for_the_root)
{
	struct fixture f = fixture_new("< /a\n< /\n");
	struct sl_request req;

	cr_expect_eq(match(&f, "OPTIONS *"), 1);
	parse_request(&f, "CONNECT example.test:443", &req);
	req.path = SL_STR("");
	cr_expect_eq(sl_route_table_match(f.table, &req, req.path, f.scratch, &f.arena)->index, 1);
	fixture_free(&f);
}

Test(match, an_empty_table_matches_nothing)
{
	struct fixture f = fixture_new("");

	cr_expect_eq(match(&f, "GET /"), -1);
	fixture_free(&f);
}

/* More matches on one path than are walked: found by value, and still in order. */
Test(match, many_matches_on_one_path_keep_their_order)
{
	static const char table[] =
		"< / M:POST\n< / H:a=1 H:b=1\n< / H:a=1 H:b=2\n< / H:a=1 Q:q=1\n"
		"< / H:a~[12]\n< / H:a=1\n< / H:a=2\n< / H:b=1\n< / H:b=2\n"
		"< / H:c=1\n< / H:A=3\n< / Q:q=1 Q:r=1\n< / Q:q=1\n< / Q:r=1\n";
	static const struct match_case cases[] = {
		{table, "GET / a:1 b:1", 1},  {table, "GET / a:1 b:2", 2},
		{table, "GET /?q=1 a:1", 3},  {table, "GET / a:1", 4},
		{table, "GET / a:2", 4},      {table, "GET / b:1 c:1", 7},
		{table, "GET / b:2", 8},      {table, "GET / c:1", 9},
		{table, "GET / A:3", 10},     {table, "GET / a:3 b:2", 8},
		{table, "GET /?q=1&r=1", 11}, {table, "GET /?q=1&r=2", 12},
		{table, "GET /?r=1", 13},     {table, "POST /?r=2", 0},
		{table, "POST /?q=1 c:1", 0}, {table, "GET /?q=2", -1},
		{table, "GET / d:1", -1},
	};

	CHECK(cases);
}

Test(match, a_pattern_past_its_limit_counts_as_no_match)
{
	struct fixture f = fixture_new("< / H:a~(x+)+[yz]\n< /\n");
	char request[5000] = "GET / a:";
	size_t n = strlen(request);

	memset(request + n, 'x', 4000);
	request[n + 4000] = '\0';
	cr_expect_eq(sl_match_scratch_limits_hit(f.scratch), 0);
	cr_expect_eq(match(&f, request), 1);
	cr_expect_eq(sl_match_scratch_limits_hit(f.scratch), 1);
	cr_expect_eq(match(&f, "GET / a:xxy"), 0);
	fixture_free(&f);
}

Test(match, nothing_is_allocated_but_for_joined_headers)
{
	struct fixture f = fixture_new("= /a H:k=v\n~ /b.* H:k~v+\n< /c Q:q~\\d+ H:k=v\n< /c\n");
	struct sl_request req;
	size_t before;

	parse_request(&f, "GET /c/d?q=12 k:v l:w", &req);
	before = f.arena.used_bytes;
	(void)sl_alloc_fail_after(-1);
	cr_expect_eq(sl_route_table_match(f.table, &req, req.path, f.scratch, &f.arena)->index, 2);
	req.path = SL_STR("/bbb");
	cr_expect_eq(sl_route_table_match(f.table, &req, req.path, f.scratch, &f.arena)->index, 1);
	cr_expect_eq(sl_alloc_fail_after(-1), 0);
	cr_expect_eq(f.arena.used_bytes, before);
	fixture_free(&f);
}

Test(match, without_memory_for_a_header_no_rule_is_guessed)
{
	struct fixture f = fixture_new("< / H:deny=1,1\n< /\n");
	struct sl_arena full = SL_ARENA_INIT(1024);
	struct sl_request req;

	parse_request(&f, "GET / deny:1 deny:1", &req);
	(void)sl_alloc_fail_after(0);
	cr_expect_null(sl_route_table_match(f.table, &req, req.path, f.scratch, &full));
	(void)sl_alloc_fail_after(-1);
	cr_expect_eq(sl_route_table_match(f.table, &req, req.path, f.scratch, &full)->index, 0);
	sl_arena_deinit(&full);
	fixture_free(&f);
}

Test(match, values_of_an_earlier_request_are_not_remembered)
{
	struct fixture f = fixture_new("< / H:a=1\n< / Q:q=1\n");

	cr_expect_eq(match(&f, "GET / a:1"), 0);
	cr_expect_eq(match(&f, "GET / a:2"), -1);
	cr_expect_eq(match(&f, "GET /"), -1);
	cr_expect_eq(match(&f, "GET /?q=1"), 1);
	cr_expect_eq(match(&f, "GET /"), -1);
	fixture_free(&f);
}

Test(match, scratch_and_index_survive_failing_allocations)
{
	int r = -ENOMEM;

	for (long n = 0; r; n++) {
		struct sl_match_scratch *s = NULL;

		(void)sl_alloc_fail_after(n);
		r = sl_match_scratch_new(&s);
		(void)sl_alloc_fail_after(-1);
		cr_assert(r == 0 || r == -ENOMEM);
		sl_match_scratch_free(s);
	}
	r = -ENOMEM;
	for (long n = 0; r; n++) {
		struct sl_match_builder *b = NULL;
		struct sl_match_index *index = NULL;
		struct sl_route *route = route_with(12);

		for (uint32_t i = 0; i < 12; i++) {
			parse_match(&route->arena,
				    i < 4 ? SL_STR("= /a H:a=1 Q:b=2") : SL_STR("< /a H:c=1"),
				    &route->matches[i]);
			route->rules[i].index = i;
			route->matches[i].rule = &route->rules[i];
		}
		cr_assert_eq(sl_route_seal(route), 0);
		(void)sl_alloc_fail_after(n);
		r = sl_match_builder_new(&b);
		if (!r)
			r = sl_match_builder_add(b, route);
		if (!r)
			r = sl_match_builder_build(b, &index);
		(void)sl_alloc_fail_after(-1);
		cr_assert(r == 0 || r == -ENOMEM);
		cr_assert_eq(!index, r != 0);
		sl_match_builder_free(b);
		sl_match_index_free(index);
		sl_route_unref(route);
	}
}
