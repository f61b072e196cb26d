/* SPDX-License-Identifier: Apache-2.0 */
/* Does this kernel do what splicing relies on? Asked of it with the real programs and maps. */
#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include "base/cleanup.h"
#include "base/log.h"
#include "datapath/hops_internal.h"

#define PATIENCE_MS 2000

/* One hop, both ends of which are ours. */
struct trial {
	struct sl_hops *h;
	int app, own;
	struct sl_hop_lease lease;
	bool leased;
	uint64_t taken, done;
	bool was_seen; /* by the detector */
};

/* Returns 1 when the property holds, 0 when not, or -errno when it could not be tried. */
typedef int (*property_fn)(struct trial *t);

static void trial_end(struct trial *t)
{
	if (t->leased) {
		(void)sl_hops_shut(&t->lease); /* nothing in there is wanted */
		sl_hops_release(t->h, &t->lease, t->own, false);
	}
	sl_closep(&t->own);
	sl_closep(&t->app);
}

int sl_hops_pair(int *ret_active, int *ret_passive)
{
	_cleanup_(sl_closep) int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	_cleanup_(sl_closep) int active = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(a);
	int passive;

	if (listener < 0 || active < 0 || bind(listener, (struct sockaddr *)&a, sizeof(a)) < 0 ||
	    listen(listener, 1) < 0 || getsockname(listener, (struct sockaddr *)&a, &len) < 0 ||
	    connect(active, (struct sockaddr *)&a, sizeof(a)) < 0)
		return -errno;
	passive = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	if (passive < 0)
		return -errno;
	*ret_passive = passive;
	*ret_active = sl_take_fd(&active);
	return 0;
}

static int trial_begin(struct trial *t, struct sl_hops *h, bool own_is_active)
{
	uint64_t netns;
	int r;

	*t = (struct trial){.h = h, .app = -1, .own = -1};
	r = own_is_active ? sl_hops_pair(&t->own, &t->app) : sl_hops_pair(&t->app, &t->own);
	if (r)
		return r;
	if (fcntl(t->app, F_SETFL, O_NONBLOCK) < 0 || fcntl(t->own, F_SETFL, O_NONBLOCK) < 0)
		return -errno;
	r = sl_datapath_netns_cookie(t->own, &netns);
	if (!r)
		r = sl_hops_lease(h, 0, t->own, own_is_active, netns, 0, 0, &t->lease);
	t->leased = !r;
	return r;
}

static bool readable(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	return poll(&p, 1, PATIENCE_MS) == 1;
}

static bool say(int fd, const char *text)
{
	return send(fd, text, strlen(text), MSG_NOSIGNAL) == (ssize_t)strlen(text);
}

/* Exactly this can be read, in as many parts as it takes. */
static bool hear(int fd, const char *text)
{
	size_t want = strlen(text), have = 0;
	char got[64];

	while (have < want && readable(fd)) {
		ssize_t n = recv(fd, got + have, sizeof(got) - have, MSG_DONTWAIT);

		if (n == 0 || (n < 0 && errno != EAGAIN))
			return false;
		have += n > 0 ? n : 0;
	}
	return have == want && !memcmp(got, text, want) &&
	       recv(fd, got, sizeof(got), MSG_DONTWAIT) < 0 && errno == EAGAIN;
}

static bool own_says(struct trial *t, const char *text)
{
	bool good = say(t->own, text);

	t->done += strlen(text);
	__atomic_store_n(&t->lease.hop->done, t->done, __ATOMIC_RELEASE);
	return good;
}

static bool own_hears(struct trial *t, const char *text)
{
	bool good = hear(t->own, text);

	t->taken += strlen(text);
	__atomic_store_n(&t->lease.hop->taken, t->taken, __ATOMIC_RELEASE);
	return good;
}

/* Have the kernel look at the app; returns the state after that, or -errno. */
static int ask(struct trial *t, enum sl_hop_state question)
{
	struct sl_hops_pass pass;
	int iter = sl_hops_iter(t->h), r;

	if (iter < 0)
		return iter;
	__atomic_store_n(&t->lease.hop->state, question, __ATOMIC_SEQ_CST);
	r = sl_hops_pass(iter, &pass);
	return r ? r : (int)__atomic_load_n(&t->lease.hop->state, __ATOMIC_SEQ_CST);
}

/* Over TCP in both directions, then into the map, which is done when take_in() works. */
static int begin(struct trial *t)
{
	return own_says(t, "hello") && hear(t->app, "hello") && say(t->app, "world") &&
			       own_hears(t, "world") && ask(t, SL_HOP_ASK) == SL_HOP_IN
		       ? 0
		       : -EIO;
}

static int take_in(struct trial *t)
{
	if (!own_says(t, "hello") || !say(t->app, "world"))
		return -EIO;
	if (ask(t, SL_HOP_ASK) != SL_HOP_ASK) /* neither was read yet */
		return 0;
	if (!hear(t->app, "hello") || !own_hears(t, "world"))
		return -EIO;
	return ask(t, SL_HOP_ASK) == SL_HOP_IN;
}

static int refuse(struct trial *t)
{
	if (fcntl(t->app, F_SETFL, 0) < 0 || !own_says(t, "x") || !hear(t->app, "x"))
		return -EIO;
	return ask(t, SL_HOP_ASK) == SL_HOP_REFUSED &&
	       t->lease.hop->verdict == SL_HOP_UNFIT_VERDICT &&
	       t->lease.hop->app_unfit == SL_UNFIT(BLOCKING);
}

static int redirect(struct trial *t)
{
	const struct sl_hop *hop = t->lease.hop;

	return own_says(t, "to the app") && hear(t->app, "to the app") &&
	       hop->own_redirected == 10 && say(t->app, "back") && own_hears(t, "back") &&
	       hop->app_redirected == 4 && hop->app_sent == t->taken;
}

static int fionread(struct trial *t)
{
	int n = -1;

	return own_says(t, "seven..") && ioctl(t->app, FIONREAD, &n) == 0 && n == 7 &&
	       hear(t->app, "seven..");
}

static int wake(struct trial *t)
{
	_cleanup_(sl_closep) int ep = epoll_create1(EPOLL_CLOEXEC);
	struct epoll_event app = {.events = EPOLLIN | EPOLLET, .data.fd = t->app}, got;
	struct epoll_event own = {.events = EPOLLIN | EPOLLET, .data.fd = t->own};

	if (ep < 0 || epoll_ctl(ep, EPOLL_CTL_ADD, t->app, &app) < 0 ||
	    epoll_ctl(ep, EPOLL_CTL_ADD, t->own, &own) < 0)
		return -errno;
	while (epoll_wait(ep, &got, 1, 0) > 0)
		;
	for (int i = 0; i < 3; i++) {
		if (!own_says(t, "ping") || epoll_wait(ep, &got, 1, PATIENCE_MS) != 1 ||
		    got.data.fd != t->app || !hear(t->app, "ping"))
			return 0;
		if (!say(t->app, "pong") || epoll_wait(ep, &got, 1, PATIENCE_MS) != 1 ||
		    got.data.fd != t->own || !own_hears(t, "pong"))
			return 0;
	}
	return 1;
}

static int evidence(struct trial *t)
{
	const struct sl_hop *hop = t->lease.hop;
	uint64_t before = t->done;

	if (!own_says(t, "unread") || !say(t->app, "a") || hop->app_seen != before)
		return 0;
	return hear(t->app, "unread") && say(t->app, "b") && hop->app_seen == t->done &&
	       own_hears(t, "ab");
}

/* Redirect, TCP when the budget is used up, and redirect again when all has been taken. */
static int order(struct trial *t)
{
	struct sl_hop *hop = t->lease.hop;
	uint64_t before = hop->app_redirected;

	hop->budget = 8;
	return say(t->app, "12345678") && say(t->app, "by TCP") && say(t->app, "!") &&
	       hop->app_redirected == before + 8 && own_hears(t, "12345678by TCP!") &&
	       say(t->app, "again") && hop->app_redirected == before + 13 && own_hears(t, "again");
}

static bool hear_end(int fd, const char *text)
{
	size_t want = strlen(text);
	char got[64];

	return readable(fd) && recv(fd, got, sizeof(got), 0) == (ssize_t)want &&
	       !memcmp(got, text, want) && readable(fd) && recv(fd, got, sizeof(got), 0) == 0;
}

static int half_close(struct trial *t)
{
	return own_says(t, "last") && !shutdown(t->own, SHUT_WR) && hear_end(t->app, "last") &&
	       say(t->app, "words") && !shutdown(t->app, SHUT_WR) && hear_end(t->own, "words");
}

static int take_out(struct trial *t)
{
	uint64_t redirected = t->lease.hop->own_redirected;
	int n = -1;

	if (!own_says(t, "unread") || ask(t, SL_HOP_ASK_OUT) != SL_HOP_ASK_OUT ||
	    !hear(t->app, "unread") || !say(t->app, "going"))
		return 0;
	if (ask(t, SL_HOP_ASK_OUT) != SL_HOP_OUT)
		return 0;
	redirected += strlen("unread");
	return own_hears(t, "going") && own_says(t, "by TCP") && readable(t->app) &&
	       ioctl(t->app, FIONREAD, &n) == 0 && n == 6 && hear(t->app, "by TCP") &&
	       t->lease.hop->own_redirected == redirected && say(t->app, "too") &&
	       own_hears(t, "too");
}

static void forget_program(void *arg, const struct sl_splice_event *ev)
{
	struct trial *t = arg;
	struct sl_unfit_key key = {.id = ev->inode, .dev = ev->dev, .kind = SL_UNFIT_EXE};

	if (ev->cookie != t->lease.hop->app_cookie)
		return;
	t->was_seen = true;
	/* It was only us, trying. */
	(void)bpf_map_delete_elem(t->h->unfit, &key);
}

static int detector(struct trial *t)
{
	int p[2];

	if (t->h->detector == SL_DETECTOR_NONE)
		return 1;
	if (pipe2(p, O_CLOEXEC | O_NONBLOCK) < 0)
		return -errno;
	/* What comes of it does not matter. */
	(void)!splice(t->app, NULL, p[1], NULL, 16, SPLICE_F_NONBLOCK);
	sl_closep(&p[0]);
	sl_closep(&p[1]);
	if (sl_hops_events_consume(t->h, forget_program, t) < 0)
		return 0;
	return t->was_seen;
}

static const struct property {
	const char *name, *text;
	property_fn holds;
} properties[] = {
#define PROPERTY(name, text) {#name, text, name},
	SL_SELFTESTS(PROPERTY)
#undef PROPERTY
};

static int tell(struct sl_hops_report *report, const struct property *p, int error)
{
	report->missing = error ? "setup" : p->name;
	if (error)
		return sl_dp_error(report->message, sizeof(report->message), error,
				   "setup: cannot try whether %s: %s", p->text, sl_strerror(error));
	return sl_dp_error(report->message, sizeof(report->message), -ENOTSUP,
			   "%s: not so on this kernel: %s", p->name, p->text);
}

/* All others follow each other on one connection, take_in() first and take_out() last. */
static bool is_alone(const struct property *p)
{
	return p->holds == refuse || p->holds == half_close;
}

static int try_alone(struct sl_hops *h, const struct property *p, bool own_is_active)
{
	struct trial t;
	int r = trial_begin(&t, h, own_is_active);

	if (!r && p->holds != refuse)
		r = begin(&t);
	if (!r)
		r = p->holds(&t);
	trial_end(&t);
	return r;
}

static int try_all(struct sl_hops *h, bool own_is_active, struct sl_hops_report *report)
{
	size_t n = sizeof(properties) / sizeof(*properties), i;
	struct trial t;
	int r = trial_begin(&t, h, own_is_active);

	r = r ? r : 1;
	for (i = 0; i < n && r == 1; i++)
		r = is_alone(&properties[i]) ? try_alone(h, &properties[i], own_is_active)
					     : properties[i].holds(&t);
	trial_end(&t);
	return r == 1 ? 0 : tell(report, &properties[i ? i - 1 : 0], r);
}

int sl_hops_selftest(struct sl_hops *h, struct sl_hops_report *report)
{
	int r;

	h->rest_ns = 0;
	/* Either end may be the one that called connect(2). */
	r = try_all(h, false, report);
	if (!r)
		r = try_all(h, true, report);
	h->rest_ns = SL_HOPS_REST_NS;
	sl_hops_rested(h);
	return r;
}
