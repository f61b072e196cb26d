/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Certificates made on the spot, and a server that lives in memory beside the agent's connection.
 */
#include <openssl/ssl.h>
#include "base/buf.h"
#include "tls/conn.h"
#include "tls/sessions.h"

struct issued {
	X509 *cert;
	EVP_PKEY *key;
	struct sl_buf pem, key_pem;
};

/* names: as openssl has them ("DNS:a,URI:b"), NULL for an authority. days: of validity from
 * yesterday on. by: NULL signs itself. */
void issue(struct issued *to, const struct issued *by, const char *subject, const char *names,
	   int days);
void issued_free(struct issued *i);
/* The caller's: sl_tls_ca_free(). */
struct sl_tls_ca *ca_of(const struct issued *i);

/* Not of the agent's memory, which fails in some tests. */
struct queue {
	char bytes[200000];
	size_t start, end;
};

void queue_add(struct queue *q, const void *from, size_t n);

/* Bytes on their way: each side reads what the other wrote, at most step at a time (0: all). */
struct wire {
	struct queue to_server, to_client;
	size_t step;
	bool full;	  /* the agent cannot send now */
	bool server_gone; /* its stream ends behind what is on the way */
};

struct server {
	SSL_CTX *context;
	SSL *ssl;
	BIO *in, *out;
};

extern const struct sl_tls_io wire_io;

void server_init(struct server *s, const struct issued *own);
/* For the next connection, with the same context. */
void server_accept(struct server *s);
void server_free(struct server *s);
/* Moves bytes between server and wire, and does the server's part of the handshake. */
void server_step(struct server *s, struct wire *w);
