/* SPDX-License-Identifier: Apache-2.0 */
#include "source/kube.h"

#include <errno.h>
#include "base/alloc.h"
#include "base/clock.h"
#include "source/kube_feed.h"
#include "source/kube_group.h"
#include "source/kube_needs.h"

/* Told when nothing came for QUIET, at the latest MAX_WAIT after the first change. */
#define QUIET_NS    (5 * SL_NS_PER_MS)
#define MAX_WAIT_NS (50 * SL_NS_PER_MS)
/* How long a change waits for the ConfigMaps and Secrets that it names. */
#define NEEDS_WAIT_NS (5 * SL_NS_PER_S)

struct sl_kube {
	struct sl_kube_opts opts;
	sl_config_fn fn;
	void *arg;
	char *pods_of_node, *node_itself;
	struct sl_kube_pool pool;
	struct sl_kube_feed
		*feeds[SL_N_KINDS]; /* NULL: of a kind that is read by name, or not needed */
	struct sl_diags diags;
	struct sl_timer tell;
	uint64_t first_ns; /* of the changes that wait for the timer; 0: none do */
};

/* ---- telling ---- */

static bool is_synced(const struct sl_kube *k)
{
	for (size_t i = 0; i < SL_N_KINDS; i++) {
		if (k->feeds[i] && !sl_kube_feed_is_synced(k->feeds[i]))
			return false;
	}
	return true;
}

static void collect_diags(struct sl_kube *k)
{
	sl_diags_deinit(&k->diags);
	k->diags = SL_DIAGS_INIT;
	for (size_t i = 0; i < SL_N_KINDS; i++) {
		const char *trouble = k->feeds[i] ? sl_kube_feed_trouble(k->feeds[i]) : NULL;
		struct sl_str kind = sl_str_from(sl_kind_name((enum sl_kind)i));

		if (trouble)
			sl_diags_add(
				&k->diags,
				&(struct sl_diag){.severity = SL_SEVERITY_ERROR, .object = kind},
				"cannot be read from the API server: %s", trouble);
	}
	sl_kube_needs_report(k->pool.needs, &k->diags);
	sl_kube_pool_report(&k->pool, &k->diags);
}

static void tell(struct sl_kube *k)
{
	struct sl_config_report report = {.diags = &k->diags, .n_documents = k->pool.n_known};
	uint64_t until = k->first_ns + NEEDS_WAIT_NS;

	if (!is_synced(k)) {
		k->first_ns = 0;
		return;
	}
	/* The last of them calls changed(). */
	if (!sl_kube_needs_are_settled(k->pool.needs) && sl_loop_now(k->pool.loop) < until) {
		sl_timer_arm(k->pool.loop, &k->tell, until);
		return;
	}
	k->first_ns = 0;
	collect_diags(k);
	k->fn(k->arg, k->pool.model, &report);
}

static void on_tell(struct sl_timer *t)
{
	tell(sl_container_of(t, struct sl_kube, tell));
}

static void changed(void *arg)
{
	struct sl_kube *k = arg;
	uint64_t now = sl_loop_now(k->pool.loop), at = now + QUIET_NS;

	if (!k->first_ns)
		k->first_ns = now;
	if (at > k->first_ns + MAX_WAIT_NS)
		at = k->first_ns + MAX_WAIT_NS;
	sl_timer_arm(k->pool.loop, &k->tell, at);
}

/* ---- life ---- */

static int open_kind(struct sl_kube *k, enum sl_kind kind)
{
	const char *selector = NULL;

	/* The other nodes mean nothing. */
	if (sl_kind_is_named(kind) || (kind == SL_KIND_NODE && !k->node_itself))
		return 0;
	if (kind == SL_KIND_POD)
		selector = k->pods_of_node;
	if (kind == SL_KIND_NODE)
		selector = k->node_itself;
	return sl_kube_feed_open(&k->pool, kind, NULL, selector, &k->feeds[kind]);
}

static int start(struct sl_kube *k, const struct sl_kube_access *access)
{
	int r = sl_model_new(&k->pool.model);

	if (!r)
		r = sl_kube_needs_new(&k->pool, &k->pool.needs);
	if (!r)
		r = sl_kube_client_new(k->pool.loop, access, &k->pool.client);
	if (!r && k->opts.node) {
		k->pods_of_node = sl_asprintf("fieldSelector=spec.nodeName%%3D%s", k->opts.node);
		k->node_itself = sl_asprintf("fieldSelector=metadata.name%%3D%s", k->opts.node);
		r = k->pods_of_node && k->node_itself ? 0 : -ENOMEM;
	}
	for (size_t i = 0; i < SL_N_KINDS && !r; i++)
		r = open_kind(k, (enum sl_kind)i);
	return r;
}

int sl_kube_open(struct sl_loop *loop, const struct sl_kube_access *access,
		 const struct sl_kube_opts *opts, sl_config_fn fn, void *arg, struct sl_kube **ret)
{
	struct sl_kube *k = sl_new(struct sl_kube);
	int r;

	if (!k)
		return -ENOMEM;
	k->opts = *opts;
	k->fn = fn;
	k->arg = arg;
	k->tell = SL_TIMER_INIT(on_tell);
	k->pool.loop = loop;
	k->pool.opts = &k->opts;
	k->pool.changed = changed;
	k->pool.arg = k;
	sl_list_init(&k->pool.groups);
	sl_list_init(&k->pool.troubled);
	sl_list_init(&k->pool.feeds);
	r = start(k, access);
	if (r)
		sl_kube_close(k);
	else
		*ret = k;
	return r;
}

struct sl_kube_client *sl_kube_get_client(struct sl_kube *k)
{
	return k->pool.client;
}

void sl_kube_reload(struct sl_kube *k)
{
	for (size_t i = 0; i < SL_N_KINDS; i++) {
		if (k->feeds[i])
			sl_kube_feed_again(k->feeds[i]);
	}
	sl_kube_needs_again(k->pool.needs);
	changed(k);
}

void sl_kube_tell(struct sl_kube *k)
{
	changed(k);
}

struct sl_kube *sl_kube_close(struct sl_kube *k)
{
	if (!k)
		return NULL;
	sl_timer_cancel(&k->tell);
	for (size_t i = 0; i < SL_N_KINDS; i++)
		sl_kube_feed_close(k->feeds[i]);
	sl_kube_needs_free(k->pool.needs);
	sl_kube_groups_free(&k->pool.groups);
	k->pool.client = sl_kube_client_free(k->pool.client);
	sl_model_free(k->pool.model);
	sl_diags_deinit(&k->diags);
	free(k->pods_of_node);
	free(k->node_itself);
	free(k);
	return NULL;
}
