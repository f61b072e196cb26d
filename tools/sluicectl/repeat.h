/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Commands that look again and again: once each interval, until the count is reached or for ever.
 */
#include "args.h"

/* Writes one picture to out. Returns 0, -ENOMEM, or 1 when it has said why not. */
typedef int (*sl_repeat_fn)(void *arg, struct sl_buf *out);

/* count 0: for ever. On a terminal each picture takes the place of the one before, elsewhere an
 * empty line is between them. Returns the exit status. */
int sl_ctl_repeat(uint64_t count, uint64_t interval_ms, sl_repeat_fn fn, void *arg);
/* Wait until the next interval is over. */
void sl_ctl_wait(uint64_t interval_ms);
/* Milliseconds, monotonic. */
uint64_t sl_ctl_now_ms(void);
