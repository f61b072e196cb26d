/* SPDX-License-Identifier: Apache-2.0 */
/* What is taken for a configuration, and why not. */
#include <criterion/criterion.h>
#include <errno.h>
#include "peer.h"

static struct issued ca, client, stranger;

static void setup(void)
{
	issue(&ca, NULL, "ca", NULL, 10);
	issue(&client, &ca, "client", "DNS:client", 10);
	issue(&stranger, &ca, "stranger", "DNS:stranger", 10);
}

static void teardown(void)
{
	issued_free(&ca);
	issued_free(&client);
	issued_free(&stranger);
}

static int check(struct sl_str pem, char error[SL_TLS_ERROR_TEXT])
{
	struct sl_tls_ca *list = NULL;
	int r = sl_tls_ca_new(pem, &list, error);

	cr_assert_eq(r == 0, list != NULL);
	sl_tls_ca_free(list);
	return r;
}

TestSuite(context, .init = setup, .fini = teardown);

Test(context, authorities)
{
	struct sl_str good = sl_buf_str(&ca.pem), key = sl_buf_str(&ca.key_pem);
	struct sl_buf two = {0}, cut = {0}, mixed = {0}, noise = {0};
	char error[SL_TLS_ERROR_TEXT] = "";

	cr_assert_eq(sl_buf_append_str(&two, good), 0);
	cr_assert_eq(sl_buf_printf(&two, "# a comment\n%.*s", SL_STR_ARG(sl_buf_str(&client.pem))),
		     0);
	cr_assert_eq(sl_buf_append(&cut, good.ptr, good.len / 2), 0);
	cr_assert_eq(sl_buf_append_str(&mixed, good), 0);
	cr_assert_eq(sl_buf_append(&mixed, sl_buf_ptr(&client.pem), sl_buf_len(&client.pem) / 2),
		     0);
	cr_assert_eq(sl_buf_printf(&noise, "-----BEGIN CERTIFICATE-----\nAAAA\n"
					   "-----END CERTIFICATE-----\n"),
		     0);
	cr_expect_eq(check(good, error), 0);
	cr_expect_eq(check(sl_buf_str(&two), error), 0);
	cr_expect_eq(check(SL_STR(""), error), SL_TLS_BAD_CA);
	cr_expect_str_eq(error, "there is no certificate in PEM in it");
	cr_expect_eq(check(SL_STR("nothing of the kind"), error), SL_TLS_BAD_CA);
	cr_expect_eq(check(key, error), SL_TLS_BAD_CA);
	cr_expect_eq(check(sl_buf_str(&noise), error), SL_TLS_BAD_CA);
	cr_expect_not_null(strstr(error, "cannot read a certificate: "), "%s", error);
	cr_expect_eq(check(sl_buf_str(&cut), error), SL_TLS_BAD_CA);
	/* One that is bad spoils the others: whoever wrote it meant all of them. */
	cr_expect_eq(check(sl_buf_str(&mixed), error), SL_TLS_BAD_CA);
	sl_buf_deinit(&two);
	sl_buf_deinit(&cut);
	sl_buf_deinit(&mixed);
	sl_buf_deinit(&noise);
}

Test(context, own_certificate)
{
	struct sl_tls_ca *list = ca_of(&ca);
	const struct {
		const char *name;
		struct sl_str cert, key;
		int r;
	} cases[] = {
		{"none", SL_STR(""), SL_STR(""), 0},
		{"good", sl_buf_str(&client.pem), sl_buf_str(&client.key_pem), 0},
		{"another's key", sl_buf_str(&client.pem), sl_buf_str(&stranger.key_pem),
		 SL_TLS_BAD_CERT},
		{"no key", sl_buf_str(&client.pem), SL_STR("x"), SL_TLS_BAD_CERT},
		{"no certificate", SL_STR("x"), sl_buf_str(&client.key_pem), SL_TLS_BAD_CERT},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct sl_tls_config config = {.hostname = SL_STR("a.test"),
					       .ca = &list,
					       .n_ca = 1,
					       .cert = cases[i].cert,
					       .key = cases[i].key};
		struct sl_tls_context *c = NULL;
		char error[SL_TLS_ERROR_TEXT] = "";

		cr_expect_eq(sl_tls_context_new(&config, &c, error), cases[i].r, "%s: %s",
			     cases[i].name, error);
		cr_expect_eq(!c, cases[i].r != 0);
		cr_expect_eq(!*error, cases[i].r == 0, "%s", cases[i].name);
		cr_expect_null(sl_tls_context_unref(c));
	}
	sl_tls_ca_free(list);
	cr_expect_eq(sl_tls_context_id(NULL), 0);
}
