/* SPDX-License-Identifier: Apache-2.0 */
/* Messages out: heads as field lines, bodies from the streams' queues. */
#include <errno.h>
#include "base/alloc.h"
#include "base/cleanup.h"
#include "http/h1_fields.h"
#include "http/h2_impl.h"
#include "http/uri.h"

enum {
	SPARE_FIELDS = 8,	   /* pseudo-header fields and what the codec adds */
	STREAM_HIGH_BYTES = 65536, /* in a stream's queue; over: the owner stops reading */
};

/* Field lines on their way to nghttp2, which copies them and makes the names lower case. */
struct lines {
	nghttp2_nv *items;
	size_t n;
	bool unfit;
	char digits[20];
};

static void lines_deinit(struct lines *l)
{
	free(l->items);
}

static int lines_init(struct lines *l, const struct sl_headers *h)
{
	l->items = sl_new_n(nghttp2_nv, h->n + SPARE_FIELDS);
	return l->items ? 0 : -ENOMEM;
}

static void put(struct lines *l, struct sl_str name, struct sl_str value)
{
	l->items[l->n++] = (nghttp2_nv){.name = (uint8_t *)name.ptr,
					.namelen = name.len,
					.value = (uint8_t *)value.ptr,
					.valuelen = value.len};
	l->unfit |= !sl_chars_value(value);
}

static void put_u64(struct lines *l, struct sl_str name, uint64_t v)
{
	size_t n = sizeof(l->digits);

	do {
		l->digits[--n] = (char)('0' + v % 10);
		v /= 10;
	} while (v);
	put(l, name, (struct sl_str){l->digits + n, sizeof(l->digits) - n});
}

/* What belongs to one hop is written from the message's own members, as in HTTP/1. handshake: leave
 * out what only HTTP/1's WebSocket handshake has (RFC 8441 section 5). */
static void put_headers(struct lines *l, const struct sl_headers *h, bool handshake)
{
	for (uint32_t i = 0; i < h->n; i++) {
		struct sl_str name = h->items[i].name;
		enum sl_h1_field f = sl_h1_field_from(name);

		if (sl_h1_field_is_hop(f) || f == SL_H1_FIELD_HOST)
			continue;
		if (handshake && (sl_str_ieq(name, SL_STR("sec-websocket-key")) ||
				  sl_str_ieq(name, SL_STR("sec-websocket-accept"))))
			continue;
		l->unfit |= !name.len || !sl_chars_all(name, SL_CHAR_TOKEN);
		put(l, name, h->items[i].value);
	}
}

static int target_of(const struct sl_request *r, struct sl_arena *a, struct sl_str *ret)
{
	bool asterisk = sl_str_eq(r->path, SL_STR("*"));

	if (asterisk ? r->method != SL_METHOD_OPTIONS || r->query.ptr
		     : r->path.len && r->path.ptr[0] != '/')
		return -EINVAL;
	if (!sl_chars_all(r->path, SL_CHAR_TARGET) || !sl_chars_all(r->query, SL_CHAR_TARGET))
		return -EINVAL;
	if (r->path.len && memchr(r->path.ptr, '?', r->path.len))
		return -EINVAL;
	*ret = r->path.len ? r->path : SL_STR("/");
	if (!r->query.ptr)
		return 0;
	return sl_arena_printf(a, ret, "%.*s?%.*s", (int)ret->len, ret->ptr, (int)r->query.len,
			       r->query.ptr ? r->query.ptr : "");
}

static int put_request(struct lines *l, struct sl_h2_stream *st)
{
	const struct sl_request *r = st->req;
	bool tunnel = r->method == SL_METHOD_CONNECT || r->upgrade.ptr;
	struct sl_str target = SL_STR_NULL;
	int err;

	if (!r->method_text.len || !sl_chars_all(r->method_text, SL_CHAR_TOKEN) ||
	    r->body == SL_BODY_EOF)
		return -EINVAL;
	if (r->authority.len && !sl_uri_authority_valid(r->authority, false))
		return -EINVAL;
	put(l, SL_STR(":method"), tunnel ? SL_STR("CONNECT") : r->method_text);
	if (r->method == SL_METHOD_CONNECT) {
		if (!sl_uri_authority_valid(r->target, true))
			return -EINVAL;
		put(l, SL_STR(":authority"), r->target);
	} else {
		err = target_of(r, st->arena, &target);
		if (err)
			return err;
		if (r->upgrade.ptr)
			put(l, SL_STR(":protocol"), r->upgrade);
		put(l, SL_STR(":scheme"), SL_STR("http"));
		put(l, SL_STR(":path"), target);
		put(l, SL_STR(":authority"), r->authority);
	}
	put_headers(l, &r->headers, r->upgrade.ptr);
	if (r->body == SL_BODY_LENGTH)
		put_u64(l, SL_STR("content-length"), r->content_length);
	if (r->te_trailers)
		put(l, SL_STR("te"), SL_STR("trailers"));
	return l->unfit ? -EINVAL : 0;
}

static int error_of(int r)
{
	return r == NGHTTP2_ERR_NOMEM ? -ENOMEM : -EINVAL;
}

int sl_h2_request(struct sl_h2 *h2, struct sl_h2_stream *st)
{
	const struct sl_request *req = st->req;
	const nghttp2_data_provider body = {.read_callback = sl_h2_source_read};
	_cleanup_(lines_deinit) struct lines l = {0};
	int32_t id;
	int r = lines_init(&l, &req->headers);

	if (!r)
		r = put_request(&l, st);
	if (r)
		return r;
	st->ended_out = req->method != SL_METHOD_CONNECT && !req->upgrade.ptr &&
			(req->body == SL_BODY_NONE ||
			 (req->body == SL_BODY_LENGTH && !req->content_length));
	if (h2->no_memory)
		return -ENOMEM;
	id = nghttp2_submit_request(h2->session, NULL, l.items, l.n, st->ended_out ? NULL : &body,
				    st);
	if (id < 0)
		return error_of(id);
	sl_h2_stream_attach(h2, st, id);
	return 0;
}

static int put_response(struct lines *l, const struct sl_response *res, uint16_t status,
			bool handshake)
{
	if (status < 100 || status > 999)
		return -EINVAL;
	put_u64(l, SL_STR(":status"), status);
	put_headers(l, &res->headers, handshake);
	return l->unfit ? -EINVAL : 0;
}

int sl_h2_interim(struct sl_h2_stream *st, const struct sl_response *res)
{
	_cleanup_(lines_deinit) struct lines l = {0};
	int r = lines_init(&l, &res->headers);

	if (!r)
		r = put_response(&l, res, res->status, false);
	if (r || st->closed)
		return r;
	r = nghttp2_submit_headers(st->session->session, NGHTTP2_FLAG_NONE, st->id, NULL, l.items,
				   l.n, NULL);
	return r ? error_of(r) : 0;
}

int sl_h2_respond(struct sl_h2_stream *st, const struct sl_response *res, bool tunnel)
{
	const nghttp2_data_provider body = {.read_callback = sl_h2_source_read};
	bool never = res->status == 204; /* RFC 9110 section 8.6 */
	_cleanup_(lines_deinit) struct lines l = {0};
	char status_digits[20];
	int r = lines_init(&l, &res->headers);

	if (!r)
		r = put_response(&l, res, tunnel ? 200 : res->status, tunnel);
	if (r || st->closed)
		return r;
	st->tunnel = tunnel;
	if (!tunnel && res->has_length && !never && res->body != SL_BODY_CHUNKED) {
		/* The digits of the status are still needed. */
		memcpy(status_digits, l.digits, sizeof(status_digits));
		l.items[0].value = (uint8_t *)status_digits + ((char *)l.items[0].value - l.digits);
		put_u64(&l, SL_STR("content-length"), res->content_length);
	}
	st->ended_out = !tunnel && (res->body == SL_BODY_NONE ||
				    (res->body == SL_BODY_LENGTH && !res->content_length));
	r = nghttp2_submit_response(st->session->session, st->id, l.items, l.n,
				    st->ended_out ? NULL : &body);
	return r ? error_of(r) : 0;
}

/* Something new to send. Fails when the stream does not wait for it, which is fine. */
static void resume(struct sl_h2_stream *st)
{
	(void)nghttp2_session_resume_data(st->session->session, st->id);
}

int sl_h2_write(struct sl_h2_stream *st, struct sl_buf *from, size_t n)
{
	int r;

	if (st->closed) {
		sl_buf_consume(from, n);
		return 0;
	}
	r = sl_buf_move(&st->out, from, n);
	if (r)
		return r;
	st->session->buffered_bytes += n;
	resume(st);
	return 0;
}

int sl_h2_write_text(struct sl_h2_stream *st, struct sl_str text)
{
	int r;

	if (st->closed)
		return 0;
	r = sl_buf_append_str(&st->out, text);
	if (r)
		return r;
	st->session->buffered_bytes += text.len;
	resume(st);
	return 0;
}

static int submit_trailers(nghttp2_session *session, struct sl_h2_stream *st)
{
	_cleanup_(lines_deinit) struct lines l = {0};
	const struct sl_headers *h = st->out_trailers;

	if (lines_init(&l, h))
		return NGHTTP2_ERR_NOMEM;
	for (uint32_t i = 0; i < h->n; i++) {
		if (!sl_h1_trailer_forbidden(h->items[i].name))
			put(&l, h->items[i].name, h->items[i].value);
	}
	return nghttp2_submit_trailer(session, st->id, l.items, l.n);
}

int sl_h2_end(struct sl_h2_stream *st, const struct sl_headers *trailers)
{
	int r;

	if (st->closed || st->ended_out)
		return 0;
	for (uint32_t i = 0; trailers && i < trailers->n; i++) {
		const struct sl_header *h = &trailers->items[i];

		if (!h->name.len || !sl_chars_all(h->name, SL_CHAR_TOKEN) ||
		    !sl_chars_value(h->value))
			return -EINVAL;
	}
	st->out_trailers = trailers;
	st->ended_out = true;
	/* Through the body's source they would come behind one more DATA frame, an empty one. */
	if (trailers && trailers->n && st->head_out && !sl_buf_len(&st->out)) {
		r = submit_trailers(st->session->session, st);
		return r ? error_of(r) : 0;
	}
	resume(st);
	return 0;
}

void sl_h2_stop(struct sl_h2_stream *st)
{
	if (!st->tunnel || st->closed)
		return;
	st->tunnel = false; /* from here on as behind any answer: see on_frame_send() */
	if (nghttp2_session_get_stream_local_close(st->session->session, st->id) == 1)
		sl_h2_reset(st, SL_H2_NO_ERROR);
}

bool sl_h2_full(const struct sl_h2_stream *st)
{
	return sl_buf_len(&st->out) >= STREAM_HIGH_BYTES;
}

ssize_t sl_h2_source_read(nghttp2_session *session, int32_t id, uint8_t *buf, size_t len,
			  uint32_t *flags, nghttp2_data_source *source, void *arg)
{
	struct sl_h2_stream *st = nghttp2_session_get_stream_user_data(session, id);
	size_t n, left;

	if (!st)
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE; /* its reset is on the way */
	left = sl_buf_len(&st->out);
	if (!left && !st->ended_out)
		return NGHTTP2_ERR_DEFERRED;
	n = left < len ? left : len;
	*flags |= NGHTTP2_DATA_FLAG_NO_COPY;
	if (n < left || !st->ended_out)
		return (ssize_t)n;
	*flags |= NGHTTP2_DATA_FLAG_EOF;
	if (st->out_trailers && st->out_trailers->n) {
		*flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
		if (submit_trailers(session, st))
			return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
	}
	return (ssize_t)n;
}

int sl_h2_source_send(nghttp2_session *session, nghttp2_frame *frame, const uint8_t *head,
		      size_t len, nghttp2_data_source *source, void *arg)
{
	struct sl_h2 *h2 = arg;
	struct sl_h2_stream *st =
		nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
	bool was_high;

	if (!st)
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
	/* Both or neither: half a frame would be the end of the connection. */
	if (sl_buf_reserve(h2->sink, 9 + len))
		return NGHTTP2_ERR_CALLBACK_FAILURE;
	was_high = sl_buf_len(&st->out) >= STREAM_HIGH_BYTES / 2;
	(void)sl_buf_append(h2->sink, head, 9);
	(void)sl_buf_append(h2->sink, sl_buf_ptr(&st->out), len);
	sl_buf_consume(&st->out, len);
	sl_buf_release(&st->out);
	h2->buffered_bytes -= len;
	if (was_high && sl_buf_len(&st->out) < STREAM_HIGH_BYTES / 2)
		h2->events->news(h2->arg, st);
	return 0;
}

void sl_h2_took(struct sl_h2_stream *st, size_t n)
{
	struct sl_h2 *h2 = st->session;
	size_t owed = st->owed_bytes < n ? st->owed_bytes : n;

	sl_buf_release(&st->in);
	if (!h2)
		return;
	h2->buffered_bytes -= n;
	st->owed_bytes -= owed;
	/* They fail only without memory: the next sl_h2_send() ends the connection. */
	if (owed && !h2->no_memory)
		(void)nghttp2_session_consume_connection(h2->session, owed);
	if (!st->closed && !st->ended_in)
		(void)nghttp2_session_consume_stream(h2->session, st->id, n);
}

void sl_h2_pay(struct sl_h2 *h2)
{
	sl_list_foreach (n, &h2->streams) {
		struct sl_h2_stream *st = sl_container_of(n, struct sl_h2_stream, node);

		if (st->owed_bytes && !h2->no_memory)
			(void)nghttp2_session_consume_connection(h2->session, st->owed_bytes);
		st->owed_bytes = 0;
	}
}

const struct sl_response *sl_h2_next_head(struct sl_h2_stream *st)
{
	struct sl_h2_head *h = st->heads;

	if (!h)
		return NULL;
	st->heads = h->next;
	if (!st->heads)
		st->heads_end = &st->heads;
	return &h->res;
}

void sl_h2_reset(struct sl_h2_stream *st, uint32_t code)
{
	if (st->session && !st->closed)
		(void)nghttp2_submit_rst_stream(st->session->session, NGHTTP2_FLAG_NONE, st->id,
						code);
}

void sl_h2_stream_deinit(struct sl_h2_stream *st, uint32_t code)
{
	struct sl_h2 *h2 = st->session;

	if (!h2)
		goto queues;
	sl_h2_reset(st, code);
	if (!st->closed) {
		(void)nghttp2_session_set_stream_user_data(h2->session, st->id, NULL);
		h2->n_open--;
		h2->buffered_bytes -= sl_buf_len(&st->out);
	}
	if (st->owed_bytes && !h2->no_memory)
		(void)nghttp2_session_consume_connection(h2->session, st->owed_bytes);
	h2->buffered_bytes -= sl_buf_len(&st->in);
	sl_list_remove(&st->node);
	st->session = NULL;
queues:
	sl_buf_deinit(&st->in);
	sl_buf_deinit(&st->out);
}
