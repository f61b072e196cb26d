/* SPDX-License-Identifier: Apache-2.0 */
#include "source/kube_needs.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include "base/alloc.h"
#include "resource/syntax.h"

struct need {
	struct sl_str key; /* text */
	size_t n_users;
	struct sl_kube_feed *feed;
	struct sl_list unused; /* in the set's, when nobody names it */
	char *selector;
	char *namespace;
	char text[]; /* "kind/namespace/name" */
};

struct sl_kube_needs {
	struct sl_kube_pool *pool;
	struct sl_map by_key;
	struct sl_list unused;
	struct sl_task sweep; /* a feed is not closed from within another one's callback */
};

enum { KEY_BYTES = 352 }; /* fits the longest of what can exist */

/* No object has another name, and none is to find its way into a URL. Labels are checked where they
 * are decoded. */
static bool can_exist(const struct sl_object_ref *ref)
{
	bool is_named = ref->name.len && ref->name.len <= sl_text_subdomain.max &&
			sl_text_subdomain.valid(ref->name);

	return (is_named || ref->selector.len) && ref->namespace.len &&
	       ref->namespace.len <= sl_text_dns_label.max &&
	       sl_text_dns_label.valid(ref->namespace);
}

/* Short for all but the longest selectors: those are known by their hash. */
static struct sl_str key_of(const struct sl_object_ref *ref, char out[KEY_BYTES])
{
	struct sl_str what = ref->selector.len ? ref->selector : ref->name;
	int n;

	if (what.len <= sl_text_subdomain.max)
		n = snprintf(out, KEY_BYTES, "%s/%.*s/%.*s", sl_kind_name(ref->kind),
			     SL_STR_ARG(ref->namespace), SL_STR_ARG(what));
	else
		n = snprintf(out, KEY_BYTES, "%s/%.*s/#%zu-%016llx", sl_kind_name(ref->kind),
			     SL_STR_ARG(ref->namespace), what.len,
			     (unsigned long long)sl_str_hash(what));
	assert(n > 0 && n < KEY_BYTES);
	return (struct sl_str){out, (size_t)n};
}

static void free_need(struct need *nd)
{
	sl_list_remove(&nd->unused);
	sl_kube_feed_close(nd->feed);
	free(nd->selector);
	free(nd->namespace);
	free(nd);
}

/* As a query: of what labels are made of, "=", "," and "/" have to be written otherwise. */
static char *labels_selector(struct sl_str labels)
{
	static const char head[] = "labelSelector=";
	char *out = sl_malloc(sizeof(head) + labels.len * 3), *to;

	if (!out)
		return NULL;
	memcpy(out, head, sizeof(head));
	to = out + sizeof(head) - 1;
	for (size_t i = 0; i < labels.len; i++) {
		char c = labels.ptr[i];

		if (c == '=' || c == ',' || c == '/')
			to = sl_percent_put(to, c);
		else
			*to++ = c;
	}
	*to = 0;
	return out;
}

static int open_feed(struct sl_kube_needs *n, struct need *nd, const struct sl_object_ref *ref)
{
	nd->namespace = sl_asprintf("%.*s", SL_STR_ARG(ref->namespace));
	nd->selector = ref->selector.len ? labels_selector(ref->selector)
					 : sl_asprintf("fieldSelector=metadata.name%%3D%.*s",
						       SL_STR_ARG(ref->name));
	if (!nd->namespace || !nd->selector)
		return -ENOMEM;
	return sl_kube_feed_open(n->pool, ref->kind, nd->namespace, nd->selector, &nd->feed);
}

static int new_need(struct sl_kube_needs *n, const struct sl_object_ref *ref, struct sl_str key,
		    struct need **ret)
{
	struct need *nd = sl_calloc(1, sizeof(*nd) + key.len);
	int r;

	if (!nd)
		return -ENOMEM;
	memcpy(nd->text, key.ptr, key.len);
	nd->key = (struct sl_str){nd->text, key.len};
	sl_list_init(&nd->unused);
	r = open_feed(n, nd, ref);
	if (!r)
		r = sl_map_put(&n->by_key, nd->key, nd, NULL);
	if (r)
		free_need(nd);
	else
		*ret = nd;
	return r;
}

static int add(struct sl_kube_needs *n, const struct sl_object_ref *ref)
{
	char buf[KEY_BYTES];
	struct sl_str key;
	struct need *nd;
	int r = 0;

	if (!can_exist(ref))
		return 0;
	key = key_of(ref, buf);
	nd = sl_map_get(&n->by_key, key);
	if (!nd)
		r = new_need(n, ref, key, &nd);
	if (r)
		return r;
	nd->n_users++;
	sl_list_remove(&nd->unused);
	sl_list_init(&nd->unused);
	return 0;
}

static void drop(struct sl_kube_needs *n, const struct sl_object_ref *ref)
{
	char buf[KEY_BYTES];
	struct need *nd;

	if (!can_exist(ref))
		return;
	nd = sl_map_get(&n->by_key, key_of(ref, buf));
	assert(nd && nd->n_users);
	if (--nd->n_users)
		return;
	sl_list_append(&n->unused, &nd->unused);
	sl_task_queue(n->pool->loop, &n->sweep);
}

int sl_kube_needs_add(struct sl_kube_needs *n, const struct sl_object *o)
{
	for (uint32_t i = 0; i < o->n_needs; i++) {
		int r = add(n, &o->needs[i]);

		if (!r)
			continue;
		while (i)
			drop(n, &o->needs[--i]);
		return r;
	}
	return 0;
}

void sl_kube_needs_drop(struct sl_kube_needs *n, const struct sl_object *o)
{
	for (uint32_t i = 0; i < o->n_needs; i++)
		drop(n, &o->needs[i]);
}

static void on_sweep(struct sl_task *t)
{
	struct sl_kube_needs *n = sl_container_of(t, struct sl_kube_needs, sweep);

	while (!sl_list_empty(&n->unused)) {
		struct need *nd = sl_container_of(n->unused.next, struct need, unused);

		sl_map_del(&n->by_key, nd->key);
		sl_kube_feed_empty(nd->feed);
		free_need(nd);
	}
	n->pool->changed(n->pool->arg); /* one less to wait for */
}

/* ---- all of them ---- */

bool sl_kube_needs_are_settled(const struct sl_kube_needs *n)
{
	struct need *nd;
	size_t pos = 0;

	while ((nd = sl_map_next(&n->by_key, &pos, NULL))) {
		if (!sl_kube_feed_is_synced(nd->feed) && !sl_kube_feed_trouble(nd->feed))
			return false;
	}
	return true;
}

void sl_kube_needs_report(const struct sl_kube_needs *n, struct sl_diags *to)
{
	struct need *nd;
	size_t pos = 0;

	while ((nd = sl_map_next(&n->by_key, &pos, NULL))) {
		const char *trouble = sl_kube_feed_trouble(nd->feed);

		if (trouble)
			sl_diags_add(
				to,
				&(struct sl_diag){.severity = SL_SEVERITY_ERROR, .object = nd->key},
				"cannot be read from the API server: %s", trouble);
	}
}

void sl_kube_needs_again(struct sl_kube_needs *n)
{
	struct need *nd;
	size_t pos = 0;

	while ((nd = sl_map_next(&n->by_key, &pos, NULL)))
		sl_kube_feed_again(nd->feed);
}

int sl_kube_needs_new(struct sl_kube_pool *pool, struct sl_kube_needs **ret)
{
	struct sl_kube_needs *n = sl_new(struct sl_kube_needs);

	if (!n)
		return -ENOMEM;
	n->pool = pool;
	n->sweep = SL_TASK_INIT(on_sweep);
	sl_list_init(&n->unused);
	*ret = n;
	return 0;
}

struct sl_kube_needs *sl_kube_needs_free(struct sl_kube_needs *n)
{
	struct need *nd;
	size_t pos = 0;

	if (!n)
		return NULL;
	sl_task_cancel(&n->sweep);
	while ((nd = sl_map_next(&n->by_key, &pos, NULL)))
		free_need(nd);
	sl_map_deinit(&n->by_key);
	free(n);
	return NULL;
}
