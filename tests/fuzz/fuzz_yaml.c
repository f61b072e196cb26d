/* SPDX-License-Identifier: Apache-2.0 */
/* A configuration file from its bytes to objects: YAML, decoder, and what is kept when the file's
 * next version (behind a line "#next") is broken. */
#include <string.h>
#include "base/clock.h"
#include "fuzz.h"
#include "source/file.h"

static bool has_control(struct sl_str s)
{
	for (size_t i = 0; i < s.len; i++) {
		if ((unsigned char)s.ptr[i] < 0x20 && s.ptr[i] != '\t')
			return true;
	}
	return false;
}

static const char *check_headers(const struct sl_header_modifier *m)
{
	for (uint32_t i = 0; i < m->n_set + m->n_add; i++) {
		const struct sl_header_value *v = i < m->n_set ? &m->set[i] : &m->add[i - m->n_set];

		if (!v->name.len || has_control(v->name) || has_control(v->value))
			return "a header that cannot be sent";
	}
	return NULL;
}

static const char *check_filter(const struct sl_filter_spec *f)
{
	const struct sl_path_modifier *path = &f->rewrite.path;

	switch (f->type) {
	case SL_FILTER_REQUEST_HEADERS:
	case SL_FILTER_RESPONSE_HEADERS:
		return check_headers(&f->headers);
	case SL_FILTER_REDIRECT:
		path = &f->redirect.path;
		if (f->redirect.status_code < 301 || f->redirect.status_code > 308)
			return "a redirect with another status";
		break;
	case SL_FILTER_REWRITE:
	case SL_FILTER_CORS:
		break;
	case SL_FILTER_AUTH:
		return has_control(f->auth.path) ? "a path that cannot be sent" : NULL;
	case SL_FILTER_MIRROR:
		return f->mirror.of.numerator > f->mirror.of.denominator ? "more than all requests"
									 : NULL;
	case SL_FILTER_UNSUPPORTED:
		return "a rule that would lose a filter";
	}
	if (path->type == SL_PATH_REPLACE_FULL && !path->value.len)
		return "an empty path";
	return path->value.len && (path->value.ptr[0] != '/' ||
				   memchr(path->value.ptr, ' ', path->value.len) ||
				   has_control(path->value))
		       ? "a path that cannot be sent"
		       : NULL;
}

static const char *check_filters(const struct sl_filter_spec *list, uint32_t n)
{
	const char *fault = NULL;

	for (uint32_t i = 0; i < n && !fault; i++)
		fault = check_filter(&list[i]);
	return fault;
}

/* What the compiler takes for granted of a rule without error. */
static const char *check_rule(const struct sl_route_rule *rule, bool is_rpc)
{
	const char *fault = check_filters(rule->filters, rule->n_filters);

	for (uint32_t i = 0; i < rule->n_matches && !fault; i++) {
		const struct sl_route_match *m = &rule->matches[i];

		if (is_rpc && m->rpc_type == SL_VALUE_EXACT &&
		    (memchr(m->rpc_service.ptr, '/', m->rpc_service.len) ||
		     memchr(m->rpc_method.ptr, '/', m->rpc_method.len)))
			fault = "a method with a slash";
		if (!is_rpc && m->path_type != SL_PATH_REGEX &&
		    (!m->path.len || m->path.ptr[0] != '/'))
			fault = "a path that is not absolute";
	}
	for (uint32_t i = 0; i < rule->n_backend_refs && !fault; i++) {
		const struct sl_backend_ref *b = &rule->backend_refs[i];

		if (!b->name.len || !b->kind.len || !b->namespace.len || b->weight > 1000000)
			fault = "a backendRef out of its limits";
		else
			fault = check_filters(b->filters, b->n_filters);
	}
	return fault;
}

static const char *check_route(const struct sl_route_object *route)
{
	bool is_rpc = route->object.kind == SL_KIND_GRPCROUTE;
	bool takes_connections =
		route->object.kind == SL_KIND_TLSROUTE || route->object.kind == SL_KIND_TCPROUTE;
	uint32_t n_matches = 0;

	if (takes_connections && route->n_rules != 1)
		return "a route without its rule";
	if (route->object.kind == SL_KIND_TLSROUTE && !route->n_hostnames)
		return "a TLSRoute without name";
	if ((route->n_rules < 1 && !is_rpc) || route->n_rules > 16 || route->n_parent_refs > 32)
		return "a route out of its limits";
	for (uint32_t i = 0; i < route->n_rules; i++) {
		const struct sl_route_rule *rule = &route->rules[i];
		const char *fault = rule->error ? NULL : check_rule(rule, is_rpc);

		if (fault)
			return fault;
		if ((rule->n_matches < 1) != takes_connections)
			return "a rule without match";
		if (rule->error && (!rule->error->message.len || !rule->error->reason))
			return "an error that says nothing";
		n_matches += rule->n_matches;
	}
	return n_matches > 128 ? "a route with too many matches" : NULL;
}

static const char *check_service(const struct sl_service *svc)
{
	for (uint32_t i = 0; i < svc->n_ports; i++) {
		if (!svc->ports[i].port ||
		    (!svc->ports[i].target_port == !svc->ports[i].target_port_name.len))
			return "a port without number or target";
	}
	return svc->headless && svc->n_cluster_ips ? "a headless Service with an address" : NULL;
}

/* What makes it end, and bounds it until then. */
static const char *check_faults(const struct sl_fault_injection *p)
{
	if (p->expires_s <= p->starts_s || p->expires_s - p->starts_s > 24 * 3600)
		return "faults without an end";
	if (!p->max_delayed || !p->n_faults || !p->policy.n_target_refs)
		return "a FaultInjection out of its limits";
	for (uint32_t i = 0; i < p->n_faults; i++) {
		const struct sl_fault_spec *f = &p->faults[i];

		if (!f->delay.of.denominator || !f->abort.of.denominator || !f->n_matches)
			return "a fault for no requests";
		if (f->delay.jitter_ns > f->delay.ns ||
		    f->delay.ns + f->delay.jitter_ns > 300 * SL_NS_PER_S)
			return "a delay out of its limits";
	}
	return NULL;
}

static const char *check_object(const struct sl_object *o)
{
	if (!o->meta.name.len || o->meta.name.len > 253 || o->meta.namespace.len > 63)
		return "a name out of its limits";
	if ((o->kind == SL_KIND_NAMESPACE) != (o->meta.namespace.len == 0))
		return "a namespace where none belongs, or none where one does";
	switch (o->kind) {
	case SL_KIND_HTTPROUTE:
	case SL_KIND_GRPCROUTE:
	case SL_KIND_TLSROUTE:
	case SL_KIND_TCPROUTE:
		return check_route((const struct sl_route_object *)o);
	case SL_KIND_SERVICE:
		return check_service((const struct sl_service *)o);
	case SL_KIND_FAULTINJECTION:
		return check_faults((const struct sl_fault_injection *)o);
	default:
		return NULL;
	}
}

static const char *check_content(const struct sl_file_content *c)
{
	size_t n_errors = c->diags.n_dropped;

	for (size_t i = 0; i < c->diags.n; i++) {
		if (!c->diags.items[i].message.len)
			return "a problem that says nothing";
		n_errors += c->diags.items[i].severity == SL_SEVERITY_ERROR;
	}
	if (n_errors < c->diags.n_errors)
		return "errors counted that are not there";
	for (size_t i = 0; i < c->n; i++) {
		const char *fault =
			c->objects[i].object ? check_object(c->objects[i].object) : NULL;

		if (fault)
			return fault;
	}
	return NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char mark[] = "\n#next\n";
	const char *text = (const char *)data;
	const char *next = size ? memmem(text, size, mark, sizeof(mark) - 1) : NULL;
	struct sl_file *f = NULL;

	if (sl_file_new(SL_STR("fuzz.yaml"), &f))
		return 0;
	(void)sl_file_parse(
		f, (struct sl_str){text, next ? (size_t)(next - text) : size}); /* checked next */
	fuzz_verdict(check_content(&f->content));
	if (next) {
		size_t rest = (size_t)(next - text) + sizeof(mark) - 1;

		(void)sl_file_parse(f, (struct sl_str){text + rest, size - rest}); /* as above */
		fuzz_verdict(check_content(&f->content));
	}
	sl_file_free(f);
	return 0;
}
