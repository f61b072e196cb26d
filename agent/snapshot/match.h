/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Matching of a request to a rule, with the precedence of gateway-api.md (HTTPRouteMatch in the Go
 * types): exact path, then regular expression, then the longest prefix; method; number of headers; number of query
 * parameters; age; "namespace/name"; order of rules. The index finds candidates by path in time that does not grow with the
 * number of rules on other paths.
 */
#include "http/message.h"
#include "snapshot/snapshot.h"

/* Per worker: PCRE2 match data and other scratch space. */
struct sl_match_scratch;
int sl_match_scratch_new(struct sl_match_scratch **ret);
struct sl_match_scratch *sl_match_scratch_free(struct sl_match_scratch *s);

/*
 * path is normalised (sl_uri_normalise), without query. Repeated headers are joined with ","; of a repeated
 * query parameter the first counts. A regular expression that passes its match limit counts as no match (and in
 * scratch's counter). arena is for joined header lines only. Returns NULL when no rule matches. Thread: worker.
 */
const struct sl_rule *sl_route_table_match(const struct sl_route_table *t, const struct sl_request *req, struct sl_str path,
					   struct sl_match_scratch *scratch, struct sl_arena *arena);
uint64_t sl_match_scratch_limits_hit(const struct sl_match_scratch *s);
