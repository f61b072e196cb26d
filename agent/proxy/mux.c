/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/mux.h"

#include <errno.h>
#include "base/alloc.h"
#include "base/cleanup.h"

/* Of one that nobody leases; as of the pool's other connections. */
#define IDLE_TIMEOUT_NS (60 * SL_NS_PER_S)

enum { STEPS_PER_TURN = 16 };

void sl_mux_wake(struct sl_mux *m)
{
	sl_wake_fairly(m->proxy->loop, &m->task, &m->turns);
}

static void wake_all(struct sl_mux *m)
{
	sl_list_foreach (n, &m->leases)
		sl_stream_wake(sl_container_of(n, struct sl_exchange, node)->stream);
}

static void on_news(void *arg, struct sl_h2_stream *st)
{
	sl_stream_wake(sl_container_of(st, struct sl_exchange, h2)->stream);
}

static bool is_tight(void *arg)
{
	struct sl_mux *m = arg;

	return sl_shed_is_tight(m->proxy, &m->debtor);
}

static const struct sl_h2_events events = {.news = on_news, .tight = is_tight};

static void destroy(struct sl_mux *m)
{
	sl_pool_unshare(&m->shared);
	sl_list_remove(&m->debtor.node);
	m->session = sl_h2_free(m->session);
	m->proxy->buffered_bytes -= m->buffered_bytes;
	sl_task_cancel(&m->task);
	sl_timer_cancel(&m->timer);
	sl_upconn_close(m->up, false);
	free(m);
}

/* No further streams; it is gone when the last one is. */
static void retire(struct sl_mux *m)
{
	if (m->retired)
		return;
	m->retired = true;
	m->task.owner = NULL; /* the source may go before it */
	sl_pool_unshare(&m->shared);
}

/* By the pool, also when the proxy goes and no task runs any more. */
static void on_retire(struct sl_shared *c)
{
	struct sl_mux *m = sl_container_of(c, struct sl_mux, shared);

	retire(m);
	if (!m->n_leases)
		destroy(m);
}

static bool has_room(const struct sl_shared *c)
{
	const struct sl_mux *m = sl_container_of(c, struct sl_mux, shared);

	if (sl_upconn_is_spent(m->up))
		return false;
	/* Until the peer has said how many it takes, its streams wait: most peers take them all. */
	if (!sl_h2_settled(m->session))
		return m->n_leases < m->proxy->opts.h2.n_streams;
	return sl_h2_room(m->session) > 0;
}

/* The connection is over. What the streams have received stays with them. */
static void end(struct sl_mux *m, int error)
{
	retire(m);
	m->error = error;
	m->settled = sl_h2_settled(m->session);
	m->session = sl_h2_free(m->session);
	wake_all(m);
}

static void arm(struct sl_mux *m)
{
	const struct sl_proxy *p = m->proxy;
	uint64_t at =
		sl_loop_now(p->loop) + (m->n_leases ? p->opts.ping_interval_ns : IDLE_TIMEOUT_NS);

	if (m->session && !sl_h2_settled(m->session) && !m->retired)
		at = m->deadline_ns;
	sl_timer_arm(p->loop, &m->timer, at);
}

static void on_timeout(struct sl_timer *t)
{
	struct sl_mux *m = sl_container_of(t, struct sl_mux, timer);

	m->timed_out = true;
	sl_mux_wake(m);
}

/* Idle for too long, or time to ask whether the peer is still there. */
static void look_at_clock(struct sl_mux *m)
{
	m->timed_out = false;
	if (!m->connected) {
		end(m, -ETIMEDOUT); /* a dial of its own may still reach the endpoint */
		return;
	}
	if (!m->n_leases || (!sl_h2_settled(m->session) && !m->retired)) {
		retire(m);
		wake_all(m); /* who waits goes elsewhere */
		arm(m);
		return;
	}
	if (!sl_h2_pings_answered(m->session) && m->up->sock.n_received == m->pinged_at_bytes) {
		sl_metrics_limit(m->proxy->metrics, SL_LIMIT_PING_INTERVAL);
		end(m, -ETIMEDOUT);
		return;
	}
	m->pinged_at_bytes = m->up->sock.n_received;
	if (sl_h2_pings_answered(m->session))
		(void)sl_h2_ping(m->session); /* without memory: the next time */
	arm(m);
}

static void connect_step(struct sl_mux *m)
{
	int r = sl_sock_connected(&m->up->sock);

	if (r == -EINPROGRESS)
		return;
	if (r) {
		end(m, r);
		return;
	}
	m->connected = true;
	wake_all(m);
}

/* Returns true on progress. */
static bool take_in(struct sl_mux *m)
{
	struct sl_sock *s = &m->up->sock;
	bool was_settled = sl_h2_settled(m->session);
	ssize_t n = sl_sock_fill(s, SL_SOCK_HIGH_BYTES);
	int r = 0;

	if (n < 0) {
		end(m, (int)n);
		return false;
	}
	if (n > 0)
		r = sl_h2_recv(m->session, sl_loop_now(m->proxy->loop), sl_buf_ptr(&s->in),
			       sl_buf_len(&s->in));
	sl_buf_consume(&s->in, sl_buf_len(&s->in));
	sl_buf_release(&s->in);
	if (r == -ENOMEM || s->error || (s->eof && !n)) {
		end(m, r == -ENOMEM ? r : -ECONNRESET);
		return false;
	}
	if (sl_h2_going_away(m->session))
		retire(m);
	if (sl_h2_settled(m->session) != was_settled || m->retired)
		wake_all(m); /* those that wait go on, here or elsewhere */
	return n > 0;
}

static bool step(struct sl_mux *m)
{
	struct sl_sock *s = &m->up->sock;
	bool progress;

	if (!m->connected) {
		connect_step(m);
		if (!m->connected)
			return false;
	}
	progress = take_in(m);
	if (!m->session)
		return false;
	sl_shed_pay(m->proxy, &m->debtor, m->session);
	if (sl_h2_send(m->session, &s->out, SL_SOCK_HIGH_BYTES)) {
		end(m, -ENOMEM);
		return false;
	}
	if (sl_sock_flush(s))
		progress = true;
	sl_buf_release(&s->out);
	if (s->broken || (sl_h2_is_done(m->session) && !sl_buf_len(&s->out))) {
		end(m, -ECONNRESET);
		return false;
	}
	return progress;
}

static void count(struct sl_mux *m)
{
	uint64_t now = m->up->sock.in.cap + m->up->sock.out.cap;

	if (m->session)
		now += sl_h2_buffered_bytes(m->session);
	m->proxy->buffered_bytes += now - m->buffered_bytes;
	m->buffered_bytes = now;
	sl_upconn_count(m->up);
}

static void run(struct sl_task *t)
{
	struct sl_mux *m = sl_container_of(t, struct sl_mux, task);
	unsigned i = 0;

	if (m->timed_out && m->session)
		look_at_clock(m);
	while (m->session && i < STEPS_PER_TURN && step(m))
		i++;
	if (m->retired && !m->n_leases) {
		destroy(m);
		return;
	}
	count(m);
	if (i == STEPS_PER_TURN)
		sl_task_queue_next(m->proxy->loop, &m->task);
}

static int mux_new(struct sl_proxy_source *src, const struct sl_addr *endpoint,
		   struct sl_tls_context *tls, const struct sl_lb_lease *lease, struct sl_mux **ret)
{
	const struct sl_dial dial = {
		.endpoint = *endpoint, .lease = lease, .tls = tls, .protocol = SL_TLS_HTTP2};
	_cleanup_(sl_freep) struct sl_mux *m = sl_new(struct sl_mux);
	struct sl_proxy *p = src->proxy;
	int r;

	if (!m)
		return -ENOMEM;
	m->proxy = p;
	m->task = SL_TASK_INIT_OWNED(run, &src->turn);
	m->timer = SL_TIMER_INIT(on_timeout);
	m->debtor = SL_DEBTOR_INIT(m->debtor, &m->task);
	m->deadline_ns = sl_loop_now(p->loop) + p->opts.connect_timeout_ns;
	sl_list_init(&m->leases);
	m->shared = (struct sl_shared){.source = src->cookie,
				       .tls = sl_tls_context_id(tls),
				       .endpoint = *endpoint,
				       .has_room = has_room,
				       .retire = on_retire};
	r = sl_h2_new(SL_H2_CLIENT, &p->opts.h2, &events, m, &m->session);
	if (r)
		return r;
	r = sl_upconn_open(src, &dial, &m->task, &m->up);
	if (!r) {
		r = sl_pool_share(p->pool, &m->shared);
		if (r)
			sl_upconn_close(m->up, false);
	}
	if (r) {
		m->session = sl_h2_free(m->session);
		return r;
	}
	sl_splice_leave(&m->up->sock, SL_SPLICE_PROTOCOL);
	sl_task_queue(p->loop, &m->task);
	*ret = sl_take(m);
	return 0;
}

int sl_mux_lease(struct sl_exchange *x, const struct sl_addr *endpoint, bool fresh)
{
	struct sl_proxy_source *src = x->stream->conn->source;
	struct sl_tls_context *tls = x->stream->attempt.tls;
	struct sl_shared *c = fresh ? NULL
				    : sl_pool_find_shared(src->proxy->pool, src->cookie, endpoint,
							  sl_tls_context_id(tls));
	struct sl_mux *m = c ? sl_container_of(c, struct sl_mux, shared) : NULL;
	int r;

	if (!m) {
		r = mux_new(src, endpoint, tls, &x->stream->attempt.lease, &m);
		if (r)
			return r;
	} else {
		sl_metrics_inc(src->proxy->metrics, SL_COUNTER_POOL_REUSED);
	}
	m->up->n_exchanges++;
	x->mux = m;
	x->was_served = m->served;
	sl_list_append(&m->leases, &x->node);
	if (m->n_leases++ == 0)
		arm(m);
	return 0;
}

int sl_mux_ready(const struct sl_exchange *x)
{
	const struct sl_mux *m = x->mux;

	if (!m->session)
		return m->settled ? -EAGAIN : m->error;
	if (!m->connected)
		return -EINPROGRESS;
	if (m->retired)
		return -EAGAIN;
	if (x->stream->req.upgrade.ptr && !sl_h2_settled(m->session))
		return -EINPROGRESS; /* whether it takes them (RFC 8441 section 3) */
	if (sl_h2_room(m->session))
		return 0;
	if (!sl_h2_settled(m->session))
		return -EINPROGRESS;
	/* A peer that takes no stream at all would be dialled for ever. */
	return sl_h2_n_streams(m->session) ? -EAGAIN : -ECONNREFUSED;
}

void sl_mux_release(struct sl_exchange *x)
{
	struct sl_mux *m = x->mux;

	sl_h2_stream_deinit(&x->h2, SL_H2_CANCEL);
	sl_list_remove(&x->node);
	if (--m->n_leases == 0)
		arm(m);
	if (!m->n_leases && sl_upconn_is_spent(m->up))
		retire(m);
	sl_mux_wake(m);
}
