/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Established connections: the original destination goes from the client's socket to the agent's
 * accepted one, over the only thing that both know, the tuple within its network namespace.
 */
#include "maps.h"
#include "ctx.h"
#include "lib/stat.h"
#include "lib/svc.h"

#define AF_INET 2

char sl_license[] SEC("license") __weak = "Dual BSD/GPL";

struct ends {
	struct sl_ip local, remote;
	__u16 local_port, remote_port; /* host order */
};

static __always_inline void read_ends(struct bpf_sock_ops *ctx, struct ends *e)
{
	if (SL_CTX(ctx, family) == AF_INET) {
		e->local = sl_ip_from4(SL_CTX(ctx, local_ip4));
		e->remote = sl_ip_from4(SL_CTX(ctx, remote_ip4));
	} else {
		e->local = SL_CTX_IP6(ctx, local_ip6);
		e->remote = SL_CTX_IP6(ctx, remote_ip6);
	}
	e->local_port = SL_CTX(ctx, local_port);
	e->remote_port = bpf_ntohl(SL_CTX(ctx, remote_port));
}

/*
 * The SYN goes out. Here and not at ACTIVE_ESTABLISHED, because with TCP Fast Open the agent's side
 * is established first.
 */
static __always_inline void on_syn(struct bpf_sock_ops *ctx, struct bpf_sock *sk)
{
	struct sl_orig *o = bpf_sk_storage_get(&sl_orig, sk, 0, 0);
	struct sl_flow_key key = {};
	struct ends e;

	read_ends(ctx, &e);
	if (!sl_ip_is_loopback(e.remote))
		return;
	key.netns = bpf_get_netns_cookie(ctx);
	sl_ip_store(key.client, e.local);
	sl_ip_store(key.server, e.remote);
	key.client_port = e.local_port;
	key.server_port = e.remote_port;
	if (o && o->steered && sl_orig_holds(o, e.remote, e.remote_port)) {
		struct sl_orig copy = *o;

		copy.accepted = 1;
		if (bpf_map_update_elem(&sl_flow, &key, &copy, BPF_ANY))
			sl_count(SL_REASON_FLOW_LOST);
	} else if (!bpf_map_delete_elem(&sl_flow, &key)) {
		/* An earlier steered socket had this tuple and was never accepted. */
		sl_count(SL_REASON_FLOW_STALE);
	}
}

static __always_inline void on_accept(struct bpf_sock_ops *ctx, struct bpf_sock *sk)
{
	struct sl_orig *o, *mine;
	struct sl_flow_key key = {};
	struct ends e;

	if (!bpf_sk_storage_get(&sl_own, sk, 0, 0)) /* inherited from the agent's listener */
		return;
	read_ends(ctx, &e);
	key.netns = bpf_get_netns_cookie(ctx);
	sl_ip_store(key.client, e.remote);
	sl_ip_store(key.server, e.local);
	key.client_port = e.remote_port;
	key.server_port = e.local_port;
	o = bpf_map_lookup_elem(&sl_flow, &key);
	if (!o) /* somebody called the listener itself */
		return;
	mine = bpf_sk_storage_get(&sl_orig, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!mine) { /* the agent still finds it under the tuple */
		sl_count(SL_REASON_FLOW_LOST);
		return;
	}
	*mine = *o;
	(void)bpf_map_delete_elem(&sl_flow, &key); /* gone already if the map was short of room */
}

SEC("sockops")
int sl_sockops(struct bpf_sock_ops *ctx)
{
	__u32 op = SL_CTX(ctx, op);
	struct bpf_sock *sk;

	/* Most calls, several for each connection on the node, are neither. */
	if (op != BPF_SOCK_OPS_TCP_CONNECT_CB && op != BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB)
		return 1;
	sk = ctx->sk;
	if (!sk)
		return 1;
	if (op == BPF_SOCK_OPS_TCP_CONNECT_CB)
		on_syn(ctx, sk);
	else
		on_accept(ctx, sk);
	return 1;
}
