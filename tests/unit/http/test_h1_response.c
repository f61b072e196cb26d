/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <errno.h>
#include "base/alloc.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "h1_check.h"
#include "http/h1_parse.h"

#define OK	"HTTP/1.1 200 OK\r\n"
#define N_OF(a) (sizeof(a) / sizeof((a)[0]))

static const struct sl_h1_limits limits = SL_H1_LIMITS_DEFAULT;

static int parse(struct sl_arena *a, struct sl_str in, enum sl_method method,
		 struct sl_response *ret, size_t *used, struct sl_h1_error *err)
{
	struct sl_h1_scan scan = {0};

	return sl_h1_parse_response(&limits, &scan, in.ptr, in.len, method, a, ret, used, err);
}

/* All that a response says, in one text that tables can hold. */
static const char *show(struct sl_buf *b, const struct sl_response *r)
{
	static const char *const kinds[] = {
		[SL_BODY_NONE] = "none",
		[SL_BODY_LENGTH] = "length",
		[SL_BODY_CHUNKED] = "chunked",
		[SL_BODY_EOF] = "eof",
	};

	cr_assert_eq(sl_buf_printf(b, "%u [%.*s] v%u%s %s", r->status, SL_STR_ARG(r->reason),
				   r->version, r->keep_alive ? " keep" : "", kinds[r->body]),
		     0);
	if (r->has_length)
		cr_assert_eq(sl_buf_printf(b, " %ju", (uintmax_t)r->content_length), 0);
	if (r->upgrade.ptr)
		cr_assert_eq(sl_buf_printf(b, " upgrade=%.*s", SL_STR_ARG(r->upgrade)), 0);
	for (uint32_t i = 0; i < r->headers.n; i++)
		cr_assert_eq(sl_buf_printf(b, "|%.*s:%.*s", SL_STR_ARG(r->headers.items[i].name),
					   SL_STR_ARG(r->headers.items[i].value)),
			     0);
	cr_assert_eq(sl_buf_append(b, "", 1), 0);
	return sl_buf_ptr(b);
}

static void check_every_split(const char *name, struct sl_str in, enum sl_method method)
{
	for (size_t cut = 0; cut <= in.len; cut++) {
		const char *fault = h1_check_response(in.ptr, in.len, method,
						      (struct h1_split){cut, in.len + 1});

		cr_assert_null(fault, "%s, cut at %zu: %s", name, cut, fault);
	}
	for (size_t step = 1; step < 4; step++) {
		const char *fault =
			h1_check_response(in.ptr, in.len, method, (struct h1_split){step, step});

		cr_assert_null(fault, "%s, %zu at a time: %s", name, step, fault);
	}
}

static const struct {
	const char *name;
	struct sl_str in;
	const char *want;
	enum sl_method method; /* 0: as good as GET */
} good[] = {
	{"9112 4: status line", SL_STR(OK "Content-Length: 5\r\nA: b\r\n\r\n"),
	 "200 [OK] v11 keep length 5|A:b", 0},
	{"9112 4: empty reason", SL_STR("HTTP/1.1 404 \r\nContent-Length: 0\r\n\r\n"),
	 "404 [] v11 keep length 0", 0},
	{"9112 4: no reason and no space", SL_STR("HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n"),
	 "200 [] v11 keep length 0", 0},
	{"9112 4: any text as reason",
	 SL_STR("HTTP/1.1 599 \xe4  b\tc \r\nContent-Length: 0\r\n\r\n"),
	 "599 [\xe4  b\tc ] v11 keep length 0", 0},
	{"9112 2.3: a higher minor", SL_STR("HTTP/1.2 200 OK\r\nContent-Length: 0\r\n\r\n"),
	 "200 [OK] v11 keep length 0", 0},
	{"9112 6.3: until the end of the connection", SL_STR(OK "\r\n"), "200 [OK] v11 eof", 0},
	{"9112 6.3: chunked", SL_STR(OK "Transfer-Encoding: CHUNKED\r\n\r\n"),
	 "200 [OK] v11 keep chunked", 0},
	{"9112 6.3: no body to HEAD", SL_STR(OK "Content-Length: 5\r\n\r\n"),
	 "200 [OK] v11 keep none 5", SL_METHOD_HEAD},
	{"9112 6.3: nor chunks", SL_STR(OK "Transfer-Encoding: chunked\r\n\r\n"),
	 "200 [OK] v11 keep none", SL_METHOD_HEAD},
	{"9112 6.3: 304 says how long it would be",
	 SL_STR("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\nETag: \"e\"\r\n\r\n"),
	 "304 [Not Modified] v11 keep none 5|ETag:\"e\"", 0},
	{"9112 6.3: 204", SL_STR("HTTP/1.1 204 No Content\r\n\r\n"),
	 "204 [No Content] v11 keep none", 0},
	{"9110 8.6: 204 with a length of zero",
	 SL_STR("HTTP/1.1 204 \r\nContent-Length: 0\r\n\r\n"), "204 [] v11 keep none 0", 0},
	{"9110 8.6: 204 that announces a body cannot be kept",
	 SL_STR("HTTP/1.1 204 \r\nContent-Length: 2\r\n\r\n"), "204 [] v11 none 2", 0},
	{"9112 6.1: nor one with chunks",
	 SL_STR("HTTP/1.1 204 \r\nTransfer-Encoding: chunked\r\n\r\n"), "204 [] v11 none", 0},
	{"9112 6.3: a tunnel", SL_STR(OK "Content-Length: 5\r\n\r\n"), "200 [OK] v11 none 5",
	 SL_METHOD_CONNECT},
	{"9112 6.3: a refused tunnel has a body",
	 SL_STR("HTTP/1.1 403 \r\nContent-Length: 5\r\n\r\n"), "403 [] v11 keep length 5",
	 SL_METHOD_CONNECT},
	{"9110 15.2: interim", SL_STR("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"),
	 "103 [Early Hints] v11 keep none|Link:</a>", 0},
	{"9110 15.2.2: switching protocols",
	 SL_STR("HTTP/1.1 101 \r\nConnection: Upgrade\r\nUpgrade: websocket\r\nA: b\r\n\r\n"),
	 "101 [] v11 none upgrade=websocket|A:b", 0},
	{"9110 15.5.22: upgrade required",
	 SL_STR("HTTP/1.1 426 \r\nConnection: upgrade\r\nUpgrade: a\r\nUpgrade: b\r\n"
		"Content-Length: 0\r\n\r\n"),
	 "426 [] v11 keep length 0 upgrade=a,b", 0},
	{"9110 7.8: an offer is for this hop",
	 SL_STR(OK "Connection: upgrade\r\nUpgrade: h2c\r\nContent-Length: 0\r\n\r\n"),
	 "200 [OK] v11 keep length 0", 0},
	{"9112 6.3: the same length twice",
	 SL_STR(OK "Content-Length: 5 , 05\r\nContent-Length: 5\r\n\r\n"),
	 "200 [OK] v11 keep length 5", 0},
	{"9112 9.3: close", SL_STR(OK "Connection: close\r\nContent-Length: 0\r\n\r\n"),
	 "200 [OK] v11 length 0", 0},
	{"9112 9.3: 1.0 closes", SL_STR("HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n"),
	 "200 [OK] v10 length 0", 0},
	{"9112 9.3: 1.0 that keeps",
	 SL_STR("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n"),
	 "200 [OK] v10 keep length 0", 0},
	{"9112 9.3: 1.0 cannot keep without a length",
	 SL_STR("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\n"), "200 [OK] v10 eof", 0},
	{"9110 7.6.1: hop-by-hop fields go, the others cannot be named away",
	 SL_STR(OK "Connection: x-a, set-cookie\r\nKeep-Alive: 1\r\nX-A: 1\r\nSet-Cookie: a\r\n"
		   "Set-Cookie: b\r\nProxy-Connection: c\r\nTE: d\r\nContent-Length: 0\r\n\r\n"),
	 "200 [OK] v11 keep length 0|Set-Cookie:a|Set-Cookie:b", 0},
	{"9110 7.2: Host means nothing here", SL_STR(OK "Host: a b\r\nContent-Length: 0\r\n\r\n"),
	 "200 [OK] v11 keep length 0|Host:a b", 0},
	{"9112 6.3: no body to HEAD, nor a length", SL_STR(OK "\r\n"), "200 [OK] v11 keep none",
	 SL_METHOD_HEAD},
	{"9112 6.1: 304 says how it would be framed",
	 SL_STR("HTTP/1.1 304 \r\nTransfer-Encoding: chunked\r\n\r\n"), "304 [] v11 keep none", 0},
	{"9110 15.2: an interim status that nobody knows", SL_STR("HTTP/1.1 199 x\r\n\r\n"),
	 "199 [x] v11 keep none", 0},
	{"9110 8.6: interim with a length of zero",
	 SL_STR("HTTP/1.1 103 \r\nContent-Length: 0\r\n\r\n"), "103 [] v11 keep none 0", 0},
	{"9112 6.3: any 2xx opens a tunnel", SL_STR("HTTP/1.1 299 \r\n\r\n"), "299 [] v11 none",
	 SL_METHOD_CONNECT},
	{"9112 9.3: keep-alive does not make an end", SL_STR(OK "Connection: keep-alive\r\n\r\n"),
	 "200 [OK] v11 eof", 0},
	{"9112 9.3: close wins over keep-alive",
	 SL_STR("HTTP/1.0 200 OK\r\nConnection: keep-alive, close\r\nContent-Length: 0\r\n\r\n"),
	 "200 [OK] v10 length 0", 0},
	{"9110 5.5: bytes above 127 in values", SL_STR(OK "A: \xff\r\nContent-Length: 0\r\n\r\n"),
	 "200 [OK] v11 keep length 0|A:\xff", 0},
};

Test(h1_response, says_what_the_server_said)
{
	for (size_t i = 0; i < N_OF(good); i++) {
		_cleanup_(sl_arena_deinit) struct sl_arena a = SL_ARENA_INIT(4096);
		_cleanup_(sl_buf_deinit) struct sl_buf b = SL_BUF_INIT(0);
		struct sl_h1_error err = {0};
		struct sl_response res;
		size_t used;
		int r = parse(&a, good[i].in, good[i].method, &res, &used, &err);

		cr_assert_eq(r, 0, "%s: %d %s", good[i].name, r, err.reason);
		cr_assert_eq(used, good[i].in.len, "%s", good[i].name);
		cr_assert_str_eq(show(&b, &res), good[i].want, "%s", good[i].name);
		check_every_split(good[i].name, good[i].in, good[i].method);
	}
}

static const struct {
	const char *name;
	struct sl_str in;
	const char *reason;
} bad[] = {
	{"9112 4: something else", SL_STR("SSH"), "not an HTTP/1 response"},
	{"9112 2.2: empty lines are for requests", SL_STR("\r\n" OK "\r\n"),
	 "not an HTTP/1 response"},
	{"9112 2.3: HTTP/2", SL_STR("HTTP/2.0 200 OK\r\n\r\n"), "HTTP version not supported"},
	{"9112 2.3: no minor", SL_STR("HTTP/1 200 OK\r\n\r\n"), "malformed HTTP version"},
	{"9112 4: no status", SL_STR("HTTP/1.1\r\n\r\n"), "malformed status line"},
	{"9112 4: two digits", SL_STR("HTTP/1.1 20\r\n\r\n"), "malformed status line"},
	{"9112 4: four digits", SL_STR("HTTP/1.1 2000 OK\r\n\r\n"), "malformed status line"},
	{"9112 4: two spaces", SL_STR("HTTP/1.1  200 OK\r\n\r\n"), "malformed status line"},
	{"9112 4: tab", SL_STR("HTTP/1.1\t200 OK\r\n\r\n"), "malformed status line"},
	{"9112 4: letters", SL_STR("HTTP/1.1 2xx OK\r\n\r\n"), "malformed status line"},
	{"9110 15: 099", SL_STR("HTTP/1.1 099 \r\n\r\n"), "status code out of range"},
	{"9110 15: 600", SL_STR("HTTP/1.1 600 \r\n\r\n"), "status code out of range"},
	{"9112 4: NUL in the reason", SL_STR("HTTP/1.1 200 O\0K\r\n\r\n"),
	 "control character in the reason phrase"},
	{"9112 2.2: bare CR in the reason", SL_STR("HTTP/1.1 200 O\rK\r\n\r\n"),
	 "control character in the reason phrase"},
	{"9112 2.2: bare LF", SL_STR("HTTP/1.1 200 OK\n\r\n"), "line ends in a bare LF"},
	{"9112 5.2: folded", SL_STR(OK "A: b\r\n c\r\n\r\n"), "folded header line"},
	{"9112 5.1: space before the colon", SL_STR(OK "A : b\r\n\r\n"),
	 "white space before the colon"},
	{"9112 6.3: both lengths",
	 SL_STR(OK "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"),
	 "both Content-Length and Transfer-Encoding"},
	{"9112 6.1: chunks in 1.0", SL_STR("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
	 "Transfer-Encoding in HTTP/1.0"},
	{"9112 6.1: not chunked at last", SL_STR(OK "Transfer-Encoding: gzip\r\n\r\n"),
	 "Transfer-Encoding does not end in chunked"},
	{"9112 6.1: a coding below", SL_STR(OK "Transfer-Encoding: gzip, chunked\r\n\r\n"),
	 "transfer coding not supported"},
	{"9112 6.3: differing lengths", SL_STR(OK "Content-Length: 5, 6\r\n\r\n"),
	 "several Content-Length values"},
	{"9112 6.3: half a list of lengths", SL_STR(OK "Content-Length: 5,\r\n\r\n"),
	 "invalid Content-Length"},
	{"9110 15.2: interim with chunks",
	 SL_STR("HTTP/1.1 100 \r\nTransfer-Encoding: chunked\r\n\r\n"),
	 "interim response with a body"},
	{"9110 15.2: interim with a length", SL_STR("HTTP/1.1 101 \r\nContent-Length: 1\r\n\r\n"),
	 "interim response with a body"},
	{"9112 2.2: a byte order mark", SL_STR("\xef\xbb\xbf" OK "\r\n"), "not an HTTP/1 response"},
	{"9112 2.3: small letters", SL_STR("http/1.1 200 OK\r\n\r\n"), "not an HTTP/1 response"},
	{"9112 2.3: HTTP/0.9", SL_STR("HTTP/0.9 200 OK\r\n\r\n"), "HTTP/0.9"},
	{"9112 4: a sign", SL_STR("HTTP/1.1 +20 OK\r\n\r\n"), "malformed status line"},
	{"9112 4: a tab for the space behind", SL_STR("HTTP/1.1 200\tOK\r\n\r\n"),
	 "malformed status line"},
	{"9110 15: 999", SL_STR("HTTP/1.1 999 \r\n\r\n"), "status code out of range"},
	{"9112 2.2: CR CR LF behind the reason", SL_STR("HTTP/1.1 200 OK\r\r\n\r\n"),
	 "control character in the reason phrase"},
	{"9110 5.5: NUL in a value", SL_STR(OK "A: b\0\r\n\r\n"),
	 "control character in a header value"},
	{"9112 2.2: bare CR in a value", SL_STR(OK "A: b\rC: d\r\n\r\n"),
	 "bare CR in a header value"},
	{"9112 5: no colon", SL_STR(OK "A\r\n\r\n"), "header line without a colon"},
	{"9110 5.1: not a token", SL_STR(OK "A/b: c\r\n\r\n"),
	 "invalid character in a header name"},
	{"9112 6.1: chunked twice", SL_STR(OK "Transfer-Encoding: chunked, chunked\r\n\r\n"),
	 "chunked more than once"},
	{"9112 6.3: differing lengths on two lines",
	 SL_STR(OK "Content-Length: 5\r\nContent-Length: 6\r\n\r\n"),
	 "several Content-Length values"},
	{"9110 8.6: overflow", SL_STR(OK "Content-Length: 9223372036854775808\r\n\r\n"),
	 "invalid Content-Length"},
	{"9112 6.3: both lengths where no body follows",
	 SL_STR("HTTP/1.1 304 \r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"),
	 "both Content-Length and Transfer-Encoding"},
};

Test(h1_response, refuses_what_can_be_read_in_two_ways)
{
	for (size_t i = 0; i < N_OF(bad); i++) {
		_cleanup_(sl_arena_deinit) struct sl_arena a = SL_ARENA_INIT(4096);
		struct sl_h1_error err = {0};
		struct sl_response res;
		size_t used;

		cr_assert_eq(parse(&a, bad[i].in, SL_METHOD_GET, &res, &used, &err), SL_H1_BAD,
			     "%s", bad[i].name);
		cr_assert_str_eq(err.reason, bad[i].reason, "%s", bad[i].name);
		cr_assert_eq(err.status, 502, "%s: %u", bad[i].name, err.status);
		check_every_split(bad[i].name, bad[i].in, SL_METHOD_GET);
	}
}

Test(h1_response, waits_for_the_empty_line)
{
	static const struct sl_str in = SL_STR(OK "A: b\r\n\r\n");

	for (size_t n = 0; n < in.len; n++) {
		_cleanup_(sl_arena_deinit) struct sl_arena a = SL_ARENA_INIT(4096);
		struct sl_h1_error err;
		struct sl_response res;
		size_t used;

		cr_assert_eq(
			parse(&a, (struct sl_str){in.ptr, n}, SL_METHOD_GET, &res, &used, &err),
			SL_H1_MORE, "%zu bytes", n);
		cr_assert_eq(a.used_bytes, 0);
	}
}

Test(h1_response, has_a_limit)
{
	static const struct sl_h1_limits small = {.head_bytes = 32, .n_headers = 8};
	_cleanup_(sl_arena_deinit) struct sl_arena a = SL_ARENA_INIT(4096);
	static const struct sl_str in = SL_STR(OK "A: 12345678901234567890");
	struct sl_h1_scan scan = {0};
	struct sl_h1_error err = {0};
	struct sl_response res;
	size_t used;

	cr_assert_eq(sl_h1_parse_response(&small, &scan, in.ptr, 32, SL_METHOD_GET, &a, &res, &used,
					  &err),
		     SL_H1_MORE);
	cr_assert_eq(sl_h1_parse_response(&small, &scan, in.ptr, 33, SL_METHOD_GET, &a, &res, &used,
					  &err),
		     SL_H1_BAD);
	cr_assert_str_eq(err.reason, "header section too long");
}

Test(h1_response, goes_on_after_each_failed_allocation)
{
	static const struct sl_str in = SL_STR("HTTP/1.1 101 \r\nConnection: upgrade\r\n"
					       "Upgrade: a\r\nUpgrade: b\r\n\r\n");
	struct sl_h1_scan scan = {0};
	long n = 0;
	int r;

	do {
		_cleanup_(sl_arena_deinit) struct sl_arena a = SL_ARENA_INIT(1);
		struct sl_h1_error err;
		struct sl_response res;
		size_t used;

		cr_assert_not_null(sl_arena_alloc(&a, 1000));
		sl_alloc_fail_after(n++);
		r = sl_h1_parse_response(&limits, &scan, in.ptr, in.len, SL_METHOD_GET, &a, &res,
					 &used, &err);
		sl_alloc_fail_after(-1);
		cr_assert(r == 0 || r == -ENOMEM, "%d", r);
	} while (r);
	cr_assert_gt(n, 1);
}
