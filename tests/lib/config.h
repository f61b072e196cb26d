/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* A snapshot out of YAML text, by the same steps as the agent: reader, decoder, compiler. */
#include "snapshot/snapshot.h"

/* Objects with errors, and warnings, are said on stderr; an invalid object is a failure. Returns 0
 * or -errno. */
int config_compile(const char *yaml, uint64_t generation, struct sl_snapshot **ret);
