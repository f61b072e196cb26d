/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Mailbox: the one way into another thread's loop. Many senders, one receiver; messages arrive in
 * the order in which each sender posted them. Posting never blocks and never allocates: the sender
 * embeds struct sl_mail in its message, and ownership passes to the receiver.
 */
#include "base/list.h"
#include "loop/loop.h"

struct sl_mail;
/* Runs in the receiver's thread and owns the mail from then on. */
typedef void (*sl_mail_fn)(struct sl_mail *m);

struct sl_mail {
	struct sl_mail *next;
	sl_mail_fn fn;
};

struct sl_mailbox;

/* Thread: the receiver's. Returns 0 or -errno. */
int sl_mailbox_new(struct sl_loop *l, struct sl_mailbox **ret);
/* Mail still inside is handed to its fn first. Senders must be gone. Not to be called from a mail's
 * fn. Accepts NULL, returns NULL. */
struct sl_mailbox *sl_mailbox_free(struct sl_mailbox *mb);
/* Thread: any. */
void sl_mailbox_post(struct sl_mailbox *mb, struct sl_mail *m);
