/* SPDX-License-Identifier: Apache-2.0 */
/* What is on its way to listeners when an agent goes: kept for the one that takes over, forgotten
 * by one that starts. */
#include "scene.h"

#include <bpf/bpf.h>
#include <stdio.h>
#include <unistd.h>

static int flows_open(const char *pins)
{
	char path[400];

	snprintf(path, sizeof(path), "%s/sl_flow", pins);
	return bpf_obj_get(path);
}

/* A steered SYN whose listener went before it was accepted leaves this. */
static bool flow_forge(const char *pins)
{
	struct sl_flow_key key = {.netns = 1, .client_port = 1};
	struct sl_orig o = {0};
	int fd = flows_open(pins);
	bool good = fd >= 0 && !bpf_map_update_elem(fd, &key, &o, BPF_ANY);

	sock_close(&fd);
	return good;
}

static bool has_flow(const char *pins)
{
	struct sl_flow_key key = {.netns = 1, .client_port = 1};
	struct sl_orig o;
	int fd = flows_open(pins);
	bool has = fd >= 0 && !bpf_map_lookup_elem(fd, &key, &o);

	sock_close(&fd);
	return has;
}

void test_flows(struct scene *s)
{
	struct sl_datapath_opts beside = s->opts;
	struct sl_datapath *next = NULL;
	char err[300] = "";
	int lock;

	test_begin("connections on their way to the agent's listeners");
	check(flow_forge(s->bed.pins), "one that is not accepted");
	beside.beside = true;
	check(!sl_datapath_open(&beside, &next, err, sizeof(err)), "another agent beside: %s", err);
	sl_datapath_pause(s->dp);
	lock = dup(sl_datapath_lock_fd(s->dp));
	check(lock >= 0 && !sl_datapath_claim(next, lock, err, sizeof(err)) &&
		      !sl_datapath_attach(next, err, sizeof(err)),
	      "takes over: %s", err);
	check(has_flow(s->bed.pins), "and will accept it");
	(void)sl_datapath_close(s->dp, false);
	s->dp = sl_datapath_close(next, false);
	check(has_flow(s->bed.pins), "it stays behind an agent");
	scene_open(s);
	check(!has_flow(s->bed.pins), "one that starts alone forgets it");
	check(!sl_datapath_apply(s->dp, &scene_plan, NULL, NULL), "the same plan again");
}
