/* SPDX-License-Identifier: Apache-2.0 */
/* FaultInjection of policy.sluice.dev/v1alpha1; its schema in manifests/ says the same. */
#include "base/clock.h"
#include "resource/duration.h"
#include "resource/kinds.h"

enum {
	MAX_FAULTS = 16,
	DEFAULT_DELAYED = 100,
	MAX_DELAYED = 10000,
	MIN_STATUS = 400,
	MAX_STATUS = 599,
	MAX_GRPC_STATUS = 16,
	MAX_WINDOW_S = 24 * 3600,
};

#define MAX_DELAY_NS (300 * SL_NS_PER_S)

static const char *const spec_fields[] = {"targetRefs", "faults",     "startsAt",
					  "expiresAt",	"maxDelayed", NULL};
static const char *const fault_fields[] = {"matches", "delay", "abort", NULL};
static const char *const delay_fields[] = {"duration", "jitter", "percent", "fraction", NULL};
static const char *const abort_fields[] = {"httpStatus", "grpcStatus", "percent", "fraction", NULL};

/* How much is broken is not left to a default. */
static void decode_share(const struct sl_cursor *at, struct sl_fraction *ret)
{
	struct sl_cursor percent = sl_cursor_member(at, "percent");

	if (!percent.node && !sl_cursor_has(at, "fraction"))
		sl_cursor_error(&percent, "required, or fraction, but missing");
	sl_decode_fraction(at, ret);
}

static void decode_delay(const struct sl_cursor *fault, struct sl_fault_spec *f)
{
	uint64_t ns = SL_DURATION_UNSET, jitter_ns = 0;
	struct sl_cursor at, duration, jitter;

	if (!sl_read_object(fault, "delay", delay_fields, &at))
		return;
	decode_share(&at, &f->delay.of);
	duration = sl_cursor_member(&at, "duration");
	jitter = sl_cursor_member(&at, "jitter");
	if (!duration.node)
		sl_cursor_error(&duration, "required, but missing");
	sl_decode_duration(&at, "duration", &ns);
	sl_decode_duration(&at, "jitter", &jitter_ns);
	if (ns == SL_DURATION_UNSET)
		return; /* reported */
	if (!ns || ns > MAX_DELAY_NS)
		sl_cursor_error(&duration, "must be from 1ms to 5m");
	else if (jitter_ns > ns || ns + jitter_ns > MAX_DELAY_NS)
		sl_cursor_error(&jitter, "must not be longer than duration, nor the two than 5m");
	f->delay.ns = ns;
	f->delay.jitter_ns = jitter_ns;
}

static void decode_abort(const struct sl_cursor *fault, struct sl_fault_spec *f)
{
	struct sl_cursor at, status;
	int64_t n;

	if (!sl_read_object(fault, "abort", abort_fields, &at))
		return;
	decode_share(&at, &f->abort.of);
	status = sl_cursor_member(&at, "httpStatus");
	if (!status.node && !sl_cursor_has(&at, "grpcStatus"))
		sl_cursor_error(&status, "required, or grpcStatus, but missing");
	if (sl_read_int(&at, "httpStatus", MIN_STATUS, MAX_STATUS, &n))
		f->abort.http_status = (uint16_t)n;
	if (sl_read_int(&at, "grpcStatus", 1, MAX_GRPC_STATUS, &n))
		f->abort.grpc_status = (uint8_t)n;
}

static void decode_fault(const struct sl_cursor *at, struct sl_fault_spec *f)
{
	struct sl_route_rule rule = {0}; /* for its matches, which are the same */

	f->delay.of.denominator = f->abort.of.denominator = 100;
	if (!sl_cursor_is_object(at, fault_fields))
		return;
	sl_decode_matches(at, &rule);
	f->matches = rule.matches;
	f->n_matches = rule.n_matches;
	decode_delay(at, f);
	decode_abort(at, f);
	if (!sl_cursor_has(at, "delay") && !sl_cursor_has(at, "abort"))
		sl_cursor_error(at, "must have delay or abort");
}

static void decode_faults(const struct sl_cursor *spec, struct sl_fault_injection *p)
{
	struct sl_cursor array = sl_cursor_member(spec, "faults");
	size_t n = 0;

	if (!array.node) {
		sl_cursor_error(&array, "required, but missing");
		return;
	}
	if (!sl_read_array(spec, "faults", MAX_FAULTS, &array, &n))
		return;
	if (!n)
		sl_cursor_error(&array, "must have at least one item");
	p->faults = sl_decoder_new_n(spec->dec, struct sl_fault_spec, n + 1);
	if (!p->faults)
		return;
	p->n_faults = (uint32_t)n;
	for (size_t i = 0; i < n; i++) {
		struct sl_cursor at = sl_cursor_item(&array, i);

		decode_fault(&at, &p->faults[i]);
	}
}

/* ---- when ---- */

/*
 * An end is not enough: one that is written years ahead would do for a year what was meant for an
 * hour. So the whole has a beginning, and from there a longest duration.
 */
static void decode_window(const struct sl_cursor *spec, struct sl_fault_injection *p)
{
	struct sl_cursor start = sl_cursor_member(spec, "startsAt");
	struct sl_cursor end = sl_cursor_member(spec, "expiresAt");

	p->starts_s = p->policy.object.meta.created_at;
	if (!end.node)
		sl_cursor_error(&end, "required, but missing");
	if (!start.node && p->starts_s == INT64_MAX)
		sl_cursor_error(&start, "required where metadata.creationTimestamp is missing");
	else if (start.node && !sl_cursor_time(&start, &p->starts_s))
		return;
	if (!sl_cursor_time(&end, &p->expires_s) || p->starts_s == INT64_MAX)
		return;
	if (p->expires_s <= p->starts_s)
		sl_cursor_error(&end, "must be later than %s",
				start.node ? "startsAt" : "metadata.creationTimestamp");
	else if (p->expires_s - p->starts_s > MAX_WINDOW_S)
		sl_cursor_error(&end, "must be at most 24h later than %s",
				start.node ? "startsAt" : "metadata.creationTimestamp");
}

void sl_decode_faultinjection(const struct sl_cursor *root)
{
	struct sl_fault_injection *p = (struct sl_fault_injection *)root->dec->object;
	struct sl_cursor spec = sl_cursor_member(root, "spec");
	int64_t max_delayed = DEFAULT_DELAYED;

	if (!spec.node) {
		sl_cursor_error(&spec, "required, but missing");
		return;
	}
	if (!sl_cursor_is_object(&spec, spec_fields))
		return;
	sl_decode_policy_targets(&spec, &p->policy, SL_TARGET_SECTIONS | SL_TARGET_ROUTES);
	decode_faults(&spec, p);
	decode_window(&spec, p);
	(void)sl_read_int(&spec, "maxDelayed", 1, MAX_DELAYED, &max_delayed); /* has a default */
	p->max_delayed = (uint32_t)max_delayed;
}
