/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/handover.h"

#include <assert.h>
#include <errno.h>
#include <sys/epoll.h>
#include "base/alloc.h"
#include "base/cleanup.h"
#include "proxy/listener.h"
#include "proxy/state.h"

/* Where the record's text is. */
static const size_t texts[] = {
	offsetof(struct sl_handed, down.in),	     offsetof(struct sl_handed, down.out),
	offsetof(struct sl_handed, up.in),	     offsetof(struct sl_handed, up.out),
	offsetof(struct sl_handed, request.method),  offsetof(struct sl_handed, request.authority),
	offsetof(struct sl_handed, request.path),    offsetof(struct sl_handed, request.user_agent),
	offsetof(struct sl_handed, request.route),   offsetof(struct sl_handed, request.rule),
	offsetof(struct sl_handed, request.backend),
};

struct sl_handed *sl_handed_copy(const struct sl_handed *h)
{
	struct sl_handed *copy;
	size_t n = 0;
	char *to;

	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++)
		n += ((const struct sl_str *)((const char *)h + texts[i]))->len;
	copy = sl_malloc(sizeof(*copy) + n);
	if (!copy)
		return NULL;
	*copy = *h;
	to = (char *)(copy + 1);
	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		struct sl_str *s = (struct sl_str *)((char *)copy + texts[i]);

		if (!s->len)
			continue;
		memcpy(to, s->ptr, s->len);
		s->ptr = to;
		to += s->len;
	}
	return copy;
}

/* ---- giving ---- */

/* Whatever else there is to say about a socket than its record has is better said here. */
static bool is_plain(const struct sl_sock *s)
{
	return !s->connecting && !s->error && !s->broken && !s->reset && !s->gone;
}

/*
 * Whether all that there is to a connection fits into its record. A spliced hop is taken out of the
 * kernel's map before.
 */
static bool can_give(const struct sl_conn *c)
{
	if (!is_plain(&c->sock))
		return false;
	switch (c->state) {
	case SL_CONN_DETECT:
		return !c->sock.eof && !c->timed_out;
	case SL_CONN_HTTP1:
		return !c->stream && !c->sock.eof && !c->timed_out && !c->close_after;
	case SL_CONN_TUNNEL:
		return is_plain(&c->up->sock) && !c->up->sock.tls; /* nobody can give its keys */
	case SL_CONN_HTTP2: /* leaves, see down_h2.c: its client is told to connect anew */
	case SL_CONN_CLOSING:
	case SL_CONN_DEAD:
	case SL_CONN_LENT:
		break;
	}
	return false;
}

static struct sl_handed_sock sock_record(const struct sl_sock *s)
{
	return (struct sl_handed_sock){.fd = s->watch->fd,
				       .in = sl_buf_str(&s->in),
				       .out = sl_buf_str(&s->out),
				       .n_received = s->n_received,
				       .n_sent = s->n_sent,
				       .eof = s->eof,
				       .shut = s->shut};
}

static struct sl_handed_request request_record(const struct sl_stream *s)
{
	const struct sl_header *agent = sl_headers_find(&s->req.headers, SL_STR("user-agent"));
	struct sl_handed_request r = {
		.version = s->req.version,
		.status = s->res.status,
		.n_tries = s->attempt.n_tries,
		.started_ns = s->started_ns,
		.first_byte_ns = s->attempt.first_byte_ns,
		.req_bytes = s->req_bytes,
		.res_bytes = s->res_bytes,
		.endpoint = s->attempt.endpoint,
		.method = s->req.method_text,
		.authority = s->log_authority,
		.path = s->log_path,
		.user_agent = agent ? agent->value : SL_STR_NULL,
		.backend = s->upstream_key,
	};

	if (s->rule) {
		r.route = s->rule->route;
		r.rule = s->rule->name;
	}
	return r;
}

static struct sl_handed conn_record(const struct sl_conn *c)
{
	static const enum sl_handed_kind kinds[] = {
		[SL_CONN_DETECT] = SL_HANDED_DETECT,
		[SL_CONN_HTTP1] = SL_HANDED_HTTP1,
		[SL_CONN_TUNNEL] = SL_HANDED_TUNNEL,
	};
	struct sl_handed h = {
		.kind = kinds[c->state],
		.id = c->lent.id,
		.source = c->source->cookie,
		.down = sock_record(&c->sock),
		.up = {.fd = -1},
		.peer = c->peer,
		.original = c->original,
		.cgroup_id = c->cgroup_id,
		.accepted_ns = c->accepted_ns,
		.deadline_ns = c->timer.loop ? c->timer.deadline_ns : 0,
		.n_requests = c->n_requests,
		.head_begun = c->head_begun,
		.tunnel_up_bytes = c->tunnel_up_bytes,
		.tunnel_down_bytes = c->tunnel_down_bytes,
	};

	if (c->state == SL_CONN_TUNNEL) {
		h.up = sock_record(&c->up->sock);
		h.endpoint = c->up->pooled.endpoint;
	}
	if (c->tunnel_of)
		h.request = request_record(c->tunnel_of);
	if (c->rule) {
		h.request.route = c->rule->route;
		h.request.rule = c->rule->name;
		h.request.backend = c->backend->name;
	}
	return h;
}

static void lend(struct sl_proxy *p, struct sl_lent *l)
{
	l->id = p->next_lent_id++;
	sl_list_append(&p->lent, &l->node);
}

bool sl_conn_give(struct sl_conn *c)
{
	struct sl_proxy *p = c->proxy;
	struct sl_handed h;

	if (!can_give(c) || !sl_splice_part(&c->sock) || (c->up && !sl_splice_part(&c->up->sock)))
		return false;
	c->lent.id = p->next_lent_id;
	h = conn_record(c);
	if (p->host.give(p->host.arg, &h))
		return false; /* tried again at its next turn */
	/* Dialled in case the server speaks first, and it did not: the other process dials anew. */
	if (c->state == SL_CONN_DETECT)
		sl_upconn_close(sl_take(c->up), false);
	lend(p, &c->lent);
	c->lent.conn = c;
	c->lent_from = c->state;
	c->lent_deadline_ns = h.deadline_ns;
	sl_timer_cancel(&c->timer);
	sl_watch_remove(&c->watch);
	if (c->up)
		sl_watch_remove(&c->up->pooled.watch);
	sl_conn_move(c, SL_CONN_LENT);
	return true;
}

void sl_upconn_hand_over(struct sl_upconn *u)
{
	struct sl_proxy *p = u->proxy;
	struct sl_handed h = {
		.kind = SL_HANDED_POOLED,
		.id = p->next_lent_id,
		.source = u->pooled.source,
		.down = {.fd = -1},
		.up = sock_record(&u->sock),
		.endpoint = u->pooled.endpoint,
		.served = u->pooled.served,
		.n_requests = u->n_exchanges,
	};

	/* One that cannot leave the kernel's map at once is not worth waiting for. */
	if (u->sock.tls || !sl_splice_part(&u->sock) || p->host.give(p->host.arg, &h)) {
		sl_upconn_close(u, false);
		return;
	}
	lend(p, &u->lent);
	u->lent.up = u;
	sl_watch_remove(&u->pooled.watch);
}

static void give_pool(struct sl_proxy *p)
{
	struct sl_pooled *c;

	while ((c = sl_pool_take_oldest(p->pool)))
		sl_upconn_hand_over(sl_container_of(c, struct sl_upconn, pooled));
	sl_metrics_gauge_set(p->metrics, SL_GAUGE_POOL_IDLE, 0);
}

void sl_proxy_stop_accepting(struct sl_proxy *p)
{
	struct sl_proxy_source *src;
	size_t pos = 0;

	while ((src = sl_map_next(&p->sources, &pos, NULL)))
		sl_listener_remove_all(src);
}

void sl_proxy_hand_over(struct sl_proxy *p, uint64_t first_id)
{
	struct sl_proxy_source *src;
	size_t pos = 0;

	p->giving = true;
	p->next_lent_id = first_id;
	/* What waits in the queues is accepted by the other process: they are its too. */
	sl_proxy_stop_accepting(p);
	give_pool(p);
	while ((src = sl_map_next(&p->sources, &pos, NULL))) {
		sl_list_foreach (n, &src->conns)
			sl_conn_wake(sl_container_of(n, struct sl_conn, node));
	}
}

/* ---- given, or not ---- */

void sl_conn_forget(struct sl_conn *c)
{
	assert(c->state == SL_CONN_LENT);
	sl_list_remove(&c->lent.node);
	if (c->lent_from == SL_CONN_TUNNEL)
		sl_metrics_gauge_add(c->proxy->metrics, SL_GAUGE_TUNNELS, -1);
	/* Its end is logged and counted by whoever sees it. */
	if (c->tunnel_of)
		sl_stream_free(sl_take(c->tunnel_of));
	sl_config_unref(sl_take(c->tunnel_config));
	/* The other process has the sockets: closing ours sends nothing. */
	sl_upconn_close(sl_take(c->up), false);
	sl_sock_close(&c->sock, false);
	sl_conn_bury(c);
}

static void forget(struct sl_lent *l)
{
	if (l->conn) {
		sl_conn_forget(l->conn);
		return;
	}
	sl_list_remove(&l->node);
	sl_upconn_close(l->up, false);
}

/* They come back in the order in which they went: the first is mostly the one. */
void sl_proxy_given(struct sl_proxy *p, uint64_t id)
{
	sl_list_foreach (n, &p->lent) {
		struct sl_lent *l = sl_container_of(n, struct sl_lent, node);

		if (l->id == id) {
			forget(l);
			return;
		}
	}
}

void sl_lent_free(struct sl_proxy *p)
{
	sl_list_foreach_safe (n, &p->lent)
		forget(sl_container_of(n, struct sl_lent, node));
}

/* What came meanwhile is in the socket: no edge will say so. */
static int watch_again(struct sl_proxy *p, struct sl_sock *s, sl_watch_fn fn)
{
	int r = sl_watch_add(p->loop, s->watch, s->watch->fd, SL_SOCK_EVENTS, fn);

	if (r)
		return r;
	s->can_read = !s->eof;
	s->can_write = true;
	return 0;
}

static void take_back_conn(struct sl_conn *c)
{
	struct sl_proxy *p = c->proxy;
	int r;

	sl_list_remove(&c->lent.node);
	sl_conn_move(c, c->lent_from);
	r = watch_again(p, &c->sock, sl_conn_on_event);
	if (!r && c->up)
		r = watch_again(p, &c->up->sock, sl_upconn_on_event);
	if (r) {
		sl_conn_kill(c, SL_END_INTERNAL);
		return;
	}
	if (c->lent_deadline_ns)
		sl_timer_arm(p->loop, &c->timer, c->lent_deadline_ns);
	sl_conn_wake(c);
}

static void to_pool(struct sl_upconn *u)
{
	struct sl_proxy *p = u->proxy;

	/* An endpoint has nothing to say between two exchanges. */
	if (p->draining || sl_sock_fill(&u->sock, SL_SOCK_READ_BYTES) ||
	    sl_sock_read_done(&u->sock)) {
		sl_upconn_close(u, false);
		return;
	}
	sl_upconn_count(u);
	sl_pool_give(p->pool, &u->pooled);
	sl_metrics_gauge_set(p->metrics, SL_GAUGE_POOL_IDLE, sl_pool_n_idle(p->pool));
}

static void take_back_upconn(struct sl_upconn *u)
{
	sl_list_remove(&u->lent.node);
	u->lent.up = NULL;
	if (watch_again(u->proxy, &u->sock, sl_upconn_on_event))
		sl_upconn_close(u, false);
	else
		to_pool(u);
}

void sl_proxy_take_back(struct sl_proxy *p)
{
	p->giving = false;
	sl_list_foreach_safe (n, &p->lent) {
		struct sl_lent *l = sl_container_of(n, struct sl_lent, node);

		if (l->conn)
			take_back_conn(l->conn);
		else
			take_back_upconn(l->up);
	}
}

/* ---- taking ---- */

static void close_fds(const struct sl_handed *h)
{
	int fds[] = {h->down.fd, h->up.fd};

	for (int i = 0; i < 2; i++)
		sl_closep(&fds[i]);
}

static int restore_sock(struct sl_sock *s, const struct sl_handed_sock *h)
{
	s->n_received = h->n_received;
	s->n_sent = h->n_sent;
	s->eof = h->eof;
	s->can_read = !h->eof;
	s->shut = h->shut;
	if (sl_buf_append_str(&s->in, h->in) || sl_buf_append_str(&s->out, h->out))
		return -ENOMEM;
	return 0;
}

static int copy(struct sl_arena *a, struct sl_str from, struct sl_str *to)
{
	return from.len ? sl_arena_str(a, from, to) : 0;
}

/* The record of a tunnel that a request began. Its rule is of a snapshot that this process may
 * never have had: what is left of it are its names. */
static int restore_request(struct sl_conn *c, const struct sl_handed_request *h)
{
	struct sl_stream *s = sl_stream_new(c, &sl_down_h1, &c->task);
	struct sl_rule *rule;
	struct sl_str agent = SL_STR_NULL;
	int r;

	if (!s)
		return -ENOMEM;
	c->tunnel_of = s;
	s->frontend = c->frontend;
	s->client = c->client;
	s->req.version = h->version;
	s->res.status = h->status;
	s->attempt.n_tries = h->n_tries;
	s->attempt.endpoint = h->endpoint;
	s->attempt.first_byte_ns = h->first_byte_ns;
	s->started_ns = h->started_ns;
	s->req_bytes = h->req_bytes;
	s->res_bytes = h->res_bytes;
	rule = sl_arena_new(&s->arena, struct sl_rule);
	if (!rule)
		return -ENOMEM;
	s->rule = h->route.len ? rule : NULL;
	r = copy(&s->arena, h->route, &rule->route);
	if (!r)
		r = copy(&s->arena, h->rule, &rule->name);
	if (!r)
		r = copy(&s->arena, h->method, &s->req.method_text);
	if (!r)
		r = copy(&s->arena, h->authority, &s->log_authority);
	if (!r)
		r = copy(&s->arena, h->path, &s->log_path);
	if (!r)
		r = copy(&s->arena, h->backend, &s->upstream_key);
	if (!r)
		r = copy(&s->arena, h->user_agent, &agent);
	if (!r && agent.len)
		r = sl_headers_append(&s->req.headers, &s->arena, SL_STR("user-agent"), agent);
	return r;
}

/* The same of a tunnel that a TLSRoute or TCPRoute made: its names, for log and people. */
static int restore_rule(struct sl_conn *c, const struct sl_handed_request *h)
{
	struct sl_taken_rule *t =
		sl_calloc(1, sizeof(*t) + h->route.len + h->rule.len + h->backend.len);
	const struct sl_str from[] = {h->route, h->rule, h->backend};
	struct sl_str to[3];
	char *p;

	if (!t)
		return -ENOMEM;
	p = t->text;
	for (size_t i = 0; i < sizeof(from) / sizeof(*from); i++) {
		if (from[i].len)
			memcpy(p, from[i].ptr, from[i].len);
		to[i] = (struct sl_str){p, from[i].len};
		p += from[i].len;
	}
	t->rule.route = to[0];
	t->rule.name = to[1];
	t->backend.name = to[2];
	t->rule.kind = sl_str_starts(h->route, SL_STR("TLSRoute/")) ? SL_ROUTE_TLS : SL_ROUTE_TCP;
	c->taken_rule = t;
	c->rule = &t->rule;
	c->backend = &t->backend;
	return 0;
}

static int restore_tunnel(struct sl_conn *c, const struct sl_handed *h, int *up_fd)
{
	struct sl_proxy *p = c->proxy;
	int r = sl_upconn_new(p, h->source, &h->endpoint, *up_fd, &c->up);

	if (r)
		return r;
	*up_fd = -1;
	sl_upconn_bind(c->up, &c->task);
	c->up->counted_connect = true;
	c->up->counted_received = h->up.n_received;
	c->up->counted_sent = h->up.n_sent;
	c->tunnel_up_bytes = h->tunnel_up_bytes;
	c->tunnel_down_bytes = h->tunnel_down_bytes;
	sl_conn_resolve(c);
	if (h->request.version)
		r = restore_request(c, &h->request);
	else
		c->tunnel_config = sl_config_ref(p->config);
	if (!r && !h->request.version && h->request.route.len)
		r = restore_rule(c, &h->request);
	return r ? r : restore_sock(&c->up->sock, &h->up);
}

/* Those of a source stand in the order of their acceptance. */
static void insert(struct sl_proxy_source *src, struct sl_conn *c)
{
	struct sl_list *after = src->conns.prev;

	while (after != &src->conns &&
	       sl_container_of(after, struct sl_conn, node)->accepted_ns > c->accepted_ns)
		after = after->prev;
	sl_list_prepend(after, &c->node);
}

static int restore_conn(struct sl_conn *c, const struct sl_handed *h, int *up_fd)
{
	int r;

	c->state = h->kind == SL_HANDED_DETECT	? SL_CONN_DETECT
		   : h->kind == SL_HANDED_HTTP1 ? SL_CONN_HTTP1
						: SL_CONN_TUNNEL;
	c->peer = h->peer;
	c->original = h->original;
	c->cgroup_id = h->cgroup_id;
	c->accepted_ns = h->accepted_ns;
	c->n_requests = h->n_requests;
	c->head_begun = h->head_begun;
	c->counted_received = h->down.n_received;
	c->counted_sent = h->down.n_sent;
	insert(c->source, c);
	if (c->state == SL_CONN_TUNNEL)
		sl_metrics_gauge_add(c->proxy->metrics, SL_GAUGE_TUNNELS, 1);
	r = restore_sock(&c->sock, &h->down);
	if (!r && c->state == SL_CONN_TUNNEL)
		r = restore_tunnel(c, h, up_fd);
	return r;
}

static int take_conn(struct sl_proxy_source *src, const struct sl_handed *h)
{
	_cleanup_(sl_closep) int down = h->down.fd;
	_cleanup_(sl_closep) int up = h->up.fd;
	struct sl_proxy *p = src->proxy;
	struct sl_conn *c = sl_conn_new(src, down);
	int r;

	if (!c)
		return -ENOMEM;
	(void)sl_take_fd(&down);
	r = restore_conn(c, h, &up);
	if (r) {
		sl_conn_kill(c, SL_END_INTERNAL);
		return r;
	}
	sl_metrics_inc(p->metrics, SL_COUNTER_CONNS_TAKEN_OVER);
	if (h->deadline_ns)
		sl_timer_arm(p->loop, &c->timer, h->deadline_ns);
	if (p->draining)
		sl_conn_drain(c);
	sl_conn_wake(c);
	return 0;
}

static int take_pooled(struct sl_proxy *p, const struct sl_handed *h)
{
	struct sl_upconn *u;
	int r = sl_upconn_new(p, h->source, &h->endpoint, h->up.fd, &u);

	if (r) {
		close_fds(h);
		return r;
	}
	u->pooled.served = h->served;
	u->n_exchanges = h->n_requests;
	u->counted_connect = true;
	u->sock.n_received = u->counted_received = h->up.n_received;
	u->sock.n_sent = u->counted_sent = h->up.n_sent;
	to_pool(u);
	return 0;
}

int sl_proxy_take(struct sl_proxy *p, const struct sl_handed *h)
{
	struct sl_proxy_source *src = sl_proxy_source(p, h->source);

	/* Its Pod has gone meanwhile. */
	if (!src || !p->config) {
		close_fds(h);
		return -ENOENT;
	}
	return h->kind == SL_HANDED_POOLED ? take_pooled(p, h) : take_conn(src, h);
}
