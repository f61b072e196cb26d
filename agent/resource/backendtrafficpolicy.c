/* SPDX-License-Identifier: Apache-2.0 */
/* XBackendTrafficPolicy of gateway.networking.x-k8s.io/v1alpha1: retry budgets (GEP-3388). */
#include "base/clock.h"
#include "resource/duration.h"
#include "resource/kinds.h"

enum {
	DEFAULT_PERCENT = 20,
	DEFAULT_COUNT = 10,
	MAX_COUNT = 1000000,
};

#define DEFAULT_INTERVAL_NS	 (10 * SL_NS_PER_S)
#define DEFAULT_RATE_INTERVAL_NS SL_NS_PER_S
#define MIN_INTERVAL_NS		 SL_NS_PER_S
#define MAX_INTERVAL_NS		 (3600 * SL_NS_PER_S)

static const char *const spec_fields[] = {"targetRefs", "retryConstraint", "sessionPersistence",
					  NULL};
static const char *const constraint_fields[] = {"budget", "minRetryRate", NULL};
static const char *const budget_fields[] = {"percent", "interval", NULL};
static const char *const rate_fields[] = {"count", "interval", NULL};

static void decode_interval(const struct sl_cursor *at, uint64_t *ret_ns)
{
	struct sl_cursor interval = sl_cursor_member(at, "interval");
	uint64_t ns = *ret_ns;

	sl_decode_duration(at, "interval", &ns);
	if (ns < MIN_INTERVAL_NS || ns > MAX_INTERVAL_NS)
		sl_cursor_error(&interval, "must be from 1s to 1h");
	else
		*ret_ns = ns;
}

static void decode_constraint(const struct sl_cursor *spec, struct sl_traffic_policy *p)
{
	struct sl_retry_budget_spec *b = &p->retry_budget;
	int64_t percent = DEFAULT_PERCENT, count = DEFAULT_COUNT;
	struct sl_cursor at, part;

	if (!sl_read_object(spec, "retryConstraint", constraint_fields, &at))
		return;
	b->interval_ns = DEFAULT_INTERVAL_NS;
	b->rate_interval_ns = DEFAULT_RATE_INTERVAL_NS;
	if (sl_read_object(&at, "budget", budget_fields, &part)) {
		(void)sl_read_int(&part, "percent", 0, 100, &percent); /* has a default */
		decode_interval(&part, &b->interval_ns);
	}
	if (sl_read_object(&at, "minRetryRate", rate_fields, &part)) {
		(void)sl_read_int(&part, "count", 1, MAX_COUNT, &count); /* likewise */
		decode_interval(&part, &b->rate_interval_ns);
	}
	b->percent = (uint32_t)percent;
	b->rate_count = (uint32_t)count;
}

void sl_decode_backendtrafficpolicy(const struct sl_cursor *root)
{
	struct sl_traffic_policy *p = (struct sl_traffic_policy *)root->dec->object;
	struct sl_cursor spec = sl_cursor_member(root, "spec");

	if (!spec.node) {
		sl_cursor_error(&spec, "required, but missing");
		return;
	}
	if (!sl_cursor_is_object(&spec, spec_fields))
		return;
	sl_decode_policy_targets(&spec, &p->policy, 0);
	decode_constraint(&spec, p);
	sl_decode_persistence(&spec, &p->persistence);
}
