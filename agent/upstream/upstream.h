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

/* Round-robin over ready endpoints. avoid (may be NULL) is left out when there is another: the
 * endpoint of a failed attempt. Returns NULL when none is ready (503). */
struct sl_lb;
int sl_lb_new(struct sl_lb **ret);
struct sl_lb *sl_lb_free(struct sl_lb *lb);
const struct sl_endpoint *sl_lb_pick(struct sl_lb *lb, const struct sl_upstream *up,
				     const struct sl_addr *avoid);
/* Forget state of the upstreams that went between two snapshots. before: NULL for none. */
void sl_lb_prune(struct sl_lb *lb, const struct sl_snapshot *before,
		 const struct sl_snapshot *after);

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
	uint32_t max_idle_per_key; /* default 64 */
	uint32_t max_idle;	   /* in total per worker; default 4096; the oldest goes first */
	uint64_t idle_timeout_ns;  /* default 60 s */
};

int sl_pool_new(struct sl_loop *loop, const struct sl_pool_opts *opts, struct sl_pool **ret);
/* Destroys what is inside. */
struct sl_pool *sl_pool_free(struct sl_pool *p);
/* Most recently used first; the caller owns it and sets watch.fn. NULL when there is none. One
 * whose peer has closed it or sent anything meanwhile is destroyed, not returned. again: what is
 * sent on it may be sent again on another one. Then one that has served and had nothing to report
 * when the loop looked last is good enough, and what its peer did in the round since goes unseen.
 * source: cookie of the network namespace. */
struct sl_pooled *sl_pool_take(struct sl_pool *p, uint64_t source, const struct sl_addr *endpoint,
			       bool again);
/* Give an idle, clean connection with source, endpoint and destroy set and the watch added: the
 * pool sets watch.fn and destroys it on any EPOLLIN, EPOLLRDHUP, EPOLLHUP or EPOLLERR event
 * (EPOLLOUT alone is ignored). Takes ownership, also on failure (destroyed then). */
void sl_pool_give(struct sl_pool *p, struct sl_pooled *c);
/* The one that has been idle for longest, whatever it is for; the caller's then. NULL: none. */
struct sl_pooled *sl_pool_take_oldest(struct sl_pool *p);
/* Destroy all of a network namespace (it went), or of the endpoints that an upstream lost between
 * two snapshots (if another upstream has one too, it is dialled again). before: NULL for none. */
void sl_pool_drop_source(struct sl_pool *p, uint64_t source);
void sl_pool_prune(struct sl_pool *p, const struct sl_snapshot *before,
		   const struct sl_snapshot *after);
size_t sl_pool_n_idle(const struct sl_pool *p);
