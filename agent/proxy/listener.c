/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "proxy/listener.h"

/* No queue is longer than the second, so that those who come meanwhile do not keep us. */
enum { ACCEPTS_PER_EVENT = 16, QUEUE_MAX = 4096 };

/* Another thread may have taken it while it was given up. */
static void keep_spare(struct sl_proxy *p)
{
	if (p->spare_fd < 0)
		p->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

/* Descriptors ran out: give up the spare one for a moment, so that the client is refused at once
 * instead of waiting in the queue, and the listener does not spin. */
static void refuse_one(struct sl_listener *l)
{
	static struct sl_log_limit limit;
	struct sl_proxy *p = l->source->proxy;
	uint64_t skipped;
	int fd;

	sl_metrics_inc(p->metrics, SL_COUNTER_CONNS_REFUSED);
	sl_metrics_limit(p->metrics, SL_LIMIT_DESCRIPTORS);
	if (sl_log_allowed(&limit, sl_loop_now(p->loop), &skipped))
		sl_warn("out of file descriptors, refusing connections skipped=%llu",
			(unsigned long long)skipped);
	sl_closep(&p->spare_fd);
	p->spare_fd = -1;
	fd = accept4(l->fd, NULL, NULL, SOCK_CLOEXEC);
	if (fd >= 0)
		(void)close(fd); /* unread data makes it a reset */
	keep_spare(p);
}

/* Returns false when there is none, or none that can be taken. */
static bool accept_one(struct sl_listener *l)
{
	struct sl_proxy_accepted a = {.source = l->source->source->cookie};
	struct sl_proxy *p = l->source->proxy;
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);

	a.fd = accept4(l->fd, (struct sockaddr *)&ss, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (a.fd < 0) {
		if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
			refuse_one(l);
		/* Else EAGAIN, or the connection went before it was accepted. */
		return false;
	}
	(void)sl_addr_from_sockaddr(&ss, &a.peer); /* TCP listeners give no other family */
	if (!p->draining && p->host.hand_over && p->host.hand_over(p->host.arg, &a, p->n_conns))
		sl_metrics_inc(p->metrics, SL_COUNTER_CONNS_HANDED_OVER);
	else
		sl_conn_accept(l->source, &a);
	return true;
}

/* Mostly there is one, and finding that out would be a call of its own. If the next round finds the
 * queue not empty yet, twice as many are taken. */
static void on_accept(struct sl_watch *w, uint32_t events)
{
	struct sl_listener *l = sl_container_of(w, struct sl_listener, watch);
	uint64_t round = sl_loop_rounds(w->loop);
	unsigned n = 0;

	if (round != l->round + 1)
		l->burst = 1;
	l->round = round;
	keep_spare(l->source->proxy);
	while (n < l->burst && accept_one(l))
		n++;
	if (n < l->burst)
		l->burst = n ? n : 1;
	else if (l->burst < ACCEPTS_PER_EVENT)
		l->burst *= 2;
}

void sl_listener_accept_all(struct sl_proxy_source *src)
{
	sl_list_foreach (n, &src->listeners) {
		struct sl_listener *l = sl_container_of(n, struct sl_listener, node);

		for (unsigned i = 0; i < QUEUE_MAX && accept_one(l); i++)
			;
	}
}

int sl_listener_add(struct sl_proxy_source *src, int fd)
{
	struct sl_listener *l;
	int r;

	sl_list_foreach (n, &src->listeners) {
		if (sl_container_of(n, struct sl_listener, node)->fd == fd)
			return 0;
	}
	l = sl_new(struct sl_listener);
	if (!l)
		return -ENOMEM;
	l->watch = SL_WATCH_INIT;
	l->source = src;
	l->fd = fd;
	l->burst = 1;
	r = sl_watch_add(src->proxy->loop, &l->watch, fd, EPOLLIN | EPOLLEXCLUSIVE, on_accept);
	if (r) {
		free(l);
		return r;
	}
	/* Those that it accepts have it from the beginning. */
	sl_sock_prepare(fd, &src->proxy->opts.room);
	sl_list_append(&src->listeners, &l->node);
	return 0;
}

void sl_listener_remove_all(struct sl_proxy_source *src)
{
	sl_list_foreach_safe (n, &src->listeners) {
		struct sl_listener *l = sl_container_of(n, struct sl_listener, node);

		sl_watch_remove(&l->watch);
		sl_list_remove(&l->node);
		free(l);
	}
}
