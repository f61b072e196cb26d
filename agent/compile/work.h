/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * What the compiler knows between its runs, as a graph: slices lie at Services, routes at the
 * Services that they name (also at those that do not exist), groups of routes at the ports of their
 * parents. Objects are immutable and counted: the same pointer means that nothing changed.
 *
 * A run follows what changed (compile.c): objects (changes.c), routes off (routes.c), Services
 * (services.c, upstreams.c), routes on (rules.c, filters.c, backends.c, attach.c), tables
 * (tables.c), addresses (frontends.c, contest.c), pods (pods.c), conditions (conditions.c). All
 * return 0 or -ENOMEM; after that the whole state is dropped.
 */
#include "base/list.h"
#include "compile/compile.h"
#include "compile/slots.h"
#include "snapshot/match_index.h"

struct sl_compiler;
struct route_node;
struct service_node;

/* ---- who has an address ---- */

/* One object's wish for a key (an address, a uid). */
struct claim {
	struct sl_list node; /* of the key's claims, by precedence */
	struct claimed *at;  /* NULL: not made */
	struct sl_str namespace, name;
	uint32_t index; /* among the object's */
	void *owner;	/* struct port_node or struct pod_node */
};

struct claimed {
	struct sl_list claims;
	struct sl_list changed, conflict; /* in the contest's lists */
	struct sl_str key;		  /* the bytes follow the struct */
};

struct contest {
	struct sl_map by_key;
	struct sl_list changed;
	struct sl_list conflicts; /* with more than one claim */
};

void contest_init(struct contest *t);
/* The claims are their owners'. */
void contest_deinit(struct contest *t);
int claim_make(struct contest *t, struct claim *c, struct sl_str key);
void claim_drop(struct contest *t, struct claim *c);
void claim_touch(struct contest *t, struct claim *c);
/* NULL: nobody. */
struct claim *claimed_winner(const struct claimed *k);
/* Takes the next one off the list; NULL at the end. */
struct claimed *contest_next(struct contest *t);
/* One without claims goes; call for each that contest_next() gave. */
void contest_settle(struct contest *t, struct claimed *k);
/* The losing claims in order of their owners: a new array (free()). */
int contest_losers(const struct contest *t, const struct claim ***ret, size_t *ret_n);

/* ---- Services ---- */

struct slice_node {
	struct sl_list node;		/* of the Service's slices */
	struct sl_endpointslice *slice; /* a reference */
	struct service_node *service;	/* NULL: it names none */
};

struct service_node {
	struct sl_str key, namespace, name; /* the bytes follow the struct */
	struct sl_service *service;	    /* a reference; NULL: does not exist */
	struct sl_service *built;	    /* what ports are made of; a reference or NULL */
	struct sl_list slices, dependents;
	struct port_node *ports; /* TCP only */
	uint32_t n_ports;
	enum sl_failure_policy policy;
	struct sl_list changed; /* in the compiler's */
	bool reshaped;		/* routes that name it look at it again */
	bool endpoints_changed;
	struct sl_list bad_policy; /* in the compiler's, when the annotation is wrong */
};

/* The routes that make one table: of one kind, and of one namespace or the producers'. */
struct group_node {
	struct sl_list node;	/* of the port's groups */
	struct sl_list changed; /* in the compiler's */
	uint64_t id;		/* never used again */
	struct port_node *port;
	struct sl_str namespace; /* of the routes; the bytes follow the struct */
	enum sl_route_kind kind;
	struct sl_list attachments;
	uint32_t n_routes, n_broken;
	struct sl_match_builder *builder;
	struct sl_route_table *table; /* NULL before the first build */
};

struct port_node {
	struct service_node *service;
	const struct sl_service_port *port;
	uint32_t index;
	struct sl_str key; /* the upstream's */
	enum sl_app_protocol app_protocol;
	struct sl_upstream *upstream;
	struct sl_addr *ready; /* addresses of ready endpoints of both families, sorted */
	uint32_t n_ready;
	struct sl_list groups;	      /* by namespace, then kind */
	struct sl_frontend *frontend; /* NULL: has no address */
	struct sl_list changed;	      /* in the compiler's: frontend to be made */
	struct claim *claims;	      /* one per address */
	uint32_t n_claims;
};

/* ---- routes ---- */

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
	struct sl_match *matches; /* text borrowed from the route, no rule */
	uint32_t n_matches;
	struct backend_work *backends;
};

/* A port that a parentRef means. */
struct parent_port {
	struct parent_port *next;
	uint16_t port;
	struct group_node *group; /* NULL: not attached */
	struct sl_str why_not;
};

struct parent_work {
	bool ours;
	const char *reason; /* NULL: see ports */
	struct sl_str message;
	struct sl_str service; /* its key, as text */
	struct parent_port *ports, *last_port;
};

struct dependency {
	struct sl_list node; /* of the Service's dependents */
	struct dependency *next;
	struct service_node *service;
	struct route_node *route;
};

/* A route in a table. */
struct attachment {
	struct attachment *next;
	struct sl_list node; /* of the group's */
	struct route_node *owner;
	struct group_node *group;
	uint64_t group_id;
	struct sl_route *route; /* a reference */
	bool *inherited;	/* by rule: the next version has its slots */
};

struct pattern {
	struct sl_str text; /* the bytes follow the struct */
	struct sl_regex *regex;
	uint32_t n_users;
};

struct pattern_use {
	struct pattern_use *next;
	struct pattern *pattern;
};

struct warning {
	struct warning *next;
	struct sl_str field, text;
};

/* One version of a route, checked and attached. */
struct route_work {
	struct sl_arena arena;	       /* of what follows */
	struct sl_route_object *route; /* a reference */
	enum sl_route_kind kind;
	struct rule_work *rules;
	uint32_t n_usable; /* rules */
	struct parent_work *parents;
	struct notes unresolved; /* references */
	struct dependency *dependencies;
	struct attachment *attachments;
	struct pattern_use *patterns;
	struct warning *warnings, *last_warning;
};

struct route_node {
	struct sl_route_object *route; /* a reference; NULL: gone */
	struct route_work *work;       /* what is in force; NULL: nothing */
	struct route_work *before;     /* during a run: the version that it replaces */
	struct sl_route_status *status;
	struct sl_list changed; /* in the compiler's */
	struct sl_list warned;	/* likewise, when it has warnings */
	struct sl_list untold;	/* likewise, when its status is to be made */
};

/* ---- pods ---- */

struct pod_node {
	struct sl_pod *pod;	/* a reference */
	struct sl_pod_ref *ref; /* NULL: has ended */
	struct claim *claims;	/* one per address */
	uint32_t n_claims;
	struct claim uid;
};

/* ---- all of it ---- */

struct sl_compiler {
	struct sl_compile_opts opts;
	uint64_t model_id, model_generation;  /* of the last run; 0: none */
	struct sl_map services, slices, pods; /* nodes by object key */
	struct sl_map routes[SL_N_ROUTE_KINDS];
	struct sl_map patterns; /* struct pattern by text */
	struct sl_list changed_services, changed_routes, changed_groups, changed_ports;
	struct sl_list warned_routes, untold_routes, bad_policies;
	struct contest vips, pod_ips, pod_uids;
	struct sl_slots slots;
	uint64_t last_rule_id, last_group_id;
	uint32_t n_rules;
	struct sl_pmap frontends, upstreams, pods_by_ip, pods_by_uid, plan; /* as in the snapshot */
	struct sl_pmap statuses;					    /* as in the report */
};

/* ---- changes.c ---- */
int changes_follow(struct sl_compiler *c, const struct sl_model *model);

/* ---- services.c ---- */
int service_get(struct sl_compiler *c, struct sl_str namespace, struct sl_str name,
		struct service_node **ret);
int service_set(struct sl_compiler *c, struct sl_str key, struct sl_service *s);
int slice_set(struct sl_compiler *c, struct sl_str key, struct sl_endpointslice *s);
void service_touch(struct sl_compiler *c, struct service_node *s);
/* Which of the changed ones are of another shape; their routes are touched. */
void services_compare(struct sl_compiler *c);
int services_build(struct sl_compiler *c);
/* Forgets the changed ones that nobody knows any more. */
void services_settle(struct sl_compiler *c);
void services_free(struct sl_compiler *c);
struct port_node *service_port(const struct service_node *s, const struct sl_service_port *port);
int services_warn(struct sl_compiler *c, struct sl_diags *diags);

/* ---- upstreams.c ---- */
enum sl_app_protocol app_protocol_from(struct sl_str declared);
/* Whether the agent can apply a route of this kind to what arrives in this protocol. */
bool protocol_routable(enum sl_app_protocol p, enum sl_route_kind kind);
int upstream_build(struct sl_compiler *c, struct port_node *port);

/* ---- routes.c ---- */
/* False: objects of the kind are no routes. */
bool route_kind_of(enum sl_kind kind, enum sl_route_kind *ret);
const char *route_kind_name(enum sl_route_kind kind);
int route_set(struct sl_compiler *c, enum sl_route_kind kind, struct sl_str key,
	      struct sl_route_object *route);
void route_touch(struct sl_compiler *c, struct route_node *n);
/* Its status is made anew, as other routes have changed what it says. */
void route_retell(struct sl_compiler *c, struct route_node *n);
int routes_detach(struct sl_compiler *c);
int routes_build(struct sl_compiler *c);
/* Frees what the changed ones were. */
void routes_settle(struct sl_compiler *c);
void routes_free(struct sl_compiler *c);
/* The node of a Service that the route names: the route is looked at again when it changes. */
int route_depend(struct sl_compiler *c, struct route_node *n, struct sl_str namespace,
		 struct sl_str name, struct service_node **ret);
int note_add(struct route_work *rw, const char *reason, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
int route_warn(struct route_work *rw, struct sl_str field, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
int routes_warn(struct sl_compiler *c, struct sl_diags *diags);

/* There are rules, and none can be used: its requests may not go elsewhere unnoticed. */
static inline bool route_is_broken(const struct route_work *rw)
{
	return rw->route->n_rules && !rw->n_usable;
}

/* ---- backends.c ---- */
/* Fills in *ret; what does not resolve is noted. */
int backend_resolve(struct sl_compiler *c, struct route_node *n, const struct sl_backend_ref *ref,
		    struct sl_str field, struct backend_work *ret);

/* ---- rules.c ---- */
int rules_check(struct sl_compiler *c, struct route_node *n);
int rule_build(struct sl_arena *a, const struct route_work *rw, const struct rule_work *rule,
	       struct sl_rule *ret);
/* A copy of from for a table of its own, with references of its own. */
int match_build(struct sl_arena *a, const struct sl_match *from, struct sl_match *ret);
/* *ret_error: in the route's arena. */
int rule_fail(struct route_work *rw, const struct sl_rule_error **ret_error, const char *reason,
	      struct sl_str field, const char *fmt, ...) __attribute__((format(printf, 5, 6)));

/* ---- filters.c ---- */
/* Sets *error when the rule cannot be used so, *ret_unresolved when requests may not pass. */
int filters_check(struct route_work *rw, const struct sl_filter_spec *specs, uint32_t n,
		  struct sl_str field, const struct sl_rule_error **error, bool *ret_unresolved);
int filters_build(struct sl_arena *a, const struct sl_route_rule *rule,
		  const struct sl_filter_spec *specs, uint32_t n, const struct sl_filter **ret);
/* A path prefix as it counts: without trailing "/". */
struct sl_str prefix_strip(struct sl_str s);

/* ---- attach.c ---- */
int route_attach(struct sl_compiler *c, struct route_node *n);

/* ---- tables.c ---- */
int table_attach(struct sl_compiler *c, struct port_node *port, struct route_node *n,
		 struct group_node **ret);
/* The group of the same port and clients whose kind takes precedence over this one's; NULL: none.
 */
const struct group_node *group_loses_to(const struct group_node *g);
int table_detach(struct sl_compiler *c, struct attachment *a, bool broken);
void group_free(struct group_node *g);
int groups_build(struct sl_compiler *c);

/* ---- frontends.c ---- */
void port_touch(struct sl_compiler *c, struct port_node *port);
/* Claims the Service's addresses for it. */
int port_claim(struct sl_compiler *c, struct port_node *port);
int frontends_build(struct sl_compiler *c);
int vips_settle(struct sl_compiler *c);
int vips_warn(struct sl_compiler *c, struct sl_diags *diags);
void warn(struct sl_diags *diags, const struct sl_object *o, struct sl_str field, const char *fmt,
	  ...) __attribute__((format(printf, 4, 5)));

/* ---- pods.c ---- */
int pod_set(struct sl_compiler *c, struct sl_str key, struct sl_pod *pod);
int pods_settle(struct sl_compiler *c);
void pods_free(struct sl_compiler *c);
int pods_warn(struct sl_compiler *c, struct sl_diags *diags);

/* ---- conditions.c ---- */
int statuses_build(struct sl_compiler *c);
