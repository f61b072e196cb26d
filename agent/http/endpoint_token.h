/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * What a client keeps so that its next request comes to the same endpoint (GEP-1619): the address,
 * sealed with AES-256-GCM under a random nonce, so that nobody reads or makes one who lacks the
 * key. What it is for (the backend) is sealed in too: a token of one backend is none of another.
 * base64url without padding, fit for a cookie or a header.
 */
#include "base/addr.h"

enum { SL_ENDPOINT_TOKEN_TEXT = 72 };

struct sl_endpoint_token {
	struct sl_addr endpoint;
	uint32_t issued_s; /* seconds since the epoch, wall clock: agents of a cluster share it */
	uint32_t seen_s;   /* of the last answer that carried it */
};

/* Writes SL_ENDPOINT_TOKEN_TEXT characters, no NUL. Returns 0, or -ENOMEM. Thread: any. */
int sl_endpoint_token_seal(struct sl_str secret, struct sl_str backend,
			   const struct sl_endpoint_token *token, char out[SL_ENDPOINT_TOKEN_TEXT]);
/* Returns 0, -EINVAL for text that was not sealed with this secret for this backend, or -ENOMEM.
 * Thread: any. */
int sl_endpoint_token_open(struct sl_str secret, struct sl_str backend, struct sl_str text,
			   struct sl_endpoint_token *ret);
