/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>
#include "io_impl.h"

enum { LOWAT_MAX = 8192, SPLIT = 4 };

static void set_int(int fd, int level, int option, int value)
{
	(void)setsockopt(fd, level, option, &value, sizeof(value));
}

static ssize_t recv_plain(struct io *io, void *buf, size_t n)
{
	ssize_t r = io_result(rng_percent(&io->rng, 50) ? recv(io->fd, buf, n, 0)
							: read(io->fd, buf, n));

	if (r == -EAGAIN)
		io->can_read = false;
	/* epoll(7): less than was asked for says that there is no more. */
	if (io->mode == IO_ETSHORT && r > 0 && (size_t)r < n && !io->hangup)
		io->can_read = false;
	return r;
}

/* Whether bytes are there that a call should have returned. */
static bool has_more(struct io *io)
{
	char byte;
	ssize_t r = recv(io->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);

	/* The kernel says it once. */
	if (r < 0 && errno != EAGAIN)
		io->pending = errno;
	return r > 0;
}

static ssize_t recv_peek(struct io *io, uint8_t *buf, size_t max)
{
	uint8_t seen[2048];
	size_t n = 1 + rng_below(&io->rng, sizeof(seen));
	ssize_t peeked = io_result(recv(io->fd, seen, n, MSG_PEEK | MSG_DONTWAIT)), r;

	if (peeked <= 0)
		return peeked;
	r = io_result(recv(io->fd, buf, max, 0));
	if (r < 0 || memcmp(buf, seen, (size_t)(r < peeked ? r : peeked)) != 0)
		io->broken = "MSG_PEEK showed other bytes than recv";
	if (r >= 0 && r < peeked && (size_t)r < max)
		io->broken = "recv returned less than MSG_PEEK";
	return r;
}

/* From how many bytes on the next wait is to end; with little room the kernel takes less. */
static void set_lowat(struct io *io, size_t want)
{
	int mark = 1 + (int)rng_below(&io->rng, want < LOWAT_MAX ? want : LOWAT_MAX);
	int room = 0;
	socklen_t len = sizeof(room);

	/* Without room for it TCP crawls from one window probe to the next. */
	(void)getsockopt(io->fd, SOL_SOCKET, SO_RCVBUF, &room, &len);
	if (room < 8 * LOWAT_MAX)
		mark = 1;
	set_int(io->fd, SOL_SOCKET, SO_RCVLOWAT, mark);
}

static ssize_t recv_fionread(struct io *io, void *buf, size_t max)
{
	int queued = -1;
	ssize_t r;

	if (ioctl(io->fd, rng_percent(&io->rng, 50) ? FIONREAD : SIOCINQ, &queued))
		return -errno;
	if (queued > 0 && (size_t)queued < max)
		max = (size_t)queued;
	r = recv_plain(io, buf, max);
	if (queued > 0 && r != (ssize_t)max)
		io->broken = "FIONREAD promised more than recv gave";
	return r;
}

static ssize_t recv_split(struct io *io, uint8_t *buf, size_t max)
{
	size_t each = max / SPLIT + 1, at = 0;
	struct iovec v[SPLIT];
	struct mmsghdr m[SPLIT] = {0};
	unsigned n = 0;
	ssize_t total = 0;
	int r;

	for (; n < SPLIT && at < max; n++, at += v[n - 1].iov_len)
		v[n] = (struct iovec){buf + at, each < max - at ? each : max - at};
	if (io->mode == IO_IOV)
		return io_result(readv(io->fd, v, (int)n));
	for (unsigned i = 0; i < n; i++)
		m[i].msg_hdr = (struct msghdr){.msg_iov = &v[i], .msg_iovlen = 1};
	r = recvmmsg(io->fd, m, n, MSG_WAITFORONE, NULL);
	if (r < 0)
		return -errno;
	for (int i = 0; i < r; i++) {
		memmove(buf + total, v[i].iov_base, m[i].msg_len);
		total += m[i].msg_len;
	}
	return total;
}

static ssize_t recv_splice(struct io *io, void *buf, size_t max)
{
	size_t n = max < PIPE_BYTES ? max : PIPE_BYTES;
	ssize_t r = io_result(splice(io->fd, NULL, io->pipe[1], NULL, n, SPLICE_F_MOVE));

	for (ssize_t at = 0; at < r;) {
		ssize_t got = read(io->pipe[0], (uint8_t *)buf + at, (size_t)(r - at));

		if (got <= 0)
			return -EIO;
		at += got;
	}
	return r;
}

/* Another process reads, as servers do that fork for each connection. */
static ssize_t recv_forked(struct io *io, void *buf, size_t max)
{
	size_t n = max < 65536 ? max : 65536;
	struct {
		ssize_t result;
		uint8_t bytes[];
	} *shared = mmap(NULL, sizeof(*shared) + n, PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ssize_t r;
	pid_t pid;

	if (shared == MAP_FAILED)
		return -errno;
	pid = fork();
	if (!pid) {
		shared->result = io_result(recv(io->fd, shared->bytes, n, 0));
		_exit(0);
	}
	if (pid < 0 || waitpid(pid, NULL, 0) != pid) {
		munmap(shared, sizeof(*shared) + n);
		return -ECHILD;
	}
	r = shared->result;
	if (r > 0)
		memcpy(buf, shared->bytes, (size_t)r);
	munmap(shared, sizeof(*shared) + n);
	return r;
}

static ssize_t recv_once(struct io *io, void *buf, size_t max, size_t want)
{
	switch (io->mode) {
	case IO_URING:
		return uring_recv(io->ring, io->fd, buf, max, rng_percent(&io->rng, 30));
	case IO_SPLICE:
		return recv_splice(io, buf, max);
	case IO_PEEK:
		return recv_peek(io, buf, max);
	case IO_WAITALL: {
		ssize_t r = io_result(recv(io->fd, buf, want, MSG_WAITALL));

		/* At the deadline or in front of the end only. */
		if (r > 0 && (size_t)r < want && has_more(io))
			io->broken = "MSG_WAITALL returned early";
		return r;
	}
	case IO_FIONREAD:
		return recv_fionread(io, buf, max);
	case IO_MMSG:
	case IO_IOV:
		return recv_split(io, buf, max);
	case IO_DUP:
		io_change_hands(io);
		return rng_percent(&io->rng, 10) ? recv_forked(io, buf, max)
						 : recv_plain(io, buf, max);
	case IO_INFO:
		io_look_around(io);
		return recv_plain(io, buf, max);
	case IO_TINY:
		return recv_plain(
			io, buf, max < 32 || io->n_in > 200000 ? max : 1 + rng_below(&io->rng, 32));
	default:
		return recv_plain(io, buf, max);
	}
}

ssize_t io_recv(struct io *io, void *buf, size_t max, size_t want)
{
	ssize_t r;

	if (io->pending)
		return -io->pending;
	if (want > max)
		want = max;
	if (!want)
		want = 1;
	do {
		if (io->mode == IO_LOWAT)
			set_lowat(io, want);
		r = io_wait(io, false);
		if (r)
			return r;
		r = recv_once(io, buf, max, want);
		if (r == -EAGAIN && io_blocks(io->mode))
			return -ETIMEDOUT;
	} while (r == -EAGAIN || r == -EINTR);
	if (r > 0) {
		io->n_in += (size_t)r;
		live_progress(io->live);
	}
	return r;
}
