/* SPDX-License-Identifier: Apache-2.0 */
#include "obs/metrics.h"

#include <assert.h>
#include <errno.h>
#include "base/alloc.h"
#include "base/cleanup.h"
#include "obs/emit.h"
#include "obs/registry.h"

enum { DEFAULT_MAX_SERIES = 4096 };

SL_DEFINE_CLEANUP(struct sl_metrics *, sl_metrics_free)

/* ---- a worker's side ---- */

static void observe(struct sl_histogram_cells *cells, uint64_t duration_ns)
{
	int i = 0;

	while (i < SL_HISTOGRAM_BUCKETS && duration_ns > sl_histogram_bounds_ns[i])
		i++;
	sl_metrics_cell_add(&cells->buckets[i], 1);
	sl_metrics_cell_add(&cells->sum_ns, duration_ns);
}

void sl_metrics_observe(struct sl_metrics_shard *s, enum sl_histogram h, uint64_t duration_ns)
{
	observe(&s->histograms[h], duration_ns);
}

static struct sl_metrics_found look_up(const struct sl_metrics_shard *s,
				       const struct sl_metrics_request *r)
{
	struct sl_metrics_found f = {r->service, r->route, r->rule, r->backend, .code = r->code};
	char code[12];
	const struct sl_str labels[SL_REQUEST_LABELS] = {
		[SL_REQUEST_SERVICE] = r->service,
		[SL_REQUEST_ROUTE] = r->route,
		[SL_REQUEST_RULE] = r->rule,
		[SL_REQUEST_BACKEND] = r->backend,
		[SL_REQUEST_CODE] = {code, (size_t)snprintf(code, sizeof(code), "%u", r->code)},
	};

	f.requests = sl_series_values(s->requests, labels);
	f.durations = (struct sl_histogram_cells *)sl_series_values(s->durations, labels);
	return f;
}

static inline bool same_text(struct sl_str a, struct sl_str b)
{
	return a.ptr == b.ptr && a.len == b.len;
}

static bool is_of(const struct sl_metrics_found *f, const struct sl_metrics_request *r)
{
	return f->requests && f->code == r->code && same_text(f->service, r->service) &&
	       same_text(f->route, r->route) && same_text(f->rule, r->rule) &&
	       same_text(f->backend, r->backend);
}

/* Label sets that share a place put each other out of it. */
static struct sl_metrics_found *place_of(const struct sl_metrics_request *r)
{
	uintptr_t h = (uintptr_t)r->service.ptr ^ (uintptr_t)r->rule.ptr * 3 ^
		      (uintptr_t)r->backend.ptr * 5 ^ r->code;

	return &r->recent->found[(h * 0x9e3779b97f4a7c15ULL >> 32) % SL_METRICS_RECENT];
}

/* Perhaps for want of memory only: the next one may get series of its own. */
static bool is_other(const struct sl_metrics_shard *s, const struct sl_metrics_found *f)
{
	return f->requests == sl_series_at(s->requests, 0)->values ||
	       (uint64_t *)f->durations == sl_series_at(s->durations, 0)->values;
}

void sl_metrics_request(struct sl_metrics_shard *s, const struct sl_metrics_request *request)
{
	struct sl_metrics_found *place = request->recent ? place_of(request) : NULL;
	struct sl_metrics_found f;

	if (place && is_of(place, request)) {
		f = *place;
	} else {
		f = look_up(s, request);
		if (place && !is_other(s, &f))
			*place = f;
	}
	sl_metrics_cell_add(f.requests, 1);
	observe(f.durations, request->duration_ns);
}

void sl_metrics_connections(struct sl_metrics_shard *s, const struct sl_metrics_request *from,
			    uint64_t n)
{
	const struct sl_str labels[SL_CONNECTION_LABELS] = {
		[SL_REQUEST_SERVICE] = from->service,
		[SL_REQUEST_ROUTE] = from->route,
		[SL_REQUEST_RULE] = from->rule,
		[SL_REQUEST_BACKEND] = from->backend,
	};

	sl_metrics_cell_add(sl_series_values(s->connections, labels), n);
}

void sl_metrics_shadow(struct sl_metrics_shard *s, const struct sl_metrics_request *request,
		       enum sl_shadow_result result)
{
	const struct sl_str labels[SL_SHADOW_LABELS] = {
		[SL_REQUEST_SERVICE] = request->service,
		[SL_REQUEST_ROUTE] = request->route,
		[SL_REQUEST_RULE] = request->rule,
	};

	sl_metrics_cell_add(&sl_series_values(s->shadows, labels)[result], 1);
}

const char *sl_shadow_result_name(enum sl_shadow_result result)
{
	static const char *const names[SL_SHADOW_RESULTS] = {
		[SL_SHADOW_UNAFFECTED] = "unaffected",
		[SL_SHADOW_SAME] = "same",
		[SL_SHADOW_DIFFERS] = "differs",
	};

	return names[result];
}

/* ---- the control thread's side ---- */

static struct sl_metrics_shard *free_shard(struct sl_metrics_shard *s)
{
	if (!s)
		return NULL;
	sl_series_table_free(s->requests);
	sl_series_table_free(s->durations);
	sl_series_table_free(s->connections);
	sl_series_table_free(s->shadows);
	free(s);
	return NULL;
}

static int new_shard(uint32_t max_series, struct sl_metrics_shard **ret)
{
	struct sl_metrics_shard *s = sl_new(struct sl_metrics_shard);
	int r;

	if (!s)
		return -ENOMEM;
	r = sl_series_table_new(SL_REQUEST_LABELS, 1, max_series, &s->requests);
	if (!r)
		r = sl_series_table_new(SL_DURATION_LABELS, SL_DURATION_VALUES, max_series,
					&s->durations);
	if (!r)
		r = sl_series_table_new(SL_CONNECTION_LABELS, 1, max_series, &s->connections);
	if (!r)
		r = sl_series_table_new(SL_SHADOW_LABELS, SL_SHADOW_RESULTS, max_series,
					&s->shadows);
	if (r) {
		free_shard(s);
		return r;
	}
	*ret = s;
	return 0;
}

int sl_metrics_new(const struct sl_metrics_opts *opts, struct sl_metrics **ret)
{
	_cleanup_(sl_metrics_freep) struct sl_metrics *m = sl_new(struct sl_metrics);
	int r;

	if (!m)
		return -ENOMEM;
	m->shards = sl_new_n(struct sl_metrics_shard *, opts->n_workers);
	if (!m->shards)
		return -ENOMEM;
	for (; m->n_shards < opts->n_workers; m->n_shards++) {
		r = new_shard(opts->max_series ? opts->max_series : DEFAULT_MAX_SERIES,
			      &m->shards[m->n_shards]);
		if (r)
			return r;
	}
	*ret = sl_take(m);
	return 0;
}

struct sl_metrics *sl_metrics_free(struct sl_metrics *m)
{
	if (!m)
		return NULL;
	for (uint32_t i = 0; i < m->n_shards; i++)
		free_shard(m->shards[i]);
	free(m->shards);
	free(m->sources);
	free(m);
	return NULL;
}

struct sl_metrics_shard *sl_metrics_shard(struct sl_metrics *m, uint32_t worker)
{
	assert(worker < m->n_shards);
	return m->shards[worker];
}

void sl_metrics_on_render(struct sl_metrics *m, void (*fn)(void *arg), void *arg)
{
	m->before = fn;
	m->before_arg = arg;
}

int sl_metrics_add_source(struct sl_metrics *m, sl_metrics_source_fn fn, void *arg)
{
	struct sl_metrics_source *sources =
		sl_reallocarray(m->sources, m->n_sources + 1, sizeof(*sources));

	if (!sources)
		return -ENOMEM;
	sources[m->n_sources++] = (struct sl_metrics_source){fn, arg};
	m->sources = sources;
	return 0;
}

uint64_t sl_metrics_sum(const struct sl_metrics *m, size_t offset)
{
	uint64_t total = 0;

	for (uint32_t i = 0; i < m->n_shards; i++) {
		const char *shard = (const char *)m->shards[i];

		total += __atomic_load_n((const uint64_t *)(shard + offset), __ATOMIC_RELAXED);
	}
	return total;
}

uint64_t sl_metrics_counter(const struct sl_metrics *m, enum sl_counter c)
{
	return SL_METRICS_SUM(m, counters, c);
}

uint64_t sl_metrics_gauge(const struct sl_metrics *m, enum sl_gauge g)
{
	return SL_METRICS_SUM(m, gauges, g);
}

uint64_t sl_metrics_splice_nevers(const struct sl_metrics *m, enum sl_splice_why why)
{
	return SL_METRICS_SUM(m, splice_never, why);
}

uint64_t sl_metrics_splice_lefts(const struct sl_metrics *m, enum sl_splice_why why)
{
	return SL_METRICS_SUM(m, splice_left, why);
}

static uint64_t sum_of_route(const struct sl_series_table *t, struct sl_str route)
{
	uint32_t n = sl_series_count(t);
	uint64_t total = 0;

	for (uint32_t k = 0; k < n; k++) {
		const struct sl_series *s = sl_series_at(t, k);

		if (sl_str_eq(sl_series_label(s->key, SL_REQUEST_ROUTE), route))
			total += __atomic_load_n(s->values, __ATOMIC_RELAXED);
	}
	return total;
}

uint64_t sl_metrics_route_requests(const struct sl_metrics *m, struct sl_str route)
{
	uint64_t total = 0;

	for (uint32_t i = 0; i < m->n_shards; i++)
		total += sum_of_route(m->shards[i]->requests, route) +
			 sum_of_route(m->shards[i]->connections, route);
	return total;
}

/* Of one shard. */
static void add_shadows(const struct sl_series_table *t, struct sl_str route,
			sl_metrics_service_fn shown, void *arg, struct sl_metrics_shadows *to)
{
	uint32_t n = sl_series_count(t);

	for (uint32_t k = 0; k < n; k++) {
		const struct sl_series *s = sl_series_at(t, k);
		bool taken = sl_str_eq(sl_series_label(s->key, SL_REQUEST_ROUTE), route);
		bool is_shown = shown(arg, sl_series_label(s->key, SL_REQUEST_SERVICE));

		for (int i = 0; i < SL_SHADOW_RESULTS; i++) {
			uint64_t v = __atomic_load_n(&s->values[i], __ATOMIC_RELAXED);

			to->evaluated += is_shown ? v : 0;
			to->matched += taken ? v : 0;
			to->differs += taken && i == SL_SHADOW_DIFFERS ? v : 0;
		}
	}
}

struct sl_metrics_shadows sl_metrics_route_shadows(const struct sl_metrics *m, struct sl_str route,
						   sl_metrics_service_fn shown, void *arg)
{
	struct sl_metrics_shadows all = {0};

	for (uint32_t i = 0; i < m->n_shards; i++)
		add_shadows(m->shards[i]->shadows, route, shown, arg, &all);
	return all;
}
