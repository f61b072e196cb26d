/* SPDX-License-Identifier: Apache-2.0 */
#include "dump.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include "base/alloc.h"
#include "base/cleanup.h"
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
	}
	line(o, "\n");
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
	line(o, "\n");
	for (uint32_t i = 0; i < rule->n_filters; i++)
		dump_filter(o, "        ", &rule->filters[i]);
	for (uint32_t i = 0; i < rule->n_backends; i++) {
		const struct sl_backend *b = &rule->backends[i];

		line(o, "        backend %.*s weight %u%s\n", SL_STR_ARG(b->name), b->weight,
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

	line(o, "  %s %.*s %s%s\n", sl_addr_format(vip, text), SL_STR_ARG(f->key),
	     protocol_name(f->app_protocol), f->routed ? " routed" : "");
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

static void dump_endpoint(struct out *o, const struct sl_endpoint *e)
{
	char text[SL_ADDR_TEXT];

	line(o, "    %s%s", sl_addr_format(&e->addr, text), e->ready ? "" : " not ready");
	if (e->pod.len)
		line(o, " pod %.*s", SL_STR_ARG(e->pod));
	if (e->node.len)
		line(o, " node %.*s", SL_STR_ARG(e->node));
	if (e->zone.len)
		line(o, " zone %.*s", SL_STR_ARG(e->zone));
	line(o, "\n");
}

static void dump_upstreams(struct out *o, const struct sl_snapshot *snap)
{
	_cleanup_(sl_freep) struct entry *entries = sorted(&snap->upstreams, entry_cmp);

	line(o, "upstreams\n");
	for (size_t i = 0; entries && i < snap->upstreams.n; i++) {
		const struct sl_upstream *u = entries[i].value;

		line(o, "  %.*s %s %u of %u ready\n", SL_STR_ARG(u->key),
		     protocol_name(u->app_protocol), u->n_ready, u->n_endpoints);
		for (uint32_t j = 0; j < u->n_endpoints; j++)
			dump_endpoint(o, &u->endpoints[j]);
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
		line(o, "  %s %.*s/%.*s\n", sl_addr_format_ip(&ip, text),
		     SL_STR_ARG(pod->namespace), SL_STR_ARG(pod->name));
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
	dump_pods(&o, snap);
	return o.error;
}
