/* SPDX-License-Identifier: Apache-2.0 */
#include "base/base64.h"

#include <errno.h>
#include <stdint.h>

enum { GROUP = 4, NONE = -1 };

static int value_of(char c, const char *last_two)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == last_two[0] ? 62 : c == last_two[1] ? 63 : NONE;
}

/* n of 4 characters are no padding. Returns the bytes written, or -EINVAL. */
static int write_group(uint32_t bits, unsigned n, char *out)
{
	unsigned n_bytes = n - 1;

	if (n < 2 || (bits & ((1U << 8 * (3 - n_bytes)) - 1)))
		return -EINVAL;
	for (unsigned i = 0; i < n_bytes; i++)
		out[i] = (char)(bits >> (16 - 8 * i));
	return (int)n_bytes;
}

int sl_base64_decode(struct sl_str text, char *out, size_t *ret_len)
{
	unsigned n = 0, n_pad = 0;
	uint32_t bits = 0;
	size_t len = 0;

	for (size_t i = 0; i < text.len; i++) {
		char c = text.ptr[i];
		int v = value_of(c, "+/"), written;

		if (c == '\n' || c == '\r')
			continue;
		if (c == '=')
			n_pad++;
		if ((c != '=' && (v == NONE || n_pad)) || len % 3)
			return -EINVAL;
		bits = bits << 6 | (c == '=' ? 0 : (uint32_t)v);
		if (++n < GROUP)
			continue;
		written = n_pad > 2 ? -EINVAL : write_group(bits, GROUP - n_pad, out + len);
		if (written < 0)
			return written;
		len += (size_t)written;
		n = 0;
		bits = 0;
	}
	if (n)
		return -EINVAL;
	*ret_len = len;
	return 0;
}

int sl_base64url_decode(struct sl_str text, char *out, size_t *ret_len)
{
	size_t len = 0;

	for (size_t i = 0; i < text.len; i += GROUP) {
		unsigned n = text.len - i < GROUP ? (unsigned)(text.len - i) : GROUP;
		uint32_t bits = 0;
		int written;

		for (unsigned k = 0; k < n; k++) {
			int v = value_of(text.ptr[i + k], "-_");

			if (v == NONE)
				return -EINVAL;
			bits |= (uint32_t)v << (18 - 6 * k);
		}
		written = write_group(bits, n, out + len);
		if (written < 0)
			return written;
		len += (size_t)written;
	}
	*ret_len = len;
	return 0;
}
