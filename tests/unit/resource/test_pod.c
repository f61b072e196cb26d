/* SPDX-License-Identifier: Apache-2.0 */
#include "decoding.h"

#define HEAD "apiVersion: v1\nkind: Pod\nmetadata: {name: p, uid: u}\n"

static const struct sl_pod *pod(const struct decoded *d)
{
	cr_assert_eq(d->r, 0);
	cr_assert_eq(d->object->kind, SL_KIND_POD);
	return (const struct sl_pod *)d->object;
}

Test(pod, all_fields_are_read)
{
	const struct sl_pod *p;
	struct decoded d;

	decode(HEAD "spec: {nodeName: n1, hostNetwork: true, containers: [{name: a, image: b}]}\n"
		    "status: {phase: Running, podIP: 10.0.0.9, podIPs: [{ip: 10.0.0.1}, {ip: "
		    "'fd00::1'}], "
		    "whatever: 1}",
	       &d);
	p = pod(&d);
	cr_expect_eq(d.diags.n, 0);
	expect_str(p->node, "n1");
	expect_str(p->phase, "Running");
	cr_expect(p->host_network);
	cr_assert_eq(p->n_ips, 2);
	expect_addr(&p->ips[0], "10.0.0.1");
	expect_addr(&p->ips[1], "fd00::1");
	decoded_free(&d);
}

Test(pod, addresses_come_from_wherever_they_are)
{
	static const struct {
		const char *status;
		uint32_t n;
	} cases[] = {
		{"", 0},
		{"status: {}", 0},
		{"status: null", 0},
		{"status: {podIP: 10.0.0.9}", 1},
		{"status: {podIP: 10.0.0.9, podIPs: []}", 1},
		{"status: {podIP: 10.0.0.9, podIPs: null}", 1},
		{"status: {podIP: ''}", 0},
		{"status: {podIPs: [{ip: 10.0.0.9}, {}]}", 1},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char *text = sl_asprintf(HEAD "%s", cases[i].status);
		const struct sl_pod *p;
		struct decoded d;

		decode(text, &d);
		p = pod(&d);
		cr_expect_eq(p->n_ips, cases[i].n, "%s", cases[i].status);
		if (p->n_ips)
			expect_addr(&p->ips[0], "10.0.0.9");
		cr_expect_not(p->host_network);
		expect_str(p->node, "");
		expect_str(p->phase, "");
		decoded_free(&d);
		free(text);
	}
}

Test(pod, bad_values_make_the_object_invalid)
{
	static const struct problem_case cases[] = {
		{"spec", "spec: 1", "spec", 4, "expected object, got number"},
		{"host network", "spec: {hostNetwork: 1}", "spec.hostNetwork", 4,
		 "expected boolean, got number"},
		{"node", "spec: {nodeName: [a]}", "spec.nodeName", 4, "expected string, got array"},
		{"status", "status: x", "status", 4, "expected object"},
		{"ip", "status: {podIP: x}", "status.podIP", 4, "must be an IP address"},
		{"ips", "status:\n  podIPs:\n  - ip: 1.2.3.4\n  - ip: 1.2.3", "status.podIPs[1].ip",
		 7, "must be an IP address"},
		{"ips item", "status: {podIPs: [1.2.3.4]}", "status.podIPs[0]", 4,
		 "expected object, got string"},
		{"too many",
		 "status: {podIPs: [{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, "
		 "{}, {}]}",
		 "status.podIPs", 4, "must have at most 16 items, has 17"},
		{"phase", "status: {phase: 1}", "status.phase", 4, "expected string"},
	};

	check_all(HEAD, cases, SL_DECODE_INVALID, SL_SEVERITY_ERROR);
}

Test(pod, unknown_fields_are_warnings)
{
	static const struct problem_case cases[] = {
		{"spec", "spec: {hostNetwrok: true}", "spec.hostNetwrok", 4, "unknown field"},
		{"ip", "status: {podIPs: [{ip: 1.2.3.4, port: 1}]}", "status.podIPs[0].port", 4,
		 "unknown field"},
	};

	check_all(HEAD, cases, 0, SL_SEVERITY_WARNING);
}
