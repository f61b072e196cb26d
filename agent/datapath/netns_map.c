/* SPDX-License-Identifier: Apache-2.0 */
/* sl_netns and sl_addr: where the agent listens, and which addresses belong there. */
#include "datapath/internal.h"

#include <bpf/bpf.h>
#include <errno.h>
#include "base/alloc.h"
#include "base/cleanup.h"

#define MAX_ADDR4 250

int sl_datapath_netns_set(struct sl_datapath *dp, uint64_t cookie, const struct sl_netns_entry *e)
{
	struct sl_netns_val val = {
		.port4 = e->port4,
		.port6 = e->port6,
		.n_addr4 = e->n_addr4 ? e->n_addr4 : 1,
	};

	if (e->n_addr4 > MAX_ADDR4)
		return -EINVAL;
	if (dp->paused)
		return 0;
	memcpy(val.source4, e->source4.ip, sizeof(val.source4));
	memcpy(val.source6, e->source6.ip, sizeof(val.source6));
	return sl_dp_map_error(bpf_map_update_elem(dp->map[SL_DP_NETNS], &cookie, &val, BPF_ANY));
}

static void addr_key(struct sl_addr_key *key, uint64_t cookie, const struct sl_addr *a)
{
	memset(key, 0, sizeof(*key));
	key->netns = cookie;
	memcpy(key->addr, a->ip, sizeof(key->addr));
}

int sl_datapath_addr_set(struct sl_datapath *dp, uint64_t cookie, const struct sl_addr *a)
{
	struct sl_addr_key key;
	uint32_t one = 1;

	if (dp->paused)
		return 0;
	addr_key(&key, cookie, a);
	return sl_dp_map_error(bpf_map_update_elem(dp->map[SL_DP_ADDR], &key, &one, BPF_ANY));
}

int sl_datapath_addr_del(struct sl_datapath *dp, uint64_t cookie, const struct sl_addr *a)
{
	struct sl_addr_key key;
	int r;

	if (dp->paused)
		return 0;
	addr_key(&key, cookie, a);
	r = bpf_map_delete_elem(dp->map[SL_DP_ADDR], &key);
	return r == -ENOENT ? 0 : r;
}

/* Collect first, delete then: deleting the current key would start the walk anew. All these maps
 * have the cookie in front of their keys. */
static int delete_where(int fd, size_t key_bytes,
			bool (*wanted)(uint64_t cookie, const uint64_t *cookies, size_t n),
			const uint64_t *cookies, size_t n)
{
	_cleanup_(sl_freep) char *gone = NULL;
	_Alignas(8) char key[sizeof(struct sl_flow_key)]; /* the longest */
	size_t n_gone = 0, room = 0;
	void *from = NULL;
	int r;

	while (!(r = bpf_map_get_next_key(fd, from, key))) {
		uint64_t cookie;

		from = key;
		memcpy(&cookie, key, sizeof(cookie));
		if (!wanted(cookie, cookies, n))
			continue;
		if (n_gone == room) {
			char *more = sl_reallocarray(gone, room ? room * 2 : 64, key_bytes);

			if (!more)
				return -ENOMEM;
			gone = more;
			room = room ? room * 2 : 64;
		}
		memcpy(gone + n_gone++ * key_bytes, key, key_bytes);
	}
	if (r != -ENOENT)
		return r;
	for (size_t i = 0; i < n_gone; i++) {
		r = bpf_map_delete_elem(fd, gone + i * key_bytes);
		if (r && r != -ENOENT)
			return r;
	}
	return 0;
}

static bool is_among(uint64_t cookie, const uint64_t *cookies, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (cookies[i] == cookie)
			return true;
	return false;
}

static bool is_not_among(uint64_t cookie, const uint64_t *cookies, size_t n)
{
	return !is_among(cookie, cookies, n);
}

int sl_datapath_netns_del(struct sl_datapath *dp, uint64_t cookie)
{
	int r;

	if (dp->paused)
		return 0;
	r = bpf_map_delete_elem(dp->map[SL_DP_NETNS], &cookie);
	if (r && r != -ENOENT)
		return r;
	return delete_where(dp->map[SL_DP_ADDR], sizeof(struct sl_addr_key), is_among, &cookie, 1);
}

int sl_datapath_netns_prune(struct sl_datapath *dp, const uint64_t *cookies, size_t n)
{
	int r;

	if (dp->paused)
		return 0;
	r = delete_where(dp->map[SL_DP_NETNS], sizeof(uint64_t), is_not_among, cookies, n);
	if (r)
		return r;
	return delete_where(dp->map[SL_DP_ADDR], sizeof(struct sl_addr_key), is_not_among, cookies,
			    n);
}

static bool is_any(uint64_t cookie, const uint64_t *cookies, size_t n)
{
	return true;
}

int sl_dp_flows_clear(struct sl_datapath *dp)
{
	return delete_where(dp->map[SL_DP_FLOW], sizeof(struct sl_flow_key), is_any, NULL, 0);
}
