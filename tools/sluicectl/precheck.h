/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Whether a cluster can have Sluice. */
#include "args.h"

/* {"checks": [...]} as the agent's command check has it (sluice/admin.h). Returns 0, or not: then
 * that was said on standard error. */
int sl_precheck(const struct sl_ctl_args *args, json_t **ret);

/* Its parts: what kubectl printed, to checks. Return 0 or -ENOMEM. */
int sl_precheck_version(const json_t *version, json_t *checks);
int sl_precheck_crds(const json_t *crds, json_t *checks);
int sl_precheck_rights(const json_t *reviewed, json_t *checks);
/* cgroup: which version; 0: not known. */
int sl_precheck_node(const json_t *node, int cgroup, json_t *checks);
