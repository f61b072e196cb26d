/* SPDX-License-Identifier: Apache-2.0 */
#include "h1_check.h"

#include <errno.h>
#include "base/alloc.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "http/h1_parse.h"
#include "http/h1_write.h"

/* Small limits, so that short inputs meet them too. */
static const struct sl_h1_limits limits = {
	.start_line_bytes = 512,
	.head_bytes = 2048,
	.n_headers = 16,
	.trailer_bytes = 256,
};

/* A head of either kind, and where it came from. */
struct head {
	bool is_request;
	enum sl_method method; /* of the request that a response answers */
	struct sl_request req;
	struct sl_response res;
	size_t used;
	int result;
	struct sl_h1_error err;
};

struct body {
	const struct sl_h1_limits *limits;
	struct sl_buf data;
	struct sl_headers trailers;
	size_t used;
	int result;
	bool done;
	struct sl_h1_error err;
};

/* Exactly as many bytes as there are, so that the address sanitizer sees a byte read too far. */
static char *exact_copy(const char *p, size_t len)
{
	char *c = sl_malloc(len ? len : 1);

	if (c && len)
		memcpy(c, p, len);
	return c;
}

static int parse_prefix(struct head *h, struct sl_h1_scan *scan, const char *p, size_t len,
			struct sl_arena *a)
{
	_cleanup_(sl_freep) char *c = exact_copy(p, len);

	if (!c)
		return -ENOMEM;
	if (h->is_request)
		return sl_h1_parse_request(&limits, scan, c, len, a, &h->req, &h->used, &h->err);
	return sl_h1_parse_response(&limits, scan, c, len, h->method, a, &h->res, &h->used,
				    &h->err);
}

static void parse_head(struct head *h, const char *p, size_t len, struct h1_split split,
		       struct sl_arena *a)
{
	struct sl_h1_scan scan = {0};
	size_t n = split.first < len ? split.first : len;

	for (;;) {
		h->result = parse_prefix(h, &scan, p, n, a);
		if (h->result != SL_H1_MORE || n == len)
			return;
		n = len - n > split.step ? n + split.step : len;
	}
}

static bool same_text(struct sl_str a, struct sl_str b)
{
	return sl_str_eq(a, b) && !a.ptr == !b.ptr;
}

/* Index of the first line from i on that counts. */
static uint32_t skip_host(const struct sl_headers *h, uint32_t i, bool with_host)
{
	while (!with_host && i < h->n && sl_str_ieq(h->items[i].name, SL_STR("Host")))
		i++;
	return i;
}

/* In order; Host lines apart if asked, as their place may differ. */
static bool same_headers(const struct sl_headers *a, const struct sl_headers *b, bool with_host)
{
	uint32_t i = skip_host(a, 0, with_host), k = skip_host(b, 0, with_host);

	while (i < a->n && k < b->n) {
		if (!sl_str_eq(a->items[i].name, b->items[k].name) ||
		    !sl_str_eq(a->items[i].value, b->items[k].value))
			return false;
		i = skip_host(a, i + 1, with_host);
		k = skip_host(b, k + 1, with_host);
	}
	return i == a->n && k == b->n;
}

/* What must survive any way to another hop. */
static bool same_request(const struct sl_request *a, const struct sl_request *b, bool with_host)
{
	return a->method == b->method && sl_str_eq(a->method_text, b->method_text) &&
	       sl_str_eq(a->path, b->path) && same_text(a->query, b->query) &&
	       sl_str_eq(a->authority, b->authority) &&
	       same_headers(&a->headers, &b->headers, with_host) && a->body == b->body &&
	       a->content_length == b->content_length && a->te_trailers == b->te_trailers &&
	       a->expect_continue == b->expect_continue && same_text(a->upgrade, b->upgrade) &&
	       same_text(a->trailer, b->trailer);
}

static bool same_response(const struct sl_response *a, const struct sl_response *b)
{
	return a->status == b->status && sl_str_eq(a->reason, b->reason) &&
	       same_headers(&a->headers, &b->headers, true) && a->body == b->body &&
	       same_text(a->upgrade, b->upgrade);
}

static const char *compare_heads(const struct head *a, const struct head *b)
{
	if (a->result != b->result)
		return "the verdict depends on how the head was split";
	if (a->result == SL_H1_BAD &&
	    (a->err.status != b->err.status || strcmp(a->err.reason, b->err.reason) != 0))
		return "the reason depends on how the head was split";
	if (a->result)
		return NULL;
	if (a->used != b->used)
		return "the length of the head depends on how it was split";
	if (a->is_request &&
	    (!same_request(&a->req, &b->req, true) || !sl_str_eq(a->req.target, b->req.target) ||
	     a->req.version != b->req.version || a->req.keep_alive != b->req.keep_alive))
		return "the request depends on how it was split";
	if (!a->is_request &&
	    (!same_response(&a->res, &b->res) || a->res.version != b->res.version ||
	     a->res.keep_alive != b->res.keep_alive || a->res.has_length != b->res.has_length ||
	     a->res.content_length != b->res.content_length))
		return "the response depends on how it was split";
	return NULL;
}

static bool is_codec_field(struct sl_str name)
{
	static const struct sl_str names[] = {
		SL_STR("Connection"), SL_STR("Keep-Alive"),	   SL_STR("Proxy-Connection"),
		SL_STR("TE"),	      SL_STR("Transfer-Encoding"), SL_STR("Content-Length"),
		SL_STR("Upgrade"),
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (sl_str_ieq(names[i], name))
			return true;
	}
	return false;
}

static const char *check_headers(const struct sl_headers *h)
{
	for (uint32_t i = 0; i < h->n; i++) {
		struct sl_str v = h->items[i].value;

		if (is_codec_field(h->items[i].name))
			return "a hop-by-hop field stayed";
		for (size_t k = 0; k < v.len; k++) {
			if ((unsigned char)v.ptr[k] < ' ' && v.ptr[k] != '\t')
				return "a control character came through";
		}
	}
	return NULL;
}

static unsigned count_hosts(const struct sl_headers *h)
{
	const struct sl_header *it = NULL;
	unsigned n = 0;

	while ((it = sl_headers_next(h, SL_STR("Host"), it)))
		n++;
	return n;
}

static const char *check_request_again(const struct sl_request *req, struct sl_arena *a)
{
	const struct sl_h1_limits wide = SL_H1_LIMITS_DEFAULT;
	_cleanup_(sl_buf_deinit) struct sl_buf out = SL_BUF_INIT(0);
	struct sl_h1_scan scan = {0};
	struct sl_request again;
	struct sl_h1_error err;
	size_t used;

	if (sl_h1_write_request(&out, req))
		return "an accepted request cannot be written";
	if (sl_h1_parse_request(&wide, &scan, sl_buf_ptr(&out), sl_buf_len(&out), a, &again, &used,
				&err))
		return "a written request is not accepted";
	if (used != sl_buf_len(&out))
		return "a written request is not one head";
	if (!same_request(req, &again, false))
		return "a written request is another one";
	if (again.version != 11 || !again.keep_alive)
		return "a written request does not keep the connection";
	if (count_hosts(&again.headers) != 1 || count_hosts(&req->headers) > 1)
		return "not one Host line";
	return NULL;
}

static const char *check_response_again(const struct head *h, struct sl_arena *a)
{
	const struct sl_h1_limits wide = SL_H1_LIMITS_DEFAULT;
	const struct sl_h1_response_opts opts = {.client_version = 11, .close = !h->res.keep_alive};
	_cleanup_(sl_buf_deinit) struct sl_buf out = SL_BUF_INIT(0);
	struct sl_h1_scan scan = {0};
	struct sl_response again;
	struct sl_h1_error err;
	size_t used;

	if (sl_h1_write_response(&out, &h->res, &opts))
		return "an accepted response cannot be written";
	if (sl_h1_parse_response(&wide, &scan, sl_buf_ptr(&out), sl_buf_len(&out), h->method, a,
				 &again, &used, &err))
		return "a written response is not accepted";
	if (used != sl_buf_len(&out))
		return "a written response is not one head";
	if (!same_response(&h->res, &again))
		return "a written response is another one";
	if (again.keep_alive != h->res.keep_alive)
		return "a written response does not tell the end of the connection";
	return NULL;
}

/* Decodes as a caller does whose buffer grows by a step at a time. */
static void decode(struct body *out, enum sl_body_kind kind, uint64_t length, const char *p,
		   size_t len, struct h1_split split, struct sl_arena *a)
{
	size_t avail = split.first < len ? split.first : len, used;
	struct sl_h1_body b;
	struct sl_str data;

	sl_h1_body_init(&b, kind, length);
	for (;;) {
		_cleanup_(sl_freep) char *c = exact_copy(p + out->used, avail - out->used);

		if (!c) {
			out->result = -ENOMEM;
			return;
		}
		out->result = sl_h1_body_next(&b, out->limits, c, avail - out->used, a,
					      &out->trailers, &data, &used, &out->err);
		if (!out->result)
			out->result = sl_buf_append_str(&out->data, data);
		if (out->result)
			return;
		out->used += used;
		out->done = b.done;
		if (b.done || (!used && avail == len))
			return;
		if (!used)
			avail = len - avail > split.step ? avail + split.step : len;
	}
}

static void body_deinit(struct body *b)
{
	sl_buf_deinit(&b->data);
}

static const char *compare_bodies(const struct body *a, const struct body *b)
{
	if (a->result != b->result || a->done != b->done)
		return "the body's verdict depends on how it was split";
	if (a->result == SL_H1_BAD)
		return strcmp(a->err.reason, b->err.reason) == 0
			       ? NULL
			       : "the body's fault depends on how it was split";
	if (a->used != b->used || !sl_str_eq(sl_buf_str(&a->data), sl_buf_str(&b->data)) ||
	    !same_headers(&a->trailers, &b->trailers, true))
		return "the body depends on how it was split";
	return NULL;
}

static const char *check_chunks_again(const struct body *b, struct sl_arena *a)
{
	const struct sl_h1_limits wide = SL_H1_LIMITS_DEFAULT; /* a space is added to each line */
	_cleanup_(sl_buf_deinit) struct sl_buf wire = SL_BUF_INIT(0);
	_cleanup_(body_deinit) struct body again = {.limits = &wide, .data = SL_BUF_INIT(0)};
	struct sl_str data = sl_buf_str(&b->data);

	if (data.len && (sl_h1_write_chunk_head(&wire, data.len) ||
			 sl_buf_append_str(&wire, data) || sl_h1_write_chunk_tail(&wire)))
		return "a chunk cannot be written";
	if (sl_h1_write_chunk_end(&wire, &b->trailers))
		return "accepted trailers cannot be written";
	decode(&again, SL_BODY_CHUNKED, 0, sl_buf_ptr(&wire), sl_buf_len(&wire),
	       (struct h1_split){sl_buf_len(&wire), 1}, a);
	if (again.result || !again.done || again.used != sl_buf_len(&wire))
		return "a written body is not accepted";
	if (!sl_str_eq(data, sl_buf_str(&again.data)) ||
	    !same_headers(&b->trailers, &again.trailers, true))
		return "a written body is another one";
	return NULL;
}

static const char *check_body(enum sl_body_kind kind, uint64_t length, const char *p, size_t len,
			      struct h1_split split, struct sl_arena *a)
{
	_cleanup_(body_deinit) struct body whole = {.limits = &limits, .data = SL_BUF_INIT(0)};
	_cleanup_(body_deinit) struct body parts = {.limits = &limits, .data = SL_BUF_INIT(0)};
	const char *fault;

	decode(&whole, kind, length, p, len, (struct h1_split){len, 1}, a);
	decode(&parts, kind, length, p, len, split, a);
	fault = compare_bodies(&whole, &parts);
	if (!fault && !whole.result && whole.done && kind == SL_BODY_CHUNKED)
		fault = check_headers(&whole.trailers);
	if (!fault && !whole.result && whole.done && kind == SL_BODY_CHUNKED)
		fault = check_chunks_again(&whole, a);
	if (!fault && kind == SL_BODY_LENGTH && sl_buf_len(&whole.data) > length)
		fault = "more body than announced";
	return fault;
}

static const char *check_guess(const char *p, size_t len, int result)
{
	enum sl_h1_guess first = SL_H1_GUESS_MORE, last;

	for (size_t n = 0; n <= len && n < 80; n++) {
		enum sl_h1_guess g = sl_h1_guess(p, n);

		if (first != SL_H1_GUESS_MORE && g != first)
			return "the guess changed its mind";
		first = g;
	}
	last = sl_h1_guess(p, len);
	if (first != SL_H1_GUESS_MORE && last != first)
		return "the guess changed its mind";
	if (result == 0 && last != SL_H1_GUESS_HTTP1)
		return "a request that is accepted was not guessed";
	return NULL;
}

static const char *check_head_and_body(struct head *whole, const char *p, size_t len,
				       struct h1_split split, struct sl_arena *a)
{
	struct head parts = *whole;
	const char *fault;

	parse_head(whole, p, len, (struct h1_split){len, 1}, a);
	parse_head(&parts, p, len, split, a);
	fault = compare_heads(whole, &parts);
	if (!fault && whole->is_request)
		fault = check_guess(p, len, whole->result);
	if (fault || whole->result)
		return fault;
	fault = check_headers(whole->is_request ? &whole->req.headers : &whole->res.headers);
	if (!fault)
		fault = whole->is_request ? check_request_again(&whole->req, a)
					  : check_response_again(whole, a);
	if (fault)
		return fault;
	return check_body(whole->is_request ? whole->req.body : whole->res.body,
			  whole->is_request ? whole->req.content_length : whole->res.content_length,
			  p + whole->used, len - whole->used, split, a);
}

const char *h1_check_request(const char *p, size_t len, struct h1_split split)
{
	_cleanup_(sl_arena_deinit) struct sl_arena a = SL_ARENA_INIT(4096);
	struct head h = {.is_request = true};

	return check_head_and_body(&h, p, len, split, &a);
}

const char *h1_check_response(const char *p, size_t len, enum sl_method method,
			      struct h1_split split)
{
	_cleanup_(sl_arena_deinit) struct sl_arena a = SL_ARENA_INIT(4096);
	struct head h = {.method = method};

	return check_head_and_body(&h, p, len, split, &a);
}
