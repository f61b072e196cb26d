/* SPDX-License-Identifier: Apache-2.0 */
/* What is not touched, and what is not steered because loopback would break it. */
#include "scene.h"

#include <errno.h>
#include <linux/in.h>
#include <linux/in6.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif

static uint64_t all_counts(struct scene *s)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < SL_REASON_MAX; i++)
		sum += counted(s, i);
	return sum;
}

static void test_unrouted(struct scene *s)
{
	int fd = sock(AF_INET, SOCK_STREAM);

	test_begin("no rules");
	count_mark(s);
	check(!sock_connect(fd, HELD_PLAIN), "connect to another port of the address");
	expect_reached(s, fd, s->plain, HELD_PLAIN);
	check(sock_is(fd, false, VIP_HELD ":0"), "getsockname");
	check(!all_counts(s), "nothing counted");
	sock_close(&fd);
}

static void test_plain_udp(struct scene *s)
{
	int fd = sock(AF_INET, SOCK_DGRAM), fd6 = sock(AF_INET6, SOCK_DGRAM);

	test_begin("UDP without a route");
	count_mark(s);
	check(!sock_connect(fd, HELD) && sock_is(fd, true, HELD), "connect, getpeername");
	check(!sock_connect_mapped(fd6, HELD) && sock_is(fd6, true, HELD), "IPv6 socket");
	check(!all_counts(s), "nothing counted");
	sock_close(&fd);
	sock_close(&fd6);
}

static void test_own(struct scene *s)
{
	int fd = sock(AF_INET, SOCK_STREAM);

	test_begin("the agent's own socket");
	check(!sl_datapath_own(s->dp, fd, SL_OWN_UPSTREAM), "marked");
	count_mark(s);
	check(!sock_connect(fd, HELD), "connect to a routed Service");
	expect_reached(s, fd, s->held, HELD);
	check(counted(s, SL_REASON_OWN) == 1 && all_counts(s) == 1, "counted as own");
	sock_close(&fd);
}

/* Provider "self" and open: what is not steered goes to the backend. */
static void expect_direct(struct scene *s, int fd, enum sl_reason reason)
{
	expect_reached(s, fd, s->backend, VIP);
	check(counted(s, reason) == 1, "counted as %s", sl_reason_name(reason));
	check(counted(s, SL_REASON_DIRECT) == 1 && !counted(s, SL_REASON_STEERED), "and as direct");
	sock_close(&fd);
}

static void test_device(struct scene *s)
{
	int fd = sock(AF_INET, SOCK_STREAM);

	test_begin("SO_BINDTODEVICE");
	check(!setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, "eth0", 5), "bound to eth0");
	count_mark(s);
	check(!sock_connect(fd, VIP), "connect");
	expect_direct(s, fd, SL_REASON_DEVICE);
}

static void test_port_taken(struct scene *s)
{
	int first = sock(AF_INET, SOCK_STREAM), second = sock(AF_INET, SOCK_STREAM);
	int third = sock(AF_INET, SOCK_STREAM), one = 1, got;

	test_begin("bound port whose tuple is taken");
	setsockopt(first, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	setsockopt(second, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	setsockopt(third, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	check(!sock_bind(first, "0.0.0.0:41020") && !sock_bind(second, "0.0.0.0:41020") &&
		      !sock_bind(third, "0.0.0.0:41020"),
	      "three sockets on one port");
	check(!sock_connect(first, VIP_B), "the first goes to one Service");
	got = expect_steered(s, first, s->agent4, VIP_B, POD4 ":41020");
	check(sock_connect(third, "127.0.0.1:" PORT) == -EADDRNOTAVAIL,
	      "kernel: the tuple cannot be had twice");
	count_mark(s);
	check(!sock_connect(second, VIP), "the second goes to another, and does not fail");
	expect_direct(s, second, SL_REASON_PORT_TAKEN);
	sock_close(&got);
	sock_close(&first);
	sock_close(&third);
}

/* A listener on the client's port is no obstacle. */
static void test_port_listening(struct scene *s)
{
	int listener = sock(AF_INET, SOCK_STREAM), fd = sock(AF_INET, SOCK_STREAM), one = 1, got;

	test_begin("bound port that is listened on");
	setsockopt(listener, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one));
	setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one));
	check(!sock_bind(listener, "0.0.0.0:41021") && !listen(listener, 1) &&
		      !sock_bind(fd, "0.0.0.0:41021"),
	      "a listener and a client on one port");
	check(!sock_connect(fd, VIP), "connect");
	got = expect_steered(s, fd, s->agent4, VIP, POD4 ":41021");
	sock_close(&got);
	sock_close(&fd);
	sock_close(&listener);
}

static void test_transparent(struct scene *s)
{
	int fd = sock(AF_INET, SOCK_STREAM | SOCK_NONBLOCK), one = 1;

	test_begin("IP_TRANSPARENT with a foreign source");
	check(!setsockopt(fd, IPPROTO_IP, IP_TRANSPARENT, &one, sizeof(one)) &&
		      !sock_bind(fd, "192.0.2.7:0"),
	      "bound to an address of nobody here");
	count_mark(s);
	(void)sock_connect(fd, VIP); /* no answer can come back: no matter */
	check(counted(s, SL_REASON_SOURCE) == 1 && !counted(s, SL_REASON_STEERED),
	      "not steered, counted");
	sock_close(&fd);

	test_begin("bound to an address that the agent does not know yet");
	fd = sock(AF_INET, SOCK_STREAM);
	struct sl_addr held = addr(HELD);

	check(!sl_datapath_addr_del(s->dp, s->bed.cookie, &held), "address taken out");
	check(!sock_bind(fd, VIP_HELD ":0"), "bound");
	count_mark(s);
	check(!sock_connect(fd, VIP), "connect");
	expect_direct(s, fd, SL_REASON_SOURCE);
	check(!sl_datapath_addr_set(s->dp, s->bed.cookie, &held), "address put back");
	fd = sock(AF_INET, SOCK_STREAM);
	check(!sock_bind(fd, VIP_HELD ":0") && !sock_connect(fd, VIP), "now it is steered");
	int got = expect_steered(s, fd, s->agent4, VIP, VIP_HELD ":0");

	sock_close(&got);
	sock_close(&fd);
}

static void test_mptcp(struct scene *s)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_MPTCP);
	int got;

	test_begin("Multipath TCP");
	if (fd < 0) {
		check(errno == EPROTONOSUPPORT || errno == ENOPROTOOPT || errno == EINVAL,
		      "this kernel has none: %s", strerror(errno));
		return;
	}
	count_mark(s);
	check(!sock_connect(fd, VIP), "connect");
	check(counted(s, SL_REASON_MPTCP) == 1 && !counted(s, SL_REASON_STEERED),
	      "not steered, counted");
	check(counted(s, SL_REASON_DIRECT) == 1, "balanced");
	got = sock_accept(s->backend);
	check(got >= 0 && sock_talk(fd, got), "bytes go both ways");
	sock_close(&got);
	sock_close(&fd);
}

void test_left_alone(struct scene *s)
{
	test_unrouted(s);
	test_plain_udp(s);
	test_own(s);
	test_device(s);
	test_port_taken(s);
	test_port_listening(s);
	test_transparent(s);
	test_mptcp(s);
}
