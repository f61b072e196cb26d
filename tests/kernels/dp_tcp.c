/* SPDX-License-Identifier: Apache-2.0 */
/* TCP to Services whose TCPRoute the kernel follows alone: no agent in the way, none needed. */
#include "scene.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif

#define ONE   POD4 ":7101"
#define TWO   POD4 ":7102"
#define ONE6  "[" POD6 "]:7101"
#define TRIES 200

struct splits {
	struct sl_plan plan;
	int one, two, one6; /* listeners */
	int refusal;
	uint64_t told[2]; /* flows of the first and second share */
};

static void tell(void *arg, const struct sl_plan_split *split, const struct sl_plan_share *share,
		 uint64_t n)
{
	struct splits *p = arg;

	p->told[share - split->shares] += n;
}

static void apply(struct scene *s, struct splits *p)
{
	check(!sl_datapath_retract(s->dp, &p->plan) &&
		      !sl_datapath_apply(s->dp, &p->plan, NULL, NULL),
	      "plan applied");
}

static void tcp_split(struct splits *p, const char *vip, uint32_t weight_a, const char *a,
		      uint32_t weight_b, const char *b)
{
	split_add_of(&p->plan, IPPROTO_TCP, vip, weight_a, a, weight_b, b);
}

static void test_families(struct scene *s, struct splits *p)
{
	int fd = sock(AF_INET, SOCK_STREAM), fd6 = sock(AF_INET6, SOCK_STREAM);
	int mapped = sock(AF_INET6, SOCK_STREAM), own = sock(AF_INET, SOCK_STREAM);
	int udp = sock(AF_INET, SOCK_DGRAM);

	test_begin("TCP by the kernel");
	tcp_split(p, VIP, 1, ONE, 0, TWO);
	tcp_split(p, VIP6, 1, ONE6, 0, NULL);
	tcp_split(p, HELD, 1, ONE, 0, NULL);
	apply(s, p);
	count_mark(s);
	check(!sock_connect(fd, VIP), "connect");
	expect_reached(s, fd, p->one, VIP);
	check(sock_is(fd, false, POD4 ":0"), "getsockname is the real one");
	check(!sock_connect(fd6, VIP6), "IPv6: connect");
	expect_reached(s, fd6, p->one6, VIP6);
	check(!sock_connect_mapped(mapped, VIP), "IPv4 by an IPv6 socket: connect");
	expect_reached(s, mapped, p->one, VIP);
	check(counted(s, SL_REASON_SPLIT_TCP) == 3 && !counted(s, SL_REASON_STEERED) &&
		      !counted(s, SL_REASON_SPLIT),
	      "counted, as nothing else");
	check(!sl_datapath_own(s->dp, own, SL_OWN_UPSTREAM) && !sock_connect(own, HELD),
	      "a socket of the agent's");
	expect_reached(s, own, s->held, HELD);
	check(counted(s, SL_REASON_OWN) == 1 && counted(s, SL_REASON_SPLIT_TCP) == 3,
	      "which is left alone");
	check(!sock_connect(udp, HELD) && sock_is(udp, true, HELD) &&
		      counted(s, SL_REASON_SPLIT_TCP) == 3,
	      "as is UDP");
	sock_close(&fd);
	sock_close(&fd6);
	sock_close(&mapped);
	sock_close(&own);
	sock_close(&udp);
}

/* What cannot be steered to loopback can be balanced. */
static void test_odd_sockets(struct scene *s, struct splits *p)
{
	int device = sock(AF_INET, SOCK_STREAM), bound = sock(AF_INET, SOCK_STREAM);
	int mptcp = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_MPTCP), got;

	test_begin("TCP by the kernel, sockets that are not steered");
	count_mark(s);
	check(!setsockopt(device, SOL_SOCKET, SO_BINDTODEVICE, "eth0", 5) &&
		      !sock_connect(device, VIP),
	      "bound to a device");
	expect_reached(s, device, p->one, VIP);
	check(!sock_bind(bound, VIP_HELD ":0") && !sock_connect(bound, VIP), "bound to an address");
	expect_reached(s, bound, p->one, VIP);
	check(counted(s, SL_REASON_SPLIT_TCP) == 2, "counted");
	if (mptcp >= 0) {
		check(!sock_connect(mptcp, VIP), "Multipath TCP");
		got = sock_accept(p->one);
		check(got >= 0 && sock_talk(mptcp, got), "bytes go both ways");
		check(counted(s, SL_REASON_SPLIT_TCP) == 3 && !counted(s, SL_REASON_MPTCP),
		      "counted");
		sock_close(&got);
	}
	sock_close(&device);
	sock_close(&bound);
	sock_close(&mptcp);
}

static void test_weights(struct scene *s, struct splits *p)
{
	int n[2] = {0};

	test_begin("TCP by the kernel, weights");
	tcp_split(p, VIP, 1, ONE, 3, TWO);
	apply(s, p);
	sl_datapath_flows_read(s->dp); /* of what was */
	memset(p->told, 0, sizeof(p->told));
	for (int i = 0; i < TRIES; i++) {
		int fd = sock(AF_INET, SOCK_STREAM), at, got;

		if (sock_connect(fd, VIP)) {
			check(false, "connection %d", i);
			break;
		}
		at = !sock_pending(p->one); /* loopback: it is there or it never is */
		got = sock_accept(at ? p->two : p->one);
		n[at]++;
		sock_close(&got);
		sock_close(&fd);
	}
	/* 1 in 4 of 200: 50, give or take six standard deviations. */
	check(n[0] > 13 && n[0] < 87, "1:3 of %d connections are %d and %d", TRIES, n[0], n[1]);
	sl_datapath_flows_read(s->dp);
	check(p->told[0] == (uint64_t)n[0] && p->told[1] == (uint64_t)n[1],
	      "and told of each share: %d and %d", (int)p->told[0], (int)p->told[1]);
	sl_datapath_flows_read(s->dp);
	check(p->told[0] + p->told[1] == TRIES, "once");
}

static void test_refused(struct scene *s, struct splits *p)
{
	int fd = sock(AF_INET, SOCK_STREAM), fd6 = sock(AF_INET6, SOCK_STREAM), r;

	test_begin("TCP by the kernel, no endpoint");
	tcp_split(p, VIP_EMPTY, 1, NULL, 0, NULL);
	tcp_split(p, VIP6_EMPTY, 0, ONE6, 0, NULL);
	apply(s, p);
	sl_datapath_flows_read(s->dp);
	memset(p->told, 0, sizeof(p->told));
	count_mark(s);
	r = sock_connect(fd, VIP_EMPTY);
	check(r == p->refusal, "connect: %s", strerror(-r));
	r = sock_connect(fd6, VIP6_EMPTY);
	check(r == p->refusal, "IPv6, all weights zero: %s", strerror(-r));
	check(counted(s, SL_REASON_SPLIT_TCP_NONE) == 2 && !counted(s, SL_REASON_SPLIT_TCP) &&
		      !counted(s, SL_REASON_STEERED),
	      "counted");
	sl_datapath_flows_read(s->dp);
	check(p->told[0] == 1, "and told of the share that it fell to");
	sock_close(&fd);
	sock_close(&fd6);
}

/* With the policy "closed" too: the rule is in force without the agent. */
static void test_changes(struct scene *s, struct splits *p)
{
	struct sl_plan steered = {.services = sl_pmap_copy(&p->plan.services)};
	int fd = sock(AF_INET, SOCK_STREAM), old = sock(AF_INET, SOCK_STREAM), got, agent;

	test_begin("TCP by the kernel, changes");
	tcp_split(p, VIP_CLOSED, 1, ONE, 0, NULL);
	apply(s, p);
	check(!sock_connect(old, VIP_CLOSED), "connect");
	got = sock_accept(p->one);
	memset(p->told, 0, sizeof(p->told));
	tcp_split(p, VIP_CLOSED, 1, TWO, 0, NULL);
	apply(s, p);
	check(p->told[0] == 1, "what a version counted is told when it goes");
	check(!sock_connect(fd, VIP_CLOSED), "another endpoint: connect");
	expect_reached(s, fd, p->two, VIP_CLOSED);
	check(sock_talk(old, got), "older connections stay where they are");
	sock_close(&fd);
	check(!sl_datapath_retract(s->dp, &steered) &&
		      !sl_datapath_apply(s->dp, &steered, NULL, NULL),
	      "the agent has it again");
	fd = sock(AF_INET, SOCK_STREAM);
	check(!sock_connect(fd, VIP_CLOSED), "connect");
	agent = expect_steered(s, fd, s->agent4, VIP_CLOSED, NULL);
	check(sock_talk(old, got) && sock_is(old, true, VIP_CLOSED), "and older ones stay");
	apply(s, p);
	sock_close(&fd);
	sock_close(&old);
	sock_close(&got);
	sock_close(&agent);
	sl_pmap_deinit(&steered.services);
}

static void test_agent_gone(struct scene *s, struct splits *p)
{
	int fd = sock(AF_INET, SOCK_STREAM);

	test_begin("TCP by the kernel, the agent goes and comes");
	s->dp = sl_datapath_close(s->dp, false);
	sock_close(&s->agent4);
	sock_close(&s->agent6);
	check(!sock_connect(fd, VIP_CLOSED), "nobody listens: connect");
	s->agent4 = sock_listen("127.0.0.1:" PORT);
	s->agent6 = sock_listen("[::1]:" PORT);
	expect_reached(s, fd, p->two, VIP_CLOSED);
	sock_close(&fd);
	sock_close(&s->agent4);
	sock_close(&s->agent6);
	scene_open(s);
	sl_datapath_on_flows(s->dp, tell, p);
	memset(p->told, 0, sizeof(p->told));
	scene_listen(s);
	fd = sock(AF_INET, SOCK_STREAM);
	check(!sock_connect(fd, VIP_CLOSED), "another agent has come, and written nothing yet");
	expect_reached(s, fd, p->two, VIP_CLOSED);
	sock_close(&fd);
	apply(s, p);
	sl_datapath_flows_read(s->dp);
	check(!p->told[0] && !p->told[1], "of what it did not write nothing is told");
	fd = sock(AF_INET, SOCK_STREAM);
	check(!sock_connect(fd, VIP_CLOSED), "written: connect");
	expect_reached(s, fd, p->two, VIP_CLOSED);
	sl_datapath_flows_read(s->dp);
	check(p->told[0] == 1, "and of that it is");
	sock_close(&fd);
}

/* What does not fit goes to the agent, whatever was there before. */
static void test_full(struct scene *s, struct splits *p)
{
	struct sl_datapath_opts opts = s->opts;
	int fd = sock(AF_INET, SOCK_STREAM), agent;

	test_begin("TCP by the kernel, full maps");
	s->dp = sl_datapath_close(s->dp, true);
	sock_close(&s->agent4);
	sock_close(&s->agent6);
	s->opts.max_endpoints = 1;
	scene_open(s);
	scene_listen(s);
	sl_pmap_deinit(&p->plan.services);
	sl_pmap_deinit(&p->plan.splits);
	plan_set(&p->plan,
		 &(struct sl_plan_service){.vip = addr(VIP), .name = SL_STR("shop/db:5432")}, 1);
	tcp_split(p, VIP, 1, ONE, 0, NULL);
	apply(s, p);
	tcp_split(p, VIP, 1, ONE, 1, TWO);
	check(sl_datapath_apply(s->dp, &p->plan, NULL, NULL) == -ENOSPC, "too many endpoints");
	check(!sock_connect(fd, VIP), "connect");
	agent = expect_steered(s, fd, s->agent4, VIP, NULL);
	sock_close(&agent);
	sock_close(&fd);
	s->dp = sl_datapath_close(s->dp, true);
	sock_close(&s->agent4);
	sock_close(&s->agent6);
	s->opts = opts;
	scene_open(s);
	scene_listen(s);
}

void test_tcp(struct scene *s)
{
	struct splits p = {.one = sock_listen(ONE),
			   .two = sock_listen(TWO),
			   .one6 = sock_listen(ONE6),
			   .refusal = has_set_retval(s) ? -ECONNREFUSED : -EPERM};

	p.plan.services = sl_pmap_copy(&scene_plan.services);
	sl_datapath_on_flows(s->dp, tell, &p);
	test_families(s, &p);
	test_odd_sockets(s, &p);
	test_weights(s, &p);
	test_refused(s, &p);
	test_changes(s, &p);
	test_agent_gone(s, &p);
	test_full(s, &p);
	check(!sl_datapath_apply(s->dp, &scene_plan, NULL, NULL), "the scene is as it was");
	sl_pmap_deinit(&p.plan.services);
	sl_pmap_deinit(&p.plan.splits);
	sock_close(&p.one);
	sock_close(&p.two);
	sock_close(&p.one6);
}
