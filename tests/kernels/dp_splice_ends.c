/* SPDX-License-Identifier: Apache-2.0 */
/* Splicing: how an app leaves the map, and how connections end that are in it. */
#include "hop.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/clock.h"

static int pinned(const struct scene *s, const char *name)
{
	char path[400];

	snprintf(path, sizeof(path), "%s/%s", s->bed.pins, name);
	return bpf_obj_get(path);
}

static bool spliced(struct hop *h, struct scene *s, struct sl_hops *table)
{
	bool good = hop_client(h, s, table) && hop_take_in(h);

	check(good, "spliced");
	return good;
}

/* ---- out of the map ---- */

static void test_take_out(struct scene *s, struct sl_hops *table)
{
	struct hop h;
	int n = -1;

	test_begin("out, by a look");
	(void)spliced(&h, s, table);
	check(own_send(&h, "unread") && hop_ask(&h, SL_HOP_ASK_OUT) == SL_HOP_ASK_OUT &&
		      h.lease.hop->verdict == SL_HOP_NOT_EMPTY_VERDICT,
	      "not while bytes are unread");
	check(app_recv(&h, "unread") && app_send(&h, "left over"), "read");
	check(hop_ask(&h, SL_HOP_ASK_OUT) == SL_HOP_OUT, "now");
	check(own_send(&h, "by TCP") && app_recv(&h, "by TCP") && h.lease.hop->own_redirected == 6,
	      "to the app by TCP");
	check(app_send(&h, " and more") && own_recv(&h, "left over and more"),
	      "redirected bytes of before are read first");
	check(sl_hops_shut(&h.lease), "own may leave too");
	sl_hops_release(table, &h.lease, h.own, true);
	h.leased = false;
	check(own_send(&h, "x") && app_recv(&h, "x") && app_send(&h, "y") && own_recv(&h, "y"),
	      "TCP as if nothing had been");
	hop_close(&h);

	test_begin("out, by proof");
	(void)spliced(&h, s, table);
	check(own_send(&h, "answer") && app_send(&h, "1") &&
		      h.lease.hop->app_seen == h.done - strlen("answer"),
	      "no proof: the app has not read it");
	check(app_recv(&h, "answer") && app_send(&h, "2") && h.lease.hop->app_seen == h.done,
	      "proof: the app sends, and had read everything");
	check(!sl_hops_take_out(table, &h.lease) && h.lease.hop->state == SL_HOP_OUT, "out");
	check(own_recv(&h, "12") && own_send(&h, "by TCP") && ioctl(h.app, FIONREAD, &n) == 0,
	      "on");
	check(recv_next(h.app, (char[8]){0}, 8) == 6, "over TCP");
	hop_close(&h);
}

struct traffic {
	struct hop *h;
	size_t sent;
	bool stop;
};

static void *send_on(void *arg)
{
	struct traffic *t = arg;

	while (!__atomic_load_n(&t->stop, __ATOMIC_RELAXED)) {
		unsigned char c = t->sent;
		struct pollfd p = {.fd = t->h->app, .events = POLLOUT};

		if (send(t->h->app, &c, 1, MSG_NOSIGNAL) == 1)
			t->sent++;
		else
			(void)poll(&p, 1, 10);
	}
	return NULL;
}

/* The app sends all the time, while it is taken out: in order, nothing lost, nothing twice. */
static void test_take_out_in_traffic(struct scene *s, struct sl_hops *table)
{
	size_t heard = 0, bad = 0, total = 0;
	unsigned char got[4096];

	test_begin("out, while the app sends");
	for (int round = 0; round < 20; round++) {
		struct traffic t = {0};
		pthread_t sender;
		struct hop h;
		bool done = false;

		if (!hop_client(&h, s, table) || !hop_take_in(&h))
			check(false, "spliced");
		t.h = &h;
		heard = 0;
		if (pthread_create(&sender, NULL, send_on, &t))
			check(false, "a sender");
		while (!done || heard < __atomic_load_n(&t.sent, __ATOMIC_ACQUIRE)) {
			ssize_t n = recv_next(h.own, got, sizeof(got));

			if (n == -EAGAIN)
				continue;
			if (n <= 0)
				break;
			for (ssize_t i = 0; i < n; i++)
				bad += got[i] != (unsigned char)(heard + i);
			heard += n;
			__atomic_store_n(&h.lease.hop->taken, h.taken + heard, __ATOMIC_RELEASE);
			if (done || heard < 500)
				continue;
			done = true;
			if (round % 2)
				bad += hop_ask(&h, SL_HOP_ASK_OUT) != SL_HOP_OUT;
			else
				bad += sl_hops_take_out(table, &h.lease) != 0;
			bad += !own_send(&h, "tcp") || !app_recv(&h, "tcp");
			__atomic_store_n(&t.stop, true, __ATOMIC_RELAXED);
			(void)pthread_join(sender, NULL);
		}
		bad += heard != t.sent;
		total += heard;
		hop_close(&h);
	}
	check(!bad, "%zu bytes in 20 rounds, in order", total);
}

/* ---- the end of connections ---- */

static void test_half_close(struct scene *s, struct sl_hops *table)
{
	char got[64];
	struct hop h;

	test_begin("half-close behind redirected bytes");
	(void)spliced(&h, s, table);
	check(app_send(&h, "last") && !shutdown(h.app, SHUT_WR), "the app's");
	check(send(h.app, "x", 1, MSG_NOSIGNAL) < 0 && errno == EPIPE, "then it cannot send");
	check(recv_next(h.own, got, sizeof(got)) == 4 && recv_next(h.own, got, sizeof(got)) == 0,
	      "bytes, then the end");
	check(own_send(&h, "answer") && app_recv(&h, "answer") && !shutdown(h.own, SHUT_WR) &&
		      recv_next(h.app, got, sizeof(got)) == 0,
	      "the other direction goes on, then ends");
	hop_close(&h);
	(void)spliced(&h, s, table);
	check(own_send(&h, "answer") && !shutdown(h.own, SHUT_WR) && app_send(&h, "more") &&
		      recv_next(h.app, got, sizeof(got)) == 6 &&
		      recv_next(h.app, got, sizeof(got)) == 0 && own_recv(&h, "more"),
	      "own's");
	hop_close(&h);
}

static void close_own(struct hop *h, bool reset)
{
	struct linger linger = {.l_onoff = reset};

	setsockopt(h->own, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
	(void)sl_hops_shut(&h->lease);
	sl_hops_release(h->table, &h->lease, h->own, false);
	h->leased = false;
	sock_close(&h->own);
}

/* Whatever the other end did, a send never says what TCP would not. */
static void expect_honest_errno(int fd)
{
	int bad = 0;

	for (int i = 0; i < 5; i++)
		if (send(fd, "x", 1, MSG_NOSIGNAL) < 0 && errno != EPIPE && errno != ECONNRESET)
			bad = errno;
	check(!bad, "sends succeed, or fail as with TCP: %s", strerror(bad));
}

static void test_close(struct scene *s, struct sl_hops *table)
{
	char got[64];
	struct hop h;

	test_begin("close with unread bytes");
	(void)spliced(&h, s, table);
	check(own_send(&h, "answer") && app_send(&h, "unread by own"), "in both queues");
	check(!sl_hops_shut(&h.lease), "own is told that bytes wait");
	check(own_recv(&h, "unread by own") && sl_hops_shut(&h.lease), "and when they are taken");
	close_own(&h, false);
	check(recv_next(h.app, got, sizeof(got)) == 6 && recv_next(h.app, got, sizeof(got)) == 0,
	      "own closes: bytes, then the end");
	expect_honest_errno(h.app);
	hop_close(&h);

	(void)spliced(&h, s, table);
	check(own_send(&h, "answer"), "in the app's queue");
	close_own(&h, true);
	check(recv_next(h.app, got, sizeof(got)) == 6 &&
		      recv_next(h.app, got, sizeof(got)) == -ECONNRESET,
	      "own resets: bytes, then ECONNRESET");
	expect_honest_errno(h.app);
	hop_close(&h);

	(void)spliced(&h, s, table);
	check(own_send(&h, "never read") && app_send(&h, "last"), "in both queues");
	sock_close(&h.app);
	check(recv_next(h.own, got, sizeof(got)) == 4 && recv_next(h.own, got, sizeof(got)) <= 0,
	      "the app closes: bytes, then the end");
	expect_honest_errno(h.own);
	hop_close(&h);

	(void)spliced(&h, s, table);
	check(app_send(&h, "last") &&
		      !setsockopt(h.app, SOL_SOCKET, SO_LINGER, &(struct linger){.l_onoff = 1},
				  sizeof(struct linger)),
	      "in own's queue");
	sock_close(&h.app);
	check(recv_next(h.own, got, sizeof(got)) == 4 &&
		      recv_next(h.own, got, sizeof(got)) == -ECONNRESET,
	      "the app resets: bytes, then ECONNRESET");
	expect_honest_errno(h.own);
	hop_close(&h);
}

static void test_gone(struct scene *s, struct sl_hops *table)
{
	int map = pinned(s, "sl_sock");
	uint64_t before;
	struct hop h;

	test_begin("own is not in the map any more");
	(void)spliced(&h, s, table);
	check(!bpf_map_delete_elem(map, &h.lease.cookie), "taken out behind our back");
	check(app_send(&h, "by TCP") && own_recv(&h, "by TCP") && h.lease.hop->app_gone == 1,
	      "sent over TCP");
	hop_close(&h);
	sock_close(&map);

	test_begin("a slot of another hop");
	(void)spliced(&h, s, table);
	before = h.lease.hop->app_redirected;
	h.lease.hop->gen++;
	check(app_send(&h, "by TCP") && own_recv(&h, "by TCP") && own_send(&h, "too"), "sent");
	check(h.lease.hop->app_redirected == before && !h.lease.hop->own_redirected,
	      "nothing is redirected, nothing counted");
	h.lease.hop->gen--;
	hop_close(&h);
}

/* connect(2) to AF_UNSPEC leaves the socket in the map; the next connection is none of the hop's.
 */
static void test_disconnect(struct scene *s, struct sl_hops *table)
{
	struct sockaddr none = {.sa_family = AF_UNSPEC};
	char got[64];
	struct hop h;
	int next;

	test_begin("the app disconnects and connects again");
	(void)spliced(&h, s, table);
	check(!connect(h.app, &none, sizeof(none)) && sock_connect(h.app, VIP) == -EINPROGRESS,
	      "with the same socket");
	next = sock_accept(s->agent4);
	/* As many bytes over TCP as before: the sums do not tell the two connections apart. */
	check(next >= 0 && app_send(&h, "world") && recv_next(next, got, sizeof(got)) == 5,
	      "the agent hears it");
	check(app_send(&h, "again") && recv_next(next, got, sizeof(got)) == 5 &&
		      !h.lease.hop->app_redirected,
	      "nothing goes to the old connection");
	check(send(next, "answer", 6, 0) == 6 && app_recv(&h, "answer"), "and it hears the agent");
	sock_close(&next);
	hop_close(&h);
}

/* The agent dies while the app has not read what was redirected to it. */
static void test_killed(struct scene *s, struct sl_hops *table)
{
	struct hop h;
	char got[64];
	int status;
	pid_t child;

	test_begin("the agent is killed");
	check(hop_client(&h, s, table), "a hop");
	sl_hops_release(table, &h.lease, h.own, true);
	child = fork();
	if (!child) {
		struct sl_hops_report report;
		struct sl_hops *mine = NULL;

		close(h.app);
		if (sl_hops_open(s->dp, &(struct sl_hops_opts){0}, &mine, &report))
			_exit(1);
		h.table = mine;
		if (sl_hops_lease(mine, 0, h.own, false, s->bed.cookie, 0, 0, &h.lease))
			_exit(2);
		/* The parent reads and answers. */
		if (!own_send(&h, "hello") || !own_recv(&h, "world"))
			_exit(3);
		if (hop_ask(&h, SL_HOP_ASK) != SL_HOP_IN || !own_send(&h, "unread"))
			_exit(4);
		(void)raise(SIGKILL);
	}
	sock_close(&h.own);
	h.leased = false;
	check(app_recv(&h, "hello") && app_send(&h, "world"), "an exchange");
	check(waitpid(child, &status, 0) == child && WIFSIGNALED(status), "killed, not %d",
	      WIFEXITED(status) ? WEXITSTATUS(status) : 0);
	check(recv_next(h.app, got, sizeof(got)) == 6 && !memcmp(got, "unread", 6) &&
		      recv_next(h.app, got, sizeof(got)) <= 0,
	      "its last bytes are read, then the end");
	expect_honest_errno(h.app);
	hop_close(&h);
}

/* ---- an app that holds its own lock ---- */

struct stuck {
	int fd;
	char *page;
	ssize_t got;
};

static void *recv_into_hole(void *arg)
{
	struct stuck *k = arg;

	k->got = recv(k->fd, k->page, 64, 0);
	return NULL;
}

/* A page whose first touch waits for us. Returns the userfaultfd, or -1. */
static int hole_new(char **ret_page)
{
	struct uffdio_api api = {.api = UFFD_API};
	struct uffdio_register reg = {.mode = UFFDIO_REGISTER_MODE_MISSING};
	int fd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	char *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (fd < 0 || page == MAP_FAILED || ioctl(fd, UFFDIO_API, &api) < 0)
		return -1;
	reg.range.start = (uintptr_t)page;
	reg.range.len = 4096;
	*ret_page = page;
	return ioctl(fd, UFFDIO_REGISTER, &reg) < 0 ? -1 : fd;
}

static void test_busy(struct scene *s, struct sl_hops *table)
{
	struct stuck k = {0};
	int hole = hole_new(&k.page);
	struct pollfd p = {.fd = hole, .events = POLLIN};
	struct uffdio_zeropage fill = {.range.len = 4096};
	pthread_t reader;
	uint64_t start;
	struct hop h;
	ssize_t n;
	int good = 0;

	test_begin("an app that holds its socket's lock");
	if (hole < 0) {
		check(true, "no userfaultfd here: no application can hold its lock so");
		return;
	}
	(void)spliced(&h, s, table);
	k.fd = h.app;
	check(own_send(&h, "one") && !pthread_create(&reader, NULL, recv_into_hole, &k) &&
		      poll(&p, 1, 5000) == 1 && p.revents == POLLIN,
	      "a page fault within recv");
	start = sl_clock_now_ns();
	for (int i = 0; i < 100; i++) {
		n = send(h.own, "two", 3, MSG_NOSIGNAL);
		good += n < 0 && errno == EPIPE;
	}
	check(good == 100 && h.lease.hop->own_waits == 100,
	      "own's sends do not wait, but fail, and say that it is for that");
	check(sl_clock_now_ns() - start < 1000000000ULL, "at once");
	fill.range.start = (uintptr_t)k.page;
	check(!ioctl(hole, UFFDIO_ZEROPAGE, &fill) && !pthread_join(reader, NULL) && k.got == 3,
	      "the fault ends");
	check(own_send(&h, "two") && app_recv(&h, "two"), "again: it goes");
	hop_close(&h);
	sock_close(&hole);
	munmap(k.page, 4096);
}

void test_splice_ends(struct scene *s, struct sl_hops *table)
{
	test_take_out(s, table);
	test_take_out_in_traffic(s, table);
	test_half_close(s, table);
	test_close(s, table);
	test_gone(s, table);
	test_disconnect(s, table);
	test_killed(s, table);
	test_busy(s, table);
}
