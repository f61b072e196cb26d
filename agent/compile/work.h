/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * What the compiler knows between its runs, as a graph: slices lie at Services, routes at the
 * Services that they name (also at those that do not exist), groups of routes at the ports of their
 * parents. Objects are immutable and counted: the same pointer means that nothing changed.
 *
 * A run follows what changed (compile.c): objects (changes.c), routes off (routes.c), Services
 * (xbackends.c, services.c, upstreams.c, topology.c, policies.c, balance.c, backend_tls*.c), routes
 * on (rules.c, filters.c, persistence.c, backends.c, variants.c, attach.c), tables (tables.c),
 * addresses (frontends.c, contest.c, kernel.c, splits.c), pods (pods.c), conditions (conditions.c).
 * All return 0 or -ENOMEM; after that the whole state is dropped.
 */
#include "base/list.h"
#include "compile/compile.h"
#include "compile/slots.h"
#include "snapshot/faults.h"
#include "snapshot/match_index.h"

struct tls_policy_node;
struct xbackend_node;
struct port_tls;
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
	struct port_node *ports; /* TCP and UDP */
	uint32_t n_ports;
	enum sl_failure_policy policy;
	enum sl_splice_policy splice;
	struct sl_list changed; /* in the compiler's */
	bool reshaped;		/* routes that name it look at it again */
	bool endpoints_changed;
	struct sl_list bad_annotation;	 /* in the compiler's, when one is wrong */
	struct sl_list placeless;	 /* likewise, when it needs to know the node */
	struct port_tls *tls, *next_tls; /* by port; next: during a run */
	uint32_t n_tls, n_next_tls;
	struct sl_list with_tls; /* in the compiler's, when there are any of either */
	/* It is no Service, but stands for an XBackend, which has made service and a slice. */
	struct xbackend_node *xbackend;
};

/* What says that a port is spoken to in TLS: a BackendTLSPolicy, or the XBackend itself. */
struct port_tls {
	uint16_t port;
	bool is_whole;		    /* of a target that names no port */
	struct sl_object *owner;    /* a reference */
	struct sl_tls_context *tls; /* a reference; NULL: it cannot be honoured */
};

/* What became of a target. */
struct target_work {
	bool ours, found;
	const struct tls_policy_node *loses_to; /* NULL: it does not */
};

/* Where it is written how a server is met. */
struct tls_source {
	struct sl_object *object; /* whose needs the spec's are among */
	const struct sl_tls_spec *spec;
	const struct sl_rule_error *error;    /* NULL: none */
	const char *validation, *certificate; /* fields, for messages */
};

/* What is made of that, and of the objects that it names: all of one version. */
struct tls_work {
	struct tls_source from; /* its object is built */
	struct sl_arena arena;
	struct sl_object *built;	/* a reference; NULL: nothing is made yet */
	struct sl_data_object **inputs; /* references, by sl_object.needs; NULL: missing */
	uint32_t n_inputs;
	struct sl_tls_context *tls; /* NULL: see reason */
	const char *reason;	    /* against it; NULL: usable */
	struct sl_str message;
	const char *refs_reason; /* of the first bad one; NULL: all references are good */
	struct sl_str refs_message;
};

struct tls_policy_node {
	struct sl_backend_tls_policy *policy; /* a reference; NULL: gone */
	struct sl_list gone;		      /* in the compiler's */
	struct sl_route_status *status;
	struct target_work *targets; /* during a run; as many as the policy has */
	struct tls_work work;
};

/* The routes that make one table: of one kind, of one namespace or the producers', and all
 * enforced or all not. */
struct group_node {
	struct sl_list node;	/* of the port's groups */
	struct sl_list changed; /* in the compiler's */
	uint64_t id;		/* never used again */
	struct port_node *port;
	struct sl_str namespace; /* of the routes; the bytes follow the struct */
	enum sl_route_kind kind;
	bool shadow; /* of routes that are evaluated and not enforced */
	struct sl_list attachments;
	uint32_t n_routes, n_broken;
	struct sl_match_builder *builder;
	struct sl_route_table *table; /* NULL before the first build */
};

/* A port's upstream as the rules of one route have it: a policy of that route says so. */
struct variant {
	struct sl_list node; /* of the port's */
	struct sl_list idle; /* in the compiler's when nobody uses it; it goes at the run's end */
	struct sl_str key;   /* the upstream's; the bytes follow the struct */
	struct sl_traffic_policy *policy; /* a reference */
	struct sl_upstream *upstream;
	uint32_t n_users;
};

struct variant_use {
	struct variant_use *next;
	struct variant *variant;
};

struct port_node {
	struct service_node *service;
	const struct sl_service_port *port;
	uint32_t index;
	struct sl_str key; /* the upstream's */
	enum sl_app_protocol app_protocol;
	struct sl_upstream *upstream;
	struct sl_list variants;
	struct sl_addr *usable; /* addresses of usable endpoints of both families, sorted */
	uint32_t n_usable;
	struct sl_list groups;	      /* by namespace, then kind; those that are enforced first */
	uint32_t n_shadows;	      /* of them, that are not */
	struct sl_frontend *frontend; /* NULL: has no address */
	struct sl_list changed;	      /* in the compiler's: frontend to be made */
	struct claim *claims;	      /* one per address */
	uint32_t n_claims;
};

/* ---- XBackends ---- */

struct xbackend_node {
	struct sl_xbackend *backend;  /* a reference */
	struct service_node *service; /* stands for it */
	struct slice_node slice;      /* its endpoints */
	struct sl_host *host;	      /* a reference; NULL: not known, or not needed */
	bool changed, pods_changed;   /* during a run */
	bool untold;		      /* likewise: its status is to be made */
	struct tls_work work;
	struct port_tls tls; /* owner NULL: in the clear */
	struct sl_route_status *status;
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
	struct port_node *port; /* OK: of the Service */
	struct sl_str upstream; /* empty: key is its */
	enum sl_backend_state state;
	struct backend_work *targets; /* as of a rule */
};

struct rule_work {
	const struct sl_route_rule *spec;
	uint32_t index;
	const struct sl_rule_error *error; /* NULL: usable */
	bool unresolved_filter;	  /* usable, and answers 500: a filter may not be skipped */
	struct sl_match *matches; /* text borrowed from the route, no rule */
	uint32_t n_matches;
	struct backend_work *backends;
	struct backend_work *targets; /* that filters call, by filter; NULL: none do */
	struct sl_faults *faults;     /* a policy's, borrowed; NULL: none */
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
	bool shadow;	/* sluice.dev/shadow */
	bool by_kernel; /* sluice.dev/enforced-by: kernel; it depends whether that can be */
	struct rule_work *rules;
	uint32_t n_usable; /* rules */
	struct parent_work *parents;
	struct notes unresolved; /* references */
	struct dependency *dependencies;
	struct attachment *attachments;
	struct pattern_use *patterns;
	struct variant_use *variants;
	struct sl_traffic_policy *policy; /* of the route; a reference; NULL: none */
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
	struct sl_list bad_annotation; /* in the compiler's, when it is wrong */
};

/* ---- policies ---- */

struct policy_node {
	struct sl_policy_object *policy; /* a reference */
	struct sl_route_status *status;
	/* POLICY_FAULT: */
	bool is_built;		  /* faults are of this version */
	struct sl_faults *faults; /* a reference; NULL: invalid */
	const char *reason;	  /* it applies nowhere; NULL: it does */
	char text[512];		  /* why, or when */
};

/* What one policy applies to: a Service or a route, or a port or rule of it. */
struct policy_target {
	struct sl_policy_object *policy; /* a reference */
	struct sl_faults *faults;	 /* POLICY_FAULT: a reference */
	struct sl_str key;		 /* see policies.c */
	char text[];
};

/* Policies of one kind compete for a target, those of two do not. */
enum policy_class { POLICY_BALANCE, POLICY_BUDGET, POLICY_FAULT, N_POLICY_CLASSES };

static inline enum policy_class policy_class(enum sl_kind kind)
{
	return kind == SL_KIND_TRAFFICPOLICY	? POLICY_BALANCE
	       : kind == SL_KIND_FAULTINJECTION ? POLICY_FAULT
						: POLICY_BUDGET;
}

struct policies {
	struct sl_map nodes;   /* struct policy_node by object key */
	struct sl_map targets; /* struct policy_target by key */
};

/* In the making, for one targetRef after the other. */
struct policy_status {
	struct sl_route_status *part;
	struct sl_parent_status *parents; /* the part's */
	const struct sl_parent_ref *ref;
};

/* ---- this node ---- */

/* An endpoint before it is known which of them take requests. */
struct candidate {
	struct sl_endpoint endpoint; /* text borrowed from the slice */
	const struct sl_slice_endpoint *from;
	bool usable;
};

/* ---- all of it ---- */

struct sl_compiler {
	struct sl_compile_opts opts;
	uint64_t model_id, model_generation;  /* of the last run; 0: none */
	struct sl_map services, slices, pods; /* nodes by object key */
	struct sl_map routes[SL_N_ROUTE_KINDS];
	struct policies policies[N_POLICY_CLASSES];
	struct sl_map patterns;		    /* struct pattern by text */
	struct sl_map tls_policies;	    /* struct tls_policy_node by object key */
	struct sl_map xbackends;	    /* struct xbackend_node by object key */
	struct sl_map config_maps, secrets; /* struct sl_data_object by key, references */
	struct sl_list gone_tls_policies, tls_services, idle_variants;
	bool tls_policies_changed; /* or what they name */
	struct sl_list changed_services, changed_routes, changed_groups, changed_ports;
	struct sl_list warned_routes, untold_routes, bad_services, bad_pods, placeless;
	struct sl_node *node; /* a reference; NULL: not known */
	struct contest vips, udp_vips, pod_ips, pod_uids;
	struct sl_slots slots;
	uint64_t last_rule_id, last_group_id;
	uint32_t n_rules;
	/* As in the snapshot. */
	struct sl_pmap frontends, udp_frontends, upstreams, pods_by_ip, pods_by_uid, plan, splits;
	struct sl_pmap statuses; /* as in the report */
	int64_t next_change_s;	 /* likewise */
};

/* ---- changes.c ---- */
int changes_follow(struct sl_compiler *c, const struct sl_model *model);

/* ---- services.c ---- */
int service_get(struct sl_compiler *c, struct sl_str namespace, struct sl_str name,
		struct service_node **ret);
/* By its key, "namespace/name", of which an XBackend's is no Service's. */
int service_by_key(struct sl_compiler *c, struct sl_str key, struct service_node **ret);
int service_set(struct sl_compiler *c, struct sl_str key, struct sl_service *s);
int slice_set(struct sl_compiler *c, struct sl_str key, struct sl_endpointslice *s);
void service_touch(struct sl_compiler *c, struct service_node *s);
/* The same, as its endpoints are others. */
void endpoints_touch(struct sl_compiler *c, struct service_node *s);
/* Which of the changed ones are of another shape; their routes are touched. */
void services_compare(struct sl_compiler *c);
int services_build(struct sl_compiler *c);
/* Forgets the changed ones that nobody knows any more. */
void services_settle(struct sl_compiler *c);
void services_free(struct sl_compiler *c);
struct port_node *service_port(const struct service_node *s, const struct sl_service_port *port);
/* NULL: it has none. */
struct port_node *port_by_number(const struct service_node *s, uint16_t number,
				 enum sl_protocol protocol);
/* By the key of its upstream. */
struct port_node *port_by_key(const struct sl_compiler *c, struct sl_str key);
int services_warn(struct sl_compiler *c, struct sl_diags *diags);

static inline bool port_is_udp(const struct port_node *port)
{
	return port->port->protocol == SL_PROTOCOL_UDP;
}

/* Of the ports that routes of the kind are for, as parents and as backends. */
static inline enum sl_protocol route_protocol(enum sl_route_kind kind)
{
	return kind == SL_ROUTE_UDP ? SL_PROTOCOL_UDP : SL_PROTOCOL_TCP;
}

/* What the key of a port's upstream ends with: one number may be a port of two protocols. */
static inline const char *port_suffix(enum sl_protocol p)
{
	return p == SL_PROTOCOL_UDP ? SL_UDP_SUFFIX : "";
}

/* Addresses of TCP and UDP are two things. */
static inline struct contest *port_contest(struct sl_compiler *c, const struct port_node *port)
{
	return port_is_udp(port) ? &c->udp_vips : &c->vips;
}

/* ---- backend_tls*.c ---- */
int tls_policy_set(struct sl_compiler *c, struct sl_str key, struct sl_backend_tls_policy *policy);
int data_set(struct sl_compiler *c, enum sl_kind kind, struct sl_str key, struct sl_data_object *o);
/* Which policy is in force for which port. Services for which another one is are touched. */
int tls_policies_build(struct sl_compiler *c);
/* Unless the object and what it names are as they were, what is to be said of it, and its context,
 * are made anew. */
int tls_work_refresh(struct sl_compiler *c, struct tls_work *n, const struct tls_source *from);
void tls_work_forget(struct tls_work *n);
int tls_policy_tell(struct sl_compiler *c, struct tls_policy_node *n);
/* ResolvedRefs of who has such an object. */
int tls_refs_tell(const struct tls_work *work, struct sl_route_status *st, struct sl_condition *c);
void tls_policies_free(struct sl_compiler *c);
void port_tls_free(struct port_tls *list, uint32_t n);
/* NULL: none is in force. */
const struct port_tls *port_tls(const struct port_node *port);

/* ---- xbackends*.c ---- */
int xbackend_set(struct sl_compiler *c, struct sl_str key, struct sl_xbackend *b);
/* A Pod came, or is about to go. */
void xbackends_follow_pod(struct sl_compiler *c, const struct sl_pod *pod);
/* Their Services and slices, where anything of them is another. Before services_compare(). */
int xbackends_build(struct sl_compiler *c);
/* NULL: in the clear. */
const struct port_tls *xbackend_tls(const struct xbackend_node *n);
/* Whether it may be a backend of routes of the kind. */
bool xbackend_speaks(const struct sl_xbackend *b, enum sl_route_kind kind);
/* The node that stands for an XBackend, which may not exist; kept while the route depends on it. */
int route_depend_xbackend(struct sl_compiler *c, struct route_node *n, struct sl_str namespace,
			  struct sl_str name, struct service_node **ret);
/* Other routes use it. */
void xbackend_retell(struct xbackend_node *n);
/* Their status, where it may be another. */
int xbackends_tell(struct sl_compiler *c);
int xbackend_status_build(struct sl_compiler *c, struct xbackend_node *n);
void xbackends_free(struct sl_compiler *c);

/* ---- upstreams.c ---- */
enum sl_app_protocol app_protocol_from(struct sl_str declared);
/* Whether the agent can apply a route of this kind to what arrives in this protocol. */
bool protocol_routable(enum sl_app_protocol p, enum sl_route_kind kind);
/* The port's upstream and all variants of it. */
int upstream_build(struct sl_compiler *c, struct port_node *port);
/* One of them; the port's own is built. */
int upstream_build_variant(struct sl_compiler *c, struct port_node *port, struct variant *v);

/* ---- variants.c ---- */
/* For a backend of a route that has a policy of its own: the variant's key, in rw's arena. */
int variant_use(struct sl_compiler *c, struct route_work *rw, struct port_node *port,
		struct sl_str *ret_key);
/* The route is detached, or goes. */
void variants_unuse(struct sl_compiler *c, struct route_work *rw);
/* Those that nobody uses go. Returns 0 or -ENOMEM. */
int variants_settle(struct sl_compiler *c);
/* Off the snapshot to be; as above. */
int variants_withdraw(struct sl_compiler *c, struct port_node *port);
void variants_free(struct port_node *port);

/* ---- budget.c ---- */
/* How many retries the backend takes. */
int budget_build(const struct sl_compiler *c, const struct port_node *port, struct sl_upstream *u);

/* ---- policies.c ---- */
/* p: NULL when it is gone. */
int policy_set(struct sl_compiler *c, enum sl_kind kind, struct sl_str key,
	       struct sl_policy_object *p);
/* Which are in force; touches the Services and routes that get another one. */
int policies_build(struct sl_compiler *c);
/* That of the port, else of its Service; NULL: none. */
const struct sl_traffic_policy *policy_of_port(const struct sl_compiler *c, enum policy_class class,
					       const struct port_node *port);
/* Likewise, of a port and of a rule, as a part that is borrowed. */
struct sl_faults *faults_of_port(const struct sl_compiler *c, const struct port_node *port);
struct sl_faults *faults_of_rule(const struct sl_compiler *c, const struct route_work *rw,
				 const struct sl_route_rule *rule);
/* That of the route itself; NULL: none. */
struct sl_traffic_policy *policy_of_route(const struct sl_compiler *c, const struct route_work *rw);
void policies_free(struct sl_compiler *c);

/* ---- faults.c ---- */
/* Makes n->faults of a FaultInjection, once for each version, and says whether it has ended. */
int faults_prepare(struct sl_compiler *c, struct policy_node *n);

/* ---- balance.c ---- */
/* Sets u->balance, if there is something to say; u has its endpoints. p: NULL: no policy; old: the
 * version before; NULL: none. */
int balance_build(const struct port_node *port, const struct sl_traffic_policy *p,
		  const struct sl_upstream *old, struct sl_upstream *u);

/* ---- topology.c ---- */
/* Marks those of n that take requests of this node: as kube-proxy does where slices have hints. */
void endpoints_choose(const struct sl_compiler *c, const struct sl_service *service,
		      struct candidate *candidates, uint32_t n);
/* o: NULL when it is gone. Nodes other than this one mean nothing. */
void node_set(struct sl_compiler *c, struct sl_str key, struct sl_node *node);

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
int route_depend_node(struct route_node *n, struct service_node *s);
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

/* ---- matches.c ---- */
/* Matches of one object in the checking. */
struct match_check {
	struct sl_compiler *c;
	struct sl_arena *arena;		    /* of what is made */
	struct pattern_use **patterns;	    /* grows; its patterns live until patterns_drop() */
	const struct sl_rule_error **error; /* *error: what is wrong; nothing is looked at then */
	bool is_rpc;
};
/* *ret: text borrowed from from, no rule. */
int match_check(const struct match_check *k, const struct sl_route_match *from, struct sl_str field,
		struct sl_match *ret);
void patterns_drop(struct sl_compiler *c, struct pattern_use *uses);
/* A copy of from for a table of its own, with references of its own. */
int match_build(struct sl_arena *a, const struct sl_match *from, struct sl_match *ret);
/* *ret_error: in the arena. */
int rule_fail(struct sl_arena *a, const struct sl_rule_error **ret_error, const char *reason,
	      struct sl_str field, const char *fmt, ...) __attribute__((format(printf, 5, 6)));

/* ---- rules.c ---- */
int rules_check(struct sl_compiler *c, struct route_node *n);
int rule_build(struct sl_arena *a, const struct route_work *rw, const struct rule_work *rule,
	       struct sl_rule *ret);

/* ---- persistence.c ---- */
/* rule: named already. No-op without a spec. */
int persistence_build(struct sl_arena *a, const struct route_work *rw, struct sl_rule *rule,
		      const struct sl_persistence_spec *spec);
/* What the port's XBackend or policy has; no-op without. */
int upstream_persistence_build(const struct sl_compiler *c, const struct port_node *port,
			       struct sl_upstream *u);

/* ---- filters.c ---- */
/* Of a rule or a backendRef. */
struct filter_specs {
	const struct sl_filter_spec *items;
	uint32_t n;
};
/* Sets *error when the rule cannot be used so, *ret_unresolved when requests may not pass, and
 * *ret_targets, which filters_build() wants back. */
int filters_check(struct sl_compiler *c, struct route_node *node, struct filter_specs specs,
		  struct sl_str field, const struct sl_rule_error **error, bool *ret_unresolved,
		  struct backend_work **ret_targets);
int filters_build(struct sl_arena *a, const struct sl_route_rule *rule, struct filter_specs specs,
		  const struct backend_work *targets, const struct sl_filter **ret,
		  uint32_t *ret_n);
/* filter_cors.c */
int filter_build_cors(struct sl_arena *a, const struct sl_cors_spec *spec,
		      const struct sl_cors **ret);
/* A path prefix as it counts: without trailing "/". */
struct sl_str prefix_strip(struct sl_str s);

/* ---- attach.c ---- */
int route_attach(struct sl_compiler *c, struct route_node *n);

/* ---- tables.c ---- */
int table_attach(struct sl_compiler *c, struct port_node *port, struct route_node *n,
		 struct group_node **ret);
/* The group of the same port and clients whose kind takes precedence over this one's; NULL: none.
 * Shadow routes lose as if all routes were enforced, and take from no others. */
const struct group_node *group_loses_to(const struct group_node *g);
/* Of shadow routes: those in force for the same clients, when they take whole connections, so that
 * no request is seen; else NULL. */
const struct group_node *group_hidden_by(const struct group_node *g);
int table_detach(struct sl_compiler *c, struct attachment *a, bool broken);
void group_free(struct group_node *g);
int groups_build(struct sl_compiler *c);

/* ---- frontends.c ---- */
void port_touch(struct sl_compiler *c, struct port_node *port);
/* What the plan has for its addresses is made again. */
void port_touch_claims(struct sl_compiler *c, struct port_node *port);
/* Claims the Service's addresses for it. */
int port_claim(struct sl_compiler *c, struct port_node *port);
int frontends_build(struct sl_compiler *c);
int vips_settle(struct sl_compiler *c);
int vips_warn(struct sl_compiler *c, struct sl_diags *diags);
void warn(struct sl_diags *diags, const struct sl_object *o, struct sl_str field, const char *fmt,
	  ...) __attribute__((format(printf, 4, 5)));

/* ---- splits.c ---- */
/* What the kernel spreads by itself at this address of the port. */
int split_put(struct sl_compiler *c, const struct port_node *port, const struct sl_split_at *at);

/* ---- annotations.c ---- */
/* *ret_bad: there is a value, and it is none of those. */
enum sl_splice_policy splice_read(const struct sl_object *o, bool *ret_bad);
/* If it is. */
void splice_warn(const struct sl_object *o, struct sl_diags *diags);
/* Sets rw->shadow. A value that is none of those counts as true, and is warned of: who marks a
 * route at all does not want it enforced by a slip. */
int shadow_read(struct route_work *rw);
/* Sets rw->by_kernel. */
int enforcer_read(struct route_work *rw);

/* ---- kernel.c ---- */
/* Sets f->by_kernel, or why that cannot be; f has its tables. */
int kernel_judge(const struct sl_compiler *c, const struct port_node *port, struct sl_frontend *f);
/* The condition of a route that asks for it, and is accepted. */
int kernel_tell(const struct sl_compiler *c, struct sl_route_status *st,
		const struct route_work *rw, const struct parent_work *p,
		struct sl_condition *condition);
/* A Service that the route names, or what applies to it, is another: if the route asks for the
 * kernel, is that still so? It is attached. */
void kernel_touch(struct sl_compiler *c, struct route_node *n);

/* ---- pods.c ---- */
bool pod_ended(const struct sl_pod *pod);
int pod_set(struct sl_compiler *c, struct sl_str key, struct sl_pod *pod);
int pods_settle(struct sl_compiler *c);
void pods_free(struct sl_compiler *c);
int pods_warn(struct sl_compiler *c, struct sl_diags *diags);

/* ---- conditions.c ---- */
/* c gets texts of its own; type, status and reason are literals. */
int condition_set(struct sl_route_status *st, struct sl_condition *c, const char *type,
		  const char *status, const char *reason, struct sl_str message);
int statuses_build(struct sl_compiler *c);
/* Of an object: key, reference, and room for that many parents, none of which is there yet. */
int status_new(const struct sl_object *of, uint32_t max_parents, struct sl_route_status **ret,
	       struct sl_parent_status **ret_parents);
/* st replaces *current, in the report too, unless it says the same. r: what making it came to,
 * passed on. Takes st. */
int status_settle(struct sl_compiler *c, int r, struct sl_route_status *st,
		  struct sl_route_status **current);
