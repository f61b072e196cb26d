/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <errno.h>
#include <sys/epoll.h>
#include "base/alloc.h"
#include "base/clock.h"
#include "proxy/state.h"

/* Steps of one conn in one round before the others have their turn; a step moves at most
 * SL_SOCK_HIGH_BYTES each way. */
enum { STEPS_PER_ROUND = 16, TURNS_PER_ROUND = 4, CROWD_STEP = 64 };

void sl_conn_move(struct sl_conn *c, enum sl_conn_state to)
{
	static const uint8_t legal[] = {
		[SL_CONN_DETECT] = 1 << SL_CONN_HTTP1 | 1 << SL_CONN_HTTP2 | 1 << SL_CONN_TUNNEL |
				   1 << SL_CONN_CLOSING | 1 << SL_CONN_DEAD | 1 << SL_CONN_LENT,
		[SL_CONN_HTTP1] = 1 << SL_CONN_HTTP2 | 1 << SL_CONN_TUNNEL | 1 << SL_CONN_CLOSING |
				  1 << SL_CONN_DEAD | 1 << SL_CONN_LENT,
		[SL_CONN_HTTP2] = 1 << SL_CONN_CLOSING | 1 << SL_CONN_DEAD,
		[SL_CONN_TUNNEL] = 1 << SL_CONN_CLOSING | 1 << SL_CONN_DEAD | 1 << SL_CONN_LENT,
		[SL_CONN_CLOSING] = 1 << SL_CONN_DEAD,
		[SL_CONN_LENT] = 1 << SL_CONN_DETECT | 1 << SL_CONN_HTTP1 | 1 << SL_CONN_TUNNEL |
				 1 << SL_CONN_DEAD,
	};

	assert(legal[c->state] & 1 << to);
	c->state = to;
}

void sl_conn_wake(struct sl_conn *c)
{
	sl_task_queue(c->proxy->loop, &c->task);
}

void sl_wake_fairly(struct sl_loop *loop, struct sl_task *task, struct sl_turns *turns)
{
	uint64_t round = sl_loop_rounds(loop);

	if (turns->round != round)
		*turns = (struct sl_turns){.round = round};
	if (turns->n++ < TURNS_PER_ROUND)
		sl_task_queue(loop, task);
	else
		sl_task_queue_next(loop, task);
}

void sl_conn_on_event(struct sl_watch *w, uint32_t events)
{
	struct sl_conn *c = sl_container_of(w, struct sl_conn, watch);

	sl_sock_event(&c->sock, events);
	sl_conn_wake(c);
}

static void on_timeout(struct sl_timer *t)
{
	struct sl_conn *c = sl_container_of(t, struct sl_conn, timer);

	c->timed_out = true;
	sl_conn_wake(c);
}

static void count_conns(struct sl_proxy *p, int change)
{
	size_t n = p->n_conns + (size_t)change;

	__atomic_store_n(&p->n_conns, n, __ATOMIC_RELAXED);
	sl_metrics_gauge_set(p->metrics, SL_GAUGE_CONNS, n);
}

static uint64_t capacity(const struct sl_sock *s)
{
	return s->in.cap + s->out.cap;
}

/* Memory held by queues: a limit for the sum of all, so it need not be exact at each moment. */
static void count_buffers(struct sl_conn *c)
{
	uint64_t now = capacity(&c->sock);

	if (c->up)
		now += capacity(&c->up->sock);
	if (c->h2)
		now += sl_down_h2_buffered_bytes(c);
	if (c->stream && c->stream->attempt.up && !c->stream->attempt.x)
		now += capacity(&c->stream->attempt.up->sock);
	if (c->stream)
		now += c->stream->attempt.replay.cap;
	c->proxy->buffered_bytes += now - c->buffered_bytes;
	c->source->buffered_bytes += now - c->buffered_bytes;
	c->buffered_bytes = now;
}

static void count_bytes(struct sl_conn *c)
{
	struct sl_metrics_shard *m = c->proxy->metrics;
	uint64_t received = c->sock.n_received - c->counted_received;
	uint64_t sent = c->sock.n_sent - c->counted_sent;

	sl_metrics_add(m, SL_COUNTER_BYTES_DOWNSTREAM_RECEIVED, received);
	sl_metrics_add(m, SL_COUNTER_BYTES_DOWNSTREAM_SENT, sent);
	c->counted_received = c->sock.n_received;
	c->counted_sent = c->sock.n_sent;
	if (c->up)
		sl_upconn_count(c->up);
	if (c->stream && c->stream->attempt.up)
		sl_upconn_count(c->stream->attempt.up);
}

/* In steps, so that a connection costs nothing. */
static void count_of_source(struct sl_proxy_source *src, int change)
{
	const struct sl_proxy_host *host = &src->proxy->host;
	int untold;

	src->n_conns += change;
	untold = src->n_conns - src->n_told;
	if (!host->crowd || (untold < CROWD_STEP && untold > -CROWD_STEP))
		return;
	src->n_told = src->n_conns;
	host->crowd(host->arg, src->cookie, untold);
}

void sl_conn_bury(struct sl_conn *c)
{
	struct sl_proxy *p = c->proxy;

	count_bytes(c);
	count_buffers(c);
	sl_timer_cancel(&c->timer);
	sl_task_cancel(&c->task);
	sl_conn_move(c, SL_CONN_DEAD);
	sl_list_remove(&c->node);
	sl_list_append(&p->dead, &c->node);
	sl_task_queue(p->loop, &p->reap);
	count_conns(p, -1);
	count_of_source(c->source, -1);
}

void sl_conn_kill(struct sl_conn *c, enum sl_end_reason reason)
{
	if (c->state == SL_CONN_DEAD)
		return;
	if (c->state == SL_CONN_LENT) {
		sl_conn_forget(c);
		return;
	}
	if (c->stream)
		sl_stream_cut(c->stream, reason);
	if (c->h2)
		sl_down_h2_cut(c, reason);
	if (c->state == SL_CONN_TUNNEL)
		sl_tunnel_end(c, reason);
	sl_upconn_close(sl_take(c->up), true);
	sl_sock_close(&c->sock, true);
	sl_conn_bury(c);
}

void sl_conn_reap(struct sl_conn *c)
{
	assert(c->state == SL_CONN_DEAD && !c->up);
	if (c->stream)
		sl_stream_end(sl_take(c->stream));
	sl_down_h2_free(c);
	count_buffers(c); /* those of its streams are free only now */
	sl_balance_end(c->proxy, &c->lease, SL_OUTCOME_NONE, 0); /* it was lent */
	sl_list_remove(&c->node);
	free(c->taken_rule);
	free(c);
}

static void arm(struct sl_conn *c, uint64_t timeout_ns)
{
	sl_timer_arm(c->proxy->loop, &c->timer, sl_loop_now(c->proxy->loop) + timeout_ns);
}

void sl_conn_finish(struct sl_conn *c)
{
	assert(!c->stream);
	sl_upconn_close(sl_take(c->up), false);
	c->timed_out = false;
	sl_conn_move(c, SL_CONN_CLOSING);
	arm(c, c->proxy->opts.idle_timeout_ns);
}

/* A client that has not spoken may be about to: it gets the time that others get to close. */
void sl_conn_drain(struct sl_conn *c)
{
	if (c->state == SL_CONN_DETECT ||
	    (c->state == SL_CONN_HTTP1 && !c->n_requests && !c->stream && !c->head_begun))
		arm(c, c->proxy->opts.linger_timeout_ns);
	sl_conn_wake(c);
}

/* What was not sent is cut, and must not look whole. */
static void close_quietly(struct sl_conn *c)
{
	sl_sock_close(&c->sock, sl_buf_len(&c->sock.out));
	sl_conn_bury(c);
}

/* The FIN, and from now on the client has its time to close. */
static void begin_linger(struct sl_conn *c)
{
	if (c->sock.shut)
		return;
	sl_sock_shutdown(&c->sock);
	c->linger_until_ns = sl_loop_now(c->proxy->loop) + c->proxy->opts.idle_timeout_ns;
	arm(c, c->proxy->opts.linger_timeout_ns);
}

/* An upload that goes on behind an early answer, as long as it does: many clients look for the
 * answer when they have sent everything, and take a reset in the middle for a failure. */
static void go_on_lingering(struct sl_conn *c)
{
	uint64_t now = sl_loop_now(c->proxy->loop);
	uint64_t left = c->linger_until_ns > now ? c->linger_until_ns - now : 0;

	if (left > c->proxy->opts.linger_timeout_ns)
		arm(c, c->proxy->opts.linger_timeout_ns);
}

/*
 * A close with unread bytes sends RST, which can destroy the answer that is still on its way to
 * the client (RFC 9112 section 9.6). So: send what is queued, send FIN, read until the client is
 * done; but who said that there is nothing more to read is not waited for.
 */
static bool closing_step(struct sl_conn *c)
{
	struct sl_sock *s = &c->sock;
	bool progress = sl_sock_flush_last(s) > 0;

	if (c->timed_out || s->error || s->broken) {
		close_quietly(c);
		return false;
	}
	if (sl_buf_len(&s->out)) {
		if (progress)
			arm(c, c->proxy->opts.idle_timeout_ns);
		return progress;
	}
	if (s->eof || c->parted) {
		close_quietly(c);
		return false;
	}
	begin_linger(c);
	sl_buf_consume(&s->in, sl_buf_len(&s->in));
	if (sl_sock_fill(s, SL_SOCK_HIGH_BYTES) > 0) {
		go_on_lingering(c);
		progress = true;
	}
	sl_buf_consume(&s->in, sl_buf_len(&s->in));
	if (sl_sock_read_done(s)) {
		close_quietly(c);
		return false;
	}
	return progress;
}

static bool step(struct sl_conn *c)
{
	switch (c->state) {
	case SL_CONN_DETECT:
		return sl_conn_detect(c);
	case SL_CONN_HTTP1:
		return sl_down_h1_step(c);
	case SL_CONN_HTTP2:
		return sl_down_h2_step(c);
	case SL_CONN_TUNNEL:
		return sl_tunnel_step(c);
	case SL_CONN_CLOSING:
		return closing_step(c);
	case SL_CONN_DEAD:
	case SL_CONN_LENT:
		break;
	}
	return false;
}

static void run(struct sl_task *t)
{
	struct sl_conn *c = sl_container_of(t, struct sl_conn, task);
	unsigned i = 0;

	while (i < STEPS_PER_ROUND && !(c->proxy->giving && sl_conn_give(c)) && step(c))
		i++;
	if (c->state == SL_CONN_DEAD)
		return;
	count_bytes(c);
	count_buffers(c);
	if (i == STEPS_PER_ROUND)
		sl_task_queue_next(c->proxy->loop, &c->task);
}

static void look_up_client(struct sl_conn *c)
{
	const struct sl_source *src = c->source->source;
	const struct sl_snapshot *snap = c->proxy->config->snap;
	const struct sl_pod_ref *pod = NULL;
	char uid[64];

	if (src->is_host) {
		/* Several Pods may share it: the cgroup that connect(2) was called in tells. */
		if (c->cgroup_id && c->proxy->host.pod_uid &&
		    !c->proxy->host.pod_uid(c->proxy->host.arg, c->cgroup_id, uid))
			pod = sl_snapshot_pod_by_uid(snap, sl_str_from(uid));
	} else {
		for (uint32_t i = 0; i < src->n_addrs && !pod; i++)
			pod = sl_snapshot_pod_by_ip(snap, &src->addrs[i]);
	}
	/* Not the whole of it: the count in it is other threads' too. */
	c->client = (struct sl_client){0};
	if (pod)
		c->client = (struct sl_client){pod->namespace, pod->name, pod->splice};
}

void sl_conn_resolve(struct sl_conn *c)
{
	struct sl_config *config = c->proxy->config;

	/* What was looked up is borrowed from the snapshot: streams that began with it hold it. */
	if (c->seen == c->proxy->config_generation)
		return;
	c->seen = c->proxy->config_generation;
	look_up_client(c);
	c->frontend = sl_snapshot_frontend(config->snap, &c->original);
	c->table = c->frontend ? sl_frontend_table(c->frontend, c->client.namespace) : NULL;
	c->trial = c->frontend ? sl_frontend_trial(c->frontend, c->client.namespace) : NULL;
	sl_splice_review_client(c);
}

static void refuse(struct sl_proxy *p, int fd, enum sl_counter why, enum sl_limit limit)
{
	struct linger now = {.l_onoff = 1};

	(void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now)); /* else a FIN */
	(void)close(fd);
	sl_metrics_inc(p->metrics, why);
	if (limit)
		sl_metrics_limit(p->metrics, limit);
}

/* A steered connection comes from loopback; the client's address as the backend sees it is one of
 * the namespace's own. */
static void show_peer(struct sl_addr *peer, const struct sl_source *source)
{
	if (!sl_addr_is_loopback(peer))
		return;
	for (uint32_t i = 0; i < source->n_addrs; i++) {
		if (sl_addr_is_v4(&source->addrs[i]) == sl_addr_is_v4(peer)) {
			memcpy(peer->ip, source->addrs[i].ip, sizeof(peer->ip));
			return;
		}
	}
}

struct sl_conn *sl_conn_new(struct sl_proxy_source *src, int fd)
{
	struct sl_proxy *p = src->proxy;
	struct sl_conn *c = sl_new(struct sl_conn);

	if (!c || sl_sock_init(&c->sock, p->loop, &p->blocks, &c->watch, fd, sl_conn_on_event)) {
		free(c);
		return NULL;
	}
	c->proxy = p;
	c->source = src;
	c->task = SL_TASK_INIT_OWNED(run, &src->turn);
	c->timer = SL_TIMER_INIT(on_timeout);
	sl_list_init(&c->node);
	sl_list_init(&c->lent.node);
	count_conns(p, 1);
	count_of_source(src, 1);
	return c;
}

void sl_conn_accept(struct sl_proxy_source *src, const struct sl_proxy_accepted *a)
{
	struct sl_proxy *p = src->proxy;
	struct sl_proxy_original original;
	enum sl_limit limit;
	struct sl_conn *c;
	int r;

	sl_proxy_shed(p);
	limit = sl_share_refuses_conn(src);
	if (limit) {
		refuse(p, a->fd, SL_COUNTER_CONNS_REFUSED, limit);
		return;
	}
	/* Without memory for its first snapshot a worker has none. */
	r = p->config ? p->host.original(p->host.arg, a->fd, &original) : -EAGAIN;
	if (r == -ENOENT && p->host.ask_before && p->host.ask_before(p->host.arg, a))
		return;
	if (r) {
		refuse(p, a->fd,
		       r == -ENOENT ? SL_COUNTER_CONNS_NOT_STEERED : SL_COUNTER_CONNS_REFUSED,
		       SL_LIMIT_NONE);
		return;
	}
	c = sl_conn_new(src, a->fd);
	if (!c) {
		refuse(p, a->fd, SL_COUNTER_CONNS_REFUSED, SL_LIMIT_MEMORY);
		return;
	}
	c->peer = a->peer;
	show_peer(&c->peer, src->source);
	c->original = original.addr;
	c->cgroup_id = original.cgroup_id;
	c->accepted_ns = sl_loop_now(p->loop);
	sl_list_append(&src->conns, &c->node);
	sl_metrics_inc(p->metrics, SL_COUNTER_CONNS_ACCEPTED);
	arm(c, p->opts.idle_timeout_ns);
	if (p->draining)
		sl_conn_drain(c);
	sl_conn_wake(c);
}
