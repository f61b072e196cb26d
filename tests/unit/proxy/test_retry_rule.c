/* SPDX-License-Identifier: Apache-2.0 */
/* What a rule's retry asks to be sent again. */
#include "rig.h"

#define OK     "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
#define FAILED "HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy"
#define GET    "GET / HTTP/1.1\r\nHost: cart\r\n\r\n"
#define POST   "POST / HTTP/1.1\r\nHost: cart\r\nContent-Length: 5\r\n\r\n"

#define RULE(...) "  - backendRefs: [{name: v1, port: 80}]\n    " __VA_ARGS__ "\n"

static struct rig r;
static struct rig_peer client, server, second;

static void set_up(void)
{
	client = server = second = RIG_PEER_INIT;
	rig_init(&r);
}

static void tear_down(void)
{
	rig_close(&client);
	rig_close(&server);
	rig_close(&second);
	rig_stop(&r);
}

TestSuite(retry_rule, .init = set_up, .fini = tear_down);

static void start(const char *rules)
{
	rig_start(&r);
	rig_configure(&r, rules);
	rig_connect(&r, &client);
}

/* ---- codes ---- */

static const struct {
	const char *retry;
	const char *status;
	unsigned n_failures; /* answers with that status before a good one */
	unsigned n_sent;     /* requests that the endpoint gets */
} codes[] = {
	{"{codes: [503], attempts: 3}", "503", 2, 3},
	{"{codes: [503], attempts: 3}", "503", 3, 4},
	{"{codes: [503], attempts: 3}", "503", 9, 4},
	{"{codes: [503]}", "503", 9, 2},
	{"{codes: [503], attempts: 0}", "503", 1, 1},
	{"{codes: [500, 502, 504], attempts: 3}", "503", 1, 1},
	{"{codes: [500, 502, 504], attempts: 1}", "500", 1, 2},
	{"{codes: [400, 599], attempts: 2}", "400", 2, 3},
	{"{codes: [400, 599], attempts: 2}", "599", 2, 3},
	{"{attempts: 3}", "503", 1, 1},
	{"{}", "503", 1, 1},
};

Test(retry_rule, answers_with_the_codes_are_asked_for_again)
{
	static const char *const methods[] = {"GET", "POST", "PATCH", "BREW"};

	for (size_t i = 0; i < sizeof(codes) / sizeof(*codes); i++) {
		const char *method = methods[i % 4];
		char rule[256], request[128], bad[128];
		unsigned n_sent = codes[i].n_sent;

		(void)snprintf(rule, sizeof(rule), RULE("retry: %s"), codes[i].retry);
		(void)snprintf(request, sizeof(request),
			       "%s / HTTP/1.1\r\nHost: cart\r\nContent-Length: 5\r\n\r\nhello",
			       method);
		(void)snprintf(bad, sizeof(bad), "HTTP/1.1 %s Bad\r\nContent-Length: 3\r\n\r\nbad",
			       codes[i].status);
		r.logging = true;
		start(rule);
		rig_send(&r, &client, request);
		for (unsigned n = 0; n < n_sent; n++) {
			/* The answer that nobody wanted was taken whole: one connection serves. */
			if (!n)
				rig_accept(&r, &r.backends[0], &server);
			rig_expect(&r, &server, request);
			rig_send(&r, &server, n < codes[i].n_failures ? bad : OK);
		}
		rig_expect(&r, &client, n_sent > codes[i].n_failures ? OK : bad);
		rig_expect_silence(&r, &server);
		cr_assert_eq(rig_counter(&r, SL_COUNTER_RETRIES_CODE), n_sent - 1, "%zu", i);
		cr_assert_eq(rig_ended(&r, SL_END_COMPLETE), 1);
		(void)snprintf(rule, sizeof(rule), "\"attempts\":%u,", n_sent);
		cr_assert(strstr(rig_log(&r), rule), "%s", rig_log(&r));
		tear_down();
		set_up();
	}
	rig_start(&r);
}

Test(retry_rule, each_try_goes_to_another_endpoint)
{
	struct rig_peer *at[] = {&server, &second};

	(void)rig_add_backend(&r, "v1", false);
	start(RULE("retry: {codes: [503], attempts: 5, backoff: 0s}"));
	rig_send(&r, &client, GET);
	rig_settle(&r);
	for (unsigned n = 0, first = rig_pending(&r, &r.backends[0]) ? 0 : 1; n < 5; n++) {
		unsigned i = (first + n) % 2;

		if (n < 2)
			rig_accept(&r, &r.backends[i], at[i]);
		rig_expect(&r, at[i], GET);
		rig_send(&r, at[i], FAILED);
	}
	rig_pass(&r, SL_NS_PER_MS);
	rig_reset(&client);
	rig_expect_conns(&r, 0);
}

Test(retry_rule, an_answer_that_goes_on_costs_its_connection)
{
	start(RULE("retry: {codes: [503]}"));
	rig_send(&r, &client, GET);
	rig_accept(&r, &r.backends[0], &server);
	rig_expect(&r, &server, GET);
	rig_send(&r, &server, "HTTP/1.1 503 Busy\r\nContent-Length: 400\r\n\r\nbu");
	rig_accept(&r, &r.backends[0], &second);
	rig_expect_reset(&r, &server);
	rig_expect(&r, &second, GET);
	rig_send(&r, &second, OK);
	rig_expect(&r, &client, OK);
}

/* ---- what must not be sent twice ---- */

Test(retry_rule, what_got_no_answer_is_not_sent_again)
{
	static const char *const requests[] = {GET, POST "hello"};

	for (size_t i = 0; i < 2; i++) {
		start(RULE("retry: {codes: [500, 502, 503, 504], attempts: 9}"));
		rig_send(&r, &client, requests[i]);
		rig_accept(&r, &r.backends[0], &server);
		rig_expect(&r, &server, requests[i]);
		rig_close(&server);
		rig_expect(&r, &client, "HTTP/1.1 502 Bad Gateway\r\n");
		cr_assert_not(rig_pending(&r, &r.backends[0]));
		tear_down();
		set_up();
	}
	rig_start(&r);
}

Test(retry_rule, an_answer_that_the_client_has_seen_stays)
{
	static const char early[] = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";

	start(RULE("retry: {codes: [503], attempts: 9}"));
	rig_send(&r, &client, GET);
	rig_accept(&r, &r.backends[0], &server);
	rig_expect(&r, &server, GET);
	rig_send(&r, &server, early);
	rig_expect(&r, &client, early);
	rig_send(&r, &server, FAILED);
	rig_expect(&r, &client, FAILED);
	cr_assert_not(rig_pending(&r, &r.backends[0]));
}

/* Who expects 100 may be told twice. */
Test(retry_rule, a_body_that_was_waited_for_is_sent_again)
{
	static const char head[] = "PUT / HTTP/1.1\r\nHost: cart\r\nExpect: 100-continue\r\n"
				   "Content-Length: 5\r\n\r\n";
	static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";

	start(RULE("retry: {codes: [503], attempts: 2}"));
	rig_send(&r, &client, head);
	rig_accept(&r, &r.backends[0], &server);
	rig_expect(&r, &server, head);
	rig_send(&r, &server, go_on);
	rig_expect(&r, &client, go_on);
	rig_send(&r, &client, "hello");
	rig_expect(&r, &server, "hello");
	rig_send(&r, &server, FAILED);
	rig_expect(&r, &server, head);
	rig_expect(&r, &server, "hello");
	rig_send(&r, &server, OK);
	rig_expect(&r, &client, OK);
}

Test(retry_rule, nothing_is_sent_twice_when_attempts_are_zero)
{
	/* Not even on a connection that had closed, but for what never left. */
	start(RULE("retry: {codes: [503], attempts: 0}"));
	rig_send(&r, &client, GET);
	rig_accept(&r, &r.backends[0], &server);
	rig_expect(&r, &server, GET);
	rig_send(&r, &server, OK);
	rig_expect(&r, &client, OK);
	rig_send(&r, &client, GET);
	rig_expect(&r, &server, GET);
	rig_close(&server);
	rig_expect(&r, &client, "HTTP/1.1 502 Bad Gateway\r\n");
	cr_assert_not(rig_pending(&r, &r.backends[0]));
}

/* ---- bodies ---- */

static void send_chunks(size_t size)
{
	char head[32];
	char *body = sl_malloc(size + 1);

	cr_assert_not_null(body);
	memset(body, 'x', size);
	body[size] = '\0';
	(void)snprintf(head, sizeof(head), "%zx\r\n", size);
	rig_send(&r, &client, head);
	rig_send(&r, &client, body);
	rig_send(&r, &client, "\r\n");
	free(body);
}

Test(retry_rule, a_body_is_kept_up_to_a_limit)
{
	static const char head[] =
		"POST / HTTP/1.1\r\nHost: cart\r\nTransfer-Encoding: chunked\r\n\r\n";

	for (size_t over = 0; over < 2; over++) {
		size_t n;

		start(RULE("retry: {codes: [503]}"));
		rig_send(&r, &client, head);
		rig_accept(&r, &r.backends[0], &server);
		rig_expect(&r, &server, head);
		send_chunks(65536 + over);
		rig_send(&r, &client, "0\r\nX-Trailer: 1\r\n\r\n");
		n = rig_skip_to(&r, &server, "X-Trailer: 1\r\n\r\n");
		cr_assert_gt(n, 65536);
		rig_send(&r, &server, FAILED);
		if (over) {
			rig_expect(&r, &client, FAILED);
		} else {
			rig_expect(&r, &server, head);
			cr_assert_gt(rig_skip_to(&r, &server, "X-Trailer: 1\r\n\r\n"), 65536);
			rig_send(&r, &server, OK);
			rig_expect(&r, &client, OK);
		}
		cr_assert_eq(rig_counter(&r, SL_COUNTER_RETRIES_CODE), !over);
		tear_down();
		set_up();
	}
	rig_start(&r);
}

Test(retry_rule, the_rest_of_a_body_goes_to_the_next_endpoint)
{
	start(RULE("retry: {codes: [503]}"));
	rig_send(&r, &client, POST "he");
	rig_accept(&r, &r.backends[0], &server);
	rig_expect(&r, &server, POST "he");
	rig_send(&r, &server, FAILED);
	/* It has not heard the end of the request: of no further use. */
	rig_accept(&r, &r.backends[0], &second);
	rig_expect(&r, &second, POST "he");
	rig_send(&r, &client, "llo");
	rig_expect(&r, &second, "llo");
	rig_send(&r, &second, OK);
	rig_expect(&r, &client, OK);
}

Test(retry_rule, a_kept_body_counts_as_memory)
{
	start(RULE("retry: {codes: [503]}"));
	rig_send(&r, &client, POST "hello");
	rig_accept(&r, &r.backends[0], &server);
	rig_expect(&r, &server, POST "hello");
	cr_assert_gt(r.proxy->buffered_bytes, 0);
	rig_send(&r, &server, OK);
	rig_expect(&r, &client, OK);
	rig_settle(&r);
	cr_assert_eq(r.proxy->buffered_bytes, 0);
}

/* ---- connections that cannot be made ---- */

Test(retry_rule, a_rule_says_how_many_endpoints_are_tried)
{
	for (unsigned n = 0; n < 5; n++) {
		char rule[128];

		(void)close(r.backends[0].fd);
		r.backends[0].fd = -1;
		(void)snprintf(rule, sizeof(rule), RULE("retry: {attempts: %u, backoff: 1ms}"), n);
		start(rule);
		rig_send(&r, &client, POST "hello");
		rig_expect(&r, &client, "HTTP/1.1 503 Service Unavailable\r\n");
		cr_assert_eq(rig_counter(&r, SL_COUNTER_CONNECTS_REFUSED), n + 1);
		cr_assert_eq(rig_counter(&r, SL_COUNTER_RETRIES_CONNECT), n);
		tear_down();
		set_up();
	}
	rig_start(&r);
}

/* ---- pauses ---- */

Test(retry_rule, a_pause_is_never_shorter_than_asked)
{
	for (int i = 0; i < 3; i++) {
		uint64_t before = sl_clock_now_ns();

		start(RULE("retry: {codes: [503], attempts: 2, backoff: 20ms}"));
		rig_send(&r, &client, GET);
		rig_accept(&r, &r.backends[0], &server);
		for (int n = 0; n < 2; n++) {
			rig_expect(&r, &server, GET);
			before = sl_clock_now_ns();
			rig_send(&r, &server, FAILED);
		}
		rig_expect(&r, &server, GET);
		cr_assert_geq(sl_clock_now_ns() - before, 20 * SL_NS_PER_MS);
		rig_send(&r, &server, OK);
		rig_expect(&r, &client, OK);
		tear_down();
		set_up();
	}
	rig_start(&r);
}

Test(retry_rule, a_client_that_goes_in_a_pause_is_noticed)
{
	start(RULE("retry: {codes: [503], attempts: 2, backoff: 1h}"));
	rig_send(&r, &client, GET);
	rig_accept(&r, &r.backends[0], &server);
	rig_expect(&r, &server, GET);
	rig_send(&r, &server, FAILED);
	rig_expect_idle(&r, 1);
	rig_reset(&client);
	rig_expect_conns(&r, 0);
	cr_assert_eq(rig_ended(&r, SL_END_CLIENT_CLOSED), 1);
}

/* ---- timeouts ---- */

Test(retry_rule, timeouts_request_bounds_tries_and_pauses)
{
	start(RULE("timeouts: {request: 30ms}\n"
		   "    retry: {codes: [503], attempts: 9, backoff: 1h}"));
	rig_send(&r, &client, GET);
	rig_accept(&r, &r.backends[0], &server);
	rig_expect(&r, &server, GET);
	rig_send(&r, &server, FAILED);
	rig_expect(&r, &client, "HTTP/1.1 504 Gateway Timeout\r\n");
	cr_assert_eq(rig_ended(&r, SL_END_REQUEST_TIMEOUT), 1);
}

static const struct {
	const char *retry;
	unsigned n_sent;
} late[] = {
	{"{codes: [504], attempts: 2, backoff: 0s}", 3},
	{"{codes: [503], attempts: 2, backoff: 0s}", 1},
	{"{attempts: 2, backoff: 0s}", 1},
};

Test(retry_rule, a_try_that_takes_too_long_is_made_again_when_504_is_named)
{
	for (size_t i = 0; i < sizeof(late) / sizeof(*late); i++) {
		char rule[256];

		(void)snprintf(rule, sizeof(rule),
			       RULE("timeouts: {request: 10s, backendRequest: 20ms}\n"
				    "    retry: %s"),
			       late[i].retry);
		start(rule);
		rig_send(&r, &client, POST "hello");
		for (unsigned n = 0; n < late[i].n_sent; n++) {
			rig_accept(&r, &r.backends[0], &server);
			rig_expect(&r, &server, POST "hello");
			rig_expect_reset(&r, &server);
			rig_close(&server);
		}
		rig_expect(&r, &client, "HTTP/1.1 504 Gateway Timeout\r\n");
		cr_assert_not(rig_pending(&r, &r.backends[0]));
		cr_assert_eq(rig_counter(&r, SL_COUNTER_RETRIES_TIMEOUT), late[i].n_sent - 1);
		cr_assert_eq(rig_ended(&r, SL_END_UPSTREAM_TIMEOUT), 1);
		tear_down();
		set_up();
	}
	rig_start(&r);
}

Test(retry_rule, each_try_has_the_whole_of_backend_request)
{
	start(RULE("timeouts: {backendRequest: 200ms}\n"
		   "    retry: {codes: [503], attempts: 2, backoff: 150ms}"));
	rig_send(&r, &client, GET);
	rig_accept(&r, &r.backends[0], &server);
	rig_expect(&r, &server, GET);
	rig_send(&r, &server, FAILED);
	rig_expect(&r, &server, GET);
	rig_pass(&r, 100 * SL_NS_PER_MS);
	rig_send(&r, &server, OK);
	rig_expect(&r, &client, OK);
}

Test(retry_rule, zero_seconds_are_no_timeout)
{
	start(RULE("timeouts: {request: 0s, backendRequest: 0s}\n    retry: {codes: [504]}"));
	rig_send(&r, &client, GET);
	rig_accept(&r, &r.backends[0], &server);
	rig_expect(&r, &server, GET);
	rig_pass(&r, 50 * SL_NS_PER_MS);
	rig_send(&r, &server, OK);
	rig_expect(&r, &client, OK);
}
