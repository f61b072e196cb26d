/* SPDX-License-Identifier: Apache-2.0 */
/* sessionPersistence: who comes again gets the endpoint that he had. */
#include "rig.h"

enum { N = 3, VALUE_MAX = 512 };

#define OK "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

static struct rig r;
static struct rig_peer client, servers[RIG_MAX_BACKENDS];
static unsigned served; /* the endpoint that answered last */

static void set_up(void)
{
	client = RIG_PEER_INIT;
	for (int i = 0; i < RIG_MAX_BACKENDS; i++)
		servers[i] = RIG_PEER_INIT;
	rig_init(&r);
	while (r.n_backends < N)
		(void)rig_add_backend(&r, "v1", false);
}

static void tear_down(void)
{
	rig_close(&client);
	for (int i = 0; i < RIG_MAX_BACKENDS; i++)
		rig_close(&servers[i]);
	rig_stop(&r);
}

TestSuite(persistence, .init = set_up, .fini = tear_down);

#define RULE(persistence) \
	"  - backendRefs: [{name: v1, port: 80}]\n    sessionPersistence: " persistence "\n"

static void start(const char *rules)
{
	rig_start(&r);
	rig_configure(&r, rules);
	rig_connect(&r, &client);
}

/* Whoever has the request answers it. */
static void answer_one(const char *response)
{
	uint64_t deadline = 0;

	for (;;) {
		cr_assert(rig_waiting(&r, &deadline), "the request came to nobody");
		for (unsigned i = 0; i < r.n_backends; i++) {
			struct rig_peer *p = &servers[i];

			if (p->fd < 0 && r.backends[i].fd >= 0)
				(void)rig_try_accept(&r.backends[i], p);
			if (p->fd < 0)
				continue;
			rig_peek(p);
			if (p->n_got < 4 || memcmp(p->got + p->n_got - 4, "\r\n\r\n", 4) != 0)
				continue;
			p->n_got = 0;
			served = i;
			rig_send(&r, p, response);
			return;
		}
	}
}

/* The line of that name in the answer, "" when there is none; a copy in *value. */
static const char *ask_for(const char *response, const char *request_line, const char *name,
			   char value[VALUE_MAX])
{
	char request[1024], line[64];
	const char *at;
	uint64_t deadline = 0;

	(void)snprintf(request, sizeof(request), "GET / HTTP/1.1\r\nHost: cart\r\n%s\r\n",
		       request_line);
	rig_send(&r, &client, request);
	answer_one(response);
	while (client.n_got < 6 || memcmp(client.got + client.n_got - 6, "\r\n\r\nok", 6) != 0) {
		cr_assert(rig_waiting(&r, &deadline), "no answer");
		rig_peek(&client);
	}
	(void)snprintf(line, sizeof(line), "\r\n%s: ", name);
	at = memmem(client.got, client.n_got, line, strlen(line));
	value[0] = '\0';
	if (at) {
		const char *text = at + strlen(line);
		size_t n = (size_t)((char *)memchr(text, '\r', VALUE_MAX) - text);

		cr_assert_lt(n, VALUE_MAX);
		memcpy(value, text, n);
		value[n] = '\0';
	}
	client.n_got = 0;
	return value;
}

static const char *ask(const char *request_line, char value[VALUE_MAX])
{
	return ask_for(OK, request_line, "Set-Cookie", value);
}

/* "Cookie: name=token" of a Set-Cookie line. */
static const char *cookie_line(const char *set_cookie, char line[VALUE_MAX])
{
	(void)snprintf(line, VALUE_MAX, "Cookie: x=y; %.*s; z=1\r\n", (int)strcspn(set_cookie, ";"),
		       set_cookie);
	return line;
}

Test(persistence, a_cookie_leads_to_the_same_endpoint)
{
	char set[VALUE_MAX], again[VALUE_MAX], line[VALUE_MAX];
	unsigned first;

	start(RULE("{cookie: {}}"));
	(void)ask("", set);
	first = served;
	cr_assert_eq(strncmp(set, "sluice.shop.", 12), 0, "%s", set);
	cr_assert_not_null(strstr(set, "; Path=/; HttpOnly; SameSite=Strict"));
	cr_assert_null(strstr(set, "Max-Age"));
	for (int i = 0; i < 2 * N; i++) {
		cr_expect_str_eq(ask(cookie_line(set, line), again), "", "it has one");
		cr_expect_eq(served, first);
	}
	cr_expect_eq(rig_counter(&r, SL_COUNTER_SESSIONS_BEGUN), 1);
	cr_expect_eq(rig_counter(&r, SL_COUNTER_SESSIONS_KEPT), 2 * N);
}

Test(persistence, a_cookie_as_it_was_asked_for)
{
	char set[VALUE_MAX];

	start(RULE("{absoluteTimeout: 1h, cookie: {name: Mine, path: /a b, lifetimeType: "
		   "Permanent}}"));
	(void)ask("", set);
	cr_expect_eq(strncmp(set, "Mine=", 5), 0);
	cr_expect_not_null(strstr(set, "; Path=/a b; Max-Age=3600; HttpOnly"), "%s", set);
}

Test(persistence, a_header_leads_to_the_same_endpoint)
{
	char token[VALUE_MAX], again[VALUE_MAX], line[VALUE_MAX];
	unsigned first;

	start(RULE("{type: Header, header: {name: X-Session}}"));
	(void)ask_for(OK, "", "X-Session", token);
	first = served;
	cr_assert_eq(strlen(token), 72, "%s", token);
	(void)snprintf(line, sizeof(line), "x-session: %s\r\n", token);
	for (int i = 0; i < 2 * N; i++) {
		cr_expect_str_eq(ask_for(OK, line, "X-Session", again), "");
		cr_expect_eq(served, first);
	}
}

/* Nobody who shows such things is refused. */
Test(persistence, what_is_no_token_is_no_harm)
{
	static const char *const lines[] = {
		"Cookie: Mine=\r\n", "Cookie: Mine\r\n", "Cookie: Mine=.....................\r\n",
		"Cookie: ;;; ;Mine=abc; Mine=def\r\nCookie: Mine=1\r\n", "Cookie: mine=1\r\n"};
	char set[VALUE_MAX];
	unsigned seen = 0;

	start(RULE("{cookie: {name: Mine}}"));
	for (size_t i = 0; i < sizeof(lines) / sizeof(*lines); i++) {
		cr_expect_str_neq(ask(lines[i], set), "", "%s", lines[i]);
		seen |= 1U << served;
	}
	cr_expect_eq(seen, (1U << N) - 1, "balanced as if there were none");
}

Test(persistence, an_endpoint_that_went_gives_way_to_another)
{
	char set[VALUE_MAX], again[VALUE_MAX], line[VALUE_MAX];
	unsigned first, second;

	start(RULE("{cookie: {}}"));
	(void)ask("", set);
	first = served;
	/* It refuses, and its connection is gone. */
	(void)close(r.backends[first].fd);
	r.backends[first].fd = -1;
	rig_close(&servers[first]);
	rig_expect_idle(&r, 0);
	cr_expect_str_neq(ask(cookie_line(set, line), again), "", "a new one");
	second = served;
	cr_assert_neq(second, first);
	cr_expect_str_eq(ask(cookie_line(again, line), set), "");
	cr_expect_eq(served, second);
}

Test(persistence, a_session_ends)
{
	static const char *const rules[] = {RULE("{absoluteTimeout: 1ms, cookie: {}}"),
					    RULE("{idleTimeout: 1ms, sessionName: old}")};

	for (size_t i = 0; i < 2; i++) {
		char set[VALUE_MAX], again[VALUE_MAX], line[VALUE_MAX];

		start(rules[i]);
		(void)ask("", set);
		(void)cookie_line(set, line);
		rig_pass(&r, 1100 * SL_NS_PER_MS);
		cr_expect_str_neq(ask(line, again), "");
		cr_expect_eq(rig_counter(&r, SL_COUNTER_SESSIONS_MOVED), 1);
		tear_down();
		set_up();
	}
	rig_start(&r);
}

Test(persistence, an_application_keeps_its_own_cookies)
{
	char set[VALUE_MAX];

	start(RULE("{cookie: {name: Mine}}"));
	(void)ask_for("HTTP/1.1 200 OK\r\nSet-Cookie: app=1\r\nContent-Length: 2\r\n\r\nok", "",
		      "Set-Cookie", set);
	cr_expect_str_eq(set, "app=1");
}

/* One more backend, and a session with each of the two at a time. */
Test(persistence, weights_come_first_and_each_backend_has_a_session)
{
	char set[VALUE_MAX], line[VALUE_MAX] = "";
	int of_v1 = -1, of_cart = -1;

	r.backends[2].service = "cart";
	(void)rig_add_backend(&r, "cart", false);
	start("  - backendRefs: [{name: v1, port: 80}, {name: cart, port: 80}]\n"
	      "    sessionPersistence: {cookie: {name: Mine}}\n");
	for (int i = 0; i < 12; i++) {
		if (*ask(line, set))
			(void)cookie_line(set, line);
		if (served < 2) {
			cr_expect(of_v1 < 0 || of_v1 == (int)served);
			of_v1 = (int)served;
		} else {
			cr_expect(of_cart < 0 || of_cart == (int)served);
			of_cart = (int)served;
		}
	}
	cr_expect(of_v1 >= 0 && of_cart >= 0, "shares are as the weights say");
	cr_expect_eq(rig_counter(&r, SL_COUNTER_SESSIONS_KEPT), 10);
}

Test(persistence, a_retry_that_helped_moves_the_session)
{
	char set[VALUE_MAX], request[2 * VALUE_MAX], line[VALUE_MAX];
	unsigned first;

	start("  - backendRefs: [{name: v1, port: 80}]\n    retry: {codes: [503]}\n"
	      "    sessionPersistence: {cookie: {}}\n");
	(void)ask("", set);
	first = served;
	(void)cookie_line(set, line);
	(void)snprintf(request, sizeof(request), "GET / HTTP/1.1\r\nHost: cart\r\n%s\r\n", line);
	rig_send(&r, &client, request);
	answer_one("HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n");
	cr_expect_eq(served, first);
	answer_one(OK);
	cr_expect_neq(served, first);
	(void)rig_skip_to(&r, &client, "Set-Cookie: sluice.");
	(void)rig_skip_to(&r, &client, "\r\n\r\nok");
}
