/* SPDX-License-Identifier: Apache-2.0 */
#include "resource/cursor.h"

#include <inttypes.h>
#include <stdarg.h>

enum {
	MAX_PATH = 512,
	MAX_MESSAGE = 512,
	MAX_KEY = 64, /* of a member's name in a path: unknown ones can have any length */
	MAX_UP = 16,  /* deeper than any field that is read */
};

/* ---- where ---- */

static bool is_plain_key(const char *key)
{
	size_t n = strspn(key, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-");

	return n && !key[n] && n <= MAX_KEY;
}

static size_t append_step(const struct sl_cursor *c, char *out, size_t room)
{
	char quoted[SL_QUOTE_TEXT];
	int n;

	if (!c->key)
		n = snprintf(out, room, "[%zu]", c->index);
	else if (is_plain_key(c->key))
		n = snprintf(out, room, "%s%s", c->up->up ? "." : "", c->key);
	else
		n = snprintf(out, room, "[%s]", sl_quote(sl_str_from(c->key), quoted));
	return n > 0 && (size_t)n < room ? (size_t)n : 0;
}

static struct sl_str path_of(const struct sl_cursor *c, char out[MAX_PATH])
{
	const struct sl_cursor *steps[MAX_UP];
	size_t n = 0, len = 0;

	for (; c->up && n < MAX_UP; c = c->up)
		steps[n++] = c;
	while (n)
		len += append_step(steps[--n], out + len, MAX_PATH - len);
	return (struct sl_str){out, len};
}

uint32_t sl_cursor_line(const struct sl_cursor *c)
{
	const struct sl_decode_opts *opts = c->dec->opts;
	uint32_t line = 0;

	for (; opts->line_of && c && !line; c = c->up) {
		if (c->node)
			line = opts->line_of(opts->line_arg, c->node);
	}
	return line;
}

/* ---- what ---- */

static void mark_rule(struct sl_decoder *dec, struct sl_str field, struct sl_str message,
		      const char *reason)
{
	struct sl_arena *arena = &dec->object->arena;
	struct sl_rule_error *error;

	if (dec->rule->error)
		return; /* the first one is the one shown */
	error = sl_arena_new(arena, struct sl_rule_error);
	if (!error || sl_arena_str(arena, field, &error->field) ||
	    sl_arena_str(arena, message, &error->message)) {
		dec->oom = true;
		return;
	}
	error->reason = reason;
	dec->rule->error = error;
}

static void report(const struct sl_cursor *c, enum sl_severity severity, const char *reason,
		   const char *fmt, va_list ap) __attribute__((format(printf, 4, 0)));

static void report(const struct sl_cursor *c, enum sl_severity severity, const char *reason,
		   const char *fmt, va_list ap)
{
	struct sl_decoder *dec = c->dec;
	char path[MAX_PATH], message[MAX_MESSAGE];
	struct sl_str field = path_of(c, path);
	struct sl_diag diag = {
		.severity = severity,
		.file = dec->opts->file,
		.line = sl_cursor_line(c),
		.object = dec->label,
		.field = field,
	};

	(void)vsnprintf(message, sizeof(message), fmt, ap); /* a message cut short is still one */
	sl_diags_add(dec->diags, &diag, "%s", message);
	if (severity != SL_SEVERITY_ERROR)
		return;
	if (dec->rule)
		mark_rule(dec, field, sl_str_from(message), reason);
	else
		dec->invalid = true;
}

void sl_cursor_error(const struct sl_cursor *c, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	report(c, SL_SEVERITY_ERROR, SL_REASON_UNSUPPORTED, fmt, ap);
	va_end(ap);
}

void sl_cursor_incompatible(const struct sl_cursor *c, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	report(c, SL_SEVERITY_ERROR, SL_REASON_INCOMPATIBLE, fmt, ap);
	va_end(ap);
}

void sl_cursor_warn(const struct sl_cursor *c, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	report(c, SL_SEVERITY_WARNING, NULL, fmt, ap);
	va_end(ap);
}

/* ---- moving ---- */

static json_t *present(json_t *node)
{
	return json_is_null(node) ? NULL : node;
}

struct sl_cursor sl_cursor_member(const struct sl_cursor *c, const char *key)
{
	return (struct sl_cursor){
		.dec = c->dec,
		.up = c,
		.node = present(json_object_get(c->node, key)),
		.key = key,
	};
}

struct sl_cursor sl_cursor_texts(const struct sl_cursor *c, const char *key)
{
	struct sl_cursor at = sl_cursor_member(c, key);

	if (at.node && !json_is_object(at.node)) {
		sl_cursor_error(&at, "expected object with text for values");
		at.node = NULL;
	}
	return at;
}

struct sl_cursor sl_cursor_item(const struct sl_cursor *array, size_t i)
{
	return (struct sl_cursor){
		.dec = array->dec,
		.up = array,
		.node = json_array_get(array->node, i),
		.index = i,
	};
}

bool sl_cursor_has(const struct sl_cursor *c, const char *key)
{
	return present(json_object_get(c->node, key)) != NULL;
}

/* ---- reading ---- */

static const char *type_name(const json_t *node)
{
	if (!node)
		return "nothing";
	switch (json_typeof(node)) {
	case JSON_OBJECT:
		return "object";
	case JSON_ARRAY:
		return "array";
	case JSON_STRING:
		return "string";
	case JSON_INTEGER:
	case JSON_REAL:
		return "number";
	case JSON_TRUE:
	case JSON_FALSE:
		return "boolean";
	case JSON_NULL:
		return "null";
	}
	return "nothing";
}

static void wrong_type(const struct sl_cursor *c, const char *expected)
{
	sl_cursor_error(c, "expected %s, got %s", expected, type_name(c->node));
}

static bool is_known(const char *key, const char *const known[])
{
	for (size_t i = 0; known[i]; i++) {
		if (strcmp(known[i], key) == 0)
			return true;
	}
	return false;
}

bool sl_cursor_is_object(const struct sl_cursor *c, const char *const known[])
{
	const char *key;
	json_t *value;

	if (!json_is_object(c->node)) {
		wrong_type(c, "object");
		return false;
	}
	json_object_foreach (c->node, key, value) {
		struct sl_cursor member = {.dec = c->dec, .up = c, .node = value, .key = key};

		if (!is_known(key, known))
			sl_cursor_warn(&member, "unknown field, ignored");
	}
	return true;
}

static bool check_text(const struct sl_cursor *c, const struct sl_text_type *type, struct sl_str s)
{
	char quoted[SL_QUOTE_TEXT];
	size_t length = sl_text_length(s);

	if (length < type->min) {
		sl_cursor_error(c, "must not be empty");
	} else if (length > type->max) {
		sl_cursor_error(c, "must have at most %" PRIu32 " characters, has %zu", type->max,
				length);
	} else if (memchr(s.ptr, '\0', s.len)) {
		sl_cursor_error(c, "must not contain NUL characters");
	} else if (type->valid && !type->valid(s)) {
		sl_cursor_error(c, "must be %s, got %s", type->expected, sl_quote(s, quoted));
	} else {
		return true;
	}
	return false;
}

bool sl_cursor_str(const struct sl_cursor *c, const struct sl_text_type *type, struct sl_str *ret)
{
	struct sl_str s;

	if (!c->node)
		return false;
	if (!json_is_string(c->node)) {
		wrong_type(c, "string");
		return false;
	}
	s = (struct sl_str){json_string_value(c->node), json_string_length(c->node)};
	if (!check_text(c, type, s))
		return false;
	if (sl_arena_str(&c->dec->object->arena, s, ret)) {
		c->dec->oom = true;
		return false;
	}
	return true;
}

bool sl_read_str(const struct sl_cursor *c, const char *key, const struct sl_text_type *type,
		 struct sl_str *ret)
{
	struct sl_cursor f = sl_cursor_member(c, key);

	return sl_cursor_str(&f, type, ret);
}

bool sl_require_str(const struct sl_cursor *c, const char *key, const struct sl_text_type *type,
		    struct sl_str *ret)
{
	struct sl_cursor f = sl_cursor_member(c, key);

	if (!f.node) {
		sl_cursor_error(&f, "required, but missing");
		return false;
	}
	return sl_cursor_str(&f, type, ret);
}

bool sl_cursor_int(const struct sl_cursor *c, int64_t min, int64_t max, int64_t *ret)
{
	int64_t v;

	if (!c->node)
		return false;
	if (json_is_real(c->node)) {
		sl_cursor_error(c, "expected integer, got %g", json_real_value(c->node));
		return false;
	}
	if (!json_is_integer(c->node)) {
		wrong_type(c, "integer");
		return false;
	}
	v = json_integer_value(c->node);
	if (v < min || v > max) {
		sl_cursor_error(c, "must be from %" PRId64 " to %" PRId64 ", got %" PRId64, min,
				max, v);
		return false;
	}
	*ret = v;
	return true;
}

bool sl_read_int(const struct sl_cursor *c, const char *key, int64_t min, int64_t max, int64_t *ret)
{
	struct sl_cursor f = sl_cursor_member(c, key);

	return sl_cursor_int(&f, min, max, ret);
}

bool sl_read_port(const struct sl_cursor *c, const char *key, uint16_t *ret)
{
	int64_t v;

	if (!sl_read_int(c, key, 1, UINT16_MAX, &v))
		return false;
	*ret = (uint16_t)v;
	return true;
}

bool sl_read_bool(const struct sl_cursor *c, const char *key, bool *ret)
{
	struct sl_cursor f = sl_cursor_member(c, key);

	if (!f.node)
		return false;
	if (!json_is_boolean(f.node)) {
		wrong_type(&f, "boolean");
		return false;
	}
	*ret = json_is_true(f.node);
	return true;
}

bool sl_read_enum(const struct sl_cursor *c, const char *key, const char *const names[], int *ret)
{
	struct sl_cursor f = sl_cursor_member(c, key);
	char list[256], quoted[SL_QUOTE_TEXT];
	struct sl_str s;
	size_t len = 0;

	if (!f.node)
		return false;
	if (!json_is_string(f.node)) {
		wrong_type(&f, "string");
		return false;
	}
	s = (struct sl_str){json_string_value(f.node), json_string_length(f.node)};
	for (int i = 0; names[i]; i++) {
		if (sl_str_eqc(s, names[i])) {
			*ret = i;
			return true;
		}
	}
	list[0] = '\0';
	for (int i = 0; names[i] && len < sizeof(list); i++)
		len += (size_t)snprintf(list + len, sizeof(list) - len, "%s%s", i ? ", " : "",
					names[i]);
	sl_cursor_error(&f, "must be one of %s, got %s", list, sl_quote(s, quoted));
	return false;
}

bool sl_cursor_ip(const struct sl_cursor *c, struct sl_addr *ret)
{
	char quoted[SL_QUOTE_TEXT];
	struct sl_str s;

	if (!json_is_string(c->node)) {
		wrong_type(c, "string");
		return false;
	}
	s = (struct sl_str){json_string_value(c->node), json_string_length(c->node)};
	if (sl_addr_parse_ip(s, 0, ret)) {
		sl_cursor_error(c, "must be an IP address, got %s", sl_quote(s, quoted));
		return false;
	}
	return true;
}

bool sl_read_object(const struct sl_cursor *c, const char *key, const char *const known[],
		    struct sl_cursor *ret)
{
	struct sl_cursor f = sl_cursor_member(c, key);

	if (!f.node || !sl_cursor_is_object(&f, known))
		return false;
	*ret = f;
	return true;
}

bool sl_read_array(const struct sl_cursor *c, const char *key, size_t max, struct sl_cursor *ret,
		   size_t *ret_n)
{
	struct sl_cursor f = sl_cursor_member(c, key);
	size_t n;

	if (!f.node)
		return false;
	if (!json_is_array(f.node)) {
		wrong_type(&f, "array");
		return false;
	}
	n = json_array_size(f.node);
	if (n > max)
		sl_cursor_error(&f, "must have at most %zu items, has %zu", max, n);
	*ret = f;
	*ret_n = n > max ? max : n;
	return true;
}

void *sl_decoder_array(struct sl_decoder *dec, size_t n, size_t size)
{
	void *p = sl_arena_zalloc(&dec->object->arena, n, size);

	if (!p)
		dec->oom = true;
	return p;
}
