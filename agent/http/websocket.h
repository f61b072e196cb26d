/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The proof of a WebSocket handshake in HTTP/1 (RFC 6455 section 4), which HTTP/2 does without (RFC
 * 8441): where only one side speaks HTTP/1, the agent is the other end of the handshake.
 */
#include <stdint.h>
#include "base/str.h"

/* Texts with a NUL. */
enum {
	SL_WEBSOCKET_NONCE_BYTES = 16,
	SL_WEBSOCKET_KEY_TEXT = 25,
	SL_WEBSOCKET_ACCEPT_TEXT = 29,
	SL_WEBSOCKET_KEY_MAX = 64, /* of what clients send; 24 is right */
};

/* Sec-WebSocket-Key of a nonce. */
void sl_websocket_key(const uint8_t nonce[SL_WEBSOCKET_NONCE_BYTES],
		      char ret[SL_WEBSOCKET_KEY_TEXT]);
/* Sec-WebSocket-Accept for a key. Returns 0, or -EINVAL for one that is far too long. */
int sl_websocket_accept(struct sl_str key, char ret[SL_WEBSOCKET_ACCEPT_TEXT]);
