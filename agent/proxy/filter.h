/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Gateway API filters on a request or response head, one kind per file, registered in filter.c.
 * Pure functions over the head; new text goes to the stream's arena. Thread: worker.
 */
#include "http/message.h"
#include "snapshot/filter.h"

struct sl_filter_env {
	struct sl_arena *arena;
	struct sl_str path;   /* normalised path that was matched */
	struct sl_str scheme; /* "http": how the request came */
	uint16_t port;	      /* the Service port that the client dialled */
	struct sl_str origin; /* of the request, as the CORS filter met it; ptr NULL: none */
	uint32_t next;	      /* filter of the list to go on with; 0 to begin */
};

enum {
	SL_FILTER_ANSWER = 1, /* *ret_response is complete, no backend is asked */
	/* filters[env->next - 1] calls somebody (mirror, auth): the caller sees to it, and calls
	 * again for those behind it. */
	SL_FILTER_CALL,
};

/* Run the request side of the filters in list order. Rewrites change req->path (query stays),
 * req->authority and the Host line; a header filter may set Host too, but not add to or remove it.
 * Path edits start from env->path, also behind another rewrite. Returns 0, SL_FILTER_CALL,
 * SL_FILTER_ANSWER with *ret_response (redirect, CORS preflight; the response side is still to be
 * run), or -ENOMEM. */
int sl_filters_request(const struct sl_filter *filters, uint32_t n, struct sl_filter_env *env,
		       struct sl_request *req, struct sl_response *ret_response);
/* Run the response side. Returns 0 or -ENOMEM. */
int sl_filters_response(const struct sl_filter *filters, uint32_t n,
			const struct sl_filter_env *env, struct sl_response *res);
