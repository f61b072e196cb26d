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

/* metadata into dec->object->meta. name_type: what the kind allows. Returns whether namespace and
 * name are known and valid, so that the object can be told from others. */
bool sl_decode_meta(const struct sl_cursor *root, const struct sl_text_type *name_type,
		    bool cluster_scoped);

/* TCP (the default), UDP, SCTP. */
void sl_decode_protocol(const struct sl_cursor *port, enum sl_protocol *ret);

/* rules[].matches; always leaves at least one match behind, the default. */
void sl_decode_matches(const struct sl_cursor *rule_at, struct sl_route_rule *rule);
/* filters of a rule or of a backendRef, with the rules about their combination in one list. */
void sl_decode_filters(const struct sl_cursor *at, struct sl_filter_spec **ret, uint32_t *ret_n);

/* RFC 3339 to seconds since the epoch. Returns 0 or -EINVAL. */
int sl_timestamp_parse(struct sl_str text, int64_t *ret);
