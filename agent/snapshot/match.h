/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Matching of a request to a rule, in the order that the Gateway API sets for HTTPRouteMatch: exact
 * path, regular expression (the API leaves its place open), longest prefix; then method, number of
 * headers, number of query parameters, age of the route, "namespace/name", order of rules.
 * Candidates are found by path, and where many share a path, by header or query value or method, in
 * time that does not grow with the number of rules. Of regular expressions for paths only those are
 * run whose literal beginning or end fits.
 *
 * Of GRPCRoutes: service and method by name, service, patterns, method, neither; then number of
 * headers, and on as above. A regular expression has to fit the whole service or method.
 */
#include "http/message.h"
#include "snapshot/snapshot.h"

/* Per worker: PCRE2 match data and other scratch space. */
struct sl_match;
struct sl_match_scratch;
int sl_match_scratch_new(struct sl_match_scratch **ret);
struct sl_match_scratch *sl_match_scratch_free(struct sl_match_scratch *s);

/*
 * path is normalised (sl_uri_normalise), without query; one that does not begin with "/" (CONNECT,
 * "OPTIONS *") counts as "/". Repeated headers are joined with ",", Cookie with "; "; "Host" is
 * req->authority, else the header. Query names and values are compared decoded, of a repeated
 * parameter the first counts. A regular expression that passes its limit counts as no match (and in
 * scratch's counter). Nothing is allocated but joined headers and decoded query values, in arena;
 * without memory for them no rule matches. Returns NULL when no rule matches. Thread: worker.
 */
const struct sl_rule *sl_route_table_match(const struct sl_route_table *t,
					   const struct sl_request *req, struct sl_str path,
					   struct sl_match_scratch *scratch,
					   struct sl_arena *arena);

/* The same, but the match whose rule it is. */
const struct sl_match *sl_route_table_find(const struct sl_route_table *t,
					   const struct sl_request *req, struct sl_str path,
					   struct sl_match_scratch *scratch,
					   struct sl_arena *arena);

/*
 * What would serve the request if the shadow routes of the trial were enforced. now: what
 * sl_route_table_find() gave for the table in force, which may be another than the trial's (NULL:
 * none is). The others as for sl_route_table_match(). Returns NULL when no rule would match.
 * Thread: worker.
 */
const struct sl_match *sl_trial_find(const struct sl_trial *t,
				     const struct sl_route_table *in_force,
				     const struct sl_match *now, const struct sl_request *req,
				     struct sl_str path, struct sl_match_scratch *scratch,
				     struct sl_arena *arena);
/* What is answered where no rule would match. */
static inline uint16_t sl_trial_fallback(const struct sl_trial *t)
{
	return t->enforced && t->enforced->fallback_status != 404 ? t->enforced->fallback_status
								  : t->shadow->fallback_status;
}
/* Whether the request fits one match that is in no table; arguments as above. Thread: worker. */
bool sl_match_fits(const struct sl_match *m, const struct sl_request *req, struct sl_str path,
		   struct sl_match_scratch *scratch, struct sl_arena *arena);

/*
 * Of connections. name: what the client's SNI says, a host name in lower case of at most
 * SL_SERVER_NAME_MAX bytes: the rule of the route with the very name, else of the longest one with
 * a wildcard that covers it, which stands for one label or more; of several routes of the oldest.
 * Returns NULL when there is none. Thread: worker. Never allocates.
 */
enum { SL_SERVER_NAME_MAX = 255 };
const struct sl_rule *sl_route_table_match_name(const struct sl_route_table *t, struct sl_str name);
/* The rule of the oldest TCPRoute; NULL when none is usable. Thread: worker. Never allocates. */
const struct sl_rule *sl_route_table_first(const struct sl_route_table *t);

uint64_t sl_match_scratch_limits_hit(const struct sl_match_scratch *s);
