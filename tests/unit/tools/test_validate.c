/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <unistd.h>
#include "answer.h"
#include "base/alloc.h"
#include "sluicectl/validate.h"
#include "sluicectl/view.h"
#include "../../lib/leak.h"

static char dir[] = "/tmp/sl-validate-XXXXXX";
static char path[80];

static void setup(void)
{
	cr_assert_not_null(mkdtemp(dir));
	(void)snprintf(path, sizeof(path), "%s/all.yaml", dir);
}

static void teardown(void)
{
	(void)unlink(path);
	cr_assert_eq(rmdir(dir), 0);
}

TestSuite(validate, .init = setup, .fini = teardown);

static const char service[] = "apiVersion: v1\n"
			      "kind: Service\n"
			      "metadata: {name: web, namespace: shop}\n"
			      "spec: {clusterIP: 10.96.0.1, ports: [{port: 80}]}\n"
			      "---\n";
static const char route[] = "apiVersion: gateway.networking.k8s.io/v1\n"
			    "kind: HTTPRoute\n"
			    "metadata: {name: r, namespace: shop}\n"
			    "spec:\n"
			    "  parentRefs: [{group: '', kind: Service, name: %s, port: 80}]\n"
			    "  rules:\n"
			    "  - backendRefs: [{name: %s, port: 80}]\n"
			    "%s";

static void write_file(const char *parent, const char *backend, const char *more)
{
	FILE *f = fopen(path, "w");

	cr_assert_not_null(f);
	cr_assert_gt(fprintf(f, "%s", service), 0);
	cr_assert_gt(fprintf(f, route, parent, backend, more), 0);
	cr_assert_eq(fclose(f), 0);
}

/* The text without the folder's name in its last line; freed by the caller. */
static json_t *check_text(const char *want, bool passed)
{
	struct sl_buf out = SL_BUF_INIT(0);
	json_t *answer = NULL;
	char expected[2048];

	(void)snprintf(expected, sizeof(expected), want, dir);
	cr_assert_eq(sl_validate_folder(dir, &answer), 0);
	cr_assert_eq(sl_view_validate(answer, &out), 0);
	cr_assert_eq(sl_buf_append(&out, "", 1), 0);
	cr_assert_str_eq(sl_buf_ptr(&out), expected, "%s", sl_buf_ptr(&out));
	cr_assert_eq(sl_validate_passed(answer), passed);
	sl_buf_deinit(&out);
	return answer;
}

Test(validate, a_folder_without_mistakes)
{
	write_file("web", "web", "");
	json_decref(check_text(
		"%s: 1 file, 2 objects, 0 errors, 0 warnings, 0 conditions not met\n", true));
	check_leaks();
}

Test(validate, errors_have_file_line_object_and_field)
{
	write_file("web", "web", "    timeouts: {request: 1d}\n    frobnicate: 1\n");
	json_decref(check_text(
		"all.yaml:13: error: HTTPRoute shop/r: spec.rules[0].timeouts.request: must be a "
		"duration like 1h30m, 10s or 500ms, got \"1d\"\n"
		"all.yaml:14: warning: HTTPRoute shop/r: spec.rules[0].frobnicate: unknown field, "
		"ignored\n"
		"all.yaml:6: Accepted is False: HTTPRoute shop/r, parent Service shop/web:80: "
		"UnsupportedValue: No rule can be used, so requests get 500: "
		"spec.rules[0].timeouts.request: must be a duration like 1h30m, "
		"10s "
		"or 500ms, got \"1d\"\n"
		"%s: 1 file, 2 objects, 1 error, 1 warning, 1 condition not met\n",
		false));
	check_leaks();
}

Test(validate, conditions_that_are_not_met_fail_too)
{
	json_t *answer;

	write_file("web", "nobody", "");
	answer = check_text("all.yaml:6: ResolvedRefs is False: HTTPRoute shop/r, parent Service "
			    "shop/web:80: BackendNotFound: spec.rules[0].backendRefs[0]: Service "
			    "shop/nobody does not exist\n"
			    "%s: 1 file, 2 objects, 0 errors, 0 warnings, 1 condition not met\n",
			    false);
	cr_assert_null(json_object_get(
		json_array_get(
			json_object_get(
				json_array_get(
					json_object_get(
						json_array_get(json_object_get(answer, "routes"),
							       0),
						"parents"),
					0),
				"conditions"),
			0),
		"lastTransitionTime"));
	json_decref(answer);
	write_file("nowhere", "web", "");
	cr_assert_eq(sl_validate_folder(dir, &answer), 0);
	cr_assert(!sl_validate_passed(answer));
	json_decref(answer);
	check_leaks();
}

Test(validate, no_folder_is_an_error)
{
	json_t *answer = NULL;

	write_file("web", "web", "");
	cr_assert_eq(sl_validate_folder("/nonexistent", &answer), -ENOENT);
	cr_assert_eq(sl_validate_folder(path, &answer), -ENOTDIR);
	cr_assert_null(answer);
}

Test(validate, a_failed_allocation_is_reported)
{
	int r = -ENOMEM;

	write_file("web", "nobody", "    frobnicate: 1\n");
	for (long n = 0; r; n++) {
		json_t *answer = NULL;

		(void)sl_alloc_fail_after(n);
		r = sl_validate_folder(dir, &answer);
		(void)sl_alloc_fail_after(-1);
		cr_assert(r == 0 || r == -ENOMEM, "%d at %ld", r, n);
		cr_assert_lt(n, 2000);
		json_decref(answer);
	}
	check_leaks();
}

Test(validate, answers_of_another_shape_do_no_harm)
{
	static const char *const odd[] = {
		"{}",
		"{'errors':7,'warnings':{},'routes':[1,{'parents':[2,{'conditions':[3,{}]}]}]}",
		"{'errors':[1,{'file':2}],'folder':[]}"};

	for (size_t i = 0; i < sizeof(odd) / sizeof(*odd); i++) {
		struct sl_buf out = SL_BUF_INIT(0);
		json_t *j = answer_load(odd[i]);

		cr_assert_eq(sl_view_validate(j, &out), 0);
		sl_buf_deinit(&out);
		json_decref(j);
	}
	check_leaks();
}
