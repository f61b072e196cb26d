/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Writes the conditions of routes and policies to the API server: only our entries of
 * status.parents (status.ancestors), only when they differ from what is there, only while told to
 * (one writer in the cluster, see lease.h). A write names the resourceVersion that it was made
 * from; a conflict is tried again when the newer object was seen. Thread: control.
 */
#include "source/kube_client.h"
#include "status/events.h"
#include "status/status.h"

struct sl_status_writer;

/* Borrowed until the end. events: told of what was written. Returns 0 or -ENOMEM. */
int sl_status_writer_new(struct sl_loop *loop, struct sl_kube_client *client,
			 struct sl_status *status, struct sl_events *events,
			 struct sl_status_writer **ret);
/* Accepts NULL, returns NULL. */
struct sl_status_writer *sl_status_writer_free(struct sl_status_writer *w);
/* Whether to write. */
void sl_status_writer_lead(struct sl_status_writer *w, bool leads);
/*
 * The route as the API server has it now, valid or not; object NULL: it is gone. Out of memory
 * leaves its status as it is until it is seen again. path: its collection's, such as
 * "/apis/gateway.networking.k8s.io/v1", and plural: literals.
 */
void sl_status_writer_seen(struct sl_status_writer *w, enum sl_kind kind, const char *api_version,
			   const char *plural, struct sl_str namespace, struct sl_str name,
			   const json_t *object);
/* The conditions of the route may have changed; key as in status.h. */
void sl_status_writer_check(struct sl_status_writer *w, struct sl_str key);
/* The route cannot be used as it is, its last valid version is, if there was one: an Event says
 * why. */
void sl_status_writer_invalid(struct sl_status_writer *w, struct sl_str key, const char *why);
/* Writes that are under way or due. */
size_t sl_status_writer_pending(const struct sl_status_writer *w);
