/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Counts frames before nghttp2 sees them. Their headers are enough: nine bytes each, and where the
 * next one begins. What is malformed is left to nghttp2 to find.
 */
#include "http/h2_impl.h"

enum { HEAD_BYTES = 9, TYPE = 3, FLAGS = 4 };

const char *sl_h2_flood_name(enum sl_h2_flood flood)
{
	static const char *const names[SL_H2_FLOOD_MAX] = {
		[SL_H2_FLOOD_RESETS] = "resets",
		[SL_H2_FLOOD_SETTINGS] = "settings",
		[SL_H2_FLOOD_PINGS] = "pings",
		[SL_H2_FLOOD_EMPTY_FRAMES] = "empty frames",
		[SL_H2_FLOOD_WINDOW_UPDATES] = "window updates",
		[SL_H2_FLOOD_PRIORITIES] = "priorities",
		[SL_H2_FLOOD_CONTINUATIONS] = "continuations",
		[SL_H2_FLOOD_HEADER_BYTES] = "header bytes",
	};

	return flood < SL_H2_FLOOD_MAX ? names[flood] : NULL;
}

static uint64_t allowed(const struct sl_h2 *h2, enum sl_h2_flood kind)
{
	const struct sl_h2_limits *l = h2->limits;

	switch (kind) {
	case SL_H2_FLOOD_RESETS:
		return (uint64_t)l->resets + h2->n_ended_well;
	case SL_H2_FLOOD_SETTINGS:
		return l->settings;
	case SL_H2_FLOOD_PINGS:
		return (uint64_t)l->pings + h2->n_data_sent;
	case SL_H2_FLOOD_EMPTY_FRAMES:
		return (uint64_t)l->empty_frames + h2->n_ended_well;
	case SL_H2_FLOOD_WINDOW_UPDATES:
		return l->window_updates + 10ULL * h2->n_data_sent + 10ULL * h2->n_ended_well;
	case SL_H2_FLOOD_PRIORITIES:
		return l->priorities;
	default:
		return UINT64_MAX;
	}
}

bool sl_h2_flood_count(struct sl_h2 *h2, enum sl_h2_flood kind)
{
	if (h2->now_ns - h2->period_ns >= SL_H2_FLOOD_PERIOD_NS) {
		h2->period_ns = h2->now_ns;
		memset(h2->n_frames, 0, sizeof(h2->n_frames));
		h2->n_ended_well = h2->n_data_sent = 0;
	}
	if (++h2->n_frames[kind] <= allowed(h2, kind))
		return true;
	if (!h2->abuse)
		h2->abuse = kind;
	return false;
}

static bool count_continuation(struct sl_h2 *h2, bool last)
{
	if (++h2->n_continuations > h2->limits->continuations) {
		h2->abuse = SL_H2_FLOOD_CONTINUATIONS;
		return false;
	}
	h2->in_section = !last;
	return true;
}

/* A frame's header is whole. */
static bool look_at_frame(struct sl_h2 *h2)
{
	const uint8_t *h = h2->frame_head;
	bool last = h[FLAGS] & NGHTTP2_FLAG_END_HEADERS, ack = h[FLAGS] & NGHTTP2_FLAG_ACK;

	switch (h[TYPE]) {
	case NGHTTP2_HEADERS:
		h2->n_continuations = 0;
		h2->in_section = !last;
		return true;
	case NGHTTP2_CONTINUATION:
		return count_continuation(h2, last);
	case NGHTTP2_RST_STREAM:
		return h2->role == SL_H2_CLIENT || sl_h2_flood_count(h2, SL_H2_FLOOD_RESETS);
	case NGHTTP2_SETTINGS:
		return ack || sl_h2_flood_count(h2, SL_H2_FLOOD_SETTINGS);
	case NGHTTP2_PING:
		return ack || sl_h2_flood_count(h2, SL_H2_FLOOD_PINGS);
	case NGHTTP2_WINDOW_UPDATE:
		return sl_h2_flood_count(h2, SL_H2_FLOOD_WINDOW_UPDATES);
	case NGHTTP2_PRIORITY:
	case NGHTTP2_PRIORITY_UPDATE:
		return sl_h2_flood_count(h2, SL_H2_FLOOD_PRIORITIES);
	case NGHTTP2_DATA: /* also of streams that are closed, which nghttp2 says nothing of */
		return h2->frame_left || h[FLAGS] & NGHTTP2_FLAG_END_STREAM ||
		       sl_h2_flood_count(h2, SL_H2_FLOOD_EMPTY_FRAMES);
	case NGHTTP2_PUSH_PROMISE:
	case NGHTTP2_GOAWAY:
		return true;
	default: /* means nothing to either side, and is thrown away */
		return sl_h2_flood_count(h2, SL_H2_FLOOD_EMPTY_FRAMES);
	}
}

size_t sl_h2_flood_look(struct sl_h2 *h2, const char *p, size_t n)
{
	size_t at = h2->magic_left < n ? h2->magic_left : n;

	h2->magic_left -= (uint8_t)at;
	while (at < n) {
		size_t skip = h2->frame_left < n - at ? h2->frame_left : n - at;
		const uint8_t *h = h2->frame_head;

		at += skip;
		h2->frame_left -= (uint32_t)skip;
		if (h2->frame_left || at == n)
			break;
		h2->frame_head[h2->n_frame_head++] = (uint8_t)p[at++];
		if (h2->n_frame_head < HEAD_BYTES)
			continue;
		h2->n_frame_head = 0;
		h2->frame_left = (uint32_t)h[0] << 16 | (uint32_t)h[1] << 8 | h[2];
		if (!look_at_frame(h2))
			return at;
	}
	return at;
}

bool sl_h2_in_head(const struct sl_h2 *h2)
{
	uint8_t type = h2->frame_head[TYPE];

	if (h2->magic_left || h2->in_section)
		return true;
	return h2->frame_left && (type == NGHTTP2_HEADERS || type == NGHTTP2_CONTINUATION);
}

enum sl_h2_flood sl_h2_abuse(const struct sl_h2 *h2)
{
	return h2->abuse;
}
