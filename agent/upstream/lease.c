/* SPDX-License-Identifier: Apache-2.0 */
/* Requests and connections that are under way, where a policy wants to know. */
#include "upstream/lb.h"

/* False: it has reached the limit. */
static bool take(atomic_uint *n, uint32_t max)
{
	if (atomic_fetch_add_explicit(n, 1, memory_order_relaxed) < max || !max)
		return true;
	atomic_fetch_sub_explicit(n, 1, memory_order_relaxed);
	return false;
}

static void give(atomic_uint *n)
{
	atomic_fetch_sub_explicit(n, 1, memory_order_relaxed);
}

static void lease(struct sl_lb_lease *l, const struct sl_upstream *up, uint32_t endpoint)
{
	sl_part_ref(&up->part);
	*l = (struct sl_lb_lease){.up = up, .endpoint = endpoint};
}

static void let_go(struct sl_lb_lease *l)
{
	sl_part_unref(&l->up->part);
	*l = (struct sl_lb_lease){0};
}

enum sl_lb_limit sl_lb_begin(struct sl_lb_lease *l, const struct sl_upstream *up,
			     const struct sl_endpoint *e)
{
	const struct sl_balance *b = up->balance;
	uint32_t i = (uint32_t)(e - up->endpoints);

	if (!b || !b->loads)
		return SL_LB_GRANTED;
	if (!take(&b->load->requests, b->limits.requests))
		return SL_LB_REQUESTS;
	if (!take(&b->loads[i]->requests, b->limits.endpoint_requests)) {
		give(&b->load->requests);
		return SL_LB_REQUESTS;
	}
	lease(l, up, i);
	return SL_LB_GRANTED;
}

enum sl_lb_limit sl_lb_wait(struct sl_lb_lease *l)
{
	const struct sl_balance *b = l->up ? l->up->balance : NULL;

	if (!b || l->pending)
		return SL_LB_GRANTED;
	l->pending = take(&b->load->pending, b->limits.pending);
	return l->pending ? SL_LB_GRANTED : SL_LB_PENDING;
}

void sl_lb_waited(struct sl_lb_lease *l)
{
	if (l->pending)
		give(&l->up->balance->load->pending);
	l->pending = false;
}

bool sl_lb_end(struct sl_lb_lease *l, enum sl_outcome outcome, uint64_t latency_ns, uint64_t now_ns)
{
	const struct sl_balance *b = l->up ? l->up->balance : NULL;
	struct sl_load *endpoint = b ? b->loads[l->endpoint] : NULL;
	bool ejected;

	if (!b)
		return false;
	sl_lb_waited(l);
	if (latency_ns && b->balancer == SL_BALANCER_PEAK_EWMA)
		sl_latency_note(endpoint, latency_ns, now_ns);
	ejected = sl_outlier_note(l->up, l->endpoint, outcome, now_ns);
	give(&endpoint->requests);
	give(&b->load->requests);
	let_go(l);
	return ejected;
}

enum sl_lb_limit sl_lb_connect(struct sl_lb_lease *connection, const struct sl_lb_lease *request)
{
	const struct sl_balance *b = request && request->up ? request->up->balance : NULL;

	if (!b)
		return SL_LB_GRANTED;
	if (!take(&b->load->connections, b->limits.connections))
		return SL_LB_CONNECTIONS;
	if (!take(&b->loads[request->endpoint]->connections, b->limits.endpoint_connections)) {
		give(&b->load->connections);
		return SL_LB_CONNECTIONS;
	}
	lease(connection, request->up, request->endpoint);
	return SL_LB_GRANTED;
}

void sl_lb_disconnect(struct sl_lb_lease *connection)
{
	const struct sl_balance *b = connection->up ? connection->up->balance : NULL;

	if (!b)
		return;
	give(&b->loads[connection->endpoint]->connections);
	give(&b->load->connections);
	let_go(connection);
}

uint32_t sl_lb_requests_per_connection(const struct sl_lb_lease *request)
{
	return request->up ? request->up->balance->limits.requests_per_connection : 0;
}
