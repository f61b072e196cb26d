/* SPDX-License-Identifier: Apache-2.0 */
/* Shadow routes on live traffic: what would differ is said, and nothing does. */
#include "rig.h"

#define SHADOW(rules)                                                                             \
	"---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: next, " \
	"namespace: shop, annotations: {sluice.dev/shadow: 'true'}}\nspec:\n  parentRefs: "       \
	"[{group: '', kind: Service, name: cart}]\n  rules:\n" rules
#define TO(backends) "    backendRefs: [" backends "]\n"
#define V1	     "{name: v1, port: 80}"
#define CART	     "{name: cart, port: 80}"
#define ASKED	     "GET /a/b?q HTTP/1.1\r\nHost: cart\r\n\r\n"
#define OK	     "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

static struct rig r;
static struct rig_peer client, server;

static void set_up(void)
{
	client = server = RIG_PEER_INIT;
	rig_init(&r);
	r.logging = true;
}

static void tear_down(void)
{
	rig_close(&client);
	rig_close(&server);
	rig_stop(&r);
}

TestSuite(shadow, .init = set_up, .fini = tear_down);

/* of: the backend that answers. */
static void exchange(struct rig_backend *of)
{
	rig_send(&r, &client, ASKED);
	if (server.fd < 0)
		rig_accept(&r, of, &server);
	rig_expect(&r, &server, ASKED);
	rig_send(&r, &server, OK);
	rig_expect(&r, &client, OK);
}

static uint64_t counted(const char *result)
{
	struct sl_buf text = SL_BUF_INIT(0);
	uint64_t n = 0;
	char want[64];
	const char *line;

	(void)snprintf(want, sizeof(want), "result=\"%s\"} ", result);
	cr_assert_eq(sl_metrics_render(r.metrics, &text), 0);
	cr_assert_eq(sl_buf_append(&text, "", 1), 0);
	line = strstr(sl_buf_ptr(&text), "\nsluice_shadow_requests_total{");
	while (line && strncmp(line, "\nsluice_shadow_requests_total{", 30) == 0) {
		const char *end = strchr(line + 1, '\n'), *at = strstr(line, want);

		if (at && at < end)
			n += strtoull(at + strlen(want), NULL, 10);
		line = end;
	}
	sl_buf_deinit(&text);
	return n;
}

/* The default route leads everything to shop/v1. */
static const struct {
	const char *name, *rules; /* of the shadow route */
	const char *differs;	  /* NULL: no rule of it takes the request; "": nothing differs */
} cases[] = {
	{"another path", "  - matches: [{path: {value: /z}}]\n" TO(CART), NULL},
	{"the same backend", "  - matches: [{path: {value: /a}}]\n" TO(V1), ""},
	{"another backend", "  - matches: [{path: {value: /a}}]\n" TO(CART), "backends"},
	{"another share", "  - matches: [{path: {value: /a}}]\n" TO(V1 ", " CART), "backends"},
	{"no share",
	 "  - matches: [{path: {value: /a}}]\n" TO(V1 ", {name: cart, port: 80, weight: 0}"), ""},
	{"an unresolved one", "  - matches: [{path: {value: /a}}]\n" TO("{name: no, port: 80}"),
	 "backends"},
	{"no backend", "  - matches: [{path: {value: /a}}]\n", "answer"},
	{"a redirect",
	 "  - matches: [{path: {value: /a}}]\n    filters: [{type: RequestRedirect, "
	 "requestRedirect: {hostname: x.test}}]\n",
	 "answer"},
	{"a rewrite",
	 "  - matches: [{path: {value: /a}}]\n    filters: [{type: URLRewrite, urlRewrite: {path: "
	 "{type: ReplacePrefixMatch, replacePrefixMatch: /c}}}]\n" TO(V1),
	 "path"},
	{"a rewrite to the same",
	 "  - matches: [{path: {value: /a}}]\n    filters: [{type: URLRewrite, urlRewrite: {path: "
	 "{type: ReplacePrefixMatch, replacePrefixMatch: /a}}}]\n" TO(V1),
	 ""},
	{"another Host",
	 "  - matches: [{path: {value: /a}}]\n    filters: [{type: URLRewrite, urlRewrite: "
	 "{hostname: x.test}}]\n" TO(V1),
	 "path"},
	{"a header more",
	 "  - matches: [{path: {value: /a}}]\n    filters: [{type: RequestHeaderModifier, "
	 "requestHeaderModifier: {set: [{name: x, value: y}]}}]\n" TO(V1),
	 "filters"},
	{"a header of the answer",
	 "  - matches: [{path: {value: /a}}]\n    filters: [{type: ResponseHeaderModifier, "
	 "responseHeaderModifier: {set: [{name: x, value: y}]}}]\n" TO(V1),
	 "filters"},
	{"a mirror",
	 "  - matches: [{path: {value: /a}}]\n    filters: [{type: RequestMirror, requestMirror: "
	 "{backendRef: {name: cart, port: 80}}}]\n" TO(V1),
	 "filters"},
	{"a filter of the backend",
	 "  - matches: [{path: {value: /a}}]\n" TO(
		 "{name: v1, port: 80, filters: [{type: RequestHeaderModifier, "
		 "requestHeaderModifier: {remove: [x]}}]}"),
	 "filters"},
	{"timeouts", "  - matches: [{path: {value: /a}}]\n    timeouts: {request: 5s}\n" TO(V1),
	 "timeouts"},
	{"a retry",
	 "  - matches: [{path: {value: /a}}]\n    retry: {attempts: 2, codes: [500]}\n" TO(V1),
	 "retry"},
	{"several",
	 "  - matches: [{path: {value: /a}}]\n    timeouts: {backendRequest: 5s}\n    filters: "
	 "[{type: URLRewrite, urlRewrite: {hostname: x.test}}]\n" TO(CART),
	 "backends,path,timeouts"},
};

Test(shadow, what_would_differ_is_logged_and_counted_and_nothing_does)
{
	r.more = SHADOW("  - matches: [{path: {value: /z}}]\n");
	rig_start(&r);
	rig_connect(&r, &client);
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		const char *differs = cases[i].differs;
		const char *result = !differs ? "unaffected" : *differs ? "differs" : "same";
		uint64_t before = counted(result);
		char want[128], *more;
		const char *log;

		cr_assert_gt(asprintf(&more, SHADOW("%s"), cases[i].rules), 0);
		r.more = more;
		rig_configure(&r, NULL);
		exchange(&r.backends[0]);
		rig_settle(&r);
		cr_expect_eq(counted(result), before + 1, "%s: %s", cases[i].name, result);
		log = rig_log(&r);
		(void)snprintf(want, sizeof(want),
			       "\"shadow_route\":\"HTTPRoute/shop/next\",\"shadow_rule\":\"0\","
			       "\"shadow_differs\":\"%s\"}",
			       differs ? differs : "");
		cr_expect_eq(strstr(log, want) != NULL, differs && *differs, "%s: %s",
			     cases[i].name, log);
		cr_expect(strstr(log, "\"route\":\"HTTPRoute/shop/"), "%s", cases[i].name);
		free(more);
	}
	r.more = NULL;
}

#define NEXT	"{group: gateway.networking.k8s.io, kind: HTTPRoute, name: next}"
#define NEXT_V1 SHADOW("  - matches: [{path: {value: /a}}]\n" TO(V1))
#define POLICY(fields)                                                                 \
	"---\napiVersion: policy.sluice.dev/v1alpha1\nkind: TrafficPolicy\nmetadata: " \
	"{name: few, namespace: shop}\nspec: {targetRefs: [" NEXT "], " fields "}\n"
#define FAULT(which) "faults: [{" which "}]"
#define ABORT	     "abort: {percent: 100, httpStatus: 503}"

/* Of the shadow route, whose rule is that in force but for the policy. */
static const struct {
	const char *name, *policy; /* a document; NULL: a FaultInjection with these faults */
	const char *faults, *differs;
	int to_s;
	bool no_faults;
} policies[] = {
	{"an abort", NULL, FAULT(ABORT), "faults", 60, false},
	{"a delay", NULL, FAULT("delay: {percent: 1, duration: 5m}"), "faults", 60, false},
	{"a fault that has ended", NULL, FAULT(ABORT), "", -1, false},
	{"a fault of other requests", NULL, FAULT("matches: [{path: {value: /z}}], " ABORT), "", 60,
	 false},
	{"a fault where there are none", NULL, FAULT(ABORT), "", 60, true},
	{"limits", POLICY("circuitBreaker: {maxRequests: 1}"), NULL, "balancing", 0, false},
	{"a balancer", POLICY("loadBalancer: {type: PeakEWMA}"), NULL, "balancing", 0, false},
	{"outliers", POLICY("outlierDetection: {consecutive5xx: 1}"), NULL, "balancing", 0, false},
	{"what is done anyway", POLICY("loadBalancer: {type: RoundRobin}"), NULL, "", 0, false},
};

Test(shadow, policies_of_the_shadow_route_are_compared_and_do_nothing)
{
	for (size_t i = 0; i < sizeof(policies) / sizeof(*policies); i++) {
		char faults[RIG_FAULTS_BYTES], want[64], *more;
		const char *policy = policies[i].policy;
		uint64_t before;

		if (!policy)
			policy =
				rig_faults(faults, NEXT, policies[i].faults, -60, policies[i].to_s);
		cr_assert_gt(asprintf(&more, "%s%s", NEXT_V1, policy), 0);
		r.opts.no_faults = policies[i].no_faults;
		r.more = more;
		rig_start(&r);
		rig_connect(&r, &client);
		before = counted(*policies[i].differs ? "differs" : "same");
		exchange(&r.backends[0]);
		rig_settle(&r);
		cr_expect_eq(counted(*policies[i].differs ? "differs" : "same"), before + 1, "%s",
			     policies[i].name);
		(void)snprintf(want, sizeof(want), "\"shadow_differs\":\"%s\"}",
			       policies[i].differs);
		cr_expect_eq(strstr(rig_log(&r), want) != NULL, *policies[i].differs != 0, "%s",
			     policies[i].name);
		cr_expect_eq(rig_counter(&r, SL_COUNTER_FAULT_ABORTS), 0);
		free(more);
		tear_down();
		set_up();
	}
}

/* Where no rule governs a request no fault of a Service hits it; then one would. */
Test(shadow, under_a_rule_the_backends_faults_would_hit)
{
	struct rig_backend *cart = rig_add_backend(&r, "cart", false);
	char faults[RIG_FAULTS_BYTES], *more;

	cr_assert_gt(
		asprintf(&more, "%s%s", SHADOW("  - matches: [{path: {value: /a}}]\n" TO(CART)),
			 rig_faults(faults, "{kind: Service, name: cart}", FAULT(ABORT), -60, 60)),
		0);
	r.more = more;
	rig_start(&r);
	rig_configure(&r, "");
	rig_connect(&r, &client);
	exchange(cart);
	rig_settle(&r);
	cr_expect_eq(counted("differs"), 1);
	cr_expect(strstr(rig_log(&r), "\"shadow_differs\":\"faults\"}"), "%s", rig_log(&r));
	r.more = NULL;
	free(more);
}

Test(shadow, under_shadow_routes_alone_requests_go_to_the_service_itself)
{
	struct rig_backend *cart = rig_add_backend(&r, "cart", false);

	r.more = SHADOW("  - matches: [{path: {value: /a}}]\n" TO(V1));
	rig_start(&r);
	rig_configure(&r, "");
	rig_connect(&r, &client);
	exchange(cart);
	rig_settle(&r);
	cr_expect_eq(counted("differs"), 1);
	cr_expect(strstr(rig_log(&r), "\"shadow_differs\":\"backends\""));
	/* What no rule of it would take would be refused. */
	rig_send(&r, &client, "GET /z HTTP/1.1\r\nHost: cart\r\n\r\n");
	rig_expect(&r, &server, "GET /z HTTP/1.1\r\nHost: cart\r\n\r\n");
	rig_send(&r, &server, OK);
	rig_expect(&r, &client, OK);
	rig_settle(&r);
	cr_expect_eq(counted("differs"), 2);
	cr_expect(strstr(rig_log(&r), "\"end_reason\":\"complete\",\"shadow_differs\":\"answer\""),
		  "%s", rig_log(&r));
	r.more = NULL;
}

Test(shadow, under_shadow_routes_alone_what_is_not_http_passes)
{
	struct rig_backend *cart = rig_add_backend(&r, "cart", false);

	r.app_protocol = "http";
	r.more = SHADOW("  - matches: [{path: {value: /a}}]\n" TO(V1));
	rig_start(&r);
	rig_configure(&r, "");
	rig_connect(&r, &client);
	rig_send(&r, &client, "\x16\x03\x01 not HTTP at all");
	rig_accept(&r, cart, &server);
	rig_expect(&r, &server, "\x16\x03\x01 not HTTP at all");
	rig_send(&r, &server, "neither is this");
	rig_expect(&r, &client, "neither is this");
	cr_expect_eq(counted("unaffected") + counted("same") + counted("differs"), 0);
	r.more = NULL;
}

Test(shadow, under_shadow_routes_alone_the_server_may_speak_first)
{
	struct rig_backend *cart = rig_add_backend(&r, "cart", false);

	r.more = SHADOW("  - matches: [{path: {value: /a}}]\n" TO(V1));
	rig_start(&r);
	rig_configure(&r, "");
	rig_connect(&r, &client);
	rig_accept(&r, cart, &server);
	rig_send(&r, &server, "220 ready");
	rig_expect(&r, &client, "220 ready");
	r.more = NULL;
}

Test(shadow, where_http_is_declared_the_client_is_waited_for)
{
	struct rig_backend *cart = rig_add_backend(&r, "cart", false);

	r.app_protocol = "kubernetes.io/h2c";
	r.more = SHADOW("  - matches: [{path: {value: /a}}]\n" TO(V1));
	rig_start(&r);
	rig_configure(&r, "");
	rig_connect(&r, &client);
	rig_settle(&r);
	cr_expect_not(rig_pending(&r, cart));
	r.more = NULL;
}
