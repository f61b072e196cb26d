/* SPDX-License-Identifier: Apache-2.0 */
/* Rules of a route: which are usable, and their form in a route table. */
#include <errno.h>
#include <stdarg.h>
#include "base/alloc.h"
#include "base/cleanup.h"
#include "compile/work.h"

int rule_fail(struct route_work *rw, const struct sl_rule_error **ret_error, const char *reason,
	      struct sl_str field, const char *fmt, ...)
{
	struct sl_rule_error *error = sl_arena_new(&rw->arena, struct sl_rule_error);
	char text[1024];
	va_list ap;

	if (!error)
		return -ENOMEM;
	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap); /* cut when too long */
	va_end(ap);
	error->reason = reason;
	if (sl_arena_str(&rw->arena, field, &error->field) ||
	    sl_arena_str(&rw->arena, sl_str_from(text), &error->message))
		return -ENOMEM;
	*ret_error = error;
	return 0;
}

/* ---- matches ---- */

/* ret->text is pattern's for as long as somebody uses it. */
static int pattern_new(struct sl_compiler *c, struct sl_str text, struct pattern **ret,
		       char error[SL_REGEX_ERROR_TEXT])
{
	struct pattern *p = sl_calloc(1, sizeof(*p) + text.len);
	int r = p ? sl_regex_new(text, &p->regex, error) : -ENOMEM;

	if (r) {
		free(p);
		return r;
	}
	if (text.len)
		memcpy(p + 1, text.ptr, text.len);
	p->text = (struct sl_str){(const char *)(p + 1), text.len};
	r = sl_map_put(&c->patterns, p->text, p, NULL);
	if (r) {
		(void)sl_regex_unref(p->regex);
		free(p);
		return r;
	}
	*ret = p;
	return 0;
}

/* *ret is borrowed; NULL with *error set when the pattern is bad. */
static int pattern_check(struct sl_compiler *c, struct route_work *rw, struct sl_str text,
			 struct sl_str field, const struct sl_rule_error **error,
			 struct sl_regex **ret)
{
	struct pattern_use *use = sl_arena_new(&rw->arena, struct pattern_use);
	struct pattern *p = sl_map_get(&c->patterns, text);
	char why[SL_REGEX_ERROR_TEXT];
	int r = use ? 0 : -ENOMEM;

	if (!r && !p)
		r = pattern_new(c, text, &p, why);
	if (r == SL_REGEX_BAD)
		return rule_fail(rw, error, "UnsupportedValue", field,
				 "not a regular expression: %s", why);
	if (r)
		return r;
	p->n_users++;
	use->pattern = p;
	use->next = rw->patterns;
	rw->patterns = use;
	*ret = p->regex;
	return 0;
}

static bool same_name(bool is_header, struct sl_str a, struct sl_str b)
{
	return is_header ? sl_str_ieq(a, b) : sl_str_eq(a, b);
}

/* Of several entries of one name only the first counts. */
static int values_check(struct sl_compiler *c, struct route_work *rw,
			const struct sl_name_match *from, uint32_t n, bool is_header,
			struct sl_str field, const struct sl_rule_error **error,
			struct sl_match_value **ret, uint32_t *ret_n)
{
	struct sl_match_value *out = sl_arena_new_n(&rw->arena, struct sl_match_value, n + 1);
	uint32_t kept = 0;

	if (!out)
		return -ENOMEM;
	for (uint32_t i = 0; i < n && !*error; i++) {
		struct sl_match_value *v = &out[kept];
		struct sl_str at;
		uint32_t j = 0;
		int r;

		while (j < kept && !same_name(is_header, out[j].name, from[i].name))
			j++;
		if (j < kept)
			continue;
		v->name = from[i].name;
		v->value = from[i].value;
		kept++;
		if (from[i].type != SL_VALUE_REGEX)
			continue;
		r = sl_arena_printf(&rw->arena, &at, "%.*s.%s[%u].value", SL_STR_ARG(field),
				    is_header ? "headers" : "queryParams", i);
		if (!r)
			r = pattern_check(c, rw, v->value, at, error, &v->regex);
		if (r)
			return r;
	}
	*ret = out;
	*ret_n = kept;
	return 0;
}

static int path_check(struct sl_compiler *c, struct route_work *rw,
		      const struct sl_route_match *from, struct sl_str field,
		      const struct sl_rule_error **error, struct sl_match *ret)
{
	struct sl_str at;

	ret->path = from->path;
	switch (from->path_type) {
	case SL_PATH_EXACT:
		ret->class = SL_MATCH_EXACT;
		return 0;
	case SL_PATH_PREFIX:
		ret->class = SL_MATCH_PREFIX;
		ret->path = prefix_strip(from->path);
		return 0;
	case SL_PATH_REGEX:
		break;
	}
	ret->class = SL_MATCH_REGEX;
	if (sl_arena_printf(&rw->arena, &at, "%.*s.path.value", SL_STR_ARG(field)))
		return -ENOMEM;
	return pattern_check(c, rw, from->path, at, error, &ret->path_regex);
}

/* A part of a gRPC method; name: of the field. */
static int rpc_part_check(struct sl_compiler *c, struct route_work *rw, struct sl_str text,
			  bool is_regex, struct sl_str field, const char *name,
			  const struct sl_rule_error **error, struct sl_match_text *ret)
{
	struct sl_str at;

	ret->text = text;
	if (!is_regex || !text.len || *error)
		return 0;
	if (sl_arena_printf(&rw->arena, &at, "%.*s.method.%s", SL_STR_ARG(field), name))
		return -ENOMEM;
	return pattern_check(c, rw, text, at, error, &ret->regex);
}

static int rpc_check(struct sl_compiler *c, struct route_work *rw,
		     const struct sl_route_match *from, struct sl_str field,
		     const struct sl_rule_error **error, struct sl_match *ret)
{
	struct sl_str service = from->rpc_service, method = from->rpc_method;
	bool is_regex = from->rpc_type == SL_VALUE_REGEX;
	int r = rpc_part_check(c, rw, service, is_regex, field, "service", error,
			       &ret->rpc_service);

	if (!r)
		r = rpc_part_check(c, rw, method, is_regex, field, "method", error,
				   &ret->rpc_method);
	if (r || *error)
		return r;
	ret->is_rpc = true;
	ret->path = SL_STR("");
	if (service.len && method.len && !is_regex) {
		ret->class = SL_MATCH_EXACT;
		return sl_arena_printf(&rw->arena, &ret->path, "/%.*s/%.*s", SL_STR_ARG(service),
				       SL_STR_ARG(method));
	}
	if (method.len || (service.len && is_regex)) {
		ret->class = SL_MATCH_REGEX;
		return 0;
	}
	ret->class = SL_MATCH_PREFIX;
	return service.len ? sl_arena_printf(&rw->arena, &ret->path, "/%.*s", SL_STR_ARG(service))
			   : 0;
}

static int match_check(struct sl_compiler *c, struct route_work *rw,
		       const struct sl_route_match *from, struct sl_str field,
		       const struct sl_rule_error **error, struct sl_match *ret)
{
	int r = rw->kind == SL_ROUTE_GRPC ? rpc_check(c, rw, from, field, error, ret)
					  : path_check(c, rw, from, field, error, ret);

	if (!r && !*error)
		r = values_check(c, rw, from->headers, from->n_headers, true, field, error,
				 &ret->headers, &ret->n_headers);
	if (!r && !*error)
		r = values_check(c, rw, from->queries, from->n_queries, false, field, error,
				 &ret->queries, &ret->n_queries);
	if (r || *error || !from->method.len)
		return r;
	ret->method = sl_method_from(from->method);
	if (ret->method == SL_METHOD_OTHER)
		return rule_fail(rw, error, "UnsupportedValue", field,
				 "method \"%.*s\" is not known", SL_STR_ARG(from->method));
	return 0;
}

static int requests_check(struct sl_compiler *c, struct route_work *rw, struct rule_work *rule,
			  struct sl_str field)
{
	const struct sl_route_rule *spec = rule->spec;

	for (uint32_t i = 0; i < spec->n_matches && !rule->error; i++) {
		struct sl_str at;
		int r = sl_arena_printf(&rw->arena, &at, "%.*s.matches[%u]", SL_STR_ARG(field), i);

		if (!r)
			r = match_check(c, rw, &spec->matches[i], at, &rule->error,
					&rule->matches[i]);
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
	int r = known ? 0
		      : filters_check(rw, ref->filters, ref->n_filters, field, &rule->error,
				      &unresolved);

	/* One that did not decode is the rule's error, which is told. */
	if (!r && ref->name.len)
		r = backend_resolve(c, n, ref, field, &rule->backends[i]);
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

	rule->unresolved_filter = spec->error && blames_extension(spec);
	if (!rule->unresolved_filter)
		rule->error = spec->error; /* what else the rule says is not certain then */
	if (!r && !rule->error)
		r = matches_check(c, rw, rule, field);
	if (!r && !rule->error && !rule->unresolved_filter)
		r = filters_check(rw, spec->filters, spec->n_filters, field, &rule->error,
				  &rule->unresolved_filter);
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

static int values_build(struct sl_arena *a, const struct sl_match_value *from, uint32_t n,
			struct sl_match_value **ret, uint32_t *ret_n)
{
	struct sl_match_value *out = sl_arena_new_n(a, struct sl_match_value, n + 1);

	if (!out)
		return -ENOMEM;
	*ret = out;
	for (uint32_t i = 0; i < n; i++) {
		struct sl_match_value *v = &out[i];

		if (sl_arena_str(a, from[i].name, &v->name) ||
		    sl_arena_str(a, from[i].value, &v->value))
			return -ENOMEM;
		v->regex = from[i].regex ? sl_regex_ref(from[i].regex) : NULL;
		*ret_n = i + 1;
	}
	return 0;
}

static int text_build(struct sl_arena *a, const struct sl_match_text *from,
		      struct sl_match_text *ret)
{
	if (sl_arena_str(a, from->text, &ret->text))
		return -ENOMEM;
	ret->regex = from->regex ? sl_regex_ref(from->regex) : NULL;
	return 0;
}

/* *ret is at all times as far as it goes: its references are given back with it. */
int match_build(struct sl_arena *a, const struct sl_match *from, struct sl_match *ret)
{
	*ret = (struct sl_match){
		.class = from->class, .method = from->method, .is_rpc = from->is_rpc};
	if (sl_arena_str(a, from->path, &ret->path) ||
	    text_build(a, &from->rpc_service, &ret->rpc_service) ||
	    text_build(a, &from->rpc_method, &ret->rpc_method) ||
	    sl_arena_str(a, from->server_name, &ret->server_name))
		return -ENOMEM;
	ret->path_regex = from->path_regex ? sl_regex_ref(from->path_regex) : NULL;
	if (values_build(a, from->headers, from->n_headers, &ret->headers, &ret->n_headers))
		return -ENOMEM;
	return values_build(a, from->queries, from->n_queries, &ret->queries, &ret->n_queries);
}

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
		if (out[i].state == SL_BACKEND_OK) {
			out[i].n_filters = ref->n_filters;
			if (filters_build(a, spec, ref->filters, ref->n_filters, &out[i].filters))
				return -ENOMEM;
		}
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
	ret->n_filters = spec->n_filters;
	r = filters_build(a, spec, spec->filters, spec->n_filters, &ret->filters);
	for (uint32_t i = 0; i < spec->n_filters; i++)
		ret->redirects |= spec->filters[i].type == SL_FILTER_REDIRECT;
	return r ? r : backends_build(a, rule, ret);
}
