/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <errno.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/alloc.h"
#include "base/clock.h"
#include "loop/loop.h"
#include "../../lib/leak.h"

static struct sl_loop *loop;

static void setup(void)
{
	cr_assert_eq(sl_loop_new(&loop), 0);
}

static void teardown(void)
{
	cr_assert_null(sl_loop_free(loop));
}

TestSuite(loop, .init = setup, .fini = teardown);

struct bell {
	struct sl_watch watch;
	int n_rings;
	uint32_t events;
	struct bell *victim; /* removed when this one rings */
	struct bell *heir;   /* added in its place */
	struct bell *muted;  /* no longer wants EPOLLIN */
};

static void ring(struct sl_watch *w, uint32_t events)
{
	struct bell *b = sl_container_of(w, struct bell, watch);
	int fd;

	b->n_rings++;
	b->events |= events;
	if (b->muted)
		cr_assert_eq(sl_watch_modify(&b->muted->watch, EPOLLRDHUP), 0);
	if (!b->victim)
		return;
	fd = b->victim->watch.fd;
	sl_watch_remove(&b->victim->watch);
	if (b->heir)
		cr_assert_eq(sl_watch_add(loop, &b->heir->watch, fd, EPOLLOUT, ring), 0);
}

static void add_bell(struct bell *b, uint64_t count, uint32_t events)
{
	int fd = eventfd((unsigned)count, EFD_NONBLOCK | EFD_CLOEXEC);

	cr_assert_geq(fd, 0);
	cr_assert_eq(sl_watch_add(loop, &b->watch, fd, events, ring), 0);
}

static void remove_bell(struct bell *b)
{
	sl_watch_remove(&b->watch);
	cr_assert_eq(close(b->watch.fd), 0);
}

Test(loop, an_event_reaches_its_watch_until_removed)
{
	struct bell b = {.watch = SL_WATCH_INIT};

	add_bell(&b, 1, EPOLLIN);
	cr_assert_eq(sl_loop_round(loop, UINT64_MAX), 0);
	cr_assert_eq(b.n_rings, 1);
	cr_assert_eq(b.events, EPOLLIN);
	sl_watch_remove(&b.watch);
	cr_assert_null(b.watch.loop);
	cr_assert_eq(sl_loop_round(loop, 0), 0);
	cr_assert_eq(b.n_rings, 1);
	sl_watch_remove(&b.watch);
	cr_assert_eq(sl_loop_rounds(loop), 2);
	close(b.watch.fd);
}

Test(loop, a_round_that_may_have_left_events_is_no_sweep)
{
	enum { N = 300 }; /* more than a round takes */
	struct bell bells[N];
	int n_rings = 0;

	for (int i = 0; i < N; i++) {
		bells[i] = (struct bell){.watch = SL_WATCH_INIT};
		add_bell(&bells[i], 1, EPOLLIN | EPOLLET);
	}
	cr_assert_eq(sl_loop_sweeps(loop), 0);
	cr_assert_eq(sl_loop_round(loop, 0), 0);
	cr_assert_eq(sl_loop_sweeps(loop), 0);
	cr_assert_eq(sl_loop_round(loop, 0), 0);
	cr_assert_eq(sl_loop_sweeps(loop), 1);
	for (int i = 0; i < N; i++) {
		n_rings += bells[i].n_rings;
		remove_bell(&bells[i]);
	}
	cr_assert_eq(n_rings, N);
	cr_assert_eq(sl_loop_round(loop, 0), 0);
	cr_assert_eq(sl_loop_sweeps(loop), 2, "nothing to tell is all there is");
}

/* The kernel still has it, as the file is open elsewhere. */
Test(loop, a_watch_that_left_gets_no_event_nor_does_who_has_its_place)
{
	struct bell gone = {.watch = SL_WATCH_INIT}, next = {.watch = SL_WATCH_INIT};
	int copy;

	add_bell(&gone, 1, EPOLLIN | EPOLLET);
	copy = dup(gone.watch.fd);
	cr_assert_geq(copy, 0);
	sl_watch_leave(&gone.watch);
	cr_assert_null(gone.watch.loop);
	cr_assert_eq(close(gone.watch.fd), 0);
	add_bell(&next, 0, EPOLLIN | EPOLLET);
	cr_assert_eq(sl_loop_round(loop, 0), 0);
	cr_assert_eq(gone.n_rings, 0);
	cr_assert_eq(next.n_rings, 0);
	sl_watch_leave(&gone.watch);
	cr_assert_eq(close(copy), 0);
	remove_bell(&next);
}

Test(loop, a_watch_removed_mid_round_gets_no_event)
{
	struct bell a = {.watch = SL_WATCH_INIT}, b = {.watch = SL_WATCH_INIT};

	a.victim = &b;
	b.victim = &a;
	add_bell(&a, 1, EPOLLIN);
	add_bell(&b, 1, EPOLLIN);
	cr_assert_eq(sl_loop_round(loop, UINT64_MAX), 0);
	cr_assert_eq(a.n_rings + b.n_rings, 1, "whichever was first removed the other");
	remove_bell(&a);
	remove_bell(&b);
}

Test(loop, a_watch_may_remove_itself)
{
	struct bell a = {.watch = SL_WATCH_INIT};

	a.victim = &a;
	add_bell(&a, 1, EPOLLIN);
	cr_assert_eq(sl_loop_round(loop, UINT64_MAX), 0);
	cr_assert_eq(sl_loop_round(loop, 0), 0);
	cr_assert_eq(a.n_rings, 1);
	close(a.watch.fd);
}

Test(loop, a_watch_that_reuses_a_slot_gets_no_event_of_the_old_one)
{
	struct bell a = {.watch = SL_WATCH_INIT}, b = {.watch = SL_WATCH_INIT};
	struct bell heir = {.watch = SL_WATCH_INIT};

	a.victim = &b;
	a.heir = &heir;
	add_bell(&a, 1, EPOLLIN);
	add_bell(&b, 1, EPOLLIN | EPOLLOUT);
	cr_assert_eq(sl_loop_round(loop, UINT64_MAX), 0);
	/* The heir has b's slot, descriptor and an interest that b's pending event would match. */
	cr_assert_eq(heir.watch.slot, b.watch.slot);
	cr_assert_eq(b.n_rings, 0);
	cr_assert_eq(heir.n_rings, 0);
	a.victim = NULL;
	cr_assert_eq(sl_loop_round(loop, UINT64_MAX), 0);
	cr_assert_eq(heir.n_rings, 1);
	remove_bell(&a);
	remove_bell(&heir);
}

Test(loop, an_event_no_longer_wanted_is_not_delivered)
{
	struct bell a = {.watch = SL_WATCH_INIT}, b = {.watch = SL_WATCH_INIT};

	a.muted = &b;
	add_bell(&a, 1, EPOLLIN);
	add_bell(&b, 1, EPOLLIN);
	cr_assert_eq(sl_loop_round(loop, UINT64_MAX), 0);
	cr_assert_eq(a.n_rings, 1);
	cr_assert_eq(b.n_rings, 0);
	cr_assert_eq(sl_watch_modify(&b.watch, EPOLLIN), 0);
	a.muted = NULL;
	cr_assert_eq(sl_loop_round(loop, UINT64_MAX), 0);
	cr_assert_eq(b.n_rings, 1);
	remove_bell(&a);
	remove_bell(&b);
}

Test(loop, an_edge_is_told_again_after_modify)
{
	struct bell a = {.watch = SL_WATCH_INIT};

	add_bell(&a, 1, EPOLLIN | EPOLLET);
	cr_assert_eq(sl_loop_round(loop, UINT64_MAX), 0);
	cr_assert_eq(sl_loop_round(loop, 0), 0);
	cr_assert_eq(a.n_rings, 1);
	cr_assert_eq(sl_watch_modify(&a.watch, EPOLLIN | EPOLLET), 0);
	cr_assert_eq(sl_loop_round(loop, 0), 0);
	cr_assert_eq(a.n_rings, 2);
	remove_bell(&a);
}

Test(loop, errors_of_the_kernel_come_back)
{
	struct sl_watch w = SL_WATCH_INIT;
	struct bell a = {.watch = SL_WATCH_INIT};

	cr_assert_eq(sl_watch_add(loop, &w, -1, EPOLLIN, ring), -EBADF);
	cr_assert_null(w.loop);
	add_bell(&a, 0, EPOLLIN);
	cr_assert_eq(sl_watch_add(loop, &w, a.watch.fd, EPOLLIN, ring), -EEXIST);
	remove_bell(&a);
}

Test(loop, many_watches_each_get_their_own_event)
{
	enum { N = 400 };
	static struct bell bells[N];

	for (int i = 0; i < N; i++) {
		bells[i].watch = SL_WATCH_INIT;
		add_bell(&bells[i], 1, EPOLLIN);
		if (i % 3 == 0)
			remove_bell(&bells[i]);
	}
	for (int i = 0; i < 3; i++)
		cr_assert_eq(sl_loop_round(loop, 0), 0);
	for (int i = 0; i < N; i++) {
		cr_assert_eq(bells[i].n_rings > 0, i % 3 != 0, "bell %d", i);
		if (i % 3)
			remove_bell(&bells[i]);
	}
}

struct alarm {
	struct sl_timer timer;
	int n_fired;
	uint64_t fired_ns;
	int place;
	uint64_t rearm_ns;     /* armed again this much later, unless UINT64_MAX */
	struct alarm *cancels; /* when it fires */
};

static int n_places;

static void fire(struct sl_timer *t)
{
	struct alarm *a = sl_container_of(t, struct alarm, timer);

	cr_assert_null(t->loop);
	a->n_fired++;
	a->fired_ns = sl_loop_now(loop);
	a->place = n_places++;
	if (a->cancels)
		sl_timer_cancel(&a->cancels->timer);
	if (a->rearm_ns != UINT64_MAX)
		sl_timer_arm(loop, t, sl_loop_now(loop) + a->rearm_ns);
}

#define ALARM ((struct alarm){.timer = SL_TIMER_INIT(fire), .rearm_ns = UINT64_MAX})

Test(loop, timers_fire_in_order_and_never_early)
{
	enum { N = 8 };
	struct alarm a[N];
	uint64_t start = sl_loop_now(loop);

	for (int i = 0; i < N; i++) {
		a[i] = ALARM;
		sl_timer_arm(loop, &a[i].timer, start + (uint64_t)(N - i) * 2 * SL_NS_PER_MS);
	}
	while (!a[0].n_fired)
		cr_assert_eq(sl_loop_round(loop, UINT64_MAX), 0);
	for (int i = 0; i < N; i++) {
		cr_assert_eq(a[i].n_fired, 1);
		cr_assert_eq(a[i].place, N - 1 - i);
		cr_assert_geq(a[i].fired_ns, a[i].timer.deadline_ns);
	}
}

Test(loop, a_timer_rearmed_in_its_callback_waits_for_the_next_round)
{
	struct alarm a = ALARM, other = ALARM;

	a.rearm_ns = 0;
	sl_timer_arm(loop, &a.timer, 0);
	sl_timer_arm(loop, &other.timer, 0);
	for (int i = 1; i <= 3; i++) {
		cr_assert_eq(sl_loop_round(loop, UINT64_MAX), 0);
		cr_assert_eq(a.n_fired, i);
	}
	cr_assert_eq(other.n_fired, 1);
	sl_timer_cancel(&a.timer);
	cr_assert_eq(sl_loop_round(loop, 0), 0);
	cr_assert_eq(a.n_fired, 3);
}

Test(loop, a_timer_cancelled_by_an_earlier_one_of_the_round_does_not_fire)
{
	struct alarm a = ALARM, b = ALARM, c = ALARM;

	a.cancels = &b;
	sl_timer_arm(loop, &a.timer, 0);
	sl_timer_arm(loop, &b.timer, 0);
	sl_timer_arm(loop, &c.timer, 0);
	cr_assert_eq(sl_loop_round(loop, UINT64_MAX), 0);
	cr_assert_eq(a.n_fired, 1);
	cr_assert_eq(b.n_fired, 0);
	cr_assert_eq(c.n_fired, 1);
}

Test(loop, arming_again_moves_the_deadline)
{
	struct alarm a = ALARM, b = ALARM;

	sl_timer_arm(loop, &a.timer, 0);
	sl_timer_arm(loop, &a.timer, sl_loop_now(loop) + 3600 * SL_NS_PER_S);
	cr_assert_eq(sl_loop_round(loop, 0), 0);
	cr_assert_eq(a.n_fired, 0);
	sl_timer_arm(loop, &b.timer, sl_loop_now(loop) + 3600 * SL_NS_PER_S);
	sl_timer_arm(loop, &b.timer, sl_loop_now(loop));
	cr_assert_eq(sl_loop_round(loop, UINT64_MAX), 0);
	cr_assert_eq(b.n_fired, 1);
	sl_timer_cancel(&a.timer);
	sl_timer_cancel(&a.timer);
}

struct job {
	struct sl_task task;
	int n_runs;
	struct job *next;
};

static void run_job(struct sl_task *t)
{
	struct job *j = sl_container_of(t, struct job, task);

	j->n_runs++;
	if (j->next)
		sl_task_queue(loop, &j->next->task);
}

#define JOB ((struct job){.task = SL_TASK_INIT(run_job)})

Test(loop, tasks_run_once_and_tasks_of_tasks_in_the_same_round)
{
	struct job a = JOB, b = JOB, c = JOB;

	a.next = &b;
	sl_task_queue(loop, &a.task);
	sl_task_queue(loop, &a.task);
	sl_task_queue(loop, &c.task);
	sl_task_cancel(&c.task);
	cr_assert_eq(sl_loop_round(loop, UINT64_MAX), 0);
	cr_assert_eq(a.n_runs, 1);
	cr_assert_eq(b.n_runs, 1);
	cr_assert_eq(c.n_runs, 0);
}

struct runner {
	struct sl_task task;
	char name;
	struct runner *next; /* queued early when this one runs */
	bool again;
};
static char ran[16];

static void run_runner(struct sl_task *t)
{
	struct runner *r = sl_container_of(t, struct runner, task);

	ran[strlen(ran)] = r->name;
	if (r->next)
		sl_task_queue_early(loop, &r->next->task);
}

Test(loop, early_tasks_run_ahead_of_the_others_in_their_order)
{
	struct runner runners[6];

	for (int i = 0; i < 6; i++)
		runners[i] =
			(struct runner){.task = SL_TASK_INIT(run_runner), .name = (char)('a' + i)};
	runners[0].next = &runners[4];
	sl_task_queue(loop, &runners[0].task);
	sl_task_queue(loop, &runners[1].task);
	sl_task_queue_early(loop, &runners[2].task);
	sl_task_queue_early(loop, &runners[3].task);
	sl_task_queue_early(loop, &runners[1].task); /* it has its place */
	sl_task_queue_early(loop, &runners[5].task);
	sl_task_cancel(&runners[5].task);
	cr_assert_eq(sl_loop_round(loop, UINT64_MAX), 0);
	cr_assert_str_eq(ran, "cdaeb");
	/* One that waits for the round keeps it from waiting. */
	sl_task_queue_early(loop, &runners[5].task);
	cr_assert_eq(sl_loop_round(loop, UINT64_MAX), 0);
	cr_assert_str_eq(ran, "cdaebf");
}

static void run_again(struct sl_task *t)
{
	struct job *j = sl_container_of(t, struct job, task);

	if (++j->n_runs < 3)
		sl_task_queue_next(loop, t);
}

Test(loop, a_task_for_the_coming_round_runs_there_and_keeps_it_from_waiting)
{
	struct job a = {.task = SL_TASK_INIT(run_again)};

	sl_task_queue_next(loop, &a.task);
	sl_task_queue_next(loop, &a.task);
	for (int i = 1; i <= 3; i++) {
		cr_assert_eq(sl_loop_round(loop, UINT64_MAX), 0);
		cr_assert_eq(a.n_runs, i);
	}
	cr_assert_null(a.task.loop);
	sl_task_queue_next(loop, &a.task);
	sl_task_cancel(&a.task);
	cr_assert_eq(sl_loop_round(loop, 0), 0);
	cr_assert_eq(a.n_runs, 3);
}

static void queue_job(struct sl_timer *t)
{
	static struct job j;

	j = JOB;
	sl_task_queue(loop, &j.task);
	cr_assert_eq(j.n_runs, 0);
	sl_loop_stop(loop);
}

/* Each takes a whole turn. */
static void run_long(struct sl_task *t)
{
	struct runner *r = sl_container_of(t, struct runner, task);
	uint64_t end = sl_clock_now_ns() + SL_LOOP_TURN_NS;

	ran[strlen(ran)] = r->name;
	while (sl_clock_now_ns() < end)
		;
	if (r->again)
		sl_task_queue_next(loop, t);
}

static void run_rounds(unsigned n)
{
	while (n--) {
		cr_assert_eq(sl_loop_round(loop, UINT64_MAX), 0);
		ran[strlen(ran)] = ' ';
	}
}

Test(loop, an_owner_of_many_tasks_delays_others_by_its_turn_alone)
{
	struct sl_task_owner bulk = {0}, other = {0};
	struct runner a = {.task = SL_TASK_INIT_OWNED(run_long, &bulk), .name = 'a', .again = true};
	struct runner b = {.task = SL_TASK_INIT_OWNED(run_long, &bulk), .name = 'b'};
	struct runner c = {.task = SL_TASK_INIT_OWNED(run_long, &bulk), .name = 'c'};
	struct runner o = {.task = SL_TASK_INIT_OWNED(run_long, &other), .name = 'o'};
	struct runner free = {.task = SL_TASK_INIT(run_long), .name = 'f'};

	sl_task_queue_early(loop, &a.task);
	sl_task_queue_early(loop, &b.task);
	sl_task_queue(loop, &c.task);
	sl_task_queue(loop, &o.task);
	sl_task_queue(loop, &free.task);
	run_rounds(4);
	a.again = false;
	run_rounds(1);
	/* The one that goes on is behind those that waited. */
	cr_assert_str_eq(ran, "aof b c a a ");
}

Test(loop, a_task_that_waits_for_its_turn_keeps_its_place_and_can_be_cancelled)
{
	struct sl_task_owner bulk = {0};
	struct runner runners[4];

	for (int i = 0; i < 4; i++)
		runners[i] = (struct runner){.task = SL_TASK_INIT_OWNED(run_long, &bulk),
					     .name = (char)('a' + i)};
	for (int i = 0; i < 3; i++)
		sl_task_queue(loop, &runners[i].task);
	run_rounds(1);
	sl_task_queue_early(loop, &runners[3].task);
	sl_task_queue_early(loop, &runners[2].task); /* it has its place */
	sl_task_cancel(&runners[1].task);
	run_rounds(2);
	cr_assert_str_eq(ran, "a c d ");
}

Test(loop, run_ends_after_the_round_of_stop_and_can_be_run_again)
{
	struct sl_timer t = SL_TIMER_INIT(queue_job);

	for (int i = 0; i < 2; i++) {
		sl_timer_arm(loop, &t, sl_loop_now(loop) + SL_NS_PER_MS);
		cr_assert_eq(sl_loop_run(loop), 0);
		cr_assert_null(t.loop);
	}
}

Test(loop, a_stop_before_run_counts)
{
	sl_loop_stop(loop);
	cr_assert_eq(sl_loop_run(loop), 0);
	cr_assert_eq(sl_loop_rounds(loop), 0);
}

Test(loop, the_wait_ends_at_its_limit)
{
	struct alarm a = ALARM;
	uint64_t start = sl_clock_now_ns();

	sl_timer_arm(loop, &a.timer, start + 3600 * SL_NS_PER_S);
	cr_assert_eq(sl_loop_round(loop, 5 * SL_NS_PER_MS), 0);
	cr_assert_geq(sl_clock_now_ns() - start, 4 * SL_NS_PER_MS);
	cr_assert_eq(a.n_fired, 0);
	sl_timer_cancel(&a.timer);
}

Test(loop, a_failed_allocation_leaves_nothing_behind)
{
	struct sl_watch w = SL_WATCH_INIT;
	struct sl_loop *l = NULL;
	int fd = eventfd(0, EFD_CLOEXEC);
	int r = -1;

	for (long n = 0; r; n++) {
		sl_alloc_fail_after(n);
		r = sl_loop_new(&l);
		if (!r)
			r = sl_watch_add(l, &w, fd, EPOLLIN, ring);
		sl_alloc_fail_after(-1);
		cr_assert(r == 0 || r == -ENOMEM);
		cr_assert_lt(n, 10);
		if (r && l)
			l = sl_loop_free(l);
	}
	sl_watch_remove(&w);
	sl_loop_free(l);
	close(fd);
	check_leaks();
}
