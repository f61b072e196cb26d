/* SPDX-License-Identifier: Apache-2.0 */
/* backendRefs to the keys of upstreams. */
#include <errno.h>
#include "compile/work.h"

static bool in_tls(struct sl_str declared, enum sl_route_kind kind)
{
	return sl_str_ieq(declared, SL_STR("https")) ||
	       (kind == SL_ROUTE_HTTP && sl_str_ieq(declared, SL_STR("kubernetes.io/wss")));
}

/* Of a backend: a name with a prefix that nobody here knows is a promise that cannot be kept, a
 * plain word is tolerated (GEP-1911 gives meaning to prefixed values only). */
static bool protocol_spoken(const struct port_node *port, enum sl_route_kind kind)
{
	struct sl_str declared = port->port->app_protocol;
	bool prefixed = declared.len && memchr(declared.ptr, '/', declared.len);

	/* A policy says how: GEP-1911 asks for one behind kubernetes.io/wss. */
	if (port_tls(port) && kind < SL_ROUTE_TLS && in_tls(declared, kind))
		return true;
	if (kind >= SL_ROUTE_TLS)
		return protocol_routable(port->app_protocol,
					 kind); /* bytes that are not looked at */
	/* kubernetes.io/ws among others: WebSocket is HTTP/1. */
	if (prefixed && kind == SL_ROUTE_GRPC)
		return port->app_protocol == SL_APP_H2C;
	if (prefixed && port->app_protocol == SL_APP_UNKNOWN)
		return false;
	return protocol_routable(port->app_protocol, kind);
}

static int xbackend_resolve(struct sl_compiler *c, struct route_node *n,
			    const struct sl_backend_ref *ref, struct sl_str field,
			    struct backend_work *ret)
{
	struct route_work *rw = n->work;
	const struct sl_xbackend *b;
	struct service_node *s;
	int r;

	if (sl_arena_printf(&rw->arena, &ret->key, "%.*s/xbackend/%.*s", SL_STR_ARG(ref->namespace),
			    SL_STR_ARG(ref->name)))
		return -ENOMEM;
	/* GEP-4894: no ReferenceGrant helps. */
	if (!sl_str_eq(ref->namespace, rw->route->object.meta.namespace))
		return note_add(rw, "RefNotPermitted",
				"%.*s: XBackend %.*s/%.*s is in another namespace than the route",
				SL_STR_ARG(field), SL_STR_ARG(ref->namespace),
				SL_STR_ARG(ref->name));
	r = route_depend_xbackend(c, n, ref->namespace, ref->name, &s);
	if (r)
		return r;
	if (!s->xbackend)
		return note_add(rw, "BackendNotFound", "%.*s: XBackend %.*s/%.*s does not exist",
				SL_STR_ARG(field), SL_STR_ARG(ref->namespace),
				SL_STR_ARG(ref->name));
	b = s->xbackend->backend;
	if (!xbackend_speaks(b, rw->kind))
		return note_add(rw, "UnsupportedProtocol",
				"%.*s: XBackend %.*s speaks %s, which is not spoken to backends of "
				"%ss",
				SL_STR_ARG(field), SL_STR_ARG(b->object.key),
				b->protocol ? sl_backend_protocol_name(b->protocol) : "TCP",
				route_kind_name(rw->kind));
	ret->port = &s->ports[0];
	ret->state = SL_BACKEND_OK;
	return sl_arena_str(&rw->arena, s->ports[0].key, &ret->key);
}

int backend_resolve(struct sl_compiler *c, struct route_node *n, const struct sl_backend_ref *ref,
		    struct sl_str field, struct backend_work *ret)
{
	struct route_work *rw = n->work;
	enum sl_protocol protocol = route_protocol(rw->kind);
	struct port_node *port;
	struct service_node *s;

	ret->state = SL_BACKEND_INVALID;
	if (sl_backend_ref_is_xbackend(ref))
		return xbackend_resolve(c, n, ref, field, ret);
	if (sl_arena_printf(&rw->arena, &ret->key, "%.*s/%.*s:%u%s", SL_STR_ARG(ref->namespace),
			    SL_STR_ARG(ref->name), ref->port, port_suffix(protocol)))
		return -ENOMEM;
	if (ref->group.len || !sl_str_eqc(ref->kind, "Service"))
		return note_add(
			rw, "InvalidKind",
			"%.*s: kind \"%.*s\" of group \"%.*s\" is not supported as a backend",
			SL_STR_ARG(field), SL_STR_ARG(ref->kind), SL_STR_ARG(ref->group));
	if (route_depend(c, n, ref->namespace, ref->name, &s))
		return -ENOMEM;
	if (!s->service)
		return note_add(rw, "BackendNotFound", "%.*s: Service %.*s/%.*s does not exist",
				SL_STR_ARG(field), SL_STR_ARG(ref->namespace),
				SL_STR_ARG(ref->name));
	if (s->service->type == SL_SERVICE_EXTERNALNAME)
		return note_add(rw, "InvalidKind",
				"%.*s: Service %.*s is of type ExternalName, which is not "
				"supported as a backend",
				SL_STR_ARG(field), SL_STR_ARG(s->key));
	port = port_by_number(s, ref->port, protocol);
	if (!port)
		return note_add(rw, "BackendNotFound", "%.*s: Service %.*s has no %s port %u",
				SL_STR_ARG(field), SL_STR_ARG(s->key), sl_protocol_name(protocol),
				ref->port);
	if (!protocol_spoken(port, rw->kind))
		return note_add(rw, "UnsupportedProtocol",
				"%.*s: port %u of Service %.*s has appProtocol \"%.*s\", which is "
				"not spoken to backends of %ss",
				SL_STR_ARG(field), ref->port, SL_STR_ARG(s->key),
				SL_STR_ARG(port->port->app_protocol), route_kind_name(rw->kind));
	ret->port = port;
	ret->state = SL_BACKEND_OK;
	return 0;
}
