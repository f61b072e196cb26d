/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include "base/arena.h"
#include "base/map.h"
#include "obs/emit.h"
#include "obs/registry.h"

enum { MAX_CELL_LABELS = 2 };

/* A fixed counter or gauge. One without help belongs to the family before it. */
struct cell_desc {
	const char *family, *help;
	struct sl_metric_label labels[MAX_CELL_LABELS];
};

#define LABEL(name, value)                       \
	{                                        \
		name,                            \
		{                                \
			value, sizeof(value) - 1 \
		}                                \
	}

static const struct cell_desc counters[] = {
	[SL_COUNTER_CONNS_ACCEPTED] = {"sluice_connections_total",
				       "Connections of clients, by what became of them at accept.",
				       {LABEL("result", "accepted")}},
	[SL_COUNTER_CONNS_HANDED_OVER] = {.labels = {LABEL("result", "handed_over")}},
	[SL_COUNTER_CONNS_TAKEN_OVER] = {.labels = {LABEL("result", "taken_over")}},
	[SL_COUNTER_CONNS_NOT_STEERED] = {.labels = {LABEL("result", "not_steered")}},
	[SL_COUNTER_CONNS_REFUSED] = {.labels = {LABEL("result", "refused")}},
	[SL_COUNTER_TUNNELS] = {"sluice_tunnels_total",
				"Connections that were passed on without looking inside."},
	[SL_COUNTER_BYTES_DOWNSTREAM_RECEIVED] =
		{"sluice_bytes_total",
		 "Bytes received and sent, by the side of the agent.",
		 {LABEL("side", "downstream"), LABEL("direction", "received")}},
	[SL_COUNTER_BYTES_DOWNSTREAM_SENT] = {.labels = {LABEL("side", "downstream"),
							 LABEL("direction", "sent")}},
	[SL_COUNTER_BYTES_UPSTREAM_RECEIVED] = {.labels = {LABEL("side", "upstream"),
							   LABEL("direction", "received")}},
	[SL_COUNTER_BYTES_UPSTREAM_SENT] = {.labels = {LABEL("side", "upstream"),
						       LABEL("direction", "sent")}},
	[SL_COUNTER_CONNECTS_OK] = {"sluice_upstream_connects_total",
				    "Connections opened to endpoints, by result.",
				    {LABEL("result", "ok")}},
	[SL_COUNTER_CONNECTS_REFUSED] = {.labels = {LABEL("result", "refused")}},
	[SL_COUNTER_CONNECTS_TIMEOUT] = {.labels = {LABEL("result", "timeout")}},
	[SL_COUNTER_CONNECTS_TLS] = {.labels = {LABEL("result", "tls")}},
	[SL_COUNTER_CONNECTS_FAILED] = {.labels = {LABEL("result", "failed")}},
	[SL_COUNTER_TLS_FULL] = {"sluice_upstream_tls_handshakes_total",
				 "TLS handshakes with endpoints that succeeded.",
				 {LABEL("kind", "full")}},
	[SL_COUNTER_TLS_RESUMED] = {.labels = {LABEL("kind", "resumed")}},
	[SL_COUNTER_POOL_REUSED] = {"sluice_upstream_pool_takes_total",
				    "Connections asked of the pool, by whether one was idle.",
				    {LABEL("result", "reused")}},
	[SL_COUNTER_POOL_MISSED] = {.labels = {LABEL("result", "missed")}},
	[SL_COUNTER_RETRIES_CONNECT] = {"sluice_upstream_retries_total",
					"Attempts after the first, by what failed before.",
					{LABEL("reason", "connect_failed")}},
	[SL_COUNTER_RETRIES_STALE] = {.labels = {LABEL("reason", "stale")}},
	[SL_COUNTER_RETRIES_REFUSED] = {.labels = {LABEL("reason", "refused")}},
	[SL_COUNTER_RETRIES_CODE] = {.labels = {LABEL("reason", "code")}},
	[SL_COUNTER_RETRIES_TIMEOUT] = {.labels = {LABEL("reason", "timeout")}},
	[SL_COUNTER_RETRIES_OVER_BUDGET] = {"sluice_upstream_retries_over_budget_total",
					    "Retries that a retry budget did not allow."},
	[SL_COUNTER_AUTH_ALLOWED] =
		{"sluice_authorizations_total",
		 "Requests that another Service was asked about, by its answer.",
		 {LABEL("result", "allowed")}},
	[SL_COUNTER_AUTH_DENIED] = {.labels = {LABEL("result", "denied")}},
	[SL_COUNTER_AUTH_FAILED] = {.labels = {LABEL("result", "failed")}},
	[SL_COUNTER_FAULT_DELAYS] = {"sluice_faults_total",
				     "Faults put into requests by a FaultInjection, by kind.",
				     {LABEL("kind", "delay")}},
	[SL_COUNTER_FAULT_ABORTS] = {.labels = {LABEL("kind", "abort")}},
	[SL_COUNTER_FAULT_SKIPPED] = {.labels = {LABEL("kind", "skipped")}},
	[SL_COUNTER_MIRRORS_ANSWERED] = {"sluice_mirrors_total",
					 "Copies of requests, by what became of them.",
					 {LABEL("result", "answered")}},
	[SL_COUNTER_MIRRORS_FAILED] = {.labels = {LABEL("result", "failed")}},
	[SL_COUNTER_MIRRORS_GIVEN_UP] = {.labels = {LABEL("result", "given_up")}},
	[SL_COUNTER_MIRRORS_SKIPPED] = {.labels = {LABEL("result", "skipped")}},
	[SL_COUNTER_SESSIONS_BEGUN] = {"sluice_sessions_total",
				       "Requests under a sessionPersistence, by what became of it.",
				       {LABEL("result", "begun")}},
	[SL_COUNTER_SESSIONS_KEPT] = {.labels = {LABEL("result", "kept")}},
	[SL_COUNTER_SESSIONS_MOVED] = {.labels = {LABEL("result", "moved")}},
	[SL_COUNTER_OVERFLOWS_REQUESTS] = {"sluice_circuit_breaker_overflows_total",
					   "Times a TrafficPolicy's circuitBreaker was reached.",
					   {LABEL("limit", "requests")}},
	[SL_COUNTER_OVERFLOWS_PENDING] = {.labels = {LABEL("limit", "pending")}},
	[SL_COUNTER_OVERFLOWS_CONNECTIONS] = {.labels = {LABEL("limit", "connections")}},
	[SL_COUNTER_EJECTIONS] = {"sluice_endpoint_ejections_total",
				  "Endpoints ejected by a TrafficPolicy's outlierDetection."},
	[SL_COUNTER_SPLICED_CLIENT] = {"sluice_spliced_total",
				       "Connections that the kernel took over from TCP, by hop.",
				       {LABEL("hop", "client")}},
	[SL_COUNTER_SPLICED_ENDPOINT] = {.labels = {LABEL("hop", "endpoint")}},
	[SL_COUNTER_ACCESS_LOG_DROPPED] = {"sluice_access_log_dropped_total",
					   "Access log lines lost to a full pipe or disk."},
};
_Static_assert(sizeof(counters) / sizeof(*counters) == SL_COUNTER_MAX,
	       "every counter is described");

static const struct cell_desc gauges[] = {
	[SL_GAUGE_CONNS] = {"sluice_connections_active", "Connections of clients that are open."},
	[SL_GAUGE_REQUESTS] = {"sluice_requests_active", "Requests under way."},
	[SL_GAUGE_SIDE_REQUESTS] = {"sluice_side_requests_active",
				    "Requests of the agent's own under way, such as mirrors."},
	[SL_GAUGE_TUNNELS] = {"sluice_tunnels_active", "Tunnels that are open."},
	[SL_GAUGE_POOL_IDLE] = {"sluice_upstream_pool",
				"Connections to endpoints that can be pooled, by state.",
				{LABEL("state", "idle")}},
	[SL_GAUGE_POOL_LEASED] = {.labels = {LABEL("state", "leased")}},
	[SL_GAUGE_SPLICED_CLIENT] = {"sluice_spliced_active",
				     "Connections that the kernel carries past TCP, by hop.",
				     {LABEL("hop", "client")}},
	[SL_GAUGE_SPLICED_ENDPOINT] = {.labels = {LABEL("hop", "endpoint")}},
};
_Static_assert(sizeof(gauges) / sizeof(*gauges) == SL_GAUGE_MAX, "every gauge is described");

static const struct {
	const char *family, *help;
} histograms[] = {
	[SL_HISTOGRAM_CONNECT] = {"sluice_upstream_connect_duration_seconds",
				  "Time to open a connection to an endpoint."},
	[SL_HISTOGRAM_FIRST_BYTE] = {"sluice_upstream_first_byte_seconds",
				     "Time from the request sent to the answer begun."},
};
_Static_assert(sizeof(histograms) / sizeof(*histograms) == SL_HISTOGRAM_MAX,
	       "every histogram is described");

static const char *const label_names[SL_REQUEST_LABELS] = {
	[SL_REQUEST_SERVICE] = "service", [SL_REQUEST_ROUTE] = "route", [SL_REQUEST_RULE] = "rule",
	[SL_REQUEST_BACKEND] = "backend", [SL_REQUEST_CODE] = "code",
};

static size_t count_labels(const struct cell_desc *d)
{
	size_t n = 0;

	while (n < MAX_CELL_LABELS && d->labels[n].name)
		n++;
	return n;
}

static void render_build(struct sl_metrics_out *o)
{
	static const struct sl_metric_label version = LABEL("version", SL_VERSION);

	sl_metrics_out_family(o, "sluice_build_info", "Always 1; the label says what runs.",
			      SL_METRIC_GAUGE);
	sl_metrics_out_u64(o, &version, 1, 1);
}

/* offset: of the first cell in a shard. */
static void render_cells(struct sl_metrics_out *o, const struct sl_metrics *m,
			 const struct cell_desc *cells, size_t n, size_t offset,
			 enum sl_metric_type type)
{
	for (size_t i = 0; i < n; i++) {
		if (cells[i].help)
			sl_metrics_out_family(o, cells[i].family, cells[i].help, type);
		sl_metrics_out_u64(o, cells[i].labels, count_labels(&cells[i]),
				   sl_metrics_sum(m, offset + i * sizeof(uint64_t)));
	}
}

static void render_ends(struct sl_metrics_out *o, const struct sl_metrics *m)
{
	sl_metrics_out_family(o, "sluice_end_reason_total",
			      "Requests and tunnels, by why they ended.", SL_METRIC_COUNTER);
	for (unsigned i = 0; i < SL_END_MAX; i++) {
		struct sl_metric_label reason = {"reason", sl_str_from(sl_end_reason_name(i))};

		sl_metrics_out_u64(o, &reason, 1, SL_METRICS_SUM(m, ends, i));
	}
}

static void render_limits(struct sl_metrics_out *o, const struct sl_metrics *m)
{
	sl_metrics_out_family(o, "sluice_limit_reached_total",
			      "How often a limit refused or ended something.", SL_METRIC_COUNTER);
	for (unsigned i = SL_LIMIT_NONE + 1; i < SL_LIMIT_MAX; i++) {
		struct sl_metric_label limit = {"limit", sl_str_from(sl_limit_name(i))};

		sl_metrics_out_u64(o, &limit, 1, SL_METRICS_SUM(m, limits, i));
	}
}

static void render_whys(struct sl_metrics_out *o, const struct sl_metrics *m, size_t offset)
{
	for (unsigned i = SL_SPLICE_NONE + 1; i < SL_SPLICE_WHY_MAX; i++) {
		struct sl_metric_label reason = {"reason", sl_str_from(sl_splice_why_name(i))};

		sl_metrics_out_u64(o, &reason, 1, sl_metrics_sum(m, offset + i * sizeof(uint64_t)));
	}
}

static void render_splices(struct sl_metrics_out *o, const struct sl_metrics *m)
{
	sl_metrics_out_family(o, "sluice_splice_never_total",
			      "Kept-alive connections that stay on TCP, by reason.",
			      SL_METRIC_COUNTER);
	render_whys(o, m, offsetof(struct sl_metrics_shard, splice_never));
	sl_metrics_out_family(o, "sluice_splice_left_total",
			      "Connections given back to TCP, by reason.", SL_METRIC_COUNTER);
	render_whys(o, m, offsetof(struct sl_metrics_shard, splice_left));
}

static void render_histograms(struct sl_metrics_out *o, const struct sl_metrics *m)
{
	for (size_t h = 0; h < SL_HISTOGRAM_MAX; h++) {
		struct sl_histogram_cells cells;

		for (size_t i = 0; i <= SL_HISTOGRAM_BUCKETS; i++)
			cells.buckets[i] = SL_METRICS_SUM(m, histograms[h].buckets, i);
		cells.sum_ns = SL_METRICS_SUM(m, histograms[h].sum_ns, 0);
		sl_emit_family(o, histograms[h].family, histograms[h].help, "histogram");
		sl_emit_histogram(o, NULL, 0, &cells);
	}
}

/* A label set with the sums over all shards. */
struct merged {
	struct sl_str key;
	uint64_t values[];
};

struct merge {
	struct sl_arena arena;
	struct sl_map by_key;
	uint32_t n_labels, n_values;
};

static void deinit_merge(struct merge *mg)
{
	sl_map_deinit(&mg->by_key);
	sl_arena_deinit(&mg->arena);
}

static int merge_series(struct merge *mg, const struct sl_series *s)
{
	struct merged *d = sl_map_get(&mg->by_key, s->key);
	uint64_t v, any = 0;
	int r;

	for (uint32_t i = 0; i < mg->n_values; i++)
		any |= __atomic_load_n(&s->values[i], __ATOMIC_RELAXED);
	if (!any)
		return 0;
	if (!d) {
		d = sl_arena_zalloc(&mg->arena, 1, sizeof(*d) + mg->n_values * sizeof(uint64_t));
		if (!d)
			return -ENOMEM;
		d->key = s->key;
		r = sl_map_put(&mg->by_key, d->key, d, NULL);
		if (r)
			return r;
	}
	for (uint32_t i = 0; i < mg->n_values; i++) {
		v = __atomic_load_n(&s->values[i], __ATOMIC_RELAXED);
		d->values[i] += v;
	}
	return 0;
}

static int compare_merged(const void *a, const void *b)
{
	const struct merged *x = *(struct merged *const *)a, *y = *(struct merged *const *)b;
	uint32_t n = (unsigned char)x->key.ptr[0];
	int r = 0;

	for (uint32_t i = 0; i < n && !r; i++)
		r = sl_str_cmp(sl_series_label(x->key, i), sl_series_label(y->key, i));
	return r;
}

/* All of the map in the order of labels, so that two renderings can be compared. NULL: no memory.
 */
static struct merged **sorted(struct merge *mg)
{
	struct merged **list = sl_arena_new_n(&mg->arena, struct merged *, mg->by_key.n + 1);
	size_t pos = 0, n = 0;

	if (!list)
		return NULL;
	while ((list[n] = sl_map_next(&mg->by_key, &pos, NULL)))
		n++;
	qsort(list, n, sizeof(*list), compare_merged);
	return list;
}

/* *ret ends with NULL and lives in mg. table: offset of the series table in a shard. */
static int merge_shards(struct merge *mg, const struct sl_metrics *m, size_t table,
			struct merged ***ret)
{
	for (uint32_t i = 0; i < m->n_shards; i++) {
		const struct sl_series_table *t =
			*(struct sl_series_table **)((char *)m->shards[i] + table);
		uint32_t n = sl_series_count(t);

		for (uint32_t k = 0; k < n; k++) {
			int r = merge_series(mg, sl_series_at(t, k));

			if (r)
				return r;
		}
	}
	*ret = sorted(mg);
	return *ret ? 0 : -ENOMEM;
}

static void render_series(struct sl_metrics_out *o, const struct merged *d, uint32_t n_labels)
{
	struct sl_metric_label labels[SL_REQUEST_LABELS];

	for (uint32_t i = 0; i < n_labels; i++)
		labels[i] = (struct sl_metric_label){label_names[i], sl_series_label(d->key, i)};
	if (n_labels >= SL_CONNECTION_LABELS)
		sl_metrics_out_u64(o, labels, n_labels, d->values[0]);
	else
		sl_emit_histogram(o, labels, n_labels,
				  (const struct sl_histogram_cells *)d->values);
}

static void render_requests(struct sl_metrics_out *o, const struct sl_metrics *m)
{
	struct merge requests = {.n_labels = SL_REQUEST_LABELS, .n_values = 1};
	struct merge durations = {.n_labels = SL_DURATION_LABELS, .n_values = SL_DURATION_VALUES};
	struct merged **list;
	int r;

	r = merge_shards(&requests, m, offsetof(struct sl_metrics_shard, requests), &list);
	if (!r) {
		sl_metrics_out_family(o, "sluice_requests_total",
				      "Requests, by what served them and the status sent.",
				      SL_METRIC_COUNTER);
		for (; *list; list++)
			render_series(o, *list, requests.n_labels);
		r = merge_shards(&durations, m, offsetof(struct sl_metrics_shard, durations),
				 &list);
	}
	if (!r) {
		sl_emit_family(o, "sluice_request_duration_seconds",
			       "Time from a request's first byte to its end.", "histogram");
		for (; *list; list++)
			render_series(o, *list, durations.n_labels);
	}
	if (!o->error)
		o->error = r;
	deinit_merge(&requests);
	deinit_merge(&durations);
}

static void render_connections(struct sl_metrics_out *o, const struct sl_metrics *m)
{
	struct merge connections = {.n_labels = SL_CONNECTION_LABELS, .n_values = 1};
	struct merged **list;
	int r = merge_shards(&connections, m, offsetof(struct sl_metrics_shard, connections),
			     &list);

	if (!r)
		sl_metrics_out_family(
			o, "sluice_route_connections_total",
			"Connections taken by rules of TLSRoutes and TCPRoutes, flows by "
			"those of UDPRoutes.",
			SL_METRIC_COUNTER);
	for (; !r && *list; list++)
		render_series(o, *list, connections.n_labels);
	if (!o->error)
		o->error = r;
	deinit_merge(&connections);
}

static void render_shadow(struct sl_metrics_out *o, const struct merged *d)
{
	struct sl_metric_label labels[SL_SHADOW_LABELS + 1];

	for (uint32_t i = 0; i < SL_SHADOW_LABELS; i++)
		labels[i] = (struct sl_metric_label){label_names[i], sl_series_label(d->key, i)};
	for (int i = 0; i < SL_SHADOW_RESULTS; i++) {
		if (!d->values[i])
			continue;
		labels[SL_SHADOW_LABELS] =
			(struct sl_metric_label){"result", sl_str_from(sl_shadow_result_name(i))};
		sl_metrics_out_u64(o, labels, SL_SHADOW_LABELS + 1, d->values[i]);
	}
}

static void render_shadows(struct sl_metrics_out *o, const struct sl_metrics *m)
{
	struct merge shadows = {.n_labels = SL_SHADOW_LABELS, .n_values = SL_SHADOW_RESULTS};
	struct merged **list;
	int r = merge_shards(&shadows, m, offsetof(struct sl_metrics_shard, shadows), &list);

	if (!r)
		sl_metrics_out_family(o, "sluice_shadow_requests_total",
				      "Requests shown to shadow routes, by the rule that would "
				      "take them and whether anything would differ.",
				      SL_METRIC_COUNTER);
	for (; !r && *list; list++)
		render_shadow(o, *list);
	if (!o->error)
		o->error = r;
	deinit_merge(&shadows);
}

int sl_metrics_render(struct sl_metrics *m, struct sl_buf *out)
{
	struct sl_metrics_out o = {.buf = out};

	if (m->before)
		m->before(m->before_arg);
	render_build(&o);
	render_cells(&o, m, counters, SL_COUNTER_MAX, offsetof(struct sl_metrics_shard, counters),
		     SL_METRIC_COUNTER);
	render_cells(&o, m, gauges, SL_GAUGE_MAX, offsetof(struct sl_metrics_shard, gauges),
		     SL_METRIC_GAUGE);
	render_ends(&o, m);
	render_limits(&o, m);
	render_splices(&o, m);
	render_histograms(&o, m);
	render_requests(&o, m);
	render_connections(&o, m);
	render_shadows(&o, m);
	for (size_t i = 0; i < m->n_sources && !o.error; i++)
		m->sources[i].fn(&o, m->sources[i].arg);
	return o.error;
}
