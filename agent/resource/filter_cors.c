/* SPDX-License-Identifier: Apache-2.0 */
/* Filters of type CORS. */
#include "resource/kinds.h"

enum { MAX_ORIGINS = 64, MAX_METHODS = 9, MAX_NAMES = 64, DEFAULT_MAX_AGE_S = 5 };

static const char *const cors_fields[] = {"allowOrigins",
					  "allowCredentials",
					  "allowMethods",
					  "allowHeaders",
					  "exposeHeaders",
					  "maxAge",
					  NULL};

/* A list in which "*" means all, and then stands alone. */
static void decode_list(const struct sl_cursor *at, const char *key, size_t max,
			const struct sl_text_type *type, struct sl_texts *ret)
{
	struct sl_cursor array;
	bool any = false;
	size_t n;

	if (!sl_read_array(at, key, max, &array, &n))
		return;
	ret->items = sl_decoder_new_n(at->dec, struct sl_str, n);
	if (!ret->items)
		return;
	for (size_t i = 0; i < n; i++) {
		struct sl_cursor item = sl_cursor_item(&array, i);

		if (!sl_cursor_str(&item, type, &ret->items[ret->n]))
			continue;
		any |= sl_str_eqc(ret->items[ret->n++], "*");
	}
	if (any && n > 1)
		sl_cursor_error(&array, "must have nothing beside \"*\"");
}

void sl_decode_cors(const struct sl_cursor *filter, struct sl_cors_spec *ret)
{
	int64_t max_age = DEFAULT_MAX_AGE_S;
	struct sl_cursor at;

	if (!sl_read_object(filter, "cors", cors_fields, &at))
		return;
	decode_list(&at, "allowOrigins", MAX_ORIGINS, &sl_text_cors_origin, &ret->origins);
	decode_list(&at, "allowMethods", MAX_METHODS, &sl_text_cors_method, &ret->methods);
	decode_list(&at, "allowHeaders", MAX_NAMES, &sl_text_token, &ret->headers);
	decode_list(&at, "exposeHeaders", MAX_NAMES, &sl_text_token, &ret->exposed);
	(void)sl_read_bool(&at, "allowCredentials", &ret->credentials); /* default: no */
	(void)sl_read_int(&at, "maxAge", 1, INT32_MAX, &max_age);	/* has a default */
	ret->max_age_s = (uint32_t)max_age;
}
