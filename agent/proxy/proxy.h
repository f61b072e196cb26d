/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The proxy of one worker: accepts steered connections, speaks HTTP or tunnels, routes each
 * request by the current snapshot, and keeps the connections to endpoints. Everything of one proxy
 * stays in one thread; it knows neither BPF nor Kubernetes, what it needs of the host comes by
 * callback.
 */
#include "base/clock.h"
#include "http/h1_parse.h"
#include "http/h2.h"
#include "loop/loop.h"
#include "netns/netns.h"
#include "obs/access_log.h"
#include "obs/metrics.h"
#include "obs/splice_why.h"
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

/* Between whom the kernel may carry bytes: see splice.h. */
enum sl_splice_hop {
	SL_SPLICE_CLIENT,   /* the client's socket and the one accepted for it */
	SL_SPLICE_ENDPOINT, /* the agent's socket and the one that an endpoint here accepted */
	SL_SPLICE_HOPS,
};

/* The question about a hop and its answer, moved by compare-and-exchange on both sides. */
enum sl_splice_cell {
	SL_SPLICE_CELL_IDLE,
	SL_SPLICE_CELL_ASK,	/* agent: take it over when both directions are empty */
	SL_SPLICE_CELL_LOOKING, /* kernel: holds the app's socket locked, an answer follows: IN,
				   REFUSED, or ASK again as bytes are under way */
	SL_SPLICE_CELL_IN,	/* kernel: done */
	SL_SPLICE_CELL_REFUSED, /* kernel: cannot be, why() says why */
	SL_SPLICE_CELL_ASK_OUT, /* agent: take the app out when it has read everything */
	SL_SPLICE_CELL_OUT,	/* either: done */
};

/* Memory that the agent and the kernel's programs share about one hop. All access is atomic. Counts
 * are of bytes since the connection was established. */
struct sl_splice_lease {
	uint32_t *state; /* enum sl_splice_cell */
	/* Written by the agent: */
	uint64_t *taken; /* received from its own socket */
	uint64_t *done;	 /* sent to the app: stored after send(2) returned */
	/* Written by the kernel, from the promotion on: */
	const uint64_t *app_sent; /* at least what the app has sent */
	const uint64_t *app_seen; /* what done was when the app was seen to have read everything */
	const uint64_t *app_cookie; /* of the app's socket */
	/* Sends of own that failed with EPIPE, or were cut short, because the app held its lock. */
	const uint32_t *waits;
	const uint32_t *unfit; /* not 0: the app does what the redirect cannot carry */
	void *host;	       /* the host's own, until close */
};

/* The kernel half of splicing. Thread: the worker's. */
struct sl_splice_host {
	void *arg;	   /* this worker's */
	bool vouched_only; /* no detector of splice(2): only programs that an annotation vouches for
			    */
	/* Tell the kernel of a hop: own is the agent's socket, app_netns where the other end is.
	 * taken and done are set. It is taken over after own has sent at least once more. Returns
	 * 0, -ENOSPC (no slot), -ENOMEM, -EBUSY (somebody else's), -EOPNOTSUPP or -ENOTCONN (not
	 * established any more) or another -errno. */
	int (*open)(void *arg, int own, enum sl_splice_hop hop, uint64_t app_netns, uint64_t taken,
		    uint64_t done, struct sl_splice_lease *ret);
	/* The hop ends. closes: own is closed next, and what waits in its queue is thrown away;
	 * else it stays TCP's, and the app is not IN. Returns false, only when it stays, as long as
	 * bytes wait in own's queue that the kernel redirected: the hop goes on then. */
	bool (*close)(void *arg, const struct sl_splice_lease *l, int own, bool closes);
	/* Take the app out, which is known to have read everything. Returns 0 (also when it was not
	 * there any more) or -errno. */
	int (*take_out)(void *arg, const struct sl_splice_lease *l);
	/* Whether the app is in still: it leaves also when it is closed. */
	bool (*has_app)(void *arg, const struct sl_splice_lease *l);
	/* What unfit says, else why it was REFUSED, else why it is not IN yet. Never NONE. */
	enum sl_splice_why (*why)(const struct sl_splice_lease *l);
	/* This worker has hops with their app there that ask, or has none any more. Passes are made
	 * as long as anybody has; sl_proxy_splice_passed() follows each. Returns 0 or -ENOMEM. */
	int (*wanted)(void *arg, uint64_t app_netns, bool wanted);
	/* Somebody waits in ASK_OUT: a pass soon. Returns 0 or -ENOMEM. */
	int (*hurry)(void *arg, uint64_t app_netns);
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
	struct sl_splice_host splice; /* open is NULL: splicing is off */
};

/* What the kernel may queue for each TCP socket of the proxy's; 0: as it sees fit. Without these a
 * client that does not read fills a receive buffer that the kernel has let grow to tcp_rmem[2],
 * 32 MiB, while it read well, and a send buffer of tcp_wmem[2]. */
struct sl_proxy_room {
	uint32_t receive_bytes; /* the window; with its overhead it costs up to twice as much */
	uint32_t unsent_bytes;	/* besides what is on its way */
};

struct sl_proxy_opts {
	struct sl_h1_limits h1;
	uint32_t max_conns;	     /* of this worker; default 131072 */
	uint32_t share_descriptors;  /* there are for connections; of them too a pod's are no more
					than its share; 0: enough for all */
	uint64_t max_buffered_bytes; /* queued in all its sockets, about; default 256 MiB */
	struct sl_proxy_room room;   /* default 2 MiB, 512 KiB */
	uint32_t max_mirrors;	     /* mirrors under way; default 1024 */
	uint32_t mirror_body_bytes;  /* that a mirror may lag behind; default 256 KiB */
	uint32_t auth_body_bytes;    /* that an authorization may see; default 1 MiB */
	uint64_t auth_timeout_ns;    /* for its answer; default 5 s */
	bool no_faults;		     /* of FaultInjections nothing is done */
	uint64_t header_timeout_ns;  /* from the first byte of a request to the end of its head;
					default 60 s */
	uint64_t idle_timeout_ns;    /* of a client connection between requests; default 1 h */
	uint64_t linger_timeout_ns;  /* how long a closing connection is read from while the client
					sends nothing; default 5 s */
	uint64_t connect_timeout_ns; /* default 5 s */
	uint64_t ping_interval_ns;   /* HTTP/2 connections with open streams; default 60 s */
	struct sl_h2_limits h2;	     /* head_bytes, n_headers and trailer_bytes are h1's: see
					sl_proxy_new() */
	/* Splicing: what one application may have unread, and all of this worker's; exchanges
	 * before a connection is a candidate. Default 256 KiB, 64 MiB, 2. */
	uint64_t splice_bytes, splice_total_bytes;
	uint32_t splice_exchanges;
};
#define SL_PROXY_OPTS_DEFAULT                                          \
	((struct sl_proxy_opts){.h1 = SL_H1_LIMITS_DEFAULT,            \
				.max_conns = 131072,                   \
				.max_buffered_bytes = 256u << 20,      \
				.room = {2u << 20, 512u << 10},        \
				.max_mirrors = 1024,                   \
				.mirror_body_bytes = 256u << 10,       \
				.auth_body_bytes = 1u << 20,           \
				.auth_timeout_ns = 5 * SL_NS_PER_S,    \
				.header_timeout_ns = 60 * SL_NS_PER_S, \
				.idle_timeout_ns = 3600 * SL_NS_PER_S, \
				.linger_timeout_ns = 5 * SL_NS_PER_S,  \
				.connect_timeout_ns = 5 * SL_NS_PER_S, \
				.ping_interval_ns = 60 * SL_NS_PER_S,  \
				.h2 = SL_H2_LIMITS_DEFAULT,            \
				.splice_bytes = 256u << 10,            \
				.splice_total_bytes = 64u << 20,       \
				.splice_exchanges = 2})

/* metrics and log are borrowed and belong to this worker; host is copied. Heads have the limits of
 * opts->h1 in HTTP/2 too. Returns 0 or -errno. */
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

/* The kernel has looked at the hops that ask and whose app is in that namespace. */
void sl_proxy_splice_passed(struct sl_proxy *p, uint64_t app_netns);
/* The app with that cookie reads in a way that never sees what is redirected: reset its connection,
 * if it is one of this proxy's. */
void sl_proxy_splice_cut(struct sl_proxy *p, uint64_t app_cookie);

/* The kernel steers no more connections here: idle ones are closed, each answer from now on is the
 * connection's last. Those whose SYN was under way are still accepted. */
void sl_proxy_drain(struct sl_proxy *p);
/* Behind a drain: the last of them are accepted, the listeners are let go. */
void sl_proxy_end_accepting(struct sl_proxy *p);

/* A connection as people see it; in HTTP/2 one for each request that is under way on it. All text
 * is borrowed for the call. */
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
	const char *protocol; /* "HTTP/2", "HTTP/1.1", "HTTP/1.0", "tcp", "tls"; "" while it is not
				 known */
	uint32_t n_requests;  /* so far */
	uint64_t n_received, n_sent; /* bytes, from and to the client */
	/* Of the request under way, or the one that began the tunnel; all empty when there is none.
	 */
	struct sl_str method, authority, path, route, rule;
	uint64_t request_age_ns;
	const struct sl_addr *endpoint; /* NULL: none */
	/* "plain", "candidate", "spliced", "leaving" or "left", and why not spliced; the second
	 * pair is of the connection to the endpoint, empty without one. */
	const char *splice, *splice_why, *endpoint_splice, *endpoint_splice_why;
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
