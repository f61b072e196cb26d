/* SPDX-License-Identifier: Apache-2.0 */
/* The retry budget of an XBackendTrafficPolicy, as workers need it. */
#include <errno.h>
#include "compile/work.h"

int budget_build(const struct sl_compiler *c, const struct port_node *port, struct sl_upstream *u)
{
	const struct sl_traffic_policy *p = policy_of_port(c, POLICY_BUDGET, port);
	const struct sl_upstream *before = port->upstream;
	struct sl_retry_budget *b;

	if (!p || !p->retry_budget.interval_ns)
		return 0;
	b = sl_arena_new(&u->arena, struct sl_retry_budget);
	if (!b ||
	    sl_arena_printf(&u->arena, &b->policy, "%s/%.*s", sl_kind_name(p->policy.object.kind),
			    SL_STR_ARG(p->policy.object.key)))
		return -ENOMEM;
	b->percent = p->retry_budget.percent;
	b->interval_ns = p->retry_budget.interval_ns;
	b->rate_count = p->retry_budget.rate_count;
	b->rate_interval_ns = p->retry_budget.rate_interval_ns;
	u->budget = b;
	/* An edit does not make the retries undone that were. */
	if (before && before->budget && before->budget->interval_ns == b->interval_ns &&
	    before->budget->rate_interval_ns == b->rate_interval_ns) {
		b->spent = before->budget->spent;
		sl_part_ref(&b->spent->part);
		return 0;
	}
	return sl_budget_count_new(&b->spent);
}
