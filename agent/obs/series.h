/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Label sets with values, met one by one (private to agent/obs). One worker looks up and adds, the
 * control thread reads at the same time: series are only ever appended, and published by a release
 * store of their number. Past the limit everything goes to one series whose labels are all "other".
 */
#include "base/str.h"

enum {
	SL_SERIES_MAX_LABELS = 5,
	SL_SERIES_MAX_LABEL_BYTES =
		640, /* kind, namespace and name of a route fit; longer ones are cut */
};

struct sl_series {
	uint64_t *values;
	struct sl_str key; /* lengths and text of the labels; equal for equal label sets */
};

struct sl_series_table;

/* Returns 0 or -ENOMEM. */
int sl_series_table_new(uint32_t n_labels, uint32_t n_values, uint32_t limit,
			struct sl_series_table **ret);
/* Accepts NULL, returns NULL. */
struct sl_series_table *sl_series_table_free(struct sl_series_table *t);

/* The values of a label set, zero when new. Never NULL. Thread: the worker. */
uint64_t *sl_series_values(struct sl_series_table *t, const struct sl_str *labels);

/* Thread: any. The number of series now; the one at index 0 is "other", often all zero. */
uint32_t sl_series_count(const struct sl_series_table *t);
const struct sl_series *sl_series_at(const struct sl_series_table *t, uint32_t index);
/* Label i of a key; borrowed from it. */
struct sl_str sl_series_label(struct sl_str key, uint32_t i);
