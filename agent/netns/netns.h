/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Network namespaces: found, entered, followed as they come and go. Finding is done three ways:
 * inotify on the folders of named namespaces, a scan of /proc at start, and events from the connect
 * hook (sl_netns_discover()). This module opens sockets inside them; what the sockets are for is
 * its owner's business. Which Pod a namespace belongs to follows from its addresses, by the
 * snapshot.
 *
 * Thread: control, but for sl_source and its functions, which any thread may use.
 */
#include <stdatomic.h>
#include "base/addr.h"
#include "loop/loop.h"

/* One network namespace as workers see it: immutable, replaced when its addresses change. */
struct sl_source {
	atomic_uint refs;
	uint64_t cookie; /* SO_NETNS_COOKIE: identity */
	int fd;		 /* of the namespace, owned (a dup); -1 for the agent's own */
	bool is_host;	 /* the agent's own network namespace: several Pods may share it */
	char name[64];	 /* for people: file name in the folder, or "pid:123" */
	const struct sl_addr *addrs; /* own addresses without loopback and link-local, port 0 */
	uint32_t n_addrs;
};
struct sl_source *sl_source_ref(struct sl_source *s);
struct sl_source *
sl_source_unref(struct sl_source *s); /* accepts NULL, returns NULL; closes fd at the last */

/* The range of ephemeral ports in the namespace (ip_local_port_range), both ends included. Thread:
 * any. Returns 0 or -errno. */
int sl_source_port_range(const struct sl_source *s, uint16_t *ret_first, uint16_t *ret_last);

/* A socket created inside the namespace: setns, socket, setns back. SOCK_NONBLOCK and SOCK_CLOEXEC
 * are added. Returns the descriptor or -errno. A thread that cannot return to its own namespace
 * aborts the process: going on would mix up tenants. Thread: any. */
int sl_source_socket(const struct sl_source *s, int family, int type, int protocol);

/* Run fn inside the namespace; what it returns comes back, or -errno when it could not be entered.
 * Thread: any, as above. */
int sl_source_run(const struct sl_source *s, int (*fn)(void *arg), void *arg);

enum sl_netns_event {
	SL_NETNS_ADDED,	  /* usable: lo is up */
	SL_NETNS_CHANGED, /* addresses changed: the same cookie, a new sl_source */
	SL_NETNS_REMOVED, /* gone, or lo went down: stop using it and close its sockets, which keep
			     it alive */
};
/* source is borrowed: ref it to keep it. */
typedef void (*sl_netns_fn)(void *arg, enum sl_netns_event event, struct sl_source *source);

struct sl_netns_opts {
	const char *const *dirs; /* folders of named namespaces; default /run/netns alone */
	uint32_t n_dirs;
	const char *cgroup_path; /* only processes below it are looked at; a path in the file
				  * system or one from the cgroup2 mount's root; NULL: all */
	bool host;		 /* also serve the agent's own namespace */
};

struct sl_netns_watch;
/* Scans at once (fn is called for each). A namespace without a name is forgotten some 2 s after its
 * last process. Needs CAP_SYS_ADMIN. Returns 0 or -errno (drop what fn was told then); a folder
 * that does not exist yet is waited for. */
int sl_netns_watch_open(struct sl_loop *loop, const struct sl_netns_opts *opts, sl_netns_fn fn,
			void *arg, struct sl_netns_watch **ret);
/* fn is not called. Accepts NULL, returns NULL. Not from fn. */
struct sl_netns_watch *sl_netns_watch_close(struct sl_netns_watch *w);
/* A process in an unknown namespace called a routed Service: look it up by /proc/PID/ns/net.
 * Returns 0 (also when it was known already), -ENOENT when the process is gone, -ESRCH when it is
 * in a namespace of another cookie, -ENOSPC at the limit of 16,384 namespaces, -errno. */
int sl_netns_discover(struct sl_netns_watch *w, uint64_t cookie, uint32_t pid);
/* For sluicectl netns: all known namespaces, also unusable ones, with the reason ("lo is down";
 * empty when usable). */
typedef void (*sl_netns_each_fn)(void *arg, const struct sl_source *source, const char *unusable);
void sl_netns_each(const struct sl_netns_watch *w, sl_netns_each_fn fn, void *arg);

/* The Pod UID in the path of a cgroup (".../pod<uid>/..." or
 * "...-pod<uid_with_underscores>.slice/..."), for processes in a shared network namespace.
 * cgroup_id is bpf_get_current_cgroup_id(). Returns 0 with a NUL-terminated uid, -ENOENT when the
 * cgroup is gone or is no Pod's, -errno. Thread: any. */
struct sl_cgroups; /* an open cgroup2 mount */
/* The cgroup that all Pods of this node are below: kubepods.slice or kubepods of the cgroup2 mount,
 * as the kubelet's cgroup driver makes them. Returns 0, -ENOENT when there is none, -ENAMETOOLONG,
 * -errno. */
int sl_cgroups_find_pods(char *ret_path, size_t size);
int sl_cgroups_open(struct sl_cgroups **ret);
struct sl_cgroups *sl_cgroups_close(struct sl_cgroups *c);
int sl_cgroups_pod_uid(const struct sl_cgroups *c, uint64_t cgroup_id, char ret_uid[64]);
/* Path of a cgroup relative to the mount, for people. */
int sl_cgroups_path(const struct sl_cgroups *c, uint64_t cgroup_id, char *ret, size_t len);
