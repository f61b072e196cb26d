/* SPDX-License-Identifier: Apache-2.0 */
#include "compile/compile.h"

#include <errno.h>
#include <stdarg.h>
#include "base/alloc.h"
#include "base/cleanup.h"
#include "compile/work.h"

enum { ARENA_BLOCK_BYTES = 64 * 1024, TEXT_MAX_BYTES = 1024 };

SL_DEFINE_CLEANUP(struct sl_compile_report *, sl_compile_report_free)

static int report_new(struct sl_compile_report **ret)
{
	struct sl_compile_report *report = sl_new(struct sl_compile_report);

	if (!report)
		return -ENOMEM;
	report->arena = SL_ARENA_INIT(ARENA_BLOCK_BYTES);
	*ret = report;
	return 0;
}

struct sl_compile_report *sl_compile_report_free(struct sl_compile_report *r)
{
	if (r) {
		for (uint32_t i = 0; i < r->n_routes; i++)
			(void)sl_object_unref((struct sl_object *)r->routes[i].route);
		sl_diags_deinit(&r->diags);
		sl_arena_deinit(&r->arena);
		free(r);
	}
	return NULL;
}

int note_add(struct work *w, struct notes *notes, const char *reason, const char *fmt, ...)
{
	struct note *note = sl_arena_new(&w->tmp, struct note);
	char text[TEXT_MAX_BYTES];
	va_list ap;

	if (!note)
		return -ENOMEM;
	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap); /* cut when too long */
	va_end(ap);
	if (sl_arena_str(&w->tmp, sl_str_from(text), &note->text))
		return -ENOMEM;
	note->reason = reason;
	if (notes->last)
		notes->last->next = note;
	else
		notes->first = note;
	notes->last = note;
	notes->n++;
	return 0;
}

void warn(struct work *w, const struct sl_object *o, struct sl_str field, const char *fmt, ...)
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
	sl_diags_add(&w->report->diags, &diag, "%s", text);
}

static int route_build(struct work *w, struct route_work *rw)
{
	int r = rules_check(w, rw);

	return r ? r : route_attach(w, rw);
}

static int routes_build(struct work *w)
{
	_cleanup_(sl_freep) struct sl_object **routes = NULL;
	size_t n;
	int r = sl_model_list(w->model, SL_KIND_HTTPROUTE, &routes, &n);

	if (r)
		return r;
	w->routes = sl_arena_new_n(&w->tmp, struct route_work, n + 1);
	if (!w->routes)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		w->routes[i].route = (const struct sl_httproute *)routes[i];
		r = route_build(w, &w->routes[i]);
		if (r)
			return r;
	}
	w->n_routes = (uint32_t)n;
	return 0;
}

static void work_deinit(struct work *w)
{
	struct sl_regex *regex;
	size_t pos = 0;

	while ((regex = sl_map_next(&w->regexes, &pos, NULL)))
		(void)sl_regex_unref(regex);
	sl_map_deinit(&w->regexes);
	sl_map_deinit(&w->service_by_key);
	sl_arena_deinit(&w->tmp);
}

static int build(struct work *w)
{
	static int (*const steps[])(struct work *) = {
		services_build, routes_build, tables_build,	frontends_build,
		pods_build,	plan_build,   conditions_build,
	};

	for (size_t i = 0; i < sizeof(steps) / sizeof(*steps); i++) {
		int r = steps[i](w);

		if (r)
			return r;
	}
	return 0;
}

int sl_compile(const struct sl_model *model, const struct sl_compile_opts *opts,
	       struct sl_snapshot **ret, struct sl_compile_report **ret_report)
{
	_cleanup_(sl_snapshot_unrefp) struct sl_snapshot *snap = NULL;
	_cleanup_(sl_compile_report_freep) struct sl_compile_report *report = NULL;
	_cleanup_(work_deinit) struct work w = {
		.model = model, .opts = opts, .tmp = SL_ARENA_INIT(ARENA_BLOCK_BYTES)};
	int r = sl_snapshot_new(&snap);

	if (!r)
		r = report_new(&report);
	if (r)
		return r;
	snap->generation = opts->generation;
	w.snap = snap;
	w.report = report;
	r = build(&w);
	if (r)
		return r;
	*ret = sl_take(snap);
	*ret_report = sl_take(report);
	return 0;
}
