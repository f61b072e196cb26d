/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Blocks of one size that go round: what one queue gives back is what the next one gets, while it
 * is still in the cache. A few are kept, the rest goes back to the heap. A block is the heap's own,
 * so that free() takes it too. Thread: one at a time.
 */
enum { SL_BLOCK_BYTES = 16384, SL_BLOCKS_KEPT = 16 };

struct sl_blocks {
	unsigned n;
	void *kept[SL_BLOCKS_KEPT]; /* the last one given back is the first one out */
};
#define SL_BLOCKS_INIT ((struct sl_blocks){0})

/* SL_BLOCK_BYTES of any content, or NULL when out of memory. */
void *sl_blocks_get(struct sl_blocks *b);
/* From sl_blocks_get() of any, or of SL_BLOCK_BYTES from the heap. */
void sl_blocks_put(struct sl_blocks *b, void *block);
/* Frees what is kept. */
void sl_blocks_deinit(struct sl_blocks *b);
