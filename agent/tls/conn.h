/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * One TLS connection of the agent to a server. Does no I/O itself: bytes of the peer come and go
 * through struct sl_tls_io, plain ones through the functions below. Nothing plain is taken or given
 * before the handshake is done and the server's certificate is believed. A new key of the server's
 * (KeyUpdate) goes by unnoticed; renegotiation is refused.
 *
 * Thread: one worker.
 */
#include <stdbool.h>
#include <sys/types.h>
#include "base/addr.h"
#include "tls/context.h"

struct sl_tls_conn;
struct sl_tls_sessions;

struct sl_tls_io {
	/* As recv(2) and send(2) on a non-blocking socket: bytes, 0 at the end of the stream, or
	 * -errno, -EAGAIN among them. */
	ssize_t (*recv)(void *arg, void *to, size_t n);
	ssize_t (*send)(void *arg, const void *from, size_t n);
};

/* What is offered (RFC 7301). */
enum sl_tls_protocol {
	SL_TLS_ANY,   /* nothing */
	SL_TLS_HTTP1, /* a server that knows nothing of it is fine */
	SL_TLS_HTTP2, /* the server has to say so (RFC 9113 section 3.2) */
};

struct sl_tls_conn_opts {
	struct sl_tls_context *context; /* gets a reference */
	enum sl_tls_protocol protocol;
	struct sl_tls_sessions *sessions; /* borrowed, outlives the connection; NULL: none */
	struct sl_addr endpoint;	  /* whose sessions */
	const struct sl_tls_io *io;
	void *arg;
};

/* Returns 0 or -ENOMEM. */
int sl_tls_conn_new(const struct sl_tls_conn_opts *opts, struct sl_tls_conn **ret);
/* Says nothing to the peer. Accepts NULL, returns NULL. */
struct sl_tls_conn *sl_tls_conn_free(struct sl_tls_conn *t);

/*
 * All of them: -EAGAIN when recv() or send() has to be able to do something first, -ENOMEM,
 * -EPROTO for what is wrong with the peer (sl_tls_conn_error() says what), another -errno of recv()
 * or send(). After an error but -EAGAIN the connection is over.
 */

/* 0: done. */
int sl_tls_conn_handshake(struct sl_tls_conn *t);
/* Bytes; 0: the peer has said that it will send no more. -ECONNRESET: its stream ended without
 * that, so that somebody may have cut it (RFC 8446 section 6.1). */
ssize_t sl_tls_conn_read(struct sl_tls_conn *t, void *to, size_t n);
/* Bytes, at least 1. After -EAGAIN the next call has to begin with the same ones. */
ssize_t sl_tls_conn_write(struct sl_tls_conn *t, const void *from, size_t n);
/* Say that nothing more will be sent; reading goes on. 0: it is on its way. */
int sl_tls_conn_shutdown(struct sl_tls_conn *t);

/* Static text; "" while nothing is wrong. */
const char *sl_tls_conn_error(const struct sl_tls_conn *t);
bool sl_tls_conn_resumed(const struct sl_tls_conn *t);
