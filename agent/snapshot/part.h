/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * What the parts of a snapshot have in common: a reference count and a destructor. Embedded first.
 * A part is filled by the compiler and immutable from the moment somebody else sees it, so that
 * snapshots share those that did not change. Thread: any.
 */
#include <stdatomic.h>
#include <stddef.h>

struct sl_part {
	atomic_uint refs;
	void (*free)(struct sl_part *p);
};

/* One reference, the caller's. */
static inline void sl_part_init(struct sl_part *p, void (*free_fn)(struct sl_part *p))
{
	atomic_init(&p->refs, 1);
	p->free = free_fn;
}

static inline void sl_part_ref(const struct sl_part *p)
{
	/* The count is no part of what is immutable. */
	atomic_fetch_add_explicit(&((struct sl_part *)p)->refs, 1, memory_order_relaxed);
}

/* Accepts NULL. */
static inline void sl_part_unref(const struct sl_part *p)
{
	struct sl_part *own = (struct sl_part *)p;

	if (own && atomic_fetch_sub_explicit(&own->refs, 1, memory_order_acq_rel) == 1)
		own->free(own);
}
