/* SPDX-License-Identifier: Apache-2.0 */
#include "status/mesh.h"

#include <criterion/criterion.h>
#include <errno.h>
#include "base/alloc.h"
#include "status/merge.h"

static json_t *mesh(const char *spec, json_t *status)
{
	json_t *j = json_pack("{s:{s:s, s:i}, s:o*}", "metadata", "name", "m", "generation", 2,
			      "status", status);
	json_t *parsed = json_loads(spec, 0, NULL);

	cr_assert(j && parsed);
	cr_assert_eq(json_object_set_new(j, "spec", parsed), 0);
	return j;
}

#define OURS "{\"controllerName\": \"sluice.dev/mesh\"}"

static json_t *pending(void)
{
	return json_pack("{s:[{s:s, s:s, s:s, s:s}, {s:s, s:s}]}", "conditions", "type", "Accepted",
			 "status", "Unknown", "reason", "Pending", "lastTransitionTime", "then",
			 "type", "Other", "status", "True");
}

static const char *text(const json_t *object, const char *key)
{
	const char *s = json_string_value(json_object_get(object, key));

	return s ? s : "";
}

Test(mesh, a_new_one_is_accepted_and_says_by_whom)
{
	json_t *m = mesh(OURS, pending()), *status = NULL, *conditions, *features, *c;

	cr_assert_eq(sl_mesh_status(m, "sluice-system", 0, &status), 0);
	conditions = json_object_get(status, "conditions");
	cr_assert_eq(json_array_size(conditions), 2);
	c = json_array_get(conditions, 0);
	cr_expect_str_eq(text(c, "type"), "Accepted");
	cr_expect_str_eq(text(c, "status"), "True");
	cr_expect_str_eq(text(c, "reason"), "Accepted");
	cr_expect_str_eq(text(c, "lastTransitionTime"), "1970-01-01T00:00:00Z");
	cr_expect_str_eq(text(c, "message"),
			 "claimed by Sluice " SL_VERSION " in namespace sluice-system");
	cr_expect_eq(json_integer_value(json_object_get(c, "observedGeneration")), 2);
	cr_expect_str_eq(text(json_array_get(conditions, 1), "type"), "Other",
			 "what others say stays");
	features = json_object_get(status, "supportedFeatures");
	cr_assert_gt(json_array_size(features), 10);
	for (size_t i = 1; i < json_array_size(features); i++)
		cr_expect_lt(strcmp(text(json_array_get(features, i - 1), "name"),
				    text(json_array_get(features, i), "name")),
			     0, "ascending");
	json_decref(m);
	json_decref(status);
}

Test(mesh, what_is_written_is_not_written_again)
{
	json_t *m = mesh(OURS, pending()), *status = NULL, *again = NULL, *features;

	cr_assert_eq(sl_mesh_status(m, "n", 1, &status), 0);
	cr_assert_eq(json_object_set(m, "status", status), 0);
	cr_expect_eq(sl_mesh_status(m, "n", 2, &again), SL_MERGE_SAME);
	/* But what somebody changed is. */
	features = json_object_get(status, "supportedFeatures");
	cr_assert_eq(json_array_remove(features, 0), 0);
	cr_assert_eq(sl_mesh_status(m, "n", 2, &again), 0);
	cr_expect_gt(json_array_size(json_object_get(again, "supportedFeatures")),
		     json_array_size(features));
	json_decref(m);
	json_decref(status);
	json_decref(again);
}

Test(mesh, parameters_are_not_supported)
{
	json_t *m = mesh("{\"controllerName\": \"sluice.dev/mesh\", \"parametersRef\": "
			 "{\"group\": \"g\", \"kind\": \"K\", \"name\": \"n\"}}",
			 NULL);
	json_t *status = NULL, *c;

	cr_assert_eq(sl_mesh_status(m, "n", 0, &status), 0);
	c = json_array_get(json_object_get(status, "conditions"), 0);
	cr_expect_str_eq(text(c, "status"), "False");
	cr_expect_str_eq(text(c, "reason"), "InvalidParameters");
	json_decref(m);
	json_decref(status);
}

Test(mesh, one_of_another_controller_is_left_alone)
{
	static const char *const specs[] = {"{\"controllerName\": \"other.example/mesh\"}", "{}",
					    "{\"controllerName\": 1}"};

	for (size_t i = 0; i < sizeof(specs) / sizeof(*specs); i++) {
		json_t *m = mesh(specs[i], pending()), *status = NULL;

		cr_expect_eq(sl_mesh_status(m, "n", 0, &status), SL_MESH_FOREIGN, "%s", specs[i]);
		cr_expect_null(status);
		json_decref(m);
	}
}

Test(mesh, every_allocation_may_fail)
{
	json_t *m = mesh(OURS, pending());
	long n = 0;
	int r;

	do {
		json_t *status = NULL;

		sl_alloc_fail_after(n++);
		r = sl_mesh_status(m, "n", 0, &status);
		sl_alloc_fail_after(-1);
		cr_assert(r == 0 || r == -ENOMEM);
		json_decref(status);
	} while (r);
	cr_expect_gt(n, 1);
	json_decref(m);
}
