/* SPDX-License-Identifier: Apache-2.0 */
/* Groups of routes at a port, one table each, and what a route adds to it. */
#include <errno.h>
#include "base/alloc.h"
#include "base/cleanup.h"
#include "compile/work.h"

/* ---- groups ---- */

/* What a group is of, at its port. */
struct group_key {
	struct sl_str namespace;
	enum sl_route_kind kind;
	bool shadow;
};

static int group_new(struct sl_compiler *c, struct port_node *port, const struct group_key *key,
		     struct group_node **ret)
{
	struct sl_str namespace = key->namespace;
	struct group_node *g = sl_calloc(1, sizeof(*g) + namespace.len);
	int r;

	if (!g)
		return -ENOMEM;
	r = sl_match_builder_new(&g->builder);
	if (r) {
		free(g);
		return r;
	}
	sl_list_init(&g->node);
	sl_list_init(&g->changed);
	sl_list_init(&g->attachments);
	g->id = ++c->last_group_id;
	g->port = port;
	g->kind = key->kind;
	g->shadow = key->shadow;
	port->n_shadows += g->shadow;
	memcpy(g + 1, namespace.ptr, namespace.len);
	g->namespace = (struct sl_str){(const char *)(g + 1), namespace.len};
	*ret = g;
	return 0;
}

void group_free(struct group_node *g)
{
	g->port->n_shadows -= g->shadow;
	sl_list_remove(&g->node);
	sl_list_remove(&g->changed);
	(void)sl_match_builder_free(g->builder);
	(void)sl_route_table_unref(g->table);
	free(g);
}

static int group_cmp(const struct group_node *g, const struct group_key *key)
{
	int order = sl_str_cmp(g->namespace, key->namespace);

	if (!order)
		order = (int)g->kind - (int)key->kind;
	return order ? order : (int)g->shadow - (int)key->shadow;
}

static int group_get(struct sl_compiler *c, struct port_node *port, const struct group_key *key,
		     struct group_node **ret)
{
	struct sl_list *at;
	int r;

	for (at = port->groups.next; at != &port->groups; at = at->next) {
		struct group_node *g = sl_container_of(at, struct group_node, node);
		int order = group_cmp(g, key);

		if (order == 0) {
			*ret = g;
			return 0;
		}
		if (order > 0)
			break;
	}
	r = group_new(c, port, key, ret);
	if (!r)
		sl_list_append(at, &(*ret)->node);
	return r;
}

const struct group_node *group_loses_to(const struct group_node *g)
{
	const struct group_node *first = g;

	for (struct sl_list *at = g->node.prev; at != &g->port->groups; at = at->prev) {
		const struct group_node *before = sl_container_of(at, struct group_node, node);

		if (!sl_str_eq(before->namespace, g->namespace))
			break;
		if (before->kind != g->kind && (g->shadow || !before->shadow))
			first = before;
	}
	return first == g ? NULL : first;
}

/* In a namespace the first of them is in force. */
static const struct group_node *group_in_force(const struct group_node *shadow)
{
	const struct port_node *port = shadow->port;
	const struct group_node *producers = NULL;

	sl_list_foreach (it, &port->groups) {
		const struct group_node *g = sl_container_of(it, struct group_node, node);

		if (g->shadow)
			continue;
		if (sl_str_eq(g->namespace, shadow->namespace))
			return g;
		if (!producers && sl_str_eq(g->namespace, port->service->namespace))
			producers = g;
	}
	return producers;
}

const struct group_node *group_hidden_by(const struct group_node *g)
{
	const struct group_node *in_force = g->shadow ? group_in_force(g) : NULL;

	return in_force && in_force->kind >= SL_ROUTE_TLS ? in_force : NULL;
}

static void group_retell(struct sl_compiler *c, const struct group_node *g)
{
	sl_list_foreach (it, &g->attachments)
		route_retell(c, sl_container_of(it, struct attachment, node)->owner);
}

/* It is new, or goes: what that means for those that it takes precedence over, hides, or keeps the
 * kernel from (kernel.c). */
static void group_announce(struct sl_compiler *c, const struct group_node *g)
{
	for (struct sl_list *at = g->port->groups.next; !g->shadow && at != &g->port->groups;
	     at = at->next) {
		const struct group_node *other = sl_container_of(at, struct group_node, node);

		if (other->shadow || other->kind == SL_ROUTE_TCP)
			group_retell(c, other);
	}
	for (struct sl_list *at = g->node.next; at != &g->port->groups; at = at->next) {
		const struct group_node *other = sl_container_of(at, struct group_node, node);

		if (!sl_str_eq(other->namespace, g->namespace))
			return;
		group_retell(c, other);
	}
}

static void group_touch(struct sl_compiler *c, struct group_node *g)
{
	if (sl_list_empty(&g->changed))
		sl_list_append(&c->changed_groups, &g->changed);
}

/* ---- a route in a table ---- */

static struct attachment *attachment_find(const struct route_work *rw, uint64_t group_id)
{
	struct attachment *a = rw ? rw->attachments : NULL;

	while (a && a->group_id != group_id)
		a = a->next;
	return a;
}

static bool same_backends(const struct sl_rule *a, const struct sl_rule *b)
{
	if (a->index != b->index || a->n_backends != b->n_backends)
		return false;
	for (uint32_t i = 0; i < a->n_backends; i++) {
		if (a->backends[i].weight != b->backends[i].weight ||
		    !sl_str_eq(a->backends[i].name, b->backends[i].name))
			return false;
	}
	return true;
}

/* A rule that balances as it did before goes on where it was. */
static void slot_assign(struct sl_compiler *c, struct attachment *before, struct sl_rule *rule)
{
	for (uint32_t i = 0; before && i < before->route->n_rules; i++) {
		const struct sl_rule *old = &before->route->rules[i];

		if (before->inherited[i] || !same_backends(old, rule))
			continue;
		before->inherited[i] = true;
		rule->id = old->id;
		rule->wrr_offset = old->wrr_offset;
		return;
	}
	rule->id = ++c->last_rule_id;
	rule->wrr_offset = sl_slots_take(&c->slots, rule->n_backends);
}

static uint32_t n_matches(const struct route_work *rw)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < rw->route->n_rules; i++) {
		if (!rw->rules[i].error)
			n += rw->rules[i].n_matches;
	}
	return n;
}

static int rule_add(const struct route_work *rw, const struct rule_work *from, struct sl_route *to)
{
	struct sl_rule *rule = &to->rules[to->n_rules];
	int r = rule_build(&to->arena, rw, from, rule);

	if (r)
		return r;
	rule->faults = sl_faults_ref(from->faults);
	to->n_rules++;
	for (uint32_t i = 0; i < from->n_matches && !r; i++) {
		struct sl_match *m = &to->matches[to->n_matches++];

		r = match_build(&to->arena, &from->matches[i], m);
		m->rule = rule;
	}
	return r;
}

static int route_fill(const struct route_work *rw, struct sl_route *to)
{
	const struct sl_object *o = &rw->route->object;

	to->created_at = o->meta.created_at;
	to->rules = sl_arena_new_n(&to->arena, struct sl_rule, rw->n_usable + 1);
	to->matches = sl_arena_new_n(&to->arena, struct sl_match, n_matches(rw) + 1);
	if (!to->rules || !to->matches || sl_arena_str(&to->arena, o->key, &to->key))
		return -ENOMEM;
	for (uint32_t i = 0; i < rw->route->n_rules; i++) {
		int r = rw->rules[i].error ? 0 : rule_add(rw, &rw->rules[i], to);

		if (r)
			return r;
	}
	return sl_route_seal(to);
}

static int attachment_fill(struct sl_compiler *c, struct route_node *n, struct attachment *a)
{
	struct attachment *before = attachment_find(n->before, a->group_id);
	int r = sl_route_new(&a->route);

	if (!r)
		r = route_fill(n->work, a->route);
	if (r)
		return r;
	a->inherited = sl_arena_new_n(&n->work->arena, bool, a->route->n_rules + 1);
	if (!a->inherited)
		return -ENOMEM;
	for (uint32_t i = 0; i < a->route->n_rules; i++)
		slot_assign(c, before, &a->route->rules[i]);
	return 0;
}

int table_attach(struct sl_compiler *c, struct port_node *port, struct route_node *n,
		 struct group_node **ret)
{
	struct route_work *rw = n->work;
	const struct group_key key = {n->route->object.meta.namespace, rw->kind, rw->shadow};
	struct group_node *g = NULL;
	struct attachment *a;
	int r = group_get(c, port, &key, &g);

	if (r)
		return r;
	*ret = g;
	if (attachment_find(rw, g->id))
		return 0; /* by another parentRef of the same route */
	a = sl_arena_new(&rw->arena, struct attachment);
	if (!a)
		return -ENOMEM;
	sl_list_append(&g->attachments, &a->node);
	a->owner = n;
	a->group = g;
	a->group_id = g->id;
	a->next = rw->attachments;
	rw->attachments = a;
	group_touch(c, g);
	g->n_routes++;
	g->n_broken += route_is_broken(rw);
	r = attachment_fill(c, n, a);
	if (r)
		return r;
	c->n_rules += a->route->n_rules;
	return sl_match_builder_add(g->builder, a->route);
}

int table_detach(struct sl_compiler *c, struct attachment *a, bool broken)
{
	a->group->n_routes--;
	a->group->n_broken -= broken;
	c->n_rules -= a->route->n_rules;
	sl_list_remove(&a->node);
	group_touch(c, a->group);
	return sl_match_builder_remove(a->group->builder, a->route);
}

/* ---- tables ---- */

static int table_build(struct group_node *g)
{
	struct sl_route_table *t;
	int r = sl_route_table_new(&t);

	if (r)
		return r;
	r = sl_match_builder_build(g->builder, &t->index);
	if (r) {
		(void)sl_route_table_unref(t);
		return r;
	}
	t->kind = g->kind;
	t->fallback_status = g->n_broken ? 500 : 404;
	(void)sl_route_table_unref(g->table);
	g->table = t;
	return 0;
}

int groups_build(struct sl_compiler *c)
{
	sl_list_foreach_safe (it, &c->changed_groups) {
		struct group_node *g = sl_container_of(it, struct group_node, changed);
		int r;

		port_touch(c, g->port);
		if (!g->n_routes || !g->table)
			group_announce(c, g);
		if (!g->n_routes) {
			group_free(g);
			continue;
		}
		r = table_build(g);
		if (r)
			return r;
		if (g->kind == SL_ROUTE_TCP) /* another one may be in force: see kernel.c */
			group_retell(c, g);
		sl_list_remove(&g->changed);
	}
	return 0;
}
