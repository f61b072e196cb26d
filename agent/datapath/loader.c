/* SPDX-License-Identifier: Apache-2.0 */
#include "datapath/internal.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "datapath/probe.h"
#include "sluice.skel.h"

#define HEARTBEAT_LIMIT_NS (3 * SL_NS_PER_S)

/* Attached in this order: what a steered connection needs is there before the first one is steered.
 */
const char *const sl_dp_programs[SL_DP_LINKS] = {
	"sl_sockops",	"sl_peername4", "sl_peername6", "sl_sockname4",
	"sl_sockname6", "sl_recvmsg4",	"sl_recvmsg6",	"sl_connect4",
	"sl_connect6",	"sl_sendmsg4",	"sl_sendmsg6",
};

const char *const sl_dp_map_names[SL_DP_MAPS] = {
	[SL_DP_CONF] = "sl_conf",	  [SL_DP_SVC] = "sl_svc",	[SL_DP_EP] = "sl_ep",
	[SL_DP_NETNS] = "sl_netns",	  [SL_DP_ADDR] = "sl_addr",	[SL_DP_ORIG] = "sl_orig",
	[SL_DP_OWN] = "sl_own",		  [SL_DP_FLOW] = "sl_flow",	[SL_DP_STAT] = "sl_stat",
	[SL_DP_SEEN] = "sl_seen",	  [SL_DP_EVENTS] = "sl_events", [SL_DP_SPLIT] = "sl_split",
	[SL_DP_SPLIT_EP] = "sl_split_ep", [SL_DP_MEMBER] = "sl_member", [SL_DP_UDP] = "sl_udp",
};

static int print_libbpf(enum libbpf_print_level level, const char *fmt, va_list ap)
{
	char line[1024];
	int n;

	if (level == LIBBPF_DEBUG || sl_log_level < SL_LOG_DEBUG)
		return 0;
	n = vsnprintf(line, sizeof(line), fmt, ap);
	if (n > 0 && line[strlen(line) - 1] == '\n')
		line[strlen(line) - 1] = '\0';
	sl_debug("libbpf: %s", line);
	return n;
}

/* Returns a descriptor of the cgroup, *ret_id its id, or -errno. */
static int open_cgroup(const char *path, uint64_t *ret_id, char *err, size_t err_len)
{
	_cleanup_(sl_closep) int fd = -1;
	struct statfs fs;
	struct stat st;

	if (!path)
		return sl_dp_error(err, err_len, -EINVAL, "no cgroup given: use --cgroup");
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return sl_dp_error(
			err, err_len, -errno,
			"cannot open the cgroup %s: %s (create it, or choose another with "
			"--cgroup)",
			path, sl_strerror(-errno));
	if (fstatfs(fd, &fs) < 0 || fstat(fd, &st) < 0)
		return sl_dp_error(err, err_len, -errno, "cannot look at the cgroup %s: %s", path,
				   sl_strerror(-errno));
	if (fs.f_type != CGROUP2_SUPER_MAGIC)
		return sl_dp_error(err, err_len, -EINVAL,
				   "%s is not in a cgroup v2 hierarchy: programs attach only there "
				   "(look for cgroup2 in /proc/mounts and choose with --cgroup)",
				   path);
	*ret_id = st.st_ino;
	return sl_take_fd(&fd);
}

static void size_map(struct bpf_map *map, uint32_t wanted)
{
	if (wanted)
		(void)bpf_map__set_max_entries(map, wanted); /* fails only after load */
}

static void size_maps(struct sluice_bpf *skel, const struct sl_datapath_opts *o)
{
	size_map(skel->maps.sl_svc, o->max_services);
	size_map(skel->maps.sl_ep, o->max_endpoints);
	size_map(skel->maps.sl_split, o->max_services);
	size_map(skel->maps.sl_split_ep, o->max_endpoints);
	size_map(skel->maps.sl_member, o->max_endpoints);
	size_map(skel->maps.sl_netns, o->max_netns);
	size_map(skel->maps.sl_seen, o->max_netns);
	size_map(skel->maps.sl_addr, o->max_addrs);
	size_map(skel->maps.sl_flow, o->max_flows);
}

/* Sizes of these are the code's, not the operator's; their content may start anew. */
static bool is_replaceable(int i)
{
	return i == SL_DP_STAT || i == SL_DP_EVENTS;
}

/* Have the object use the map that is pinned under its name, if there is one. */
static int reuse_map(struct sl_datapath *dp, int i, struct bpf_map *map)
{
	_cleanup_(sl_freep) char *path = sl_dp_pin_path(dp->dir, "", sl_dp_map_names[i]);
	_cleanup_(sl_closep) int fd = -1;
	struct bpf_map_info have = {0};
	uint32_t len = sizeof(have);
	int r;

	if (!path)
		return -ENOMEM;
	fd = bpf_obj_get(path);
	if (fd == -ENOENT)
		return 0;
	if (fd < 0)
		return fd;
	r = bpf_obj_get_info_by_fd(fd, &have, &len);
	if (r)
		return r;
	if (have.max_entries != bpf_map__max_entries(map) ||
	    have.value_size != bpf_map__value_size(map)) {
		if (is_replaceable(i))
			return 0; /* ours takes its place: pin_maps() */
		sl_warn("pinned map keeps its size, ignoring the new one map=%s entries=%u "
			"wanted=%u",
			sl_dp_map_names[i], have.max_entries, bpf_map__max_entries(map));
		r = bpf_map__set_max_entries(map, have.max_entries);
	}
	return r ? r : bpf_map__reuse_fd(map, fd);
}

static int reuse_maps(struct sl_datapath *dp, char *err, size_t err_len)
{
	for (int i = 0; i < SL_DP_MAPS; i++) {
		int r = reuse_map(dp, i,
				  bpf_object__find_map_by_name(dp->skel->obj, sl_dp_map_names[i]));

		if (r)
			return sl_dp_error(err, err_len, r,
					   "cannot take over the pinned map %s/%s: %s", dp->dir,
					   sl_dp_map_names[i], sl_strerror(r));
	}
	return 0;
}

/* Why did the load fail? What the probes find missing says more than an errno. */
static int explain_load(int r, const char *cgroup_path, char *err, size_t err_len)
{
	struct sl_probe *probes;
	size_t n;

	if (r == -EPERM)
		return sl_dp_error(
			err, err_len, r,
			"the kernel does not let this process use BPF: run as root, or with "
			"CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON and CAP_SYS_ADMIN");
	if (r == -ENOSYS)
		return sl_dp_error(err, err_len, r,
				   "the kernel has no BPF: it needs CONFIG_BPF_SYSCALL and "
				   "CONFIG_CGROUP_BPF");
	probes = sl_new_n(struct sl_probe, SL_PROBE_MAX);
	n = probes ? sl_probe_run(cgroup_path, probes) : 0;
	for (size_t i = 0; i < n; i++) {
		if (probes[i].required && !probes[i].ok) {
			(void)sl_dp_error(err, err_len, r, "%s: %s", probes[i].name,
					  probes[i].message);
			free(probes);
			return r;
		}
	}
	free(probes);
	return sl_dp_error(err, err_len, r,
			   "the kernel refused the BPF programs: %s (--log-level=debug shows the "
			   "verifier's words)",
			   sl_strerror(r));
}

static int open_object(struct sl_datapath *dp, const struct sl_datapath_opts *opts, char *err,
		       size_t err_len)
{
	uint32_t version;
	int r;

	dp->skel = sluice_bpf__open();
	if (!dp->skel)
		return sl_dp_error(err, err_len, -errno, "cannot open the BPF object: %s",
				   sl_strerror(-errno));
	/* The helper lets the hook answer ECONNREFUSED; without it EPERM has to do. */
	dp->skel->rodata->sl_has_set_retval =
		libbpf_probe_bpf_helper(BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_FUNC_set_retval,
					NULL) == 1;
	size_maps(dp->skel, opts);
	r = sl_dp_pins_check(dp->dir, dp->skel, &version);
	if (r == -ESTALE && dp->beside) {
		sl_info("the agent that runs has maps of another version dir=\"%s\" abi=%u "
			"wanted=%u",
			dp->dir, version, SL_ABI_VERSION);
		dp->other_abi = true;
		return 0;
	}
	if (r == -ESTALE) {
		sl_warn("replacing the BPF programs and maps of another version dir=\"%s\" abi=%u "
			"wanted=%u",
			dp->dir, version, SL_ABI_VERSION);
		r = sl_dp_pins_remove(dp->dir);
	}
	if (r < 0)
		return sl_dp_error(err, err_len, r, "cannot use the pins in %s: %s", dp->dir,
				   sl_strerror(r));
	dp->took_over = r > 0;
	return dp->took_over ? reuse_maps(dp, err, err_len) : 0;
}

static int load_object(struct sl_datapath *dp, const char *cgroup_path, char *err, size_t err_len)
{
	struct rlimit unlimited = {RLIM_INFINITY, RLIM_INFINITY};
	int r;

	/* Kernels before 5.11 charge maps to it; where it cannot be raised it is not needed, or the
	 * load says so. */
	(void)setrlimit(RLIMIT_MEMLOCK, &unlimited);
	r = sluice_bpf__load(dp->skel);
	if (r)
		return explain_load(r, cgroup_path, err, err_len);
	for (int i = 0; i < SL_DP_MAPS; i++)
		dp->map[i] = bpf_object__find_map_fd_by_name(dp->skel->obj, sl_dp_map_names[i]);
	return 0;
}

static int configure(struct sl_datapath *dp, char *err, size_t err_len)
{
	void *p = dp->conf;

	if (!p)
		p = mmap(NULL, sizeof(struct sl_conf), PROT_READ | PROT_WRITE, MAP_SHARED,
			 dp->map[SL_DP_CONF], 0);
	if (p == MAP_FAILED)
		return sl_dp_error(err, err_len, -errno, "cannot map sl_conf: %s",
				   sl_strerror(-errno));
	dp->conf = p;
	dp->conf->policy = dp->policy == SL_FAIL_CLOSED ? SL_POLICY_CLOSED : SL_POLICY_OPEN;
	dp->conf->heartbeat_limit_ns =
		dp->heartbeat_limit_ns ? dp->heartbeat_limit_ns : HEARTBEAT_LIMIT_NS;
	dp->conf->abi_version = SL_ABI_VERSION;
	return 0;
}

static int lock_dir(struct sl_datapath *dp, char *err, size_t err_len)
{
	dp->lock = sl_dp_dir_lock(dp->dir, true);
	if (dp->lock == -EBUSY)
		return sl_dp_error(err, err_len, -EBUSY,
				   "another sluiced uses %s already (stop it, or choose another "
				   "folder with --bpffs)",
				   dp->dir);
	if (dp->lock < 0)
		return sl_dp_error(err, err_len, dp->lock, "cannot make and lock %s: %s", dp->dir,
				   sl_strerror(dp->lock));
	return 0;
}

static int load(struct sl_datapath *dp, const struct sl_datapath_opts *opts, char *err,
		size_t err_len)
{
	int r = open_object(dp, opts, err, err_len);

	if (!r)
		r = load_object(dp, opts->cgroup_path, err, err_len);
	if (r)
		return r;
	dp->ring = ring_buffer__new(dp->map[SL_DP_EVENTS], sl_dp_event, dp, NULL);
	return dp->ring ? 0
			: sl_dp_error(err, err_len, -errno, "cannot map the ring buffer: %s",
				      sl_strerror(-errno));
}

int sl_datapath_claim(struct sl_datapath *dp, int lock, char *err, size_t err_len)
{
	int r;

	if (lock >= 0) {
		sl_closep(&dp->lock);
		dp->lock = lock;
	}
	r = configure(dp, err, err_len);
	if (r)
		return r;
	sl_dp_services_free(dp);
	r = sl_dp_services_load(dp);
	if (!r)
		r = sl_dp_splits_load(dp);
	if (r)
		return sl_dp_error(err, err_len, r, "cannot read the pinned services: %s",
				   sl_strerror(r));
	dp->paused = false;
	return 0;
}

static int open_at(struct sl_datapath *dp, const struct sl_datapath_opts *opts, char *err,
		   size_t err_len)
{
	int r = sl_dp_bpffs_prepare(dp->dir, err, err_len);

	if (!r && !opts->beside)
		r = lock_dir(dp, err, err_len);
	if (!r)
		r = load(dp, opts, err, err_len);
	if (r || opts->beside)
		return r;
	r = sl_datapath_claim(dp, -1, err, err_len);
	if (r)
		return r;
	/* Alone: nobody is left who would accept them. What stays goes when its tuple is used. */
	(void)sl_dp_flows_clear(dp);
	return sl_datapath_attach(dp, err, err_len);
}

static struct sl_datapath *datapath_new(const struct sl_datapath_opts *opts)
{
	struct sl_datapath *dp = sl_new(struct sl_datapath);

	if (!dp)
		return NULL;
	dp->policy = opts->policy;
	dp->heartbeat_limit_ns = opts->heartbeat_limit_ns;
	dp->provider = opts->provider;
	dp->beside = opts->beside;
	dp->paused = true;
	dp->lock = -1;
	dp->cgroup_fd = -1;
	for (int i = 0; i < SL_DP_LINKS; i++)
		dp->link[i] = -1;
	dp->dir = sl_strdup(opts->bpffs_dir ? opts->bpffs_dir : SL_PIN_DIR);
	return dp->dir ? dp : sl_datapath_close(dp, false);
}

int sl_datapath_open(const struct sl_datapath_opts *opts, struct sl_datapath **ret, char *err,
		     size_t err_len)
{
	_cleanup_(sl_closep) int cgroup_fd = -1;
	struct sl_datapath *dp;
	uint64_t cgroup_id;
	int r;

	(void)libbpf_set_print(print_libbpf); /* the old one is not wanted back */
	cgroup_fd = open_cgroup(opts->cgroup_path, &cgroup_id, err, err_len);
	if (cgroup_fd < 0)
		return cgroup_fd;
	if (access("/sys/kernel/btf/vmlinux", R_OK) < 0)
		return sl_dp_error(
			err, err_len, -ENOTSUP,
			"the kernel does not describe its types: /sys/kernel/btf/vmlinux is "
			"missing (it needs CONFIG_DEBUG_INFO_BTF)");
	dp = datapath_new(opts);
	if (!dp)
		return sl_dp_error(err, err_len, -ENOMEM, "out of memory");
	dp->cgroup_fd = sl_take_fd(&cgroup_fd);
	dp->cgroup_id = cgroup_id;
	r = open_at(dp, opts, err, err_len);
	if (r) {
		if (dp->lock >= 0)
			sl_dp_unpin_fresh(dp);
		(void)sl_datapath_close(dp, false);
		return r;
	}
	*ret = dp;
	return 0;
}

void sl_datapath_pause(struct sl_datapath *dp)
{
	dp->paused = true;
}

bool sl_datapath_is_paused(const struct sl_datapath *dp)
{
	return dp->paused;
}

int sl_datapath_lock_fd(const struct sl_datapath *dp)
{
	return dp->lock;
}

int sl_datapath_try_lock(struct sl_datapath *dp)
{
	int fd = sl_dp_dir_lock(dp->dir, true);

	if (fd < 0)
		return fd;
	sl_closep(&dp->lock);
	dp->lock = fd;
	return 0;
}

bool sl_datapath_is_other_abi(const struct sl_datapath *dp)
{
	return dp->other_abi;
}

struct sl_datapath *sl_datapath_close(struct sl_datapath *dp, bool detach)
{
	int r;

	if (!dp)
		return NULL;
	if (detach && !dp->paused) {
		r = sl_dp_pins_remove(dp->dir);
		if (!r)
			r = sl_dp_dir_remove(dp->dir);
		if (r)
			sl_warn("cannot remove all pins, ignoring dir=\"%s\" error=\"%s\"", dp->dir,
				sl_strerror(r));
	}
	for (int i = 0; i < SL_DP_LINKS; i++)
		sl_closep(&dp->link[i]);
	ring_buffer__free(dp->ring);
	if (dp->conf)
		(void)munmap(dp->conf, sizeof(*dp->conf)); /* a mapping of ours: cannot fail */
	sl_dp_services_free(dp);
	if (dp->skel)
		sluice_bpf__destroy(dp->skel);
	sl_closep(&dp->cgroup_fd);
	sl_closep(&dp->lock);
	free(dp->dir);
	free(dp);
	return NULL;
}

void sl_datapath_heartbeat(struct sl_datapath *dp)
{
	__atomic_store_n(&dp->conf->heartbeat_ns, sl_clock_now_ns(), __ATOMIC_RELAXED);
}
