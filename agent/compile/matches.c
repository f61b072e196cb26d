/* SPDX-License-Identifier: Apache-2.0 */
/* Matches of routes and policies: which are usable, and their form in a snapshot. */
#include <errno.h>
#include <stdarg.h>
#include "base/alloc.h"
#include "compile/work.h"

int rule_fail(struct sl_arena *a, const struct sl_rule_error **ret_error, const char *reason,
	      struct sl_str field, const char *fmt, ...)
{
	struct sl_rule_error *error = sl_arena_new(a, struct sl_rule_error);
	char text[1024];
	va_list ap;

	if (!error)
		return -ENOMEM;
	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap); /* cut when too long */
	va_end(ap);
	error->reason = reason;
	if (sl_arena_str(a, field, &error->field) ||
	    sl_arena_str(a, sl_str_from(text), &error->message))
		return -ENOMEM;
	*ret_error = error;
	return 0;
}

/* ---- checking ---- */

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
static int pattern_check(const struct match_check *k, struct sl_str text, struct sl_str field,
			 struct sl_regex **ret)
{
	struct pattern_use *use = sl_arena_new(k->arena, struct pattern_use);
	struct pattern *p = sl_map_get(&k->c->patterns, text);
	char why[SL_REGEX_ERROR_TEXT];
	int r = use ? 0 : -ENOMEM;

	if (!r && !p)
		r = pattern_new(k->c, text, &p, why);
	if (r == SL_REGEX_BAD)
		return rule_fail(k->arena, k->error, "UnsupportedValue", field,
				 "not a regular expression: %s", why);
	if (r)
		return r;
	p->n_users++;
	use->pattern = p;
	use->next = *k->patterns;
	*k->patterns = use;
	*ret = p->regex;
	return 0;
}

static bool same_name(bool is_header, struct sl_str a, struct sl_str b)
{
	return is_header ? sl_str_ieq(a, b) : sl_str_eq(a, b);
}

/* Of several entries of one name only the first counts. */
static int values_check(const struct match_check *k, const struct sl_name_match *from, uint32_t n,
			bool is_header, struct sl_str field, struct sl_match_value **ret,
			uint32_t *ret_n)
{
	struct sl_match_value *out = sl_arena_new_n(k->arena, struct sl_match_value, n + 1);
	uint32_t kept = 0;

	if (!out)
		return -ENOMEM;
	for (uint32_t i = 0; i < n && !*k->error; i++) {
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
		r = sl_arena_printf(k->arena, &at, "%.*s.%s[%u].value", SL_STR_ARG(field),
				    is_header ? "headers" : "queryParams", i);
		if (!r)
			r = pattern_check(k, v->value, at, &v->regex);
		if (r)
			return r;
	}
	*ret = out;
	*ret_n = kept;
	return 0;
}

static int path_check(const struct match_check *k, const struct sl_route_match *from,
		      struct sl_str field, struct sl_match *ret)
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
	if (sl_arena_printf(k->arena, &at, "%.*s.path.value", SL_STR_ARG(field)))
		return -ENOMEM;
	return pattern_check(k, from->path, at, &ret->path_regex);
}

/* A part of a gRPC method; name: of the field. */
static int rpc_part_check(const struct match_check *k, struct sl_str text, bool is_regex,
			  struct sl_str field, const char *name, struct sl_match_text *ret)
{
	struct sl_str at;

	ret->text = text;
	if (!is_regex || !text.len || *k->error)
		return 0;
	if (sl_arena_printf(k->arena, &at, "%.*s.method.%s", SL_STR_ARG(field), name))
		return -ENOMEM;
	return pattern_check(k, text, at, &ret->regex);
}

static int rpc_check(const struct match_check *k, const struct sl_route_match *from,
		     struct sl_str field, struct sl_match *ret)
{
	struct sl_str service = from->rpc_service, method = from->rpc_method;
	bool is_regex = from->rpc_type == SL_VALUE_REGEX;
	int r = rpc_part_check(k, service, is_regex, field, "service", &ret->rpc_service);

	if (!r)
		r = rpc_part_check(k, method, is_regex, field, "method", &ret->rpc_method);
	if (r || *k->error)
		return r;
	ret->is_rpc = true;
	ret->path = SL_STR("");
	if (service.len && method.len && !is_regex) {
		ret->class = SL_MATCH_EXACT;
		return sl_arena_printf(k->arena, &ret->path, "/%.*s/%.*s", SL_STR_ARG(service),
				       SL_STR_ARG(method));
	}
	if (method.len || (service.len && is_regex)) {
		ret->class = SL_MATCH_REGEX;
		return 0;
	}
	ret->class = SL_MATCH_PREFIX;
	return service.len ? sl_arena_printf(k->arena, &ret->path, "/%.*s", SL_STR_ARG(service))
			   : 0;
}

int match_check(const struct match_check *k, const struct sl_route_match *from, struct sl_str field,
		struct sl_match *ret)
{
	int r = k->is_rpc ? rpc_check(k, from, field, ret) : path_check(k, from, field, ret);

	if (!r && !*k->error)
		r = values_check(k, from->headers, from->n_headers, true, field, &ret->headers,
				 &ret->n_headers);
	if (!r && !*k->error)
		r = values_check(k, from->queries, from->n_queries, false, field, &ret->queries,
				 &ret->n_queries);
	if (r || *k->error || !from->method.len)
		return r;
	ret->method = sl_method_from(from->method);
	if (ret->method == SL_METHOD_OTHER)
		return rule_fail(k->arena, k->error, "UnsupportedValue", field,
				 "method \"%.*s\" is not known", SL_STR_ARG(from->method));
	return 0;
}

void patterns_drop(struct sl_compiler *c, struct pattern_use *uses)
{
	for (struct pattern_use *u = uses; u; u = u->next) {
		if (--u->pattern->n_users)
			continue;
		(void)sl_map_del(&c->patterns, u->pattern->text); /* it is there */
		(void)sl_regex_unref(u->pattern->regex);
		free(u->pattern);
	}
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
