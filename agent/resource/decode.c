/* SPDX-License-Identifier: Apache-2.0 */
#include "resource/decode.h"

#include <assert.h>
#include <errno.h>
#include "resource/kinds.h"

#define GATEWAY_GROUP "gateway.networking.k8s.io"
#define POLICY_GROUP  "policy.sluice.dev"

struct kind_form {
	const char *group;
	const char *api_versions[4]; /* the best first; ends with NULL */
	enum sl_kind kind;
	bool cluster_scoped;
	const struct sl_text_type *name_type;
	void (*decode)(const struct sl_cursor *root);
};

/* An older version is decoded as the newest is: none of them has a field of another meaning, some
 * allow what their successors forbid. */
static const struct kind_form forms[] = {
	{"", {"v1"}, SL_KIND_NAMESPACE, true, &sl_text_dns_label, sl_decode_namespace},
	{"", {"v1"}, SL_KIND_NODE, true, &sl_text_subdomain, sl_decode_node},
	{"", {"v1"}, SL_KIND_SERVICE, false, &sl_text_dns_label, sl_decode_service},
	{"", {"v1"}, SL_KIND_POD, false, &sl_text_subdomain, sl_decode_pod},
	{"discovery.k8s.io",
	 {"discovery.k8s.io/v1"},
	 SL_KIND_ENDPOINTSLICE,
	 false,
	 &sl_text_subdomain,
	 sl_decode_endpointslice},
	{GATEWAY_GROUP,
	 {GATEWAY_GROUP "/v1", GATEWAY_GROUP "/v1beta1"},
	 SL_KIND_HTTPROUTE,
	 false,
	 &sl_text_subdomain,
	 sl_decode_httproute},
	{GATEWAY_GROUP,
	 {GATEWAY_GROUP "/v1", GATEWAY_GROUP "/v1alpha2"},
	 SL_KIND_GRPCROUTE,
	 false,
	 &sl_text_subdomain,
	 sl_decode_grpcroute},
	{GATEWAY_GROUP,
	 {GATEWAY_GROUP "/v1", GATEWAY_GROUP "/v1alpha3", GATEWAY_GROUP "/v1alpha2"},
	 SL_KIND_TLSROUTE,
	 false,
	 &sl_text_subdomain,
	 sl_decode_tlsroute},
	{GATEWAY_GROUP,
	 {GATEWAY_GROUP "/v1", GATEWAY_GROUP "/v1alpha2"},
	 SL_KIND_TCPROUTE,
	 false,
	 &sl_text_subdomain,
	 sl_decode_tcproute},
	{GATEWAY_GROUP,
	 {GATEWAY_GROUP "/v1", GATEWAY_GROUP "/v1alpha2"},
	 SL_KIND_UDPROUTE,
	 false,
	 &sl_text_subdomain,
	 sl_decode_udproute},
	{GATEWAY_GROUP,
	 {GATEWAY_GROUP "/v1", GATEWAY_GROUP "/v1alpha3"},
	 SL_KIND_BACKENDTLSPOLICY,
	 false,
	 &sl_text_subdomain,
	 sl_decode_backend_tls_policy},
	{"", {"v1"}, SL_KIND_CONFIGMAP, false, &sl_text_subdomain, sl_decode_config_map},
	{"", {"v1"}, SL_KIND_SECRET, false, &sl_text_subdomain, sl_decode_secret},
	{POLICY_GROUP,
	 {POLICY_GROUP "/v1alpha1"},
	 SL_KIND_TRAFFICPOLICY,
	 false,
	 &sl_text_subdomain,
	 sl_decode_trafficpolicy},
	{POLICY_GROUP,
	 {POLICY_GROUP "/v1alpha1"},
	 SL_KIND_FAULTINJECTION,
	 false,
	 &sl_text_subdomain,
	 sl_decode_faultinjection},
	{SL_GATEWAY_X_GROUP,
	 {SL_GATEWAY_X_GROUP "/v1alpha1"},
	 SL_KIND_BACKENDTRAFFICPOLICY,
	 false,
	 &sl_text_subdomain,
	 sl_decode_backendtrafficpolicy},
	{SL_GATEWAY_X_GROUP,
	 {SL_GATEWAY_X_GROUP "/v1alpha1"},
	 SL_KIND_XBACKEND,
	 false,
	 &sl_text_subdomain,
	 sl_decode_xbackend},
};

const char *const *sl_kind_api_versions(enum sl_kind kind)
{
	size_t i = 0;

	while (i < sizeof(forms) / sizeof(forms[0]) && forms[i].kind != kind)
		i++;
	assert(i < sizeof(forms) / sizeof(forms[0]));
	return forms[i].api_versions;
}

/* What apiVersion and kind say, borrowed from the JSON tree. */
struct type_meta {
	struct sl_str api_version, group, version, kind;
};

/* Required text that is read before there is an object to keep it in. */
static bool root_text(const struct sl_cursor *root, const char *key, struct sl_str *ret)
{
	struct sl_cursor at = sl_cursor_member(root, key);

	if (!at.node) {
		sl_cursor_error(&at, "required, but missing");
		return false;
	}
	if (!json_is_string(at.node)) {
		sl_cursor_error(&at, "expected string");
		return false;
	}
	*ret = (struct sl_str){json_string_value(at.node), json_string_length(at.node)};
	if (ret->len == 0)
		sl_cursor_error(&at, "must not be empty");
	return ret->len > 0;
}

static bool read_type(const struct sl_cursor *root, struct type_meta *ret)
{
	bool has_version = root_text(root, "apiVersion", &ret->api_version);
	const char *slash;

	if (!root_text(root, "kind", &ret->kind) || !has_version)
		return false;
	ret->group = SL_STR("");
	ret->version = ret->api_version;
	slash = memchr(ret->version.ptr, '/', ret->version.len);
	if (slash) {
		ret->group = (struct sl_str){ret->version.ptr, (size_t)(slash - ret->version.ptr)};
		ret->version = sl_str_skip(ret->version, ret->group.len + 1);
	}
	return true;
}

static struct sl_str text_of(json_t *node)
{
	return json_is_string(node)
		       ? (struct sl_str){json_string_value(node), json_string_length(node)}
		       : SL_STR_NULL;
}

static bool is_cluster_scoped(struct sl_str kind)
{
	return sl_str_eqc(kind, "Namespace") || sl_str_eqc(kind, "Node") ||
	       sl_str_eqc(kind, "GatewayClass") || sl_str_eqc(kind, "XMesh");
}

/* "HTTPRoute shop/cart", or as much of it as can be read, for messages. */
static void make_label(struct sl_decoder *dec, json_t *root)
{
	json_t *meta = json_object_get(root, "metadata");
	struct sl_str kind = text_of(json_object_get(root, "kind"));
	struct sl_str namespace = text_of(json_object_get(meta, "namespace"));
	struct sl_str name = text_of(json_object_get(meta, "name"));
	char text[320];
	size_t n;

	/* Longer names than these are errors anyway. */
	n = (size_t)snprintf(text, sizeof(text), "%.*s%s", (int)(kind.len < 63 ? kind.len : 63),
			     kind.len ? kind.ptr : "", kind.len && name.len ? " " : "");
	if (name.len && namespace.len)
		n += (size_t)snprintf(text + n, sizeof(text) - n, "%.*s/",
				      (int)(namespace.len < 63 ? namespace.len : 63),
				      namespace.ptr);
	else if (name.len && !is_cluster_scoped(kind))
		n += (size_t)snprintf(text + n, sizeof(text) - n, "default/");
	if (name.len)
		n += (size_t)snprintf(text + n, sizeof(text) - n, "%.*s",
				      (int)(name.len < 128 ? name.len : 128), name.ptr);
	for (size_t i = 0; i < n; i++) {
		if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
			text[i] = '?';
	}
	if (sl_arena_str(&dec->diags->arena, (struct sl_str){text, n}, &dec->label))
		dec->oom = true;
}

/* NULL when the kind is not ours; *ret_version says whether it is and only the version is not. */
static const struct kind_form *find_form(const struct type_meta *type, bool *ret_version)
{
	*ret_version = false;
	for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
		const struct kind_form *f = &forms[i];

		if (!sl_str_eqc(type->group, f->group) ||
		    !sl_str_eqc(type->kind, sl_kind_name(f->kind)))
			continue;
		for (size_t v = 0; f->api_versions[v]; v++) {
			if (sl_str_eqc(type->api_version, f->api_versions[v]))
				return f;
		}
		*ret_version = true;
	}
	return NULL;
}

/* A Gateway API kind that does nothing here is worth a word, a Deployment is not. */
static void warn_ignored(const struct sl_cursor *root, const struct type_meta *type, bool version)
{
	struct sl_cursor at = sl_cursor_member(root, version ? "apiVersion" : "kind");
	char quoted[SL_QUOTE_TEXT];

	if (version)
		sl_cursor_warn(&at,
			       "version %s of kind %.*s is not supported by this version, ignored",
			       sl_quote(type->version, quoted), SL_STR_ARG(type->kind));
	else if (sl_str_eqc(type->group, GATEWAY_GROUP) ||
		 sl_str_eqc(type->group, SL_GATEWAY_X_GROUP) ||
		 sl_str_eqc(type->group, POLICY_GROUP))
		sl_cursor_warn(&at, "kind %.*s is not supported by this version, ignored",
			       (int)(type->kind.len < 63 ? type->kind.len : 63), type->kind.ptr);
}

static int make_key(struct sl_decoder *dec, struct sl_str *ret)
{
	const struct sl_meta *meta = &dec->object->meta;

	return sl_arena_printf(&dec->diags->arena, ret, "%s/%.*s/%.*s",
			       sl_kind_name(dec->object->kind), SL_STR_ARG(meta->namespace),
			       SL_STR_ARG(meta->name));
}

static const char *const root_fields[] = {"apiVersion", "kind", "metadata", "spec", "status", NULL};
static const char *const slice_fields[] = {"apiVersion", "kind",  "metadata", "addressType",
					   "endpoints",	 "ports", NULL};

static const char *const *fields_of(enum sl_kind kind)
{
	switch (kind) {
	case SL_KIND_ENDPOINTSLICE:
		return slice_fields;
	case SL_KIND_CONFIGMAP:
		return sl_config_map_fields;
	case SL_KIND_SECRET:
		return sl_secret_fields;
	default:
		return root_fields;
	}
}

int sl_decode_object(json_t *root, const struct sl_decode_opts *opts, struct sl_diags *diags,
		     struct sl_object **ret, struct sl_str *ret_key)
{
	_cleanup_(sl_object_unrefp) struct sl_object *object = NULL;
	struct sl_decoder dec = {.opts = opts, .diags = diags};
	struct sl_cursor at = {.dec = &dec, .node = root};
	struct sl_str key = SL_STR("");
	const struct kind_form *form;
	struct type_meta type = {0};
	bool version;
	int r;

	*ret_key = SL_STR("");
	make_label(&dec, root);
	if (dec.oom)
		return -ENOMEM;
	if (!json_is_object(root)) {
		sl_cursor_error(&at, "expected an object with apiVersion, kind and metadata");
		return SL_DECODE_INVALID;
	}
	if (!read_type(&at, &type))
		return SL_DECODE_INVALID;
	form = find_form(&type, &version);
	if (!form) {
		warn_ignored(&at, &type, version);
		return SL_DECODE_IGNORED;
	}
	r = sl_object_new(form->kind, &object);
	if (r)
		return r;
	dec.object = object;
	(void)sl_cursor_is_object(&at, fields_of(form->kind));
	if (sl_decode_meta(&at, form->name_type, form->cluster_scoped) && make_key(&dec, &key))
		return -ENOMEM;
	form->decode(&at);
	if (dec.oom)
		return -ENOMEM;
	*ret_key = key;
	if (dec.invalid)
		return SL_DECODE_INVALID;
	*ret = sl_take(object);
	return 0;
}

void sl_decode_namespace(const struct sl_cursor *root)
{
	(void)root; /* a Namespace is its metadata */
}

void sl_decode_node(const struct sl_cursor *root)
{
	(void)root; /* of a Node the labels count */
}
