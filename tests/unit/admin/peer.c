/* SPDX-License-Identifier: Apache-2.0 */
#include "peer.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include "base/clock.h"

static void start(struct peer *p, const struct sockaddr *sa, socklen_t len)
{
	*p = (struct peer){
		.fd = socket(sa->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)};
	cr_assert_geq(p->fd, 0);
	cr_assert(connect(p->fd, sa, len) == 0 || errno == EINPROGRESS, "connect: %d", errno);
}

void peer_connect_unix(struct peer *p, const char *path)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};

	cr_assert_lt(strlen(path), sizeof(sun.sun_path));
	memcpy(sun.sun_path, path, strlen(path));
	start(p, (struct sockaddr *)&sun, sizeof(sun));
}

void peer_connect_tcp(struct peer *p, const struct sl_addr *addr)
{
	struct sockaddr_storage ss;
	socklen_t len = sl_addr_to_sockaddr(addr, &ss);

	start(p, (struct sockaddr *)&ss, len);
}

void peer_send(struct peer *p, const char *text, size_t n)
{
	while (n) {
		ssize_t r = send(p->fd, text, n, MSG_NOSIGNAL);

		if (r < 0 && errno == EAGAIN)
			return; /* as much as fits: the server has stopped to read */
		cr_assert_geq(r, 0, "send: %d", errno);
		text += r;
		n -= (size_t)r;
	}
}

void peer_step(struct peer *p, struct sl_loop *loop)
{
	ssize_t n;

	cr_assert_eq(sl_loop_round(loop, 20 * SL_NS_PER_MS), 0);
	do {
		cr_assert_eq(sl_buf_reserve(&p->got, 65536), 0);
		n = recv(p->fd, sl_buf_tail(&p->got), sl_buf_room(&p->got) - 1, 0);
		if (n > 0)
			sl_buf_commit(&p->got, (size_t)n);
	} while (n > 0);
	*sl_buf_tail(&p->got) = '\0';
	p->closed = n == 0 || (n < 0 && errno != EAGAIN);
	p->error = n < 0 && errno != EAGAIN ? errno : 0;
}

void peer_finish(struct peer *p, struct sl_loop *loop)
{
	while (!p->closed)
		peer_step(p, loop);
}

void peer_close(struct peer *p)
{
	close(p->fd);
	sl_buf_deinit(&p->got);
}
