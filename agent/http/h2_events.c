/* SPDX-License-Identifier: Apache-2.0 */
/* What nghttp2 tells while it takes bytes in or gives them out. */
#include <errno.h>
#include "http/h1_fields.h"
#include "http/h2_impl.h"

static struct sl_h2_stream *stream_of(nghttp2_session *session, int32_t id)
{
	return nghttp2_session_get_stream_user_data(session, id);
}

static void tell(struct sl_h2 *h2, struct sl_h2_stream *st)
{
	h2->events->news(h2->arg, st);
}

void sl_h2_stream_attach(struct sl_h2 *h2, struct sl_h2_stream *st, int32_t id)
{
	st->session = h2;
	st->id = id;
	st->heads_end = &st->heads;
	sl_list_append(&h2->streams, &st->node);
	h2->n_open++;
	(void)nghttp2_session_set_stream_user_data(h2->session, id, st); /* it exists */
}

void sl_h2_stream_close(struct sl_h2_stream *st, uint32_t code)
{
	struct sl_h2 *h2 = st->session;

	if (st->closed)
		return; /* a head that could not be sent is told of twice */
	st->closed = true;
	st->error = code;
	h2->n_open--;
	h2->buffered_bytes -= sl_buf_len(&st->out);
	sl_buf_deinit(&st->out);
	tell(h2, st);
}

/* The error that stands for "leave this stream alone from now on". */
static int give_up(struct sl_h2 *h2, int32_t id, uint32_t code)
{
	(void)nghttp2_submit_rst_stream(h2->session, NGHTTP2_FLAG_NONE, id, code);
	return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
	struct sl_h2 *h2 = arg;
	struct sl_h2_stream *st = stream_of(session, frame->hd.stream_id);

	if (frame->hd.type != NGHTTP2_HEADERS)
		return 0;
	if (frame->headers.cat == NGHTTP2_HCAT_REQUEST) {
		st = h2->events->open(h2->arg);
		if (!st)
			return give_up(h2, frame->hd.stream_id, NGHTTP2_REFUSED_STREAM);
		sl_h2_stream_attach(h2, st, frame->hd.stream_id);
	}
	if (!st)
		return 0;
	st->fields = (struct sl_headers){0};
	memset(st->pseudo, 0, sizeof(st->pseudo));
	st->section_bytes = st->section_headers = 0;
	st->too_much = false;
	return 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
		     size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags,
		     void *arg)
{
	struct sl_h2 *h2 = arg;
	struct sl_h2_stream *st = stream_of(session, frame->hd.stream_id);
	int r;

	if (!st)
		return 0;
	r = sl_h2_head_add(st, (struct sl_str){(const char *)name, name_len},
			   (struct sl_str){(const char *)value, value_len});
	if (r == -ENOMEM)
		return give_up(h2, frame->hd.stream_id, NGHTTP2_INTERNAL_ERROR);
	return h2->abuse ? give_up(h2, frame->hd.stream_id, NGHTTP2_ENHANCE_YOUR_CALM) : 0;
}

/* nghttp2 would leave the field out: what is left could mean something else. */
static int on_invalid_header(nghttp2_session *session, const nghttp2_frame *frame,
			     const uint8_t *name, size_t name_len, const uint8_t *value,
			     size_t value_len, uint8_t flags, void *arg)
{
	return give_up(arg, frame->hd.stream_id, NGHTTP2_PROTOCOL_ERROR);
}

static int take_trailers(struct sl_h2_stream *st)
{
	for (uint32_t i = 0; i < st->fields.n; i++) {
		const struct sl_header *h = &st->fields.items[i];

		if (!sl_h1_trailer_forbidden(h->name) &&
		    sl_headers_append(st->trailers, st->arena, h->name, h->value))
			return -ENOMEM;
	}
	return st->too_much ? SL_H1_BAD : 0;
}

static int on_section(struct sl_h2 *h2, struct sl_h2_stream *st, const nghttp2_frame *frame)
{
	bool ends = frame->hd.flags & NGHTTP2_FLAG_END_STREAM;
	int r;

	if (st->head_in)
		r = take_trailers(st);
	else if (h2->role == SL_H2_SERVER)
		r = sl_h2_head_request(st, ends);
	else
		r = sl_h2_head_response(st, ends);
	if (r == -ENOMEM)
		(void)give_up(h2, st->id, NGHTTP2_INTERNAL_ERROR);
	else if (r && !(h2->role == SL_H2_SERVER && st->fault.status))
		(void)give_up(h2, st->id, NGHTTP2_PROTOCOL_ERROR);
	return r;
}

/* Nothing but padding; those without a byte are counted in h2_flood.c. */
static void count_empty(struct sl_h2 *h2, const nghttp2_frame *frame)
{
	if (!frame->hd.length || frame->hd.length > frame->data.padlen ||
	    frame->hd.flags & NGHTTP2_FLAG_END_STREAM)
		return;
	(void)sl_h2_flood_count(h2, SL_H2_FLOOD_EMPTY_FRAMES); /* shows in h2->abuse */
}

static void on_frame_of_stream(struct sl_h2 *h2, const nghttp2_frame *frame)
{
	struct sl_h2_stream *st = stream_of(h2->session, frame->hd.stream_id);
	uint8_t type = frame->hd.type;
	bool ends = frame->hd.flags & NGHTTP2_FLAG_END_STREAM;

	if (!st)
		return;
	if (type == NGHTTP2_HEADERS && on_section(h2, st, frame))
		ends = false; /* what is at fault is not whole */
	if (type == NGHTTP2_RST_STREAM)
		st->reset_by_peer = true;
	if ((type == NGHTTP2_HEADERS || type == NGHTTP2_DATA) && ends)
		st->ended_in = true;
	if (type == NGHTTP2_HEADERS || ends)
		tell(h2, st);
}

static int on_frame_recv(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
	struct sl_h2 *h2 = arg;

	switch (frame->hd.type) {
	case NGHTTP2_DATA:
		count_empty(h2, frame);
		on_frame_of_stream(h2, frame);
		break;
	case NGHTTP2_HEADERS:
	case NGHTTP2_RST_STREAM:
		on_frame_of_stream(h2, frame);
		break;
	case NGHTTP2_SETTINGS:
		if (!(frame->hd.flags & NGHTTP2_FLAG_ACK))
			h2->settled = true;
		break;
	case NGHTTP2_PING:
		if (frame->hd.flags & NGHTTP2_FLAG_ACK && h2->n_pings_out)
			h2->n_pings_out--;
		break;
	case NGHTTP2_GOAWAY:
		h2->goaway_in = true;
		break;
	default:
		break;
	}
	return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *p,
		   size_t len, void *arg)
{
	struct sl_h2 *h2 = arg;
	struct sl_h2_stream *st = stream_of(session, id);

	if (!st)
		return nghttp2_session_consume(session, id, len) ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
	if (sl_buf_append(&st->in, p, len)) {
		(void)nghttp2_session_consume_connection(session, len);
		(void)nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, id,
						NGHTTP2_INTERNAL_ERROR);
		return 0;
	}
	st->n_body_in += len;
	h2->buffered_bytes += len;
	if (h2->events->tight(h2->arg))
		st->owed_bytes += len;
	else if (nghttp2_session_consume_connection(session, len))
		return NGHTTP2_ERR_CALLBACK_FAILURE;
	tell(h2, st);
	return 0;
}

/* Codes that say what the peer did wrong. */
static bool is_of_peer(uint32_t code)
{
	return code == NGHTTP2_PROTOCOL_ERROR || code == NGHTTP2_FLOW_CONTROL_ERROR ||
	       code == NGHTTP2_STREAM_CLOSED;
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t code, void *arg)
{
	struct sl_h2 *h2 = arg;
	struct sl_h2_stream *st = stream_of(session, id);

	if (!st || st->closed)
		return 0;
	/* Not what the client calls so: a reset can say NO_ERROR too. */
	if (st->ended_out && !st->reset_by_peer)
		h2->n_ended_well++;
	/* Who breaks the rules makes us reset what it could have reset itself (CVE-2025-8671). */
	if (h2->role == SL_H2_SERVER && !st->reset_by_peer && is_of_peer(code))
		(void)sl_h2_flood_count(h2, SL_H2_FLOOD_RESETS); /* shows in h2->abuse */
	sl_h2_stream_close(st, code);
	return 0;
}

/* Only the end is missing, which costs the peer an empty frame: many send it in a step of its own,
 * and some take a reset between the two for an error. */
static bool has_whole_body(const struct sl_h2_stream *st)
{
	return st->req->body == SL_BODY_LENGTH && st->n_body_in == st->req->content_length;
}

static int on_frame_send(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
	struct sl_h2 *h2 = arg;
	struct sl_h2_stream *st;

	if (frame->hd.type == NGHTTP2_DATA)
		h2->n_data_sent++;
	else if (frame->hd.type != NGHTTP2_HEADERS)
		return 0;
	st = stream_of(session, frame->hd.stream_id);
	if (!st)
		return 0;
	st->head_out = true;
	if (h2->role == SL_H2_CLIENT || !(frame->hd.flags & NGHTTP2_FLAG_END_STREAM))
		return 0;
	/* Answered before the request ended: nobody reads the rest (RFC 9113 section 8.1). */
	if (!st->tunnel && !has_whole_body(st) &&
	    !nghttp2_session_get_stream_remote_close(session, st->id))
		(void)nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, st->id,
						NGHTTP2_NO_ERROR);
	return 0;
}

static int on_invalid_frame(nghttp2_session *session, const nghttp2_frame *frame, int error,
			    void *arg)
{
	struct sl_h2 *h2 = arg;

	if (error == NGHTTP2_ERR_REFUSED_STREAM)
		h2->n_refused++;
	return 0;
}

/* A head that could not be sent: the stream is of no use. */
static int on_frame_not_send(nghttp2_session *session, const nghttp2_frame *frame, int error,
			     void *arg)
{
	struct sl_h2 *h2 = arg;

	if (frame->hd.type != NGHTTP2_HEADERS)
		return 0;
	sl_list_foreach_safe (n, &h2->streams) {
		struct sl_h2_stream *st = sl_container_of(n, struct sl_h2_stream, node);

		if (st->id != frame->hd.stream_id || st->closed)
			continue;
		if (frame->headers.cat == NGHTTP2_HCAT_REQUEST)
			sl_h2_stream_close(st, NGHTTP2_REFUSED_STREAM); /* it never left */
		else
			(void)nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, st->id,
							NGHTTP2_INTERNAL_ERROR);
	}
	return 0;
}

int sl_h2_callbacks_new(nghttp2_session_callbacks **ret)
{
	nghttp2_session_callbacks *cb;

	if (nghttp2_session_callbacks_new(&cb))
		return -ENOMEM;
	nghttp2_session_callbacks_set_on_begin_headers_callback(cb, on_begin_headers);
	nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
	nghttp2_session_callbacks_set_on_invalid_header_callback(cb, on_invalid_header);
	nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame_recv);
	nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(cb, on_invalid_frame);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data);
	nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_stream_close);
	nghttp2_session_callbacks_set_on_frame_send_callback(cb, on_frame_send);
	nghttp2_session_callbacks_set_on_frame_not_send_callback(cb, on_frame_not_send);
	nghttp2_session_callbacks_set_send_data_callback(cb, sl_h2_source_send);
	*ret = cb;
	return 0;
}
