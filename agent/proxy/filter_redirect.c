/* SPDX-License-Identifier: Apache-2.0 */
/* RequestRedirect. */
#include "http/uri.h"
#include "proxy/filter_impl.h"

static uint16_t well_known_port(struct sl_str scheme)
{
	return sl_str_eq(scheme, SL_STR("https")) ? 443 : 80;
}

/* The port as configured, else the one of a configured scheme, else the one dialled (a mesh has no
 * listener). */
static uint16_t port_of(const struct sl_filter *f, const struct sl_filter_env *env)
{
	if (f->redirect.port)
		return f->redirect.port;
	return f->redirect.scheme.len ? well_known_port(f->redirect.scheme) : env->port;
}

/* Scheme, host and port; empty for a request that named no host, where a path alone has to do. */
static int make_origin(const struct sl_filter *f, const struct sl_filter_env *env,
		       const struct sl_request *req, struct sl_str *ret)
{
	struct sl_str scheme = f->redirect.scheme.len ? f->redirect.scheme : env->scheme;
	struct sl_str host =
		f->redirect.hostname.len ? f->redirect.hostname : sl_uri_host(req->authority);
	uint16_t port = port_of(f, env);

	if (!host.len) {
		*ret = SL_STR("");
		return 0;
	}
	if (port == well_known_port(scheme))
		return sl_arena_printf(env->arena, ret, "%.*s://%.*s", SL_STR_ARG(scheme),
				       SL_STR_ARG(host));
	return sl_arena_printf(env->arena, ret, "%.*s://%.*s:%u", SL_STR_ARG(scheme),
			       SL_STR_ARG(host), port);
}

static int make_location(const struct sl_filter *f, const struct sl_filter_env *env,
			 const struct sl_request *req, struct sl_str *ret)
{
	struct sl_str origin, path;
	const char *lead = "";
	int r;

	r = make_origin(f, env, req, &origin);
	if (r)
		return r;
	r = sl_filter_edit_path(&f->redirect.path, env, req->path, &path);
	if (r)
		return r;
	if (!path.len || path.ptr[0] != '/')
		path = SL_STR("/"); /* of OPTIONS *, which has none */
	/* Alone, "//x/" would name the host x (RFC 3986 section 4.2). */
	if (!origin.len && sl_str_starts(path, SL_STR("//")))
		lead = "/.";
	return sl_arena_printf(env->arena, ret, "%.*s%s%.*s%s%.*s", SL_STR_ARG(origin), lead,
			       SL_STR_ARG(path), req->query.ptr ? "?" : "", SL_STR_ARG(req->query));
}

int sl_filter_redirect(const struct sl_filter *f, struct sl_filter_env *env, struct sl_request *req,
		       struct sl_response *ret_response)
{
	struct sl_response res = {
		.status = f->redirect.status ? f->redirect.status : 302,
		.body = req->method == SL_METHOD_HEAD ? SL_BODY_NONE : SL_BODY_LENGTH,
		.has_length = true,
		.version = 11,
		.keep_alive = true,
	};
	struct sl_str location;
	int r;

	r = make_location(f, env, req, &location);
	if (r)
		return r;
	r = sl_headers_append(&res.headers, env->arena, SL_STR("Location"), location);
	if (r)
		return r;
	*ret_response = res;
	return SL_FILTER_ANSWER;
}
