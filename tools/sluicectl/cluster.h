/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The agents of a cluster: found by kubectl, asked by running sluicectl in their Pods. */
#include "args.h"
#include "kubectl.h"

#define SL_CLUSTER_NAMESPACE "sluice-system" /* default */
#define SL_CLUSTER_LABEL     "app.kubernetes.io/name=sluice"

struct sl_kubectl sl_cluster_kubectl(const struct sl_ctl_args *args);
const char *sl_cluster_namespace(const struct sl_ctl_args *args);

/* [{"node", "pod", "ready": true}] sorted by node, one for each node that has an agent: of two (an
 * upgrade) one that is ready. Returns 0, or not: then that was said. */
int sl_cluster_agents(const struct sl_ctl_args *args, json_t **ret);
/* Ask one of them, as args->node, args->from or the command say. As sl_ctl_ask(). */
int sl_cluster_ask(const struct sl_ctl_args *args, const json_t *question, json_t **ret);
/* {"nodes": [{"node", "pod", "answer" or "error"}]}, of all. As sl_ctl_ask(). */
int sl_cluster_ask_all(const struct sl_ctl_args *args, const char *command, json_t **ret);

/* Of agents' Pods, as kubectl gets them: the array of sl_cluster_agents(). NULL: out of memory. */
json_t *sl_cluster_agents_of(const json_t *pods);
