/* SPDX-License-Identifier: Apache-2.0 */
#include "base/cleanup.h"
#include "facts.h"
#include "human.h"
#include "view.h"

static void counts(struct sl_facts *f, const char *what, json_t *by_reason)
{
	_cleanup_(sl_buf_deinit) struct sl_buf text = SL_BUF_INIT(0);
	const char *reason;
	json_t *n;

	json_object_foreach (by_reason, reason, n) {
		if (!f->error && json_integer_value(n))
			f->error = sl_buf_printf(&text, "%s%s %lld", sl_buf_len(&text) ? ", " : "",
						 reason, json_integer_value(n));
	}
	if (sl_buf_len(&text))
		sl_fact(f, what, "%.*s", SL_STR_ARG(sl_buf_str(&text)));
}

static void datapath(struct sl_facts *f, const json_t *d)
{
	if (strcmp(sl_json_text(d, "state"), "attached") != 0) {
		sl_fact(f, "Datapath", "%s", sl_json_text(d, "state"));
		return;
	}
	sl_fact(f, "Datapath", "attached to %s, on failure %s", sl_json_text(d, "cgroup"),
		sl_json_text(d, "failure_policy"));
	if (json_is_integer(json_object_get(d, "heartbeat_age_ms")))
		sl_fact(f, "Heartbeat", "%lld ms ago", sl_json_number(d, "heartbeat_age_ms"));
	sl_fact(f, "Steered", "%lld", sl_json_number(d, "steered"));
	counts(f, "Not steered", json_object_get(d, "not_steered"));
	counts(f, "UDP", json_object_get(d, "udp"));
	counts(f, "TCP by the kernel", json_object_get(d, "tcp_by_kernel"));
}

static void splice(struct sl_facts *f, const json_t *s)
{
	if (!json_is_object(s))
		return; /* an older agent */
	if (strcmp(sl_json_text(s, "state"), "on") != 0) {
		sl_fact(f, "Splicing", "off: %s", sl_json_text(s, "why"));
		return;
	}
	sl_fact(f, "Splicing", "%lld active, %lld total, detector %s", sl_json_number(s, "active"),
		sl_json_number(s, "total"), sl_json_text(s, "detector"));
	counts(f, "Back to TCP", json_object_get(s, "left"));
	counts(f, "Never spliced", json_object_get(s, "never"));
}

static void facts(struct sl_facts *f, const json_t *answer)
{
	const json_t *config = json_object_get(answer, "config");
	const json_t *conns = json_object_get(answer, "connections");
	const char *loaded = sl_json_text(config, "loaded_at");
	char up[SL_HUMAN_TEXT];

	sl_fact(f, "Agent", "%s, pid %lld, up %s", sl_json_text(answer, "version"),
		sl_json_number(answer, "pid"),
		sl_human_seconds(up, (uint64_t)sl_json_number(answer, "uptime_seconds")));
	sl_fact(f, "Workers", "%lld", sl_json_number(answer, "workers"));
	sl_fact(f, "Configuration", "generation %lld, %lld objects from %s%s%s",
		sl_json_number(config, "generation"), sl_json_number(config, "objects"),
		sl_json_text(config, "source"), *loaded ? ", loaded " : "", loaded);
	sl_fact(f, "Connections", "%lld active, %lld total", sl_json_number(conns, "active"),
		sl_json_number(conns, "total"));
	datapath(f, json_object_get(answer, "datapath"));
	splice(f, json_object_get(answer, "splice"));
	sl_fact(f, "Network namespaces", "%lld", sl_json_number(answer, "netns"));
}

static void problem_rows(struct sl_table *t, const char *level, const json_t *problems)
{
	const json_t *p;
	size_t i;

	json_array_foreach (problems, i, p) {
		const char *file = sl_json_text(p, "file");
		long long line = sl_json_number(p, "line");

		sl_table_add(t, level);
		if (*file && line)
			sl_table_printf(t, "%s:%lld", file, line);
		else
			sl_table_add(t, file);
		sl_table_add(t, sl_json_text(p, "object"));
		sl_table_add(t, sl_json_text(p, "field"));
		sl_table_add(t, sl_json_text(p, "message"));
	}
}

static int problems(const json_t *config, struct sl_buf *out)
{
	static const char *const titles[] = {"LEVEL", "FILE", "OBJECT", "FIELD", "MESSAGE"};
	_cleanup_(sl_table_deinit) struct sl_table t = SL_TABLE_INIT(titles);
	int r;

	problem_rows(&t, "error", json_object_get(config, "errors"));
	problem_rows(&t, "warning", json_object_get(config, "warnings"));
	if (!t.n_cells && !t.error)
		return 0;
	r = sl_buf_append(out, "\n", 1);
	return r ? r : sl_table_render(&t, "", out);
}

int sl_view_status(const json_t *answer, struct sl_buf *out)
{
	struct sl_facts f = {.out = out};
	int r;

	facts(&f, answer);
	r = f.error;
	if (!r)
		r = problems(json_object_get(answer, "config"), out);
	if (!r)
		r = sl_buf_append(out, "\n", 1);
	return r ? r : sl_view_routes(answer, out);
}

int sl_view_serving(const json_t *answer, struct sl_buf *out)
{
	const char *pod = sl_json_text(answer, "pod");

	return sl_buf_printf(out, "pid %lld%s%s\n", sl_json_number(answer, "pid"),
			     *pod ? " of Pod " : "", pod);
}

bool sl_serving_is_mine(const json_t *answer)
{
	const char *pod = getenv("POD_NAME");

	return !pod || strcmp(pod, sl_json_text(answer, "pod")) == 0;
}
