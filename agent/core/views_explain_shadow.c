/* SPDX-License-Identifier: Apache-2.0 */
/* "explain": what the shadow routes of the Service would do to the request. */
#include <errno.h>
#include "base/cleanup.h"
#include "core/views_explain.h"
#include "proxy/shadow.h"
#include "snapshot/match.h"
#include "snapshot/match_index.h"

static const struct sl_match *taking(const struct sl_explain *x)
{
	for (uint32_t i = 0; i < x->n_steps; i++) {
		if (x->steps[i].verdict == SL_EXPLAIN_TAKES)
			return x->steps[i].match;
	}
	return NULL;
}

/* Which rule would serve the request; writes "rules", those of the shadow routes. */
static int find_rule(struct explain *e, const struct sl_trial *t, const struct sl_rule **ret)
{
	const struct sl_match *shadow, *enforced = NULL;
	struct sl_explain x;
	int r = sl_route_table_explain(t->shadow, &e->req, e->env.path, &e->arena, &x);

	if (!r)
		r = explain_put_steps(e, &x);
	if (r)
		return r;
	shadow = taking(&x);
	if (t->enforced) {
		r = sl_route_table_explain(t->enforced, &e->req, e->env.path, &e->arena, &x);
		if (r)
			return r;
		enforced = taking(&x);
	}
	if (shadow && (!enforced || sl_match_cmp(shadow, enforced) < 0))
		*ret = shadow->rule;
	else
		*ret = enforced ? enforced->rule : NULL;
	return 0;
}

static int put_differences(struct explain *e, unsigned differences)
{
	json_t *list = json_array();
	int r = explain_put(e->answer, "differs", list);

	for (unsigned i = 0; i < SL_SHADOW_DIFFERENCES && !r; i++) {
		if (differences & 1U << i)
			r = explain_add(list, json_string(sl_shadow_difference_name(i)));
	}
	return r;
}

static int compare(struct explain *e, const struct sl_shadow_side *now,
		   const struct sl_shadow_side *then, unsigned *ret_differences)
{
	struct sl_shadow_scene at = {.snap = e->control->snap,
				     .req = &e->req,
				     .env = &e->env,
				     .faults = e->control->snap->has_faults &&
					       !e->control->opts->proxy.no_faults};
	int r = sl_match_scratch_new(&at.scratch);

	if (r)
		return r;
	r = sl_shadow_compare(&at, now, then, ret_differences);
	(void)sl_match_scratch_free(at.scratch); /* always NULL */
	return r;
}

/* e: of the shadow part. */
static int explain_trial(struct explain *e, const struct sl_trial *t,
			 const struct sl_shadow_side *now)
{
	struct sl_shadow_side then = {.status = sl_trial_fallback(t)};
	enum sl_shadow_result result = SL_SHADOW_UNAFFECTED;
	unsigned differences = 0;
	int r = find_rule(e, t, &then.rule);

	if (!r && (then.rule != now->rule || (!then.rule && then.status != now->status))) {
		r = compare(e, now, &then, &differences);
		result = differences ? SL_SHADOW_DIFFERS : SL_SHADOW_SAME;
	}
	if (!r)
		r = explain_put(e->answer, "verdict", json_string(sl_shadow_result_name(result)));
	if (!r)
		r = put_differences(e, differences);
	if (r || result == SL_SHADOW_UNAFFECTED)
		return r;
	if (then.rule)
		return explain_rule(e, then.rule);
	return explain_put_result(e, "answer", then.status, explain_fallback_text(then.status));
}

int explain_shadow(struct explain *e, const struct sl_rule *rule, const struct sl_request *asked)
{
	const struct sl_trial *t = sl_frontend_trial(e->frontend, e->namespace);
	const struct sl_shadow_side now = {.rule = rule,
					   .status = e->table ? e->table->fallback_status : 0,
					   .passed_to = e->frontend->key};
	json_t *answer = json_object();
	struct explain sub = {.control = e->control,
			      .request = e->request,
			      .answer = answer,
			      .arena = SL_ARENA_INIT(16384),
			      .namespace = e->namespace,
			      .frontend = e->frontend,
			      .table = t->shadow,
			      .address = e->address,
			      .req = *asked,
			      .env = e->env};
	int r = explain_put(e->answer, "shadow", answer);

	sub.env.arena = &sub.arena;
	if (!r)
		r = explain_trial(&sub, t, &now);
	sl_arena_deinit(&sub.arena);
	return r;
}
