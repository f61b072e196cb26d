/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * A thread that has the kernel walk the sockets of one network namespace after the other. Apart
 * from all others, because the walk waits for the lock of each socket: an application that holds
 * one (stopped in a page fault in recv(2), say) holds up the walk for as long as it likes.
 */
#include "loop/mailbox.h"
#include "netns/netns.h"
#include "datapath/hops.h"

struct sl_passer;

/* One walk. Its owner keeps it until fn was called. */
struct sl_pass {
	struct sl_mail mail;
	struct sl_passer *passer;
	struct sl_source *source; /* a reference */
	struct sl_hops_pass result;
	int error;
	void (*fn)(struct sl_pass *p); /* in the receiver of to */
};

/* Starts the thread; hops and to are borrowed. Returns 0 or -errno. */
int sl_passer_new(struct sl_hops *hops, struct sl_mailbox *to, struct sl_passer **ret);
/* Ends the thread, after the walk that is under way, and frees it. Returns false when that lasts
 * more than a second: everything stays then, until the process ends. */
bool sl_passer_free(struct sl_passer *p);
/* One at a time: begin pass, of which source and fn are set. */
void sl_passer_begin(struct sl_passer *p, struct sl_pass *pass);
