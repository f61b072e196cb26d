/* SPDX-License-Identifier: Apache-2.0 */
#include "base/arena.h"

#include <errno.h>
#include <stdarg.h>
#include "base/alloc.h"

struct sl_arena_block {
	struct sl_arena_block *next;
	size_t cap;
	size_t used;
	size_t pad;
	unsigned char bytes[];
};

enum { ALIGN = 16, MIN_BLOCK = 1024, MAX_BLOCK = 1 << 20 };

void sl_arena_deinit(struct sl_arena *a)
{
	while (a->head) {
		struct sl_arena_block *b = a->head;

		a->head = b->next;
		free(b);
	}
	a->used_bytes = 0;
}

void sl_arena_reset(struct sl_arena *a)
{
	if (a->head) {
		struct sl_arena_block *keep = a->head;

		a->head = keep->next;
		sl_arena_deinit(a);
		keep->next = NULL;
		keep->used = 0;
		a->head = keep;
	}
	a->used_bytes = 0;
}

static int add_block(struct sl_arena *a, size_t bytes)
{
	size_t cap = a->block_bytes < MIN_BLOCK ? MIN_BLOCK : a->block_bytes;
	struct sl_arena_block *b;

	if (cap < bytes)
		cap = bytes;
	if (cap > SIZE_MAX - sizeof(*b))
		return -ENOMEM;
	b = sl_malloc(sizeof(*b) + cap);
	if (!b)
		return -ENOMEM;
	b->next = a->head;
	b->cap = cap;
	b->used = 0;
	a->head = b;
	if (a->block_bytes < MAX_BLOCK)
		a->block_bytes = cap * 2 > MAX_BLOCK ? MAX_BLOCK : cap * 2;
	return 0;
}

void *sl_arena_alloc(struct sl_arena *a, size_t bytes)
{
	size_t need;
	void *p;

	if (bytes > SIZE_MAX - ALIGN)
		return NULL;
	need = (bytes + ALIGN - 1) & ~(size_t)(ALIGN - 1);
	if ((!a->head || a->head->cap - a->head->used < need) && add_block(a, need))
		return NULL;
	p = a->head->bytes + a->head->used;
	a->head->used += need;
	a->used_bytes += need;
	return p;
}

void *sl_arena_zalloc(struct sl_arena *a, size_t n, size_t size)
{
	size_t bytes;
	void *p;

	if (__builtin_mul_overflow(n, size, &bytes))
		return NULL;
	p = sl_arena_alloc(a, bytes);
	return p ? memset(p, 0, bytes) : NULL;
}

int sl_arena_str(struct sl_arena *a, struct sl_str s, struct sl_str *ret)
{
	char *p = sl_arena_alloc(a, s.len + 1);

	if (!p)
		return -ENOMEM;
	if (s.len)
		memcpy(p, s.ptr, s.len);
	p[s.len] = '\0';
	*ret = (struct sl_str){p, s.len};
	return 0;
}

int sl_arena_printf(struct sl_arena *a, struct sl_str *ret, const char *fmt, ...)
{
	va_list ap;
	char *p;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (n < 0)
		return -EINVAL;
	p = sl_arena_alloc(a, (size_t)n + 1);
	if (!p)
		return -ENOMEM;
	va_start(ap, fmt);
	(void)vsnprintf(p, (size_t)n + 1, fmt, ap); /* the size was just computed */
	va_end(ap);
	*ret = (struct sl_str){p, (size_t)n};
	return 0;
}
