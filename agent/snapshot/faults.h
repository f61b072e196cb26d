/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * What goes wrong on purpose for requests of a rule, or to an upstream: a FaultInjection, compiled.
 * A part that rules and upstreams share. It ends by the clock of those who look at it, whether or
 * not anybody takes it away. How many requests it holds is counted by all workers together, and
 * through the versions of a policy.
 */
#include "base/cleanup.h"
#include "snapshot/match_index.h"

struct sl_match_scratch;

struct sl_fault_share {
	uint32_t numerator, denominator; /* numerator 0: never */
};

struct sl_fault {
	struct sl_match *matches; /* without a rule; any of them will do */
	uint32_t n_matches;
	struct {
		struct sl_fault_share of;
		uint64_t ns, jitter_ns; /* from ns - jitter_ns to ns + jitter_ns */
	} delay;
	struct {
		struct sl_fault_share of;
		uint16_t http_status; /* 0: for gRPC requests alone */
		uint8_t grpc_status;  /* 0: what stands for http_status */
	} abort;
};

struct sl_fault_count {
	struct sl_part part;
	atomic_uint held;
};

struct sl_faults {
	struct sl_part part;
	struct sl_arena arena;
	struct sl_str policy;	     /* "FaultInjection/namespace/name" */
	int64_t starts_s, expires_s; /* since the epoch */
	uint32_t max_delayed;
	struct sl_fault *items; /* in order: the first that fits is the one */
	uint32_t n;
	struct sl_fault_count *count; /* a reference */
};

/* For compile: an empty part with one reference, which counts on where count is (NULL: a new one).
 * Returns 0 or -ENOMEM. */
int sl_faults_new(struct sl_fault_count *count, struct sl_faults **ret);
/* Once matches are filled in. Returns 0 or -ENOMEM. */
int sl_faults_seal(struct sl_faults *f);
/* Both accept NULL. Thread: any. */
struct sl_faults *sl_faults_ref(struct sl_faults *f);
void sl_faults_unref(struct sl_faults *f);
SL_DEFINE_CLEANUP(struct sl_faults *, sl_faults_unref)

/* now_s: of CLOCK_REALTIME. */
static inline bool sl_faults_in_force(const struct sl_faults *f, int64_t now_s)
{
	return f->starts_s <= now_s && now_s < f->expires_s;
}
/* At this moment, by the host's clock. Thread: any. */
bool sl_faults_act(const struct sl_faults *f);

/* The first that fits the request, NULL when none does; arguments as of sl_route_table_match().
 * Thread: worker. */
const struct sl_fault *sl_faults_find(const struct sl_faults *f, const struct sl_request *req,
				      struct sl_str path, struct sl_match_scratch *scratch,
				      struct sl_arena *arena);

/* One more request is held, if there may be; then it is to be released. Thread: any. */
bool sl_faults_hold(struct sl_faults *f);
void sl_faults_release(struct sl_faults *f);
