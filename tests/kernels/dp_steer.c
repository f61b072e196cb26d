/* SPDX-License-Identifier: Apache-2.0 */
/* What is steered, and how it looks to the application. */
#include "scene.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void steer(struct scene *s, int family, const char *bind_at, const char *vip, bool mapped,
		  const char *local)
{
	_Bool v6 = vip[0] == '[';
	int fd = sock(family, SOCK_STREAM), got, r;

	if (bind_at)
		check(!sock_bind(fd, bind_at), "bound to %s", bind_at);
	count_mark(s);
	r = mapped ? sock_connect_mapped(fd, vip) : sock_connect(fd, vip);
	check(!r, "connect to %s: %s", vip, strerror(-r));
	got = expect_steered(s, fd, v6 ? s->agent6 : s->agent4, vip, local);
	check(counted(s, SL_REASON_STEERED) == 1, "counted as steered");
	sock_close(&got);
	sock_close(&fd);
}

static void test_families(struct scene *s)
{
	test_begin("IPv4");
	steer(s, AF_INET, NULL, VIP, false, POD4 ":0");
	test_begin("IPv6");
	steer(s, AF_INET6, NULL, VIP6, false, "[" POD6 "]:0");
	test_begin("IPv4-mapped");
	steer(s, AF_INET6, NULL, VIP, true, POD4 ":0");
}

static void test_bound(struct scene *s)
{
	test_begin("bound to the pod's address");
	steer(s, AF_INET, POD4 ":0", VIP, false, POD4 ":0");
	test_begin("bound to the pod's address and a port");
	steer(s, AF_INET, POD4 ":41000", VIP, false, POD4 ":41000");
	test_begin("bound to the pod's IPv6 address");
	steer(s, AF_INET6, "[" POD6 "]:0", VIP6, false, "[" POD6 "]:0");
	test_begin("bound to the wildcard and a port");
	steer(s, AF_INET, "0.0.0.0:41001", VIP, false, POD4 ":41001");
	test_begin("bound to loopback");
	steer(s, AF_INET, "127.0.0.1:0", VIP, false, "127.0.0.1:0");
}

static void test_v6only(struct scene *s)
{
	int fd = sock(AF_INET6, SOCK_STREAM), one = 1, got;

	test_begin("IPV6_V6ONLY");
	setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
	check(!sock_connect(fd, VIP6), "connect to an IPv6 address");
	got = expect_steered(s, fd, s->agent6, VIP6, "[" POD6 "]:0");
	sock_close(&got);
	sock_close(&fd);
	fd = sock(AF_INET6, SOCK_STREAM);
	setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
	check(sock_connect_mapped(fd, VIP) == -ENETUNREACH,
	      "a mapped address stays unreachable, as without us");
	check(!sock_pending(s->agent4), "and the agent hears nothing");
	sock_close(&fd);
}

static void test_nonblocking(struct scene *s)
{
	int fd = sock(AF_INET, SOCK_STREAM | SOCK_NONBLOCK), got, e = -1;
	struct pollfd p = {.fd = fd, .events = POLLOUT};
	socklen_t len = sizeof(e);

	test_begin("non-blocking");
	check(sock_connect(fd, VIP) == -EINPROGRESS, "connect goes on in the background");
	check(poll(&p, 1, 5000) == 1 && !getsockopt(fd, SOL_SOCKET, SO_ERROR, &e, &len) && !e,
	      "and succeeds");
	check(sock_connect(fd, VIP) == 0 || errno == EISCONN, "asking again does no harm");
	got = expect_steered(s, fd, s->agent4, VIP, POD4 ":0");
	sock_close(&got);
	sock_close(&fd);
}

static bool set_fastopen(const char *value)
{
	int fd = open("/proc/sys/net/ipv4/tcp_fastopen", O_WRONLY | O_CLOEXEC);
	bool good = fd >= 0 && write(fd, value, strlen(value)) == (ssize_t)strlen(value);

	sock_close(&fd);
	return good;
}

static void fastopen_once(struct scene *s)
{
	int fd = sock(AF_INET, SOCK_STREAM), one = 1, got;
	char c = 0;

	check(!setsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, &one, sizeof(one)), "switched on");
	check(!sock_connect(fd, VIP), "connect");
	check(send(fd, "x", 1, MSG_NOSIGNAL) == 1, "first byte");
	got = sock_accept(s->agent4);
	check(got >= 0 && recv(got, &c, 1, 0) == 1 && c == 'x', "the byte arrives");
	if (got >= 0) {
		struct sl_original o = {0};
		struct sl_addr want = addr(VIP);

		check(!sl_datapath_original(s->dp, got, &o) && sl_addr_eq(&o.addr, &want),
		      "with its original destination");
		check(sock_talk(fd, got), "bytes go both ways");
	}
	check(sock_is(fd, true, VIP), "getpeername");
	sock_close(&got);
	sock_close(&fd);
}

static void test_fastopen(struct scene *s)
{
	test_begin("TCP_FASTOPEN_CONNECT");
	fastopen_once(s);
	test_begin("TCP_FASTOPEN_CONNECT, second time");
	fastopen_once(s);
	/* Data in the SYN, without a cookie, on every listener: the agent's side is established
	 * before the client's. */
	test_begin("TCP Fast Open with data in the SYN");
	check(set_fastopen("1539"), "accepted without cookies");
	fastopen_once(s);
	check(set_fastopen("1"), "back to the default");
}

static void test_reconnect(struct scene *s)
{
	struct sockaddr none = {.sa_family = AF_UNSPEC};
	int fd = sock(AF_INET, SOCK_STREAM), got;

	test_begin("AF_UNSPEC, then elsewhere");
	check(!sock_connect(fd, VIP), "connect");
	got = expect_steered(s, fd, s->agent4, VIP, POD4 ":0");
	sock_close(&got);
	check(!connect(fd, &none, sizeof(none)), "dissolved");
	check(!sock_is(fd, true, VIP), "no peer any more");
	check(!sock_connect(fd, HELD_PLAIN), "connect to an address without rules");
	expect_reached(s, fd, s->plain, HELD_PLAIN);
	check(sock_is(fd, false, VIP_HELD ":0"), "getsockname says the real address");
	check(!connect(fd, &none, sizeof(none)), "dissolved again");
	check(!sock_connect(fd, VIP_B), "connect to another Service");
	got = expect_steered(s, fd, s->agent4, VIP_B, POD4 ":0");
	sock_close(&got);
	check(!connect(fd, &none, sizeof(none)) && !sock_bind(fd, "127.0.0.1:0") && !listen(fd, 1),
	      "dissolved, bound to loopback, made a listener");
	check(sock_is(fd, false, "127.0.0.1:0"), "getsockname says loopback then");
	sock_close(&fd);

	test_begin("to the listener's address after a steered connection");
	fd = sock(AF_INET, SOCK_STREAM);
	check(!sock_connect(fd, VIP), "connect");
	got = expect_steered(s, fd, s->agent4, VIP, NULL);
	sock_close(&got);
	check(!connect(fd, &none, sizeof(none)) && !sock_connect(fd, "127.0.0.1:" PORT),
	      "the same socket calls the listener itself");
	check(sock_is(fd, true, "127.0.0.1:" PORT), "getpeername does not say the Service");
	got = sock_accept(s->agent4);
	check(got >= 0, "accepted");
	sock_close(&got);
	sock_close(&fd);
}

static void test_direct_call(struct scene *s)
{
	struct sl_original o;
	int fd = sock(AF_INET, SOCK_STREAM), got;

	test_begin("somebody calls the listener itself");
	check(!sock_connect(fd, "127.0.0.1:" PORT), "connect");
	got = sock_accept(s->agent4);
	check(sl_datapath_original(s->dp, got, &o) == -ENOENT, "no original destination");
	check(sock_is(fd, true, "127.0.0.1:" PORT) && sock_is(fd, false, "127.0.0.1:0"),
	      "real names");
	sock_close(&got);
	sock_close(&fd);
}

/* A listener of a process outside the cgroup: no sockops for what it accepts. */
static void test_outside(struct scene *s)
{
	struct sl_original o = {0}, again = {0};
	struct sl_addr want = addr(VIP);
	int fd, got;

	test_begin("agent outside the cgroup");
	sock_close(&s->agent4);
	bed_move(&s->bed, false);
	s->agent4 = sock_listen("127.0.0.1:" PORT);
	bed_move(&s->bed, true);
	check(!sl_datapath_own(s->dp, s->agent4, SL_OWN_LISTENER), "listener marked");
	fd = sock(AF_INET, SOCK_STREAM);
	check(!sock_connect(fd, VIP), "connect");
	got = sock_accept(s->agent4);
	check(!sl_datapath_original(s->dp, got, &o) && sl_addr_eq(&o.addr, &want),
	      "original destination by the tuple");
	check(!sl_datapath_original(s->dp, got, &again) && sl_addr_eq(&again.addr, &want),
	      "and when asked again");
	check(o.cgroup_id == s->bed.cgroup_id, "the client's cgroup is known");
	sock_close(&got);
	sock_close(&fd);
	fd = sock(AF_INET, SOCK_STREAM);
	check(!sock_connect(fd, "127.0.0.1:" PORT), "a call to the listener itself");
	got = sock_accept(s->agent4);
	check(sl_datapath_original(s->dp, got, &o) == -ENOENT, "has none");
	sock_close(&got);
	sock_close(&fd);
	sock_close(&s->agent4);
	s->agent4 = sock_listen("127.0.0.1:" PORT);
	check(!sl_datapath_own(s->dp, s->agent4, SL_OWN_LISTENER), "back inside");
}

static void test_stale_flow(struct scene *s)
{
	struct sl_original o;
	int fd = sock(AF_INET, SOCK_STREAM), got, one = 1;
	struct linger reset = {.l_onoff = 1};

	/* Outside, nobody takes the flow out of the map; then another socket gets its tuple. */
	test_begin("left-over flow");
	sock_close(&s->agent4);
	bed_move(&s->bed, false);
	s->agent4 = sock_listen("127.0.0.1:" PORT);
	bed_move(&s->bed, true);
	check(!sl_datapath_own(s->dp, s->agent4, SL_OWN_LISTENER), "listener marked");
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	check(!sock_bind(fd, "0.0.0.0:41010") && !sock_connect(fd, VIP),
	      "steered, never asked for");
	got = sock_accept(s->agent4);
	sock_close(&fd);
	sock_close(&got);
	count_mark(s);
	fd = sock(AF_INET, SOCK_STREAM);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	check(!sock_bind(fd, "0.0.0.0:41010") && !sock_connect(fd, "127.0.0.1:" PORT),
	      "the same tuple, to the listener itself");
	check(counted(s, SL_REASON_FLOW_STALE) == 1, "the flow is removed");
	got = sock_accept(s->agent4);
	check(sl_datapath_original(s->dp, got, &o) == -ENOENT, "and not taken for this one's");
	sock_close(&got);
	sock_close(&fd);
	sock_close(&s->agent4);
	s->agent4 = sock_listen("127.0.0.1:" PORT);
	check(!sl_datapath_own(s->dp, s->agent4, SL_OWN_LISTENER), "back inside");
}

static void test_addresses(struct scene *s)
{
	struct sl_netns_entry e = {.port4 = 15002,
				   .port6 = 15001,
				   .n_addr4 = 3,
				   .source4 = addr(POD4 ":0"),
				   .source6 = addr("[" POD6 "]:0")};
	static const char *const at[] = {"127.0.0.1:15002", "127.0.0.2:15002", "127.0.0.3:15002"};
	int listeners[3], used[3] = {0}, n = 0;

	test_begin("several listener addresses");
	for (int i = 0; i < 3; i++) {
		listeners[i] = sock_listen(at[i]);
		check(!sl_datapath_own(s->dp, listeners[i], SL_OWN_LISTENER), "%s marked", at[i]);
	}
	check(!sl_datapath_netns_set(s->dp, s->bed.cookie, &e), "published");
	for (int i = 0; i < 60; i++) {
		int fd = sock(AF_INET, SOCK_STREAM), got;
		bool named = !sock_connect(fd, VIP) && sock_is(fd, true, VIP) &&
			     sock_is(fd, false, POD4 ":0");

		for (int k = 0; k < 3; k++) {
			struct sl_original o;

			if (!sock_pending(listeners[k]))
				continue;
			got = sock_accept(listeners[k]);
			used[k]++;
			n += named && !sl_datapath_original(s->dp, got, &o);
			sock_close(&got);
		}
		sock_close(&fd);
	}
	check(n == 60, "all 60 connections come with their destination (%d)", n);
	check(used[0] && used[1] && used[2], "all addresses are used: %d %d %d", used[0], used[1],
	      used[2]);
	for (int i = 0; i < 3; i++)
		sock_close(&listeners[i]);
	e.port4 = 15001;
	e.n_addr4 = 1;
	check(!sl_datapath_netns_set(s->dp, s->bed.cookie, &e), "back to one");
}

/* A socket belongs to the namespace it was made in, wherever its task has gone. */
static void test_elsewhere(struct scene *s)
{
	int fd = sock(AF_INET, SOCK_STREAM), fd6 = sock(AF_INET6, SOCK_STREAM), got;

	test_begin("task in another network namespace than its socket");
	bed_enter(s->bed.home);
	check(!sock_connect(fd, VIP) && !sock_connect(fd6, VIP6), "connect");
	bed_enter(s->bed.pod);
	got = expect_steered(s, fd, s->agent4, VIP, POD4 ":0");
	sock_close(&got);
	got = expect_steered(s, fd6, s->agent6, VIP6, "[" POD6 "]:0");
	sock_close(&got);
	sock_close(&fd);
	sock_close(&fd6);
}

void test_steering(struct scene *s)
{
	test_families(s);
	test_bound(s);
	test_v6only(s);
	test_nonblocking(s);
	test_fastopen(s);
	test_reconnect(s);
	test_direct_call(s);
	test_outside(s);
	test_stale_flow(s);
	test_addresses(s);
	test_elsewhere(s);
}
