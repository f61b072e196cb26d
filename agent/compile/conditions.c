/* SPDX-License-Identifier: Apache-2.0 */
/* What became of each parentRef of each route, as status conditions. */
#include <errno.h>
#include "base/buf.h"
#include "base/cleanup.h"
#include "compile/work.h"

enum { MAX_LISTED = 8, MAX_CONDITIONS = 3 };

static int condition_set(struct work *w, struct sl_condition *c, const char *type,
			 const char *status, const char *reason, struct sl_str message)
{
	c->type = sl_str_from(type); /* literals: they outlive the report */
	c->status = sl_str_from(status);
	c->reason = sl_str_from(reason);
	return sl_arena_str(&w->report->arena, message, &c->message);
}

/* "; " between pieces, "; and N more" instead of those over the limit. */
static int list_more(struct sl_buf *b, uint32_t i, uint32_t n)
{
	if (i == MAX_LISTED)
		return sl_buf_printf(b, "; and %u more", n - i);
	return i ? sl_buf_append_str(b, SL_STR("; ")) : 0;
}

static int describe_rules(struct sl_buf *b, const struct route_work *rw)
{
	uint32_t n = rw->route->n_rules - rw->n_usable, listed = 0;

	for (uint32_t i = 0; i < rw->route->n_rules && listed <= MAX_LISTED; i++) {
		const struct rule_work *rule = &rw->rules[i];
		int r;

		if (!rule->error)
			continue;
		r = list_more(b, listed, n);
		if (!r && listed < MAX_LISTED)
			r = sl_buf_printf(b, "%.*s: %.*s", SL_STR_ARG(rule->error->field),
					  SL_STR_ARG(rule->error->message));
		if (r)
			return r;
		listed++;
	}
	return 0;
}

static int describe_refs(struct sl_buf *b, const struct notes *notes)
{
	uint32_t i = 0;

	for (const struct note *n = notes->first; n && i <= MAX_LISTED; n = n->next, i++) {
		int r = list_more(b, i, notes->n);

		if (!r && i < MAX_LISTED)
			r = sl_buf_append_str(b, n->text);
		if (r)
			return r;
	}
	return 0;
}

static const char *first_reason(const struct route_work *rw)
{
	for (uint32_t i = 0; i < rw->route->n_rules; i++) {
		if (rw->rules[i].error)
			return rw->rules[i].error->reason;
	}
	return "UnsupportedValue";
}

static int accepted(struct work *w, const struct route_work *rw, const struct parent_work *p,
		    struct sl_condition *c)
{
	_cleanup_(sl_buf_deinit) struct sl_buf text = SL_BUF_INIT(0);
	int r;

	if (p->reason)
		return condition_set(w, c, "Accepted", "False", p->reason, p->message);
	if (rw->n_usable)
		return condition_set(w, c, "Accepted", "True", "Accepted", p->message);
	r = sl_buf_printf(&text, "No rule can be used, so requests get 500: ");
	if (!r)
		r = describe_rules(&text, rw);
	return r ? r
		 : condition_set(w, c, "Accepted", "False", first_reason(rw), sl_buf_str(&text));
}

static int resolved_refs(struct work *w, const struct route_work *rw, struct sl_condition *c)
{
	_cleanup_(sl_buf_deinit) struct sl_buf text = SL_BUF_INIT(0);
	int r;

	if (!rw->unresolved.n)
		return condition_set(w, c, "ResolvedRefs", "True", "ResolvedRefs",
				     SL_STR("All references are resolved"));
	r = describe_refs(&text, &rw->unresolved);
	return r ? r
		 : condition_set(w, c, "ResolvedRefs", "False", rw->unresolved.first->reason,
				 sl_buf_str(&text));
}

static int partially_invalid(struct work *w, const struct route_work *rw, struct sl_condition *c)
{
	_cleanup_(sl_buf_deinit) struct sl_buf text = SL_BUF_INIT(0);
	uint32_t n = rw->route->n_rules - rw->n_usable;
	int r = sl_buf_printf(&text, "Dropped Rule%s ", n > 1 ? "s" : "");

	if (!r)
		r = describe_rules(&text, rw);
	return r ? r
		 : condition_set(w, c, "PartiallyInvalid", "True", "UnsupportedValue",
				 sl_buf_str(&text));
}

static int parent_status(struct work *w, const struct route_work *rw, const struct parent_work *p,
			 struct sl_parent_status *ret)
{
	struct sl_condition *c =
		sl_arena_new_n(&w->report->arena, struct sl_condition, MAX_CONDITIONS);
	int r;

	if (!c)
		return -ENOMEM;
	ret->conditions = c;
	r = accepted(w, rw, p, &c[ret->n_conditions++]);
	if (!r)
		r = resolved_refs(w, rw, &c[ret->n_conditions++]);
	if (!r && !p->reason && rw->n_usable && rw->n_usable < rw->route->n_rules)
		r = partially_invalid(w, rw, &c[ret->n_conditions++]);
	return r;
}

static int route_status(struct work *w, const struct route_work *rw, struct sl_route_status *ret)
{
	const struct sl_httproute *route = rw->route;
	struct sl_parent_status *out = sl_arena_new_n(&w->report->arena, struct sl_parent_status,
						      route->n_parent_refs + 1);

	if (!out)
		return -ENOMEM;
	ret->parents = out;
	for (uint32_t i = 0; i < route->n_parent_refs; i++) {
		int r;

		if (!rw->parents[i].ours)
			continue;
		out[ret->n_parents].ref = &route->parent_refs[i];
		r = parent_status(w, rw, &rw->parents[i], &out[ret->n_parents++]);
		if (r)
			return r;
	}
	return 0;
}

int conditions_build(struct work *w)
{
	struct sl_route_status *out =
		sl_arena_new_n(&w->report->arena, struct sl_route_status, w->n_routes + 1);

	if (!out)
		return -ENOMEM;
	w->report->routes = out;
	for (uint32_t i = 0; i < w->n_routes; i++) {
		int r = route_status(w, &w->routes[i], &out[i]);

		if (r)
			return r;
		out[i].route = sl_object_ref((struct sl_object *)&w->routes[i].route->object);
		w->report->n_routes++;
	}
	return 0;
}
