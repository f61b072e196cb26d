/* SPDX-License-Identifier: Apache-2.0 */
/* Heads that came in: field lines become messages that know no protocol (RFC 9113 section 8). */
#include <errno.h>
#include "http/h1_fields.h"
#include "http/h2_impl.h"
#include "http/uri.h"

enum {
	LINE_BYTES = 32,  /* that RFC 9113 section 6.5.2 adds to each field */
	PATIENCE = 4,	  /* a section that many times above its limit ends the connection */
	MAX_INTERIM = 32, /* each stays in the arena */
	MAX_METHOD = 32,
};

static int bad(struct sl_h2_stream *st, uint16_t status, const char *reason)
{
	return sl_h1_bad(&st->fault, status, reason);
}

static struct sl_str *pseudo_of(struct sl_h2_stream *st, struct sl_str name)
{
	static const char *const names[] = {
		[SL_H2_METHOD] = ":method",	  [SL_H2_SCHEME] = ":scheme",
		[SL_H2_AUTHORITY] = ":authority", [SL_H2_PATH] = ":path",
		[SL_H2_PROTOCOL] = ":protocol",	  [SL_H2_STATUS] = ":status",
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		if (sl_str_eqc(name, names[i]))
			return &st->pseudo[i];
	}
	return NULL;
}

/* Whether there is room for one more line. What is over is decoded, as the next section needs the
 * same tables, but not kept. */
static bool within(struct sl_h2_stream *st, size_t line_bytes)
{
	const struct sl_h2_limits *l = st->session->limits;
	uint32_t limit = st->head_in ? l->trailer_bytes : l->head_bytes;

	st->section_bytes += (uint32_t)line_bytes + LINE_BYTES;
	st->section_headers++;
	if (st->section_bytes > (uint64_t)limit * PATIENCE)
		st->session->abuse = SL_H2_FLOOD_HEADER_BYTES;
	if (!st->too_much && (st->section_bytes > limit || st->section_headers > l->n_headers)) {
		st->too_much = true;
		(void)sl_h1_too_much(&st->fault, 431,
				     st->section_bytes <= limit ? SL_H1_OVER_COUNT
				     : st->head_in		? SL_H1_OVER_TRAILER
								: SL_H1_OVER_HEAD,
				     st->section_bytes <= limit ? "too many header fields"
								: "header fields too large");
	}
	return !st->too_much;
}

int sl_h2_head_add(struct sl_h2_stream *st, struct sl_str name, struct sl_str value)
{
	struct sl_str *pseudo = name.len && name.ptr[0] == ':' ? pseudo_of(st, name) : NULL;
	int r;

	if (!within(st, name.len + value.len))
		return 0;
	if (pseudo)
		return sl_arena_str(st->arena, value, pseudo);
	if (name.len && name.ptr[0] == ':')
		return 0; /* nghttp2 knows no others */
	r = sl_arena_str(st->arena, name, &name);
	if (!r)
		r = sl_arena_str(st->arena, value, &value);
	if (!r)
		r = sl_headers_append(&st->fields, st->arena, name, value);
	return r;
}

/* Crumbs become one line again (RFC 9113 section 8.2.3): HTTP/1 knows no other way, and routes see
 * the same cookie from both. */
static int join_cookies(struct sl_headers *h, struct sl_arena *a)
{
	struct sl_header *first = sl_headers_find(h, SL_STR("cookie")), *it;
	size_t len = 0;
	char *text, *at;

	if (!first || !sl_headers_next(h, SL_STR("cookie"), first))
		return 0;
	for (it = first; it; it = sl_headers_next(h, SL_STR("cookie"), it))
		len += it->value.len + 2;
	text = at = sl_arena_alloc(a, len);
	if (!text)
		return -ENOMEM;
	for (it = first; it; it = sl_headers_next(h, SL_STR("cookie"), it)) {
		if (it != first) {
			memcpy(at, "; ", 2);
			at += 2;
		}
		memcpy(at, it->value.ptr, it->value.len);
		at += it->value.len;
	}
	return sl_headers_set(h, a, SL_STR("cookie"), (struct sl_str){text, (size_t)(at - text)});
}

/* Returns 0 with *ret_has, or SL_H1_BAD. nghttp2 lets one line through, and holds the body to it.
 */
static int take_length(struct sl_h2_stream *st, bool *ret_has, uint64_t *ret)
{
	struct sl_header *h = sl_headers_find(&st->fields, SL_STR("content-length"));

	*ret_has = h;
	if (h && sl_str_to_u64(h->value, INT64_MAX, ret))
		return bad(st, 400, "invalid Content-Length");
	if (h)
		(void)sl_headers_remove(&st->fields, SL_STR("content-length")); /* the one */
	return 0;
}

/* ---- requests ---- */

static int judge_authority(struct sl_h2_stream *st)
{
	struct sl_request *r = st->req;
	struct sl_header *host = sl_headers_find(&st->fields, SL_STR("host"));
	bool connect = r->method == SL_METHOD_CONNECT && !st->pseudo[SL_H2_PROTOCOL].ptr;

	r->authority = st->pseudo[SL_H2_AUTHORITY];
	if (host && sl_headers_next(&st->fields, SL_STR("host"), host))
		return bad(st, 400, "several Host lines");
	if (host && r->authority.ptr && !sl_str_ieq(host->value, r->authority))
		return bad(st, 400, ":authority and Host differ");
	if (!r->authority.ptr && host)
		r->authority = host->value;
	if (!sl_uri_authority_valid(r->authority, connect))
		return bad(st, 400, "invalid :authority");
	if (host)
		return 0;
	return sl_headers_append(&st->fields, st->arena, SL_STR("host"), r->authority);
}

static int judge_path(struct sl_h2_stream *st)
{
	struct sl_request *r = st->req;
	struct sl_str path = st->pseudo[SL_H2_PATH];
	const char *query = path.len ? memchr(path.ptr, '?', path.len) : NULL;

	if (!path.len || !sl_chars_all(path, SL_CHAR_TARGET))
		return bad(st, 400, "invalid :path");
	r->target = r->path = path;
	if (query) {
		size_t at = (size_t)(query - path.ptr);

		r->path.len = at;
		r->query = (struct sl_str){query + 1, path.len - at - 1};
	}
	if (path.ptr[0] != '/' && !(r->method == SL_METHOD_OPTIONS && sl_str_eq(path, SL_STR("*"))))
		return bad(st, 400, "invalid :path");
	return 0;
}

/* As the WebSocket handshake of HTTP/1, which routes know (RFC 8441 section 5). */
static int judge_protocol(struct sl_h2_stream *st)
{
	struct sl_request *r = st->req;
	struct sl_str protocol = st->pseudo[SL_H2_PROTOCOL];

	if (!protocol.len || !sl_chars_all(protocol, SL_CHAR_TOKEN))
		return bad(st, 400, "invalid :protocol");
	r->upgrade = protocol;
	r->method = SL_METHOD_GET;
	r->method_text = SL_STR("GET");
	return 0;
}

static int judge_request_body(struct sl_h2_stream *st, bool ends)
{
	struct sl_request *r = st->req;
	bool has;
	int err = take_length(st, &has, &r->content_length);

	if (err)
		return err;
	if (r->method == SL_METHOD_CONNECT || r->upgrade.ptr) {
		/* What follows belongs to the tunnel. */
		return has ? bad(st, 400, "CONNECT with a body") : 0;
	}
	/* Methods that mean a body say so when it is empty (RFC 9110 section 8.6). */
	if (has || (ends && (r->method == SL_METHOD_POST || r->method == SL_METHOD_PUT ||
			     r->method == SL_METHOD_PATCH)))
		r->body = SL_BODY_LENGTH;
	else
		r->body = ends ? SL_BODY_NONE : SL_BODY_CHUNKED;
	return 0;
}

static bool list_has(const struct sl_headers *h, struct sl_str name, struct sl_str element)
{
	const struct sl_header *it = NULL;
	struct sl_str e;

	while ((it = sl_headers_next(h, name, it))) {
		size_t pos = 0;

		while (sl_h1_list_next(it->value, &pos, &e)) {
			if (sl_str_ieq(e, element))
				return true;
		}
	}
	return false;
}

static int judge_request_fields(struct sl_h2_stream *st, bool ends)
{
	struct sl_request *r = st->req;

	r->te_trailers = sl_headers_remove(&st->fields, SL_STR("te")); /* has no other value */
	r->expect_continue = !ends && r->body != SL_BODY_NONE &&
			     list_has(&st->fields, SL_STR("expect"), SL_STR("100-continue"));
	return sl_h1_field_join(&st->fields, st->arena, SL_STR("trailer"), &r->trailer);
}

static int judge_request(struct sl_h2_stream *st, bool ends)
{
	struct sl_request *r = st->req;
	int err;

	if (st->fault.status)
		return SL_H1_BAD;
	if (r->method_text.len > MAX_METHOD)
		return bad(st, 501, "method too long");
	err = judge_authority(st);
	if (!err && r->method == SL_METHOD_CONNECT && !st->pseudo[SL_H2_PROTOCOL].ptr)
		r->target = r->authority;
	else if (!err)
		err = judge_path(st);
	if (!err && st->pseudo[SL_H2_PROTOCOL].ptr)
		err = judge_protocol(st);
	if (!err)
		err = judge_request_body(st, ends);
	if (!err)
		err = judge_request_fields(st, ends);
	return err ? err : join_cookies(&st->fields, st->arena);
}

int sl_h2_head_request(struct sl_h2_stream *st, bool ends)
{
	struct sl_request *r = st->req;
	int err;

	*r = (struct sl_request){
		.method_text = st->pseudo[SL_H2_METHOD], .version = 20, .keep_alive = true};
	r->method = sl_method_from(r->method_text);
	st->head_in = true;
	err = judge_request(st, ends);
	r->headers = st->fields;
	st->fields = (struct sl_headers){0};
	return err;
}

/* ---- responses ---- */

static int judge_response_body(struct sl_h2_stream *st, struct sl_response *r, bool ends)
{
	bool tunnel = st->req->method == SL_METHOD_CONNECT || st->req->upgrade.ptr;
	int err = take_length(st, &r->has_length, &r->content_length);

	if (err)
		return err;
	if ((tunnel && r->status / 100 == 2) || r->status < 200 || r->status == 204 ||
	    r->status == 304 || st->req->method == SL_METHOD_HEAD)
		r->body = SL_BODY_NONE;
	else if (ends || r->has_length)
		r->body = SL_BODY_LENGTH;
	else
		r->body = SL_BODY_CHUNKED;
	return 0;
}

static int judge_response(struct sl_h2_stream *st, struct sl_response *r, bool ends)
{
	uint64_t status;
	int err;

	if (st->fault.status)
		return SL_H1_BAD;
	if (sl_str_to_u64(st->pseudo[SL_H2_STATUS], 999, &status) || status < 100 || status == 101)
		return bad(st, 502, "invalid :status");
	r->status = (uint16_t)status;
	r->version = 20;
	r->keep_alive = true;
	if (r->status < 200 && (ends || ++st->n_interim > MAX_INTERIM))
		return bad(st, 502, "too many interim responses, or the end in one");
	err = judge_response_body(st, r, ends);
	if (err)
		return err;
	r->headers = st->fields;
	st->fields = (struct sl_headers){0};
	return 0;
}

int sl_h2_head_response(struct sl_h2_stream *st, bool ends)
{
	struct sl_h2_head *head = sl_arena_new(st->arena, struct sl_h2_head);
	int err;

	if (!head)
		return -ENOMEM;
	err = judge_response(st, &head->res, ends);
	if (err)
		return err;
	st->head_in = head->res.status >= 200;
	*st->heads_end = head;
	st->heads_end = &head->next;
	return 0;
}
