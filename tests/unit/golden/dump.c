/* SPDX-License-Identifier: Apache-2.0 */
#include "dump.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include "base/alloc.h"
#include "base/cleanup.h"
#include "snapshot/explain.h"
#include "snapshot/faults.h"
#include "snapshot/match_index.h"

/* Keeps the first error, so that callers need not look at each line. */
struct out {
	struct sl_buf *buf;
	int error;
};

static void line(struct out *o, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void line(struct out *o, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	if (!o->error)
		o->error = sl_buf_vprintf(o->buf, fmt, ap);
	va_end(ap);
}

/* ---- conditions ---- */

static void dump_parent_ref(struct out *o, const struct sl_parent_ref *ref)
{
	line(o, "    parent %.*s %.*s/%.*s", SL_STR_ARG(ref->kind), SL_STR_ARG(ref->namespace),
	     SL_STR_ARG(ref->name));
	if (ref->port)
		line(o, " port %u", ref->port);
	if (ref->section_name.len)
		line(o, " section %.*s", SL_STR_ARG(ref->section_name));
	line(o, "\n");
}

static void dump_status(struct out *o, const struct sl_compile_report *report)
{
	_cleanup_(sl_freep) const struct sl_route_status **routes = NULL;
	size_t n = 0;

	line(o, "status\n");
	if (!o->error)
		o->error = sl_compile_report_list(report, &routes, &n);
	for (size_t i = 0; i < n; i++) {
		const struct sl_route_status *route = routes[i];

		line(o, "  %s %.*s\n", sl_kind_name(route->route->kind),
		     SL_STR_ARG(route->route->key));
		for (uint32_t j = 0; j < route->n_parents; j++) {
			const struct sl_parent_status *p = &route->parents[j];

			dump_parent_ref(o, p->ref);
			for (uint32_t k = 0; k < p->n_conditions; k++)
				line(o, "      %.*s %.*s %.*s: %.*s\n",
				     SL_STR_ARG(p->conditions[k].type),
				     SL_STR_ARG(p->conditions[k].status),
				     SL_STR_ARG(p->conditions[k].reason),
				     SL_STR_ARG(p->conditions[k].message));
		}
	}
	for (size_t i = 0; i < report->diags.n; i++) {
		const struct sl_diag *d = &report->diags.items[i];

		line(o, "  %s %.*s %.*s: %.*s\n",
		     d->severity == SL_SEVERITY_ERROR ? "error" : "warning", SL_STR_ARG(d->object),
		     SL_STR_ARG(d->field), SL_STR_ARG(d->message));
	}
}

/* ---- rules ---- */

static void dump_edits(struct out *o, const char *verb, const struct sl_header_edit *edits,
		       uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		line(o, " %s %.*s=%.*s", verb, SL_STR_ARG(edits[i].name),
		     SL_STR_ARG(edits[i].value));
}

static void dump_path_edit(struct out *o, const struct sl_path_edit *path)
{
	if (path->type == SL_PATH_EDIT_FULL)
		line(o, " path \"%.*s\"", SL_STR_ARG(path->value));
	if (path->type == SL_PATH_EDIT_PREFIX)
		line(o, " prefix \"%.*s\" to \"%.*s\"", SL_STR_ARG(path->prefix),
		     SL_STR_ARG(path->value));
}

static void dump_headers(struct out *o, const struct sl_header_edits *e)
{
	dump_edits(o, "set", e->set, e->n_set);
	dump_edits(o, "add", e->add, e->n_add);
	for (uint32_t i = 0; i < e->n_remove; i++)
		line(o, " remove %.*s", SL_STR_ARG(e->remove[i].name));
}

static void dump_cors(struct out *o, const struct sl_cors *c)
{
	line(o, " cors%s%s%s%s origins", c->credentials ? " credentials" : "",
	     c->any_origin ? " any-origin" : "", c->any_method ? " any-method" : "",
	     c->any_header ? " any-header" : "");
	for (uint32_t i = 0; i < c->n_origins; i++)
		line(o, " %s://%s%.*s:%u", c->origins[i].https ? "https" : "http",
		     c->origins[i].open ? "*" : "", SL_STR_ARG(c->origins[i].host),
		     c->origins[i].port);
	line(o, " methods \"%.*s\" headers \"%.*s\" exposed \"%.*s\" age %.*s",
	     SL_STR_ARG(c->methods), SL_STR_ARG(c->headers), SL_STR_ARG(c->exposed),
	     SL_STR_ARG(c->max_age));
}

static void dump_auth(struct out *o, const struct sl_ext_auth *a)
{
	line(o, " auth %s %.*s (%.*s)%s path \"%.*s\" body %u", a->grpc ? "grpc" : "http",
	     SL_STR_ARG(a->backend), SL_STR_ARG(a->authority), a->resolved ? "" : " unresolved",
	     SL_STR_ARG(a->path), a->body_bytes);
	for (uint32_t i = 0; i < a->n_request_headers; i++)
		line(o, " asks %.*s", SL_STR_ARG(a->request_headers[i]));
	for (uint32_t i = 0; i < a->n_response_headers; i++)
		line(o, " takes %.*s", SL_STR_ARG(a->response_headers[i]));
}

static void dump_filter(struct out *o, const char *indent, const struct sl_filter *f)
{
	line(o, "%sfilter", indent);
	switch (f->kind) {
	case SL_FILTER_KIND_REQUEST_HEADERS:
		line(o, " request headers");
		dump_headers(o, &f->headers);
		break;
	case SL_FILTER_KIND_RESPONSE_HEADERS:
		line(o, " response headers");
		dump_headers(o, &f->headers);
		break;
	case SL_FILTER_KIND_REDIRECT:
		line(o, " redirect %u scheme \"%.*s\" host \"%.*s\" port %u", f->redirect.status,
		     SL_STR_ARG(f->redirect.scheme), SL_STR_ARG(f->redirect.hostname),
		     f->redirect.port);
		dump_path_edit(o, &f->redirect.path);
		break;
	case SL_FILTER_KIND_REWRITE:
		line(o, " rewrite host \"%.*s\"", SL_STR_ARG(f->rewrite.hostname));
		dump_path_edit(o, &f->rewrite.path);
		break;
	case SL_FILTER_KIND_CORS:
		dump_cors(o, f->cors);
		break;
	case SL_FILTER_KIND_AUTH:
		dump_auth(o, f->auth);
		break;
	case SL_FILTER_KIND_MIRROR:
		line(o, " mirror %u/%u to %.*s", f->mirror->numerator, f->mirror->denominator,
		     SL_STR_ARG(f->mirror->backend));
		break;
	}
	line(o, "\n");
}

static void dump_retry(struct out *o, const struct sl_retry *retry)
{
	line(o, " retry %u", retry->attempts);
	if (retry->backoff_ns != SL_RETRY_BACKOFF_DEFAULT)
		line(o, " after %" PRIu64 " ns", retry->backoff_ns);
	for (uint16_t code = SL_RETRY_MIN_CODE; code <= SL_RETRY_MAX_CODE; code++) {
		if (sl_retry_has(retry, code))
			line(o, " %u", code);
	}
}

/* Keys are what makes rules of one name different, not what they are. */
static void dump_persistence(struct out *o, const struct sl_persistence *p)
{
	line(o, " persistence %s %.*s", p->is_header ? "header" : "cookie", SL_STR_ARG(p->name));
	if (!p->is_header)
		line(o, " path %.*s%s", SL_STR_ARG(p->path), p->permanent ? " permanent" : "");
	if (p->absolute_timeout_ns || p->idle_timeout_ns)
		line(o, " ends %" PRIu64 " ns, idle %" PRIu64 " ns", p->absolute_timeout_ns,
		     p->idle_timeout_ns);
}

static void dump_fault_match(struct out *o, const struct sl_match *m)
{
	struct sl_buf text = SL_BUF_INIT(0);

	if (!o->error)
		o->error = sl_match_describe(m, &text);
	line(o, " (%.*s)", SL_STR_ARG(sl_buf_str(&text)));
	sl_buf_deinit(&text);
}

static void dump_faults(struct out *o, const char *indent, const struct sl_faults *f)
{
	line(o, "%sfaults of %.*s from %" PRId64 " to %" PRId64 " at most %u delayed\n", indent,
	     SL_STR_ARG(f->policy), f->starts_s, f->expires_s, f->max_delayed);
	for (uint32_t i = 0; i < f->n; i++) {
		const struct sl_fault *fault = &f->items[i];

		line(o, "%s  for", indent);
		for (uint32_t j = 0; j < fault->n_matches; j++)
			dump_fault_match(o, &fault->matches[j]);
		if (fault->delay.of.numerator)
			line(o, " delay %u/%u %" PRIu64 " ns jitter %" PRIu64 " ns",
			     fault->delay.of.numerator, fault->delay.of.denominator,
			     fault->delay.ns, fault->delay.jitter_ns);
		if (fault->abort.of.numerator)
			line(o, " abort %u/%u http %u grpc %u", fault->abort.of.numerator,
			     fault->abort.of.denominator, fault->abort.http_status,
			     fault->abort.grpc_status);
		line(o, "\n");
	}
}

/* Ids and places in balancing state depend on what was there before: not shown. */
static void dump_rule(struct out *o, const struct sl_rule *rule, uint32_t number)
{
	line(o, "      rule %u %.*s \"%.*s\" cells %u weight %" PRIu64 "%s", number,
	     SL_STR_ARG(rule->route), SL_STR_ARG(rule->name), rule->n_backends, rule->total_weight,
	     rule->redirects ? " redirects" : "");
	if (rule->request_timeout_ns || rule->backend_request_timeout_ns)
		line(o, " timeouts %" PRIu64 " ns, %" PRIu64 " ns", rule->request_timeout_ns,
		     rule->backend_request_timeout_ns);
	if (rule->retry)
		dump_retry(o, rule->retry);
	if (rule->persistence)
		dump_persistence(o, rule->persistence);
	line(o, "\n");
	if (rule->faults)
		dump_faults(o, "        ", rule->faults);
	for (uint32_t i = 0; i < rule->n_filters; i++)
		dump_filter(o, "        ", &rule->filters[i]);
	for (uint32_t i = 0; i < rule->n_backends; i++) {
		const struct sl_backend *b = &rule->backends[i];

		line(o, "        backend %.*s weight %u%s\n", SL_STR_ARG(b->upstream), b->weight,
		     b->state == SL_BACKEND_INVALID ? " invalid" : "");
		for (uint32_t j = 0; j < b->n_filters; j++)
			dump_filter(o, "          ", &b->filters[j]);
	}
}

static void dump_values(struct out *o, const char *what, const struct sl_match_value *values,
			uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		line(o, " %s %.*s%s%.*s", what, SL_STR_ARG(values[i].name),
		     values[i].regex ? "~" : "=", SL_STR_ARG(values[i].value));
}

static void dump_rpc_part(struct out *o, const char *what, const struct sl_match_text *t)
{
	if (t->text.len)
		line(o, " %s%s%.*s", what, t->regex ? "~" : "=", SL_STR_ARG(t->text));
}

static void dump_match(struct out *o, const struct sl_match *m, uint32_t rank, uint32_t rule)
{
	static const char *const classes[] = {"exact", "regex", "prefix"};
	static const char *const methods[] = {
		[SL_METHOD_GET] = "GET",	 [SL_METHOD_HEAD] = "HEAD",
		[SL_METHOD_POST] = "POST",	 [SL_METHOD_PUT] = "PUT",
		[SL_METHOD_DELETE] = "DELETE",	 [SL_METHOD_CONNECT] = "CONNECT",
		[SL_METHOD_OPTIONS] = "OPTIONS", [SL_METHOD_TRACE] = "TRACE",
		[SL_METHOD_PATCH] = "PATCH",
	};

	line(o, "      %u: %s \"%.*s\"", rank, classes[m->class], SL_STR_ARG(m->path));
	dump_rpc_part(o, "service", &m->rpc_service);
	dump_rpc_part(o, "method", &m->rpc_method);
	if (m->server_name.len)
		line(o, " name=%.*s", SL_STR_ARG(m->server_name));
	if (m->method != SL_METHOD_OTHER)
		line(o, " method %s", methods[m->method]);
	dump_values(o, "header", m->headers, m->n_headers);
	dump_values(o, "query", m->queries, m->n_queries);
	line(o, " -> rule %u\n", rule);
}

/* In order of routes, then as they are in the route. */
static int rule_cmp(const void *a, const void *b)
{
	const struct sl_match *x = *(const struct sl_match *const *)a;
	const struct sl_match *y = *(const struct sl_match *const *)b;
	int order = (x->route->created_at > y->route->created_at) -
		    (x->route->created_at < y->route->created_at);

	if (!order)
		order = sl_str_cmp(x->route->key, y->route->key);
	return order ? order : (int)x->rule->index - (int)y->rule->index;
}

/* Each rule has a match: one per rule, in order of rules. *n: from matches to rules. */
static const struct sl_match **rules_of(const struct sl_match *const *matches, uint32_t *n)
{
	const struct sl_match **out = sl_new_n(const struct sl_match *, *n + 1);
	uint32_t kept = 0;

	if (!out)
		return NULL;
	if (*n)
		memcpy(out, matches, *n * sizeof(*out));
	qsort(out, *n, sizeof(*out), rule_cmp);
	for (uint32_t i = 0; i < *n; i++) {
		if (!kept || out[kept - 1]->rule != out[i]->rule)
			out[kept++] = out[i];
	}
	*n = kept;
	return out;
}

static uint32_t number_of(const struct sl_match *const *rules, uint32_t n, const struct sl_match *m)
{
	const struct sl_match **found = bsearch(&m, rules, n, sizeof(*rules), rule_cmp);

	return (uint32_t)(found - (const struct sl_match **)rules);
}

static void dump_table(struct out *o, const struct sl_route_table *t)
{
	static const char *const kinds[SL_N_ROUTE_KINDS] = {" grpc", "", " tls", " tcp"};
	_cleanup_(sl_freep) const struct sl_match **matches = NULL;
	_cleanup_(sl_freep) const struct sl_match **rules = NULL;
	uint32_t n = 0, n_rules;

	line(o, "%s (else %u)\n", kinds[t->kind], t->fallback_status);
	if (!o->error)
		o->error = sl_match_index_list(t->index, &matches, &n);
	n_rules = n;
	rules = rules_of(matches, &n_rules);
	if (!rules) {
		o->error = -ENOMEM;
		return;
	}
	for (uint32_t i = 0; i < n_rules; i++)
		dump_rule(o, rules[i]->rule, i);
	for (uint32_t i = 0; i < n; i++)
		dump_match(o, matches[i], i, number_of(rules, n_rules, matches[i]));
}

/* ---- frontends and upstreams ---- */

static const char *protocol_name(enum sl_app_protocol p)
{
	static const char *const names[] = {"unknown", "http", "h2c", "opaque"};

	return names[p];
}

static const char *splice_name(enum sl_splice_policy p)
{
	static const char *const names[] = {"", " splice disabled", " splice enabled"};

	return names[p];
}

struct entry {
	struct sl_str key;
	const void *value;
};

static int entry_cmp(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;

	return sl_str_cmp(x->key, y->key);
}

/* Keys are struct sl_addr: its bytes would sort ports by their lower half. */
static int vip_cmp(const void *a, const void *b)
{
	struct sl_addr x, y;
	int order;

	memcpy(&x, ((const struct entry *)a)->key.ptr, sizeof(x));
	memcpy(&y, ((const struct entry *)b)->key.ptr, sizeof(y));
	order = memcmp(x.ip, y.ip, sizeof(x.ip));
	return order ? order : (int)x.port - (int)y.port;
}

/* The map's entries sorted by key: a new array (free()). NULL: out of memory. */
static struct entry *sorted(const struct sl_pmap *map, int (*cmp)(const void *, const void *))
{
	struct entry *out = sl_new_n(struct entry, map->n + 1);
	struct sl_pmap_iter it = sl_pmap_iterate(map);
	struct sl_str key;
	const void *value;
	size_t n = 0;

	while (out && (value = sl_pmap_next(&it, &key)))
		out[n++] = (struct entry){key, value};
	if (n)
		qsort(out, n, sizeof(*out), cmp);
	return out;
}

static void dump_frontend(struct out *o, const struct sl_addr *vip, const struct sl_frontend *f,
			  bool *first)
{
	char text[SL_ADDR_TEXT];

	line(o, "  %s %.*s %s%s%s%s%s%.*s\n", sl_addr_format(vip, text), SL_STR_ARG(f->key),
	     protocol_name(f->app_protocol), f->routed ? " routed" : "", splice_name(f->splice),
	     f->by_kernel ? " by the kernel" : "", f->by_agent_why.len ? " by the agent: " : "",
	     SL_STR_ARG(f->by_agent_why));
	if (!*first)
		return; /* of a dual-stack Service: the same tables again */
	*first = false;
	if (f->producer) {
		line(o, "    all clients");
		dump_table(o, f->producer);
	}
	for (uint32_t i = 0; i < f->n_consumers; i++) {
		line(o, "    clients in %.*s", SL_STR_ARG(f->consumers[i].namespace));
		dump_table(o, f->consumers[i].table);
	}
	for (uint32_t i = 0; i < f->n_trials; i++) {
		line(o, "    shadow of %.*s%s", SL_STR_ARG(f->trials[i].namespace),
		     f->trials[i].enforced ? " beside the enforced" : "");
		dump_table(o, f->trials[i].shadow);
	}
}

static void dump_frontends(struct out *o, const struct sl_snapshot *snap)
{
	_cleanup_(sl_freep) struct entry *entries = sorted(&snap->frontends, vip_cmp);

	line(o, "frontends\n");
	for (size_t i = 0; entries && i < snap->frontends.n; i++) {
		struct sl_addr vip;
		bool first = true;

		memcpy(&vip, entries[i].key.ptr, sizeof(vip));
		for (size_t j = 0; j < i; j++)
			first = first && entries[j].value != entries[i].value;
		dump_frontend(o, &vip, entries[i].value, &first);
	}
	if (!entries)
		o->error = -ENOMEM;
}

static void dump_endpoint(struct out *o, const struct sl_endpoint *e, bool used)
{
	char text[SL_ADDR_TEXT];

	line(o, "    %s%s%s%s", sl_addr_format(&e->addr, text), e->ready ? "" : " not ready",
	     e->ending ? " ending" : "",
	     e->ready == used ? ""
	     : used	      ? " used"
			      : " unused");
	if (e->pod.len)
		line(o, " pod %.*s", SL_STR_ARG(e->pod));
	if (e->node.len)
		line(o, " node %.*s", SL_STR_ARG(e->node));
	if (e->zone.len)
		line(o, " zone %.*s", SL_STR_ARG(e->zone));
	line(o, "\n");
}

static void dump_balance(struct out *o, const struct sl_balance *b)
{
	static const char *const balancers[] = {"round robin", "least request", "peak ewma",
						"hash"};
	static const char *const sources[] = {"header", "cookie", "client"};

	line(o, "    policy \"%.*s\" %s", SL_STR_ARG(b->policy), balancers[b->balancer]);
	if (b->balancer == SL_BALANCER_HASH)
		line(o, " of %s %.*s", sources[b->hash], SL_STR_ARG(b->hash_name));
	line(o, " slots %s affinity %" PRIu64 " slow start %" PRIu64 "\n", b->slots ? "yes" : "no",
	     b->affinity_ns, b->slow_start_ns);
	if (b->outliers.interval_ns)
		line(o,
		     "      outliers %u %u %u in %" PRIu64 " for %" PRIu64 " to %" PRIu64
		     " at most %u %%\n",
		     b->outliers.in_a_row[0], b->outliers.in_a_row[1], b->outliers.in_a_row[2],
		     b->outliers.interval_ns, b->outliers.ejection_ns, b->outliers.max_ejection_ns,
		     b->outliers.max_percent);
	if (b->loads)
		line(o,
		     "      limits connections %u pending %u requests %u, each %u of one %u %u\n",
		     b->limits.connections, b->limits.pending, b->limits.requests,
		     b->limits.requests_per_connection, b->limits.endpoint_connections,
		     b->limits.endpoint_requests);
}

static void dump_tls(struct out *o, const struct sl_upstream *u)
{
	struct sl_str name = u->tls ? sl_tls_context_hostname(u->tls) : SL_STR("refused");

	line(o, "    tls %.*s %.*s\n", SL_STR_ARG(u->tls_policy), SL_STR_ARG(name));
}

static void dump_upstreams(struct out *o, const struct sl_snapshot *snap)
{
	_cleanup_(sl_freep) struct entry *entries = sorted(&snap->upstreams, entry_cmp);

	line(o, "upstreams\n");
	for (size_t i = 0; entries && i < snap->upstreams.n; i++) {
		const struct sl_upstream *u = entries[i].value;

		line(o, "  %.*s %s %u of %u usable%s\n", SL_STR_ARG(u->key),
		     protocol_name(u->app_protocol), u->n_usable, u->n_endpoints,
		     splice_name(u->splice));
		if (u->balance)
			dump_balance(o, u->balance);
		if (u->budget)
			line(o,
			     "    policy \"%.*s\" retries %u %% in %" PRIu64 " or %u in %" PRIu64
			     "\n",
			     SL_STR_ARG(u->budget->policy), u->budget->percent,
			     u->budget->interval_ns, u->budget->rate_count,
			     u->budget->rate_interval_ns);
		if (u->faults)
			dump_faults(o, "    ", u->faults);
		if (u->tls_policy.len)
			dump_tls(o, u);
		for (uint32_t j = 0; j < u->n_endpoints; j++)
			dump_endpoint(o, &u->endpoints[j], j < u->n_usable);
	}
	if (!entries)
		o->error = -ENOMEM;
}

/* ---- plan and pods ---- */

static void dump_plan(struct out *o, const struct sl_plan *plan)
{
	_cleanup_(sl_freep) struct entry *entries = sorted(&plan->services, vip_cmp);
	static const char *const policies[] = {"default", "open", "closed"};
	char text[SL_ADDR_TEXT];

	line(o, "plan\n");
	for (size_t i = 0; entries && i < plan->services.n; i++) {
		const struct sl_plan_service *s = entries[i].value;

		line(o, "  %s %.*s %s", sl_addr_format(&s->vip, text), SL_STR_ARG(s->name),
		     policies[s->policy]);
		for (uint32_t j = 0; j < s->n_endpoints; j++)
			line(o, " %s", sl_addr_format(&s->endpoints[j], text));
		line(o, "\n");
	}
	if (!entries)
		o->error = -ENOMEM;
}

static int split_cmp(const void *a, const void *b)
{
	const struct sl_plan_split *x = ((const struct entry *)a)->value;
	const struct sl_plan_split *y = ((const struct entry *)b)->value;
	int order = vip_cmp(a, b); /* their keys begin with the address */

	return order ? order : (int)x->at.protocol - (int)y->at.protocol;
}

static void dump_splits(struct out *o, const struct sl_plan *plan)
{
	_cleanup_(sl_freep) struct entry *entries = sorted(&plan->splits, split_cmp);
	char text[SL_ADDR_TEXT];

	for (size_t i = 0; entries && i < plan->splits.n; i++) {
		const struct sl_plan_split *s = entries[i].value;
		const struct sl_addr *endpoint = s->endpoints;

		if (!i)
			line(o, "splits\n");
		line(o, "  %s %.*s %.*s\n", sl_addr_format(&s->at.vip, text), SL_STR_ARG(s->name),
		     SL_STR_ARG(s->route));
		for (uint32_t j = 0; j < s->n_shares; j++) {
			line(o, "    %u %.*s", s->shares[j].weight,
			     SL_STR_ARG(s->shares[j].backend));
			for (uint32_t k = 0; k < s->shares[j].n_endpoints; k++)
				line(o, " %s", sl_addr_format(endpoint++, text));
			line(o, "\n");
		}
	}
	if (!entries)
		o->error = -ENOMEM;
}

static void dump_pods(struct out *o, const struct sl_snapshot *snap)
{
	_cleanup_(sl_freep) struct entry *by_ip = sorted(&snap->pods_by_ip, entry_cmp);
	_cleanup_(sl_freep) struct entry *by_uid = sorted(&snap->pods_by_uid, entry_cmp);
	char text[SL_ADDR_TEXT];

	if (!by_ip || !by_uid) {
		o->error = -ENOMEM;
		return;
	}
	if (snap->pods_by_ip.n + snap->pods_by_uid.n)
		line(o, "pods\n");
	for (size_t i = 0; i < snap->pods_by_ip.n; i++) {
		const struct sl_pod_ref *pod = by_ip[i].value;
		struct sl_addr ip = {.port = 0};

		memcpy(ip.ip, by_ip[i].key.ptr, sizeof(ip.ip));
		line(o, "  %s %.*s/%.*s%s\n", sl_addr_format_ip(&ip, text),
		     SL_STR_ARG(pod->namespace), SL_STR_ARG(pod->name), splice_name(pod->splice));
	}
	for (size_t i = 0; i < snap->pods_by_uid.n; i++) {
		const struct sl_pod_ref *pod = by_uid[i].value;

		line(o, "  uid %.*s %.*s/%.*s\n", SL_STR_ARG(by_uid[i].key),
		     SL_STR_ARG(pod->namespace), SL_STR_ARG(pod->name));
	}
}

int dump_compiled(struct sl_buf *buf, const struct sl_snapshot *snap,
		  const struct sl_compile_report *report)
{
	struct out o = {.buf = buf};

	dump_status(&o, report);
	dump_frontends(&o, snap);
	dump_upstreams(&o, snap);
	dump_plan(&o, &snap->plan);
	dump_splits(&o, &snap->plan);
	dump_pods(&o, snap);
	return o.error;
}
