/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include "base/alloc.h"
#include "base/cleanup.h"
#include "http/h2_impl.h"

enum {
	MAGIC_BYTES = 24, /* RFC 9113 section 3.4 */
	WINDOW_STREAMS =
		16, /* streams that can fill their windows at a time when memory is tight */
	/* More than the filters can make of a head within its limits. */
	SEND_HEAD_BYTES = 4 << 20,
	ACKS_QUEUED = 1000,
};

SL_DEFINE_CLEANUP(nghttp2_option *, nghttp2_option_del)
SL_DEFINE_CLEANUP(nghttp2_session_callbacks *, nghttp2_session_callbacks_del)
SL_DEFINE_CLEANUP(struct sl_h2 *, sl_h2_free)

static int session_new(struct sl_h2 *h2)
{
	_cleanup_(nghttp2_option_delp) nghttp2_option *opt = NULL;
	_cleanup_(nghttp2_session_callbacks_delp) nghttp2_session_callbacks *cb = NULL;
	nghttp2_mem mem = sl_h2_memory(h2);
	nghttp2_session *session;

	if (sl_h2_callbacks_new(&cb) || nghttp2_option_new(&opt))
		return -ENOMEM;
	nghttp2_option_set_no_auto_window_update(opt, 1);
	nghttp2_option_set_no_closed_streams(opt, 1);
	nghttp2_option_set_max_send_header_block_length(opt, SEND_HEAD_BYTES);
	nghttp2_option_set_max_outbound_ack(opt, ACKS_QUEUED);
	nghttp2_option_set_peer_max_concurrent_streams(opt, UINT32_MAX); /* see sl_h2_room() */
	/* h2_flood.c counts these, by the configured limits. */
#ifdef SL_NGHTTP2_STREAM_RESET_RATE_LIMIT
	nghttp2_option_set_stream_reset_rate_limit(opt, UINT32_MAX, UINT32_MAX);
#endif
#ifdef SL_NGHTTP2_MAX_CONTINUATIONS
	nghttp2_option_set_max_continuations(opt, UINT32_MAX);
#endif
	/* On failure it leaves a pointer to what it has freed. */
	if (h2->role == SL_H2_SERVER ? nghttp2_session_server_new3(&session, cb, h2, opt, &mem)
				     : nghttp2_session_client_new3(&session, cb, h2, opt, &mem))
		return -ENOMEM;
	h2->session = session;
	return 0;
}

static int submit_preface(struct sl_h2 *h2)
{
	const struct sl_h2_limits *l = h2->limits;
	const nghttp2_settings_entry server[] = {
		{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, l->n_streams},
		{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, l->window_bytes},
		{NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, l->head_bytes},
		{NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL, 1},
		{NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1},
	};
	const nghttp2_settings_entry client[] = {
		{NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
		{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, l->window_bytes},
		{NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, l->head_bytes},
		{NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1},
	};
	bool is_server = h2->role == SL_H2_SERVER;
	uint64_t window = (uint64_t)l->window_bytes * WINDOW_STREAMS;

	if (window > INT32_MAX)
		window = INT32_MAX;
	if (nghttp2_submit_settings(h2->session, NGHTTP2_FLAG_NONE, is_server ? server : client,
				    is_server ? sizeof(server) / sizeof(*server)
					      : sizeof(client) / sizeof(*client)) ||
	    nghttp2_session_set_local_window_size(h2->session, NGHTTP2_FLAG_NONE, 0,
						  (int32_t)window))
		return -ENOMEM;
	return 0;
}

int sl_h2_new(enum sl_h2_role role, const struct sl_h2_limits *limits,
	      const struct sl_h2_events *events, void *arg, struct sl_h2 **ret)
{
	_cleanup_(sl_h2_freep) struct sl_h2 *h2 = sl_new(struct sl_h2);

	if (!h2)
		return -ENOMEM;
	sl_list_init(&h2->streams);
	sl_list_init(&h2->memory);
	h2->role = role;
	h2->limits = limits;
	h2->events = events;
	h2->arg = arg;
	h2->magic_left = role == SL_H2_SERVER ? MAGIC_BYTES : 0;
	if (session_new(h2) || submit_preface(h2))
		return -ENOMEM;
	*ret = sl_take(h2);
	return 0;
}

struct sl_h2 *sl_h2_free(struct sl_h2 *h2)
{
	if (!h2)
		return NULL;
	sl_list_foreach_safe (n, &h2->streams) {
		struct sl_h2_stream *st = sl_container_of(n, struct sl_h2_stream, node);

		if (!st->closed)
			sl_h2_stream_close(st, NGHTTP2_CANCEL);
		sl_list_remove(&st->node);
		st->session = NULL;
	}
	if (!h2->out_of_memory)
		nghttp2_session_del(h2->session);
	sl_h2_memory_free(h2);
	free(h2);
	return NULL;
}

/* nghttp2 may have lost its way: nothing is asked of it any more. */
static int lose_memory(struct sl_h2 *h2)
{
	h2->over = h2->no_memory = true;
	sl_list_foreach_safe (n, &h2->streams) {
		struct sl_h2_stream *st = sl_container_of(n, struct sl_h2_stream, node);

		if (!st->closed)
			sl_h2_stream_close(st, NGHTTP2_INTERNAL_ERROR);
	}
	return -ENOMEM;
}

int sl_h2_recv(struct sl_h2 *h2, uint64_t now_ns, const char *p, size_t n)
{
	size_t fit;
	ssize_t used;

	if (h2->over || h2->no_memory)
		return h2->no_memory ? -ENOMEM : SL_H2_OVER;
	h2->now_ns = now_ns;
	fit = sl_h2_flood_look(h2, p, n);
	used = nghttp2_session_mem_recv(h2->session, (const uint8_t *)p, fit);
	if (h2->out_of_memory)
		return lose_memory(h2);
	if (used < 0) {
		sl_h2_terminate(h2, used == NGHTTP2_ERR_FLOODED ? SL_H2_ENHANCE_YOUR_CALM
								: SL_H2_PROTOCOL_ERROR);
		return SL_H2_OVER;
	}
	if (h2->abuse) {
		sl_h2_terminate(h2, SL_H2_ENHANCE_YOUR_CALM);
		return SL_H2_OVER;
	}
	if (nghttp2_session_want_read(h2->session))
		return 0;
	h2->over = true;
	return SL_H2_OVER;
}

int sl_h2_send(struct sl_h2 *h2, struct sl_buf *to, size_t limit)
{
	const uint8_t *p;
	ssize_t n = 0;

	if (h2->no_memory)
		return -ENOMEM;
	h2->sink = to;
	while (sl_buf_len(to) < limit) {
		n = nghttp2_session_mem_send(h2->session, &p);
		if (n <= 0)
			break;
		if (sl_buf_append(to, p, (size_t)n)) {
			n = -ENOMEM;
			break;
		}
	}
	h2->sink = NULL;
	return n < 0 || h2->out_of_memory ? lose_memory(h2) : 0;
}

bool sl_h2_is_done(const struct sl_h2 *h2)
{
	return h2->no_memory || ((h2->over || !nghttp2_session_want_read(h2->session)) &&
				 !nghttp2_session_want_write(h2->session));
}

uint64_t sl_h2_n_refused(const struct sl_h2 *h2)
{
	return h2->n_refused;
}

size_t sl_h2_n_streams(const struct sl_h2 *h2)
{
	return h2->n_open;
}

uint64_t sl_h2_buffered_bytes(const struct sl_h2 *h2)
{
	return h2->buffered_bytes;
}

int sl_h2_ping(struct sl_h2 *h2)
{
	if (h2->no_memory || nghttp2_submit_ping(h2->session, NGHTTP2_FLAG_NONE, NULL))
		return -ENOMEM;
	h2->n_pings_out++;
	return 0;
}

bool sl_h2_pings_answered(const struct sl_h2 *h2)
{
	return !h2->n_pings_out;
}

/* The three below fail only without memory: then the next sl_h2_send() ends the connection. */

void sl_h2_go_away_soon(struct sl_h2 *h2)
{
	if (!h2->no_memory)
		(void)nghttp2_submit_shutdown_notice(h2->session);
}

void sl_h2_go_away(struct sl_h2 *h2)
{
	int32_t last = nghttp2_session_get_last_proc_stream_id(h2->session);

	if (!h2->no_memory)
		(void)nghttp2_submit_goaway(h2->session, NGHTTP2_FLAG_NONE, last, SL_H2_NO_ERROR,
					    NULL, 0);
}

void sl_h2_terminate(struct sl_h2 *h2, enum sl_h2_code code)
{
	h2->over = true;
	if (!h2->no_memory)
		(void)nghttp2_session_terminate_session(h2->session, code);
}

uint32_t sl_h2_room(const struct sl_h2 *h2)
{
	uint32_t max = h2->settled ? nghttp2_session_get_remote_settings(
					     h2->session, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS)
				   : 1;

	if (sl_h2_going_away(h2) || !nghttp2_session_check_request_allowed(h2->session))
		return 0;
	if (max > h2->limits->n_streams)
		max = h2->limits->n_streams;
	return max > h2->n_open ? max - (uint32_t)h2->n_open : 0;
}

bool sl_h2_settled(const struct sl_h2 *h2)
{
	return h2->settled;
}

bool sl_h2_going_away(const struct sl_h2 *h2)
{
	return h2->goaway_in || h2->over;
}

bool sl_h2_takes_protocols(const struct sl_h2 *h2)
{
	return nghttp2_session_get_remote_settings(h2->session,
						   NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL) == 1;
}
