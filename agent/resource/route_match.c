/* SPDX-License-Identifier: Apache-2.0 */
/* rules[].matches of a route, as far as kinds share them. Patterns are compiled, and so judged, by
 * the compiler. */
#include "resource/kinds.h"

enum { MAX_MATCHES = 64, MAX_NAMES = 16 };

static const char *const name_fields[] = {"type", "name", "value", NULL};

const char *const sl_value_match_names[] = {
	[SL_VALUE_EXACT] = "Exact",
	[SL_VALUE_REGEX] = "RegularExpression",
	NULL,
};

/* Headers compare without case, query parameters with it; a name given twice counts once. */
static void warn_duplicate(const struct sl_cursor *at, const struct sl_name_match *list, size_t i,
			   bool fold)
{
	for (size_t k = 0; k < i; k++) {
		if (list[i].name.len && (fold ? sl_str_ieq(list[k].name, list[i].name)
					      : sl_str_eq(list[k].name, list[i].name))) {
			sl_cursor_warn(at, "\"%.*s\" is matched above already, ignored",
				       SL_STR_ARG(list[i].name));
			return;
		}
	}
}

void sl_decode_names(const struct sl_cursor *match_at, const char *key,
		     const struct sl_text_type *value_type, bool fold, struct sl_name_match **ret,
		     uint32_t *ret_n)
{
	struct sl_name_match *list;
	struct sl_cursor array;
	size_t n;

	if (!sl_read_array(match_at, key, MAX_NAMES, &array, &n))
		return;
	list = sl_decoder_new_n(match_at->dec, struct sl_name_match, n);
	if (!list)
		return;
	for (size_t i = 0; i < n; i++) {
		struct sl_cursor at = sl_cursor_item(&array, i);
		int type = SL_VALUE_EXACT;

		list[i].name = list[i].value = SL_STR("");
		if (!sl_cursor_is_object(&at, name_fields))
			continue;
		(void)sl_read_enum(&at, "type", sl_value_match_names,
				   &type); /* Exact unless told */
		list[i].type = (enum sl_value_match)type;
		(void)sl_require_str(&at, "name", &sl_text_token, &list[i].name);
		(void)sl_require_str(&at, "value", value_type, &list[i].value);
		warn_duplicate(&at, list, i, fold);
	}
	*ret = list;
	*ret_n = (uint32_t)n;
}

void sl_decode_match_list(const struct sl_cursor *rule_at, struct sl_route_rule *rule,
			  void (*set_default)(struct sl_route_match *match),
			  void (*decode)(const struct sl_cursor *at, struct sl_route_match *match))
{
	struct sl_cursor array;
	size_t n = 0;
	bool any = sl_read_array(rule_at, "matches", MAX_MATCHES, &array, &n) && n;

	rule->matches = sl_decoder_new_n(rule_at->dec, struct sl_route_match, any ? n : 1);
	if (!rule->matches)
		return;
	rule->n_matches = any ? (uint32_t)n : 1;
	if (!any)
		set_default(&rule->matches[0]);
	for (size_t i = 0; i < n; i++) {
		struct sl_cursor at = sl_cursor_item(&array, i);

		set_default(&rule->matches[i]);
		decode(&at, &rule->matches[i]);
	}
}
