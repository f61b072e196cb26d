/* SPDX-License-Identifier: Apache-2.0 */
/* Services, the slices that lie at them, and their ports. */
#include <errno.h>
#include "base/alloc.h"
#include "base/cleanup.h"
#include "compile/work.h"

/* ---- nodes ---- */

/* Longer than any key that the decoder lets pass (63 + 1 + 253). */
enum { MAX_KEY = 512 };

static int service_new(struct sl_compiler *c, struct sl_str key, size_t len_namespace,
		       struct service_node **ret)
{
	struct service_node *s = sl_calloc(1, sizeof(*s) + key.len);
	const char *text;
	int r;

	if (!s)
		return -ENOMEM;
	text = (const char *)(s + 1);
	sl_list_init(&s->slices);
	sl_list_init(&s->dependents);
	sl_list_init(&s->changed);
	sl_list_init(&s->bad_annotation);
	sl_list_init(&s->placeless);
	sl_list_init(&s->with_tls);
	memcpy(s + 1, key.ptr, key.len);
	s->key = (struct sl_str){text, key.len};
	s->namespace = (struct sl_str){text, len_namespace};
	s->name = sl_str_skip(s->key, len_namespace + 1);
	r = sl_map_put(&c->services, s->key, s, NULL);
	if (r) {
		free(s);
		return r;
	}
	*ret = s;
	return 0;
}

int service_by_key(struct sl_compiler *c, struct sl_str key, struct service_node **ret)
{
	const char *slash = memchr(key.ptr, '/', key.len);

	*ret = sl_map_get(&c->services, key);
	return *ret ? 0 : service_new(c, key, (size_t)(slash - key.ptr), ret);
}

int service_get(struct sl_compiler *c, struct sl_str namespace, struct sl_str name,
		struct service_node **ret)
{
	char buf[MAX_KEY];
	int n = snprintf(buf, sizeof(buf), "%.*s/%.*s", SL_STR_ARG(namespace), SL_STR_ARG(name));

	if (n < 0 || n >= MAX_KEY || memchr(name.ptr, '/', name.len))
		n = snprintf(buf, sizeof(buf), "/"); /* which is no Service's name either */
	return service_by_key(c, (struct sl_str){buf, (size_t)n}, ret);
}

void service_touch(struct sl_compiler *c, struct service_node *s)
{
	if (sl_list_empty(&s->changed))
		sl_list_append(&c->changed_services, &s->changed);
}

static void object_unref(struct sl_object *o)
{
	(void)sl_object_unref(o); /* always NULL */
}

static void port_deinit(struct sl_compiler *c, struct port_node *port)
{
	for (uint32_t i = 0; i < port->n_claims; i++)
		claim_drop(port_contest(c, port), &port->claims[i]);
	sl_list_foreach_safe (it, &port->groups)
		group_free(sl_container_of(it, struct group_node, node));
	variants_free(port);
	sl_list_remove(&port->changed);
	sl_part_unref(port->frontend ? &port->frontend->part : NULL);
	sl_part_unref(port->upstream ? &port->upstream->part : NULL);
	free(port->claims);
	free(port->usable);
	free((char *)port->key.ptr);
}

static void ports_free(struct sl_compiler *c, struct service_node *s)
{
	for (uint32_t i = 0; i < s->n_ports; i++)
		port_deinit(c, &s->ports[i]);
	free(s->ports);
	s->ports = NULL;
	s->n_ports = 0;
}

static void service_free(struct sl_compiler *c, struct service_node *s)
{
	ports_free(c, s);
	sl_list_remove(&s->changed);
	sl_list_remove(&s->bad_annotation);
	sl_list_remove(&s->placeless);
	sl_list_remove(&s->with_tls);
	port_tls_free(s->tls, s->n_tls);
	port_tls_free(s->next_tls, s->n_next_tls);
	object_unref(s->service ? &s->service->object : NULL);
	object_unref(s->built ? &s->built->object : NULL);
	free(s);
}

/* ---- objects ---- */

int service_set(struct sl_compiler *c, struct sl_str key, struct sl_service *service)
{
	struct service_node *s;
	int r = service_by_key(c, key, &s);

	if (r)
		return r;
	if (service)
		sl_object_ref(&service->object);
	object_unref(s->service ? &s->service->object : NULL);
	s->service = service;
	service_touch(c, s);
	return 0;
}

void endpoints_touch(struct sl_compiler *c, struct service_node *s)
{
	s->endpoints_changed = true;
	service_touch(c, s);
}

static int slice_move(struct sl_compiler *c, struct slice_node *n)
{
	struct sl_str service = n->slice ? n->slice->service : SL_STR_NULL;
	int r = 0;

	if (n->service)
		endpoints_touch(c, n->service);
	sl_list_remove(&n->node);
	n->service = NULL;
	if (service.len)
		r = service_get(c, n->slice->object.meta.namespace, service, &n->service);
	if (n->service && !r) {
		sl_list_append(&n->service->slices, &n->node);
		endpoints_touch(c, n->service);
	}
	return r;
}

static void slice_free(struct slice_node *n)
{
	sl_list_remove(&n->node);
	object_unref(n->slice ? &n->slice->object : NULL);
	free(n);
}

int slice_set(struct sl_compiler *c, struct sl_str key, struct sl_endpointslice *slice)
{
	struct slice_node *n = sl_map_get(&c->slices, key);
	struct sl_endpointslice *old = n ? n->slice : NULL;
	int r = 0;

	if (!n) {
		n = sl_new(struct slice_node);
		if (!n)
			return -ENOMEM;
		sl_list_init(&n->node);
	}
	n->slice = slice;
	if (slice) {
		sl_object_ref(&slice->object);
		/* The key lies in the object. */
		r = sl_map_put(&c->slices, slice->object.key, n, NULL);
		if (r && !old) {
			slice_free(n);
			return r;
		}
	} else {
		(void)sl_map_del(&c->slices, key); /* it is there */
	}
	if (!r)
		r = slice_move(c, n);
	object_unref(old ? &old->object : NULL);
	if (!slice)
		slice_free(n);
	return r;
}

/* ---- ports ---- */

struct port_node *service_port(const struct service_node *s, const struct sl_service_port *port)
{
	for (uint32_t i = 0; i < s->n_ports; i++) {
		if (s->ports[i].port == port)
			return &s->ports[i];
	}
	return NULL;
}

static bool same_port(const struct sl_service_port *a, const struct sl_service_port *b)
{
	return a->port == b->port && a->protocol == b->protocol && sl_str_eq(a->name, b->name) &&
	       sl_str_eq(a->app_protocol, b->app_protocol);
}

/* Whether all that routes, ports and addresses depend on is the same. */
static bool same_shape(const struct sl_service *a, const struct sl_service *b)
{
	if (!a || !b)
		return a == b;
	if (a->type != b->type || a->headless != b->headless ||
	    a->n_cluster_ips != b->n_cluster_ips || a->n_ports != b->n_ports)
		return false;
	for (uint32_t i = 0; i < a->n_cluster_ips; i++) {
		if (!sl_addr_eq(&a->cluster_ips[i], &b->cluster_ips[i]))
			return false;
	}
	for (uint32_t i = 0; i < a->n_ports; i++) {
		if (!same_port(&a->ports[i], &b->ports[i]))
			return false;
	}
	return true;
}

/* Whether the same endpoints are chosen. */
static bool same_choice(const struct sl_service *a, const struct sl_service *b)
{
	return a && b && a->internal_local == b->internal_local &&
	       a->distribution == b->distribution && a->affinity_s == b->affinity_s;
}

void services_compare(struct sl_compiler *c)
{
	sl_list_foreach (it, &c->changed_services) {
		struct service_node *s = sl_container_of(it, struct service_node, changed);

		s->reshaped = !same_shape(s->built, s->service);
		s->endpoints_changed |= !same_choice(s->built, s->service);
		if (!s->reshaped)
			continue;
		sl_list_foreach (d, &s->dependents)
			route_touch(c, sl_container_of(d, struct dependency, node)->route);
	}
}

struct port_node *port_by_number(const struct service_node *s, uint16_t number,
				 enum sl_protocol protocol)
{
	for (uint32_t i = 0; i < s->n_ports; i++) {
		if (s->ports[i].port->port == number && s->ports[i].port->protocol == protocol)
			return &s->ports[i];
	}
	return NULL;
}

struct port_node *port_by_key(const struct sl_compiler *c, struct sl_str key)
{
	const char *colon = memrchr(key.ptr, ':', key.len);
	const struct service_node *s =
		colon ? sl_map_get(&c->services,
				   (struct sl_str){key.ptr, (size_t)(colon - key.ptr)})
		      : NULL;

	for (uint32_t i = 0; s && i < s->n_ports; i++) {
		if (sl_str_eq(s->ports[i].key, key))
			return &s->ports[i];
	}
	return NULL;
}

static int port_init(struct sl_compiler *c, struct service_node *s, struct port_node *port,
		     const struct sl_service_port *spec)
{
	char *key = sl_asprintf("%.*s:%u%s", SL_STR_ARG(s->key), spec->port,
				port_suffix(spec->protocol));

	sl_list_init(&port->groups);
	sl_list_init(&port->variants);
	sl_list_init(&port->changed);
	port->service = s;
	port->port = spec;
	port->index = s->n_ports++;
	port->app_protocol = app_protocol_from(spec->app_protocol);
	if (!key)
		return -ENOMEM;
	port->key = sl_str_from(key);
	return port_claim(c, port);
}

/* Groups are empty: the routes were detached. */
static int ports_build(struct sl_compiler *c, struct service_node *s)
{
	const struct sl_service *service = s->service;
	int r = 0;

	for (uint32_t i = 0; i < s->n_ports && !r; i++) {
		r = sl_pmap_del(&c->upstreams, s->ports[i].key);
		if (!r)
			r = variants_withdraw(c, &s->ports[i]);
	}
	if (r)
		return r;
	ports_free(c, s);
	if (!service || service->type == SL_SERVICE_EXTERNALNAME)
		return 0;
	s->ports = sl_new_n(struct port_node, service->n_ports);
	if (!s->ports)
		return -ENOMEM;
	for (uint32_t i = 0; i < service->n_ports && !r; i++) {
		const struct sl_service_port *spec = &service->ports[i];

		/* The same number twice: the first counts. */
		if (spec->protocol != SL_PROTOCOL_SCTP &&
		    !port_by_number(s, spec->port, spec->protocol))
			r = port_init(c, s, &s->ports[s->n_ports], spec);
	}
	s->endpoints_changed = true;
	return r;
}

/* Ports are as they were, but the object that they point into is another. */
static void ports_repoint(struct service_node *s)
{
	for (uint32_t i = 0; i < s->n_ports; i++)
		s->ports[i].port = &s->service->ports[s->ports[i].port - s->built->ports];
}

static struct sl_str policy_text(const struct sl_service *s)
{
	return sl_object_annotation(&s->object, SL_STR("sluice.dev/failure-policy"));
}

/* Returns false when it is none; *policy stays then. */
static bool policy_read(struct sl_str text, enum sl_failure_policy *policy)
{
	if (sl_str_eqc(text, "open"))
		*policy = SL_FAIL_OPEN;
	else if (sl_str_eqc(text, "closed"))
		*policy = SL_FAIL_CLOSED;
	else
		return !text.ptr;
	return true;
}

static void annotations_read(struct sl_compiler *c, struct service_node *s)
{
	enum sl_splice_policy splice = SL_SPLICE_BY_DEFAULT;
	bool bad = false;

	s->policy = c->opts.failure_policy;
	if (s->service) {
		splice = splice_read(&s->service->object, &bad);
		bad |= !policy_read(policy_text(s->service), &s->policy);
	}
	sl_list_remove(&s->bad_annotation);
	if (bad)
		sl_list_append(&c->bad_services, &s->bad_annotation);
	if (splice == s->splice)
		return;
	/* It is in what is made of both. */
	s->splice = splice;
	s->endpoints_changed = true;
	for (uint32_t i = 0; i < s->n_ports; i++)
		port_touch(c, &s->ports[i]);
}

/* The kernel's splits hold the endpoints of their backends. */
static void splits_touch(struct sl_compiler *c, const struct service_node *s)
{
	sl_list_foreach (it, &s->dependents) {
		struct route_node *n = sl_container_of(it, struct dependency, node)->route;
		const struct route_work *rw = n->work;

		if (rw && rw->kind == SL_ROUTE_TCP)
			kernel_touch(c, n);
		if (!rw || rw->kind != SL_ROUTE_UDP)
			continue;
		for (const struct attachment *a = rw->attachments; a; a = a->next)
			port_touch_claims(c, a->group->port);
	}
}

/* Without this node's name internalTrafficPolicy cannot be kept: somebody has to hear of it. */
static void place_need(struct sl_compiler *c, struct service_node *s)
{
	sl_list_remove(&s->placeless);
	if (s->service && s->service->internal_local && !c->opts.node.len)
		sl_list_append(&c->placeless, &s->placeless);
}

static int service_build(struct sl_compiler *c, struct service_node *s)
{
	int r = 0;

	if (s->reshaped)
		r = ports_build(c, s);
	else if (s->service != s->built)
		ports_repoint(s);
	if (r)
		return r;
	if (s->service != s->built) {
		object_unref(s->built ? &s->built->object : NULL);
		s->built = s->service;
		if (s->built)
			sl_object_ref(&s->built->object);
		annotations_read(c, s);
		place_need(c, s);
	}
	for (uint32_t i = 0; i < s->n_ports && !r; i++) {
		if (s->endpoints_changed)
			r = upstream_build(c, &s->ports[i]);
		/* For the plan's sake: policy and endpoints are in it. */
		port_touch_claims(c, &s->ports[i]);
	}
	if (s->endpoints_changed)
		splits_touch(c, s);
	s->endpoints_changed = s->reshaped = false;
	return r;
}

int services_build(struct sl_compiler *c)
{
	sl_list_foreach (it, &c->changed_services) {
		int r = service_build(c, sl_container_of(it, struct service_node, changed));

		if (r)
			return r;
	}
	return 0;
}

void services_settle(struct sl_compiler *c)
{
	sl_list_foreach_safe (it, &c->changed_services) {
		struct service_node *s = sl_container_of(it, struct service_node, changed);

		sl_list_remove(&s->changed);
		if (s->service || !sl_list_empty(&s->slices) || !sl_list_empty(&s->dependents))
			continue;
		(void)sl_map_del(&c->services, s->key); /* it is there */
		service_free(c, s);
	}
}

void services_free(struct sl_compiler *c)
{
	struct service_node *s;
	struct slice_node *n;
	size_t pos = 0;

	while ((n = sl_map_next(&c->slices, &pos, NULL)))
		slice_free(n);
	sl_map_deinit(&c->slices);
	pos = 0;
	while ((s = sl_map_next(&c->services, &pos, NULL)))
		service_free(c, s);
	sl_map_deinit(&c->services);
}

/* ---- warnings ---- */

static int service_cmp(const void *a, const void *b)
{
	const struct service_node *x = *(const struct service_node *const *)a;
	const struct service_node *y = *(const struct service_node *const *)b;
	int order = sl_str_cmp(x->namespace, y->namespace);

	return order ? order : sl_str_cmp(x->name, y->name);
}

/* The Services of a list, sorted: a new array (free()). nodes: which of their members is in it. */
static int list_services(const struct sl_list *nodes, size_t member,
			 const struct service_node ***ret, size_t *ret_n)
{
	const struct service_node **list;
	size_t n = 0;

	sl_list_foreach (it, nodes)
		n++;
	list = sl_new_n(const struct service_node *, n);
	if (!list)
		return -ENOMEM;
	n = 0;
	sl_list_foreach (it, nodes)
		list[n++] = (const struct service_node *)((const char *)it - member);
	qsort(list, n, sizeof(*list), service_cmp);
	*ret = list;
	*ret_n = n;
	return 0;
}

static int annotations_warn(struct sl_compiler *c, struct sl_diags *diags)
{
	_cleanup_(sl_freep) const struct service_node **list = NULL;
	size_t n;
	int r = list_services(&c->bad_services, offsetof(struct service_node, bad_annotation),
			      &list, &n);

	for (size_t i = 0; !r && i < n; i++) {
		const struct sl_object *o = &list[i]->service->object;
		struct sl_str text = policy_text(list[i]->service);
		enum sl_failure_policy policy;

		splice_warn(o, diags);
		if (policy_read(text, &policy))
			continue;
		warn(diags, o, SL_STR("metadata.annotations[sluice.dev/failure-policy]"),
		     "expected \"open\" or \"closed\", found \"%.*s\": ignoring it",
		     SL_STR_ARG(text));
	}
	return r;
}

int services_warn(struct sl_compiler *c, struct sl_diags *diags)
{
	_cleanup_(sl_freep) const struct service_node **list = NULL;
	size_t n;
	int r = annotations_warn(c, diags);

	if (!r)
		r = list_services(&c->placeless, offsetof(struct service_node, placeless), &list,
				  &n);
	for (size_t i = 0; !r && i < n; i++)
		warn(diags, &list[i]->service->object, SL_STR("spec.internalTrafficPolicy"),
		     "the agent was not told which node this is (--node): ignoring Local");
	return r;
}
