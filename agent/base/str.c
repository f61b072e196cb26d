/* SPDX-License-Identifier: Apache-2.0 */
#include "base/str.h"

#include <errno.h>
#include <pthread.h>
#include <sys/random.h>
#include <time.h>

static unsigned char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (unsigned char)(c | 0x20) : (unsigned char)c;
}

/* Not strncasecmp(3): it stops at a NUL byte, and asks the locale. */
bool sl_str_ieq(struct sl_str a, struct sl_str b)
{
	if (a.len != b.len)
		return false;
	for (size_t i = 0; i < a.len; i++) {
		if (lower(a.ptr[i]) != lower(b.ptr[i]))
			return false;
	}
	return true;
}

int sl_str_cmp(struct sl_str a, struct sl_str b)
{
	size_t n = a.len < b.len ? a.len : b.len;
	int r = n ? memcmp(a.ptr, b.ptr, n) : 0;

	if (r)
		return r;
	return a.len < b.len ? -1 : a.len > b.len;
}

struct sl_str sl_str_trim(struct sl_str s)
{
	while (s.len && (s.ptr[0] == ' ' || s.ptr[0] == '\t'))
		s = sl_str_skip(s, 1);
	while (s.len && (s.ptr[s.len - 1] == ' ' || s.ptr[s.len - 1] == '\t'))
		s.len--;
	return s;
}

int sl_str_to_u64(struct sl_str s, uint64_t max, uint64_t *ret)
{
	uint64_t v = 0;

	if (!s.len)
		return -EINVAL;
	for (size_t i = 0; i < s.len; i++) {
		unsigned d = (unsigned char)s.ptr[i] - '0';

		if (d > 9)
			return -EINVAL;
		if (v > (max - d) / 10 || d > max)
			return -ERANGE;
		v = v * 10 + d;
	}
	*ret = v;
	return 0;
}

static uint64_t seed[2];
static pthread_once_t seed_once = PTHREAD_ONCE_INIT;

static void make_seed(void)
{
	/* Early boot may have no entropy yet: the clock then stands in, as this guards only speed.
	 */
	if (getrandom(seed, sizeof(seed), GRND_NONBLOCK) != sizeof(seed)) {
		struct timespec ts;

		clock_gettime(CLOCK_REALTIME, &ts);
		seed[0] = (uint64_t)ts.tv_nsec * 0x9e3779b97f4a7c15ULL;
		seed[1] = (uint64_t)ts.tv_sec ^ (uintptr_t)&seed;
	}
}

static inline uint64_t mix(uint64_t a, uint64_t b)
{
	__uint128_t m = (__uint128_t)a * b;

	return (uint64_t)m ^ (uint64_t)(m >> 64);
}

/* A multiply-and-fold hash: eight bytes a step, keyed by two random words. */
uint64_t sl_hash_bytes(const void *p, size_t len)
{
	const unsigned char *s = p;
	uint64_t h, w;
	size_t n = len;

	pthread_once(&seed_once, make_seed);
	h = seed[0] ^ len;
	for (; n >= 8; n -= 8, s += 8) {
		memcpy(&w, s, 8);
		h = mix(h ^ w, seed[1] | 1);
	}
	w = 0;
	if (n)
		memcpy(&w, s, n);
	h = mix(h ^ w, 0x9e3779b97f4a7c15ULL ^ seed[1]);
	return mix(h, 0xd6e8feb86659fd93ULL);
}
