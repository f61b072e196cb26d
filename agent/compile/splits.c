/* SPDX-License-Identifier: Apache-2.0 */
/* UDPRoutes, and TCPRoutes that ask for it, to what the kernel does by itself: a rule's weights,
 * and its backends' endpoints. */
#include <errno.h>
#include "base/alloc.h"
#include "base/cleanup.h"
#include "compile/work.h"
#include "snapshot/match.h"

/* NULL: nobody is behind it. */
static const struct port_node *backend_port(const struct sl_compiler *c, const struct sl_backend *b)
{
	return b->state == SL_BACKEND_OK ? port_by_key(c, b->name) : NULL;
}

static void share_fill(const struct port_node *port, bool v4, struct sl_addr *endpoints,
		       struct sl_plan_split *split, struct sl_plan_share *share)
{
	for (uint32_t i = 0; port && i < port->n_usable; i++) {
		if (sl_addr_is_v4(&port->usable[i]) != v4)
			continue;
		endpoints[split->n_endpoints++] = port->usable[i];
		share->n_endpoints++;
	}
}

static uint32_t endpoints_max(const struct sl_compiler *c, const struct sl_rule *rule)
{
	uint32_t n = 0;

	for (uint32_t i = 0; rule && i < rule->n_backends; i++) {
		const struct port_node *port = backend_port(c, &rule->backends[i]);

		n += port ? port->n_usable : 0;
	}
	return n;
}

int split_put(struct sl_compiler *c, const struct port_node *port, const struct sl_split_at *at)
{
	const struct sl_route_table *table = port->frontend->producer;
	const struct sl_rule *rule = table ? sl_route_table_first(table) : NULL;
	_cleanup_(sl_freep) struct sl_addr *endpoints =
		sl_new_n(struct sl_addr, endpoints_max(c, rule));
	struct sl_plan_share shares[SL_SPLIT_MAX_SHARES] = {0};
	struct sl_plan_split want = {.at = *at,
				     .name = port->key,
				     .route = rule ? rule->route : SL_STR(""),
				     .rule = rule ? rule->name : SL_STR(""),
				     .shares = shares,
				     .endpoints = endpoints};
	const struct sl_part *have = sl_pmap_get(&c->splits, SL_KEY(&want.at));
	struct sl_plan_split *split;
	int r;

	if (!endpoints)
		return -ENOMEM;
	for (uint32_t i = 0; rule && i < rule->n_backends && i < SL_SPLIT_MAX_SHARES; i++) {
		const struct sl_backend *b = &rule->backends[i];

		shares[i] = (struct sl_plan_share){.backend = b->name, .weight = b->weight};
		share_fill(backend_port(c, b), sl_addr_is_v4(&at->vip), endpoints, &want,
			   &shares[i]);
		want.n_shares++;
	}
	if (have && sl_plan_split_eq(sl_plan_split_of(have), &want))
		return 0;
	r = sl_plan_split_new(&want, &split);
	if (r)
		return r;
	r = sl_pmap_put(&c->splits, SL_KEY(&split->at), &split->part);
	sl_part_unref(&split->part);
	return r;
}
