/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * What one compile run knows between its steps. Everything here lives in work.tmp or borrows from
 * the model, and ends with the run; what stays is copied into the snapshot's parts and the report.
 *
 * Steps, in order: services (upstreams.c), routes (rules.c, filters.c, upstreams.c, attach.c),
 * tables (tables.c, precedence.c), frontends and pods (frontends.c), plan (plan.c), conditions
 * (conditions.c). All return 0 or -ENOMEM.
 */
#include "compile/compile.h"
#include "snapshot/match_index.h"

/* A list of texts for a message, in order. */
struct note {
	struct note *next;
	const char *reason;
	struct sl_str text;
};
struct notes {
	struct note *first, *last;
	uint32_t n;
};

struct backend_work {
	struct sl_str key;
	enum sl_backend_state state;
};

struct rule_work {
	const struct sl_route_rule *spec;
	uint32_t index;
	const struct sl_rule_error *error; /* NULL: usable */
	bool unresolved_filter;	  /* usable, and answers 500: a filter may not be skipped */
	struct sl_match *matches; /* text borrowed from the route, no rule, no rank */
	struct backend_work *backends;
};

struct parent_work {
	bool ours;
	const char *reason; /* NULL: attached */
	struct sl_str message;
};

struct route_work {
	const struct sl_httproute *route;
	struct rule_work *rules;
	uint32_t n_usable; /* rules */
	struct parent_work *parents;
	struct notes unresolved; /* references */
};

struct route_link {
	struct route_link *next;
	const struct route_work *route;
};

/* The routes that make one table. */
struct group_work {
	struct group_work *next;
	struct sl_str namespace; /* of the routes */
	struct route_link *first, *last;
	uint32_t n_routes;
	const struct sl_route_table *table;
};

struct port_work {
	const struct sl_service_port *port;
	struct sl_str key; /* the upstream's */
	enum sl_app_protocol app_protocol;
	struct sl_endpoint *endpoints; /* of both families, sorted by address, no duplicates */
	uint32_t n_endpoints;
	struct group_work *producer; /* NULL: none */
	struct group_work *consumers, *last_consumer;
	uint32_t n_consumers;
};

struct service_work {
	const struct sl_service *service;
	struct port_work *ports; /* TCP only */
	uint32_t n_ports;
};

struct work {
	const struct sl_model *model;
	const struct sl_compile_opts *opts;
	struct sl_snapshot *snap;
	struct sl_compile_report *report;
	struct sl_arena tmp;
	struct service_work *services; /* sorted by namespace and name */
	uint32_t n_services;
	struct sl_map service_by_key; /* "namespace/name" -> struct service_work */
	struct route_work *routes;    /* sorted by namespace and name */
	uint32_t n_routes;
	struct sl_map regexes; /* pattern -> struct sl_regex, a reference each */
	uint32_t cap_tables;
};

/* ---- upstreams.c ---- */
int services_build(struct work *w);
struct service_work *service_find(const struct work *w, struct sl_str namespace,
				  struct sl_str name);
struct port_work *service_port(const struct service_work *s, const struct sl_service_port *port);
enum sl_app_protocol app_protocol_from(struct sl_str declared);
/* Whether the agent can apply an HTTPRoute to requests that arrive in this protocol. */
bool protocol_routable(enum sl_app_protocol p);
/* Fills in *ret; what does not resolve is noted in rw->unresolved. */
int backend_resolve(struct work *w, struct route_work *rw, const struct sl_backend_ref *ref,
		    struct sl_str field, struct backend_work *ret);

/* ---- rules.c ---- */
int rules_check(struct work *w, struct route_work *rw);
int rule_build(struct sl_arena *a, const struct route_work *rw, const struct rule_work *rule,
	       struct sl_rule *ret);
/* A copy of from for a table of its own. */
int match_build(struct sl_arena *a, const struct sl_match *from, struct sl_match *ret);
/* *ret_error: in work.tmp. */
int rule_fail(struct work *w, const struct sl_rule_error **ret_error, const char *reason,
	      struct sl_str field, const char *fmt, ...) __attribute__((format(printf, 5, 6)));

/* ---- filters.c ---- */
/* Sets *error when the rule cannot be used so, *ret_unresolved when requests may not pass. */
int filters_check(struct work *w, const struct sl_filter_spec *specs, uint32_t n,
		  struct sl_str field, const struct sl_rule_error **error, bool *ret_unresolved);
int filters_build(struct sl_arena *a, const struct sl_route_rule *rule,
		  const struct sl_filter_spec *specs, uint32_t n, const struct sl_filter **ret);
/* A path prefix as it counts: without trailing "/". */
struct sl_str prefix_strip(struct sl_str s);

/* ---- the other steps ---- */
int route_attach(struct work *w, struct route_work *rw);
int tables_build(struct work *w);
int frontends_build(struct work *w);
int pods_build(struct work *w);
int plan_build(struct work *w);
int conditions_build(struct work *w);

/* ---- precedence.c ---- */
struct ranked_match {
	const struct sl_match *match;
	uint32_t route; /* place in the order of routes */
	uint32_t rule, index;
	uint32_t out; /* the rule's place in the table */
};
/* Oldest first, then by "namespace/name". */
void routes_sort(const struct route_work **routes, uint32_t n);
void matches_sort(struct ranked_match *matches, uint32_t n);

/* ---- compile.c ---- */
int note_add(struct work *w, struct notes *notes, const char *reason, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
void warn(struct work *w, const struct sl_object *o, struct sl_str field, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
