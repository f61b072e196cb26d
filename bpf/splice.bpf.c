/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Splicing: what one end of a hop sends goes into the other's queue, by sk_msg ingress redirect.
 * An app's socket enters and leaves the map under its own lock, looked at by an iterator. Why that
 * is right is docs/architecture/splice.md; each program fails to plain TCP.
 */
#include "splice_maps.h"
#include <bpf/bpf_core_read.h>
#include "kernel.h"
#include "lib/splice.h"

#define AF_INET		2
#define AF_INET6	10
#define TCP_ESTABLISHED 1
#define TCP_CLOSE_WAIT	8
#define O_NONBLOCK	04000
#define EBUSY		16
/* The agent's own send looks so often, half a microsecond, whether the app lets go of its socket.
 */
#define SPINS 32
/* Kernels give clients ports from here on; below, a port tells a server. */
#define FIRST_CLIENT_PORT 32768
#define EEXIST		  17
#define ENOMEM		  12
#define E2BIG		  7

char sl_license[] SEC("license") = "Dual BSD/GPL";

/* Set before load: the cookie of a socket that was shut down for writing. */
const volatile __u64 sl_sink = 0;

#define LOAD(x)	    (*(volatile typeof(x) *)&(x))
#define STORE(x, v) (*(volatile typeof(x) *)&(x) = (v))

/* ---- looking at a socket, whose lock the caller holds ---- */

static __always_inline struct sock *sock_of(struct tcp_sock *tp)
{
	return &tp->inet_conn.icsk_inet.sk;
}

static __always_inline struct sl_tcp read_tcp(struct tcp_sock *tp, __u32 is_active)
{
	return (struct sl_tcp){
		.rcv_nxt = tp->rcv_nxt,
		.copied_seq = tp->copied_seq,
		.snd_una = tp->snd_una,
		.write_seq = tp->write_seq,
		.bytes_acked = tp->bytes_acked,
		.bytes_received = tp->bytes_received,
		.is_active = is_active,
	};
}

/* As a number: newer verifiers keep track of what was read as a pointer. */
static __always_inline __u64 user_data(struct sock *sk)
{
	__u64 p = 0;

	/* Cannot fail on a live socket; 0 reads as "nobody's". */
	(void)bpf_probe_read_kernel(&p, sizeof(p), &sk->sk_user_data);
	return p;
}

/* Nothing waits in either of the socket's queues. */
static __always_inline int has_read_all(struct tcp_sock *tp)
{
	struct sk_psock *psock = (void *)(user_data(sock_of(tp)) & ~7ULL);
	struct list_head *head, *first = NULL;

	if (tp->rcv_nxt != tp->copied_seq)
		return 0;
	if (!psock)
		return 1;
	head = &psock->ingress_msg;
	return !bpf_probe_read_kernel(&first, sizeof(first), &head->next) && first == head;
}

static __always_inline __u32 unfit_of(struct tcp_sock *tp)
{
	struct sock *sk = sock_of(tp);
	struct file *file = sk->sk_socket->file; /* reads through NULL give 0 */
	unsigned long flags = sk->__sk_common.skc_flags;
	__u32 unfit = 0;

	if (!file)
		unfit |= SL_UNFIT(ORPHAN);
	else if (!(file->f_flags & O_NONBLOCK))
		unfit |= SL_UNFIT(BLOCKING);
	if (flags & 1UL << bpf_core_enum_value(enum sock_flags, SOCK_ZEROCOPY))
		unfit |= SL_UNFIT(ZEROCOPY);
	if (flags & 1UL << bpf_core_enum_value(enum sock_flags, SOCK_RCVTSTAMP) || sk->sk_tsflags)
		unfit |= SL_UNFIT(TIMESTAMPS);
	if (sk->sk_rcvlowat > 1)
		unfit |= SL_UNFIT(LOW_WATER);
	if (tp->inet_conn.icsk_ulp_ops)
		unfit |= SL_UNFIT(ULP);
	if (tp->urg_data)
		unfit |= SL_UNFIT(URGENT);
	if (sk->sk_filter)
		unfit |= SL_UNFIT(FILTER);
	if (bpf_core_field_exists(sk->sk_peek_off) && sk->sk_peek_off >= 0)
		unfit |= SL_UNFIT(PEEK_OFF);
	if (bpf_core_field_exists(tp->recvmsg_inq) && BPF_CORE_READ_BITFIELD(tp, recvmsg_inq))
		unfit |= SL_UNFIT(INQUIRY);
	return unfit;
}

/* Memory for sockets is short: a redirect may fail with ENOMEM where TCP waits. */
static __always_inline int memory_is_short(struct tcp_sock *tp)
{
	unsigned long *pressure = NULL, is_short = 1;
	struct proto *prot = NULL;

	if (bpf_probe_read_kernel(&prot, sizeof(prot), &sock_of(tp)->__sk_common.skc_prot) ||
	    bpf_probe_read_kernel(&pressure, sizeof(pressure), &prot->memory_pressure) ||
	    bpf_probe_read_kernel(&is_short, sizeof(is_short), pressure))
		return 1;
	return is_short != 0;
}

/* ---- a message is being sent ---- */

/*
 * A redirect takes the receiver's lock, and waits for it even when the sender is non-blocking. An
 * app that page-faults or is throttled in recv(2) would hold up the agent's worker for as long.
 * Only a look, between which and the redirect the app may come; and at memory that may be somebody
 * else's by now, which then says something about nobody.
 */
static __always_inline int app_is_busy(__u32 slot)
{
	__u64 *app = bpf_map_lookup_elem(&sl_app, &slot);
	int owned = 1;

	for (int i = 0; app && owned && i < SPINS; i++)
		if (bpf_probe_read_kernel(&owned, sizeof(owned),
					  &((struct sock *)*app)->sk_lock.owned))
			return 0;
	return app && owned;
}

/* The agent's own. While the state is IN all of it goes to the app by redirect, nothing by TCP. */
static __always_inline int on_own(struct sk_msg_md *msg, struct tcp_sock *tp, struct sl_hop *hop,
				  __u32 slot)
{
	__u64 cookie;

	if (!hop->own_known) {
		struct sl_tcp t = read_tcp(tp, hop->is_active);

		hop->own_sent_at = sl_tcp_sent_at(&t);
		hop->own_rcvd_at = sl_tcp_rcvd_at(&t);
		STORE(hop->own_known, 1);
	}
	if (LOAD(hop->state) != SL_HOP_IN)
		return SK_PASS;
	if (app_is_busy(slot)) {
		hop->own_waits++;
		/* Not SK_DROP, which sticks: the kernel does not ask again for any later send. To
		 * where nothing can be sent, the send fails with EPIPE. */
		cookie = sl_sink;
		return bpf_msg_redirect_hash(msg, &sl_sock, &cookie, 0);
	}
	cookie = hop->app_cookie;
	/* When the app's socket was closed: what TCP makes of that is right. */
	if (bpf_msg_redirect_hash(msg, &sl_sock, &cookie, BPF_F_INGRESS) != SK_PASS)
		return SK_PASS;
	if (LOAD(hop->app_seen) == hop->done)
		hop->own_msgs = 0;
	hop->own_msgs++;
	hop->own_redirected += msg->size;
	return SK_PASS;
}

/* Is the app's socket in the map, and own not about to be closed? */
static __always_inline int carries(enum sl_hop_state state)
{
	return state == SL_HOP_IN || state == SL_HOP_ASK_OUT || state == SL_HOP_LOOKING;
}

static __always_inline int on_app(struct sk_msg_md *msg, struct tcp_sock *tp, struct sl_hop *hop)
{
	struct sl_tcp t = read_tcp(tp, !hop->is_active);
	__u32 size = msg->size, unfit = unfit_of(tp);
	__u8 state = sock_of(tp)->__sk_common.skc_state;
	__u64 done = LOAD(hop->done), cookie;
	struct sl_credit credit;

	/* A full barrier: what the queues show is from after done was read. */
	credit.redirected = __sync_fetch_and_add(&hop->app_redirected, 0);
	if (has_read_all(tp))
		STORE(hop->app_seen, done);
	if (unfit & ~hop->app_unfit)
		__sync_fetch_and_or(&hop->app_unfit, unfit);
	credit.written = sl_tcp_written(&t);
	credit.tcp_at = hop->app_tcp_at;
	credit.taken = LOAD(hop->taken);
	credit.budget = hop->budget;
	if (credit.written + credit.redirected == credit.taken)
		hop->app_msgs = 0;
	credit.msgs = hop->app_msgs;
	STORE(hop->app_sent, credit.written + credit.redirected + size);
	/* After shutdown(2) TCP has the right errno. After a disconnect, by connect(2) to
	 * AF_UNSPEC, the socket is in the map still, and may be connected to somebody else. */
	if ((state != TCP_ESTABLISHED && state != TCP_CLOSE_WAIT) ||
	    sl_tcp_sent_at(&t) != hop->own_rcvd_at)
		return SK_PASS;
	if (!sl_may_redirect(&credit, size)) {
		hop->app_over++;
		return SK_PASS;
	}
	if (memory_is_short(tp))
		return SK_PASS;
	__sync_fetch_and_add(&hop->app_redirected, size);
	/* Counted first, then looked: the agent says SHUT first, then looks at the count. */
	if (!carries(LOAD(hop->state)))
		goto pass;
	cookie = hop->own_cookie;
	if (bpf_msg_redirect_hash(msg, &sl_sock, &cookie, BPF_F_INGRESS) == SK_PASS) {
		hop->app_tcp_at = credit.written;
		hop->app_msgs++;
		return SK_PASS;
	}
	hop->app_gone++;
pass:
	__sync_fetch_and_add(&hop->app_redirected, -(__u64)size);
	return SK_PASS;
}

/* bpf_msg_redirect_hash() has noted where to: this answer sends it there. Without it: TCP. */
SEC("sk_msg")
int sl_msg(struct sk_msg_md *msg)
{
	struct bpf_sock *sk = msg->sk;
	struct sl_peer *peer;
	struct tcp_sock *tp;
	struct sl_hop *hop;
	__u32 slot;

	peer = sk ? bpf_sk_storage_get(&sl_peer, sk, 0, 0) : NULL;
	if (!peer)
		return SK_PASS;
	slot = peer->slot;
	hop = bpf_map_lookup_elem(&sl_hop, &slot);
	if (!hop || LOAD(hop->gen) != peer->gen)
		return SK_PASS;
	tp = bpf_skc_to_tcp_sock(sk);
	if (!tp)
		return SK_PASS;
	return peer->is_own ? on_own(msg, tp, hop, slot) : on_app(msg, tp, hop);
}

/* ---- an app's socket is being looked at ---- */

static __always_inline struct sl_ip ip6_of(const struct in6_addr *a)
{
	return (struct sl_ip){{a->in6_u.u6_addr32[0], a->in6_u.u6_addr32[1], a->in6_u.u6_addr32[2],
			       a->in6_u.u6_addr32[3]}};
}

static __always_inline struct sl_want *find_wanted(struct sock_common *skc)
{
	struct sl_want_key key = {.netns = skc->skc_net.net->net_cookie};

	if (skc->skc_family == AF_INET) {
		sl_ip_store(key.local, sl_ip_from4(skc->skc_rcv_saddr));
		sl_ip_store(key.remote, sl_ip_from4(skc->skc_daddr));
	} else {
		sl_ip_store(key.local, ip6_of(&skc->skc_v6_rcv_saddr));
		sl_ip_store(key.remote, ip6_of(&skc->skc_v6_daddr));
	}
	key.local_port = skc->skc_num;
	key.remote_port = bpf_ntohs(skc->skc_dport);
	return bpf_map_lookup_elem(&sl_want, &key);
}

/* Is the program, or the server, one that was seen to use splice(2)? */
static __always_inline int is_known_reader(struct tcp_sock *tp, const struct sl_hop *hop)
{
	struct sock_common *skc = &sock_of(tp)->__sk_common;
	struct sl_unfit_key key = {.kind = SL_UNFIT_SERVER};
	struct sl_orig *o;

	if (hop->is_active) {
		key.id = skc->skc_net.net->net_cookie;
		key.dev = skc->skc_num;
	} else {
		o = bpf_sk_storage_get(&sl_orig, tp, 0, 0);
		if (!o)
			return 0;
		key.kind = SL_UNFIT_EXE;
		key.id = o->exe_inode;
		key.dev = o->exe_dev;
	}
	return bpf_map_lookup_elem(&sl_unfit, &key) != NULL;
}

static __always_inline enum sl_hop_verdict refusal(long error)
{
	switch (error) {
	case -E2BIG:
		return SL_HOP_FULL_VERDICT;
	case -ENOMEM:
		return SL_HOP_MEMORY_VERDICT;
	case -EBUSY:
	case -EEXIST:
		return SL_HOP_FOREIGN_VERDICT;
	default:
		return SL_HOP_STATE_VERDICT;
	}
}

static __always_inline enum sl_hop_verdict insert(struct tcp_sock *tp, struct sl_hop *hop,
						  const struct sl_want *want,
						  const struct sl_tcp *t, __u64 taken, __u64 done)
{
	__u64 cookie = bpf_get_socket_cookie(tp), address = (__u64)sock_of(tp);
	struct sl_peer *peer = bpf_sk_storage_get(&sl_peer, tp, 0, BPF_SK_STORAGE_GET_F_CREATE);
	__u32 slot = want->slot;
	long r;

	if (!peer)
		return SL_HOP_MEMORY_VERDICT;
	*peer = (struct sl_peer){.slot = want->slot, .gen = want->gen};
	(void)bpf_map_update_elem(&sl_app, &slot, &address, BPF_ANY); /* an array: cannot fail */
	hop->app_cookie = cookie;
	hop->app_redirected = 0;
	hop->app_msgs = 0;
	hop->app_tcp_at = sl_tcp_written(t);
	STORE(hop->app_sent, taken);
	STORE(hop->app_seen, done);
	r = bpf_map_update_elem(&sl_sock, &cookie, tp, BPF_NOEXIST);
	if (!r)
		return SL_HOP_TAKEN_IN_VERDICT;
	(void)bpf_sk_storage_delete(&sl_peer, tp); /* it is there */
	return refusal(r);
}

static __always_inline enum sl_hop_verdict take_in(struct tcp_sock *tp, struct sl_hop *hop,
						   const struct sl_want *want)
{
	struct sl_tcp t = read_tcp(tp, !hop->is_active);
	__u64 taken = LOAD(hop->taken), done = LOAD(hop->done);
	__u32 unfit;

	if (sock_of(tp)->__sk_common.skc_state != TCP_ESTABLISHED)
		return SL_HOP_STATE_VERDICT;
	unfit = unfit_of(tp);
	if (unfit) {
		__sync_fetch_and_or(&hop->app_unfit, unfit);
		return SL_HOP_UNFIT_VERDICT;
	}
	if (user_data(sock_of(tp)))
		return SL_HOP_FOREIGN_VERDICT;
	if (is_known_reader(tp, hop))
		return SL_HOP_PROGRAM_VERDICT;
	if (!LOAD(hop->own_known))
		return SL_HOP_UNNUMBERED_VERDICT;
	if (sl_tcp_sent_at(&t) != hop->own_rcvd_at || sl_tcp_rcvd_at(&t) != hop->own_sent_at)
		return SL_HOP_STRANGER_VERDICT;
	if (!sl_app_quiet(&t, taken, done))
		return SL_HOP_NOT_EMPTY_VERDICT;
	return insert(tp, hop, want, &t, taken, done);
}

static __always_inline enum sl_hop_verdict take_out(struct tcp_sock *tp, struct sl_hop *hop)
{
	__u64 cookie = hop->app_cookie;

	if (!has_read_all(tp))
		return SL_HOP_NOT_EMPTY_VERDICT;
	/* Only fails when it is not there any more. */
	(void)bpf_map_delete_elem(&sl_sock, &cookie);
	return SL_HOP_TAKEN_OUT_VERDICT;
}

static __always_inline enum sl_hop_state state_after(enum sl_hop_verdict verdict,
						     enum sl_hop_state before)
{
	switch (verdict) {
	case SL_HOP_TAKEN_IN_VERDICT:
		return SL_HOP_IN;
	case SL_HOP_TAKEN_OUT_VERDICT:
		return SL_HOP_OUT;
	case SL_HOP_NOT_EMPTY_VERDICT:
	case SL_HOP_UNNUMBERED_VERDICT:
		return before;
	default:
		return SL_HOP_REFUSED;
	}
}

/* For each socket of a network namespace, locked. What was found goes to whoever reads. */
SEC("iter/tcp")
int sl_look(struct bpf_iter__tcp *ctx)
{
	struct sock_common *skc = ctx->sk_common;
	enum sl_hop_verdict verdict;
	enum sl_hop_state before;
	struct sl_want *want;
	struct tcp_sock *tp;
	struct sl_hop *hop;
	__u32 slot;

	if (!skc || (skc->skc_family != AF_INET && skc->skc_family != AF_INET6))
		return 0;
	want = find_wanted(skc);
	if (!want)
		return 0;
	slot = want->slot;
	hop = bpf_map_lookup_elem(&sl_hop, &slot);
	tp = bpf_skc_to_tcp_sock(skc);
	if (!hop || !tp || LOAD(hop->gen) != want->gen)
		return 0;
	before = LOAD(hop->state);
	if (before != SL_HOP_ASK && before != SL_HOP_ASK_OUT)
		return 0;
	if (__sync_val_compare_and_swap(&hop->state, before, SL_HOP_LOOKING) != before)
		return 0;
	verdict = before == SL_HOP_ASK ? take_in(tp, hop, want) : take_out(tp, hop);
	STORE(hop->verdict, verdict);
	/* In vain when the agent has said SHUT meanwhile: that stays. */
	(void)__sync_val_compare_and_swap(&hop->state, SL_HOP_LOOKING,
					  state_after(verdict, before));
	(void)bpf_seq_write(ctx->meta->seq, &verdict, sizeof(verdict)); /* statistics only */
	return 0;
}

/* ---- splice(2) reads a socket ---- */

static __always_inline void mark_unfit(const struct sl_unfit_key *key)
{
	__u64 one = 1, *seen = bpf_map_lookup_elem(&sl_unfit, key);

	if (seen)
		__sync_fetch_and_add(seen, 1);
	else
		(void)bpf_map_update_elem(&sl_unfit, key, &one, BPF_ANY); /* next time */
}

static __always_inline void on_splice(struct sock *sk)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct inode *exe = BPF_CORE_READ(task, mm, exe_file, f_inode);
	struct sl_unfit_key key = {.kind = SL_UNFIT_EXE};
	struct sl_splice_event *ev;
	__u16 port = BPF_CORE_READ(sk, __sk_common.skc_num);

	key.id = BPF_CORE_READ(exe, i_ino);
	key.dev = BPF_CORE_READ(exe, i_sb, s_dev);
	mark_unfit(&key);
	if (port < FIRST_CLIENT_PORT) {
		struct sl_unfit_key server = {.kind = SL_UNFIT_SERVER, .dev = port};

		server.id = BPF_CORE_READ(sk, __sk_common.skc_net.net, net_cookie);
		mark_unfit(&server);
	}
	if (!user_data(sk)) /* in no map */
		return;
	ev = bpf_ringbuf_reserve(&sl_splice_ev, sizeof(*ev), 0);
	if (!ev) /* it will try again */
		return;
	ev->cookie = BPF_CORE_READ(sk, __sk_common.skc_cookie.counter);
	ev->inode = key.id;
	ev->dev = key.dev;
	ev->pid = bpf_get_current_pid_tgid() >> 32;
	(void)bpf_get_current_comm(ev->comm, sizeof(ev->comm)); /* zeroes on failure */
	bpf_ringbuf_submit(ev, 0);
}

SEC("fentry/tcp_splice_read")
int sl_spl_fentry(__u64 *ctx)
{
	struct socket *sock = (void *)ctx[0];

	on_splice(BPF_CORE_READ(sock, sk));
	return 0;
}

SEC("kprobe/tcp_splice_read")
int sl_spl_kprobe(struct pt_regs *ctx)
{
	struct pt_regs___arm64 *arm64 = (void *)ctx;
	struct socket *sock;

	sock = (void *)(bpf_core_field_exists(ctx->di) ? BPF_CORE_READ(ctx, di)
						       : BPF_CORE_READ(arm64, regs[0]));
	on_splice(BPF_CORE_READ(sock, sk));
	return 0;
}

static __always_inline int is_splice(struct pt_regs *regs)
{
	struct pt_regs___arm64 *arm64 = (void *)regs;
	long nr;

	if (bpf_core_field_exists(regs->orig_ax)) {
		nr = BPF_CORE_READ(regs, orig_ax);
		return nr == 275 || nr == 40; /* splice, sendfile on x86-64 */
	}
	nr = BPF_CORE_READ(arm64, syscallno);
	return nr == 76 || nr == 71;
}

/* Where neither can be had: every read of a TCP socket comes by here, also splice(2)'s, which the
 * number of the system call gives away. */
SEC("tp_btf/tcp_rcv_space_adjust")
int sl_spl_trace(__u64 *ctx)
{
	if (is_splice((void *)bpf_task_pt_regs(bpf_get_current_task_btf())))
		on_splice((void *)ctx[0]);
	return 0;
}
