/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/splice.h"

#include <assert.h>
#include <errno.h>
#include "base/alloc.h"
#include "base/clock.h"
#include "proxy/state.h"

/* Passes in vain until a hop is given up, some seconds; the first and the longest wait
 * for another look at an app that has not read everything. */
enum { MAX_PASSES = 100, FIRST_LOOK_MS = 2, LAST_LOOK_MS = 1000 };
/* What the kernel keeps of each message beside its bytes, and how large a message gets. Bytes count
 * against nobody's memory limit before they are read, so the budget does. */
enum { MESSAGE_COST = 1024, MESSAGE_BYTES = 16384 };
/* Waits for an app that holds its lock, 1 ms and then twice as long each time, until TCP shall. */
enum { MAX_BUSY_MS = 32 };
/* A send of the app that waited for its lock while it was taken over is not counted: it shows after
 * that time at the latest. */
#define UNCOUNTED_NS SL_NS_PER_S

/* Hops of one worker that ask, with their app in one network namespace. */
struct wanted {
	uint64_t app_netns;
	size_t n;
};

static void count_in(const struct sl_splice *s, int change)
{
	sl_metrics_gauge_add(s->proxy->metrics,
			     s->hop == SL_SPLICE_CLIENT ? SL_GAUGE_SPLICED_CLIENT
							: SL_GAUGE_SPLICED_ENDPOINT,
			     change);
}

static void move(struct sl_splice *s, enum sl_splice_state to)
{
	static const uint8_t legal[] = {
		[SL_SPLICE_CANDIDATE] = 1 << SL_SPLICE_ASKED | 1 << SL_SPLICE_OUT,
		[SL_SPLICE_ASKED] =
			1 << SL_SPLICE_CANDIDATE | 1 << SL_SPLICE_IN | 1 << SL_SPLICE_OUT,
		[SL_SPLICE_IN] = 1 << SL_SPLICE_LEAVING | 1 << SL_SPLICE_OUT,
		[SL_SPLICE_LEAVING] = 1 << SL_SPLICE_OUT,
		[SL_SPLICE_OUT] = 0,
	};

	assert(legal[s->state] & 1 << to);
	s->state = to;
}

/* ---- whom the host makes passes for ---- */

static struct wanted *wanted_of(struct sl_splice *s)
{
	const struct sl_splice_host *host = &s->proxy->host.splice;
	struct sl_map *all = &s->proxy->splice_wanted;
	struct wanted *w = sl_map_get(all, SL_KEY(&s->app_netns));

	if (w)
		return w;
	w = sl_new(struct wanted);
	if (!w)
		return NULL;
	w->app_netns = s->app_netns;
	if (sl_map_put(all, SL_KEY(&w->app_netns), w, NULL)) {
		free(w);
		return NULL;
	}
	if (host->wanted(host->arg, s->app_netns, true)) {
		(void)sl_map_del(all, SL_KEY(&w->app_netns)); /* it is there */
		free(w);
		return NULL;
	}
	return w;
}

/* Returns false without memory. Counted once, however often it asks. */
static bool want(struct sl_splice *s)
{
	struct wanted *w = s->is_wanted ? NULL : wanted_of(s);

	if (!w)
		return s->is_wanted;
	w->n++;
	s->is_wanted = true;
	return true;
}

static void want_no_more(struct sl_splice *s)
{
	const struct sl_splice_host *host = &s->proxy->host.splice;
	struct wanted *w;

	if (!s->is_wanted)
		return;
	s->is_wanted = false;
	w = sl_map_get(&s->proxy->splice_wanted, SL_KEY(&s->app_netns));
	if (--w->n)
		return;
	(void)sl_map_del(&s->proxy->splice_wanted, SL_KEY(&w->app_netns)); /* it is there */
	free(w);
	(void)host->wanted(host->arg, s->app_netns, false); /* it will notice */
}

static void list_in(struct sl_list *list, struct sl_splice *s)
{
	sl_list_remove(&s->node);
	sl_list_append(list, &s->node);
}

/* ---- birth and end ---- */

void sl_splice_never(struct sl_proxy *p, struct sl_sock *own, enum sl_splice_why why)
{
	own->splice_why = why;
	sl_metrics_splice_never(p->metrics, why);
}

/* What the app has not read, as far as we know, in the sum of all. */
static void count_unread(struct sl_splice *s, uint64_t unread)
{
	s->proxy->splice_unread += unread - s->counted;
	s->counted = unread;
}

static void look_later(struct sl_splice *s)
{
	struct sl_loop *loop = s->proxy->loop;

	if (s->timer.loop)
		return;
	sl_timer_arm(loop, &s->timer, sl_loop_now(loop) + s->look_ms * SL_NS_PER_MS);
	s->look_ms = 2 * s->look_ms > LAST_LOOK_MS ? LAST_LOOK_MS : 2 * s->look_ms;
}

static void look(struct sl_splice *s)
{
	const struct sl_splice_host *host = &s->proxy->host.splice;

	if (host->hurry(host->arg, s->app_netns))
		look_later(s);
}

static void wake(struct sl_sock *own)
{
	if (sl_buf_len(&own->out))
		own->watch->fn(own->watch, 0);
}

static void on_timer(struct sl_timer *t)
{
	struct sl_splice *s = sl_container_of(t, struct sl_splice, timer);

	if (s->state == SL_SPLICE_LEAVING)
		look(s);
	else
		wake(s->sock);
}

void sl_splice_open(struct sl_proxy *p, struct sl_sock *own, enum sl_splice_hop hop,
		    uint64_t app_netns)
{
	const struct sl_splice_host *host = &p->host.splice;
	struct sl_splice *s = sl_new(struct sl_splice);
	int r;

	assert(!own->splice);
	if (!s) {
		sl_splice_never(p, own, SL_SPLICE_MEMORY);
		return;
	}
	s->proxy = p;
	s->sock = own;
	s->hop = hop;
	s->app_netns = app_netns;
	s->timer = SL_TIMER_INIT(on_timer);
	s->look_ms = FIRST_LOOK_MS;
	s->sent_before = s->lease_done = own->n_sent;
	sl_list_init(&s->node);
	r = host->open(host->arg, own->watch->fd, hop, app_netns, own->n_received, own->n_sent,
		       &s->lease);
	if (r) {
		free(s);
		sl_splice_never(p, own,
				r == -ENOSPC			     ? SL_SPLICE_NO_SLOT
				: r == -ENOMEM			     ? SL_SPLICE_MEMORY
				: r == -EBUSY			     ? SL_SPLICE_FOREIGN
				: r == -EOPNOTSUPP || r == -ENOTCONN ? SL_SPLICE_CLOSING
								     : SL_SPLICE_ERROR);
		return;
	}
	list_in(&p->splice_quiet, s);
	own->splice = s;
}

/* Returns false when it has to go on, which it has not when own closes. */
static bool end(struct sl_splice *s, bool closes)
{
	const struct sl_splice_host *host = &s->proxy->host.splice;
	struct sl_sock *own = s->sock;

	if (!host->close(host->arg, &s->lease, own->watch->fd, closes) && !closes)
		return false;
	want_no_more(s);
	sl_timer_cancel(&s->timer);
	sl_list_remove(&s->node);
	count_unread(s, 0);
	own->splice = NULL;
	free(s);
	return true;
}

void sl_splice_close(struct sl_sock *own)
{
	struct sl_splice *s = own->splice;

	if (!s)
		return;
	if (s->state == SL_SPLICE_IN || s->state == SL_SPLICE_LEAVING)
		count_in(s, -1);
	(void)end(s, true); /* always true */
}

/* TCP's for good; the kernel's part ends as soon as it can. */
static void settle_down(struct sl_splice *s)
{
	move(s, SL_SPLICE_OUT);
	want_no_more(s);
	sl_timer_cancel(&s->timer);
	list_in(&s->proxy->splice_quiet, s);
	count_unread(s, 0);
}

/* The kernel does not have it, and shall not get it. */
static void give_up(struct sl_splice *s, enum sl_splice_why why)
{
	sl_splice_never(s->proxy, s->sock, why);
	if (!end(s, false))
		settle_down(s);
}

/* ---- the question ---- */

static uint32_t cell(const struct sl_splice *s)
{
	return __atomic_load_n(s->lease.state, __ATOMIC_ACQUIRE);
}

static bool cell_change(struct sl_splice *s, uint32_t from, uint32_t to)
{
	return __atomic_compare_exchange_n(s->lease.state, &from, to, false, __ATOMIC_SEQ_CST,
					   __ATOMIC_ACQUIRE);
}

static void become_in(struct sl_splice *s)
{
	want_no_more(s);
	move(s, SL_SPLICE_IN);
	list_in(&s->proxy->splice_quiet, s);
	s->in_since_ns = sl_loop_now(s->proxy->loop);
	sl_metrics_inc(s->proxy->metrics, s->hop == SL_SPLICE_CLIENT ? SL_COUNTER_SPLICED_CLIENT
								     : SL_COUNTER_SPLICED_ENDPOINT);
	count_in(s, 1);
}

/*
 * What became of the question, without asking on: afterwards the hop is a candidate, IN, gone (NULL
 * is returned), or still ASKED for the microseconds in which the kernel looks.
 */
static struct sl_splice *settle(struct sl_splice *s)
{
	struct sl_sock *own = s->sock;

	if (s->state != SL_SPLICE_ASKED)
		return s;
	if (cell_change(s, SL_SPLICE_CELL_ASK, SL_SPLICE_CELL_IDLE)) {
		move(s, SL_SPLICE_CANDIDATE);
		list_in(&s->proxy->splice_quiet, s);
	} else if (cell(s) == SL_SPLICE_CELL_IN) {
		become_in(s);
	} else if (cell(s) == SL_SPLICE_CELL_REFUSED) {
		give_up(s, s->proxy->host.splice.why(&s->lease));
	}
	if (own->splice && s->state == SL_SPLICE_CANDIDATE && s->leave)
		give_up(s, s->leave);
	return own->splice;
}

void sl_splice_rest(struct sl_sock *own)
{
	struct sl_splice *s = own->splice;

	if (s->state != SL_SPLICE_CANDIDATE || own->n_sent == s->sent_before || !want(s))
		return;
	move(s, SL_SPLICE_ASKED);
	list_in(&s->proxy->splice_asking, s);
	__atomic_store_n(s->lease.state, SL_SPLICE_CELL_ASK, __ATOMIC_SEQ_CST);
}

/* ---- out of it ---- */

static void become_out(struct sl_splice *s)
{
	struct sl_metrics_shard *m = s->proxy->metrics;

	count_in(s, -1);
	settle_down(s);
	s->sock->splice_why = s->leave;
	s->sock->was_spliced = true;
	sl_metrics_splice_left(m, s->leave);
	if (s->leave == SL_SPLICE_TOTAL)
		sl_metrics_limit(m, SL_LIMIT_SPLICE_TOTAL_BYTES);
	else if (s->leave == SL_SPLICE_LENGTH || s->leave == SL_SPLICE_BUDGET)
		sl_metrics_limit(m, SL_LIMIT_SPLICE_BYTES);
}

static uint64_t app_seen(const struct sl_splice *s)
{
	return __atomic_load_n(s->lease.app_seen, __ATOMIC_ACQUIRE);
}

/* Nothing is sent from here until the app is out. */
static void go_out(struct sl_splice *s)
{
	const struct sl_splice_host *host = &s->proxy->host.splice;

	/* Mostly: it has just asked what is to be answered, and had read everything before. */
	if (app_seen(s) == s->sock->n_sent && !host->take_out(host->arg, &s->lease)) {
		__atomic_store_n(s->lease.state, SL_SPLICE_CELL_OUT, __ATOMIC_RELEASE);
		become_out(s);
		return;
	}
	move(s, SL_SPLICE_LEAVING);
	sl_timer_cancel(&s->timer);
	list_in(&s->proxy->splice_asking, s);
	__atomic_store_n(s->lease.state, SL_SPLICE_CELL_ASK_OUT, __ATOMIC_RELEASE);
	look(s);
}

static uint64_t unread_cost(const struct sl_splice *s)
{
	uint64_t unread = s->sock->n_sent - app_seen(s);

	return unread ? unread + s->n_messages * MESSAGE_COST : 0;
}

static uint64_t n_messages(uint64_t n_bytes)
{
	return 1 + n_bytes / MESSAGE_BYTES;
}

/* Why n bytes more must not be redirected. */
static enum sl_splice_why misfit(struct sl_splice *s, uint64_t n)
{
	const struct sl_proxy_opts *opts = &s->proxy->opts;

	if (__atomic_load_n(s->lease.unfit, __ATOMIC_ACQUIRE))
		return s->proxy->host.splice.why(&s->lease);
	count_unread(s, unread_cost(s));
	if (!s->counted)
		s->n_messages = 0;
	if (n > opts->splice_bytes)
		return SL_SPLICE_BUDGET; /* also where the sum would overflow */
	n += n_messages(n) * MESSAGE_COST;
	if (s->counted + n > opts->splice_bytes)
		return SL_SPLICE_BUDGET;
	return s->proxy->splice_unread + n > opts->splice_total_bytes ? SL_SPLICE_TOTAL
								      : SL_SPLICE_NONE;
}

/* A pass, or a close(2) with something unread: TCP then says what there is to say about it. */
static bool is_out(struct sl_splice *s)
{
	const struct sl_splice_host *host = &s->proxy->host.splice;

	if (cell(s) == SL_SPLICE_CELL_OUT)
		return true;
	if (!s->sock->hangup || host->has_app(host->arg, &s->lease))
		return false;
	__atomic_store_n(s->lease.state, SL_SPLICE_CELL_OUT, __ATOMIC_SEQ_CST);
	return true;
}

size_t sl_splice_clear(struct sl_sock *own, size_t n)
{
	struct sl_splice *s = settle(own->splice);

	if (!s)
		return n;
	switch (s->state) {
	case SL_SPLICE_IN:
		if (!s->leave)
			s->leave = misfit(s, n);
		if (!s->leave)
			return n;
		go_out(s);
		return s->state == SL_SPLICE_OUT ? n : 0;
	case SL_SPLICE_LEAVING:
		if (!is_out(s))
			return 0;
		become_out(s);
		return n;
	case SL_SPLICE_ASKED:
		return 0;
	case SL_SPLICE_OUT:
		(void)end(s, false); /* or the next time */
		break;
	case SL_SPLICE_CANDIDATE:
		break;
	}
	return n;
}

void sl_splice_announce(struct sl_sock *own, uint64_t n_body)
{
	struct sl_splice *s = own->splice ? settle(own->splice) : NULL;
	enum sl_splice_why why;

	if (!s || s->state != SL_SPLICE_IN || s->leave)
		return;
	why = misfit(s, n_body);
	s->leave = why == SL_SPLICE_BUDGET ? SL_SPLICE_LENGTH : why;
}

void sl_splice_leave(struct sl_sock *own, enum sl_splice_why why)
{
	struct sl_splice *s = own->splice ? settle(own->splice) : NULL;

	if (!s) {
		if (!own->splice_why)
			own->splice_why = why;
		return;
	}
	if (s->state == SL_SPLICE_CANDIDATE)
		give_up(s, why);
	else if (!s->leave)
		s->leave = why;
}

bool sl_splice_part(struct sl_sock *own)
{
	struct sl_splice *s;

	if (own->splice)
		sl_splice_leave(own, SL_SPLICE_UPGRADE);
	s = own->splice;
	if (s && s->state == SL_SPLICE_IN)
		go_out(s);
	if (s && s->state == SL_SPLICE_LEAVING && is_out(s))
		become_out(s);
	if (s && s->state == SL_SPLICE_OUT)
		(void)end(s, false); /* or when what was redirected to us has been read */
	return !own->splice;
}

/* ---- what the socket tells ---- */

void sl_splice_sent(struct sl_sock *own)
{
	struct sl_splice *s = own->splice;

	uint64_t n = own->n_sent - s->lease_done;

	s->lease_done = own->n_sent;
	__atomic_store_n(s->lease.done, own->n_sent, __ATOMIC_RELEASE);
	if (s->state != SL_SPLICE_IN)
		return;
	s->n_messages += n_messages(n);
	s->busy_ms = 0;
	count_unread(s, unread_cost(s));
}

bool sl_splice_is_busy(struct sl_sock *own, int err)
{
	struct sl_splice *s = own->splice;
	struct sl_loop *loop = s->proxy->loop;
	uint32_t n_waits = __atomic_load_n(s->lease.waits, __ATOMIC_ACQUIRE);
	bool locked = err == EPIPE && n_waits != s->n_waits;

	/* EPIPE is our program's word too, for an app that holds its lock, which a redirect would
	 * wait for; ENOMEM the kernel's for a Pod that may use no more memory, EAGAIN for a node:
	 * no event follows, as nothing of ours is queued. */
	s->n_waits = n_waits;
	if (s->state != SL_SPLICE_IN || (!locked && err != ENOMEM && err != EAGAIN))
		return false;
	s->busy_ms = s->busy_ms ? 2 * s->busy_ms : 1;
	if (s->busy_ms > MAX_BUSY_MS && !s->leave)
		s->leave = locked ? SL_SPLICE_LOCKED : SL_SPLICE_CROWDED;
	sl_timer_arm(loop, &s->timer, sl_loop_now(loop) + s->busy_ms * SL_NS_PER_MS);
	return true;
}

void sl_splice_received(struct sl_sock *own)
{
	struct sl_splice *s = own->splice;

	__atomic_store_n(s->lease.taken, own->n_received, __ATOMIC_RELEASE);
}

bool sl_splice_may_hold_more(const struct sl_sock *own)
{
	const struct sl_splice *s = own->splice;

	/* Before it is known to be IN, and as soon as it may be out, its TCP bytes are counted by
	 * nobody, and their edge may have been that of redirected ones. */
	if (s->state != SL_SPLICE_IN)
		return s->state != SL_SPLICE_CANDIDATE;
	if (sl_loop_now(s->proxy->loop) - s->in_since_ns < UNCOUNTED_NS)
		return true;
	/* The app's program counts before its bytes can be seen: what was not counted yet makes an
	 * edge of its own. */
	return __atomic_load_n(s->lease.app_sent, __ATOMIC_ACQUIRE) > own->n_received;
}

/* ---- after a pass ---- */

static void passed(struct sl_splice *s)
{
	struct sl_sock *own = s->sock;

	if (s->state == SL_SPLICE_LEAVING) {
		if (is_out(s))
			become_out(s);
		else
			look_later(s);
	} else if (s->state == SL_SPLICE_ASKED && cell(s) != SL_SPLICE_CELL_ASK) {
		(void)settle(s); /* own tells what is left of it */
	} else if (++s->n_passes >= MAX_PASSES) {
		s = settle(s);
		if (s && s->state == SL_SPLICE_CANDIDATE)
			give_up(s, s->proxy->host.splice.why(&s->lease));
	}
	if (own->splice ? own->splice->leave == SL_SPLICE_UPGRADE
			: own->splice_why == SL_SPLICE_UPGRADE)
		own->watch->fn(own->watch, 0); /* it waits to be given */
	else
		wake(own);
}

void sl_proxy_splice_passed(struct sl_proxy *p, uint64_t app_netns)
{
	sl_list_foreach_safe (n, &p->splice_asking) {
		struct sl_splice *s = sl_container_of(n, struct sl_splice, node);

		if (s->app_netns == app_netns)
			passed(s);
	}
}

const char *sl_splice_state_name(const struct sl_sock *own)
{
	static const char *const names[] = {
		[SL_SPLICE_CANDIDATE] = "candidate",
		[SL_SPLICE_ASKED] = "candidate",
		[SL_SPLICE_IN] = "spliced",
		[SL_SPLICE_LEAVING] = "leaving",
	};

	if (own->splice && own->splice->state != SL_SPLICE_OUT)
		return names[own->splice->state];
	return own->was_spliced ? "left" : "plain";
}
