/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Time inside Sluice is CLOCK_MONOTONIC in nanoseconds; wall-clock time appears in logs only. */
#include <stdint.h>
#include <time.h>

#define SL_NS_PER_US 1000ULL
#define SL_NS_PER_MS 1000000ULL
#define SL_NS_PER_S  1000000000ULL

static inline uint64_t sl_clock_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * SL_NS_PER_S + (uint64_t)ts.tv_nsec;
}

/* That the calling thread has used of a CPU. */
static inline uint64_t sl_clock_cpu_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * SL_NS_PER_S + (uint64_t)ts.tv_nsec;
}

/* RFC 3339 in UTC with milliseconds, e.g. 2026-01-02T03:04:05.678Z; always 24 characters. */
void sl_clock_wall(char out[25]);
