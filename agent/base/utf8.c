/* SPDX-License-Identifier: Apache-2.0 */
#include "base/utf8.h"

/* RFC 3629 section 4: what the second byte may be depends on the first. */
static const struct {
	unsigned char first_min, first_max, second_min, second_max;
	size_t len;
} forms[] = {
	{0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3}, {0xe1, 0xec, 0x80, 0xbf, 3},
	{0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3}, {0xf0, 0xf0, 0x90, 0xbf, 4},
	{0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4},
};

size_t sl_utf8_len(struct sl_str s)
{
	const unsigned char *p = (const unsigned char *)s.ptr;

	if (!s.len)
		return 0;
	if (p[0] < 0x80)
		return 1;
	for (size_t i = 0; i < sizeof(forms) / sizeof(*forms); i++) {
		if (p[0] < forms[i].first_min || p[0] > forms[i].first_max)
			continue;
		if (s.len < forms[i].len || p[1] < forms[i].second_min ||
		    p[1] > forms[i].second_max)
			return 0;
		for (size_t k = 2; k < forms[i].len; k++) {
			if ((p[k] & 0xc0) != 0x80)
				return 0;
		}
		return forms[i].len;
	}
	return 0;
}
