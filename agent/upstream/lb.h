/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What balancers share. Private to upstream/. Thread: the worker's. */
#include "upstream/upstream.h"

/* What a worker keeps for one upstream; outlives snapshots, so that endpoint churn does not restart
 * the round. */
struct sl_lb_state {
	struct sl_str key;	       /* of the upstream; bytes follow the struct */
	uint64_t next;		       /* of round robin */
	struct sl_lb_clients *clients; /* who stays where; NULL: nobody yet */
	char bytes[];
};

struct sl_lb {
	struct sl_map states; /* by key */
	uint64_t random;
};

/* How much can be left out; each level includes those after it. */
enum sl_lb_level {
	SL_LB_BEST,    /* neither the avoided nor the ejected */
	SL_LB_EJECTED, /* ejected ones too: all are */
	SL_LB_ANY,     /* the avoided one too */
	SL_LB_N_LEVELS
};

/* One request's choice. */
struct sl_lb_choice {
	struct sl_lb *lb;
	struct sl_lb_state *state; /* NULL: out of memory */
	const struct sl_upstream *up;
	const struct sl_lb_ask *ask;
	enum sl_lb_level level;
};

#define SL_LB_NONE UINT32_MAX

/* A balancer gives the index of an endpoint that sl_lb_takes(), SL_LB_NONE when there is none. */
struct sl_lb_ops {
	uint32_t (*pick)(const struct sl_lb_choice *c);
};
extern const struct sl_lb_ops sl_lb_round_robin, sl_lb_least_request, sl_lb_peak_ewma, sl_lb_hash;

/* Whether the i-th may have it at this level. */
bool sl_lb_takes(const struct sl_lb_choice *c, uint32_t i);
/* The first from start on that takes it. */
uint32_t sl_lb_scan(const struct sl_lb_choice *c, uint32_t start);
/* Of 1024: the part of its share that an endpoint in its slow start gets. */
uint32_t sl_lb_warmth(const struct sl_lb_choice *c, uint32_t i);

/* ---- lb_clients.c: sessionAffinity ---- */
/* The one that the client has had, or gets from pick; SL_LB_NONE as pick. */
uint32_t sl_lb_stay(const struct sl_lb_choice *c, uint32_t (*pick)(const struct sl_lb_choice *c));
struct sl_lb_clients *sl_lb_clients_free(struct sl_lb_clients *c); /* accepts NULL */

/* ---- outlier.c ---- */
/* Returns true when it is ejected now. */
bool sl_outlier_note(const struct sl_upstream *up, uint32_t endpoint, enum sl_outcome outcome,
		     uint64_t now_ns);
/* ---- latency.c ---- */
/* The endpoint's peak moving average now. */
uint64_t sl_latency_now(const struct sl_load *l, uint64_t now_ns);
void sl_latency_note(struct sl_load *l, uint64_t latency_ns, uint64_t now_ns);
