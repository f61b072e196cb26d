/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Numbers as people read them. */
#include <stdint.h>

enum { SL_HUMAN_TEXT = 32 };

/* "12s", "3m4s", "2h5m", "1d3h". Returns out. */
const char *sl_human_seconds(char out[SL_HUMAN_TEXT], uint64_t seconds);
/* "512", "1.5K", "12M": powers of 1024. Returns out. */
const char *sl_human_bytes(char out[SL_HUMAN_TEXT], double bytes);
/* "0.5ms", "12ms", "1.2s". Returns out. */
const char *sl_human_latency(char out[SL_HUMAN_TEXT], double seconds);
