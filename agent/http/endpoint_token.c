/* SPDX-License-Identifier: Apache-2.0 */
#include "http/endpoint_token.h"

#include <errno.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include "base/cleanup.h"

enum {
	NONCE_BYTES = 12,
	PLAIN_BYTES = 26,
	TAG_BYTES = 16,
	SEALED_BYTES = NONCE_BYTES + PLAIN_BYTES + TAG_BYTES
};

_Static_assert(SEALED_BYTES % 3 == 0 && SEALED_BYTES / 3 * 4 == SL_ENDPOINT_TOKEN_TEXT,
	       "base64 needs no padding");

static void free_context(EVP_CIPHER_CTX **c)
{
	EVP_CIPHER_CTX_free(*c);
}

static void put_u32(uint8_t *at, uint32_t v)
{
	for (int i = 0; i < 4; i++)
		at[i] = (uint8_t)(v >> (24 - 8 * i));
}

static uint32_t get_u32(const uint8_t *at)
{
	return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static void pack(const struct sl_endpoint_token *t, uint8_t out[PLAIN_BYTES])
{
	memcpy(out, t->endpoint.ip, 16);
	out[16] = (uint8_t)(t->endpoint.port >> 8);
	out[17] = (uint8_t)t->endpoint.port;
	put_u32(out + 18, t->issued_s);
	put_u32(out + 22, t->seen_s);
}

static void unpack(const uint8_t in[PLAIN_BYTES], struct sl_endpoint_token *ret)
{
	memcpy(ret->endpoint.ip, in, 16);
	ret->endpoint.port = (uint16_t)(in[16] << 8 | in[17]);
	ret->issued_s = get_u32(in + 18);
	ret->seen_s = get_u32(in + 22);
}

/* sealed: nonce, content, tag. Returns 0, -ENOMEM, or -EINVAL when what is opened is not whole. */
static int crypt_gcm(bool seal, struct sl_str secret, struct sl_str backend,
		     uint8_t sealed[SEALED_BYTES], uint8_t plain[PLAIN_BYTES])
{
	_cleanup_(free_context) EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
	uint8_t *content = sealed + NONCE_BYTES, *tag = content + PLAIN_BYTES;
	uint8_t key[SHA256_DIGEST_LENGTH];
	int n;

	(void)SHA256((const unsigned char *)secret.ptr, secret.len, key); /* key itself */
	if (!c || !EVP_CipherInit_ex(c, EVP_aes_256_gcm(), NULL, key, sealed, seal) ||
	    (!seal && EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_SET_TAG, TAG_BYTES, tag) <= 0) ||
	    !EVP_CipherUpdate(c, NULL, &n, (const uint8_t *)backend.ptr, (int)backend.len) ||
	    !EVP_CipherUpdate(c, seal ? content : plain, &n, seal ? plain : content, PLAIN_BYTES))
		return -ENOMEM;
	/* Nothing is left to be written. */
	if (!EVP_CipherFinal_ex(c, tag, &n))
		return seal ? -ENOMEM : -EINVAL;
	if (seal && EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_GET_TAG, TAG_BYTES, tag) <= 0)
		return -ENOMEM;
	return 0;
}

int sl_endpoint_token_seal(struct sl_str secret, struct sl_str backend,
			   const struct sl_endpoint_token *token, char out[SL_ENDPOINT_TOKEN_TEXT])
{
	unsigned char text[SL_ENDPOINT_TOKEN_TEXT + 1];
	uint8_t plain[PLAIN_BYTES], sealed[SEALED_BYTES];
	int r;

	pack(token, plain);
	if (RAND_bytes(sealed, NONCE_BYTES) != 1)
		return -ENOMEM;
	r = crypt_gcm(true, secret, backend, sealed, plain);
	if (r)
		return r;
	(void)EVP_EncodeBlock(text, sealed, SEALED_BYTES);
	for (size_t i = 0; i < SL_ENDPOINT_TOKEN_TEXT; i++)
		out[i] = text[i] == '+' ? '-' : text[i] == '/' ? '_' : (char)text[i];
	return 0;
}

int sl_endpoint_token_open(struct sl_str secret, struct sl_str backend, struct sl_str text,
			   struct sl_endpoint_token *ret)
{
	unsigned char standard[SL_ENDPOINT_TOKEN_TEXT];
	uint8_t plain[PLAIN_BYTES], sealed[SEALED_BYTES];
	int r;

	if (text.len != SL_ENDPOINT_TOKEN_TEXT)
		return -EINVAL;
	for (size_t i = 0; i < text.len; i++) {
		char ch = text.ptr[i];

		/* What the decoder would skip, or take for another text of the same content. */
		if (!((ch >= 'A' && ch <= 'Z') || (ch >= 'a' && ch <= 'z') ||
		      (ch >= '0' && ch <= '9') || ch == '-' || ch == '_'))
			return -EINVAL;
		standard[i] = ch == '-' ? '+' : ch == '_' ? '/' : (unsigned char)ch;
	}
	if (EVP_DecodeBlock(sealed, standard, SL_ENDPOINT_TOKEN_TEXT) != SEALED_BYTES)
		return -EINVAL;
	r = crypt_gcm(false, secret, backend, sealed, plain);
	if (!r)
		unpack(plain, ret);
	return r;
}
