/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause */
#pragma once
/*
 * What the BPF programs and the agent say to each other: map names, keys, values, events, counters.
 * The only header that bpf/ and agent/ share. Made to be read by people too: bpftool prints the
 * maps by the names of these fields (docs/bpftool.md). Hence addresses are sixteen bytes, of which
 * an IPv4 one (::ffff:a.b.c.d) has its own as the last four; ports are in host order everywhere,
 * the hooks convert; enums print their names (four bytes for both compilers: asserted below).
 *
 * Fixed widths, explicit zeroed padding (hash keys are compared byte by byte). Pinned maps outlive
 * the agent: whoever changes anything here in a way that an older program would misread raises
 * SL_ABI_VERSION.
 */
#include <linux/types.h>

#ifndef SL_ABI_VERSION /* tests build an agent of another one */
#define SL_ABI_VERSION 5
#endif

#define SL_PIN_DIR "/sys/fs/bpf/sluice" /* default; maps by their name, links as link_<program> */

/* Defaults; the agent may choose others before it loads. */
#define SL_MAX_SERVICES	 16384
#define SL_MAX_ENDPOINTS 131072
#define SL_MAX_NETNS	 4096
#define SL_MAX_ADDRS	 32768
#define SL_MAX_FLOWS	 16384
#define SL_EVENTS_BYTES	 (64 * 1024)
#define SL_EVENT_GAP_NS	 1000000000ULL /* at most one event per network namespace in this time */

/* Network order; aligned, so that the programs copy it as words. */
#define SL_ADDR_BYTES(name) __u8 name[16] __attribute__((aligned(4)))

/*
 * Why a connect(2) to a routed Service, or a datagram, went the way it went: X(enumerator, name,
 * text for people). Append only: the order is that of the counters in struct sl_stat.
 */
#define SL_REASONS(X)                                                            \
	/* what became of it */                                                  \
	X(STEERED, steered, "taken to the agent")                                \
	X(OWN, own, "the agent's own socket, left alone")                        \
	X(OPEN, open, "left alone by the failure policy")                        \
	X(DIRECT, direct, "balanced by the kernel, by the failure policy")       \
	X(CLOSED, closed, "refused by the failure policy")                       \
	X(NO_ENDPOINT, no_endpoint, "refused: no ready endpoint to balance to")  \
	/* why the failure policy was asked */                                   \
	X(NO_NETNS, no_netns, "network namespace not prepared")                  \
	X(NO_FAMILY, no_family, "no listener of the address family")             \
	X(NO_LISTENER, no_listener, "the agent's listener is gone")              \
	X(FORGED, forged, "somebody else listens on the agent's port")           \
	X(STALE, stale, "the agent's heartbeat is too old")                      \
	X(MPTCP, mptcp, "Multipath TCP is not steered")                          \
	X(DEVICE, device, "sockets bound to a device are not steered")           \
	X(SOURCE, source, "bound to an address of somebody else")                \
	X(PORT_TAKEN, port_taken, "bound to a port in use towards the listener") \
	X(NO_MEMORY, no_memory, "no memory to remember the destination")         \
	/* bookkeeping */                                                        \
	X(EVENT_LOST, event_lost, "ring buffer full")                            \
	X(FLOW_LOST, flow_lost, "destination not handed over in the kernel")     \
	X(FLOW_STALE, flow_stale, "left-over flow removed")                      \
	/* what the kernel spreads by itself: each new flow, each refusal */     \
	X(SPLIT, split, "UDP flow sent to an endpoint of a UDPRoute's backend")  \
	X(SPLIT_NONE, split_none, "UDP refused: the backend has no endpoint")    \
	X(SPLIT_TCP, split_tcp, "sent to an endpoint of a TCPRoute's backend")   \
	X(SPLIT_TCP_NONE, split_tcp_none, "refused: a TCPRoute's backend has no endpoint")

#define SL_REASON_ENUMERATOR(upper, name, text) SL_REASON_##upper,
enum sl_reason { SL_REASONS(SL_REASON_ENUMERATOR) SL_REASON_MAX };
#undef SL_REASON_ENUMERATOR

/* Map sl_stat (per-CPU array of 1): one counter for each enum sl_reason, in its order. */
#define SL_REASON_COUNTER(upper, name, text) __u64 name;
struct sl_stat {
	SL_REASONS(SL_REASON_COUNTER)
};
#undef SL_REASON_COUNTER

enum sl_policy {
	SL_POLICY_DEFAULT, /* of a service: as sl_conf says */
	SL_POLICY_OPEN,
	SL_POLICY_CLOSED,
};

enum sl_provider {
	SL_PROVIDER_OTHER, /* somebody else (kube-proxy) serves the virtual address */
	SL_PROVIDER_SELF,  /* nobody does: the hook balances when the agent is away */
};

/* Map sl_conf (array of 1, memory-mapped by the agent). */
struct sl_conf {
	__u32 abi_version;	  /* SL_ABI_VERSION */
	enum sl_policy policy;	  /* open or closed: stands in for SL_POLICY_DEFAULT */
	__u64 heartbeat_ns;	  /* CLOCK_MONOTONIC when all workers last were seen running */
	__u64 heartbeat_limit_ns; /* older than this: stale */
};

/* Map sl_svc (hash): virtual address -> what to do. The agent writes, connect reads. */
struct sl_svc_key {
	SL_ADDR_BYTES(addr);
	__u16 port; /* host order */
	__u16 pad;
};

#define SL_SVC_NAME 64

struct sl_svc_val {
	__u32 id; /* into sl_ep; never 0 */
	__u32 n_endpoints;
	enum sl_policy policy;
	enum sl_provider provider;
	char name[SL_SVC_NAME]; /* "namespace/name:port" for people; cut short, always ends with NUL
				 */
};

/* Map sl_ep (hash): ready endpoints of a service, index 0 .. n_endpoints - 1. */
struct sl_ep_key {
	__u32 id;
	__u32 index;
};

struct sl_ep_val {
	SL_ADDR_BYTES(addr);
	__u16 port; /* host order */
	__u16 pad;
};

/*
 * Map sl_split (hash): virtual address -> shares that the kernel itself deals out. Each version has
 * endpoints of its own, under an id of its own; those of the version before go when it is in place.
 */
struct sl_split_key {
	SL_ADDR_BYTES(addr);
	__u16 port;	/* host order */
	__u16 protocol; /* IPPROTO_UDP; IPPROTO_TCP, also of MPTCP: instead of the agent */
};

#define SL_SPLIT_SHARES 16

struct sl_split_share {
	__u32 upto;	   /* weights up to this one, and its own */
	__u32 first;	   /* its first endpoint's index */
	__u32 n_endpoints; /* 0: what falls to it is refused */
	__u32 pad;
	__u64 flows; /* that fell to it in this version, refused ones too; the hooks add */
};

struct sl_split_val {
	__u32 id;	/* into sl_split_ep and sl_member; never 0 */
	__u32 n_shares; /* 0: all is refused */
	struct sl_split_share shares[SL_SPLIT_SHARES];
	char name[SL_SVC_NAME]; /* as in struct sl_svc_val */
};

/* Map sl_split_ep (hash, struct sl_ep_key -> struct sl_ep_val): endpoints by index. */

/* Map sl_member (hash): those of UDP by address, whether a flow may stay. Value __u32, 1. */
struct sl_member_key {
	__u32 id;
	SL_ADDR_BYTES(addr);
	__u16 port; /* host order */
	__u16 pad;
};

/* Map sl_udp (sk_storage): where an unconnected socket's datagrams go. Connected ones have an
 * sl_orig. The hooks run with the socket locked. */
#define SL_UDP_FLOWS 8

struct sl_udp_flow {
	SL_ADDR_BYTES(addr); /* the Service's */
	SL_ADDR_BYTES(via);  /* the endpoint's */
	__u16 port;	     /* host order, as via_port */
	__u16 via_port;
	__u32 used; /* what clock was when it was last sent to; 0: free */
};

struct sl_udp {
	__u32 clock; /* sends to Services */
	__u32 slot;  /* of the call at hand */
	struct sl_udp_flow flows[SL_UDP_FLOWS];
};

/* Map sl_netns (hash, key __u64 netns cookie): where the agent listens in a network namespace. */
struct sl_netns_val {
	__u16 port4; /* host order; on 127.0.0.1 and the n_addr4 - 1 addresses behind it; 0: none */
	__u16 port6; /* host order; on ::1; 0: none */
	__u16 n_addr4; /* 1 .. 250 */
	__u16 pad;
	SL_ADDR_BYTES(source4); /* shown by getsockname in place of loopback; all zero: none */
	SL_ADDR_BYTES(source6);
};

/* Map sl_addr (hash): the addresses of a network namespace itself. Value __u32, 1. */
struct sl_addr_key {
	__u64 netns; /* cookie */
	SL_ADDR_BYTES(addr);
};

/* Map sl_orig (sk_storage): on a client's socket that was redirected, and on the agent's accepted
 * socket for it. */
struct sl_orig {
	SL_ADDR_BYTES(addr); /* that the application asked for */
	SL_ADDR_BYTES(via);  /* that it was sent to */
	__u16 port;	     /* host order, as via_port */
	__u16 via_port;
	__u8 steered;	     /* 1: to the agent */
	__u8 direct;	     /* 1: to an endpoint, by the failure policy or a split */
	__u8 accepted;	     /* 1: this is the agent's accepted socket */
	__u8 bound_loopback; /* 1: the application bound it to loopback itself */
	__u64 cgroup_id;     /* of the task that called connect(2) */
	__u64 netns;	     /* cookie */
	__u64 exe_inode;     /* the program of that task; 0: unknown */
	__u32 exe_dev;
	__u32 pad;
};

/* Map sl_own (sk_storage, inherited by accepted sockets): the agent's own sockets. Value __u32. */
#define SL_OWN_LISTENER 1
#define SL_OWN_UPSTREAM 2

/* Map sl_flow (LRU hash, value struct sl_orig): written when a steered socket sends its SYN, moved
 * to the accepted socket when that is established, seen from the client. */
struct sl_flow_key {
	__u64 netns; /* cookie */
	SL_ADDR_BYTES(client);
	SL_ADDR_BYTES(server);
	__u16 client_port; /* host order */
	__u16 server_port; /* host order */
	__u32 pad;
};

/* Map sl_events (ring buffer): a network namespace without listener called a routed Service. */
struct sl_event {
	__u64 netns;
	__u64 cgroup_id;
	__u32 pid; /* process and thread, as the initial pid namespace counts them */
	__u32 tid;
	SL_ADDR_BYTES(addr); /* the Service called */
	__u16 port;	     /* host order */
	__u16 reason;	     /* SL_REASON_NO_NETNS, _NO_FAMILY, _NO_LISTENER or _FORGED */
	__u32 pad;
};

/* ---- Splicing: docs/architecture/splice.md ---- */

#define SL_MAX_HOPS	   8192
#define SL_MAX_UNFIT	   1024
#define SL_SPLICE_EV_BYTES (16 * 1024)
/* Each message in a queue costs the kernel 1 KiB that nobody is charged for, however short it is.
 */
#define SL_HOP_MSGS 128

/*
 * The question about a hop and its answer, moved by compare-and-exchange on both sides.
 * app: the application's socket, own: the agent's at the other end.
 */
enum sl_hop_state {
	SL_HOP_IDLE,	/* agent: plain TCP, nothing is asked */
	SL_HOP_ASK,	/* agent: take the app in when both directions are empty; it sends nothing
			 * before     it has moved this back to IDLE */
	SL_HOP_LOOKING, /* program: holds the app's socket locked, an answer follows at once */
	SL_HOP_IN,	/* program: the app is in sl_sock, own sends are redirected */
	SL_HOP_REFUSED, /* program: sl_hop.verdict says why */
	SL_HOP_ASK_OUT, /* agent: take the app out when it has read everything; it sends nothing
			 * before the answer */
	SL_HOP_OUT,  /* program, or agent that has seen proof: the app is TCP's again, for good */
	SL_HOP_SHUT, /* agent: own will be closed; nothing is redirected to it from here on */
};

/* Why the app was refused: X(enumerator, name, text for people). Append only. */
#define SL_HOP_VERDICTS(X)                                                                     \
	X(NONE, none, "not looked at yet")                                                     \
	X(TAKEN_IN, taken_in, "spliced")                                                       \
	X(NOT_EMPTY, not_empty, "bytes were under way; asked again at the next pass")          \
	X(UNNUMBERED, unnumbered, "the agent has sent nothing since it asked; asked again")    \
	X(TAKEN_OUT, taken_out, "had read everything and was taken out")                       \
	X(UNFIT, unfit, "the socket does what a redirect cannot carry: see app_unfit")         \
	X(PROGRAM, program, "its program or server reads sockets with splice(2)")              \
	X(STRANGER, stranger, "sequence numbers differ: not the other end of this connection") \
	X(STATE, state, "the connection is being closed")                                      \
	X(FOREIGN, foreign, "another sockmap, or something else, owns the socket")             \
	X(FULL, full, "map sl_sock is full")                                                   \
	X(MEMORY, memory, "no memory for it")

#define SL_HOP_VERDICT_ENUMERATOR(upper, name, text) SL_HOP_##upper##_VERDICT,
enum sl_hop_verdict { SL_HOP_VERDICTS(SL_HOP_VERDICT_ENUMERATOR) SL_HOP_VERDICT_MAX };
#undef SL_HOP_VERDICT_ENUMERATOR

/* What an application's socket does that a redirect cannot carry, as bits of sl_hop.app_unfit.
 * Append only. */
#define SL_UNFITS(X)                                                                   \
	X(BLOCKING, blocking, "not O_NONBLOCK: a blocking recv may return EAGAIN")     \
	X(ZEROCOPY, zerocopy, "SO_ZEROCOPY: completions would not come")               \
	X(LOW_WATER, low_water, "SO_RCVLOWAT above one byte")                          \
	X(ULP, ulp, "an upper layer protocol (kernel TLS)")                            \
	X(URGENT, urgent, "urgent data")                                               \
	X(PEEK_OFF, peek_off, "SO_PEEK_OFF")                                           \
	X(TIMESTAMPS, timestamps, "timestamps are wanted of what is received or sent") \
	X(INQUIRY, inquiry, "TCP_INQ: each recvmsg is to tell what is left")           \
	X(FILTER, filter, "a socket filter would be passed by")                        \
	X(ORPHAN, orphan, "no file: nobody holds the socket")                          \
	X(SPLICE, splice, "splice(2) or sendfile(2) was seen reading from this very socket")

#define SL_UNFIT_ENUMERATOR(upper, name, text) SL_UNFIT_BIT_##upper,
enum sl_unfit_bit { SL_UNFITS(SL_UNFIT_ENUMERATOR) SL_UNFIT_MAX };
#undef SL_UNFIT_ENUMERATOR
#define SL_UNFIT(upper) (1U << SL_UNFIT_BIT_##upper)

/*
 * Map sl_hop (array, memory-mapped by the agent): one hop in each slot. All bytes are counted from
 * the connection's establishment. Two cache lines, by who writes while bytes
 * flow. A slot is given
 * out again 10 s after it was freed at the earliest, under another gen.
 */
struct sl_hop {
	/* Written by the app's program, under the app's lock. */
	__u64 app_sent;	      /* sent by the app, TCP and redirected, the send at hand included. Too
			       * large after a send that failed or was cut short, never too small but
			       * for a send that began before the app was taken in */
	__u64 app_seen;	      /* what done was when the app was last seen to have read everything */
	__u64 app_redirected; /* of app_sent, by redirect */
	__u64 app_tcp_at;     /* how much had gone by TCP at the last redirect */
	__u64 app_cookie;     /* set when it is taken in */
	__u32 app_unfit;      /* SL_UNFIT() bits, only ever added to */
	enum sl_hop_verdict verdict; /* of the last look, valid once state has left LOOKING */
	__u32 app_over;		     /* sends that went by TCP because the budget was used up */
	__u32 app_gone;		     /* redirects that found own gone: TCP */
	__u32 app_msgs;		     /* redirected since the agent had last taken everything */
	__u32 pad;

	/* Written by the agent, and by the program of the agent's own sends. */
	__u64 taken; /* bytes received from own: stored (release) after recv returned */
	__u64 done;  /* bytes sent by own: stored (release) after send returned */
	__u64 own_cookie;
	__u64 own_redirected; /* bytes of own sends, by redirect */
	__u32 gen;	      /* 0: the slot is free */
	enum sl_hop_state state;
	__u32 budget; /* the app may have so many bytes redirected that the agent has not taken */
	__u16 is_active;   /* 1: own called connect(2), 0: own was accepted */
	__u16 own_known;   /* 1: the two numbers below are set */
	__u32 own_sent_at; /* sequence numbers of the first byte that own sent, and received */
	__u32 own_rcvd_at;
	__u32 own_msgs;	 /* redirected since the app was last seen to have read everything */
	__u32 own_waits; /* sends that failed: the app held its socket's lock */
};

/* Map sl_peer (sk_storage): on both ends of a hop, which it is. Value below. */
struct sl_peer {
	__u32 slot;
	__u32 gen; /* as in the slot, or else this means nothing any more */
	__u32 is_own;
	__u32 pad;
};

/* Map sl_want (hash): apps that the agent asks for, as the app's end sees the connection. */
struct sl_want_key {
	__u64 netns; /* cookie, of the app */
	SL_ADDR_BYTES(local);
	SL_ADDR_BYTES(remote);
	__u16 local_port;  /* host order */
	__u16 remote_port; /* host order */
	__u32 pad;
};

struct sl_want {
	__u32 slot;
	__u32 gen;
};

/* Map sl_unfit (LRU hash): who was seen to read sockets with splice(2). Value __u64, times seen. */
enum sl_unfit_kind {
	SL_UNFIT_EXE = 1, /* id: inode, dev: device of the executable */
	SL_UNFIT_SERVER,  /* id: network namespace's cookie, dev: local port */
};

struct sl_unfit_key {
	__u64 id;
	__u32 dev;
	enum sl_unfit_kind kind;
};

/* Map sl_splice_ev (ring buffer): splice(2) on a socket that may be spliced. */
struct sl_splice_event {
	__u64 cookie; /* of the socket */
	__u64 inode;
	__u32 dev;
	__u32 pid;
	char comm[16];
};

_Static_assert(sizeof(struct sl_stat) == SL_REASON_MAX * sizeof(__u64), "abi: sl_stat");
_Static_assert(sizeof(enum sl_policy) == 4 && sizeof(enum sl_provider) == 4, "abi: enums");
_Static_assert(sizeof(struct sl_conf) == 24, "abi: sl_conf");
_Static_assert(sizeof(struct sl_svc_key) == 20, "abi: sl_svc_key");
_Static_assert(sizeof(struct sl_svc_val) == 80, "abi: sl_svc_val");
_Static_assert(sizeof(struct sl_ep_key) == 8, "abi: sl_ep_key");
_Static_assert(sizeof(struct sl_ep_val) == 20, "abi: sl_ep_val");
_Static_assert(sizeof(struct sl_split_key) == 20, "abi: sl_split_key");
_Static_assert(sizeof(struct sl_split_val) == 456, "abi: sl_split_val");
_Static_assert(sizeof(struct sl_member_key) == 24, "abi: sl_member_key");
_Static_assert(sizeof(struct sl_udp) == 328, "abi: sl_udp");
_Static_assert(sizeof(struct sl_netns_val) == 40, "abi: sl_netns_val");
_Static_assert(sizeof(struct sl_addr_key) == 24, "abi: sl_addr_key");
_Static_assert(sizeof(struct sl_orig) == 72, "abi: sl_orig");
_Static_assert(sizeof(struct sl_flow_key) == 48, "abi: sl_flow_key");
_Static_assert(sizeof(struct sl_event) == 48, "abi: sl_event");
_Static_assert(sizeof(struct sl_hop) == 128, "abi: sl_hop");
_Static_assert(__builtin_offsetof(struct sl_hop, taken) == 64, "abi: sl_hop, two cache lines");
_Static_assert(sizeof(struct sl_want_key) == 48, "abi: sl_want_key");
_Static_assert(sizeof(struct sl_unfit_key) == 16, "abi: sl_unfit_key");
_Static_assert(sizeof(struct sl_splice_event) == 40, "abi: sl_splice_event");
