/* SPDX-License-Identifier: Apache-2.0 */
/*
 * RequestMirror: a copy of the request for another Service, whose answer nobody sees. The copy is
 * what the main request is at the filter's place in the list. It has bounds (how many are under
 * way, how far one may lag behind the body), and gives way at each of them.
 */
#include <errno.h>
#include "base/clock.h"
#include "proxy/side.h"
#include "upstream/random.h"

/* As long as the rule sets no timeouts.request. */
#define TIMEOUT_NS (30 * SL_NS_PER_S)

/* An answer is read so that its connection can be used again, but not at any length. */
enum { ANSWER_BYTES = 1 << 20 };

static void count(struct sl_proxy *p, enum sl_counter result)
{
	sl_metrics_inc(p->metrics, result);
}

static void on_head(struct sl_side *side)
{
	count(side->stream->conn->proxy, SL_COUNTER_MIRRORS_ANSWERED);
}

static void on_fail(struct sl_side *side)
{
	if (!side->answered)
		count(side->stream->conn->proxy, SL_COUNTER_MIRRORS_FAILED);
}

static int on_body(struct sl_side *side, const struct sl_buf *from, size_t n)
{
	return side->stream->res_bytes + n > ANSWER_BYTES ? -EMSGSIZE : 0;
}

static void unlink_side(struct sl_side *side)
{
	struct sl_side **at;

	if (!side->main)
		return;
	for (at = &side->main->mirrors; *at != side; at = &(*at)->next)
		;
	*at = side->next;
	side->main = NULL;
}

static const struct sl_side_ops ops = {
	.head = on_head,
	.fail = on_fail,
	.body = on_body,
	.end = unlink_side,
};

static int copy_headers(struct sl_arena *a, const struct sl_headers *from, struct sl_headers *ret)
{
	for (uint32_t i = 0; i < from->n; i++) {
		struct sl_str name, value;

		if (sl_arena_str(a, from->items[i].name, &name) ||
		    sl_arena_str(a, from->items[i].value, &value) ||
		    sl_headers_append(ret, a, name, value))
			return -ENOMEM;
	}
	return 0;
}

/* Without an expectation: the body comes when the main request's does. */
static int copy_request(struct sl_arena *a, const struct sl_request *from, struct sl_request *ret)
{
	struct sl_str *texts[] = {&ret->method_text, &ret->target,    &ret->path,
				  &ret->query,	     &ret->authority, &ret->trailer};

	*ret = *from;
	ret->headers = (struct sl_headers){0};
	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		if (texts[i]->ptr && sl_arena_str(a, *texts[i], texts[i]))
			return -ENOMEM;
	}
	if (copy_headers(a, &from->headers, &ret->headers))
		return -ENOMEM;
	(void)sl_headers_remove(&ret->headers, SL_STR("expect")); /* it may be absent */
	ret->expect_continue = false;
	return 0;
}

static uint64_t timeout_of(const struct sl_stream *s)
{
	return s->rule->request_timeout_ns ? s->rule->request_timeout_ns : TIMEOUT_NS;
}

static int copy_stream(const struct sl_stream *s, const struct sl_mirror *m, struct sl_side *side)
{
	struct sl_stream *copy = side->stream;

	copy->is_grpc = s->is_grpc;
	copy->conn_upgraded = s->conn_upgraded;
	if (copy_request(&copy->arena, &s->req, &copy->req))
		return -ENOMEM;
	return sl_arena_str(&copy->arena, m->backend, &copy->upstream_key);
}

static void skip(struct sl_proxy *p, enum sl_limit limit)
{
	sl_metrics_limit(p->metrics, limit);
	count(p, SL_COUNTER_MIRRORS_SKIPPED);
}

static bool is_chosen(struct sl_proxy *p, const struct sl_mirror *m)
{
	return sl_random_chance(&p->random, m->numerator, m->denominator);
}

static void give_up(struct sl_side *side)
{
	if (!side->answered)
		count(side->stream->conn->proxy, SL_COUNTER_MIRRORS_GIVEN_UP);
	unlink_side(side);
	sl_side_cut(side);
}

static void feed(struct sl_side *side, const char *p, size_t n)
{
	struct sl_proxy *proxy = side->stream->conn->proxy;
	bool over = sl_buf_len(&side->body) + n > proxy->opts.mirror_body_bytes;

	if (!over && !sl_buf_append(&side->body, p, n)) {
		sl_stream_wake(side->stream);
		return;
	}
	sl_metrics_limit(proxy->metrics, over ? SL_LIMIT_MIRROR_BODY_BYTES : SL_LIMIT_MEMORY);
	give_up(side);
}

void sl_mirror_begin(struct sl_stream *s, const struct sl_mirror *m)
{
	struct sl_proxy *p = s->conn->proxy;
	struct sl_side *side;

	/* What follows such a request is a conversation, which cannot be had with two. */
	if (s->req.upgrade.ptr || s->req.method == SL_METHOD_CONNECT || !is_chosen(p, m))
		return;
	if (p->n_mirrors >= p->opts.max_mirrors || sl_proxy_is_tight(p)) {
		skip(p, p->n_mirrors >= p->opts.max_mirrors ? SL_LIMIT_MIRRORS
							    : SL_LIMIT_BUFFERED_BYTES);
		return;
	}
	side = sl_side_new(s->conn->source, &ops);
	if (side) {
		side->is_mirror = true;
		p->n_mirrors++;
	}
	if (!side || copy_stream(s, m, side)) {
		if (side)
			sl_side_cut(side);
		skip(p, SL_LIMIT_MEMORY);
		return;
	}
	s->n_mirrors++;
	if (!sl_request_has_body(&s->req)) {
		sl_side_end_body(side, timeout_of(s));
		return;
	}
	side->main = s;
	side->next = s->mirrors;
	s->mirrors = side;
	/* A filter before this one may have read the body. */
	if (sl_buf_len(&s->attempt.replay))
		feed(side, sl_buf_ptr(&s->attempt.replay), sl_buf_len(&s->attempt.replay));
	if (s->req_body.done)
		sl_mirrors_end_body(s);
	else if (s->mirrors == side)
		sl_stream_wake(side->stream);
}

void sl_mirrors_feed(struct sl_stream *s, const char *p, size_t n)
{
	struct sl_side *next;

	for (struct sl_side *side = s->mirrors; side; side = next) {
		next = side->next;
		feed(side, p, n);
	}
}

void sl_mirrors_end_body(struct sl_stream *s)
{
	while (s->mirrors) {
		struct sl_side *side = s->mirrors;

		unlink_side(side);
		if (copy_headers(&side->stream->arena, &s->req_trailers,
				 &side->stream->req_trailers)) {
			sl_metrics_limit(s->conn->proxy->metrics, SL_LIMIT_MEMORY);
			give_up(side);
			continue;
		}
		sl_side_end_body(side, timeout_of(s));
	}
}

void sl_mirrors_give_up(struct sl_stream *s)
{
	while (s->mirrors)
		give_up(s->mirrors);
}
