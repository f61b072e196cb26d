/* SPDX-License-Identifier: Apache-2.0 */
/* Each consequence of the order of matches that the Gateway API or its conformance tests name. */
#include <criterion/criterion.h>
#include "fixture.h"

#define PREFIX(p) "{'path':{'type':'PathPrefix','value':'" p "'}}"
#define EXACT(p)  "{'path':{'type':'Exact','value':'" p "'}}"
#define REGEX(p)  "{'path':{'type':'RegularExpression','value':'" p "'}}"

struct precedence_case {
	const char *says;
	const char *rules;
	const char *request;
	int want; /* index of the rule; -1: none */
};

static const struct precedence_case cases[] = {
	{"an exact path beats the same prefix",
	 "[{'matches':[" PREFIX("/x") "]},{'matches':[" EXACT("/x") "]}]", "GET /x", 1},
	{"an exact path beats a prefix with method, headers and parameters",
	 "[{'matches':[{'path':{'value':'/x'},'method':'GET','headers':[{'name':'a','value':'1'}],"
	 "'queryParams':[{'name':'q','value':'1'}]}]},{'matches':[" EXACT("/x") "]}]",
	 "GET /x?q=1 a:1", 1},
	{"an exact path beats a regular expression",
	 "[{'matches':[" REGEX("/x") "]},{'matches':[" EXACT("/x") "]}]", "GET /x", 1},
	{"a regular expression beats a prefix, however long",
	 "[{'matches':[" PREFIX("/x/y/z") "]},{'matches':[" REGEX("/x.*") "]}]", "GET /x/y/z", 1},
	{"of regular expressions the first rule wins, not the longer text",
	 "[{'matches':[" REGEX("/x.*") "]},{'matches':[" REGEX("/x/y.*[a-z]") "]}]", "GET /x/y/z",
	 0},
	{"a regular expression with a method beats an earlier one without",
	 "[{'matches':[" REGEX("/x.*") "]},{'matches':[{'path':{'type':'RegularExpression',"
				       "'value':'/.*'},'method':'GET'}]}]",
	 "GET /x", 1},
	{"the longer prefix wins",
	 "[{'matches':[" PREFIX("/a") "]},{'matches':[" PREFIX("/a/b") "]}]", "GET /a/b/c", 1},
	{"a trailing slash is no character of a prefix: the first rule wins",
	 "[{'matches':[" PREFIX("/a") "]},{'matches':[" PREFIX("/a/") "]}]", "GET /a/b", 0},
	{"a prefix with a slash at its end matches the path without it",
	 "[{'matches':[" PREFIX("/a/") "]}]", "GET /a", 0},
	{"the longer prefix beats a method",
	 "[{'matches':[{'path':{'value':'/'},'method':'GET'}]},{'matches':[" PREFIX("/a") "]}]",
	 "GET /a", 1},
	{"the longer prefix beats a query parameter (/path5 of the conformance tests)",
	 "[{'matches':[{'queryParams':[{'name':'animal','value':'hydra'}]}]},"
	 "{'matches':[" PREFIX("/path5") "]}]",
	 "GET /path5?animal=hydra", 1},
	{"a header beats nothing",
	 "[{'matches':[{}]},{'matches':[{'headers':[{'name':'version','value':"
	 "'two'}]}]}]",
	 "GET / version:two", 1},
	{"a method beats any number of headers",
	 "[{'matches':[{'headers':[{'name':'a','value':'1'},{'name':'b','value':'1'},{'name':'c',"
	 "'value':'1'}]}]},{'matches':[{'method':'GET'}]}]",
	 "GET / a:1 b:1 c:1", 1},
	{"more headers win",
	 "[{'matches':[{'headers':[{'name':'a','value':'1'}]}]},{'matches':[{'headers'"
	 ":[{'name':'a','value':'1'},{'name':'b','value':'1'}]}]}]",
	 "GET / a:1 b:1", 1},
	{"a name given twice counts as one header",
	 "[{'matches':[{'headers':[{'name':'a','value':'1'}]}]},{'matches':[{'headers':[{'name':'a'"
	 ","
	 "'value':'1'},{'name':'A','value':'1'}]}]}]",
	 "GET / a:1", 0},
	{"of a name given twice the first entry counts",
	 "[{'matches':[{'headers':[{'name':'a','value':'1'},{'name':'A','value':'2'}]}]}]",
	 "GET / a:1", 0},
	{"one header beats several query parameters",
	 "[{'matches':[{'queryParams':[{'name':'a','value':'1'},{'name':'b','value':'1'}]}]},"
	 "{'matches':[{'headers':[{'name':'a','value':'1'}]}]}]",
	 "GET /?a=1&b=1 a:1", 1},
	{"more query parameters win",
	 "[{'matches':[{'queryParams':[{'name':'a','value':'1'}]}]},{'matches':[{'queryParams':[{'"
	 "name':"
	 "'a','value':'1'},{'name':'b','value':'1'}]}]}]",
	 "GET /?a=1&b=1", 1},
	{"query names that differ in case are two parameters",
	 "[{'matches':[{'queryParams':[{'name':'a','value':'1'}]}]},{'matches':[{'queryParams':[{'"
	 "name':"
	 "'a','value':'1'},{'name':'A','value':'1'}]}]}]",
	 "GET /?a=1&A=1", 1},
	{"of equal rules the first wins, in whatever order its headers are",
	 "[{'matches':[{'headers':[{'name':'a','value':'1'},{'name':'b','value':'2'}]}]},"
	 "{'matches':[{'headers':[{'name':'b','value':'2'},{'name':'a','value':'1'}]}]}]",
	 "GET / a:1 b:2", 0},
	{"the first of equal rules wins, also when its backend does not exist",
	 "[{'backendRefs':[{'name':'missing','port':80}]},{'backendRefs':[{'name':'v1','port':80}]}"
	 "]",
	 "GET /", 0},
	{"each match of a rule ranks by itself",
	 "[{'matches':[" PREFIX("/") "," EXACT("/a") "]},{'matches':[" PREFIX("/a") "]}]", "GET /a",
	 0},
	{"each match of a rule ranks by itself, the weaker one too",
	 "[{'matches':[" PREFIX("/") "," EXACT("/b") "]},{'matches':[" PREFIX("/a") "]}]", "GET /a",
	 1},
	{"a request that nothing matches has no rule", "[{'matches':[" PREFIX("/a") "]}]", "GET /b",
	 -1},
	{"Host is a header", "[{'matches':[{'headers':[{'name':'Host','value':'a.test'}]}]}]",
	 "GET / host:a.test", 0},
};

Test(precedence, the_order_of_matches)
{
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct sl_model *m = model_with_services();
		struct compiled c;
		const struct sl_rule *rule;

		model_add_route(m, "r", cases[i].rules);
		c = compile_model(m);
		rule = match_request(&c, "shop", cases[i].request);
		cr_expect_eq(rule ? (int)rule->index : -1, cases[i].want, "%s", cases[i].says);
		compiled_free(&c);
		sl_model_free(m);
	}
}

static void add_dated(struct sl_model *m, const char *name, const char *created)
{
	char text[600];

	(void)snprintf(
		text, sizeof(text),
		"{'apiVersion':'gateway.networking.k8s.io/"
		"v1','kind':'HTTPRoute','metadata':{'name':"
		"'%s','namespace':'shop'%s%s%s},'spec':{'parentRefs':[{'group':'','kind':'Service',"
		"'name':'cart'}]}}",
		name, created ? ",'creationTimestamp':'" : "", created ? created : "",
		created ? "'" : "");
	model_add(m, text);
}

Test(precedence, of_equal_matches_the_oldest_route_wins_then_the_first_name)
{
	static const struct {
		const char *a, *b, *want; /* creation of routes "a" and "b" */
	} ages[] = {
		{"2026-01-02T00:00:00Z", "2026-01-01T00:00:00Z", "HTTPRoute/shop/b"},
		{"2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z", "HTTPRoute/shop/a"},
		{"2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z", "HTTPRoute/shop/a"},
		{NULL, "2026-01-01T00:00:00Z", "HTTPRoute/shop/b"},
		{NULL, NULL, "HTTPRoute/shop/a"},
	};

	for (size_t i = 0; i < sizeof(ages) / sizeof(*ages); i++) {
		struct sl_model *m = model_with_services();
		struct compiled c;

		add_dated(m, "b", ages[i].b);
		add_dated(m, "a", ages[i].a);
		c = compile_model(m);
		cr_expect(sl_str_eqc(match_request(&c, "", "GET /")->route, ages[i].want),
			  "case %zu", i);
		compiled_free(&c);
		sl_model_free(m);
	}
}
