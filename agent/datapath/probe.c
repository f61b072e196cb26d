/* SPDX-License-Identifier: Apache-2.0 */
#include "datapath/probe.h"

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/magic.h>
#include <mntent.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "datapath/datapath.h"
#include "datapath/hops.h"
#include "sluice.skel.h"

#define NEEDS_6_1 "needs Linux 6.1 or newer"

struct probe_case {
	const char *name;
	bool required;
	int (*attempt)(const struct probe_case *c, const char *cgroup); /* 0 or -errno */
	int type, what;							/* for attempt */
	const char *good, *remedy;
};

static int try_btf(const struct probe_case *c, const char *cgroup)
{
	return access("/sys/kernel/btf/vmlinux", R_OK) < 0 ? -errno : 0;
}

static int try_syscall(const struct probe_case *c, const char *cgroup)
{
	_cleanup_(sl_closep) int fd =
		bpf_map_create(BPF_MAP_TYPE_ARRAY, "sl_probe", sizeof(__u32), 8, 1, NULL);

	return fd < 0 ? fd : 0;
}

static int try_bpffs(const struct probe_case *c, const char *cgroup)
{
	struct statfs fs;
	FILE *f;
	char line[128];
	bool known = false;

	if (statfs("/sys/fs/bpf", &fs) == 0 && fs.f_type == BPF_FS_MAGIC)
		return 0;
	f = fopen("/proc/filesystems", "re");
	if (!f)
		return -errno;
	while (fgets(line, sizeof(line), f))
		known |= !strcmp(line, "nodev\tbpf\n");
	(void)fclose(f); /* opened for reading */
	return known ? 0 : -ENODEV;
}

static int try_cgroup2(const struct probe_case *c, const char *cgroup)
{
	struct statfs fs;

	if (!cgroup)
		return -ENOENT;
	if (statfs(cgroup, &fs) < 0)
		return -errno;
	return fs.f_type == CGROUP2_SUPER_MAGIC ? 0 : -ENOTSUP;
}

/* The smallest program: return 1. Returns its descriptor or -errno. */
static int load_trivial(int type, int attach_type)
{
	const struct bpf_insn insns[] = {
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = 1},
		{.code = BPF_JMP | BPF_EXIT},
	};
	LIBBPF_OPTS(bpf_prog_load_opts, opts, .expected_attach_type = attach_type);

	return bpf_prog_load(type, "sl_probe", "GPL", insns, 2, &opts);
}

static int try_program(const struct probe_case *c, const char *cgroup)
{
	_cleanup_(sl_closep) int fd = load_trivial(c->type, c->what);

	return fd < 0 ? fd : 0;
}

/* In a child of its own, so that nobody's traffic passes the program. */
static int try_link(const struct probe_case *c, const char *cgroup)
{
	_cleanup_(sl_closep) int prog = load_trivial(c->type, c->what);
	_cleanup_(sl_freep) char *child = NULL;
	int fd, link, r = 0;

	if (prog < 0)
		return prog;
	if (!cgroup)
		return -ENOENT;
	child = sl_asprintf("%s/sluice-probe-%d", cgroup, (int)getpid());
	if (!child)
		return -ENOMEM;
	if (mkdir(child, 0755) < 0)
		return -errno;
	fd = open(child, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	link = fd < 0 ? -errno : bpf_link_create(prog, fd, c->what, NULL);
	if (link < 0)
		r = link;
	sl_closep(&link);
	sl_closep(&fd);
	if (rmdir(child) < 0 && !r)
		r = -errno;
	return r;
}

static int try_helper(const struct probe_case *c, const char *cgroup)
{
	int r = libbpf_probe_bpf_helper(c->type, c->what, NULL);

	return r == 1 ? 0 : r == 0 ? -ENOTSUP : r;
}

static int try_map_type(const struct probe_case *c, const char *cgroup)
{
	int r = libbpf_probe_bpf_map_type(c->what, NULL);

	return r == 1 ? 0 : r == 0 ? -ENOTSUP : r;
}

static int try_mmap(const struct probe_case *c, const char *cgroup)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = BPF_F_MMAPABLE);
	_cleanup_(sl_closep) int fd =
		bpf_map_create(BPF_MAP_TYPE_ARRAY, "sl_probe", sizeof(__u32), 8, 1, &opts);

	return fd < 0 ? fd : 0;
}

static int clone_map(struct btf *btf)
{
	int type = btf__add_int(btf, "int", sizeof(int), BTF_INT_SIGNED);
	int r = type < 0 ? type : btf__load_into_kernel(btf);
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = BPF_F_NO_PREALLOC | BPF_F_CLONE);

	if (r)
		return r;
	opts.btf_fd = btf__fd(btf);
	opts.btf_key_type_id = opts.btf_value_type_id = type;
	return bpf_map_create(BPF_MAP_TYPE_SK_STORAGE, "sl_probe", sizeof(int), sizeof(int), 0,
			      &opts);
}

static int loopback_pair(int listener, int client, int *ret_accepted)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(a);

	if (bind(listener, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(listener, 1) < 0 ||
	    getsockname(listener, (struct sockaddr *)&a, &len) < 0 ||
	    connect(client, (struct sockaddr *)&a, sizeof(a)) < 0)
		return -errno;
	*ret_accepted = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	return *ret_accepted < 0 ? -errno : 0;
}

/* Does an accepted socket inherit what was stored on its listener? */
static int try_clone(const struct probe_case *c, const char *cgroup)
{
	_cleanup_(sl_closep) int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	_cleanup_(sl_closep) int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	_cleanup_(sl_closep) int accepted = -1;
	_cleanup_(sl_closep) int map = -1;
	struct btf *btf = btf__new_empty();
	int r, value = 7;

	if (!btf)
		return -errno;
	map = clone_map(btf);
	btf__free(btf);
	if (map < 0)
		return map;
	if (listener < 0 || client < 0)
		return -EMFILE;
	r = bpf_map_update_elem(map, &listener, &value, BPF_ANY);
	if (!r)
		r = loopback_pair(listener, client, &accepted);
	return r ? r : bpf_map_lookup_elem(map, &accepted, &value);
}

static int try_netns_cookie(const struct probe_case *c, const char *cgroup)
{
	_cleanup_(sl_closep) int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	uint64_t cookie;

	return fd < 0 ? -errno : sl_datapath_netns_cookie(fd, &cookie);
}

/* The programs themselves through the verifier, with maps as small as can be. */
static int try_all(const struct probe_case *c, const char *cgroup)
{
	struct sluice_bpf *skel = sluice_bpf__open();
	struct bpf_map *map;
	int r;

	if (!skel)
		return -errno;
	bpf_object__for_each_map(map, skel->obj) if (bpf_map__type(map) == BPF_MAP_TYPE_HASH ||
						     bpf_map__type(map) == BPF_MAP_TYPE_LRU_HASH)(
		void) bpf_map__set_max_entries(map, 64); /* fails only after load */
	r = sluice_bpf__load(skel);
	sluice_bpf__destroy(skel);
	return r;
}

/* Tries all that splicing relies on; the report has better words than an errno. */
static void probe_splice(struct sl_probe *probe)
{
	struct sl_hops_report report;
	int r = sl_hops_try(&report);

	*probe = (struct sl_probe){.name = "splice", .ok = !r};
	(void)snprintf(probe->message, SL_PROBE_MESSAGE, "%s%.180s", r ? "stays off: " : "",
		       report.message);
}

#define ADDR BPF_PROG_TYPE_CGROUP_SOCK_ADDR
#define OPS  BPF_PROG_TYPE_SOCK_OPS

static const struct probe_case cases[] = {
	{"bpf_syscall", true, try_syscall, 0, 0, "this process may use BPF",
	 "run as root, or with CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON and CAP_SYS_ADMIN; the kernel "
	 "needs "
	 "CONFIG_BPF_SYSCALL"},
	{"kernel_btf", true, try_btf, 0, 0, "/sys/kernel/btf/vmlinux",
	 "/sys/kernel/btf/vmlinux is missing: the kernel needs CONFIG_DEBUG_INFO_BTF"},
	{"bpffs", true, try_bpffs, 0, 0, "mounted, or can be",
	 "mount -t bpf bpf /sys/fs/bpf; in a container mount the host's there"},
	{"cgroup2", true, try_cgroup2, 0, 0, "a cgroup v2 hierarchy",
	 "mount -t cgroup2 none /sys/fs/cgroup, or name a cgroup v2 folder with --cgroup"},
	{"map_sk_storage", true, try_map_type, 0, BPF_MAP_TYPE_SK_STORAGE, "available", NEEDS_6_1},
	{"map_ringbuf", true, try_map_type, 0, BPF_MAP_TYPE_RINGBUF, "available", NEEDS_6_1},
	{"map_lru_hash", true, try_map_type, 0, BPF_MAP_TYPE_LRU_HASH, "available", NEEDS_6_1},
	{"map_mmap", true, try_mmap, 0, 0, "available", NEEDS_6_1},
	{"sk_storage_clone", true, try_clone, 0, 0,
	 "accepted sockets inherit their listener's mark",
	 NEEDS_6_1
	 ", a loopback device that is up, and with Linux 7 a CPU that has cmpxchg16b (in a VM: "
	 "a CPU model with cx16)"},
	{"connect4", true, try_program, ADDR, BPF_CGROUP_INET4_CONNECT, "available",
	 "the kernel needs CONFIG_CGROUP_BPF"},
	{"connect6", true, try_program, ADDR, BPF_CGROUP_INET6_CONNECT, "available",
	 "the kernel needs CONFIG_CGROUP_BPF"},
	{"getpeername", true, try_program, ADDR, BPF_CGROUP_INET4_GETPEERNAME, "available",
	 NEEDS_6_1},
	{"getsockname", true, try_program, ADDR, BPF_CGROUP_INET4_GETSOCKNAME, "available",
	 NEEDS_6_1},
	{"sendmsg", true, try_program, ADDR, BPF_CGROUP_UDP4_SENDMSG, "available", NEEDS_6_1},
	{"recvmsg", true, try_program, ADDR, BPF_CGROUP_UDP4_RECVMSG, "available", NEEDS_6_1},
	{"sockops", true, try_program, OPS, BPF_CGROUP_SOCK_OPS, "available",
	 "the kernel needs CONFIG_CGROUP_BPF"},
	{"cgroup_link", true, try_link, OPS, BPF_CGROUP_SOCK_OPS, "attached and detached again",
	 NEEDS_6_1 ", and the cgroup v2 hierarchy must be writable"},
	{"connect_sk_lookup", true, try_helper, ADDR, BPF_FUNC_sk_lookup_tcp, "available",
	 NEEDS_6_1},
	{"connect_skc_lookup", true, try_helper, ADDR, BPF_FUNC_skc_lookup_tcp, "available",
	 NEEDS_6_1},
	{"connect_sk_storage", true, try_helper, ADDR, BPF_FUNC_sk_storage_get, "available",
	 NEEDS_6_1},
	{"connect_cookie", true, try_helper, ADDR, BPF_FUNC_get_netns_cookie, "available",
	 NEEDS_6_1},
	{"connect_cgroup_id", true, try_helper, ADDR, BPF_FUNC_get_current_cgroup_id, "available",
	 NEEDS_6_1},
	{"connect_tcp_sock", true, try_helper, ADDR, BPF_FUNC_skc_to_tcp_sock, "available",
	 NEEDS_6_1},
	{"sockops_sk_storage", true, try_helper, OPS, BPF_FUNC_sk_storage_get, "available",
	 NEEDS_6_1},
	{"sockops_cookie", true, try_helper, OPS, BPF_FUNC_get_netns_cookie, "available",
	 NEEDS_6_1},
	{"so_netns_cookie", true, try_netns_cookie, 0, 0, "available", NEEDS_6_1},
	{"connect_set_retval", false, try_helper, ADDR, BPF_FUNC_set_retval,
	 "a Service without endpoints answers ECONNREFUSED",
	 "a Service without endpoints answers EPERM, not ECONNREFUSED, until Linux 5.18"},
	{"programs", true, try_all, 0, 0, "the kernel accepts all programs",
	 "the verifier refuses a program: --log-level=debug shows its words"},
};
_Static_assert(sizeof(cases) / sizeof(*cases) < SL_PROBE_MAX, "more probes than the array holds");

static bool cgroup2_mount(char out[4096])
{
	FILE *f = setmntent("/proc/self/mounts", "re");
	struct mntent *m;
	bool found = false;

	while (f && !found && (m = getmntent(f))) {
		found = !strcmp(m->mnt_type, "cgroup2") && strlen(m->mnt_dir) < 4096;
		if (found)
			memcpy(out, m->mnt_dir, strlen(m->mnt_dir) + 1);
	}
	if (f)
		(void)endmntent(f); /* always 1 */
	return found;
}

size_t sl_probe_run(const char *cgroup_path, struct sl_probe probes[SL_PROBE_MAX])
{
	size_t n = sizeof(cases) / sizeof(*cases);
	char mount[4096];
	libbpf_print_fn_t print = NULL;

	if (!cgroup_path && cgroup2_mount(mount))
		cgroup_path = mount;
	/* Failures are the answer here, not news; at debug level their words are wanted. */
	if (sl_log_level < SL_LOG_DEBUG)
		print = libbpf_set_print(NULL);
	for (size_t i = 0; i < n; i++) {
		const struct probe_case *c = &cases[i];
		int r = c->attempt(c, cgroup_path);

		probes[i] = (struct sl_probe){.name = c->name, .required = c->required, .ok = !r};
		if (r)
			(void)snprintf(probes[i].message, SL_PROBE_MESSAGE, "%s: %s",
				       sl_strerror(r), c->remedy);
		else
			(void)snprintf(probes[i].message, SL_PROBE_MESSAGE, "%s", c->good);
	}
	probe_splice(&probes[n++]);
	if (sl_log_level < SL_LOG_DEBUG)
		(void)libbpf_set_print(print); /* gives back the NULL */
	return n;
}

bool sl_probe_passed(const struct sl_probe *probes, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (probes[i].required && !probes[i].ok)
			return false;
	return true;
}
