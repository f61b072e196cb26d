/* SPDX-License-Identifier: Apache-2.0 */
#include "obs/end_reason.h"

static const char *const names[] = {
	[SL_END_COMPLETE] = "complete",
	[SL_END_ANSWERED] = "answered",
	[SL_END_DENIED] = "denied",
	[SL_END_AUTH_FAILED] = "auth_failed",
	[SL_END_FAULT] = "fault",
	[SL_END_NO_ROUTE] = "no_route",
	[SL_END_NO_BACKEND] = "no_backend",
	[SL_END_NO_ENDPOINT] = "no_endpoint",
	[SL_END_RETRY_BUDGET] = "retry_budget",
	[SL_END_OVERFLOW] = "overflow",
	[SL_END_LIMIT] = "limit",
	[SL_END_INTERNAL] = "internal",
	[SL_END_CLIENT_INVALID] = "client_invalid",
	[SL_END_CLIENT_TIMEOUT] = "client_timeout",
	[SL_END_CLIENT_CLOSED] = "client_closed",
	[SL_END_CONNECT_FAILED] = "connect_failed",
	[SL_END_UPSTREAM_TLS] = "upstream_tls",
	[SL_END_UPSTREAM_CLOSED] = "upstream_closed",
	[SL_END_UPSTREAM_INVALID] = "upstream_invalid",
	[SL_END_UPSTREAM_TIMEOUT] = "upstream_timeout",
	[SL_END_REQUEST_TIMEOUT] = "request_timeout",
	[SL_END_IDLE] = "idle",
	[SL_END_SOURCE_GONE] = "source_gone",
	[SL_END_SHUTDOWN] = "shutdown",
	[SL_END_SPLICE] = "splice",
};
_Static_assert(sizeof(names) / sizeof(*names) == SL_END_MAX, "every reason has a name");

const char *sl_end_reason_name(enum sl_end_reason reason)
{
	return (unsigned)reason < SL_END_MAX ? names[reason] : "";
}
