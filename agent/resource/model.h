/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The set of all objects that are in force, by kind and "namespace/name". Changed only by the
 * control thread, read by the compiler. Holds references. Remembers the names of what changed last,
 * so that whoever knows an older state need not look at everything.
 */
#include "base/map.h"
#include "resource/object.h"

struct sl_model_change {
	enum sl_kind kind;
	struct sl_str key; /* the bytes are the model's */
};

enum { SL_MODEL_HISTORY = 4096 };

struct sl_model {
	struct sl_map by_kind[SL_N_KINDS]; /* key: "namespace/name" (cluster-scoped: "/name") */
	uint64_t generation;		   /* counts changes, and names a state */
	struct sl_model_change
		*history;      /* a ring: change to generation g is at g modulo its size */
	uint64_t history_from; /* oldest state from which on it is complete */
	uint64_t id;	       /* no two models of this process have the same */
};

int sl_model_new(struct sl_model **ret);
struct sl_model *sl_model_free(struct sl_model *m); /* accepts NULL, returns NULL */
SL_DEFINE_CLEANUP(struct sl_model *, sl_model_free)
/* Takes its own reference; replaces an object of the same kind and name. 0 or -ENOMEM (model
 * unchanged). */
int sl_model_put(struct sl_model *m, struct sl_object *o);
/* After both of these sl_model_put() of n objects like that does not fail. Return 0 or -ENOMEM. */
int sl_model_prepare(struct sl_object *o);
int sl_model_reserve(struct sl_model *m, enum sl_kind kind, size_t n);
bool sl_model_remove(struct sl_model *m, enum sl_kind kind, struct sl_str namespace,
		     struct sl_str name);
/* Borrowed, NULL when absent. */
struct sl_object *sl_model_get(const struct sl_model *m, enum sl_kind kind, struct sl_str namespace,
			       struct sl_str name);
struct sl_object *sl_model_get_key(const struct sl_model *m, enum sl_kind kind, struct sl_str key);
/* All objects of a kind sorted by namespace, then name: a new array (free()) of borrowed pointers.
 * 0 or -ENOMEM. */
int sl_model_list(const struct sl_model *m, enum sl_kind kind, struct sl_object ***ret,
		  size_t *ret_n);
size_t sl_model_count(const struct sl_model *m, enum sl_kind kind);
/* What was put or removed to come from state generation to the present one; names can repeat.
 * False: that is not known any more (or the state is not one of this model's). */
bool sl_model_knows(const struct sl_model *m, uint64_t generation);
/* For each generation after a known one. */
const struct sl_model_change *sl_model_change(const struct sl_model *m, uint64_t generation);
