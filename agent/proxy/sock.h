/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * A connected, non-blocking stream socket with its two byte queues. Registered edge-triggered for
 * everything once, so that traffic costs no epoll_ctl(2); what the kernel reported is kept in the
 * flags below until a system call proves otherwise. Knows nothing of what the bytes mean. With TLS
 * (sock_tls.c) the queues and counters are of the plain ones.
 *
 * Thread: one worker.
 */
#include "base/buf.h"
#include "loop/loop.h"
#include "obs/splice_why.h"

struct sl_proxy_room;
struct sl_splice;

struct sl_tls_conn;
struct sl_tls_conn_opts;

/* A queue above this stops the reader on the other side; below half of it the reader goes on. */
#define SL_SOCK_HIGH_BYTES 65536
#define SL_SOCK_READ_BYTES SL_BLOCK_BYTES

/* How far to read ahead where the parser wants a section of that many bytes at once: with no more
 * than these it would ask for the next byte, which nobody would read. */
static inline size_t sl_sock_read_limit(size_t section_bytes)
{
	size_t n = section_bytes + SL_SOCK_READ_BYTES;

	return n > SL_SOCK_HIGH_BYTES ? n : SL_SOCK_HIGH_BYTES;
}

struct sl_sock {
	struct sl_watch *watch; /* borrowed: embedded in the owner */
	struct sl_buf in, out;
	uint64_t n_received, n_sent; /* bytes, since sl_sock_init() */
	int error;		     /* errno that ended it, 0 while none */
	bool can_read, can_write;
	bool connecting; /* connect(2) is under way: nothing is sent */
	bool hangup;	 /* the peer will send no more: a short read does not mean empty */
	bool bulk;	 /* reads fill their block: the next one may be larger */
	bool eof;	 /* everything that the peer sent has been read */
	bool shut;	 /* our FIN was sent, or nothing can be sent any more */
	bool broken;	 /* sending failed: what is queued never went out */
	bool reset;	 /* the peer reset it before its FIN: what has been read ends too early */
	bool gone; /* it is closed both ways: nobody takes what we send, though we did not close */
	struct sl_tls_conn *tls; /* NULL: none */
	bool tls_waits;		 /* TLS: connect(2) is under way, the handshake has not begun */
	bool tls_dry;		 /* TLS: nothing to receive until the next edge */
	bool tls_shut_due;	 /* TLS: our last word waits for room in the kernel */
	enum sl_splice_why
		splice_why;	  /* why the kernel does not carry it; NONE: it may yet, or does */
	struct sl_splice *splice; /* NULL: plain TCP. See splice.h */
	bool was_spliced;	  /* once, and is TCP's now: splice_why says why */
};

#define SL_SOCK_EVENTS (EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET)

/* Set what a TCP socket needs, before connect(2), or listen(2) for all that will be accepted: no
 * delay of small messages, and room. Never fails: what the kernel refuses stays as it was. */
void sl_sock_prepare(int fd, const struct sl_proxy_room *room);

/* Take over a descriptor that was prepared: watch is added to the loop with fn. The
 * queues' memory comes from blocks, borrowed. Returns 0 or -errno (the descriptor stays the
 * caller's then). */
int sl_sock_init(struct sl_sock *s, struct sl_loop *loop, struct sl_blocks *blocks,
		 struct sl_watch *watch, int fd, sl_watch_fn fn);
/* Removes the watch, closes the descriptor, frees the queues. reset: with RST, so that the peer
 * learns that the stream was cut. No-op on a closed one. */
void sl_sock_close(struct sl_sock *s, bool reset);

static inline bool sl_sock_is_open(const struct sl_sock *s)
{
	return s->watch && s->watch->fd >= 0;
}

/* Record what epoll said; the owner then calls the functions below when it is its turn. */
void sl_sock_event(struct sl_sock *s, uint32_t events);

/* What the functions below do when there is something to do; theirs alone. */
ssize_t sl_sock_read(struct sl_sock *s, size_t limit);
size_t sl_sock_send(struct sl_sock *s, bool last);

/*
 * Read what is there, at most until limit bytes are queued. Returns the number of bytes read (0:
 * nothing now, or eof, or error: see the flags), or -ENOMEM. When the limit stopped it, can_read
 * stays true.
 */
static inline ssize_t sl_sock_fill(struct sl_sock *s, size_t limit)
{
	if (s->can_read)
		return sl_sock_read(s, limit);
	sl_buf_release(&s->in);
	return 0;
}

/* Send what is queued. Returns bytes sent. When the peer takes no more (s->broken) the queue is
 * kept, and reading goes on: a server may answer early and close. */
static inline size_t sl_sock_flush(struct sl_sock *s)
{
	return sl_buf_len(&s->out) ? sl_sock_send(s, false) : 0;
}

/* The same where sl_sock_shutdown() or sl_sock_close() follows at once when the queue is empty: the
 * last bytes wait in the kernel and leave in one segment with the FIN. */
static inline size_t sl_sock_flush_last(struct sl_sock *s)
{
	return sl_buf_len(&s->out) ? sl_sock_send(s, true) : 0;
}

/* As if the peer had reset it, which it will be when it is closed. Calls the watch. */
void sl_sock_break(struct sl_sock *s);
/* Send a FIN once the queue is empty; no-op if done. */
void sl_sock_shutdown(struct sl_sock *s);
/* connect(2) finished, and the handshake of TLS? Returns 0 (yes), -EINPROGRESS, or the -errno that
 * it failed with: -EPROTO when TLS did, sl_sock_tls_error() says why. */
int sl_sock_connected(struct sl_sock *s);

/* ---- TLS, sock_tls.c ---- */

/* Speak TLS on a socket whose connect(2) was called; it is connecting until the handshake is done.
 * opts: all but io and arg. Returns 0 or -ENOMEM. */
int sl_sock_tls_begin(struct sl_sock *s, const struct sl_tls_conn_opts *opts);
/* Static text; "" when nothing is wrong with it, or it has no TLS. */
const char *sl_sock_tls_error(const struct sl_sock *s);
/* Of sock.c, where it has TLS. */
int sl_sock_tls_handshake(struct sl_sock *s);
ssize_t sl_sock_tls_read(struct sl_sock *s, size_t limit);
size_t sl_sock_tls_send(struct sl_sock *s);
void sl_sock_tls_shutdown(struct sl_sock *s);
void sl_sock_tls_close(struct sl_sock *s, bool reset);

static inline bool sl_sock_out_full(const struct sl_sock *s)
{
	return sl_buf_len(&s->out) >= SL_SOCK_HIGH_BYTES;
}

/* Nothing more will come out of it. */
static inline bool sl_sock_read_done(const struct sl_sock *s)
{
	return s->eof || s->error;
}
