/* SPDX-License-Identifier: Apache-2.0 */
/* Connections on their way from a worker to the process that takes over. */
#include "core/handover_state.h"

#include <errno.h>
#include <fcntl.h>
#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/log.h"

struct asked {
	struct sl_ack ack;
	struct sl_control *control;
	unsigned session;
};

static void on_asked(struct sl_mail *m)
{
	struct asked *a =
		sl_container_of(sl_container_of(m, struct sl_ack, mail), struct asked, ack);
	struct sl_handover *h = a->control->handover;

	if (h && h->session == a->session)
		h->asked = true;
	free(a);
}

void sl_handover_begin_giving(struct sl_handover *h)
{
	struct sl_control *c = h->control;
	struct asked *a = sl_new(struct asked);

	h->asked = !a; /* no memory: one that is just accepted may be missed */
	if (a) {
		a->control = c;
		a->session = h->session;
		a->ack.mail.fn = on_asked;
		a->ack.to = c->mailbox;
		atomic_store(&a->ack.pending, c->n_workers);
	}
	for (uint32_t i = 0; i < c->n_workers; i++) {
		uint64_t first = (uint64_t)(h->session & 0xff) << SL_HANDOVER_SESSION_SHIFT |
				 (uint64_t)i << SL_HANDOVER_WORKER_SHIFT;

		if (sl_worker_hand_over(c->workers[i], first, a ? &a->ack : NULL))
			sl_error("out of memory, worker %u keeps its connections", i);
	}
}

struct given {
	struct sl_mail mail;
	struct sl_control *control;
	unsigned session;
	struct sl_wire_out out;
	unsigned n_fds;
	int fds[2];
};

static void on_given(struct sl_mail *m)
{
	struct given *g = sl_container_of(m, struct given, mail);
	struct sl_handover *h = g->control->handover;
	bool lives = h && h->channel && h->session == g->session;

	/* Else the worker takes it back, or did. */
	for (unsigned i = 0; i < g->n_fds && !lives; i++)
		sl_closep(&g->fds[i]);
	if (!lives)
		sl_buf_deinit(&g->out.buf);
	else if (sl_channel_send(h->channel, &g->out, g->fds, g->n_fds))
		sl_error("out of memory, a connection stays with this process");
	free(g);
}

int sl_handover_give(struct sl_control *c, const struct sl_handed *handed)
{
	_cleanup_(sl_freep) struct given *g = sl_new(struct given);

	if (!g)
		return -ENOMEM;
	g->mail.fn = on_given;
	g->control = c;
	g->session = c->handover->session;
	sl_wire_put_handed(&g->out, handed);
	if (g->out.error) {
		sl_buf_deinit(&g->out.buf);
		return -ENOMEM;
	}
	/* The worker may close its own before it is their turn. */
	g->n_fds = sl_wire_handed_fds(handed, g->fds);
	for (unsigned i = 0; i < g->n_fds; i++) {
		g->fds[i] = fcntl(g->fds[i], F_DUPFD_CLOEXEC, 3);
		if (g->fds[i] >= 0)
			continue;
		while (i)
			(void)close(g->fds[--i]); /* a copy */
		sl_buf_deinit(&g->out.buf);
		return -ENOMEM;
	}
	sl_mailbox_post(c->mailbox, &sl_take(g)->mail);
	return 0;
}

void sl_handover_on_has(struct sl_handover *h, const struct sl_wire_frame *f)
{
	struct sl_control *c = h->control;
	struct sl_wire_id m;
	uint32_t worker;

	if (sl_wire_get_id(f, &m))
		return;
	worker = m.id >> SL_HANDOVER_WORKER_SHIFT & 0xffff;
	if (m.id >> SL_HANDOVER_SESSION_SHIFT == (h->session & 0xff) && worker < c->n_workers &&
	    sl_worker_given(c->workers[worker], m.id))
		sl_error("out of memory, a connection is held until this process ends");
}

/* Steered by our programs, accepted by the new process, which does not know whereto. */
void sl_handover_on_accepted(struct sl_handover *h, struct sl_received *r)
{
	struct sl_control *c = h->control;
	struct sl_wire_accepted m;
	struct sl_proxy_accepted a;

	if (sl_wire_get_accepted(&r->frame, &m))
		return;
	a = (struct sl_proxy_accepted){.fd = r->fds[0], .source = m.source, .peer = m.peer};
	if (!sl_worker_adopt(c->workers[a.fd % c->n_workers], &a))
		r->fds[0] = -1;
}
