/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The client's side of a test: non-blocking, driven by the same loop as the server. */
#include "base/addr.h"
#include "base/buf.h"
#include "loop/loop.h"

struct peer {
	int fd;
	struct sl_buf got; /* terminated by NUL behind its content */
	bool closed;	   /* the server has closed */
	int error;	   /* errno of a failed read */
};

void peer_connect_unix(struct peer *p, const char *path);
void peer_connect_tcp(struct peer *p, const struct sl_addr *addr);
void peer_send(struct peer *p, const char *text, size_t n);
/* Rounds of the loop, reading meanwhile, until the server has closed. */
void peer_finish(struct peer *p, struct sl_loop *loop);
/* One round of at most 20 ms, then read what is there. */
void peer_step(struct peer *p, struct sl_loop *loop);
void peer_close(struct peer *p);
