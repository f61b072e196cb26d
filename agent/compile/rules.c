/* SPDX-License-Identifier: Apache-2.0 */
/* Rules of a route: which are usable, and their form in a route table. */
#include <errno.h>
#include "base/alloc.h"
#include "base/cleanup.h"
#include "compile/work.h"

/* ---- matches ---- */

static int requests_check(struct sl_compiler *c, struct route_work *rw, struct rule_work *rule,
			  struct sl_str field)
{
	const struct sl_route_rule *spec = rule->spec;
	const struct match_check k = {.c = c,
				      .arena = &rw->arena,
				      .patterns = &rw->patterns,
				      .error = &rule->error,
				      .is_rpc = rw->kind == SL_ROUTE_GRPC};

	for (uint32_t i = 0; i < spec->n_matches && !rule->error; i++) {
		struct sl_str at;
		int r = sl_arena_printf(&rw->arena, &at, "%.*s.matches[%u]", SL_STR_ARG(field), i);

		if (!r)
			r = match_check(&k, &spec->matches[i], at, &rule->matches[i]);
		if (r)
			return r;
	}
	return 0;
}

/* One match for each name of a TLSRoute, and one for all connections of a TCPRoute. */
static int connections_check(struct route_work *rw, struct rule_work *rule)
{
	rule->matches[0].class = SL_MATCH_PREFIX;
	rule->matches[0].path = SL_STR("");
	for (uint32_t i = 0; rw->kind == SL_ROUTE_TLS && i < rule->n_matches; i++) {
		struct sl_str name = rw->route->hostnames[i];
		bool wildcard = sl_str_starts(name, SL_STR("*."));
		char *path = sl_arena_alloc(&rw->arena, name.len + 1);

		if (!path)
			return -ENOMEM;
		rule->matches[i].class = wildcard ? SL_MATCH_PREFIX : SL_MATCH_EXACT;
		rule->matches[i].path = (struct sl_str){path, sl_match_name_path(name, path)};
		rule->matches[i].server_name = name;
	}
	return 0;
}

static int matches_check(struct sl_compiler *c, struct route_work *rw, struct rule_work *rule,
			 struct sl_str field)
{
	bool requests = rw->kind < SL_ROUTE_TLS;

	rule->n_matches = requests		     ? rule->spec->n_matches
			  : rw->kind == SL_ROUTE_TLS ? rw->route->n_hostnames
						     : 1;
	rule->matches = sl_arena_new_n(&rw->arena, struct sl_match, rule->n_matches + 1);
	if (!rule->matches)
		return -ENOMEM;
	return requests ? requests_check(c, rw, rule, field) : connections_check(rw, rule);
}

/* ---- backends ---- */

static int backend_check(struct sl_compiler *c, struct route_node *n, struct rule_work *rule,
			 uint32_t i, struct sl_str field)
{
	struct route_work *rw = n->work;
	const struct sl_backend_ref *ref = &rule->spec->backend_refs[i];
	bool unresolved = false;
	bool known = rule->error || rule->unresolved_filter;
	struct filter_specs filters = {ref->filters, ref->n_filters};
	int r = known ? 0
		      : filters_check(c, n, filters, field, &rule->error, &unresolved,
				      &rule->backends[i].targets);

	/* One that did not decode is the rule's error, which is told. */
	if (!r && ref->name.len)
		r = backend_resolve(c, n, ref, field, &rule->backends[i]);
	if (!r && rw->policy && rule->backends[i].state == SL_BACKEND_OK)
		r = variant_use(c, rw, rule->backends[i].port, &rule->backends[i].upstream);
	if (r || !unresolved)
		return r;
	rule->backends[i].state = SL_BACKEND_INVALID;
	return note_add(rw, "InvalidKind",
			"%.*s: a filter of type ExtensionRef refers to nothing known",
			SL_STR_ARG(field));
}

/* Also of a rule that is dropped: its references are wrong or not, whatever else is. */
static int backends_check(struct sl_compiler *c, struct route_node *node, struct rule_work *rule,
			  struct sl_str field)
{
	struct route_work *rw = node->work;
	uint32_t n = rule->spec->n_backend_refs;

	rule->backends = sl_arena_new_n(&rw->arena, struct backend_work, n + 1);
	if (!rule->backends)
		return -ENOMEM;
	for (uint32_t i = 0; i < n; i++) {
		struct sl_str at;
		int r = sl_arena_printf(&rw->arena, &at, "%.*s.backendRefs[%u]", SL_STR_ARG(field),
					i);

		if (!r)
			r = backend_check(c, node, rule, i, at);
		if (r)
			return r;
	}
	return 0;
}

/* ---- rules ---- */

static bool names_extension(const struct sl_filter_spec *filters, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		if (filters[i].type == SL_FILTER_UNSUPPORTED &&
		    sl_str_eqc(filters[i].type_name, "ExtensionRef"))
			return true;
	}
	return false;
}

/*
 * Whether the rule did not decode because of an ExtensionRef. The API lets rules with other unknown
 * filters be dropped, but requests of this one may not reach a lower rule and so pass without the
 * filter. The decoder notes the first error of a rule and reads matches first, so they are good.
 */
static bool blames_extension(const struct sl_route_rule *spec)
{
	struct sl_str end = SL_STR("].type");
	struct sl_str field = spec->error->field;
	bool named = names_extension(spec->filters, spec->n_filters);

	for (uint32_t i = 0; i < spec->n_backend_refs && !named; i++)
		named = names_extension(spec->backend_refs[i].filters,
					spec->backend_refs[i].n_filters);
	return named && field.len > end.len && memmem(field.ptr, field.len, ".filters[", 9) &&
	       sl_str_eq(sl_str_skip(field, field.len - end.len), end);
}

static int rule_check(struct sl_compiler *c, struct route_node *n, struct rule_work *rule)
{
	struct route_work *rw = n->work;
	const struct sl_route_rule *spec = rule->spec;
	struct sl_str field;
	int r = sl_arena_printf(&rw->arena, &field, "spec.rules[%u]", rule->index);

	if (rw->kind <= SL_ROUTE_HTTP)
		rule->faults = faults_of_rule(c, rw, spec);
	rule->unresolved_filter = spec->error && blames_extension(spec);
	if (!rule->unresolved_filter)
		rule->error = spec->error; /* what else the rule says is not certain then */
	if (!r && !rule->error)
		r = matches_check(c, rw, rule, field);
	if (!r && !rule->error && !rule->unresolved_filter)
		r = filters_check(c, n, (struct filter_specs){spec->filters, spec->n_filters},
				  field, &rule->error, &rule->unresolved_filter, &rule->targets);
	if (!r)
		r = backends_check(c, n, rule, field);
	if (r || rule->error || !rule->unresolved_filter)
		return r;
	return note_add(
		rw, "InvalidKind",
		"%.*s: a filter of type ExtensionRef refers to nothing known: requests get 500",
		SL_STR_ARG(field));
}

int rules_check(struct sl_compiler *c, struct route_node *n)
{
	struct route_work *rw = n->work;
	const struct sl_route_object *route = rw->route;

	rw->rules = sl_arena_new_n(&rw->arena, struct rule_work, route->n_rules + 1);
	if (!rw->rules)
		return -ENOMEM;
	for (uint32_t i = 0; i < route->n_rules; i++) {
		int r;

		rw->rules[i].spec = &route->rules[i];
		rw->rules[i].index = i;
		r = rule_check(c, n, &rw->rules[i]);
		if (r)
			return r;
		rw->n_usable += !rw->rules[i].error;
	}
	return 0;
}

/* ---- building ---- */

static int backends_build(struct sl_arena *a, const struct rule_work *rule, struct sl_rule *ret)
{
	const struct sl_route_rule *spec = rule->spec;
	struct sl_backend *out = sl_arena_new_n(a, struct sl_backend, spec->n_backend_refs + 1);

	if (!out)
		return -ENOMEM;
	for (uint32_t i = 0; i < spec->n_backend_refs; i++) {
		const struct sl_backend_ref *ref = &spec->backend_refs[i];

		out[i].state = rule->backends[i].state;
		out[i].weight = ref->weight;
		if (sl_arena_str(a, rule->backends[i].key, &out[i].name))
			return -ENOMEM;
		out[i].upstream = out[i].name;
		if (rule->backends[i].upstream.len &&
		    sl_arena_str(a, rule->backends[i].upstream, &out[i].upstream))
			return -ENOMEM;
		if (out[i].state == SL_BACKEND_OK &&
		    filters_build(a, spec, (struct filter_specs){ref->filters, ref->n_filters},
				  rule->backends[i].targets, &out[i].filters, &out[i].n_filters))
			return -ENOMEM;
		ret->total_weight += ref->weight;
	}
	ret->backends = out;
	ret->n_backends = spec->n_backend_refs;
	return 0;
}

static uint64_t timeout_from(uint64_t ns)
{
	return ns == SL_DURATION_UNSET ? SL_TIMEOUT_NONE : ns;
}

static int retry_build(struct sl_arena *a, const struct sl_retry_spec *spec,
		       const struct sl_retry **ret)
{
	struct sl_retry *retry;

	if (!spec)
		return 0;
	retry = sl_arena_new(a, struct sl_retry);
	if (!retry)
		return -ENOMEM;
	for (uint32_t i = 0; i < spec->n_codes; i++) {
		unsigned bit = spec->codes[i] - SL_RETRY_MIN_CODE;

		retry->codes[bit / 64] |= 1ULL << bit % 64;
	}
	retry->attempts = spec->attempts;
	retry->backoff_ns =
		spec->backoff_ns == SL_DURATION_UNSET ? SL_RETRY_BACKOFF_DEFAULT : spec->backoff_ns;
	*ret = retry;
	return 0;
}

static int name_build(struct sl_arena *a, const struct rule_work *rule, struct sl_str *ret)
{
	if (rule->spec->name.len)
		return sl_arena_str(a, rule->spec->name, ret);
	return sl_arena_printf(a, ret, "%u", rule->index);
}

int rule_build(struct sl_arena *a, const struct route_work *rw, const struct rule_work *rule,
	       struct sl_rule *ret)
{
	const struct sl_route_rule *spec = rule->spec;
	int r;

	ret->index = rule->index;
	ret->kind = rw->kind;
	r = sl_arena_printf(a, &ret->route, "%s/%.*s", route_kind_name(rw->kind),
			    SL_STR_ARG(rw->route->object.key));
	if (!r)
		r = name_build(a, rule, &ret->name);
	/* Without backends and filters the proxy answers 500, which is what an unresolved filter
	 * needs. */
	if (r || rule->unresolved_filter)
		return r;
	ret->request_timeout_ns = timeout_from(spec->request_timeout_ns);
	ret->backend_request_timeout_ns = timeout_from(spec->backend_request_timeout_ns);
	if (retry_build(a, spec->retry, &ret->retry) ||
	    persistence_build(a, rw, ret, spec->persistence))
		return -ENOMEM;
	r = filters_build(a, spec, (struct filter_specs){spec->filters, spec->n_filters},
			  rule->targets, &ret->filters, &ret->n_filters);
	for (uint32_t i = 0; i < spec->n_filters; i++)
		ret->redirects |= spec->filters[i].type == SL_FILTER_REDIRECT;
	return r ? r : backends_build(a, rule, ret);
}
