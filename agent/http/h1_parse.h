/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * HTTP/1 parser (RFC 9112, RFC 9110), sans-I/O: bytes in, heads and body parts out. Strict: what
 * two implementations could read in two ways is refused, because a proxy that forwards it lets
 * requests be smuggled past it. Refused among others: both lengths at once, several different
 * lengths, a Transfer-Encoding whose last coding is not chunked (request), one on HTTP/1.0, bare
 * CR, obs-fold, white space before the colon, NUL and other control characters, invalid names,
 * several or missing Host on HTTP/1.1, malformed chunk sizes and chunk ends, bytes above the
 * limits.
 *
 * Thread: one parser, one thread. Nothing here keeps a pointer to the input after returning.
 */
#include "http/message.h"

struct sl_h1_limits {
	uint32_t start_line_bytes; /* method, target and version; over: 414 */
	uint32_t head_bytes;	   /* whole head; over: 431 */
	uint32_t n_headers;	   /* over: 431 */
	uint32_t trailer_bytes;	   /* over: 431 */
};
#define SL_H1_LIMITS_DEFAULT                              \
	((struct sl_h1_limits){.start_line_bytes = 16384, \
			       .head_bytes = 65536,       \
			       .n_headers = 128,          \
			       .trailer_bytes = 16384})

enum {
	SL_H1_MORE = 1, /* no whole head yet: call again with more bytes behind the same ones */
	SL_H1_BAD = 2,	/* malformed or over a limit: see struct sl_h1_error */
};

/* Which limit a message went over. */
enum sl_h1_over {
	SL_H1_OVER_NONE,
	SL_H1_OVER_START_LINE,
	SL_H1_OVER_HEAD,
	SL_H1_OVER_COUNT,
	SL_H1_OVER_TRAILER,
};

struct sl_h1_error {
	uint16_t status; /* what to answer a client: 400, 414, 431, 501, 505; 502 for a response
			    head */
	enum sl_h1_over over;
	const char *reason; /* static text for the log, e.g. "both Content-Length and ..." */
};

/* Where the search for the end of the head goes on; zero it for each head. */
struct sl_h1_scan {
	size_t seen;
	uint32_t n_lines; /* private: whole lines met so far */
};

/*
 * Parse a request head that starts at p. Text of *ret is copied into the arena (one copy of the
 * head). Hop-by-hop fields (Connection and what it names, Keep-Alive, Proxy-Connection, TE,
 * Transfer-Encoding, Upgrade; RFC 9110 section 7.6.1) leave headers and appear as fields of *ret;
 * Content-Length leaves it too; Trailer and Expect are kept as received beside their flags (Expect
 * goes in HTTP/1.0, which must ignore it). Connection cannot name away what is meant for every
 * recipient: Host, framing, credentials, Content-* and forwarding fields. Empty lines before the
 * request line are skipped (at most four) and counted in *ret_used (RFC 9112 section 2.2).
 *
 * Never allocates while it answers MORE, and gives the same answer however the input was split.
 * The limits count from the request line on; the caller's buffer must hold head_bytes and a few.
 * Returns 0 with *ret and *ret_used; SL_H1_MORE; SL_H1_BAD with *err; -ENOMEM.
 */
int sl_h1_parse_request(const struct sl_h1_limits *limits, struct sl_h1_scan *scan, const char *p,
			size_t len, struct sl_arena *a, struct sl_request *ret, size_t *ret_used,
			struct sl_h1_error *err);

/* The same for a response; method is the request's (HEAD and CONNECT have no body; nor have 1xx,
 * 204 and 304). A 1xx is returned like any other. Several equal Content-Length values are taken as
 * one. start_line_bytes is not looked at. keep_alive is false also after 101 and CONNECT, for a
 * body that ends with the connection, and for a 204 that announces a body. */
int sl_h1_parse_response(const struct sl_h1_limits *limits, struct sl_h1_scan *scan, const char *p,
			 size_t len, enum sl_method method, struct sl_arena *a,
			 struct sl_response *ret, size_t *ret_used, struct sl_h1_error *err);

/* Body decoder. */
struct sl_h1_body {
	enum sl_body_kind kind;
	uint64_t left; /* bytes left of the body (LENGTH) or chunk (CHUNKED) */
	uint8_t state; /* private */
	bool done;
	uint32_t line_bytes;	/* private: bytes of the current size line */
	struct sl_h1_scan scan; /* private: of the trailer section */
};
void sl_h1_body_init(struct sl_h1_body *b, enum sl_body_kind kind, uint64_t content_length);

/*
 * Take the next part. *ret_data is a part of the body within p (not copied; may be empty);
 * *ret_used is how many input bytes are done with, which includes framing. Call again until nothing
 * is used and no data came (more input needed), or b->done. A trailer section is taken as a whole:
 * the caller's buffer must hold trailer_bytes. Trailers are appended to trailers (NULL: dropped),
 * without the fields that RFC 9110 section 6.5.1 forbids there. Chunk extensions are ignored.
 * Returns 0, SL_H1_BAD with *err, -ENOMEM; after a failure the message is lost.
 */
int sl_h1_body_next(struct sl_h1_body *b, const struct sl_h1_limits *limits, const char *p,
		    size_t len, struct sl_arena *a, struct sl_headers *trailers,
		    struct sl_str *ret_data, size_t *ret_used, struct sl_h1_error *err);
/* The connection ended. Returns 0 when the body is complete (sets done for the EOF kind), -EPIPE
 * when the message is cut. */
int sl_h1_body_eof(struct sl_h1_body *b);

/* What the first bytes of a connection are. */
enum sl_h1_guess { SL_H1_GUESS_MORE, SL_H1_GUESS_HTTP1, SL_H1_GUESS_H2_PREFACE, SL_H1_GUESS_OTHER };
/* Decides from as few bytes as possible; MORE only while p could still become an HTTP/1 request
 * line or the HTTP/2 preface. A well-known method, a space and the start of a target are HTTP/1;
 * with anything else behind it the rest of its line must say HTTP (it will be refused, not
 * tunnelled); any other token up to 32 bytes needs its line up to the version, as text protocols
 * look alike. OTHER for TLS and everything else. Line ends in front are skipped, also those that
 * the parser refuses; more of them than it takes are HTTP/1, and refused. */
enum sl_h1_guess sl_h1_guess(const char *p, size_t len);
