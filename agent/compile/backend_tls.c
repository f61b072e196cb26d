/* SPDX-License-Identifier: Apache-2.0 */
/* BackendTLSPolicies to the ports that they are for. There are few of them: when one changes, or
 * what one names, or a Service gets other ports, all are looked at. */
#include <errno.h>
#include "base/alloc.h"
#include "base/cleanup.h"
#include "compile/work.h"

static void object_unref(void *o)
{
	(void)sl_object_unref(o); /* always NULL */
}

/* ---- objects ---- */

static void node_free(struct tls_policy_node *n)
{
	tls_work_forget(&n->work);
	sl_list_remove(&n->gone);
	sl_part_unref(n->status ? &n->status->part : NULL);
	object_unref(n->policy);
	free(n->targets);
	free(n);
}

int tls_policy_set(struct sl_compiler *c, struct sl_str key, struct sl_backend_tls_policy *policy)
{
	struct tls_policy_node *n = sl_map_get(&c->tls_policies, key);
	struct sl_backend_tls_policy *old = n ? n->policy : NULL;
	int r;

	c->tls_policies_changed = true;
	if (!policy) {
		(void)sl_map_del(&c->tls_policies,
				 key); /* it is there, and the key is the object's */
		sl_list_append(&c->gone_tls_policies, &n->gone);
		return 0;
	}
	if (!n) {
		n = sl_new(struct tls_policy_node);
		if (!n)
			return -ENOMEM;
		sl_list_init(&n->gone);
	}
	r = sl_map_put(&c->tls_policies, policy->object.key, n, NULL); /* replacing does not fail */
	if (r) {
		node_free(n);
		return r;
	}
	sl_object_ref(&policy->object);
	n->policy = policy;
	object_unref(old);
	return 0;
}

int data_set(struct sl_compiler *c, enum sl_kind kind, struct sl_str key, struct sl_data_object *o)
{
	struct sl_map *map = kind == SL_KIND_SECRET ? &c->secrets : &c->config_maps;
	struct sl_data_object *old = sl_map_get(map, key);
	int r = 0;

	c->tls_policies_changed = true;
	if (o)
		r = sl_map_put(map, o->object.key, o, NULL);
	else
		(void)sl_map_del(map, key); /* it is there */
	if (r)
		return r;
	if (o)
		sl_object_ref(&o->object);
	object_unref(old);
	return 0;
}

static void data_free(struct sl_map *map)
{
	size_t pos = 0;
	void *o;

	while ((o = sl_map_next(map, &pos, NULL)))
		object_unref(o);
	sl_map_deinit(map);
}

void tls_policies_free(struct sl_compiler *c)
{
	struct tls_policy_node *n;
	size_t pos = 0;

	sl_list_foreach_safe (it, &c->gone_tls_policies)
		node_free(sl_container_of(it, struct tls_policy_node, gone));
	while ((n = sl_map_next(&c->tls_policies, &pos, NULL)))
		node_free(n);
	sl_map_deinit(&c->tls_policies);
	data_free(&c->config_maps);
	data_free(&c->secrets);
}

/* ---- ports ---- */

void port_tls_free(struct port_tls *list, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		object_unref(list[i].owner);
		(void)sl_tls_context_unref(list[i].tls); /* always NULL */
	}
	free(list);
}

const struct port_tls *port_tls(const struct port_node *port)
{
	const struct service_node *s = port->service;

	if (s->xbackend)
		return xbackend_tls(s->xbackend);
	for (uint32_t i = 0; i < s->n_tls; i++) {
		if (s->tls[i].port == port->port->port)
			return &s->tls[i];
	}
	return NULL;
}

static void set(struct port_tls *to, const struct tls_policy_node *n)
{
	object_unref(to->owner);
	(void)sl_tls_context_unref(to->tls); /* always NULL */
	to->owner = sl_object_ref(&n->policy->object);
	to->tls = sl_tls_context_ref(n->work.tls);
}

/* One that names the port counts more than one that names none, whichever is older. */
static void port_assign(struct service_node *s, uint16_t port, bool is_whole,
			const struct tls_policy_node *n)
{
	for (uint32_t i = 0; i < s->n_next_tls; i++) {
		struct port_tls *t = &s->next_tls[i];

		if (t->port != port)
			continue;
		if (t->is_whole && !is_whole) {
			t->is_whole = false;
			set(t, n);
		}
		return;
	}
	s->next_tls[s->n_next_tls] = (struct port_tls){.port = port, .is_whole = is_whole};
	set(&s->next_tls[s->n_next_tls++], n);
}

static bool means_port(const struct sl_parent_ref *t, const struct sl_service_port *port)
{
	return port->protocol == SL_PROTOCOL_TCP &&
	       (!t->section_name.len || sl_str_eq(t->section_name, port->name));
}

static struct service_node *service_of(const struct sl_compiler *c, const struct tls_policy_node *n,
				       const struct sl_parent_ref *t)
{
	char key[512];
	int len = snprintf(key, sizeof(key), "%.*s/%.*s",
			   SL_STR_ARG(n->policy->object.meta.namespace), SL_STR_ARG(t->name));
	struct service_node *s =
		len < (int)sizeof(key) ? sl_map_get(&c->services, (struct sl_str){key, (size_t)len})
				       : NULL;

	return s && s->service && !s->xbackend && s->service->type != SL_SERVICE_EXTERNALNAME
		       ? s
		       : NULL;
}

/* The targets of winners, by what they mean. */
struct wins {
	struct sl_arena arena;
	struct sl_map by_target; /* struct tls_policy_node */
};

static int target_assign(struct sl_compiler *c, struct wins *wins, struct tls_policy_node *n,
			 const struct sl_parent_ref *t, struct target_work *w)
{
	struct service_node *s = service_of(c, n, t);
	struct sl_str key;
	int r;

	for (uint32_t i = 0; s && i < s->service->n_ports; i++)
		w->found |= means_port(t, &s->service->ports[i]);
	if (!w->found)
		return 0;
	r = sl_arena_printf(&wins->arena, &key, "%.*s/%.*s", SL_STR_ARG(s->key),
			    SL_STR_ARG(t->section_name));
	if (r)
		return r;
	w->loses_to = sl_map_get(&wins->by_target, key);
	if (w->loses_to)
		return 0;
	if (sl_map_put(&wins->by_target, key, n, NULL))
		return -ENOMEM;
	if (!s->next_tls) {
		s->next_tls = sl_new_n(struct port_tls, s->service->n_ports);
		if (!s->next_tls)
			return -ENOMEM;
		if (sl_list_empty(&s->with_tls))
			sl_list_append(&c->tls_services, &s->with_tls);
	}
	for (uint32_t i = 0; i < s->service->n_ports; i++) {
		if (means_port(t, &s->service->ports[i]))
			port_assign(s, s->service->ports[i].port, !t->section_name.len, n);
	}
	return 0;
}

static int policy_assign(struct sl_compiler *c, struct wins *wins, struct tls_policy_node *n)
{
	const struct sl_backend_tls_policy *p = n->policy;
	const struct tls_source from = {
		.object = &n->policy->object,
		.spec = &p->tls,
		.error = p->error,
		.validation = "spec.validation",
		.certificate = "spec.options[sluice.dev/client-certificate]",
	};
	int r = tls_work_refresh(c, &n->work, &from);

	if (r)
		return r;
	free(n->targets);
	n->targets = sl_new_n(struct target_work, p->n_targets);
	if (!n->targets)
		return -ENOMEM;
	for (uint32_t i = 0; i < p->n_targets && !r; i++) {
		const struct sl_parent_ref *t = &p->targets[i];

		n->targets[i].ours = !t->group.len && sl_str_eqc(t->kind, "Service");
		if (n->targets[i].ours)
			r = target_assign(c, wins, n, t, &n->targets[i]);
	}
	return r;
}

/* ---- a run ---- */

static bool same_tls(const struct service_node *s)
{
	if (s->n_tls != s->n_next_tls)
		return false;
	for (uint32_t i = 0; i < s->n_tls; i++) {
		const struct port_tls *a = &s->tls[i], *b = &s->next_tls[i];

		if (a->port != b->port || a->tls != b->tls ||
		    !sl_str_eq(a->owner->key, b->owner->key))
			return false;
	}
	return true;
}

static int port_cmp(const void *a, const void *b)
{
	const struct port_tls *x = a, *y = b;

	return (x->port > y->port) - (x->port < y->port);
}

static void services_exchange(struct sl_compiler *c)
{
	sl_list_foreach_safe (it, &c->tls_services) {
		struct service_node *s = sl_container_of(it, struct service_node, with_tls);
		bool same;

		if (s->n_next_tls)
			qsort(s->next_tls, s->n_next_tls, sizeof(*s->next_tls), port_cmp);
		same = same_tls(s);
		port_tls_free(s->tls, s->n_tls);
		s->tls = sl_take(s->next_tls);
		s->n_tls = s->n_next_tls;
		s->n_next_tls = 0;
		if (!s->n_tls)
			sl_list_remove(&s->with_tls);
		if (same)
			continue;
		s->endpoints_changed = true;
		service_touch(c, s);
		sl_list_foreach (d, &s->dependents)
			route_touch(c, sl_container_of(d, struct dependency, node)->route);
	}
}

static int policy_cmp(const void *a, const void *b)
{
	const struct sl_object *x = &(*(struct tls_policy_node *const *)a)->policy->object;
	const struct sl_object *y = &(*(struct tls_policy_node *const *)b)->policy->object;

	if (x->meta.created_at != y->meta.created_at)
		return x->meta.created_at < y->meta.created_at ? -1 : 1;
	return sl_str_cmp(x->key, y->key);
}

static bool is_due(const struct sl_compiler *c)
{
	if (c->tls_policies_changed)
		return true;
	if (!c->tls_policies.n)
		return false;
	sl_list_foreach (it, &c->changed_services) {
		if (sl_container_of(it, struct service_node, changed)->reshaped)
			return true;
	}
	return false;
}

static int gone_settle(struct sl_compiler *c)
{
	sl_list_foreach_safe (it, &c->gone_tls_policies) {
		struct tls_policy_node *n = sl_container_of(it, struct tls_policy_node, gone);
		int r = n->status ? sl_pmap_del(&c->statuses, n->status->key) : 0;

		if (r)
			return r;
		node_free(n);
	}
	return 0;
}

int tls_policies_build(struct sl_compiler *c)
{
	_cleanup_(sl_freep) struct tls_policy_node **list = NULL;
	struct wins wins = {.arena = SL_ARENA_INIT(1024)};
	struct tls_policy_node *n;
	size_t pos = 0, count = 0;
	int r = 0;

	if (!is_due(c))
		return 0;
	list = sl_new_n(struct tls_policy_node *, c->tls_policies.n);
	if (!list)
		return -ENOMEM;
	while ((n = sl_map_next(&c->tls_policies, &pos, NULL)))
		list[count++] = n;
	if (count)
		qsort(list, count, sizeof(*list), policy_cmp);
	for (size_t i = 0; i < count && !r; i++)
		r = policy_assign(c, &wins, list[i]);
	sl_map_deinit(&wins.by_target);
	sl_arena_deinit(&wins.arena);
	if (r)
		return r;
	services_exchange(c);
	for (size_t i = 0; i < count && !r; i++)
		r = tls_policy_tell(c, list[i]);
	if (!r)
		r = gone_settle(c);
	c->tls_policies_changed = false;
	return r;
}
