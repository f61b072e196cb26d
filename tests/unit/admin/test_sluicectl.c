/* SPDX-License-Identifier: Apache-2.0 */
/* The program itself against the admin server. */
#include <criterion/criterion.h>
#include <errno.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include "admin/server.h"
#include "base/buf.h"
#include "base/clock.h"

static char dir[] = "/tmp/sl-ctl-XXXXXX", path[80];
static struct sl_loop *loop;
static struct sl_admin *admin;

/* What the last run left. */
static struct sl_buf out, err;
static int status;

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
	sl_buf_deinit(&out);
	sl_buf_deinit(&err);
	(void)unlink(path);
	(void)rmdir(dir);
}

TestSuite(sluicectl, .init = setup, .fini = teardown);

static int answer_routes(void *arg, const json_t *request, json_t **ret)
{
	*ret = json_pack("{s:[{s:s,s:s,s:s}]}", "routes", "kind", "HTTPRoute", "namespace", "shop",
			 "name", "cart");
	return 0;
}

static int refuse(void *arg, const json_t *request, json_t **ret)
{
	*ret = json_string("not loaded yet");
	return SL_ADMIN_REFUSED;
}

static int check_fails(void *arg, const json_t *request, json_t **ret)
{
	*ret = json_pack("{s:[{s:s,s:b,s:b,s:s}]}", "checks", "name", "btf", "ok", 0, "required", 1,
			 "message", "none");
	return 0;
}

static void start(void)
{
	struct sl_admin_opts opts = {.path = path};

	cr_assert_eq(sl_admin_open(loop, &opts, &admin), 0);
	cr_assert_eq(sl_admin_register(admin, "routes", answer_routes, NULL), 0);
	cr_assert_eq(sl_admin_register(admin, "status", refuse, NULL), 0);
	cr_assert_eq(sl_admin_register(admin, "check", check_fails, NULL), 0);
}

static void slurp(int fd, struct sl_buf *b)
{
	ssize_t n;

	sl_buf_consume(b, sl_buf_len(b));
	do {
		cr_assert_eq(sl_buf_reserve(b, 4096), 0);
		n = read(fd, sl_buf_tail(b), 4096);
		if (n > 0)
			sl_buf_commit(b, (size_t)n);
	} while (n > 0);
	cr_assert_eq(sl_buf_append(b, "", 1), 0);
	close(fd);
}

/* Run sluicectl with these arguments, serving it meanwhile. What it says fits a pipe. */
static void run(const char *const *args)
{
	const char *program = getenv("SLUICECTL");
	char *argv[16] = {(char *)"sluicectl"};
	posix_spawn_file_actions_t actions;
	int fds[2], errs[2], ws;
	pid_t pid;

	cr_assert_not_null(program);
	for (int i = 0; args[i]; i++)
		argv[i + 1] = (char *)args[i];
	cr_assert_eq(pipe(fds), 0);
	cr_assert_eq(pipe(errs), 0);
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, fds[1], STDOUT_FILENO);
	posix_spawn_file_actions_adddup2(&actions, errs[1], STDERR_FILENO);
	cr_assert_eq(posix_spawn(&pid, program, &actions, NULL, argv, environ), 0);
	posix_spawn_file_actions_destroy(&actions);
	close(fds[1]);
	close(errs[1]);
	while (waitpid(pid, &ws, WNOHANG) == 0)
		cr_assert_eq(sl_loop_round(loop, 5 * SL_NS_PER_MS), 0);
	cr_assert(WIFEXITED(ws));
	status = WEXITSTATUS(ws);
	slurp(fds[0], &out);
	slurp(errs[0], &err);
}

#define RUN(...) run((const char *const[]){__VA_ARGS__, NULL})

static void check_run(int want, const char *want_out, const char *want_err)
{
	cr_assert_eq(status, want, "status %d, %s", status, sl_buf_ptr(&err));
	cr_assert_str_eq(sl_buf_ptr(&out), want_out);
	cr_assert_str_eq(sl_buf_ptr(&err), want_err);
}

Test(sluicectl, a_table_by_default)
{
	start();
	RUN("routes", "-s", path);
	check_run(0, "ROUTE\nHTTPRoute/shop/cart\n", "");
	RUN("--socket", path, "routes", "--output=table");
	check_run(0, "ROUTE\nHTTPRoute/shop/cart\n", "");
	RUN("version", "-s", path);
	check_run(0, "sluicectl " SL_VERSION "\nagent " SL_VERSION "\n", "");
}

Test(sluicectl, one_route_by_its_name)
{
	static const char table[] = "ROUTE\nHTTPRoute/shop/cart\n";

	start();
	RUN("routes", "-s", path, "cart");
	check_run(0, table, "");
	RUN("routes", "-s", path, "shop/cart");
	check_run(0, table, "");
	RUN("routes", "-s", path, "HTTPRoute/shop/cart");
	check_run(0, table, "");
	RUN("routes", "-s", path, "hop/cart");
	check_run(1, "", "sluicectl: there is no route hop/cart\n");
	RUN("routes", "-s", path, "-o", "name");
	check_run(0, "HTTPRoute/shop/cart\n", "");
}

Test(sluicectl, json_as_the_agent_said_it)
{
	start();
	RUN("routes", "-o", "json", "-s", path);
	check_run(0,
		  "{\n  \"routes\": [\n    {\n      \"kind\": \"HTTPRoute\",\n"
		  "      \"namespace\": \"shop\",\n      \"name\": \"cart\"\n    }\n  ]\n}\n",
		  "");
}

Test(sluicectl, an_error_of_the_agent_is_told)
{
	start();
	RUN("status", "-s", path);
	check_run(1, "", "sluicectl: the agent says: not loaded yet\n");
	RUN("netns", "-s", path);
	check_run(1, "", "sluicectl: the agent says: unknown command 'netns'\n");
}

Test(sluicectl, a_failed_check_fails)
{
	start();
	RUN("check", "-s", path);
	check_run(1, "CHECK  RESULT  REQUIRED  MESSAGE\nbtf    FAILED  yes       none\n", "");
	RUN("check", "-s", path, "-o", "json");
	cr_assert_eq(status, 1);
}

Test(sluicectl, no_agent_is_said_plainly)
{
	char want[200];

	(void)snprintf(want, sizeof(want),
		       "sluicectl: the agent is not running: nobody listens at %s "
		       "(-s chooses another socket)\n",
		       path);
	RUN("check", "-s", path);
	check_run(1, "", want);
	/* A socket that a dead agent left behind. */
	start();
	{
		struct sockaddr_un sun = {.sun_family = AF_UNIX};
		int fd = socket(AF_UNIX, SOCK_STREAM, 0);

		admin = sl_admin_close(admin);
		memcpy(sun.sun_path, path, strlen(path));
		cr_assert_eq(bind(fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
		close(fd);
	}
	RUN("status", "-s", path);
	check_run(1, "", want);
}

Test(sluicectl, usage_errors_have_a_status_of_their_own)
{
	static const struct {
		const char *args[4], *err;
	} cases[] = {
		{{"frobnicate"}, "sluicectl: unknown command 'frobnicate'\n"},
		{{"services", "cart"}, "sluicectl: unexpected argument 'cart'\n"},
		{{"routes", "a", "b"}, "sluicectl: unexpected argument 'b'\n"},
		{{"status", "-o", "name"}, "sluicectl: there are no names in 'status'\n"},
		{{"routes", "--all"}, "sluicectl: the command does not have the option '-a'\n"},
		{{"conns", "-n", "0"}, "sluicectl: not a number of samples '0'\n"},
		{{"top", "-i", "x"}, "sluicectl: not a number of seconds 'x'\n"},
		{{"explain"},
		 "sluicectl: a URL is missing, or a line of the access log (--log-line)\n"},
		{{"validate"}, "sluicectl: a folder is missing\n"},
		{{"routes", "-o", "yaml"}, "sluicectl: unknown output 'yaml'\n"},
		{{NULL}, "sluicectl: a command is missing\n"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		run(cases[i].args);
		cr_assert_eq(status, 2);
		cr_assert_eq(strncmp(sl_buf_ptr(&err), cases[i].err, strlen(cases[i].err)), 0, "%s",
			     sl_buf_ptr(&err));
		cr_assert_str_eq(sl_buf_ptr(&out), "");
	}
	RUN("--frob");
	cr_assert_eq(status, 2);
}

Test(sluicectl, help_for_all_and_for_each)
{
	static const char *const names[] = {"status",  "services", "routes",   "endpoints",
					    "check",   "netns",	   "metrics",  "version",
					    "explain", "conns",	   "validate", "top"};
	char line[60];

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		RUN("--help");
		cr_assert_eq(status, 0);
		(void)snprintf(line, sizeof(line), "\n  %-10s ", names[i]);
		cr_assert_not_null(strstr(sl_buf_ptr(&out), line), "%s", names[i]);
		RUN(names[i], "--help");
		cr_assert_eq(status, 0);
		(void)snprintf(line, sizeof(line), "Usage: sluicectl %s", names[i]);
		cr_assert_not_null(strstr(sl_buf_ptr(&out), line), "%s", names[i]);
		cr_assert_str_eq(sl_buf_ptr(&err), "");
	}
	RUN("-V");
	check_run(0, "sluicectl " SL_VERSION "\n", "");
}
