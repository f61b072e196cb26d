/* SPDX-License-Identifier: Apache-2.0 */
/* The ways in which programs use a socket. All look alike to the caller. */
#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>
#include "io_impl.h"

unsigned deadline_ms = 20000;

const char *const io_mode_names[IO_N_MODES] = {
#define X(name, text) [IO_##name] = text,
	IO_MODES(X)
#undef X
};

enum io_mode io_mode_from(const char *name)
{
	for (unsigned i = 0; i < IO_N_MODES; i++) {
		if (!strcmp(io_mode_names[i], name))
			return (enum io_mode)i;
	}
	return IO_N_MODES;
}

bool io_blocks(enum io_mode m)
{
	return m == IO_BLOCK || m == IO_URING || m == IO_WAITALL || m == IO_ZEROCOPY;
}

static bool by_epoll(enum io_mode m)
{
	return m == IO_EPOLL || m == IO_EPOLLET || m == IO_ETSHORT || m == IO_SENDFILE ||
	       m == IO_INFO || m == IO_TINY;
}

static bool by_edges(const struct io *io)
{
	return io->mode == IO_EPOLLET || io->mode == IO_ETSHORT;
}

static void set_int(int fd, int level, int option, int value)
{
	(void)setsockopt(fd, level, option, &value, sizeof(value));
}

static int watch(struct io *io)
{
	struct epoll_event ev = {.events = EPOLLIN};

	if (by_edges(io))
		ev.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
	if (io->epfd >= 0)
		close(io->epfd);
	io->epfd = epoll_create1(EPOLL_CLOEXEC);
	io->can_read = io->can_write = by_edges(io);
	io->hangup = false;
	if (io->epfd < 0 || epoll_ctl(io->epfd, EPOLL_CTL_ADD, io->fd, &ev))
		return -errno;
	return 0;
}

int io_change(struct io *io, enum io_mode mode)
{
	struct timeval patience = {.tv_sec = deadline_ms / 1000};
	int flags = fcntl(io->fd, F_GETFL);

	io->mode = mode;
	flags = io_blocks(mode) ? flags & ~O_NONBLOCK : flags | O_NONBLOCK;
	if (fcntl(io->fd, F_SETFL, flags))
		return -errno;
	if (io_blocks(mode)) {
		(void)setsockopt(io->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
		(void)setsockopt(io->fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	}
	set_int(io->fd, SOL_SOCKET, SO_RCVLOWAT, 1);
	if (mode == IO_ZEROCOPY)
		set_int(io->fd, SOL_SOCKET, SO_ZEROCOPY, 1);
	if (mode == IO_URING && !io->ring)
		io->ring = uring_open();
	if (mode == IO_URING && !io->ring)
		return -ENOSYS;
	if ((mode == IO_SPLICE || mode == IO_SENDFILE) && io->pipe[0] < 0 &&
	    pipe2(io->pipe, O_CLOEXEC))
		return -errno;
	return by_epoll(mode) || by_edges(io) ? watch(io) : 0;
}

int io_open(struct io *io, int fd, enum io_mode mode, struct rng *rng, struct live *live)
{
	*io = (struct io){.fd = fd, .epfd = -1, .pipe = {-1, -1}, .live = live};
	io->rng = rng_from(rng_next(rng), 1, 1);
	if (rng_percent(rng, 50))
		set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1);
	if (rng_percent(rng, 15))
		set_int(fd, SOL_SOCKET, SO_RCVBUF, 65536 << rng_below(rng, 4));
	if (rng_percent(rng, 15))
		set_int(fd, SOL_SOCKET, SO_SNDBUF, 2048 << rng_below(rng, 6));
	if (rng_percent(rng, 10))
		set_int(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
	return io_change(io, mode);
}

int io_twin(const struct io *io, struct io *ret)
{
	int fd = fcntl(io->fd, F_DUPFD_CLOEXEC, 0);
	struct rng rng = io->rng;

	if (fd < 0)
		return -errno;
	*ret = (struct io){.fd = fd, .epfd = -1, .pipe = {-1, -1}, .live = io->live};
	ret->rng = rng_from(rng_next(&rng), 2, 2);
	return io_change(ret, io->mode);
}

/* ---- waiting ---- */

static int wait_poll(struct io *io, bool out)
{
	struct pollfd p = {.fd = io->fd, .events = out ? POLLOUT : POLLIN};
	int n = poll(&p, 1, (int)deadline_ms);

	return n < 0 ? -errno : n == 0 ? -ETIMEDOUT : 0;
}

static int wait_epoll(struct io *io, bool out)
{
	struct epoll_event ev = {.events = out ? EPOLLOUT : EPOLLIN};
	int n;

	if (!by_edges(io)) {
		(void)epoll_ctl(io->epfd, EPOLL_CTL_MOD, io->fd, &ev);
		n = epoll_wait(io->epfd, &ev, 1, (int)deadline_ms);
		return n < 0 ? -errno : n == 0 ? -ETIMEDOUT : 0;
	}
	while (!(out ? io->can_write : io->can_read)) {
		n = epoll_wait(io->epfd, &ev, 1, (int)deadline_ms);
		if (n <= 0)
			return n ? -errno : -ETIMEDOUT;
		io->can_read |= ev.events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR);
		io->can_write |= ev.events & (EPOLLOUT | EPOLLHUP | EPOLLERR);
		io->hangup |= ev.events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR);
	}
	return 0;
}

int io_wait(struct io *io, bool out)
{
	int r;

	if (io_blocks(io->mode))
		return 0;
	do
		r = by_epoll(io->mode) ? wait_epoll(io, out) : wait_poll(io, out);
	while (r == -EINTR);
	return r;
}

static int pass_on(int fd)
{
	union {
		struct cmsghdr h;
		char space[CMSG_SPACE(sizeof(int))];
	} control = {0};
	char byte = 0;
	struct iovec v = {&byte, 1};
	struct msghdr m = {.msg_iov = &v,
			   .msg_iovlen = 1,
			   .msg_control = &control,
			   .msg_controllen = sizeof(control)};
	int pair[2], got = -1;

	control.h = (struct cmsghdr){.cmsg_level = SOL_SOCKET,
				     .cmsg_type = SCM_RIGHTS,
				     .cmsg_len = CMSG_LEN(sizeof(int))};
	memcpy(CMSG_DATA(&control.h), &fd, sizeof(fd));
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
		return -1;
	if (sendmsg(pair[0], &m, 0) == 1) {
		close(fd);
		if (recvmsg(pair[1], &m, MSG_CMSG_CLOEXEC) == 1)
			memcpy(&got, CMSG_DATA(&control.h), sizeof(got));
	}
	close(pair[0]);
	close(pair[1]);
	return got;
}

void io_change_hands(struct io *io)
{
	int fd;

	if (rng_percent(&io->rng, 70))
		return;
	if (rng_percent(&io->rng, 50)) {
		fd = pass_on(io->fd);
	} else {
		fd = fcntl(io->fd, F_DUPFD_CLOEXEC, 0);
		close(io->fd);
	}
	io->fd = fd;
}

void io_look_around(struct io *io)
{
	struct tcp_info info;
	socklen_t len = sizeof(info);
	int queued;

	if (getsockopt(io->fd, IPPROTO_TCP, TCP_INFO, &info, &len))
		io->broken = "no TCP_INFO";
	if (ioctl(io->fd, SIOCOUTQ, &queued) || ioctl(io->fd, SIOCOUTQNSD, &queued) ||
	    ioctl(io->fd, SIOCINQ, &queued) || queued < 0)
		io->broken = "no SIOCINQ or SIOCOUTQ";
}

void io_shutdown(struct io *io)
{
	(void)shutdown(io->fd, SHUT_WR);
}

void io_close(struct io *io, bool reset)
{
	struct linger now = {.l_onoff = 1};

	if (reset)
		(void)setsockopt(io->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	close(io->fd);
	if (io->epfd >= 0)
		close(io->epfd);
	if (io->pipe[0] >= 0) {
		close(io->pipe[0]);
		close(io->pipe[1]);
	}
	uring_close(io->ring);
	*io = (struct io){.fd = -1, .epfd = -1, .pipe = {-1, -1}};
}

void io_disconnect(struct io *io)
{
	struct sockaddr nobody = {.sa_family = AF_UNSPEC};
	uint64_t until = now_ms() + deadline_ms;

	/* EBUSY: another thread waits in the kernel for this socket. */
	while (connect(io->fd, &nobody, sizeof(nobody)) && errno == EBUSY && now_ms() < until)
		usleep(1000);
	io_close(io, true);
}
