/* SPDX-License-Identifier: Apache-2.0 */
/* TCPRoute and TLSRoute: which backend a connection goes to, and what becomes of the others. */
#include <errno.h>
#include "rig.h"
#include "routes.h"

#define GET "GET / HTTP/1.1\r\nHost: cart\r\n\r\n"

enum { HELLO_MAX = 600 };

static struct rig r;
static struct rig_peer client, server, other;
static struct rig_backend *cart;
static char hello[HELLO_MAX];
static size_t hello_len;

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

TestSuite(connections, .init = set_up, .fini = tear_down);

static void start(const char *routes)
{
	rig_start(&r);
	r.more = routes;
	rig_configure(&r, "");
}

static void put(size_t number, unsigned bytes)
{
	while (bytes--)
		hello[hello_len++] = (char)(number >> bytes * 8);
}

/* The least that asks for a server by name; NULL: for none. */
static void make_hello(const char *name)
{
	size_t n = name ? strlen(name) : 0, extensions = name ? n + 9 : 0;
	size_t message = 2 + 32 + 1 + 2 + 2 + 2 + 2 + extensions;

	hello_len = 0;
	put(0x160301, 3);
	put(message + 4, 2);
	put(1, 1);
	put(message, 3);
	put(0x0303, 2);
	for (int i = 0; i < 32; i++)
		put(7, 1);
	put(0, 1);
	put(2, 2);
	put(0x1301, 2);
	put(1, 1);
	put(0, 1);
	put(extensions, 2);
	if (!name)
		return;
	put(0, 2);
	put(n + 5, 2);
	put(n + 3, 2);
	put(0, 1);
	put(n, 2);
	memcpy(hello + hello_len, name, n);
	hello_len += n;
}

static void send_hello(const char *name)
{
	make_hello(name);
	rig_send_bytes(&r, &client, hello, hello_len);
}

static void expect_alert(unsigned char description)
{
	const char alert[] = {0x15, 3, 3, 0, 2, 2, (char)description};

	rig_expect_bytes(&r, &client, alert, sizeof(alert));
	rig_expect_eof(&r, &client);
	rig_shut(&client);
	rig_expect_conns(&r, 0);
}

/* ---- TCPRoute ---- */

Test(connections, a_tcproute_takes_what_looks_like_anything)
{
	static const char *const texts[] = {GET, "\x16\x03\x01",
					    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"};

	r.logging = true;
	start(TCP_TO(V1));
	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		rig_connect(&r, &client);
		rig_accept(&r, &r.backends[0], &server);
		rig_send(&r, &client, texts[i]);
		rig_expect(&r, &server, texts[i]);
		rig_send(&r, &server, "answer");
		rig_expect(&r, &client, "answer");
		rig_close(&client);
		rig_expect_eof(&r, &server);
		rig_close(&server);
		rig_expect_conns(&r, 0);
		cr_expect(strstr(rig_log(&r), "\"route\":\"TCPRoute/shop/tcp\",\"rule\":\"0\","
					      "\"backend\":\"shop/v1:80\""),
			  "%s", rig_log(&r));
	}
	cr_expect(!rig_pending(&r, cart), "nothing is dialled ahead");
	cr_expect_eq(sl_metrics_route_requests(r.metrics, SL_STR("TCPRoute/shop/tcp")), 3);
}

Test(connections, a_tcproute_goes_where_http_is_declared_too)
{
	r.app_protocol = "http";
	start(TCP_TO(V1));
	rig_connect(&r, &client);
	rig_accept(&r, &r.backends[0], &server);
	rig_send(&r, &server, "first");
	rig_expect(&r, &client, "first");
}

Test(connections, another_endpoint_is_tried_when_one_refuses)
{
	(void)rig_add_backend(&r, "v1", true);
	start(TCP_TO(V1));
	for (int i = 0; i < 4; i++) {
		rig_connect(&r, &client);
		rig_accept(&r, &r.backends[0], &server);
		rig_close(&client);
		rig_close(&server);
		rig_expect_conns(&r, 0);
	}
	cr_expect_geq(rig_counter(&r, SL_COUNTER_CONNECTS_REFUSED), 1);
}

Test(connections, a_backend_that_cannot_be_used_is_a_reset)
{
	static const char *const backends[] = {
		TCP_TO("{name: nobody, port: 80}"), TCP_TO("{name: v1, port: 80, weight: 0}"),
		TCP_TO(""), TCP_TO("{name: v1, port: 81}"), TCP_TO("{name: b, kind: Bucket}")};

	for (size_t i = 0; i < sizeof(backends) / sizeof(*backends); i++) {
		if (!i)
			rig_start(&r);
		r.more = backends[i];
		rig_configure(&r, "");
		rig_connect(&r, &client);
		rig_expect_reset(&r, &client);
		rig_close(&client);
		rig_expect_conns(&r, 0);
		cr_expect_eq(rig_ended(&r, SL_END_NO_BACKEND), i + 1);
	}
}

Test(connections, a_tunnel_goes_on_when_its_route_goes)
{
	start(TCP_TO(V1));
	rig_connect(&r, &client);
	rig_accept(&r, &r.backends[0], &server);
	r.more = NULL;
	for (int i = 0; i < 3; i++)
		rig_configure(&r, "");
	rig_send(&r, &client, "still there");
	rig_expect(&r, &server, "still there");
}

/* ---- TLSRoute ---- */

Test(connections, a_tlsroute_takes_the_names_that_it_has)
{
	static const char *const names[] = {"a.example", "A.Example", "x.b.example"};

	r.logging = true;
	start(TLS_TO("a.example, '*.b.example'", V1));
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		rig_connect(&r, &client);
		send_hello(names[i]);
		rig_accept(&r, &r.backends[0], &server);
		rig_expect_bytes(&r, &server, hello, hello_len);
		rig_send(&r, &server, "hello too");
		rig_expect(&r, &client, "hello too");
		rig_close(&client);
		rig_expect_eof(&r, &server);
		rig_close(&server);
		rig_expect_conns(&r, 0);
		cr_expect(strstr(rig_log(&r), "\"protocol\":\"tls\""), "%s", rig_log(&r));
	}
}

Test(connections, other_names_and_none_are_told)
{
	static const char *const names[] = {"b.example", "x.a.example", NULL};

	start(TLS_TO("a.example, '*.b.example'", V1));
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		rig_connect(&r, &client);
		send_hello(names[i]);
		expect_alert(112);
		rig_close(&client);
		cr_expect_eq(rig_ended(&r, SL_END_NO_ROUTE), i + 1);
	}
}

Test(connections, a_route_without_usable_rule_refuses)
{
	start(TLS_TO("a.example", ""));
	rig_connect(&r, &client);
	send_hello("a.example");
	expect_alert(112);
	cr_expect_eq(rig_ended(&r, SL_END_NO_BACKEND), 1);
}

Test(connections, a_malformed_hello_is_told)
{
	start(TLS_TO("a.example", V1));
	rig_connect(&r, &client);
	make_hello("a.example");
	hello[5] = 2;
	rig_send_bytes(&r, &client, hello, hello_len);
	expect_alert(50);
	cr_expect_eq(rig_ended(&r, SL_END_CLIENT_INVALID), 1);
}

Test(connections, a_hello_may_come_in_pieces)
{
	start(TLS_TO("a.example", V1));
	rig_connect(&r, &client);
	make_hello("a.example");
	for (size_t i = 0; i < hello_len; i++) {
		rig_send_bytes(&r, &client, hello + i, 1);
		rig_round(&r);
	}
	rig_accept(&r, &r.backends[0], &server);
	rig_expect_bytes(&r, &server, hello, hello_len);
	cr_expect(!rig_pending(&r, cart));
}

/* What began as TLS becomes nothing else, though the Service's own endpoint was dialled. */
Test(connections, what_was_dialled_ahead_is_not_used)
{
	start(TLS_TO("a.example", V1));
	rig_connect(&r, &client);
	rig_accept(&r, cart, &other);
	make_hello("a.example");
	rig_send_bytes(&r, &client, hello, 20);
	rig_expect_eof(&r, &other);
	rig_send_bytes(&r, &client, hello + 20, hello_len - 20);
	rig_accept(&r, &r.backends[0], &server);
	rig_expect_bytes(&r, &server, hello, hello_len);
}

Test(connections, an_unfinished_hello_is_given_up)
{
	r.opts.header_timeout_ns = 20 * SL_NS_PER_MS;
	start(TLS_TO("a.example", V1));
	rig_connect(&r, &client);
	make_hello("a.example");
	rig_send_bytes(&r, &client, hello, 20);
	rig_expect_reset(&r, &client);
	cr_expect_eq(rig_ended(&r, SL_END_CLIENT_TIMEOUT), 1);
}

Test(connections, a_client_that_goes_amid_its_hello_is_let_go)
{
	start(TLS_TO("a.example", V1));
	rig_connect(&r, &client);
	make_hello("a.example");
	rig_send_bytes(&r, &client, hello, 20);
	rig_shut(&client);
	rig_expect_conns(&r, 0);
	cr_expect(!rig_pending(&r, &r.backends[0]));
	cr_expect_eq(rig_ended(&r, SL_END_CLIENT_CLOSED), 1);
}

Test(connections, what_is_not_tls_goes_to_the_service_itself)
{
	static const char *const texts[] = {GET, "a", "\x16\x02", "SSH-2.0-x\r\n"};

	start(TLS_TO("a.example", V1));
	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		rig_connect(&r, &client);
		rig_send(&r, &client, texts[i]);
		rig_accept(&r, cart, &server);
		rig_expect(&r, &server, texts[i]);
		rig_close(&client);
		rig_expect_eof(&r, &server);
		rig_close(&server);
		rig_expect_conns(&r, 0);
	}
}

Test(connections, a_server_that_speaks_first_is_heard_where_names_are_routed)
{
	start(TLS_TO("a.example", V1));
	rig_connect(&r, &client);
	rig_accept(&r, cart, &server);
	rig_send(&r, &server, "220 hello\r\n");
	rig_expect(&r, &client, "220 hello\r\n");
}
