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

enum sl_kind {
	SL_KIND_NAMESPACE,
	SL_KIND_SERVICE,
	SL_KIND_ENDPOINTSLICE,
	SL_KIND_POD,
	SL_KIND_HTTPROUTE,
	SL_KIND_GRPCROUTE,
	SL_KIND_TLSROUTE,
	SL_KIND_TCPROUTE,
	SL_N_KINDS,
};
const char *sl_kind_name(enum sl_kind kind);
/* Its objects are struct sl_route_object. */
bool sl_kind_is_route(enum sl_kind kind);

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

/* Embedded first in each typed object. */
struct sl_object {
	enum sl_kind kind;
	unsigned refs; /* not atomic: objects stay in the control thread */
	struct sl_arena arena;
	struct sl_meta meta;
	struct sl_str key; /* "namespace/name"; made by the first sl_model_put() */
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

enum sl_protocol { SL_PROTOCOL_TCP, SL_PROTOCOL_UDP, SL_PROTOCOL_SCTP };

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

struct sl_service {
	struct sl_object object;
	enum sl_service_type type;
	struct sl_addr *cluster_ips; /* port 0; empty when headless or ExternalName */
	uint32_t n_cluster_ips;
	bool headless;
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
	struct sl_str pod; /* targetRef.name of a Pod; may be empty */
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
};

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
	SL_FILTER_UNSUPPORTED, /* a type of the API that is not implemented: type_name says which */
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
	struct sl_route_rule *rules; /* HTTPRoute: at least one; TLSRoute, TCPRoute: one */
	uint32_t n_rules;
};
