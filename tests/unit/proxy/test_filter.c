/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <errno.h>
#include "../../lib/leak.h"
#include "base/alloc.h"
#include "proxy/filter.h"

static struct sl_arena arena;

static void set_up(void)
{
	arena = SL_ARENA_INIT(1024);
}

static void tear_down(void)
{
	sl_arena_deinit(&arena);
}

TestSuite(filter, .init = set_up, .fini = tear_down);

/* "Name: value" lines with "\n" behind each. */
static struct sl_headers headers_from(const char *text)
{
	struct sl_headers h = {0};

	while (*text) {
		const char *colon = strchr(text, ':'), *end = strchr(text, '\n');

		cr_assert(colon && end && colon < end);
		cr_assert_eq(
			sl_headers_append(
				&h, &arena, (struct sl_str){text, (size_t)(colon - text)},
				sl_str_trim((struct sl_str){colon + 1, (size_t)(end - colon - 1)})),
			0);
		text = end + 1;
	}
	return h;
}

static const char *headers_text(const struct sl_headers *h)
{
	struct sl_str out = SL_STR("");

	for (uint32_t i = 0; i < h->n; i++)
		cr_assert_eq(sl_arena_printf(&arena, &out, "%.*s%.*s: %.*s\n", SL_STR_ARG(out),
					     SL_STR_ARG(h->items[i].name),
					     SL_STR_ARG(h->items[i].value)),
			     0);
	return out.ptr;
}

static void assert_text(struct sl_str got, const char *wanted, const char *name)
{
	cr_assert(sl_str_eqc(got, wanted), "%s: \"%.*s\", not \"%s\"", name, SL_STR_ARG(got),
		  wanted);
}

/* ---- header modifiers ---- */

static const struct {
	const char *name;
	const char *set, *add, *remove; /* one "name: value" each, or NULL */
	const char *before, *after;
} header_cases[] = {
	{"set an absent header", "X-A: 1", NULL, NULL, "B: 2\n", "B: 2\nX-A: 1\n"},
	{"set replaces the value", "X-A: 1", NULL, NULL, "X-A: 0\nB: 2\n", "X-A: 1\nB: 2\n"},
	{"set replaces all lines of any case", "X-A: 1", NULL, NULL, "x-a: 8\nB: 2\nX-a: 9\n",
	 "X-A: 1\nB: 2\n"},
	{"add an absent header", NULL, "X-A: 1", NULL, "B: 2\n", "B: 2\nX-A: 1\n"},
	{"add to a value", NULL, "X-A: new", NULL, "x-a: old\n", "x-a: old,new\n"},
	{"add a list to a value", NULL, "X-A: bar,baz", NULL, "X-A: foo\n", "X-A: foo,bar,baz\n"},
	{"add joins repeated lines", NULL, "X-A: c", NULL, "X-A: a\nB: 2\nX-A: b\n",
	 "X-A: a,b,c\nB: 2\n"},
	{"add to an empty value", NULL, "X-A: new", NULL, "X-A:\n", "X-A: new\n"},
	{"add to Cookie", NULL, "cookie: b=2", NULL, "Cookie: a=1\n", "Cookie: a=1; b=2\n"},
	{"add to Set-Cookie", NULL, "Set-Cookie: b=2", NULL, "Set-Cookie: a=1; Path=/\n",
	 "Set-Cookie: a=1; Path=/\nSet-Cookie: b=2\n"},
	{"remove an absent header", NULL, NULL, "X-A:", "B: 2\n", "B: 2\n"},
	{"remove all lines of any case", NULL, NULL, "X-A:", "x-a: 1\nB: 2\nX-A: 3\n", "B: 2\n"},
	{"all three", "C: 3", "B: 9", "A:", "A: 1\nB: 2\nC: 0\n", "B: 2,9\nC: 3\n"},
	{"an empty value", "X-A:", NULL, NULL, "X-A: 1\n", "X-A: \n"},
	{"nothing to do", NULL, NULL, NULL, "A: 1\n", "A: 1\n"},
};

struct edits {
	struct sl_header_edit set, add, remove;
	struct sl_filter filter;
};

static uint32_t make_edit(const char *text, struct sl_header_edit *ret)
{
	const char *colon = text ? strchr(text, ':') : NULL;

	if (!text)
		return 0;
	ret->name = (struct sl_str){text, (size_t)(colon - text)};
	ret->value = sl_str_trim(sl_str_from(colon + 1));
	return 1;
}

static void make_edits(struct edits *e, enum sl_filter_kind kind, const char *set, const char *add,
		       const char *remove)
{
	*e = (struct edits){.filter.kind = kind};
	e->filter.headers = (struct sl_header_edits){
		.set = &e->set,
		.add = &e->add,
		.remove = &e->remove,
		.n_set = make_edit(set, &e->set),
		.n_add = make_edit(add, &e->add),
		.n_remove = make_edit(remove, &e->remove),
	};
}

Test(filter, header_modifiers_edit_requests_and_responses_alike)
{
	struct sl_filter_env env = {.arena = &arena};

	for (size_t i = 0; i < sizeof(header_cases) / sizeof(header_cases[0]); i++) {
		struct sl_request req = {.headers = headers_from(header_cases[i].before)};
		struct sl_response res = {.headers = headers_from(header_cases[i].before)};
		struct sl_response unused = {0};
		struct edits e;

		make_edits(&e, SL_FILTER_KIND_REQUEST_HEADERS, header_cases[i].set,
			   header_cases[i].add, header_cases[i].remove);
		cr_assert_eq(sl_filters_request(&e.filter, 1, &env, &req, &unused), 0);
		cr_assert_str_eq(headers_text(&req.headers), header_cases[i].after, "%s",
				 header_cases[i].name);
		e.filter.kind = SL_FILTER_KIND_RESPONSE_HEADERS;
		cr_assert_eq(sl_filters_response(&e.filter, 1, &env, &res), 0);
		cr_assert_str_eq(headers_text(&res.headers), header_cases[i].after, "%s",
				 header_cases[i].name);
	}
}

Test(filter, each_side_leaves_the_other_sides_filters_alone)
{
	struct sl_filter_env env = {.arena = &arena};
	struct sl_request req = {.headers = headers_from("A: 1\n")};
	struct sl_response res = {.headers = headers_from("A: 1\n")}, unused = {0};
	struct edits e;

	make_edits(&e, SL_FILTER_KIND_RESPONSE_HEADERS, "A: 2", NULL, NULL);
	cr_assert_eq(sl_filters_request(&e.filter, 1, &env, &req, &unused), 0);
	cr_assert_str_eq(headers_text(&req.headers), "A: 1\n");
	e.filter.kind = SL_FILTER_KIND_REQUEST_HEADERS;
	cr_assert_eq(sl_filters_response(&e.filter, 1, &env, &res), 0);
	cr_assert_str_eq(headers_text(&res.headers), "A: 1\n");
}

static const struct {
	const char *name, *set, *add, *remove, *authority;
} host_cases[] = {
	{"set", "hOST: b.example", NULL, NULL, "b.example"},
	{"add", NULL, "host: b.example", NULL, "a.example:81"},
	{"remove", NULL, NULL, "Host:", "a.example:81"},
	{"another", "X-A: b.example", NULL, NULL, "a.example:81"},
};

Test(filter, a_request_keeps_exactly_one_host)
{
	struct sl_filter_env env = {.arena = &arena};

	for (size_t i = 0; i < sizeof(host_cases) / sizeof(host_cases[0]); i++) {
		struct sl_request req = {.headers = headers_from("Host: a.example:81\n"),
					 .authority = SL_STR("a.example:81")};
		struct sl_response unused = {0};
		struct sl_header *host;
		struct edits e;

		make_edits(&e, SL_FILTER_KIND_REQUEST_HEADERS, host_cases[i].set, host_cases[i].add,
			   host_cases[i].remove);
		cr_assert_eq(sl_filters_request(&e.filter, 1, &env, &req, &unused), 0);
		assert_text(req.authority, host_cases[i].authority, host_cases[i].name);
		host = sl_headers_find(&req.headers, SL_STR("host"));
		cr_assert_not_null(host, "%s", host_cases[i].name);
		assert_text(host->value, host_cases[i].authority, host_cases[i].name);
		cr_assert_null(sl_headers_next(&req.headers, SL_STR("host"), host));
	}
}

/* ---- redirect ---- */

static const struct {
	const char *came; /* scheme */
	uint16_t came_port;
	const char *scheme;
	uint16_t port;
	const char *location;
} port_cases[] = {
	{"http", 80, "", 0, "http://example.org/p"},
	{"http", 80, "", 80, "http://example.org/p"},
	{"http", 80, "", 8080, "http://example.org:8080/p"},
	{"http", 80, "https", 0, "https://example.org/p"},
	{"http", 80, "https", 443, "https://example.org/p"},
	{"http", 80, "https", 8443, "https://example.org:8443/p"},
	{"http", 8080, "", 0, "http://example.org:8080/p"},
	{"http", 8080, "", 80, "http://example.org/p"},
	{"http", 8080, "https", 0, "https://example.org/p"},
	{"http", 8080, "https", 443, "https://example.org/p"},
	{"http", 8080, "http", 0, "http://example.org/p"},
	{"http", 80, "https", 80, "https://example.org:80/p"},
	{"https", 443, "", 0, "https://example.org/p"},
	{"https", 443, "", 443, "https://example.org/p"},
	{"https", 443, "", 8443, "https://example.org:8443/p"},
	{"https", 443, "http", 0, "http://example.org/p"},
	{"https", 443, "http", 80, "http://example.org/p"},
	{"https", 443, "http", 8080, "http://example.org:8080/p"},
};

static struct sl_str location_of(const struct sl_response *res)
{
	cr_assert_eq(res->headers.n, 1);
	cr_assert(sl_str_eqc(res->headers.items[0].name, "Location"));
	return res->headers.items[0].value;
}

Test(filter, redirects_derive_scheme_and_port)
{
	for (size_t i = 0; i < sizeof(port_cases) / sizeof(port_cases[0]); i++) {
		struct sl_filter f = {.kind = SL_FILTER_KIND_REDIRECT};
		struct sl_filter_env env = {.arena = &arena,
					    .path = SL_STR("/p"),
					    .scheme = sl_str_from(port_cases[i].came),
					    .port = port_cases[i].came_port};
		struct sl_request req = {.path = SL_STR("/p"), .authority = SL_STR("other:1234")};
		struct sl_response res = {0};

		f.redirect.scheme = sl_str_from(port_cases[i].scheme);
		f.redirect.hostname = SL_STR("example.org");
		f.redirect.port = port_cases[i].port;
		cr_assert_eq(sl_filters_request(&f, 1, &env, &req, &res), SL_FILTER_ANSWER);
		assert_text(location_of(&res), port_cases[i].location, port_cases[i].location);
	}
}

static const struct {
	const char *authority, *hostname, *path, *query;
	struct sl_path_edit edit;
	const char *location;
} location_cases[] = {
	{"a.example", "", "/p", NULL, {0}, "http://a.example/p"},
	{"a.example:8080", "", "/p", NULL, {0}, "http://a.example/p"},
	{"[fd00::1]:8080", "", "/p", NULL, {0}, "http://[fd00::1]/p"},
	{"a.example", "b.example", "/p/q", "x=1&y=%2F", {0}, "http://b.example/p/q?x=1&y=%2F"},
	{"a.example", "", "/p", "", {0}, "http://a.example/p?"},
	{"a.example", "", "*", NULL, {0}, "http://a.example/"},
	{"a.example", "", "//x/", NULL, {0}, "http://a.example//x/"},
	{"", "", "/p", "q", {0}, "/p?q"},
	{"", "", "//x/", NULL, {0}, "/.//x/"},
	{"", "b.example", "/p", NULL, {0}, "http://b.example/p"},
	{"a.example",
	 "",
	 "/p",
	 "q",
	 {SL_PATH_EDIT_FULL, SL_STR("/new"), SL_STR("")},
	 "http://a.example/new?q"},
	{"a.example",
	 "",
	 "/p",
	 NULL,
	 {SL_PATH_EDIT_FULL, SL_STR("new"), SL_STR("")},
	 "http://a.example/new"},
	{"a.example",
	 "",
	 "/old/x",
	 NULL,
	 {SL_PATH_EDIT_PREFIX, SL_STR("/new"), SL_STR("/old")},
	 "http://a.example/new/x"},
};

Test(filter, redirects_keep_what_they_do_not_replace)
{
	for (size_t i = 0; i < sizeof(location_cases) / sizeof(location_cases[0]); i++) {
		struct sl_filter f = {.kind = SL_FILTER_KIND_REDIRECT};
		struct sl_filter_env env = {.arena = &arena,
					    .path = sl_str_from(location_cases[i].path),
					    .scheme = SL_STR("http"),
					    .port = 80};
		struct sl_request req = {.path = env.path,
					 .query = sl_str_from(location_cases[i].query),
					 .authority = sl_str_from(location_cases[i].authority)};
		struct sl_response res = {0};

		f.redirect.hostname = sl_str_from(location_cases[i].hostname);
		f.redirect.path = location_cases[i].edit;
		cr_assert_eq(sl_filters_request(&f, 1, &env, &req, &res), SL_FILTER_ANSWER);
		assert_text(location_of(&res), location_cases[i].location,
			    location_cases[i].location);
	}
}

Test(filter, redirects_answer_without_a_body)
{
	static const uint16_t statuses[] = {301, 302, 303, 307, 308};
	struct sl_filter_env env = {
		.arena = &arena, .path = SL_STR("/"), .scheme = SL_STR("http"), .port = 80};
	struct sl_request req = {.path = SL_STR("/"), .authority = SL_STR("a.example")};
	struct sl_filter f = {.kind = SL_FILTER_KIND_REDIRECT};
	struct sl_response res = {0};

	for (size_t i = 0; i < sizeof(statuses) / sizeof(statuses[0]); i++) {
		f.redirect.status = statuses[i];
		cr_assert_eq(sl_filters_request(&f, 1, &env, &req, &res), SL_FILTER_ANSWER);
		cr_assert_eq(res.status, statuses[i]);
		cr_assert_eq(res.body, SL_BODY_LENGTH);
		cr_assert(res.has_length && res.content_length == 0);
	}
	f.redirect.status = 0;
	req.method = SL_METHOD_HEAD;
	cr_assert_eq(sl_filters_request(&f, 1, &env, &req, &res), SL_FILTER_ANSWER);
	cr_assert_eq(res.status, 302);
	cr_assert_eq(res.body, SL_BODY_NONE);
	cr_assert(res.has_length && res.content_length == 0);
}

/* ---- rewrite ---- */

static const struct {
	const char *path; /* as received */
	const char *matched;
	struct sl_path_edit edit;
	const char *rewritten;
} path_cases[] = {
	{"/foo/bar", NULL, {SL_PATH_EDIT_PREFIX, SL_STR("/xyz"), SL_STR("/foo")}, "/xyz/bar"},
	{"/foo", NULL, {SL_PATH_EDIT_PREFIX, SL_STR("/xyz"), SL_STR("/foo")}, "/xyz"},
	{"/foo/", NULL, {SL_PATH_EDIT_PREFIX, SL_STR("/xyz"), SL_STR("/foo")}, "/xyz/"},
	{"/foo/bar", NULL, {SL_PATH_EDIT_PREFIX, SL_STR(""), SL_STR("/foo")}, "/bar"},
	{"/foo/", NULL, {SL_PATH_EDIT_PREFIX, SL_STR(""), SL_STR("/foo")}, "/"},
	{"/foo", NULL, {SL_PATH_EDIT_PREFIX, SL_STR(""), SL_STR("/foo")}, "/"},
	{"/foo//bar", NULL, {SL_PATH_EDIT_PREFIX, SL_STR("/xyz"), SL_STR("/foo")}, "/xyz//bar"},
	{"/", NULL, {SL_PATH_EDIT_PREFIX, SL_STR("/xyz"), SL_STR("")}, "/xyz/"},
	{"/a", NULL, {SL_PATH_EDIT_PREFIX, SL_STR("/xyz"), SL_STR("")}, "/xyz/a"},
	{"/foo/a%2Fb", NULL, {SL_PATH_EDIT_PREFIX, SL_STR("/xyz"), SL_STR("/foo")}, "/xyz/a%2Fb"},
	{"/foo/bar", NULL, {SL_PATH_EDIT_PREFIX, SL_STR("xyz"), SL_STR("/foo")}, "/xyz/bar"},
	/* What does not match is no prefix of it: left alone. */
	{"/foobar", NULL, {SL_PATH_EDIT_PREFIX, SL_STR("/xyz"), SL_STR("/foo")}, "/foobar"},
	{"*", NULL, {SL_PATH_EDIT_PREFIX, SL_STR("/xyz"), SL_STR("")}, "*"},
	/* Dot segments do not lead out of the replacement. */
	{"/foo/x/../../foo/bar",
	 "/foo/bar",
	 {SL_PATH_EDIT_PREFIX, SL_STR("/xyz"), SL_STR("/foo")},
	 "/xyz/bar"},
	{"/x/../foo/bar",
	 "/foo/bar",
	 {SL_PATH_EDIT_PREFIX, SL_STR("/xyz"), SL_STR("/foo")},
	 "/xyz/bar"},
	{"/foo/bar", NULL, {SL_PATH_EDIT_FULL, SL_STR("/new/path"), SL_STR("")}, "/new/path"},
	{"/foo/bar", NULL, {SL_PATH_EDIT_FULL, SL_STR("/new/"), SL_STR("")}, "/new/"},
	{"/foo/bar", NULL, {SL_PATH_EDIT_FULL, SL_STR(""), SL_STR("")}, "/"},
	{"/foo/bar", NULL, {SL_PATH_EDIT_FULL, SL_STR("new"), SL_STR("")}, "/new"},
	{"/foo/./bar", "/foo/bar", {SL_PATH_EDIT_NONE, SL_STR(""), SL_STR("")}, "/foo/./bar"},
};

Test(filter, rewrites_change_the_path_and_keep_the_query)
{
	for (size_t i = 0; i < sizeof(path_cases) / sizeof(path_cases[0]); i++) {
		struct sl_filter f = {.kind = SL_FILTER_KIND_REWRITE};
		struct sl_filter_env env = {.arena = &arena};
		struct sl_request req = {.path = sl_str_from(path_cases[i].path),
					 .query = SL_STR("a=/foo"),
					 .authority = SL_STR("a.example"),
					 .headers = headers_from("Host: a.example\n")};
		struct sl_response unused = {0};

		env.path = path_cases[i].matched ? sl_str_from(path_cases[i].matched) : req.path;
		f.rewrite.path = path_cases[i].edit;
		cr_assert_eq(sl_filters_request(&f, 1, &env, &req, &unused), 0);
		assert_text(req.path, path_cases[i].rewritten, path_cases[i].path);
		assert_text(req.query, "a=/foo", path_cases[i].path);
		assert_text(req.authority, "a.example", path_cases[i].path);
		cr_assert_str_eq(headers_text(&req.headers), "Host: a.example\n");
	}
}

Test(filter, rewrites_of_the_hostname_reach_authority_and_host)
{
	struct sl_filter f = {.kind = SL_FILTER_KIND_REWRITE};
	struct sl_filter_env env = {.arena = &arena, .path = SL_STR("/p")};
	struct sl_request req = {.path = SL_STR("/p"),
				 .authority = SL_STR("a.example:81"),
				 .headers = headers_from("A: 1\nhost: a.example:81\n")};
	struct sl_response unused = {0};

	f.rewrite.hostname = SL_STR("b.example");
	cr_assert_eq(sl_filters_request(&f, 1, &env, &req, &unused), 0);
	assert_text(req.authority, "b.example", "authority");
	assert_text(req.path, "/p", "path");
	cr_assert_str_eq(headers_text(&req.headers), "A: 1\nHost: b.example\n");
}

/* ---- several, and without memory ---- */

Test(filter, filters_run_in_order_until_one_answers)
{
	struct sl_filter filters[3] = {{.kind = SL_FILTER_KIND_REWRITE},
				       {.kind = SL_FILTER_KIND_REDIRECT},
				       {.kind = SL_FILTER_KIND_REWRITE}};
	struct sl_filter_env env = {
		.arena = &arena, .path = SL_STR("/"), .scheme = SL_STR("http"), .port = 80};
	struct sl_request req = {.path = SL_STR("/")};
	struct sl_response res = {0};

	filters[0].rewrite.hostname = SL_STR("first.example");
	filters[2].rewrite.hostname = SL_STR("last.example");
	cr_assert_eq(sl_filters_request(filters, 3, &env, &req, &res), SL_FILTER_ANSWER);
	assert_text(location_of(&res), "http://first.example/", "order");
	assert_text(req.authority, "first.example", "after the answer");
	cr_assert_eq(sl_filters_request(filters, 0, &env, &req, &res), 0);
}

Test(filter, a_rewrite_of_a_backend_starts_from_the_matched_path_again)
{
	struct sl_filter filters[2] = {{.kind = SL_FILTER_KIND_REWRITE},
				       {.kind = SL_FILTER_KIND_REWRITE}};
	struct sl_filter_env env = {.arena = &arena, .path = SL_STR("/old/x")};
	struct sl_request req = {.path = SL_STR("/old/x")};
	struct sl_response unused = {0};

	filters[0].rewrite.path =
		(struct sl_path_edit){SL_PATH_EDIT_PREFIX, SL_STR("/rule"), SL_STR("/old")};
	filters[1].rewrite.path =
		(struct sl_path_edit){SL_PATH_EDIT_PREFIX, SL_STR("/backend"), SL_STR("/old")};
	cr_assert_eq(sl_filters_request(filters, 2, &env, &req, &unused), 0);
	assert_text(req.path, "/backend/x", "path");
}

/* Runs all kinds over a head that fills its arrays, in an arena whose blocks hold next to nothing.
 */
static int run_all(struct sl_arena *a)
{
	static char many[20][8];
	struct sl_header items[20];
	struct sl_filter filters[4];
	struct sl_filter_env env = {
		.arena = a, .path = SL_STR("/old/x"), .scheme = SL_STR("http"), .port = 81};
	struct sl_request req = {.path = SL_STR("/old/x"), .authority = SL_STR("a.example")};
	struct sl_response answer = {0}, res = {0};
	struct edits request, response;
	int r;

	for (size_t i = 0; i < 20; i++) {
		(void)snprintf(many[i], sizeof(many[i]), "H%zu", i / 2);
		items[i] = (struct sl_header){sl_str_from(many[i]), SL_STR("v")};
	}
	req.headers = res.headers = (struct sl_headers){items, 20, 20};
	make_edits(&request, SL_FILTER_KIND_REQUEST_HEADERS, "S: 1", "H3: 2", "H4:");
	make_edits(&response, SL_FILTER_KIND_RESPONSE_HEADERS, "S: 1", "H3: 2", "H4:");
	filters[0] = request.filter;
	filters[1] = response.filter;
	filters[2] = (struct sl_filter){.kind = SL_FILTER_KIND_REWRITE};
	filters[2].rewrite.hostname = SL_STR("b.example");
	filters[2].rewrite.path =
		(struct sl_path_edit){SL_PATH_EDIT_PREFIX, SL_STR("/new"), SL_STR("/old")};
	filters[3] = (struct sl_filter){.kind = SL_FILTER_KIND_REDIRECT};
	filters[3].redirect.path = filters[2].rewrite.path;
	r = sl_filters_response(filters, 4, &env, &res);
	if (r)
		return r;
	r = sl_filters_request(filters, 4, &env, &req, &answer);
	if (r != SL_FILTER_ANSWER) {
		cr_assert_eq(answer.status, 0);
		return r;
	}
	assert_text(location_of(&answer), "http://b.example:81/new/x", "location");
	return 0;
}

/* The arena gets no second block, and what is left of the first grows from nothing until it is
 * enough: every allocation is the first that fails once. */
Test(filter, out_of_memory_is_reported_and_nothing_leaks)
{
	enum { BLOCK_BYTES = 4096, STEP_BYTES = 16 };
	size_t left = 0;
	int r;

	do {
		struct sl_arena small = SL_ARENA_INIT(BLOCK_BYTES);

		cr_assert_not_null(sl_arena_alloc(&small, BLOCK_BYTES - left));
		(void)sl_alloc_fail_after(0);
		r = run_all(&small);
		(void)sl_alloc_fail_after(-1);
		sl_arena_deinit(&small);
		cr_assert(r == 0 || r == -ENOMEM);
		left += STEP_BYTES;
		cr_assert_lt(left, BLOCK_BYTES);
	} while (r);
	cr_assert_gt(left, 10 * STEP_BYTES);
	check_leaks();
}
