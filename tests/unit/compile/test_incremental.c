/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random edits of a model: what a compiler with a memory makes of each state must be what a
 * compiler without one makes of it: the same text, the same answers to requests, also after it ran
 * out of memory. The seed is printed and can be given as SLUICE_TEST_SEED.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <time.h>
#include "../golden/dump.h"
#include "../../lib/leak.h"
#include "base/alloc.h"
#include "snapshot/match.h"
#include "snapshot/match_index.h"

enum { STEPS = 4000, REQUESTS = 4 };

static uint64_t random_state;

/* splitmix64: the same sequence everywhere */
static uint32_t below(uint32_t n)
{
	uint64_t z = random_state += 0x9e3779b97f4a7c15ULL;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ z >> 27) * 0x94d049bb133111ebULL;
	return (uint32_t)((z ^ z >> 31) % n);
}

#define PICK(list) sl_str_from((list)[below(sizeof(list) / sizeof(*(list)))])

static const char *const namespaces[] = {"shop", "shop", "team", "other"};
static const char *const names[] = {"a", "b", "c", "d"};
static const char *const route_names[] = {"a", "b", "c", "d", "e", "f",
					  "g", "h", "i", "j", "k", "l"};
static const char *const paths[] = {"/", "/", "/a", "/a/", "/a/b", "/b", "/a/b/c"};
static const char *const patterns[] = {"/a.*", "/[ab]", "/a/(b|c)", ".*b",
				       "/",    "(",	"/a/.",	    "/a/b.*"};
static const char *const header_names[] = {"x", "X", "y", "host"};
static const char *const values[] = {"1", "2", "3"};
static const char *const value_patterns[] = {"[12]", "2|3", ".*", "["};
static const char *const methods[] = {"", "", "GET", "POST", "BREW"};

/* ---- objects ---- */

static struct sl_object *object_new(enum sl_kind kind, struct sl_str name)
{
	struct sl_object *o = NULL;

	cr_assert_eq(sl_object_new(kind, &o), 0);
	o->meta.namespace = PICK(namespaces);
	o->meta.name = name;
	o->meta.created_at = below(3) ? (int64_t)below(3) : INT64_MAX;
	return o;
}

static struct sl_addr random_ip(uint8_t net)
{
	struct sl_addr a = {.ip = {[10] = 0xff, [11] = 0xff, [12] = 10, [13] = net}};

	if (below(4) == 0)
		a = (struct sl_addr){.ip = {0xfd, [13] = net}};
	a.ip[15] = (uint8_t)below(12);
	return a;
}

static struct sl_addr *random_ips(struct sl_arena *a, uint8_t net, uint32_t n)
{
	struct sl_addr *out = sl_arena_new_n(a, struct sl_addr, n + 1);

	for (uint32_t i = 0; i < n; i++)
		out[i] = random_ip(net);
	return out;
}

static const char *const splice_policies[] = {"disabled", "enabled", "perhaps"};

/* At most two. */
static void annotate(struct sl_object *o, const char *name, struct sl_str value)
{
	if (!o->meta.annotations)
		o->meta.annotations = sl_arena_new_n(&o->arena, struct sl_label, 2);
	o->meta.annotations[o->meta.n_annotations++] = (struct sl_label){sl_str_from(name), value};
}

static struct sl_object *random_service(void)
{
	static const char *const protocols[] = {"",   "", "", "http", "tcp", "kubernetes.io/h2c",
						"x/y"};
	static const char *const port_names[] = {"", "web", "api"};
	static const char *const policies[] = {"open", "closed", "perhaps"};
	struct sl_object *o = object_new(SL_KIND_SERVICE, PICK(names));
	struct sl_service *s = (struct sl_service *)o;

	s->type = below(12) ? SL_SERVICE_CLUSTERIP : SL_SERVICE_EXTERNALNAME;
	s->headless = below(12) == 0;
	s->affinity_s = below(30) ? 0 : 1 + below(2);
	s->internal_local = below(6) == 0;
	s->distribution = below(3);
	s->n_cluster_ips = s->headless ? 0 : below(3);
	s->cluster_ips = random_ips(&o->arena, 96, s->n_cluster_ips);
	s->n_ports = below(4);
	s->ports = sl_arena_new_n(&o->arena, struct sl_service_port, s->n_ports + 1);
	for (uint32_t i = 0; i < s->n_ports; i++)
		s->ports[i] = (struct sl_service_port){.name = PICK(port_names),
						       .port = (uint16_t)(80 + below(3)),
						       .protocol = below(3) ? SL_PROTOCOL_TCP
									    : SL_PROTOCOL_UDP,
						       .app_protocol = PICK(protocols)};
	if (below(3) == 0)
		annotate(o, "sluice.dev/failure-policy", PICK(policies));
	if (below(3) == 0)
		annotate(o, "sluice.dev/splice", PICK(splice_policies));
	return o;
}

static struct sl_object *random_slice(void)
{
	static const char *const port_names[] = {"", "web", "api"};
	static const char *const pods[] = {"", "p", "q", "r"};
	struct sl_object *o = object_new(SL_KIND_ENDPOINTSLICE, PICK(route_names));
	struct sl_endpointslice *s = (struct sl_endpointslice *)o;
	struct sl_str *hints = sl_arena_new_n(&o->arena, struct sl_str, 2);

	s->service = below(8) ? PICK(names) : SL_STR("");
	s->n_ports = below(3);
	s->ports = sl_arena_new_n(&o->arena, struct sl_slice_port, s->n_ports + 1);
	for (uint32_t i = 0; i < s->n_ports; i++)
		s->ports[i] = (struct sl_slice_port){.name = PICK(port_names),
						     .port = (uint16_t)(below(3) + 8000),
						     .protocol = below(3) ? SL_PROTOCOL_TCP
									  : SL_PROTOCOL_UDP};
	hints[0] = PICK(names);
	hints[1] = PICK(names);
	s->n_endpoints = below(5);
	s->endpoints = sl_arena_new_n(&o->arena, struct sl_slice_endpoint, s->n_endpoints + 1);
	for (uint32_t i = 0; i < s->n_endpoints; i++)
		s->endpoints[i] =
			(struct sl_slice_endpoint){.addresses = random_ips(&o->arena, 1, 1),
						   .n_addresses = below(8) ? 1 : 0,
						   .ready = below(3),
						   .serving = below(2),
						   .terminating = below(2),
						   .zone = PICK(names),
						   .for_zones = hints,
						   .n_for_zones = below(3) ? 0 : 1,
						   .for_nodes = hints + 1,
						   .n_for_nodes = below(4) ? 0 : 1,
						   .node = PICK(names),
						   .pod = PICK(pods)};
	return o;
}

static struct sl_object *random_policy(void)
{
	static const char *const routes[] = {"HTTPRoute", "HTTPRoute", "GRPCRoute"};
	bool is_budget = below(3) == 0;
	struct sl_object *o =
		object_new(is_budget ? SL_KIND_BACKENDTRAFFICPOLICY : SL_KIND_TRAFFICPOLICY,
			   PICK(route_names));
	struct sl_traffic_policy *p = (struct sl_traffic_policy *)o;

	p->policy.n_target_refs = 1 + below(2);
	p->policy.target_refs =
		sl_arena_new_n(&o->arena, struct sl_parent_ref, p->policy.n_target_refs);
	for (uint32_t i = 0; i < p->policy.n_target_refs; i++) {
		if (!is_budget && below(2)) {
			p->policy.target_refs[i] = (struct sl_parent_ref){
				.group = SL_STR("gateway.networking.k8s.io"),
				.kind = PICK(routes),
				.namespace = o->meta.namespace,
				.name = PICK(route_names),
				.section_name = SL_STR(""),
			};
			continue;
		}
		p->policy.target_refs[i] = (struct sl_parent_ref){
			.kind = SL_STR("Service"),
			.namespace = o->meta.namespace,
			.name = PICK(names),
			.section_name = is_budget || below(3) ? SL_STR("") : SL_STR("web"),
		};
	}
	p->retry_budget = (struct sl_retry_budget_spec){
		.percent = below(3), .interval_ns = below(2), .rate_interval_ns = below(2)};
	p->balancer = below(16) ? below(3) : SL_POLICY_CONSISTENT_HASH;
	p->hash = below(3);
	p->hash_name = SL_STR("x");
	p->limits.requests = below(3);
	return o;
}

static struct sl_object *random_node(void)
{
	struct sl_object *o = object_new(SL_KIND_NODE, PICK(names));

	o->meta.namespace = SL_STR("");
	o->meta.labels = sl_arena_new(&o->arena, struct sl_label);
	o->meta.labels[0] = (struct sl_label){SL_STR("topology.kubernetes.io/zone"), PICK(names)};
	o->meta.n_labels = below(4) ? 1 : 0;
	return o;
}

static struct sl_object *random_pod(void)
{
	static const char *const phases[] = {"Running", "", "Succeeded"};
	static const char *const uids[] = {"", "u1", "u2", "u3"};
	struct sl_object *o = object_new(SL_KIND_POD, PICK(route_names));
	struct sl_pod *p = (struct sl_pod *)o;

	o->meta.uid = PICK(uids);
	p->n_ips = below(3);
	p->ips = random_ips(&o->arena, 1, p->n_ips);
	p->host_network = below(6) == 0;
	p->phase = PICK(phases);
	if (below(3) == 0)
		annotate(o, "sluice.dev/splice", PICK(splice_policies));
	return o;
}

static struct sl_name_match *random_values(struct sl_arena *a, uint32_t n)
{
	struct sl_name_match *out = sl_arena_new_n(a, struct sl_name_match, n + 1);

	for (uint32_t i = 0; i < n; i++) {
		out[i].type = below(5) ? SL_VALUE_EXACT : SL_VALUE_REGEX;
		out[i].name = PICK(header_names);
		out[i].value = out[i].type == SL_VALUE_EXACT ? PICK(values) : PICK(value_patterns);
	}
	return out;
}

static void random_match(struct sl_arena *a, struct sl_route_match *m)
{
	m->path_type = (enum sl_path_match)below(3);
	m->path = m->path_type == SL_PATH_REGEX ? PICK(patterns) : PICK(paths);
	m->method = PICK(methods);
	m->n_headers = below(2) ? 0 : below(3);
	m->headers = random_values(a, m->n_headers);
	m->n_queries = below(3) ? 0 : below(3);
	m->queries = random_values(a, m->n_queries);
}

static void random_rpc_match(struct sl_arena *a, struct sl_route_match *m)
{
	static const char *const services[] = {"", "a", "b", "a/b"};
	static const char *const rpc_methods[] = {"", "b", "c", "d"};
	static const char *const rpc_patterns[] = {"", "[ab]", "a|b.*", "b", "("};

	m->rpc_type = below(3) ? SL_VALUE_EXACT : SL_VALUE_REGEX;
	m->rpc_service = m->rpc_type == SL_VALUE_EXACT ? PICK(services) : PICK(rpc_patterns);
	m->rpc_method = m->rpc_type == SL_VALUE_EXACT ? PICK(rpc_methods) : PICK(rpc_patterns);
	m->n_headers = below(2) ? 0 : below(3);
	m->headers = random_values(a, m->n_headers);
}

static struct sl_backend_ref random_ref(void)
{
	static const char *const kinds[] = {"Service", "Service", "Service", "Bucket"};

	return (struct sl_backend_ref){.group = SL_STR(""),
				       .kind = PICK(kinds),
				       .namespace = PICK(namespaces),
				       .name = PICK(names),
				       .port = (uint16_t)(80 + below(3)),
				       .weight = below(3)};
}

static struct sl_filter_spec *random_filters(struct sl_arena *a, uint32_t *ret_n)
{
	static const struct {
		enum sl_filter_type type;
		const char *name;
	} types[] = {{SL_FILTER_REDIRECT, "RequestRedirect"},
		     {SL_FILTER_MIRROR, "RequestMirror"},
		     {SL_FILTER_UNSUPPORTED, "ExtensionRef"}};
	struct sl_filter_spec *f = sl_arena_new(a, struct sl_filter_spec);
	uint32_t i = below(3);

	*ret_n = below(6) == 0;
	f->type = types[i].type;
	f->type_name = sl_str_from(types[i].name);
	f->redirect.status_code = 302;
	f->mirror.backend = sl_arena_new(a, struct sl_backend_ref);
	*f->mirror.backend = random_ref();
	f->mirror.of.numerator = below(3);
	f->mirror.of.denominator = 3;
	return f;
}

static void random_rule(struct sl_arena *a, struct sl_route_rule *rule, bool is_rpc)
{
	static const char *const rule_names[] = {"", "one", "two"};

	rule->name = PICK(rule_names);
	rule->request_timeout_ns = rule->backend_request_timeout_ns = SL_DURATION_UNSET;
	rule->n_matches = 1 + below(3);
	rule->matches = sl_arena_new_n(a, struct sl_route_match, rule->n_matches);
	for (uint32_t i = 0; i < rule->n_matches; i++)
		(is_rpc ? random_rpc_match : random_match)(a, &rule->matches[i]);
	rule->filters = random_filters(a, &rule->n_filters);
	rule->n_backend_refs = below(4);
	rule->backend_refs = sl_arena_new_n(a, struct sl_backend_ref, rule->n_backend_refs + 1);
	for (uint32_t i = 0; i < rule->n_backend_refs; i++)
		rule->backend_refs[i] = random_ref();
	if (below(10) == 0) {
		rule->error = sl_arena_new(a, struct sl_rule_error);
		*rule->error = (struct sl_rule_error){SL_STR("spec.rules"), SL_STR("bad"),
						      "UnsupportedValue"};
	}
}

static struct sl_object *random_route(void)
{
	static const char *const kinds[] = {"Service", "Service", "Service", "Gateway"};
	static const char *const groups[] = {"", "", "", "", "core"};
	static const enum sl_kind route_kinds[] = {
		SL_KIND_HTTPROUTE, SL_KIND_HTTPROUTE, SL_KIND_HTTPROUTE,
		SL_KIND_GRPCROUTE, SL_KIND_TLSROUTE,  SL_KIND_TCPROUTE,
		SL_KIND_TCPROUTE,  SL_KIND_UDPROUTE,  SL_KIND_UDPROUTE};
	static const char *const hosts[] = {"a", "a.b", "*.b", "*.a.b", "c.a.b"};
	static const char *const enforcers[] = {"kernel", "kernel", "kernel", "agent", "nobody"};
	static const char *const shadows[] = {"true", "true", "false", "perhaps"};
	enum sl_kind kind = route_kinds[below(sizeof(route_kinds) / sizeof(*route_kinds))];
	bool is_rpc = kind == SL_KIND_GRPCROUTE;
	struct sl_object *o = object_new(kind, PICK(route_names));
	struct sl_route_object *route = (struct sl_route_object *)o;

	if (kind == SL_KIND_TCPROUTE && below(4))
		annotate(o, "sluice.dev/enforced-by", PICK(enforcers));
	else if (below(3) == 0)
		annotate(o, "sluice.dev/shadow", PICK(shadows));
	route->n_parent_refs = below(4);
	route->parent_refs =
		sl_arena_new_n(&o->arena, struct sl_parent_ref, route->n_parent_refs + 1);
	for (uint32_t i = 0; i < route->n_parent_refs; i++)
		route->parent_refs[i] = (struct sl_parent_ref){
			.group = PICK(groups),
			.kind = PICK(kinds),
			.namespace = below(2) ? SL_STR("shop") : PICK(namespaces),
			.name = PICK(names),
			.section_name = below(8) ? SL_STR("") : SL_STR("web"),
			.port = (uint16_t)(below(3) ? 0 : 80 + below(3))};
	route->n_hostnames = 1 + below(3);
	route->hostnames = sl_arena_new_n(&o->arena, struct sl_str, route->n_hostnames);
	for (uint32_t i = 0; i < route->n_hostnames; i++)
		route->hostnames[i] = PICK(hosts);
	route->n_rules = kind == SL_KIND_HTTPROUTE || is_rpc ? 1 + below(3) : 1;
	route->rules = sl_arena_new_n(&o->arena, struct sl_route_rule, route->n_rules);
	for (uint32_t i = 0; i < route->n_rules; i++)
		random_rule(&o->arena, &route->rules[i], is_rpc);
	return o;
}

/* ---- policies ---- */

/* Few, as each that is good costs a context of OpenSSL's in each state. */
static const char *const tls_names[] = {"a", "b"};

/* Nobody has its key. */
static const char certificate[] =
	"-----BEGIN CERTIFICATE-----\n"
	"MIIBcTCCARegAwIBAgIUYFat6R1fYxwxmT0Lshe1ThL/6G4wCgYIKoZIzj0EAwIw\n"
	"DTELMAkGA1UEAwwCY2EwIBcNMjYxMTIzMTU0MDM5WhgPMjEyNjEwMzAxNTQwMzla\n"
	"MA0xCzAJBgNVBAMMAmNhMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEvfeZu4EL\n"
	"Cfj/JyAaHsNkzPdqWnjqFMDBzqn2GJDjkOQQsJ44zz+Y4Zol0SnuWWjAUWXjc0A8\n"
	"+Z85xDr5BlBcj6NTMFEwHQYDVR0OBBYEFP/aVxzaEjqnDR9zqLGTG5fgyVxfMB8G\n"
	"A1UdIwQYMBaAFP/aVxzaEjqnDR9zqLGTG5fgyVxfMA8GA1UdEwEB/wQFMAMBAf8w\n"
	"CgYIKoZIzj0EAwIDSAAwRQIgMQ7Vi7ZN+m5fcdnlfCAr5+5XKzDM0M6k+lkau1T3\n"
	"0cUCIQD22EmguF01vC+5g0yYvdqpkNVsS8ceg/Xk7xAXYA7RQA==\n"
	"-----END CERTIFICATE-----\n";

static struct sl_object *random_data(void)
{
	static const char *const keys[] = {"ca.crt", "ca.crt", "ca.crt", "other"};
	enum sl_kind kind = below(2) ? SL_KIND_CONFIGMAP : SL_KIND_SECRET;
	struct sl_object *o = object_new(kind, PICK(tls_names));
	struct sl_data_object *d = (struct sl_data_object *)o;

	o->meta.namespace = SL_STR("shop");
	d->n_items = 1;
	d->items = sl_arena_new(&o->arena, struct sl_data_item);
	d->items[0].key = PICK(keys);
	/* A copy, as a Secret wipes its own. */
	cr_assert_eq(sl_arena_str(&o->arena,
				  below(6) ? SL_STR("nonsense") : sl_str_from(certificate),
				  &d->items[0].value),
		     0);
	return o;
}

static struct sl_object *random_tls_policy(void)
{
	static const char *const kinds[] = {"Service", "Service", "Service", "Bucket"};
	static const char *const data_kinds[] = {"ConfigMap", "ConfigMap", "Secret", "Bucket"};
	static const char *const sections[] = {"", "", "web", "api"};
	static const char *const hosts[] = {"a", "b", "c"};
	struct sl_object *o = object_new(SL_KIND_BACKENDTLSPOLICY, PICK(tls_names));
	struct sl_backend_tls_policy *p = (struct sl_backend_tls_policy *)o;
	struct sl_object_ref *needs;

	o->meta.namespace = SL_STR("shop");
	p->n_targets = 1 + below(2);
	p->targets = sl_arena_new_n(&o->arena, struct sl_parent_ref, p->n_targets);
	for (uint32_t i = 0; i < p->n_targets; i++)
		p->targets[i] = (struct sl_parent_ref){.group = SL_STR(""),
						       .kind = PICK(kinds),
						       .name = PICK(names),
						       .section_name = PICK(sections)};
	p->tls.hostname = PICK(hosts);
	p->tls.client_certificate = below(8) ? SL_STR("") : SL_STR("a");
	p->tls.n_cas = 1 + below(2);
	p->tls.cas = sl_arena_new_n(&o->arena, struct sl_ca_ref, p->tls.n_cas + 1);
	o->needs = needs = sl_arena_new_n(&o->arena, struct sl_object_ref, p->tls.n_cas + 1);
	for (uint32_t i = 0; i < p->tls.n_cas; i++) {
		struct sl_ca_ref *ca = &p->tls.cas[i];

		*ca = (struct sl_ca_ref){SL_STR(""), PICK(data_kinds), PICK(tls_names)};
		if (!sl_str_eqc(ca->kind, "Bucket"))
			needs[o->n_needs++] = (struct sl_object_ref){
				sl_str_eqc(ca->kind, "Secret") ? SL_KIND_SECRET : SL_KIND_CONFIGMAP,
				o->meta.namespace, ca->name};
	}
	if (below(10) == 0) {
		static const struct sl_rule_error error = {SL_STR("spec.validation"), SL_STR("bad"),
							   "UnsupportedValue"};

		p->error = &error;
	}
	return o;
}

static struct sl_object *random_faults(void)
{
	static const char *const kinds[] = {"Service", "HTTPRoute", "HTTPRoute", "GRPCRoute"};
	static const char *const sections[] = {"", "", "web", "one"};
	struct sl_object *o = object_new(SL_KIND_FAULTINJECTION, PICK(names));
	struct sl_fault_injection *p = (struct sl_fault_injection *)o;
	struct sl_parent_ref *ref = sl_arena_new(&o->arena, struct sl_parent_ref);

	*ref = (struct sl_parent_ref){.kind = PICK(kinds), .namespace = o->meta.namespace};
	ref->name = sl_str_eqc(ref->kind, "Service") ? PICK(names) : PICK(route_names);
	ref->section_name = PICK(sections);
	p->policy.target_refs = ref;
	p->policy.n_target_refs = 1;
	p->n_faults = 1 + below(2);
	p->faults = sl_arena_new_n(&o->arena, struct sl_fault_spec, p->n_faults);
	for (uint32_t i = 0; i < p->n_faults; i++) {
		struct sl_fault_spec *f = &p->faults[i];

		f->n_matches = 1 + below(2);
		f->matches = sl_arena_new_n(&o->arena, struct sl_route_match, f->n_matches);
		for (uint32_t j = 0; j < f->n_matches; j++)
			random_match(&o->arena, &f->matches[j]);
		f->delay.of = (struct sl_fraction){below(3), 2};
		f->delay.ns = below(9);
		f->abort.of = (struct sl_fraction){below(3), 2};
		f->abort.http_status = 503;
	}
	p->expires_s = below(100);
	p->max_delayed = below(3);
	return o;
}

/* ---- edits ---- */

static void edit(struct sl_model *m)
{
	static struct sl_object *(*const make[])(void) = {
		random_service,	   random_slice, random_pod,	random_route,
		random_route,	   random_route, random_node,	random_policy,
		random_tls_policy, random_data,	 random_faults,
	};
	struct sl_object *o = make[below(11)]();

	if (below(4) == 0)
		(void)sl_model_remove(m, o->kind, o->meta.namespace, o->meta.name);
	else
		cr_assert_eq(sl_model_put(m, o), 0);
	sl_object_unref(o);
}

/* The same objects in a model that nobody has seen. */
static struct sl_model *copy_of(const struct sl_model *m)
{
	struct sl_model *copy = NULL;

	cr_assert_eq(sl_model_new(&copy), 0);
	for (int k = 0; k < SL_N_KINDS; k++) {
		struct sl_object *o;
		size_t pos = 0;

		while ((o = sl_map_next(&m->by_kind[k], &pos, NULL)))
			cr_assert_eq(sl_model_put(copy, o), 0);
	}
	return copy;
}

/* ---- comparing ---- */

struct result {
	struct sl_snapshot *snap;
	struct sl_compile_report *report;
};

static void result_free(struct result *r)
{
	r->snap = sl_snapshot_unref(r->snap);
	r->report = sl_compile_report_free(r->report);
}

static void random_request(struct sl_arena *a, struct sl_request *req)
{
	static const char *const request_paths[] = {"/",	"/a", "/a/", "/a/b",
						    "/a/b/c/d", "/b", "/ab", "/c"};
	static const char *const queries[] = {"", "x=1", "x=2&y=1", "y=3"};

	*req = (struct sl_request){.method = below(2) ? SL_METHOD_GET : SL_METHOD_POST,
				   .path = PICK(request_paths),
				   .query = PICK(queries)};
	for (uint32_t n = below(3); n; n--)
		cr_assert_eq(sl_headers_append(&req->headers, a, PICK(header_names), PICK(values)),
			     0);
}

static void expect_same_answers(const struct sl_route_table *a, const struct sl_route_table *b,
				struct sl_match_scratch *scratch)
{
	struct sl_arena arena = SL_ARENA_INIT(1024);

	cr_assert_eq(!a, !b);
	cr_assert(!a || a->kind == b->kind);
	for (uint32_t i = 0; a && i < REQUESTS && a->kind < SL_ROUTE_TLS; i++) {
		const struct sl_rule *x, *y;
		struct sl_request req;

		random_request(&arena, &req);
		x = sl_route_table_match(a, &req, req.path, scratch, &arena);
		y = sl_route_table_match(b, &req, req.path, scratch, &arena);
		cr_assert_eq(!x, !y);
		cr_assert(!x || (sl_str_eq(x->route, y->route) && x->index == y->index));
	}
	sl_arena_deinit(&arena);
}

static void expect_same(const struct result *have, const struct result *want,
			struct sl_match_scratch *scratch)
{
	struct sl_buf a = SL_BUF_INIT(0), b = SL_BUF_INIT(0);
	struct sl_pmap_iter it = sl_pmap_iterate(&want->snap->frontends);
	const struct sl_part *p;
	struct sl_str key;

	cr_assert_eq(dump_compiled(&a, have->snap, have->report), 0);
	cr_assert_eq(dump_compiled(&b, want->snap, want->report), 0);
	cr_assert(sl_str_eq(sl_buf_str(&a), sl_buf_str(&b)),
		  "the one with a memory:\n%.*s\nthe one without:\n%.*s",
		  SL_STR_ARG(sl_buf_str(&a)), SL_STR_ARG(sl_buf_str(&b)));
	cr_assert_eq(have->snap->n_rules, want->snap->n_rules);
	cr_assert_geq(have->snap->n_wrr, want->snap->n_wrr);
	while ((p = sl_pmap_next(&it, &key))) {
		const struct sl_frontend *f = (const struct sl_frontend *)p;
		const struct sl_frontend *g =
			(const struct sl_frontend *)sl_pmap_get(&have->snap->frontends, key);

		expect_same_answers(f->producer, g->producer, scratch);
		for (uint32_t i = 0; i < f->n_consumers; i++)
			expect_same_answers(f->consumers[i].table, g->consumers[i].table, scratch);
		cr_assert_eq(f->n_trials, g->n_trials);
		for (uint32_t i = 0; i < f->n_trials; i++) {
			expect_same_answers(f->trials[i].shadow, g->trials[i].shadow, scratch);
			expect_same_answers(f->trials[i].enforced, g->trials[i].enforced, scratch);
		}
	}
	sl_buf_deinit(&a);
	sl_buf_deinit(&b);
}

/* ---- places in balancing state ---- */

struct place {
	const struct sl_rule *rule;
	struct sl_str frontend;
	struct sl_str namespace;
};

struct places {
	struct place *items;
	size_t n, cap;
};

static void places_add(struct places *out, const struct sl_frontend *f, struct sl_str namespace,
		       const struct sl_route_table *t)
{
	const struct sl_match **matches = NULL;
	uint32_t n;

	cr_assert_eq(sl_match_index_list(t->index, &matches, &n), 0);
	for (uint32_t i = 0; i < n; i++) {
		if (matches[i]->index && matches[i][-1].rule == matches[i]->rule)
			continue; /* not the rule's first match */
		if (out->n == out->cap) {
			out->cap = out->cap ? out->cap * 2 : 64;
			out->items = realloc(out->items, out->cap * sizeof(*out->items));
		}
		out->items[out->n++] = (struct place){matches[i]->rule, f->key, namespace};
	}
	free(matches);
}

static struct places places_of(const struct sl_snapshot *snap)
{
	struct sl_pmap_iter it = sl_pmap_iterate(&snap->frontends);
	struct places out = {0};
	const struct sl_part *p;
	struct sl_str key;

	while ((p = sl_pmap_next(&it, &key))) {
		const struct sl_frontend *f = (const struct sl_frontend *)p;

		if (memcmp(key.ptr, &f->vips[0], sizeof(f->vips[0])) != 0)
			continue; /* by another of its addresses */
		if (f->producer)
			places_add(&out, f, SL_STR(""), f->producer);
		for (uint32_t i = 0; i < f->n_consumers; i++)
			places_add(&out, f, f->consumers[i].namespace, f->consumers[i].table);
	}
	return out;
}

static void expect_own_cells(const struct places *p, uint32_t n_wrr)
{
	bool *taken = calloc(n_wrr + 1, sizeof(*taken));

	for (size_t i = 0; i < p->n; i++) {
		const struct sl_rule *rule = p->items[i].rule;

		cr_assert_leq(rule->wrr_offset + rule->n_backends, n_wrr);
		for (uint32_t j = 0; j < rule->n_backends; j++) {
			cr_assert_not(taken[rule->wrr_offset + j]);
			taken[rule->wrr_offset + j] = true;
		}
	}
	free(taken);
}

static bool same_balance(const struct sl_rule *a, const struct sl_rule *b)
{
	if (a->n_backends != b->n_backends)
		return false;
	for (uint32_t i = 0; i < a->n_backends; i++) {
		if (a->backends[i].weight != b->backends[i].weight ||
		    !sl_str_eq(a->backends[i].name, b->backends[i].name))
			return false;
	}
	return true;
}

/* A rule that balances as before is where it was, if its Service is what it was. */
static void expect_kept_places(const struct places *before, const struct places *after)
{
	for (size_t i = 0; i < before->n; i++) {
		const struct place *x = &before->items[i];

		for (size_t j = 0; j < after->n; j++) {
			const struct place *y = &after->items[j];

			if (x->rule->index != y->rule->index ||
			    !sl_str_eq(x->frontend, y->frontend) ||
			    !sl_str_eq(x->namespace, y->namespace) ||
			    !sl_str_eq(x->rule->route, y->rule->route))
				continue;
			if (same_balance(x->rule, y->rule))
				cr_assert(x->rule->id == y->rule->id &&
					  x->rule->wrr_offset == y->rule->wrr_offset);
			else
				cr_assert_neq(x->rule->id, y->rule->id);
		}
	}
}

/* ---- the test ---- */

static void seed(void)
{
	const char *text = getenv("SLUICE_TEST_SEED");

	random_state = text ? strtoull(text, NULL, 10) : (uint64_t)time(NULL);
	fprintf(stderr, "# SLUICE_TEST_SEED=%llu\n", (unsigned long long)random_state);
}

static void compile_fresh(const struct sl_model *m, const struct sl_compile_opts *opts,
			  struct result *ret)
{
	cr_assert_eq(sl_compile(m, opts, &ret->snap, &ret->report), 0);
}

/* Half of the time some allocation fails first. *ret_whole: it did not. */
static void compile_again(struct sl_compiler *c, const struct sl_model *m,
			  const struct sl_compile_opts *opts, struct result *ret, bool *ret_whole)
{
	int r;

	*ret_whole = true;
	if (below(8) == 0) {
		(void)sl_alloc_fail_after((long)below(below(2) ? 40 : 3000));
		r = sl_compiler_run(c, m, opts, &ret->snap, &ret->report);
		(void)sl_alloc_fail_after(-1);
		if (!r && ret->report->diags.n_dropped == 0)
			return;
		cr_assert(r == 0 || r == -ENOMEM);
		*ret_whole = r == 0;
		result_free(ret);
	}
	cr_assert_eq(sl_compiler_run(c, m, opts, &ret->snap, &ret->report), 0);
}

Test(incremental, every_state_is_what_a_full_compile_makes_of_it, .timeout = 600)
{
	struct sl_compile_opts opts = {.failure_policy = SL_FAIL_OPEN};
	struct sl_match_scratch *scratch = NULL;
	struct sl_compiler *c = NULL;
	struct sl_model *m = NULL;
	struct result have = {0};

	seed();
	cr_assert_eq(sl_match_scratch_new(&scratch), 0);
	cr_assert_eq(sl_model_new(&m), 0);
	cr_assert_eq(sl_compiler_new(&c), 0);
	for (uint32_t step = 0; step < STEPS; step++) {
		struct result want = {0}, last = have;
		bool whole;

		for (uint32_t n = below(10) ? 1 + below(3) : below(200); n; n--)
			edit(m);
		if (below(50) == 0) {
			struct sl_model *copy = copy_of(m);

			sl_model_free(m);
			m = copy;
		}
		if (below(200) == 0)
			opts.failure_policy = below(2) ? SL_FAIL_OPEN : SL_FAIL_CLOSED;
		if (below(200) == 0)
			opts.node = below(4) ? PICK(names) : SL_STR("");
		opts.now_s = step / (STEPS / 100 + 1);
		have = (struct result){0};
		compile_again(c, m, &opts, &have, &whole);
		compile_fresh(m, &opts, &want);
		expect_same(&have, &want, scratch);
		result_free(&want);
		result_free(&last);
	}
	result_free(&have);
	sl_compiler_free(c);
	sl_model_free(m);
	sl_match_scratch_free(scratch);
	check_leaks();
}

static struct sl_object *plain_service(const char *name, uint8_t host)
{
	struct sl_object *o = object_new(SL_KIND_SERVICE, sl_str_from(name));
	struct sl_service *s = (struct sl_service *)o;

	o->meta.namespace = SL_STR("shop");
	s->n_cluster_ips = s->n_ports = 1;
	s->cluster_ips = random_ips(&o->arena, 96, 1);
	s->cluster_ips->ip[15] = host;
	s->ports = sl_arena_new(&o->arena, struct sl_service_port);
	s->ports->port = 80;
	return o;
}

static void put(struct sl_model *m, struct sl_object *o)
{
	cr_assert_eq(sl_model_put(m, o), 0);
	sl_object_unref(o);
}

/* Routes and endpoints come and go, Services stay. */
Test(incremental, rules_that_balance_as_before_keep_their_place, .timeout = 600)
{
	static struct sl_object *(*const make[])(void) = {random_slice, random_route};
	struct sl_compile_opts opts = {.failure_policy = SL_FAIL_OPEN};
	struct sl_compiler *c = NULL;
	struct sl_model *m = NULL;
	struct places before = {0};
	struct result last = {0};

	seed();
	cr_assert_eq(sl_model_new(&m), 0);
	cr_assert_eq(sl_compiler_new(&c), 0);
	for (uint8_t i = 0; i < 4; i++)
		put(m, plain_service(names[i], i));
	for (uint32_t step = 0; step < 1500; step++) {
		struct result now = {0};
		struct places after;

		for (uint32_t n = 1 + below(4); n; n--) {
			struct sl_object *o = make[below(2)]();

			if (below(3) == 0)
				(void)sl_model_remove(m, o->kind, o->meta.namespace, o->meta.name);
			else
				cr_assert_eq(sl_model_put(m, o), 0);
			sl_object_unref(o);
		}
		cr_assert_eq(sl_compiler_run(c, m, &opts, &now.snap, &now.report), 0);
		after = places_of(now.snap);
		expect_own_cells(&after, now.snap->n_wrr);
		expect_kept_places(&before, &after);
		free(before.items);
		result_free(&last);
		before = after;
		last = now;
	}
	cr_expect_lt(last.snap->n_wrr, 2000, "freed places are used again");
	free(before.items);
	result_free(&last);
	sl_compiler_free(c);
	sl_model_free(m);
	check_leaks();
}

Test(incremental, nothing_changed_costs_nothing_new)
{
	struct sl_compile_opts opts = {.failure_policy = SL_FAIL_OPEN};
	struct result a = {0}, b = {0};
	struct sl_compiler *c = NULL;
	struct sl_model *m = NULL;

	seed();
	cr_assert_eq(sl_model_new(&m), 0);
	cr_assert_eq(sl_compiler_new(&c), 0);
	for (uint32_t i = 0; i < 300; i++)
		edit(m);
	cr_assert_eq(sl_compiler_run(c, m, &opts, &a.snap, &a.report), 0);
	cr_assert_eq(sl_compiler_run(c, m, &opts, &b.snap, &b.report), 0);
	cr_expect_eq(a.snap->frontends.root, b.snap->frontends.root);
	cr_expect_eq(a.snap->upstreams.root, b.snap->upstreams.root);
	cr_expect_eq(a.snap->pods_by_ip.root, b.snap->pods_by_ip.root);
	cr_expect_eq(a.snap->plan.services.root, b.snap->plan.services.root);
	cr_expect_eq(a.report->routes.root, b.report->routes.root);
	result_free(&a);
	result_free(&b);
	sl_compiler_free(c);
	sl_model_free(m);
}
