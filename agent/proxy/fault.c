/* SPDX-License-Identifier: Apache-2.0 */
/* Requests that are not understood. */
#include "proxy/state.h"

static enum sl_limit limit_of(enum sl_h1_over over)
{
	static const enum sl_limit limits[] = {
		[SL_H1_OVER_NONE] = SL_LIMIT_NONE,
		[SL_H1_OVER_START_LINE] = SL_LIMIT_REQUEST_LINE_BYTES,
		[SL_H1_OVER_HEAD] = SL_LIMIT_HEADER_BYTES,
		[SL_H1_OVER_COUNT] = SL_LIMIT_HEADER_COUNT,
		[SL_H1_OVER_TRAILER] = SL_LIMIT_TRAILER_BYTES,
	};

	return limits[over];
}

void sl_stream_fault(struct sl_stream *s, int r, const struct sl_h1_error *err)
{
	s->close_after = true;
	if (r != SL_H1_BAD) {
		sl_stream_limit(s, SL_LIMIT_MEMORY, 503, SL_END_INTERNAL);
		return;
	}
	s->why = err->reason;
	if (err->over)
		sl_stream_limit(s, limit_of(err->over), err->status, SL_END_CLIENT_INVALID);
	else
		sl_stream_reply(s, err->status, SL_END_CLIENT_INVALID);
}
