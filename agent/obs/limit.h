/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Limits that protect the agent: one name each for the command line, the metric and the answer. */
#include <stdint.h>

enum sl_limit {
	SL_LIMIT_NONE,
	SL_LIMIT_REQUEST_LINE_BYTES, /* 414 */
	SL_LIMIT_HEADER_BYTES,	     /* 431; of the endpoint's answer: 502 */
	SL_LIMIT_HEADER_COUNT,	     /* likewise */
	SL_LIMIT_TRAILER_BYTES,	     /* 431, or the message is cut */
	SL_LIMIT_HEADER_TIMEOUT,     /* 408 */
	SL_LIMIT_IDLE_TIMEOUT,	     /* closed */
	SL_LIMIT_CONNECT_TIMEOUT,    /* the next endpoint, at last 503 */
	SL_LIMIT_CONNECTIONS,	     /* reset */
	SL_LIMIT_BUFFERED_BYTES,     /* 503; new connections are reset */
	SL_LIMIT_DESCRIPTORS,	     /* reset, or 503; the system's */
	SL_LIMIT_MEMORY,	     /* likewise */
	SL_LIMIT_MAX,
};

/* "header-bytes"; NULL for NONE. Static. Thread: any. */
const char *sl_limit_name(enum sl_limit limit);
