/* SPDX-License-Identifier: Apache-2.0 */
/* Which bytes are read when: the queue of redirected messages and the one of TCP. */
#include "facts.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

static void redirect_moves_bytes(void)
{
	struct pair p;

	pair_spliced(&p);
	say(p.app, "request");
	hear(p.own, "request");
	say(p.own, "answer");
	hear(p.app, "answer");
	expect(seen->n_redirected == 2 && seen->bytes_redirected == 13 && !seen->n_passed,
	       "%llu messages and %llu bytes were redirected", seen->n_redirected,
	       seen->bytes_redirected);
}

static void redirect_is_synchronous(void)
{
	struct pair p;

	pair_spliced(&p);
	for (int i = 0; i < 1000; i++) {
		say(p.app, "x");
		hear(p.own, "x");
	}
}

static void large_send_is_whole(void)
{
	struct pair p;

	pair_spliced(&p);
	for (size_t i = 0; i < 12; i++)
		say_bytes(p.app, i * 100000, 100000);
	hear_bytes(p.own, 0, 1200000, SOON);
	expect(!seen->n_passed && !seen->n_no_peer, "some went by TCP");
}

/* The order that the fall back relies on. */
static void redirect_then_tcp(void)
{
	struct pair p;

	pair_spliced(&p);
	say(p.app, "first ");
	end_mode(p.app, p.app_key, p.own_key, FACTS_PASS);
	say(p.app, "second ");
	say(p.app, "third");
	hear_all(p.own, "first second third", SOON);
}

static void redirect_then_tcp_waits(void)
{
	struct pair p;

	pair_spliced(&p);
	say(p.app, "first");
	end_mode(p.app, p.app_key, p.own_key, FACTS_PASS);
	say(p.app, "second");
	hear(p.own, "first");
	expect(readable(p.own, SOON), "not readable for what came by TCP");
	hear(p.own, "second");
}

static void tcp_then_redirect(void)
{
	struct pair p;
	char buf[32];

	pair_new(&p);
	pair_put(&p, FACTS_PASS, FACTS_PASS);
	say(p.app, "first");
	expect(readable(p.own, SOON), "nothing came");
	end_mode(p.app, p.app_key, p.own_key, FACTS_REDIRECT);
	say(p.app, "second");
	expect(recv(p.own, buf, sizeof(buf), 0) == 6 && !memcmp(buf, "second", 6),
	       "the second was not read first");
	hear(p.own, "first");
}

/* A read ends where the redirected bytes do, although more is there. */
static void read_stops_between(void)
{
	struct pair p;
	char buf[64];
	ssize_t n;

	pair_spliced(&p);
	say(p.app, "first");
	end_mode(p.app, p.app_key, p.own_key, FACTS_PASS);
	say(p.app, "second");
	n = recv(p.own, buf, sizeof(buf), 0);
	expect(n == 5 || n == 11, "%zd bytes", n);
	answer(n == 5 ? "short" : "both");
}

static void one_read_many_messages(void)
{
	struct pair p;
	char buf[256];
	ssize_t n;

	pair_spliced(&p);
	for (int i = 0; i < 100; i++)
		say(p.app, "x");
	n = recv(p.own, buf, sizeof(buf), 0);
	expect(n == 100, "%zd of 100 messages of a byte", n);
}

/* Many flips, each to redirect only when all that was sent has been read: the credit rule. */
static void flips_keep_order(void)
{
	struct pair p;
	size_t at = 0;

	pair_spliced(&p);
	for (int round = 0; round < 200; round++) {
		end_mode(p.app, p.app_key, p.own_key, FACTS_REDIRECT);
		say_bytes(p.app, at, 3000);
		end_mode(p.app, p.app_key, p.own_key, FACTS_PASS);
		say_bytes(p.app, at + 3000, 5000);
		hear_bytes(p.own, at, 8000, SOON);
		at += 8000;
	}
	expect(seen->n_redirected >= 200 && seen->n_passed >= 200, "no flips");
}

static long ms_since(const struct timespec *t)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (now.tv_sec - t->tv_sec) * 1000 + (now.tv_nsec - t->tv_nsec) / 1000000;
}

/* What is redirected counts against the receive buffer: does TCP behind it stall? */
static void tcp_behind_much(void)
{
	const size_t redirected = 256 * 1024, by_tcp = 64 * 1024;
	struct timespec start;
	struct pair p;
	long ms;

	pair_spliced(&p);
	say_bytes(p.app, 0, redirected);
	end_mode(p.app, p.app_key, p.own_key, FACTS_PASS);
	say_bytes(p.app, redirected, by_tcp);
	clock_gettime(CLOCK_MONOTONIC, &start);
	hear_bytes(p.own, 0, redirected + by_tcp, 5000);
	ms = ms_since(&start);
	note("%ld ms", ms);
	answer(ms < 100 ? "at once" : "after a retransmission");
}

const struct fact facts_queue[] = {
	{"an ingress redirect moves bytes to the peer, both ways", NULL, redirect_moves_bytes},
	{"redirected bytes can be read when send returns", NULL, redirect_is_synchronous},
	{"sends of 100,000 bytes are redirected whole and in order", NULL, large_send_is_whole},
	{"redirect, then TCP: read in the order of sending", NULL, redirect_then_tcp},
	{"redirect, then TCP: readable for the second after the first", NULL,
	 redirect_then_tcp_waits},
	{"TCP, then redirect: read in the wrong order", NULL, tcp_then_redirect},
	{"one read over both queues?", "short|both", read_stops_between},
	{"one read takes many redirected messages", NULL, one_read_many_messages},
	{"redirect and TCP in turns, redirect only after all was read: in order", NULL,
	 flips_keep_order},
	{"64 KiB by TCP behind 256 KiB redirected?", "at once|after a retransmission",
	 tcp_behind_much},
	{0},
};
