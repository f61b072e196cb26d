/* SPDX-License-Identifier: Apache-2.0 */
/* What routes of all kinds have in common: parents, hostnames, backends, and a list of rules. */
#include "resource/kinds.h"

enum {
	MAX_PARENT_REFS = 32,
	MAX_RULES = 16,
	MAX_TOTAL_MATCHES = 128,
	MAX_BACKEND_REFS = 16,
	MAX_WEIGHT = 1000000,
};

static const char *const parent_fields[] = {"group",	   "kind", "namespace", "name",
					    "sectionName", "port", NULL};
static const char *const backend_fields[] = {"group", "kind",	"namespace", "name",
					     "port",  "weight", "filters",   NULL};
static const char *const plain_backend_fields[] = {"group", "kind",   "namespace", "name",
						   "port",  "weight", NULL};
static const char *const target_fields[] = {"group", "kind", "namespace", "name", "port", NULL};

/* ---- parentRefs, hostnames ---- */

static void decode_parent(const struct sl_cursor *at, struct sl_parent_ref *ref)
{
	ref->group = SL_STR("gateway.networking.k8s.io");
	ref->kind = SL_STR("Gateway");
	ref->namespace = at->dec->object->meta.namespace;
	ref->name = ref->section_name = SL_STR("");
	if (!sl_cursor_is_object(at, parent_fields))
		return;
	ref->has_group = sl_read_str(at, "group", &sl_text_group, &ref->group);
	ref->has_kind = sl_read_str(at, "kind", &sl_text_kind, &ref->kind);
	ref->has_namespace = sl_read_str(at, "namespace", &sl_text_dns_label, &ref->namespace);
	(void)sl_require_str(at, "name", &sl_text_ref_name, &ref->name);
	(void)sl_read_str(at, "sectionName", &sl_text_subdomain, &ref->section_name); /* optional */
	(void)sl_read_port(at, "port", &ref->port);				      /* optional */
}

/* Two references to one parent must be told apart by the same fields. */
static void check_parent(const struct sl_cursor *array, const struct sl_parent_ref *refs, size_t i)
{
	struct sl_cursor at = sl_cursor_item(array, i);
	const struct sl_parent_ref *a = &refs[i];

	for (size_t k = 0; k < i; k++) {
		const struct sl_parent_ref *b = &refs[k];

		if (!sl_str_eq(a->group, b->group) || !sl_str_eq(a->kind, b->kind) ||
		    !sl_str_eq(a->namespace, b->namespace) || !sl_str_eq(a->name, b->name))
			continue;
		if (!a->section_name.len != !b->section_name.len || !a->port != !b->port) {
			sl_cursor_error(&at,
					"refers to the same parent as parentRefs[%zu]: both must "
					"have sectionName and port, or neither",
					k);
			return;
		}
		if (sl_str_eq(a->section_name, b->section_name) && a->port == b->port) {
			sl_cursor_error(&at, "is the same as parentRefs[%zu]", k);
			return;
		}
	}
}

void sl_decode_parents(const struct sl_cursor *spec, struct sl_route_object *route)
{
	struct sl_cursor array;
	size_t n;

	if (!sl_read_array(spec, "parentRefs", MAX_PARENT_REFS, &array, &n))
		return;
	route->parent_refs = sl_decoder_new_n(spec->dec, struct sl_parent_ref, n);
	if (!route->parent_refs)
		return;
	route->n_parent_refs = (uint32_t)n;
	for (size_t i = 0; i < n; i++) {
		struct sl_cursor at = sl_cursor_item(&array, i);

		decode_parent(&at, &route->parent_refs[i]);
		check_parent(&array, route->parent_refs, i);
	}
}

void sl_refuse_address(const struct sl_cursor *at, struct sl_str host)
{
	struct sl_addr ignored;

	if (host.len && !sl_addr_parse_ip(host, 0, &ignored))
		sl_cursor_error(at, "must be a host name, not an IP address");
}

void sl_decode_hostnames(const struct sl_cursor *spec, size_t max, struct sl_route_object *route)
{
	struct sl_cursor array;
	size_t n;

	if (!sl_read_array(spec, "hostnames", max, &array, &n))
		return;
	route->hostnames = sl_decoder_new_n(spec->dec, struct sl_str, n);
	if (!route->hostnames)
		return;
	for (size_t i = 0; i < n; i++) {
		struct sl_cursor at = sl_cursor_item(&array, i);
		struct sl_str *name = &route->hostnames[route->n_hostnames];

		if (sl_cursor_str(&at, &sl_text_wildcard_hostname, name))
			route->n_hostnames++;
	}
}

/* ---- backendRefs ---- */

/* Returns false when there is nothing more to read. */
static bool decode_target(const struct sl_cursor *at, const char *const fields[],
			  struct sl_backend_ref *ref)
{
	struct sl_cursor port;

	ref->group = ref->name = SL_STR("");
	ref->kind = SL_STR("Service");
	ref->namespace = at->dec->object->meta.namespace;
	ref->weight = 1;
	if (!sl_cursor_is_object(at, fields))
		return false;
	(void)sl_read_str(at, "group", &sl_text_group,
			  &ref->group); /* each of them has a default */
	(void)sl_read_str(at, "kind", &sl_text_kind, &ref->kind);
	(void)sl_read_str(at, "namespace", &sl_text_dns_label, &ref->namespace);
	(void)sl_require_str(at, "name", &sl_text_ref_name, &ref->name);
	(void)sl_read_port(at, "port", &ref->port); /* see below */
	port = sl_cursor_member(at, "port");
	if (!port.node && ref->group.len == 0 && sl_str_eqc(ref->kind, "Service"))
		sl_cursor_error(&port, "required for a Service, but missing");
	if (port.node && sl_backend_ref_is_xbackend(ref))
		sl_cursor_error(&port, "must not be set for an XBackend, which has its own");
	return true;
}

void sl_decode_target(const struct sl_cursor *owner, struct sl_backend_ref **ret)
{
	struct sl_cursor at = sl_cursor_member(owner, "backendRef");

	if (!at.node) {
		sl_cursor_error(&at, "required, but missing");
		return;
	}
	*ret = sl_decoder_new_n(owner->dec, struct sl_backend_ref, 1);
	if (*ret)
		(void)decode_target(&at, target_fields, *ret); /* what is wrong was reported */
}

static void decode_backend(const struct sl_cursor *at, struct sl_backend_ref *ref)
{
	enum sl_kind kind = at->dec->object->kind;
	bool has_filters = kind == SL_KIND_HTTPROUTE || kind == SL_KIND_GRPCROUTE;
	int64_t weight = 1;

	if (!decode_target(at, has_filters ? backend_fields : plain_backend_fields, ref))
		return;
	(void)sl_read_int(at, "weight", 0, MAX_WEIGHT, &weight); /* has a default */
	ref->weight = (uint32_t)weight;
	if (has_filters)
		sl_decode_filters(at, &ref->filters, &ref->n_filters);
}

void sl_decode_backends(const struct sl_cursor *rule_at, struct sl_route_rule *rule)
{
	struct sl_cursor array;
	size_t n;

	if (!sl_read_array(rule_at, "backendRefs", MAX_BACKEND_REFS, &array, &n))
		return;
	rule->backend_refs = sl_decoder_new_n(rule_at->dec, struct sl_backend_ref, n);
	if (!rule->backend_refs)
		return;
	rule->n_backend_refs = (uint32_t)n;
	for (size_t i = 0; i < n; i++) {
		struct sl_cursor at = sl_cursor_item(&array, i);

		decode_backend(&at, &rule->backend_refs[i]);
	}
}

/* ---- rules ---- */

/* Objects stored before 1.7 may have two rules of one name: the first has it. */
static void check_name(const struct sl_cursor *rule_at, const struct sl_route_object *route,
		       size_t i)
{
	struct sl_cursor at = sl_cursor_member(rule_at, "name");

	for (size_t k = 0; k < i; k++) {
		if (route->rules[i].name.len &&
		    sl_str_eq(route->rules[i].name, route->rules[k].name)) {
			sl_cursor_error(&at, "must be unique in the route, rules[%zu] has it too",
					k);
			return;
		}
	}
}

void sl_decode_rules(const struct sl_cursor *spec, struct sl_route_object *route,
		     void (*decode)(const struct sl_cursor *at, struct sl_route_rule *rule))
{
	struct sl_decoder *dec = spec->dec;
	struct sl_cursor array;
	size_t n, n_matches = 0;

	if (!sl_read_array(spec, "rules", MAX_RULES, &array, &n))
		return;
	route->rules = sl_decoder_new_n(dec, struct sl_route_rule, n);
	if (!route->rules)
		return;
	route->n_rules = (uint32_t)n;
	for (size_t i = 0; i < n && !dec->oom; i++) {
		struct sl_cursor at = sl_cursor_item(&array, i);

		dec->rule = &route->rules[i];
		dec->rule->line = sl_cursor_line(&at);
		dec->rule->name = SL_STR("");
		decode(&at, dec->rule);
		check_name(&at, route, i);
		dec->rule = NULL;
		n_matches += route->rules[i].n_matches;
	}
	if (n_matches > MAX_TOTAL_MATCHES)
		sl_cursor_error(&array,
				"must have at most %d matches in all rules together, has %zu",
				MAX_TOTAL_MATCHES, n_matches);
}
