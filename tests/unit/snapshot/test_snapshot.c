/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <errno.h>
#include "base/alloc.h"
#include "snapshot/match_index.h"
#include "snapshot/snapshot.h"

Test(snapshot, parts_live_until_the_last_reference_goes)
{
	struct sl_snapshot *s;
	struct sl_upstream *u;

	cr_assert_eq(sl_snapshot_new(&s), 0);
	cr_assert_eq(sl_upstream_new(&u), 0);
	cr_assert_eq(sl_arena_str(&u->arena, SL_STR("shop/cart:80"), &u->key), 0);
	cr_assert_eq(sl_pmap_put(&s->upstreams, u->key, &u->part), 0);
	cr_assert_null(sl_upstream_unref(u));
	cr_assert_eq(sl_snapshot_ref(s), s);
	cr_assert_null(sl_snapshot_unref(s));
	cr_assert_eq(sl_snapshot_upstream(s, SL_STR("shop/cart:80")), u);
	cr_assert_null(sl_snapshot_upstream(s, SL_STR("shop/cart:81")));
	cr_assert_null(sl_snapshot_unref(s));
}

Test(snapshot, destructors_accept_null)
{
	cr_assert_null(sl_snapshot_unref(NULL));
	cr_assert_null(sl_upstream_unref(NULL));
	cr_assert_null(sl_route_table_unref(NULL));
}

Test(snapshot, frontends_are_found_by_address_and_port)
{
	struct sl_frontend *f = NULL;
	struct sl_addr vip, other;
	struct sl_snapshot *s;

	cr_assert_eq(sl_frontend_new(&f), 0);
	cr_assert_eq(sl_addr_parse(SL_STR("10.96.0.1:80"), &vip), 0);
	cr_assert_eq(sl_snapshot_new(&s), 0);
	cr_assert_null(sl_snapshot_frontend(s, &vip));
	cr_assert_eq(sl_pmap_put(&s->frontends, SL_KEY(&vip), &f->part), 0);
	sl_part_unref(&f->part);
	cr_assert_eq(sl_addr_parse(SL_STR("[::ffff:10.96.0.1]:80"), &other), 0);
	cr_assert_eq(sl_snapshot_frontend(s, &other), f);
	other.port = 81;
	cr_assert_null(sl_snapshot_frontend(s, &other));
	cr_assert_null(sl_snapshot_unref(s));
}

Test(snapshot, pods_are_found_by_address_whatever_the_port)
{
	struct sl_pod_ref *pod = NULL;
	struct sl_addr ip, peer;
	struct sl_snapshot *s;

	cr_assert_eq(sl_pod_ref_new(&pod), 0);
	cr_assert_eq(sl_addr_parse(SL_STR("10.0.0.7:0"), &ip), 0);
	cr_assert_eq(sl_addr_parse(SL_STR("10.0.0.7:41234"), &peer), 0);
	cr_assert_eq(sl_snapshot_new(&s), 0);
	cr_assert_eq(sl_pmap_put(&s->pods_by_ip, SL_KEY(&ip.ip), &pod->part), 0);
	cr_assert_eq(sl_pmap_put(&s->pods_by_uid, SL_STR("u-1"), &pod->part), 0);
	sl_part_unref(&pod->part);
	cr_assert_eq(sl_snapshot_pod_by_ip(s, &peer), pod);
	cr_assert_eq(sl_snapshot_pod_by_uid(s, SL_STR("u-1")), pod);
	cr_assert_null(sl_snapshot_pod_by_uid(s, SL_STR("u-2")));
	cr_assert_null(sl_snapshot_unref(s));
}

Test(snapshot, clients_get_the_table_of_their_namespace_else_the_producers)
{
	static const struct sl_route_table a, c, e, producer;
	const struct sl_consumer_group groups[] = {
		{SL_STR("a"), &a}, {SL_STR("c"), &c}, {SL_STR("e"), &e}};
	struct sl_frontend f = {.producer = &producer, .consumers = groups};

	for (uint32_t n = 0; n <= 3; n++) {
		f.n_consumers = n;
		cr_expect_eq(sl_frontend_table(&f, SL_STR("a")), n > 0 ? &a : &producer);
		cr_expect_eq(sl_frontend_table(&f, SL_STR("c")), n > 1 ? &c : &producer);
		cr_expect_eq(sl_frontend_table(&f, SL_STR("e")), n > 2 ? &e : &producer);
		cr_expect_eq(sl_frontend_table(&f, SL_STR("b")), &producer);
		cr_expect_eq(sl_frontend_table(&f, SL_STR("")), &producer);
		cr_expect_eq(sl_frontend_table(&f, SL_STR_NULL), &producer);
		cr_expect_eq(sl_frontend_table(&f, SL_STR("zz")), &producer);
	}
	f.producer = NULL;
	cr_expect_null(sl_frontend_table(&f, SL_STR("b")));
}

Test(snapshot, clients_are_shown_the_shadow_routes_that_would_be_theirs)
{
	static const struct sl_route_table enforced, mine, theirs, producer;
	const struct sl_trial trials[] = {{.namespace = SL_STR("b"), .shadow = &mine},
					  {.namespace = SL_STR("shop"), .shadow = &theirs}};
	const struct sl_consumer_group groups[] = {{SL_STR("a"), &enforced}};
	struct sl_frontend f = {.namespace = SL_STR("shop"),
				.producer = &producer,
				.consumers = groups,
				.n_consumers = 1};

	cr_expect_null(sl_frontend_trial(&f, SL_STR("b")));
	f.trials = trials;
	f.n_trials = 2;
	cr_expect_eq(sl_frontend_trial(&f, SL_STR("b")), &trials[0]);
	cr_expect_eq(sl_frontend_trial(&f, SL_STR("shop")), &trials[1]);
	cr_expect_eq(sl_frontend_trial(&f, SL_STR("c")), &trials[1]);
	cr_expect_eq(sl_frontend_trial(&f, SL_STR_NULL), &trials[1]);
	cr_expect_null(sl_frontend_trial(&f, SL_STR("a")), "consumer routes hide the producers'");
	f.n_trials = 1;
	cr_expect_null(sl_frontend_trial(&f, SL_STR("c")));
	cr_expect_eq(sl_frontend_trial(&f, SL_STR("b")), &trials[0]);
}

Test(snapshot, allocations_may_fail)
{
	struct sl_snapshot *s = NULL;
	struct sl_upstream *u = NULL;
	struct sl_route_table *t = NULL;

	(void)sl_alloc_fail_after(0);
	cr_expect_eq(sl_snapshot_new(&s), -ENOMEM);
	(void)sl_alloc_fail_after(0);
	cr_expect_eq(sl_upstream_new(&u), -ENOMEM);
	(void)sl_alloc_fail_after(0);
	cr_expect_eq(sl_route_table_new(&t), -ENOMEM);
	(void)sl_alloc_fail_after(-1);
	cr_expect(!s && !u && !t);
}
