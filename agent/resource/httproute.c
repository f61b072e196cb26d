/* SPDX-License-Identifier: Apache-2.0 */
#include "resource/duration.h"
#include "resource/kinds.h"

static const char *const spec_fields[] = {"parentRefs", "hostnames", "rules", "useDefaultGateways",
					  NULL};
static const char *const rule_fields[] = {
	"name", "matches", "filters", "backendRefs", "timeouts", "retry", "sessionPersistence",
	NULL};
static const char *const timeout_fields[] = {"request", "backendRequest", NULL};

/* ---- timeouts ---- */

void sl_decode_duration(const struct sl_cursor *owner, const char *key, uint64_t *ret_ns)
{
	struct sl_cursor at = sl_cursor_member(owner, key);
	char quoted[SL_QUOTE_TEXT];
	struct sl_str text;

	if (!sl_cursor_str(&at, &sl_text_any, &text))
		return; /* unset */
	if (sl_duration_parse(text, ret_ns))
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
	sl_decode_duration(&at, "request", &rule->request_timeout_ns);
	sl_decode_duration(&at, "backendRequest", &rule->backend_request_timeout_ns);
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

/* What an empty rule says; also what is left of one that cannot be read. */
static void decode_default(const struct sl_cursor *at, struct sl_route_rule *rule)
{
	struct sl_cursor none = {.dec = at->dec, .up = at->up, .index = at->index};

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
	sl_decode_backends(at, rule);
	decode_timeouts(at, rule);
	sl_decode_retry(at, rule);
	sl_decode_persistence(at, &rule->persistence);
	if (!at->dec->oom)
		check_filters(at, rule);
}

/* A route without rules has the one that an empty rule is. */
static void decode_only_rule(const struct sl_cursor *at, struct sl_route_object *route)
{
	route->rules = sl_decoder_new_n(at->dec, struct sl_route_rule, 1);
	if (!route->rules)
		return;
	route->n_rules = 1;
	route->rules->line = sl_cursor_line(at);
	route->rules->name = SL_STR("");
	decode_default(at, route->rules);
}

void sl_decode_httproute(const struct sl_cursor *root)
{
	struct sl_route_object *route = (struct sl_route_object *)root->dec->object;
	struct sl_cursor spec = sl_cursor_member(root, "spec");
	struct sl_cursor rules;

	if (!spec.node) {
		sl_cursor_error(&spec, "required, but missing");
		return;
	}
	if (!sl_cursor_is_object(&spec, spec_fields))
		return;
	sl_decode_parents(&spec, route);
	sl_decode_hostnames(&spec, SL_MAX_HOSTNAMES, route);
	rules = sl_cursor_member(&spec, "rules");
	if (!rules.node)
		decode_only_rule(&rules, route);
	else
		sl_decode_rules(&spec, route, decode_rule);
	if (json_is_array(rules.node) && !json_array_size(rules.node))
		sl_cursor_error(&rules,
				"must have at least one rule; leave the field out for the default");
}
