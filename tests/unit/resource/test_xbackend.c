/* SPDX-License-Identifier: Apache-2.0 */
/* XBackend. */
#include <errno.h>
#include "decoding.h"

#define HEAD                                                                 \
	"apiVersion: gateway.networking.x-k8s.io/v1alpha1\nkind: XBackend\n" \
	"metadata: {name: pay, namespace: shop}\nspec:\n"
#define PORT	   "  port: {number: 443}\n"
#define HOST	   "  type: ExternalHostname\n  externalHostname: {hostname: api.example}\n"
#define VALIDATION "validation: {hostname: a.example, wellKnownCACertificates: System}"

static const struct sl_xbackend *backend(const struct decoded *d)
{
	cr_assert_eq(d->r, 0);
	return (const struct sl_xbackend *)d->object;
}

Test(xbackend, a_host)
{
	const struct sl_xbackend *b;
	struct decoded d;

	decode(HEAD PORT HOST "  protocol: HTTP2\n  tls:\n    mode: ClientAndServer\n"
			      "    clientCertificateRef: {name: me}\n    validation:\n"
			      "      hostname: a.example\n"
			      "      caCertificateRefs: [{group: '', kind: ConfigMap, name: ca}]\n",
	       &d);
	b = backend(&d);
	cr_expect_eq(d.diags.n, 0);
	expect_str(b->hostname, "api.example");
	cr_expect_eq(b->n_labels, 0);
	cr_expect_eq(b->port, 443);
	cr_expect_eq(b->protocol, SL_BACKEND_HTTP2);
	cr_expect_str_eq(sl_backend_protocol_name(b->protocol), "HTTP2");
	cr_expect(b->has_tls);
	expect_str(b->tls.hostname, "a.example");
	expect_str(b->tls.client_certificate, "me");
	cr_assert_eq(b->object.n_needs, 2);
	cr_expect_eq(b->object.needs[0].kind, SL_KIND_CONFIGMAP);
	expect_str(b->object.needs[0].name, "ca");
	cr_expect_eq(b->object.needs[1].kind, SL_KIND_SECRET);
	decoded_free(&d);
}

Test(xbackend, pods)
{
	const struct sl_xbackend *b;
	struct decoded d;

	decode(HEAD PORT
	       "  type: EndpointSelector\n  endpointSelector:\n    matchLabels: {tier: '', "
	       "example.com/app: pay}\n  tls: {mode: None}\n"
	       "  sessionPersistence: {type: Header, header: {name: X-Pin}}\n",
	       &d);
	b = backend(&d);
	cr_expect_eq(d.diags.n, 0);
	expect_str(b->hostname, "");
	cr_assert_eq(b->n_labels, 2);
	expect_str(b->labels[0].name, "example.com/app");
	expect_str(b->labels[1].value, "");
	cr_expect_not(b->has_tls);
	cr_expect_eq(b->protocol, SL_BACKEND_AS_ROUTE);
	cr_assert_not_null(b->persistence);
	cr_expect(b->persistence->is_header);
	expect_str(b->persistence->name, "X-Pin");
	cr_assert_eq(b->object.n_needs, 1);
	cr_expect_eq(b->object.needs[0].kind, SL_KIND_POD);
	expect_str(b->object.needs[0].selector, "example.com/app=pay,tier=");
	decoded_free(&d);
}

Test(xbackend, what_the_api_refuses_is_refused)
{
	static const struct problem_case cases[] = {
		{"no port", HOST, "spec.port", 5, "required"},
		{"port by name", HOST "  port: {name: x}\n", "spec.port.number", 7, "required"},
		{"port 0", HOST "  port: {number: 0}\n", "spec.port.number", 7, "1"},
		{"no type", PORT "  externalHostname: {hostname: a}\n", "spec.type", 5, "required"},
		{"type", PORT "  type: Bucket\n", "spec.type", 6, "ExternalHostname"},
		{"no host", PORT "  type: ExternalHostname\n", "spec.externalHostname", 5,
		 "required when type is ExternalHostname"},
		{"both", PORT HOST "  endpointSelector: {matchLabels: {a: b}}\n",
		 "spec.endpointSelector", 8, "must not be set when type is ExternalHostname"},
		{"an address",
		 PORT "  type: ExternalHostname\n  externalHostname: {hostname: 10.0.0.1}\n",
		 "spec.externalHostname.hostname", 7, "not an IP address"},
		{"a Service",
		 PORT "  type: ExternalHostname\n  externalHostname: {hostname: "
		      "a.b.svc.cluster.local}\n",
		 "spec.externalHostname.hostname", 7, "outside of the cluster"},
		{"no labels",
		 PORT "  type: EndpointSelector\n  endpointSelector: {matchLabels: {}}\n",
		 "spec.endpointSelector.matchLabels", 7, "1 to 64 labels"},
		{"a label",
		 PORT "  type: EndpointSelector\n  endpointSelector: {matchLabels: {a b: c}}\n",
		 "spec.endpointSelector.matchLabels[\"a b\"]", 7, "a label's name"},
		{"its value",
		 PORT "  type: EndpointSelector\n  endpointSelector: {matchLabels: {a: -c}}\n",
		 "spec.endpointSelector.matchLabels.a", 7, "a label's value"},
		{"protocol", PORT HOST "  protocol: SMTP\n", "spec.protocol", 8, "TCP"},
		{"h2c in TLS", PORT HOST "  protocol: H2C\n  tls: {mode: None}\n", "spec.tls", 9,
		 "must not be set when protocol is H2C"},
		{"HTTP/2 in the clear", PORT HOST "  protocol: HTTP2\n  tls: {mode: None}\n",
		 "spec.tls", 9, "must be set"},
		{"wss in the clear", PORT HOST "  protocol: WSS\n", "spec.tls", 5, "must be set"},
		{"no mode", PORT HOST "  tls: {}\n", "spec.tls.mode", 8, "required"},
		{"nothing to verify", PORT HOST "  tls: {mode: ServerOnly}\n",
		 "spec.tls.validation", 8, "required"},
		{"something to verify", PORT HOST "  tls: {mode: None, " VALIDATION "}\n",
		 "spec.tls.validation", 8, "must not be set when mode is None"},
		{"no certificate", PORT HOST "  tls: {mode: ClientAndServer, " VALIDATION "}\n",
		 "spec.tls.clientCertificateRef", 8, "required when mode is ClientAndServer"},
		{"a certificate",
		 PORT HOST "  tls: {mode: ServerOnly, clientCertificateRef: {name: a}, " VALIDATION
			   "}\n",
		 "spec.tls.clientCertificateRef", 8, "must not be set unless"},
		{"of others",
		 PORT HOST "  tls: {mode: ClientAndServer, clientCertificateRef: {name: a, "
			   "namespace: b}, " VALIDATION "}\n",
		 "spec.tls.clientCertificateRef.namespace", 8, "own namespace"},
		{"of another kind",
		 PORT HOST "  tls: {mode: ClientAndServer, clientCertificateRef: {name: a, kind: "
			   "Key}, " VALIDATION "}\n",
		 "spec.tls.clientCertificateRef.kind", 8, "must be Secret"},
		{"session", PORT HOST "  sessionPersistence: {}\n", "spec.sessionPersistence", 8,
		 "must not be set when type is ExternalHostname"},
		{"half a session",
		 PORT "  type: EndpointSelector\n  endpointSelector: {matchLabels: {a: b}}\n"
		      "  sessionPersistence: {type: Header}\n",
		 "spec.sessionPersistence", 8, "type Header needs header.name"},
	};

	check_all(HEAD, cases, SL_DECODE_INVALID, SL_SEVERITY_ERROR);
}

Test(xbackend, memory_can_end_anywhere)
{
	struct decoded d;

	for (long n = 0;; n++) {
		int r;

		decode(HEAD PORT
		       "  type: EndpointSelector\n  endpointSelector: {matchLabels: {a: b, c: d}}\n"
		       "  tls: {mode: ServerOnly, " VALIDATION "}\n",
		       &d);
		d.object = sl_object_unref(d.object);
		(void)sl_alloc_fail_after(n);
		r = sl_decode_object(sl_yaml_doc_root(d.doc), &(struct sl_decode_opts){0}, &d.diags,
				     &d.object, &d.key);
		(void)sl_alloc_fail_after(-1);
		decoded_free(&d);
		if (!r)
			break;
		cr_assert_eq(r, -ENOMEM, "allocation %ld: %d", n, r);
		cr_assert_lt(n, 1000);
	}
}

Test(xbackend, a_reference_has_no_port)
{
	static const struct problem_case cases[] = {
		{"port",
		 "  rules: [{backendRefs: [{group: gateway.networking.x-k8s.io, kind: XBackend, "
		 "name: a, "
		 "port: 80}]}]\n",
		 "spec.rules[0].backendRefs[0].port", 5, "must not be set for an XBackend"},
	};

	check_all("apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: r}\n"
		  "spec:\n",
		  cases, 0, SL_SEVERITY_ERROR);
}
