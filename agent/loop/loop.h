/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Event loop of one thread: epoll, timers, and tasks that run at the end of a round. Nothing here
 * is shared between threads but the mailbox (mailbox.h).
 *
 * Safe against the usual traps: a callback may remove any watch (its own, or one whose event is
 * still pending in this round), arm and cancel any timer, and add tasks. A watch may be freed as
 * soon as sl_watch_remove() has returned.
 */
#include <stdbool.h>
#include <stdint.h>
#include "base/list.h"

struct sl_loop;
struct sl_watch;
struct sl_timer;
struct sl_task;

/* events: EPOLLIN, EPOLLOUT, EPOLLRDHUP, EPOLLHUP, EPOLLERR as the kernel gave them. */
typedef void (*sl_watch_fn)(struct sl_watch *w, uint32_t events);
typedef void (*sl_timer_fn)(struct sl_timer *t);
typedef void (*sl_task_fn)(struct sl_task *t);

/* Embedded in its owner; the descriptor stays the owner's. */
struct sl_watch {
	struct sl_loop *loop; /* NULL: not added */
	sl_watch_fn fn;
	int fd;
	int slot; /* the loop's */
};
#define SL_WATCH_INIT ((struct sl_watch){.fd = -1})

struct sl_timer {
	struct sl_list node;
	struct sl_loop *loop; /* NULL: not armed */
	sl_timer_fn fn;
	uint64_t deadline_ns;
	uint16_t slot; /* the loop's */
};
/* Zeroed memory is a valid timer too. */
#define SL_TIMER_INIT(f) ((struct sl_timer){.fn = (f)})

/* Whose tasks they are: in a round its tasks get SL_LOOP_TURN_NS together, then those that are left
 * wait for the next one, where they come first and in their order. A task is never cut short: the
 * last one may take longer. Zeroed memory is valid. The owner lives as long as its tasks are queued
 * or run. */
struct sl_task_owner {
	uint64_t round; /* the loop's */
	uint64_t spent_ns;
};
#define SL_LOOP_TURN_NS 500000ull

struct sl_task {
	struct sl_list node;
	struct sl_loop *loop; /* NULL: not queued */
	sl_task_fn fn;
	struct sl_task_owner *owner; /* borrowed; NULL: nobody waits for others */
};
#define SL_TASK_INIT(f)		 ((struct sl_task){.fn = (f)})
#define SL_TASK_INIT_OWNED(f, o) ((struct sl_task){.fn = (f), .owner = (o)})

/* Returns 0 or -errno. */
int sl_loop_new(struct sl_loop **ret);
/* Everything must have been removed before. Accepts NULL, returns NULL. */
struct sl_loop *sl_loop_free(struct sl_loop *l);

/* One round: wait until an event, a timer or max_wait_ns (UINT64_MAX: no limit), run callbacks,
 * then due timers, then tasks. May also return after a shorter wait with nothing to run. Not to be
 * called from a callback. Returns 0, or -errno when epoll itself fails (never -EINTR). */
int sl_loop_round(struct sl_loop *l, uint64_t max_wait_ns);
/* Rounds until sl_loop_stop(); the round in which that is called is finished. A stop that came
 * before counts too. Returns 0, or as sl_loop_round(). */
int sl_loop_run(struct sl_loop *l);
/* Thread: the loop's own (others post a mail that does it). */
void sl_loop_stop(struct sl_loop *l);
/* Monotonic time, read once a round (and again after the wait). */
uint64_t sl_loop_now(const struct sl_loop *l);
/* Rounds finished so far; for the heartbeat. Thread: any. */
uint64_t sl_loop_rounds(const struct sl_loop *l);
/* Rounds in which epoll_wait(2) gave all the events that there were and their callbacks have run. A
 * watch that was there when the count was lower has been told whatever it had become ready for by
 * the last of these calls. */
uint64_t sl_loop_sweeps(const struct sl_loop *l);

/* events as for epoll_ctl(2), also EPOLLET and EPOLLEXCLUSIVE. w->fn and w->fd are set here.
 * Returns 0 or -errno. */
int sl_watch_add(struct sl_loop *l, struct sl_watch *w, int fd, uint32_t events, sl_watch_fn fn);
/* Takes effect at once: an event that is pending in this round and no longer wanted is not
 * delivered. Not for EPOLLEXCLUSIVE (the kernel refuses it). Returns 0 or -errno. */
int sl_watch_modify(struct sl_watch *w, uint32_t events);
/* No-op when not added. Call before closing the descriptor. */
void sl_watch_remove(struct sl_watch *w);
/* The same for an edge-triggered one whose descriptor is closed next: then the kernel forgets it by
 * itself, which saves a call. Should the file be open elsewhere, what it still tells goes nowhere.
 */
void sl_watch_leave(struct sl_watch *w);

/* (Re)arm for an absolute deadline; never fires early, and at most 2 ms late in an idle loop.
 * Timers fire in the order of their deadlines' milliseconds, within one in the order of arming; a
 * deadline that has passed already queues behind what is due. One that is armed by a timer callback
 * fires in a later round at the earliest. Constant time, no allocation. */
void sl_timer_arm(struct sl_loop *l, struct sl_timer *t, uint64_t deadline_ns);
/* No-op when not armed. */
void sl_timer_cancel(struct sl_timer *t);

/* Run t->fn once after this round's events; queuing a queued task is a no-op. Tasks queued by tasks
 * run in the same round (while their owner's turn lasts), so work that goes on for long continues
 * from a timer that is due now. */
void sl_task_queue(struct sl_loop *l, struct sl_task *t);
/* The same, ahead of all that sl_task_queue() queued. */
void sl_task_queue_early(struct sl_loop *l, struct sl_task *t);
/* The same at the end of the coming round, which does not wait: for work that gives the others a
 * turn. */
void sl_task_queue_next(struct sl_loop *l, struct sl_task *t);
void sl_task_cancel(struct sl_task *t);
