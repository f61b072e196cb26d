/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is sent a second time, and when. Without a word in the rule that is only what no endpoint
 * has begun to act on; a rule's retry (GEP-1731) adds answers with certain codes, whatever the
 * method: its author knows what the backend does with a repeated request, nobody else does. What
 * was sent and got no answer may have been acted on, and is not repeated on either ground.
 */
#include "base/clock.h"
#include "proxy/state.h"
#include "upstream/random.h"

enum {
	/* Endpoints that a request tries without a word in the rule. */
	MAX_TRIES = 3,
	/* Of a request's body: as long as it is no longer, the request can be sent again. */
	REPLAY_BYTES = 65536,
	MAX_DOUBLINGS = 4,
};

/* The base where the rule names none; its first retry then goes at once. */
#define BACKOFF_DEFAULT_NS (25 * SL_NS_PER_MS)
/* From here on a pause is long enough to be spread by who asked for it. */
#define BACKOFF_SPREAD_NS (3600 * SL_NS_PER_S)

static const struct sl_retry *asked_for(const struct sl_stream *s)
{
	return s->rule ? s->rule->retry : NULL;
}

bool sl_retry_forbidden(const struct sl_stream *s)
{
	const struct sl_retry *retry = asked_for(s);

	return retry && !retry->attempts;
}

bool sl_retry_keeps_body(const struct sl_stream *s)
{
	const struct sl_retry *retry = asked_for(s);

	return s->attempt.ops == &sl_up_h2 || (retry && retry->attempts);
}

void sl_retry_remember(struct sl_stream *s, const struct sl_buf *from, size_t n)
{
	struct sl_attempt *a = &s->attempt;

	if (a->no_replay)
		return;
	if (!sl_retry_keeps_body(s) || s->tunnel || sl_buf_len(&a->replay) + n > REPLAY_BYTES ||
	    sl_buf_append(&a->replay, sl_buf_ptr(from), n))
		sl_retry_give_up(s);
}

void sl_retry_give_up(struct sl_stream *s)
{
	s->attempt.no_replay = true;
	sl_buf_deinit(&s->attempt.replay);
}

/* Also without a word in the rule: the budget is the backend's, whoever retries. */
static bool is_affordable(struct sl_stream *s)
{
	const struct sl_proxy *p = s->conn->proxy;
	const struct sl_upstream *up = sl_stream_upstream(s);

	s->attempt.over_budget =
		up && up->budget && !sl_budget_take(up->budget, sl_loop_now(p->loop));
	if (s->attempt.over_budget)
		sl_metrics_inc(p->metrics, SL_COUNTER_RETRIES_OVER_BUDGET);
	return !s->attempt.over_budget;
}

void sl_retry_give_answer(struct sl_stream *s, uint16_t status, enum sl_end_reason end)
{
	if (s->attempt.over_budget)
		sl_stream_reply(s, 503, SL_END_RETRY_BUDGET);
	else
		sl_stream_reply(s, status, end);
}

bool sl_retry_take(struct sl_stream *s)
{
	const struct sl_retry *retry = asked_for(s);
	unsigned max = retry ? retry->attempts : MAX_TRIES - 1;

	if (s->attempt.n_retries >= max || !is_affordable(s))
		return false;
	s->attempt.n_retries++;
	return true;
}

/* A status of gRPC's own comes with 200; UNAVAILABLE in the head means that there is no more to the
 * answer, and that the call can be made again. */
static bool is_unavailable(const struct sl_stream *s)
{
	const struct sl_header *h;

	if (!s->is_grpc || s->res.status != 200)
		return false;
	h = sl_headers_find(&s->res.headers, SL_STR("grpc-status"));
	return h && sl_str_eqc(h->value, "14");
}

bool sl_retry_wants_answer(const struct sl_stream *s)
{
	const struct sl_retry *retry = asked_for(s);

	return retry && !s->attempt.no_replay &&
	       (sl_retry_has(retry, s->res.status) || is_unavailable(s));
}

bool sl_retry_wants_timeout(const struct sl_stream *s)
{
	const struct sl_retry *retry = asked_for(s);

	if (!retry)
		return false;
	/* While there is no connection nothing was sent. */
	return s->state == SL_STREAM_CONNECTING ||
	       (s->state == SL_STREAM_WAITING && !s->attempt.no_replay && sl_retry_has(retry, 504));
}

uint64_t sl_retry_pause_ns(struct sl_stream *s)
{
	const struct sl_retry *retry = asked_for(s);
	unsigned n = s->attempt.n_retries;
	uint64_t base;

	if (!retry || !retry->backoff_ns)
		return 0;
	base = retry->backoff_ns;
	if (base == SL_RETRY_BACKOFF_DEFAULT) {
		if (n <= 1)
			return 0;
		base = BACKOFF_DEFAULT_NS;
	}
	if (base >= BACKOFF_SPREAD_NS)
		return base;
	/* Anywhere between the base and what has doubled with each retry: those who failed together
	 * do not come back together. */
	n = n < MAX_DOUBLINGS ? n : MAX_DOUBLINGS;
	return base + sl_random_next(&s->conn->proxy->random) % ((base << n) - base + 1);
}
