/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The kernel half of splicing: hops, each an application's socket (the app) and the agent's at the
 * other end (own), both on this node, whose bytes may go from one socket's send straight into the
 * other's queue. Decides nothing about HTTP: whoever owns the connections asks, and keeps to
 * docs/architecture/splice.md.
 *
 *	lease	  own is put into the map, a slot of struct sl_hop is given out; state IDLE
 *	ASK	  written by the worker at any time when it has nothing to send; withdrawn likewise
 *	pass	  the main thread has the kernel look at all apps of a network namespace
 *	IN	  own sends are redirected from here on; the app's as far as the budget goes
 *	ASK_OUT	  answered by a pass; or take_out, with the proof that app_seen == done
 *	release	  the slot goes back; own's descriptor is closed by the caller afterwards
 *
 * The programs are an object of their own: off is not loaded at all.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "sluice/abi.h"

struct sl_datapath;
struct sl_hops;

/* How splice(2) readers are found, by what the kernel has. */
enum sl_detector {
	SL_DETECTOR_NONE,
	SL_DETECTOR_FENTRY,
	SL_DETECTOR_KPROBE,
	SL_DETECTOR_TRACEPOINT, /* tcp_rcv_space_adjust: asked on each recv of the node */
	SL_DETECTORS,
};
const char *sl_detector_name(enum sl_detector d); /* "fentry"; static */

/* Zero stands for the default everywhere. */
struct sl_hops_opts {
	uint32_t max_hops;  /* SL_MAX_HOPS */
	uint32_t n_workers; /* 1; slots are divided among them */
	uint32_t budget;    /* bytes from the app that the agent has not taken; 64 KiB */
	/* Without a detector: open all the same, and let the caller splice only programs that
	 * somebody vouches for. Else -ENOTSUP. */
	bool without_detector;
};

/* How it went, for logs, `check` and metrics. */
struct sl_hops_report {
	/* What is missing, static: a property of SL_SELFTESTS, "detector", "load" (the kernel
	 * refused programs or maps) or "setup" (the self-test could not be made); "" when all is
	 * well. */
	const char *missing;
	enum sl_detector detector;
	char message[200]; /* one line for people, also when all is well */
};

/* What the kernel must do, tried at start: X(name, text for people). */
#define SL_SELFTESTS(X)                                                        \
	X(take_in, "a live socket at rest is put into the map")                \
	X(refuse, "a blocking socket is refused")                              \
	X(redirect, "bytes go from socket to socket, both ways")               \
	X(fionread, "ioctl(FIONREAD) counts redirected bytes")                 \
	X(wake, "poll and edge-triggered epoll tell of redirected bytes")      \
	X(evidence, "an application's send tells that it had read everything") \
	X(order, "TCP bytes are read after the redirected ones before them")   \
	X(half_close, "the end of the stream is read after redirected bytes")  \
	X(detector, "splice(2) on a socket in the map is seen")                \
	X(take_out, "a socket that has read everything leaves the map, and goes on over TCP")

/*
 * Loads and attaches beside dp (which must stay open), replaces what an earlier agent left (its
 * apps keep the programs and maps that they are in until they close), makes the self-test (some ms
 * for each pass, on 127.0.0.1 of the network namespace at hand). Returns 0, -ENOTSUP when this
 * kernel cannot, or another -errno; then nothing of it is left in the kernel and *ret is untouched.
 * *report is always filled. Thread: main.
 */
int sl_hops_open(struct sl_datapath *dp, const struct sl_hops_opts *opts, struct sl_hops **ret,
		 struct sl_hops_report *report);
/* Removes what an earlier agent pinned: for one that does not splice. Returns 0 or -errno. */
int sl_hops_remove(const struct sl_datapath *dp);
/* As open, without an agent and without leaving anything; for probes. */
int sl_hops_try(struct sl_hops_report *report);
/* Programs and maps stay with the sockets that are in them until these close; own sockets must be
 * closed before. The pins stay, for people to look at. Accepts NULL. Thread: main. */
struct sl_hops *sl_hops_close(struct sl_hops *h);
enum sl_detector sl_hops_detector(const struct sl_hops *h);

/* A leased slot. */
struct sl_hop_lease {
	struct sl_hop *hop; /* all access atomic */
	uint32_t slot, gen;
	uint64_t cookie;	 /* of own */
	struct sl_want_key want; /* of the app */
};

/*
 * A redirect waits for the app's socket lock, uninterruptibly, which an app may hold for long (a
 * page fault in recv(2), CPU quota). Therefore a send(2) of own while that lock is held fails with
 * EPIPE, or is cut short, and hop.own_waits has grown: to be tried again soon, by a timer, for no
 * event tells when. EPIPE without that is what it says. ENOMEM: likewise to be tried again.
 */

/*
 * own is the agent's end, established; is_active: it called connect(2). app_netns is the cookie of
 * the network namespace of the other end, taken and done what own has received and sent since
 * it was established: exactly, or it will never be taken in. From here own sends pass the program
 * (by TCP while the state is not IN). An app is only taken in after own has sent at least once
 * more. Three system calls. Thread: worker, the same for one lease. Returns 0, -ENOSPC (no slot, or
 * a map is full), -EBUSY (own is in a map of somebody else) or another -errno.
 */
int sl_hops_lease(struct sl_hops *h, uint32_t worker, int own, bool is_active, uint64_t app_netns,
		  uint64_t taken, uint64_t done, struct sl_hop_lease *ret);
/*
 * Before own is closed, or leaves the map: no send of the app is on its way into own's queue after
 * this, and none will be (state SHUT). Returns false when redirected bytes may wait in own's queue:
 * read them, store taken, and ask again, or give them up as with any close. No system call.
 * Thread: worker.
 */
bool sl_hops_shut(const struct sl_hop_lease *l);
/*
 * The slot goes back; own is still open. stays: own lives on as a plain TCP socket; only when the
 * app is not in (never was, or OUT) and sl_hops_shut() said true. Else own is closed by the caller
 * at once. Thread: worker, as for the lease.
 */
void sl_hops_release(struct sl_hops *h, const struct sl_hop_lease *l, int own, bool stays);
/* State is IN, app_seen == done, nothing is being sent: take the app out and set OUT.
 * One system call. Returns 0 (also when it was not there any more) or -errno. Thread: worker. */
int sl_hops_take_out(struct sl_hops *h, const struct sl_hop_lease *l);
/* Whether the app that was taken in is in the map still: it leaves also when it is closed. One
 * system call. Thread: worker. */
bool sl_hops_has_app(const struct sl_hops *h, const struct sl_hop_lease *l);

/* An iterator over the sockets of the network namespace that the calling thread is in. Returns a
 * descriptor for one sl_hops_pass() or -errno. Thread: any. */
int sl_hops_iter(const struct sl_hops *h);
/* Looks at every app of that namespace that is asked for. Closes iter. Takes some ms on a node
 * with a large table of connections: the kernel walks all of it. Returns 0 or -errno.
 * Waits for the lock of each of its sockets: an application that holds one (in recv(2), during a
 * page fault) holds up the pass for as long. Hence a thread of its own, and patience. Thread: any.
 */
struct sl_hops_pass {
	uint64_t took_ns; /* of CPU */
	uint32_t n_seen, n_in, n_out,
		n_refused; /* wanted apps that were found, and what came of it */
};
int sl_hops_pass(int iter, struct sl_hops_pass *ret);

/* splice(2) was seen on a socket that is in the map: ev->cookie is its app_cookie. The
 * hop is to be reset at once (own closed with SO_LINGER 0): the reader would wait for ever. Its
 * program is refused from now on. fd: watch for EPOLLIN. consume returns the number of events or
 * -errno. Thread: main. */
typedef void (*sl_hops_event_fn)(void *arg, const struct sl_splice_event *ev);
int sl_hops_events_fd(const struct sl_hops *h);
int sl_hops_events_consume(struct sl_hops *h, sl_hops_event_fn fn, void *arg);

/* What of a hop was refused, and what is unfit: "blocking". NULL when out of range. Thread: any. */
const char *sl_hop_verdict_name(unsigned verdict);
const char *sl_hop_verdict_help(unsigned verdict);
const char *sl_unfit_name(unsigned bit);
const char *sl_unfit_help(unsigned bit);
