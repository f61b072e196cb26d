/* SPDX-License-Identifier: Apache-2.0 */
/* The end of a section, and its lines. */
#include <errno.h>
#include "http/h1_fields.h"

static int check_rest(const struct sl_h1_section_limits *limits, const struct sl_h1_scan *scan,
		      size_t len, struct sl_h1_error *err)
{
	if (!scan->n_lines && len > limits->first_line_bytes)
		return sl_h1_too_much(err, 414, SL_H1_OVER_START_LINE, "start line too long");
	if (len > limits->bytes)
		return sl_h1_too_much(err, 431, SL_H1_OVER_HEAD, "header section too long");
	return 0;
}

int sl_h1_section_find(const struct sl_h1_section_limits *limits, struct sl_h1_scan *scan,
		       const char *p, size_t len, size_t *ret_len, struct sl_h1_error *err)
{
	size_t at = scan->seen;
	const char *nl;
	int r;

	while (at < len && (nl = memchr(p + at, '\n', len - at))) {
		size_t end = (size_t)(nl - p) + 1;

		r = check_rest(limits, scan, end, err);
		if (r)
			return r;
		if (end < 2 || p[end - 2] != '\r')
			return sl_h1_bad(err, 400, "line ends in a bare LF");
		if (end == 2 || p[end - 3] == '\n') {
			/* Here again, should the caller run out of memory and come back. */
			scan->seen = end - 2;
			*ret_len = end;
			return 0;
		}
		if (scan->n_lines == limits->n_lines)
			return sl_h1_too_much(err, 431, SL_H1_OVER_COUNT, "too many header lines");
		scan->n_lines++;
		scan->seen = at = end;
	}
	r = check_rest(limits, scan, len, err);
	if (r)
		return r;
	scan->seen = len;
	return SL_H1_MORE;
}

int sl_h1_head_copy(struct sl_arena *a, const char *p, size_t len, uint32_t n,
		    const char **ret_text, struct sl_headers *ret_headers)
{
	char *text = sl_arena_alloc(a, len);
	struct sl_header *items = text ? sl_arena_alloc(a, n * sizeof(*items)) : NULL;

	if (!items)
		return -ENOMEM;
	memcpy(text, p, len);
	*ret_text = text;
	*ret_headers = (struct sl_headers){.items = items, .cap = n};
	return 0;
}

static int bad_name(const char *name, const char *p, struct sl_h1_error *err)
{
	bool blank = *p == ' ' || *p == '\t';

	if (p == name && blank)
		return sl_h1_bad(err, 400, "folded header line");
	if (blank)
		return sl_h1_bad(err, 400, "white space before the colon");
	if (p == name && *p == ':')
		return sl_h1_bad(err, 400, "empty header name");
	if (*p == '\r')
		return sl_h1_bad(err, 400, "header line without a colon");
	return sl_h1_bad(err, 400, "invalid character in a header name");
}

static int parse_line(const char **pos, const char *end, struct sl_header *ret,
		      struct sl_h1_error *err)
{
	const char *name = *pos, *p = name, *value, *stop;

	while (sl_char_is(*p, SL_CHAR_TOKEN))
		p++;
	if (*p != ':' || p == name)
		return bad_name(name, p, err);
	ret->name = (struct sl_str){name, (size_t)(p - name)};
	do {
		p++;
	} while (*p == ' ' || *p == '\t');
	value = p;
	stop = p = sl_chars_value_end(p, end);
	if (p[0] != '\r')
		return sl_h1_bad(err, 400, "control character in a header value");
	if (p[1] != '\n')
		return sl_h1_bad(err, 400, "bare CR in a header value");
	while (stop > value && (stop[-1] == ' ' || stop[-1] == '\t'))
		stop--;
	ret->value = (struct sl_str){value, (size_t)(stop - value)};
	*pos = p + 2;
	return 0;
}

/* The section ends in CRLF CRLF, so no loop here runs past it: each stops at a CR at the latest. */
int sl_h1_fields_parse(const char **p, const char *end, struct sl_headers *ret, unsigned *ret_seen,
		       struct sl_h1_error *err)
{
	unsigned seen = 0;

	while (end - *p > 2) {
		struct sl_header *h = &ret->items[ret->n];
		int r = parse_line(p, end, h, err);

		if (r)
			return r;
		seen |= 1U << sl_h1_field_from(h->name);
		ret->n++;
	}
	*ret_seen = seen;
	return 0;
}

int sl_h1_version_parse(const char *p, const char *end, uint8_t *ret, struct sl_h1_error *err)
{
	if (end - p < 8 || memcmp(p, "HTTP/", 5) != 0 || !sl_char_is_digit(p[5]) || p[6] != '.' ||
	    !sl_char_is_digit(p[7]))
		return sl_h1_bad(err, 400, "malformed HTTP version");
	if (p[5] == '0')
		return sl_h1_bad(err, 400, "HTTP/0.9");
	if (p[5] != '1')
		return sl_h1_bad(err, 505, "HTTP version not supported");
	*ret = p[7] == '0' ? 10 : 11;
	return 0;
}
