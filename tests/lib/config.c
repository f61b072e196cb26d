/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include "compile/compile.h"
#include "resource/decode.h"
#include "source/yaml.h"

static void diags_deinitp(struct sl_diags *d)
{
	for (size_t i = 0; i < d->n; i++)
		fprintf(stderr, "# %.*s %.*s: %.*s\n", SL_STR_ARG(d->items[i].object),
			SL_STR_ARG(d->items[i].field), SL_STR_ARG(d->items[i].message));
	sl_diags_deinit(d);
}

static int put_object(struct sl_model *model, struct sl_yaml_doc *doc)
{
	_cleanup_(diags_deinitp) struct sl_diags diags = SL_DIAGS_INIT;
	struct sl_decode_opts opts = {.line_of = sl_yaml_doc_line, .line_arg = doc};
	struct sl_object *object = NULL;
	struct sl_str key;
	int r = sl_decode_object(sl_yaml_doc_root(doc), &opts, &diags, &object, &key);

	if (!r)
		r = sl_model_put(model, object);
	sl_object_unref(object);
	return r > 0 ? -EINVAL : r;
}

static int read_objects(struct sl_model *model, const char *text)
{
	_cleanup_(sl_yaml_freep) struct sl_yaml *yaml = NULL;
	struct sl_yaml_error err;
	int r = sl_yaml_new(sl_str_from(text), &yaml);

	while (!r) {
		struct sl_yaml_doc *doc = NULL;

		r = sl_yaml_next(yaml, &doc, &err);
		if (!r)
			r = put_object(model, doc);
		sl_yaml_doc_free(doc);
	}
	if (r == SL_YAML_BAD)
		fprintf(stderr, "# line %u: %s\n", err.line, err.message);
	return r == SL_YAML_END ? 0 : r > 0 ? -EINVAL : r;
}

int config_compile(const char *yaml, uint64_t generation, struct sl_snapshot **ret)
{
	_cleanup_(sl_model_freep) struct sl_model *model = NULL;
	const struct sl_compile_opts opts = {.failure_policy = SL_FAIL_OPEN,
					     .generation = generation};
	struct sl_compile_report *report = NULL;
	int r = sl_model_new(&model);

	if (!r)
		r = read_objects(model, yaml);
	if (!r)
		r = sl_compile(model, &opts, ret, &report);
	(void)sl_compile_report_free(report); /* always NULL */
	return r;
}
