/* SPDX-License-Identifier: Apache-2.0 */
/* Filters of type RequestMirror. */
#include "resource/kinds.h"

static const char *const mirror_fields[] = {"backendRef", "percent", "fraction", NULL};

void sl_decode_mirror(const struct sl_cursor *filter, struct sl_mirror_spec *ret)
{
	struct sl_cursor at;

	ret->of = (struct sl_fraction){100, 100};
	if (!sl_read_object(filter, "requestMirror", mirror_fields, &at))
		return;
	sl_decode_target(&at, &ret->backend);
	sl_decode_fraction(&at, &ret->of);
}
