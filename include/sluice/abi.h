/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause */
#pragma once
/*
 * What the BPF programs and the agent say to each other: map names, keys, values, events, counters.
 * The only header that bpf/ and agent/ share. Fixed widths, explicit zeroed padding (hash keys are
 * compared byte by byte), addresses always 16 bytes in network order (as words, so that they are
 * aligned) with IPv4 as ::ffff:a.b.c.d, ports in network order. Pinned maps outlive the agent:
 * whoever changes anything here in a way that an older program would misread raises SL_ABI_VERSION.
 */
#include <linux/types.h>

#define SL_ABI_VERSION 1

#define SL_PIN_DIR "/sys/fs/bpf/sluice" /* default; maps by their name, links as link_<program> */

/* Defaults; the agent may choose others before it loads. */
#define SL_MAX_SERVICES	 16384
#define SL_MAX_ENDPOINTS 131072
#define SL_MAX_NETNS	 4096
#define SL_MAX_ADDRS	 32768
#define SL_MAX_FLOWS	 16384
#define SL_EVENTS_BYTES	 (64 * 1024)
#define SL_EVENT_GAP_NS	 1000000000ULL /* at most one event per network namespace in this time */

/* Why a connect(2) to a routed Service went the way it went. Index into map sl_stat; append only.
 */
enum sl_reason {
	/* what became of it */
	SL_REASON_STEERED,     /* taken to the agent */
	SL_REASON_OWN,	       /* the agent's own socket: left alone */
	SL_REASON_OPEN,	       /* left alone by the failure policy */
	SL_REASON_DIRECT,      /* balanced by the hook, by the failure policy */
	SL_REASON_CLOSED,      /* refused by the failure policy */
	SL_REASON_NO_ENDPOINT, /* refused: to be balanced by the hook, but no endpoint is ready */
	/* why the failure policy was asked */
	SL_REASON_NO_NETNS,    /* the agent has not prepared this network namespace */
	SL_REASON_NO_FAMILY,   /* no listener of this address family there */
	SL_REASON_NO_LISTENER, /* prepared, but the listener is gone: no agent */
	SL_REASON_FORGED,      /* somebody else listens on the agent's port */
	SL_REASON_STALE,       /* the heartbeat is too old: the agent hangs */
	SL_REASON_MPTCP,       /* Multipath TCP */
	SL_REASON_DEVICE,      /* socket bound to a device */
	SL_REASON_SOURCE,      /* bound to an address that is not of the network namespace */
	SL_REASON_PORT_TAKEN,  /* bound to a port whose tuple towards the listener is in use */
	SL_REASON_NO_MEMORY,   /* no room to remember the original destination */
	/* bookkeeping */
	SL_REASON_EVENT_LOST, /* ring buffer full */
	SL_REASON_FLOW_LOST, /* original destination not handed to the accepted socket by sockops */
	SL_REASON_FLOW_STALE, /* left-over flow removed */
	SL_REASON_MAX,
};

/* Map sl_conf (array of 1, memory-mapped by the agent). */
struct sl_conf {
	__u32 abi_version;	  /* SL_ABI_VERSION */
	__u32 policy;		  /* SL_POLICY_OPEN or _CLOSED: stands in for SL_POLICY_DEFAULT */
	__u64 heartbeat_ns;	  /* CLOCK_MONOTONIC when all workers last were seen running */
	__u64 heartbeat_limit_ns; /* older than this: stale */
};

/* Map sl_svc (hash): virtual address -> what to do. The agent writes, connect reads. */
struct sl_svc_key {
	__be32 addr[4];
	__be16 port;
	__u16 pad;
};

#define SL_POLICY_DEFAULT 0
#define SL_POLICY_OPEN	  1
#define SL_POLICY_CLOSED  2

#define SL_PROVIDER_OTHER 0 /* somebody else (kube-proxy) serves the virtual address */
#define SL_PROVIDER_SELF  1 /* nobody does: the hook balances when the agent is away */

struct sl_svc_val {
	__u32 id; /* into sl_ep; never 0 */
	__u32 n_endpoints;
	__u8 policy;   /* SL_POLICY_* */
	__u8 provider; /* SL_PROVIDER_* */
	__u16 pad;
};

/* Map sl_ep (hash): ready endpoints of a service, index 0 .. n_endpoints - 1. */
struct sl_ep_key {
	__u32 id;
	__u32 index;
};

struct sl_ep_val {
	__be32 addr[4];
	__be16 port;
	__u16 pad;
};

/* Map sl_netns (hash, key __u64 netns cookie): where the agent listens in a network namespace. */
struct sl_netns_val {
	__be16 port4;  /* on 127.0.0.1 and the n_addr4 - 1 addresses behind it; 0: none */
	__be16 port6;  /* on ::1; 0: none */
	__u16 n_addr4; /* 1 .. 250 */
	__u16 pad;
	__be32 source4[4]; /* shown by getsockname in place of loopback; all zero: none */
	__be32 source6[4];
};

/* Map sl_addr (hash): the addresses of a network namespace itself. Value __u32, 1. */
struct sl_addr_key {
	__u64 netns;
	__be32 addr[4];
};

/* Map sl_orig (sk_storage): on a client's socket that was redirected, and on the agent's accepted
 * socket for it. */
#define SL_ORIG_STEERED	       1 /* to the agent */
#define SL_ORIG_DIRECT	       2 /* to an endpoint, by the failure policy */
#define SL_ORIG_ACCEPTED       4 /* this is the agent's accepted socket */
#define SL_ORIG_BOUND_LOOPBACK 8 /* the application bound it to loopback itself */

struct sl_orig {
	__be32 addr[4]; /* that the application asked for */
	__be32 via[4];	/* that it was sent to */
	__be16 port;
	__be16 via_port;
	__u32 flags;
	__u64 cgroup_id; /* of the task that called connect(2) */
	__u64 netns;	 /* cookie */
};

/* Map sl_own (sk_storage, inherited by accepted sockets): the agent's own sockets. Value __u32. */
#define SL_OWN_LISTENER 1
#define SL_OWN_UPSTREAM 2

/* Map sl_flow (LRU hash, value struct sl_orig): written when a steered socket sends its SYN, moved
 * to the accepted socket when that is established, seen from the client. */
struct sl_flow_key {
	__u64 netns;
	__be32 client[4];
	__be32 server[4];
	__be16 client_port;
	__be16 server_port;
	__u32 pad;
};

/* Map sl_events (ring buffer): a network namespace without listener called a routed Service. */
struct sl_event {
	__u64 netns;
	__u64 cgroup_id;
	__u32 pid; /* process and thread, as the initial pid namespace counts them */
	__u32 tid;
	__be32 addr[4]; /* the Service called */
	__be16 port;
	__u16 reason; /* SL_REASON_NO_NETNS, _NO_FAMILY, _NO_LISTENER or _FORGED */
	__u32 pad;
};

_Static_assert(sizeof(struct sl_conf) == 24, "abi: sl_conf");
_Static_assert(sizeof(struct sl_svc_key) == 20, "abi: sl_svc_key");
_Static_assert(sizeof(struct sl_svc_val) == 12, "abi: sl_svc_val");
_Static_assert(sizeof(struct sl_ep_key) == 8, "abi: sl_ep_key");
_Static_assert(sizeof(struct sl_ep_val) == 20, "abi: sl_ep_val");
_Static_assert(sizeof(struct sl_netns_val) == 40, "abi: sl_netns_val");
_Static_assert(sizeof(struct sl_addr_key) == 24, "abi: sl_addr_key");
_Static_assert(sizeof(struct sl_orig) == 56, "abi: sl_orig");
_Static_assert(sizeof(struct sl_flow_key) == 48, "abi: sl_flow_key");
_Static_assert(sizeof(struct sl_event) == 48, "abi: sl_event");
