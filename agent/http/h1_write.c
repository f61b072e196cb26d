/* SPDX-License-Identifier: Apache-2.0 */
#include "http/h1_write.h"

#include <assert.h>
#include <errno.h>
#include "http/h1_fields.h"
#include "http/uri.h"

/*
 * Room for the longest head that a message could make is reserved first; what turns out unfit to
 * send is then not committed, so that nothing is left behind in the buffer.
 */
struct writer {
	char *at;
	const char *end;
	bool unfit;
};

enum { FIXED_BYTES = 256 }; /* the codec's own text: versions, framing, connection fields */

static inline void put(struct writer *w, struct sl_str s)
{
	assert(s.len <= (size_t)(w->end - w->at));
	if (s.len)
		memcpy(w->at, s.ptr, s.len);
	w->at += s.len;
}

#define put_text(w, text) put((w), SL_STR(text))

/* Text from elsewhere: control characters in it would start lines of their own. */
static inline void put_value(struct writer *w, struct sl_str s)
{
	w->unfit |= !sl_chars_value(s);
	put(w, s);
}

static inline void put_class(struct writer *w, struct sl_str s, uint8_t class)
{
	w->unfit |= !sl_chars_all(s, class);
	put(w, s);
}

/* Returns 0, -ENOMEM or -ENOBUFS. */
static int begin(struct writer *w, struct sl_buf *out, size_t text_bytes)
{
	size_t n = FIXED_BYTES + text_bytes;
	int r = sl_buf_reserve(out, n);

	if (r)
		return r;
	*w = (struct writer){.at = sl_buf_tail(out), .end = sl_buf_tail(out) + n};
	return 0;
}

static int finish(struct writer *w, struct sl_buf *out)
{
	if (w->unfit)
		return -EINVAL;
	sl_buf_commit(out, (size_t)(w->at - sl_buf_tail(out)));
	return 0;
}

/* What put_headers() writes at most. */
static size_t headers_bytes(const struct sl_headers *h)
{
	size_t n = 0;

	for (uint32_t i = 0; i < h->n; i++)
		n += h->items[i].name.len + h->items[i].value.len + sizeof(": \r\n");
	return n;
}

static void put_u64(struct writer *w, uint64_t v)
{
	char digits[20];
	size_t n = sizeof(digits);

	do {
		digits[--n] = (char)('0' + v % 10);
		v /= 10;
	} while (v);
	put(w, (struct sl_str){digits + n, sizeof(digits) - n});
}

static void put_field(struct writer *w, struct sl_str name, struct sl_str value)
{
	if (!name.len)
		w->unfit = true;
	put_class(w, name, SL_CHAR_TOKEN);
	put_text(w, ": ");
	put_value(w, value);
	put_text(w, "\r\n");
}

/* Fields that the codec owns are its own to write, whatever a filter has put there. */
static void put_headers(struct writer *w, const struct sl_headers *h, bool with_host)
{
	for (uint32_t i = 0; i < h->n; i++) {
		enum sl_h1_field f = sl_h1_field_from(h->items[i].name);

		if (!sl_h1_field_is_hop(f) && (with_host || f != SL_H1_FIELD_HOST))
			put_field(w, h->items[i].name, h->items[i].value);
	}
}

static void put_content_length(struct writer *w, uint64_t length)
{
	put_text(w, "Content-Length: ");
	put_u64(w, length);
	put_text(w, "\r\n");
}

static void put_target(struct writer *w, const struct sl_request *r)
{
	bool asterisk = sl_str_eq(r->path, SL_STR("*"));

	if (r->method == SL_METHOD_CONNECT) {
		if (!sl_uri_authority_valid(r->target, true))
			w->unfit = true;
		put(w, r->target);
		return;
	}
	if (asterisk ? r->method != SL_METHOD_OPTIONS || r->query.ptr
		     : r->path.len && r->path.ptr[0] != '/')
		w->unfit = true;
	if (!r->path.len)
		put_text(w, "/");
	if (r->path.len && memchr(r->path.ptr, '?', r->path.len))
		w->unfit = true;
	put_class(w, r->path, SL_CHAR_TARGET);
	if (r->query.ptr) {
		put_text(w, "?");
		put_class(w, r->query, SL_CHAR_TARGET);
	}
}

static void put_connection(struct writer *w, const struct sl_request *r)
{
	if (r->upgrade.ptr) {
		if (r->te_trailers)
			put_text(w, "Connection: Upgrade, TE\r\n");
		else
			put_text(w, "Connection: Upgrade\r\n");
		put_field(w, SL_STR("Upgrade"), r->upgrade);
	} else if (r->te_trailers) {
		put_text(w, "Connection: TE\r\n");
	}
	if (r->te_trailers)
		put_text(w, "TE: trailers\r\n");
}

static void put_request(struct writer *w, const struct sl_request *r)
{
	if (!r->method_text.len || r->body == SL_BODY_EOF)
		w->unfit = true;
	if (r->authority.len && !sl_uri_authority_valid(r->authority, false))
		w->unfit = true;
	put_class(w, r->method_text, SL_CHAR_TOKEN);
	put_text(w, " ");
	put_target(w, r);
	put_text(w, " HTTP/1.1\r\nHost: ");
	put(w, r->authority);
	put_text(w, "\r\n");
	put_headers(w, &r->headers, false);
	if (r->body == SL_BODY_CHUNKED)
		put_text(w, "Transfer-Encoding: chunked\r\n");
	else if (r->body == SL_BODY_LENGTH)
		put_content_length(w, r->content_length);
	put_connection(w, r);
	put_text(w, "\r\n");
}

int sl_h1_write_request(struct sl_buf *out, const struct sl_request *r)
{
	struct writer w;
	int err = begin(&w, out,
			r->method_text.len + r->target.len + r->path.len + r->query.len +
				r->authority.len + r->upgrade.len + headers_bytes(&r->headers));

	if (err)
		return err;
	put_request(&w, r);
	return finish(&w, out);
}

static void put_framing(struct writer *w, const struct sl_response *r,
			const struct sl_h1_response_opts *opts)
{
	bool never = r->status < 200 || r->status == 204; /* RFC 9110 section 8.6 */

	switch (r->body) {
	case SL_BODY_NONE:
		if (r->has_length && !never)
			put_content_length(w, r->content_length);
		break;
	case SL_BODY_LENGTH:
		if (never && r->content_length)
			w->unfit = true;
		if (!never)
			put_content_length(w, r->content_length);
		break;
	case SL_BODY_CHUNKED:
		if (opts->client_version >= 11)
			put_text(w, "Transfer-Encoding: chunked\r\n");
		w->unfit |= never;
		break;
	case SL_BODY_EOF:
		w->unfit |= never;
		break;
	}
}

/* Connection, and what it names. A body that only the end of the connection ends closes it,
 * whatever the caller asked. */
static void put_response_connection(struct writer *w, const struct sl_response *r,
				    const struct sl_h1_response_opts *opts)
{
	bool ends =
		r->body == SL_BODY_EOF || (r->body == SL_BODY_CHUNKED && opts->client_version < 11);
	bool close = opts->close || ends;
	bool upgrade = r->upgrade.ptr && opts->client_version >= 11;

	if (upgrade && close)
		put_text(w, "Connection: Upgrade, close\r\n");
	else if (upgrade)
		put_text(w, "Connection: Upgrade\r\n");
	else if (close)
		put_text(w, "Connection: close\r\n");
	else if (opts->client_version < 11 && opts->keep_alive_10)
		put_text(w, "Connection: keep-alive\r\n");
	if (upgrade)
		put_field(w, SL_STR("Upgrade"), r->upgrade);
}

static void put_response(struct writer *w, const struct sl_response *r, struct sl_str reason,
			 const struct sl_h1_response_opts *opts)
{
	if (r->status < 100 || r->status > 999)
		w->unfit = true;
	put_text(w, "HTTP/1.1 ");
	put_u64(w, r->status);
	put_text(w, " ");
	put_value(w, reason);
	put_text(w, "\r\n");
	put_headers(w, &r->headers, true);
	put_framing(w, r, opts);
	put_response_connection(w, r, opts);
	put_text(w, "\r\n");
}

int sl_h1_write_response(struct sl_buf *out, const struct sl_response *r,
			 const struct sl_h1_response_opts *opts)
{
	struct sl_str reason = r->reason.ptr ? r->reason : sl_str_from(sl_http_reason(r->status));
	struct writer w;
	int err = begin(&w, out, reason.len + r->upgrade.len + headers_bytes(&r->headers));

	if (err)
		return err;
	put_response(&w, r, reason, opts);
	return finish(&w, out);
}

int sl_h1_write_chunk_head(struct sl_buf *out, uint64_t size)
{
	char text[18];
	size_t n = sizeof(text);

	if (!size) /* would be the last chunk */
		return -EINVAL;
	text[--n] = '\n';
	text[--n] = '\r';
	for (; size; size >>= 4)
		text[--n] = "0123456789abcdef"[size & 15];
	return sl_buf_append(out, text + n, sizeof(text) - n);
}

int sl_h1_write_chunk_tail(struct sl_buf *out)
{
	return sl_buf_append(out, "\r\n", 2);
}

static void put_chunk_end(struct writer *w, const struct sl_headers *trailers)
{
	put_text(w, "0\r\n");
	for (uint32_t i = 0; trailers && i < trailers->n; i++) {
		const struct sl_header *h = &trailers->items[i];

		if (!sl_h1_trailer_forbidden(h->name))
			put_field(w, h->name, h->value);
	}
	put_text(w, "\r\n");
}

int sl_h1_write_chunk_end(struct sl_buf *out, const struct sl_headers *trailers)
{
	struct writer w;
	int r = begin(&w, out, trailers ? headers_bytes(trailers) : 0);

	if (r)
		return r;
	put_chunk_end(&w, trailers);
	return finish(&w, out);
}

int sl_h1_write_continue(struct sl_buf *out)
{
	static const char text[] = "HTTP/1.1 100 Continue\r\n\r\n";

	return sl_buf_append(out, text, sizeof(text) - 1);
}
