/* SPDX-License-Identifier: Apache-2.0 */
/* The order in which matches are tried (HTTPRouteMatch in the Gateway API's Go types). */
#include "compile/work.h"

static int number_cmp(uint64_t a, uint64_t b)
{
	return (a > b) - (a < b);
}

static int route_cmp(const void *a, const void *b)
{
	const struct sl_object *x = &(*(const struct route_work *const *)a)->route->object;
	const struct sl_object *y = &(*(const struct route_work *const *)b)->route->object;

	if (x->meta.created_at != y->meta.created_at)
		return x->meta.created_at < y->meta.created_at ? -1 : 1;
	return sl_str_cmp(x->key, y->key);
}

void routes_sort(const struct route_work **routes, uint32_t n)
{
	qsort(routes, n, sizeof(*routes), route_cmp);
}

/*
 * The API leaves regular expressions unranked: here exact paths come first, then regular
 * expressions, then prefixes, longest first. Then a method, more headers, more query parameters;
 * the older route, the first by name; the first rule. No two are equal, so the result does not
 * depend on the sort.
 */
static int match_cmp(const void *a, const void *b)
{
	const struct ranked_match *x = a, *y = b;
	const struct sl_match *p = x->match, *q = y->match;
	int order = number_cmp(p->class, q->class);

	if (!order && p->class == SL_MATCH_PREFIX)
		order = number_cmp(q->path.len, p->path.len);
	if (!order)
		order = (p->method == SL_METHOD_OTHER) - (q->method == SL_METHOD_OTHER);
	if (!order)
		order = number_cmp(q->n_headers, p->n_headers);
	if (!order)
		order = number_cmp(q->n_queries, p->n_queries);
	if (!order)
		order = number_cmp(x->route, y->route);
	if (!order)
		order = number_cmp(x->rule, y->rule);
	return order ? order : number_cmp(x->index, y->index);
}

void matches_sort(struct ranked_match *matches, uint32_t n)
{
	qsort(matches, n, sizeof(*matches), match_cmp);
}
