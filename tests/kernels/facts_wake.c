/* SPDX-License-Identifier: Apache-2.0 */
/* Who is woken by what: epoll, poll, and calls that wait. */
#include "facts.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static int watch(int fd, uint32_t events)
{
	struct epoll_event e = {.events = events};
	int ep = epoll_create1(EPOLL_CLOEXEC);

	expect(ep >= 0 && !epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e), "epoll: %s", strerror(errno));
	return ep;
}

static uint32_t event(int ep, int ms)
{
	struct epoll_event e = {0};

	return epoll_wait(ep, &e, 1, ms) == 1 ? e.events : 0;
}

static void poll_sees(void)
{
	struct pair p;

	pair_spliced(&p);
	expect(!(events_of(p.own, 0) & POLLIN), "readable before");
	say(p.app, "x");
	expect(events_of(p.own, 0) & POLLIN, "not readable");
	hear(p.own, "x");
	expect(!(events_of(p.own, 0) & POLLIN), "readable after");
}

static void epoll_level(void)
{
	struct pair p;
	int ep;

	pair_spliced(&p);
	ep = watch(p.own, EPOLLIN);
	expect(!event(ep, 0), "an event before");
	say(p.app, "xy");
	expect(event(ep, 0) == EPOLLIN && event(ep, 0) == EPOLLIN, "not two events");
	hear(p.own, "xy");
	expect(!event(ep, 0), "an event after");
}

static void epoll_edge(void)
{
	struct pair p;
	int ep;

	pair_spliced(&p);
	ep = watch(p.own, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET);
	(void)event(ep, 0); /* writable */
	say(p.app, "x");
	expect(event(ep, 0) & EPOLLIN, "no event for the first message");
	expect(!event(ep, 0), "a second event for it");
	say(p.app, "y");
	expect(event(ep, 0) & EPOLLIN, "no event for a message behind an unread one");
	hear(p.own, "xy");
	hear_error(p.own, EAGAIN);
	say(p.app, "z");
	expect(event(ep, 0) & EPOLLIN, "no event after the queue was drained");
}

/* Registered while it was a plain socket, as every agent and application has it. */
static void epoll_edge_older_than_insertion(void)
{
	struct pair p;
	int ep;

	pair_new(&p);
	ep = watch(p.own, EPOLLIN | EPOLLRDHUP | EPOLLET);
	pair_put(&p, FACTS_REDIRECT, FACTS_REDIRECT);
	say(p.app, "x");
	expect(event(ep, 0) & EPOLLIN, "no event");
	hear(p.own, "x");
	expect(!end_drop(p.own_key) && !end_drop(p.app_key), "cannot be deleted");
	say(p.app, "y");
	expect(event(ep, SOON) & EPOLLIN, "no event over TCP after deletion");
	hear(p.own, "y");
}

static void epoll_edge_tcp_behind(void)
{
	struct pair p;
	int ep;

	pair_spliced(&p);
	ep = watch(p.own, EPOLLIN | EPOLLRDHUP | EPOLLET);
	say(p.app, "x");
	expect(event(ep, 0) & EPOLLIN, "no event for the redirected one");
	end_mode(p.app, p.app_key, p.own_key, FACTS_PASS);
	say(p.app, "y");
	expect(event(ep, SOON) & EPOLLIN, "no event for the one by TCP behind it");
	hear(p.own, "x");
	hear(p.own, "y");
	say(p.app, "z");
	expect(event(ep, SOON) & EPOLLIN, "no event for the next");
}

struct ping {
	struct pair p;
	int rounds;
};

static void *echo(void *arg)
{
	struct ping *g = arg;
	int ep = watch(g->p.own, EPOLLIN | EPOLLET);
	char c;

	for (int i = 0; i < g->rounds; i++) {
		while (recv(g->p.own, &c, 1, 0) != 1)
			if (!event(ep, SOON))
				return (void *)1; /* a lost wake-up */
		if (send(g->p.own, &c, 1, MSG_NOSIGNAL) != 1)
			return (void *)2;
	}
	return NULL;
}

static void *ask(void *arg)
{
	struct ping *g = arg;
	int ep = watch(g->p.app, EPOLLIN | EPOLLET);
	char c = 'x';

	for (int i = 0; i < g->rounds; i++) {
		if (send(g->p.app, &c, 1, MSG_NOSIGNAL) != 1)
			return (void *)2;
		while (recv(g->p.app, &c, 1, 0) != 1)
			if (!event(ep, SOON))
				return (void *)1;
	}
	return NULL;
}

static void no_lost_wakeup(void)
{
	struct ping g = {.rounds = 2000};
	struct timespec start, end;
	void *a = (void *)3, *b = (void *)3;
	pthread_t ta, tb;

	clock_gettime(CLOCK_MONOTONIC, &start);
	pair_spliced(&g.p);
	expect(!pthread_create(&ta, NULL, echo, &g), "no thread");
	expect(!pthread_create(&tb, NULL, ask, &g), "no thread");
	pthread_join(tb, &b);
	pthread_join(ta, &a);
	clock_gettime(CLOCK_MONOTONIC, &end);
	note("%d exchanges in %ld ms", g.rounds,
	     (end.tv_sec - start.tv_sec) * 1000 + (end.tv_nsec - start.tv_nsec) / 1000000);
	expect(!a && !b, "%s", a == (void *)1 || b == (void *)1 ? "one was lost" : "send failed");
}

static void nonblocking_never_waits(void)
{
	struct pair p;

	pair_spliced(&p);
	hear_error(p.app, EAGAIN);
	say(p.own, "x");
	hear(p.app, "x");
	hear_error(p.app, EAGAIN);
}

static void blocking_gets_bytes(void)
{
	struct reader r;
	struct pair p;

	pair_spliced(&p);
	set_blocking(p.app);
	reader_start(&r, p.app, sizeof(r.buf), 0);
	expect(!r.done, "it did not wait");
	say(p.own, "x");
	expect(reader_ended(&r, SOON) && r.got == 1, "got %zd", r.got);
}

/* What a waiting recv() says when something other than bytes wakes it. */
static void tell(struct reader *r)
{
	if (!reader_ended(r, 3000))
		answer("goes on waiting");
	else if (r->got < 0)
		answer("%s", r->error == EAGAIN	      ? "EAGAIN"
			     : r->error == EINTR      ? "EINTR"
			     : r->error == ECONNRESET ? "ECONNRESET"
						      : strerror(r->error));
	else
		answer("%s", r->got ? "bytes" : "end");
}

/* The application's send buffer is full, it waits for an answer, and the agent reads. */
static void blocking_write_space(void)
{
	static char block[65536];
	struct reader r;
	struct pair p;
	ssize_t n;

	pair_new(&p);
	pair_put(&p, FACTS_PASS, FACTS_REDIRECT);
	while ((n = send(p.app, block, sizeof(block), MSG_NOSIGNAL)) > 0)
		;
	set_blocking(p.app);
	reader_start(&r, p.app, sizeof(r.buf), 0);
	while (!reader_ended(&r, 20) && readable(p.own, 100))
		if (recv(p.own, block, sizeof(block), 0) <= 0)
			break;
	tell(&r);
}

static void on_signal(int n)
{
	(void)n;
}

static void signal_reader(bool restart)
{
	struct sigaction act = {.sa_handler = on_signal, .sa_flags = restart ? SA_RESTART : 0};
	struct reader r;
	struct pair p;

	sigaction(SIGUSR1, &act, NULL);
	pair_spliced(&p);
	set_blocking(p.app);
	reader_start(&r, p.app, sizeof(r.buf), 0);
	pthread_kill(r.thread, SIGUSR1);
	tell(&r);
}

static void blocking_signal(void)
{
	signal_reader(false);
}

static void blocking_signal_restart(void)
{
	signal_reader(true);
}

static void reset(int *fd)
{
	struct linger l = {.l_onoff = 1};

	setsockopt(*fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l));
	close(*fd);
	*fd = -1;
}

static void blocking_reset(void)
{
	struct reader r;
	struct pair p;

	pair_spliced(&p);
	set_blocking(p.app);
	reader_start(&r, p.app, sizeof(r.buf), 0);
	reset(&p.own);
	tell(&r);
}

static void blocking_fin(void)
{
	struct reader r;
	struct pair p;

	pair_spliced(&p);
	set_blocking(p.app);
	reader_start(&r, p.app, sizeof(r.buf), 0);
	shutdown(p.own, SHUT_WR);
	tell(&r);
}

static void blocking_timeout(void)
{
	struct timeval tv = {.tv_usec = 50000};
	struct reader r;
	struct pair p;

	pair_spliced(&p);
	set_blocking(p.app);
	setsockopt(p.app, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	reader_start(&r, p.app, sizeof(r.buf), 0);
	expect(reader_ended(&r, SOON) && r.got < 0 && r.error == EAGAIN, "got %zd", r.got);
}

/* Deleted while somebody sleeps in recv(): will it hear what comes by TCP? */
static void blocking_deleted(void)
{
	struct reader r;
	struct pair p;

	pair_spliced(&p);
	set_blocking(p.app);
	reader_start(&r, p.app, sizeof(r.buf), 0);
	expect(!end_drop(p.app_key), "cannot be deleted");
	say(p.own, "by TCP");
	tell(&r);
}

const struct fact facts_wake[] = {
	{"poll sees redirected bytes, and only while they are unread", NULL, poll_sees},
	{"epoll, level-triggered, wakes for redirected bytes", NULL, epoll_level},
	{"epoll, edge-triggered, wakes for each redirected message", NULL, epoll_edge},
	{"a registration with epoll outlives insertion and deletion", NULL,
	 epoll_edge_older_than_insertion},
	{"epoll, edge-triggered, wakes for TCP behind redirected bytes", NULL,
	 epoll_edge_tcp_behind},
	{"2,000 exchanges over edge-triggered epoll lose no wake-up", NULL, no_lost_wakeup},
	{"a non-blocking recv on an empty socket says EAGAIN", NULL, nonblocking_never_waits},
	{"a blocking recv gets redirected bytes", NULL, blocking_gets_bytes},
	{"a blocking recv, when the own send buffer drains?", "EAGAIN|goes on waiting",
	 blocking_write_space},
	{"a blocking recv, on a signal?", "EAGAIN|EINTR|goes on waiting", blocking_signal},
	{"a blocking recv, on a signal with SA_RESTART?", "EAGAIN|EINTR|goes on waiting",
	 blocking_signal_restart},
	{"a blocking recv, on RST?", "EAGAIN|ECONNRESET", blocking_reset},
	{"a blocking recv, on FIN?", "EAGAIN|end", blocking_fin},
	{"a blocking recv keeps to SO_RCVTIMEO", NULL, blocking_timeout},
	{"a blocking recv, deleted from the map while it waits, then bytes by TCP?",
	 "bytes|EAGAIN|goes on waiting", blocking_deleted},
	{0},
};
