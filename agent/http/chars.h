/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Character classes of RFC 9110, RFC 9112 and RFC 3986, one table look-up each. Private to the
 * codecs.
 */
#include "base/str.h"

enum {
	SL_CHAR_TOKEN = 1 << 0,	 /* tchar (RFC 9110 section 5.6.2) */
	SL_CHAR_TARGET = 1 << 1, /* in a request target: no controls, no space, no "#" */
	SL_CHAR_HOST = 1 << 2,	 /* in a reg-name, "%" apart (RFC 3986 section 3.2.2) */
	SL_CHAR_HEX = 1 << 3,
	SL_CHAR_VALUE = 1 << 4, /* in a field value: no controls but tab (RFC 9110 section 5.5) */
};
extern const uint8_t sl_char_classes[256];

static inline bool sl_char_is(char c, uint8_t class)
{
	return sl_char_classes[(unsigned char)c] & class;
}

static inline bool sl_char_is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* Value of a hexadecimal digit; the caller knows that it is one. */
static inline unsigned sl_char_hex(char c)
{
	return sl_char_is_digit(c) ? (unsigned)(c - '0') : (unsigned)((c | 0x20) - 'a' + 10);
}

/* The first byte in [p, end) that no field value may have, or end. */
const char *sl_chars_value_end(const char *p, const char *end);
/* Whether all of s is of the class. True for an empty s. */
bool sl_chars_all(struct sl_str s, uint8_t class);
/* The same for field values, faster. */
static inline bool sl_chars_value(struct sl_str s)
{
	return !s.len || sl_chars_value_end(s.ptr, s.ptr + s.len) == s.ptr + s.len;
}
