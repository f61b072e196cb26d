/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * sendmsg(2) and recvmsg(2) of UDP sockets that name an address: a datagram to a Service with a
 * UDPRoute goes to an endpoint of one of its backends, the same one for as long as the socket lives
 * and the endpoint is there; what comes back from it comes from the Service.
 */
#include "maps.h"
#include "ctx.h"
#include "lib/stat.h"
#include "lib/svc.h"
#include "split.h"

char sl_license[] SEC("license") __weak = "Dual BSD/GPL";

/* A connected socket that names its own peer hears that one endpoint only. */
static __always_inline int follow_peer(struct bpf_sock *sk, struct sl_ip ip, __u16 port,
				       struct sl_split_to *ret)
{
	struct sl_orig *o = bpf_sk_storage_get(&sl_orig, sk, 0, 0);

	if (!o || o->port != port || !sl_ip_eq(sl_ip_load(o->addr), ip) ||
	    o->via_port != bpf_ntohs(SL_CTX(sk, dst_port)))
		return 0;
	ret->ip = sl_ip_load(o->via);
	ret->port = o->via_port;
	return 1;
}

/* By way of memory the verifier forgets which slot it is, and does not walk what follows for each
 * of them. */
static __always_inline __u32 forget_slot(struct sl_udp *u, __u32 at)
{
	u->slot = at;
	return *(volatile __u32 *)&u->slot;
}

static __always_inline void flow_write(struct sl_udp *u, __u32 at, struct sl_ip ip, __u16 port,
				       const struct sl_split_to *to)
{
	struct sl_udp_flow *f = &u->flows[at & (SL_UDP_FLOWS - 1)];

	sl_ip_store(f->addr, ip);
	sl_ip_store(f->via, to->ip);
	f->port = port;
	f->via_port = to->port;
}

static __always_inline void flow_used(struct sl_udp *u, __u32 at)
{
	u->clock = u->clock + 1 ? u->clock + 1 : 1;
	u->flows[at & (SL_UDP_FLOWS - 1)].used = u->clock;
}

/* Where the socket's datagrams to the Service go: as before, if that endpoint is still one. */
static __always_inline enum sl_split_choice follow_flow(struct sl_udp *u,
							const struct sl_split_val *split,
							struct sl_ip ip, __u16 port,
							struct sl_split_to *ret)
{
	__u32 at = forget_slot(u, sl_udp_find(u, ip, port));
	enum sl_split_choice choice;

	if (at < SL_UDP_FLOWS) {
		const struct sl_udp_flow *f = &u->flows[at & (SL_UDP_FLOWS - 1)];

		ret->ip = sl_ip_load(f->via);
		ret->port = f->via_port;
		if (sl_split_has(split, ret->ip, ret->port)) {
			flow_used(u, at);
			return SL_SPLIT_CHOSEN;
		}
	} else {
		at = forget_slot(u, sl_udp_oldest(u));
	}
	choice = sl_split_choose(ip, port, IPPROTO_UDP, ret);
	if (choice != SL_SPLIT_CHOSEN)
		return choice;
	flow_write(u, at, ip, port, ret);
	flow_used(u, at);
	sl_count(SL_REASON_SPLIT);
	return choice;
}

static __always_inline int on_sendmsg(struct bpf_sock_addr *ctx, int hook4, struct sl_ip ip)
{
	__u16 port = bpf_ntohs(SL_CTX(ctx, user_port));
	struct bpf_sock *sk = ctx->sk;
	const struct sl_split_val *split;
	struct sl_split_to to;
	struct sl_udp *u;
	enum sl_split_choice choice = SL_SPLIT_CHOSEN;

	if (!sk || SL_CTX(ctx, protocol) != IPPROTO_UDP)
		return SL_ALLOW;
	split = sl_split_find(ip, port, IPPROTO_UDP);
	if (!split)
		return SL_ALLOW;
	if (!follow_peer(sk, ip, port, &to)) {
		u = bpf_sk_storage_get(&sl_udp, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
		if (!u) /* answers would seem to be somebody else's */
			return sl_refuse(SL_REASON_NO_MEMORY);
		choice = follow_flow(u, split, ip, port, &to);
	}
	if (choice == SL_SPLIT_REFUSED)
		return sl_refuse(SL_REASON_SPLIT_NONE);
	if (choice == SL_SPLIT_CHOSEN)
		sl_ctx_set_address(ctx, hook4, to.ip, to.port);
	return SL_ALLOW;
}

SEC("cgroup/sendmsg4")
int sl_sendmsg4(struct bpf_sock_addr *ctx)
{
	return on_sendmsg(ctx, 1, sl_ip_from4(SL_CTX(ctx, user_ip4)));
}

SEC("cgroup/sendmsg6")
int sl_sendmsg6(struct bpf_sock_addr *ctx)
{
	return on_sendmsg(ctx, 0, SL_CTX_IP6(ctx, user_ip6));
}

static __always_inline int on_recvmsg(struct bpf_sock_addr *ctx, int hook4, struct sl_ip from)
{
	__u16 port = bpf_ntohs(SL_CTX(ctx, user_port));
	struct bpf_sock *sk = ctx->sk;
	struct sl_orig *o;
	struct sl_udp *u;
	__u32 at;

	if (!sk || SL_CTX(ctx, protocol) != IPPROTO_UDP)
		return SL_ALLOW;
	o = bpf_sk_storage_get(&sl_orig, sk, 0, 0);
	if (o && sl_orig_holds(o, from, port)) {
		sl_ctx_set_address(ctx, hook4, sl_ip_load(o->addr), o->port);
		return SL_ALLOW;
	}
	u = bpf_sk_storage_get(&sl_udp, sk, 0, 0);
	if (!u)
		return SL_ALLOW;
	at = forget_slot(u, sl_udp_source(u, from, port));
	if (at < SL_UDP_FLOWS) {
		const struct sl_udp_flow *f = &u->flows[at & (SL_UDP_FLOWS - 1)];

		sl_ctx_set_address(ctx, hook4, sl_ip_load(f->addr), f->port);
	}
	return SL_ALLOW;
}

SEC("cgroup/recvmsg4")
int sl_recvmsg4(struct bpf_sock_addr *ctx)
{
	return on_recvmsg(ctx, 1, sl_ip_from4(SL_CTX(ctx, user_ip4)));
}

SEC("cgroup/recvmsg6")
int sl_recvmsg6(struct bpf_sock_addr *ctx)
{
	return on_recvmsg(ctx, 0, SL_CTX_IP6(ctx, user_ip6));
}
