/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "decoding.h"

#define HEAD                                                             \
	"apiVersion: policy.sluice.dev/v1alpha1\nkind: FaultInjection\n" \
	"metadata: {name: p, namespace: shop, creationTimestamp: '2026-01-02T03:00:00Z'}\n"
#define YOUNG                                                            \
	"apiVersion: policy.sluice.dev/v1alpha1\nkind: FaultInjection\n" \
	"metadata: {name: p, namespace: shop}\n"
#define ROUTE  "{group: gateway.networking.k8s.io, kind: HTTPRoute, name: r}"
#define TARGET "targetRefs: [" ROUTE "]"
#define END    "expiresAt: '2026-01-02T04:00:00Z'"
#define ABORT  "faults: [{abort: {percent: 1, httpStatus: 503}}]"
/* The spec around one fault. */
#define FAULT(f) "spec: {" TARGET ", " END ", faults: [" f "]}"

enum { START_S = 1767322800 };

static const struct sl_fault_injection *policy(const struct decoded *d)
{
	cr_assert_eq(d->r, 0);
	cr_assert_eq(d->object->kind, SL_KIND_FAULTINJECTION);
	return (const struct sl_fault_injection *)d->object;
}

Test(faultinjection, all_fields_are_read)
{
	const struct sl_fault_injection *p;
	const struct sl_fault_spec *f;
	struct decoded d;

	decode(HEAD
	       "spec:\n"
	       "  targetRefs: [{kind: Service, name: r, sectionName: web}, " ROUTE
	       ", {group: gateway.networking.k8s.io, kind: GRPCRoute, name: r}]\n"
	       "  startsAt: 2026-01-02T05:30:00+02:00\n"
	       "  expiresAt: 2026-01-03T03:30:00Z\n"
	       "  maxDelayed: 7\n"
	       "  faults:\n"
	       "  - matches: [{path: {type: Exact, value: /a}, method: GET}, {headers: [{name: "
	       "X-A, value: b}], queryParams: [{name: q, value: c}]}]\n"
	       "    delay: {duration: 2s, jitter: 500ms, fraction: {numerator: 1, denominator: "
	       "1000}}\n"
	       "    abort: {percent: 30, httpStatus: 429, grpcStatus: 8}\n"
	       "  - abort: {fraction: {numerator: 5}, grpcStatus: 14}\n",
	       &d);
	p = policy(&d);
	cr_expect_eq(d.diags.n, 0);
	cr_assert_eq(p->policy.n_target_refs, 3);
	expect_str(p->policy.target_refs[1].namespace, "shop");
	expect_str(p->policy.target_refs[1].kind, "HTTPRoute");
	cr_expect_eq(p->starts_s, START_S + 1800);
	cr_expect_eq(p->expires_s, START_S + 1800 + 86400);
	cr_expect_eq(p->max_delayed, 7);
	cr_assert_eq(p->n_faults, 2);
	f = &p->faults[0];
	cr_assert_eq(f->n_matches, 2);
	expect_str(f->matches[0].path, "/a");
	expect_str(f->matches[0].method, "GET");
	expect_str(f->matches[1].headers[0].name, "X-A");
	expect_str(f->matches[1].queries[0].value, "c");
	cr_expect_eq(f->delay.ns, 2 * SL_NS_PER_S);
	cr_expect_eq(f->delay.jitter_ns, 500 * SL_NS_PER_MS);
	cr_expect(f->delay.of.numerator == 1 && f->delay.of.denominator == 1000);
	cr_expect(f->abort.of.numerator == 30 && f->abort.of.denominator == 100);
	cr_expect_eq(f->abort.http_status, 429);
	cr_expect_eq(f->abort.grpc_status, 8);
	f = &p->faults[1];
	cr_assert_eq(f->n_matches, 1);
	expect_str(f->matches[0].path, "/");
	cr_expect_eq(f->delay.of.numerator, 0);
	cr_expect(f->abort.of.numerator == 5 && f->abort.of.denominator == 100);
	cr_expect_eq(f->abort.http_status, 0);
	decoded_free(&d);
}

Test(faultinjection, it_starts_when_it_was_made)
{
	const struct sl_fault_injection *p;
	struct decoded d;

	decode(HEAD "spec: {" TARGET ", " END ", " ABORT "}", &d);
	p = policy(&d);
	cr_expect_eq(d.diags.n, 0);
	cr_expect_eq(p->starts_s, START_S);
	cr_expect_eq(p->expires_s, START_S + 3600);
	cr_expect_eq(p->max_delayed, 100);
	decoded_free(&d);
	decode(YOUNG "spec: {" TARGET ", " END ", startsAt: '2026-01-02T03:59:59Z', " ABORT "}",
	       &d);
	cr_expect_eq(policy(&d)->starts_s, START_S + 3599);
	decoded_free(&d);
}

Test(faultinjection, bad_values_make_the_object_invalid)
{
	static const struct problem_case cases[] = {
		{"no spec", "", "spec", 1, "required"},
		{"no targets", "spec: {" END ", " ABORT "}", "spec.targetRefs", 4, "required"},
		{"kind",
		 "spec: {targetRefs: [{group: gateway.networking.k8s.io, kind: TCPRoute, name: "
		 "x}], " END ", " ABORT "}",
		 "spec.targetRefs[0].kind", 4, "or HTTPRoute or GRPCRoute of group"},
		{"group", "spec: {targetRefs: [{kind: HTTPRoute, name: x}], " END ", " ABORT "}",
		 "spec.targetRefs[0].kind", 4, "or HTTPRoute or GRPCRoute of group"},
		{"twice", "spec: {targetRefs: [" ROUTE ", " ROUTE "], " END ", " ABORT "}",
		 "spec.targetRefs[1]", 4, "is the same as targetRefs[0]"},
		{"no end", "spec: {" TARGET ", " ABORT "}", "spec.expiresAt", 4, "required"},
		{"end in words", "spec: {" TARGET ", expiresAt: soon, " ABORT "}", "spec.expiresAt",
		 4, "must be an RFC 3339 time"},
		{"end before start",
		 "spec: {" TARGET ", expiresAt: '2026-01-02T03:00:00Z', " ABORT "}",
		 "spec.expiresAt", 4, "must be later than metadata.creationTimestamp"},
		{"end too late", "spec: {" TARGET ", expiresAt: '2026-01-03T03:00:01Z', " ABORT "}",
		 "spec.expiresAt", 4, "must be at most 24h later than metadata.creationTimestamp"},
		{"end too late after start",
		 "spec: {" TARGET
		 ", startsAt: '2026-02-02T03:00:00Z', expiresAt: '2026-02-03T03:00:01Z', " ABORT
		 "}",
		 "spec.expiresAt", 4, "must be at most 24h later than startsAt"},
		{"start in words", "spec: {" TARGET ", startsAt: now, " END ", " ABORT "}",
		 "spec.startsAt", 4, "must be an RFC 3339 time"},
		{"max", "spec: {" TARGET ", maxDelayed: 0, " END ", " ABORT "}", "spec.maxDelayed",
		 4, "must be from 1 to 10000"},
		{"no faults", "spec: {" TARGET ", " END "}", "spec.faults", 4, "required"},
		{"empty faults", "spec: {" TARGET ", " END ", faults: []}", "spec.faults", 4,
		 "at least one"},
		{"neither", FAULT("{matches: []}"), "spec.faults[0]", 4, "delay or abort"},
		{"method",
		 FAULT("{matches: [{method: get}], abort: {percent: 1, httpStatus: 500}}"),
		 "spec.faults[0].matches[0].method", 4, "must be one of GET"},
		{"delay without duration", FAULT("{delay: {percent: 1}}"),
		 "spec.faults[0].delay.duration", 4, "required"},
		{"long delay", FAULT("{delay: {percent: 1, duration: 301s}}"),
		 "spec.faults[0].delay.duration", 4, "from 1ms to 5m"},
		{"no delay", FAULT("{delay: {percent: 1, duration: 0s}}"),
		 "spec.faults[0].delay.duration", 4, "from 1ms to 5m"},
		{"delay in words", FAULT("{delay: {percent: 1, duration: long}}"),
		 "spec.faults[0].delay.duration", 4, "duration"},
		{"jitter", FAULT("{delay: {percent: 1, duration: 1s, jitter: 2s}}"),
		 "spec.faults[0].delay.jitter", 4, "not be longer than duration"},
		{"long with jitter", FAULT("{delay: {percent: 1, duration: 200s, jitter: 101s}}"),
		 "spec.faults[0].delay.jitter", 4, "than 5m"},
		{"delay for how many", FAULT("{delay: {duration: 1s}}"),
		 "spec.faults[0].delay.percent", 4, "required, or fraction"},
		{"abort for how many", FAULT("{abort: {httpStatus: 500}}"),
		 "spec.faults[0].abort.percent", 4, "required, or fraction"},
		{"both", FAULT("{abort: {httpStatus: 500, percent: 1, fraction: {numerator: 1}}}"),
		 "spec.faults[0].abort.fraction", 4, "beside percent"},
		{"percent", FAULT("{abort: {httpStatus: 500, percent: 101}}"),
		 "spec.faults[0].abort.percent", 4, "must be from 0 to 100"},
		{"abort with what", FAULT("{abort: {percent: 1}}"),
		 "spec.faults[0].abort.httpStatus", 4, "required, or grpcStatus"},
		{"success", FAULT("{abort: {percent: 1, httpStatus: 200}}"),
		 "spec.faults[0].abort.httpStatus", 4, "must be from 400 to 599"},
		{"OK", FAULT("{abort: {percent: 1, grpcStatus: 0}}"),
		 "spec.faults[0].abort.grpcStatus", 4, "must be from 1 to 16"},
	};
	static const struct problem_case young[] = {
		{"no start", "spec: {" TARGET ", " END ", " ABORT "}", "spec.startsAt", 4,
		 "required where metadata.creationTimestamp is missing"},
	};

	check_all(HEAD, cases, SL_DECODE_INVALID, SL_SEVERITY_ERROR);
	check_all(YOUNG, young, SL_DECODE_INVALID, SL_SEVERITY_ERROR);
}

Test(faultinjection, unknown_fields_are_warnings)
{
	static const struct problem_case cases[] = {
		{"spec", "spec:\n  " TARGET "\n  " END "\n  " ABORT "\n  whim: 3", "spec.whim", 8,
		 "unknown field"},
		{"abort", FAULT("{abort: {percent: 1, httpStatus: 500, why: x}}"),
		 "spec.faults[0].abort.why", 4, "unknown field"},
	};

	check_all(HEAD, cases, 0, SL_SEVERITY_WARNING);
}
