/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <errno.h>
#include "http/endpoint_token.h"

static const struct sl_str key = {"uid", 3}, other_key = {"uie", 3};

static struct sl_endpoint_token token_of(const char *address, uint32_t issued_s, uint32_t seen_s)
{
	struct sl_endpoint_token t = {.issued_s = issued_s, .seen_s = seen_s};

	cr_assert_eq(sl_addr_parse(sl_str_from(address), &t.endpoint), 0);
	return t;
}

Test(endpoint_token, what_was_sealed_is_opened)
{
	static const char *const addresses[] = {"10.1.2.3:80", "[fd00::1]:65535", "0.0.0.0:0"};

	for (size_t i = 0; i < 3; i++) {
		struct sl_endpoint_token t = token_of(addresses[i], UINT32_MAX, 1700000000), back;
		char text[SL_ENDPOINT_TOKEN_TEXT], again[SL_ENDPOINT_TOKEN_TEXT];
		struct sl_str s = {text, sizeof(text)};

		cr_assert_eq(sl_endpoint_token_seal(key, SL_STR("shop/a:80"), &t, text), 0);
		cr_assert_eq(sl_endpoint_token_seal(key, SL_STR("shop/a:80"), &t, again), 0);
		cr_expect_neq(memcmp(text, again, sizeof(text)), 0, "no two are alike");
		cr_assert_eq(sl_endpoint_token_open(key, SL_STR("shop/a:80"), s, &back), 0);
		cr_expect(sl_addr_eq(&t.endpoint, &back.endpoint));
		cr_expect_eq(back.issued_s, UINT32_MAX);
		cr_expect_eq(back.seen_s, 1700000000);
		cr_expect_eq(sl_endpoint_token_open(key, SL_STR("shop/b:80"), s, &back), -EINVAL);
		cr_expect_eq(sl_endpoint_token_open(other_key, SL_STR("shop/a:80"), s, &back),
			     -EINVAL);
	}
}

Test(endpoint_token, any_change_makes_it_void)
{
	struct sl_endpoint_token t = token_of("10.1.2.3:80", 7, 8), back = t;
	char text[SL_ENDPOINT_TOKEN_TEXT + 1];

	cr_assert_eq(sl_endpoint_token_seal(key, SL_STR("b"), &t, text), 0);
	for (size_t i = 0; i < SL_ENDPOINT_TOKEN_TEXT; i++) {
		static const char changes[] = "Aa0-_=+/. \n";
		char was = text[i];

		for (size_t k = 0; k < sizeof(changes); k++) {
			text[i] = changes[k];
			if (text[i] == was)
				continue;
			cr_assert_eq(sl_endpoint_token_open(
					     key, SL_STR("b"),
					     (struct sl_str){text, SL_ENDPOINT_TOKEN_TEXT}, &back),
				     -EINVAL, "character %zu as 0x%02x", i, changes[k]);
		}
		text[i] = was;
	}
	text[SL_ENDPOINT_TOKEN_TEXT] = 'A';
	for (size_t n = 0; n <= SL_ENDPOINT_TOKEN_TEXT + 1; n++)
		cr_expect_eq(sl_endpoint_token_open(key, SL_STR("b"), (struct sl_str){text, n},
						    &back) == 0,
			     n == SL_ENDPOINT_TOKEN_TEXT);
}
