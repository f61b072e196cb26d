/* SPDX-License-Identifier: Apache-2.0 */
#include "prom.h"

#include <errno.h>
#include <math.h>

static struct sl_str take_line(struct sl_str *text)
{
	const char *end = memchr(text->ptr, '\n', text->len);
	struct sl_str line = {text->ptr, end ? (size_t)(end - text->ptr) : text->len};

	*text = sl_str_skip(*text, line.len + (end ? 1 : 0));
	return line;
}

/* Length of a label's value in quotes, both included; 0 when it has no end. */
static size_t quoted_len(struct sl_str s)
{
	for (size_t i = 1; i < s.len; i++) {
		if (s.ptr[i] == '\\')
			i++;
		else if (s.ptr[i] == '"')
			return i + 1;
	}
	return 0;
}

static size_t span(struct sl_str s, const char *until)
{
	size_t n = 0;

	while (n < s.len && !strchr(until, s.ptr[n]))
		n++;
	return n;
}

/* The brace that ends the labels, past all quotes; s.len when there is none. */
static size_t labels_len(struct sl_str s)
{
	size_t i = 0;

	while (i < s.len && s.ptr[i] != '}') {
		size_t n = s.ptr[i] == '"' ? quoted_len(sl_str_skip(s, i)) : 1;

		if (!n)
			return s.len;
		i += n;
	}
	return i;
}

static bool parse_value(struct sl_str s, double *ret)
{
	char text[64], *end;

	if (!s.len || s.len >= sizeof(text))
		return false;
	memcpy(text, s.ptr, s.len);
	text[s.len] = '\0';
	*ret = strtod(text, &end);
	return !*end && isfinite(*ret);
}

static bool parse_line(struct sl_str line, struct sl_prom_sample *ret)
{
	size_t n = span(line, "{ ");

	*ret = (struct sl_prom_sample){.name = {line.ptr, n}};
	if (!n || n == line.len)
		return false;
	line = sl_str_skip(line, n);
	if (line.ptr[0] == '{') {
		line = sl_str_skip(line, 1);
		n = labels_len(line);
		ret->labels = (struct sl_str){line.ptr, n};
		if (n == line.len)
			return false;
		line = sl_str_skip(line, n + 1);
	}
	return sl_str_starts(line, SL_STR(" ")) && parse_value(sl_str_skip(line, 1), &ret->value);
}

bool sl_prom_next(struct sl_str *text, struct sl_prom_sample *ret)
{
	while (text->len) {
		struct sl_str line = take_line(text);

		if (line.len && line.ptr[0] != '#' && parse_line(line, ret))
			return true;
	}
	return false;
}

static int unescape(struct sl_str quoted, struct sl_arena *a, struct sl_str *ret)
{
	char *out = sl_arena_alloc(a, quoted.len + 1);
	size_t n = 0;

	if (!out)
		return -ENOMEM;
	for (size_t i = 1; i + 1 < quoted.len; i++) {
		if (quoted.ptr[i] == '\\')
			i++;
		out[n++] = quoted.ptr[i] == 'n' && quoted.ptr[i - 1] == '\\' ? '\n' : quoted.ptr[i];
	}
	*ret = (struct sl_str){out, n};
	return 0;
}

int sl_prom_label(struct sl_str labels, const char *name, struct sl_arena *a, struct sl_str *ret)
{
	*ret = SL_STR("");
	while (labels.len) {
		size_t n = span(labels, "=");
		struct sl_str have = {labels.ptr, n};
		size_t len;

		if (n + 1 >= labels.len || labels.ptr[n + 1] != '"')
			return 0;
		labels = sl_str_skip(labels, n + 1);
		len = quoted_len(labels);
		if (!len)
			return 0;
		if (sl_str_eqc(have, name))
			return unescape((struct sl_str){labels.ptr, len}, a, ret);
		labels = sl_str_skip(labels, len);
		if (labels.len)
			labels = sl_str_skip(labels, 1); /* the comma */
	}
	return 0;
}
