/* SPDX-License-Identifier: Apache-2.0 */
#include "scratch.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include "base/cleanup.h"
#include "base/clock.h"

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif

#define DEADLINE_NS (15 * SL_NS_PER_S)

struct scratch scratch;
struct seen seen;

void scratch_open(void)
{
	cr_assert_eq(unshare(CLONE_NEWNS | CLONE_NEWNET), 0, "these tests need root: %s",
		     strerror(errno));
	cr_assert_eq(mount("", "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
	(void)snprintf(scratch.root, sizeof(scratch.root), "/tmp/sluice-netns-XXXXXX");
	cr_assert_not_null(mkdtemp(scratch.root));
	(void)snprintf(scratch.dirs[0], sizeof(scratch.dirs[0]), "%s/a/netns", scratch.root);
	(void)snprintf(scratch.dirs[1], sizeof(scratch.dirs[1]), "%s/b", scratch.root);
	cr_assert_eq(sl_loop_new(&scratch.loop), 0);
}

void scratch_close(void)
{
	seen_forget();
	scratch.loop = sl_loop_free(scratch.loop);
	scratch_run("grep -o '%s[^ ]*' /proc/self/mounts | sort -r | xargs -r umount",
		    scratch.root);
	scratch_run("rm -r %s", scratch.root);
}

void scratch_run(const char *fmt, ...)
{
	char command[512];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(command, sizeof(command), fmt, ap);
	va_end(ap);
	cr_assert_eq(system(command), 0, "%s", command);
}

void scratch_make_dir(int dir)
{
	scratch_run("mkdir -p %s", scratch.dirs[dir]);
}

static const char *path_of(int dir, const char *name)
{
	static char path[128];

	(void)snprintf(path, sizeof(path), "%s/%s", scratch.dirs[dir], name);
	return path;
}

void scratch_touch(int dir, const char *name)
{
	int fd = open(path_of(dir, name), O_CREAT | O_EXCL | O_RDONLY | O_CLOEXEC, 0);

	cr_assert_geq(fd, 0);
	(void)close(fd);
}

static int set_lo_up(void)
{
	struct ifreq req = {.ifr_name = "lo", .ifr_flags = IFF_UP};
	int fd = socket(AF_INET, SOCK_DGRAM, 0);
	int r = ioctl(fd, SIOCSIFFLAGS, &req);

	(void)close(fd);
	return r;
}

void scratch_mount(int dir, const char *name, bool lo_up)
{
	const char *path = path_of(dir, name);
	pid_t pid = fork();
	int status;

	if (pid == 0)
		_exit(unshare(CLONE_NEWNET) || (lo_up && set_lo_up()) ||
		      mount("/proc/self/ns/net", path, NULL, MS_BIND, NULL));
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert_eq(status, 0);
}

void scratch_add(int dir, const char *name)
{
	scratch_touch(dir, name);
	scratch_mount(dir, name, true);
}

void scratch_delete(int dir, const char *name)
{
	cr_assert_eq(umount2(path_of(dir, name), MNT_DETACH), 0);
	cr_assert_eq(unlink(path_of(dir, name)), 0);
}

void scratch_ip(int dir, const char *name, const char *fmt, ...)
{
	char args[256];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(args, sizeof(args), fmt, ap);
	va_end(ap);
	scratch_run("nsenter --net=%s ip %s", path_of(dir, name), args);
}

static uint64_t cookie_of_file(const char *path)
{
	struct sl_source s = {.fd = open(path, O_RDONLY | O_CLOEXEC)};
	socklen_t len = sizeof(uint64_t);
	uint64_t cookie;
	int sock;

	cr_assert_geq(s.fd, 0);
	sock = sl_source_socket(&s, AF_INET, SOCK_DGRAM, 0);
	cr_assert_geq(sock, 0);
	cr_assert_eq(getsockopt(sock, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &len), 0);
	(void)close(sock);
	(void)close(s.fd);
	return cookie;
}

uint64_t scratch_cookie(int dir, const char *name)
{
	return cookie_of_file(path_of(dir, name));
}

uint64_t scratch_cookie_of_process(pid_t pid)
{
	char path[64];

	(void)snprintf(path, sizeof(path), "/proc/%d/ns/net", pid);
	return cookie_of_file(path);
}

static int enter_process(pid_t pid)
{
	char path[64];

	(void)snprintf(path, sizeof(path), "/proc/%d/ns/net", pid);
	return setns(open(path, O_RDONLY | O_CLOEXEC), CLONE_NEWNET);
}

pid_t scratch_process(pid_t like)
{
	int ready[2];
	char byte;
	pid_t pid;

	cr_assert_eq(pipe(ready), 0);
	pid = fork();
	if (pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* when the test fails */
		if (like ? enter_process(like) : unshare(CLONE_NEWNET) || set_lo_up())
			_exit(1);
		(void)!write(ready[1], "", 1); /* the test waits for it */
		for (;;)
			(void)pause(); /* until killed */
	}
	(void)close(ready[1]);
	cr_assert_eq(read(ready[0], &byte, 1), 1);
	(void)close(ready[0]);
	return pid;
}

void scratch_kill(pid_t pid)
{
	cr_assert_eq(kill(pid, SIGKILL), 0);
	cr_assert_eq(waitpid(pid, NULL, 0), pid);
}

size_t scratch_n_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	size_t n = 0;

	cr_assert_not_null(d);
	while (readdir(d))
		n++;
	(void)closedir(d);
	return n;
}

void seen_note(void *arg, enum sl_netns_event event, struct sl_source *source)
{
	(void)arg;
	seen.n_added += event == SL_NETNS_ADDED;
	seen.n_changed += event == SL_NETNS_CHANGED;
	seen.n_removed += event == SL_NETNS_REMOVED;
	(void)sl_source_unref(seen.last);
	seen.last = sl_source_ref(source);
}

void seen_forget(void)
{
	(void)sl_source_unref(seen.last);
	seen = (struct seen){0};
}

bool seen_addr(const char *ip)
{
	struct sl_addr wanted;

	cr_assert_eq(sl_addr_parse_ip(sl_str_from(ip), 0, &wanted), 0);
	for (uint32_t i = 0; seen.last && i < seen.last->n_addrs; i++)
		if (sl_addr_eq(&seen.last->addrs[i], &wanted))
			return true;
	return false;
}

uint64_t scratch_deadline(void)
{
	return sl_clock_now_ns() + DEADLINE_NS;
}

void scratch_round(uint64_t deadline, const char *condition)
{
	cr_assert_lt(sl_clock_now_ns(), deadline, "never: %s", condition);
	cr_assert_eq(sl_loop_round(scratch.loop, 20 * SL_NS_PER_MS), 0);
}
