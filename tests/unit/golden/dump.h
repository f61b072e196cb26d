/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* A compiled configuration as text: the same for the same input, on every run and machine. */
#include "base/buf.h"
#include "compile/compile.h"

/* Appends to out. Returns 0 or -ENOMEM. */
int dump_compiled(struct sl_buf *out, const struct sl_snapshot *snap,
		  const struct sl_compile_report *report);
