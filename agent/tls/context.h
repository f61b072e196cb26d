/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * How the agent meets servers in TLS: whose certificates it believes, which names they must carry,
 * and what it shows of itself. Immutable once made; connections (conn.h) hold a reference, so that
 * a newer configuration leaves older connections as they are. Knows no policy objects, no sockets.
 */
#include <stdatomic.h>
#include "base/str.h"

struct sl_tls_ca;
struct sl_tls_context;

enum sl_tls_name_type { SL_TLS_NAME_HOST, SL_TLS_NAME_URI };

struct sl_tls_name {
	enum sl_tls_name_type type;
	struct sl_str text; /* host: may begin with "*.", which stands for one label */
};

/* Text is borrowed for the call. */
struct sl_tls_config {
	struct sl_str hostname; /* server_name (RFC 6066); verified too unless there are names */
	const struct sl_tls_name *names; /* any one of them in subjectAltName suffices */
	uint32_t n_names;
	struct sl_tls_ca *const *ca;
	uint32_t n_ca;
	bool system_ca;		 /* what the system trusts, beside ca */
	struct sl_str cert, key; /* PEM, shown when the server asks; empty: none */
};

enum {
	SL_TLS_BAD_CA = 1, /* no certificate in it, or one that cannot be read */
	SL_TLS_BAD_CERT,   /* likewise of the agent's own, or the key does not belong to it */
};

/* Room for why, with NUL. */
#define SL_TLS_ERROR_TEXT 160

/* The certificates of a PEM text, one or more, all of which can be read: 0, SL_TLS_BAD_CA with
 * error set, or -ENOMEM. Thread: any, as for all functions here. */
int sl_tls_ca_new(struct sl_str pem, struct sl_tls_ca **ret, char error[SL_TLS_ERROR_TEXT]);
/* A context that was made with it stays as it is. Accepts NULL, returns NULL. */
struct sl_tls_ca *sl_tls_ca_free(struct sl_tls_ca *ca);
/* Servers are always verified, TLS 1.2 is the least (RFC 8996), renegotiation is refused. Returns
 * 0, SL_TLS_BAD_* with error set, or -ENOMEM. */
int sl_tls_context_new(const struct sl_tls_config *config, struct sl_tls_context **ret,
		       char error[SL_TLS_ERROR_TEXT]);
/* Both accept NULL. */
struct sl_tls_context *sl_tls_context_ref(struct sl_tls_context *c);
struct sl_tls_context *sl_tls_context_unref(struct sl_tls_context *c); /* returns NULL */
/* From 1 on, never used again in this process; 0 of NULL: no TLS. */
uint64_t sl_tls_context_id(const struct sl_tls_context *c);
/* server_name. Borrowed. */
struct sl_str sl_tls_context_hostname(const struct sl_tls_context *c);
