/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Bringing Sluice into a cluster, and taking it out again without a trace on its nodes. */
#include <jansson.h>
#include "args.h"

#define SL_INSTALL_IMAGE "localhost/sluice:latest" /* default */

/* manifests/kubernetes/base, in order. */
extern const char sl_base_manifests[];

/* The built-in manifests with another image and another namespace. Returns 0 or -ENOMEM. */
int sl_install_manifests(const char *image, const char *namespace, struct sl_buf *out);
/*
 * The Pod that takes programs and maps off a node: made of the DaemonSet's, with its image, mounts
 * and options, to run sluiced --uninstall there once. index: tells the Pods apart. NULL: the
 * DaemonSet is not of a form that is understood, or no memory.
 */
json_t *sl_uninstall_pod(const json_t *daemonset, const char *node, size_t index);

int sl_ctl_install(const struct sl_ctl_args *args);
int sl_ctl_uninstall(const struct sl_ctl_args *args);
