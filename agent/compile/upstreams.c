/* SPDX-License-Identifier: Apache-2.0 */
/* Services and EndpointSlices to upstreams, and backendRefs to their keys. */
#include <errno.h>
#include "base/cleanup.h"
#include "compile/work.h"

struct slice_list {
	struct slice_list *next;
	const struct sl_endpointslice *slice;
};

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

/* HTTP/2 is not spoken yet, on neither side: to lift that, take SL_APP_H2C out here. */
bool protocol_routable(enum sl_app_protocol p)
{
	return p != SL_APP_OPAQUE && p != SL_APP_H2C;
}

/* Of a backend: a name with a prefix that nobody here knows is a promise that cannot be kept, a
 * plain word is tolerated (GEP-1911 gives meaning to prefixed values only). */
static bool protocol_spoken(const struct port_work *port)
{
	struct sl_str declared = port->port->app_protocol;

	if (port->app_protocol == SL_APP_UNKNOWN && declared.len &&
	    memchr(declared.ptr, '/', declared.len))
		return false;
	return protocol_routable(port->app_protocol);
}

/* ---- endpoints ---- */

static int slices_build(struct work *w, struct sl_map *by_service)
{
	_cleanup_(sl_freep) struct sl_object **slices = NULL;
	size_t n;
	int r = sl_model_list(w->model, SL_KIND_ENDPOINTSLICE, &slices, &n);

	if (r)
		return r;
	for (size_t i = 0; i < n; i++) {
		const struct sl_endpointslice *slice = (const struct sl_endpointslice *)slices[i];
		struct slice_list *link;
		struct sl_str key;

		if (!slice->service.len)
			continue;
		link = sl_arena_new(&w->tmp, struct slice_list);
		r = sl_arena_printf(&w->tmp, &key, "%.*s/%.*s",
				    SL_STR_ARG(slice->object.meta.namespace),
				    SL_STR_ARG(slice->service));
		if (!link || r)
			return -ENOMEM;
		link->slice = slice;
		link->next = sl_map_get(by_service, key);
		r = sl_map_put(by_service, key, link, NULL);
		if (r)
			return r;
	}
	return 0;
}

/* EndpointSlice ports belong to Service ports by name alone: numbers may differ between slices. */
static const struct sl_slice_port *slice_port(const struct sl_endpointslice *slice,
					      const struct sl_service_port *port)
{
	for (uint32_t i = 0; i < slice->n_ports; i++) {
		const struct sl_slice_port *p = &slice->ports[i];

		if (p->port && p->protocol == SL_PROTOCOL_TCP && sl_str_eq(p->name, port->name))
			return p;
	}
	return NULL;
}

static int endpoint_cmp(const void *a, const void *b)
{
	const struct sl_endpoint *x = a, *y = b;
	int order = memcmp(x->addr.ip, y->addr.ip, sizeof(x->addr.ip));

	if (!order)
		order = (x->addr.port > y->addr.port) - (x->addr.port < y->addr.port);
	if (!order)
		order = (int)y->ready - (int)x->ready;
	return order ? order : sl_str_cmp(x->pod, y->pod);
}

/* While an endpoint moves from one slice to another it is in both: ready in one is ready. */
static uint32_t drop_duplicates(struct sl_endpoint *e, uint32_t n)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < n; i++) {
		if (kept == 0 || !sl_addr_eq(&e[kept - 1].addr, &e[i].addr))
			e[kept++] = e[i];
	}
	return kept;
}

/* All endpoints of a port, text borrowed from the slices. */
static int endpoints_collect(struct work *w, struct port_work *port,
			     const struct slice_list *slices)
{
	const struct sl_slice_port *sp;
	uint32_t n = 0;

	for (const struct slice_list *l = slices; l; l = l->next) {
		if (slice_port(l->slice, port->port))
			n += l->slice->n_endpoints;
	}
	if (!n)
		return 0;
	port->endpoints = sl_arena_new_n(&w->tmp, struct sl_endpoint, n);
	if (!port->endpoints)
		return -ENOMEM;
	n = 0;
	for (const struct slice_list *l = slices; l; l = l->next) {
		sp = slice_port(l->slice, port->port);
		for (uint32_t i = 0; sp && i < l->slice->n_endpoints; i++) {
			const struct sl_slice_endpoint *from = &l->slice->endpoints[i];
			struct sl_endpoint *e = &port->endpoints[n];

			if (!from->n_addresses)
				continue;
			/* Addresses of one endpoint are interchangeable: the first serves. */
			*e = (struct sl_endpoint){.addr = from->addresses[0],
						  .pod = from->pod,
						  .node = from->node,
						  .zone = from->zone,
						  .ready = from->ready};
			e->addr.port = sp->port;
			n++;
		}
	}
	if (n)
		qsort(port->endpoints, n, sizeof(*port->endpoints), endpoint_cmp);
	port->n_endpoints = drop_duplicates(port->endpoints, n);
	return 0;
}

static bool prefers_v4(const struct sl_service *s)
{
	return s->n_cluster_ips == 0 || sl_addr_is_v4(&s->cluster_ips[0]);
}

/* Marks in skip[] the second address of pods that are there in both families: twice in the list is
 * twice the load, and the Service's first family is the one that all its clients have. */
static int skip_second_family(const struct service_work *s, const struct port_work *port,
			      bool *skip)
{
	struct sl_map pods = SL_MAP_INIT;
	bool v4 = prefers_v4(s->service);
	int r = 0;

	for (uint32_t i = 0; i < port->n_endpoints && !r; i++) {
		struct sl_endpoint *e = &port->endpoints[i];

		if (e->pod.len && sl_addr_is_v4(&e->addr) == v4)
			r = sl_map_put(&pods, e->pod, e, NULL);
	}
	for (uint32_t i = 0; i < port->n_endpoints && !r; i++) {
		const struct sl_endpoint *e = &port->endpoints[i];

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

static int upstream_fill(struct work *w, const struct service_work *s, const struct port_work *port,
			 struct sl_upstream *u)
{
	struct sl_endpoint *out =
		sl_arena_new_n(&u->arena, struct sl_endpoint, port->n_endpoints + 1);
	bool *skip = sl_arena_new_n(&w->tmp, bool, port->n_endpoints + 1);
	const struct sl_meta *meta = &s->service->object.meta;
	int r;

	if (!out || !skip || sl_arena_str(&u->arena, port->key, &u->key) ||
	    sl_arena_str(&u->arena, meta->namespace, &u->namespace) ||
	    sl_arena_str(&u->arena, meta->name, &u->name))
		return -ENOMEM;
	u->port = port->port->port;
	u->app_protocol = port->app_protocol;
	r = skip_second_family(s, port, skip);
	if (r)
		return r;
	for (int ready = 1; ready >= 0; ready--) {
		for (uint32_t i = 0; i < port->n_endpoints; i++) {
			if (skip[i] || port->endpoints[i].ready != ready)
				continue;
			r = endpoint_copy(&u->arena, &port->endpoints[i], &out[u->n_endpoints++]);
			if (r)
				return r;
		}
		if (ready)
			u->n_ready = u->n_endpoints;
	}
	u->endpoints = out;
	return 0;
}

static void upstream_unrefp(struct sl_upstream **u)
{
	(void)sl_upstream_unref(*u); /* always NULL */
}

static int upstream_build(struct work *w, const struct service_work *s,
			  const struct port_work *port)
{
	_cleanup_(upstream_unrefp) struct sl_upstream *u = NULL;
	int r = sl_upstream_new(&u);

	if (!r)
		r = upstream_fill(w, s, port, u);
	if (!r)
		r = sl_map_put(&w->snap->upstreams, u->key, u, NULL);
	if (!r)
		(void)sl_take(u); /* the snapshot's now */
	return r;
}

/* ---- services ---- */

static int service_build(struct work *w, struct service_work *s, const struct slice_list *slices)
{
	const struct sl_service *service = s->service;
	int r;

	if (service->type == SL_SERVICE_EXTERNALNAME)
		return 0;
	s->ports = sl_arena_new_n(&w->tmp, struct port_work, service->n_ports + 1);
	if (!s->ports)
		return -ENOMEM;
	for (uint32_t i = 0; i < service->n_ports; i++) {
		struct port_work *port = &s->ports[s->n_ports];

		if (service->ports[i].protocol != SL_PROTOCOL_TCP)
			continue;
		port->port = &service->ports[i];
		port->app_protocol = app_protocol_from(port->port->app_protocol);
		r = sl_arena_printf(&w->tmp, &port->key, "%.*s:%u", SL_STR_ARG(service->object.key),
				    port->port->port);
		if (r)
			return r;
		if (sl_map_get(&w->snap->upstreams, port->key)) {
			*port = (struct port_work){0}; /* the same number twice: the first counts */
			continue;
		}
		r = endpoints_collect(w, port, slices);
		if (!r)
			r = upstream_build(w, s, port);
		if (r)
			return r;
		s->n_ports++;
	}
	return 0;
}

static void map_deinitp(struct sl_map *m)
{
	sl_map_deinit(m);
}

int services_build(struct work *w)
{
	_cleanup_(map_deinitp) struct sl_map slices = SL_MAP_INIT;
	_cleanup_(sl_freep) struct sl_object **services = NULL;
	size_t n;
	int r = slices_build(w, &slices);

	if (!r)
		r = sl_model_list(w->model, SL_KIND_SERVICE, &services, &n);
	if (r)
		return r;
	w->services = sl_arena_new_n(&w->tmp, struct service_work, n + 1);
	if (!w->services)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		struct service_work *s = &w->services[w->n_services++];

		s->service = (const struct sl_service *)services[i];
		r = sl_map_put(&w->service_by_key, services[i]->key, s, NULL);
		if (!r)
			r = service_build(w, s, sl_map_get(&slices, services[i]->key));
		if (r)
			return r;
	}
	return 0;
}

struct service_work *service_find(const struct work *w, struct sl_str namespace, struct sl_str name)
{
	const struct sl_object *o = sl_model_get(w->model, SL_KIND_SERVICE, namespace, name);

	return o ? sl_map_get(&w->service_by_key, o->key) : NULL;
}

struct port_work *service_port(const struct service_work *s, const struct sl_service_port *port)
{
	for (uint32_t i = 0; i < s->n_ports; i++) {
		if (s->ports[i].port == port)
			return &s->ports[i];
	}
	return NULL;
}

/* ---- backendRefs ---- */

static const struct port_work *port_by_number(const struct service_work *s, uint16_t number)
{
	for (uint32_t i = 0; i < s->n_ports; i++) {
		if (s->ports[i].port->port == number)
			return &s->ports[i];
	}
	return NULL;
}

int backend_resolve(struct work *w, struct route_work *rw, const struct sl_backend_ref *ref,
		    struct sl_str field, struct backend_work *ret)
{
	const struct service_work *s;
	const struct port_work *port;

	ret->state = SL_BACKEND_INVALID;
	if (sl_arena_printf(&w->tmp, &ret->key, "%.*s/%.*s:%u", SL_STR_ARG(ref->namespace),
			    SL_STR_ARG(ref->name), ref->port))
		return -ENOMEM;
	if (ref->group.len || !sl_str_eqc(ref->kind, "Service"))
		return note_add(
			w, &rw->unresolved, "InvalidKind",
			"%.*s: kind \"%.*s\" of group \"%.*s\" is not supported as a backend",
			SL_STR_ARG(field), SL_STR_ARG(ref->kind), SL_STR_ARG(ref->group));
	s = service_find(w, ref->namespace, ref->name);
	if (!s)
		return note_add(w, &rw->unresolved, "BackendNotFound",
				"%.*s: Service %.*s/%.*s does not exist", SL_STR_ARG(field),
				SL_STR_ARG(ref->namespace), SL_STR_ARG(ref->name));
	if (s->service->type == SL_SERVICE_EXTERNALNAME)
		return note_add(w, &rw->unresolved, "InvalidKind",
				"%.*s: Service %.*s is of type ExternalName, which is not "
				"supported as a backend",
				SL_STR_ARG(field), SL_STR_ARG(s->service->object.key));
	port = port_by_number(s, ref->port);
	if (!port)
		return note_add(w, &rw->unresolved, "BackendNotFound",
				"%.*s: Service %.*s has no TCP port %u", SL_STR_ARG(field),
				SL_STR_ARG(s->service->object.key), ref->port);
	if (!protocol_spoken(port))
		return note_add(w, &rw->unresolved, "UnsupportedProtocol",
				"%.*s: port %u of Service %.*s has appProtocol \"%.*s\", which is "
				"not spoken to backends of an HTTPRoute",
				SL_STR_ARG(field), ref->port, SL_STR_ARG(s->service->object.key),
				SL_STR_ARG(port->port->app_protocol));
	ret->state = SL_BACKEND_OK;
	return 0;
}
