/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* One access record as a line of JSON (private to agent/obs). Pure: no clock, no allocation. */
#include "obs/access_log.h"

enum { SL_ACCESS_LINE_MAX = 4096 };

/* time: RFC 3339. Writes the line with its line feed; strings are cut so that it always fits.
 * Returns its length. */
size_t sl_access_line(const struct sl_access_record *record, struct sl_str time,
		      char out[SL_ACCESS_LINE_MAX]);
