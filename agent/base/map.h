/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Hash map from bytes to a pointer: open addressing, keys and values are borrowed (the value
 * usually owns the key's bytes). Thread: one at a time; a map that is no longer changed may be read
 * by any.
 */
#include "base/str.h"

struct sl_map_slot {
	uint64_t hash; /* 0: empty, 1: deleted */
	struct sl_str key;
	void *value;
};

struct sl_map {
	struct sl_map_slot *slots;
	size_t cap;    /* power of two, or 0 */
	size_t n;      /* live entries */
	size_t n_used; /* live and deleted */
};

#define SL_MAP_INIT ((struct sl_map){0})

/* Frees the table, not keys or values. */
void sl_map_deinit(struct sl_map *m);
/* NULL when absent. */
void *sl_map_get(const struct sl_map *m, struct sl_str key);
/* Inserts or replaces (the new key's bytes are kept then). *ret_old, if asked for, gets the value
 * replaced or NULL. Returns 0 or -ENOMEM (map unchanged). value must not be NULL. */
int sl_map_put(struct sl_map *m, struct sl_str key, void *value, void **ret_old);
/* Makes room: the next n sl_map_put() do not fail. Returns 0 or -ENOMEM. */
int sl_map_reserve(struct sl_map *m, size_t n);
/* Returns the value removed, or NULL. */
void *sl_map_del(struct sl_map *m, struct sl_str key);
/* Iterate: start with *pos = 0; returns the value or NULL at the end. The current entry may be
 * deleted meanwhile, nothing may be inserted. */
void *sl_map_next(const struct sl_map *m, size_t *pos, struct sl_str *ret_key);

#define SL_KEY(p) ((struct sl_str){(const char *)(p), sizeof(*(p))})
