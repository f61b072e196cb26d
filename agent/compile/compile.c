/* SPDX-License-Identifier: Apache-2.0 */
#include "compile/compile.h"

#include <errno.h>
#include <stdarg.h>
#include "base/alloc.h"
#include "base/cleanup.h"
#include "compile/work.h"

enum { TEXT_MAX_BYTES = 1024 };

SL_DEFINE_CLEANUP(struct sl_compile_report *, sl_compile_report_free)
SL_DEFINE_CLEANUP(struct sl_compiler *, sl_compiler_free)

/* ---- reports ---- */

struct sl_compile_report *sl_compile_report_free(struct sl_compile_report *r)
{
	if (r) {
		sl_pmap_deinit(&r->routes);
		sl_diags_deinit(&r->diags);
		free(r);
	}
	return NULL;
}

static int status_cmp(const void *a, const void *b)
{
	const struct sl_object *x = (*(const struct sl_route_status *const *)a)->route;
	const struct sl_object *y = (*(const struct sl_route_status *const *)b)->route;
	int order = sl_str_cmp(x->meta.namespace, y->meta.namespace);

	if (!order)
		order = sl_str_cmp(x->meta.name, y->meta.name);
	return order ? order : (int)x->kind - (int)y->kind;
}

int sl_compile_report_list(const struct sl_compile_report *r, const struct sl_route_status ***ret,
			   size_t *ret_n)
{
	struct sl_pmap_iter it = sl_pmap_iterate(&r->routes);
	const struct sl_route_status **list = sl_new_n(const struct sl_route_status *, r->routes.n);
	const struct sl_part *p;
	size_t n = 0;

	if (!list)
		return -ENOMEM;
	while ((p = sl_pmap_next(&it, NULL)))
		list[n++] = sl_route_status_of(p);
	qsort(list, n, sizeof(*list), status_cmp);
	*ret = list;
	*ret_n = n;
	return 0;
}

void warn(struct sl_diags *diags, const struct sl_object *o, struct sl_str field, const char *fmt,
	  ...)
{
	struct sl_diag diag = {.severity = SL_SEVERITY_WARNING,
			       .file = o->meta.file,
			       .line = o->meta.line,
			       .field = field};
	char text[TEXT_MAX_BYTES], object[TEXT_MAX_BYTES];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap); /* cut when too long */
	va_end(ap);
	(void)snprintf(object, sizeof(object), "%s %.*s", sl_kind_name(o->kind),
		       SL_STR_ARG(o->key));
	diag.object = sl_str_from(object);
	sl_diags_add(diags, &diag, "%s", text);
}

static int report_new(struct sl_compiler *c, struct sl_compile_report **ret)
{
	_cleanup_(sl_compile_report_freep) struct sl_compile_report *report =
		sl_new(struct sl_compile_report);
	int r;

	if (!report)
		return -ENOMEM;
	report->routes = sl_pmap_copy(&c->statuses);
	report->next_change_s = c->next_change_s;
	r = routes_warn(c, &report->diags);
	if (!r)
		r = vips_warn(c, &report->diags);
	if (!r)
		r = pods_warn(c, &report->diags);
	if (!r)
		r = services_warn(c, &report->diags);
	if (r)
		return r;
	*ret = sl_take(report);
	return 0;
}

/* ---- life ---- */

static void state_init(struct sl_compiler *c)
{
	sl_list_init(&c->changed_services);
	sl_list_init(&c->changed_routes);
	sl_list_init(&c->changed_groups);
	sl_list_init(&c->changed_ports);
	sl_list_init(&c->warned_routes);
	sl_list_init(&c->untold_routes);
	sl_list_init(&c->bad_services);
	sl_list_init(&c->placeless);
	sl_list_init(&c->bad_pods);
	sl_list_init(&c->gone_tls_policies);
	sl_list_init(&c->tls_services);
	sl_list_init(&c->idle_variants);
	contest_init(&c->vips);
	contest_init(&c->udp_vips);
	contest_init(&c->pod_ips);
	contest_init(&c->pod_uids);
}

/* Routes first: they lie at Services and hold patterns. Names that were given out stay so. */
static void state_drop(struct sl_compiler *c)
{
	routes_free(c);
	xbackends_free(c);
	services_free(c);
	tls_policies_free(c);
	pods_free(c);
	policies_free(c);
	(void)sl_object_unref(c->node ? &c->node->object : NULL); /* always NULL */
	contest_deinit(&c->vips);
	contest_deinit(&c->udp_vips);
	contest_deinit(&c->pod_ips);
	contest_deinit(&c->pod_uids);
	sl_slots_deinit(&c->slots);
	sl_pmap_deinit(&c->frontends);
	sl_pmap_deinit(&c->udp_frontends);
	sl_pmap_deinit(&c->upstreams);
	sl_pmap_deinit(&c->pods_by_ip);
	sl_pmap_deinit(&c->pods_by_uid);
	sl_pmap_deinit(&c->plan);
	sl_pmap_deinit(&c->splits);
	sl_pmap_deinit(&c->statuses);
	*c = (struct sl_compiler){.last_rule_id = c->last_rule_id,
				  .last_group_id = c->last_group_id};
	state_init(c);
}

int sl_compiler_new(struct sl_compiler **ret)
{
	struct sl_compiler *c = sl_new(struct sl_compiler);

	if (!c)
		return -ENOMEM;
	state_init(c);
	*ret = c;
	return 0;
}

struct sl_compiler *sl_compiler_free(struct sl_compiler *c)
{
	if (c)
		state_drop(c);
	free(c);
	return NULL;
}

/* ---- a run ---- */

static int build(struct sl_compiler *c)
{
	static int (*const steps[])(struct sl_compiler *) = {
		policies_build, tls_policies_build, routes_detach, services_build,
		routes_build,	variants_settle,    groups_build,  statuses_build,
		xbackends_tell, frontends_build,    vips_settle,   pods_settle,
	};
	int r = xbackends_build(c);

	if (r)
		return r;
	services_compare(c);
	for (size_t i = 0; i < sizeof(steps) / sizeof(*steps); i++) {
		r = steps[i](c);
		if (r)
			return r;
	}
	routes_settle(c);
	services_settle(c);
	return 0;
}

static int snapshot_new(const struct sl_compiler *c, struct sl_snapshot **ret)
{
	struct sl_snapshot *snap;
	int r = sl_snapshot_new(&snap);

	if (r)
		return r;
	snap->generation = c->opts.generation;
	snap->frontends = sl_pmap_copy(&c->frontends);
	snap->udp_frontends = sl_pmap_copy(&c->udp_frontends);
	snap->upstreams = sl_pmap_copy(&c->upstreams);
	snap->pods_by_ip = sl_pmap_copy(&c->pods_by_ip);
	snap->pods_by_uid = sl_pmap_copy(&c->pods_by_uid);
	snap->plan.services = sl_pmap_copy(&c->plan);
	snap->plan.splits = sl_pmap_copy(&c->splits);
	snap->n_rules = c->n_rules;
	snap->n_wrr = c->slots.end;
	snap->has_faults = c->policies[POLICY_FAULT].targets.n;
	*ret = snap;
	return 0;
}

static int run(struct sl_compiler *c, const struct sl_model *model, struct sl_snapshot **ret,
	       struct sl_compile_report **ret_report)
{
	_cleanup_(sl_snapshot_unrefp) struct sl_snapshot *snap = NULL;
	int r = changes_follow(c, model);

	if (!r)
		r = build(c);
	if (!r)
		r = snapshot_new(c, &snap);
	if (!r)
		r = report_new(c, ret_report);
	if (r)
		return r;
	c->model_id = model->id;
	c->model_generation = model->generation;
	*ret = sl_take(snap);
	return 0;
}

int sl_compiler_run(struct sl_compiler *c, const struct sl_model *model,
		    const struct sl_compile_opts *opts, struct sl_snapshot **ret,
		    struct sl_compile_report **ret_report)
{
	int r;

	/* They are in every plan, and every upstream. */
	if (c->opts.failure_policy != opts->failure_policy || !sl_str_eq(c->opts.node, opts->node))
		state_drop(c);
	c->opts = *opts;
	r = run(c, model, ret, ret_report);
	if (r)
		state_drop(c);
	return r;
}

int sl_compile(const struct sl_model *model, const struct sl_compile_opts *opts,
	       struct sl_snapshot **ret, struct sl_compile_report **ret_report)
{
	_cleanup_(sl_compiler_freep) struct sl_compiler *c = NULL;
	int r = sl_compiler_new(&c);

	return r ? r : sl_compiler_run(c, model, opts, ret, ret_report);
}
