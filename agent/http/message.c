/* SPDX-License-Identifier: Apache-2.0 */
#include "http/message.h"

#include <errno.h>

enum { MIN_CAP = 16 };

/* Most names differ in length or first letter: the call is for the few that do not. */
static inline bool same_name(struct sl_str a, struct sl_str b)
{
	return a.len == b.len && a.len && ((a.ptr[0] ^ b.ptr[0]) & ~0x20) == 0 && sl_str_ieq(a, b);
}

struct sl_header *sl_headers_next(const struct sl_headers *h, struct sl_str name,
				  const struct sl_header *prev)
{
	for (uint32_t i = prev ? (uint32_t)(prev - h->items) + 1 : 0; i < h->n; i++) {
		if (same_name(h->items[i].name, name))
			return &h->items[i];
	}
	return NULL;
}

struct sl_header *sl_headers_find(const struct sl_headers *h, struct sl_str name)
{
	return sl_headers_next(h, name, NULL);
}

/* The old array stays behind in the arena: it goes with the stream. */
static int grow(struct sl_headers *h, struct sl_arena *a)
{
	uint32_t cap = h->cap < MIN_CAP ? MIN_CAP : h->cap * 2;
	struct sl_header *items;

	if (cap <= h->cap)
		return -ENOMEM;
	items = sl_arena_alloc(a, cap * sizeof(*items));
	if (!items)
		return -ENOMEM;
	if (h->n)
		memcpy(items, h->items, h->n * sizeof(*items));
	h->items = items;
	h->cap = cap;
	return 0;
}

int sl_headers_append(struct sl_headers *h, struct sl_arena *a, struct sl_str name,
		      struct sl_str value)
{
	if (h->n == h->cap) {
		int r = grow(h, a);

		if (r)
			return r;
	}
	h->items[h->n++] = (struct sl_header){name, value};
	return 0;
}

int sl_headers_copy(const struct sl_headers *from, struct sl_arena *a, struct sl_headers *ret)
{
	struct sl_headers copy = {0};

	for (uint32_t i = 0; i < from->n; i++) {
		if (sl_headers_append(&copy, a, from->items[i].name, from->items[i].value))
			return -ENOMEM;
	}
	*ret = copy;
	return 0;
}

/* Removes the lines of the name from index at on. */
static unsigned remove_from(struct sl_headers *h, uint32_t at, struct sl_str name)
{
	uint32_t kept = at, n = h->n;

	for (uint32_t i = at; i < n; i++) {
		if (!same_name(h->items[i].name, name))
			h->items[kept++] = h->items[i];
	}
	h->n = kept;
	return n - kept;
}

int sl_headers_set(struct sl_headers *h, struct sl_arena *a, struct sl_str name,
		   struct sl_str value)
{
	struct sl_header *first = sl_headers_find(h, name);

	if (!first)
		return sl_headers_append(h, a, name, value);
	*first = (struct sl_header){name, value};
	(void)remove_from(h, (uint32_t)(first - h->items) + 1, name); /* any number is fine */
	return 0;
}

unsigned sl_headers_remove(struct sl_headers *h, struct sl_str name)
{
	return remove_from(h, 0, name);
}

static char *put(char *p, struct sl_str s)
{
	if (s.len)
		memcpy(p, s.ptr, s.len);
	return p + s.len;
}

int sl_headers_join(const struct sl_headers *h, struct sl_arena *a, struct sl_str name,
		    struct sl_str *ret)
{
	const struct sl_header *first = sl_headers_find(h, name), *it;
	struct sl_str between = sl_str_ieq(name, SL_STR("Cookie")) ? SL_STR("; ") : SL_STR(",");
	size_t len = 0;
	char *text, *p;

	if (!first)
		return -ENOENT;
	if (!sl_headers_next(h, name, first)) {
		*ret = first->value;
		return 0;
	}
	for (it = first; it; it = sl_headers_next(h, name, it))
		len += it->value.len + between.len;
	text = sl_arena_alloc(a, len);
	if (!text)
		return -ENOMEM;
	p = put(text, first->value);
	for (it = first; (it = sl_headers_next(h, name, it));) {
		p = put(p, between);
		p = put(p, it->value);
	}
	*ret = (struct sl_str){text, (size_t)(p - text)};
	return 0;
}

/* In the order of the enum, which starts with OTHER. */
static const struct sl_str methods[] = {
	[SL_METHOD_GET] = SL_STR("GET"),	 [SL_METHOD_HEAD] = SL_STR("HEAD"),
	[SL_METHOD_POST] = SL_STR("POST"),	 [SL_METHOD_PUT] = SL_STR("PUT"),
	[SL_METHOD_DELETE] = SL_STR("DELETE"),	 [SL_METHOD_CONNECT] = SL_STR("CONNECT"),
	[SL_METHOD_OPTIONS] = SL_STR("OPTIONS"), [SL_METHOD_TRACE] = SL_STR("TRACE"),
	[SL_METHOD_PATCH] = SL_STR("PATCH"),
};

enum sl_method sl_method_from(struct sl_str s)
{
	for (size_t i = SL_METHOD_OTHER + 1; i < sizeof(methods) / sizeof(methods[0]); i++) {
		if (sl_str_eq(s, methods[i]))
			return (enum sl_method)i;
	}
	return SL_METHOD_OTHER;
}

bool sl_method_idempotent(enum sl_method m)
{
	switch (m) {
	case SL_METHOD_GET:
	case SL_METHOD_HEAD:
	case SL_METHOD_OPTIONS:
	case SL_METHOD_TRACE:
	case SL_METHOD_PUT:
	case SL_METHOD_DELETE:
		return true;
	default:
		return false;
	}
}

bool sl_request_has_body(const struct sl_request *r)
{
	return r->body == SL_BODY_CHUNKED || (r->body == SL_BODY_LENGTH && r->content_length);
}
