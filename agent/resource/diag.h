/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * What is wrong with what: the one form in which a problem with the user's configuration travels,
 * from the decoder or the compiler to status conditions, log and sluicectl.
 */
#include <stdint.h>
#include "base/arena.h"
#include "base/str.h"

enum sl_severity { SL_SEVERITY_WARNING, SL_SEVERITY_ERROR };

struct sl_diag {
	enum sl_severity severity;
	struct sl_str file;    /* relative to the folder; empty when the source is not a file */
	uint32_t line;	       /* 1-based; 0: unknown */
	struct sl_str object;  /* "HTTPRoute shop/cart"; empty for a file that does not parse */
	struct sl_str field;   /* "spec.rules[0].matches[1].path.value"; may be empty */
	struct sl_str message; /* one sentence, says what is expected */
};

/* A growing list that owns its text. Thread: control. */
struct sl_diags {
	struct sl_arena arena;
	struct sl_diag *items;
	size_t n, cap;
	size_t n_errors;
	size_t n_dropped; /* out of memory or over the limit of 10,000 entries */
};
#define SL_DIAGS_INIT ((struct sl_diags){0})

void sl_diags_deinit(struct sl_diags *d);
/* Copies all text. Never fails: what cannot be kept is counted in n_dropped (errors also in
 * n_errors). */
void sl_diags_add(struct sl_diags *d, const struct sl_diag *diag, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
