/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Typed Kubernetes and Gateway API objects, as decoded from JSON. An object is immutable after
 * decoding and reference-counted; its text and arrays live in its own arena. Fields that the API
 * defaults are filled with the default. Sources differ, objects do not: a folder of YAML today, the
 * Kubernetes API later.
 */
#include <stdint.h>
#include "base/addr.h"
#include "base/arena.h"
#include "base/cleanup.h"
#include "base/str.h"

#define SL_GATEWAY_X_GROUP "gateway.networking.x-k8s.io"

enum sl_kind {
	SL_KIND_NAMESPACE,
	SL_KIND_SERVICE,
	SL_KIND_ENDPOINTSLICE,
	SL_KIND_POD,
	SL_KIND_NODE,
	SL_KIND_HTTPROUTE,
	SL_KIND_GRPCROUTE,
	SL_KIND_TLSROUTE,
	SL_KIND_TCPROUTE,
	SL_KIND_UDPROUTE,
	SL_KIND_BACKENDTLSPOLICY,
	SL_KIND_CONFIGMAP,
	SL_KIND_SECRET,
	SL_KIND_TRAFFICPOLICY,
	SL_KIND_BACKENDTRAFFICPOLICY,
	SL_KIND_FAULTINJECTION,
	SL_KIND_XBACKEND,
	SL_N_KINDS,
};
const char *sl_kind_name(enum sl_kind kind);
/* Its objects are struct sl_route_object. */
bool sl_kind_is_route(enum sl_kind kind);
/* Its objects begin with a struct sl_policy_object. */
bool sl_kind_is_policy(enum sl_kind kind);
/* Conditions of its objects are written to the API server: routes, policies, XBackends. */
bool sl_kind_has_status(enum sl_kind kind);
/* Its objects are struct sl_data_object. There are many of them in a cluster that are no business
 * of ours: read are those that other objects name (struct sl_object_ref), and no others. */
bool sl_kind_is_named(enum sl_kind kind);

struct sl_label {
	struct sl_str name, value;
};

struct sl_meta {
	struct sl_str namespace; /* empty for cluster-scoped kinds; "default" when none is named */
	struct sl_str name;
	struct sl_str uid;
	int64_t created_at; /* creationTimestamp, seconds since the epoch; INT64_MAX when absent
			       (sorts as youngest) */
	int64_t generation; /* 0 when absent */
	struct sl_label *labels, *annotations;
	uint32_t n_labels, n_annotations;
	struct sl_str file; /* where it was read; empty for other sources */
	uint32_t line;
};

/* An object that another one cannot do without; or the Pods of a namespace that have some labels.
 */
struct sl_object_ref {
	enum sl_kind kind; /* sl_kind_is_named(), or SL_KIND_POD */
	struct sl_str namespace, name;
	struct sl_str selector; /* Pods: "a=b,c=d", in place of a name */
};

/* Embedded first in each typed object. */
struct sl_object {
	enum sl_kind kind;
	unsigned refs; /* not atomic: objects stay in the control thread */
	struct sl_arena arena;
	struct sl_meta meta;
	struct sl_str key;		   /* "namespace/name"; made by the first sl_model_put() */
	const struct sl_object_ref *needs; /* its decoder says which, whether they exist or not */
	uint32_t n_needs;
};
/* A zeroed object of the kind's type with one reference; its decoder fills it. Returns 0 or
 * -ENOMEM. */
int sl_object_new(enum sl_kind kind, struct sl_object **ret);
struct sl_object *sl_object_ref(struct sl_object *o);
/* Accepts NULL, returns NULL. */
struct sl_object *sl_object_unref(struct sl_object *o);
SL_DEFINE_CLEANUP(struct sl_object *, sl_object_unref)
#define SL_OBJECT_LABEL 400 /* room for any object's label and NUL */
/* "HTTPRoute shop/cart", as in diags. Returns out. */
const char *sl_object_label(const struct sl_object *o, char out[SL_OBJECT_LABEL]);
/* Value of an annotation, ptr NULL when absent. */
struct sl_str sl_object_annotation(const struct sl_object *o, struct sl_str name);

/* ---- core ---- */

struct sl_namespace {
	struct sl_object object;
};

/* Its zone is one of the labels. */
struct sl_node {
	struct sl_object object;
};

enum sl_protocol { SL_PROTOCOL_TCP, SL_PROTOCOL_UDP, SL_PROTOCOL_SCTP };
/* As Kubernetes writes it. */
const char *sl_protocol_name(enum sl_protocol protocol);

struct sl_service_port {
	struct sl_str name; /* may be empty when the only port */
	uint16_t port;
	enum sl_protocol protocol;
	struct sl_str app_protocol;	/* as written; may be empty */
	struct sl_str target_port_name; /* set when targetPort is a name */
	uint16_t target_port;		/* set when targetPort is a number (default: port) */
};

enum sl_service_type {
	SL_SERVICE_CLUSTERIP,
	SL_SERVICE_NODEPORT,
	SL_SERVICE_LOADBALANCER,
	SL_SERVICE_EXTERNALNAME
};

/* Which endpoints a client of its node and zone should get first. */
enum sl_traffic_distribution {
	SL_DISTRIBUTION_ANY,
	SL_DISTRIBUTION_SAME_ZONE, /* PreferSameZone, and its older name PreferClose */
	SL_DISTRIBUTION_SAME_NODE, /* then those of the zone */
};

struct sl_service {
	struct sl_object object;
	enum sl_service_type type;
	struct sl_addr *cluster_ips; /* port 0; empty when headless or ExternalName */
	uint32_t n_cluster_ips;
	bool headless;
	bool internal_local; /* internalTrafficPolicy: Local */
	enum sl_traffic_distribution distribution;
	uint32_t affinity_s; /* sessionAffinity: ClientIP; 0: None */
	struct sl_service_port *ports;
	uint32_t n_ports;
};

struct sl_slice_endpoint {
	struct sl_addr *addresses; /* port 0 */
	uint32_t n_addresses;
	bool ready;	  /* conditions.ready, true when absent */
	bool serving;	  /* conditions.serving, as ready when absent */
	bool terminating; /* conditions.terminating */
	struct sl_str node, zone;
	struct sl_str pod;		      /* targetRef.name of a Pod; may be empty */
	struct sl_str *for_nodes, *for_zones; /* hints */
	uint32_t n_for_nodes, n_for_zones;
};

struct sl_slice_port {
	struct sl_str name;
	uint16_t port; /* 0: not set (all ports; not usable for us) */
	enum sl_protocol protocol;
	struct sl_str app_protocol;
};

struct sl_endpointslice {
	struct sl_object object;
	struct sl_str service; /* label kubernetes.io/service-name; may be empty */
	struct sl_slice_port *ports;
	uint32_t n_ports;
	struct sl_slice_endpoint *endpoints;
	uint32_t n_endpoints;
};

struct sl_pod {
	struct sl_object object;
	struct sl_addr *ips; /* status.podIPs, else status.podIP */
	uint32_t n_ips;
	bool host_network;
	struct sl_str node;
	struct sl_str phase; /* Running, Succeeded, ...; may be empty */
	bool ready;	     /* condition Ready; true when there is no such condition */
	bool terminating;    /* it has a deletionTimestamp */
};

/* ---- ConfigMap, Secret ---- */

struct sl_data_item {
	struct sl_str key, value; /* value: any bytes */
};

struct sl_data_object {
	struct sl_object object; /* kind tells which of the two */
	struct sl_str type;	 /* Secret: as "kubernetes.io/tls"; may be empty */
	struct sl_data_item *items;
	uint32_t n_items;
};

/* The value of a key, ptr NULL when there is none. */
struct sl_str sl_data_get(const struct sl_data_object *o, struct sl_str key);

/* ---- routes ---- */

struct sl_parent_ref {
	struct sl_str group, kind; /* defaults filled in */
	/* Written by the user: status repeats the reference as written. */
	bool has_group, has_kind, has_namespace;
	struct sl_str namespace, name; /* namespace: default is the route's */
	struct sl_str section_name;    /* empty: none */
	uint16_t port;		       /* 0: none */
};

enum sl_value_match { SL_VALUE_EXACT, SL_VALUE_REGEX };
enum sl_path_match { SL_PATH_PREFIX, SL_PATH_EXACT, SL_PATH_REGEX };

struct sl_name_match { /* header or query parameter */
	enum sl_value_match type;
	struct sl_str name, value;
};

struct sl_route_match {
	/* HTTPRoute */
	enum sl_path_match path_type;
	struct sl_str path;   /* as written; default "/" */
	struct sl_str method; /* empty: any */
	/* GRPCRoute; an empty part is any */
	enum sl_value_match rpc_type;
	struct sl_str rpc_service, rpc_method;
	/* both; as written, duplicates included */
	struct sl_name_match *headers, *queries;
	uint32_t n_headers, n_queries;
};

struct sl_header_value {
	struct sl_str name, value;
};

struct sl_header_modifier {
	struct sl_header_value *set, *add;
	struct sl_str *remove;
	uint32_t n_set, n_add, n_remove;
};

enum sl_path_modifier_type { SL_PATH_MODIFIER_NONE, SL_PATH_REPLACE_FULL, SL_PATH_REPLACE_PREFIX };

struct sl_path_modifier {
	enum sl_path_modifier_type type;
	struct sl_str value; /* may be empty for REPLACE_PREFIX */
};

enum sl_filter_type {
	SL_FILTER_REQUEST_HEADERS,
	SL_FILTER_RESPONSE_HEADERS,
	SL_FILTER_REDIRECT,
	SL_FILTER_REWRITE,
	SL_FILTER_CORS,
	SL_FILTER_MIRROR,
	SL_FILTER_AUTH,
	SL_FILTER_UNSUPPORTED, /* a type of the API that is not implemented: type_name says which */
};

struct sl_texts {
	struct sl_str *items;
	uint32_t n;
};

/* Lists as written; "*" in one of them stands alone. */
struct sl_cors_spec {
	struct sl_texts origins, methods, headers, exposed;
	bool credentials;
	uint32_t max_age_s; /* default 5 */
};

/* How many of the requests: numerator of denominator, which is not 0. */
struct sl_fraction {
	uint32_t numerator, denominator;
};

struct sl_mirror_spec {
	struct sl_backend_ref *backend; /* without weight and filters */
	struct sl_fraction of;		/* default: all of them */
};

struct sl_auth_spec {
	struct sl_backend_ref *backend; /* without weight and filters */
	bool grpc;
	struct sl_str path; /* HTTP: before the request's; may be empty */
	/* Header names: of the request, and HTTP: of the answer. */
	struct sl_texts request_headers, response_headers;
	uint32_t body_bytes; /* 0: the body is not sent */
};

struct sl_filter_spec {
	enum sl_filter_type type;
	struct sl_str type_name;	   /* as written */
	struct sl_header_modifier headers; /* *_HEADERS */
	struct {
		struct sl_str scheme;	/* empty: the request's */
		struct sl_str hostname; /* empty: the request's */
		struct sl_path_modifier path;
		uint16_t port;	      /* 0: derived */
		uint16_t status_code; /* default 302 */
	} redirect;
	struct {
		struct sl_str hostname; /* empty: unchanged */
		struct sl_path_modifier path;
	} rewrite;
	struct sl_cors_spec cors;
	struct sl_mirror_spec mirror;
	struct sl_auth_spec auth;
};

struct sl_backend_ref {
	struct sl_str group, kind, namespace, name; /* defaults filled in */
	uint16_t port;				    /* 0: not written */
	uint32_t weight;
	struct sl_filter_spec *filters;
	uint32_t n_filters;
};

/* Durations in ns; SL_DURATION_UNSET when absent, 0 disables (gateway-api GEP-2257, GEP-1742). */
#define SL_DURATION_UNSET UINT64_MAX

struct sl_retry_spec {
	uint16_t *codes; /* 400 to 599, each once */
	uint32_t n_codes;
	uint32_t attempts; /* further ones, default 1 */
	uint64_t backoff_ns;
};

struct sl_persistence_spec {
	bool is_header;				       /* else a cookie */
	bool permanent;				       /* the cookie */
	struct sl_str name;			       /* empty: a cookie's, to be made */
	struct sl_str path;			       /* the cookie's */
	uint64_t absolute_timeout_ns, idle_timeout_ns; /* 0: none */
};

struct sl_route_rule {
	struct sl_str name; /* empty: none */
	/* HTTPRoute, GRPCRoute: at least one: the default, all requests, is written in. Others:
	 * none. */
	struct sl_route_match *matches;
	uint32_t n_matches;
	struct sl_filter_spec *filters;
	uint32_t n_filters;
	struct sl_backend_ref *backend_refs;
	uint32_t n_backend_refs;
	uint64_t request_timeout_ns, backend_request_timeout_ns;
	struct sl_retry_spec *retry;		 /* NULL: none */
	struct sl_persistence_spec *persistence; /* likewise */
	/* Why the rule cannot be used (field path and message), NULL when it can: a bad value costs
	 * its rule, not the route (PartiallyInvalid). reason is UnsupportedValue or
	 * IncompatibleFilters. */
	struct sl_rule_error {
		struct sl_str field, message;
		const char *reason;
	} * error;
	uint32_t line;
};

/* A route of any kind: object.kind tells. */
struct sl_route_object {
	struct sl_object object;
	struct sl_parent_ref *parent_refs;
	uint32_t n_parent_refs;
	struct sl_str
		*hostnames; /* TLSRoute: of SNI; others: no meaning in a mesh, kept for display */
	uint32_t n_hostnames;
	struct sl_route_rule *rules; /* HTTPRoute: at least one; the others: one */
	uint32_t n_rules;
};

/* ---- BackendTLSPolicy ---- */

struct sl_ca_ref {
	struct sl_str group, kind, name; /* in the policy's namespace */
};

struct sl_cert_name {
	bool is_uri; /* else a host name, perhaps with "*." */
	struct sl_str text;
};

/* How a server is met in TLS: what a BackendTLSPolicy and an XBackend say alike. */
struct sl_tls_spec {
	struct sl_str hostname;
	struct sl_ca_ref *cas;
	uint32_t n_cas;
	bool system_ca; /* exactly one of these two, unless there is an error */
	struct sl_cert_name *names;
	uint32_t n_names;
	struct sl_str client_certificate; /* name of a Secret of the namespace; empty: none */
};

struct sl_backend_tls_policy {
	struct sl_object object;
	struct sl_parent_ref *targets; /* in the policy's namespace; ports are 0 */
	uint32_t n_targets;
	struct sl_tls_spec tls;
	/* What is wrong with all but the targets, NULL when nothing is: its targets may not be
	 * spoken to then. */
	const struct sl_rule_error *error;
};

/* ---- XBackend ---- */

enum sl_backend_protocol {
	SL_BACKEND_AS_ROUTE, /* not written */
	SL_BACKEND_TCP,
	SL_BACKEND_HTTP,
	SL_BACKEND_HTTP2,
	SL_BACKEND_HTTP11,
	SL_BACKEND_H2C,
	SL_BACKEND_MCP,
	SL_BACKEND_GRPC,
	SL_BACKEND_WSS,
};

/* Of kind XBackend, gateway.networking.x-k8s.io: a destination that is no Service (GEP-4894). */
struct sl_xbackend {
	struct sl_object object;
	struct sl_str hostname;	 /* outside of the cluster; empty: Pods of the namespace */
	struct sl_label *labels; /* that those Pods have, all of them; sorted by name */
	uint32_t n_labels;
	uint16_t port;
	enum sl_backend_protocol protocol;
	bool has_tls;
	struct sl_tls_spec tls;			 /* when it has */
	struct sl_persistence_spec *persistence; /* NULL: none */
};

/* Whether it names one, in whatever namespace. */
bool sl_backend_ref_is_xbackend(const struct sl_backend_ref *ref);
/* As the API writes it; "" when it was not written. */
const char *sl_backend_protocol_name(enum sl_backend_protocol protocol);

/* ---- policies ---- */

/* What policies share: embedded first in each. */
struct sl_policy_object {
	struct sl_object object;
	struct sl_parent_ref *target_refs; /* in the policy's namespace; ports are 0 */
	uint32_t n_target_refs;
};

enum sl_policy_balancer {
	SL_POLICY_ROUND_ROBIN,
	SL_POLICY_LEAST_REQUEST,
	SL_POLICY_PEAK_EWMA,
	SL_POLICY_CONSISTENT_HASH,
};

enum sl_policy_hash { SL_POLICY_HASH_HEADER, SL_POLICY_HASH_COOKIE, SL_POLICY_HASH_SOURCE_IP };

/* How many of the requests of a backend may be retries (GEP-3388). */
struct sl_retry_budget_spec {
	uint32_t percent, rate_count;
	uint64_t interval_ns, rate_interval_ns; /* interval_ns 0: no budget */
};

/* Of kind TrafficPolicy, policy.sluice.dev: how requests are balanced over the endpoints of a
 * Service. A number or a time of 0 is off. */
struct sl_traffic_policy {
	struct sl_policy_object policy;
	enum sl_policy_balancer balancer;
	enum sl_policy_hash hash;
	struct sl_str hash_name; /* of a header, in lower case, or of a cookie */
	uint64_t slow_start_ns;
	struct {
		/* Answers of 500 and more, no answers at all, no connections: each counts for
		 * those before it too. */
		uint32_t errors, gateway_errors, connect_errors;
		uint64_t interval_ns, ejection_ns, max_ejection_ns;
		uint32_t max_percent;
	} outliers;
	struct {
		uint32_t connections, pending, requests, requests_per_connection;
		uint32_t endpoint_connections, endpoint_requests;
	} limits;
	/* Of kind XBackendTrafficPolicy, gateway.networking.x-k8s.io: this, and none of the above
	 * but targets. */
	struct sl_retry_budget_spec retry_budget;
	struct sl_persistence_spec *persistence; /* NULL: none */
};

/* One of a FaultInjection's. */
struct sl_fault_spec {
	struct sl_route_match *matches; /* at least one: the default, all requests, is written in */
	uint32_t n_matches;
	struct {
		struct sl_fraction of;	/* numerator 0: none */
		uint64_t ns, jitter_ns; /* anywhere between ns - jitter_ns and ns + jitter_ns */
	} delay;
	struct {
		struct sl_fraction of;
		uint16_t http_status; /* 0: none, gRPC requests alone are meant */
		uint8_t grpc_status;  /* 0: the one that stands for http_status */
	} abort;
};

/* Of kind FaultInjection, policy.sluice.dev: what goes wrong on purpose, and until when. */
struct sl_fault_injection {
	struct sl_policy_object policy;
	struct sl_fault_spec *faults; /* the first that fits is the one */
	uint32_t n_faults, max_delayed;
	int64_t starts_s, expires_s; /* since the epoch */
};
