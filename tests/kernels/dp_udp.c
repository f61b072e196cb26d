/* SPDX-License-Identifier: Apache-2.0 */
/* UDP to Services with a UDPRoute, by the kernel alone. */
#include "scene.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DNS	  "10.96.0.53:53"
#define DNS_B	  "10.96.0.54:53" /* the same endpoint */
#define DNS6	  "[fd00:96::53]:53"
#define DNS_EMPTY "10.96.0.55:53"
#define DNS_HALF  "10.96.0.56:53" /* half of it refused */
#define ONE	  POD4 ":5301"
#define TWO	  POD4 ":5302"
#define ONE6	  "[" POD6 "]:5301"
#define TRIES	  400

/* A plan of splits in the making. */
struct splits {
	struct sl_plan plan;
	int one, two, one6; /* servers */
};

static void must(int r)
{
	if (!r)
		return;
	printf("Bail out! %s\n", strerror(-r));
	exit(99);
}

static void apply(struct scene *s, struct splits *p)
{
	check(!sl_datapath_retract(s->dp, &p->plan) &&
		      !sl_datapath_apply(s->dp, &p->plan, NULL, NULL),
	      "plan applied");
}

static int server(const char *at)
{
	int fd = sock(*at == '[' ? AF_INET6 : AF_INET, SOCK_DGRAM);

	must(sock_bind(fd, at));
	return fd;
}

static int send_at(int fd, const char *to, bool mapped)
{
	struct sl_addr a = addr(to);
	struct sockaddr_storage ss;
	struct sockaddr_in6 six = {.sin6_family = AF_INET6};
	socklen_t len = sl_addr_to_sockaddr(&a, &ss);

	if (mapped) {
		memcpy(&six.sin6_addr, a.ip, sizeof(a.ip));
		six.sin6_port = htons(a.port);
		memcpy(&ss, &six, sizeof(six));
		len = sizeof(six);
	}
	return sendto(fd, "?", 1, 0, (struct sockaddr *)&ss, len) < 0 ? -errno : 0;
}

static bool waits(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	return poll(&p, 1, 5000) == 1;
}

/* A question is there: answer it. */
static bool answer(int server)
{
	struct sockaddr_storage from;
	socklen_t len = sizeof(from);
	char c;

	return waits(server) && recvfrom(server, &c, 1, 0, (struct sockaddr *)&from, &len) == 1 &&
	       sendto(server, "!", 1, 0, (struct sockaddr *)&from, len) == 1;
}

/* An answer comes, from @vip as the application sees it. */
static bool hears(int fd, const char *vip)
{
	struct sl_addr want = addr(vip), got;
	struct sockaddr_storage from;
	socklen_t len = sizeof(from);
	char c;

	return waits(fd) && recvfrom(fd, &c, 1, 0, (struct sockaddr *)&from, &len) == 1 &&
	       !sl_addr_from_sockaddr(&from, &got) && sl_addr_eq(&got, &want);
}

static bool quiet(int server)
{
	char c;

	return recv(server, &c, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN;
}

/* Sent by a socket that is not connected, answered, and the answer is from whom was asked. */
static bool asks(int fd, const char *vip, bool mapped, int server)
{
	return !send_at(fd, vip, mapped) && answer(server) && hears(fd, vip);
}

static void test_connected(struct scene *s, struct splits *p)
{
	int fd = sock(AF_INET, SOCK_DGRAM), fd6 = sock(AF_INET6, SOCK_DGRAM);
	int mapped = sock(AF_INET6, SOCK_DGRAM);

	test_begin("UDP, connected");
	split_add(&p->plan, DNS, 1, ONE, 0, TWO);
	split_add(&p->plan, DNS6, 1, ONE6, 0, NULL);
	apply(s, p);
	count_mark(s);
	check(!sock_connect(fd, DNS) && sock_is(fd, true, DNS), "connect, getpeername");
	check(send(fd, "?", 1, 0) == 1 && answer(p->one) && hears(fd, DNS), "send, recvfrom");
	check(asks(fd, DNS, false, p->one), "it may name its peer, too");
	check(!sock_connect(fd6, DNS6) && sock_is(fd6, true, DNS6) && send(fd6, "?", 1, 0) == 1 &&
		      answer(p->one6) && hears(fd6, DNS6),
	      "IPv6");
	check(!sock_connect_mapped(mapped, DNS) && sock_is(mapped, true, DNS) &&
		      send(mapped, "?", 1, 0) == 1 && answer(p->one) && hears(mapped, DNS),
	      "IPv4 by an IPv6 socket");
	check(counted(s, SL_REASON_SPLIT) == 3, "three flows are counted");
	check(!sock_connect(fd, ONE) && sock_is(fd, true, ONE) && send(fd, "?", 1, 0) == 1 &&
		      answer(p->one) && hears(fd, ONE),
	      "connected to the endpoint itself it sees the endpoint");
	sock_close(&fd);
	sock_close(&fd6);
	sock_close(&mapped);
}

static void test_unconnected(struct scene *s, struct splits *p)
{
	int fd = sock(AF_INET, SOCK_DGRAM), fd6 = sock(AF_INET6, SOCK_DGRAM);
	bool good = true;

	test_begin("UDP, not connected");
	count_mark(s);
	for (int i = 0; i < 5; i++)
		good &= asks(fd, DNS, false, p->one);
	check(good, "sendto, recvfrom");
	check(asks(fd6, DNS6, false, p->one6), "IPv6");
	check(asks(fd6, DNS, true, p->one), "IPv4 by an IPv6 socket");
	check(counted(s, SL_REASON_SPLIT) == 3, "three flows are counted");
	check(send_at(fd, "10.96.0.53:54", false) != -ECONNREFUSED && quiet(p->one),
	      "another port of the address is left alone");
	sock_close(&fd);
	sock_close(&fd6);
}

static void test_weights(struct scene *s, struct splits *p)
{
	int n[2] = {0}, again = 0;

	test_begin("UDP, weights");
	split_add(&p->plan, DNS, 1, ONE, 3, TWO);
	apply(s, p);
	for (int i = 0; i < TRIES; i++) {
		int fd = sock(AF_INET, SOCK_DGRAM), at;

		if (i % 2)
			must(sock_connect(fd, DNS));
		must(i % 2 ? (send(fd, "?", 1, 0) == 1 ? 0 : -errno) : send_at(fd, DNS, false));
		at = quiet(p->one); /* loopback: it is there or it never is */
		n[at]++;
		must(i % 2 ? (send(fd, "?", 1, 0) == 1 ? 0 : -errno) : send_at(fd, DNS, false));
		again += !quiet(at ? p->two : p->one);
		(void)quiet(p->two);
		(void)quiet(p->one);
		sock_close(&fd);
	}
	/* 1 in 4 of 400: 100, give or take six standard deviations. */
	check(n[0] > 48 && n[0] < 152, "1:3 of %d flows are %d and %d", TRIES, n[0], n[1]);
	check(again == TRIES, "each flow stays where it is (%d)", again);
}

static void test_changes(struct scene *s, struct splits *p)
{
	int fd = sock(AF_INET, SOCK_DGRAM), connected = sock(AF_INET, SOCK_DGRAM);

	test_begin("UDP, endpoints change");
	split_add(&p->plan, DNS, 1, ONE, 0, NULL);
	apply(s, p);
	must(sock_connect(connected, DNS));
	check(asks(fd, DNS, false, p->one), "a flow to the only endpoint");
	split_add(&p->plan, DNS, 1, ONE, 1000000, TWO);
	apply(s, p);
	check(asks(fd, DNS, false, p->one), "another one comes: it stays");
	split_add(&p->plan, DNS, 0, ONE, 1, TWO);
	apply(s, p);
	check(asks(fd, DNS, false, p->two), "its weight is 0: it moves");
	split_add(&p->plan, DNS, 1, ONE, 0, NULL);
	apply(s, p);
	check(asks(fd, DNS, false, p->one), "its endpoint goes: it moves");
	split_add(&p->plan, DNS, 1, TWO, 0, NULL);
	apply(s, p);
	check(send(connected, "?", 1, 0) == 1 && answer(p->one) && hears(connected, DNS),
	      "a connected socket stays for as long as it is connected");
	must(sock_connect(connected, DNS));
	check(send(connected, "?", 1, 0) == 1 && answer(p->two) && hears(connected, DNS),
	      "and follows when it connects again");
	sock_close(&fd);
	sock_close(&connected);
}

static void test_refused(struct scene *s, struct splits *p, int refusal)
{
	int fd = sock(AF_INET, SOCK_DGRAM), fd6 = sock(AF_INET6, SOCK_DGRAM), n = 0, r;

	test_begin("UDP, no endpoint");
	split_add(&p->plan, DNS_EMPTY, 1, NULL, 1, NULL);
	split_add(&p->plan, DNS_HALF, 1, ONE, 1, NULL);
	split_add(&p->plan, DNS6, 1, NULL, 0, ONE6);
	apply(s, p);
	count_mark(s);
	r = sock_connect(fd, DNS_EMPTY);
	check(r == refusal, "connect: %s", strerror(-r));
	r = send_at(fd, DNS_EMPTY, false);
	check(r == refusal, "sendto: %s", strerror(-r));
	r = send_at(fd6, DNS6, false);
	check(r == refusal, "sendto, IPv6: %s", strerror(-r));
	check(counted(s, SL_REASON_SPLIT_NONE) == 3, "counted");
	for (int i = 0; i < TRIES; i++) {
		int one = sock(AF_INET, SOCK_DGRAM);

		n += sock_connect(one, DNS_HALF) == refusal;
		sock_close(&one);
	}
	check(n > 140 && n < 260, "half of the weight: %d of %d", n, TRIES);
	sock_close(&fd);
	sock_close(&fd6);
}

static void test_several(struct scene *s, struct splits *p)
{
	int fd = sock(AF_INET, SOCK_DGRAM);
	bool good = true;
	char vip[40];

	test_begin("UDP, one socket and several Services");
	split_add(&p->plan, DNS, 1, ONE, 0, NULL);
	split_add(&p->plan, DNS_B, 1, ONE, 0, NULL);
	for (int i = 0; i <= SL_UDP_FLOWS; i++) {
		snprintf(vip, sizeof(vip), "10.96.1.%d:53", i);
		split_add(&p->plan, vip, 1, i % 2 ? ONE : TWO, 0, NULL);
	}
	apply(s, p);
	for (int i = 0; i < 4; i++)
		good &= asks(fd, i % 2 ? DNS : DNS_B, false, p->one);
	check(good, "an endpoint of two of them answers for the one that was asked");
	for (int i = 0; i <= SL_UDP_FLOWS; i++) {
		snprintf(vip, sizeof(vip), "10.96.1.%d:53", i);
		good &= asks(fd, vip, false, i % 2 ? p->one : p->two);
	}
	check(good, "more Services than a socket remembers");
	sock_close(&fd);
}

static void test_agent_gone(struct scene *s, struct splits *p)
{
	struct sl_plan none = {0};
	int fd = sock(AF_INET, SOCK_DGRAM), old = sock(AF_INET, SOCK_DGRAM);

	test_begin("UDP, the agent goes and comes");
	check(asks(old, DNS, false, p->one), "a flow");
	s->dp = sl_datapath_close(s->dp, false);
	check(asks(old, DNS, false, p->one), "which lives on without it");
	check(asks(fd, DNS, false, p->one), "as do new ones");
	scene_open(s);
	check(asks(old, DNS, false, p->one), "another agent has come, and written nothing yet");
	apply(s, p);
	check(asks(old, DNS, false, p->one), "and has written what was there");
	check(!sl_datapath_retract(s->dp, &none) && !sl_datapath_apply(s->dp, &none, NULL, NULL),
	      "all routes go");
	check(send_at(old, DNS, false) != -ECONNREFUSED && quiet(p->one),
	      "datagrams go to the address itself");
	check(!sl_datapath_apply(s->dp, &scene_plan, NULL, NULL), "the scene is as it was");
	sock_close(&fd);
	sock_close(&old);
}

/* Nothing of any version is left behind. */
static void test_maps(struct scene *s)
{
	struct sl_buf text = SL_BUF_INIT(0);

	test_begin("UDP, maps");
	check(!sl_datapath_dump(s->dp, &text) && !sl_buf_append(&text, "", 1) &&
		      !strstr(sl_buf_ptr(&text), "split 1"),
	      "no split is left");
	for (int i = 0; i < 2; i++) {
		char path[400], key[32];
		int fd;

		snprintf(path, sizeof(path), "%s/%s", s->bed.pins, i ? "sl_member" : "sl_split_ep");
		fd = bpf_obj_get(path);
		check(fd >= 0 && bpf_map_get_next_key(fd, NULL, key) == -ENOENT, "%s is empty",
		      path + strlen(s->bed.pins) + 1);
		sock_close(&fd);
	}
	sl_buf_deinit(&text);
}

void test_udp(struct scene *s)
{
	struct splits p = {.one = server(ONE), .two = server(TWO), .one6 = server(ONE6)};

	p.plan.services = sl_pmap_copy(&scene_plan.services);
	test_connected(s, &p);
	test_unconnected(s, &p);
	test_weights(s, &p);
	test_changes(s, &p);
	test_refused(s, &p, has_set_retval(s) ? -ECONNREFUSED : -EPERM);
	test_several(s, &p);
	test_agent_gone(s, &p);
	test_maps(s);
	sl_pmap_deinit(&p.plan.services);
	sl_pmap_deinit(&p.plan.splits);
	sock_close(&p.one);
	sock_close(&p.two);
	sock_close(&p.one6);
}
