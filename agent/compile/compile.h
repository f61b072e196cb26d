/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Model in, snapshot and report out. A pure function: no descriptor, clock, log or global. What is
 * wrong with an object becomes its condition in the report and touches nothing else.
 */
#include "resource/diag.h"
#include "resource/model.h"
#include "snapshot/snapshot.h"

#define SL_CONTROLLER_NAME "sluice.dev/mesh"

struct sl_compile_opts {
	/* Of Services without annotation sluice.dev/failure-policy: open|closed. */
	enum sl_failure_policy failure_policy;
	uint64_t generation;
};

struct sl_condition {
	struct sl_str type;   /* Accepted, ResolvedRefs, PartiallyInvalid */
	struct sl_str status; /* True, False, Unknown */
	struct sl_str reason, message;
};

/* Status of one parentRef of one route; only parents that are Services have one. */
struct sl_parent_status {
	const struct sl_parent_ref *ref; /* of the route object */
	const struct sl_condition *conditions;
	uint32_t n_conditions;
};

struct sl_route_status {
	const struct sl_object *route; /* borrowed from the report's reference */
	const struct sl_parent_status *parents;
	uint32_t n_parents;
};

struct sl_compile_report {
	struct sl_arena arena;
	const struct sl_route_status *routes; /* sorted by kind, namespace, name */
	uint32_t n_routes;
	struct sl_diags diags; /* warnings about things that no condition can carry */
};

/* Returns 0 or -ENOMEM (nothing returned then: the last good snapshot stays). The report holds
 * references to objects: free it in the control thread. */
int sl_compile(const struct sl_model *model, const struct sl_compile_opts *opts,
	       struct sl_snapshot **ret, struct sl_compile_report **ret_report);
struct sl_compile_report *sl_compile_report_free(struct sl_compile_report *r);
