/* SPDX-License-Identifier: Apache-2.0 */
/* FaultInjections, as workers need them, and whether they have ended. */
#include <errno.h>
#include <time.h>
#include "base/alloc.h"
#include "base/cleanup.h"
#include "compile/work.h"

enum { TIME_BYTES = 24 };

/* Matches that are checked: their patterns are the compiler's until the copies have their own. */
struct draft {
	struct sl_arena arena;
	struct pattern_use *patterns;
	const struct sl_rule_error *error;
};

static struct sl_fault_share share_from(struct sl_fraction f)
{
	return (struct sl_fault_share){f.numerator, f.denominator};
}

static int fault_match(struct sl_compiler *c, struct draft *d, const struct sl_fault_spec *spec,
		       uint32_t i, struct sl_str at, struct sl_arena *a, struct sl_fault *f)
{
	const struct match_check k = {
		.c = c, .arena = &d->arena, .patterns = &d->patterns, .error = &d->error};
	struct sl_match match = {0};
	int r = match_check(&k, &spec->matches[i], at, &match);

	if (r || d->error)
		return r;
	/* As far as it goes it is f's, also when memory ran out in the middle. */
	return match_build(a, &match, &f->matches[f->n_matches++]);
}

static int fault_fill(struct sl_compiler *c, struct draft *d, const struct sl_fault_spec *spec,
		      uint32_t index, struct sl_arena *a, struct sl_fault *f)
{
	int r = 0;

	f->delay.of = share_from(spec->delay.of);
	f->delay.ns = spec->delay.ns;
	f->delay.jitter_ns = spec->delay.jitter_ns;
	f->abort.of = share_from(spec->abort.of);
	f->abort.http_status = spec->abort.http_status;
	f->abort.grpc_status = spec->abort.grpc_status;
	f->matches = sl_arena_new_n(a, struct sl_match, spec->n_matches + 1);
	if (!f->matches)
		return -ENOMEM;
	for (uint32_t i = 0; i < spec->n_matches && !r && !d->error; i++) {
		struct sl_str at;

		r = sl_arena_printf(&d->arena, &at, "spec.faults[%u].matches[%u]", index, i);
		if (!r)
			r = fault_match(c, d, spec, i, at, a, f);
	}
	return r;
}

static int faults_fill(struct sl_compiler *c, struct draft *d, const struct sl_fault_injection *p,
		       struct sl_faults *f)
{
	int r = sl_arena_printf(&f->arena, &f->policy, "%s/%.*s",
				sl_kind_name(p->policy.object.kind),
				SL_STR_ARG(p->policy.object.key));

	f->starts_s = p->starts_s;
	f->expires_s = p->expires_s;
	f->max_delayed = p->max_delayed;
	f->items = sl_arena_new_n(&f->arena, struct sl_fault, p->n_faults + 1);
	if (!f->items)
		return -ENOMEM;
	while (f->n < p->n_faults && !r && !d->error) {
		uint32_t i = f->n++;

		r = fault_fill(c, d, &p->faults[i], i, &f->arena, &f->items[i]);
	}
	return r ? r : sl_faults_seal(f);
}

static int faults_build(struct sl_compiler *c, struct policy_node *n)
{
	_cleanup_(sl_faults_unrefp) struct sl_faults *f = NULL;
	struct draft d = {.arena = SL_ARENA_INIT(1024)};
	int r = sl_faults_new(n->faults ? n->faults->count : NULL, &f);

	if (!r)
		r = faults_fill(c, &d, (const struct sl_fault_injection *)n->policy, f);
	if (!r) {
		sl_faults_unref(n->faults);
		n->faults = d.error ? NULL : sl_take(f);
		n->is_built = true;
	}
	if (!r && d.error) {
		n->reason = "Invalid";
		(void)snprintf(n->text, sizeof(n->text), "%.*s: %.*s", SL_STR_ARG(d.error->field),
			       SL_STR_ARG(d.error->message)); /* cut when too long */
	}
	patterns_drop(c, d.patterns);
	sl_arena_deinit(&d.arena);
	return r;
}

static const char *time_text(int64_t s, char out[TIME_BYTES])
{
	time_t t = (time_t)s;
	struct tm tm;

	*out = 0;
	if (gmtime_r(&t, &tm))
		(void)strftime(out, TIME_BYTES, "%Y-%m-%dT%H:%M:%SZ", &tm);
	return out;
}

int faults_prepare(struct sl_compiler *c, struct policy_node *n)
{
	char from[TIME_BYTES], to[TIME_BYTES];
	int r = n->is_built ? 0 : faults_build(c, n);

	if (r || !n->faults)
		return r;
	(void)time_text(n->faults->starts_s, from);
	(void)time_text(n->faults->expires_s, to);
	n->reason = NULL;
	if (n->faults->expires_s <= c->opts.now_s) {
		n->reason = "Expired";
		(void)snprintf(n->text, sizeof(n->text), "Ended at %s, and does nothing any more",
			       to);
		return 0;
	}
	(void)snprintf(n->text, sizeof(n->text), "from %s to %s", from, to);
	if (n->faults->expires_s < c->next_change_s)
		c->next_change_s = n->faults->expires_s;
	return 0;
}
