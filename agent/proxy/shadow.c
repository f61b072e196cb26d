/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/shadow.h"

#include <errno.h>
#include "http/uri.h"
#include "proxy/state.h"
#include "snapshot/faults.h"
#include "snapshot/match.h"
#include "snapshot/match_index.h"

/* ---- what filters make of a request ---- */

struct outcome {
	const struct sl_rule *rule;
	struct sl_request req; /* as a backend gets it */
	uint16_t status;       /* of an answer of the agent's own; 0: backends are asked */
	struct sl_str location;
};

/* As if nobody were called, or everything allowed. */
static int play(const struct sl_shadow_scene *at, const struct sl_shadow_side *side,
		struct outcome *ret)
{
	const struct sl_rule *rule = side->rule;
	struct sl_filter_env own = *at->env;
	struct sl_response res = {0};
	const struct sl_header *location;
	int r;

	*ret = (struct outcome){.rule = rule, .req = *at->req, .status = rule ? 0 : side->status};
	if (!rule)
		return 0;
	r = sl_headers_copy(&at->req->headers, own.arena, &ret->req.headers);
	if (r)
		return r;
	do
		r = sl_filters_request(rule->filters, rule->n_filters, &own, &ret->req, &res);
	while (r == SL_FILTER_CALL);
	if (r < 0)
		return r;
	if (r != SL_FILTER_ANSWER) {
		ret->status = rule->total_weight ? 0 : 500;
		return 0;
	}
	ret->status = res.status;
	location = sl_headers_find(&res.headers, SL_STR("Location"));
	if (location)
		ret->location = location->value;
	return 0;
}

static bool same_headers(const struct sl_headers *a, const struct sl_headers *b)
{
	if (a->n != b->n)
		return false;
	for (uint32_t i = 0; i < a->n; i++) {
		if (!sl_str_ieq(a->items[i].name, b->items[i].name) ||
		    (!sl_str_eq(a->items[i].value, b->items[i].value) &&
		     !sl_str_ieq(a->items[i].name, SL_STR("Host")))) /* compared as authority */
			return false;
	}
	return true;
}

/* Their effect does not show in the request. */
static bool is_beyond(const struct sl_filter *f)
{
	return f->kind != SL_FILTER_KIND_REQUEST_HEADERS && f->kind != SL_FILTER_KIND_REDIRECT &&
	       f->kind != SL_FILTER_KIND_REWRITE;
}

static const struct sl_filter *next_beyond(const struct sl_rule *rule, uint32_t *i)
{
	while (rule && *i < rule->n_filters) {
		const struct sl_filter *f = &rule->filters[(*i)++];

		if (is_beyond(f))
			return f;
	}
	return NULL;
}

static bool same_beyond(const struct sl_rule *a, const struct sl_rule *b)
{
	const struct sl_filter *x, *y;
	uint32_t i = 0, k = 0;

	do {
		x = next_beyond(a, &i);
		y = next_beyond(b, &k);
		if (!x != !y || (x && !sl_filter_eq(x, y)))
			return false;
	} while (x);
	return true;
}

/* ---- backends ---- */

struct choice {
	const struct sl_backend *items;
	uint32_t n;
	uint64_t total_weight;
	struct sl_backend passed; /* without rules: the Service itself */
};

static void choice_of(const struct sl_shadow_side *side, struct choice *ret)
{
	if (side->rule) {
		*ret = (struct choice){.items = side->rule->backends,
				       .n = side->rule->n_backends,
				       .total_weight = side->rule->total_weight};
		return;
	}
	*ret = (struct choice){
		.n = 1,
		.total_weight = 1,
		.passed = {SL_BACKEND_OK, side->passed_to, side->passed_to, .weight = 1}};
	ret->items = &ret->passed;
}

static bool same_filters(const struct sl_backend *a, const struct sl_backend *b)
{
	uint32_t i = 0;

	while (a->n_filters == b->n_filters && i < a->n_filters &&
	       sl_filter_eq(&a->filters[i], &b->filters[i]))
		i++;
	return a->n_filters == b->n_filters && i == a->n_filters;
}

/* The sum of the entries like that one: what is not resolved gets 500, whatever its name. */
static uint64_t weight_in(const struct choice *c, const struct sl_backend *like, bool with_filters)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < c->n; i++) {
		const struct sl_backend *b = &c->items[i];

		if (b->state == like->state &&
		    (b->state != SL_BACKEND_OK || sl_str_eq(b->name, like->name)) &&
		    (!with_filters || same_filters(b, like)))
			sum += b->weight;
	}
	return sum;
}

/* Whether each of a's has the same share in b. Weights are 32 bits wide, and few. */
static bool same_shares(const struct choice *a, const struct choice *b, bool with_filters)
{
	for (uint32_t i = 0; i < a->n; i++) {
		const struct sl_backend *x = &a->items[i];

		if ((unsigned __int128)weight_in(a, x, with_filters) * b->total_weight !=
		    (unsigned __int128)weight_in(b, x, with_filters) * a->total_weight)
			return false;
	}
	return true;
}

static unsigned compare_backends(const struct choice *a, const struct choice *b)
{
	/* Shares add up to one on both sides: those of a are all that b has. */
	if (!same_shares(a, b, false))
		return SL_SHADOW_BACKENDS;
	return same_shares(a, b, true) ? 0 : SL_SHADOW_FILTERS;
}

/* ---- the rest of a rule ---- */

static bool same_retry(const struct sl_retry *a, const struct sl_retry *b)
{
	if (!a || !b)
		return a == b;
	return !memcmp(a->codes, b->codes, sizeof(a->codes)) && a->attempts == b->attempts &&
	       a->backoff_ns == b->backoff_ns;
}

static bool same_session(const struct sl_persistence *a, const struct sl_persistence *b)
{
	if (!a || !b)
		return a == b;
	return a->is_header == b->is_header && a->permanent == b->permanent &&
	       sl_str_eq(a->name, b->name) && sl_str_eq(a->path, b->path) &&
	       a->absolute_timeout_ns == b->absolute_timeout_ns &&
	       a->idle_timeout_ns == b->idle_timeout_ns;
}

static unsigned compare_rules(const struct sl_rule *now, const struct sl_rule *then)
{
	static const struct sl_rule none;
	const struct sl_rule *a = now ? now : &none, *b = then ? then : &none;
	unsigned d = 0;

	if (a->request_timeout_ns != b->request_timeout_ns ||
	    a->backend_request_timeout_ns != b->backend_request_timeout_ns)
		d |= SL_SHADOW_TIMEOUTS;
	if (!same_retry(a->retry, b->retry))
		d |= SL_SHADOW_RETRY;
	if (!same_session(a->persistence, b->persistence))
		d |= SL_SHADOW_SESSION;
	return d;
}

/* ---- policies ---- */

static bool same_share(const struct sl_fault_share *a, const struct sl_fault_share *b)
{
	return (uint64_t)a->numerator * b->denominator == (uint64_t)b->numerator * a->denominator;
}

static bool same_fault(const struct sl_fault *a, const struct sl_fault *b)
{
	static const struct sl_fault none = {.delay.of = {0, 1}, .abort.of = {0, 1}};

	a = a ? a : &none;
	b = b ? b : &none;
	if (!same_share(&a->delay.of, &b->delay.of) || !same_share(&a->abort.of, &b->abort.of))
		return false;
	if (a->delay.of.numerator &&
	    (a->delay.ns != b->delay.ns || a->delay.jitter_ns != b->delay.jitter_ns))
		return false;
	return !a->abort.of.numerator || (a->abort.http_status == b->abort.http_status &&
					  a->abort.grpc_status == b->abort.grpc_status);
}

/* NULL: none hits the request. */
static const struct sl_fault *fault_in(const struct sl_shadow_scene *at, const struct sl_faults *f,
				       const struct sl_request *req, struct sl_str path)
{
	return f && sl_faults_act(f) ? sl_faults_find(f, req, path, at->scratch, at->env->arena)
				     : NULL;
}

static const struct sl_fault *fault_of_rule(const struct sl_shadow_scene *at,
					    const struct outcome *o)
{
	return o->rule ? fault_in(at, o->rule->faults, at->req, at->env->path) : NULL;
}

/* What no rule governs is not hit. */
static const struct sl_fault *fault_of_backend(const struct sl_shadow_scene *at,
					       const struct outcome *o, struct sl_str name)
{
	const struct sl_upstream *up = sl_snapshot_upstream(at->snap, name);
	struct sl_str path;

	if (!o->rule || !up || !up->faults)
		return NULL;
	/* As in fact: without memory for the path nothing is broken. */
	if (sl_uri_path_to_match(at->env->arena, o->req.path, &path))
		return NULL;
	return fault_in(at, up->faults, &o->req, path);
}

static bool same_outliers(const struct sl_outliers *a, const struct sl_outliers *b)
{
	return !memcmp(a->in_a_row, b->in_a_row, sizeof(a->in_a_row)) &&
	       a->interval_ns == b->interval_ns && a->ejection_ns == b->ejection_ns &&
	       a->max_ejection_ns == b->max_ejection_ns && a->max_percent == b->max_percent;
}

static bool same_balance(const struct sl_upstream *u, const struct sl_upstream *v)
{
	static const struct sl_balance none = {.balancer = SL_BALANCER_ROUND_ROBIN};
	const struct sl_balance *a = u && u->balance ? u->balance : &none;
	const struct sl_balance *b = v && v->balance ? v->balance : &none;

	return a->balancer == b->balancer && a->hash == b->hash &&
	       sl_str_eq(a->hash_name, b->hash_name) && a->affinity_ns == b->affinity_ns &&
	       a->slow_start_ns == b->slow_start_ns && same_outliers(&a->outliers, &b->outliers) &&
	       !memcmp(&a->limits, &b->limits, sizeof(a->limits));
}

/* Of the backends that both have; others differ as backends do. */
static unsigned compare_policies_to(const struct sl_shadow_scene *at, const struct outcome *a,
				    const struct sl_backend *to_a, const struct outcome *b,
				    const struct sl_backend *to_b)
{
	unsigned d = 0;

	if (!sl_str_eq(to_a->upstream, to_b->upstream) &&
	    !same_balance(sl_snapshot_upstream(at->snap, to_a->upstream),
			  sl_snapshot_upstream(at->snap, to_b->upstream)))
		d |= SL_SHADOW_BALANCING;
	if (at->faults &&
	    !same_fault(fault_of_backend(at, a, to_a->name), fault_of_backend(at, b, to_b->name)))
		d |= SL_SHADOW_FAULTS;
	return d;
}

static bool takes_part(const struct sl_backend *b)
{
	return b->weight && b->state == SL_BACKEND_OK;
}

static unsigned compare_policies(const struct sl_shadow_scene *at, const struct outcome *a,
				 const struct choice *of_a, const struct outcome *b,
				 const struct choice *of_b)
{
	unsigned d = 0;

	for (uint32_t i = 0; i < of_a->n; i++) {
		const struct sl_backend *x = &of_a->items[i];

		for (uint32_t k = 0; takes_part(x) && k < of_b->n; k++) {
			const struct sl_backend *y = &of_b->items[k];

			if (takes_part(y) && sl_str_eq(x->name, y->name))
				d |= compare_policies_to(at, a, x, b, y);
		}
	}
	if (at->faults && !same_fault(fault_of_rule(at, a), fault_of_rule(at, b)))
		d |= SL_SHADOW_FAULTS;
	return d;
}

int sl_shadow_compare(const struct sl_shadow_scene *at, const struct sl_shadow_side *now,
		      const struct sl_shadow_side *then, unsigned *ret_differences)
{
	struct choice of_a, of_b;
	struct outcome a, b;
	unsigned d = 0;
	int r = play(at, now, &a);

	if (!r)
		r = play(at, then, &b);
	if (r)
		return r;
	if (a.status != b.status || !sl_str_eq(a.location, b.location))
		d |= SL_SHADOW_ANSWER;
	if (!same_beyond(now->rule, then->rule))
		d |= SL_SHADOW_FILTERS;
	/* Where the agent answers nothing else counts. */
	if (!a.status && !b.status) {
		if (!sl_str_eq(a.req.path, b.req.path) ||
		    !sl_str_eq(a.req.authority, b.req.authority))
			d |= SL_SHADOW_PATH;
		if (!same_headers(&a.req.headers, &b.req.headers))
			d |= SL_SHADOW_FILTERS;
		choice_of(now, &of_a);
		choice_of(then, &of_b);
		d |= compare_backends(&of_a, &of_b) | compare_rules(now->rule, then->rule);
		d |= compare_policies(at, &a, &of_a, &b, &of_b);
	}
	*ret_differences = d;
	return 0;
}

const char *sl_shadow_difference_name(unsigned i)
{
	static const char *const names[SL_SHADOW_DIFFERENCES] = {
		"answer", "backends", "path",	"filters",  "timeouts",
		"retry",  "session",  "faults", "balancing"};

	return names[i];
}

/* ---- on live traffic ---- */

/* Without memory for it the log does not say. */
static void note(struct sl_stream *s, const struct sl_rule *rule, unsigned differences)
{
	struct sl_shadow_note *n = sl_arena_new(&s->arena, struct sl_shadow_note);

	if (!n)
		return;
	*n = (struct sl_shadow_note){.route = rule ? rule->route : SL_STR_NULL,
				     .rule = rule ? rule->name : SL_STR_NULL};
	for (unsigned i = 0; i < SL_SHADOW_DIFFERENCES; i++) {
		if (differences & 1U << i)
			n->len += (size_t)snprintf(n->differs + n->len, sizeof(n->differs) - n->len,
						   "%s%s", n->len ? "," : "",
						   sl_shadow_difference_name(i));
	}
	s->shadow = n;
}

void sl_shadow_judge(struct sl_stream *s, const struct sl_match *now)
{
	struct sl_proxy *p = s->conn->proxy;
	const struct sl_match *then =
		sl_trial_find(s->trial, s->table, now, &s->req, s->env.path, p->scratch, &s->arena);
	const struct sl_shadow_side a = {
		.rule = now ? now->rule : NULL,
		.status = s->table ? s->table->fallback_status : 0,
		.passed_to = s->frontend->key,
	};
	const struct sl_shadow_side b = {.rule = then ? then->rule : NULL,
					 .status = sl_trial_fallback(s->trial)};
	const struct sl_shadow_scene at = {.snap = p->config->snap,
					   .req = &s->req,
					   .env = &s->env,
					   .scratch = p->scratch,
					   .faults = p->config->snap->has_faults &&
						     !p->opts.no_faults};
	struct sl_metrics_request r = {.service = s->frontend->key};
	enum sl_shadow_result result = SL_SHADOW_UNAFFECTED;
	unsigned differences = 0;

	if (then != now || (!then && a.status != b.status)) {
		if (sl_shadow_compare(&at, &a, &b, &differences))
			return; /* out of memory: it is not counted */
		result = differences ? SL_SHADOW_DIFFERS : SL_SHADOW_SAME;
		if (then) {
			r.route = then->rule->route;
			r.rule = then->rule->name;
		}
	}
	if (differences)
		note(s, b.rule, differences);
	sl_metrics_shadow(p->metrics, &r, result);
}
