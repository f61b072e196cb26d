/* SPDX-License-Identifier: Apache-2.0 */
/* First line: a pattern; the rest: a value. Time is bounded by the match limits, which libFuzzer's
 * own time-out watches. */
#include <string.h>
#include "fuzz.h"
#include "snapshot/regex.h"

static bool is_literal(struct sl_str s)
{
	for (size_t i = 0; i < s.len; i++) {
		char c = s.ptr[i];

		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9')))
			return false;
	}
	return true;
}

static const char *check(struct sl_str pattern, struct sl_str value)
{
	char error[SL_REGEX_ERROR_TEXT] = "";
	struct sl_regex_scratch *scratch = NULL;
	struct sl_regex *regex = NULL;
	enum sl_regex_result first, again;
	const char *fault = NULL;
	int r = sl_regex_new(pattern, &regex, error);

	if (r == SL_REGEX_BAD)
		return error[0] ? NULL : "a bad pattern without a message";
	if (r || sl_regex_scratch_new(&scratch)) {
		sl_regex_unref(regex);
		return NULL;
	}
	first = sl_regex_match(regex, value, scratch);
	again = sl_regex_match(regex, value, scratch);
	if (first != again)
		fault = "two answers to one question";
	if (is_literal(pattern) && (first == SL_REGEX_YES) != sl_str_eq(pattern, value))
		fault = "a literal matches exactly itself";
	sl_regex_scratch_free(scratch);
	sl_regex_unref(regex);
	return fault;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *p = (const char *)data;
	const char *nl = size ? memchr(p, '\n', size) : NULL;
	struct sl_str pattern = {p, nl ? (size_t)(nl - p) : size};
	struct sl_str value = nl ? (struct sl_str){nl + 1, size - pattern.len - 1} : SL_STR("");

	/* As long as the API lets a value be. */
	if (pattern.len <= 1024 && value.len <= 65536)
		fuzz_verdict(check(pattern, value));
	return 0;
}
