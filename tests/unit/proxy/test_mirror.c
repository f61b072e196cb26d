/* SPDX-License-Identifier: Apache-2.0 */
/* Mirrors: what the second backend sees, and that the main request never notices it. */
#include <errno.h>
#include <sys/socket.h>
#include "rig.h"

#define TO	   "backendRef: {name: cart, port: 80}"
#define MIRROR(to) "    - {type: RequestMirror, requestMirror: {" to "}}\n"
#define MAIN	   "    backendRefs: [{name: v1, port: 80}]\n"
#define ONE	   "  - filters:\n" MIRROR(TO) MAIN
#define GET	   "GET /a?b HTTP/1.1\r\nHost: cart\r\nX-A: 1\r\n\r\n"
#define OK	   "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
#define OTHER	   "HTTP/1.1 500 Oops\r\nContent-Length: 5\r\n\r\nother"

static struct rig r;
static struct rig_peer client, server, shadow, shadow2;

static void set_up(void)
{
	client = server = shadow = shadow2 = RIG_PEER_INIT;
	rig_init(&r);
}

static void tear_down(void)
{
	rig_close(&client);
	rig_close(&server);
	rig_close(&shadow);
	rig_close(&shadow2);
	rig_stop(&r);
}

TestSuite(mirror, .init = set_up, .fini = tear_down);

static void begin(const char *rules)
{
	(void)rig_add_backend(&r, "cart", false);
	rig_start(&r);
	rig_configure(&r, rules);
	rig_connect(&r, &client);
}

static void expect_counter(enum sl_counter c, uint64_t n)
{
	uint64_t deadline = 0;

	while (rig_counter(&r, c) < n)
		cr_assert(rig_waiting(&r, &deadline), "counter %d", c);
	cr_assert_eq(rig_counter(&r, c), n);
}

/* Nothing is under way any more. */
static void expect_over(void)
{
	uint64_t deadline = 0;

	while (rig_gauge(&r, SL_GAUGE_SIDE_REQUESTS))
		cr_assert(rig_waiting(&r, &deadline), "a mirror goes on");
}

Test(mirror, a_copy_goes_and_its_answer_is_thrown_away)
{
	r.logging = true;
	begin(ONE);
	for (unsigned i = 0; i < 2; i++) {
		rig_send(&r, &client, GET);
		if (!i)
			rig_accept(&r, &r.backends[0], &server);
		rig_expect(&r, &server, GET);
		rig_send(&r, &server, OK);
		rig_expect(&r, &client, OK); /* before anybody has looked at the mirror */
		if (!i)
			rig_accept(&r, &r.backends[1], &shadow);
		rig_expect(&r, &shadow, GET);
		rig_send(&r, &shadow, OTHER);
		expect_counter(SL_COUNTER_MIRRORS_ANSWERED, i + 1); /* on one connection */
		expect_over();
	}
	rig_expect_silence(&r, &client);
	cr_assert_eq(rig_ended(&r, SL_END_COMPLETE), 2);
	cr_assert(strstr(rig_log(&r), "\"mirrors\":1"));
	cr_assert_eq(rig_gauge(&r, SL_GAUGE_REQUESTS), 0);
}

#define SET(name)                                                                        \
	"    - {type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: " name \
	", value: x}]}}\n"

Test(mirror, the_copy_is_what_the_request_is_at_its_place_in_the_list)
{
	begin("  - filters:\n" MIRROR(TO) SET("X-A") MIRROR(TO) MAIN);
	rig_send(&r, &client, GET);
	rig_accept(&r, &r.backends[0], &server);
	rig_accept(&r, &r.backends[1], &shadow);
	rig_accept(&r, &r.backends[1], &shadow2);
	rig_expect(&r, &server, "GET /a?b HTTP/1.1\r\nHost: cart\r\nX-A: x\r\n\r\n");
	rig_expect(&r, &shadow, GET);
	rig_expect(&r, &shadow2, "GET /a?b HTTP/1.1\r\nHost: cart\r\nX-A: x\r\n\r\n");
	rig_send(&r, &server, OK);
	rig_expect(&r, &client, OK);
}

Test(mirror, filters_of_the_backend_have_mirrors_too)
{
	begin("  - backendRefs:\n    - name: v1\n      port: 80\n      filters:\n"
	      "      - {type: URLRewrite, urlRewrite: {hostname: far}}\n"
	      "      - {type: RequestMirror, requestMirror: {" TO "}}\n");
	rig_send(&r, &client, GET);
	rig_accept(&r, &r.backends[1], &shadow);
	rig_expect(&r, &shadow, "GET /a?b HTTP/1.1\r\nHost: far\r\nX-A: 1\r\n\r\n");
}

Test(mirror, bodies_and_trailers_go_along)
{
	static const char head[] =
		"POST / HTTP/1.1\r\nHost: cart\r\nTransfer-Encoding: chunked\r\n\r\n";

	begin(ONE);
	rig_send(&r, &client,
		 "POST / HTTP/1.1\r\nHost: cart\r\nExpect: 100-continue\r\n"
		 "Transfer-Encoding: chunked\r\n\r\n");
	rig_accept(&r, &r.backends[0], &server);
	rig_accept(&r, &r.backends[1], &shadow);
	rig_expect(&r, &server,
		   "POST / HTTP/1.1\r\nHost: cart\r\nExpect: 100-continue\r\n"
		   "Transfer-Encoding: chunked\r\n\r\n");
	rig_expect(&r, &shadow, head);
	rig_send(&r, &client, "5\r\nhello\r\n");
	rig_send(&r, &client, "6\r\n world\r\n0\r\nX-T: u\r\n\r\n");
	rig_expect_chunked(&r, &server, "hello world", "X-T: u\r\n");
	rig_expect_chunked(&r, &shadow, "hello world", "X-T: u\r\n");
	rig_send(&r, &shadow, OTHER);
	expect_counter(SL_COUNTER_MIRRORS_ANSWERED, 1);
	rig_expect_silence(&r, &client);
	rig_send(&r, &server, OK);
	rig_expect(&r, &client, OK);
}

Test(mirror, one_that_lags_behind_the_body_is_given_up)
{
	static char body[100000];

	memset(body, 'x', sizeof(body));
	r.opts.mirror_body_bytes = 50000;
	(void)rig_add_backend(&r, "cart", false);
	rig_fill(&r, &r.backends[1]); /* connecting to it takes for ever */
	rig_start(&r);
	rig_configure(&r, ONE);
	rig_connect(&r, &client);
	rig_send(&r, &client, "POST / HTTP/1.1\r\nHost: cart\r\nContent-Length: 100000\r\n\r\n");
	rig_accept(&r, &r.backends[0], &server);
	rig_skip_to(&r, &server, "\r\n\r\n");
	rig_send_bytes(&r, &client, body, sizeof(body));
	rig_expect_bytes(&r, &server, body, sizeof(body));
	expect_counter(SL_COUNTER_MIRRORS_GIVEN_UP, 1);
	expect_over();
	cr_assert_eq(r.shard->limits[SL_LIMIT_MIRROR_BODY_BYTES], 1);
	rig_send(&r, &server, OK);
	rig_expect(&r, &client, OK);
}

Test(mirror, one_that_cannot_be_reached_is_not_missed)
{
	(void)rig_add_backend(&r, "cart", true);
	rig_start(&r);
	rig_configure(&r, ONE);
	rig_connect(&r, &client);
	rig_send(&r, &client, GET);
	rig_accept(&r, &r.backends[0], &server);
	rig_expect(&r, &server, GET);
	expect_counter(SL_COUNTER_MIRRORS_FAILED, 1);
	rig_send(&r, &server, OK);
	rig_expect(&r, &client, OK);
	expect_over();
}

Test(mirror, without_an_endpoint_the_request_goes_alone)
{
	rig_start(&r);
	rig_configure(&r, ONE);
	rig_connect(&r, &client);
	rig_send(&r, &client, GET);
	rig_accept(&r, &r.backends[0], &server);
	rig_expect(&r, &server, GET);
	rig_send(&r, &server, OK);
	rig_expect(&r, &client, OK);
	expect_counter(SL_COUNTER_MIRRORS_FAILED, 1);
}

Test(mirror, an_answer_in_pieces_of_nonsense_is_not_missed)
{
	begin(ONE);
	rig_send(&r, &client, GET);
	rig_accept(&r, &r.backends[0], &server);
	rig_accept(&r, &r.backends[1], &shadow);
	rig_expect(&r, &shadow, GET);
	rig_send(&r, &shadow, "nonsense\r\n\r\n");
	expect_counter(SL_COUNTER_MIRRORS_FAILED, 1);
	rig_expect(&r, &server, GET);
	rig_send(&r, &server, OK);
	rig_expect(&r, &client, OK);
}

Test(mirror, an_endless_answer_is_cut)
{
	static const char much[65536];
	uint64_t deadline = 0;

	begin(ONE);
	rig_send(&r, &client, GET);
	rig_accept(&r, &r.backends[1], &shadow);
	rig_expect(&r, &shadow, GET);
	rig_send(&r, &shadow, "HTTP/1.1 200 OK\r\n\r\n");
	while (send(shadow.fd, much, sizeof(much), MSG_NOSIGNAL | MSG_DONTWAIT) > 0 ||
	       errno == EAGAIN)
		cr_assert(rig_waiting(&r, &deadline), "it is read for ever");
	expect_over();
	expect_counter(SL_COUNTER_MIRRORS_ANSWERED, 1);
	cr_assert_eq(rig_counter(&r, SL_COUNTER_MIRRORS_FAILED), 0);
}

Test(mirror, goes_on_when_the_client_has_its_answer_and_goes)
{
	begin(ONE);
	rig_send(&r, &client, "GET / HTTP/1.1\r\nHost: cart\r\nConnection: close\r\n\r\n");
	rig_accept(&r, &r.backends[0], &server);
	rig_expect(&r, &server, "GET / HTTP/1.1\r\nHost: cart\r\n\r\n");
	rig_send(&r, &server, OK);
	rig_skip_to(&r, &client, "ok");
	rig_close(&client);
	rig_expect_conns(&r, 0);
	rig_accept(&r, &r.backends[1], &shadow);
	rig_expect(&r, &shadow, "GET / HTTP/1.1\r\nHost: cart\r\n\r\n");
	rig_send(&r, &shadow, OK);
	expect_counter(SL_COUNTER_MIRRORS_ANSWERED, 1);
	expect_over();
}

Test(mirror, a_request_that_does_not_become_whole_takes_its_mirror_along)
{
	begin(ONE);
	rig_send(&r, &client, "POST / HTTP/1.1\r\nHost: cart\r\nContent-Length: 9\r\n\r\nhalf");
	rig_accept(&r, &r.backends[1], &shadow);
	rig_skip_to(&r, &shadow, "half");
	rig_reset(&client);
	rig_drain(&r, &shadow);
	expect_counter(SL_COUNTER_MIRRORS_GIVEN_UP, 1);
	expect_over();
}

Test(mirror, a_redirect_is_mirrored)
{
	begin("  - filters:\n" MIRROR(
		TO) "    - {type: RequestRedirect, requestRedirect: {hostname: far}}\n");
	rig_send(&r, &client, GET);
	rig_expect(&r, &client,
		   "HTTP/1.1 302 Found\r\nLocation: http://far/a?b\r\nContent-Length: 0\r\n\r\n");
	rig_accept(&r, &r.backends[1], &shadow);
	rig_expect(&r, &shadow, GET);
}

Test(mirror, upgrades_are_not_mirrored)
{
	begin(ONE);
	rig_send(&r, &client,
		 "GET / HTTP/1.1\r\nHost: cart\r\nConnection: Upgrade\r\nUpgrade: "
		 "websocket\r\n\r\n");
	rig_accept(&r, &r.backends[0], &server);
	rig_skip_to(&r, &server, "\r\n\r\n");
	cr_assert(!rig_pending(&r, &r.backends[1]));
}

Test(mirror, more_than_the_limit_are_skipped)
{
	r.opts.max_mirrors = 1;
	begin("  - filters:\n" MIRROR(TO) MIRROR(TO) MAIN);
	rig_send(&r, &client, GET);
	rig_accept(&r, &r.backends[0], &server);
	rig_expect(&r, &server, GET);
	rig_send(&r, &server, OK);
	rig_expect(&r, &client, OK);
	cr_assert_eq(rig_counter(&r, SL_COUNTER_MIRRORS_SKIPPED), 1);
	cr_assert_eq(r.shard->limits[SL_LIMIT_MIRRORS], 1);
	rig_accept(&r, &r.backends[1], &shadow);
	rig_expect(&r, &shadow, GET);
}

Test(mirror, one_that_does_not_answer_ends_with_the_rules_timeout)
{
	begin("  - filters:\n" MIRROR(TO) "    timeouts: {request: 50ms}\n" MAIN);
	rig_send(&r, &client, GET);
	rig_accept(&r, &r.backends[0], &server);
	rig_expect(&r, &server, GET);
	rig_send(&r, &server, OK);
	rig_expect(&r, &client, OK);
	rig_accept(&r, &r.backends[1], &shadow);
	rig_drain(&r, &shadow);
	expect_counter(SL_COUNTER_MIRRORS_FAILED, 1);
	expect_over();
}

/* Three standard deviations, as the conformance test of the API has them. */
static void expect_share(const char *part, unsigned low, unsigned high)
{
	enum { N = 500 };
	char rules[400];
	uint64_t before = rig_counter(&r, SL_COUNTER_MIRRORS_FAILED), n;

	(void)snprintf(
		rules, sizeof(rules),
		"  - filters:\n" MIRROR(
			TO
			"%s") "    - {type: RequestRedirect, requestRedirect: {hostname: far}}\n",
		part);
	rig_configure(&r, rules);
	for (unsigned i = 0; i < N; i++) {
		rig_send(&r, &client, GET);
		rig_skip_to(&r, &client, "\r\n\r\n");
	}
	expect_over();
	n = rig_counter(&r, SL_COUNTER_MIRRORS_FAILED) - before;
	cr_assert(n >= low && n <= high, "%s: %llu of %d", part, (unsigned long long)n, N);
}

Test(mirror, shares_of_the_requests_are_mirrored)
{
	rig_start(&r); /* nobody is behind shop/cart: each mirror fails, and is counted */
	rig_connect(&r, &client);
	expect_share(", percent: 0", 0, 0);
	expect_share(", percent: 20", 73, 127);
	expect_share(", fraction: {numerator: 25, denominator: 50}", 216, 284);
	expect_share(", fraction: {numerator: 1}", 0, 12);
	expect_share("", 500, 500);
}
