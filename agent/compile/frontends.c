/* SPDX-License-Identifier: Apache-2.0 */
/* Ports to frontends, virtual addresses to ports, and what of it the BPF maps shall hold: the
 * addresses of routed Services and nothing else. */
#include <errno.h>
#include <netinet/in.h>
#include "base/alloc.h"
#include "base/cleanup.h"
#include "compile/work.h"

/* ---- frontends ---- */

void port_touch(struct sl_compiler *c, struct port_node *port)
{
	if (sl_list_empty(&port->changed))
		sl_list_append(&c->changed_ports, &port->changed);
}

void port_touch_claims(struct sl_compiler *c, struct port_node *port)
{
	for (uint32_t i = 0; i < port->n_claims; i++)
		claim_touch(port_contest(c, port), &port->claims[i]);
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
		r = claim_make(port_contest(c, port), claim, SL_KEY(&vip));
		if (r)
			return r;
		port->n_claims++;
	}
	return 0;
}

/* Enforced routes of the same clients that shadow routes would be weighed against: those of their
 * kind. Of another kind none would be in force. */
static const struct group_node *beside(const struct group_node *shadow)
{
	const struct group_node *g = sl_container_of(shadow->node.prev, struct group_node, node);

	if (shadow->node.prev == &shadow->port->groups || g->kind != shadow->kind ||
	    !sl_str_eq(g->namespace, shadow->namespace))
		return NULL;
	return g;
}

/* Those of the port's groups that are of shadow routes. */
static int trials_build(const struct port_node *port, struct sl_frontend *f)
{
	struct sl_trial *out = sl_arena_new_n(&f->arena, struct sl_trial, port->n_shadows + 1);

	if (!out)
		return -ENOMEM;
	f->trials = out;
	sl_list_foreach (it, &port->groups) {
		const struct group_node *g = sl_container_of(it, struct group_node, node);
		const struct group_node *enforced = g->shadow ? beside(g) : NULL;
		struct sl_trial *to = &out[f->n_trials];

		if (!g->shadow || group_loses_to(g))
			continue;
		if (sl_arena_str(&f->arena, g->namespace, &to->namespace))
			return -ENOMEM;
		to->shadow = g->table;
		to->enforced = enforced ? enforced->table : NULL;
		sl_part_ref(&g->table->part);
		if (enforced)
			sl_part_ref(&enforced->table->part);
		f->n_trials++;
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
	f->routed = n > port->n_shadows;
	sl_list_foreach (it, &port->groups) {
		const struct group_node *g = sl_container_of(it, struct group_node, node);
		struct sl_consumer_group *to = &out[f->n_consumers];

		if (g->shadow || group_loses_to(g))
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
	return port->n_shadows ? trials_build(port, f) : 0;
}

static int frontend_fill(const struct sl_compiler *c, const struct port_node *port,
			 struct sl_frontend *f)
{
	const struct sl_service *service = port->service->service;
	struct sl_addr *vips =
		sl_arena_new_n(&f->arena, struct sl_addr, service->n_cluster_ips + 1);
	int r;

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
	f->splice = port->service->splice;
	r = tables_build(port, f);
	return r ? r : kernel_judge(c, port, f);
}

static int frontend_build(struct sl_compiler *c, struct port_node *port)
{
	struct sl_frontend *f;
	int r = sl_frontend_new(&f);

	if (r)
		return r;
	r = frontend_fill(c, port, f);
	if (r) {
		sl_part_unref(&f->part);
		return r;
	}
	sl_part_unref(port->frontend ? &port->frontend->part : NULL);
	port->frontend = f;
	port_touch_claims(c, port);
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
	_cleanup_(sl_freep) struct sl_addr *endpoints = sl_new_n(struct sl_addr, port->n_usable);
	struct sl_plan_service want = {.vip = *vip,
				       /* Shadow routes alone may not cost a connection. */
				       .policy = port->frontend->routed ? port->service->policy
									: SL_FAIL_OPEN,
				       .name = port->key,
				       .endpoints = endpoints};
	bool v4 = sl_addr_is_v4(vip);
	struct sl_plan_service *ps;
	int r;

	if (!endpoints)
		return -ENOMEM;
	for (uint32_t i = 0; i < port->n_usable; i++) {
		if (sl_addr_is_v4(&port->usable[i]) == v4)
			endpoints[want.n_endpoints++] = port->usable[i];
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

/* *ret: who has the address now, NULL: nobody. */
static int frontend_settle(struct sl_pmap *frontends, const struct claimed *k,
			   const struct port_node **ret, const struct sl_addr **ret_vip)
{
	const struct claim *winner = claimed_winner(k);
	const struct port_node *port = winner ? winner->owner : NULL;

	*ret = port;
	*ret_vip = port ? vip_of(port->frontend, winner) : NULL;
	if (!port)
		return sl_pmap_del(frontends, k->key);
	if (sl_pmap_get(frontends, k->key) == &port->frontend->part)
		return 0;
	return sl_pmap_put(frontends, SL_KEY(*ret_vip), &port->frontend->part);
}

static int split_settle(struct sl_compiler *c, const struct claimed *k,
			const struct port_node *port, uint16_t protocol)
{
	struct sl_split_at at = {.protocol = protocol};

	memcpy(&at.vip, k->key.ptr, sizeof(at.vip));
	return port ? split_put(c, port, &at) : sl_pmap_del(&c->splits, SL_KEY(&at));
}

/* What the kernel follows alone the agent could do too: it does while that is not in the maps. */
static int vip_settle(struct sl_compiler *c, const struct claimed *k)
{
	const struct port_node *port;
	const struct sl_addr *vip;
	int r = frontend_settle(&c->frontends, k, &port, &vip);

	if (r)
		return r;
	r = port && (port->frontend->routed || port->frontend->n_trials)
		    ? plan_put(c, port, vip)
		    : sl_pmap_del(&c->plan, k->key);
	return r ? r
		 : split_settle(c, k, port && port->frontend->by_kernel ? port : NULL, IPPROTO_TCP);
}

static int udp_vip_settle(struct sl_compiler *c, const struct claimed *k)
{
	const struct port_node *port;
	const struct sl_addr *vip;
	int r = frontend_settle(&c->udp_frontends, k, &port, &vip);

	return r ? r
		 : split_settle(c, k, port && port->frontend->routed ? port : NULL, IPPROTO_UDP);
}

static int contest_follow(struct sl_compiler *c, struct contest *t,
			  int (*settle)(struct sl_compiler *c, const struct claimed *k))
{
	struct claimed *k;

	while ((k = contest_next(t))) {
		int r = settle(c, k);

		contest_settle(t, k);
		if (r)
			return r;
	}
	return 0;
}

int vips_settle(struct sl_compiler *c)
{
	int r = contest_follow(c, &c->vips, vip_settle);

	return r ? r : contest_follow(c, &c->udp_vips, udp_vip_settle);
}

static int losers_warn(const struct contest *t, struct sl_diags *diags)
{
	_cleanup_(sl_freep) const struct claim **losers = NULL;
	char text[SL_ADDR_TEXT];
	size_t n;
	int r = contest_losers(t, &losers, &n);

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

int vips_warn(struct sl_compiler *c, struct sl_diags *diags)
{
	int r = losers_warn(&c->vips, diags);

	return r ? r : losers_warn(&c->udp_vips, diags);
}
