/* SPDX-License-Identifier: Apache-2.0 */
/* What is in the model that the nodes do not show yet. */
#include <errno.h>
#include "base/cleanup.h"
#include "compile/work.h"

static struct sl_map *nodes_of(struct sl_compiler *c, enum sl_kind kind)
{
	enum sl_route_kind route;

	if (route_kind_of(kind, &route))
		return &c->routes[route];
	switch (kind) {
	case SL_KIND_SERVICE:
		return &c->services;
	case SL_KIND_ENDPOINTSLICE:
		return &c->slices;
	case SL_KIND_POD:
		return &c->pods;
	case SL_KIND_TRAFFICPOLICY:
	case SL_KIND_BACKENDTRAFFICPOLICY:
	case SL_KIND_FAULTINJECTION:
		return &c->policies[policy_class(kind)].nodes;
	case SL_KIND_BACKENDTLSPOLICY:
		return &c->tls_policies;
	case SL_KIND_XBACKEND:
		return &c->xbackends;
	case SL_KIND_CONFIGMAP:
		return &c->config_maps;
	case SL_KIND_SECRET:
		return &c->secrets;
	default:
		return NULL; /* nothing depends on it */
	}
}

/* What stands for an XBackend is in no model. */
static const struct sl_object *service_object(const struct service_node *s)
{
	return s->xbackend ? NULL : (const struct sl_object *)s->service;
}

/* What its node was made of; NULL: nothing. Objects are embedded first. */
static const struct sl_object *known(enum sl_kind kind, const void *node)
{
	enum sl_route_kind route;

	if (!node)
		return NULL;
	if (route_kind_of(kind, &route))
		return (const struct sl_object *)((const struct route_node *)node)->route;
	switch (kind) {
	case SL_KIND_SERVICE:
		return service_object(node);
	case SL_KIND_ENDPOINTSLICE:
		return (const struct sl_object *)((const struct slice_node *)node)->slice;
	case SL_KIND_POD:
		return (const struct sl_object *)((const struct pod_node *)node)->pod;
	case SL_KIND_TRAFFICPOLICY:
	case SL_KIND_BACKENDTRAFFICPOLICY:
	case SL_KIND_FAULTINJECTION:
		return (const struct sl_object *)((const struct policy_node *)node)->policy;
	case SL_KIND_XBACKEND:
		return (const struct sl_object *)((const struct xbackend_node *)node)->backend;
	case SL_KIND_BACKENDTLSPOLICY:
		return (const struct sl_object *)((const struct tls_policy_node *)node)->policy;
	case SL_KIND_CONFIGMAP:
	case SL_KIND_SECRET:
		return node;
	default:
		return NULL;
	}
}

/* o: NULL when it is gone. */
static int object_set(struct sl_compiler *c, enum sl_kind kind, struct sl_str key,
		      struct sl_object *o)
{
	enum sl_route_kind route;

	if (route_kind_of(kind, &route))
		return route_set(c, route, key, (struct sl_route_object *)o);
	switch (kind) {
	case SL_KIND_SERVICE:
		return service_set(c, key, (struct sl_service *)o);
	case SL_KIND_ENDPOINTSLICE:
		return slice_set(c, key, (struct sl_endpointslice *)o);
	case SL_KIND_POD:
		return pod_set(c, key, (struct sl_pod *)o);
	case SL_KIND_TRAFFICPOLICY:
	case SL_KIND_BACKENDTRAFFICPOLICY:
	case SL_KIND_FAULTINJECTION:
		return policy_set(c, kind, key, (struct sl_policy_object *)o);
	case SL_KIND_XBACKEND:
		return xbackend_set(c, key, (struct sl_xbackend *)o);
	case SL_KIND_BACKENDTLSPOLICY:
		return tls_policy_set(c, key, (struct sl_backend_tls_policy *)o);
	case SL_KIND_CONFIGMAP:
	case SL_KIND_SECRET:
		return data_set(c, kind, key, (struct sl_data_object *)o);
	default:
		return 0;
	}
}

static int object_compare(struct sl_compiler *c, const struct sl_model *model, enum sl_kind kind,
			  struct sl_str key)
{
	struct sl_map *nodes = nodes_of(c, kind);
	struct sl_object *o = sl_model_get_key(model, kind, key);

	if (kind == SL_KIND_NODE)
		node_set(c, key, (struct sl_node *)o);
	if (!nodes || known(kind, sl_map_get(nodes, key)) == o)
		return 0;
	return object_set(c, kind, key, o);
}

/* ---- everything ---- */

static int drop_missing(struct sl_compiler *c, const struct sl_model *model, enum sl_kind kind)
{
	struct sl_map *nodes = nodes_of(c, kind);
	struct sl_str key;
	size_t pos = 0;
	void *node;

	while ((node = sl_map_next(nodes, &pos, &key))) {
		int r;

		if (!known(kind, node) || sl_model_get_key(model, kind, key))
			continue;
		r = object_set(c, kind, key, NULL);
		if (r)
			return r;
	}
	return 0;
}

/* There is one that counts. */
static void node_follow(struct sl_compiler *c, const struct sl_model *model)
{
	struct sl_object *o = sl_model_get(model, SL_KIND_NODE, SL_STR(""), c->opts.node);

	node_set(c, o ? o->key : c->node ? c->node->object.key : SL_STR_NULL, (struct sl_node *)o);
}

static int kind_compare(struct sl_compiler *c, const struct sl_model *model, enum sl_kind kind)
{
	const struct sl_map *objects = &model->by_kind[kind];
	struct sl_str key;
	size_t pos = 0;
	int r = 0;

	if (kind == SL_KIND_NODE)
		node_follow(c, model);
	if (!nodes_of(c, kind))
		return 0;
	r = drop_missing(c, model, kind);
	while (!r && sl_map_next(objects, &pos, &key))
		r = object_compare(c, model, kind, key);
	return r;
}

int changes_follow(struct sl_compiler *c, const struct sl_model *model)
{
	int r = 0;

	if (c->model_id == model->id && sl_model_knows(model, c->model_generation)) {
		for (uint64_t g = c->model_generation + 1; g <= model->generation && !r; g++) {
			const struct sl_model_change *change = sl_model_change(model, g);

			r = object_compare(c, model, change->kind, change->key);
		}
		return r;
	}
	for (int kind = 0; kind < SL_N_KINDS && !r; kind++)
		r = kind_compare(c, model, (enum sl_kind)kind);
	return r;
}
