/* SPDX-License-Identifier: Apache-2.0 */
/* A socket that speaks TLS: what sock.c does with bytes, done with plain ones. */
#include <errno.h>
#include <sys/socket.h>
#include "proxy/sock.h"
#include "tls/conn.h"

/* ---- bytes of the peer ---- */

static ssize_t take(void *arg, void *to, size_t n)
{
	struct sl_sock *s = arg;
	ssize_t r;

	if (s->tls_dry)
		return -EAGAIN;
	do {
		r = recv(s->watch->fd, to, n, 0);
	} while (r < 0 && errno == EINTR);
	if (r < 0) {
		s->tls_dry = errno == EAGAIN;
		return -errno;
	}
	/* As in sl_sock_read(): empty until the next edge, unless the end came with this one. */
	if (r > 0 && (size_t)r < n && !s->hangup)
		s->tls_dry = true;
	return r;
}

static ssize_t give(void *arg, const void *from, size_t n)
{
	struct sl_sock *s = arg;
	ssize_t r;

	if (!s->can_write)
		return -EAGAIN;
	do {
		r = send(s->watch->fd, from, n, MSG_NOSIGNAL);
	} while (r < 0 && errno == EINTR);
	if (r < 0 && errno == EAGAIN)
		s->can_write = false;
	return r < 0 ? -errno : r;
}

int sl_sock_tls_begin(struct sl_sock *s, const struct sl_tls_conn_opts *opts)
{
	static const struct sl_tls_io io = {.recv = take, .send = give};
	struct sl_tls_conn_opts own = *opts;
	int r;

	own.io = &io;
	own.arg = s;
	r = sl_tls_conn_new(&own, &s->tls);
	if (r)
		return r;
	s->tls_waits = s->connecting;
	s->connecting = true;
	return 0;
}

int sl_sock_tls_handshake(struct sl_sock *s)
{
	int r;

	s->tls_waits = false;
	r = sl_tls_conn_handshake(s->tls);
	if (r == -EAGAIN)
		return -EINPROGRESS;
	if (r)
		return r;
	s->connecting = false;
	s->can_read = true; /* what came with the server's last word is OpenSSL's already */
	return 0;
}

/* Nothing more comes out of it. */
static void fail(struct sl_sock *s, int err)
{
	s->error = err;
	s->can_read = false;
	s->shut = s->broken = true;
}

ssize_t sl_sock_tls_read(struct sl_sock *s, size_t limit)
{
	size_t total = 0;

	while (s->can_read && !s->eof && !s->connecting && sl_buf_len(&s->in) < limit) {
		int r = sl_buf_reserve(&s->in, SL_SOCK_READ_BYTES);
		ssize_t n;

		if (r)
			return r;
		n = sl_tls_conn_read(s->tls, sl_buf_tail(&s->in), sl_buf_room(&s->in));
		if (n > 0) {
			sl_buf_commit(&s->in, (size_t)n);
			total += (size_t)n;
			continue;
		}
		s->can_read = false;
		if (n == 0)
			s->eof = true;
		else if (n != -EAGAIN)
			fail(s, (int)-n);
	}
	s->n_received += total;
	if (!total)
		sl_buf_release(&s->in);
	return (ssize_t)total;
}

size_t sl_sock_tls_send(struct sl_sock *s)
{
	size_t total = 0;

	while (s->can_write && !s->broken && !s->connecting && sl_buf_len(&s->out)) {
		ssize_t n = sl_tls_conn_write(s->tls, sl_buf_ptr(&s->out), sl_buf_len(&s->out));

		if (n > 0) {
			sl_buf_consume(&s->out, (size_t)n);
			total += (size_t)n;
			continue;
		}
		if (n == -EAGAIN)
			break;
		/* What the peer sent before may still be read, as in sl_sock_send(). */
		s->shut = s->broken = true;
		s->can_write = false;
		s->can_read = s->hangup = true;
		s->tls_dry = false;
		break;
	}
	s->n_sent += total;
	sl_buf_release(&s->out);
	return total;
}

void sl_sock_tls_shutdown(struct sl_sock *s)
{
	s->tls_shut_due = sl_tls_conn_shutdown(s->tls) == -EAGAIN;
	if (!s->tls_shut_due)
		(void)shutdown(s->watch->fd, SHUT_WR); /* ENOTCONN: it is gone already */
}

void sl_sock_tls_close(struct sl_sock *s, bool reset)
{
	/* A peer that does not hear it takes what it got for cut: which it is, with a reset. */
	if (!reset && !s->connecting && !s->shut)
		(void)sl_tls_conn_shutdown(s->tls); /* it goes at once, or not at all */
	s->tls = sl_tls_conn_free(s->tls);
}

const char *sl_sock_tls_error(const struct sl_sock *s)
{
	return s->tls ? sl_tls_conn_error(s->tls) : "";
}
