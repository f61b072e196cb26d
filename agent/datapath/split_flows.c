/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How many flows the hooks have dealt out, by share: counters lie in sl_split itself, begin at zero
 * with each version of a split, and go with it. So what a version has counted is told when it is
 * asked for and when it ends; only what is dealt out between its last reading and its end is lost,
 * microseconds. Versions of an agent before this one are not known by route, and not told.
 */
#include <bpf/bpf.h>
#include "base/alloc.h"
#include "datapath/internal.h"

/* A version in the map. */
struct version {
	struct sl_split_key key;
	uint32_t id;
	const struct sl_plan_split *split; /* a reference */
	uint64_t told[SL_SPLIT_SHARES];
};

static struct version *version_free(struct version *v)
{
	if (v)
		sl_part_unref(&v->split->part);
	free(v);
	return NULL;
}

static void version_tell(struct sl_datapath *dp, struct version *v, const struct sl_split_val *val)
{
	for (uint32_t i = 0; i < v->split->n_shares && i < SL_SPLIT_SHARES; i++) {
		uint64_t n = val->shares[i].flows - v->told[i];

		v->told[i] = val->shares[i].flows;
		if (n && dp->flows_fn)
			dp->flows_fn(dp->flows_arg, v->split, &v->split->shares[i], n);
	}
}

void sl_dp_flows_begin(struct sl_datapath *dp, const struct sl_plan_split *split, uint32_t id)
{
	struct version *v = sl_new(struct version);
	void *before = NULL; /* that somebody else took out of the map */

	if (!v)
		return;
	v->id = id;
	sl_dp_split_key(&v->key, &split->at);
	v->split = split;
	sl_part_ref(&split->part);
	if (sl_map_put(&dp->versions, SL_KEY(&v->key), v, &before))
		before = v;
	(void)version_free(before); /* always NULL */
}

void sl_dp_flows_end(struct sl_datapath *dp, const struct sl_split_key *key,
		     const struct sl_split_val *val)
{
	struct version *v = sl_map_del(&dp->versions, SL_KEY(key));

	if (v && v->id == val->id)
		version_tell(dp, v, val);
	(void)version_free(v); /* always NULL */
}

void sl_dp_flows_free(struct sl_datapath *dp)
{
	struct version *v;
	size_t pos = 0;

	while ((v = sl_map_next(&dp->versions, &pos, NULL)))
		(void)version_free(v); /* always NULL */
	sl_map_deinit(&dp->versions);
}

void sl_datapath_on_flows(struct sl_datapath *dp, sl_datapath_flows_fn fn, void *arg)
{
	dp->flows_fn = fn;
	dp->flows_arg = arg;
}

void sl_datapath_flows_read(struct sl_datapath *dp)
{
	struct sl_split_val val;
	struct version *v;
	size_t pos = 0;

	while ((v = sl_map_next(&dp->versions, &pos, NULL))) {
		/* Another agent may have put another version in its place. */
		if (!bpf_map_lookup_elem(dp->map[SL_DP_SPLIT], &v->key, &val) && val.id == v->id)
			version_tell(dp, v, &val);
	}
}
