/* SPDX-License-Identifier: Apache-2.0 */
/*
 * nghttp2's memory, by session. All of it hangs in one list, so that it can be given back without
 * nghttp2: where an allocation fails while a body is queued, 1.52 frees the item and keeps a
 * pointer to it, and nghttp2_session_del() would free it once more.
 */
#include "base/alloc.h"
#include "http/h2_impl.h"

/* In front of each block; of the size that malloc(3) aligns to. */
_Static_assert(sizeof(struct sl_list) == 16, "blocks behind it are aligned");

static struct sl_list *head_of(void *p)
{
	return (struct sl_list *)p - 1;
}

static void *keep(struct sl_h2 *h2, struct sl_list *head)
{
	if (!head) {
		h2->out_of_memory = true;
		return NULL;
	}
	sl_list_append(&h2->memory, head);
	return head + 1;
}

static void *mem_malloc(size_t size, void *arg)
{
	return keep(arg, size > SIZE_MAX / 2 ? NULL : sl_malloc(sizeof(struct sl_list) + size));
}

static void mem_free(void *p, void *arg)
{
	if (!p)
		return;
	sl_list_remove(head_of(p));
	free(head_of(p));
}

static void *mem_calloc(size_t n, size_t size, void *arg)
{
	size_t bytes;

	if (__builtin_mul_overflow(n, size, &bytes) || bytes > SIZE_MAX / 2)
		return keep(arg, NULL);
	return keep(arg, sl_calloc(1, sizeof(struct sl_list) + bytes));
}

static void *mem_realloc(void *p, size_t size, void *arg)
{
	struct sl_list *head = p ? head_of(p) : NULL, *moved;

	if (!p)
		return mem_malloc(size, arg);
	sl_list_remove(head);
	moved = size > SIZE_MAX / 2 ? NULL
				    : sl_reallocarray(head, 1, sizeof(struct sl_list) + size);
	if (!moved)
		(void)keep(arg, head);
	return keep(arg, moved);
}

nghttp2_mem sl_h2_memory(struct sl_h2 *h2)
{
	return (nghttp2_mem){.mem_user_data = h2,
			     .malloc = mem_malloc,
			     .free = mem_free,
			     .calloc = mem_calloc,
			     .realloc = mem_realloc};
}

void sl_h2_memory_free(struct sl_h2 *h2)
{
	sl_list_foreach_safe (n, &h2->memory)
		mem_free(n + 1, h2);
}
