/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * One decoder per kind, and the steps that kinds share. Each reads below root into dec->object
 * (whose metadata is filled in already) and reports through the cursor. Private to this folder.
 */
#include "resource/cursor.h"

void sl_decode_namespace(const struct sl_cursor *root);
void sl_decode_service(const struct sl_cursor *root);
void sl_decode_endpointslice(const struct sl_cursor *root);
void sl_decode_pod(const struct sl_cursor *root);
void sl_decode_httproute(const struct sl_cursor *root);
void sl_decode_grpcroute(const struct sl_cursor *root);
void sl_decode_tlsroute(const struct sl_cursor *root);
void sl_decode_tcproute(const struct sl_cursor *root);

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
/* spec.rules when it is there: decode reads one whose name and line are set; what it reports is
 * that rule's. */
void sl_decode_rules(const struct sl_cursor *spec, struct sl_route_object *route,
		     void (*decode)(const struct sl_cursor *at, struct sl_route_rule *rule));
/* rules[].backendRefs, with the filters that an HTTPRoute's and a GRPCRoute's have. */
void sl_decode_backends(const struct sl_cursor *rule_at, struct sl_route_rule *rule);
/* An error when the field is there: a rule that quietly lost a policy would not do what its author
 * believes. */
void sl_decode_refused(const struct sl_cursor *rule_at, const char *key);
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

/* RFC 3339 to seconds since the epoch. Returns 0 or -EINVAL. */
int sl_timestamp_parse(struct sl_str text, int64_t *ret);
