/* SPDX-License-Identifier: Apache-2.0 */
/* TLSRoute, TCPRoute and UDPRoute: one rule, whose backendRefs take whole connections or flows. */
#include "resource/kinds.h"

static const char *const tls_fields[] = {"parentRefs", "hostnames", "rules", "useDefaultGateways",
					 NULL};
/* Of UDPRoutes as well. */
static const char *const tcp_fields[] = {"parentRefs", "rules", "useDefaultGateways", NULL};
static const char *const rule_fields[] = {"name", "backendRefs", NULL};

static void decode_rule(const struct sl_cursor *at, struct sl_route_rule *rule)
{
	struct sl_cursor backends;

	rule->request_timeout_ns = rule->backend_request_timeout_ns = SL_DURATION_UNSET;
	if (!sl_cursor_is_object(at, rule_fields))
		return;
	(void)sl_read_str(at, "name", &sl_text_subdomain, &rule->name); /* optional */
	backends = sl_cursor_member(at, "backendRefs");
	if (!backends.node)
		sl_cursor_error(&backends, "required, but missing");
	else if (json_is_array(backends.node) && !json_array_size(backends.node))
		sl_cursor_error(&backends, "must have at least one item");
	sl_decode_backends(at, rule);
}

static void decode_rules(const struct sl_cursor *spec, struct sl_route_object *route)
{
	struct sl_cursor rules = sl_cursor_member(spec, "rules");

	if (!rules.node)
		sl_cursor_error(&rules, "required, but missing");
	else if (json_is_array(rules.node) && json_array_size(rules.node) != 1)
		sl_cursor_error(&rules, "must have exactly one rule, has %zu",
				json_array_size(rules.node));
	else
		sl_decode_rules(spec, route, decode_rule);
}

/* The names of SNI are never addresses (RFC 6066 section 3). */
static void decode_names(const struct sl_cursor *spec, struct sl_route_object *route)
{
	struct sl_cursor array = sl_cursor_member(spec, "hostnames");

	sl_decode_hostnames(spec, SL_MAX_SNI_HOSTNAMES, route);
	if (!array.node)
		sl_cursor_error(&array, "required, but missing");
	else if (json_is_array(array.node) && !json_array_size(array.node))
		sl_cursor_error(&array, "must have at least one item");
	for (size_t i = 0; i < json_array_size(array.node); i++) {
		struct sl_cursor at = sl_cursor_item(&array, i);
		struct sl_str text = {json_string_value(at.node), json_string_length(at.node)};

		sl_refuse_address(&at, text);
	}
}

static void decode_route(const struct sl_cursor *root, const char *const fields[], bool has_names)
{
	struct sl_route_object *route = (struct sl_route_object *)root->dec->object;
	struct sl_cursor spec = sl_cursor_member(root, "spec");

	if (!spec.node) {
		sl_cursor_error(&spec, "required, but missing");
		return;
	}
	if (!sl_cursor_is_object(&spec, fields))
		return;
	sl_decode_parents(&spec, route);
	if (has_names)
		decode_names(&spec, route);
	decode_rules(&spec, route);
}

void sl_decode_tlsroute(const struct sl_cursor *root)
{
	decode_route(root, tls_fields, true);
}

void sl_decode_tcproute(const struct sl_cursor *root)
{
	decode_route(root, tcp_fields, false);
}

void sl_decode_udproute(const struct sl_cursor *root)
{
	decode_route(root, tcp_fields, false);
}
