/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * One collection of the Kubernetes API on its way into the model: what its watch brings is compared
 * with what is known, decoded, and put or taken out. An object that is invalid keeps its last valid
 * version. Private to this folder. Thread: the loop's; callbacks run in it.
 */
#include "resource/model.h"
#include "source/kube.h"

struct sl_kube_feed;
struct sl_kube_needs;

/* What all feeds of a source share. */
struct sl_kube_pool {
	struct sl_loop *loop;
	struct sl_kube_client *client;
	struct sl_model *model;
	struct sl_kube_needs *needs; /* of the objects in the model */
	const struct sl_kube_opts *opts;
	struct sl_list groups;	 /* sl_kube_group_get() */
	struct sl_list troubled; /* objects with diags */
	struct sl_list feeds;	 /* all of them */
	size_t n_known;		 /* objects of all feeds, valid or not */
	/* The model, or what is wrong with it, is not what it was; a feed is settled. */
	void (*changed)(void *arg);
	void *arg;
};

/*
 * namespace and selector as in struct sl_kube_collection. Starts at once, with the best version of
 * the kind; where the server does not have that, with the best of those that it serves and that are
 * decoded. What is known stays known meanwhile. Returns 0 or -ENOMEM.
 */
int sl_kube_feed_open(struct sl_kube_pool *pool, enum sl_kind kind, const char *namespace,
		      const char *selector, struct sl_kube_feed **ret);
/* It was listed at least once, or is known to be absent. */
bool sl_kube_feed_is_synced(const struct sl_kube_feed *f);
/* What is wrong with reading it, for people; NULL: nothing. */
const char *sl_kube_feed_trouble(const struct sl_kube_feed *f);
/* List anew. */
void sl_kube_feed_again(struct sl_kube_feed *f);
/* Takes what it gave out of the model too. Not from a callback. */
void sl_kube_feed_empty(struct sl_kube_feed *f);
/* Leaves the model alone. Not from a callback. Accepts NULL, returns NULL. */
struct sl_kube_feed *sl_kube_feed_close(struct sl_kube_feed *f);
/* The problems of all objects of all feeds. */
void sl_kube_pool_report(const struct sl_kube_pool *pool, struct sl_diags *to);
