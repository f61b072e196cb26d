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

static void retry(struct sl_facts *f, const json_t *r)
{
	const json_t *code, *pause = json_object_get(r, "backoff_ms");
	char on[2048] = "";
	size_t i, n = 0;

	if (!r)
		return;
	json_array_foreach (json_object_get(r, "codes"), i, code) {
		if (n < sizeof(on))
			n += (size_t)snprintf(on + n, sizeof(on) - n, "%s%lld",
					      i ? ", " : " and on ",
					      (long long)json_integer_value(code));
	}
	sl_fact(f, "Retry", "%lld times when nothing was done%s", sl_json_number(r, "attempts"),
		on);
	if (pause)
		sl_fact(f, "", "backoff %lld ms", (long long)json_integer_value(pause));
}

static void persistence(struct sl_facts *f, const json_t *r)
{
	long long absolute_ms = sl_json_number(r, "absolute_timeout_ms");
	long long idle_ms = sl_json_number(r, "idle_timeout_ms");

	if (!r)
		return;
	sl_fact(f, "Session", "kept by %s %s",
		strcmp(sl_json_text(r, "type"), "Header") == 0 ? "header" : "cookie",
		sl_json_text(r, "name"));
	if (absolute_ms)
		sl_fact(f, "", "for %lld ms", absolute_ms);
	if (idle_ms)
		sl_fact(f, "", "while it is used every %lld ms", idle_ms);
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
	retry(f, json_object_get(r, "retry"));
	persistence(f, json_object_get(r, "session"));
	if (*sl_json_text(r, "faults"))
		sl_fact(f, "Faults", "%s", sl_json_text(r, "faults"));
}

/* enforced_by: where the route asks for the kernel. */
static void connection(struct sl_facts *f, const json_t *r)
{
	const char *by = sl_json_text(r, "enforced_by");

	sl_fact(f, "Result", "%s",
		strcmp(by, "kernel") == 0 ? "the kernel sends each new connection to a backend"
					  : "the connection goes to a backend as it is");
	if (strcmp(by, "agent") == 0)
		sl_fact(f, "By the agent", "%s", sl_json_text(r, "enforced_by_why"));
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
	else if (strcmp(kind, "preflight") == 0)
		sl_fact(f, "Result", "answered with %lld by the CORS filter",
			sl_json_number(r, "status"));
	else if (strcmp(kind, "connection") == 0)
		connection(f, r);
	else if (strcmp(kind, "flow") == 0)
		sl_fact(f, "Result", "the kernel sends each new flow to a backend");
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
	const json_t *tls = json_object_get(backend, "tls");
	const char *to = sl_json_text(tls, "hostname");

	if (json_is_true(json_object_get(backend, "refused")))
		sl_table_add(t, json_is_true(json_object_get(tls, "refused"))
					? "refused: its BackendTLSPolicy cannot be honoured"
				: json_is_true(json_object_get(backend, "resolved"))
					? "refused: no ready endpoint"
					: "refused: the reference is not resolved");
	else if (!sl_json_text(backend, "path")[0] && !status && !*location)
		sl_table_printf(t, "bytes%s%s", *to ? ", TLS to " : "", to);
	else if (!json_is_true(json_object_get(backend, "resolved")))
		sl_table_printf(t, "%lld: the reference is not resolved", status);
	else if (*location)
		sl_table_printf(t, "%lld, Location %s", status, location);
	else if (strcmp(sl_json_text(backend, "kind"), "preflight") == 0)
		sl_table_printf(t, "%lld by the CORS filter", status);
	else if (json_is_true(json_object_get(tls, "refused")))
		sl_table_printf(t, "%lld: its BackendTLSPolicy cannot be honoured", status);
	else if (status)
		sl_table_printf(t, "%lld: no ready endpoint", status);
	else
		sl_table_printf(t, "%s, Host %s%s%s", sl_json_text(backend, "path"),
				sl_json_text(backend, "authority"), *to ? ", TLS to " : "", to);
}

/* A line for each policy of a backend. */
static int balancing(const json_t *answer, struct sl_buf *out)
{
	const json_t *b;
	size_t i;
	int r = 0;

	json_array_foreach (json_object_get(answer, "backends"), i, b) {
		const char *text = sl_json_text(b, "balancing");

		if (!r && *text)
			r = sl_buf_printf(out, "%s is balanced by %s\n", sl_json_text(b, "name"),
					  text);
		text = sl_json_text(b, "retry_budget");
		if (!r && *text)
			r = sl_buf_printf(out, "%s takes as many retries as %s\n",
					  sl_json_text(b, "name"), text);
		text = sl_json_text(json_object_get(b, "session"), "name");
		if (!r && *text)
			r = sl_buf_printf(out, "%s keeps sessions by %s\n", sl_json_text(b, "name"),
					  text);
		text = sl_json_text(b, "faults");
		if (!r && *text)
			r = sl_buf_printf(out, "%s has faults of %s\n", sl_json_text(b, "name"),
					  text);
	}
	return r;
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
	if (!r)
		r = sl_table_render(&t, "", out);
	return r ? r : balancing(answer, out);
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

/* What the shadow routes would do. */
static int shadow(const json_t *s, struct sl_buf *out)
{
	struct sl_facts f = {.out = out};
	_cleanup_(sl_buf_deinit) struct sl_buf differs = SL_BUF_INIT(0);
	const char *verdict = sl_json_text(s, "verdict");
	const json_t *item;
	size_t i;
	int r = sl_buf_append(out, "\n", 1);

	if (r)
		return r;
	json_array_foreach (json_object_get(s, "differs"), i, item) {
		if (!r)
			r = sl_buf_printf(&differs, "%s%s", i ? ", " : "",
					  json_is_string(item) ? json_string_value(item) : "");
	}
	if (strcmp(verdict, "differs") == 0)
		sl_fact(&f, "Shadow",
			"if its shadow routes were enforced, these would differ: %.*s",
			SL_STR_ARG(sl_buf_str(&differs)));
	else if (strcmp(verdict, "same") == 0)
		sl_fact(&f, "Shadow", "a shadow rule would take it, and nothing would differ");
	else
		sl_fact(&f, "Shadow", "no shadow rule would take it");
	if (strcmp(verdict, "unaffected") != 0) {
		rule(&f, s);
		result(&f, s);
	}
	if (!r)
		r = f.error;
	if (!r)
		r = backends(s, out);
	return r ? r : steps(s, out);
}

int sl_view_explain(const json_t *answer, struct sl_buf *out)
{
	const json_t *of_shadows = json_object_get(answer, "shadow");
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
	if (!r)
		r = steps(answer, out);
	return r || !of_shadows ? r : shadow(of_shadows, out);
}
