/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* --limit NAME=VALUE: the names of obs/limit.h that a user can set, with their ranges. */
#include "proxy/proxy.h"

/* Apply one. Returns 0, or -EINVAL after it wrote to err what is wrong with it. Totals of the agent
 * (connections, buffered-bytes) are kept as such until sl_limits_per_worker(). */
int sl_limits_set(struct sl_proxy_opts *opts, const char *text, char *err, size_t err_len);
/* The share of one of n workers in the totals. */
void sl_limits_per_worker(struct sl_proxy_opts *opts, uint32_t n_workers);
/* Lines for --help: name, default, meaning. */
void sl_limits_help(void);
