/* SPDX-License-Identifier: Apache-2.0 */
#include "resource/kinds.h"

static const char *const spec_fields[] = {"parentRefs", "hostnames", "rules", "useDefaultGateways",
					  NULL};
static const char *const rule_fields[] = {
	"name", "matches", "filters", "backendRefs", "sessionPersistence", NULL};
static const char *const match_fields[] = {"method", "headers", NULL};
static const char *const method_fields[] = {"type", "service", "method", NULL};

static bool is_empty(const struct sl_cursor *at)
{
	return !at->node || (json_is_string(at->node) && !json_string_length(at->node));
}

/* One part of method, empty when it is absent or any. exact: the form of an Exact one. */
static void decode_part(const struct sl_cursor *method, const char *key,
			const struct sl_text_type *exact, bool is_exact, struct sl_str *ret)
{
	struct sl_cursor at = sl_cursor_member(method, key);

	if (is_empty(&at))
		return;
	(void)sl_cursor_str(&at, is_exact ? exact : &sl_text_rpc_pattern, ret); /* optional */
}

static void decode_method(const struct sl_cursor *match_at, struct sl_route_match *match)
{
	int type = SL_VALUE_EXACT;
	struct sl_cursor at, service, name;

	if (!sl_read_object(match_at, "method", method_fields, &at))
		return;
	(void)sl_read_enum(&at, "type", sl_value_match_names, &type); /* Exact unless told */
	match->rpc_type = (enum sl_value_match)type;
	decode_part(&at, "service", &sl_text_rpc_service, type == SL_VALUE_EXACT,
		    &match->rpc_service);
	decode_part(&at, "method", &sl_text_rpc_method, type == SL_VALUE_EXACT, &match->rpc_method);
	service = sl_cursor_member(&at, "service");
	name = sl_cursor_member(&at, "method");
	if (is_empty(&service) && is_empty(&name))
		sl_cursor_error(&at, "must have service, method or both");
}

/* All requests. */
static void set_default(struct sl_route_match *match)
{
	match->path = match->method = match->rpc_service = match->rpc_method = SL_STR("");
}

static void decode_match(const struct sl_cursor *at, struct sl_route_match *match)
{
	if (!sl_cursor_is_object(at, match_fields))
		return;
	decode_method(at, match);
	sl_decode_names(at, "headers", &sl_text_header_match, true, &match->headers,
			&match->n_headers);
}

static void decode_rule(const struct sl_cursor *at, struct sl_route_rule *rule)
{
	rule->request_timeout_ns = rule->backend_request_timeout_ns = SL_DURATION_UNSET;
	sl_decode_match_list(at, rule, set_default, decode_match);
	if (!sl_cursor_is_object(at, rule_fields))
		return;
	(void)sl_read_str(at, "name", &sl_text_subdomain, &rule->name); /* optional */
	sl_decode_filters(at, &rule->filters, &rule->n_filters);
	sl_decode_backends(at, rule);
	sl_decode_persistence(at, &rule->persistence);
}

void sl_decode_grpcroute(const struct sl_cursor *root)
{
	struct sl_route_object *route = (struct sl_route_object *)root->dec->object;
	struct sl_cursor spec = sl_cursor_member(root, "spec");

	if (!spec.node) {
		sl_cursor_error(&spec, "required, but missing");
		return;
	}
	if (!sl_cursor_is_object(&spec, spec_fields))
		return;
	sl_decode_parents(&spec, route);
	sl_decode_hostnames(&spec, SL_MAX_HOSTNAMES, route);
	sl_decode_rules(&spec, route, decode_rule); /* may be absent: then there are none */
}
