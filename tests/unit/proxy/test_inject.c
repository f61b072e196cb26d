/* SPDX-License-Identifier: Apache-2.0 */
/* FaultInjections: delays and aborts, until when, for how many, and what is left of them. */
#include "h2_side.h"

#define GET	  "GET /a HTTP/1.1\r\nHost: shop\r\n\r\n"
#define OK	  "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
#define ABORTED	  "aborted by FaultInjection/shop/chaos"
#define FAULTS(f) "faults: [{" f "}]"
#define ABORT	  FAULTS("abort: {percent: 100, httpStatus: 503}")
#define DELAY(ms) "delay: {percent: 100, duration: " ms "ms}"
#define HOUR	  "delay: {percent: 100, duration: 5m}"

static struct rig r;
static struct rig_peer client, server;
static struct h2_side caller;
static struct h2_side *const sides[] = {&caller, NULL};
static char faults[RIG_FAULTS_BYTES];

static void set_up(void)
{
	client = server = RIG_PEER_INIT;
	caller = H2_SIDE_INIT;
	rig_init(&r);
}

static void tear_down(void)
{
	rig_close(&client);
	rig_close(&server);
	h2_side_deinit(&caller);
	rig_stop(&r);
}

TestSuite(inject, .init = set_up, .fini = tear_down);

static void start(const char *target, const char *fields, const char *rules)
{
	rig_start(&r);
	r.more = rig_faults(faults, target, fields, -60, 60);
	rig_configure(&r, rules);
}

static void ask(const char *request)
{
	if (client.fd < 0)
		rig_connect(&r, &client);
	rig_send(&r, &client, request);
}

static void expect_served(const char *seen)
{
	if (server.fd < 0)
		rig_accept(&r, &r.backends[0], &server);
	rig_expect(&r, &server, seen);
	rig_send(&r, &server, OK);
	rig_expect(&r, &client, OK);
}

static void expect_counts(uint64_t delays, uint64_t aborts, uint64_t skipped)
{
	cr_assert_eq(rig_counter(&r, SL_COUNTER_FAULT_DELAYS), delays);
	cr_assert_eq(rig_counter(&r, SL_COUNTER_FAULT_ABORTS), aborts);
	cr_assert_eq(rig_counter(&r, SL_COUNTER_FAULT_SKIPPED), skipped);
}

/* ---- aborts ---- */

Test(inject, an_abort_answers_and_asks_nobody)
{
	static const char *const targets[] = {RIG_ROUTE, RIG_V1};

	r.logging = true;
	rig_start(&r);
	for (unsigned i = 0; i < 2; i++) {
		r.more = rig_faults(faults, targets[i], ABORT, -60, 60);
		rig_configure(&r, NULL);
		ask(GET); /* the connection goes on */
		rig_expect_own(&r, &client, "503 Service Unavailable", ABORTED, false);
		cr_assert(!rig_pending(&r, &r.backends[0]));
		cr_assert(strstr(rig_log(&r), "\"end_reason\":\"fault\""));
		cr_assert_not(strstr(rig_log(&r), "fault_delay_ns"));
	}
	expect_counts(0, 2, 0);
	cr_assert_eq(rig_ended(&r, SL_END_FAULT), 2);
}

Test(inject, what_no_rule_governs_is_left_alone)
{
	r.app_protocol = "http";
	r.backends[0].service = "cart";
	start("{kind: Service, name: cart}", ABORT, "");
	ask(GET);
	expect_served(GET);
	expect_counts(0, 0, 0);
}

Test(inject, an_abort_is_not_tried_again)
{
	start(RIG_V1, ABORT,
	      "  - retry: {codes: [503], attempts: 3}\n"
	      "    backendRefs: [{name: v1, port: 80}]\n");
	ask(GET);
	rig_expect_own(&r, &client, "503 Service Unavailable", ABORTED, false);
	expect_counts(0, 1, 0);
	cr_assert_eq(rig_counter(&r, SL_COUNTER_RETRIES_CODE), 0);
}

Test(inject, the_body_of_an_aborted_request_is_read_or_ends_the_connection)
{
	start(RIG_ROUTE, ABORT, NULL);
	ask("POST /a HTTP/1.1\r\nHost: shop\r\nContent-Length: 2\r\n\r\nhi");
	rig_expect_own(&r, &client, "503 Service Unavailable", ABORTED, false);
	ask("POST /a HTTP/1.1\r\nHost: shop\r\nContent-Length: 9\r\n\r\nhi");
	rig_expect_own(&r, &client, "503 Service Unavailable", ABORTED, true);
}

/* Of a hundred, so many within five standard deviations. */
Test(inject, a_share_is_hit)
{
	unsigned n = 0;

	start(RIG_ROUTE,
	      FAULTS("abort: {fraction: {numerator: 1, denominator: 4}, httpStatus: 418}"), NULL);
	r.proxy->random = 1; /* the same dice each time */
	for (unsigned i = 0; i < 400; i++) {
		uint64_t before = rig_counter(&r, SL_COUNTER_FAULT_ABORTS);

		ask(GET);
		rig_settle(&r);
		if (rig_counter(&r, SL_COUNTER_FAULT_ABORTS) == before) {
			expect_served(GET);
			continue;
		}
		n++;
		(void)rig_skip_to(&r, &client, "chaos\n");
	}
	cr_assert(n > 56 && n < 144, "%u of 400", n);
}

static const struct {
	const char *name, *fields, *request;
	bool hits;
} matches[] = {
	{"prefix", "matches: [{path: {value: /a/}}]", "/a/b?c=d", true},
	{"prefix of no element", "matches: [{path: {value: /a}}]", "/ab", false},
	{"exact", "matches: [{path: {type: Exact, value: /a}}]", "/x/../a", true},
	{"exact, longer", "matches: [{path: {type: Exact, value: /a}}]", "/a/b", false},
	{"pattern", "matches: [{path: {type: RegularExpression, value: '/[ab]'}}]", "/b", true},
	{"pattern of all", "matches: [{path: {type: RegularExpression, value: '/[ab]'}}]", "/bc",
	 false},
	{"method", "matches: [{method: POST}]", "/", false},
	{"header", "matches: [{headers: [{name: x-CHAOS, value: 'yes'}]}]", "/", true},
	{"header, other", "matches: [{headers: [{name: x-chaos, value: 'no'}]}]", "/", false},
	{"query", "matches: [{queryParams: [{name: a, value: b}]}]", "/?c&a=b", true},
	{"any of them", "matches: [{method: POST}, {path: {value: /b}}]", "/b", true},
};

Test(inject, a_fault_is_for_what_it_matches)
{
	char fields[512], request[256];

	rig_start(&r);
	for (size_t i = 0; i < sizeof(matches) / sizeof(*matches); i++) {
		uint64_t before = rig_counter(&r, SL_COUNTER_FAULT_ABORTS);

		(void)snprintf(fields, sizeof(fields),
			       FAULTS("%s, abort: {percent: 100, httpStatus: 503}"),
			       matches[i].fields);
		r.more = rig_faults(faults, i % 2 ? RIG_V1 : RIG_ROUTE, fields, -60, 60);
		rig_configure(&r, NULL);
		(void)snprintf(request, sizeof(request),
			       "GET %s HTTP/1.1\r\nHost: shop\r\nX-Chaos: yes\r\n\r\n",
			       matches[i].request);
		ask(request);
		if (matches[i].hits)
			rig_expect_own(&r, &client, "503 Service Unavailable", ABORTED, false);
		else
			expect_served(request);
		cr_assert_eq(rig_counter(&r, SL_COUNTER_FAULT_ABORTS) - before, matches[i].hits,
			     "%s", matches[i].name);
	}
}

Test(inject, the_first_fault_that_fits_is_the_one)
{
	start(RIG_ROUTE,
	      "faults: [{matches: [{path: {value: /b}}], abort: {percent: 100, httpStatus: 500}}, "
	      "{matches: [{path: {value: /a}}], abort: {percent: 0, httpStatus: 501}}, "
	      "{abort: {percent: 100, httpStatus: 502}}]",
	      NULL);
	ask(GET);
	expect_served(GET);
	ask("GET / HTTP/1.1\r\nHost: shop\r\n\r\n");
	rig_expect_own(&r, &client, "502 Bad Gateway", ABORTED, false);
}

/* A route's by what the client sent, a Service's by what it would get. */
Test(inject, a_rewritten_request_is_looked_at_on_the_target_s_side)
{
	static const char rules[] =
		"  - filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplaceFullPath, "
		"replaceFullPath: /b}}}]\n"
		"    backendRefs: [{name: v1, port: 80}]\n";
	static const struct {
		const char *target, *path;
		bool hits;
	} cases[] = {
		{RIG_ROUTE, "/a", true},
		{RIG_ROUTE, "/b", false},
		{RIG_V1, "/a", false},
		{RIG_V1, "/b", true},
	};
	char fields[256];

	rig_start(&r);
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		(void)snprintf(fields, sizeof(fields),
			       FAULTS("matches: [{path: {value: %s}}], abort: {percent: 100, "
				      "httpStatus: 503}"),
			       cases[i].path);
		r.more = rig_faults(faults, cases[i].target, fields, -60, 60);
		rig_configure(&r, rules);
		ask(GET);
		if (cases[i].hits)
			rig_expect_own(&r, &client, "503 Service Unavailable", ABORTED, false);
		else
			expect_served("GET /b HTTP/1.1\r\nHost: shop\r\n\r\n");
	}
}

/* ---- when ---- */

/* What is compiled knows no clock here: it is the worker that looks. */
Test(inject, nothing_happens_before_and_after)
{
	static const struct {
		int from_s, to_s;
	} windows[] = {{-120, -1}, {60, 120}, {-7200, -3600}};

	rig_start(&r);
	for (size_t i = 0; i < sizeof(windows) / sizeof(*windows); i++) {
		r.more = rig_faults(faults, i ? RIG_V1 : RIG_ROUTE, ABORT, windows[i].from_s,
				    windows[i].to_s);
		rig_configure(&r, NULL);
		ask(GET);
		expect_served(GET);
	}
	expect_counts(0, 0, 0);
}

Test(inject, it_ends_without_another_configuration)
{
	uint64_t deadline = 0;

	rig_start(&r);
	r.more = rig_faults(faults, RIG_ROUTE, ABORT, -60, 3);
	rig_configure(&r, NULL);
	ask(GET);
	rig_expect_own(&r, &client, "503 Service Unavailable", ABORTED, false);
	while (!rig_pending(&r, &r.backends[0])) {
		cr_assert(rig_waiting(&r, &deadline), "it never ends");
		if (rig_gauge(&r, SL_GAUGE_REQUESTS))
			continue;
		ask(GET);
		rig_peek(&client);
		client.n_got = 0; /* an abort */
	}
	expect_served(GET);
}

Test(inject, a_host_can_refuse_them)
{
	r.opts.no_faults = true;
	start(RIG_ROUTE, ABORT, NULL);
	ask(GET);
	expect_served(GET);
	expect_counts(0, 0, 0);
}

/* ---- delays ---- */

Test(inject, a_delayed_request_goes_on)
{
	uint64_t begun = sl_clock_now_ns();

	r.logging = true;
	start(RIG_V1, FAULTS("delay: {percent: 100, duration: 40ms, jitter: 20ms}"), NULL);
	ask(GET);
	cr_assert_not(rig_pending(&r, &r.backends[0]));
	expect_served(GET);
	cr_assert_geq(sl_clock_now_ns() - begun, 20 * SL_NS_PER_MS);
	rig_settle(&r);
	cr_assert(strstr(rig_log(&r), "\"fault_delay_ns\":"));
	cr_assert(strstr(rig_log(&r), "\"end_reason\":\"complete\""));
	expect_counts(1, 0, 0);
}

Test(inject, a_delay_and_an_abort_may_hit_the_same_request)
{
	start(RIG_ROUTE, FAULTS(DELAY("5") ", abort: {percent: 100, httpStatus: 429}"), NULL);
	ask("POST /a HTTP/1.1\r\nHost: shop\r\nContent-Length: 2\r\n\r\nhi");
	rig_expect_own(&r, &client, "429 Too Many Requests", ABORTED, false);
	expect_counts(1, 1, 0);
}

Test(inject, a_body_waits_with_its_request)
{
	start(RIG_ROUTE, FAULTS(DELAY("5")), NULL);
	ask("POST /a HTTP/1.1\r\nHost: shop\r\nContent-Length: 4\r\n\r\nhi");
	rig_send(&r, &client, "ho");
	expect_served("POST /a HTTP/1.1\r\nHost: shop\r\nContent-Length: 4\r\n\r\nhiho");
}

Test(inject, a_delay_counts_against_the_request_s_time)
{
	start(RIG_V1, FAULTS(HOUR),
	      "  - timeouts: {request: 20ms}\n"
	      "    backendRefs: [{name: v1, port: 80}]\n");
	ask(GET);
	rig_expect_own(&r, &client, "504 Gateway Timeout", "no answer in time (timeouts.request)",
		       false);
	cr_assert_eq(rig_ended(&r, SL_END_REQUEST_TIMEOUT), 1);
	cr_assert(!rig_pending(&r, &r.backends[0]));
}

/* Seen at the one place that is held: the next request gets it. */
static void expect_place(bool is_free)
{
	uint64_t before = rig_counter(&r, SL_COUNTER_FAULT_DELAYS);
	struct rig_peer other = RIG_PEER_INIT;

	rig_connect(&r, &other);
	rig_send(&r, &other, GET);
	rig_settle(&r);
	cr_assert_eq(rig_counter(&r, SL_COUNTER_FAULT_DELAYS) - before, is_free);
	rig_reset(&other);
	rig_close(&other);
}

Test(inject, only_so_many_are_held_at_a_time)
{
	start(RIG_ROUTE, "maxDelayed: 1, " FAULTS(HOUR), NULL);
	ask(GET);
	rig_settle(&r);
	expect_place(false);
	expect_counts(1, 0, 1);
	rig_expect_conns(&r, 1);
	/* Another version of the policy counts on. */
	r.more = rig_faults(faults, RIG_ROUTE, "maxDelayed: 1, " FAULTS(DELAY("1")), -60, 60);
	rig_reset(&client);
	rig_expect_conns(&r, 0);
	expect_place(true);
}

Test(inject, past_the_limit_an_abort_still_comes)
{
	struct rig_peer other = RIG_PEER_INIT;

	start(RIG_ROUTE, "maxDelayed: 1, " FAULTS(HOUR ", abort: {percent: 100, httpStatus: 503}"),
	      NULL);
	ask(GET);
	rig_settle(&r);
	rig_connect(&r, &other);
	rig_send(&r, &other, GET);
	rig_expect_own(&r, &other, "503 Service Unavailable", ABORTED, false);
	expect_counts(1, 1, 1);
	rig_close(&other);
}

Test(inject, a_client_that_resets_frees_its_place)
{
	start(RIG_ROUTE, "maxDelayed: 1, " FAULTS(HOUR), NULL);
	ask(GET);
	rig_settle(&r);
	rig_reset(&client);
	rig_expect_conns(&r, 0);
	expect_place(true);
	rig_expect_conns(&r, 0);
	cr_assert_eq(rig_ended(&r, SL_END_CLIENT_CLOSED), 2);
	cr_assert_eq(rig_gauge(&r, SL_GAUGE_REQUESTS), 0);
	cr_assert(!rig_pending(&r, &r.backends[0]));
}

/* Who has sent a FIN may still listen, or be gone: nothing is held for it. */
Test(inject, a_client_that_closes_is_not_delayed_further)
{
	start(RIG_ROUTE, "maxDelayed: 1, " FAULTS(HOUR), NULL);
	ask(GET);
	rig_settle(&r);
	cr_assert_eq(rig_counter(&r, SL_COUNTER_FAULT_DELAYS), 1);
	rig_shut(&client);
	expect_served(GET);
	expect_place(true);
}

/* The policy goes while a request waits: the request does not notice. */
Test(inject, a_delay_outlives_its_policy)
{
	start(RIG_V1, FAULTS(DELAY("30") ", abort: {percent: 100, httpStatus: 503}"), NULL);
	ask(GET);
	rig_settle(&r);
	r.more = NULL;
	rig_configure(&r, NULL);
	rig_expect_own(&r, &client, "503 Service Unavailable", ABORTED, false);
	ask(GET);
	expect_served(GET);
}

/* ---- HTTP/2, gRPC ---- */

static struct h2_call *call(const char *path, bool is_grpc)
{
	struct h2_call *c = h2_prepare(&caller, is_grpc ? "POST" : "GET", path);

	if (is_grpc)
		cr_assert_eq(sl_headers_append(&c->req.headers, &c->arena, SL_STR("content-type"),
					       SL_STR("application/grpc")),
			     0);
	h2_ask(&caller, c);
	return c;
}

Test(inject, in_http2_each_stream_has_its_own_fault)
{
	struct h2_call *late, *refused, *early;

	r.v1_protocol = "http";
	start(RIG_ROUTE,
	      "faults: [{matches: [{path: {value: /late}}], " HOUR "}, {matches: [{path: {value: "
	      "/no}}], abort: {percent: 100, httpStatus: 503}}]",
	      NULL);
	h2_side_connect(&r, &caller);
	late = call("/late", false);
	refused = call("/no", false);
	early = call("/early", false);
	h2_until(&r, sides, h2_status(refused) == 503);
	cr_assert(h2_has(refused, "sluice: " ABORTED "\n"));
	rig_accept(&r, &r.backends[0], &server);
	(void)rig_skip_to(&r, &server, "\r\n\r\n");
	rig_send(&r, &server, OK);
	h2_until(&r, sides, h2_status(early) == 200);
	cr_assert_eq(h2_status(late), 0);
	expect_counts(1, 1, 0);
	sl_h2_stream_deinit(&late->h2, SL_H2_CANCEL);
	h2_until(&r, sides, !rig_gauge(&r, SL_GAUGE_REQUESTS));
}

static const struct {
	const char *name, *abort, *status;
} calls[] = {
	{"its own", "grpcStatus: 8", "8"},
	{"before the other", "httpStatus: 503, grpcStatus: 4", "4"},
	{"what stands for it", "httpStatus: 503", "14"},
	{"what stands for another", "httpStatus: 404", "12"},
};

Test(inject, a_call_gets_a_status_of_grpc)
{
	char fields[256];

	rig_start(&r);
	h2_side_connect(&r, &caller);
	for (size_t i = 0; i < sizeof(calls) / sizeof(*calls); i++) {
		const struct sl_response *res;
		const struct sl_header *status;
		struct h2_call *c;

		(void)snprintf(fields, sizeof(fields), FAULTS("abort: {percent: 100, %s}"),
			       calls[i].abort);
		r.more = rig_faults(faults, i % 2 ? RIG_V1 : RIG_ROUTE, fields, -60, 60);
		rig_configure(&r, NULL);
		c = call("/s/m", true);
		h2_until(&r, sides, c->h2.ended_in);
		res = sl_h2_next_head(&c->h2);
		cr_assert(res && res->status == 200, "%s", calls[i].name);
		status = sl_headers_find(&res->headers, SL_STR("grpc-status"));
		cr_assert(status && sl_str_eqc(status->value, calls[i].status), "%s",
			  calls[i].name);
		sl_h2_stream_deinit(&c->h2, SL_H2_CANCEL);
	}
}

Test(inject, a_status_of_grpc_is_for_calls_alone)
{
	start(RIG_ROUTE, FAULTS("abort: {percent: 100, grpcStatus: 8}"), NULL);
	ask(GET);
	expect_served(GET);
	expect_counts(0, 0, 0);
}
