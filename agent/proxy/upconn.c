/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include "base/alloc.h"
#include "base/cleanup.h"
#include "proxy/state.h"

void sl_upconn_on_event(struct sl_watch *w, uint32_t events)
{
	struct sl_upconn *u = sl_container_of(w, struct sl_upconn, pooled.watch);

	sl_sock_event(&u->sock, events);
	/* Answers before requests: what goes to the same process goes in a row, which wakes it once
	 * instead of once for each. */
	if (u->wakes)
		sl_task_queue_early(u->proxy->loop, u->wakes);
}

static void destroy(struct sl_pooled *c)
{
	struct sl_upconn *u = sl_container_of(c, struct sl_upconn, pooled);

	sl_metrics_gauge_set(u->proxy->metrics, SL_GAUGE_POOL_IDLE, sl_pool_n_idle(u->proxy->pool));
	sl_upconn_close(u, false);
}

void sl_upconn_count(struct sl_upconn *u)
{
	struct sl_metrics_shard *m = u->proxy->metrics;

	sl_metrics_add(m, SL_COUNTER_BYTES_UPSTREAM_RECEIVED,
		       u->sock.n_received - u->counted_received);
	sl_metrics_add(m, SL_COUNTER_BYTES_UPSTREAM_SENT, u->sock.n_sent - u->counted_sent);
	u->counted_received = u->sock.n_received;
	u->counted_sent = u->sock.n_sent;
}

void sl_upconn_close(struct sl_upconn *u, bool reset)
{
	if (!u)
		return;
	sl_upconn_count(u);
	if (u->wakes)
		sl_metrics_gauge_add(u->proxy->metrics, SL_GAUGE_POOL_LEASED, -1);
	sl_sock_close(&u->sock, reset);
	free(u);
}

void sl_upconn_bind(struct sl_upconn *u, struct sl_task *wakes)
{
	if (!u->wakes)
		sl_metrics_gauge_add(u->proxy->metrics, SL_GAUGE_POOL_LEASED, 1);
	u->wakes = wakes;
	u->pooled.watch.fn = sl_upconn_on_event;
}

/* In the client's namespace, marked as ours so that the connect hook leaves it alone. */
static int connect_socket(struct sl_proxy_source *src, const struct sl_addr *endpoint,
			  bool *ret_pending)
{
	struct sl_proxy *p = src->proxy;
	struct sockaddr_storage ss;
	socklen_t len = sl_addr_to_sockaddr(endpoint, &ss);
	_cleanup_(sl_closep) int fd = -1;
	int one = 1, r;

	fd = sl_source_socket(src->source, ss.ss_family, SOCK_STREAM, 0);
	if (fd < 0)
		return fd;
	r = p->host.own(p->host.arg, fd);
	if (r)
		return r;
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)); /* it is TCP */
	if (connect(fd, (struct sockaddr *)&ss, len) < 0) {
		if (errno != EINPROGRESS)
			return -errno;
		*ret_pending = true;
	}
	return sl_take_fd(&fd);
}

int sl_upconn_new(struct sl_proxy *p, uint64_t source, const struct sl_addr *endpoint, int fd,
		  struct sl_upconn **ret)
{
	_cleanup_(sl_freep) struct sl_upconn *u = sl_new(struct sl_upconn);
	int r;

	if (!u)
		return -ENOMEM;
	u->pooled.watch = SL_WATCH_INIT;
	r = sl_sock_init(&u->sock, p->loop, &p->blocks, &u->pooled.watch, fd, sl_upconn_on_event);
	if (r)
		return r;
	u->proxy = p;
	u->pooled.source = source;
	u->pooled.endpoint = *endpoint;
	u->pooled.destroy = destroy;
	sl_list_init(&u->pooled.by_key);
	sl_list_init(&u->pooled.by_age);
	sl_list_init(&u->lent.node);
	*ret = sl_take(u);
	return 0;
}

static int connect_new(struct sl_proxy_source *src, const struct sl_addr *endpoint,
		       struct sl_upconn **ret)
{
	_cleanup_(sl_closep) int fd = -1;
	struct sl_upconn *u = NULL;
	bool pending = false;
	int r;

	fd = connect_socket(src, endpoint, &pending);
	if (fd < 0)
		return fd;
	r = sl_upconn_new(src->proxy, src->cookie, endpoint, fd, &u);
	if (r)
		return r;
	(void)sl_take_fd(&fd);
	if (pending) {
		u->sock.connecting = true;
		u->sock.can_write = false;
	}
	u->sock.can_read = false; /* an edge will say */
	*ret = u;
	return 0;
}

int sl_upconn_open(struct sl_proxy_source *src, const struct sl_addr *endpoint, enum sl_reuse reuse,
		   struct sl_task *wakes, struct sl_upconn **ret)
{
	struct sl_proxy *p = src->proxy;
	struct sl_pooled *c = NULL;
	struct sl_upconn *u;
	int r;

	if (reuse != SL_REUSE_NEVER)
		c = sl_pool_take(p->pool, src->cookie, endpoint, reuse == SL_REUSE_AGAIN);
	if (c) {
		u = sl_container_of(c, struct sl_upconn, pooled);
		/* One that was dialled to hear whether the server speaks first has proved nothing.
		 */
		u->reused = u->pooled.served;
		u->sock.n_sent = u->sock.n_received = 0;
		u->counted_sent = u->counted_received = 0;
		sl_metrics_inc(p->metrics, SL_COUNTER_POOL_REUSED);
	} else {
		r = connect_new(src, endpoint, &u);
		if (r)
			return r;
		sl_metrics_inc(p->metrics, SL_COUNTER_POOL_MISSED);
	}
	sl_metrics_gauge_set(p->metrics, SL_GAUGE_POOL_IDLE, sl_pool_n_idle(p->pool));
	sl_upconn_bind(u, wakes);
	*ret = u;
	return 0;
}

void sl_upconn_give(struct sl_upconn *u)
{
	struct sl_proxy *p = u->proxy;

	/* Edges do not come twice: what the flags call readable must be read before the pool waits.
	 */
	if (u->sock.can_read && !sl_buf_len(&u->sock.in))
		(void)sl_sock_fill(&u->sock,
				   SL_SOCK_READ_BYTES); /* any outcome but empty closes it */
	if (p->draining || u->sock.can_read || sl_buf_len(&u->sock.in) ||
	    sl_sock_read_done(&u->sock) || u->sock.hangup || u->sock.broken) {
		sl_upconn_close(u, false);
		return;
	}
	sl_buf_release(&u->sock.in);
	sl_buf_release(&u->sock.out);
	sl_upconn_count(u);
	u->wakes = NULL;
	sl_metrics_gauge_add(p->metrics, SL_GAUGE_POOL_LEASED, -1);
	if (p->giving) {
		sl_upconn_hand_over(u);
		return;
	}
	sl_pool_give(p->pool, &u->pooled);
	sl_metrics_gauge_set(p->metrics, SL_GAUGE_POOL_IDLE, sl_pool_n_idle(p->pool));
}
