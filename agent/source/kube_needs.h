/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The ConfigMaps and Secrets that objects of the model name (sl_object.needs), each followed by
 * itself, and the Pods of a namespace that have the labels they name: a cluster's others are none
 * of our business, and may be many and large. One that nobody names any more is forgotten. Private
 * to this folder. Thread: the loop's.
 */
#include "source/kube_feed.h"

/* Returns 0 or -ENOMEM. */
int sl_kube_needs_new(struct sl_kube_pool *pool, struct sl_kube_needs **ret);
/* Closes their feeds. Accepts NULL, returns NULL. */
struct sl_kube_needs *sl_kube_needs_free(struct sl_kube_needs *n);
/* What the object names is needed once more. Returns 0 or -ENOMEM (nothing changed). */
int sl_kube_needs_add(struct sl_kube_needs *n, const struct sl_object *o);
/* Once less. */
void sl_kube_needs_drop(struct sl_kube_needs *n, const struct sl_object *o);
/* Of each it is known whether it exists, or why that cannot be known. */
bool sl_kube_needs_are_settled(const struct sl_kube_needs *n);
/* Adds an error for each that cannot be read. */
void sl_kube_needs_report(const struct sl_kube_needs *n, struct sl_diags *to);
/* List anew. */
void sl_kube_needs_again(struct sl_kube_needs *n);
