/* SPDX-License-Identifier: Apache-2.0 */
/* The connections that are open, for people. */
#include "proxy/down_h2.h"

/* s: the request under way, NULL for none. */
static const char *state_name(const struct sl_conn *c, const struct sl_stream *s)
{
	static const char *const conn_states[] = {
		[SL_CONN_DETECT] = "detect",   [SL_CONN_HTTP1] = "idle",
		[SL_CONN_HTTP2] = "idle",      [SL_CONN_TUNNEL] = "tunnel",
		[SL_CONN_CLOSING] = "closing", [SL_CONN_DEAD] = "dead",
		[SL_CONN_LENT] = "lent",
	};
	static const char *const stream_states[] = {
		[SL_STREAM_NEW] = "reading",	     [SL_STREAM_PAUSED] = "paused",
		[SL_STREAM_BACKOFF] = "backing off", [SL_STREAM_CONNECTING] = "connecting",
		[SL_STREAM_WAITING] = "waiting",     [SL_STREAM_RESPONDING] = "responding",
		[SL_STREAM_LOCAL] = "answering",     [SL_STREAM_DONE] = "done",
	};

	if (s && s->tunnel)
		return conn_states[SL_CONN_TUNNEL];
	if (s && c->state != SL_CONN_TUNNEL)
		return stream_states[s->state];
	return c->state == SL_CONN_HTTP1 && c->head_begun ? "reading" : conn_states[c->state];
}

static void fill_stream(struct sl_proxy_conn *r, const struct sl_stream *s, uint64_t now)
{
	r->protocol = s->req.version == 20   ? "HTTP/2"
		      : s->req.version == 10 ? "HTTP/1.0"
					     : "HTTP/1.1";
	r->method = s->req.method_text;
	r->authority = s->log_authority;
	r->path = s->log_path;
	r->request_age_ns = now - s->started_ns;
	if (s->rule) {
		r->route = s->rule->route;
		r->rule = s->rule->name;
	}
	if (s->attempt.up)
		r->endpoint = &s->attempt.endpoint;
}

static void fill(struct sl_proxy_conn *r, struct sl_conn *c, const struct sl_stream *s,
		 uint64_t now)
{
	const struct sl_frontend *frontend;
	const struct sl_upconn *up = c->up ? c->up : s ? s->attempt.up : NULL;

	/* A request or a tunnel holds the snapshot that it began with. Without one, what was looked
	 * up may be of a snapshot that has gone. */
	if (!s && !c->tunnel_config && c->proxy->config)
		sl_conn_resolve(c);
	frontend = s ? s->frontend : c->frontend;
	*r = (struct sl_proxy_conn){
		.source = c->source->cookie,
		.opened_ns = c->accepted_ns,
		.age_ns = now - c->accepted_ns,
		.client = &c->peer,
		.original = &c->original,
		.pod_namespace = s ? s->client.namespace : c->client.namespace,
		.pod = s ? s->client.name : c->client.name,
		.service = frontend ? frontend->key : SL_STR_NULL,
		.state = state_name(c, s),
		.protocol = c->state == SL_CONN_TUNNEL	? sl_tunnel_protocol(c).ptr
			    : c->state == SL_CONN_HTTP2 ? "HTTP/2"
			    : c->state == SL_CONN_HTTP1 ? "HTTP/1.1"
							: "",
		.n_requests = c->n_requests,
		.n_received = c->sock.n_received,
		.n_sent = c->sock.n_sent,
	};
	if (s)
		fill_stream(r, s, now);
	if (c->rule) {
		r->route = c->rule->route;
		r->rule = c->rule->name;
	}
	if (c->up)
		r->endpoint = &c->up->pooled.endpoint;
	r->splice = sl_splice_state_name(&c->sock);
	r->splice_why = sl_splice_why_name(c->sock.splice_why);
	r->endpoint_splice = r->endpoint_splice_why = "";
	if (up) {
		r->endpoint_splice = sl_splice_state_name(&up->sock);
		r->endpoint_splice_why = sl_splice_why_name(up->sock.splice_why);
	}
}

/* The source with the lowest cookie that is at least that one. */
static struct sl_proxy_source *source_from(const struct sl_proxy *p, uint64_t cookie)
{
	struct sl_proxy_source *src, *best = NULL;
	size_t pos = 0;

	while ((src = sl_map_next(&p->sources, &pos, NULL))) {
		if (src->cookie >= cookie && (!best || src->cookie < best->cookie))
			best = src;
	}
	return best;
}

/* One record, or in HTTP/2 one for each request under way. Returns how many. */
static uint32_t tell(struct sl_conn *c, uint64_t now, sl_proxy_conn_fn fn, void *arg)
{
	struct sl_proxy_conn record;

	if (!c->h2 || !c->h2->n_streams) {
		fill(&record, c, c->stream ? c->stream : c->tunnel_of, now);
		fn(arg, &record);
		return 1;
	}
	sl_list_foreach (node, &c->h2->streams) {
		fill(&record, c, sl_container_of(node, struct sl_stream, node), now);
		fn(arg, &record);
	}
	return c->h2->n_streams;
}

/* Connections of a source stand in the order of their acceptance. Returns false when max was
 * reached. */
static bool walk(struct sl_proxy_source *src, struct sl_proxy_cursor *cursor, uint32_t max,
		 uint32_t *n, sl_proxy_conn_fn fn, void *arg)
{
	uint64_t now = sl_loop_now(src->proxy->loop);

	sl_list_foreach (node, &src->conns) {
		struct sl_conn *c = sl_container_of(node, struct sl_conn, node);

		if (c->accepted_ns <= cursor->opened_ns)
			continue;
		/* Those accepted in one round have the same time and stay together: a round accepts
		 * few. */
		if (*n >= max && (node->prev == &src->conns ||
				  sl_container_of(node->prev, struct sl_conn, node)->accepted_ns !=
					  c->accepted_ns)) {
			cursor->opened_ns = c->accepted_ns - 1;
			return false;
		}
		*n += tell(c, now, fn, arg);
	}
	return true;
}

bool sl_proxy_each_conn(struct sl_proxy *p, struct sl_proxy_cursor *cursor, uint32_t max,
			sl_proxy_conn_fn fn, void *arg)
{
	struct sl_proxy_source *src;
	uint32_t n = 0;

	while ((src = source_from(p, cursor->source))) {
		if (src->cookie != cursor->source)
			*cursor = (struct sl_proxy_cursor){.source = src->cookie};
		if (!walk(src, cursor, max, &n, fn, arg))
			return true;
		*cursor = (struct sl_proxy_cursor){.source = src->cookie + 1};
	}
	return false;
}
