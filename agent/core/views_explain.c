/* SPDX-License-Identifier: Apache-2.0 */
/* "explain": what would happen to a request, by the snapshot in force. Nothing is sent. */
#include <errno.h>
#include "base/cleanup.h"
#include "core/views_explain.h"
#include "http/h1_parse.h"
#include "http/uri.h"

/* What one answer shows of a long list; the rest is counted. */
enum { MAX_STEPS = 1000, NAME_BYTES = 640 };

int explain_put(json_t *object, const char *key, json_t *value)
{
	return json_object_set_new(object, key, value) ? -ENOMEM : 0;
}

int explain_put_str(json_t *object, const char *key, struct sl_str s)
{
	return explain_put(object, key, sl_view_str(s));
}

int explain_add(json_t *array, json_t *value)
{
	return json_array_append_new(array, value) ? -ENOMEM : 0;
}

__attribute__((format(printf, 2, 3))) static int refuse(struct explain *e, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(e->refusal, sizeof(e->refusal), fmt, ap); /* cut when too long */
	va_end(ap);
	return SL_ADMIN_REFUSED;
}

struct sl_str explain_member(const json_t *object, const char *key)
{
	const json_t *j = json_object_get(object, key);

	return (struct sl_str){json_string_value(j), json_string_length(j)};
}

/* What is before the byte, and *rest behind it; all and nothing when it is not there. */
static struct sl_str cut(struct sl_str s, char at, struct sl_str *rest)
{
	const char *p = s.len ? memchr(s.ptr, at, s.len) : NULL;
	size_t n = p ? (size_t)(p - s.ptr) : s.len;

	*rest = p ? sl_str_skip(s, n + 1) : SL_STR_NULL;
	return (struct sl_str){s.ptr, n};
}

struct sl_str explain_scheme(const struct explain *e)
{
	struct sl_str scheme = explain_member(e->request, "scheme");

	return scheme.len ? scheme : SL_STR("http");
}

/* ---- who asks ---- */

/* Whether connections of the Pod are known for its own. */
static bool pod_is_known(const struct sl_snapshot *snap, const struct sl_pod *pod)
{
	const struct sl_meta *meta = &pod->object.meta;
	const struct sl_pod_ref *ref =
		pod->host_network ? sl_snapshot_pod_by_uid(snap, meta->uid) : NULL;

	for (uint32_t i = 0; !pod->host_network && i < pod->n_ips && !ref; i++)
		ref = sl_snapshot_pod_by_ip(snap, &pod->ips[i]);
	return ref && sl_str_eq(ref->namespace, meta->namespace) &&
	       sl_str_eq(ref->name, meta->name);
}

static int find_source(struct explain *e)
{
	const struct sl_control *c = e->control;
	struct sl_str name, namespace = cut(explain_member(e->request, "source"), '/', &name);
	const struct sl_object *o;
	int r = explain_put_str(e->answer, "namespace", namespace);

	e->namespace = namespace;
	if (r || !name.len)
		return r;
	r = explain_put_str(e->answer, "pod", name);
	if (r)
		return r;
	o = sl_model_get(c->model, SL_KIND_POD, namespace, name);
	if (o && pod_is_known(c->snap, sl_container_of(o, const struct sl_pod, object)))
		return 0;
	e->namespace = SL_STR("");
	return explain_put(
		e->answer, "note",
		json_string(o ? "the Pod has no address that is its own alone, or has ended: its "
				"connections count as those of an unknown client"
			      : "the configuration has no such Pod: its connections count as those "
				"of an unknown client"));
}

/* ---- what is called ---- */

static enum sl_protocol protocol(const struct explain *e)
{
	return sl_str_eqc(explain_scheme(e), "udp") ? SL_PROTOCOL_UDP : SL_PROTOCOL_TCP;
}

static const struct sl_frontend *frontend_at(const struct explain *e)
{
	return protocol(e) == SL_PROTOCOL_UDP
		       ? sl_snapshot_udp_frontend(e->control->snap, &e->address)
		       : sl_snapshot_frontend(e->control->snap, &e->address);
}

static int find_port(struct explain *e, const struct sl_service *svc, uint16_t port)
{
	const struct sl_meta *meta = &svc->object.meta;
	char key[NAME_BYTES];
	uint32_t i = 0;

	while (i < svc->n_ports &&
	       (svc->ports[i].port != port || svc->ports[i].protocol != protocol(e)))
		i++;
	if (i == svc->n_ports)
		return refuse(e, "Service %.*s/%.*s has no %s port %u", SL_STR_ARG(meta->namespace),
			      SL_STR_ARG(meta->name), sl_protocol_name(protocol(e)), port);
	if (svc->n_cluster_ips) {
		e->address = svc->cluster_ips[0];
		e->address.port = port;
		e->frontend = frontend_at(e);
	}
	(void)snprintf(key, sizeof(key), "%.*s/%.*s:%u%s", SL_STR_ARG(meta->namespace),
		       SL_STR_ARG(meta->name), port,
		       protocol(e) == SL_PROTOCOL_UDP ? SL_UDP_SUFFIX : "");
	return explain_put(e->answer, "service", json_string(key));
}

/* ns/name, or name[.ns[.svc[...]]] as DNS has it. */
static int find_by_name(struct explain *e, struct sl_str text, uint16_t port)
{
	bool slash = memchr(text.ptr, '/', text.len);
	struct sl_str rest, namespace, name = cut(text, slash ? '/' : '.', &rest);
	const struct sl_object *o;

	if (slash) {
		namespace = name;
		name = rest;
	} else {
		namespace = cut(rest, '.', &rest);
		if (!namespace.len)
		namespace = cut(explain_member(e->request, "source"), '/', &rest);
		if (!namespace.len)
			return refuse(e, "the namespace of Service %.*s is not said",
				      SL_STR_ARG(name));
	}
	o = sl_model_get(e->control->model, SL_KIND_SERVICE, namespace, name);
	if (!o)
		return refuse(e, "there is no Service %.*s/%.*s", SL_STR_ARG(namespace),
			      SL_STR_ARG(name));
	return find_port(e, sl_container_of(o, const struct sl_service, object), port);
}

static int find_service(struct explain *e)
{
	struct sl_str text = explain_member(e->request, "service"), port_text, host;
	uint64_t port = 80;

	if (!text.len)
		return refuse(e, "the request has no \"service\"");
	if (!sl_addr_parse(text, &e->address) || !sl_addr_parse_ip(text, 80, &e->address)) {
		e->frontend = frontend_at(e);
		return e->frontend ? explain_put_str(e->answer, "service", e->frontend->key) : 0;
	}
	host = cut(text, ':', &port_text);
	if (!host.len || (port_text.ptr && (sl_str_to_u64(port_text, UINT16_MAX, &port) || !port)))
		return refuse(
			e, "\"%.*s\" names no Service: ns/name:port, name.ns:port or address:port",
			SL_STR_ARG(text));
	return find_by_name(e, host, (uint16_t)port);
}

static int put_address(struct explain *e)
{
	static const struct sl_addr none;
	char text[SL_ADDR_TEXT];

	if (!memcmp(e->address.ip, none.ip, sizeof(none.ip)))
		return 0;
	return explain_put(e->answer, "address", json_string(sl_addr_format(&e->address, text)));
}

/* ---- the request ---- */

static bool is_text(struct sl_str s, char least)
{
	for (size_t i = 0; i < s.len; i++) {
		if ((unsigned char)s.ptr[i] < least || s.ptr[i] == 0x7f)
			return false;
	}
	return s.len > 0;
}

static int append_header(struct explain *e, const json_t *pair, bool *has_host, struct sl_buf *head)
{
	const json_t *n = json_array_get(pair, 0), *v = json_array_get(pair, 1);
	struct sl_str name = {json_string_value(n), json_string_length(n)};
	struct sl_str value = {json_string_value(v), json_string_length(v)};

	if (!is_text(name, ' ' + 1) || !json_is_string(v) || (value.len && !is_text(value, ' ')))
		return refuse(e, "a header is not a pair of name and value, each on one line");
	*has_host |= sl_str_ieq(name, SL_STR("Host"));
	return sl_buf_printf(head, "%.*s: %.*s\r\n", SL_STR_ARG(name), SL_STR_ARG(value));
}

/* The request as a client would send it: read by the parser of the proxy, it means the same. */
static int write_head(struct explain *e, struct sl_buf *head)
{
	struct sl_str method = explain_member(e->request, "method"),
		      target = explain_member(e->request, "target");
	struct sl_str authority = explain_member(e->request, "authority");
	const json_t *pair;
	bool has_host = false;
	char host[SL_ADDR_TEXT];
	size_t i;
	int r;

	method = method.len ? method : SL_STR("GET");
	target = target.len ? target : SL_STR("/");
	if (!is_text(method, ' ' + 1) || !is_text(target, ' ' + 1) ||
	    (authority.len && !is_text(authority, ' ' + 1)))
		return refuse(e, "method, target and authority are words without white space");
	r = sl_buf_printf(head, "%.*s %.*s HTTP/1.1\r\n", SL_STR_ARG(method), SL_STR_ARG(target));
	json_array_foreach (json_object_get(e->request, "headers"), i, pair) {
		if (!r)
			r = append_header(e, pair, &has_host, head);
	}
	if (!r && !has_host)
		r = sl_buf_printf(
			head, "Host: %.*s\r\n",
			SL_STR_ARG(authority.len ? authority
						 : sl_str_from(sl_addr_format(&e->address, host))));
	return r ? r : sl_buf_append_str(head, SL_STR("\r\n"));
}

int explain_put_result(struct explain *e, const char *kind, unsigned status, const char *reason)
{
	json_t *j = status ? json_pack("{s:s, s:i, s:s}", "kind", kind, "status", (int)status,
				       "reason", reason)
			   : json_pack("{s:s, s:s}", "kind", kind, "reason", reason);
	int r = explain_put(e->answer, "result", j);

	if (r || !status || !e->table || e->table->kind != SL_ROUTE_GRPC)
		return r;
	return explain_put(j, "grpc_status",
			   json_string(status == 404 ? "UNIMPLEMENTED" : "UNAVAILABLE"));
}

enum { DECIDED = 2 }; /* the result is written */

/* Returns 0, DECIDED, SL_ADMIN_REFUSED or -ENOMEM. */
static int read_request(struct explain *e)
{
	_cleanup_(sl_buf_deinit) struct sl_buf head = SL_BUF_INIT(0);
	struct sl_h1_scan scan = {0};
	struct sl_h1_error err = {.status = 400, .reason = "the head has no end"};
	size_t used;
	int r = write_head(e, &head);

	if (r)
		return r;
	r = sl_h1_parse_request(&e->control->opts->proxy.h1, &scan, sl_buf_ptr(&head),
				sl_buf_len(&head), &e->arena, &e->req, &used, &err);
	if (r > 0) {
		r = explain_put_result(e, "answer", err.status, err.reason);
		return r ? r : DECIDED;
	}
	if (!r)
		r = sl_uri_path_to_match(&e->arena, e->req.path, &e->env.path);
	e->env.arena = &e->arena;
	e->env.scheme = SL_STR("http");
	e->env.port = e->address.port;
	if (r)
		return r;
	return explain_put(e->answer, "request",
			   json_pack("{s:o, s:o, s:o, s:o, s:o}", "method",
				     sl_view_str(e->req.method_text), "target",
				     sl_view_str(e->req.target), "path", sl_view_str(e->env.path),
				     "query", sl_view_str(e->req.query), "authority",
				     sl_view_str(e->req.authority)));
}

/* ---- which rules ---- */

static const char *step_condition(const struct sl_explain_step *s, struct sl_buf *out,
				  int *ret_error)
{
	int r = 0;

	if (s->value)
		r = sl_match_value_describe(s->verdict == SL_EXPLAIN_HEADER ? "header" : "query",
					    s->value, out);
	if (!r)
		r = sl_buf_append(out, "", 1);
	*ret_error = r;
	return r ? NULL : sl_buf_ptr(out);
}

static json_t *step_json(const struct sl_explain_step *s)
{
	static const char *const verdicts[] = {
		[SL_EXPLAIN_TAKES] = "takes",	[SL_EXPLAIN_LATER] = "later",
		[SL_EXPLAIN_PATH] = "path",	[SL_EXPLAIN_METHOD] = "method",
		[SL_EXPLAIN_HEADER] = "header", [SL_EXPLAIN_QUERY] = "query",
	};
	_cleanup_(sl_buf_deinit) struct sl_buf match = SL_BUF_INIT(0);
	_cleanup_(sl_buf_deinit) struct sl_buf condition = SL_BUF_INIT(0);
	const struct sl_rule *rule = s->match->rule;
	const char *text;
	json_t *j;
	int r;

	if (sl_match_describe(s->match, &match))
		return NULL;
	text = step_condition(s, &condition, &r);
	if (r)
		return NULL;
	j = json_pack("{s:o, s:o, s:o, s:s}", "route", sl_view_str(rule->route), "rule",
		      sl_view_str(rule->name), "match", sl_view_str(sl_buf_str(&match)), "verdict",
		      verdicts[s->verdict]);
	r = j ? 0 : -ENOMEM;
	if (!r && s->value)
		r = explain_put_str(j, "condition", sl_str_from(text));
	if (!r && s->have.ptr)
		r = explain_put_str(j, "have", s->have);
	if (!r && s->limit)
		r = explain_put(j, "limit", json_true());
	if (r) {
		json_decref(j);
		return NULL;
	}
	return j;
}

/* The first ones, and the one that takes the request wherever it stands. */
int explain_put_steps(struct explain *e, const struct sl_explain *x)
{
	json_t *rules = json_array();
	uint32_t n_left_out = 0;
	int r = explain_put(e->answer, "rules", rules);

	for (uint32_t i = 0; i < x->n_steps && !r; i++) {
		if (i < MAX_STEPS || x->steps[i].verdict == SL_EXPLAIN_TAKES)
			r = explain_add(rules, step_json(&x->steps[i]));
		else
			n_left_out++;
	}
	return r || !n_left_out
		       ? r
		       : explain_put(e->answer, "rules_left_out", json_integer(n_left_out));
}

static const struct sl_route_table *choose_table(const struct explain *e, const char **ret_name)
{
	const struct sl_frontend *f = e->frontend;
	const struct sl_route_table *t = f ? sl_frontend_table(f, e->namespace) : NULL;

	*ret_name = t ? "producer" : "none";
	for (uint32_t i = 0; t && i < f->n_consumers; i++) {
		if (f->consumers[i].table == t)
			*ret_name = "consumer";
	}
	return t;
}

/* Why the connection is none of the rules' business; NULL: it is. */
static const char *why_passed(const struct explain *e)
{
	const struct sl_frontend *f = e->frontend;

	if (!f && !json_object_get(e->answer, "service"))
		return "no Service has this address and port: connections to it are not steered";
	if (!f)
		return "the Service has no cluster IP of its own: connections to it are not "
		       "steered";
	if (!f->routed && protocol(e) == SL_PROTOCOL_UDP)
		return "no UDPRoute is attached to the Service: its datagrams are left alone";
	if (!f->routed && f->app_protocol == SL_APP_OPAQUE)
		return "no route can be attached to a port whose appProtocol is not HTTP: "
		       "connections to it are not steered";
	if (!f->routed && f->n_trials)
		return "no route of the Service is enforced: requests go to an endpoint of it";
	if (!f->routed)
		return "no route is attached to the Service: connections to it are not steered";
	if (!sl_str_eqc(explain_scheme(e), "http") && e->table && f->app_protocol == SL_APP_UNKNOWN)
		return "what is not HTTP goes to an endpoint of the Service as it is";
	if (!e->table)
		return "the routes are for clients of other namespaces: the bytes go to an "
		       "endpoint of "
		       "the Service as they are";
	return NULL;
}

const char *explain_fallback_text(unsigned status)
{
	return status == 404 ? "no rule of the attached routes matches this request"
			     : "a route is attached whose rules cannot be used";
}

/* *ret: the rule that takes the request; NULL: none. */
static int follow_table(struct explain *e, const struct sl_rule **ret)
{
	const struct sl_route_table *t = e->table;
	struct sl_explain x;
	int r = sl_route_table_explain(t, &e->req, e->env.path, &e->arena, &x);

	if (!r)
		r = explain_put_steps(e, &x);
	if (r)
		return r;
	*ret = x.rule;
	if (x.rule)
		return explain_rule(e, x.rule);
	return explain_put_result(e, "answer", t->fallback_status,
				  explain_fallback_text(t->fallback_status));
}

/* The request is read. passed: why no rule is asked; NULL: they are. */
static int follow(struct explain *e, const char *passed)
{
	bool is_http = sl_str_eqc(explain_scheme(e), "http");
	bool shown = is_http && e->frontend && sl_frontend_trial(e->frontend, e->namespace);
	struct sl_request asked = e->req;
	const struct sl_rule *rule = NULL;
	int r = sl_headers_copy(&e->req.headers, &e->arena, &asked.headers);

	if (!r)
		r = passed ? explain_put_result(e, "pass_through", 0, passed)
			   : follow_table(e, &rule);
	return r || !shown ? r : explain_shadow(e, rule, &asked);
}

static int explain(struct explain *e)
{
	const char *name, *passed;
	int r = find_source(e);

	if (!r)
		r = find_service(e);
	if (!r)
		r = put_address(e);
	if (r)
		return r;
	e->table = choose_table(e, &name);
	r = explain_put(e->answer, "table", json_string(name));
	if (r)
		return r;
	if (e->table && e->table->kind >= SL_ROUTE_TLS)
		return explain_connection(e);
	passed = why_passed(e);
	r = read_request(e);
	/* What is not looked into is not refused either. */
	if (r == DECIDED && passed)
		return explain_put_result(e, "pass_through", 0, passed);
	return r ? r : follow(e, passed);
}

int sl_view_explain(void *control, const json_t *request, json_t **ret)
{
	_cleanup_(sl_view_decrefp) json_t *answer = json_object();
	struct explain e = {.control = control,
			    .request = request,
			    .answer = answer,
			    .arena = SL_ARENA_INIT(16384)};
	int r;

	if (!answer)
		return -ENOMEM;
	if (e.control->snap && e.control->model)
		r = explain(&e);
	else
		r = refuse(&e, "no configuration is in force yet");
	sl_arena_deinit(&e.arena);
	if (r == SL_ADMIN_REFUSED) {
		*ret = json_string(e.refusal);
		return *ret ? r : -ENOMEM;
	}
	if (r < 0)
		return r;
	*ret = sl_take(answer);
	return 0;
}
