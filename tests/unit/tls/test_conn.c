/* SPDX-License-Identifier: Apache-2.0 */
/* A connection of the agent's against a server of OpenSSL's, in memory. */
#include <criterion/criterion.h>
#include <errno.h>
#include <openssl/err.h>
#include "base/alloc.h"
#include "peer.h"

#define HOST "shop.example"

static struct issued ca, other_ca;

static void setup(void)
{
	issue(&ca, NULL, "ca", NULL, 10);
	issue(&other_ca, NULL, "other", NULL, 10);
}

static void teardown(void)
{
	issued_free(&ca);
	issued_free(&other_ca);
}

TestSuite(conn, .init = setup, .fini = teardown);

/* ---- both ends ---- */

struct pair {
	struct sl_tls_context *context;
	struct sl_tls_sessions *sessions;
	struct sl_tls_conn *conn;
	struct server server;
	struct wire wire;
	enum sl_tls_protocol protocol;
};

static struct sl_tls_context *context_of(const struct sl_tls_name *names, uint32_t n)
{
	struct sl_tls_ca *list = ca_of(&ca);
	struct sl_tls_config config = {
		.hostname = SL_STR(HOST), .names = names, .n_names = n, .ca = &list, .n_ca = 1};
	struct sl_tls_context *c = NULL;
	char error[SL_TLS_ERROR_TEXT];

	cr_assert_eq(sl_tls_context_new(&config, &c, error), 0);
	sl_tls_ca_free(list); /* the context has its own reference to each certificate */
	return c;
}

static void pair_init(struct pair *p, const struct issued *own)
{
	*p = (struct pair){.context = context_of(NULL, 0)};
	cr_assert_eq(sl_tls_sessions_new(&p->sessions), 0);
	server_init(&p->server, own);
}

static int pair_connect(struct pair *p)
{
	const struct sl_tls_conn_opts opts = {.context = p->context,
					      .protocol = p->protocol,
					      .sessions = p->sessions,
					      .io = &wire_io,
					      .arg = &p->wire};
	int r;

	p->conn = sl_tls_conn_free(p->conn);
	p->wire.to_client.start = p->wire.to_client.end = p->wire.to_server.end = 0;
	p->wire.server_gone = false;
	server_accept(&p->server);
	r = sl_tls_conn_new(&opts, &p->conn);
	for (int i = 0; !r && i < 20000; i++) {
		r = sl_tls_conn_handshake(p->conn);
		if (r != -EAGAIN)
			break;
		r = 0;
		server_step(&p->server, &p->wire);
	}
	server_step(&p->server, &p->wire);
	return r;
}

static void pair_free(struct pair *p)
{
	p->conn = sl_tls_conn_free(p->conn);
	p->sessions = sl_tls_sessions_free(p->sessions);
	p->context = sl_tls_context_unref(p->context);
	server_free(&p->server);
}

/* What the server says arrives. */
static void hear(struct pair *p, const char *text)
{
	char buf[100];

	cr_assert_gt(SSL_write(p->server.ssl, text, (int)strlen(text)), 0);
	server_step(&p->server, &p->wire);
	cr_assert_eq(sl_tls_conn_read(p->conn, buf, sizeof(buf)), (ssize_t)strlen(text));
	cr_assert_eq(memcmp(buf, text, strlen(text)), 0);
}

static void say(struct pair *p, const char *text)
{
	char buf[100];

	cr_assert_eq(sl_tls_conn_write(p->conn, text, strlen(text)), (ssize_t)strlen(text));
	server_step(&p->server, &p->wire);
	cr_assert_eq(SSL_read(p->server.ssl, buf, sizeof(buf)), (int)strlen(text));
}

/* ---- who is believed ---- */

Test(conn, verification)
{
	static const struct {
		const char *name, *names;
		bool foreign;
		int days;
		const char *error; /* NULL: believed */
	} cases[] = {
		{"its name", "DNS:" HOST, false, 10, NULL},
		{"one of its names", "DNS:a,DNS:" HOST, false, 10, NULL},
		{"a wildcard for the whole world", "DNS:*.example", false, 10, "hostname mismatch"},
		{"another name", "DNS:else.example", false, 10, "hostname mismatch"},
		{"a part of a label", "DNS:sh*.example", false, 10, "hostname mismatch"},
		{"only the subject", "", false, 10, "hostname mismatch"},
		{"a URI is no host", "URI:https://" HOST, false, 10, "hostname mismatch"},
		{"expired", "DNS:" HOST, false, 0, "certificate has expired"},
		{"of somebody else", "DNS:" HOST, true, 10,
		 "unable to get local issuer certificate"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct issued own;
		struct pair p;
		int r;

		issue(&own, cases[i].foreign ? &other_ca : &ca, HOST, cases[i].names,
		      cases[i].days);
		pair_init(&p, &own);
		r = pair_connect(&p);
		cr_expect_eq(r, cases[i].error ? -EPROTO : 0, "%s: %d", cases[i].name, r);
		cr_expect_str_eq(sl_tls_conn_error(p.conn), cases[i].error ? cases[i].error : "",
				 "%s", cases[i].name);
		/* It stays over. */
		cr_expect_eq(sl_tls_conn_handshake(p.conn), r, "%s", cases[i].name);
		pair_free(&p);
		issued_free(&own);
	}
}

Test(conn, names)
{
	static const struct {
		struct sl_tls_name wanted;
		const char *names;
		bool believed;
	} cases[] = {
		{{SL_TLS_NAME_HOST, SL_STR("a.test")}, "DNS:a.test", true},
		{{SL_TLS_NAME_HOST, SL_STR("a.test")}, "DNS:" HOST, false},
		{{SL_TLS_NAME_HOST, SL_STR("*.test")}, "DNS:a.test", true},
		{{SL_TLS_NAME_HOST, SL_STR("*.test")}, "DNS:A.TEST", true},
		{{SL_TLS_NAME_HOST, SL_STR("*.test")}, "DNS:*.test", true},
		{{SL_TLS_NAME_HOST, SL_STR("*.test")}, "DNS:a.b.test", false},
		{{SL_TLS_NAME_HOST, SL_STR("*.test")}, "DNS:test", false},
		{{SL_TLS_NAME_HOST, SL_STR("*.test")}, "DNS:.test", false},
		{{SL_TLS_NAME_URI, SL_STR("spiffe://a/b")}, "URI:spiffe://a/b", true},
		{{SL_TLS_NAME_URI, SL_STR("spiffe://a/b")}, "DNS:x,URI:spiffe://a/b", true},
		{{SL_TLS_NAME_URI, SL_STR("spiffe://a/b")}, "URI:spiffe://a/B", false},
		{{SL_TLS_NAME_URI, SL_STR("spiffe://a/b")}, "URI:spiffe://a/bc", false},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		const struct sl_tls_name wanted[] = {{SL_TLS_NAME_HOST, SL_STR("no.test")},
						     cases[i].wanted};
		struct issued own;
		struct pair p;

		issue(&own, &ca, "server", cases[i].names, 10);
		pair_init(&p, &own);
		(void)sl_tls_context_unref(p.context);
		p.context = context_of(wanted, 2);
		cr_expect_eq(pair_connect(&p), cases[i].believed ? 0 : -EPROTO, "%.*s in %s",
			     SL_STR_ARG(cases[i].wanted.text), cases[i].names);
		pair_free(&p);
		issued_free(&own);
	}
}

Test(conn, protocols)
{
	static const struct {
		enum sl_tls_protocol offered;
		bool server_knows;
		int r;
		const char *chosen;
	} cases[] = {
		{SL_TLS_ANY, true, 0, ""},	    {SL_TLS_HTTP1, true, 0, "http/1.1"},
		{SL_TLS_HTTP1, false, 0, ""},	    {SL_TLS_HTTP2, true, 0, "h2"},
		{SL_TLS_HTTP2, false, -EPROTO, ""},
	};
	struct issued own;

	issue(&own, &ca, "server", "DNS:" HOST, 10);
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		const unsigned char *name = NULL;
		unsigned len = 0;
		struct pair p;

		pair_init(&p, &own);
		p.protocol = cases[i].offered;
		if (!cases[i].server_knows)
			SSL_CTX_set_alpn_select_cb(p.server.context, NULL, NULL);
		cr_expect_eq(pair_connect(&p), cases[i].r, "case %zu", i);
		SSL_get0_alpn_selected(p.server.ssl, &name, &len);
		cr_expect(len == strlen(cases[i].chosen) &&
				  (!len || !memcmp(name, cases[i].chosen, len)),
			  "case %zu", i);
		cr_expect_str_eq(SSL_get_servername(p.server.ssl, TLSEXT_NAMETYPE_host_name), HOST);
		pair_free(&p);
	}
	issued_free(&own);
}

/* ---- bytes ---- */

static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};

static void with_version(struct pair *p, int version)
{
	cr_assert_eq(SSL_CTX_set_min_proto_version(p->server.context, version), 1);
	cr_assert_eq(SSL_CTX_set_max_proto_version(p->server.context, version), 1);
}

Test(conn, old_versions_are_refused)
{
	struct issued own;
	struct pair p;

	issue(&own, &ca, "server", "DNS:" HOST, 10);
	pair_init(&p, &own);
	SSL_CTX_set_security_level(p.server.context, 0);
	with_version(&p, TLS1_1_VERSION);
	cr_assert_eq(pair_connect(&p), -EPROTO);
	pair_free(&p);
	issued_free(&own);
}

Test(conn, bytes_one_at_a_time)
{
	struct issued own;

	issue(&own, &ca, "server", "DNS:" HOST, 10);
	for (size_t i = 0; i < 2; i++) {
		struct pair p;

		pair_init(&p, &own);
		with_version(&p, versions[i]);
		p.wire.step = 1;
		cr_assert_eq(pair_connect(&p), 0);
		hear(&p, "from the server");
		say(&p, "from the agent");
		pair_free(&p);
	}
	issued_free(&own);
}

Test(conn, a_write_that_found_no_room_goes_on)
{
	static char big[100000];
	struct issued own;
	struct pair p;
	size_t sent = 0;

	issue(&own, &ca, "server", "DNS:" HOST, 10);
	pair_init(&p, &own);
	cr_assert_eq(pair_connect(&p), 0);
	p.wire.full = true;
	cr_assert_eq(sl_tls_conn_write(p.conn, big, 1000), -EAGAIN);
	p.wire.full = false;
	while (sent < sizeof(big)) {
		ssize_t n = sl_tls_conn_write(p.conn, big + sent, sizeof(big) - sent);

		cr_assert_gt(n, 0);
		sent += (size_t)n;
	}
	server_step(&p.server, &p.wire);
	for (size_t got = 0; got < sizeof(big);) {
		char buf[20000];
		int n = SSL_read(p.server.ssl, buf, sizeof(buf));

		cr_assert_gt(n, 0);
		got += (size_t)n;
	}
	pair_free(&p);
	issued_free(&own);
}

Test(conn, how_it_ends)
{
	struct issued own;
	char c;

	issue(&own, &ca, "server", "DNS:" HOST, 10);
	for (size_t i = 0; i < 2; i++) {
		struct pair p;

		pair_init(&p, &own);
		with_version(&p, versions[i]);
		cr_assert_eq(pair_connect(&p), 0);
		hear(&p, "x");
		/* Half-closed by the agent: the server goes on. */
		cr_assert_eq(sl_tls_conn_shutdown(p.conn), 0);
		server_step(&p.server, &p.wire);
		cr_assert_eq(SSL_read(p.server.ssl, &c, 1), 0);
		cr_assert_eq(SSL_get_shutdown(p.server.ssl), SSL_RECEIVED_SHUTDOWN);
		hear(&p, "y");
		/* And says that it is done. */
		cr_assert_geq(SSL_shutdown(p.server.ssl), 0);
		server_step(&p.server, &p.wire);
		p.wire.server_gone = true;
		cr_assert_eq(sl_tls_conn_read(p.conn, &c, 1), 0);
		/* Another that just ends. */
		cr_assert_eq(pair_connect(&p), 0);
		hear(&p, "z");
		p.wire.server_gone = true;
		cr_assert_eq(sl_tls_conn_read(p.conn, &c, 1), -ECONNRESET);
		/* And one in the handshake. */
		SSL_CTX_set_verify(p.server.context, SSL_VERIFY_NONE, NULL);
		p.conn = sl_tls_conn_free(p.conn);
		pair_free(&p);
	}
	issued_free(&own);
}

Test(conn, a_server_that_ends_the_handshake)
{
	struct issued own;
	struct pair p;

	issue(&own, &ca, "server", "DNS:" HOST, 10);
	pair_init(&p, &own);
	p.wire.server_gone = true;
	cr_assert_eq(sl_tls_conn_new(&(struct sl_tls_conn_opts){.context = p.context,
								.io = &wire_io,
								.arg = &p.wire},
				     &p.conn),
		     0);
	cr_assert_eq(sl_tls_conn_handshake(p.conn), -EPROTO);
	cr_assert_str_eq(sl_tls_conn_error(p.conn),
			 "the endpoint ended the connection in the handshake");
	cr_assert_eq(sl_tls_conn_shutdown(p.conn), 0); /* there is nobody to tell */
	pair_free(&p);
	issued_free(&own);
}

Test(conn, a_server_that_speaks_something_else)
{
	struct issued own;
	struct pair p;

	issue(&own, &ca, "server", "DNS:" HOST, 10);
	pair_init(&p, &own);
	queue_add(&p.wire.to_client, "HTTP/1.1 400 Bad Request", 24);
	cr_assert_eq(sl_tls_conn_new(&(struct sl_tls_conn_opts){.context = p.context,
								.io = &wire_io,
								.arg = &p.wire},
				     &p.conn),
		     0);
	cr_assert_eq(sl_tls_conn_handshake(p.conn), -EPROTO);
	cr_assert_str_eq(sl_tls_conn_error(p.conn), "wrong version number");
	pair_free(&p);
	issued_free(&own);
}

Test(conn, new_keys_go_by_unnoticed)
{
	struct issued own;
	struct pair p;
	char c;

	issue(&own, &ca, "server", "DNS:" HOST, 10);
	pair_init(&p, &own);
	with_version(&p, TLS1_3_VERSION);
	cr_assert_eq(pair_connect(&p), 0);
	for (int i = 0; i < 3; i++) {
		cr_assert_eq(SSL_key_update(p.server.ssl, i % 2 ? SSL_KEY_UPDATE_REQUESTED
								: SSL_KEY_UPDATE_NOT_REQUESTED),
			     1);
		hear(&p, "new keys");
		cr_assert_eq(sl_tls_conn_read(p.conn, &c, 1), -EAGAIN);
		say(&p, "so have I");
	}
	pair_free(&p);
	issued_free(&own);
}

Test(conn, renegotiation_is_refused)
{
	struct issued own;
	struct pair p;
	char c;

	issue(&own, &ca, "server", "DNS:" HOST, 10);
	pair_init(&p, &own);
	with_version(&p, TLS1_2_VERSION);
	cr_assert_eq(pair_connect(&p), 0);
	cr_assert_eq(SSL_renegotiate(p.server.ssl), 1);
	(void)SSL_do_handshake(p.server.ssl); /* asks */
	server_step(&p.server, &p.wire);
	cr_assert_eq(sl_tls_conn_read(p.conn, &c, 1), -EAGAIN);
	server_step(&p.server, &p.wire);
	ERR_clear_error();
	cr_assert_leq(SSL_read(p.server.ssl, &c, 1), 0);
	cr_assert_eq(ERR_GET_REASON(ERR_peek_error()), SSL_R_NO_RENEGOTIATION);
	pair_free(&p);
	issued_free(&own);
}

/* ---- sessions ---- */

Test(conn, sessions_are_gone_on_with)
{
	struct issued own, next;

	issue(&own, &ca, "server", "DNS:" HOST, 10);
	issue(&next, &ca, "server", "DNS:" HOST, 10);
	for (size_t i = 0; i < 2; i++) {
		struct sl_tls_context *other;
		struct pair p;

		pair_init(&p, &own);
		with_version(&p, versions[i]);
		cr_assert_eq(pair_connect(&p), 0);
		cr_assert_not(sl_tls_conn_resumed(p.conn));
		hear(&p, "tickets come before this");
		for (int k = 0; k < 3; k++) {
			cr_assert_eq(pair_connect(&p), 0);
			cr_assert(sl_tls_conn_resumed(p.conn), "version %zu", i);
			hear(&p, "and before this");
		}
		/* Another protocol, another configuration: another session. */
		p.protocol = SL_TLS_HTTP1;
		cr_assert_eq(pair_connect(&p), 0);
		cr_assert_not(sl_tls_conn_resumed(p.conn));
		p.protocol = SL_TLS_ANY;
		other = p.context;
		p.context = context_of(NULL, 0);
		cr_assert_neq(sl_tls_context_id(p.context), sl_tls_context_id(other));
		cr_assert_eq(pair_connect(&p), 0);
		cr_assert_not(sl_tls_conn_resumed(p.conn));
		(void)sl_tls_context_unref(p.context);
		p.context = other;
		/* A server that does not know it any more. */
		server_free(&p.server);
		server_init(&p.server, &next);
		with_version(&p, versions[i]);
		cr_assert_eq(pair_connect(&p), 0);
		cr_assert_not(sl_tls_conn_resumed(p.conn));
		pair_free(&p);
	}
	issued_free(&own);
	issued_free(&next);
}

/* ---- memory ---- */

Test(conn, memory)
{
	struct issued own;

	issue(&own, &ca, "server", "DNS:" HOST, 10);
	for (long n = 0; n < 40; n++) {
		struct sl_tls_ca *list = NULL;
		struct sl_tls_name name = {SL_TLS_NAME_HOST, SL_STR(HOST)};
		struct sl_tls_config config = {.hostname = SL_STR(HOST),
					       .names = &name,
					       .n_names = 1,
					       .ca = &list,
					       .n_ca = 1};
		char error[SL_TLS_ERROR_TEXT];
		struct pair p = {0};
		int r;

		server_init(&p.server, &own);
		sl_alloc_fail_after(n);
		r = sl_tls_ca_new(sl_buf_str(&ca.pem), &list, error);
		if (!r)
			r = sl_tls_context_new(&config, &p.context, error);
		if (!r)
			r = sl_tls_sessions_new(&p.sessions);
		if (!r)
			r = pair_connect(&p);
		sl_alloc_fail_after(-1);
		cr_assert(r == 0 || r == -ENOMEM, "%ld: %d", n, r);
		if (p.sessions)
			pair_free(&p);
		else
			server_free(&p.server), p.context = sl_tls_context_unref(p.context);
		sl_tls_ca_free(list);
	}
	issued_free(&own);
}
