/* SPDX-License-Identifier: Apache-2.0 */
#include "obs/access_log.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "obs/access_line.h"

enum { BUFFER_BYTES = 32 * 1024 };

_Static_assert(SL_ACCESS_LINE_MAX <= PIPE_BUF, "a pipe takes a line whole or not at all");

struct sl_access_log {
	char *path;
	int fd;
	mode_t type; /* S_IFMT part */
	bool torn;   /* the file ends within a line */
	uint64_t dropped;
	time_t second; /* whose text is in stamp */
	char stamp[25];
	size_t len;
	char buf[BUFFER_BYTES + SL_ACCESS_LINE_MAX];
};

SL_DEFINE_CLEANUP(struct sl_access_log *, sl_access_log_close)

static int open_output(const char *path, mode_t *ret_type)
{
	const int flags = O_WRONLY | O_APPEND | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
	_cleanup_(sl_closep) int fd = -1;
	struct stat st;

	if (strcmp(path, "-") == 0) {
		/* Opened anew: O_NONBLOCK on the inherited description would reach other processes.
		 * A socket cannot be opened, but can be written to without waiting. */
		fd = open("/dev/stdout", flags);
		if (fd < 0)
			fd = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
	} else {
		fd = open(path, flags | O_CREAT, 0640);
	}
	if (fd < 0 || fstat(fd, &st))
		return -errno;
	*ret_type = st.st_mode & S_IFMT;
	return sl_take_fd(&fd);
}

int sl_access_log_open(const char *path, struct sl_access_log **ret)
{
	_cleanup_(sl_access_log_closep) struct sl_access_log *log = sl_new(struct sl_access_log);

	if (!log)
		return -ENOMEM;
	log->fd = -1;
	log->second = -1;
	log->path = sl_strdup(path);
	if (!log->path)
		return -ENOMEM;
	log->fd = open_output(path, &log->type);
	if (log->fd < 0)
		return log->fd;
	*ret = sl_take(log);
	return 0;
}

struct sl_access_log *sl_access_log_close(struct sl_access_log *log)
{
	if (!log)
		return NULL;
	sl_access_log_flush(log);
	sl_closep(&log->fd);
	free(log->path);
	free(log);
	return NULL;
}

static void count_dropped(struct sl_access_log *log, size_t n)
{
	__atomic_store_n(&log->dropped, log->dropped + n, __ATOMIC_RELAXED);
}

uint64_t sl_access_log_dropped(const struct sl_access_log *log)
{
	return log ? __atomic_load_n(&log->dropped, __ATOMIC_RELAXED) : 0;
}

/* Forget the buffer; every line that has not been written whole counts. */
static void drop(struct sl_access_log *log, const char *unwritten)
{
	const char *end = log->buf + log->len;
	size_t n = 0;

	for (const char *p = unwritten; p < end; p++)
		n += *p == '\n';
	count_dropped(log, n);
	log->len = 0;
}

static ssize_t write_some(const struct sl_access_log *log, const char *p, size_t n)
{
	ssize_t r;

	do {
		if (log->type == S_IFSOCK)
			r = send(log->fd, p, n, MSG_DONTWAIT | MSG_NOSIGNAL);
		else
			r = write(log->fd, p, n);
	} while (r < 0 && errno == EINTR);
	return r < 0 ? -errno : r;
}

/* Whole lines, as many as are written together: all of them, but no more than a pipe takes whole.
 */
static size_t batch(const struct sl_access_log *log, const char *p, size_t n)
{
	const char *end;

	if (log->type != S_IFIFO || n <= PIPE_BUF)
		return n;
	end = memrchr(p, '\n', PIPE_BUF);
	return (size_t)(end - p) + 1;
}

void sl_access_log_flush(struct sl_access_log *log)
{
	const char *p, *end;

	if (!log || !log->len)
		return;
	p = log->buf;
	end = p + log->len;
	if (log->torn && write_some(log, "\n", 1) == 1)
		log->torn = false;
	while (p < end && !log->torn) {
		size_t n = batch(log, p, (size_t)(end - p));
		ssize_t r = write_some(log, p, n);

		if (r < 0 && r != -EAGAIN) {
			drop(log, p);
			return;
		}
		if (r < 0)
			break; /* full for now: what is in the buffer may wait */
		p += r;
		if ((size_t)r < n) {
			log->torn = p[-1] != '\n';
			drop(log, p);
			return;
		}
	}
	log->len = (size_t)(end - p);
	memmove(log->buf, p, log->len);
}

/* Wall-clock time of a monotonic one. The date part is made once a second. */
static struct sl_str stamp(struct sl_access_log *log, uint64_t at_ns)
{
	uint64_t now_ns = sl_clock_now_ns(), wall_ns;
	struct timespec wall;
	time_t second;
	struct tm tm;

	clock_gettime(CLOCK_REALTIME, &wall);
	wall_ns = (uint64_t)wall.tv_sec * SL_NS_PER_S + (uint64_t)wall.tv_nsec - (now_ns - at_ns);
	second = (time_t)(wall_ns / SL_NS_PER_S);
	if (second != log->second) {
		gmtime_r(&second, &tm);
		(void)strftime(log->stamp, sizeof(log->stamp), "%Y-%m-%dT%H:%M:%S", &tm);
		log->second = second;
	}
	(void)snprintf(log->stamp + 19, sizeof(log->stamp) - 19, ".%03uZ",
		       (unsigned)(wall_ns % SL_NS_PER_S / SL_NS_PER_MS));
	return (struct sl_str){log->stamp, 24};
}

void sl_access_log_write(struct sl_access_log *log, const struct sl_access_record *record)
{
	if (!log)
		return;
	if (log->len > BUFFER_BYTES)
		sl_access_log_flush(log);
	if (log->len > BUFFER_BYTES) {
		count_dropped(log, 1);
		return;
	}
	log->len += sl_access_line(record, stamp(log, record->start_ns), log->buf + log->len);
	if (log->len >= BUFFER_BYTES)
		sl_access_log_flush(log);
}

int sl_access_log_reopen(struct sl_access_log *log)
{
	mode_t type = 0;
	int fd;

	sl_access_log_flush(log);
	fd = open_output(log->path, &type);
	if (fd < 0)
		return fd;
	sl_closep(&log->fd);
	log->fd = fd;
	log->type = type;
	log->torn = false;
	return 0;
}
