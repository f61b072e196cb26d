/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a configuration of N routes costs: a full compile, one changed route or endpoint, and the
 * matching of one request, for several shapes of routes. Prints a table; judges nothing.
 */
#include <inttypes.h>
#include <stdio.h>
#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "compile/compile.h"
#include "snapshot/match.h"

enum { EDITS = 40, MATCH_ROUNDS = 20000 };

/* How the routes of one Service differ. */
enum shape { EXACT, PREFIX, HEADER, QUERY, METHOD, REGEX_HEAD, REGEX_TAIL, N_SHAPES };

static const char *const shape_names[] = {
	"exact paths",	  "path prefixes",	 "one path, by header", "one path, by query",
	"header, method", "regex, by its begin", "regex, by its end",
};

static void check(int r, const char *what)
{
	if (r) {
		fprintf(stderr, "%s: %d\n", what, r);
		exit(1);
	}
}

static struct sl_object *object_new(enum sl_kind kind, const char *fmt, unsigned i)
{
	struct sl_object *o = NULL;
	char name[64];

	check(sl_object_new(kind, &o), "object");
	(void)snprintf(name, sizeof(name), fmt, i);
	o->meta.namespace = SL_STR("shop");
	o->meta.created_at = INT64_MAX;
	check(sl_arena_str(&o->arena, sl_str_from(name), &o->meta.name), "name");
	return o;
}

static void put(struct sl_model *m, struct sl_object *o)
{
	check(sl_model_put(m, o), "put");
	sl_object_unref(o);
}

static struct sl_str text(struct sl_object *o, const char *fmt, unsigned i)
{
	struct sl_str s;
	char buf[64];

	(void)snprintf(buf, sizeof(buf), fmt, i);
	check(sl_arena_str(&o->arena, sl_str_from(buf), &s), "text");
	return s;
}

static void add_service(struct sl_model *m, unsigned i)
{
	struct sl_object *o = object_new(SL_KIND_SERVICE, "s-%u", i);
	struct sl_service *s = (struct sl_service *)o;

	s->n_ports = s->n_cluster_ips = 1;
	s->ports = sl_arena_new(&o->arena, struct sl_service_port);
	s->ports->port = s->ports->target_port = 80;
	s->cluster_ips = sl_arena_new(&o->arena, struct sl_addr);
	s->cluster_ips->ip[10] = s->cluster_ips->ip[11] = 0xff;
	s->cluster_ips->ip[12] = 10;
	s->cluster_ips->ip[13] = (uint8_t)(i >> 16);
	s->cluster_ips->ip[14] = (uint8_t)(i >> 8);
	s->cluster_ips->ip[15] = (uint8_t)i;
	put(m, o);
}

/* The last address says which version it is. */
static void add_slice(struct sl_model *m, unsigned i, unsigned n, unsigned version)
{
	struct sl_object *o = object_new(SL_KIND_ENDPOINTSLICE, "s-%u", i);
	struct sl_endpointslice *s = (struct sl_endpointslice *)o;

	s->service = text(o, "s-%u", i);
	s->n_ports = 1;
	s->ports = sl_arena_new(&o->arena, struct sl_slice_port);
	s->ports->port = 8080;
	s->n_endpoints = n;
	s->endpoints = sl_arena_new_n(&o->arena, struct sl_slice_endpoint, n);
	for (unsigned j = 0; j < n; j++) {
		struct sl_addr *a = sl_arena_new(&o->arena, struct sl_addr);
		unsigned host = i * n + j;

		a->ip[10] = a->ip[11] = 0xff;
		a->ip[12] = j == n - 1 ? (uint8_t)(172 + version % 2) : 172;
		a->ip[13] = (uint8_t)(host >> 16);
		a->ip[14] = (uint8_t)(host >> 8);
		a->ip[15] = (uint8_t)host;
		s->endpoints[j] = (struct sl_slice_endpoint){
			.addresses = a, .n_addresses = 1, .ready = true, .serving = true};
	}
	put(m, o);
}

static void value_set(struct sl_object *o, struct sl_name_match **list, uint32_t *n,
		      const char *name, struct sl_str value)
{
	*list = sl_arena_new(&o->arena, struct sl_name_match);
	**list = (struct sl_name_match){.name = sl_str_from(name), .value = value};
	*n = 1;
}

static void match_set(struct sl_object *o, struct sl_route_match *m, enum shape shape, unsigned i)
{
	m->path_type = SL_PATH_PREFIX;
	m->path = SL_STR("/");
	switch (shape) {
	case EXACT:
		m->path_type = SL_PATH_EXACT;
		m->path = text(o, "/items/%u", i);
		return;
	case PREFIX:
		m->path = text(o, "/items/%u/", i);
		return;
	case HEADER:
		value_set(o, &m->headers, &m->n_headers, "x-tenant", text(o, "t-%u", i));
		return;
	case QUERY:
		value_set(o, &m->queries, &m->n_queries, "tenant", text(o, "t-%u", i));
		return;
	case METHOD:
		value_set(o, &m->headers, &m->n_headers, "x-tenant", text(o, "t-%u", i / 2));
		m->method = i % 2 ? SL_STR("GET") : SL_STR("POST");
		return;
	case REGEX_HEAD:
		m->path_type = SL_PATH_REGEX;
		m->path = text(o, "/items/%u/[a-z]+", i);
		return;
	case REGEX_TAIL:
		m->path_type = SL_PATH_REGEX;
		m->path = text(o, "/[a-z]+/items-%u", i);
		return;
	case N_SHAPES:
		break;
	}
}

static void add_route(struct sl_model *m, enum shape shape, unsigned i, unsigned service,
		      uint32_t weight)
{
	struct sl_object *o = object_new(SL_KIND_HTTPROUTE, "r-%u", i);
	struct sl_route_object *route = (struct sl_route_object *)o;
	struct sl_route_rule *rule = sl_arena_new(&o->arena, struct sl_route_rule);
	struct sl_backend_ref *ref = sl_arena_new(&o->arena, struct sl_backend_ref);

	route->n_parent_refs = route->n_rules = 1;
	route->parent_refs = sl_arena_new(&o->arena, struct sl_parent_ref);
	*route->parent_refs = (struct sl_parent_ref){.group = SL_STR(""),
						     .kind = SL_STR("Service"),
						     .namespace = SL_STR("shop"),
						     .name = text(o, "s-%u", service)};
	route->rules = rule;
	rule->request_timeout_ns = rule->backend_request_timeout_ns = SL_DURATION_UNSET;
	rule->n_matches = rule->n_backend_refs = 1;
	rule->matches = sl_arena_new(&o->arena, struct sl_route_match);
	match_set(o, rule->matches, shape, i);
	*ref = (struct sl_backend_ref){.group = SL_STR(""),
				       .kind = SL_STR("Service"),
				       .namespace = SL_STR("shop"),
				       .name = text(o, "s-%u", service),
				       .port = 80,
				       .weight = weight};
	rule->backend_refs = ref;
	put(m, o);
}

/* ---- measuring ---- */

static int ns_cmp(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

struct times {
	uint64_t full_ns;
	uint64_t edit_ns[EDITS]; /* sorted */
};

/* Compiles m, then again after each edit. *ret: the last snapshot. */
static void measure(struct sl_model *m, void (*edit)(struct sl_model *m, void *arg, unsigned i),
		    void *arg, struct times *t, struct sl_snapshot **ret)
{
	struct sl_compile_opts opts = {.failure_policy = SL_FAIL_OPEN};
	struct sl_compile_report *report = NULL;
	struct sl_compiler *compiler = NULL;
	uint64_t from = sl_clock_now_ns();

	check(sl_compiler_new(&compiler), "compiler");
	check(sl_compiler_run(compiler, m, &opts, ret, &report), "compile");
	t->full_ns = sl_clock_now_ns() - from;
	for (unsigned i = 0; i < EDITS; i++) {
		struct sl_compile_report *next = NULL;
		struct sl_snapshot *snap = NULL;

		edit(m, arg, i);
		from = sl_clock_now_ns();
		check(sl_compiler_run(compiler, m, &opts, &snap, &next), "compile");
		sl_snapshot_unref(*ret);
		sl_compile_report_free(report);
		t->edit_ns[i] = sl_clock_now_ns() - from;
		*ret = snap;
		report = next;
	}
	sl_compile_report_free(report);
	sl_compiler_free(compiler);
	qsort(t->edit_ns, EDITS, sizeof(t->edit_ns[0]), ns_cmp);
}

static void print(const char *name, const struct times *t)
{
	printf("%-22s full %9.3f ms   one edit %8.3f ms (median), %8.3f ms (worst)", name,
	       (double)t->full_ns / 1e6, (double)t->edit_ns[EDITS / 2] / 1e6,
	       (double)t->edit_ns[EDITS - 1] / 1e6);
}

/* ---- routes on one Service ---- */

struct routes {
	enum shape shape;
	unsigned n;
};

static void edit_route(struct sl_model *m, void *arg, unsigned i)
{
	const struct routes *r = arg;

	add_route(m, r->shape, i * 7919 % r->n, 0, i + 2);
}

static void request_for(enum shape shape, unsigned i, char buf[128], struct sl_request *req,
			struct sl_arena *arena)
{
	static const char *const paths[] = {
		"/items/%u", "/items/%u/x", "/x", "/x", "/x", "/items/%u/abc", "/abc/items-%u",
	};
	struct sl_str value;

	*req = (struct sl_request){.method = i % 2 ? SL_METHOD_GET : SL_METHOD_POST};
	if (shape == HEADER || shape == METHOD) {
		check(sl_arena_printf(arena, &value, "t-%u", shape == METHOD ? i / 2 : i), "value");
		check(sl_headers_append(&req->headers, arena, SL_STR("X-Tenant"), value), "header");
	}
	if (shape == QUERY)
		check(sl_arena_printf(arena, &req->query, "tenant=t-%u", i), "query");
		/* One format for each shape, all with the same argument. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	(void)snprintf(buf, 128, paths[shape], i);
#pragma GCC diagnostic pop
	req->path = sl_str_from(buf);
}

static double match_ns(const struct sl_snapshot *snap, const struct routes *r)
{
	struct sl_match_scratch *scratch = NULL;
	struct sl_arena arena = SL_ARENA_INIT(4096);
	const struct sl_frontend *f;
	struct sl_addr vip;
	uint64_t total = 0;
	unsigned rounds = MATCH_ROUNDS;

	check(sl_addr_parse(SL_STR("10.0.0.0:80"), &vip), "address");
	check(sl_match_scratch_new(&scratch), "scratch");
	f = sl_snapshot_frontend(snap, &vip);
	for (unsigned i = 0; i < rounds; i++) {
		struct sl_request req;
		char buf[128];
		uint64_t from;

		sl_arena_reset(&arena);
		request_for(r->shape, i * 7919 % r->n, buf, &req, &arena);
		from = sl_clock_now_ns();
		if (!sl_route_table_match(f->producer, &req, req.path, scratch, &arena))
			check(1, "no rule matches");
		total += sl_clock_now_ns() - from;
		if (total > 2 * SL_NS_PER_S)
			rounds = i + 1;
	}
	sl_match_scratch_free(scratch);
	sl_arena_deinit(&arena);
	return (double)total / rounds;
}

static void bench_routes(enum shape shape, unsigned n)
{
	struct routes r = {shape, n};
	struct sl_snapshot *snap = NULL;
	struct sl_model *m = NULL;
	struct times t;

	check(sl_model_new(&m), "model");
	add_service(m, 0);
	add_slice(m, 0, 3, 0);
	for (unsigned i = 0; i < n; i++)
		add_route(m, shape, i, 0, 1);
	measure(m, edit_route, &r, &t, &snap);
	printf("%6u routes  ", n);
	print(shape_names[shape], &t);
	printf("   match %8.0f ns\n", match_ns(snap, &r));
	sl_snapshot_unref(snap);
	sl_model_free(m);
}

/* ---- a cluster ---- */

enum { SERVICES = 10000, ENDPOINTS_EACH = 5, CLUSTER_ROUTES = 5000 };

static void edit_cluster_route(struct sl_model *m, void *arg, unsigned i)
{
	add_route(m, PREFIX, i * 97 % CLUSTER_ROUTES, i * 97 % CLUSTER_ROUTES, i + 2);
}

static void edit_endpoint(struct sl_model *m, void *arg, unsigned i)
{
	add_slice(m, i * 97 % SERVICES, ENDPOINTS_EACH, i + 1);
}

static void bench_cluster(void)
{
	struct sl_snapshot *snap = NULL;
	struct sl_model *m = NULL;
	struct times t;

	check(sl_model_new(&m), "model");
	for (unsigned i = 0; i < SERVICES; i++) {
		add_service(m, i);
		add_slice(m, i, ENDPOINTS_EACH, 0);
	}
	for (unsigned i = 0; i < CLUSTER_ROUTES; i++)
		add_route(m, PREFIX, i, i, 1);
	printf("%u Services, %u endpoints, %u routes\n", SERVICES, SERVICES * ENDPOINTS_EACH,
	       CLUSTER_ROUTES);
	measure(m, edit_cluster_route, NULL, &t, &snap);
	print("  route", &t);
	sl_snapshot_unref(snap);
	measure(m, edit_endpoint, NULL, &t, &snap);
	print("\n  endpoint", &t);
	printf("\n");
	sl_snapshot_unref(snap);
	sl_model_free(m);
}

int main(void)
{
	static const unsigned sizes[] = {10, 10000};

	for (int shape = EXACT; shape < N_SHAPES; shape++) {
		for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++)
			bench_routes((enum shape)shape, sizes[i]);
	}
	bench_cluster();
	return 0;
}
