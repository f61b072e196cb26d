/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once
/* Which share and which endpoint a flow gets, and the flows of a UDP socket. Pure functions,
 * compiled for BPF and for the host's unit tests. */
#include "lib/addr.h"
#include "sluice/abi.h"

/* 1 or 0, without a branch: where programs have none the verifier walks on once, not once for each
 * outcome. Both below 2^63. */
static __always_inline __u64 sl_is_below(__u64 a, __u64 b)
{
	__u64 d = a - b;

	asm volatile("" : "+r"(d)); /* clang would see a comparison, and branch */
	return d >> 63;
}

/* The share of a flow, by weight, or SL_SPLIT_SHARES: there is none. */
static __always_inline __u32 sl_split_share(const struct sl_split_val *split, __u32 random)
{
	__u32 n = split->n_shares, total, draw;
	__u64 at = 0;

	if (n == 0 || n > SL_SPLIT_SHARES)
		return SL_SPLIT_SHARES;
	total = split->shares[(n - 1) & (SL_SPLIT_SHARES - 1)].upto;
	if (!total)
		return SL_SPLIT_SHARES;
	draw = random % total;
	for (__u32 i = 0; i < SL_SPLIT_SHARES; i++)
		at += sl_is_below(i, n) & (1 - sl_is_below(draw, split->shares[i].upto));
	return (__u32)at;
}

/* Of a share that has endpoints: the one that the flow gets, evenly. */
static __always_inline __u32 sl_split_index(const struct sl_split_share *share, __u32 random)
{
	return share->first + random % share->n_endpoints;
}

/* A flow's slot, or SL_UDP_FLOWS. */
static __always_inline __u32 sl_udp_find(const struct sl_udp *u, struct sl_ip ip, __u16 port)
{
	for (__u32 i = 0; i < SL_UDP_FLOWS; i++) {
		const struct sl_udp_flow *f = &u->flows[i];

		if (f->used && f->port == port && sl_ip_eq(sl_ip_load(f->addr), ip))
			return i;
	}
	return SL_UDP_FLOWS;
}

/* One that is free, or was not sent to for longest. */
static __always_inline __u32 sl_udp_oldest(const struct sl_udp *u)
{
	__u32 best = 0, best_used = u->flows[0].used;

	for (__u32 i = 1; i < SL_UDP_FLOWS; i++) {
		if (u->flows[i].used < best_used) {
			best = i;
			best_used = u->flows[i].used;
		}
	}
	return best;
}

/* The slot of the flow that a datagram from this endpoint belongs to, or SL_UDP_FLOWS. Two Services
 * may share an endpoint: then it answers the one that was asked last. */
static __always_inline __u32 sl_udp_source(const struct sl_udp *u, struct sl_ip ip, __u16 port)
{
	__u32 best = SL_UDP_FLOWS, best_used = 0;

	for (__u32 i = 0; i < SL_UDP_FLOWS; i++) {
		const struct sl_udp_flow *f = &u->flows[i];

		if (f->used > best_used && f->via_port == port &&
		    sl_ip_eq(sl_ip_load(f->via), ip)) {
			best = i;
			best_used = f->used;
		}
	}
	return best;
}
