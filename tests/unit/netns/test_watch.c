/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include "../../lib/leak.h"
#include "base/alloc.h"
#include "base/clock.h"
#include "scratch.h"

/* A cgroup that does not exist: no processes are looked at. */
#define NO_PROCESSES "/sluice-test-none"

static struct sl_netns_watch *watch;

static void set_up(void)
{
	scratch_open();
}

static void tear_down(void)
{
	watch = sl_netns_watch_close(watch);
	scratch_close();
}

TestSuite(netns_watch, .init = set_up, .fini = tear_down, .timeout = 90);

static int open_watch(const char *cgroup, bool host)
{
	const char *const dirs[] = {scratch.dirs[0], scratch.dirs[1]};
	const struct sl_netns_opts opts = {
		.dirs = dirs, .n_dirs = 2, .cgroup_path = cgroup, .host = host};

	return sl_netns_watch_open(scratch.loop, &opts, seen_note, NULL, &watch);
}

static void start(const char *cgroup)
{
	cr_assert_eq(open_watch(cgroup, false), 0);
}

struct listing {
	unsigned n;
	char text[512];
};

static void list_one(void *arg, const struct sl_source *s, const char *unusable)
{
	struct listing *l = arg;
	size_t len = strlen(l->text);

	l->n++;
	(void)snprintf(l->text + len, sizeof(l->text) - len, "%s(%s) ", s->name, unusable);
}

static struct listing list_all(void)
{
	struct listing l = {0};

	sl_netns_each(watch, list_one, &l);
	return l;
}

/* Every event that has happened so far has been told: a namespace named later is. */
static void settle(void)
{
	unsigned n = seen.n_added;

	scratch_add(1, "settle");
	scratch_until(seen.n_added == n + 1);
	scratch_delete(1, "settle");
	scratch_until(list_all().n && !strstr(list_all().text, "settle"));
}

/* ---- names ---- */

Test(netns_watch, a_name_comes_and_goes)
{
	uint64_t cookie;

	scratch_make_dir(0);
	start(NO_PROCESSES);
	cr_assert_eq(seen.n_added, 0);
	scratch_add(0, "pod");
	scratch_until(seen.n_added == 1);
	cookie = scratch_cookie(0, "pod");
	cr_assert_str_eq(seen.last->name, "pod");
	cr_assert_eq(seen.last->cookie, cookie);
	cr_assert_not(seen.last->is_host);
	cr_assert_geq(seen.last->fd, 0);
	scratch_delete(0, "pod");
	scratch_until(seen.n_removed == 1);
	cr_assert_eq(seen.last->cookie, cookie);
	cr_assert_eq(list_all().n, 1);
	cr_assert_eq(seen.n_added, 1);
}

Test(netns_watch, names_that_are_there_are_told_at_once)
{
	scratch_make_dir(0);
	scratch_make_dir(1);
	scratch_add(0, "one");
	scratch_add(1, "two");
	start(NO_PROCESSES);
	cr_assert_eq(seen.n_added, 2);
	cr_assert_eq(list_all().n, 3);
}

Test(netns_watch, nothing_keeps_a_deleted_namespace_alive)
{
	size_t n_fds;

	scratch_make_dir(0);
	start(NO_PROCESSES);
	n_fds = scratch_n_fds();
	scratch_add(0, "pod");
	scratch_until(seen.n_added == 1);
	/* With its namespace, one end of a pair goes, and then the other. */
	scratch_run("ip link add sl0 type veth peer name sl1");
	scratch_run("ip link set sl1 netns %s/pod", scratch.dirs[0]);
	scratch_run("ip link show sl0 >/dev/null");
	scratch_delete(0, "pod");
	scratch_until(seen.n_removed == 1);
	seen_forget();
	scratch_until(system("! ip link show sl0 >/dev/null 2>&1") == 0);
	/* One is the way back that the thread keeps. */
	cr_assert_leq(scratch_n_fds(), n_fds + 1);
}

Test(netns_watch, a_file_is_no_namespace_until_one_is_mounted_on_it)
{
	scratch_make_dir(0);
	scratch_make_dir(1);
	start(NO_PROCESSES);
	scratch_touch(0, "pod");
	settle();
	cr_assert_eq(seen.n_added, 1);
	scratch_mount(0, "pod", true);
	scratch_until(seen.n_added == 2);
	cr_assert_str_eq(seen.last->name, "pod");
}

Test(netns_watch, other_files_are_let_alone)
{
	scratch_make_dir(0);
	scratch_make_dir(1);
	scratch_touch(0, "file");
	scratch_run("mkfifo %s/fifo", scratch.dirs[0]);
	scratch_run("mkdir %s/dir", scratch.dirs[0]);
	scratch_run("ln -s nowhere %s/link", scratch.dirs[0]);
	scratch_run("touch %s/mnt && mount --bind /proc/self/ns/uts %s/mnt", scratch.dirs[0],
		    scratch.dirs[0]);
	start(NO_PROCESSES);
	settle();
	scratch_run("rm %s/file", scratch.dirs[0]);
	settle();
	cr_assert_eq(seen.n_added, 2);
	cr_assert_eq(list_all().n, 1);
}

Test(netns_watch, one_namespace_under_two_names_counts_once)
{
	scratch_make_dir(0);
	scratch_make_dir(1);
	start(NO_PROCESSES);
	scratch_add(0, "first");
	scratch_until(seen.n_added == 1);
	scratch_touch(1, "second");
	scratch_run("mount --bind %s/first %s/second", scratch.dirs[0], scratch.dirs[1]);
	settle();
	cr_assert_eq(seen.n_added, 2);
	cr_assert_eq(list_all().n, 2);
	scratch_delete(0, "first");
	settle();
	cr_assert_eq(list_all().n, 2, "%s", list_all().text);
	scratch_delete(1, "second");
	scratch_until(list_all().n == 1);
	cr_assert_eq(seen.n_removed, seen.n_added);
}

Test(netns_watch, a_renamed_name_is_followed)
{
	scratch_make_dir(0);
	start(NO_PROCESSES);
	/* A mount point cannot be renamed, a symbolic link can. */
	scratch_make_dir(1);
	scratch_run("mkdir %s/hidden", scratch.root);
	scratch_run("touch %s/hidden/x && unshare --net=%s/hidden/x ip link set lo up",
		    scratch.root, scratch.root);
	scratch_run("ln -s ../../hidden/x %s/old", scratch.dirs[0]);
	scratch_until(seen.n_added == 1);
	scratch_run("mv %s/old %s/new", scratch.dirs[0], scratch.dirs[0]);
	scratch_until(seen.n_added == 2);
	cr_assert_eq(seen.n_removed, 1);
	cr_assert_str_eq(seen.last->name, "new");
}

/* ---- folders ---- */

Test(netns_watch, folders_are_waited_for_and_may_go_and_come_back)
{
	start(NO_PROCESSES);
	scratch_make_dir(0);
	scratch_add(0, "pod");
	scratch_until(seen.n_added == 1);
	scratch_delete(0, "pod");
	scratch_until(seen.n_removed == 1);
	scratch_run("rmdir %s", scratch.dirs[0]);
	scratch_make_dir(1);
	settle();
	scratch_run("rmdir %s/a", scratch.root);
	settle();
	scratch_make_dir(0);
	scratch_add(0, "again");
	scratch_until(strstr(list_all().text, "again()"));
}

Test(netns_watch, a_folder_that_is_moved_away_takes_its_names_along)
{
	scratch_make_dir(0);
	scratch_run("mkdir %s/hidden", scratch.root);
	scratch_run("touch %s/hidden/x && unshare --net=%s/hidden/x ip link set lo up",
		    scratch.root, scratch.root);
	scratch_run("ln -s %s/hidden/x %s/pod", scratch.root, scratch.dirs[0]);
	start(NO_PROCESSES);
	cr_assert_eq(seen.n_added, 1);
	scratch_run("mv %s %s/elsewhere", scratch.dirs[0], scratch.root);
	scratch_until(seen.n_removed == 1);
	scratch_run("mv %s/elsewhere %s", scratch.root, scratch.dirs[0]);
	scratch_until(seen.n_added == 2);
}

Test(netns_watch, one_folder_given_twice_counts_once)
{
	scratch_make_dir(0);
	scratch_run("ln -s a/netns %s", scratch.dirs[1]);
	start(NO_PROCESSES);
	scratch_add(0, "pod");
	scratch_until(seen.n_added == 1);
	scratch_delete(0, "pod");
	scratch_until(list_all().n == 1);
	cr_assert_eq(seen.n_added, 1);
	cr_assert_eq(seen.n_removed, 1);
}

Test(netns_watch, more_names_than_the_kernel_queues_are_found_all_the_same)
{
	FILE *f = fopen("/proc/sys/fs/inotify/max_queued_events", "re");
	char path[128];
	long limit;

	cr_assert_eq(fscanf(f, "%ld", &limit), 1);
	(void)fclose(f);
	scratch_make_dir(0);
	start(NO_PROCESSES);
	/* Nobody reads while this goes on, and the last names are those that are lost. */
	(void)snprintf(path, sizeof(path), "%s/file", scratch.dirs[0]);
	for (long i = 0; i < limit; i++) {
		scratch_touch(0, "file");
		cr_assert_eq(unlink(path), 0);
	}
	scratch_add(0, "pod");
	scratch_until(seen.n_added == 1);
	cr_assert_eq(list_all().n, 2);
}

/* ---- processes ---- */

Test(netns_watch, a_process_alone_makes_a_namespace_known)
{
	pid_t pid = scratch_process(0);
	uint64_t cookie = scratch_cookie_of_process(pid);
	char name[32];

	scratch_make_dir(0);
	start(NO_PROCESSES);
	cr_assert_eq(sl_netns_discover(watch, cookie + 1, (uint32_t)pid), -ESRCH);
	cr_assert_eq(seen.n_added, 0);
	cr_assert_eq(sl_netns_discover(watch, cookie, (uint32_t)pid), 0);
	cr_assert_eq(sl_netns_discover(watch, cookie, (uint32_t)pid), 0);
	cr_assert_eq(seen.n_added, 1);
	cr_assert_eq(seen.last->cookie, cookie);
	(void)snprintf(name, sizeof(name), "pid:%d", pid);
	cr_assert_str_eq(seen.last->name, name);
	scratch_kill(pid);
	scratch_until(seen.n_removed == 1);
	cr_assert_eq(sl_netns_discover(watch, cookie, (uint32_t)pid), -ENOENT);
}

Test(netns_watch, a_name_takes_over_from_a_process)
{
	pid_t pid = scratch_process(0);
	uint64_t cookie = scratch_cookie_of_process(pid);

	scratch_make_dir(0);
	scratch_make_dir(1);
	start(NO_PROCESSES);
	cr_assert_eq(sl_netns_discover(watch, cookie, (uint32_t)pid), 0);
	scratch_touch(0, "pod");
	scratch_run("mount --bind /proc/%d/ns/net %s/pod", pid, scratch.dirs[0]);
	settle();
	cr_assert_eq(list_all().n, 2);
	scratch_kill(pid);
	settle();
	cr_assert_eq(list_all().n, 2);
	scratch_delete(0, "pod");
	scratch_until(list_all().n == 1);
}

struct cgroup {
	char path[128], inner[160];
};

static void make_cgroup(struct cgroup *c)
{
	FILE *f = popen("awk '$3==\"cgroup2\"{print $2;exit}' /proc/mounts", "r");
	char mount[64] = "";

	cr_assert_not_null(fgets(mount, sizeof(mount), f));
	(void)pclose(f);
	mount[strcspn(mount, "\n")] = '\0';
	(void)snprintf(c->path, sizeof(c->path), "%s/sluice-test-%d", mount, getpid());
	(void)snprintf(c->inner, sizeof(c->inner), "%s/pod/container", c->path);
	scratch_run("mkdir -p %s", c->inner);
}

static void remove_cgroup(const struct cgroup *c)
{
	scratch_run("rmdir %s %s/pod %s", c->inner, c->path, c->path);
}

Test(netns_watch, only_processes_below_the_cgroup_are_looked_at)
{
	pid_t inside = scratch_process(0), outside = scratch_process(0);
	uint64_t cookie = scratch_cookie_of_process(inside);
	struct cgroup c;

	scratch_make_dir(0);
	make_cgroup(&c);
	scratch_run("echo %d >%s/cgroup.procs", inside, c.inner);
	start(c.path);
	cr_assert_eq(seen.n_added, 1);
	cr_assert_eq(seen.last->cookie, cookie);
	watch = sl_netns_watch_close(watch);
	seen_forget();
	/* The same, told from the root of the mount. */
	start(strrchr(c.path, '/'));
	cr_assert_eq(seen.n_added, 1);
	cr_assert_eq(seen.last->cookie, cookie);
	scratch_kill(outside);
	scratch_kill(inside);
	scratch_until(seen.n_removed == 1);
	remove_cgroup(&c);
}

Test(netns_watch, without_a_cgroup_all_processes_are_looked_at)
{
	pid_t pid = scratch_process(0);
	unsigned n_added;

	scratch_make_dir(0);
	start(NULL);
	n_added = seen.n_added;
	cr_assert_eq(sl_netns_discover(watch, scratch_cookie_of_process(pid), (uint32_t)pid), 0);
	cr_assert_eq(seen.n_added, n_added, "it was not known");
	scratch_kill(pid);
}

Test(netns_watch, a_namespace_lives_as_long_as_its_last_process)
{
	pid_t first = scratch_process(0), second = scratch_process(first);
	struct cgroup c;
	uint64_t until;

	scratch_make_dir(0);
	make_cgroup(&c);
	scratch_run("echo %d >%s/cgroup.procs", first, c.path);
	scratch_run("echo %d >%s/cgroup.procs", second, c.inner);
	start(c.path);
	cr_assert_eq(seen.n_added, 1);
	scratch_kill(first);
	until = sl_clock_now_ns() + 5 * SL_NS_PER_S / 2; /* longer than between two checks */
	while (sl_clock_now_ns() < until) {
		cr_assert_eq(sl_loop_round(scratch.loop, 100 * SL_NS_PER_MS), 0);
		cr_assert_eq(seen.n_removed, 0);
	}
	scratch_kill(second);
	scratch_until(seen.n_removed == 1);
	remove_cgroup(&c);
}

/* ---- the agent's own, and lo ---- */

static uint64_t own_cookie(void)
{
	return scratch_cookie_of_process(getpid());
}

Test(netns_watch, the_own_namespace_is_told_only_if_it_shall_be_served)
{
	int fd;

	scratch_make_dir(0);
	scratch_make_dir(1);
	scratch_run("ip link set lo up");
	start(NO_PROCESSES);
	cr_assert_eq(seen.n_added, 0);
	cr_assert_str_eq(list_all().text, "host(the host's network is not served) ");
	watch = sl_netns_watch_close(watch);
	cr_assert_eq(open_watch(NO_PROCESSES, true), 0);
	cr_assert_eq(seen.n_added, 1);
	cr_assert(seen.last->is_host && seen.last->fd == -1);
	cr_assert_eq(seen.last->cookie, own_cookie());
	fd = sl_source_socket(seen.last, AF_INET, SOCK_STREAM, 0);
	cr_assert_geq(fd, 0);
	(void)close(fd);
	/* Nor does a name make it another, or its loss gone. */
	scratch_touch(0, "self");
	scratch_run("mount --bind /proc/%d/ns/net %s/self", getpid(), scratch.dirs[0]);
	settle();
	cr_assert_eq(list_all().n, 1);
	scratch_delete(0, "self");
	settle();
	cr_assert_eq(list_all().n, 1);
	cr_assert_eq(seen.n_removed, 2); /* those of settle() */
}

Test(netns_watch, without_lo_a_namespace_is_not_usable)
{
	scratch_make_dir(0);
	start(NO_PROCESSES);
	scratch_touch(0, "pod");
	scratch_mount(0, "pod", false);
	scratch_until(strstr(list_all().text, "pod(lo is down)"));
	cr_assert_eq(seen.n_added, 0);
	scratch_ip(0, "pod", "link set lo up");
	scratch_until(seen.n_added == 1);
	cr_assert(strstr(list_all().text, "pod()"));
	scratch_ip(0, "pod", "link set lo down");
	scratch_until(seen.n_removed == 1);
	scratch_ip(0, "pod", "link set lo up");
	scratch_until(seen.n_added == 2);
	scratch_ip(0, "pod", "link set lo down");
	scratch_until(seen.n_removed == 2);
	scratch_delete(0, "pod");
	scratch_until(list_all().n == 1);
	cr_assert_eq(seen.n_removed, 2);
}

/* ---- trouble ---- */

Test(netns_watch, closing_gives_everything_back)
{
	size_t n_fds;

	scratch_make_dir(0);
	scratch_add(0, "one");
	scratch_touch(0, "none");
	(void)scratch_cookie(0, "one"); /* the way back is open from here on */
	n_fds = scratch_n_fds();
	start(NO_PROCESSES);
	watch = sl_netns_watch_close(watch);
	cr_assert_eq(seen.n_removed, 0);
	seen_forget();
	cr_assert_eq(scratch_n_fds(), n_fds);
	cr_assert_null(sl_netns_watch_close(NULL));
}

Test(netns_watch, a_folder_that_cannot_be_one_is_an_error)
{
	scratch_run("touch %s/a", scratch.root);
	cr_assert_eq(open_watch(NO_PROCESSES, false), -ENOTDIR);
	cr_assert_null(watch);
}

Test(netns_watch, each_allocation_may_fail_once)
{
	bool failed = true;
	size_t n_fds;

	scratch_make_dir(0);
	scratch_add(0, "one");
	scratch_ip(0, "one", "addr add 10.9.8.7/32 dev lo");
	(void)scratch_cookie(0, "one"); /* the way back is open from here on */
	n_fds = scratch_n_fds();
	for (long n = 0; failed; n++) {
		int r;

		(void)sl_alloc_fail_after(n);
		r = open_watch(NO_PROCESSES, true);
		failed = sl_alloc_fail_after(-1) > (size_t)n;
		cr_assert(r == 0 || r == -ENOMEM);
		cr_assert(failed || r == 0);
		/* What was survived is made up for later. */
		if (r == 0) {
			scratch_until(strstr(list_all().text, "one()"));
			scratch_until(strstr(list_all().text, "host(lo is down)"));
		}
		watch = sl_netns_watch_close(watch);
		seen_forget();
		cr_assert_eq(scratch_n_fds(), n_fds);
		cr_assert_lt(n, 1000);
	}
	check_leaks();
}
