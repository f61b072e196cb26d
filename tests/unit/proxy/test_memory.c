/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each allocation of the proxy fails once, in every kind of exchange: what is at hand may be
 * refused or cut, but nothing crashes, hangs or leaks, and the next exchange works.
 */
#include <errno.h>
#include "rig.h"
#include "routes.h"

enum { N_SERVERS = 8, BODY_BYTES = 300000 };

struct scene {
	const char *name;
	const char *rules;
	const char *request; /* NULL: the client waits for the server's first words */
	const char *response;
	const char *end; /* of what the client gets in a whole exchange */
	bool with_body;	 /* BODY_BYTES more behind the request, and behind the response */
	bool warm;	 /* a first exchange leaves a connection, which the server closes behind the
			    request */
	bool refused;	 /* there is an endpoint that refuses */
	bool logging;
	bool tunnels;	    /* to shop/cart */
	const char *more;   /* further objects */
	const char *faults; /* of a FaultInjection for all requests */
};

#define GET "GET /some/path?x=y HTTP/1.1\r\nHost: cart\r\nUser-Agent: test\r\n\r\n"
#define OK  "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nENDOK"

static const struct scene scenes[] = {
	{"plain", NULL, GET, OK, "ENDOK", .logging = true},
	{"bodies with a length", NULL,
	 "POST / HTTP/1.1\r\nHost: cart\r\nContent-Length: 300000\r\n\r\n",
	 "HTTP/1.1 200 OK\r\nContent-Length: 300005\r\n\r\n", "ENDOK", .with_body = true},
	{"chunks", NULL,
	 "POST / HTTP/1.1\r\nHost: cart\r\nTransfer-Encoding: chunked\r\n\r\n"
	 "5\r\nhello\r\n0\r\nX-A: b\r\nX-C: d\r\n\r\n",
	 "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-E: f\r\n\r\n",
	 "0\r\nX-E: f\r\n\r\n"},
	{"matches and filters",
	 "  - matches:\n"
	 "    - path: {type: RegularExpression, value: /some/.*}\n"
	 "      headers: [{name: user-agent, value: test}]\n"
	 "      queryParams: [{name: x, value: y}]\n"
	 "    filters:\n"
	 "    - type: RequestHeaderModifier\n"
	 "      requestHeaderModifier: {set: [{name: A, value: b}], add: [{name: C, value: d}]}\n"
	 "    - type: ResponseHeaderModifier\n"
	 "      responseHeaderModifier: {set: [{name: A, value: b}], remove: [E]}\n"
	 "    - type: URLRewrite\n"
	 "      urlRewrite: {hostname: far, path: {type: ReplaceFullPath, replaceFullPath: /x}}\n"
	 "    backendRefs: [{name: v1, port: 80}]\n",
	 GET, OK, "ENDOK"},
	{"a redirect",
	 "  - filters:\n"
	 "    - type: RequestRedirect\n"
	 "      requestRedirect: {hostname: example.org, statusCode: 302}\n",
	 GET, "", "Content-Length: 0\r\n\r\n"},
	{"a preflight",
	 "  - filters:\n"
	 "    - type: CORS\n"
	 "      cors: {allowOrigins: ['http://*.example'], allowMethods: ['*'], exposeHeaders: "
	 "[a]}\n",
	 "OPTIONS / HTTP/1.1\r\nHost: cart\r\nOrigin: http://a.example\r\n"
	 "Access-Control-Request-Method: GET\r\n\r\n",
	 "", "Content-Length: 0\r\n\r\n"},
	/* shop/v1 is asked too: its answer is a yes. */
	{"an authorization",
	 "  - filters:\n"
	 "    - type: ExternalAuth\n"
	 "      externalAuth: {protocol: HTTP, forwardBody: {maxSize: 9}, backendRef: {name: v1, "
	 "port: 80}}\n"
	 "    backendRefs: [{name: v1, port: 80}]\n",
	 "POST / HTTP/1.1\r\nHost: cart\r\nAuthorization: a\r\nContent-Length: 6\r\n\r\nhi\r\n\r\n",
	 "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nENDOK", "ENDOK"},
	{"mirrors",
	 "  - filters:\n"
	 "    - {type: RequestMirror, requestMirror: {backendRef: {name: cart, port: 80}}}\n"
	 "    - {type: RequestMirror, requestMirror: {backendRef: {name: v1, port: 80}}}\n"
	 "    backendRefs: [{name: v1, port: 80}]\n",
	 "POST / HTTP/1.1\r\nHost: cart\r\nTransfer-Encoding: chunked\r\n\r\n"
	 "5\r\nhello\r\n0\r\nX-A: b\r\n\r\n",
	 OK, "ENDOK"},
	{"no rule", "  - matches: [{path: {type: Exact, value: /x}}]\n", GET, "", "this request\n"},
	{"an interim answer", NULL, GET, "HTTP/1.1 103 Early Hints\r\nA: b\r\n\r\n" OK, "ENDOK"},
	{"an upgrade", NULL,
	 "GET / HTTP/1.1\r\nHost: cart\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
	 "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: "
	 "websocket\r\n\r\nENDOK",
	 "ENDOK", .logging = true},
	{"a stale connection", NULL, GET, OK, "ENDOK", .warm = true},
	{"an endpoint that refuses", NULL, GET, OK, "ENDOK", .refused = true},
	{"a delay", NULL, GET, OK, "ENDOK", .faults = "delay: {percent: 100, duration: 1ms}",
	 .logging = true},
	{"an abort", NULL, GET, OK, "aborted by FaultInjection/shop/chaos\n",
	 .faults = "matches: [{headers: [{name: user-agent, value: test}]}], delay: {percent: 100, "
		   "duration: 1ms}, abort: {percent: 100, httpStatus: 418}"},
	{"a session",
	 "  - sessionPersistence: {idleTimeout: 1h, cookie: {name: pin}}\n"
	 "    backendRefs: [{name: v1, port: 80}, {name: v1, port: 80}]\n",
	 "GET / HTTP/1.1\r\nHost: cart\r\nCookie: a=b; pin=abc.def\r\n\r\n", OK, "ENDOK"},
	{"a retry",
	 "  - retry: {codes: [503], backoff: 1ms}\n"
	 "    backendRefs: [{name: v1, port: 80}]\n",
	 "POST / HTTP/1.1\r\nHost: cart\r\nContent-Length: 6\r\n\r\nhi\r\n\r\n",
	 "HTTP/1.1 503 Busy\r\nConnection: close\r\nContent-Length: 5\r\n\r\nENDOK", "ENDOK"},
	{"a tunnel", NULL, "\x16\x03\x01", "ENDOK", "ENDOK", .tunnels = true, .logging = true},
	{"a tunnel with much to carry", NULL, "\x16\x03\x01", "", "ENDOK", .tunnels = true,
	 .with_body = true},
	{"a server that speaks first", NULL, NULL, "ENDOK", "ENDOK", .tunnels = true},
	{"a TCPRoute", "", "GET / HTTP/1.1\r\n\r\n", "ENDOK", "ENDOK", .more = TCP_TO(V1),
	 .logging = true},
	{"a shadow route", NULL, GET, OK, "ENDOK",
	 .more = "---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\n"
		 "metadata: {name: next, namespace: shop, annotations: {sluice.dev/shadow: "
		 "'true'}}\n"
		 "spec:\n  parentRefs: [{group: '', kind: Service, name: cart}]\n  rules:\n"
		 "  - matches: [{path: {value: /some}, headers: [{name: user-agent, value: "
		 "test}]}]\n"
		 "    filters:\n    - {type: URLRewrite, urlRewrite: {hostname: far}}\n"
		 "    backendRefs: [{name: cart, port: 80}]\n",
	 .logging = true},
	{"a malformed TLS client", "", "\x16\x03\x01\x01\x01\x02", "", "\x02\x32",
	 .more = TLS_TO("a.example", V1), .logging = true},
};

static struct rig r;
static struct rig_peer client, servers[N_SERVERS];
static bool answered[N_SERVERS], closed_stale = true;
static unsigned n_servers;
static char body[BODY_BYTES];
static size_t body_sent;

static bool ends_with(const struct rig_peer *p, const char *text)
{
	size_t n = strlen(text);

	return p->n_got >= n && !memcmp(p->got + p->n_got - n, text, n);
}

/* Whether the server has the whole request, as far as the test cares. */
static bool request_is_there(const struct scene *sc, const struct rig_peer *p)
{
	if (!sc->request)
		return true;
	if (sc->with_body)
		return p->n_got >= BODY_BYTES;
	return sc->tunnels ? p->n_got > 0 : ends_with(p, "\r\n\r\n");
}

/* Returns false when the connection takes no more for ever. */
static bool send_some(struct rig_peer *p, size_t *sent)
{
	ssize_t n;

	if (*sent >= BODY_BYTES)
		return true;
	n = send(p->fd, body + *sent, BODY_BYTES - *sent, MSG_NOSIGNAL);
	if (n > 0)
		*sent += (size_t)n;
	return n > 0 || errno == EAGAIN;
}

static void answer(const struct scene *sc, struct rig_peer *p)
{
	uint64_t deadline = 0;
	size_t sent = 0;

	(void)send(p->fd, sc->response, strlen(sc->response), MSG_NOSIGNAL); /* may be cut */
	if (!sc->with_body)
		return;
	while (sent < BODY_BYTES && send_some(p, &sent)) {
		cr_assert(rig_waiting(&r, &deadline), "%s: the answer hangs", sc->name);
		rig_peek(&client);
	}
	(void)send(p->fd, "ENDOK", 5, MSG_NOSIGNAL); /* as above */
}

static void serve(const struct scene *sc, unsigned i)
{
	struct rig_peer *p = &servers[i];

	rig_peek(p);
	if (answered[i] || p->eof || p->error || !request_is_there(sc, p))
		return;
	answered[i] = true;
	p->n_got = 0;
	if (!closed_stale && i == 0) {
		/* Behind the second request of the first connection. */
		closed_stale = true;
		rig_close(p);
		return;
	}
	answer(sc, p);
}

static struct rig_backend *backend_of(const struct scene *sc)
{
	return &r.backends[sc->tunnels ? 1 : 0];
}

/* Plays until the client has the end of the answer (true) or its connection ended (false). Answers
 * of the proxy's own also end it. */
static bool play(const struct scene *sc)
{
	unsigned n_rounds = 0;
	uint64_t deadline = 0;

	while (!ends_with(&client, sc->end)) {
		if (client.eof || client.error)
			return false;
		if (client.n_got && memmem(client.got, client.n_got, "\r\n\r\nsluice: ", 12) &&
		    ends_with(&client, "\n"))
			return false;
		if (++n_rounds > 100)
			cr_assert(rig_waiting(&r, &deadline), "%s: hangs, client has \"%.*s\"",
				  sc->name, (int)(client.n_got < 200 ? client.n_got : 200),
				  client.got);
		rig_round(&r);
		if (sc->with_body)
			(void)send_some(&client, &body_sent); /* the answer tells */
		if (n_servers < N_SERVERS && rig_try_accept(backend_of(sc), &servers[n_servers])) {
			answered[n_servers] = false;
			n_servers++;
		}
		for (unsigned i = 0; i < n_servers; i++)
			serve(sc, i);
		rig_peek(&client);
	}
	return true;
}

static void expect_no_sides(void)
{
	uint64_t deadline = 0;

	while (rig_gauge(&r, SL_GAUGE_SIDE_REQUESTS)) {
		cr_assert(rig_waiting(&r, &deadline), "a mirror goes on");
		while (rig_try_accept(&r.backends[0], &servers[0]) ||
		       rig_try_accept(&r.backends[1], &servers[0]))
			rig_close(&servers[0]);
	}
}

static void hang_up(void)
{
	rig_close(&client);
	for (unsigned i = 0; i < n_servers; i++)
		rig_close(&servers[i]);
	n_servers = 0;
	body_sent = 0;
	rig_expect_conns(&r, 0);
	/* Dialled ahead and not accepted by the test. */
	while (rig_try_accept(&r.backends[0], &servers[0]) ||
	       rig_try_accept(&r.backends[1], &servers[0]))
		rig_close(&servers[0]);
	expect_no_sides();
	rig_expect_idle(&r, 0);
}

/* Returns whether the whole exchange went well. */
static bool exchange(const struct scene *sc)
{
	rig_connect(&r, &client);
	if (sc->request)
		rig_send(&r, &client, sc->request);
	return play(sc);
}

static void prepare(const struct scene *sc)
{
	char faults[RIG_FAULTS_BYTES], list[RIG_FAULTS_BYTES];

	rig_init(&r);
	(void)rig_add_backend(&r, "cart", false);
	if (sc->refused)
		(void)rig_add_backend(&r, "v1", true);
	r.logging = sc->logging;
	rig_start(&r);
	r.more = sc->more;
	(void)snprintf(list, sizeof(list), "faults: [{%s}]", sc->faults ? sc->faults : "");
	if (sc->faults)
		r.more = rig_faults(faults, RIG_V1, list, -60, 60);
	rig_configure(&r, sc->rules);
	closed_stale = true;
	if (!sc->warm)
		return;
	cr_assert(exchange(sc), "%s", sc->name);
	client.n_got = 0;
	answered[0] = closed_stale = false;
}

/* True when the allocation of that number was asked for. */
static bool try_failure(const struct scene *sc, long n)
{
	size_t asked;
	bool ok;

	prepare(sc);
	sl_blocks_deinit(&r.proxy->blocks); /* a warm proxy would ask for none */
	(void)sl_alloc_fail_after(n);
	if (sc->warm) {
		rig_send(&r, &client, sc->request);
		ok = play(sc);
	} else {
		ok = exchange(sc);
	}
	asked = sl_alloc_fail_after(-1);
	cr_assert(ok || asked > (size_t)n, "%s: fails by itself", sc->name);
	hang_up();
	cr_assert_eq(rig_gauge(&r, SL_GAUGE_POOL_LEASED), 0, "%s", sc->name);
	cr_assert_eq(rig_gauge(&r, SL_GAUGE_REQUESTS), 0, "%s", sc->name);
	cr_assert_eq(rig_gauge(&r, SL_GAUGE_TUNNELS), 0, "%s", sc->name);
	cr_assert_eq(r.proxy->buffered_bytes, 0, "%s", sc->name);
	closed_stale = true;
	cr_assert(exchange(sc), "%s: the next one fails", sc->name);
	hang_up();
	rig_free(&r);
	return asked > (size_t)n;
}

Test(memory, each_allocation_of_an_exchange_may_fail)
{
	for (size_t i = 0; i < sizeof(scenes) / sizeof(*scenes); i++) {
		long n = 0;

		while (try_failure(&scenes[i], n))
			n++;
		cr_assert_gt(n, 2, "%s", scenes[i].name);
		cr_log_info("%s: %ld allocations", scenes[i].name, n);
	}
	check_leaks();
}

/* ---- what is not an exchange ---- */

Test(memory, a_proxy_that_cannot_be_made_leaves_nothing)
{
	const struct sl_proxy_opts opts = SL_PROXY_OPTS_DEFAULT;
	const struct sl_proxy_host host = {0};
	struct sl_proxy *proxy = NULL;
	struct sl_loop *loop;
	int err;
	long n = 0;

	cr_assert_eq(sl_loop_new(&loop), 0);
	do {
		(void)sl_alloc_fail_after(n++);
		err = sl_proxy_new(loop, &opts, &host, NULL, NULL, &proxy);
	} while (err);
	(void)sl_alloc_fail_after(-1);
	cr_assert_gt(n, 2);
	proxy = sl_proxy_free(proxy);
	loop = sl_loop_free(loop);
	check_leaks();
}

Test(memory, a_snapshot_that_does_not_fit_leaves_the_old_one)
{
	struct sl_snapshot *snap;
	long n = 0;

	rig_init(&r);
	rig_start(&r);
	snap = rig_snapshot(&r, "  - matches: [{path: {type: Exact, value: /x}}]\n"
				"    backendRefs: [{name: v1, port: 80}]\n"
				"  - backendRefs: [{name: v1, port: 80}]\n");
	for (;;) {
		const struct sl_config *before = r.proxy->config;
		int err;

		(void)sl_alloc_fail_after(n);
		err = sl_proxy_set_snapshot(r.proxy, snap);
		(void)sl_alloc_fail_after(-1);
		if (!err)
			break;
		cr_assert_eq(r.proxy->config, before);
		n++;
	}
	cr_assert_gt(n, 0);
	(void)sl_snapshot_unref(snap); /* always NULL */
	rig_stop(&r);
}

Test(memory, a_source_that_does_not_fit_can_be_added_again)
{
	long n = 0;
	int err;

	rig_init(&r);
	rig_start(&r);
	do {
		sl_proxy_remove_source(r.proxy, r.source->cookie);
		(void)sl_alloc_fail_after(n++);
		err = sl_proxy_add_source(r.proxy, r.source, &r.listener, 1);
		(void)sl_alloc_fail_after(-1);
		if (err)
			cr_assert_eq(sl_proxy_add_source(r.proxy, r.source, &r.listener, 1), 0);
		cr_assert(exchange(&scenes[0]));
		hang_up();
	} while (err);
	cr_assert_gt(n, 2);
	rig_stop(&r);
}
