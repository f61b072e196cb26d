/* SPDX-License-Identifier: Apache-2.0 */
/* Routes with their conditions, Services, endpoints: from the model, the snapshot in force and
 * status. */
#include <errno.h>
#include "base/alloc.h"
#include "base/cleanup.h"
#include "core/views.h"
#include "snapshot/match_index.h"
#include "upstream/upstream.h"

json_t *sl_view_str(struct sl_str s)
{
	json_t *j = json_stringn(s.ptr ? s.ptr : "", s.len);

	return j ? j : json_string("?");
}

static int n_usable(const struct sl_control *c, struct sl_str upstream, int *ret_usable)
{
	const struct sl_upstream *up = c->snap ? sl_snapshot_upstream(c->snap, upstream) : NULL;

	*ret_usable = up ? (int)up->n_usable : 0;
	return up ? (int)up->n_endpoints : 0;
}

/* "namespace/name:port", with "/udp" */
static struct sl_str upstream_key(char *buf, size_t len, struct sl_str ns, struct sl_str name,
				  uint16_t port, bool is_udp)
{
	int n = snprintf(buf, len, "%.*s/%.*s:%u%s", SL_STR_ARG(ns), SL_STR_ARG(name), port,
			 is_udp ? SL_UDP_SUFFIX : "");

	return (struct sl_str){buf, n > 0 && (size_t)n < len ? (size_t)n : 0};
}

/* Likewise, of what a rule names: "namespace/xbackend/name:port" of an XBackend, which has the
 * port. */
static struct sl_str backend_key(const struct sl_control *c, char *buf, size_t len,
				 const struct sl_backend_ref *ref, bool is_udp)
{
	const struct sl_xbackend *b;
	char name[320];

	if (!sl_backend_ref_is_xbackend(ref))
		return upstream_key(buf, len, ref->namespace, ref->name, ref->port, is_udp);
	b = (const struct sl_xbackend *)(c->model ? sl_model_get(c->model, SL_KIND_XBACKEND,
								 ref->namespace, ref->name)
						  : NULL);
	(void)snprintf(name, sizeof(name), "xbackend/%.*s", SL_STR_ARG(ref->name)); /* <= 253 */
	return upstream_key(buf, len, ref->namespace, sl_str_from(name), b ? b->port : 0, is_udp);
}

/* As sl_match_describe() has it. */
static int rpc_text(const struct sl_route_match *m, struct sl_buf *out)
{
	struct sl_str any = SL_STR("*");

	if (!m->rpc_service.len && !m->rpc_method.len)
		return sl_buf_printf(out, "any method");
	return sl_buf_printf(out, "%s %.*s/%.*s",
			     m->rpc_type == SL_VALUE_REGEX ? "RegularExpression" : "Exact",
			     SL_STR_ARG(m->rpc_service.len ? m->rpc_service : any),
			     SL_STR_ARG(m->rpc_method.len ? m->rpc_method : any));
}

static json_t *match_text(const struct sl_route_match *m, bool is_rpc)
{
	static const char *const types[] = {"PathPrefix", "Exact", "RegularExpression"};
	struct sl_buf b = SL_BUF_INIT(65536);
	json_t *j = NULL;
	int r;

	if (is_rpc)
		r = rpc_text(m, &b);
	else
		r = sl_buf_printf(&b, "%s %.*s", types[m->path_type], SL_STR_ARG(m->path));
	if (!r && m->method.len)
		r = sl_buf_printf(&b, ", method %.*s", SL_STR_ARG(m->method));
	for (uint32_t i = 0; i < m->n_headers && !r; i++)
		r = sl_buf_printf(&b, ", header %.*s %s %.*s", SL_STR_ARG(m->headers[i].name),
				  m->headers[i].type == SL_VALUE_REGEX ? "~" : "=",
				  SL_STR_ARG(m->headers[i].value));
	for (uint32_t i = 0; i < m->n_queries && !r; i++)
		r = sl_buf_printf(&b, ", query %.*s %s %.*s", SL_STR_ARG(m->queries[i].name),
				  m->queries[i].type == SL_VALUE_REGEX ? "~" : "=",
				  SL_STR_ARG(m->queries[i].value));
	if (!r)
		j = sl_view_str(sl_buf_str(&b));
	sl_buf_deinit(&b);
	return j;
}

static json_t *rule_json(const struct sl_control *c, const struct sl_route_object *route,
			 uint32_t index)
{
	const struct sl_route_rule *rule = &route->rules[index];
	bool is_rpc = route->object.kind == SL_KIND_GRPCROUTE;
	bool is_udp = route->object.kind == SL_KIND_UDPROUTE;
	_cleanup_(sl_view_decrefp) json_t *matches = json_array();
	_cleanup_(sl_view_decrefp) json_t *filters = json_array();
	_cleanup_(sl_view_decrefp) json_t *backends = json_array();
	char name[12];
	int r = 0;

	(void)snprintf(name, sizeof(name), "%u", index);
	for (uint32_t i = 0; i < rule->n_matches; i++)
		r |= json_array_append_new(matches, match_text(&rule->matches[i], is_rpc));
	if (route->object.kind == SL_KIND_TCPROUTE)
		r |= json_array_append_new(matches, json_string("any connection"));
	if (is_udp)
		r |= json_array_append_new(matches, json_string("any flow"));
	for (uint32_t i = 0; route->object.kind == SL_KIND_TLSROUTE && i < route->n_hostnames; i++)
		r |= json_array_append_new(
			matches, json_sprintf("name %.*s", SL_STR_ARG(route->hostnames[i])));
	for (uint32_t i = 0; i < rule->n_filters; i++)
		r |= json_array_append_new(filters, sl_view_str(rule->filters[i].type_name));
	for (uint32_t i = 0; i < rule->n_backend_refs; i++) {
		const struct sl_backend_ref *ref = &rule->backend_refs[i];
		char buf[640];
		struct sl_str key = backend_key(c, buf, sizeof(buf), ref, is_udp);
		int ready, all = n_usable(c, key, &ready);

		r |= json_array_append_new(backends, json_pack("{s:o, s:I, s:i, s:i}", "name",
							       sl_view_str(key), "weight",
							       (json_int_t)ref->weight, "endpoints",
							       all, "ready", ready));
	}
	if (r)
		return NULL;
	return json_pack("{s:o, s:O, s:O, s:O}", "name",
			 rule->name.len ? sl_view_str(rule->name) : json_string(name), "matches",
			 matches, "filters", filters, "backends", backends);
}

static const char *text_of(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "";
}

static bool names_route(const char *kind)
{
	for (enum sl_kind k = 0; k < SL_N_KINDS; k++) {
		if (sl_kind_is_route(k) && strcmp(sl_kind_name(k), kind) == 0)
			return true;
	}
	return false;
}

/* NULL when it is gone. */
static const struct sl_route_object *find_route(const struct sl_control *c, const char *kind,
						const char *ns, const char *name)
{
	for (enum sl_kind k = 0; c->model && k < SL_N_KINDS; k++) {
		if (sl_kind_is_route(k) && strcmp(sl_kind_name(k), kind) == 0)
			return (const struct sl_route_object *)sl_model_get(
				c->model, k, sl_str_from(ns), sl_str_from(name));
	}
	return NULL;
}

/* For sl_metrics_route_shadows(). */
struct shown {
	const struct sl_control *control;
	const struct sl_route_object *route;
};

static bool names_port(const struct sl_control *c, const struct sl_parent_ref *ref, uint64_t number)
{
	const struct sl_object *o =
		sl_model_get(c->model, SL_KIND_SERVICE, ref->namespace, ref->name);
	const struct sl_service *svc =
		o ? sl_container_of(o, const struct sl_service, object) : NULL;

	for (uint32_t i = 0; svc && i < svc->n_ports; i++) {
		const struct sl_service_port *p = &svc->ports[i];

		if (p->port == number && (!ref->port || ref->port == p->port) &&
		    (!ref->section_name.len || sl_str_eq(ref->section_name, p->name)))
			return true;
	}
	return false;
}

static bool is_shown(void *arg, struct sl_str service)
{
	const struct shown *s = arg;

	for (uint32_t i = 0; i < s->route->n_parent_refs; i++) {
		const struct sl_parent_ref *ref = &s->route->parent_refs[i];
		char text[640];
		int n = snprintf(text, sizeof(text), "%.*s/%.*s:", SL_STR_ARG(ref->namespace),
				 SL_STR_ARG(ref->name));
		uint64_t port;

		if (sl_str_eqc(ref->kind, "Service") && n < (int)sizeof(text) &&
		    sl_str_starts(service, sl_str_from(text)) &&
		    !sl_str_to_u64(sl_str_skip(service, (size_t)n), UINT16_MAX, &port) &&
		    names_port(s->control, ref, port))
			return true;
	}
	return false;
}

static int put_shadow(const struct sl_control *c, const struct sl_route_object *route,
		      const char *label, json_t *to)
{
	struct shown s = {c, route};
	struct sl_metrics_shadows n =
		sl_metrics_route_shadows(c->metrics, sl_str_from(label), is_shown, &s);

	return json_object_set_new(
		to, "shadow",
		json_pack("{s:I, s:I, s:I}", "evaluated", (json_int_t)n.evaluated, "matched",
			  (json_int_t)n.matched, "differs", (json_int_t)n.differs));
}

/* Completes what status has (kind, namespace, name, parents) with rules and a count. */
static int complete_route(const struct sl_control *c, json_t *route)
{
	const char *kind = text_of(route, "kind"), *ns = text_of(route, "namespace");
	const char *name = text_of(route, "name");
	const struct sl_route_object *route_object;
	char label[600];
	json_t *rules = json_array();
	int r = 0;

	route_object = find_route(c, kind, ns, name);
	if (!names_route(kind)) {
		json_decref(rules);
		return 0; /* has neither */
	}
	for (uint32_t i = 0; route_object && i < route_object->n_rules; i++)
		r |= json_array_append_new(rules, rule_json(c, route_object, i));
	r |= json_object_set_new(route, "rules", rules);
	(void)snprintf(label, sizeof(label), "%s/%s/%s", kind, ns, name);
	r |= json_object_set_new(route, "requests",
				 json_integer((json_int_t)sl_metrics_route_requests(
					 c->metrics, sl_str_from(label))));
	if (route_object && sl_route_is_shadow(&route_object->object))
		r |= put_shadow(c, route_object, label, route);
	return r ? -ENOMEM : 0;
}

int sl_view_routes(void *control, const json_t *request, json_t **ret)
{
	struct sl_control *c = control;
	_cleanup_(sl_view_decrefp) json_t *all = NULL;
	json_t *route;
	size_t i;
	int r = sl_status_json(c->status, &all);

	if (r)
		return r;
	if (c->datapath)
		sl_datapath_flows_read(c->datapath);
	json_array_foreach (json_object_get(all, "routes"), i, route) {
		r = complete_route(c, route);
		if (r)
			return r;
	}
	*ret = sl_take(all);
	return 0;
}

static int route_cmp(const void *a, const void *b)
{
	const struct sl_route *x = (*(const struct sl_match *const *)a)->route;
	const struct sl_route *y = (*(const struct sl_match *const *)b)->route;

	if (x->created_at != y->created_at)
		return x->created_at < y->created_at ? -1 : 1;
	return sl_str_cmp(x->key, y->key);
}

static int add_routes_of(json_t *list, const struct sl_route_table *t)
{
	_cleanup_(sl_freep) const struct sl_match **matches = NULL;
	uint32_t n = 0;
	int r = t ? sl_match_index_list(t->index, &matches, &n) : 0;

	if (n)
		qsort(matches, n, sizeof(*matches), route_cmp);
	for (uint32_t i = 0; i < n; i++) {
		if (i == 0 || matches[i]->route != matches[i - 1]->route)
			r |= json_array_append_new(list, sl_view_str(matches[i]->rule->route));
	}
	return r;
}

static json_t *port_json(const struct sl_control *c, const struct sl_service *svc,
			 const struct sl_service_port *p)
{
	struct sl_addr vip = svc->n_cluster_ips ? svc->cluster_ips[0] : (struct sl_addr){0};
	const struct sl_frontend *f;
	_cleanup_(sl_view_decrefp) json_t *routes = json_array();
	char buf[640];
	struct sl_str policy =
		sl_object_annotation(&svc->object, SL_STR("sluice.dev/failure-policy"));
	bool closed = policy.len ? sl_str_eqc(policy, "closed") : c->opts->policy == SL_FAIL_CLOSED;
	bool is_udp = p->protocol == SL_PROTOCOL_UDP, on_trial;
	int ready, all, r = 0;

	vip.port = p->port;
	f = !c->snap || !svc->n_cluster_ips ? NULL
	    : is_udp			    ? sl_snapshot_udp_frontend(c->snap, &vip)
					    : sl_snapshot_frontend(c->snap, &vip);
	on_trial = f && !f->routed && f->n_trials;
	if (f) {
		r |= add_routes_of(routes, f->producer);
		for (uint32_t i = 0; i < f->n_consumers; i++)
			r |= add_routes_of(routes, f->consumers[i].table);
	}
	all = n_usable(c,
		       upstream_key(buf, sizeof(buf), svc->object.meta.namespace,
				    svc->object.meta.name, p->port, is_udp),
		       &ready);
	if (r)
		return NULL;
	return json_pack("{s:o, s:i, s:s, s:b, s:O, s:s, s:i, s:i}", "name", sl_view_str(p->name),
			 "port", p->port, "protocol", sl_protocol_name(p->protocol), "routed",
			 f && f->routed, "routes", routes, "failure_policy",
			 closed && !on_trial ? "closed" : "open", "endpoints", all, "ready", ready);
}

static json_t *service_json(const struct sl_control *c, const struct sl_service *svc)
{
	_cleanup_(sl_view_decrefp) json_t *ips = json_array();
	_cleanup_(sl_view_decrefp) json_t *ports = json_array();
	char ip[SL_ADDR_TEXT];
	int r = 0;

	for (uint32_t i = 0; i < svc->n_cluster_ips; i++)
		r |= json_array_append_new(
			ips, json_string(sl_addr_format_ip(&svc->cluster_ips[i], ip)));
	for (uint32_t i = 0; i < svc->n_ports; i++)
		r |= json_array_append_new(ports, port_json(c, svc, &svc->ports[i]));
	if (r)
		return NULL;
	return json_pack("{s:o, s:o, s:O, s:O}", "namespace",
			 sl_view_str(svc->object.meta.namespace), "name",
			 sl_view_str(svc->object.meta.name), "clusterIPs", ips, "ports", ports);
}

int sl_view_services(void *control, const json_t *request, json_t **ret)
{
	struct sl_control *c = control;
	_cleanup_(sl_freep) struct sl_object **list = NULL;
	_cleanup_(sl_view_decrefp) json_t *out = json_array();
	size_t n = 0;
	int r = c->model ? sl_model_list(c->model, SL_KIND_SERVICE, &list, &n) : 0;

	for (size_t i = 0; i < n && !r; i++)
		r = json_array_append_new(
			out, service_json(c, sl_container_of(list[i], struct sl_service, object)));
	if (!r)
		*ret = json_pack("{s:O}", "services", out);
	return r || !*ret ? -ENOMEM : 0;
}

static int by_key(const void *a, const void *b)
{
	return sl_str_cmp((*(const struct sl_upstream *const *)a)->key,
			  (*(const struct sl_upstream *const *)b)->key);
}

static int put_load(json_t *to, const struct sl_upstream *up, uint32_t i, uint64_t now_ns)
{
	const struct sl_balance *b = up->balance;
	const struct sl_load *l = b && b->loads ? b->loads[i] : NULL;
	json_t *values;
	int r;

	if (!l)
		return 0;
	values = json_pack("{s:b, s:i, s:i}", "ejected", sl_lb_is_ejected(up, i, now_ns),
			   "requests", (int)atomic_load(&l->requests), "connections",
			   (int)atomic_load(&l->connections));
	r = values ? json_object_update(to, values) : -1;
	json_decref(values);
	return r;
}

static int add_endpoints(json_t *out, const struct sl_upstream *up, uint64_t now_ns)
{
	int r = 0;

	for (uint32_t i = 0; i < up->n_endpoints && !r; i++) {
		const struct sl_endpoint *e = &up->endpoints[i];
		char addr[SL_ADDR_TEXT], pod[600] = "";

		if (e->pod.len)
			(void)snprintf(pod, sizeof(pod), "%.*s/%.*s", SL_STR_ARG(up->namespace),
				       SL_STR_ARG(e->pod));
		r = json_array_append_new(
			out,
			json_pack("{s:o, s:s, s:o, s:o, s:o, s:b, s:b, s:b}", "service",
				  sl_view_str(up->key), "address", sl_addr_format(&e->addr, addr),
				  "pod", sl_view_str(sl_str_from(pod)), "node",
				  sl_view_str(e->node), "zone", sl_view_str(e->zone), "ready",
				  e->ready, "ending", e->ending, "used", i < up->n_usable));
		if (!r)
			r = put_load(json_array_get(out, json_array_size(out) - 1), up, i, now_ns);
	}
	return r;
}

int sl_view_endpoints(void *control, const json_t *request, json_t **ret)
{
	struct sl_control *c = control;
	_cleanup_(sl_view_decrefp) json_t *out = json_array();
	_cleanup_(sl_freep) const struct sl_upstream **ups = NULL;
	const struct sl_upstream *up;
	struct sl_pmap_iter it;
	size_t n = 0;
	int r = 0;

	ups = sl_new_n(const struct sl_upstream *, c->snap ? c->snap->upstreams.n : 0);
	if (!ups)
		return -ENOMEM;
	if (c->snap)
		it = sl_pmap_iterate(&c->snap->upstreams);
	while (c->snap && (up = sl_upstream_of(sl_pmap_next(&it, NULL))))
		ups[n++] = up;
	qsort(ups, n, sizeof(*ups), by_key);
	for (size_t i = 0; i < n && !r; i++)
		r = add_endpoints(out, ups[i], sl_loop_now(c->loop));
	if (!r)
		*ret = json_pack("{s:O}", "endpoints", out);
	return r || !*ret ? -ENOMEM : 0;
}
