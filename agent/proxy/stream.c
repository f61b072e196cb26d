/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <errno.h>
#include "base/alloc.h"
#include "http/grpc.h"
#include "http/uri.h"
#include "proxy/state.h"
#include "snapshot/match_index.h"

enum { MAX_FREE_STREAMS = 64, ARENA_BYTES = 4096, ARENA_KEEP_BYTES = 16384 };

void sl_stream_move(struct sl_stream *s, enum sl_stream_state to)
{
	static const uint8_t legal[] = {
		[SL_STREAM_NEW] =
			1 << SL_STREAM_PAUSED | 1 << SL_STREAM_CONNECTING | 1 << SL_STREAM_LOCAL,
		[SL_STREAM_PAUSED] = 1 << SL_STREAM_CONNECTING | 1 << SL_STREAM_LOCAL,
		[SL_STREAM_BACKOFF] = 1 << SL_STREAM_CONNECTING | 1 << SL_STREAM_LOCAL,
		[SL_STREAM_CONNECTING] =
			1 << SL_STREAM_WAITING | 1 << SL_STREAM_BACKOFF | 1 << SL_STREAM_LOCAL,
		[SL_STREAM_WAITING] = 1 << SL_STREAM_CONNECTING | 1 << SL_STREAM_BACKOFF |
				      1 << SL_STREAM_RESPONDING | 1 << SL_STREAM_LOCAL,
		[SL_STREAM_RESPONDING] = 1 << SL_STREAM_DONE,
		[SL_STREAM_LOCAL] = 1 << SL_STREAM_DONE,
		[SL_STREAM_DONE] = 0,
	};

	assert(legal[s->state] & 1 << to);
	s->state = to;
}

void sl_stream_wake(struct sl_stream *s)
{
	if (s->h2 || s->side)
		sl_wake_fairly(s->conn->proxy->loop, s->wakes, &s->turns);
	else
		sl_task_queue(s->conn->proxy->loop, s->wakes);
}

static void on_request_timeout(struct sl_timer *t)
{
	struct sl_stream *s = sl_container_of(t, struct sl_stream, timer);

	s->request_expired = true;
	sl_stream_wake(s);
}

static void on_connect_timeout(struct sl_timer *t)
{
	struct sl_stream *s = sl_container_of(t, struct sl_stream, attempt.connect_timer);

	s->connect_expired = true;
	sl_stream_wake(s);
}

static void on_attempt_timeout(struct sl_timer *t)
{
	struct sl_stream *s = sl_container_of(t, struct sl_stream, attempt.timer);

	s->attempt_expired = true;
	sl_stream_wake(s);
}

static enum sl_gauge gauge_of(const struct sl_down_ops *down)
{
	return down == &sl_down_side ? SL_GAUGE_SIDE_REQUESTS : SL_GAUGE_REQUESTS;
}

struct sl_stream *sl_stream_new(struct sl_conn *conn, const struct sl_down_ops *down,
				struct sl_task *wakes)
{
	struct sl_proxy *p = conn->proxy;
	struct sl_arena arena = SL_ARENA_INIT(ARENA_BYTES);
	struct sl_stream *s;

	if (!sl_list_empty(&p->free_streams)) {
		s = sl_container_of(p->free_streams.next, struct sl_stream, node);
		sl_list_remove(&s->node);
		p->n_free_streams--;
		arena = s->arena;
	} else {
		s = sl_malloc(sizeof(*s));
		if (!s)
			return NULL;
	}
	memset(s, 0, sizeof(*s));
	s->arena = arena;
	sl_list_init(&s->node);
	s->conn = conn;
	s->down = down;
	s->wakes = wakes;
	s->config = sl_config_ref(p->config);
	s->started_ns = sl_loop_now(p->loop);
	s->timer = SL_TIMER_INIT(on_request_timeout);
	s->attempt.timer = SL_TIMER_INIT(on_attempt_timeout);
	s->attempt.connect_timer = SL_TIMER_INIT(on_connect_timeout);
	sl_metrics_gauge_add(p->metrics, gauge_of(down), 1);
	return s;
}

void sl_stream_free(struct sl_stream *s)
{
	struct sl_proxy *p = s->conn->proxy;

	sl_metrics_gauge_add(p->metrics, gauge_of(s->down), -1);
	if (s->mirrors)
		sl_mirrors_give_up(s);
	if (s->tunnel)
		sl_metrics_gauge_add(p->metrics, SL_GAUGE_TUNNELS, -1);
	if (s->h2)
		sl_h2_stream_deinit(s->h2, SL_H2_CANCEL);
	sl_timer_cancel(&s->timer);
	sl_config_unref(s->config);
	if (p->n_free_streams >= MAX_FREE_STREAMS || s->arena.used_bytes > ARENA_KEEP_BYTES) {
		sl_arena_deinit(&s->arena);
		free(s);
		return;
	}
	sl_arena_reset(&s->arena);
	sl_list_append(&p->free_streams, &s->node);
	p->n_free_streams++;
}

static struct sl_str protocol_name(const struct sl_stream *s)
{
	return s->req.version == 20   ? SL_STR("HTTP/2")
	       : s->req.version == 10 ? SL_STR("HTTP/1.0")
				      : SL_STR("HTTP/1.1");
}

static void write_log(const struct sl_stream *s, uint64_t now)
{
	const struct sl_conn *c = s->conn;
	const struct sl_header *agent = sl_headers_find(&s->req.headers, SL_STR("user-agent"));
	char client[SL_ADDR_TEXT], endpoint[SL_ADDR_TEXT];
	struct sl_access_record r = {
		.start_ns = s->started_ns,
		.source_namespace = s->client.namespace,
		.source_pod = s->client.name,
		.client = sl_str_from(sl_addr_format(&c->peer, client)),
		.service = s->frontend ? s->frontend->key : SL_STR_NULL,
		.protocol = protocol_name(s),
		.method = s->req.method_text,
		.authority = s->log_authority,
		.path = s->log_path,
		.user_agent = agent ? agent->value : SL_STR_NULL,
		.route = s->rule ? s->rule->route : SL_STR_NULL,
		.rule = s->rule ? s->rule->name : SL_STR_NULL,
		.backend = s->upstream_key,
		.status = s->res.status,
		.attempts = s->attempt.n_tries,
		.mirrors = s->n_mirrors,
		.request_bytes = s->req_bytes,
		.response_bytes = s->res_bytes,
		.duration_ns = now - s->started_ns,
		.fault_delay_ns = s->fault_delay_ns,
		.end_reason = sl_str_from(sl_end_reason_name(s->end)),
	};

	if (s->shadow) {
		r.shadow_route = s->shadow->route;
		r.shadow_rule = s->shadow->rule;
		r.shadow_differs = (struct sl_str){s->shadow->differs, s->shadow->len};
	}
	if (s->attempt.n_tries)
		r.endpoint = sl_str_from(sl_addr_format(&s->attempt.endpoint, endpoint));
	if (s->attempt.first_byte_ns)
		r.first_byte_ns = s->attempt.first_byte_ns - s->started_ns;
	sl_access_log_write(c->proxy->log, &r);
}

static void count(const struct sl_stream *s, uint64_t now)
{
	const struct sl_metrics_request r = {
		.service = s->frontend ? s->frontend->key : SL_STR_NULL,
		.route = s->rule ? s->rule->route : SL_STR_NULL,
		.rule = s->rule ? s->rule->name : SL_STR_NULL,
		.backend = s->upstream_key,
		.code = s->res.status,
		.duration_ns = now - s->started_ns,
		.recent = &s->config->recent,
	};

	sl_metrics_request(s->conn->proxy->metrics, &r);
	sl_metrics_end(s->conn->proxy->metrics, s->end);
}

void sl_stream_cut(struct sl_stream *s, enum sl_end_reason end)
{
	s->end = end;
	sl_attempt_release(s);
	sl_timer_cancel(&s->timer);
	s->state = SL_STREAM_DONE; /* from any state */
}

void sl_stream_end(struct sl_stream *s)
{
	uint64_t now = sl_loop_now(s->conn->proxy->loop);

	sl_attempt_release(s);
	count(s, now);
	if (s->conn->proxy->log)
		write_log(s, now);
	sl_stream_free(s);
}

static const char *explain(enum sl_end_reason end, uint16_t status)
{
	switch (end) {
	case SL_END_NO_ROUTE:
		return "no rule of the attached routes matches this request";
	case SL_END_NO_BACKEND:
		return "the rule has no usable backend";
	case SL_END_NO_ENDPOINT:
		return "the backend has no ready endpoint";
	case SL_END_RETRY_BUDGET:
		return "the backend's retry budget is spent (XBackendTrafficPolicy)";
	case SL_END_OVERFLOW:
		return "the backend has all that its policy lets it have (circuitBreaker)";
	case SL_END_AUTH_FAILED:
		return "the authorization service did not answer, or not clearly";
	case SL_END_CONNECT_FAILED:
		return "no endpoint of the backend could be reached";
	case SL_END_UPSTREAM_TLS:
		return "TLS to the endpoint failed";
	case SL_END_UPSTREAM_CLOSED:
		return "the endpoint closed the connection before it answered";
	case SL_END_UPSTREAM_INVALID:
		return "the endpoint's answer is not valid HTTP";
	case SL_END_UPSTREAM_TIMEOUT:
		return "the endpoint did not answer in time (timeouts.backendRequest)";
	case SL_END_REQUEST_TIMEOUT:
		return "no answer in time (timeouts.request)";
	case SL_END_LIMIT:
	case SL_END_INTERNAL:
		return "out of resources";
	default:
		return sl_http_reason(status);
	}
}

static void send_own(struct sl_stream *s)
{
	struct sl_str body =
		s->res.body == SL_BODY_LENGTH && s->res.content_length ? s->own_body : SL_STR_NULL;

	/* What of the request is here already is read, so that the connection can go on. */
	if (s->end != SL_END_CLIENT_INVALID && s->end != SL_END_CLIENT_TIMEOUT)
		(void)s->down->read_body(s, NULL); /* its success shows in req_body.done */
	if (!s->req_body.done)
		s->close_after = true;
	if (s->down->write_head(s) || (body.len && s->down->write_text(s, body)) ||
	    s->down->write_end(s)) {
		s->down->abort(s, SL_END_INTERNAL);
		return;
	}
	sl_stream_move(s, SL_STREAM_DONE);
}

static int write_own_body(struct sl_stream *s)
{
	const char *why = s->why ? s->why : explain(s->end, s->res.status);
	uint64_t value = s->limit ? sl_proxy_limit(s->conn->proxy, s->limit) : 0;

	if (!value)
		return sl_arena_printf(&s->arena, &s->own_body, "sluice: %s\n", why);
	return sl_arena_printf(&s->arena, &s->own_body, "sluice: %s (limit %s=%llu)\n", why,
			       sl_limit_name(s->limit), (unsigned long long)value);
}

void sl_stream_limit(struct sl_stream *s, enum sl_limit limit, uint16_t status,
		     enum sl_end_reason end)
{
	s->limit = limit;
	sl_metrics_limit(s->conn->proxy->metrics, limit);
	sl_stream_reply(s, status, end);
}

/* Under a GRPCRoute a call gets a status of gRPC's; under an HTTPRoute it is HTTP, unless a status
 * was asked for. */
static int suit_grpc(struct sl_stream *s)
{
	struct sl_str message = {s->own_body.ptr, s->own_body.len - 1}; /* without the line's end */
	unsigned code = s->grpc_status;

	if (!code && s->is_grpc && s->table && s->table->kind == SL_ROUTE_GRPC)
		code = sl_grpc_code(s->res.status);
	return code ? sl_grpc_answer(&s->res, &s->arena, code, message) : 0;
}

void sl_stream_reply(struct sl_stream *s, uint16_t status, enum sl_end_reason end)
{
	struct sl_response *res = &s->res;

	if (s->state == SL_STREAM_RESPONDING || s->state >= SL_STREAM_LOCAL) {
		/* The head is out, or this is the second failure: all that is left is to cut. */
		s->down->abort(s, end);
		return;
	}
	s->end = end;
	sl_attempt_release(s);
	sl_stream_move(s, SL_STREAM_LOCAL);
	*res = (struct sl_response){.status = status, .version = 11, .has_length = true};
	if (write_own_body(s) || sl_headers_append(&res->headers, &s->arena, SL_STR("content-type"),
						   SL_STR("text/plain; charset=utf-8"))) {
		s->down->abort(s, SL_END_INTERNAL);
		return;
	}
	res->content_length = s->own_body.len;
	res->body = s->req.method == SL_METHOD_HEAD ? SL_BODY_NONE : SL_BODY_LENGTH;
	if (suit_grpc(s)) {
		s->down->abort(s, SL_END_INTERNAL);
		return;
	}
	send_own(s);
}

int sl_stream_filter_response(struct sl_stream *s)
{
	int r = 0;

	if (s->backend)
		r = sl_filters_response(s->backend->filters, s->backend->n_filters, &s->env,
					&s->res);
	if (!r)
		r = sl_auth_edit_answer(s);
	if (!r && s->rule)
		r = sl_filters_response(s->rule->filters, s->rule->n_filters, &s->env, &s->res);
	return r;
}

void sl_stream_answer(struct sl_stream *s, enum sl_end_reason end)
{
	if (sl_stream_filter_response(s)) {
		sl_stream_reply(s, 503, SL_END_INTERNAL);
		return;
	}
	s->end = end;
	sl_attempt_release(s);
	sl_stream_move(s, SL_STREAM_LOCAL);
	send_own(s);
}

/* Returns 0 to go on, else the stream has its answer, or is PAUSED. */
static int run_filters(struct sl_stream *s, const struct sl_filter *filters, uint32_t n)
{
	int r;

	while ((r = sl_filters_request(filters, n, &s->env, &s->req, &s->res)) == SL_FILTER_CALL) {
		const struct sl_filter *f = &filters[s->env.next - 1];

		if (f->kind == SL_FILTER_KIND_AUTH) {
			sl_auth_begin(s, f->auth);
			return r;
		}
		sl_mirror_begin(s, f->mirror);
	}
	if (r == SL_FILTER_ANSWER)
		sl_stream_answer(s, SL_END_ANSWERED);
	else if (r)
		sl_stream_reply(s, 503, SL_END_INTERNAL);
	return r;
}

const struct sl_upstream *sl_stream_upstream(const struct sl_stream *s)
{
	const struct sl_snapshot *snap = s->conn->proxy->config->snap;
	const struct sl_upstream *up = NULL;

	/* The policy may have gone since the request began. */
	if (s->backend)
		up = sl_snapshot_upstream(snap, s->backend->upstream);
	return up ? up : sl_snapshot_upstream(snap, s->upstream_key);
}

static int choose_backend(struct sl_stream *s)
{
	int i;

	i = s->rule->total_weight ? sl_wrr_pick(&s->conn->proxy->wrr, s->rule) : -1;
	if (i < 0) {
		sl_stream_reply(s, 500, SL_END_NO_BACKEND);
		return 1;
	}
	s->backend = &s->rule->backends[i];
	s->upstream_key = s->backend->name;
	if (s->backend->state != SL_BACKEND_OK) {
		sl_stream_reply(s, 500, SL_END_NO_BACKEND);
		return 1;
	}
	return run_filters(s, s->backend->filters, s->backend->n_filters);
}

/* timeouts.request of the rule, or what the caller of a gRPC method waits for, if that is less. */
static void set_deadline(struct sl_stream *s)
{
	uint64_t timeout_ns = s->rule->request_timeout_ns, caller_ns;
	const struct sl_header *h = NULL;

	if (s->is_grpc)
		h = sl_headers_find(&s->req.headers, SL_STR("grpc-timeout"));
	if (h && !sl_grpc_timeout(h->value, &caller_ns) && (!timeout_ns || caller_ns < timeout_ns))
		timeout_ns = caller_ns ? caller_ns : 1;
	if (timeout_ns)
		sl_timer_arm(s->conn->proxy->loop, &s->timer, s->started_ns + timeout_ns);
}

static int route(struct sl_stream *s)
{
	struct sl_conn *c = s->conn;
	const struct sl_match *match = NULL;

	if (!s->frontend) {
		sl_stream_reply(s, 503, SL_END_NO_BACKEND);
		return 1;
	}
	s->upstream_key = s->frontend->key;
	if (!s->table && !s->trial)
		return 0; /* no rules for this client: as if there were no mesh */
	if (sl_uri_path_to_match(&s->arena, s->req.path, &s->env.path)) {
		sl_stream_reply(s, 503, SL_END_INTERNAL);
		return 1;
	}
	if (s->table)
		match = sl_route_table_find(s->table, &s->req, s->env.path, c->proxy->scratch,
					    &s->arena);
	if (s->trial)
		sl_shadow_judge(s, match);
	if (!s->table)
		return 0;
	s->upstream_key = SL_STR_NULL;
	s->rule = match ? match->rule : NULL;
	if (!s->rule) {
		sl_stream_reply(s, s->table->fallback_status,
				s->table->fallback_status == 404 ? SL_END_NO_ROUTE
								 : SL_END_NO_BACKEND);
		return 1;
	}
	set_deadline(s);
	if (s->rule->faults)
		sl_inject_choose(s, s->rule->faults, s->env.path);
	if (run_filters(s, s->rule->filters, s->rule->n_filters))
		return 1;
	return choose_backend(s);
}

/* An HTTP/1.0 client need not send Host, an HTTP/1.1 server must have it (RFC 9112 section 3.2):
 * the address that the client dialled stands for the name that it did not say. */
static int name_host(struct sl_stream *s)
{
	const struct sl_addr *dialled = &s->conn->original;
	char text[SL_ADDR_TEXT];

	if (dialled->port == 80 && sl_addr_is_v4(dialled))
		sl_addr_format_ip(dialled, text);
	else
		sl_addr_format(dialled, text);
	return sl_arena_str(&s->arena, sl_str_from(text), &s->req.authority);
}

void sl_stream_begin(struct sl_stream *s)
{
	struct sl_conn *c = s->conn;
	enum sl_limit limit;

	if (s->req.version == 10 && !s->req.authority.len && name_host(s)) {
		sl_stream_reply(s, 503, SL_END_INTERNAL);
		return;
	}
	s->log_path = s->req.target;
	s->log_authority = s->req.authority;
	s->env = (struct sl_filter_env){
		.arena = &s->arena, .scheme = SL_STR("http"), .port = c->original.port};
	sl_proxy_shed(c->proxy);
	limit = sl_share_refuses_request(c->source);
	if (limit) {
		sl_stream_limit(s, limit, 503, SL_END_LIMIT);
		return;
	}
	if (!route(s))
		sl_inject_or_begin(s);
}

void sl_stream_resume(struct sl_stream *s)
{
	const struct sl_backend *b = s->backend;

	if (b ? run_filters(s, b->filters, b->n_filters)
	      : run_filters(s, s->rule->filters, s->rule->n_filters))
		return;
	if (b || !choose_backend(s))
		sl_inject_or_begin(s);
}

bool sl_stream_step(struct sl_stream *s)
{
	if (s->request_expired) {
		sl_stream_reply(s, 504, SL_END_REQUEST_TIMEOUT);
		return true;
	}
	if (s->attempt_expired) {
		sl_attempt_expired(s);
		return true;
	}
	switch (s->state) {
	case SL_STREAM_PAUSED:
		return s->auth ? sl_auth_step(s) : sl_inject_step(s);
	case SL_STREAM_BACKOFF:
	case SL_STREAM_CONNECTING:
	case SL_STREAM_WAITING:
	case SL_STREAM_RESPONDING:
		return sl_attempt_step(s);
	case SL_STREAM_NEW:
	case SL_STREAM_LOCAL:
	case SL_STREAM_DONE:
		break;
	}
	return false;
}
