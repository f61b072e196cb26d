/* SPDX-License-Identifier: Apache-2.0 */
/* Virtual addresses to frontends, and addresses and uids to Pods. */
#include <errno.h>
#include "base/cleanup.h"
#include "compile/work.h"

static int consumers_build(struct sl_arena *a, const struct port_work *port, struct sl_frontend *f)
{
	struct sl_consumer_group *out =
		sl_arena_new_n(a, struct sl_consumer_group, port->n_consumers + 1);

	if (!out)
		return -ENOMEM;
	/* Groups were made in the order of namespaces. */
	for (const struct group_work *g = port->consumers; g; g = g->next) {
		struct sl_consumer_group *c = &out[f->n_consumers++];

		c->table = g->table;
		if (sl_arena_str(a, g->namespace, &c->namespace))
			return -ENOMEM;
	}
	f->consumers = out;
	return 0;
}

static int frontend_fill(struct work *w, const struct service_work *s, const struct port_work *port,
			 struct sl_frontend *f)
{
	struct sl_arena *a = &w->snap->arena;

	if (sl_arena_str(a, port->key, &f->key) ||
	    sl_arena_str(a, s->service->object.meta.namespace, &f->namespace))
		return -ENOMEM;
	f->port = port->port->port;
	f->app_protocol = port->app_protocol;
	f->producer = port->producer ? port->producer->table : NULL;
	f->routed = port->producer || port->consumers;
	return consumers_build(a, port, f);
}

static int frontend_publish(struct work *w, const struct service_work *s, struct sl_frontend *f,
			    const struct sl_addr *ip)
{
	struct sl_addr *vip = sl_arena_new(&w->snap->arena, struct sl_addr);
	const struct sl_frontend *other;
	char text[SL_ADDR_TEXT];

	if (!vip)
		return -ENOMEM;
	*vip = *ip;
	vip->port = f->port;
	other = sl_map_get(&w->snap->frontends, SL_KEY(vip));
	if (other) {
		warn(w, &s->service->object, SL_STR("spec.clusterIPs"),
		     "%s already belongs to Service %.*s: ignoring it here",
		     sl_addr_format(vip, text), SL_STR_ARG(other->key));
		return 0;
	}
	return sl_map_put(&w->snap->frontends, SL_KEY(vip), f, NULL);
}

static int service_frontends(struct work *w, const struct service_work *s)
{
	for (uint32_t i = 0; i < s->n_ports; i++) {
		struct sl_frontend *f = sl_arena_new(&w->snap->arena, struct sl_frontend);
		int r = f ? frontend_fill(w, s, &s->ports[i], f) : -ENOMEM;

		for (uint32_t j = 0; j < s->service->n_cluster_ips && !r; j++)
			r = frontend_publish(w, s, f, &s->service->cluster_ips[j]);
		if (r)
			return r;
	}
	return 0;
}

int frontends_build(struct work *w)
{
	for (uint32_t i = 0; i < w->n_services; i++) {
		const struct service_work *s = &w->services[i];
		int r = s->service->headless || !s->service->n_cluster_ips
				? 0
				: service_frontends(w, s);

		if (r)
			return r;
	}
	return 0;
}

/* ---- pods ---- */

/* A Pod that has ended keeps its address in its status, while another Pod may have it by now. */
static bool pod_ended(const struct sl_pod *pod)
{
	return sl_str_eqc(pod->phase, "Succeeded") || sl_str_eqc(pod->phase, "Failed");
}

static int pod_publish_ips(struct work *w, const struct sl_pod *pod, struct sl_pod_ref *ref)
{
	for (uint32_t i = 0; i < pod->n_ips; i++) {
		struct sl_addr *ip = sl_arena_new(&w->snap->arena, struct sl_addr);
		const struct sl_pod_ref *other;
		int r;

		if (!ip)
			return -ENOMEM;
		*ip = pod->ips[i];
		other = sl_map_get(&w->snap->pods_by_ip, SL_KEY(&ip->ip));
		if (other && other != ref) {
			char text[SL_ADDR_TEXT];

			warn(w, &pod->object, SL_STR("status.podIPs"),
			     "%s already belongs to Pod %.*s/%.*s: ignoring it here",
			     sl_addr_format_ip(ip, text), SL_STR_ARG(other->namespace),
			     SL_STR_ARG(other->name));
			continue;
		}
		r = sl_map_put(&w->snap->pods_by_ip, SL_KEY(&ip->ip), ref, NULL);
		if (r)
			return r;
	}
	return 0;
}

static int pod_publish(struct work *w, const struct sl_pod *pod)
{
	struct sl_arena *a = &w->snap->arena;
	struct sl_pod_ref *ref = sl_arena_new(a, struct sl_pod_ref);
	const struct sl_meta *meta = &pod->object.meta;
	struct sl_str uid;
	int r;

	if (!ref || sl_arena_str(a, meta->namespace, &ref->namespace) ||
	    sl_arena_str(a, meta->name, &ref->name) || sl_arena_str(a, meta->uid, &uid))
		return -ENOMEM;
	if (uid.len) {
		r = sl_map_put(&w->snap->pods_by_uid, uid, ref, NULL);
		if (r)
			return r;
	}
	return pod->host_network ? 0 : pod_publish_ips(w, pod, ref);
}

int pods_build(struct work *w)
{
	_cleanup_(sl_freep) struct sl_object **pods = NULL;
	size_t n;
	int r = sl_model_list(w->model, SL_KIND_POD, &pods, &n);

	for (size_t i = 0; !r && i < n; i++) {
		const struct sl_pod *pod = (const struct sl_pod *)pods[i];

		if (!pod_ended(pod))
			r = pod_publish(w, pod);
	}
	return r;
}
