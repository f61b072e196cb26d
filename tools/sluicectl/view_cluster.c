/* SPDX-License-Identifier: Apache-2.0 */
/* What all nodes answer. */
#include "base/cleanup.h"
#include "view.h"

static const char *state_of(const json_t *node)
{
	const char *error = sl_json_text(node, "error");

	return *error					      ? error
	       : json_is_true(json_object_get(node, "ready")) ? "ready"
							      : "not ready";
}

bool sl_nodes_answered(const json_t *answer)
{
	const json_t *n;
	size_t i;

	json_array_foreach (json_object_get(answer, "nodes"), i, n) {
		if (*sl_json_text(n, "error"))
			return false;
	}
	return true;
}

bool sl_nodes_passed(const json_t *answer)
{
	const json_t *n;
	size_t i;

	json_array_foreach (json_object_get(answer, "nodes"), i, n) {
		if (!sl_check_passed(json_object_get(n, "answer")))
			return false;
	}
	return sl_nodes_answered(answer);
}

int sl_view_nodes_status(const json_t *answer, struct sl_buf *out)
{
	static const char *const titles[] = {"NODE",	"POD",	    "VERSION", "GENERATION",
					     "ROUTES",	"ERRORS",   "NETNS",   "CONNECTIONS",
					     "STEERED", "DATAPATH", "STATE"};
	_cleanup_(sl_table_deinit) struct sl_table t = SL_TABLE_INIT(titles);
	const json_t *n;
	size_t i;

	json_array_foreach (json_object_get(answer, "nodes"), i, n) {
		const json_t *a = json_object_get(n, "answer");
		const json_t *config = json_object_get(a, "config");
		const json_t *datapath = json_object_get(a, "datapath");

		sl_table_add(&t, sl_json_text(n, "node"));
		sl_table_add(&t, sl_json_text(n, "pod"));
		sl_table_add(&t, sl_json_text(a, "version"));
		sl_json_number_cell(&t, config, "generation");
		if (a)
			sl_table_printf(&t, "%zu", json_array_size(json_object_get(a, "routes")));
		else
			sl_table_add(&t, NULL);
		if (a)
			sl_table_printf(&t, "%zu",
					json_array_size(json_object_get(config, "errors")));
		else
			sl_table_add(&t, NULL);
		sl_json_number_cell(&t, a, "netns");
		sl_json_number_cell(&t, json_object_get(a, "connections"), "active");
		sl_json_number_cell(&t, datapath, "steered");
		sl_table_add(&t, sl_json_text(datapath, "state"));
		sl_table_add(&t, state_of(n));
	}
	return sl_table_render(&t, "no agents", out);
}

int sl_view_nodes_version(const json_t *answer, struct sl_buf *out)
{
	static const char *const titles[] = {"NODE", "POD", "VERSION", "STATE"};
	_cleanup_(sl_table_deinit) struct sl_table t = SL_TABLE_INIT(titles);
	const json_t *n;
	size_t i;

	json_array_foreach (json_object_get(answer, "nodes"), i, n) {
		sl_table_add(&t, sl_json_text(n, "node"));
		sl_table_add(&t, sl_json_text(n, "pod"));
		sl_table_add(&t, sl_json_text(json_object_get(n, "answer"), "version"));
		sl_table_add(&t, state_of(n));
	}
	return sl_table_render(&t, "no agents", out);
}

/* Only what is not as it should be, and a line for a node where all is. */
int sl_view_nodes_check(const json_t *answer, struct sl_buf *out)
{
	static const char *const titles[] = {"NODE", "CHECK", "RESULT", "MESSAGE"};
	_cleanup_(sl_table_deinit) struct sl_table t = SL_TABLE_INIT(titles);
	const json_t *n, *c;
	size_t i, k;

	json_array_foreach (json_object_get(answer, "nodes"), i, n) {
		const json_t *checks = json_object_get(json_object_get(n, "answer"), "checks");
		const char *error = sl_json_text(n, "error");
		size_t n_bad = 0;

		json_array_foreach (checks, k, c) {
			if (json_is_true(json_object_get(c, "ok")))
				continue;
			n_bad++;
			sl_table_add(&t, sl_json_text(n, "node"));
			sl_table_add(&t, sl_json_text(c, "name"));
			sl_table_add(&t, json_is_true(json_object_get(c, "required")) ? "FAILED"
										      : "missing");
			sl_table_add(&t, sl_json_text(c, "message"));
		}
		if (n_bad)
			continue;
		sl_table_add(&t, sl_json_text(n, "node"));
		if (*error)
			sl_table_add(&t, NULL);
		else
			sl_table_printf(&t, "all %zu", json_array_size(checks));
		sl_table_add(&t, *error ? "FAILED" : "ok");
		sl_table_add(&t, error);
	}
	return sl_table_render(&t, "no agents", out);
}
