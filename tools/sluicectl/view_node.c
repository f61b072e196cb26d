/* SPDX-License-Identifier: Apache-2.0 */
/* What is about the node and the agent itself: check, netns, metrics, version. */
#include "base/cleanup.h"
#include "view.h"

static bool is_ok(const json_t *check)
{
	return json_is_true(json_object_get(check, "ok"));
}

static bool is_required(const json_t *check)
{
	return json_is_true(json_object_get(check, "required"));
}

bool sl_check_passed(const json_t *answer)
{
	const json_t *c;
	size_t i;

	json_array_foreach (json_object_get(answer, "checks"), i, c) {
		if (is_required(c) && !is_ok(c))
			return false;
	}
	return true;
}

int sl_view_check(const json_t *answer, struct sl_buf *out)
{
	static const char *const titles[] = {"CHECK", "RESULT", "REQUIRED", "MESSAGE"};
	_cleanup_(sl_table_deinit) struct sl_table t = SL_TABLE_INIT(titles);
	const json_t *c;
	size_t i;

	json_array_foreach (json_object_get(answer, "checks"), i, c) {
		sl_table_add(&t, sl_json_text(c, "name"));
		sl_table_add(&t, is_ok(c) ? "ok" : is_required(c) ? "FAILED" : "missing");
		sl_table_add(&t, is_required(c) ? "yes" : "no");
		sl_table_add(&t, sl_json_text(c, "message"));
	}
	return sl_table_render(&t, "no checks", out);
}

int sl_view_netns(const json_t *answer, struct sl_buf *out)
{
	static const char *const titles[] = {"COOKIE",	  "NAME",      "POD",
					     "ADDRESSES", "LISTENERS", "STATE"};
	_cleanup_(sl_table_deinit) struct sl_table t = SL_TABLE_INIT(titles);
	const json_t *n;
	size_t i;

	json_array_foreach (json_object_get(answer, "netns"), i, n) {
		sl_json_number_cell(&t, n, "cookie");
		sl_table_add(&t, sl_json_text(n, "name"));
		sl_table_add(&t, sl_json_text(n, "pod"));
		sl_json_list_cell(&t, json_object_get(n, "addresses"));
		sl_json_list_cell(&t, json_object_get(n, "listeners"));
		sl_table_add(&t, sl_json_text(n, "state"));
	}
	return sl_table_render(&t, "no network namespaces", out);
}

int sl_view_metrics(const json_t *answer, struct sl_buf *out)
{
	return sl_buf_append_str(out, sl_str_from(sl_json_text(answer, "text")));
}

int sl_view_version(const json_t *answer, struct sl_buf *out)
{
	int r = sl_buf_printf(out, "sluicectl %s\nagent ", SL_VERSION);

	if (!r)
		r = sl_text_append(out, sl_json_text(answer, "version"));
	return r ? r : sl_buf_append(out, "\n", 1);
}
