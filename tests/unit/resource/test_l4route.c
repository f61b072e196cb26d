/* SPDX-License-Identifier: Apache-2.0 */
/* TLSRoute, TCPRoute and UDPRoute. */
#define KIND "TLSRoute"
#include "routes.h"

#define TCP                                                                              \
	"apiVersion: gateway.networking.k8s.io/v1\nkind: TCPRoute\nmetadata: {name: r, " \
	"namespace: shop}\nspec:\n"
#define BACKEND "rules: [{backendRefs: [{name: a, port: 1}]}]"

Test(l4route, a_tcproute_is_read)
{
	const struct sl_route_rule *rule;
	struct decoded d;

	decode(TCP "  parentRefs: [{group: '', kind: Service, name: db, port: 5432}]\n"
		   "  rules:\n  - name: all\n    backendRefs: [{name: a, port: 5432, weight: 9}, "
		   "{name: b, namespace: other, port: 5433}]\n",
	       &d);
	cr_assert_eq(route(&d)->object.kind, SL_KIND_TCPROUTE);
	cr_expect_eq(d.diags.n, 0);
	cr_expect_eq(route(&d)->parent_refs[0].port, 5432);
	cr_assert_eq(route(&d)->n_rules, 1);
	rule = route(&d)->rules;
	cr_expect_null(rule->error);
	expect_str(rule->name, "all");
	cr_expect_eq(rule->n_matches, 0);
	cr_assert_eq(rule->n_backend_refs, 2);
	cr_expect_eq(rule->backend_refs[0].weight, 9);
	expect_str(rule->backend_refs[1].namespace, "other");
	decoded_free(&d);
}

Test(l4route, a_udproute_is_read)
{
	struct decoded d;

	decode("apiVersion: gateway.networking.k8s.io/v1\nkind: UDPRoute\nmetadata: {name: r, "
	       "namespace: shop}\nspec:\n  parentRefs: [{group: '', kind: Service, name: dns, "
	       "port: 53}]\n  rules: [{backendRefs: [{name: a, port: 53, weight: 9}]}]\n",
	       &d);
	cr_assert_eq(route(&d)->object.kind, SL_KIND_UDPROUTE);
	cr_expect_eq(d.diags.n, 0);
	cr_assert_eq(route(&d)->n_rules, 1);
	cr_expect_null(route(&d)->rules[0].error);
	cr_expect_eq(route(&d)->rules[0].backend_refs[0].weight, 9);
	decoded_free(&d);
}

Test(l4route, a_tlsroute_is_read)
{
	struct decoded d;

	decode(SPEC "  hostnames: [a.example, '*.b.example']\n  " BACKEND "\n", &d);
	cr_assert_eq(route(&d)->object.kind, SL_KIND_TLSROUTE);
	cr_expect_eq(d.diags.n, 0);
	cr_assert_eq(route(&d)->n_hostnames, 2);
	expect_str(route(&d)->hostnames[0], "a.example");
	expect_str(route(&d)->hostnames[1], "*.b.example");
	cr_expect_null(route(&d)->rules[0].error);
	decoded_free(&d);
}

Test(l4route, served_versions)
{
	static const struct {
		const char *kind, *version;
		int r;
	} cases[] = {{"TLSRoute", "v1", 0},
		     {"TLSRoute", "v1alpha3", 0},
		     {"TLSRoute", "v1alpha2", 0},
		     {"TLSRoute", "v1beta1", SL_DECODE_IGNORED},
		     {"TCPRoute", "v1", 0},
		     {"TCPRoute", "v1alpha2", 0},
		     {"TCPRoute", "v1beta1", SL_DECODE_IGNORED},
		     {"UDPRoute", "v1", 0},
		     {"UDPRoute", "v1alpha2", 0},
		     {"UDPRoute", "v1beta1", SL_DECODE_IGNORED}};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		bool tls = strcmp(cases[i].kind, "TLSRoute") == 0;
		char *text =
			sl_asprintf("{apiVersion: gateway.networking.k8s.io/%s, kind: %s, "
				    "metadata: {name: r}, spec: {%s" BACKEND "}}",
				    cases[i].version, cases[i].kind, tls ? "hostnames: [a], " : "");
		struct decoded d;

		decode(text, &d);
		cr_expect_eq(d.r, cases[i].r, "%s", text);
		decoded_free(&d);
		free(text);
	}
}

Test(l4route, errors_outside_of_the_rule_make_the_object_invalid)
{
	static const struct problem_case tls[] = {
		{"no spec", "", "spec", 1, "required"},
		{"no hostnames", "spec: {" BACKEND "}", "spec.hostnames", 4, "required"},
		{"empty hostnames", "spec: {hostnames: [], " BACKEND "}", "spec.hostnames", 4,
		 "at least one item"},
		{"no array", "spec: {hostnames: a, " BACKEND "}", "spec.hostnames", 4,
		 "expected array"},
		{"address", "spec: {hostnames: [10.0.0.1], " BACKEND "}", "spec.hostnames[0]", 4,
		 "not an IP address"},
		{"upper case", "spec: {hostnames: [A.example], " BACKEND "}", "spec.hostnames[0]",
		 4, "host name"},
		{"star inside", "spec: {hostnames: [a.*.example], " BACKEND "}",
		 "spec.hostnames[0]", 4, "host name"},
		{"star alone", "spec: {hostnames: ['*'], " BACKEND "}", "spec.hostnames[0]", 4,
		 "host name"},
		{"no rules", "spec: {hostnames: [a]}", "spec.rules", 4, "required"},
	};
	static const struct problem_case tcp[] = {
		{"no rules", "  parentRefs: []", "spec.rules", 5, "required"},
		{"empty rules", "  rules: []", "spec.rules", 5, "exactly one rule, has 0"},
		{"two rules", "  rules: [{backendRefs: []}, {}]", "spec.rules", 5,
		 "exactly one rule, has 2"},
		{"no array", "  rules: {}", "spec.rules", 5, "expected array"},
	};

	check_all(TYPE, tls, SL_DECODE_INVALID, SL_SEVERITY_ERROR);
	check_all(TCP, tcp, SL_DECODE_INVALID, SL_SEVERITY_ERROR);
}

Test(l4route, errors_inside_cost_the_rule)
{
	static const struct problem_case cases[] = {
		{"no backends", "  rules: [{}]", "spec.rules[0].backendRefs", 5, "required"},
		{"empty backends", "  rules: [{backendRefs: []}]", "spec.rules[0].backendRefs", 5,
		 "at least one item"},
		{"no port", "  rules: [{backendRefs: [{name: a}]}]",
		 "spec.rules[0].backendRefs[0].port", 5, "required for a Service"},
		{"weight", "  rules: [{backendRefs: [{name: a, port: 1, weight: -1}]}]",
		 "spec.rules[0].backendRefs[0].weight", 5, "must be from 0"},
	};
	static const struct problem_case warnings[] = {
		{"filters", "  rules: [{backendRefs: [{name: a, port: 1, filters: []}]}]",
		 "spec.rules[0].backendRefs[0].filters", 5, "unknown field"},
		{"matches", "  rules: [{matches: [], backendRefs: [{name: a, port: 1}]}]",
		 "spec.rules[0].matches", 5, "unknown field"},
		{"hostnames", "  hostnames: [a]\n  " BACKEND, "spec.hostnames", 5, "unknown field"},
	};

	check_all(TCP, cases, 0, SL_SEVERITY_ERROR);
	check_all(TCP, warnings, 0, SL_SEVERITY_WARNING);
}

Test(l4route, a_tlsroute_has_at_most_1024_names)
{
	for (size_t over = 0; over < 2; over++) {
		char *items = repeat(1024 + over, ", ", "h%.example");
		char *text = sl_asprintf(SPEC "  hostnames: [%s]\n  " BACKEND, items);
		struct decoded d;

		decode(text, &d);
		cr_expect_eq(d.r, over ? SL_DECODE_INVALID : 0);
		cr_expect_eq(find_diag(&d.diags, SL_SEVERITY_ERROR, "spec.hostnames",
				       "must have at most 1024 items, has 1025") != NULL,
			     over);
		decoded_free(&d);
		free(text);
		free(items);
	}
}
