/* SPDX-License-Identifier: Apache-2.0 */
#include "top.h"

#include <errno.h>
#include <math.h>
#include "base/cleanup.h"
#include "prom.h"

void sl_top_deinit(struct sl_top_sample *s)
{
	sl_map_deinit(&s->rows);
	sl_arena_deinit(&s->arena);
}

/* ---- reading ---- */

static int find_row(struct sl_top_sample *s, struct sl_str labels, struct sl_top_row **ret)
{
	struct sl_str service, route, key;
	struct sl_top_row *row;

	if (sl_prom_label(labels, "service", &s->arena, &service) ||
	    sl_prom_label(labels, "route", &s->arena, &route) ||
	    sl_arena_printf(&s->arena, &key, "%.*s %.*s", SL_STR_ARG(service), SL_STR_ARG(route)))
		return -ENOMEM;
	row = sl_map_get(&s->rows, key);
	if (!row) {
		row = sl_arena_new(&s->arena, struct sl_top_row);
		if (!row)
			return -ENOMEM;
		row->key = key;
		row->service = service;
		row->route = route;
		if (sl_map_put(&s->rows, key, row, NULL))
			return -ENOMEM;
	}
	*ret = row;
	return 0;
}

static int add_requests(struct sl_top_sample *s, const struct sl_prom_sample *p)
{
	struct sl_top_row *row;
	struct sl_str code;

	if (find_row(s, p->labels, &row) || sl_prom_label(p->labels, "code", &s->arena, &code))
		return -ENOMEM;
	row->requests += p->value;
	if (sl_str_starts(code, SL_STR("5")))
		row->errors += p->value;
	return 0;
}

/* Buckets come in the order of their bounds. */
static int add_bucket(struct sl_top_sample *s, const struct sl_prom_sample *p)
{
	struct sl_top_row *row;
	struct sl_str le;
	char text[32];

	if (find_row(s, p->labels, &row) || sl_prom_label(p->labels, "le", &s->arena, &le))
		return -ENOMEM;
	if (row->n_buckets == SL_TOP_MAX_BUCKETS)
		return 0;
	(void)snprintf(text, sizeof(text), "%.*s", SL_STR_ARG(le));
	row->buckets[row->n_buckets].bound_s =
		sl_str_eqc(le, "+Inf") ? INFINITY : strtod(text, NULL);
	row->buckets[row->n_buckets++].count = p->value;
	return 0;
}

int sl_top_read(struct sl_str text, struct sl_top_sample *ret)
{
	struct sl_top_sample s = {.arena = SL_ARENA_INIT(4096)};
	struct sl_prom_sample p;
	int r = 0;

	while (!r && sl_prom_next(&text, &p)) {
		if (sl_str_eqc(p.name, "sluice_requests_total"))
			r = add_requests(&s, &p);
		else if (sl_str_eqc(p.name, "sluice_request_duration_seconds_bucket"))
			r = add_bucket(&s, &p);
		else if (sl_str_eqc(p.name, "sluice_connections_active"))
			s.conns = p.value;
		else if (sl_str_eqc(p.name, "sluice_spliced_active"))
			s.spliced += p.value;
		else if (sl_str_eqc(p.name, "sluice_requests_active"))
			s.requests_active = p.value;
	}
	if (r) {
		sl_top_deinit(&s);
		return r;
	}
	*ret = s;
	return 0;
}

/* ---- comparing ---- */

struct change {
	const struct sl_top_row *row;
	double requests, errors;	   /* a second */
	double counts[SL_TOP_MAX_BUCKETS]; /* not cumulative */
	double total;
};

static double grown(double before, double now)
{
	return now >= before ? now - before : now;
}

static void compare_row(const struct sl_top_row *before, const struct sl_top_row *now,
			double seconds, struct change *ret)
{
	static const struct sl_top_row none;
	double below = 0;

	if (!before || before->requests > now->requests || before->n_buckets != now->n_buckets)
		before = &none;
	*ret = (struct change){.row = now,
			       .requests = grown(before->requests, now->requests) / seconds,
			       .errors = grown(before->errors, now->errors) / seconds};
	for (uint32_t i = 0; i < now->n_buckets; i++) {
		double up_to = grown(before->buckets[i].count, now->buckets[i].count);

		ret->counts[i] = up_to > below ? up_to - below : 0;
		ret->total += ret->counts[i];
		below = up_to;
	}
}

/* Seconds that so much of the requests took at most: straight within a bucket, and for those past
 * the last bound that bound. */
static double quantile(const struct change *c, double q)
{
	double want = c->total * q, low = 0, seen = 0;

	for (uint32_t i = 0; i < c->row->n_buckets; i++) {
		double bound = c->row->buckets[i].bound_s;

		if (isinf(bound))
			break;
		if (seen + c->counts[i] >= want && c->counts[i] > 0)
			return low + (bound - low) * (want - seen) / c->counts[i];
		seen += c->counts[i];
		low = bound;
	}
	return low;
}

static int busiest_first(const void *a, const void *b)
{
	const struct change *x = a, *y = b;

	if (x->requests != y->requests)
		return x->requests > y->requests ? -1 : 1;
	return sl_str_cmp(x->row->key, y->row->key);
}

static json_t *text(struct sl_str s)
{
	return json_stringn(s.ptr ? s.ptr : "", s.len);
}

static json_t *row_json(const struct change *c)
{
	json_t *j = json_pack("{s:o, s:o, s:f, s:f}", "service", text(c->row->service), "route",
			      text(c->row->route), "requests_rate", c->requests, "errors_rate",
			      c->errors);

	if (!j || c->total <= 0)
		return j;
	if (json_object_set_new(j, "p50_ms", json_real(quantile(c, 0.5) * 1000)) ||
	    json_object_set_new(j, "p99_ms", json_real(quantile(c, 0.99) * 1000))) {
		json_decref(j);
		return NULL;
	}
	return j;
}

/* *ret is in the arena. */
static int compare_rows(const struct sl_top_sample *before, const struct sl_top_sample *now,
			double seconds, struct sl_arena *arena, struct change **ret)
{
	struct change *all = sl_arena_new_n(arena, struct change, now->rows.n + 1);
	struct sl_top_row *row;
	size_t pos = 0, n = 0;

	if (!all)
		return -ENOMEM;
	while ((row = sl_map_next(&now->rows, &pos, NULL)))
		compare_row(sl_map_get(&before->rows, row->key), row, seconds, &all[n++]);
	qsort(all, n, sizeof(*all), busiest_first);
	*ret = all;
	return 0;
}

int sl_top_compare(const struct sl_top_sample *before, const struct sl_top_sample *now,
		   uint64_t interval_ms, json_t **ret)
{
	_cleanup_(sl_arena_deinit) struct sl_arena arena = SL_ARENA_INIT(4096);
	double seconds = (interval_ms ? (double)interval_ms : 1) / 1000, requests = 0, errors = 0;
	json_auto_t *rows = json_array();
	struct change *all;
	int r = compare_rows(before, now, seconds, &arena, &all);

	for (size_t i = 0; i < now->rows.n && !r; i++) {
		requests += all[i].requests;
		errors += all[i].errors;
		r = json_array_append_new(rows, row_json(&all[i])) ? -ENOMEM : 0;
	}
	if (r)
		return r;
	*ret = json_pack("{s:I, s:f, s:f, s:f, s:f, s:f, s:O}", "interval_ms",
			 (json_int_t)interval_ms, "connections", now->conns, "spliced",
			 now->spliced, "requests_active", now->requests_active, "requests_rate",
			 requests, "errors_rate", errors, "rows", rows);
	return *ret ? 0 : -ENOMEM;
}
