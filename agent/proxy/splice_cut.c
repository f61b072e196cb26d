/* SPDX-License-Identifier: Apache-2.0 */
/* Spliced connections that must not go on: whose reader would wait for ever, or whose endpoint is
 * where nobody else reaches it. */
#include "proxy/splice.h"
#include "proxy/state.h"

/* Its owner's connection ends with a reset. */
static void cut(struct sl_splice *s)
{
	struct sl_sock *own = s->sock;
	struct sl_upconn *u;

	if (s->hop == SL_SPLICE_CLIENT) {
		sl_conn_kill(sl_container_of(own, struct sl_conn, sock), SL_END_SPLICE);
		return;
	}
	u = sl_container_of(own, struct sl_upconn, sock);
	if (u->wakes)
		sl_sock_break(own);
	else
		sl_upconn_discard(u);
}

static bool has_address(const struct sl_source *source, const struct sl_addr *a)
{
	for (uint32_t i = 0; source && i < source->n_addrs; i++) {
		if (!memcmp(source->addrs[i].ip, a->ip, sizeof(a->ip)))
			return true;
	}
	return false;
}

void sl_splice_review_endpoints(struct sl_proxy *p, uint64_t app_netns,
				const struct sl_source *source)
{
	struct sl_list *const lists[] = {&p->splice_asking, &p->splice_quiet};

	for (size_t i = 0; i < sizeof(lists) / sizeof(*lists); i++) {
		sl_list_foreach_safe (n, lists[i]) {
			struct sl_splice *s = sl_container_of(n, struct sl_splice, node);
			const struct sl_upconn *u =
				sl_container_of(s->sock, struct sl_upconn, sock);

			if (s->hop == SL_SPLICE_ENDPOINT && s->app_netns == app_netns &&
			    !sl_addr_is_loopback(&u->pooled.endpoint) &&
			    !has_address(source, &u->pooled.endpoint))
				cut(s);
		}
	}
}

void sl_proxy_splice_cut(struct sl_proxy *p, uint64_t app_cookie)
{
	struct sl_list *const lists[] = {&p->splice_asking, &p->splice_quiet};

	/* Of a socket that nobody ever asked for its cookie, and of hops that are not IN. */
	if (!app_cookie)
		return;
	for (size_t i = 0; i < sizeof(lists) / sizeof(*lists); i++) {
		sl_list_foreach (n, lists[i]) {
			struct sl_splice *s = sl_container_of(n, struct sl_splice, node);

			if (__atomic_load_n(s->lease.app_cookie, __ATOMIC_RELAXED) != app_cookie)
				continue;
			cut(s);
			return;
		}
	}
}
