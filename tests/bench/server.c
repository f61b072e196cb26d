/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The backend of the benchmarks: GET of a path that ends in a number answers with so many bytes, a
 * path that ends in "head" with the request head as it came. One thread; answers are built once and
 * kept. Usage: server PORT
 */
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

enum { HEAD_BYTES = 8192, MAX_ANSWERS = 16, MAX_BODY = 64 << 20 };

struct answer {
	size_t body, len;
	char *bytes;
};

struct conn {
	int fd;
	bool close_after;
	size_t used;	 /* of head */
	const char *out; /* NULL: no answer under way */
	size_t out_len, sent;
	char *own; /* answer that is nobody else's */
	char head[HEAD_BYTES + 1];
};

static struct answer answers[MAX_ANSWERS];
static int epfd;

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static const struct answer *answer_of(size_t body)
{
	struct answer *a = answers;
	int n;

	while (a->bytes && a->body != body)
		a++;
	if (a->bytes)
		return a;
	if (a == answers + MAX_ANSWERS - 1 || body > MAX_BODY)
		return &answers[0];
	a->bytes = malloc(body + 256);
	if (!a->bytes)
		die("malloc");
	n = snprintf(a->bytes, 256, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", body);
	memset(a->bytes + n, 'x', body);
	a->body = body;
	a->len = (size_t)n + body;
	return a;
}

static void close_conn(struct conn *c)
{
	close(c->fd);
	free(c->own);
	free(c);
}

static void begin_answer(struct conn *c, size_t head_len)
{
	const char *space = memchr(c->head, ' ', head_len);
	const char *end =
		space ? memchr(space + 1, ' ', (size_t)(c->head + head_len - space - 1)) : NULL;
	const struct answer *a;
	size_t body = 0;

	if (end && end - space > 4 && !memcmp(end - 4, "head", 4)) {
		c->own = malloc(head_len + 256);
		if (!c->own)
			die("malloc");
		c->out_len = (size_t)snprintf(
			c->own, 256, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", head_len);
		memcpy(c->own + c->out_len, c->head, head_len);
		c->out_len += head_len;
		c->out = c->own;
		return;
	}
	while (end && end > space && end[-1] >= '0' && end[-1] <= '9')
		end--;
	if (end)
		body = strtoul(end, NULL, 10);
	a = answer_of(body);
	c->out = a->bytes;
	c->out_len = a->len;
}

/* Returns false when the connection is gone. */
static bool send_answer(struct conn *c)
{
	while (c->sent < c->out_len) {
		ssize_t n = send(c->fd, c->out + c->sent, c->out_len - c->sent, MSG_NOSIGNAL);

		if (n < 0 && errno == EAGAIN)
			return true;
		if (n < 0) {
			close_conn(c);
			return false;
		}
		c->sent += (size_t)n;
	}
	c->out = NULL;
	c->sent = 0;
	free(c->own);
	c->own = NULL;
	if (c->close_after) {
		close_conn(c);
		return false;
	}
	return true;
}

/* Answers what is whole in the buffer. Returns false when the connection is gone. */
static bool serve(struct conn *c)
{
	while (!c->out) {
		const char *end = memmem(c->head, c->used, "\r\n\r\n", 4);
		size_t len;

		if (!end)
			return true;
		len = (size_t)(end + 4 - c->head);
		c->head[len - 1] = '\0';
		c->close_after = strcasestr(c->head, "\r\nconnection: close") != NULL;
		c->head[len - 1] = '\n';
		begin_answer(c, len);
		memmove(c->head, c->head + len, c->used - len);
		c->used -= len;
		if (!send_answer(c))
			return false;
	}
	return true;
}

static void on_event(struct conn *c, bool hangup)
{
	if (c->out && !send_answer(c))
		return;
	for (;;) {
		size_t room = HEAD_BYTES - c->used;
		ssize_t n;

		if (!serve(c) || c->out)
			return;
		n = room ? recv(c->fd, c->head + c->used, room, 0) : 0;
		if (n < 0 && errno == EAGAIN)
			return;
		if (n <= 0) {
			close_conn(c);
			return;
		}
		c->used += (size_t)n;
		/* A short read left nothing behind, but a FIN may have come with the same edge. */
		if (!serve(c) || c->out || ((size_t)n < room && !hangup))
			return;
	}
}

static void accept_all(int listener)
{
	for (;;) {
		int one = 1, fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		struct epoll_event ev = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET};
		struct conn *c;

		if (fd < 0)
			return;
		c = malloc(sizeof(*c));
		if (!c)
			die("malloc");
		*c = (struct conn){.fd = fd};
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		ev.data.ptr = c;
		if (epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &ev))
			die("epoll_ctl");
	}
}

int main(int argc, char **argv)
{
	struct sockaddr_in6 sin = {.sin6_family = AF_INET6};
	struct epoll_event ev = {.events = EPOLLIN}, events[256];
	int one = 1, listener;

	if (argc != 2)
		return 2;
	answer_of(0);
	epfd = epoll_create1(EPOLL_CLOEXEC);
	listener = socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	sin.sin6_port = htons((uint16_t)strtoul(argv[1], NULL, 10));
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(listener, (struct sockaddr *)&sin, sizeof(sin)) || listen(listener, 4096))
		die("listen");
	if (epoll_ctl(epfd, EPOLL_CTL_ADD, listener, &ev))
		die("epoll_ctl");
	for (;;) {
		int n = epoll_wait(epfd, events, 256, -1);

		for (int i = 0; i < n; i++) {
			if (!events[i].data.ptr)
				accept_all(listener);
			else if (events[i].events & EPOLLERR)
				close_conn(events[i].data.ptr);
			else
				on_event(events[i].data.ptr, events[i].events & EPOLLRDHUP);
		}
	}
}
