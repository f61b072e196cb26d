/* SPDX-License-Identifier: Apache-2.0 */
#include "soak.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

uint8_t pattern[PATTERN_BYTES];
int pattern_fd;

uint64_t rng_next(struct rng *r)
{
	uint64_t z = r->state += 0x9e3779b97f4a7c15;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return z ^ (z >> 31);
}

uint64_t rng_below(struct rng *r, uint64_t n)
{
	return rng_next(r) % n;
}

bool rng_percent(struct rng *r, unsigned percent)
{
	return rng_below(r, 100) < percent;
}

uint64_t rng_size(struct rng *r, uint64_t max)
{
	static const uint64_t tops[] = {16, 200, 4000, 20000, 100000, 400000, UINT64_MAX};
	uint64_t top;

	if (!max || rng_percent(r, 10))
		return 0;
	top = tops[rng_below(r, sizeof(tops) / sizeof(*tops))];
	/* Sizes at which somebody's block ends. */
	if (rng_percent(r, 15)) {
		top = (uint64_t)1 << rng_below(r, 22);
		top += rng_below(r, 3) - 1;
		return top < max ? top : max;
	}
	return rng_below(r, (top < max ? top : max) + 1);
}

struct rng rng_from(uint64_t seed, uint64_t a, uint64_t b)
{
	struct rng r = {seed};

	r.state ^= rng_next(&r) + a;
	r.state ^= rng_next(&r) + b;
	(void)rng_next(&r);
	return r;
}

size_t pattern_at(uint64_t shift, uint64_t offset)
{
	return (size_t)((shift % PATTERN_PRIME + offset % PATTERN_PRIME) % PATTERN_PRIME);
}

void pattern_init(void)
{
	struct rng r = {1};

	for (size_t i = 0; i < PATTERN_BYTES; i++)
		pattern[i] = i < PATTERN_PRIME ? (uint8_t)rng_next(&r) : pattern[i - PATTERN_PRIME];
	pattern_fd = memfd_create("pattern", MFD_CLOEXEC);
	if (pattern_fd < 0 || write(pattern_fd, pattern, sizeof(pattern)) != sizeof(pattern)) {
		perror("pattern");
		exit(2);
	}
}
