/* SPDX-License-Identifier: Apache-2.0 */
#include "compile/work.h"

#define SPLICE	    SL_STR("sluice.dev/splice")
#define SHADOW	    SL_STR("sluice.dev/shadow")
#define ENFORCED_BY SL_STR("sluice.dev/enforced-by")

enum sl_splice_policy splice_read(const struct sl_object *o, bool *ret_bad)
{
	struct sl_str value = sl_object_annotation(o, SPLICE);

	*ret_bad = false;
	if (sl_str_eqc(value, "disabled"))
		return SL_SPLICE_DISABLED;
	if (sl_str_eqc(value, "enabled"))
		return SL_SPLICE_ENABLED;
	*ret_bad = value.ptr;
	return SL_SPLICE_BY_DEFAULT;
}

void splice_warn(const struct sl_object *o, struct sl_diags *diags)
{
	bool bad;

	(void)splice_read(o, &bad); /* only whether it is one */
	if (bad)
		warn(diags, o, SL_STR("metadata.annotations[sluice.dev/splice]"),
		     "expected \"disabled\" or \"enabled\", found \"%.*s\": ignoring it",
		     SL_STR_ARG(sl_object_annotation(o, SPLICE)));
}

bool sl_route_is_shadow(const struct sl_object *route)
{
	struct sl_str value = sl_object_annotation(route, SHADOW);

	return value.ptr && !sl_str_eqc(value, "false");
}

int shadow_read(struct route_work *rw)
{
	struct sl_str value = sl_object_annotation(&rw->route->object, SHADOW);

	rw->shadow = sl_route_is_shadow(&rw->route->object);
	if (!rw->shadow || sl_str_eqc(value, "true"))
		return 0;
	return route_warn(
		rw, SL_STR("metadata.annotations[sluice.dev/shadow]"),
		"expected \"true\" or \"false\", found \"%.*s\": the route is not enforced, "
		"as with \"true\"",
		SL_STR_ARG(value));
}

int enforcer_read(struct route_work *rw)
{
	struct sl_str field = SL_STR("metadata.annotations[sluice.dev/enforced-by]");
	struct sl_str value = sl_object_annotation(&rw->route->object, ENFORCED_BY);
	bool kernel = sl_str_eqc(value, "kernel");

	if (!value.ptr)
		return 0;
	if (rw->kind != SL_ROUTE_TCP)
		return route_warn(rw, field, "it is for TCPRoutes: ignoring it");
	rw->by_kernel = kernel;
	if (kernel || sl_str_eqc(value, "agent"))
		return 0;
	return route_warn(rw, field,
			  "expected \"agent\" or \"kernel\", found \"%.*s\": ignoring it",
			  SL_STR_ARG(value));
}
