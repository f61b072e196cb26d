/* SPDX-License-Identifier: Apache-2.0 */
/* What lies behind one port of a Service: its slices' endpoints, together. */
#include <errno.h>
#include "base/alloc.h"
#include "base/cleanup.h"
#include "compile/work.h"

/* ---- protocols ---- */

enum sl_app_protocol app_protocol_from(struct sl_str declared)
{
	static const struct {
		const char *name;
		enum sl_app_protocol protocol;
	} known[] = {
		{"http", SL_APP_HTTP},
		{"kubernetes.io/ws", SL_APP_HTTP},
		{"kubernetes.io/h2c", SL_APP_H2C},
		{"kubernetes.io/wss", SL_APP_OPAQUE},
		{"https", SL_APP_OPAQUE},
		{"tls", SL_APP_OPAQUE},
		{"tcp", SL_APP_OPAQUE},
		{"mysql", SL_APP_OPAQUE},
		{"postgresql", SL_APP_OPAQUE},
		{"mongodb", SL_APP_OPAQUE},
		{"mongo", SL_APP_OPAQUE},
		{"redis", SL_APP_OPAQUE},
		{"amqp", SL_APP_OPAQUE},
		{"smtp", SL_APP_OPAQUE},
		{"ldap", SL_APP_OPAQUE},
		{"ssh", SL_APP_OPAQUE},
	};

	for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++) {
		if (sl_str_ieq(declared, sl_str_from(known[i].name)))
			return known[i].protocol;
	}
	return SL_APP_UNKNOWN;
}

bool protocol_routable(enum sl_app_protocol p, enum sl_route_kind kind)
{
	switch (kind) {
	case SL_ROUTE_GRPC:
	case SL_ROUTE_HTTP:
		return p != SL_APP_OPAQUE;
	case SL_ROUTE_TLS:
		return p != SL_APP_HTTP && p != SL_APP_H2C; /* which are in the clear */
	case SL_ROUTE_TCP:
	case SL_ROUTE_UDP:
	case SL_N_ROUTE_KINDS:
		break;
	}
	return true;
}

/* ---- endpoints ---- */

/* EndpointSlice ports belong to Service ports by name alone: numbers may differ between slices. */
static const struct sl_slice_port *slice_port(const struct sl_endpointslice *slice,
					      const struct sl_service_port *port)
{
	for (uint32_t i = 0; i < slice->n_ports; i++) {
		const struct sl_slice_port *p = &slice->ports[i];

		if (p->port && p->protocol == port->protocol && sl_str_eq(p->name, port->name))
			return p;
	}
	return NULL;
}

static int endpoint_cmp(const void *a, const void *b)
{
	const struct sl_endpoint *x = &((const struct candidate *)a)->endpoint;
	const struct sl_endpoint *y = &((const struct candidate *)b)->endpoint;
	int order = memcmp(x->addr.ip, y->addr.ip, sizeof(x->addr.ip));

	if (!order)
		order = (x->addr.port > y->addr.port) - (x->addr.port < y->addr.port);
	if (!order)
		order = (int)y->ready - (int)x->ready;
	if (!order)
		order = (int)y->ending - (int)x->ending;
	if (!order)
		order = sl_str_cmp(x->pod, y->pod);
	if (!order)
		order = sl_str_cmp(x->node, y->node);
	return order ? order : sl_str_cmp(x->zone, y->zone);
}

/* While an endpoint moves from one slice to another it is in both: ready in one is ready. */
static uint32_t drop_duplicates(struct candidate *e, uint32_t n)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < n; i++) {
		if (kept == 0 || !sl_addr_eq(&e[kept - 1].endpoint.addr, &e[i].endpoint.addr))
			e[kept++] = e[i];
	}
	return kept;
}

static uint32_t endpoints_max(const struct port_node *port)
{
	uint32_t n = 0;

	sl_list_foreach (it, &port->service->slices) {
		const struct slice_node *slice = sl_container_of(it, struct slice_node, node);

		if (slice_port(slice->slice, port->port))
			n += slice->slice->n_endpoints;
	}
	return n;
}

static uint32_t slice_collect(const struct sl_endpointslice *slice,
			      const struct sl_service_port *port, struct candidate *out)
{
	const struct sl_slice_port *sp = slice_port(slice, port);
	uint32_t n = 0;

	for (uint32_t i = 0; sp && i < slice->n_endpoints; i++) {
		const struct sl_slice_endpoint *from = &slice->endpoints[i];
		struct sl_endpoint *e = &out[n].endpoint;

		if (!from->n_addresses)
			continue;
		out[n++].from = from;
		/* Addresses of one endpoint are interchangeable: the first serves. */
		*e = (struct sl_endpoint){
			.addr = from->addresses[0],
			.pod = from->pod,
			.node = from->node,
			.zone = from->zone,
			.ready = from->ready,
			.ending = !from->ready && from->serving && from->terminating,
		};
		e->addr.port = sp->port;
	}
	return n;
}

/* Of both families, sorted by address, no duplicates. */
struct endpoints {
	struct candidate *items;
	uint32_t n;
};

static void endpoints_deinit(struct endpoints *e)
{
	free(e->items);
}

static int endpoints_collect(const struct port_node *port, struct endpoints *ret)
{
	uint32_t n = 0;

	ret->items = sl_new_n(struct candidate, endpoints_max(port));
	if (!ret->items)
		return -ENOMEM;
	sl_list_foreach (it, &port->service->slices) {
		const struct slice_node *slice = sl_container_of(it, struct slice_node, node);

		n += slice_collect(slice->slice, port->port, ret->items + n);
	}
	if (n)
		qsort(ret->items, n, sizeof(*ret->items), endpoint_cmp);
	ret->n = drop_duplicates(ret->items, n);
	return 0;
}

static bool prefers_v4(const struct sl_service *s)
{
	return s->n_cluster_ips == 0 || sl_addr_is_v4(&s->cluster_ips[0]);
}

/* Marks in skip[] the second address of pods that are there in both families: twice in the list is
 * twice the load, and the Service's first family is the one that all its clients have. */
static int skip_second_family(const struct sl_service *service, const struct endpoints *all,
			      bool *skip)
{
	struct sl_map pods = SL_MAP_INIT;
	bool v4 = prefers_v4(service);
	int r = 0;

	for (uint32_t i = 0; i < all->n && !r; i++) {
		struct sl_endpoint *e = &all->items[i].endpoint;

		if (e->pod.len && sl_addr_is_v4(&e->addr) == v4)
			r = sl_map_put(&pods, e->pod, e, NULL);
	}
	for (uint32_t i = 0; i < all->n && !r; i++) {
		const struct sl_endpoint *e = &all->items[i].endpoint;

		skip[i] = e->pod.len && sl_addr_is_v4(&e->addr) != v4 && sl_map_get(&pods, e->pod);
	}
	sl_map_deinit(&pods);
	return r;
}

static int endpoint_copy(struct sl_arena *a, const struct sl_endpoint *from,
			 struct sl_endpoint *ret)
{
	*ret = *from;
	if (sl_arena_str(a, from->pod, &ret->pod) || sl_arena_str(a, from->node, &ret->node) ||
	    sl_arena_str(a, from->zone, &ret->zone))
		return -ENOMEM;
	return 0;
}

static int endpoints_fill(const struct endpoints *all, const bool *skip, struct sl_upstream *u)
{
	struct sl_endpoint *out = sl_arena_new_n(&u->arena, struct sl_endpoint, all->n + 1);

	if (!out)
		return -ENOMEM;
	u->endpoints = out;
	for (int usable = 1; usable >= 0; usable--) {
		for (uint32_t i = 0; i < all->n; i++) {
			int r;

			if (skip[i] || all->items[i].usable != usable)
				continue;
			r = endpoint_copy(&u->arena, &all->items[i].endpoint,
					  &out[u->n_endpoints++]);
			if (r)
				return r;
		}
		if (usable)
			u->n_usable = u->n_endpoints;
	}
	return 0;
}

static int tls_fill(const struct port_node *port, struct sl_upstream *u)
{
	const struct port_tls *t = port_tls(port);

	if (!t)
		return 0;
	u->tls = sl_tls_context_ref(t->tls);
	u->tls_refused = !t->tls;
	return sl_arena_str(&u->arena, t->owner->key, &u->tls_policy);
}

static int upstream_fill(const struct port_node *port, struct sl_str key,
			 const struct endpoints *all, struct sl_upstream *u)
{
	_cleanup_(sl_freep) bool *skip = sl_new_n(bool, all->n);
	int r;

	if (!skip || sl_arena_str(&u->arena, key, &u->key) ||
	    sl_arena_str(&u->arena, port->service->namespace, &u->namespace) ||
	    sl_arena_str(&u->arena, port->service->name, &u->name))
		return -ENOMEM;
	u->port = port->port->port;
	u->app_protocol = port->app_protocol;
	u->splice = port->service->splice;
	r = port_is_udp(port) ? 0 : tls_fill(port, u);
	if (r)
		return r;
	r = skip_second_family(port->service->service, all, skip);
	return r ? r : endpoints_fill(all, skip, u);
}

/* What the kernel may balance over: a copy of their own. */
static int usable_keep(struct port_node *port, const struct endpoints *all)
{
	struct sl_addr *usable = sl_new_n(struct sl_addr, all->n);
	uint32_t n = 0;

	if (!usable)
		return -ENOMEM;
	for (uint32_t i = 0; i < all->n; i++) {
		if (all->items[i].usable)
			usable[n++] = all->items[i].endpoint.addr;
	}
	free(port->usable);
	port->usable = usable;
	port->n_usable = n;
	return 0;
}

static void upstream_unrefp(struct sl_upstream **u)
{
	(void)sl_upstream_unref(*u); /* always NULL */
}

/* before: the upstream that u replaces; NULL: none. */
static int policies_fill(const struct sl_compiler *c, const struct port_node *port,
			 const struct sl_traffic_policy *policy, const struct sl_upstream *before,
			 struct sl_upstream *u)
{
	int r;

	/* They are for what the agent carries. */
	if (port_is_udp(port))
		return 0;
	r = balance_build(port, policy, before, u);
	if (!r)
		r = budget_build(c, port, u);
	return r ? r : upstream_persistence_build(c, port, u);
}

/* policy: NULL: none. *current: replaced, in the snapshot to be too. */
static int upstream_make(struct sl_compiler *c, struct port_node *port, struct sl_str key,
			 const struct sl_traffic_policy *policy, const struct endpoints *all,
			 struct sl_upstream **current)
{
	_cleanup_(upstream_unrefp) struct sl_upstream *u = NULL;
	int r = sl_upstream_new(&u);

	if (!r)
		r = upstream_fill(port, key, all, u);
	if (!r)
		r = policies_fill(c, port, policy, *current, u);
	if (!r)
		u->faults = sl_faults_ref(faults_of_port(c, port));
	if (!r)
		r = sl_pmap_put(&c->upstreams, u->key, &u->part);
	if (r)
		return r;
	(void)sl_upstream_unref(*current);
	*current = sl_take(u);
	return 0;
}

static int endpoints_find(struct sl_compiler *c, const struct port_node *port,
			  struct endpoints *ret)
{
	int r = endpoints_collect(port, ret);

	if (!r)
		endpoints_choose(c, port->service->service, ret->items, ret->n);
	return r;
}

int upstream_build_variant(struct sl_compiler *c, struct port_node *port, struct variant *v)
{
	_cleanup_(endpoints_deinit) struct endpoints all = {0};
	int r = endpoints_find(c, port, &all);

	return r ? r : upstream_make(c, port, v->key, v->policy, &all, &v->upstream);
}

int upstream_build(struct sl_compiler *c, struct port_node *port)
{
	_cleanup_(endpoints_deinit) struct endpoints all = {0};
	int r = endpoints_find(c, port, &all);

	if (!r)
		r = upstream_make(c, port, port->key, policy_of_port(c, POLICY_BALANCE, port), &all,
				  &port->upstream);
	sl_list_foreach (it, &port->variants) {
		struct variant *v = sl_container_of(it, struct variant, node);

		if (!r)
			r = upstream_make(c, port, v->key, v->policy, &all, &v->upstream);
	}
	return r ? r : usable_keep(port, &all);
}
