/* SPDX-License-Identifier: Apache-2.0 */
#include "loop/mailbox.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include "base/alloc.h"
#include "base/cleanup.h"

struct sl_mailbox {
	struct sl_mail
		*head; /* newest first; pushed by any thread, taken as a whole by the receiver */
	struct sl_watch watch;
	int fd;
};

SL_DEFINE_CLEANUP(struct sl_mailbox *, sl_mailbox_free)

static bool deliver(struct sl_mailbox *mb)
{
	struct sl_mail *newest = __atomic_exchange_n(&mb->head, NULL, __ATOMIC_ACQUIRE);
	struct sl_mail *m = NULL;

	while (newest) {
		struct sl_mail *older = newest->next;

		newest->next = m;
		m = newest;
		newest = older;
	}
	if (!m)
		return false;
	while (m) {
		struct sl_mail *next = m->next;

		m->fn(m);
		m = next;
	}
	return true;
}

static void readable(struct sl_watch *w, uint32_t events)
{
	struct sl_mailbox *mb = sl_container_of(w, struct sl_mailbox, watch);
	eventfd_t count;

	/* Before the mail is taken: what is posted after that finds the box empty and rings again.
	 */
	(void)eventfd_read(mb->fd, &count); /* the count says nothing that head does not */
	(void)deliver(mb);		    /* a box found empty was emptied by an earlier round */
}

int sl_mailbox_new(struct sl_loop *l, struct sl_mailbox **ret)
{
	_cleanup_(sl_mailbox_freep) struct sl_mailbox *mb = sl_new(struct sl_mailbox);
	int r;

	if (!mb)
		return -ENOMEM;
	mb->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (mb->fd < 0)
		return -errno;
	r = sl_watch_add(l, &mb->watch, mb->fd, EPOLLIN, readable);
	if (r)
		return r;
	*ret = sl_take(mb);
	return 0;
}

struct sl_mailbox *sl_mailbox_free(struct sl_mailbox *mb)
{
	if (!mb)
		return NULL;
	while (deliver(mb))
		;
	sl_watch_remove(&mb->watch);
	sl_closep(&mb->fd);
	free(mb);
	return NULL;
}

void sl_mailbox_post(struct sl_mailbox *mb, struct sl_mail *m)
{
	struct sl_mail *head = __atomic_load_n(&mb->head, __ATOMIC_RELAXED);

	do {
		m->next = head;
	} while (!__atomic_compare_exchange_n(&mb->head, &head, m, true, __ATOMIC_RELEASE,
					      __ATOMIC_RELAXED));
	/* m may be gone from here on. A box with mail has been rung for. */
	if (!head)
		(void)eventfd_write(mb->fd,
				    1); /* cannot overflow: one for each time it was empty */
}
