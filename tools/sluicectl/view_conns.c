/* SPDX-License-Identifier: Apache-2.0 */
#include "base/cleanup.h"
#include "human.h"
#include "view.h"

static void bytes_cell(struct sl_table *t, const json_t *conn, const char *key)
{
	const json_t *j = json_object_get(conn, key);
	char text[SL_HUMAN_TEXT];

	sl_table_add(t, json_is_number(j) ? sl_human_bytes(text, json_number_value(j)) : NULL);
}

static void rates_cell(struct sl_table *t, const json_t *conn)
{
	const json_t *in = json_object_get(conn, "received_rate");
	const json_t *out = json_object_get(conn, "sent_rate");
	char a[SL_HUMAN_TEXT], b[SL_HUMAN_TEXT];

	if (!json_is_number(in) || !json_is_number(out)) {
		sl_table_add(t, NULL);
		return;
	}
	sl_table_printf(t, "%s/%s", sl_human_bytes(a, json_number_value(in)),
			sl_human_bytes(b, json_number_value(out)));
}

static void request_cell(struct sl_table *t, const json_t *conn)
{
	const char *method = sl_json_text(conn, "method");

	if (*method)
		sl_table_printf(t, "%s %s", method, sl_json_text(conn, "path"));
	else
		sl_table_add(t, NULL);
}

/* "spliced", "candidate", "leaving", "left:length", "no:blocking"; "" when nothing is decided. */
static const char *splice_text(const json_t *conn, const char *key, const char *why_key,
			       char text[64])
{
	const char *state = sl_json_text(conn, key), *why = sl_json_text(conn, why_key);

	if (!*why)
		return !strcmp(state, "plain") ? "" : state;
	(void)snprintf(text, 64, "%s:%s", !strcmp(state, "plain") ? "no" : state, why);
	return text;
}

/* Client's side, and if there is one the endpoint's. */
static void splice_cell(struct sl_table *t, const json_t *conn)
{
	char a[64], b[64];
	const char *client = splice_text(conn, "splice", "splice_why", a);
	const char *endpoint = splice_text(conn, "endpoint_splice", "endpoint_splice_why", b);

	if (*endpoint)
		sl_table_printf(t, "%s/%s", *client ? client : "-", endpoint);
	else
		sl_table_add(t, client);
}

static void row(struct sl_table *t, const json_t *c)
{
	char age[SL_HUMAN_TEXT];

	sl_table_add(t, sl_json_text(c, "pod"));
	sl_table_add(t, sl_json_text(c, "client"));
	sl_table_add(t, sl_json_text(c, "service"));
	sl_table_add(t, sl_json_text(c, "state"));
	sl_table_add(t, sl_json_text(c, "protocol"));
	request_cell(t, c);
	sl_table_add(t, sl_json_text(c, "endpoint"));
	splice_cell(t, c);
	sl_json_number_cell(t, c, "requests");
	bytes_cell(t, c, "received");
	bytes_cell(t, c, "sent");
	rates_cell(t, c);
	sl_table_add(t, sl_human_seconds(age, (uint64_t)sl_json_number(c, "age_ms") / 1000));
}

int sl_view_conns(const json_t *answer, struct sl_buf *out)
{
	static const char *const titles[] = {
		"POD",	  "CLIENT",   "SERVICE",  "STATE", "PROTOCOL",	   "REQUEST", "ENDPOINT",
		"SPLICE", "REQUESTS", "RECEIVED", "SENT",  "IN/OUT-PER-S", "AGE"};
	_cleanup_(sl_table_deinit) struct sl_table t = SL_TABLE_INIT(titles);
	const json_t *conns = json_object_get(answer, "connections"), *c;
	long long n_missing = sl_json_number(answer, "workers_missing");
	int r;
	size_t i;

	json_array_foreach (conns, i, c)
		row(&t, c);
	r = sl_table_render(&t, "no connections", out);
	if (!r && json_is_true(json_object_get(answer, "left_out")))
		r = sl_buf_printf(out, "%zu of %lld shown, --all shows all\n",
				  json_array_size(conns), sl_json_number(answer, "total"));
	if (!r && n_missing)
		r = sl_buf_printf(out, "%lld workers did not answer in time\n", n_missing);
	return r;
}
