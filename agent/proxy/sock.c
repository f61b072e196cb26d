/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/sock.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

int sl_sock_init(struct sl_sock *s, struct sl_loop *loop, struct sl_blocks *blocks,
		 struct sl_watch *watch, int fd, sl_watch_fn fn)
{
	int r = sl_watch_add(loop, watch, fd, SL_SOCK_EVENTS, fn);

	if (r)
		return r;
	*s = (struct sl_sock){.watch = watch,
			      .in.blocks = blocks,
			      .out.blocks = blocks,
			      .can_read = true,
			      .can_write = true};
	return 0;
}

void sl_sock_close(struct sl_sock *s, bool reset)
{
	int fd;

	if (!sl_sock_is_open(s))
		return;
	fd = s->watch->fd;
	sl_watch_leave(s->watch);
	if (reset) {
		struct linger now = {.l_onoff = 1};

		(void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now)); /* else a FIN */
	}
	(void)close(fd); /* the descriptor is gone whatever it returns */
	s->watch->fd = -1;
	sl_buf_deinit(&s->in);
	sl_buf_deinit(&s->out);
}

void sl_sock_event(struct sl_sock *s, uint32_t events)
{
	if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		s->can_read = true;
	if (events & (EPOLLOUT | EPOLLHUP | EPOLLERR))
		s->can_write = true;
	if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		s->hangup = true;
	if (events & EPOLLHUP && !s->shut)
		s->gone = true;
}

static void fail(struct sl_sock *s, int err)
{
	s->error = err;
	s->can_read = false;
	s->shut = s->broken = true;
}

ssize_t sl_sock_read(struct sl_sock *s, size_t limit)
{
	size_t total = 0;

	while (s->can_read && !s->eof && !s->connecting && sl_buf_len(&s->in) < limit) {
		ssize_t n;
		int r = sl_buf_reserve(&s->in, s->bulk ? SL_SOCK_HIGH_BYTES : SL_SOCK_READ_BYTES);

		if (r)
			return r;
		n = recv(s->watch->fd, sl_buf_tail(&s->in), sl_buf_room(&s->in), 0);
		if (n < 0) {
			if (errno == EINTR)
				continue;
			s->can_read = false;
			if (errno != EAGAIN)
				fail(s, errno);
			break;
		}
		if (n == 0 && s->reset) {
			fail(s, ECONNRESET);
			break;
		}
		if (n == 0) {
			s->eof = true;
			s->can_read = false;
			break;
		}
		/* Fewer bytes than asked for: empty, until the next edge; but a FIN behind them
		 * came with the same edge. */
		if ((size_t)n < sl_buf_room(&s->in) && !s->hangup)
			s->can_read = false;
		s->bulk = (size_t)n == sl_buf_room(&s->in) || (s->bulk && n >= SL_SOCK_READ_BYTES);
		sl_buf_commit(&s->in, (size_t)n);
		total += (size_t)n;
	}
	s->n_received += total;
	if (!total)
		sl_buf_release(&s->in);
	return (ssize_t)total;
}

size_t sl_sock_send(struct sl_sock *s, bool last)
{
	size_t total = 0;

	while (s->can_write && !s->broken && !s->connecting && sl_buf_len(&s->out)) {
		ssize_t n = send(s->watch->fd, sl_buf_ptr(&s->out), sl_buf_len(&s->out),
				 MSG_NOSIGNAL | (last ? MSG_MORE : 0));

		if (n < 0) {
			if (errno == EINTR)
				continue;
			s->can_write = false;
			if (errno != EAGAIN) {
				/* What the peer sent before may still be read: a server that
				 * answers early and closes. Only the sending side ends here. */
				s->shut = s->broken = true;
				/* The kernel tells it once: recv(2) will call it the end. */
				if (errno == ECONNRESET)
					s->reset = true;
				else if (errno != EPIPE)
					s->error = errno;
				s->can_read = true;
				s->hangup = true;
			}
			break;
		}
		sl_buf_consume(&s->out, (size_t)n);
		total += (size_t)n;
	}
	s->n_sent += total;
	sl_buf_release(&s->out);
	return total;
}

void sl_sock_shutdown(struct sl_sock *s)
{
	if (s->shut || s->connecting || sl_buf_len(&s->out))
		return;
	s->shut = true;
	(void)shutdown(s->watch->fd, SHUT_WR); /* ENOTCONN: it is gone already, reading will tell */
}

int sl_sock_connected(struct sl_sock *s)
{
	socklen_t len = sizeof(int);
	int err = 0;

	if (!s->connecting)
		return 0;
	if (!s->can_write && !s->hangup)
		return -EINPROGRESS;
	if (getsockopt(s->watch->fd, SOL_SOCKET, SO_ERROR, &err, &len) < 0)
		err = errno;
	if (err)
		return -err;
	s->connecting = false;
	return 0;
}
