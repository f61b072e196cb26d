/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * A scratch place for tests of network namespaces: the test gets a network and a mount namespace of
 * its own, so that nothing of what it makes is seen outside or outlives it.
 */
#include <sys/types.h>
#include "netns/netns.h"

/* Where names of namespaces go: two folders below a fresh one, which is removed at the end. */
struct scratch {
	char root[64];
	char dirs[2][80];
	struct sl_loop *loop;
};
extern struct scratch scratch;

/* Makes the root alone; the calling thread is in the new namespaces from then on. */
void scratch_open(void);
void scratch_close(void);
void scratch_make_dir(int dir);
/* Runs a shell command that must succeed. */
void scratch_run(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* An empty file, where a namespace can be mounted. */
void scratch_touch(int dir, const char *name);
/* A new namespace on that (existing) file, its lo up or down. */
void scratch_mount(int dir, const char *name, bool lo_up);
/* Both. */
void scratch_add(int dir, const char *name);
/* As "ip netns delete" does. */
void scratch_delete(int dir, const char *name);
/* A command of iproute2 inside. */
void scratch_ip(int dir, const char *name, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
uint64_t scratch_cookie(int dir, const char *name);

/* A process that does nothing in a new namespace (lo is up), or with the namespace of that process.
 */
pid_t scratch_process(pid_t like);
void scratch_kill(pid_t pid);
uint64_t scratch_cookie_of_process(pid_t pid);
size_t scratch_n_fds(void);

/* What a watch told. */
struct seen {
	unsigned n_added, n_changed, n_removed;
	struct sl_source *last; /* of the last event; a reference */
};
extern struct seen seen;
void seen_note(void *arg, enum sl_netns_event event, struct sl_source *source);
void seen_forget(void);
bool seen_addr(const char *ip);

/* Loop rounds until the condition holds; the test fails when it does not within 15 s. */
#define scratch_until(condition)                              \
	do {                                                  \
		uint64_t deadline_ = scratch_deadline();      \
		while (!(condition))                          \
			scratch_round(deadline_, #condition); \
	} while (0)
uint64_t scratch_deadline(void);
void scratch_round(uint64_t deadline, const char *condition);
