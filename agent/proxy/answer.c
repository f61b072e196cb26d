/* SPDX-License-Identifier: Apache-2.0 */
/* What an endpoint answered, whatever it was written in: filters run, and the client gets it. */
#include <errno.h>
#include "proxy/state.h"

/* Interim responses of one request; more is abuse of memory, as each head stays in the arena. */
enum { MAX_INTERIM = 32 };

void sl_answer_bad(struct sl_stream *s)
{
	sl_stream_reply(s, 502, SL_END_UPSTREAM_INVALID);
}

void sl_answer_first_byte(struct sl_stream *s)
{
	struct sl_proxy *p = s->conn->proxy;

	if (s->attempt.first_byte_ns)
		return;
	s->attempt.first_byte_ns = sl_loop_now(p->loop);
	sl_metrics_observe(p->metrics, SL_HISTOGRAM_FIRST_BYTE,
			   s->attempt.first_byte_ns - s->attempt.started_ns);
}

/* 101, or 2xx to CONNECT: from here on bytes. */
static void switch_protocols(struct sl_stream *s)
{
	int r;

	if ((s->res.status == 101 && !s->req.upgrade.ptr) || !s->attempt.ops->begin_tunnel(s)) {
		sl_answer_bad(s);
		return;
	}
	r = s->persistence ? sl_persistence_tell(s) : 0;
	if (!r)
		r = s->down->write_switch(s);
	if (r) {
		sl_stream_reply(s, r == -EINVAL ? 502 : 503, SL_END_INTERNAL);
		return;
	}
	sl_timer_cancel(&s->timer);
	sl_timer_cancel(&s->attempt.timer);
	sl_retry_give_up(s);
	if (s->down == &sl_down_h1 && s->attempt.ops == &sl_up_h1) {
		sl_tunnel_detach(s);
		return;
	}
	s->tunnel = true;
	s->req_body.done = s->req_ended = false;
	sl_metrics_inc(s->conn->proxy->metrics, SL_COUNTER_TUNNELS);
	sl_metrics_gauge_add(s->conn->proxy->metrics, SL_GAUGE_TUNNELS, 1);
	sl_stream_move(s, SL_STREAM_RESPONDING);
}

static void interim(struct sl_stream *s)
{
	bool is_news = s->res.status != 100; /* 100 can be said again */
	bool asked = is_news || s->req.expect_continue;

	if (++s->n_interim > MAX_INTERIM) {
		sl_answer_bad(s);
		return;
	}
	if (asked && s->down->write_interim(s, &s->res)) {
		sl_stream_reply(s, 503, SL_END_INTERNAL);
		return;
	}
	if (is_news)
		sl_retry_give_up(s);
	s->res = (struct sl_response){0};
}

static void final_head(struct sl_stream *s)
{
	int r;

	if (sl_attempt_refuses(s))
		return;
	r = sl_stream_filter_response(s);
	if (!r && s->persistence)
		r = sl_persistence_tell(s);
	if (!r)
		r = s->down->write_head(s);
	if (r == -EINVAL) {
		sl_answer_bad(s);
		return;
	}
	if (r) {
		sl_stream_reply(s, 503, SL_END_INTERNAL);
		return;
	}
	sl_stream_move(s, SL_STREAM_RESPONDING);
	sl_detect_learn(s->conn, s->frontend);
}

void sl_answer_head(struct sl_stream *s)
{
	if (s->res.status == 101 ||
	    (s->req.method == SL_METHOD_CONNECT && s->res.status / 100 == 2))
		switch_protocols(s);
	else if (s->res.status < 200)
		interim(s);
	else
		final_head(s);
}

void sl_answer_end(struct sl_stream *s)
{
	if (!s->res_ended && s->down->write_end(s)) {
		s->down->abort(s, SL_END_INTERNAL);
		return;
	}
	s->res_ended = true;
	if (s->tunnel && (!s->req_ended || !s->attempt.ops->sent(s)))
		return; /* the other half goes on */
	s->end = SL_END_COMPLETE;
	sl_attempt_release(s);
	sl_stream_move(s, SL_STREAM_DONE);
}
