/* SPDX-License-Identifier: Apache-2.0 */
/* Short of room: the ring buffer, a client's socket, an accepted socket. Nothing fails for it. */
#include "scene.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <linux/filter.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define FILTER_MAX 4096

/* n_big instructions that become many in the kernel, n_small that become one; all packets pass. */
static bool filter(int fd, int n_big, int n_small)
{
	static struct sock_filter insns[FILTER_MAX + 64];
	const struct sock_filter pass = BPF_STMT(BPF_RET | BPF_K, 0xffffffff);
	struct sock_fprog prog = {.filter = insns, .len = n_big + n_small + 2};
	int zero = 0;

	insns[0] = insns[n_big + n_small + 1] = pass;
	for (int i = 1; i <= n_big + n_small; i++)
		insns[i] = i <= n_big ? (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0)
				      : (struct sock_filter)BPF_STMT(BPF_LD | BPF_IMM, 0);
	/* While one replaces the other both count. */
	(void)setsockopt(fd, SOL_SOCKET, SO_DETACH_FILTER, &zero, sizeof(zero)); /* may have none */
	return !setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &prog, sizeof(prog));
}

/* What the kernel grants a socket for options, filters and BPF storage (net.core.optmem_max), but
 * for a few bytes: no storage can be made on it any more. */
static bool fill_socket(int fd)
{
	int big = 0, small = 0;

	for (int step = FILTER_MAX / 2; step; step /= 2)
		if (filter(fd, big + step, 0))
			big += step;
	for (int step = 32; step; step /= 2)
		if (filter(fd, big, small + step))
			small += step;
	return filter(fd, big, small) && big + small < FILTER_MAX - 2;
}

static void test_client_full(struct scene *s)
{
	int fd = sock(AF_INET, SOCK_STREAM);

	test_begin("no memory on the client's socket");
	check(fill_socket(fd), "full");
	count_mark(s);
	check(!sock_connect(fd, VIP), "open: connects all the same");
	expect_reached(s, fd, s->backend, BACKEND); /* nowhere to keep the other name */
	/* Once for steering, once for the name after balancing. */
	check(counted(s, SL_REASON_NO_MEMORY) == 2 && counted(s, SL_REASON_DIRECT) == 1 &&
		      !counted(s, SL_REASON_STEERED),
	      "counted");
	sock_close(&fd);
	fd = sock(AF_INET, SOCK_STREAM);
	check(fill_socket(fd), "another, full");
	count_mark(s);
	check(sock_connect(fd, VIP_CLOSED) == -EPERM, "closed: refused");
	check(counted(s, SL_REASON_NO_MEMORY) == 1 && counted(s, SL_REASON_CLOSED) == 1, "counted");
	sock_close(&fd);
}

/* Accepted sockets get the listener's filter and its mark, and then have no room for more. */
static void test_accepted_full(struct scene *s)
{
	struct sl_original o = {0};
	struct sl_addr want = addr(VIP);
	int fd = sock(AF_INET, SOCK_STREAM), got, zero = 0;

	test_begin("no memory on the accepted socket");
	check(fill_socket(s->agent4), "full");
	count_mark(s);
	check(!sock_connect(fd, VIP), "connect");
	got = sock_accept(s->agent4);
	check(got >= 0, "accepted");
	check(counted(s, SL_REASON_FLOW_LOST) == 1 && counted(s, SL_REASON_STEERED) == 1,
	      "counted");
	check(got >= 0 && !sl_datapath_original(s->dp, got, &o) && sl_addr_eq(&o.addr, &want),
	      "the original destination is found by the tuple");
	check(sock_is(fd, true, VIP) && got >= 0 && sock_talk(fd, got), "and all is well");
	check(!setsockopt(s->agent4, SOL_SOCKET, SO_DETACH_FILTER, &zero, sizeof(zero)),
	      "listener empty again");
	sock_close(&got);
	sock_close(&fd);
}

static void count_event(void *arg, const struct sl_event *ev)
{
	*(int *)arg += ev->reason == SL_REASON_NO_LISTENER;
}

static bool call_unseen(struct scene *s, int seen)
{
	int fd = sock(AF_INET, SOCK_STREAM), r;

	/* Else there would be one event a second. It may not be there: that is what is wanted. */
	(void)bpf_map_delete_elem(seen, &s->bed.cookie);
	r = sock_connect(fd, VIP_CLOSED);
	sock_close(&fd);
	return r == -EPERM;
}

static void test_ring_full(struct scene *s)
{
	char path[400];
	int seen, n_calls = 0, n_events = 0;
	bool refused = true;

	test_begin("ring buffer full");
	snprintf(path, sizeof(path), "%s/sl_seen", s->bed.pins);
	seen = bpf_obj_get(path);
	check(seen >= 0, "sl_seen is pinned");
	check(sl_datapath_events_consume(s->dp, count_event, &n_events) >= 0, "emptied");
	sock_close(&s->agent4);
	n_events = 0;
	count_mark(s);
	while (refused && n_calls < 10000 && !counted(s, SL_REASON_EVENT_LOST)) {
		refused = call_unseen(s, seen);
		n_calls++;
	}
	check(refused && counted(s, SL_REASON_EVENT_LOST) == 1, "counted after %d calls", n_calls);
	check(counted(s, SL_REASON_NO_LISTENER) == (uint64_t)n_calls &&
		      counted(s, SL_REASON_CLOSED) == (uint64_t)n_calls,
	      "the policy acted on each");
	check(sl_datapath_events_consume(s->dp, count_event, &n_events) == n_calls - 1 &&
		      n_events == n_calls - 1,
	      "all but the last are told");
	n_events = 0;
	check(call_unseen(s, seen) &&
		      sl_datapath_events_consume(s->dp, count_event, &n_events) == 1 &&
		      n_events == 1,
	      "and there is room again");
	sock_close(&seen);
	s->agent4 = sock_listen("127.0.0.1:" PORT);
	check(!sl_datapath_own(s->dp, s->agent4, SL_OWN_LISTENER), "listener back");
}

void test_short(struct scene *s)
{
	test_client_full(s);
	test_accepted_full(s);
	test_ring_full(s);
}
