/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * What names of hosts outside of the cluster stand for, as DNS said last. Knows no DNS: whoever
 * asks it puts the answers here, the compiler looks them up. Thread: control.
 */
#include "base/addr.h"
#include "base/map.h"
#include "base/str.h"

/* One answer. Immutable and counted: the same pointer means that nothing changed. */
struct sl_host {
	unsigned refs;
	struct sl_str name;	/* lower case, without "." at the end */
	uint32_t n_addrs;	/* 0: the name does not exist, or has no address */
	struct sl_addr addrs[]; /* sorted, port 0 */
};

/* Sorts a copy of addrs. Returns 0 or -ENOMEM; *ret has one reference. */
int sl_host_new(struct sl_str name, const struct sl_addr *addrs, uint32_t n, struct sl_host **ret);
struct sl_host *sl_host_ref(struct sl_host *h); /* accepts NULL */
/* Accepts NULL, returns NULL. */
struct sl_host *sl_host_unref(struct sl_host *h);
bool sl_host_eq(const struct sl_host *a, const struct sl_host *b); /* either may be NULL */

struct sl_hosts {
	struct sl_map by_name; /* references */
};
#define SL_HOSTS_INIT ((struct sl_hosts){0})

void sl_hosts_deinit(struct sl_hosts *h);
/* In place of the answer of the same name. Takes the reference, also on failure. Returns 0 or
 * -ENOMEM (as it was). */
int sl_hosts_put(struct sl_hosts *h, struct sl_host *host);
/* True when there was one. */
bool sl_hosts_drop(struct sl_hosts *h, struct sl_str name);
/* Borrowed, NULL when there is no answer. */
struct sl_host *sl_hosts_get(const struct sl_hosts *h, struct sl_str name);
