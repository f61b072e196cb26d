/* SPDX-License-Identifier: Apache-2.0 */
#include "exposition.h"

#include <ctype.h>
#include <math.h>
#include <stdarg.h>
#include "base/alloc.h"
#include "base/utf8.h"

struct reader {
	struct exposition *e;
	struct sl_str line;
	size_t at;
	int number;
	char family[200], type[20];
	char seen[200][200]; /* families that were begun */
	size_t n_seen;
	bool had_sample;
};

__attribute__((format(printf, 2, 3))) static bool fail(struct reader *r, const char *fmt, ...)
{
	va_list ap;
	int n;

	if (r->e->error[0])
		return false;
	n = snprintf(r->e->error, sizeof(r->e->error), "line %d '%.*s': ", r->number,
		     r->line.len > 150 ? 150 : (int)r->line.len, r->line.ptr);
	va_start(ap, fmt);
	(void)vsnprintf(r->e->error + n, sizeof(r->e->error) - (size_t)n, fmt, ap);
	va_end(ap);
	return false;
}

static char peek(const struct reader *r)
{
	return r->at < r->line.len ? r->line.ptr[r->at] : '\0';
}

static bool take_name(struct reader *r, bool colon, char *out, size_t size)
{
	size_t n = 0;

	while (isalpha((unsigned char)peek(r)) || peek(r) == '_' || (colon && peek(r) == ':') ||
	       (n && isdigit((unsigned char)peek(r)))) {
		if (n + 1 >= size)
			return fail(r, "name too long");
		out[n++] = r->line.ptr[r->at++];
	}
	out[n] = '\0';
	return n ? true : fail(r, "name expected at %zu", r->at);
}

static bool take(struct reader *r, char c)
{
	if (peek(r) != c)
		return fail(r, "'%c' expected at %zu", c, r->at);
	r->at++;
	return true;
}

/* A quoted value; escapes are backslash, quote and n only. */
static bool take_value(struct reader *r, char *out, size_t size)
{
	size_t n = 0;

	if (!take(r, '"'))
		return false;
	while (peek(r) != '"') {
		if (r->at >= r->line.len || n + 1 >= size)
			return fail(r, "value without end");
		if (peek(r) == '\\' && ++r->at && !memchr("\\\"n", peek(r), 3))
			return fail(r, "bad escape at %zu", r->at);
		out[n++] = r->line.ptr[r->at++];
	}
	out[n] = '\0';
	return take(r, '"');
}

static bool parse_number(struct reader *r, const char *text, double *ret)
{
	char *end;

	if (strcmp(text, "+Inf") == 0) {
		*ret = INFINITY;
		return true;
	}
	if (!isdigit((unsigned char)*text))
		return fail(r, "'%s' is not a number", text);
	*ret = strtod(text, &end);
	return *end ? fail(r, "'%s' is not a number", text) : true;
}

static bool parse_comment(struct reader *r)
{
	bool help = sl_str_starts(r->line, SL_STR("# HELP "));
	char name[200];

	if (!help && !sl_str_starts(r->line, SL_STR("# TYPE ")))
		return fail(r, "neither HELP nor TYPE");
	r->at = 7;
	if (!take_name(r, true, name, sizeof(name)) || !take(r, ' '))
		return false;
	if (!help) {
		if (strcmp(name, r->family) != 0 || r->type[0])
			return fail(r, "TYPE does not follow its HELP");
		if (!take_name(r, false, r->type, sizeof(r->type)) || r->at != r->line.len)
			return fail(r, "bad type");
		if (strcmp(r->type, "counter") != 0 && strcmp(r->type, "gauge") != 0 &&
		    strcmp(r->type, "histogram") != 0)
			return fail(r, "unknown type");
		return true;
	}
	for (size_t i = 0; i < r->n_seen; i++) {
		if (strcmp(r->seen[i], name) == 0)
			return fail(r, "family begun twice");
	}
	if (r->n_seen == 200)
		return fail(r, "too many families");
	if (r->n_seen && !r->type[0])
		return fail(r, "family before has no TYPE");
	memcpy(r->seen[r->n_seen++], name, sizeof(name));
	memcpy(r->family, name, sizeof(name));
	r->type[0] = '\0';
	return true;
}

/* The suffix that a histogram's sample must have; any other type has none. */
static bool check_suffix(struct reader *r, const char *name, bool has_le)
{
	size_t n = strlen(r->family);
	const char *suffix = name + n;

	if (strncmp(name, r->family, n) != 0 || !r->type[0])
		return fail(r, "sample outside of its family");
	if (strcmp(r->type, "histogram") != 0) {
		if (strcmp(r->type, "counter") == 0 && !strstr(name, "_total"))
			return fail(r, "counter without _total");
		return *suffix || has_le ? fail(r, "suffix or le outside of a histogram") : true;
	}
	if (strcmp(suffix, "_bucket") == 0)
		return has_le ? true : fail(r, "bucket without le");
	if (strcmp(suffix, "_sum") == 0 || strcmp(suffix, "_count") == 0)
		return has_le ? fail(r, "le outside of a bucket") : true;
	return fail(r, "bad suffix");
}

static bool check_against_earlier(struct reader *r, const struct sample *s)
{
	const struct sample *last = r->e->n ? &r->e->samples[r->e->n - 1] : NULL;
	size_t n = strlen(s->family);

	for (size_t i = 0; i < r->e->n; i++) {
		const struct sample *o = &r->e->samples[i];

		if (strcmp(o->series, s->series) == 0 &&
		    (o->le == s->le || (isnan(o->le) && isnan(s->le))))
			return fail(r, "sample twice");
	}
	if (isnan(s->le))
		goto count;
	if (last && strcmp(last->series, s->series) == 0 &&
	    (last->le >= s->le || last->value > s->value))
		return fail(r, "buckets do not grow");
	return true;
count:
	if (strcmp(r->type, "histogram") != 0 || strncmp(s->series + n, "_count", 6) != 0)
		return true;
	/* The sum and the last bucket come right before. */
	if (r->e->n < 2 || !isinf(last[-1].le) || last[-1].value != s->value)
		return fail(r, "count is not the +Inf bucket");
	return true;
}

static bool parse_sample(struct reader *r)
{
	char name[200], label[200], value[700], number[64], series[2000];
	struct sample s = {.le = NAN}, *more;
	size_t n = 0;

	if (!take_name(r, true, name, sizeof(name)))
		return false;
	n = (size_t)snprintf(series, sizeof(series), "%s", name);
	if (peek(r) == '{') {
		char sep = '{';

		do {
			if (!take(r, sep) || !take_name(r, false, label, sizeof(label)) ||
			    !take(r, '=') || !take_value(r, value, sizeof(value)))
				return false;
			if (strcmp(label, "le") == 0) {
				if (!parse_number(r, value, &s.le))
					return false;
			} else {
				n += (size_t)snprintf(series + n, sizeof(series) - n, "%c%s=\"%s\"",
						      n == strlen(name) ? '{' : ',', label, value);
			}
			sep = ',';
		} while (peek(r) == ',');
		if (!take(r, '}'))
			return false;
		if (n > strlen(name))
			(void)snprintf(series + n, sizeof(series) - n, "}");
	}
	if (!take(r, ' '))
		return false;
	(void)snprintf(number, sizeof(number), "%.*s", (int)(r->line.len - r->at),
		       r->line.ptr + r->at);
	if (!parse_number(r, number, &s.value) || !check_suffix(r, name, !isnan(s.le)))
		return false;
	s.series = sl_strdup(series);
	s.family = sl_strdup(r->family);
	more = sl_reallocarray(r->e->samples, r->e->n + 1, sizeof(*more));
	if (more)
		r->e->samples = more;
	if (!s.series || !s.family || !more || !check_against_earlier(r, &s)) {
		free(s.series);
		free(s.family);
		return fail(r, "out of memory");
	}
	more[r->e->n++] = s;
	return true;
}

void exposition_parse(struct exposition *e, struct sl_str text)
{
	struct reader *r = sl_new(struct reader);

	*e = (struct exposition){0};
	r->e = e;
	for (struct sl_str rest = text; rest.len;) {
		size_t n = sl_utf8_len(rest);

		if (!n)
			fail(r, "not UTF-8");
		rest = sl_str_skip(rest, n ? n : 1);
	}
	while (text.len && !e->error[0]) {
		const char *end = memchr(text.ptr, '\n', text.len);

		r->number++;
		r->at = 0;
		r->line = (struct sl_str){text.ptr, end ? (size_t)(end - text.ptr) : text.len};
		if (!end)
			fail(r, "last line does not end");
		else if (peek(r) == '#' ? parse_comment(r) : parse_sample(r))
			text = sl_str_skip(text, r->line.len + 1);
	}
	free(r);
}

void exposition_deinit(struct exposition *e)
{
	for (size_t i = 0; i < e->n; i++) {
		free(e->samples[i].series);
		free(e->samples[i].family);
	}
	free(e->samples);
	*e = (struct exposition){0};
}

double exposition_value(const struct exposition *e, const char *series)
{
	for (size_t i = 0; i < e->n; i++) {
		if (isnan(e->samples[i].le) && strcmp(e->samples[i].series, series) == 0)
			return e->samples[i].value;
	}
	return NAN;
}
