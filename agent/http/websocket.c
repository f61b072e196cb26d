/* SPDX-License-Identifier: Apache-2.0 */
#include "http/websocket.h"

#include <errno.h>
#include <openssl/evp.h>
#include <openssl/sha.h>

void sl_websocket_key(const uint8_t nonce[SL_WEBSOCKET_NONCE_BYTES],
		      char ret[SL_WEBSOCKET_KEY_TEXT])
{
	(void)EVP_EncodeBlock((unsigned char *)ret, nonce, SL_WEBSOCKET_NONCE_BYTES);
}

int sl_websocket_accept(struct sl_str key, char ret[SL_WEBSOCKET_ACCEPT_TEXT])
{
	static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
	unsigned char text[SL_WEBSOCKET_KEY_MAX + sizeof(guid) - 1], digest[SHA_DIGEST_LENGTH];

	if (key.len > SL_WEBSOCKET_KEY_MAX)
		return -EINVAL;
	memcpy(text, key.ptr, key.len);
	memcpy(text + key.len, guid, sizeof(guid) - 1);
	(void)SHA1(text, key.len + sizeof(guid) - 1, digest);
	(void)EVP_EncodeBlock((unsigned char *)ret, digest, sizeof(digest));
	return 0;
}
