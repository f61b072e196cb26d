/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * HTTP/1 serialiser, sans-I/O: heads and body framing into a buffer. Adds the hop-by-hop fields
 * that the connection needs (RFC 9112 section 9), nothing else: no Via, no Server, no Date. Lines
 * of headers named Connection, Keep-Alive, Proxy-Connection, TE, Transfer-Encoding, Content-Length
 * and Upgrade are left out: these are written from the message's own members alone.
 *
 * All return 0, -ENOMEM, -ENOBUFS (the buffer's limit, a head asks for 256 bytes to spare), or
 * -EINVAL when the message cannot be sent as it is: control characters in a value, an invalid name,
 * method, target or authority, a body where none may be. On failure nothing was appended.
 */
#include "base/buf.h"
#include "http/message.h"

/* Request line in origin-form (path and query; "*" and CONNECT's target as they are), Host with
 * r->authority first and once, fields, framing by r->body, Connection and Upgrade when r->upgrade
 * is set, TE: trailers when r->te_trailers. Always HTTP/1.1. An empty path is written as "/". */
int sl_h1_write_request(struct sl_buf *out, const struct sl_request *r);

struct sl_h1_response_opts {
	uint8_t client_version; /* 10 or 11: chunked is not sent to 1.0, nor Upgrade */
	bool close; /* Connection: close, to 1.0 too: the answer is a 1.1 one, which would persist
		     */
	bool keep_alive_10; /* a 1.0 client asked for keep-alive and gets it */
};
/* Status line HTTP/1.1, fields, framing by r->body. With body NONE a Content-Length is written only
 * if r->has_length (HEAD and 304), never for 1xx and 204. A body that only the end of the
 * connection can end (EOF, or CHUNKED to 1.0) says close, and never keep-alive: the caller must
 * close then. */
int sl_h1_write_response(struct sl_buf *out, const struct sl_response *r,
			 const struct sl_h1_response_opts *opts);
/* One chunk's framing around data that the caller appends itself: size line before (-EINVAL for 0,
 * which would end the body)... */
int sl_h1_write_chunk_head(struct sl_buf *out, uint64_t size);
/* ...and CRLF behind. */
int sl_h1_write_chunk_tail(struct sl_buf *out);
/* The last chunk with its trailers (may be NULL), without those that RFC 9110 section 6.5.1
 * forbids. */
int sl_h1_write_chunk_end(struct sl_buf *out, const struct sl_headers *trailers);
/* "HTTP/1.1 100 Continue" and an empty line. */
int sl_h1_write_continue(struct sl_buf *out);
