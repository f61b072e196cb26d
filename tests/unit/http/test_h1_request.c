/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <errno.h>
#include "base/alloc.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "h1_check.h"
#include "http/h1_parse.h"

#define HOST	"Host: a\r\n"
#define GET	"GET / HTTP/1.1\r\n" HOST
#define POST	"POST / HTTP/1.1\r\n" HOST
#define N_OF(a) (sizeof(a) / sizeof((a)[0]))

static const struct sl_h1_limits limits = SL_H1_LIMITS_DEFAULT;

static int parse(struct sl_arena *a, struct sl_str in, struct sl_request *ret, size_t *used,
		 struct sl_h1_error *err)
{
	struct sl_h1_scan scan = {0};

	return sl_h1_parse_request(&limits, &scan, in.ptr, in.len, a, ret, used, err);
}

static void show_body(struct sl_buf *b, const struct sl_request *r)
{
	if (r->body == SL_BODY_LENGTH)
		cr_assert_eq(sl_buf_printf(b, " length=%ju", (uintmax_t)r->content_length), 0);
	else if (r->body == SL_BODY_CHUNKED)
		cr_assert_eq(sl_buf_printf(b, " chunked"), 0);
	else
		cr_assert_eq(r->body, SL_BODY_NONE);
}

static void show_named(struct sl_buf *b, const char *name, struct sl_str s)
{
	if (s.ptr)
		cr_assert_eq(sl_buf_printf(b, " %s=%.*s", name, SL_STR_ARG(s)), 0);
}

/* All that a request says, in one text that tables can hold. */
static const char *show(struct sl_buf *b, const struct sl_request *r)
{
	cr_assert_eq(sl_buf_printf(b, "%.*s %.*s", SL_STR_ARG(r->method_text), SL_STR_ARG(r->path)),
		     0);
	show_named(b, "query", r->query);
	show_named(b, "at", r->authority);
	cr_assert_eq(sl_buf_printf(b, " v%u%s%s%s", r->version, r->keep_alive ? " keep" : "",
				   r->expect_continue ? " expect" : "",
				   r->te_trailers ? " te" : ""),
		     0);
	show_named(b, "upgrade", r->upgrade);
	show_named(b, "trailer", r->trailer);
	show_body(b, r);
	for (uint32_t i = 0; i < r->headers.n; i++)
		cr_assert_eq(sl_buf_printf(b, "|%.*s:%.*s", SL_STR_ARG(r->headers.items[i].name),
					   SL_STR_ARG(r->headers.items[i].value)),
			     0);
	cr_assert_eq(sl_buf_append(b, "", 1), 0);
	return sl_buf_ptr(b);
}

static void check_every_split(const char *name, struct sl_str in)
{
	for (size_t cut = 0; cut <= in.len; cut++) {
		const char *fault =
			h1_check_request(in.ptr, in.len, (struct h1_split){cut, in.len + 1});

		cr_assert_null(fault, "%s, cut at %zu: %s", name, cut, fault);
	}
	for (size_t step = 1; step < 4; step++) {
		const char *fault = h1_check_request(in.ptr, in.len, (struct h1_split){step, step});

		cr_assert_null(fault, "%s, %zu at a time: %s", name, step, fault);
	}
}

static const struct {
	const char *name;
	struct sl_str in;
	const char *want;
} good[] = {
	{"9112 3: request line", SL_STR(GET "\r\n"), "GET / at=a v11 keep|Host:a"},
	{"9112 2.2: empty lines in front", SL_STR("\r\n\r\n" GET "\r\n"),
	 "GET / at=a v11 keep|Host:a"},
	{"9112 2.2: four of them at most", SL_STR("\r\n\r\n\r\n\r\n" GET "\r\n"),
	 "GET / at=a v11 keep|Host:a"},
	{"9110 9.1: any token is a method", SL_STR("X-Do!~ / HTTP/1.1\r\n" HOST "\r\n"),
	 "X-Do!~ / at=a v11 keep|Host:a"},
	{"9110 9.1: methods have a case", SL_STR("get / HTTP/1.1\r\n" HOST "\r\n"),
	 "get / at=a v11 keep|Host:a"},
	{"9112 3.2.1: origin-form", SL_STR("GET /a//b/%2e%2E/?x=%20&y?/ HTTP/1.1\r\n" HOST "\r\n"),
	 "GET /a//b/%2e%2E/ query=x=%20&y?/ at=a v11 keep|Host:a"},
	{"9112 3.2.1: an empty query is one", SL_STR("GET /a? HTTP/1.1\r\n" HOST "\r\n"),
	 "GET /a query= at=a v11 keep|Host:a"},
	{"9112 3.2: bytes above 127 pass", SL_STR("GET /\xc3\xa4 HTTP/1.1\r\n" HOST "\r\n"),
	 "GET /\xc3\xa4 at=a v11 keep|Host:a"},
	{"9112 3.2.2: absolute-form wins over Host",
	 SL_STR("GET http://b:80/c?d HTTP/1.1\r\nX: y\r\n" HOST "\r\n"),
	 "GET /c query=d at=b:80 v11 keep|X:y|Host:b:80"},
	{"9112 3.2.2: any case of the scheme", SL_STR("GET HTTPS://b/ HTTP/1.1\r\n" HOST "\r\n"),
	 "GET / at=b v11 keep|Host:b"},
	{"9112 3.2.2: absolute-form without a path",
	 SL_STR("GET http://b HTTP/1.1\r\n" HOST "\r\n"), "GET / at=b v11 keep|Host:b"},
	{"9112 3.2.2: absolute-form with a query alone",
	 SL_STR("OPTIONS http://b?c HTTP/1.1\r\n" HOST "\r\n"),
	 "OPTIONS / query=c at=b v11 keep|Host:b"},
	{"9112 3.2.2: absolute-form in 1.0 makes a Host",
	 SL_STR("GET http://b/ HTTP/1.0\r\nX: y\r\n\r\n"), "GET / at=b v10|X:y|Host:b"},
	{"9112 3.2.3: authority-form", SL_STR("CONNECT b:443 HTTP/1.1\r\n" HOST "\r\n"),
	 "CONNECT  at=b:443 v11 keep|Host:b:443"},
	{"9112 3.2.3: authority-form with an address",
	 SL_STR("CONNECT [2001:db8::1]:443 HTTP/1.1\r\n" HOST "Content-Length: 0\r\n\r\n"),
	 "CONNECT  at=[2001:db8::1]:443 v11 keep length=0|Host:[2001:db8::1]:443"},
	{"9112 3.2.4: asterisk-form", SL_STR("OPTIONS * HTTP/1.1\r\n" HOST "\r\n"),
	 "OPTIONS * at=a v11 keep|Host:a"},
	{"9112 3.2.4: OPTIONS of a whole server",
	 SL_STR("OPTIONS http://b HTTP/1.1\r\n" HOST "\r\n"), "OPTIONS * at=b v11 keep|Host:b"},
	{"9112 3.2: an empty Host", SL_STR("GET / HTTP/1.1\r\nHost:\r\n\r\n"),
	 "GET / at= v11 keep|Host:"},
	{"9110 7.2: Host with a port", SL_STR("GET / HTTP/1.1\r\nhOST: a-b.c_d:8080\r\n\r\n"),
	 "GET / at=a-b.c_d:8080 v11 keep|hOST:a-b.c_d:8080"},
	{"9110 7.2: Host with an empty port", SL_STR("GET / HTTP/1.1\r\nHost: a:\r\n\r\n"),
	 "GET / at=a: v11 keep|Host:a:"},
	{"9110 7.2: Host with an IPv6 address", SL_STR("GET / HTTP/1.1\r\nHost: [::1]:1\r\n\r\n"),
	 "GET / at=[::1]:1 v11 keep|Host:[::1]:1"},
	{"9112 3.2: 1.0 needs no Host", SL_STR("GET / HTTP/1.0\r\n\r\n"), "GET / v10"},
	{"9112 2.3: a higher minor is 1.1", SL_STR("GET / HTTP/1.9\r\n" HOST "\r\n"),
	 "GET / at=a v11 keep|Host:a"},
	{"9112 5.1: white space around values",
	 SL_STR(GET "A:b\r\nC:  \t d\te f \t\r\nE:\r\nF: \t \r\n\r\n"),
	 "GET / at=a v11 keep|Host:a|A:b|C:d\te f|E:|F:"},
	{"9110 5.5: bytes above 127 in values", SL_STR(GET "A: \xff\x80 \xe4\r\n\r\n"),
	 "GET / at=a v11 keep|Host:a|A:\xff\x80 \xe4"},
	{"9110 5.3: repeated fields stay apart, in order",
	 SL_STR(GET "A: 1\r\nB: 2\r\na: 3\r\n\r\n"), "GET / at=a v11 keep|Host:a|A:1|B:2|a:3"},
	{"9110 5.6.2: each token character in a name",
	 SL_STR(GET "!#$%&'*+-.^_`|~09azAZ: x\r\n\r\n"),
	 "GET / at=a v11 keep|Host:a|!#$%&'*+-.^_`|~09azAZ:x"},
	{"9112 6.2: Content-Length", SL_STR(POST "Content-Length: 007 \r\n\r\n"),
	 "POST / at=a v11 keep length=7|Host:a"},
	{"9112 6.2: a length of zero is a length", SL_STR(POST "content-length:0\r\n\r\n"),
	 "POST / at=a v11 keep length=0|Host:a"},
	{"9112 6.2: the greatest length",
	 SL_STR(POST "Content-Length: 9223372036854775807\r\n\r\n"),
	 "POST / at=a v11 keep length=9223372036854775807|Host:a"},
	{"9112 6.1: chunked", SL_STR(POST "Transfer-Encoding: \tChunked \r\n\r\n"),
	 "POST / at=a v11 keep chunked|Host:a"},
	{"9112 9.3: close", SL_STR(GET "Connection: foo, ClOsE\r\n\r\n"), "GET / at=a v11|Host:a"},
	{"9112 9.3: close wins over keep-alive",
	 SL_STR("GET / HTTP/1.0\r\nConnection: keep-alive\r\nConnection: close\r\n\r\n"),
	 "GET / v10"},
	{"9112 9.3: 1.0 asks for keep-alive",
	 SL_STR("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\nKeep-Alive: timeout=5\r\n\r\n"),
	 "GET / v10 keep"},
	{"9112 C.2.2: Proxy-Connection is nobody's wish",
	 SL_STR("GET / HTTP/1.0\r\nProxy-Connection: keep-alive\r\n\r\n"), "GET / v10"},
	{"9110 7.6.1: what Connection names goes",
	 SL_STR(GET "X-A: 1\r\nConnection: x-a , ,X-B\r\nX-b: 2\r\nX-AB: 3\r\n\r\n"),
	 "GET / at=a v11 keep|Host:a|X-AB:3"},
	{"9110 7.6.1: over several lines, before and behind",
	 SL_STR(GET "X-A: 1\r\nConnection: x-b\r\nX-C: 3\r\nConnection: x-a\r\nX-b: 2\r\n\r\n"),
	 "GET / at=a v11 keep|Host:a|X-C:3"},
	{"9110 7.6.1: but never what all are meant to see",
	 SL_STR(POST "Connection: Host, Content-Length, cookie, Authorization, Content-Type\r\n"
		     "Content-Length: 3\r\nCookie: c\r\nAuthorization: b\r\n"
		     "Content-Type: t/t\r\n\r\n"),
	 "POST / at=a v11 keep length=3|Host:a|Cookie:c|Authorization:b|Content-Type:t/t"},
	{"9110 7.6.1: nor chunked",
	 SL_STR(POST "Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n\r\n"),
	 "POST / at=a v11 keep chunked|Host:a"},
	{"9110 7.6.1: nor who sent it",
	 SL_STR(GET "Connection: X-Forwarded-For, via\r\nX-Forwarded-For: 1\r\nVia: 2\r\n\r\n"),
	 "GET / at=a v11 keep|Host:a|X-Forwarded-For:1|Via:2"},
	{"9110 7.8: upgrade",
	 SL_STR(GET "Upgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n\r\n"),
	 "GET / at=a v11 keep upgrade=websocket|Host:a"},
	{"9110 7.8: several offers",
	 SL_STR(GET "Upgrade: a/1\r\nConnection: upgrade\r\nUpgrade: b\r\n\r\n"),
	 "GET / at=a v11 keep upgrade=a/1,b|Host:a"},
	{"9110 7.8: with a body",
	 SL_STR(POST "Connection: upgrade\r\nUpgrade: a\r\nContent-Length: 1\r\n\r\n"),
	 "POST / at=a v11 keep upgrade=a length=1|Host:a"},
	{"9110 7.8: not in 1.0",
	 SL_STR("GET / HTTP/1.0\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"),
	 "GET / v10"},
	{"9110 7.8: not unless Connection names it", SL_STR(GET "Upgrade: websocket\r\n\r\n"),
	 "GET / at=a v11 keep|Host:a"},
	{"9110 7.8: an empty offer is none", SL_STR(GET "Upgrade:\r\nConnection: upgrade\r\n\r\n"),
	 "GET / at=a v11 keep|Host:a"},
	{"9113 3.1: h2c by upgrade is gone",
	 SL_STR(GET "Upgrade: websocket, H2C\r\nConnection: Upgrade, HTTP2-Settings\r\n"
		    "HTTP2-Settings: AAMAAABkAAQ\r\n\r\n"),
	 "GET / at=a v11 keep|Host:a"},
	{"9110 10.1.1: 100-continue",
	 SL_STR(POST "Expect: 100-Continue\r\nContent-Length: 1\r\n\r\n"),
	 "POST / at=a v11 keep expect length=1|Host:a|Expect:100-Continue"},
	{"9110 10.1.1: with nothing to wait for",
	 SL_STR(POST "Expect: 100-continue\r\nContent-Length: 0\r\n\r\n"),
	 "POST / at=a v11 keep length=0|Host:a|Expect:100-continue"},
	{"9110 10.1.1: another expectation",
	 SL_STR(POST "Expect: tea\r\nTransfer-Encoding: chunked\r\n\r\n"),
	 "POST / at=a v11 keep chunked|Host:a|Expect:tea"},
	{"9110 10.1.1: 1.0 cannot expect",
	 SL_STR("POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n"),
	 "POST / v10 length=1"},
	{"9110 10.1.4: TE", SL_STR(GET "TE: deflate, Trailers\r\nConnection: TE\r\n\r\n"),
	 "GET / at=a v11 keep te|Host:a"},
	{"9110 10.1.4: other codings are this hop's", SL_STR(GET "TE: gzip;q=0.5\r\n\r\n"),
	 "GET / at=a v11 keep|Host:a"},
	{"9110 6.6.2: Trailer goes end to end",
	 SL_STR(POST "Trailer: a\r\nTransfer-Encoding: chunked\r\nTrailer: b\r\n\r\n"),
	 "POST / at=a v11 keep trailer=a,b chunked|Host:a|Trailer:a|Trailer:b"},
	{"9112 3.2.1: two slashes in front are a path",
	 SL_STR("GET //b/c HTTP/1.1\r\n" HOST "\r\n"), "GET //b/c at=a v11 keep|Host:a"},
	{"9112 3.2: octets that no URI has pass",
	 SL_STR("GET /\"<>\\^`{|}%zz[] HTTP/1.1\r\n" HOST "\r\n"),
	 "GET /\"<>\\^`{|}%zz[] at=a v11 keep|Host:a"},
	{"9112 3.2.2: absolute-form beside an empty Host",
	 SL_STR("GET http://b/ HTTP/1.1\r\nHost:\r\n\r\n"), "GET / at=b v11 keep|Host:b"},
	{"9112 3.2.2: absolute-form cannot be named away",
	 SL_STR("GET http://b/ HTTP/1.1\r\n" HOST "Connection: host\r\n\r\n"),
	 "GET / at=b v11 keep|Host:b"},
	{"9110 4.2.3: Host with an escape", SL_STR("GET / HTTP/1.1\r\nHost: w%65b\r\n\r\n"),
	 "GET / at=w%65b v11 keep|Host:w%65b"},
	{"9110 9.3.1: content of GET goes on", SL_STR(GET "Content-Length: 5\r\n\r\n"),
	 "GET / at=a v11 keep length=5|Host:a"},
	{"9110 9.3.2: content of HEAD too",
	 SL_STR("HEAD / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n"),
	 "HEAD / at=a v11 keep chunked|Host:a"},
	{"9110 9.3.8: and of TRACE, which the server judges",
	 SL_STR("TRACE / HTTP/1.1\r\n" HOST "Content-Length: 1\r\n\r\n"),
	 "TRACE / at=a v11 keep length=1|Host:a"},
	{"9110 7.6.1: an option in quotes is another one",
	 SL_STR(GET "Connection: \"close\", closed, clo se\r\n\r\n"), "GET / at=a v11 keep|Host:a"},
	{"9110 7.6.1: an empty Connection says nothing", SL_STR(GET "Connection:\r\n\r\n"),
	 "GET / at=a v11 keep|Host:a"},
	{"9110 7.6.1: fields of a hop go without being named",
	 SL_STR(GET "Keep-Alive: 5\r\nProxy-Connection: close\r\nTE: gzip\r\nUpgrade: a\r\n\r\n"),
	 "GET / at=a v11 keep|Host:a"},
	{"9110 7.8: h2c on a second line is gone too",
	 SL_STR(GET "Upgrade: a\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n"),
	 "GET / at=a v11 keep|Host:a"},
	{"9110 10.1.1: 100-continue among others",
	 SL_STR(POST "Expect: tea\r\nExpect: , 100-continue\r\nContent-Length: 1\r\n\r\n"),
	 "POST / at=a v11 keep expect length=1|Host:a|Expect:tea|Expect:, 100-continue"},
	{"9110 6.6.2: Trailer without chunks", SL_STR(GET "Trailer: a\r\n\r\n"),
	 "GET / at=a v11 keep trailer=a|Host:a|Trailer:a"},
};

Test(h1_request, says_what_the_client_said)
{
	for (size_t i = 0; i < N_OF(good); i++) {
		_cleanup_(sl_arena_deinit) struct sl_arena a = SL_ARENA_INIT(4096);
		_cleanup_(sl_buf_deinit) struct sl_buf b = SL_BUF_INIT(0);
		struct sl_h1_error err = {0};
		struct sl_request req;
		size_t used;
		int r = parse(&a, good[i].in, &req, &used, &err);

		cr_assert_eq(r, 0, "%s: %d %s", good[i].name, r, err.reason);
		cr_assert_eq(used, good[i].in.len, "%s", good[i].name);
		cr_assert_str_eq(show(&b, &req), good[i].want, "%s", good[i].name);
		check_every_split(good[i].name, good[i].in);
	}
}

static const struct {
	const char *name;
	struct sl_str in;
	uint16_t status;
	const char *reason;
} bad[] = {
	{"9112 2.2: bare LF behind the request line", SL_STR("GET / HTTP/1.1\n" HOST "\r\n"), 400,
	 "line ends in a bare LF"},
	{"9112 2.2: bare LF behind a field", SL_STR(GET "A: b\nC: d\r\n\r\n"), 400,
	 "line ends in a bare LF"},
	{"9112 2.2: bare LF as the empty line", SL_STR(GET "\n"), 400, "line ends in a bare LF"},
	{"9112 2.2: bare LF in front", SL_STR("\n" GET "\r\n"), 400, "line ends in a bare LF"},
	{"9112 2.2: bare CR in front", SL_STR("\r" GET "\r\n"), 400, "bare CR"},
	{"9112 2.2: five empty lines", SL_STR("\r\n\r\n\r\n\r\n\r\n" GET "\r\n"), 400,
	 "too many empty lines"},
	{"9112 2.2: bare CR in a value", SL_STR(GET "A: b\rc\r\n\r\n"), 400,
	 "bare CR in a header value"},
	{"9112 2.2: CR CR LF", SL_STR(GET "A: b\r\r\n\r\n"), 400, "bare CR in a header value"},
	{"9112 2.2: CR in the request line", SL_STR("GET /\r HTTP/1.1\r\n" HOST "\r\n"), 400,
	 "malformed request target"},
	{"9112 2.2: CR CR LF behind the request line", SL_STR("GET / HTTP/1.1\r\r\n" HOST "\r\n"),
	 400, "malformed request line"},
	{"9112 2.2: a field that starts with CR", SL_STR(GET "\rA: b\r\n\r\n"), 400,
	 "header line without a colon"},
	{"9112 2.2: white space before the first field", SL_STR("GET / HTTP/1.1\r\n " HOST "\r\n"),
	 400, "folded header line"},
	{"9112 2.3: HTTP/0.9", SL_STR("GET / HTTP/0.9\r\n\r\n"), 400, "HTTP/0.9"},
	{"9112 2.3: simple request", SL_STR("GET /\r\n\r\n"), 400,
	 "request line without a version"},
	{"9112 2.3: HTTP/2.0", SL_STR("GET / HTTP/2.0\r\n" HOST "\r\n"), 505,
	 "HTTP version not supported"},
	{"9113 3.4: the HTTP/2 preface", SL_STR("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), 505,
	 "HTTP version not supported"},
	{"9112 2.3: small letters", SL_STR("GET / http/1.1\r\n" HOST "\r\n"), 400,
	 "malformed HTTP version"},
	{"9112 2.3: no minor", SL_STR("GET / HTTP/1\r\n" HOST "\r\n"), 400,
	 "malformed HTTP version"},
	{"9112 2.3: two digits", SL_STR("GET / HTTP/1.10\r\n" HOST "\r\n"), 400,
	 "malformed request line"},
	{"9112 2.3: short line at the very end", SL_STR("GET / H\r\n\r\n"), 400,
	 "malformed HTTP version"},
	{"9112 3: trailing space", SL_STR("GET / HTTP/1.1 \r\n" HOST "\r\n"), 400,
	 "malformed request line"},
	{"9112 3: two spaces", SL_STR("GET  / HTTP/1.1\r\n" HOST "\r\n"), 400,
	 "malformed request target"},
	{"9112 3: two spaces before the version", SL_STR("GET /  HTTP/1.1\r\n" HOST "\r\n"), 400,
	 "malformed HTTP version"},
	{"9112 3: space in the target", SL_STR("GET /a b HTTP/1.1\r\n" HOST "\r\n"), 400,
	 "malformed HTTP version"},
	{"9112 3: tab for a space", SL_STR("GET\t/ HTTP/1.1\r\n" HOST "\r\n"), 400,
	 "malformed method"},
	{"9112 3: leading space", SL_STR(" " GET "\r\n"), 400,
	 "request line does not start with a method"},
	{"9112 3: method alone", SL_STR("GET\r\n\r\n"), 400, "malformed method"},
	{"9112 3.1: not a token", SL_STR("GE(T / HTTP/1.1\r\n" HOST "\r\n"), 400,
	 "malformed method"},
	{"9112 3.1: method of 33 bytes",
	 SL_STR("ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFG / HTTP/1.1\r\n" HOST "\r\n"), 501,
	 "method too long"},
	{"9112 3.2: fragment", SL_STR("GET /a#b HTTP/1.1\r\n" HOST "\r\n"), 400,
	 "fragment in the request target"},
	{"9112 3.2: NUL in the target", SL_STR("GET /a\0b HTTP/1.1\r\n" HOST "\r\n"), 400,
	 "malformed request target"},
	{"9112 3.2: DEL in the target", SL_STR("GET /a\x7f HTTP/1.1\r\n" HOST "\r\n"), 400,
	 "malformed request target"},
	{"9112 3.2: neither form", SL_STR("GET a HTTP/1.1\r\n" HOST "\r\n"), 400,
	 "malformed request target"},
	{"9112 3.2.2: another scheme", SL_STR("GET ftp://a/ HTTP/1.1\r\n" HOST "\r\n"), 400,
	 "malformed request target"},
	{"9112 3.2.2: no authority", SL_STR("GET http:///a HTTP/1.1\r\n" HOST "\r\n"), 400,
	 "invalid authority in the request target"},
	{"9110 4.2.4: user in the target", SL_STR("GET http://u@a/ HTTP/1.1\r\n" HOST "\r\n"), 400,
	 "invalid authority in the request target"},
	{"9112 3.2.2: a bad port", SL_STR("GET http://a:b/ HTTP/1.1\r\n" HOST "\r\n"), 400,
	 "invalid authority in the request target"},
	{"9112 3.2.2: a Host is needed nevertheless", SL_STR("GET http://b/ HTTP/1.1\r\n\r\n"), 400,
	 "no Host"},
	{"9112 3.2.2: and a valid one", SL_STR("GET http://b/ HTTP/1.1\r\nHost: a/b\r\n\r\n"), 400,
	 "invalid Host"},
	{"9112 3.2.3: CONNECT with a path", SL_STR("CONNECT / HTTP/1.1\r\n" HOST "\r\n"), 400,
	 "CONNECT without host and port"},
	{"9112 3.2.3: CONNECT without a port", SL_STR("CONNECT a HTTP/1.1\r\n" HOST "\r\n"), 400,
	 "CONNECT without host and port"},
	{"9112 3.2.3: CONNECT with an empty port", SL_STR("CONNECT a: HTTP/1.1\r\n" HOST "\r\n"),
	 400, "CONNECT without host and port"},
	{"9112 3.2.3: authority-form without CONNECT", SL_STR("GET a:80 HTTP/1.1\r\n" HOST "\r\n"),
	 400, "malformed request target"},
	{"9110 9.3.6: CONNECT with a length",
	 SL_STR("CONNECT a:1 HTTP/1.1\r\n" HOST "Content-Length: 1\r\n\r\n"), 400,
	 "CONNECT with a body"},
	{"9110 9.3.6: CONNECT with chunks",
	 SL_STR("CONNECT a:1 HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n"), 400,
	 "CONNECT with a body"},
	{"9112 3.2.4: GET *", SL_STR("GET * HTTP/1.1\r\n" HOST "\r\n"), 400,
	 "asterisk-form without OPTIONS"},
	{"9112 3.2.4: OPTIONS *?a", SL_STR("OPTIONS *?a HTTP/1.1\r\n" HOST "\r\n"), 400,
	 "malformed request target"},
	{"9112 3.2: no Host", SL_STR("GET / HTTP/1.1\r\nA: b\r\n\r\n"), 400, "no Host"},
	{"9112 3.2: no field at all", SL_STR("GET / HTTP/1.1\r\n\r\n"), 400, "no Host"},
	{"9112 3.2: two Hosts", SL_STR(GET "hOst: a\r\n\r\n"), 400, "several Host lines"},
	{"9112 3.2: two Hosts in 1.0", SL_STR("GET / HTTP/1.0\r\n" HOST "Host: b\r\n\r\n"), 400,
	 "several Host lines"},
	{"9112 3.2: user in Host", SL_STR("GET / HTTP/1.1\r\nHost: u@a\r\n\r\n"), 400,
	 "invalid Host"},
	{"9112 3.2: space in Host", SL_STR("GET / HTTP/1.1\r\nHost: a b\r\n\r\n"), 400,
	 "invalid Host"},
	{"9112 3.2: list in Host", SL_STR("GET / HTTP/1.1\r\nHost: a,b:80:1\r\n\r\n"), 400,
	 "invalid Host"},
	{"9112 3.2: port too great", SL_STR("GET / HTTP/1.1\r\nHost: a:65536\r\n\r\n"), 400,
	 "invalid Host"},
	{"9112 3.2: port alone", SL_STR("GET / HTTP/1.1\r\nHost: :80\r\n\r\n"), 400,
	 "invalid Host"},
	{"9112 3.2: bracket left open", SL_STR("GET / HTTP/1.1\r\nHost: [::1\r\n\r\n"), 400,
	 "invalid Host"},
	{"9112 5: no colon", SL_STR(GET "A\r\n\r\n"), 400, "header line without a colon"},
	{"9112 5: empty name", SL_STR(GET ": b\r\n\r\n"), 400, "empty header name"},
	{"9112 5.1: space before the colon", SL_STR(GET "A : b\r\n\r\n"), 400,
	 "white space before the colon"},
	{"9112 5.1: tab before the colon", SL_STR(POST "Content-Length\t: 1\r\n\r\n"), 400,
	 "white space before the colon"},
	{"9112 5.2: folded with a space", SL_STR(GET "A: b\r\n c\r\n\r\n"), 400,
	 "folded header line"},
	{"9112 5.2: folded with a tab", SL_STR(GET "A: b\r\n\tc\r\n\r\n"), 400,
	 "folded header line"},
	{"9110 5.1: name with a bracket", SL_STR(GET "A(b): c\r\n\r\n"), 400,
	 "invalid character in a header name"},
	{"9110 5.1: name above 127", SL_STR(GET "\xc3\xa4: c\r\n\r\n"), 400,
	 "invalid character in a header name"},
	{"9110 5.1: NUL in a name", SL_STR(GET "A\0: c\r\n\r\n"), 400,
	 "invalid character in a header name"},
	{"9110 5.5: NUL in a value", SL_STR(GET "A: 12345678\0b\r\n\r\n"), 400,
	 "control character in a header value"},
	{"9110 5.5: vertical tab", SL_STR(POST "Transfer-Encoding: \vchunked\r\n\r\n"), 400,
	 "control character in a header value"},
	{"9110 5.5: DEL", SL_STR(GET "A: 1234567\x7f\r\n\r\n"), 400,
	 "control character in a header value"},
	{"9112 6.1: both lengths",
	 SL_STR(POST "Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n"), 400,
	 "both Content-Length and Transfer-Encoding"},
	{"9112 6.1: both, the other way round",
	 SL_STR(POST "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n"), 400,
	 "both Content-Length and Transfer-Encoding"},
	{"9112 6.1: both in 1.0",
	 SL_STR("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n"), 400,
	 "both Content-Length and Transfer-Encoding"},
	{"9112 6.1: chunked in 1.0",
	 SL_STR("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"), 400,
	 "Transfer-Encoding in HTTP/1.0"},
	{"9112 6.1: identity", SL_STR(POST "Transfer-Encoding: identity\r\n\r\n"), 400,
	 "Transfer-Encoding does not end in chunked"},
	{"9112 6.1: xchunked", SL_STR(POST "Transfer-Encoding: xchunked\r\n\r\n"), 400,
	 "Transfer-Encoding does not end in chunked"},
	{"9112 6.1: quoted", SL_STR(POST "Transfer-Encoding: \"chunked\"\r\n\r\n"), 400,
	 "Transfer-Encoding does not end in chunked"},
	{"9112 6.1: chunked with a parameter",
	 SL_STR(POST "Transfer-Encoding: chunked;a=b\r\n\r\n"), 400,
	 "Transfer-Encoding does not end in chunked"},
	{"9112 6.1: chunked is not the last",
	 SL_STR(POST "Transfer-Encoding: chunked, gzip\r\n\r\n"), 400,
	 "Transfer-Encoding does not end in chunked"},
	{"9112 6.1: chunked twice", SL_STR(POST "Transfer-Encoding: chunked, chunked\r\n\r\n"), 400,
	 "chunked more than once"},
	{"9112 6.1: chunked twice, on two lines",
	 SL_STR(POST "Transfer-Encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n"), 400,
	 "chunked more than once"},
	{"9112 6.1: identity on a second line",
	 SL_STR(POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n"), 400,
	 "Transfer-Encoding does not end in chunked"},
	{"9112 6.1: empty element", SL_STR(POST "Transfer-Encoding: ,chunked\r\n\r\n"), 400,
	 "empty Transfer-Encoding"},
	{"9112 6.1: empty", SL_STR(POST "Transfer-Encoding:\r\n\r\n"), 400,
	 "empty Transfer-Encoding"},
	{"9112 6.1: a coding that we cannot forward",
	 SL_STR(POST "Transfer-Encoding: gzip, chunked\r\n\r\n"), 501,
	 "transfer coding not supported"},
	{"9112 6.3: differing lengths",
	 SL_STR(POST "Content-Length: 5\r\nContent-Length: 6\r\n\r\n"), 400,
	 "several Content-Length values"},
	{"9112 6.3: the same length twice",
	 SL_STR(POST "Content-Length: 5\r\nContent-Length: 5\r\n\r\n"), 400,
	 "several Content-Length values"},
	{"9112 6.3: list of lengths", SL_STR(POST "Content-Length: 5, 5\r\n\r\n"), 400,
	 "several Content-Length values"},
	{"9110 8.6: plus", SL_STR(POST "Content-Length: +5\r\n\r\n"), 400,
	 "invalid Content-Length"},
	{"9110 8.6: minus", SL_STR(POST "Content-Length: -5\r\n\r\n"), 400,
	 "invalid Content-Length"},
	{"9110 8.6: hexadecimal", SL_STR(POST "Content-Length: 0x5\r\n\r\n"), 400,
	 "invalid Content-Length"},
	{"9110 8.6: empty", SL_STR(POST "Content-Length: \r\n\r\n"), 400, "invalid Content-Length"},
	{"9110 8.6: space within", SL_STR(POST "Content-Length: 5 5\r\n\r\n"), 400,
	 "invalid Content-Length"},
	{"9110 8.6: fraction", SL_STR(POST "Content-Length: 5.0\r\n\r\n"), 400,
	 "invalid Content-Length"},
	{"9110 8.6: overflow", SL_STR(POST "Content-Length: 9223372036854775808\r\n\r\n"), 400,
	 "invalid Content-Length"},
	{"9110 8.6: overflow of 64 bits",
	 SL_STR(POST "Content-Length: 18446744073709551617\r\n\r\n"), 400,
	 "invalid Content-Length"},
	{"8446: a TLS hello", SL_STR("\x16\x03\x01\x02\x00\x01"), 400,
	 "request line does not start with a method"},
	{"9112 2.2: a line of white space", SL_STR(GET " \r\n\r\n"), 400, "folded header line"},
	{"9112 2.2: LF CR", SL_STR(GET "A: b\n\r\n\r\n"), 400, "line ends in a bare LF"},
	{"9112 2.3: HTTP/0.0", SL_STR("GET / HTTP/0.0\r\n" HOST "\r\n"), 400, "HTTP/0.9"},
	{"9112 2.3: a comma for the dot", SL_STR("GET / HTTP/1,1\r\n" HOST "\r\n"), 400,
	 "malformed HTTP version"},
	{"9112 2.3: a sign", SL_STR("GET / HTTP/+1.1\r\n" HOST "\r\n"), 400,
	 "malformed HTTP version"},
	{"9112 2.3: HTTPS", SL_STR("GET / HTTPS/1.1\r\n" HOST "\r\n"), 400,
	 "malformed HTTP version"},
	{"9112 3: tab before the version", SL_STR("GET /\tHTTP/1.1\r\n" HOST "\r\n"), 400,
	 "malformed request target"},
	{"9112 3: vertical tab for a space", SL_STR("GET\v/ HTTP/1.1\r\n" HOST "\r\n"), 400,
	 "malformed method"},
	{"9112 3: no target", SL_STR("GET  HTTP/1.1\r\n" HOST "\r\n"), 400,
	 "malformed request target"},
	{"9112 3.1: method above 127", SL_STR("G\xc9T / HTTP/1.1\r\n" HOST "\r\n"), 400,
	 "malformed method"},
	{"9112 3.2: a query alone", SL_STR("GET ?a HTTP/1.1\r\n" HOST "\r\n"), 400,
	 "malformed request target"},
	{"9112 3.2.2: a scheme with one slash", SL_STR("GET http:/b HTTP/1.1\r\n" HOST "\r\n"), 400,
	 "malformed request target"},
	{"9112 3.2.2: a backslash in the authority",
	 SL_STR("GET http://b\\@c/ HTTP/1.1\r\n" HOST "\r\n"), 400,
	 "invalid authority in the request target"},
	{"9112 3.2.2: a port alone", SL_STR("GET http://:80/ HTTP/1.1\r\n" HOST "\r\n"), 400,
	 "invalid authority in the request target"},
	{"9112 3.2.3: CONNECT with user information",
	 SL_STR("CONNECT u@a:1 HTTP/1.1\r\n" HOST "\r\n"), 400, "CONNECT without host and port"},
	{"9112 3.2: half an escape in Host", SL_STR("GET / HTTP/1.1\r\nHost: a%6\r\n\r\n"), 400,
	 "invalid Host"},
	{"9112 3.2: Host above 127", SL_STR("GET / HTTP/1.1\r\nHost: a\xff\r\n\r\n"), 400,
	 "invalid Host"},
	{"9112 3.2: a signed port in Host", SL_STR("GET / HTTP/1.1\r\nHost: a:+1\r\n\r\n"), 400,
	 "invalid Host"},
	{"9112 3.2: an address with a zone",
	 SL_STR("GET / HTTP/1.1\r\nHost: [fe80::1%25a]\r\n\r\n"), 400, "invalid Host"},
	{"9112 3.2: an address without brackets", SL_STR("GET / HTTP/1.1\r\nHost: ::1\r\n\r\n"),
	 400, "invalid Host"},
	{"9112 3.2: a bad Host in 1.0", SL_STR("GET / HTTP/1.0\r\nHost: a/b\r\n\r\n"), 400,
	 "invalid Host"},
	{"9112 5.2: folded behind an empty value",
	 SL_STR(POST "Transfer-Encoding:\r\n chunked\r\n\r\n"), 400, "folded header line"},
	{"9110 5.1: name with a quote", SL_STR(GET "A\"b: c\r\n\r\n"), 400,
	 "invalid character in a header name"},
	{"9110 5.1: name with an at sign", SL_STR(GET "A@b: c\r\n\r\n"), 400,
	 "invalid character in a header name"},
	{"9110 5.1: space in a name", SL_STR(GET "A b: c\r\n\r\n"), 400,
	 "white space before the colon"},
	{"9112 6.1: chunked behind a comment",
	 SL_STR(POST "Transfer-Encoding: (a) chunked\r\n\r\n"), 400,
	 "Transfer-Encoding does not end in chunked"},
	{"9112 6.1: chunked above 127", SL_STR(POST "Transfer-Encoding: chunked\xa0\r\n\r\n"), 400,
	 "Transfer-Encoding does not end in chunked"},
	{"9112 6.1: a comma behind chunked", SL_STR(POST "Transfer-Encoding: chunked,\r\n\r\n"),
	 400, "empty Transfer-Encoding"},
	{"9112 6.1: both lengths, one of them malformed",
	 SL_STR(POST "Content-Length: x\r\nTransfer-Encoding: chunked\r\n\r\n"), 400,
	 "both Content-Length and Transfer-Encoding"},
	{"9112 6.3: a comma behind a length", SL_STR(POST "Content-Length: 5,\r\n\r\n"), 400,
	 "invalid Content-Length"},
	{"9110 8.6: a length in quotes", SL_STR(POST "Content-Length: \"5\"\r\n\r\n"), 400,
	 "invalid Content-Length"},
	{"9110 8.6: a digit that is no ASCII", SL_STR(POST "Content-Length: \xb2\r\n\r\n"), 400,
	 "invalid Content-Length"},
};

Test(h1_request, refuses_what_can_be_read_in_two_ways)
{
	for (size_t i = 0; i < N_OF(bad); i++) {
		_cleanup_(sl_arena_deinit) struct sl_arena a = SL_ARENA_INIT(4096);
		struct sl_h1_error err = {0};
		struct sl_request req;
		size_t used;

		cr_assert_eq(parse(&a, bad[i].in, &req, &used, &err), SL_H1_BAD, "%s", bad[i].name);
		cr_assert_str_eq(err.reason, bad[i].reason, "%s", bad[i].name);
		cr_assert_eq(err.status, bad[i].status, "%s: %u", bad[i].name, err.status);
		check_every_split(bad[i].name, bad[i].in);
	}
}

Test(h1_request, waits_for_the_empty_line)
{
	static const struct sl_str in = SL_STR("\r\n" GET "A: b\r\n\r\n");

	for (size_t n = 0; n < in.len; n++) {
		_cleanup_(sl_arena_deinit) struct sl_arena a = SL_ARENA_INIT(4096);
		struct sl_h1_error err;
		struct sl_request req;
		size_t used = 7;
		int r = parse(&a, (struct sl_str){in.ptr, n}, &req, &used, &err);

		cr_assert_eq(r, SL_H1_MORE, "%zu bytes: %d", n, r);
		cr_assert_eq(a.used_bytes, 0);
		cr_assert_eq(used, 7);
	}
}

Test(h1_request, leaves_what_is_behind_the_head)
{
	_cleanup_(sl_arena_deinit) struct sl_arena a = SL_ARENA_INIT(4096);
	static const struct sl_str in = SL_STR(GET "\r\nGET /2 HTTP/1.1\n\n\n");
	struct sl_h1_error err;
	struct sl_request req;
	size_t used;

	cr_assert_eq(parse(&a, in, &req, &used, &err), 0);
	cr_assert_eq(used, sizeof(GET "\r\n") - 1);
}

Test(h1_request, keeps_no_pointer_to_the_input)
{
	_cleanup_(sl_arena_deinit) struct sl_arena a = SL_ARENA_INIT(4096);
	_cleanup_(sl_buf_deinit) struct sl_buf b = SL_BUF_INIT(0);
	char in[] = "GET http://b/c?d HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\n"
		    "Upgrade: e\r\nTrailer: f\r\n\r\n";
	struct sl_h1_error err;
	struct sl_request req;
	size_t used;

	cr_assert_eq(parse(&a, sl_str_from(in), &req, &used, &err), 0);
	memset(in, 'x', sizeof(in));
	cr_assert_str_eq(show(&b, &req), "GET /c query=d at=b v11 keep upgrade=e trailer=f"
					 "|Host:b|Trailer:f");
}

/* A head that goes over one limit by what is put between two parts. */
static int parse_padded(const char *before, size_t n, const char *after, struct sl_h1_error *err)
{
	static const struct sl_h1_limits small = {
		.start_line_bytes = 64, .head_bytes = 256, .n_headers = 8};
	_cleanup_(sl_arena_deinit) struct sl_arena a = SL_ARENA_INIT(4096);
	_cleanup_(sl_buf_deinit) struct sl_buf in = SL_BUF_INIT(0);
	struct sl_h1_scan scan = {0};
	struct sl_request req;
	size_t used;

	cr_assert_eq(sl_buf_append(&in, before, strlen(before)), 0);
	for (size_t i = 0; i < n; i++)
		cr_assert_eq(sl_buf_append(&in, "x", 1), 0);
	cr_assert_eq(sl_buf_append(&in, after, strlen(after)), 0);
	return sl_h1_parse_request(&small, &scan, sl_buf_ptr(&in), sl_buf_len(&in), &a, &req, &used,
				   err);
}

Test(h1_request, has_a_limit_for_each_part)
{
	static const struct {
		const char *name, *before, *after;
		size_t fits; /* one more does not */
		uint16_t status;
	} cases[] = {
		{"request line", "GET /", " HTTP/1.1\r\n" HOST "\r\n", 64 - 16, 414},
		{"head", GET "A: ", "\r\n\r\n", 256 - sizeof(GET "A: \r\n\r\n") + 1, 431},
	};

	for (size_t i = 0; i < N_OF(cases); i++) {
		struct sl_h1_error err = {0};

		cr_assert_eq(parse_padded(cases[i].before, cases[i].fits, cases[i].after, &err), 0,
			     "%s", cases[i].name);
		cr_assert_eq(parse_padded(cases[i].before, cases[i].fits + 1, cases[i].after, &err),
			     SL_H1_BAD, "%s", cases[i].name);
		cr_assert_eq(err.status, cases[i].status, "%s: %u", cases[i].name, err.status);
		/* It does not wait for the end of what is too long already. */
		cr_assert_eq(parse_padded(cases[i].before, 300, "", &err), SL_H1_BAD);
		cr_assert_eq(err.status, cases[i].status, "%s: %u", cases[i].name, err.status);
	}
}

Test(h1_request, has_a_limit_for_the_number_of_fields)
{
	struct sl_h1_error err = {0};

	cr_assert_eq(parse_padded(GET "b:\r\nb:\r\nb:\r\nb:\r\nb:\r\nb:\r\n", 1, ":\r\n\r\n", &err),
		     0);
	cr_assert_eq(
		parse_padded(GET "b:\r\nb:\r\nb:\r\nb:\r\nb:\r\nb:\r\nb:\r\n", 1, ":\r\n", &err),
		SL_H1_BAD);
	cr_assert_eq(err.status, 431);
	cr_assert_str_eq(err.reason, "too many header lines");
}

Test(h1_request, has_a_limit_for_what_connection_names)
{
	_cleanup_(sl_arena_deinit) struct sl_arena a = SL_ARENA_INIT(4096);
	_cleanup_(sl_buf_deinit) struct sl_buf in = SL_BUF_INIT(0);
	struct sl_h1_error err = {0};
	struct sl_request req;
	size_t used;

	cr_assert_eq(sl_buf_printf(&in, GET "Connection: close"), 0);
	for (int i = 0; i < 33; i++)
		cr_assert_eq(sl_buf_printf(&in, ",x%d", i), 0);
	cr_assert_eq(sl_buf_printf(&in, "\r\n\r\n"), 0);
	cr_assert_eq(parse(&a, sl_buf_str(&in), &req, &used, &err), SL_H1_BAD);
	cr_assert_str_eq(err.reason, "Connection names too many fields");
}

Test(h1_request, goes_on_after_each_failed_allocation)
{
	static const struct sl_str in =
		SL_STR("GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: a\r\n"
		       "Upgrade: b\r\nTrailer: c\r\nTrailer: d\r\n\r\n");
	struct sl_h1_scan scan = {0};
	long n = 0;
	int r;

	do {
		/* The smallest block, so that every allocation of the parser needs one more. */
		_cleanup_(sl_arena_deinit) struct sl_arena a = SL_ARENA_INIT(1);
		struct sl_h1_error err;
		struct sl_request req;
		size_t used;

		cr_assert_not_null(sl_arena_alloc(&a, 1000));
		sl_alloc_fail_after(n++);
		r = sl_h1_parse_request(&limits, &scan, in.ptr, in.len, &a, &req, &used, &err);
		sl_alloc_fail_after(-1);
		cr_assert(r == 0 || r == -ENOMEM, "%d", r);
		cr_assert(r || used == in.len);
	} while (r);
	cr_assert_gt(n, 1);
}
