/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include "http/h1_fields.h"

/* Chunked coding (RFC 9112 section 7.1). */
enum state {
	SIZE_FIRST, /* first digit of a chunk size */
	SIZE_MORE,  /* further ones */
	SIZE_BLANK, /* white space before the ";" of an extension */
	EXTENSION,  /* ignored to the end of the line */
	SIZE_LF,    /* the LF of the size line */
	DATA,
	DATA_CR, /* CRLF behind the data */
	DATA_LF,
	TRAILERS,
};

enum { SIZE_LINE_MAX = 1024 }; /* an extension is nothing to pay for with every byte of body */

void sl_h1_body_init(struct sl_h1_body *b, enum sl_body_kind kind, uint64_t content_length)
{
	*b = (struct sl_h1_body){.kind = kind, .state = SIZE_FIRST};
	if (kind == SL_BODY_LENGTH)
		b->left = content_length;
	b->done = kind == SL_BODY_NONE || (kind == SL_BODY_LENGTH && !content_length);
}

/* One digit more. */
static int add_digit(struct sl_h1_body *b, char c, struct sl_h1_error *err)
{
	if (b->left > (uint64_t)INT64_MAX >> 4)
		return sl_h1_bad(err, 400, "chunk size too large");
	b->left = b->left << 4 | sl_char_hex(c);
	b->state = SIZE_MORE;
	return 0;
}

static int step_after_size(struct sl_h1_body *b, char c, struct sl_h1_error *err)
{
	if (c == ';')
		b->state = EXTENSION;
	else if (c == ' ' || c == '\t')
		b->state = SIZE_BLANK;
	else if (c == '\r' && b->state == SIZE_MORE)
		b->state = SIZE_LF;
	else
		return sl_h1_bad(err, 400, "malformed chunk size");
	return 0;
}

static int step_size_lf(struct sl_h1_body *b, char c, struct sl_h1_error *err)
{
	if (c != '\n')
		return sl_h1_bad(err, 400, "bare CR in a chunk size line");
	b->line_bytes = 0;
	b->state = b->left ? DATA : TRAILERS;
	return 0;
}

/* One byte of framing. */
static int step(struct sl_h1_body *b, char c, struct sl_h1_error *err)
{
	if (b->state <= SIZE_LF && ++b->line_bytes > SIZE_LINE_MAX)
		return sl_h1_bad(err, 400, "chunk size line too long");
	switch ((enum state)b->state) {
	case SIZE_FIRST:
		if (!sl_char_is(c, SL_CHAR_HEX))
			return sl_h1_bad(err, 400, "malformed chunk size");
		return add_digit(b, c, err);
	case SIZE_MORE:
		if (sl_char_is(c, SL_CHAR_HEX))
			return add_digit(b, c, err);
		return step_after_size(b, c, err);
	case SIZE_BLANK:
		return step_after_size(b, c, err);
	case EXTENSION:
		if (c == '\r')
			b->state = SIZE_LF;
		else if (!sl_char_is(c, SL_CHAR_VALUE))
			return sl_h1_bad(err, 400, "control character in a chunk extension");
		return 0;
	case SIZE_LF:
		return step_size_lf(b, c, err);
	case DATA_CR:
	case DATA_LF:
		if (c != (b->state == DATA_CR ? '\r' : '\n'))
			return sl_h1_bad(err, 400, "no CRLF behind a chunk");
		b->state = b->state == DATA_CR ? DATA_LF : SIZE_FIRST;
		return 0;
	default:
		return 0; /* DATA and TRAILERS are no business of this function */
	}
}

static int keep_trailers(const struct sl_headers *section, struct sl_arena *a,
			 struct sl_headers *trailers)
{
	struct sl_headers all = *trailers; /* nothing is kept when only some could be */

	for (uint32_t i = 0; i < section->n; i++) {
		const struct sl_header *h = &section->items[i];
		int r;

		if (sl_h1_trailer_forbidden(h->name))
			continue;
		r = sl_headers_append(&all, a, h->name, h->value);
		if (r)
			return r;
	}
	*trailers = all;
	return 0;
}

static int read_trailers(struct sl_h1_body *b, const struct sl_h1_limits *limits, const char *p,
			 size_t len, struct sl_arena *a, struct sl_headers *trailers,
			 size_t *ret_used, struct sl_h1_error *err)
{
	struct sl_h1_section_limits section = {
		.first_line_bytes = UINT32_MAX,
		.bytes = limits->trailer_bytes,
		.n_lines = limits->n_headers,
	};
	struct sl_headers fields;
	const char *text, *end;
	size_t section_len;
	unsigned seen;
	int r = sl_h1_section_find(&section, &b->scan, p, len, &section_len, err);

	if (r == SL_H1_BAD && err->over)
		err->over = SL_H1_OVER_TRAILER;
	if (r)
		return r;
	if (b->scan.n_lines) {
		r = sl_h1_head_copy(a, p, section_len, b->scan.n_lines, &text, &fields);
		if (r)
			return r;
		end = text + section_len;
		r = sl_h1_fields_parse(&text, end, &fields, &seen, err);
		if (!r && trailers)
			r = keep_trailers(&fields, a, trailers);
		if (r)
			return r;
	}
	b->done = true;
	*ret_used = section_len;
	return 0;
}

/* Takes what is left of the body or chunk out of the input. */
static void take_data(struct sl_h1_body *b, const char *p, size_t len, struct sl_str *ret)
{
	*ret = (struct sl_str){p, len < b->left ? len : (size_t)b->left};
	b->left -= ret->len;
}

static int next_chunked(struct sl_h1_body *b, const struct sl_h1_limits *limits, const char *p,
			size_t len, struct sl_arena *a, struct sl_headers *trailers,
			struct sl_str *ret_data, size_t *ret_used, struct sl_h1_error *err)
{
	size_t at = 0, used = 0;
	int r;

	for (; at < len && b->state != DATA && b->state != TRAILERS; at++) {
		r = step(b, p[at], err);
		if (r)
			return r;
	}
	if (b->state == DATA && at < len) {
		take_data(b, p + at, len - at, ret_data);
		at += ret_data->len;
		if (!b->left)
			b->state = DATA_CR;
	} else if (b->state == TRAILERS && at < len) {
		r = read_trailers(b, limits, p + at, len - at, a, trailers, &used, err);
		if (r && r != SL_H1_MORE)
			return r;
	}
	*ret_used = at + used;
	return 0;
}

int sl_h1_body_next(struct sl_h1_body *b, const struct sl_h1_limits *limits, const char *p,
		    size_t len, struct sl_arena *a, struct sl_headers *trailers,
		    struct sl_str *ret_data, size_t *ret_used, struct sl_h1_error *err)
{
	*ret_data = SL_STR_NULL;
	*ret_used = 0;
	if (b->done || !len)
		return 0;
	switch (b->kind) {
	case SL_BODY_LENGTH:
		take_data(b, p, len, ret_data);
		b->done = !b->left;
		break;
	case SL_BODY_EOF:
		*ret_data = (struct sl_str){p, len};
		break;
	case SL_BODY_CHUNKED:
		return next_chunked(b, limits, p, len, a, trailers, ret_data, ret_used, err);
	case SL_BODY_NONE:
		break;
	}
	*ret_used = ret_data->len;
	return 0;
}

int sl_h1_body_eof(struct sl_h1_body *b)
{
	if (b->kind == SL_BODY_EOF)
		b->done = true;
	return b->done ? 0 : -EPIPE;
}
