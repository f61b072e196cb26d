/* SPDX-License-Identifier: Apache-2.0 */
/* URLRewrite, and the path edits that it shares with RequestRedirect. */
#include "proxy/filter_impl.h"

int sl_filter_set_authority(const struct sl_filter_env *env, struct sl_request *req,
			    struct sl_str authority)
{
	int r = sl_headers_set(&req->headers, env->arena, SL_STR("Host"), authority);

	if (r)
		return r;
	req->authority = authority;
	return 0;
}

/* Whether path is prefix, or below it. */
static bool below(struct sl_str path, struct sl_str prefix)
{
	return sl_str_starts(path, prefix) &&
	       (path.len == prefix.len || path.ptr[prefix.len] == '/');
}

/*
 * The matched path is edited, not the raw one: a backend that removes the dot segments of
 * "/foo/x/../../foo/bar" after the edit would end up outside of the replacement.
 */
int sl_filter_edit_path(const struct sl_path_edit *edit, const struct sl_filter_env *env,
			struct sl_str path, struct sl_str *ret)
{
	struct sl_str rest = SL_STR("");

	switch (edit->type) {
	case SL_PATH_EDIT_NONE:
		*ret = path;
		return 0;
	case SL_PATH_EDIT_FULL:
		break;
	case SL_PATH_EDIT_PREFIX:
		if (!below(env->path, edit->prefix)) {
			*ret = path;
			return 0;
		}
		rest = sl_str_skip(env->path, edit->prefix.len);
		break;
	}
	if (!edit->value.len && !rest.len) {
		*ret = SL_STR("/");
		return 0;
	}
	return sl_arena_printf(env->arena, ret, "%s%.*s%.*s",
			       edit->value.len && edit->value.ptr[0] != '/' ? "/" : "",
			       SL_STR_ARG(edit->value), SL_STR_ARG(rest));
}

int sl_filter_rewrite(const struct sl_filter *f, struct sl_filter_env *env, struct sl_request *req,
		      struct sl_response *ret_response)
{
	int r = sl_filter_edit_path(&f->rewrite.path, env, req->path, &req->path);

	(void)ret_response; /* this filter never answers */
	if (r || !f->rewrite.hostname.len)
		return r;
	return sl_filter_set_authority(env, req, f->rewrite.hostname);
}
