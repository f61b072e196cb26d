/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What one slow endpoint of ten does to the tail of latencies under each balancer: requests arrive
 * at random, an endpoint answers after a random time of a mean of 1 ms, the slow one of 20 ms. The
 * clock is simulated, so the figures depend on the balancers and the seed alone: --verbose shows
 * them.
 */
#include <stdlib.h>
#include "balanced.h"

enum { ENDPOINTS = 10, REQUESTS = 40000, WARM_UP = 4000, PER_MS = 3, MAX_OPEN = 4096 };

struct open_request {
	struct sl_lb_lease lease;
	uint64_t begun_ns, ends_ns;
};

struct tail {
	uint64_t p50_ns, p99_ns, p999_ns;
	double slow_share;
};

static uint64_t random_state = 42;

static double uniform(void)
{
	uint64_t z = random_state += 0x9e3779b97f4a7c15ULL;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ z >> 27) * 0x94d049bb133111ebULL;
	return (double)((z ^ z >> 31) >> 11) / 9007199254740992.0;
}

/* -ln(u), by halving: libm is not worth it. */
static double exponential(void)
{
	double u = 1 - uniform(), sum = 0, term, x;

	while (u < 0.5) {
		u *= 2;
		sum += 0.6931471805599453;
	}
	x = term = 1 - u;
	for (int k = 2; k < 60; k++) {
		sum += term / (k - 1);
		term *= x;
	}
	return sum;
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* Those that have ended by now. */
static uint32_t finish(struct balanced *b, struct open_request *open, uint32_t n)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < n; i++) {
		if (open[i].ends_ns > b->now_ns)
			open[kept++] = open[i];
		else
			(void)sl_lb_end(&open[i].lease, SL_OUTCOME_OK,
					open[i].ends_ns - open[i].begun_ns, open[i].ends_ns);
	}
	return kept;
}

static struct tail simulate(enum sl_balancer balancer)
{
	static uint64_t latencies[REQUESTS];
	static struct open_request open[MAX_OPEN];
	struct balanced b = balanced_new(balancer, ENDPOINTS);
	uint32_t n_open = 0, n_slow = 0, n = REQUESTS - WARM_UP;

	for (uint32_t i = 0; i < REQUESTS; i++) {
		struct sl_lb_lease l = {0};
		uint64_t latency;
		int at;

		b.now_ns += (uint64_t)(exponential() * SL_NS_PER_MS / PER_MS);
		n_open = finish(&b, open, n_open);
		at = balanced_pick(&b, &(struct sl_lb_ask){0});
		latency = (uint64_t)(exponential() * SL_NS_PER_MS * (at ? 1 : 20));
		cr_assert_eq(sl_lb_begin(&l, b.up, &b.endpoints[at]), SL_LB_GRANTED);
		cr_assert_lt(n_open, MAX_OPEN);
		open[n_open++] = (struct open_request){l, b.now_ns, b.now_ns + latency};
		if (i >= WARM_UP) {
			latencies[i - WARM_UP] = latency;
			n_slow += !at;
		}
	}
	b.now_ns = UINT64_MAX;
	(void)finish(&b, open, n_open);
	balanced_free(&b);
	qsort(latencies, n, sizeof(*latencies), by_value);
	return (struct tail){latencies[n / 2], latencies[n - n / 100], latencies[n - n / 1000],
			     (double)n_slow / n};
}

static void show(const char *name, const struct tail *t)
{
	cr_log_info("%s: p50 %.2f ms, p99 %.1f ms, p99.9 %.1f ms, the slow one gets %.1f %%", name,
		    (double)t->p50_ns / SL_NS_PER_MS, (double)t->p99_ns / SL_NS_PER_MS,
		    (double)t->p999_ns / SL_NS_PER_MS, 100 * t->slow_share);
}

Test(lb_latency, who_looks_at_endpoints_keeps_the_tail_short)
{
	struct tail round_robin = simulate(SL_BALANCER_ROUND_ROBIN);
	struct tail least = simulate(SL_BALANCER_LEAST_REQUEST);
	struct tail ewma = simulate(SL_BALANCER_PEAK_EWMA);

	show("round robin", &round_robin);
	show("least request", &least);
	show("peak EWMA", &ewma);
	cr_expect_lt(least.p99_ns, round_robin.p99_ns * 2 / 3);
	cr_expect_lt(ewma.p99_ns, round_robin.p99_ns / 3);
	cr_expect_lt(ewma.slow_share, 0.02);
}
