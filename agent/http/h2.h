/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * One HTTP/2 connection (RFC 9113), sans-I/O, on top of nghttp2: bytes in, bytes to send pulled,
 * messages as in message.h. Frames, HPACK and windows stay in here; routing and filters never see
 * them.
 *
 * Each exchange is a struct sl_h2_stream, embedded in or pointed to by its owner. While bytes are
 * taken in, the events only say which streams have news; the owner looks at the stream's members
 * later, outside of sl_h2_recv(), and calls the functions below. None of them may be called from an
 * event.
 *
 * Back-pressure: what came for a stream waits in its queue, and its window opens only when the
 * owner says that it took the bytes, so that a stalled reader costs one window. The connection's
 * window opens as bytes come, so that one stalled stream does not hold up the others, unless the
 * owner says that memory is tight.
 *
 * Hostile peers: what one may send is limited by struct sl_h2_limits; over a limit the connection
 * ends with GOAWAY (ENHANCE_YOUR_CALM) and sl_h2_abuse() says why. Messages are judged as strictly
 * as HTTP/1's, which they may become.
 *
 * Thread: one.
 */
#include "base/buf.h"
#include "base/list.h"
#include "http/h1_parse.h"
#include "http/message.h"

struct sl_h2;
struct sl_h2_stream;

enum sl_h2_role { SL_H2_SERVER, SL_H2_CLIENT };

/* RFC 9113 section 7, as far as others need them. */
enum sl_h2_code {
	SL_H2_NO_ERROR = 0,
	SL_H2_PROTOCOL_ERROR = 1,
	SL_H2_INTERNAL_ERROR = 2,
	SL_H2_REFUSED_STREAM = 7,
	SL_H2_CANCEL = 8,
	SL_H2_CONNECT_ERROR = 10,
	SL_H2_ENHANCE_YOUR_CALM = 11,
};

/* What a peer sent too much of. */
enum sl_h2_flood {
	SL_H2_FLOOD_NONE,
	SL_H2_FLOOD_RESETS,	    /* requests begun and given up (CVE-2023-44487), or spoilt */
	SL_H2_FLOOD_SETTINGS,	    /* each asks for an answer (CVE-2019-9515) */
	SL_H2_FLOOD_PINGS,	    /* likewise (CVE-2019-9512) */
	SL_H2_FLOOD_EMPTY_FRAMES,   /* work without bytes (CVE-2019-9518) */
	SL_H2_FLOOD_WINDOW_UPDATES, /* more than anything sent calls for (CVE-2019-9511) */
	SL_H2_FLOOD_PRIORITIES,	    /* (CVE-2019-9513) */
	SL_H2_FLOOD_CONTINUATIONS,  /* a head in ever more frames (CVE-2024-28182) */
	SL_H2_FLOOD_HEADER_BYTES,   /* a head far above its limit (CVE-2016-6581) */
	SL_H2_FLOOD_MAX,
};

/* Over SL_H2_FLOOD_PERIOD_NS a peer may send that many frames of a kind, and more as far as the
 * traffic explains them: a reset for each stream that ended well and an empty frame (some send one
 * before trailers), ten window updates for each such stream and each data frame that it was sent, a
 * ping for each of those. */
#define SL_H2_FLOOD_PERIOD_NS (10 * 1000000000ULL)

struct sl_h2_limits {
	uint32_t n_streams;    /* that the peer may have open; over: REFUSED_STREAM */
	uint32_t window_bytes; /* of a stream: what may wait in its queue */
	uint32_t head_bytes;   /* as counted by RFC 9113 section 6.5.2; over: 431 */
	uint32_t n_headers;    /* over: 431 */
	uint32_t trailer_bytes;
	uint32_t continuations; /* frames behind a HEADERS frame */
	uint32_t resets, settings, pings, empty_frames, window_updates, priorities;
};
#define SL_H2_LIMITS_DEFAULT                               \
	((struct sl_h2_limits){.n_streams = 100,           \
			       .window_bytes = 128u << 10, \
			       .head_bytes = 65536,        \
			       .n_headers = 128,           \
			       .trailer_bytes = 16384,     \
			       .continuations = 16,        \
			       .resets = 200,              \
			       .settings = 50,             \
			       .pings = 200,               \
			       .empty_frames = 100,        \
			       .window_updates = 500,      \
			       .priorities = 200})

/* A response head that was received; interim ones may come before the final one. */
struct sl_h2_head {
	struct sl_h2_head *next;
	struct sl_response res;
};

struct sl_h2_stream {
	/* Set by the owner before it hands the stream over; borrowed. */
	struct sl_arena *arena;
	struct sl_request *req;	     /* server: filled in; client: what is asked, borrowed */
	struct sl_headers *trailers; /* appended to what is received */

	/* To look at. */
	struct sl_h2_head *heads; /* client: not yet seen by the owner, oldest first */
	struct sl_buf in;	  /* body that came; taken from with sl_h2_took() */
	struct sl_h1_error fault; /* server: status to refuse the request with; 0: none */
	bool head_in;		  /* server: req is whole; client: the final head has come */
	bool ended_in;		  /* the peer's message is whole; its end is behind in */
	bool ended_out;		  /* ours was ended */
	bool closed;		  /* the session is through with it; error says how */
	bool reset_by_peer;
	uint32_t error; /* of closed: RFC 9113 section 7 */

	/* Private. */
	struct sl_list node; /* in the session */
	struct sl_h2 *session;
	int32_t id;
	struct sl_buf out;
	struct sl_headers fields; /* of the section that is coming in */
	struct sl_str pseudo[6];
	const struct sl_headers *out_trailers;
	struct sl_h2_head **heads_end;
	uint64_t n_body_in;
	size_t owed_bytes; /* of the connection's window */
	uint32_t section_bytes, section_headers;
	uint8_t n_interim;
	bool too_much; /* of the section is over a limit: the rest is dropped */
	bool tunnel;   /* server: either side ends on its own */
	bool head_out; /* was sent; trailers may follow at once */
};

/* None may call back into the session. */
struct sl_h2_events {
	/* Server: a request begins. Returns a stream with the owner's members set, else it is
	 * refused (REFUSED_STREAM). */
	struct sl_h2_stream *(*open)(void *arg);
	/* st has news, or can take more to send. */
	void (*news)(void *arg, struct sl_h2_stream *st);
	/* Keep back the connection's window until what came is taken. */
	bool (*tight)(void *arg);
};

/* limits and events are borrowed for the session's life. The connection's preface is queued.
 * Returns 0 or -ENOMEM. */
int sl_h2_new(enum sl_h2_role role, const struct sl_h2_limits *limits,
	      const struct sl_h2_events *events, void *arg, struct sl_h2 **ret);
/* Its streams are let go of: closed is set, they are the owner's to deinit. Accepts NULL, returns
 * NULL. */
struct sl_h2 *sl_h2_free(struct sl_h2 *h2);

/* Server, before anything else: the client's HTTP/1.1 request with Upgrade: h2c becomes stream 1,
 * to which st and the request in st->req belong; settings is the HTTP2-Settings field. Returns 0,
 * -EINVAL (the field is malformed; nothing happened) or -ENOMEM. */
int sl_h2_upgrade(struct sl_h2 *h2, struct sl_h2_stream *st, struct sl_str settings);

/* Take all bytes in. Returns 0; SL_H2_OVER when the connection has to end: send what is queued,
 * then close; -ENOMEM likewise. */
enum { SL_H2_OVER = 1 };
int sl_h2_recv(struct sl_h2 *h2, uint64_t now_ns, const char *p, size_t n);
/* Append to the queue what there is to send, as long as it is shorter than limit. Returns 0 or
 * -ENOMEM, and then the connection is lost. */
int sl_h2_send(struct sl_h2 *h2, struct sl_buf *to, size_t limit);
/* Nothing is to be received any more and nothing to be sent. */
bool sl_h2_is_done(const struct sl_h2 *h2);
enum sl_h2_flood sl_h2_abuse(const struct sl_h2 *h2);
/* Static; NULL for NONE. */
const char *sl_h2_flood_name(enum sl_h2_flood flood);
/* Requests that were refused, as more were open than the limit. */
uint64_t sl_h2_n_refused(const struct sl_h2 *h2);
/* Streams that are open or about to be. */
size_t sl_h2_n_streams(const struct sl_h2 *h2);
/* Bytes in all streams' queues. */
uint64_t sl_h2_buffered_bytes(const struct sl_h2 *h2);
/* A header section has begun and is not whole yet, or the preface is missing. */
bool sl_h2_in_head(const struct sl_h2 *h2);

/* Ask the peer for a sign of life. Returns 0 or -ENOMEM. */
int sl_h2_ping(struct sl_h2 *h2);
/* All pings were answered. */
bool sl_h2_pings_answered(const struct sl_h2 *h2);
/* First step of a graceful end (RFC 9113 section 6.8): what the peer sent before it heard of this
 * is still served. */
void sl_h2_go_away_soon(struct sl_h2 *h2);
/* Second step: no further streams; those that are open go on. */
void sl_h2_go_away(struct sl_h2 *h2);
/* End it now. */
void sl_h2_terminate(struct sl_h2 *h2, enum sl_h2_code code);

/* Client: how many more requests the peer takes, 0 after its GOAWAY. Before its SETTINGS have come
 * one, so that it is never asked for more than it wants. */
uint32_t sl_h2_room(const struct sl_h2 *h2);
/* Client: the peer's SETTINGS have come. */
bool sl_h2_settled(const struct sl_h2 *h2);
/* Client: the peer said GOAWAY, or the connection is over. */
bool sl_h2_going_away(const struct sl_h2 *h2);
/* Client: the peer takes extended CONNECT (RFC 8441). */
bool sl_h2_takes_protocols(const struct sl_h2 *h2);

/*
 * Ask, with st->req. An upgrade becomes an extended CONNECT, so the caller looks at
 * sl_h2_takes_protocols() first. Returns 0, -EINVAL for what cannot be sent, -ENOMEM.
 */
int sl_h2_request(struct sl_h2 *h2, struct sl_h2_stream *st);
/* An interim response; then the final one. A body that cannot follow (none, or length 0) ends the
 * message. tunnel: bytes follow both ways. Return 0, -EINVAL or -ENOMEM; 0 also when the stream
 * has closed meanwhile. */
int sl_h2_interim(struct sl_h2_stream *st, const struct sl_response *res);
int sl_h2_respond(struct sl_h2_stream *st, const struct sl_response *res, bool tunnel);
/* Takes the first n bytes of from; dropped when the stream is closed. Returns 0, -ENOMEM. */
int sl_h2_write(struct sl_h2_stream *st, struct sl_buf *from, size_t n);
int sl_h2_write_text(struct sl_h2_stream *st, struct sl_str text);
/* The end of our message; trailers (may be NULL) are borrowed until the stream closes. */
int sl_h2_end(struct sl_h2_stream *st, const struct sl_headers *trailers);
/* The peer takes no more now. */
bool sl_h2_full(const struct sl_h2_stream *st);
/* The owner took n bytes from st->in. */
void sl_h2_took(struct sl_h2_stream *st, size_t n);
/* Memory is not tight any more: the connection's window opens for what came while it was, taken or
 * not. The next sl_h2_send() says so. */
void sl_h2_pay(struct sl_h2 *h2);
/* Server: of a tunnel that we ended, nothing more is read. The peer hears of it behind what is
 * queued. */
void sl_h2_stop(struct sl_h2_stream *st);
/* Client: next response head, NULL when there is none. */
const struct sl_response *sl_h2_next_head(struct sl_h2_stream *st);
/* Give the stream up: RST_STREAM unless it is closed. */
void sl_h2_reset(struct sl_h2_stream *st, uint32_t code);
/* The owner forgets the stream: reset unless it is closed, its queues freed, it can go away. A
 * zeroed one is fine. */
void sl_h2_stream_deinit(struct sl_h2_stream *st, uint32_t code);
