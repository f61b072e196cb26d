/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once
/* An endpoint for a new flow to an address that the kernel spreads by itself, and whether an old
 * flow may stay where it is. */
#include "maps.h"
#include "ctx.h"
#include "lib/split.h"
#include "lib/stat.h"

#define IPPROTO_TCP  6
#define IPPROTO_UDP  17
#define ECONNREFUSED 111

/* Set before load: the helper is missing before Linux 5.18. */
const volatile __u8 sl_has_set_retval __weak = 0;

/* As a port on which nobody listens. */
static __always_inline int sl_refuse(__u32 reason)
{
	sl_count(reason);
	if (sl_has_set_retval)
		bpf_set_retval(-ECONNREFUSED);
	return SL_REFUSE;
}

struct sl_split_to {
	struct sl_ip ip;
	__u16 port;
};

enum sl_split_choice { SL_SPLIT_NOT_OURS, SL_SPLIT_REFUSED, SL_SPLIT_CHOSEN };

static __always_inline struct sl_split_val *sl_split_find(struct sl_ip ip, __u16 port,
							  __u16 protocol)
{
	struct sl_split_key key = {.port = port, .protocol = protocol};

	sl_ip_store(key.addr, ip);
	return bpf_map_lookup_elem(&sl_split, &key);
}

static __always_inline enum sl_split_choice sl_split_deal(struct sl_split_val *split, int v4,
							  struct sl_split_to *ret)
{
	__u32 at = sl_split_share(split, bpf_get_prandom_u32());
	enum sl_split_choice choice = SL_SPLIT_REFUSED;
	struct sl_ep_key key = {.id = split->id};
	struct sl_split_share *share;
	struct sl_ep_val *ep;

	if (at >= SL_SPLIT_SHARES)
		return SL_SPLIT_REFUSED;
	share = &split->shares[at];
	if (share->n_endpoints) {
		key.index = sl_split_index(share, bpf_get_prandom_u32());
		ep = bpf_map_lookup_elem(&sl_split_ep, &key);
		if (!ep)
			return SL_SPLIT_NOT_OURS; /* of this version no more */
		ret->ip = sl_ip_load(ep->addr);
		ret->port = ep->port;
		if (sl_ip_is_v4(ret->ip) == v4)
			choice = SL_SPLIT_CHOSEN;
	}
	__sync_fetch_and_add(&share->flows, 1);
	return choice;
}

static __always_inline enum sl_split_choice sl_split_choose(struct sl_ip ip, __u16 port,
							    __u16 protocol, struct sl_split_to *ret)
{
	enum sl_split_choice choice;

	/* A version may go between the two look-ups: then the next one is there. */
	for (int tries = 0; tries < 2; tries++) {
		struct sl_split_val *split = sl_split_find(ip, port, protocol);

		if (!split)
			return SL_SPLIT_NOT_OURS;
		choice = sl_split_deal(split, sl_ip_is_v4(ip), ret);
		if (choice != SL_SPLIT_NOT_OURS)
			return choice;
	}
	return SL_SPLIT_REFUSED;
}

static __always_inline int sl_split_has(const struct sl_split_val *split, struct sl_ip ip,
					__u16 port)
{
	struct sl_member_key key = {.id = split->id, .port = port};

	sl_ip_store(key.addr, ip);
	return bpf_map_lookup_elem(&sl_member, &key) != NULL;
}
