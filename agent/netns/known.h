/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * What the parts of the watch share. Private to netns/; thread: control.
 *
 *   watch.c      the set of known namespaces, by cookie
 *   folder.c     names in folders, by inotify
 *   scan.c       processes, by /proc or a cgroup's members
 *   addresses.c  the addresses of one namespace and the state of its lo, by rtnetlink
 */
#include <sys/types.h>
#include "base/list.h"
#include "netns/netns.h"

/* Kept as long as a folder names it or, unnamed, a process is in it; the agent's own for ever. */
struct sl_netns {
	struct sl_list in_watch;
	struct sl_netns_watch *watch;
	struct sl_source *source; /* its owner's latest; holds the namespace's descriptor */
	dev_t dev;
	ino_t ino; /* of the nsfs file; not used again while we hold a descriptor */
	uint32_t n_names;
	pid_t witness;	      /* a process in it, while it has no name; 0: not known */
	bool announced;	      /* ADDED, and not REMOVED since */
	const char *unusable; /* why, or NULL */

	int rtnl; /* -1: to be opened again by the timer */
	struct sl_watch rtnl_watch;
	struct sl_timer sync_timer;
	uint64_t next_sync_ns; /* not before */
	uint32_t seq;
};

struct sl_netns_folder;

struct sl_netns_watch {
	struct sl_loop *loop;
	sl_netns_fn fn;
	void *arg;
	struct sl_list known; /* sl_netns.in_watch */
	uint32_t n_known;
	char *cgroup_path; /* as in the options */

	int inotify;
	struct sl_watch inotify_watch;
	struct sl_netns_folder *folders;
	uint32_t n_folders;
	struct sl_timer retry_timer; /* for names that are no namespace yet */

	struct sl_timer check_timer; /* for namespaces without a name */

	/* Room for one dump. */
	struct sl_addr *addrs;
	uint32_t n_addrs, cap_addrs;
};

/* ---- watch.c ---- */

struct sl_netns *sl_netns_by_cookie(const struct sl_netns_watch *w, uint64_t cookie);
/* By the nsfs file: the cheap way to see that a namespace is known. */
struct sl_netns *sl_netns_by_file(const struct sl_netns_watch *w, dev_t dev, ino_t ino);
/* The namespace of an open nsfs file, taken in if it is new: followed and, if usable, announced. fd
 * stays the caller's. cookie: refuse any other with -ESRCH; 0: any. Returns 0, -EINVAL when fd is
 * no network namespace, -ENOSPC at the limit, -errno. */
int sl_netns_admit(struct sl_netns_watch *w, int fd, uint64_t cookie, const char *name,
		   struct sl_netns **ret);
/* Announce that it is gone, if need be, and free it. */
void sl_netns_forget(struct sl_netns *n);
/* Nothing names it, so a process must witness that it lives. */
static inline bool sl_netns_is_unnamed(const struct sl_netns *n)
{
	return !n->n_names && !n->source->is_host;
}
/* What was read: announces the difference. addrs are sorted. Returns 0 or -ENOMEM (nothing changed,
 * nobody told). */
int sl_netns_update(struct sl_netns *n, bool lo_up, const struct sl_addr *addrs, uint32_t n_addrs);

/* ---- folder.c ---- */

int sl_netns_folders_open(struct sl_netns_watch *w, const char *const *dirs, uint32_t n_dirs);
/* Accepts a watch whose folders were never opened. */
void sl_netns_folders_close(struct sl_netns_watch *w);

/* ---- scan.c ---- */

/* Look at all processes once. Returns 0, or -errno when not all could be seen. */
int sl_netns_scan(struct sl_netns_watch *w);
/* A namespace without name became known, or lost its last one: see to it that it is checked. */
void sl_netns_check_later(struct sl_netns_watch *w);
/* Returns an open /proc/PID/ns/net, or -errno. */
int sl_netns_of_process(pid_t pid);
void sl_netns_check(struct sl_timer *t);

/* ---- addresses.c ---- */

/* Take the rtnetlink socket, read the addresses and follow them from now on. What fails is tried
 * again later. */
void sl_netns_follow(struct sl_netns *n, int rtnl);
void sl_netns_unfollow(struct sl_netns *n);
