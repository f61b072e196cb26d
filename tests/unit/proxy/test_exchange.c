/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests and their answers as bytes on both sides, however either was cut on its way. What the
 * parser and the writer make of a head is tested with them; here it is what the proxy does with it.
 */
#include "rig.h"

struct exchange {
	const char *name;
	const char *request, *forwarded; /* what the client sends, what the backend gets */
	const char *response, *answer;	 /* what the backend sends, what the client gets */
	/* Behind forwarded or answer follows a chunked body with that content. */
	const char *request_chunked, *request_trailers;
	const char *answer_chunked, *answer_trailers;
	bool server_closes; /* behind the response */
	bool client_closed; /* by the proxy, behind the answer */
	bool server_closed; /* by the proxy: not pooled */
};

#define OK	 "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
#define CLOSE_OK "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"
#define GET	 "GET /a?b=c HTTP/1.1\r\nHost: cart\r\n\r\n"
#define ANY_GET	 .request = GET, .forwarded = GET
#define ANY_OK	 .response = OK, .answer = OK

static const struct exchange exchanges[] = {
	{"plain", ANY_GET, ANY_OK},
	{"a body with a length", "POST / HTTP/1.1\r\nHost: cart\r\nContent-Length: 5\r\n\r\nhello",
	 "POST / HTTP/1.1\r\nHost: cart\r\nContent-Length: 5\r\n\r\nhello", ANY_OK},
	{"an empty body", "POST / HTTP/1.1\r\nHost: cart\r\nContent-Length: 0\r\n\r\n",
	 "POST / HTTP/1.1\r\nHost: cart\r\nContent-Length: 0\r\n\r\n", ANY_OK},
	{"a chunked body",
	 "PUT / HTTP/1.1\r\nHost: cart\r\nTransfer-Encoding: chunked\r\n\r\n"
	 "5;x=y\r\nhello\r\n1\r\n!\r\n0\r\n\r\n",
	 "PUT / HTTP/1.1\r\nHost: cart\r\nTransfer-Encoding: chunked\r\n\r\n", ANY_OK,
	 .request_chunked = "hello!", .request_trailers = ""},
	{"a chunked body with trailers",
	 "PUT / HTTP/1.1\r\nHost: cart\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n"
	 "5\r\nhello\r\n0\r\nX-Sum: 1\r\nContent-Length: 9\r\nY: 2\r\n\r\n",
	 "PUT / HTTP/1.1\r\nHost: cart\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n",
	 ANY_OK, .request_chunked = "hello", .request_trailers = "X-Sum: 1\r\nY: 2\r\n"},
	{"an empty chunked body",
	 "PUT / HTTP/1.1\r\nHost: cart\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	 "PUT / HTTP/1.1\r\nHost: cart\r\nTransfer-Encoding: chunked\r\n\r\n", ANY_OK,
	 .request_chunked = "", .request_trailers = ""},
	{"hop-by-hop fields stay here",
	 "GET / HTTP/1.1\r\nHost: cart\r\nConnection: x-hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\n\r\n",
	 "GET / HTTP/1.1\r\nHost: cart\r\n\r\n",
	 "HTTP/1.1 200 OK\r\nConnection: x-hop\r\nX-Hop: 1\r\nContent-Length: 2\r\n\r\nok",
	 "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"},
	{"the client closes", "GET / HTTP/1.1\r\nHost: cart\r\nConnection: close\r\n\r\n",
	 "GET / HTTP/1.1\r\nHost: cart\r\n\r\n", OK, CLOSE_OK, .client_closed = true},
	{"the server closes", ANY_GET,
	 "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", OK,
	 .server_closed = true},
	{"an empty line in front", "\r\n" GET, GET, ANY_OK},
	{"an absolute target", "GET http://cart/a?b=c HTTP/1.1\r\nHost: other\r\n\r\n", GET,
	 ANY_OK},

	{"1.0 without keep-alive", "GET / HTTP/1.0\r\nHost: cart\r\n\r\n",
	 "GET / HTTP/1.1\r\nHost: cart\r\n\r\n", OK, CLOSE_OK, .client_closed = true},
	{"1.0 with keep-alive", "GET / HTTP/1.0\r\nHost: cart\r\nConnection: keep-alive\r\n\r\n",
	 "GET / HTTP/1.1\r\nHost: cart\r\n\r\n", OK,
	 "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nok"},
	{"1.0 without Host", "GET / HTTP/1.0\r\n\r\n", "GET / HTTP/1.1\r\nHost: 10.96.0.1\r\n\r\n",
	 OK, CLOSE_OK, .client_closed = true},
	{"1.0 gets no chunks", "GET / HTTP/1.0\r\nHost: cart\r\nConnection: keep-alive\r\n\r\n",
	 "GET / HTTP/1.1\r\nHost: cart\r\n\r\n",
	 "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX: y\r\n\r\n",
	 "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nok", .client_closed = true},
	{"a 1.0 server", ANY_GET, "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", OK,
	 .server_closed = true},
	{"a 1.0 server that keeps the connection", ANY_GET,
	 "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok", OK},

	{"a chunked answer", ANY_GET,
	 "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n "
	 "world\r\n0\r\n\r\n",
	 "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", .answer_chunked = "hello world",
	 .answer_trailers = ""},
	{"a chunked answer with trailers", ANY_GET,
	 "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nA: 1\r\nB: "
	 "2\r\n\r\n",
	 "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", .answer_chunked = "hello",
	 .answer_trailers = "A: 1\r\nB: 2\r\n"},
	{"an answer that the close ends", ANY_GET, "HTTP/1.1 200 OK\r\n\r\nhello",
	 "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", .answer_chunked = "hello",
	 .answer_trailers = "", .server_closes = true, .server_closed = true},
	{"an empty answer that the close ends", ANY_GET, "HTTP/1.1 200 OK\r\n\r\n",
	 "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", .answer_chunked = "",
	 .answer_trailers = "", .server_closes = true, .server_closed = true},

	{"HEAD with a length", "HEAD / HTTP/1.1\r\nHost: cart\r\n\r\n",
	 "HEAD / HTTP/1.1\r\nHost: cart\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n",
	 "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n"},
	{"HEAD of chunks", "HEAD / HTTP/1.1\r\nHost: cart\r\n\r\n",
	 "HEAD / HTTP/1.1\r\nHost: cart\r\n\r\n",
	 "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n"},
	{"204", ANY_GET, "HTTP/1.1 204 No Content\r\n\r\n", "HTTP/1.1 204 No Content\r\n\r\n"},
	{"304", ANY_GET, "HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\nETag: x\r\n\r\n",
	 "HTTP/1.1 304 Not Modified\r\nETag: x\r\nContent-Length: 99\r\n\r\n"},

	{"an interim answer", ANY_GET,
	 "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: "
	 "2\r\n\r\nok",
	 "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: "
	 "2\r\n\r\nok"},
	{"a 100 that nobody asked for", ANY_GET, "HTTP/1.1 100 Continue\r\n\r\n" OK, OK},
	{"no interim answer to 1.0", "GET / HTTP/1.0\r\nHost: cart\r\n\r\n",
	 "GET / HTTP/1.1\r\nHost: cart\r\n\r\n", "HTTP/1.1 103 Early Hints\r\n\r\n" OK, CLOSE_OK,
	 .client_closed = true},
};

/* The first n bytes, then a pause, then the rest. */
static void send_cut(struct rig *r, struct rig_peer *p, const char *text, size_t n)
{
	rig_send_bytes(r, p, text, n);
	rig_settle(r);
	rig_send(r, p, text + n);
}

static void expect_message(struct rig *r, struct rig_peer *p, const struct exchange *e,
			   const char *head, const char *body, const char *trailers)
{
	rig_expect_for(r, p, head, e->name);
	if (body)
		rig_expect_chunked(r, p, body, trailers);
}

static void run(struct rig *r, const struct exchange *e, size_t cut_request, size_t cut_response)
{
	struct rig_peer client, server;

	rig_connect(r, &client);
	send_cut(r, &client, e->request, cut_request);
	rig_accept(r, &r->backends[0], &server);
	expect_message(r, &server, e, e->forwarded, e->request_chunked, e->request_trailers);
	send_cut(r, &server, e->response, cut_response);
	if (e->server_closes)
		rig_shut(&server);
	expect_message(r, &client, e, e->answer, e->answer_chunked, e->answer_trailers);
	if (e->client_closed)
		rig_expect_eof(r, &client);
	else
		rig_expect_silence(r, &client);
	if (e->server_closed)
		rig_expect_eof(r, &server);
	else
		rig_expect_silence(r, &server);
	rig_close(&client);
	rig_close(&server);
	rig_expect_conns(r, 0);
	rig_expect_idle(r, 0); /* the next one gets a fresh connection */
}

#define N_EXCHANGES (sizeof(exchanges) / sizeof(*exchanges))

Test(exchange, every_request_and_answer_arrives)
{
	struct rig r;

	for (size_t i = 0; i < N_EXCHANGES; i++) {
		rig_init(&r);
		rig_start(&r);
		run(&r, &exchanges[i], 0, 0);
		cr_assert_eq(rig_ended(&r, SL_END_COMPLETE), 1, "%s", exchanges[i].name);
		rig_stop(&r);
	}
}

Test(exchange, a_request_may_come_in_any_two_parts)
{
	struct rig r;

	rig_init(&r);
	rig_start(&r);
	for (size_t i = 0; i < N_EXCHANGES; i++) {
		for (size_t cut = 1; cut < strlen(exchanges[i].request); cut++)
			run(&r, &exchanges[i], cut, 0);
	}
	rig_stop(&r);
}

Test(exchange, an_answer_may_come_in_any_two_parts)
{
	struct rig r;

	rig_init(&r);
	rig_start(&r);
	for (size_t i = 0; i < N_EXCHANGES; i++) {
		for (size_t cut = 1; cut < strlen(exchanges[i].response); cut++)
			run(&r, &exchanges[i], 0, cut);
	}
	rig_stop(&r);
}

Test(exchange, both_may_come_byte_by_byte)
{
	struct rig_peer client, server;
	struct rig r;

	rig_init(&r);
	rig_start(&r);
	for (size_t i = 0; i < N_EXCHANGES; i++) {
		const struct exchange *e = &exchanges[i];

		rig_connect(&r, &client);
		for (const char *p = e->request; *p; p++) {
			rig_send_bytes(&r, &client, p, 1);
			rig_settle(&r);
		}
		rig_accept(&r, &r.backends[0], &server);
		expect_message(&r, &server, e, e->forwarded, e->request_chunked,
			       e->request_trailers);
		for (const char *p = e->response; *p; p++) {
			rig_send_bytes(&r, &server, p, 1);
			rig_settle(&r);
		}
		rig_shut(&server);
		expect_message(&r, &client, e, e->answer, e->answer_chunked, e->answer_trailers);
		rig_close(&client);
		rig_close(&server);
		rig_expect_conns(&r, 0);
		rig_expect_idle(&r, 0);
	}
	rig_stop(&r);
}

/* ---- one connection, several requests ---- */

Test(exchange, a_connection_carries_one_request_after_the_other)
{
	struct rig_peer client, server;
	struct rig r;

	rig_init(&r);
	rig_start(&r);
	rig_connect(&r, &client);
	for (int i = 0; i < 5; i++) {
		rig_send(&r, &client, GET);
		if (!i)
			rig_accept(&r, &r.backends[0], &server);
		rig_expect(&r, &server, GET);
		rig_send(&r, &server, OK);
		rig_expect(&r, &client, OK);
	}
	cr_assert_eq(rig_counter(&r, SL_COUNTER_POOL_REUSED), 4);
	cr_assert_eq(rig_counter(&r, SL_COUNTER_CONNECTS_OK), 1);
	cr_assert_eq(rig_ended(&r, SL_END_COMPLETE), 5);
	rig_close(&client);
	rig_close(&server);
	rig_stop(&r);
}

#define FIRST  "GET /1 HTTP/1.1\r\nHost: cart\r\n\r\n"
#define SECOND "POST /2 HTTP/1.1\r\nHost: cart\r\nContent-Length: 3\r\n\r\nabc"
#define THIRD  "GET /3 HTTP/1.1\r\nHost: cart\r\n\r\n"

Test(exchange, pipelined_requests_are_answered_in_order_and_one_at_a_time)
{
	struct rig_peer client, server;
	struct rig r;

	rig_init(&r);
	rig_start(&r);
	rig_connect(&r, &client);
	rig_send(&r, &client, FIRST SECOND THIRD);
	rig_accept(&r, &r.backends[0], &server);
	rig_expect(&r, &server, FIRST);
	rig_expect_silence(&r, &server);
	rig_send(&r, &server, OK);
	rig_expect(&r, &server, SECOND);
	rig_expect_silence(&r, &server);
	rig_send(&r, &server, OK);
	rig_expect(&r, &server, THIRD);
	rig_send(&r, &server, OK);
	rig_expect(&r, &client, OK OK OK);
	rig_close(&client);
	rig_close(&server);
	rig_stop(&r);
}

Test(exchange, pipelined_requests_are_cut_anywhere)
{
	static const char all[] = FIRST SECOND THIRD;
	struct rig r;

	rig_init(&r);
	rig_start(&r);
	for (size_t cut = 1; cut < sizeof(all) - 1; cut++) {
		struct rig_peer client, server;

		rig_connect(&r, &client);
		send_cut(&r, &client, all, cut);
		rig_accept(&r, &r.backends[0], &server);
		rig_expect(&r, &server, FIRST);
		rig_send(&r, &server, OK);
		rig_expect(&r, &server, SECOND);
		rig_send(&r, &server, OK);
		rig_expect(&r, &server, THIRD);
		rig_send(&r, &server, OK);
		rig_expect(&r, &client, OK OK OK);
		rig_close(&client);
		rig_close(&server);
		rig_expect_conns(&r, 0);
		rig_expect_idle(&r, 0);
	}
	rig_stop(&r);
}

Test(exchange, nothing_is_read_behind_a_request_that_closes)
{
	struct rig_peer client, server;
	struct rig r;

	rig_init(&r);
	rig_start(&r);
	rig_connect(&r, &client);
	rig_send(&r, &client, "GET /1 HTTP/1.1\r\nHost: cart\r\nConnection: close\r\n\r\n" THIRD);
	rig_accept(&r, &r.backends[0], &server);
	rig_expect(&r, &server, FIRST);
	rig_send(&r, &server, OK);
	rig_expect(&r, &client,
		   "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
	rig_expect_eof(&r, &client);
	rig_expect_silence(&r, &server);
	rig_close(&client);
	rig_close(&server);
	rig_stop(&r);
}

Test(exchange, a_client_that_half_closes_gets_its_answers)
{
	struct rig_peer client, server;
	struct rig r;

	rig_init(&r);
	rig_start(&r);
	rig_connect(&r, &client);
	rig_send(&r, &client, FIRST THIRD);
	rig_shut(&client);
	rig_accept(&r, &r.backends[0], &server);
	rig_expect(&r, &server, FIRST);
	rig_send(&r, &server, OK);
	rig_expect(&r, &server, THIRD);
	rig_send(&r, &server, OK);
	rig_expect(&r, &client, OK OK);
	rig_expect_eof(&r, &client);
	rig_close(&client);
	rig_close(&server);
	rig_stop(&r);
}

Test(exchange, bytes_behind_an_answer_are_nobodys_answer)
{
	struct rig_peer client, server, second;
	struct rig r;

	rig_init(&r);
	rig_start(&r);
	rig_connect(&r, &client);
	rig_send(&r, &client, FIRST);
	rig_accept(&r, &r.backends[0], &server);
	rig_expect(&r, &server, FIRST);
	rig_send(&r, &server, OK "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil");
	rig_expect(&r, &client, OK);
	rig_send(&r, &client, THIRD);
	rig_accept(&r, &r.backends[0], &second);
	rig_expect(&r, &second, THIRD);
	rig_send(&r, &second, OK);
	rig_expect(&r, &client, OK);
	rig_close(&client);
	rig_close(&server);
	rig_close(&second);
	rig_stop(&r);
}

Test(exchange, what_an_idle_server_says_is_nobodys_answer)
{
	struct rig_peer client, server, second;
	struct rig r;

	rig_init(&r);
	rig_start(&r);
	rig_connect(&r, &client);
	rig_send(&r, &client, FIRST);
	rig_accept(&r, &r.backends[0], &server);
	rig_expect(&r, &server, FIRST);
	rig_send(&r, &server, OK);
	rig_expect(&r, &client, OK);
	/* Both in one round: the pool has not heard of it when the request comes. */
	rig_send(&r, &server, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil");
	rig_send(&r, &client, THIRD);
	rig_accept(&r, &r.backends[0], &second);
	rig_expect(&r, &second, THIRD);
	rig_send(&r, &second, OK);
	rig_expect(&r, &client, OK);
	rig_close(&client);
	rig_close(&server);
	rig_close(&second);
	rig_stop(&r);
}
