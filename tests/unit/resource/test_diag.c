/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include "base/alloc.h"
#include "resource/diag.h"

Test(diag, text_is_copied_and_errors_are_counted)
{
	char file[] = "a.yaml";
	struct sl_diags d = SL_DIAGS_INIT;
	struct sl_diag in = {
		.severity = SL_SEVERITY_ERROR,
		.file = {file, 6},
		.line = 3,
		.object = SL_STR("Service a/b"),
		.field = SL_STR("spec"),
	};

	sl_diags_add(&d, &in, "got %d", 5);
	file[0] = 'X';
	in.severity = SL_SEVERITY_WARNING;
	sl_diags_add(&d, &in, "well");
	cr_assert_eq(d.n, 2);
	cr_expect_eq(d.n_errors, 1);
	cr_expect_eq(d.n_dropped, 0);
	cr_expect_str_eq(d.items[0].file.ptr, "a.yaml");
	cr_expect_str_eq(d.items[0].message.ptr, "got 5");
	cr_expect_str_eq(d.items[0].object.ptr, "Service a/b");
	cr_expect_str_eq(d.items[0].field.ptr, "spec");
	cr_expect_eq(d.items[0].line, 3);
	sl_diags_deinit(&d);
	cr_expect_eq(d.n, 0);
}

Test(diag, what_is_over_the_limit_is_counted)
{
	struct sl_diags d = SL_DIAGS_INIT;
	struct sl_diag in = {.severity = SL_SEVERITY_ERROR};

	for (int i = 0; i < 10003; i++)
		sl_diags_add(&d, &in, "%d", i);
	cr_expect_eq(d.n, 10000);
	cr_expect_eq(d.n_errors, 10003);
	cr_expect_eq(d.n_dropped, 3);
	sl_diags_deinit(&d);
}

Test(diag, out_of_memory_is_counted)
{
	for (long n = 0; n < 2; n++) {
		struct sl_diags d = SL_DIAGS_INIT;
		struct sl_diag in = {.severity = SL_SEVERITY_ERROR};

		sl_alloc_fail_after(n);
		sl_diags_add(&d, &in, "lost");
		sl_alloc_fail_after(-1);
		cr_expect_eq(d.n, 0);
		cr_expect_eq(d.n_errors, 1);
		cr_expect_eq(d.n_dropped, 1);
		sl_diags_add(&d, &in, "kept");
		cr_expect_eq(d.n, 1);
		sl_diags_deinit(&d);
	}
}
