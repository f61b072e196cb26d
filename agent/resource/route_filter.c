/* SPDX-License-Identifier: Apache-2.0 */
/* filters of a route's rules and backendRefs. */
#include "resource/kinds.h"

enum { MAX_FILTERS = 16, MAX_HEADERS = 16 };

static const char *const filter_fields[] = {
	"type",
	"requestHeaderModifier",
	"responseHeaderModifier",
	"requestMirror",
	"requestRedirect",
	"urlRewrite",
	"cors",
	"externalAuth",
	"extensionRef",
	NULL,
};

/* The types of the API, each with the member that it needs and no other type may have. */
static const struct {
	const char *name, *member;
	enum sl_filter_type type;
	bool grpc; /* a GRPCRoute can have it too */
} filter_types[] = {
	{"RequestHeaderModifier", "requestHeaderModifier", SL_FILTER_REQUEST_HEADERS, true},
	{"ResponseHeaderModifier", "responseHeaderModifier", SL_FILTER_RESPONSE_HEADERS, true},
	{"RequestRedirect", "requestRedirect", SL_FILTER_REDIRECT, false},
	{"URLRewrite", "urlRewrite", SL_FILTER_REWRITE, false},
	{"RequestMirror", "requestMirror", SL_FILTER_MIRROR, true},
	{"CORS", "cors", SL_FILTER_CORS, false},
	{"ExternalAuth", "externalAuth", SL_FILTER_AUTH, false},
	{"ExtensionRef", "extensionRef", SL_FILTER_UNSUPPORTED, true},
};
enum { N_FILTER_TYPES = sizeof(filter_types) / sizeof(filter_types[0]) };

/* ---- header modifiers ---- */

static const char *const modifier_fields[] = {"set", "add", "remove", NULL};
static const char *const header_fields[] = {"name", "value", NULL};

/*
 * Headers that say where a message ends or how the connection goes on belong to the codec. A route
 * that could write them could make two requests out of one.
 */
static bool is_framing(struct sl_str name)
{
	static const char *const names[] = {
		"connection", "content-length",	   "keep-alive", "proxy-connection", "te",
		"trailer",    "transfer-encoding", "upgrade",	 "http2-settings"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (sl_str_ieq(name, sl_str_from(names[i])))
			return true;
	}
	return false;
}

static bool names_header(const struct sl_header_modifier *m, struct sl_str name)
{
	for (uint32_t i = 0; i < m->n_set; i++) {
		if (sl_str_ieq(m->set[i].name, name))
			return true;
	}
	for (uint32_t i = 0; i < m->n_add; i++) {
		if (sl_str_ieq(m->add[i].name, name))
			return true;
	}
	for (uint32_t i = 0; i < m->n_remove; i++) {
		if (sl_str_ieq(m->remove[i], name))
			return true;
	}
	return false;
}

/* Before name joins the modifier. */
static void check_name(const struct sl_cursor *at, const struct sl_header_modifier *m,
		       struct sl_str name)
{
	if (name.len == 0)
		return; /* reported already */
	if (is_framing(name))
		sl_cursor_error(at,
				"header \"%.*s\" belongs to the connection and cannot be modified",
				SL_STR_ARG(name));
	if (names_header(m, name))
		sl_cursor_error(at, "a filter can have only one action for header \"%.*s\"",
				SL_STR_ARG(name));
}

/* set or add; counts up *n entry by entry, so that each is checked against those before it. */
static void decode_values(const struct sl_cursor *at, const char *key, struct sl_header_modifier *m,
			  struct sl_header_value **list, uint32_t *n)
{
	struct sl_cursor array;
	size_t n_items;

	if (!sl_read_array(at, key, MAX_HEADERS, &array, &n_items))
		return;
	*list = sl_decoder_new_n(at->dec, struct sl_header_value, n_items);
	if (!*list)
		return;
	for (size_t i = 0; i < n_items; i++) {
		struct sl_cursor item = sl_cursor_item(&array, i);
		struct sl_header_value v = {SL_STR(""), SL_STR("")};

		if (!sl_cursor_is_object(&item, header_fields))
			continue;
		(void)sl_require_str(&item, "name", &sl_text_token, &v.name);
		(void)sl_require_str(&item, "value", &sl_text_header_value, &v.value);
		v.value = sl_str_trim(
			v.value); /* it could not be told from the padding on the wire */
		check_name(&item, m, v.name);
		(*list)[(*n)++] = v;
	}
}

static void decode_headers(const struct sl_cursor *filter, const char *key,
			   struct sl_header_modifier *m)
{
	struct sl_cursor at, array;
	size_t n;

	if (!sl_read_object(filter, key, modifier_fields, &at))
		return;
	decode_values(&at, "set", m, &m->set, &m->n_set);
	decode_values(&at, "add", m, &m->add, &m->n_add);
	if (!sl_read_array(&at, "remove", MAX_HEADERS, &array, &n))
		return;
	m->remove = sl_decoder_new_n(at.dec, struct sl_str, n);
	if (!m->remove)
		return;
	for (size_t i = 0; i < n; i++) {
		struct sl_cursor item = sl_cursor_item(&array, i);
		struct sl_str name = SL_STR("");

		if (sl_cursor_str(&item, &sl_text_token, &name))
			check_name(&item, m, name);
		m->remove[m->n_remove++] = name;
	}
}

/* ---- redirect and rewrite ---- */

static const char *const redirect_fields[] = {"scheme", "hostname",   "path",
					      "port",	"statusCode", NULL};
static const char *const rewrite_fields[] = {"hostname", "path", NULL};
static const char *const path_fields[] = {"type", "replaceFullPath", "replacePrefixMatch", NULL};
static const char *const path_types[] = {"ReplaceFullPath", "ReplacePrefixMatch", NULL};
static const char *const schemes[] = {"http", "https", NULL};

static void decode_path(const struct sl_cursor *owner, struct sl_path_modifier *path)
{
	static const char *const members[] = {"replaceFullPath", "replacePrefixMatch"};
	struct sl_cursor at, type_at;
	int type;

	if (!sl_read_object(owner, "path", path_fields, &at))
		return;
	type_at = sl_cursor_member(&at, "type");
	if (!type_at.node)
		sl_cursor_error(&type_at, "required, but missing");
	if (!sl_read_enum(&at, "type", path_types, &type))
		return;
	path->type = type == 0 ? SL_PATH_REPLACE_FULL : SL_PATH_REPLACE_PREFIX;
	(void)sl_require_str(&at, members[type],
			     type == 0 ? &sl_text_path_full : &sl_text_path_prefix, &path->value);
	if (sl_cursor_has(&at, members[!type])) {
		struct sl_cursor other = sl_cursor_member(&at, members[!type]);

		sl_cursor_error(&other, "must not be set when type is %s", path_types[type]);
	}
}

static void decode_redirect(const struct sl_cursor *filter, struct sl_filter_spec *f)
{
	static const uint16_t codes[] = {301, 302, 303, 307, 308};
	struct sl_cursor at;
	int scheme;
	int64_t code;

	f->redirect.status_code = 302;
	if (!sl_read_object(filter, "requestRedirect", redirect_fields, &at))
		return;
	if (sl_read_enum(&at, "scheme", schemes, &scheme))
		f->redirect.scheme = sl_str_from(schemes[scheme]);
	(void)sl_read_str(&at, "hostname", &sl_text_hostname, &f->redirect.hostname); /* optional */
	(void)sl_read_port(&at, "port", &f->redirect.port);			      /* optional */
	decode_path(&at, &f->redirect.path);
	if (sl_read_int(&at, "statusCode", INT32_MIN, INT32_MAX, &code)) {
		struct sl_cursor code_at = sl_cursor_member(&at, "statusCode");

		for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
			if (codes[i] == code) {
				f->redirect.status_code = codes[i];
				return;
			}
		}
		sl_cursor_error(&code_at, "must be one of 301, 302, 303, 307, 308, got %lld",
				(long long)code);
	}
}

static void decode_rewrite(const struct sl_cursor *filter, struct sl_filter_spec *f)
{
	struct sl_cursor at;

	if (!sl_read_object(filter, "urlRewrite", rewrite_fields, &at))
		return;
	(void)sl_read_str(&at, "hostname", &sl_text_hostname, &f->rewrite.hostname); /* optional */
	decode_path(&at, &f->rewrite.path);
}

/* ---- one filter ---- */

static void init_filter(struct sl_filter_spec *f)
{
	*f = (struct sl_filter_spec){
		.type = SL_FILTER_UNSUPPORTED,
		.type_name = SL_STR(""),
		.redirect = {.scheme = SL_STR(""),
			     .hostname = SL_STR(""),
			     .path = {.value = SL_STR("")}},
		.rewrite = {.hostname = SL_STR(""), .path = {.value = SL_STR("")}},
	};
}

/* Index into filter_types; N_FILTER_TYPES when the type cannot be read or is unknown. */
static size_t find_type(const struct sl_cursor *at, struct sl_filter_spec *f)
{
	struct sl_cursor type_at = sl_cursor_member(at, "type");
	char quoted[SL_QUOTE_TEXT];

	if (!sl_require_str(at, "type", &sl_text_any, &f->type_name))
		return N_FILTER_TYPES;
	for (size_t i = 0; i < N_FILTER_TYPES; i++) {
		if (!sl_str_eqc(f->type_name, filter_types[i].name))
			continue;
		if (filter_types[i].grpc || at->dec->object->kind != SL_KIND_GRPCROUTE)
			return i;
		sl_cursor_error(&type_at, "a GRPCRoute has no filters of type %s",
				filter_types[i].name);
		return N_FILTER_TYPES;
	}
	sl_cursor_error(&type_at, "filter type %s is not known", sl_quote(f->type_name, quoted));
	return N_FILTER_TYPES;
}

/* The type's own member must be there, and no other's. */
static void check_members(const struct sl_cursor *at, size_t type)
{
	for (size_t i = 0; i < N_FILTER_TYPES; i++) {
		struct sl_cursor member = sl_cursor_member(at, filter_types[i].member);

		if (i == type && !member.node)
			sl_cursor_error(&member, "required for type %s, but missing",
					filter_types[type].name);
		else if (i != type && member.node)
			sl_cursor_error(&member, "must not be set when type is %s",
					filter_types[type].name);
	}
}

static void decode_filter(const struct sl_cursor *at, struct sl_filter_spec *f)
{
	size_t type;

	init_filter(f);
	if (!sl_cursor_is_object(at, filter_fields))
		return;
	type = find_type(at, f);
	if (type == N_FILTER_TYPES)
		return;
	f->type = filter_types[type].type;
	if (f->type == SL_FILTER_UNSUPPORTED) {
		/* Leaving it out quietly could open what it was meant to guard. */
		struct sl_cursor type_at = sl_cursor_member(at, "type");

		sl_cursor_error(&type_at, "filter type %s is not supported by this version",
				filter_types[type].name);
	}
	check_members(at, type);
	switch (f->type) {
	case SL_FILTER_REQUEST_HEADERS:
	case SL_FILTER_RESPONSE_HEADERS:
		decode_headers(at, filter_types[type].member, &f->headers);
		break;
	case SL_FILTER_REDIRECT:
		decode_redirect(at, f);
		break;
	case SL_FILTER_REWRITE:
		decode_rewrite(at, f);
		break;
	case SL_FILTER_CORS:
		sl_decode_cors(at, &f->cors);
		break;
	case SL_FILTER_MIRROR:
		sl_decode_mirror(at, &f->mirror);
		break;
	case SL_FILTER_AUTH:
		sl_decode_auth(at, &f->auth);
		break;
	case SL_FILTER_UNSUPPORTED:
		break;
	}
}

/* Each type but a mirror once, and not a redirect together with a rewrite. */
static void check_combination(const struct sl_cursor *array, const struct sl_filter_spec *list,
			      size_t n)
{
	bool seen[SL_FILTER_UNSUPPORTED + 1] = {false};

	for (size_t i = 0; i < n; i++) {
		struct sl_cursor at = sl_cursor_item(array, i);
		enum sl_filter_type type = list[i].type;

		if (type == SL_FILTER_UNSUPPORTED || type == SL_FILTER_MIRROR)
			continue;
		if (seen[type])
			sl_cursor_incompatible(&at, "filter type %.*s cannot be repeated",
					       SL_STR_ARG(list[i].type_name));
		else if ((type == SL_FILTER_REDIRECT && seen[SL_FILTER_REWRITE]) ||
			 (type == SL_FILTER_REWRITE && seen[SL_FILTER_REDIRECT]))
			sl_cursor_incompatible(
				&at, "RequestRedirect and URLRewrite cannot be used together");
		seen[type] = true;
	}
}

void sl_decode_filters(const struct sl_cursor *at, struct sl_filter_spec **ret, uint32_t *ret_n)
{
	struct sl_filter_spec *list;
	struct sl_cursor array;
	size_t n;

	if (!sl_read_array(at, "filters", MAX_FILTERS, &array, &n))
		return;
	list = sl_decoder_new_n(at->dec, struct sl_filter_spec, n);
	if (!list)
		return;
	for (size_t i = 0; i < n; i++) {
		struct sl_cursor item = sl_cursor_item(&array, i);

		decode_filter(&item, &list[i]);
	}
	check_combination(&array, list, n);
	*ret = list;
	*ret_n = (uint32_t)n;
}
