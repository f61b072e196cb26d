/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What happened between two renderings of the agent's metrics. */
#include <jansson.h>
#include "base/arena.h"
#include "base/buf.h"
#include "base/map.h"

enum { SL_TOP_MAX_BUCKETS = 32 };

/* Requests of a route on a Service so far. */
struct sl_top_row {
	struct sl_str key, service, route;
	double requests, errors; /* errors: answered with 5xx */
	uint32_t n_buckets;
	struct {
		double bound_s, count; /* of all that took at most so long; the last has no bound */
	} buckets[SL_TOP_MAX_BUCKETS];
};

struct sl_top_sample {
	struct sl_arena arena;
	struct sl_map rows;
	double conns, spliced, requests_active;
};

/* text: as of the command "metrics". Returns 0 or -ENOMEM. */
int sl_top_read(struct sl_str text, struct sl_top_sample *ret);
void sl_top_deinit(struct sl_top_sample *s);

/* {"interval_ms", "connections", "spliced", "requests_active", "requests_rate", "errors_rate",
 * "rows":
 * [{"service", "route", "requests_rate", "errors_rate", "p50_ms"?, "p99_ms"?}]}, the busiest first.
 * Counters that went back began again. Returns 0 with a new reference, or -ENOMEM. */
int sl_top_compare(const struct sl_top_sample *before, const struct sl_top_sample *now,
		   uint64_t interval_ms, json_t **ret);
/* max_rows: what fits the terminal; 0: all. Returns 0 or -ENOMEM. */
int sl_top_view(const json_t *answer, size_t max_rows, struct sl_buf *out);
