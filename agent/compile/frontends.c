/* SPDX-License-Identifier: Apache-2.0 */
/* Ports to frontends, virtual addresses to ports, and what of it the BPF maps shall hold: the
 * addresses of routed Services and nothing else. */
#include <errno.h>
#include "base/alloc.h"
#include "base/cleanup.h"
#include "compile/work.h"

/* ---- frontends ---- */

void port_touch(struct sl_compiler *c, struct port_node *port)
{
	if (sl_list_empty(&port->changed))
		sl_list_append(&c->changed_ports, &port->changed);
}

int port_claim(struct sl_compiler *c, struct port_node *port)
{
	const struct service_node *s = port->service;
	const struct sl_service *service = s->service;

	if (service->headless || !service->n_cluster_ips)
		return 0;
	port->claims = sl_new_n(struct claim, service->n_cluster_ips);
	if (!port->claims)
		return -ENOMEM;
	port_touch(c, port);
	for (uint32_t i = 0; i < service->n_cluster_ips; i++) {
		struct claim *claim = &port->claims[port->n_claims];
		struct sl_addr vip = service->cluster_ips[i];
		int r;

		vip.port = port->port->port;
		claim->namespace = s->namespace;
		claim->name = s->name;
		claim->index = port->index << 16 | i;
		claim->owner = port;
		r = claim_make(&c->vips, claim, SL_KEY(&vip));
		if (r)
			return r;
		port->n_claims++;
	}
	return 0;
}

/* The tables in force. Producer routes live in the Service's namespace and apply to all clients,
 * consumer routes to those of their own (GEP-1324). */
static int tables_build(const struct port_node *port, struct sl_frontend *f)
{
	struct sl_consumer_group *out;
	uint32_t n = 0;

	sl_list_foreach (it, &port->groups)
		n++;
	out = sl_arena_new_n(&f->arena, struct sl_consumer_group, n + 1);
	if (!out)
		return -ENOMEM;
	f->consumers = out;
	f->routed = n > 0;
	sl_list_foreach (it, &port->groups) {
		const struct group_node *g = sl_container_of(it, struct group_node, node);
		struct sl_consumer_group *to = &out[f->n_consumers];

		if (group_loses_to(g))
			continue;
		if (sl_str_eq(g->namespace, f->namespace)) {
			f->producer = g->table;
		} else {
			if (sl_arena_str(&f->arena, g->namespace, &to->namespace))
				return -ENOMEM;
			to->table = g->table;
			f->n_consumers++;
		}
		sl_part_ref(&g->table->part);
	}
	return 0;
}

static int frontend_fill(const struct port_node *port, struct sl_frontend *f)
{
	const struct sl_service *service = port->service->service;
	struct sl_addr *vips =
		sl_arena_new_n(&f->arena, struct sl_addr, service->n_cluster_ips + 1);

	if (!vips || sl_arena_str(&f->arena, port->key, &f->key) ||
	    sl_arena_str(&f->arena, port->service->namespace, &f->namespace))
		return -ENOMEM;
	for (uint32_t i = 0; i < service->n_cluster_ips; i++) {
		vips[i] = service->cluster_ips[i];
		vips[i].port = port->port->port;
	}
	f->vips = vips;
	f->n_vips = service->n_cluster_ips;
	f->port = port->port->port;
	f->app_protocol = port->app_protocol;
	return tables_build(port, f);
}

static int frontend_build(struct sl_compiler *c, struct port_node *port)
{
	struct sl_frontend *f;
	int r = sl_frontend_new(&f);

	if (r)
		return r;
	r = frontend_fill(port, f);
	if (r) {
		sl_part_unref(&f->part);
		return r;
	}
	sl_part_unref(port->frontend ? &port->frontend->part : NULL);
	port->frontend = f;
	for (uint32_t i = 0; i < port->n_claims; i++)
		claim_touch(&c->vips, &port->claims[i]);
	return 0;
}

int frontends_build(struct sl_compiler *c)
{
	sl_list_foreach_safe (it, &c->changed_ports) {
		struct port_node *port = sl_container_of(it, struct port_node, changed);
		int r = port->claims ? frontend_build(c, port) : 0;

		if (r)
			return r;
		sl_list_remove(&port->changed);
	}
	return 0;
}

/* ---- addresses ---- */

static const struct sl_addr *vip_of(const struct sl_frontend *f, const struct claim *claim)
{
	return &f->vips[claim->index & 0xffff];
}

static bool same_plan(const struct sl_plan_service *a, const struct sl_plan_service *b)
{
	return a && a->policy == b->policy && sl_str_eq(a->name, b->name) &&
	       a->n_endpoints == b->n_endpoints &&
	       (!a->n_endpoints ||
		!memcmp(a->endpoints, b->endpoints, a->n_endpoints * sizeof(*a->endpoints)));
}

static int plan_put(struct sl_compiler *c, const struct port_node *port, const struct sl_addr *vip)
{
	_cleanup_(sl_freep) struct sl_addr *endpoints = sl_new_n(struct sl_addr, port->n_ready);
	struct sl_plan_service want = {.vip = *vip,
				       .policy = port->service->policy,
				       .name = port->key,
				       .endpoints = endpoints};
	bool v4 = sl_addr_is_v4(vip);
	struct sl_plan_service *ps;
	int r;

	if (!endpoints)
		return -ENOMEM;
	for (uint32_t i = 0; i < port->n_ready; i++) {
		if (sl_addr_is_v4(&port->ready[i]) == v4)
			endpoints[want.n_endpoints++] = port->ready[i];
	}
	if (same_plan(sl_plan_service_of(sl_pmap_get(&c->plan, SL_KEY(vip))), &want))
		return 0;
	r = sl_plan_service_new(&want, &ps);
	if (r)
		return r;
	r = sl_pmap_put(&c->plan, SL_KEY(&ps->vip), &ps->part);
	sl_part_unref(&ps->part);
	return r;
}

static int vip_settle(struct sl_compiler *c, const struct claimed *k)
{
	const struct claim *winner = claimed_winner(k);
	const struct port_node *port = winner ? winner->owner : NULL;
	const struct sl_addr *vip = port ? vip_of(port->frontend, winner) : NULL;
	int r = 0;

	if (!port)
		r = sl_pmap_del(&c->frontends, k->key);
	else if (sl_pmap_get(&c->frontends, k->key) != &port->frontend->part)
		r = sl_pmap_put(&c->frontends, SL_KEY(vip), &port->frontend->part);
	if (r)
		return r;
	return port && port->frontend->routed ? plan_put(c, port, vip)
					      : sl_pmap_del(&c->plan, k->key);
}

int vips_settle(struct sl_compiler *c)
{
	struct claimed *k;

	while ((k = contest_next(&c->vips))) {
		int r = vip_settle(c, k);

		contest_settle(&c->vips, k);
		if (r)
			return r;
	}
	return 0;
}

int vips_warn(struct sl_compiler *c, struct sl_diags *diags)
{
	_cleanup_(sl_freep) const struct claim **losers = NULL;
	char text[SL_ADDR_TEXT];
	size_t n;
	int r = contest_losers(&c->vips, &losers, &n);

	for (size_t i = 0; i < n && !r; i++) {
		const struct port_node *port = losers[i]->owner;
		const struct port_node *winner = claimed_winner(losers[i]->at)->owner;

		warn(diags, &port->service->service->object, SL_STR("spec.clusterIPs"),
		     "%s already belongs to Service %.*s: ignoring it here",
		     sl_addr_format(vip_of(port->frontend, losers[i]), text),
		     SL_STR_ARG(winner->key));
	}
	return r;
}
