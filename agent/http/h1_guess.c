/* SPDX-License-Identifier: Apache-2.0 */
#include "http/h1_fields.h"

/* A target this long without a space is no other protocol's first line. */
enum { TARGET_SURE = 4096 };

static const struct sl_str preface = SL_STR("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");

/* How s goes on from a fixed text: more needed, the whole text there (HTTP1), or another. */
static enum sl_h1_guess compare(struct sl_str s, struct sl_str text)
{
	size_t n = s.len < text.len ? s.len : text.len;

	if (strncasecmp(s.ptr, text.ptr, n) != 0)
		return SL_H1_GUESS_OTHER;
	return n == text.len ? SL_H1_GUESS_HTTP1 : SL_H1_GUESS_MORE;
}

/* The scheme of an absolute-form target. */
static enum sl_h1_guess guess_scheme(struct sl_str s)
{
	enum sl_h1_guess plain = compare(s, SL_STR("http://"));

	return plain == SL_H1_GUESS_OTHER ? compare(s, SL_STR("https://")) : plain;
}

/* The start of the target, enough for the well-known methods. */
static enum sl_h1_guess guess_target(enum sl_method method, struct sl_str s)
{
	if (!s.len)
		return SL_H1_GUESS_MORE;
	if (s.ptr[0] == '/')
		return SL_H1_GUESS_HTTP1;
	if (method == SL_METHOD_CONNECT) {
		bool host =
			sl_char_is(s.ptr[0], SL_CHAR_HOST) || s.ptr[0] == '%' || s.ptr[0] == '[';

		return host ? SL_H1_GUESS_HTTP1 : SL_H1_GUESS_OTHER;
	}
	if (s.ptr[0] == '*' && method == SL_METHOD_OPTIONS)
		return SL_H1_GUESS_HTTP1;
	return guess_scheme(s);
}

/* Text protocols have commands with arguments too ("SSH-2.0-x Ubuntu", "get /key"): behind a method
 * that is not well known only the version convinces. */
static enum sl_h1_guess guess_version(struct sl_str s)
{
	size_t n = 0;

	while (n < s.len && sl_char_is(s.ptr[n], SL_CHAR_TARGET))
		n++;
	if (n >= TARGET_SURE)
		return SL_H1_GUESS_HTTP1;
	if (n == s.len)
		return SL_H1_GUESS_MORE;
	if (s.ptr[n] != ' ')
		return SL_H1_GUESS_OTHER;
	s = sl_str_skip(s, n + 1);
	n = s.len < 5 ? s.len : 5;
	if (memcmp(s.ptr, "HTTP/", n) != 0)
		return SL_H1_GUESS_OTHER;
	return n == 5 ? SL_H1_GUESS_HTTP1 : SL_H1_GUESS_MORE;
}

/* A well-known method and then no target: a malformed request if the line says HTTP anywhere.
 * As a tunnel it would go past the rules to a server that may be lenient; as HTTP it gets its 400.
 */
static enum sl_h1_guess guess_malformed(struct sl_str s)
{
	const char *end = memchr(s.ptr, '\n', s.len);
	struct sl_str line = {s.ptr, end ? (size_t)(end - s.ptr) : s.len};

	if (memmem(line.ptr, line.len, "HTTP/", 5) || line.len >= TARGET_SURE)
		return SL_H1_GUESS_HTTP1;
	return end ? SL_H1_GUESS_OTHER : SL_H1_GUESS_MORE;
}

static enum sl_h1_guess guess_request_line(struct sl_str s)
{
	struct sl_str method = {s.ptr, 0};
	enum sl_method m;
	enum sl_h1_guess g;

	while (method.len < s.len && sl_char_is(s.ptr[method.len], SL_CHAR_TOKEN))
		method.len++;
	if (method.len > SL_H1_METHOD_MAX)
		return SL_H1_GUESS_OTHER;
	if (method.len == s.len)
		return SL_H1_GUESS_MORE;
	m = sl_method_from(method);
	if (!method.len || s.ptr[method.len] != ' ')
		return m == SL_METHOD_OTHER ? SL_H1_GUESS_OTHER : guess_malformed(s);
	s = sl_str_skip(s, method.len + 1);
	g = guess_target(m, s);
	if (m == SL_METHOD_OTHER)
		return g == SL_H1_GUESS_HTTP1 ? guess_version(s) : g;
	return g == SL_H1_GUESS_OTHER ? guess_malformed(s) : g;
}

enum sl_h1_guess sl_h1_guess(const char *p, size_t len)
{
	struct sl_str s = {p, len};

	if (len >= preface.len && sl_str_starts(s, preface))
		return SL_H1_GUESS_H2_PREFACE;
	if (len < preface.len && len && memcmp(p, preface.ptr, len) == 0)
		return SL_H1_GUESS_MORE;
	/* Empty lines, also those that the parser refuses: servers skip them and serve what
	 * follows. */
	while (s.len && (s.ptr[0] == '\r' || s.ptr[0] == '\n'))
		s = sl_str_skip(s, 1);
	if (len - s.len > 2 * SL_H1_EMPTY_LINES_MAX)
		return SL_H1_GUESS_HTTP1;
	return s.len ? guess_request_line(s) : SL_H1_GUESS_MORE;
}
