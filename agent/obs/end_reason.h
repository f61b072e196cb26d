/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Why a stream or a tunnel ended: one enumeration for access log, metrics and tests. */

enum sl_end_reason {
	SL_END_COMPLETE,	 /* the whole answer delivered; a tunnel that both sides closed */
	SL_END_ANSWERED,	 /* answered by a filter: no backend was asked */
	SL_END_DENIED,		 /* an authorization refused it: its answer; 413 */
	SL_END_AUTH_FAILED,	 /* an authorization could not be had: 403 */
	SL_END_FAULT,		 /* aborted by a FaultInjection: the answer that it names */
	SL_END_NO_ROUTE,	 /* no rule matches: 404 */
	SL_END_NO_BACKEND,	 /* the rule's backend does not exist or may not be used: 500 */
	SL_END_NO_ENDPOINT,	 /* no endpoint of the backend is ready: 503 */
	SL_END_RETRY_BUDGET,	 /* no retry: the budget of the backend is spent: 503 */
	SL_END_OVERFLOW,	 /* a limit of the backend's TrafficPolicy was reached: 503 */
	SL_END_LIMIT,		 /* a limit of the agent was reached: 503 or closed */
	SL_END_INTERNAL,	 /* out of memory or descriptors */
	SL_END_CLIENT_INVALID,	 /* the request is malformed: 400 and its kind */
	SL_END_CLIENT_TIMEOUT,	 /* the client did not send its request in time: 408 */
	SL_END_CLIENT_CLOSED,	 /* the client went before it had the whole answer */
	SL_END_CONNECT_FAILED,	 /* no attempt reached an endpoint: 503 */
	SL_END_UPSTREAM_TLS,	 /* TLS to the backend failed, or its policy is not valid: 503 */
	SL_END_UPSTREAM_CLOSED,	 /* the endpoint closed before its answer was whole: 502 or cut */
	SL_END_UPSTREAM_INVALID, /* the answer is malformed: 502 or cut */
	SL_END_UPSTREAM_TIMEOUT, /* timeouts.backendRequest of the rule: 504 or cut */
	SL_END_REQUEST_TIMEOUT,	 /* timeouts.request of the rule: 504 or cut */
	SL_END_IDLE,		 /* a tunnel without traffic for too long */
	SL_END_SOURCE_GONE,	 /* the client's network namespace went */
	SL_END_SHUTDOWN,	 /* the agent stops */
	SL_END_SPLICE, /* a spliced application called splice(2): it would wait for ever */
	SL_END_MAX,
};

/* "complete", "no_route", ...; never NULL for a valid reason. Thread: any. */
const char *sl_end_reason_name(enum sl_end_reason reason);
