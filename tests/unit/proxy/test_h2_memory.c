/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each allocation of the proxy fails once where one side or both speak HTTP/2: streams and
 * connections may end, but nothing crashes, hangs or leaks, and the next exchange works. What the
 * test's own sessions allocate is not counted.
 */
#include <sys/socket.h>
#include "h2_side.h"
#include "http/websocket.h"

enum { N_SERVERS = 4 };

struct scene {
	const char *name;
	const char *old;       /* request of a client of HTTP/1; NULL: HTTP/2 */
	const char *method;    /* else */
	const char *server;    /* appProtocol of the backend */
	bool with_body;	       /* of the request, and trailers */
	bool answers_in_parts; /* an interim head, a body, trailers */
	bool refuses;	       /* the server the first time */
	bool websocket;
	bool upgrades; /* from HTTP/1.1 to HTTP/2: its frames are looked at as text */
};

#define H2C "kubernetes.io/h2c"

static const struct scene scenes[] = {
	{"HTTP/2 to HTTP/1", NULL, "GET", "http"},
	{"HTTP/2 to HTTP/1, all parts", NULL, "POST", "http", .with_body = true,
	 .answers_in_parts = true},
	{"HTTP/2 to HTTP/2", NULL, "GET", H2C},
	{"HTTP/2 to HTTP/2, all parts", NULL, "POST", H2C, .with_body = true,
	 .answers_in_parts = true},
	{"HTTP/1 to HTTP/2", "GET / HTTP/1.1\r\nHost: cart\r\n\r\n", NULL, H2C},
	{"HTTP/1 to HTTP/2, all parts",
	 "POST / HTTP/1.1\r\nHost: cart\r\nTransfer-Encoding: chunked\r\n\r\n"
	 "5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n",
	 NULL, H2C, .answers_in_parts = true},
	{"refused and sent again", NULL, "POST", H2C, .with_body = true, .refuses = true},
	{"a WebSocket over HTTP/2", NULL, "GET", H2C, .websocket = true},
	{"a WebSocket to HTTP/1", NULL, "GET", "http", .websocket = true},
	{"a WebSocket to HTTP/2",
	 "GET / HTTP/1.1\r\nHost: cart\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
	 "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
	 NULL, H2C, .websocket = true},
	{"a tunnel", NULL, "CONNECT", "http"},
	{"an upgrade",
	 "GET / HTTP/1.1\r\nHost: cart\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
	 "HTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n",
	 NULL, H2C, .upgrades = true},
};

static struct rig r;
static struct h2_side client, servers[N_SERVERS];
static struct rig_peer old;
static unsigned n_servers, n_refused;
static bool answered[N_SERVERS];
static long left; /* allocations of the proxy until one fails; < 0: none does */
static size_t asked;

static bool speaks_h2(const struct scene *sc)
{
	return !strcmp(sc->server, H2C);
}

static void armed_round(void)
{
	size_t n;

	(void)sl_alloc_fail_after(left);
	rig_round(&r);
	n = sl_alloc_fail_after(-1);
	asked += n;
	left = left < 0 || (long)n > left ? -1 : left - (long)n;
}

static bool contains(const struct rig_peer *p, const char *text)
{
	return p->n_got && memmem(p->got, p->n_got, text, strlen(text));
}

static void say(struct rig_peer *p, const char *text)
{
	(void)send(p->fd, text, strlen(text), MSG_NOSIGNAL); /* it may have been cut */
}

/* ---- the server ---- */

static void answer_stream(const struct scene *sc, struct h2_call *c)
{
	struct sl_response early = {.status = 103}, res = {.status = 200, .body = SL_BODY_CHUNKED};
	static struct sl_header field = {.name = SL_STR("x-sum"), .value = SL_STR("1")};
	static const struct sl_headers trailers = {.items = &field, .n = 1};

	if (sc->refuses && !n_refused++) {
		sl_h2_reset(&c->h2, SL_H2_REFUSED_STREAM);
		return;
	}
	if (sc->answers_in_parts)
		(void)sl_h2_interim(&c->h2, &early); /* each fails on a stream that is gone */
	(void)sl_h2_respond(&c->h2, &res, sc->websocket);
	(void)sl_h2_write_text(&c->h2, SL_STR("ENDOK"));
	(void)sl_h2_end(&c->h2, sc->answers_in_parts ? &trailers : NULL);
}

static void serve_h2(const struct scene *sc, struct h2_side *s)
{
	h2_side_turn(s);
	for (unsigned i = 0; i < s->n_calls; i++) {
		struct h2_call *c = &s->calls[i];
		bool whole = c->h2.ended_in || (sc->websocket && c->h2.head_in);

		if (!whole || c->h2.closed || c->req.version == 0)
			continue;
		answer_stream(sc, c);
		c->req.version = 0; /* done with */
	}
}

static void accept_key(struct rig_peer *p)
{
	const char *key = memmem(p->got, p->n_got, "Sec-WebSocket-Key: ", 19);
	char accept[SL_WEBSOCKET_ACCEPT_TEXT], text[200];

	if (!key)
		return;
	cr_assert_eq(sl_websocket_accept((struct sl_str){key + 19, 24}, accept), 0);
	(void)snprintf(text, sizeof(text),
		       "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"
		       "Upgrade: websocket\r\nSec-WebSocket-Accept: %s\r\n\r\nENDOK",
		       accept);
	say(p, text);
}

static void serve_h1(const struct scene *sc, struct rig_peer *p, bool *done)
{
	rig_peek(p);
	if (*done || !contains(p, sc->with_body ? "0\r\nx-sum: 1\r\n\r\n" : "\r\n\r\n"))
		return;
	*done = true;
	if (sc->websocket)
		accept_key(p);
	else if (sc->answers_in_parts)
		say(p, "HTTP/1.1 103 Early Hints\r\nA: b\r\n\r\n"
		       "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
		       "5\r\nENDOK\r\n0\r\nx-sum: 1\r\n\r\n");
	else
		say(p, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nENDOK");
	if (sc->websocket || (sc->method && !strcmp(sc->method, "CONNECT")))
		(void)shutdown(p->fd, SHUT_WR); /* likewise */
}

static void serve(const struct scene *sc)
{
	if (n_servers < N_SERVERS && rig_try_accept(&r.backends[0], &servers[n_servers].peer)) {
		if (speaks_h2(sc))
			h2_side_begin(&servers[n_servers], SL_H2_SERVER);
		answered[n_servers++] = false;
	}
	for (unsigned i = 0; i < n_servers; i++) {
		if (speaks_h2(sc))
			serve_h2(sc, &servers[i]);
		else
			serve_h1(sc, &servers[i].peer, &answered[i]);
	}
}

/* ---- the client ---- */

/* And empty SETTINGS. */
static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0";

static void ask(const struct scene *sc)
{
	static struct sl_header field = {.name = SL_STR("x-sum"), .value = SL_STR("1")};
	static const struct sl_headers trailers = {.items = &field, .n = 1};
	struct h2_call *c;

	if (sc->old) {
		rig_connect(&r, &old);
		say(&old, sc->old);
		if (sc->upgrades)
			(void)send(old.fd, preface, sizeof(preface) - 1, MSG_NOSIGNAL);
		return;
	}
	h2_side_connect(&r, &client);
	if (sc->websocket) {
		/* Whether it is taken has to be known. */
		while (!sl_h2_settled(client.session) && !client.peer.eof && !client.peer.error) {
			h2_side_turn(&client);
			armed_round();
		}
	}
	c = h2_prepare(&client, sc->method, strcmp(sc->method, "CONNECT") ? "/" : "");
	if (sc->websocket)
		c->req.upgrade = SL_STR("websocket");
	if (c->req.method == SL_METHOD_CONNECT)
		c->req.target = c->req.authority = SL_STR("far:80");
	if (sc->with_body)
		c->req.body = SL_BODY_CHUNKED;
	h2_ask(&client, c);
	if (!sc->with_body)
		return;
	(void)sl_h2_write_text(&c->h2, SL_STR("hello")); /* the test's memory does not fail */
	(void)sl_h2_end(&c->h2, &trailers);
}

/* 1: has its answer; -1: has none, and gets none; 0: waits. */
static int has_old(const struct scene *sc)
{
	static const char rst[] = {0, 0, 4, 3, 0, 0, 0, 0, 1}; /* of stream 1 */

	rig_peek(&old);
	if (sc->answers_in_parts ? contains(&old, "x-sum: 1\r\n\r\n") : contains(&old, "ENDOK"))
		return 1;
	if (sc->upgrades && old.n_got && memmem(old.got, old.n_got, rst, sizeof(rst)))
		return -1;
	return old.eof || old.error || contains(&old, "sluice: ") ? -1 : 0;
}

static int has_new(const struct scene *sc)
{
	struct h2_call *c = &client.calls[0];

	h2_side_turn(&client);
	if (h2_has(c, "ENDOK") && c->h2.ended_in)
		return 1;
	return c->h2.closed || client.peer.eof || client.peer.error || client.error ? -1 : 0;
}

static bool exchange(const struct scene *sc)
{
	uint64_t until = sl_clock_now_ns() + 20 * SL_NS_PER_S;
	int outcome = 0;

	n_refused = 0;
	ask(sc);
	while (!outcome) {
		cr_assert(sl_clock_now_ns() < until, "%s: hangs", sc->name);
		armed_round();
		serve(sc);
		outcome = sc->old ? has_old(sc) : has_new(sc);
	}
	return outcome > 0;
}

static void hang_up(void)
{
	h2_side_deinit(&client);
	rig_close(&old);
	for (unsigned i = 0; i < n_servers; i++)
		h2_side_deinit(&servers[i]);
	for (unsigned i = 0; i < N_SERVERS; i++)
		servers[i] = H2_SIDE_INIT;
	client = H2_SIDE_INIT;
	n_servers = 0;
	rig_expect_conns(&r, 0);
	while (rig_try_accept(&r.backends[0], &old))
		rig_close(&old);
	rig_expect_idle(&r, 0);
	h2_settle(&r, (struct h2_side *const[]){NULL});
}

/* True when the allocation of that number was asked for. */
static bool try_failure(const struct scene *sc, long n)
{
	size_t n_asked;
	bool ok;

	rig_init(&r);
	r.v1_protocol = sc->server;
	r.logging = true;
	rig_start(&r);
	hang_up();
	sl_blocks_deinit(&r.proxy->blocks); /* a warm proxy would ask for none */
	left = n;
	asked = 0;
	ok = exchange(sc);
	left = -1;
	n_asked = asked;
	cr_assert(ok || n_asked > (size_t)n, "%s: fails by itself", sc->name);
	hang_up();
	cr_assert_eq(rig_gauge(&r, SL_GAUGE_POOL_LEASED), 0, "%s, %ld", sc->name, n);
	cr_assert_eq(rig_gauge(&r, SL_GAUGE_REQUESTS), 0, "%s, %ld", sc->name, n);
	cr_assert_eq(rig_gauge(&r, SL_GAUGE_TUNNELS), 0, "%s, %ld", sc->name, n);
	cr_assert_eq(r.proxy->buffered_bytes, 0, "%s, %ld: %lld", sc->name, n, (long long)r.proxy->buffered_bytes);
	cr_assert(exchange(sc), "%s, %ld: the next one fails", sc->name, n);
	hang_up();
	rig_free(&r);
	return n_asked > (size_t)n;
}

Test(h2_memory, each_allocation_of_an_exchange_may_fail)
{
	for (size_t i = 0; i < sizeof(scenes) / sizeof(*scenes); i++) {
		long n = 0;

		while (try_failure(&scenes[i], n))
			n++;
		cr_assert_gt(n, 20, "%s", scenes[i].name);
		cr_log_info("%s: %ld allocations", scenes[i].name, n);
	}
	check_leaks();
}
