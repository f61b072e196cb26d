/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* An upstream with a policy, for the tests of balancers. */
#include <criterion/criterion.h>
#include "base/clock.h"
#include "upstream/upstream.h"

struct balanced {
	struct sl_lb *lb;
	struct sl_upstream *up;
	struct sl_balance *balance; /* up's, to be changed */
	struct sl_endpoint *endpoints;
	uint64_t now_ns;
};

static inline void balanced_slots(struct balanced *b)
{
	uint64_t names[1024];
	char text[SL_ADDR_TEXT];

	for (uint32_t i = 0; i < b->up->n_usable; i++)
		names[i] =
			sl_balance_hash(sl_str_from(sl_addr_format(&b->endpoints[i].addr, text)));
	cr_assert_eq(sl_hash_slots(&b->up->arena, names, b->up->n_usable, &b->balance->slots), 0);
}

/* Endpoints 10.0.0.1 and on, all usable. */
static inline struct balanced balanced_new(enum sl_balancer balancer, uint32_t n)
{
	struct balanced b = {.now_ns = 1000 * SL_NS_PER_S};

	cr_assert_eq(sl_lb_new(&b.lb), 0);
	cr_assert_eq(sl_upstream_new(&b.up), 0);
	b.endpoints = sl_arena_new_n(&b.up->arena, struct sl_endpoint, n);
	b.balance = sl_arena_new(&b.up->arena, struct sl_balance);
	b.balance->loads = sl_arena_new_n(&b.up->arena, struct sl_load *, n);
	for (uint32_t i = 0; i < n; i++) {
		struct sl_addr a = {
			.ip = {[10] = 0xff, 0xff, 10, 0, (uint8_t)(i >> 8), (uint8_t)(i + 1)},
			.port = 8080};

		b.endpoints[i] = (struct sl_endpoint){.addr = a, .ready = true};
		cr_assert_eq(sl_load_new(&b.balance->loads[i]), 0);
	}
	cr_assert_eq(sl_load_new(&b.balance->load), 0);
	b.up->key = SL_STR("shop/cart:80");
	b.up->endpoints = b.endpoints;
	b.up->n_endpoints = b.up->n_usable = n;
	b.balance->balancer = balancer;
	b.up->balance = b.balance;
	if (balancer == SL_BALANCER_HASH)
		balanced_slots(&b);
	return b;
}

static inline void balanced_free(struct balanced *b)
{
	(void)sl_upstream_unref(b->up);
	(void)sl_lb_free(b->lb);
}

/* Index of the endpoint, -1 when there is none. */
static inline int balanced_pick(struct balanced *b, const struct sl_lb_ask *ask)
{
	struct sl_lb_ask now = *ask;
	const struct sl_endpoint *e;

	now.now_ns = b->now_ns;
	e = sl_lb_pick(b->lb, b->up, &now);
	return e ? (int)(e - b->endpoints) : -1;
}
