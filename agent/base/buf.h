/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Byte queue in one contiguous block: append at the end, consume at the start. Grows by doubling up
 * to a limit set by the owner; gives its memory back when told to. Thread: one at a time.
 */
#include <stdarg.h>
#include "base/blocks.h"
#include "base/str.h"

struct sl_buf {
	char *data;
	size_t start, end, cap;
	size_t limit_bytes; /* of content; 0: none */
	/* Borrowed: no block of its own is smaller than these, and those of their size come from
	 * there and go there. NULL: the heap. */
	struct sl_blocks *blocks;
};

#define SL_BUF_INIT(limit) ((struct sl_buf){.limit_bytes = (limit)})

static inline size_t sl_buf_len(const struct sl_buf *b)
{
	return b->end - b->start;
}

static inline char *sl_buf_ptr(const struct sl_buf *b)
{
	return b->data ? b->data + b->start : NULL;
}

static inline struct sl_str sl_buf_str(const struct sl_buf *b)
{
	return (struct sl_str){sl_buf_ptr(b), sl_buf_len(b)};
}

void sl_buf_deinit(struct sl_buf *b);
/* Frees the block when empty (an idle connection costs no buffer), else does nothing. */
static inline void sl_buf_release(struct sl_buf *b)
{
	if (b->data && b->start == b->end)
		sl_buf_deinit(b);
}

/* Hands out the content; b is as after sl_buf_deinit(). */
static inline struct sl_buf sl_buf_take(struct sl_buf *b)
{
	struct sl_buf taken = *b;

	*b = (struct sl_buf){.limit_bytes = b->limit_bytes, .blocks = b->blocks};
	return taken;
}

/* Makes room for n more bytes behind the content. Returns 0, -ENOMEM, or -ENOBUFS when the limit
 * would be passed. Pointers into the buffer are invalid afterwards. */
int sl_buf_reserve(struct sl_buf *b, size_t n);

static inline size_t sl_buf_room(const struct sl_buf *b)
{
	return b->cap - b->end;
}

/* Where reserved bytes are written; sl_buf_commit() makes them content. */
static inline char *sl_buf_tail(const struct sl_buf *b)
{
	return b->data + b->end;
}

static inline void sl_buf_commit(struct sl_buf *b, size_t n)
{
	b->end += n;
}

static inline void sl_buf_consume(struct sl_buf *b, size_t n)
{
	b->start += n;
	if (b->start == b->end)
		b->start = b->end = 0;
}

int sl_buf_append(struct sl_buf *b, const void *p, size_t n);
/* The first n bytes of from go behind the content of to. Where they are all of it, to is empty and
 * the block is well filled, the blocks change places and no byte is copied. Returns as
 * sl_buf_reserve(); both are unchanged on failure. */
int sl_buf_move(struct sl_buf *to, struct sl_buf *from, size_t n);

static inline int sl_buf_append_str(struct sl_buf *b, struct sl_str s)
{
	return sl_buf_append(b, s.ptr, s.len);
}

int sl_buf_printf(struct sl_buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
int sl_buf_vprintf(struct sl_buf *b, const char *fmt, va_list ap);
