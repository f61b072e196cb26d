/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The admin socket: serves the wire format of sluice/admin.h in the control thread's loop. Knows no
 * command's content: core registers a function for each.
 *
 * Thread: the loop's.
 */
#include <jansson.h>
#include "base/buf.h"
#include "loop/loop.h"

struct sl_admin;
struct sl_metrics;

struct sl_admin_later;

enum { SL_ADMIN_REFUSED = 1, SL_ADMIN_LATER = 2 };

/* Answers a command. Returns 0 with a new reference to an object in *ret; SL_ADMIN_REFUSED with a
 * new reference to a string in *ret, the message for the user; SL_ADMIN_LATER after
 * sl_admin_defer(); or -errno. @request is borrowed. */
typedef int (*sl_admin_fn)(void *arg, const json_t *request, json_t **ret);

struct sl_admin_opts {
	const char *path; /* of the socket; NULL: SL_ADMIN_SOCKET. Its folder is made if need be */
	uint32_t max_clients; /* 0: 64; more wait */
	uint32_t max_later;   /* answers deferred at a time; 0: 16 */
	uint64_t timeout_ns;  /* for a client to ask and to take the answer; 0: 5 s */
	const int *inherited; /* the listening socket of another process, for the same path; taken
				 in any case. NULL: make one */
};

/* A socket that a dead agent left behind is replaced. Returns 0, -EADDRINUSE when another agent
 * serves this path, -EEXIST when something else than a socket is there, or -errno. */
int sl_admin_open(struct sl_loop *loop, const struct sl_admin_opts *opts, struct sl_admin **ret);
/* The listening socket, borrowed. */
int sl_admin_fd(const struct sl_admin *a);
/* Another process has the listening socket now: closing it leaves the file. */
void sl_admin_leave(struct sl_admin *a);
/* Also removes the socket's file; answers that are deferred can still be given, to nobody. Accepts
 * NULL, returns NULL. */
struct sl_admin *sl_admin_close(struct sl_admin *a);

/* name: static; each once. "version" is there from the start. Returns 0 or -ENOMEM. */
int sl_admin_register(struct sl_admin *a, const char *name, sl_admin_fn fn, void *arg);
/* The command "metrics"; m is borrowed. */
int sl_admin_register_metrics(struct sl_admin *a, struct sl_metrics *m);

/* For a function whose answer takes time: called once from within it, which then returns
 * SL_ADMIN_LATER, and one of the two below follows. Returns 0, SL_ADMIN_REFUSED with *ret_message
 * as for sl_admin_fn when too many answers are outstanding (those whose client has gone count too),
 * or -ENOMEM; the function returns the same then. */
int sl_admin_defer(struct sl_admin *a, struct sl_admin_later **ret, json_t **ret_message);
/* text: one JSON object; its content is taken. Frees l. */
void sl_admin_answer(struct sl_admin_later *l, struct sl_buf *text);
void sl_admin_answer_error(struct sl_admin_later *l, const char *message);
