/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One pod does not starve another. Of what is scarce a source may have as much as is still free for
 * the others (dynamic thresholds, Choudhury and Hahne 1998): half of all when it is alone, a third
 * when two of them want everything, and there is always some left for who comes next. Nobody has to
 * know how many there are.
 */
#include "proxy/state.h"

/* One of these of all buffers is had by each, until they are over the limit by so much. */
enum { RESERVED_PARTS = 64, OVERDRAFT = 4 };

static bool is_used_up(uint64_t own, uint64_t all, uint64_t max)
{
	return all >= max || own >= max - all;
}

static bool has_conn(const struct sl_proxy_source *src)
{
	const struct sl_proxy *p = src->proxy;
	uint64_t own = (uint64_t)src->n_conns, max = p->opts.share_descriptors;

	if (max && is_used_up(own, p->n_conns + p->n_leased, max))
		return false;
	return !is_used_up(own, p->n_conns, p->opts.max_conns);
}

/* Who has little is served although the others have filled what there is: queues fill behind
 * connections that were let in long ago. */
static bool has_buffers(const struct sl_proxy_source *src)
{
	const struct sl_proxy *p = src->proxy;
	uint64_t max = p->opts.max_buffered_bytes;

	if (src->buffered_bytes < max / RESERVED_PARTS)
		return p->buffered_bytes < OVERDRAFT * max;
	return !is_used_up(src->buffered_bytes, p->buffered_bytes, max);
}

enum sl_limit sl_share_refuses_request(const struct sl_proxy_source *src)
{
	const struct sl_proxy *p = src->proxy;

	if (has_buffers(src))
		return SL_LIMIT_NONE;
	return p->buffered_bytes >= p->opts.max_buffered_bytes ? SL_LIMIT_BUFFERED_BYTES
							       : SL_LIMIT_POD_BUFFERED_BYTES;
}

enum sl_limit sl_share_refuses_conn(const struct sl_proxy_source *src)
{
	if (src->proxy->n_conns >= src->proxy->opts.max_conns)
		return SL_LIMIT_CONNECTIONS;
	return has_conn(src) ? sl_share_refuses_request(src) : SL_LIMIT_POD_CONNECTIONS;
}
