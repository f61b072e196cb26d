/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Reads the Prometheus text format 0.0.4, as far as the agent writes it. */
#include "base/arena.h"

struct sl_prom_sample {
	struct sl_str name;
	struct sl_str labels; /* what is between the braces */
	double value;
};

/* Next sample of *text, which moves on. Comments and lines that make no sense are skipped. Returns
 * false at the end. Text is borrowed. */
bool sl_prom_next(struct sl_str *text, struct sl_prom_sample *ret);
/* Value of a label without escapes; empty when there is none. Returns 0 or -ENOMEM. */
int sl_prom_label(struct sl_str labels, const char *name, struct sl_arena *a, struct sl_str *ret);
