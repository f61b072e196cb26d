/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes both ways, with half-close and reset passed on: what is not HTTP/1, and upgraded
 * connections. */
#include <errno.h>
#include "proxy/state.h"

enum { MAX_TRIES = 3 };

static void become_tunnel(struct sl_conn *c)
{
	sl_conn_move(c, SL_CONN_TUNNEL);
	sl_timer_cancel(&c->timer);
	if (!c->tunnel_of)
		c->tunnel_config = sl_config_ref(c->proxy->config);
	sl_metrics_inc(c->proxy->metrics, SL_COUNTER_TUNNELS);
	sl_metrics_gauge_add(c->proxy->metrics, SL_GAUGE_TUNNELS, 1);
}

static void start_clock(struct sl_conn *c)
{
	struct sl_loop *loop = c->proxy->loop;

	c->timed_out = false;
	if (c->up->sock.connecting)
		sl_timer_arm(loop, &c->timer,
			     sl_loop_now(loop) + c->proxy->opts.connect_timeout_ns);
}

void sl_tunnel_begin(struct sl_conn *c, struct sl_upconn *up)
{
	become_tunnel(c);
	c->up = up;
	sl_upconn_bind(up, &c->task);
	sl_splice_leave(&c->sock, SL_SPLICE_TUNNEL);
	sl_splice_leave(&up->sock, SL_SPLICE_TUNNEL);
	start_clock(c);
}

void sl_tunnel_detach(struct sl_stream *s)
{
	struct sl_conn *c = s->conn;

	c->tunnel_of = sl_take(c->stream);
	sl_tunnel_begin(c, sl_take(s->attempt.up));
}

/* Where it goes: to the rule's backend, or to the Service itself. NULL: nowhere. */
static struct sl_str upstream_of(const struct sl_conn *c)
{
	if (c->backend)
		return c->backend->name;
	return c->rule || !c->frontend ? SL_STR_NULL : c->frontend->key;
}

static const struct sl_endpoint *choose(struct sl_conn *c, const struct sl_upstream *up)
{
	const struct sl_balance_ask ask = {
		.up = up, .avoid = c->n_dials ? &c->dialled : NULL, .client = &c->peer};
	const struct sl_endpoint *e = NULL;

	if (up)
		(void)sl_balance_pick(c->proxy, &ask, &c->lease, &e); /* e tells */
	return e;
}

static void end_lease(struct sl_conn *c, enum sl_outcome outcome)
{
	sl_balance_end(c->proxy, &c->lease, outcome, 0);
}

/* What a TLSRoute passes on is TLS already, and what no rule governs goes as without a mesh. */
static bool wants_tls(const struct sl_conn *c)
{
	return c->backend && c->rule->kind == SL_ROUTE_TCP;
}

/* A connection to another endpoint than the one that was tried last. */
static int dial(struct sl_conn *c, struct sl_upconn **ret)
{
	struct sl_proxy *p = c->proxy;
	const struct sl_upstream *upstream = sl_snapshot_upstream(p->config->snap, upstream_of(c));
	struct sl_dial want = {.reuse = SL_REUSE_NEVER, .lease = &c->lease};
	int r = -ENOENT;

	if (upstream && wants_tls(c)) {
		if (upstream->tls_refused)
			return -EPROTO;
		want.tls = upstream->tls;
	}
	while (c->n_dials < MAX_TRIES) {
		const struct sl_endpoint *e = choose(c, upstream);

		if (!e || (c->n_dials && sl_addr_eq(&e->addr, &c->dialled))) {
			end_lease(c, SL_OUTCOME_NONE);
			return r;
		}
		c->n_dials++;
		c->dialled = want.endpoint = e->addr;
		r = sl_upconn_open(c->source, &want, &c->task, ret);
		if (!r)
			return 0;
		end_lease(c, r == -EBUSY ? SL_OUTCOME_NONE : SL_OUTCOME_CONNECT);
	}
	return r;
}

static void refuse(struct sl_conn *c, int err)
{
	sl_conn_kill(c, err == -ENOENT	 ? SL_END_NO_ENDPOINT
			: err == -EPROTO ? SL_END_UPSTREAM_TLS
					 : SL_END_CONNECT_FAILED);
}

void sl_tunnel_open(struct sl_conn *c)
{
	struct sl_upconn *up = NULL;
	int r = dial(c, &up);

	if (r) {
		/* Counted as a tunnel that ended at once: the client sees a reset. */
		become_tunnel(c);
		refuse(c, r);
		return;
	}
	sl_tunnel_begin(c, up);
}

static void count_route(const struct sl_conn *c)
{
	const struct sl_metrics_request labels = {
		.service = c->frontend->key,
		.route = c->rule->route,
		.rule = c->rule->name,
		.backend = c->backend ? c->backend->name : SL_STR(""),
	};

	sl_metrics_connections(c->proxy->metrics, &labels, 1);
}

void sl_tunnel_route(struct sl_conn *c, const struct sl_rule *rule)
{
	/* State was sized for the newest snapshot, which the rule was found in a moment ago. */
	int i = rule && rule->total_weight ? sl_wrr_pick(&c->proxy->wrr, rule) : -1;

	c->rule = rule;
	c->backend = i < 0 ? NULL : &rule->backends[i];
	if (rule)
		count_route(c);
	if (c->backend && c->backend->state == SL_BACKEND_OK) {
		sl_tunnel_open(c);
		return;
	}
	sl_tunnel_refuse(c, SL_END_NO_BACKEND);
}

void sl_tunnel_refuse(struct sl_conn *c, enum sl_end_reason reason)
{
	become_tunnel(c);
	sl_conn_kill(c, reason);
}

void sl_tunnel_decline(struct sl_conn *c, enum sl_end_reason reason)
{
	become_tunnel(c);
	sl_tunnel_end(c, reason);
	sl_conn_finish(c);
}

/* Nothing was sent to the endpoint yet: another will do as well. */
static bool connect_failed(struct sl_conn *c, int err)
{
	int r;

	sl_upconn_count_connect(c->up, err);
	if (sl_upconn_tls_failed(c->up))
		err = -EPROTO;
	sl_upconn_close(sl_take(c->up), false);
	end_lease(c, SL_OUTCOME_CONNECT);
	r = dial(c, &c->up);
	if (r) {
		refuse(c, err);
		return false;
	}
	start_clock(c);
	return true;
}

/* Returns true when the endpoint is there, or another was dialled. */
static bool connecting_step(struct sl_conn *c)
{
	struct sl_upconn *up = c->up;
	int r = sl_sock_connected(&up->sock);

	if (r == -EINPROGRESS && c->timed_out)
		r = -ETIMEDOUT;
	if (r == -ETIMEDOUT)
		sl_metrics_limit(c->proxy->metrics, SL_LIMIT_CONNECT_TIMEOUT);
	if (r == -EINPROGRESS) {
		/* Nobody reads from the client meanwhile, so its reset is not read either. */
		if (c->sock.gone)
			sl_conn_kill(c, SL_END_CLIENT_CLOSED);
		return false;
	}
	if (r)
		return connect_failed(c, r);
	sl_timer_cancel(&c->timer);
	sl_upconn_count_connect(up, 0);
	return true;
}

/* Returns false when the stream is cut. */
static bool move(struct sl_sock *from, struct sl_sock *to, uint64_t *bytes, bool *progress)
{
	ssize_t n;

	/* What the reader does not take stays in the sender's socket: at most one full queue here.
	 */
	if (!sl_sock_out_full(to)) {
		n = sl_sock_fill(from, SL_SOCK_HIGH_BYTES);
		if (n < 0)
			return false;
		*progress |= n > 0;
	}
	if (sl_buf_len(&from->in) && !sl_buf_len(&to->out)) {
		struct sl_buf empty = to->out;

		*bytes += sl_buf_len(&from->in);
		to->out = from->in;
		from->in = empty;
	}
	*progress |= sl_sock_flush(to) > 0;
	if (from->error || to->broken)
		return false;
	if (from->eof && !sl_buf_len(&from->in) && !sl_buf_len(&to->out) && !to->shut) {
		sl_sock_shutdown(to);
		*progress = true;
	}
	return true;
}

bool sl_tunnel_step(struct sl_conn *c)
{
	struct sl_upconn *up = c->up;
	bool progress = false;

	if (up->sock.connecting)
		return connecting_step(c);
	if (!move(&c->sock, &up->sock, &c->tunnel_up_bytes, &progress) ||
	    !move(&up->sock, &c->sock, &c->tunnel_down_bytes, &progress)) {
		sl_conn_kill(c, c->sock.error || c->sock.broken ? SL_END_CLIENT_CLOSED
								: SL_END_UPSTREAM_CLOSED);
		return false;
	}
	if (!progress && c->sock.gone && !c->sock.eof) {
		/* What it had sent is not taken, so its reset cannot be read. */
		sl_conn_kill(c, SL_END_CLIENT_CLOSED);
		return false;
	}
	if (c->sock.shut && up->sock.shut && c->sock.eof && up->sock.eof) {
		sl_tunnel_end(c, SL_END_COMPLETE);
		sl_conn_finish(c);
		return true;
	}
	return progress;
}

struct sl_str sl_tunnel_protocol(const struct sl_conn *c)
{
	return c->rule && c->rule->kind == SL_ROUTE_TLS ? SL_STR("tls") : SL_STR("tcp");
}

static void write_log(const struct sl_conn *c, enum sl_end_reason reason, uint64_t now)
{
	char client[SL_ADDR_TEXT], endpoint[SL_ADDR_TEXT];
	struct sl_access_record r = {
		.start_ns = c->accepted_ns,
		.source_namespace = c->client.namespace,
		.source_pod = c->client.name,
		.client = sl_str_from(sl_addr_format(&c->peer, client)),
		.service = c->frontend ? c->frontend->key : SL_STR_NULL,
		.protocol = sl_tunnel_protocol(c),
		.route = c->rule ? c->rule->route : SL_STR_NULL,
		.rule = c->rule ? c->rule->name : SL_STR_NULL,
		.backend = upstream_of(c),
		.request_bytes = c->tunnel_up_bytes,
		.response_bytes = c->tunnel_down_bytes,
		.duration_ns = now - c->accepted_ns,
		.end_reason = sl_str_from(sl_end_reason_name(reason)),
	};

	if (c->up)
		r.endpoint = sl_str_from(sl_addr_format(&c->up->pooled.endpoint, endpoint));
	sl_access_log_write(c->proxy->log, &r);
}

void sl_tunnel_end(struct sl_conn *c, enum sl_end_reason reason)
{
	struct sl_stream *s = sl_take(c->tunnel_of);

	end_lease(c, c->up && c->up->counted_connect ? SL_OUTCOME_OK : SL_OUTCOME_NONE);
	sl_metrics_gauge_add(c->proxy->metrics, SL_GAUGE_TUNNELS, -1);
	if (s) {
		/* The request that asked for it is the record. */
		s->end = reason;
		s->req_bytes += c->tunnel_up_bytes;
		s->res_bytes += c->tunnel_down_bytes;
		sl_stream_end(s);
		return;
	}
	sl_metrics_end(c->proxy->metrics, reason);
	if (c->proxy->log)
		write_log(c, reason, sl_loop_now(c->proxy->loop));
	sl_config_unref(sl_take(c->tunnel_config));
}
