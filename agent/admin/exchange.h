/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Server for one question and one answer a connection, over any stream socket: accepts, collects
 * input until the protocol above it says that it is enough, sends the answer, closes. Never waits:
 * clients that are slow are cut after a time, clients beyond the limit wait in the backlog.
 *
 * Thread: the loop's.
 */
#include <stdbool.h>
#include "base/buf.h"
#include "loop/loop.h"

struct sl_exchange;

/* Called when there is new input; all input so far is in @in. Returns false to wait for more, true
 * to send @out (nothing, when it is empty) and close. When @last, no more input will be taken: the
 * limit is reached, or the client ended; false then closes without an answer. */
typedef bool (*sl_exchange_fn)(void *arg, struct sl_str in, bool last, struct sl_buf *out);

struct sl_exchange_opts {
	sl_exchange_fn fn;
	void *arg; /* borrowed */
	size_t max_request_bytes;
	uint32_t max_clients; /* 0: 64 */
	uint64_t timeout_ns;  /* for the question, and again for each part of the answer; 0: 5 s */
};

/* fd: a listening socket, owned from then on, also on failure. Returns 0 or -errno. */
int sl_exchange_open(struct sl_loop *loop, int fd, const struct sl_exchange_opts *opts,
		     struct sl_exchange **ret);
/* The listening socket, borrowed. */
int sl_exchange_fd(const struct sl_exchange *x);
/* Cuts what is under way. Accepts NULL, returns NULL. */
struct sl_exchange *sl_exchange_close(struct sl_exchange *x);
/* ---- an answer that takes time ---- */

struct sl_exchange_later;

/* From within fn: the client is answered later, by sl_exchange_answer(). fn then returns true, and
 * its
 * @out is not sent. A client that does not get its answer in time, or goes, is forgotten. Returns
 * NULL when out of memory. */
struct sl_exchange_later *sl_exchange_defer(struct sl_exchange *x);
/* Send the content of out (taken, also when the client has gone) and close; frees later. Also after
 * sl_exchange_close(), where nobody is left to hear it. Not from within fn. */
void sl_exchange_answer(struct sl_exchange_later *later, struct sl_buf *out);

/* Connections that are open. */
uint32_t sl_exchange_n_clients(const struct sl_exchange *x);
