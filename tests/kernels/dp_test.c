/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The real programs and the real loader against real sockets, as root. Every fact about the kernel
 * that the datapath leans on is asked here, so that a kernel that differs says so by name. TAP.
 */
#include "scene.h"

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/log.h"
#include "datapath/probe.h"

static struct sl_addr backend[1], backend6[1];
struct sl_plan scene_plan;

void plan_set(struct sl_plan *plan, const struct sl_plan_service *services, uint32_t n)
{
	sl_pmap_deinit(&plan->services);
	for (uint32_t i = 0; i < n; i++) {
		struct sl_plan_service *s;
		int r = sl_plan_service_new(&services[i], &s);

		if (!r)
			r = sl_pmap_put(&plan->services, SL_KEY(&s->vip), &s->part);
		if (r) {
			printf("Bail out! out of memory\n");
			exit(99);
		}
		sl_part_unref(&s->part); /* the map has its own */
	}
}

void split_add_of(struct sl_plan *plan, uint16_t protocol, const char *vip, uint32_t weight_a,
		  const char *a, uint32_t weight_b, const char *b)
{
	struct sl_addr endpoints[2];
	struct sl_plan_share shares[] = {{.weight = weight_a, .n_endpoints = a ? 1 : 0},
					 {.weight = weight_b, .n_endpoints = b ? 1 : 0}};
	struct sl_plan_split split = {.at = {.vip = addr(vip), .protocol = protocol},
				      .name = sl_str_from(vip),
				      .shares = shares,
				      .n_shares = 2,
				      .endpoints = endpoints};
	struct sl_plan_split *s;

	if (a)
		endpoints[split.n_endpoints++] = addr(a);
	if (b)
		endpoints[split.n_endpoints++] = addr(b);
	if (sl_plan_split_new(&split, &s) || sl_pmap_put(&plan->splits, SL_KEY(&s->at), &s->part)) {
		printf("Bail out! out of memory\n");
		exit(99);
	}
	sl_part_unref(&s->part); /* the map has its own */
}

void split_add(struct sl_plan *plan, const char *vip, uint32_t weight_a, const char *a,
	       uint32_t weight_b, const char *b)
{
	split_add_of(plan, IPPROTO_UDP, vip, weight_a, a, weight_b, b);
}

static struct sl_plan_service service(const char *vip, enum sl_failure_policy policy,
				      const struct sl_addr *endpoints)
{
	return (struct sl_plan_service){.vip = addr(vip),
					.policy = policy,
					.name = sl_str_from(vip),
					.endpoints = endpoints,
					.n_endpoints = endpoints ? 1 : 0};
}

static void plan_init(void)
{
	struct sl_plan_service services[8];

	backend[0] = addr(BACKEND);
	backend6[0] = addr(BACKEND6);
	services[0] = service(VIP, SL_FAIL_DEFAULT, backend);
	services[1] = service(VIP_B, SL_FAIL_OPEN, backend);
	services[2] = service(VIP6, SL_FAIL_OPEN, backend6);
	services[3] = service(VIP_CLOSED, SL_FAIL_CLOSED, backend);
	services[4] = service(VIP_EMPTY, SL_FAIL_OPEN, NULL);
	services[5] = service(VIP6_EMPTY, SL_FAIL_OPEN, NULL);
	services[6] = service(HELD, SL_FAIL_OPEN, backend);
	services[7] = service("10.96.0.7:443", SL_FAIL_OPEN, backend);
	plan_set(&scene_plan, services, 8);
}

void scene_open(struct scene *s)
{
	char err[300] = "";
	int r = sl_datapath_open(&s->opts, &s->dp, err, sizeof(err));

	if (!r)
		return;
	printf("Bail out! open: %d %s\n", r, err);
	exit(99);
}

void scene_listen(struct scene *s)
{
	struct sl_netns_entry e = {.port4 = 15001,
				   .port6 = 15001,
				   .source4 = addr(POD4 ":0"),
				   .source6 = addr("[" POD6 "]:0")};
	struct sl_addr held = addr(HELD);

	s->agent4 = sock_listen("127.0.0.1:" PORT);
	s->agent6 = sock_listen("[::1]:" PORT);
	check(!sl_datapath_own(s->dp, s->agent4, SL_OWN_LISTENER) &&
		      !sl_datapath_own(s->dp, s->agent6, SL_OWN_LISTENER),
	      "listeners marked");
	check(!sl_datapath_netns_set(s->dp, s->bed.cookie, &e), "namespace published");
	check(!sl_datapath_addr_set(s->dp, s->bed.cookie, &e.source4) &&
		      !sl_datapath_addr_set(s->dp, s->bed.cookie, &e.source6) &&
		      !sl_datapath_addr_set(s->dp, s->bed.cookie, &held),
	      "addresses published");
	sl_datapath_heartbeat(s->dp);
}

void scene_init(struct scene *s)
{
	plan_init();
	bed_init(&s->bed);
	s->opts = (struct sl_datapath_opts){
		.cgroup_path = s->bed.cgroup,
		.bpffs_dir = s->bed.pins,
		.heartbeat_limit_ns = 600000000000ULL,
		.provider = SL_VIP_SELF,
	};
	s->backend = sock_listen(BACKEND);
	s->backend6 = sock_listen(BACKEND6);
	s->held = sock_listen(HELD);
	s->plain = sock_listen(HELD_PLAIN);
	test_begin("set up");
	scene_open(s);
	check(!sl_datapath_apply(s->dp, &scene_plan, NULL, NULL), "plan applied");
	scene_listen(s);
}

void scene_deinit(struct scene *s)
{
	s->dp = sl_datapath_close(s->dp, true);
	sock_close(&s->agent4);
	sock_close(&s->agent6);
	sock_close(&s->backend);
	sock_close(&s->backend6);
	sock_close(&s->held);
	sock_close(&s->plain);
}

void count_mark(struct scene *s)
{
	if (sl_datapath_stats(s->dp, s->before))
		check(false, "statistics can be read");
}

uint64_t counted(struct scene *s, enum sl_reason reason)
{
	uint64_t now[SL_REASON_MAX] = {0};

	if (sl_datapath_stats(s->dp, now))
		check(false, "statistics can be read");
	return now[reason] - s->before[reason];
}

int expect_steered(struct scene *s, int client, int listener, const char *vip, const char *local)
{
	struct sl_original o = {0};
	struct sl_addr want = addr(vip);
	int fd = sock_accept(listener);

	check(fd >= 0, "the agent accepts a connection to %s", vip);
	if (fd < 0)
		return -1;
	check(!sl_datapath_original(s->dp, fd, &o) && sl_addr_eq(&o.addr, &want),
	      "its original destination is %s", vip);
	check(o.cgroup_id == s->bed.cgroup_id, "the client's cgroup is known");
	check(o.netns == s->bed.cookie, "the client's namespace is known");
	check(sock_is(client, true, vip), "getpeername says %s", vip);
	if (local)
		check(sock_is(client, false, local), "getsockname says %s", local);
	check(sock_talk(client, fd), "bytes go both ways");
	return fd;
}

void expect_reached(struct scene *s, int client, int listener, const char *peer)
{
	int fd = sock_accept(listener);

	check(fd >= 0 && sock_talk(client, fd), "the connection came where it was to come");
	check(sock_is(client, true, peer), "getpeername says %s", peer);
	check(!sock_pending(s->agent4) && !sock_pending(s->agent6), "the agent got nothing");
	sock_close(&fd);
}

static void test_probes(const char *cgroup)
{
	struct sl_probe probes[SL_PROBE_MAX];
	size_t n = sl_probe_run(cgroup, probes);

	test_begin("probes");
	for (size_t i = 0; i < n; i++)
		check(probes[i].ok || !probes[i].required, "%s: %s", probes[i].name,
		      probes[i].message);
	check(sl_probe_passed(probes, n), "all required ones passed");
}

/* "dp_test check": the probes alone, also where nothing else works. "dp_test big [N]": N
 * connections at a time, by default 65,536. DP_DEBUG=1: libbpf's words. */
int main(int argc, char **argv)
{
	struct scene s = {.agent4 = -1, .agent6 = -1};

	sl_log_level = getenv("DP_DEBUG") ? SL_LOG_DEBUG : SL_LOG_WARN;
	if (argc > 1 && !strcmp(argv[1], "check")) {
		test_probes(NULL);
		return test_finish();
	}
	scene_init(&s);
	if (argc > 1 && !strcmp(argv[1], "big")) {
		test_big(&s, argc > 2 ? (int)strtol(argv[2], NULL, 10) : 65536);
		scene_deinit(&s);
		return test_finish();
	}
	test_probes(s.bed.cgroup);
	test_steering(&s);
	test_left_alone(&s);
	test_failure(&s);
	test_udp(&s);
	test_tcp(&s);
	test_short(&s);
	test_splice(&s);
	test_flows(&s);
	test_life(&s);
	scene_deinit(&s);
	return test_finish();
}
