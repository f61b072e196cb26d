/* SPDX-License-Identifier: Apache-2.0 */
#include "tls/conn.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include "base/alloc.h"
#include "base/cleanup.h"
#include "tls/impl.h"
#include "tls/sessions_impl.h"

/* What one call of OpenSSL's reads at most. */
enum { MAX_BYTES = 1 << 20 };

struct sl_tls_conn {
	SSL *ssl;
	struct sl_tls_context *context;
	struct sl_tls_sessions *sessions;
	struct sl_tls_session_key key;
	const struct sl_tls_io *io;
	void *arg;
	int io_error; /* -errno of the last recv() or send(), 0: none */
	bool eof;
	bool tried; /* to go on with an old session */
	int over;   /* -errno that ended the handshake, 0: none */
	const char *error;
};

/* ---- bytes of the peer ---- */

static int bio_read(BIO *b, char *to, int n)
{
	struct sl_tls_conn *t = BIO_get_data(b);
	ssize_t r = t->io->recv(t->arg, to, (size_t)n);

	BIO_clear_retry_flags(b);
	if (r == -EAGAIN)
		BIO_set_retry_read(b);
	else if (r < 0)
		t->io_error = (int)r;
	else if (r == 0)
		t->eof = true;
	return r < 0 ? -1 : (int)r;
}

static int bio_write(BIO *b, const char *from, int n)
{
	struct sl_tls_conn *t = BIO_get_data(b);
	ssize_t r = t->io->send(t->arg, from, (size_t)n);

	BIO_clear_retry_flags(b);
	if (r == -EAGAIN)
		BIO_set_retry_write(b);
	else if (r < 0)
		t->io_error = (int)r;
	return r < 0 ? -1 : (int)r;
}

static long bio_ctrl(BIO *b, int cmd, long num, void *arg)
{
	const struct sl_tls_conn *t = BIO_get_data(b);

	switch (cmd) {
	case BIO_CTRL_FLUSH:
		return 1; /* nothing is kept */
	case BIO_CTRL_EOF:
		return t->eof;
	default:
		return 0;
	}
}

/* Made once, by whichever thread comes first; lives as long as the process. NULL: no memory. */
static const BIO_METHOD *bio_method(void)
{
	static _Atomic(BIO_METHOD *) shared;
	BIO_METHOD *m = atomic_load(&shared), *none = NULL;

	if (m)
		return m;
	m = BIO_meth_new(BIO_TYPE_SOURCE_SINK | BIO_get_new_index(), "sluice");
	if (!m || !BIO_meth_set_read(m, bio_read) || !BIO_meth_set_write(m, bio_write) ||
	    !BIO_meth_set_ctrl(m, bio_ctrl)) {
		BIO_meth_free(m);
		return NULL;
	}
	if (!atomic_compare_exchange_strong(&shared, &none, m)) {
		BIO_meth_free(m);
		return none;
	}
	return m;
}

static int bio_attach(struct sl_tls_conn *t)
{
	const BIO_METHOD *method = bio_method();
	BIO *bio = method ? BIO_new(method) : NULL;

	if (!bio)
		return -ENOMEM;
	BIO_set_data(bio, t);
	BIO_set_init(bio, 1);
	SSL_set_bio(t->ssl, bio, bio); /* takes it */
	return 0;
}

/* ---- life ---- */

/* The server gave a session. Returns 1 when it is kept. */
int sl_tls_conn_take_session(SSL *ssl, SSL_SESSION *session)
{
	const struct sl_tls_conn *t = SSL_get_app_data(ssl);

	return t->sessions && sl_tls_sessions_put(t->sessions, &t->key, session);
}

static int offer(struct sl_tls_conn *t, enum sl_tls_protocol protocol)
{
	static const unsigned char http1[] = "\x08http/1.1", http2[] = "\x02h2";

	switch (protocol) {
	case SL_TLS_HTTP1:
		return SSL_set_alpn_protos(t->ssl, http1, sizeof(http1) - 1) ? -ENOMEM : 0;
	case SL_TLS_HTTP2:
		return SSL_set_alpn_protos(t->ssl, http2, sizeof(http2) - 1) ? -ENOMEM : 0;
	case SL_TLS_ANY:
		break;
	}
	return 0;
}

static int conn_fill(struct sl_tls_conn *t, const struct sl_tls_conn_opts *opts)
{
	SSL_SESSION *session = NULL;
	int r;

	ERR_clear_error();
	t->ssl = SSL_new(opts->context->ssl);
	if (!t->ssl)
		return -ENOMEM;
	SSL_set_app_data(t->ssl, t);
	r = bio_attach(t);
	if (!r)
		r = offer(t, opts->protocol);
	if (r || SSL_set_tlsext_host_name(t->ssl, opts->context->hostname) != 1)
		return -ENOMEM;
	if (t->sessions)
		session = sl_tls_sessions_get(t->sessions, &t->key);
	t->tried = session && SSL_set_session(t->ssl, session) == 1;
	SSL_set_connect_state(t->ssl);
	return 0;
}

int sl_tls_conn_new(const struct sl_tls_conn_opts *opts, struct sl_tls_conn **ret)
{
	struct sl_tls_conn *t = sl_new(struct sl_tls_conn);
	int r;

	if (!t)
		return -ENOMEM;
	t->context = sl_tls_context_ref(opts->context);
	t->sessions = opts->sessions;
	t->key = (struct sl_tls_session_key){.context = opts->context->id,
					     .endpoint = opts->endpoint,
					     .protocol = (uint16_t)opts->protocol};
	t->io = opts->io;
	t->arg = opts->arg;
	t->error = "";
	r = conn_fill(t, opts);
	if (r) {
		(void)sl_tls_conn_free(t); /* always NULL */
		return r;
	}
	*ret = t;
	return 0;
}

struct sl_tls_conn *sl_tls_conn_free(struct sl_tls_conn *t)
{
	if (!t)
		return NULL;
	/* Else OpenSSL takes it for a broken one, and no longer goes on with its session. */
	if (t->ssl && SSL_is_init_finished(t->ssl) && !*t->error)
		SSL_set_shutdown(t->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
	SSL_free(t->ssl);
	(void)sl_tls_context_unref(t->context); /* always NULL */
	free(t);
	return NULL;
}

/* ---- what came of a call ---- */

/* Of the certificate, when that is what was wrong: more than "certificate verify failed". */
static const char *why(const struct sl_tls_conn *t)
{
	long verdict = SSL_get_verify_result(t->ssl);
	const char *text = sl_tls_why();

	if (text && verdict != X509_V_OK)
		return X509_verify_cert_error_string(verdict);
	return text;
}

static int broken(struct sl_tls_conn *t)
{
	if (t->io_error) {
		ERR_clear_error();
		return t->io_error;
	}
	if (t->eof) {
		ERR_clear_error();
		return -ECONNRESET;
	}
	t->error = why(t);
	t->over = t->error ? -EPROTO : -ENOMEM;
	if (!t->error)
		t->error = "out of memory";
	return t->over;
}

/* 0: the peer's stream ended as it should. */
static int outcome(struct sl_tls_conn *t, int r)
{
	switch (SSL_get_error(t->ssl, r)) {
	case SSL_ERROR_WANT_READ:
	case SSL_ERROR_WANT_WRITE:
		return -EAGAIN;
	case SSL_ERROR_ZERO_RETURN:
		return 0;
	default:
		return broken(t);
	}
}

static int reject(struct sl_tls_conn *t, const char *text)
{
	t->error = text;
	t->over = -EPROTO;
	return -EPROTO;
}

static int check_protocol(struct sl_tls_conn *t)
{
	const unsigned char *name;
	unsigned len;

	if (t->key.protocol != SL_TLS_HTTP2)
		return 0;
	SSL_get0_alpn_selected(t->ssl, &name, &len);
	return len == 2 && !memcmp(name, "h2", 2) ? 0
						  : reject(t, "the endpoint does not speak HTTP/2");
}

int sl_tls_conn_handshake(struct sl_tls_conn *t)
{
	int r;

	if (t->over)
		return t->over;
	ERR_clear_error();
	r = SSL_do_handshake(t->ssl);
	if (r == 1)
		return check_protocol(t);
	r = outcome(t, r);
	/* A server that stumbles over what another one gave is asked plainly the next time. */
	if (r != -EAGAIN && t->tried)
		sl_tls_sessions_del(t->sessions, &t->key);
	if (r == -ECONNRESET || r == -EPIPE || !r)
		return reject(t, "the endpoint ended the connection in the handshake");
	return r;
}

ssize_t sl_tls_conn_read(struct sl_tls_conn *t, void *to, size_t n)
{
	int r;

	ERR_clear_error();
	r = SSL_read(t->ssl, to, n > MAX_BYTES ? MAX_BYTES : (int)n);
	return r > 0 ? r : outcome(t, r);
}

ssize_t sl_tls_conn_write(struct sl_tls_conn *t, const void *from, size_t n)
{
	int r;

	ERR_clear_error();
	r = SSL_write(t->ssl, from, n > MAX_BYTES ? MAX_BYTES : (int)n);
	if (r > 0)
		return r;
	r = outcome(t, r);
	return r ? r : -EPIPE;
}

int sl_tls_conn_shutdown(struct sl_tls_conn *t)
{
	int r;

	if (!SSL_is_init_finished(t->ssl) || *t->error)
		return 0;
	ERR_clear_error();
	r = SSL_shutdown(t->ssl);
	return r >= 0 ? 0 : outcome(t, r);
}

const char *sl_tls_conn_error(const struct sl_tls_conn *t)
{
	return t->error;
}

bool sl_tls_conn_resumed(const struct sl_tls_conn *t)
{
	return SSL_session_reused(t->ssl);
}
