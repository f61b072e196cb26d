/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sl_split, sl_split_ep and sl_member follow the plan's splits. What changed is written whole,
 * endpoints first, under an id of its own; then sl_split points to it, and what it pointed to
 * before goes. So the hooks see weights and endpoints of one version. What is there is asked of the
 * maps themselves; what the hooks counted in a version is read when it ends (split_flows.c).
 */
#include <bpf/bpf.h>
#include <errno.h>
#include <netinet/in.h>
#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "datapath/internal.h"

void sl_dp_split_key(struct sl_split_key *key, const struct sl_split_at *at)
{
	memset(key, 0, sizeof(*key));
	memcpy(key->addr, at->vip.ip, sizeof(key->addr));
	key->port = at->vip.port;
	key->protocol = at->protocol;
}

static uint32_t n_endpoints(const struct sl_split_val *val)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < val->n_shares && i < SL_SPLIT_SHARES; i++)
		n += val->shares[i].n_endpoints;
	return n;
}

static struct sl_member_key member_of(uint32_t id, const struct sl_ep_val *ep)
{
	struct sl_member_key key = {.id = id, .port = ep->port};

	memcpy(key.addr, ep->addr, sizeof(key.addr));
	return key;
}

/* ---- one version ---- */

static int gone(int r)
{
	return r == -ENOENT ? 0 : r;
}

static int version_drop(struct sl_datapath *dp, uint32_t id, uint32_t n)
{
	int first = 0;

	for (uint32_t i = 0; i < n; i++) {
		struct sl_ep_key key = {.id = id, .index = i};
		struct sl_member_key member;
		struct sl_ep_val ep;
		int r = bpf_map_lookup_elem(dp->map[SL_DP_SPLIT_EP], &key, &ep);

		if (!r) {
			member = member_of(id, &ep);
			/* Two backends may have an endpoint in common. */
			r = gone(bpf_map_delete_elem(dp->map[SL_DP_MEMBER], &member));
		}
		if (!r)
			r = bpf_map_delete_elem(dp->map[SL_DP_SPLIT_EP], &key);
		if (!first)
			first = gone(r);
	}
	return first;
}

/* A connection of TCP is not asked whether it may stay. */
static int endpoint_write(struct sl_datapath *dp, const struct sl_plan_split *of, uint32_t id,
			  uint32_t index, const struct sl_addr *a)
{
	struct sl_ep_key key = {.id = id, .index = index};
	struct sl_ep_val ep = {.port = a->port};
	struct sl_member_key member;
	uint32_t one = 1;
	int r;

	memcpy(ep.addr, a->ip, sizeof(ep.addr));
	member = member_of(id, &ep);
	r = bpf_map_update_elem(dp->map[SL_DP_SPLIT_EP], &key, &ep, BPF_ANY);
	if (!r && of->at.protocol == IPPROTO_UDP)
		r = bpf_map_update_elem(dp->map[SL_DP_MEMBER], &member, &one, BPF_ANY);
	return sl_dp_map_error(r);
}

/* Shares of weight 0 get nothing and keep nothing: their endpoints are left out. */
static int version_write(struct sl_datapath *dp, const struct sl_plan_split *want,
			 struct sl_split_val *val)
{
	uint32_t from = 0, total = 0, n = 0;

	for (uint32_t i = 0; i < want->n_shares; i++) {
		const struct sl_plan_share *share = &want->shares[i];

		total += share->weight;
		val->shares[i] = (struct sl_split_share){.upto = total, .first = n};
		val->n_shares++;
		for (uint32_t k = 0; share->weight && k < share->n_endpoints; k++) {
			int r = endpoint_write(dp, want, val->id, n, &want->endpoints[from + k]);

			n++; /* also of one that was written in part */
			val->shares[i].n_endpoints++;
			if (r)
				return r;
		}
		from += share->n_endpoints;
	}
	return 0;
}

/* ---- splits ---- */

static int split_drop(struct sl_datapath *dp, const struct sl_split_key *key)
{
	struct sl_split_val val;
	int r = bpf_map_lookup_elem(dp->map[SL_DP_SPLIT], key, &val);

	if (!r)
		r = bpf_map_delete_elem(dp->map[SL_DP_SPLIT], key);
	if (r)
		return gone(r);
	sl_dp_flows_end(dp, key, &val);
	return version_drop(dp, val.id, n_endpoints(&val));
}

/* What was there stays in force. For a flow of UDP that is better than nothing; a connection of TCP
 * goes to the agent, which has the rule as it is now. */
static int write_failed(struct sl_datapath *dp, const struct sl_split_key *key,
			const struct sl_split_val *val, int error)
{
	(void)version_drop(dp, val->id, n_endpoints(val)); /* error is the one to tell */
	if (key->protocol == IPPROTO_TCP)
		(void)split_drop(dp, key); /* likewise */
	return error;
}

static int split_write(struct sl_datapath *dp, const struct sl_plan_split *want)
{
	size_t n = want->name.len < SL_SVC_NAME ? want->name.len : SL_SVC_NAME - 1;
	struct sl_split_val val = {.id = dp->next_split_id++}, before;
	struct sl_split_key key;
	int had, r;

	sl_dp_split_key(&key, &want->at);
	if (n)
		memcpy(val.name, want->name.ptr, n);
	r = version_write(dp, want, &val);
	had = bpf_map_lookup_elem(dp->map[SL_DP_SPLIT], &key, &before);
	if (!r && had != -ENOENT)
		r = had;
	if (!r)
		r = sl_dp_map_error(bpf_map_update_elem(dp->map[SL_DP_SPLIT], &key, &val, BPF_ANY));
	if (r)
		return write_failed(dp, &key, &val, r);
	if (!had)
		sl_dp_flows_end(dp, &key, &before);
	sl_dp_flows_begin(dp, want, val.id);
	return had ? 0 : version_drop(dp, before.id, n_endpoints(&before));
}

struct work {
	struct sl_datapath *dp;
	int first; /* error */
};

static int apply_one(void *arg, struct sl_str key, const struct sl_part *before,
		     const struct sl_part *after)
{
	struct work *w = arg;
	char vip[SL_ADDR_TEXT];
	int r = after ? split_write(w->dp, sl_plan_split_of(after)) : 0;

	if (r)
		sl_error("the rule of a %s does not fit into the kernel's maps service=\"%.*s\" "
			 "vip=%s error=\"%s\"",
			 sl_plan_split_of(after)->at.protocol == IPPROTO_TCP
				 ? "TCPRoute, which the agent follows then,"
				 : "UDPRoute",
			 SL_STR_ARG(sl_plan_split_of(after)->name),
			 sl_addr_format(&sl_plan_split_of(after)->at.vip, vip), sl_strerror(r));
	if (!w->first)
		w->first = r;
	return 0; /* the others are none the worse for it */
}

int sl_dp_splits_apply(struct sl_datapath *dp, const struct sl_plan *plan)
{
	struct work w = {.dp = dp};

	(void)sl_pmap_diff(&dp->splits_applied, &plan->splits, apply_one, &w); /* always 0 */
	/* After a failure the next one writes everything again. */
	sl_pmap_deinit(&dp->splits_applied);
	if (!w.first)
		dp->splits_applied = sl_pmap_copy(&plan->splits);
	return w.first;
}

/* ---- what is no longer wanted ---- */

/* All keys of a map, in an array (free()). */
static int keys_read(int map, size_t key_size, char **ret, size_t *ret_n)
{
	_cleanup_(sl_freep) char *keys = NULL;
	size_t n = 0, cap = 0;
	int r;

	for (;;) {
		if (n == cap) {
			char *more;

			cap = cap ? 2 * cap : 16;
			more = sl_reallocarray(keys, cap, key_size);
			if (!more)
				return -ENOMEM;
			keys = more;
		}
		r = bpf_map_get_next_key(map, n ? keys + (n - 1) * key_size : NULL,
					 keys + n * key_size);
		if (r)
			break;
		n++;
	}
	if (r != -ENOENT)
		return r;
	*ret = sl_take(keys);
	*ret_n = n;
	return 0;
}

static bool is_wanted(const struct sl_plan *plan, const struct sl_split_key *key)
{
	struct sl_split_at at = {.vip.port = key->port, .protocol = key->protocol};

	memcpy(at.vip.ip, key->addr, sizeof(at.vip.ip));
	return plan && sl_pmap_get(&plan->splits, SL_KEY(&at));
}

static int retract_all(struct sl_datapath *dp, const struct sl_plan *plan)
{
	_cleanup_(sl_freep) char *keys = NULL;
	const struct sl_split_key *key;
	size_t n = 0;
	int r = keys_read(dp->map[SL_DP_SPLIT], sizeof(*key), &keys, &n);

	for (size_t i = 0; i < n && !r; i++) {
		key = (const struct sl_split_key *)keys + i;
		r = is_wanted(plan, key) ? 0 : split_drop(dp, key);
	}
	return r;
}

static int retract_one(void *arg, struct sl_str key, const struct sl_part *before,
		       const struct sl_part *after)
{
	struct sl_split_key k;

	if (after)
		return 0;
	sl_dp_split_key(&k, &sl_plan_split_of(before)->at);
	return split_drop(arg, &k);
}

int sl_dp_splits_retract(struct sl_datapath *dp, const struct sl_plan *plan)
{
	int r;

	if (plan && dp->splits_applied.n)
		r = sl_pmap_diff(&dp->splits_applied, &plan->splits, retract_one, dp);
	else
		r = retract_all(dp, plan);
	/* The next apply writes everything when it is not known what is there. */
	if (r || !plan)
		sl_pmap_deinit(&dp->splits_applied);
	return r;
}

/* ---- another agent's ---- */

/* Both maps of endpoints have keys that begin with the id of their version. */
static int sweep(int map, size_t key_size, const struct sl_map *ids)
{
	_cleanup_(sl_freep) char *keys = NULL;
	size_t n = 0;
	int r = keys_read(map, key_size, &keys, &n);

	for (size_t i = 0; i < n && !r; i++) {
		uint32_t id;

		memcpy(&id, keys + i * key_size, sizeof(id));
		if (!sl_map_get(ids, SL_KEY(&id)))
			r = gone(bpf_map_delete_elem(map, keys + i * key_size));
	}
	return r;
}

static int versions_read(struct sl_datapath *dp, const struct sl_split_key *keys, size_t n,
			 uint32_t *ids, struct sl_map *by_id)
{
	struct sl_split_val val;

	for (size_t i = 0; i < n; i++) {
		int r = bpf_map_lookup_elem(dp->map[SL_DP_SPLIT], &keys[i], &val);

		if (r)
			return r;
		ids[i] = val.id;
		if (val.id >= dp->next_split_id)
			dp->next_split_id = val.id + 1;
		r = sl_map_put(by_id, SL_KEY(&ids[i]), &ids[i], NULL);
		if (r)
			return r;
	}
	return 0;
}

int sl_dp_splits_load(struct sl_datapath *dp)
{
	struct sl_map by_id = SL_MAP_INIT;
	_cleanup_(sl_freep) uint32_t *ids = NULL;
	_cleanup_(sl_freep) char *keys = NULL;
	size_t n = 0;
	int r = keys_read(dp->map[SL_DP_SPLIT], sizeof(struct sl_split_key), &keys, &n);

	dp->next_split_id = 1;
	if (r)
		return r;
	ids = sl_new_n(uint32_t, n);
	if (!ids)
		return -ENOMEM;
	r = versions_read(dp, (const struct sl_split_key *)keys, n, ids, &by_id);
	if (!r)
		r = sweep(dp->map[SL_DP_SPLIT_EP], sizeof(struct sl_ep_key), &by_id);
	if (!r)
		r = sweep(dp->map[SL_DP_MEMBER], sizeof(struct sl_member_key), &by_id);
	sl_map_deinit(&by_id);
	return r;
}
