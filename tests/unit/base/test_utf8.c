/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include "base/utf8.h"

/* Every code point, encoded by rule; surrogates are none. */
Test(utf8, every_code_point_has_its_length)
{
	for (uint32_t c = 0; c <= 0x10ffff; c++) {
		size_t want = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
		char s[4];

		for (size_t i = want; i-- > 1;)
			s[i] = (char)(0x80 | ((c >> (6 * (want - 1 - i))) & 0x3f));
		s[0] = (char)(want == 1 ? c : (0xf00U >> want & 0xff) | c >> (6 * (want - 1)));
		if (c >= 0xd800 && c <= 0xdfff)
			want = 0;
		cr_assert_eq(sl_utf8_len((struct sl_str){s, 4}), want, "U+%04X", c);
	}
}

Test(utf8, what_is_cut_off_or_malformed_is_refused)
{
	static const struct sl_str bad[] = {
		SL_STR(""),
		SL_STR("\x80"),
		SL_STR("\xbf"),
		SL_STR("\xc0\x80"),
		SL_STR("\xc1\xbf"),
		SL_STR("\xc2"),
		SL_STR("\xc2\x7f"),
		SL_STR("\xc2\xc0"),
		SL_STR("\xe0\x9f\xbf"),
		SL_STR("\xe2\x82"),
		SL_STR("\xe2\x82\x20"),
		SL_STR("\xed\xa0\x80"),
		SL_STR("\xf0\x8f\xbf\xbf"),
		SL_STR("\xf0\x9f\x98"),
		SL_STR("\xf4\x90\x80\x80"),
		SL_STR("\xf5\x80\x80\x80"),
		SL_STR("\xff"),
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		cr_assert_eq(sl_utf8_len(bad[i]), 0, "case %zu", i);
}
