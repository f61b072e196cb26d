/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Namespaces by their processes. Below a cgroup these are read from the members' files, not from
 * /proc/PID/cgroup: what that one says is relative to the reader's cgroup namespace, which in a
 * container is not the host's.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "netns/known.h"
#include "netns/mount.h"

enum { MAX_DEPTH = 32 };
#define CHECK_EVERY_NS (2 * SL_NS_PER_S)

static void close_dir(DIR **d)
{
	if (*d)
		(void)closedir(*d); /* only read from */
}

static void close_file(FILE **f)
{
	if (*f)
		(void)fclose(*f); /* only read from */
}

static bool parse_pid(struct sl_str text, pid_t *ret)
{
	uint64_t n;

	if (sl_str_to_u64(text, INT32_MAX, &n) || n == 0)
		return false;
	*ret = (pid_t)n;
	return true;
}

/* Fails for a process that is gone or a zombie, and some are refused even to root. */
static int stat_process(pid_t pid, struct stat *ret)
{
	char path[48];

	(void)snprintf(path, sizeof(path), "/proc/%d/ns/net", pid);
	return stat(path, ret) ? -errno : 0;
}

int sl_netns_of_process(pid_t pid)
{
	char path[48];
	int fd;

	(void)snprintf(path, sizeof(path), "/proc/%d/ns/net", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* Takes in its namespace, or is the witness of a known one. */
static void look_at(struct sl_netns_watch *w, pid_t pid)
{
	_cleanup_(sl_closep) int fd = -1;
	struct sl_netns *n;
	struct stat st;
	char name[24];

	if (stat_process(pid, &st))
		return;
	n = sl_netns_by_file(w, st.st_dev, st.st_ino);
	if (!n) {
		fd = sl_netns_of_process(pid);
		(void)snprintf(name, sizeof(name), "pid:%d", pid);
		/* What cannot be taken in now is met again by its first connection. */
		if (fd < 0 || sl_netns_admit(w, fd, 0, name, &n))
			return;
	}
	if (sl_netns_is_unnamed(n) && !n->witness)
		n->witness = pid;
}

static int scan_proc(struct sl_netns_watch *w)
{
	_cleanup_(close_dir) DIR *d = opendir("/proc");
	const struct dirent *e;
	pid_t pid;

	if (!d)
		return -errno;
	while ((errno = 0, e = readdir(d)))
		if (parse_pid(sl_str_from(e->d_name), &pid))
			look_at(w, pid);
	return -errno;
}

/* ---- below a cgroup ---- */

static int scan_members(struct sl_netns_watch *w, int dir)
{
	_cleanup_(sl_closep) int fd = openat(dir, "cgroup.procs", O_RDONLY | O_CLOEXEC);
	_cleanup_(close_file) FILE *f = NULL;
	_cleanup_(sl_freep) char *line = NULL;
	size_t cap = 0;
	ssize_t len;
	pid_t pid;

	if (fd < 0)
		return -errno;
	f = fdopen(fd, "r");
	if (!f)
		return -errno;
	(void)sl_take_fd(&fd); /* the stream's now */
	while ((len = getline(&line, &cap, f)) > 0)
		if (parse_pid((struct sl_str){line, (size_t)len - (line[len - 1] == '\n')}, &pid))
			look_at(w, pid);
	/* The members of a threaded cgroup are shown by its domain (EOPNOTSUPP), those of a removed
	 * one are nowhere (ENODEV). */
	return 0;
}

/* Takes fd, a cgroup's folder. */
static int scan_cgroup(struct sl_netns_watch *w, int fd, int depth)
{
	_cleanup_(close_dir) DIR *d = fdopendir(fd);
	const struct dirent *e;
	int r = 0;

	if (!d) {
		(void)close(fd); /* the first error is the one to tell */
		return -ENOMEM;
	}
	r = scan_members(w, dirfd(d));
	if (r == -ENOENT || r == -ENODEV)
		return 0; /* removed meanwhile */
	while (!r && (errno = 0, e = readdir(d))) {
		int child;

		if (e->d_type != DT_DIR || e->d_name[0] == '.')
			continue;
		if (depth == MAX_DEPTH)
			return -ELOOP;
		child = openat(dirfd(d), e->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (child >= 0)
			r = scan_cgroup(w, child, depth + 1);
		else if (errno != ENOENT)
			r = -errno;
	}
	return r;
}

/* -ENOENT too for what is there and no cgroup. */
static int open_cgroup_at(const char *path)
{
	_cleanup_(sl_closep) int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct statfs fs;

	if (fd < 0 || fstatfs(fd, &fs))
		return -errno;
	return fs.f_type == CGROUP2_SUPER_MAGIC ? sl_take_fd(&fd) : -ENOENT;
}

/* The option is a path in the file system, or one from the mount's root. */
static int open_cgroup(const char *path)
{
	_cleanup_(sl_freep) char *full = NULL;
	char mount[PATH_MAX];
	int r;

	r = open_cgroup_at(path);
	if (r != -ENOENT)
		return r;
	r = sl_cgroup_mount(mount);
	if (r)
		return r;
	full = sl_asprintf("%s/%s", mount, path);
	return full ? open_cgroup_at(full) : -ENOMEM;
}

int sl_netns_scan(struct sl_netns_watch *w)
{
	int r;

	if (w->cgroup_path) {
		r = open_cgroup(w->cgroup_path);
		if (r >= 0)
			r = scan_cgroup(w, r, 0);
		else if (r == -ENOENT)
			r = 0; /* no cgroup, no processes */
	} else {
		r = scan_proc(w);
	}
	sl_netns_check_later(w);
	return r;
}

/* ---- liveness ---- */

static bool has_unnamed(const struct sl_netns_watch *w)
{
	sl_list_foreach (it, &w->known)
		if (sl_netns_is_unnamed(sl_container_of(it, struct sl_netns, in_watch)))
			return true;
	return false;
}

void sl_netns_check_later(struct sl_netns_watch *w)
{
	if (!w->check_timer.loop && has_unnamed(w))
		sl_timer_arm(w->loop, &w->check_timer, sl_loop_now(w->loop) + CHECK_EVERY_NS);
}

static bool still_there(const struct sl_netns *n)
{
	struct stat st;

	return n->witness && !stat_process(n->witness, &st) && st.st_dev == n->dev &&
	       st.st_ino == n->ino;
}

void sl_netns_check(struct sl_timer *t)
{
	struct sl_netns_watch *w = sl_container_of(t, struct sl_netns_watch, check_timer);
	bool in_doubt = false;

	sl_list_foreach (it, &w->known) {
		struct sl_netns *n = sl_container_of(it, struct sl_netns, in_watch);

		if (sl_netns_is_unnamed(n) && !still_there(n)) {
			n->witness = 0;
			in_doubt = true;
		}
	}
	/* Others may be in it still. When not all could be seen, the doubt remains until the next
	 * time. */
	if (in_doubt && sl_netns_scan(w) == 0) {
		sl_list_foreach_safe (it, &w->known) {
			struct sl_netns *n = sl_container_of(it, struct sl_netns, in_watch);

			if (sl_netns_is_unnamed(n) && !n->witness)
				sl_netns_forget(n);
		}
	}
	sl_netns_check_later(w);
}
