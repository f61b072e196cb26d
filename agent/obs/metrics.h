/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Metrics: each worker counts in a shard of its own, which the control thread reads at any time;
 * rendering adds the shards up in the Prometheus text format 0.0.4. Values are written by one
 * thread with relaxed stores: no locks, no shared cache lines. Knows no proxy types. Nothing here
 * grows without bound: past the limit of series, requests are counted under labels "other".
 */
#include <stdbool.h>
#include "base/buf.h"
#include "obs/end_reason.h"
#include "obs/limit.h"
#include "obs/splice_why.h"

/* Counters of one family stand together; the table in render.c has names, labels and help. */
enum sl_counter {
	/* sluice_connections_total, by what became of them at accept */
	SL_COUNTER_CONNS_ACCEPTED,
	SL_COUNTER_CONNS_HANDED_OVER, /* accepted here, served by another worker */
	SL_COUNTER_CONNS_TAKEN_OVER,  /* from the process before this one */
	SL_COUNTER_CONNS_NOT_STEERED, /* somebody called the listener itself */
	SL_COUNTER_CONNS_REFUSED,     /* a limit, or out of memory or descriptors */
	/* sluice_tunnels_total */
	SL_COUNTER_TUNNELS,
	/* sluice_bytes_total */
	SL_COUNTER_BYTES_DOWNSTREAM_RECEIVED,
	SL_COUNTER_BYTES_DOWNSTREAM_SENT,
	SL_COUNTER_BYTES_UPSTREAM_RECEIVED,
	SL_COUNTER_BYTES_UPSTREAM_SENT,
	/* sluice_upstream_connects_total */
	SL_COUNTER_CONNECTS_OK,
	SL_COUNTER_CONNECTS_REFUSED,
	SL_COUNTER_CONNECTS_TIMEOUT,
	SL_COUNTER_CONNECTS_TLS,    /* connected, but the handshake failed */
	SL_COUNTER_CONNECTS_FAILED, /* any other error */
	/* sluice_upstream_tls_handshakes_total */
	SL_COUNTER_TLS_FULL,
	SL_COUNTER_TLS_RESUMED, /* with a session of before */
	/* sluice_upstream_pool_takes_total */
	SL_COUNTER_POOL_REUSED,
	SL_COUNTER_POOL_MISSED, /* nothing idle: a new connection is needed */
	/* sluice_upstream_retries_total */
	SL_COUNTER_RETRIES_CONNECT,
	SL_COUNTER_RETRIES_STALE,   /* a pooled connection had closed */
	SL_COUNTER_RETRIES_REFUSED, /* HTTP/2: the endpoint said that it did nothing */
	SL_COUNTER_RETRIES_CODE,    /* the rule names the status that came */
	SL_COUNTER_RETRIES_TIMEOUT, /* likewise: backendRequest ran out */
	/* sluice_upstream_retries_over_budget_total */
	SL_COUNTER_RETRIES_OVER_BUDGET,
	/* sluice_authorizations_total */
	SL_COUNTER_AUTH_ALLOWED,
	SL_COUNTER_AUTH_DENIED,
	SL_COUNTER_AUTH_FAILED, /* no answer, or not a clear one */
	/* sluice_faults_total: of FaultInjections */
	SL_COUNTER_FAULT_DELAYS,
	SL_COUNTER_FAULT_ABORTS,
	SL_COUNTER_FAULT_SKIPPED, /* no delay: maxDelayed requests were waiting */
	/* sluice_mirrors_total */
	SL_COUNTER_MIRRORS_ANSWERED,
	SL_COUNTER_MIRRORS_FAILED,   /* no answer */
	SL_COUNTER_MIRRORS_GIVEN_UP, /* lagged too far behind the body, or never got all of it */
	SL_COUNTER_MIRRORS_SKIPPED,  /* a limit, or out of memory */
	/* sluice_sessions_total: requests under a sessionPersistence */
	SL_COUNTER_SESSIONS_BEGUN,
	SL_COUNTER_SESSIONS_KEPT,
	SL_COUNTER_SESSIONS_MOVED, /* what the client showed was of no use any more */
	/* sluice_circuit_breaker_overflows_total */
	SL_COUNTER_OVERFLOWS_REQUESTS,
	SL_COUNTER_OVERFLOWS_PENDING,
	SL_COUNTER_OVERFLOWS_CONNECTIONS,
	/* sluice_endpoint_ejections_total */
	SL_COUNTER_EJECTIONS,
	/* sluice_spliced_total: connections that the kernel took over, by hop */
	SL_COUNTER_SPLICED_CLIENT,
	SL_COUNTER_SPLICED_ENDPOINT,
	/* sluice_access_log_dropped_total; see sl_metrics_set() */
	SL_COUNTER_ACCESS_LOG_DROPPED,
	SL_COUNTER_MAX,
};

enum sl_gauge {
	SL_GAUGE_CONNS,		   /* sluice_connections_active */
	SL_GAUGE_REQUESTS,	   /* sluice_requests_active */
	SL_GAUGE_SIDE_REQUESTS,	   /* sluice_side_requests_active */
	SL_GAUGE_TUNNELS,	   /* sluice_tunnels_active */
	SL_GAUGE_POOL_IDLE,	   /* sluice_upstream_pool{state="idle"} */
	SL_GAUGE_POOL_LEASED,	   /* sluice_upstream_pool{state="leased"} */
	SL_GAUGE_SPLICED_CLIENT,   /* sluice_spliced_active{hop="client"} */
	SL_GAUGE_SPLICED_ENDPOINT, /* sluice_spliced_active{hop="endpoint"} */
	SL_GAUGE_MAX,
};

enum sl_histogram {
	SL_HISTOGRAM_CONNECT,	 /* sluice_upstream_connect_duration_seconds */
	SL_HISTOGRAM_FIRST_BYTE, /* sluice_upstream_first_byte_seconds: from request to answer */
	SL_HISTOGRAM_MAX,
};

#define SL_HISTOGRAM_BUCKETS 16 /* upper bounds from 0.5 ms to 60 s, and one without */

struct sl_histogram_cells {
	uint64_t buckets[SL_HISTOGRAM_BUCKETS + 1]; /* not cumulative */
	uint64_t sum_ns;
};

struct sl_series_table;

/* Written by its worker only. */
struct sl_metrics_shard {
	uint64_t counters[SL_COUNTER_MAX];
	uint64_t gauges[SL_GAUGE_MAX];
	uint64_t ends[SL_END_MAX];
	uint64_t limits[SL_LIMIT_MAX];
	uint64_t splice_never[SL_SPLICE_WHY_MAX], splice_left[SL_SPLICE_WHY_MAX];
	struct sl_histogram_cells histograms[SL_HISTOGRAM_MAX];
	struct sl_series_table *requests;    /* service, route, rule, backend, code */
	struct sl_series_table *durations;   /* service, route */
	struct sl_series_table *connections; /* service, route, rule, backend */
	struct sl_series_table *shadows;     /* service, route, rule: by enum sl_shadow_result */
};

static inline void sl_metrics_cell_add(uint64_t *cell, uint64_t n)
{
	/* One writer: no read-modify-write on the bus. */
	__atomic_store_n(cell, __atomic_load_n(cell, __ATOMIC_RELAXED) + n, __ATOMIC_RELAXED);
}

/* The functions on a shard: thread: its worker. */
static inline void sl_metrics_add(struct sl_metrics_shard *s, enum sl_counter c, uint64_t n)
{
	sl_metrics_cell_add(&s->counters[c], n);
}

static inline void sl_metrics_inc(struct sl_metrics_shard *s, enum sl_counter c)
{
	sl_metrics_cell_add(&s->counters[c], 1);
}

/* For a count that is kept elsewhere and never goes back. */
static inline void sl_metrics_set(struct sl_metrics_shard *s, enum sl_counter c, uint64_t total)
{
	__atomic_store_n(&s->counters[c], total, __ATOMIC_RELAXED);
}

/* Negative to go down. What goes up in one worker goes down in the same. */
static inline void sl_metrics_gauge_add(struct sl_metrics_shard *s, enum sl_gauge g, int64_t n)
{
	sl_metrics_cell_add(&s->gauges[g], (uint64_t)n);
}

static inline void sl_metrics_gauge_set(struct sl_metrics_shard *s, enum sl_gauge g, uint64_t value)
{
	__atomic_store_n(&s->gauges[g], value, __ATOMIC_RELAXED);
}

/* Once for each stream and tunnel: sluice_end_reason_total{reason}. */
static inline void sl_metrics_end(struct sl_metrics_shard *s, enum sl_end_reason reason)
{
	sl_metrics_cell_add(&s->ends[reason], 1);
}

/* Each time a limit is reached: sluice_limit_reached_total{limit}. */
static inline void sl_metrics_limit(struct sl_metrics_shard *s, enum sl_limit limit)
{
	sl_metrics_cell_add(&s->limits[limit], 1);
}

/* Once for each connection that the kernel will never carry, or does no longer:
 * sluice_splice_never_total{reason}, sluice_splice_left_total{reason}. */
static inline void sl_metrics_splice_never(struct sl_metrics_shard *s, enum sl_splice_why why)
{
	sl_metrics_cell_add(&s->splice_never[why], 1);
}

static inline void sl_metrics_splice_left(struct sl_metrics_shard *s, enum sl_splice_why why)
{
	sl_metrics_cell_add(&s->splice_left[why], 1);
}

void sl_metrics_observe(struct sl_metrics_shard *s, enum sl_histogram h, uint64_t duration_ns);

/*
 * Series found lately, by the addresses of their labels: a request that has the very same strings
 * is counted without a look at their text. Its owner vouches that while it exists the text of no
 * label that it was shown is changed or freed. Empty when zeroed; one shard only.
 */
enum { SL_METRICS_RECENT = 32 };
struct sl_metrics_recent {
	struct sl_metrics_found {
		struct sl_str service, route, rule, backend;
		uint32_t code;
		uint64_t *requests; /* NULL: free */
		struct sl_histogram_cells *durations;
	} found[SL_METRICS_RECENT];
};

/* One request that was answered; an empty label means that there was none. */
struct sl_metrics_request {
	struct sl_str service; /* namespace/name:port */
	struct sl_str route;   /* kind/namespace/name */
	struct sl_str rule;    /* name or index */
	struct sl_str backend; /* namespace/name:port */
	uint32_t code;	       /* status; 0: no answer was sent */
	uint64_t duration_ns;
	struct sl_metrics_recent *recent; /* NULL: none */
};
/* sluice_requests_total and sluice_request_duration_seconds{service,route}. Allocates only when it
 * meets a label set for the first time, up to the limit; strings are copied. */
void sl_metrics_request(struct sl_metrics_shard *s, const struct sl_metrics_request *request);

/* n connections that a rule of a TLSRoute or TCPRoute took, or flows of a UDPRoute:
 * sluice_route_connections_total. code and duration_ns are not looked at. */
void sl_metrics_connections(struct sl_metrics_shard *s, const struct sl_metrics_request *from,
			    uint64_t n);

/* What shadow routes, had they been enforced, would have meant to a request. */
enum sl_shadow_result {
	SL_SHADOW_UNAFFECTED, /* none of their rules takes it */
	SL_SHADOW_SAME,	      /* one does, and nothing differs but the rule's name */
	SL_SHADOW_DIFFERS,
	SL_SHADOW_RESULTS,
};
/* In words, as in the label "result". Static. */
const char *sl_shadow_result_name(enum sl_shadow_result result);

/* One request that was shown to the shadow routes of its Service, by the rule that would have taken
 * it (empty: none): sluice_shadow_requests_total. Of request the first three members count. */
void sl_metrics_shadow(struct sl_metrics_shard *s, const struct sl_metrics_request *request,
		       enum sl_shadow_result result);

struct sl_metrics;

struct sl_metrics_opts {
	uint32_t n_workers;  /* shards: one for each thread that counts */
	uint32_t max_series; /* label sets of requests, per worker; 0: 4096 */
};

/* Thread: control, as for all functions below. Returns 0 or -ENOMEM. */
int sl_metrics_new(const struct sl_metrics_opts *opts, struct sl_metrics **ret);
/* Workers must be gone. Accepts NULL, returns NULL. */
struct sl_metrics *sl_metrics_free(struct sl_metrics *m);
/* Borrowed, worker < n_workers. */
struct sl_metrics_shard *sl_metrics_shard(struct sl_metrics *m, uint32_t worker);
/* Sums over all shards, for status output. */
uint64_t sl_metrics_counter(const struct sl_metrics *m, enum sl_counter c);
uint64_t sl_metrics_gauge(const struct sl_metrics *m, enum sl_gauge g);
uint64_t sl_metrics_splice_nevers(const struct sl_metrics *m, enum sl_splice_why why);
uint64_t sl_metrics_splice_lefts(const struct sl_metrics *m, enum sl_splice_why why);
/* Requests, or connections, of a route so far. */
uint64_t sl_metrics_route_requests(const struct sl_metrics *m, struct sl_str route);

/* Of a shadow route: requests of the Services that it is shown those of; those that its rules would
 * have taken, and of these those that would have gone otherwise. */
struct sl_metrics_shadows {
	uint64_t evaluated, matched, differs;
};
typedef bool (*sl_metrics_service_fn)(void *arg, struct sl_str service);
/* shown: whether the route is shown the requests of a Service, "namespace/name:port". */
struct sl_metrics_shadows sl_metrics_route_shadows(const struct sl_metrics *m, struct sl_str route,
						   sl_metrics_service_fn shown, void *arg);

/* ---- values that are kept elsewhere ---- */

struct sl_metrics_out;

enum sl_metric_type { SL_METRIC_COUNTER, SL_METRIC_GAUGE };

struct sl_metric_label {
	const char *name;
	struct sl_str value; /* any bytes: escaped, invalid UTF-8 replaced */
};

/* Begin a family: name is [a-z_:][a-z0-9_:]*, and no other source or table has it. */
void sl_metrics_out_family(struct sl_metrics_out *o, const char *name, const char *help,
			   enum sl_metric_type type);
/* A sample of the family begun last. Errors are kept and come back from sl_metrics_render(). */
void sl_metrics_out_u64(struct sl_metrics_out *o, const struct sl_metric_label *labels,
			size_t n_labels, uint64_t value);
/* Nanoseconds, shown as seconds. */
void sl_metrics_out_ns(struct sl_metrics_out *o, const struct sl_metric_label *labels,
		       size_t n_labels, uint64_t ns);

/* Called in each rendering, in the order of adding. */
typedef void (*sl_metrics_source_fn)(struct sl_metrics_out *o, void *arg);
/* Called before each rendering, to bring shards up to date with what is counted elsewhere. arg is
 * borrowed until sl_metrics_free(). */
void sl_metrics_on_render(struct sl_metrics *m, void (*fn)(void *arg), void *arg);
/* arg is borrowed until sl_metrics_free(). Returns 0 or -ENOMEM. */
int sl_metrics_add_source(struct sl_metrics *m, sl_metrics_source_fn fn, void *arg);

#define SL_METRICS_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"

/* Append the whole exposition. Returns 0, -ENOMEM or -ENOBUFS; out then holds an unusable part. */
int sl_metrics_render(struct sl_metrics *m, struct sl_buf *out);
