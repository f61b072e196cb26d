/* SPDX-License-Identifier: Apache-2.0 */
/* Answers of the proxy's own, and the timeouts that lead to them. */
#include <errno.h>
#include "rig.h"

#define OK   "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
#define GET  "GET / HTTP/1.1\r\nHost: cart\r\n\r\n"
#define POST "POST / HTTP/1.1\r\nHost: cart\r\nContent-Length: 5\r\n\r\n"

static struct rig r;
static struct rig_peer client, server;

static void set_up(void)
{
	client = server = RIG_PEER_INIT;
	rig_init(&r);
}

static void tear_down(void)
{
	rig_close(&client);
	rig_close(&server);
	rig_stop(&r);
}

TestSuite(answers, .init = set_up, .fini = tear_down);

static void begin(const char *rules, const char *request)
{
	rig_start(&r);
	rig_configure(&r, rules);
	rig_connect(&r, &client);
	rig_send(&r, &client, request);
}

/* ---- by the rules ---- */

static const char only_x[] = "  - matches: [{path: {type: PathPrefix, value: /x}}]\n"
			     "    backendRefs: [{name: v1, port: 80}]\n";
static const char absent[] = "  - backendRefs: [{name: absent, port: 80}]\n";
static const char redirect[] = "  - filters:\n"
			       "    - type: RequestRedirect\n"
			       "      requestRedirect: {hostname: example.org, statusCode: 302}\n";

static const struct {
	const char *rules;
	const char *status, *sentence;
	enum sl_end_reason end;
} by_rules[] = {
	{only_x, "404 Not Found", "no rule of the attached routes matches this request",
	 SL_END_NO_ROUTE},
	{absent, "500 Internal Server Error", "the rule has no usable backend", SL_END_NO_BACKEND},
	{"  - backendRefs: [{name: cart, port: 80}]\n", "503 Service Unavailable",
	 "the backend has no ready endpoint", SL_END_NO_ENDPOINT},
	{"  - backendRefs: [{name: v1, port: 80, weight: 0}]\n", "500 Internal Server Error",
	 "the rule has no usable backend", SL_END_NO_BACKEND},
};

Test(answers, rules_without_a_backend_answer_and_keep_the_connection)
{
	rig_start(&r);
	rig_connect(&r, &client);
	for (size_t i = 0; i < sizeof(by_rules) / sizeof(*by_rules); i++) {
		uint64_t before = rig_ended(&r, by_rules[i].end);

		rig_configure(&r, by_rules[i].rules);
		rig_send(&r, &client, GET);
		rig_expect_own(&r, &client, by_rules[i].status, by_rules[i].sentence, false);
		cr_assert_eq(rig_ended(&r, by_rules[i].end), before + 1);
	}
	rig_configure(&r, NULL);
	rig_send(&r, &client, GET);
	rig_accept(&r, &r.backends[0], &server);
	rig_expect(&r, &server, GET);
}

Test(answers, a_filter_redirects)
{
	begin(redirect, "GET /a?b HTTP/1.1\r\nHost: cart\r\n\r\n");
	rig_expect(&r, &client,
		   "HTTP/1.1 302 Found\r\nLocation: http://example.org/a?b\r\n"
		   "Content-Length: 0\r\n\r\n");
	cr_assert_eq(rig_ended(&r, SL_END_ANSWERED), 1);
	rig_expect_silence(&r, &client);
}

Test(answers, response_filters_apply_to_a_redirect)
{
	static const char rules[] =
		"  - filters:\n"
		"    - type: ResponseHeaderModifier\n"
		"      responseHeaderModifier: {add: [{name: X-By, value: rule}]}\n"
		"    backendRefs:\n"
		"    - name: v1\n"
		"      port: 80\n"
		"      filters:\n"
		"      - type: RequestRedirect\n"
		"        requestRedirect: {hostname: example.org}\n"
		"      - type: ResponseHeaderModifier\n"
		"        responseHeaderModifier: {set: [{name: X-By, value: backend}]}\n";

	begin(rules, "GET /a HTTP/1.1\r\nHost: cart\r\n\r\n");
	rig_expect(&r, &client,
		   "HTTP/1.1 302 Found\r\nLocation: http://example.org/a\r\n"
		   "X-By: backend,rule\r\nContent-Length: 0\r\n\r\n");
	rig_expect_silence(&r, &client);
}

Test(answers, no_answer_to_HEAD_has_a_body)
{
	begin(only_x, "HEAD / HTTP/1.1\r\nHost: cart\r\n\r\n");
	rig_skip_to(&r, &client, "\r\n\r\n");
	rig_expect_silence(&r, &client);
	rig_send(&r, &client, "HEAD / HTTP/1.1\r\nHost: cart\r\nConnection: close\r\n\r\n");
	rig_skip_to(&r, &client, "\r\n\r\n");
	rig_expect_eof(&r, &client);
}

Test(answers, a_body_that_is_there_does_not_cost_the_connection)
{
	static const char *const requests[] = {
		POST "hello",
		("PUT / HTTP/1.1\r\nHost: cart\r\nTransfer-Encoding: chunked\r\n\r\n"
		 "5\r\nhello\r\n0\r\nX: y\r\n\r\n"),
		"GET / HTTP/1.1\r\nHost: cart\r\n\r\n",
	};

	begin(only_x, "");
	for (size_t i = 0; i < sizeof(requests) / sizeof(*requests); i++) {
		rig_send(&r, &client, requests[i]);
		rig_expect_own(&r, &client, by_rules[0].status, by_rules[0].sentence, false);
	}
	rig_expect_silence(&r, &client);
}

Test(answers, a_body_that_is_not_there_costs_the_connection)
{
	static const char block[65536];

	begin(only_x, "POST / HTTP/1.1\r\nHost: cart\r\nContent-Length: 10000000\r\n\r\n");
	rig_expect_own(&r, &client, by_rules[0].status, by_rules[0].sentence, true);
	/* It may still come: it is thrown away, and does not reset the answer. */
	for (int i = 0; i < 20; i++)
		rig_send_bytes(&r, &client, block, sizeof(block));
	rig_expect_eof(&r, &client);
	rig_shut(&client);
	rig_expect_conns(&r, 0);
}

Test(answers, nothing_behind_a_broken_body_is_a_request)
{
	begin(only_x, "PUT / HTTP/1.1\r\nHost: cart\r\nTransfer-Encoding: chunked\r\n\r\n"
		      "z\r\n" GET GET);
	rig_expect_own(&r, &client, by_rules[0].status, by_rules[0].sentence, true);
	rig_expect_eof(&r, &client);
}

/* ---- by the request ---- */

static const struct {
	const char *request, *status, *limit;
} bad_requests[] = {
	{"GET / HTTP/1.1\r\n\r\n", "400 Bad Request", NULL},
	{"GET / HTTP/1.1\r\nHost: cart\r\nHost: cart\r\n\r\n", "400 Bad Request", NULL},
	{"GET / HTTP/1.1\r\nHost: cart\r\nX : y\r\n\r\n", "400 Bad Request", NULL},
	{"GET  / HTTP/1.1\r\nHost: cart\r\n\r\n", "400 Bad Request", NULL},
	{"GET / HTTP/3.1\r\nHost: cart\r\n\r\n", "505 HTTP Version Not Supported", NULL},
	{"POST / HTTP/1.1\r\nHost: cart\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"
	 "0\r\n\r\n" GET,
	 "400 Bad Request", NULL},
};

Test(answers, a_malformed_request_ends_the_connection)
{
	rig_start(&r);
	for (size_t i = 0; i < sizeof(bad_requests) / sizeof(*bad_requests); i++) {
		char line[64];

		rig_connect(&r, &client);
		rig_send(&r, &client, bad_requests[i].request);
		(void)snprintf(line, sizeof(line), "HTTP/1.1 %s\r\n", bad_requests[i].status);
		rig_expect_for(&r, &client, line, bad_requests[i].request);
		rig_skip_to(&r, &client, "Connection: close\r\n\r\nsluice: ");
		rig_skip_to(&r, &client, "\n");
		rig_expect_eof(&r, &client);
		rig_close(&client);
	}
	cr_assert_eq(rig_ended(&r, SL_END_CLIENT_INVALID),
		     sizeof(bad_requests) / sizeof(*bad_requests));
	cr_assert_eq(rig_counter(&r, SL_COUNTER_POOL_MISSED), 0, "one was forwarded");
}

Test(answers, heads_over_a_limit_are_refused)
{
	char text[4096];

	r.opts.h1.start_line_bytes = 100;
	r.opts.h1.head_bytes = 1000;
	rig_start(&r);
	rig_connect(&r, &client);
	(void)snprintf(text, sizeof(text), "GET /%0*d HTTP/1.1\r\nHost: cart\r\n\r\n", 200, 1);
	rig_send(&r, &client, text);
	rig_skip_to(&r, &client, "HTTP/1.1 414 ");
	rig_skip_to(&r, &client, "(limit request-line-bytes=100)\n");
	rig_expect_eof(&r, &client);
	rig_close(&client);
	rig_connect(&r, &client);
	(void)snprintf(text, sizeof(text), "GET / HTTP/1.1\r\nHost: cart\r\nX: %0*d\r\n\r\n", 2000,
		       1);
	rig_send(&r, &client, text);
	rig_skip_to(&r, &client, "HTTP/1.1 431 ");
	rig_skip_to(&r, &client, "(limit header-bytes=1000)\n");
	rig_expect_eof(&r, &client);
}

/* ---- timeouts ---- */

static const char request_30ms[] = "  - backendRefs: [{name: v1, port: 80}]\n"
				   "    timeouts: {request: 30ms}\n";
static const char backend_30ms[] = "  - backendRefs: [{name: v1, port: 80}]\n"
				   "    timeouts: {backendRequest: 30ms}\n";

static const struct {
	const char *rules, *sentence;
	enum sl_end_reason end;
} timeouts[] = {
	{request_30ms, "no answer in time (timeouts.request)", SL_END_REQUEST_TIMEOUT},
	{backend_30ms, "the endpoint did not answer in time (timeouts.backendRequest)",
	 SL_END_UPSTREAM_TIMEOUT},
};

Test(answers, without_an_answer_in_time_the_client_gets_504)
{
	rig_start(&r);
	rig_connect(&r, &client);
	for (size_t i = 0; i < 2; i++) {
		rig_configure(&r, timeouts[i].rules);
		rig_send(&r, &client, GET);
		rig_accept(&r, &r.backends[0], &server);
		rig_expect(&r, &server, GET);
		rig_expect_own(&r, &client, "504 Gateway Timeout", timeouts[i].sentence, false);
		rig_expect_reset(&r, &server);
		cr_assert_eq(rig_ended(&r, timeouts[i].end), 1);
		rig_close(&server);
	}
}

Test(answers, a_slow_body_counts_as_waiting)
{
	begin(request_30ms, POST "hel");
	rig_accept(&r, &r.backends[0], &server);
	rig_expect(&r, &server, POST "hel");
	rig_expect_own(&r, &client, "504 Gateway Timeout", timeouts[0].sentence, true);
	rig_expect_eof(&r, &client);
	rig_expect_reset(&r, &server);
}

Test(answers, an_answer_that_takes_too_long_is_cut)
{
	static const char head[] = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel";

	rig_start(&r);
	for (size_t i = 0; i < 2; i++) {
		rig_configure(&r, timeouts[i].rules);
		rig_connect(&r, &client);
		rig_send(&r, &client, GET);
		rig_accept(&r, &r.backends[0], &server);
		rig_expect(&r, &server, GET);
		rig_send(&r, &server, head);
		rig_expect(&r, &client, head);
		rig_expect_reset(&r, &client);
		rig_expect_reset(&r, &server);
		cr_assert_eq(rig_ended(&r, timeouts[i].end), 1);
		rig_close(&client);
		rig_close(&server);
	}
}

Test(answers, a_timeout_ends_with_its_request)
{
	static const char rules[] = "  - backendRefs: [{name: v1, port: 80}]\n"
				    "    timeouts: {request: 40ms, backendRequest: 30ms}\n";

	begin(rules, "");
	for (int i = 0; i < 3; i++) {
		rig_send(&r, &client, GET);
		if (!i)
			rig_accept(&r, &r.backends[0], &server);
		rig_expect(&r, &server, GET);
		rig_send(&r, &server, OK);
		rig_expect(&r, &client, OK);
		rig_pass(&r, 30 * SL_NS_PER_MS);
	}
	rig_expect_silence(&r, &client);
	rig_expect_silence(&r, &server);
	cr_assert_eq(rig_ended(&r, SL_END_COMPLETE), 3);
}

Test(answers, a_timeout_counts_while_no_endpoint_can_be_reached)
{
	rig_fill(&r, &r.backends[0]);
	begin(request_30ms, GET);
	rig_expect_own(&r, &client, "504 Gateway Timeout", timeouts[0].sentence, false);
}

Test(answers, a_head_that_does_not_end_gets_408)
{
	r.opts.header_timeout_ns = 30 * SL_NS_PER_MS;
	begin(NULL, "GET / HTTP/1.1\r\nHost: ca");
	rig_expect(&r, &client, "HTTP/1.1 408 Request Timeout\r\n");
	rig_skip_to(&r, &client, "Connection: close\r\n\r\n");
	rig_skip_to(&r, &client, "(limit header-timeout=30)\n");
	rig_expect_eof(&r, &client);
	cr_assert_eq(rig_ended(&r, SL_END_CLIENT_TIMEOUT), 1);
}

Test(answers, what_may_still_become_a_request_gets_no_more_time)
{
	r.opts.header_timeout_ns = 30 * SL_NS_PER_MS;
	begin(NULL, "G"); /* the protocol is not declared */
	rig_settle(&r);
	rig_send(&r, &client, "E");
	rig_expect(&r, &client, "HTTP/1.1 408 Request Timeout\r\n");
	rig_skip_to(&r, &client, "(limit header-timeout=30)\n");
	rig_expect_eof(&r, &client);
}

Test(answers, the_time_for_a_head_begins_with_its_first_byte)
{
	r.opts.header_timeout_ns = 60 * SL_NS_PER_MS;
	r.app_protocol = "http";
	begin(NULL, "");
	rig_pass(&r, 2 * r.opts.header_timeout_ns);
	rig_send(&r, &client, "GET / HTTP/1.1\r\nHost: ");
	rig_settle(&r);
	rig_send(&r, &client, "cart\r\n\r\n");
	rig_accept(&r, &r.backends[0], &server);
	rig_expect(&r, &server, GET);
	/* And ends with its last. */
	rig_pass(&r, 2 * r.opts.header_timeout_ns);
	rig_send(&r, &server, OK);
	rig_expect(&r, &client, OK);
}

Test(answers, an_idle_connection_is_closed)
{
	r.opts.idle_timeout_ns = 30 * SL_NS_PER_MS;
	begin(NULL, GET);
	rig_accept(&r, &r.backends[0], &server);
	rig_expect(&r, &server, GET);
	rig_pass(&r, 2 * r.opts.idle_timeout_ns); /* it is not idle */
	rig_send(&r, &server, OK);
	rig_expect(&r, &client, OK);
	rig_expect_eof(&r, &client);
	rig_shut(&client);
	rig_expect_conns(&r, 0);
}

Test(answers, a_connection_that_says_nothing_is_closed)
{
	r.opts.idle_timeout_ns = 30 * SL_NS_PER_MS;
	begin(NULL, "");
	rig_expect_eof(&r, &client);
	rig_close(&client);
	r.app_protocol = "http";
	rig_configure(&r, NULL);
	rig_connect(&r, &client);
	rig_expect_eof(&r, &client);
}

/* ---- the log ---- */

Test(answers, each_request_is_one_line_of_the_log)
{
	const char *line;

	r.logging = true;
	begin(NULL, GET);
	rig_accept(&r, &r.backends[0], &server);
	rig_expect(&r, &server, GET);
	rig_send(&r, &server, OK);
	rig_expect(&r, &client, OK);
	line = rig_log(&r);
	cr_assert(strstr(line, "\"service\":\"shop/cart:80\""), "%s", line);
	cr_assert(strstr(line, "\"backend\":\"shop/v1:80\""), "%s", line);
	cr_assert(strstr(line, "\"route\":\"HTTPRoute/shop/route\""), "%s", line);
	cr_assert(strstr(line, "\"status\":200"), "%s", line);
	cr_assert(strstr(line, "\"end_reason\":\"complete\""), "%s", line);
	rig_send(&r, &client, "GET / HTTP/1.1\r\n\r\n");
	rig_skip_to(&r, &client, "\r\n\r\n");
	line = rig_log(&r);
	cr_assert(strstr(line, "\"status\":400"), "%s", line);
	cr_assert(strstr(line, "\"end_reason\":\"client_invalid\""), "%s", line);
}
