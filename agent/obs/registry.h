/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What metrics.c (shards, sources) and render.c share (private to agent/obs). */
#include "obs/metrics.h"
#include "obs/series.h"

/* Labels of the series tables, in this order. */
enum {
	SL_REQUEST_SERVICE,
	SL_REQUEST_ROUTE,
	SL_REQUEST_RULE,
	SL_REQUEST_BACKEND,
	SL_REQUEST_CODE,
	SL_REQUEST_LABELS,
	/* a prefix of them labels the durations */
	SL_DURATION_LABELS = SL_REQUEST_ROUTE + 1,
	SL_CONNECTION_LABELS = SL_REQUEST_BACKEND + 1,
	SL_SHADOW_LABELS = SL_REQUEST_RULE + 1,
	SL_DURATION_VALUES = sizeof(struct sl_histogram_cells) / sizeof(uint64_t),
};
_Static_assert((int)SL_REQUEST_LABELS <= (int)SL_SERIES_MAX_LABELS, "series hold all labels");

struct sl_metrics_source {
	sl_metrics_source_fn fn;
	void *arg;
};

struct sl_metrics {
	uint32_t n_shards;
	struct sl_metrics_shard **shards;
	size_t n_sources;
	struct sl_metrics_source *sources;
	void (*before)(void *arg); /* each rendering; NULL: nobody */
	void *before_arg;
};

/* The sum over all shards of the u64 at this offset of each. */
uint64_t sl_metrics_sum(const struct sl_metrics *m, size_t offset);

#define SL_METRICS_SUM(m, member, index) \
	sl_metrics_sum((m), offsetof(struct sl_metrics_shard, member) + (index) * sizeof(uint64_t))
