/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Map from bytes to a part, for snapshots: a hash trie whose nodes are counted, so that a copy
 * costs one reference and a change after it copies one path, whatever the number of entries. Keys
 * are borrowed from the value, which the map holds a reference of.
 *
 * Thread: a struct sl_pmap belongs to one thread; copies of it may be in others.
 */
#include "base/map.h" /* SL_KEY */
#include "snapshot/part.h"

struct sl_pmap_node;

struct sl_pmap {
	struct sl_pmap_node *root;
	size_t n;
};
#define SL_PMAP_INIT ((struct sl_pmap){0})

void sl_pmap_deinit(struct sl_pmap *m);
/* Sees no later change of m. */
struct sl_pmap sl_pmap_copy(const struct sl_pmap *m);
/* Borrowed; NULL when absent. Never allocates. */
const struct sl_part *sl_pmap_get(const struct sl_pmap *m, struct sl_str key);
/* Inserts or replaces. key lies in value. Returns 0 or -ENOMEM (map unchanged). */
int sl_pmap_put(struct sl_pmap *m, struct sl_str key, const struct sl_part *value);
/* Returns 0, also when it was not there, or -ENOMEM (map unchanged). */
int sl_pmap_del(struct sl_pmap *m, struct sl_str key);

enum { SL_PMAP_DEPTH = 13 };
struct sl_pmap_iter {
	const struct sl_pmap_node *node[SL_PMAP_DEPTH];
	unsigned at[SL_PMAP_DEPTH];
	int depth; /* -1: at the end */
};

/* In no useful order. The map may not be changed meanwhile, a copy may. */
struct sl_pmap_iter sl_pmap_iterate(const struct sl_pmap *m);
/* NULL at the end. ret_key may be NULL. */
const struct sl_part *sl_pmap_next(struct sl_pmap_iter *it, struct sl_str *ret_key);

/* Calls fn for each key whose value is not the same part in both, with NULL where it is absent.
 * What both share is not looked at. Ends with the first result of fn that is not 0. */
typedef int (*sl_pmap_diff_fn)(void *arg, struct sl_str key, const struct sl_part *before,
			       const struct sl_part *after);
int sl_pmap_diff(const struct sl_pmap *before, const struct sl_pmap *after, sl_pmap_diff_fn fn,
		 void *arg);
