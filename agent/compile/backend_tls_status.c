/* SPDX-License-Identifier: Apache-2.0 */
/* What became of each target of a BackendTLSPolicy: PolicyStatus, with the Service as ancestor, as
 * there is no Gateway that could be one. */
#include <errno.h>
#include "compile/work.h"

enum { MAX_CONDITIONS = 2, TEXT_MAX_BYTES = 1024 };

static int accepted(struct sl_route_status *st, const struct tls_policy_node *n,
		    const struct sl_parent_ref *t, const struct target_work *w,
		    struct sl_condition *c)
{
	bool named = t->section_name.len;
	char text[TEXT_MAX_BYTES];

	if (!w->found) {
		(void)snprintf(text, sizeof(text), "Service %.*s/%.*s %s%s%.*s%s",
			       SL_STR_ARG(n->policy->object.meta.namespace), SL_STR_ARG(t->name),
			       named ? "or its TCP port" : "does not exist or has no TCP port",
			       named ? " named \"" : "", SL_STR_ARG(t->section_name),
			       named ? "\" does not exist" : ""); /* cut when too long */
		return condition_set(st, c, "Accepted", "False", "TargetNotFound",
				     sl_str_from(text));
	}
	if (w->loses_to) {
		(void)snprintf(text, sizeof(text),
			       "BackendTLSPolicy %.*s is older and has the same target",
			       SL_STR_ARG(w->loses_to->policy->object.key));
		return condition_set(st, c, "Accepted", "False", "Conflicted", sl_str_from(text));
	}
	if (n->work.reason)
		return condition_set(st, c, "Accepted", "False", n->work.reason, n->work.message);
	return condition_set(st, c, "Accepted", "True", "Accepted",
			     SL_STR("Connections that rules make to this Service speak TLS"));
}

int tls_refs_tell(const struct tls_work *work, struct sl_route_status *st, struct sl_condition *c)
{
	if (work->refs_reason)
		return condition_set(st, c, "ResolvedRefs", "False", work->refs_reason,
				     work->refs_message);
	return condition_set(st, c, "ResolvedRefs", "True", "ResolvedRefs",
			     SL_STR("All references are resolved"));
}

static int ancestor_status(struct sl_route_status *st, const struct tls_policy_node *n, uint32_t i,
			   struct sl_parent_status *ret)
{
	struct sl_condition *c = sl_arena_new_n(&st->arena, struct sl_condition, MAX_CONDITIONS);
	int r;

	if (!c)
		return -ENOMEM;
	ret->ref = &n->policy->targets[i];
	ret->conditions = c;
	r = accepted(st, n, &n->policy->targets[i], &n->targets[i], &c[ret->n_conditions++]);
	return r ? r : tls_refs_tell(&n->work, st, &c[ret->n_conditions++]);
}

static int targets_tell(const struct tls_policy_node *n, struct sl_route_status *st,
			struct sl_parent_status *out)
{
	const struct sl_backend_tls_policy *p = n->policy;

	for (uint32_t i = 0; i < p->n_targets; i++) {
		int r = n->targets[i].ours ? ancestor_status(st, n, i, &out[st->n_parents++]) : 0;

		if (r)
			return r;
	}
	return 0;
}

int tls_policy_tell(struct sl_compiler *c, struct tls_policy_node *n)
{
	struct sl_parent_status *out;
	struct sl_route_status *st;
	int r = status_new(&n->policy->object, n->policy->n_targets, &st, &out);

	return r ? r : status_settle(c, targets_tell(n, st, out), st, &n->status);
}
