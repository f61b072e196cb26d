/* SPDX-License-Identifier: Apache-2.0 */
#include "loop/loop.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <sys/epoll.h>
#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "loop/wheel.h"

enum { EVENTS_A_ROUND = 256, FIRST_SLOTS = 64, NO_SLOT = -1 };

/* The kernel gets slot and generation back to us, never a pointer: an event of a removed watch
 * finds its slot empty, or taken by a later generation. */
struct slot {
	struct sl_watch *watch; /* NULL: free */
	uint32_t generation;
	uint32_t events;
	int next_free;
};

struct sl_loop {
	int epfd;
	int free_slot;
	int n_slots;
	struct slot *slots;
	uint64_t now_ns;
	uint64_t rounds;
	uint64_t sweeps;
	bool stopped;
	bool in_round;
	struct sl_list held_tasks; /* whose owners have had their turn; they come first in the next
				      round */
	struct sl_list due_tasks;  /* those of the round before */
	struct sl_list early_tasks, tasks;
	struct sl_list next_tasks; /* for the coming round */
	struct sl_wheel wheel;
	struct epoll_event events[EVENTS_A_ROUND];
};

SL_DEFINE_CLEANUP(struct sl_loop *, sl_loop_free)

int sl_loop_new(struct sl_loop **ret)
{
	_cleanup_(sl_loop_freep) struct sl_loop *l = sl_new(struct sl_loop);

	if (!l)
		return -ENOMEM;
	l->free_slot = NO_SLOT;
	l->now_ns = sl_clock_now_ns();
	sl_list_init(&l->held_tasks);
	sl_list_init(&l->due_tasks);
	sl_list_init(&l->early_tasks);
	sl_list_init(&l->tasks);
	sl_list_init(&l->next_tasks);
	sl_wheel_init(&l->wheel, l->now_ns);
	l->epfd = epoll_create1(EPOLL_CLOEXEC);
	if (l->epfd < 0)
		return -errno;
	*ret = sl_take(l);
	return 0;
}

static struct sl_task *next_task(const struct sl_loop *l)
{
	const struct sl_list *lists[] = {&l->due_tasks, &l->early_tasks, &l->tasks};

	for (size_t i = 0; i < sizeof(lists) / sizeof(*lists); i++)
		if (!sl_list_empty(lists[i]))
			return sl_container_of(lists[i]->next, struct sl_task, node);
	return NULL;
}

struct sl_loop *sl_loop_free(struct sl_loop *l)
{
	if (!l)
		return NULL;
	assert(!l->in_round);
	assert(sl_list_empty(&l->held_tasks) && !next_task(l) && sl_list_empty(&l->next_tasks));
	assert(sl_wheel_next_ns(&l->wheel) == UINT64_MAX);
	for (int i = 0; i < l->n_slots; i++)
		assert(!l->slots[i].watch);
	sl_closep(&l->epfd);
	free(l->slots);
	free(l);
	return NULL;
}

/* What one list holds goes to another, which holds nothing. */
static void move_list(struct sl_list *from, struct sl_list *to)
{
	*to = *from;
	to->next->prev = to->prev->next = to;
	sl_list_init(from);
}

static int wait_ms(const struct sl_loop *l, uint64_t max_wait_ns)
{
	uint64_t next = sl_wheel_next_ns(&l->wheel), wait_ns = max_wait_ns, ms;

	if (l->stopped || next_task(l))
		return 0;
	if (next != UINT64_MAX) {
		uint64_t until = next > l->now_ns ? next - l->now_ns : 0;

		wait_ns = until < wait_ns ? until : wait_ns;
	}
	if (wait_ns == UINT64_MAX)
		return -1;
	ms = wait_ns / SL_NS_PER_MS + (wait_ns % SL_NS_PER_MS != 0);
	return ms > INT_MAX ? INT_MAX : (int)ms;
}

static void run_events(struct sl_loop *l, int n)
{
	for (int i = 0; i < n; i++) {
		const struct epoll_event *ev = &l->events[i];
		const struct slot *s = &l->slots[(uint32_t)ev->data.u64];
		uint32_t wanted = ev->events & (s->events | EPOLLERR | EPOLLHUP);

		if (s->watch && s->generation == ev->data.u64 >> 32 && wanted)
			s->watch->fn(s->watch, wanted);
	}
}

static void run_timers(struct sl_loop *l)
{
	struct sl_list firing = SL_LIST_INIT(firing);

	sl_wheel_advance(&l->wheel, l->now_ns);
	if (sl_list_empty(&l->wheel.due))
		return;
	/* What the callbacks arm goes to wheel.due and waits for the next round. */
	move_list(&l->wheel.due, &firing);
	while (!sl_list_empty(&firing)) {
		struct sl_timer *t = sl_container_of(firing.next, struct sl_timer, node);

		sl_timer_cancel(t);
		t->fn(t);
	}
}

/* Puts it off, or runs it. *at_ns: when the task before it ended, 0 when nobody looked. */
static void run_owned(struct sl_loop *l, struct sl_task *t, uint64_t *at_ns)
{
	struct sl_task_owner *o = t->owner;
	uint64_t begun_ns;

	if (o->round != l->rounds)
		*o = (struct sl_task_owner){.round = l->rounds};
	if (o->spent_ns >= SL_LOOP_TURN_NS) {
		sl_list_remove(&t->node);
		sl_list_append(&l->held_tasks, &t->node);
		return;
	}
	begun_ns = *at_ns ? *at_ns : sl_clock_now_ns();
	sl_task_cancel(t);
	t->fn(t);
	*at_ns = sl_clock_now_ns();
	o->spent_ns += *at_ns - begun_ns;
}

static void run_tasks(struct sl_loop *l)
{
	uint64_t at_ns = 0;
	struct sl_task *t;

	while ((t = next_task(l))) {
		if (t->owner) {
			run_owned(l, t, &at_ns);
		} else {
			sl_task_cancel(t);
			t->fn(t);
			at_ns = 0;
		}
	}
	if (!sl_list_empty(&l->held_tasks))
		move_list(&l->held_tasks, &l->due_tasks);
	/* They keep the coming round from waiting. */
	while (!sl_list_empty(&l->next_tasks)) {
		struct sl_list *n = l->next_tasks.next;

		sl_list_remove(n);
		sl_list_append(&l->tasks, n);
	}
}

int sl_loop_round(struct sl_loop *l, uint64_t max_wait_ns)
{
	bool all;
	int n;

	assert(!l->in_round);
	l->now_ns = sl_clock_now_ns();
	n = epoll_wait(l->epfd, l->events, EVENTS_A_ROUND, wait_ms(l, max_wait_ns));
	if (n < 0) {
		if (errno != EINTR)
			return -errno;
		n = 0;
		all = false;
	} else {
		all = n < EVENTS_A_ROUND;
	}
	l->now_ns = sl_clock_now_ns();
	l->in_round = true;
	run_events(l, n);
	l->sweeps += all;
	run_timers(l);
	run_tasks(l);
	l->in_round = false;
	__atomic_store_n(&l->rounds, l->rounds + 1, __ATOMIC_RELAXED);
	return 0;
}

int sl_loop_run(struct sl_loop *l)
{
	int r = 0;

	while (!l->stopped && !r)
		r = sl_loop_round(l, UINT64_MAX);
	l->stopped = false;
	return r;
}

void sl_loop_stop(struct sl_loop *l)
{
	l->stopped = true;
}

uint64_t sl_loop_now(const struct sl_loop *l)
{
	return l->now_ns;
}

uint64_t sl_loop_rounds(const struct sl_loop *l)
{
	return __atomic_load_n(&l->rounds, __ATOMIC_RELAXED);
}

uint64_t sl_loop_sweeps(const struct sl_loop *l)
{
	return l->sweeps;
}

static int grow_slots(struct sl_loop *l)
{
	int cap = l->n_slots ? l->n_slots * 2 : FIRST_SLOTS;
	struct slot *slots;

	if (l->n_slots > INT_MAX / 2)
		return -ENOMEM;
	slots = sl_reallocarray(l->slots, (size_t)cap, sizeof(*slots));
	if (!slots)
		return -ENOMEM;
	l->slots = slots;
	for (int i = cap - 1; i >= l->n_slots; i--) {
		slots[i] = (struct slot){.next_free = l->free_slot};
		l->free_slot = i;
	}
	l->n_slots = cap;
	return 0;
}

static int control(struct sl_watch *w, int op, uint32_t events)
{
	struct slot *s = &w->loop->slots[w->slot];
	struct epoll_event ev = {.events = events};

	ev.data.u64 = (uint64_t)s->generation << 32 | (uint32_t)w->slot;
	if (epoll_ctl(w->loop->epfd, op, w->fd, &ev))
		return -errno;
	s->events = events;
	return 0;
}

static void release_slot(struct sl_watch *w)
{
	struct sl_loop *l = w->loop;
	struct slot *s = &l->slots[w->slot];

	*s = (struct slot){.generation = s->generation + 1, .next_free = l->free_slot};
	l->free_slot = w->slot;
	w->loop = NULL;
}

int sl_watch_add(struct sl_loop *l, struct sl_watch *w, int fd, uint32_t events, sl_watch_fn fn)
{
	int r;

	assert(!w->loop);
	if (l->free_slot == NO_SLOT) {
		r = grow_slots(l);
		if (r)
			return r;
	}
	*w = (struct sl_watch){.loop = l, .fn = fn, .fd = fd, .slot = l->free_slot};
	l->free_slot = l->slots[w->slot].next_free;
	l->slots[w->slot].watch = w;
	r = control(w, EPOLL_CTL_ADD, events);
	if (r)
		release_slot(w);
	return r;
}

int sl_watch_modify(struct sl_watch *w, uint32_t events)
{
	assert(w->loop);
	/* Edge-triggered watches are modified to be told again. */
	if (w->loop->slots[w->slot].events == events && !(events & EPOLLET))
		return 0;
	return control(w, EPOLL_CTL_MOD, events);
}

void sl_watch_remove(struct sl_watch *w)
{
	if (!w->loop)
		return;
	(void)control(w, EPOLL_CTL_DEL,
		      0); /* fails only when the kernel has forgotten it already */
	release_slot(w);
}

void sl_watch_leave(struct sl_watch *w)
{
	if (w->loop)
		release_slot(w);
}

void sl_timer_arm(struct sl_loop *l, struct sl_timer *t, uint64_t deadline_ns)
{
	sl_timer_cancel(t);
	t->loop = l;
	t->deadline_ns = deadline_ns;
	sl_wheel_add(&l->wheel, t, l->now_ns);
}

void sl_timer_cancel(struct sl_timer *t)
{
	if (!t->loop)
		return;
	sl_wheel_remove(&t->loop->wheel, t);
	t->loop = NULL;
}

void sl_task_queue(struct sl_loop *l, struct sl_task *t)
{
	if (t->loop)
		return;
	t->loop = l;
	sl_list_append(&l->tasks, &t->node);
}

void sl_task_queue_early(struct sl_loop *l, struct sl_task *t)
{
	if (t->loop)
		return;
	t->loop = l;
	sl_list_append(&l->early_tasks, &t->node);
}

void sl_task_queue_next(struct sl_loop *l, struct sl_task *t)
{
	if (t->loop)
		return;
	t->loop = l;
	/* Outside of a round the coming one is the next to be called, which must not wait. */
	sl_list_append(l->in_round ? &l->next_tasks : &l->tasks, &t->node);
}

void sl_task_cancel(struct sl_task *t)
{
	if (!t->loop)
		return;
	sl_list_remove(&t->node);
	t->loop = NULL;
}
