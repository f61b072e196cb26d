/* SPDX-License-Identifier: Apache-2.0 */
/* One route table for each group of routes of a Service port. */
#include <errno.h>
#include "base/alloc.h"
#include "base/cleanup.h"
#include "compile/work.h"

/* The routes of a group in order of precedence: a new array (free()). */
static int group_routes(const struct group_work *g, const struct route_work ***ret)
{
	const struct route_work **routes = sl_new_n(const struct route_work *, g->n_routes);
	uint32_t n = 0;

	if (!routes)
		return -ENOMEM;
	for (const struct route_link *l = g->first; l; l = l->next)
		routes[n++] = l->route;
	routes_sort(routes, n);
	*ret = routes;
	return 0;
}

static void count(const struct route_work **routes, uint32_t n, uint32_t *ret_rules,
		  uint32_t *ret_matches)
{
	*ret_rules = 0;
	*ret_matches = 0;
	for (uint32_t i = 0; i < n; i++) {
		*ret_rules += routes[i]->n_usable;
		for (uint32_t j = 0; j < routes[i]->route->n_rules; j++) {
			if (!routes[i]->rules[j].error)
				*ret_matches += routes[i]->rules[j].spec->n_matches;
		}
	}
}

static int rule_add(struct work *w, struct sl_route_table *t, const struct route_work *rw,
		    const struct rule_work *from)
{
	struct sl_rule *rule = &t->rules[t->n_rules];
	int r = rule_build(&t->arena, rw, from, rule);

	if (r)
		return r;
	rule->id = w->snap->n_rules++;
	rule->wrr_offset = w->snap->n_wrr;
	w->snap->n_wrr += rule->n_backends;
	t->n_rules++;
	return 0;
}

/* Rules in order of routes, and their matches unsorted. */
static int rules_add(struct work *w, struct sl_route_table *t, const struct route_work **routes,
		     uint32_t n, struct ranked_match *ranked)
{
	uint32_t n_ranked = 0;

	for (uint32_t i = 0; i < n; i++) {
		if (!routes[i]->n_usable)
			t->fallback_status = 500; /* its traffic may not go elsewhere unnoticed */
		for (uint32_t j = 0; j < routes[i]->route->n_rules; j++) {
			const struct rule_work *rule = &routes[i]->rules[j];
			int r;

			if (rule->error)
				continue;
			for (uint32_t k = 0; k < rule->spec->n_matches; k++)
				ranked[n_ranked++] =
					(struct ranked_match){.match = &rule->matches[k],
							      .route = i,
							      .rule = j,
							      .index = k,
							      .out = t->n_rules};
			r = rule_add(w, t, routes[i], rule);
			if (r)
				return r;
		}
	}
	return 0;
}

static int index_add(struct sl_route_table *t, const struct ranked_match *ranked, uint32_t n)
{
	struct sl_match *matches = sl_arena_new_n(&t->arena, struct sl_match, n + 1);

	if (!matches)
		return -ENOMEM;
	for (uint32_t i = 0; i < n; i++) {
		int r = match_build(&t->arena, ranked[i].match, &matches[i]);

		if (r)
			return r;
		matches[i].rule = &t->rules[ranked[i].out];
	}
	return sl_match_index_new(&t->arena, matches, n, &t->index);
}

static int table_fill(struct work *w, const struct group_work *g, struct sl_route_table *t)
{
	_cleanup_(sl_freep) const struct route_work **routes = NULL;
	_cleanup_(sl_freep) struct ranked_match *ranked = NULL;
	uint32_t n_rules, n_matches;
	int r = group_routes(g, &routes);

	if (r)
		return r;
	count(routes, g->n_routes, &n_rules, &n_matches);
	ranked = sl_new_n(struct ranked_match, n_matches + 1);
	t->rules = sl_arena_new_n(&t->arena, struct sl_rule, n_rules + 1);
	if (!ranked || !t->rules)
		return -ENOMEM;
	t->fallback_status = 404;
	r = rules_add(w, t, routes, g->n_routes, ranked);
	if (r)
		return r;
	matches_sort(ranked, n_matches);
	return index_add(t, ranked, n_matches);
}

static int table_build(struct work *w, struct group_work *g)
{
	struct sl_route_table *t;
	int r = sl_route_table_new(&t);

	if (r)
		return r;
	w->snap->tables[w->snap->n_tables++] = t; /* owned from here on, also half-built */
	g->table = t;
	return table_fill(w, g, t);
}

static int port_build(struct work *w, struct port_work *port)
{
	int r = port->producer ? table_build(w, port->producer) : 0;

	for (struct group_work *g = port->consumers; g && !r; g = g->next)
		r = table_build(w, g);
	return r;
}

int tables_build(struct work *w)
{
	w->snap->tables =
		sl_arena_new_n(&w->snap->arena, struct sl_route_table *, w->cap_tables + 1);
	if (!w->snap->tables)
		return -ENOMEM;
	for (uint32_t i = 0; i < w->n_services; i++) {
		for (uint32_t j = 0; j < w->services[i].n_ports; j++) {
			int r = port_build(w, &w->services[i].ports[j]);

			if (r)
				return r;
		}
	}
	return 0;
}
