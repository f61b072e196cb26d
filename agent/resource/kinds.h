/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * One decoder per kind, and the steps that kinds share. Each reads below root into dec->object
 * (whose metadata is filled in already) and reports through the cursor. Private to this folder.
 */
#include "resource/cursor.h"

void sl_decode_namespace(const struct sl_cursor *root);
void sl_decode_node(const struct sl_cursor *root);
void sl_decode_service(const struct sl_cursor *root);
void sl_decode_endpointslice(const struct sl_cursor *root);
void sl_decode_pod(const struct sl_cursor *root);
void sl_decode_httproute(const struct sl_cursor *root);
void sl_decode_grpcroute(const struct sl_cursor *root);
void sl_decode_tlsroute(const struct sl_cursor *root);
void sl_decode_tcproute(const struct sl_cursor *root);
void sl_decode_udproute(const struct sl_cursor *root);
void sl_decode_trafficpolicy(const struct sl_cursor *root);
void sl_decode_backendtrafficpolicy(const struct sl_cursor *root);
void sl_decode_faultinjection(const struct sl_cursor *root);
/* spec.targetRefs. Services are always allowed. */
enum {
	SL_TARGET_SECTIONS = 1, /* each may name a port of its Service, or a rule of its route */
	SL_TARGET_ROUTES = 2,	/* HTTPRoutes and GRPCRoutes */
};
void sl_decode_policy_targets(const struct sl_cursor *spec, struct sl_policy_object *p,
			      unsigned allowed);
void sl_decode_backend_tls_policy(const struct sl_cursor *root);
void sl_decode_xbackend(const struct sl_cursor *root);
/* The member validation, which is required, of either. tls_policy.c. */
void sl_decode_tls_validation(const struct sl_cursor *owner, struct sl_tls_spec *tls);
/* Adds the ConfigMaps and Secrets that it names to needs, which has room for n_cas + 1 more. */
void sl_tls_spec_needs(const struct sl_tls_spec *tls, struct sl_str namespace,
		       struct sl_object_ref *needs, uint32_t *n);
void sl_decode_config_map(const struct sl_cursor *root);
void sl_decode_secret(const struct sl_cursor *root);
/* Their fields at the root, as they have no spec. */
extern const char *const sl_config_map_fields[], *const sl_secret_fields[];

/* metadata into dec->object->meta. name_type: what the kind allows. Returns whether namespace and
 * name are known and valid, so that the object can be told from others. */
bool sl_decode_meta(const struct sl_cursor *root, const struct sl_text_type *name_type,
		    bool cluster_scoped);

/* TCP (the default), UDP, SCTP. */
void sl_decode_protocol(const struct sl_cursor *port, enum sl_protocol *ret);

/* ---- routes ---- */

enum { SL_MAX_HOSTNAMES = 16, SL_MAX_SNI_HOSTNAMES = 1024 };

void sl_decode_parents(const struct sl_cursor *spec, struct sl_route_object *route);
void sl_decode_hostnames(const struct sl_cursor *spec, size_t max, struct sl_route_object *route);
/* host: what stands there; one that is no host name for another reason is told elsewhere. */
void sl_refuse_address(const struct sl_cursor *at, struct sl_str host);
/* spec.rules when it is there: decode reads one whose name and line are set; what it reports is
 * that rule's. */
void sl_decode_rules(const struct sl_cursor *spec, struct sl_route_object *route,
		     void (*decode)(const struct sl_cursor *at, struct sl_route_rule *rule));
/* rules[].backendRefs, with the filters that an HTTPRoute's and a GRPCRoute's have. */
void sl_decode_backends(const struct sl_cursor *rule_at, struct sl_route_rule *rule);
/* A member that is a duration (GEP-2257): *ret is untouched when it is absent or bad. */
void sl_decode_duration(const struct sl_cursor *at, const char *key, uint64_t *ret_ns);
/* The member sessionPersistence: *ret is untouched when it is absent or bad. */
void sl_decode_persistence(const struct sl_cursor *parent, struct sl_persistence_spec **ret);
/* rules[].retry. */
void sl_decode_retry(const struct sl_cursor *rule_at, struct sl_route_rule *rule);
/* rules[].matches; decode reads one that set_default() made. Always leaves at least one match
 * behind, the default. */
void sl_decode_match_list(const struct sl_cursor *rule_at, struct sl_route_rule *rule,
			  void (*set_default)(struct sl_route_match *match),
			  void (*decode)(const struct sl_cursor *at, struct sl_route_match *match));
/* headers or queryParams of a match. fold: names compare without case. */
void sl_decode_names(const struct sl_cursor *match_at, const char *key,
		     const struct sl_text_type *value_type, bool fold, struct sl_name_match **ret,
		     uint32_t *ret_n);
extern const char *const sl_value_match_names[]; /* by enum sl_value_match, ends with NULL */
/* rules[].matches of an HTTPRoute. */
void sl_decode_matches(const struct sl_cursor *rule_at, struct sl_route_rule *rule);
/* filters of a rule or of a backendRef that the object's kind has, with the rules about their
 * combination in one list. */
void sl_decode_filters(const struct sl_cursor *at, struct sl_filter_spec **ret, uint32_t *ret_n);

/* backendRef of a filter: a new one; NULL when it is missing. */
void sl_decode_target(const struct sl_cursor *owner, struct sl_backend_ref **ret);
/* The members percent and fraction, of which at most one is there: *ret is untouched when none is,
 * or it is bad. fraction.c. */
void sl_decode_fraction(const struct sl_cursor *at, struct sl_fraction *ret);
/* requestMirror, filter_mirror.c. */
void sl_decode_mirror(const struct sl_cursor *filter, struct sl_mirror_spec *ret);
/* externalAuth, filter_auth.c. */
void sl_decode_auth(const struct sl_cursor *filter, struct sl_auth_spec *ret);
/* The cors of a filter, filter_cors.c. */
void sl_decode_cors(const struct sl_cursor *filter, struct sl_cors_spec *ret);

/* RFC 3339 to seconds since the epoch. Returns 0 or -EINVAL. */
int sl_timestamp_parse(struct sl_str text, int64_t *ret);
/* The cursor itself, as sl_cursor_str() reads it. meta.c. */
bool sl_cursor_time(const struct sl_cursor *c, int64_t *ret);
