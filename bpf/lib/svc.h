/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once
/* What to do with a connection to a routed Service. Pure functions over map values. */
#include "lib/addr.h"
#include "sluice/abi.h"

#define SL_TCP_TIME_WAIT 6
#define SL_TCP_LISTEN	 10

enum sl_verdict {
	SL_VERDICT_PASS,    /* leave it alone */
	SL_VERDICT_BALANCE, /* send it to an endpoint */
	SL_VERDICT_REFUSE,
};

/* The failure policy. Closed wins over everything. */
static __always_inline enum sl_verdict sl_verdict(const struct sl_svc_val *svc, __u32 fallback)
{
	__u32 policy = svc->policy == SL_POLICY_DEFAULT ? fallback : svc->policy;

	if (policy == SL_POLICY_CLOSED)
		return SL_VERDICT_REFUSE;
	return svc->provider == SL_PROVIDER_SELF ? SL_VERDICT_BALANCE : SL_VERDICT_PASS;
}

/* A heartbeat from the future is fresh: another CPU may have written it after now was read. */
static __always_inline int sl_heartbeat_fresh(const struct sl_conf *conf, __u64 now_ns)
{
	__u64 beat = *(volatile const __u64 *)&conf->heartbeat_ns;

	return beat != 0 && (now_ns <= beat || now_ns - beat <= conf->heartbeat_limit_ns);
}

/* The address of the listener to use: ::1, or one of 127.0.0.1 .. 127.0.0.n. */
static __always_inline struct sl_ip sl_listener_ip(int v4, __u16 n_addr4, __u32 random)
{
	if (!v4)
		return (struct sl_ip){{0, 0, 0, bpf_htonl(1)}};
	return sl_ip_from4(bpf_htonl(0x7f000001 + (n_addr4 > 1 ? random % n_addr4 : 0)));
}

/* The address that the kernel will give to the client's side of a connection to the listener. */
static __always_inline struct sl_ip sl_client_ip(struct sl_ip bound, int v4)
{
	if (!sl_ip_is_any(bound))
		return bound;
	return v4 ? sl_ip_from4(SL_LOOPBACK) : (struct sl_ip){{0, 0, 0, bpf_htonl(1)}};
}

/* May the index be tried in sl_ep? Uniform over the endpoints; 0 when there are none. */
static __always_inline __u32 sl_endpoint_index(__u32 n_endpoints, __u32 random)
{
	return n_endpoints ? random % n_endpoints : 0;
}

/* A socket with this state under the wanted tuple makes connect(2) fail with EADDRNOTAVAIL. A
 * listener on the port is no obstacle; TIME_WAIT is one for a second at least. */
static __always_inline int sl_tuple_taken(__u32 tcp_state)
{
	return tcp_state != SL_TCP_LISTEN;
}

/* Does the socket's real peer still answer to the record of where it was sent? After AF_UNSPEC or a
 * connect elsewhere it does not. */
static __always_inline int sl_orig_holds(const struct sl_orig *o, struct sl_ip peer, __u16 port)
{
	return !o->accepted && o->via_port == port && sl_ip_eq(sl_ip_load(o->via), peer);
}

/* Show the network namespace's own address for this local address of a socket? */
static __always_inline int sl_local_hidden(const struct sl_orig *o, struct sl_ip local,
					   __u16 peer_port)
{
	return o->steered && !o->accepted && !o->bound_loopback && o->via_port == peer_port &&
	       sl_ip_is_loopback(local);
}

static __always_inline int sl_event_due(__u64 last_ns, __u64 now_ns)
{
	return now_ns - last_ns >= SL_EVENT_GAP_NS;
}
