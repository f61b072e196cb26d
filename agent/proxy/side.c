/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/side.h"

#include <errno.h>
#include "base/alloc.h"

enum { STEPS_PER_TURN = 16 };

static void forget(struct sl_side *side)
{
	struct sl_stream *s = side->stream;
	struct sl_proxy *p = s->conn->proxy;

	sl_attempt_release(s);
	sl_buf_deinit(&side->body);
	p->buffered_bytes -= s->buffered_bytes;
	p->n_mirrors -= side->is_mirror;
	sl_task_cancel(&s->task);
	sl_list_remove(&side->node);
	sl_stream_free(s); /* and the side with it */
}

void sl_side_cut(struct sl_side *side)
{
	if (side->stream->state != SL_STREAM_DONE)
		sl_stream_cut(side->stream, SL_END_CLIENT_CLOSED);
	forget(side);
}

void sl_sides_drop(struct sl_proxy_source *src)
{
	sl_list_foreach_safe (n, &src->sides)
		sl_side_cut(sl_container_of(n, struct sl_side, node));
	free(sl_take(src->agent));
}

static void count_buffers(struct sl_side *side)
{
	struct sl_stream *s = side->stream;
	const struct sl_upconn *up = s->attempt.x ? NULL : s->attempt.up; /* a mux counts itself */
	uint64_t now = side->body.cap + s->attempt.replay.cap;

	if (up)
		now += up->sock.in.cap + up->sock.out.cap;
	s->conn->proxy->buffered_bytes += now - s->buffered_bytes;
	s->buffered_bytes = now;
}

static void run(struct sl_task *t)
{
	struct sl_stream *s = sl_container_of(t, struct sl_stream, task);
	struct sl_side *side = s->side;
	unsigned i = 0;

	if (s->state == SL_STREAM_NEW)
		sl_attempt_begin(s);
	while (s->state != SL_STREAM_DONE && i < STEPS_PER_TURN && sl_stream_step(s))
		i++;
	if (s->state == SL_STREAM_DONE) {
		side->ops->end(side);
		forget(side);
		return;
	}
	if (i == STEPS_PER_TURN)
		sl_task_queue_next(s->conn->proxy->loop, &s->task);
	count_buffers(side);
}

/* Streams find proxy and namespace by their conn; this one has no descriptor, and is in no list. */
static struct sl_conn *agent_of(struct sl_proxy_source *src)
{
	if (!src->agent)
		src->agent = sl_new(struct sl_conn);
	if (src->agent) {
		src->agent->proxy = src->proxy;
		src->agent->source = src;
		src->agent->state = SL_CONN_DEAD;
	}
	return src->agent;
}

struct sl_side *sl_side_new(struct sl_proxy_source *src, const struct sl_side_ops *ops)
{
	struct sl_conn *agent = agent_of(src);
	struct sl_stream *s = agent ? sl_stream_new(agent, &sl_down_side, NULL) : NULL;
	struct sl_side *side = s ? sl_arena_new(&s->arena, struct sl_side) : NULL;

	if (!side) {
		if (s)
			sl_stream_free(s);
		return NULL;
	}
	side->ops = ops;
	side->stream = s;
	s->side = side;
	s->task = SL_TASK_INIT_OWNED(run, &src->turn);
	s->wakes = &s->task;
	sl_list_append(&src->sides, &side->node);
	return side;
}

void sl_side_end_body(struct sl_side *side, uint64_t timeout_ns)
{
	struct sl_stream *s = side->stream;
	struct sl_loop *loop = s->conn->proxy->loop;

	side->body_ended = true;
	sl_timer_arm(loop, &s->timer, sl_loop_now(loop) + timeout_ns);
	sl_stream_wake(s);
}

/* ---- as a client ---- */

static bool read_body(struct sl_stream *s, sl_body_fn fn)
{
	struct sl_side *side = s->side;
	size_t n = sl_buf_len(&side->body);

	if (!fn)
		return false;
	if (n && fn(s, &side->body, n)) {
		sl_stream_reply(s, 503, SL_END_INTERNAL);
		return true;
	}
	sl_buf_release(&side->body);
	s->req_body.done = side->body_ended;
	return n || s->req_body.done;
}

static int write_interim(struct sl_stream *s, const struct sl_response *res)
{
	return 0;
}

static int write_head(struct sl_stream *s)
{
	struct sl_side *side = s->side;

	if (s->state == SL_STREAM_LOCAL) {
		side->ops->fail(side); /* what the agent would say itself */
		return 0;
	}
	side->answered = true;
	side->ops->head(side);
	return 0;
}

static int write_body(struct sl_stream *s, struct sl_buf *from, size_t n)
{
	int r = s->side->ops->body(s->side, from, n);

	if (r)
		return r;
	sl_buf_consume(from, n);
	s->res_bytes += n;
	return 0;
}

static int write_text(struct sl_stream *s, struct sl_str text)
{
	return 0;
}

static int write_end(struct sl_stream *s)
{
	return 0;
}

static bool full(const struct sl_stream *s)
{
	return false;
}

static void abort_stream(struct sl_stream *s, enum sl_end_reason end)
{
	sl_stream_cut(s, end);
	s->side->ops->fail(s->side);
}

/* Nothing that is sent here asks for it. */
static int write_switch(struct sl_stream *s)
{
	return -EINVAL;
}

const struct sl_down_ops sl_down_side = {
	.read_body = read_body,
	.write_interim = write_interim,
	.write_head = write_head,
	.write_body = write_body,
	.write_text = write_text,
	.write_end = write_end,
	.full = full,
	.abort = abort_stream,
	.write_switch = write_switch,
};
