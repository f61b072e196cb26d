/* SPDX-License-Identifier: Apache-2.0 */
/* Which connections may be candidates: by option, annotation, age, and where the other end is. */
#include <errno.h>
#include "proxy/splice.h"
#include "proxy/state.h"

static enum sl_splice_why by_policy(const struct sl_proxy *p, enum sl_splice_policy service,
				    enum sl_splice_policy pod, bool vouched)
{
	if (!p->host.splice.open)
		return SL_SPLICE_OFF;
	if (service == SL_SPLICE_DISABLED)
		return SL_SPLICE_SERVICE;
	if (pod == SL_SPLICE_DISABLED)
		return SL_SPLICE_POD;
	if (p->host.splice.vouched_only && !vouched)
		return SL_SPLICE_NOT_VOUCHED;
	return SL_SPLICE_NONE;
}

static enum sl_splice_why client_policy(const struct sl_conn *c)
{
	/* The Service's annotation speaks for its servers, not for whoever calls them. */
	return by_policy(c->proxy, c->frontend ? c->frontend->splice : SL_SPLICE_BY_DEFAULT,
			 c->client.splice, c->client.splice == SL_SPLICE_ENABLED);
}

void sl_splice_consider_client(struct sl_conn *c)
{
	struct sl_sock *own = &c->sock;
	enum sl_splice_why why;

	if (own->splice || own->splice_why || c->n_requests < c->proxy->opts.splice_exchanges ||
	    c->proxy->giving)
		return;
	sl_conn_resolve(c);
	why = client_policy(c);
	if (why)
		sl_splice_never(c->proxy, own, why);
	else
		sl_splice_open(c->proxy, own, SL_SPLICE_CLIENT, c->source->cookie);
}

void sl_splice_review_client(struct sl_conn *c)
{
	enum sl_splice_why why = c->sock.splice ? client_policy(c) : SL_SPLICE_NONE;

	if (why)
		sl_splice_leave(&c->sock, why);
}

/* Where the endpoint is: the cookie of the one namespace served here that has its address, else 0.
 * Two that have it belong to networks that do not know of each other. */
static uint64_t netns_of(const struct sl_proxy_source *from, const struct sl_addr *endpoint)
{
	struct sl_proxy_source *src;
	uint64_t cookie = 0;
	size_t pos = 0;

	if (sl_addr_is_loopback(endpoint))
		return from->cookie;
	while ((src = sl_map_next(&from->proxy->sources, &pos, NULL))) {
		for (uint32_t i = 0; i < src->source->n_addrs; i++) {
			if (memcmp(src->source->addrs[i].ip, endpoint->ip, sizeof(endpoint->ip)))
				continue;
			if (cookie && cookie != src->cookie)
				return 0;
			cookie = src->cookie;
		}
	}
	return cookie;
}

static enum sl_splice_why endpoint_policy(const struct sl_stream *s, const struct sl_upconn *u)
{
	const struct sl_proxy *p = u->proxy;
	const struct sl_upstream *up = sl_stream_upstream(s);
	const struct sl_pod_ref *ref = sl_snapshot_pod_by_ip(p->config->snap, &u->pooled.endpoint);
	enum sl_splice_policy service = up ? up->splice : SL_SPLICE_BY_DEFAULT;
	enum sl_splice_policy pod = ref ? ref->splice : SL_SPLICE_BY_DEFAULT;

	return by_policy(p, service, pod, service == SL_SPLICE_ENABLED || pod == SL_SPLICE_ENABLED);
}

void sl_splice_consider_endpoint(struct sl_stream *s, struct sl_upconn *u)
{
	struct sl_sock *own = &u->sock;
	struct sl_proxy *p = u->proxy;
	enum sl_splice_why why;
	uint64_t app_netns;

	if (own->splice_why || u->n_exchanges < p->opts.splice_exchanges || p->giving)
		return;
	if (own->splice && u->splice_seen == p->config_generation)
		return;
	if (own->tls) {
		sl_splice_never(p, own, SL_SPLICE_PROTOCOL);
		return;
	}
	u->splice_seen = p->config_generation;
	why = endpoint_policy(s, u);
	if (own->splice) {
		if (why)
			sl_splice_leave(own, why);
		return;
	}
	app_netns = why ? 0 : netns_of(s->conn->source, &u->pooled.endpoint);
	if (!why && !app_netns)
		why = SL_SPLICE_REMOTE;
	if (why)
		sl_splice_never(p, own, why);
	else
		sl_splice_open(p, own, SL_SPLICE_ENDPOINT, app_netns);
}
