/* SPDX-License-Identifier: Apache-2.0 */
#include "status/merge.h"

#include <errno.h>
#include <string.h>
#include "base/cleanup.h"
#include "compile/compile.h"

static void unrefp(json_t **j)
{
	json_decref(*j); /* accepts NULL */
}

static bool same_text(const json_t *a, const json_t *b, const char *key)
{
	const char *x = json_string_value(json_object_get(a, key));
	const char *y = json_string_value(json_object_get(b, key));

	return x && y && strcmp(x, y) == 0;
}

static bool is_ours(const json_t *entry)
{
	const char *name = json_string_value(json_object_get(entry, "controllerName"));

	return name && strcmp(name, SL_CONTROLLER_NAME) == 0;
}

/* The types that the compiler sets: the others in an entry of ours are somebody's addition. */
static bool is_our_type(const json_t *condition)
{
	static const char *const types[] = {"Accepted", "ResolvedRefs", "PartiallyInvalid",
					    "sluice.dev/Shadow", "sluice.dev/Kernel"};
	const char *type = json_string_value(json_object_get(condition, "type"));

	for (size_t i = 0; type && i < sizeof(types) / sizeof(*types); i++) {
		if (strcmp(type, types[i]) == 0)
			return true;
	}
	return false;
}

static json_t *find_parent(const json_t *entries, const json_t *entry)
{
	const json_t *ref = json_object_get(entry, "parentRef");
	json_t *it;
	size_t i;

	json_array_foreach (entries, i, it) {
		if (is_ours(it) && json_equal(json_object_get(it, "parentRef"), ref))
			return it;
	}
	return NULL;
}

static json_t *find_condition(const json_t *entry, const json_t *condition)
{
	json_t *it;
	size_t i;

	json_array_foreach (json_object_get(entry, "conditions"), i, it) {
		if (same_text(it, condition, "type"))
			return it;
	}
	return NULL;
}

static json_int_t generation_of(const json_t *condition)
{
	return json_integer_value(json_object_get(condition, "observedGeneration"));
}

static bool is_newer(const json_t *live, const json_t *desired)
{
	json_t *it;
	size_t i;

	json_array_foreach (json_object_get(desired, "conditions"), i, it) {
		const json_t *before = find_condition(live, it);

		if (before && generation_of(before) > generation_of(it))
			return true;
	}
	return false;
}

static int add_condition(json_t *to, const json_t *live, const json_t *condition)
{
	_cleanup_(unrefp) json_t *copy = json_deep_copy(condition);
	const json_t *before = find_condition(live, condition);
	json_t *since = json_object_get(before, "lastTransitionTime");

	if (!copy)
		return -ENOMEM;
	if (since && same_text(before, condition, "status") &&
	    json_object_set(copy, "lastTransitionTime", since))
		return -ENOMEM;
	return json_array_append(to, copy) ? -ENOMEM : 0;
}

/* Theirs first, as they were: a client that looks at an index finds what it found. */
static int merge_conditions(const json_t *live, const json_t *desired, json_t *to)
{
	json_t *it;
	size_t i;

	json_array_foreach (json_object_get(live, "conditions"), i, it) {
		const json_t *ours = is_our_type(it) ? find_condition(desired, it) : NULL;
		int r = 0;

		if (ours)
			r = add_condition(to, live, ours);
		else if (!is_our_type(it) && json_array_append(to, it))
			r = -ENOMEM;
		if (r)
			return r;
	}
	json_array_foreach (json_object_get(desired, "conditions"), i, it) {
		if (!find_condition(live, it) && json_array_size(to) < SL_STATUS_CONDITIONS_MAX &&
		    add_condition(to, live, it))
			return -ENOMEM;
	}
	return 0;
}

/* live: NULL for a new one. */
static int add_entry(json_t *to, const json_t *live, const json_t *desired)
{
	_cleanup_(unrefp) json_t *entry = json_copy((json_t *)desired);
	json_t *conditions = json_array();

	/* Takes conditions, also on failure; entry's own "conditions" is let go, desired keeps it.
	 */
	if (!entry || json_object_set_new(entry, "conditions", conditions))
		return -ENOMEM;
	if (merge_conditions(live, desired, conditions))
		return -ENOMEM;
	return json_array_append(to, entry) ? -ENOMEM : 0;
}

static int merge_live(const json_t *live, const json_t *desired, json_t *to)
{
	json_t *it;
	size_t i;
	int r = 0;

	json_array_foreach (live, i, it) {
		const json_t *ours = is_ours(it) ? find_parent(desired, it) : NULL;

		if (ours && is_newer(it, ours))
			return SL_MERGE_NEWER;
		if (ours)
			r = add_entry(to, it, ours);
		else if (!is_ours(it) && json_array_append(to, it))
			r = -ENOMEM;
		if (r)
			return r;
	}
	return 0;
}

int sl_status_merge(const json_t *live, const json_t *desired, size_t max, json_t **ret)
{
	_cleanup_(unrefp) json_t *merged = json_array();
	json_t *it;
	size_t i;
	int r = merged ? merge_live(live, desired, merged) : -ENOMEM;

	if (r)
		return r;
	json_array_foreach (desired, i, it) {
		if (!find_parent(merged, it) && json_array_size(merged) < max &&
		    add_entry(merged, NULL, it))
			return -ENOMEM;
	}
	if (json_is_array(live) ? json_equal(live, merged) : !json_array_size(merged))
		return SL_MERGE_SAME;
	*ret = sl_take(merged);
	return 0;
}

static json_t *rename_refs(const json_t *entries, const char *from, const char *to)
{
	json_t *out = json_array(), *it;
	size_t i;

	json_array_foreach (entries, i, it) {
		json_t *entry = json_copy(it), *ref = json_object_get(entry, from);

		if (!entry ||
		    (ref && (json_object_set(entry, to, ref) || json_object_del(entry, from)))) {
			json_decref(entry);
			json_decref(out);
			return NULL;
		}
		if (json_array_append_new(out, entry)) {
			json_decref(out);
			return NULL;
		}
	}
	return out;
}

json_t *sl_status_from_ancestors(const json_t *ancestors)
{
	return rename_refs(ancestors, "ancestorRef", "parentRef");
}

json_t *sl_status_to_ancestors(const json_t *parents)
{
	return rename_refs(parents, "parentRef", "ancestorRef");
}
