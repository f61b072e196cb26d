/* SPDX-License-Identifier: Apache-2.0 */
/* Answers that are given later. */
#include <criterion/criterion.h>
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>
#include "admin/server.h"
#include "base/alloc.h"
#include "base/clock.h"
#include "peer.h"
#include "../../lib/leak.h"

enum { MAX_LATER = 4 };

static char dir[] = "/tmp/sl-later-XXXXXX", path[80];
static struct sl_loop *loop;
static struct sl_admin *admin;
static struct sl_admin_later *laters[MAX_LATER + 1];
static uint32_t n_laters;

static void setup(void)
{
	cr_assert_not_null(mkdtemp(dir));
	(void)snprintf(path, sizeof(path), "%s/admin.sock", dir);
	cr_assert_eq(sl_loop_new(&loop), 0);
}

static void teardown(void)
{
	sl_admin_close(admin);
	sl_loop_free(loop);
	cr_assert_eq(rmdir(dir), 0, "something was left in the folder");
}

TestSuite(later, .init = setup, .fini = teardown);

static int slow(void *arg, const json_t *request, json_t **ret)
{
	int r = sl_admin_defer(admin, &laters[n_laters], ret);

	if (r)
		return r;
	n_laters++;
	return SL_ADMIN_LATER;
}

static void start(uint64_t timeout_ns)
{
	struct sl_admin_opts opts = {
		.path = path, .max_later = MAX_LATER, .timeout_ns = timeout_ns};

	cr_assert_eq(sl_admin_open(loop, &opts, &admin), 0);
	cr_assert_eq(sl_admin_register(admin, "slow", slow, NULL), 0);
}

static void ask(struct peer *p)
{
	uint32_t before = n_laters;

	peer_connect_unix(p, path);
	peer_send(p, "{\"command\":\"slow\"}\n", 19);
	while (n_laters == before && !p->closed)
		peer_step(p, loop);
}

static void give(uint32_t i, const char *text)
{
	struct sl_buf out = SL_BUF_INIT(0);

	cr_assert_eq(sl_buf_append(&out, text, strlen(text)), 0);
	sl_admin_answer(laters[i], &out);
	cr_assert_eq(sl_buf_len(&out), 0, "the text is taken");
}

Test(later, others_are_served_while_one_waits)
{
	struct peer slow_one, quick;

	start(0);
	ask(&slow_one);
	peer_connect_unix(&quick, path);
	peer_send(&quick, "{\"command\":\"version\"}\n", 22);
	peer_finish(&quick, loop);
	cr_assert_str_eq(sl_buf_ptr(&quick.got), "{\"version\":\"" SL_VERSION "\"}\n");
	cr_assert_not(slow_one.closed);
	give(0, "{\"x\":1}");
	peer_finish(&slow_one, loop);
	cr_assert_str_eq(sl_buf_ptr(&slow_one.got), "{\"x\":1}\n");
	peer_close(&slow_one);
	peer_close(&quick);
}

Test(later, an_error_can_be_the_answer)
{
	struct peer p;

	start(0);
	ask(&p);
	sl_admin_answer_error(laters[0], "no \"luck\"");
	peer_finish(&p, loop);
	cr_assert_str_eq(sl_buf_ptr(&p.got), "{\"error\":{\"message\":\"no \\\"luck\\\"\"}}\n");
	peer_close(&p);
	check_leaks();
}

Test(later, a_client_that_ended_its_side_still_hears)
{
	struct peer p;

	start(0);
	ask(&p);
	shutdown(p.fd, SHUT_WR);
	for (int i = 0; i < 3; i++)
		peer_step(&p, loop);
	cr_assert_not(p.closed);
	give(0, "{}");
	peer_finish(&p, loop);
	cr_assert_str_eq(sl_buf_ptr(&p.got), "{}\n");
	peer_close(&p);
}

Test(later, a_client_that_went_is_forgotten)
{
	struct peer p;

	start(0);
	ask(&p);
	peer_close(&p);
	for (int i = 0; i < 3; i++)
		cr_assert_eq(sl_loop_round(loop, 10 * SL_NS_PER_MS), 0);
	give(0, "{}");
	ask(&p);
	give(1, "{\"y\":2}");
	peer_finish(&p, loop);
	cr_assert_str_eq(sl_buf_ptr(&p.got), "{\"y\":2}\n");
	peer_close(&p);
	check_leaks();
}

Test(later, a_client_that_waits_too_long_is_cut)
{
	struct peer p;

	start(50 * SL_NS_PER_MS);
	ask(&p);
	peer_finish(&p, loop);
	cr_assert_eq(sl_buf_len(&p.got), 0);
	give(0, "{}");
	peer_close(&p);
	check_leaks();
}

Test(later, answers_outstanding_are_limited_also_those_nobody_waits_for)
{
	struct peer p[MAX_LATER], more;

	start(0);
	for (uint32_t i = 0; i < MAX_LATER; i++)
		ask(&p[i]);
	peer_close(&p[0]);
	ask(&more);
	peer_finish(&more, loop);
	cr_assert_str_eq(sl_buf_ptr(&more.got),
			 "{\"error\":{\"message\":\"too many questions at a time, try again\"}}\n");
	cr_assert_eq(n_laters, MAX_LATER);
	peer_close(&more);
	give(0, "{}");
	n_laters = 0;
	ask(&more);
	cr_assert_eq(n_laters, 1);
	give(0, "{}");
	peer_finish(&more, loop);
	peer_close(&more);
	for (uint32_t i = 1; i < MAX_LATER; i++) {
		give(i, "{}");
		peer_finish(&p[i], loop);
		peer_close(&p[i]);
	}
	check_leaks();
}

Test(later, an_answer_after_the_end_reaches_nobody)
{
	struct peer p;

	start(0);
	ask(&p);
	admin = sl_admin_close(admin);
	give(0, "{}");
	peer_close(&p);
	check_leaks();
}

Test(later, without_memory_the_question_fails)
{
	bool refused = true;

	start(0);
	for (long n = 0; refused; n++) {
		struct peer p;

		peer_connect_unix(&p, path);
		peer_send(&p, "{\"command\":\"slow\"}\n", 19);
		cr_assert_eq(sl_buf_reserve(&p.got, 65536),
			     0); /* no allocation of the client's own */
		(void)sl_alloc_fail_after(n);
		while (!p.closed && !n_laters)
			peer_step(&p, loop);
		(void)sl_alloc_fail_after(-1);
		refused = !n_laters;
		if (!refused) {
			give(0, "{}");
			peer_finish(&p, loop);
			cr_assert_str_eq(sl_buf_ptr(&p.got), "{}\n");
		}
		cr_assert_lt(n, 30);
		peer_close(&p);
	}
	check_leaks();
}
