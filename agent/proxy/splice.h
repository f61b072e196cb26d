/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * One hop that the kernel may carry: the agent's own socket and the application's at its other end,
 * both on this node. A connection begins on TCP. Once it has shown itself for some exchanges it is
 * a candidate: the kernel is told of it, and may take it over (redirect what one end sends into the
 * other's queue) at any moment at which everything that was sent in both directions has been read.
 * It leaves again, for good, before anything that the redirect cannot carry well.
 *
 *            open                    passes in vain
 *   (plain) ──────► CANDIDATE ───────────────────────► (plain for life)
 *                     │   ▲                                ▲
 *        nothing is   │   │ we are about to send:          │ the kernel says why not
 *        queued: ask  ▼   │ withdraw                       │
 *                     ASKED ───────────────────────────────┤
 *                       │ the kernel, when both            │ what was redirected to us
 *                       ▼ directions are empty             │ has been read
 *                      IN ──────────────► LEAVING          │
 *                       │ budget, length,   │ a pass finds │
 *                       │ tunnel, misfit,   │ that the app │
 *                       │ and the app has   │ has read all │
 *                       ▼ read all          ▼              │
 *                      OUT ◄────────────────┘──────────────┘
 *
 * In each state the hop may be closed. Nothing is sent in LEAVING (and while the kernel looks in
 * ASKED); in all others sending is never held back. ASKED and IN differ for the kernel alone until
 * something is to be sent. OUT is TCP's for life, with both ends known to the kernel as long as it
 * must be.
 *
 * Why no byte is lost or overtaken: docs/architecture/splice.md. What this file keeps to:
 *  - nothing is sent in ASKED without having withdrawn the question by compare-and-exchange, so
 *    that the kernel finds the application's socket as we left it;
 *  - done is stored after send(2) returned, so that "the app had read everything up to done" never
 *    says more than is true; taken after recv(2) returned, so that the kernel believes that too few
 *    bytes arrived rather than too many;
 *  - while the app is in, it is sent to by redirect alone: before TCP carries a byte to it, it is
 *    taken out, and only when its queue is known to be empty.
 *
 * Thread: the worker's.
 */
#include "base/list.h"
#include "loop/loop.h"
#include "obs/splice_why.h"
#include "proxy/proxy.h"

struct sl_sock;

enum sl_splice_state {
	SL_SPLICE_CANDIDATE,
	SL_SPLICE_ASKED,
	SL_SPLICE_IN,
	SL_SPLICE_LEAVING,
	SL_SPLICE_OUT,
};

struct sl_splice {
	struct sl_list node; /* in one of the proxy's lists */
	struct sl_proxy *proxy;
	struct sl_sock *sock; /* of which it is the splice */
	enum sl_splice_state state;
	enum sl_splice_hop hop;
	enum sl_splice_why leave; /* NONE: may stay in */
	struct sl_splice_lease lease;
	uint64_t app_netns;
	uint64_t in_since_ns;	   /* noticed */
	uint64_t sent_before;	   /* when it was opened: the kernel wants to see one more */
	uint64_t lease_done;	   /* own's n_sent as the kernel knows it */
	uint64_t n_messages;	   /* sent since the app was last known to have read everything */
	uint64_t counted;	   /* of what the app has not read, in the proxy's sum */
	struct sl_timer timer;	   /* LEAVING: the next look; IN: the next try to send */
	uint32_t n_waits;	   /* of lease.waits that were seen */
	uint32_t look_ms, busy_ms; /* the next wait of the timer, by state */
	uint8_t n_passes;	   /* that found it asking, in vain */
	bool is_wanted;		   /* counted among those that the host makes passes for */
};

/*
 * Make a hop a candidate: own is its socket, idle or not. Does nothing when it cannot be one; then,
 * and whenever it is given up, sock->splice_why says why. app_netns: cookie of the network
 * namespace of the application's socket.
 */
void sl_splice_open(struct sl_proxy *p, struct sl_sock *own, enum sl_splice_hop hop,
		    uint64_t app_netns);
/* It is none, and why. */
void sl_splice_never(struct sl_proxy *p, struct sl_sock *own, enum sl_splice_why why);
/* Before the descriptor is closed. No-op without a splice. */
void sl_splice_close(struct sl_sock *own);

/* A message with that many bytes of body follows. One that does not fit goes by TCP: sending waits
 * until it may. No-op without a splice. */
void sl_splice_announce(struct sl_sock *own, uint64_t n_body);
/* From the next byte on TCP shall carry it. A connection that is no candidate yet never becomes
 * one. */
void sl_splice_leave(struct sl_sock *own, enum sl_splice_why why);

/* Another process shall go on with it, by TCP. Returns true when nothing is left of the splice;
 * else the watch is called when it is worth asking again. */
bool sl_splice_part(struct sl_sock *own);

/* ---- for sock.c, with a splice only ---- */

/* How many of n bytes may be sent now; 0: wait, the watch is called when it goes on. May end the
 * splice (own->splice is NULL then, and all may be sent). */
size_t sl_splice_clear(struct sl_sock *own, size_t n);
/* n_sent, n_received of own went up. */
void sl_splice_sent(struct sl_sock *own);
void sl_splice_received(struct sl_sock *own);
/* send(2) failed with that errno. Returns true when it is only the redirect that cannot be now: the
 * watch is called when it is time to try again. */
bool sl_splice_is_busy(struct sl_sock *own, int err);
/* Nothing is queued any more: the kernel may look. */
void sl_splice_rest(struct sl_sock *own);
/* Two queues hold what came: a read that is short does not prove both empty. */
bool sl_splice_may_hold_more(const struct sl_sock *own);

/* ---- for people ---- */

/* The kernel carries it, or may at any moment. */
static inline bool sl_splice_may_be_in(const struct sl_splice *s)
{
	return s && (s->state == SL_SPLICE_ASKED || s->state == SL_SPLICE_IN);
}
/* "plain", "candidate", "spliced", "leaving", "left"; static. */
const char *sl_splice_state_name(const struct sl_sock *own);

/* The namespace has these addresses now; source is NULL: it went. A spliced connection does not
 * notice when the endpoint's address, and with it everybody's way to it, goes: it is reset. */
void sl_splice_review_endpoints(struct sl_proxy *p, uint64_t app_netns,
				const struct sl_source *source);

/* ---- splice_choice.c: who may be a candidate ---- */

struct sl_conn;
struct sl_stream;
struct sl_upconn;

/* After an exchange, when the connection goes on. Cheap once it was decided. */
void sl_splice_consider_client(struct sl_conn *c);
/* The configuration may have changed for it. */
void sl_splice_review_client(struct sl_conn *c);
void sl_splice_consider_endpoint(struct sl_stream *s, struct sl_upconn *u);
