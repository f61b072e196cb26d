/* SPDX-License-Identifier: Apache-2.0 */
#include "conns.h"

#include <errno.h>
#include "base/cleanup.h"
#include "base/map.h"
#include "repeat.h"
#include "view.h"

static int set_rate(json_t *conn, const json_t *before, const char *key, const char *rate_key,
		    uint64_t elapsed_ms)
{
	long long grown = sl_json_number(conn, key) - sl_json_number(before, key);

	return json_object_set_new(conn, rate_key,
				   json_real((double)grown * 1000 / (double)elapsed_ms))
		       ? -ENOMEM
		       : 0;
}

static int set_rates(json_t *conn, const json_t *before, uint64_t elapsed_ms)
{
	int r = set_rate(conn, before, "received", "received_rate", elapsed_ms);

	if (!r)
		r = set_rate(conn, before, "sent", "sent_rate", elapsed_ms);
	return r ? r : set_rate(conn, before, "requests", "requests_rate", elapsed_ms);
}

int sl_conns_rates(const json_t *before, json_t *now, uint64_t elapsed_ms)
{
	_cleanup_(sl_map_deinit) struct sl_map by_id = SL_MAP_INIT;
	json_t *conn;
	int r = 0;
	size_t i;

	if (!elapsed_ms)
		return 0;
	json_array_foreach (json_object_get(before, "connections"), i, conn) {
		const char *id = sl_json_text(conn, "id");

		if (!r && *id)
			r = sl_map_put(&by_id, sl_str_from(id), conn, NULL);
	}
	json_array_foreach (json_object_get(now, "connections"), i, conn) {
		const json_t *old = sl_map_get(&by_id, sl_str_from(sl_json_text(conn, "id")));

		if (!r && old)
			r = set_rates(conn, old, elapsed_ms);
	}
	return r;
}

struct watch {
	const struct sl_ctl_args *args;
	const json_t *question;
	json_t *before;
	uint64_t before_ms;
};

static int sample(void *arg, struct sl_buf *out)
{
	struct watch *w = arg;
	json_t *now = NULL;
	uint64_t now_ms;
	int r;

	if (sl_ctl_ask(w->args, w->question, &now))
		return 1;
	now_ms = sl_ctl_now_ms();
	r = w->before ? sl_conns_rates(w->before, now, now_ms - w->before_ms) : 0;
	json_decref(w->before);
	w->before = now;
	w->before_ms = now_ms;
	if (r)
		return r;
	return w->args->output == SL_CTL_JSON ? sl_json_dump(now, JSON_INDENT(2), out)
					      : sl_view_conns(now, out);
}

int sl_ctl_conns(const struct sl_ctl_args *args)
{
	json_auto_t *question = json_pack("{s:s, s:s*}", "command", "conns", "source", args->from);
	struct watch w = {.args = args, .question = question};
	uint64_t count = args->count || args->watch ? args->count : 1;
	int r;

	if (!question || (args->all && json_object_set_new(question, "limit", json_integer(0))))
		return sl_ctl_write(NULL, -ENOMEM);
	r = sl_ctl_repeat(count, args->interval_ms, sample, &w);
	json_decref(w.before);
	return r;
}
