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
	[SL_KIND_NODE] = {"Node", sizeof(struct sl_node)},
	[SL_KIND_HTTPROUTE] = {"HTTPRoute", sizeof(struct sl_route_object)},
	[SL_KIND_GRPCROUTE] = {"GRPCRoute", sizeof(struct sl_route_object)},
	[SL_KIND_TLSROUTE] = {"TLSRoute", sizeof(struct sl_route_object)},
	[SL_KIND_TCPROUTE] = {"TCPRoute", sizeof(struct sl_route_object)},
	[SL_KIND_UDPROUTE] = {"UDPRoute", sizeof(struct sl_route_object)},
	[SL_KIND_BACKENDTLSPOLICY] = {"BackendTLSPolicy", sizeof(struct sl_backend_tls_policy)},
	[SL_KIND_CONFIGMAP] = {"ConfigMap", sizeof(struct sl_data_object)},
	[SL_KIND_SECRET] = {"Secret", sizeof(struct sl_data_object)},
	[SL_KIND_TRAFFICPOLICY] = {"TrafficPolicy", sizeof(struct sl_traffic_policy)},
	[SL_KIND_BACKENDTRAFFICPOLICY] = {"XBackendTrafficPolicy",
					  sizeof(struct sl_traffic_policy)},
	[SL_KIND_XBACKEND] = {"XBackend", sizeof(struct sl_xbackend)},
	[SL_KIND_FAULTINJECTION] = {"FaultInjection", sizeof(struct sl_fault_injection)},
};

const char *sl_kind_name(enum sl_kind kind)
{
	assert(kind < SL_N_KINDS);
	return kinds[kind].name;
}

bool sl_kind_is_route(enum sl_kind kind)
{
	return kind == SL_KIND_HTTPROUTE || kind == SL_KIND_GRPCROUTE || kind == SL_KIND_TLSROUTE ||
	       kind == SL_KIND_TCPROUTE || kind == SL_KIND_UDPROUTE;
}

bool sl_kind_is_named(enum sl_kind kind)
{
	return kind == SL_KIND_CONFIGMAP || kind == SL_KIND_SECRET;
}

bool sl_kind_is_policy(enum sl_kind kind)
{
	return kind == SL_KIND_TRAFFICPOLICY || kind == SL_KIND_BACKENDTRAFFICPOLICY ||
	       kind == SL_KIND_FAULTINJECTION;
}

bool sl_kind_has_status(enum sl_kind kind)
{
	return sl_kind_is_route(kind) || sl_kind_is_policy(kind) ||
	       kind == SL_KIND_BACKENDTLSPOLICY || kind == SL_KIND_XBACKEND;
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

/* Private keys are not to lie about in freed memory. */
static void wipe(struct sl_data_object *o)
{
	for (uint32_t i = 0; i < o->n_items; i++)
		explicit_bzero((char *)o->items[i].value.ptr, o->items[i].value.len);
}

struct sl_object *sl_object_unref(struct sl_object *o)
{
	if (!o)
		return NULL;
	assert(o->refs > 0);
	if (--o->refs == 0) {
		if (o->kind == SL_KIND_SECRET)
			wipe((struct sl_data_object *)o);
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

struct sl_str sl_data_get(const struct sl_data_object *o, struct sl_str key)
{
	for (uint32_t i = 0; i < o->n_items; i++) {
		if (sl_str_eq(o->items[i].key, key))
			return o->items[i].value;
	}
	return SL_STR_NULL;
}
