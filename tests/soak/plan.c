/* SPDX-License-Identifier: Apache-2.0 */
/* What a connection does, from the seed and its number. Nothing here depends on time. */
#include "soak.h"

struct options opts;

enum { TINY_PIECE_BODY = 3000, PIPED_BODY = 800, STEPS_USUAL = 10 };

uint64_t plan_shift(uint64_t id, unsigned step, bool down)
{
	struct rng r = rng_from(opts.seed, id, step * 2 + down + 1000);

	return rng_next(&r) % PATTERN_PRIME;
}

static unsigned piece(struct rng *r)
{
	static const unsigned tops[] = {16, 1400, 16384, 65536, 262144};

	return 1 + (unsigned)rng_below(r, tops[rng_below(r, 5)]);
}

static unsigned pause_us(struct rng *r)
{
	static const unsigned tops[] = {200, 3000, 40000};

	return rng_percent(r, 70) ? 0 : tops[rng_below(r, 3)];
}

/* A body in tiny pieces is a short one. */
static uint64_t body(struct rng *r, unsigned piece_max)
{
	uint64_t n = rng_size(r, opts.max_body);

	return piece_max < 64 && n > TINY_PIECE_BODY ? n % TINY_PIECE_BODY : n;
}

static void plan_request(struct rng *r, struct step *s)
{
	static const char *const with[] = {"POST", "PUT", "PATCH"};

	s->method = rng_percent(r, 15) ? "HEAD" : "GET";
	if (rng_percent(r, 50))
		return;
	s->method = with[rng_below(r, 3)];
	s->up = rng_percent(r, 60) ? LENGTH : CHUNKED;
	s->up_bytes = body(r, s->up_piece);
	s->expect = s->up_bytes && rng_percent(r, 10);
}

static void plan_answer(struct rng *r, struct step *s)
{
	bool head = s->method[0] == 'H';

	s->n_interim = rng_percent(r, 5) ? 1 + (unsigned)rng_below(r, 3) : 0;
	s->no_content = !head && rng_percent(r, 5);
	if (s->no_content)
		return;
	s->down_bytes = body(r, s->down_piece);
	s->down = rng_percent(r, 60) ? LENGTH : CHUNKED;
	s->server_closes = rng_percent(r, 5);
	if (s->server_closes && !head && rng_percent(r, 50))
		s->down = UNTIL_CLOSE;
}

static void plan_step(struct rng *r, struct step *s)
{
	*s = (struct step){0};
	s->up_piece = piece(r);
	s->down_piece = piece(r);
	s->client_pause_us = pause_us(r);
	s->server_pause_us = pause_us(r);
	plan_request(r, s);
	plan_answer(r, s);
	s->urgent = rng_percent(r, opts.urgent_percent);
}

/* The last step of some connections goes wrong. */
static void plan_fault(struct rng *r, struct step *s)
{
	s->fault = (enum fault)(1 + rng_below(r, SERVER_ANSWERS_EARLY));
	s->expect = s->no_content = s->urgent = s->piped = s->server_closes = false;
	s->method = "POST";
	s->up = rng_percent(r, 50) ? LENGTH : CHUNKED;
	s->up_bytes = 2 + body(r, s->up_piece);
	s->down = rng_percent(r, 50) ? LENGTH : CHUNKED;
	s->down_bytes = 2 + body(r, s->down_piece);
	switch (s->fault) {
	case CLIENT_RESETS_IN_REQUEST:
		s->cut = rng_below(r, s->up_bytes);
		break;
	case SERVER_ANSWERS_EARLY:
		s->cut = rng_below(r, s->up_bytes);
		s->down_bytes = rng_below(r, 2000);
		break;
	default:
		s->cut = rng_below(r, s->down_bytes);
	}
}

/* Several small requests in one go. */
static void plan_pipeline(struct rng *r, struct plan *p)
{
	unsigned from, n;

	if (p->n_steps < 4 || !rng_percent(r, 15))
		return;
	n = 2 + (unsigned)rng_below(r, p->n_steps < 12 ? p->n_steps - 2 : 10);
	from = (unsigned)rng_below(r, p->n_steps - n);
	for (unsigned i = from; i < from + n; i++) {
		struct step *s = &p->steps[i];

		s->piped = i > from; /* is sent together with the one in front */
		s->expect = s->urgent = false;
		s->up_bytes %= PIPED_BODY;
		s->down_bytes %= PIPED_BODY;
	}
}

static void plan_http(struct rng *r, struct plan *p)
{
	unsigned top = rng_percent(r, 20) ? MAX_STEPS : STEPS_USUAL;

	p->n_steps = 1 + (unsigned)rng_below(r, top < opts.max_steps ? top : opts.max_steps);
	for (unsigned i = 0; i < p->n_steps; i++)
		plan_step(r, &p->steps[i]);
	plan_pipeline(r, p);
	if (p->kind == KIND_HTTP && opts.faults && rng_percent(r, 25)) {
		plan_fault(r, &p->steps[p->n_steps - 1]);
		return;
	}
	p->ending = (enum ending)rng_below(r, END_LINGER + 1);
	p->steps[p->n_steps - 1].half_close =
		p->kind == KIND_HTTP && p->ending == END_HALF_CLOSE && rng_percent(r, 50);
}

static void plan_tunnel(struct rng *r, struct tunnel *t)
{
	t->piece = piece(r);
	t->pause_us = pause_us(r);
	t->n_rounds = (unsigned)rng_below(r, MAX_ROUNDS + 1);
	for (unsigned i = 0; i < t->n_rounds; i++) {
		t->up[i] = body(r, t->piece) % 100000;
		t->down[i] = body(r, t->piece) % 100000;
	}
	t->up_last = body(r, t->piece);
	t->down_last = body(r, t->piece);
	if (!opts.faults || !rng_percent(r, 25))
		return;
	t->client_resets = rng_percent(r, 50);
	t->server_resets = !t->client_resets;
	t->up_last += 300000;
	t->down_last += 300000;
	t->piece += 1000;
	t->cut = rng_below(r, 300000);
}

enum io_mode plan_mode(struct rng *r)
{
	enum io_mode m = IO_EPOLLET; /* what most servers do, and what a kernel can splice */

	while (rng_percent(r, 70) || opts.without[m]) {
		m = (enum io_mode)rng_below(r, IO_N_MODES);
		if (!opts.without[m])
			break;
	}
	return m;
}

bool plan_change(struct rng *r, enum io_mode *ret)
{
	enum io_mode m;

	if (!opts.change_modes || !rng_percent(r, 6))
		return false;
	m = plan_mode(r);
	if (opts.tame && (io_blocks(m) || m == IO_LOWAT || m == IO_MMSG || m == IO_SPLICE))
		return false;
	*ret = m;
	return true;
}

void plan_make(struct plan *p, uint64_t id)
{
	static const unsigned shares[] = {72, 80, 92, 100};
	struct rng r = rng_from(opts.seed, id, 0);
	uint64_t share = rng_below(&r, 100);
	unsigned k = 0;

	while (share >= shares[k])
		k++;
	*p = (struct plan){.id = id, .kind = opts.kind >= 0 ? (enum kind)opts.kind : (enum kind)k};
	p->v6 = rng_percent(&r, 30);
	p->client_mode = plan_mode(&r);
	if (opts.client_mode != IO_N_MODES)
		p->client_mode = opts.client_mode;
	if (p->kind == KIND_HTTP || p->kind == KIND_UPGRADE)
		plan_http(&r, p);
	if (p->kind != KIND_HTTP)
		plan_tunnel(&r, &p->tunnel);
}
