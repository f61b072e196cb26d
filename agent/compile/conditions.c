/* SPDX-License-Identifier: Apache-2.0 */
/* What became of each parentRef of each route, as status conditions. */
#include <errno.h>
#include "base/alloc.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "compile/work.h"

enum { MAX_LISTED = 8, MAX_CONDITIONS = 4 };

int condition_set(struct sl_route_status *st, struct sl_condition *c, const char *type,
		  const char *status, const char *reason, struct sl_str message)
{
	c->type = sl_str_from(type); /* literals: they outlive the report */
	c->status = sl_str_from(status);
	c->reason = sl_str_from(reason);
	return sl_arena_str(&st->arena, message, &c->message);
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

/* ---- Accepted ---- */

/* The ports that a parentRef means, as lists for messages. */
struct ports_text {
	struct sl_buf attached, conflicted, skipped;
	unsigned n_attached, n_conflicted, n_skipped;
};

static void ports_text_deinit(struct ports_text *t)
{
	sl_buf_deinit(&t->attached);
	sl_buf_deinit(&t->conflicted);
	sl_buf_deinit(&t->skipped);
}

static int ports_describe(const struct parent_work *p, struct ports_text *t)
{
	int r = 0;

	for (const struct parent_port *port = p->ports; port && !r; port = port->next) {
		const struct group_node *winner = port->group ? group_loses_to(port->group) : NULL;

		if (!port->group)
			r = sl_buf_printf(&t->skipped, "%s%u (%.*s)", t->n_skipped++ ? ", " : "",
					  port->port, SL_STR_ARG(port->why_not));
		else if (!winner)
			r = sl_buf_printf(&t->attached, "%s%u", t->n_attached++ ? ", " : "",
					  port->port);
		else
			r = sl_buf_printf(&t->conflicted, "%s%u (%s)",
					  t->n_conflicted++ ? ", " : "", port->port,
					  route_kind_name(winner->kind));
	}
	return r;
}

static int describe_attached(const struct parent_work *p, const struct ports_text *t,
			     struct sl_buf *out)
{
	bool both = t->n_conflicted && t->n_skipped;

	return sl_buf_printf(out, "Attached to Service %.*s port%s %.*s%s%.*s%s%.*s",
			     SL_STR_ARG(p->service), t->n_attached > 1 ? "s" : "",
			     SL_STR_ARG(sl_buf_str(&t->attached)),
			     t->n_conflicted + t->n_skipped ? "; not applied to " : "",
			     SL_STR_ARG(sl_buf_str(&t->conflicted)), both ? ", " : "",
			     SL_STR_ARG(sl_buf_str(&t->skipped)));
}

static int describe_conflict(const struct parent_work *p, const struct ports_text *t,
			     struct sl_buf *out)
{
	return sl_buf_printf(out,
			     "Routes of a kind that takes precedence are attached to port%s %.*s "
			     "of Service %.*s",
			     t->n_conflicted > 1 ? "s" : "", SL_STR_ARG(sl_buf_str(&t->conflicted)),
			     SL_STR_ARG(p->service));
}

static const char *const consequences[SL_N_ROUTE_KINDS] = {
	[SL_ROUTE_GRPC] = "requests get UNAVAILABLE", [SL_ROUTE_HTTP] = "requests get 500",
	[SL_ROUTE_TLS] = "connections are refused",   [SL_ROUTE_TCP] = "connections are refused",
	[SL_ROUTE_UDP] = "datagrams are refused",
};

/* *ret_reason: against it, NULL when accepted. */
static int judge_ports(const struct route_work *rw, const struct parent_work *p,
		       struct sl_buf *text, const char **ret_reason)
{
	_cleanup_(ports_text_deinit) struct ports_text t = {0};
	int r = ports_describe(p, &t);

	if (r)
		return r;
	if (!t.n_attached && t.n_conflicted) {
		*ret_reason = "Conflicted";
		return describe_conflict(p, &t, text);
	}
	if (!t.n_attached) {
		*ret_reason = "UnsupportedValue";
		return sl_buf_printf(text, "%s cannot be applied to port %.*s of Service %.*s",
				     route_kind_name(rw->kind), SL_STR_ARG(sl_buf_str(&t.skipped)),
				     SL_STR_ARG(p->service));
	}
	if (!route_is_broken(rw)) {
		*ret_reason = NULL;
		return describe_attached(p, &t, text);
	}
	*ret_reason = first_reason(rw);
	r = sl_buf_printf(text, "No rule can be used, so %s: ",
			  rw->shadow ? "enforcing it would refuse requests"
				     : consequences[rw->kind]);
	return r ? r : describe_rules(text, rw);
}

static int accepted(struct sl_route_status *st, const struct route_work *rw,
		    const struct parent_work *p, struct sl_condition *c)
{
	_cleanup_(sl_buf_deinit) struct sl_buf text = SL_BUF_INIT(0);
	const char *reason = p->reason;
	int r;

	if (reason)
		return condition_set(st, c, "Accepted", "False", reason, p->message);
	r = judge_ports(rw, p, &text, &reason);
	return r ? r
		 : condition_set(st, c, "Accepted", reason ? "False" : "True",
				 reason ? reason : "Accepted", sl_buf_str(&text));
}

/* ---- the others ---- */

static int resolved_refs(struct sl_route_status *st, const struct route_work *rw,
			 struct sl_condition *c)
{
	_cleanup_(sl_buf_deinit) struct sl_buf text = SL_BUF_INIT(0);
	int r;

	if (!rw->unresolved.n)
		return condition_set(st, c, "ResolvedRefs", "True", "ResolvedRefs",
				     SL_STR("All references are resolved"));
	r = describe_refs(&text, &rw->unresolved);
	return r ? r
		 : condition_set(st, c, "ResolvedRefs", "False", rw->unresolved.first->reason,
				 sl_buf_str(&text));
}

static int partially_invalid(struct sl_route_status *st, const struct route_work *rw,
			     struct sl_condition *c)
{
	_cleanup_(sl_buf_deinit) struct sl_buf text = SL_BUF_INIT(0);
	uint32_t n = rw->route->n_rules - rw->n_usable;
	int r = sl_buf_printf(&text, "Dropped Rule%s ", n > 1 ? "s" : "");

	if (!r)
		r = describe_rules(&text, rw);
	return r ? r
		 : condition_set(st, c, "PartiallyInvalid", "True", "UnsupportedValue",
				 sl_buf_str(&text));
}

/* Of a route that is accepted, and not enforced: the ports where no request is shown to it. */
static int shadow(struct sl_route_status *st, const struct parent_work *p, struct sl_condition *c)
{
	_cleanup_(sl_buf_deinit) struct sl_buf text = SL_BUF_INIT(0);
	unsigned n_seen = 0, n_hidden = 0;
	int r = sl_buf_append_str(
		&text, SL_STR("Not enforced (annotation sluice.dev/shadow): requests are compared "
			      "with what it would do"));

	for (const struct parent_port *port = p->ports; port && !r; port = port->next) {
		const struct group_node *by = port->group ? group_hidden_by(port->group) : NULL;

		if (!port->group || group_loses_to(port->group))
			continue;
		n_seen += !by;
		if (by)
			r = sl_buf_printf(&text, "%s%u (%ss take whole connections)",
					  n_hidden++ ? ", " : "; none is seen at port ", port->port,
					  route_kind_name(by->kind));
	}
	return r ? r
		 : condition_set(st, c, "sluice.dev/Shadow", n_seen ? "True" : "False",
				 n_seen ? "NotEnforced" : "NotEvaluated", sl_buf_str(&text));
}

static int parent_status(const struct sl_compiler *compiler, struct sl_route_status *st,
			 const struct route_work *rw, const struct parent_work *p,
			 struct sl_parent_status *ret)
{
	struct sl_condition *c = sl_arena_new_n(&st->arena, struct sl_condition, MAX_CONDITIONS);
	bool is_accepted;
	int r;

	if (!c)
		return -ENOMEM;
	ret->conditions = c;
	r = accepted(st, rw, p, &c[ret->n_conditions++]);
	is_accepted = !r && sl_str_eqc(c->status, "True");
	if (!r)
		r = resolved_refs(st, rw, &c[ret->n_conditions++]);
	if (!r && is_accepted && rw->n_usable < rw->route->n_rules)
		r = partially_invalid(st, rw, &c[ret->n_conditions++]);
	if (!r && is_accepted && rw->shadow)
		r = shadow(st, p, &c[ret->n_conditions++]);
	if (!r && is_accepted && rw->by_kernel)
		r = kernel_tell(compiler, st, rw, p, &c[ret->n_conditions++]);
	return r;
}

static int parents_tell(const struct sl_compiler *c, const struct route_work *rw,
			struct sl_route_status *st, struct sl_parent_status *out)
{
	const struct sl_route_object *route = rw->route;

	for (uint32_t i = 0; i < route->n_parent_refs; i++) {
		int r;

		if (!rw->parents[i].ours)
			continue;
		out[st->n_parents].ref = &route->parent_refs[i];
		r = parent_status(c, st, rw, &rw->parents[i], &out[st->n_parents++]);
		if (r)
			return r;
	}
	return 0;
}

static void status_free(struct sl_part *p)
{
	struct sl_route_status *st = (struct sl_route_status *)p;

	(void)sl_object_unref((struct sl_object *)st->route); /* always NULL */
	sl_arena_deinit(&st->arena);
	free(st);
}

static bool same_condition(const struct sl_condition *a, const struct sl_condition *b)
{
	return sl_str_eq(a->type, b->type) && sl_str_eq(a->status, b->status) &&
	       sl_str_eq(a->reason, b->reason) && sl_str_eq(a->message, b->message);
}

static bool same_ref(const struct sl_parent_ref *a, const struct sl_parent_ref *b)
{
	return a == b ||
	       (a->port == b->port && sl_str_eq(a->group, b->group) &&
		sl_str_eq(a->kind, b->kind) && sl_str_eq(a->namespace, b->namespace) &&
		sl_str_eq(a->name, b->name) && sl_str_eq(a->section_name, b->section_name));
}

/* A route that was only looked at again: nobody need hear of it. */
static bool same_status(const struct sl_route_status *a, const struct sl_route_status *b)
{
	if (!a || a->route != b->route || a->n_parents != b->n_parents)
		return false;
	for (uint32_t i = 0; i < a->n_parents; i++) {
		if (!same_ref(a->parents[i].ref, b->parents[i].ref) ||
		    a->parents[i].n_conditions != b->parents[i].n_conditions)
			return false;
		for (uint32_t j = 0; j < a->parents[i].n_conditions; j++) {
			if (!same_condition(&a->parents[i].conditions[j],
					    &b->parents[i].conditions[j]))
				return false;
		}
	}
	return true;
}

int status_new(const struct sl_object *of, uint32_t max_parents, struct sl_route_status **ret,
	       struct sl_parent_status **ret_parents)
{
	struct sl_route_status *st = sl_new(struct sl_route_status);
	struct sl_parent_status *parents;

	if (!st)
		return -ENOMEM;
	sl_part_init(&st->part, status_free);
	st->route = sl_object_ref((struct sl_object *)of);
	parents = sl_arena_new_n(&st->arena, struct sl_parent_status, max_parents + 1);
	st->parents = parents;
	if (!parents || sl_arena_printf(&st->arena, &st->key, "%s/%.*s", sl_kind_name(of->kind),
					SL_STR_ARG(of->key))) {
		sl_part_unref(&st->part);
		return -ENOMEM;
	}
	*ret = st;
	*ret_parents = parents;
	return 0;
}

int status_settle(struct sl_compiler *c, int r, struct sl_route_status *st,
		  struct sl_route_status **current)
{
	bool same = !r && same_status(*current, st);

	if (!r && !same)
		r = sl_pmap_put(&c->statuses, st->key, &st->part);
	if (r || same) {
		sl_part_unref(&st->part);
		return r;
	}
	sl_part_unref(*current ? &(*current)->part : NULL);
	*current = st;
	return 0;
}

static int status_build(struct sl_compiler *c, struct route_node *n)
{
	const struct sl_route_object *route = n->work->route;
	struct sl_parent_status *out;
	struct sl_route_status *st;
	int r = status_new(&route->object, route->n_parent_refs, &st, &out);

	return r ? r : status_settle(c, parents_tell(c, n->work, st, out), st, &n->status);
}

int statuses_build(struct sl_compiler *c)
{
	sl_list_foreach_safe (it, &c->untold_routes) {
		struct route_node *n = sl_container_of(it, struct route_node, untold);
		int r = status_build(c, n);

		if (r)
			return r;
		sl_list_remove(&n->untold);
	}
	return 0;
}
