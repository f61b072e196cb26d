/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What io.c, io_recv.c and io_send.c share. */
#include <errno.h>
#include "soak.h"

enum { PIPE_BYTES = 65536 };

/* Until the socket can be read or written, as the mode waits. Returns 0 or -errno. */
int io_wait(struct io *io, bool out);
/* Now and then: the connection goes on through another descriptor. */
void io_change_hands(struct io *io);
/* What monitors ask a socket. */
void io_look_around(struct io *io);

static inline ssize_t io_result(ssize_t n)
{
	return n < 0 ? -errno : n;
}
