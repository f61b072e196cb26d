/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sessionAffinity ClientIP: a client stays with its endpoint for as long as it comes back in time.
 * New clients are placed by hashing, so that workers agree without asking each other; what a worker
 * remembers keeps a client where it is when endpoints are added.
 */
#include "base/alloc.h"
#include "base/clock.h"
#include "upstream/lb.h"

/* Clients are pods of this node. Past the limit hashing alone decides. */
enum { MAX_CLIENTS = 8192 };

struct client {
	struct sl_addr addr; /* port 0: the key */
	struct sl_addr endpoint;
	uint64_t seen_ns;
};

struct sl_lb_clients {
	struct sl_map by_addr;
	uint64_t swept_ns;
};

struct sl_lb_clients *sl_lb_clients_free(struct sl_lb_clients *cs)
{
	struct client *cl;
	size_t pos = 0;

	while (cs && (cl = sl_map_next(&cs->by_addr, &pos, NULL)))
		free(cl);
	if (cs)
		sl_map_deinit(&cs->by_addr);
	free(cs);
	return NULL;
}

/* Of those that have not come back in time, once in as long. */
static void sweep(struct sl_lb_clients *cs, uint64_t now_ns, uint64_t timeout_ns)
{
	struct client *cl;
	struct sl_str key;
	size_t pos = 0;

	if (now_ns - cs->swept_ns < timeout_ns)
		return;
	cs->swept_ns = now_ns;
	while ((cl = sl_map_next(&cs->by_addr, &pos, &key))) {
		if (now_ns - cl->seen_ns <= timeout_ns)
			continue;
		(void)sl_map_del(&cs->by_addr, key); /* it is there */
		free(cl);
	}
}

/* NULL: out of memory, or of room. */
static struct client *add(struct sl_lb_state *state, const struct sl_addr *addr)
{
	struct sl_lb_clients *cs = state->clients;
	struct client *cl;

	if (!cs)
		cs = state->clients = sl_new(struct sl_lb_clients);
	if (!cs || cs->by_addr.n >= MAX_CLIENTS)
		return NULL;
	cl = sl_new(struct client);
	if (!cl)
		return NULL;
	cl->addr = *addr;
	if (sl_map_put(&cs->by_addr, SL_KEY(&cl->addr), cl, NULL)) {
		free(cl);
		return NULL;
	}
	return cl;
}

static uint32_t find_endpoint(const struct sl_lb_choice *c, const struct sl_addr *addr)
{
	for (uint32_t i = 0; i < c->up->n_usable; i++) {
		if (sl_addr_eq(&c->up->endpoints[i].addr, addr))
			return sl_lb_takes(c, i) ? i : SL_LB_NONE;
	}
	return SL_LB_NONE;
}

uint32_t sl_lb_stay(const struct sl_lb_choice *c, uint32_t (*pick)(const struct sl_lb_choice *c))
{
	struct sl_lb_clients *cs = c->state ? c->state->clients : NULL;
	uint64_t timeout_ns = c->up->balance->affinity_ns, now = c->ask->now_ns;
	uint32_t i = SL_LB_NONE;
	struct sl_addr key;
	struct client *cl;

	if (!c->state || !c->ask->client)
		return pick(c);
	key = *c->ask->client;
	key.port = 0;
	cl = cs ? sl_map_get(&cs->by_addr, SL_KEY(&key)) : NULL;
	if (cl && now - cl->seen_ns <= timeout_ns)
		i = find_endpoint(c, &cl->endpoint);
	if (i == SL_LB_NONE)
		i = pick(c);
	if (i == SL_LB_NONE)
		return i;
	if (!cl)
		cl = add(c->state, &key);
	if (cl) {
		cl->endpoint = c->up->endpoints[i].addr;
		cl->seen_ns = now;
	}
	if (c->state->clients)
		sweep(c->state->clients, now, timeout_ns);
	return i;
}
