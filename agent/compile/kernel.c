/* SPDX-License-Identifier: Apache-2.0 */
/* TCPRoutes that ask the kernel to follow their rule alone (annotation sluice.dev/enforced-by), and
 * what they have that only the agent can do. */
#include <errno.h>
#include "base/buf.h"
#include "base/cleanup.h"
#include "compile/work.h"
#include "snapshot/match.h"

/* Which of a group's routes takes the connections; NULL: none can. */
static const struct attachment *attachment_in_force(const struct group_node *g)
{
	const struct sl_rule *rule = g->table ? sl_route_table_first(g->table) : NULL;

	sl_list_foreach (it, &g->attachments) {
		const struct attachment *a = sl_container_of(it, struct attachment, node);

		if (rule && rule >= a->route->rules && rule < a->route->rules + a->route->n_rules)
			return a;
	}
	return NULL;
}

/* Routes of other namespaces, which are for the clients there; NULL: none. */
static const struct group_node *consumers_of(const struct port_node *port)
{
	sl_list_foreach (it, &port->groups) {
		const struct group_node *g = sl_container_of(it, struct group_node, node);

		if (!g->shadow && !sl_str_eq(g->namespace, port->service->namespace))
			return g;
	}
	return NULL;
}

/* What the agent does for connections to a backend. */
static int backend_why(const struct sl_compiler *c, const struct port_node *port,
		       struct sl_buf *why)
{
	const struct sl_traffic_policy *p = policy_of_port(c, POLICY_BALANCE, port);
	const struct port_tls *tls = port_tls(port);

	if (tls)
		return sl_buf_printf(why, "%s %.*s applies to %.*s", sl_kind_name(tls->owner->kind),
				     SL_STR_ARG(tls->owner->key), SL_STR_ARG(port->key));
	if (p)
		return sl_buf_printf(why, "TrafficPolicy %.*s applies to %.*s",
				     SL_STR_ARG(p->policy.object.key), SL_STR_ARG(port->key));
	if (port->service->service->affinity_s)
		return sl_buf_printf(why, "Service %.*s has sessionAffinity",
				     SL_STR_ARG(port->service->key));
	return 0;
}

/* *why stays empty when the kernel can follow the route's rule at the port. */
static int kernel_why_not(const struct sl_compiler *c, const struct route_work *rw,
			  const struct group_node *g, struct sl_buf *why)
{
	const struct attachment *in_force = attachment_in_force(g);
	const struct group_node *consumers = consumers_of(g->port);
	const struct rule_work *rule = &rw->rules[0];
	int r = 0;

	if (in_force && in_force->owner->work != rw)
		return sl_buf_printf(why, "TCPRoute %.*s, which is older, is in force",
				     SL_STR_ARG(in_force->owner->route->object.key));
	if (!sl_str_eq(g->namespace, g->port->service->namespace))
		return sl_buf_printf(why, "the route is for clients in namespace %.*s only",
				     SL_STR_ARG(g->namespace));
	if (consumers)
		return sl_buf_printf(why, "clients in namespace %.*s have a %s of their own",
				     SL_STR_ARG(consumers->namespace),
				     route_kind_name(consumers->kind));
	for (uint32_t i = 0; i < rule->spec->n_backend_refs && !r && !sl_buf_len(why); i++) {
		const struct backend_work *b = &rule->backends[i];

		if (b->state == SL_BACKEND_OK && rule->spec->backend_refs[i].weight)
			r = backend_why(c, b->port, why);
	}
	return r;
}

int kernel_judge(const struct sl_compiler *c, const struct port_node *port, struct sl_frontend *f)
{
	_cleanup_(sl_buf_deinit) struct sl_buf why = SL_BUF_INIT(0);

	sl_list_foreach (it, &port->groups) {
		const struct group_node *g = sl_container_of(it, struct group_node, node);
		const struct attachment *a = NULL;
		int r;

		if (g->table && g->table == f->producer && g->kind == SL_ROUTE_TCP)
			a = attachment_in_force(g);
		if (!a || !a->owner->work->by_kernel)
			continue;
		r = kernel_why_not(c, a->owner->work, g, &why);
		if (r)
			return r;
		f->by_kernel = !sl_buf_len(&why);
		return sl_arena_str(&f->arena, sl_buf_str(&why), &f->by_agent_why);
	}
	return 0;
}

static int port_describe(const struct sl_compiler *c, const struct route_work *rw,
			 const struct parent_port *port, struct sl_buf *kernel,
			 struct sl_buf *agent)
{
	_cleanup_(sl_buf_deinit) struct sl_buf why = SL_BUF_INIT(0);
	int r = kernel_why_not(c, rw, port->group, &why);

	if (r)
		return r;
	if (!sl_buf_len(&why))
		return sl_buf_printf(kernel, "%s%u", sl_buf_len(kernel) ? ", " : "", port->port);
	return sl_buf_printf(agent, "%s%u (%.*s)", sl_buf_len(agent) ? ", " : "", port->port,
			     SL_STR_ARG(sl_buf_str(&why)));
}

int kernel_tell(const struct sl_compiler *c, struct sl_route_status *st,
		const struct route_work *rw, const struct parent_work *p,
		struct sl_condition *condition)
{
	_cleanup_(sl_buf_deinit) struct sl_buf kernel = SL_BUF_INIT(0);
	_cleanup_(sl_buf_deinit) struct sl_buf agent = SL_BUF_INIT(0);
	_cleanup_(sl_buf_deinit) struct sl_buf text = SL_BUF_INIT(0);
	bool any;
	int r = 0;

	for (const struct parent_port *port = p->ports; port && !r; port = port->next) {
		if (port->group && !group_loses_to(port->group))
			r = port_describe(c, rw, port, &kernel, &agent);
	}
	any = sl_buf_len(&kernel);
	if (!r && any)
		r = sl_buf_printf(&text, "Enforced by the kernel alone at port %.*s",
				  SL_STR_ARG(sl_buf_str(&kernel)));
	if (!r && sl_buf_len(&agent))
		r = sl_buf_printf(&text, "%s by the agent at port %.*s", any ? ";" : "Enforced",
				  SL_STR_ARG(sl_buf_str(&agent)));
	return r ? r
		 : condition_set(st, condition, "sluice.dev/Kernel", any ? "True" : "False",
				 any ? "EnforcedByKernel" : "EnforcedByAgent", sl_buf_str(&text));
}

void kernel_touch(struct sl_compiler *c, struct route_node *n)
{
	const struct route_work *rw = n->work;

	if (!rw->by_kernel)
		return;
	for (const struct attachment *a = rw->attachments; a; a = a->next)
		port_touch(c, a->group->port);
	route_retell(c, n);
}
