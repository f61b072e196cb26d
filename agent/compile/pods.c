/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses and uids to Pods. */
#include <errno.h>
#include "base/alloc.h"
#include "base/cleanup.h"
#include "compile/work.h"

/* A Pod that has ended keeps its address in its status, while another Pod may have it by now. */
bool pod_ended(const struct sl_pod *pod)
{
	return sl_str_eqc(pod->phase, "Succeeded") || sl_str_eqc(pod->phase, "Failed");
}

static int ref_fill(const struct sl_pod *pod, struct sl_pod_ref *ref)
{
	const struct sl_meta *meta = &pod->object.meta;
	struct sl_arena *a = &ref->arena;
	struct sl_addr *ips = sl_arena_new_n(a, struct sl_addr, pod->n_ips + 1);
	bool bad; /* pods_warn() says so */

	if (!ips || sl_arena_str(a, meta->namespace, &ref->namespace) ||
	    sl_arena_str(a, meta->name, &ref->name) || sl_arena_str(a, meta->uid, &ref->uid))
		return -ENOMEM;
	if (pod->n_ips)
		memcpy(ips, pod->ips, pod->n_ips * sizeof(*ips));
	ref->splice = splice_read(&pod->object, &bad);
	ref->ips = ips;
	ref->n_ips = pod->n_ips;
	return 0;
}

static void pod_withdraw(struct sl_compiler *c, struct pod_node *n)
{
	for (uint32_t i = 0; i < n->n_claims; i++)
		claim_drop(&c->pod_ips, &n->claims[i]);
	claim_drop(&c->pod_uids, &n->uid);
	sl_list_remove(&n->bad_annotation);
	if (n->pod)
		xbackends_follow_pod(c, n->pod);
	free(sl_take(n->claims));
	n->n_claims = 0;
	sl_part_unref(n->ref ? &n->ref->part : NULL);
	n->ref = NULL;
	(void)sl_object_unref((struct sl_object *)n->pod); /* always NULL */
	n->pod = NULL;
}

static struct claim claim_of(struct pod_node *n, uint32_t index)
{
	return (struct claim){
		.namespace = n->ref->namespace, .name = n->ref->name, .index = index, .owner = n};
}

static int pod_claim(struct sl_compiler *c, struct pod_node *n)
{
	const struct sl_pod_ref *ref = n->ref;
	int r = 0;

	if (ref->uid.len) {
		n->uid = claim_of(n, 0);
		r = claim_make(&c->pod_uids, &n->uid, ref->uid);
	}
	if (r || n->pod->host_network)
		return r;
	n->claims = sl_new_n(struct claim, ref->n_ips);
	if (!n->claims)
		return -ENOMEM;
	for (uint32_t i = 0; i < ref->n_ips; i++) {
		n->claims[i] = claim_of(n, i);
		r = claim_make(&c->pod_ips, &n->claims[i], SL_KEY(&ref->ips[i].ip));
		if (r)
			return r;
		n->n_claims++;
	}
	return 0;
}

static int pod_enter(struct sl_compiler *c, struct pod_node *n, struct sl_pod *pod)
{
	bool bad;
	int r;

	n->pod = pod;
	sl_object_ref(&pod->object);
	xbackends_follow_pod(c, pod);
	if (pod_ended(pod))
		return 0;
	(void)splice_read(&pod->object, &bad); /* ref_fill() takes it */
	if (bad)
		sl_list_append(&c->bad_pods, &n->bad_annotation);
	r = sl_pod_ref_new(&n->ref);
	if (!r)
		r = ref_fill(pod, n->ref);
	return r ? r : pod_claim(c, n);
}

int pod_set(struct sl_compiler *c, struct sl_str key, struct sl_pod *pod)
{
	struct pod_node *n = sl_map_get(&c->pods, key);
	int r;

	if (!pod) {
		(void)sl_map_del(&c->pods, key); /* the key is the object's, which goes now */
		pod_withdraw(c, n);
		free(n);
		return 0;
	}
	if (!n) {
		n = sl_new(struct pod_node);
		if (!n)
			return -ENOMEM;
		sl_list_init(&n->bad_annotation);
		r = sl_map_put(&c->pods, pod->object.key, n, NULL);
		if (r) {
			free(n);
			return r;
		}
	} else {
		/* Replacing does not fail, and the key is the new object's from now on. */
		(void)sl_map_put(&c->pods, pod->object.key, n, NULL);
		pod_withdraw(c, n);
	}
	return pod_enter(c, n, pod);
}

/* ips: keys are addresses, else uids. */
static int contest_publish(struct contest *t, struct sl_pmap *map, bool ips)
{
	struct claimed *k;

	while ((k = contest_next(t))) {
		const struct claim *winner = claimed_winner(k);
		const struct pod_node *pod = winner ? winner->owner : NULL;
		int r = 0;

		if (!pod)
			r = sl_pmap_del(map, k->key);
		else if (sl_pmap_get(map, k->key) != &pod->ref->part)
			r = sl_pmap_put(
				map, ips ? SL_KEY(&pod->ref->ips[winner->index].ip) : pod->ref->uid,
				&pod->ref->part);
		contest_settle(t, k);
		if (r)
			return r;
	}
	return 0;
}

int pods_settle(struct sl_compiler *c)
{
	int r = contest_publish(&c->pod_ips, &c->pods_by_ip, true);

	return r ? r : contest_publish(&c->pod_uids, &c->pods_by_uid, false);
}

void pods_free(struct sl_compiler *c)
{
	struct pod_node *n;
	size_t pos = 0;

	while ((n = sl_map_next(&c->pods, &pos, NULL))) {
		pod_withdraw(c, n);
		free(n);
	}
	sl_map_deinit(&c->pods);
}

static int pod_cmp(const void *a, const void *b)
{
	const struct pod_node *x = *(const struct pod_node *const *)a;
	const struct pod_node *y = *(const struct pod_node *const *)b;

	return sl_str_cmp(x->pod->object.key, y->pod->object.key);
}

static int annotations_warn(struct sl_compiler *c, struct sl_diags *diags)
{
	_cleanup_(sl_freep) const struct pod_node **list = NULL;
	size_t n = 0;

	sl_list_foreach (it, &c->bad_pods)
		n++;
	list = sl_new_n(const struct pod_node *, n);
	if (!list)
		return -ENOMEM;
	n = 0;
	sl_list_foreach (it, &c->bad_pods)
		list[n++] = sl_container_of(it, struct pod_node, bad_annotation);
	qsort(list, n, sizeof(*list), pod_cmp);
	for (size_t i = 0; i < n; i++)
		splice_warn(&list[i]->pod->object, diags);
	return 0;
}

int pods_warn(struct sl_compiler *c, struct sl_diags *diags)
{
	_cleanup_(sl_freep) const struct claim **losers = NULL;
	char text[SL_ADDR_TEXT];
	size_t n;
	int r = contest_losers(&c->pod_ips, &losers, &n);

	for (size_t i = 0; i < n && !r; i++) {
		const struct pod_node *pod = losers[i]->owner;
		const struct pod_node *winner = claimed_winner(losers[i]->at)->owner;

		if (pod == winner)
			continue; /* twice the same address */
		warn(diags, &pod->pod->object, SL_STR("status.podIPs"),
		     "%s already belongs to Pod %.*s/%.*s: ignoring it here",
		     sl_addr_format_ip(&pod->ref->ips[losers[i]->index], text),
		     SL_STR_ARG(winner->ref->namespace), SL_STR_ARG(winner->ref->name));
	}
	return r ? r : annotations_warn(c, diags);
}
