/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "decoding.h"

#define HEAD                                                                              \
	"apiVersion: gateway.networking.x-k8s.io/v1alpha1\nkind: XBackendTrafficPolicy\n" \
	"metadata: {name: p, namespace: shop}\n"
#define TARGET "targetRefs: [{group: '', kind: Service, name: cart}]"

static const struct sl_traffic_policy *policy(const struct decoded *d)
{
	cr_assert_eq(d->r, 0);
	cr_assert_eq(d->object->kind, SL_KIND_BACKENDTRAFFICPOLICY);
	return (const struct sl_traffic_policy *)d->object;
}

Test(backendtrafficpolicy, budgets_are_read)
{
	const struct sl_retry_budget_spec *b;
	struct decoded d;

	decode(HEAD "spec: {" TARGET ", retryConstraint: {budget: {percent: 0, interval: 1h}, "
		    "minRetryRate: {count: 1, interval: 1s}}}",
	       &d);
	b = &policy(&d)->retry_budget;
	cr_expect_eq(d.diags.n, 0);
	cr_expect_eq(policy(&d)->policy.n_target_refs, 1);
	expect_str(policy(&d)->policy.target_refs[0].namespace, "shop");
	cr_expect_eq(b->percent, 0);
	cr_expect_eq(b->interval_ns, 3600 * SL_NS_PER_S);
	cr_expect_eq(b->rate_count, 1);
	cr_expect_eq(b->rate_interval_ns, SL_NS_PER_S);
	decoded_free(&d);
}

Test(backendtrafficpolicy, the_api_has_defaults)
{
	const struct sl_retry_budget_spec *b;
	struct decoded d;

	decode(HEAD "spec: {" TARGET ", retryConstraint: {}}", &d);
	b = &policy(&d)->retry_budget;
	cr_expect_eq(b->percent, 20);
	cr_expect_eq(b->interval_ns, 10 * SL_NS_PER_S);
	cr_expect_eq(b->rate_count, 10);
	cr_expect_eq(b->rate_interval_ns, SL_NS_PER_S);
	decoded_free(&d);
	decode(HEAD "spec: {" TARGET "}", &d);
	cr_expect_eq(policy(&d)->retry_budget.interval_ns, 0, "no constraint is none");
	cr_expect_null(policy(&d)->persistence);
	decoded_free(&d);
}

Test(backendtrafficpolicy, a_session)
{
	struct decoded d;

	decode(HEAD "spec: {" TARGET ", sessionPersistence: {cookie: {name: pin}}}", &d);
	cr_assert_not_null(policy(&d)->persistence);
	expect_str(policy(&d)->persistence->name, "pin");
	cr_expect_not(policy(&d)->persistence->is_header);
	decoded_free(&d);
}

static const struct {
	const char *spec, *field, *message;
} problems[] = {
	{"{}", "spec.targetRefs", "required, but missing"},
	{"{targetRefs: []}", "spec.targetRefs", "must have at least one item"},
	{"{targetRefs: [{group: a.b, kind: Pool, name: a}]}", "spec.targetRefs[0].kind",
	 "must be Service"},
	{"{" TARGET ", retryConstraint: {budget: {percent: 101}}}",
	 "spec.retryConstraint.budget.percent", "must be from 0 to 100"},
	{"{" TARGET ", retryConstraint: {budget: {interval: 999ms}}}",
	 "spec.retryConstraint.budget.interval", "must be from 1s to 1h"},
	{"{" TARGET ", retryConstraint: {minRetryRate: {interval: 61m}}}",
	 "spec.retryConstraint.minRetryRate.interval", "must be from 1s to 1h"},
	{"{" TARGET ", retryConstraint: {minRetryRate: {count: 0}}}",
	 "spec.retryConstraint.minRetryRate.count", "must be from 1 to"},
	{"{" TARGET ", sessionPersistence: {type: Header}}", "spec.sessionPersistence",
	 "type Header needs header.name"},
};

Test(backendtrafficpolicy, problems_name_the_field)
{
	for (size_t i = 0; i < sizeof(problems) / sizeof(*problems); i++) {
		char *text = sl_asprintf(HEAD "spec: %s", problems[i].spec);
		struct decoded d;

		decode(text, &d);
		cr_expect_eq(d.r, SL_DECODE_INVALID, "%s", problems[i].spec);
		cr_expect(find_diag(&d.diags, SL_SEVERITY_ERROR, problems[i].field,
				    problems[i].message),
			  "%s", problems[i].spec);
		decoded_free(&d);
		free(text);
	}
}
