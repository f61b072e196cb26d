/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include "datapath/datapath.h"

Test(reason, each_has_a_name_of_its_own_and_a_help_text)
{
	for (unsigned i = 0; i < SL_REASON_MAX; i++) {
		const char *name = sl_reason_name(i);

		cr_assert(name && *name && sl_reason_help(i) && *sl_reason_help(i), "reason %u", i);
		cr_expect(strspn(name, "abcdefghijklmnopqrstuvwxyz_") == strlen(name),
			  "\"%s\" fits a metric label", name);
		for (unsigned k = 0; k < i; k++)
			cr_expect(strcmp(name, sl_reason_name(k)) != 0, "%s twice", name);
	}
}

Test(reason, out_of_range_has_none)
{
	cr_expect(!sl_reason_name(SL_REASON_MAX) && !sl_reason_help(SL_REASON_MAX));
	cr_expect(!sl_reason_name(~0U));
}
