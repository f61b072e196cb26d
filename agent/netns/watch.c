/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include "base/alloc.h"
#include "base/cleanup.h"
#include "netns/enter.h"
#include "netns/known.h"

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71 /* Linux 5.14 */
#endif

enum {
	NSFS_FS_MAGIC = 0x6e736673,
	MAX_KNOWN = 16384, /* two descriptors each */
};

static const char host_not_served[] = "the host's network is not served";
static const char not_read_yet[] = "addresses not read yet";
static const char lo_is_down[] = "lo is down";

SL_DEFINE_CLEANUP(struct sl_source *, sl_source_unref)
SL_DEFINE_CLEANUP(struct sl_netns_watch *, sl_netns_watch_close)

/* ---- the set ---- */

struct sl_netns *sl_netns_by_cookie(const struct sl_netns_watch *w, uint64_t cookie)
{
	sl_list_foreach (it, &w->known) {
		struct sl_netns *n = sl_container_of(it, struct sl_netns, in_watch);

		if (n->source->cookie == cookie)
			return n;
	}
	return NULL;
}

struct sl_netns *sl_netns_by_file(const struct sl_netns_watch *w, dev_t dev, ino_t ino)
{
	sl_list_foreach (it, &w->known) {
		struct sl_netns *n = sl_container_of(it, struct sl_netns, in_watch);

		if (n->ino == ino && n->dev == dev)
			return n;
	}
	return NULL;
}

/* fd: -1, or one to be duplicated. */
static int new_source(int fd, uint64_t cookie, const char *name, const struct sl_addr *addrs,
		      uint32_t n_addrs, struct sl_source **ret)
{
	_cleanup_(sl_source_unrefp) struct sl_source *s = NULL;
	struct sl_addr *copy;

	s = sl_malloc(sizeof(*s) + n_addrs * sizeof(*addrs));
	if (!s)
		return -ENOMEM;
	copy = (struct sl_addr *)(s + 1);
	*s = (struct sl_source){.cookie = cookie, .fd = -1, .addrs = copy, .n_addrs = n_addrs};
	atomic_init(&s->refs, 1);
	if (n_addrs)
		memcpy(copy, addrs, n_addrs * sizeof(*addrs));
	(void)snprintf(s->name, sizeof(s->name), "%s", name); /* may be cut: it is for people */
	if (fd >= 0) {
		s->fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
		if (s->fd < 0)
			return -errno;
	}
	*ret = sl_take(s);
	return 0;
}

/* Takes source. */
static int add_known(struct sl_netns_watch *w, struct sl_source **source, const struct stat *st,
		     struct sl_netns **ret)
{
	struct sl_netns *n = sl_new(struct sl_netns);

	if (!n)
		return -ENOMEM;
	n->watch = w;
	n->source = sl_take(*source);
	n->dev = st->st_dev;
	n->ino = st->st_ino;
	n->rtnl = -1;
	n->rtnl_watch = SL_WATCH_INIT;
	sl_list_append(&w->known, &n->in_watch);
	w->n_known++;
	*ret = n;
	return 0;
}

static bool is_netns(int fd)
{
	struct statfs fs;

	/* The file system first: elsewhere the ioctl's number might mean anything. */
	return !fstatfs(fd, &fs) && fs.f_type == NSFS_FS_MAGIC &&
	       ioctl(fd, NS_GET_NSTYPE) == CLONE_NEWNET;
}

static int cookie_of(int sock, uint64_t *ret)
{
	socklen_t len = sizeof(*ret);

	return getsockopt(sock, SOL_SOCKET, SO_NETNS_COOKIE, ret, &len) ? -errno : 0;
}

static int open_rtnl(int fd)
{
	return sl_netns_socket_at(fd, AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);
}

static int admit_new(struct sl_netns_watch *w, int fd, const struct stat *st, uint64_t wanted,
		     const char *name, struct sl_netns **ret)
{
	_cleanup_(sl_source_unrefp) struct sl_source *source = NULL;
	_cleanup_(sl_closep) int rtnl = open_rtnl(fd);
	struct sl_netns *n;
	uint64_t cookie;
	int r;

	if (rtnl < 0)
		return rtnl;
	r = cookie_of(rtnl, &cookie);
	if (r)
		return r;
	if (wanted && cookie != wanted)
		return -ESRCH;
	if (w->n_known >= MAX_KNOWN)
		return -ENOSPC;
	r = new_source(fd, cookie, name, NULL, 0, &source);
	if (r)
		return r;
	r = add_known(w, &source, st, &n);
	if (r)
		return r;
	n->unusable = not_read_yet;
	sl_netns_follow(n, sl_take_fd(&rtnl));
	*ret = n;
	return 0;
}

int sl_netns_admit(struct sl_netns_watch *w, int fd, uint64_t cookie, const char *name,
		   struct sl_netns **ret)
{
	struct sl_netns *known;
	struct stat st;

	if (!is_netns(fd))
		return -EINVAL;
	if (fstat(fd, &st))
		return -errno;
	known = sl_netns_by_file(w, st.st_dev, st.st_ino);
	if (!known)
		return admit_new(w, fd, &st, cookie, name, ret);
	if (cookie && known->source->cookie != cookie)
		return -ESRCH;
	*ret = known;
	return 0;
}

static void free_known(struct sl_netns *n)
{
	sl_netns_unfollow(n);
	sl_list_remove(&n->in_watch);
	n->watch->n_known--;
	(void)sl_source_unref(n->source); /* always NULL */
	free(n);
}

void sl_netns_forget(struct sl_netns *n)
{
	if (n->announced)
		n->watch->fn(n->watch->arg, SL_NETNS_REMOVED, n->source);
	free_known(n);
}

/* ---- news of one namespace ---- */

static bool same_addrs(const struct sl_source *s, const struct sl_addr *addrs, uint32_t n_addrs)
{
	return s->n_addrs == n_addrs &&
	       (!n_addrs || memcmp(s->addrs, addrs, n_addrs * sizeof(*addrs)) == 0);
}

int sl_netns_update(struct sl_netns *n, bool lo_up, const struct sl_addr *addrs, uint32_t n_addrs)
{
	bool changed = !same_addrs(n->source, addrs, n_addrs), announced = n->announced;
	struct sl_netns_watch *w = n->watch;

	if (changed) {
		struct sl_source *next = NULL, *old = n->source;
		int r = new_source(old->fd, old->cookie, old->name, addrs, n_addrs, &next);

		if (r)
			return r;
		next->is_host = old->is_host;
		n->source = next;
		(void)sl_source_unref(old); /* always NULL */
	}
	n->unusable = lo_up ? NULL : lo_is_down;
	n->announced = lo_up;
	if (announced && !lo_up)
		w->fn(w->arg, SL_NETNS_REMOVED, n->source);
	else if (!announced && lo_up)
		w->fn(w->arg, SL_NETNS_ADDED, n->source);
	else if (announced && changed)
		w->fn(w->arg, SL_NETNS_CHANGED, n->source);
	return 0;
}

/* ---- the watch ---- */

/* The agent's own is known also when it is not served: else the scan would take it in. */
static int admit_own(struct sl_netns_watch *w, bool served)
{
	_cleanup_(sl_source_unrefp) struct sl_source *source = NULL;
	_cleanup_(sl_closep) int rtnl = open_rtnl(-1);
	struct sl_netns *n;
	uint64_t cookie;
	struct stat st;
	int r;

	if (rtnl < 0)
		return rtnl;
	if (stat("/proc/thread-self/ns/net", &st))
		return -errno;
	r = cookie_of(rtnl, &cookie);
	if (r)
		return r;
	r = new_source(-1, cookie, "host", NULL, 0, &source);
	if (r)
		return r;
	source->is_host = true;
	r = add_known(w, &source, &st, &n);
	if (r)
		return r;
	n->unusable = served ? not_read_yet : host_not_served;
	if (served)
		sl_netns_follow(n, sl_take_fd(&rtnl));
	return 0;
}

int sl_netns_watch_open(struct sl_loop *loop, const struct sl_netns_opts *opts, sl_netns_fn fn,
			void *arg, struct sl_netns_watch **ret)
{
	static const char *const default_dirs[] = {"/run/netns"};
	_cleanup_(sl_netns_watch_closep) struct sl_netns_watch *w = sl_new(struct sl_netns_watch);
	int r;

	if (!w)
		return -ENOMEM;
	w->loop = loop;
	w->fn = fn;
	w->arg = arg;
	w->inotify = -1;
	w->inotify_watch = SL_WATCH_INIT;
	w->check_timer = SL_TIMER_INIT(sl_netns_check);
	sl_list_init(&w->known);
	if (opts->cgroup_path) {
		w->cgroup_path = sl_strdup(opts->cgroup_path);
		if (!w->cgroup_path)
			return -ENOMEM;
	}
	r = admit_own(w, opts->host);
	if (r)
		return r;
	r = sl_netns_folders_open(w, opts->n_dirs ? opts->dirs : default_dirs,
				  opts->n_dirs ? opts->n_dirs : 1);
	if (r)
		return r;
	/* Names first: what has one is not looked for by its processes. What the scan cannot see
	 * makes itself known by its first connection. */
	(void)sl_netns_scan(w);
	*ret = sl_take(w);
	return 0;
}

struct sl_netns_watch *sl_netns_watch_close(struct sl_netns_watch *w)
{
	if (!w)
		return NULL;
	sl_netns_folders_close(w);
	sl_list_foreach_safe (it, &w->known)
		free_known(sl_container_of(it, struct sl_netns, in_watch));
	sl_timer_cancel(&w->check_timer);
	free(w->cgroup_path);
	free(w->addrs);
	free(w);
	return NULL;
}

int sl_netns_discover(struct sl_netns_watch *w, uint64_t cookie, uint32_t pid)
{
	_cleanup_(sl_closep) int fd = -1;
	struct sl_netns *n;
	char name[24];
	int r;

	if (sl_netns_by_cookie(w, cookie))
		return 0;
	fd = sl_netns_of_process((pid_t)pid);
	if (fd < 0)
		return fd;
	(void)snprintf(name, sizeof(name), "pid:%u", pid);
	r = sl_netns_admit(w, fd, cookie, name, &n);
	if (r)
		return r;
	n->witness = (pid_t)pid;
	sl_netns_check_later(w);
	return 0;
}

void sl_netns_each(const struct sl_netns_watch *w, sl_netns_each_fn fn, void *arg)
{
	sl_list_foreach (it, &w->known) {
		const struct sl_netns *n = sl_container_of(it, struct sl_netns, in_watch);

		fn(arg, n->source, n->unusable ? n->unusable : "");
	}
}
