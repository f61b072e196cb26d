/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include "admin/server.h"
#include "base/alloc.h"
#include "base/clock.h"
#include "obs/metrics.h"
#include "peer.h"
#include "sluice/admin.h"
#include "../../lib/leak.h"

static char dir[] = "/tmp/sl-admin-XXXXXX", path[80];
static struct sl_loop *loop;
static struct sl_admin *admin;
static struct sl_admin_opts opts = {.path = path};

static void setup(void)
{
	cr_assert_not_null(mkdtemp(dir));
	(void)snprintf(path, sizeof(path), "%s/run/admin.sock", dir);
	cr_assert_eq(sl_loop_new(&loop), 0);
}

static void teardown(void)
{
	char sub[80];

	sl_admin_close(admin);
	sl_loop_free(loop);
	(void)unlink(path);
	(void)snprintf(sub, sizeof(sub), "%s/run", dir);
	(void)rmdir(sub);
	cr_assert_eq(rmdir(dir), 0, "something was left in the folder");
}

TestSuite(server, .init = setup, .fini = teardown);

static int echo(void *arg, const json_t *request, json_t **ret)
{
	(*(int *)arg)++;
	*ret = json_pack("{s:O}", "echo", json_object_get(request, "value"));
	return *ret ? 0 : -EINVAL;
}

static int refuse(void *arg, const json_t *request, json_t **ret)
{
	*ret = json_string("not \"now\"");
	return SL_ADMIN_REFUSED;
}

static int break_down(void *arg, const json_t *request, json_t **ret)
{
	return -ENOENT;
}

static int big(void *arg, const json_t *request, json_t **ret)
{
	static char text[4 << 20];

	memset(text, 'x', sizeof(text) - 1);
	*ret = json_pack("{s:s}", "text", text);
	return 0;
}

static int n_echoes;

static void start(void)
{
	cr_assert_eq(sl_admin_open(loop, &opts, &admin), 0);
	cr_assert_eq(sl_admin_register(admin, "echo", echo, &n_echoes), 0);
	cr_assert_eq(sl_admin_register(admin, "refuse", refuse, NULL), 0);
	cr_assert_eq(sl_admin_register(admin, "break", break_down, NULL), 0);
	cr_assert_eq(sl_admin_register(admin, "big", big, NULL), 0);
}

static void check_answer(const char *question, const char *want)
{
	struct peer p;

	peer_connect_unix(&p, path);
	peer_send(&p, question, strlen(question));
	peer_finish(&p, loop);
	cr_assert_eq(p.error, 0, "error %d after %s", p.error, question);
	cr_assert_str_eq(sl_buf_ptr(&p.got), want);
	peer_close(&p);
}

Test(server, one_line_in_one_document_out)
{
	static const struct {
		const char *question, *answer;
	} cases[] = {
		{"{\"command\":\"echo\",\"value\":[1,\"\xc3\xa4\"]}\n",
		 "{\"echo\":[1,\"\xc3\xa4\"]}\n"},
		{"{\"command\":\"version\"}\n", "{\"version\":\"" SL_VERSION "\"}\n"},
		{" {\"command\":\"version\"}\r\nignored", "{\"version\":\"" SL_VERSION "\"}\n"},
		{"{\"command\":\"refuse\"}\n", "{\"error\":{\"message\":\"not \\\"now\\\"\"}}\n"},
		{"{\"command\":\"break\"}\n",
		 "{\"error\":{\"message\":\"No such file or directory\"}}\n"},
		{"{\"command\":\"nothing\"}\n",
		 "{\"error\":{\"message\":\"unknown command 'nothing'\"}}\n"},
		{"{\"command\":7}\n",
		 "{\"error\":{\"message\":\"the request has no \\\"command\\\"\"}}\n"},
		{"[]\n", "{\"error\":{\"message\":\"the request has no \\\"command\\\"\"}}\n"},
		{"\n",
		 "{\"error\":{\"message\":\"the request is not a JSON object on one line\"}}\n"},
		{"{\"command\":\n\"version\"}\n",
		 "{\"error\":{\"message\":\"the request is not a JSON object on one line\"}}\n"},
		{"{\"command\":\"version\",\"command\":\"version\"}\n",
		 "{\"error\":{\"message\":\"the request is not a JSON object on one line\"}}\n"},
	};

	start();
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		check_answer(cases[i].question, cases[i].answer);
	cr_assert_eq(n_echoes, 1);
}

Test(server, a_question_may_come_in_pieces)
{
	static const char question[] = "{\"command\":\"version\"}\n";
	struct peer p;

	start();
	peer_connect_unix(&p, path);
	for (size_t i = 0; i < sizeof(question) - 1; i++) {
		cr_assert_not(p.closed);
		peer_send(&p, question + i, 1);
		peer_step(&p, loop);
	}
	peer_finish(&p, loop);
	cr_assert_str_eq(sl_buf_ptr(&p.got), "{\"version\":\"" SL_VERSION "\"}\n");
	peer_close(&p);
}

Test(server, a_question_without_end_is_refused)
{
	static char junk[SL_ADMIN_MAX_REQUEST_BYTES + 100000];
	struct peer p;

	start();
	memset(junk, ' ', sizeof(junk));
	peer_connect_unix(&p, path);
	peer_send(&p, junk, sizeof(junk));
	while (!sl_buf_len(&p.got))
		peer_step(&p, loop);
	peer_finish(&p, loop);
	cr_assert_eq(p.error, 0);
	cr_assert_str_eq(sl_buf_ptr(&p.got),
			 "{\"error\":{\"message\":\"the request is too long\"}}\n");
	peer_close(&p);
	/* The client ends before its line does. */
	peer_connect_unix(&p, path);
	peer_send(&p, "{}", 2);
	shutdown(p.fd, SHUT_WR);
	peer_finish(&p, loop);
	cr_assert_str_eq(
		sl_buf_ptr(&p.got),
		"{\"error\":{\"message\":\"the request does not end with a line feed\"}}\n");
	peer_close(&p);
	/* It says nothing at all. */
	peer_connect_unix(&p, path);
	shutdown(p.fd, SHUT_WR);
	peer_finish(&p, loop);
	cr_assert_eq(sl_buf_len(&p.got), 0);
	peer_close(&p);
}

Test(server, an_answer_larger_than_the_socket_arrives_whole)
{
	static const char question[] = "{\"command\":\"big\"}\n";
	struct peer p;

	start();
	peer_connect_unix(&p, path);
	peer_send(&p, question, sizeof(question) - 1);
	peer_finish(&p, loop);
	cr_assert_eq(sl_buf_len(&p.got), (4 << 20) - 1 + strlen("{\"text\":\"\"}\n"));
	peer_close(&p);
}

Test(server, silent_clients_are_cut_and_others_served_meanwhile)
{
	struct peer silent, deaf;

	opts.timeout_ns = 50 * SL_NS_PER_MS;
	start();
	peer_connect_unix(&silent, path);
	peer_send(&silent, "{", 1);
	peer_connect_unix(&deaf, path);
	peer_send(&deaf, "{\"command\":\"big\"}\n", 18);
	check_answer("{\"command\":\"version\"}\n", "{\"version\":\"" SL_VERSION "\"}\n");
	peer_finish(&silent, loop);
	cr_assert_eq(sl_buf_len(&silent.got), 0);
	/* It never read: what the kernel holds for it is all that it gets. */
	while (poll(&(struct pollfd){.fd = deaf.fd, .events = POLLRDHUP}, 1, 0) == 0)
		cr_assert_eq(sl_loop_round(loop, 10 * SL_NS_PER_MS), 0);
	peer_finish(&deaf, loop);
	cr_assert_lt(sl_buf_len(&deaf.got), 4 << 20);
	peer_close(&silent);
	peer_close(&deaf);
}

Test(server, clients_beyond_the_limit_wait_their_turn)
{
	enum { N = 20 };
	struct peer p[N];

	opts.max_clients = 2;
	start();
	for (int i = 0; i < N; i++) {
		peer_connect_unix(&p[i], path);
		peer_send(&p[i], "{\"command\":\"version\"}\n", 22);
	}
	for (int i = N - 1; i >= 0; i--) {
		while (!p[i].closed) {
			for (int k = 0; k < N; k++) {
				if (!p[k].closed)
					peer_step(&p[k], loop);
				if (p[k].closed && p[k].fd >= 0) {
					cr_assert_str_eq(sl_buf_ptr(&p[k].got),
							 "{\"version\":\"" SL_VERSION "\"}\n");
					peer_close(&p[k]);
					p[k].fd = -1;
				}
			}
		}
	}
}

Test(server, running_out_of_descriptors_is_survived)
{
	struct rlimit limit, old;
	struct peer p;
	uint64_t rounds;

	start();
	peer_connect_unix(&p, path);
	peer_send(&p, "{\"command\":\"version\"}\n", 22);
	cr_assert_eq(getrlimit(RLIMIT_NOFILE, &old), 0);
	limit = old;
	limit.rlim_cur = (rlim_t)p.fd + 1;
	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
	rounds = sl_loop_rounds(loop);
	for (uint64_t end = sl_clock_now_ns() + 50 * SL_NS_PER_MS; sl_clock_now_ns() < end;)
		peer_step(&p, loop);
	cr_assert_lt(sl_loop_rounds(loop) - rounds, 20, "the loop spins");
	cr_assert_eq(sl_buf_len(&p.got), 0);
	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &old), 0);
	peer_finish(&p, loop);
	cr_assert_gt(sl_buf_len(&p.got), 0);
	peer_close(&p);
}

Test(server, the_socket_is_for_its_owner_only)
{
	struct stat st;

	(void)umask(0);
	start();
	cr_assert_eq(stat(path, &st), 0);
	cr_assert(S_ISSOCK(st.st_mode));
	cr_assert_eq(st.st_mode & 0777, 0600);
	admin = sl_admin_close(admin);
	cr_assert_eq(stat(path, &st), -1);
}

Test(server, a_second_agent_is_told_and_harms_nothing)
{
	struct sl_admin *second = NULL;

	start();
	cr_assert_eq(sl_admin_open(loop, &opts, &second), -EADDRINUSE);
	cr_assert_null(second);
	check_answer("{\"command\":\"version\"}\n", "{\"version\":\"" SL_VERSION "\"}\n");
}

Test(server, a_socket_left_behind_is_replaced)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	start();
	admin = sl_admin_close(admin);
	memcpy(sun.sun_path, path, strlen(path));
	cr_assert_eq(bind(fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
	close(fd);
	start();
	check_answer("{\"command\":\"version\"}\n", "{\"version\":\"" SL_VERSION "\"}\n");
}

Test(server, something_else_at_the_path_stays)
{
	struct stat st;
	int fd;

	start();
	admin = sl_admin_close(admin);
	fd = open(path, O_CREAT | O_WRONLY, 0600);
	close(fd);
	cr_assert_eq(sl_admin_open(loop, &opts, &admin), -EEXIST);
	cr_assert_eq(stat(path, &st), 0);
}

Test(server, closing_leaves_the_socket_of_a_successor_alone)
{
	struct sl_admin *old;

	start();
	old = admin;
	cr_assert_eq(unlink(path), 0);
	admin = NULL;
	start();
	sl_admin_close(old);
	check_answer("{\"command\":\"version\"}\n", "{\"version\":\"" SL_VERSION "\"}\n");
}

Test(server, a_path_that_cannot_be_is_an_error)
{
	static char name[200];
	struct sl_admin_opts bad = {.path = name};

	memset(name, 'x', sizeof(name) - 1);
	cr_assert_eq(sl_admin_open(loop, &bad, &admin), -ENAMETOOLONG);
	bad.path = "/nonexistent/folder/admin.sock";
	cr_assert_eq(sl_admin_open(loop, &bad, &admin), -ENOENT);
	cr_assert_null(admin);
}

Test(server, metrics_are_text_in_json)
{
	struct sl_metrics_opts mopts = {.n_workers = 1};
	struct sl_metrics *m = NULL;
	struct sl_buf text = SL_BUF_INIT(0);
	struct peer p;
	json_t *j;

	cr_assert_eq(sl_metrics_new(&mopts, &m), 0);
	start();
	cr_assert_eq(sl_admin_register_metrics(admin, m), 0);
	peer_connect_unix(&p, path);
	peer_send(&p, "{\"command\":\"metrics\"}\n", 22);
	peer_finish(&p, loop);
	j = json_loadb(sl_buf_ptr(&p.got), sl_buf_len(&p.got), 0, NULL);
	cr_assert_eq(sl_metrics_render(m, &text), 0);
	cr_assert(sl_str_eqc(sl_buf_str(&text), json_string_value(json_object_get(j, "text"))));
	json_decref(j);
	sl_buf_deinit(&text);
	peer_close(&p);
	sl_metrics_free(m);
}

Test(server, clients_under_way_are_cut_at_close)
{
	struct peer p;

	start();
	peer_connect_unix(&p, path);
	peer_send(&p, "{", 1);
	peer_step(&p, loop);
	admin = sl_admin_close(admin);
	peer_finish(&p, loop);
	peer_close(&p);
}

Test(server, a_failed_allocation_is_survived)
{
	int r = -1;
	long n;

	for (n = 0; r; n++) {
		sl_alloc_fail_after(n);
		r = sl_admin_open(loop, &opts, &admin);
		sl_alloc_fail_after(-1);
		cr_assert(r == 0 || r == -ENOMEM, "%d", r);
		cr_assert_lt(n, 30);
	}
	cr_assert_gt(n, 4);
	/* A client that cannot be served is closed; the next one is served. */
	for (n = 0; n < 12; n++) {
		struct peer p;

		peer_connect_unix(&p, path);
		cr_assert_eq(sl_buf_reserve(&p.got, 65536), 0);
		peer_send(&p, "{\"command\":\"version\"}\n", 22);
		sl_alloc_fail_after(n);
		for (int i = 0; i < 3; i++)
			cr_assert_eq(sl_loop_round(loop, 0), 0);
		sl_alloc_fail_after(-1);
		peer_finish(&p, loop);
		peer_close(&p);
	}
	check_answer("{\"command\":\"version\"}\n", "{\"version\":\"" SL_VERSION "\"}\n");
	check_leaks();
}
