/* SPDX-License-Identifier: Apache-2.0 */
#include "snapshot/plan.h"

#include <errno.h>
#include "base/alloc.h"

static void part_free(struct sl_part *p)
{
	free(p);
}

int sl_plan_service_new(const struct sl_plan_service *from, struct sl_plan_service **ret)
{
	size_t bytes = from->n_endpoints * sizeof(*from->endpoints);
	struct sl_plan_service *s = sl_malloc(sizeof(*s) + bytes + from->name.len);
	char *rest;

	if (!s)
		return -ENOMEM;
	*s = *from;
	sl_part_init(&s->part, part_free);
	rest = (char *)(s + 1);
	s->endpoints = (struct sl_addr *)rest;
	if (bytes)
		memcpy(rest, from->endpoints, bytes);
	s->name = (struct sl_str){rest + bytes, from->name.len};
	if (from->name.len)
		memcpy(rest + bytes, from->name.ptr, from->name.len);
	*ret = s;
	return 0;
}

static struct sl_str text_put(char **at, struct sl_str s)
{
	struct sl_str copy = {*at, s.len};

	if (s.len)
		memcpy(*at, s.ptr, s.len);
	*at += s.len;
	return copy;
}

int sl_plan_split_new(const struct sl_plan_split *from, struct sl_plan_split **ret)
{
	size_t bytes = from->n_endpoints * sizeof(*from->endpoints);
	size_t texts = from->name.len + from->route.len + from->rule.len;
	struct sl_plan_split *s;
	struct sl_plan_share *shares;
	char *rest;

	for (uint32_t i = 0; i < from->n_shares; i++)
		texts += from->shares[i].backend.len;
	s = sl_malloc(sizeof(*s) + from->n_shares * sizeof(*shares) + bytes + texts);
	if (!s)
		return -ENOMEM;
	*s = *from;
	sl_part_init(&s->part, part_free);
	shares = (struct sl_plan_share *)(s + 1);
	rest = (char *)(shares + from->n_shares);
	if (bytes)
		memcpy(rest, from->endpoints, bytes);
	s->shares = shares;
	s->endpoints = (struct sl_addr *)rest;
	rest += bytes;
	s->name = text_put(&rest, from->name);
	s->route = text_put(&rest, from->route);
	s->rule = text_put(&rest, from->rule);
	for (uint32_t i = 0; i < from->n_shares; i++) {
		shares[i] = from->shares[i];
		shares[i].backend = text_put(&rest, from->shares[i].backend);
	}
	*ret = s;
	return 0;
}

bool sl_plan_split_eq(const struct sl_plan_split *a, const struct sl_plan_split *b)
{
	if (!sl_str_eq(a->name, b->name) || !sl_str_eq(a->route, b->route) ||
	    !sl_str_eq(a->rule, b->rule) || a->n_shares != b->n_shares ||
	    a->n_endpoints != b->n_endpoints)
		return false;
	for (uint32_t i = 0; i < a->n_shares; i++) {
		const struct sl_plan_share *x = &a->shares[i], *y = &b->shares[i];

		if (x->weight != y->weight || x->n_endpoints != y->n_endpoints ||
		    !sl_str_eq(x->backend, y->backend))
			return false;
	}
	return !a->n_endpoints ||
	       !memcmp(a->endpoints, b->endpoints, a->n_endpoints * sizeof(*a->endpoints));
}
