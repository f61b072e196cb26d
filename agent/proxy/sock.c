/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/sock.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>
#include "proxy/proxy.h"
#include "proxy/splice.h"

static void set_int(int fd, int level, int option, uint32_t value)
{
	int v = (int)value;

	(void)setsockopt(fd, level, option, &v, sizeof(v)); /* as it was, then */
}

void sl_sock_prepare(int fd, const struct sl_proxy_room *room)
{
	set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1);
	if (room->unsent_bytes)
		set_int(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, room->unsent_bytes);
	/* FORCE: rmem_max is less by default. The window's scale is settled by the SYN. */
	if (room->receive_bytes)
		set_int(fd, SOL_SOCKET, SO_RCVBUFFORCE, room->receive_bytes);
}

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

/* From now on close(2) sends RST, not FIN. */
static void reset_on_close(int fd)
{
	struct linger now = {.l_onoff = 1};

	(void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now)); /* else a FIN */
}

void sl_sock_close(struct sl_sock *s, bool reset)
{
	int fd;

	if (!sl_sock_is_open(s))
		return;
	sl_splice_close(s);
	if (s->tls)
		sl_sock_tls_close(s, reset);
	fd = s->watch->fd;
	sl_watch_leave(s->watch);
	if (reset)
		reset_on_close(fd);
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
	if (s->tls) {
		s->tls_dry = false;
		if (s->tls_shut_due)
			sl_sock_tls_shutdown(s);
	}
}

static void fail(struct sl_sock *s, int err)
{
	s->error = err;
	s->can_read = false;
	s->shut = s->broken = true;
}

/* Fewer bytes than asked for: empty, until the next edge; but a FIN behind them came with the same
 * edge. */
static bool is_drained(const struct sl_sock *s)
{
	return !s->hangup && !(s->splice && sl_splice_may_hold_more(s));
}

void sl_sock_break(struct sl_sock *s)
{
	reset_on_close(s->watch->fd);
	fail(s, ECONNRESET);
	s->watch->fn(s->watch, 0);
}

ssize_t sl_sock_read(struct sl_sock *s, size_t limit)
{
	size_t total = 0, room;

	if (s->tls)
		return sl_sock_tls_read(s, limit);
	while (s->can_read && !s->eof && !s->connecting && sl_buf_len(&s->in) < limit) {
		ssize_t n;
		int r = sl_buf_reserve(&s->in, s->bulk ? SL_SOCK_HIGH_BYTES : SL_SOCK_READ_BYTES);

		if (r)
			return r;
		room = sl_buf_room(&s->in);
		n = recv(s->watch->fd, sl_buf_tail(&s->in), room, 0);
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
		s->bulk = (size_t)n == room || (s->bulk && n >= SL_SOCK_READ_BYTES);
		sl_buf_commit(&s->in, (size_t)n);
		total += (size_t)n;
		s->n_received += (size_t)n;
		if (s->splice)
			sl_splice_received(s);
		if ((size_t)n < room && is_drained(s))
			s->can_read = false;
	}
	if (!total)
		sl_buf_release(&s->in);
	return (ssize_t)total;
}

size_t sl_sock_send(struct sl_sock *s, bool last)
{
	size_t total = 0;

	if (s->tls)
		return sl_sock_tls_send(s);
	while (s->can_write && !s->broken && !s->connecting && sl_buf_len(&s->out)) {
		size_t clear = sl_buf_len(&s->out);
		ssize_t n;

		if (s->splice)
			clear = sl_splice_clear(s, clear);
		if (!clear)
			return total;
		n = send(s->watch->fd, sl_buf_ptr(&s->out), clear,
			 MSG_NOSIGNAL | (last ? MSG_MORE : 0));
		if (n < 0) {
			if (errno == EINTR)
				continue;
			if (s->splice && sl_splice_is_busy(s, errno))
				return total;
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
		s->n_sent += (size_t)n;
		if (s->splice)
			sl_splice_sent(s);
	}
	if (s->splice && !sl_buf_len(&s->out))
		sl_splice_rest(s);
	sl_buf_release(&s->out);
	return total;
}

void sl_sock_shutdown(struct sl_sock *s)
{
	if (s->shut || s->connecting || sl_buf_len(&s->out))
		return;
	s->shut = true;
	if (s->tls) {
		sl_sock_tls_shutdown(s);
		return;
	}
	(void)shutdown(s->watch->fd, SHUT_WR); /* ENOTCONN: it is gone already, reading will tell */
}

int sl_sock_connected(struct sl_sock *s)
{
	socklen_t len = sizeof(int);
	int err = 0;

	if (!s->connecting)
		return 0;
	if (s->tls && !s->tls_waits)
		return sl_sock_tls_handshake(s);
	if (!s->can_write && !s->hangup)
		return -EINPROGRESS;
	if (getsockopt(s->watch->fd, SOL_SOCKET, SO_ERROR, &err, &len) < 0)
		err = errno;
	if (err)
		return -err;
	if (s->tls)
		return sl_sock_tls_handshake(s);
	s->connecting = false;
	return 0;
}
