/* SPDX-License-Identifier: Apache-2.0 */
/* Which TLSRoute or TCPRoute takes a connection. */
#include <criterion/criterion.h>
#include "fixture.h"
#include "snapshot/explain.h"

static const struct sl_route_table *table_of(const struct compiled *c)
{
	const struct sl_frontend *f;
	struct sl_addr vip;

	cr_assert_eq(sl_addr_parse(SL_STR("10.96.0.1:80"), &vip), 0);
	f = sl_snapshot_frontend(c->snap, &vip);
	cr_assert_not_null(f);
	cr_assert_not_null(f->producer);
	return f->producer;
}

/* A TLSRoute shop/@name; created: its day of 2026-01, or 0. */
static void add_tls(struct sl_model *m, const char *name, int created, const char *hostnames)
{
	char date[64] = "", text[700];

	if (created)
		(void)snprintf(date, sizeof(date), ",'creationTimestamp':'2026-01-%02dT00:00:00Z'",
			       created);
	(void)snprintf(text, sizeof(text),
		       "{'apiVersion':'gateway.networking.k8s.io/v1','kind':'TLSRoute','metadata':"
		       "{'name':'%s','namespace':'shop'%s},'spec':{'parentRefs':[{'group':'','kind'"
		       ":'Service','name':'cart'}],'hostnames':[%s],'rules':[{'backendRefs':[{"
		       "'name':'v1','port':80}]}]}}",
		       name, date, hostnames);
	model_add(m, text);
}

/* The route's name; "" when none takes it. What people are told has to be the same. */
static const char *taken_by(struct compiled *c, const char *name)
{
	const struct sl_route_table *t = table_of(c);
	const struct sl_rule *rule = sl_route_table_match_name(t, sl_str_from(name));
	struct sl_request req = {0};
	struct sl_explain e;

	cr_assert_eq(sl_route_table_explain(t, &req, sl_str_from(name), &c->arena, &e), 0);
	cr_expect_eq(e.rule, rule, "%s", name);
	return rule ? rule->route.ptr + strlen("TLSRoute/shop/") : "";
}

Test(precedence_conn, names)
{
	static const struct {
		const char *name, *want;
	} cases[] = {
		{"a.example.com", "exact"},
		{"b.example.com", "wildcard"},
		{"x.b.example.com", "longer"},
		{"x.y.b.example.com", "longer"},
		{"x.a.example.com", "wildcard"},
		{"example.com", "bare"},
		{"xexample.com", ""},
		{"com", ""},
		{"example.org", ""},
		{"a.example.com.evil", ""},
		{"a", ""},
		{"longest.example.net", "other"},
	};
	struct sl_model *m = model_with_services();
	struct compiled c;

	add_tls(m, "wildcard", 0, "'*.example.com'");
	add_tls(m, "exact", 0, "'a.example.com'");
	add_tls(m, "longer", 0, "'*.b.example.com'");
	add_tls(m, "bare", 0, "'example.com'");
	add_tls(m, "other", 0, "'*.example.net','longest.example.net'");
	c = compile_model(m);
	cr_assert_eq(table_of(&c)->kind, SL_ROUTE_TLS);
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		cr_expect_str_eq(taken_by(&c, cases[i].name), cases[i].want, "%s", cases[i].name);
	compiled_free(&c);
	sl_model_free(m);
}

Test(precedence_conn, of_one_name_the_oldest_route_then_the_first_by_name)
{
	static const struct {
		int a, b;
		const char *want;
	} cases[] = {{2, 1, "b"}, {1, 2, "a"}, {1, 1, "a"}, {0, 1, "b"}, {0, 0, "a"}};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct sl_model *m = model_with_services();
		struct compiled c;

		add_tls(m, "b", cases[i].b, "'x.example','*.example'");
		add_tls(m, "a", cases[i].a, "'x.example','*.example'");
		c = compile_model(m);
		cr_expect_str_eq(taken_by(&c, "x.example"), cases[i].want, "case %zu", i);
		cr_expect_str_eq(taken_by(&c, "y.example"), cases[i].want, "case %zu", i);
		compiled_free(&c);
		sl_model_free(m);
	}
}

Test(precedence_conn, many_names_are_found)
{
	struct sl_model *m = model_with_services();
	struct compiled c;

	for (int i = 0; i < 3000; i++) {
		char name[16], hosts[80];

		(void)snprintf(name, sizeof(name), "r%d", i);
		(void)snprintf(hosts, sizeof(hosts), "'h%d.example','*.w%d.example','same.example'",
			       i, i);
		add_tls(m, name, 0, hosts);
	}
	c = compile_model(m);
	for (int i = 0; i < 3000; i += 101) {
		const struct sl_rule *rule;
		char name[32], want[32];

		(void)snprintf(want, sizeof(want), "TLSRoute/shop/r%d", i);
		(void)snprintf(name, sizeof(name), "h%d.example", i);
		rule = sl_route_table_match_name(table_of(&c), sl_str_from(name));
		cr_assert(rule && sl_str_eqc(rule->route, want), "%s", name);
		(void)snprintf(name, sizeof(name), "x.w%d.example", i);
		rule = sl_route_table_match_name(table_of(&c), sl_str_from(name));
		cr_assert(rule && sl_str_eqc(rule->route, want), "%s", name);
	}
	cr_expect_str_eq(taken_by(&c, "same.example"), "r0");
	compiled_free(&c);
	sl_model_free(m);
}

Test(precedence_conn, a_name_of_any_length_is_looked_up)
{
	struct sl_model *m = model_with_services();
	char name[SL_SERVER_NAME_MAX + 1];
	struct compiled c;

	add_tls(m, "r", 0, "'*.a'");
	c = compile_model(m);
	for (size_t n = 0; n <= SL_SERVER_NAME_MAX; n++) {
		for (size_t i = 0; i < n; i++)
			name[i] = (n - i) % 2 ? 'a' : '.';
		name[n] = '\0';
		cr_expect_str_eq(taken_by(&c, name), n > 2 ? "r" : "", "%zu", n);
	}
	compiled_free(&c);
	sl_model_free(m);
}

Test(precedence_conn, a_route_without_usable_rule_takes_nothing)
{
	struct sl_model *m = model_with_services();
	struct compiled c;

	model_add_route_of(m, "TCPRoute", "a", "[{}]");
	c = compile_model(m);
	cr_expect_null(sl_route_table_first(table_of(&c)));
	cr_expect_eq(table_of(&c)->fallback_status, 500);
	cr_expect(sl_str_eqc(find_condition(&c, "a", "Accepted")->status, "False"));
	compiled_free(&c);
	sl_model_free(m);
}

Test(precedence_conn, the_oldest_tcproute_carries_the_traffic_and_all_are_accepted)
{
	static const char backends[] = "[{'backendRefs':[{'name':'v1','port':80}]}]";
	struct sl_model *m = model_with_services();
	const struct sl_rule *rule;
	struct compiled c;

	model_add_route_of(m, "TCPRoute", "b", backends);
	model_add_route_of(m, "TCPRoute", "a", backends);
	model_add(m, "{'apiVersion':'gateway.networking.k8s.io/v1','kind':'TCPRoute','metadata':"
		     "{'name':'z','namespace':'shop','creationTimestamp':'2026-01-01T00:00:00Z'},"
		     "'spec':{'parentRefs':[{'group':'','kind':'Service','name':'cart'}],'rules':[{"
		     "'backendRefs':[{'name':'v1','port':80}]}]}}");
	c = compile_model(m);
	rule = sl_route_table_first(table_of(&c));
	cr_assert(rule && sl_str_eqc(rule->route, "TCPRoute/shop/z"));
	for (const char *name = "a\0b\0z\0"; *name; name += 2)
		cr_expect(sl_str_eqc(find_condition(&c, name, "Accepted")->status, "True"), "%s",
			  name);
	compiled_free(&c);
	sl_model_free(m);
}

Test(precedence_conn, kinds_in_their_order)
{
	static const struct {
		const char *kind, *name, *rules;
		enum sl_route_kind table;
	} kinds[] = {
		{"TCPRoute", "tcp", "[{'backendRefs':[{'name':'v1','port':80}]}]", SL_ROUTE_TCP},
		{"TLSRoute", "tls", NULL, SL_ROUTE_TLS},
		{"HTTPRoute", "http", "[{}]", SL_ROUTE_HTTP},
		{"GRPCRoute", "grpc", "[{}]", SL_ROUTE_GRPC},
	};
	struct sl_model *m = model_with_services();

	/* Each that is added takes the port from those before. */
	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
		struct compiled c;

		if (kinds[i].rules)
			model_add_route_of(m, kinds[i].kind, kinds[i].name, kinds[i].rules);
		else
			add_tls(m, kinds[i].name, 0, "'a.example'");
		c = compile_model(m);
		cr_expect_eq(table_of(&c)->kind, kinds[i].table, "%s", kinds[i].kind);
		for (size_t k = 0; k <= i; k++) {
			const struct sl_condition *cond =
				find_condition(&c, kinds[k].name, "Accepted");

			cr_expect(sl_str_eqc(cond->reason, k == i ? "Accepted" : "Conflicted"),
				  "%s beside %s: %.*s", kinds[k].kind, kinds[i].kind,
				  SL_STR_ARG(cond->reason));
		}
		compiled_free(&c);
	}
	sl_model_free(m);
}
