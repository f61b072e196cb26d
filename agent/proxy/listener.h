/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Listening sockets of one network namespace in this worker's loop. Every worker has all of them
 * (EPOLLEXCLUSIVE wakes one); they belong to the control thread. Thread: worker. */
#include "proxy/state.h"

/* No-op when it has that descriptor already. Returns 0 or -errno. */
int sl_listener_add(struct sl_proxy_source *src, int fd);
/* Take what waits in the queues now. */
void sl_listener_accept_all(struct sl_proxy_source *src);
void sl_listener_remove_all(struct sl_proxy_source *src);
