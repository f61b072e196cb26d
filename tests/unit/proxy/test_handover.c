/* SPDX-License-Identifier: Apache-2.0 */
/* Connections that are given away, taken back, and taken. One proxy plays both processes. */
#include <errno.h>
#include <fcntl.h>
#include "proxy/handover.h"
#include "rig.h"
#include "routes.h"

#define OK  "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
#define GET "GET / HTTP/1.1\r\nHost: cart\r\n\r\n"
#define TLS "\x16\x03\x01\x02\x00\x01"
#define UPGRADE \
	"GET /chat HTTP/1.1\r\nHost: cart\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
#define SWITCH \
	"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"

enum { MAX_GIVEN = 16, FIRST_ID = 1000 };

static struct rig r;
static struct rig_peer client, server, other, far;
static struct rig_backend *cart;

/* What was given, with text and descriptors of its own: as it would arrive. */
static struct sl_handed given[MAX_GIVEN];
static unsigned n_given;
static bool refuses;

static struct sl_str own(struct sl_str s)
{
	char *copy = malloc(s.len + 1);

	cr_assert_not_null(copy);
	if (s.len)
		memcpy(copy, s.ptr, s.len);
	return (struct sl_str){copy, s.len};
}

static struct sl_str *const *texts_of(struct sl_handed *h)
{
	static struct sl_str *texts[12];
	struct sl_str **t = texts;

	*t++ = &h->down.in;
	*t++ = &h->down.out;
	*t++ = &h->up.in;
	*t++ = &h->up.out;
	*t++ = &h->request.method;
	*t++ = &h->request.authority;
	*t++ = &h->request.path;
	*t++ = &h->request.user_agent;
	*t++ = &h->request.route;
	*t++ = &h->request.rule;
	*t++ = &h->request.backend;
	*t = NULL;
	return texts;
}

static int give(void *arg, const struct sl_handed *h)
{
	struct sl_handed *copy = &given[n_given];

	if (refuses)
		return -ENOMEM;
	cr_assert_lt(n_given, MAX_GIVEN);
	*copy = *h;
	for (struct sl_str *const *t = texts_of(copy); *t; t++)
		**t = own(**t);
	if (h->down.fd >= 0)
		copy->down.fd = fcntl(h->down.fd, F_DUPFD_CLOEXEC, 0);
	if (h->up.fd >= 0)
		copy->up.fd = fcntl(h->up.fd, F_DUPFD_CLOEXEC, 0);
	n_given++;
	return 0;
}

static void drop_texts(struct sl_handed *h)
{
	for (struct sl_str *const *t = texts_of(h); *t; t++) {
		free((char *)(*t)->ptr);
		**t = SL_STR_NULL;
	}
}

static void drop(struct sl_handed *h)
{
	drop_texts(h);
	sl_closep(&h->down.fd);
	sl_closep(&h->up.fd);
	h->down.fd = h->up.fd = -1;
}

static void set_up(void)
{
	client = server = other = far = RIG_PEER_INIT;
	n_given = 0;
	refuses = false;
	rig_init(&r);
	r.give = give;
	cart = rig_add_backend(&r, "cart", false);
}

static void tear_down(void)
{
	rig_close(&client);
	rig_close(&server);
	rig_close(&other);
	rig_close(&far);
	rig_stop(&r);
}

TestSuite(handover, .init = set_up, .fini = tear_down);

static void begin(const char *request, struct rig_backend *b)
{
	rig_connect(&r, &client);
	rig_send(&r, &client, request);
	rig_accept(&r, b, &server);
	rig_expect(&r, &server, request);
}

static void hand_over(void)
{
	sl_proxy_hand_over(r.proxy, FIRST_ID);
	rig_settle(&r);
}

/* The old process forgets what it gave, the new one takes it; of each kind in its own order. */
static void carry_over(void)
{
	for (unsigned i = 0; i < n_given; i++)
		sl_proxy_given(r.proxy, given[i].id);
	rig_settle(&r);
	sl_proxy_take_back(r.proxy);
	for (unsigned i = 0; i < n_given; i++) {
		cr_assert_eq(sl_proxy_take(r.proxy, &given[i]), 0);
		drop_texts(&given[i]);
	}
	n_given = 0;
}

static const struct sl_handed *only(enum sl_handed_kind kind)
{
	const struct sl_handed *found = NULL;

	for (unsigned i = 0; i < n_given; i++) {
		if (given[i].kind != kind)
			continue;
		cr_assert_null(found, "two of kind %d", kind);
		found = &given[i];
	}
	cr_assert_not_null(found, "none of kind %d", kind);
	return found;
}

Test(handover, an_idle_connection_goes_on_as_it_was)
{
	const struct sl_handed *h;
	uint64_t accepted_ns;

	rig_start(&r);
	begin(GET, &r.backends[0]);
	rig_send(&r, &server, OK);
	rig_expect(&r, &client, OK);
	hand_over();
	cr_assert_eq(n_given, 2);
	h = only(SL_HANDED_HTTP1);
	accepted_ns = h->accepted_ns;
	cr_assert(sl_addr_eq(&h->original, &r.original));
	cr_assert_eq(h->n_requests, 1);
	cr_assert_gt(h->deadline_ns, sl_clock_now_ns());
	cr_assert(only(SL_HANDED_POOLED)->served);
	carry_over();
	rig_expect_conns(&r, 1);
	rig_expect_idle(&r, 1);
	rig_send(&r, &client, GET);
	rig_expect(&r, &server, GET); /* on the connection that was pooled */
	rig_send(&r, &server, OK);
	rig_expect(&r, &client, OK);
	hand_over();
	h = only(SL_HANDED_HTTP1);
	cr_assert_eq(h->accepted_ns, accepted_ns);
	cr_assert_eq(h->n_requests, 2);
	cr_assert_eq(h->down.n_received, 2 * strlen(GET));
	cr_assert_eq(rig_counter(&r, SL_COUNTER_CONNS_TAKEN_OVER), 1);
	cr_assert_eq(rig_counter(&r, SL_COUNTER_CONNS_ACCEPTED), 1);
	cr_assert_eq(rig_counter(&r, SL_COUNTER_BYTES_DOWNSTREAM_RECEIVED), 2 * strlen(GET));
	carry_over();
}

Test(handover, a_request_under_way_ends_first)
{
	rig_start(&r);
	begin(GET, &r.backends[0]);
	hand_over();
	cr_assert_eq(n_given, 0);
	rig_send(&r, &server, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no");
	rig_settle(&r);
	cr_assert_eq(n_given, 0);
	rig_send(&r, &server, "k");
	rig_expect(&r, &client, OK); /* nothing says that it would be the last */
	cr_assert_eq(n_given, 2);
	carry_over();
	rig_send(&r, &client, GET);
	rig_expect(&r, &server, GET);
}

Test(handover, bytes_that_were_read_go_along)
{
	rig_start(&r);
	rig_connect(&r, &client);
	rig_send(&r, &client, GET GET "GET /half");
	rig_accept(&r, &r.backends[0], &server);
	rig_expect(&r, &server, GET);
	hand_over();
	cr_assert_eq(n_given, 0);
	rig_send(&r, &server, OK);
	rig_expect(&r, &client, OK);
	cr_assert(sl_str_eqc(only(SL_HANDED_HTTP1)->down.in, GET "GET /half"));
	carry_over();
	rig_expect(&r, &server, GET);
	rig_send(&r, &server, OK);
	rig_expect(&r, &client, OK);
	rig_send(&r, &client, " HTTP/1.1\r\nHost: cart\r\n\r\n");
	rig_expect(&r, &server, "GET /half HTTP/1.1\r\nHost: cart\r\n\r\n");
}

Test(handover, a_client_that_has_not_spoken)
{
	rig_start(&r);
	rig_connect(&r, &client);
	rig_accept(&r, cart, &server); /* dialled ahead */
	rig_settle(&r);
	hand_over();
	(void)only(SL_HANDED_DETECT);
	rig_expect_eof(&r, &server);
	rig_close(&server);
	carry_over();
	rig_send(&r, &client, GET);
	rig_accept(&r, &r.backends[0], &server);
	rig_expect(&r, &server, GET);
}

Test(handover, a_tunnel_goes_on_at_the_next_byte)
{
	const struct sl_handed *h;

	r.logging = true;
	rig_start(&r);
	begin(TLS, cart);
	hand_over();
	h = only(SL_HANDED_TUNNEL);
	cr_assert_eq(h->tunnel_up_bytes, strlen(TLS));
	/* What comes meanwhile waits in the sockets. */
	rig_send(&r, &client, "up");
	rig_send(&r, &server, "down");
	carry_over();
	rig_expect(&r, &server, "up");
	rig_expect(&r, &client, "down");
	cr_assert_eq(rig_gauge(&r, SL_GAUGE_TUNNELS), 1);
	rig_shut(&client);
	rig_expect_eof(&r, &server);
	hand_over();
	cr_assert(only(SL_HANDED_TUNNEL)->down.eof);
	cr_assert(only(SL_HANDED_TUNNEL)->up.shut);
	carry_over();
	rig_send(&r, &server, "last");
	rig_expect(&r, &client, "last");
	rig_close(&server);
	rig_expect_eof(&r, &client);
	rig_expect_conns(&r, 0);
	cr_assert_eq(rig_counter(&r, SL_COUNTER_TUNNELS), 1);
	cr_assert_eq(rig_ended(&r, SL_END_COMPLETE), 1);
	cr_assert_not_null(strstr(rig_log(&r), "\"response_bytes\":8"));
}

Test(handover, a_routed_tunnel_keeps_the_names_of_its_rule)
{
	r.logging = true;
	rig_start(&r);
	r.more = TCP_TO(V1);
	rig_configure(&r, "");
	begin(TLS, &r.backends[0]);
	for (int i = 0; i < 2; i++) {
		hand_over();
		cr_assert(sl_str_eqc(only(SL_HANDED_TUNNEL)->request.route, "TCPRoute/shop/tcp"));
		carry_over();
	}
	rig_send(&r, &server, "down");
	rig_expect(&r, &client, "down");
	rig_close(&client);
	rig_close(&server);
	rig_expect_conns(&r, 0);
	cr_assert_not_null(strstr(rig_log(&r), "\"route\":\"TCPRoute/shop/tcp\",\"rule\":\"0\","
					       "\"backend\":\"shop/v1:80\""),
			   "%s", rig_log(&r));
}

Test(handover, a_tunnel_with_full_queues)
{
	size_t sent;

	rig_start(&r);
	begin(TLS, cart);
	client.paused = true;
	sent = rig_flood(&r, &server, 64 << 20);
	hand_over();
	cr_assert_gt(only(SL_HANDED_TUNNEL)->down.out.len + only(SL_HANDED_TUNNEL)->up.in.len, 0);
	carry_over();
	client.paused = false;
	rig_skip(&r, &client, sent);
	rig_send(&r, &client, "up");
	rig_expect(&r, &server, "up");
}

Test(handover, an_upgraded_connection_keeps_its_record)
{
	r.logging = true;
	rig_start(&r);
	begin(UPGRADE, &r.backends[0]);
	rig_send(&r, &server, SWITCH);
	rig_expect(&r, &client, SWITCH);
	hand_over();
	cr_assert(sl_str_eqc(only(SL_HANDED_TUNNEL)->request.path, "/chat"));
	carry_over();
	cr_assert_eq(rig_ended(&r, SL_END_COMPLETE), 0);
	rig_send(&r, &server, "hello");
	rig_expect(&r, &client, "hello");
	rig_close(&client);
	rig_close(&server);
	rig_expect_conns(&r, 0);
	cr_assert_not_null(strstr(rig_log(&r), "\"path\":\"/chat\""), "%s", rig_log(&r));
	cr_assert_not_null(strstr(rig_log(&r), "\"route\":\"HTTPRoute/"), "%s", rig_log(&r));
	cr_assert_not_null(strstr(rig_log(&r), "\"status\":101"), "%s", rig_log(&r));
	cr_assert_eq(rig_gauge(&r, SL_GAUGE_REQUESTS), 0);
}

Test(handover, what_was_lent_comes_back)
{
	rig_start(&r);
	begin(GET, &r.backends[0]);
	rig_send(&r, &server, OK);
	rig_expect(&r, &client, OK);
	rig_connect(&r, &other);
	rig_settle(&r);
	hand_over();
	cr_assert_eq(n_given, 3);
	rig_send(&r, &client, GET);
	rig_expect_silence(&r, &server);
	for (unsigned i = 0; i < n_given; i++)
		drop(&given[i]); /* the new process is gone */
	n_given = 0;
	sl_proxy_take_back(r.proxy);
	cr_assert_eq(sl_proxy_add_source(r.proxy, r.source, &r.listener, 1), 0);
	rig_expect(&r, &server, GET);
	rig_send(&r, &server, OK);
	rig_expect(&r, &client, OK);
	rig_expect_conns(&r, 2);
	/* And new ones are accepted. */
	rig_close(&other);
	rig_connect(&r, &other);
	rig_expect_conns(&r, 2);
}

Test(handover, what_cannot_be_given_is_served_here)
{
	rig_start(&r);
	begin(GET, &r.backends[0]);
	rig_send(&r, &server, OK);
	rig_expect(&r, &client, OK);
	refuses = true;
	hand_over();
	rig_expect_eof(&r, &server); /* the pool's are let go */
	rig_close(&server);
	rig_send(&r, &client, GET);
	rig_accept(&r, &r.backends[0], &server);
	rig_expect(&r, &server, GET);
	refuses = false;
	rig_send(&r, &server, OK);
	rig_expect(&r, &client, OK);
	cr_assert_eq(n_given, 2);
	carry_over();
}

Test(handover, a_namespace_that_went_meanwhile)
{
	rig_start(&r);
	begin(GET, &r.backends[0]);
	rig_send(&r, &server, OK);
	rig_expect(&r, &client, OK);
	hand_over();
	sl_proxy_remove_source(r.proxy, r.source->cookie);
	rig_settle(&r);
	rig_expect_conns(&r, 0);
	sl_proxy_given(r.proxy, given[0].id); /* too late */
	for (unsigned i = 0; i < n_given; i++) {
		cr_assert_eq(sl_proxy_take(r.proxy, &given[i]), -ENOENT);
		drop_texts(&given[i]);
	}
	rig_expect_eof(&r, &client);
}

Test(handover, an_end_with_connections_lent)
{
	rig_start(&r);
	begin(GET, &r.backends[0]);
	rig_send(&r, &server, OK);
	rig_expect(&r, &client, OK);
	rig_connect(&r, &other);
	rig_send(&r, &other, TLS);
	rig_accept(&r, cart, &far);
	rig_expect(&r, &far, TLS);
	hand_over();
	for (unsigned i = 0; i < n_given; i++)
		drop(&given[i]);
}

static bool asked;

static bool ask_before(void *arg, const struct sl_proxy_accepted *accepted)
{
	asked = true;
	(void)close(accepted->fd);
	return true;
}

Test(handover, who_is_not_known_is_asked_of_the_process_before)
{
	r.ask_before = ask_before;
	rig_start(&r);
	r.original_error = -ENOENT;
	rig_connect(&r, &client);
	rig_expect_eof(&r, &client);
	cr_assert(asked);
	cr_assert_eq(rig_counter(&r, SL_COUNTER_CONNS_NOT_STEERED), 0);
}

/* Every allocation of the taking fails once. */
Test(handover, without_memory_a_connection_is_cut)
{
	unsigned n = 0;
	bool failed;

	r.logging = true;
	rig_start(&r);
	do {
		begin(UPGRADE, &r.backends[0]);
		rig_send(&r, &server, SWITCH);
		rig_expect(&r, &client, SWITCH);
		hand_over();
		sl_proxy_given(r.proxy, given[0].id);
		rig_settle(&r);
		sl_proxy_take_back(r.proxy);
		sl_alloc_fail_after((long)n++);
		failed = sl_proxy_take(r.proxy, &given[0]) != 0;
		(void)sl_alloc_fail_after(-1);
		drop_texts(&given[0]);
		n_given = 0;
		if (failed)
			rig_drain(&r, &client);
		rig_close(&client);
		rig_close(&server);
		rig_expect_conns(&r, 0);
		cr_assert_eq(sl_proxy_add_source(r.proxy, r.source, &r.listener, 1), 0);
	} while (failed);
	cr_assert_gt(n, 2);
}
