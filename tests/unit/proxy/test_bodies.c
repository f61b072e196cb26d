/* SPDX-License-Identifier: Apache-2.0 */
/* Bodies that are long, slow, early, cut or broken, and who learns of it. */
#include <errno.h>
#include "rig.h"

/* More than all buffers of the kernel hold; HUGE_POST and HUGE_OK announce it. */
enum { LARGE = 8 << 20, HUGE = 256 << 20, QUEUED_MAX = 1 << 20 };

#define OK	   "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
#define CLOSE_OK   "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"
#define GET	   "GET / HTTP/1.1\r\nHost: cart\r\n\r\n"
#define POST	   "POST / HTTP/1.1\r\nHost: cart\r\nContent-Length: 10\r\n\r\n"
#define CHUNKED	   "POST / HTTP/1.1\r\nHost: cart\r\nTransfer-Encoding: chunked\r\n\r\n"
#define LARGE_POST "POST / HTTP/1.1\r\nHost: cart\r\nContent-Length: 8388608\r\n\r\n" /* LARGE */
#define LARGE_OK   "HTTP/1.1 200 OK\r\nContent-Length: 8388608\r\n\r\n"
#define HUGE_POST  "POST / HTTP/1.1\r\nHost: cart\r\nContent-Length: 268435456\r\n\r\n"
#define HUGE_OK	   "HTTP/1.1 200 OK\r\nContent-Length: 268435456\r\n\r\n"

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

TestSuite(bodies, .init = set_up, .fini = tear_down);

/* A request that has come to the backend. */
static void begin(const char *request)
{
	rig_start(&r);
	rig_connect(&r, &client);
	rig_send(&r, &client, request);
	rig_accept(&r, &r.backends[0], &server);
	rig_expect(&r, &server, request);
}

/* Sends n bytes of a pattern in from while to reads them; checks each. */
static void transfer(struct rig_peer *from, struct rig_peer *to, size_t n)
{
	static char block[100003]; /* no multiple of any buffer */

	for (size_t i = 0; i < sizeof(block); i++)
		block[i] = (char)(i * 7 + i / 251);
	while (n) {
		size_t part = n < sizeof(block) ? n : sizeof(block);

		rig_send_bytes(&r, from, block, part);
		rig_expect_bytes(&r, to, block, part);
		n -= part;
	}
}

Test(bodies, long_bodies_arrive_both_ways)
{
	begin(LARGE_POST);
	transfer(&client, &server, LARGE);
	rig_send(&r, &server, LARGE_OK);
	rig_expect(&r, &client, LARGE_OK);
	transfer(&server, &client, LARGE);
	rig_expect_idle(&r, 1);
	cr_assert_eq(rig_ended(&r, SL_END_COMPLETE), 1);
	cr_assert_eq(rig_counter(&r, SL_COUNTER_BYTES_DOWNSTREAM_RECEIVED),
		     LARGE + strlen(LARGE_POST));
	cr_assert_eq(rig_counter(&r, SL_COUNTER_BYTES_UPSTREAM_RECEIVED), LARGE + strlen(LARGE_OK));
}

Test(bodies, a_server_that_stops_reading_stops_the_client)
{
	size_t sent;

	begin(HUGE_POST);
	for (int i = 0; i < 3; i++) {
		server.paused = true;
		sent = rig_flood(&r, &client, HUGE);
		cr_assert_lt(rig_queued_bytes(&r), QUEUED_MAX);
		server.paused = false;
		rig_skip(&r, &server, sent);
	}
}

Test(bodies, a_client_that_stops_reading_stops_the_server)
{
	size_t sent;

	begin(GET);
	rig_send(&r, &server, HUGE_OK);
	rig_expect(&r, &client, HUGE_OK);
	for (int i = 0; i < 3; i++) {
		client.paused = true;
		sent = rig_flood(&r, &server, HUGE);
		cr_assert_lt(rig_queued_bytes(&r), QUEUED_MAX);
		client.paused = false;
		rig_skip(&r, &client, sent);
	}
}

Test(bodies, an_idle_connection_holds_no_buffers)
{
	begin(LARGE_POST);
	transfer(&client, &server, LARGE);
	rig_send(&r, &server, OK);
	rig_expect(&r, &client, OK);
	rig_settle(&r);
	cr_assert_eq(rig_queued_bytes(&r), 0);
	cr_assert_eq(r.proxy->buffered_bytes, 0);
}

/* ---- 100-continue ---- */

#define EXPECTING \
	"POST / HTTP/1.1\r\nHost: cart\r\nExpect: 100-continue\r\nContent-Length: 10\r\n\r\n"

Test(bodies, the_server_asks_for_the_body_that_the_client_holds_back)
{
	begin(EXPECTING);
	rig_send(&r, &server, "HTTP/1.1 100 Continue\r\n\r\n");
	rig_expect(&r, &client, "HTTP/1.1 100 Continue\r\n\r\n");
	rig_send(&r, &client, "0123456789");
	rig_expect(&r, &server, "0123456789");
	rig_send(&r, &server, OK);
	rig_expect(&r, &client, OK);
	rig_expect_silence(&r, &client);
	rig_expect_idle(&r, 1);
}

Test(bodies, the_server_refuses_the_body_that_the_client_holds_back)
{
	static const char refusal[] =
		"HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n";

	begin(EXPECTING);
	rig_send(&r, &server, refusal);
	rig_expect(&r, &client, refusal);
	/* The body may follow or not: neither connection can carry another request. */
	rig_expect_eof(&r, &client);
	rig_expect_eof(&r, &server);
}

Test(bodies, an_endless_row_of_interim_answers_ends)
{
	begin(GET);
	for (int i = 0; i < 33; i++)
		rig_send(&r, &server, "HTTP/1.1 102 Processing\r\n\r\n");
	for (int i = 0; i < 32; i++)
		rig_expect(&r, &client, "HTTP/1.1 102 Processing\r\n\r\n");
	rig_expect(&r, &client, "HTTP/1.1 502 Bad Gateway\r\n");
	cr_assert_eq(rig_ended(&r, SL_END_UPSTREAM_INVALID), 1);
	rig_skip_to(&r, &client, "\r\n\r\nsluice: the endpoint's answer is not valid HTTP\n");
}

/* ---- early answers ---- */

#define TOO_LARGE "HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig"

Test(bodies, an_early_answer_arrives_while_the_body_is_on_its_way)
{
	begin(HUGE_POST);
	server.paused = true;
	(void)rig_flood(&r, &client, HUGE);
	rig_send(&r, &server, TOO_LARGE);
	rig_expect(&r, &client, TOO_LARGE);
	rig_expect_eof(&r, &client);
	cr_assert_eq(rig_ended(&r, SL_END_COMPLETE), 1);
}

Test(bodies, an_early_answer_arrives_also_from_a_server_that_closes_behind_it)
{
	begin(HUGE_POST);
	server.paused = true;
	(void)rig_flood(&r, &client, HUGE);
	rig_send(&r, &server, TOO_LARGE);
	rig_close(&server); /* with unread bytes: a reset */
	rig_expect(&r, &client, TOO_LARGE);
	rig_expect_eof(&r, &client);
}

Test(bodies, an_early_answer_that_a_reset_cuts_is_no_answer)
{
	/* The proxy is sending when the reset comes: send(2) takes the error, and recv(2) says EOF.
	 */
	begin(LARGE_POST);
	rig_send(&r, &server, "HTTP/1.1 200 OK\r\n\r\npart");
	rig_expect(&r, &client,
		   "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n");
	rig_send(&r, &client, "body");
	rig_reset(&server);
	rig_expect_reset(&r, &client);
	cr_assert_eq(rig_ended(&r, SL_END_UPSTREAM_CLOSED), 1);
}

Test(bodies, an_answer_and_a_body_overlap)
{
	static const char head[] = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n";

	begin(POST);
	rig_send(&r, &server, head);
	rig_expect(&r, &client, head);
	for (int i = 0; i < 10; i++) {
		rig_send(&r, &client, "x");
		rig_expect(&r, &server, "x");
		rig_send(&r, &server, "y");
		rig_expect(&r, &client, "y");
	}
	rig_expect_silence(&r, &client);
	rig_expect_idle(&r, 1);
}

/* ---- cut and broken answers ---- */

static const struct {
	const char *response;
	const char *answer; /* what comes before the cut */
	bool reset;	    /* the server resets, else it closes */
	enum sl_end_reason end;
} cut_answers[] = {
	{"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\npart",
	 "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\npart", false, SL_END_UPSTREAM_CLOSED},
	{"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\npart",
	 "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\npart", true, SL_END_UPSTREAM_CLOSED},
	{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n",
	 "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n", false,
	 SL_END_UPSTREAM_CLOSED},
	{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n0\r\n",
	 "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n", false,
	 SL_END_UPSTREAM_CLOSED},
	{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n0\r\nX: y",
	 "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n", false,
	 SL_END_UPSTREAM_CLOSED},
	{"HTTP/1.1 200 OK\r\n\r\npart",
	 "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n", true,
	 SL_END_UPSTREAM_CLOSED},
	{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\nz\r\n",
	 "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n", false,
	 SL_END_UPSTREAM_INVALID},
};

Test(bodies, an_answer_that_is_cut_cuts_the_client_too)
{
	rig_start(&r);
	for (size_t i = 0; i < sizeof(cut_answers) / sizeof(*cut_answers); i++) {
		uint64_t before = rig_ended(&r, cut_answers[i].end);

		rig_connect(&r, &client);
		rig_send(&r, &client, GET);
		rig_accept(&r, &r.backends[0], &server);
		rig_expect(&r, &server, GET);
		rig_send(&r, &server, cut_answers[i].response);
		if (cut_answers[i].end == SL_END_UPSTREAM_CLOSED)
			rig_expect(&r, &client, cut_answers[i].answer);
		if (cut_answers[i].reset)
			rig_reset(&server);
		else
			rig_shut(&server);
		rig_drain(&r, &client);
		cr_assert_eq(client.error, ECONNRESET, "%s: not cut", cut_answers[i].response);
		cr_assert_eq(rig_ended(&r, cut_answers[i].end), before + 1, "%s",
			     cut_answers[i].response);
		rig_close(&client);
		rig_close(&server);
	}
}

static const struct {
	const char *response;
	enum sl_end_reason end;
} no_answers[] = {
	{"", SL_END_UPSTREAM_CLOSED},
	{"HTTP/1.1 200 OK\r\nContent-Le", SL_END_UPSTREAM_CLOSED},
	{"HTTP/1.1 100 Continue\r\n\r\n", SL_END_UPSTREAM_CLOSED},
	{"SSH-2.0-x\r\n\r\n", SL_END_UPSTREAM_INVALID},
	{"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
	 SL_END_UPSTREAM_INVALID},
	{"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n",
	 SL_END_UPSTREAM_INVALID},
};

Test(bodies, what_is_no_answer_becomes_502)
{
	rig_start(&r);
	rig_connect(&r, &client);
	for (size_t i = 0; i < sizeof(no_answers) / sizeof(*no_answers); i++) {
		uint64_t before = rig_ended(&r, no_answers[i].end);

		rig_send(&r, &client, GET);
		rig_accept(&r, &r.backends[0], &server);
		rig_expect(&r, &server, GET);
		rig_send(&r, &server, no_answers[i].response);
		rig_shut(&server);
		/* The client's connection goes on. */
		rig_expect_for(&r, &client, "HTTP/1.1 502 Bad Gateway\r\n", no_answers[i].response);
		rig_skip_to(&r, &client, "\r\n\r\nsluice: the endpoint");
		rig_skip_to(&r, &client, "\n");
		cr_assert_eq(rig_ended(&r, no_answers[i].end), before + 1, "%s",
			     no_answers[i].response);
		rig_close(&server);
	}
}

/* ---- sections longer than what is usually read ahead ---- */

enum { SECTION = 300000 };

static void send_padding(struct rig_peer *p, size_t n)
{
	static char block[1000];

	memset(block, 'x', sizeof(block));
	for (; n; n -= sizeof(block))
		rig_send_bytes(&r, p, block, sizeof(block));
}

Test(bodies, a_head_of_an_answer_may_be_as_long_as_its_limit)
{
	r.opts.h1.head_bytes = 2 * SECTION;
	begin(GET);
	rig_send(&r, &server, "HTTP/1.1 200 OK\r\nX: ");
	send_padding(&server, SECTION);
	rig_send(&r, &server, "\r\nContent-Length: 2\r\n\r\nok");
	rig_expect(&r, &client, "HTTP/1.1 200 OK\r\nX: x");
	cr_assert_geq(rig_skip_to(&r, &client, "\r\nContent-Length: 2\r\n\r\nok"), SECTION);
}

/* Whatever the sizes of the reads: a buffer that held just the limit was never read on. */
Test(bodies, a_head_of_an_answer_ends_at_its_limit)
{
	r.opts.h1.head_bytes = SL_SOCK_HIGH_BYTES;
	begin(GET);
	rig_send(&r, &server, "HTTP/1.1 200 OK\r\nX: ");
	send_padding(&server, SECTION);
	rig_expect(&r, &client, "HTTP/1.1 502 Bad Gateway\r\n");
	rig_drain(&r, &server);
	rig_reset(&client);
}

Test(bodies, a_trailer_section_may_be_as_long_as_its_limit)
{
	r.opts.h1.trailer_bytes = 2 * SECTION;
	begin(CHUNKED);
	rig_send(&r, &client, "0\r\nX: ");
	send_padding(&client, SECTION);
	rig_send(&r, &client, "\r\n\r\n");
	rig_expect(&r, &server, "0\r\nX: x");
	cr_assert_geq(rig_skip_to(&r, &server, "\r\n\r\n"), SECTION - 1);
	rig_send(&r, &server, OK);
	rig_expect(&r, &client, OK);
}

/* ---- cut and broken requests ---- */

static const struct {
	const char *name, *head, *body;
	bool shut; /* behind the body */
} bad_bodies[] = {
	{"a chunk size that is none", CHUNKED, "4\r\npart\r\nz\r\n", false},
	{"no line end behind a chunk", CHUNKED, "4\r\npartX", false},
	{"cut in a body with a length", POST, "part", true},
	{"cut in a chunk", CHUNKED, "9\r\npart", true},
	{"cut between chunks", CHUNKED, "4\r\npart\r\n", true},
	{"cut in the last chunk", CHUNKED, "4\r\npart\r\n0\r\n", true},
	{"cut in the trailers", CHUNKED, "4\r\npart\r\n0\r\nX: y", true},
	{"broken trailers", CHUNKED, "4\r\npart\r\n0\r\nX y\r\n\r\n", false},
};

Test(bodies, a_request_that_is_cut_or_broken_never_ends_at_the_server)
{
	rig_start(&r);
	for (size_t i = 0; i < sizeof(bad_bodies) / sizeof(*bad_bodies); i++) {
		rig_connect(&r, &client);
		rig_send(&r, &client, bad_bodies[i].head);
		rig_accept(&r, &r.backends[0], &server);
		rig_expect_for(&r, &server, bad_bodies[i].head, bad_bodies[i].name);
		rig_send(&r, &client, bad_bodies[i].body);
		if (bad_bodies[i].shut)
			rig_shut(&client);
		rig_expect_for(&r, &client, "HTTP/1.1 400 Bad Request\r\n", bad_bodies[i].name);
		rig_skip_to(&r, &client, "Connection: close\r\n\r\n");
		rig_skip_to(&r, &client, "\n");
		rig_expect_eof(&r, &client);
		rig_drain(&r, &server);
		cr_assert_eq(server.error, ECONNRESET, "%s: not cut", bad_bodies[i].name);
		rig_close(&client);
		rig_close(&server);
	}
	cr_assert_eq(rig_ended(&r, SL_END_CLIENT_CLOSED) + rig_ended(&r, SL_END_CLIENT_INVALID),
		     sizeof(bad_bodies) / sizeof(*bad_bodies));
}

Test(bodies, a_cut_request_of_1_0_hears_that_the_connection_ends)
{
	rig_start(&r);
	rig_connect(&r, &client);
	rig_send(&r, &client,
		 "POST / HTTP/1.0\r\nHost: cart\r\nConnection: Keep-Alive, close\r\n"
		 "Content-Length: 10\r\n\r\npart");
	rig_accept(&r, &r.backends[0], &server);
	rig_expect(&r, &server, POST "part");
	rig_shut(&client);
	rig_expect(&r, &client, "HTTP/1.1 400 Bad Request\r\n");
	rig_skip_to(&r, &client, "Connection: close\r\n\r\n");
	rig_skip_to(&r, &client, "\n");
	rig_expect_eof(&r, &client);
}

/* ---- clients that go ---- */

Test(bodies, a_client_that_goes_while_it_waits_frees_the_server)
{
	begin(GET);
	rig_reset(&client);
	rig_expect_reset(&r, &server);
	rig_expect_conns(&r, 0);
	cr_assert_eq(rig_ended(&r, SL_END_CLIENT_CLOSED), 1);
}

Test(bodies, a_client_that_goes_in_the_middle_of_an_answer_frees_the_server)
{
	begin(GET);
	rig_send(&r, &server, HUGE_OK);
	rig_expect(&r, &client, HUGE_OK);
	client.paused = true;
	(void)rig_flood(&r, &server, HUGE);
	rig_reset(&client);
	rig_expect_reset(&r, &server);
	rig_expect_conns(&r, 0);
	cr_assert_eq(rig_ended(&r, SL_END_CLIENT_CLOSED), 1);
}

Test(bodies, a_client_that_goes_while_nobody_takes_its_body_is_noticed)
{
	begin(HUGE_POST);
	server.paused = true;
	(void)rig_flood(&r, &client, HUGE);
	rig_reset(&client);
	rig_expect_conns(&r, 0);
	cr_assert_eq(rig_ended(&r, SL_END_CLIENT_CLOSED), 1);
}

/* ---- the last answer of a connection ---- */

/* The one connection that there is. */
static const struct sl_conn *conn(void)
{
	const struct sl_proxy_source *src = sl_proxy_source(r.proxy, r.source->cookie);

	return sl_container_of(src->conns.next, struct sl_conn, node);
}

Test(bodies, a_slow_client_gets_all_of_a_last_answer)
{
	static const char head[] = "HTTP/1.1 200 OK\r\n\r\n", block[1000];
	size_t sent = strlen("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");

	r.opts.linger_timeout_ns = 20 * SL_NS_PER_MS;
	rig_start(&r);
	rig_connect(&r, &client);
	rig_send(&r, &client, "GET / HTTP/1.0\r\nHost: cart\r\n\r\n");
	rig_accept(&r, &r.backends[0], &server);
	rig_expect(&r, &server, GET);
	client.paused = true;
	rig_send(&r, &server, head);
	while (!sl_buf_len(&conn()->sock.out)) {
		rig_send_bytes(&r, &server, block, sizeof(block));
		sent += sizeof(block);
		rig_round(&r);
	}
	rig_shut(&server);
	/* The proxy has the whole answer, and a part of it still to send. */
	rig_pass(&r, 3 * r.opts.linger_timeout_ns);
	client.paused = false;
	rig_drain(&r, &client);
	cr_assert(client.eof);
	cr_assert_eq(client.n_taken, sent);
}

static void answer_early(void)
{
	begin(HUGE_POST);
	rig_send(&r, &server, TOO_LARGE);
	rig_expect(&r, &client, TOO_LARGE);
	rig_expect_eof(&r, &client);
}

Test(bodies, an_upload_behind_an_early_answer_is_read_for_as_long_as_it_goes_on)
{
	uint64_t before;

	answer_early();
	cr_assert_eq(conn()->state, SL_CONN_CLOSING);
	for (unsigned i = 0; i < 3; i++) {
		before = conn()->timer.deadline_ns;
		rig_pass(&r, 2 * SL_NS_PER_MS);
		cr_assert_eq(conn()->timer.deadline_ns, before, "silence is no reason to wait");
		rig_send(&r, &client, "more of the body");
		rig_settle(&r);
		cr_assert_gt(conn()->timer.deadline_ns, before);
		cr_assert_eq(sl_buf_len(&conn()->sock.in), 0);
	}
}

Test(bodies, an_upload_behind_an_early_answer_is_not_read_for_ever)
{
	uint64_t deadline = 0;

	r.opts.linger_timeout_ns = 20 * SL_NS_PER_MS;
	r.opts.idle_timeout_ns = 200 * SL_NS_PER_MS;
	answer_early();
	while (sl_proxy_n_conns(r.proxy) && rig_waiting(&r, &deadline))
		(void)send(client.fd, "+", 1, MSG_NOSIGNAL);
	rig_expect_conns(&r, 0);
}

Test(bodies, a_client_that_never_closes_is_left_behind_the_last_answer)
{
	r.opts.linger_timeout_ns = 20 * SL_NS_PER_MS;
	rig_start(&r);
	rig_connect(&r, &client);
	rig_send(&r, &client, "GET / HTTP/1.0\r\nHost: cart\r\n\r\n+");
	rig_accept(&r, &r.backends[0], &server);
	rig_expect(&r, &server, GET);
	rig_send(&r, &server, OK);
	rig_expect(&r, &client, CLOSE_OK);
	rig_expect_eof(&r, &client);
	rig_expect_conns(&r, 0);
}
