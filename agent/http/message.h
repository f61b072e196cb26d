/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The head of an HTTP message, the same for every protocol version: what routing, filters and both
 * sides' codecs share. All text is borrowed from the stream's arena.
 */
#include "base/arena.h"
#include "base/str.h"

struct sl_header {
	struct sl_str name;  /* as received; compared without case */
	struct sl_str value; /* without surrounding white space */
};

/* In the order received; repeated names stay separate lines. */
struct sl_headers {
	struct sl_header *items; /* arena */
	uint32_t n, cap;
};

/* First line of that name, or NULL. The pointer is valid until the next change. */
struct sl_header *sl_headers_find(const struct sl_headers *h, struct sl_str name);
/* Next line of that name after prev (NULL: from the start). */
struct sl_header *sl_headers_next(const struct sl_headers *h, struct sl_str name,
				  const struct sl_header *prev);
/* Appends a line; name and value are borrowed and must live as long as the arena. Returns 0 or
 * -ENOMEM. */
int sl_headers_append(struct sl_headers *h, struct sl_arena *a, struct sl_str name,
		      struct sl_str value);
/* Replaces all lines of the name by one (in the place of the first, else at the end). */
int sl_headers_set(struct sl_headers *h, struct sl_arena *a, struct sl_str name,
		   struct sl_str value);
/* Lines of its own, for *ret to be edited; the text stays borrowed. Returns 0 or -ENOMEM. */
int sl_headers_copy(const struct sl_headers *from, struct sl_arena *a, struct sl_headers *ret);
/* Removes all lines of the name; returns how many there were. */
unsigned sl_headers_remove(struct sl_headers *h, struct sl_str name);
/* All lines of a name joined with "," as RFC 9110 section 5.3 allows (not for Set-Cookie), Cookie
 * with
 * "; " (RFC 9113 section 8.2.3); a single line is returned without a copy. Returns 0, -ENOENT when
 * absent, -ENOMEM. */
int sl_headers_join(const struct sl_headers *h, struct sl_arena *a, struct sl_str name,
		    struct sl_str *ret);

enum sl_method {
	SL_METHOD_OTHER,
	SL_METHOD_GET,
	SL_METHOD_HEAD,
	SL_METHOD_POST,
	SL_METHOD_PUT,
	SL_METHOD_DELETE,
	SL_METHOD_CONNECT,
	SL_METHOD_OPTIONS,
	SL_METHOD_TRACE,
	SL_METHOD_PATCH,
};
/* Case-sensitive (RFC 9110 section 9.1). */
enum sl_method sl_method_from(struct sl_str s);
/* GET, HEAD, OPTIONS, TRACE, PUT, DELETE (RFC 9110 section 9.2.2). */
bool sl_method_idempotent(enum sl_method m);

enum sl_body_kind {
	SL_BODY_NONE,	 /* no body, not even an empty chunked one */
	SL_BODY_LENGTH,	 /* content_length bytes (may be 0) */
	SL_BODY_CHUNKED, /* HTTP/1: chunked; HTTP/2: until END_STREAM */
	SL_BODY_EOF,	 /* HTTP/1 response until the connection closes */
};

struct sl_request {
	enum sl_method method;
	struct sl_str method_text;
	struct sl_str target;	 /* request-target as received (RFC 9112 section 3.2) */
	struct sl_str path;	 /* raw path part of target, "/" when it has none; "*" for OPTIONS *
				  * (and an absolute target without a path); empty for CONNECT */
	struct sl_str query;	 /* raw, without "?"; ptr NULL when there was no "?" */
	struct sl_str authority; /* of an absolute-form or authority-form target (the Host line is
				  * made the same), else the Host header; may be empty. h1_write
				  * sends this: who changes one changes the other */
	struct sl_headers headers; /* without hop-by-hop fields once the codec has taken them out */
	enum sl_body_kind body;
	uint64_t content_length;   /* SL_BODY_LENGTH */
	uint8_t version;	   /* 10, 11 or 20 */
	bool keep_alive;	   /* the client wants the connection kept (HTTP/1) */
	bool expect_continue;	   /* Expect: 100-continue, and a body to wait for */
	bool te_trailers;	   /* TE: trailers */
	struct sl_str upgrade;	   /* value of Upgrade when Connection names it, else ptr NULL; NULL
				    * also for any h2c, which would carry requests past the routes */
	struct sl_str h2_settings; /* HTTP2-Settings of a request that may go on as HTTP/2 (RFC 7540
				    * section 3.2) and has no body; else ptr NULL */
	struct sl_str trailer;	   /* value of Trailer, kept end to end */
};

/* Bytes follow the head, or may. */
bool sl_request_has_body(const struct sl_request *r);

struct sl_response {
	uint16_t status;
	struct sl_str reason; /* may be empty; ptr NULL: h1_write fills in the usual one */
	struct sl_headers headers;
	enum sl_body_kind body; /* as the request's method and the status make it */
	bool has_length; /* a Content-Length was there, also where no body follows (HEAD, 304) */
	uint64_t content_length;
	uint8_t version;
	bool keep_alive; /* the server keeps the connection and the end of the message is certain */
	struct sl_str upgrade; /* of a 101, and of a 426, which must tell; else ptr NULL */
};

/* Reason phrase of RFC 9110 section 15, "" for unknown codes. Static. */
const char *sl_http_reason(uint16_t status);
