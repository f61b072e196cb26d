/* SPDX-License-Identifier: Apache-2.0 */
/* Routes as the compiler knows them: which version is in force, and what it depends on. */
#include <errno.h>
#include <stdarg.h>
#include "base/alloc.h"
#include "base/cleanup.h"
#include "compile/work.h"

enum { TEXT_MAX_BYTES = 1024, WORK_BLOCK_BYTES = 1024 };

/* ---- kinds ---- */

static const enum sl_kind kinds[SL_N_ROUTE_KINDS] = {
	[SL_ROUTE_GRPC] = SL_KIND_GRPCROUTE, [SL_ROUTE_HTTP] = SL_KIND_HTTPROUTE,
	[SL_ROUTE_TLS] = SL_KIND_TLSROUTE,   [SL_ROUTE_TCP] = SL_KIND_TCPROUTE,
	[SL_ROUTE_UDP] = SL_KIND_UDPROUTE,
};

bool route_kind_of(enum sl_kind kind, enum sl_route_kind *ret)
{
	for (int i = 0; i < SL_N_ROUTE_KINDS; i++) {
		if (kinds[i] == kind) {
			*ret = (enum sl_route_kind)i;
			return true;
		}
	}
	return false;
}

const char *route_kind_name(enum sl_route_kind kind)
{
	return sl_kind_name(kinds[kind]);
}

/* ---- nodes ---- */

static void route_object_unref(struct sl_route_object *route)
{
	(void)sl_object_unref((struct sl_object *)route); /* always NULL */
}

/* What it was attached to is detached or goes with it. */
static void work_free(struct sl_compiler *c, struct route_work *rw)
{
	if (!rw)
		return;
	for (struct dependency *d = rw->dependencies; d; d = d->next)
		sl_list_remove(&d->node);
	for (struct attachment *a = rw->attachments; a; a = a->next) {
		sl_list_remove(&a->node);
		sl_part_unref(a->route ? &a->route->part : NULL);
	}
	patterns_drop(c, rw->patterns);
	variants_unuse(c, rw);
	(void)sl_object_unref(rw->policy ? &rw->policy->policy.object : NULL); /* always NULL */
	route_object_unref(rw->route);
	sl_arena_deinit(&rw->arena);
	free(rw);
}

static int work_new(struct sl_route_object *route, struct route_work **ret)
{
	struct route_work *rw = sl_new(struct route_work);

	if (!rw)
		return -ENOMEM;
	rw->arena = SL_ARENA_INIT(WORK_BLOCK_BYTES);
	rw->route = route;
	(void)route_kind_of(route->object.kind, &rw->kind); /* it is one */
	sl_object_ref(&route->object);
	*ret = rw;
	return 0;
}

static void node_free(struct sl_compiler *c, struct route_node *n)
{
	work_free(c, n->work);
	work_free(c, n->before);
	sl_list_remove(&n->changed);
	sl_list_remove(&n->warned);
	sl_list_remove(&n->untold);
	sl_part_unref(n->status ? &n->status->part : NULL);
	route_object_unref(n->route);
	free(n);
}

void route_touch(struct sl_compiler *c, struct route_node *n)
{
	if (sl_list_empty(&n->changed))
		sl_list_append(&c->changed_routes, &n->changed);
}

void route_retell(struct sl_compiler *c, struct route_node *n)
{
	if (sl_list_empty(&n->untold))
		sl_list_append(&c->untold_routes, &n->untold);
}

int route_set(struct sl_compiler *c, enum sl_route_kind kind, struct sl_str key,
	      struct sl_route_object *route)
{
	struct sl_map *nodes = &c->routes[kind];
	struct route_node *n = sl_map_get(nodes, key);
	struct sl_route_object *old = n ? n->route : NULL;
	int r;

	if (!n) {
		n = sl_new(struct route_node);
		if (!n)
			return -ENOMEM;
		sl_list_init(&n->changed);
		sl_list_init(&n->warned);
		sl_list_init(&n->untold);
	}
	if (route) {
		/* The key lies in the object. Replacing does not fail. */
		r = sl_map_put(nodes, route->object.key, n, NULL);
		if (r) {
			node_free(c, n);
			return r;
		}
		sl_object_ref(&route->object);
	} else {
		(void)sl_map_del(nodes, key); /* it is there */
	}
	n->route = route;
	route_touch(c, n);
	route_object_unref(old);
	return 0;
}

/* ---- what a version says and needs ---- */

int note_add(struct route_work *rw, const char *reason, const char *fmt, ...)
{
	struct note *note = sl_arena_new(&rw->arena, struct note);
	char text[TEXT_MAX_BYTES];
	va_list ap;

	if (!note)
		return -ENOMEM;
	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap); /* cut when too long */
	va_end(ap);
	if (sl_arena_str(&rw->arena, sl_str_from(text), &note->text))
		return -ENOMEM;
	note->reason = reason;
	if (rw->unresolved.last)
		rw->unresolved.last->next = note;
	else
		rw->unresolved.first = note;
	rw->unresolved.last = note;
	rw->unresolved.n++;
	return 0;
}

int route_warn(struct route_work *rw, struct sl_str field, const char *fmt, ...)
{
	struct warning *warning = sl_arena_new(&rw->arena, struct warning);
	char text[TEXT_MAX_BYTES];
	va_list ap;

	if (!warning)
		return -ENOMEM;
	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap); /* cut when too long */
	va_end(ap);
	if (sl_arena_str(&rw->arena, field, &warning->field) ||
	    sl_arena_str(&rw->arena, sl_str_from(text), &warning->text))
		return -ENOMEM;
	if (rw->last_warning)
		rw->last_warning->next = warning;
	else
		rw->warnings = warning;
	rw->last_warning = warning;
	return 0;
}

int route_depend_node(struct route_node *n, struct service_node *s)
{
	struct dependency *d;

	for (d = n->work->dependencies; d; d = d->next) {
		if (d->service == s)
			return 0;
	}
	d = sl_arena_new(&n->work->arena, struct dependency);
	if (!d)
		return -ENOMEM;
	d->service = s;
	d->route = n;
	d->next = n->work->dependencies;
	n->work->dependencies = d;
	sl_list_append(&s->dependents, &d->node);
	if (s->xbackend)
		xbackend_retell(s->xbackend);
	return 0;
}

int route_depend(struct sl_compiler *c, struct route_node *n, struct sl_str namespace,
		 struct sl_str name, struct service_node **ret)
{
	int r = service_get(c, namespace, name, ret);

	return r ? r : route_depend_node(n, *ret);
}

/* ---- a run ---- */

/* Off the tables, and off the Services that it names. */
static int route_detach(struct sl_compiler *c, struct route_node *n)
{
	struct route_work *rw = n->work;

	for (struct dependency *d = rw->dependencies; d; d = d->next) {
		sl_list_remove(&d->node);
		if (d->service->xbackend)
			xbackend_retell(d->service->xbackend);
		if (!d->service->service)
			service_touch(c, d->service); /* perhaps nobody knows it any more */
	}
	rw->dependencies = NULL;
	variants_unuse(c, rw);
	for (struct attachment *a = rw->attachments; a; a = a->next) {
		int r = table_detach(c, a, route_is_broken(rw));

		if (r)
			return r;
	}
	n->before = rw;
	n->work = NULL;
	return 0;
}

int routes_detach(struct sl_compiler *c)
{
	sl_list_foreach (it, &c->changed_routes) {
		struct route_node *n = sl_container_of(it, struct route_node, changed);
		int r = n->work ? route_detach(c, n) : 0;

		if (r)
			return r;
	}
	return 0;
}

static void policy_take(const struct sl_compiler *c, struct route_work *rw)
{
	rw->policy = policy_of_route(c, rw);
	if (rw->policy)
		sl_object_ref(&rw->policy->policy.object);
}

static int route_build(struct sl_compiler *c, struct route_node *n)
{
	int r;

	sl_list_remove(&n->warned);
	if (!n->route)
		return n->status ? sl_pmap_del(&c->statuses, n->status->key) : 0;
	r = work_new(n->route, &n->work);
	if (!r)
		r = shadow_read(n->work);
	if (!r)
		r = enforcer_read(n->work);
	if (!r)
		policy_take(c, n->work);
	if (!r)
		r = rules_check(c, n);
	if (!r)
		r = route_attach(c, n);
	if (!r)
		route_retell(c, n);
	if (!r && n->work->warnings)
		sl_list_append(&c->warned_routes, &n->warned);
	return r;
}

int routes_build(struct sl_compiler *c)
{
	sl_list_foreach (it, &c->changed_routes) {
		int r = route_build(c, sl_container_of(it, struct route_node, changed));

		if (r)
			return r;
	}
	return 0;
}

static void slots_give_back(struct sl_compiler *c, const struct route_work *rw)
{
	for (const struct attachment *a = rw->attachments; a; a = a->next) {
		for (uint32_t i = 0; i < a->route->n_rules; i++) {
			const struct sl_rule *rule = &a->route->rules[i];

			if (!a->inherited[i])
				sl_slots_give(&c->slots, rule->wrr_offset, rule->n_backends);
		}
	}
}

void routes_settle(struct sl_compiler *c)
{
	sl_list_foreach_safe (it, &c->changed_routes) {
		struct route_node *n = sl_container_of(it, struct route_node, changed);

		sl_list_remove(&n->changed);
		if (n->before)
			slots_give_back(c, n->before);
		work_free(c, n->before);
		n->before = NULL;
		if (!n->route)
			node_free(c, n);
	}
}

void routes_free(struct sl_compiler *c)
{
	struct route_node *n;
	size_t pos = 0;

	sl_list_foreach_safe (it, &c->changed_routes) {
		n = sl_container_of(it, struct route_node, changed);
		if (!n->route)
			node_free(c, n); /* in no map any more */
	}
	for (int kind = 0; kind < SL_N_ROUTE_KINDS; kind++) {
		pos = 0;
		while ((n = sl_map_next(&c->routes[kind], &pos, NULL)))
			node_free(c, n);
		sl_map_deinit(&c->routes[kind]);
	}
	sl_map_deinit(&c->patterns); /* the last user frees them */
}

/* ---- warnings ---- */

static int node_cmp(const void *a, const void *b)
{
	const struct sl_object *x = &(*(const struct route_node *const *)a)->route->object;
	const struct sl_object *y = &(*(const struct route_node *const *)b)->route->object;
	int order = sl_str_cmp(x->meta.namespace, y->meta.namespace);

	if (!order)
		order = sl_str_cmp(x->meta.name, y->meta.name);
	return order ? order : (int)x->kind - (int)y->kind;
}

int routes_warn(struct sl_compiler *c, struct sl_diags *diags)
{
	_cleanup_(sl_freep) const struct route_node **list = NULL;
	size_t n = 0;

	sl_list_foreach (it, &c->warned_routes)
		n++;
	list = sl_new_n(const struct route_node *, n);
	if (!list)
		return -ENOMEM;
	n = 0;
	sl_list_foreach (it, &c->warned_routes)
		list[n++] = sl_container_of(it, struct route_node, warned);
	qsort(list, n, sizeof(*list), node_cmp);
	for (size_t i = 0; i < n; i++) {
		for (const struct warning *w = list[i]->work->warnings; w; w = w->next)
			warn(diags, &list[i]->route->object, w->field, "%.*s", SL_STR_ARG(w->text));
	}
	return 0;
}
