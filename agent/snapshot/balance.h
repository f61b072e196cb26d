/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * How the requests of one upstream are balanced where a TrafficPolicy or its Service says more than
 * one endpoint after the other. Immutable, but for struct sl_load.
 */
#include "base/arena.h"
#include "base/str.h"
#include "snapshot/part.h"

/*
 * What is under way at an endpoint, or at a Service as a whole, and how it did lately. The one
 * thing in a snapshot that changes: all workers count in the same one, as limits and ejections are
 * for all of them, and the next snapshot goes on with it. Only upstreams with a policy have any.
 *
 * Members are looked at one by one and need not fit together: relaxed atomics. Times are of
 * sl_loop_now(). Thread: any.
 */
struct sl_load {
	struct sl_part part;
	atomic_uint requests, connections;
	atomic_uint pending;	 /* of a Service: requests that wait for a connection */
	atomic_uint in_a_row[3]; /* by enum sl_outcome, from SL_OUTCOME_5XX on */
	atomic_uint n_ejections;
	atomic_flag judging; /* of a Service: one worker counts who is ejected */
	_Atomic uint64_t error_ns, ejected_until_ns;
	_Atomic uint64_t latency_ns, latency_at_ns; /* peak moving average, and of when */
	_Atomic uint64_t since_ns;		    /* in use; 0: nobody has picked it yet */
	char pad[64]; /* workers that use the next one are not slowed down */
};

/* How an endpoint did. What is worse counts for what is less bad too. */
enum sl_outcome {
	SL_OUTCOME_NONE, /* nothing was learned of it */
	SL_OUTCOME_OK,
	SL_OUTCOME_5XX,	    /* an answer of 500 or more */
	SL_OUTCOME_GATEWAY, /* 502, 503, 504, a lost connection, an answer that is none */
	SL_OUTCOME_CONNECT, /* no connection */
};

enum sl_balancer {
	SL_BALANCER_ROUND_ROBIN,
	SL_BALANCER_LEAST_REQUEST, /* the better of two */
	SL_BALANCER_PEAK_EWMA,	   /* likewise, by latency and requests */
	SL_BALANCER_HASH,
	SL_N_BALANCERS
};

enum sl_hash_source { SL_HASH_HEADER, SL_HASH_COOKIE, SL_HASH_CLIENT };

/* A number or a time of 0 is off. */
struct sl_outliers {
	uint32_t in_a_row[3]; /* as in struct sl_load */
	uint64_t interval_ns; /* errors further apart are not in a row */
	uint64_t ejection_ns, max_ejection_ns;
	uint32_t max_percent; /* of the usable endpoints, rounded down */
};

struct sl_breaker {
	uint32_t connections, pending, requests, requests_per_connection;
	uint32_t endpoint_connections, endpoint_requests;
};

/* Slots of the table of consistent hashing: a prime. With n endpoints shares are even to about n
 * times this part of all. */
enum { SL_HASH_SLOTS = 16381 };

struct sl_balance {
	struct sl_str policy; /* "TrafficPolicy/namespace/name"; empty: the Service's own words */
	enum sl_balancer balancer;
	enum sl_hash_source hash;
	struct sl_str hash_name; /* in lower case when of a header */
	const uint16_t *slots;	 /* SL_HASH_SLOTS indices of usable endpoints; NULL: no hashing */
	uint64_t affinity_ns;	 /* sessionAffinity: a client stays for this long; 0: none */
	uint64_t slow_start_ns;
	struct sl_outliers outliers;
	struct sl_breaker limits;
	struct sl_load *load;	/* of the Service; NULL without a policy, as is the next */
	struct sl_load **loads; /* one for each endpoint of the upstream */
};

int sl_load_new(struct sl_load **ret);
static inline void sl_load_unref(struct sl_load *l)
{
	sl_part_unref(l ? &l->part : NULL);
}

/* The same on every node and in every version. */
uint64_t sl_balance_hash(struct sl_str s);

/*
 * Maglev's table (Eisenbud and others, NSDI 2016): each of the n names gets as many slots as the
 * next, and keeps nearly all of them when others come and go. names in any order; n up to 65535.
 * Returns 0 or -ENOMEM.
 */
int sl_hash_slots(struct sl_arena *a, const uint64_t *names, uint32_t n, const uint16_t **ret);
