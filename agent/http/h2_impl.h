/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Private to the HTTP/2 codec. */
#include <nghttp2/nghttp2.h>
#include "http/h2.h"

struct sl_h2 {
	nghttp2_session *session;
	enum sl_h2_role role;
	const struct sl_h2_limits *limits;
	const struct sl_h2_events *events;
	void *arg;
	struct sl_list streams;
	size_t n_open;
	struct sl_buf *sink; /* of the sl_h2_send() under way */
	uint64_t buffered_bytes;
	uint64_t now_ns, period_ns; /* when the counting below began */
	uint32_t n_frames[SL_H2_FLOOD_MAX];
	uint32_t n_ended_well, n_data_sent;
	enum sl_h2_flood abuse;
	uint64_t n_refused;
	uint32_t n_pings_out;
	uint32_t n_continuations;
	uint32_t frame_left; /* of the frame scanner: see h2_flood.c */
	uint8_t frame_head[9];
	uint8_t n_frame_head;
	uint8_t magic_left;    /* server: bytes of the preface still to come */
	bool in_section;       /* HEADERS without END_HEADERS: CONTINUATION follows */
	struct sl_list memory; /* all of nghttp2's */
	bool settled, goaway_in, over;
	bool out_of_memory; /* an allocation of nghttp2's failed */
	bool no_memory;	    /* so the session is left alone, and its streams are closed */
};

/* Pseudo-header fields, RFC 9113 section 8.3 and RFC 8441. */
enum sl_h2_pseudo {
	SL_H2_METHOD,
	SL_H2_SCHEME,
	SL_H2_AUTHORITY,
	SL_H2_PATH,
	SL_H2_PROTOCOL,
	SL_H2_STATUS,
};
_Static_assert(SL_H2_STATUS + 1 ==
		       sizeof(((struct sl_h2_stream *)0)->pseudo) / sizeof(struct sl_str),
	       "room for each pseudo-header field");

/* h2_flood.c: look at the bytes before nghttp2 does. Returns how many of them may be taken: less
 * than n when h2->abuse was set. */
size_t sl_h2_flood_look(struct sl_h2 *h2, const char *p, size_t n);
/* Count one of a kind. Returns false when it is one too many. */
bool sl_h2_flood_count(struct sl_h2 *h2, enum sl_h2_flood kind);

/* h2_memory.c */
nghttp2_mem sl_h2_memory(struct sl_h2 *h2);
void sl_h2_memory_free(struct sl_h2 *h2);

/* h2_events.c */
int sl_h2_callbacks_new(nghttp2_session_callbacks **ret);
void sl_h2_stream_attach(struct sl_h2 *h2, struct sl_h2_stream *st, int32_t id);
/* The session is through with it. */
void sl_h2_stream_close(struct sl_h2_stream *st, uint32_t code);

/* h2_head.c: a section is whole. Return 0, -ENOMEM, or SL_H1_BAD with st->fault. */
int sl_h2_head_add(struct sl_h2_stream *st, struct sl_str name, struct sl_str value);
int sl_h2_head_request(struct sl_h2_stream *st, bool ends);
int sl_h2_head_response(struct sl_h2_stream *st, bool ends);

/* h2_submit.c: where bodies are pulled from. */
ssize_t sl_h2_source_read(nghttp2_session *session, int32_t id, uint8_t *buf, size_t len,
			  uint32_t *flags, nghttp2_data_source *source, void *arg);
int sl_h2_source_send(nghttp2_session *session, nghttp2_frame *frame, const uint8_t *head,
		      size_t len, nghttp2_data_source *source, void *arg);
