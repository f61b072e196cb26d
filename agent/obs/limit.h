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
	SL_LIMIT_PING_INTERVAL,	     /* HTTP/2: no answer to a PING: reset */
	SL_LIMIT_H2_STREAMS,	     /* REFUSED_STREAM */
	SL_LIMIT_H2_WINDOW_BYTES,    /* the sender waits */
	/* From here to the last of HTTP/2: GOAWAY with ENHANCE_YOUR_CALM. */
	SL_LIMIT_H2_CONTINUATIONS,
	SL_LIMIT_H2_RESETS,
	SL_LIMIT_H2_SETTINGS,
	SL_LIMIT_H2_PINGS,
	SL_LIMIT_H2_EMPTY_FRAMES,
	SL_LIMIT_H2_WINDOW_UPDATES,
	SL_LIMIT_H2_PRIORITIES,
	SL_LIMIT_CONNECTIONS,	       /* reset */
	SL_LIMIT_BUFFERED_BYTES,       /* 503; new connections are reset */
	SL_LIMIT_SOCKET_RECEIVE_BYTES, /* the sender waits; not counted */
	SL_LIMIT_SOCKET_UNSENT_BYTES,  /* the agent waits; likewise */
	SL_LIMIT_MIRRORS,	       /* no mirror */
	SL_LIMIT_AUTH_BODY_BYTES,      /* 413 */
	SL_LIMIT_AUTH_TIMEOUT,	       /* 403 */
	SL_LIMIT_MIRROR_BODY_BYTES,    /* the mirror is given up */
	SL_LIMIT_POD_CONNECTIONS,      /* reset: of one pod, so that others have some */
	SL_LIMIT_POD_BUFFERED_BYTES,   /* 503; new connections are reset: likewise */
	SL_LIMIT_SPLICE_BYTES,	       /* that connection goes back to TCP */
	SL_LIMIT_SPLICE_TOTAL_BYTES,   /* likewise */
	SL_LIMIT_SPLICE_AFTER,	       /* not reached: a connection stays on TCP until then */
	SL_LIMIT_DESCRIPTORS,	       /* reset, or 503; the system's */
	SL_LIMIT_MEMORY,	       /* likewise */
	SL_LIMIT_MAX,
};

/* "header-bytes"; NULL for NONE. Static. Thread: any. */
const char *sl_limit_name(enum sl_limit limit);
