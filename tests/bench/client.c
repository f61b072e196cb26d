/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What wrk does not measure. One thread, HTTP/1.1, answers of status 200 with Content-Length only.
 *   client ping IP PORT PATH N           one connection, N requests one by one: "p50 p99" in
 * nanoseconds client connect IP PORT PATH C MS     C at a time, each connection for one request:
 * "done nanoseconds" client hold IP PORT PATH N           N connections that made one request each,
 * kept open: prints how many stand, ends with standard input
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
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { ANSWER_BYTES = 16384, MAX_CONCURRENCY = 1024 };

static struct sockaddr_in target;
static char request[1024];
static size_t request_len;

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

/* Whether the answer in buf is whole; ends the program on another status. */
static bool whole(char *buf, size_t len)
{
	const char *end, *length;

	buf[len] = '\0';
	end = strstr(buf, "\r\n\r\n");
	if (!end)
		return false;
	length = strcasestr(buf, "\r\ncontent-length:");
	if (strncmp(buf, "HTTP/1.1 200", 12) || !length || length > end) {
		fprintf(stderr, "unexpected answer: %.200s\n", buf);
		exit(1);
	}
	return len >= (size_t)(end + 4 - buf) + strtoul(length + 17, NULL, 10);
}

static int dial(int flags)
{
	int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);

	if (fd < 0)
		return -1;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (connect(fd, (struct sockaddr *)&target, sizeof(target)) && errno != EINPROGRESS) {
		close(fd);
		return -1;
	}
	return fd;
}

static bool exchange(int fd)
{
	char buf[ANSWER_BYTES + 1];
	size_t len = 0;

	if (send(fd, request, request_len, MSG_NOSIGNAL) != (ssize_t)request_len)
		return false;
	do {
		ssize_t n = recv(fd, buf + len, ANSWER_BYTES - len, 0);

		if (n <= 0)
			return false;
		len += (size_t)n;
	} while (!whole(buf, len));
	return true;
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static int ping(size_t n)
{
	size_t warm_up = n / 10;
	uint64_t *took = malloc((n + 1) * sizeof(*took));
	int fd = dial(0);

	if (fd < 0 || !took)
		die("connect");
	for (size_t i = 0; i < n + warm_up; i++) {
		uint64_t began = now_ns();

		if (!exchange(fd))
			die("exchange");
		if (i >= warm_up)
			took[i - warm_up] = now_ns() - began;
	}
	qsort(took, n, sizeof(*took), by_value);
	printf("%llu %llu\n", (unsigned long long)took[n / 2],
	       (unsigned long long)took[n * 99 / 100]);
	free(took);
	return 0;
}

struct shot {
	int fd;
	bool sent;
	size_t len;
	char buf[ANSWER_BYTES + 1];
};

static int epfd;

static void begin(struct shot *s)
{
	struct epoll_event ev = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = s};

	s->fd = dial(SOCK_NONBLOCK);
	if (s->fd < 0 || epoll_ctl(epfd, EPOLL_CTL_ADD, s->fd, &ev))
		die("connect");
	s->sent = false;
	s->len = 0;
}

/* Whether it is done. */
static bool advance(struct shot *s)
{
	if (!s->sent) {
		ssize_t n = send(s->fd, request, request_len, MSG_NOSIGNAL);

		if (n < 0 && errno == EAGAIN)
			return false;
		if (n != (ssize_t)request_len)
			die("send");
		s->sent = true;
	}
	for (;;) {
		ssize_t n = recv(s->fd, s->buf + s->len, ANSWER_BYTES - s->len, 0);

		if (n < 0 && errno == EAGAIN)
			return false;
		if (n < 0)
			die("recv");
		/* The server closes first: TIME_WAIT is not on our side, ports do not run out. */
		if (n == 0) {
			if (!whole(s->buf, s->len)) {
				fprintf(stderr, "closed early\n");
				exit(1);
			}
			close(s->fd);
			return true;
		}
		s->len += (size_t)n;
	}
}

static int connect_often(size_t concurrency, uint64_t ms)
{
	struct shot *shots = calloc(concurrency, sizeof(*shots));
	struct epoll_event events[64];
	uint64_t began = now_ns(), end = began + ms * 1000000, done = 0, at;

	epfd = epoll_create1(EPOLL_CLOEXEC);
	if (!shots || epfd < 0 || concurrency > MAX_CONCURRENCY)
		die("begin");
	for (size_t i = 0; i < concurrency; i++)
		begin(&shots[i]);
	while ((at = now_ns()) < end) {
		int n = epoll_wait(epfd, events, 64, 1000);

		for (int i = 0; i < n; i++) {
			struct shot *s = events[i].data.ptr;

			if (advance(s)) {
				done++;
				begin(s);
			}
		}
	}
	printf("%llu %llu\n", (unsigned long long)done, (unsigned long long)(at - began));
	free(shots);
	return 0;
}

static int hold(size_t n)
{
	struct timeval patience = {.tv_sec = 5};
	size_t stand = 0;
	char c;

	while (stand < n) {
		int fd = dial(0);

		if (fd < 0)
			break;
		setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
		if (!exchange(fd)) {
			close(fd);
			break;
		}
		stand++;
	}
	printf("%zu\n", stand);
	fflush(stdout);
	while (read(0, &c, 1) > 0)
		;
	return 0;
}

int main(int argc, char **argv)
{
	struct rlimit files;
	bool closing;

	if (argc < 6)
		return 2;
	getrlimit(RLIMIT_NOFILE, &files);
	files.rlim_cur = files.rlim_max;
	setrlimit(RLIMIT_NOFILE, &files);
	closing = !strcmp(argv[1], "connect");
	target = (struct sockaddr_in){.sin_family = AF_INET,
				      .sin_port = htons((uint16_t)strtoul(argv[3], NULL, 10))};
	if (inet_pton(AF_INET, argv[2], &target.sin_addr) != 1)
		return 2;
	request_len =
		(size_t)snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: web\r\n%s\r\n",
				 argv[4], closing ? "Connection: close\r\n" : "");
	if (request_len >= sizeof(request))
		return 2;
	if (!strcmp(argv[1], "ping"))
		return ping(strtoul(argv[5], NULL, 10));
	if (!strcmp(argv[1], "hold"))
		return hold(strtoul(argv[5], NULL, 10));
	if (closing && argc == 7)
		return connect_often(strtoul(argv[5], NULL, 10), strtoul(argv[6], NULL, 10));
	return 2;
}
