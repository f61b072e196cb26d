/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <errno.h>
#include <time.h>
#include "base/alloc.h"
#include "snapshot/explain.h"
#include "snapshot/match.h"
#include "tables.h"
#include "../../lib/leak.h"

enum { MAX_MATCHES = 64, MAX_VALUES = 3, ROUNDS = 1500, REQUESTS = 8 };

struct fixture {
	struct sl_route_table *table;
	struct sl_route *route; /* the table's, if it has matches */
	struct sl_match_scratch *scratch;
	struct sl_arena arena; /* of the request */
};

static struct sl_regex *regex_of(const char *pattern)
{
	char error[SL_REGEX_ERROR_TEXT];
	struct sl_regex *r = NULL;

	cr_assert_eq(sl_regex_new(sl_str_from(pattern), &r, error), 0, "%s", error);
	return r;
}

static int rpc_rank(const struct sl_match *m)
{
	int service = m->rpc_service.text.len ? (m->rpc_service.regex ? 1 : 0) : 2;
	int method = m->rpc_method.text.len ? (m->rpc_method.regex ? 1 : 0) : 2;

	return service * 3 + method;
}

static int by_precedence(const void *a, const void *b)
{
	const struct sl_match *m = a, *n = b;

	if (m->is_rpc)
		return rpc_rank(m) - rpc_rank(n);
	if (m->class != n->class)
		return (int)m->class - (int)n->class;
	return m->class == SL_MATCH_PREFIX ? (int)n->path.len - (int)m->path.len : 0;
}

/* Takes the matches' regular expressions; values are borrowed. Rule i is match i. */
static struct fixture fixture_new(const struct sl_match *from, uint32_t n)
{
	struct fixture f = {.arena = SL_ARENA_INIT(1024), .route = route_with(n)};
	struct sl_match *matches = f.route->matches;

	if (n)
		memcpy(matches, from, n * sizeof(*from));
	qsort(matches, n, sizeof(*matches), by_precedence);
	for (uint32_t i = 0; i < n; i++) {
		f.route->rules[i].index = i;
		matches[i].rule = &f.route->rules[i];
	}
	f.table = table_of(f.route);
	cr_assert_eq(sl_match_scratch_new(&f.scratch), 0);
	return f;
}

static void fixture_free(struct fixture *f)
{
	sl_route_table_unref(f->table);
	sl_match_scratch_free(f->scratch);
	sl_arena_deinit(&f->arena);
}

static void add_header(struct fixture *f, struct sl_request *req, const char *name,
		       const char *value)
{
	cr_assert_eq(
		sl_headers_append(&req->headers, &f->arena, sl_str_from(name), sl_str_from(value)),
		0);
}

/* ---- one table, looked at closely ---- */

static struct fixture shop(void)
{
	static struct sl_match_value beta[] = {{.name = {"X-Stage", 7}, .value = {"beta", 4}}};
	static struct sl_match_value blue[] = {{.name = {"color", 5}, .value = {"b.*", 3}}};
	struct sl_match matches[] = {
		{.class = SL_MATCH_EXACT, .path = SL_STR("/cart")},
		{.class = SL_MATCH_PREFIX, .path = SL_STR("/cart"), .method = SL_METHOD_POST},
		{.class = SL_MATCH_PREFIX,
		 .path = SL_STR("/cart"),
		 .n_headers = 1,
		 .headers = beta},
		{.class = SL_MATCH_PREFIX,
		 .path = SL_STR("/cart"),
		 .n_queries = 1,
		 .queries = blue},
		{.class = SL_MATCH_PREFIX, .path = SL_STR("")},
		{.class = SL_MATCH_PREFIX, .path = SL_STR("")},
	};

	blue[0].regex = regex_of("b.*");
	return fixture_new(matches, sizeof(matches) / sizeof(*matches));
}

Test(explain, each_match_says_which_condition_failed_first)
{
	struct fixture f = shop();
	struct sl_request req = {.method = SL_METHOD_GET, .query = SL_STR("color=red")};
	static const enum sl_explain_verdict want[] = {SL_EXPLAIN_PATH,	  SL_EXPLAIN_METHOD,
						       SL_EXPLAIN_HEADER, SL_EXPLAIN_QUERY,
						       SL_EXPLAIN_TAKES,  SL_EXPLAIN_LATER};
	struct sl_explain e;

	cr_assert_eq(sl_route_table_explain(f.table, &req, SL_STR("/cart/1"), &f.arena, &e), 0);
	cr_assert_eq(e.n_steps, 6);
	for (uint32_t i = 0; i < 6; i++)
		cr_expect_eq(e.steps[i].verdict, want[i], "step %u", i);
	cr_expect_eq(e.rule, &f.route->rules[4]);
	cr_expect(sl_str_eqc(e.steps[2].value->name, "X-Stage"));
	cr_expect_null(e.steps[2].have.ptr);
	cr_expect(sl_str_eqc(e.steps[3].have, "red"));

	add_header(&f, &req, "x-stage", "");
	cr_assert_eq(sl_route_table_explain(f.table, &req, SL_STR("/cart/1"), &f.arena, &e), 0);
	cr_expect_not_null(e.steps[2].have.ptr, "an empty header is not a missing one");
	fixture_free(&f);
}

Test(explain, no_rule_is_an_answer_too)
{
	struct fixture f = fixture_new(NULL, 0);
	struct sl_request req = {.method = SL_METHOD_GET};
	struct sl_explain e;

	cr_assert_eq(sl_route_table_explain(f.table, &req, SL_STR("/"), &f.arena, &e), 0);
	cr_expect_null(e.rule);
	cr_expect_eq(e.n_steps, 0);
	fixture_free(&f);
}

Test(explain, a_pattern_past_its_limit_is_told)
{
	struct sl_match_value v = {
		.name = SL_STR("a"), .value = SL_STR("(x+)+[yz]"), .regex = regex_of("(x+)+[yz]")};
	struct sl_match m = {.class = SL_MATCH_PREFIX, .n_headers = 1, .headers = &v};
	struct fixture f = fixture_new(&m, 1);
	struct sl_request req = {.method = SL_METHOD_GET};
	struct sl_explain e;
	char many[4000];

	memset(many, 'x', sizeof(many) - 1);
	many[sizeof(many) - 1] = '\0';
	add_header(&f, &req, "a", many);
	cr_assert_eq(sl_route_table_explain(f.table, &req, SL_STR("/"), &f.arena, &e), 0);
	cr_expect_null(e.rule);
	cr_expect_eq(e.steps[0].verdict, SL_EXPLAIN_HEADER);
	cr_expect(e.steps[0].limit);
	fixture_free(&f);
}

Test(explain, matches_have_a_text)
{
	struct sl_match_value headers[] = {
		{.name = SL_STR("a"), .value = SL_STR("1")},
		{.name = SL_STR("b"), .value = SL_STR("2+"), .regex = regex_of("2+")}};
	struct sl_match_value query = {.name = SL_STR("q"), .value = SL_STR("3")};
	const struct sl_rule rule = {.kind = SL_ROUTE_HTTP};
	struct sl_match m = {.class = SL_MATCH_PREFIX,
			     .rule = &rule,
			     .path = SL_STR("/x"),
			     .method = SL_METHOD_PATCH,
			     .n_headers = 2,
			     .headers = headers,
			     .n_queries = 1,
			     .queries = &query};
	struct sl_match root = {.class = SL_MATCH_PREFIX, .rule = &rule};
	struct sl_buf out = SL_BUF_INIT(0);

	cr_assert_eq(sl_match_describe(&m, &out), 0);
	cr_expect(sl_str_eqc(sl_buf_str(&out), "PathPrefix /x, method PATCH, header a = 1, "
					       "header b ~ 2+, query q = 3"));
	sl_buf_consume(&out, sl_buf_len(&out));
	cr_assert_eq(sl_match_describe(&root, &out), 0);
	cr_expect(sl_str_eqc(sl_buf_str(&out), "PathPrefix /"));
	sl_buf_deinit(&out);
	sl_regex_unref(headers[1].regex);
}

Test(explain, matches_of_other_kinds_have_a_text)
{
	const struct sl_rule http = {.kind = SL_ROUTE_HTTP}, grpc = {.kind = SL_ROUTE_GRPC};
	const struct sl_rule tls = {.kind = SL_ROUTE_TLS}, tcp = {.kind = SL_ROUTE_TCP};
	const struct {
		struct sl_match match;
		const char *text;
	} cases[] = {
		{{.rule = &http, .class = SL_MATCH_EXACT, .path = SL_STR("/a")}, "Exact /a"},
		{{.rule = &grpc, .is_rpc = true}, "any method"},
		{{.rule = &grpc, .is_rpc = true, .rpc_service = {.text = SL_STR("p.S")}},
		 "Exact p.S/*"},
		{{.rule = &grpc, .is_rpc = true, .rpc_method = {.text = SL_STR("M")}}, "Exact */M"},
		{{.rule = &tls, .server_name = SL_STR("*.a.example")}, "name *.a.example"},
		{{.rule = &tcp}, "any connection"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct sl_buf out = SL_BUF_INIT(0);

		cr_assert_eq(sl_match_describe(&cases[i].match, &out), 0);
		cr_expect(sl_str_eqc(sl_buf_str(&out), cases[i].text), "%.*s",
			  SL_STR_ARG(sl_buf_str(&out)));
		sl_buf_deinit(&out);
	}
}

Test(explain, a_failed_allocation_is_reported)
{
	struct fixture f = shop();
	int r = -ENOMEM;

	for (long n = 0; r; n++) {
		struct sl_arena arena = SL_ARENA_INIT(64);
		struct sl_request req = {.method = SL_METHOD_GET, .query = SL_STR("color=%72")};
		struct sl_explain e;

		add_header(&f, &req, "x-stage", "a");
		add_header(&f, &req, "x-stage", "b");
		(void)sl_alloc_fail_after(n);
		r = sl_route_table_explain(f.table, &req, SL_STR("/cart/1"), &arena, &e);
		(void)sl_alloc_fail_after(-1);
		cr_assert(r == 0 || r == -ENOMEM);
		cr_assert_lt(n, 50);
		sl_arena_deinit(&arena);
	}
	fixture_free(&f);
	check_leaks();
}

/* ---- many tables: the slow way and the index agree ---- */

static uint64_t random_state;

/* splitmix64: the same sequence everywhere */
static uint32_t below(uint32_t n)
{
	uint64_t z = random_state += 0x9e3779b97f4a7c15ULL;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ z >> 27) * 0x94d049bb133111ebULL;
	return (uint32_t)((z ^ z >> 31) % n);
}

#define PICK(list) ((list)[below(sizeof(list) / sizeof(*(list)))])

static const char *const paths[] = {"", "/a", "/a/b", "/ab", "/b", "/a/b/c", "/b/a", "/a//b"};
static const char *const patterns[] = {"/a.*", "/[ab]", "/a/(b|c)", ".*b", "(/[ab])+"};
static const char *const names[] = {"x", "X", "y", "host"};
static const char *const values[] = {"1", "2", "1,2", ""};
static const char *const value_patterns[] = {"[12]", "2|1,2", ".*", ""};

/* Names of one match differ, as the index wants it. */
static uint32_t random_values(struct sl_match_value *out, bool headers)
{
	uint32_t n = below(3) ? 0 : 1 + below(MAX_VALUES), kept = 0;

	for (uint32_t i = 0; i < n; i++) {
		bool regex = !below(4);
		struct sl_match_value v = {.name = sl_str_from(PICK(names))};
		uint32_t j = 0;

		while (j < kept && !(headers ? sl_str_ieq(out[j].name, v.name)
					     : sl_str_eq(out[j].name, v.name)))
			j++;
		if (j < kept)
			continue;
		v.value = sl_str_from(regex ? PICK(value_patterns) : PICK(values));
		v.regex = regex ? regex_of(v.value.ptr) : NULL;
		out[kept++] = v;
	}
	return kept;
}

static struct sl_match_text random_part(const char *const texts[4], bool regex)
{
	const char *text = texts[below(4)];

	return (struct sl_match_text){sl_str_from(text), regex && *text ? regex_of(text) : NULL};
}

/* Class and path as the compiler makes them of service and method. */
static void random_rpc(struct sl_match *m, char path[16])
{
	static const char *const parts[] = {"", "a", "b", "c"};
	static const char *const part_patterns[] = {"", "[ab]", "a|b/.*", ".*"};
	bool regex = below(3) == 0;
	struct sl_str s, t;

	m->is_rpc = true;
	m->rpc_service = random_part(regex ? part_patterns : parts, regex);
	m->rpc_method = random_part(regex ? part_patterns : parts, regex);
	s = m->rpc_service.text;
	t = m->rpc_method.text;
	m->class = SL_MATCH_REGEX;
	if (!regex && s.len)
		m->class = t.len ? SL_MATCH_EXACT : SL_MATCH_PREFIX;
	else if (!s.len && !t.len)
		m->class = SL_MATCH_PREFIX;
	path[0] = '\0';
	if (!regex && s.len)
		(void)snprintf(path, 16, "/%s%s%s", s.ptr, t.len ? "/" : "", t.ptr);
	m->path = sl_str_from(path);
}

static struct fixture random_table(void)
{
	static char rpc_paths[MAX_MATCHES][16];
	static struct sl_match_value headers[MAX_MATCHES][MAX_VALUES];
	static struct sl_match_value queries[MAX_MATCHES][MAX_VALUES];
	struct sl_match matches[MAX_MATCHES] = {0};
	uint32_t n = below(MAX_MATCHES);
	bool rpc = below(3) == 0;

	for (uint32_t i = 0; i < n; i++) {
		struct sl_match *m = &matches[i];
		const char *path = PICK(paths);

		m->headers = headers[i];
		m->n_headers = random_values(headers[i], true);
		if (rpc) {
			random_rpc(m, rpc_paths[i]);
			continue;
		}
		m->class = (enum sl_match_class)below(3);
		m->path = sl_str_from(m->class == SL_MATCH_REGEX	     ? PICK(patterns)
				      : *path || m->class == SL_MATCH_PREFIX ? path
									     : "/");
		m->path_regex = m->class == SL_MATCH_REGEX ? regex_of(m->path.ptr) : NULL;
		m->method = below(3) ? SL_METHOD_OTHER : SL_METHOD_GET + below(2);
		m->queries = queries[i];
		m->n_queries = random_values(queries[i], false);
	}
	return fixture_new(matches, n);
}

static void random_request(struct fixture *f, struct sl_request *req, struct sl_str *ret_path)
{
	static const char *const request_paths[] = {"/",     "/a",   "/a/", "/a/b", "/ab",     "/b",
						    "/a//b", "/b/a", "*",   "",	    "/a/b/c/d"};
	static const char *const request_queries[] = {"x=1",	 "x=2&X=1", "y=1%2C2&x", "x=1&x=2",
						      "%78=%31", "&&y=",    "host=1+2"};
	uint32_t n = below(5);

	*req = (struct sl_request){.method = SL_METHOD_GET + below(4)};
	*ret_path = sl_str_from(PICK(request_paths));
	if (below(2))
		req->query = sl_str_from(PICK(request_queries));
	if (below(2))
		req->authority = sl_str_from(PICK(values));
	for (uint32_t i = 0; i < n; i++)
		add_header(f, req, PICK(names), PICK(values));
}

Test(explain, always_agrees_with_the_index)
{
	const char *given = getenv("SLUICE_TEST_SEED");
	uint64_t seed = given ? strtoull(given, NULL, 10) : (uint64_t)time(NULL);
	uint32_t n_taken = 0, n_none = 0;

	printf("# SLUICE_TEST_SEED=%llu\n", (unsigned long long)seed);
	random_state = seed;
	for (uint32_t round = 0; round < ROUNDS; round++) {
		struct fixture f = random_table();

		for (uint32_t i = 0; i < REQUESTS; i++) {
			const struct sl_rule *want;
			struct sl_request req;
			struct sl_explain e;
			struct sl_str path;

			random_request(&f, &req, &path);
			want = sl_route_table_match(f.table, &req, path, f.scratch, &f.arena);
			cr_assert_eq(sl_route_table_explain(f.table, &req, path, &f.arena, &e), 0);
			cr_assert_eq(e.rule, want, "seed %llu, round %u, request %u",
				     (unsigned long long)seed, round, i);
			*(want ? &n_taken : &n_none) += 1;
		}
		fixture_free(&f);
	}
	cr_assert(n_taken > ROUNDS && n_none > ROUNDS / 2, "%u taken, %u not", n_taken, n_none);
}
