/* SPDX-License-Identifier: Apache-2.0 */
/* What is said in a handover arrives as it was said, also to a process of another version, also in
 * pieces; descriptors stay with their frame. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/alloc.h"
#include "base/clock.h"
#include "core/handover_channel.h"

static struct sl_handed tunnel(void)
{
	struct sl_handed h = {
		.kind = SL_HANDED_TUNNEL,
		.id = 1ULL << 63 | 5,
		.source = 4711,
		.cgroup_id = UINT64_MAX,
		.accepted_ns = 1,
		.deadline_ns = 2,
		.n_requests = 3,
		.head_begun = true,
		.tunnel_up_bytes = 4,
		.tunnel_down_bytes = 5,
		.down = {.fd = 10,
			 .in = SL_STR("a\0b"),
			 .out = SL_STR("out"),
			 .n_received = 6,
			 .n_sent = 7,
			 .eof = true},
		.up = {.fd = 11, .in = SL_STR("in"), .n_received = 8, .shut = true},
		.request = {.version = 11,
			    .status = 101,
			    .n_tries = 2,
			    .started_ns = 9,
			    .first_byte_ns = 10,
			    .req_bytes = 11,
			    .res_bytes = 12,
			    .method = SL_STR("GET"),
			    .authority = SL_STR("cart"),
			    .path = SL_STR("/chat"),
			    .user_agent = SL_STR("test"),
			    .route = SL_STR("HTTPRoute/shop/r"),
			    .rule = SL_STR("0"),
			    .backend = SL_STR("shop/v1:80")},
	};

	(void)sl_addr_parse(SL_STR("10.0.0.1:80"), &h.peer);
	(void)sl_addr_parse(SL_STR("[fd00::1]:443"), &h.original);
	(void)sl_addr_parse(SL_STR("10.0.0.2:8080"), &h.endpoint);
	(void)sl_addr_parse(SL_STR("10.0.0.3:8080"), &h.request.endpoint);
	return h;
}

#define SAME(a, b, member)   cr_assert_eq((a)->member, (b)->member, #member)
#define SAME_S(a, b, member) cr_assert(sl_str_eq((a)->member, (b)->member), #member)
#define SAME_A(a, b, member) cr_assert(sl_addr_eq(&(a)->member, &(b)->member), #member)

static void expect_same(const struct sl_handed *a, const struct sl_handed *b)
{
	SAME(a, b, kind);
	SAME(a, b, id);
	SAME(a, b, source);
	SAME(a, b, cgroup_id);
	SAME(a, b, accepted_ns);
	SAME(a, b, deadline_ns);
	SAME(a, b, n_requests);
	SAME(a, b, head_begun);
	SAME(a, b, tunnel_up_bytes);
	SAME(a, b, tunnel_down_bytes);
	SAME(a, b, served);
	SAME_A(a, b, peer);
	SAME_A(a, b, original);
	SAME_A(a, b, endpoint);
	SAME(a, b, down.fd);
	SAME_S(a, b, down.in);
	SAME_S(a, b, down.out);
	SAME(a, b, down.n_received);
	SAME(a, b, down.n_sent);
	SAME(a, b, down.eof);
	SAME(a, b, down.shut);
	SAME(a, b, up.fd);
	SAME_S(a, b, up.in);
	SAME_S(a, b, up.out);
	SAME(a, b, up.n_received);
	SAME(a, b, up.n_sent);
	SAME(a, b, up.eof);
	SAME(a, b, up.shut);
	SAME(a, b, request.version);
	SAME(a, b, request.status);
	SAME(a, b, request.n_tries);
	SAME(a, b, request.started_ns);
	SAME(a, b, request.first_byte_ns);
	SAME(a, b, request.req_bytes);
	SAME(a, b, request.res_bytes);
	SAME_A(a, b, request.endpoint);
	SAME_S(a, b, request.method);
	SAME_S(a, b, request.authority);
	SAME_S(a, b, request.path);
	SAME_S(a, b, request.user_agent);
	SAME_S(a, b, request.route);
	SAME_S(a, b, request.rule);
	SAME_S(a, b, request.backend);
}

Test(handover_wire, a_connection_arrives_as_it_went)
{
	struct sl_handed sent = tunnel(), got;
	struct sl_wire_out o = {0};
	struct sl_wire_frame f;
	int fds[2];

	cr_assert_eq(sl_wire_handed_fds(&sent, fds), 2);
	sl_wire_put_handed(&o, &sent);
	cr_assert_eq(o.error, 0);
	cr_assert_eq(sl_wire_parse(sl_buf_str(&o.buf), &f), (ssize_t)sl_buf_len(&o.buf));
	cr_assert_eq(f.type, SL_WIRE_HANDED);
	cr_assert_eq(sl_wire_get_handed(&f, fds, &got), 0);
	expect_same(&sent, &got);
	/* Each shorter piece waits for more. */
	for (size_t n = 0; n < sl_buf_len(&o.buf); n++)
		cr_assert_eq(sl_wire_parse((struct sl_str){sl_buf_ptr(&o.buf), n}, &f), 0);
	sl_buf_deinit(&o.buf);
}

Test(handover_wire, descriptors_are_those_of_the_kind)
{
	static const struct {
		enum sl_handed_kind kind;
		int down, up;
	} kinds[] = {{SL_HANDED_DETECT, 10, -1},
		     {SL_HANDED_HTTP1, 10, -1},
		     {SL_HANDED_TUNNEL, 10, 11},
		     {SL_HANDED_POOLED, -1, 11}};

	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
		struct sl_handed h = {
			.kind = kinds[i].kind, .down.fd = kinds[i].down, .up.fd = kinds[i].up};
		struct sl_handed got;
		struct sl_wire_out o = {0};
		struct sl_wire_frame f;
		int fds[2] = {-1, -1};

		(void)sl_wire_handed_fds(&h, fds);
		sl_wire_put_handed(&o, &h);
		cr_assert_gt(sl_wire_parse(sl_buf_str(&o.buf), &f), 0);
		cr_assert_eq(sl_wire_get_handed(&f, fds, &got), 0);
		expect_same(&h, &got);
		f.n_fds++;
		cr_assert_eq(sl_wire_get_handed(&f, fds, &got), -EBADMSG, "kind %zu", i);
		sl_buf_deinit(&o.buf);
	}
}

static struct sl_wire_frame frame_of(const char *body, size_t n)
{
	return (struct sl_wire_frame){.body = {body, n}};
}
#define FRAME(text) frame_of(text, sizeof(text) - 1)

Test(handover_wire, other_versions_are_understood)
{
	/* A field that nobody knows, a narrow number, and a wide one. */
	struct sl_wire_frame f = FRAME("\x84\x03\x03\0\0\0new"
				       "\x01\0\x01\0\0\0\x07"
				       "\x03\0\x08\0\0\0\x02\0\0\0\0\0\0\0");
	struct sl_wire_hello m;

	cr_assert_eq(sl_wire_get_hello(&f, &m), 0);
	cr_assert_eq(m.version, 7);
	cr_assert_eq(m.abi, 2);
	cr_assert_eq(m.min_version, 0);
	cr_assert_eq(m.software.len, 0);
}

Test(handover_wire, what_is_malformed_is_refused)
{
	const struct sl_wire_frame bad[] = {
		FRAME("\x01\0\x01\0\0"),		     /* cut in a header */
		FRAME("\x01\0\x02\0\0\0\x07"),		     /* longer than there is */
		FRAME("\x01\0\xff\xff\xff\xff\x07"),	     /* much longer */
		FRAME("\x01\0\x05\0\0\0\0\0\0\0\x01"),	     /* a number that does not fit */
		FRAME("\x01\0\x09\0\0\0\1\0\0\0\0\0\0\0\0"), /* nor this */
	};
	struct sl_wire_accepted a;
	struct sl_wire_hello m;
	struct sl_wire_frame f;

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		cr_assert_eq(sl_wire_get_hello(&bad[i], &m), -EBADMSG, "case %zu", i);
	f = FRAME("\x02\0\x11\0\0\0aaaaaaaaaaaaaaaaa"); /* an address of 17 bytes */
	f.n_fds = 1;
	cr_assert_eq(sl_wire_get_accepted(&f, &a), -EBADMSG);
	cr_assert_eq(sl_wire_parse(SL_STR("\xff\xff\xff\xff\1\0\0\0"), &f), -EBADMSG);
	cr_assert_eq(sl_wire_parse(SL_STR("\0\0\0\0\1\0\x21\0"), &f), -EBADMSG);
}

Test(handover_wire, without_memory_nothing_half_is_sent)
{
	const struct sl_handed h = tunnel();
	struct sl_wire_out o = {0};

	(void)sl_alloc_fail_after(0);
	sl_wire_put_handed(&o, &h);
	(void)sl_alloc_fail_after(-1);
	cr_assert_eq(o.error, -ENOMEM);
	sl_buf_deinit(&o.buf);
}

/* ---- the channel ---- */

static struct sl_channel *a, *b;

static void open_channels(void)
{
	int pair[2];

	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
	cr_assert_eq(sl_channel_new(pair[0], &a), 0);
	cr_assert_eq(sl_channel_new(pair[1], &b), 0);
}

static void close_channels(void)
{
	sl_channel_free(a);
	sl_channel_free(b);
}

TestSuite(handover_channel, .init = open_channels, .fini = close_channels);

static ino_t inode(int fd)
{
	struct stat st;

	cr_assert_eq(fstat(fd, &st), 0);
	return st.st_ino;
}

static void send_with_fds(uint64_t id, unsigned n_fds, ino_t *ret_inodes)
{
	struct sl_wire_source m = {.cookie = id};
	struct sl_wire_out o = {0};
	int fds[SL_WIRE_MAX_FDS];

	for (unsigned i = 0; i < n_fds; i++) {
		fds[i] = socket(AF_INET, SOCK_STREAM, 0);
		ret_inodes[i] = inode(fds[i]);
	}
	sl_wire_put_source(&o, &m, n_fds);
	cr_assert_eq(sl_channel_send(a, &o, fds, n_fds), 0);
}

Test(handover_channel, descriptors_stay_with_their_frame)
{
	static const unsigned n_fds[] = {1, 0, 2, 32, 0, 0, 3, 31, 32, 32, 32, 1};
	enum { N = sizeof(n_fds) / sizeof(*n_fds) };
	ino_t inodes[N][SL_WIRE_MAX_FDS];
	struct sl_received r;
	struct sl_wire_source m;

	for (unsigned i = 0; i < N; i++)
		send_with_fds(i + 1, n_fds[i], inodes[i]);
	for (unsigned i = 0; i < N; i++) {
		cr_assert_eq(sl_channel_next(b, &r), 1);
		cr_assert_eq(sl_wire_get_source(&r.frame, &m), 0);
		cr_assert_eq(m.cookie, i + 1);
		cr_assert_eq(r.frame.n_fds, n_fds[i]);
		for (unsigned k = 0; k < n_fds[i]; k++)
			cr_assert_eq(inode(r.fds[k]), inodes[i][k], "frame %u", i);
		sl_received_close(&r);
		sl_channel_done(b);
	}
	cr_assert_eq(sl_channel_next(b, &r), 0);
}

Test(handover_channel, what_does_not_fit_is_sent_later)
{
	enum { BYTES = 3 << 20 };
	char *bytes = malloc(BYTES);
	struct sl_handed h = {.kind = SL_HANDED_HTTP1, .down = {.fd = 0}}, got;
	struct sl_received r;
	int fd = dup(0), n = 0;

	for (int i = 0; i < BYTES; i++)
		bytes[i] = (char)(i * 7 % 251);
	h.down.in = (struct sl_str){bytes, BYTES};
	for (int i = 0; i < 3; i++) {
		struct sl_wire_out o = {0};
		int mine = dup(fd);

		sl_wire_put_handed(&o, &h);
		cr_assert_eq(sl_channel_send(a, &o, &mine, 1), 0);
	}
	cr_assert_not(sl_channel_is_flushed(a));
	cr_assert_eq(sl_channel_wait_flushed(a, SL_NS_PER_MS), -ETIMEDOUT);
	while (n < 3) {
		int got_one = sl_channel_next(b, &r);

		if (!got_one) {
			(void)sl_channel_wait_flushed(a, SL_NS_PER_MS);
			continue;
		}
		cr_assert_eq(got_one, 1);
		cr_assert_eq(sl_wire_get_handed(&r.frame, r.fds, &got), 0);
		cr_assert(sl_str_eq(got.down.in, h.down.in));
		sl_received_close(&r);
		sl_channel_done(b);
		n++;
	}
	cr_assert(sl_channel_is_flushed(a));
	(void)close(fd);
	free(bytes);
}

Test(handover_channel, the_end_comes_behind_the_last_frame)
{
	struct sl_received r;
	ino_t none;

	send_with_fds(1, 0, &none);
	a = sl_channel_free(a);
	cr_assert_eq(sl_channel_next(b, &r), 1);
	sl_channel_done(b);
	cr_assert_eq(sl_channel_next(b, &r), -EPIPE);
	cr_assert_eq(sl_channel_next(b, &r), -EPIPE);
}

Test(handover_channel, waiting_ends)
{
	ino_t none;

	cr_assert_eq(sl_channel_wait(b, SL_NS_PER_MS), -ETIMEDOUT);
	send_with_fds(1, 0, &none);
	cr_assert_eq(sl_channel_wait(b, SL_NS_PER_S), 0);
}

Test(handover_channel, fewer_descriptors_than_said)
{
	static const char frame[] = "\0\0\0\0\x07\0\x01\0";
	struct sl_received r;
	int pair[2];

	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
	b = sl_channel_free(b);
	cr_assert_eq(sl_channel_new(pair[1], &b), 0);
	cr_assert_eq(write(pair[0], frame, sizeof(frame) - 1), (ssize_t)sizeof(frame) - 1);
	cr_assert_eq(sl_channel_next(b, &r), -EBADMSG);
	(void)close(pair[0]);
}

static unsigned n_open(void)
{
	unsigned n = 0;

	for (int fd = 0; fd < 1024; fd++)
		n += fcntl(fd, F_GETFD) != -1;
	return n;
}

Test(handover_channel, what_was_not_taken_is_closed)
{
	unsigned before = n_open();
	struct sl_received r;
	ino_t inodes[3];

	send_with_fds(1, 3, inodes);
	send_with_fds(2, 2, inodes);
	cr_assert_eq(sl_channel_next(b, &r), 1);
	sl_received_close(&r);
	sl_channel_done(b);
	a = sl_channel_free(a);
	b = sl_channel_free(b);
	cr_assert_eq(n_open(), before - 2);
}
