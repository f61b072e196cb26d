/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The measure of all proxies: bytes from socket to socket, nothing parsed, one thread, epoll. Each
 * connection is dialled on to the backend.
 * Usage: relay PORT BACKEND-IPV4 BACKEND-PORT
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BLOCK = 65536 };

struct side {
	int fd;
	bool eof;
	struct side *peer;
	struct side *dead; /* next to free at the end of the round */
	bool gone;
	size_t start, end; /* bytes that the peer has not taken: only then block is allocated */
	char *block;
};

static int epfd, listener;
static struct sockaddr_in backend;
static struct side *graveyard;
static char shared[BLOCK];

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static void bury(struct side *s)
{
	if (s->gone)
		return;
	s->gone = true;
	close(s->fd);
	s->dead = graveyard;
	graveyard = s;
}

static void cut(struct side *s)
{
	bury(s->peer);
	bury(s);
}

/* What is kept of s goes to its peer. Returns false unless all of it went. */
static bool drain(struct side *s)
{
	while (s->start < s->end) {
		ssize_t n = send(s->peer->fd, s->block + s->start, s->end - s->start, MSG_NOSIGNAL);

		if (n < 0 && errno == EAGAIN)
			return false;
		if (n < 0) {
			cut(s);
			return false;
		}
		s->start += (size_t)n;
	}
	free(s->block);
	s->block = NULL;
	s->start = s->end = 0;
	return true;
}

static void keep(struct side *s, const char *p, size_t n)
{
	s->block = malloc(n);
	if (!s->block)
		die("malloc");
	memcpy(s->block, p, n);
	s->end = n;
}

static void pump(struct side *s)
{
	while (!s->gone && !s->eof && drain(s)) {
		ssize_t n = recv(s->fd, shared, BLOCK, 0), sent = 0;

		if (n < 0 && errno == EAGAIN)
			return;
		if (n < 0) {
			cut(s);
			return;
		}
		if (n == 0) {
			s->eof = true;
			shutdown(s->peer->fd, SHUT_WR);
			if (s->peer->eof)
				cut(s);
			return;
		}
		sent = send(s->peer->fd, shared, (size_t)n, MSG_NOSIGNAL);
		if (sent < 0 && errno != EAGAIN && errno != ENOTCONN) {
			cut(s);
			return;
		}
		sent = sent < 0 ? 0 : sent;
		if (sent < n)
			keep(s, shared + sent, (size_t)(n - sent));
		else if (n < BLOCK)
			return; /* empty: the next edge tells */
	}
}

static struct side *add(int fd)
{
	struct epoll_event ev = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET};
	struct side *s = malloc(sizeof(*s));
	int one = 1;

	if (!s)
		die("malloc");
	*s = (struct side){.fd = fd};
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	ev.data.ptr = s;
	if (epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &ev))
		die("epoll_ctl");
	return s;
}

static void accept_all(void)
{
	for (;;) {
		int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC), up;
		struct side *s;

		if (fd < 0)
			return;
		up = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		if (up < 0 || (connect(up, (struct sockaddr *)&backend, sizeof(backend)) &&
			       errno != EINPROGRESS)) {
			close(fd);
			close(up);
			continue;
		}
		s = add(fd);
		s->peer = add(up);
		s->peer->peer = s;
	}
}

static void on_event(struct side *s, uint32_t events)
{
	if (!s->gone && events & EPOLLERR) {
		cut(s);
		return;
	}
	if (events & EPOLLOUT && s->peer && !s->peer->gone && s->peer->end && drain(s->peer))
		pump(s->peer);
	/* A short read left nothing behind, but a FIN may have come with the same edge. */
	if (!s->gone)
		pump(s);
	if (!s->gone && events & EPOLLRDHUP)
		pump(s);
}

int main(int argc, char **argv)
{
	struct sockaddr_in sin = {.sin_family = AF_INET};
	struct epoll_event ev = {.events = EPOLLIN}, events[256];
	int one = 1;

	if (argc != 4)
		return 2;
	backend = (struct sockaddr_in){.sin_family = AF_INET,
				       .sin_port = htons((uint16_t)strtoul(argv[3], NULL, 10))};
	if (inet_pton(AF_INET, argv[2], &backend.sin_addr) != 1)
		return 2;
	epfd = epoll_create1(EPOLL_CLOEXEC);
	listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	sin.sin_port = htons((uint16_t)strtoul(argv[1], NULL, 10));
	sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(listener, (struct sockaddr *)&sin, sizeof(sin)) || listen(listener, 4096))
		die("listen");
	if (epoll_ctl(epfd, EPOLL_CTL_ADD, listener, &ev))
		die("epoll_ctl");
	for (;;) {
		int n = epoll_wait(epfd, events, 256, -1);

		for (int i = 0; i < n; i++) {
			if (!events[i].data.ptr)
				accept_all();
			else
				on_event(events[i].data.ptr, events[i].events);
		}
		while (graveyard) {
			struct side *s = graveyard;

			graveyard = s->dead;
			free(s->block);
			free(s);
		}
	}
}
