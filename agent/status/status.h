/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Conditions as users see them: keeps lastTransitionTime across compiles (it changes only when a
 * condition's status does), sets observedGeneration, and writes the status file.
 * Thread: control.
 */
#include <jansson.h>
#include "compile/compile.h"

struct sl_status;

int sl_status_new(struct sl_status **ret);
/* Accepts NULL, returns NULL. */
struct sl_status *sl_status_free(struct sl_status *s);
/* Take over a new report. now_s: wall-clock seconds. Returns 0 or -ENOMEM (old state stays). */
int sl_status_update(struct sl_status *s, const struct sl_compile_report *report, int64_t now_s);
/* Called after an update for each route whose conditions may have changed, or that went; key:
 * "HTTPRoute/namespace/name", borrowed. NULL: nobody. */
void sl_status_watch(struct sl_status *s, void (*fn)(void *arg, struct sl_str key), void *arg);
/* The route's entries of status.parents that are ours, borrowed until the next update. NULL: not
 * known. */
const json_t *sl_status_parents(const struct sl_status *s, struct sl_str key);
/* {"routes":[{kind, namespace, name, file, line, parents:[...]}]} as include/sluice/admin.h has it,
 * without rules and requests. A copy of the caller's own. Returns 0 or -ENOMEM. */
int sl_status_json(const struct sl_status *s, json_t **ret);
/* The same into a file, atomically (temporary file and rename), only when something changed since
 * the last write. 0 or -errno. */
int sl_status_write(struct sl_status *s, const char *path);
