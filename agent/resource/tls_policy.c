/* SPDX-License-Identifier: Apache-2.0 */
/*
 * BackendTLSPolicy. What is wrong below spec, apart from whom it is for, does not make the object
 * go away: its backends would be spoken to in the clear. It is kept, with the first error.
 */
#include "resource/kinds.h"

enum { MAX_TARGETS = 16, MAX_CA_REFS = 8, MAX_NAMES = 5, MAX_OPTIONS = 16 };

#define CLIENT_CERTIFICATE "sluice.dev/client-certificate"

static const char *const spec_fields[] = {"targetRefs", "validation", "options", NULL};
static const char *const target_fields[] = {"group", "kind", "name", "sectionName", NULL};
static const char *const validation_fields[] = {"caCertificateRefs", "wellKnownCACertificates",
						"hostname", "subjectAltNames", NULL};
static const char *const ca_fields[] = {"group", "kind", "name", NULL};
static const char *const name_fields[] = {"type", "hostname", "uri", NULL};
static const char *const system_names[] = {"System", NULL};
static const char *const name_types[] = {"Hostname", "URI", NULL};

static bool is_uri(struct sl_str s)
{
	const char *colon = memchr(s.ptr, ':', s.len);

	return colon && s.len - (size_t)(colon - s.ptr) > 3 && !memcmp(colon, "://", 3);
}

static const struct sl_text_type uri_type = {1, 253, is_uri, "an absolute URI with an authority"};

/* ---- whom it is for ---- */

static void decode_target(const struct sl_cursor *at, struct sl_parent_ref *to)
{
	*to = (struct sl_parent_ref){.group = SL_STR(""),
				     .kind = SL_STR(""),
				     .has_group = true,
				     .has_kind = true,
				     .has_namespace = true,
				     .namespace = at->dec->object->meta.namespace,
				     .name = SL_STR(""),
				     .section_name = SL_STR("")};
	if (!sl_cursor_is_object(at, target_fields))
		return;
	if (!sl_cursor_has(at, "group")) {
		struct sl_cursor group = sl_cursor_member(at, "group");

		sl_cursor_error(&group, "required, but missing");
	}
	(void)sl_read_str(at, "group", &sl_text_group, &to->group); /* as just checked */
	(void)sl_require_str(at, "kind", &sl_text_kind, &to->kind);
	(void)sl_require_str(at, "name", &sl_text_ref_name, &to->name);
	(void)sl_read_str(at, "sectionName", &sl_text_subdomain, &to->section_name); /* optional */
	if (to->kind.len && (to->group.len || !sl_str_eqc(to->kind, "Service"))) {
		struct sl_cursor kind = sl_cursor_member(at, "kind");

		sl_cursor_warn(&kind, "only Services are supported as targets, ignored");
	}
}

static void decode_targets(const struct sl_cursor *spec, struct sl_backend_tls_policy *p)
{
	struct sl_cursor array = sl_cursor_member(spec, "targetRefs");
	size_t n = 0;

	if (!sl_read_array(spec, "targetRefs", MAX_TARGETS, &array, &n) || !n) {
		if (!array.node || json_is_array(array.node))
			sl_cursor_error(&array, "must have at least one item");
		return;
	}
	p->targets = sl_decoder_new_n(spec->dec, struct sl_parent_ref, n);
	if (!p->targets)
		return;
	p->n_targets = (uint32_t)n;
	for (size_t i = 0; i < n; i++) {
		struct sl_cursor at = sl_cursor_item(&array, i);
		const struct sl_parent_ref *a = &p->targets[i];

		decode_target(&at, &p->targets[i]);
		for (size_t k = 0; k < i; k++) {
			const struct sl_parent_ref *b = &p->targets[k];

			if (sl_str_eq(a->group, b->group) && sl_str_eq(a->kind, b->kind) &&
			    sl_str_eq(a->name, b->name) &&
			    sl_str_eq(a->section_name, b->section_name))
				sl_cursor_error(&at, "is the same as targetRefs[%zu]", k);
		}
	}
}

/* ---- what is believed ---- */

static void decode_ca(const struct sl_cursor *at, struct sl_ca_ref *to)
{
	to->group = to->kind = to->name = SL_STR("");
	if (!sl_cursor_is_object(at, ca_fields))
		return;
	(void)sl_read_str(at, "group", &sl_text_group, &to->group); /* core when absent */
	(void)sl_require_str(at, "kind", &sl_text_kind, &to->kind);
	(void)sl_require_str(at, "name", &sl_text_ref_name, &to->name);
}

static void decode_cas(const struct sl_cursor *validation, struct sl_tls_spec *tls)
{
	struct sl_cursor array, system = sl_cursor_member(validation, "wellKnownCACertificates");
	int which = -1;
	size_t n = 0;

	if (sl_read_enum(validation, "wellKnownCACertificates", system_names, &which))
		tls->system_ca = true;
	if (sl_read_array(validation, "caCertificateRefs", MAX_CA_REFS, &array, &n) && n) {
		tls->cas = sl_decoder_new_n(validation->dec, struct sl_ca_ref, n);
		if (!tls->cas)
			return;
		tls->n_cas = (uint32_t)n;
	}
	for (size_t i = 0; i < n; i++) {
		struct sl_cursor at = sl_cursor_item(&array, i);

		decode_ca(&at, &tls->cas[i]);
	}
	if (n && system.node)
		sl_cursor_error(&system, "must not be set beside caCertificateRefs");
	else if (!n && !system.node)
		sl_cursor_error(validation,
				"must have either caCertificateRefs or wellKnownCACertificates");
}

static void decode_name(const struct sl_cursor *at, struct sl_cert_name *to)
{
	int type = 0;
	const char *has, *has_not;
	struct sl_cursor other;

	to->text = SL_STR("");
	if (!sl_cursor_is_object(at, name_fields))
		return;
	if (!sl_read_enum(at, "type", name_types, &type)) {
		if (!sl_cursor_has(at, "type"))
			sl_cursor_error(at, "type is required, but missing");
		return;
	}
	to->is_uri = type == 1;
	has = to->is_uri ? "uri" : "hostname";
	has_not = to->is_uri ? "hostname" : "uri";
	(void)sl_require_str(at, has, to->is_uri ? &uri_type : &sl_text_wildcard_hostname,
			     &to->text);
	other = sl_cursor_member(at, has_not);
	if (other.node && json_string_length(other.node))
		sl_cursor_error(&other, "must not be set when type is %s", name_types[type]);
}

static void decode_names(const struct sl_cursor *validation, struct sl_tls_spec *tls)
{
	struct sl_cursor array;
	size_t n;

	if (!sl_read_array(validation, "subjectAltNames", MAX_NAMES, &array, &n) || !n)
		return;
	tls->names = sl_decoder_new_n(validation->dec, struct sl_cert_name, n);
	if (!tls->names)
		return;
	tls->n_names = (uint32_t)n;
	for (size_t i = 0; i < n; i++) {
		struct sl_cursor at = sl_cursor_item(&array, i);

		decode_name(&at, &tls->names[i]);
	}
}

void sl_decode_tls_validation(const struct sl_cursor *owner, struct sl_tls_spec *tls)
{
	struct sl_cursor at = sl_cursor_member(owner, "validation"), hostname;

	if (!at.node) {
		sl_cursor_error(&at, "required, but missing");
		return;
	}
	if (!sl_cursor_is_object(&at, validation_fields))
		return;
	(void)sl_require_str(&at, "hostname", &sl_text_hostname, &tls->hostname);
	hostname = sl_cursor_member(&at, "hostname");
	sl_refuse_address(&hostname, tls->hostname);
	decode_cas(&at, tls);
	decode_names(&at, tls);
}

/* ---- options ---- */

/* Of other controllers: not our business. An unknown one of ours is an error, as it could be about
 * what makes a connection safe. */
static void decode_options(const struct sl_cursor *spec, struct sl_backend_tls_policy *p)
{
	struct sl_cursor at = sl_cursor_texts(spec, "options");
	const char *key;
	json_t *value;

	if (json_object_size(at.node) > MAX_OPTIONS)
		sl_cursor_error(&at, "must have at most %d items, has %zu", MAX_OPTIONS,
				json_object_size(at.node));
	json_object_foreach (at.node, key, value) {
		struct sl_cursor item = {.dec = at.dec, .up = &at, .node = value, .key = key};

		if (strcmp(key, CLIENT_CERTIFICATE) == 0)
			(void)sl_cursor_str(&item, &sl_text_subdomain, &p->tls.client_certificate);
		else if (strncmp(key, "sluice.dev/", strlen("sluice.dev/")) == 0)
			sl_cursor_error(&item, "is not an option that is known");
	}
}

/* ---- all of it ---- */

void sl_tls_spec_needs(const struct sl_tls_spec *tls, struct sl_str namespace,
		       struct sl_object_ref *needs, uint32_t *n)
{
	for (uint32_t i = 0; i < tls->n_cas; i++) {
		const struct sl_ca_ref *ca = &tls->cas[i];

		if (ca->group.len || !ca->name.len)
			continue;
		if (sl_str_eqc(ca->kind, "ConfigMap") || sl_str_eqc(ca->kind, "Secret"))
			needs[(*n)++] = (struct sl_object_ref){
				.kind = sl_str_eqc(ca->kind, "Secret") ? SL_KIND_SECRET
								       : SL_KIND_CONFIGMAP,
				.namespace = namespace,
				.name = ca->name};
	}
	if (tls->client_certificate.len)
		needs[(*n)++] = (struct sl_object_ref){.kind = SL_KIND_SECRET,
						       .namespace = namespace,
						       .name = tls->client_certificate};
}

static void name_needs(struct sl_decoder *dec, struct sl_backend_tls_policy *p)
{
	struct sl_object *o = &p->object;
	struct sl_object_ref *needs =
		sl_decoder_new_n(dec, struct sl_object_ref, (size_t)p->tls.n_cas + 1);

	if (!needs)
		return;
	sl_tls_spec_needs(&p->tls, o->meta.namespace, needs, &o->n_needs);
	o->needs = needs;
}

void sl_decode_backend_tls_policy(const struct sl_cursor *root)
{
	struct sl_decoder *dec = root->dec;
	struct sl_backend_tls_policy *p = (struct sl_backend_tls_policy *)dec->object;
	struct sl_cursor spec = sl_cursor_member(root, "spec");
	struct sl_route_rule rest = {0};

	p->tls.hostname = p->tls.client_certificate = SL_STR("");
	if (!spec.node) {
		sl_cursor_error(&spec, "required, but missing");
		return;
	}
	if (!sl_cursor_is_object(&spec, spec_fields))
		return;
	decode_targets(&spec, p);
	dec->rule = &rest;
	sl_decode_tls_validation(&spec, &p->tls);
	decode_options(&spec, p);
	dec->rule = NULL;
	p->error = rest.error;
	name_needs(dec, p);
}
