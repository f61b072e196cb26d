/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * What request heads, response heads and trailer sections have in common: finding their end,
 * splitting them into field lines, and judging the fields that belong to one hop or frame the
 * message. Private to the codecs: HTTP/2's has the same fields to judge.
 */
#include "http/chars.h"
#include "http/h1_parse.h"

enum {
	SL_H1_METHOD_MAX = 32,	   /* bytes; longer ones nobody registers (501) */
	SL_H1_EMPTY_LINES_MAX = 4, /* before a request line; more are no client's habit (400) */
	SL_H1_SPARE_HEADERS = 8,   /* room for what filters add */
	SL_H1_NAMED_MAX = 32,	   /* fields that Connection may name (400) */
};

static inline int sl_h1_bad(struct sl_h1_error *err, uint16_t status, const char *reason)
{
	*err = (struct sl_h1_error){.status = status, .reason = reason};
	return SL_H1_BAD;
}

static inline int sl_h1_too_much(struct sl_h1_error *err, uint16_t status, enum sl_h1_over over,
				 const char *reason)
{
	*err = (struct sl_h1_error){.status = status, .over = over, .reason = reason};
	return SL_H1_BAD;
}

struct sl_h1_section_limits {
	uint32_t first_line_bytes; /* over: 414 */
	uint32_t bytes;		   /* over: 431 */
	uint32_t n_lines;	   /* without the empty one; over: 431 */
};

/*
 * Look for the empty line that ends the section at p. scan->seen counts from p. All that is refused
 * here is refused by its place in the input, so that the verdict does not depend on how it arrived.
 * Returns 0 with *ret_len (empty line included), SL_H1_MORE or SL_H1_BAD.
 */
int sl_h1_section_find(const struct sl_h1_section_limits *limits, struct sl_h1_scan *scan,
		       const char *p, size_t len, size_t *ret_len, struct sl_h1_error *err);

/* Copy a head into the arena and make room for n header lines. Returns 0 or -ENOMEM. */
int sl_h1_head_copy(struct sl_arena *a, const char *p, size_t len, uint32_t n,
		    const char **ret_text, struct sl_headers *ret_headers);

/* Fields that the codec handles itself. */
enum sl_h1_field {
	SL_H1_FIELD_OTHER,
	SL_H1_FIELD_HOST,
	SL_H1_FIELD_EXPECT,
	SL_H1_FIELD_TRAILER,
	/* From here on they never reach the headers of a parsed message, nor leave by h1_write. */
	SL_H1_FIELD_CONTENT_LENGTH,
	SL_H1_FIELD_TRANSFER_ENCODING,
	SL_H1_FIELD_CONNECTION,
	SL_H1_FIELD_KEEP_ALIVE,
	SL_H1_FIELD_PROXY_CONNECTION,
	SL_H1_FIELD_TE,
	SL_H1_FIELD_UPGRADE,
};
enum sl_h1_field sl_h1_field_from(struct sl_str name);

static inline bool sl_h1_field_is_hop(enum sl_h1_field f)
{
	return f >= SL_H1_FIELD_CONTENT_LENGTH;
}

/* Whether RFC 9110 section 6.5.1 keeps the field out of a trailer section. */
bool sl_h1_trailer_forbidden(struct sl_str name);

/* Parse field lines from *p to the empty line, which end is behind; seen gets a bit for each
 * enum sl_h1_field met. There must be room for all lines. Returns 0 or SL_H1_BAD. */
int sl_h1_fields_parse(const char **p, const char *end, struct sl_headers *ret, unsigned *ret_seen,
		       struct sl_h1_error *err);

/* What Connection says (RFC 9110 section 7.6.1). */
struct sl_h1_connection {
	bool close, keep_alive, upgrade;
	uint32_t n_named;
	struct sl_str named[SL_H1_NAMED_MAX]; /* other fields of this hop */
};
int sl_h1_connection_read(const struct sl_headers *h, struct sl_h1_connection *ret,
			  struct sl_h1_error *err);

/* Lengths that the fields declare (RFC 9112 section 6). */
struct sl_h1_framing {
	bool chunked, has_length;
	uint64_t content_length;
};
/* lists: several equal Content-Length values are one. Returns 0 or SL_H1_BAD. */
int sl_h1_framing_read(const struct sl_headers *h, unsigned seen, uint8_t version, bool lists,
		       struct sl_h1_framing *ret, struct sl_h1_error *err);

/* Next element of a comma-separated list, trimmed; *pos starts at 0. Empty ones are returned too.
 */
bool sl_h1_list_next(struct sl_str list, size_t *pos, struct sl_str *ret);

/* All values of a field joined, or ptr NULL when absent. Returns 0 or -ENOMEM. */
int sl_h1_field_join(const struct sl_headers *h, struct sl_arena *a, struct sl_str name,
		     struct sl_str *ret);

/* Remove the fields of this hop and those that c names, but never what end-to-end semantics hang
 * on (Host, framing, credentials, content, forwarding): a client must not be able to strip these.
 */
void sl_h1_fields_strip(struct sl_headers *h, const struct sl_h1_connection *c);

/* "HTTP/" DIGIT "." DIGIT at p (RFC 9112 section 2.3). Returns 0 with 10 or 11, or SL_H1_BAD. */
int sl_h1_version_parse(const char *p, const char *end, uint8_t *ret, struct sl_h1_error *err);
