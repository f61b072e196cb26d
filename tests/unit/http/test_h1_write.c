/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <errno.h>
#include "base/alloc.h"
#include "base/cleanup.h"
#include "http/h1_write.h"

#define N_OF(a) (sizeof(a) / sizeof((a)[0]))
#define TEXT(lit)                      \
	{                              \
		(lit), sizeof(lit) - 1 \
	}
#define H(name, value)                  \
	{                               \
		TEXT(name), TEXT(value) \
	}
#define HEADERS(...)                                                                      \
	{                                                                                 \
		.items = (struct sl_header[]){__VA_ARGS__},                               \
		.n = sizeof((struct sl_header[]){__VA_ARGS__}) / sizeof(struct sl_header) \
	}
#define GET .method = SL_METHOD_GET, .method_text = SL_STR("GET"), .authority = SL_STR("a")
#define OPTIONS \
	.method = SL_METHOD_OPTIONS, .method_text = SL_STR("OPTIONS"), .authority = SL_STR("a")

static const struct {
	const char *name;
	struct sl_request req;
	const char *want;
} requests[] = {
	{"9112 3.2.1: origin-form",
	 {GET, .path = SL_STR("/p"), .query = SL_STR("q=%20")},
	 "GET /p?q=%20 HTTP/1.1\r\nHost: a\r\n\r\n"},
	{"9112 3.2.1: an empty query",
	 {GET, .path = SL_STR("/p"), .query = SL_STR("")},
	 "GET /p? HTTP/1.1\r\nHost: a\r\n\r\n"},
	{"9112 3.2.1: an empty path", {GET}, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"},
	{"9112 3.2.1: an empty path with a query",
	 {GET, .query = SL_STR("q")},
	 "GET /?q HTTP/1.1\r\nHost: a\r\n\r\n"},
	{"9112 3.2.3: CONNECT",
	 {.method = SL_METHOD_CONNECT,
	  .method_text = SL_STR("CONNECT"),
	  .target = SL_STR("b:1"),
	  .authority = SL_STR("b:1")},
	 "CONNECT b:1 HTTP/1.1\r\nHost: b:1\r\n\r\n"},
	{"9112 3.2.4: asterisk",
	 {OPTIONS, .path = SL_STR("*")},
	 "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n"},
	{"9112 3.2: Host first, and once, and the authority",
	 {GET, .headers = HEADERS(H("A", "1"), H("host", "x"), H("Host", "y"), H("B", "2"))},
	 "GET / HTTP/1.1\r\nHost: a\r\nA: 1\r\nB: 2\r\n\r\n"},
	{"9112 3.2: an empty authority",
	 {.method = SL_METHOD_GET, .method_text = SL_STR("GET"), .version = 10},
	 "GET / HTTP/1.1\r\nHost: \r\n\r\n"},
	{"9110 5.3: order and repetition stay",
	 {GET, .headers = HEADERS(H("b", "1"), H("a", ""), H("B", "\xe4\t2"))},
	 "GET / HTTP/1.1\r\nHost: a\r\nb: 1\r\na: \r\nB: \xe4\t2\r\n\r\n"},
	{"9112 6.2: length",
	 {GET, .body = SL_BODY_LENGTH, .content_length = UINT64_MAX},
	 "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551615\r\n\r\n"},
	{"9112 6.2: length of zero",
	 {GET, .body = SL_BODY_LENGTH},
	 "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"},
	{"9112 6.1: chunked",
	 {GET, .body = SL_BODY_CHUNKED, .content_length = 5},
	 "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"},
	{"9110 7.6.1: fields of this hop are the codec's alone",
	 {GET, .body = SL_BODY_CHUNKED,
	  .headers = HEADERS(H("Connection", "x"), H("keep-alive", "1"), H("Upgrade", "u"),
			     H("TE", "t"), H("Transfer-Encoding", "gzip"), H("Content-Length", "5"),
			     H("Proxy-Connection", "c"), H("D", "e"))},
	 "GET / HTTP/1.1\r\nHost: a\r\nD: e\r\nTransfer-Encoding: chunked\r\n\r\n"},
	{"9110 7.8: upgrade",
	 {GET, .upgrade = SL_STR("websocket")},
	 "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"},
	{"9110 10.1.4: trailers",
	 {GET, .te_trailers = true},
	 "GET / HTTP/1.1\r\nHost: a\r\nConnection: TE\r\nTE: trailers\r\n\r\n"},
	{"9110 7.6.1: both",
	 {GET, .te_trailers = true, .upgrade = SL_STR("u")},
	 "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, TE\r\nUpgrade: u\r\n"
	 "TE: trailers\r\n\r\n"},
	{"9112 2.3: always 1.1",
	 {GET, .version = 20, .path = SL_STR("/")},
	 "GET / HTTP/1.1\r\nHost: a\r\n\r\n"},
};

Test(h1_write, requests)
{
	for (size_t i = 0; i < N_OF(requests); i++) {
		_cleanup_(sl_buf_deinit) struct sl_buf out = SL_BUF_INIT(0);

		cr_assert_eq(sl_h1_write_request(&out, &requests[i].req), 0, "%s",
			     requests[i].name);
		cr_assert(sl_str_eqc(sl_buf_str(&out), requests[i].want), "%s:\n%.*s",
			  requests[i].name, SL_STR_ARG(sl_buf_str(&out)));
	}
}

static const struct {
	const char *name;
	struct sl_request req;
} unfit_requests[] = {
	{"LF in a value", {GET, .headers = HEADERS(H("A", "b\nC: d"))}},
	{"CR in a value", {GET, .headers = HEADERS(H("A", "b\rC: d"))}},
	{"NUL in a value", {GET, .headers = HEADERS(H("A", "12345678\0"))}},
	{"colon in a name", {GET, .headers = HEADERS(H("A:", "b"))}},
	{"CRLF in a name", {GET, .headers = HEADERS(H("A\r\nB", "b"))}},
	{"no name", {GET, .headers = HEADERS(H("", "b"))}},
	{"space in the path", {GET, .path = SL_STR("/a HTTP/1.1")}},
	{"CRLF in the path", {GET, .path = SL_STR("/a\r\nB: c")}},
	{"question mark in the path", {GET, .path = SL_STR("/a?b")}},
	{"fragment in the path", {GET, .path = SL_STR("/a#b")}},
	{"relative path", {GET, .path = SL_STR("a")}},
	{"asterisk without OPTIONS", {GET, .path = SL_STR("*")}},
	{"asterisk with a query", {OPTIONS, .path = SL_STR("*"), .query = SL_STR("a")}},
	{"LF in the query", {GET, .query = SL_STR("a\n")}},
	{"LF in Upgrade", {GET, .upgrade = SL_STR("a\nB: c")}},
	{"no method", {.authority = SL_STR("a")}},
	{"space in the method", {.method_text = SL_STR("GET /"), .authority = SL_STR("a")}},
	{"LF in the authority", {.method_text = SL_STR("GET"), .authority = SL_STR("a\nB: c")}},
	{"user in the authority", {.method_text = SL_STR("GET"), .authority = SL_STR("u@a")}},
	{"CONNECT to nowhere",
	 {.method = SL_METHOD_CONNECT, .method_text = SL_STR("CONNECT"), .target = SL_STR("b")}},
	{"a body without an end", {GET, .body = SL_BODY_EOF}},
};

Test(h1_write, requests_that_say_more_than_one_thing_are_refused)
{
	for (size_t i = 0; i < N_OF(unfit_requests); i++) {
		_cleanup_(sl_buf_deinit) struct sl_buf out = SL_BUF_INIT(0);

		cr_assert_eq(sl_buf_append(&out, "x", 1), 0);
		cr_assert_eq(sl_h1_write_request(&out, &unfit_requests[i].req), -EINVAL, "%s",
			     unfit_requests[i].name);
		cr_assert_eq(sl_buf_len(&out), 1, "%s", unfit_requests[i].name);
	}
}

#define V11                          \
	{                            \
		.client_version = 11 \
	}
#define V10                          \
	{                            \
		.client_version = 10 \
	}
#define OK .status = 200, .reason = SL_STR("OK")

static const struct {
	const char *name;
	struct sl_response res;
	struct sl_h1_response_opts opts;
	const char *want;
} responses[] = {
	{"9112 4: status line",
	 {OK, .body = SL_BODY_LENGTH, .content_length = 5},
	 V11,
	 "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"},
	{"9112 4: an empty reason stays",
	 {.status = 200, .reason = SL_STR(""), .body = SL_BODY_LENGTH},
	 V11,
	 "HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n"},
	{"9112 4: no reason gets the usual one",
	 {.status = 404, .body = SL_BODY_LENGTH},
	 V11,
	 "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"},
	{"9112 4: unless there is none",
	 {.status = 299, .body = SL_BODY_LENGTH},
	 V11,
	 "HTTP/1.1 299 \r\nContent-Length: 0\r\n\r\n"},
	{"9112 6.1: chunked",
	 {OK, .body = SL_BODY_CHUNKED},
	 V11,
	 "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"},
	{"9112 6.1: no chunks for 1.0",
	 {OK, .body = SL_BODY_CHUNKED},
	 {.client_version = 10, .keep_alive_10 = true},
	 "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"},
	{"9112 9.6: a body without an end closes",
	 {OK, .body = SL_BODY_EOF},
	 V11,
	 "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"},
	{"9112 9.6: close",
	 {OK, .body = SL_BODY_LENGTH},
	 {.client_version = 11, .close = true},
	 "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"},
	{"9112 9.3: nobody asked for anything",
	 {OK, .body = SL_BODY_LENGTH},
	 V10,
	 "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"},
	{"9112 9.3: 1.0 is kept",
	 {OK, .body = SL_BODY_LENGTH},
	 {.client_version = 10, .keep_alive_10 = true},
	 "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n"},
	{"9112 9.3: a 1.1 answer persists for 1.0 too unless it says close",
	 {OK, .body = SL_BODY_LENGTH},
	 {.client_version = 10, .close = true, .keep_alive_10 = true},
	 "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"},
	{"9110 9.3.2: HEAD",
	 {OK, .has_length = true, .content_length = 7},
	 V11,
	 "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n"},
	{"9110 9.3.2: HEAD without a length", {OK}, V11, "HTTP/1.1 200 OK\r\n\r\n"},
	{"9110 8.6: 304",
	 {.status = 304, .has_length = true, .content_length = 7},
	 V11,
	 "HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n"},
	{"9110 8.6: 204 has no length",
	 {.status = 204, .has_length = true},
	 V11,
	 "HTTP/1.1 204 No Content\r\n\r\n"},
	{"9110 8.6: not even one of zero",
	 {.status = 204, .body = SL_BODY_LENGTH},
	 V11,
	 "HTTP/1.1 204 No Content\r\n\r\n"},
	{"9110 8.6: nor has 1xx",
	 {.status = 103,
	  .has_length = true,
	  .reason = SL_STR("Early Hints"),
	  .headers = HEADERS(H("Link", "</a>"))},
	 V11,
	 "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"},
	{"9110 15.2.2: switching protocols",
	 {.status = 101, .upgrade = SL_STR("websocket")},
	 V11,
	 "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"},
	{"9110 15.5.22: upgrade required, and close",
	 {.status = 426, .upgrade = SL_STR("a"), .body = SL_BODY_LENGTH},
	 {.client_version = 11, .close = true},
	 "HTTP/1.1 426 Upgrade Required\r\nContent-Length: 0\r\n"
	 "Connection: Upgrade, close\r\nUpgrade: a\r\n\r\n"},
	{"9110 7.8: no upgrade for 1.0",
	 {.status = 426, .upgrade = SL_STR("a"), .body = SL_BODY_LENGTH},
	 V10,
	 "HTTP/1.1 426 Upgrade Required\r\nContent-Length: 0\r\n\r\n"},
	{"9110 7.6.1: fields of this hop are the codec's alone",
	 {OK, .body = SL_BODY_LENGTH,
	  .headers = HEADERS(H("Set-Cookie", "a"), H("content-length", "9"), H("Connection", "b"),
			     H("Set-Cookie", "c"), H("Transfer-Encoding", "d"), H("Host", "e"))},
	 V11,
	 "HTTP/1.1 200 OK\r\nSet-Cookie: a\r\nSet-Cookie: c\r\nHost: e\r\n"
	 "Content-Length: 0\r\n\r\n"},
};

Test(h1_write, responses)
{
	for (size_t i = 0; i < N_OF(responses); i++) {
		_cleanup_(sl_buf_deinit) struct sl_buf out = SL_BUF_INIT(0);

		cr_assert_eq(sl_h1_write_response(&out, &responses[i].res, &responses[i].opts), 0,
			     "%s", responses[i].name);
		cr_assert(sl_str_eqc(sl_buf_str(&out), responses[i].want), "%s:\n%.*s",
			  responses[i].name, SL_STR_ARG(sl_buf_str(&out)));
	}
}

static const struct {
	const char *name;
	struct sl_response res;
} unfit_responses[] = {
	{"LF in a value", {OK, .headers = HEADERS(H("A", "b\nC: d"))}},
	{"LF in the reason", {.status = 200, .reason = SL_STR("OK\nA: b")}},
	{"LF in Upgrade", {.status = 101, .upgrade = SL_STR("a\n")}},
	{"space in a name", {OK, .headers = HEADERS(H("A ", "b"))}},
	{"two digits", {.status = 99}},
	{"four digits", {.status = 1000}},
	{"204 with a body", {.status = 204, .body = SL_BODY_LENGTH, .content_length = 1}},
	{"204 with chunks", {.status = 204, .body = SL_BODY_CHUNKED}},
	{"100 until the end", {.status = 100, .body = SL_BODY_EOF}},
};

Test(h1_write, responses_that_say_more_than_one_thing_are_refused)
{
	static const struct sl_h1_response_opts opts = V11;

	for (size_t i = 0; i < N_OF(unfit_responses); i++) {
		_cleanup_(sl_buf_deinit) struct sl_buf out = SL_BUF_INIT(0);

		cr_assert_eq(sl_h1_write_response(&out, &unfit_responses[i].res, &opts), -EINVAL,
			     "%s", unfit_responses[i].name);
		cr_assert_eq(sl_buf_len(&out), 0, "%s", unfit_responses[i].name);
	}
}

Test(h1_write, chunks)
{
	_cleanup_(sl_buf_deinit) struct sl_buf out = SL_BUF_INIT(0);
	const struct sl_headers trailers =
		HEADERS(H("A", "b"), H("Content-Length", "1"), H("host", "c"), H("D", ""));

	cr_assert_eq(sl_h1_write_chunk_head(&out, 26), 0);
	cr_assert_eq(sl_buf_append(&out, "abcdefghijklmnopqrstuvwxyz", 26), 0);
	cr_assert_eq(sl_h1_write_chunk_tail(&out), 0);
	cr_assert_eq(sl_h1_write_chunk_head(&out, 0), -EINVAL);
	cr_assert_eq(sl_h1_write_chunk_head(&out, UINT64_MAX), 0);
	cr_assert_eq(sl_h1_write_chunk_end(&out, &trailers), 0);
	cr_assert_eq(sl_h1_write_chunk_end(&out, NULL), 0);
	cr_assert_eq(sl_h1_write_continue(&out), 0);
	cr_assert(sl_str_eqc(sl_buf_str(&out), "1a\r\nabcdefghijklmnopqrstuvwxyz\r\n"
					       "ffffffffffffffff\r\n0\r\nA: b\r\nD: \r\n\r\n"
					       "0\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n"),
		  "%.*s", SL_STR_ARG(sl_buf_str(&out)));
}

Test(h1_write, a_trailer_cannot_start_a_line)
{
	_cleanup_(sl_buf_deinit) struct sl_buf out = SL_BUF_INIT(0);
	const struct sl_headers trailers = HEADERS(H("A", "b\r\n\r\nGET"));

	cr_assert_eq(sl_h1_write_chunk_end(&out, &trailers), -EINVAL);
	cr_assert_eq(sl_buf_len(&out), 0);
}

Test(h1_write, nothing_is_left_behind_on_failure)
{
	static const struct sl_request req = {GET, .path = SL_STR("/0123456789")};
	static const struct sl_response res = {OK, .body = SL_BODY_CHUNKED};
	static const struct sl_h1_response_opts opts = V11;
	_cleanup_(sl_buf_deinit) struct sl_buf out = SL_BUF_INIT(20);

	cr_assert_eq(sl_h1_write_request(&out, &req), -ENOBUFS);
	cr_assert_eq(sl_h1_write_response(&out, &res, &opts), -ENOBUFS);
	cr_assert_eq(sl_h1_write_continue(&out), -ENOBUFS);
	cr_assert_eq(sl_buf_len(&out), 0);
	out.limit_bytes = 0;
	sl_alloc_fail_after(0);
	cr_assert_eq(sl_h1_write_request(&out, &req), -ENOMEM);
	sl_alloc_fail_after(0);
	cr_assert_eq(sl_h1_write_response(&out, &res, &opts), -ENOMEM);
	sl_alloc_fail_after(0);
	cr_assert_eq(sl_h1_write_chunk_end(&out, NULL), -ENOMEM);
	sl_alloc_fail_after(-1);
	cr_assert_eq(sl_buf_len(&out), 0);
}

Test(h1_write, reasons)
{
	cr_assert_str_eq(sl_http_reason(200), "OK");
	cr_assert_str_eq(sl_http_reason(431), "Request Header Fields Too Large");
	cr_assert_str_eq(sl_http_reason(511), "Network Authentication Required");
	cr_assert_str_eq(sl_http_reason(99), "");
	cr_assert_str_eq(sl_http_reason(299), "");
	cr_assert_str_eq(sl_http_reason(512), "");
	cr_assert_str_eq(sl_http_reason(UINT16_MAX), "");
}
