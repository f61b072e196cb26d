/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CORS (Fetch standard, section 3.3; the fields are Gateway API's). Preflights are answered here,
 * so a backend never sees them; of other answers the route decides who may read them, whatever the
 * backend says.
 */
#include "http/uri.h"
#include "proxy/filter_impl.h"

static bool host_fits(const struct sl_cors_origin *want, struct sl_str host)
{
	if (!want->open)
		return sl_str_ieq(want->host, host);
	return host.len > want->host.len &&
	       sl_str_ieq(want->host, sl_str_skip(host, host.len - want->host.len));
}

/* An origin as browsers write it (RFC 6454 section 6.2): without a port that the scheme implies. */
static bool origin_fits(const struct sl_cors *c, struct sl_str origin)
{
	bool https = sl_str_starts(origin, SL_STR("https://"));
	struct sl_str authority, host;
	uint64_t port = https ? 443 : 80;

	if (c->any_origin)
		return true;
	if (!https && !sl_str_starts(origin, SL_STR("http://")))
		return false;
	authority = sl_str_skip(origin, https ? 8 : 7);
	if (!sl_uri_authority_valid(authority, false))
		return false;
	host = sl_uri_host(authority);
	if (host.len < authority.len &&
	    sl_str_to_u64(sl_str_skip(authority, host.len + 1), UINT16_MAX, &port))
		return false;
	for (uint32_t i = 0; i < c->n_origins; i++) {
		const struct sl_cors_origin *o = &c->origins[i];

		if (o->https == https && o->port == port && host_fits(o, host))
			return true;
	}
	return false;
}

/* A list that is allowed. Where all are, and credentials keep "*" from meaning so, those asked for.
 */
static int allow(struct sl_response *res, struct sl_arena *a, struct sl_str name,
		 struct sl_str allowed, bool echo, const struct sl_header *asked)
{
	if (echo)
		allowed = asked ? asked->value : SL_STR_NULL;
	return allowed.len ? sl_headers_append(&res->headers, a, name, allowed) : 0;
}

static int preflight(const struct sl_cors *c, const struct sl_filter_env *env,
		     const struct sl_request *req, const struct sl_header *method,
		     struct sl_response *ret)
{
	const struct sl_header *headers =
		sl_headers_find(&req->headers, SL_STR("Access-Control-Request-Headers"));
	struct sl_response res = {
		.status = 200,
		.body = SL_BODY_LENGTH,
		.has_length = true,
		.version = 11,
		.keep_alive = true,
	};
	int r = 0;

	if (origin_fits(c, env->origin)) {
		r = allow(&res, env->arena, SL_STR("Access-Control-Allow-Methods"), c->methods,
			  c->any_method && c->credentials, method);
		if (!r)
			r = allow(&res, env->arena, SL_STR("Access-Control-Allow-Headers"),
				  c->headers, c->any_header && c->credentials, headers);
		if (!r)
			r = sl_headers_append(&res.headers, env->arena,
					      SL_STR("Access-Control-Max-Age"), c->max_age);
	}
	if (r)
		return r;
	*ret = res;
	return SL_FILTER_ANSWER;
}

int sl_filter_cors_request(const struct sl_filter *f, struct sl_filter_env *env,
			   struct sl_request *req, struct sl_response *ret_response)
{
	const struct sl_header *origin = sl_headers_find(&req->headers, SL_STR("Origin"));
	const struct sl_header *method;

	/* A filter behind this one may take it from the request. */
	env->origin = origin ? origin->value : SL_STR_NULL;
	if (!origin || req->method != SL_METHOD_OPTIONS)
		return 0;
	method = sl_headers_find(&req->headers, SL_STR("Access-Control-Request-Method"));
	return method ? preflight(f->cors, env, req, method, ret_response) : 0;
}

static bool varies(const struct sl_headers *h)
{
	const struct sl_header *line = NULL;

	while ((line = sl_headers_next(h, SL_STR("Vary"), line))) {
		if (sl_str_ieq(line->value, SL_STR("origin")) || sl_str_eqc(line->value, "*"))
			return true;
	}
	return false;
}

int sl_filter_cors_response(const struct sl_filter *f, const struct sl_filter_env *env,
			    struct sl_response *res)
{
	const struct sl_cors *c = f->cors;
	bool everybody = c->any_origin && !c->credentials;
	struct sl_headers *h = &res->headers;
	int r = 0;

	/* They may be absent. */
	(void)sl_headers_remove(h, SL_STR("Access-Control-Allow-Origin"));
	(void)sl_headers_remove(h, SL_STR("Access-Control-Allow-Credentials"));
	(void)sl_headers_remove(h, SL_STR("Access-Control-Expose-Headers"));
	/* Also of answers without it: a cache must not give them to another origin. */
	if (!everybody && !varies(h))
		r = sl_headers_append(h, env->arena, SL_STR("Vary"), SL_STR("Origin"));
	if (r || !env->origin.ptr || !origin_fits(c, env->origin))
		return r;
	r = sl_headers_append(h, env->arena, SL_STR("Access-Control-Allow-Origin"),
			      everybody ? SL_STR("*") : env->origin);
	if (!r && c->credentials)
		r = sl_headers_append(h, env->arena, SL_STR("Access-Control-Allow-Credentials"),
				      SL_STR("true"));
	if (!r && c->exposed.len)
		r = sl_headers_append(h, env->arena, SL_STR("Access-Control-Expose-Headers"),
				      c->exposed);
	return r;
}
