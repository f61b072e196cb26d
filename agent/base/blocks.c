/* SPDX-License-Identifier: Apache-2.0 */
#include "base/blocks.h"

#include <stdlib.h>
#include "base/alloc.h"

#ifndef __has_feature
#define __has_feature(x) 0
#endif
/* A sanitizer sees what is used after it was given back only if the heap has it. */
#if defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer)
enum { KEPT = 0 };
#else
enum { KEPT = SL_BLOCKS_KEPT };
#endif

void *sl_blocks_get(struct sl_blocks *b)
{
	return b->n ? b->kept[--b->n] : sl_malloc(SL_BLOCK_BYTES);
}

void sl_blocks_put(struct sl_blocks *b, void *block)
{
	if ((int)b->n < KEPT)
		b->kept[b->n++] = block;
	else
		free(block);
}

void sl_blocks_deinit(struct sl_blocks *b)
{
	while (b->n)
		free(b->kept[--b->n]);
}
