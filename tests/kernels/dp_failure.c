/* SPDX-License-Identifier: Apache-2.0 */
/* No agent, a hanging one, a false one: the failure policy. */
#include "scene.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "datapath/probe.h"

struct heard {
	int n;
	struct sl_event last;
};

static void hear(void *arg, const struct sl_event *ev)
{
	struct heard *h = arg;

	h->n++;
	h->last = *ev;
}

bool has_set_retval(struct scene *s)
{
	struct sl_probe probes[SL_PROBE_MAX];
	size_t n = sl_probe_run(s->bed.cgroup, probes);

	for (size_t i = 0; i < n; i++)
		if (!strcmp(probes[i].name, "connect_set_retval"))
			return probes[i].ok;
	return false;
}

/* Whatever the reason: the four outcomes, with nobody else serving virtual addresses. */
static void expect_policy(struct scene *s, enum sl_reason reason, bool retval)
{
	int fd = sock(AF_INET, SOCK_STREAM), fd6 = sock(AF_INET6, SOCK_STREAM), r;

	count_mark(s);
	check(!sock_connect(fd, VIP), "open: connects");
	expect_reached(s, fd, s->backend, VIP);
	check(sock_is(fd, false, POD4 ":0"), "getsockname is the real one");
	check(!sock_connect(fd6, VIP6), "open, IPv6: connects");
	expect_reached(s, fd6, s->backend6, VIP6);
	sock_close(&fd);
	sock_close(&fd6);
	fd6 = sock(AF_INET6, SOCK_STREAM);
	check(!sock_connect_mapped(fd6, VIP), "open, mapped: connects");
	expect_reached(s, fd6, s->backend, VIP);
	check(counted(s, reason) == 3 && counted(s, SL_REASON_DIRECT) == 3, "counted as %s, direct",
	      sl_reason_name(reason));
	sock_close(&fd6);

	fd = sock(AF_INET, SOCK_STREAM);
	r = sock_connect(fd, VIP_CLOSED);
	check(r == -EPERM, "closed: EPERM (%s)", strerror(-r));
	sock_close(&fd);
	fd = sock(AF_INET, SOCK_STREAM);
	r = sock_connect(fd, VIP_EMPTY);
	check(r == (retval ? -ECONNREFUSED : -EPERM), "no endpoint: refused (%s)", strerror(-r));
	sock_close(&fd);
	fd6 = sock(AF_INET6, SOCK_STREAM);
	r = sock_connect(fd6, VIP6_EMPTY);
	check(r == (retval ? -ECONNREFUSED : -EPERM), "no endpoint, IPv6: refused (%s)",
	      strerror(-r));
	sock_close(&fd6);
	check(counted(s, reason) == 6 && counted(s, SL_REASON_CLOSED) == 1 &&
		      counted(s, SL_REASON_NO_ENDPOINT) == 2 && !counted(s, SL_REASON_STEERED),
	      "all counted");
}

static void test_no_listener(struct scene *s, bool retval)
{
	struct heard heard = {0};
	struct pollfd p = {.fd = sl_datapath_events_fd(s->dp), .events = POLLIN};
	struct sl_addr vip = addr(VIP);

	test_begin("the agent is gone");
	sock_close(&s->agent4);
	sock_close(&s->agent6);
	s->agent4 = sock_listen("127.0.0.1:1"); /* for expect_reached() to look at */
	s->agent6 = sock_listen("[::1]:1");
	expect_policy(s, SL_REASON_NO_LISTENER, retval);
	check(poll(&p, 1, 5000) == 1, "an event waits");
	check(sl_datapath_events_consume(s->dp, hear, &heard) >= 0, "consumed");
	/* The calls above take milliseconds, or on a crawling machine some seconds. */
	check(heard.n >= 1 && heard.n <= 3, "%d event for six calls", heard.n);
	check(heard.last.netns == s->bed.cookie && heard.last.cgroup_id == s->bed.cgroup_id &&
		      heard.last.reason == SL_REASON_NO_LISTENER,
	      "it tells where and why");
	check(!memcmp(heard.last.addr, vip.ip, 16) || heard.n > 1, "and who was called");
	check(heard.last.pid && heard.last.tid, "and by which process");
	sock_close(&s->agent4);
	sock_close(&s->agent6);
}

static void test_forged(struct scene *s, bool retval)
{
	test_begin("somebody else on the agent's port");
	s->agent4 = sock_listen("127.0.0.1:" PORT);
	s->agent6 = sock_listen("[::1]:" PORT);
	expect_policy(s, SL_REASON_FORGED, retval);
	/* An upstream mark is no listener's mark either. */
	check(!sl_datapath_own(s->dp, s->agent4, SL_OWN_UPSTREAM) &&
		      !sl_datapath_own(s->dp, s->agent6, SL_OWN_UPSTREAM),
	      "marked, as something else");
	expect_policy(s, SL_REASON_FORGED, retval);
	sock_close(&s->agent4);
	sock_close(&s->agent6);
}

static void test_stale(struct scene *s, bool retval)
{
	uint64_t limit = s->opts.heartbeat_limit_ns;

	test_begin("the agent hangs");
	scene_listen(s);
	s->dp = sl_datapath_close(s->dp, false);
	s->opts.heartbeat_limit_ns = 1; /* over at once */
	scene_open(s);
	expect_policy(s, SL_REASON_STALE, retval);
	check(!sock_pending(s->agent4), "its listener hears nothing, though it would accept");
	s->dp = sl_datapath_close(s->dp, false);
	s->opts.heartbeat_limit_ns = limit;
	scene_open(s);
	sl_datapath_heartbeat(s->dp);
}

static void test_no_netns(struct scene *s, bool retval)
{
	struct sl_netns_entry only6 = {.port6 = 15001};

	test_begin("namespace not prepared");
	check(!sl_datapath_netns_del(s->dp, s->bed.cookie), "taken out");
	check(!sl_datapath_netns_del(s->dp, s->bed.cookie), "taking out twice is no error");
	expect_policy(s, SL_REASON_NO_NETNS, retval);
	sock_close(&s->agent4);
	sock_close(&s->agent6);
	scene_listen(s);

	test_begin("no listener of one family");
	int fd = sock(AF_INET, SOCK_STREAM), fd6 = sock(AF_INET6, SOCK_STREAM);

	check(!sl_datapath_netns_set(s->dp, s->bed.cookie, &only6), "IPv6 only");
	count_mark(s);
	check(!sock_connect(fd, VIP), "connect");
	expect_reached(s, fd, s->backend, VIP);
	check(counted(s, SL_REASON_NO_FAMILY) == 1, "counted");
	check(!sock_connect(fd6, VIP6), "connect by IPv6");
	int got = expect_steered(s, fd6, s->agent6, VIP6, "[::1]:0");

	sock_close(&got);
	sock_close(&fd);
	sock_close(&fd6);
	sock_close(&s->agent4);
	sock_close(&s->agent6);
	scene_listen(s);
}

/* The same, where kube-proxy or its like serves the address. */
static void test_provider_other(struct scene *s)
{
	struct sl_netns_entry none = {0};
	int fd, r;

	test_begin("somebody else serves virtual addresses");
	s->dp = sl_datapath_close(s->dp, false);
	s->opts.provider = SL_VIP_OTHER;
	scene_open(s);
	check(!sl_datapath_apply(s->dp, &scene_plan, NULL, NULL), "plan applied");
	check(!sl_datapath_netns_set(s->dp, s->bed.cookie, &none), "no listeners published");
	count_mark(s);
	fd = sock(AF_INET, SOCK_STREAM);
	check(!sock_connect(fd, HELD), "open: connects");
	expect_reached(s, fd, s->held, HELD);
	check(sock_is(fd, false, VIP_HELD ":0"), "getsockname");
	check(counted(s, SL_REASON_OPEN) == 1 && counted(s, SL_REASON_NO_FAMILY) == 1,
	      "counted as left alone");
	sock_close(&fd);
	fd = sock(AF_INET, SOCK_STREAM);
	r = sock_connect(fd, VIP_CLOSED);
	check(r == -EPERM, "closed: EPERM (%s)", strerror(-r));
	sock_close(&fd);

	test_begin("failure policy closed by default");
	s->dp = sl_datapath_close(s->dp, false);
	s->opts.policy = SL_FAIL_CLOSED;
	scene_open(s);
	fd = sock(AF_INET, SOCK_STREAM);
	check(sock_connect(fd, VIP) == -EPERM, "a Service that says nothing is refused");
	sock_close(&fd);
	fd = sock(AF_INET, SOCK_STREAM);
	check(!sock_connect(fd, HELD), "one that says open is not");
	expect_reached(s, fd, s->held, HELD);
	sock_close(&fd);

	s->dp = sl_datapath_close(s->dp, false);
	s->opts.policy = SL_FAIL_DEFAULT;
	s->opts.provider = SL_VIP_SELF;
	scene_open(s);
	check(!sl_datapath_apply(s->dp, &scene_plan, NULL, NULL), "back");
	sock_close(&s->agent4);
	sock_close(&s->agent6);
	scene_listen(s);
}

void test_failure(struct scene *s)
{
	bool retval = has_set_retval(s);

	test_no_listener(s, retval);
	test_forged(s, retval);
	test_stale(s, retval);
	test_no_netns(s, retval);
	test_provider_other(s);
}
