/* SPDX-License-Identifier: Apache-2.0 */
#include "base/str.h"

#include <errno.h>
#include <pthread.h>
#include <sys/random.h>
#include <time.h>

static inline uint64_t load8(const char *p)
{
	uint64_t w;

	memcpy(&w, p, sizeof(w));
	return w;
}

/* Of 1 to 7 bytes; each is in it, some twice. */
static inline uint64_t load_short(const char *p, size_t n)
{
	const unsigned char *s = (const unsigned char *)p;
	uint32_t first, last;

	if (n < 4)
		return s[0] | (uint32_t)s[n / 2] << 8 | (uint32_t)s[n - 1] << 16;
	memcpy(&first, p, sizeof(first));
	memcpy(&last, p + n - sizeof(last), sizeof(last));
	return (uint64_t)first << 32 | last;
}

/* Eight bytes with capital ASCII letters made small. Bit 7 of a sum tells whether the low seven
 * bits of its byte reach 'A', or pass 'Z'; no sum carries into the next byte. */
static inline uint64_t fold(uint64_t w)
{
	const uint64_t ones = 0x0101010101010101ULL, high = ones << 7;
	uint64_t low = w & ~high;
	uint64_t from_a = low + ones * (0x80 - 'A'), past_z = low + ones * (0x7f - 'Z');

	return w | (from_a & ~past_z & ~w & high) >> 2;
}

/* b is mostly a name of ours in small letters, a often the same. */
static inline bool same_folded(uint64_t a, uint64_t b)
{
	uint64_t small = fold(a);

	return small == b || small == fold(b);
}

/* Not strncasecmp(3): it stops at a NUL byte, and asks the locale. */
bool sl_str_ieq(struct sl_str a, struct sl_str b)
{
	size_t n = a.len;

	if (n != b.len)
		return false;
	if (n < 8)
		return !n || same_folded(load_short(a.ptr, n), load_short(b.ptr, n));
	for (size_t i = 0; i + 8 < n; i += 8) {
		if (!same_folded(load8(a.ptr + i), load8(b.ptr + i)))
			return false;
	}
	return same_folded(load8(a.ptr + n - 8), load8(b.ptr + n - 8));
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
		if (__builtin_mul_overflow(v, 10, &v) || __builtin_add_overflow(v, d, &v) ||
		    v > max)
			return -ERANGE;
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

/* A multiply-and-fold hash: sixteen bytes a step, keyed by two random words. */
uint64_t sl_hash_bytes(const void *p, size_t len)
{
	const char *s = p;
	uint64_t h, a = 0, b = 0;
	size_t n = len;

	pthread_once(&seed_once, make_seed);
	h = seed[0] ^ len;
	for (; n > 16; n -= 16, s += 16)
		h = mix(load8(s) ^ seed[1], load8(s + 8) ^ h);
	if (n >= 8) {
		a = load8(s);
		b = load8(s + n - 8);
	} else if (n) {
		a = load_short(s, n);
	}
	h = mix(a ^ seed[1], b ^ h);
	return mix(h ^ len, 0x9e3779b97f4a7c15ULL);
}

char *sl_percent_put(char *out, char c)
{
	static const char digits[] = "0123456789ABCDEF";

	*out++ = '%';
	*out++ = digits[(unsigned char)c >> 4];
	*out++ = digits[(unsigned char)c & 15];
	return out;
}
