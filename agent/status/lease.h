/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * One writer in the cluster: a Lease (coordination.k8s.io/v1) that its holder renews every 2 s. Who
 * sees it unchanged for 6 s, by the own clock, takes it. A holder that could not renew it for 4 s
 * gives up writing before anybody else may begin, so two never write. On close it is given back,
 * and the next holder need not wait.
 *
 *   FOLLOWING ── free, or unchanged for 6 s: taken ──▶ LEADING ── 4 s without renewal, or taken
 * away ──▶ FOLLOWING
 *
 * Thread: control.
 */
#include "source/kube_client.h"

struct sl_lease;

struct sl_lease_opts {
	const char *namespace, *name;
	const char *identity; /* no two alike: the Pod's name, or host and process */
};

/* leads: whether writing is ours from now on. Called when that changes. opts are copied. Returns 0
 * or -ENOMEM. */
int sl_lease_open(struct sl_loop *loop, struct sl_kube_client *client,
		  const struct sl_lease_opts *opts, void (*fn)(void *arg, bool leads), void *arg,
		  struct sl_lease **ret);
bool sl_lease_leads(const struct sl_lease *l);
/* Stops leading at once and gives the Lease back, so that the next holder need not wait. The caller
 * may run the loop until sl_lease_is_released(), or not. */
void sl_lease_release(struct sl_lease *l);
bool sl_lease_is_released(const struct sl_lease *l);
/* Accepts NULL, returns NULL. */
struct sl_lease *sl_lease_close(struct sl_lease *l);
