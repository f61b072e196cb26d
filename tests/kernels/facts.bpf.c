/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Programs of the fact tests: no policy, only what is asked of the kernel. Those that some kernel
 * refuses are loaded one by one.
 */
#include <linux/bpf.h>
#include <stdbool.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include "facts_abi.h"

/* The parts of the kernel's structures that are read, found by name. */
#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct list_head {
	struct list_head *next;
};
struct sk_psock {
	struct list_head ingress_msg;
	__u32 msg_tot_len;
};
struct file {
	unsigned int f_flags;
};
struct socket {
	struct file *file;
};
struct sock_common {
	struct {
		__s64 counter;
	} skc_cookie;
	unsigned long skc_flags;
};
typedef struct {
	int owned;
} socket_lock_t;
struct sock {
	struct sock_common __sk_common;
	socket_lock_t sk_lock;
	struct socket *sk_socket;
	void *sk_user_data;
	int sk_rcvlowat;
	int sk_peek_off;
};
struct inet_sock {
	struct sock sk;
};
struct inet_connection_sock {
	struct inet_sock icsk_inet;
	const void *icsk_ulp_ops;
};
struct tcp_sock {
	struct inet_connection_sock inet_conn;
	__u32 rcv_nxt, copied_seq, snd_una, snd_nxt, write_seq;
	__u64 bytes_acked;
	__u16 urg_data;
};
struct seq_file;
struct bpf_iter_meta {
	struct seq_file *seq;
};
struct bpf_iter__tcp {
	struct bpf_iter_meta *meta;
	struct sock_common *sk_common;
};
enum sock_flags {
	SOCK_ZEROCOPY = 0, /* the kernel's own number is put in at load */
};
#pragma clang attribute pop

char facts_license[] SEC("license") = "GPL";

struct {
	__uint(type, BPF_MAP_TYPE_SOCKHASH);
	__uint(max_entries, 4096);
	__type(key, __u64);
	__type(value, __u64);
} socks SEC(".maps");

/* Of somebody else: a socket may be in one map with programs only. */
struct {
	__uint(type, BPF_MAP_TYPE_SOCKHASH);
	__uint(max_entries, 16);
	__type(key, __u64);
	__type(value, __u64);
} foreign SEC(".maps"), bare SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct facts_end);
} ends SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct facts_shared);
} shared SEC(".maps");

static __always_inline struct facts_shared *common(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&shared, &zero);
}

static __always_inline void look(struct tcp_sock *tp, struct facts_view *v)
{
	struct sk_psock *psock;
	void *first;
	__u32 zerocopy_bit = bpf_core_enum_value(enum sock_flags, SOCK_ZEROCOPY);

	v->runs++;
	v->sock = (__u64)tp;
	v->cookie = BPF_CORE_READ(tp, inet_conn.icsk_inet.sk.__sk_common.skc_cookie.counter);
	v->file_flags = BPF_CORE_READ(tp, inet_conn.icsk_inet.sk.sk_socket, file, f_flags);
	v->zerocopy = BPF_CORE_READ(tp, inet_conn.icsk_inet.sk.__sk_common.skc_flags) >>
			      (zerocopy_bit & 63) &
		      1;
	v->rcvlowat = BPF_CORE_READ(tp, inet_conn.icsk_inet.sk.sk_rcvlowat);
	v->peek_off = BPF_CORE_READ(tp, inet_conn.icsk_inet.sk.sk_peek_off);
	v->has_ulp = BPF_CORE_READ(tp, inet_conn.icsk_ulp_ops) != NULL;
	v->urg_data = BPF_CORE_READ(tp, urg_data);
	v->rcv_nxt = BPF_CORE_READ(tp, rcv_nxt);
	v->copied_seq = BPF_CORE_READ(tp, copied_seq);
	v->snd_una = BPF_CORE_READ(tp, snd_una);
	v->snd_nxt = BPF_CORE_READ(tp, snd_nxt);
	v->write_seq = BPF_CORE_READ(tp, write_seq);
	v->bytes_acked = BPF_CORE_READ(tp, bytes_acked);
	/* The pointer's low bits say whose it is. */
	psock = (void *)((__u64)BPF_CORE_READ(tp, inet_conn.icsk_inet.sk.sk_user_data) & ~7ULL);
	v->has_psock = psock != NULL;
	if (!psock)
		return;
	first = BPF_CORE_READ(psock, ingress_msg.next);
	v->psock_queued =
		first != (void *)psock + bpf_core_field_offset(struct sk_psock, ingress_msg);
	v->psock_len_known = bpf_core_field_exists(psock->msg_tot_len);
	if (v->psock_len_known)
		v->psock_len = BPF_CORE_READ(psock, msg_tot_len);
}

/* Does somebody hold the peer's lock? It may be gone: nothing but a safe read. */
static __always_inline bool peer_locked(struct facts_end *e)
{
	struct sock *sk = (void *)e->peer_sock;

	return sk && BPF_CORE_READ(sk, sk_lock.owned);
}

SEC("sk_msg")
int on_msg(struct sk_msg_md *msg)
{
	struct facts_shared *c = common();
	struct facts_end *e;
	struct tcp_sock *tp;
	int verdict;

	if (!c || !msg->sk)
		return SK_PASS;
	__sync_fetch_and_add(&c->n_msg, 1);
	e = bpf_sk_storage_get(&ends, msg->sk, 0, 0);
	c->msg.has_storage = e && e->self;
	tp = bpf_skc_to_tcp_sock(msg->sk);
	if (tp)
		look(tp, &c->msg);
	if (!e || e->mode == FACTS_PASS) {
		__sync_fetch_and_add(&c->n_passed, 1);
		return SK_PASS;
	}
	if (peer_locked(e))
		__sync_fetch_and_add(&c->n_peer_locked, 1);
	verdict = bpf_msg_redirect_hash(msg, &socks, &e->peer, BPF_F_INGRESS);
	if (verdict == SK_PASS) {
		__sync_fetch_and_add(&c->n_redirected, 1);
		__sync_fetch_and_add(&c->bytes_redirected, msg->size);
		return SK_PASS;
	}
	__sync_fetch_and_add(&c->n_no_peer, 1);
	return e->mode == FACTS_STRICT ? verdict : SK_PASS;
}

SEC("sk_msg")
int on_msg_foreign(struct sk_msg_md *msg)
{
	(void)msg;
	return SK_PASS;
}

/* bpf_get_netns_cookie is younger than sk_msg. */
SEC("sk_msg")
int on_msg_netns(struct sk_msg_md *msg)
{
	struct facts_shared *c = common();

	if (c)
		c->msg.netns = bpf_get_netns_cookie(msg);
	return SK_PASS;
}

static __always_inline bool wanted(struct sock_common *sk, struct facts_shared *c)
{
	return c->target && (__u64)BPF_CORE_READ(sk, skc_cookie.counter) == c->target;
}

SEC("iter/tcp")
int iter_look(struct bpf_iter__tcp *ctx)
{
	struct facts_shared *c = common();
	struct sock_common *sk = ctx->sk_common;
	struct tcp_sock *tp;

	if (!c || !sk || !wanted(sk, c))
		return 0;
	tp = bpf_skc_to_tcp_sock(sk);
	if (!tp)
		return 0;
	c->from_iter_found++;
	look(tp, &c->iter);
	return 0;
}

/* Storage from an iterator is younger than the iterator. */
SEC("iter/tcp")
int iter_storage(struct bpf_iter__tcp *ctx)
{
	struct facts_shared *c = common();
	struct sock_common *sk = ctx->sk_common;
	struct facts_end *e;

	if (!c || !sk || !wanted(sk, c))
		return 0;
	c->from_iter_found++;
	e = bpf_sk_storage_get(&ends, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (e)
		e->self = c->target;
	c->iter.has_storage = e != NULL;
	return 0;
}

SEC("iter/tcp")
int iter_insert(struct bpf_iter__tcp *ctx)
{
	struct facts_shared *c = common();
	struct sock_common *sk = ctx->sk_common;
	__u64 key;

	if (!c || !sk || !wanted(sk, c))
		return 0;
	key = c->target;
	c->from_iter_found++;
	c->from_iter_error = bpf_map_update_elem(&socks, &key, sk, BPF_ANY);
	return 0;
}

/* Deletes only what has nothing unread, which nobody can change: the iterator holds the lock. */
SEC("iter/tcp")
int iter_delete(struct bpf_iter__tcp *ctx)
{
	struct facts_shared *c = common();
	struct sock_common *sk = ctx->sk_common;
	struct tcp_sock *tp;
	__u64 key;

	if (!c || !sk || !wanted(sk, c))
		return 0;
	tp = bpf_skc_to_tcp_sock(sk);
	if (!tp)
		return 0;
	key = c->target;
	c->from_iter_found++;
	look(tp, &c->iter);
	if (!c->iter.psock_queued)
		c->from_iter_error = bpf_map_delete_elem(&socks, &key);
	return 0;
}

SEC("fentry/tcp_splice_read")
int splice_fentry(void *ctx)
{
	struct facts_shared *c = common();

	(void)ctx;
	if (c)
		__sync_fetch_and_add(&c->n_splice_read, 1);
	return 0;
}

SEC("kprobe/tcp_splice_read")
int splice_kprobe(void *ctx)
{
	struct facts_shared *c = common();

	(void)ctx;
	if (c)
		__sync_fetch_and_add(&c->n_splice_read, 1);
	return 0;
}
