/* SPDX-License-Identifier: Apache-2.0 */
#include "obs/limit.h"

#include <stddef.h>

const char *sl_limit_name(enum sl_limit limit)
{
	static const char *const names[SL_LIMIT_MAX] = {
		[SL_LIMIT_REQUEST_LINE_BYTES] = "request-line-bytes",
		[SL_LIMIT_HEADER_BYTES] = "header-bytes",
		[SL_LIMIT_HEADER_COUNT] = "header-count",
		[SL_LIMIT_TRAILER_BYTES] = "trailer-bytes",
		[SL_LIMIT_HEADER_TIMEOUT] = "header-timeout",
		[SL_LIMIT_IDLE_TIMEOUT] = "idle-timeout",
		[SL_LIMIT_CONNECT_TIMEOUT] = "connect-timeout",
		[SL_LIMIT_CONNECTIONS] = "connections",
		[SL_LIMIT_BUFFERED_BYTES] = "buffered-bytes",
		[SL_LIMIT_DESCRIPTORS] = "descriptors",
		[SL_LIMIT_MEMORY] = "memory",
	};

	return limit < SL_LIMIT_MAX ? names[limit] : NULL;
}
