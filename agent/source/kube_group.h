/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Which versions of its kinds the API server serves of one API group, from its discovery documents:
 * /apis/GROUP names the versions, /apis/GROUP/VERSION the kinds of each. They are read when
 * somebody asks, which is when a collection was not where it was looked for, and once a minute
 * while somebody hopes for more. Private to this folder. Thread: the loop's; callbacks run in it.
 */
#include "base/list.h"
#include "source/kube_client.h"

struct sl_kube_group;

struct sl_kube_group_user {
	struct sl_list node;
	/* The documents were read, or cannot be: then what was known before counts, nothing at
	 * first. Returns whether later ones may bring better. */
	bool (*on_read)(struct sl_kube_group_user *u);
};

/* The one of this name in the list, made if there is none. client and the name are borrowed until
 * the list is freed. Returns 0 or -ENOMEM. */
int sl_kube_group_get(struct sl_list *groups, struct sl_loop *loop, struct sl_kube_client *client,
		      struct sl_str name, struct sl_kube_group **ret);
/* All users have left. */
void sl_kube_groups_free(struct sl_list *groups);
/* u is the caller's, and told from now on. */
void sl_kube_group_join(struct sl_kube_group *g, struct sl_kube_group_user *u);
/* Not from on_read. */
void sl_kube_group_leave(struct sl_kube_group_user *u);
/* Read the documents, or wait for those that are under way. */
void sl_kube_group_ask(struct sl_kube_group *g);
/* The first of api_versions (ends with NULL) that was served with the collection when that was
 * read; NULL: none. */
const char *sl_kube_group_choose(const struct sl_kube_group *g, const char *const *api_versions,
				 const char *plural);
/* Any version that has the collection; NULL: none. Borrowed until the next on_read. */
const char *sl_kube_group_any(const struct sl_kube_group *g, const char *plural);
