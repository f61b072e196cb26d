/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* One YAML document decoded, for the tests of every kind. */
#include <criterion/criterion.h>
#include <stdarg.h>
#include "base/alloc.h"
#include "base/buf.h"
#include "resource/decode.h"
#include "source/yaml.h"

struct decoded {
	struct sl_yaml *yaml;
	struct sl_yaml_doc *doc;
	struct sl_diags diags;
	struct sl_object *object;
	struct sl_str key;
	int r;
};

static inline void decode(const char *text, struct decoded *d)
{
	struct sl_yaml_error err = {0};
	struct sl_decode_opts opts = {.file = SL_STR("a.yaml"), .line_of = sl_yaml_doc_line};

	*d = (struct decoded){0};
	cr_assert_eq(sl_yaml_new(sl_str_from(text), &d->yaml), 0);
	cr_assert_eq(sl_yaml_next(d->yaml, &d->doc, &err), 0, "line %u: %s\n%s", err.line,
		     err.message, text);
	opts.line_arg = d->doc;
	d->r = sl_decode_object(sl_yaml_doc_root(d->doc), &opts, &d->diags, &d->object, &d->key);
}

static inline void decoded_free(struct decoded *d)
{
	sl_object_unref(d->object);
	sl_diags_deinit(&d->diags);
	sl_yaml_doc_free(d->doc);
	sl_yaml_free(d->yaml);
}

static inline const struct sl_diag *find_diag(const struct sl_diags *diags,
					      enum sl_severity severity, const char *field,
					      const char *message)
{
	for (size_t i = 0; i < diags->n; i++) {
		const struct sl_diag *d = &diags->items[i];

		if (d->severity == severity && sl_str_eqc(d->field, field) &&
		    strstr(d->message.ptr, message))
			return d;
	}
	return NULL;
}

static inline void print_diags(const struct sl_diags *diags)
{
	for (size_t i = 0; i < diags->n; i++) {
		const struct sl_diag *d = &diags->items[i];

		cr_log_warn("%s:%u %s [%s] %s: %s", d->file.ptr, d->line, d->object.ptr,
			    d->severity == SL_SEVERITY_ERROR ? "error" : "warning", d->field.ptr,
			    d->message.ptr);
	}
}

/* A document and the one problem that it must have. */
struct problem_case {
	const char *name;
	const char *yaml;
	const char *field;
	uint32_t line;
	const char *message; /* part of it */
};

/* prefix is put before each case's text; all must give the result r and the problem with that
 * severity. */
static inline void check_problems(const char *prefix, const struct problem_case *cases, size_t n,
				  int r, enum sl_severity severity)
{
	for (size_t i = 0; i < n; i++) {
		const struct problem_case *c = &cases[i];
		char *text = sl_asprintf("%s%s", prefix, c->yaml);
		const struct sl_diag *diag;
		struct decoded d;

		cr_assert_not_null(text);
		decode(text, &d);
		cr_expect_eq(d.r, r, "%s: result %d", c->name, d.r);
		diag = find_diag(&d.diags, severity, c->field, c->message);
		cr_expect_not_null(diag, "%s: no such problem", c->name);
		if (diag) {
			cr_expect_eq(diag->line, c->line, "%s: line %u", c->name, diag->line);
			cr_expect_str_eq(diag->file.ptr, "a.yaml");
		} else {
			print_diags(&d.diags);
		}
		decoded_free(&d);
		free(text);
	}
}

#define check_all(prefix, cases, r, severity) \
	check_problems(prefix, cases, sizeof(cases) / sizeof((cases)[0]), r, severity)

static inline void expect_str(struct sl_str s, const char *expected)
{
	cr_expect(sl_str_eqc(s, expected), "got \"%.*s\", expected \"%s\"", SL_STR_ARG(s),
		  expected);
}

static inline void expect_addr(const struct sl_addr *a, const char *expected)
{
	char text[SL_ADDR_TEXT];

	cr_expect_str_eq(sl_addr_format_ip(a, text), expected);
}

/* n items, each made with its number. */
static inline char *repeat(size_t n, const char *separator, const char *item)
{
	struct sl_buf buf = SL_BUF_INIT(0);

	for (size_t i = 0; i < n; i++) {
		const char *at = strstr(item, "%");

		cr_assert_eq(sl_buf_printf(&buf, "%s", i ? separator : ""), 0);
		if (at)
			cr_assert_eq(
				sl_buf_printf(&buf, "%.*s%zu%s", (int)(at - item), item, i, at + 1),
				0);
		else
			cr_assert_eq(sl_buf_printf(&buf, "%s", item), 0);
	}
	cr_assert_eq(sl_buf_append(&buf, "", 1), 0);
	return buf.data;
}
