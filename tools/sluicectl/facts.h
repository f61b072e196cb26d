/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Two columns without titles: what, and how it is. */
#include "base/buf.h"

struct sl_facts {
	struct sl_buf *out;
	int error; /* the first; 0 or -ENOMEM */
};

/* A line. name "": goes on from the line before. */
void sl_fact(struct sl_facts *f, const char *name, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
