/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Routes for whole connections to shop/cart, in place of the rig's HTTPRoute. */

#define CONN_ROUTE(kind, name, spec)                                                            \
	"---\napiVersion: gateway.networking.k8s.io/v1\nkind: " kind "\nmetadata: {name: " name \
	", namespace: shop}\nspec:\n  parentRefs: [{group: '', kind: Service, name: cart}]\n" spec

#define TCP_TO(backends) CONN_ROUTE("TCPRoute", "tcp", "  rules: [{backendRefs: [" backends "]}]\n")
#define TLS_TO(hosts, backends)       \
	CONN_ROUTE("TLSRoute", "tls", \
		   "  hostnames: [" hosts "]\n  rules: [{backendRefs: [" backends "]}]\n")
#define V1 "{name: v1, port: 80}"
