/* SPDX-License-Identifier: Apache-2.0 */
#include "resource/object.h"

#include <assert.h>
#include <errno.h>
#include "base/alloc.h"

static const struct {
	const char *name;
	size_t size;
} kinds[SL_N_KINDS] = {
	[SL_KIND_NAMESPACE] = {"Namespace", sizeof(struct sl_namespace)},
	[SL_KIND_SERVICE] = {"Service", sizeof(struct sl_service)},
	[SL_KIND_ENDPOINTSLICE] = {"EndpointSlice", sizeof(struct sl_endpointslice)},
	[SL_KIND_POD] = {"Pod", sizeof(struct sl_pod)},
	[SL_KIND_HTTPROUTE] = {"HTTPRoute", sizeof(struct sl_route_object)},
	[SL_KIND_GRPCROUTE] = {"GRPCRoute", sizeof(struct sl_route_object)},
	[SL_KIND_TLSROUTE] = {"TLSRoute", sizeof(struct sl_route_object)},
	[SL_KIND_TCPROUTE] = {"TCPRoute", sizeof(struct sl_route_object)},
};

const char *sl_kind_name(enum sl_kind kind)
{
	assert(kind < SL_N_KINDS);
	return kinds[kind].name;
}

bool sl_kind_is_route(enum sl_kind kind)
{
	return kind == SL_KIND_HTTPROUTE || kind == SL_KIND_GRPCROUTE || kind == SL_KIND_TLSROUTE ||
	       kind == SL_KIND_TCPROUTE;
}

int sl_object_new(enum sl_kind kind, struct sl_object **ret)
{
	struct sl_object *o;

	assert(kind < SL_N_KINDS);
	o = sl_calloc(1, kinds[kind].size);
	if (!o)
		return -ENOMEM;
	o->kind = kind;
	o->refs = 1;
	o->meta.created_at = INT64_MAX;
	*ret = o;
	return 0;
}

struct sl_object *sl_object_ref(struct sl_object *o)
{
	assert(o->refs > 0);
	o->refs++;
	return o;
}

struct sl_object *sl_object_unref(struct sl_object *o)
{
	if (!o)
		return NULL;
	assert(o->refs > 0);
	if (--o->refs == 0) {
		sl_arena_deinit(&o->arena);
		free(o);
	}
	return NULL;
}

const char *sl_object_label(const struct sl_object *o, char out[SL_OBJECT_LABEL])
{
	bool cluster_scoped = o->meta.namespace.len == 0;

	(void)snprintf(out, SL_OBJECT_LABEL, "%s %.*s%s%.*s", sl_kind_name(o->kind),
		       SL_STR_ARG(o->meta.namespace), cluster_scoped ? "" : "/",
		       SL_STR_ARG(o->meta.name)); /* names are limited, see decode.c */
	return out;
}

struct sl_str sl_object_annotation(const struct sl_object *o, struct sl_str name)
{
	for (uint32_t i = 0; i < o->meta.n_annotations; i++) {
		if (sl_str_eq(o->meta.annotations[i].name, name))
			return o->meta.annotations[i].value;
	}
	return SL_STR_NULL;
}
