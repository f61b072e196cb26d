/* SPDX-License-Identifier: Apache-2.0 */
#include "upstream/random.h"

#include <sys/random.h>
#include "base/clock.h"

uint64_t sl_random_seed(void)
{
	uint64_t seed = 0;

	if (getrandom(&seed, sizeof(seed), GRND_NONBLOCK) != sizeof(seed))
		seed = sl_clock_now_ns() ^ (uint64_t)(uintptr_t)&seed;
	return seed ? seed : 1;
}

/* A counter run through a mixing function (splitmix64): every state is a good one. */
uint64_t sl_random_next(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15ULL;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return z ^ (z >> 31);
}

bool sl_random_chance(uint64_t *state, uint32_t numerator, uint32_t denominator)
{
	return numerator == denominator || sl_random_next(state) % denominator < numerator;
}
