/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include "http/h1_fields.h"

static int parse_status_line(const char **pos, const char *end, struct sl_response *r,
			     struct sl_h1_error *err)
{
	const char *p = *pos, *stop;
	int res = sl_h1_version_parse(p, end, &r->version, err);

	if (res)
		return res;
	p += 8;
	if (end - p < 6 || *p != ' ' || !sl_char_is_digit(p[1]) || !sl_char_is_digit(p[2]) ||
	    !sl_char_is_digit(p[3]))
		return sl_h1_bad(err, 502, "malformed status line");
	r->status = (uint16_t)((p[1] - '0') * 100 + (p[2] - '0') * 10 + (p[3] - '0'));
	if (r->status < 100 || r->status > 599)
		return sl_h1_bad(err, 502, "status code out of range");
	p += 4;
	if (*p == ' ') /* RFC 9112 section 4 wants it; many leave it out with the reason */
		p++;
	else if (*p != '\r')
		return sl_h1_bad(err, 502, "malformed status line");
	stop = sl_chars_value_end(p, end);
	if (stop[0] != '\r' || stop[1] != '\n')
		return sl_h1_bad(err, 502, "control character in the reason phrase");
	r->reason = (struct sl_str){p, (size_t)(stop - p)};
	*pos = stop + 2;
	return 0;
}

/* RFC 9112 section 6.3, points 1 and 2: no body, whatever the fields say. */
static bool is_bodiless(const struct sl_response *r, enum sl_method method)
{
	return method == SL_METHOD_HEAD || r->status < 200 || r->status == 204 ||
	       r->status == 304 || (method == SL_METHOD_CONNECT && r->status < 300);
}

static int judge_framing(struct sl_response *r, unsigned seen, enum sl_method method,
			 struct sl_h1_error *err)
{
	struct sl_h1_framing f = {0};
	bool tunnel = method == SL_METHOD_CONNECT && r->status / 100 == 2;
	int res = sl_h1_framing_read(&r->headers, seen, r->version, true, &f, err);

	if (res)
		return res;
	r->has_length = f.has_length;
	r->content_length = f.content_length;
	if (!is_bodiless(r, method)) {
		r->body = f.chunked ? SL_BODY_CHUNKED : f.has_length ? SL_BODY_LENGTH : SL_BODY_EOF;
		r->keep_alive &= r->body != SL_BODY_EOF;
		return 0;
	}
	r->body = SL_BODY_NONE;
	if ((r->status < 200 || r->status == 204) && (f.chunked || f.content_length)) {
		if (r->status < 200)
			return sl_h1_bad(err, 502, "interim response with a body");
		/* RFC 9110 section 8.6 forbids it, and who says it may send the body too. */
		r->keep_alive = false;
	}
	if (r->status == 101 || tunnel)
		r->keep_alive = false;
	return 0;
}

static int judge_fields(struct sl_response *r, unsigned seen, enum sl_method method,
			struct sl_arena *a, struct sl_h1_error *err)
{
	struct sl_h1_connection c;
	int res = 0;

	c.close = c.keep_alive = c.upgrade = false;
	c.n_named = 0;
	if (seen & 1U << SL_H1_FIELD_CONNECTION)
		res = sl_h1_connection_read(&r->headers, &c, err);
	if (res)
		return res;
	r->keep_alive = !c.close && (r->version >= 11 || c.keep_alive);
	res = judge_framing(r, seen, method, err);
	if (res)
		return res;
	if (c.upgrade && r->version >= 11 && (r->status == 101 || r->status == 426))
		res = sl_h1_field_join(&r->headers, a, SL_STR("upgrade"), &r->upgrade);
	if (res)
		return res;
	sl_h1_fields_strip(&r->headers, &c);
	return 0;
}

static int parse_head(const char *text, size_t len, enum sl_method method, struct sl_arena *a,
		      struct sl_response *res, struct sl_h1_error *err)
{
	const char *end = text + len;
	unsigned seen;
	int r;

	r = parse_status_line(&text, end, res, err);
	if (!r)
		r = sl_h1_fields_parse(&text, end, &res->headers, &seen, err);
	if (!r)
		r = judge_fields(res, seen, method, a, err);
	return r;
}

int sl_h1_parse_response(const struct sl_h1_limits *limits, struct sl_h1_scan *scan, const char *p,
			 size_t len, enum sl_method method, struct sl_arena *a,
			 struct sl_response *ret, size_t *ret_used, struct sl_h1_error *err)
{
	struct sl_h1_section_limits section = {
		.first_line_bytes = UINT32_MAX,
		.bytes = limits->head_bytes,
		.n_lines = limits->n_headers + 1,
	};
	struct sl_response res = {0};
	const char *text;
	size_t head_len;
	int r = 0;

	if (!len)
		return SL_H1_MORE;
	if (memcmp(p, "HTTP/", len < 5 ? len : 5) != 0)
		r = sl_h1_bad(err, 502, "not an HTTP/1 response");
	if (!r)
		r = sl_h1_section_find(&section, scan, p, len, &head_len, err);
	if (!r)
		r = sl_h1_head_copy(a, p, head_len, scan->n_lines - 1 + SL_H1_SPARE_HEADERS, &text,
				    &res.headers);
	if (!r)
		r = parse_head(text, head_len, method, a, &res, err);
	if (r == SL_H1_BAD)
		err->status = 502; /* whatever is wrong with it, the client did nothing */
	if (r)
		return r;
	*ret = res;
	*ret_used = head_len;
	return 0;
}
