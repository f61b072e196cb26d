/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
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

static void count_leased(struct sl_proxy *p, int n)
{
	p->n_leased += (size_t)n;
	sl_metrics_gauge_add(p->metrics, SL_GAUGE_POOL_LEASED, n);
}

void sl_upconn_close(struct sl_upconn *u, bool reset)
{
	if (!u)
		return;
	sl_upconn_count(u);
	if (u->wakes)
		count_leased(u->proxy, -1);
	sl_sock_close(&u->sock, reset);
	sl_lb_disconnect(&u->held);
	free(u);
}

void sl_upconn_bind(struct sl_upconn *u, struct sl_task *wakes)
{
	if (!u->wakes)
		count_leased(u->proxy, 1);
	u->wakes = wakes;
	u->pooled.watch.fn = sl_upconn_on_event;
}

bool sl_upconn_tls_failed(const struct sl_upconn *u)
{
	return u->sock.tls && u->sock.connecting && !u->sock.tls_waits;
}

void sl_upconn_count_connect(struct sl_upconn *u, int err)
{
	struct sl_metrics_shard *m = u->proxy->metrics;

	if (u->counted_connect)
		return;
	u->counted_connect = true;
	if (err && sl_upconn_tls_failed(u)) {
		sl_metrics_inc(m, SL_COUNTER_CONNECTS_TLS);
		return;
	}
	sl_metrics_inc(m, !err			 ? SL_COUNTER_CONNECTS_OK
			  : err == -ECONNREFUSED ? SL_COUNTER_CONNECTS_REFUSED
			  : err == -ETIMEDOUT	 ? SL_COUNTER_CONNECTS_TIMEOUT
						 : SL_COUNTER_CONNECTS_FAILED);
	if (!err && u->sock.tls)
		sl_metrics_inc(m, sl_tls_conn_resumed(u->sock.tls) ? SL_COUNTER_TLS_RESUMED
								   : SL_COUNTER_TLS_FULL);
}

/* In the client's namespace, marked as ours so that the connect hook leaves it alone. */
static int connect_socket(struct sl_proxy_source *src, const struct sl_addr *endpoint,
			  bool *ret_pending)
{
	struct sl_proxy *p = src->proxy;
	struct sockaddr_storage ss;
	socklen_t len = sl_addr_to_sockaddr(endpoint, &ss);
	_cleanup_(sl_closep) int fd = -1;
	int r;

	fd = sl_source_socket(src->source, ss.ss_family, SOCK_STREAM, 0);
	if (fd < 0)
		return fd;
	r = p->host.own(p->host.arg, fd);
	if (r)
		return r;
	sl_sock_prepare(fd, &p->opts.room);
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

static int begin_tls(struct sl_upconn *u, const struct sl_dial *dial)
{
	const struct sl_tls_conn_opts opts = {.context = dial->tls,
					      .protocol = dial->protocol,
					      .sessions = u->proxy->tls_sessions,
					      .endpoint = dial->endpoint};

	u->pooled.tls = sl_tls_context_id(dial->tls);
	return dial->tls ? sl_sock_tls_begin(&u->sock, &opts) : 0;
}

static int connect_new(struct sl_proxy_source *src, const struct sl_dial *dial,
		       struct sl_upconn **ret)
{
	_cleanup_(sl_closep) int fd = -1;
	struct sl_upconn *u = NULL;
	bool pending = false;
	int r;

	fd = connect_socket(src, &dial->endpoint, &pending);
	if (fd < 0)
		return fd;
	r = sl_upconn_new(src->proxy, src->cookie, &dial->endpoint, fd, &u);
	if (r)
		return r;
	(void)sl_take_fd(&fd);
	if (pending) {
		u->sock.connecting = true;
		u->sock.can_write = false;
	}
	u->sock.can_read = false; /* an edge will say */
	r = begin_tls(u, dial);
	if (r) {
		sl_upconn_close(u, false);
		return r;
	}
	*ret = u;
	return 0;
}

static int dial_new(struct sl_proxy_source *src, const struct sl_dial *dial, struct sl_upconn **ret)
{
	struct sl_lb_lease held = {0};
	int r = sl_balance_connect(src->proxy, dial->lease, &held) ? -EBUSY : 0;

	if (!r)
		r = connect_new(src, dial, ret);
	if (r)
		sl_lb_disconnect(&held);
	else
		(*ret)->held = held;
	return r;
}

bool sl_upconn_is_spent(const struct sl_upconn *u)
{
	uint32_t max = sl_lb_requests_per_connection(&u->held);

	return max && u->n_exchanges >= max;
}

static bool is_plain(const struct sl_pooled *c)
{
	return !sl_splice_may_be_in(sl_container_of(c, struct sl_upconn, pooled)->sock.splice);
}

int sl_upconn_open(struct sl_proxy_source *src, const struct sl_dial *dial, struct sl_task *wakes,
		   struct sl_upconn **ret)
{
	struct sl_proxy *p = src->proxy;
	struct sl_pooled *c = NULL;
	struct sl_upconn *u;
	int r;

	if (dial->reuse != SL_REUSE_NEVER)
		c = sl_pool_take(p->pool, src->cookie, &dial->endpoint,
				 sl_tls_context_id(dial->tls), dial->reuse == SL_REUSE_AGAIN,
				 dial->reuse == SL_REUSE_PLAIN ? is_plain : NULL);
	if (c) {
		u = sl_container_of(c, struct sl_upconn, pooled);
		if (!u->held.up && sl_balance_connect(p, dial->lease, &u->held)) {
			/* Dialled ahead, when nobody knew for which rule. */
			sl_upconn_close(u, false);
			return -EBUSY;
		}
		/* One that was dialled to hear whether the server speaks first has proved nothing.
		 */
		u->reused = u->pooled.served;
		u->base_sent = u->sock.n_sent;
		u->base_received = u->sock.n_received;
		sl_metrics_inc(p->metrics, SL_COUNTER_POOL_REUSED);
	} else {
		r = dial_new(src, dial, &u);
		if (r)
			return r;
		sl_metrics_inc(p->metrics, SL_COUNTER_POOL_MISSED);
	}
	sl_metrics_gauge_set(p->metrics, SL_GAUGE_POOL_IDLE, sl_pool_n_idle(p->pool));
	sl_upconn_bind(u, wakes);
	*ret = u;
	return 0;
}

void sl_upconn_discard(struct sl_upconn *u)
{
	sl_pool_release(&u->pooled);
	sl_metrics_gauge_set(u->proxy->metrics, SL_GAUGE_POOL_IDLE, sl_pool_n_idle(u->proxy->pool));
	sl_upconn_close(u, true);
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
	count_leased(p, -1);
	if (p->giving) {
		sl_upconn_hand_over(u);
		return;
	}
	sl_pool_give(p->pool, &u->pooled);
	sl_metrics_gauge_set(p->metrics, SL_GAUGE_POOL_IDLE, sl_pool_n_idle(p->pool));
}
