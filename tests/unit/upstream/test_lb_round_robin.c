/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <errno.h>
#include "../../lib/leak.h"
#include "base/alloc.h"
#include "upstream/upstream.h"

enum { MAX_ENDPOINTS = 8 };

struct fixture {
	struct sl_endpoint endpoints[MAX_ENDPOINTS];
	struct sl_upstream up;
};

static void make_upstream(struct fixture *f, const char *key, uint32_t n_usable, uint32_t n)
{
	*f = (struct fixture){0};
	for (uint32_t i = 0; i < n; i++) {
		char ip[32];

		(void)snprintf(ip, sizeof(ip), "10.0.0.%u", i + 1);
		cr_assert_eq(sl_addr_parse_ip(sl_str_from(ip), 8080, &f->endpoints[i].addr), 0);
		f->endpoints[i].ready = i < n_usable;
	}
	f->up.key = sl_str_from(key);
	f->up.endpoints = f->endpoints;
	f->up.n_endpoints = n;
	f->up.n_usable = n_usable;
}

static struct sl_lb *new_lb(void)
{
	struct sl_lb *lb = NULL;

	cr_assert_eq(sl_lb_new(&lb), 0);
	return lb;
}

static const struct sl_endpoint *pick(struct sl_lb *lb, const struct sl_upstream *up,
				      const struct sl_addr *avoid)
{
	return sl_lb_pick(lb, up, &(struct sl_lb_ask){.avoid = avoid});
}

static long index_of(const struct fixture *f, const struct sl_endpoint *e)
{
	cr_assert_not_null(e);
	return e - f->endpoints;
}

Test(lb_round_robin, each_ready_endpoint_gets_its_turn)
{
	struct sl_lb *lb = new_lb();
	struct fixture f;
	long first, last;

	make_upstream(&f, "a/b:80", 3, 5);
	first = last = index_of(&f, pick(lb, &f.up, NULL));
	for (int i = 0; i < 30; i++) {
		long at = index_of(&f, pick(lb, &f.up, NULL));

		cr_assert_eq(at, (last + 1) % 3);
		last = at;
	}
	cr_assert_eq(last, first);
	(void)sl_lb_free(lb);
}

Test(lb_round_robin, without_a_ready_endpoint_there_is_none)
{
	struct sl_lb *lb = new_lb();
	struct fixture f;

	make_upstream(&f, "a/b:80", 0, 2);
	cr_assert_null(pick(lb, &f.up, NULL));
	(void)sl_lb_free(lb);
}

Test(lb_round_robin, the_avoided_endpoint_is_left_out_when_there_is_another)
{
	struct sl_lb *lb = new_lb();
	uint64_t picks[3] = {0};
	struct fixture f;

	make_upstream(&f, "a/b:80", 3, 3);
	for (int i = 0; i < 300; i++)
		picks[index_of(&f, pick(lb, &f.up, &f.endpoints[1].addr))]++;
	cr_assert_eq(picks[1], 0);
	cr_assert(picks[0] >= 100 && picks[2] >= 100);
	make_upstream(&f, "a/b:80", 1, 3);
	cr_assert_eq(index_of(&f, pick(lb, &f.up, &f.endpoints[0].addr)), 0);
	(void)sl_lb_free(lb);
}

Test(lb_round_robin, upstreams_have_rounds_of_their_own)
{
	struct sl_lb *lb = new_lb();
	struct fixture a, b;
	long last;

	make_upstream(&a, "a/b:80", 2, 2);
	make_upstream(&b, "a/c:80", 2, 2);
	last = index_of(&a, pick(lb, &a.up, NULL));
	for (int i = 0; i < 10; i++) {
		long at;

		(void)pick(lb, &b.up, NULL);
		at = index_of(&a, pick(lb, &a.up, NULL));
		cr_assert_neq(at, last);
		last = at;
	}
	(void)sl_lb_free(lb);
}

Test(lb_round_robin, fewer_endpoints_than_before_are_no_trouble)
{
	struct sl_lb *lb = new_lb();
	struct fixture f;

	for (uint32_t n = MAX_ENDPOINTS; n > 0; n--) {
		make_upstream(&f, "a/b:80", n, n);
		for (int i = 0; i < 5; i++)
			cr_assert_lt(index_of(&f, pick(lb, &f.up, NULL)), (long)n);
	}
	(void)sl_lb_free(lb);
}

Test(lb_round_robin, balancers_start_at_different_endpoints)
{
	uint64_t starts[MAX_ENDPOINTS] = {0};
	uint32_t n_used = 0;
	struct fixture f;

	make_upstream(&f, "a/b:80", MAX_ENDPOINTS, MAX_ENDPOINTS);
	for (int i = 0; i < 200; i++) {
		struct sl_lb *lb = new_lb();

		starts[index_of(&f, pick(lb, &f.up, NULL))]++;
		(void)sl_lb_free(lb);
	}
	for (int i = 0; i < MAX_ENDPOINTS; i++)
		n_used += starts[i] > 0;
	cr_assert_gt(n_used, 4);
}

Test(lb_round_robin, pruning_forgets_only_what_is_gone)
{
	struct sl_snapshot before = {0}, after = {0};
	struct sl_lb *lb = new_lb();
	struct fixture kept, gone;
	long at;

	make_upstream(&kept, "a/b:80", 4, 4);
	make_upstream(&gone, "a/c:80", 4, 4);
	sl_part_init(&kept.up.part, NULL);
	sl_part_init(&gone.up.part, NULL);
	cr_assert_eq(sl_pmap_put(&before.upstreams, kept.up.key, &kept.up.part), 0);
	after.upstreams = sl_pmap_copy(&before.upstreams);
	cr_assert_eq(sl_pmap_put(&before.upstreams, gone.up.key, &gone.up.part), 0);
	at = index_of(&kept, pick(lb, &kept.up, NULL));
	(void)pick(lb, &gone.up, NULL);
	sl_lb_prune(lb, NULL, &before);
	sl_lb_prune(lb, &before, &after);
	cr_assert_eq(index_of(&kept, pick(lb, &kept.up, NULL)), (at + 1) % 4);
	/* Only the one that was forgotten needs memory again. */
	(void)sl_alloc_fail_after(-1);
	(void)pick(lb, &kept.up, NULL);
	cr_assert_eq(sl_alloc_fail_after(-1), 0);
	(void)pick(lb, &gone.up, NULL);
	cr_assert_gt(sl_alloc_fail_after(-1), 0);
	sl_pmap_deinit(&before.upstreams);
	sl_pmap_deinit(&after.upstreams);
	(void)sl_lb_free(lb);
}

Test(lb_round_robin, out_of_memory_an_endpoint_is_found_all_the_same)
{
	struct sl_lb *lb = NULL;
	struct fixture f;

	(void)sl_alloc_fail_after(0);
	cr_assert_eq(sl_lb_new(&lb), -ENOMEM);
	(void)sl_alloc_fail_after(-1);
	lb = new_lb();
	make_upstream(&f, "a/b:80", 3, 3);
	for (long n = 0; n < 3; n++) {
		(void)sl_alloc_fail_after(n);
		cr_assert_not_null(pick(lb, &f.up, &f.endpoints[0].addr));
	}
	(void)sl_alloc_fail_after(-1);
	(void)sl_lb_free(lb);
	cr_assert_null(sl_lb_free(NULL));
	check_leaks();
}
