/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Regular expressions of route matches: PCRE2 with JIT, always on the whole value (anchored at both
 * ends), bytes not characters, with limits on time and memory, so that no pattern can hold up a
 * worker. A superset of the portable floor that GEP-4359 asks for.
 */
#include "base/arena.h"

struct sl_regex;
struct sl_regex_scratch;

#define SL_REGEX_ERROR_TEXT 256
enum { SL_REGEX_BAD = 1 };

/* pattern is copied. Returns 0, SL_REGEX_BAD with a text that says what and where, or -ENOMEM. */
int sl_regex_new(struct sl_str pattern, struct sl_regex **ret, char ret_error[SL_REGEX_ERROR_TEXT]);
/* Thread: any. */
struct sl_regex *sl_regex_ref(struct sl_regex *r);
/* Accepts NULL, returns NULL. */
struct sl_regex *sl_regex_unref(struct sl_regex *r);

/*
 * Texts, possibly empty, that every value which the pattern matches begins and ends with: to tell
 * without running it that a pattern cannot match. In arena. Returns 0 or -ENOMEM.
 */
enum { SL_REGEX_LITERAL_MAX = 64 };
int sl_regex_literals(struct sl_str pattern, struct sl_arena *arena, struct sl_str *ret_head,
		      struct sl_str *ret_tail);

/* Per worker: match data, limits and the stack of compiled patterns. */
int sl_regex_scratch_new(struct sl_regex_scratch **ret);
struct sl_regex_scratch *sl_regex_scratch_free(struct sl_regex_scratch *s);

enum sl_regex_result {
	SL_REGEX_NO,
	SL_REGEX_YES,
	SL_REGEX_LIMIT, /* a limit was passed: nothing is known */
};
/* Thread: worker. Allocates nothing where JIT is available. */
enum sl_regex_result sl_regex_match(const struct sl_regex *r, struct sl_str value,
				    struct sl_regex_scratch *s);
