/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames from a hostile client (first byte even) or server. The rest of the first byte says how
 * they are split. What was understood is answered as the proxy would.
 */
#include "fuzz.h"
#include "h2_pair.h"

static const uint8_t magic[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
static const uint8_t settings[9] = {0, 0, 0, 4};

static const char *check(struct h2_pair *p, struct h2_end *e)
{
	uint64_t queued = 0;

	for (unsigned i = 0; i < e->n_streams; i++) {
		const struct h2_end_stream *s = &e->streams[i];

		queued += sl_buf_len(&s->h2.in) + sl_buf_len(&s->h2.out);
		if (sl_buf_len(&s->h2.in) > p->limits.window_bytes)
			return "more than a window waits in a stream's queue";
		if (e == &p->server && s->h2.head_in && !s->h2.fault.status &&
		    (!s->req.method_text.len || s->req.version != 20))
			return "a request without a method";
		if (e == &p->server && s->h2.head_in && !s->h2.fault.status &&
		    s->req.method != SL_METHOD_CONNECT && s->req.path.len &&
		    s->req.path.ptr[0] != '/' && s->req.path.ptr[0] != '*')
			return "a path that is none";
	}
	return queued == sl_h2_buffered_bytes(e->session) ? NULL : "bytes are counted wrongly";
}

static void answer(struct h2_end *e)
{
	const struct sl_response res = {.status = 200, .body = SL_BODY_CHUNKED};

	for (unsigned i = 0; i < e->n_streams; i++) {
		struct sl_h2_stream *st = &e->streams[i].h2;
		size_t n = sl_buf_len(&st->in);

		sl_buf_consume(&st->in, n);
		sl_h2_took(st, n);
		if (!st->head_in || st->ended_out)
			continue;
		(void)sl_h2_respond(st, &res, false);
		(void)sl_h2_write_text(st, SL_STR("hello"));
		(void)sl_h2_end(st, &e->streams[i].trailers);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct h2_pair p; /* large */
	struct h2_end *e;
	const char *fault;

	if (!size)
		return 0;
	p = (struct h2_pair){.limits = SL_H2_LIMITS_DEFAULT};
	e = data[0] & 1 ? &p.client : &p.server;
	if (h2_pair_init(&p)) {
		h2_pair_deinit(&p);
		return 0;
	}
	if (e == &p.server) {
		h2_end_feed(e, 1, magic, sizeof(magic) - 1, 0);
		h2_end_feed(e, 1, settings, sizeof(settings), 0);
	} else {
		for (int i = 0; i < 3; i++) {
			struct h2_end_stream *s = h2_pair_stream(&p);

			s->req = (struct sl_request){.method = SL_METHOD_GET,
						     .method_text = SL_STR("GET"),
						     .path = SL_STR("/"),
						     .authority = SL_STR("a")};
			(void)sl_h2_request(e->session, &s->h2);
		}
	}
	h2_end_feed(e, 1, data + 1, size - 1, data[0] >> 1);
	fault = check(&p, e);
	if (e == &p.server)
		answer(e);
	h2_end_feed(e, 2, data + 1, size - 1, 0);
	if (!fault)
		fault = check(&p, e);
	h2_pair_deinit(&p);
	fuzz_verdict(fault);
	return 0;
}
