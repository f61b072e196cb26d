/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The upstream side of one worker: choosing a backend and an endpoint, and the connections kept
 * open to endpoints, per source network namespace (a pooled connection carries the client pod's
 * address, so pods never share one). Knows nothing of HTTP: a pooled connection is a descriptor
 * that is idle between exchanges.
 *
 * Thread: one worker; nothing is shared.
 */
#include "base/addr.h"
#include "loop/loop.h"
#include "snapshot/snapshot.h"

/* ---- choosing ---- */

/* Smooth weighted round-robin over a rule's backends: over any n requests the shares are as even as
 * the weights allow. */
struct sl_wrr_cell {
	int64_t behind;
	uint64_t owner; /* id of the rule; 0: nobody */
};

struct sl_wrr {
	struct sl_wrr_cell *cells; /* one per backend of each rule of the snapshot */
	uint32_t n_cells, cap_cells;
	uint64_t seed; /* of the random phases */
};
#define SL_WRR_INIT ((struct sl_wrr){0})
/* For a new snapshot. Rules that it shares with the one before go on where they are; others start
 * at a random phase, so that frequent changes of configuration do not favour the first backend.
 * Returns 0 or -ENOMEM (old state kept). */
int sl_wrr_resize(struct sl_wrr *w, uint32_t n_cells);
void sl_wrr_deinit(struct sl_wrr *w);
/* Index into rule->backends, or -1 when all weights are zero. Weight 0 is never chosen. A rule of
 * an older snapshot is served too, its shares then hold on average only. Never allocates. */
int sl_wrr_pick(struct sl_wrr *w, const struct sl_rule *rule);

/*
 * One endpoint of those that are usable: one after the other, or as the upstream's sl_balance says.
 * Endpoints that are ejected, and the one to avoid, are left out as long as there is another; those
 * that have reached a limit always are.
 */
struct sl_lb;
struct sl_lb_ask {
	const struct sl_addr *avoid;  /* of a try that failed; NULL: none */
	const struct sl_addr *client; /* as endpoints see it; NULL: not known */
	uint64_t hash;		      /* of the header or cookie that the policy names */
	bool hashed;		      /* there is one */
	uint64_t now_ns;
};
int sl_lb_new(struct sl_lb **ret);
struct sl_lb *sl_lb_free(struct sl_lb *lb);
/* NULL: none is usable, or all have reached their limit. */
const struct sl_endpoint *sl_lb_pick(struct sl_lb *lb, const struct sl_upstream *up,
				     const struct sl_lb_ask *ask);
/* Forget state of the upstreams that went between two snapshots. before: NULL for none. */
void sl_lb_prune(struct sl_lb *lb, const struct sl_snapshot *before,
		 const struct sl_snapshot *after);

/*
 * A request (or tunnel) at an endpoint, or a connection to it, that is counted. Only upstreams with
 * a policy count: for all others the lease is empty, and every function does nothing.
 */
struct sl_lb_lease {
	const struct sl_upstream *up; /* a reference; NULL: not counted */
	uint32_t endpoint;
	bool pending;
};

enum sl_lb_limit {
	SL_LB_GRANTED,
	SL_LB_REQUESTS, /* refused by maxRequests */
	SL_LB_PENDING,	/* by maxPendingRequests */
	SL_LB_CONNECTIONS,
};

/* A request goes to e, which sl_lb_pick() gave. Unless it is granted nothing is leased. */
enum sl_lb_limit sl_lb_begin(struct sl_lb_lease *l, const struct sl_upstream *up,
			     const struct sl_endpoint *e);
/* It waits for a connection; until the end of the next. */
enum sl_lb_limit sl_lb_wait(struct sl_lb_lease *l);
void sl_lb_waited(struct sl_lb_lease *l);
/* It is over. latency_ns: until the head of the answer; 0: there was none. Returns true when the
 * endpoint is ejected for it. */
bool sl_lb_end(struct sl_lb_lease *l, enum sl_outcome outcome, uint64_t latency_ns,
	       uint64_t now_ns);
/* A connection is dialled for the request. Unless it is granted nothing is leased. */
enum sl_lb_limit sl_lb_connect(struct sl_lb_lease *connection, const struct sl_lb_lease *request);
void sl_lb_disconnect(struct sl_lb_lease *connection);
/* Requests that a connection may carry; 0: any number. */
uint32_t sl_lb_requests_per_connection(const struct sl_lb_lease *request);
/* Whether it gets no requests as it failed; until when, of sl_loop_now(). Thread: any. */
bool sl_lb_is_ejected(const struct sl_upstream *up, uint32_t endpoint, uint64_t now_ns);

/* ---- pool ---- */

/*
 * One connection to an endpoint that can be pooled: embedded in its owner's object. Its watch stays
 * registered (EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET) for its whole life; only watch.fn changes
 * hands between the pool and the owner, so that leasing costs no epoll_ctl(2).
 */
struct sl_pooled {
	struct sl_watch watch;
	struct sl_list by_key, by_age; /* the pool's */
	uint64_t source;	       /* cookie of the network namespace */
	uint64_t tls;		       /* id of its sl_tls_context; 0: none */
	struct sl_addr endpoint;
	uint64_t idle_since_ns;
	uint64_t sweep; /* the loop's, when it became idle */
	bool served;	/* the owner's: an exchange has gone over it */
	/* Destroys the owner's object: removes the watch, closes the descriptor, frees. */
	void (*destroy)(struct sl_pooled *c);
	void *key; /* the pool's */
};

struct sl_pool;

struct sl_pool_opts {
	uint32_t max_idle_per_key; /* default 1024 */
	uint32_t max_idle;	   /* in total per worker; default 4096; the oldest goes first */
	uint64_t idle_timeout_ns;  /* default 60 s */
};

int sl_pool_new(struct sl_loop *loop, const struct sl_pool_opts *opts, struct sl_pool **ret);
/* Destroys what is inside. */
struct sl_pool *sl_pool_free(struct sl_pool *p);
/* Most recently used first, of those that fit (NULL: all do); the caller owns it and sets watch.fn.
 * NULL when there is none. One whose peer has closed it or sent anything meanwhile is destroyed,
 * not returned. again: what is sent on it may be sent again on another one. Then one that has
 * served and had nothing to report when the loop looked last is good enough, and what its peer did
 * in the round since goes unseen; fits is NULL. source: cookie of the network namespace.
 * tls: one of another identity is never returned. */
typedef bool (*sl_pooled_fits_fn)(const struct sl_pooled *c);
struct sl_pooled *sl_pool_take(struct sl_pool *p, uint64_t source, const struct sl_addr *endpoint,
			       uint64_t tls, bool again, sl_pooled_fits_fn fits);
/* Give an idle, clean connection with source, tls, endpoint and destroy set and the watch added:
 * the pool sets watch.fn and destroys it on any EPOLLIN, EPOLLRDHUP, EPOLLHUP or EPOLLERR event
 * (EPOLLOUT alone is ignored). Takes ownership, also on failure (destroyed then). */
void sl_pool_give(struct sl_pool *p, struct sl_pooled *c);
/* Take out one that is inside; the caller owns it. */
void sl_pool_release(struct sl_pooled *c);
/* The one that has been idle for longest, whatever it is for; the caller's then. NULL: none. */
struct sl_pooled *sl_pool_take_oldest(struct sl_pool *p);
/* Destroy all of a network namespace (it went), or of the endpoints that an upstream lost between
 * two snapshots, all of them when its TLS changed (if another upstream has one too, it is dialled
 * again). before: NULL for none. */
void sl_pool_drop_source(struct sl_pool *p, uint64_t source);
/* Destroy the one to that endpoint that has been idle for longest, whosever it is. Returns false
 * when there is none. */
bool sl_pool_drop_idle(struct sl_pool *p, const struct sl_addr *endpoint);
void sl_pool_prune(struct sl_pool *p, const struct sl_snapshot *before,
		   const struct sl_snapshot *after);
size_t sl_pool_n_idle(const struct sl_pool *p);

/*
 * A connection that carries several exchanges at a time: in the pool for as long as it may take
 * further ones, while its owner goes on to use it. Embedded in its owner's object.
 */
struct sl_shared {
	struct sl_list by_key, by_age; /* the pool's */
	uint64_t source, tls;	       /* as in struct sl_pooled */
	struct sl_addr endpoint;
	bool (*has_room)(const struct sl_shared *c);
	/* Its namespace or its endpoint went, or the pool does; it is out of the pool already. */
	void (*retire)(struct sl_shared *c);
	void *key; /* the pool's; NULL: not in it */
};

/* Returns 0 or -ENOMEM. */
int sl_pool_share(struct sl_pool *p, struct sl_shared *c);
/* No-op when it is not in. */
void sl_pool_unshare(struct sl_shared *c);
/* One that has room, the oldest first, so that the others can empty; NULL when there is none. */
struct sl_shared *sl_pool_find_shared(struct sl_pool *p, uint64_t source,
				      const struct sl_addr *endpoint, uint64_t tls);
