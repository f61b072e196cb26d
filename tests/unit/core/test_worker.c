/* SPDX-License-Identifier: Apache-2.0 */
/* Workers as the control thread sees them: orders, acknowledgements, the end. */
#include <criterion/criterion.h>
#include <errno.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/socket.h>
#include "../../lib/config.h"
#include "../../lib/leak.h"
#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "core/worker.h"

enum { N_WORKERS = 3 };

#define DEADLINE_NS (20 * SL_NS_PER_S)

static struct sl_loop *loop;
static struct sl_mailbox *mailbox;
static struct sl_metrics *metrics;
static struct sl_worker *workers[N_WORKERS];
static unsigned n_workers;

/* ---- the fake host ---- */

static int original(void *arg, int fd, struct sl_proxy_original *ret)
{
	(void)arg;
	(void)fd;
	*ret = (struct sl_proxy_original){0};
	return sl_addr_parse(SL_STR("10.96.0.1:80"), &ret->addr);
}

static int own(void *arg, int fd)
{
	(void)arg;
	(void)fd;
	return 0;
}

static struct sl_worker_opts worker_opts(unsigned i)
{
	return (struct sl_worker_opts){.index = i,
				       .proxy = SL_PROXY_OPTS_DEFAULT,
				       .host = {.original = original, .own = own},
				       .metrics = sl_metrics_shard(metrics, i)};
}

static void set_up(void)
{
	const struct sl_metrics_opts opts = {.n_workers = N_WORKERS};

	cr_assert_eq(sl_loop_new(&loop), 0);
	cr_assert_eq(sl_mailbox_new(loop, &mailbox), 0);
	cr_assert_eq(sl_metrics_new(&opts, &metrics), 0);
}

static void start(unsigned n)
{
	for (n_workers = 0; n_workers < n; n_workers++) {
		struct sl_worker_opts opts = worker_opts(n_workers);

		cr_assert_eq(sl_worker_start(&opts, &workers[n_workers]), 0);
	}
}

static void stop(void)
{
	for (unsigned i = 0; i < n_workers; i++)
		sl_worker_stop(workers[i]);
	for (unsigned i = 0; i < n_workers; i++)
		workers[i] = sl_worker_free(workers[i]);
	n_workers = 0;
}

static void tear_down(void)
{
	stop();
	mailbox = sl_mailbox_free(mailbox);
	loop = sl_loop_free(loop);
	metrics = sl_metrics_free(metrics);
	check_leaks();
}

TestSuite(worker, .init = set_up, .fini = tear_down);

/* ---- acknowledgements ---- */

struct order {
	struct sl_ack ack;
	unsigned n_done;
};

static void on_done(struct sl_mail *m)
{
	struct sl_ack *ack = sl_container_of(m, struct sl_ack, mail);

	sl_container_of(ack, struct order, ack)->n_done++;
}

static void order_init(struct order *o, unsigned n)
{
	*o = (struct order){.ack = {.mail.fn = on_done, .to = mailbox}};
	atomic_store(&o->ack.pending, n);
}

static void wait_for(const struct order *o)
{
	uint64_t deadline = sl_clock_now_ns() + DEADLINE_NS;

	while (!o->n_done) {
		cr_assert_lt(sl_clock_now_ns(), deadline, "not acknowledged");
		cr_assert_eq(sl_loop_round(loop, SL_NS_PER_S), 0);
	}
	cr_assert_eq(o->n_done, 1);
}

static void wait_for_conns(const struct sl_worker *w, size_t n)
{
	uint64_t deadline = sl_clock_now_ns() + DEADLINE_NS;

	while (sl_worker_n_conns(w) != n) {
		cr_assert_lt(sl_clock_now_ns(), deadline, "%zu connections, not %zu",
			     sl_worker_n_conns(w), n);
		cr_assert_eq(sl_loop_round(loop, SL_NS_PER_MS), 0);
	}
}

static struct sl_snapshot *snapshot(void)
{
	struct sl_snapshot *snap = NULL;

	cr_assert_eq(
		config_compile("apiVersion: v1\nkind: Service\n"
			       "metadata: {name: cart, namespace: shop}\n"
			       "spec:\n  clusterIP: 10.96.0.1\n"
			       "  ports: [{port: 80, appProtocol: http}]\n"
			       "---\n"
			       "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\n"
			       "metadata: {name: route, namespace: shop}\n"
			       "spec:\n  parentRefs: [{group: \"\", kind: Service, name: cart}]\n"
			       "  rules: [{backendRefs: [{name: cart, port: 80}]}]\n",
			       1, &snap),
		0);
	return snap;
}

static struct sl_source *source(void)
{
	struct sl_source *s = sl_new(struct sl_source);

	cr_assert_not_null(s);
	s->refs = 1;
	s->cookie = 5;
	s->fd = -1;
	return s;
}

static int listen_on_loopback(struct sockaddr_in *ret)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	socklen_t len = sizeof(*ret);

	*ret = (struct sockaddr_in){.sin_family = AF_INET,
				    .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	cr_assert_geq(fd, 0);
	cr_assert_eq(bind(fd, (struct sockaddr *)ret, sizeof(*ret)), 0);
	cr_assert_eq(listen(fd, 64), 0);
	cr_assert_eq(getsockname(fd, (struct sockaddr *)ret, &len), 0);
	return fd;
}

static int dial(const struct sockaddr_in *to)
{
	const struct timeval patience = {.tv_sec = DEADLINE_NS / SL_NS_PER_S};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	cr_assert_geq(fd, 0);
	cr_assert_eq(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)), 0);
	cr_assert_eq(connect(fd, (const struct sockaddr *)to, sizeof(*to)), 0);
	return fd;
}

/* The route has no endpoint: that is an answer too. */
static void expect_answer(int fd)
{
	static const char request[] = "GET / HTTP/1.1\r\nHost: cart\r\n\r\n";
	char got[12];

	cr_assert_eq(send(fd, request, strlen(request), MSG_NOSIGNAL), (ssize_t)strlen(request));
	cr_assert_eq(recv(fd, got, sizeof(got), MSG_WAITALL), (ssize_t)sizeof(got));
	cr_assert(!memcmp(got, "HTTP/1.1 503", sizeof(got)), "%.12s", got);
}

Test(worker, an_order_to_all_is_acknowledged_once)
{
	struct sl_snapshot *snap = snapshot();
	struct order o;

	start(N_WORKERS);
	order_init(&o, N_WORKERS);
	for (unsigned i = 0; i < N_WORKERS; i++)
		cr_assert_eq(sl_worker_ping(workers[i], &o.ack), 0);
	wait_for(&o);
	order_init(&o, N_WORKERS);
	for (unsigned i = 0; i < N_WORKERS; i++)
		cr_assert_eq(sl_worker_publish(workers[i], snap, &o.ack), 0);
	wait_for(&o);
	(void)sl_snapshot_unref(snap); /* the workers have theirs */
}

Test(worker, an_order_that_cannot_be_sent_is_counted_down_too)
{
	struct sl_snapshot *snap = snapshot();
	struct sl_source *src = source();
	struct order o;
	int fd = 0;

	start(N_WORKERS);
	/* All of them fail, then the one in the middle. */
	for (int failing = 0; failing < 2; failing++) {
		order_init(&o, N_WORKERS * 4);
		for (unsigned i = 0; i < N_WORKERS; i++) {
			int wanted = !failing || i == 1 ? -ENOMEM : 0;

			(void)sl_alloc_fail_after(wanted ? 0 : -1);
			cr_assert_eq(sl_worker_publish(workers[i], snap, &o.ack), wanted);
			(void)sl_alloc_fail_after(wanted ? 0 : -1);
			cr_assert_eq(sl_worker_add_source(workers[i], src, &fd, 0, &o.ack), wanted);
			(void)sl_alloc_fail_after(wanted ? 0 : -1);
			cr_assert_eq(sl_worker_remove_source(workers[i], 5, &o.ack), wanted);
			(void)sl_alloc_fail_after(wanted ? 0 : -1);
			cr_assert_eq(sl_worker_ping(workers[i], &o.ack), wanted);
		}
		(void)sl_alloc_fail_after(-1);
		wait_for(&o);
	}
	(void)sl_alloc_fail_after(0);
	cr_assert_eq(sl_worker_drain(workers[0], NULL), -ENOMEM);
	(void)sl_alloc_fail_after(0);
	cr_assert_eq(sl_worker_reopen_log(workers[0]), -ENOMEM);
	(void)sl_alloc_fail_after(-1);
	(void)sl_snapshot_unref(snap);
	(void)sl_source_unref(src);
}

Test(worker, orders_are_carried_out_as_sent)
{
	struct sl_snapshot *snap = snapshot();
	struct sl_source *src = source();
	struct sockaddr_in addr;
	int listener = listen_on_loopback(&addr), client;
	struct order o;

	start(1);
	order_init(&o, 4);
	cr_assert_eq(sl_worker_publish(workers[0], snap, &o.ack), 0);
	cr_assert_eq(sl_worker_add_source(workers[0], src, &listener, 1, &o.ack), 0);
	cr_assert_eq(sl_worker_remove_source(workers[0], 5, &o.ack), 0);
	cr_assert_eq(sl_worker_add_source(workers[0], src, &listener, 1, &o.ack), 0);
	wait_for(&o);
	client = dial(&addr);
	expect_answer(client);
	wait_for_conns(workers[0], 1);
	order_init(&o, 1);
	cr_assert_eq(sl_worker_remove_source(workers[0], 5, &o.ack), 0);
	wait_for(&o);
	cr_assert_eq(sl_worker_n_conns(workers[0]), 0);
	/* The listener is nobody's now. */
	(void)close(listener);
	(void)close(client);
	(void)sl_snapshot_unref(snap);
	(void)sl_source_unref(src);
}

Test(worker, a_connection_is_handed_over)
{
	struct sl_snapshot *snap = snapshot();
	struct sl_source *src = source();
	struct sockaddr_in addr;
	int listener = listen_on_loopback(&addr), client = dial(&addr);
	struct sl_proxy_accepted a = {.source = 5};
	struct order o;

	start(2);
	order_init(&o, 2);
	cr_assert_eq(sl_worker_publish(workers[1], snap, &o.ack), 0);
	cr_assert_eq(sl_worker_add_source(workers[1], src, NULL, 0, &o.ack), 0);
	wait_for(&o);
	a.fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	cr_assert_geq(a.fd, 0);
	(void)sl_alloc_fail_after(0);
	cr_assert_eq(sl_worker_adopt(workers[1], &a), -ENOMEM, "it stays the caller's");
	(void)sl_alloc_fail_after(-1);
	cr_assert_eq(sl_worker_adopt(workers[1], &a), 0);
	expect_answer(client);
	cr_assert_eq(sl_worker_n_conns(workers[1]), 1);
	(void)close(client);
	wait_for_conns(workers[1], 0);
	/* One that does not know the namespace closes it. */
	client = dial(&addr);
	a.fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	cr_assert_eq(sl_worker_adopt(workers[0], &a), 0);
	cr_assert_eq(recv(client, &o, 1, 0), 0);
	(void)close(client);
	(void)close(listener);
	(void)sl_snapshot_unref(snap);
	(void)sl_source_unref(src);
}

struct pause {
	struct sl_mail mail;
	atomic_bool begun, over;
};

static void on_pause(struct sl_mail *m)
{
	struct pause *p = sl_container_of(m, struct pause, mail);

	atomic_store(&p->begun, true);
	while (!atomic_load(&p->over))
		(void)sched_yield();
}

/* Else a process that ends when it counts none would cut it. */
Test(worker, a_connection_counts_from_the_order_on)
{
	struct sockaddr_in addr;
	int listener = listen_on_loopback(&addr), client = dial(&addr);
	struct sl_proxy_accepted a = {.source = 5};
	struct pause pause = {.mail.fn = on_pause};

	start(1);
	sl_worker_post(workers[0], &pause.mail);
	while (!atomic_load(&pause.begun))
		(void)sched_yield();
	a.fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	cr_assert_geq(a.fd, 0);
	cr_assert_eq(sl_worker_adopt(workers[0], &a), 0);
	cr_assert_eq(sl_worker_n_conns(workers[0]), 1);
	atomic_store(&pause.over, true);
	/* It knows no such namespace, so it closes it. */
	cr_assert_eq(recv(client, &addr, 1, 0), 0);
	wait_for_conns(workers[0], 0);
	(void)close(client);
	(void)close(listener);
}

Test(worker, what_is_in_the_mail_at_the_end_is_not_lost)
{
	struct sl_snapshot *snap = snapshot();
	struct sl_source *src = source();
	struct sockaddr_in addr;
	int listener = listen_on_loopback(&addr), client = dial(&addr);
	struct sl_proxy_accepted a = {.source = 5};
	struct order o;

	start(1);
	sl_worker_stop(workers[0]);
	order_init(&o, 3);
	cr_assert_eq(sl_worker_publish(workers[0], snap, &o.ack), 0);
	cr_assert_eq(sl_worker_add_source(workers[0], src, NULL, 0, &o.ack), 0);
	a.fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	cr_assert_geq(a.fd, 0);
	cr_assert_eq(sl_worker_adopt(workers[0], &a), 0);
	cr_assert_eq(sl_worker_ping(workers[0], &o.ack), 0);
	workers[0] = sl_worker_free(workers[0]);
	n_workers = 0;
	wait_for(&o);
	cr_assert_eq(recv(client, &o, 1, 0), -1, "cut");
	(void)close(client);
	(void)close(listener);
	(void)sl_snapshot_unref(snap);
	(void)sl_source_unref(src);
}

Test(worker, a_drain_ends_what_is_idle)
{
	struct sl_snapshot *snap = snapshot();
	struct sl_source *src = source();
	struct sockaddr_in addr;
	int listener = listen_on_loopback(&addr), client;
	struct order o;
	char byte;

	start(1);
	order_init(&o, 2);
	cr_assert_eq(sl_worker_publish(workers[0], snap, &o.ack), 0);
	cr_assert_eq(sl_worker_add_source(workers[0], src, &listener, 1, &o.ack), 0);
	wait_for(&o);
	client = dial(&addr);
	expect_answer(client);
	cr_assert_eq(sl_worker_drain(workers[0], NULL), 0);
	while (recv(client, &byte, 1, 0) > 0)
		; /* the rest of the answer */
	(void)close(client);
	wait_for_conns(workers[0], 0);
	(void)close(listener);
	(void)sl_snapshot_unref(snap);
	(void)sl_source_unref(src);
}

Test(worker, one_that_cannot_be_started_leaves_nothing)
{
	struct sl_worker_opts opts = worker_opts(0);
	long n = 0;
	int err;

	do {
		(void)sl_alloc_fail_after(n++);
		err = sl_worker_start(&opts, &workers[0]);
		(void)sl_alloc_fail_after(-1);
		cr_assert(!err || err == -ENOMEM);
	} while (err);
	n_workers = 1;
	cr_assert_gt(n, 5);
	opts.access_log = "/no/such/folder/log";
	cr_assert_eq(sl_worker_start(&opts, &workers[1]), -ENOENT);
}
