/* SPDX-License-Identifier: Apache-2.0 */
#include "validate.h"

#include <errno.h>
#include <time.h>
#include "args.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "compile/compile.h"
#include "source/folder.h"
#include "status/status.h"

SL_DEFINE_CLEANUP(struct sl_compile_report *, sl_compile_report_free)
SL_DEFINE_CLEANUP(struct sl_status *, sl_status_free)

static json_t *text(struct sl_str s)
{
	json_t *j = json_stringn(s.ptr ? s.ptr : "", s.len);

	return j ? j : json_string("?"); /* a file's name need not be UTF-8 */
}

static json_t *problem_json(const struct sl_diag *d)
{
	return json_pack("{s:o, s:i, s:o, s:o, s:o}", "file", text(d->file), "line", (int)d->line,
			 "object", text(d->object), "field", text(d->field), "message",
			 text(d->message));
}

static int add_problems(json_t *answer, const struct sl_diags *diags)
{
	json_t *errors = json_object_get(answer, "errors");
	json_t *warnings = json_object_get(answer, "warnings");
	int r = 0;

	for (size_t i = 0; i < diags->n && !r; i++) {
		bool error = diags->items[i].severity == SL_SEVERITY_ERROR;

		r = json_array_append_new(error ? errors : warnings,
					  problem_json(&diags->items[i]));
	}
	if (!r && diags->n_dropped)
		r = json_array_append_new(
			errors, json_pack("{s:s}", "message", "there are more problems than fit"));
	return r ? -ENOMEM : 0;
}

/* Two runs over the same folder give the same text. */
static void forget_times(json_t *routes)
{
	json_t *route, *parent, *condition;
	size_t i, k, n;

	json_array_foreach (routes, i, route) {
		json_array_foreach (json_object_get(route, "parents"), k, parent) {
			json_array_foreach (json_object_get(parent, "conditions"), n, condition)
				(void)json_object_del(condition, "lastTransitionTime");
		}
	}
}

static int add_routes(json_t *answer, const struct sl_compile_report *report)
{
	_cleanup_(sl_status_freep) struct sl_status *status = NULL;
	json_auto_t *all = NULL;
	int r = sl_status_new(&status);

	if (!r)
		r = sl_status_update(status, report, 0);
	if (!r)
		r = sl_status_json(status, &all);
	if (r)
		return r;
	forget_times(json_object_get(all, "routes"));
	return json_object_set(answer, "routes", json_object_get(all, "routes")) ? -ENOMEM : 0;
}

static int check_model(const struct sl_model *model, json_t *answer)
{
	_cleanup_(sl_compile_report_freep) struct sl_compile_report *report = NULL;
	_cleanup_(sl_snapshot_unrefp) struct sl_snapshot *snap = NULL;
	struct sl_compile_opts opts = {
		.failure_policy = SL_FAIL_OPEN, .generation = 1, .now_s = time(NULL)};
	int r = sl_compile(model, &opts, &snap, &report);

	if (!r)
		r = add_problems(answer, &report->diags);
	return r ? r : add_routes(answer, report);
}

int sl_validate_folder(const char *folder, json_t **ret)
{
	_cleanup_(sl_model_freep) struct sl_model *model = NULL;
	_cleanup_(sl_diags_deinit) struct sl_diags diags = SL_DIAGS_INIT;
	struct sl_config_report report;
	json_auto_t *answer = NULL;
	int r = sl_folder_load(folder, &model, &diags, &report);

	if (r)
		return r;
	answer = json_pack("{s:s, s:I, s:I, s:[], s:[]}", "folder", folder, "files",
			   (json_int_t)report.n_files, "documents", (json_int_t)report.n_documents,
			   "errors", "warnings");
	if (!answer)
		return -ENOMEM;
	r = add_problems(answer, &diags);
	if (!r)
		r = check_model(model, answer);
	if (r)
		return r;
	*ret = sl_take(answer);
	return 0;
}

int sl_ctl_validate(const struct sl_ctl_args *args)
{
	json_auto_t *answer = NULL;
	int r;

	if (!args->n_words)
		return sl_ctl_usage("a folder is missing", NULL);
	sl_log_level = SL_LOG_ERROR; /* what is wrong is in the answer */
	r = sl_validate_folder(args->words[0], &answer);
	if (r) {
		fprintf(stderr, "sluicectl: cannot load folder %s: %s\n", args->words[0],
			sl_strerror(r));
		return EXIT_FAILURE;
	}
	return sl_ctl_show(args, answer);
}
