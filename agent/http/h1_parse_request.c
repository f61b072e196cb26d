/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include "http/h1_fields.h"
#include "http/uri.h"

/* Empty lines before the request line (RFC 9112 section 2.2). Returns 0 with *ret_len, or as the
 * parser does. */
static int skip_empty_lines(const char *p, size_t len, size_t *ret_len, struct sl_h1_error *err)
{
	size_t n = 0;

	while (n < len && (p[n] == '\r' || p[n] == '\n')) {
		if (p[n] == '\n')
			return sl_h1_bad(err, 400, "line ends in a bare LF");
		if (n + 1 == len)
			return SL_H1_MORE;
		if (p[n + 1] != '\n')
			return sl_h1_bad(err, 400, "bare CR");
		n += 2;
		if (n > 2 * SL_H1_EMPTY_LINES_MAX)
			return sl_h1_bad(err, 400, "too many empty lines");
	}
	if (n == len)
		return SL_H1_MORE;
	if (!sl_char_is(p[n], SL_CHAR_TOKEN))
		return sl_h1_bad(err, 400, "request line does not start with a method");
	*ret_len = n;
	return 0;
}

static int find_end(const struct sl_h1_limits *limits, struct sl_h1_scan *scan, const char *p,
		    size_t len, size_t skip, size_t *ret_len, struct sl_h1_error *err)
{
	struct sl_h1_section_limits section = {
		.first_line_bytes = limits->start_line_bytes < limits->head_bytes
					    ? limits->start_line_bytes
					    : limits->head_bytes,
		.bytes = limits->head_bytes,
		.n_lines = limits->n_headers + 1,
	};
	int r;

	if (scan->seen < skip)
		scan->seen = skip;
	scan->seen -= skip;
	r = sl_h1_section_find(&section, scan, p + skip, len - skip, ret_len, err);
	scan->seen += skip;
	return r;
}

static int parse_absolute_form(struct sl_request *r, struct sl_h1_error *err)
{
	static const struct sl_str schemes[] = {SL_STR("http://"), SL_STR("https://")};
	struct sl_str rest = SL_STR_NULL;

	for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
		struct sl_str head = r->target;

		if (head.len < schemes[i].len)
			continue;
		head.len = schemes[i].len;
		if (sl_str_ieq(head, schemes[i]))
			rest = sl_str_skip(r->target, head.len);
	}
	if (!rest.ptr)
		return sl_h1_bad(err, 400, "malformed request target");
	r->authority = rest;
	r->authority.len = 0;
	while (r->authority.len < rest.len && rest.ptr[r->authority.len] != '/' &&
	       rest.ptr[r->authority.len] != '?')
		r->authority.len++;
	if (!sl_uri_authority_valid(r->authority, false))
		return sl_h1_bad(err, 400, "invalid authority in the request target");
	r->path = sl_str_skip(rest, r->authority.len);
	return 0;
}

static void split_query(struct sl_request *r)
{
	const char *mark = r->path.len ? memchr(r->path.ptr, '?', r->path.len) : NULL;

	if (mark) {
		r->query = sl_str_skip(r->path, (size_t)(mark - r->path.ptr) + 1);
		r->path.len = (size_t)(mark - r->path.ptr);
	}
}

/* The four forms of RFC 9112 section 3.2. */
static int parse_target(struct sl_request *r, struct sl_h1_error *err)
{
	int res;

	if (r->method == SL_METHOD_CONNECT) {
		if (!sl_uri_authority_valid(r->target, true))
			return sl_h1_bad(err, 400, "CONNECT without host and port");
		r->authority = r->target;
		r->path = SL_STR("");
		return 0;
	}
	if (r->target.ptr[0] == '/') {
		r->path = r->target;
		split_query(r);
		return 0;
	}
	if (sl_str_eq(r->target, SL_STR("*"))) {
		if (r->method != SL_METHOD_OPTIONS)
			return sl_h1_bad(err, 400, "asterisk-form without OPTIONS");
		r->path = r->target;
		return 0;
	}
	res = parse_absolute_form(r, err);
	if (res)
		return res;
	split_query(r);
	if (!r->path.len) /* RFC 9112 section 3.2.4: such an OPTIONS asks for the server as a whole
			   */
		r->path =
			r->method == SL_METHOD_OPTIONS && !r->query.ptr ? SL_STR("*") : SL_STR("/");
	return 0;
}

static int parse_request_line(const char **pos, const char *end, struct sl_request *r,
			      struct sl_h1_error *err)
{
	const char *p = *pos, *start = p;
	int res;

	while (sl_char_is(*p, SL_CHAR_TOKEN))
		p++;
	r->method_text = (struct sl_str){start, (size_t)(p - start)};
	if (*p != ' ')
		return sl_h1_bad(err, 400, "malformed method");
	if (r->method_text.len > SL_H1_METHOD_MAX)
		return sl_h1_bad(err, 501, "method too long");
	r->method = sl_method_from(r->method_text);

	start = ++p;
	while (sl_char_is(*p, SL_CHAR_TARGET))
		p++;
	r->target = (struct sl_str){start, (size_t)(p - start)};
	if (*p == '#')
		return sl_h1_bad(err, 400, "fragment in the request target");
	if (*p == '\r' && p[1] == '\n')
		return sl_h1_bad(err, 400, "request line without a version");
	if (*p != ' ' || p == start)
		return sl_h1_bad(err, 400, "malformed request target");

	p++;
	res = sl_h1_version_parse(p, end, &r->version, err);
	if (res)
		return res;
	if (p[8] != '\r' || p[9] != '\n')
		return sl_h1_bad(err, 400, "malformed request line");
	*pos = p + 10;
	return parse_target(r, err);
}

/* RFC 9112 section 3.2. The Host line always says what authority says, so that the backend and the
 * routes judge one name. */
static int judge_host(struct sl_request *r, struct sl_arena *a, struct sl_h1_error *err)
{
	struct sl_header *host = sl_headers_find(&r->headers, SL_STR("host"));

	if (!host) {
		if (r->version >= 11)
			return sl_h1_bad(err, 400, "no Host");
		if (!r->authority.ptr)
			return 0;
		return sl_headers_append(&r->headers, a, SL_STR("Host"), r->authority);
	}
	if (sl_headers_next(&r->headers, SL_STR("host"), host))
		return sl_h1_bad(err, 400, "several Host lines");
	if (host->value.len && !sl_uri_authority_valid(host->value, false))
		return sl_h1_bad(err, 400, "invalid Host");
	if (!r->authority.ptr)
		r->authority = host->value;
	host->value = r->authority;
	return 0;
}

static int judge_framing(struct sl_request *r, unsigned seen, struct sl_h1_error *err)
{
	struct sl_h1_framing f = {0};
	int res = sl_h1_framing_read(&r->headers, seen, r->version, false, &f, err);

	if (res)
		return res;
	/* What follows a CONNECT belongs to the tunnel (RFC 9110 section 9.3.6). */
	if (r->method == SL_METHOD_CONNECT && (f.chunked || f.content_length))
		return sl_h1_bad(err, 400, "CONNECT with a body");
	if (f.chunked) {
		r->body = SL_BODY_CHUNKED;
	} else if (f.has_length) {
		r->body = SL_BODY_LENGTH;
		r->content_length = f.content_length;
	}
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

/* A client that said 1.0 cannot wait for 100 (RFC 9110 section 10.1.1): the field goes, as it would
 * wake up again in the 1.1 request that is sent on. */
static void judge_expect(struct sl_request *r)
{
	bool body = r->body == SL_BODY_CHUNKED || r->content_length;

	if (r->version < 11)
		(void)sl_headers_remove(&r->headers, SL_STR("expect")); /* any number is fine */
	else
		r->expect_continue =
			body && list_has(&r->headers, SL_STR("expect"), SL_STR("100-continue"));
}

static bool names(const struct sl_h1_connection *c, struct sl_str field)
{
	for (uint32_t i = 0; i < c->n_named; i++) {
		if (sl_str_ieq(c->named[i], field))
			return true;
	}
	return false;
}

/* RFC 7540 section 3.2: one HTTP2-Settings line, of this hop. */
static void judge_h2c(struct sl_request *r, const struct sl_h1_connection *c)
{
	static const struct sl_str field = {"http2-settings", 14};
	const struct sl_header *h = sl_headers_find(&r->headers, field);

	if (h && names(c, field) && !sl_headers_next(&r->headers, field, h) &&
	    r->body == SL_BODY_NONE)
		r->h2_settings = h->value;
}

static int judge_upgrade(struct sl_request *r, const struct sl_h1_connection *c, struct sl_arena *a)
{
	int res;

	if (!c->upgrade || r->version < 11)
		return 0;
	if (list_has(&r->headers, SL_STR("upgrade"), SL_STR("h2c"))) {
		judge_h2c(r, c);
		return 0;
	}
	res = sl_h1_field_join(&r->headers, a, SL_STR("upgrade"), &r->upgrade);
	if (!r->upgrade.len)
		r->upgrade = SL_STR_NULL;
	return res;
}

static int judge_fields(struct sl_request *r, unsigned seen, struct sl_arena *a,
			struct sl_h1_error *err)
{
	const unsigned plain = 1U << SL_H1_FIELD_OTHER | 1U << SL_H1_FIELD_HOST;
	struct sl_h1_connection c;
	int res = judge_host(r, a, err);

	if (res)
		return res;
	r->keep_alive = r->version >= 11;
	if (!(seen & ~plain))
		return 0;
	res = judge_framing(r, seen, err);
	if (res)
		return res;
	c.close = c.keep_alive = c.upgrade = false;
	c.n_named = 0;
	res = sl_h1_connection_read(&r->headers, &c, err);
	if (res)
		return res;
	r->keep_alive = !c.close && (r->version >= 11 || c.keep_alive);
	r->te_trailers = r->version >= 11 && seen & 1U << SL_H1_FIELD_TE &&
			 list_has(&r->headers, SL_STR("te"), SL_STR("trailers"));
	if (seen & 1U << SL_H1_FIELD_EXPECT)
		judge_expect(r);
	if (seen & 1U << SL_H1_FIELD_UPGRADE)
		res = judge_upgrade(r, &c, a);
	if (!res && seen & 1U << SL_H1_FIELD_TRAILER)
		res = sl_h1_field_join(&r->headers, a, SL_STR("trailer"), &r->trailer);
	if (res)
		return res;
	sl_h1_fields_strip(&r->headers, &c);
	return 0;
}

int sl_h1_parse_request(const struct sl_h1_limits *limits, struct sl_h1_scan *scan, const char *p,
			size_t len, struct sl_arena *a, struct sl_request *ret, size_t *ret_used,
			struct sl_h1_error *err)
{
	struct sl_request req = {0};
	const char *text, *end;
	size_t skip, head_len;
	unsigned seen;
	int r;

	if (!len)
		return SL_H1_MORE;
	r = skip_empty_lines(p, len, &skip, err);
	if (!r)
		r = find_end(limits, scan, p, len, skip, &head_len, err);
	if (r)
		return r;
	r = sl_h1_head_copy(a, p + skip, head_len, scan->n_lines - 1 + SL_H1_SPARE_HEADERS, &text,
			    &req.headers);
	if (r)
		return r;
	end = text + head_len;
	r = parse_request_line(&text, end, &req, err);
	if (!r)
		r = sl_h1_fields_parse(&text, end, &req.headers, &seen, err);
	if (!r)
		r = judge_fields(&req, seen, a, err);
	if (r)
		return r;
	*ret = req;
	*ret_used = skip + head_len;
	return 0;
}
