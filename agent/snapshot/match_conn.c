/* SPDX-License-Identifier: Apache-2.0 */
/* Matching of whole connections: the same index, asked once. Matches have no conditions but their
 * path, so the first in a bucket is the one. */
#include <assert.h>
#include "snapshot/match.h"
#include "snapshot/match_impl.h"

static const struct sl_match *first_of(const struct bucket *b)
{
	return b && b->rest ? b->rest->items[0] : NULL;
}

size_t sl_match_name_path(struct sl_str name, char *out)
{
	size_t n = 0, end = name.len;

	if (sl_str_starts(name, SL_STR("*.")))
		name = sl_str_skip(name, 2);
	for (end = name.len; end;) {
		size_t begin = end;

		while (begin && name.ptr[begin - 1] != '.')
			begin--;
		out[n++] = '/';
		memcpy(out + n, name.ptr + begin, end - begin);
		n += end - begin;
		end = begin ? begin - 1 : 0;
	}
	return n;
}

const struct sl_rule *sl_route_table_match_name(const struct sl_route_table *t, struct sl_str name)
{
	const struct sl_match_index *index = t->index;
	char buf[SL_SERVER_NAME_MAX + 1];
	const struct sl_match *m;
	struct sl_str path;

	assert(name.len <= SL_SERVER_NAME_MAX);
	path = (struct sl_str){buf, sl_match_name_path(name, buf)};
	m = first_of(bucket_of(sl_pmap_get(&index->exact, path)));
	/* A wildcard stands for one label at least. */
	while (path.len && path.ptr[--path.len] != '/')
		;
	for (uint32_t i = 0; i < index->n_prefix_lengths && !m; i++) {
		uint32_t len = index->prefix_lengths[i];

		if (len <= path.len && (len == path.len || path.ptr[len] == '/'))
			m = first_of(bucket_of(
				sl_pmap_get(&index->prefix, (struct sl_str){path.ptr, len})));
	}
	return m ? m->rule : NULL;
}

const struct sl_rule *sl_route_table_first(const struct sl_route_table *t)
{
	const struct sl_match *m = first_of(bucket_of(sl_pmap_get(&t->index->prefix, SL_STR(""))));

	return m ? m->rule : NULL;
}
