/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once
/*
 * Addresses of both families as four words in network order, IPv4 as ::ffff:a.b.c.d. Pure, compiled
 * for BPF and for the host's unit tests.
 */
#include <linux/types.h>
#include <bpf/bpf_endian.h>

#ifndef __always_inline
#define __always_inline inline __attribute__((always_inline))
#endif

struct sl_ip {
	__u32 w[4];
};

#define SL_MAPPED   bpf_htonl(0x0000ffff)
#define SL_LOOPBACK bpf_htonl(0x7f000001)

static __always_inline struct sl_ip sl_ip_from4(__be32 v4)
{
	return (struct sl_ip){{0, 0, SL_MAPPED, v4}};
}

/* From and to the addresses of the ABI, which are aligned. */
static __always_inline struct sl_ip sl_ip_load(const __u8 from[16])
{
	struct sl_ip ip;

	__builtin_memcpy(&ip, __builtin_assume_aligned(from, 4), sizeof(ip));
	return ip;
}

static __always_inline void sl_ip_store(__u8 to[16], struct sl_ip ip)
{
	__builtin_memcpy(__builtin_assume_aligned(to, 4), &ip, sizeof(ip));
}

static __always_inline int sl_ip_is_v4(struct sl_ip ip)
{
	return (ip.w[0] | ip.w[1]) == 0 && ip.w[2] == SL_MAPPED;
}

/* The wildcard of either family: what a socket that was never bound has. */
static __always_inline int sl_ip_is_any(struct sl_ip ip)
{
	return (ip.w[0] | ip.w[1] | ip.w[3]) == 0 && (ip.w[2] == 0 || ip.w[2] == SL_MAPPED);
}

static __always_inline int sl_ip_is_loopback(struct sl_ip ip)
{
	if (sl_ip_is_v4(ip))
		return (ip.w[3] & bpf_htonl(0xff000000)) == bpf_htonl(0x7f000000);
	return (ip.w[0] | ip.w[1] | ip.w[2]) == 0 && ip.w[3] == bpf_htonl(1);
}

static __always_inline int sl_ip_eq(struct sl_ip a, struct sl_ip b)
{
	return ((a.w[0] ^ b.w[0]) | (a.w[1] ^ b.w[1]) | (a.w[2] ^ b.w[2]) | (a.w[3] ^ b.w[3])) == 0;
}
