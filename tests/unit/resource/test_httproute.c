/* SPDX-License-Identifier: Apache-2.0 */
#define KIND "HTTPRoute"
#include "routes.h"
#include <inttypes.h>
#include "base/clock.h"

/* ---- what is read ---- */

Test(httproute, both_served_versions_are_read)
{
	static const char *const versions[] = {"v1", "v1beta1"};

	for (size_t i = 0; i < 2; i++) {
		char *text =
			sl_asprintf("{apiVersion: gateway.networking.k8s.io/%s, kind: HTTPRoute, "
				    "metadata: {name: r}, spec: {}}",
				    versions[i]);
		struct decoded d;

		decode(text, &d);
		expect_str(route(&d)->object.meta.name, "r");
		decoded_free(&d);
		free(text);
	}
}

static void expect_default_match(const struct sl_route_rule *rule)
{
	cr_assert_eq(rule->n_matches, 1);
	cr_expect_eq(rule->matches[0].path_type, SL_PATH_PREFIX);
	expect_str(rule->matches[0].path, "/");
	expect_str(rule->matches[0].method, "");
	cr_expect_eq(rule->matches[0].n_headers, 0);
	cr_expect_eq(rule->matches[0].n_queries, 0);
}

Test(httproute, a_route_without_rules_has_the_default_one)
{
	static const char *const specs[] = {
		"{}",
		"{rules: null}",
		"{rules: [{}]}",
		"{rules: [{matches: []}]}",
		"{rules: [{matches: null}]}",
		"{rules: [{matches: [{}]}]}",
		"{rules: [{matches: [{path: {}}]}]}",
		"{rules: [{matches: [{path: {type: PathPrefix}, headers: []}]}]}"};

	for (size_t i = 0; i < sizeof(specs) / sizeof(specs[0]); i++) {
		char *text = sl_asprintf(TYPE "spec: %s", specs[i]);
		const struct sl_route_rule *rule;
		struct decoded d;

		decode(text, &d);
		cr_assert_eq(route(&d)->n_rules, 1, "%s", specs[i]);
		rule = &route(&d)->rules[0];
		expect_default_match(rule);
		cr_expect_null(rule->error);
		cr_expect_eq(rule->n_backend_refs, 0);
		cr_expect_eq(rule->request_timeout_ns, SL_DURATION_UNSET);
		cr_expect_eq(rule->backend_request_timeout_ns, SL_DURATION_UNSET);
		expect_str(rule->name, "");
		cr_expect_eq(d.diags.n, 0);
		decoded_free(&d);
		free(text);
	}
}

Test(httproute, parent_references_are_read_and_defaulted)
{
	const struct sl_parent_ref *p;
	struct decoded d;

	decode(SPEC "  parentRefs:\n  - {name: gw}\n"
		    "  - {group: '', kind: Service, namespace: other, name: cart, port: 80, "
		    "sectionName: http}\n",
	       &d);
	cr_assert_eq(route(&d)->n_parent_refs, 2);
	p = route(&d)->parent_refs;
	expect_str(p[0].group, "gateway.networking.k8s.io");
	expect_str(p[0].kind, "Gateway");
	expect_str(p[0].namespace, "shop");
	expect_str(p[0].section_name, "");
	cr_expect_not(p[0].has_group || p[0].has_kind || p[0].has_namespace);
	cr_expect_eq(p[0].port, 0);
	expect_str(p[1].group, "");
	expect_str(p[1].kind, "Service");
	expect_str(p[1].namespace, "other");
	expect_str(p[1].name, "cart");
	expect_str(p[1].section_name, "http");
	cr_expect_eq(p[1].port, 80);
	cr_expect(p[1].has_group && p[1].has_kind && p[1].has_namespace);
	decoded_free(&d);
}

Test(httproute, matches_are_read)
{
	const struct sl_route_match *m;
	struct decoded d;

	decode(RULE "matches:\n    - path: {type: Exact, value: /a%20b/~c}\n      method: DELETE\n"
		    "      headers:\n      - {name: X-Env, value: 'a b'}\n"
		    "      - {type: RegularExpression, name: x-v, value: '^v\\d+$'}\n"
		    "      queryParams:\n      - {type: Exact, name: q, value: 1&2}\n"
		    "      - {type: RegularExpression, name: Q, value: '.*'}\n"
		    "    - path: {type: RegularExpression, value: '/v[0-9]//#'}\n"
		    "    - path: {value: /api/}\n",
	       &d);
	cr_assert_eq(route(&d)->rules[0].n_matches, 3);
	cr_expect_eq(d.diags.n, 0);
	cr_expect_eq(route(&d)->rules[0].line, 6);
	m = route(&d)->rules[0].matches;
	cr_expect_eq(m[0].path_type, SL_PATH_EXACT);
	expect_str(m[0].path, "/a%20b/~c");
	expect_str(m[0].method, "DELETE");
	cr_assert_eq(m[0].n_headers, 2);
	expect_str(m[0].headers[0].name, "X-Env");
	expect_str(m[0].headers[0].value, "a b");
	cr_expect_eq(m[0].headers[0].type, SL_VALUE_EXACT);
	cr_expect_eq(m[0].headers[1].type, SL_VALUE_REGEX);
	expect_str(m[0].headers[1].value, "^v\\d+$");
	cr_assert_eq(m[0].n_queries, 2);
	expect_str(m[0].queries[0].value, "1&2");
	cr_expect_eq(m[0].queries[1].type, SL_VALUE_REGEX);
	cr_expect_eq(m[1].path_type, SL_PATH_REGEX);
	expect_str(m[1].path, "/v[0-9]//#");
	cr_expect_eq(m[2].path_type, SL_PATH_PREFIX);
	expect_str(m[2].path, "/api/");
	decoded_free(&d);
}

Test(httproute, backends_and_timeouts_are_read)
{
	const struct sl_route_rule *rule;
	struct decoded d;

	decode(RULE
	       "name: main\n    timeouts: {request: 10s, backendRequest: 0s}\n    backendRefs:\n"
	       "    - {name: v1, port: 8080}\n"
	       "    - {group: x.example, kind: Bucket, namespace: other, name: v2, weight: 0}\n"
	       "    - {name: v3, port: 1, weight: 1000000, filters: [{type: URLRewrite, "
	       "urlRewrite: {hostname: h}}]}\n",
	       &d);
	rule = &route(&d)->rules[0];
	cr_expect_eq(d.diags.n, 0);
	expect_str(rule->name, "main");
	cr_expect_eq(rule->request_timeout_ns, 10 * SL_NS_PER_S);
	cr_expect_eq(rule->backend_request_timeout_ns, 0);
	cr_assert_eq(rule->n_backend_refs, 3);
	expect_str(rule->backend_refs[0].group, "");
	expect_str(rule->backend_refs[0].kind, "Service");
	expect_str(rule->backend_refs[0].namespace, "shop");
	expect_str(rule->backend_refs[0].name, "v1");
	cr_expect_eq(rule->backend_refs[0].port, 8080);
	cr_expect_eq(rule->backend_refs[0].weight, 1);
	expect_str(rule->backend_refs[1].group, "x.example");
	expect_str(rule->backend_refs[1].kind, "Bucket");
	expect_str(rule->backend_refs[1].namespace, "other");
	cr_expect_eq(rule->backend_refs[1].port, 0);
	cr_expect_eq(rule->backend_refs[1].weight, 0);
	cr_expect_eq(rule->backend_refs[2].weight, 1000000);
	cr_assert_eq(rule->backend_refs[2].n_filters, 1);
	expect_str(rule->backend_refs[2].filters[0].rewrite.hostname, "h");
	decoded_free(&d);
}

Test(httproute, host_names_are_kept)
{
	struct decoded d;

	decode(SPEC "  hostnames: [example.org, '*.example.org']\n  useDefaultGateways: None", &d);
	cr_assert_eq(route(&d)->n_hostnames, 2);
	cr_expect_eq(d.diags.n, 0);
	expect_str(route(&d)->hostnames[1], "*.example.org");
	decoded_free(&d);
}

/* ---- what costs the object ---- */

Test(httproute, errors_outside_of_rules_make_the_object_invalid)
{
	static const struct problem_case cases[] = {
		{"no spec", "", "spec", 1, "required"},
		{"spec", "spec: []", "spec", 4, "expected object"},
		{"parents", "spec:\n  parentRefs: x", "spec.parentRefs", 5,
		 "expected array, got string"},
		{"parent", "spec:\n  parentRefs:\n  - cart", "spec.parentRefs[0]", 6,
		 "expected object"},
		{"no name", "spec:\n  parentRefs:\n  - kind: Service", "spec.parentRefs[0].name", 6,
		 "required"},
		{"empty name", "spec: {parentRefs: [{name: ''}]}", "spec.parentRefs[0].name", 4,
		 "must not be empty"},
		{"group", "spec: {parentRefs: [{name: a, group: A}]}", "spec.parentRefs[0].group",
		 4, "empty or a DNS subdomain"},
		{"kind", "spec: {parentRefs: [{name: a, kind: 1a}]}", "spec.parentRefs[0].kind", 4,
		 "must be a kind"},
		{"kind end", "spec: {parentRefs: [{name: a, kind: a-}]}", "spec.parentRefs[0].kind",
		 4, "must be a kind"},
		{"namespace", "spec: {parentRefs: [{name: a, namespace: a.b}]}",
		 "spec.parentRefs[0].namespace", 4, "DNS label"},
		{"section", "spec: {parentRefs: [{name: a, sectionName: ''}]}",
		 "spec.parentRefs[0].sectionName", 4, "must not be empty"},
		{"port", "spec: {parentRefs: [{name: a, port: 65536}]}", "spec.parentRefs[0].port",
		 4, "must be from 1"},
		{"same twice", "spec:\n  parentRefs:\n  - name: a\n  - {name: a, namespace: shop}",
		 "spec.parentRefs[1]", 7, "is the same as parentRefs[0]"},
		{"same port twice",
		 "spec:\n  parentRefs:\n  - {name: a, port: 1}\n  - {name: a, port: 1}",
		 "spec.parentRefs[1]", 7, "is the same as parentRefs[0]"},
		{"one without port", "spec:\n  parentRefs:\n  - {name: a, port: 1}\n  - {name: a}",
		 "spec.parentRefs[1]", 7, "or neither"},
		{"one without section",
		 "spec:\n  parentRefs:\n  - {name: a, sectionName: x}\n  - {name: a}",
		 "spec.parentRefs[1]", 7, "or neither"},
		{"host", "spec:\n  hostnames:\n  - Example.org", "spec.hostnames[0]", 6,
		 "must be a host name"},
		{"host with port", "spec: {hostnames: ['a.b:80']}", "spec.hostnames[0]", 4,
		 "must be a host name"},
		{"host star", "spec: {hostnames: ['*']}", "spec.hostnames[0]", 4,
		 "must be a host name"},
		{"host null", "spec: {hostnames: [null]}", "spec.hostnames[0]", 4,
		 "expected string, got null"},
		{"rules", "spec: {rules: {}}", "spec.rules", 4, "expected array, got object"},
		{"no rule", "spec: {rules: []}", "spec.rules", 4, "at least one rule"},
	};

	check_all(TYPE, cases, SL_DECODE_INVALID, SL_SEVERITY_ERROR);
}

Test(httproute, parents_that_differ_are_not_the_same)
{
	struct decoded d;

	decode(SPEC "  parentRefs:\n  - {name: a, port: 1}\n  - {name: a, port: 2}\n  - {name: b}\n"
		    "  - {name: b, kind: Service, group: ''}\n  - {name: b, namespace: other}\n",
	       &d);
	cr_expect_eq(route(&d)->n_parent_refs, 5);
	cr_expect_eq(d.diags.n, 0);
	decoded_free(&d);
}

/* ---- what costs the rule ---- */

Test(httproute, a_bad_match_costs_its_rule)
{
	static const struct problem_case cases[] = {
		{"rule", "text", "spec.rules[0]", 6, "expected object, got string"},
		{"null rule", "null", "spec.rules[0]", 6, "expected object, got null"},
		{"name", "{name: A}", "spec.rules[0].name", 6, "DNS subdomain"},
		{"matches", "{matches: {}}", "spec.rules[0].matches", 6, "expected array"},
		{"match", "{matches: [/a]}", "spec.rules[0].matches[0]", 6,
		 "expected object, got string"},
		{"method", "{matches: [{method: get}]}", "spec.rules[0].matches[0].method", 6,
		 "must be one of GET, HEAD, POST, PUT, DELETE, CONNECT, OPTIONS, TRACE, PATCH, got "
		 "\"get\""},
		{"method type", "{matches: [{method: [GET]}]}", "spec.rules[0].matches[0].method",
		 6, "expected string, got array"},
		{"path", "{matches: [{path: /a}]}", "spec.rules[0].matches[0].path", 6,
		 "expected object"},
		{"path type", "{matches: [{path: {type: Glob}}]}",
		 "spec.rules[0].matches[0].path.type", 6,
		 "must be one of PathPrefix, Exact, RegularExpression, got \"Glob\""},
		{"value", "matches:\n    - path:\n        value: 7",
		 "spec.rules[0].matches[0].path.value", 8, "expected string, got number"},
		{"relative", "{matches: [{path: {value: a}}]}",
		 "spec.rules[0].matches[0].path.value", 6, "must start with \"/\", got \"a\""},
		{"empty", "{matches: [{path: {value: ''}}]}", "spec.rules[0].matches[0].path.value",
		 6, "must start with \"/\""},
		{"two slashes", "{matches: [{path: {value: /a//b}}]}",
		 "spec.rules[0].matches[0].path.value", 6, "must not contain \"//\""},
		{"dot", "{matches: [{path: {value: /a/./b}}]}",
		 "spec.rules[0].matches[0].path.value", 6, "segment \".\""},
		{"dots", "{matches: [{path: {value: /a/../b}}]}",
		 "spec.rules[0].matches[0].path.value", 6, "segment \"..\""},
		{"dot at end", "{matches: [{path: {type: Exact, value: /a/.}}]}",
		 "spec.rules[0].matches[0].path.value", 6, "segment \".\""},
		{"dots at end", "{matches: [{path: {type: Exact, value: /a/..}}]}",
		 "spec.rules[0].matches[0].path.value", 6, "segment \"..\""},
		{"slash encoded", "{matches: [{path: {value: '/a%2fb'}}]}",
		 "spec.rules[0].matches[0].path.value", 6, "encoded slash"},
		{"SLASH encoded", "{matches: [{path: {value: '/a%2Fb'}}]}",
		 "spec.rules[0].matches[0].path.value", 6, "encoded slash"},
		{"fragment", "{matches: [{path: {value: '/a#b'}}]}",
		 "spec.rules[0].matches[0].path.value", 6, "\"#\""},
		{"query", "{matches: [{path: {value: '/a?b'}}]}",
		 "spec.rules[0].matches[0].path.value", 6, "RFC 3986"},
		{"space", "{matches: [{path: {value: '/a b'}}]}",
		 "spec.rules[0].matches[0].path.value", 6, "RFC 3986"},
		{"percent", "{matches: [{path: {value: '/a%2'}}]}",
		 "spec.rules[0].matches[0].path.value", 6, "RFC 3986"},
		{"umlaut", "{matches: [{path: {value: /\xc3\xa4}}]}",
		 "spec.rules[0].matches[0].path.value", 6, "RFC 3986"},
		{"header name", "{matches: [{headers: [{name: 'a b', value: c}]}]}",
		 "spec.rules[0].matches[0].headers[0].name", 6, "RFC 9110 token"},
		{"header without name", "{matches: [{headers: [{value: c}]}]}",
		 "spec.rules[0].matches[0].headers[0].name", 6, "required"},
		{"header without value", "{matches: [{headers: [{name: c}]}]}",
		 "spec.rules[0].matches[0].headers[0].value", 6, "required"},
		{"empty header value", "{matches: [{headers: [{name: c, value: ''}]}]}",
		 "spec.rules[0].matches[0].headers[0].value", 6, "must not be empty"},
		{"header type", "{matches: [{headers: [{type: Prefix, name: a, value: c}]}]}",
		 "spec.rules[0].matches[0].headers[0].type", 6,
		 "must be one of Exact, RegularExpression"},
		{"header value number", "{matches: [{headers: [{name: a, value: 1}]}]}",
		 "spec.rules[0].matches[0].headers[0].value", 6, "expected string, got number"},
		{"query name", "{matches: [{queryParams: [{name: 'a=', value: c}]}]}",
		 "spec.rules[0].matches[0].queryParams[0].name", 6, "RFC 9110 token"},
		{"query value", "{matches: [{queryParams: [{name: a, value: ''}]}]}",
		 "spec.rules[0].matches[0].queryParams[0].value", 6, "must not be empty"},
		{"query item", "{matches: [{queryParams: [a]}]}",
		 "spec.rules[0].matches[0].queryParams[0]", 6, "expected object"},
	};

	check_rules(cases, "UnsupportedValue");
}

Test(httproute, a_bad_backend_or_policy_costs_its_rule)
{
	static const struct problem_case cases[] = {
		{"backends", "{backendRefs: x}", "spec.rules[0].backendRefs", 6, "expected array"},
		{"backend", "{backendRefs: [x]}", "spec.rules[0].backendRefs[0]", 6,
		 "expected object"},
		{"no name", "{backendRefs: [{port: 1}]}", "spec.rules[0].backendRefs[0].name", 6,
		 "required"},
		{"no port", "backendRefs:\n    - name: x", "spec.rules[0].backendRefs[0].port", 7,
		 "required for a Service"},
		{"port", "{backendRefs: [{name: x, port: 65536}]}",
		 "spec.rules[0].backendRefs[0].port", 6, "got 65536"},
		{"weight", "{backendRefs: [{name: x, port: 1, weight: 1000001}]}",
		 "spec.rules[0].backendRefs[0].weight", 6,
		 "must be from 0 to 1000000, got 1000001"},
		{"negative weight", "{backendRefs: [{name: x, port: 1, weight: -1}]}",
		 "spec.rules[0].backendRefs[0].weight", 6, "must be from 0 to 1000000, got -1"},
		{"weight is text", "{backendRefs: [{name: x, port: 1, weight: '1'}]}",
		 "spec.rules[0].backendRefs[0].weight", 6, "expected integer, got string"},
		{"kind", "{backendRefs: [{name: x, port: 1, kind: ''}]}",
		 "spec.rules[0].backendRefs[0].kind", 6, "must not be empty"},
		{"namespace", "{backendRefs: [{name: x, port: 1, namespace: A}]}",
		 "spec.rules[0].backendRefs[0].namespace", 6, "DNS label"},
		{"backend filter", "{backendRefs: [{name: x, port: 1, filters: [{type: Magic}]}]}",
		 "spec.rules[0].backendRefs[0].filters[0].type", 6,
		 "filter type \"Magic\" is not known"},
		{"timeouts", "{timeouts: 10s}", "spec.rules[0].timeouts", 6,
		 "expected object, got string"},
		{"timeout", "{timeouts: {request: 10}}", "spec.rules[0].timeouts.request", 6,
		 "expected string, got number"},
		{"timeout text", "{timeouts: {backendRequest: 1d}}",
		 "spec.rules[0].timeouts.backendRequest", 6,
		 "must be a duration like 1h30m, 10s or 500ms, got \"1d\""},
		{"longer attempt", "{timeouts: {request: 1s, backendRequest: 1001ms}}",
		 "spec.rules[0].timeouts.backendRequest", 6,
		 "must not be longer than timeouts.request"},
		{"retry", "{retry: 3}", "spec.rules[0].retry", 6, "expected object, got number"},
		{"low code", "{retry: {codes: [500, 399]}}", "spec.rules[0].retry.codes[1]", 6,
		 "must be from 400 to 599, got 399"},
		{"high code", "{retry: {codes: [600]}}", "spec.rules[0].retry.codes[0]", 6,
		 "must be from 400 to 599, got 600"},
		{"code is text", "{retry: {codes: ['500']}}", "spec.rules[0].retry.codes[0]", 6,
		 "expected integer, got string"},
		{"code twice", "{retry: {codes: [500, 503, 500]}}", "spec.rules[0].retry.codes[2]",
		 6, "500 is there twice"},
		{"codes", "{retry: {codes: 500}}", "spec.rules[0].retry.codes", 6,
		 "expected array, got number"},
		{"attempts", "{retry: {attempts: -1}}", "spec.rules[0].retry.attempts", 6,
		 "must be from 0 to 2147483647, got -1"},
		{"backoff", "{retry: {backoff: 1.5s}}", "spec.rules[0].retry.backoff", 6,
		 "must be a duration like 1h30m, 10s or 500ms, got \"1.5s\""},
		{"session", "{sessionPersistence: 1}", "spec.rules[0].sessionPersistence", 6,
		 "expected object, got number"},
		{"session type", "{sessionPersistence: {type: Ip}}",
		 "spec.rules[0].sessionPersistence.type", 6, "must be one of Cookie, Header"},
		{"header and cookie", "{sessionPersistence: {header: {name: a}}}",
		 "spec.rules[0].sessionPersistence.header", 6,
		 "must not be there with type Cookie"},
		{"cookie and header",
		 "{sessionPersistence: {type: Header, cookie: {}, header: {name: a}}}",
		 "spec.rules[0].sessionPersistence.cookie", 6,
		 "must not be there with type Header"},
		{"no header", "{sessionPersistence: {type: Header}}",
		 "spec.rules[0].sessionPersistence", 6, "type Header needs header.name"},
		{"header name", "{sessionPersistence: {type: Header, header: {name: a b}}}",
		 "spec.rules[0].sessionPersistence.header.name", 6, "got \"a b\""},
		{"cookie name", "{sessionPersistence: {cookie: {name: 'a;'}}}",
		 "spec.rules[0].sessionPersistence.cookie.name", 6, "got \"a;\""},
		{"cookie path", "{sessionPersistence: {cookie: {path: '/;Domain=a'}}}",
		 "spec.rules[0].sessionPersistence.cookie.path", 6,
		 "must be a path that starts with \"/\" and has no \";\""},
		{"permanent", "{sessionPersistence: {cookie: {lifetimeType: Permanent}}}",
		 "spec.rules[0].sessionPersistence", 6,
		 "absoluteTimeout is required with lifetimeType Permanent"},
		{"absolute", "{sessionPersistence: {absoluteTimeout: 1d}}",
		 "spec.rules[0].sessionPersistence.absoluteTimeout", 6, "must be a duration"},
		{"same name", "name: a\n  - name: a", "spec.rules[1].name", 7,
		 "must be unique in the route"},
	};

	check_rules(cases, "UnsupportedValue");
}

Test(httproute, retries_are_read)
{
	const struct sl_route_rule *rules;
	struct decoded d;

	decode(RULE "{retry: {codes: [400, 599, 503], attempts: 7, backoff: 1s500ms}}\n"
		    "  - {retry: {}}\n  - {retry: {attempts: 0, backoff: 0s}}\n  - {}\n",
	       &d);
	rules = route(&d)->rules;
	cr_expect_eq(d.diags.n, 0);
	cr_assert_eq(rules[0].retry->n_codes, 3);
	cr_expect_eq(rules[0].retry->codes[1], 599);
	cr_expect_eq(rules[0].retry->attempts, 7);
	cr_expect_eq(rules[0].retry->backoff_ns, 1500 * SL_NS_PER_MS);
	cr_expect_eq(rules[1].retry->n_codes, 0);
	cr_expect_eq(rules[1].retry->attempts, 1, "the API's default");
	cr_expect_eq(rules[1].retry->backoff_ns, SL_DURATION_UNSET);
	cr_expect_eq(rules[2].retry->attempts, 0);
	cr_expect_eq(rules[2].retry->backoff_ns, 0);
	cr_expect_null(rules[3].retry);
	decoded_free(&d);
}

Test(httproute, session_persistence_is_read_in_both_forms)
{
	const struct sl_route_rule *rules;
	struct decoded d;

	decode(RULE
	       "{sessionPersistence: {cookie: {}}}\n"
	       "  - {sessionPersistence: {type: Cookie, absoluteTimeout: 1h, cookie: {name: a, "
	       "path: /b, lifetimeType: Permanent}}}\n"
	       "  - {sessionPersistence: {type: Header, header: {name: X-A}}}\n"
	       "  - {sessionPersistence: {sessionName: old, idleTimeout: 1m, absoluteTimeout: "
	       "2m, cookieConfig: {lifetimeType: Permanent}}}\n"
	       "  - {sessionPersistence: {sessionName: X-Old, type: Header}}\n  - {}\n",
	       &d);
	rules = route(&d)->rules;
	cr_expect_eq(d.diags.n, 0);
	cr_expect_eq(rules[0].persistence->name.len, 0);
	expect_str(rules[0].persistence->path, "/");
	cr_expect_not(rules[0].persistence->is_header || rules[0].persistence->permanent);
	expect_str(rules[1].persistence->name, "a");
	expect_str(rules[1].persistence->path, "/b");
	cr_expect(rules[1].persistence->permanent);
	cr_expect_eq(rules[1].persistence->absolute_timeout_ns, 3600 * SL_NS_PER_S);
	cr_expect(rules[2].persistence->is_header);
	expect_str(rules[2].persistence->name, "X-A");
	expect_str(rules[3].persistence->name, "old");
	cr_expect(rules[3].persistence->permanent);
	cr_expect_eq(rules[3].persistence->idle_timeout_ns, 60 * SL_NS_PER_S);
	cr_expect(rules[4].persistence->is_header);
	expect_str(rules[4].persistence->name, "X-Old");
	cr_expect_null(rules[5].persistence);
	decoded_free(&d);
}

Test(httproute, a_bad_rule_leaves_its_neighbours_alone)
{
	const struct sl_route_object *r;
	struct decoded d;

	decode(RULE "backendRefs: [{name: a, port: 1}]\n  - backendRefs: [{name: b}]\n"
		    "  - backendRefs: [{name: c, port: 3}]\n",
	       &d);
	r = route(&d);
	cr_assert_eq(r->n_rules, 3);
	cr_expect_null(r->rules[0].error);
	cr_expect_not_null(r->rules[1].error);
	cr_expect_null(r->rules[2].error);
	expect_str(r->rules[2].backend_refs[0].name, "c");
	cr_expect_eq(d.diags.n_errors, 1);
	decoded_free(&d);
}

Test(httproute, the_first_error_is_the_rules_and_all_are_reported)
{
	struct decoded d;

	decode(RULE "{matches: [{method: X}, {path: {value: a}}], backendRefs: [{name: b}]}", &d);
	cr_expect_eq(d.diags.n_errors, 3);
	expect_str(route(&d)->rules[0].error->field, "spec.rules[0].matches[0].method");
	decoded_free(&d);
}

Test(httproute, unknown_fields_are_warnings)
{
	static const struct problem_case cases[] = {
		{"rule", "{backends: []}", "spec.rules[0].backends", 6, "unknown field"},
		{"match", "{matches: [{host: a}]}", "spec.rules[0].matches[0].host", 6,
		 "unknown field"},
		{"path", "{matches: [{path: {val: a}}]}", "spec.rules[0].matches[0].path.val", 6,
		 "unknown field"},
		{"header", "{matches: [{headers: [{name: a, value: b, x: y}]}]}",
		 "spec.rules[0].matches[0].headers[0].x", 6, "unknown field"},
		{"filter", "{filters: [{type: URLRewrite, urlRewrite: {}, x: y}]}",
		 "spec.rules[0].filters[0].x", 6, "unknown field"},
		{"rewrite", "{filters: [{type: URLRewrite, urlRewrite: {x: y}}]}",
		 "spec.rules[0].filters[0].urlRewrite.x", 6, "unknown field"},
		{"redirect", "{filters: [{type: RequestRedirect, requestRedirect: {x: y}}]}",
		 "spec.rules[0].filters[0].requestRedirect.x", 6, "unknown field"},
		{"modifier",
		 "{filters: [{type: RequestHeaderModifier, requestHeaderModifier: {x: y}}]}",
		 "spec.rules[0].filters[0].requestHeaderModifier.x", 6, "unknown field"},
		{"backend", "{backendRefs: [{name: a, port: 1, wieght: 1}]}",
		 "spec.rules[0].backendRefs[0].wieght", 6, "unknown field"},
		{"timeouts", "{timeouts: {idle: 1s}}", "spec.rules[0].timeouts.idle", 6,
		 "unknown field"},
		{"retry", "{retry: {code: [500]}}", "spec.rules[0].retry.code", 6, "unknown field"},
		{"second header",
		 "{matches: [{headers: [{name: a, value: b}, {name: A, value: c}]}]}",
		 "spec.rules[0].matches[0].headers[1]", 6, "matched above already"},
		{"second query",
		 "{matches: [{queryParams: [{name: a, value: b}, {name: a, value: c}]}]}",
		 "spec.rules[0].matches[0].queryParams[1]", 6, "matched above already"},
	};

	check_all(RULE, cases, 0, SL_SEVERITY_WARNING);
}

Test(httproute, query_names_differ_by_case)
{
	struct decoded d;

	decode(RULE "{matches: [{queryParams: [{name: a, value: b}, {name: A, value: c}]}]}", &d);
	cr_expect_eq(route(&d)->rules[0].matches[0].n_queries, 2);
	cr_expect_eq(d.diags.n, 0);
	decoded_free(&d);
}
