/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* A strict reader of the Prometheus text format 0.0.4, for tests: it knows the grammar and what
 * goes beyond it (families in one piece, no sample twice, buckets that add up). */
#include <stdbool.h>
#include "base/buf.h"

struct sample {
	char *series; /* name and labels as written, without le */
	char *family;
	double le; /* NAN: none */
	double value;
};

struct exposition {
	struct sample *samples;
	size_t n;
	char error[300]; /* empty: valid */
};

/* Always to be followed by exposition_deinit(). */
void exposition_parse(struct exposition *e, struct sl_str text);
void exposition_deinit(struct exposition *e);
/* The value of a sample, series as written ("name{a=\"b\"}"); NAN when absent. */
double exposition_value(const struct exposition *e, const char *series);
