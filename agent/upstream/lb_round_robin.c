/* SPDX-License-Identifier: Apache-2.0 */
#include "upstream/upstream.h"

#include <errno.h>
#include "base/alloc.h"
#include "base/cleanup.h"
#include "upstream/random.h"

/* What is kept for one upstream; outlives snapshots, so that endpoint churn does not restart the
 * round. */
struct round {
	struct sl_str key; /* of the upstream; bytes follow the struct */
	uint64_t next;
	char bytes[];
};

struct sl_lb {
	struct sl_map rounds; /* round.key -> struct round */
	uint64_t random;
};

int sl_lb_new(struct sl_lb **ret)
{
	struct sl_lb *lb = sl_new(struct sl_lb);

	if (!lb)
		return -ENOMEM;
	lb->random = sl_random_seed();
	*ret = lb;
	return 0;
}

struct sl_lb *sl_lb_free(struct sl_lb *lb)
{
	struct round *round;
	size_t pos = 0;

	if (!lb)
		return NULL;
	while ((round = sl_map_next(&lb->rounds, &pos, NULL)))
		free(round);
	sl_map_deinit(&lb->rounds);
	free(lb);
	return NULL;
}

/* Each worker starts anywhere in the round: none of them favours the first endpoint. NULL when out
 * of memory. */
static struct round *find_round(struct sl_lb *lb, struct sl_str key)
{
	struct round *found = sl_map_get(&lb->rounds, key);
	_cleanup_(sl_freep) struct round *round = NULL;

	if (found)
		return found;
	round = sl_malloc(sizeof(*round) + key.len);
	if (!round)
		return NULL;
	round->next = sl_random_next(&lb->random) >> 32;
	round->key = (struct sl_str){round->bytes, key.len};
	if (key.len)
		memcpy(round->bytes, key.ptr, key.len);
	if (sl_map_put(&lb->rounds, round->key, round, NULL))
		return NULL;
	return sl_take(round);
}

const struct sl_endpoint *sl_lb_pick(struct sl_lb *lb, const struct sl_upstream *up,
				     const struct sl_addr *avoid)
{
	const struct sl_endpoint *e;
	struct round *round;
	uint64_t at;

	if (up->n_ready == 0)
		return NULL;
	round = find_round(lb, up->key);
	/* Out of memory, any endpoint serves. */
	at = round ? round->next++ : sl_random_next(&lb->random);
	e = &up->endpoints[at % up->n_ready];
	if (!avoid || up->n_ready == 1 || !sl_addr_eq(&e->addr, avoid))
		return e;
	if (round)
		round->next++;
	return &up->endpoints[(at + 1) % up->n_ready];
}

static int forget_gone(void *arg, struct sl_str key, const struct sl_part *before,
		       const struct sl_part *after)
{
	struct sl_lb *lb = arg;

	if (!after)
		free(sl_map_del(&lb->rounds, key));
	return 0;
}

void sl_lb_prune(struct sl_lb *lb, const struct sl_snapshot *before,
		 const struct sl_snapshot *after)
{
	if (before)
		(void)sl_pmap_diff(&before->upstreams, &after->upstreams, forget_gone, lb); /* 0 */
}
