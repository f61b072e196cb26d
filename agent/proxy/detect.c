/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is spoken on a new connection. Never waits for one side while the other may be waiting:
 * bytes of the client decide; as long as there are none, an endpoint is dialled too, so that a
 * server that speaks first is heard at once.
 */
#include <errno.h>
#include "base/alloc.h"
#include "base/clock.h"
#include "proxy/state.h"

/* How long a Service counts as one whose servers wait for the client. */
#define SILENT_FOR_NS (60 * SL_NS_PER_S)
/* How often a connection tells so. */
#define LEARN_EVERY_NS (10 * SL_NS_PER_S)

struct silent {
	uint64_t until_ns;
	struct sl_str key;
	char text[];
};

void sl_detect_learn(struct sl_conn *c, const struct sl_frontend *frontend)
{
	struct sl_proxy *p = c->proxy;
	uint64_t now = sl_loop_now(p->loop), until = now + SILENT_FOR_NS;
	struct silent *s;

	/* Nobody asks where HTTP is declared. */
	if (!frontend || frontend->app_protocol == SL_APP_HTTP || now < c->learn_next_ns)
		return;
	c->learn_next_ns = now + LEARN_EVERY_NS;
	s = sl_map_get(&p->silent, frontend->key);
	if (s) {
		s->until_ns = until;
		return;
	}
	s = sl_malloc(sizeof(*s) + frontend->key.len);
	if (!s)
		return; /* only costs the next connection a dial */
	s->until_ns = until;
	memcpy(s->text, frontend->key.ptr, frontend->key.len);
	s->key = (struct sl_str){s->text, frontend->key.len};
	if (sl_map_put(&p->silent, s->key, s, NULL))
		free(s);
}

void sl_detect_forget(struct sl_proxy *p)
{
	struct silent *s;
	size_t pos = 0;

	while ((s = sl_map_next(&p->silent, &pos, NULL)))
		free(s);
	sl_map_deinit(&p->silent);
}

static bool known_silent(const struct sl_conn *c)
{
	const struct silent *s = sl_map_get(&c->proxy->silent, c->frontend->key);

	/* Under shadow routes alone (else nobody asks where HTTP is declared): a server of HTTP/2
	 * would not wait for its client, and be taken for one of bytes. */
	if (!c->table && c->frontend->app_protocol != SL_APP_UNKNOWN)
		return true;
	return s && s->until_ns > sl_loop_now(c->proxy->loop);
}

/* HTTP comes after all: the connection dialled ahead may serve it. */
static void give_dialled(struct sl_conn *c)
{
	struct sl_upconn *up = sl_take(c->up);

	sl_balance_end(c->proxy, &c->lease, SL_OUTCOME_NONE, 0);
	if (up && !up->sock.connecting)
		sl_upconn_give(up);
	else
		sl_upconn_close(up, false);
}

static bool become_http(struct sl_conn *c)
{
	give_dialled(c);
	sl_conn_move(c, SL_CONN_HTTP1);
	return true;
}

static bool become_http2(struct sl_conn *c)
{
	give_dialled(c);
	if (sl_down_h2_begin(c)) {
		sl_metrics_limit(c->proxy->metrics, SL_LIMIT_MEMORY);
		sl_conn_kill(c, SL_END_INTERNAL);
		return false;
	}
	return true;
}

static bool become_tunnel(struct sl_conn *c)
{
	if (c->up)
		sl_tunnel_begin(c, sl_take(c->up));
	else
		sl_tunnel_open(c);
	return true;
}

/* The connection dialled ahead: did the server speak, or close? */
static bool server_spoke(struct sl_conn *c)
{
	struct sl_upconn *up = c->up;
	int r = sl_sock_connected(&up->sock);

	if (r == -EINPROGRESS)
		return false;
	if (r) {
		/* Refused: only bytes of the client can tell now, and who serves them then. */
		sl_upconn_close(sl_take(c->up), false);
		return false;
	}
	/* Without memory it may have: no further edge would say so, the tunnel tries again. */
	if (sl_sock_fill(&up->sock, SL_SOCK_HIGH_BYTES) == -ENOMEM)
		return true;
	return sl_buf_len(&up->sock.in) || sl_sock_read_done(&up->sock);
}

static void dial(struct sl_conn *c)
{
	struct sl_proxy *p = c->proxy;
	const struct sl_upstream *upstream =
		sl_snapshot_upstream(p->config->snap, c->frontend->key);
	const struct sl_endpoint *e = NULL;
	int r = 0;

	if (upstream)
		(void)sl_balance_pick(p,
				      &(struct sl_balance_ask){.up = upstream, .client = &c->peer},
				      &c->lease, &e); /* e tells */
	if (e)
		r = sl_upconn_open(c->source,
				   &(struct sl_dial){.endpoint = e->addr, .lease = &c->lease},
				   &c->task, &c->up);
	if (r)
		sl_balance_end(p, &c->lease, SL_OUTCOME_NONE, 0);

	/* Without an endpoint nobody can speak first. But a client that waits for the server must
	 * not do so for ever because it is us who cannot dial. */
	if (r == -ENOMEM || r == -EMFILE || r == -ENFILE || r == -ENOBUFS) {
		sl_metrics_limit(p->metrics, r == -ENOMEM ? SL_LIMIT_MEMORY : SL_LIMIT_DESCRIPTORS);
		sl_conn_kill(c, SL_END_INTERNAL);
	}
}

/* Too little came yet to tell. What began is given up in time; as long as nothing came the server
 * may be the one who speaks first. */
static bool wait_for_more(struct sl_conn *c)
{
	if (sl_buf_len(&c->sock.in) && !c->head_begun) {
		c->head_begun = true;
		sl_timer_arm(c->proxy->loop, &c->timer,
			     sl_loop_now(c->proxy->loop) + c->proxy->opts.header_timeout_ns);
	}
	if (c->up)
		return server_spoke(c) ? become_tunnel(c) : false;
	if (!c->looked) {
		/* Most clients send right behind connect(2): one look at the socket is cheaper than
		 * a connection that nobody needs. */
		c->looked = true;
		sl_task_queue_next(c->proxy->loop, &c->task);
		return false;
	}
	if (!known_silent(c))
		dial(c);
	return false;
}

static bool detect_http(struct sl_conn *c)
{
	enum sl_app_protocol declared = c->frontend->app_protocol;

	if (!c->table)
		declared = SL_APP_UNKNOWN; /* what is not HTTP is not refused for being looked at */
	else if (c->table->kind == SL_ROUTE_GRPC)
		declared = SL_APP_HTTP; /* who attaches a GRPCRoute says that HTTP is spoken */
	switch (sl_h1_guess(sl_buf_ptr(&c->sock.in), sl_buf_len(&c->sock.in))) {
	case SL_H1_GUESS_HTTP1:
		return become_http(c);
	case SL_H1_GUESS_H2_PREFACE:
		return become_http2(c);
	case SL_H1_GUESS_OTHER:
		/* Declared HTTP: the codec answers 400. */
		return declared != SL_APP_UNKNOWN ? become_http(c) : become_tunnel(c);
	case SL_H1_GUESS_MORE:
		break;
	}
	if (declared != SL_APP_UNKNOWN)
		return become_http(c);
	if (c->sock.eof || (c->timed_out && !c->table))
		return become_tunnel(c);
	if (c->timed_out) {
		/* What began like a request is given up like one: 408. */
		if (sl_buf_len(&c->sock.in))
			return become_http(c);
		sl_conn_finish(c);
		return true;
	}
	return wait_for_more(c);
}

static bool detect_tls(struct sl_conn *c)
{
	switch (sl_detect_tls(c)) {
	case SL_DETECT_DONE:
		return true;
	case SL_DETECT_OTHER:
		return become_tunnel(c);
	case SL_DETECT_WAIT:
		return false;
	case SL_DETECT_MORE:
		break;
	}
	return wait_for_more(c);
}

bool sl_conn_detect(struct sl_conn *c)
{
	bool is_tls;
	ssize_t n;

	sl_conn_resolve(c);
	if (!c->frontend) {
		sl_conn_kill(c, SL_END_NO_BACKEND);
		return false;
	}
	/* A client that no rule governs gets what it would get without a mesh: bytes. But shadow
	 * routes have to see requests. */
	if (!c->table && !c->trial)
		return become_tunnel(c);
	if (c->table && c->table->kind == SL_ROUTE_TCP) {
		sl_tunnel_route(c, sl_route_table_first(c->table));
		return true;
	}
	is_tls = c->table && c->table->kind == SL_ROUTE_TLS;
	n = sl_sock_fill(&c->sock, is_tls ? SL_SOCK_HIGH_BYTES : SL_SOCK_READ_BYTES);
	if (n == -ENOMEM || c->sock.error) {
		sl_conn_kill(c, n < 0 ? SL_END_INTERNAL : SL_END_CLIENT_CLOSED);
		return false;
	}
	return is_tls ? detect_tls(c) : detect_http(c);
}
