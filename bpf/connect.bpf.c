/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * connect(2): a stream to a routed Service goes to the agent's listener in the caller's network
 * namespace, or to an endpoint of a backend where a TCPRoute leaves that to the kernel; a UDP
 * socket to an endpoint of a UDPRoute's backend. getpeername(2) and getsockname(2) show the
 * application what it expects.
 * A connect that is not to a routed Service costs one hash lookup and one look at the socket.
 */
#include "maps.h"
#include <bpf/bpf_core_read.h>
#include "ctx.h"
#include "kernel.h"
#include "lib/stat.h"
#include "split.h"
#include "lib/svc.h"

#define AF_INET	      2
#define SOCK_STREAM   1
#define SOCK_DGRAM    2
#define IPPROTO_MPTCP 262

char sl_license[] SEC("license") __weak = "Dual BSD/GPL";

/* The ends of the call at hand, each read once. Ports in host order here and in the maps; what the
 * kernel gives and takes is in network order. */
struct call {
	struct sl_ip dst;
	struct sl_ip bound; /* the socket's own address */
	__u16 port;
	__u16 bound_port; /* 0: none */
	int v4;		  /* also when an IPv6 socket calls a v4-mapped address */
	int hook4;
};

/* For splicing, which some programs cannot bear. */
static __always_inline void remember_program(struct sl_orig *o)
{
	struct inode *exe = bpf_get_current_task_btf()->mm->exe_file->f_inode; /* or zeroes */

	o->exe_inode = exe->i_ino;
	o->exe_dev = exe->i_sb->s_dev;
	o->pad = 0;
}

/* Returns 0, or -1 when there is no memory for it. */
static __always_inline int remember(struct bpf_sock_addr *ctx, struct bpf_sock *sk,
				    const struct call *call, struct sl_ip via, __u16 via_port,
				    int steered)
{
	struct sl_orig *o = bpf_sk_storage_get(&sl_orig, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);

	if (!o)
		return -1;
	sl_ip_store(o->addr, call->dst);
	sl_ip_store(o->via, via);
	o->port = call->port;
	o->via_port = via_port;
	o->steered = steered;
	o->direct = !steered;
	o->accepted = 0;
	o->bound_loopback = steered && sl_ip_is_loopback(call->bound);
	o->cgroup_id = bpf_get_current_cgroup_id();
	o->netns = bpf_get_netns_cookie(ctx);
	remember_program(o);
	return 0;
}

static __always_inline int balance(struct bpf_sock_addr *ctx, struct bpf_sock *sk,
				   const struct call *call, const struct sl_svc_val *svc)
{
	struct sl_ep_key key = {
		.id = svc->id,
		.index = sl_endpoint_index(svc->n_endpoints, bpf_get_prandom_u32()),
	};
	struct sl_ep_val *ep = svc->n_endpoints ? bpf_map_lookup_elem(&sl_ep, &key) : NULL;
	struct sl_ip to = {};

	if (ep)
		to = sl_ip_load(ep->addr);
	if (!ep || sl_ip_is_v4(to) != call->v4)
		return sl_refuse(SL_REASON_NO_ENDPOINT);
	/* Without the record getpeername shows the endpoint: no reason to refuse. */
	if (remember(ctx, sk, call, to, ep->port, 0))
		sl_count(SL_REASON_NO_MEMORY);
	sl_ctx_set_address(ctx, call->hook4, to, ep->port);
	sl_count(SL_REASON_DIRECT);
	return SL_ALLOW;
}

static __always_inline int fail(struct bpf_sock_addr *ctx, struct bpf_sock *sk,
				const struct call *call, const struct sl_svc_val *svc,
				const struct sl_conf *conf, __u32 reason)
{
	sl_count(reason);
	switch (sl_verdict(svc, conf->policy)) {
	case SL_VERDICT_REFUSE:
		sl_count(SL_REASON_CLOSED);
		return SL_REFUSE;
	case SL_VERDICT_BALANCE:
		return balance(ctx, sk, call, svc);
	default:
		sl_count(SL_REASON_OPEN);
		return SL_ALLOW;
	}
}

/* Tell the agent about a network namespace that it should look after. */
static __always_inline void report(__u64 netns, const struct call *call, __u32 reason)
{
	__u64 now = bpf_ktime_get_ns(), pid_tgid = bpf_get_current_pid_tgid(), *last;
	struct sl_event *ev;

	last = bpf_map_lookup_elem(&sl_seen, &netns);
	if (last && !sl_event_due(*last, now))
		return;
	ev = bpf_ringbuf_reserve(&sl_events, sizeof(*ev), 0);
	if (!ev) {
		sl_count(SL_REASON_EVENT_LOST);
		return;
	}
	ev->netns = netns;
	ev->cgroup_id = bpf_get_current_cgroup_id();
	ev->pid = pid_tgid >> 32;
	ev->tid = pid_tgid;
	sl_ip_store(ev->addr, call->dst);
	ev->port = call->port;
	ev->reason = reason;
	ev->pad = 0;
	bpf_ringbuf_submit(ev, 0);
	/* Without room for it there is one more event. */
	(void)bpf_map_update_elem(&sl_seen, &netns, &now, BPF_ANY);
}

/* As a packet that comes in from remote would have it. */
static __always_inline void tuple_fill(struct bpf_sock_tuple *t, int v4, struct sl_ip local,
				       __u16 local_port, struct sl_ip remote, __u16 remote_port)
{
	if (v4) {
		t->ipv4.saddr = remote.w[3];
		t->ipv4.sport = bpf_htons(remote_port);
		t->ipv4.daddr = local.w[3];
		t->ipv4.dport = bpf_htons(local_port);
	} else {
		__builtin_memcpy(t->ipv6.saddr, &remote, sizeof(remote));
		t->ipv6.sport = bpf_htons(remote_port);
		__builtin_memcpy(t->ipv6.daddr, &local, sizeof(local));
		t->ipv6.dport = bpf_htons(local_port);
	}
}

/* Is there a listener, and did the agent mark it? Only the agent can: the mark is set by fd. */
static __always_inline __u32 check_listener(struct bpf_sock_addr *ctx, int v4, struct sl_ip ip,
					    __u16 port)
{
	struct bpf_sock_tuple t = {};
	struct sl_ip any = {};
	struct bpf_sock *sk;
	__u32 *own;
	__u32 reason = SL_REASON_FORGED;

	tuple_fill(&t, v4, ip, port, any, 0);
	if (v4)
		sk = bpf_sk_lookup_tcp(ctx, &t, sizeof(t.ipv4), BPF_F_CURRENT_NETNS, 0);
	else
		sk = bpf_sk_lookup_tcp(ctx, &t, sizeof(t.ipv6), BPF_F_CURRENT_NETNS, 0);
	if (!sk)
		return SL_REASON_NO_LISTENER;
	own = bpf_sk_storage_get(&sl_own, sk, 0, 0);
	if (own && *own == SL_OWN_LISTENER)
		reason = SL_REASON_STEERED;
	bpf_sk_release(sk);
	return reason;
}

static __always_inline int port_taken(struct bpf_sock_addr *ctx, const struct call *call,
				      struct sl_ip ip, __u16 port)
{
	struct sl_ip client = sl_client_ip(call->bound, call->v4);
	struct bpf_sock_tuple t = {};
	struct bpf_sock *sk;
	int taken;

	if (!call->bound_port)
		return 0;
	tuple_fill(&t, call->v4, client, call->bound_port, ip, port);
	if (call->v4)
		sk = bpf_skc_lookup_tcp(ctx, &t, sizeof(t.ipv4), BPF_F_CURRENT_NETNS, 0);
	else
		sk = bpf_skc_lookup_tcp(ctx, &t, sizeof(t.ipv6), BPF_F_CURRENT_NETNS, 0);
	if (!sk)
		return 0;
	taken = sl_tuple_taken(sk->state);
	bpf_sk_release(sk);
	return taken;
}

/* A source that routing would not let through to loopback: not one of the namespace's own. */
static __always_inline int source_foreign(const struct call *call, __u64 netns)
{
	struct sl_addr_key key = {.netns = netns};

	if (sl_ip_is_any(call->bound) || sl_ip_is_loopback(call->bound))
		return 0;
	sl_ip_store(key.addr, call->bound);
	return !bpf_map_lookup_elem(&sl_addr, &key);
}

static __always_inline int is_mptcp(struct bpf_sock_addr *ctx, struct bpf_sock *sk)
{
	struct tcp_sock *tp;

	if (SL_CTX(ctx, protocol) == IPPROTO_MPTCP)
		return 1;
	/* What connects is the first subflow, an ordinary TCP socket to look at. */
	tp = bpf_skc_to_tcp_sock(sk);
	return tp && bpf_core_field_exists(tp->is_mptcp) && tp->is_mptcp;
}

/* Returns SL_REASON_STEERED when done, else why not. */
static __always_inline __u32 steer(struct bpf_sock_addr *ctx, struct bpf_sock *sk,
				   const struct call *call, const struct sl_conf *conf)
{
	__u64 netns = bpf_get_netns_cookie(ctx);
	struct sl_netns_val *ns;
	__u32 reason = SL_REASON_NO_NETNS;
	struct sl_ip via;
	__u16 port;

	if (is_mptcp(ctx, sk))
		return SL_REASON_MPTCP;
	if (SL_CTX(sk, bound_dev_if))
		return SL_REASON_DEVICE;
	ns = bpf_map_lookup_elem(&sl_netns, &netns);
	if (!ns)
		goto report;
	port = call->v4 ? ns->port4 : ns->port6;
	reason = SL_REASON_NO_FAMILY;
	if (!port)
		goto report;
	via = sl_listener_ip(call->v4, ns->n_addr4, bpf_get_prandom_u32());
	reason = check_listener(ctx, call->v4, via, port);
	if (reason != SL_REASON_STEERED)
		goto report;
	if (!sl_heartbeat_fresh(conf, bpf_ktime_get_ns()))
		return SL_REASON_STALE;
	if (source_foreign(call, netns))
		return SL_REASON_SOURCE;
	if (port_taken(ctx, call, via, port))
		return SL_REASON_PORT_TAKEN;
	if (remember(ctx, sk, call, via, port, 1))
		return SL_REASON_NO_MEMORY;
	sl_ctx_set_address(ctx, call->hook4, via, port);
	return SL_REASON_STEERED;
report:
	report(netns, call, reason);
	return reason;
}

/* Where the kernel follows a rule alone: a connection, or a connected socket's one flow, for as
 * long as it is connected. Returns SL_REFUSE, SL_ALLOW, or -1: that is not so here. */
static __always_inline int split(struct bpf_sock_addr *ctx, struct bpf_sock *sk,
				 const struct call *call, int udp)
{
	struct sl_split_to to;

	switch (sl_split_choose(call->dst, call->port, udp ? IPPROTO_UDP : IPPROTO_TCP, &to)) {
	case SL_SPLIT_NOT_OURS:
		return -1;
	case SL_SPLIT_REFUSED:
		return sl_refuse(udp ? SL_REASON_SPLIT_NONE : SL_REASON_SPLIT_TCP_NONE);
	case SL_SPLIT_CHOSEN:
		break;
	}
	/* Without the record the application sees the endpoint: no reason to refuse. */
	if (remember(ctx, sk, call, to.ip, to.port, 0))
		sl_count(SL_REASON_NO_MEMORY);
	sl_ctx_set_address(ctx, call->hook4, to.ip, to.port);
	sl_count(udp ? SL_REASON_SPLIT : SL_REASON_SPLIT_TCP);
	return SL_ALLOW;
}

/* To the agent; where that cannot be, as the failure policy has it. */
static __always_inline int to_agent(struct bpf_sock_addr *ctx, struct bpf_sock *sk,
				    struct call *call, const struct sl_svc_val *svc)
{
	__u32 zero = 0, reason;
	struct sl_conf *conf = bpf_map_lookup_elem(&sl_conf, &zero);

	if (!conf) /* an array of one: cannot be */
		return SL_ALLOW;
	call->v4 = sl_ip_is_v4(call->dst);
	call->bound_port = SL_CTX(sk, src_port);
	if (SL_CTX(sk, family) == AF_INET)
		call->bound = sl_ip_from4(SL_CTX(sk, src_ip4));
	else
		call->bound = SL_CTX_IP6(sk, src_ip6);
	reason = steer(ctx, sk, call, conf);
	if (reason != SL_REASON_STEERED)
		return fail(ctx, sk, call, svc, conf, reason);
	sl_count(SL_REASON_STEERED);
	return SL_ALLOW;
}

static __always_inline int is_tcp(__u32 type, __u32 protocol)
{
	return type == SOCK_STREAM && (protocol == IPPROTO_TCP || protocol == IPPROTO_MPTCP);
}

static __always_inline int on_connect(struct bpf_sock_addr *ctx, struct call *call)
{
	struct sl_svc_key key = {.port = call->port};
	__u32 type = SL_CTX(ctx, type), protocol = SL_CTX(ctx, protocol);
	int udp = type == SOCK_DGRAM && protocol == IPPROTO_UDP;
	struct bpf_sock *sk = ctx->sk;
	struct sl_svc_val *svc = NULL;
	int verdict;

	if (!sk || (!udp && !is_tcp(type, protocol)))
		return SL_ALLOW;
	/* Whatever this socket was sent to before, it is going elsewhere now. */
	(void)bpf_sk_storage_delete(&sl_orig, sk);
	if (!udp) {
		sl_ip_store(key.addr, call->dst);
		svc = bpf_map_lookup_elem(&sl_svc, &key);
		if (!svc)
			return SL_ALLOW;
		if (bpf_sk_storage_get(&sl_own, sk, 0, 0)) {
			sl_count(SL_REASON_OWN);
			return SL_ALLOW;
		}
	}
	verdict = split(ctx, sk, call, udp);
	if (verdict >= 0)
		return verdict;
	return svc ? to_agent(ctx, sk, call, svc) : SL_ALLOW;
}

SEC("cgroup/connect4")
int sl_connect4(struct bpf_sock_addr *ctx)
{
	struct call call = {
		.dst = sl_ip_from4(SL_CTX(ctx, user_ip4)),
		.port = bpf_ntohs(SL_CTX(ctx, user_port)),
		.hook4 = 1,
	};

	return on_connect(ctx, &call);
}

SEC("cgroup/connect6")
int sl_connect6(struct bpf_sock_addr *ctx)
{
	struct call call = {
		.dst = SL_CTX_IP6(ctx, user_ip6),
		.port = bpf_ntohs(SL_CTX(ctx, user_port)),
	};

	return on_connect(ctx, &call);
}

/* Both name hooks: the record of a client's redirected socket, or NULL. */
static __always_inline struct sl_orig *recall(struct bpf_sock_addr *ctx)
{
	struct bpf_sock *sk = ctx->sk;

	return sk ? bpf_sk_storage_get(&sl_orig, sk, 0, 0) : NULL;
}

static __always_inline int on_getpeername(struct bpf_sock_addr *ctx, int hook4, struct sl_ip peer)
{
	struct sl_orig *o = recall(ctx);

	if (o && sl_orig_holds(o, peer, bpf_ntohs(SL_CTX(ctx, user_port))))
		sl_ctx_set_address(ctx, hook4, sl_ip_load(o->addr), o->port);
	return SL_ALLOW;
}

SEC("cgroup/getpeername4")
int sl_peername4(struct bpf_sock_addr *ctx)
{
	return on_getpeername(ctx, 1, sl_ip_from4(SL_CTX(ctx, user_ip4)));
}

SEC("cgroup/getpeername6")
int sl_peername6(struct bpf_sock_addr *ctx)
{
	return on_getpeername(ctx, 0, SL_CTX_IP6(ctx, user_ip6));
}

static __always_inline int on_getsockname(struct bpf_sock_addr *ctx, int hook4, struct sl_ip local)
{
	struct sl_orig *o = recall(ctx);
	struct sl_netns_val *ns;
	struct bpf_sock *sk = ctx->sk;
	struct sl_ip source;
	__u64 netns;

	if (!o || !sk || !sl_local_hidden(o, local, bpf_ntohs(SL_CTX(sk, dst_port))))
		return SL_ALLOW;
	netns = o->netns;
	ns = bpf_map_lookup_elem(&sl_netns, &netns);
	if (!ns)
		return SL_ALLOW;
	source = sl_ip_is_v4(local) ? sl_ip_load(ns->source4) : sl_ip_load(ns->source6);
	if (!sl_ip_is_any(source))
		sl_ctx_set_address(ctx, hook4, source, bpf_ntohs(SL_CTX(ctx, user_port)));
	return SL_ALLOW;
}

SEC("cgroup/getsockname4")
int sl_sockname4(struct bpf_sock_addr *ctx)
{
	return on_getsockname(ctx, 1, sl_ip_from4(SL_CTX(ctx, user_ip4)));
}

SEC("cgroup/getsockname6")
int sl_sockname6(struct bpf_sock_addr *ctx)
{
	return on_getsockname(ctx, 0, SL_CTX_IP6(ctx, user_ip6));
}
