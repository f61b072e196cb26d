/* SPDX-License-Identifier: Apache-2.0 */
#include "facts.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include "bed.h"

uint64_t cookie_of(int fd)
{
	uint64_t cookie = 0;
	socklen_t len = sizeof(cookie);

	expect(!getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &len), "no socket cookie");
	return cookie;
}

static void connect_to(struct pair *p, int listener)
{
	struct sockaddr_in at;
	socklen_t len = sizeof(at);

	expect(p->app >= 0 && !getsockname(listener, (struct sockaddr *)&at, &len) &&
		       !connect(p->app, (struct sockaddr *)&at, len),
	       "connect: %s", strerror(errno));
	p->own = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	expect(p->own >= 0 && !fcntl(p->app, F_SETFL, O_NONBLOCK), "accept: %s", strerror(errno));
	close(listener);
	p->app_key = cookie_of(p->app);
	p->own_key = cookie_of(p->own);
}

static int listen_on(const char *ip)
{
	struct sockaddr_in at = {.sin_family = AF_INET};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	inet_pton(AF_INET, ip, &at.sin_addr);
	expect(fd >= 0 && !bind(fd, (struct sockaddr *)&at, sizeof(at)) && !listen(fd, 8),
	       "listen on %s: %s", ip, strerror(errno));
	return fd;
}

void pair_new(struct pair *p)
{
	p->app = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	connect_to(p, listen_on("127.0.0.1"));
}

void pair_new_veth(struct pair *p)
{
	int here = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC), there, listener;

	there = p->there = bed_netns_new();
	bed_enter(here);
	bed_veth("eth0", "eth0", there);
	bed_address("eth0", "10.60.0.1", 24);
	bed_enter(there);
	bed_address("eth0", "10.60.0.2", 24);
	bed_up("eth0");
	listener = listen_on("10.60.0.2");
	bed_enter(here);
	bed_up("eth0");
	p->app = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	connect_to(p, listener);
	close(here);
}

void pair_close(struct pair *p)
{
	sock_close(&p->app);
	sock_close(&p->own);
}

void end_mode(int fd, uint64_t key, uint64_t peer, enum facts_mode mode)
{
	struct facts_end e = {.self = key, .peer = peer, .mode = mode};

	expect(!bpf_map_update_elem(ends_fd, &fd, &e, BPF_ANY), "storage: %s", strerror(errno));
}

int end_put(int fd, uint64_t key)
{
	uint64_t value = fd;

	return bpf_map_update_elem(socks_fd, &key, &value, BPF_ANY) ? -errno : 0;
}

int end_drop(uint64_t key)
{
	return bpf_map_delete_elem(socks_fd, &key) ? -errno : 0;
}

void pair_put(struct pair *p, enum facts_mode app, enum facts_mode own)
{
	int r;

	end_mode(p->app, p->app_key, p->own_key, app);
	end_mode(p->own, p->own_key, p->app_key, own);
	r = end_put(p->own, p->own_key);
	if (!r)
		r = end_put(p->app, p->app_key);
	expect(!r, "into the map: %s", strerror(-r));
}

void pair_spliced(struct pair *p)
{
	pair_new(p);
	pair_put(p, FACTS_REDIRECT, FACTS_REDIRECT);
}

void say(int fd, const char *text)
{
	ssize_t n = send(fd, text, strlen(text), MSG_NOSIGNAL);

	expect(n == (ssize_t)strlen(text), "send of \"%s\": %zd %s", text, n, strerror(errno));
}

void hear(int fd, const char *text)
{
	char buf[256];
	ssize_t n = recv(fd, buf, sizeof(buf), MSG_DONTWAIT);

	expect(n == (ssize_t)strlen(text) && !memcmp(buf, text, n),
	       "recv: %.*s (%zd %s) and not \"%s\"", n > 0 ? (int)n : 0, buf, n,
	       n < 0 ? strerror(errno) : "", text);
}

void hear_all(int fd, const char *text, int ms)
{
	char buf[256];
	size_t have = 0, want = strlen(text);

	while (have < want && readable(fd, ms)) {
		ssize_t n = recv(fd, buf + have, sizeof(buf) - have, MSG_DONTWAIT);

		expect(n > 0 || (n < 0 && errno == EAGAIN), "recv: %zd %s", n, strerror(errno));
		have += n > 0 ? n : 0;
	}
	expect(have == want && !memcmp(buf, text, want), "received \"%.*s\" and not \"%s\"",
	       (int)have, buf, text);
}

void hear_error(int fd, int error)
{
	char buf[16];
	ssize_t n = recv(fd, buf, sizeof(buf), MSG_DONTWAIT);

	if (error)
		expect(n < 0 && errno == error, "recv: %zd %s and not %s", n,
		       n < 0 ? strerror(errno) : "", strerror(error));
	else
		expect(n == 0, "recv: %zd %s and not the end", n, n < 0 ? strerror(errno) : "");
}

static void pattern(char *buf, size_t at, size_t n)
{
	for (size_t i = 0; i < n; i++)
		buf[i] = (at + i) * 2654435761U >> 13;
}

void say_bytes(int fd, size_t at, size_t n)
{
	char buf[16384];

	while (n) {
		size_t part = n < sizeof(buf) ? n : sizeof(buf);
		ssize_t sent;

		pattern(buf, at, part);
		sent = send(fd, buf, part, MSG_NOSIGNAL);
		expect(sent > 0, "send at %zu: %s", at, strerror(errno));
		at += sent;
		n -= sent;
	}
}

void hear_bytes(int fd, size_t at, size_t n, int ms)
{
	char buf[16384], want[16384];

	while (n && readable(fd, ms)) {
		ssize_t got = recv(fd, buf, n < sizeof(buf) ? n : sizeof(buf), MSG_DONTWAIT);

		if (got < 0 && errno == EAGAIN)
			continue;
		expect(got > 0, "recv at %zu: %zd %s", at, got, strerror(errno));
		pattern(want, at, got);
		expect(!memcmp(buf, want, got), "other bytes after %zu", at);
		at += got;
		n -= got;
	}
	expect(!n, "nothing more after %zu", at);
}

short events_of(int fd, int ms)
{
	struct pollfd p = {.fd = fd, .events = POLLIN | POLLOUT | POLLRDHUP | POLLPRI};

	return poll(&p, 1, ms) > 0 ? p.revents : 0;
}

bool readable(int fd, int ms)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	return poll(&p, 1, ms) == 1;
}

void set_blocking(int fd)
{
	expect(!fcntl(fd, F_SETFL, 0), "F_SETFL");
}

bool until(bool (*ready)(void *), void *arg)
{
	const struct timespec pause = {.tv_nsec = 1000000};

	for (int i = 0; i < 5000; i++) {
		if (ready(arg))
			return true;
		nanosleep(&pause, NULL);
	}
	return false;
}

static void *read_it(void *arg)
{
	struct reader *r = arg;

	__atomic_store_n(&r->tid, (pid_t)syscall(SYS_gettid), __ATOMIC_RELEASE);
	r->got = recv(r->fd, r->buf, r->len, r->flags);
	r->error = r->got < 0 ? errno : 0;
	__atomic_store_n(&r->done, true, __ATOMIC_RELEASE);
	return NULL;
}

int thread_sleeps_in(pid_t tid)
{
	char path[64];
	FILE *f;
	int call = -1;

	snprintf(path, sizeof(path), "/proc/self/task/%d/syscall", (int)tid);
	f = fopen(path, "re");
	if (!f)
		return -1;
	if (fscanf(f, "%d", &call) != 1) /* "running" */
		call = -1;
	fclose(f);
	return call;
}

static bool sleeps(void *arg)
{
	struct reader *r = arg;
	pid_t tid = __atomic_load_n(&r->tid, __ATOMIC_ACQUIRE);

	return __atomic_load_n(&r->done, __ATOMIC_ACQUIRE) ||
	       (tid && thread_sleeps_in(tid) == SYS_recvfrom);
}

void reader_start(struct reader *r, int fd, size_t len, int flags)
{
	pthread_t thread;

	*r = (struct reader){.fd = fd, .len = len, .flags = flags};
	expect(!pthread_create(&thread, NULL, read_it, r), "no thread");
	r->thread = thread;
	expect(until(sleeps, r), "the reader does not sleep");
}

static bool has_ended(void *arg)
{
	return __atomic_load_n(&((struct reader *)arg)->done, __ATOMIC_ACQUIRE);
}

bool reader_ended(struct reader *r, int ms)
{
	const struct timespec pause = {.tv_nsec = 1000000};

	for (int i = 0; i < ms && !has_ended(r); i++)
		nanosleep(&pause, NULL);
	return has_ended(r);
}

void netns_fresh(void)
{
	(void)bed_netns_new();
}
