/* SPDX-License-Identifier: Apache-2.0 */
/* TrafficPolicy of policy.sluice.dev/v1alpha1; its schema in manifests/ says the same. */
#include "base/clock.h"
#include "resource/duration.h"
#include "resource/kinds.h"

enum { MAX_COUNT = 1000000000 };

#define DEFAULT_INTERVAL_NS	(10 * SL_NS_PER_S)
#define DEFAULT_EJECTION_NS	(30 * SL_NS_PER_S)
#define DEFAULT_MAX_EJECTION_NS (300 * SL_NS_PER_S)
#define MAX_TIME_NS		(24 * 3600 * SL_NS_PER_S)
enum { DEFAULT_ERRORS = 5, DEFAULT_PERCENT = 50 };

static const char *const spec_fields[] = {"targetRefs", "loadBalancer", "outlierDetection",
					  "circuitBreaker", NULL};
static const char *const balancer_fields[] = {"type", "consistentHash", "slowStart", NULL};
static const char *const balancer_names[] = {"RoundRobin", "LeastRequest", "PeakEWMA",
					     "ConsistentHash", NULL};
static const char *const hash_fields[] = {"type", "name", NULL};
static const char *const hash_names[] = {"Header", "Cookie", "SourceIP", NULL};
static const char *const slow_start_fields[] = {"window", NULL};
static const char *const outlier_fields[] = {
	"consecutive5xx",   "consecutiveGatewayErrors", "consecutiveConnectErrors", "interval",
	"baseEjectionTime", "maxEjectionTime",		"maxEjectedPercent",	    NULL,
};
static const char *const limit_fields[] = {
	"maxConnections",	    "maxPendingRequests", "maxRequests",
	"maxRequestsPerConnection", "perEndpoint",	  NULL,
};
static const char *const endpoint_limit_fields[] = {"maxConnections", "maxRequests", NULL};

/* Each of them leaves *ret as it is when the member is absent. */
static void read_time(const struct sl_cursor *c, const char *key, uint64_t *ret)
{
	struct sl_cursor at = sl_cursor_member(c, key);
	char quoted[SL_QUOTE_TEXT];
	struct sl_str text;
	uint64_t ns;

	if (!sl_cursor_str(&at, &sl_text_any, &text))
		return;
	if (sl_duration_parse(text, &ns) || !ns || ns > MAX_TIME_NS)
		sl_cursor_error(&at, "must be a duration from 1ms to 24h, such as 30s, got %s",
				sl_quote(text, quoted));
	else
		*ret = ns;
}

static void read_count(const struct sl_cursor *c, const char *key, int64_t min, uint32_t *ret)
{
	int64_t n;

	if (sl_read_int(c, key, min, MAX_COUNT, &n))
		*ret = (uint32_t)n;
}

/* ---- targetRefs ---- */

static void check_sections(const struct sl_cursor *spec, const struct sl_policy_object *p)
{
	struct sl_cursor array = sl_cursor_member(spec, "targetRefs");

	for (uint32_t i = 0; i < p->n_target_refs; i++) {
		const struct sl_parent_ref *ref = &p->target_refs[i];
		struct sl_cursor at = sl_cursor_item(&array, i);
		struct sl_cursor section = sl_cursor_member(&at, "sectionName");

		if (ref->group.len && ref->section_name.len)
			sl_cursor_error(&section, "is for Services alone: a policy applies to all "
						  "rules of a route");
	}
}

/* ---- loadBalancer ---- */

/* Names of headers are the same in upper and lower case. */
static void lower(const struct sl_cursor *c, struct sl_str *name)
{
	char *copy = sl_decoder_array(c->dec, name->len + 1, 1);

	for (size_t i = 0; copy && i < name->len; i++) {
		char b = name->ptr[i];

		copy[i] = b >= 'A' && b <= 'Z' ? (char)(b - 'A' + 'a') : b;
	}
	if (copy)
		name->ptr = copy;
}

static void decode_hash(const struct sl_cursor *lb, struct sl_traffic_policy *p)
{
	struct sl_cursor hash, type, name;
	int i = SL_POLICY_HASH_SOURCE_IP;

	if (!sl_read_object(lb, "consistentHash", hash_fields, &hash))
		return;
	type = sl_cursor_member(&hash, "type");
	name = sl_cursor_member(&hash, "name");
	if (!type.node)
		sl_cursor_error(&type, "required, but missing");
	if (!sl_read_enum(&hash, "type", hash_names, &i))
		return;
	p->hash = (enum sl_policy_hash)i;
	if (p->hash == SL_POLICY_HASH_SOURCE_IP && name.node)
		sl_cursor_error(&name, "must not be there for type SourceIP");
	else if (p->hash != SL_POLICY_HASH_SOURCE_IP)
		(void)sl_require_str(&hash, "name", &sl_text_token, &p->hash_name);
	if (p->hash == SL_POLICY_HASH_HEADER && p->hash_name.len)
		lower(&hash, &p->hash_name);
}

static void decode_balancer(const struct sl_cursor *spec, struct sl_traffic_policy *p)
{
	struct sl_cursor lb, type, hash, slow;
	int i = SL_POLICY_ROUND_ROBIN;

	if (!sl_read_object(spec, "loadBalancer", balancer_fields, &lb))
		return;
	type = sl_cursor_member(&lb, "type");
	hash = sl_cursor_member(&lb, "consistentHash");
	slow = sl_cursor_member(&lb, "slowStart");
	if (!type.node)
		sl_cursor_error(&type, "required, but missing");
	if (!sl_read_enum(&lb, "type", balancer_names, &i))
		return;
	p->balancer = (enum sl_policy_balancer)i;
	if (p->balancer == SL_POLICY_CONSISTENT_HASH && !hash.node)
		sl_cursor_error(&hash, "required for type ConsistentHash, but missing");
	if (p->balancer != SL_POLICY_CONSISTENT_HASH && hash.node)
		sl_cursor_error(&hash, "is for type ConsistentHash alone");
	if (p->balancer == SL_POLICY_CONSISTENT_HASH && slow.node)
		sl_cursor_error(&slow, "must not be there for type ConsistentHash: its endpoints "
				       "take what is theirs at once");
	decode_hash(&lb, p);
	if (!sl_read_object(&lb, "slowStart", slow_start_fields, &slow))
		return;
	read_time(&slow, "window", &p->slow_start_ns);
	if (!sl_cursor_has(&slow, "window"))
		sl_cursor_error(&slow, "window is required, but missing");
}

/* ---- outlierDetection, circuitBreaker ---- */

static void decode_outliers(const struct sl_cursor *spec, struct sl_traffic_policy *p)
{
	struct sl_cursor at, max;

	if (!sl_read_object(spec, "outlierDetection", outlier_fields, &at))
		return;
	p->outliers.errors = DEFAULT_ERRORS;
	p->outliers.interval_ns = DEFAULT_INTERVAL_NS;
	p->outliers.ejection_ns = DEFAULT_EJECTION_NS;
	p->outliers.max_ejection_ns = DEFAULT_MAX_EJECTION_NS;
	p->outliers.max_percent = DEFAULT_PERCENT;
	read_count(&at, "consecutive5xx", 0, &p->outliers.errors);
	read_count(&at, "consecutiveGatewayErrors", 0, &p->outliers.gateway_errors);
	read_count(&at, "consecutiveConnectErrors", 0, &p->outliers.connect_errors);
	read_time(&at, "interval", &p->outliers.interval_ns);
	read_time(&at, "baseEjectionTime", &p->outliers.ejection_ns);
	if (p->outliers.max_ejection_ns < p->outliers.ejection_ns)
		p->outliers.max_ejection_ns = p->outliers.ejection_ns;
	read_time(&at, "maxEjectionTime", &p->outliers.max_ejection_ns);
	max = sl_cursor_member(&at, "maxEjectionTime");
	if (p->outliers.max_ejection_ns < p->outliers.ejection_ns)
		sl_cursor_error(&max, "must not be shorter than baseEjectionTime");
	read_count(&at, "maxEjectedPercent", 0, &p->outliers.max_percent);
	if (p->outliers.max_percent > 100) {
		max = sl_cursor_member(&at, "maxEjectedPercent");
		sl_cursor_error(&max, "must be from 0 to 100, got %u", p->outliers.max_percent);
	}
}

static void decode_limits(const struct sl_cursor *spec, struct sl_traffic_policy *p)
{
	struct sl_cursor at, each;

	if (!sl_read_object(spec, "circuitBreaker", limit_fields, &at))
		return;
	read_count(&at, "maxConnections", 1, &p->limits.connections);
	read_count(&at, "maxPendingRequests", 1, &p->limits.pending);
	read_count(&at, "maxRequests", 1, &p->limits.requests);
	read_count(&at, "maxRequestsPerConnection", 1, &p->limits.requests_per_connection);
	if (!sl_read_object(&at, "perEndpoint", endpoint_limit_fields, &each))
		return;
	read_count(&each, "maxConnections", 1, &p->limits.endpoint_connections);
	read_count(&each, "maxRequests", 1, &p->limits.endpoint_requests);
}

void sl_decode_trafficpolicy(const struct sl_cursor *root)
{
	struct sl_traffic_policy *p = (struct sl_traffic_policy *)root->dec->object;
	struct sl_cursor spec = sl_cursor_member(root, "spec");

	p->hash_name = SL_STR("");
	if (!spec.node) {
		sl_cursor_error(&spec, "required, but missing");
		return;
	}
	if (!sl_cursor_is_object(&spec, spec_fields))
		return;
	sl_decode_policy_targets(&spec, &p->policy, SL_TARGET_SECTIONS | SL_TARGET_ROUTES);
	check_sections(&spec, &p->policy);
	decode_balancer(&spec, p);
	decode_outliers(&spec, p);
	decode_limits(&spec, p);
}
