/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <ctype.h>
#include "http/chars.h"

static bool in(const char *set, int c)
{
	return c && strchr(set, c);
}

/* The grammars once more, in another way than the table's. */
Test(chars, classes_are_those_of_the_grammars)
{
	for (int c = 0; c < 256; c++) {
		bool ascii = c < 128, alnum = ascii && isalnum(c), control = ascii && iscntrl(c);

		cr_assert_eq(sl_char_is((char)c, SL_CHAR_TOKEN), alnum || in("!#$%&'*+-.^_`|~", c),
			     "%d", c);
		cr_assert_eq(sl_char_is((char)c, SL_CHAR_TARGET), !control && !in(" #", c), "%d",
			     c);
		cr_assert_eq(sl_char_is((char)c, SL_CHAR_HOST), alnum || in("-._~!$&'()*+,;=", c),
			     "%d", c);
		cr_assert_eq(sl_char_is((char)c, SL_CHAR_HEX), ascii && isxdigit(c), "%d", c);
		cr_assert_eq(sl_char_is((char)c, SL_CHAR_VALUE), !control || c == '\t', "%d", c);
	}
}

Test(chars, hexadecimal_digits_have_values)
{
	static const char digits[] = "0123456789abcdef", upper[] = "0123456789ABCDEF";

	for (unsigned i = 0; i < 16; i++) {
		cr_assert_eq(sl_char_hex(digits[i]), i);
		cr_assert_eq(sl_char_hex(upper[i]), i);
	}
}

/* The search takes eight bytes at a time: each byte value, at each place, behind each kind of byte.
 */
Test(chars, a_value_ends_at_the_first_control_character)
{
	static const char around[] = {'a', '\t', ' ', '\x7e', '\x80', '\xff'};

	for (size_t k = 0; k < sizeof(around); k++) {
		for (int c = 0; c < 256; c++) {
			for (size_t at = 0; at < 20; at++) {
				bool fit = sl_char_is((char)c, SL_CHAR_VALUE);
				char text[20];

				memset(text, around[k], sizeof(text));
				text[at] = (char)c;
				cr_assert_eq(sl_chars_value_end(text, text + sizeof(text)),
					     fit ? text + sizeof(text) : text + at,
					     "%d at %zu behind %d", c, at, around[k]);
				cr_assert_eq(sl_chars_value((struct sl_str){text, at + 1}), fit);
			}
		}
	}
	cr_assert(sl_chars_value(SL_STR_NULL));
}

Test(chars, all_of_a_class)
{
	cr_assert(sl_chars_all(SL_STR(""), SL_CHAR_TOKEN));
	cr_assert(sl_chars_all(SL_STR("a-b"), SL_CHAR_TOKEN));
	cr_assert_not(sl_chars_all(SL_STR("a b"), SL_CHAR_TOKEN));
	cr_assert_not(sl_chars_all(SL_STR("ab\0"), SL_CHAR_TOKEN));
}
