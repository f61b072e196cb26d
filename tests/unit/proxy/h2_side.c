/* SPDX-License-Identifier: Apache-2.0 */
#include "h2_side.h"

#include <errno.h>
#include <sys/socket.h>

static struct h2_call *take_call(struct h2_side *s)
{
	struct h2_call *c;

	if (s->n_calls == H2_SIDE_CALLS)
		return NULL;
	c = &s->calls[s->n_calls++];
	*c = (struct h2_call){.arena = SL_ARENA_INIT(1024)};
	c->h2.arena = &c->arena;
	c->h2.req = &c->req;
	c->h2.trailers = &c->trailers;
	return c;
}

static struct sl_h2_stream *on_open(void *arg)
{
	struct h2_call *c = take_call(arg);

	return c ? &c->h2 : NULL;
}

static void on_news(void *arg, struct sl_h2_stream *st)
{
}

static bool is_tight(void *arg)
{
	return false;
}

static const struct sl_h2_events events = {.open = on_open, .news = on_news, .tight = is_tight};

void h2_side_begin(struct h2_side *s, enum sl_h2_role role)
{
	cr_assert_eq(sl_h2_new(role, &s->limits, &events, s, &s->session), 0);
}

void h2_side_connect(struct rig *r, struct h2_side *s)
{
	rig_connect(r, &s->peer);
	h2_side_begin(s, SL_H2_CLIENT);
}

void h2_side_accept(struct rig *r, struct rig_backend *b, struct h2_side *s)
{
	rig_accept(r, b, &s->peer);
	h2_side_begin(s, SL_H2_SERVER);
}

void h2_side_deinit(struct h2_side *s)
{
	for (unsigned i = 0; i < s->n_calls; i++)
		sl_h2_stream_deinit(&s->calls[i].h2, SL_H2_CANCEL);
	s->session = sl_h2_free(s->session);
	for (unsigned i = 0; i < s->n_calls; i++)
		sl_arena_deinit(&s->calls[i].arena);
	s->n_calls = 0;
	sl_buf_deinit(&s->out);
	rig_close(&s->peer);
}

void h2_side_turn(struct h2_side *s)
{
	ssize_t n;

	if (!s->session || s->peer.fd < 0)
		return;
	if (!s->deaf)
		rig_peek(&s->peer);
	if (s->peer.n_got && !s->error)
		s->error = sl_h2_recv(s->session, sl_clock_now_ns(), s->peer.got, s->peer.n_got);
	s->peer.n_taken += s->peer.n_got;
	s->peer.n_got = 0;
	cr_assert_eq(sl_h2_send(s->session, &s->out, SIZE_MAX), 0);
	if (s->mute || !sl_buf_len(&s->out))
		return;
	n = send(s->peer.fd, sl_buf_ptr(&s->out), sl_buf_len(&s->out), MSG_NOSIGNAL);
	if (n > 0)
		sl_buf_consume(&s->out, (size_t)n);
}

void h2_round(struct rig *r, struct h2_side *const sides[])
{
	for (; *sides; sides++)
		h2_side_turn(*sides);
	rig_round(r);
}

void h2_settle(struct rig *r, struct h2_side *const sides[])
{
	for (unsigned i = 0; i < 12; i++)
		h2_round(r, sides);
}

struct h2_call *h2_prepare(struct h2_side *s, const char *method, const char *path)
{
	struct h2_call *c = take_call(s);

	cr_assert_not_null(c);
	c->req = (struct sl_request){.method = sl_method_from(sl_str_from(method)),
				     .method_text = sl_str_from(method),
				     .path = sl_str_from(path),
				     .target = sl_str_from(path),
				     .authority = SL_STR("cart")};
	return c;
}

void h2_ask(struct h2_side *s, struct h2_call *c)
{
	cr_assert_eq(sl_h2_request(s->session, &c->h2), 0);
}

struct h2_call *h2_get(struct h2_side *s, const char *path)
{
	struct h2_call *c = h2_prepare(s, "GET", path);

	h2_ask(s, c);
	return c;
}

void h2_answer(struct h2_call *c, const char *text)
{
	const struct sl_response res = {.status = 200,
					.body = SL_BODY_LENGTH,
					.has_length = true,
					.content_length = strlen(text)};

	cr_assert_eq(sl_h2_respond(&c->h2, &res, false), 0);
	cr_assert_eq(sl_h2_write_text(&c->h2, sl_str_from(text)), 0);
	cr_assert_eq(sl_h2_end(&c->h2, NULL), 0);
}

unsigned h2_status(struct h2_call *c)
{
	const struct sl_response *res = sl_h2_next_head(&c->h2);

	return res ? res->status : 0;
}

bool h2_has(const struct h2_call *c, const char *text)
{
	return sl_str_eqc(sl_buf_str(&c->h2.in), text);
}
