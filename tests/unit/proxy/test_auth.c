/* SPDX-License-Identifier: Apache-2.0 */
/* Authorizations over HTTP: what the service is asked, and what becomes of its answers. */
#include "rig.h"

#define AUTH(fields)                                                                      \
	"  - filters:\n    - {type: ExternalAuth, externalAuth: {protocol: HTTP, " fields \
	"backendRef: {name: cart, port: 80}}}\n"
#define MAIN "    backendRefs: [{name: v1, port: 80}]\n"
#define GET  "GET /a?b HTTP/1.1\r\nHost: shop\r\nAuthorization: me\r\nX-A: 1\r\nX-B: 2\r\n\r\n"
#define OK   "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
#define YES  "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
#define NO   "the authorization service did not answer, or not clearly"

static struct rig r;
static struct rig_peer client, server, guard;

static void set_up(void)
{
	client = server = guard = RIG_PEER_INIT;
	rig_init(&r);
}

static void tear_down(void)
{
	rig_close(&client);
	rig_close(&server);
	rig_close(&guard);
	rig_stop(&r);
}

TestSuite(auth, .init = set_up, .fini = tear_down);

static void begin(const char *rules, const char *request)
{
	(void)rig_add_backend(&r, "cart", false);
	rig_start(&r);
	rig_configure(&r, rules);
	rig_connect(&r, &client);
	rig_send(&r, &client, request);
}

/* The service is asked that, and answers so. */
static void ask(const char *question, const char *answer)
{
	if (guard.fd < 0)
		rig_accept(&r, &r.backends[1], &guard);
	rig_expect(&r, &guard, question);
	cr_assert(!rig_pending(&r, &r.backends[0]), "the backend hears of it before");
	rig_send(&r, &guard, answer);
}

static void expect_exchange(const char *seen)
{
	if (server.fd < 0)
		rig_accept(&r, &r.backends[0], &server);
	rig_expect(&r, &server, seen);
	rig_send(&r, &server, OK);
	rig_expect(&r, &client, OK);
}

#define QUESTION "GET /a?b HTTP/1.1\r\nHost: shop\r\nAuthorization: me\r\nContent-Length: 0\r\n\r\n"

Test(auth, what_is_allowed_goes_on)
{
	begin(AUTH("") MAIN, GET);
	for (unsigned i = 0; i < 2; i++) { /* both connections are used again */
		ask(QUESTION, YES);
		expect_exchange(GET);
		if (!i)
			rig_send(&r, &client, GET);
	}
	cr_assert_eq(rig_counter(&r, SL_COUNTER_AUTH_ALLOWED), 2);
	cr_assert_eq(rig_ended(&r, SL_END_COMPLETE), 2);
	cr_assert_eq(rig_gauge(&r, SL_GAUGE_SIDE_REQUESTS), 0);
}

Test(auth, the_route_says_what_is_asked_and_what_is_taken)
{
	begin(AUTH("http: {path: /check/, allowedHeaders: [x-b], allowedResponseHeaders: [X-User, "
		   "X-B]}, ") MAIN,
	      GET);
	ask("GET /check/a?b HTTP/1.1\r\nHost: shop\r\nAuthorization: me\r\nX-B: 2\r\n"
	    "Content-Length: 0\r\n\r\n",
	    "HTTP/1.1 200 OK\r\nX-User: a\r\nx-user: b\r\nX-B: 3\r\nX-C: 4\r\nContent-Length: "
	    "4\r\n\r\nbody");
	expect_exchange("GET /a?b HTTP/1.1\r\nHost: shop\r\nAuthorization: me\r\nX-A: 1\r\n"
			"X-B: 3\r\nX-User: a\r\nx-user: b\r\n\r\n");
}

Test(auth, all_that_does_not_describe_the_answer_is_taken_where_nothing_is_said)
{
	begin(AUTH("") MAIN, GET);
	ask(QUESTION, "HTTP/1.1 200 OK\r\nHost: evil\r\nContent-Type: text/html\r\nDate: now\r\n"
		      "Server: guard\r\nX-A: 9\r\nContent-Length: 0\r\n\r\n");
	expect_exchange("GET /a?b HTTP/1.1\r\nHost: shop\r\nAuthorization: me\r\nX-A: 9\r\n"
			"X-B: 2\r\n\r\n");
}

static const struct {
	const char *name, *request, *question, *answer, *seen;
} denials[] = {
	{"with all that it says", GET, QUESTION,
	 "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic\r\nContent-Length: 4\r\n\r\nno!\n",
	 "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic\r\nContent-Length: 4\r\n\r\nno!\n"},
	{"a redirect", GET, QUESTION,
	 "HTTP/1.1 302 Found\r\nLocation: http://login/\r\nContent-Length: 0\r\n\r\n",
	 "HTTP/1.1 302 Found\r\nLocation: http://login/\r\nContent-Length: 0\r\n\r\n"},
	{"another success is none", GET, QUESTION,
	 "HTTP/1.1 202 Accepted\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nwhy\r\n0\r\n\r\n",
	 "HTTP/1.1 202 Accepted\r\nContent-Length: 3\r\n\r\nwhy"},
	{"without content", GET, QUESTION, "HTTP/1.1 204 No Content\r\n\r\n",
	 "HTTP/1.1 204 No Content\r\n\r\n"},
	{"a service that is broken", GET, QUESTION,
	 "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n",
	 "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"},
	{"of HEAD", "HEAD / HTTP/1.1\r\nHost: shop\r\n\r\n",
	 "HEAD / HTTP/1.1\r\nHost: shop\r\nContent-Length: 0\r\n\r\n",
	 "HTTP/1.1 403 Forbidden\r\nContent-Length: 5\r\n\r\n", "HTTP/1.1 403 Forbidden\r\n\r\n"},
};

Test(auth, what_is_denied_gets_the_answer_of_the_service)
{
	const size_t n = sizeof(denials) / sizeof(*denials);

	begin(AUTH("") MAIN, "");
	for (size_t i = 0; i < n; i++) {
		rig_send(&r, &client, denials[i].request);
		ask(denials[i].question, denials[i].answer);
		rig_expect_for(&r, &client, denials[i].seen, denials[i].name);
	}
	cr_assert_eq(rig_counter(&r, SL_COUNTER_AUTH_DENIED), n);
	cr_assert_eq(rig_ended(&r, SL_END_DENIED), n);
	cr_assert(!rig_pending(&r, &r.backends[0]));
}

Test(auth, an_endless_denial_is_passed_without_its_body)
{
	static char body[100000];

	memset(body, 'x', sizeof(body));
	begin(AUTH("") MAIN, GET);
	ask(QUESTION, "HTTP/1.1 403 Forbidden\r\nContent-Length: 100000\r\n\r\n");
	rig_send_bytes(&r, &guard, body, sizeof(body));
	rig_expect(&r, &client, "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n");
}

static void expect_failure(void)
{
	rig_expect_own(&r, &client, "403 Forbidden", NO, false);
	cr_assert_eq(rig_counter(&r, SL_COUNTER_AUTH_FAILED), 1);
	cr_assert_eq(rig_ended(&r, SL_END_AUTH_FAILED), 1);
	cr_assert(!rig_pending(&r, &r.backends[0]));
}

Test(auth, a_service_that_refuses_fails_closed)
{
	(void)rig_add_backend(&r, "cart", true);
	rig_start(&r);
	rig_configure(&r, AUTH("") MAIN);
	rig_connect(&r, &client);
	rig_send(&r, &client, GET);
	expect_failure();
}

Test(auth, a_service_without_endpoints_fails_closed)
{
	rig_start(&r);
	rig_configure(&r, AUTH("") MAIN);
	rig_connect(&r, &client);
	rig_send(&r, &client, GET);
	expect_failure();
}

Test(auth, nonsense_fails_closed)
{
	begin(AUTH("") MAIN, GET);
	ask(QUESTION, "nonsense\r\n\r\n");
	expect_failure();
}

Test(auth, half_an_answer_fails_closed)
{
	begin(AUTH("") MAIN, GET);
	ask(QUESTION, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhal");
	rig_close(&guard);
	expect_failure();
}

Test(auth, no_answer_in_time_fails_closed)
{
	r.opts.auth_timeout_ns = 50 * SL_NS_PER_MS;
	begin(AUTH("") MAIN, GET);
	ask(QUESTION, "HTTP/1.1 200 OK\r\n");
	expect_failure();
}

Test(auth, the_rules_timeout_counts_as_well)
{
	begin(AUTH("") "    timeouts: {request: 50ms}\n" MAIN, GET);
	ask(QUESTION, "");
	rig_expect_own(&r, &client, "504 Gateway Timeout", "no answer in time (timeouts.request)",
		       false);
	rig_drain(&r, &guard);
}

Test(auth, a_client_that_goes_takes_its_question_along)
{
	begin(AUTH("") MAIN, GET);
	ask(QUESTION, "");
	rig_reset(&client);
	rig_drain(&r, &guard);
	rig_expect_conns(&r, 0);
	cr_assert_eq(rig_gauge(&r, SL_GAUGE_SIDE_REQUESTS), 0);
}

Test(auth, one_that_is_not_resolved_answers_500)
{
	rig_start(&r);
	rig_configure(&r, "  - filters:\n    - {type: ExternalAuth, externalAuth: {protocol: HTTP, "
			  "backendRef: {name: absent, port: 80}}}\n" MAIN);
	rig_connect(&r, &client);
	rig_send(&r, &client, GET);
	rig_expect_own(&r, &client, "500 Internal Server Error", "the rule has no usable backend",
		       false);
}

/* ---- bodies ---- */

#define BODY  AUTH("forwardBody: {maxSize: 8}, ")
#define CHUNK "POST / HTTP/1.1\r\nHost: shop\r\nTransfer-Encoding: chunked\r\n"

Test(auth, bodies_are_seen_by_the_service_and_then_by_the_backend)
{
	begin(BODY MAIN, CHUNK "Expect: 100-continue\r\n\r\n");
	rig_expect(&r, &client, "HTTP/1.1 100 Continue\r\n\r\n");
	rig_send(&r, &client, "4\r\nhalf\r\n");
	cr_assert(!rig_pending(&r, &r.backends[1]));
	rig_send(&r, &client, "4\r\nhalf\r\n0\r\nX-T: u\r\n\r\n");
	ask("POST / HTTP/1.1\r\nHost: shop\r\nContent-Length: 8\r\n\r\nhalfhalf", YES);
	rig_accept(&r, &r.backends[0], &server);
	rig_expect(&r, &server, CHUNK "\r\n");
	rig_expect_chunked(&r, &server, "halfhalf", "X-T: u\r\n");
	rig_send(&r, &server, OK);
	rig_expect(&r, &client, OK);
}

Test(auth, a_mirror_behind_it_gets_the_body_too)
{
	struct rig_peer shadow = RIG_PEER_INIT;

	begin(BODY "    - {type: RequestMirror, requestMirror: {backendRef: {name: cart, port: "
		   "80}}}\n" MAIN,
	      "POST / HTTP/1.1\r\nHost: shop\r\nContent-Length: 4\r\n\r\nbody");
	ask("POST / HTTP/1.1\r\nHost: shop\r\nContent-Length: 4\r\n\r\nbody",
	    "HTTP/1.1 200 OK\r\nX-User: me\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
	rig_accept(&r, &r.backends[1], &shadow);
	rig_expect(&r, &shadow,
		   "POST / HTTP/1.1\r\nHost: shop\r\nX-User: me\r\nContent-Length: 4\r\n\r\nbody");
	expect_exchange(
		"POST / HTTP/1.1\r\nHost: shop\r\nX-User: me\r\nContent-Length: 4\r\n\r\nbody");
	rig_close(&shadow);
}

Test(auth, bodies_that_are_not_asked_about_stream)
{
	begin(AUTH("") MAIN, "POST / HTTP/1.1\r\nHost: shop\r\nContent-Length: 4\r\n\r\nha");
	ask("POST / HTTP/1.1\r\nHost: shop\r\nContent-Length: 0\r\n\r\n", YES);
	rig_accept(&r, &r.backends[0], &server);
	rig_expect(&r, &server, "POST / HTTP/1.1\r\nHost: shop\r\nContent-Length: 4\r\n\r\nha");
	rig_send(&r, &client, "lf");
	rig_expect(&r, &server, "lf");
}

#define TOO_LONG "the body is longer than the route lets its authorization see"

Test(auth, longer_bodies_are_refused)
{
	begin(BODY MAIN, "POST / HTTP/1.1\r\nHost: shop\r\nContent-Length: 9\r\n\r\n");
	rig_expect_own(&r, &client, "413 Content Too Large", TOO_LONG, true);
	rig_close(&client);
	client = RIG_PEER_INIT;
	rig_connect(&r, &client);
	rig_send(&r, &client, CHUNK "\r\n9\r\n123456789\r\n");
	rig_expect_own(&r, &client, "413 Content Too Large", TOO_LONG, true);
	cr_assert_eq(rig_ended(&r, SL_END_DENIED), 2);
	cr_assert(!rig_pending(&r, &r.backends[1]));
}

Test(auth, the_agents_own_limit_counts_too)
{
	r.opts.auth_body_bytes = 4;
	begin(BODY MAIN, "POST / HTTP/1.1\r\nHost: shop\r\nContent-Length: 5\r\n\r\n");
	rig_skip_to(&r, &client, "(limit auth-body-bytes=4)\n");
	cr_assert_eq(r.shard->limits[SL_LIMIT_AUTH_BODY_BYTES], 1);
}

Test(auth, of_a_backend_and_behind_others)
{
	begin("  - filters:\n"
	      "    - {type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: A, value: "
	      "b}]}}\n"
	      "    backendRefs:\n    - name: v1\n      port: 80\n      filters:\n"
	      "      - {type: ExternalAuth, externalAuth: {protocol: HTTP, http: {allowedHeaders: "
	      "[a]}, "
	      "backendRef: {name: cart, port: 80}}}\n"
	      "      - {type: URLRewrite, urlRewrite: {hostname: far}}\n",
	      "GET / HTTP/1.1\r\nHost: shop\r\n\r\n");
	ask("GET / HTTP/1.1\r\nHost: shop\r\nA: b\r\nContent-Length: 0\r\n\r\n", YES);
	expect_exchange("GET / HTTP/1.1\r\nHost: far\r\nA: b\r\n\r\n");
}

#define TWO(second)                                                                        \
	AUTH("forwardBody: {maxSize: 8}, ")                                                \
	MAIN_OPEN "      filters:\n      - {type: ExternalAuth, externalAuth: {protocol: " \
		  "HTTP, " second "backendRef: {name: cart, port: 80}}}\n"
#define MAIN_OPEN  "    backendRefs:\n    - name: v1\n      port: 80\n"
#define WITH_BODY  "POST / HTTP/1.1\r\nHost: shop\r\nContent-Length: 4\r\n\r\nbody"
#define WITHOUT_IT "POST / HTTP/1.1\r\nHost: shop\r\nContent-Length: 0\r\n\r\n"

Test(auth, a_second_service_sees_of_the_body_what_the_route_lets_it)
{
	begin(TWO(""), WITH_BODY);
	ask(WITH_BODY, YES);
	ask(WITHOUT_IT, YES);
	expect_exchange(WITH_BODY);
}

Test(auth, a_second_service_may_be_shown_less)
{
	begin(TWO("forwardBody: {maxSize: 3}, "), WITH_BODY);
	ask(WITH_BODY, YES);
	rig_expect_own(&r, &client, "413 Content Too Large", TOO_LONG, false);
	cr_assert(!rig_pending(&r, &r.backends[0]));
}
