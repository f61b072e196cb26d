/* SPDX-License-Identifier: Apache-2.0 */
#include "base/cleanup.h"
#include "facts.h"
#include "view.h"

static void from(struct sl_facts *f, const json_t *answer)
{
	const char *namespace = sl_json_text(answer, "namespace");
	const char *pod = sl_json_text(answer, "pod"), *note = sl_json_text(answer, "note");

	if (*pod)
		sl_fact(f, "From", "Pod %s/%s", namespace, pod);
	else if (*namespace)
		sl_fact(f, "From", "a client in namespace %s", namespace);
	else
		sl_fact(f, "From", "a client that the agent does not know");
	if (*note)
		sl_fact(f, "", "%s", note);
}

static void request(struct sl_facts *f, const json_t *answer)
{
	const json_t *r = json_object_get(answer, "request");
	const char *target = sl_json_text(r, "target"), *path = sl_json_text(r, "path");
	const char *service = sl_json_text(answer, "service");
	const char *address = sl_json_text(answer, "address");

	if (r) {
		sl_fact(f, "Request", "%s %s, Host %s", sl_json_text(r, "method"), target,
			sl_json_text(r, "authority"));
		if (strncmp(target, path, strlen(path)) != 0)
			sl_fact(f, "", "matched as %s", path);
	}
	sl_fact(f, "Service", "%s%s%s%s", service, *service && *address ? " at " : "", address,
		*service ? "" : " (no Service)");
}

static void table(struct sl_facts *f, const json_t *answer)
{
	const char *name = sl_json_text(answer, "table");

	if (strcmp(name, "consumer") == 0)
		sl_fact(f, "Rules", "consumer routes of namespace %s",
			sl_json_text(answer, "namespace"));
	else if (strcmp(name, "producer") == 0)
		sl_fact(f, "Rules", "producer routes, of the Service's own namespace");
	else
		sl_fact(f, "Rules", "none");
}

static void list(struct sl_facts *f, const char *name, const json_t *items)
{
	const json_t *item;
	size_t i;

	json_array_foreach (items, i, item)
		sl_fact(f, i ? "" : name, "%s",
			json_is_string(item) ? json_string_value(item) : "");
}

static void rule(struct sl_facts *f, const json_t *answer)
{
	const json_t *r = json_object_get(answer, "rule");
	long long request_ms = sl_json_number(r, "request_timeout_ms");
	long long backend_ms = sl_json_number(r, "backend_request_timeout_ms");

	if (!r)
		return;
	sl_fact(f, "Taken by", "%s, rule %s", sl_json_text(r, "route"), sl_json_text(r, "name"));
	list(f, "Filters", json_object_get(r, "filters"));
	if (request_ms)
		sl_fact(f, "Timeouts", "request %lld ms", request_ms);
	if (backend_ms)
		sl_fact(f, request_ms ? "" : "Timeouts", "backendRequest %lld ms", backend_ms);
}

static void result(struct sl_facts *f, const json_t *answer)
{
	const json_t *r = json_object_get(answer, "result");
	const char *kind = sl_json_text(r, "kind"), *reason = sl_json_text(r, "reason");
	const char *grpc = sl_json_text(r, "grpc_status");

	if (strcmp(kind, "pass_through") == 0)
		sl_fact(f, "Result", "passes through: %s", reason);
	else if (strcmp(kind, "redirect") == 0)
		sl_fact(f, "Result", "answered with %lld, Location %s", sl_json_number(r, "status"),
			sl_json_text(r, "location"));
	else if (strcmp(kind, "connection") == 0)
		sl_fact(f, "Result", "the connection goes to a backend as it is");
	else if (strcmp(kind, "refused") == 0)
		sl_fact(f, "Result", "the connection is refused: %s", reason);
	else if (strcmp(kind, "backends") == 0)
		sl_fact(f, "Result", "sent as %s, Host %s", sl_json_text(r, "path"),
			sl_json_text(r, "authority"));
	else
		sl_fact(f, "Result", "answered with %lld%s%s: %s", sl_json_number(r, "status"),
			*grpc ? ", gRPC " : "", grpc, reason);
}

static void logged(struct sl_facts *f, const json_t *record)
{
	const char *route = sl_json_text(record, "route");
	const char *backend = sl_json_text(record, "backend");

	if (!record)
		return;
	sl_fact(f, "Logged", "%lld (%s)%s%s%s%s%s%s", sl_json_number(record, "status"),
		sl_json_text(record, "end_reason"), *route ? ", " : "", route,
		*route ? ", rule " : "", sl_json_text(record, "rule"), *backend ? ", backend " : "",
		backend);
	sl_fact(f, "", "at %s; of its headers the log has only Host and User-Agent",
		sl_json_text(record, "time"));
}

static void sent_cell(struct sl_table *t, const json_t *backend)
{
	long long status = sl_json_number(backend, "status");
	const char *location = sl_json_text(backend, "location");

	if (json_is_true(json_object_get(backend, "refused")))
		sl_table_add(t, json_is_true(json_object_get(backend, "resolved"))
					? "refused: no ready endpoint"
					: "refused: the reference is not resolved");
	else if (!sl_json_text(backend, "path")[0] && !status && !*location)
		sl_table_add(t, "bytes");
	else if (!json_is_true(json_object_get(backend, "resolved")))
		sl_table_printf(t, "%lld: the reference is not resolved", status);
	else if (*location)
		sl_table_printf(t, "%lld, Location %s", status, location);
	else if (status)
		sl_table_printf(t, "%lld: no ready endpoint", status);
	else
		sl_table_printf(t, "%s, Host %s", sl_json_text(backend, "path"),
				sl_json_text(backend, "authority"));
}

static int backends(const json_t *answer, struct sl_buf *out)
{
	static const char *const titles[] = {"BACKEND", "WEIGHT",  "SHARE",    "READY",
					     "SENT-AS", "FILTERS", "ADDRESSES"};
	_cleanup_(sl_table_deinit) struct sl_table t = SL_TABLE_INIT(titles);
	const json_t *b;
	size_t i;
	int r;

	json_array_foreach (json_object_get(answer, "backends"), i, b) {
		sl_table_add(&t, sl_json_text(b, "name"));
		sl_json_number_cell(&t, b, "weight");
		sl_table_printf(&t, "%.1f%%", 100 * json_number_value(json_object_get(b, "share")));
		sl_table_printf(&t, "%lld/%lld", sl_json_number(b, "ready"),
				sl_json_number(b, "endpoints"));
		sent_cell(&t, b);
		sl_json_list_cell(&t, json_object_get(b, "filters"));
		sl_json_list_cell(&t, json_object_get(b, "addresses"));
	}
	if (!t.n_cells && !t.error)
		return 0;
	r = sl_buf_append(out, "\n", 1);
	return r ? r : sl_table_render(&t, "", out);
}

static void verdict_cell(struct sl_table *t, const json_t *step)
{
	const char *verdict = sl_json_text(step, "verdict");
	const char *condition = sl_json_text(step, "condition");
	const json_t *have = json_object_get(step, "have");
	const char *limit =
		json_is_true(json_object_get(step, "limit")) ? " (the pattern took too long)" : "";

	if (strcmp(verdict, "takes") == 0)
		sl_table_add(t, "takes the request");
	else if (strcmp(verdict, "later") == 0)
		sl_table_add(t, "fits too, comes later");
	else if (!*condition)
		sl_table_printf(t, "%s differs%s", verdict, limit);
	else if (json_is_string(have))
		sl_table_printf(t, "%s: it is \"%s\"%s", condition, json_string_value(have), limit);
	else
		sl_table_printf(t, "%s: there is none", condition);
}

static int steps(const json_t *answer, struct sl_buf *out)
{
	static const char *const titles[] = {"ROUTE", "RULE", "MATCH", "VERDICT"};
	_cleanup_(sl_table_deinit) struct sl_table t = SL_TABLE_INIT(titles);
	long long n_left_out = sl_json_number(answer, "rules_left_out");
	const json_t *s;
	size_t i;
	int r;

	json_array_foreach (json_object_get(answer, "rules"), i, s) {
		sl_table_add(&t, sl_json_text(s, "route"));
		sl_table_add(&t, sl_json_text(s, "rule"));
		sl_table_add(&t, sl_json_text(s, "match"));
		verdict_cell(&t, s);
	}
	if (!t.n_cells && !t.error)
		return 0;
	r = sl_buf_append(out, "\n", 1);
	if (!r)
		r = sl_table_render(&t, "", out);
	if (!r && n_left_out)
		r = sl_buf_printf(out, "and %lld more\n", n_left_out);
	return r;
}

int sl_view_explain(const json_t *answer, struct sl_buf *out)
{
	struct sl_facts f = {.out = out};
	int r;

	from(&f, answer);
	request(&f, answer);
	table(&f, answer);
	rule(&f, answer);
	result(&f, answer);
	logged(&f, json_object_get(answer, "logged"));
	r = f.error;
	if (!r)
		r = backends(answer, out);
	return r ? r : steps(answer, out);
}
