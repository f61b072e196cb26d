/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The new process's side. The offer is taken before there is a loop (takeover_offer.c), then:
 *
 *   PREPARING ─snapshot in force─► ASKING ─go─► ACTING ─yours─► TAKING ─bye─►
 *       └───────── the old process died ─────────┘
 *
 * Up to GO nothing is changed that the old process uses, so that ending is all that has to be done
 * when something fails. Up to YOURS nothing is accepted, so that nothing is lost with this process.
 */
#include <errno.h>
#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "core/takeover_state.h"

#define GO_NS (10 * SL_NS_PER_S)
/* The old process acts again when we did not say ACTIVE in time: who comes back to life later than
 * this must not act. Well below its ACTIVE_NS. */
#define GO_VALID_NS   (5 * SL_NS_PER_S)
#define LOCK_RETRY_NS (20 * SL_NS_PER_MS)
#define LOCK_NS	      (10 * SL_NS_PER_S) /* a process that was killed takes apart its memory */
/* An old process that does not say so in that time is stuck, and accepts nothing either. */
#define YOURS_NS (2 * SL_NS_PER_S)
#define ACK_NS	 SL_NS_PER_S

static void fail(struct sl_takeover *t, int error, const char *why)
{
	struct sl_control *c = t->control;
	struct sl_wire_out o = {0};

	sl_error("cannot take over: %s", why);
	if (t->channel) {
		sl_wire_put_text(&o, SL_WIRE_REFUSE, why);
		(void)sl_channel_send(t->channel, &o, NULL, 0); /* our end tells it as well */
	}
	/* The old process goes on with these. */
	if (c->datapath)
		sl_datapath_pause(c->datapath);
	c->passive = true;
	if (c->admin)
		sl_admin_leave(c->admin);
	sl_handover_leave(c);
	c->error = error;
	sl_loop_stop(c->loop);
}

static void died(struct sl_takeover *t)
{
	sl_warn("the process that was to hand over has gone, going on without it");
	t->channel = sl_channel_free(t->channel);
	t->died_ns = sl_clock_now_ns();
}

static void on_timer(struct sl_timer *timer);

int sl_takeover_begin(struct sl_control *c)
{
	struct sl_takeover *t;
	int fd = -1;
	int r = sl_takeover_dial(c->opts, &fd);

	if (r == SL_TAKEOVER_NOBODY)
		return r;
	if (r) {
		sl_error("cannot reach the sluiced that runs: %s", sl_strerror(r));
		return r;
	}
	t = sl_new(struct sl_takeover);
	if (!t) {
		(void)close(fd); /* nothing was said */
		return -ENOMEM;
	}
	t->control = c;
	t->handover_fd = t->lock = -1;
	t->timer = SL_TIMER_INIT(on_timer);
	c->takeover = t;
	r = sl_channel_new(fd, &t->channel);
	if (!r)
		r = sl_takeover_say_hello(t);
	if (!r)
		r = sl_takeover_receive_offer(t);
	if (r == -EPIPE)
		died(t);
	else if (r != SL_OFFER_COMPLETE) {
		sl_error("cannot take over from the sluiced that runs: %s", sl_strerror(r));
		return r;
	}
	c->passive = true;
	return 0;
}

bool sl_takeover_claim(struct sl_control *c, struct sl_served *s)
{
	struct sl_inherited *in =
		c->takeover ? sl_map_del(&c->takeover->sources, SL_KEY(&s->source->cookie)) : NULL;

	if (!in)
		return false;
	s->port4 = in->port4;
	s->port6 = in->port6;
	s->n_addr4 = in->n_addr4 ? in->n_addr4 : 1;
	s->n_fds = in->n_fds;
	memcpy(s->fds, in->fds, in->n_fds * sizeof(*in->fds));
	free(in);
	return s->n_fds > 0;
}

static void free_sources(struct sl_takeover *t)
{
	struct sl_inherited *in;
	size_t pos = 0;

	while ((in = sl_map_next(&t->sources, &pos, NULL))) {
		while (in->n_fds)
			sl_closep(&in->fds[--in->n_fds]);
		free(in);
	}
	sl_map_deinit(&t->sources);
}

/* ---- acting ---- */

static void done(struct sl_takeover *t)
{
	atomic_store(&t->knows, false);
	t->channel = sl_channel_free(t->channel);
	sl_info("took over connections=%zu pooled=%zu", t->n_conns, t->n_pooled);
}

/* From here on this process is the one that serves. */
static void accept_all(struct sl_takeover *t)
{
	sl_info("serving in place of the process before");
	t->stage = TAKING;
	sl_timer_cancel(&t->timer);
	t->control->waiting = false;
	sl_served_give_all(t->control);
	if (!t->channel)
		done(t);
}

/* Everything is ready, and kernel and listeners are ours. Returns NULL, or what failed. */
static const char *act(struct sl_takeover *t)
{
	struct sl_control *c = t->control;

	/* What of the old process's namespaces was not claimed is served no more. */
	free_sources(t);
	c->passive = false;
	c->waiting = true;
	/* First what may well fail, as nobody notices it then. */
	if (sl_views_open(c))
		return "the sockets for sluicectl and metrics cannot be had";
	if (sl_handover_open(c, sl_take_fd(&t->handover_fd)))
		return "the handover socket cannot be had";
	if (sl_control_attend(c))
		return "out of memory";
	if (sl_control_act(c, sl_take_fd(&t->lock)))
		return "the datapath cannot be had";
	atomic_store(&t->knows, t->channel && sl_datapath_is_other_abi(c->datapath));
	return NULL;
}

static void arm(struct sl_takeover *t, uint64_t ns)
{
	sl_timer_arm(t->control->loop, &t->timer, sl_loop_now(t->control->loop) + ns);
}

static void begin_to_act(struct sl_takeover *t)
{
	struct sl_wire_out o = {0};
	const char *why;

	t->stage = ACTING;
	sl_timer_cancel(&t->timer);
	why = act(t);
	if (why) {
		fail(t, -EIO, why);
		return;
	}
	if (!t->channel) {
		accept_all(t);
		return;
	}
	sl_wire_put_bare(&o, SL_WIRE_ACTIVE, 0);
	if (sl_channel_send(t->channel, &o, NULL, 0))
		fail(t, -ENOMEM, "out of memory");
	else if (t->yields)
		arm(t, YOURS_NS);
	else
		accept_all(t);
}

/* The old process has died: its lock goes with it. If it does not, it lives after all. */
static void try_lock(struct sl_takeover *t)
{
	int r = sl_datapath_try_lock(t->control->datapath);

	if (!r)
		begin_to_act(t);
	else if (r != -EBUSY || sl_clock_now_ns() - t->died_ns > LOCK_NS)
		fail(t, r, "the process that ran before closed the connection, but lives");
	else
		arm(t, LOCK_RETRY_NS);
}

static void on_timer(struct sl_timer *timer)
{
	struct sl_takeover *t = sl_container_of(timer, struct sl_takeover, timer);

	if (t->stage == ACTING) {
		sl_warn("the process before does not say that it accepts no more");
		accept_all(t);
	} else if (!t->channel)
		try_lock(t);
	else
		fail(t, -ETIMEDOUT, "the process that runs did not answer in time");
}

void sl_takeover_prepared(struct sl_control *c)
{
	struct sl_takeover *t = c->takeover;
	struct sl_wire_out o = {0};

	if (!t || t->ready)
		return;
	t->ready = true;
	t->stage = ASKING;
	if (!t->channel) {
		try_lock(t);
		return;
	}
	t->asked_ns = sl_clock_now_ns();
	arm(t, GO_NS);
	sl_wire_put_bare(&o, SL_WIRE_PREPARED, 0);
	if (sl_channel_send(t->channel, &o, NULL, 0))
		fail(t, -ENOMEM, "out of memory");
}

static void on_go(struct sl_takeover *t, struct sl_received *r)
{
	if (r->frame.n_fds != 1) {
		fail(t, -EBADMSG, "the other process does not speak our language");
		return;
	}
	if (sl_clock_now_ns() - t->asked_ns > GO_VALID_NS) {
		fail(t, -ETIMEDOUT, "this process was too slow");
		return;
	}
	t->lock = sl_take_fd(&r->fds[0]);
	begin_to_act(t);
}

/* ---- taking ---- */

static struct sl_worker *least_busy(const struct sl_control *c, size_t n_taken)
{
	struct sl_worker *least = c->workers[n_taken % c->n_workers];

	for (uint32_t i = 0; i < c->n_workers; i++) {
		if (sl_worker_n_conns(c->workers[i]) + 8 < sl_worker_n_conns(least))
			least = c->workers[i];
	}
	return least;
}

/* Whose it is changes with the answer, which is on its way before a byte of it is touched here. */
static bool answer(struct sl_takeover *t, uint64_t id)
{
	struct sl_wire_id m = {id};
	struct sl_wire_out o = {0};

	sl_wire_put_id(&o, &m);
	if (sl_channel_send(t->channel, &o, NULL, 0))
		return false;
	if (!sl_channel_is_flushed(t->channel))
		(void)sl_channel_wait_flushed(t->channel, ACK_NS); /* its success is seen below */
	return sl_channel_is_flushed(t->channel);
}

static void on_handed(struct sl_takeover *t, struct sl_received *r)
{
	struct sl_control *c = t->control;
	struct sl_handed h;

	if (sl_wire_get_handed(&r->frame, r->fds, &h)) {
		sl_error("a connection of the process before is not understood, it keeps it");
		return;
	}
	if (!answer(t, h.id))
		return;
	if (sl_worker_take(least_busy(c, t->n_conns + t->n_pooled), &h)) {
		sl_error("out of memory, a connection of the process before is cut");
		return;
	}
	for (unsigned i = 0; i < r->frame.n_fds; i++)
		r->fds[i] = -1;
	if (h.kind == SL_HANDED_POOLED)
		t->n_pooled++;
	else
		t->n_conns++;
}

struct question {
	struct sl_mail mail;
	struct sl_control *control;
	struct sl_proxy_accepted accepted;
};

static void on_question(struct sl_mail *m)
{
	struct question *q = sl_container_of(m, struct question, mail);
	struct sl_takeover *t = q->control->takeover;
	struct sl_wire_accepted a = {.source = q->accepted.source, .peer = q->accepted.peer};
	struct sl_wire_out o = {0};

	if (t && t->channel) {
		sl_wire_put_accepted(&o, &a);
		if (sl_channel_send(t->channel, &o, &q->accepted.fd, 1))
			sl_error("out of memory, a connection is closed");
	} else {
		(void)close(q->accepted.fd); /* nobody is left who knows it */
	}
	free(q);
}

bool sl_takeover_ask(struct sl_control *c, const struct sl_proxy_accepted *a)
{
	struct question *q;

	if (!c->takeover || !atomic_load(&c->takeover->knows))
		return false;
	q = sl_new(struct question);
	if (!q)
		return false;
	q->mail.fn = on_question;
	q->control = c;
	q->accepted = *a;
	sl_mailbox_post(c->mailbox, &q->mail);
	return true;
}

/* ---- the session ---- */

static void on_late_source(struct sl_takeover *t, struct sl_received *r)
{
	struct sl_wire_source m;

	if (!sl_wire_get_source(&r->frame, &m))
		sl_served_merge(t->control, &m, r->fds, r->frame.n_fds);
}

static void on_frame(struct sl_takeover *t, struct sl_received *r)
{
	struct sl_wire_text text = {SL_STR_NULL};

	/* Who gives accepts no more, whether it could say so or not. */
	if (t->stage == ACTING && (r->frame.type == SL_WIRE_YOURS ||
				   r->frame.type == SL_WIRE_HANDED || r->frame.type == SL_WIRE_BYE))
		accept_all(t);
	switch (r->frame.type) {
	case SL_WIRE_SOURCE:
		if (t->stage < ACTING)
			on_late_source(t, r);
		break;
	case SL_WIRE_GO:
		if (t->stage == ASKING)
			on_go(t, r);
		break;
	case SL_WIRE_HANDED:
		if (t->stage == TAKING)
			on_handed(t, r);
		break;
	case SL_WIRE_BYE:
		if (t->stage == TAKING)
			done(t);
		break;
	case SL_WIRE_REFUSE:
		(void)sl_wire_get_text(&r->frame, &text); /* empty then */
		sl_error("the process that runs goes on by itself: %.*s", SL_STR_ARG(text.text));
		t->channel = sl_channel_free(t->channel);
		fail(t, -ECONNREFUSED, "refused");
		break;
	default:
		break; /* of a later version, which does without our knowing it */
	}
}

static void ended(struct sl_takeover *t)
{
	if (t->stage == TAKING) {
		sl_warn("the process before has gone before it had given all");
		done(t);
		return;
	}
	died(t);
	if (t->stage == ASKING)
		try_lock(t);
	else if (t->stage == ACTING)
		accept_all(t);
}

static void on_channel(void *arg)
{
	struct sl_takeover *t = arg;
	struct sl_received r;
	int n = 0;

	while (t->channel && (n = sl_channel_next(t->channel, &r)) > 0) {
		struct sl_channel *channel = t->channel;

		on_frame(t, &r);
		sl_received_close(&r);
		if (t->channel != channel)
			return;
		sl_channel_done(channel);
	}
	if (t->channel && n < 0)
		ended(t);
}

int sl_takeover_watch(struct sl_control *c)
{
	struct sl_takeover *t = c->takeover;

	return t->channel ? sl_channel_watch(t->channel, c->loop, on_channel, t) : 0;
}

void sl_takeover_close(struct sl_control *c)
{
	struct sl_takeover *t = c->takeover;

	if (!t)
		return;
	sl_timer_cancel(&t->timer);
	sl_channel_free(t->channel);
	free_sources(t);
	sl_closep(&t->handover_fd);
	sl_closep(&t->lock);
	free(t);
	c->takeover = NULL;
}
