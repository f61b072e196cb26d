/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Arena: many small allocations, freed in one step. A stream keeps its header text in one, a
 * snapshot part its whole content. Not for objects that need a destructor.
 * Thread: one at a time; a finished (immutable) arena may be read by any.
 */
#include <stddef.h>
#include "base/str.h"

struct sl_arena_block;
struct sl_arena {
	struct sl_arena_block *head; /* newest first */
	size_t block_bytes;	     /* size of the next block */
	size_t used_bytes;	     /* sum handed out since the last reset */
};

#define SL_ARENA_INIT(first_block_bytes) ((struct sl_arena){.block_bytes = (first_block_bytes)})

/* Frees everything; the arena can be used again. Accepts a zeroed arena. */
void sl_arena_deinit(struct sl_arena *a);
/* Forgets everything but keeps one block for the next use. */
void sl_arena_reset(struct sl_arena *a);
/* Aligned to 16 bytes, not zeroed. NULL when out of memory. */
void *sl_arena_alloc(struct sl_arena *a, size_t bytes);
void *sl_arena_zalloc(struct sl_arena *a, size_t n, size_t size);
/* A copy of s that lives as long as the arena, with a NUL behind it that len does not count.
 * Returns 0 or -ENOMEM. Copying an empty string gives an empty, non-NULL one. */
int sl_arena_str(struct sl_arena *a, struct sl_str s, struct sl_str *ret);
int sl_arena_printf(struct sl_arena *a, struct sl_str *ret, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

#define sl_arena_new(a, type)	   ((type *)sl_arena_zalloc((a), 1, sizeof(type)))
#define sl_arena_new_n(a, type, n) ((type *)sl_arena_zalloc((a), (n), sizeof(type)))
