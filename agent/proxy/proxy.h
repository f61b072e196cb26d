/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The proxy of one worker: accepts steered connections, speaks HTTP/1 or tunnels, routes each
 * request by the current snapshot, and keeps the connections to endpoints. Everything of one proxy
 * stays in one thread; it knows neither BPF nor Kubernetes, what it needs of the host comes by
 * callback.
 */
#include "base/clock.h"
#include "http/h1_parse.h"
#include "loop/loop.h"
#include "netns/netns.h"
#include "obs/access_log.h"
#include "obs/metrics.h"
#include "snapshot/snapshot.h"

struct sl_proxy;
struct sl_handed;

struct sl_proxy_original {
	struct sl_addr addr; /* that the client dialled */
	uint64_t cgroup_id;  /* of the client, 0: unknown */
};

/* Accepted in one worker, served by another. */
struct sl_proxy_accepted {
	int fd;		 /* owned */
	uint64_t source; /* cookie */
	struct sl_addr peer;
};

/* What the host does for the proxy. Thread: the worker's; every function must be safe there. */
struct sl_proxy_host {
	void *arg;
	/* Where an accepted connection wanted to go. -ENOENT: it was not steered. */
	int (*original)(void *arg, int fd, struct sl_proxy_original *ret);
	/* Mark a socket as the agent's own, before connect(2). */
	int (*own)(void *arg, int fd);
	/* Pod of a cgroup; -ENOENT when none. */
	int (*pod_uid)(void *arg, uint64_t cgroup_id, char ret_uid[64]);
	/* This worker has that many more (or fewer) open connections of a namespace than it said
	 * before; said in steps, not for each. NULL: nobody wants to know. */
	void (*crowd)(void *arg, uint64_t source, int change);
	/* Give a connection to a worker that has fewer. True: taken (fd too). NULL: one worker. */
	bool (*hand_over)(void *arg, const struct sl_proxy_accepted *accepted, size_t n_own);
	/* Send a connection to the process that takes over; all in h is borrowed for the call.
	 * Returns 0 (it is lent then: see proxy/handover.h) or -ENOMEM. NULL: never asked to. */
	int (*give)(void *arg, const struct sl_handed *h);
	/* original() does not know an accepted connection: the process that was here before may,
	 * and gives it back. True: taken (fd too). NULL: nobody was. */
	bool (*ask_before)(void *arg, const struct sl_proxy_accepted *accepted);
};

struct sl_proxy_opts {
	struct sl_h1_limits h1;
	uint32_t max_conns;	     /* of this worker; default 131072 */
	uint64_t max_buffered_bytes; /* queued in all its sockets, about; default 256 MiB */
	uint64_t header_timeout_ns;  /* from the first byte of a request to the end of its head;
					default 60 s */
	uint64_t idle_timeout_ns;    /* of a client connection between requests; default 1 h */
	uint64_t linger_timeout_ns;  /* how long a closing connection is read from; default 5 s */
	uint64_t connect_timeout_ns; /* default 5 s */
};
#define SL_PROXY_OPTS_DEFAULT                                          \
	((struct sl_proxy_opts){.h1 = SL_H1_LIMITS_DEFAULT,            \
				.max_conns = 131072,                   \
				.max_buffered_bytes = 256u << 20,      \
				.header_timeout_ns = 60 * SL_NS_PER_S, \
				.idle_timeout_ns = 3600 * SL_NS_PER_S, \
				.linger_timeout_ns = 5 * SL_NS_PER_S,  \
				.connect_timeout_ns = 5 * SL_NS_PER_S})

/* metrics and log are borrowed and belong to this worker; host is copied. Returns 0 or -errno. */
int sl_proxy_new(struct sl_loop *loop, const struct sl_proxy_opts *opts,
		 const struct sl_proxy_host *host, struct sl_metrics_shard *metrics,
		 struct sl_access_log *log, struct sl_proxy **ret);
/* Cuts what is still open. Accepts NULL, returns NULL. */
struct sl_proxy *sl_proxy_free(struct sl_proxy *p);

/* From the next request on this snapshot counts; takes a reference. Returns 0 or -ENOMEM (the old
 * one stays). */
int sl_proxy_set_snapshot(struct sl_proxy *p, struct sl_snapshot *snap);

/* Serve a network namespace: fds are listening sockets, shared with the other workers and borrowed
 * until sl_proxy_remove_source(). Called again for the same cookie it replaces addresses and adds
 * the listeners that it did not have. Takes a reference of source. Returns 0 or -errno. */
int sl_proxy_add_source(struct sl_proxy *p, struct sl_source *source, const int *fds,
			uint32_t n_fds);
/* The namespace went: listeners are forgotten, its connections reset. */
void sl_proxy_remove_source(struct sl_proxy *p, uint64_t cookie);

/* Serve a connection that another worker accepted. Takes fd, also on failure. */
void sl_proxy_adopt(struct sl_proxy *p, const struct sl_proxy_accepted *accepted);

/* No new connections; idle ones are closed, each answer from now on is the connection's last. */
void sl_proxy_drain(struct sl_proxy *p);
/* A connection as people see it; all text is borrowed for the call. */
struct sl_proxy_conn {
	uint64_t source,
		opened_ns; /* with the client's port: which one it is, for two looks at it */
	uint64_t age_ns;
	const struct sl_addr *client;	  /* as the endpoint sees it */
	const struct sl_addr *original;	  /* that it dialled */
	struct sl_str pod_namespace, pod; /* may be empty */
	struct sl_str service;		  /* "namespace/name:port"; may be empty */
	const char *state;    /* detect idle reading connecting waiting responding answering done
				 tunnel closing */
	const char *protocol; /* "HTTP/1.1", "HTTP/1.0", "tcp", "tls"; "" while it is not known */
	uint32_t n_requests;  /* so far */
	uint64_t n_received, n_sent; /* bytes, from and to the client */
	/* Of the request under way, or the one that began the tunnel; all empty when there is none.
	 */
	struct sl_str method, authority, path, route, rule;
	uint64_t request_age_ns;
	const struct sl_addr *endpoint; /* NULL: none */
};
typedef void (*sl_proxy_conn_fn)(void *arg, const struct sl_proxy_conn *conn);

/* Where a walk over the connections goes on; zero it to begin. */
struct sl_proxy_cursor {
	uint64_t source, opened_ns;
};
/* Calls fn for about max connections behind the cursor and moves it. Returns true when there may be
 * more. Between two calls connections may come and go: each that is open all the while is seen
 * once. Thread: worker. */
bool sl_proxy_each_conn(struct sl_proxy *p, struct sl_proxy_cursor *cursor, uint32_t max,
			sl_proxy_conn_fn fn, void *arg);
/* Connections of clients that are open. Thread: any. */
size_t sl_proxy_n_conns(const struct sl_proxy *p);
