/* SPDX-License-Identifier: Apache-2.0 */
#include "base/base64.h"

#include <criterion/criterion.h>
#include <errno.h>
#include "base/alloc.h"

static const struct {
	const char *text, *bytes; /* bytes NULL: refused */
	size_t len;
} cases[] = {
	{"", "", 0},
	{"Zg==", "f", 1},
	{"Zm8=", "fo", 2},
	{"Zm9v", "foo", 3},
	{"Zm9vYg==", "foob", 4},
	{"Zm9vYmFy", "foobar", 6},
	{"Zm9v\nYmFy\r\n", "foobar", 6},
	{"\nZg=\n=", "f", 1},
	{"AP+/", "\x00\xff\xbf", 3},
	{"Z", NULL, 0},
	{"Zg", NULL, 0},
	{"Zg=", NULL, 0},
	{"Zg===", NULL, 0},
	{"=", NULL, 0},
	{"====", NULL, 0},
	{"Z===", NULL, 0},
	{"Zh==", NULL, 0}, /* bits that would be lost */
	{"Zm9=", NULL, 0},
	{"Zg==Zg==", NULL, 0},
	{"Zg==\nZm9v", NULL, 0},
	{"Zm 9v", NULL, 0},
	{"Zm9-", NULL, 0},
	{"Z=9v", NULL, 0},
};

Test(base64, texts_are_decoded_or_refused)
{
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct sl_str text = sl_str_from(cases[i].text);
		char *out = sl_malloc(sl_base64_room(text.len));
		size_t len = 99;
		int r = sl_base64_decode(text, out, &len);

		cr_expect_eq(r, cases[i].bytes ? 0 : -EINVAL, "%s", cases[i].text);
		cr_expect_eq(len, cases[i].bytes ? cases[i].len : 99, "%s", cases[i].text);
		if (!r)
			cr_expect_arr_eq(out, cases[i].bytes, len, "%s", cases[i].text);
		free(out);
	}
}

static const struct {
	const char *text, *bytes; /* bytes NULL: refused */
	size_t len;
} url_cases[] = {
	{"", "", 0},	     {"Zg", "f", 1},	    {"Zm8", "fo", 2},
	{"Zm9v", "foo", 3},  {"Zm9vYg", "foob", 4}, {"AP-_", "\x00\xff\xbf", 3},
	{"Z", NULL, 0},	     {"Zm9vY", NULL, 0},    {"Zh", NULL, 0},
	{"Zm9", NULL, 0},    {"Zg==", NULL, 0},	    {"AP+/", NULL, 0},
	{"Zm9v\n", NULL, 0},
};

Test(base64, texts_of_urls_are_decoded_or_refused)
{
	for (size_t i = 0; i < sizeof(url_cases) / sizeof(*url_cases); i++) {
		struct sl_str text = sl_str_from(url_cases[i].text);
		char out[16];
		size_t len = 99;
		int r = sl_base64url_decode(text, out, &len);

		cr_expect_eq(r, url_cases[i].bytes ? 0 : -EINVAL, "%s", url_cases[i].text);
		cr_expect_eq(len, url_cases[i].bytes ? url_cases[i].len : 99, "%s",
			     url_cases[i].text);
		if (!r)
			cr_expect_arr_eq(out, url_cases[i].bytes, len, "%s", url_cases[i].text);
	}
}
