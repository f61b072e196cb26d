/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random routes and requests: what the index finds must be what a scan over all matches finds,
 * written here a second time from the text of the API, without any of the compiler's or matcher's
 * code. The seed is printed and can be given as SLUICE_TEST_SEED.
 */
#include <criterion/criterion.h>
#include <regex.h>
#include <time.h>
#include "base/buf.h"
#include "fixture.h"

enum {
	ROUNDS = 3000,
	REQUESTS = 12,
	MAX_ROUTES = 14,
	MAX_RULES = 4,
	MAX_MATCHES = 4,
	MAX_VALUES = 4
};

static uint64_t random_state;

/* splitmix64: the same sequence everywhere */
static uint32_t below(uint32_t n)
{
	uint64_t z = random_state += 0x9e3779b97f4a7c15ULL;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ z >> 27) * 0x94d049bb133111ebULL;
	return (uint32_t)((z ^ z >> 31) % n);
}

#define PICK(list) sl_str_from((list)[below(sizeof(list) / sizeof(*(list)))])

/* ---- routes ---- */

static const char *const paths[] = {"/",   "/a", "/a/",	   "/a/b", "/a/b/",
				    "/ab", "/b", "/a/b/c", "/b/a"};
static const char *const patterns[] = {"/a.*", "/[ab]", "/a/(b|c)", ".*b", "/", "(/[ab])+"};
static const char *const header_names[] = {"x", "X", "y", "Z", "host"};
static const char *const query_names[] = {"q", "Q", "r", "s"};
static const char *const values[] = {"1", "2", "3"};
static const char *const value_patterns[] = {"[12]", "2|3", ".*", "1,2"};
static const char *const methods[] = {"", "", "", "GET", "POST"};

static struct sl_name_match *random_values(struct sl_arena *a, bool headers, uint32_t n)
{
	struct sl_name_match *out = sl_arena_new_n(a, struct sl_name_match, n + 1);

	for (uint32_t i = 0; i < n; i++) {
		out[i].type = below(4) ? SL_VALUE_EXACT : SL_VALUE_REGEX;
		out[i].name = headers ? PICK(header_names) : PICK(query_names);
		out[i].value = out[i].type == SL_VALUE_EXACT ? PICK(values) : PICK(value_patterns);
	}
	return out;
}

static void random_match(struct sl_arena *a, struct sl_route_match *m)
{
	m->path_type = (enum sl_path_match)below(3);
	m->path = m->path_type == SL_PATH_REGEX ? PICK(patterns) : PICK(paths);
	m->method = PICK(methods);
	m->n_headers = below(3) ? 0 : below(MAX_VALUES);
	m->headers = random_values(a, true, m->n_headers);
	m->n_queries = below(3) ? 0 : below(MAX_VALUES);
	m->queries = random_values(a, false, m->n_queries);
}

static void random_route(struct sl_model *m, uint32_t number)
{
	struct sl_object *o = NULL;
	struct sl_route_object *route;

	cr_assert_eq(sl_object_new(SL_KIND_HTTPROUTE, &o), 0);
	route = (struct sl_route_object *)o;
	o->meta.namespace = SL_STR("shop");
	cr_assert_eq(
		sl_arena_printf(&o->arena, &o->meta.name, "r%c%u", 'a' + (char)below(3), number),
		0);
	o->meta.created_at = below(3) ? (int64_t)below(3) : INT64_MAX;
	route->n_parent_refs = 1;
	route->parent_refs = sl_arena_new(&o->arena, struct sl_parent_ref);
	*route->parent_refs = (struct sl_parent_ref){.group = SL_STR(""),
						     .kind = SL_STR("Service"),
						     .namespace = SL_STR("shop"),
						     .name = SL_STR("cart")};
	route->n_rules = 1 + below(MAX_RULES);
	route->rules = sl_arena_new_n(&o->arena, struct sl_route_rule, route->n_rules);
	for (uint32_t i = 0; i < route->n_rules; i++) {
		struct sl_route_rule *rule = &route->rules[i];

		rule->request_timeout_ns = rule->backend_request_timeout_ns = SL_DURATION_UNSET;
		rule->n_matches = 1 + below(MAX_MATCHES);
		rule->matches = sl_arena_new_n(&o->arena, struct sl_route_match, rule->n_matches);
		for (uint32_t j = 0; j < rule->n_matches; j++)
			random_match(&o->arena, &rule->matches[j]);
	}
	cr_assert_eq(sl_model_put(m, o), 0);
	sl_object_unref(o);
}

/* ---- requests ---- */

struct request {
	char text[512];
	char path[64], method[8];
	char headers[6][2][16]; /* name in lower case, value */
	uint32_t n_headers;
	char queries[6][2][16];
	uint32_t n_queries;
};

static void random_request(struct request *r)
{
	static const char *const segments[] = {"a", "b", "c", "ab", ""};
	static const char *const request_methods[] = {"GET", "POST", "PUT"};
	static const char *const names[] = {"x", "y", "z", "host", "other"};
	struct sl_buf text = SL_BUF_INIT(0), path = SL_BUF_INIT(0);
	uint32_t n = below(5);

	*r = (struct request){0};
	(void)sl_buf_printf(&path, "%s", n ? "" : "/");
	for (uint32_t i = 0; i < n; i++)
		(void)sl_buf_printf(&path, "/%s", PICK(segments).ptr);
	(void)snprintf(r->path, sizeof(r->path), "%.*s", SL_STR_ARG(sl_buf_str(&path)));
	(void)snprintf(r->method, sizeof(r->method), "%s", PICK(request_methods).ptr);
	(void)sl_buf_printf(&text, "%s %s", r->method, r->path);
	for (r->n_queries = 0; r->n_queries < 6 && below(3); r->n_queries++) {
		char(*q)[16] = r->queries[r->n_queries];

		(void)snprintf(q[0], 16, "%s", PICK(query_names).ptr);
		(void)snprintf(q[1], 16, "%s", PICK(values).ptr);
		(void)sl_buf_printf(&text, "%c%s=%s", r->n_queries ? '&' : '?', q[0], q[1]);
	}
	for (r->n_headers = 0; r->n_headers < 6 && below(3); r->n_headers++) {
		char(*h)[16] = r->headers[r->n_headers];

		(void)snprintf(h[0], 16, "%s", PICK(names).ptr);
		(void)snprintf(h[1], 16, "%s", PICK(values).ptr);
		(void)sl_buf_printf(&text, " %s:%s", h[0], h[1]);
	}
	(void)snprintf(r->text, sizeof(r->text), "%.*s", SL_STR_ARG(sl_buf_str(&text)));
	sl_buf_deinit(&text);
	sl_buf_deinit(&path);
}

/* ---- the slow reference ---- */

static bool posix_match(struct sl_str pattern, const char *value)
{
	static struct {
		const char *pattern;
		regex_t re;
	} compiled[16]; /* the texts are literals: their addresses name them */
	char whole[128];
	size_t i = 0;

	while (compiled[i].pattern && compiled[i].pattern != pattern.ptr)
		i++;
	if (!compiled[i].pattern) {
		(void)snprintf(whole, sizeof(whole), "^(%.*s)$", SL_STR_ARG(pattern));
		cr_assert_eq(regcomp(&compiled[i].re, whole, REG_EXTENDED | REG_NOSUB), 0);
		compiled[i].pattern = pattern.ptr;
	}
	return regexec(&compiled[i].re, value, 0, NULL, 0) == 0;
}

static bool path_matches(const struct sl_route_match *m, const char *path)
{
	size_t n = m->path.len;

	if (m->path_type == SL_PATH_EXACT)
		return sl_str_eqc(m->path, path);
	if (m->path_type == SL_PATH_REGEX)
		return posix_match(m->path, path);
	if (m->path.ptr[n - 1] == '/')
		n--;
	return strncmp(path, m->path.ptr, n) == 0 && (path[n] == '/' || path[n] == '\0');
}

/* Entries of a name that came before do not count. */
static bool is_duplicate(const struct sl_name_match *list, uint32_t i, bool headers)
{
	for (uint32_t j = 0; j < i; j++) {
		if (headers ? strcasecmp(list[j].name.ptr, list[i].name.ptr) == 0
			    : strcmp(list[j].name.ptr, list[i].name.ptr) == 0)
			return true;
	}
	return false;
}

static uint32_t effective(const struct sl_name_match *list, uint32_t n, bool headers)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < n; i++)
		count += !is_duplicate(list, i, headers);
	return count;
}

static bool value_matches(const struct sl_name_match *want, const char *have)
{
	return want->type == SL_VALUE_EXACT ? sl_str_eqc(want->value, have)
					    : posix_match(want->value, have);
}

static bool header_matches(const struct sl_name_match *want, const struct request *r)
{
	char joined[128] = "";
	bool found = false;

	for (uint32_t i = 0; i < r->n_headers; i++) {
		if (strcasecmp(r->headers[i][0], want->name.ptr) != 0)
			continue;
		if (found)
			strncat(joined, ",", sizeof(joined) - strlen(joined) - 1);
		strncat(joined, r->headers[i][1], sizeof(joined) - strlen(joined) - 1);
		found = true;
	}
	return found && value_matches(want, joined);
}

static bool query_matches(const struct sl_name_match *want, const struct request *r)
{
	for (uint32_t i = 0; i < r->n_queries; i++) {
		if (strcmp(r->queries[i][0], want->name.ptr) == 0)
			return value_matches(want, r->queries[i][1]);
	}
	return false;
}

static bool applies(const struct sl_route_match *m, const struct request *r)
{
	bool ok = path_matches(m, r->path) && (!m->method.len || sl_str_eqc(m->method, r->method));

	for (uint32_t i = 0; ok && i < m->n_headers; i++)
		ok = is_duplicate(m->headers, i, true) || header_matches(&m->headers[i], r);
	for (uint32_t i = 0; ok && i < m->n_queries; i++)
		ok = is_duplicate(m->queries, i, false) || query_matches(&m->queries[i], r);
	return ok;
}

struct candidate {
	const struct sl_route_object *route;
	uint32_t rule;
	const struct sl_route_match *match;
};

/* Whether a comes before b, step by step as the API lists them. */
static bool precedes(const struct candidate *a, const struct candidate *b)
{
	static const int class_of[] = {
		[SL_PATH_EXACT] = 0, [SL_PATH_REGEX] = 1, [SL_PATH_PREFIX] = 2};
	const struct sl_route_match *m = a->match, *n = b->match;
	size_t m_len = m->path.len - (m->path.ptr[m->path.len - 1] == '/');
	size_t n_len = n->path.len - (n->path.ptr[n->path.len - 1] == '/');
	uint32_t x, y;

	if (m->path_type != n->path_type)
		return class_of[m->path_type] < class_of[n->path_type];
	if (m->path_type == SL_PATH_PREFIX && m_len != n_len)
		return m_len > n_len;
	if (!m->method.len != !n->method.len)
		return m->method.len;
	x = effective(m->headers, m->n_headers, true);
	y = effective(n->headers, n->n_headers, true);
	if (x != y)
		return x > y;
	x = effective(m->queries, m->n_queries, false);
	y = effective(n->queries, n->n_queries, false);
	if (x != y)
		return x > y;
	if (a->route->object.meta.created_at != b->route->object.meta.created_at)
		return a->route->object.meta.created_at < b->route->object.meta.created_at;
	if (a->route != b->route)
		return strcmp(a->route->object.meta.name.ptr, b->route->object.meta.name.ptr) < 0;
	return a->rule < b->rule;
}

static struct candidate slow_match(const struct sl_model *m, const struct request *r)
{
	struct candidate best = {0};
	const struct sl_route_object *route;
	size_t pos = 0;

	while ((route = sl_map_next(&m->by_kind[SL_KIND_HTTPROUTE], &pos, NULL))) {
		for (uint32_t i = 0; i < route->n_rules; i++) {
			for (uint32_t j = 0; j < route->rules[i].n_matches; j++) {
				struct candidate c = {route, i, &route->rules[i].matches[j]};

				if (applies(c.match, r) && (!best.route || precedes(&c, &best)))
					best = c;
			}
		}
	}
	return best;
}

/* ---- the comparison ---- */

static void compare(struct compiled *c, const struct sl_model *m, uint64_t seed, uint32_t round)
{
	struct request r;
	struct candidate want;
	const struct sl_rule *have;
	char name[64] = "none";

	random_request(&r);
	want = slow_match(m, &r);
	have = match_request(c, "shop", r.text);
	if (want.route)
		(void)snprintf(name, sizeof(name), "HTTPRoute/shop/%.*s",
			       SL_STR_ARG(want.route->object.meta.name));
	if (!want.route)
		cr_assert_null(have, "seed %llu, round %u: '%s' matched %.*s rule %u",
			       (unsigned long long)seed, round, r.text, SL_STR_ARG(have->route),
			       have->index);
	else
		cr_assert(have && sl_str_eqc(have->route, name) && have->index == want.rule,
			  "seed %llu, round %u: '%s' should match %s rule %u, got %.*s rule %u",
			  (unsigned long long)seed, round, r.text, name, want.rule,
			  SL_STR_ARG(have ? have->route : SL_STR("none")), have ? have->index : 0);
}

Test(random, the_index_finds_what_a_scan_finds)
{
	const char *given = getenv("SLUICE_TEST_SEED");
	uint64_t seed = given ? strtoull(given, NULL, 10) : (uint64_t)time(NULL);

	printf("# SLUICE_TEST_SEED=%llu\n", (unsigned long long)seed);
	random_state = seed;
	for (uint32_t round = 0; round < ROUNDS; round++) {
		struct sl_model *m = model_with_services();
		uint32_t n = 1 + below(MAX_ROUTES);
		struct compiled c;

		for (uint32_t i = 0; i < n; i++)
			random_route(m, i);
		c = compile_model(m);
		for (uint32_t i = 0; i < REQUESTS; i++)
			compare(&c, m, seed, round);
		compiled_free(&c);
		sl_model_free(m);
	}
}
