/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Private to agent/tls. */
#include <openssl/ssl.h>
#include "base/addr.h"
#include "tls/sessions.h"

struct sl_tls_session_key {
	uint64_t context; /* its id */
	struct sl_addr endpoint;
	uint16_t protocol; /* enum sl_tls_protocol */
	uint8_t pad[4];	   /* zero: keys are compared as bytes */
};
_Static_assert(sizeof(struct sl_tls_session_key) == 32, "session key has no hidden padding");

/* Takes the session when it returns true. */
bool sl_tls_sessions_put(struct sl_tls_sessions *s, const struct sl_tls_session_key *key,
			 SSL_SESSION *session);
/* Borrowed; NULL: none. */
SSL_SESSION *sl_tls_sessions_get(const struct sl_tls_sessions *s,
				 const struct sl_tls_session_key *key);
void sl_tls_sessions_del(struct sl_tls_sessions *s, const struct sl_tls_session_key *key);
