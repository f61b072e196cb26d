/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * One bucket as the builder goes on with it: what is inside, by value, and which of it changed
 * since the last build. Private to match_builder.c and match_bucket.c. Thread: control. After
 * -ENOMEM it can only be freed.
 */
#include "base/list.h"
#include "base/map.h"
#include "snapshot/match_impl.h"

struct match_pointers {
	const struct sl_match **items;
	uint32_t n, cap;
};

/* Matches that are filed under one value, or under none. */
struct match_bin {
	struct sl_list changed; /* in the bucket's, while it differs from now */
	struct sl_str key;	/* in the bucket's bins; empty: rest. The bytes follow the struct */
	struct bin_dimension *dimension; /* NULL until something is filed here */
	uint32_t n_users;		 /* matches of the bucket that name the value */
	uint32_t n_filed;
	const struct match_list *now; /* NULL: empty */
	struct match_pointers added, removed;
};

struct bucket_work {
	struct sl_list changed; /* in the builder's */
	enum sl_match_class class;
	struct sl_str path;
	uint32_t n;  /* matches, with those that wait */
	bool fanned; /* into bins by value; else all are in rest */
	struct match_bin rest;
	struct sl_map bins;	       /* struct match_bin by key */
	struct sl_map dimensions;      /* struct bin_dimension by id */
	struct sl_list in_use;	       /* dimensions with a match */
	struct match_pointers waiting; /* added, in no bin yet */
	struct sl_list changed_bins;
	struct sl_pmap now; /* the bucket's bins */
};

/* path is copied. Returns 0 or -ENOMEM. */
int bucket_work_new(enum sl_match_class class, struct sl_str path, struct bucket_work **ret);
void bucket_work_free(struct bucket_work *w);
int bucket_work_add(struct bucket_work *w, struct sl_match *m);
/* One that was there at the last build. */
int bucket_work_remove(struct bucket_work *w, struct sl_match *m);
/* *ret: a new part, NULL when nothing is inside. */
int bucket_work_build(struct bucket_work *w, struct bucket **ret);
