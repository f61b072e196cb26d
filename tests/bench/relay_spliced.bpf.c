/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The measure of a spliced hop: whatever a socket of the cgroup sends goes straight into the queue
 * of its peer, if that is one of the cgroup too. Nothing is asked, bounded or taken back, so it is
 * no way to treat programs that did not agree to it.
 */
#include <linux/bpf.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

char bench_license[] SEC("license") = "Dual BSD/GPL";

/* IPv4, addresses in network order. */
struct end {
	__u32 ip, peer_ip;
	__u32 port, peer_port;
};

struct {
	__uint(type, BPF_MAP_TYPE_SOCKHASH);
	__uint(max_entries, 65536);
	__type(key, struct end);
	__type(value, __u64);
} socks SEC(".maps");

SEC("sockops")
int bench_sockops(struct bpf_sock_ops *ops)
{
	struct end e = {.ip = ops->local_ip4,
			.peer_ip = ops->remote_ip4,
			.port = ops->local_port,
			.peer_port = bpf_ntohl(ops->remote_port)};

	if (ops->op == BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB ||
	    ops->op == BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB)
		bpf_sock_hash_update(ops, &socks, &e, BPF_ANY);
	return 1;
}

SEC("sk_msg")
int bench_msg(struct sk_msg_md *msg)
{
	struct end peer = {.ip = msg->remote_ip4,
			   .peer_ip = msg->local_ip4,
			   .port = bpf_ntohl(msg->remote_port),
			   .peer_port = msg->local_port};

	bpf_msg_redirect_hash(msg, &socks, &peer, BPF_F_INGRESS);
	return SK_PASS; /* by TCP when the peer is not there */
}
