/* SPDX-License-Identifier: Apache-2.0 */
/* What is spoken on a connection, and bytes both ways. */
#include <errno.h>
#include "rig.h"

#define OK  "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
#define GET "GET / HTTP/1.1\r\nHost: cart\r\n\r\n"
#define TLS "\x16\x03\x01\x02\x00\x01"

enum { LARGE = 4 << 20, HUGE = 256 << 20, QUEUED_MAX = 1 << 20 };

static struct rig r;
static struct rig_peer client, server, other;
static struct rig_backend *cart; /* where tunnels lead; HTTP goes to the first backend */

static void set_up(void)
{
	client = server = other = RIG_PEER_INIT;
	rig_init(&r);
	cart = rig_add_backend(&r, "cart", false);
}

static void tear_down(void)
{
	rig_close(&client);
	rig_close(&server);
	rig_close(&other);
	rig_stop(&r);
}

TestSuite(tunnel, .init = set_up, .fini = tear_down);

/* ---- what is spoken ---- */

static const struct {
	const char *first, *rest; /* parts in which it comes */
	bool http;
} beginnings[] = {
	{GET, "", true},
	{"G", "ET / HTTP/1.1\r\nHost: cart\r\n\r\n", true},
	{"\r\nGET", " / HTTP/1.1\r\nHost: cart\r\n\r\n", true},
	{"BREW /x HTTP", "/1.1\r\nHost: cart\r\n\r\n", true},
	{TLS, "more", false},
	{"\x16", "\x03\x01\x02", false},
	{"SSH-2.0-x\r\n", "", false},
	{"GE", "RMANY\r\n", false},
	{"helo ", "example.org\r\n", false},
	{"\r\n", "hello\r\n", false},
};

Test(tunnel, the_first_bytes_tell_what_is_spoken)
{
	rig_start(&r);
	for (size_t i = 0; i < sizeof(beginnings) / sizeof(*beginnings); i++) {
		/* Nothing is remembered of the one before. */
		sl_detect_forget(r.proxy);
		r.proxy->silent = SL_MAP_INIT;
		rig_connect(&r, &client);
		rig_send(&r, &client, beginnings[i].first);
		rig_settle(&r);
		rig_send(&r, &client, beginnings[i].rest);
		rig_accept(&r, beginnings[i].http ? &r.backends[0] : cart, &server);
		if (beginnings[i].http) {
			rig_skip_to(&r, &server, "\r\n\r\n");
		} else {
			rig_expect(&r, &server, beginnings[i].first);
			rig_expect(&r, &server, beginnings[i].rest);
		}
		rig_reset(&client);
		rig_expect_conns(&r, 0);
		rig_close(&server);
		/* Dialled ahead and not needed. */
		while (rig_pending(&r, cart)) {
			rig_accept(&r, cart, &other);
			rig_close(&other);
		}
		rig_expect_idle(&r, 0);
	}
}

Test(tunnel, a_server_that_speaks_first_is_heard)
{
	rig_start(&r);
	rig_connect(&r, &client);
	rig_accept(&r, cart, &server);
	rig_send(&r, &server, "220 hello\r\n");
	rig_expect(&r, &client, "220 hello\r\n");
	rig_send(&r, &client, "GET / HTTP/1.1\r\nHost: cart\r\n\r\n"); /* its business */
	rig_expect(&r, &server, GET);
	cr_assert_eq(rig_counter(&r, SL_COUNTER_TUNNELS), 1);
}

Test(tunnel, a_server_that_closes_first_is_heard)
{
	rig_start(&r);
	rig_connect(&r, &client);
	rig_accept(&r, cart, &server);
	rig_shut(&server);
	rig_expect_eof(&r, &client);
	rig_shut(&client);
	rig_expect_eof(&r, &server);
	rig_expect_conns(&r, 0);
}

Test(tunnel, a_client_that_closes_first_is_heard)
{
	rig_start(&r);
	rig_connect(&r, &client);
	rig_shut(&client);
	rig_accept(&r, cart, &server);
	rig_expect_eof(&r, &server);
	rig_send(&r, &server, "bye");
	rig_expect(&r, &client, "bye");
	rig_shut(&server);
	rig_expect_eof(&r, &client);
	cr_assert_eq(rig_ended(&r, SL_END_COMPLETE), 1);
}

Test(tunnel, what_was_dialled_ahead_serves_the_request_that_follows)
{
	rig_start(&r);
	rig_configure(&r, "  - backendRefs: [{name: cart, port: 80}]\n");
	rig_connect(&r, &client);
	rig_accept(&r, cart, &server);
	rig_expect_silence(&r, &server);
	rig_send(&r, &client, GET);
	rig_expect(&r, &server, GET);
	rig_send(&r, &server, OK);
	rig_expect(&r, &client, OK);
	cr_assert_eq(rig_counter(&r, SL_COUNTER_CONNECTS_OK), 1);
	cr_assert_eq(rig_counter(&r, SL_COUNTER_TUNNELS), 0);
}

Test(tunnel, nothing_is_dialled_ahead_where_servers_are_known_to_wait)
{
	rig_start(&r);
	rig_connect(&r, &client);
	rig_send(&r, &client, GET);
	rig_accept(&r, &r.backends[0], &server);
	rig_send(&r, &server, OK);
	rig_expect(&r, &client, OK);
	rig_close(&client);
	rig_connect(&r, &client);
	cr_assert_not(rig_pending(&r, cart));
	rig_send(&r, &client, TLS);
	rig_accept(&r, cart, &other);
	rig_expect(&r, &other, TLS);
}

Test(tunnel, a_dial_ahead_that_hangs_or_fails_does_not_matter)
{
	for (int refuses = 0; refuses < 2; refuses++) {
		if (refuses)
			r.backends[1].fd = (close(r.backends[1].fd), -1);
		else
			rig_fill(&r, cart);
		rig_start(&r);
		rig_connect(&r, &client);
		rig_settle(&r);
		rig_send(&r, &client, GET);
		rig_accept(&r, &r.backends[0], &server);
		rig_expect(&r, &server, GET);
		rig_send(&r, &server, OK);
		rig_expect(&r, &client, OK);
		cr_assert_eq(rig_gauge(&r, SL_GAUGE_POOL_LEASED), 0);
		tear_down();
		set_up();
	}
	rig_start(&r);
}

Test(tunnel, a_declared_port_is_not_guessed)
{
	r.app_protocol = "http";
	rig_start(&r);
	rig_connect(&r, &client);
	cr_assert_not(rig_pending(&r, cart));
	rig_send(&r, &client, TLS);
	rig_send(&r, &client, "\r\n\r\n");
	rig_expect(&r, &client, "HTTP/1.1 400 Bad Request\r\n");
	cr_assert_not(rig_pending(&r, cart));
}

Test(tunnel, without_routes_for_the_client_all_is_bytes)
{
	r.is_host = true;
	r.cgroup_id = 5;
	r.more =
		"---\napiVersion: v1\nkind: Pod\nmetadata: {name: p, namespace: far, uid: u-1}\n"
		"spec: {nodeName: n, hostNetwork: true}\nstatus: {podIP: 10.0.0.9, phase: "
		"Running}\n"
		"---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\n"
		"metadata: {name: consumer, namespace: far}\n"
		"spec:\n  parentRefs: [{group: \"\", kind: Service, name: cart, namespace: shop}]\n"
		"  rules:\n  - backendRefs: [{name: v1, namespace: shop, port: 80}]\n";
	rig_start(&r);
	rig_configure(&r, "");
	rig_connect(&r, &client);
	rig_send(&r, &client, "GET / HTTP/1.1\r\nHost: cart\r\nConnection: x\r\n\r\n");
	rig_accept(&r, cart, &server);
	rig_expect(&r, &server, "GET / HTTP/1.1\r\nHost: cart\r\nConnection: x\r\n\r\n");
	/* The Pod has one. */
	r.pod_uid = "u-1";
	rig_close(&client);
	rig_connect(&r, &client);
	rig_send(&r, &client, GET);
	rig_accept(&r, &r.backends[0], &other);
	rig_expect(&r, &other, GET);
}

/* ---- endpoints ---- */

Test(tunnel, without_an_endpoint_the_client_is_reset)
{
	r.backends[1].service = "v1";
	rig_start(&r);
	rig_connect(&r, &client);
	rig_send(&r, &client, TLS);
	rig_expect_reset(&r, &client);
	cr_assert_eq(rig_ended(&r, SL_END_NO_ENDPOINT), 1);
}

Test(tunnel, an_endpoint_that_refuses_is_passed_over)
{
	(void)rig_add_backend(&r, "cart", true);
	rig_start(&r);
	for (int i = 0; i < 4; i++) {
		rig_connect(&r, &client);
		rig_send(&r, &client, TLS);
		rig_accept(&r, cart, &server);
		rig_expect(&r, &server, TLS);
		rig_close(&client);
		rig_close(&server);
	}
	cr_assert_gt(rig_counter(&r, SL_COUNTER_CONNECTS_REFUSED), 0);
}

Test(tunnel, an_endpoint_that_does_not_answer_is_passed_over)
{
	r.opts.connect_timeout_ns = 20 * SL_NS_PER_MS;
	rig_fill(&r, rig_add_backend(&r, "cart", false));
	rig_start(&r);
	for (int i = 0; i < 4; i++) {
		rig_connect(&r, &client);
		rig_send(&r, &client, TLS);
		rig_accept(&r, cart, &server);
		rig_expect(&r, &server, TLS);
		rig_pass(&r, 2 * r.opts.connect_timeout_ns);
		rig_expect_silence(&r, &client);
		rig_close(&client);
		rig_close(&server);
	}
	cr_assert_gt(rig_counter(&r, SL_COUNTER_CONNECTS_TIMEOUT), 0);
}

Test(tunnel, when_no_endpoint_can_be_reached_the_client_is_reset)
{
	r.opts.connect_timeout_ns = 20 * SL_NS_PER_MS;
	rig_fill(&r, cart);
	rig_start(&r);
	rig_connect(&r, &client);
	rig_send(&r, &client, TLS);
	rig_expect_reset(&r, &client);
	cr_assert_eq(rig_ended(&r, SL_END_CONNECT_FAILED), 1);
}

/* ---- bytes ---- */

static void open_tunnel(void)
{
	rig_start(&r);
	rig_connect(&r, &client);
	rig_send(&r, &client, TLS);
	rig_accept(&r, cart, &server);
	rig_expect(&r, &server, TLS);
}

static void transfer(struct rig_peer *from, struct rig_peer *to, size_t n)
{
	static char block[100003]; /* no multiple of any buffer */

	for (size_t i = 0; i < sizeof(block); i++)
		block[i] = (char)(i * 7 + i / 251);
	for (; n > sizeof(block); n -= sizeof(block)) {
		rig_send_bytes(&r, from, block, sizeof(block));
		rig_expect_bytes(&r, to, block, sizeof(block));
	}
}

Test(tunnel, many_bytes_go_both_ways)
{
	open_tunnel();
	transfer(&client, &server, LARGE);
	transfer(&server, &client, LARGE);
	rig_settle(&r);
	cr_assert_eq(rig_queued_bytes(&r), 0);
}

Test(tunnel, who_does_not_read_stops_the_other)
{
	open_tunnel();
	for (int i = 0; i < 2; i++) {
		struct rig_peer *from = i ? &server : &client, *to = i ? &client : &server;
		size_t sent;

		to->paused = true;
		sent = rig_flood(&r, from, HUGE);
		cr_assert_lt(rig_queued_bytes(&r), QUEUED_MAX);
		/* The other way is free. */
		rig_send(&r, to, "hello");
		rig_expect(&r, from, "hello");
		to->paused = false;
		rig_skip(&r, to, sent);
	}
}

Test(tunnel, each_side_may_close_before_the_other)
{
	for (int i = 0; i < 2; i++) {
		struct rig_peer *first = i ? &server : &client, *last = i ? &client : &server;

		open_tunnel();
		rig_send(&r, first, "last words");
		rig_shut(first);
		rig_expect(&r, last, "last words");
		rig_expect_eof(&r, last);
		transfer(last, first, LARGE);
		rig_shut(last);
		rig_expect_eof(&r, first);
		rig_expect_conns(&r, 0);
		cr_assert_eq(rig_ended(&r, SL_END_COMPLETE), 1);
		cr_assert_eq(rig_gauge(&r, SL_GAUGE_TUNNELS), 0);
		tear_down();
		set_up();
	}
	rig_start(&r);
}

Test(tunnel, a_reset_on_one_side_is_one_on_the_other)
{
	for (int i = 0; i < 2; i++) {
		struct rig_peer *first = i ? &server : &client, *last = i ? &client : &server;

		open_tunnel();
		rig_send(&r, first, "last words");
		rig_reset(first);
		rig_drain(&r, last);
		cr_assert_eq(last->error, ECONNRESET);
		rig_expect_conns(&r, 0);
		cr_assert_eq(rig_ended(&r, i ? SL_END_UPSTREAM_CLOSED : SL_END_CLIENT_CLOSED), 1);
		tear_down();
		set_up();
	}
	rig_start(&r);
}

Test(tunnel, a_reset_behind_a_half_close_is_one_on_the_other_side)
{
	open_tunnel();
	rig_shut(&server);
	rig_expect_eof(&r, &client);
	rig_close(&server);
	rig_send(&r, &client, "nobody reads this");
	rig_settle(&r);
	rig_send(&r, &client, "nor this");
	rig_expect_conns(&r, 0);
}

Test(tunnel, a_client_that_goes_while_nobody_reads_is_noticed)
{
	open_tunnel();
	server.paused = true;
	(void)rig_flood(&r, &client, HUGE);
	rig_reset(&client);
	rig_expect_conns(&r, 0);
	cr_assert_eq(rig_ended(&r, SL_END_CLIENT_CLOSED), 1);
}

Test(tunnel, a_client_that_goes_before_the_endpoint_is_reached_is_noticed)
{
	rig_fill(&r, cart);
	rig_start(&r);
	rig_connect(&r, &client);
	rig_send(&r, &client, TLS);
	rig_settle(&r);
	rig_reset(&client);
	rig_expect_conns(&r, 0);
}

/* ---- upgrades ---- */

#define UPGRADE \
	"GET /chat HTTP/1.1\r\nHost: cart\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
#define SWITCHING \
	"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"

static void ask_for_upgrade(const char *behind)
{
	rig_start(&r);
	rig_connect(&r, &client);
	rig_send(&r, &client, UPGRADE);
	if (*behind)
		rig_send(&r, &client, behind);
	rig_accept(&r, &r.backends[0], &server);
	rig_expect(&r, &server, UPGRADE);
}

Test(tunnel, an_upgrade_becomes_one)
{
	r.logging = true;
	ask_for_upgrade("");
	rig_send(&r, &server, SWITCHING "first frame");
	rig_expect(&r, &client, SWITCHING "first frame");
	transfer(&client, &server, LARGE);
	transfer(&server, &client, LARGE);
	rig_shut(&client);
	rig_expect_eof(&r, &server);
	rig_send(&r, &server, "bye");
	rig_shut(&server);
	rig_expect(&r, &client, "bye");
	rig_expect_eof(&r, &client);
	rig_expect_conns(&r, 0);
	cr_assert_eq(rig_ended(&r, SL_END_COMPLETE), 1);
	cr_assert_eq(rig_counter(&r, SL_COUNTER_TUNNELS), 1);
	cr_assert(strstr(rig_log(&r), "\"status\":101"), "%s", rig_log(&r));
	cr_assert(strstr(rig_log(&r), "\"endpoint\":\"127.0.0.1:"), "%s", rig_log(&r));
}

Test(tunnel, what_the_client_sends_ahead_of_an_upgrade_waits_for_it)
{
	ask_for_upgrade("early frame");
	rig_expect_silence(&r, &server);
	rig_send(&r, &server, SWITCHING);
	rig_expect(&r, &client, SWITCHING);
	rig_expect(&r, &server, "early frame");
}

Test(tunnel, an_upgrade_may_come_in_any_two_parts)
{
	static const char all[] = SWITCHING "first frame";

	rig_start(&r);
	for (size_t cut = 1; cut < sizeof(all) - 1; cut++) {
		rig_connect(&r, &client);
		rig_send(&r, &client, UPGRADE);
		rig_accept(&r, &r.backends[0], &server);
		rig_expect(&r, &server, UPGRADE);
		rig_send_bytes(&r, &server, all, cut);
		rig_settle(&r);
		rig_send(&r, &server, all + cut);
		rig_expect(&r, &client, SWITCHING "first frame");
		rig_reset(&client);
		rig_expect_reset(&r, &server);
		rig_close(&server);
	}
}

Test(tunnel, an_upgrade_that_is_refused_leaves_http)
{
	ask_for_upgrade("");
	rig_send(&r, &server, OK);
	rig_expect(&r, &client, OK);
	rig_send(&r, &client, GET);
	rig_expect(&r, &server, GET);
	rig_send(&r, &server, OK);
	rig_expect(&r, &client, OK);
	cr_assert_eq(rig_counter(&r, SL_COUNTER_TUNNELS), 0);
}

Test(tunnel, no_timeout_of_the_request_reaches_an_upgraded_connection)
{
	rig_start(&r);
	rig_configure(&r, "  - backendRefs: [{name: v1, port: 80}]\n"
			  "    timeouts: {request: 40ms, backendRequest: 30ms}\n");
	rig_connect(&r, &client);
	rig_send(&r, &client, UPGRADE);
	rig_accept(&r, &r.backends[0], &server);
	rig_expect(&r, &server, UPGRADE);
	rig_send(&r, &server, SWITCHING);
	rig_expect(&r, &client, SWITCHING);
	rig_pass(&r, 80 * SL_NS_PER_MS);
	rig_send(&r, &client, "ping");
	rig_expect(&r, &server, "ping");
	rig_send(&r, &server, "pong");
	rig_expect(&r, &client, "pong");
}

Test(tunnel, CONNECT_becomes_one)
{
	rig_start(&r);
	rig_connect(&r, &client);
	rig_send(&r, &client, "CONNECT far:443 HTTP/1.1\r\nHost: far:443\r\n\r\n");
	rig_accept(&r, &r.backends[0], &server);
	rig_expect(&r, &server, "CONNECT far:443 HTTP/1.1\r\nHost: far:443\r\n\r\n");
	rig_send(&r, &server, "HTTP/1.1 200 OK\r\n\r\nbytes");
	rig_expect(&r, &client, "HTTP/1.1 200 OK\r\n\r\nbytes");
	rig_send(&r, &client, TLS);
	rig_expect(&r, &server, TLS);
}
