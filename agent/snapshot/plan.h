/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The datapath plan: which virtual addresses the kernel takes to the agent, and what it does with
 * them while the agent is away. compile writes it as part of the snapshot, datapath brings the BPF
 * maps to it. It holds only Services that have a rule attached: everything else is none of ours.
 *
 * A plan is immutable and borrows everything it points to from its snapshot; whoever uses it holds
 * the snapshot for that long. Thread: any.
 */
#include "base/addr.h"
#include "base/str.h"

/* What happens to a new connection when the agent cannot take it. */
enum sl_failure_policy {
	SL_FAIL_DEFAULT, /* as the agent was told at start (sl_datapath_opts.policy) */
	SL_FAIL_OPEN,	 /* without rules, as if there were no mesh */
	SL_FAIL_CLOSED,	 /* refused with EPERM */
};

/* One port of one Service address; a dual-stack Service with two ports is four of these. */
struct sl_plan_service {
	struct sl_addr vip; /* unique in a plan: of two with the same address the first counts */
	enum sl_failure_policy policy;
	struct sl_str name; /* "namespace/name:port", for messages */
	/* Ready endpoints of the parent Service itself, of the vip's family; may be empty. The
	 * kernel balances over them when the policy is open and nobody else serves the address. */
	const struct sl_addr *endpoints;
	uint32_t n_endpoints;
};

struct sl_plan {
	const struct sl_plan_service *services;
	uint32_t n_services;
};
