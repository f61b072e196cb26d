/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The set of all objects that are in force, by kind and "namespace/name". Changed only by the
 * control thread, read by the compiler. Holds references.
 */
#include "base/map.h"
#include "resource/object.h"

struct sl_model {
	struct sl_map by_kind[SL_N_KINDS]; /* key: "namespace/name" (cluster-scoped: "/name") */
	uint64_t generation;		   /* counts changes */
};

int sl_model_new(struct sl_model **ret);
struct sl_model *sl_model_free(struct sl_model *m); /* accepts NULL, returns NULL */
SL_DEFINE_CLEANUP(struct sl_model *, sl_model_free)
/* Takes its own reference; replaces an object of the same kind and name. 0 or -ENOMEM (model
 * unchanged). */
int sl_model_put(struct sl_model *m, struct sl_object *o);
bool sl_model_remove(struct sl_model *m, enum sl_kind kind, struct sl_str namespace,
		     struct sl_str name);
/* Borrowed, NULL when absent. */
struct sl_object *sl_model_get(const struct sl_model *m, enum sl_kind kind, struct sl_str namespace,
			       struct sl_str name);
/* All objects of a kind sorted by namespace, then name: a new array (free()) of borrowed pointers.
 * 0 or -ENOMEM. */
int sl_model_list(const struct sl_model *m, enum sl_kind kind, struct sl_object ***ret,
		  size_t *ret_n);
size_t sl_model_count(const struct sl_model *m, enum sl_kind kind);
