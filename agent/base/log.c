/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include <errno.h>

#include <stdarg.h>
#include <unistd.h>
#include "base/clock.h"

enum sl_log_level sl_log_level = SL_LOG_INFO;

void sl_clock_wall(char out[25])
{
	struct timespec ts;
	struct tm tm;
	size_t n;

	clock_gettime(CLOCK_REALTIME, &ts);
	gmtime_r(&ts.tv_sec, &tm);
	n = strftime(out, 25, "%Y-%m-%dT%H:%M:%S", &tm);
	(void)snprintf(out + n, 25 - n, ".%03uZ", (unsigned)(ts.tv_nsec / 1000000) % 1000);
}

void sl_log(enum sl_log_level level, const char *fmt, ...)
{
	static const char *const names[] = {"error", "warn", "info", "debug"};
	char line[2048], when[25];
	va_list ap;
	size_t n;
	int r;

	if (level > sl_log_level)
		return;
	sl_clock_wall(when);
	n = (size_t)snprintf(line, sizeof(line), "%s %s ", when, names[level]);
	va_start(ap, fmt);
	r = vsnprintf(line + n, sizeof(line) - n - 1, fmt, ap);
	va_end(ap);
	if (r < 0)
		return;
	n += (size_t)r < sizeof(line) - n - 2 ? (size_t)r : sizeof(line) - n - 2;
	/* One event is one line, whatever a peer or a file put into the text. */
	for (size_t i = 0; i < n; i++) {
		if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
			line[i] = '?';
	}
	line[n++] = '\n';
	/* A log that cannot be written has nowhere to complain. */
	while (write(STDERR_FILENO, line, n) < 0 && errno == EINTR)
		;
}

bool sl_log_allowed(struct sl_log_limit *l, uint64_t now_ns, uint64_t *ret_skipped)
{
	uint64_t next = __atomic_load_n(&l->next_ns, __ATOMIC_RELAXED);

	if (now_ns < next ||
	    !__atomic_compare_exchange_n(&l->next_ns, &next, now_ns + SL_NS_PER_S, false,
					 __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
		__atomic_fetch_add(&l->skipped, 1, __ATOMIC_RELAXED);
		return false;
	}
	*ret_skipped = __atomic_exchange_n(&l->skipped, 0, __ATOMIC_RELAXED);
	return true;
}

const char *sl_strerror(int err)
{
	const char *s = strerrordesc_np(err < 0 ? -err : err);

	return s ? s : "unknown error";
}
