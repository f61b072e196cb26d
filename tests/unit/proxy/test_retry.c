/* SPDX-License-Identifier: Apache-2.0 */
/* What is tried again, and what must not be. */
#include <errno.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include "rig.h"

#define OK  "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
#define GET "GET / HTTP/1.1\r\nHost: cart\r\n\r\n"
#define PUT "PUT / HTTP/1.1\r\nHost: cart\r\nContent-Length: 5\r\n\r\n"

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

TestSuite(retry, .init = set_up, .fini = tear_down);

/* ---- connections that cannot be made ---- */

Test(retry, an_endpoint_that_refuses_is_passed_over)
{
	(void)rig_add_backend(&r, "v1", true);
	rig_start(&r);
	rig_connect(&r, &client);
	for (int i = 0; i < 6; i++) {
		/* The body is sent to whom the head is sent to. */
		rig_send(&r, &client, PUT "hello");
		if (!i)
			rig_accept(&r, &r.backends[0], &server);
		rig_expect(&r, &server, PUT "hello");
		rig_send(&r, &server, OK);
		rig_expect(&r, &client, OK);
	}
	cr_assert_gt(rig_counter(&r, SL_COUNTER_CONNECTS_REFUSED), 0);
	cr_assert_eq(rig_counter(&r, SL_COUNTER_RETRIES_CONNECT),
		     rig_counter(&r, SL_COUNTER_CONNECTS_REFUSED));
	cr_assert_eq(rig_ended(&r, SL_END_COMPLETE), 6);
}

Test(retry, an_endpoint_that_does_not_answer_is_passed_over)
{
	r.opts.connect_timeout_ns = 20 * SL_NS_PER_MS;
	rig_fill(&r, rig_add_backend(&r, "v1", false));
	rig_start(&r);
	rig_connect(&r, &client);
	for (int i = 0; i < 4; i++) {
		rig_send(&r, &client, GET);
		if (!i)
			rig_accept(&r, &r.backends[0], &server);
		rig_expect(&r, &server, GET);
		rig_send(&r, &server, OK);
		rig_expect(&r, &client, OK);
	}
	cr_assert_gt(rig_counter(&r, SL_COUNTER_CONNECTS_TIMEOUT), 0);
	cr_assert_eq(rig_counter(&r, SL_COUNTER_RETRIES_CONNECT),
		     rig_counter(&r, SL_COUNTER_CONNECTS_TIMEOUT));
	/* The timers of the connections that were made are off. */
	rig_pass(&r, 2 * r.opts.connect_timeout_ns);
	rig_expect_silence(&r, &client);
}

static const char failed[] = "no endpoint of the backend could be reached";

Test(retry, when_none_can_be_reached_the_client_gets_503)
{
	r.n_backends = 0;
	(void)close(r.backends[0].fd);
	for (int i = 0; i < RIG_MAX_BACKENDS; i++)
		(void)rig_add_backend(&r, "v1", true);
	rig_start(&r);
	rig_connect(&r, &client);
	rig_send(&r, &client, PUT "hello");
	rig_expect_own(&r, &client, "503 Service Unavailable", failed, false);
	cr_assert_eq(rig_counter(&r, SL_COUNTER_CONNECTS_REFUSED), 3, "not all are tried");
	cr_assert_eq(rig_ended(&r, SL_END_CONNECT_FAILED), 1);
	/* What was queued for them is nobody's. */
	r.n_backends = 1;
	(void)rig_add_backend(&r, "v1", false);
	r.backends[0].service = "cart";
	rig_configure(&r, NULL);
	rig_send(&r, &client, GET);
	rig_accept(&r, &r.backends[1], &server);
	rig_expect(&r, &server, GET);
}

Test(retry, the_only_endpoint_is_tried_once)
{
	r.opts.connect_timeout_ns = 20 * SL_NS_PER_MS;
	rig_fill(&r, &r.backends[0]);
	rig_start(&r);
	rig_connect(&r, &client);
	rig_send(&r, &client, GET);
	rig_expect_own(&r, &client, "503 Service Unavailable", failed, false);
	cr_assert_eq(rig_counter(&r, SL_COUNTER_CONNECTS_TIMEOUT), 1);
}

Test(retry, a_socket_that_cannot_be_marked_is_not_used)
{
	rig_start(&r);
	r.own_error = -EPERM;
	rig_connect(&r, &client);
	rig_send(&r, &client, GET);
	rig_expect_own(&r, &client, "503 Service Unavailable", failed, false);
	cr_assert_not(rig_pending(&r, &r.backends[0]));
	r.own_error = 0;
	rig_send(&r, &client, GET);
	rig_accept(&r, &r.backends[0], &server);
	rig_expect(&r, &server, GET);
}

/* ---- connections that were idle for too long ---- */

/* A connection that has served and is idle. */
static void warm_up(void)
{
	rig_start(&r);
	rig_connect(&r, &client);
	rig_send(&r, &client, GET);
	rig_accept(&r, &r.backends[0], &server);
	rig_expect(&r, &server, GET);
	rig_send(&r, &server, OK);
	rig_expect(&r, &client, OK);
	rig_expect_idle(&r, 1);
}

#define REQUEST(line) line " / HTTP/1.1\r\nHost: cart\r\n"

static const struct {
	const char *request;
	bool again;
} methods[] = {
	{REQUEST("GET") "\r\n", true},
	{REQUEST("HEAD") "\r\n", true},
	{REQUEST("OPTIONS") "\r\n", true},
	{REQUEST("DELETE") "\r\n", true},
	{REQUEST("PUT") "Content-Length: 0\r\n\r\n", true},
	{REQUEST("PUT") "Content-Length: 2\r\n\r\nok", false},
	{REQUEST("GET") "Content-Length: 2\r\n\r\nok", false},
	{REQUEST("POST") "Content-Length: 0\r\n\r\n", false},
	{REQUEST("POST") "Content-Length: 2\r\n\r\nok", false},
	{REQUEST("PATCH") "Content-Length: 0\r\n\r\n", false},
	{REQUEST("BREW") "\r\n", false},
	{REQUEST("PUT") "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", false},
};

Test(retry, a_request_that_met_a_close_is_sent_again_if_that_does_no_harm)
{
	for (size_t i = 0; i < sizeof(methods) / sizeof(*methods); i++) {
		for (int reset = 0; reset < 2; reset++) {
			warm_up();
			rig_send(&r, &client, methods[i].request);
			rig_expect(&r, &server, methods[i].request);
			if (reset)
				rig_reset(&server);
			else
				rig_close(&server);
			if (methods[i].again) {
				rig_accept(&r, &r.backends[0], &second);
				rig_expect(&r, &second, methods[i].request);
				rig_expect_silence(&r, &second);
			} else {
				rig_expect_own(
					&r, &client, "502 Bad Gateway",
					"the endpoint closed the connection before it answered",
					false);
				cr_assert_not(rig_pending(&r, &r.backends[0]), "%s",
					      methods[i].request);
			}
			cr_assert_eq(rig_counter(&r, SL_COUNTER_RETRIES_STALE), methods[i].again);
			tear_down();
			set_up();
		}
	}
	rig_start(&r);
}

Test(retry, a_connection_that_closed_in_time_is_not_used)
{
	warm_up();
	/* Both are there when the next round begins. */
	rig_send(&r, &client, REQUEST("POST") "Content-Length: 2\r\n\r\nok");
	rig_close(&server);
	rig_accept(&r, &r.backends[0], &second);
	rig_expect(&r, &second, REQUEST("POST") "Content-Length: 2\r\n\r\nok");
	rig_send(&r, &second, OK);
	rig_expect(&r, &client, OK);
	cr_assert_eq(rig_counter(&r, SL_COUNTER_RETRIES_STALE), 0);
}

static void close_server(struct sl_watch *w, uint32_t events)
{
	(void)events;
	sl_watch_remove(w);
	rig_close(&server);
}

/* The request came with the same call of epoll_wait(2) that the server closes behind. */
Test(retry, a_connection_that_closes_in_the_round_of_the_request_costs_nobody_an_answer)
{
	for (size_t i = 0; i < sizeof(methods) / sizeof(*methods); i++) {
		struct sl_watch bell = SL_WATCH_INIT;
		int fd = eventfd(1, EFD_CLOEXEC);

		warm_up();
		cr_assert_geq(fd, 0);
		rig_send(&r, &client, methods[i].request);
		cr_assert_eq(sl_watch_add(r.loop, &bell, fd, EPOLLIN, close_server), 0);
		rig_round(&r);
		cr_assert_eq(server.fd, -1, "the server did not close in that round");
		rig_accept(&r, &r.backends[0], &second);
		rig_expect(&r, &second, methods[i].request);
		rig_send(&r, &second, "HTTP/1.1 204 No Content\r\n\r\n");
		rig_expect(&r, &client, "HTTP/1.1 204 No Content\r\n\r\n");
		/* What must not be sent twice was not sent to the one that closed. */
		cr_assert_eq(rig_counter(&r, SL_COUNTER_RETRIES_STALE), methods[i].again);
		(void)close(fd);
		tear_down();
		set_up();
	}
	rig_start(&r);
}

Test(retry, nothing_is_sent_a_third_time)
{
	warm_up();
	rig_send(&r, &client, GET);
	rig_expect(&r, &server, GET);
	rig_close(&server);
	rig_accept(&r, &r.backends[0], &second);
	rig_expect(&r, &second, GET);
	rig_close(&second);
	rig_expect(&r, &client, "HTTP/1.1 502 Bad Gateway\r\n");
	cr_assert_not(rig_pending(&r, &r.backends[0]));
}

Test(retry, an_answer_that_has_begun_is_not_asked_for_again)
{
	static const char *const begun[] = {"H", "HTTP/1.1 100 Continue\r\n\r\n"};

	for (size_t i = 0; i < 2; i++) {
		warm_up();
		rig_send(&r, &client, GET);
		rig_expect(&r, &server, GET);
		rig_send(&r, &server, begun[i]);
		rig_shut(&server);
		rig_expect(&r, &client, "HTTP/1.1 502 Bad Gateway\r\n");
		cr_assert_not(rig_pending(&r, &r.backends[0]));
		tear_down();
		set_up();
	}
	rig_start(&r);
}

Test(retry, a_request_sent_again_may_find_the_endpoint_gone)
{
	warm_up();
	/* Another endpoint has come, and the one that served refuses by now. */
	(void)close(r.backends[0].fd);
	r.backends[0].fd = -1;
	(void)rig_add_backend(&r, "v1", false);
	rig_send(&r, &client, GET);
	rig_expect(&r, &server, GET);
	rig_configure(&r, NULL);
	rig_close(&server);
	rig_accept(&r, &r.backends[1], &second);
	rig_expect(&r, &second, GET);
	rig_send(&r, &second, OK);
	rig_expect(&r, &client, OK);
	cr_assert_eq(rig_counter(&r, SL_COUNTER_RETRIES_STALE), 1);
	cr_assert_eq(rig_counter(&r, SL_COUNTER_RETRIES_CONNECT), 1);
}

Test(retry, the_timeout_of_a_request_spans_its_tries)
{
	warm_up();
	rig_configure(&r, "  - backendRefs: [{name: v1, port: 80}]\n"
			  "    timeouts: {request: 50ms, backendRequest: 40ms}\n");
	rig_send(&r, &client, GET);
	rig_expect(&r, &server, GET);
	rig_close(&server);
	rig_accept(&r, &r.backends[0], &second);
	rig_expect(&r, &second, GET);
	rig_expect(&r, &client, "HTTP/1.1 504 Gateway Timeout\r\n");
	rig_expect_reset(&r, &second);
}
