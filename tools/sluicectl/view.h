/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The views: an answer of the agent (see sluice/admin.h) as text for people. Pure functions;
 * members that are absent, or of another type than announced, show as empty. Each returns 0 or
 * -ENOMEM.
 */
#include <jansson.h>
#include "base/buf.h"
#include "table.h"

int sl_view_status(const json_t *answer, struct sl_buf *out);
int sl_view_serving(const json_t *answer, struct sl_buf *out); /* of status */
int sl_view_routes(const json_t *answer, struct sl_buf *out);
int sl_view_services(const json_t *answer, struct sl_buf *out);
int sl_view_endpoints(const json_t *answer, struct sl_buf *out);
int sl_view_check(const json_t *answer, struct sl_buf *out);
int sl_view_netns(const json_t *answer, struct sl_buf *out);
int sl_view_metrics(const json_t *answer, struct sl_buf *out);
int sl_view_version(const json_t *answer, struct sl_buf *out);
int sl_view_explain(const json_t *answer, struct sl_buf *out);

/* Names alone, one a line, each once. */
int sl_names_routes(const json_t *answer, struct sl_buf *out);	 /* HTTPRoute/ns/name */
int sl_names_services(const json_t *answer, struct sl_buf *out); /* ns/name:port */
int sl_names_netns(const json_t *answer, struct sl_buf *out);	 /* ns/pod */

/* Of all nodes of a cluster: {"nodes": [{"node", "pod", "ready", "answer" or "error"}]}. */
int sl_view_nodes_status(const json_t *answer, struct sl_buf *out);
int sl_view_nodes_version(const json_t *answer, struct sl_buf *out);
int sl_view_nodes_check(const json_t *answer, struct sl_buf *out);
/* Every node answered, and has all that is required. */
bool sl_nodes_passed(const json_t *answer);
/* Every node answered. */
bool sl_nodes_answered(const json_t *answer);

int sl_view_conns(const json_t *answer, struct sl_buf *out);
int sl_view_validate(const json_t *answer, struct sl_buf *out);

/* Whether the agent is this Pod's, by POD_NAME in the environment; any is when that is not set. */
bool sl_serving_is_mine(const json_t *answer);
/* Whether every required check passed. */
bool sl_check_passed(const json_t *answer);
/* Whether there is no error, and every condition is as it should be. */
bool sl_validate_passed(const json_t *answer);
bool sl_condition_is_fine(const json_t *condition);

/* ---- JSON ---- */

/* With a line feed behind it. flags: of jansson. Returns 0 or -ENOMEM. */
int sl_json_dump(const json_t *j, size_t flags, struct sl_buf *out);

/* "" when absent. */
const char *sl_json_text(const json_t *object, const char *key);
/* 0 when absent. */
long long sl_json_number(const json_t *object, const char *key);
/* A cell: the number, empty when absent. */
void sl_json_number_cell(struct sl_table *t, const json_t *object, const char *key);
/* A cell: the strings of an array, with ", " between them. */
void sl_json_list_cell(struct sl_table *t, const json_t *array);
