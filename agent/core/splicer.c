/* SPDX-License-Identifier: Apache-2.0 */
#include "core/splicer.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "core/passer.h"
#include "core/state.h"
#include "datapath/hops.h"

/*
 * What passes may cost: credit grows with a hundredth of the time, each takes what it cost from it,
 * none begins without any. Somebody who waits goes into debt, at twenty times what a pass costs.
 */
#define MAX_CREDIT_NS ((int64_t)(200 * SL_NS_PER_MS))
/* Those who wait must not keep others out for longer than two seconds. */
#define MAX_DEBT_NS ((int64_t)(20 * SL_NS_PER_MS))
#define GAP_NS	    (10 * SL_NS_PER_MS) /* of one namespace */
enum { CREDIT_SHARE = 100, HURRY_FACTOR = 20 };

/* A pass that takes so long waits for somebody who holds his socket's lock: no more passes there
 * until it is back, and others go on in another thread, up to that many. */
#define STUCK_NS SL_NS_PER_S
enum { MAX_STUCK = 4 };

/* Passes that found nobody until the namespace is forgotten: a worker that had no memory to say so
 * wants them no more. */
enum { MAX_EMPTY = 200 };

/* What an own socket that is closed may still have in its queue is thrown away. */
enum { MAX_DRAINS = 64, DRAIN_BYTES = 16384 };

_Static_assert((int)SL_SPLICE_CELL_IDLE == SL_HOP_IDLE && (int)SL_SPLICE_CELL_ASK == SL_HOP_ASK &&
		       (int)SL_SPLICE_CELL_LOOKING == SL_HOP_LOOKING &&
		       (int)SL_SPLICE_CELL_IN == SL_HOP_IN &&
		       (int)SL_SPLICE_CELL_REFUSED == SL_HOP_REFUSED &&
		       (int)SL_SPLICE_CELL_ASK_OUT == SL_HOP_ASK_OUT &&
		       (int)SL_SPLICE_CELL_OUT == SL_HOP_OUT,
	       "the proxy knows the states of a hop");

/* A network namespace with apps that are asked for. */
struct netns {
	uint64_t cookie;
	unsigned n_workers; /* that want passes */
	unsigned n_empty;   /* passes in a row that found nobody */
	bool hurry;
	bool stuck;	 /* a pass is under way and does not end */
	uint64_t due_ns; /* not before */
};

/* A pass that is under way, in the one thread for it or in one that is stuck. */
struct walk {
	struct sl_pass pass;
	struct sl_splicer *splicer;
	uint64_t cookie, begun_ns;
};

struct worker {
	struct sl_splicer *splicer;
	uint32_t index;
};

struct sl_splicer {
	struct sl_control *control;
	struct sl_hops *hops;
	struct sl_watch events;
	struct sl_timer timer;
	struct sl_map wanted;	  /* cookie -> struct netns */
	struct sl_passer *passer; /* NULL: too many are stuck */
	struct walk *walk;	  /* of it; NULL: none */
	unsigned n_stuck;
	int64_t credit_ns;
	uint64_t credit_at_ns; /* as of then */
	uint64_t hurry_due_ns; /* not before for somebody who waits */
	struct sl_splicer_stats stats;
	bool vouched_only;
	struct worker workers[];
};

/* ---- in the workers ---- */

static uint32_t *state_of(struct sl_hop *hop)
{
	return (uint32_t *)&hop->state; /* an enum of four bytes: asserted in abi.h */
}

static int open_hop(void *arg, int own, enum sl_splice_hop hop, uint64_t app_netns, uint64_t taken,
		    uint64_t done, struct sl_splice_lease *ret)
{
	const struct worker *w = arg;
	_cleanup_(sl_freep) struct sl_hop_lease *l = sl_new(struct sl_hop_lease);
	int r;

	if (!l)
		return -ENOMEM;
	r = sl_hops_lease(w->splicer->hops, w->index, own, hop == SL_SPLICE_ENDPOINT, app_netns,
			  taken, done, l);
	if (r)
		return r;
	*ret = (struct sl_splice_lease){
		.state = state_of(l->hop),
		.taken = (uint64_t *)&l->hop->taken,
		.done = (uint64_t *)&l->hop->done,
		.app_sent = (const uint64_t *)&l->hop->app_sent,
		.app_seen = (const uint64_t *)&l->hop->app_seen,
		.app_cookie = (const uint64_t *)&l->hop->app_cookie,
		.waits = &l->hop->own_waits,
		.unfit = &l->hop->app_unfit,
		.host = l,
	};
	(void)sl_take(l);
	return 0;
}

/* Returns false when there was nothing. */
static bool drain(int own)
{
	char bytes[DRAIN_BYTES]; /* without a buffer it is EFAULT, unlike TCP */

	return recv(own, bytes, sizeof(bytes), MSG_DONTWAIT) > 0;
}

/* closes: a send of the app that still found own in the map could fail. */
static bool close_hop(void *arg, const struct sl_splice_lease *lease, int own, bool closes)
{
	const struct worker *w = arg;
	struct sl_hop_lease *l = lease->host;

	if (!sl_hops_shut(l)) {
		if (!closes)
			return false;
		for (int i = 0; i < MAX_DRAINS && drain(own); i++)
			;
	}
	sl_hops_release(w->splicer->hops, l, own, !closes);
	free(l);
	return true;
}

static int take_out(void *arg, const struct sl_splice_lease *lease)
{
	const struct worker *w = arg;

	return sl_hops_take_out(w->splicer->hops, lease->host);
}

static bool has_app(void *arg, const struct sl_splice_lease *lease)
{
	const struct worker *w = arg;

	return sl_hops_has_app(w->splicer->hops, lease->host);
}

static enum sl_splice_why why_unfit(uint32_t bits)
{
	static const enum sl_splice_why whys[SL_UNFIT_MAX] = {
		[SL_UNFIT_BIT_BLOCKING] = SL_SPLICE_BLOCKING,
		[SL_UNFIT_BIT_ZEROCOPY] = SL_SPLICE_ZEROCOPY,
		[SL_UNFIT_BIT_LOW_WATER] = SL_SPLICE_LOW_WATER,
		[SL_UNFIT_BIT_ULP] = SL_SPLICE_ULP,
		[SL_UNFIT_BIT_URGENT] = SL_SPLICE_URGENT,
		[SL_UNFIT_BIT_PEEK_OFF] = SL_SPLICE_PEEK_OFF,
		[SL_UNFIT_BIT_TIMESTAMPS] = SL_SPLICE_TIMESTAMPS,
		[SL_UNFIT_BIT_INQUIRY] = SL_SPLICE_INQUIRY,
		[SL_UNFIT_BIT_FILTER] = SL_SPLICE_FILTER,
		[SL_UNFIT_BIT_ORPHAN] = SL_SPLICE_ORPHAN,
		[SL_UNFIT_BIT_SPLICE] = SL_SPLICE_PROGRAM,
	};
	unsigned bit = (unsigned)__builtin_ctz(bits);

	return bit < SL_UNFIT_MAX ? whys[bit] : SL_SPLICE_ERROR;
}

static enum sl_splice_why why(const struct sl_splice_lease *lease)
{
	static const enum sl_splice_why whys[SL_HOP_VERDICT_MAX] = {
		[SL_HOP_NONE_VERDICT] = SL_SPLICE_NOT_FOUND,
		[SL_HOP_TAKEN_IN_VERDICT] = SL_SPLICE_BUSY,
		[SL_HOP_NOT_EMPTY_VERDICT] = SL_SPLICE_BUSY,
		[SL_HOP_UNNUMBERED_VERDICT] = SL_SPLICE_BUSY,
		[SL_HOP_TAKEN_OUT_VERDICT] = SL_SPLICE_BUSY,
		[SL_HOP_UNFIT_VERDICT] = SL_SPLICE_ERROR,
		[SL_HOP_PROGRAM_VERDICT] = SL_SPLICE_PROGRAM,
		[SL_HOP_STRANGER_VERDICT] = SL_SPLICE_NOT_FOUND,
		[SL_HOP_STATE_VERDICT] = SL_SPLICE_CLOSING,
		[SL_HOP_FOREIGN_VERDICT] = SL_SPLICE_FOREIGN,
		[SL_HOP_FULL_VERDICT] = SL_SPLICE_NO_SLOT,
		[SL_HOP_MEMORY_VERDICT] = SL_SPLICE_MEMORY,
	};
	const struct sl_hop *hop = ((const struct sl_hop_lease *)lease->host)->hop;
	uint32_t unfit = __atomic_load_n(&hop->app_unfit, __ATOMIC_ACQUIRE);
	uint32_t verdict = __atomic_load_n((const uint32_t *)&hop->verdict, __ATOMIC_ACQUIRE);

	if (unfit)
		return why_unfit(unfit);
	return verdict < SL_HOP_VERDICT_MAX ? whys[verdict] : SL_SPLICE_ERROR;
}

struct wish {
	struct sl_mail mail;
	struct sl_splicer *splicer;
	uint64_t cookie;
	int change; /* of the number of workers that want passes; 0: hurry */
};

static void on_wish(struct sl_mail *m);

static int send_wish(const struct worker *w, uint64_t cookie, int change)
{
	struct wish *wish = sl_new(struct wish);

	if (!wish)
		return -ENOMEM;
	*wish = (struct wish){
		.mail.fn = on_wish, .splicer = w->splicer, .cookie = cookie, .change = change};
	sl_mailbox_post(w->splicer->control->mailbox, &wish->mail);
	return 0;
}

static int wanted(void *arg, uint64_t app_netns, bool wanted)
{
	return send_wish(arg, app_netns, wanted ? 1 : -1);
}

static int hurry(void *arg, uint64_t app_netns)
{
	return send_wish(arg, app_netns, 0);
}

struct sl_splice_host sl_splicer_host(struct sl_splicer *s, uint32_t worker)
{
	if (!s)
		return (struct sl_splice_host){0};
	return (struct sl_splice_host){
		.arg = &s->workers[worker],
		.vouched_only = s->vouched_only,
		.open = open_hop,
		.close = close_hop,
		.take_out = take_out,
		.has_app = has_app,
		.why = why,
		.wanted = wanted,
		.hurry = hurry,
	};
}

/* ---- passes, in the control thread ---- */

static uint64_t later(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static void grow_credit(struct sl_splicer *s)
{
	uint64_t now = sl_clock_now_ns();

	s->credit_ns += (int64_t)((now - s->credit_at_ns) / CREDIT_SHARE);
	s->credit_at_ns = now;
	if (s->credit_ns > MAX_CREDIT_NS)
		s->credit_ns = MAX_CREDIT_NS;
}

static uint64_t due(const struct sl_splicer *s, const struct netns *n)
{
	uint64_t credit_due_ns = s->credit_at_ns;

	if (n->hurry)
		return s->hurry_due_ns;
	if (s->credit_ns < 0)
		credit_due_ns += (uint64_t)-s->credit_ns * CREDIT_SHARE;
	return later(n->due_ns, credit_due_ns);
}

static struct netns *most_due(const struct sl_splicer *s)
{
	struct netns *n, *best = NULL;
	size_t pos = 0;

	while ((n = sl_map_next(&s->wanted, &pos, NULL))) {
		if (!n->stuck && (!best || due(s, n) < due(s, best)))
			best = n;
	}
	return best;
}

static void forget(struct sl_splicer *s, struct netns *n)
{
	(void)sl_map_del(&s->wanted, SL_KEY(&n->cookie)); /* it is there */
	free(n);
}

static void schedule(struct sl_splicer *s)
{
	const struct netns *n = s->passer && !s->walk ? most_due(s) : NULL;

	if (s->walk)
		sl_timer_arm(s->control->loop, &s->timer, s->walk->begun_ns + STUCK_NS);
	else if (n)
		sl_timer_arm(s->control->loop, &s->timer, due(s, n));
	else
		sl_timer_cancel(&s->timer);
}

static void tell_workers(struct sl_splicer *s, uint64_t cookie)
{
	struct sl_control *c = s->control;

	for (uint32_t i = 0; i < c->n_workers; i++)
		(void)sl_worker_splice_passed(c->workers[i], cookie); /* or after the next pass */
}

static void complain(const struct walk *w, int error)
{
	static struct sl_log_limit limit;
	uint64_t skipped;

	if (sl_log_allowed(&limit, sl_loop_now(w->splicer->control->loop), &skipped))
		sl_warn("cannot look at the sockets of a network namespace netns=\"%s\": %s "
			"skipped=%llu",
			w->pass.source->name, sl_strerror(error), (unsigned long long)skipped);
}

static void settle(struct sl_splicer *s, struct netns *n, const struct walk *w)
{
	uint64_t now = sl_clock_now_ns();

	n->stuck = false;
	n->due_ns = now + GAP_NS;
	n->n_empty = w->pass.result.n_seen ? 0 : n->n_empty + 1;
	if ((!n->n_workers && !n->hurry) || n->n_empty >= MAX_EMPTY)
		forget(s, n);
}

static void on_pass(struct sl_pass *pass)
{
	struct walk *w = sl_container_of(pass, struct walk, pass);
	struct sl_splicer *s = w->splicer;
	struct netns *n = sl_map_get(&s->wanted, SL_KEY(&w->cookie));
	uint64_t took_ns = pass->result.took_ns;

	if (w == s->walk) {
		s->walk = NULL;
		grow_credit(s);
		s->credit_ns -= (int64_t)took_ns;
		if (s->credit_ns < -MAX_DEBT_NS)
			s->credit_ns = -MAX_DEBT_NS;
		s->hurry_due_ns = sl_clock_now_ns() + HURRY_FACTOR * took_ns;
		s->stats.passes_ns += took_ns;
	} else {
		/* It was stuck. */
		s->n_stuck--;
		(void)sl_passer_free(pass->passer); /* it has just finished */
	}
	s->stats.n_passes++;
	s->stats.n_looks += pass->result.n_seen;
	if (pass->error)
		complain(w, pass->error);
	if (n)
		settle(s, n, w);
	if (!s->control->stopping) {
		tell_workers(s, w->cookie);
		schedule(s);
	}
	sl_source_unref(pass->source);
	free(w);
}

static void begin(struct sl_splicer *s, struct netns *n)
{
	const struct sl_served *served = sl_map_get(&s->control->served, SL_KEY(&n->cookie));
	struct walk *w;

	if (!served) {
		tell_workers(s, n->cookie);
		forget(s, n);
		return;
	}
	n->due_ns = sl_clock_now_ns() + GAP_NS;
	w = sl_new(struct walk);
	if (!w) {
		s->hurry_due_ns = n->due_ns; /* at its next turn */
		return;
	}
	n->hurry = false;
	w->splicer = s;
	w->cookie = n->cookie;
	w->begun_ns = sl_clock_now_ns();
	w->pass.source = sl_source_ref(served->source);
	w->pass.fn = on_pass;
	s->walk = w;
	sl_passer_begin(s->passer, &w->pass);
}

/* An application may hold its socket for as long as it likes, but not others up. */
static void get_unstuck(struct sl_splicer *s)
{
	struct netns *n = sl_map_get(&s->wanted, SL_KEY(&s->walk->cookie));
	int r = 0;

	if (n)
		n->stuck = true;
	sl_warn("an application holds one of its sockets: nothing is spliced in its network "
		"namespace until it lets go netns=\"%s\"",
		s->walk->pass.source->name);
	s->walk = NULL;
	s->passer = NULL;
	if (++s->n_stuck <= MAX_STUCK)
		r = sl_passer_new(s->hops, s->control->mailbox, &s->passer);
	if (!s->passer)
		sl_error("splicing goes on for those that are spliced only: %s",
			 r ? sl_strerror(r) : "too many applications hold their sockets");
}

static void on_timer(struct sl_timer *t)
{
	struct sl_splicer *s = sl_container_of(t, struct sl_splicer, timer);
	uint64_t now = sl_loop_now(s->control->loop);
	struct netns *n;

	if (s->walk && now >= s->walk->begun_ns + STUCK_NS)
		get_unstuck(s);
	n = s->passer && !s->walk ? most_due(s) : NULL;
	if (n && due(s, n) <= now)
		begin(s, n);
	schedule(s);
}

static struct netns *netns_get(struct sl_splicer *s, uint64_t cookie)
{
	struct netns *n = sl_map_get(&s->wanted, SL_KEY(&cookie));

	if (n)
		return n;
	n = sl_new(struct netns);
	if (!n)
		return NULL;
	n->cookie = cookie;
	if (sl_map_put(&s->wanted, SL_KEY(&n->cookie), n, NULL)) {
		free(n);
		return NULL;
	}
	return n;
}

static void on_wish(struct sl_mail *m)
{
	struct wish *wish = sl_container_of(m, struct wish, mail);
	struct sl_splicer *s = wish->splicer;
	struct netns *n;

	if (s->control->stopping) {
		free(wish);
		return;
	}
	n = wish->change < 0 ? sl_map_get(&s->wanted, SL_KEY(&wish->cookie))
			     : netns_get(s, wish->cookie);
	if (n && wish->change < 0) {
		if (n->n_workers && !--n->n_workers && !n->hurry && !n->stuck)
			forget(s, n);
	} else if (n && wish->change) {
		n->n_workers++;
		n->n_empty = 0;
	} else if (n) {
		n->hurry = true;
	}
	free(wish);
	schedule(s);
}

/* ---- splice(2) was seen ---- */

static void on_seen(void *arg, const struct sl_splice_event *ev)
{
	struct sl_splicer *s = arg;
	struct sl_control *c = s->control;

	sl_warn("a program reads sockets with splice(2), its connections stay on TCP from now on "
		"pid=%u program=\"%.16s\"",
		ev->pid, ev->comm);
	for (uint32_t i = 0; i < c->n_workers; i++) {
		if (sl_worker_splice_cut(c->workers[i], ev->cookie))
			sl_error("out of memory, worker %u may keep a connection that hangs", i);
	}
}

static void on_events(struct sl_watch *w, uint32_t events)
{
	struct sl_splicer *s = sl_container_of(w, struct sl_splicer, events);
	int r = sl_hops_events_consume(s->hops, on_seen, s);

	if (r < 0)
		sl_error("cannot read the kernel's events about splice(2): %s", sl_strerror(r));
}

/* ---- life ---- */

struct sl_splicer_stats sl_splicer_stats(const struct sl_splicer *s)
{
	return s->stats;
}

static int open_hops(struct sl_splicer *s, char *err, size_t len)
{
	struct sl_control *c = s->control;
	struct sl_hops_opts opts = {.n_workers = c->opts->n_workers, .without_detector = true};
	enum sl_detector detector;
	struct sl_hops_report report = {0};
	int r = sl_hops_open(c->datapath, &opts, &s->hops, &report);

	(void)snprintf(err, len, "%s", report.message);
	if (r)
		return r;
	detector = sl_hops_detector(s->hops);
	s->stats.detector = sl_detector_name(detector);
	s->vouched_only = c->opts->splice == SL_SPLICE_VOUCHED ||
			  (detector == SL_DETECTOR_NONE && c->opts->splice == SL_SPLICE_ON);
	return 0;
}

int sl_splicer_open(struct sl_control *c, struct sl_splicer **ret, char *off, size_t len)
{
	struct sl_splicer *s;
	int r;

	if (c->opts->splice == SL_SPLICE_MODE_OFF) {
		r = sl_hops_remove(c->datapath);
		if (r)
			sl_warn("cannot take away what an agent that spliced left: %s",
				sl_strerror(r));
		(void)snprintf(off, len, "--splice off, which is the default");
		return 0;
	}
	s = sl_calloc(1, sizeof(*s) + c->opts->n_workers * sizeof(*s->workers));
	if (!s)
		return -ENOMEM;
	s->control = c;
	s->events = SL_WATCH_INIT;
	s->timer = SL_TIMER_INIT(on_timer);
	for (uint32_t i = 0; i < c->opts->n_workers; i++)
		s->workers[i] = (struct worker){.splicer = s, .index = i};
	s->credit_ns = MAX_CREDIT_NS;
	s->credit_at_ns = sl_clock_now_ns();
	r = open_hops(s, off, len);
	if (!r)
		r = sl_passer_new(s->hops, c->mailbox, &s->passer);
	if (!r)
		r = sl_watch_add(c->loop, &s->events, sl_hops_events_fd(s->hops), EPOLLIN,
				 on_events);
	if (r) {
		sl_info("splicing is off: %s", off);
		(void)sl_splicer_stop(s); /* no pass is under way */
		sl_splicer_close(s);
		return r == -ENOMEM ? r : 0;
	}
	sl_info("splicing is on detector=%s%s", s->stats.detector,
		s->vouched_only ? ", for programs that an annotation vouches for" : "");
	*ret = s;
	return 0;
}

bool sl_splicer_stop(struct sl_splicer *s)
{
	if (!s)
		return true;
	sl_timer_cancel(&s->timer);
	if (s->passer && !sl_passer_free(s->passer))
		return false;
	s->passer = NULL;
	return !s->n_stuck;
}

void sl_splicer_close(struct sl_splicer *s)
{
	struct netns *n;
	size_t pos = 0;

	if (!s)
		return;
	sl_watch_remove(&s->events);
	while ((n = sl_map_next(&s->wanted, &pos, NULL)))
		free(n);
	sl_map_deinit(&s->wanted);
	sl_hops_close(s->hops);
	free(s);
}
