/* SPDX-License-Identifier: Apache-2.0 */
/* CORS filters as the proxy compares and sends. */
#include <assert.h>
#include <errno.h>
#include "compile/work.h"

static bool is_any(const struct sl_texts *list)
{
	return list->n == 1 && sl_str_eqc(list->items[0], "*");
}

static int join(struct sl_arena *a, const struct sl_texts *list, struct sl_str *ret)
{
	size_t len = 0;
	char *p;

	for (uint32_t i = 0; i < list->n; i++)
		len += list->items[i].len + 2;
	p = sl_arena_alloc(a, len + 1);
	if (!p)
		return -ENOMEM;
	*ret = (struct sl_str){p, len ? len - 2 : 0};
	for (uint32_t i = 0; i < list->n; i++) {
		struct sl_str s = list->items[i];

		if (i) {
			memcpy(p, ", ", 2);
			p += 2;
		}
		memcpy(p, s.ptr, s.len);
		p += s.len;
	}
	return 0;
}

/* text: as the decoder lets it through, not "*". */
static int origin_build(struct sl_arena *a, struct sl_str text, struct sl_cors_origin *ret)
{
	const char *colon;
	uint64_t port;
	struct sl_str host;

	ret->https = sl_str_starts(text, SL_STR("https://"));
	host = sl_str_skip(text, ret->https ? 8 : 7);
	colon = memchr(host.ptr, ':', host.len);
	ret->port = ret->https ? 443 : 80;
	if (colon) {
		size_t len = (size_t)(colon - host.ptr);
		int r = sl_str_to_u64(sl_str_skip(host, len + 1), UINT16_MAX, &port);

		assert(!r);
		ret->port = (uint16_t)port;
		host.len = len;
	}
	ret->open = host.ptr[0] == '*';
	return sl_arena_str(a, ret->open ? sl_str_skip(host, 1) : host, &ret->host);
}

int filter_build_cors(struct sl_arena *a, const struct sl_cors_spec *spec,
		      const struct sl_cors **ret)
{
	struct sl_cors *c = sl_arena_new(a, struct sl_cors);
	struct sl_cors_origin *origins =
		sl_arena_new_n(a, struct sl_cors_origin, spec->origins.n + 1);

	if (!c || !origins)
		return -ENOMEM;
	c->any_origin = is_any(&spec->origins);
	c->any_method = is_any(&spec->methods);
	c->any_header = is_any(&spec->headers);
	c->credentials = spec->credentials;
	c->origins = origins;
	c->n_origins = c->any_origin ? 0 : spec->origins.n;
	for (uint32_t i = 0; i < c->n_origins; i++) {
		if (origin_build(a, spec->origins.items[i], &origins[i]))
			return -ENOMEM;
	}
	/* With credentials "*" would be the name of a header (Fetch standard, 3.3.4). */
	if (!(spec->credentials && is_any(&spec->exposed)) && join(a, &spec->exposed, &c->exposed))
		return -ENOMEM;
	if (join(a, &spec->methods, &c->methods) || join(a, &spec->headers, &c->headers))
		return -ENOMEM;
	*ret = c;
	return sl_arena_printf(a, &c->max_age, "%u", spec->max_age_s);
}
