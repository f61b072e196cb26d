/* SPDX-License-Identifier: Apache-2.0 */
#include "decoding.h"

#define HEAD                                                                                 \
	"apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: s, labels: " \
	"{kubernetes.io/service-name: web}}\n"
#define HEAD4 HEAD "addressType: IPv4\n"

static const struct sl_endpointslice *slice(const struct decoded *d)
{
	cr_assert_eq(d->r, 0);
	cr_assert_eq(d->object->kind, SL_KIND_ENDPOINTSLICE);
	return (const struct sl_endpointslice *)d->object;
}

Test(endpointslice, all_fields_are_read)
{
	const struct sl_endpointslice *s;
	struct decoded d;

	decode(HEAD4 "ports:\n- {name: http, port: 8080, protocol: TCP, appProtocol: http}\n- "
		     "{name: '', protocol: UDP}\n"
		     "endpoints:\n- addresses: [10.0.0.1, 10.0.0.2]\n  nodeName: n1\n  zone: z1\n  "
		     "hostname: h\n"
		     "  targetRef: {kind: Pod, name: web-1, namespace: default}\n"
		     "  conditions: {ready: false, serving: true, terminating: true}\n  hints: "
		     "{forZones: []}\n"
		     "- addresses: [10.0.0.3]\n  targetRef: {kind: Node, name: n2}\n",
	       &d);
	s = slice(&d);
	cr_expect_eq(d.diags.n, 0);
	expect_str(s->service, "web");
	cr_assert_eq(s->n_ports, 2);
	expect_str(s->ports[0].name, "http");
	expect_str(s->ports[0].app_protocol, "http");
	cr_expect_eq(s->ports[0].port, 8080);
	cr_expect_eq(s->ports[1].port, 0);
	cr_expect_eq(s->ports[1].protocol, SL_PROTOCOL_UDP);
	cr_assert_eq(s->n_endpoints, 2);
	cr_assert_eq(s->endpoints[0].n_addresses, 2);
	expect_addr(&s->endpoints[0].addresses[1], "10.0.0.2");
	expect_str(s->endpoints[0].node, "n1");
	expect_str(s->endpoints[0].zone, "z1");
	expect_str(s->endpoints[0].pod, "web-1");
	expect_str(s->endpoints[1].pod, "");
	decoded_free(&d);
}

Test(endpointslice, conditions_have_their_defaults)
{
	static const struct {
		const char *conditions;
		bool ready, serving, terminating;
	} cases[] = {
		{"{addresses: [10.0.0.1]}", true, true, false},
		{"{addresses: [10.0.0.1], conditions: null}", true, true, false},
		{"{addresses: [10.0.0.1], conditions: {}}", true, true, false},
		{"{addresses: [10.0.0.1], conditions: {ready: null}}", true, true, false},
		{"{addresses: [10.0.0.1], conditions: {ready: true}}", true, true, false},
		{"{addresses: [10.0.0.1], conditions: {ready: false}}", false, false, false},
		{"{addresses: [10.0.0.1], conditions: {ready: false, serving: true, terminating: "
		 "true}}",
		 false, true, true},
		{"{addresses: [10.0.0.1], conditions: {serving: false}}", true, false, false},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char *text = sl_asprintf(HEAD4 "endpoints: [%s]", cases[i].conditions);
		const struct sl_slice_endpoint *ep;
		struct decoded d;

		decode(text, &d);
		ep = &slice(&d)->endpoints[0];
		cr_expect_eq(ep->ready, cases[i].ready, "%s", text);
		cr_expect_eq(ep->serving, cases[i].serving, "%s", text);
		cr_expect_eq(ep->terminating, cases[i].terminating, "%s", text);
		decoded_free(&d);
		free(text);
	}
}

Test(endpointslice, hints_are_read)
{
	const struct sl_slice_endpoint *ep;
	struct decoded d;

	decode(HEAD4
	       "endpoints:\n- addresses: [10.0.0.1]\n  hints: {forZones: [{name: a}, {name: b}], "
	       "forNodes: [{name: n}]}\n- addresses: [10.0.0.2]\n  hints: null\n",
	       &d);
	ep = slice(&d)->endpoints;
	cr_expect_eq(d.diags.n, 0);
	cr_assert_eq(ep[0].n_for_zones, 2);
	expect_str(ep[0].for_zones[0], "a");
	expect_str(ep[0].for_zones[1], "b");
	cr_assert_eq(ep[0].n_for_nodes, 1);
	expect_str(ep[0].for_nodes[0], "n");
	cr_expect_eq(ep[1].n_for_zones + ep[1].n_for_nodes, 0);
	decoded_free(&d);
}

Test(endpointslice, an_empty_one_is_valid)
{
	const struct sl_endpointslice *s;
	struct decoded d;

	decode("{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: s}, "
	       "addressType: IPv6, endpoints: null, ports: null}",
	       &d);
	s = slice(&d);
	cr_expect_eq(s->n_ports, 0);
	cr_expect_eq(s->n_endpoints, 0);
	expect_str(s->service, "");
	decoded_free(&d);
}

Test(endpointslice, names_as_addresses_are_left_out)
{
	const struct sl_endpointslice *s;
	struct decoded d;

	decode(HEAD "addressType: FQDN\nendpoints: [{addresses: [example.org]}]", &d);
	s = slice(&d);
	cr_expect_not_null(
		find_diag(&d.diags, SL_SEVERITY_WARNING, "addressType", "not supported"));
	cr_assert_eq(s->n_endpoints, 1);
	cr_expect_eq(s->endpoints[0].n_addresses, 0);
	decoded_free(&d);
}

Test(endpointslice, bad_values_make_the_object_invalid)
{
	static const struct problem_case cases[] = {
		{"no type", "endpoints: []", "addressType", 1, "required"},
		{"type", "addressType: ipv4", "addressType", 4, "must be one of IPv4, IPv6, FQDN"},
		{"endpoints", "addressType: IPv4\nendpoints: {}", "endpoints", 5,
		 "expected array, got object"},
		{"endpoint", "addressType: IPv4\nendpoints:\n- 10.0.0.1", "endpoints[0]", 6,
		 "expected object, got string"},
		{"no addresses", "addressType: IPv4\nendpoints:\n- {}", "endpoints[0].addresses", 6,
		 "required"},
		{"empty addresses", "addressType: IPv4\nendpoints:\n- addresses: []",
		 "endpoints[0].addresses", 6, "at least one"},
		{"address", "addressType: IPv4\nendpoints:\n- addresses:\n  - 10.0.0.256",
		 "endpoints[0].addresses[0]", 7, "must be an IP address"},
		{"family 4", "addressType: IPv4\nendpoints: [{addresses: ['fd00::1']}]",
		 "endpoints[0].addresses[0]", 5, "must be an IPv4 address"},
		{"family 6", "addressType: IPv6\nendpoints: [{addresses: [10.0.0.1]}]",
		 "endpoints[0].addresses[0]", 5, "must be an IPv6 address"},
		{"ready",
		 "addressType: IPv4\nendpoints: [{addresses: [10.0.0.1], conditions: {ready: "
		 "'yes'}}]",
		 "endpoints[0].conditions.ready", 5, "expected boolean, got string"},
		{"conditions",
		 "addressType: IPv4\nendpoints: [{addresses: [10.0.0.1], conditions: []}]",
		 "endpoints[0].conditions", 5, "expected object, got array"},
		{"hints", "addressType: IPv4\nendpoints: [{addresses: [10.0.0.1], hints: []}]",
		 "endpoints[0].hints", 5, "expected object, got array"},
		{"zone hint",
		 "addressType: IPv4\nendpoints: [{addresses: [10.0.0.1], hints: {forZones: [{}]}}]",
		 "endpoints[0].hints.forZones[0].name", 5, "required"},
		{"port", "addressType: IPv4\nports:\n- {port: 0}", "ports[0].port", 6,
		 "must be from 1"},
		{"protocol", "addressType: IPv4\nports:\n- {protocol: X}", "ports[0].protocol", 6,
		 "must be one of"},
		{"ports item", "addressType: IPv4\nports: [1]", "ports[0]", 5, "expected object"},
	};

	check_all(HEAD, cases, SL_DECODE_INVALID, SL_SEVERITY_ERROR);
}

Test(endpointslice, unknown_fields_are_warnings)
{
	static const struct problem_case cases[] = {
		{"top", "spec: {}", "spec", 5, "unknown field"},
		{"endpoint", "endpoints: [{addresses: [10.0.0.1], node: x}]", "endpoints[0].node",
		 5, "unknown field"},
		{"conditions", "endpoints: [{addresses: [10.0.0.1], conditions: {Ready: true}}]",
		 "endpoints[0].conditions.Ready", 5, "unknown field"},
		{"port", "ports: [{prt: 1}]", "ports[0].prt", 5, "unknown field"},
	};

	check_all(HEAD4, cases, 0, SL_SEVERITY_WARNING);
}

Test(endpointslice, limits_hold)
{
	static const struct {
		const char *format, *item, *field;
		size_t limit;
	} cases[] = {
		{HEAD4 "endpoints: [%s]", "{addresses: [10.0.0.1]}", "endpoints", 1000},
		{HEAD4 "endpoints: [{addresses: [%s]}]", "10.0.0.1", "endpoints[0].addresses", 100},
		{HEAD4 "ports: [%s]", "{port: 1}", "ports", 20000},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		for (size_t over = 0; over < 2; over++) {
			char *items = repeat(cases[i].limit + over, ", ", cases[i].item);
			struct sl_buf buf = SL_BUF_INIT(0);
			const char *at = strstr(cases[i].format, "%s");
			struct decoded d;

			cr_assert_eq(sl_buf_printf(&buf, "%.*s%s%s", (int)(at - cases[i].format),
						   cases[i].format, items, at + 2),
				     0);
			cr_assert_eq(sl_buf_append(&buf, "", 1), 0);
			decode(buf.data, &d);
			cr_expect_eq(d.r, over ? SL_DECODE_INVALID : 0, "%s", cases[i].field);
			cr_expect_eq(find_diag(&d.diags, SL_SEVERITY_ERROR, cases[i].field,
					       "must have at most") != NULL,
				     over, "%s", cases[i].field);
			decoded_free(&d);
			sl_buf_deinit(&buf);
			free(items);
		}
	}
}
