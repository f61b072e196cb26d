/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The datapath plan: which virtual addresses the kernel takes to the agent, what it does with them
 * while the agent is away, and which it spreads over backends by itself. compile writes it as part
 * of the snapshot, datapath brings the BPF maps to it. It holds only Services that have a rule
 * attached: everything else is none of ours.
 *
 * A plan is immutable and lives as long as its snapshot, or a copy of its map. Thread: any.
 */
#include "base/addr.h"
#include "snapshot/pmap.h"

/* What happens to a new connection when the agent cannot take it. */
enum sl_failure_policy {
	SL_FAIL_DEFAULT, /* as the agent was told at start (sl_datapath_opts.policy) */
	SL_FAIL_OPEN,	 /* without rules, as if there were no mesh */
	SL_FAIL_CLOSED,	 /* refused with EPERM */
};

/* One port of one Service address; a dual-stack Service with two ports is four of these. */
struct sl_plan_service {
	struct sl_part part;
	struct sl_addr vip;
	enum sl_failure_policy policy;
	struct sl_str name; /* "namespace/name:port", for messages */
	/* Ready endpoints of the parent Service itself, of the vip's family; may be empty. The
	 * kernel balances over them when the policy is open and nobody else serves the address. */
	const struct sl_addr *endpoints;
	uint32_t n_endpoints;
};

/* ---- splits: the kernel follows a rule alone ---- */

struct sl_split_at {
	struct sl_addr vip;
	uint16_t protocol; /* IPPROTO_UDP; IPPROTO_TCP: instead of the agent, which can do it too */
};
_Static_assert(sizeof(struct sl_split_at) == 20, "no padding: it is hashed as bytes");

/* What a rule may have, as the API has it. */
#define SL_SPLIT_MAX_SHARES 16

/* What one backendRef takes of the flows; those of one without endpoints are refused. */
struct sl_plan_share {
	struct sl_str backend; /* as in struct sl_backend */
	uint32_t weight;
	uint32_t n_endpoints; /* of the split's, behind those of the shares before */
};

struct sl_plan_split {
	struct sl_part part;
	struct sl_split_at at;
	struct sl_str name;  /* "namespace/name:port", of UDP "namespace/name:port/udp" */
	struct sl_str route; /* "UDPRoute/namespace/name"; empty: of none a rule can be used */
	struct sl_str rule;  /* as in struct sl_rule; empty then */
	const struct sl_plan_share *shares;
	uint32_t n_shares;		 /* none: all is refused */
	const struct sl_addr *endpoints; /* of the vip's family, that take traffic of this node */
	uint32_t n_endpoints;
};

struct sl_plan {
	struct sl_pmap services; /* vip -> struct sl_plan_service */
	struct sl_pmap splits;	 /* struct sl_split_at -> struct sl_plan_split */
};

static inline const struct sl_plan_split *sl_plan_split_of(const struct sl_part *p)
{
	return (const struct sl_plan_split *)p; /* embedded first */
}

/* As sl_plan_service_new(). */
int sl_plan_split_new(const struct sl_plan_split *from, struct sl_plan_split **ret);
bool sl_plan_split_eq(const struct sl_plan_split *a, const struct sl_plan_split *b);

static inline const struct sl_plan_service *sl_plan_service_of(const struct sl_part *p)
{
	return (const struct sl_plan_service *)p; /* embedded first */
}

/* A copy of all it points to in one block, with one reference. Returns 0 or -ENOMEM. */
int sl_plan_service_new(const struct sl_plan_service *from, struct sl_plan_service **ret);
