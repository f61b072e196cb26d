/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What the tests of all kinds of routes share. The includer defines TYPE, the head of a document,
 * as TYPE_OF(kind). */
#include "decoding.h"

#define TYPE                                                                             \
	"apiVersion: gateway.networking.k8s.io/v1\nkind: " KIND "\nmetadata: {name: r, " \
	"namespace: shop}\n"
#define SPEC TYPE "spec:\n"
#define RULE SPEC "  rules:\n  - " /* the rule starts in line 6 */

static inline const struct sl_route_object *route(const struct decoded *d)
{
	if (d->r)
		print_diags(&d->diags);
	cr_assert_eq(d->r, 0);
	return (const struct sl_route_object *)d->object;
}

__attribute__((unused)) static inline void check_rule_errors(const struct problem_case *cases,
							     size_t n, const char *reason)
{
	check_problems(RULE, cases, n, 0, SL_SEVERITY_ERROR);
	for (size_t i = 0; i < n; i++) {
		char *text = sl_asprintf(RULE "%s", cases[i].yaml);
		const struct sl_route_rule *rule;
		struct decoded d;

		decode(text, &d);
		rule = &route(&d)->rules[route(&d)->n_rules - 1];
		cr_expect_not_null(rule->error, "%s", cases[i].name);
		cr_expect_geq(rule->n_matches, 1, "%s", cases[i].name);
		if (rule->error) {
			cr_expect_str_eq(rule->error->reason, reason, "%s", cases[i].name);
			expect_str(rule->error->field, cases[i].field);
			cr_expect(strstr(rule->error->message.ptr, cases[i].message), "%s: %s",
				  cases[i].name, rule->error->message.ptr);
		}
		decoded_free(&d);
		free(text);
	}
}

#define check_rules(cases, reason) \
	check_rule_errors(cases, sizeof(cases) / sizeof((cases)[0]), reason)
