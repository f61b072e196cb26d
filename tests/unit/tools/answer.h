/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Answers of the agent, written with ' for ". */
#include <criterion/criterion.h>
#include <jansson.h>
#include "base/buf.h"

static inline json_t *answer_load(const char *text)
{
	char json[8192];
	json_error_t e;
	json_t *j;
	size_t i;

	cr_assert_lt(strlen(text), sizeof(json));
	for (i = 0; text[i]; i++)
		json[i] = text[i] == '\'' ? '"' : text[i];
	j = json_loadb(json, i, 0, &e);
	cr_assert_not_null(j, "%s at %d in %s", e.text, e.position, text);
	return j;
}

/* Checks that a view makes this text. */
static inline void answer_check(int (*view)(const json_t *answer, struct sl_buf *out),
				const char *answer, const char *want)
{
	struct sl_buf out = SL_BUF_INIT(0);
	json_t *j = answer_load(answer);

	cr_assert_eq(view(j, &out), 0);
	cr_assert_eq(sl_buf_append(&out, "", 1), 0);
	cr_assert_str_eq(sl_buf_ptr(&out), want, "%s", sl_buf_ptr(&out));
	sl_buf_deinit(&out);
	json_decref(j);
}
