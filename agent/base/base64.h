/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Base64 (RFC 4648). Thread: any. */
#include "base/str.h"

/* At most as many bytes as either function gives for a text of len bytes. */
static inline size_t sl_base64_room(size_t len)
{
	return len / 4 * 3 + 3;
}

/*
 * As Kubernetes writes binary fields: the standard alphabet, padded (section 4).
 * Decode text into out, which has sl_base64_room(text.len) bytes. Line ends within are skipped;
 * anything else that is no base64, bits that would be lost included, is refused. Returns 0 with
 * *ret_len, or -EINVAL.
 */
int sl_base64_decode(struct sl_str text, char *out, size_t *ret_len);
/* The same for the alphabet of URLs (section 5), without padding and line ends. */
int sl_base64url_decode(struct sl_str text, char *out, size_t *ret_len);
