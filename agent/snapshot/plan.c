/* SPDX-License-Identifier: Apache-2.0 */
#include "snapshot/plan.h"

#include <errno.h>
#include "base/alloc.h"

static void plan_service_free(struct sl_part *p)
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
	sl_part_init(&s->part, plan_service_free);
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
