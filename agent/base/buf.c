/* SPDX-License-Identifier: Apache-2.0 */
#include "base/buf.h"

#include <errno.h>
#include "base/alloc.h"

enum { MIN_CAP = 512 };

static char *get_block(const struct sl_buf *b, size_t cap)
{
	return b->blocks && cap == SL_BLOCK_BYTES ? sl_blocks_get(b->blocks) : sl_malloc(cap);
}

static void put_block(const struct sl_buf *b)
{
	if (b->blocks && b->cap == SL_BLOCK_BYTES)
		sl_blocks_put(b->blocks, b->data);
	else
		free(b->data);
}

void sl_buf_deinit(struct sl_buf *b)
{
	put_block(b);
	b->data = NULL;
	b->start = b->end = b->cap = 0;
}

/* Room for n bytes behind the content, whatever the limit. */
static int make_room(struct sl_buf *b, size_t n)
{
	size_t len = sl_buf_len(b), cap;
	char *p;

	if (b->cap - b->end >= n && b->data)
		return 0;
	if (b->data && b->cap >= len + n && b->start >= len) {
		memcpy(b->data, b->data + b->start, len);
		b->start = 0;
		b->end = len;
		return 0;
	}
	cap = b->blocks ? SL_BLOCK_BYTES : MIN_CAP;
	if (cap < b->cap)
		cap = b->cap;
	while (cap < len + n)
		cap *= 2;
	p = get_block(b, cap);
	if (!p)
		return -ENOMEM;
	if (len)
		memcpy(p, b->data + b->start, len);
	put_block(b);
	b->data = p;
	b->cap = cap;
	b->start = 0;
	b->end = len;
	return 0;
}

static int check_size(const struct sl_buf *b, size_t n)
{
	size_t len = sl_buf_len(b);

	if (n > SIZE_MAX / 4 - len)
		return -ENOMEM;
	return b->limit_bytes && len + n > b->limit_bytes ? -ENOBUFS : 0;
}

int sl_buf_reserve(struct sl_buf *b, size_t n)
{
	int r = check_size(b, n);

	return r ? r : make_room(b, n);
}

int sl_buf_append(struct sl_buf *b, const void *p, size_t n)
{
	int r;

	if (!n)
		return 0;
	r = sl_buf_reserve(b, n);
	if (r)
		return r;
	memcpy(sl_buf_tail(b), p, n);
	sl_buf_commit(b, n);
	return 0;
}

int sl_buf_move(struct sl_buf *to, struct sl_buf *from, size_t n)
{
	int r = check_size(to, n);

	if (r)
		return r;
	/* A large block for a few bytes would be kept for as long as the reader takes. */
	if (!sl_buf_len(to) && n == sl_buf_len(from) && n >= from->cap / 4) {
		struct sl_buf moved = *from;

		moved.limit_bytes = to->limit_bytes;
		moved.blocks = to->blocks;
		to->limit_bytes = from->limit_bytes;
		to->blocks = from->blocks;
		*from = *to;
		*to = moved;
		sl_buf_consume(from, 0); /* empty: all of the block is room again */
		return 0;
	}
	r = sl_buf_append(to, sl_buf_ptr(from), n);
	if (!r)
		sl_buf_consume(from, n);
	return r;
}

int sl_buf_vprintf(struct sl_buf *b, const char *fmt, va_list ap)
{
	va_list again;
	int n, r;

	va_copy(again, ap);
	n = vsnprintf(NULL, 0, fmt, again);
	va_end(again);
	if (n < 0)
		return -EINVAL;
	r = check_size(b, (size_t)n);
	if (!r)
		r = make_room(
			b, (size_t)n + 1); /* the NUL is not content, the limit does not count it */
	if (r)
		return r;
	(void)vsnprintf(sl_buf_tail(b), (size_t)n + 1, fmt, ap); /* the size was just computed */
	sl_buf_commit(b, (size_t)n);
	return 0;
}

int sl_buf_printf(struct sl_buf *b, const char *fmt, ...)
{
	va_list ap;
	int r;

	va_start(ap, fmt);
	r = sl_buf_vprintf(b, fmt, ap);
	va_end(ap);
	return r;
}
