/* SPDX-License-Identifier: Apache-2.0 */
/* What a source may have beside others. */
#include <criterion/criterion.h>
#include "proxy/state.h"

static struct sl_proxy_opts opts(uint32_t conns, uint32_t share_descriptors, uint64_t buffered)
{
	return (struct sl_proxy_opts){.max_conns = conns,
				      .share_descriptors = share_descriptors,
				      .max_buffered_bytes = buffered};
}

/* Sources that want everything, one after the other and again: how many each gets. */
static void fill(struct sl_proxy *p, struct sl_proxy_source *src, int n)
{
	for (int round = 0; round < 2000; round++) {
		struct sl_proxy_source *s = &src[round % n];

		if (sl_share_refuses_conn(s))
			continue;
		s->n_conns++;
		p->n_conns++;
	}
}

Test(share, greedy_sources_leave_as_much_as_they_have)
{
	static const struct {
		int n_sources, each;
	} cases[] = {{1, 50}, {2, 33}, {3, 25}, {9, 10}};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct sl_proxy p = {.opts = opts(100, 0, 1 << 20)};
		struct sl_proxy_source src[10] = {0};

		for (int k = 0; k < 10; k++)
			src[k].proxy = &p;
		fill(&p, src, cases[i].n_sources);
		for (int k = 0; k < cases[i].n_sources; k++)
			cr_expect(src[k].n_conns >= cases[i].each &&
					  src[k].n_conns <= cases[i].each + 1,
				  "%d sources: %d", cases[i].n_sources, src[k].n_conns);
		cr_expect_eq(sl_share_refuses_conn(&src[0]), SL_LIMIT_POD_CONNECTIONS);
		cr_expect_eq(sl_share_refuses_conn(&src[9]), SL_LIMIT_NONE, "who has nothing yet");
	}
}

Test(share, descriptors_count_where_they_are_fewer)
{
	struct sl_proxy p = {.opts = opts(100, 20, 1 << 20)};
	struct sl_proxy_source src = {.proxy = &p};

	fill(&p, &src, 1);
	cr_expect_eq(src.n_conns, 10);
	p.n_leased = 4;
	src.n_conns = 0;
	p.n_conns = 0;
	fill(&p, &src, 1);
	cr_expect_eq(src.n_conns, 8, "those to endpoints are some too");
}

Test(share, the_limit_of_all_is_named_when_it_is_that)
{
	struct sl_proxy p = {.opts = opts(4, 0, 1000), .n_conns = 4};
	struct sl_proxy_source src = {.proxy = &p};

	cr_expect_eq(sl_share_refuses_conn(&src), SL_LIMIT_CONNECTIONS);
}

Test(share, who_holds_little_goes_on_when_queues_are_full)
{
	static const struct {
		uint64_t own, all;
		enum sl_limit limit;
	} cases[] = {
		{0, 0, SL_LIMIT_NONE},
		{6399, 6399, SL_LIMIT_POD_BUFFERED_BYTES},
		{3199, 3199, SL_LIMIT_NONE},
		{3200, 3200, SL_LIMIT_POD_BUFFERED_BYTES},
		{2000, 5000, SL_LIMIT_POD_BUFFERED_BYTES},
		{1000, 5000, SL_LIMIT_NONE},
		{1000, 6400, SL_LIMIT_BUFFERED_BYTES},
		{99, 6400, SL_LIMIT_NONE},
		{99, 6400 * 4, SL_LIMIT_BUFFERED_BYTES},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct sl_proxy p = {.opts = opts(4, 0, 6400), .buffered_bytes = cases[i].all};
		struct sl_proxy_source src = {.proxy = &p, .buffered_bytes = cases[i].own};

		cr_expect_eq(sl_share_refuses_request(&src), cases[i].limit, "case %zu", i);
	}
}
