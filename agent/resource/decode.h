/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * JSON (jansson) to typed objects. Both sources come through here: YAML is turned into the same
 * JSON tree first. Decoding validates what the API server would (defaults, limits, patterns and the
 * CEL rules of gateway-api 1.7.0), because objects can be older than their CRDs and a folder has no
 * API server.
 */
#include <jansson.h>
#include "resource/diag.h"
#include "resource/object.h"

/* Line of a JSON node in its file, 0 when unknown; NULL fn for sources without files. */
typedef uint32_t (*sl_line_fn)(const void *arg, const json_t *node);

struct sl_decode_opts {
	struct sl_str file;
	sl_line_fn line_of;
	const void *line_arg;
};

enum {
	SL_DECODE_IGNORED = 1, /* a kind or group that is not ours: nothing said, or a warning when
				  it is a Gateway API kind that is not implemented */
	SL_DECODE_INVALID = 2, /* the object as a whole cannot be used: errors are in diags */
};

/*
 * Decode one object. Unknown fields are warnings; errors inside one rule mark that rule
 * (sl_route_rule.error, also reported as an error in diags); errors elsewhere make the object
 * invalid, all of them reported, not just the first. status, metadata.managedFields and the like
 * are accepted silently. *ret is a new reference. For SL_DECODE_INVALID *ret_key tells which object
 * it was ("kind/namespace/name", in the diags' arena) if that much was readable, else empty; also
 * set for 0. Returns 0, SL_DECODE_*, -ENOMEM.
 */
int sl_decode_object(json_t *root, const struct sl_decode_opts *opts, struct sl_diags *diags,
		     struct sl_object **ret, struct sl_str *ret_key);

/* The versions of a kind that are decoded ("gateway.networking.k8s.io/v1"), the best first; ends
 * with NULL. Literals. */
const char *const *sl_kind_api_versions(enum sl_kind kind);
