/* SPDX-License-Identifier: Apache-2.0 */
/* rules[].retry of an HTTPRoute (GEP-1731). */
#include "resource/duration.h"
#include "resource/kinds.h"

enum { MIN_CODE = 400, MAX_CODE = 599, DEFAULT_ATTEMPTS = 1 };

static const char *const retry_fields[] = {"codes", "attempts", "backoff", NULL};

static void decode_codes(const struct sl_cursor *at, struct sl_retry_spec *retry)
{
	struct sl_cursor array;
	size_t n;

	if (!sl_read_array(at, "codes", MAX_CODE - MIN_CODE + 1, &array, &n))
		return;
	retry->codes = sl_decoder_new_n(at->dec, uint16_t, n + 1);
	if (!retry->codes)
		return;
	for (size_t i = 0; i < n; i++) {
		struct sl_cursor item = sl_cursor_item(&array, i);
		int64_t code;
		uint32_t k = 0;

		if (!sl_cursor_int(&item, MIN_CODE, MAX_CODE, &code))
			continue;
		while (k < retry->n_codes && retry->codes[k] != code)
			k++;
		if (k < retry->n_codes)
			sl_cursor_error(&item, "%d is there twice", (int)code);
		else
			retry->codes[retry->n_codes++] = (uint16_t)code;
	}
}

void sl_decode_retry(const struct sl_cursor *rule_at, struct sl_route_rule *rule)
{
	struct sl_retry_spec *retry;
	struct sl_cursor at;
	int64_t attempts = DEFAULT_ATTEMPTS;

	if (!sl_read_object(rule_at, "retry", retry_fields, &at))
		return;
	retry = sl_decoder_new_n(at.dec, struct sl_retry_spec, 1);
	if (!retry)
		return;
	decode_codes(&at, retry);
	(void)sl_read_int(&at, "attempts", 0, INT32_MAX, &attempts); /* has a default */
	retry->attempts = (uint32_t)attempts;
	retry->backoff_ns = SL_DURATION_UNSET;
	sl_decode_duration(&at, "backoff", &retry->backoff_ns);
	rule->retry = retry;
}
