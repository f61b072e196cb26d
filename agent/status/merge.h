/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Our entries in a route's status.parents, beside those of other controllers (gateway-api 1.7.0,
 * RouteStatus): theirs stay as they are and where they are. Pure. Thread: any.
 */
#include <jansson.h>

enum {
	SL_STATUS_PARENTS_MAX = 32,
	SL_STATUS_ANCESTORS_MAX = 16,
	SL_STATUS_BACKEND_ANCESTORS_MAX = 32,
	SL_STATUS_CONDITIONS_MAX = 8
};

enum {
	SL_MERGE_SAME = 1, /* nothing is to be written */
	SL_MERGE_NEWER =
		2, /* the live status is of a later generation than ours: somebody knows more */
};

/*
 * live: status.parents as the API server has it, NULL or no array counts as empty. desired: our
 * entries, one for each parentRef that we manage. *ret is what is to be there instead: our entries
 * are replaced in place, new ones come last, those without a parentRef any more go; condition types
 * that we do not know stay; lastTransitionTime stays where the condition's status does. An entry
 * for which there is no room (max) is left out. Returns 0, SL_MERGE_*, or -ENOMEM.
 */
int sl_status_merge(const json_t *live, const json_t *desired, size_t max, json_t **ret);

/* A policy's status.ancestors in the form of a route's status.parents, and back (gateway-api,
 * PolicyStatus: they differ in the name of the reference). A new reference; NULL: out of memory. */
json_t *sl_status_from_ancestors(const json_t *ancestors);
json_t *sl_status_to_ancestors(const json_t *parents);
