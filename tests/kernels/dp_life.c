/* SPDX-License-Identifier: Apache-2.0 */
/* Stop, start, take over, replace, run out of room, be refused. */
#include "scene.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/alloc.h"
#include "base/log.h"

static int n_attached(const char *cgroup, enum bpf_attach_type type)
{
	int fd = open(cgroup, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	__u32 ids[16], n = 16;
	int r = bpf_prog_query(fd, type, 0, NULL, ids, &n);

	sock_close(&fd);
	return r ? r : (int)n;
}

/* The kernel detaches behind our back, some time after the last descriptor or pin of a link has
 * gone. */
static bool becomes_detached(const char *cgroup)
{
	static const enum bpf_attach_type types[] = {
		BPF_CGROUP_INET4_CONNECT,     BPF_CGROUP_INET6_CONNECT,
		BPF_CGROUP_SOCK_OPS,	      BPF_CGROUP_INET4_GETPEERNAME,
		BPF_CGROUP_INET6_GETPEERNAME, BPF_CGROUP_INET4_GETSOCKNAME,
		BPF_CGROUP_INET6_GETSOCKNAME,
	};

	for (int tries = 0; tries < 5000; tries++) {
		int n = 0;

		for (size_t i = 0; i < sizeof(types) / sizeof(*types); i++)
			n += n_attached(cgroup, types[i]) != 0;
		if (!n)
			return true;
		poll(NULL, 0, 1);
	}
	return false;
}

/* One program, when the one before it has gone. */
static bool becomes_single(const char *cgroup)
{
	for (int tries = 0; tries < 5000; tries++) {
		if (n_attached(cgroup, BPF_CGROUP_INET4_CONNECT) == 1)
			return true;
		poll(NULL, 0, 1);
	}
	return false;
}

static void test_restart(struct scene *s)
{
	int fd, old = sock(AF_INET, SOCK_STREAM), old_got, got;

	test_begin("agent stops and starts");
	check(!sock_connect(old, VIP), "a connection from before");
	old_got = expect_steered(s, old, s->agent4, VIP, POD4 ":0");
	s->dp = sl_datapath_close(s->dp, false);
	fd = sock(AF_INET, SOCK_STREAM);
	check(!sock_connect(fd, VIP) && sock_is(fd, true, VIP) && sock_pending(s->agent4),
	      "programs act on while the loader is away");
	got = sock_accept(s->agent4);
	sock_close(&got);
	sock_close(&fd);
	sock_close(&s->agent4);
	sock_close(&s->agent6);
	fd = sock(AF_INET, SOCK_STREAM);
	check(!sock_connect(fd, VIP), "without listeners the failure policy acts");
	got = sock_accept(s->backend);
	check(got >= 0, "at once");
	sock_close(&got);
	sock_close(&fd);

	scene_open(s);
	check(n_attached(s->bed.cgroup, BPF_CGROUP_INET4_CONNECT) == 1 &&
		      n_attached(s->bed.cgroup, BPF_CGROUP_SOCK_OPS) == 1,
	      "one program each, not two");
	check(sock_is(old, true, VIP) && sock_is(old, false, POD4 ":0") && sock_talk(old, old_got),
	      "the old connection lives and keeps its names");
	scene_listen(s);
	fd = sock(AF_INET, SOCK_STREAM);
	check(!sock_connect(fd, VIP), "services are still known, before any plan");
	got = expect_steered(s, fd, s->agent4, VIP, POD4 ":0");
	sock_close(&got);
	sock_close(&fd);
	sock_close(&old);
	sock_close(&old_got);
	check(!sl_datapath_apply(s->dp, &scene_plan, NULL, NULL), "the same plan again");
}

static void dump(const struct scene *s, struct sl_buf *out)
{
	*out = SL_BUF_INIT(0);
	if (sl_datapath_dump(s->dp, out) || sl_buf_append(out, "", 1))
		check(false, "dump");
}

#define TEN	  "ten-letter"
#define LONG_NAME TEN TEN TEN TEN TEN TEN TEN

static void test_plan(struct scene *s)
{
	struct sl_addr ends[] = {addr("10.50.0.7:1"), addr("10.50.0.8:2"), addr("10.50.0.9:3")};
	struct sl_plan_service one = {.vip = addr(VIP),
				      .name = SL_STR("ns/" LONG_NAME ":http"),
				      .endpoints = ends,
				      .n_endpoints = 3};
	struct sl_plan plan = {0};
	struct sl_buf text;
	int fd = sock(AF_INET, SOCK_STREAM);

	test_begin("plan changes");
	plan_set(&plan, &one, 1);
	check(!sl_datapath_retract(s->dp, &plan), "retract all but one");
	count_mark(s);
	check(!sock_connect(fd, HELD), "a retracted Service is none of ours");
	expect_reached(s, fd, s->held, HELD);
	check(!counted(s, SL_REASON_STEERED), "not steered");
	sock_close(&fd);
	check(!sl_datapath_apply(s->dp, &plan, NULL, NULL), "three endpoints");
	dump(s, &text);
	check(strstr(sl_buf_ptr(&text),
		     "service " VIP " name=\"ns/" TEN TEN TEN TEN TEN TEN "\" ") &&
		      !strstr(sl_buf_ptr(&text), "10.96.0.2") &&
		      strstr(sl_buf_ptr(&text), "endpoint 10.50.0.7:1\n") &&
		      strstr(sl_buf_ptr(&text), "endpoint 10.50.0.9:3\n"),
	      "dump shows them");
	sl_buf_deinit(&text);
	one.n_endpoints = 1;
	plan_set(&plan, &one, 1);
	check(!sl_datapath_apply(s->dp, &plan, NULL, NULL), "one endpoint");
	plan_set(&plan, NULL, 0);
	s->dp = sl_datapath_close(s->dp, false);
	scene_open(s);
	dump(s, &text);
	check(strstr(sl_buf_ptr(&text), "endpoints=1\n") &&
		      !strstr(sl_buf_ptr(&text), "10.50.0.8") &&
		      strstr(sl_buf_ptr(&text), "\nnetns ") &&
		      strstr(sl_buf_ptr(&text), "\naddress netns="),
	      "what was surplus is gone, also for the next agent");
	sl_buf_deinit(&text);
	check(!sl_datapath_netns_prune(s->dp, NULL, 0), "prune namespaces");
	dump(s, &text);
	check(!strstr(sl_buf_ptr(&text), "\nnetns ") && !strstr(sl_buf_ptr(&text), "\naddress "),
	      "none left");
	sl_buf_deinit(&text);
	check(!sl_datapath_retract(s->dp, NULL), "retract all");
	check(!sl_datapath_apply(s->dp, &scene_plan, NULL, NULL), "and everything back");
	sock_close(&s->agent4);
	sock_close(&s->agent6);
	scene_listen(s);
}

struct failures {
	int n, last_error;
	struct sl_addr last;
};

static void note(void *arg, const struct sl_plan_service *service, int error)
{
	struct failures *f = arg;

	f->n++;
	f->last = service->vip;
	f->last_error = error;
}

/* Behind the datapath's back: writes another port into the endpoints with this address. */
static bool endpoints_forge(const char *pins, struct sl_addr a, uint16_t port)
{
	struct sl_ep_key keys[8], *from = NULL;
	struct sl_ep_val ep;
	char path[400];
	int fd, n = 0, n_forged = 0;

	snprintf(path, sizeof(path), "%s/sl_ep", pins);
	fd = bpf_obj_get(path);
	while (fd >= 0 && n < 8 && !bpf_map_get_next_key(fd, from, &keys[n]))
		from = &keys[n++];
	for (int i = 0; i < n; i++) {
		if (bpf_map_lookup_elem(fd, &keys[i], &ep) || memcmp(ep.addr, a.ip, 16) != 0)
			continue;
		ep.port = port;
		n_forged += !bpf_map_update_elem(fd, &keys[i], &ep, BPF_EXIST);
	}
	sock_close(&fd);
	return n_forged > 0;
}

static void test_full(struct scene *s)
{
	struct sl_datapath_opts opts = s->opts;
	struct sl_datapath *dp = NULL;
	struct failures f = {0};
	char cgroup[300], pins[300], err[300] = "";
	struct sl_addr ends[] = {addr("10.50.0.7:1"), addr("10.50.0.8:2"), addr("10.50.0.9:3")};
	struct sl_plan_service three[] = {
		{.vip = addr("10.1.0.1:1"), .endpoints = ends, .n_endpoints = 3},
		{.vip = addr("10.1.0.2:1"), .endpoints = ends, .n_endpoints = 1},
		{.vip = addr("10.1.0.3:1"), .endpoints = ends, .n_endpoints = 1},
	};
	struct sl_plan plan = {0}, two = {0};
	struct sl_netns_entry e = {.port4 = 1};
	struct sl_buf text = SL_BUF_INIT(0);

	test_begin("maps full");
	bed_cgroup(&s->bed, "full", cgroup);
	snprintf(pins, sizeof(pins), "%s/full", s->bed.bpffs);
	opts.cgroup_path = cgroup;
	opts.bpffs_dir = pins;
	opts.max_services = 2;
	opts.max_endpoints = 4;
	opts.max_netns = 1;
	opts.max_addrs = 1;
	check(!sl_datapath_open(&opts, &dp, err, sizeof(err)), "open with small maps: %s", err);
	if (!dp)
		return;
	plan_set(&plan, three, 3);
	plan_set(&two, three + 1, 2);
	check(sl_datapath_apply(dp, &plan, note, &f) == -ENOSPC, "apply says so");
	check(f.n == 1 && sl_addr_eq(&f.last, &three[2].vip) && f.last_error == -ENOSPC,
	      "names the service");
	check(!sl_datapath_dump(dp, &text) && !sl_buf_append(&text, "", 1) &&
		      strstr(sl_buf_ptr(&text), "service 10.1.0.1:1 ") &&
		      strstr(sl_buf_ptr(&text), "service 10.1.0.2:1 ") &&
		      !strstr(sl_buf_ptr(&text), "10.1.0.3"),
	      "the others are there");
	sl_buf_deinit(&text);
	check(!sl_datapath_retract(dp, &two) && !sl_datapath_apply(dp, &two, note, &f),
	      "there is room again");
	three[2].n_endpoints = 3;
	three[1].n_endpoints = 2;
	plan_set(&two, three + 1, 2);
	f = (struct failures){0};
	check(sl_datapath_apply(dp, &two, note, &f) == -ENOSPC && f.n == 1 &&
		      sl_addr_eq(&f.last, &three[2].vip),
	      "endpoints full");
	text = SL_BUF_INIT(0);
	check(!sl_datapath_dump(dp, &text) && !sl_buf_append(&text, "", 1) &&
		      strstr(sl_buf_ptr(&text), "service 10.1.0.3:1 "),
	      "the service is there with the endpoints that fit");
	sl_buf_deinit(&text);
	check(endpoints_forge(pins, addr("10.50.0.7:1"), 99) &&
		      sl_datapath_apply(dp, &two, note, &f) == -ENOSPC && f.n == 2,
	      "the same again says so again");
	text = SL_BUF_INIT(0);
	check(!sl_datapath_dump(dp, &text) && !sl_buf_append(&text, "", 1) &&
		      !strstr(sl_buf_ptr(&text), "endpoint 10.50.0.7:1\n"),
	      "but does not write again what fits");
	sl_buf_deinit(&text);
	three[2].n_endpoints = 1;
	plan_set(&two, three + 1, 2);
	check(!sl_datapath_apply(dp, &two, note, &f), "fewer endpoints fit");
	check(!sl_datapath_retract(dp, NULL), "retract all");
	plan_set(&plan, NULL, 0);
	plan_set(&two, NULL, 0);
	check(!sl_datapath_netns_set(dp, 1, &e) && sl_datapath_netns_set(dp, 2, &e) == -ENOSPC &&
		      !sl_datapath_netns_set(dp, 1, &e),
	      "namespaces full");
	check(!sl_datapath_addr_set(dp, 1, ends) &&
		      sl_datapath_addr_set(dp, 1, ends + 1) == -ENOSPC,
	      "addresses full");
	dp = sl_datapath_close(dp, false);
	opts.max_services = 3;
	check(!sl_datapath_open(&opts, &dp, err, sizeof(err)), "pinned maps keep their size: %s",
	      err);
	dp = sl_datapath_close(dp, true);
	check(access(pins, F_OK) < 0 && becomes_detached(cgroup), "detached, nothing left");
}

static bool forge_version(const char *pins, uint32_t version)
{
	char path[400];
	struct sl_conf conf;
	__u32 zero = 0;
	int fd;
	bool good;

	snprintf(path, sizeof(path), "%s/sl_conf", pins);
	fd = bpf_obj_get(path);
	good = fd >= 0 && !bpf_map_lookup_elem(fd, &zero, &conf);
	conf.abi_version = version;
	good = good && !bpf_map_update_elem(fd, &zero, &conf, BPF_ANY);
	sock_close(&fd);
	return good;
}

static void test_mismatch(struct scene *s)
{
	struct sl_datapath_opts opts = s->opts;
	struct sl_datapath *dp = NULL;
	char cgroup[300], pins[300], conf[400], err[300] = "";
	struct sl_buf text = SL_BUF_INIT(0);

	test_begin("pins of another version");
	bed_cgroup(&s->bed, "mismatch", cgroup);
	snprintf(pins, sizeof(pins), "%s/mismatch", s->bed.bpffs);
	opts.cgroup_path = cgroup;
	opts.bpffs_dir = pins;
	check(!sl_datapath_open(&opts, &dp, err, sizeof(err)), "open: %s", err);
	check(!sl_datapath_apply(dp, &scene_plan, NULL, NULL), "apply");
	dp = sl_datapath_close(dp, false);
	check(forge_version(pins, SL_ABI_VERSION + 1), "pins made to say another version");
	check(!sl_datapath_open(&opts, &dp, err, sizeof(err)), "open all the same: %s", err);
	check(!sl_datapath_dump(dp, &text) && !sl_buf_append(&text, "", 1) &&
		      !strstr(sl_buf_ptr(&text), "service "),
	      "with maps of its own");
	sl_buf_deinit(&text);
	check(becomes_single(cgroup), "the old programs are gone");
	dp = sl_datapath_close(dp, false);

	snprintf(conf, sizeof(conf), "%s/sl_conf", pins);
	check(!unlink(conf), "a removal that was interrupted");
	check(!sl_datapath_open(&opts, &dp, err, sizeof(err)), "open: %s", err);
	check(becomes_single(cgroup), "one program");
	dp = sl_datapath_close(dp, false);
	check(!sl_datapath_remove(pins) && access(pins, F_OK) < 0 && becomes_detached(cgroup),
	      "removed without loading");
	check(!sl_datapath_remove(pins), "removing nothing is no error");
}

/* A build that knows more reasons than the one before. */
static void test_more_reasons(struct scene *s)
{
	struct sl_datapath_opts opts = s->opts;
	struct sl_datapath *dp = NULL;
	char cgroup[300], pins[300], path[400], other[400], err[300] = "";
	uint64_t stats[SL_REASON_MAX];
	struct sl_buf text = SL_BUF_INIT(0);
	int map;

	test_begin("counters of an older build");
	bed_cgroup(&s->bed, "reasons", cgroup);
	snprintf(pins, sizeof(pins), "%s/reasons", s->bed.bpffs);
	snprintf(path, sizeof(path), "%s/sl_stat", pins);
	snprintf(other, sizeof(other), "%s/theirs", pins);
	opts.cgroup_path = cgroup;
	opts.bpffs_dir = pins;
	check(!sl_datapath_open(&opts, &dp, err, sizeof(err)), "open: %s", err);
	check(!sl_datapath_apply(dp, &scene_plan, NULL, NULL), "apply");
	dp = sl_datapath_close(dp, false);
	map = bpf_map_create(BPF_MAP_TYPE_PERCPU_ARRAY, "sl_stat", 4, 8, 1, NULL);
	check(map >= 0 && !unlink(path) && !bpf_obj_pin(map, path), "a map with one counter");
	check(!sl_datapath_open(&opts, &dp, err, sizeof(err)), "open: %s", err);
	check(!sl_datapath_stats(dp, stats) && !sl_datapath_dump(dp, &text) &&
		      !sl_buf_append(&text, "", 1) && strstr(sl_buf_ptr(&text), "service " VIP " "),
	      "counters start anew, services stay");
	sl_buf_deinit(&text);
	check(!bpf_obj_pin(map, other), "somebody pins something there");
	sock_close(&map);
	dp = sl_datapath_close(dp, true);
	check(access(path, F_OK) < 0 && !access(other, F_OK) && becomes_detached(cgroup),
	      "detach takes what is ours, and only that");
	check(!unlink(other) && !sl_datapath_remove(pins) && access(pins, F_OK) < 0,
	      "the folder goes when it is empty");
}

static void test_second(struct scene *s)
{
	struct sl_datapath *dp = NULL;
	char err[300] = "";
	int fd = sock(AF_INET, SOCK_STREAM), got;

	test_begin("two agents on one folder");
	check(sl_datapath_open(&s->opts, &dp, err, sizeof(err)) == -EBUSY && !dp &&
		      strstr(err, "another sluiced uses"),
	      "%s", err);
	check(sl_datapath_remove(s->bed.pins) == -EBUSY, "nor can it be taken away");
	check(n_attached(s->bed.cgroup, BPF_CGROUP_INET4_CONNECT) == 1 && !sock_connect(fd, VIP),
	      "the first is not disturbed");
	got = expect_steered(s, fd, s->agent4, VIP, POD4 ":0");
	sock_close(&got);
	sock_close(&fd);
}

static void test_other_cgroup(struct scene *s)
{
	struct sl_datapath_opts opts = s->opts;
	struct sl_datapath *dp = NULL;
	char cgroup[300], pins[300], err[300] = "";

	test_begin("another cgroup than before");
	bed_cgroup(&s->bed, "gone", cgroup);
	snprintf(pins, sizeof(pins), "%s/gone", s->bed.bpffs);
	opts.cgroup_path = cgroup;
	opts.bpffs_dir = pins;
	check(!sl_datapath_open(&opts, &dp, err, sizeof(err)), "open: %s", err);
	dp = sl_datapath_close(dp, false);
	check(!rmdir(cgroup) && !mkdir(cgroup, 0755), "the cgroup is removed and made anew");
	check(!sl_datapath_open(&opts, &dp, err, sizeof(err)), "open: %s", err);
	check(n_attached(cgroup, BPF_CGROUP_INET4_CONNECT) == 1, "attached to the new one");
	dp = sl_datapath_close(dp, true);
}

/* Everything that an agent does to the maps, until the first failure. */
static int walk_through(struct sl_datapath *dp, const struct sl_plan *plan)
{
	struct sl_netns_entry e = {.port4 = 1};
	uint64_t stats[SL_REASON_MAX], cookie = 7;
	struct sl_buf text = SL_BUF_INIT(0);
	struct sl_addr a = addr("10.50.0.7:0");
	int r = sl_datapath_apply(dp, plan, NULL, NULL);

	if (!r)
		r = sl_datapath_netns_set(dp, cookie, &e);
	if (!r)
		r = sl_datapath_addr_set(dp, cookie, &a);
	if (!r)
		r = sl_datapath_stats(dp, stats);
	if (!r)
		r = sl_datapath_dump(dp, &text);
	if (!r)
		r = sl_datapath_netns_del(dp, cookie);
	if (!r)
		r = sl_datapath_netns_prune(dp, NULL, 0);
	if (!r)
		r = sl_datapath_retract(dp, NULL);
	sl_buf_deinit(&text);
	return r;
}

static void test_out_of_memory(struct scene *s)
{
	struct sl_datapath_opts opts = s->opts;
	struct sl_datapath *dp = NULL;
	char cgroup[300], pins[300], err[300] = "";
	bool clean = true, named = true;
	struct sl_plan plan = {.services = sl_pmap_copy(&scene_plan.services)};
	int n, r = -ENOMEM;

	test_begin("each allocation fails once");
	split_add(&plan, "10.96.0.53:53", 1, BACKEND, 1, NULL);
	sl_log_level = SL_LOG_ERROR; /* it would complain about each */
	bed_cgroup(&s->bed, "errors", cgroup);
	snprintf(pins, sizeof(pins), "%s/errors", s->bed.bpffs);
	opts.cgroup_path = cgroup;
	opts.bpffs_dir = pins;
	for (n = 0; r == -ENOMEM && n < 200; n++) {
		err[0] = '\0';
		sl_alloc_fail_after(n);
		r = sl_datapath_open(&opts, &dp, err, sizeof(err));
		sl_alloc_fail_after(-1);
		if (r)
			named = named && err[0];
		if (r && !sl_datapath_remove(pins))
			clean = clean && becomes_detached(cgroup);
	}
	check(!r && n > 5, "open succeeds after %d attempts", n);
	check(clean && named, "each failure was told and left nothing attached");
	r = -ENOMEM;
	for (n = 0; dp && r == -ENOMEM && n < 200; n++) {
		sl_alloc_fail_after(n);
		r = walk_through(dp, &plan);
		sl_alloc_fail_after(-1);
	}
	check(!r && n > 5, "the rest succeeds after %d attempts", n);
	sl_pmap_deinit(&plan.services);
	sl_pmap_deinit(&plan.splits);
	dp = sl_datapath_close(dp, true);
	sl_log_level = SL_LOG_WARN;
}

static int open_as_nobody(const struct sl_datapath_opts *opts, char *err, size_t err_len)
{
	struct sl_datapath *dp = NULL;
	int p[2], status = 0, r = 0;
	pid_t pid;

	if (pipe(p) < 0)
		return -errno;
	pid = fork();
	if (!pid) {
		if (setgid(65534) || setuid(65534))
			_exit(1);
		r = sl_datapath_open(opts, &dp, err, err_len);
		if (write(p[1], err, err_len) != (ssize_t)err_len)
			_exit(1);
		_exit(r == -EPERM || r == -EACCES ? 2 : 3);
	}
	close(p[1]);
	if (read(p[0], err, err_len) <= 0)
		err[0] = '\0';
	close(p[0]);
	waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void test_refused(struct scene *s)
{
	struct sl_datapath_opts opts = s->opts;
	struct sl_datapath *dp = NULL;
	char missing[300], err[300] = "";

	test_begin("errors name the remedy");
	snprintf(missing, sizeof(missing), "%.250s/missing", s->bed.cgroup);
	opts.cgroup_path = missing;
	check(sl_datapath_open(&opts, &dp, err, sizeof(err)) == -ENOENT && strstr(err, "--cgroup"),
	      "%s", err);
	opts.cgroup_path = "/tmp";
	check(sl_datapath_open(&opts, &dp, err, sizeof(err)) == -EINVAL && strstr(err, "cgroup v2"),
	      "%s", err);
	opts.cgroup_path = NULL;
	check(sl_datapath_open(&opts, &dp, err, sizeof(err)) == -EINVAL && strstr(err, "--cgroup"),
	      "%s", err);
	opts = s->opts;
	opts.bpffs_dir = "/tmp/sluice-pins";
	check(sl_datapath_open(&opts, &dp, err, sizeof(err)) == -EINVAL &&
		      strstr(err, "mount -t bpf"),
	      "%s", err);
	opts.bpffs_dir = "relative";
	check(sl_datapath_open(&opts, &dp, err, sizeof(err)) == -EINVAL && strstr(err, "absolute"),
	      "%s", err);
	check(!dp, "nothing opened");
	opts = s->opts;
	check(open_as_nobody(&opts, err, sizeof(err)) == 2, "not root: %s", err);
}

static void test_detach(struct scene *s)
{
	int fd = sock(AF_INET, SOCK_STREAM);

	test_begin("detach");
	s->dp = sl_datapath_close(s->dp, true);
	check(access(s->bed.pins, F_OK) < 0, "no pins left");
	check(becomes_detached(s->bed.cgroup), "no programs left");
	check(!sock_connect(fd, HELD), "connections go as without us");
	expect_reached(s, fd, s->held, HELD);
	sock_close(&fd);
}

void test_life(struct scene *s)
{
	test_restart(s);
	test_plan(s);
	test_full(s);
	test_mismatch(s);
	test_more_reasons(s);
	test_second(s);
	test_other_cgroup(s);
	test_out_of_memory(s);
	test_refused(s);
	test_detach(s);
}
