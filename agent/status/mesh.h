/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The XMesh that stands for this mesh (gateway.networking.x-k8s.io/v1alpha1, GEP-3949): made when
 * it is missing, with nothing but its controllerName, and its status kept: Accepted, and the
 * features that are supported. Its spec is never changed, and one of another controller is not
 * touched. Where the CRD is not installed it is waited for. One agent of the cluster sees to it
 * (lease.h). Thread: control.
 */
#include <jansson.h>
#include <stdint.h>
#include "source/kube_client.h"

struct sl_mesh;

struct sl_mesh_opts {
	const char *name;      /* of the XMesh; text, a DNS subdomain */
	const char *namespace; /* of the agents: the status names it */
};

/* opts are copied. Nothing is asked before sl_mesh_lead(). Returns 0 or -ENOMEM. */
int sl_mesh_new(struct sl_loop *loop, struct sl_kube_client *client,
		const struct sl_mesh_opts *opts, struct sl_mesh **ret);
/* Whether to see to it: this agent is the one, and its configuration is in force. Not from a
 * callback of the API server's answers to this. */
void sl_mesh_lead(struct sl_mesh *m, bool leads);
/* Accepts NULL, returns NULL. */
struct sl_mesh *sl_mesh_free(struct sl_mesh *m);

/*
 * What the status of this XMesh is to be: its own conditions merged with those that are there.
 * Pure. Returns 0, SL_MERGE_SAME (merge.h), SL_MESH_FOREIGN (another controller's), or -ENOMEM.
 */
enum { SL_MESH_FOREIGN = 3 };
int sl_mesh_status(const json_t *mesh, const char *namespace, int64_t now_s, json_t **ret);
