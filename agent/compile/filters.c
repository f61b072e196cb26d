/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <errno.h>
#include "compile/work.h"

struct sl_str prefix_strip(struct sl_str s)
{
	while (s.len && s.ptr[s.len - 1] == '/')
		s.len--;
	return s;
}

/* ---- checks: what the decoder lets through ---- */

static int filter_check(struct route_work *rw, const struct sl_filter_spec *f, struct sl_str field,
			const struct sl_rule_error **error, bool *ret_unresolved)
{
	if (f->type != SL_FILTER_UNSUPPORTED)
		return 0;
	if (sl_str_eqc(f->type_name, "ExtensionRef")) {
		*ret_unresolved = true;
		return 0;
	}
	return rule_fail(rw, error, "UnsupportedValue", field,
			 "filter type \"%.*s\" is not supported", SL_STR_ARG(f->type_name));
}

int filters_check(struct route_work *rw, const struct sl_filter_spec *specs, uint32_t n,
		  struct sl_str field, const struct sl_rule_error **error, bool *ret_unresolved)
{
	for (uint32_t i = 0; i < n && !*error; i++) {
		struct sl_str at;
		int r = sl_arena_printf(&rw->arena, &at, "%.*s.filters[%u]", SL_STR_ARG(field), i);

		if (!r)
			r = filter_check(rw, &specs[i], at, error, ret_unresolved);
		if (r)
			return r;
	}
	return 0;
}

/* ---- building ---- */

static int edits_build(struct sl_arena *a, const struct sl_header_value *from, uint32_t n,
		       const struct sl_header_edit **ret)
{
	struct sl_header_edit *out = sl_arena_new_n(a, struct sl_header_edit, n + 1);

	if (!out)
		return -ENOMEM;
	for (uint32_t i = 0; i < n; i++) {
		if (sl_arena_str(a, from[i].name, &out[i].name) ||
		    sl_arena_str(a, from[i].value, &out[i].value))
			return -ENOMEM;
	}
	*ret = out;
	return 0;
}

static int removals_build(struct sl_arena *a, const struct sl_str *names, uint32_t n,
			  const struct sl_header_edit **ret)
{
	struct sl_header_edit *out = sl_arena_new_n(a, struct sl_header_edit, n + 1);

	if (!out)
		return -ENOMEM;
	for (uint32_t i = 0; i < n; i++) {
		if (sl_arena_str(a, names[i], &out[i].name))
			return -ENOMEM;
	}
	*ret = out;
	return 0;
}

static int headers_build(struct sl_arena *a, const struct sl_header_modifier *m,
			 struct sl_header_edits *ret)
{
	ret->n_set = m->n_set;
	ret->n_add = m->n_add;
	ret->n_remove = m->n_remove;
	if (edits_build(a, m->set, m->n_set, &ret->set) ||
	    edits_build(a, m->add, m->n_add, &ret->add))
		return -ENOMEM;
	return removals_build(a, m->remove, m->n_remove, &ret->remove);
}

static int path_build(struct sl_arena *a, const struct sl_path_modifier *path,
		      const struct sl_route_rule *rule, struct sl_path_edit *ret)
{
	switch (path->type) {
	case SL_PATH_MODIFIER_NONE:
		ret->type = SL_PATH_EDIT_NONE;
		return 0;
	case SL_PATH_REPLACE_FULL:
		ret->type = SL_PATH_EDIT_FULL;
		return sl_arena_str(a, path->value, &ret->value);
	case SL_PATH_REPLACE_PREFIX:
		break;
	}
	ret->type = SL_PATH_EDIT_PREFIX;
	if (sl_arena_str(a, prefix_strip(path->value), &ret->value))
		return -ENOMEM;
	return sl_arena_str(a, prefix_strip(rule->matches[0].path), &ret->prefix);
}

static int filter_build(struct sl_arena *a, const struct sl_route_rule *rule,
			const struct sl_filter_spec *f, struct sl_filter *ret)
{
	assert(f->type != SL_FILTER_UNSUPPORTED); /* filters_check() lets none through */
	switch (f->type) {
	case SL_FILTER_UNSUPPORTED:
		break;
	case SL_FILTER_REQUEST_HEADERS:
		ret->kind = SL_FILTER_KIND_REQUEST_HEADERS;
		return headers_build(a, &f->headers, &ret->headers);
	case SL_FILTER_RESPONSE_HEADERS:
		ret->kind = SL_FILTER_KIND_RESPONSE_HEADERS;
		return headers_build(a, &f->headers, &ret->headers);
	case SL_FILTER_REDIRECT:
		ret->kind = SL_FILTER_KIND_REDIRECT;
		ret->redirect.port = f->redirect.port;
		ret->redirect.status = f->redirect.status_code;
		if (sl_arena_str(a, f->redirect.scheme, &ret->redirect.scheme) ||
		    sl_arena_str(a, f->redirect.hostname, &ret->redirect.hostname))
			return -ENOMEM;
		return path_build(a, &f->redirect.path, rule, &ret->redirect.path);
	case SL_FILTER_REWRITE:
		ret->kind = SL_FILTER_KIND_REWRITE;
		if (sl_arena_str(a, f->rewrite.hostname, &ret->rewrite.hostname))
			return -ENOMEM;
		return path_build(a, &f->rewrite.path, rule, &ret->rewrite.path);
	}
	return 0;
}

int filters_build(struct sl_arena *a, const struct sl_route_rule *rule,
		  const struct sl_filter_spec *specs, uint32_t n, const struct sl_filter **ret)
{
	struct sl_filter *out = sl_arena_new_n(a, struct sl_filter, n + 1);

	if (!out)
		return -ENOMEM;
	for (uint32_t i = 0; i < n; i++) {
		int r = filter_build(a, rule, &specs[i], &out[i]);

		if (r)
			return r;
	}
	*ret = out;
	return 0;
}
