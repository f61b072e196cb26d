/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sl_svc and sl_ep follow the plan. The plan that was applied last tells what changed, a mirror of
 * what the maps hold tells what of it is there already, as after a restart.
 * Order within a service: new endpoints, then the service with their number, then what is surplus;
 * the hook at no time sees an index that is not there.
 */
#include "datapath/internal.h"

#include <bpf/bpf.h>
#include <errno.h>
#include "base/alloc.h"
#include "base/log.h"

struct sl_dp_service {
	struct sl_svc_key key;
	struct sl_svc_val val;
	struct sl_ep_val *endpoints; /* val.n_endpoints of them */
	bool unsure; /* a write failed in between: the next apply writes everything again */
};

static struct sl_dp_service *service_free(struct sl_dp_service *s)
{
	if (s)
		free(s->endpoints);
	free(s);
	return NULL;
}

void sl_dp_services_free(struct sl_datapath *dp)
{
	struct sl_dp_service *s;
	size_t pos = 0;

	while ((s = sl_map_next(&dp->services, &pos, NULL)))
		service_free(s);
	sl_map_deinit(&dp->services);
	sl_pmap_deinit(&dp->applied);
	sl_pmap_deinit(&dp->splits_applied);
	sl_dp_flows_free(dp);
}

static void key_set(struct sl_svc_key *key, const struct sl_addr *a)
{
	memset(key, 0, sizeof(*key));
	memcpy(key->addr, a->ip, sizeof(key->addr));
	key->port = a->port;
}

static void endpoint_set(struct sl_ep_val *ep, const struct sl_addr *a)
{
	memset(ep, 0, sizeof(*ep));
	memcpy(ep->addr, a->ip, sizeof(ep->addr));
	ep->port = a->port;
}

static int endpoint_write(struct sl_datapath *dp, uint32_t id, uint32_t index,
			  const struct sl_ep_val *ep)
{
	struct sl_ep_key key = {.id = id, .index = index};

	return sl_dp_map_error(bpf_map_update_elem(dp->map[SL_DP_EP], &key, ep, BPF_ANY));
}

static int endpoints_delete(struct sl_datapath *dp, uint32_t id, uint32_t from, uint32_t to)
{
	int first = 0;

	for (uint32_t i = from; i < to; i++) {
		struct sl_ep_key key = {.id = id, .index = i};
		int r = bpf_map_delete_elem(dp->map[SL_DP_EP], &key);

		if (r && r != -ENOENT && !first)
			first = r;
	}
	return first;
}

/* Writes those that differ; *ret_written is the number that is there afterwards, from index 0. */
static int endpoints_write(struct sl_datapath *dp, struct sl_dp_service *s,
			   const struct sl_ep_val *wanted, uint32_t n, uint32_t *ret_written)
{
	uint32_t i;
	int r = 0;

	for (i = 0; i < n; i++) {
		if (!s->unsure && i < s->val.n_endpoints &&
		    !memcmp(&wanted[i], &s->endpoints[i], sizeof(wanted[i])))
			continue;
		r = endpoint_write(dp, s->val.id, i, &wanted[i]);
		if (r)
			break;
	}
	*ret_written = i;
	return r;
}

/* Brings one service to what is wanted. On failure it is as it was or unsure. */
static int service_write(struct sl_datapath *dp, struct sl_dp_service *s,
			 const struct sl_svc_val *wanted, struct sl_ep_val **endpoints, bool is_new)
{
	uint32_t had = s->val.n_endpoints, written;
	struct sl_svc_val val = *wanted;
	int r_ep, r;

	r_ep = endpoints_write(dp, s, *endpoints, wanted->n_endpoints, &written);
	val.n_endpoints = written;
	r = 0;
	if (is_new || s->unsure || memcmp(&val, &s->val, sizeof(val)) != 0)
		r = sl_dp_map_error(
			bpf_map_update_elem(dp->map[SL_DP_SVC], &s->key, &val, BPF_ANY));
	if (r) {
		(void)endpoints_delete(dp, val.id, had, written); /* r is the error to tell */
		s->unsure = true;
		return r;
	}
	r = endpoints_delete(dp, val.id, written, had);
	free(s->endpoints);
	s->endpoints = *endpoints;
	*endpoints = NULL;
	s->val = val;
	/* Endpoints that do not fit are no reason to doubt the rest: the next apply tries the first
	 * of them, no more. */
	s->unsure = r != 0;
	return r_ep ? r_ep : r;
}

static bool service_is(const struct sl_dp_service *s, const struct sl_svc_val *val,
		       const struct sl_plan_service *want)
{
	struct sl_ep_val ep;

	if (s->unsure || memcmp(&s->val, val, sizeof(*val)) != 0)
		return false;
	for (uint32_t i = 0; i < want->n_endpoints; i++) {
		endpoint_set(&ep, &want->endpoints[i]);
		if (memcmp(&ep, &s->endpoints[i], sizeof(ep)) != 0)
			return false;
	}
	return true;
}

static enum sl_policy policy_of(enum sl_failure_policy p)
{
	switch (p) {
	case SL_FAIL_OPEN:
		return SL_POLICY_OPEN;
	case SL_FAIL_CLOSED:
		return SL_POLICY_CLOSED;
	default:
		return SL_POLICY_DEFAULT;
	}
}

/* All but the id. */
static void value_set(struct sl_svc_val *val, const struct sl_datapath *dp,
		      const struct sl_plan_service *want)
{
	size_t n = want->name.len < sizeof(val->name) ? want->name.len : sizeof(val->name) - 1;

	*val = (struct sl_svc_val){
		.n_endpoints = want->n_endpoints,
		.policy = policy_of(want->policy),
		.provider = dp->provider == SL_VIP_SELF ? SL_PROVIDER_SELF : SL_PROVIDER_OTHER,
	};
	if (n)
		memcpy(val->name, want->name.ptr, n);
}

static int service_new(struct sl_datapath *dp, const struct sl_svc_key *key,
		       struct sl_dp_service **ret)
{
	struct sl_dp_service *s = sl_new(struct sl_dp_service);
	int r;

	if (!s)
		return -ENOMEM;
	s->key = *key;
	r = sl_map_put(&dp->services, SL_KEY(&s->key), s, NULL);
	if (r) {
		service_free(s);
		return r;
	}
	*ret = s;
	return 0;
}

static void service_forget(struct sl_datapath *dp, struct sl_dp_service *s)
{
	(void)sl_map_del(&dp->services, SL_KEY(&s->key)); /* is s */
	service_free(s);
}

static int apply_one(struct sl_datapath *dp, const struct sl_plan_service *want)
{
	struct sl_svc_val val;
	struct sl_ep_val *endpoints;
	struct sl_dp_service *s;
	struct sl_svc_key key;
	bool is_new;
	int r;

	value_set(&val, dp, want);
	key_set(&key, &want->vip);
	s = sl_map_get(&dp->services, SL_KEY(&key));
	is_new = !s;
	if (s) {
		val.id = s->val.id;
		if (service_is(s, &val, want))
			return 0;
	}
	endpoints = sl_new_n(struct sl_ep_val, want->n_endpoints);
	if (!endpoints)
		return -ENOMEM;
	for (uint32_t i = 0; i < want->n_endpoints; i++)
		endpoint_set(&endpoints[i], &want->endpoints[i]);
	r = is_new ? service_new(dp, &key, &s) : 0;
	if (!r) {
		if (is_new)
			s->val.id = val.id = dp->next_id++;
		r = service_write(dp, s, &val, &endpoints, is_new);
		/* Not in the kernel: nor in the mirror. */
		if (endpoints && is_new)
			service_forget(dp, s);
	}
	free(endpoints);
	return r;
}

/* Entries of a plan that are not as they were applied before. */
struct difference {
	const struct sl_plan_service **items;
	size_t n, cap;
};

static int difference_add(void *arg, struct sl_str key, const struct sl_part *before,
			  const struct sl_part *after)
{
	struct difference *d = arg;

	if (!after)
		return 0; /* retract takes what went */
	if (d->n == d->cap) {
		size_t cap = d->cap ? d->cap * 2 : 8;
		const struct sl_plan_service **items =
			sl_reallocarray(d->items, cap, sizeof(*items));

		if (!items)
			return -ENOMEM;
		d->items = items;
		d->cap = cap;
	}
	d->items[d->n++] = sl_plan_service_of(after);
	return 0;
}

static int vip_cmp(const void *a, const void *b)
{
	const struct sl_plan_service *const *x = a, *const *y = b;

	return memcmp(&(*x)->vip, &(*y)->vip, sizeof((*x)->vip));
}

static int apply_reported(struct sl_datapath *dp, const struct sl_plan_service *s,
			  sl_datapath_failed_fn failed, void *arg)
{
	char vip[SL_ADDR_TEXT];
	int r = apply_one(dp, s);

	if (!r)
		return 0;
	sl_warn("service does not fit into the kernel's maps service=\"%.*s\" vip=%s error=\"%s\"",
		SL_STR_ARG(s->name), sl_addr_format(&s->vip, vip), sl_strerror(r));
	if (failed)
		failed(arg, s, r);
	return r;
}

int sl_datapath_apply(struct sl_datapath *dp, const struct sl_plan *plan,
		      sl_datapath_failed_fn failed, void *arg)
{
	struct difference d = {0};
	int first, r;

	if (dp->paused)
		return 0;
	first = sl_pmap_diff(&dp->applied, &plan->services, difference_add, &d);
	/* In the order of addresses: what fits does not depend on chance. */
	if (d.n)
		qsort(d.items, d.n, sizeof(*d.items), vip_cmp);
	for (size_t i = 0; i < d.n; i++) {
		r = apply_reported(dp, d.items[i], failed, arg);
		if (!first)
			first = r;
	}
	free(d.items);
	/* After a failure the next one looks at everything again. */
	sl_pmap_deinit(&dp->applied);
	if (!first)
		dp->applied = sl_pmap_copy(&plan->services);
	r = sl_dp_splits_apply(dp, plan);
	return first ? first : r;
}

static int service_remove(struct sl_datapath *dp, struct sl_dp_service *s)
{
	int r = bpf_map_delete_elem(dp->map[SL_DP_SVC], &s->key);

	if (r && r != -ENOENT)
		return r;
	r = endpoints_delete(dp, s->val.id, 0, s->val.n_endpoints);
	service_forget(dp, s);
	return r;
}

static bool is_wanted(const struct sl_plan *plan, const struct sl_dp_service *s)
{
	struct sl_addr vip = {.port = s->key.port};

	memcpy(vip.ip, s->key.addr, sizeof(vip.ip));
	return plan && sl_pmap_get(&plan->services, SL_KEY(&vip));
}

/* Whatever the mirror holds. */
static int retract_all(struct sl_datapath *dp, const struct sl_plan *plan)
{
	struct sl_dp_service *s;
	size_t pos = 0;
	int first = 0;

	while ((s = sl_map_next(&dp->services, &pos, NULL))) {
		int r = is_wanted(plan, s) ? 0 : service_remove(dp, s);

		if (r && !first)
			first = r;
	}
	return first;
}

static int retract_difference(void *arg, struct sl_str key, const struct sl_part *before,
			      const struct sl_part *after)
{
	struct sl_datapath *dp = arg;
	struct sl_dp_service *s;
	struct sl_svc_key k;

	if (after)
		return 0;
	key_set(&k, &sl_plan_service_of(before)->vip);
	s = sl_map_get(&dp->services, SL_KEY(&k));
	return s ? service_remove(dp, s) : 0;
}

/* Takes out of applied what the plan does not have. Returns 0 or -ENOMEM. */
static int applied_trim(void *arg, struct sl_str key, const struct sl_part *before,
			const struct sl_part *after)
{
	return after ? 0 : sl_pmap_del(arg, key);
}

int sl_datapath_retract(struct sl_datapath *dp, const struct sl_plan *plan)
{
	struct sl_pmap before;
	int r, r_splits;

	if (dp->paused)
		return 0;
	r_splits = sl_dp_splits_retract(dp, plan);
	before = sl_pmap_copy(&dp->applied);
	if (!plan || !before.n)
		r = retract_all(dp, plan);
	else
		r = sl_pmap_diff(&before, &plan->services, retract_difference, dp);
	/* The next apply looks at everything again when it is not known what is there. */
	if (r || !plan || sl_pmap_diff(&before, &plan->services, applied_trim, &dp->applied))
		sl_pmap_deinit(&dp->applied);
	sl_pmap_deinit(&before);
	return r ? r : r_splits;
}

/* What an earlier agent left: the endpoints that belong to no service, or to no index of it. */
static int endpoints_sweep(struct sl_datapath *dp, const struct sl_map *by_id)
{
	struct sl_ep_key key, next;
	void *from = NULL;
	int r;

	while (!(r = bpf_map_get_next_key(dp->map[SL_DP_EP], from, &next))) {
		/* Look further before deleting: the deleted key would start the walk anew. */
		if (from) {
			struct sl_dp_service *s = sl_map_get(by_id, SL_KEY(&key.id));

			if (!s || key.index >= s->val.n_endpoints)
				(void)bpf_map_delete_elem(dp->map[SL_DP_EP], &key);
		}
		key = next;
		from = &key;
	}
	if (r == -ENOENT && from) {
		struct sl_dp_service *s = sl_map_get(by_id, SL_KEY(&key.id));

		if (!s || key.index >= s->val.n_endpoints)
			(void)bpf_map_delete_elem(dp->map[SL_DP_EP], &key);
	}
	return r == -ENOENT ? 0 : r;
}

static int service_load(struct sl_datapath *dp, const struct sl_svc_key *key)
{
	struct sl_dp_service *s;
	int r = service_new(dp, key, &s);

	if (r)
		return r;
	r = bpf_map_lookup_elem(dp->map[SL_DP_SVC], key, &s->val);
	if (r)
		return r;
	s->endpoints = sl_new_n(struct sl_ep_val, s->val.n_endpoints);
	if (!s->endpoints)
		return -ENOMEM;
	for (uint32_t i = 0; i < s->val.n_endpoints; i++) {
		struct sl_ep_key ep = {.id = s->val.id, .index = i};

		if (bpf_map_lookup_elem(dp->map[SL_DP_EP], &ep, &s->endpoints[i]))
			s->unsure = true;
	}
	if (s->val.id >= dp->next_id)
		dp->next_id = s->val.id + 1;
	return 0;
}

int sl_dp_services_load(struct sl_datapath *dp)
{
	struct sl_map by_id = SL_MAP_INIT;
	struct sl_dp_service *s;
	struct sl_svc_key key;
	void *from = NULL;
	size_t pos = 0;
	int r;

	dp->next_id = 1;
	while (!(r = bpf_map_get_next_key(dp->map[SL_DP_SVC], from, &key))) {
		r = service_load(dp, &key);
		if (r)
			return r;
		from = &key;
	}
	if (r != -ENOENT)
		return r;
	r = 0;
	while (!r && (s = sl_map_next(&dp->services, &pos, NULL)))
		r = sl_map_put(&by_id, SL_KEY(&s->val.id), s, NULL);
	if (!r)
		r = endpoints_sweep(dp, &by_id);
	sl_map_deinit(&by_id);
	return r;
}
