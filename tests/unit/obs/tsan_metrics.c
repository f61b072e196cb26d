/* SPDX-License-Identifier: Apache-2.0 */
/* Two workers count, known label sets and new ones, while the control thread renders. A plain TAP
 * program, because the test framework of the others does not start under the thread sanitizer. */
#include <pthread.h>
#include <stdio.h>
#include "obs/metrics.h"

enum { N_WORKERS = 2, N_ROUNDS = 5000, N_ROUTES = 50 };

static bool stopping;

static void *work(void *arg)
{
	struct sl_metrics_shard *s = arg;
	char route[16];

	for (uint32_t i = 0; i < N_ROUNDS; i++) {
		struct sl_metrics_request rq = {.code = 200, .duration_ns = i};

		(void)snprintf(route, sizeof(route), "r%u", i * N_ROUTES / N_ROUNDS);
		rq.route = sl_str_from(route);
		sl_metrics_request(s, &rq);
		sl_metrics_inc(s, SL_COUNTER_TUNNELS);
		sl_metrics_gauge_add(s, SL_GAUGE_CONNS, i % 2 ? -1 : 1);
		sl_metrics_observe(s, SL_HISTOGRAM_CONNECT, i);
		sl_metrics_end(s, SL_END_COMPLETE);
	}
	__atomic_store_n(&stopping, true, __ATOMIC_RELAXED);
	return NULL;
}

static int check(bool ok, int number, const char *what)
{
	printf("%sok %d - %s\n", ok ? "" : "not ", number, what);
	return !ok;
}

int main(void)
{
	struct sl_metrics_opts opts = {.n_workers = N_WORKERS, .max_series = N_ROUTES};
	pthread_t threads[N_WORKERS];
	struct sl_metrics *m = NULL;
	struct sl_buf text = SL_BUF_INIT(0);
	uint64_t total = 0;
	int bad = 0, r = 0;

	printf("1..3\n");
	if (check(!sl_metrics_new(&opts, &m), 1, "a registry"))
		return 1;
	for (uint32_t i = 0; i < N_WORKERS; i++) {
		if (pthread_create(&threads[i], NULL, work, sl_metrics_shard(m, i)))
			return 1;
	}
	do {
		sl_buf_consume(&text, sl_buf_len(&text));
		r = sl_metrics_render(m, &text);
	} while (!r && !__atomic_load_n(&stopping, __ATOMIC_RELAXED));
	for (int i = 0; i < N_WORKERS; i++)
		pthread_join(threads[i], NULL);
	bad += check(!r, 2, "rendering while workers count");
	for (int i = 0; i < N_ROUTES; i++) {
		char route[16];

		(void)snprintf(route, sizeof(route), "r%d", i);
		total += sl_metrics_route_requests(m, sl_str_from(route));
	}
	bad += check(total == (uint64_t)N_WORKERS * N_ROUNDS, 3, "every request is counted");
	sl_buf_deinit(&text);
	sl_metrics_free(m);
	return bad != 0;
}
