/* SPDX-License-Identifier: Apache-2.0 */
#include "source/kube_text.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>
#include "base/buf.h"
#include "base/cleanup.h"

static int read_all(int fd, struct sl_buf *b)
{
	for (;;) {
		ssize_t n;
		int r = sl_buf_reserve(b, 4096);

		if (r)
			return r == -ENOBUFS ? -EFBIG : r;
		n = read(fd, sl_buf_tail(b), sl_buf_room(b));
		if (n < 0 && errno != EINTR)
			return -errno;
		if (!n)
			return 0;
		if (n > 0)
			sl_buf_commit(b, (size_t)n);
	}
}

int sl_kube_read_text(const char *path, char **ret)
{
	_cleanup_(sl_buf_deinit) struct sl_buf b = SL_BUF_INIT(SL_KUBE_TEXT_LIMIT_BYTES);
	_cleanup_(sl_closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t len;
	int r;

	if (fd < 0)
		return -errno;
	r = read_all(fd, &b);
	if (r)
		return r;
	len = sl_buf_len(&b);
	if (memchr(sl_buf_ptr(&b), '\0', len))
		return -EINVAL;
	while (len && strchr(" \t\r\n", sl_buf_ptr(&b)[len - 1]))
		len--;
	sl_buf_ptr(&b)[len] = '\0'; /* there is room: the last read found some, and read nothing */
	*ret = sl_take(b.data);
	return 0;
}
