/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The old process's side.
 *
 *   IDLE ─hello─► OFFERED ─prepared─► PAUSED ─active─► GIVING ─all given─► ENDING ─► exit
 *    ▲               │                   │                │
 *    └───────────────┴───── resume ──────┴────────────────┘   the new process failed, or took too
 *                                                             long
 */
#include "core/handover_state.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include "admin/unix_listen.h"
#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"

enum { BACKLOG = 8 };

/* Loading a large configuration takes its time, and costs the old process nothing. */
#define READY_NS (300 * SL_NS_PER_S)
#define HELLO_NS (5 * SL_NS_PER_S)
/* Nobody writes to the kernel's maps meanwhile. */
#define ACTIVE_NS (10 * SL_NS_PER_S)
#define LOOK_NS	  (10 * SL_NS_PER_MS)
/* Connections whose SYN met the programs of this version come to the new process, which does not
 * know them, for about that long. */
#define OTHER_ABI_NS (2 * SL_NS_PER_S)
#define KILL_NS	     SL_NS_PER_S

static void resume(struct sl_handover *h, const char *why);

char *sl_handover_path(const struct sl_options *opts)
{
	return opts->handover_socket ? sl_strdup(opts->handover_socket)
				     : sl_asprintf("%s.handover", opts->admin_socket);
}

/* ---- offering ---- */

static void send_frame(struct sl_handover *h, struct sl_wire_out *o, const int *fds, unsigned n_fds)
{
	int own[SL_WIRE_MAX_FDS];

	/* The channel closes what it has sent. */
	for (unsigned i = 0; i < n_fds; i++) {
		own[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, 3);
		if (own[i] < 0) {
			while (i)
				(void)close(own[--i]); /* not sent */
			n_fds = 0;
			o->error = -errno;
		}
	}
	if (sl_channel_send(h->channel, o, own, n_fds))
		sl_error("out of memory or descriptors, the next process will not get all");
}

static void offer_socket(struct sl_handover *h, struct sl_wire_socket m, int fd)
{
	struct sl_wire_out o = {0};

	sl_wire_put_socket(&o, &m);
	send_frame(h, &o, &fd, 1);
}

static void offer_sockets(struct sl_handover *h)
{
	struct sl_control *c = h->control;

	offer_socket(h,
		     (struct sl_wire_socket){.kind = SL_WIRE_SOCKET_ADMIN,
					     .path = sl_str_from(c->opts->admin_socket)},
		     sl_admin_fd(c->admin));
	if (c->metrics_http)
		offer_socket(
			h,
			(struct sl_wire_socket){.kind = SL_WIRE_SOCKET_METRICS,
						.addr = *sl_metrics_http_address(c->metrics_http)},
			sl_metrics_http_fd(c->metrics_http));
	offer_socket(h,
		     (struct sl_wire_socket){.kind = SL_WIRE_SOCKET_HANDOVER,
					     .path = sl_str_from(h->path)},
		     h->listen_fd);
}

/* Those that were not offered before. */
static void offer_sources(struct sl_handover *h)
{
	struct sl_served *s;
	size_t pos = 0;

	while ((s = sl_map_next(&h->control->served, &pos, NULL))) {
		struct sl_wire_out o = {0};
		const struct sl_wire_source m = {
			.cookie = s->source->cookie,
			.port4 = s->port4,
			.port6 = s->port6,
			.n_addr4 = s->n_addr4,
			.name = sl_str_from(s->source->name),
		};
		uint32_t n = s->n_fds - s->n_offered;

		if (!n)
			continue;
		sl_wire_put_source(&o, &m, n);
		send_frame(h, &o, s->fds + s->n_offered, n);
		s->n_offered = s->n_fds;
	}
}

static void send_bare(struct sl_handover *h, enum sl_wire_type type)
{
	struct sl_wire_out o = {0};

	sl_wire_put_bare(&o, type, 0);
	send_frame(h, &o, NULL, 0);
}

static void arm(struct sl_handover *h, uint64_t ns)
{
	sl_timer_arm(h->control->loop, &h->timer, sl_loop_now(h->control->loop) + ns);
}

static void my_hello(const struct sl_control *c, struct sl_wire_hello *ret)
{
	*ret = (struct sl_wire_hello){
		.version = SL_WIRE_VERSION,
		.min_version = SL_WIRE_MIN_VERSION,
		.abi = SL_ABI_VERSION,
		.software = SL_STR(SL_VERSION),
	};
	/* Zeroes then, as of pins that are not there. */
	(void)sl_datapath_pins_id(c->opts->bpffs, &ret->pins_dev, &ret->pins_ino);
}

static void on_hello(struct sl_handover *h, const struct sl_wire_frame *f)
{
	struct sl_control *c = h->control;
	struct sl_wire_out o = {0};
	struct sl_wire_hello mine, theirs;
	struct sl_served *s;
	size_t pos = 0;

	if (sl_wire_get_hello(f, &theirs)) {
		resume(h, "it does not speak our language");
		return;
	}
	my_hello(c, &mine);
	if (theirs.min_version > mine.version || theirs.version < mine.min_version) {
		resume(h, "the protocol of its version is another");
		return;
	}
	if (theirs.pins_dev != mine.pins_dev || theirs.pins_ino != mine.pins_ino) {
		resume(h, "it uses another folder of pins (--bpffs)");
		return;
	}
	sl_info("another process prepares to take over version=\"%.*s\" abi=%u",
		SL_STR_ARG(theirs.software), theirs.abi);
	h->peer_abi = theirs.abi;
	h->stage = OFFERED;
	arm(h, READY_NS);
	sl_wire_put_hello(&o, &mine);
	send_frame(h, &o, NULL, 0);
	offer_sockets(h);
	while ((s = sl_map_next(&c->served, &pos, NULL)))
		s->n_offered = 0;
	offer_sources(h);
	send_bare(h, SL_WIRE_OFFERED);
}

/* ---- giving up ---- */

static void say_go(struct sl_handover *h)
{
	int lock = sl_datapath_lock_fd(h->control->datapath);
	struct sl_wire_out o = {0};

	sl_wire_put_bare(&o, SL_WIRE_GO, 1);
	send_frame(h, &o, &lock, 1);
}

/* Workers accept no more. */
struct deaf {
	struct sl_ack ack;
	struct sl_control *control;
	unsigned session;
};

static void on_deaf(struct sl_mail *m)
{
	struct deaf *d = sl_container_of(sl_container_of(m, struct sl_ack, mail), struct deaf, ack);
	struct sl_handover *h = d->control->handover;

	if (h->stage == PAUSED && h->session == d->session)
		say_go(h);
	free(d);
}

static void be_deaf(struct sl_handover *h)
{
	struct sl_control *c = h->control;
	struct deaf *d = sl_new(struct deaf);

	if (!d) {
		resume(h, "out of memory");
		return;
	}
	d->control = c;
	d->session = h->session;
	d->ack.mail.fn = on_deaf;
	d->ack.to = c->mailbox;
	atomic_store(&d->ack.pending, c->n_workers);
	for (uint32_t i = 0; i < c->n_workers; i++) {
		if (sl_worker_stop_accepting(c->workers[i], &d->ack))
			sl_error("out of memory, worker %u may refuse connections", i);
	}
}

static void on_prepared(struct sl_handover *h)
{
	struct sl_control *c = h->control;

	if (c->draining) {
		resume(h, "this process is stopping");
		return;
	}
	sl_datapath_pause(c->datapath);
	sl_watch_remove(&c->events); /* events have one reader */
	c->passive = true;
	h->stage = PAUSED;
	arm(h, ACTIVE_NS);
	offer_sources(h);
	/* What its programs steer is not known to our maps: connections wait, for the milliseconds
	 * until it accepts. */
	if (h->peer_abi == SL_ABI_VERSION)
		say_go(h);
	else
		be_deaf(h);
}

static void on_active(struct sl_handover *h)
{
	struct sl_control *c = h->control;
	uint64_t now = sl_loop_now(c->loop);

	sl_info("the next process serves, giving it connections=%zu", sl_control_n_conns(c));
	send_bare(h, SL_WIRE_YOURS);
	h->stage = GIVING;
	c->giving = true;
	sl_timer_cancel(&c->beat);
	sl_views_suspend(c);
	sl_watch_remove(&h->listen);
	sl_config_begin_close(c);
	h->until_ns = now + c->opts->drain_timeout_ns;
	h->not_before_ns = h->peer_abi == SL_ABI_VERSION ? now : now + OTHER_ABI_NS;
	sl_handover_begin_giving(h);
	arm(h, LOOK_NS);
}

/* ---- giving ---- */

static bool all_given(const struct sl_handover *h)
{
	/* One that a worker has just accepted is not counted before it begins to give. */
	return h->asked && !sl_control_n_conns(h->control) && sl_config_may_close(h->control) &&
	       sl_channel_is_flushed(h->channel) &&
	       sl_loop_now(h->control->loop) >= h->not_before_ns;
}

static void look(struct sl_handover *h)
{
	struct sl_control *c = h->control;
	size_t n = sl_control_n_conns(c);

	if (h->stage == ENDING) {
		if (sl_channel_is_flushed(h->channel))
			sl_loop_stop(c->loop);
	} else if (all_given(h)) {
		h->stage = ENDING;
		send_bare(h, SL_WIRE_BYE);
		sl_info("all given, exiting");
	} else if (sl_loop_now(c->loop) >= h->until_ns) {
		h->stage = ENDING;
		send_bare(h, SL_WIRE_BYE);
		if (n)
			sl_warn("drain timeout, cutting connections=%zu", n);
	}
	arm(h, LOOK_NS);
}

/* ---- it failed ---- */

/* It may be stuck rather than dead, and go on to write where we do. Not to be seen from another pid
 * namespace; then its own clock keeps it from acting late (takeover.c). */
static void make_sure(struct sl_handover *h)
{
	struct pollfd p = {.fd = h->peer, .events = POLLIN};

	if (h->peer < 0)
		return;
	(void)syscall(SYS_pidfd_send_signal, h->peer, SIGKILL, NULL, 0); /* it may have gone */
	(void)poll(&p, 1, (int)(KILL_NS / SL_NS_PER_MS)); /* only a wait, with an end */
}

static void act_again(struct sl_handover *h)
{
	struct sl_control *c = h->control;

	make_sure(h);
	if (c->giving) {
		c->giving = false;
		sl_config_go_on(c);
		for (uint32_t i = 0; i < c->n_workers; i++) {
			if (sl_worker_take_back(c->workers[i]))
				sl_error("out of memory, worker %u does not accept", i);
		}
		if (sl_views_open(c))
			sl_error("sluicectl and metrics are not served any more");
		if (sl_watch_add(c->loop, &h->listen, h->listen_fd, EPOLLIN, h->listen.fn))
			sl_error("no process can take over any more");
	}
	c->passive = false;
	sl_served_give_all(c);
	/* What cannot be done is said; connections are served, and the kernel goes on with what it
	 * has. */
	(void)sl_control_act(c, -1);
	if (sl_control_attend(c))
		sl_error("out of memory, events of the kernel are not read");
}

static void end_session(struct sl_handover *h)
{
	h->session++;
	h->stage = IDLE;
	sl_timer_cancel(&h->timer);
	h->channel = sl_channel_free(h->channel);
	sl_closep(&h->peer);
	h->peer = -1;
}

/* The new process is told why, if it is there to hear it. */
static void resume(struct sl_handover *h, const char *why)
{
	bool acts = h->stage == PAUSED || h->stage == GIVING;
	struct sl_wire_out o = {0};

	sl_warn("another process did not take over: %s", why);
	sl_wire_put_text(&o, SL_WIRE_REFUSE, why);
	(void)sl_channel_send(h->channel, &o, NULL, 0); /* its end tells it as well */
	if (acts)
		act_again(h);
	end_session(h);
	if (h->term)
		sl_control_end(h->control);
}

/* ---- the session ---- */

static void on_frame(struct sl_handover *h, struct sl_received *r)
{
	struct sl_wire_text text;

	switch (r->frame.type) {
	case SL_WIRE_HELLO:
		if (h->stage == HELLO)
			on_hello(h, &r->frame);
		break;
	case SL_WIRE_PREPARED:
		if (h->stage == OFFERED)
			on_prepared(h);
		break;
	case SL_WIRE_ACTIVE:
		if (h->stage == PAUSED)
			on_active(h);
		break;
	case SL_WIRE_HAS:
		sl_handover_on_has(h, &r->frame);
		break;
	case SL_WIRE_ACCEPTED:
		if (h->stage == PAUSED || h->stage == GIVING)
			sl_handover_on_accepted(h, r);
		break;
	case SL_WIRE_REFUSE:
		if (!sl_wire_get_text(&r->frame, &text))
			sl_warn("the other process says: %.*s", SL_STR_ARG(text.text));
		sl_closep(&h->peer); /* it knows that it has failed */
		h->peer = -1;
		resume(h, "it failed");
		break;
	default:
		break; /* of a later version, which does without our knowing it */
	}
}

static void on_channel(void *arg)
{
	struct sl_handover *h = arg;
	struct sl_received r;
	int n = 0;

	while (h->channel && (n = sl_channel_next(h->channel, &r)) > 0) {
		struct sl_channel *channel = h->channel;

		on_frame(h, &r);
		sl_received_close(&r);
		if (h->channel != channel)
			return; /* the session ended */
		sl_channel_done(channel);
	}
	if (h->channel && n < 0 && h->stage == ENDING)
		sl_loop_stop(h->control->loop);
	else if (h->channel && n < 0)
		resume(h, n == -EPIPE ? "it went" : sl_strerror(n));
}

/* It may be us who did not run: what it said meanwhile counts. */
static void on_timer(struct sl_timer *t)
{
	struct sl_handover *h = sl_container_of(t, struct sl_handover, timer);
	enum sl_handover_stage stage = h->stage;

	if (stage == GIVING || stage == ENDING) {
		look(h);
		return;
	}
	on_channel(h);
	if (h->stage == stage)
		resume(h, "it took too long");
}

/* Root, or who runs us. Returns its pid as we see it, 0 for none. */
static int check_peer(int fd, pid_t *ret)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len))
		return -errno;
	if (cred.uid != 0 && cred.uid != geteuid())
		return -EPERM;
	*ret = cred.pid;
	return 0;
}

static void turn_away(int fd, const char *why)
{
	struct sl_channel *ch;
	struct sl_wire_out o = {0};

	if (sl_channel_new(fd, &ch))
		return;
	sl_wire_put_text(&o, SL_WIRE_REFUSE, why);
	(void)sl_channel_send(ch, &o, NULL, 0); /* its end tells it as well */
	sl_channel_free(ch);
}

static void on_connect(struct sl_watch *w, uint32_t events)
{
	struct sl_handover *h = sl_container_of(w, struct sl_handover, listen);
	struct sl_control *c = h->control;
	int fd = accept4(w->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	pid_t pid = 0;
	int r;

	(void)events;
	if (fd < 0)
		return;
	r = check_peer(fd, &pid);
	if (r || h->stage != IDLE || c->draining) {
		turn_away(fd, r		    ? "not allowed"
			      : c->draining ? "this process is stopping"
					    : "another process is about to take over");
		return;
	}
	r = sl_channel_new(fd, &h->channel);
	if (!r)
		r = sl_channel_watch(h->channel, c->loop, on_channel, h);
	if (r) {
		h->channel = sl_channel_free(h->channel);
		sl_error("cannot hand over: %s", sl_strerror(r));
		return;
	}
	h->peer = pid ? (int)syscall(SYS_pidfd_open, pid, 0) : -1;
	h->stage = HELLO;
	arm(h, HELLO_NS);
}

/* ---- open and close ---- */

static int open_socket(struct sl_handover *h, int inherited)
{
	struct stat st;
	int r = sl_unix_listen(h->path, BACKLOG, inherited, &h->listen_fd);

	if (!r && !stat(h->path, &st)) {
		h->dev = st.st_dev;
		h->ino = st.st_ino;
	}
	return r;
}

int sl_handover_open(struct sl_control *c, int inherited)
{
	struct sl_handover *h = sl_new(struct sl_handover);
	int r;

	if (!h) {
		sl_closep(&inherited);
		return -ENOMEM;
	}
	h->control = c;
	h->listen_fd = h->peer = -1;
	h->listen = SL_WATCH_INIT;
	h->timer = SL_TIMER_INIT(on_timer);
	h->path = sl_handover_path(c->opts);
	c->handover = h;
	if (!h->path) {
		sl_closep(&inherited);
		r = -ENOMEM;
	} else {
		r = open_socket(h, inherited);
	}
	if (!r)
		r = sl_watch_add(c->loop, &h->listen, h->listen_fd, EPOLLIN, on_connect);
	if (r) {
		sl_error("cannot serve the handover socket path=\"%s\" (--handover-socket chooses "
			 "another path): %s",
			 h->path ? h->path : "", sl_strerror(r));
		sl_handover_close(c);
	}
	return r;
}

void sl_handover_leave(struct sl_control *c)
{
	if (c->handover)
		c->handover->ino = 0;
}

void sl_handover_close(struct sl_control *c)
{
	struct sl_handover *h = c->handover;
	struct stat st;

	if (!h)
		return;
	if (h->ino && !c->giving && !lstat(h->path, &st) && st.st_dev == h->dev &&
	    st.st_ino == h->ino)
		(void)unlink(h->path); /* what stays is replaced by the next agent */
	sl_timer_cancel(&h->timer);
	sl_watch_remove(&h->listen);
	sl_channel_free(h->channel);
	sl_closep(&h->peer);
	sl_closep(&h->listen_fd);
	free(h->path);
	free(h);
	c->handover = NULL;
}

bool sl_handover_is_over(const struct sl_control *c)
{
	return c->handover && c->handover->stage == ENDING && !c->handover->term;
}

bool sl_handover_ends(struct sl_control *c)
{
	struct sl_handover *h = c->handover;

	if (!h || (h->stage != PAUSED && h->stage != GIVING && h->stage != ENDING))
		return false;
	if (h->term)
		h->until_ns = sl_loop_now(c->loop); /* asked twice: at once */
	h->term = true;
	return true;
}
