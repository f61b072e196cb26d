/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What views_explain.c (from the question to the rule) and views_explain_rule.c (what the rule
 * does) share. Private to the two. */
#include "core/views.h"
#include "proxy/filter.h"
#include "snapshot/explain.h"

struct explain {
	const struct sl_control *control;
	const json_t *request;
	json_t *answer; /* borrowed */
	struct sl_arena arena;
	struct sl_str namespace; /* of the client; empty: unknown */
	const struct sl_frontend *frontend;
	const struct sl_route_table *table; /* NULL: not governed */
	struct sl_addr address;		    /* that the client dials */
	struct sl_request req;
	struct sl_filter_env env;
	char refusal[1024];
};

/* Members and items; value is taken, NULL is out of memory. Return 0 or -ENOMEM. */
int explain_put(json_t *object, const char *key, json_t *value);
int explain_put_str(json_t *object, const char *key, struct sl_str s);
int explain_add(json_t *array, json_t *value);
/* "result" without more; status 0: none. Of a GRPCRoute also what the client sees of it. */
int explain_put_result(struct explain *e, const char *kind, unsigned status, const char *reason);

/* Member of the question; ptr NULL when it is not there. */
struct sl_str explain_member(const json_t *object, const char *key);
/* "http" (also when nothing is said), "https", "tcp" or "udp". */
struct sl_str explain_scheme(const struct explain *e);
/* "rules" */
int explain_put_steps(struct explain *e, const struct sl_explain *x);

/* Where the rules are for connections: "rules" and the rest, for e->table. Returns 0 or -ENOMEM. */
int explain_connection(struct explain *e);
/* Writes "rule", "result" and "backends" for the rule that takes the connection. */
int explain_connection_rule(struct explain *e, const struct sl_rule *rule);
/* What is said where no rule matches and that is the answer. */
const char *explain_fallback_text(unsigned status);
/* Writes "shadow": the Service has shadow routes for this client. rule: that takes the request in
 * fact; NULL: none. asked: as received. Returns 0 or -ENOMEM. */
int explain_shadow(struct explain *e, const struct sl_rule *rule, const struct sl_request *asked);
/* "faults", if f is not NULL: what of it may hit that request. Returns 0 or -ENOMEM. */
int explain_put_faults(struct explain *e, json_t *to, const struct sl_faults *f,
		       const struct sl_request *req, struct sl_str path);
/* Writes "rule", "result" and "backends" for the rule that takes e->req, which its filters edit.
 * Returns 0 or -ENOMEM. */
int explain_rule(struct explain *e, const struct sl_rule *rule);
