/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <errno.h>
#include "base/alloc.h"
#include "base/buf.h"
#include "base/clock.h"
#include "fixture.h"
#include "snapshot/match_index.h"

static struct sl_addr addr(const char *text)
{
	struct sl_addr a = {0};

	cr_assert_eq(sl_addr_parse(sl_str_from(text), &a), 0, "%s", text);
	return a;
}

Test(compile, an_empty_model_is_an_empty_snapshot)
{
	struct sl_model *m = NULL;
	struct compiled c;
	struct sl_addr vip = addr("10.96.0.1:80");

	cr_assert_eq(sl_model_new(&m), 0);
	c = compile_model(m);
	cr_expect_eq(c.snap->generation, 7);
	cr_expect_eq(c.snap->n_rules, 0);
	cr_expect_eq(c.snap->plan.services.n, 0);
	cr_expect_null(sl_snapshot_frontend(c.snap, &vip));
	cr_expect_eq(c.report->routes.n, 0);
	compiled_free(&c);
	sl_model_free(m);
}

Test(compile, the_snapshot_outlives_the_model)
{
	struct sl_model *m = model_with_services();
	struct compiled c;

	model_add_route(
		m, "r",
		"[{'name':'one','matches':[{'path':{'value':'/a'}},{'headers':[{'type':"
		"'RegularExpression','name':'v','value':'x+'}]}],'backendRefs':[{'name':'v1',"
		"'port':80,'filters':[{'type':'RequestHeaderModifier','requestHeaderModifier':"
		"{'set':[{'name':'k','value':'v'}]}}]}]}]");
	c = compile_model(m);
	sl_model_free(m);
	c.report = sl_compile_report_free(c.report);
	cr_assert(sl_str_eqc(match_request(&c, "shop", "GET / v:xxx")->name, "one"));
	cr_assert(sl_str_eqc(
		match_request(&c, "shop", "GET /a")->backends[0].filters[0].headers.set[0].name,
		"k"));
	compiled_free(&c);
}

Test(compile, clients_of_a_namespace_with_consumer_routes_get_only_those)
{
	struct sl_model *m = model_with_services();
	struct compiled c;

	model_add_route(m, "producer", "[{'matches':[{'path':{'value':'/p'}}]}]");
	for (int i = 0; i < 9; i++) {
		char text[500];

		(void)snprintf(
			text, sizeof(text),
			"{'apiVersion':'gateway.networking.k8s.io/"
			"v1','kind':'HTTPRoute','metadata':"
			"{'name':'c','namespace':'team-%d'},'spec':{'parentRefs':[{'group':'','"
			"kind':"
			"'Service','name':'cart','namespace':'shop'}],'rules':[{'matches':[{'path':"
			"{'value':'/c%d'}}]}]}}",
			i, i);
		model_add(m, text);
	}
	c = compile_model(m);
	cr_expect_not_null(match_request(&c, "shop", "GET /p"));
	cr_expect_not_null(match_request(&c, "elsewhere", "GET /p"));
	cr_expect_not_null(match_request(&c, "", "GET /p"));
	for (int i = 0; i < 9; i++) {
		char client[20], request[20];

		(void)snprintf(client, sizeof(client), "team-%d", i);
		(void)snprintf(request, sizeof(request), "GET /c%d", i);
		cr_expect_null(match_request(&c, client, "GET /p"));
		cr_expect_not_null(match_request(&c, client, request));
		cr_expect_null(match_request(&c, "shop", request));
	}
	compiled_free(&c);
	sl_model_free(m);
}

/* Marks the cells of a table's rules; returns the number of rules. */
static uint32_t mark_cells(const struct sl_route_table *t, bool *cells, uint64_t *last_id)
{
	const struct sl_match **matches = NULL;
	const struct sl_rule *last = NULL;
	uint32_t n, n_rules = 0;

	cr_assert_eq(sl_match_index_list(t->index, &matches, &n), 0);
	for (uint32_t i = 0; i < n; i++) {
		const struct sl_rule *rule = matches[i]->rule;

		if (rule == last)
			continue;
		last = rule;
		n_rules++;
		cr_expect_neq(rule->id, *last_id);
		*last_id = rule->id;
		for (uint32_t j = 0; j < rule->n_backends; j++) {
			cr_expect_not(cells[rule->wrr_offset + j]);
			cells[rule->wrr_offset + j] = true;
		}
	}
	free(matches);
	return n_rules;
}

Test(compile, rules_and_balancing_cells_have_places_of_their_own)
{
	struct sl_model *m = model_with_services();
	bool cells[9] = {false};
	struct sl_pmap_iter it;
	const struct sl_part *p;
	uint64_t last_id = 0;
	uint32_t rules = 0;
	struct compiled c;

	model_add(
		m,
		"{'apiVersion':'v1','kind':'Service','metadata':{'name':'two','namespace':'shop'},"
		"'spec':{'clusterIP':'10.96.0.2','ports':[{'name':'a','port':80},{'name':'b','port'"
		":81}]}}");
	model_add(m, "{'apiVersion':'gateway.networking.k8s.io/"
		     "v1','kind':'HTTPRoute','metadata':{'name':'x',"
		     "'namespace':'shop'},'spec':{'parentRefs':[{'group':'','kind':'Service','name'"
		     ":'two'},"
		     "{'group':'','kind':'Service','name':'cart'}],'rules':[{'backendRefs':[{'name'"
		     ":'v1','port':80},"
		     "{'name':'v1','port':80}]},{},{'backendRefs':[{'name':'v1','port':80}]}]}}");
	c = compile_model(m);
	cr_assert_eq(c.snap->n_wrr, 9);
	it = sl_pmap_iterate(&c.snap->frontends);
	while ((p = sl_pmap_next(&it, NULL))) {
		const struct sl_frontend *f = (const struct sl_frontend *)p;

		rules += f->producer ? mark_cells(f->producer, cells, &last_id) : 0;
	}
	cr_expect_eq(rules, 9);
	cr_expect_eq(c.snap->n_rules, rules);
	for (uint32_t i = 0; i < 9; i++)
		cr_expect(cells[i]);
	compiled_free(&c);
	sl_model_free(m);
}

Test(compile, backends_name_their_upstreams)
{
	struct sl_model *m = model_with_services();
	const struct sl_upstream *u;
	const struct sl_rule *rule;
	struct compiled c;

	model_add(m, "{'apiVersion':'discovery.k8s.io/"
		     "v1','kind':'EndpointSlice','metadata':{'name':'v1-a',"
		     "'namespace':'shop','labels':{'kubernetes.io/"
		     "service-name':'v1'}},'addressType':'IPv4',"
		     "'ports':[{'name':'','port':8080}],'endpoints':[{'addresses':['10.1.0.1']},"
		     "{'addresses':['10.1.0.2'],'conditions':{'ready':false}}]}");
	model_add_route(m, "r",
			"[{'backendRefs':[{'name':'v1','port':80},{'name':'v1','port':81}]}]");
	c = compile_model(m);
	rule = match_request(&c, "shop", "GET /");
	cr_assert_eq(rule->n_backends, 2);
	u = sl_snapshot_upstream(c.snap, rule->backends[0].name);
	cr_assert_not_null(u);
	cr_expect_eq(u->n_usable, 1);
	cr_expect_eq(u->n_endpoints, 2);
	cr_expect_eq(rule->backends[1].state, SL_BACKEND_INVALID);
	cr_expect_null(sl_snapshot_upstream(c.snap, rule->backends[1].name));
	cr_expect(sl_str_eqc(find_condition(&c, "r", "ResolvedRefs")->reason, "BackendNotFound"));
	cr_expect(sl_str_eqc(find_condition(&c, "r", "Accepted")->status, "True"));
	cr_expect_null(find_condition(&c, "r", "PartiallyInvalid"));
	compiled_free(&c);
	sl_model_free(m);
}

/* The decoder may let an extension through for us to judge. */
Test(compile, an_unknown_extension_answers_500_and_is_never_skipped)
{
	struct sl_model *m = model_with_services();
	struct sl_filter_spec extension = {.type = SL_FILTER_UNSUPPORTED,
					   .type_name = SL_STR("ExtensionRef")};
	struct sl_route_object *route;
	const struct sl_rule *rule;
	struct compiled c;

	model_add_route(m, "r",
			"[{'matches':[{'path':{'value':'/"
			"guarded'}}],'backendRefs':[{'name':'v1','port':80}]},"
			"{'backendRefs':[{'name':'v1','port':80}]},{'matches':[{'path':{'value':'/"
			"share'}}],"
			"'backendRefs':[{'name':'v1','port':80},{'name':'v1','port':80}]}]");
	route = (struct sl_route_object *)sl_model_get(m, SL_KIND_HTTPROUTE, SL_STR("shop"),
						       SL_STR("r"));
	route->rules[0].filters = &extension;
	route->rules[0].n_filters = 1;
	route->rules[2].backend_refs[1].filters = &extension;
	route->rules[2].backend_refs[1].n_filters = 1;
	c = compile_model(m);
	rule = match_request(&c, "shop", "GET /guarded");
	cr_assert_eq(rule->index, 0);
	cr_expect_eq(rule->total_weight, 0);
	cr_expect_eq(rule->n_backends, 0);
	cr_expect_eq(rule->n_filters, 0);
	rule = match_request(&c, "shop", "GET /share");
	cr_expect_eq(rule->backends[0].state, SL_BACKEND_OK);
	cr_expect_eq(rule->backends[1].state, SL_BACKEND_INVALID);
	cr_expect(sl_str_eqc(find_condition(&c, "r", "Accepted")->status, "True"));
	cr_expect(sl_str_eqc(find_condition(&c, "r", "ResolvedRefs")->reason, "InvalidKind"));
	compiled_free(&c);
	sl_model_free(m);
}

Test(compile, a_message_lists_no_more_than_eight_problems)
{
	struct sl_model *m = model_with_services();
	struct sl_str message;
	struct compiled c;

	model_add_route(
		m, "r",
		"[{'backendRefs':[{'name':'a1','port':1},{'name':'a2','port':1},{'name':'a3','port'"
		":1},"
		"{'name':'a4','port':1},{'name':'a5','port':1},{'name':'a6','port':1},{'name':'a7',"
		"'port':1},{'name':'a8','port':1},{'name':'a9','port':1},{'name':'a10','port':1}]}"
		"]");
	c = compile_model(m);
	message = find_condition(&c, "r", "ResolvedRefs")->message;
	cr_expect(memmem(message.ptr, message.len, "shop/a8 ", 8));
	cr_expect(!memmem(message.ptr, message.len, "shop/a9 ", 8));
	cr_expect(memmem(message.ptr, message.len, "; and 2 more", 12));
	compiled_free(&c);
	sl_model_free(m);
}

/* A model that reaches every step that allocates. */
static struct sl_model *rich_model(void)
{
	struct sl_model *m = model_with_services();

	model_add(
		m,
		"{'apiVersion':'v1','kind':'Service','metadata':{'name':'dual','namespace':'shop',"
		"'annotations':{'sluice.dev/"
		"failure-policy':'bad'}},'spec':{'clusterIP':'10.96.0.5',"
		"'clusterIPs':['10.96.0.5','fd00::5'],'ports':[{'name':'a','port':80},{'name':'b','"
		"port':53,"
		"'protocol':'UDP'}]}}");
	model_add(m, "{'apiVersion':'discovery.k8s.io/"
		     "v1','kind':'EndpointSlice','metadata':{'name':'d','namespace':"
		     "'shop','labels':{'kubernetes.io/"
		     "service-name':'dual'}},'addressType':'IPv4','ports':[{'name':'a',"
		     "'port':8080}],'endpoints':[{'addresses':['10.1.0.1'],'nodeName':'n','"
		     "targetRef':{'kind':'Pod',"
		     "'name':'p'}},{'addresses':['10.1.0.2']}]}");
	model_add(m, "{'apiVersion':'v1','kind':'Pod','metadata':{'name':'p','namespace':'shop','"
		     "uid':'u'},"
		     "'spec':{},'status':{'phase':'Running','podIP':'10.1.0.1'}}");
	model_add(m, "{'apiVersion':'gateway.networking.k8s.io/"
		     "v1','kind':'HTTPRoute','metadata':{'name':'c',"
		     "'namespace':'team'},'spec':{'parentRefs':[{'group':'','kind':'Service','name'"
		     ":'dual','namespace':"
		     "'shop'},{'group':'core','kind':'Service','name':'dual'},{'group':'','kind':'"
		     "Service','name':'no'}],"
		     "'rules':[{'backendRefs':[{'name':'dual','namespace':'shop','port':80}]}]}}");
	model_add_route(m, "r",
			"[{'matches':[{'path':{'type':'RegularExpression','value':'/"
			"a.*'}},{'headers':[{'type':"
			"'RegularExpression','name':'h','value':'/"
			"a.*'}],'queryParams':[{'name':'q','value':'v'}]},"
			"{'path':{'type':'Exact','value':'/"
			"'}}],'backendRefs':[{'name':'v1','port':80,'filters':[{"
			"'type':'URLRewrite','urlRewrite':{'hostname':'h.test'}}]},{'name':'no','"
			"port':80}],"
			"'filters':[{'type':'RequestHeaderModifier','requestHeaderModifier':{'set':"
			"[{'name':'a',"
			"'value':'b'}],'add':[{'name':'c','value':'d'}],'remove':['e']}}]},{'"
			"filters':[{'type':"
			"'RequestRedirect','requestRedirect':{'path':{'type':'ReplacePrefixMatch',"
			"'replacePrefixMatch':'/"
			"x'}}}]},{'matches':[{'path':{'type':'RegularExpression','value':"
			"'/('}}]}]");
	model_add(
		m,
		"{'apiVersion':'gateway.networking.k8s.io/v1','kind':'HTTPRoute','metadata':{"
		"'name':'s','namespace':'team','annotations':{'sluice.dev/shadow':'yes'}},'spec':{"
		"'parentRefs':[{'group':'','kind':'Service','name':'dual','namespace':'shop'}],"
		"'rules':[{'backendRefs':[{'name':'dual','namespace':'shop','port':80}]}]}}");
	model_add(
		m,
		"{'apiVersion':'policy.sluice.dev/v1alpha1','kind':'TrafficPolicy','metadata':{"
		"'name':'p','namespace':'shop'},'spec':{'targetRefs':[{'group':'gateway.networking."
		"k8s.io','kind':'HTTPRoute','name':'r'},{'group':'gateway.networking.k8s.io','kind'"
		":"
		"'GRPCRoute','name':'none'}],'circuitBreaker':{'maxRequests':9}}}");
	/* It takes precedence over the one before. */
	model_add_route_of(m, "GRPCRoute", "g",
			   "[{'matches':[{'method':{'service':'S','method':'M'}},{'method':{'type':"
			   "'RegularExpression','service':'S.*','method':'M.*'},'headers':[{'name':"
			   "'h','value':'v'}]}],'backendRefs':[{'name':'v1','port':80}]}]");
	return m;
}

Test(compile, each_allocation_fails_once)
{
	const struct sl_compile_opts opts = {.failure_policy = SL_FAIL_OPEN};
	struct sl_model *m = rich_model();
	size_t total, n_failed = 0;
	struct sl_snapshot *snap = NULL;
	struct sl_compile_report *report = NULL;

	(void)sl_alloc_fail_after(-1);
	cr_assert_eq(sl_compile(m, &opts, &snap, &report), 0);
	total = sl_alloc_fail_after(-1);
	snap = sl_snapshot_unref(snap);
	report = sl_compile_report_free(report);
	for (size_t n = 0; n < total; n++) {
		int r;

		(void)sl_alloc_fail_after((long)n);
		r = sl_compile(m, &opts, &snap, &report);
		(void)sl_alloc_fail_after(-1);
		if (r) {
			cr_assert_eq(r, -ENOMEM, "allocation %zu: %d", n, r);
			cr_assert(!snap && !report);
			n_failed++;
			continue;
		}
		/* Only diags forget what they cannot keep: everything else must be whole. */
		cr_expect_eq(snap->n_rules, 5);
		cr_expect_eq(snap->plan.services.n, 3);
		cr_expect_eq(report->routes.n, 5);
		cr_expect_eq(snap->upstreams.n, 5); /* one of them is the route's own */
		cr_expect_eq(report->diags.n + report->diags.n_dropped, 3);
		snap = sl_snapshot_unref(snap);
		report = sl_compile_report_free(report);
	}
	cr_expect_gt(n_failed, 30);
	sl_model_free(m);
}

Test(compile, ten_thousand_routes_on_one_service)
{
	enum { N = 10000 };
	struct sl_model *m = model_with_services();
	struct compiled c;
	uint64_t start, took;

	for (int i = 0; i < N; i++) {
		char name[20], rules[300];

		(void)snprintf(name, sizeof(name), "r%d", i);
		(void)snprintf(
			rules, sizeof(rules),
			"[{'matches':[{'path':{'value':'/%s%d'},'headers':[{'name':"
			"'tenant','value':'t%d'}]}],'backendRefs':[{'name':'v1','port':80}]}]",
			i % 2 ? "p" : "", i % 2 ? i : 0, i);
		model_add_route(m, name, rules);
	}
	start = sl_clock_now_ns();
	c = compile_model(m);
	took = sl_clock_now_ns() - start;
	cr_log_info("compiled in %llu us", (unsigned long long)took / 1000);
	for (int i = 0; i < N; i += 7) {
		char request[60], want[40];

		(void)snprintf(request, sizeof(request), "GET /%s%d/x tenant:t%d", i % 2 ? "p" : "",
			       i % 2 ? i : 0, i);
		(void)snprintf(want, sizeof(want), "HTTPRoute/shop/r%d", i);
		cr_assert(sl_str_eqc(match_request(&c, "shop", request)->route, want), "%s",
			  request);
	}
	compiled_free(&c);
	sl_model_free(m);
}
