/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once
/*
 * 32-bit fields of a program's context, and of a struct bpf_sock. By an explicit load or store at a
 * constant offset: out of C accesses to an IPv4 and an IPv6 field in two branches clang makes one
 * at a computed offset, which the verifier refuses ("dereference of modified ctx ptr").
 */
#include "lib/addr.h"

#define SL_CTX(p, field)                                                              \
	({                                                                            \
		__u32 v_;                                                             \
		asm volatile("%0 = *(u32 *)(%1 + %2)"                                 \
			     : "=r"(v_)                                               \
			     : "r"(p), "i"(__builtin_offsetof(typeof(*(p)), field))); \
		v_;                                                                   \
	})

#define SL_CTX_IP6(p, field)                                                            \
	((struct sl_ip){{SL_CTX(p, field[0]), SL_CTX(p, field[1]), SL_CTX(p, field[2]), \
			 SL_CTX(p, field[3])}})

#define SL_CTX_SET(p, field, value)                                                              \
	asm volatile("*(u32 *)(%0 + %1) = %2"                                                    \
		     :                                                                           \
		     : "r"(p), "i"(__builtin_offsetof(typeof(*(p)), field)), "r"((__u32)(value)) \
		     : "memory")

#define SL_REFUSE 0 /* EPERM, or what bpf_set_retval() said */
#define SL_ALLOW  1

/* hook4 is a constant where this is inlined: an IPv4 hook may not even contain the other branch. */
static __always_inline void sl_ctx_set_address(struct bpf_sock_addr *ctx, int hook4,
					       struct sl_ip ip, __u16 port)
{
	if (hook4) {
		SL_CTX_SET(ctx, user_ip4, ip.w[3]);
	} else {
		SL_CTX_SET(ctx, user_ip6[0], ip.w[0]);
		SL_CTX_SET(ctx, user_ip6[1], ip.w[1]);
		SL_CTX_SET(ctx, user_ip6[2], ip.w[2]);
		SL_CTX_SET(ctx, user_ip6[3], ip.w[3]);
	}
	SL_CTX_SET(ctx, user_port, bpf_htons(port));
}
