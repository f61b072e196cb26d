/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include "h2_pair.h"

static struct h2_end_stream *take_stream(struct h2_end *e)
{
	struct h2_end_stream *s;

	if (e->n_streams == H2_PAIR_STREAMS)
		return NULL;
	s = &e->streams[e->n_streams++];
	*s = (struct h2_end_stream){.arena = SL_ARENA_INIT(1024), .used = true};
	s->h2.arena = &s->arena;
	s->h2.req = &s->req;
	s->h2.trailers = &s->trailers;
	return s;
}

static struct sl_h2_stream *on_open(void *arg)
{
	struct h2_end *e = arg;
	struct h2_end_stream *s = e->refuses ? NULL : take_stream(e);

	return s ? &s->h2 : NULL;
}

static void on_news(void *arg, struct sl_h2_stream *st)
{
	((struct h2_end_stream *)st)->n_news++;
}

static bool is_tight(void *arg)
{
	return ((struct h2_end *)arg)->tight;
}

static const struct sl_h2_events events = {.open = on_open, .news = on_news, .tight = is_tight};

int h2_pair_init(struct h2_pair *p)
{
	int r;

	r = sl_h2_new(SL_H2_CLIENT, &p->limits, &events, &p->client, &p->client.session);
	if (!r)
		r = sl_h2_new(SL_H2_SERVER, &p->limits, &events, &p->server, &p->server.session);
	return r;
}

static void end_deinit(struct h2_end *e)
{
	/* Half of the streams go before their session, half behind it. */
	for (unsigned i = 0; i < e->n_streams; i += 2)
		sl_h2_stream_deinit(&e->streams[i].h2, SL_H2_CANCEL);
	e->session = sl_h2_free(e->session);
	for (unsigned i = 0; i < e->n_streams; i++) {
		sl_h2_stream_deinit(&e->streams[i].h2, SL_H2_CANCEL);
		sl_arena_deinit(&e->streams[i].arena);
	}
	sl_buf_deinit(&e->out);
	e->n_streams = 0;
}

void h2_pair_deinit(struct h2_pair *p)
{
	end_deinit(&p->client);
	end_deinit(&p->server);
}

static bool move(struct h2_pair *p, struct h2_end *from, struct h2_end *to)
{
	size_t n;
	int r;

	if (from->error != -ENOMEM && sl_h2_send(from->session, &from->out, SIZE_MAX))
		from->error = -ENOMEM;
	n = sl_buf_len(&from->out);
	if (!n)
		return false;
	r = sl_h2_recv(to->session, p->now_ns, sl_buf_ptr(&from->out), n);
	if (r && !to->error)
		to->error = r;
	sl_buf_consume(&from->out, n);
	return true;
}

void h2_pair_run(struct h2_pair *p)
{
	bool progress;

	do {
		progress = move(p, &p->client, &p->server);
		progress |= move(p, &p->server, &p->client);
	} while (progress);
}

struct h2_end_stream *h2_pair_stream(struct h2_pair *p)
{
	return take_stream(&p->client);
}

void h2_end_feed(struct h2_end *e, uint64_t now_ns, const uint8_t *p, size_t n, unsigned seed)
{
	size_t step = seed % 64 ? seed % 64 : n;

	for (size_t at = 0; at < n && !e->error; at += step) {
		e->error = sl_h2_recv(e->session, now_ns, (const char *)p + at,
				      n - at < step ? n - at : step);
		if (sl_h2_send(e->session, &e->out, SIZE_MAX))
			e->error = -ENOMEM;
		sl_buf_consume(&e->out, sl_buf_len(&e->out));
	}
}
