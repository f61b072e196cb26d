/* SPDX-License-Identifier: Apache-2.0 */
#include "h1_check.h"

#include "base/cleanup.h"
#include "http/uri.h"

/* Whether one of the segments is "." or "..", escaped or not. */
static bool has_dots(struct sl_str path)
{
	size_t dots = 0, others = 0;

	for (size_t i = 0; i <= path.len; i++) {
		if (i == path.len || path.ptr[i] == '/') {
			if (!others && (dots == 1 || dots == 2))
				return true;
			dots = others = 0;
		} else if (path.ptr[i] == '.') {
			dots++;
		} else if (path.len - i >= 3 && (strncasecmp(path.ptr + i, "%2e", 3) == 0)) {
			dots++;
			i += 2;
		} else {
			others++;
		}
	}
	return false;
}

static const char *check_path(struct sl_str path, struct sl_arena *a)
{
	struct sl_str once, twice;

	if (sl_uri_normalise(a, path, &once) || sl_uri_normalise(a, once, &twice))
		return "out of memory";
	if (!path.len || path.ptr[0] != '/')
		return sl_str_eq(path, once) ? NULL : "a path that is not absolute was changed";
	if (!once.len || once.ptr[0] != '/' || once.len > path.len)
		return "a normal path is not absolute, or longer";
	if (has_dots(once))
		return "a dot segment stayed";
	if (!has_dots(path) && once.ptr != path.ptr)
		return "a normal path was copied";
	return twice.ptr == once.ptr ? NULL : "a normal path is not normal";
}

static bool within(struct sl_str part, struct sl_str whole)
{
	return part.ptr >= whole.ptr && part.ptr + part.len <= whole.ptr + whole.len;
}

static const char *check_query(struct sl_str query, struct sl_arena *a)
{
	struct sl_str name, value, text;
	size_t pos = 0, last = 0;

	while (sl_uri_query_next(query, &pos, &name, &value)) {
		if (pos <= last || pos > query.len)
			return "the query does not go forward";
		last = pos;
		if (!within(name, query) || !within(value, query))
			return "a query piece is not of the query";
		if (memchr(name.ptr, '=', name.len) || memchr(name.ptr, '&', name.len) ||
		    memchr(value.ptr, '&', value.len))
			return "a query piece is cut in the wrong place";
		if (sl_uri_query_decode(a, value, &text))
			return "out of memory";
		if (text.len > value.len)
			return "decoding made it longer";
	}
	return NULL;
}

static const char *check_authority(struct sl_str s)
{
	struct sl_str host = sl_uri_host(s);

	if (host.len > s.len || host.ptr != s.ptr)
		return "the host is not of the authority";
	if (sl_uri_authority_valid(s, true) && !sl_uri_authority_valid(s, false))
		return "an authority with a port is not one";
	if (!sl_uri_authority_valid(s, false))
		return NULL;
	if (!host.len)
		return "an authority without a host";
	for (size_t i = 0; i < s.len; i++) {
		if ((unsigned char)s.ptr[i] <= ' ' || strchr("@/?#\\\x7f", s.ptr[i]))
			return "an authority with something else in it";
	}
	return NULL;
}

const char *h1_check_uri(const char *p, size_t len)
{
	_cleanup_(sl_arena_deinit) struct sl_arena a = SL_ARENA_INIT(4096);
	struct sl_str s = {p, len};
	const char *fault = check_path(s, &a);

	if (!fault)
		fault = check_query(s, &a);
	return fault ? fault : check_authority(s);
}
