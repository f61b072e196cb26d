/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Durations as the Gateway API writes them (GEP-2257): one to four parts of up to five digits and a
 * unit of h, m, s or ms, added up. Nothing else is accepted: no fraction, no sign, no bare number.
 */
#include <stdint.h>
#include "base/str.h"

/* Returns 0 or -EINVAL; cannot overflow. Thread: any. */
int sl_duration_parse(struct sl_str text, uint64_t *ret_ns);

#define SL_DURATION_TEXT 48 /* room for the longest text and NUL */
/* Canonical form: descending units, none twice, "0s" for zero; below a millisecond is cut off.
 * Returns out. Thread: any. */
const char *sl_duration_format(uint64_t ns, char out[SL_DURATION_TEXT]);
