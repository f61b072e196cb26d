/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Models out of text, and requests against what they compile to. */
#include "compile/compile.h"
#include "http/message.h"
#include "snapshot/match.h"

/* One object as JSON, with ' for ": aborts the test when it does not decode. */
void model_add(struct sl_model *m, const char *json);
/* Service shop/cart at 10.96.0.1 with port 80, and shop/v1 at 10.96.0.11 with port 80. */
struct sl_model *model_with_services(void);
/* An HTTPRoute shop/@name on Service shop/cart. */
void model_add_route(struct sl_model *m, const char *name, const char *rules);
/* Likewise a route of another kind. */
void model_add_route_of(struct sl_model *m, const char *kind, const char *name, const char *rules);

struct compiled {
	struct sl_snapshot *snap;
	struct sl_compile_report *report;
	struct sl_match_scratch *scratch;
	struct sl_arena arena; /* of requests; reset by match_request() */
};
struct compiled compile_model(const struct sl_model *m);
void compiled_free(struct compiled *c);

/* Of shop/cart:80. */
const struct sl_frontend *cart_frontend(const struct compiled *c);
/* "METHOD /path?query Name:value ..."; lives until the next. */
struct sl_request request_from(struct compiled *c, const char *text);
/* "METHOD /path?query Name:value ..." to shop/cart:80 from namespace client; NULL: no rule. */
const struct sl_rule *match_request(struct compiled *c, const char *client, const char *request);
/* A condition of the first parentRef of the route of that name; NULL when absent. */
const struct sl_condition *find_condition(const struct compiled *c, const char *route,
					  const char *type);
