/* SPDX-License-Identifier: Apache-2.0 */
/* rules[].matches of an HTTPRoute. */
#include "resource/kinds.h"

static const char *const match_fields[] = {"path", "headers", "queryParams", "method", NULL};
static const char *const path_fields[] = {"type", "value", NULL};

static const char *const path_types[] = {
	[SL_PATH_PREFIX] = "PathPrefix",
	[SL_PATH_EXACT] = "Exact",
	[SL_PATH_REGEX] = "RegularExpression",
	NULL,
};
static const char *const methods[] = {"GET",	 "HEAD",    "POST",  "PUT",   "DELETE",
				      "CONNECT", "OPTIONS", "TRACE", "PATCH", NULL};

static void decode_path(const struct sl_cursor *match_at, struct sl_route_match *match)
{
	struct sl_cursor path, value;
	const char *problem;
	int type = SL_PATH_PREFIX;

	if (!sl_read_object(match_at, "path", path_fields, &path))
		return;
	(void)sl_read_enum(&path, "type", path_types, &type); /* PathPrefix unless told */
	match->path_type = (enum sl_path_match)type;
	value = sl_cursor_member(&path, "value");
	if (!sl_cursor_str(&value, &sl_text_path_match, &match->path))
		return; /* "/" unless told */
	if (match->path_type == SL_PATH_REGEX)
		return;
	problem = sl_path_problem(match->path);
	if (problem) {
		char quoted[SL_QUOTE_TEXT];

		sl_cursor_error(&value, "%s, got %s", problem, sl_quote(match->path, quoted));
	}
}

static void set_default(struct sl_route_match *match)
{
	match->path_type = SL_PATH_PREFIX;
	match->path = SL_STR("/");
	match->method = match->rpc_service = match->rpc_method = SL_STR("");
}

static void decode_match(const struct sl_cursor *at, struct sl_route_match *match)
{
	int method;

	if (!sl_cursor_is_object(at, match_fields))
		return;
	decode_path(at, match);
	if (sl_read_enum(at, "method", methods, &method))
		match->method = sl_str_from(methods[method]);
	sl_decode_names(at, "headers", &sl_text_header_match, true, &match->headers,
			&match->n_headers);
	sl_decode_names(at, "queryParams", &sl_text_query_match, false, &match->queries,
			&match->n_queries);
}

void sl_decode_matches(const struct sl_cursor *rule_at, struct sl_route_rule *rule)
{
	sl_decode_match_list(rule_at, rule, set_default, decode_match);
}
