/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Writer of the Prometheus text format 0.0.4 (private to agent/obs; sources see metrics.h). */
#include "base/buf.h"
#include "obs/metrics.h"

struct sl_metrics_out {
	struct sl_buf *buf;
	const char *family;
	int error; /* the first; nothing is written after it */
};

/* As sl_metrics_out_family(), for any type. */
void sl_emit_family(struct sl_metrics_out *o, const char *name, const char *help, const char *type);
/* One sample: family name and suffix, labels, value as text. */
void sl_emit_sample(struct sl_metrics_out *o, const char *suffix,
		    const struct sl_metric_label *labels, size_t n_labels, const char *value);
/* All lines of one label set; counts are not cumulative. n_labels at most SL_SERIES_MAX_LABELS. */
void sl_emit_histogram(struct sl_metrics_out *o, const struct sl_metric_label *labels,
		       size_t n_labels, const struct sl_histogram_cells *cells);

/* Upper bounds of the buckets, in nanoseconds. */
extern const uint64_t sl_histogram_bounds_ns[SL_HISTOGRAM_BUCKETS];
