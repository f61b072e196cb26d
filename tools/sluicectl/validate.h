/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* A folder of YAML files read and compiled as the agent does it, without an agent. */
#include <jansson.h>

/* {"folder", "files", "documents", "errors": [PROBLEM], "warnings": [PROBLEM], "routes": [ROUTE]}:
 * see sluice/admin.h; routes without rules and requests, conditions without times. Returns 0 with a
 * new reference, -ENOENT or -ENOTDIR (no such folder), -errno. */
int sl_validate_folder(const char *folder, json_t **ret);
