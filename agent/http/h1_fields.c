/* SPDX-License-Identifier: Apache-2.0 */
#include "http/h1_fields.h"

#include <errno.h>

static inline enum sl_h1_field if_equal(struct sl_str name, struct sl_str known, enum sl_h1_field f)
{
	return (name.ptr[0] | 0x20) == known.ptr[0] && sl_str_ieq(name, known) ? f
									       : SL_H1_FIELD_OTHER;
}

/* Most names are told from all these by their length or first letter. */
enum sl_h1_field sl_h1_field_from(struct sl_str name)
{
	switch (name.len) {
	case 2:
		return if_equal(name, SL_STR("te"), SL_H1_FIELD_TE);
	case 4:
		return if_equal(name, SL_STR("host"), SL_H1_FIELD_HOST);
	case 6:
		return if_equal(name, SL_STR("expect"), SL_H1_FIELD_EXPECT);
	case 7:
		if ((name.ptr[0] | 0x20) == 'u')
			return if_equal(name, SL_STR("upgrade"), SL_H1_FIELD_UPGRADE);
		return if_equal(name, SL_STR("trailer"), SL_H1_FIELD_TRAILER);
	case 10:
		if ((name.ptr[0] | 0x20) == 'c')
			return if_equal(name, SL_STR("connection"), SL_H1_FIELD_CONNECTION);
		return if_equal(name, SL_STR("keep-alive"), SL_H1_FIELD_KEEP_ALIVE);
	case 14:
		return if_equal(name, SL_STR("content-length"), SL_H1_FIELD_CONTENT_LENGTH);
	case 16:
		return if_equal(name, SL_STR("proxy-connection"), SL_H1_FIELD_PROXY_CONNECTION);
	case 17:
		return if_equal(name, SL_STR("transfer-encoding"), SL_H1_FIELD_TRANSFER_ENCODING);
	default:
		return SL_H1_FIELD_OTHER;
	}
}

bool sl_h1_list_next(struct sl_str list, size_t *pos, struct sl_str *ret)
{
	struct sl_str rest;
	const char *comma;

	/* One past the end means that the last element has been given out. */
	if (*pos > list.len)
		return false;
	rest = sl_str_skip(list, *pos);
	comma = rest.len ? memchr(rest.ptr, ',', rest.len) : NULL;
	if (comma)
		rest.len = (size_t)(comma - rest.ptr);
	*pos += rest.len + 1;
	*ret = sl_str_trim(rest);
	return true;
}

int sl_h1_field_join(const struct sl_headers *h, struct sl_arena *a, struct sl_str name,
		     struct sl_str *ret)
{
	int r = sl_headers_join(h, a, name, ret);

	if (r == -ENOENT) {
		*ret = SL_STR_NULL;
		return 0;
	}
	return r;
}

static int add_option(struct sl_h1_connection *c, struct sl_str option, struct sl_h1_error *err)
{
	if (!option.len)
		return 0;
	if (sl_str_ieq(option, SL_STR("close"))) {
		c->close = true;
	} else if (sl_str_ieq(option, SL_STR("keep-alive"))) {
		c->keep_alive = true;
	} else if (sl_str_ieq(option, SL_STR("upgrade"))) {
		c->upgrade = true;
	} else {
		if (c->n_named == SL_H1_NAMED_MAX)
			return sl_h1_bad(err, 400, "Connection names too many fields");
		c->named[c->n_named++] = option;
	}
	return 0;
}

int sl_h1_connection_read(const struct sl_headers *h, struct sl_h1_connection *ret,
			  struct sl_h1_error *err)
{
	const struct sl_header *it = NULL;
	struct sl_str option;

	while ((it = sl_headers_next(h, SL_STR("connection"), it))) {
		size_t pos = 0;

		while (sl_h1_list_next(it->value, &pos, &option)) {
			int r = add_option(ret, option, err);

			if (r)
				return r;
		}
	}
	return 0;
}

/*
 * Only "chunked" alone is understood. A list that ends otherwise has no certain end in a request,
 * and in a response would need the connection's end; a coding before chunked could not be
 * forwarded, as the field belongs to this hop.
 */
static int read_transfer_encoding(const struct sl_headers *h, struct sl_h1_error *err)
{
	const struct sl_header *it = NULL;
	struct sl_str coding, last = SL_STR_NULL;
	unsigned n_codings = 0, n_chunked = 0;

	while ((it = sl_headers_next(h, SL_STR("transfer-encoding"), it))) {
		size_t pos = 0;

		while (sl_h1_list_next(it->value, &pos, &coding)) {
			if (!coding.len)
				return sl_h1_bad(err, 400, "empty Transfer-Encoding");
			n_codings++;
			n_chunked += sl_str_ieq(coding, SL_STR("chunked"));
			last = coding;
		}
	}
	if (!sl_str_ieq(last, SL_STR("chunked")))
		return sl_h1_bad(err, 400, "Transfer-Encoding does not end in chunked");
	if (n_chunked > 1)
		return sl_h1_bad(err, 400, "chunked more than once");
	if (n_codings > 1)
		return sl_h1_bad(err, 501, "transfer coding not supported");
	return 0;
}

static int read_content_length(const struct sl_headers *h, bool lists, uint64_t *ret,
			       struct sl_h1_error *err)
{
	const struct sl_header *it = NULL;
	struct sl_str text;
	bool first = true;
	uint64_t v, length = 0;

	while ((it = sl_headers_next(h, SL_STR("content-length"), it))) {
		size_t pos = 0;

		while (sl_h1_list_next(it->value, &pos, &text)) {
			if (sl_str_to_u64(text, INT64_MAX, &v))
				return sl_h1_bad(err, 400, "invalid Content-Length");
			if (!first && (!lists || v != length))
				return sl_h1_bad(err, 400, "several Content-Length values");
			length = v;
			first = false;
		}
	}
	*ret = length;
	return 0;
}

int sl_h1_framing_read(const struct sl_headers *h, unsigned seen, uint8_t version, bool lists,
		       struct sl_h1_framing *ret, struct sl_h1_error *err)
{
	bool te = seen & 1U << SL_H1_FIELD_TRANSFER_ENCODING;
	bool cl = seen & 1U << SL_H1_FIELD_CONTENT_LENGTH;

	if (te && cl)
		return sl_h1_bad(err, 400, "both Content-Length and Transfer-Encoding");
	if (te && version < 11)
		return sl_h1_bad(err, 400, "Transfer-Encoding in HTTP/1.0");
	ret->chunked = te;
	ret->has_length = cl;
	if (te)
		return read_transfer_encoding(h, err);
	return cl ? read_content_length(h, lists, &ret->content_length, err) : 0;
}

static bool any_equal(const struct sl_str *table, size_t n, struct sl_str name)
{
	for (size_t i = 0; i < n; i++) {
		if (sl_str_ieq(table[i], name))
			return true;
	}
	return false;
}

/* Intended for all recipients, so that RFC 9110 section 7.6.1 has no sender name them. */
static bool is_end_to_end(struct sl_str name)
{
	static const struct sl_str names[] = {
		SL_STR("Authorization"),
		SL_STR("Cache-Control"),
		SL_STR("Content-Encoding"),
		SL_STR("Content-Language"),
		SL_STR("Content-Length"),
		SL_STR("Content-Location"),
		SL_STR("Content-Range"),
		SL_STR("Content-Type"),
		SL_STR("Cookie"),
		SL_STR("Date"),
		SL_STR("Expect"),
		SL_STR("Forwarded"),
		SL_STR("Host"),
		SL_STR("Location"),
		SL_STR("Origin"),
		SL_STR("Range"),
		SL_STR("Set-Cookie"),
		SL_STR("Trailer"),
		SL_STR("Transfer-Encoding"),
		SL_STR("Vary"),
		SL_STR("Via"),
		SL_STR("WWW-Authenticate"),
		SL_STR("X-Forwarded-For"),
		SL_STR("X-Forwarded-Host"),
		SL_STR("X-Forwarded-Proto"),
		SL_STR("X-Real-IP"),
	};

	return any_equal(names, sizeof(names) / sizeof(names[0]), name);
}

bool sl_h1_trailer_forbidden(struct sl_str name)
{
	static const struct sl_str names[] = {
		SL_STR("Age"),
		SL_STR("Authorization"),
		SL_STR("Cache-Control"),
		SL_STR("Content-Encoding"),
		SL_STR("Content-Range"),
		SL_STR("Content-Type"),
		SL_STR("Cookie"),
		SL_STR("Date"),
		SL_STR("Expect"),
		SL_STR("Expires"),
		SL_STR("Host"),
		SL_STR("If-Match"),
		SL_STR("If-Modified-Since"),
		SL_STR("If-None-Match"),
		SL_STR("If-Range"),
		SL_STR("If-Unmodified-Since"),
		SL_STR("Location"),
		SL_STR("Max-Forwards"),
		SL_STR("Pragma"),
		SL_STR("Proxy-Authenticate"),
		SL_STR("Proxy-Authorization"),
		SL_STR("Range"),
		SL_STR("Retry-After"),
		SL_STR("Set-Cookie"),
		SL_STR("Trailer"),
		SL_STR("Vary"),
		SL_STR("WWW-Authenticate"),
	};

	return sl_h1_field_is_hop(sl_h1_field_from(name)) ||
	       any_equal(names, sizeof(names) / sizeof(names[0]), name);
}

void sl_h1_fields_strip(struct sl_headers *h, const struct sl_h1_connection *c)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < h->n; i++) {
		struct sl_str name = h->items[i].name;

		if (sl_h1_field_is_hop(sl_h1_field_from(name)))
			continue;
		if (any_equal(c->named, c->n_named, name) && !is_end_to_end(name))
			continue;
		h->items[kept++] = h->items[i];
	}
	h->n = kept;
}
