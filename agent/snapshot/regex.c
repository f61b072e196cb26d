/* SPDX-License-Identifier: Apache-2.0 */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "snapshot/regex.h"

#include <errno.h>
#include <pcre2.h>
#include <stdatomic.h>
#include "base/alloc.h"
#include "base/cleanup.h"

enum {
	/* Steps of backtracking: about a millisecond with JIT. Patterns without nested repeats stay
	 * far below it on the longest header line. */
	MATCH_LIMIT = 100000,
	DEPTH_LIMIT = 10000,
	HEAP_LIMIT_KIB = 1024,
	JIT_STACK_BYTES = 32 * 1024,
	JIT_STACK_MAX_BYTES = 512 * 1024,
	NEST_LIMIT = 100,
	PATTERN_MAX_BYTES = 4096, /* the longest value the API has */
};

struct sl_regex {
	atomic_uint refs;
	pcre2_code *code;
};

struct sl_regex_scratch {
	pcre2_match_data *data;
	pcre2_match_context *limits;
	pcre2_jit_stack *stack;
};

static void *pcre_malloc(size_t size, void *arg)
{
	return sl_malloc(size);
}

static void pcre_free(void *p, void *arg)
{
	free(p);
}

static void general_freep(pcre2_general_context **g)
{
	pcre2_general_context_free(*g);
}

static void compile_context_freep(pcre2_compile_context **c)
{
	pcre2_compile_context_free(*c);
}

SL_DEFINE_CLEANUP(struct sl_regex *, sl_regex_unref)
SL_DEFINE_CLEANUP(struct sl_regex_scratch *, sl_regex_scratch_free)

static void describe(int code, size_t offset, char ret_error[SL_REGEX_ERROR_TEXT])
{
	PCRE2_UCHAR text[SL_REGEX_ERROR_TEXT - 40] = "";

	(void)pcre2_get_error_message(code, text, sizeof(text)); /* cut when too long */
	(void)snprintf(ret_error, SL_REGEX_ERROR_TEXT, "%s at offset %zu", (const char *)text,
		       offset);
}

int sl_regex_new(struct sl_str pattern, struct sl_regex **ret, char ret_error[SL_REGEX_ERROR_TEXT])
{
	_cleanup_(general_freep) pcre2_general_context *general =
		pcre2_general_context_create(pcre_malloc, pcre_free, NULL);
	_cleanup_(compile_context_freep) pcre2_compile_context *options = NULL;
	_cleanup_(sl_regex_unrefp) struct sl_regex *r = NULL;
	size_t offset;
	int code;

	if (!general)
		return -ENOMEM;
	r = sl_new(struct sl_regex);
	if (!r)
		return -ENOMEM;
	atomic_init(&r->refs, 1);
	options = pcre2_compile_context_create(general);
	if (!options)
		return -ENOMEM;
	(void)pcre2_set_parens_nest_limit(options, NEST_LIMIT);
	(void)pcre2_set_max_pattern_length(options, PATTERN_MAX_BYTES);
	r->code = pcre2_compile((PCRE2_SPTR)(pattern.len ? pattern.ptr : ""), pattern.len,
				PCRE2_ANCHORED | PCRE2_ENDANCHORED | PCRE2_NEVER_UTF |
					PCRE2_NEVER_UCP | PCRE2_NEVER_BACKSLASH_C,
				&code, &offset, options);
	if (!r->code) {
		/* 121: no memory; it has no name in the public header. */
		if (code == PCRE2_ERROR_NOMEMORY || code == 121)
			return -ENOMEM;
		describe(code, offset, ret_error);
		return SL_REGEX_BAD;
	}
	/* Without JIT (hardened kernels refuse executable memory) the interpreter does it. */
	(void)pcre2_jit_compile(r->code, PCRE2_JIT_COMPLETE);
	*ret = sl_take(r);
	return 0;
}

struct sl_regex *sl_regex_ref(struct sl_regex *r)
{
	atomic_fetch_add_explicit(&r->refs, 1, memory_order_relaxed);
	return r;
}

struct sl_regex *sl_regex_unref(struct sl_regex *r)
{
	if (r && atomic_fetch_sub_explicit(&r->refs, 1, memory_order_acq_rel) == 1) {
		pcre2_code_free(r->code);
		free(r);
	}
	return NULL;
}

struct sl_regex_scratch *sl_regex_scratch_free(struct sl_regex_scratch *s)
{
	if (s) {
		pcre2_match_data_free(s->data);
		pcre2_match_context_free(s->limits);
		pcre2_jit_stack_free(s->stack);
		free(s);
	}
	return NULL;
}

int sl_regex_scratch_new(struct sl_regex_scratch **ret)
{
	_cleanup_(general_freep) pcre2_general_context *general =
		pcre2_general_context_create(pcre_malloc, pcre_free, NULL);
	_cleanup_(sl_regex_scratch_freep) struct sl_regex_scratch *s =
		sl_new(struct sl_regex_scratch);

	if (!general || !s)
		return -ENOMEM;
	s->data = pcre2_match_data_create(1, general);
	s->limits = pcre2_match_context_create(general);
	if (!s->data || !s->limits)
		return -ENOMEM;
	(void)pcre2_set_match_limit(s->limits, MATCH_LIMIT);
	(void)pcre2_set_depth_limit(s->limits, DEPTH_LIMIT);
	(void)pcre2_set_heap_limit(s->limits, HEAP_LIMIT_KIB);
	s->stack = pcre2_jit_stack_create(JIT_STACK_BYTES, JIT_STACK_MAX_BYTES, general);
	/* Without it patterns get 32 KiB of the thread's own stack, and reach the limit earlier. */
	if (s->stack)
		pcre2_jit_stack_assign(s->limits, NULL, s->stack);
	*ret = sl_take(s);
	return 0;
}

enum sl_regex_result sl_regex_match(const struct sl_regex *r, struct sl_str value,
				    struct sl_regex_scratch *s)
{
	int n = pcre2_match(r->code, (PCRE2_SPTR)(value.len ? value.ptr : ""), value.len, 0, 0,
			    s->data, s->limits);

	if (n >= 0)
		return SL_REGEX_YES;
	return n == PCRE2_ERROR_NOMATCH ? SL_REGEX_NO : SL_REGEX_LIMIT;
}
