/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The kernel half of Sluice as the agent sees it: loads and attaches the BPF programs, brings the
 * maps to a plan, marks the agent's own sockets, tells where an accepted connection wanted to go.
 * Knows no routes and opens no sockets of its own.
 *
 * Programs and maps stay pinned when the agent goes: the failure policy then acts, and the next
 * agent takes them over without a gap.
 *
 * Thread: main, unless a function says any.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/addr.h"
#include "base/buf.h"
#include "sluice/abi.h"
#include "snapshot/plan.h"

struct sl_datapath;

/* Who serves a virtual address when the agent does not. */
enum sl_vip_provider {
	SL_VIP_OTHER, /* kube-proxy or its like: the connection is left alone */
	SL_VIP_SELF,  /* nobody: the connect hook balances over the plan's endpoints */
};

/* Zero stands for the default everywhere. */
struct sl_datapath_opts {
	const char *cgroup_path;       /* cgroup2 directory to attach to; required */
	const char *bpffs_dir;	       /* SL_PIN_DIR */
	uint64_t heartbeat_limit_ns;   /* 3 s */
	enum sl_failure_policy policy; /* for services that say SL_FAIL_DEFAULT; itself: open */
	enum sl_vip_provider provider;
	/* Map sizes. Maps that are already pinned keep theirs, with a warning. */
	uint32_t max_services, max_endpoints, max_netns, max_addrs, max_flows;
	/* Another agent uses the pins, and is about to give them up: load everything, change
	 * nothing. The datapath is paused until sl_datapath_claim(). */
	bool beside;
};

/*
 * Mounts bpffs if need be, loads, attaches, pins. Pins of the same SL_ABI_VERSION are taken over:
 * maps keep their content, links change their program atomically. Pins of another version are
 * removed first, with a warning. Nothing is steered before the first sl_datapath_heartbeat(),
 * unless the heartbeat of the agent before is still young. One agent at a time uses a bpffs_dir:
 * -EBUSY while another process has it open. Returns 0 or -errno; then *ret is untouched and err
 * holds one line that names the remedy.
 */
int sl_datapath_open(const struct sl_datapath_opts *opts, struct sl_datapath **ret, char *err,
		     size_t err_len);
/*
 * One agent takes over from another that runs (docs/architecture/upgrade.md). The old one pauses,
 * then the new one, opened with opts.beside, claims, fills the maps, attaches. Should the new one
 * fail in between, the old one claims, fills and attaches: all is as it was.
 *
 * When both have the same SL_ABI_VERSION the new one goes on with the maps and exchanges the
 * programs. Else it has maps of its own: the programs that steer are exchanged, one by one; the
 * others of the old one stay attached beside its own, in the folder "before" of the pins, for the
 * sockets that they know.
 *
 * While paused, everything that would write to the kernel succeeds and does nothing.
 */
void sl_datapath_pause(struct sl_datapath *dp);
bool sl_datapath_is_paused(const struct sl_datapath *dp);
/* The maps are ours (again). lock: as sl_datapath_lock_fd() of the other agent, taken; -1: we have
 * it. Returns 0 or -errno with err filled; then it is paused still. */
int sl_datapath_claim(struct sl_datapath *dp, int lock, char *err, size_t err_len);
/* Pins what is not pinned, and has the hooks run our programs. Returns 0 or -errno with err
 * filled. */
int sl_datapath_attach(struct sl_datapath *dp, char *err, size_t err_len);
/* The lock of the pins, borrowed: whoever has this open file has them. -1: we do not. */
int sl_datapath_lock_fd(const struct sl_datapath *dp);
/* The other agent has died: have the lock instead of it. Returns 0, -EBUSY while it lives, or
 * -errno. */
int sl_datapath_try_lock(struct sl_datapath *dp);
/* A process has the lock. bpffs_dir: NULL for SL_PIN_DIR. */
bool sl_datapath_is_locked(const char *bpffs_dir);
/* Opened beside maps of another SL_ABI_VERSION. */
bool sl_datapath_is_other_abi(const struct sl_datapath *dp);
/* Which folder that is, to compare. Returns 0, -ENOENT when there is none, or -errno. */
int sl_datapath_pins_id(const char *bpffs_dir, uint64_t *ret_dev, uint64_t *ret_ino);

/* detach: also remove links and maps from the kernel; else they stay pinned (as they do while it is
 * paused). Accepts NULL. */
struct sl_datapath *sl_datapath_close(struct sl_datapath *dp, bool detach);
/* Removes whatever an agent left pinned in bpffs_dir (NULL: SL_PIN_DIR), without loading anything.
 * Returns 0 (also when nothing was there), -EBUSY while an agent uses it, or another -errno. */
int sl_datapath_remove(const char *bpffs_dir);

/*
 * Make before break: sl_datapath_retract(new plan), publish the snapshot to the workers, then
 * sl_datapath_apply(new plan).
 *
 * apply adds and updates, endpoints before their service. A service that does not fit leaves all
 * others working and is given to @failed (NULL: only logged) with -ENOSPC; when only its endpoints
 * do not fit it is steered with those that do. Returns 0 or the first error. Costs what differs
 * from the plan that was applied last; the same plan again costs no system call.
 */
typedef void (*sl_datapath_failed_fn)(void *arg, const struct sl_plan_service *service, int error);
int sl_datapath_apply(struct sl_datapath *dp, const struct sl_plan *plan,
		      sl_datapath_failed_fn failed, void *arg);
/* Removes the services that the plan does not have; NULL: all. Returns 0 or -errno. */
int sl_datapath_retract(struct sl_datapath *dp, const struct sl_plan *plan);

/* Says that fd is the agent's own: SL_OWN_LISTENER before it is published with
 * sl_datapath_netns_set() (accepted sockets inherit it), SL_OWN_UPSTREAM before connect(2).
 * One system call. Thread: any. Returns 0 or -errno. */
int sl_datapath_own(const struct sl_datapath *dp, int fd, uint32_t kind);

/* Where a connection accepted by one of the agent's listeners wanted to go. */
struct sl_original {
	struct sl_addr addr;
	uint64_t cgroup_id; /* of the client task when it called connect(2) */
	uint64_t netns;	    /* cookie */
};
/* Returns 0, or -ENOENT when it was not steered (somebody called the listener itself).
 * Thread: any. */
int sl_datapath_original(const struct sl_datapath *dp, int fd, struct sl_original *ret);

/* Where the agent listens in a network namespace. Ports 0: no listener of that family. */
struct sl_netns_entry {
	uint16_t
		port4; /* host order; on 127.0.0.1 .. 127.0.0.n_addr4, each with its own listener */
	uint16_t port6;	  /* on ::1 */
	uint16_t n_addr4; /* 0 counts as 1; at most 250 */
	/* Shown by getsockname(2) in place of loopback; all zero: none. Ports are ignored. */
	struct sl_addr source4, source6;
};
/* Publish after listen(2). Returns 0, -ENOSPC or another -errno. */
int sl_datapath_netns_set(struct sl_datapath *dp, uint64_t cookie, const struct sl_netns_entry *e);
/* Also forgets its addresses. Returns 0 also when it was not there. */
int sl_datapath_netns_del(struct sl_datapath *dp, uint64_t cookie);
/* After a restart: removes the network namespaces that are not among the n cookies. */
int sl_datapath_netns_prune(struct sl_datapath *dp, const uint64_t *cookies, size_t n);
/* The namespace's own addresses (ports are ignored): a socket bound to any other is not steered.
 * Loopback addresses need not be given. del returns 0 also when it was not there. */
int sl_datapath_addr_set(struct sl_datapath *dp, uint64_t cookie, const struct sl_addr *a);
int sl_datapath_addr_del(struct sl_datapath *dp, uint64_t cookie, const struct sl_addr *a);
/* The cookie of the network namespace that a socket was made in (SO_NETNS_COOKIE). Thread: any. */
int sl_datapath_netns_cookie(int fd, uint64_t *ret);

/* All workers are alive. Costs no system call. Thread: any. */
void sl_datapath_heartbeat(struct sl_datapath *dp);

/* To be watched for EPOLLIN; then consume. At most one event a second per network namespace.
 * Returns the number of events given to fn, or -errno. */
typedef void (*sl_datapath_event_fn)(void *arg, const struct sl_event *ev);
int sl_datapath_events_fd(const struct sl_datapath *dp);
int sl_datapath_events_consume(struct sl_datapath *dp, sl_datapath_event_fn fn, void *arg);

/* Counters since the maps were made, over all CPUs. Thread: any. Returns 0 or -errno. */
int sl_datapath_stats(const struct sl_datapath *dp, uint64_t ret[SL_REASON_MAX]);
/* "steered", "no_listener", ...; as metrics label it. NULL when out of range. Thread: any. */
const char *sl_reason_name(unsigned reason);
const char *sl_reason_help(unsigned reason);

/*
 * Flows of UDP and connections of TCP that the kernel dealt out by itself, those that it refused
 * for want of an endpoint too: n more of them fell to the share. Told when it is asked for, and
 * before a split of the plan goes or is replaced; what was dealt out before the split was written
 * by this process is not.
 */
typedef void (*sl_datapath_flows_fn)(void *arg, const struct sl_plan_split *split,
				     const struct sl_plan_share *share, uint64_t n);
/* arg is borrowed until sl_datapath_close(). fn: NULL: nobody. */
void sl_datapath_on_flows(struct sl_datapath *dp, sl_datapath_flows_fn fn, void *arg);
/* One system call for each split. */
void sl_datapath_flows_read(struct sl_datapath *dp);

/* What the maps hold now, as text for people: services with endpoints, namespaces, counters.
 * Returns 0 or -errno (what was appended so far stays). */
int sl_datapath_dump(const struct sl_datapath *dp, struct sl_buf *out);
