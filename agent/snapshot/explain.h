/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Why a request is served by the rule that serves it: all matches of a route table are walked in
 * order of precedence, and each says what it thinks of the request. Slow, and meant for people who
 * wonder; its verdict is always that of sl_route_table_match().
 *
 * Thread: any.
 */
#include "base/buf.h"
#include "snapshot/match_index.h"

enum sl_explain_verdict {
	SL_EXPLAIN_TAKES, /* this match decides */
	SL_EXPLAIN_LATER, /* fits too, but another one comes first */
	SL_EXPLAIN_PATH,  /* the first condition that fails, in this order */
	SL_EXPLAIN_METHOD,
	SL_EXPLAIN_HEADER,
	SL_EXPLAIN_QUERY,
};

struct sl_explain_step {
	const struct sl_match *match; /* the table's */
	enum sl_explain_verdict verdict;
	const struct sl_match_value *value; /* HEADER, QUERY: the condition */
	struct sl_str have;		    /* likewise: the request's value; ptr NULL: none */
	bool limit; /* a regular expression passed its limit, which counts as failed */
};

struct sl_explain {
	const struct sl_rule *rule;    /* that serves the request; NULL: none does */
	struct sl_explain_step *steps; /* one per match, by precedence; arena */
	uint32_t n_steps;
};

/* req and path as for sl_route_table_match(); of TLSRoutes path is the name, and of TCPRoutes
 * nothing. Returns 0 or -ENOMEM. */
int sl_route_table_explain(const struct sl_route_table *t, const struct sl_request *req,
			   struct sl_str path, struct sl_arena *arena, struct sl_explain *ret);

/* "PathPrefix /x, method GET, header a = b, query c ~ d", "Exact service/method, header a = b" of a
 * GRPCRoute, "name a.example" of a TLSRoute, "any connection" of a TCPRoute, "any flow" of a
 * UDPRoute. Returns 0, -ENOMEM or -ENOBUFS. */
int sl_match_describe(const struct sl_match *m, struct sl_buf *out);
/* "header a = b" */
int sl_match_value_describe(const char *kind, const struct sl_match_value *v, struct sl_buf *out);
