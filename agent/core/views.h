/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The answers to sluicectl, one function a command; the schemas are in include/sluice/admin.h. Each
 * gives a new reference. Thread: control. Return 0 or -ENOMEM; explain also SL_ADMIN_REFUSED. */
#include "core/state.h"

/* For _cleanup_(): accepts NULL in *j. */
static inline void sl_view_decrefp(json_t **j)
{
	json_decref(*j);
}

int sl_view_routes(void *control, const json_t *request, json_t **ret);
int sl_view_services(void *control, const json_t *request, json_t **ret);
int sl_view_endpoints(void *control, const json_t *request, json_t **ret);
/* Asks the workers and answers later. */
int sl_view_conns(void *control, const json_t *request, json_t **ret);
int sl_view_explain(void *control, const json_t *request, json_t **ret);

/* Borrowed text as a JSON string; what is not UTF-8 becomes "?". */
json_t *sl_view_str(struct sl_str s);
