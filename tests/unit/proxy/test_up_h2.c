/* SPDX-License-Identifier: Apache-2.0 */
/* The endpoint's side of HTTP/2: connections that streams share. */
#include <errno.h>
#include "h2_side.h"
#include "proxy/mux.h"

#define GET "GET / HTTP/1.1\r\nHost: cart\r\n\r\n"

static struct rig r;
static struct h2_side client, server, second;
static struct h2_side *const sides[] = {&client, &server, &second, NULL};
static struct rig_peer old; /* a client of HTTP/1 */

static void set_up(void)
{
	client = server = second = H2_SIDE_INIT;
	old = RIG_PEER_INIT;
	rig_init(&r);
	r.v1_protocol = "kubernetes.io/h2c";
}

static void tear_down(void)
{
	h2_side_deinit(&client);
	h2_side_deinit(&server);
	h2_side_deinit(&second);
	rig_close(&old);
	rig_stop(&r);
}

TestSuite(up_h2, .init = set_up, .fini = tear_down);

#define until(cond) h2_until(&r, sides, cond)

static void begin(void)
{
	rig_start(&r);
	h2_side_connect(&r, &client);
}

static void accept_on(struct h2_side *s)
{
	h2_side_turn(&client);
	h2_side_accept(&r, &r.backends[0], s);
}

/* The next request that comes to the server. */
static struct h2_call *await(struct h2_side *s)
{
	unsigned n = s->n_calls;

	until(s->n_calls > n && s->calls[n].h2.head_in);
	return &s->calls[n];
}

/* A whole exchange over a new connection. */
static void warm(struct h2_side *s)
{
	struct h2_call *a = h2_get(&client, "/"), *got;

	accept_on(s);
	got = await(s);
	h2_answer(got, "ok");
	until(a->h2.closed);
	cr_assert(h2_status(a) == 200 && h2_has(a, "ok"));
}

static uint64_t dialled(void)
{
	return r.n_owned;
}

/* ---- sharing ---- */

Test(up_h2, streams_of_all_clients_share_a_connection)
{
	struct h2_call *a, *got;

	begin();
	warm(&server);
	a = h2_get(&client, "/a");
	got = await(&server);
	rig_connect(&r, &old);
	rig_send(&r, &old, GET);
	h2_answer(await(&server), "old");
	rig_round(&r);
	until(old.n_got || (rig_peek(&old), old.n_got));
	(void)rig_skip_to(&r, &old, "\r\n\r\nold");
	h2_answer(got, "a");
	until(a->h2.closed);
	cr_assert_eq(dialled(), 1);
	cr_assert_eq(rig_counter(&r, SL_COUNTER_POOL_REUSED), 2);
}

Test(up_h2, a_full_connection_gets_a_sister)
{
	struct h2_call *a, *b;

	server.limits.n_streams = 1;
	begin();
	warm(&server);
	a = h2_get(&client, "/a");
	(void)await(&server);
	b = h2_get(&client, "/b");
	accept_on(&second);
	h2_answer(await(&second), "b");
	until(b->h2.closed);
	h2_answer(&server.calls[1], "a");
	until(a->h2.closed);
	cr_assert_eq(h2_status(a), 200);
	cr_assert_eq(h2_status(b), 200);
}

Test(up_h2, who_waited_for_a_full_connection_goes_elsewhere)
{
	struct h2_call *a, *b;

	server.limits.n_streams = 1;
	begin();
	a = h2_get(&client, "/a");
	b = h2_get(&client, "/b"); /* both wait for the one that is being made */
	accept_on(&server);
	h2_answer(await(&server), "a");
	until(a->h2.closed);
	if (!b->h2.closed && server.n_calls < 2) {
		accept_on(&second);
		h2_answer(await(&second), "b");
	}
	until(b->h2.closed);
	cr_assert(h2_has(a, "a") && h2_has(b, "b"));
	cr_assert_eq(rig_counter(&r, SL_COUNTER_RETRIES_CONNECT), 0);
}

Test(up_h2, a_server_that_takes_no_stream_is_not_asked_for_ever)
{
	struct h2_call *a;

	server.limits.n_streams = 0;
	begin();
	a = h2_get(&client, "/a");
	(void)h2_get(&client, "/b");
	accept_on(&server);
	until(client.calls[1].h2.closed || a->h2.closed);
	cr_assert_lt(dialled(), 10);
}

/* ---- ends ---- */

Test(up_h2, a_goaway_lets_streams_finish)
{
	struct h2_call *a, *got;

	begin();
	warm(&server);
	a = h2_get(&client, "/a");
	got = await(&server);
	sl_h2_go_away(server.session);
	h2_settle(&r, sides);
	warm(&second); /* who comes now goes elsewhere */
	h2_answer(got, "a");
	until(a->h2.closed);
	cr_assert(h2_has(a, "a"));
	until(server.peer.eof);
}

Test(up_h2, what_a_goaway_leaves_out_is_sent_again)
{
	struct h2_call *a;

	begin();
	warm(&server);
	a = h2_prepare(&client, "POST", "/a");
	a->req.body = SL_BODY_CHUNKED;
	h2_ask(&client, a);
	cr_assert_eq(sl_h2_write_text(&a->h2, SL_STR("once")), 0);
	cr_assert_eq(sl_h2_end(&a->h2, NULL), 0);
	server.deaf = true;
	h2_settle(&r, sides);
	sl_h2_terminate(server.session, SL_H2_NO_ERROR);
	h2_settle(&r, sides);
	accept_on(&second);
	until(second.n_calls && second.calls[0].h2.ended_in);
	cr_assert(h2_has(&second.calls[0], "once"));
	h2_answer(&second.calls[0], "a");
	until(a->h2.closed);
	cr_assert_eq(h2_status(a), 200);
	cr_assert_eq(rig_counter(&r, SL_COUNTER_RETRIES_REFUSED), 1);
}

Test(up_h2, a_refused_stream_is_sent_again_but_not_for_ever)
{
	struct h2_call *a;

	begin();
	warm(&server);
	a = h2_get(&client, "/a");
	for (unsigned i = 0; i < 3; i++) {
		struct h2_call *got = await(&server);

		sl_h2_reset(&got->h2, SL_H2_REFUSED_STREAM);
	}
	until(a->h2.closed);
	cr_assert_eq(h2_status(a), 503);
	cr_assert_eq(rig_counter(&r, SL_COUNTER_RETRIES_REFUSED), 2);
}

Test(up_h2, a_connection_that_ended_unseen_is_replaced)
{
	struct h2_call *a;

	begin();
	warm(&server);
	a = h2_get(&client, "/a");
	h2_side_turn(&client);
	h2_side_deinit(&server);
	accept_on(&second);
	h2_answer(await(&second), "a");
	until(a->h2.closed);
	cr_assert_eq(h2_status(a), 200);
	cr_assert_leq(rig_counter(&r, SL_COUNTER_RETRIES_STALE), 1);
}

Test(up_h2, a_reset_behind_the_head_is_passed_on)
{
	const struct sl_response head = {.status = 200, .body = SL_BODY_CHUNKED};
	struct h2_call *a, *got;

	begin();
	warm(&server);
	a = h2_get(&client, "/a");
	got = await(&server);
	cr_assert_eq(sl_h2_respond(&got->h2, &head, false), 0);
	until(a->h2.head_in);
	sl_h2_reset(&got->h2, SL_H2_CANCEL);
	until(a->h2.closed);
	cr_assert_eq(a->h2.error, SL_H2_CANCEL);
	cr_assert_eq(rig_ended(&r, SL_END_UPSTREAM_CLOSED), 1);
	a = h2_get(&client, "/b");
	h2_answer(await(&server), "b");
	until(a->h2.closed);
	cr_assert(h2_has(a, "b"), "the connection is as good as before");
}

Test(up_h2, an_invalid_answer_costs_its_stream)
{
	/* A :status that is none, on stream 3. */
	static const uint8_t bad[] = {0, 0, 5, 1, 5, 0, 0, 0, 3, 0x48, 3, 'a', 'b', 'c'};
	struct h2_call *a;

	begin();
	warm(&server);
	a = h2_get(&client, "/a");
	(void)await(&server);
	rig_send_bytes(&r, &server.peer, bad, sizeof(bad));
	until(a->h2.closed);
	cr_assert_eq(h2_status(a), 502);
	cr_assert_eq(rig_ended(&r, SL_END_UPSTREAM_INVALID), 1);
}

Test(up_h2, an_endpoint_that_goes_serves_what_it_has)
{
	struct h2_call *a, *got;

	(void)rig_add_backend(&r, "cart", false);
	begin();
	warm(&server);
	a = h2_get(&client, "/a");
	got = await(&server);
	r.backends[0].service = "cart"; /* no endpoint of v1 any more */
	rig_configure(&r, NULL);
	h2_settle(&r, sides);
	cr_assert_not(server.peer.eof);
	h2_answer(got, "a");
	until(a->h2.closed);
	cr_assert(h2_has(a, "a"));
	until(server.peer.eof);
}

Test(up_h2, an_idle_one_goes_with_its_endpoint)
{
	begin();
	warm(&server);
	rig_configure(&r, NULL);
	h2_settle(&r, sides);
	cr_assert_not(server.peer.eof);
	r.backends[0].service = "cart";
	rig_configure(&r, NULL);
	until(server.peer.eof);
}

Test(up_h2, a_namespace_that_goes_takes_all_with_it)
{
	begin();
	warm(&server);
	(void)h2_get(&client, "/a");
	(void)await(&server);
	sl_proxy_remove_source(r.proxy, r.source->cookie);
	until(server.peer.eof || server.peer.error);
	rig_expect_conns(&r, 0);
	cr_assert_eq(r.proxy->buffered_bytes, 0);
}

/* ---- clocks ---- */

Test(up_h2, a_dial_that_hangs_is_not_waited_for_twice)
{
	struct h2_call *a;
	uint64_t before;

	r.opts.connect_timeout_ns = 20 * SL_NS_PER_MS;
	rig_fill(&r, &r.backends[0]);
	begin();
	a = h2_get(&client, "/a");
	until(a->h2.closed);
	cr_assert_eq(h2_status(a), 503);
	before = dialled();
	a = h2_get(&client, "/b");
	until(a->h2.closed);
	cr_assert_eq(h2_status(a), 503);
	cr_assert_gt(dialled(), before, "a dial of its own");
}

Test(up_h2, who_never_says_settings_gets_one_request)
{
	struct h2_call *a, *b;

	r.opts.connect_timeout_ns = 20 * SL_NS_PER_MS;
	server.mute = true;
	begin();
	a = h2_get(&client, "/a");
	b = h2_get(&client, "/b");
	accept_on(&server);
	(void)await(&server);
	accept_on(&second); /* by whichever waited */
	h2_answer(await(&second), "second");
	until(b->h2.closed || a->h2.closed);
	server.mute = false;
	h2_answer(&server.calls[0], "first");
	until(a->h2.closed && b->h2.closed);
	cr_assert_eq(h2_status(a), 200);
	cr_assert_eq(h2_status(b), 200);
}

Test(up_h2, who_accepts_and_closes_is_not_dialled_for_ever)
{
	struct h2_call *a;

	begin();
	a = h2_get(&client, "/a");
	(void)h2_get(&client, "/b");
	(void)h2_get(&client, "/c");
	for (unsigned i = 0; i < 30 && !(a->h2.closed && client.calls[2].h2.closed); i++) {
		struct rig_peer p = RIG_PEER_INIT;

		h2_settle(&r, sides);
		while (rig_try_accept(&r.backends[0], &p))
			rig_reset(&p);
	}
	until(a->h2.closed && client.calls[1].h2.closed && client.calls[2].h2.closed);
	cr_assert_lt(dialled(), 12);
	for (unsigned i = 0; i < 3; i++) {
		unsigned status = h2_status(&client.calls[i]);

		cr_assert(status == 502 || status == 503, "%u", status);
	}
}

Test(up_h2, a_silent_server_is_asked_and_then_left)
{
	struct h2_call *a;

	r.opts.ping_interval_ns = 20 * SL_NS_PER_MS;
	begin();
	warm(&server);
	a = h2_prepare(&client, "POST", "/a");
	h2_ask(&client, a);
	(void)await(&server);
	for (unsigned i = 0; i < 100; i++) {
		h2_round(&r, sides);
		rig_pass(&r, SL_NS_PER_MS);
	}
	cr_assert_not(a->h2.closed, "it answers");
	server.mute = true;
	until(a->h2.closed);
	cr_assert_eq(h2_status(a), 502);
	cr_assert_eq(r.shard->limits[SL_LIMIT_PING_INTERVAL], 1);
}

/* ---- tunnels ---- */

Test(up_h2, what_both_ends_of_a_tunnel_end_is_over)
{
	const struct sl_response yes = {.status = 200};
	struct h2_call *a, *got;

	begin();
	warm(&server);
	a = h2_prepare(&client, "CONNECT", "");
	a->req.target = a->req.authority = SL_STR("far:80");
	h2_ask(&client, a);
	got = await(&server);
	cr_assert_eq(sl_h2_respond(&got->h2, &yes, true), 0);
	cr_assert_eq(sl_h2_write_text(&got->h2, SL_STR("down")), 0);
	cr_assert_eq(sl_h2_end(&got->h2, NULL), 0);
	until(a->h2.ended_in);
	cr_assert(h2_has(a, "down"));
	cr_assert_eq(sl_h2_write_text(&a->h2, SL_STR("up")), 0);
	until(h2_has(got, "up"));
	cr_assert_not(a->h2.closed);
	/* The server wants no more: so the client hears. */
	sl_h2_reset(&got->h2, SL_H2_NO_ERROR);
	until(a->h2.closed);
	cr_assert_eq(a->h2.error, SL_H2_NO_ERROR);
	cr_assert_eq(rig_gauge(&r, SL_GAUGE_TUNNELS), 0);
}

/* ---- what is spoken ---- */

Test(up_h2, a_grpcroute_leads_to_http_2)
{
	r.v1_protocol = NULL;
	r.more = "---\napiVersion: gateway.networking.k8s.io/v1\nkind: GRPCRoute\n"
		 "metadata: {name: calls, namespace: shop}\nspec:\n"
		 "  parentRefs: [{group: '', kind: Service, name: cart}]\n"
		 "  rules: [{backendRefs: [{name: v1, port: 80}]}]\n";
	rig_start(&r);
	rig_configure(&r, "");
	rig_connect(&r, &old);
	rig_send(&r, &old, GET);
	accept_on(&server);
	h2_answer(await(&server), "ok");
	h2_settle(&r, sides);
	(void)rig_skip_to(&r, &old, "\r\n\r\nok");
}
