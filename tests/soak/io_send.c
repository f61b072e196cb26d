/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>
#include "io_impl.h"

/* One call. Where from: buf, or the offset in pattern if buf points into it. */
static ssize_t send_once(struct io *io, const uint8_t *buf, size_t n, bool more)
{
	bool in_pattern = buf >= pattern && buf < pattern + PATTERN_BYTES;
	int flags = MSG_NOSIGNAL | (more ? MSG_MORE : 0);
	off_t at = buf - pattern;

	switch (io->mode) {
	case IO_URING:
		return uring_send(io->ring, io->fd, buf, n, rng_percent(&io->rng, 30));
	case IO_SENDFILE:
		return in_pattern ? io_result(sendfile(io->fd, pattern_fd, &at, n))
				  : io_result(send(io->fd, buf, n, flags));
	case IO_ZEROCOPY: {
		ssize_t r;

		if (!in_pattern)
			break;
		r = io_result(send(io->fd, buf, n, flags | MSG_ZEROCOPY));
		if (r > 0)
			io->n_zerocopy++;
		return r == -ENOBUFS ? io_result(send(io->fd, buf, n, flags)) : r;
	}
	case IO_IOV: {
		struct iovec v[2] = {{(void *)(uintptr_t)buf, n / 2},
				     {(void *)(uintptr_t)(buf + n / 2), n - n / 2}};

		return io_result(writev(io->fd, v, 2));
	}
	case IO_MMSG: {
		struct iovec v[2] = {{(void *)(uintptr_t)buf, n / 2},
				     {(void *)(uintptr_t)(buf + n / 2), n - n / 2}};
		struct mmsghdr m[2] = {{.msg_hdr = {.msg_iov = &v[0], .msg_iovlen = 1}},
				       {.msg_hdr = {.msg_iov = &v[1], .msg_iovlen = 1}}};
		int r = sendmmsg(io->fd, m, 2, MSG_NOSIGNAL);

		/* What the first did not take must not be followed by the second. */
		if (r == 2 && m[0].msg_len < n / 2)
			return -EIO;
		return r < 0 ? -errno : (ssize_t)(m[0].msg_len + (r > 1 ? m[1].msg_len : 0));
	}
	case IO_DUP:
		io_change_hands(io);
		break;
	case IO_INFO:
		io_look_around(io);
		break;
	default:
		break;
	}
	return io_result(rng_percent(&io->rng, 70) ? send(io->fd, buf, n, flags)
						   : write(io->fd, buf, n));
}

/* Through a pipe: pages of the file itself, not copies. */
static ssize_t send_splice(struct io *io, const uint8_t *buf, size_t n)
{
	bool in_pattern = buf >= pattern && buf < pattern + PATTERN_BYTES;
	off_t at = buf - pattern;
	ssize_t filled, r;

	if (n > PIPE_BYTES / 2)
		n = PIPE_BYTES / 2; /* pages that are not aligned need one more slot */
	filled = io_result(in_pattern ? splice(pattern_fd, &at, io->pipe[1], NULL, n, SPLICE_F_MOVE)
				      : write(io->pipe[1], buf, n));
	for (ssize_t gone = 0; gone < filled; gone += r) {
		r = io_result(splice(io->pipe[0], NULL, io->fd, NULL, (size_t)(filled - gone),
				     SPLICE_F_MOVE));
		if (r == -EAGAIN) {
			r = io_wait(io, true);
			if (r)
				return r;
		}
		if (r < 0)
			return r;
	}
	return filled;
}

int io_send(struct io *io, const void *buf, size_t n, bool more)
{
	const uint8_t *p = buf;

	while (n) {
		ssize_t r = io_wait(io, true);

		if (r)
			return (int)r;
		r = io->mode == IO_SPLICE ? send_splice(io, p, n) : send_once(io, p, n, more);
		if (r == -EAGAIN) {
			if (io_blocks(io->mode))
				return -ETIMEDOUT;
			io->can_write = false;
			continue;
		}
		if (r < 0 && r != -EINTR)
			return (int)r;
		if (r > 0) {
			p += r;
			n -= (size_t)r;
			io->n_out += (size_t)r;
			live_progress(io->live);
		}
	}
	return 0;
}

int io_send_pattern(struct io *io, uint64_t shift, uint64_t offset, size_t n)
{
	while (n) {
		size_t at = pattern_at(shift, offset);
		size_t part = PATTERN_BYTES - at < n ? PATTERN_BYTES - at : n;
		int r = io_send(io, pattern + at, part, false);

		if (r)
			return r;
		offset += part;
		n -= part;
	}
	return 0;
}

int io_settle(struct io *io)
{
	while (io->n_zerocopy_done < io->n_zerocopy) {
		char control[256];
		struct msghdr m = {.msg_control = control, .msg_controllen = sizeof(control)};
		struct pollfd p = {.fd = io->fd};
		struct cmsghdr *c;

		if (recvmsg(io->fd, &m, MSG_ERRQUEUE | MSG_DONTWAIT) < 0) {
			if (errno != EAGAIN)
				return -errno;
			if (poll(&p, 1, (int)deadline_ms) == 0)
				return -ETIMEDOUT;
			if (p.revents & POLLHUP) /* reset: nobody tells */
				return 0;
			continue;
		}
		for (c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
			/* struct sock_extended_err: ee_info and ee_data are the first and the last.
			 */
			uint32_t e[4];

			memcpy(e, CMSG_DATA(c), sizeof(e));
			io->n_zerocopy_done += e[3] - e[2] + 1;
		}
	}
	return 0;
}
