// SPDX-License-Identifier: Apache-2.0

package ported

// Tests that have no counterpart with Services, by their names.
var others = []struct{ pattern, reason string }{
	{"^Gateway|^ListenerSet|NotAllowedByListeners$", "of a Gateway's own fields and conditions"},
	{"(HTTP|GRPC)Route.*Hostname|TLSRouteHostnameIntersection|DisallowedKind", "hostnames and kinds that a listener lets in; a Service has no listener"},
	{"^HTTPRouteHTTPSListener|TLSRouteTerminate|TLSRouteListener|TLSRouteMixed|TerminateSame", "of a listener that ends TLS"},
	{"InvalidReferenceGrant$|InvalidCrossNamespaceBackendRef$", "backends of other namespaces need no ReferenceGrant in a mesh (GEP-1294)"},
	{"NonTCPListener$|NoMatchingListener", "protocols of listeners"},
	{"^HTTPRouteInvalidCrossNamespaceParentRef$", "a route in another namespace than its Service is a consumer's, and valid"},
}

// Cases of tests, by the test's name and a pattern for the case's.
var leftOut = []struct{ test, pattern, reason string }{
	{"HTTPRouteListenerPortMatching", "bar.com:8090", "a listener's hostname"},
	{"HTTPRouteMatchingAcrossRoutes", "example.net/v2", "its two routes differ by hostnames, which mean nothing in a mesh"},
	{"HTTPRouteRedirectPortAndScheme", "https-listener-on-443", "a listener that ends TLS"},
	{"HTTPRouteReferenceGrant", "after_deleting", "backends of other namespaces need no ReferenceGrant in a mesh (GEP-1294)"},
	{"TCPRouteReferenceGrant", "becomes_False", "backends of other namespaces need no ReferenceGrant in a mesh (GEP-1294)"},
	{"UDPRouteReferenceGrant", "ResolvedRefs=False", "backends of other namespaces need no ReferenceGrant in a mesh (GEP-1294)"},
	{"UDPRouteParentRefAttachAllListeners", "Every_UDP_listener", "what a listener's status counts"},
	{"UDPRouteMultipleRoutesAttachment", "Gateway_listener", "what a listener's status counts"},
	{"TCPRouteMultipleRoutesAttachment", "Gateway_listener", "what a listener's status counts"},
	{"BackendTLSPolicyGRPCRoute", "mismatched_cert", "its two routes differ by hostnames, which mean nothing in a mesh"},
	{"BackendTLSPolicy", "Re-encrypt", "a listener that ends TLS"},
}
