/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The compiled configuration: immutable, shared by all threads, freed when nobody holds it. Made by
 * compile/, read by workers and the datapath. A stream holds the snapshot that it began with for
 * its rule and filters; an attempt asks the newest one for endpoints.
 *
 * Made of counted parts (route tables, frontends, upstreams) in persistent maps, so that a later
 * compile shares what did not change, and two snapshots are compared at the cost of what differs.
 */
#include "base/addr.h"
#include "base/arena.h"
#include "snapshot/balance.h"
#include "snapshot/budget.h"
#include "snapshot/filter.h"
#include "snapshot/plan.h"
#include "snapshot/pmap.h"
#include "tls/context.h"

struct sl_faults;
struct sl_match;
struct sl_match_index;

/* What a backendRef resolves to: one port of one Service. */
enum sl_app_protocol {
	SL_APP_UNKNOWN, /* detect */
	SL_APP_HTTP,	/* declared: appProtocol http, kubernetes.io/ws */
	SL_APP_H2C,	/* kubernetes.io/h2c */
	SL_APP_OPAQUE,	/* declared as something that is not HTTP (tcp, https, tls, ...) */
};

/* sluice.dev/splice of a Service or Pod: may the kernel carry its connections? */
enum sl_splice_policy {
	SL_SPLICE_BY_DEFAULT,
	SL_SPLICE_DISABLED,
	SL_SPLICE_ENABLED, /* and its program is known not to call splice(2) */
};

struct sl_endpoint {
	struct sl_addr addr;
	struct sl_str pod;  /* may be empty */
	struct sl_str node; /* may be empty */
	struct sl_str zone; /* may be empty */
	bool ready;
	bool ending; /* not ready, but still serving until it has gone */
};

/* Behind the key of an upstream that is spoken to in UDP. The kernel sends there, workers do not:
 * only people look at it. */
#define SL_UDP_SUFFIX "/udp"

/* What clients are asked to remember, so that they come to the same endpoint again (GEP-1619). */
struct sl_persistence {
	bool is_header; /* else a cookie */
	bool permanent;
	struct sl_str name, path;
	uint64_t absolute_timeout_ns, idle_timeout_ns; /* SL_TIMEOUT_NONE */
	struct sl_str secret; /* what tokens are sealed with, the same on every node */
};

struct sl_upstream {
	struct sl_part part;
	struct sl_arena arena;
	struct sl_str key; /* "namespace/name:port", port as the Service port number */
	struct sl_str namespace, name;
	uint16_t port;
	enum sl_app_protocol app_protocol;
	enum sl_splice_policy splice; /* of the Service */
	/* The first n_usable take requests of this node: those that are ready and meant for it, or,
	 * when none is ready, those that end. The others follow; each group is sorted by address,
	 * without duplicates. A Pod with addresses of both families is there once, in the Service's
	 * first family. */
	const struct sl_endpoint *endpoints;
	uint32_t n_endpoints, n_usable;
	const struct sl_balance *balance;     /* NULL: one after the other */
	const struct sl_retry_budget *budget; /* NULL: none */
	/* A BackendTLSPolicy: connections that rules make to it speak TLS. NULL: as it is; but
	 * refused: the policy cannot be honoured, so nothing may go there. */
	struct sl_tls_context *tls; /* a reference */
	bool tls_refused;
	struct sl_str tls_policy; /* "namespace/name"; empty: none */
	struct sl_faults *faults; /* a reference; NULL: none */
	/* Of its XBackend, which goes before a rule's, or of an XBackendTrafficPolicy, which stands
	 * behind it. NULL: none. */
	const struct sl_persistence *persistence;
	bool persistence_first;
};

enum sl_backend_state {
	SL_BACKEND_OK,
	SL_BACKEND_INVALID, /* unresolved: its share gets 500 (HTTPBackendRef), or is refused */
};

struct sl_backend {
	enum sl_backend_state state;
	struct sl_str name; /* "namespace/name:port", also when unresolved */
	/* Key of the upstream: the name, or " Kind/namespace/name" behind it where a policy of that
	 * route says how its requests are balanced. */
	struct sl_str upstream;
	uint32_t weight;
	const struct sl_filter *filters;
	uint32_t n_filters;
};

#define SL_TIMEOUT_NONE 0

/* What a rule asks to be tried again (GEP-1731). */
enum { SL_RETRY_MIN_CODE = 400, SL_RETRY_MAX_CODE = 599 };
#define SL_RETRY_BACKOFF_DEFAULT UINT64_MAX

struct sl_retry {
	uint64_t codes[(SL_RETRY_MAX_CODE - SL_RETRY_MIN_CODE) / 64 + 1]; /* a bit for each */
	uint32_t attempts;						  /* after the first */
	uint64_t backoff_ns; /* 0: none; SL_RETRY_BACKOFF_DEFAULT: ours to choose */
};

static inline bool sl_retry_has(const struct sl_retry *r, uint16_t status)
{
	unsigned bit = status - SL_RETRY_MIN_CODE;

	return status >= SL_RETRY_MIN_CODE && status <= SL_RETRY_MAX_CODE &&
	       r->codes[bit / 64] >> bit % 64 & 1;
}

/* Kinds of routes. Where several are attached to one port for the same clients the first of them
 * is in force, the others are not (GEP-1294). */
enum sl_route_kind {
	SL_ROUTE_GRPC,
	SL_ROUTE_HTTP,
	SL_ROUTE_TLS, /* rules and backends take whole connections, as of the next */
	SL_ROUTE_TCP,
	SL_ROUTE_UDP, /* alone on its ports; the kernel enforces it, not the agent */
	SL_N_ROUTE_KINDS
};

struct sl_rule {
	struct sl_str route; /* "HTTPRoute/namespace/name" */
	enum sl_route_kind kind;
	struct sl_str name; /* rule name, else its index as text */
	uint32_t index;
	/* Its place in a worker's balancing state: n_backends cells from wrr_offset on, all below
	 * the snapshot's n_wrr. A rule keeps place and id for as long as its backends and weights
	 * are the same; another that gets the place later has another id. */
	uint32_t wrr_offset;
	uint64_t id; /* from 1 on, never used again */
	const struct sl_filter *filters;
	uint32_t n_filters;
	bool redirects; /* one of the filters answers: backends are not asked */
	const struct sl_backend *backends;
	uint32_t n_backends;
	uint64_t total_weight;					 /* 0: 500 */
	uint64_t request_timeout_ns, backend_request_timeout_ns; /* SL_TIMEOUT_NONE: none */
	const struct sl_retry *retry;				 /* NULL: not asked for */
	const struct sl_persistence *persistence;		 /* likewise */
	struct sl_faults *faults;				 /* a reference; NULL: none */
};

/* What holds between clients of a rule and a backend: its XBackend's word, the rule's, or that of a
 * policy of the Service, in this order. up: NULL: the rule's. NULL: nothing. */
static inline const struct sl_persistence *sl_persistence_of(const struct sl_rule *rule,
							     const struct sl_upstream *up)
{
	if (!up || !up->persistence || (rule->persistence && !up->persistence_first))
		return rule->persistence;
	return up->persistence;
}

/* What one route adds to one route table. */
struct sl_route {
	struct sl_part part;
	struct sl_arena arena;
	struct sl_str key;     /* "namespace/name" */
	int64_t created_at;    /* as in struct sl_meta: older routes precede */
	struct sl_rule *rules; /* the usable ones */
	uint32_t n_rules;
	struct sl_match *matches; /* of all rules; a reference of each regular expression */
	uint32_t n_matches;
};

/* The rules that apply to one group of clients of one Service port (GEP-1324: the
 * producer routes, or the consumer routes of one namespace); all of one kind. */
struct sl_route_table {
	struct sl_part part;
	enum sl_route_kind kind;
	struct sl_match_index *index;
	/* No rule matches: 404, or 500 when a route without any usable rule is attached. To a gRPC
	 * client they mean UNIMPLEMENTED and UNAVAILABLE; connections are refused. */
	uint16_t fallback_status;
};

struct sl_consumer_group {
	struct sl_str namespace; /* of the clients */
	const struct sl_route_table *table;
};

/* What would be in force for one group of clients if their shadow routes were enforced (annotation
 * sluice.dev/shadow): the rules of both tables in one, by precedence. */
struct sl_trial {
	struct sl_str namespace;	     /* as of the routes: the clients', or the Service's */
	const struct sl_route_table *shadow; /* a reference */
	const struct sl_route_table *enforced; /* of the same kind; a reference; NULL: none */
};

/* One port of one routed or unrouted Service, found by its virtual address. */
struct sl_frontend {
	struct sl_part part;
	struct sl_arena arena;
	struct sl_str key; /* "namespace/name:port", also the key of the Service's own upstream */
	struct sl_str namespace;
	uint16_t port;
	enum sl_app_protocol app_protocol;
	enum sl_splice_policy splice; /* of the Service */
	bool routed; /* at least one group has a table; else no client is governed */
	/* The rule in force for all clients is followed by the kernel alone, a TCPRoute's that asks
	 * for it; it asks and cannot have it: why not (else empty). Of TCP. */
	bool by_kernel;
	struct sl_str by_agent_why;
	const struct sl_route_table *producer;	   /* NULL: none; a reference, as in consumers */
	const struct sl_consumer_group *consumers; /* sorted by namespace (sl_str_cmp) */
	uint32_t n_consumers;
	const struct sl_trial *trials; /* mostly none */
	uint32_t n_trials;
	const struct sl_addr *vips; /* addresses and port: its keys in the snapshot */
	uint32_t n_vips;
};

struct sl_pod_ref {
	struct sl_part part;
	struct sl_arena arena;
	struct sl_str namespace, name;
	struct sl_str uid; /* may be empty */
	enum sl_splice_policy splice;
	const struct sl_addr *ips; /* port 0 */
	uint32_t n_ips;
};

struct sl_snapshot {
	atomic_uint refs;
	uint64_t generation;
	struct sl_pmap frontends;     /* struct sl_addr (address and port) -> struct sl_frontend */
	struct sl_pmap udp_frontends; /* likewise; for people, as the kernel serves them */
	struct sl_pmap upstreams;     /* key -> struct sl_upstream */
	/* 16 address bytes -> struct sl_pod_ref; Pods with a netns of their own that have not ended
	 */
	struct sl_pmap pods_by_ip;
	struct sl_pmap pods_by_uid; /* uid -> struct sl_pod_ref */
	uint32_t n_rules, n_wrr;
	bool has_faults;     /* of rules or upstreams, perhaps */
	struct sl_plan plan; /* what the BPF maps shall hold */
};

/* For compile: empty parts with one reference, to be filled in before anybody else sees them. Each
 * returns 0 or -ENOMEM. A table may lack its index until then. unref accepts NULL and half-built
 * parts, returns NULL. */
int sl_upstream_new(struct sl_upstream **ret);
struct sl_upstream *sl_upstream_unref(struct sl_upstream *u);
int sl_route_new(struct sl_route **ret);
struct sl_route *sl_route_unref(struct sl_route *r);
int sl_route_table_new(struct sl_route_table **ret);
struct sl_route_table *sl_route_table_unref(struct sl_route_table *t);
int sl_frontend_new(struct sl_frontend **ret);
int sl_pod_ref_new(struct sl_pod_ref **ret);
int sl_snapshot_new(struct sl_snapshot **ret);

/* Thread: any. */
struct sl_snapshot *sl_snapshot_ref(struct sl_snapshot *s);
/* Accepts NULL, returns NULL. */
struct sl_snapshot *sl_snapshot_unref(struct sl_snapshot *s);
static inline void sl_snapshot_unrefp(struct sl_snapshot **s)
{
	(void)sl_snapshot_unref(*s); /* always NULL */
}

static inline struct sl_upstream *sl_upstream_of(const struct sl_part *p)
{
	return (struct sl_upstream *)p; /* embedded first */
}

/* All return borrowed pointers that live as long as the snapshot, NULL when absent; none
 * allocates. */
const struct sl_frontend *sl_snapshot_frontend(const struct sl_snapshot *s,
					       const struct sl_addr *vip);
const struct sl_frontend *sl_snapshot_udp_frontend(const struct sl_snapshot *s,
						   const struct sl_addr *vip);
const struct sl_upstream *sl_snapshot_upstream(const struct sl_snapshot *s, struct sl_str key);
const struct sl_pod_ref *sl_snapshot_pod_by_ip(const struct sl_snapshot *s,
					       const struct sl_addr *ip);
const struct sl_pod_ref *sl_snapshot_pod_by_uid(const struct sl_snapshot *s, struct sl_str uid);
/* The table that governs clients of that namespace (empty: unknown): the consumer group of their
 * namespace, else the producer group, else NULL (the client is not governed: pass through). */
const struct sl_route_table *sl_frontend_table(const struct sl_frontend *f,
					       struct sl_str client_namespace);
/* The shadow routes that the requests of these clients are shown to; NULL: there are none. */
const struct sl_trial *sl_frontend_trial(const struct sl_frontend *f,
					 struct sl_str client_namespace);
