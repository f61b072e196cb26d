/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who pays when memory is tight. A client of HTTP/2 can have a hundred answers begun and take none
 * of them; some connections of that kind would fill what the queues of all may hold, and then every
 * other client would get 503. So the connection that holds the most goes, if that is far more than
 * its share.
 */
#include "base/clock.h"
#include "proxy/mux.h"
#include "proxy/down_h2.h"

/* Looking at all connections costs: not for each request. */
#define PAUSE_NS (10 * SL_NS_PER_MS)
/* When nobody was there to be cut. */
#define LONG_PAUSE_NS (100 * SL_NS_PER_MS)

enum { SHARES = 64 };

/* With what its streams hold on the endpoints' side. */
static uint64_t held_by(const struct sl_conn *c)
{
	uint64_t n = c->buffered_bytes;

	sl_list_foreach (node, &c->h2->streams) {
		const struct sl_stream *s = sl_container_of(node, struct sl_stream, node);
		const struct sl_exchange *x = s->attempt.x;

		n += s->buffered_bytes;
		if (x)
			n += sl_buf_len(&x->h2.in) + sl_buf_len(&x->h2.out);
	}
	return n;
}

static struct sl_conn *find_heaviest(struct sl_proxy *p)
{
	uint64_t most = p->opts.max_buffered_bytes / SHARES;
	struct sl_conn *heaviest = NULL;
	struct sl_proxy_source *src;
	size_t pos = 0;

	while ((src = sl_map_next(&p->sources, &pos, NULL))) {
		sl_list_foreach (node, &src->conns) {
			struct sl_conn *c = sl_container_of(node, struct sl_conn, node);
			uint64_t n = c->state == SL_CONN_HTTP2 ? held_by(c) : 0;

			if (n <= most)
				continue;
			most = n;
			heaviest = c;
		}
	}
	return heaviest;
}

/* Nothing may come that would have somebody look again: everybody may wait for a window. */
static void look_later(struct sl_proxy *p)
{
	if (!p->shed_timer.loop)
		sl_timer_arm(p->loop, &p->shed_timer, p->shed_next_ns);
}

void sl_proxy_shed(struct sl_proxy *p)
{
	uint64_t now = sl_loop_now(p->loop);
	struct sl_conn *heaviest;

	if (!sl_proxy_is_tight(p))
		return;
	if (now >= p->shed_next_ns) {
		heaviest = find_heaviest(p);
		p->shed_next_ns = now + (heaviest ? PAUSE_NS : LONG_PAUSE_NS);
		if (heaviest) {
			heaviest->h2->too_heavy = true;
			sl_conn_wake(heaviest);
		}
	}
	look_later(p);
}

void sl_shed_on_timer(struct sl_timer *t)
{
	struct sl_proxy *p = sl_container_of(t, struct sl_proxy, shed_timer);

	sl_proxy_shed(p);
	if (sl_proxy_is_tight(p))
		return;
	sl_list_foreach (n, &p->debtors)
		sl_task_queue(p->loop, sl_container_of(n, struct sl_debtor, node)->task);
}

bool sl_shed_is_tight(struct sl_proxy *p, struct sl_debtor *d)
{
	if (!sl_proxy_is_tight(p))
		return false;
	if (sl_list_empty(&d->node))
		sl_list_append(&p->debtors, &d->node);
	look_later(p);
	return true;
}

void sl_shed_pay(const struct sl_proxy *p, struct sl_debtor *d, struct sl_h2 *session)
{
	if (sl_list_empty(&d->node) || sl_proxy_is_tight(p))
		return;
	sl_list_remove(&d->node);
	sl_h2_pay(session);
}
