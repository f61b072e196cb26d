/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which policy is in force where, and what its status says. Each run looks at all policies: they
 * are few, and what one of them gets depends on the others. Without any it costs nothing.
 */
#include <errno.h>
#include <stdarg.h>
#include "base/alloc.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "compile/work.h"

enum { KEY_BYTES = 640 };

static void object_unref(struct sl_policy_object *p)
{
	(void)sl_object_unref(p ? &p->object : NULL); /* always NULL */
}

static void node_free(struct policy_node *n)
{
	object_unref(n->policy);
	sl_faults_unref(n->faults);
	sl_part_unref(n->status ? &n->status->part : NULL);
	free(n);
}

int policy_set(struct sl_compiler *c, enum sl_kind kind, struct sl_str key,
	       struct sl_policy_object *p)
{
	struct sl_map *nodes = &c->policies[policy_class(kind)].nodes;
	struct policy_node *n = sl_map_get(nodes, key);
	int r;

	if (!n) {
		n = sl_new(struct policy_node);
		if (!n)
			return -ENOMEM;
		/* The key lies in the object. */
		r = sl_map_put(nodes, p->object.key, n, NULL);
		if (r) {
			free(n);
			return r;
		}
	} else if (p) {
		r = sl_map_put(nodes, p->object.key, n, NULL); /* it is there */
	} else {
		r = n->status ? sl_pmap_del(&c->statuses, n->status->key) : 0;
		if (r)
			return r;
		(void)sl_map_del(nodes, key); /* it is there */
		node_free(n);
		return 0;
	}
	sl_object_ref(&p->object);
	object_unref(n->policy);
	n->policy = p;
	n->is_built = false;
	return r;
}

/* "Service/namespace/name", or of a port or rule "HTTPRoute/namespace/name#rule". */
static struct sl_str target_key(char *buf, struct sl_str kind, struct sl_str object,
				struct sl_str section)
{
	int n = snprintf(buf, KEY_BYTES, "%.*s/%.*s%s%.*s", SL_STR_ARG(kind), SL_STR_ARG(object),
			 section.len ? "#" : "", SL_STR_ARG(section));

	return (struct sl_str){buf, (size_t)n};
}

/* The section's own comes before that of the whole. */
static const struct policy_target *find(const struct sl_compiler *c, enum policy_class class,
					const char *kind, struct sl_str object,
					struct sl_str section)
{
	const struct sl_map *targets = &c->policies[class].targets;
	const struct policy_target *t = NULL;
	struct sl_str of = sl_str_from(kind);
	char buf[KEY_BYTES];

	if (!targets->n)
		return NULL;
	if (section.len)
		t = sl_map_get(targets, target_key(buf, of, object, section));
	return t ? t : sl_map_get(targets, target_key(buf, of, object, SL_STR_NULL));
}

static const struct policy_target *
find_of_port(const struct sl_compiler *c, enum policy_class class, const struct port_node *port)
{
	return find(c, class, sl_kind_name(SL_KIND_SERVICE), port->service->key, port->port->name);
}

const struct sl_traffic_policy *policy_of_port(const struct sl_compiler *c, enum policy_class class,
					       const struct port_node *port)
{
	const struct policy_target *t = find_of_port(c, class, port);

	return t ? (const struct sl_traffic_policy *)t->policy : NULL;
}

struct sl_traffic_policy *policy_of_route(const struct sl_compiler *c, const struct route_work *rw)
{
	const struct policy_target *t = find(c, POLICY_BALANCE, route_kind_name(rw->kind),
					     rw->route->object.key, SL_STR_NULL);

	return t ? (struct sl_traffic_policy *)t->policy : NULL;
}

struct sl_faults *faults_of_port(const struct sl_compiler *c, const struct port_node *port)
{
	const struct policy_target *t = find_of_port(c, POLICY_FAULT, port);

	return t ? t->faults : NULL;
}

struct sl_faults *faults_of_rule(const struct sl_compiler *c, const struct route_work *rw,
				 const struct sl_route_rule *rule)
{
	const struct policy_target *t =
		find(c, POLICY_FAULT, route_kind_name(rw->kind), rw->route->object.key, rule->name);

	return t ? t->faults : NULL;
}

/* ---- who gets what ---- */

static int policy_cmp(const void *a, const void *b)
{
	const struct sl_object *x = &(*(struct policy_node *const *)a)->policy->object;
	const struct sl_object *y = &(*(struct policy_node *const *)b)->policy->object;
	int order = (x->meta.created_at > y->meta.created_at) -
		    (x->meta.created_at < y->meta.created_at);

	return order ? order : sl_str_cmp(x->key, y->key);
}

/* The oldest first: a new array (free()). NULL: out of memory. */
static struct policy_node **list_policies(const struct sl_map *nodes)
{
	struct policy_node **list = sl_new_n(struct policy_node *, nodes->n);
	struct policy_node *n;
	size_t i = 0, pos = 0;

	while (list && (n = sl_map_next(nodes, &pos, NULL)))
		list[i++] = n;
	if (i)
		qsort(list, i, sizeof(*list), policy_cmp);
	return list;
}

static bool has_port_named(const struct sl_service *s, struct sl_str name)
{
	for (uint32_t i = 0; i < s->n_ports; i++) {
		if (s->ports[i].protocol == SL_PROTOCOL_TCP && sl_str_eq(s->ports[i].name, name))
			return true;
	}
	return false;
}

static int judge(struct policy_status *st, const char *reason, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* reason: NULL when it is. */
static int judge(struct policy_status *st, const char *reason, const char *fmt, ...)
{
	struct sl_condition *c = sl_arena_new(&st->part->arena, struct sl_condition);
	char text[1024];
	va_list ap;

	if (!c)
		return -ENOMEM;
	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap); /* cut when too long */
	va_end(ap);
	c->type = SL_STR("Accepted");
	c->status = reason ? SL_STR("False") : SL_STR("True");
	c->reason = reason ? sl_str_from(reason) : SL_STR("Accepted");
	st->parents[st->part->n_parents++] =
		(struct sl_parent_status){.ref = st->ref, .conditions = c, .n_conditions = 1};
	return sl_arena_str(&st->part->arena, sl_str_from(text), &c->message);
}

/* key: of target_key(). */
static int target_put(struct sl_map *targets, const struct policy_target *from, struct sl_str key)
{
	struct policy_target *t = sl_malloc(sizeof(*t) + key.len);
	int r;

	if (!t)
		return -ENOMEM;
	*t = *from;
	memcpy(t->text, key.ptr, key.len);
	t->key = (struct sl_str){t->text, key.len};
	r = sl_map_put(targets, t->key, t, NULL);
	if (r) {
		free(t);
		return r;
	}
	sl_object_ref(&t->policy->object);
	(void)sl_faults_ref(t->faults); /* the same */
	return 0;
}

static void targets_deinit(struct sl_map *targets)
{
	struct policy_target *t;
	size_t pos = 0;

	while ((t = sl_map_next(targets, &pos, NULL))) {
		object_unref(t->policy);
		sl_faults_unref(t->faults);
		free(t);
	}
	sl_map_deinit(targets);
}

static struct route_node *route_of(const struct sl_compiler *c, struct sl_str kind,
				   struct sl_str key)
{
	enum sl_route_kind k = sl_str_eqc(kind, "GRPCRoute") ? SL_ROUTE_GRPC : SL_ROUTE_HTTP;

	return sl_map_get(&c->routes[k], key);
}

static bool has_rule_named(const struct sl_route_object *route, struct sl_str name)
{
	for (uint32_t i = 0; i < route->n_rules; i++) {
		if (sl_str_eq(route->rules[i].name, name))
			return true;
	}
	return false;
}

/* *ret_missing: what of the target is not there, in words; "": all is. Returns the route, or NULL:
 * it is none. */
static const struct route_node *look_up(const struct sl_compiler *c,
					const struct sl_parent_ref *ref, struct sl_str object,
					char ret_missing[KEY_BYTES])
{
	bool is_service = sl_str_eqc(ref->kind, "Service");
	const struct service_node *s = NULL;
	const struct route_node *n = NULL;

	*ret_missing = 0;
	if (is_service)
		s = sl_map_get(&c->services, object);
	else
		n = route_of(c, ref->kind, object);
	if (is_service ? !s || !s->service || s->xbackend : !n)
		(void)snprintf(ret_missing, KEY_BYTES, "does not exist");
	else if (ref->section_name.len &&
		 (is_service ? !has_port_named(s->service, ref->section_name)
			     : !has_rule_named(n->route, ref->section_name)))
		(void)snprintf(ret_missing, KEY_BYTES, "has no %s named \"%.*s\"",
			       is_service ? "TCP port" : "rule", SL_STR_ARG(ref->section_name));
	return n;
}

static int target_take(const struct sl_compiler *c, struct policy_node *n, struct sl_map *targets,
		       struct policy_status *st)
{
	const struct sl_parent_ref *ref = st->ref;
	const struct policy_target *winner;
	const struct route_node *route;
	char object[KEY_BYTES], missing[KEY_BYTES], buf[KEY_BYTES];
	struct sl_str key;
	int r;

	(void)snprintf(object, sizeof(object), "%.*s/%.*s", SL_STR_ARG(ref->namespace),
		       SL_STR_ARG(ref->name));
	route = look_up(c, ref, sl_str_from(object), missing);
	if (*missing)
		return judge(st, "TargetNotFound", "%.*s %s %s", SL_STR_ARG(ref->kind), object,
			     missing);
	if (n->reason)
		return judge(st, n->reason, "%s", n->text);
	key = target_key(buf, ref->kind, sl_str_from(object), ref->section_name);
	winner = sl_map_get(targets, key);
	if (winner)
		return judge(st, "Conflicted", "%s %.*s, which is older, applies to it",
			     sl_kind_name(n->policy->object.kind),
			     SL_STR_ARG(winner->policy->object.key));
	r = target_put(targets, &(struct policy_target){.policy = n->policy, .faults = n->faults},
		       key);
	return r ? r
		 : judge(st, NULL, "Applies to %.*s %s%s%.*s%s%s%s", SL_STR_ARG(ref->kind), object,
			 !ref->section_name.len		    ? ""
			 : sl_str_eqc(ref->kind, "Service") ? " port "
							    : " rule ",
			 SL_STR_ARG(ref->section_name), *n->text ? " " : "", n->text,
			 route && sl_route_is_shadow(&route->route->object)
				 ? ": of a shadow route, so it is compared and not done"
				 : "");
}

static int policy_apply(struct sl_compiler *c, struct policy_node *n, struct sl_map *targets)
{
	const struct sl_policy_object *p = n->policy;
	struct policy_status st = {0};
	int r = status_new(&p->object, p->n_target_refs, &st.part, &st.parents);

	if (r)
		return r;
	for (uint32_t i = 0; i < p->n_target_refs && !r; i++) {
		st.ref = &p->target_refs[i];
		r = target_take(c, n, targets, &st);
	}
	return status_settle(c, r, st.part, &n->status);
}

/* ---- what changes ---- */

/* What makes something of the policy there. key: of target_key(). */
static void target_changed(struct sl_compiler *c, struct sl_str key)
{
	const char *slash = memchr(key.ptr, '/', key.len), *section;
	struct sl_str kind = {key.ptr, (size_t)(slash - key.ptr)};
	struct sl_str object = sl_str_skip(key, kind.len + 1);
	struct service_node *s;
	struct route_node *n;

	section = memchr(object.ptr, '#', object.len);
	if (section)
		object.len = (size_t)(section - object.ptr);
	if (sl_str_eqc(kind, "Service")) {
		s = sl_map_get(&c->services, object);
		if (s) {
			s->endpoints_changed = true;
			service_touch(c, s);
		}
		return;
	}
	n = route_of(c, kind, object);
	if (n)
		route_touch(c, n);
}

/* Those in a that are not the same in b. */
static void touch_changed(struct sl_compiler *c, const struct sl_map *a, const struct sl_map *b)
{
	const struct policy_target *t, *other;
	struct sl_str key;
	size_t pos = 0;

	while ((t = sl_map_next(a, &pos, &key))) {
		other = sl_map_get(b, key);
		if (!other || other->policy != t->policy || other->faults != t->faults)
			target_changed(c, key);
	}
}

static int class_build(struct sl_compiler *c, enum policy_class class)
{
	struct policies *all = &c->policies[class];
	_cleanup_(targets_deinit) struct sl_map targets = SL_MAP_INIT;
	_cleanup_(sl_freep) struct policy_node **list = NULL;
	struct sl_map before;
	int r = 0;

	if (!all->nodes.n && !all->targets.n)
		return 0;
	list = list_policies(&all->nodes);
	if (!list)
		return -ENOMEM;
	for (size_t i = 0; i < all->nodes.n && !r; i++) {
		if (class == POLICY_FAULT)
			r = faults_prepare(c, list[i]);
		if (!r)
			r = policy_apply(c, list[i], &targets);
	}
	if (r)
		return r;
	touch_changed(c, &all->targets, &targets);
	touch_changed(c, &targets, &all->targets);
	before = all->targets;
	all->targets = targets;
	targets = before;
	return 0;
}

int policies_build(struct sl_compiler *c)
{
	int r = 0;

	c->next_change_s = INT64_MAX;
	for (int i = 0; i < N_POLICY_CLASSES && !r; i++)
		r = class_build(c, (enum policy_class)i);
	return r;
}

void policies_free(struct sl_compiler *c)
{
	for (int i = 0; i < N_POLICY_CLASSES; i++) {
		struct policies *all = &c->policies[i];
		struct policy_node *n;
		size_t pos = 0;

		while ((n = sl_map_next(&all->nodes, &pos, NULL)))
			node_free(n);
		sl_map_deinit(&all->nodes);
		targets_deinit(&all->targets);
	}
}
