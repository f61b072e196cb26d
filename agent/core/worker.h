/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * One worker: a thread with a loop, a proxy, a metrics shard and an access log. Orders come by
 * mail and are carried out between rounds, in the order sent.
 *
 * Thread: control, unless a function says any.
 */
#include <stdatomic.h>
#include "loop/mailbox.h"
#include "proxy/handover.h"
#include "proxy/proxy.h"

struct sl_worker;

/* Shared by the mails of one order to all workers: fn runs in the receiver of  when the last
 * worker is done, and owns the ack. */
struct sl_ack {
	struct sl_mail mail; /* mail.fn is called there */
	struct sl_mailbox *to;
	atomic_uint pending;
};

struct sl_worker_opts {
	unsigned index;
	struct sl_proxy_opts proxy;
	struct sl_proxy_host host;
	struct sl_metrics_shard *metrics; /* borrowed */
	const char *access_log;		  /* NULL: none */
};

/* Starts the thread. Returns 0 or -errno. */
int sl_worker_start(const struct sl_worker_opts *opts, struct sl_worker **ret);
/* Ends the thread. Others may still post to it; stop all before the first is freed. */
void sl_worker_stop(struct sl_worker *w);
/* Cuts what is open. Accepts NULL, returns NULL. */
struct sl_worker *sl_worker_free(struct sl_worker *w);

/* Orders. ack (may be NULL) is counted down once for each order, also for one that could not be
 * sent; set its pending before the first of them. Return 0 or -ENOMEM (nothing was sent). */
int sl_worker_publish(struct sl_worker *w, struct sl_snapshot *snap, struct sl_ack *ack);
/* fds stay open until the worker acknowledged sl_worker_remove_source(). */
int sl_worker_add_source(struct sl_worker *w, struct sl_source *source, const int *fds,
			 uint32_t n_fds, struct sl_ack *ack);
int sl_worker_remove_source(struct sl_worker *w, uint64_t cookie, struct sl_ack *ack);
int sl_worker_drain(struct sl_worker *w, struct sl_ack *ack);
int sl_worker_end_accepting(struct sl_worker *w, struct sl_ack *ack);
int sl_worker_reopen_log(struct sl_worker *w);
/* Of sl_splice_host: the kernel has looked at the candidates of that namespace; the app with that
 * cookie is to be cut off. */
int sl_worker_splice_passed(struct sl_worker *w, uint64_t app_netns);
int sl_worker_splice_cut(struct sl_worker *w, uint64_t app_cookie);
/* The process that takes over: see proxy/handover.h. */
int sl_worker_stop_accepting(struct sl_worker *w, struct sl_ack *ack);
int sl_worker_hand_over(struct sl_worker *w, uint64_t first_id, struct sl_ack *ack);
int sl_worker_given(struct sl_worker *w, uint64_t id);
int sl_worker_take_back(struct sl_worker *w);
/* A connection of the process before. Takes the descriptors on success. */
int sl_worker_take(struct sl_worker *w, const struct sl_handed *h);
/* Nothing but the ack: the worker's loop is alive. */
int sl_worker_ping(struct sl_worker *w, struct sl_ack *ack);
/* Run mail->fn in the worker's thread, between rounds. Thread: any. */
void sl_worker_post(struct sl_worker *w, struct sl_mail *mail);
/* Thread: the worker's. */
struct sl_proxy *sl_worker_proxy(const struct sl_worker *w);
/* Thread: any. Takes the descriptor on success. */
int sl_worker_adopt(struct sl_worker *w, const struct sl_proxy_accepted *accepted);
/* Those on their way to it by sl_worker_adopt() and sl_worker_take() count, too. Thread: any. */
size_t sl_worker_n_conns(const struct sl_worker *w);
uint64_t sl_worker_log_dropped(const struct sl_worker *w);
