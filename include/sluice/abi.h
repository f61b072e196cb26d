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

#define SL_ABI_VERSION 2

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
 * Why a connect(2) to a routed Service went the way it went: X(enumerator, name, text for people).
 * Append only: the order is that of the counters in struct sl_stat.
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
	X(FLOW_STALE, flow_stale, "left-over flow removed")

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
	__u8 direct;	     /* 1: to an endpoint, by the failure policy */
	__u8 accepted;	     /* 1: this is the agent's accepted socket */
	__u8 bound_loopback; /* 1: the application bound it to loopback itself */
	__u64 cgroup_id;     /* of the task that called connect(2) */
	__u64 netns;	     /* cookie */
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

_Static_assert(sizeof(struct sl_stat) == SL_REASON_MAX * sizeof(__u64), "abi: sl_stat");
_Static_assert(sizeof(enum sl_policy) == 4 && sizeof(enum sl_provider) == 4, "abi: enums");
_Static_assert(sizeof(struct sl_conf) == 24, "abi: sl_conf");
_Static_assert(sizeof(struct sl_svc_key) == 20, "abi: sl_svc_key");
_Static_assert(sizeof(struct sl_svc_val) == 80, "abi: sl_svc_val");
_Static_assert(sizeof(struct sl_ep_key) == 8, "abi: sl_ep_key");
_Static_assert(sizeof(struct sl_ep_val) == 20, "abi: sl_ep_val");
_Static_assert(sizeof(struct sl_netns_val) == 40, "abi: sl_netns_val");
_Static_assert(sizeof(struct sl_addr_key) == 24, "abi: sl_addr_key");
_Static_assert(sizeof(struct sl_orig) == 56, "abi: sl_orig");
_Static_assert(sizeof(struct sl_flow_key) == 48, "abi: sl_flow_key");
_Static_assert(sizeof(struct sl_event) == 48, "abi: sl_event");
