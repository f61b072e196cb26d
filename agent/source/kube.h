/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The Kubernetes API as the source of configuration: every kind that counts is listed and watched
 * (kube_watch.h), decoded like a folder's documents, and kept in one model. The first state is told
 * when every kind was listed, or is known to be absent (its CRD is not installed); until then
 * nothing is told at all. From then on changes are told as they come, those of a short moment
 * together.
 *
 * ConfigMaps and Secrets are read one by one, those that objects name (sl_object.needs): what names
 * them is told together with them, or after five seconds without.
 *
 * An object that is invalid keeps its last valid version, as in a folder. A kind that cannot be
 * read (no permission, server away) keeps what it has; that is a problem in the report.
 * Thread: the loop's.
 */
#include "source/kube_watch.h"
#include "source/report.h"

struct sl_kube;

struct sl_kube_opts {
	const char *node; /* only this Node and its Pods; NULL: all Pods, no Node */
	/* Each route and policy as the server has it, valid or not, when it comes, changes, or goes
	 * (object NULL). NULL: not wanted. No request may be made or cancelled from here. */
	void (*on_route)(void *arg, enum sl_kind kind, const struct sl_kube_collection *what,
			 struct sl_str namespace, struct sl_str name, const json_t *object);
	void *arg;
};

/* access is borrowed until the end. Returns 0, -EINVAL (no node name), -ENOMEM. fn is called from
 * the loop. */
int sl_kube_open(struct sl_loop *loop, const struct sl_kube_access *access,
		 const struct sl_kube_opts *opts, sl_config_fn fn, void *arg, struct sl_kube **ret);
/* For requests of others, until the source is closed. */
struct sl_kube_client *sl_kube_get_client(struct sl_kube *k);
/* Tell the state again, list everything anew (SIGHUP). */
void sl_kube_reload(struct sl_kube *k);
/* Call fn once more, soon: something else that counts has changed. */
void sl_kube_tell(struct sl_kube *k);
/* Accepts NULL, returns NULL. */
struct sl_kube *sl_kube_close(struct sl_kube *k);
