/* SPDX-License-Identifier: Apache-2.0 */
#include "tls/context.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdio.h>
#include "base/alloc.h"
#include "base/cleanup.h"
#include "tls/impl.h"

const char *sl_tls_why(void)
{
	unsigned long first = ERR_peek_error(), code;
	const char *text;

	while ((code = ERR_get_error())) {
		if (ERR_GET_REASON(code) == ERR_R_MALLOC_FAILURE) {
			ERR_clear_error();
			return NULL;
		}
	}
	text = first ? ERR_reason_error_string(first) : NULL;
	return text ? text : "unknown error";
}

/* Returns what, or -ENOMEM, and says why. */
static int fail(int what, const char *doing, char error[SL_TLS_ERROR_TEXT])
{
	const char *why = sl_tls_why();

	if (!why)
		return -ENOMEM;
	(void)snprintf(error, SL_TLS_ERROR_TEXT, "%s: %s", doing, why); /* cut when too long */
	return what;
}

static void bio_freep(BIO **b)
{
	(void)BIO_free(*b); /* accepts NULL */
}

static void x509_freep(X509 **x)
{
	X509_free(*x); /* accepts NULL */
}

static void pkey_freep(EVP_PKEY **k)
{
	EVP_PKEY_free(*k); /* accepts NULL */
}

static BIO *bio_of(struct sl_str s)
{
	return BIO_new_mem_buf(s.len ? s.ptr : "", (int)s.len);
}

/* ---- whom it believes ---- */

/* Behind the last one there is no further beginning, which is an error of its own kind. */
static bool at_end(void)
{
	unsigned long e = ERR_peek_last_error();

	return ERR_GET_LIB(e) == ERR_LIB_PEM && ERR_GET_REASON(e) == PEM_R_NO_START_LINE;
}

struct sl_tls_ca {
	STACK_OF(X509) * certs;
};

struct sl_tls_ca *sl_tls_ca_free(struct sl_tls_ca *ca)
{
	if (!ca)
		return NULL;
	sk_X509_pop_free(ca->certs, X509_free);
	free(ca);
	return NULL;
}

static int ca_read(struct sl_tls_ca *ca, struct sl_str pem, char error[SL_TLS_ERROR_TEXT])
{
	_cleanup_(bio_freep) BIO *bio = bio_of(pem);
	X509 *cert;

	ERR_clear_error();
	if (!bio)
		return -ENOMEM;
	while ((cert = PEM_read_bio_X509(bio, NULL, NULL, NULL))) {
		if (!sk_X509_push(ca->certs, cert)) {
			X509_free(cert);
			return -ENOMEM;
		}
	}
	if (!at_end())
		return fail(SL_TLS_BAD_CA, "cannot read a certificate", error);
	ERR_clear_error();
	if (sk_X509_num(ca->certs))
		return 0;
	(void)snprintf(error, SL_TLS_ERROR_TEXT, "there is no certificate in PEM in it");
	return SL_TLS_BAD_CA;
}

int sl_tls_ca_new(struct sl_str pem, struct sl_tls_ca **ret, char error[SL_TLS_ERROR_TEXT])
{
	struct sl_tls_ca *ca = sl_new(struct sl_tls_ca);
	int r = -ENOMEM;

	if (!ca)
		return -ENOMEM;
	ca->certs = sk_X509_new_null();
	if (ca->certs)
		r = ca_read(ca, pem, error);
	if (r)
		sl_tls_ca_free(ca);
	else
		*ret = ca;
	return r;
}

static int ca_add(X509_STORE *store, const struct sl_tls_ca *ca, char error[SL_TLS_ERROR_TEXT])
{
	for (int i = 0; i < sk_X509_num(ca->certs); i++) {
		if (!X509_STORE_add_cert(store, sk_X509_value(ca->certs, i)))
			return fail(SL_TLS_BAD_CA, "cannot take a certificate", error);
	}
	return 0;
}

static int trust(SSL_CTX *ssl, const struct sl_tls_config *config, char error[SL_TLS_ERROR_TEXT])
{
	X509_STORE *store = SSL_CTX_get_cert_store(ssl);
	int r = 0;

	if (config->system_ca && !SSL_CTX_set_default_verify_paths(ssl))
		return fail(SL_TLS_BAD_CA, "cannot find the system's certificates", error);
	for (uint32_t i = 0; i < config->n_ca && !r; i++)
		r = ca_add(store, config->ca[i], error);
	/* An intermediate that is named is trusted as a root is. */
	if (!r && !X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN))
		r = -ENOMEM;
	return r;
}

/* In place of OpenSSL's own, which it calls: the chain first, then the names. */
static int verify(X509_STORE_CTX *store, void *arg)
{
	const struct sl_tls_context *c = arg;

	if (X509_verify_cert(store) != 1)
		return 0;
	if (sl_tls_names_match(c, X509_STORE_CTX_get0_cert(store)))
		return 1;
	X509_STORE_CTX_set_error(store, X509_V_ERR_HOSTNAME_MISMATCH);
	return 0;
}

/* ---- what it shows ---- */

/* The agent has nobody to ask for the phrase of a key. */
static int no_phrase(char *buf, int size, int rwflag, void *arg)
{
	return -1;
}

static int chain_add(SSL_CTX *ssl, BIO *bio, char error[SL_TLS_ERROR_TEXT])
{
	for (;;) {
		X509 *cert = PEM_read_bio_X509(bio, NULL, no_phrase, NULL);

		if (!cert)
			break;
		if (!SSL_CTX_add0_chain_cert(ssl, cert)) {
			X509_free(cert);
			return fail(SL_TLS_BAD_CERT, "cannot take a certificate", error);
		}
	}
	if (!at_end())
		return fail(SL_TLS_BAD_CERT, "cannot read a certificate", error);
	ERR_clear_error();
	return 0;
}

static int show(SSL_CTX *ssl, const struct sl_tls_config *config, char error[SL_TLS_ERROR_TEXT])
{
	_cleanup_(bio_freep) BIO *cert_bio = bio_of(config->cert), *key_bio = bio_of(config->key);
	_cleanup_(x509_freep) X509 *cert = NULL;
	_cleanup_(pkey_freep) EVP_PKEY *key = NULL;

	ERR_clear_error();
	if (!cert_bio || !key_bio)
		return -ENOMEM;
	cert = PEM_read_bio_X509(cert_bio, NULL, no_phrase, NULL);
	if (!cert)
		return fail(SL_TLS_BAD_CERT, "cannot read the certificate", error);
	key = PEM_read_bio_PrivateKey(key_bio, NULL, no_phrase, NULL);
	if (!key)
		return fail(SL_TLS_BAD_CERT, "cannot read the key", error);
	if (SSL_CTX_use_certificate(ssl, cert) != 1 || SSL_CTX_use_PrivateKey(ssl, key) != 1)
		return fail(SL_TLS_BAD_CERT, "cannot use the certificate with the key", error);
	return chain_add(ssl, cert_bio, error);
}

/* ---- all of it ---- */

static int names_copy(struct sl_tls_context *c, const struct sl_tls_config *config)
{
	size_t n = config->hostname.len + 1;
	char *to;

	for (uint32_t i = 0; i < config->n_names; i++)
		n += config->names[i].text.len;
	c->hostname = to = sl_malloc(n);
	c->names = sl_new_n(struct sl_tls_name, config->n_names + 1);
	if (!to || !c->names)
		return -ENOMEM;
	memcpy(to, config->hostname.ptr, config->hostname.len);
	to += config->hostname.len;
	*to++ = '\0';
	c->n_names = config->n_names;
	for (uint32_t i = 0; i < config->n_names; i++) {
		struct sl_str text = config->names[i].text;

		memcpy(to, text.ptr, text.len);
		c->names[i] = (struct sl_tls_name){config->names[i].type, {to, text.len}};
		to += text.len;
	}
	return 0;
}

static int context_fill(struct sl_tls_context *c, const struct sl_tls_config *config,
			char error[SL_TLS_ERROR_TEXT])
{
	int r;

	ERR_clear_error();
	c->ssl = SSL_CTX_new(TLS_client_method());
	if (!c->ssl || names_copy(c, config))
		return -ENOMEM;
	if (!SSL_CTX_set_min_proto_version(c->ssl, TLS1_2_VERSION))
		return -ENOMEM;
	(void)SSL_CTX_set_options(c->ssl, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
	(void)SSL_CTX_set_mode(c->ssl, SSL_MODE_ENABLE_PARTIAL_WRITE |
					       SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
					       SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_set_verify(c->ssl, SSL_VERIFY_PEER, NULL);
	SSL_CTX_set_cert_verify_callback(c->ssl, verify, c);
	(void)SSL_CTX_set_session_cache_mode(c->ssl,
					     SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
	SSL_CTX_sess_set_new_cb(c->ssl, sl_tls_conn_take_session);
	r = trust(c->ssl, config, error);
	return r || !config->cert.len ? r : show(c->ssl, config, error);
}

int sl_tls_context_new(const struct sl_tls_config *config, struct sl_tls_context **ret,
		       char error[SL_TLS_ERROR_TEXT])
{
	static atomic_ullong last_id;
	struct sl_tls_context *c = sl_new(struct sl_tls_context);
	int r = c ? 0 : -ENOMEM;

	if (!r) {
		atomic_init(&c->refs, 1);
		c->id = atomic_fetch_add(&last_id, 1) + 1;
		r = context_fill(c, config, error);
	}
	if (r) {
		(void)sl_tls_context_unref(c); /* always NULL */
		return r;
	}
	*ret = c;
	return 0;
}

struct sl_tls_context *sl_tls_context_ref(struct sl_tls_context *c)
{
	if (c)
		atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
	return c;
}

struct sl_tls_context *sl_tls_context_unref(struct sl_tls_context *c)
{
	if (!c || atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) != 1)
		return NULL;
	SSL_CTX_free(c->ssl);
	free(c->hostname);
	free(c->names);
	free(c);
	return NULL;
}

uint64_t sl_tls_context_id(const struct sl_tls_context *c)
{
	return c ? c->id : 0;
}

struct sl_str sl_tls_context_hostname(const struct sl_tls_context *c)
{
	return sl_str_from(c->hostname);
}
