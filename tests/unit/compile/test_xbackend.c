/* SPDX-License-Identifier: Apache-2.0 */
/* XBackends as backends of routes. */
#include <criterion/criterion.h>
#include <errno.h>
#include "base/alloc.h"
#include "fixture.h"

#define HEAD                                          \
	"{'apiVersion':'gateway.networking.x-k8s.io/" \
	"v1alpha1','kind':'XBackend','metadata':{'name':"
#define REF(name) "{'group':'gateway.networking.x-k8s.io','kind':'XBackend','name':'" name "'}"
#define TO(ref)	  "[{'backendRefs':[" ref "]}]"

/* more: further members of the spec. */
static void add_with(struct sl_model *m, const char *spec, const char *more)
{
	char text[512];

	(void)snprintf(text, sizeof(text), "%s%s}}", spec, more);
	model_add(m, text);
}

static void add_host(struct sl_model *m, const char *more)
{
	add_with(m,
		 HEAD "'pay','namespace':'shop'},'spec':{'type':'ExternalHostname',"
		      "'externalHostname':{'hostname':'api.example'},'port':{'number':443}",
		 more);
}

static void add_pods_with(struct sl_model *m, const char *more)
{
	add_with(m,
		 HEAD "'pods','namespace':'shop'},'spec':{'type':'EndpointSelector',"
		      "'endpointSelector':{'matchLabels':{'app':'pay'}},'port':{'number':80}",
		 more);
}

static void add_pods(struct sl_model *m)
{
	add_pods_with(m, "");
}

static void add_pod(struct sl_model *m, const char *name, const char *ip, const char *labels,
		    const char *status)
{
	char text[512];

	(void)snprintf(text, sizeof(text),
		       "{'apiVersion':'v1','kind':'Pod','metadata':{'name':'%s','namespace':'shop',"
		       "'labels':{%s}},'status':{'podIP':'%s'%s}}",
		       name, labels, ip, status);
	model_add(m, text);
}

static struct sl_hosts answer(const char *ip)
{
	struct sl_hosts hosts = SL_HOSTS_INIT;
	struct sl_host *h;
	struct sl_addr a;

	cr_assert_eq(sl_addr_parse_ip(sl_str_from(ip), 0, &a), 0);
	cr_assert_eq(sl_host_new(SL_STR("api.example"), &a, 1, &h), 0);
	cr_assert_eq(sl_hosts_put(&hosts, h), 0);
	return hosts;
}

static const struct sl_upstream *upstream(const struct sl_snapshot *s, const char *key)
{
	return sl_snapshot_upstream(s, sl_str_from(key));
}

static void expect_condition(const struct compiled *c, const char *route, const char *reason)
{
	const struct sl_condition *refs = find_condition(c, route, "ResolvedRefs");

	cr_assert_not_null(refs);
	cr_expect(sl_str_eqc(refs->reason, reason), "%s: %.*s: %.*s", route,
		  SL_STR_ARG(refs->reason), SL_STR_ARG(refs->message));
}

Test(xbackend, a_host_is_where_dns_says)
{
	struct sl_compile_opts opts = {.failure_policy = SL_FAIL_OPEN};
	struct sl_model *m = model_with_services();
	struct sl_hosts first = answer("192.0.2.1"), second = answer("192.0.2.2");
	const char *addresses[] = {NULL, "192.0.2.1:443", "192.0.2.1:443", "192.0.2.2:443", NULL};
	const struct sl_hosts *said[] = {NULL, &first, &first, &second, NULL};
	struct sl_compiler *c;

	add_host(m, "");
	model_add_route(m, "r", TO(REF("pay")));
	cr_assert_eq(sl_compiler_new(&c), 0);
	for (size_t i = 0; i < sizeof(said) / sizeof(*said); i++) {
		struct sl_compile_report *report;
		const struct sl_upstream *u;
		char text[SL_ADDR_TEXT];
		struct sl_snapshot *s;

		opts.hosts = said[i];
		cr_assert_eq(sl_compiler_run(c, m, &opts, &s, &report), 0);
		u = upstream(s, "shop/xbackend/pay:443");
		cr_assert_not_null(u);
		cr_expect_eq(u->n_usable, addresses[i] != NULL);
		if (addresses[i])
			cr_expect_str_eq(sl_addr_format(&u->endpoints[0].addr, text), addresses[i]);
		sl_snapshot_unref(s);
		sl_compile_report_free(report);
	}
	sl_compiler_free(c);
	sl_hosts_deinit(&first);
	sl_hosts_deinit(&second);
	sl_model_free(m);
}

Test(xbackend, pods_are_those_with_the_labels)
{
	struct sl_model *m = model_with_services();
	const struct sl_upstream *u;
	struct compiled c;

	add_pods(m);
	model_add_route(m, "r", TO(REF("pods")));
	add_pod(m, "good", "10.0.0.1", "'app':'pay','x':'y'", "");
	add_pod(m, "else", "10.0.0.2", "'app':'cart'", "");
	add_pod(m, "bare", "10.0.0.3", "", "");
	add_pod(m, "over", "10.0.0.4", "'app':'pay'", ",'phase':'Succeeded'");
	add_pod(m, "unready", "10.0.0.5", "'app':'pay'",
		",'conditions':[{'type':'Ready','status':'False'}]");
	c = compile_model(m);
	u = upstream(c.snap, "shop/xbackend/pods:80");
	cr_assert_not_null(u);
	cr_assert_eq(u->n_endpoints, 2);
	cr_assert_eq(u->n_usable, 1);
	cr_expect(sl_str_eqc(u->endpoints[0].pod, "good"));
	cr_expect(sl_str_eqc(u->endpoints[1].pod, "unready"));
	compiled_free(&c);
	sl_model_free(m);
}

Test(xbackend, which_protocols_lead_where)
{
	static const struct {
		const char *protocol, *http, *grpc, *tcp, *tls;
	} cases[] = {
		{"", "ResolvedRefs", "ResolvedRefs", "ResolvedRefs", "ResolvedRefs"},
		{"HTTP", "ResolvedRefs", "ResolvedRefs", "ResolvedRefs", "UnsupportedProtocol"},
		{"HTTP11", "ResolvedRefs", "UnsupportedProtocol", "ResolvedRefs",
		 "UnsupportedProtocol"},
		{"H2C", "ResolvedRefs", "ResolvedRefs", "ResolvedRefs", "UnsupportedProtocol"},
		{"GRPC", "ResolvedRefs", "ResolvedRefs", "ResolvedRefs", "UnsupportedProtocol"},
		{"MCP", "ResolvedRefs", "UnsupportedProtocol", "ResolvedRefs",
		 "UnsupportedProtocol"},
		{"TCP", "UnsupportedProtocol", "UnsupportedProtocol", "ResolvedRefs",
		 "ResolvedRefs"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct sl_model *m = model_with_services();
		char more[64] = "";
		struct compiled c;

		if (*cases[i].protocol)
			(void)snprintf(more, sizeof(more), ",'protocol':'%s'", cases[i].protocol);
		add_host(m, more);
		model_add_route(m, "http", TO(REF("pay")));
		model_add_route_of(m, "GRPCRoute", "grpc", TO(REF("pay")));
		model_add_route_of(m, "TCPRoute", "tcp", TO(REF("pay")));
		model_add_route_of(m, "UDPRoute", "udp", TO(REF("pay")));
		model_add(m,
			  "{'apiVersion':'gateway.networking.k8s.io/v1','kind':'TLSRoute',"
			  "'metadata':{'name':'tls','namespace':'shop'},'spec':{'hostnames':["
			  "'a.example'],'parentRefs':[{'group':'','kind':'Service','name':'cart'}],"
			  "'rules':" TO(REF("pay")) "}}");
		c = compile_model(m);
		expect_condition(&c, "http", cases[i].http);
		expect_condition(&c, "grpc", cases[i].grpc);
		expect_condition(&c, "tcp", cases[i].tcp);
		expect_condition(&c, "tls", cases[i].tls);
		expect_condition(&c, "udp", "UnsupportedProtocol");
		compiled_free(&c);
		sl_model_free(m);
	}
}

Test(xbackend, references_stay_in_the_namespace_and_need_an_object)
{
	struct sl_model *m = model_with_services();
	const struct sl_rule *rule;
	struct compiled c;

	add_host(m, "");
	model_add_route(m, "missing", TO(REF("no")));
	model_add_route(m, "other",
			TO("{'group':'gateway.networking.x-k8s.io','kind':'XBackend','name':'pay',"
			   "'namespace':'other'}"));
	/* The node behind it is nobody's Service. */
	model_add_route(m, "service", TO("{'name':'xbackend/pay','port':443}"));
	c = compile_model(m);
	expect_condition(&c, "missing", "BackendNotFound");
	expect_condition(&c, "other", "RefNotPermitted");
	expect_condition(&c, "service", "BackendNotFound");
	rule = match_request(&c, "client", "GET /");
	cr_assert_not_null(rule);
	cr_expect_eq(rule->backends[0].state, SL_BACKEND_INVALID);
	compiled_free(&c);
	sl_model_free(m);
}

Test(xbackend, its_status_names_the_services_that_lead_to_it)
{
	struct sl_model *m = model_with_services();
	const struct sl_route_status *st;
	struct compiled c;

	add_host(m, "");
	add_pods(m);
	model_add_route(m, "r", TO(REF("pay")));
	model_add_route(m, "s", TO(REF("pay")));
	c = compile_model(m);
	st = sl_route_status_of(sl_pmap_get(&c.report->routes, SL_STR("XBackend/shop/pay")));
	cr_assert_not_null(st);
	cr_assert_eq(st->n_parents, 1);
	cr_expect(sl_str_eqc(st->parents[0].ref->kind, "Service"));
	cr_expect(sl_str_eqc(st->parents[0].ref->name, "cart"));
	cr_assert_eq(st->parents[0].n_conditions, 1);
	cr_expect(sl_str_eqc(st->parents[0].conditions[0].status, "True"));
	st = sl_route_status_of(sl_pmap_get(&c.report->routes, SL_STR("XBackend/shop/pods")));
	cr_assert_not_null(st);
	cr_expect_eq(st->n_parents, 0, "nobody uses it");
	compiled_free(&c);
	sl_model_free(m);
}

Test(xbackend, each_change_is_followed)
{
	const struct sl_compile_opts opts = {.failure_policy = SL_FAIL_OPEN};
	struct sl_model *m = model_with_services();
	struct sl_compiler *c;

	model_add_route(m, "r", TO(REF("pay")));
	cr_assert_eq(sl_compiler_new(&c), 0);
	for (unsigned step = 0; step < 5; step++) {
		struct sl_compile_report *report;
		struct sl_snapshot *s;

		if (step == 1)
			add_host(m, "");
		else if (step == 2)
			add_host(m, ",'protocol':'TCP'");
		else if (step == 3)
			add_host(m, ",'tls':{'mode':'ServerOnly','validation':{'hostname':'a.b',"
				    "'caCertificateRefs':[{'group':'','kind':'ConfigMap','name':'c'"
				    "}]}}");
		else if (step == 4)
			sl_model_remove(m, SL_KIND_XBACKEND, SL_STR("shop"), SL_STR("pay"));
		cr_assert_eq(sl_compiler_run(c, m, &opts, &s, &report), 0);
		{
			struct compiled now = {.snap = s, .report = report};
			const struct sl_upstream *u = upstream(s, "shop/xbackend/pay:443");

			expect_condition(&now, "r",
					 step == 0 || step == 4 ? "BackendNotFound"
					 : step == 2		? "UnsupportedProtocol"
								: "ResolvedRefs");
			cr_expect_eq(u != NULL, step >= 1 && step <= 3);
			cr_expect_eq(u && u->tls_refused, step == 3, "no authority, no connection");
		}
		sl_snapshot_unref(s);
		sl_compile_report_free(report);
	}
	sl_compiler_free(c);
	sl_model_free(m);
}

#define COOKIE(name) "'sessionPersistence':{'cookie':{'name':'" name "'}}"
#define POLICY                                                                           \
	"{'apiVersion':'gateway.networking.x-k8s.io/v1alpha1','kind':"                   \
	"'XBackendTrafficPolicy','metadata':{'name':'p','namespace':'shop','uid':'u1'}," \
	"'spec':{'targetRefs':[{'group':'','kind':'Service','name':'v1'}],"

/* Of the first rule towards an upstream: the name, "" for none. */
static struct sl_str session(const struct sl_snapshot *s, const struct sl_rule *rule,
			     const char *key)
{
	const struct sl_persistence *p = sl_persistence_of(rule, upstream(s, key));

	return p ? p->name : SL_STR("");
}

Test(xbackend, whose_session_it_is)
{
	static const char pods_key[] = "shop/xbackend/pods:80", v1_key[] = "shop/v1:80";
	static const struct {
		const char *pods, *policy; /* what is new at this step; NULL: nothing */
		const char *of_pods, *of_v1, *rules_pods, *rules_v1;
	} steps[] = {
		{"", NULL, "", "", "r", "r"},
		{"," COOKIE("x"), NULL, "x", "", "x", "r"},
		{NULL, POLICY COOKIE("s") "}}", "x", "s", "x", "r"},
		{",'sessionPersistence':{}", NULL, "sluice.XBackend.shop.pods", "s",
		 "sluice.XBackend.shop.pods", "r"},
		{"", POLICY "'sessionPersistence':{}}}", "", "sluice.XBackendTrafficPolicy.shop.p",
		 "r", "r"},
		{NULL, POLICY "'retryConstraint':{}}}", "", "", "r", "r"},
	};
	const struct sl_persistence of_rule = {.name = SL_STR("r")};
	const struct sl_rule without = {0}, with = {.persistence = &of_rule};
	struct sl_compile_opts opts = {.failure_policy = SL_FAIL_OPEN};
	struct sl_model *m = model_with_services();
	struct sl_compiler *c;

	model_add_route(m, "r", TO(REF("pods") ",{'name':'v1','port':80}"));
	cr_assert_eq(sl_compiler_new(&c), 0);
	for (size_t i = 0; i < sizeof(steps) / sizeof(*steps); i++) {
		struct sl_compile_report *report;
		struct sl_snapshot *s;

		if (steps[i].pods)
			add_pods_with(m, steps[i].pods);
		if (steps[i].policy)
			model_add(m, steps[i].policy);
		cr_assert_eq(sl_compiler_run(c, m, &opts, &s, &report), 0);
		cr_expect(sl_str_eqc(session(s, &without, pods_key), steps[i].of_pods), "%zu", i);
		cr_expect(sl_str_eqc(session(s, &without, v1_key), steps[i].of_v1), "%zu", i);
		cr_expect(sl_str_eqc(session(s, &with, pods_key), steps[i].rules_pods), "%zu", i);
		cr_expect(sl_str_eqc(session(s, &with, v1_key), steps[i].rules_v1), "%zu", i);
		sl_snapshot_unref(s);
		sl_compile_report_free(report);
	}
	sl_compiler_free(c);
	sl_model_free(m);
}

Test(xbackend, memory_can_end_anywhere)
{
	struct sl_hosts hosts = answer("192.0.2.1");
	const struct sl_compile_opts opts = {.failure_policy = SL_FAIL_OPEN, .hosts = &hosts};
	struct sl_model *m = model_with_services();
	struct sl_compile_report *report = NULL;
	struct sl_snapshot *s = NULL;
	int r = -ENOMEM;

	add_host(m, ",'tls':{'mode':'ServerOnly','validation':{'hostname':'a.b',"
		    "'wellKnownCACertificates':'System'}}");
	add_pods_with(m, ",'sessionPersistence':{}");
	model_add(m, POLICY COOKIE("s") "}}");
	add_pod(m, "good", "10.0.0.1", "'app':'pay'", "");
	model_add_route(m, "r", TO(REF("pay") "," REF("pods")));
	for (long n = 0; r; n++) {
		(void)sl_alloc_fail_after(n);
		r = sl_compile(m, &opts, &s, &report);
		(void)sl_alloc_fail_after(-1);
		cr_assert(!r || r == -ENOMEM, "allocation %ld: %d", n, r);
		cr_assert(!r || (!s && !report));
	}
	cr_expect_eq(upstream(s, "shop/xbackend/pay:443")->n_usable, 1);
	cr_expect_eq(upstream(s, "shop/xbackend/pods:80")->n_usable, 1);
	sl_snapshot_unref(s);
	sl_compile_report_free(report);
	sl_hosts_deinit(&hosts);
	sl_model_free(m);
}
