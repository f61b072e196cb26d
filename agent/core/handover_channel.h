/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Frames and descriptors (SCM_RIGHTS) over a connected UNIX stream socket, without waiting. Knows
 * no frame's meaning.
 *
 * A descriptor belongs to the frame with whose first byte it was sent; the kernel keeps that order
 * and never merges what came with descriptors into what came before, so a queue of them beside the
 * queue of bytes is enough.
 *
 * Thread: control.
 */
#include "core/handover_wire.h"
#include "loop/loop.h"

struct sl_channel;

/* A frame and its descriptors, which are the receiver's. */
struct sl_received {
	struct sl_wire_frame frame; /* borrowed until sl_channel_done() */
	int fds[SL_WIRE_MAX_FDS];   /* frame.n_fds of them; -1: taken */
};
/* Those that were not taken. */
void sl_received_close(struct sl_received *r);

/* The socket may be read or has ended, or what was queued is out. The channel may be freed. */
typedef void (*sl_channel_fn)(void *arg);

/* fd: owned from then on, also on failure. Without a loop nothing is watched, and
 * sl_channel_wait() is how to go on. Returns 0 or -errno. */
int sl_channel_new(int fd, struct sl_channel **ret);
int sl_channel_watch(struct sl_channel *ch, struct sl_loop *loop, sl_channel_fn fn, void *arg);
/* What is queued is not sent any more. Accepts NULL, returns NULL. */
struct sl_channel *sl_channel_free(struct sl_channel *ch);

/* Queue a frame, and send what can be sent. Takes out's content and the descriptors, in any case.
 * Returns 0, or -ENOMEM, after which the frame is lost. What goes wrong with the socket is seen by
 * reading. */
int sl_channel_send(struct sl_channel *ch, struct sl_wire_out *out, const int *fds, unsigned n_fds);
/* Nothing is queued: the kernel has it all. */
bool sl_channel_is_flushed(const struct sl_channel *ch);

/* The next frame. Returns 1 (then call sl_channel_done()), 0 when there is none yet, -EPIPE when
 * the peer has gone and all its frames were seen, -EBADMSG, or -errno. */
int sl_channel_next(struct sl_channel *ch, struct sl_received *ret);
void sl_channel_done(struct sl_channel *ch);
/* Wait until all is sent. Returns 0, or -ETIMEDOUT after timeout_ns. */
int sl_channel_wait_flushed(struct sl_channel *ch, uint64_t timeout_ns);
/* Wait until there may be more to read, or timeout_ns passed (-ETIMEDOUT). */
int sl_channel_wait(struct sl_channel *ch, uint64_t timeout_ns);
