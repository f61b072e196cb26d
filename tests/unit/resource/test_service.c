/* SPDX-License-Identifier: Apache-2.0 */
#include "decoding.h"

#define HEAD "apiVersion: v1\nkind: Service\nmetadata: {name: s}\n"

static const struct sl_service *service(const struct decoded *d)
{
	cr_assert_eq(d->r, 0);
	cr_assert_eq(d->object->kind, SL_KIND_SERVICE);
	return (const struct sl_service *)d->object;
}

Test(service, all_fields_are_read)
{
	const struct sl_service *s;
	struct decoded d;

	decode(HEAD "spec:\n  type: LoadBalancer\n  clusterIP: 10.96.0.10\n"
		    "  clusterIPs: [10.96.0.10, 'fd00::10']\n  selector: {app: x}\n  ports:\n"
		    "  - {name: http, port: 80, targetPort: 8080, appProtocol: kubernetes.io/h2c, "
		    "nodePort: 30000}\n"
		    "  - {name: dns, port: 53, protocol: UDP, targetPort: dns-port}\n"
		    "  - {name: assoc, port: 53, protocol: SCTP}\n",
	       &d);
	s = service(&d);
	cr_expect_eq(d.diags.n, 0);
	cr_expect_eq(s->type, SL_SERVICE_LOADBALANCER);
	cr_expect_not(s->headless);
	cr_assert_eq(s->n_cluster_ips, 2);
	expect_addr(&s->cluster_ips[0], "10.96.0.10");
	expect_addr(&s->cluster_ips[1], "fd00::10");
	cr_assert_eq(s->n_ports, 3);
	expect_str(s->ports[0].name, "http");
	expect_str(s->ports[0].app_protocol, "kubernetes.io/h2c");
	cr_expect_eq(s->ports[0].port, 80);
	cr_expect_eq(s->ports[0].target_port, 8080);
	cr_expect_eq(s->ports[0].protocol, SL_PROTOCOL_TCP);
	cr_expect_eq(s->ports[1].protocol, SL_PROTOCOL_UDP);
	expect_str(s->ports[1].target_port_name, "dns-port");
	cr_expect_eq(s->ports[1].target_port, 0);
	cr_expect_eq(s->ports[2].protocol, SL_PROTOCOL_SCTP);
	cr_expect_eq(s->ports[2].target_port, 53);
	decoded_free(&d);
}

Test(service, defaults_are_filled_in)
{
	const struct sl_service *s;
	struct decoded d;

	decode(HEAD "spec: {ports: [{port: 80}]}", &d);
	s = service(&d);
	cr_expect_eq(s->type, SL_SERVICE_CLUSTERIP);
	cr_expect_eq(s->n_cluster_ips, 0);
	cr_expect_not(s->headless);
	cr_assert_eq(s->n_ports, 1);
	cr_expect_eq(s->ports[0].target_port, 80);
	expect_str(s->ports[0].name, "");
	expect_str(s->ports[0].app_protocol, "");
	expect_str(s->ports[0].target_port_name, "");
	decoded_free(&d);
}

Test(service, headless_and_external_name_have_no_address)
{
	static const struct {
		const char *spec;
		bool headless;
		enum sl_service_type type;
	} cases[] = {
		{"{clusterIP: None, ports: [{port: 80}]}", true, SL_SERVICE_CLUSTERIP},
		{"{clusterIP: None}", true, SL_SERVICE_CLUSTERIP},
		{"{clusterIPs: [None], clusterIP: None}", true, SL_SERVICE_CLUSTERIP},
		{"{type: ExternalName, externalName: example.org}", false, SL_SERVICE_EXTERNALNAME},
		{"{type: ExternalName, externalName: a.b, clusterIP: 10.0.0.1}", false,
		 SL_SERVICE_EXTERNALNAME},
		{"{type: NodePort, clusterIP: '', ports: [{port: 80}]}", false,
		 SL_SERVICE_NODEPORT},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char *text = sl_asprintf(HEAD "spec: %s", cases[i].spec);
		const struct sl_service *s;
		struct decoded d;

		decode(text, &d);
		s = service(&d);
		cr_expect_eq(s->headless, cases[i].headless, "%s", cases[i].spec);
		cr_expect_eq(s->type, cases[i].type, "%s", cases[i].spec);
		cr_expect_eq(s->n_cluster_ips, 0, "%s", cases[i].spec);
		decoded_free(&d);
		free(text);
	}
}

Test(service, what_it_asks_of_balancing_is_read)
{
	static const struct {
		const char *spec;
		bool local;
		enum sl_traffic_distribution distribution;
		uint32_t affinity_s;
	} cases[] = {
		{"ports: [{port: 1}]", false, SL_DISTRIBUTION_ANY, 0},
		{"internalTrafficPolicy: Local, ports: [{port: 1}]", true, SL_DISTRIBUTION_ANY, 0},
		{"internalTrafficPolicy: Cluster, trafficDistribution: PreferClose, ports: [{port: "
		 "1}]",
		 false, SL_DISTRIBUTION_SAME_ZONE, 0},
		{"trafficDistribution: PreferSameZone, ports: [{port: 1}]", false,
		 SL_DISTRIBUTION_SAME_ZONE, 0},
		{"trafficDistribution: PreferSameNode, ports: [{port: 1}]", false,
		 SL_DISTRIBUTION_SAME_NODE, 0},
		{"sessionAffinity: None, ports: [{port: 1}]", false, SL_DISTRIBUTION_ANY, 0},
		{"sessionAffinity: ClientIP, ports: [{port: 1}]", false, SL_DISTRIBUTION_ANY,
		 10800},
		{"sessionAffinity: ClientIP, sessionAffinityConfig: {clientIP: {timeoutSeconds: "
		 "7}}, ports: [{port: 1}]",
		 false, SL_DISTRIBUTION_ANY, 7},
		{"sessionAffinityConfig: {clientIP: {timeoutSeconds: 7}}, ports: [{port: 1}]",
		 false, SL_DISTRIBUTION_ANY, 0},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char *text = sl_asprintf(HEAD "spec: {%s}", cases[i].spec);
		const struct sl_service *s;
		struct decoded d;

		decode(text, &d);
		s = service(&d);
		cr_expect_eq(d.diags.n, 0, "%s", cases[i].spec);
		cr_expect_eq(s->internal_local, cases[i].local, "%s", cases[i].spec);
		cr_expect_eq(s->distribution, cases[i].distribution, "%s", cases[i].spec);
		cr_expect_eq(s->affinity_s, cases[i].affinity_s, "%s", cases[i].spec);
		decoded_free(&d);
		free(text);
	}
}

Test(service, one_cluster_ip_is_enough)
{
	const struct sl_service *s;
	struct decoded d;

	decode(HEAD "spec: {clusterIP: '::1', ports: [{port: 80}]}", &d);
	s = service(&d);
	cr_assert_eq(s->n_cluster_ips, 1);
	expect_addr(&s->cluster_ips[0], "::1");
	decoded_free(&d);
}

Test(service, bad_values_make_the_object_invalid)
{
	static const struct problem_case cases[] = {
		{"no spec", "", "spec", 1, "required"},
		{"spec is a list", "spec: []", "spec", 4, "expected object, got array"},
		{"type", "spec: {type: Magic, ports: [{port: 1}]}", "spec.type", 4,
		 "must be one of ClusterIP, NodePort, LoadBalancer, ExternalName, got \"Magic\""},
		{"no ports", "spec: {}", "spec.ports", 4, "at least one port"},
		{"empty ports", "spec: {ports: []}", "spec.ports", 4, "at least one port"},
		{"ports is a number", "spec:\n  ports: 80", "spec.ports", 5,
		 "expected array, got number"},
		{"port is a number", "spec:\n  ports:\n  - 80", "spec.ports[0]", 6,
		 "expected object, got number"},
		{"port is null", "spec:\n  ports: [null]", "spec.ports[0]", 5,
		 "expected object, got null"},
		{"port missing", "spec:\n  ports:\n  - name: x", "spec.ports[0].port", 6,
		 "required"},
		{"port is text", "spec: {ports: [{port: '80'}]}", "spec.ports[0].port", 4,
		 "expected integer, got string"},
		{"port zero", "spec: {ports: [{port: 0}]}", "spec.ports[0].port", 4,
		 "must be from 1 to 65535, got 0"},
		{"port too high", "spec: {ports: [{port: 65536}]}", "spec.ports[0].port", 4,
		 "got 65536"},
		{"port with fraction", "spec: {ports: [{port: 80.5}]}", "spec.ports[0].port", 4,
		 "expected integer, got 80.5"},
		{"port beyond 64 bits", "spec: {ports: [{port: 99999999999999999999}]}",
		 "spec.ports[0].port", 4, "expected integer"},
		{"target port", "spec: {ports: [{port: 1, targetPort: 70000}]}",
		 "spec.ports[0].targetPort", 4, "must be from 1"},
		{"target port name", "spec: {ports: [{port: 1, targetPort: ''}]}",
		 "spec.ports[0].targetPort", 4, "must not be empty"},
		{"protocol", "spec: {ports: [{port: 1, protocol: tcp}]}", "spec.ports[0].protocol",
		 4, "must be one of TCP, UDP, SCTP, got \"tcp\""},
		{"name needed", "spec:\n  ports:\n  - {port: 1, name: a}\n  - {port: 2}",
		 "spec.ports[1].name", 7, "required"},
		{"name form", "spec: {ports: [{port: 1, name: A_b}]}", "spec.ports[0].name", 4,
		 "DNS label"},
		{"name twice", "spec:\n  ports:\n  - {port: 1, name: a}\n  - {port: 2, name: a}",
		 "spec.ports[1]", 7, "port name \"a\" appears twice"},
		{"port twice", "spec:\n  ports:\n  - {port: 1, name: a}\n  - {port: 1, name: b}",
		 "spec.ports[1]", 7, "port 1 appears twice"},
		{"address", "spec: {clusterIP: 10.0.0, ports: [{port: 1}]}", "spec.clusterIP", 4,
		 "must be an IP address, got \"10.0.0\""},
		{"addresses", "spec: {clusterIPs: [1.2.3.4, x], ports: [{port: 1}]}",
		 "spec.clusterIPs[1]", 4, "must be an IP address"},
		{"null address", "spec: {clusterIPs: [null], ports: [{port: 1}]}",
		 "spec.clusterIPs[0]", 4, "expected string, got null"},
		{"internal", "spec: {internalTrafficPolicy: local, ports: [{port: 1}]}",
		 "spec.internalTrafficPolicy", 4, "must be one of Cluster, Local"},
		{"affinity", "spec: {sessionAffinity: Cookie, ports: [{port: 1}]}",
		 "spec.sessionAffinity", 4, "must be one of None, ClientIP"},
		{"affinity timeout",
		 "spec: {sessionAffinityConfig: {clientIP: {timeoutSeconds: 86401}}, ports: "
		 "[{port: 1}]}",
		 "spec.sessionAffinityConfig.clientIP.timeoutSeconds", 4, "must be from 1"},
		{"different addresses",
		 "spec: {clusterIP: 1.2.3.4, clusterIPs: [1.2.3.5], ports: [{port: 1}]}",
		 "spec.clusterIP", 4, "the same as the first"},
		{"three addresses",
		 "spec: {clusterIPs: [1.2.3.4, 1.2.3.5, 1.2.3.6], ports: [{port: 1}]}",
		 "spec.clusterIPs", 4, "must have at most 2 items, has 3"},
	};

	check_all(HEAD, cases, SL_DECODE_INVALID, SL_SEVERITY_ERROR);
}

Test(service, unknown_fields_are_warnings)
{
	static const struct problem_case cases[] = {
		{"spec", "spec:\n  ports: [{port: 1}]\n  slector: {}", "spec.slector", 6,
		 "unknown field"},
		{"distribution", "spec:\n  ports: [{port: 1}]\n  trafficDistribution: PreferMoon",
		 "spec.trafficDistribution", 6, "got \"PreferMoon\": ignoring it"},
		{"port", "spec:\n  ports:\n  - port: 1\n    tagetPort: 2",
		 "spec.ports[0].tagetPort", 7, "unknown field"},
	};

	check_all(HEAD, cases, 0, SL_SEVERITY_WARNING);
}

Test(service, all_problems_are_reported_at_once)
{
	struct decoded d;

	decode(HEAD "spec: {type: X, clusterIP: y, ports: [{port: 0, protocol: z}]}", &d);
	cr_expect_eq(d.r, SL_DECODE_INVALID);
	cr_expect_eq(d.diags.n_errors, 4);
	decoded_free(&d);
}

Test(service, the_number_of_ports_is_limited)
{
	for (size_t n = 1000; n <= 1001; n++) {
		char *ports = repeat(n, ", ", "{name: p, port: 1%}");
		char *text = sl_asprintf(HEAD "spec: {ports: [%s]}", ports);
		struct decoded d;

		decode(text, &d);
		cr_expect_eq(find_diag(&d.diags, SL_SEVERITY_ERROR, "spec.ports",
				       "must have at most 1000 items, has 1001") != NULL,
			     n == 1001);
		decoded_free(&d);
		free(text);
		free(ports);
	}
}
