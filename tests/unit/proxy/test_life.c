/* SPDX-License-Identifier: Apache-2.0 */
/* Connections while snapshots, sources and the proxy itself come and go. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include "rig.h"

#define OK	 "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
#define GET	 "GET / HTTP/1.1\r\nHost: cart\r\n\r\n"
#define TLS	 "\x16\x03\x01\x02\x00\x01"
#define CLOSE_OK "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"

static struct rig r;
static struct rig_peer client, server, other;

static void set_up(void)
{
	client = server = other = RIG_PEER_INIT;
	rig_init(&r);
}

static void tear_down(void)
{
	rig_close(&client);
	rig_close(&server);
	rig_close(&other);
	rig_stop(&r);
}

TestSuite(life, .init = set_up, .fini = tear_down);

static void begin(const char *request)
{
	rig_connect(&r, &client);
	rig_send(&r, &client, request);
	rig_accept(&r, &r.backends[0], &server);
	rig_expect(&r, &server, request);
}

static void exchange_works(void)
{
	begin(GET);
	rig_send(&r, &server, OK);
	rig_expect(&r, &client, OK);
	rig_close(&client);
	rig_close(&server);
	rig_expect_conns(&r, 0);
	rig_expect_idle(&r, 0);
}

/* ---- descriptors ---- */

static void expect_no_delay(int fd, const char *what)
{
	socklen_t len = sizeof(int);
	int on = 0;

	cr_assert_eq(getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, &len), 0);
	cr_assert(on, "%s is delayed", what);
}

/* The one to the client has it from the listener: a fact of the kernel's. */
Test(life, no_connection_delays_what_is_sent)
{
	struct sl_conn *c;

	rig_start(&r);
	begin(GET);
	c = sl_container_of(sl_proxy_source(r.proxy, r.source->cookie)->conns.next, struct sl_conn,
			    node);
	expect_no_delay(c->watch.fd, "the client's connection");
	expect_no_delay(c->stream->attempt.up->pooled.watch.fd, "the endpoint's connection");
}

Test(life, many_that_come_at_once_are_all_accepted)
{
	static struct rig_peer many[100];

	rig_start(&r);
	for (int again = 0; again < 2; again++) {
		for (int i = 0; i < 100; i++)
			rig_connect(&r, &many[i]);
		rig_expect_conns(&r, 100);
		for (int i = 0; i < 100; i++)
			rig_close(&many[i]);
		rig_expect_conns(&r, 0);
	}
	while (rig_try_accept(&r.backends[0], &server))
		rig_close(&server);
}

Test(life, a_request_that_waits_for_its_answer_holds_no_queue)
{
	rig_start(&r);
	begin(GET);
	rig_settle(&r);
	cr_assert_eq(r.proxy->buffered_bytes, 0);
	rig_send(&r, &server, OK);
	rig_expect(&r, &client, OK);
	rig_settle(&r);
	cr_assert_eq(r.proxy->buffered_bytes, 0);
}

/* ---- the end ---- */

static const char *const last_requests[] = {
	"GET / HTTP/1.1\r\nHost: cart\r\nConnection: close\r\n\r\n",
	"GET / HTTP/1.0\r\nHost: cart\r\n\r\n",
};

Test(life, who_said_that_nothing_follows_is_not_waited_for)
{
	rig_start(&r);
	for (size_t i = 0; i < sizeof(last_requests) / sizeof(*last_requests); i++) {
		rig_connect(&r, &client);
		rig_send(&r, &client, last_requests[i]);
		if (!i)
			rig_accept(&r, &r.backends[0], &server);
		rig_expect(&r, &server, GET);
		rig_send(&r, &server, OK);
		rig_expect(&r, &client, CLOSE_OK);
		rig_expect_eof(&r, &client);
		rig_expect_conns(&r, 0);
		rig_close(&client);
	}
}

/* Closing with unread bytes would reset what is on its way. */
Test(life, who_speaks_on_all_the_same_gets_the_answer)
{
	static const char *const more = "GET /more HTTP/1.1\r\nHost: cart\r\n\r\n";

	rig_start(&r);
	for (size_t i = 0; i < sizeof(last_requests) / sizeof(*last_requests); i++) {
		rig_connect(&r, &client);
		rig_send(&r, &client, last_requests[i]);
		if (!i)
			rig_accept(&r, &r.backends[0], &server);
		rig_expect(&r, &server, GET);
		rig_send(&r, &client, more);
		rig_settle(&r);
		rig_send(&r, &server, OK);
		rig_expect(&r, &client, CLOSE_OK);
		rig_expect_eof(&r, &client);
		rig_expect_conns(&r, 1);
		rig_close(&client);
		rig_expect_conns(&r, 0);
	}
}

/* ---- snapshots ---- */

static const char old_rule[] =
	"  - backendRefs: [{name: v1, port: 80}]\n"
	"    filters:\n"
	"    - type: ResponseHeaderModifier\n"
	"      responseHeaderModifier: {set: [{name: X-Rule, value: old}]}\n";
static const char new_rule[] =
	"  - backendRefs: [{name: v1, port: 80}]\n"
	"    filters:\n"
	"    - type: ResponseHeaderModifier\n"
	"      responseHeaderModifier: {set: [{name: X-Rule, value: new}]}\n";

Test(life, a_request_keeps_the_rule_that_it_began_with)
{
	rig_start(&r);
	rig_configure(&r, old_rule);
	begin(GET);
	rig_configure(&r, new_rule);
	rig_configure(&r, new_rule);
	rig_send(&r, &server, OK);
	rig_expect(&r, &client, "HTTP/1.1 200 OK\r\nX-Rule: old\r\nContent-Length: 2\r\n\r\nok");
	rig_send(&r, &client, GET);
	rig_expect(&r, &server, GET);
	rig_send(&r, &server, OK);
	rig_expect(&r, &client, "HTTP/1.1 200 OK\r\nX-Rule: new\r\nContent-Length: 2\r\n\r\nok");
}

Test(life, connections_to_an_endpoint_go_with_it)
{
	rig_start(&r);
	begin(GET);
	rig_send(&r, &server, OK);
	rig_expect(&r, &client, OK);
	rig_expect_idle(&r, 1);
	r.backends[0].service = "gone";
	rig_configure(&r, NULL);
	rig_expect_eof(&r, &server);
	rig_expect_idle(&r, 0);
}

Test(life, a_connection_in_use_goes_with_its_endpoint_when_the_answer_is_there)
{
	rig_start(&r);
	begin(GET);
	(void)rig_add_backend(&r, "v1", false);
	r.backends[0].service = "gone";
	rig_configure(&r, NULL);
	rig_send(&r, &server, OK);
	rig_expect(&r, &client, OK);
	rig_expect_eof(&r, &server);
	rig_send(&r, &client, GET);
	rig_accept(&r, &r.backends[1], &other);
	rig_expect(&r, &other, GET);
}

Test(life, a_service_that_goes_ends_its_connections_at_the_next_request)
{
	rig_start(&r);
	begin(GET);
	sl_addr_parse(SL_STR("10.96.0.99:80"), &r.original);
	rig_send(&r, &server, OK);
	rig_expect(&r, &client, OK);
	/* A new connection to an address that is no Service's. */
	rig_connect(&r, &other);
	rig_expect_reset(&r, &other);
}

Test(life, without_a_snapshot_nobody_is_served)
{
	r.unconfigured = true;
	rig_start(&r);
	rig_connect(&r, &client);
	rig_expect_reset(&r, &client);
	cr_assert_eq(rig_counter(&r, SL_COUNTER_CONNS_REFUSED), 1);
	rig_close(&client);
	rig_configure(&r, NULL);
	exchange_works();
}

static void add_pod(void)
{
	r.more =
		"---\napiVersion: v1\nkind: Pod\nmetadata: {name: p, namespace: far, uid: u-1}\n"
		"spec: {nodeName: n}\nstatus: {podIP: 10.0.0.9, phase: Running}\n"
		"---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\n"
		"metadata: {name: consumer, namespace: far}\n"
		"spec:\n  parentRefs: [{group: \"\", kind: Service, name: cart, namespace: shop}]\n"
		"  rules:\n  - backendRefs: [{name: absent, namespace: shop, port: 80}]\n";
}

Test(life, a_client_is_known_by_the_addresses_of_its_namespace)
{
	r.logging = true;
	add_pod();
	rig_start(&r);
	begin(GET);
	rig_send(&r, &server, OK);
	rig_expect(&r, &client, OK);
	rig_move_source(&r, "10.0.0.9");
	/* Also on the connection that is open. */
	rig_send(&r, &client, GET);
	rig_expect(&r, &client, "HTTP/1.1 500 Internal Server Error\r\n");
	cr_assert(strstr(rig_log(&r), "\"route\":\"HTTPRoute/far/consumer\""), "%s", rig_log(&r));
	cr_assert(strstr(rig_log(&r), "far"), "%s", rig_log(&r));
}

/* ---- accepting ---- */

Test(life, who_was_not_steered_is_reset)
{
	rig_start(&r);
	r.original_error = -ENOENT;
	rig_connect(&r, &client);
	rig_expect_reset(&r, &client);
	cr_assert_eq(rig_counter(&r, SL_COUNTER_CONNS_NOT_STEERED), 1);
	rig_close(&client);
	r.original_error = 0;
	exchange_works();
}

Test(life, connections_over_the_limit_are_reset)
{
	r.opts.max_conns = 1;
	rig_start(&r);
	begin(GET);
	rig_connect(&r, &other);
	rig_expect_reset(&r, &other);
	cr_assert_eq(rig_counter(&r, SL_COUNTER_CONNS_REFUSED), 1);
	rig_close(&client);
	rig_close(&server);
	rig_expect_conns(&r, 0);
	exchange_works();
}

Test(life, while_buffers_hold_too_much_nothing_new_begins)
{
	r.opts.max_buffered_bytes = 40000;
	rig_start(&r);
	rig_connect(&r, &other);
	rig_expect_conns(&r, 1);
	begin("POST / HTTP/1.1\r\nHost: cart\r\nContent-Length: 268435456\r\n\r\n");
	server.paused = true;
	(void)rig_flood(&r, &client, 1 << 30);
	cr_assert_geq(r.proxy->buffered_bytes, r.opts.max_buffered_bytes);
	rig_send(&r, &other, GET);
	rig_expect(&r, &other, "HTTP/1.1 503 Service Unavailable\r\n");
	rig_skip_to(&r, &other, "(limit buffered-bytes=40000)\n");
	cr_assert_eq(rig_ended(&r, SL_END_LIMIT), 1);
	rig_close(&other);
	rig_connect(&r, &other);
	rig_expect_reset(&r, &other);
	rig_close(&client);
	rig_close(&server);
	rig_expect_conns(&r, 0);
	cr_assert_eq(r.proxy->buffered_bytes, 0);
	exchange_works();
}

static struct sl_proxy_accepted handed;

static bool take_over(void *arg, const struct sl_proxy_accepted *accepted, size_t n_own)
{
	(void)arg;
	handed = *accepted;
	return n_own >= 1;
}

Test(life, connections_go_to_another_worker_and_come_from_one)
{
	r.hand_over = take_over;
	rig_start(&r);
	rig_connect(&r, &other);
	rig_expect_conns(&r, 1);
	rig_connect(&r, &client);
	rig_settle(&r);
	cr_assert_eq(sl_proxy_n_conns(r.proxy), 1);
	cr_assert_eq(rig_counter(&r, SL_COUNTER_CONNS_HANDED_OVER), 1);
	/* The other worker would do this. */
	sl_proxy_adopt(r.proxy, &handed);
	cr_assert_eq(sl_proxy_n_conns(r.proxy), 2);
	rig_send(&r, &client, GET);
	rig_accept(&r, &r.backends[0], &server);
	rig_expect(&r, &server, GET);
	/* One whose namespace went meanwhile. */
	rig_close(&client);
	rig_connect(&r, &client);
	rig_settle(&r);
	handed.source = 1;
	sl_proxy_adopt(r.proxy, &handed);
	rig_expect_eof(&r, &client);
}

static void limit_descriptors(int n_free)
{
	struct rlimit lim;
	int fd, highest = 0;

	for (int i = 0; i < 256; i++)
		highest = fcntl(i, F_GETFD) >= 0 ? i : highest;
	do
		fd = dup(0); /* fills the holes */
	while (fd < highest);
	(void)close(fd);
	cr_assert_eq(getrlimit(RLIMIT_NOFILE, &lim), 0);
	lim.rlim_cur = (rlim_t)(fd + n_free);
	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &lim), 0);
}

static void lift_limit(void)
{
	struct rlimit lim;

	cr_assert_eq(getrlimit(RLIMIT_NOFILE, &lim), 0);
	lim.rlim_cur = lim.rlim_max;
	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &lim), 0);
}

Test(life, without_descriptors_a_connection_is_refused_at_once)
{
	rig_start(&r);
	rig_connect(&r, &client);
	rig_connect(&r, &other);
	limit_descriptors(0);
	rig_drain(&r, &client);
	rig_drain(&r, &other);
	cr_assert_eq(rig_counter(&r, SL_COUNTER_CONNS_REFUSED), 2);
	rig_close(&client);
	rig_close(&other);
	/* The spare descriptor is there again, and works again. */
	cr_assert_geq(r.proxy->spare_fd, 0);
	lift_limit();
	exchange_works();
}

Test(life, a_spare_descriptor_that_somebody_took_comes_back)
{
	rig_start(&r);
	rig_connect(&r, &client);
	(void)close(r.proxy->spare_fd);
	r.proxy->spare_fd = -1;
	limit_descriptors(0);
	rig_settle(&r);
	cr_assert_eq(sl_proxy_n_conns(r.proxy), 0);
	cr_assert_gt(rig_counter(&r, SL_COUNTER_CONNS_REFUSED), 0);
	lift_limit();
	rig_expect_conns(&r, 1);
	rig_close(&client);
	rig_expect_conns(&r, 0);
	cr_assert_geq(r.proxy->spare_fd, 0);
	while (rig_try_accept(&r.backends[0], &server)) /* dialled ahead, perhaps */
		rig_close(&server);
	exchange_works();
}

Test(life, without_a_descriptor_for_the_endpoint_the_client_gets_503)
{
	rig_start(&r);
	rig_connect(&r, &client);
	rig_send(&r, &client, GET);
	limit_descriptors(1);
	rig_expect(&r, &client, "HTTP/1.1 503 Service Unavailable\r\n");
	rig_skip_to(&r, &client, "\r\n\r\nsluice: out of resources\n");
	cr_assert_eq(rig_ended(&r, SL_END_INTERNAL), 1);
	lift_limit();
	rig_send(&r, &client, GET);
	rig_accept(&r, &r.backends[0], &server);
	rig_expect(&r, &server, GET);
}

/* ---- sources and the end ---- */

#define UPGRADE \
	"GET /chat HTTP/1.1\r\nHost: cart\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
#define SWITCHING \
	"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"

enum { FRESH, BEGUN, WAITING, RESPONDING, TUNNEL, CLOSING, IDLE, N_STATES };

static struct rig_peer clients[N_STATES], servers[N_STATES];

/* What each sends, what comes of it, and what the server says to that. */
static const struct {
	const char *request, *forwarded, *response, *answer;
} states[] = {
	[FRESH] = {"", "", "", ""},
	[BEGUN] = {"GET / HTTP/1.1\r\nHo", "", "", ""},
	[WAITING] = {GET, GET, "", ""},
	[RESPONDING] = {GET, GET, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no",
			"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no"},
	[TUNNEL] = {UPGRADE, UPGRADE, SWITCHING, SWITCHING},
	/* It goes on speaking though it gets no further answer. */
	[CLOSING] = {"GET / HTTP/1.0\r\nHost: cart\r\n\r\n+", GET, OK, CLOSE_OK},
	[IDLE] = {GET, GET, OK, OK},
};

/* A connection in each state. */
static void open_all(void)
{
	r.app_protocol = "http"; /* nothing is dialled ahead */
	rig_start(&r);
	for (int i = 0; i < N_STATES; i++) {
		servers[i] = RIG_PEER_INIT;
		rig_connect(&r, &clients[i]);
		rig_send(&r, &clients[i], states[i].request);
		if (*states[i].forwarded)
			rig_accept(&r, &r.backends[0], &servers[i]);
		rig_expect(&r, &servers[i], states[i].forwarded);
		rig_send(&r, &servers[i], states[i].response);
		rig_expect(&r, &clients[i], states[i].answer);
		if (i == CLOSING) {
			rig_expect_eof(&r, &clients[i]);
			rig_close(&servers[i]); /* the next one gets a fresh connection */
			rig_expect_idle(&r, 0);
		}
	}
	rig_expect_conns(&r, N_STATES);
}

static void close_all(void)
{
	for (int i = 0; i < N_STATES; i++) {
		rig_close(&clients[i]);
		rig_close(&servers[i]);
	}
}

Test(life, with_its_source_every_connection_goes)
{
	open_all();
	sl_proxy_remove_source(r.proxy, r.source->cookie);
	cr_assert_eq(sl_proxy_n_conns(r.proxy), 0);
	for (int i = 0; i < N_STATES; i++) {
		if (i != CLOSING)
			rig_expect_reset(&r, &clients[i]);
		if (servers[i].fd >= 0)
			rig_drain(&r, &servers[i]);
	}
	cr_assert_eq(rig_ended(&r, SL_END_SOURCE_GONE), 3, "waiting, responding, tunnel");
	cr_assert_eq(rig_gauge(&r, SL_GAUGE_POOL_LEASED), 0);
	cr_assert_eq(rig_gauge(&r, SL_GAUGE_POOL_IDLE), 0);
	cr_assert_eq(rig_gauge(&r, SL_GAUGE_REQUESTS), 0);
	close_all();
	/* It comes back. */
	rig_connect(&r, &client);
	rig_settle(&r);
	cr_assert_eq(sl_proxy_n_conns(r.proxy), 0, "nobody accepts");
	cr_assert_eq(sl_proxy_add_source(r.proxy, r.source, &r.listener, 1), 0);
	rig_expect_conns(&r, 1);
	rig_close(&client);
	rig_expect_conns(&r, 0);
	exchange_works();
	/* Twice is once. */
	sl_proxy_remove_source(r.proxy, r.source->cookie);
	sl_proxy_remove_source(r.proxy, r.source->cookie);
}

Test(life, a_source_may_go_in_any_round)
{
	rig_start(&r);
	for (int n = 0; n < 12; n++) {
		rig_connect(&r, &client);
		rig_send(&r, &client, n % 2 ? GET : TLS);
		for (int i = 0; i < n / 2; i++)
			rig_round(&r);
		sl_proxy_remove_source(r.proxy, r.source->cookie);
		rig_settle(&r);
		cr_assert_eq(sl_proxy_n_conns(r.proxy), 0);
		rig_close(&client);
		cr_assert_eq(sl_proxy_add_source(r.proxy, r.source, &r.listener, 1), 0);
		rig_expect_conns(&r, 0);
		while (rig_pending(&r, &r.backends[0])) {
			rig_accept(&r, &r.backends[0], &server);
			rig_close(&server);
		}
	}
}

Test(life, draining_lets_what_is_under_way_finish)
{
	r.opts.linger_timeout_ns = 20 * SL_NS_PER_MS;
	open_all();
	sl_proxy_drain(r.proxy);
	rig_expect_eof(&r, &clients[FRESH]);
	rig_expect_eof(&r, &clients[IDLE]);
	rig_send(&r, &servers[WAITING], OK);
	rig_expect(&r, &clients[WAITING], CLOSE_OK);
	rig_expect_eof(&r, &clients[WAITING]);
	rig_send(&r, &servers[RESPONDING], "k");
	rig_expect(&r, &clients[RESPONDING], "k");
	rig_expect_eof(&r, &clients[RESPONDING]);
	rig_send(&r, &clients[BEGUN], "st: cart\r\n\r\n");
	rig_expect(&r, &servers[IDLE], GET);
	rig_send(&r, &servers[IDLE], OK);
	rig_expect(&r, &clients[BEGUN], CLOSE_OK);
	rig_expect_eof(&r, &clients[BEGUN]);
	rig_expect_conns(&r, 1);
	rig_send(&r, &clients[TUNNEL], "ping");
	rig_expect(&r, &servers[TUNNEL], "ping");
	rig_shut(&clients[TUNNEL]);
	rig_expect_eof(&r, &servers[TUNNEL]);
	rig_shut(&servers[TUNNEL]);
	rig_expect_conns(&r, 0);
	/* Who comes late is served, until the end of accepting: what waits then is taken, nothing after it. */
	rig_connect(&r, &client);
	rig_expect_conns(&r, 1);
	rig_expect_eof(&r, &client);
	rig_close(&client);
	rig_expect_conns(&r, 0);
	rig_connect(&r, &client);
	sl_proxy_end_accepting(r.proxy);
	cr_assert_eq(sl_proxy_n_conns(r.proxy), 1);
	rig_expect_eof(&r, &client);
	rig_close(&client);
	rig_expect_conns(&r, 0);
	rig_connect(&r, &client);
	rig_settle(&r);
	cr_assert_eq(sl_proxy_n_conns(r.proxy), 0);
	/* Nor is anything kept for later. */
	cr_assert_eq(rig_gauge(&r, SL_GAUGE_POOL_LEASED), 0);
	close_all();
}

Test(life, draining_does_not_wait_for_a_client_that_says_nothing)
{
	r.opts.linger_timeout_ns = 20 * SL_NS_PER_MS;
	r.backends[0].service = "cart";
	rig_start(&r);
	rig_connect(&r, &client);
	rig_accept(&r, &r.backends[0], &server);
	sl_proxy_drain(r.proxy);
	rig_expect_eof(&r, &client);
	rig_expect_eof(&r, &server);
}

/* Accepted before or after: its request was on the way when the kernel was told to steer no more.
 */
Test(life, draining_serves_the_first_request_of_who_has_just_connected)
{
	r.app_protocol =
		"http"; /* one that waits for the server to speak is served too, see above */
	rig_start(&r);
	for (int settled = 0; settled < 2; settled++) {
		rig_connect(&r, &client);
		if (settled)
			rig_expect_conns(&r, 1);
		sl_proxy_drain(r.proxy);
		rig_settle(&r);
		rig_send(&r, &client, GET);
		rig_accept(&r, &r.backends[0], &server);
		rig_expect(&r, &server, GET);
		rig_send(&r, &server, OK);
		rig_expect(&r, &client, CLOSE_OK);
		rig_expect_eof(&r, &client);
		rig_close(&client);
		rig_close(&server);
		rig_stop(&r);
		rig_init(&r);
		r.app_protocol = "http";
		rig_start(&r);
	}
}

Test(life, a_proxy_may_end_with_connections_in_every_state)
{
	open_all();
	r.proxy = sl_proxy_free(r.proxy);
	cr_assert_eq(rig_ended(&r, SL_END_SHUTDOWN), 3, "waiting, responding, tunnel");
	cr_assert_eq(rig_gauge(&r, SL_GAUGE_CONNS), 0);
	rig_free(&r);
	for (int i = 0; i < N_STATES; i++)
		cr_assert(i == CLOSING || recv(clients[i].fd, (char[1]){0}, 1, 0) < 0);
	close_all();
	rig_init(&r);
	rig_start(&r);
}
