/* SPDX-License-Identifier: Apache-2.0 */
/* Which share and endpoint a flow gets, and what a UDP socket remembers. */
#include <criterion/criterion.h>
#include "lib/split.h"

enum { NONE = SL_SPLIT_SHARES };

struct row {
	const char *name;
	struct sl_split_share shares[3];
	__u32 n_shares, random, random2;
	__u32 share, want; /* endpoint: of a share that has some */
};

static const struct row rows[] = {
	{"no share", {{0}}, 0, 0, 0, NONE, 0},
	{"no weight", {{0, 0, 2}}, 1, 7, 0, NONE, 0},
	{"the only one", {{1, 0, 1}}, 1, 12345, 6789, 0, 0},
	{"first of two", {{3, 0, 2}, {4, 2, 2}}, 2, 2, 1, 0, 1},
	{"second of two", {{3, 0, 2}, {4, 2, 2}}, 2, 3, 1, 1, 3},
	{"the draw is modulo the sum", {{3, 0, 2}, {4, 2, 2}}, 2, 7, 2, 1, 2},
	{"weight 0 is never drawn", {{0, 0, 0}, {1, 0, 1}}, 2, 0, 0, 1, 0},
	{"weight 0 in between", {{1, 0, 1}, {1, 1, 0}, {2, 1, 1}}, 3, 1, 0, 2, 1},
	{"a share without endpoints", {{1, 0, 0}, {2, 0, 1}}, 2, 0, 0, 0, 0},
	{"beside one without", {{1, 0, 0}, {2, 0, 1}}, 2, 1, 0, 1, 0},
	{"more shares than there can be", {{1, 0, 1}}, SL_SPLIT_SHARES + 1, 0, 0, NONE, 0},
};

Test(udp, shares_are_dealt_by_weight)
{
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		const struct row *r = &rows[i];
		struct sl_split_val val = {.id = 1, .n_shares = r->n_shares};
		const struct sl_split_share *share;
		__u32 at;

		for (int k = 0; k < 3; k++)
			val.shares[k] = r->shares[k];
		at = sl_split_share(&val, r->random);
		cr_expect_eq(at, r->share, "%s", r->name);
		share = at < SL_SPLIT_SHARES ? &val.shares[at] : NULL;
		if (share && share->n_endpoints)
			cr_expect_eq(sl_split_index(share, r->random2), r->want, "%s", r->name);
	}
}

Test(udp, sixteen_shares_of_the_largest_weight)
{
	struct sl_split_val val = {.id = 1, .n_shares = SL_SPLIT_SHARES};

	for (__u32 i = 0; i < SL_SPLIT_SHARES; i++)
		val.shares[i] = (struct sl_split_share){1000000 * (i + 1), i, 1};
	for (__u32 i = 0; i < SL_SPLIT_SHARES; i++) {
		cr_expect_eq(sl_split_share(&val, 1000000 * i), i);
		cr_expect_eq(sl_split_share(&val, 1000000 * (i + 1) - 1), i);
		cr_expect_eq(sl_split_index(&val.shares[i], 9), i);
	}
}

static struct sl_ip ip(__u32 n)
{
	return sl_ip_from4(bpf_htonl(0x0a000000 + n));
}

static struct sl_udp_flow flow(__u32 service, __u32 endpoint, __u32 used)
{
	struct sl_udp_flow f = {.port = 53, .via_port = 5300, .used = used};

	sl_ip_store(f.addr, ip(service));
	sl_ip_store(f.via, ip(endpoint));
	return f;
}

Test(udp, a_flow_is_found_by_the_service)
{
	struct sl_udp u = {.flows = {flow(1, 11, 5), flow(2, 12, 6)}};

	cr_expect_eq(sl_udp_find(&u, ip(1), 53), 0);
	cr_expect_eq(sl_udp_find(&u, ip(2), 53), 1);
	cr_expect_eq(sl_udp_find(&u, ip(2), 54), SL_UDP_FLOWS);
	cr_expect_eq(sl_udp_find(&u, ip(3), 53), SL_UDP_FLOWS);
	cr_expect_eq(sl_udp_find(&u, (struct sl_ip){{0}}, 0), SL_UDP_FLOWS, "a free one is none");
}

Test(udp, an_answer_belongs_to_who_was_asked_last)
{
	struct sl_udp u = {.flows = {flow(1, 11, 5), flow(2, 11, 6), flow(3, 12, 7)}};

	cr_expect_eq(sl_udp_source(&u, ip(11), 5300), 1);
	u.flows[0].used = 8;
	cr_expect_eq(sl_udp_source(&u, ip(11), 5300), 0);
	cr_expect_eq(sl_udp_source(&u, ip(12), 5300), 2);
	cr_expect_eq(sl_udp_source(&u, ip(12), 53), SL_UDP_FLOWS);
	cr_expect_eq(sl_udp_source(&u, ip(13), 5300), SL_UDP_FLOWS);
}

Test(udp, a_new_flow_takes_a_free_slot_or_the_oldest)
{
	struct sl_udp u = {0};

	for (__u32 i = 0; i < SL_UDP_FLOWS; i++) {
		cr_expect_eq(sl_udp_oldest(&u), i);
		u.flows[i] = flow(i, 11, 10 + i);
	}
	cr_expect_eq(sl_udp_oldest(&u), 0);
	u.flows[0].used = 99;
	cr_expect_eq(sl_udp_oldest(&u), 1);
}
