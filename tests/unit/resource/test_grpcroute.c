/* SPDX-License-Identifier: Apache-2.0 */
#define KIND "GRPCRoute"
#include "routes.h"

/* ---- what is read ---- */

Test(grpcroute, served_versions)
{
	static const struct {
		const char *version;
		int r;
	} cases[] = {{"v1", 0}, {"v1alpha2", 0}, {"v1beta1", SL_DECODE_IGNORED}};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char *text =
			sl_asprintf("{apiVersion: gateway.networking.k8s.io/%s, kind: GRPCRoute, "
				    "metadata: {name: r}, spec: {}}",
				    cases[i].version);
		struct decoded d;

		decode(text, &d);
		cr_expect_eq(d.r, cases[i].r, "%s", cases[i].version);
		decoded_free(&d);
		free(text);
	}
}

Test(grpcroute, a_route_without_rules_has_none)
{
	static const char *const specs[] = {"{}", "{rules: null}", "{rules: []}"};

	for (size_t i = 0; i < sizeof(specs) / sizeof(specs[0]); i++) {
		char *text = sl_asprintf(TYPE "spec: %s", specs[i]);
		struct decoded d;

		decode(text, &d);
		cr_expect_eq(route(&d)->object.kind, SL_KIND_GRPCROUTE);
		cr_expect_eq(route(&d)->n_rules, 0, "%s", specs[i]);
		cr_expect_eq(d.diags.n, 0);
		decoded_free(&d);
		free(text);
	}
}

Test(grpcroute, a_rule_without_matches_matches_everything)
{
	static const char *const rules[] = {"{}", "{matches: null}", "{matches: []}",
					    "{matches: [{}]}", "{matches: [{method: null}]}"};

	for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
		char *text = sl_asprintf(RULE "%s", rules[i]);
		const struct sl_route_rule *rule;
		struct decoded d;

		decode(text, &d);
		rule = &route(&d)->rules[0];
		cr_expect_null(rule->error, "%s", rules[i]);
		cr_assert_eq(rule->n_matches, 1);
		expect_str(rule->matches[0].rpc_service, "");
		expect_str(rule->matches[0].rpc_method, "");
		cr_expect_eq(rule->matches[0].n_headers, 0);
		cr_expect_eq(rule->request_timeout_ns, SL_DURATION_UNSET);
		cr_expect_eq(rule->backend_request_timeout_ns, SL_DURATION_UNSET);
		decoded_free(&d);
		free(text);
	}
}

Test(grpcroute, everything_is_read)
{
	const struct sl_route_match *m;
	const struct sl_route_rule *r;
	struct decoded d;

	decode(SPEC
	       "  parentRefs: [{group: '', kind: Service, name: cart, port: 9000}]\n"
	       "  hostnames: ['*.example.com']\n  rules:\n  - name: greet\n    matches:\n"
	       "    - method: {service: pkg.v1.Greeter, method: SayHello}\n"
	       "      headers: [{name: X-Env, value: a}, {type: RegularExpression, name: v, "
	       "value: '[12]'}]\n"
	       "    - method: {type: Exact, service: .Greeter_2}\n"
	       "    - method: {method: _Say9}\n"
	       "    - method: {type: RegularExpression, service: 'pkg\\..*', method: ''}\n"
	       "    filters: [{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: "
	       "a, value: b}]}}, {type: ResponseHeaderModifier, responseHeaderModifier: {}}]\n"
	       "    backendRefs: [{name: v1, port: 9000, weight: 3, filters: [{type: "
	       "RequestHeaderModifier, requestHeaderModifier: {remove: [c]}}]}]\n",
	       &d);
	cr_assert_eq(route(&d)->n_rules, 1);
	cr_expect_eq(d.diags.n, 0);
	cr_expect_eq(route(&d)->parent_refs[0].port, 9000);
	expect_str(route(&d)->hostnames[0], "*.example.com");
	r = route(&d)->rules;
	cr_expect_null(r->error);
	expect_str(r->name, "greet");
	cr_assert_eq(r->n_matches, 4);
	m = r->matches;
	cr_expect_eq(m[0].rpc_type, SL_VALUE_EXACT);
	expect_str(m[0].rpc_service, "pkg.v1.Greeter");
	expect_str(m[0].rpc_method, "SayHello");
	cr_assert_eq(m[0].n_headers, 2);
	expect_str(m[0].headers[0].name, "X-Env");
	cr_expect_eq(m[0].headers[1].type, SL_VALUE_REGEX);
	expect_str(m[1].rpc_service, ".Greeter_2");
	expect_str(m[1].rpc_method, "");
	expect_str(m[2].rpc_service, "");
	expect_str(m[2].rpc_method, "_Say9");
	cr_expect_eq(m[3].rpc_type, SL_VALUE_REGEX);
	expect_str(m[3].rpc_service, "pkg\\..*");
	expect_str(m[3].rpc_method, "");
	cr_expect_eq(r->n_filters, 2);
	cr_assert_eq(r->n_backend_refs, 1);
	cr_expect_eq(r->backend_refs[0].weight, 3);
	cr_expect_eq(r->backend_refs[0].n_filters, 1);
	decoded_free(&d);
}

/* ---- errors ---- */

Test(grpcroute, errors_outside_of_rules_make_the_object_invalid)
{
	static const struct problem_case cases[] = {
		{"no spec", "", "spec", 1, "required"},
		{"parents", "spec: {parentRefs: x}", "spec.parentRefs", 4, "expected array"},
		{"hostname", "spec: {hostnames: [A]}", "spec.hostnames[0]", 4, "host name"},
		{"rules", "spec: {rules: {}}", "spec.rules", 4, "expected array"},
	};

	check_all(TYPE, cases, SL_DECODE_INVALID, SL_SEVERITY_ERROR);
}

Test(grpcroute, a_bad_match_costs_its_rule)
{
	static const struct problem_case cases[] = {
		{"method", "{matches: [{method: SayHello}]}", "spec.rules[0].matches[0].method", 6,
		 "expected object, got string"},
		{"neither", "{matches: [{method: {}}]}", "spec.rules[0].matches[0].method", 6,
		 "must have service, method or both"},
		{"both empty", "{matches: [{method: {service: '', method: ''}}]}",
		 "spec.rules[0].matches[0].method", 6, "must have service, method or both"},
		{"type alone", "{matches: [{method: {type: RegularExpression}}]}",
		 "spec.rules[0].matches[0].method", 6, "must have service, method or both"},
		{"type", "{matches: [{method: {type: Prefix, service: a}}]}",
		 "spec.rules[0].matches[0].method.type", 6,
		 "must be one of Exact, RegularExpression, got \"Prefix\""},
		{"service slash", "{matches: [{method: {service: a/b}}]}",
		 "spec.rules[0].matches[0].method.service", 6, "must be a gRPC service"},
		{"service dots", "{matches: [{method: {service: a..b}}]}",
		 "spec.rules[0].matches[0].method.service", 6, "must be a gRPC service"},
		{"service ends", "{matches: [{method: {service: a.}}]}",
		 "spec.rules[0].matches[0].method.service", 6, "must be a gRPC service"},
		{"service dot", "{matches: [{method: {service: .}}]}",
		 "spec.rules[0].matches[0].method.service", 6, "must be a gRPC service"},
		{"service digit", "{matches: [{method: {service: a.1b}}]}",
		 "spec.rules[0].matches[0].method.service", 6, "must be a gRPC service"},
		{"method dot", "{matches: [{method: {method: a.b}}]}",
		 "spec.rules[0].matches[0].method.method", 6, "must be a gRPC method"},
		{"method digit", "{matches: [{method: {method: 1a}}]}",
		 "spec.rules[0].matches[0].method.method", 6, "must be a gRPC method"},
		{"method dash", "matches:\n    - method:\n        method: a-b",
		 "spec.rules[0].matches[0].method.method", 8, "must be a gRPC method"},
		{"method number", "{matches: [{method: {method: 1}}]}",
		 "spec.rules[0].matches[0].method.method", 6, "expected string, got number"},
		{"header", "{matches: [{headers: [{name: a}]}]}",
		 "spec.rules[0].matches[0].headers[0].value", 6, "required"},
		{"header type", "{matches: [{headers: [{type: Glob, name: a, value: b}]}]}",
		 "spec.rules[0].matches[0].headers[0].type", 6, "must be one of"},
	};

	check_rules(cases, "UnsupportedValue");
}

Test(grpcroute, what_it_does_not_have_costs_the_rule)
{
	static const struct problem_case cases[] = {
		{"redirect", "{filters: [{type: RequestRedirect, requestRedirect: {}}]}",
		 "spec.rules[0].filters[0].type", 6,
		 "a GRPCRoute has no filters of type RequestRedirect"},
		{"rewrite", "{filters: [{type: URLRewrite, urlRewrite: {}}]}",
		 "spec.rules[0].filters[0].type", 6, "no filters of type URLRewrite"},
		{"cors", "{filters: [{type: CORS, cors: {}}]}", "spec.rules[0].filters[0].type", 6,
		 "no filters of type CORS"},
		{"in a backend",
		 "{backendRefs: [{name: a, port: 1, filters: [{type: URLRewrite, urlRewrite: "
		 "{}}]}]}",
		 "spec.rules[0].backendRefs[0].filters[0].type", 6,
		 "no filters of type URLRewrite"},
		{"mirror", "{filters: [{type: RequestMirror, requestMirror: {}}]}",
		 "spec.rules[0].filters[0].requestMirror.backendRef", 6, "required"},
		{"extension", "{filters: [{type: ExtensionRef, extensionRef: {}}]}",
		 "spec.rules[0].filters[0].type", 6, "filter type ExtensionRef is not supported"},
		{"session", "{sessionPersistence: {type: Header}}",
		 "spec.rules[0].sessionPersistence", 6, "type Header needs header.name"},
		{"backend", "{backendRefs: [{name: a}]}", "spec.rules[0].backendRefs[0].port", 6,
		 "required for a Service"},
		{"same name", "name: a\n  - name: a", "spec.rules[1].name", 7,
		 "must be unique in the route"},
	};
	static const struct problem_case unknown[] = {
		{"timeouts", "{timeouts: {request: 1s}}", "spec.rules[0].timeouts", 6,
		 "unknown field"},
		{"retry", "{retry: {}}", "spec.rules[0].retry", 6, "unknown field"},
		{"path", "{matches: [{path: {value: /a}}]}", "spec.rules[0].matches[0].path", 6,
		 "unknown field"},
		{"queries", "{matches: [{queryParams: []}]}",
		 "spec.rules[0].matches[0].queryParams", 6, "unknown field"},
	};

	check_rules(cases, "UnsupportedValue");
	check_all(RULE, unknown, 0, SL_SEVERITY_WARNING);
}

Test(grpcroute, filters_that_are_repeated_cost_the_rule)
{
	static const struct problem_case cases[] = {
		{"modifier twice",
		 "{filters: [{type: RequestHeaderModifier, requestHeaderModifier: {}}, "
		 "{type: RequestHeaderModifier, requestHeaderModifier: {}}]}",
		 "spec.rules[0].filters[1]", 6,
		 "filter type RequestHeaderModifier cannot be repeated"},
	};

	check_rules(cases, "IncompatibleFilters");
}

Test(grpcroute, the_length_of_names_is_limited)
{
	static const struct {
		const char *before, *after, *field;
	} cases[] = {
		{"{matches: [{method: {service: ", "}}]}",
		 "spec.rules[0].matches[0].method.service"},
		{"{matches: [{method: {method: ", "}}]}", "spec.rules[0].matches[0].method.method"},
		{"{matches: [{method: {type: RegularExpression, service: ", "}}]}",
		 "spec.rules[0].matches[0].method.service"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		for (size_t over = 0; over < 2; over++) {
			char *value = repeat(1024 + over, "", "a");
			char *text =
				sl_asprintf(RULE "%s%s%s", cases[i].before, value, cases[i].after);
			struct decoded d;

			decode(text, &d);
			cr_expect_eq(find_diag(&d.diags, SL_SEVERITY_ERROR, cases[i].field,
					       "must have at most 1024 characters") != NULL,
				     over, "%s, %zu over", cases[i].field, over);
			decoded_free(&d);
			free(text);
			free(value);
		}
	}
}
