/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * HTTP/1 serialiser, sans-I/O: heads and body framing into a buffer. Adds the hop-by-hop fields that the
 * connection needs (RFC 9112 section 9), nothing else: no Via, no Server, no Date.
 * All return 0, -ENOMEM or -ENOBUFS (the buffer's limit). On failure nothing was appended.
 */
#include "base/buf.h"
#include "http/message.h"

/* Request line in origin-form (path and query; "*" and CONNECT as they are), Host first, fields, framing by r->body, Connection:
 * upgrade with Upgrade when r->upgrade is set, TE: trailers when r->te_trailers. Always HTTP/1.1. An empty path is written as "/". */
int sl_h1_write_request(struct sl_buf *out, const struct sl_request *r);

struct sl_h1_response_opts {
	uint8_t client_version; /* 10 or 11: chunked is not sent to 1.0 */
	bool close;		/* Connection: close (for 1.0 without keep-alive asked nothing is said) */
	bool keep_alive_10;	/* a 1.0 client asked for keep-alive and gets it */
};
/* Status line HTTP/1.1, fields, framing by r->body. With body NONE a Content-Length
 * is written only if r->has_length (HEAD and 304), never for 1xx and 204. */
int sl_h1_write_response(struct sl_buf *out, const struct sl_response *r,
			 const struct sl_h1_response_opts *opts);
/* One chunk's framing around data that the caller appends itself: size line before... */
int sl_h1_write_chunk_head(struct sl_buf *out, uint64_t size);
/* ...and CRLF behind. */
int sl_h1_write_chunk_tail(struct sl_buf *out);
/* The last chunk with its trailers (may be NULL). */
int sl_h1_write_chunk_end(struct sl_buf *out, const struct sl_headers *trailers);
/* "HTTP/1.1 100 Continue" and an empty line. */
int sl_h1_write_continue(struct sl_buf *out);

/* Reason phrase of RFC 9110 section 15, "" for unknown codes. Static. */
const char *sl_http_reason(uint16_t status);
