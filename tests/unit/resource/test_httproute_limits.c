/* SPDX-License-Identifier: Apache-2.0 */
#define KIND "HTTPRoute"
#include "routes.h"

Test(httproute_limits, values_that_are_just_right_cost_nothing)
{
	static const char *const rules[] = {
		"{timeouts: {request: 1s, backendRequest: 1000ms}}",
		"{timeouts: {request: 0s, backendRequest: 1h}}",
		"{timeouts: {backendRequest: 1h}}",
		"{timeouts: {request: null}, retry: null, sessionPersistence: null}",
		"{backendRefs: [{name: a, kind: Other, group: x.y}]}",
		"{backendRefs: [{name: a, port: 1}, {name: a, port: 1}]}",
		"{filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, "
		"replacePrefixMatch: /}}}]}",
		"{backendRefs: [{name: a, port: 1, filters: [{type: RequestRedirect, "
		"requestRedirect: {}}]}]}",
		"{filters: [{type: RequestRedirect, requestRedirect: {}}], backendRefs: []}",
		"{filters: [{type: RequestHeaderModifier, requestHeaderModifier: {add: [{name: a, "
		"value: \"b\\tc\"}]}}]}",
		"{matches: [{path: {value: \"/-._~!$&'()*+,;=:@%20\"}}]}",
		"{matches: [{path: {value: /...}}, {path: {value: /a/.b}}, {path: {value: "
		"/a/..b}}]}",
		"{matches: [{path: {type: RegularExpression, value: ''}}]}",
		"{name: a.b}",
	};

	for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
		char *text = sl_asprintf(RULE "%s", rules[i]);
		struct decoded d;

		decode(text, &d);
		cr_expect_null(route(&d)->rules[0].error, "%s", rules[i]);
		cr_expect_eq(d.diags.n, 0, "%s", rules[i]);
		decoded_free(&d);
		free(text);
	}
}

Test(httproute_limits, the_number_of_items_is_limited)
{
	static const struct {
		const char *before, *item, *after, *field;
		size_t limit;
		bool invalid; /* costs the object, not the rule */
	} cases[] = {
		{SPEC "  parentRefs: [", "{name: p%}", "]", "spec.parentRefs", 32, true},
		{SPEC "  hostnames: [", "h%.example", "]", "spec.hostnames", 16, true},
		{SPEC "  rules: [", "{name: r%}", "]", "spec.rules", 16, true},
		{RULE "{matches: [", "{path: {value: /%}}", "]}", "spec.rules[0].matches", 64,
		 false},
		{RULE "{matches: [{headers: [", "{name: h%, value: v}", "]}]}",
		 "spec.rules[0].matches[0].headers", 16, false},
		{RULE "{matches: [{queryParams: [", "{name: h%, value: v}", "]}]}",
		 "spec.rules[0].matches[0].queryParams", 16, false},
		{RULE "{backendRefs: [", "{name: b%, port: 1}", "]}", "spec.rules[0].backendRefs",
		 16, false},
		{RULE "{filters: [{type: RequestHeaderModifier, requestHeaderModifier: {set: [",
		 "{name: h%, value: v}", "]}}]}",
		 "spec.rules[0].filters[0].requestHeaderModifier.set", 16, false},
		{RULE "{filters: [{type: RequestHeaderModifier, requestHeaderModifier: {add: [",
		 "{name: h%, value: v}", "]}}]}",
		 "spec.rules[0].filters[0].requestHeaderModifier.add", 16, false},
		{RULE "{filters: [{type: RequestHeaderModifier, requestHeaderModifier: {remove: [",
		 "h%", "]}}]}", "spec.rules[0].filters[0].requestHeaderModifier.remove", 16, false},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		for (size_t over = 0; over < 2; over++) {
			char *items = repeat(cases[i].limit + over, ", ", cases[i].item);
			char *text = sl_asprintf("%s%s%s", cases[i].before, items, cases[i].after);
			struct decoded d;

			decode(text, &d);
			cr_expect_eq(d.diags.n_errors, over, "%s, %zu over", cases[i].field, over);
			cr_expect_eq(find_diag(&d.diags, SL_SEVERITY_ERROR, cases[i].field,
					       "must have at most") != NULL,
				     over, "%s, %zu over", cases[i].field, over);
			cr_expect_eq(d.r, over && cases[i].invalid ? SL_DECODE_INVALID : 0, "%s",
				     cases[i].field);
			if (d.r == 0)
				cr_expect_eq(route(&d)->rules[0].error != NULL, over, "%s",
					     cases[i].field);
			decoded_free(&d);
			free(text);
			free(items);
		}
	}
}

Test(httproute_limits, filters_are_limited_to_sixteen)
{
	for (size_t over = 0; over < 2; over++) {
		char *items = repeat(16 + over, ", ", "{type: RequestMirror, requestMirror: {}}");
		char *text = sl_asprintf(RULE "{filters: [%s]}", items);
		struct decoded d;

		decode(text, &d);
		cr_expect_eq(find_diag(&d.diags, SL_SEVERITY_ERROR, "spec.rules[0].filters",
				       "must have at most 16 items, has 17") != NULL,
			     over);
		cr_expect_eq(route(&d)->rules[0].n_filters, 16);
		decoded_free(&d);
		free(text);
		free(items);
	}
}

Test(httproute_limits, all_matches_together_are_limited)
{
	for (size_t over = 0; over < 2; over++) {
		char *items = repeat(42, ", ", "{path: {value: /%}}");
		char *text = sl_asprintf(
			SPEC
			"  rules: [{matches: [%s]}, {matches: [%s]}, {matches: [%s]}, {}, {}%s]",
			items, items, items, over ? ", {}" : "");
		struct decoded d;

		decode(text, &d);
		cr_expect_eq(d.r, over ? SL_DECODE_INVALID : 0);
		cr_expect_eq(
			find_diag(&d.diags, SL_SEVERITY_ERROR, "spec.rules",
				  "must have at most 128 matches in all rules together, has 129") !=
				NULL,
			over);
		decoded_free(&d);
		free(text);
		free(items);
	}
}

Test(httproute_limits, the_length_of_texts_is_limited)
{
	static const struct {
		const char *before, *after, *field;
		const char *unit; /* one character */
		size_t limit;
	} cases[] = {
		{SPEC "  parentRefs: [{name: ", "}]", "spec.parentRefs[0].name", "a", 253},
		{SPEC "  parentRefs: [{name: a, namespace: ", "}]", "spec.parentRefs[0].namespace",
		 "a", 63},
		{SPEC "  parentRefs: [{name: a, group: ", "}]", "spec.parentRefs[0].group", "a",
		 253},
		{SPEC "  parentRefs: [{name: a, kind: ", "}]", "spec.parentRefs[0].kind", "a", 63},
		{SPEC "  parentRefs: [{name: a, sectionName: ", "}]",
		 "spec.parentRefs[0].sectionName", "a", 253},
		{SPEC "  hostnames: [", "]", "spec.hostnames[0]", "a", 253},
		{RULE "{name: ", "}", "spec.rules[0].name", "a", 253},
		{RULE "{matches: [{path: {value: /", "}}]}", "spec.rules[0].matches[0].path.value",
		 "a", 1023},
		{RULE "{matches: [{path: {type: RegularExpression, value: ", "}}]}",
		 "spec.rules[0].matches[0].path.value", "\xc3\xa4", 1024},
		{RULE "{matches: [{headers: [{value: x, name: ", "}]}]}",
		 "spec.rules[0].matches[0].headers[0].name", "a", 256},
		{RULE "{matches: [{headers: [{name: x, value: ", "}]}]}",
		 "spec.rules[0].matches[0].headers[0].value", "\xe2\x82\xac", 4096},
		{RULE "{matches: [{queryParams: [{value: x, name: ", "}]}]}",
		 "spec.rules[0].matches[0].queryParams[0].name", "a", 256},
		{RULE "{matches: [{queryParams: [{name: x, value: ", "}]}]}",
		 "spec.rules[0].matches[0].queryParams[0].value", "a", 1024},
		{RULE "{backendRefs: [{port: 1, name: ", "}]}", "spec.rules[0].backendRefs[0].name",
		 "a", 253},
		{RULE "{filters: [{type: URLRewrite, urlRewrite: {hostname: ", "}}]}",
		 "spec.rules[0].filters[0].urlRewrite.hostname", "a", 253},
		{RULE "{filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplaceFullPath, "
		      "replaceFullPath: /",
		 "}}}]}", "spec.rules[0].filters[0].urlRewrite.path.replaceFullPath", "a", 1023},
		{RULE "{filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, "
		      "replacePrefixMatch: /",
		 "}}}]}", "spec.rules[0].filters[0].urlRewrite.path.replacePrefixMatch", "a", 1023},
		{RULE "{filters: [{type: RequestHeaderModifier, requestHeaderModifier: {set: "
		      "[{value: x, name: ",
		 "}]}}]}", "spec.rules[0].filters[0].requestHeaderModifier.set[0].name", "a", 256},
		{RULE "{filters: [{type: RequestHeaderModifier, requestHeaderModifier: {set: "
		      "[{name: x, value: ",
		 "}]}}]}", "spec.rules[0].filters[0].requestHeaderModifier.set[0].value", "a",
		 4096},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		for (size_t over = 0; over < 2; over++) {
			char *value = repeat(cases[i].limit + over, "", cases[i].unit);
			char *text = sl_asprintf("%s%s%s", cases[i].before, value, cases[i].after);
			struct decoded d;

			decode(text, &d);
			cr_expect_eq(d.diags.n, over, "%s, %zu over", cases[i].field, over);
			cr_expect_eq(find_diag(&d.diags, SL_SEVERITY_ERROR, cases[i].field,
					       "must have at most") != NULL,
				     over, "%s, %zu over", cases[i].field, over);
			decoded_free(&d);
			free(text);
			free(value);
		}
	}
}
