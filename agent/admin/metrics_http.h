/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * A small HTTP endpoint of the control thread for Prometheus and the kubelet: GET and HEAD of
 * /metrics, /healthz and /readyz, one request a connection. Nothing of it touches the proxy.
 *
 * Thread: the loop's.
 */
#include "base/addr.h"
#include "loop/loop.h"

struct sl_metrics;
struct sl_metrics_http;

/* Returns NULL when all is well, else why not, as text for people (valid until the next call). */
typedef const char *(*sl_metrics_http_probe)(void *arg);

struct sl_metrics_http_opts {
	struct sl_addr address;		   /* port 0: the kernel chooses */
	struct sl_metrics *metrics;	   /* borrowed */
	sl_metrics_http_probe not_healthy; /* /healthz: 200 or 503; NULL: always 200 */
	sl_metrics_http_probe not_ready;   /* /readyz: likewise */
	void *arg;			   /* of both */
	const int *inherited; /* the listening socket of another process, at that address; taken in
				 any case. NULL: make one */
};

/* Returns 0 or -errno; -EADDRINUSE when the port is taken. */
int sl_metrics_http_open(struct sl_loop *loop, const struct sl_metrics_http_opts *opts,
			 struct sl_metrics_http **ret);
/* The listening socket, borrowed. */
int sl_metrics_http_fd(const struct sl_metrics_http *h);
/* Accepts NULL, returns NULL. */
struct sl_metrics_http *sl_metrics_http_close(struct sl_metrics_http *h);
/* Where it listens. */
const struct sl_addr *sl_metrics_http_address(const struct sl_metrics_http *h);
