/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ExternalAuth (GEP-1494): before the request goes on, another Service is asked. The stream is
 * PAUSED meanwhile. Nothing but a clear yes lets the request pass: who cannot be asked, does not
 * answer in time or says what is not understood has refused it.
 */
#include <errno.h>
#include "http/ext_authz.h"
#include "proxy/side.h"

/* Of an answer: a denial's body that is longer is left out. */
enum { ANSWER_BYTES = 65536 };

enum auth_state { READING, ASKING, ALLOWED, DENIED, FAILED };

struct sl_auth {
	const struct sl_ext_auth *spec;
	enum auth_state state;
	struct sl_side *side;	/* ASKING */
	struct sl_response res; /* DENIED; in the main stream's arena */
	struct sl_buf body;	/* of the answer */
	size_t max_body_bytes;	/* of the request */
	bool too_long;		/* READING: it is */
	bool cut;		/* the answer's body was too long */
	bool failed;
};

static bool in_list(const struct sl_str *names, uint32_t n, struct sl_str name)
{
	for (uint32_t i = 0; i < n; i++) {
		if (sl_str_ieq(names[i], name))
			return true;
	}
	return false;
}

/* ---- the answer ---- */

static int copy_header(struct sl_stream *s, struct sl_headers *to, const struct sl_header *from,
		       bool add)
{
	struct sl_str name, value;

	if (sl_arena_str(&s->arena, from->name, &name) ||
	    sl_arena_str(&s->arena, from->value, &value))
		return -ENOMEM;
	return add ? sl_headers_append(to, &s->arena, name, value)
		   : sl_headers_set(to, &s->arena, name, value);
}

/* What says something about the answer itself is none of the request's business. */
static bool describes_answer(struct sl_str name)
{
	struct sl_str start = SL_STR("content-");

	return sl_str_ieq(name, SL_STR("date")) || sl_str_ieq(name, SL_STR("server")) ||
	       (name.len > start.len && sl_str_ieq((struct sl_str){name.ptr, start.len}, start));
}

static bool is_taken(const struct sl_ext_auth *spec, struct sl_str name)
{
	if (sl_str_ieq(name, SL_STR("host")))
		return false;
	if (spec->n_response_headers)
		return in_list(spec->response_headers, spec->n_response_headers, name);
	return !describes_answer(name);
}

/* Headers of an answer that allows it, into the request: in place of what the client said. */
static int take_headers(struct sl_stream *s, const struct sl_headers *from)
{
	for (uint32_t i = 0; i < from->n; i++) {
		const struct sl_header *h = &from->items[i];
		bool first = sl_headers_find(from, h->name) == h;

		if (is_taken(s->auth->spec, h->name) && copy_header(s, &s->req.headers, h, !first))
			return -ENOMEM;
	}
	return 0;
}

static void init_denial(struct sl_auth *auth, uint16_t status)
{
	auth->res = (struct sl_response){
		.status = status, .version = 11, .has_length = true, .keep_alive = true};
}

static int judge_http(struct sl_stream *s, const struct sl_response *res)
{
	struct sl_auth *auth = s->auth;

	if (res->status == 200) {
		auth->state = ALLOWED;
		return take_headers(s, &res->headers);
	}
	init_denial(auth, res->status);
	auth->state = DENIED;
	for (uint32_t i = 0; i < res->headers.n; i++) {
		if (copy_header(s, &auth->res.headers, &res->headers.items[i], true))
			return -ENOMEM;
	}
	return 0;
}

static bool call_went_well(const struct sl_stream *call)
{
	const struct sl_header *h = sl_headers_find(&call->res_trailers, SL_STR("grpc-status"));

	if (!h)
		h = sl_headers_find(&call->res.headers, SL_STR("grpc-status"));
	return call->res.status == 200 && h && sl_str_eqc(h->value, "0");
}

static int judge_grpc(struct sl_stream *s, const struct sl_stream *call)
{
	struct sl_auth *auth = s->auth;
	struct sl_authz_verdict v;
	struct sl_str message;
	int r;

	if (!call_went_well(call))
		return -EPROTO;
	if (sl_arena_str(&s->arena, sl_buf_str(&auth->body), &message))
		return -ENOMEM;
	r = sl_authz_read_verdict(&s->arena, message, &v);
	if (r)
		return r;
	sl_buf_deinit(&auth->body);
	auth->state = v.allowed ? ALLOWED : DENIED;
	if (v.allowed)
		return sl_auth_allow(s, &v);
	init_denial(auth, v.status);
	if (sl_buf_append_str(&auth->body, v.body))
		return -ENOMEM;
	return sl_auth_fill_denial(s, &v, &auth->res.headers);
}

static void on_head(struct sl_side *side)
{
}

static void on_fail(struct sl_side *side)
{
	side->main->auth->failed = true;
}

static int on_body(struct sl_side *side, const struct sl_buf *from, size_t n)
{
	struct sl_auth *auth = side->main->auth;

	if (auth->cut || (!auth->spec->grpc && side->stream->res.status == 200))
		return 0;
	if (sl_buf_len(&auth->body) + n <= ANSWER_BYTES)
		return sl_buf_append(&auth->body, sl_buf_ptr(from), n);
	auth->cut = true;
	sl_buf_deinit(&auth->body);
	return auth->spec->grpc ? -EMSGSIZE : 0;
}

static void on_end(struct sl_side *side)
{
	struct sl_stream *s = side->main;
	struct sl_auth *auth = s->auth;
	bool whole = !auth->failed && side->stream->end == SL_END_COMPLETE;
	int r = -EPROTO;

	auth->side = NULL;
	if (whole)
		r = auth->spec->grpc ? judge_grpc(s, side->stream)
				     : judge_http(s, &side->stream->res);
	if (r)
		auth->state = FAILED;
	sl_stream_wake(s);
}

static const struct sl_side_ops ops = {
	.head = on_head,
	.fail = on_fail,
	.body = on_body,
	.end = on_end,
};

/* ---- the question ---- */

/* Of the request, as far as this service may see it: another may have been shown it. */
static struct sl_str body_of(const struct sl_stream *s)
{
	return s->auth->spec->body_bytes ? sl_buf_str(&s->attempt.replay) : SL_STR("");
}

static int pick_headers(const struct sl_stream *s, struct sl_arena *a, struct sl_headers *ret)
{
	const struct sl_ext_auth *spec = s->auth->spec;
	bool all = spec->grpc && !spec->n_request_headers;

	for (uint32_t i = 0; i < s->req.headers.n; i++) {
		const struct sl_header *h = &s->req.headers.items[i];

		if (sl_str_ieq(h->name, SL_STR("host")) || sl_str_ieq(h->name, SL_STR("expect")))
			continue;
		if (!all && !sl_str_ieq(h->name, SL_STR("authorization")) &&
		    !in_list(spec->request_headers, spec->n_request_headers, h->name))
			continue;
		/* Borrowed: the question never outlives the request. */
		if (sl_headers_append(ret, a, h->name, h->value))
			return -ENOMEM;
	}
	return 0;
}

static int make_http(struct sl_stream *s, struct sl_side *side)
{
	struct sl_stream *ask = side->stream;
	struct sl_str path = s->req.path;

	if (s->req.method == SL_METHOD_CONNECT)
		return -EPROTO; /* it has no path to ask for */
	if (!path.len || path.ptr[0] != '/')
		path = SL_STR("/");
	ask->req = (struct sl_request){
		.method = s->req.method,
		.method_text = s->req.method_text,
		.query = s->req.query,
		.authority = s->req.authority,
		.body = SL_BODY_LENGTH,
		.content_length = body_of(s).len,
		.version = 11,
		.keep_alive = true,
	};
	if (sl_arena_printf(&ask->arena, &ask->req.path, "%.*s%.*s",
			    SL_STR_ARG(s->auth->spec->path), SL_STR_ARG(path)))
		return -ENOMEM;
	ask->req.target = ask->req.path;
	if (pick_headers(s, &ask->arena, &ask->req.headers))
		return -ENOMEM;
	return sl_buf_append_str(&side->body, body_of(s));
}

static int64_t size_of(const struct sl_stream *s)
{
	if (s->req.body == SL_BODY_CHUNKED)
		return s->req_body.done ? (int64_t)sl_buf_len(&s->attempt.replay) : -1;
	return s->req.body == SL_BODY_LENGTH ? (int64_t)s->req.content_length : 0;
}

static int make_grpc(struct sl_stream *s, struct sl_side *side)
{
	const struct sl_conn *c = s->conn;
	struct sl_stream *ask = side->stream;
	char peer[SL_ADDR_TEXT], original[SL_ADDR_TEXT];
	struct sl_authz_check check = {
		.source = {sl_str_from(sl_addr_format_ip(&c->peer, peer)), c->peer.port},
		.destination = {sl_str_from(sl_addr_format_ip(&c->original, original)),
				c->original.port},
		.method = s->req.method_text,
		.host = s->req.authority,
		.scheme = s->env.scheme,
		.protocol = s->req.version == 20 ? SL_STR("HTTP/2") : SL_STR("HTTP/1.1"),
		.size = size_of(s),
		.body = body_of(s),
	};

	ask->is_grpc = true;
	ask->req = (struct sl_request){
		.method = SL_METHOD_POST,
		.method_text = SL_STR("POST"),
		.target = SL_STR(SL_AUTHZ_PATH),
		.path = SL_STR(SL_AUTHZ_PATH),
		.authority = s->auth->spec->authority,
		.body = SL_BODY_CHUNKED,
		.version = 20,
		.te_trailers = true,
	};
	if (sl_headers_append(&ask->req.headers, &ask->arena, SL_STR("content-type"),
			      SL_STR("application/grpc")) ||
	    sl_arena_printf(&ask->arena, &check.path, "%.*s%s%.*s", SL_STR_ARG(s->req.path),
			    s->req.query.ptr ? "?" : "", SL_STR_ARG(s->req.query)) ||
	    pick_headers(s, &ask->arena, &check.headers))
		return -ENOMEM;
	return sl_authz_write_check(&side->body, &check);
}

static void ask(struct sl_stream *s)
{
	struct sl_auth *auth = s->auth;
	struct sl_side *side = sl_side_new(s->conn->source, &ops);
	int r = -ENOMEM;

	if (side)
		r = auth->spec->grpc ? make_grpc(s, side) : make_http(s, side);
	if (r) {
		if (side)
			sl_side_cut(side);
		auth->state = FAILED;
		sl_stream_wake(s);
		return;
	}
	side->main = s;
	side->stream->upstream_key = auth->spec->backend;
	auth->side = side;
	auth->state = ASKING;
	sl_side_end_body(side, s->conn->proxy->opts.auth_timeout_ns);
}

/* ---- the request's body ---- */

static int hold(struct sl_stream *s, struct sl_buf *from, size_t n)
{
	struct sl_auth *auth = s->auth;

	if (s->mirrors)
		sl_mirrors_feed(s, sl_buf_ptr(from), n);
	auth->too_long |= sl_buf_len(&s->attempt.replay) + n > auth->max_body_bytes;
	if (!auth->too_long && sl_buf_append(&s->attempt.replay, sl_buf_ptr(from), n))
		return -ENOMEM;
	sl_buf_consume(from, n);
	return 0;
}

static void refuse_body(struct sl_stream *s)
{
	if (s->auth->max_body_bytes < s->auth->spec->body_bytes) {
		sl_stream_limit(s, SL_LIMIT_AUTH_BODY_BYTES, 413, SL_END_LIMIT);
		return;
	}
	s->why = "the body is longer than the route lets its authorization see";
	sl_stream_reply(s, 413, SL_END_DENIED);
}

static bool read_request(struct sl_stream *s)
{
	bool progress = s->down->read_body(s, hold);

	if (s->state != SL_STREAM_PAUSED)
		return true; /* it is malformed, or the client went */
	if (s->auth->too_long) {
		refuse_body(s);
		return true;
	}
	if (!s->req_body.done)
		return progress;
	if (s->mirrors)
		sl_mirrors_end_body(s);
	ask(s);
	return true;
}

/* The client may wait to hear that its body is wanted. */
static int invite_body(struct sl_stream *s)
{
	const struct sl_response go_on = {.status = 100, .version = 11};

	if (!s->req.expect_continue)
		return 0;
	s->req.expect_continue = false;
	(void)sl_headers_remove(&s->req.headers, SL_STR("expect")); /* HTTP/2 may be without */
	return s->down->write_interim(s, &go_on);
}

static void begin_reading(struct sl_stream *s)
{
	if (s->req.body == SL_BODY_LENGTH && s->req.content_length > s->auth->max_body_bytes)
		refuse_body(s);
	else if (invite_body(s))
		sl_stream_reply(s, 503, SL_END_INTERNAL);
}

/* How much of the body the service is shown. */
static size_t body_limit(const struct sl_stream *s, const struct sl_ext_auth *spec)
{
	uint32_t limit = s->conn->proxy->opts.auth_body_bytes;

	return spec->body_bytes < limit ? spec->body_bytes : limit;
}

/* ---- the stream's side ---- */

void sl_auth_begin(struct sl_stream *s, const struct sl_ext_auth *spec)
{
	if (!spec->resolved) {
		sl_stream_reply(s, 500, SL_END_NO_BACKEND);
		return;
	}
	s->auth = sl_arena_new(&s->arena, struct sl_auth);
	if (!s->auth) {
		sl_stream_reply(s, 503, SL_END_INTERNAL);
		return;
	}
	s->auth->spec = spec;
	s->auth->max_body_bytes = body_limit(s, spec);
	if (s->state != SL_STREAM_PAUSED)
		sl_stream_move(s, SL_STREAM_PAUSED);
	if (spec->body_bytes && sl_request_has_body(&s->req) && !s->req_body.done)
		begin_reading(s);
	else if (body_of(s).len > s->auth->max_body_bytes)
		refuse_body(s);
	else
		ask(s);
	sl_stream_wake(s);
}

static void deny(struct sl_stream *s)
{
	struct sl_auth *auth = s->auth;
	bool bodyless = s->req.method == SL_METHOD_HEAD || auth->res.status == 204 ||
			auth->res.status == 304;

	if (sl_arena_str(&s->arena, sl_buf_str(&auth->body), &s->own_body)) {
		sl_stream_reply(s, 503, SL_END_INTERNAL);
		return;
	}
	s->res = auth->res;
	s->res.body = bodyless ? SL_BODY_NONE : SL_BODY_LENGTH;
	s->res.content_length = s->own_body.len;
	s->res.has_length = !bodyless;
	sl_stream_answer(s, SL_END_DENIED);
}

bool sl_auth_step(struct sl_stream *s)
{
	struct sl_metrics_shard *m = s->conn->proxy->metrics;

	switch (s->auth->state) {
	case READING:
		return read_request(s);
	case ASKING:
		return false;
	case ALLOWED:
		sl_metrics_inc(m, SL_COUNTER_AUTH_ALLOWED);
		sl_auth_drop(s);
		sl_stream_resume(s);
		return true;
	case DENIED:
		sl_metrics_inc(m, SL_COUNTER_AUTH_DENIED);
		deny(s);
		return true;
	case FAILED:
		sl_metrics_inc(m, SL_COUNTER_AUTH_FAILED);
		sl_stream_reply(s, 403, SL_END_AUTH_FAILED);
		return true;
	}
	return false;
}

void sl_auth_drop(struct sl_stream *s)
{
	struct sl_auth *auth = sl_take(s->auth);

	if (auth->side)
		sl_side_cut(auth->side);
	sl_buf_deinit(&auth->body);
}
