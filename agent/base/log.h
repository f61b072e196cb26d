/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The agent's log: one line an event on stderr, "level message key=value ...". Library code returns
 * errors; the edge (core, source, datapath, status) logs them once. User text goes in quotes;
 * control characters in it are replaced. Thread: any (one write(2) a line).
 */
#include "base/str.h"

enum sl_log_level { SL_LOG_ERROR, SL_LOG_WARN, SL_LOG_INFO, SL_LOG_DEBUG };

extern enum sl_log_level sl_log_level; /* default SL_LOG_INFO; set before threads start */

void sl_log(enum sl_log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#define sl_error(...) sl_log(SL_LOG_ERROR, __VA_ARGS__)
#define sl_warn(...)  sl_log(SL_LOG_WARN, __VA_ARGS__)
#define sl_info(...)  sl_log(SL_LOG_INFO, __VA_ARGS__)
#define sl_debug(...)                                      \
	do {                                               \
		if (sl_log_level >= SL_LOG_DEBUG)          \
			sl_log(SL_LOG_DEBUG, __VA_ARGS__); \
	} while (0)

/* Rate limit for messages about peers: true at most once a second per limiter; *ret_skipped gets
 * how many were held back since. Thread: any. */
struct sl_log_limit {
	uint64_t next_ns;
	uint64_t skipped;
};
bool sl_log_allowed(struct sl_log_limit *l, uint64_t now_ns, uint64_t *ret_skipped);

/* Error name and text for -errno, e.g. "Permission denied"; never NULL. Thread: any. */
const char *sl_strerror(int err);
