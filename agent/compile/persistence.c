/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sessionPersistence of a rule, XBackend or XBackendTrafficPolicy: name and secret. Both are made
 * of what all agents of a cluster see alike and what outlives them. The secret has the object's
 * uid, which the API server draws at random and which clients of the mesh have no business to read;
 * who knows it can make a token, which leads to one of the backend's endpoints of his choice. An
 * object from a folder has no uid unless one is written.
 */
#include <errno.h>
#include "compile/work.h"

/* Whose it is: what the secret is made of. */
struct owner {
	const struct sl_object *object;
	struct sl_str name, part; /* "Kind/namespace/name"; of a rule its name */
};

/* name: that of the cookie or header. All strings are copied into a. */
static int make(struct sl_arena *a, const struct sl_persistence_spec *spec, struct sl_str name,
		const struct owner *owner, const struct sl_persistence **ret)
{
	struct sl_persistence *p = sl_arena_new(a, struct sl_persistence);

	if (!p || sl_arena_str(a, name, &p->name) || sl_arena_str(a, spec->path, &p->path) ||
	    sl_arena_printf(a, &p->secret, "%.*s\n%.*s\n%.*s", SL_STR_ARG(owner->object->meta.uid),
			    SL_STR_ARG(owner->name), SL_STR_ARG(owner->part)))
		return -ENOMEM;
	p->is_header = spec->is_header;
	p->permanent = spec->permanent;
	p->absolute_timeout_ns = spec->absolute_timeout_ns;
	p->idle_timeout_ns = spec->idle_timeout_ns;
	*ret = p;
	return 0;
}

int persistence_build(struct sl_arena *a, const struct route_work *rw, struct sl_rule *rule,
		      const struct sl_persistence_spec *spec)
{
	const struct owner owner = {&rw->route->object, rule->route, rule->name};
	const struct sl_meta *meta = &owner.object->meta;
	struct sl_str name;

	if (!spec)
		return 0;
	name = spec->name;
	/* One that no other rule has; all of its parts are fit for it. */
	if (!name.len &&
	    sl_arena_printf(a, &name, "sluice.%.*s.%.*s.%.*s", SL_STR_ARG(meta->namespace),
			    SL_STR_ARG(meta->name), SL_STR_ARG(rule->name)))
		return -ENOMEM;
	return make(a, spec, name, &owner, &rule->persistence);
}

int upstream_persistence_build(const struct sl_compiler *c, const struct port_node *port,
			       struct sl_upstream *u)
{
	const struct xbackend_node *x = port->service->xbackend;
	const struct sl_traffic_policy *p = x ? NULL : policy_of_port(c, POLICY_BUDGET, port);
	const struct sl_persistence_spec *spec = x   ? x->backend->persistence
						 : p ? p->persistence
						     : NULL;
	struct owner owner = {.part = SL_STR("")};
	struct sl_str name;
	const char *kind;

	if (!spec)
		return 0;
	owner.object = x ? &x->backend->object : &p->policy.object;
	kind = sl_kind_name(owner.object->kind);
	name = spec->name;
	/* No rule's, as no namespace is spelt like a kind. */
	if (sl_arena_printf(&u->arena, &owner.name, "%s/%.*s", kind,
			    SL_STR_ARG(owner.object->key)) ||
	    (!name.len && sl_arena_printf(&u->arena, &name, "sluice.%s.%.*s.%.*s", kind,
					  SL_STR_ARG(owner.object->meta.namespace),
					  SL_STR_ARG(owner.object->meta.name))))
		return -ENOMEM;
	u->persistence_first = x != NULL;
	return make(&u->arena, spec, name, &owner, &u->persistence);
}
