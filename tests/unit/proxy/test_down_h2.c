/* SPDX-License-Identifier: Apache-2.0 */
/* The client's side of HTTP/2, in front of servers that speak HTTP/1. */
#include <errno.h>
#include <sys/socket.h>
#include "h2_side.h"
#include "proxy/down_h2.h"
#include "proxy/handover.h"

#define OK "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

static struct rig r;
static struct h2_side client;
static struct h2_side *const sides[] = {&client, NULL};
static struct rig_peer server, second;

static void set_up(void)
{
	client = H2_SIDE_INIT;
	server = second = RIG_PEER_INIT;
	rig_init(&r);
	r.v1_protocol = "http";
}

static void tear_down(void)
{
	h2_side_deinit(&client);
	rig_close(&server);
	rig_close(&second);
	rig_stop(&r);
}

TestSuite(down_h2, .init = set_up, .fini = tear_down);

#define until(cond) h2_until(&r, sides, cond)

static void begin(void)
{
	rig_start(&r);
	h2_side_connect(&r, &client);
}

static struct h2_call *ask_for(const char *path, struct rig_peer *s)
{
	struct h2_call *c = h2_get(&client, path);

	h2_side_turn(&client);
	rig_accept(&r, &r.backends[0], s);
	(void)rig_skip_to(&r, s, "\r\n\r\n");
	return c;
}

static struct sl_conn *the_conn(void)
{
	const struct sl_proxy_source *src = sl_proxy_source(r.proxy, r.source->cookie);

	return sl_container_of(src->conns.next, struct sl_conn, node);
}

Test(down_h2, streams_are_answered_in_any_order)
{
	struct h2_call *a, *b;

	begin();
	a = ask_for("/a", &server);
	b = ask_for("/b", &second);
	rig_send(&r, &second, OK);
	until(b->h2.closed);
	cr_assert(h2_status(b) == 200 && h2_has(b, "ok") && !a->h2.head_in);
	rig_send(&r, &server, OK);
	until(a->h2.closed);
	cr_assert(h2_status(a) == 200 && h2_has(a, "ok"));
	cr_assert_eq(rig_ended(&r, SL_END_COMPLETE), 2);
	rig_expect_idle(&r, 2);
}

Test(down_h2, a_reset_reaches_the_server)
{
	struct h2_call *a;

	begin();
	a = ask_for("/", &server);
	sl_h2_reset(&a->h2, SL_H2_CANCEL);
	h2_settle(&r, sides);
	rig_expect_reset(&r, &server);
	cr_assert_eq(rig_ended(&r, SL_END_CLIENT_CLOSED), 1);
	a = ask_for("/", &server);
	rig_send(&r, &server, OK);
	until(a->h2.closed);
}

Test(down_h2, who_spoils_streams_is_one_who_resets_them)
{
	struct h2_call *a;

	r.opts.h2.resets = 3;
	begin();
	for (unsigned i = 0; i < 4; i++) {
		/* Longer than it said it would be (CVE-2025-8671). */
		a = h2_prepare(&client, "POST", "/");
		a->req.body = SL_BODY_LENGTH;
		a->req.content_length = 1;
		h2_ask(&client, a);
		cr_assert_eq(sl_h2_write_text(&a->h2, SL_STR("xyz")), 0);
		until(a->h2.closed || client.error);
	}
	(void)h2_get(&client, "/"); /* so that it is looked at again */
	until(client.peer.eof);
	rig_close(&client.peer);
	cr_assert_eq(r.shard->limits[SL_LIMIT_H2_RESETS], 1);
	rig_expect_conns(&r, 0);
}

Test(down_h2, more_streams_than_agreed_are_refused_and_counted)
{
	struct h2_call *calls[4];

	r.opts.h2.n_streams = 2;
	begin();
	client.deaf = true; /* it has not heard of the limit */
	for (unsigned i = 0; i < 4; i++)
		calls[i] = h2_get(&client, "/");
	h2_settle(&r, sides);
	client.deaf = false;
	until(calls[3]->h2.closed);
	cr_assert(calls[2]->h2.closed && !calls[1]->h2.closed);
	cr_assert_eq(calls[2]->h2.error, SL_H2_REFUSED_STREAM);
	cr_assert_eq(r.shard->limits[SL_LIMIT_H2_STREAMS], 2);
}

/* ---- clocks ---- */

Test(down_h2, an_idle_connection_ends_in_two_steps)
{
	struct h2_call *a;

	r.opts.idle_timeout_ns = 20 * SL_NS_PER_MS;
	begin();
	until(sl_h2_settled(client.session));
	client.deaf = true;
	until(the_conn()->h2->leaving);
	a = h2_get(&client, "/"); /* on its way when the news was */
	h2_side_turn(&client);
	rig_accept(&r, &r.backends[0], &server);
	rig_send(&r, &server, OK);
	client.deaf = false;
	until(a->h2.closed);
	cr_assert_eq(h2_status(a), 200);
	cr_assert(sl_h2_going_away(client.session));
	until(client.peer.eof);
	rig_close(&client.peer);
	cr_assert_eq(r.shard->limits[SL_LIMIT_IDLE_TIMEOUT], 1);
	rig_expect_conns(&r, 0);
}

Test(down_h2, a_client_that_does_not_hear_goaway_is_cut)
{
	r.opts.idle_timeout_ns = r.opts.linger_timeout_ns = 20 * SL_NS_PER_MS;
	begin();
	until(sl_h2_settled(client.session));
	client.mute = true; /* its answer to the PING as well */
	until(sl_h2_going_away(client.session));
	rig_expect_conns(&r, 0);
}

Test(down_h2, who_begins_a_head_has_to_end_it)
{
	static const uint8_t half[] = {0, 0, 9, 1, 4, 0, 0, 0, 1, 0x82};

	r.opts.header_timeout_ns = r.opts.linger_timeout_ns = 20 * SL_NS_PER_MS;
	begin();
	until(sl_h2_settled(client.session));
	rig_send_bytes(&r, &client.peer, half, sizeof(half));
	until(client.peer.eof);
	cr_assert_eq(r.shard->limits[SL_LIMIT_HEADER_TIMEOUT], 1);
	rig_expect_conns(&r, 0);
}

Test(down_h2, who_does_not_take_the_last_bytes_is_cut)
{
	static const uint8_t half[] = {0, 0, 9, 1, 4, 0, 0, 0, 3, 0x82};

	r.opts.header_timeout_ns = r.opts.linger_timeout_ns = 20 * SL_NS_PER_MS;
	client.limits.window_bytes = 64 << 20;
	begin();
	(void)ask_for("/", &server);
	client.deaf = true;
	rig_send(&r, &server, "HTTP/1.1 200 OK\r\n\r\n");
	(void)rig_flood(&r, &server, SIZE_MAX);
	cr_assert_gt(sl_buf_len(&the_conn()->sock.out), 0);
	rig_send_bytes(&r, &client.peer, half, sizeof(half));
	rig_expect_conns(&r, 0);
	cr_assert_eq(r.shard->limits[SL_LIMIT_HEADER_TIMEOUT], 1);
}

Test(down_h2, a_silent_client_is_asked_and_then_cut)
{
	r.opts.ping_interval_ns = 20 * SL_NS_PER_MS;
	begin();
	(void)ask_for("/", &server);
	for (unsigned i = 0; i < 100; i++) {
		h2_round(&r, sides);
		rig_pass(&r, SL_NS_PER_MS);
	}
	cr_assert_eq(r.shard->limits[SL_LIMIT_PING_INTERVAL], 0, "it answers");
	client.mute = true;
	rig_expect_conns(&r, 0);
	cr_assert_eq(r.shard->limits[SL_LIMIT_PING_INTERVAL], 1);
	rig_expect_reset(&r, &server);
}

Test(down_h2, draining_ends_what_is_idle_and_serves_the_rest)
{
	struct h2_call *a, *late;

	begin();
	a = ask_for("/", &server);
	sl_proxy_drain(r.proxy);
	late = ask_for("/late", &second); /* had not heard */
	until(sl_h2_going_away(client.session));
	rig_send(&r, &second, OK);
	until(late->h2.closed);
	cr_assert_eq(h2_status(late), 200);
	rig_expect_silence(&r, &client.peer);
	rig_send(&r, &server, OK);
	until(a->h2.closed);
	cr_assert_eq(h2_status(a), 200);
	until(client.peer.eof);
	rig_close(&client.peer);
	rig_expect_conns(&r, 0);
}

static int give(void *arg, const struct sl_handed *h)
{
	return -EAGAIN;
}

Test(down_h2, who_is_not_handed_over_leaves)
{
	struct h2_call *a;

	r.give = give;
	begin();
	a = ask_for("/", &server);
	sl_proxy_hand_over(r.proxy, 1);
	until(sl_h2_going_away(client.session));
	rig_send(&r, &server, OK);
	until(a->h2.closed);
	cr_assert_eq(h2_status(a), 200);
	until(client.peer.eof);
	rig_close(&client.peer);
	rig_expect_conns(&r, 0);
}

/* ---- memory ---- */

/* Until nobody takes more, or its connection has gone. */
static void fill(struct rig_peer *p)
{
	static const char block[16384];

	for (unsigned n_idle = 0; n_idle < 6; n_idle++) {
		while (send(p->fd, block, sizeof(block), MSG_NOSIGNAL) > 0)
			n_idle = 0;
		rig_pass(&r, SL_NS_PER_MS);
	}
}

Test(down_h2, the_heaviest_goes_when_memory_is_tight)
{
	struct h2_side hog = H2_SIDE_INIT;
	struct h2_side *const both[] = {&client, &hog, NULL};
	struct rig_peer stalled[8];
	struct h2_call *a;

	r.opts.max_buffered_bytes = 768 << 10;
	begin();
	hog.limits.window_bytes = 65535;
	h2_side_connect(&r, &hog);
	for (unsigned i = 0; i < 8; i++) {
		(void)h2_get(&hog, "/");
		h2_side_turn(&hog);
		rig_accept(&r, &r.backends[0], &stalled[i]);
		rig_send(&r, &stalled[i], "HTTP/1.1 200 OK\r\n\r\n");
	}
	for (unsigned i = 0; i < 8; i++)
		fill(&stalled[i]);
	h2_until(&r, both, hog.peer.eof || hog.peer.error);
	cr_assert_eq(rig_ended(&r, SL_END_LIMIT), 8);
	cr_assert_eq(r.shard->limits[SL_LIMIT_BUFFERED_BYTES], 1);
	cr_assert_lt(r.proxy->buffered_bytes, r.opts.max_buffered_bytes / 2);
	a = h2_get(&client, "/");
	h2_side_turn(&client);
	rig_accept(&r, &r.backends[0], &server);
	rig_send(&r, &server, OK);
	until(a->h2.closed);
	cr_assert_eq(h2_status(a), 200);
	h2_side_deinit(&hog);
	for (unsigned i = 0; i < 8; i++)
		rig_close(&stalled[i]);
}

/* ---- tunnels ---- */

static struct h2_call *open_tunnel(void)
{
	struct h2_call *a;

	r.v1_protocol = NULL;
	begin();
	a = h2_prepare(&client, "CONNECT", "");
	a->req.target = a->req.authority = SL_STR("far:80");
	h2_ask(&client, a);
	h2_side_turn(&client);
	rig_accept(&r, &r.backends[0], &server);
	(void)rig_skip_to(&r, &server, "\r\n\r\n");
	rig_send(&r, &server, "HTTP/1.1 200 OK\r\n\r\nfirst");
	until(h2_has(a, "first"));
	cr_assert_eq(h2_status(a), 200);
	return a;
}

Test(down_h2, the_server_may_end_its_half_of_a_tunnel)
{
	struct h2_call *a = open_tunnel();

	rig_shut(&server);
	until(a->h2.ended_in);
	h2_settle(&r, sides);
	cr_assert_not(a->h2.closed, "the other half goes on");
	cr_assert_eq(sl_h2_write_text(&a->h2, SL_STR("more")), 0);
	cr_assert_eq(sl_h2_end(&a->h2, NULL), 0);
	h2_settle(&r, sides);
	rig_expect(&r, &server, "more");
	rig_expect_eof(&r, &server);
	until(a->h2.closed);
	cr_assert_eq(a->h2.error, 0);
	cr_assert_eq(rig_ended(&r, SL_END_COMPLETE), 1);
}

Test(down_h2, so_may_the_client)
{
	struct h2_call *a = open_tunnel();

	cr_assert_eq(sl_h2_end(&a->h2, NULL), 0);
	h2_settle(&r, sides);
	rig_expect_eof(&r, &server);
	rig_send(&r, &server, " last");
	rig_close(&server);
	until(a->h2.closed);
	cr_assert(h2_has(a, "first last") && a->h2.ended_in && !a->h2.error);
}

Test(down_h2, a_reset_of_the_server_is_no_end_of_a_tunnel)
{
	struct h2_call *a = open_tunnel();

	rig_reset(&server);
	until(a->h2.closed);
	cr_assert_eq(a->h2.error, SL_H2_CONNECT_ERROR);
}
