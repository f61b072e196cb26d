/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Follows one collection of the Kubernetes API: list it in pages, then watch from there, resume
 * where a watch ended, list anew when that history is gone (410). Errors are waited out with a
 * growing, uneven pause; what was known stays known meanwhile. A collection that the server does
 * not have (404: its CRD is not installed) is asked for again from time to time.
 *
 *            ┌──────────────┐ pages  ┌─────────┐ its end, an error: from the last version
 *   open ──▶ │    LISTING   │ ─────▶ │ WATCHING│ ◀───────────────┐
 *            └──────────────┘        └─────────┘ ──▶ pause ──────┘
 *              ▲   │ error, 404          │ 410
 *              └ pause ◀─────────────────┘
 *
 * Thread: control; callbacks run in it.
 */
#include <jansson.h>
#include "source/kube_client.h"
#include "source/kube_split.h"

struct sl_kube_watch;

struct sl_kube_sink {
	void *arg;
	/* A list begins: what it does not name is gone, see on_listed. */
	void (*on_list)(void *arg);
	/* There or changed; during a list: there. kind and apiVersion are filled in. Borrowed.
	 * Returns 0 or -ENOMEM (tried again later, by a list). */
	int (*on_object)(void *arg, json_t *object);
	void (*on_gone)(void *arg, json_t *object);
	/* The list is complete: whatever it did not name is gone. */
	void (*on_listed)(void *arg);
	/* The server does not have the collection at the moment (404), each time that it is asked.
	 * NULL: not wanted. */
	void (*on_missing)(void *arg);
	/* The server does not have the collection, and has said so for a while if it once did. */
	void (*on_absent)(void *arg);
	/* State for people: NULL when all is well (again), else what is wrong. Only when it
	 * changes. */
	void (*on_trouble)(void *arg, const char *message);
};

struct sl_kube_collection {
	/* "gateway.networking.k8s.io/v1"; another one counts from sl_kube_watch_again() on. */
	const char *api_version;
	const char *kind; /* of its objects */
	const char *plural;
	const char *namespace; /* NULL: all, or none */
	const char *selector;  /* further query, such as "fieldSelector=..."; NULL: none */
};

/* What is in the structs is borrowed until the end. Starts at once. Returns 0 or -ENOMEM. */
int sl_kube_watch_open(struct sl_loop *loop, struct sl_kube_client *client,
		       const struct sl_kube_collection *what, const struct sl_kube_sink *sink,
		       struct sl_kube_watch **ret);
/* List anew, now. */
void sl_kube_watch_again(struct sl_kube_watch *w);
/* Not from a callback. Accepts NULL, returns NULL. */
struct sl_kube_watch *sl_kube_watch_close(struct sl_kube_watch *w);
