/* SPDX-License-Identifier: Apache-2.0 */
/* What a BackendTLSPolicy or an XBackend says, and the objects that it names say, as one TLS
 * configuration. */
#include <errno.h>
#include <stdarg.h>
#include "base/alloc.h"
#include "base/cleanup.h"
#include "compile/work.h"

enum { BLOCK_BYTES = 512, TEXT_MAX_BYTES = 1024 };

static void object_unref(void *o)
{
	(void)sl_object_unref(o); /* always NULL */
}

void tls_work_forget(struct tls_work *n)
{
	for (uint32_t i = 0; i < n->n_inputs; i++)
		object_unref(n->inputs[i]);
	free(sl_take(n->inputs));
	n->n_inputs = 0;
	object_unref(sl_take(n->built));
	n->tls = sl_tls_context_unref(n->tls);
	sl_arena_deinit(&n->arena);
	n->arena = SL_ARENA_INIT(BLOCK_BYTES);
	n->reason = n->refs_reason = NULL;
	n->message = n->refs_message = SL_STR_NULL;
}

static int say(struct tls_work *n, struct sl_str *to, const char *fmt, va_list ap)
	__attribute__((format(printf, 3, 0)));

static int say(struct tls_work *n, struct sl_str *to, const char *fmt, va_list ap)
{
	char text[TEXT_MAX_BYTES];

	(void)vsnprintf(text, sizeof(text), fmt, ap); /* cut when too long */
	return sl_arena_str(&n->arena, sl_str_from(text), to);
}

static int fail(struct tls_work *n, const char *reason, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* It cannot be used. The first reason is the one that is told. */
static int fail(struct tls_work *n, const char *reason, const char *fmt, ...)
{
	va_list ap;
	int r;

	if (n->reason)
		return 0;
	n->reason = reason;
	va_start(ap, fmt);
	r = say(n, &n->message, fmt, ap);
	va_end(ap);
	return r;
}

static int ref_fail(struct tls_work *n, const char *reason, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

static int ref_fail(struct tls_work *n, const char *reason, const char *fmt, ...)
{
	va_list ap;
	int r;

	if (n->refs_reason)
		return 0;
	n->refs_reason = reason;
	va_start(ap, fmt);
	r = say(n, &n->refs_message, fmt, ap);
	va_end(ap);
	return r;
}

/* ---- what it names ---- */

static struct sl_data_object *data_get(const struct sl_compiler *c, const struct sl_object_ref *ref)
{
	const struct sl_map *map = ref->kind == SL_KIND_SECRET ? &c->secrets : &c->config_maps;
	char key[512];
	int len = snprintf(key, sizeof(key), "%.*s/%.*s", SL_STR_ARG(ref->namespace),
			   SL_STR_ARG(ref->name));

	return len < (int)sizeof(key) ? sl_map_get(map, (struct sl_str){key, (size_t)len}) : NULL;
}

static bool is_current(const struct sl_compiler *c, const struct tls_work *n,
		       const struct sl_object *o)
{
	if (n->built != o)
		return false;
	for (uint32_t i = 0; i < n->n_inputs; i++) {
		if (n->inputs[i] != data_get(c, &o->needs[i]))
			return false;
	}
	return true;
}

static int inputs_take(const struct sl_compiler *c, struct tls_work *n, struct sl_object *o)
{
	n->inputs = sl_new_n(struct sl_data_object *, o->n_needs);
	if (!n->inputs)
		return -ENOMEM;
	for (uint32_t i = 0; i < o->n_needs; i++) {
		n->inputs[i] = data_get(c, &o->needs[i]);
		if (n->inputs[i])
			sl_object_ref(&n->inputs[i]->object);
		n->n_inputs++;
	}
	n->built = sl_object_ref(o);
	return 0;
}

static const struct sl_data_object *input(const struct tls_work *n, enum sl_kind kind,
					  struct sl_str name)
{
	for (uint32_t i = 0; i < n->n_inputs; i++) {
		const struct sl_object_ref *ref = &n->built->needs[i];

		if (ref->kind == kind && sl_str_eq(ref->name, name))
			return n->inputs[i];
	}
	return NULL;
}

/* ---- whom it believes ---- */

/* While a context is made. */
struct ca_list {
	struct sl_tls_ca **items;
	uint32_t n;
};

static void ca_list_deinit(struct ca_list *l)
{
	while (l->n)
		(void)sl_tls_ca_free(l->items[--l->n]); /* always NULL */
}

/* Adds the certificates of one reference to the list, if they are good. */
static int ca_take(struct tls_work *n, uint32_t index, struct ca_list *to)
{
	const struct sl_ca_ref *ref = &n->from.spec->cas[index];
	bool is_secret = sl_str_eqc(ref->kind, "Secret");
	const struct sl_data_object *o;
	char why[SL_TLS_ERROR_TEXT];
	struct sl_str pem;
	int r;

	if (ref->group.len || (!is_secret && !sl_str_eqc(ref->kind, "ConfigMap")))
		return ref_fail(n, "InvalidKind",
				"%s.caCertificateRefs[%u]: kind \"%.*s\" of group "
				"\"%.*s\" is not supported",
				n->from.validation, index, SL_STR_ARG(ref->kind),
				SL_STR_ARG(ref->group));
	o = input(n, is_secret ? SL_KIND_SECRET : SL_KIND_CONFIGMAP, ref->name);
	if (!o)
		return ref_fail(n, "InvalidCACertificateRef",
				"%s.caCertificateRefs[%u]: %.*s %.*s/%.*s does not "
				"exist",
				n->from.validation, index, SL_STR_ARG(ref->kind),
				SL_STR_ARG(n->built->meta.namespace), SL_STR_ARG(ref->name));
	pem = sl_data_get(o, SL_STR("ca.crt"));
	if (!pem.ptr)
		return ref_fail(n, "InvalidCACertificateRef",
				"%s.caCertificateRefs[%u]: %.*s %.*s has no key "
				"ca.crt",
				n->from.validation, index, SL_STR_ARG(ref->kind),
				SL_STR_ARG(o->object.key));
	r = sl_tls_ca_new(pem, &to->items[to->n], why);
	if (r == SL_TLS_BAD_CA)
		return ref_fail(n, "InvalidCACertificateRef",
				"%s.caCertificateRefs[%u]: ca.crt of %.*s %.*s: %s",
				n->from.validation, index, SL_STR_ARG(ref->kind),
				SL_STR_ARG(o->object.key), why);
	to->n += !r;
	return r;
}

static int cas_take(struct tls_work *n, struct ca_list *list, struct sl_tls_config *config)
{
	const struct sl_tls_spec *p = n->from.spec;
	int r = 0;

	list->items = sl_arena_new_n(&n->arena, struct sl_tls_ca *, p->n_cas + 1);
	if (!list->items)
		return -ENOMEM;
	for (uint32_t i = 0; i < p->n_cas && !r; i++)
		r = ca_take(n, i, list);
	if (r)
		return r;
	config->ca = list->items;
	config->n_ca = list->n;
	config->system_ca = p->system_ca;
	if (config->n_ca || config->system_ca)
		return 0;
	return fail(n, "NoValidCACertificate",
		    "none of caCertificateRefs is usable, so nothing can be sent to the backend");
}

/* ---- the rest ---- */

static int names_take(struct tls_work *n, struct sl_tls_config *config)
{
	const struct sl_tls_spec *p = n->from.spec;
	struct sl_tls_name *out = sl_arena_new_n(&n->arena, struct sl_tls_name, p->n_names + 1);

	if (!out)
		return -ENOMEM;
	for (uint32_t i = 0; i < p->n_names; i++)
		out[i] = (struct sl_tls_name){
			p->names[i].is_uri ? SL_TLS_NAME_URI : SL_TLS_NAME_HOST, p->names[i].text};
	config->hostname = p->hostname;
	config->names = out;
	config->n_names = p->n_names;
	return 0;
}

static int certificate_take(struct tls_work *n, struct sl_tls_config *config)
{
	const struct sl_tls_spec *p = n->from.spec;
	const struct sl_data_object *o;

	if (!p->client_certificate.len)
		return 0;
	o = input(n, SL_KIND_SECRET, p->client_certificate);
	if (o) {
		config->cert = sl_data_get(o, SL_STR("tls.crt"));
		config->key = sl_data_get(o, SL_STR("tls.key"));
	}
	if (config->cert.len && config->key.len)
		return 0;
	return fail(n, "Invalid", "%s: Secret %.*s/%.*s %s", n->from.certificate,
		    SL_STR_ARG(n->built->meta.namespace), SL_STR_ARG(p->client_certificate),
		    o ? "has no keys tls.crt and tls.key" : "does not exist");
}

static int context_make(struct tls_work *n)
{
	_cleanup_(ca_list_deinit) struct ca_list list = {0};
	struct sl_tls_config config = {0};
	char why[SL_TLS_ERROR_TEXT];
	int r = cas_take(n, &list, &config);

	if (!r)
		r = names_take(n, &config);
	if (!r)
		r = certificate_take(n, &config);
	if (r || n->reason)
		return r;
	r = sl_tls_context_new(&config, &n->tls, why);
	if (r == SL_TLS_BAD_CA)
		return fail(n, "NoValidCACertificate", "%s", why);
	if (r == SL_TLS_BAD_CERT)
		return fail(n, "Invalid", "%s: %s", n->from.certificate, why);
	return r;
}

int tls_work_refresh(struct sl_compiler *c, struct tls_work *n, const struct tls_source *from)
{
	const struct sl_rule_error *error = from->error;
	int r;

	if (is_current(c, n, from->object))
		return 0;
	tls_work_forget(n);
	n->from = *from;
	r = inputs_take(c, n, from->object);
	if (r)
		return r;
	return error ? fail(n, "Invalid", "%.*s: %.*s", SL_STR_ARG(error->field),
			    SL_STR_ARG(error->message))
		     : context_make(n);
}
