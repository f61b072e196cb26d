/* SPDX-License-Identifier: Apache-2.0 */
#include "http/uri.h"

#include <arpa/inet.h>
#include <errno.h>
#include "http/chars.h"

enum dots { NO_DOTS, ONE_DOT, TWO_DOTS };

/* Length of the "." or "%2e" at the start of s, or 0. */
static size_t dot_len(struct sl_str s)
{
	if (s.len && s.ptr[0] == '.')
		return 1;
	if (s.len >= 3 && s.ptr[0] == '%' && s.ptr[1] == '2' && (s.ptr[2] | 0x20) == 'e')
		return 3;
	return 0;
}

static enum dots segment_dots(struct sl_str seg)
{
	size_t n = dot_len(seg), m;

	if (!n)
		return NO_DOTS;
	if (n == seg.len)
		return ONE_DOT;
	m = dot_len(sl_str_skip(seg, n));
	return m && n + m == seg.len ? TWO_DOTS : NO_DOTS;
}

/* The segment behind the "/" at pos. */
static struct sl_str segment_at(struct sl_str path, size_t pos)
{
	struct sl_str rest = sl_str_skip(path, pos + 1);
	const char *end = rest.len ? memchr(rest.ptr, '/', rest.len) : NULL;

	if (end)
		rest.len = (size_t)(end - rest.ptr);
	return rest;
}

/* Where the first dot segment's "/" is, or path.len. */
static size_t find_dots(struct sl_str path)
{
	size_t pos = 0;

	while (pos < path.len) {
		struct sl_str seg = segment_at(path, pos);

		if (segment_dots(seg) != NO_DOTS)
			return pos;
		pos += 1 + seg.len;
	}
	return path.len;
}

int sl_uri_normalise(struct sl_arena *a, struct sl_str path, struct sl_str *ret)
{
	size_t pos, n;
	char *out;

	if (!path.len || path.ptr[0] != '/') {
		*ret = path;
		return 0;
	}
	pos = n = find_dots(path);
	if (pos == path.len) {
		*ret = path;
		return 0;
	}
	out = sl_arena_alloc(a, path.len + 1);
	if (!out)
		return -ENOMEM;
	memcpy(out, path.ptr, pos);
	while (pos < path.len) {
		struct sl_str seg = segment_at(path, pos);
		enum dots dots = segment_dots(seg);

		pos += 1 + seg.len;
		if (dots == NO_DOTS) {
			out[n++] = '/';
			memcpy(out + n, seg.ptr, seg.len);
			n += seg.len;
			continue;
		}
		if (dots == TWO_DOTS) {
			while (n && out[n - 1] != '/')
				n--;
			n -= n > 0;
		}
		if (pos == path.len)
			out[n++] = '/';
	}
	*ret = (struct sl_str){out, n};
	return 0;
}

int sl_uri_path_to_match(struct sl_arena *a, struct sl_str path, struct sl_str *ret)
{
	return sl_uri_normalise(a, path.len && path.ptr[0] == '/' ? path : SL_STR("/"), ret);
}

bool sl_uri_query_next(struct sl_str query, size_t *pos, struct sl_str *ret_name,
		       struct sl_str *ret_value)
{
	while (*pos < query.len) {
		struct sl_str piece = sl_str_skip(query, *pos);
		const char *end = memchr(piece.ptr, '&', piece.len), *eq;

		if (end)
			piece.len = (size_t)(end - piece.ptr);
		*pos += piece.len + (end ? 1 : 0);
		if (!piece.len)
			continue;
		eq = memchr(piece.ptr, '=', piece.len);
		if (eq) {
			*ret_name = (struct sl_str){piece.ptr, (size_t)(eq - piece.ptr)};
			*ret_value = sl_str_skip(piece, ret_name->len + 1);
		} else {
			*ret_name = piece;
			*ret_value = (struct sl_str){piece.ptr + piece.len, 0};
		}
		return true;
	}
	return false;
}

static bool is_escape(struct sl_str s, size_t i)
{
	return s.ptr[i] == '%' && s.len - i >= 3 && sl_char_is(s.ptr[i + 1], SL_CHAR_HEX) &&
	       sl_char_is(s.ptr[i + 2], SL_CHAR_HEX);
}

int sl_uri_query_decode(struct sl_arena *a, struct sl_str s, struct sl_str *ret)
{
	size_t n = 0;
	char *out;

	if (!s.len || (!memchr(s.ptr, '%', s.len) && !memchr(s.ptr, '+', s.len))) {
		*ret = s;
		return 0;
	}
	out = sl_arena_alloc(a, s.len);
	if (!out)
		return -ENOMEM;
	for (size_t i = 0; i < s.len; i++) {
		if (is_escape(s, i)) {
			out[n++] =
				(char)(sl_char_hex(s.ptr[i + 1]) << 4 | sl_char_hex(s.ptr[i + 2]));
			i += 2;
		} else {
			out[n++] = s.ptr[i] == '+' ? ' ' : s.ptr[i];
		}
	}
	*ret = (struct sl_str){out, n};
	return 0;
}

static char *put_escaped(char *out, struct sl_str s, bool is_name)
{
	for (size_t i = 0; i < s.len; i++) {
		char c = s.ptr[i];

		if (sl_char_is(c, SL_CHAR_TARGET) && (unsigned char)c < 0x80 && c != '&' &&
		    (c != '=' || !is_name))
			*out++ = c;
		else
			out = sl_percent_put(out, c);
	}
	return out;
}

/* Those of other names, joined: a backend compares what it has decoded. */
static int keep_others(struct sl_arena *a, struct sl_str query, struct sl_str name, char *out,
		       size_t *ret_n)
{
	struct sl_str wanted, plain, key, value;
	size_t pos = 0, n = 0;

	if (sl_uri_query_decode(a, name, &wanted))
		return -ENOMEM;
	while (sl_uri_query_next(query, &pos, &key, &value)) {
		size_t len = (size_t)(value.ptr + value.len - key.ptr);

		if (sl_uri_query_decode(a, key, &plain))
			return -ENOMEM;
		if (sl_str_eq(plain, name) || sl_str_eq(plain, wanted))
			continue;
		if (n)
			out[n++] = '&';
		memcpy(out + n, key.ptr, len);
		n += len;
	}
	*ret_n = n;
	return 0;
}

int sl_uri_query_replace(struct sl_arena *a, struct sl_str query, struct sl_str name,
			 const struct sl_str *value, struct sl_str *ret)
{
	size_t n, added = value ? 3 * (name.len + value->len) + 2 : 0;
	char *out = sl_arena_alloc(a, query.len + added + 1), *end;

	if (!out || keep_others(a, query, name, out, &n))
		return -ENOMEM;
	end = out + n;
	if (value) {
		if (n)
			*end++ = '&';
		end = put_escaped(end, name, true);
		*end++ = '=';
		end = put_escaped(end, *value, false);
	}
	*ret = end > out ? (struct sl_str){out, (size_t)(end - out)} : SL_STR_NULL;
	return 0;
}

/* Length of the host at the start of an authority, brackets included. */
static size_t host_len(struct sl_str authority)
{
	const char *end;

	if (!authority.len)
		return 0;
	if (authority.ptr[0] == '[') {
		end = memchr(authority.ptr, ']', authority.len);
		return end ? (size_t)(end - authority.ptr) + 1 : authority.len;
	}
	end = memchr(authority.ptr, ':', authority.len);
	return end ? (size_t)(end - authority.ptr) : authority.len;
}

struct sl_str sl_uri_host(struct sl_str authority)
{
	return (struct sl_str){authority.ptr, host_len(authority)};
}

/* "[" IPv6address "]"; IPvFuture is refused, as nobody has ever seen one. */
static bool ip_literal_valid(struct sl_str host)
{
	char text[INET6_ADDRSTRLEN];
	struct in6_addr addr;
	size_t n = host.len - 2;

	if (host.len < 4 || host.ptr[host.len - 1] != ']' || n >= sizeof(text))
		return false;
	memcpy(text, host.ptr + 1, n);
	text[n] = '\0';
	return strlen(text) == n && inet_pton(AF_INET6, text, &addr) == 1;
}

static bool reg_name_valid(struct sl_str host)
{
	for (size_t i = 0; i < host.len; i++) {
		if (sl_char_is(host.ptr[i], SL_CHAR_HOST))
			continue;
		if (!is_escape(host, i))
			return false;
		i += 2;
	}
	return true;
}

bool sl_uri_authority_valid(struct sl_str authority, bool with_port)
{
	struct sl_str host = sl_uri_host(authority), port = sl_str_skip(authority, host.len);
	uint64_t n;

	if (!host.len)
		return false;
	if (host.ptr[0] == '[' ? !ip_literal_valid(host) : !reg_name_valid(host))
		return false;
	if (port.len && port.ptr[0] != ':')
		return false;
	if (port.len <= 1) /* RFC 3986 section 3.2.3: the port may be empty */
		return !with_port;
	return sl_str_to_u64(sl_str_skip(port, 1), UINT16_MAX, &n) == 0;
}
