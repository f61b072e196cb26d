/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* A route table out of one route that a test has filled in. */
#include <criterion/criterion.h>
#include "snapshot/match_index.h"

static inline struct sl_route *route_with(uint32_t n)
{
	struct sl_route *r = NULL;

	cr_assert_eq(sl_route_new(&r), 0);
	r->key = SL_STR("shop/cart");
	r->rules = sl_arena_new_n(&r->arena, struct sl_rule, n + 1);
	r->matches = sl_arena_new_n(&r->arena, struct sl_match, n + 1);
	r->n_rules = r->n_matches = n;
	return r;
}

/* Takes the reference. */
static inline struct sl_route_table *table_of(struct sl_route *r)
{
	struct sl_match_builder *b = NULL;
	struct sl_route_table *t = NULL;

	cr_assert_eq(sl_route_seal(r), 0);
	cr_assert_eq(sl_match_builder_new(&b), 0);
	cr_assert_eq(sl_match_builder_add(b, r), 0);
	cr_assert_eq(sl_route_table_new(&t), 0);
	t->kind = r->n_matches && r->matches[0].is_rpc ? SL_ROUTE_GRPC : SL_ROUTE_HTTP;
	cr_assert_eq(sl_match_builder_build(b, &t->index), 0);
	sl_match_builder_free(b);
	sl_route_unref(r); /* the index has its own */
	return t;
}
