/* SPDX-License-Identifier: Apache-2.0 */
/* What a request carries chooses the endpoint, the same in every worker and on every node. */
#include "upstream/lb.h"
#include "upstream/random.h"

/* Further places of a key whose endpoint is out. */
enum { REHASHES = 16 };

static uint32_t pick(const struct sl_lb_choice *c)
{
	const struct sl_balance *b = c->up->balance;
	bool by_client = b->hash == SL_HASH_CLIENT || b->balancer != SL_BALANCER_HASH;
	uint64_t key = c->ask->hash;
	uint32_t i = 0;

	if (by_client && c->ask->client)
		key = sl_balance_hash((struct sl_str){(const char *)c->ask->client->ip,
						      sizeof(c->ask->client->ip)});
	else if (by_client || !c->ask->hashed)
		return sl_lb_round_robin.pick(c); /* it carries nothing */
	for (int k = 0; k < REHASHES; k++) {
		i = b->slots[key % SL_HASH_SLOTS];
		if (sl_lb_takes(c, i))
			return i;
		key = sl_random_next(&key);
	}
	return sl_lb_scan(c, i);
}

const struct sl_lb_ops sl_lb_hash = {.pick = pick};
