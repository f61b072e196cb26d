/* SPDX-License-Identifier: Apache-2.0 */
/* The order of matches of a GRPCRoute, and of kinds of routes on one port. */
#include <criterion/criterion.h>
#include "fixture.h"

#define RPC(service, method) "{'method':{'service':'" service "','method':'" method "'}}"
#define SERVICE(service)     "{'method':{'service':'" service "'}}"
#define METHOD(method)	     "{'method':{'method':'" method "'}}"
#define REGEX(service, method) \
	"{'method':{'type':'RegularExpression','service':'" service "','method':'" method "'}}"
#define HEADERS(n) "{'headers':[" n "]}"
#define ONE	   "{'name':'a','value':'1'}"
#define TWO	   ONE ",{'name':'b','value':'1'}"

static const struct {
	const char *says;
	const char *rules;
	const char *request;
	int want; /* index of the rule; -1: none */
} cases[] = {
	{"service and method match", "[{'matches':[" RPC("p.S", "M") "]}]", "POST /p.S/M", 0},
	{"the service's case counts", "[{'matches':[" RPC("p.S", "M") "]}]", "POST /p.s/M", -1},
	{"the method's case counts", "[{'matches':[" RPC("p.S", "M") "]}]", "POST /p.S/m", -1},
	{"a service alone matches its methods", "[{'matches':[" SERVICE("p.S") "]}]", "POST /p.S/X",
	 0},
	{"a service is not the beginning of another", "[{'matches':[" SERVICE("p.S") "]}]",
	 "POST /p.S2/X", -1},
	{"a service is not that of a path with more parts", "[{'matches':[" SERVICE("p.S") "]}]",
	 "POST /p.S/x/M", -1},
	{"a service is no method", "[{'matches':[" SERVICE("S") "]}]", "POST /S", -1},
	{"a method alone matches in any service", "[{'matches':[" METHOD("M") "]}]", "POST /p.S/M",
	 0},
	{"a method is not the end of another", "[{'matches':[" METHOD("M") "]}]", "POST /p.S/XM",
	 -1},
	{"a rule without matches takes everything", "[{}]", "POST /p.S/M", 0},
	{"no rules match nothing", "[]", "POST /p.S/M", -1},
	{"patterns have to match the whole service", "[{'matches':[" REGEX("p", "") "]}]",
	 "POST /p.S/M", -1},
	{"a pattern for the service", "[{'matches':[" REGEX("p[.].*", "") "]}]", "POST /p.S/M", 0},
	{"a pattern for the method", "[{'matches':[" REGEX("", "Get.*") "]}]", "POST /p.S/GetIt",
	 0},
	{"both patterns have to match", "[{'matches':[" REGEX("p.*", "Get.*") "]}]",
	 "POST /p.S/SetIt", -1},
	{"alternatives in a pattern stay in their part",
	 "[{'matches':[" REGEX("a|p[.]S", "x|M") "]}]", "POST /p.S/M", 0},
	{"a pattern cannot reach over its part", "[{'matches':[" REGEX("p[.]S/M", "") "]}]",
	 "POST /p.S/M", -1},

	{"service and method beat the service",
	 "[{'matches':[" SERVICE("S") "]},{'matches':[" RPC("S", "M") "]}]", "POST /S/M", 1},
	{"the service beats the method, however long",
	 "[{'matches':[" METHOD("LongMethod") "]},{'matches':[" SERVICE("S") "]}]",
	 "POST /S/LongMethod", 1},
	{"the service beats a pattern for it",
	 "[{'matches':[" REGEX("S.*", "M") "]},{'matches':[" SERVICE("S") "]}]", "POST /S/M", 1},
	{"a pattern for the service beats the method",
	 "[{'matches':[" METHOD("M") "]},{'matches':[" REGEX(".*", "") "]}]", "POST /S/M", 1},
	{"patterns for both beat one for the service",
	 "[{'matches':[" REGEX(".*", "") "]},{'matches':[" REGEX(".*", ".*") "]}]", "POST /S/M", 1},
	{"the method beats a pattern for it",
	 "[{'matches':[" REGEX("", "M") "]},{'matches':[" METHOD("M") "]}]", "POST /S/M", 1},
	{"a pattern for the method beats headers",
	 "[{'matches':[" HEADERS(TWO) "]},{'matches':[" REGEX("", ".*") "]}]", "POST /S/M a:1 b:1",
	 1},
	{"the method beats headers",
	 "[{'matches':[" HEADERS(TWO) "]},{'matches':[" METHOD("M") "]}]", "POST /S/M a:1 b:1", 1},
	{"of patterns the first rule wins, not the longer text",
	 "[{'matches':[" REGEX("S.*", "") "]},{'matches':[" REGEX("S[A-Za-z]*", "") "]}]",
	 "POST /S/M", 0},
	{"headers beat nothing", "[{'matches':[{}]},{'matches':[" HEADERS(ONE) "]}]",
	 "POST /S/M a:1", 1},
	{"more headers win", "[{'matches':[" HEADERS(ONE) "]},{'matches':[" HEADERS(TWO) "]}]",
	 "POST /S/M a:1 b:1", 1},
	{"more headers win with the same method",
	 "[{'matches':[" RPC("S", "M") "]},{'matches':[{'method':{'service':'S','method':'M'},"
				       "'headers':[" ONE "]}]}]",
	 "POST /S/M a:1", 1},
	{"the first of equal rules wins",
	 "[{'matches':[" RPC("S", "M") "]},{'matches':[" RPC("S", "M") "]}]", "POST /S/M", 0},
	{"what does not fit is passed over",
	 "[{'matches':[{'method':{'service':'S','method':'M'},'headers':[" ONE
	 "]}]},{'matches':[" SERVICE("S") "]}]",
	 "POST /S/M a:2", 1},
};

Test(precedence_grpc, the_order_of_matches)
{
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct sl_model *m = model_with_services();
		struct compiled c;
		const struct sl_rule *rule;

		model_add_route_of(m, "GRPCRoute", "r", cases[i].rules);
		c = compile_model(m);
		rule = match_request(&c, "shop", cases[i].request);
		cr_expect_eq(rule ? (int)rule->index : -1, cases[i].want, "%s", cases[i].says);
		cr_expect(!rule || rule->kind == SL_ROUTE_GRPC);
		compiled_free(&c);
		sl_model_free(m);
	}
}

/* The Exact ones are chosen for a request without a look at the others, however many. */
Test(precedence_grpc, ten_thousand_methods_keep_their_order)
{
	struct sl_model *m = model_with_services();
	const struct sl_rule *rule;
	char name[16], rules[512], route[32];
	struct compiled c;

	for (int i = 0; i < 2000; i++) {
		(void)snprintf(name, sizeof(name), "r%d", i);
		(void)snprintf(rules, sizeof(rules),
			       "[{'matches':[{'method':{'service':'p.S%d','method':'M'}}]},"
			       "{'matches':[{'method':{'service':'p.S%d'}}]},"
			       "{'matches':[{'method':{'method':'M%d'}}]},"
			       "{'matches':[{'method':{'type':'RegularExpression','service':"
			       "'q[.]S%d','method':'x%d.*'}}]},"
			       "{'matches':[{'headers':[{'name':'n','value':'%d'}]}]}]",
			       i, i, i, i, i, i);
		model_add_route_of(m, "GRPCRoute", name, rules);
	}
	c = compile_model(m);
	for (int i = 0; i < 2000; i += 333) {
		static const char *const requests[] = {"POST /p.S%d/M n:%d", "POST /p.S%d/M%d n:1",
						       "POST /q.S%d/M%d n:1",
						       "POST /q.S%d/x%dy n:1", "POST /q/%dy n:%d"};

		for (int k = 0; k < 5; k++) {
			char text[128];

			(void)snprintf(text, sizeof(text), requests[k], i, i);
			rule = match_request(&c, "shop", text);
			cr_assert_not_null(rule, "%s", text);
			cr_expect_eq(rule->index, (uint32_t)k, "%s: rule %u", text, rule->index);
			(void)snprintf(route, sizeof(route), "GRPCRoute/shop/r%d", i);
			cr_expect(sl_str_eqc(rule->route, route));
		}
	}
	compiled_free(&c);
	sl_model_free(m);
}

static void expect_accepted(const struct compiled *c, const char *route, const char *status,
			    const char *reason)
{
	const struct sl_condition *cond = find_condition(c, route, "Accepted");

	cr_assert_not_null(cond);
	cr_expect(sl_str_eqc(cond->status, status), "%s", route);
	cr_expect(sl_str_eqc(cond->reason, reason), "%s: %.*s", route, SL_STR_ARG(cond->reason));
}

Test(precedence_grpc, a_grpcroute_takes_the_port_from_an_httproute)
{
	struct sl_model *m = model_with_services();
	struct compiled c;

	model_add_route(m, "http", "[{}]");
	model_add_route_of(m, "GRPCRoute", "grpc", "[{'matches':[" SERVICE("S") "]}]");
	c = compile_model(m);
	expect_accepted(&c, "http", "False", "Conflicted");
	expect_accepted(&c, "grpc", "True", "Accepted");
	cr_expect_null(match_request(&c, "", "GET /"), "rules of two kinds are never merged");
	cr_expect_not_null(match_request(&c, "", "POST /S/M"));
	compiled_free(&c);

	sl_model_remove(m, SL_KIND_GRPCROUTE, SL_STR("shop"), SL_STR("grpc"));
	c = compile_model(m);
	expect_accepted(&c, "http", "True", "Accepted");
	cr_expect_not_null(match_request(&c, "", "GET /"));
	compiled_free(&c);
	sl_model_free(m);
}

Test(precedence_grpc, an_edit_of_the_winner_tells_the_loser)
{
	const struct sl_compile_opts opts = {.failure_policy = SL_FAIL_OPEN, .generation = 1};
	struct sl_model *m = model_with_services();
	struct sl_compiler *compiler = NULL;
	struct compiled c = {0};

	cr_assert_eq(sl_compiler_new(&compiler), 0);
	model_add_route(m, "http", "[{}]");
	for (int round = 0; round < 4; round++) {
		bool grpc = round % 2;

		if (grpc)
			model_add_route_of(m, "GRPCRoute", "grpc", "[{}]");
		else
			sl_model_remove(m, SL_KIND_GRPCROUTE, SL_STR("shop"), SL_STR("grpc"));
		cr_assert_eq(sl_compiler_run(compiler, m, &opts, &c.snap, &c.report), 0);
		expect_accepted(&c, "http", grpc ? "False" : "True",
				grpc ? "Conflicted" : "Accepted");
		sl_snapshot_unref(c.snap);
		sl_compile_report_free(c.report);
	}
	sl_compiler_free(compiler);
	sl_model_free(m);
}
