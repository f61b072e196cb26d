/* SPDX-License-Identifier: Apache-2.0 */
#include "repeat.h"

#include <time.h>
#include "base/cleanup.h"
#include "base/clock.h"

uint64_t sl_ctl_now_ms(void)
{
	return sl_clock_now_ns() / SL_NS_PER_MS;
}

void sl_ctl_wait(uint64_t interval_ms)
{
	const struct timespec t = {.tv_sec = (time_t)(interval_ms / 1000),
				   .tv_nsec = (long)(interval_ms % 1000) * 1000000};

	(void)nanosleep(&t, NULL); /* a signal only makes it shorter */
}

int sl_ctl_repeat(uint64_t count, uint64_t interval_ms, sl_repeat_fn fn, void *arg)
{
	/* Home, and away with what is below. */
	struct sl_str between = isatty(STDOUT_FILENO) ? SL_STR("\033[H\033[J") : SL_STR("\n");
	bool first = true;

	for (uint64_t i = 0; !count || i < count; i++) {
		_cleanup_(sl_buf_deinit) struct sl_buf out = SL_BUF_INIT(0);
		int r = 0;

		if (!first)
			sl_ctl_wait(interval_ms);
		if (!first || (count != 1 && between.len > 1))
			r = sl_buf_append_str(&out, between);
		first = false;
		if (!r)
			r = fn(arg, &out);
		if (r > 0 || sl_ctl_write(&out, r))
			return EXIT_FAILURE;
	}
	return EXIT_SUCCESS;
}
