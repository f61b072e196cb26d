/* SPDX-License-Identifier: Apache-2.0 */
/*
 * XBackends as the rest of the compiler knows them: each stands behind a Service of its own,
 * without addresses, whose one slice holds what DNS says of a host, or the Pods that have some
 * labels. Its key, "namespace/xbackend/name", can be no Service's. There are few of them: each run
 * looks at all.
 */
#include <errno.h>
#include "base/alloc.h"
#include "base/cleanup.h"
#include "compile/work.h"

enum { MAX_KEY = 512 };

static void object_unref(void *o)
{
	(void)sl_object_unref(o); /* always NULL */
}

/* ---- what it speaks ---- */

/* In the words of a Service's appProtocol. */
static const char *declared(const struct sl_xbackend *b)
{
	switch (b->protocol) {
	case SL_BACKEND_AS_ROUTE:
	case SL_BACKEND_HTTP:
	case SL_BACKEND_MCP: /* which is HTTP */
		break;
	case SL_BACKEND_HTTP11:
	case SL_BACKEND_WSS:
		return "http";
	case SL_BACKEND_HTTP2: /* in TLS, as the API demands */
	case SL_BACKEND_H2C:
	case SL_BACKEND_GRPC:
		return "kubernetes.io/h2c";
	case SL_BACKEND_TCP:
		return "tcp";
	}
	return "";
}

bool xbackend_speaks(const struct sl_xbackend *b, enum sl_route_kind kind)
{
	switch (kind) {
	case SL_ROUTE_HTTP:
		return b->protocol != SL_BACKEND_TCP;
	case SL_ROUTE_GRPC:
		return b->protocol != SL_BACKEND_TCP && b->protocol != SL_BACKEND_HTTP11 &&
		       b->protocol != SL_BACKEND_WSS && b->protocol != SL_BACKEND_MCP;
	case SL_ROUTE_TLS: /* the client's own, which is not to be in another one */
		return !b->has_tls &&
		       (b->protocol == SL_BACKEND_AS_ROUTE || b->protocol == SL_BACKEND_TCP);
	case SL_ROUTE_TCP:
		return true;
	case SL_ROUTE_UDP:
	case SL_N_ROUTE_KINDS:
		break;
	}
	return false;
}

const struct port_tls *xbackend_tls(const struct xbackend_node *n)
{
	return n->tls.owner ? &n->tls : NULL;
}

/* ---- nodes ---- */

static int service_of(struct sl_compiler *c, struct sl_str namespace, struct sl_str name,
		      struct service_node **ret)
{
	char buf[MAX_KEY];
	int n = snprintf(buf, sizeof(buf), "%.*s/xbackend/%.*s", SL_STR_ARG(namespace),
			 SL_STR_ARG(name));

	if (n < 0 || n >= MAX_KEY)
		n = snprintf(buf, sizeof(buf), "/xbackend/"); /* no XBackend's name */
	return service_by_key(c, (struct sl_str){buf, (size_t)n}, ret);
}

int route_depend_xbackend(struct sl_compiler *c, struct route_node *n, struct sl_str namespace,
			  struct sl_str name, struct service_node **ret)
{
	int r = service_of(c, namespace, name, ret);

	return r ? r : route_depend_node(n, *ret);
}

void xbackend_retell(struct xbackend_node *n)
{
	n->untold = true;
}

static void slice_drop(struct xbackend_node *n)
{
	sl_list_remove(&n->slice.node);
	sl_list_init(&n->slice.node);
	object_unref(n->slice.slice ? &n->slice.slice->object : NULL);
	n->slice.slice = NULL;
}

static void node_free(struct xbackend_node *n)
{
	slice_drop(n);
	tls_work_forget(&n->work);
	object_unref(n->tls.owner);
	(void)sl_tls_context_unref(n->tls.tls); /* always NULL, as the next */
	(void)sl_host_unref(n->host);
	sl_part_unref(n->status ? &n->status->part : NULL);
	object_unref(n->backend ? &n->backend->object : NULL);
	free(n);
}

static int node_new(struct sl_compiler *c, struct sl_xbackend *b, struct xbackend_node **ret)
{
	struct xbackend_node *n = sl_new(struct xbackend_node);
	int r;

	if (!n)
		return -ENOMEM;
	sl_list_init(&n->slice.node);
	r = service_of(c, b->object.meta.namespace, b->object.meta.name, &n->service);
	if (!r)
		r = sl_map_put(&c->xbackends, b->object.key, n, NULL);
	if (r) {
		node_free(n);
		return r;
	}
	n->slice.service = n->service;
	*ret = n;
	return 0;
}

static int node_drop(struct sl_compiler *c, struct sl_str key, struct xbackend_node *n)
{
	struct service_node *s = n->service;
	int r = n->status ? sl_pmap_del(&c->statuses, n->status->key) : 0;

	if (r)
		return r;
	(void)sl_map_del(&c->xbackends, key); /* it is there, and the key is the object's */
	s->xbackend = NULL;
	endpoints_touch(c, s);
	node_free(n);
	return service_set(c, s->key, NULL);
}

int xbackend_set(struct sl_compiler *c, struct sl_str key, struct sl_xbackend *b)
{
	struct xbackend_node *n = sl_map_get(&c->xbackends, key);
	struct sl_xbackend *old = n ? n->backend : NULL;
	int r;

	if (!b)
		return node_drop(c, key, n);
	r = n ? sl_map_put(&c->xbackends, b->object.key, n, NULL) : node_new(c, b, &n);
	if (r)
		return r;
	if (old && (old->protocol != b->protocol || old->has_tls != b->has_tls)) {
		/* Not all routes may lead to it that could before. */
		sl_list_foreach (d, &n->service->dependents)
			route_touch(c, sl_container_of(d, struct dependency, node)->route);
	}
	sl_object_ref(&b->object);
	object_unref(old ? &old->object : NULL);
	n->backend = b;
	n->changed = n->untold = true;
	return 0;
}

void xbackends_free(struct sl_compiler *c)
{
	struct xbackend_node *n;
	size_t pos = 0;

	while ((n = sl_map_next(&c->xbackends, &pos, NULL))) {
		n->service->xbackend = NULL;
		node_free(n);
	}
	sl_map_deinit(&c->xbackends);
}

/* ---- Pods ---- */

static bool has_label(const struct sl_meta *meta, const struct sl_label *label)
{
	for (uint32_t i = 0; i < meta->n_labels; i++) {
		if (sl_str_eq(meta->labels[i].name, label->name))
			return sl_str_eq(meta->labels[i].value, label->value);
	}
	return false;
}

static bool selects(const struct sl_xbackend *b, const struct sl_pod *pod)
{
	if (!b->n_labels || !sl_str_eq(b->object.meta.namespace, pod->object.meta.namespace))
		return false;
	for (uint32_t i = 0; i < b->n_labels; i++) {
		if (!has_label(&pod->object.meta, &b->labels[i]))
			return false;
	}
	return true;
}

void xbackends_follow_pod(struct sl_compiler *c, const struct sl_pod *pod)
{
	struct xbackend_node *n;
	size_t pos = 0;

	while ((n = sl_map_next(&c->xbackends, &pos, NULL)))
		n->pods_changed |= selects(n->backend, pod);
}

static bool is_endpoint(const struct sl_xbackend *b, const struct sl_pod *pod)
{
	return pod->n_ips && !pod_ended(pod) && selects(b, pod);
}

static uint32_t pods_count(const struct sl_compiler *c, const struct sl_xbackend *b)
{
	const struct pod_node *n;
	uint32_t count = 0;
	size_t pos = 0;

	while (b->n_labels && (n = sl_map_next(&c->pods, &pos, NULL)))
		count += is_endpoint(b, n->pod);
	return count;
}

/* ---- endpoints ---- */

static int pods_fill(const struct sl_compiler *c, const struct sl_xbackend *b,
		     struct sl_endpointslice *slice)
{
	struct sl_arena *a = &slice->object.arena;
	const struct pod_node *n;
	size_t pos = 0;

	while (b->n_labels && (n = sl_map_next(&c->pods, &pos, NULL))) {
		struct sl_slice_endpoint *e = &slice->endpoints[slice->n_endpoints];
		const struct sl_pod *pod = n->pod;

		if (!is_endpoint(b, pod))
			continue;
		e->addresses = sl_arena_new_n(a, struct sl_addr, 1);
		if (!e->addresses || sl_arena_str(a, pod->object.meta.name, &e->pod) ||
		    sl_arena_str(a, pod->node, &e->node))
			return -ENOMEM;
		e->addresses[0] = pod->ips[0];
		e->n_addresses = 1;
		e->zone = SL_STR("");
		e->serving = pod->ready;
		e->terminating = pod->terminating;
		e->ready = pod->ready && !pod->terminating;
		slice->n_endpoints++;
	}
	return 0;
}

static int host_fill(const struct sl_host *host, struct sl_endpointslice *slice)
{
	for (uint32_t i = 0; host && i < host->n_addrs; i++) {
		struct sl_slice_endpoint *e = &slice->endpoints[slice->n_endpoints++];

		e->addresses = sl_arena_new_n(&slice->object.arena, struct sl_addr, 1);
		if (!e->addresses)
			return -ENOMEM;
		e->addresses[0] = host->addrs[i];
		e->n_addresses = 1;
		e->pod = e->node = e->zone = SL_STR("");
		e->ready = e->serving = true;
	}
	return 0;
}

static int slice_make(const struct sl_compiler *c, const struct xbackend_node *n,
		      struct sl_object **ret)
{
	_cleanup_(sl_object_unrefp) struct sl_object *o = NULL;
	uint32_t count = n->host ? n->host->n_addrs : pods_count(c, n->backend);
	struct sl_endpointslice *slice;
	int r = sl_object_new(SL_KIND_ENDPOINTSLICE, &o);

	if (r)
		return r;
	slice = (struct sl_endpointslice *)o;
	slice->service = SL_STR("");
	slice->ports = sl_arena_new_n(&o->arena, struct sl_slice_port, 1);
	slice->endpoints = sl_arena_new_n(&o->arena, struct sl_slice_endpoint, count + 1);
	if (!slice->ports || !slice->endpoints)
		return -ENOMEM;
	slice->n_ports = 1;
	slice->ports[0] = (struct sl_slice_port){.name = SL_STR(""),
						 .port = n->backend->port,
						 .protocol = SL_PROTOCOL_TCP,
						 .app_protocol = SL_STR("")};
	r = host_fill(n->host, slice);
	if (!r)
		r = pods_fill(c, n->backend, slice);
	if (!r)
		*ret = sl_take(o);
	return r;
}

static int slice_build(struct sl_compiler *c, struct xbackend_node *n)
{
	struct sl_object *o;
	int r = slice_make(c, n, &o);

	if (r)
		return r;
	slice_drop(n);
	n->slice.slice = (struct sl_endpointslice *)o;
	sl_list_append(&n->service->slices, &n->slice.node);
	endpoints_touch(c, n->service);
	return 0;
}

/* ---- the Service ---- */

static int service_make(const struct xbackend_node *n, struct sl_object **ret)
{
	_cleanup_(sl_object_unrefp) struct sl_object *o = NULL;
	const struct sl_xbackend *b = n->backend;
	struct sl_service *s;
	int r = sl_object_new(SL_KIND_SERVICE, &o);

	if (r)
		return r;
	s = (struct sl_service *)o;
	s->ports = sl_arena_new_n(&o->arena, struct sl_service_port, 1);
	if (!s->ports || sl_arena_str(&o->arena, n->service->namespace, &o->meta.namespace) ||
	    sl_arena_str(&o->arena, n->service->name, &o->meta.name) ||
	    sl_arena_str(&o->arena, n->service->key, &o->key))
		return -ENOMEM;
	s->headless = true;
	s->n_ports = 1;
	s->ports[0] = (struct sl_service_port){.name = SL_STR(""),
					       .port = b->port,
					       .target_port = b->port,
					       .protocol = SL_PROTOCOL_TCP,
					       .app_protocol = sl_str_from(declared(b)),
					       .target_port_name = SL_STR("")};
	*ret = sl_take(o);
	return 0;
}

static int service_build_for(struct sl_compiler *c, struct xbackend_node *n)
{
	struct sl_object *o;
	int r = service_make(n, &o);

	if (r)
		return r;
	n->service->xbackend = n;
	r = service_set(c, n->service->key, (struct sl_service *)o);
	object_unref(o);
	return r;
}

/* ---- a run ---- */

static int tls_build(struct sl_compiler *c, struct xbackend_node *n)
{
	const struct tls_source from = {
		.object = &n->backend->object,
		.spec = &n->backend->tls,
		.validation = "spec.tls.validation",
		.certificate = "spec.tls.clientCertificateRef",
	};
	struct sl_object *owner = n->backend->has_tls ? &n->backend->object : NULL;
	int r = owner ? tls_work_refresh(c, &n->work, &from) : 0;

	if (r)
		return r;
	if (!owner)
		tls_work_forget(&n->work);
	if (n->tls.owner == owner && n->tls.tls == n->work.tls)
		return 0;
	object_unref(n->tls.owner);
	(void)sl_tls_context_unref(n->tls.tls); /* always NULL */
	n->tls.owner = owner ? sl_object_ref(owner) : NULL;
	n->tls.tls = sl_tls_context_ref(n->work.tls);
	n->untold = true;
	endpoints_touch(c, n->service);
	return 0;
}

static bool host_follow(const struct sl_compiler *c, struct xbackend_node *n)
{
	struct sl_host *now = c->opts.hosts && n->backend->hostname.len
				      ? sl_hosts_get(c->opts.hosts, n->backend->hostname)
				      : NULL;

	if (now == n->host)
		return false;
	(void)sl_host_unref(n->host); /* always NULL */
	n->host = sl_host_ref(now);
	return true;
}

static int xbackend_build(struct sl_compiler *c, struct xbackend_node *n)
{
	bool moved = host_follow(c, n);
	int r = n->changed ? service_build_for(c, n) : 0;

	if (!r)
		r = tls_build(c, n);
	if (!r && (n->changed || n->pods_changed || moved))
		r = slice_build(c, n);
	n->changed = n->pods_changed = false;
	return r;
}

int xbackends_build(struct sl_compiler *c)
{
	struct xbackend_node *n;
	size_t pos = 0;
	int r = 0;

	while (!r && (n = sl_map_next(&c->xbackends, &pos, NULL)))
		r = xbackend_build(c, n);
	return r;
}

int xbackends_tell(struct sl_compiler *c)
{
	struct xbackend_node *n;
	size_t pos = 0;
	int r = 0;

	while (!r && (n = sl_map_next(&c->xbackends, &pos, NULL))) {
		if (n->untold)
			r = xbackend_status_build(c, n);
		n->untold = false;
	}
	return r;
}
