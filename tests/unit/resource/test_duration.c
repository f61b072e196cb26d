/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <inttypes.h>
#include "base/clock.h"
#include "resource/duration.h"

#define MS SL_NS_PER_MS
#define S  SL_NS_PER_S

Test(duration, texts_of_the_standard_have_their_value)
{
	static const struct {
		const char *text;
		uint64_t ns;
	} cases[] = {
		{"1h", 3600 * S},
		{"1m", 60 * S},
		{"1s", S},
		{"1ms", MS},
		{"0s", 0},
		{"0h", 0},
		{"0ms", 0},
		{"00000s", 0},
		{"1h30m", 5400 * S},
		{"1h30m10s500ms", 5410 * S + 500 * MS},
		{"10s30m1h", 5410 * S},
		{"100ms200ms300ms", 600 * MS},
		{"99999h", 359996400 * S},
		{"010s", 10 * S},
		{"99999h99999h99999h99999h", 4 * 359996400 * S},
		{"1m1ms", 60 * S + MS},
		{"5m5m5m5m", 1200 * S},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint64_t ns = 7;

		cr_expect_eq(sl_duration_parse(sl_str_from(cases[i].text), &ns), 0, "%s",
			     cases[i].text);
		cr_expect_eq(ns, cases[i].ns, "%s: %" PRIu64, cases[i].text, ns);
	}
}

Test(duration, other_texts_are_refused)
{
	static const char *const cases[] = {
		"",	"0",	"1",	     "1d",	"1.5h",		"-15m", "+1s",
		" 1s",	"1s ",	"1 s",	     "s",	"ms",		"h1",	"1S",
		"1us",	"1ns",	"1sm",	     "100000s", "1h1m1s1ms1ms", "1s1",	"1h,1m",
		"0x1s", "1_0s", "\xd9\xa1s", "1e3s",
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint64_t ns = 7;

		cr_expect_neq(sl_duration_parse(sl_str_from(cases[i]), &ns), 0, "%s", cases[i]);
		cr_expect_eq(ns, 7);
	}
}

Test(duration, printing_is_canonical)
{
	static const struct {
		uint64_t ns;
		const char *text;
	} cases[] = {
		{0, "0s"},
		{MS, "1ms"},
		{999999, "0s"},
		{S, "1s"},
		{60 * S, "1m"},
		{3600 * S, "1h"},
		{5410 * S + 500 * MS, "1h30m10s500ms"},
		{1500 * MS, "1s500ms"},
		{90000 * S, "25h"},
		{UINT64_MAX, "5124095h34m33s709ms"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char text[SL_DURATION_TEXT];

		cr_expect_str_eq(sl_duration_format(cases[i].ns, text), cases[i].text);
	}
}
