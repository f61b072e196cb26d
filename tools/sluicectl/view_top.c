/* SPDX-License-Identifier: Apache-2.0 */
#include <sys/ioctl.h>
#include "args.h"
#include "base/cleanup.h"
#include "human.h"
#include "repeat.h"
#include "top.h"
#include "view.h"

static double real(const json_t *object, const char *key)
{
	return json_number_value(json_object_get(object, key));
}

static void latency_cell(struct sl_table *t, const json_t *row, const char *key)
{
	char text[SL_HUMAN_TEXT];

	if (json_is_number(json_object_get(row, key)))
		sl_table_add(t, sl_human_latency(text, real(row, key) / 1000));
	else
		sl_table_add(t, NULL);
}

int sl_top_view(const json_t *answer, size_t max_rows, struct sl_buf *out)
{
	static const char *const titles[] = {"REQUESTS/S", "ERRORS/S", "P50",
					     "P99",	   "SERVICE",  "ROUTE"};
	_cleanup_(sl_table_deinit) struct sl_table t = SL_TABLE_INIT(titles);
	const json_t *rows = json_object_get(answer, "rows"), *row;
	size_t i, n_left_out = 0;
	int r;

	json_array_foreach (rows, i, row) {
		if (max_rows && i >= max_rows) {
			n_left_out++;
			continue;
		}
		sl_table_printf(&t, "%.1f", real(row, "requests_rate"));
		sl_table_printf(&t, "%.1f", real(row, "errors_rate"));
		latency_cell(&t, row, "p50_ms");
		latency_cell(&t, row, "p99_ms");
		sl_table_add(&t, sl_json_text(row, "service"));
		sl_table_add(&t, sl_json_text(row, "route"));
	}
	r = sl_buf_printf(out,
			  "%.1f requests/s, %.1f errors/s, %.0f under way, %.0f connections, "
			  "%.0f spliced\n\n",
			  real(answer, "requests_rate"), real(answer, "errors_rate"),
			  real(answer, "requests_active"), real(answer, "connections"),
			  real(answer, "spliced"));
	if (!r)
		r = sl_table_render(&t, "no requests yet", out);
	if (!r && n_left_out)
		r = sl_buf_printf(out, "and %zu more\n", n_left_out);
	return r;
}

/* ---- the command ---- */

struct top {
	const struct sl_ctl_args *args;
	struct sl_top_sample before;
	uint64_t before_ms;
	bool has_before;
};

/* Returns 0, -ENOMEM, or 1 when it has said why not. */
static int take_sample(const struct sl_ctl_args *args, struct sl_top_sample *ret, uint64_t *ret_ms)
{
	json_auto_t *question = json_pack("{s:s}", "command", "metrics");
	json_auto_t *answer = NULL;

	if (sl_ctl_ask(args, question, &answer))
		return 1;
	*ret_ms = sl_ctl_now_ms();
	return sl_top_read(sl_str_from(sl_json_text(answer, "text")), ret);
}

/* Rows that fit below the title and its empty line; 0: not a terminal. */
static size_t screen_rows(void)
{
	enum { OTHER_LINES = 5 };
	struct winsize w;

	if (!isatty(STDOUT_FILENO) || ioctl(STDOUT_FILENO, TIOCGWINSZ, &w))
		return 0;
	return w.ws_row > OTHER_LINES ? w.ws_row - OTHER_LINES : 1;
}

static int picture(void *arg, struct sl_buf *out)
{
	struct top *t = arg;
	struct sl_top_sample now;
	json_auto_t *answer = NULL;
	uint64_t now_ms;
	int r;

	/* Rates need a sample to begin with. */
	if (!t->has_before) {
		r = take_sample(t->args, &t->before, &t->before_ms);
		if (r)
			return r;
		t->has_before = true;
		sl_ctl_wait(t->args->interval_ms);
	}
	r = take_sample(t->args, &now, &now_ms);
	if (r)
		return r;
	r = sl_top_compare(&t->before, &now, now_ms - t->before_ms, &answer);
	sl_top_deinit(&t->before);
	t->before = now;
	t->before_ms = now_ms;
	if (r)
		return r;
	if (t->args->output == SL_CTL_JSON)
		return sl_json_dump(answer, JSON_INDENT(2) | JSON_REAL_PRECISION(6), out);
	return sl_top_view(answer, screen_rows(), out);
}

int sl_ctl_top(const struct sl_ctl_args *args)
{
	struct top t = {.args = args};
	int r = sl_ctl_repeat(args->count, args->interval_ms, picture, &t);

	if (t.has_before)
		sl_top_deinit(&t.before);
	return r;
}
