/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Model in, snapshot and report out. No descriptor, clock, log or global: the result depends on the
 * model and the options alone, whatever was compiled before. What is wrong with an object becomes
 * its condition in the report and touches nothing else.
 */
#include "resource/diag.h"
#include "resource/hosts.h"
#include "resource/model.h"
#include "snapshot/snapshot.h"

#define SL_CONTROLLER_NAME "sluice.dev/mesh"

struct sl_compile_opts {
	/* Of Services without annotation sluice.dev/failure-policy: open|closed. */
	enum sl_failure_policy failure_policy;
	struct sl_str node; /* this node's name, for endpoints that are near; empty: not known.
			       Borrowed by a compiler until its next run. */
	uint64_t generation;
	const struct sl_hosts *hosts; /* what DNS says; NULL: nothing. Borrowed as node. */
	int64_t now_s; /* since the epoch: what has ended by then does nothing any more */
};

struct sl_condition {
	struct sl_str type;   /* Accepted, ResolvedRefs, PartiallyInvalid, sluice.dev/Shadow,
			       * sluice.dev/Kernel */
	struct sl_str status; /* True, False, Unknown */
	struct sl_str reason, message;
};

/* Status of one parentRef of one route, or targetRef of a policy; only Services have one. */
struct sl_parent_status {
	const struct sl_parent_ref *ref; /* of the route object; of an XBackend's: a copy */
	const struct sl_condition *conditions;
	uint32_t n_conditions;
};

struct sl_route_status {
	struct sl_part part;
	struct sl_arena arena;
	struct sl_str key;	       /* "HTTPRoute/namespace/name" */
	const struct sl_object *route; /* a reference; also a policy or an XBackend */
	const struct sl_parent_status *parents;
	uint32_t n_parents;
};

static inline const struct sl_route_status *sl_route_status_of(const struct sl_part *p)
{
	return (const struct sl_route_status *)p; /* embedded first */
}

struct sl_compile_report {
	struct sl_pmap routes; /* struct sl_route_status by key; the same part: nothing changed */
	struct sl_diags diags; /* warnings about things that no condition can carry */
	int64_t next_change_s; /* when the result becomes another one by itself; INT64_MAX: never */
};

/* Returns 0 or -ENOMEM (nothing returned then: the last good snapshot stays). The report holds
 * references to objects: free it in the control thread. */
int sl_compile(const struct sl_model *model, const struct sl_compile_opts *opts,
	       struct sl_snapshot **ret, struct sl_compile_report **ret_report);
struct sl_compile_report *sl_compile_report_free(struct sl_compile_report *r);
/* Sorted by namespace, name and kind: a new array (free()) of borrowed pointers. Returns 0 or
 * -ENOMEM. */
int sl_compile_report_list(const struct sl_compile_report *r, const struct sl_route_status ***ret,
			   size_t *ret_n);

/*
 * The same with a memory: what the last run made is shared by the next, which costs what changed in
 * between and not the model. After -ENOMEM the next run makes everything anew. Thread: control.
 */
struct sl_compiler;
int sl_compiler_new(struct sl_compiler **ret);
/* Accepts NULL, returns NULL. */
struct sl_compiler *sl_compiler_free(struct sl_compiler *c);
/* As sl_compile(). The model may be another one each time; the one of the last time costs least. */
int sl_compiler_run(struct sl_compiler *c, const struct sl_model *model,
		    const struct sl_compile_opts *opts, struct sl_snapshot **ret,
		    struct sl_compile_report **ret_report);

/* Whether a route says that it is to be evaluated only (annotation sluice.dev/shadow): anything but
 * "false" does. */
bool sl_route_is_shadow(const struct sl_object *route);
