/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Events (events.k8s.io/v1) beside the objects that they are about, for who looks with kubectl
 * describe: a route that is not accepted, references that do not resolve, rules that were dropped,
 * an object that is invalid. Said when it begins, not again while it stays. What is said of an
 * object again within ten minutes is counted in the Event that is there (series), written once a
 * minute at most; more than 25 new ones at once, and one a second from then on, are left out, with
 * a word in the log. One agent of the cluster writes them (lease.h). Nobody waits for them: one
 * that cannot be written is lost. Thread: control.
 */
#include <jansson.h>
#include "source/kube_client.h"

struct sl_events;

/* An object; text is borrowed during a call. */
struct sl_event_object {
	const char *api_version, *kind, *namespace, *name, *uid;
};

/* instance: who says it, copied. Returns 0 or -ENOMEM. */
int sl_events_new(struct sl_loop *loop, struct sl_kube_client *client, const char *instance,
		  struct sl_events **ret);
/* Whether to write. What is under way is given up when not. Not from an answer's callback of its
 * own. */
void sl_events_lead(struct sl_events *e, bool leads);
/* The status.parents of a route were before, and are after: says what is wrong since. */
void sl_events_status(struct sl_events *e, const struct sl_event_object *about,
		      const json_t *before, const json_t *after);
/* The object cannot be used as it is; why: a sentence. */
void sl_events_invalid(struct sl_events *e, const struct sl_event_object *about, const char *why);
/* Accepts NULL, returns NULL. */
struct sl_events *sl_events_free(struct sl_events *e);
