/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Routes on trial: what they would do to a request that others serve. Nothing here touches the
 * request, and what the routes would do to others (mirrors, authorization) is not done. Thread: the
 * one that owns the request and the arena.
 */
#include "proxy/filter.h"
#include "snapshot/snapshot.h"

/* What differs for the client or the backend; bits. */
enum sl_shadow_difference {
	SL_SHADOW_ANSWER = 1 << 0, /* one of the agent's own, where the other is not, or another */
	SL_SHADOW_BACKENDS = 1 << 1, /* or their shares */
	SL_SHADOW_PATH = 1 << 2,     /* path or Host as the backend gets them */
	SL_SHADOW_FILTERS = 1 << 3,  /* any other effect of theirs */
	SL_SHADOW_TIMEOUTS = 1 << 4,
	SL_SHADOW_RETRY = 1 << 5,
	SL_SHADOW_SESSION = 1 << 6,
	SL_SHADOW_FAULTS = 1 << 7,    /* of FaultInjections that act now */
	SL_SHADOW_BALANCING = 1 << 8, /* of the same backends, by TrafficPolicies */
	SL_SHADOW_DIFFERENCES = 9,
};

/* One of the two that are compared. */
struct sl_shadow_side {
	const struct sl_rule *rule; /* NULL: none matches */
	uint16_t status;	    /* then the answer; 0: no table is in force */
	struct sl_str passed_to;    /* then the upstream's key */
};

/* What both meet. */
struct sl_shadow_scene {
	const struct sl_snapshot *snap;	 /* where both sides' upstreams are */
	const struct sl_request *req;	 /* as received */
	const struct sl_filter_env *env; /* path normalised; what filters make lies in its arena */
	struct sl_match_scratch *scratch;
	bool faults; /* there may be some, and this host injects them */
};

/* Returns 0 or -ENOMEM. */
int sl_shadow_compare(const struct sl_shadow_scene *at, const struct sl_shadow_side *now,
		      const struct sl_shadow_side *then, unsigned *ret_differences);

/* "answer", "backends", ... for bit i of a difference. Static. */
const char *sl_shadow_difference_name(unsigned i);
