/* SPDX-License-Identifier: Apache-2.0 */
/*
 * FaultInjection: delays and aborts on purpose. A fault of a rule is chosen by the request as the
 * client sent it, one of the backend by the request as the backend would get it; both come behind
 * the filters, before the first attempt, and are no attempt: nothing of a rule's retries or of
 * timeouts.backendRequest applies to them, while timeouts.request goes on.
 */
#include "http/grpc.h"
#include "http/uri.h"
#include "proxy/state.h"
#include "snapshot/faults.h"
#include "upstream/random.h"

struct sl_inject {
	struct sl_faults *faults; /* a reference: the configuration may be another one meanwhile */
	uint64_t delay_ns, since_ns; /* since_ns: of held */
	uint16_t status;	     /* of the abort; 0: none */
	uint8_t grpc_status;	     /* likewise, of a gRPC request */
	bool held;
};

static bool by_chance(struct sl_stream *s, const struct sl_fault_share *of)
{
	return of->numerator &&
	       sl_random_chance(&s->conn->proxy->random, of->numerator, of->denominator);
}

static uint64_t delay_of(struct sl_stream *s, const struct sl_fault *f)
{
	uint64_t spread = 2 * f->delay.jitter_ns + 1;

	return f->delay.ns - f->delay.jitter_ns + sl_random_next(&s->conn->proxy->random) % spread;
}

static void set_abort(const struct sl_stream *s, const struct sl_fault *f, struct sl_inject *i)
{
	if (!s->is_grpc) {
		i->status = f->abort.http_status;
		return;
	}
	i->status = f->abort.http_status ? f->abort.http_status : 503; /* nobody sees it */
	i->grpc_status =
		f->abort.grpc_status ? f->abort.grpc_status : (uint8_t)sl_grpc_code(i->status);
}

void sl_inject_choose(struct sl_stream *s, struct sl_faults *faults, struct sl_str path)
{
	struct sl_proxy *p = s->conn->proxy;
	struct sl_inject i = {.faults = faults};
	const struct sl_fault *f;

	if (p->opts.no_faults || !sl_faults_act(faults))
		return;
	f = sl_faults_find(faults, &s->req, path, p->scratch, &s->arena);
	if (!f)
		return;
	if (by_chance(s, &f->delay.of))
		i.delay_ns = delay_of(s, f);
	if (by_chance(s, &f->abort.of))
		set_abort(s, f, &i);
	if (!i.delay_ns && !i.status)
		return;
	s->inject = sl_arena_new(&s->arena, struct sl_inject);
	if (!s->inject)
		return; /* out of memory: no reason to break more than was asked for */
	*s->inject = i;
	(void)sl_faults_ref(faults); /* the same */
}

void sl_inject_drop(struct sl_stream *s)
{
	struct sl_inject *i = sl_take(s->inject);

	if (i->held) {
		s->fault_delay_ns = sl_loop_now(s->conn->proxy->loop) - i->since_ns;
		sl_faults_release(i->faults);
	}
	sl_faults_unref(i->faults);
}

/* The backend's, which is known by now. */
static void choose_of_backend(struct sl_stream *s)
{
	const struct sl_snapshot *snap = s->conn->proxy->config->snap;
	const struct sl_upstream *up = sl_snapshot_upstream(snap, s->upstream_key);
	struct sl_str path;

	if (!up || !up->faults)
		return;
	/* Without memory for the path nothing is broken. */
	if (!sl_uri_path_to_match(&s->arena, s->req.path, &path))
		sl_inject_choose(s, up->faults, path);
}

static void cut_short(struct sl_stream *s)
{
	struct sl_inject *i = s->inject;
	struct sl_str why;

	sl_metrics_inc(s->conn->proxy->metrics, SL_COUNTER_FAULT_ABORTS);
	/* Without memory for it the usual words do. */
	if (!sl_arena_printf(&s->arena, &why, "aborted by %.*s%c", SL_STR_ARG(i->faults->policy),
			     0))
		s->why = why.ptr;
	s->grpc_status = i->grpc_status;
	sl_stream_reply(s, i->status, SL_END_FAULT);
}

static void go_on(struct sl_stream *s)
{
	if (s->inject && s->inject->status) {
		cut_short(s);
		return;
	}
	if (s->inject)
		sl_inject_drop(s);
	sl_attempt_begin(s);
}

static void wait(struct sl_stream *s)
{
	struct sl_loop *loop = s->conn->proxy->loop;

	s->inject->since_ns = sl_loop_now(loop);
	s->connect_expired = false;
	sl_timer_arm(loop, &s->attempt.connect_timer, s->inject->since_ns + s->inject->delay_ns);
	if (s->state != SL_STREAM_PAUSED)
		sl_stream_move(s, SL_STREAM_PAUSED);
}

void sl_inject_or_begin(struct sl_stream *s)
{
	struct sl_proxy *p = s->conn->proxy;

	/* What no rule governs goes as it would without a mesh. */
	if (!s->inject && s->rule && p->config->snap->has_faults)
		choose_of_backend(s);
	if (!s->inject || !s->inject->delay_ns) {
		go_on(s);
		return;
	}
	s->inject->held = sl_faults_hold(s->inject->faults);
	sl_metrics_inc(p->metrics,
		       s->inject->held ? SL_COUNTER_FAULT_DELAYS : SL_COUNTER_FAULT_SKIPPED);
	if (s->inject->held)
		wait(s);
	else
		go_on(s);
}

bool sl_inject_step(struct sl_stream *s)
{
	/* Who has sent a FIN may have gone: no place is kept for it, and what it gets is not late.
	 */
	if (!s->connect_expired && !s->conn->sock.hangup)
		return false;
	sl_timer_cancel(&s->attempt.connect_timer);
	s->connect_expired = false;
	go_on(s);
	return true;
}
