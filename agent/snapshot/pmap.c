/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inner nodes have 32 children, chosen by five bits of the hash a level; leaves hold a few entries
 * in no order and become inner nodes when they overflow. A node with one reference whose ancestors
 * have one too belongs to this map alone and is changed in place; any other is copied.
 */
#include "snapshot/pmap.h"

#include <errno.h>
#include "base/alloc.h"

enum { BITS = 5, FANOUT = 1 << BITS, LEAF_MAX = 12, MAX_LEVEL = SL_PMAP_DEPTH - 1 };

struct entry {
	uint64_t hash;
	struct sl_str key;
	const struct sl_part *value;
};

struct sl_pmap_node {
	atomic_uint refs;
	bool is_leaf;
	unsigned n, cap; /* entries of a leaf; n: children of an inner node */
	union {
		struct entry entries[0];
		struct sl_pmap_node *children[0];
	};
};

static unsigned slot_of(uint64_t hash, unsigned level)
{
	return (unsigned)(hash >> (level * BITS)) & (FANOUT - 1);
}

/* ---- nodes ---- */

static struct sl_pmap_node *leaf_new(unsigned cap)
{
	struct sl_pmap_node *n = sl_malloc(sizeof(*n) + cap * sizeof(struct entry));

	if (!n)
		return NULL;
	atomic_init(&n->refs, 1);
	n->is_leaf = true;
	n->n = 0;
	n->cap = cap;
	return n;
}

static struct sl_pmap_node *inner_new(void)
{
	struct sl_pmap_node *n = sl_calloc(1, sizeof(*n) + FANOUT * sizeof(n->children[0]));

	if (n)
		atomic_init(&n->refs, 1);
	return n;
}

static void node_unref(struct sl_pmap_node *n)
{
	if (!n || atomic_fetch_sub_explicit(&n->refs, 1, memory_order_acq_rel) != 1)
		return;
	/* Recursion is as deep as the trie: 13 levels. */
	for (unsigned i = 0; n->is_leaf && i < n->n; i++)
		sl_part_unref(n->entries[i].value);
	for (unsigned i = 0; !n->is_leaf && i < FANOUT; i++)
		node_unref(n->children[i]);
	free(n);
}

static bool is_alone(struct sl_pmap_node *n)
{
	return atomic_load_explicit(&n->refs, memory_order_acquire) == 1;
}

static void leaf_append(struct sl_pmap_node *leaf, const struct entry *e)
{
	sl_part_ref(e->value);
	leaf->entries[leaf->n++] = *e;
}

static struct sl_pmap_node *leaf_copy(const struct sl_pmap_node *from, unsigned cap)
{
	struct sl_pmap_node *n = leaf_new(cap);

	for (unsigned i = 0; n && i < from->n; i++)
		leaf_append(n, &from->entries[i]);
	return n;
}

static struct sl_pmap_node *inner_copy(const struct sl_pmap_node *from)
{
	struct sl_pmap_node *n = inner_new();

	if (!n)
		return NULL;
	n->n = from->n;
	for (unsigned i = 0; i < FANOUT; i++) {
		n->children[i] = from->children[i];
		if (n->children[i])
			atomic_fetch_add_explicit(&n->children[i]->refs, 1, memory_order_relaxed);
	}
	return n;
}

static void replace(struct sl_pmap_node **slot, struct sl_pmap_node *by)
{
	struct sl_pmap_node *old = *slot;

	*slot = by;
	node_unref(old);
}

/* Makes *slot a node that is this map's alone. */
static int own(struct sl_pmap_node **slot, unsigned cap)
{
	struct sl_pmap_node *copy;

	if (is_alone(*slot) && (!(*slot)->is_leaf || (*slot)->cap >= cap))
		return 0;
	copy = (*slot)->is_leaf ? leaf_copy(*slot, cap) : inner_copy(*slot);
	if (!copy)
		return -ENOMEM;
	replace(slot, copy);
	return 0;
}

/* ---- looking up ---- */

static int leaf_find(const struct sl_pmap_node *leaf, uint64_t hash, struct sl_str key)
{
	for (unsigned i = 0; i < leaf->n; i++) {
		if (leaf->entries[i].hash == hash && sl_str_eq(leaf->entries[i].key, key))
			return (int)i;
	}
	return -1;
}

static const struct sl_part *find(const struct sl_pmap_node *n, unsigned level, uint64_t hash,
				  struct sl_str key)
{
	int i;

	while (n && !n->is_leaf)
		n = n->children[slot_of(hash, level++)];
	i = n ? leaf_find(n, hash, key) : -1;
	return i < 0 ? NULL : n->entries[i].value;
}

const struct sl_part *sl_pmap_get(const struct sl_pmap *m, struct sl_str key)
{
	return m->n ? find(m->root, 0, sl_str_hash(key), key) : NULL;
}

/* ---- changing ---- */

static int put(struct sl_pmap_node **slot, unsigned level, const struct entry *e, bool *ret_new);

/* An inner node with the entries of a full leaf. */
static int split(struct sl_pmap_node **slot, unsigned level)
{
	struct sl_pmap_node *inner = inner_new();
	bool is_new;

	if (!inner)
		return -ENOMEM;
	for (unsigned i = 0; i < (*slot)->n; i++) {
		const struct entry *e = &(*slot)->entries[i];
		struct sl_pmap_node **child = &inner->children[slot_of(e->hash, level)];

		inner->n += !*child;
		if (put(child, level + 1, e, &is_new)) {
			inner->n -= !*child;
			node_unref(inner);
			return -ENOMEM;
		}
	}
	replace(slot, inner);
	return 0;
}

static unsigned more(unsigned cap)
{
	return cap < 4 ? cap + 1 : cap + cap / 2;
}

static int leaf_put(struct sl_pmap_node **slot, unsigned level, const struct entry *e,
		    bool *ret_new)
{
	int i = leaf_find(*slot, e->hash, e->key), r;

	*ret_new = i < 0;
	if (i >= 0) {
		const struct sl_part *old;

		r = own(slot, (*slot)->n);
		if (r)
			return r;
		old = (*slot)->entries[i].value;
		sl_part_ref(e->value);
		(*slot)->entries[i] = *e;
		sl_part_unref(old);
		return 0;
	}
	if ((*slot)->n >= LEAF_MAX && level < MAX_LEVEL) {
		r = split(slot, level);
		return r ? r : put(slot, level, e, ret_new);
	}
	r = own(slot, (*slot)->n == (*slot)->cap ? more((*slot)->cap) : (*slot)->n + 1);
	if (!r)
		leaf_append(*slot, e);
	return r;
}

static int put(struct sl_pmap_node **slot, unsigned level, const struct entry *e, bool *ret_new)
{
	struct sl_pmap_node **child;
	int r;

	if (!*slot) {
		*slot = leaf_new(1);
		if (!*slot)
			return -ENOMEM;
		*ret_new = true;
		leaf_append(*slot, e);
		return 0;
	}
	if ((*slot)->is_leaf)
		return leaf_put(slot, level, e, ret_new);
	r = own(slot, 0);
	if (r)
		return r;
	child = &(*slot)->children[slot_of(e->hash, level)];
	(*slot)->n += !*child;
	r = put(child, level + 1, e, ret_new);
	if (r)
		(*slot)->n -= !*child;
	return r;
}

int sl_pmap_put(struct sl_pmap *m, struct sl_str key, const struct sl_part *value)
{
	struct entry e = {sl_str_hash(key), key, value};
	bool is_new = false;
	int r = put(&m->root, 0, &e, &is_new);

	if (!r)
		m->n += is_new;
	return r;
}

static int leaf_del(struct sl_pmap_node **slot, uint64_t hash, struct sl_str key)
{
	int i = leaf_find(*slot, hash, key), r;
	const struct sl_part *old;

	if ((*slot)->n == 1) {
		replace(slot, NULL);
		return 0;
	}
	r = own(slot, (*slot)->n);
	if (r)
		return r;
	old = (*slot)->entries[i].value;
	(*slot)->entries[i] = (*slot)->entries[--(*slot)->n];
	sl_part_unref(old);
	return 0;
}

/* The key is there. */
static int del(struct sl_pmap_node **slot, unsigned level, uint64_t hash, struct sl_str key)
{
	struct sl_pmap_node **child;
	int r;

	if ((*slot)->is_leaf)
		return leaf_del(slot, hash, key);
	r = own(slot, 0);
	if (r)
		return r;
	child = &(*slot)->children[slot_of(hash, level)];
	r = del(child, level + 1, hash, key);
	if (r || *child)
		return r;
	if (--(*slot)->n == 0)
		replace(slot, NULL);
	return 0;
}

int sl_pmap_del(struct sl_pmap *m, struct sl_str key)
{
	int r;

	if (!sl_pmap_get(m, key))
		return 0;
	r = del(&m->root, 0, sl_str_hash(key), key);
	if (!r)
		m->n--;
	return r;
}

void sl_pmap_deinit(struct sl_pmap *m)
{
	node_unref(m->root);
	*m = SL_PMAP_INIT;
}

struct sl_pmap sl_pmap_copy(const struct sl_pmap *m)
{
	if (m->root)
		atomic_fetch_add_explicit(&m->root->refs, 1, memory_order_relaxed);
	return *m;
}

/* ---- walking ---- */

static struct sl_pmap_iter iterate(const struct sl_pmap_node *n)
{
	struct sl_pmap_iter it = {.node = {n}, .depth = n ? 0 : -1};

	return it;
}

struct sl_pmap_iter sl_pmap_iterate(const struct sl_pmap *m)
{
	return iterate(m->root);
}

static const struct entry *next(struct sl_pmap_iter *it)
{
	while (it->depth >= 0) {
		const struct sl_pmap_node *n = it->node[it->depth];
		unsigned *at = &it->at[it->depth];

		if (*at == (n->is_leaf ? n->n : FANOUT)) {
			it->depth--;
		} else if (n->is_leaf) {
			return &n->entries[(*at)++];
		} else if (n->children[(*at)++]) {
			it->node[++it->depth] = n->children[*at - 1];
			it->at[it->depth] = 0;
		}
	}
	return NULL;
}

const struct sl_part *sl_pmap_next(struct sl_pmap_iter *it, struct sl_str *ret_key)
{
	const struct entry *e = next(it);

	if (e && ret_key)
		*ret_key = e->key;
	return e ? e->value : NULL;
}

/* ---- differences ---- */

/* Of any two nodes of one level. */
static int diff_entries(const struct sl_pmap_node *a, const struct sl_pmap_node *b, unsigned level,
			sl_pmap_diff_fn fn, void *arg)
{
	struct sl_pmap_iter it = iterate(a);
	const struct entry *e;
	int r = 0;

	while (!r && (e = next(&it))) {
		const struct sl_part *other = find(b, level, e->hash, e->key);

		if (other != e->value)
			r = fn(arg, e->key, e->value, other);
	}
	it = iterate(b);
	while (!r && (e = next(&it))) {
		if (!find(a, level, e->hash, e->key))
			r = fn(arg, e->key, NULL, e->value);
	}
	return r;
}

static int diff(const struct sl_pmap_node *a, const struct sl_pmap_node *b, unsigned level,
		sl_pmap_diff_fn fn, void *arg)
{
	int r = 0;

	if (a == b)
		return 0;
	if (!a || !b || a->is_leaf || b->is_leaf)
		return diff_entries(a, b, level, fn, arg);
	for (unsigned i = 0; i < FANOUT && !r; i++)
		r = diff(a->children[i], b->children[i], level + 1, fn, arg);
	return r;
}

int sl_pmap_diff(const struct sl_pmap *before, const struct sl_pmap *after, sl_pmap_diff_fn fn,
		 void *arg)
{
	return diff(before->root, after->root, 0, fn, arg);
}
