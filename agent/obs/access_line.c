/* SPDX-License-Identifier: Apache-2.0 */
#include "obs/access_line.h"

#include <inttypes.h>
#include "base/utf8.h"

/* How much of a field is kept, counted as it is written, that is with escapes. Names come from
 * objects and have a maximum; what the client sends is cut where it would crowd out the rest. */
enum {
	NAME_MAX_BYTES = 330,  /* kind, namespace and name */
	LABEL_MAX_BYTES = 256, /* a name alone */
	TEXT_MAX_BYTES = 64,
	PATH_MAX_BYTES = 840,
	SHADOWED_PATH_MAX_BYTES = 420, /* of a line that shadow routes have a part in */
	AGENT_MAX_BYTES = 200,
};

struct line {
	char *out;
	size_t len;
};

static void put(struct line *l, const char *p, size_t n)
{
	memcpy(l->out + l->len, p, n);
	l->len += n;
}

/* Sequence at the start of s as JSON; returns how much of s it was. */
static size_t escape(struct sl_str s, char ret[8], size_t *ret_len)
{
	static const char shorts[][2] = {
		{'"', '"'}, {'\\', '\\'}, {'\n', 'n'}, {'\r', 'r'}, {'\t', 't'}};
	size_t n = sl_utf8_len(s);
	unsigned char c = (unsigned char)*s.ptr;

	if (!n) {
		memcpy(ret, SL_UTF8_REPLACEMENT, 3);
		*ret_len = 3;
		return 1;
	}
	for (size_t i = 0; i < sizeof(shorts) / sizeof(*shorts); i++) {
		if (*s.ptr == shorts[i][0]) {
			ret[0] = '\\';
			ret[1] = shorts[i][1];
			*ret_len = 2;
			return 1;
		}
	}
	if (c < 0x20 || c == 0x7f) {
		(void)snprintf(ret, 8, "\\u%04x", c);
		*ret_len = 6;
		return 1;
	}
	memcpy(ret, s.ptr, n);
	*ret_len = n;
	return n;
}

static void key(struct line *l, const char *name)
{
	put(l, l->len ? ",\"" : "{\"", 2);
	put(l, name, strlen(name));
	put(l, "\":", 2);
}

static void string(struct line *l, const char *name, struct sl_str s, size_t max)
{
	size_t end, n;
	char one[8];

	if (!s.len)
		return;
	key(l, name);
	put(l, "\"", 1);
	end = l->len + max;
	while (s.len) {
		size_t took = escape(s, one, &n);

		if (l->len + n > end)
			break;
		put(l, one, n);
		s = sl_str_skip(s, took);
	}
	put(l, "\"", 1);
}

static void number(struct line *l, const char *name, uint64_t v)
{
	char text[24];

	key(l, name);
	put(l, text, (size_t)snprintf(text, sizeof(text), "%" PRIu64, v));
}

/* What the keys come to, each with its quotes, colon and comma; the quotes of the strings; braces
 * and line feed. */
enum { N_NUMBERS = 8, N_STRINGS = 18, KEYS_BYTES = 237 };
enum {
	WITHOUT_SHADOW =
		4 * NAME_MAX_BYTES + 2 * LABEL_MAX_BYTES + 7 * TEXT_MAX_BYTES + AGENT_MAX_BYTES,
	WITH_SHADOW = WITHOUT_SHADOW + NAME_MAX_BYTES + LABEL_MAX_BYTES + TEXT_MAX_BYTES,
	FRAME = N_NUMBERS * 20 + KEYS_BYTES + (N_NUMBERS + N_STRINGS) * 4 + N_STRINGS * 2 + 2,
};
_Static_assert((int)WITHOUT_SHADOW + (int)PATH_MAX_BYTES + (int)FRAME <= (int)SL_ACCESS_LINE_MAX &&
		       (int)WITH_SHADOW + (int)SHADOWED_PATH_MAX_BYTES + (int)FRAME <=
			       (int)SL_ACCESS_LINE_MAX,
	       "the longest line fits");

size_t sl_access_line(const struct sl_access_record *r, struct sl_str time,
		      char out[SL_ACCESS_LINE_MAX])
{
	struct line l = {.out = out};
	bool shadowed = r->shadow_differs.len;

	string(&l, "time", time, TEXT_MAX_BYTES);
	string(&l, "source_namespace", r->source_namespace, TEXT_MAX_BYTES);
	string(&l, "source_pod", r->source_pod, LABEL_MAX_BYTES);
	string(&l, "client", r->client, TEXT_MAX_BYTES);
	string(&l, "service", r->service, NAME_MAX_BYTES);
	string(&l, "protocol", r->protocol, TEXT_MAX_BYTES);
	string(&l, "method", r->method, TEXT_MAX_BYTES);
	string(&l, "authority", r->authority, NAME_MAX_BYTES);
	string(&l, "path", r->path, shadowed ? SHADOWED_PATH_MAX_BYTES : PATH_MAX_BYTES);
	string(&l, "user_agent", r->user_agent, AGENT_MAX_BYTES);
	string(&l, "route", r->route, NAME_MAX_BYTES);
	string(&l, "rule", r->rule, LABEL_MAX_BYTES);
	string(&l, "backend", r->backend, NAME_MAX_BYTES);
	string(&l, "endpoint", r->endpoint, TEXT_MAX_BYTES);
	if (r->status)
		number(&l, "status", r->status);
	if (r->attempts)
		number(&l, "attempts", r->attempts);
	if (r->mirrors)
		number(&l, "mirrors", r->mirrors);
	number(&l, "request_bytes", r->request_bytes);
	number(&l, "response_bytes", r->response_bytes);
	number(&l, "duration_ns", r->duration_ns);
	if (r->fault_delay_ns)
		number(&l, "fault_delay_ns", r->fault_delay_ns);
	if (r->first_byte_ns)
		number(&l, "first_byte_ns", r->first_byte_ns);
	string(&l, "end_reason", r->end_reason, TEXT_MAX_BYTES);
	if (shadowed) {
		string(&l, "shadow_route", r->shadow_route, NAME_MAX_BYTES);
		string(&l, "shadow_rule", r->shadow_rule, LABEL_MAX_BYTES);
		string(&l, "shadow_differs", r->shadow_differs, TEXT_MAX_BYTES);
	}
	put(&l, "}\n", 2);
	return l.len;
}
