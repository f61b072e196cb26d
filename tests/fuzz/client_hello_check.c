/* SPDX-License-Identifier: Apache-2.0 */
#include "client_hello_check.h"

#include <stdlib.h>
#include "tls/client_hello.h"

enum { PIECE_MAX = 600 };

static const char *check_name(const struct sl_client_hello *h)
{
	if (h->name.len > 255)
		return "a name that is too long";
	for (size_t i = 0; i < h->name.len; i++) {
		char c = h->name.ptr[i];

		if ((c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' &&
		    c != '.')
			return "a name that is none";
		if (c == '.' && (i == 0 || i + 1 == h->name.len || h->name.ptr[i - 1] == '.'))
			return "a name with an empty part";
	}
	return NULL;
}

static enum sl_client_hello_result parse(const char *p, size_t n, struct sl_client_hello *ret)
{
	char *exact = malloc(n ? n : 1); /* so that a sanitizer sees a byte too far */
	enum sl_client_hello_result r;

	if (!exact)
		abort();
	if (n)
		memcpy(exact, p, n);
	r = sl_client_hello_parse(exact, n, ret);
	free(exact);
	return r;
}

/* However few bytes there are, the verdict is that of all of them, or still open. */
static const char *check_prefix(const char *p, size_t n, enum sl_client_hello_result whole,
				const struct sl_client_hello *all)
{
	struct sl_client_hello h;
	enum sl_client_hello_result r = parse(p, n, &h);

	if (r == SL_CLIENT_HELLO_MORE)
		return h.need > n ? NULL : "wants bytes that are there";
	if (r != whole)
		return "changes its mind";
	if (r == SL_CLIENT_HELLO_DONE && !sl_str_eq(h.name, all->name))
		return "reads another name";
	return NULL;
}

/* The same message with a record for each byte or two. */
static const char *check_pieces(const char *p, size_t n, const struct sl_client_hello *all)
{
	static char out[PIECE_MAX * 6];
	size_t len = 0, left = 0, size = 1;
	struct sl_client_hello h;

	if (n > PIECE_MAX)
		return NULL;
	for (size_t i = 0; i < n;) {
		size_t chunk;

		if (!left) {
			if (n - i < 5)
				break; /* bytes behind the message */
			left = (size_t)(unsigned char)p[i + 3] << 8 | (unsigned char)p[i + 4];
			i += 5;
			continue;
		}
		chunk = size < left ? size : left;
		if (chunk > n - i)
			chunk = n - i;
		memcpy(out + len, "\x16\x03\x01\x00", 4);
		out[len + 4] = (char)chunk;
		memcpy(out + len + 5, p + i, chunk);
		len += 5 + chunk;
		i += chunk;
		left -= chunk;
		size = 3 - size;
	}
	if (parse(out, len, &h) != SL_CLIENT_HELLO_DONE || !sl_str_eq(h.name, all->name))
		return "reads it otherwise in pieces";
	return NULL;
}

const char *client_hello_check(const char *p, size_t n)
{
	struct sl_client_hello all;
	enum sl_client_hello_result r = parse(p, n, &all);
	const char *fault = NULL;

	if (r == SL_CLIENT_HELLO_MORE)
		return all.need > n ? NULL : "wants bytes that are there";
	if (r == SL_CLIENT_HELLO_DONE)
		fault = check_name(&all);
	for (size_t i = 0; i < n && !fault; i += 1 + i / 64)
		fault = check_prefix(p, i, r, &all);
	if (!fault && r == SL_CLIENT_HELLO_DONE)
		fault = check_pieces(p, n, &all);
	return fault;
}
