/* SPDX-License-Identifier: Apache-2.0 */
#include "peer.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

static void add_extension(X509 *cert, int nid, const char *value)
{
	X509_EXTENSION *ext = X509V3_EXT_conf_nid(NULL, NULL, nid, value);

	cr_assert_not_null(ext);
	cr_assert_eq(X509_add_ext(cert, ext, -1), 1);
	X509_EXTENSION_free(ext);
}

static void drain(BIO *b, struct sl_buf *to)
{
	char *text;
	long n = BIO_get_mem_data(b, &text);

	cr_assert_eq(sl_buf_append(to, text, (size_t)n), 0);
	BIO_free(b);
}

void issue(struct issued *to, const struct issued *by, const char *subject, const char *names,
	   int days)
{
	X509 *cert = X509_new();
	X509_NAME *name = X509_get_subject_name(cert);
	static long serial;
	BIO *b;

	*to = (struct issued){.cert = cert, .key = EVP_EC_gen("P-256")};
	cr_assert_not_null(to->key);
	cr_assert_eq(X509_set_version(cert, 2), 1);
	cr_assert_eq(ASN1_INTEGER_set(X509_get_serialNumber(cert), ++serial), 1);
	cr_assert_not_null(X509_gmtime_adj(X509_getm_notBefore(cert), -86400));
	cr_assert_not_null(X509_gmtime_adj(X509_getm_notAfter(cert), (days - 1) * 86400L));
	cr_assert_eq(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
						(const unsigned char *)subject, -1, -1, 0),
		     1);
	cr_assert_eq(X509_set_issuer_name(cert, by ? X509_get_subject_name(by->cert) : name), 1);
	cr_assert_eq(X509_set_pubkey(cert, to->key), 1);
	add_extension(cert, NID_basic_constraints, by ? "CA:FALSE" : "critical,CA:TRUE");
	if (names && *names)
		add_extension(cert, NID_subject_alt_name, names);
	cr_assert_gt(X509_sign(cert, by ? by->key : to->key, EVP_sha256()), 0);
	b = BIO_new(BIO_s_mem());
	cr_assert_eq(PEM_write_bio_X509(b, cert), 1);
	drain(b, &to->pem);
	b = BIO_new(BIO_s_mem());
	cr_assert_eq(PEM_write_bio_PrivateKey(b, to->key, NULL, NULL, 0, NULL, NULL), 1);
	drain(b, &to->key_pem);
}

struct sl_tls_ca *ca_of(const struct issued *i)
{
	char error[SL_TLS_ERROR_TEXT];
	struct sl_tls_ca *list;

	cr_assert_eq(sl_tls_ca_new(sl_buf_str(&i->pem), &list, error), 0);
	return list;
}

void issued_free(struct issued *i)
{
	X509_free(i->cert);
	EVP_PKEY_free(i->key);
	sl_buf_deinit(&i->pem);
	sl_buf_deinit(&i->key_pem);
}

/* ---- the wire ---- */

void queue_add(struct queue *q, const void *from, size_t n)
{
	if (q->start == q->end)
		q->start = q->end = 0;
	cr_assert_leq(q->end + n, sizeof(q->bytes));
	memcpy(q->bytes + q->end, from, n);
	q->end += n;
}

static ssize_t wire_recv(void *arg, void *to, size_t n)
{
	struct wire *w = arg;
	size_t have = w->to_client.end - w->to_client.start;

	if (!have)
		return w->server_gone ? 0 : -EAGAIN;
	n = n < have ? n : have;
	n = w->step && w->step < n ? w->step : n;
	memcpy(to, w->to_client.bytes + w->to_client.start, n);
	w->to_client.start += n;
	return (ssize_t)n;
}

static ssize_t wire_send(void *arg, const void *from, size_t n)
{
	struct wire *w = arg;

	if (w->full)
		return -EAGAIN;
	n = w->step && w->step < n ? w->step : n;
	queue_add(&w->to_server, from, n);
	return (ssize_t)n;
}

const struct sl_tls_io wire_io = {.recv = wire_recv, .send = wire_send};

/* ---- the server ---- */

/* The first of its own that is offered. */
static int choose(SSL *ssl, const unsigned char **out, unsigned char *out_len,
		  const unsigned char *in, unsigned in_len, void *arg)
{
	static const unsigned char own[] = "\x02h2\x08http/1.1";

	return SSL_select_next_proto((unsigned char **)out, out_len, own, sizeof(own) - 1, in,
				     in_len) == OPENSSL_NPN_NEGOTIATED
		       ? SSL_TLSEXT_ERR_OK
		       : SSL_TLSEXT_ERR_NOACK;
}

void server_init(struct server *s, const struct issued *own)
{
	static const unsigned char id[] = "test";

	*s = (struct server){.context = SSL_CTX_new(TLS_server_method())};
	cr_assert_not_null(s->context);
	cr_assert_eq(SSL_CTX_use_certificate(s->context, own->cert), 1);
	cr_assert_eq(SSL_CTX_use_PrivateKey(s->context, own->key), 1);
	SSL_CTX_set_alpn_select_cb(s->context, choose, NULL);
	cr_assert_eq(SSL_CTX_set_session_id_context(s->context, id, sizeof(id) - 1), 1);
}

void server_accept(struct server *s)
{
	SSL_free(s->ssl);
	s->ssl = SSL_new(s->context);
	s->in = BIO_new(BIO_s_mem());
	s->out = BIO_new(BIO_s_mem());
	BIO_set_mem_eof_return(s->in, -1);
	SSL_set_bio(s->ssl, s->in, s->out);
	SSL_set_accept_state(s->ssl);
}

void server_free(struct server *s)
{
	SSL_free(s->ssl);
	SSL_CTX_free(s->context);
}

void server_step(struct server *s, struct wire *w)
{
	char buf[4096];
	int n;

	if (w->to_server.end)
		BIO_write(s->in, w->to_server.bytes, (int)w->to_server.end);
	w->to_server.end = 0;
	ERR_clear_error();
	if (!SSL_is_init_finished(s->ssl))
		(void)SSL_do_handshake(s->ssl); /* the other side sees what became of it */
	while ((n = BIO_read(s->out, buf, sizeof(buf))) > 0)
		queue_add(&w->to_client, buf, (size_t)n);
}
