/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What the files of this folder share of OpenSSL's objects; nobody else sees them. */
#include <openssl/ssl.h>
#include "tls/context.h"

struct sl_tls_context {
	atomic_uint refs;
	uint64_t id;
	SSL_CTX *ssl;
	char *hostname;
	struct sl_tls_name *names; /* text in the block of hostname */
	uint32_t n_names;
};

/* Why the last call of OpenSSL's in this thread failed, static text; empties its queue. NULL: out
 * of memory. */
const char *sl_tls_why(void);
/* SSL_CTX_sess_set_new_cb() (conn.c). */
int sl_tls_conn_take_session(SSL *ssl, SSL_SESSION *session);
/* A certificate that was believed: does it carry a name that is wanted? */
bool sl_tls_names_match(const struct sl_tls_context *c, X509 *cert);
