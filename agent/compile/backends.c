/* SPDX-License-Identifier: Apache-2.0 */
/* backendRefs to the keys of upstreams. */
#include <errno.h>
#include "compile/work.h"

/* Of a backend: a name with a prefix that nobody here knows is a promise that cannot be kept, a
 * plain word is tolerated (GEP-1911 gives meaning to prefixed values only). */
static bool protocol_spoken(const struct port_node *port, enum sl_route_kind kind)
{
	struct sl_str declared = port->port->app_protocol;
	bool prefixed = declared.len && memchr(declared.ptr, '/', declared.len);

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

static const struct port_node *port_by_number(const struct service_node *s, uint16_t number)
{
	for (uint32_t i = 0; i < s->n_ports; i++) {
		if (s->ports[i].port->port == number)
			return &s->ports[i];
	}
	return NULL;
}

int backend_resolve(struct sl_compiler *c, struct route_node *n, const struct sl_backend_ref *ref,
		    struct sl_str field, struct backend_work *ret)
{
	struct route_work *rw = n->work;
	const struct port_node *port;
	struct service_node *s;

	ret->state = SL_BACKEND_INVALID;
	if (sl_arena_printf(&rw->arena, &ret->key, "%.*s/%.*s:%u", SL_STR_ARG(ref->namespace),
			    SL_STR_ARG(ref->name), ref->port))
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
	port = port_by_number(s, ref->port);
	if (!port)
		return note_add(rw, "BackendNotFound", "%.*s: Service %.*s has no TCP port %u",
				SL_STR_ARG(field), SL_STR_ARG(s->key), ref->port);
	if (!protocol_spoken(port, rw->kind))
		return note_add(rw, "UnsupportedProtocol",
				"%.*s: port %u of Service %.*s has appProtocol \"%.*s\", which is "
				"not spoken to backends of %ss",
				SL_STR_ARG(field), ref->port, SL_STR_ARG(s->key),
				SL_STR_ARG(port->port->app_protocol), route_kind_name(rw->kind));
	ret->state = SL_BACKEND_OK;
	return 0;
}
