/* SPDX-License-Identifier: Apache-2.0 */
/* What the BPF maps shall hold: the addresses of routed Services and nothing else. */
#include <errno.h>
#include "compile/work.h"

static enum sl_failure_policy service_policy(struct work *w, const struct sl_service *s)
{
	struct sl_str value = sl_object_annotation(&s->object, SL_STR("sluice.dev/failure-policy"));

	if (sl_str_eqc(value, "open"))
		return SL_FAIL_OPEN;
	if (sl_str_eqc(value, "closed"))
		return SL_FAIL_CLOSED;
	if (value.ptr)
		warn(w, &s->object, SL_STR("metadata.annotations[sluice.dev/failure-policy]"),
		     "expected \"open\" or \"closed\", found \"%.*s\": ignoring it",
		     SL_STR_ARG(value));
	return w->opts->failure_policy;
}

static int endpoints_add(struct work *w, const struct port_work *port, struct sl_plan_service *ps)
{
	struct sl_addr *out =
		sl_arena_new_n(&w->snap->arena, struct sl_addr, port->n_endpoints + 1);
	bool v4 = sl_addr_is_v4(&ps->vip);

	if (!out)
		return -ENOMEM;
	for (uint32_t i = 0; i < port->n_endpoints; i++) {
		const struct sl_endpoint *e = &port->endpoints[i];

		if (e->ready && sl_addr_is_v4(&e->addr) == v4)
			out[ps->n_endpoints++] = e->addr;
	}
	ps->endpoints = out;
	return 0;
}

static int port_add(struct work *w, const struct service_work *s, const struct port_work *port,
		    enum sl_failure_policy policy, struct sl_plan_service *out, uint32_t *n)
{
	for (uint32_t i = 0; i < s->service->n_cluster_ips; i++) {
		struct sl_addr vip = s->service->cluster_ips[i];
		const struct sl_frontend *f;
		int r;

		vip.port = port->port->port;
		f = sl_snapshot_frontend(w->snap, &vip);
		if (!f || !sl_str_eq(f->key, port->key))
			continue; /* another Service has this address */
		out[*n] = (struct sl_plan_service){.vip = vip, .policy = policy, .name = f->key};
		r = endpoints_add(w, port, &out[*n]);
		if (r)
			return r;
		(*n)++;
	}
	return 0;
}

int plan_build(struct work *w)
{
	struct sl_plan_service *out =
		sl_arena_new_n(&w->snap->arena, struct sl_plan_service, w->snap->frontends.n + 1);
	uint32_t n = 0;

	if (!out)
		return -ENOMEM;
	for (uint32_t i = 0; i < w->n_services; i++) {
		const struct service_work *s = &w->services[i];
		enum sl_failure_policy policy = service_policy(w, s->service);

		for (uint32_t j = 0; j < s->n_ports; j++) {
			const struct port_work *port = &s->ports[j];
			int r = port->producer || port->consumers
					? port_add(w, s, port, policy, out, &n)
					: 0;

			if (r)
				return r;
		}
	}
	w->snap->plan = (struct sl_plan){.services = out, .n_services = n};
	return 0;
}
