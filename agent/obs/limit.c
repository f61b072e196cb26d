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
		[SL_LIMIT_PING_INTERVAL] = "ping-interval",
		[SL_LIMIT_H2_STREAMS] = "h2-streams",
		[SL_LIMIT_H2_WINDOW_BYTES] = "h2-window-bytes",
		[SL_LIMIT_H2_CONTINUATIONS] = "h2-continuations",
		[SL_LIMIT_H2_RESETS] = "h2-resets",
		[SL_LIMIT_H2_SETTINGS] = "h2-settings",
		[SL_LIMIT_H2_PINGS] = "h2-pings",
		[SL_LIMIT_H2_EMPTY_FRAMES] = "h2-empty-frames",
		[SL_LIMIT_H2_WINDOW_UPDATES] = "h2-window-updates",
		[SL_LIMIT_H2_PRIORITIES] = "h2-priorities",
		[SL_LIMIT_CONNECTIONS] = "connections",
		[SL_LIMIT_BUFFERED_BYTES] = "buffered-bytes",
		[SL_LIMIT_SOCKET_RECEIVE_BYTES] = "socket-receive-bytes",
		[SL_LIMIT_SOCKET_UNSENT_BYTES] = "socket-unsent-bytes",
		[SL_LIMIT_MIRRORS] = "mirrors",
		[SL_LIMIT_AUTH_BODY_BYTES] = "auth-body-bytes",
		[SL_LIMIT_AUTH_TIMEOUT] = "auth-timeout",
		[SL_LIMIT_MIRROR_BODY_BYTES] = "mirror-body-bytes",
		[SL_LIMIT_POD_CONNECTIONS] = "pod-connections",
		[SL_LIMIT_POD_BUFFERED_BYTES] = "pod-buffered-bytes",
		[SL_LIMIT_SPLICE_BYTES] = "splice-bytes",
		[SL_LIMIT_SPLICE_TOTAL_BYTES] = "splice-total-bytes",
		[SL_LIMIT_SPLICE_AFTER] = "splice-after",
		[SL_LIMIT_DESCRIPTORS] = "descriptors",
		[SL_LIMIT_MEMORY] = "memory",
	};

	return limit < SL_LIMIT_MAX ? names[limit] : NULL;
}
