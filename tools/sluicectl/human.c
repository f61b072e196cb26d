/* SPDX-License-Identifier: Apache-2.0 */
#include "human.h"

#include <inttypes.h>
#include <stdio.h>

const char *sl_human_seconds(char out[SL_HUMAN_TEXT], uint64_t s)
{
	if (s >= 86400)
		(void)snprintf(out, SL_HUMAN_TEXT, "%" PRIu64 "d%" PRIu64 "h", s / 86400,
			       s / 3600 % 24);
	else if (s >= 3600)
		(void)snprintf(out, SL_HUMAN_TEXT, "%" PRIu64 "h%" PRIu64 "m", s / 3600,
			       s / 60 % 60);
	else if (s >= 60)
		(void)snprintf(out, SL_HUMAN_TEXT, "%" PRIu64 "m%" PRIu64 "s", s / 60, s % 60);
	else
		(void)snprintf(out, SL_HUMAN_TEXT, "%" PRIu64 "s", s);
	return out;
}

const char *sl_human_bytes(char out[SL_HUMAN_TEXT], double bytes)
{
	static const char units[] = " KMGTPE";
	unsigned i = 0;

	while (bytes >= 1024 && i + 2 < sizeof(units)) {
		bytes /= 1024;
		i++;
	}
	if (!i)
		(void)snprintf(out, SL_HUMAN_TEXT, "%.0f", bytes);
	else
		(void)snprintf(out, SL_HUMAN_TEXT, "%.*f%c", bytes < 10 ? 1 : 0, bytes, units[i]);
	return out;
}

const char *sl_human_latency(char out[SL_HUMAN_TEXT], double seconds)
{
	if (seconds >= 1)
		(void)snprintf(out, SL_HUMAN_TEXT, "%.1fs", seconds);
	else
		(void)snprintf(out, SL_HUMAN_TEXT, "%.*fms", seconds < 0.01 ? 1 : 0,
			       seconds * 1000);
	return out;
}
