/* SPDX-License-Identifier: Apache-2.0 */
/* Lines as compilers print them, which editors and CI systems know to read. */
#include "base/cleanup.h"
#include "view.h"

struct text {
	struct sl_buf *out;
	int error; /* the first */
};

__attribute__((format(printf, 2, 3))) static void put(struct text *t, const char *fmt, ...)
{
	_cleanup_(sl_buf_deinit) struct sl_buf line = SL_BUF_INIT(0);
	va_list ap;

	va_start(ap, fmt);
	if (!t->error)
		t->error = sl_buf_vprintf(&line, fmt, ap);
	va_end(ap);
	if (!t->error)
		t->error = sl_buf_append(&line, "", 1);
	if (!t->error)
		t->error = sl_text_append(t->out, sl_buf_ptr(&line));
}

static void end_line(struct text *t)
{
	if (!t->error)
		t->error = sl_buf_append(t->out, "\n", 1);
}

/* "file:12: " */
static void put_place(struct text *t, const json_t *at)
{
	const char *file = sl_json_text(at, "file");
	long long line = sl_json_number(at, "line");

	if (*file && line)
		put(t, "%s:%lld: ", file, line);
	else if (*file)
		put(t, "%s: ", file);
}

static void put_problems(struct text *t, const char *level, const json_t *problems)
{
	const json_t *p;
	size_t i;

	json_array_foreach (problems, i, p) {
		const char *object = sl_json_text(p, "object"), *field = sl_json_text(p, "field");

		put_place(t, p);
		put(t, "%s: %s%s%s%s%s", level, object, *object ? ": " : "", field,
		    *field ? ": " : "", sl_json_text(p, "message"));
		end_line(t);
	}
}

static void put_condition(struct text *t, const json_t *route, const json_t *parent,
			  const json_t *c)
{
	const json_t *ref = json_object_get(parent, "parentRef");
	const char *kind = sl_json_text(ref, "kind"), *namespace = sl_json_text(ref, "namespace");
	long long port = sl_json_number(ref, "port");

	put_place(t, route);
	put(t, "%s is %s: %s %s/%s, parent %s %s/%s", sl_json_text(c, "type"),
	    sl_json_text(c, "status"), sl_json_text(route, "kind"),
	    sl_json_text(route, "namespace"), sl_json_text(route, "name"), *kind ? kind : "Service",
	    *namespace ? namespace : sl_json_text(route, "namespace"), sl_json_text(ref, "name"));
	if (port)
		put(t, ":%lld", port);
	put(t, ": %s: %s", sl_json_text(c, "reason"), sl_json_text(c, "message"));
	end_line(t);
}

/* Calls put_condition() for each that is not fine, unless t is NULL; returns how many there are. */
static size_t wrong_conditions(const json_t *answer, struct text *t)
{
	const json_t *route, *parent, *c;
	size_t i, k, m, n = 0;

	json_array_foreach (json_object_get(answer, "routes"), i, route) {
		json_array_foreach (json_object_get(route, "parents"), k, parent) {
			json_array_foreach (json_object_get(parent, "conditions"), m, c) {
				if (sl_condition_is_fine(c))
					continue;
				n++;
				if (t)
					put_condition(t, route, parent, c);
			}
		}
	}
	return n;
}

bool sl_validate_passed(const json_t *answer)
{
	return !json_array_size(json_object_get(answer, "errors")) &&
	       !wrong_conditions(answer, NULL);
}

static void put_count(struct text *t, const char *before, size_t n, const char *one,
		      const char *many)
{
	put(t, "%s%zu %s", before, n, n == 1 ? one : many);
}

int sl_view_validate(const json_t *answer, struct sl_buf *out)
{
	const json_t *errors = json_object_get(answer, "errors");
	const json_t *warnings = json_object_get(answer, "warnings");
	struct text t = {.out = out};
	size_t n;

	put_problems(&t, "error", errors);
	put_problems(&t, "warning", warnings);
	n = wrong_conditions(answer, &t);
	put(&t, "%s", sl_json_text(answer, "folder"));
	put_count(&t, ": ", (size_t)sl_json_number(answer, "files"), "file", "files");
	put_count(&t, ", ", (size_t)sl_json_number(answer, "documents"), "object", "objects");
	put_count(&t, ", ", json_array_size(errors), "error", "errors");
	put_count(&t, ", ", json_array_size(warnings), "warning", "warnings");
	put_count(&t, ", ", n, "condition not met", "conditions not met");
	end_line(&t);
	return t.error;
}
