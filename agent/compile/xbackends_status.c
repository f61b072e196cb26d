/* SPDX-License-Identifier: Apache-2.0 */
/* What became of an XBackend: one entry for each Service whose routes use it, as there is no
 * Gateway that could be an ancestor. */
#include <errno.h>
#include "base/alloc.h"
#include "base/cleanup.h"
#include "compile/work.h"

enum { MAX_ANCESTORS = 32 };

struct ancestors {
	const struct sl_parent_ref *items[MAX_ANCESTORS];
	uint32_t n;
};

static int ref_cmp(const struct sl_parent_ref *a, const struct sl_parent_ref *b)
{
	int order = sl_str_cmp(a->namespace, b->namespace);

	return order ? order : sl_str_cmp(a->name, b->name);
}

/* Sorted; those that come last are left out when there are too many. */
static void ancestor_add(struct ancestors *to, const struct sl_parent_ref *ref)
{
	uint32_t at = to->n;

	for (uint32_t i = 0; i < to->n; i++) {
		if (ref_cmp(to->items[i], ref) == 0)
			return;
	}
	while (at && ref_cmp(to->items[at - 1], ref) > 0)
		at--;
	if (at == MAX_ANCESTORS)
		return;
	if (to->n < MAX_ANCESTORS)
		to->n++;
	memmove(&to->items[at + 1], &to->items[at], (to->n - at - 1) * sizeof(*to->items));
	to->items[at] = ref;
}

static void ancestors_find(const struct service_node *s, struct ancestors *ret)
{
	sl_list_foreach (it, &s->dependents) {
		const struct route_work *rw =
			sl_container_of(it, struct dependency, node)->route->work;

		for (uint32_t i = 0; rw && i < rw->route->n_parent_refs; i++) {
			if (rw->parents[i].ours)
				ancestor_add(ret, &rw->route->parent_refs[i]);
		}
	}
}

static int accepted(const struct xbackend_node *n, struct sl_route_status *st,
		    struct sl_condition *c)
{
	if (n->work.reason)
		return condition_set(st, c, "Accepted", "False", n->work.reason, n->work.message);
	return condition_set(st, c, "Accepted", "True", "Accepted",
			     n->backend->hostname.len
				     ? SL_STR("Rules of this Service lead to the host")
				     : SL_STR("Rules of this Service lead to the selected Pods"));
}

static int ancestor_fill(const struct xbackend_node *n, const struct sl_parent_ref *from,
			 struct sl_route_status *st, struct sl_parent_status *ret)
{
	struct sl_parent_ref *ref = sl_arena_new_n(&st->arena, struct sl_parent_ref, 1);
	struct sl_condition *c = sl_arena_new_n(&st->arena, struct sl_condition, 2);
	int r;

	if (!ref || !c)
		return -ENOMEM;
	*ref = (struct sl_parent_ref){.group = SL_STR(""),
				      .kind = SL_STR("Service"),
				      .has_group = true,
				      .has_kind = true,
				      .has_namespace = true,
				      .section_name = SL_STR("")};
	if (sl_arena_str(&st->arena, from->namespace, &ref->namespace) ||
	    sl_arena_str(&st->arena, from->name, &ref->name))
		return -ENOMEM;
	ret->ref = ref;
	ret->conditions = c;
	r = accepted(n, st, &c[ret->n_conditions++]);
	/* References are those of TLS. */
	if (!r && n->backend->has_tls)
		r = tls_refs_tell(&n->work, st, &c[ret->n_conditions++]);
	return r;
}

static int ancestors_tell(const struct xbackend_node *n, const struct ancestors *found,
			  struct sl_route_status *st, struct sl_parent_status *out)
{
	for (uint32_t i = 0; i < found->n; i++) {
		int r = ancestor_fill(n, found->items[i], st, &out[st->n_parents++]);

		if (r)
			return r;
	}
	return 0;
}

int xbackend_status_build(struct sl_compiler *c, struct xbackend_node *n)
{
	struct ancestors found = {.n = 0};
	struct sl_parent_status *out;
	struct sl_route_status *st;
	int r;

	ancestors_find(n->service, &found);
	r = status_new(&n->backend->object, found.n, &st, &out);
	return r ? r : status_settle(c, ancestors_tell(n, &found, st, out), st, &n->status);
}
