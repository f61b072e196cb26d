/* SPDX-License-Identifier: Apache-2.0 */
/* parentRefs to the ports of Services, and routes to the groups of clients that they apply to. */
#include <errno.h>
#include <stdarg.h>
#include "base/buf.h"
#include "base/cleanup.h"
#include "compile/work.h"

/* The ports of a Service that a parentRef means: those taken, and why others were not. */
struct ports_text {
	struct sl_buf attached, skipped; /* lists for the message */
	unsigned n_attached, n_skipped;
};

static void ports_text_deinit(struct ports_text *t)
{
	sl_buf_deinit(&t->attached);
	sl_buf_deinit(&t->skipped);
}

static int fail(struct work *w, struct parent_work *p, const char *reason, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

static int fail(struct work *w, struct parent_work *p, const char *reason, const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap); /* cut when too long */
	va_end(ap);
	p->reason = reason;
	return sl_arena_str(&w->tmp, sl_str_from(text), &p->message);
}

static struct group_work *group_new(struct work *w, struct sl_str namespace)
{
	struct group_work *g = sl_arena_new(&w->tmp, struct group_work);

	if (g)
		g->namespace = namespace;
	return g;
}

/* Producer routes live in the Service's namespace and apply to all clients, consumer routes to those
 * of their own (GEP-1324). Routes come sorted by namespace: a consumer group is the last or new. */
static struct group_work *group_of(struct work *w, const struct service_work *s,
				   struct port_work *port, struct sl_str namespace)
{
	struct group_work *g;

	if (sl_str_eq(namespace, s->service->object.meta.namespace)) {
		if (!port->producer)
			port->producer = group_new(w, namespace);
		return port->producer;
	}
	if (port->last_consumer && sl_str_eq(port->last_consumer->namespace, namespace))
		return port->last_consumer;
	g = group_new(w, namespace);
	if (!g)
		return NULL;
	if (port->last_consumer)
		port->last_consumer->next = g;
	else
		port->consumers = g;
	port->last_consumer = g;
	port->n_consumers++;
	return g;
}

static int port_attach(struct work *w, const struct service_work *s, struct port_work *port,
		       const struct route_work *rw)
{
	struct group_work *g = group_of(w, s, port, rw->route->object.meta.namespace);
	struct route_link *link;

	if (!g)
		return -ENOMEM;
	if (g->last && g->last->route == rw)
		return 0; /* by another parentRef of the same route */
	link = sl_arena_new(&w->tmp, struct route_link);
	if (!link)
		return -ENOMEM;
	if (!g->first)
		w->cap_tables++;
	link->route = rw;
	if (g->last)
		g->last->next = link;
	else
		g->first = link;
	g->last = link;
	g->n_routes++;
	return 0;
}

static bool ref_means_port(const struct sl_parent_ref *ref, const struct sl_service_port *port)
{
	return (!ref->port || ref->port == port->port) &&
	       (!ref->section_name.len || sl_str_eq(ref->section_name, port->name));
}

static int ports_attach(struct work *w, struct service_work *s, const struct sl_parent_ref *ref,
			const struct route_work *rw, struct ports_text *text)
{
	for (uint32_t i = 0; i < s->service->n_ports; i++) {
		const struct sl_service_port *sp = &s->service->ports[i];
		struct port_work *port = service_port(s, sp);
		int r;

		if (!ref_means_port(ref, sp))
			continue;
		if (port && protocol_routable(port->app_protocol)) {
			r = port_attach(w, s, port, rw);
			if (!r)
				r = sl_buf_printf(&text->attached, "%s%u",
						  text->n_attached++ ? ", " : "", sp->port);
		} else if (sp->protocol != SL_PROTOCOL_TCP) {
			r = sl_buf_printf(&text->skipped, "%s%u (%s)",
					  text->n_skipped++ ? ", " : "", sp->port,
					  sp->protocol == SL_PROTOCOL_UDP ? "UDP" : "SCTP");
		} else {
			r = sl_buf_printf(&text->skipped, "%s%u (appProtocol %.*s)",
					  text->n_skipped++ ? ", " : "", sp->port,
					  SL_STR_ARG(sp->app_protocol));
		}
		if (r)
			return r;
	}
	return 0;
}

static int no_such_port(struct work *w, struct parent_work *p, const struct sl_parent_ref *ref,
			struct sl_str service)
{
	if (ref->port && ref->section_name.len)
		return fail(w, p, "NoMatchingParent", "Service %.*s has no port %u named \"%.*s\"",
			    SL_STR_ARG(service), ref->port, SL_STR_ARG(ref->section_name));
	if (ref->section_name.len)
		return fail(w, p, "NoMatchingParent", "Service %.*s has no port named \"%.*s\"",
			    SL_STR_ARG(service), SL_STR_ARG(ref->section_name));
	if (ref->port)
		return fail(w, p, "NoMatchingParent", "Service %.*s has no port %u",
			    SL_STR_ARG(service), ref->port);
	return fail(w, p, "NoMatchingParent", "Service %.*s has no ports", SL_STR_ARG(service));
}

static int service_attach(struct work *w, struct service_work *s, const struct sl_parent_ref *ref,
			  const struct route_work *rw, struct parent_work *p)
{
	_cleanup_(ports_text_deinit) struct ports_text text = {0};
	struct sl_str service = s->service->object.key;
	int r = ports_attach(w, s, ref, rw, &text);

	if (r)
		return r;
	if (text.n_attached)
		return sl_arena_printf(&w->tmp, &p->message,
				       "Attached to Service %.*s port%s %.*s%s%.*s",
				       SL_STR_ARG(service), text.n_attached > 1 ? "s" : "",
				       SL_STR_ARG(sl_buf_str(&text.attached)),
				       text.n_skipped ? "; not applied to " : "",
				       SL_STR_ARG(sl_buf_str(&text.skipped)));
	if (text.n_skipped)
		return fail(w, p, "UnsupportedValue",
			    "HTTPRoute cannot be applied to port %.*s of Service %.*s",
			    SL_STR_ARG(sl_buf_str(&text.skipped)), SL_STR_ARG(service));
	return no_such_port(w, p, ref, service);
}

static int parent_attach(struct work *w, const struct sl_parent_ref *ref,
			 const struct route_work *rw, struct parent_work *p)
{
	struct service_work *s = service_find(w, ref->namespace, ref->name);

	if (!s)
		return fail(w, p, "NoMatchingParent", "Service %.*s/%.*s does not exist",
			    SL_STR_ARG(ref->namespace), SL_STR_ARG(ref->name));
	if (s->service->type == SL_SERVICE_EXTERNALNAME)
		return fail(w, p, "UnsupportedValue",
			    "Service %.*s is of type ExternalName: it has no address that rules "
			    "could be applied to",
			    SL_STR_ARG(s->service->object.key));
	if (s->service->headless)
		return fail(w, p, "UnsupportedValue",
			    "Service %.*s is headless: clients dial its pods, not an address that "
			    "rules could be applied to",
			    SL_STR_ARG(s->service->object.key));
	if (!s->service->n_cluster_ips)
		return fail(w, p, "UnsupportedValue",
			    "Service %.*s has no cluster IP that rules could be applied to",
			    SL_STR_ARG(s->service->object.key));
	return service_attach(w, s, ref, rw, p);
}

int route_attach(struct work *w, struct route_work *rw)
{
	const struct sl_httproute *route = rw->route;

	rw->parents = sl_arena_new_n(&w->tmp, struct parent_work, route->n_parent_refs + 1);
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
			warn(w, &route->object, sl_str_from(field),
			     "group of a Service is \"\", not \"%.*s\": ignoring this parentRef",
			     SL_STR_ARG(ref->group));
			continue;
		}
		rw->parents[i].ours = true;
		r = parent_attach(w, ref, rw, &rw->parents[i]);
		if (r)
			return r;
	}
	return 0;
}
