/* SPDX-License-Identifier: Apache-2.0 */
#include "resource/duration.h"
#include "resource/kinds.h"

enum {
	MAX_PARENT_REFS = 32,
	MAX_HOSTNAMES = 16,
	MAX_RULES = 16,
	MAX_TOTAL_MATCHES = 128,
	MAX_BACKEND_REFS = 16,
	MAX_WEIGHT = 1000000,
};

static const char *const spec_fields[] = {"parentRefs", "hostnames", "rules", "useDefaultGateways",
					  NULL};
static const char *const parent_fields[] = {"group",	   "kind", "namespace", "name",
					    "sectionName", "port", NULL};
static const char *const rule_fields[] = {
	"name", "matches", "filters", "backendRefs", "timeouts", "retry", "sessionPersistence",
	NULL};
static const char *const backend_fields[] = {"group", "kind",	"namespace", "name",
					     "port",  "weight", "filters",   NULL};
static const char *const timeout_fields[] = {"request", "backendRequest", NULL};

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

static void decode_parents(const struct sl_cursor *spec, struct sl_httproute *route)
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

static void decode_hostnames(const struct sl_cursor *spec, struct sl_httproute *route)
{
	struct sl_cursor array;
	size_t n;

	if (!sl_read_array(spec, "hostnames", MAX_HOSTNAMES, &array, &n))
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

/* ---- backendRefs, timeouts ---- */

static void decode_backend(const struct sl_cursor *at, struct sl_backend_ref *ref)
{
	struct sl_cursor port;
	int64_t weight = 1;

	ref->group = ref->name = SL_STR("");
	ref->kind = SL_STR("Service");
	ref->namespace = at->dec->object->meta.namespace;
	ref->weight = 1;
	if (!sl_cursor_is_object(at, backend_fields))
		return;
	(void)sl_read_str(at, "group", &sl_text_group,
			  &ref->group); /* each of them has a default */
	(void)sl_read_str(at, "kind", &sl_text_kind, &ref->kind);
	(void)sl_read_str(at, "namespace", &sl_text_dns_label, &ref->namespace);
	(void)sl_require_str(at, "name", &sl_text_ref_name, &ref->name);
	(void)sl_read_port(at, "port", &ref->port); /* see below */
	(void)sl_read_int(at, "weight", 0, MAX_WEIGHT, &weight);
	ref->weight = (uint32_t)weight;
	port = sl_cursor_member(at, "port");
	if (!port.node && ref->group.len == 0 && sl_str_eqc(ref->kind, "Service"))
		sl_cursor_error(&port, "required for a Service, but missing");
	sl_decode_filters(at, &ref->filters, &ref->n_filters);
}

static void decode_backends(const struct sl_cursor *rule_at, struct sl_route_rule *rule)
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

static void decode_timeout(const struct sl_cursor *timeouts, const char *key, uint64_t *ret)
{
	struct sl_cursor at = sl_cursor_member(timeouts, key);
	char quoted[SL_QUOTE_TEXT];
	struct sl_str text;

	if (!sl_cursor_str(&at, &sl_text_any, &text))
		return; /* unset */
	if (sl_duration_parse(text, ret))
		sl_cursor_error(&at, "must be a duration like 1h30m, 10s or 500ms, got %s",
				sl_quote(text, quoted));
}

static void decode_timeouts(const struct sl_cursor *rule_at, struct sl_route_rule *rule)
{
	struct sl_cursor at;
	uint64_t request, backend;

	rule->request_timeout_ns = rule->backend_request_timeout_ns = SL_DURATION_UNSET;
	if (!sl_read_object(rule_at, "timeouts", timeout_fields, &at))
		return;
	decode_timeout(&at, "request", &rule->request_timeout_ns);
	decode_timeout(&at, "backendRequest", &rule->backend_request_timeout_ns);
	request = rule->request_timeout_ns;
	backend = rule->backend_request_timeout_ns;
	if (request != SL_DURATION_UNSET && request != 0 && backend != SL_DURATION_UNSET &&
	    backend > request) {
		struct sl_cursor backend_at = sl_cursor_member(&at, "backendRequest");

		sl_cursor_error(&backend_at, "must not be longer than timeouts.request");
	}
}

/* ---- rules ---- */

static bool replaces_prefix(const struct sl_filter_spec *f)
{
	return (f->type == SL_FILTER_REDIRECT && f->redirect.path.type == SL_PATH_REPLACE_PREFIX) ||
	       (f->type == SL_FILTER_REWRITE && f->rewrite.path.type == SL_PATH_REPLACE_PREFIX);
}

/* What is replaced is the prefix that matched: there must be one, and only one. */
static void check_prefix(const struct sl_cursor *owner, const struct sl_route_rule *rule,
			 const struct sl_filter_spec *filters, uint32_t n)
{
	struct sl_cursor array = sl_cursor_member(owner, "filters");

	if (rule->n_matches == 1 && rule->matches[0].path_type == SL_PATH_PREFIX)
		return;
	for (uint32_t i = 0; i < n; i++) {
		struct sl_cursor at = sl_cursor_item(&array, i);

		if (replaces_prefix(&filters[i]))
			sl_cursor_error(&at,
					"ReplacePrefixMatch needs exactly one match in the rule, "
					"and its path type must be PathPrefix");
	}
}

static void check_filters(const struct sl_cursor *at, const struct sl_route_rule *rule)
{
	struct sl_cursor filters = sl_cursor_member(at, "filters");
	struct sl_cursor backends = sl_cursor_member(at, "backendRefs");

	for (uint32_t i = 0; i < rule->n_filters; i++) {
		struct sl_cursor item = sl_cursor_item(&filters, i);

		if (rule->filters[i].type == SL_FILTER_REDIRECT && rule->n_backend_refs)
			sl_cursor_error(&item,
					"RequestRedirect cannot be used together with backendRefs");
	}
	check_prefix(at, rule, rule->filters, rule->n_filters);
	for (uint32_t i = 0; i < rule->n_backend_refs; i++) {
		struct sl_cursor item = sl_cursor_item(&backends, i);

		check_prefix(&item, rule, rule->backend_refs[i].filters,
			     rule->backend_refs[i].n_filters);
	}
}

/* A rule that quietly lost a policy would not do what its author believes. */
static void refuse_unsupported(const struct sl_cursor *rule_at, const char *key)
{
	struct sl_cursor at = sl_cursor_member(rule_at, key);

	if (at.node)
		sl_cursor_error(&at, "%s is not supported by this version", key);
}

/* The rule of a route without rules; also what is left of one that cannot be read. */
static void decode_default(const struct sl_cursor *at, struct sl_route_rule *rule)
{
	struct sl_cursor none = {.dec = at->dec, .up = at->up, .index = at->index};

	rule->line = sl_cursor_line(at);
	rule->name = SL_STR("");
	sl_decode_matches(&none, rule);
	decode_timeouts(&none, rule);
}

static void decode_rule(const struct sl_cursor *at, struct sl_route_rule *rule)
{
	decode_default(at, rule);
	if (!sl_cursor_is_object(at, rule_fields))
		return;
	(void)sl_read_str(at, "name", &sl_text_subdomain, &rule->name); /* optional */
	sl_decode_matches(at, rule);
	sl_decode_filters(at, &rule->filters, &rule->n_filters);
	decode_backends(at, rule);
	decode_timeouts(at, rule);
	refuse_unsupported(at, "retry");
	refuse_unsupported(at, "sessionPersistence");
	if (!at->dec->oom)
		check_filters(at, rule);
}

/* Objects stored before 1.7 may have two rules of one name: the first has it. */
static void check_name(const struct sl_cursor *array, struct sl_httproute *route, size_t i)
{
	struct sl_cursor rule_at = sl_cursor_item(array, i);
	struct sl_cursor at = sl_cursor_member(&rule_at, "name");

	for (size_t k = 0; k < i; k++) {
		if (route->rules[i].name.len &&
		    sl_str_eq(route->rules[i].name, route->rules[k].name)) {
			sl_cursor_error(&at, "must be unique in the route, rules[%zu] has it too",
					k);
			return;
		}
	}
}

static void decode_rules(const struct sl_cursor *spec, struct sl_httproute *route)
{
	struct sl_cursor array = sl_cursor_member(spec, "rules");
	struct sl_decoder *dec = spec->dec;
	size_t n = 1, n_matches = 0;

	if (array.node && !sl_read_array(spec, "rules", MAX_RULES, &array, &n))
		return;
	if (n == 0)
		sl_cursor_error(&array,
				"must have at least one rule; leave the field out for the default");
	route->rules = sl_decoder_new_n(dec, struct sl_route_rule, n);
	if (!route->rules)
		return;
	route->n_rules = (uint32_t)n;
	for (size_t i = 0; i < n && !dec->oom; i++) {
		/* Without rules there is the default one, which is what an empty rule says. */
		struct sl_cursor at = sl_cursor_item(&array, i);

		dec->rule = &route->rules[i];
		if (array.node)
			decode_rule(&at, dec->rule);
		else
			decode_default(&at, dec->rule);
		check_name(&array, route, i);
		dec->rule = NULL;
		n_matches += route->rules[i].n_matches;
	}
	if (n_matches > MAX_TOTAL_MATCHES)
		sl_cursor_error(&array,
				"must have at most %d matches in all rules together, has %zu",
				MAX_TOTAL_MATCHES, n_matches);
}

void sl_decode_httproute(const struct sl_cursor *root)
{
	struct sl_httproute *route = (struct sl_httproute *)root->dec->object;
	struct sl_cursor spec = sl_cursor_member(root, "spec");

	if (!spec.node) {
		sl_cursor_error(&spec, "required, but missing");
		return;
	}
	if (!sl_cursor_is_object(&spec, spec_fields))
		return;
	decode_parents(&spec, route);
	decode_hostnames(&spec, route);
	decode_rules(&spec, route);
}
