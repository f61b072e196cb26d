/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once
/* When bytes may go from socket to socket. Pure functions, compiled for BPF and for the host's unit
 * tests. */
#include "lib/addr.h"
#include "sluice/abi.h"

/* What of a TCP socket is looked at, all of it under the socket's lock. */
struct sl_tcp {
	__u32 rcv_nxt, copied_seq, snd_una, write_seq;
	__u64 bytes_acked, bytes_received;
	__u32 is_active; /* it called connect(2): its SYN was counted among the bytes acknowledged
			  */
};

/* Bytes that were given to TCP since the connection was established, acknowledged or not. */
static __always_inline __u64 sl_tcp_written(const struct sl_tcp *t)
{
	return t->bytes_acked - t->is_active + (__u32)(t->write_seq - t->snd_una);
}

/* Sequence number of the first byte of data in each direction; those of both ends are mirrored. Not
 * to be asked once a FIN was received. */
static __always_inline __u32 sl_tcp_sent_at(const struct sl_tcp *t)
{
	return t->snd_una - (__u32)(t->bytes_acked - t->is_active);
}

static __always_inline __u32 sl_tcp_rcvd_at(const struct sl_tcp *t)
{
	return t->rcv_nxt - (__u32)t->bytes_received;
}

/* Has the app read all that the agent sent, and the agent taken all that the app wrote? Counted at
 * both ends, not concluded from what the network holds: bytes may be anywhere in between. */
static __always_inline int sl_app_quiet(const struct sl_tcp *app, __u64 taken, __u64 done)
{
	return app->rcv_nxt == app->copied_seq && app->bytes_received == done &&
	       sl_tcp_written(app) == taken;
}

struct sl_credit {
	__u64 written;	  /* by TCP, before the send at hand */
	__u64 redirected; /* likewise */
	__u64 tcp_at;	  /* what written was at the last redirect */
	__u64 taken;	  /* by the agent, of both */
	__u32 budget;
	__u32 msgs; /* redirected, of which the agent has not taken all */
};

/*
 * May a send of the app be redirected? The agent reads redirected bytes before TCP's, so none may
 * be redirected while TCP bytes from before it are unread: either there were none since the last
 * redirect (then all before that one were read: induction), or nothing is unread at all. Redirected
 * bytes followed by TCP's need no care. Both sums only ever err towards more unread.
 */
static __always_inline int sl_may_redirect(const struct sl_credit *c, __u32 size)
{
	__u64 in_flight = c->written + c->redirected - c->taken;

	if (c->written != c->tcp_at && in_flight)
		return 0;
	if (in_flight && c->msgs >= SL_HOP_MSGS)
		return 0;
	/* A wrapped difference (more taken than sent: cannot be) is larger than any budget. */
	return in_flight <= c->budget && size <= c->budget - in_flight;
}
