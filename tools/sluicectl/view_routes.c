/* SPDX-License-Identifier: Apache-2.0 */
#include "base/cleanup.h"
#include "view.h"

/* PartiallyInvalid should not be True, and any other should. */
bool sl_condition_is_fine(const json_t *c)
{
	bool wants_true = strcmp(sl_json_text(c, "type"), "PartiallyInvalid") != 0;

	return (strcmp(sl_json_text(c, "status"), "True") == 0) == wants_true;
}

static const json_t *find_condition(const json_t *conditions, const char *type)
{
	const json_t *c;
	size_t i;

	json_array_foreach (conditions, i, c) {
		if (strcmp(sl_json_text(c, "type"), type) == 0)
			return c;
	}
	return NULL;
}

static void parent_cell(struct sl_table *t, const json_t *route, const json_t *parent)
{
	const json_t *ref = json_object_get(parent, "parentRef");
	const char *kind = sl_json_text(ref, "kind"), *namespace = sl_json_text(ref, "namespace");
	long long port = sl_json_number(ref, "port");

	if (port)
		sl_table_printf(t, "%s/%s/%s:%lld", *kind ? kind : "Service",
				*namespace ? namespace : sl_json_text(route, "namespace"),
				sl_json_text(ref, "name"), port);
	else
		sl_table_printf(t, "%s/%s/%s", *kind ? kind : "Service",
				*namespace ? namespace : sl_json_text(route, "namespace"),
				sl_json_text(ref, "name"));
}

/* What is wrong: reason and message of each condition that is not as it should be. */
static void problem_cell(struct sl_table *t, const json_t *conditions)
{
	_cleanup_(sl_buf_deinit) struct sl_buf text = SL_BUF_INIT(0);
	const json_t *c;
	int r = 0;
	size_t i;

	json_array_foreach (conditions, i, c) {
		const char *message = sl_json_text(c, "message");

		if (r || sl_condition_is_fine(c))
			continue;
		r = sl_buf_printf(&text, "%s%s%s%s", sl_buf_len(&text) ? "; " : "",
				  sl_json_text(c, "reason"), *message ? ": " : "", message);
	}
	if (!r)
		r = sl_buf_append(&text, "", 1);
	if (r && !t->error)
		t->error = r;
	sl_table_add(t, r ? NULL : sl_buf_ptr(&text));
}

static void shadow_cell(struct sl_table *t, const json_t *shadow)
{
	if (shadow)
		sl_table_printf(
			t, "takes %lld of %lld, %lld differ", sl_json_number(shadow, "matched"),
			sl_json_number(shadow, "evaluated"), sl_json_number(shadow, "differs"));
	else
		sl_table_add(t, NULL);
}

static void row(struct sl_table *t, const json_t *route, const json_t *parent)
{
	const json_t *conditions = json_object_get(parent, "conditions");

	sl_table_printf(t, "%s/%s/%s", sl_json_text(route, "kind"),
			sl_json_text(route, "namespace"), sl_json_text(route, "name"));
	if (parent)
		parent_cell(t, route, parent);
	else
		sl_table_add(t, NULL);
	sl_table_add(t, sl_json_text(find_condition(conditions, "Accepted"), "status"));
	sl_table_add(t, sl_json_text(find_condition(conditions, "ResolvedRefs"), "status"));
	if (json_object_get(route, "rules"))
		sl_table_printf(t, "%zu", json_array_size(json_object_get(route, "rules")));
	else
		sl_table_add(t, NULL);
	sl_json_number_cell(t, route, "requests");
	shadow_cell(t, json_object_get(route, "shadow"));
	problem_cell(t, conditions);
}

int sl_view_routes(const json_t *answer, struct sl_buf *out)
{
	static const char *const titles[] = {"ROUTE", "PARENT",	  "ACCEPTED", "RESOLVEDREFS",
					     "RULES", "REQUESTS", "SHADOW",   "PROBLEM"};
	_cleanup_(sl_table_deinit) struct sl_table t = SL_TABLE_INIT(titles);
	const json_t *route, *parent;
	size_t i, k;

	json_array_foreach (json_object_get(answer, "routes"), i, route) {
		const json_t *parents = json_object_get(route, "parents");

		if (!json_array_size(parents))
			row(&t, route, NULL);
		json_array_foreach (parents, k, parent)
			row(&t, route, parent);
	}
	return sl_table_render(&t, "no routes", out);
}
