/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "decoding.h"

#define HEAD                                                            \
	"apiVersion: policy.sluice.dev/v1alpha1\nkind: TrafficPolicy\n" \
	"metadata: {name: p, namespace: shop}\n"
#define TARGET "targetRefs: [{kind: Service, name: cart}]"

static const struct sl_traffic_policy *policy(const struct decoded *d)
{
	cr_assert_eq(d->r, 0);
	cr_assert_eq(d->object->kind, SL_KIND_TRAFFICPOLICY);
	return (const struct sl_traffic_policy *)d->object;
}

Test(trafficpolicy, all_fields_are_read)
{
	const struct sl_traffic_policy *p;
	struct decoded d;

	decode(HEAD
	       "spec:\n"
	       "  targetRefs: [{group: \"\", kind: Service, name: cart, sectionName: web}, {kind: "
	       "Service, name: cart}]\n"
	       "  loadBalancer: {type: ConsistentHash, consistentHash: {type: Header, name: "
	       "X-User}}\n"
	       "  outlierDetection: {consecutive5xx: 0, consecutiveGatewayErrors: 2, "
	       "consecutiveConnectErrors: 1, interval: 1s, baseEjectionTime: 2s, maxEjectionTime: "
	       "1m, maxEjectedPercent: 100}\n"
	       "  circuitBreaker: {maxConnections: 1, maxPendingRequests: 2, maxRequests: 3, "
	       "maxRequestsPerConnection: 4, perEndpoint: {maxConnections: 5, maxRequests: 6}}\n",
	       &d);
	p = policy(&d);
	cr_expect_eq(d.diags.n, 0);
	cr_assert_eq(p->policy.n_target_refs, 2);
	expect_str(p->policy.target_refs[0].namespace, "shop");
	expect_str(p->policy.target_refs[0].section_name, "web");
	cr_expect_eq(p->balancer, SL_POLICY_CONSISTENT_HASH);
	cr_expect_eq(p->hash, SL_POLICY_HASH_HEADER);
	expect_str(p->hash_name, "x-user");
	cr_expect_eq(p->outliers.errors, 0);
	cr_expect_eq(p->outliers.gateway_errors, 2);
	cr_expect_eq(p->outliers.connect_errors, 1);
	cr_expect_eq(p->outliers.interval_ns, SL_NS_PER_S);
	cr_expect_eq(p->outliers.ejection_ns, 2 * SL_NS_PER_S);
	cr_expect_eq(p->outliers.max_ejection_ns, 60 * SL_NS_PER_S);
	cr_expect_eq(p->outliers.max_percent, 100);
	cr_expect_eq(p->limits.connections, 1);
	cr_expect_eq(p->limits.pending, 2);
	cr_expect_eq(p->limits.requests, 3);
	cr_expect_eq(p->limits.requests_per_connection, 4);
	cr_expect_eq(p->limits.endpoint_connections, 5);
	cr_expect_eq(p->limits.endpoint_requests, 6);
	decoded_free(&d);
}

Test(trafficpolicy, what_is_not_said_is_off_or_has_its_default)
{
	const struct sl_traffic_policy *p;
	struct decoded d;

	decode(HEAD "spec: {" TARGET "}", &d);
	p = policy(&d);
	cr_expect_eq(p->balancer, SL_POLICY_ROUND_ROBIN);
	cr_expect_eq(p->outliers.interval_ns, 0);
	cr_expect_eq(p->limits.requests, 0);
	decoded_free(&d);
	decode(HEAD "spec: {" TARGET ", outlierDetection: {baseEjectionTime: 10m}}", &d);
	p = policy(&d);
	cr_expect_eq(p->outliers.errors, 5);
	cr_expect_eq(p->outliers.gateway_errors, 0);
	cr_expect_eq(p->outliers.interval_ns, 10 * SL_NS_PER_S);
	cr_expect_eq(p->outliers.max_ejection_ns, 600 * SL_NS_PER_S, "not below the base");
	cr_expect_eq(p->outliers.max_percent, 50);
	decoded_free(&d);
}

Test(trafficpolicy, bad_values_make_the_object_invalid)
{
	static const struct problem_case cases[] = {
		{"no spec", "", "spec", 1, "required"},
		{"no targets", "spec: {}", "spec.targetRefs", 4, "required"},
		{"empty targets", "spec: {targetRefs: []}", "spec.targetRefs", 4, "at least one"},
		{"kind", "spec: {targetRefs: [{kind: Pod, name: x}]}", "spec.targetRefs[0].kind", 4,
		 "must be Service of group"},
		{"group", "spec: {targetRefs: [{group: x.y, kind: Service, name: x}]}",
		 "spec.targetRefs[0].kind", 4, "must be Service of group"},
		{"a route's group", "spec: {targetRefs: [{kind: HTTPRoute, name: x}]}",
		 "spec.targetRefs[0].kind", 4, "or HTTPRoute or GRPCRoute of group"},
		{"a route of connections",
		 "spec: {targetRefs: [{group: gateway.networking.k8s.io, kind: TCPRoute, name: "
		 "x}]}",
		 "spec.targetRefs[0].kind", 4, "or HTTPRoute or GRPCRoute of group"},
		{"a rule",
		 "spec: {targetRefs: [{group: gateway.networking.k8s.io, kind: HTTPRoute, name: x, "
		 "sectionName: a}]}",
		 "spec.targetRefs[0].sectionName", 4, "for Services alone"},
		{"name", "spec: {targetRefs: [{kind: Service}]}", "spec.targetRefs[0].name", 4,
		 "required"},
		{"twice",
		 "spec: {targetRefs: [{kind: Service, name: a}, {kind: Service, name: a}]}",
		 "spec.targetRefs[1]", 4, "is the same as targetRefs[0]"},
		{"balancer", "spec: {" TARGET ", loadBalancer: {type: Best}}",
		 "spec.loadBalancer.type", 4, "must be one of RoundRobin, LeastRequest"},
		{"balancer missing", "spec: {" TARGET ", loadBalancer: {}}",
		 "spec.loadBalancer.type", 4, "required"},
		{"hash missing", "spec: {" TARGET ", loadBalancer: {type: ConsistentHash}}",
		 "spec.loadBalancer.consistentHash", 4, "required for type ConsistentHash"},
		{"hash too much",
		 "spec: {" TARGET
		 ", loadBalancer: {type: PeakEWMA, consistentHash: {type: SourceIP}}}",
		 "spec.loadBalancer.consistentHash", 4, "for type ConsistentHash alone"},
		{"hash name",
		 "spec: {" TARGET
		 ", loadBalancer: {type: ConsistentHash, consistentHash: {type: Cookie}}}",
		 "spec.loadBalancer.consistentHash.name", 4, "required"},
		{"hash name too much",
		 "spec: {" TARGET ", loadBalancer: {type: ConsistentHash, consistentHash: {type: "
		 "SourceIP, name: x}}}",
		 "spec.loadBalancer.consistentHash.name", 4, "must not be there"},
		{"slow hash",
		 "spec: {" TARGET ", loadBalancer: {type: ConsistentHash, consistentHash: {type: "
		 "SourceIP}, slowStart: {window: 1s}}}",
		 "spec.loadBalancer.slowStart", 4, "must not be there"},
		{"window",
		 "spec: {" TARGET ", loadBalancer: {type: RoundRobin, slowStart: {window: 25h}}}",
		 "spec.loadBalancer.slowStart.window", 4, "from 1ms to 24h"},
		{"interval", "spec: {" TARGET ", outlierDetection: {interval: 0s}}",
		 "spec.outlierDetection.interval", 4, "from 1ms to 24h"},
		{"count", "spec: {" TARGET ", outlierDetection: {consecutive5xx: -1}}",
		 "spec.outlierDetection.consecutive5xx", 4, "must be from 0"},
		{"percent", "spec: {" TARGET ", outlierDetection: {maxEjectedPercent: 101}}",
		 "spec.outlierDetection.maxEjectedPercent", 4, "must be from 0 to 100, got 101"},
		{"max ejection",
		 "spec: {" TARGET
		 ", outlierDetection: {baseEjectionTime: 2s, maxEjectionTime: 1s}}",
		 "spec.outlierDetection.maxEjectionTime", 4, "not be shorter"},
		{"limit", "spec: {" TARGET ", circuitBreaker: {maxRequests: 0}}",
		 "spec.circuitBreaker.maxRequests", 4, "must be from 1"},
		{"endpoint limit", "spec: {" TARGET ", circuitBreaker: {perEndpoint: 3}}",
		 "spec.circuitBreaker.perEndpoint", 4, "expected object"},
	};

	check_all(HEAD, cases, SL_DECODE_INVALID, SL_SEVERITY_ERROR);
}

Test(trafficpolicy, unknown_fields_are_warnings)
{
	static const struct problem_case cases[] = {
		{"spec", "spec:\n  " TARGET "\n  retries: 3", "spec.retries", 6, "unknown field"},
	};

	check_all(HEAD, cases, 0, SL_SEVERITY_WARNING);
}
