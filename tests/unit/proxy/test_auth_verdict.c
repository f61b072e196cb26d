/* SPDX-License-Identifier: Apache-2.0 */
/* What the verdict of an authorization service does to a request and its answer. */
#include <criterion/criterion.h>
#include <errno.h>
#include "base/alloc.h"
#include "http/ext_authz.h"
#include "proxy/state.h"

enum { BLOCK = 8192, STEP = 16 };

static struct sl_stream *stream_new(void)
{
	struct sl_stream *s = sl_new(struct sl_stream);

	cr_assert(s);
	s->arena = SL_ARENA_INIT(BLOCK);
	s->req.query = SL_STR("old=1&gone=2");
	cr_assert_eq(
		sl_headers_append(&s->req.headers, &s->arena, SL_STR("x-set"), SL_STR("before")),
		0);
	cr_assert_eq(sl_headers_append(&s->req.headers, &s->arena, SL_STR("x-gone"), SL_STR("y")),
		     0);
	return s;
}

static void stream_free(struct sl_stream *s)
{
	sl_arena_deinit(&s->arena);
	free(s);
}

static struct sl_authz_edit edits[] = {
	{&edits[1], SL_AUTHZ_ADD, SL_STR("x-add"), SL_STR("1")},
	{&edits[2], SL_AUTHZ_ADD_IF_ABSENT, SL_STR("x-absent"), SL_STR("2")},
	{&edits[3], SL_AUTHZ_ADD_IF_ABSENT, SL_STR("x-add"), SL_STR("not this")},
	{&edits[4], SL_AUTHZ_SET, SL_STR("x-set"), SL_STR("after")},
	{&edits[5], SL_AUTHZ_SET_IF_PRESENT, SL_STR("x-nowhere"), SL_STR("not this")},
	{NULL, SL_AUTHZ_SET, SL_STR("content-length"), SL_STR("7")},
};

static struct sl_header removed[] = {{.name = SL_STR("x-gone")}, {.name = SL_STR("host")}};
static struct sl_header query_set[] = {{.name = SL_STR("old"), .value = SL_STR("a b")}};
static struct sl_header query_removed[] = {{.name = SL_STR("gone")}};

static const struct sl_authz_verdict verdict = {
	.allowed = true,
	.edits = {&edits[0], &edits[5]},
	.of_answer = {&edits[0], &edits[5]},
	.removed = {removed, 2, 2},
	.query_set = {query_set, 1, 1},
	.query_removed = {query_removed, 1, 1},
};

static bool has(const struct sl_headers *h, const char *name, const char *value)
{
	const struct sl_header *line = sl_headers_find(h, sl_str_from(name));

	return value ? line && sl_str_eqc(line->value, value) : !line;
}

/* Only the service's edits, and of those none that says where a message ends. */
static void expect_edited(const struct sl_headers *h)
{
	cr_expect(has(h, "x-add", "1"));
	cr_expect(has(h, "x-absent", "2"));
	cr_expect(has(h, "x-set", "after"));
	cr_expect(has(h, "x-nowhere", NULL));
	cr_expect(has(h, "content-length", NULL));
}

Test(auth_verdict, the_request_becomes_what_the_service_says)
{
	struct sl_stream *s = stream_new();

	cr_assert_eq(sl_auth_allow(s, &verdict), 0);
	expect_edited(&s->req.headers);
	cr_expect(has(&s->req.headers, "x-gone", NULL));
	cr_expect(sl_str_eqc(s->req.query, "old=a%20b"), "%.*s", SL_STR_ARG(s->req.query));
	cr_assert_eq(sl_auth_edit_answer(s), 0);
	expect_edited(&s->res.headers);
	stream_free(s);
}

/* With a little more room in the arena each time. Returns how often there was not enough. */
static int fail_each(int (*fn)(struct sl_stream *s))
{
	int n_failed = 0, r = -ENOMEM;

	for (size_t room = 0; r; room += STEP) {
		struct sl_stream *s = stream_new();

		cr_assert_lt(s->arena.used_bytes + room, BLOCK);
		cr_assert(sl_arena_alloc(&s->arena, BLOCK - s->arena.used_bytes - room));
		sl_alloc_fail_after(0);
		r = fn(s);
		sl_alloc_fail_after(-1);
		cr_assert(!r || r == -ENOMEM, "%d", r);
		stream_free(s);
		n_failed += r != 0;
	}
	return n_failed;
}

static int allow(struct sl_stream *s)
{
	return sl_auth_allow(s, &verdict);
}

static int edit_answer(struct sl_stream *s)
{
	int r = sl_auth_allow(s, &verdict);

	return r ? r : sl_auth_edit_answer(s);
}

static int deny(struct sl_stream *s)
{
	struct sl_headers headers = {0};

	return sl_auth_fill_denial(s, &verdict, &headers);
}

Test(auth_verdict, without_memory_it_says_so_at_every_step)
{
	int n_allow = fail_each(allow);

	cr_assert_gt(n_allow, 5, "only %d", n_allow);
	cr_assert_gt(fail_each(edit_answer), n_allow);
	cr_assert_gt(fail_each(deny), 0);
}
