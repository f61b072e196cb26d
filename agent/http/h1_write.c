/* SPDX-License-Identifier: Apache-2.0 */
#include "http/h1_write.h"

#include <errno.h>
#include "http/h1_fields.h"
#include "http/uri.h"

/*
 * A head is put together twice by the same code: once with no place to write, to learn its length
 * and whether its text is fit to send, then into the room reserved for it. So nothing is left
 * behind in the buffer on failure, and the buffer grows once.
 */
struct writer {
	char *at; /* NULL in the first round */
	size_t len;
	bool unfit;
};

static inline void put(struct writer *w, struct sl_str s)
{
	if (w->at && s.len)
		memcpy(w->at + w->len, s.ptr, s.len);
	w->len += s.len;
}

#define put_text(w, text) put((w), SL_STR(text))

/* Text from elsewhere: control characters in it would start lines of their own. */
static inline void put_value(struct writer *w, struct sl_str s)
{
	if (!w->at && !sl_chars_value(s))
		w->unfit = true;
	put(w, s);
}

static inline void put_class(struct writer *w, struct sl_str s, uint8_t class)
{
	if (!w->at && !sl_chars_all(s, class))
		w->unfit = true;
	put(w, s);
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
	if (!r->method_text.len || r->body == SL_BODY_EOF ||
	    (r->authority.len && !sl_uri_authority_valid(r->authority, false)))
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

/* The second round's place, if the first was well. Returns 0, -EINVAL, -ENOMEM or -ENOBUFS. */
static int begin(struct writer *w, struct sl_buf *out)
{
	int r;

	if (w->unfit)
		return -EINVAL;
	r = sl_buf_reserve(out, w->len);
	if (r)
		return r;
	*w = (struct writer){.at = sl_buf_tail(out)};
	return 0;
}

int sl_h1_write_request(struct sl_buf *out, const struct sl_request *r)
{
	struct writer w = {0};
	int err;

	put_request(&w, r);
	err = begin(&w, out);
	if (err)
		return err;
	put_request(&w, r);
	sl_buf_commit(out, w.len);
	return 0;
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
	else if (close && opts->client_version >= 11)
		put_text(w, "Connection: close\r\n");
	else if (!close && opts->client_version < 11 && opts->keep_alive_10)
		put_text(w, "Connection: keep-alive\r\n");
	if (upgrade)
		put_field(w, SL_STR("Upgrade"), r->upgrade);
}

static void put_response(struct writer *w, const struct sl_response *r,
			 const struct sl_h1_response_opts *opts)
{
	if (r->status < 100 || r->status > 999)
		w->unfit = true;
	put_text(w, "HTTP/1.1 ");
	put_u64(w, r->status);
	put_text(w, " ");
	put_value(w, r->reason.ptr ? r->reason : sl_str_from(sl_http_reason(r->status)));
	put_text(w, "\r\n");
	put_headers(w, &r->headers, true);
	put_framing(w, r, opts);
	put_response_connection(w, r, opts);
	put_text(w, "\r\n");
}

int sl_h1_write_response(struct sl_buf *out, const struct sl_response *r,
			 const struct sl_h1_response_opts *opts)
{
	struct writer w = {0};
	int err;

	put_response(&w, r, opts);
	err = begin(&w, out);
	if (err)
		return err;
	put_response(&w, r, opts);
	sl_buf_commit(out, w.len);
	return 0;
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
	struct writer w = {0};
	int r;

	put_chunk_end(&w, trailers);
	r = begin(&w, out);
	if (r)
		return r;
	put_chunk_end(&w, trailers);
	sl_buf_commit(out, w.len);
	return 0;
}

int sl_h1_write_continue(struct sl_buf *out)
{
	static const char text[] = "HTTP/1.1 100 Continue\r\n\r\n";

	return sl_buf_append(out, text, sizeof(text) - 1);
}
