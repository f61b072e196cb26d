/* SPDX-License-Identifier: Apache-2.0 */
/* percent and fraction: how many of the requests. */
#include "resource/kinds.h"

static const char *const fraction_fields[] = {"numerator", "denominator", NULL};

void sl_decode_fraction(const struct sl_cursor *at, struct sl_fraction *ret)
{
	int64_t numerator = 0, denominator = 100;
	struct sl_cursor fraction, top;

	if (sl_read_int(at, "percent", 0, 100, &numerator))
		*ret = (struct sl_fraction){(uint32_t)numerator, 100};
	if (!sl_read_object(at, "fraction", fraction_fields, &fraction))
		return;
	if (sl_cursor_has(at, "percent"))
		sl_cursor_error(&fraction, "must not be set beside percent");
	top = sl_cursor_member(&fraction, "numerator");
	if (!top.node)
		sl_cursor_error(&top, "required, but missing");
	numerator = 0;
	(void)sl_read_int(&fraction, "numerator", 0, INT32_MAX, &numerator);	 /* reported */
	(void)sl_read_int(&fraction, "denominator", 1, INT32_MAX, &denominator); /* has a default */
	if (numerator > denominator)
		sl_cursor_error(&top, "must not be greater than the denominator");
	*ret = (struct sl_fraction){(uint32_t)numerator, (uint32_t)denominator};
}
