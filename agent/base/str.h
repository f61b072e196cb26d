/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Borrowed text: a pointer and a length, never owning, not NUL-terminated. The owner is always
 * somebody else (an arena, a buffer, a snapshot) and is named where the struct is stored.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>
#include "base/poison.h"

struct sl_str {
	const char *ptr;
	size_t len;
};

#define SL_STR(lit) ((struct sl_str){(lit), sizeof(lit) - 1})
#define SL_STR_NULL ((struct sl_str){NULL, 0})
/* For printf("%.*s"). */
#define SL_STR_ARG(s) (int)(s).len, (s).ptr ? (s).ptr : ""

static inline struct sl_str sl_str_from(const char *c)
{
	return (struct sl_str){c, c ? strlen(c) : 0};
}

static inline bool sl_str_eq(struct sl_str a, struct sl_str b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

/* ASCII case-insensitive, as header names are compared (RFC 9110 section 5.1). */
bool sl_str_ieq(struct sl_str a, struct sl_str b);

static inline bool sl_str_eqc(struct sl_str a, const char *c)
{
	return sl_str_eq(a, sl_str_from(c));
}

static inline bool sl_str_starts(struct sl_str s, struct sl_str prefix)
{
	return s.len >= prefix.len &&
	       (prefix.len == 0 || memcmp(s.ptr, prefix.ptr, prefix.len) == 0);
}

static inline struct sl_str sl_str_skip(struct sl_str s, size_t n)
{
	return (struct sl_str){s.ptr + n, s.len - n};
}

/* Bytewise, a shorter string sorts first. */
int sl_str_cmp(struct sl_str a, struct sl_str b);
/* Without leading and trailing spaces and tabs (OWS of RFC 9110 section 5.6.3). */
struct sl_str sl_str_trim(struct sl_str s);
/* Writes "%XX" (RFC 3986 section 2.1). Returns what is behind it. */
char *sl_percent_put(char *out, char c);
/* 64 bits, stable within one process only (seeded at start against crafted collisions). */
uint64_t sl_hash_bytes(const void *p, size_t len);

static inline uint64_t sl_str_hash(struct sl_str s)
{
	return sl_hash_bytes(s.ptr, s.len);
}

/* Whole of s as a decimal number. Returns 0, or -EINVAL (empty, other characters) or -ERANGE (over
 * max); no sign, no spaces. */
int sl_str_to_u64(struct sl_str s, uint64_t max, uint64_t *ret);
