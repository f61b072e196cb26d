/* SPDX-License-Identifier: Apache-2.0 */
#include "core/control.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "core/handover.h"
#include "core/limits.h"
#include "core/state.h"

/* The heartbeat's limit holds this many beats, so that one late round does not count as a hang. */
enum { BEATS_PER_LIMIT = 8 };
/* A connect() that has read the map before the kernel was told to steer no more sends its SYN after
 * that, as soon as it runs. */
#define LATE_SYN_NS (20 * SL_NS_PER_MS)

void sl_control_beat(struct sl_control *c)
{
	sl_datapath_heartbeat(c->datapath);
	c->last_beat_ns = sl_loop_now(c->loop);
}

static void on_pinged(struct sl_mail *m)
{
	struct sl_ack *ack = sl_container_of(m, struct sl_ack, mail);
	struct sl_control *c = sl_container_of(ack, struct sl_control, ping);

	c->pinging = false;
	if (c->draining || c->giving)
		return;
	/* Every worker has finished a round since the question was sent. */
	sl_control_beat(c);
}

static void on_beat(struct sl_timer *t)
{
	struct sl_control *c = sl_container_of(t, struct sl_control, beat);

	sl_timer_arm(c->loop, t,
		     sl_loop_now(c->loop) + c->opts->heartbeat_limit_ns / BEATS_PER_LIMIT);
	if (c->pinging)
		return;
	c->pinging = true;
	c->ping.mail.fn = on_pinged;
	c->ping.to = c->mailbox;
	atomic_store(&c->ping.pending, c->n_workers);
	for (uint32_t i = 0; i < c->n_workers; i++)
		(void)sl_worker_ping(c->workers[i],
				     &c->ping); /* no memory: as if it had answered */
}

size_t sl_control_n_conns(const struct sl_control *c)
{
	size_t n = 0;

	for (uint32_t i = 0; i < c->n_workers; i++)
		n += sl_worker_n_conns(c->workers[i]);
	return n;
}

static void on_drain_carried_out(struct sl_mail *m)
{
	struct sl_ack *ack = sl_container_of(m, struct sl_ack, mail);

	sl_container_of(ack, struct sl_control, drain_ack)->drain_asks = false;
}

static void drain_order(struct sl_control *c, int (*order)(struct sl_worker *, struct sl_ack *))
{
	c->drain_asks = true;
	c->drain_ack.mail.fn = on_drain_carried_out;
	c->drain_ack.to = c->mailbox;
	atomic_store(&c->drain_ack.pending, c->n_workers);
	for (uint32_t i = 0; i < c->n_workers; i++)
		(void)order(c->workers[i], &c->drain_ack); /* no memory: its connections are cut */
}

/* A connection between accept() and its count is one of a worker that has not carried out the
 * order yet, so what a count of 0 means is only known behind it. */
static bool is_drained(struct sl_control *c)
{
	if (c->drain_asks || sl_control_n_conns(c) || !sl_config_may_close(c))
		return false;
	if (c->deaf)
		return true;
	if (sl_loop_now(c->loop) >= c->drain_listen_ns) {
		c->deaf = true;
		drain_order(c, sl_worker_end_accepting);
	}
	return false;
}

static void on_drain(struct sl_timer *t)
{
	struct sl_control *c = sl_container_of(t, struct sl_control, drain);
	size_t n;

	if (!is_drained(c) && sl_loop_now(c->loop) < c->drain_until_ns) {
		sl_timer_arm(c->loop, t, sl_loop_now(c->loop) + 10 * SL_NS_PER_MS);
		return;
	}
	n = sl_control_n_conns(c);
	if (n)
		sl_warn("drain timeout, cutting connections=%zu", n);
	sl_loop_stop(c->loop);
}

void sl_control_end(struct sl_control *c)
{
	if (sl_handover_ends(c))
		return;
	if (c->draining) {
		sl_loop_stop(c->loop); /* asked twice: at once */
		return;
	}
	sl_info("stopping, waiting for open requests connections=%zu", sl_control_n_conns(c));
	sl_served_unpublish_all(c);
	sl_config_begin_close(c);
	c->draining = true;
	c->drain_until_ns = sl_loop_now(c->loop) + c->opts->drain_timeout_ns;
	c->drain_listen_ns = sl_loop_now(c->loop) + LATE_SYN_NS;
	drain_order(c, sl_worker_drain);
	sl_timer_arm(c->loop, &c->drain, sl_loop_now(c->loop));
}

static void reload(struct sl_control *c)
{
	sl_config_reload(c);
	for (uint32_t i = 0; i < c->n_workers; i++) {
		if (sl_worker_reopen_log(c->workers[i]))
			sl_error("out of memory, worker %u keeps its access log", i);
	}
}

static void on_signal(struct sl_watch *w, uint32_t events)
{
	struct sl_control *c = sl_container_of(w, struct sl_control, signals);
	struct signalfd_siginfo info;

	while (read(w->fd, &info, sizeof(info)) == sizeof(info)) {
		if (info.ssi_signo == SIGHUP)
			reload(c);
		else
			sl_control_end(c);
	}
}

static void on_datapath_event(struct sl_watch *w, uint32_t events)
{
	struct sl_control *c = sl_container_of(w, struct sl_control, events);
	int r = sl_datapath_events_consume(c->datapath, sl_served_wanted, c);

	if (r < 0)
		sl_error("cannot read the kernel's events: %s", sl_strerror(r));
}

static int failed(const char *what, int r)
{
	sl_error("%s: %s", what, sl_strerror(r));
	return r;
}

static int watch_signals(struct sl_control *c)
{
	sigset_t set;
	int fd, r;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	(void)signal(SIGPIPE, SIG_IGN); /* writes say EPIPE */
	fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	if (fd < 0)
		return failed("signalfd", -errno);
	r = sl_watch_add(c->loop, &c->signals, fd, EPOLLIN, on_signal);
	if (r)
		(void)close(fd);
	return r;
}

/* Each steered connection is two descriptors. */
static void raise_descriptor_limit(void)
{
	struct rlimit lim;

	if (getrlimit(RLIMIT_NOFILE, &lim))
		return;
	lim.rlim_cur = lim.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &lim))
		sl_warn("cannot raise the limit of open files: %s", sl_strerror(errno));
}

/* 0: not known, or more than anybody needs. */
static uint32_t max_descriptors(void)
{
	struct rlimit lim;

	if (getrlimit(RLIMIT_NOFILE, &lim) || lim.rlim_cur >= UINT32_MAX)
		return 0;
	return (uint32_t)lim.rlim_cur;
}

/* What the kernel did without us counts as what workers do. */
static void count_flows(void *arg, const struct sl_plan_split *split,
			const struct sl_plan_share *share, uint64_t n)
{
	struct sl_control *c = arg;
	const struct sl_metrics_request labels = {
		.service = split->name,
		.route = split->route,
		.rule = split->rule,
		.backend = share->backend,
	};

	sl_metrics_connections(sl_metrics_shard(c->metrics, c->opts->n_workers), &labels, n);
}

static int open_datapath(struct sl_control *c)
{
	struct sl_datapath_opts opts = {
		.cgroup_path = c->opts->cgroup,
		.bpffs_dir = c->opts->bpffs,
		.heartbeat_limit_ns = c->opts->heartbeat_limit_ns,
		.policy = c->opts->policy,
		.provider = c->opts->provider,
		.beside = c->passive,
	};
	char err[512];
	int r = sl_datapath_open(&opts, &c->datapath, err, sizeof(err));

	if (r)
		sl_error("cannot start the datapath: %s", err);
	else
		sl_datapath_on_flows(c->datapath, count_flows, c);
	return r;
}

static int start_workers(struct sl_control *c)
{
	c->workers = sl_new_n(struct sl_worker *, c->opts->n_workers);
	if (!c->workers)
		return failed("workers", -ENOMEM);
	c->n_workers = c->opts->n_workers;
	for (uint32_t i = 0; i < c->n_workers; i++) {
		struct sl_worker_opts opts = {
			.index = i,
			.proxy = c->opts->proxy,
			.host = sl_host_for(c, i),
			.metrics = sl_metrics_shard(c->metrics, i),
			.access_log = c->opts->access_log,
		};
		int r;

		opts.proxy.share_descriptors = max_descriptors();
		sl_limits_per_worker(&opts.proxy, c->n_workers);
		r = sl_worker_start(&opts, &c->workers[i]);

		if (r) {
			c->n_workers = i;
			sl_error("cannot start a worker access_log=\"%s\": %s",
				 c->opts->access_log ? c->opts->access_log : "", sl_strerror(r));
			return r;
		}
	}
	return 0;
}

static void prune_netns(struct sl_control *c)
{
	_cleanup_(sl_freep) uint64_t *cookies = sl_new_n(uint64_t, c->served.n + 1);
	struct sl_served *s;
	size_t pos = 0, n = 0;

	if (!cookies)
		return; /* stale entries find no listener */
	while ((s = sl_map_next(&c->served, &pos, NULL)))
		cookies[n++] = s->source->cookie;
	(void)sl_datapath_netns_prune(c->datapath, cookies, n); /* as above */
}

int sl_control_watch_netns(struct sl_control *c)
{
	struct sl_netns_opts opts = {
		.dirs = c->opts->netns_dirs,
		.n_dirs = c->opts->n_netns_dirs,
		.cgroup_path = c->opts->cgroup,
		.host = c->opts->host_netns,
	};
	int r = sl_netns_watch_open(c->loop, &opts, sl_served_event, c, &c->netns);

	if (r)
		return failed("cannot watch network namespaces", r);
	prune_netns(c);
	return 0;
}

/* Maps before hooks: what runs finds its maps filled. */
int sl_control_act(struct sl_control *c, int lock)
{
	char err[512];
	int r = sl_datapath_claim(c->datapath, lock, err, sizeof(err));

	if (!r) {
		sl_served_publish_all(c);
		prune_netns(c);
		(void)sl_publish_apply(c); /* said; the others are served */
		sl_control_beat(c);
		r = sl_datapath_attach(c->datapath, err, sizeof(err));
	}
	if (r)
		sl_error("cannot have the datapath: %s", err);
	return r;
}

int sl_control_attend(struct sl_control *c)
{
	int r = sl_watch_add(c->loop, &c->events, sl_datapath_events_fd(c->datapath), EPOLLIN,
			     on_datapath_event);

	if (r)
		return failed("cannot watch the kernel's events", r);
	sl_timer_arm(c->loop, &c->beat, sl_loop_now(c->loop));
	/* Taken over with a configuration in force; else the first one brings it. */
	if (c->opts->status_file && c->snap)
		sl_timer_arm(c->loop, &c->status_due, sl_loop_now(c->loop));
	return 0;
}

/* What another process of this host may have too: the first that finds it taken says so. */
static int open_shared(struct sl_control *c)
{
	int r = c->passive ? 0 : sl_views_open(c);

	return r ? r : open_datapath(c);
}

/* All that needs nobody else. */
static int prepare(struct sl_control *c)
{
	struct sl_metrics_opts metrics = {.n_workers = c->opts->n_workers + 1}; /* and control */
	int r = sl_config_check(c);

	if (!r)
		r = sl_loop_new(&c->loop);
	if (!r)
		r = sl_mailbox_new(c->loop, &c->mailbox);
	if (!r)
		r = sl_metrics_new(&metrics, &c->metrics);
	if (!r)
		r = sl_status_new(&c->status);
	if (!r)
		r = watch_signals(c);
	return r;
}

static int start(struct sl_control *c)
{
	int r = prepare(c);

	if (!r && c->opts->takeover)
		r = sl_takeover_begin(c);
	if (!r || r == SL_TAKEOVER_NOBODY)
		r = open_shared(c);
	if (r)
		return r;
	if (sl_cgroups_open(&c->cgroups))
		sl_warn("no cgroup2 mount: Pods in the host's network namespace are not told "
			"apart");
	r = sl_splicer_open(c, &c->splicer, c->splice_off, sizeof(c->splice_off));
	if (!r)
		r = start_workers(c);
	if (!r)
		r = sl_config_open(c);
	if (!r && c->generation)
		r = sl_control_watch_netns(c);
	if (r)
		return r;
	if (c->passive)
		return sl_takeover_watch(c);
	r = sl_handover_open(c, -1);
	return r ? r : sl_control_attend(c);
}

static void stop(struct sl_control *c)
{
	bool done;

	sl_timer_cancel(&c->beat);
	sl_timer_cancel(&c->drain);
	c->draining = c->stopping = true;
	c->netns = sl_netns_watch_close(c->netns);
	sl_config_close(c);
	for (uint32_t i = 0; i < c->n_workers; i++)
		sl_worker_stop(c->workers[i]);
	for (uint32_t i = 0; i < c->n_workers; i++)
		c->workers[i] = sl_worker_free(c->workers[i]);
	done = sl_splicer_stop(c->splicer);
	if (done) {
		/* Last acks of the workers are inside. */
		c->mailbox = sl_mailbox_free(c->mailbox);
		sl_splicer_close(c->splicer);
	}
	sl_handover_close(c);
	sl_takeover_close(c);
	sl_publish_close(c);
	sl_served_free_all(c);
	sl_views_close(c);
	sl_snapshot_unref(c->queued);
	sl_snapshot_unref(c->publishing);
	sl_snapshot_unref(c->snap);
	sl_compile_report_free(c->queued_report);
	sl_compile_report_free(c->publishing_report);
	sl_status_free(c->status);
	json_decref(c->problems);
	sl_watch_remove(&c->events);
	c->datapath = sl_datapath_close(c->datapath, c->opts->detach);
	sl_cgroups_close(c->cgroups);
	sl_metrics_free(c->metrics);
	if (c->signals.loop) {
		int fd = c->signals.fd;

		sl_watch_remove(&c->signals);
		(void)close(fd); /* nothing can be done about it */
	}
	free(c->workers);
	sl_loop_free(c->loop);
}

/* A Pod's process that ends is started again, and would take over from the one that took over. */
static void wait_for_end(void)
{
	sigset_t set;

	sl_info("another process serves, waiting for SIGTERM");
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	while (sigwaitinfo(&set, NULL) < 0)
		; /* EINTR */
}

int sl_control_run(const struct sl_options *opts)
{
	struct sl_control c = {
		.opts = opts,
		.events = SL_WATCH_INIT,
		.signals = SL_WATCH_INIT,
		.beat = SL_TIMER_INIT(on_beat),
		.drain = SL_TIMER_INIT(on_drain),
		.status_due = SL_TIMER_INIT(sl_publish_write_status),
		.compile_due = SL_TIMER_INIT(sl_publish_again),
		.started_ns = sl_clock_now_ns(),
		.admin_fd = -1,
		.metrics_fd = -1,
	};
	bool lingers;
	int r;

	raise_descriptor_limit();
	r = start(&c);
	if (!r) {
		sl_info("ready version=%s workers=%u source=\"%s\"", SL_VERSION, c.n_workers,
			sl_config_name(&c));
		r = sl_loop_run(c.loop);
		if (r)
			sl_error("the control loop stopped: %s", sl_strerror(r));
		else
			r = c.error;
	}
	lingers = !r && opts->linger && sl_handover_is_over(&c);
	stop(&c);
	if (lingers)
		wait_for_end();
	return r ? 1 : 0;
}
