/* SPDX-License-Identifier: Apache-2.0 */
/* The HTTP/2 codec: a client's session and a server's, joined in memory. */
#include <criterion/criterion.h>
#include <errno.h>
#include "../../lib/leak.h"
#include "base/alloc.h"
#include "h2_pair.h"
#include "http/websocket.h"

static struct h2_pair p;
static struct h2_end_stream *ask, *got; /* the same stream at both ends */

static void set_up(void)
{
	p = (struct h2_pair){.limits = SL_H2_LIMITS_DEFAULT, .now_ns = 1};
	ask = got = NULL;
}

static void tear_down(void)
{
	h2_pair_deinit(&p);
	check_leaks();
}

TestSuite(h2, .init = set_up, .fini = tear_down);

static void add(struct h2_end_stream *s, struct sl_headers *h, const char *name, const char *value)
{
	cr_assert_eq(sl_headers_append(h, &s->arena, sl_str_from(name), sl_str_from(value)), 0);
}

/* A request that the test may still change before it is sent. */
static void prepare(const char *method, const char *path)
{
	if (!p.client.session)
		cr_assert_eq(h2_pair_init(&p), 0);
	ask = h2_pair_stream(&p);
	ask->req = (struct sl_request){.method = sl_method_from(sl_str_from(method)),
				       .method_text = sl_str_from(method),
				       .path = sl_str_from(path),
				       .target = sl_str_from(path),
				       .authority = SL_STR("cart")};
}

static void send_request(void)
{
	unsigned before = p.server.n_streams;

	cr_assert_eq(sl_h2_request(p.client.session, &ask->h2), 0);
	h2_pair_run(&p);
	cr_assert_eq(p.server.n_streams, before + 1);
	got = &p.server.streams[before];
}

static const char *value_of(const struct sl_headers *h, const char *name)
{
	static char text[200];
	const struct sl_header *it = sl_headers_find(h, sl_str_from(name));

	if (!it)
		return NULL;
	cr_assert_not(sl_headers_next(h, sl_str_from(name), it), "%s is there twice", name);
	(void)snprintf(text, sizeof(text), "%.*s", (int)it->value.len, it->value.ptr);
	return text;
}

#define assert_str(s, expected) \
	cr_assert(sl_str_eqc((s), (expected)), "%.*s", (int)(s).len, (s).ptr)

Test(h2, a_request_arrives_as_it_was_sent)
{
	prepare("GET", "/a/b");
	ask->req.query = SL_STR("c=d");
	ask->req.te_trailers = true;
	add(ask, &ask->req.headers, "Host", "cart");
	add(ask, &ask->req.headers, "X-Case", "Kept");
	add(ask, &ask->req.headers, "Keep-Alive", "of this hop");
	send_request();
	cr_assert(got->h2.head_in && got->h2.ended_in);
	cr_assert_eq(got->req.version, 20);
	cr_assert_eq(got->req.method, SL_METHOD_GET);
	assert_str(got->req.path, "/a/b");
	assert_str(got->req.query, "c=d");
	assert_str(got->req.target, "/a/b?c=d");
	assert_str(got->req.authority, "cart");
	cr_assert_eq(got->req.body, SL_BODY_NONE);
	cr_assert(got->req.te_trailers);
	cr_assert_str_eq(value_of(&got->req.headers, "host"), "cart");
	cr_assert_str_eq(value_of(&got->req.headers, "x-case"), "Kept");
	cr_assert_null(value_of(&got->req.headers, "keep-alive"));
	cr_assert_null(value_of(&got->req.headers, "te"));
}

Test(h2, cookie_crumbs_become_one_line)
{
	prepare("GET", "/");
	add(ask, &ask->req.headers, "cookie", "a=1");
	add(ask, &ask->req.headers, "x", "between");
	add(ask, &ask->req.headers, "Cookie", "b=2");
	add(ask, &ask->req.headers, "cookie", "c=3");
	send_request();
	cr_assert_str_eq(value_of(&got->req.headers, "cookie"), "a=1; b=2; c=3");
}

Test(h2, bodies_have_the_length_that_was_said)
{
	prepare("POST", "/");
	send_request();
	cr_assert_eq(got->req.body, SL_BODY_LENGTH, "an empty POST says so");
	cr_assert_eq(got->req.content_length, 0);
	prepare("POST", "/");
	ask->req.body = SL_BODY_LENGTH;
	ask->req.content_length = 5;
	send_request();
	cr_assert_eq(got->req.body, SL_BODY_LENGTH);
	cr_assert_eq(got->req.content_length, 5);
	cr_assert_not(got->h2.ended_in);
	cr_assert_eq(sl_h2_write_text(&ask->h2, SL_STR("hello")), 0);
	cr_assert_eq(sl_h2_end(&ask->h2, NULL), 0);
	h2_pair_run(&p);
	assert_str(sl_buf_str(&got->h2.in), "hello");
	cr_assert(got->h2.ended_in);
	prepare("PUT", "/");
	ask->req.body = SL_BODY_CHUNKED;
	send_request();
	cr_assert_eq(got->req.body, SL_BODY_CHUNKED);
}

Test(h2, a_body_of_another_length_ends_the_stream)
{
	prepare("POST", "/");
	ask->req.body = SL_BODY_LENGTH;
	ask->req.content_length = 5;
	send_request();
	cr_assert_eq(sl_h2_write_text(&ask->h2, SL_STR("more than that")), 0);
	h2_pair_run(&p);
	cr_assert(got->h2.closed && ask->h2.closed && ask->h2.reset_by_peer);
	cr_assert_eq(ask->h2.error, SL_H2_PROTOCOL_ERROR);
}

static void respond(uint16_t status, enum sl_body_kind body, uint64_t length)
{
	const struct sl_response res = {.status = status,
					.body = body,
					.has_length = body == SL_BODY_LENGTH,
					.content_length = length};

	cr_assert_eq(sl_h2_respond(&got->h2, &res, false), 0);
}

Test(h2, an_answer_with_all_its_parts)
{
	struct sl_headers trailers = {0};
	struct sl_response early = {.status = 103};
	const struct sl_response *res;

	prepare("GET", "/");
	send_request();
	add(got, &early.headers, "Link", "</style.css>");
	cr_assert_eq(sl_h2_interim(&got->h2, &early), 0);
	respond(200, SL_BODY_CHUNKED, 0);
	cr_assert_eq(sl_h2_write_text(&got->h2, SL_STR("hello")), 0);
	add(got, &trailers, "X-Sum", "42");
	add(got, &trailers, "Content-Length", "7"); /* RFC 9110 section 6.5.1 */
	cr_assert_eq(sl_h2_end(&got->h2, &trailers), 0);
	h2_pair_run(&p);
	res = sl_h2_next_head(&ask->h2);
	cr_assert_eq(res->status, 103);
	cr_assert_str_eq(value_of(&res->headers, "link"), "</style.css>");
	res = sl_h2_next_head(&ask->h2);
	cr_assert_eq(res->status, 200);
	cr_assert_eq(res->body, SL_BODY_CHUNKED);
	cr_assert_null(sl_h2_next_head(&ask->h2));
	assert_str(sl_buf_str(&ask->h2.in), "hello");
	cr_assert_str_eq(value_of(&ask->trailers, "x-sum"), "42");
	cr_assert_eq(ask->trailers.n, 1);
	cr_assert(ask->h2.closed && ask->h2.ended_in && !ask->h2.error);
	cr_assert(got->h2.closed && !got->h2.error);
}

Test(h2, answers_without_a_body)
{
	const struct sl_response head = {
		.status = 200, .body = SL_BODY_NONE, .has_length = true, .content_length = 99};
	const struct sl_response *res;

	prepare("HEAD", "/");
	send_request();
	cr_assert_eq(sl_h2_respond(&got->h2, &head, false), 0);
	h2_pair_run(&p);
	res = sl_h2_next_head(&ask->h2);
	cr_assert(res && res->body == SL_BODY_NONE && res->has_length);
	cr_assert_eq(res->content_length, 99);
	cr_assert(ask->h2.ended_in);
	for (int i = 0; i < 2; i++) {
		prepare("GET", "/");
		send_request();
		respond(i ? 304 : 204, SL_BODY_NONE, 0);
		h2_pair_run(&p);
		res = sl_h2_next_head(&ask->h2);
		cr_assert(res && res->body == SL_BODY_NONE && ask->h2.ended_in);
	}
}

Test(h2, an_answer_before_the_request_ended_stops_it)
{
	prepare("POST", "/");
	ask->req.body = SL_BODY_CHUNKED;
	send_request();
	respond(403, SL_BODY_LENGTH, 0);
	h2_pair_run(&p);
	cr_assert(sl_h2_next_head(&ask->h2));
	cr_assert(ask->h2.closed && ask->h2.ended_in && ask->h2.reset_by_peer);
	cr_assert_eq(ask->h2.error, SL_H2_NO_ERROR);
}

Test(h2, an_answer_to_a_whole_body_waits_for_the_end_of_the_request)
{
	prepare("POST", "/");
	ask->req.body = SL_BODY_LENGTH;
	ask->req.content_length = 5;
	send_request();
	cr_assert_eq(sl_h2_write_text(&ask->h2, SL_STR("whole")), 0);
	h2_pair_run(&p);
	respond(200, SL_BODY_LENGTH, 0);
	h2_pair_run(&p);
	cr_assert(ask->h2.ended_in && !ask->h2.closed && !got->h2.closed);
	cr_assert_eq(sl_h2_end(&ask->h2, NULL), 0);
	h2_pair_run(&p);
	cr_assert(ask->h2.closed && got->h2.closed && !ask->h2.reset_by_peer);
	cr_assert_eq(got->h2.error, SL_H2_NO_ERROR);
}

Test(h2, what_is_not_taken_is_not_sent)
{
	static char bytes[1 << 20];
	struct sl_str all = {bytes, sizeof(bytes)};
	struct h2_end_stream *stalled;

	prepare("POST", "/stalled");
	ask->req.body = SL_BODY_CHUNKED;
	send_request();
	cr_assert_eq(sl_h2_write_text(&ask->h2, all), 0);
	h2_pair_run(&p);
	stalled = got;
	cr_assert_eq(sl_buf_len(&stalled->h2.in), p.limits.window_bytes);
	cr_assert_eq(sl_h2_buffered_bytes(p.server.session), p.limits.window_bytes);
	cr_assert(sl_h2_full(&ask->h2));
	/* The other streams of the connection go on. */
	for (unsigned i = 0; i < 40; i++) {
		prepare("POST", "/");
		ask->req.body = SL_BODY_CHUNKED;
		send_request();
		all.len = p.limits.window_bytes;
		cr_assert_eq(sl_h2_write_text(&ask->h2, all), 0);
		h2_pair_run(&p);
		cr_assert_eq(sl_buf_len(&got->h2.in), all.len, "stream %u", i);
	}
	/* What is taken makes room for as much. */
	sl_buf_consume(&stalled->h2.in, p.limits.window_bytes);
	sl_h2_took(&stalled->h2, p.limits.window_bytes);
	h2_pair_run(&p);
	cr_assert_eq(sl_buf_len(&stalled->h2.in), p.limits.window_bytes);
}

Test(h2, when_memory_is_tight_the_connection_has_one_window)
{
	static char bytes[1 << 17];
	uint64_t sum;

	prepare("GET", "/");
	p.server.tight = true;
	for (unsigned i = 0; i < 40; i++) {
		prepare("POST", "/");
		ask->req.body = SL_BODY_CHUNKED;
		send_request();
		cr_assert_eq(sl_h2_write_text(&ask->h2, (struct sl_str){bytes, sizeof(bytes)}), 0);
		h2_pair_run(&p);
	}
	sum = sl_h2_buffered_bytes(p.server.session);
	cr_assert_leq(sum, 16ULL * p.limits.window_bytes);
	/* Taking gives it back, so that all come through in the end. */
	for (unsigned i = 0; i < p.server.n_streams; i++) {
		struct sl_h2_stream *st = &p.server.streams[i].h2;
		size_t n = sl_buf_len(&st->in);

		sl_buf_consume(&st->in, n);
		sl_h2_took(st, n);
	}
	h2_pair_run(&p);
	cr_assert_gt(sl_h2_buffered_bytes(p.server.session), sum / 2);
}

Test(h2, what_was_not_taken_shuts_the_connection_only_while_memory_is_tight)
{
	static char bytes[1 << 17];
	struct sl_str all = {bytes, sizeof(bytes)};
	uint64_t sum;

	p.server.tight = true;
	for (unsigned i = 0; i < 17; i++) {
		prepare("POST", "/");
		ask->req.body = SL_BODY_CHUNKED;
		send_request();
		cr_assert_eq(sl_h2_write_text(&ask->h2, all), 0);
		h2_pair_run(&p);
	}
	sum = sl_h2_buffered_bytes(p.server.session);
	cr_assert_eq(sl_buf_len(&got->h2.in), 0, "the others have the whole window");
	p.server.tight = false;
	sl_h2_pay(p.server.session);
	h2_pair_run(&p);
	cr_assert_eq(sl_buf_len(&got->h2.in), all.len);
	cr_assert_eq(sl_h2_buffered_bytes(p.server.session), sum + all.len);
	/* Nothing is given back twice. */
	sl_buf_consume(&got->h2.in, all.len);
	sl_h2_took(&got->h2, all.len);
	h2_pair_run(&p);
	cr_assert_eq(p.server.error, 0);
}

Test(h2, resets_reach_the_other_side)
{
	prepare("GET", "/");
	send_request();
	sl_h2_reset(&ask->h2, SL_H2_CANCEL);
	h2_pair_run(&p);
	cr_assert(got->h2.closed && got->h2.reset_by_peer);
	cr_assert_eq(got->h2.error, SL_H2_CANCEL);
	cr_assert(ask->h2.closed && !ask->h2.reset_by_peer);
	/* What is written now goes nowhere. */
	respond(200, SL_BODY_CHUNKED, 0);
	cr_assert_eq(sl_h2_write_text(&got->h2, SL_STR("late")), 0);
	cr_assert_eq(sl_h2_buffered_bytes(p.server.session), 0);
	prepare("GET", "/");
	p.server.refuses = true;
	cr_assert_eq(sl_h2_request(p.client.session, &ask->h2), 0);
	h2_pair_run(&p);
	cr_assert(ask->h2.closed);
	cr_assert_eq(ask->h2.error, SL_H2_REFUSED_STREAM);
}

Test(h2, a_stream_may_be_forgotten_at_any_time)
{
	static char bytes[1 << 18];

	prepare("POST", "/");
	ask->req.body = SL_BODY_CHUNKED;
	cr_assert_eq(sl_h2_request(p.client.session, &ask->h2), 0);
	sl_h2_stream_deinit(&ask->h2, SL_H2_CANCEL); /* never sent */
	h2_pair_run(&p);
	cr_assert_eq(p.server.n_streams, 0);
	prepare("POST", "/");
	ask->req.body = SL_BODY_CHUNKED;
	send_request();
	cr_assert_eq(sl_h2_write_text(&ask->h2, (struct sl_str){bytes, sizeof(bytes)}), 0);
	h2_pair_run(&p);
	sl_h2_stream_deinit(&ask->h2, SL_H2_CANCEL);
	sl_h2_stream_deinit(&got->h2, SL_H2_CANCEL);
	h2_pair_run(&p);
	cr_assert_eq(sl_h2_buffered_bytes(p.server.session), 0);
	cr_assert_eq(sl_h2_buffered_bytes(p.client.session), 0);
	cr_assert_eq(sl_h2_n_streams(p.client.session), 0);
	prepare("GET", "/");
	send_request(); /* the connection is as good as before */
}

Test(h2, the_server_says_how_many_streams_it_takes)
{
	p.limits.n_streams = 2;
	prepare("GET", "/");
	cr_assert_eq(sl_h2_room(p.client.session), 1, "nothing is known yet");
	send_request();
	cr_assert(sl_h2_settled(p.client.session));
	cr_assert(sl_h2_takes_protocols(p.client.session));
	cr_assert_eq(sl_h2_room(p.client.session), 1);
	prepare("GET", "/");
	send_request();
	cr_assert_eq(sl_h2_room(p.client.session), 0);
	respond(200, SL_BODY_LENGTH, 0);
	h2_pair_run(&p);
	cr_assert_eq(sl_h2_room(p.client.session), 1);
}

Test(h2, going_away_takes_two_steps)
{
	struct h2_end_stream *first;

	prepare("GET", "/1");
	send_request();
	first = got;
	sl_h2_go_away_soon(p.server.session);
	cr_assert_eq(sl_h2_ping(p.server.session), 0);
	/* This one is on its way while the news is. */
	prepare("GET", "/2");
	send_request();
	cr_assert(sl_h2_pings_answered(p.server.session));
	cr_assert(sl_h2_going_away(p.client.session));
	cr_assert_eq(sl_h2_room(p.client.session), 0);
	sl_h2_go_away(p.server.session);
	h2_pair_run(&p);
	cr_assert_not(first->h2.closed || got->h2.closed);
	respond(200, SL_BODY_LENGTH, 0);
	got = first;
	respond(200, SL_BODY_LENGTH, 0);
	h2_pair_run(&p);
	cr_assert(sl_h2_is_done(p.server.session));
}

Test(h2, what_a_goaway_leaves_out_was_refused)
{
	prepare("GET", "/");
	h2_pair_run(&p);
	sl_h2_terminate(p.server.session, SL_H2_NO_ERROR);
	cr_assert_eq(sl_h2_request(p.client.session, &ask->h2), 0);
	h2_pair_run(&p);
	cr_assert(ask->h2.closed);
	cr_assert_eq(ask->h2.error, SL_H2_REFUSED_STREAM);
}

Test(h2, a_websocket_is_an_extended_connect)
{
	const struct sl_response accepted = {.status = 101};
	const struct sl_response *res;

	prepare("GET", "/chat");
	ask->req.upgrade = SL_STR("websocket");
	add(ask, &ask->req.headers, "Sec-WebSocket-Key", "x");
	add(ask, &ask->req.headers, "Sec-WebSocket-Version", "13");
	send_request();
	assert_str(got->req.upgrade, "websocket");
	cr_assert_eq(got->req.method, SL_METHOD_GET, "routes see it as HTTP/1 says it");
	assert_str(got->req.path, "/chat");
	cr_assert_null(value_of(&got->req.headers, "sec-websocket-key"));
	cr_assert_str_eq(value_of(&got->req.headers, "sec-websocket-version"), "13");
	cr_assert_not(got->h2.ended_in);
	cr_assert_eq(sl_h2_respond(&got->h2, &accepted, true), 0);
	cr_assert_eq(sl_h2_write_text(&got->h2, SL_STR("down")), 0);
	cr_assert_eq(sl_h2_write_text(&ask->h2, SL_STR("up")), 0);
	h2_pair_run(&p);
	res = sl_h2_next_head(&ask->h2);
	cr_assert(res && res->status == 200);
	assert_str(sl_buf_str(&ask->h2.in), "down");
	assert_str(sl_buf_str(&got->h2.in), "up");
	cr_assert_eq(sl_h2_end(&ask->h2, NULL), 0);
	h2_pair_run(&p);
	cr_assert(got->h2.ended_in && !got->h2.closed, "half-closed");
}

/* RFC 9113 section 8.5. */
Test(h2, each_half_of_a_tunnel_ends_on_its_own)
{
	const struct sl_response accepted = {.status = 200};

	for (unsigned stop = 0; stop < 3; stop++) {
		prepare("CONNECT", "");
		ask->req.target = ask->req.authority = SL_STR("far:80");
		send_request();
		cr_assert_eq(sl_h2_respond(&got->h2, &accepted, true), 0);
		cr_assert_eq(sl_h2_write_text(&got->h2, SL_STR("down")), 0);
		cr_assert_eq(sl_h2_end(&got->h2, NULL), 0);
		if (stop == 1)
			sl_h2_stop(&got->h2); /* nobody takes what may still come */
		h2_pair_run(&p);
		cr_assert(ask->h2.ended_in);
		assert_str(sl_buf_str(&ask->h2.in), "down");
		cr_assert_eq(ask->h2.closed, stop == 1);
		if (stop == 2) {
			sl_h2_stop(&got->h2);
			h2_pair_run(&p);
		}
		cr_assert_eq(ask->h2.closed, stop > 0);
		cr_assert_eq(ask->h2.error, SL_H2_NO_ERROR);
	}
}

/* gRPC servers of some kinds send an empty frame before trailers, and others count those. */
Test(h2, trailers_need_no_frame_of_data_before_them)
{
	struct sl_headers trailers = {0};

	p.limits.empty_frames = 0;
	for (unsigned i = 0; i < 3; i++) {
		prepare("POST", "/");
		ask->req.body = SL_BODY_CHUNKED;
		send_request();
		h2_pair_run(&p);
		trailers = (struct sl_headers){0};
		add(ask, &trailers, "x-sum", "1");
		if (i)
			cr_assert_eq(sl_h2_write_text(&ask->h2, SL_STR("ask")), 0);
		if (i == 2)
			h2_pair_run(&p); /* the data has gone out */
		cr_assert_eq(sl_h2_end(&ask->h2, &trailers), 0);
		h2_pair_run(&p);
		cr_assert(got->h2.ended_in);
		cr_assert_str_eq(value_of(&got->trailers, "x-sum"), "1");
		respond(200, SL_BODY_CHUNKED, 0);
		h2_pair_run(&p);
		cr_assert_eq(sl_h2_end(&got->h2, &trailers), 0);
		h2_pair_run(&p);
		cr_assert(ask->h2.ended_in && ask->h2.closed && got->h2.closed);
		cr_assert_str_eq(value_of(&ask->trailers, "x-sum"), "1");
	}
	cr_assert_eq(p.client.error | p.server.error, 0);
	cr_assert_eq(sl_h2_abuse(p.client.session) | sl_h2_abuse(p.server.session), 0);
}

Test(h2, a_head_that_is_too_long_ends_its_stream_alone)
{
	static char large[5 << 20];

	memset(large, 'a', sizeof(large) - 1);
	prepare("GET", "/");
	add(ask, &ask->req.headers, "x", large);
	cr_assert_eq(sl_h2_request(p.client.session, &ask->h2), 0);
	h2_pair_run(&p);
	cr_assert(ask->h2.closed);
	cr_assert_eq(sl_h2_n_streams(p.client.session), 0);
	prepare("GET", "/");
	send_request();
}

Test(h2, what_cannot_be_sent_is_not)
{
	static const struct {
		const char *name, *value;
	} bad[] = {{"x", "a\r\nb: c"}, {"x y", "z"}, {"", "z"}, {"x", "\1"}};
	const struct sl_response res = {.status = 99};

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		prepare("GET", "/");
		add(ask, &ask->req.headers, bad[i].name, bad[i].value);
		cr_assert_eq(sl_h2_request(p.client.session, &ask->h2), -EINVAL, "%zu", i);
	}
	prepare("GET", "nopath");
	cr_assert_eq(sl_h2_request(p.client.session, &ask->h2), -EINVAL);
	prepare("GET", "/a b");
	cr_assert_eq(sl_h2_request(p.client.session, &ask->h2), -EINVAL);
	prepare("GE T", "/");
	cr_assert_eq(sl_h2_request(p.client.session, &ask->h2), -EINVAL);
	prepare("GET", "/");
	send_request();
	cr_assert_eq(sl_h2_respond(&got->h2, &res, false), -EINVAL);
}

Test(h2, heads_over_the_limits_are_told_so)
{
	static char large[5000];

	memset(large, 'x', sizeof(large) - 1);
	p.limits.head_bytes = 2000;
	p.limits.n_headers = 20;
	prepare("GET", "/");
	add(ask, &ask->req.headers, "x", large);
	send_request();
	cr_assert(got->h2.head_in && !got->h2.closed);
	cr_assert_eq(got->h2.fault.status, 431);
	cr_assert_eq(got->h2.fault.over, SL_H1_OVER_HEAD);
	prepare("GET", "/");
	for (int i = 0; i < 25; i++)
		add(ask, &ask->req.headers, "x", "y");
	send_request();
	cr_assert_eq(got->h2.fault.status, 431);
	cr_assert_eq(got->h2.fault.over, SL_H1_OVER_COUNT);
	cr_assert_eq(sl_h2_abuse(p.server.session), SL_H2_FLOOD_NONE);
	/* Far over it the connection ends. */
	prepare("GET", "/");
	add(ask, &ask->req.headers, "x", large);
	add(ask, &ask->req.headers, "y", large);
	cr_assert_eq(sl_h2_request(p.client.session, &ask->h2), 0);
	h2_pair_run(&p);
	cr_assert_eq(sl_h2_abuse(p.server.session), SL_H2_FLOOD_HEADER_BYTES);
	cr_assert_eq(p.server.error, SL_H2_OVER);
}

/* ---- frames as a hostile client writes them ---- */

static const uint8_t magic[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/* Static table of RFC 7541: GET, /, http; and :authority a. */
#define GET_BLOCK 0x82, 0x84, 0x86, 0x41, 1, 'a'

static void feed(const void *bytes, size_t n)
{
	h2_end_feed(&p.server, p.now_ns, bytes, n, 7);
}

static void frame(uint8_t type, uint8_t flags, uint32_t id, const void *payload, size_t n)
{
	const uint8_t head[] = {
		(uint8_t)(n >> 16),  (uint8_t)(n >> 8),	  (uint8_t)n,	      type,	  flags,
		(uint8_t)(id >> 24), (uint8_t)(id >> 16), (uint8_t)(id >> 8), (uint8_t)id};

	feed(head, sizeof(head));
	feed(payload, n);
}

enum { DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION };

static void greet(void)
{
	cr_assert_eq(h2_pair_init(&p), 0);
	feed(magic, sizeof(magic) - 1);
	frame(SETTINGS, 0, 0, "", 0);
}

static void open_stream(uint32_t id)
{
	const uint8_t block[] = {GET_BLOCK};

	frame(HEADERS, 4, id, block, sizeof(block));
}

static const uint8_t zeroes[8], one[4] = {0, 0, 0, 1};

static void flood_resets(uint32_t i)
{
	open_stream(2 * i + 1);
	frame(RST_STREAM, 0, 2 * i + 1, zeroes, 4);
}

static void flood_settings(uint32_t i)
{
	frame(SETTINGS, 0, 0, "", 0);
}

static void flood_pings(uint32_t i)
{
	frame(PING, 0, 0, zeroes, 8);
}

static void flood_empty(uint32_t i)
{
	if (!i)
		open_stream(1);
	frame(DATA, 0, 1, "", 0);
}

/* What nghttp2 throws away without a word. */
static void flood_closed(uint32_t i)
{
	if (!i) {
		open_stream(1);
		got = &p.server.streams[0];
		sl_h2_reset(&got->h2, SL_H2_CANCEL);
	}
	frame(DATA, 0, 1, "", 0);
}

static void flood_padding(uint32_t i)
{
	if (!i)
		open_stream(1);
	frame(DATA, 8, 1, "\4....", 5);
}

static void flood_windows(uint32_t i)
{
	frame(WINDOW, 0, 0, one, 4);
}

static void flood_priorities(uint32_t i)
{
	frame(PRIORITY, 0, 2 * i + 1, zeroes, 5);
}

static void flood_continuations(uint32_t i)
{
	const uint8_t block[] = {GET_BLOCK};

	if (!i)
		frame(HEADERS, 0, 1, block, sizeof(block));
	frame(CONTINUATION, 0, 1, "", 0);
}

/* Longer than it said (CVE-2025-8671): the server is made to reset it. */
static void flood_spoilt(uint32_t i)
{
	const uint8_t block[] = {GET_BLOCK, 0x5c, 1, '0'}; /* content-length: 0 */

	frame(HEADERS, 4, 2 * i + 1, block, sizeof(block));
	frame(DATA, 0, 2 * i + 1, "x", 1);
	frame(PING, 1, 0, zeroes, 8); /* it is looked at with what comes next */
}

static void flood_unknown(uint32_t i)
{
	frame(99, 0, 0, "what", 4);
}

static const struct {
	const char *name;
	void (*send)(uint32_t i);
	enum sl_h2_flood flood;
} floods[] = {
	{"resets", flood_resets, SL_H2_FLOOD_RESETS},
	{"spoilt requests", flood_spoilt, SL_H2_FLOOD_RESETS},
	{"settings", flood_settings, SL_H2_FLOOD_SETTINGS},
	{"pings", flood_pings, SL_H2_FLOOD_PINGS},
	{"empty data", flood_empty, SL_H2_FLOOD_EMPTY_FRAMES},
	{"empty data of closed streams", flood_closed, SL_H2_FLOOD_EMPTY_FRAMES},
	{"unknown frames", flood_unknown, SL_H2_FLOOD_EMPTY_FRAMES},
	{"padding alone", flood_padding, SL_H2_FLOOD_EMPTY_FRAMES},
	{"window updates", flood_windows, SL_H2_FLOOD_WINDOW_UPDATES},
	{"priorities", flood_priorities, SL_H2_FLOOD_PRIORITIES},
	{"continuations", flood_continuations, SL_H2_FLOOD_CONTINUATIONS},
};

static void few(void)
{
	p = (struct h2_pair){.limits = SL_H2_LIMITS_DEFAULT, .now_ns = 1};
	p.limits.resets = p.limits.pings = p.limits.empty_frames = p.limits.window_updates =
		p.limits.priorities = p.limits.continuations = 6;
	p.limits.settings = 7; /* the first is everybody's */
	greet();
}

Test(h2, floods_end_the_connection)
{
	for (size_t f = 0; f < sizeof(floods) / sizeof(*floods); f++) {
		few();
		for (uint32_t i = 0; i < 6; i++)
			floods[f].send(i);
		cr_assert_eq(p.server.error, 0, "%s: ended too early", floods[f].name);
		floods[f].send(6);
		cr_assert_eq(p.server.error, SL_H2_OVER, "%s: goes on", floods[f].name);
		cr_assert_eq(sl_h2_abuse(p.server.session), floods[f].flood, "%s", floods[f].name);
		cr_assert(sl_h2_is_done(p.server.session));
		h2_pair_deinit(&p);
	}
	few();
}

Test(h2, in_time_a_peer_may_send_more)
{
	for (size_t f = 0; f < sizeof(floods) / sizeof(*floods); f++) {
		if (floods[f].flood == SL_H2_FLOOD_CONTINUATIONS)
			continue; /* of one head */
		few();
		for (uint32_t i = 0; i < 18; i++) {
			if (i % 6 == 0)
				p.now_ns += SL_H2_FLOOD_PERIOD_NS;
			floods[f].send(i);
		}
		cr_assert_eq(p.server.error, 0, "%s: ended", floods[f].name);
		h2_pair_deinit(&p);
	}
	few();
}

Test(h2, streams_over_the_limit_are_refused_and_counted)
{
	p.limits.n_streams = 2;
	greet();
	for (uint32_t i = 0; i < 5; i++)
		open_stream(2 * i + 1);
	cr_assert_eq(p.server.n_streams, 2);
	cr_assert_eq(sl_h2_n_refused(p.server.session), 3);
	cr_assert_eq(p.server.error, 0);
}

Test(h2, malformed_requests_are_refused)
{
	static const struct {
		const char *what;
		uint8_t block[64];
		uint8_t n;
		uint16_t status; /* 0: the stream is reset */
	} cases[] = {
		{"host differs", {GET_BLOCK, 0, 4, 'h', 'o', 's', 't', 1, 'b'}, 14, 400},
		{"path without a slash", {0x82, 0x04, 1, 'x', 0x86, 0x41, 1, 'a'}, 8, 0},
		{"user information", {0x82, 0x84, 0x86, 0x41, 3, 'u', '@', 'a'}, 8, 400},
		{"no method", {0x84, 0x86, 0x41, 1, 'a'}, 5, 0},
		{"no authority", {0x82, 0x84, 0x86}, 3, 0},
		{"connection field",
		 {GET_BLOCK, 0, 10, 'c', 'o', 'n', 'n', 'e', 'c', 't', 'i', 'o', 'n', 1, 'x'},
		 20,
		 0},
		{"upper case", {GET_BLOCK, 0, 1, 'X', 1, 'y'}, 11, 0},
		{"line end in a value", {GET_BLOCK, 0, 1, 'x', 3, 'a', '\n', 'b'}, 13, 0},
		{"te", {GET_BLOCK, 0, 2, 't', 'e', 4, 'g', 'z', 'i', 'p'}, 15, 0},
	};

	greet();
	for (uint32_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct h2_end_stream *s;

		frame(HEADERS, 5, 2 * i + 1, cases[i].block, cases[i].n);
		cr_assert_eq(p.server.error, 0, "%s: the connection ended", cases[i].what);
		cr_assert_eq(p.server.n_streams, i + 1);
		s = &p.server.streams[i];
		cr_assert_eq(s->h2.fault.status, cases[i].status, "%s", cases[i].what);
		cr_assert_eq(s->h2.closed, !cases[i].status, "%s", cases[i].what);
	}
}

Test(h2, an_upgrade_begins_with_the_request)
{
	struct h2_end_stream *s;

	cr_assert_eq(h2_pair_init(&p), 0);
	s = &p.server.streams[p.server.n_streams++];
	*s = (struct h2_end_stream){.arena = SL_ARENA_INIT(1024)};
	s->h2.arena = &s->arena;
	s->h2.req = &s->req;
	s->h2.trailers = &s->trailers;
	s->req.method = SL_METHOD_GET;
	cr_assert_eq(sl_h2_upgrade(p.server.session, &s->h2, SL_STR("not base64!")), -EINVAL);
	cr_assert_eq(sl_h2_upgrade(p.server.session, &s->h2, SL_STR("AAMAAABk")), 0);
	cr_assert(s->h2.head_in && s->h2.ended_in);
	feed(magic, sizeof(magic) - 1);
	frame(SETTINGS, 0, 0, "", 0);
	got = s;
	respond(200, SL_BODY_LENGTH, 0);
	open_stream(3);
	cr_assert_eq(p.server.error, 0);
	cr_assert(s->h2.closed && !s->h2.error);
}

/* ---- memory ---- */

static void exchange(void)
{
	struct sl_headers trailers = {0};

	if (h2_pair_init(&p))
		return;
	ask = h2_pair_stream(&p);
	ask->req = (struct sl_request){.method = SL_METHOD_POST,
				       .method_text = SL_STR("POST"),
				       .path = SL_STR("/"),
				       .query = SL_STR("q"),
				       .authority = SL_STR("cart"),
				       .body = SL_BODY_CHUNKED};
	(void)sl_headers_append(&ask->req.headers, &ask->arena, SL_STR("cookie"), SL_STR("a"));
	(void)sl_headers_append(&ask->req.headers, &ask->arena, SL_STR("cookie"), SL_STR("b"));
	(void)sl_headers_append(&trailers, &ask->arena, SL_STR("x"), SL_STR("y"));
	if (sl_h2_request(p.client.session, &ask->h2))
		return;
	(void)sl_h2_write_text(&ask->h2, SL_STR("body"));
	(void)sl_h2_end(&ask->h2, &trailers);
	h2_pair_run(&p);
	if (!p.server.n_streams || !p.server.streams[0].h2.head_in)
		return;
	got = &p.server.streams[0];
	(void)sl_h2_interim(&got->h2, &(struct sl_response){.status = 100});
	(void)sl_h2_respond(&got->h2, &(struct sl_response){.status = 200, .body = SL_BODY_CHUNKED},
			    false);
	(void)sl_h2_write_text(&got->h2, SL_STR("body"));
	(void)sl_h2_end(&got->h2, &trailers);
	h2_pair_run(&p);
	(void)sl_h2_ping(p.server.session);
	sl_h2_go_away_soon(p.server.session);
	h2_pair_run(&p);
	sl_h2_go_away(p.server.session);
	h2_pair_run(&p);
}

Test(h2, each_allocation_may_fail)
{
	size_t n;

	(void)sl_alloc_fail_after(-1);
	exchange();
	n = sl_alloc_fail_after(-1);
	cr_assert(ask->h2.ended_in && !ask->h2.error);
	h2_pair_deinit(&p);
	cr_assert_gt(n, 20);
	for (size_t i = 0; i < n; i++) {
		p = (struct h2_pair){.limits = SL_H2_LIMITS_DEFAULT, .now_ns = 1};
		(void)sl_alloc_fail_after((long)i);
		exchange();
		(void)sl_alloc_fail_after(-1);
		h2_pair_deinit(&p);
	}
	few();
}

Test(h2, websocket_handshakes)
{
	/* RFC 6455 section 1.3. */
	static const uint8_t nonce[] = "the sample nonce";
	char key[SL_WEBSOCKET_KEY_TEXT], accept[SL_WEBSOCKET_ACCEPT_TEXT];
	static const char long_key[SL_WEBSOCKET_KEY_MAX + 1];

	sl_websocket_key(nonce, key);
	cr_assert_str_eq(key, "dGhlIHNhbXBsZSBub25jZQ==");
	cr_assert_eq(sl_websocket_accept(sl_str_from(key), accept), 0);
	cr_assert_str_eq(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
	cr_assert_eq(sl_websocket_accept((struct sl_str){long_key, sizeof(long_key)}, accept),
		     -EINVAL);
	few();
}
