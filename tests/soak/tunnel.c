/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes both ways: some in turns, the last at the same time, then two half-closes or a reset. */
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include "soak.h"

struct side {
	struct wire *w;
	const struct plan *p;
	struct live *l;
	bool client;
};

/* Of the live only what is this connection's: a client that is through makes place for another. */
static bool may_fail(const struct side *s)
{
	return atomic_load(&s->l->client_fault) || atomic_load(&s->l->server_fault) ||
	       !live_of(s->p->id);
}

static void failed(const struct side *s, const char *what, int r)
{
	complain(live_of(s->p->id), s->w->side, "tunnel %llu: %s: %s", (unsigned long long)s->p->id,
		 what, r == -ENODATA ? "the end came early" : strerror(-r));
}

struct writer {
	struct side side;
	struct io io;
	uint64_t offset, bytes;
	int result;
};

static uint64_t shift(const struct side *s, bool down)
{
	return plan_shift(s->p->id, MAX_STEPS, down);
}

static void *write_last(void *arg)
{
	struct writer *w = arg;
	const struct tunnel *t = &w->side.p->tunnel;

	w->result = send_stream(&w->io, shift(&w->side, !w->side.client), w->offset, w->bytes,
				t->piece, t->pause_us);
	if (!w->result)
		w->result = io_settle(&w->io);
	/* The other side, or this one, is about to reset: nothing more to say. */
	if (!w->result && !(w->side.client ? t->client_resets : t->server_resets))
		io_shutdown(&w->io);
	if (w->result && !may_fail(&w->side))
		failed(&w->side, "write", w->result);
	io_close(&w->io, false);
	return NULL;
}

/* In turns: the client first. Returns whether to go on. */
static bool rounds(struct side *s, uint64_t *ret_up, uint64_t *ret_down)
{
	const struct tunnel *t = &s->p->tunnel;

	for (unsigned i = 0; i < t->n_rounds; i++) {
		for (unsigned down = 0; down < 2; down++) {
			uint64_t n = down ? t->down[i] : t->up[i];
			uint64_t *at = down ? ret_down : ret_up;
			bool writes = s->client != (bool)down;
			int r;

			if (writes)
				r = send_stream(&s->w->io, shift(s, down), *at, n, t->piece,
						t->pause_us);
			else
				(void)wire_stream(s->w, shift(s, down), *at, n, t->pause_us, &r);
			if (r) {
				failed(s, writes ? "write in turns" : "read in turns", r);
				return false;
			}
			*at += n;
		}
	}
	return true;
}

static void reset(struct side *s, struct wire *w)
{
	atomic_store(s->client ? &s->l->client_fault : &s->l->server_fault, true);
	io_disconnect(&w->io);
}

/* Returns 0, or -errno of how the stream ended where it should not. */
static int read_last(struct side *s, uint64_t offset, uint64_t n)
{
	const struct tunnel *t = &s->p->tunnel;
	bool resets = s->client ? t->client_resets : t->server_resets;
	int r;

	(void)wire_stream(s->w, shift(s, s->client), offset, resets ? t->cut : n, t->pause_us, &r);
	if (!r && resets)
		reset(s, s->w);
	else if (!r)
		r = wire_end(s->w);
	return r;
}

/* The kernel says once that a connection was reset: to who reads or to who writes. */
static void judge(const struct side *s, int read, int written)
{
	const struct tunnel *t = &s->p->tunnel;
	bool other_resets = s->client ? t->server_resets : t->client_resets;
	bool told = read == -ECONNRESET || read == -EPIPE || written == -ECONNRESET ||
		    written == -EPIPE;

	if (other_resets && !told)
		failed(s, "a reset did not arrive", read);
	else if (read && !(other_resets && may_fail(s) && read != -EBADMSG && read != -ETIMEDOUT))
		failed(s, "read", read);
}

void tunnel_run(struct wire *w, const struct plan *p, struct live *l, bool client)
{
	struct side s = {w, p, l, client};
	const struct tunnel *t = &p->tunnel;
	struct writer writer = {.side = s, .bytes = client ? t->up_last : t->down_last};
	uint64_t up = 0, down = 0;
	pthread_t thread;
	int r;

	if (!rounds(&s, &up, &down) || io_twin(&w->io, &writer.io)) {
		io_close(&w->io, true);
		return;
	}
	writer.offset = client ? up : down;
	if (pthread_create(&thread, NULL, write_last, &writer)) {
		failed(&s, "no thread", -EAGAIN);
		return;
	}
	w->io.n_naps = 0;
	r = read_last(&s, client ? down : up, client ? t->down_last : t->up_last);
	pthread_join(thread, NULL);
	judge(&s, r, writer.result);
	if (w->io.broken)
		failed(&s, w->io.broken, -EPROTO);
	if (w->io.fd >= 0)
		io_close(&w->io, false);
	if (client)
		atomic_fetch_add(&stats[STAT_TUNNELS], 1);
}
