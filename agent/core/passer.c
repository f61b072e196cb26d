/* SPDX-License-Identifier: Apache-2.0 */
#include "core/passer.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <time.h>
#include "base/alloc.h"
#include "base/log.h"

enum { PATIENCE_S = 1 };

struct sl_passer {
	pthread_t thread;
	struct sl_loop *loop;
	struct sl_mailbox *mailbox;
	struct sl_mailbox *to;
	struct sl_hops *hops;
	struct sl_mail stop;
};

static int make_iter(void *hops)
{
	return sl_hops_iter(hops);
}

static void on_done(struct sl_mail *m)
{
	struct sl_pass *pass = sl_container_of(m, struct sl_pass, mail);

	pass->fn(pass);
}

static void on_begin(struct sl_mail *m)
{
	struct sl_pass *pass = sl_container_of(m, struct sl_pass, mail);
	struct sl_passer *p = pass->passer;
	int iter = sl_source_run(pass->source, make_iter, p->hops);

	pass->error = iter < 0 ? iter : sl_hops_pass(iter, &pass->result);
	m->fn = on_done;
	sl_mailbox_post(p->to, m);
}

void sl_passer_begin(struct sl_passer *p, struct sl_pass *pass)
{
	pass->passer = p;
	pass->result = (struct sl_hops_pass){0};
	pass->mail.fn = on_begin;
	sl_mailbox_post(p->mailbox, &pass->mail);
}

static void on_stop(struct sl_mail *m)
{
	sl_loop_stop(sl_container_of(m, struct sl_passer, stop)->loop);
}

static void *run(void *arg)
{
	struct sl_passer *p = arg;
	int r;

	(void)pthread_setname_np(pthread_self(), "passer"); /* only for people */
	r = sl_loop_run(p->loop);
	if (r)
		sl_error("the thread that looks at sockets stopped: %s", sl_strerror(r));
	return NULL;
}

static int start_thread(struct sl_passer *p)
{
	sigset_t all, old;
	int r;

	/* Signals are the control thread's business. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	r = pthread_create(&p->thread, NULL, run, p);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return -r;
}

static void destroy(struct sl_passer *p)
{
	p->mailbox = sl_mailbox_free(p->mailbox);
	p->loop = sl_loop_free(p->loop);
	free(p);
}

int sl_passer_new(struct sl_hops *hops, struct sl_mailbox *to, struct sl_passer **ret)
{
	struct sl_passer *p = sl_new(struct sl_passer);
	int r;

	if (!p)
		return -ENOMEM;
	p->hops = hops;
	p->to = to;
	p->stop.fn = on_stop;
	r = sl_loop_new(&p->loop);
	if (!r)
		r = sl_mailbox_new(p->loop, &p->mailbox);
	if (!r)
		r = start_thread(p);
	if (r) {
		destroy(p);
		return r;
	}
	*ret = p;
	return 0;
}

bool sl_passer_free(struct sl_passer *p)
{
	struct timespec deadline;

	sl_mailbox_post(p->mailbox, &p->stop);
	(void)clock_gettime(CLOCK_REALTIME, &deadline); /* which pthread_timedjoin_np() wants */
	deadline.tv_sec += PATIENCE_S;
	if (pthread_timedjoin_np(p->thread, NULL, &deadline))
		return false;
	destroy(p);
	return true;
}
