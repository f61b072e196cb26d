/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include "base/alloc.h"
#include "base/clock.h"
#include "http/grpc.h"

Test(grpc, calls_are_told_by_their_content_type)
{
	static const struct {
		const char *type;
		bool is;
	} cases[] = {
		{"application/grpc", true},
		{"application/grpc+proto", true},
		{"Application/GRPC", true},
		{"application/grpc;x=y", true},
		{"application/grpc-web", false},
		{"application/grpcx", false},
		{"application/json", false},
		{"", false},
		{"application/grpc-web+proto", false},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct sl_header line = {SL_STR("Content-Type"), sl_str_from(cases[i].type)};
		const struct sl_request r = {.headers = {&line, 1, 1}};

		cr_assert_eq(sl_grpc_is_call(&r), cases[i].is, "%s", cases[i].type);
	}
	cr_assert_not(sl_grpc_is_call(&(struct sl_request){0}));
}

Test(grpc, timeouts)
{
	static const struct {
		const char *text;
		uint64_t ns; /* UINT64_MAX: invalid */
	} cases[] = {
		{"1n", 1},
		{"20u", 20000},
		{"500m", 500 * SL_NS_PER_MS},
		{"3S", 3 * SL_NS_PER_S},
		{"2M", 120 * SL_NS_PER_S},
		{"1H", 3600 * SL_NS_PER_S},
		{"0S", 0},
		{"99999999S", 99999999 * SL_NS_PER_S},
		{"99999999H", UINT64_MAX - 1}, /* above what is kept */
		{"100000000S", UINT64_MAX},
		{"S", UINT64_MAX},
		{"", UINT64_MAX},
		{"5", UINT64_MAX},
		{"5s", UINT64_MAX},
		{"-5S", UINT64_MAX},
		{"5 S", UINT64_MAX},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		uint64_t ns = 7;
		int r = sl_grpc_timeout(sl_str_from(cases[i].text), &ns);

		if (cases[i].ns == UINT64_MAX) {
			cr_assert(r && ns == 7, "%s", cases[i].text);
			continue;
		}
		cr_assert_eq(r, 0, "%s", cases[i].text);
		if (cases[i].ns == UINT64_MAX - 1)
			cr_assert(ns > INT64_MAX / 5 && ns < INT64_MAX / 2);
		else
			cr_assert_eq(ns, cases[i].ns, "%s", cases[i].text);
	}
}

static const char *value_of(const struct sl_response *res, const char *name)
{
	static char text[100];
	const struct sl_header *h = sl_headers_find(&res->headers, sl_str_from(name));

	cr_assert(h, "%s", name);
	(void)snprintf(text, sizeof(text), "%.*s", (int)h->value.len, h->value.ptr);
	return text;
}

Test(grpc, refusals_have_the_code_that_stands_for_them)
{
	static const struct {
		uint16_t status;
		const char *code;
	} cases[] = {{404, "12"}, {501, "12"}, {504, "4"}, {500, "14"},
		     {502, "14"}, {503, "14"}, {431, "8"}, {400, "13"}};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct sl_arena a = SL_ARENA_INIT(256);
		struct sl_response res = {.status = cases[i].status,
					  .body = SL_BODY_LENGTH,
					  .has_length = true,
					  .content_length = 9};

		cr_assert_eq(
			sl_grpc_answer(&res, &a, sl_grpc_code(res.status), SL_STR("100% of\n\xff")),
			0);
		cr_assert_eq(res.status, 200);
		cr_assert_eq(res.body, SL_BODY_NONE);
		cr_assert_not(res.has_length);
		cr_assert_str_eq(value_of(&res, "grpc-status"), cases[i].code);
		cr_assert_str_eq(value_of(&res, "grpc-message"), "100%25 of%0A%FF");
		cr_assert_str_eq(value_of(&res, "content-type"), "application/grpc");
		sl_arena_deinit(&a);
	}
}

Test(grpc, each_allocation_may_fail)
{
	for (long i = 0;; i++) {
		struct sl_arena a = SL_ARENA_INIT(16);
		struct sl_response res = {.status = 404};
		int r;

		(void)sl_alloc_fail_after(i);
		r = sl_grpc_answer(&res, &a, 14, SL_STR("why"));
		(void)sl_alloc_fail_after(-1);
		sl_arena_deinit(&a);
		if (!r)
			break;
		cr_assert_eq(res.status, 404);
	}
}
