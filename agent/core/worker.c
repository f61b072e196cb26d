/* SPDX-License-Identifier: Apache-2.0 */
#include "core/worker.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"

/* Lines of the access log wait at most this long. */
#define LOG_FLUSH_NS (100 * SL_NS_PER_MS)

struct sl_worker {
	pthread_t thread;
	unsigned index;
	struct sl_loop *loop;
	struct sl_mailbox *mailbox;
	struct sl_proxy *proxy;
	struct sl_metrics_shard *metrics;
	struct sl_access_log *log;
	struct sl_timer flush;
	atomic_size_t n_coming; /* connections in orders */
};

struct order {
	struct sl_mail mail;
	struct sl_worker *worker;
	struct sl_ack *ack;
	struct sl_snapshot *snap;
	struct sl_source *source;
	uint64_t cookie, id;
	struct sl_handed *handed;
	struct sl_proxy_accepted accepted;
	uint32_t n_fds;
	int fds[];
};

static void count_down(struct sl_ack *ack)
{
	if (ack && atomic_fetch_sub_explicit(&ack->pending, 1, memory_order_acq_rel) == 1)
		sl_mailbox_post(ack->to, &ack->mail);
}

static void finish(struct order *o)
{
	struct sl_ack *ack = o->ack;

	sl_snapshot_unref(o->snap);
	sl_source_unref(o->source);
	free(o->handed);
	free(o);
	count_down(ack);
}

static struct order *order_new(struct sl_worker *w, sl_mail_fn fn, uint32_t n_fds,
			       struct sl_ack *ack)
{
	struct order *o = sl_calloc(1, sizeof(*o) + n_fds * sizeof(int));

	if (!o) {
		count_down(ack);
		return NULL;
	}
	o->mail.fn = fn;
	o->worker = w;
	o->ack = ack;
	o->n_fds = n_fds;
	return o;
}

static int send_order(struct order *o)
{
	sl_mailbox_post(o->worker->mailbox, &o->mail);
	return 0;
}

/* A connection is counted from before the order is sent until the proxy counts it. */
static int send_conn(struct order *o)
{
	atomic_fetch_add_explicit(&o->worker->n_coming, 1, memory_order_relaxed);
	return send_order(o);
}

static void finish_conn(struct order *o)
{
	atomic_fetch_sub_explicit(&o->worker->n_coming, 1, memory_order_release);
	finish(o);
}

/* One that needs no more than the worker. */
static int send_bare(struct sl_worker *w, sl_mail_fn fn, struct sl_ack *ack)
{
	struct order *o = order_new(w, fn, 0, ack);

	return o ? send_order(o) : -ENOMEM;
}

static void on_publish(struct sl_mail *m)
{
	struct order *o = sl_container_of(m, struct order, mail);

	if (sl_proxy_set_snapshot(o->worker->proxy, o->snap))
		sl_error("worker %u is out of memory, keeps the configuration it has",
			 o->worker->index);
	finish(o);
}

int sl_worker_publish(struct sl_worker *w, struct sl_snapshot *snap, struct sl_ack *ack)
{
	struct order *o = order_new(w, on_publish, 0, ack);

	if (!o)
		return -ENOMEM;
	o->snap = sl_snapshot_ref(snap);
	return send_order(o);
}

static void on_add_source(struct sl_mail *m)
{
	struct order *o = sl_container_of(m, struct order, mail);
	int r = sl_proxy_add_source(o->worker->proxy, o->source, o->fds, o->n_fds);

	if (r)
		sl_error("worker %u cannot serve network namespace name=\"%s\": %s",
			 o->worker->index, o->source->name, sl_strerror(r));
	finish(o);
}

int sl_worker_add_source(struct sl_worker *w, struct sl_source *source, const int *fds,
			 uint32_t n_fds, struct sl_ack *ack)
{
	struct order *o = order_new(w, on_add_source, n_fds, ack);

	if (!o)
		return -ENOMEM;
	o->source = sl_source_ref(source);
	if (n_fds)
		memcpy(o->fds, fds, n_fds * sizeof(*fds));
	return send_order(o);
}

static void on_remove_source(struct sl_mail *m)
{
	struct order *o = sl_container_of(m, struct order, mail);

	sl_proxy_remove_source(o->worker->proxy, o->cookie);
	finish(o);
}

int sl_worker_remove_source(struct sl_worker *w, uint64_t cookie, struct sl_ack *ack)
{
	struct order *o = order_new(w, on_remove_source, 0, ack);

	if (!o)
		return -ENOMEM;
	o->cookie = cookie;
	return send_order(o);
}

static void on_adopt(struct sl_mail *m)
{
	struct order *o = sl_container_of(m, struct order, mail);

	sl_proxy_adopt(o->worker->proxy, &o->accepted);
	finish_conn(o);
}

int sl_worker_adopt(struct sl_worker *w, const struct sl_proxy_accepted *accepted)
{
	struct order *o = order_new(w, on_adopt, 0, NULL);

	if (!o)
		return -ENOMEM;
	o->accepted = *accepted;
	return send_conn(o);
}

static void on_drain(struct sl_mail *m)
{
	struct order *o = sl_container_of(m, struct order, mail);

	sl_proxy_drain(o->worker->proxy);
	finish(o);
}

int sl_worker_drain(struct sl_worker *w, struct sl_ack *ack)
{
	return send_bare(w, on_drain, ack);
}

static void on_end_accepting(struct sl_mail *m)
{
	struct order *o = sl_container_of(m, struct order, mail);

	sl_proxy_end_accepting(o->worker->proxy);
	finish(o);
}

int sl_worker_end_accepting(struct sl_worker *w, struct sl_ack *ack)
{
	return send_bare(w, on_end_accepting, ack);
}

static void on_reopen_log(struct sl_mail *m)
{
	struct order *o = sl_container_of(m, struct order, mail);
	int r = o->worker->log ? sl_access_log_reopen(o->worker->log) : 0;

	if (r)
		sl_error("cannot open the access log again, keeping the old file: %s",
			 sl_strerror(r));
	finish(o);
}

int sl_worker_reopen_log(struct sl_worker *w)
{
	return send_bare(w, on_reopen_log, NULL);
}

static void on_stop_accepting(struct sl_mail *m)
{
	struct order *o = sl_container_of(m, struct order, mail);

	sl_proxy_stop_accepting(o->worker->proxy);
	finish(o);
}

int sl_worker_stop_accepting(struct sl_worker *w, struct sl_ack *ack)
{
	return send_bare(w, on_stop_accepting, ack);
}

static void on_hand_over(struct sl_mail *m)
{
	struct order *o = sl_container_of(m, struct order, mail);

	sl_proxy_hand_over(o->worker->proxy, o->id);
	finish(o);
}

int sl_worker_hand_over(struct sl_worker *w, uint64_t first_id, struct sl_ack *ack)
{
	struct order *o = order_new(w, on_hand_over, 0, ack);

	if (!o)
		return -ENOMEM;
	o->id = first_id;
	return send_order(o);
}

static void on_given(struct sl_mail *m)
{
	struct order *o = sl_container_of(m, struct order, mail);

	sl_proxy_given(o->worker->proxy, o->id);
	finish(o);
}

int sl_worker_given(struct sl_worker *w, uint64_t id)
{
	struct order *o = order_new(w, on_given, 0, NULL);

	if (!o)
		return -ENOMEM;
	o->id = id;
	return send_order(o);
}

static void on_take_back(struct sl_mail *m)
{
	struct order *o = sl_container_of(m, struct order, mail);

	sl_proxy_take_back(o->worker->proxy);
	finish(o);
}

int sl_worker_take_back(struct sl_worker *w)
{
	return send_bare(w, on_take_back, NULL);
}

static void on_take(struct sl_mail *m)
{
	struct order *o = sl_container_of(m, struct order, mail);
	int r = sl_proxy_take(o->worker->proxy, o->handed);

	if (r && r != -ENOENT)
		sl_warn("a connection of the process before is cut: %s", sl_strerror(r));
	finish_conn(o);
}

int sl_worker_take(struct sl_worker *w, const struct sl_handed *h)
{
	struct order *o = order_new(w, on_take, 0, NULL);

	if (!o)
		return -ENOMEM;
	o->handed = sl_handed_copy(h);
	if (!o->handed) {
		finish(o);
		return -ENOMEM;
	}
	return send_conn(o);
}

static void on_splice_passed(struct sl_mail *m)
{
	struct order *o = sl_container_of(m, struct order, mail);

	sl_proxy_splice_passed(o->worker->proxy, o->cookie);
	finish(o);
}

static void on_splice_cut(struct sl_mail *m)
{
	struct order *o = sl_container_of(m, struct order, mail);

	sl_proxy_splice_cut(o->worker->proxy, o->cookie);
	finish(o);
}

static int send_cookie(struct sl_worker *w, sl_mail_fn fn, uint64_t cookie)
{
	struct order *o = order_new(w, fn, 0, NULL);

	if (!o)
		return -ENOMEM;
	o->cookie = cookie;
	return send_order(o);
}

int sl_worker_splice_passed(struct sl_worker *w, uint64_t app_netns)
{
	return send_cookie(w, on_splice_passed, app_netns);
}

int sl_worker_splice_cut(struct sl_worker *w, uint64_t app_cookie)
{
	return send_cookie(w, on_splice_cut, app_cookie);
}

static void on_ping(struct sl_mail *m)
{
	finish(sl_container_of(m, struct order, mail));
}

int sl_worker_ping(struct sl_worker *w, struct sl_ack *ack)
{
	return send_bare(w, on_ping, ack);
}

static void on_stop(struct sl_mail *m)
{
	struct order *o = sl_container_of(m, struct order, mail);

	sl_loop_stop(o->worker->loop);
	finish(o);
}

static void on_flush(struct sl_timer *t)
{
	struct sl_worker *w = sl_container_of(t, struct sl_worker, flush);

	sl_access_log_flush(w->log);
	sl_metrics_set(w->metrics, SL_COUNTER_ACCESS_LOG_DROPPED, sl_access_log_dropped(w->log));
	sl_timer_arm(w->loop, t, sl_loop_now(w->loop) + LOG_FLUSH_NS);
}

static void *run(void *arg)
{
	struct sl_worker *w = arg;
	char name[16];
	int r;

	(void)snprintf(name, sizeof(name), "worker-%u", w->index);
	(void)pthread_setname_np(pthread_self(), name); /* only for people */
	r = sl_loop_run(w->loop);
	if (r)
		sl_error("worker %u stopped: %s", w->index, sl_strerror(r));
	return NULL;
}

struct sl_worker *sl_worker_free(struct sl_worker *w)
{
	if (!w)
		return NULL;
	/* Mail that is still inside wants a proxy. */
	w->mailbox = sl_mailbox_free(w->mailbox);
	w->proxy = sl_proxy_free(w->proxy);
	sl_timer_cancel(&w->flush);
	w->log = sl_access_log_close(w->log);
	w->loop = sl_loop_free(w->loop);
	free(w);
	return NULL;
}

void sl_worker_stop(struct sl_worker *w)
{
	struct order *o;

	while (!(o = order_new(w, on_stop, 0, NULL)))
		(void)sched_yield(); /* memory comes back as connections end */
	(void)send_order(o);	     /* always 0 */
	(void)pthread_join(w->thread, NULL);
}

static int start_thread(struct sl_worker *w)
{
	sigset_t all, old;
	int r;

	/* Signals are the control thread's business. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	r = pthread_create(&w->thread, NULL, run, w);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return -r;
}

int sl_worker_start(const struct sl_worker_opts *opts, struct sl_worker **ret)
{
	struct sl_worker *w = sl_new(struct sl_worker);
	int r;

	if (!w)
		return -ENOMEM;
	w->index = opts->index;
	w->metrics = opts->metrics;
	w->flush = SL_TIMER_INIT(on_flush);
	r = sl_loop_new(&w->loop);
	if (!r)
		r = sl_mailbox_new(w->loop, &w->mailbox);
	if (!r && opts->access_log)
		r = sl_access_log_open(opts->access_log, &w->log);
	if (!r)
		r = sl_proxy_new(w->loop, &opts->proxy, &opts->host, w->metrics, w->log, &w->proxy);
	if (!r && w->log)
		sl_timer_arm(w->loop, &w->flush, sl_clock_now_ns() + LOG_FLUSH_NS);
	if (!r)
		r = start_thread(w);
	if (r) {
		sl_worker_free(w);
		return r;
	}
	*ret = w;
	return 0;
}

void sl_worker_post(struct sl_worker *w, struct sl_mail *mail)
{
	sl_mailbox_post(w->mailbox, mail);
}

struct sl_proxy *sl_worker_proxy(const struct sl_worker *w)
{
	return w->proxy;
}

size_t sl_worker_n_conns(const struct sl_worker *w)
{
	/* In this order one that arrives meanwhile is counted twice rather than never. */
	size_t n = atomic_load_explicit(&w->n_coming, memory_order_acquire);

	return n + sl_proxy_n_conns(w->proxy);
}

uint64_t sl_worker_log_dropped(const struct sl_worker *w)
{
	return sl_access_log_dropped(w->log);
}
