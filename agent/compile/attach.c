/* SPDX-License-Identifier: Apache-2.0 */
/* parentRefs to the ports of Services. */
#include <errno.h>
#include <stdarg.h>
#include "compile/work.h"

static int fail(struct route_work *rw, struct parent_work *p, const char *reason, const char *fmt,
		...) __attribute__((format(printf, 4, 5)));

static int fail(struct route_work *rw, struct parent_work *p, const char *reason, const char *fmt,
		...)
{
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap); /* cut when too long */
	va_end(ap);
	p->reason = reason;
	return sl_arena_str(&rw->arena, sl_str_from(text), &p->message);
}

static bool ref_means_port(const struct sl_parent_ref *ref, const struct sl_service_port *port)
{
	return (!ref->port || ref->port == port->port) &&
	       (!ref->section_name.len || sl_str_eq(ref->section_name, port->name));
}

static int port_add(struct route_work *rw, struct parent_work *p, uint16_t number,
		    struct parent_port **ret)
{
	struct parent_port *port = sl_arena_new(&rw->arena, struct parent_port);

	if (!port)
		return -ENOMEM;
	port->port = number;
	if (p->last_port)
		p->last_port->next = port;
	else
		p->ports = port;
	p->last_port = port;
	*ret = port;
	return 0;
}

static int port_attach(struct sl_compiler *c, struct service_node *s,
		       const struct sl_service_port *sp, struct route_node *n,
		       struct parent_port *to)
{
	struct port_node *port = service_port(s, sp);
	struct route_work *rw = n->work;
	bool spoken = sp->protocol == route_protocol(rw->kind);

	if (spoken && port && protocol_routable(port->app_protocol, rw->kind))
		return table_attach(c, port, n, &to->group);
	if (!spoken)
		to->why_not = sl_str_from(sl_protocol_name(sp->protocol));
	else
		return sl_arena_printf(&rw->arena, &to->why_not, "appProtocol %.*s",
				       SL_STR_ARG(sp->app_protocol));
	return 0;
}

static int no_such_port(struct route_work *rw, struct parent_work *p,
			const struct sl_parent_ref *ref, struct sl_str service)
{
	if (ref->port && ref->section_name.len)
		return fail(rw, p, "NoMatchingParent", "Service %.*s has no port %u named \"%.*s\"",
			    SL_STR_ARG(service), ref->port, SL_STR_ARG(ref->section_name));
	if (ref->section_name.len)
		return fail(rw, p, "NoMatchingParent", "Service %.*s has no port named \"%.*s\"",
			    SL_STR_ARG(service), SL_STR_ARG(ref->section_name));
	if (ref->port)
		return fail(rw, p, "NoMatchingParent", "Service %.*s has no port %u",
			    SL_STR_ARG(service), ref->port);
	return fail(rw, p, "NoMatchingParent", "Service %.*s has no ports", SL_STR_ARG(service));
}

static int service_attach(struct sl_compiler *c, struct service_node *s,
			  const struct sl_parent_ref *ref, struct route_node *n,
			  struct parent_work *p)
{
	int r = sl_arena_str(&n->work->arena, s->key, &p->service);

	for (uint32_t i = 0; i < s->service->n_ports && !r; i++) {
		const struct sl_service_port *sp = &s->service->ports[i];
		struct parent_port *port;

		if (!ref_means_port(ref, sp))
			continue;
		r = port_add(n->work, p, sp->port, &port);
		if (!r)
			r = port_attach(c, s, sp, n, port);
	}
	return r || p->ports ? r : no_such_port(n->work, p, ref, s->key);
}

static int parent_attach(struct sl_compiler *c, const struct sl_parent_ref *ref,
			 struct route_node *n, struct parent_work *p)
{
	struct route_work *rw = n->work;
	struct service_node *s;

	if (rw->shadow && rw->kind >= SL_ROUTE_TLS)
		return fail(
			rw, p, "UnsupportedValue",
			"annotation sluice.dev/shadow is for HTTPRoutes and GRPCRoutes: this %s "
			"is not applied",
			route_kind_name(rw->kind));
	if (route_depend(c, n, ref->namespace, ref->name, &s))
		return -ENOMEM;
	if (!s->service)
		return fail(rw, p, "NoMatchingParent", "Service %.*s/%.*s does not exist",
			    SL_STR_ARG(ref->namespace), SL_STR_ARG(ref->name));
	if (s->service->type == SL_SERVICE_EXTERNALNAME)
		return fail(rw, p, "UnsupportedValue",
			    "Service %.*s is of type ExternalName: it has no address that rules "
			    "could be applied to",
			    SL_STR_ARG(s->key));
	if (s->service->headless)
		return fail(rw, p, "UnsupportedValue",
			    "Service %.*s is headless: clients dial its pods, not an address that "
			    "rules could be applied to",
			    SL_STR_ARG(s->key));
	if (!s->service->n_cluster_ips)
		return fail(rw, p, "UnsupportedValue",
			    "Service %.*s has no cluster IP that rules could be applied to",
			    SL_STR_ARG(s->key));
	if (rw->kind == SL_ROUTE_UDP && !sl_str_eq(s->namespace, n->route->object.meta.namespace))
		return fail(rw, p, "UnsupportedValue",
			    "A UDPRoute applies to all clients of a Service, so it has to be in "
			    "the Service's namespace, %.*s",
			    SL_STR_ARG(s->namespace));
	return service_attach(c, s, ref, n, p);
}

int route_attach(struct sl_compiler *c, struct route_node *n)
{
	const struct sl_route_object *route = n->route;
	struct route_work *rw = n->work;

	rw->parents = sl_arena_new_n(&rw->arena, struct parent_work, route->n_parent_refs + 1);
	if (!rw->parents)
		return -ENOMEM;
	for (uint32_t i = 0; i < route->n_parent_refs; i++) {
		const struct sl_parent_ref *ref = &route->parent_refs[i];
		char field[40];
		int r;

		if (!sl_str_eqc(ref->kind, "Service"))
			continue;
		if (ref->group.len) {
			(void)snprintf(field, sizeof(field), "spec.parentRefs[%u].group", i);
			r = route_warn(rw, sl_str_from(field),
				       "group of a Service is \"\", not \"%.*s\": ignoring this "
				       "parentRef",
				       SL_STR_ARG(ref->group));
		} else {
			rw->parents[i].ours = true;
			r = parent_attach(c, ref, n, &rw->parents[i]);
		}
		if (r)
			return r;
	}
	return 0;
}
