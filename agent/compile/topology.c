/* SPDX-License-Identifier: Apache-2.0 */
/* Which endpoints of a Service take the requests of this node. */
#include "compile/work.h"

#define ZONE_LABEL "topology.kubernetes.io/zone"

/* ---- this node ---- */

static struct sl_str zone_of(const struct sl_node *node)
{
	const struct sl_meta *meta = node ? &node->object.meta : NULL;

	for (uint32_t i = 0; meta && i < meta->n_labels; i++) {
		if (sl_str_eqc(meta->labels[i].name, ZONE_LABEL))
			return meta->labels[i].value;
	}
	return SL_STR_NULL;
}

void node_set(struct sl_compiler *c, struct sl_str key, struct sl_node *node)
{
	/* cluster-scoped: "/name"; or none */
	struct sl_str name = key.len ? sl_str_skip(key, 1) : key;
	struct sl_node *before = c->node;
	struct service_node *s;
	size_t pos = 0;

	if (!c->opts.node.len || !sl_str_eq(name, c->opts.node) || node == before)
		return;
	c->node = node;
	if (node)
		sl_object_ref(&node->object);
	while (!sl_str_eq(zone_of(before), zone_of(node)) &&
	       (s = sl_map_next(&c->services, &pos, NULL))) {
		s->endpoints_changed = true;
		service_touch(c, s);
	}
	(void)sl_object_unref(before ? &before->object : NULL); /* always NULL */
}

/* ---- endpoints ---- */

struct place {
	struct sl_str node, zone; /* empty: not known */
};

static bool is_one_of(struct sl_str name, const struct sl_str *names, uint32_t n)
{
	for (uint32_t i = 0; name.len && i < n; i++) {
		if (sl_str_eq(names[i], name))
			return true;
	}
	return false;
}

static bool is_here(const struct place *here, const struct candidate *e)
{
	return here->node.len && sl_str_eq(e->endpoint.node, here->node);
}

static bool is_near(const struct place *here, const struct candidate *e)
{
	return here->zone.len && sl_str_eq(e->endpoint.zone, here->zone);
}

static bool is_for_node(const struct place *here, const struct candidate *e)
{
	return is_one_of(here->node, e->from->for_nodes, e->from->n_for_nodes);
}

static bool is_for_zone(const struct place *here, const struct candidate *e)
{
	return is_one_of(here->zone, e->from->for_zones, e->from->n_for_zones);
}

static bool has_node_hint(const struct place *here, const struct candidate *e)
{
	return e->from->n_for_nodes;
}

static bool has_zone_hint(const struct place *here, const struct candidate *e)
{
	return e->from->n_for_zones;
}

typedef bool (*test_fn)(const struct place *here, const struct candidate *e);

static bool any_ready(const struct place *here, const struct candidate *e, uint32_t n, test_fn test)
{
	for (uint32_t i = 0; i < n; i++) {
		if (e[i].endpoint.ready && test(here, &e[i]))
			return true;
	}
	return false;
}

static bool all_ready(const struct place *here, const struct candidate *e, uint32_t n, test_fn test)
{
	for (uint32_t i = 0; i < n; i++) {
		if (e[i].endpoint.ready && !test(here, &e[i]))
			return false;
	}
	return true;
}

/*
 * What is asked of a ready endpoint; NULL: nothing. Hints are followed as kube-proxy of 1.34 does:
 * all ready endpoints have them, and one is for here. Where no controller writes hints, in a
 * folder, the Service's own wish says the same of nodes and zones.
 */
static test_fn preference(const struct place *here, const struct sl_service *s,
			  const struct candidate *e, uint32_t n)
{
	if (s->internal_local && here->node.len)
		return is_here;
	if (all_ready(here, e, n, has_node_hint) && any_ready(here, e, n, is_for_node))
		return is_for_node;
	if (all_ready(here, e, n, has_zone_hint) && any_ready(here, e, n, is_for_zone))
		return is_for_zone;
	if (any_ready(here, e, n, has_node_hint) || any_ready(here, e, n, has_zone_hint))
		return NULL; /* there is a controller, and it has not decided for here */
	if (s->distribution == SL_DISTRIBUTION_SAME_NODE && any_ready(here, e, n, is_here))
		return is_here;
	if (s->distribution != SL_DISTRIBUTION_ANY && any_ready(here, e, n, is_near))
		return is_near;
	return NULL;
}

void endpoints_choose(const struct sl_compiler *c, const struct sl_service *service,
		      struct candidate *e, uint32_t n)
{
	const struct place here = {c->opts.node, zone_of(c->node)};
	test_fn wanted = preference(&here, service, e, n);
	bool is_local = wanted == is_here && service->internal_local;
	uint32_t n_usable = 0;

	for (uint32_t i = 0; i < n; i++) {
		e[i].usable = e[i].endpoint.ready && (!wanted || wanted(&here, &e[i]));
		n_usable += e[i].usable;
	}
	/* Better one that is about to go than none; then only internalTrafficPolicy still counts.
	 */
	for (uint32_t i = 0; i < n && !n_usable; i++)
		e[i].usable = e[i].endpoint.ending && (!is_local || is_here(&here, &e[i]));
}
