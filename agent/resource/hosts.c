/* SPDX-License-Identifier: Apache-2.0 */
#include "resource/hosts.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include "base/alloc.h"

static int addr_cmp(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct sl_addr));
}

int sl_host_new(struct sl_str name, const struct sl_addr *addrs, uint32_t n, struct sl_host **ret)
{
	size_t bytes = n * sizeof(*addrs);
	struct sl_host *h = sl_calloc(1, sizeof(*h) + bytes + name.len);
	char *text;

	if (!h)
		return -ENOMEM;
	h->refs = 1;
	h->n_addrs = n;
	if (n)
		memcpy(h->addrs, addrs, bytes);
	if (n)
		qsort(h->addrs, n, sizeof(*addrs), addr_cmp);
	text = (char *)(h->addrs + n);
	memcpy(text, name.ptr, name.len);
	h->name = (struct sl_str){text, name.len};
	*ret = h;
	return 0;
}

struct sl_host *sl_host_ref(struct sl_host *h)
{
	if (h)
		h->refs++;
	return h;
}

struct sl_host *sl_host_unref(struct sl_host *h)
{
	assert(!h || h->refs);
	if (h && --h->refs == 0)
		free(h);
	return NULL;
}

bool sl_host_eq(const struct sl_host *a, const struct sl_host *b)
{
	if (!a || !b)
		return a == b;
	return sl_str_eq(a->name, b->name) && a->n_addrs == b->n_addrs &&
	       (!a->n_addrs || !memcmp(a->addrs, b->addrs, a->n_addrs * sizeof(*a->addrs)));
}

void sl_hosts_deinit(struct sl_hosts *h)
{
	struct sl_host *host;
	size_t pos = 0;

	while ((host = sl_map_next(&h->by_name, &pos, NULL)))
		(void)sl_host_unref(host); /* always NULL */
	sl_map_deinit(&h->by_name);
}

int sl_hosts_put(struct sl_hosts *h, struct sl_host *host)
{
	struct sl_host *old = sl_hosts_get(h, host->name);
	int r = sl_map_put(&h->by_name, host->name, host, NULL); /* the key is the new one's */

	(void)sl_host_unref(r ? host : old); /* always NULL */
	return r;
}

bool sl_hosts_drop(struct sl_hosts *h, struct sl_str name)
{
	struct sl_host *old = sl_map_del(&h->by_name, name);

	(void)sl_host_unref(old); /* always NULL */
	return old;
}

struct sl_host *sl_hosts_get(const struct sl_hosts *h, struct sl_str name)
{
	return sl_map_get(&h->by_name, name);
}
