/* SPDX-License-Identifier: Apache-2.0 */
/* Upstreams that the rules of one route have for themselves, because a policy of the route says how
 * its requests are balanced: endpoints are the port's, what is counted of them is not. */
#include <errno.h>
#include "base/alloc.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "compile/work.h"

static void policy_unref(struct sl_traffic_policy *p)
{
	(void)sl_object_unref(p ? &p->policy.object : NULL); /* always NULL */
}

static void variant_free(struct variant *v)
{
	sl_list_remove(&v->node);
	sl_list_remove(&v->idle);
	policy_unref(v->policy);
	(void)sl_upstream_unref(v->upstream);
	free(v);
}

static struct variant *variant_find(const struct port_node *port, struct sl_str key)
{
	sl_list_foreach (it, &port->variants) {
		struct variant *v = sl_container_of(it, struct variant, node);

		if (sl_str_eq(v->key, key))
			return v;
	}
	return NULL;
}

static int variant_new(struct port_node *port, struct sl_str key, struct variant **ret)
{
	struct variant *v = sl_calloc(1, sizeof(*v) + key.len);

	if (!v)
		return -ENOMEM;
	memcpy(v + 1, key.ptr, key.len);
	v->key = (struct sl_str){(const char *)(v + 1), key.len};
	sl_list_init(&v->idle);
	sl_list_append(&port->variants, &v->node);
	*ret = v;
	return 0;
}

int variant_use(struct sl_compiler *c, struct route_work *rw, struct port_node *port,
		struct sl_str *ret_key)
{
	struct variant_use *use = sl_arena_new(&rw->arena, struct variant_use);
	struct sl_traffic_policy *before;
	struct variant *v;
	int r;

	if (!use || sl_arena_printf(&rw->arena, ret_key, "%.*s %s/%.*s", SL_STR_ARG(port->key),
				    route_kind_name(rw->kind), SL_STR_ARG(rw->route->object.key)))
		return -ENOMEM;
	v = variant_find(port, *ret_key);
	r = v ? 0 : variant_new(port, *ret_key, &v);
	if (r)
		return r;
	sl_list_remove(&v->idle);
	v->n_users++;
	use->variant = v;
	use->next = rw->variants;
	rw->variants = use;
	before = v->policy;
	if (before == rw->policy)
		return 0;
	v->policy = rw->policy;
	sl_object_ref(&rw->policy->policy.object);
	policy_unref(before);
	return upstream_build_variant(c, port, v);
}

void variants_unuse(struct sl_compiler *c, struct route_work *rw)
{
	for (struct variant_use *use = rw->variants; use; use = use->next) {
		if (!--use->variant->n_users)
			sl_list_append(&c->idle_variants, &use->variant->idle);
	}
	rw->variants = NULL;
}

int variants_settle(struct sl_compiler *c)
{
	sl_list_foreach_safe (it, &c->idle_variants) {
		struct variant *v = sl_container_of(it, struct variant, idle);
		int r = sl_pmap_del(&c->upstreams, v->key);

		if (r)
			return r;
		variant_free(v);
	}
	return 0;
}

int variants_withdraw(struct sl_compiler *c, struct port_node *port)
{
	int r = 0;

	sl_list_foreach (it, &port->variants) {
		if (!r)
			r = sl_pmap_del(&c->upstreams,
					sl_container_of(it, struct variant, node)->key);
	}
	return r;
}

void variants_free(struct port_node *port)
{
	sl_list_foreach_safe (it, &port->variants)
		variant_free(sl_container_of(it, struct variant, node));
}
