/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include "snapshot/filter.h"

static const struct sl_header_edit one[] = {{SL_STR("X-A"), SL_STR("1")}};
static const struct sl_header_edit same_one[] = {{SL_STR("x-a"), SL_STR("1")}};
static const struct sl_header_edit other[] = {{SL_STR("X-A"), SL_STR("2")}};
static const struct sl_str names[] = {SL_STR("a"), SL_STR("b")};
static const struct sl_cors_origin origins[] = {{.https = true, .host = SL_STR("a"), .port = 443}};
static const struct sl_cors_origin other_origins[] = {{.host = SL_STR("a"), .port = 443}};
static const struct sl_cors cors = {.origins = origins, .n_origins = 1, .methods = SL_STR("GET")};
static const struct sl_cors same_cors = {
	.origins = origins, .n_origins = 1, .methods = SL_STR("GET")};
static const struct sl_cors cors_methods = {
	.origins = origins, .n_origins = 1, .methods = SL_STR("PUT")};
static const struct sl_cors cors_origins = {
	.origins = other_origins, .n_origins = 1, .methods = SL_STR("GET")};
static const struct sl_cors cors_open = {.any_origin = true, .methods = SL_STR("GET")};
static const struct sl_mirror half = {SL_STR("s"), 1, 2}, also_half = {SL_STR("s"), 50, 100},
			      third = {SL_STR("s"), 1, 3}, elsewhere = {SL_STR("t"), 1, 2};
static const struct sl_ext_auth auth = {
	.backend = SL_STR("s"), .resolved = true, .request_headers = names, .n_request_headers = 2};
static const struct sl_ext_auth same_auth = {
	.backend = SL_STR("s"), .resolved = true, .request_headers = names, .n_request_headers = 2};
static const struct sl_ext_auth fewer = {
	.backend = SL_STR("s"), .resolved = true, .request_headers = names, .n_request_headers = 1};
static const struct sl_ext_auth others = {.backend = SL_STR("s"),
					  .resolved = true,
					  .request_headers = names + 1,
					  .n_request_headers = 1};
static const struct sl_ext_auth unresolved = {
	.backend = SL_STR("s"), .request_headers = names, .n_request_headers = 2};

#define SET(what)                                                                       \
	{                                                                               \
		SL_FILTER_KIND_REQUEST_HEADERS, .headers = {.set = (what), .n_set = 1 } \
	}
#define EDIT(...)                                                  \
	{                                                          \
		SL_FILTER_KIND_REWRITE, .rewrite = { __VA_ARGS__ } \
	}
#define MOVED(...)                                                   \
	{                                                            \
		SL_FILTER_KIND_REDIRECT, .redirect = { __VA_ARGS__ } \
	}
#define CORS(c)                                   \
	{                                         \
		SL_FILTER_KIND_CORS, .cors = &(c) \
	}
#define COPY(m)                                       \
	{                                             \
		SL_FILTER_KIND_MIRROR, .mirror = &(m) \
	}
#define ASK(a)                                    \
	{                                         \
		SL_FILTER_KIND_AUTH, .auth = &(a) \
	}

static const struct {
	const char *name;
	struct sl_filter a, b;
	bool equal;
} cases[] = {
	{"edits, without case", SET(one), SET(same_one), true},
	{"another value", SET(one), SET(other), false},
	{"add is not set",
	 SET(one),
	 {SL_FILTER_KIND_REQUEST_HEADERS, .headers = {.add = one, .n_add = 1}},
	 false},
	{"requests are not answers",
	 SET(one),
	 {SL_FILTER_KIND_RESPONSE_HEADERS, .headers = {.set = one, .n_set = 1}},
	 false},
	{"a rewrite", EDIT(.hostname = SL_STR("h")), EDIT(.hostname = SL_STR("h")), true},
	{"another host", EDIT(.hostname = SL_STR("h")), EDIT(.hostname = SL_STR("i")), false},
	{"another edit", EDIT(.path = {SL_PATH_EDIT_FULL, SL_STR("/x"), SL_STR("")}),
	 EDIT(.path = {SL_PATH_EDIT_PREFIX, SL_STR("/x"), SL_STR("")}), false},
	{"another prefix", EDIT(.path = {SL_PATH_EDIT_PREFIX, SL_STR("/x"), SL_STR("/a")}),
	 EDIT(.path = {SL_PATH_EDIT_PREFIX, SL_STR("/x"), SL_STR("/b")}), false},
	{"a redirect", MOVED(.status = 301, .port = 8), MOVED(.status = 301, .port = 8), true},
	{"another status", MOVED(.status = 301), MOVED(.status = 302), false},
	{"another port", MOVED(.status = 301, .port = 8), MOVED(.status = 301), false},
	{"another scheme", MOVED(.scheme = SL_STR("https")), MOVED(.status = 0), false},
	{"origins and methods", CORS(cors), CORS(same_cors), true},
	{"other methods", CORS(cors), CORS(cors_methods), false},
	{"other origins", CORS(cors), CORS(cors_origins), false},
	{"any origin", CORS(cors), CORS(cors_open), false},
	{"the same part of requests", COPY(half), COPY(also_half), true},
	{"another part", COPY(half), COPY(third), false},
	{"a copy elsewhere", COPY(half), COPY(elsewhere), false},
	{"a question", ASK(auth), ASK(same_auth), true},
	{"fewer headers", ASK(auth), ASK(fewer), false},
	{"other headers", ASK(fewer), ASK(others), false},
	{"not resolved", ASK(auth), ASK(unresolved), false},
};

Test(filter, those_that_do_the_same_are_equal)
{
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		cr_expect_eq(sl_filter_eq(&cases[i].a, &cases[i].b), cases[i].equal, "%s",
			     cases[i].name);
		cr_expect_eq(sl_filter_eq(&cases[i].b, &cases[i].a), cases[i].equal, "%s",
			     cases[i].name);
		cr_expect(sl_filter_eq(&cases[i].a, &cases[i].a), "%s", cases[i].name);
	}
}
