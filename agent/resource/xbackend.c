/* SPDX-License-Identifier: Apache-2.0 */
/* XBackend of gateway.networking.x-k8s.io/v1alpha1 (GEP-4894, gateway-api 1.7.0). */
#include <stdlib.h>
#include "resource/kinds.h"

enum { MAX_LABELS = 64 };

#define CLUSTER_DOMAIN ".cluster.local"

static const char *const spec_fields[] = {
	"type",	    "port", "externalHostname",	  "endpointSelector",
	"protocol", "tls",  "sessionPersistence", NULL,
};
static const char *const port_fields[] = {"number", NULL};
static const char *const hostname_fields[] = {"hostname", NULL};
static const char *const selector_fields[] = {"matchLabels", NULL};
static const char *const tls_fields[] = {"mode", "clientCertificateRef", "validation", NULL};
static const char *const secret_fields_of_ref[] = {"group", "kind", "namespace", "name", NULL};
static const char *const types[] = {"ExternalHostname", "EndpointSelector", NULL};
static const char *const modes[] = {"None", "ServerOnly", "ClientAndServer", NULL};
static const char *const protocols[] = {"TCP", "HTTP", "HTTP2", "HTTP11", "H2C",
					"MCP", "GRPC", "WSS",	NULL};

enum { MODE_NONE, MODE_SERVER, MODE_BOTH };

const char *sl_backend_protocol_name(enum sl_backend_protocol protocol)
{
	return protocol == SL_BACKEND_AS_ROUTE ? "" : protocols[protocol - 1];
}

bool sl_backend_ref_is_xbackend(const struct sl_backend_ref *ref)
{
	return sl_str_eqc(ref->group, SL_GATEWAY_X_GROUP) && sl_str_eqc(ref->kind, "XBackend");
}

/* ---- where it is ---- */

static void decode_port(const struct sl_cursor *spec, struct sl_xbackend *b)
{
	struct sl_cursor at = sl_cursor_member(spec, "port"), number;

	if (!at.node) {
		sl_cursor_error(&at, "required, but missing");
		return;
	}
	if (!sl_cursor_is_object(&at, port_fields))
		return;
	number = sl_cursor_member(&at, "number");
	if (!number.node)
		sl_cursor_error(&number, "required, but missing");
	(void)sl_read_port(&at, "number", &b->port); /* as just checked */
}

static void decode_hostname(const struct sl_cursor *spec, struct sl_xbackend *b)
{
	struct sl_cursor at, name;

	if (!sl_read_object(spec, "externalHostname", hostname_fields, &at) ||
	    !sl_require_str(&at, "hostname", &sl_text_hostname, &b->hostname))
		return;
	name = sl_cursor_member(&at, "hostname");
	sl_refuse_address(&name, b->hostname);
	if (b->hostname.len >= strlen(CLUSTER_DOMAIN) &&
	    sl_str_eqc(sl_str_skip(b->hostname, b->hostname.len - strlen(CLUSTER_DOMAIN)),
		       CLUSTER_DOMAIN))
		sl_cursor_error(&name, "must be outside of the cluster, not under " CLUSTER_DOMAIN);
}

/* Letters and digits at both ends, "-", "_" and "." between. */
static bool is_label_word(struct sl_str s)
{
	for (size_t i = 0; i < s.len; i++) {
		char c = s.ptr[i];
		bool alnum =
			(c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');

		if (!alnum && (i == 0 || i == s.len - 1 || (c != '-' && c != '_' && c != '.')))
			return false;
	}
	return true;
}

/* A word, perhaps behind a DNS subdomain and "/". */
static bool is_label_name(struct sl_str s)
{
	const char *slash = memchr(s.ptr, '/', s.len);

	if (slash) {
		struct sl_str prefix = {s.ptr, (size_t)(slash - s.ptr)};

		if (!prefix.len || prefix.len > sl_text_subdomain.max ||
		    !sl_text_subdomain.valid(prefix))
			return false;
		s = sl_str_skip(s, prefix.len + 1);
	}
	return s.len && s.len <= 63 && is_label_word(s);
}

static const struct sl_text_type label_value = {0, 63, is_label_word, "a label's value"};

static int label_cmp(const void *a, const void *b)
{
	return sl_str_cmp(((const struct sl_label *)a)->name, ((const struct sl_label *)b)->name);
}

static void decode_label(const struct sl_cursor *at, struct sl_xbackend *b)
{
	struct sl_label *label = &b->labels[b->n_labels];

	label->value = SL_STR("");
	if (!is_label_name(sl_str_from(at->key)))
		sl_cursor_error(at, "must be a label's name");
	else if (sl_arena_str(&b->object.arena, sl_str_from(at->key), &label->name))
		at->dec->oom = true;
	else if (sl_cursor_str(at, &label_value, &label->value))
		b->n_labels++;
}

static void decode_selector(const struct sl_cursor *spec, struct sl_xbackend *b)
{
	struct sl_cursor at, labels;
	const char *key;
	json_t *value;
	size_t n;

	if (!sl_read_object(spec, "endpointSelector", selector_fields, &at))
		return;
	labels = sl_cursor_texts(&at, "matchLabels");
	n = json_object_size(labels.node);
	if (n < 1 || n > MAX_LABELS) {
		labels = sl_cursor_member(&at, "matchLabels");
		sl_cursor_error(&labels, "must have 1 to %d labels, has %zu", MAX_LABELS, n);
		return;
	}
	b->labels = sl_decoder_new_n(spec->dec, struct sl_label, n);
	if (!b->labels)
		return;
	json_object_foreach (labels.node, key, value) {
		struct sl_cursor item = {
			.dec = spec->dec, .up = &labels, .node = value, .key = key};

		decode_label(&item, b);
	}
	qsort(b->labels, b->n_labels, sizeof(*b->labels), label_cmp);
}

/* One of two members, as type says. */
static void decode_place(const struct sl_cursor *spec, struct sl_xbackend *b)
{
	static const char *const members[] = {"externalHostname", "endpointSelector"};
	struct sl_cursor at = sl_cursor_member(spec, "type"), wanted, other;
	int type = 0;

	if (!at.node)
		sl_cursor_error(&at, "required, but missing");
	if (!sl_read_enum(spec, "type", types, &type))
		return;
	wanted = sl_cursor_member(spec, members[type]);
	other = sl_cursor_member(spec, members[!type]);
	if (!wanted.node)
		sl_cursor_error(&wanted, "required when type is %s, but missing", types[type]);
	if (other.node)
		sl_cursor_error(&other, "must not be set when type is %s", types[type]);
	if (type == 0)
		decode_hostname(spec, b);
	else
		decode_selector(spec, b);
}

/* ---- how it is spoken to ---- */

static void decode_certificate(const struct sl_cursor *tls, struct sl_xbackend *b)
{
	struct sl_str group = SL_STR(""), kind = SL_STR("Secret");
	struct sl_str namespace = b->object.meta.namespace;
	struct sl_cursor at, member;

	if (!sl_read_object(tls, "clientCertificateRef", secret_fields_of_ref, &at))
		return;
	(void)sl_read_str(&at, "group", &sl_text_group, &group); /* each has a default */
	(void)sl_read_str(&at, "kind", &sl_text_kind, &kind);
	(void)sl_read_str(&at, "namespace", &sl_text_dns_label, &namespace);
	(void)sl_require_str(&at, "name", &sl_text_subdomain, &b->tls.client_certificate);
	member = sl_cursor_member(&at, "kind");
	if (group.len || !sl_str_eqc(kind, "Secret"))
		sl_cursor_error(&member, "must be Secret of group \"\"");
	member = sl_cursor_member(&at, "namespace");
	if (!sl_str_eq(namespace, b->object.meta.namespace))
		sl_cursor_error(&member, "must be the XBackend's own namespace");
}

static void decode_tls(const struct sl_cursor *spec, struct sl_xbackend *b)
{
	struct sl_cursor at, member;
	int mode = MODE_NONE;

	if (!sl_read_object(spec, "tls", tls_fields, &at))
		return;
	member = sl_cursor_member(&at, "mode");
	if (!member.node)
		sl_cursor_error(&member, "required, but missing");
	if (!sl_read_enum(&at, "mode", modes, &mode))
		return;
	b->has_tls = mode != MODE_NONE;
	member = sl_cursor_member(&at, "validation");
	if (b->has_tls)
		sl_decode_tls_validation(&at, &b->tls);
	else if (member.node)
		sl_cursor_error(&member, "must not be set when mode is None");
	member = sl_cursor_member(&at, "clientCertificateRef");
	if (mode == MODE_BOTH && !member.node)
		sl_cursor_error(&member, "required when mode is ClientAndServer, but missing");
	else if (mode != MODE_BOTH && member.node)
		sl_cursor_error(&member, "must not be set unless mode is ClientAndServer");
	else
		decode_certificate(&at, b);
}

static void decode_protocol(const struct sl_cursor *spec, struct sl_xbackend *b)
{
	struct sl_cursor tls = sl_cursor_member(spec, "tls");
	int protocol;

	if (!sl_read_enum(spec, "protocol", protocols, &protocol))
		return;
	b->protocol = (enum sl_backend_protocol)(protocol + 1);
	if (b->protocol == SL_BACKEND_H2C && tls.node)
		sl_cursor_error(&tls, "must not be set when protocol is H2C");
	if ((b->protocol == SL_BACKEND_HTTP2 || b->protocol == SL_BACKEND_WSS) && !b->has_tls)
		sl_cursor_error(&tls,
				"must be set, with a mode other than None, when protocol is %s",
				protocols[protocol]);
}

/* ---- all of it ---- */

static void name_selector(struct sl_decoder *dec, const struct sl_xbackend *b, struct sl_str *ret)
{
	struct sl_arena *a = &dec->object->arena;

	*ret = SL_STR("");
	for (uint32_t i = 0; i < b->n_labels; i++) {
		if (sl_arena_printf(a, ret, "%.*s%s%.*s=%.*s", SL_STR_ARG(*ret), i ? "," : "",
				    SL_STR_ARG(b->labels[i].name), SL_STR_ARG(b->labels[i].value)))
			dec->oom = true;
	}
}

static void name_needs(struct sl_decoder *dec, struct sl_xbackend *b)
{
	struct sl_object *o = &b->object;
	struct sl_object_ref *needs =
		sl_decoder_new_n(dec, struct sl_object_ref, (size_t)b->tls.n_cas + 2);

	if (!needs)
		return;
	sl_tls_spec_needs(&b->tls, o->meta.namespace, needs, &o->n_needs);
	if (b->n_labels) {
		struct sl_object_ref *pods = &needs[o->n_needs++];

		*pods = (struct sl_object_ref){
			.kind = SL_KIND_POD, .namespace = o->meta.namespace, .name = SL_STR("")};
		name_selector(dec, b, &pods->selector);
	}
	o->needs = needs;
}

void sl_decode_xbackend(const struct sl_cursor *root)
{
	struct sl_xbackend *b = (struct sl_xbackend *)root->dec->object;
	struct sl_cursor spec = sl_cursor_member(root, "spec"), session;

	b->hostname = b->tls.hostname = b->tls.client_certificate = SL_STR("");
	if (!spec.node) {
		sl_cursor_error(&spec, "required, but missing");
		return;
	}
	if (!sl_cursor_is_object(&spec, spec_fields))
		return;
	decode_port(&spec, b);
	decode_place(&spec, b);
	decode_tls(&spec, b);
	decode_protocol(&spec, b);
	sl_decode_persistence(&spec, &b->persistence);
	session = sl_cursor_member(&spec, "sessionPersistence");
	if (session.node && b->hostname.len)
		sl_cursor_error(&session, "must not be set when type is ExternalHostname");
	name_needs(root->dec, b);
}
