/* SPDX-License-Identifier: Apache-2.0 */
/* parentRefs to the ports of Services. */
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

static int ports_attach(struct sl_compiler *c, struct service_node *s,
			const struct sl_parent_ref *ref, struct route_node *n,
			struct ports_text *text)
{
	for (uint32_t i = 0; i < s->service->n_ports; i++) {
		const struct sl_service_port *sp = &s->service->ports[i];
		struct port_node *port = service_port(s, sp);
		int r;

		if (!ref_means_port(ref, sp))
			continue;
		if (port && protocol_routable(port->app_protocol)) {
			r = table_attach(c, port, n);
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
	struct route_work *rw = n->work;
	_cleanup_(ports_text_deinit) struct ports_text text = {0};
	struct sl_str service = s->key;
	int r = ports_attach(c, s, ref, n, &text);

	if (r)
		return r;
	if (text.n_attached)
		return sl_arena_printf(&rw->arena, &p->message,
				       "Attached to Service %.*s port%s %.*s%s%.*s",
				       SL_STR_ARG(service), text.n_attached > 1 ? "s" : "",
				       SL_STR_ARG(sl_buf_str(&text.attached)),
				       text.n_skipped ? "; not applied to " : "",
				       SL_STR_ARG(sl_buf_str(&text.skipped)));
	if (text.n_skipped)
		return fail(rw, p, "UnsupportedValue",
			    "HTTPRoute cannot be applied to port %.*s of Service %.*s",
			    SL_STR_ARG(sl_buf_str(&text.skipped)), SL_STR_ARG(service));
	return no_such_port(rw, p, ref, service);
}

static int parent_attach(struct sl_compiler *c, const struct sl_parent_ref *ref,
			 struct route_node *n, struct parent_work *p)
{
	struct route_work *rw = n->work;
	struct service_node *s;

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
	return service_attach(c, s, ref, n, p);
}

int route_attach(struct sl_compiler *c, struct route_node *n)
{
	const struct sl_httproute *route = n->route;
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
