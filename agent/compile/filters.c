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
	return rule_fail(&rw->arena, error, "UnsupportedValue", field,
			 "filter type \"%.*s\" is not supported", SL_STR_ARG(f->type_name));
}

/* The Service that a filter calls; NULL: it calls none. */
static const struct sl_backend_ref *target_of(const struct sl_filter_spec *f)
{
	return f->type == SL_FILTER_MIRROR ? f->mirror.backend
	       : f->type == SL_FILTER_AUTH ? f->auth.backend
					   : NULL;
}

static int target_check(struct sl_compiler *c, struct route_node *node,
			const struct sl_filter_spec *f, struct sl_str field,
			struct backend_work *ret)
{
	struct sl_str at;

	if (!target_of(f))
		return 0;
	if (sl_arena_printf(&node->work->arena, &at, "%.*s.%s.backendRef", SL_STR_ARG(field),
			    f->type == SL_FILTER_MIRROR ? "requestMirror" : "externalAuth"))
		return -ENOMEM;
	return backend_resolve(c, node, target_of(f), at, ret);
}

static bool call_services(struct filter_specs specs)
{
	for (uint32_t i = 0; i < specs.n; i++) {
		if (target_of(&specs.items[i]))
			return true;
	}
	return false;
}

int filters_check(struct sl_compiler *c, struct route_node *node, struct filter_specs specs,
		  struct sl_str field, const struct sl_rule_error **error, bool *ret_unresolved,
		  struct backend_work **ret_targets)
{
	struct route_work *rw = node->work;
	struct backend_work *targets = NULL;

	if (call_services(specs)) {
		targets = sl_arena_new_n(&rw->arena, struct backend_work, specs.n);
		if (!targets)
			return -ENOMEM;
	}
	for (uint32_t i = 0; i < specs.n && !*error; i++) {
		struct sl_str at;
		int r = sl_arena_printf(&rw->arena, &at, "%.*s.filters[%u]", SL_STR_ARG(field), i);

		if (!r)
			r = filter_check(rw, &specs.items[i], at, error, ret_unresolved);
		if (!r && targets)
			r = target_check(c, node, &specs.items[i], at, &targets[i]);
		if (r)
			return r;
	}
	*ret_targets = targets;
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

static int mirror_build(struct sl_arena *a, const struct sl_mirror_spec *spec,
			const struct backend_work *target, const struct sl_mirror **ret)
{
	struct sl_mirror *m = sl_arena_new(a, struct sl_mirror);

	if (!m)
		return -ENOMEM;
	m->numerator = spec->of.numerator;
	m->denominator = spec->of.denominator;
	*ret = m;
	return sl_arena_str(a, target->key, &m->backend);
}

static int names_build(struct sl_arena *a, const struct sl_texts *from, const struct sl_str **ret,
		       uint32_t *ret_n)
{
	struct sl_str *out = sl_arena_new_n(a, struct sl_str, from->n + 1);

	if (!out)
		return -ENOMEM;
	for (uint32_t i = 0; i < from->n; i++) {
		if (sl_arena_str(a, from->items[i], &out[i]))
			return -ENOMEM;
	}
	*ret = out;
	*ret_n = from->n;
	return 0;
}

static int auth_build(struct sl_arena *a, const struct sl_auth_spec *spec,
		      const struct backend_work *target, const struct sl_ext_auth **ret)
{
	struct sl_ext_auth *auth = sl_arena_new(a, struct sl_ext_auth);

	if (!auth)
		return -ENOMEM;
	auth->grpc = spec->grpc;
	auth->resolved = target->state == SL_BACKEND_OK;
	auth->body_bytes = spec->body_bytes;
	*ret = auth;
	if (sl_arena_str(a, target->key, &auth->backend) ||
	    sl_arena_str(a, prefix_strip(spec->path), &auth->path) ||
	    sl_arena_printf(a, &auth->authority, "%.*s.%.*s", SL_STR_ARG(spec->backend->name),
			    SL_STR_ARG(spec->backend->namespace)) ||
	    names_build(a, &spec->request_headers, &auth->request_headers,
			&auth->n_request_headers))
		return -ENOMEM;
	return names_build(a, &spec->response_headers, &auth->response_headers,
			   &auth->n_response_headers);
}

/* target: of the filter; NULL: it calls nobody. */
static int filter_build(struct sl_arena *a, const struct sl_route_rule *rule,
			const struct sl_filter_spec *f, const struct backend_work *target,
			struct sl_filter *ret)
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
	case SL_FILTER_CORS:
		ret->kind = SL_FILTER_KIND_CORS;
		return filter_build_cors(a, &f->cors, &ret->cors);
	case SL_FILTER_AUTH:
		ret->kind = SL_FILTER_KIND_AUTH;
		return auth_build(a, &f->auth, target, &ret->auth);
	case SL_FILTER_MIRROR:
		ret->kind = SL_FILTER_KIND_MIRROR;
		return mirror_build(a, &f->mirror, target, &ret->mirror);
	case SL_FILTER_REWRITE:
		ret->kind = SL_FILTER_KIND_REWRITE;
		if (sl_arena_str(a, f->rewrite.hostname, &ret->rewrite.hostname))
			return -ENOMEM;
		return path_build(a, &f->rewrite.path, rule, &ret->rewrite.path);
	}
	return 0;
}

/* A mirror that goes nowhere is told in the conditions, and requests do without. */
static bool is_left_out(const struct sl_filter_spec *f, const struct backend_work *target)
{
	return f->type == SL_FILTER_MIRROR && target->state != SL_BACKEND_OK;
}

int filters_build(struct sl_arena *a, const struct sl_route_rule *rule, struct filter_specs specs,
		  const struct backend_work *targets, const struct sl_filter **ret, uint32_t *ret_n)
{
	struct sl_filter *out = sl_arena_new_n(a, struct sl_filter, specs.n + 1);
	uint32_t n = 0;

	if (!out)
		return -ENOMEM;
	for (uint32_t i = 0; i < specs.n; i++) {
		const struct backend_work *target = targets ? &targets[i] : NULL;
		int r;

		if (is_left_out(&specs.items[i], target))
			continue;
		r = filter_build(a, rule, &specs.items[i], target, &out[n++]);
		if (r)
			return r;
	}
	*ret = out;
	*ret_n = n;
	return 0;
}
