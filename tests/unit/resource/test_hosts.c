/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <errno.h>
#include "base/alloc.h"
#include "resource/hosts.h"

static struct sl_addr addr(const char *text)
{
	struct sl_addr a;

	cr_assert_eq(sl_addr_parse_ip(sl_str_from(text), 0, &a), 0);
	return a;
}

Test(hosts, the_last_answer_counts)
{
	struct sl_addr two[] = {addr("10.0.0.2"), addr("10.0.0.1")};
	struct sl_addr same[] = {addr("10.0.0.1"), addr("10.0.0.2")};
	struct sl_hosts hosts = SL_HOSTS_INIT;
	struct sl_host *a, *b, *none;

	cr_assert_eq(sl_host_new(SL_STR("a.example"), two, 2, &a), 0);
	cr_assert_eq(sl_host_new(SL_STR("a.example"), same, 2, &b), 0);
	cr_assert_eq(sl_host_new(SL_STR("a.example"), NULL, 0, &none), 0);
	cr_expect(sl_host_eq(a, b), "whatever the order");
	cr_expect_not(sl_host_eq(a, none));
	cr_expect_not(sl_host_eq(a, NULL));
	cr_expect_null(sl_hosts_get(&hosts, SL_STR("a.example")));
	sl_host_ref(a);
	cr_assert_eq(sl_hosts_put(&hosts, a), 0);
	cr_expect_eq(sl_hosts_get(&hosts, SL_STR("a.example")), a);
	cr_assert_eq(sl_hosts_put(&hosts, b), 0);
	cr_expect_eq(a->refs, 1);
	sl_host_unref(a);
	cr_assert_eq(sl_hosts_put(&hosts, none), 0);
	cr_expect_eq(sl_hosts_get(&hosts, SL_STR("a.example"))->n_addrs, 0);
	cr_expect(sl_hosts_drop(&hosts, SL_STR("a.example")));
	cr_expect_not(sl_hosts_drop(&hosts, SL_STR("a.example")));
	sl_hosts_deinit(&hosts);
}

Test(hosts, without_memory_it_is_as_it_was)
{
	struct sl_hosts hosts = SL_HOSTS_INIT;
	struct sl_host *h = NULL;

	(void)sl_alloc_fail_after(0);
	cr_expect_eq(sl_host_new(SL_STR("a"), NULL, 0, &h), -ENOMEM);
	(void)sl_alloc_fail_after(-1);
	cr_assert_eq(sl_host_new(SL_STR("a"), NULL, 0, &h), 0);
	(void)sl_alloc_fail_after(0);
	cr_expect_eq(sl_hosts_put(&hosts, h), -ENOMEM);
	(void)sl_alloc_fail_after(-1);
	cr_expect_null(sl_hosts_get(&hosts, SL_STR("a")));
	sl_hosts_deinit(&hosts);
}
