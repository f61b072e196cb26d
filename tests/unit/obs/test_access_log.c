/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <signal.h>
#include <time.h>
#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "obs/access_line.h"
#include "../../lib/leak.h"

static char dir[] = "/tmp/sl-access-XXXXXX", path[64], other[64];
static char content[1 << 20];

static void setup(void)
{
	cr_assert_not_null(mkdtemp(dir));
	(void)snprintf(path, sizeof(path), "%s/log", dir);
	(void)snprintf(other, sizeof(other), "%s/log.1", dir);
}

static void teardown(void)
{
	(void)unlink(path);
	(void)unlink(other);
	(void)rmdir(dir);
}

TestSuite(access_log, .init = setup, .fini = teardown);

/* Content of a file or pipe, and its number of lines. */
static size_t slurp_fd(int fd)
{
	size_t len = 0, lines = 0;
	ssize_t n;

	while ((n = read(fd, content + len, sizeof(content) - 1 - len)) > 0)
		len += (size_t)n;
	content[len] = '\0';
	for (size_t i = 0; i < len; i++)
		lines += content[i] == '\n';
	return lines;
}

static size_t slurp(const char *name)
{
	_cleanup_(sl_closep) int fd = open(name, O_RDONLY);

	cr_assert_geq(fd, 0);
	return slurp_fd(fd);
}

static struct sl_access_record full_record(void)
{
	return (struct sl_access_record){
		.start_ns = sl_clock_now_ns(),
		.source_namespace = SL_STR("shop"),
		.source_pod = SL_STR("web-1"),
		.client = SL_STR("10.0.0.1:40000"),
		.service = SL_STR("shop/cart:80"),
		.protocol = SL_STR("HTTP/1.1"),
		.method = SL_STR("GET"),
		.authority = SL_STR("cart"),
		.path = SL_STR("/items?id=1"),
		.user_agent = SL_STR("curl/8"),
		.route = SL_STR("HTTPRoute/shop/cart"),
		.rule = SL_STR("canary"),
		.backend = SL_STR("shop/cart-v2:8080"),
		.endpoint = SL_STR("10.0.0.2:8080"),
		.status = 200,
		.attempts = 1,
		.request_bytes = 0,
		.response_bytes = 12345678901ULL,
		.duration_ns = 1500000,
		.first_byte_ns = 900000,
		.end_reason = SL_STR("complete"),
	};
}

static json_t *parse_line(const char *line, size_t len)
{
	json_error_t e;
	json_t *j = json_loadb(line, len, JSON_REJECT_DUPLICATES, &e);

	cr_assert_not_null(j, "%s in %.*s", e.text, (int)len, line);
	cr_assert(json_is_object(j));
	return j;
}

Test(access_log, a_record_is_one_json_object_on_one_line)
{
	char line[SL_ACCESS_LINE_MAX];
	struct sl_access_record r = full_record();
	size_t n = sl_access_line(&r, SL_STR("2026-01-02T03:04:05.678Z"), line);
	json_t *j = parse_line(line, n);

	cr_assert_eq(line[n - 1], '\n');
	cr_assert_eq(json_object_size(j), 21);
	cr_assert_str_eq(json_string_value(json_object_get(j, "time")), "2026-01-02T03:04:05.678Z");
	cr_assert_str_eq(json_string_value(json_object_get(j, "path")), "/items?id=1");
	cr_assert_str_eq(json_string_value(json_object_get(j, "end_reason")), "complete");
	cr_assert_eq(json_integer_value(json_object_get(j, "status")), 200);
	cr_assert_eq(json_integer_value(json_object_get(j, "response_bytes")), 12345678901LL);
	cr_assert(json_is_integer(json_object_get(j, "request_bytes")));
	json_decref(j);
}

Test(access_log, what_is_empty_is_left_out)
{
	char line[SL_ACCESS_LINE_MAX];
	struct sl_access_record r = {.protocol = SL_STR("tcp"), .end_reason = SL_STR("idle")};
	size_t n = sl_access_line(&r, SL_STR_NULL, line);

	line[n] = '\0';
	cr_assert_str_eq(line, "{\"protocol\":\"tcp\",\"request_bytes\":0,\"response_bytes\":0,"
			       "\"duration_ns\":0,\"end_reason\":\"idle\"}\n");
}

Test(access_log, what_shadow_routes_would_change_is_said)
{
	char line[SL_ACCESS_LINE_MAX];
	struct sl_access_record r = {.shadow_route = SL_STR("HTTPRoute/shop/next"),
				     .shadow_rule = SL_STR("0"),
				     .shadow_differs = SL_STR("backends,path")};
	size_t n = sl_access_line(&r, SL_STR("t"), line);
	json_t *j = parse_line(line, n);

	cr_assert_str_eq(json_string_value(json_object_get(j, "shadow_route")),
			 "HTTPRoute/shop/next");
	cr_assert_str_eq(json_string_value(json_object_get(j, "shadow_rule")), "0");
	cr_assert_str_eq(json_string_value(json_object_get(j, "shadow_differs")), "backends,path");
	json_decref(j);
}

Test(access_log, any_bytes_become_valid_json)
{
	static const struct {
		struct sl_str in;
		const char *out; /* as decoded */
	} cases[] = {
		{SL_STR("plain"), "plain"},
		{SL_STR("\"\\\n\r\t\b\f\x01\x1f\x7f/"), "\"\\\n\r\t\b\f\x01\x1f\x7f/"},
		{SL_STR("\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80"),
		 "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80"},
		{SL_STR("a\x80"
			"b"),
		 "a\xef\xbf\xbd"
		 "b"},
		{SL_STR("\xff\xfe"), "\xef\xbf\xbd\xef\xbf\xbd"},
		{SL_STR("\xc0\xaf"), "\xef\xbf\xbd\xef\xbf\xbd"},		  /* overlong */
		{SL_STR("\xe0\x80\xaf"), "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"}, /* overlong */
		{SL_STR("\xed\xa0\x80"), "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"}, /* surrogate */
		{SL_STR("\xf4\x90\x80\x80"),
		 "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"}, /* above U+10FFFF */
		{SL_STR("x\xe2\x82"), "x\xef\xbf\xbd\xef\xbf\xbd"},   /* cut off */
		{SL_STR("\xc3\"}"), "\xef\xbf\xbd\"}"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		char line[SL_ACCESS_LINE_MAX];
		struct sl_access_record r = {.path = cases[i].in};
		size_t n = sl_access_line(&r, SL_STR("t"), line);
		json_t *j = parse_line(line, n);

		cr_assert_str_eq(json_string_value(json_object_get(j, "path")), cases[i].out,
				 "case %zu", i);
		cr_assert_eq(memchr(line, '\n', n), line + n - 1);
		json_decref(j);
	}
}

Test(access_log, a_nul_byte_is_escaped)
{
	char line[SL_ACCESS_LINE_MAX];
	struct sl_access_record r = {.path = SL_STR("a\0b")};
	size_t n = sl_access_line(&r, SL_STR("t"), line);

	cr_assert_not_null(memmem(line, n, "\"a\\u0000b\"", 10));
}

/* Every string endless, every number at its longest, in the worst encoding. */
Test(access_log, the_longest_record_still_fits_a_line)
{
	static const struct sl_str fills[] = {SL_STR("x"), SL_STR("\x01"), SL_STR("\""),
					      SL_STR("\xff"), SL_STR("\xf0\x9f\x98\x80")};
	static char big[20000], line[SL_ACCESS_LINE_MAX + 1];

	for (size_t k = 0; k < 2 * sizeof(fills) / sizeof(*fills); k++) {
		bool shadowed = k % 2;
		size_t i = k / 2;
		struct sl_str s = {big, sizeof(big)};
		struct sl_access_record r;
		size_t n;
		json_t *j;

		for (size_t at = 0; at + fills[i].len <= sizeof(big); at += fills[i].len)
			memcpy(big + at, fills[i].ptr, fills[i].len);
		r = (struct sl_access_record){
			.source_namespace = s,
			.source_pod = s,
			.client = s,
			.service = s,
			.protocol = s,
			.method = s,
			.authority = s,
			.path = s,
			.user_agent = s,
			.route = s,
			.rule = s,
			.backend = s,
			.endpoint = s,
			.status = UINT32_MAX,
			.attempts = UINT32_MAX,
			.mirrors = UINT32_MAX,
			.request_bytes = UINT64_MAX >> 1,
			.response_bytes = UINT64_MAX >> 1,
			.duration_ns = UINT64_MAX >> 1,
			.first_byte_ns = UINT64_MAX >> 1,
			.end_reason = s,
			.shadow_route = shadowed ? s : SL_STR_NULL,
			.shadow_rule = shadowed ? s : SL_STR_NULL,
			.shadow_differs = shadowed ? s : SL_STR_NULL,
		};
		line[SL_ACCESS_LINE_MAX] = '#';
		n = sl_access_line(&r, s, line);
		cr_assert_leq(n, SL_ACCESS_LINE_MAX);
		cr_assert_eq(line[SL_ACCESS_LINE_MAX], '#');
		j = parse_line(line, n);
		cr_assert_eq(json_object_size(j), shadowed ? 25 : 22, "fill %zu", i);
		json_decref(j);
	}
}

Test(access_log, lines_reach_the_file_at_flush)
{
	struct sl_access_log *log = NULL;
	struct sl_access_record r = full_record();
	struct stat st;

	cr_assert_eq(sl_access_log_open(path, &log), 0);
	cr_assert_eq(stat(path, &st), 0);
	cr_assert_eq(st.st_mode & 0137, 0);
	sl_access_log_write(log, &r);
	sl_access_log_write(log, &r);
	cr_assert_eq(slurp(path), 0);
	sl_access_log_flush(log);
	cr_assert_eq(slurp(path), 2);
	sl_access_log_write(log, &r);
	cr_assert_null(sl_access_log_close(log));
	cr_assert_eq(slurp(path), 3);
}

Test(access_log, a_full_buffer_flushes_itself)
{
	struct sl_access_log *log = NULL;
	struct sl_access_record r = full_record();

	cr_assert_eq(sl_access_log_open(path, &log), 0);
	for (int i = 0; i < 1000; i++)
		sl_access_log_write(log, &r);
	cr_assert_gt(slurp(path), 800);
	sl_access_log_close(log);
	cr_assert_eq(slurp(path), 1000);
	for (char *p = content; *p; p = strchr(p, '\n') + 1)
		json_decref(parse_line(p, (size_t)(strchr(p, '\n') - p)));
}

Test(access_log, the_time_is_the_start_of_the_record)
{
	struct sl_access_log *log = NULL;
	struct sl_access_record r = full_record();
	char first[25], *p;
	struct tm tm = {0};
	time_t at;
	json_t *j;

	cr_assert_eq(sl_access_log_open(path, &log), 0);
	r.start_ns -= 100 * SL_NS_PER_S;
	sl_access_log_write(log, &r);
	sl_access_log_close(log);
	slurp(path);
	j = parse_line(content, strlen(content));
	(void)snprintf(first, sizeof(first), "%s", json_string_value(json_object_get(j, "time")));
	json_decref(j);
	p = strptime(first, "%Y-%m-%dT%H:%M:%S", &tm);
	cr_assert_not_null(p);
	cr_assert_eq(strlen(p), 5);
	cr_assert_eq(*p, '.');
	cr_assert_eq(p[4], 'Z');
	at = time(NULL) - timegm(&tm);
	cr_assert(at >= 99 && at <= 110, "%ld s ago", (long)at);
}

Test(access_log, reopen_goes_on_in_a_new_file)
{
	struct sl_access_log *log = NULL;
	struct sl_access_record r = full_record();

	cr_assert_eq(sl_access_log_open(path, &log), 0);
	sl_access_log_write(log, &r);
	cr_assert_eq(rename(path, other), 0);
	cr_assert_eq(sl_access_log_reopen(log), 0);
	sl_access_log_write(log, &r);
	sl_access_log_write(log, &r);
	sl_access_log_flush(log);
	cr_assert_eq(slurp(other), 1);
	cr_assert_eq(slurp(path), 2);
	sl_access_log_close(log);
}

Test(access_log, a_failed_reopen_keeps_the_old_file)
{
	struct sl_access_log *log = NULL;
	struct sl_access_record r = full_record();

	cr_assert_eq(sl_access_log_open(path, &log), 0);
	cr_assert_eq(rename(path, other), 0);
	cr_assert_eq(mkdir(path, 0700), 0);
	cr_assert_eq(sl_access_log_reopen(log), -EISDIR);
	sl_access_log_write(log, &r);
	sl_access_log_close(log);
	cr_assert_eq(slurp(other), 1);
	(void)rmdir(path);
}

Test(access_log, a_full_pipe_drops_new_lines_and_counts_them)
{
	struct sl_access_log *log = NULL;
	struct sl_access_record r = full_record();
	_cleanup_(sl_closep) int reader = -1;
	const size_t n = 1000;
	uint64_t lost;

	cr_assert_eq(mkfifo(path, 0600), 0);
	reader = open(path, O_RDONLY | O_NONBLOCK);
	cr_assert_geq(reader, 0);
	cr_assert_eq(sl_access_log_open(path, &log), 0);
	for (size_t i = 0; i < n; i++)
		sl_access_log_write(log, &r);
	sl_access_log_flush(log);
	lost = sl_access_log_dropped(log);
	cr_assert_gt(lost, 0);
	/* Everything that was not lost comes out, whole. */
	cr_assert_lt(slurp_fd(reader), n - lost);
	for (char *p = content; *p; p = strchr(p, '\n') + 1)
		json_decref(parse_line(p, (size_t)(strchr(p, '\n') - p)));
	cr_assert_eq(sl_access_log_dropped(log), lost);
	{
		size_t first = 0;

		for (char *p = content; *p; p++)
			first += *p == '\n';
		sl_access_log_close(log);
		cr_assert_eq(first + slurp_fd(reader), n - lost);
	}
}

Test(access_log, a_closed_pipe_drops_everything)
{
	struct sl_access_log *log = NULL;
	struct sl_access_record r = full_record();
	int reader;

	signal(SIGPIPE, SIG_IGN);
	cr_assert_eq(mkfifo(path, 0600), 0);
	reader = open(path, O_RDONLY | O_NONBLOCK);
	cr_assert_eq(sl_access_log_open(path, &log), 0);
	close(reader);
	for (int i = 0; i < 7; i++)
		sl_access_log_write(log, &r);
	sl_access_log_flush(log);
	cr_assert_eq(sl_access_log_dropped(log), 7);
	sl_access_log_close(log);
}

/* A limit to the file's size stands in for a disk that is full in the middle of a line. */
Test(access_log, a_line_torn_by_a_full_disk_is_ended_before_the_next)
{
	struct sl_access_log *log = NULL;
	struct sl_access_record r = full_record();
	struct rlimit limit, old;
	size_t lines, bad = 0;

	signal(SIGXFSZ, SIG_IGN);
	cr_assert_eq(getrlimit(RLIMIT_FSIZE, &old), 0);
	limit = old;
	limit.rlim_cur = 1000;
	cr_assert_eq(sl_access_log_open(path, &log), 0);
	cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
	for (int i = 0; i < 5; i++)
		sl_access_log_write(log, &r);
	sl_access_log_flush(log);
	lines = slurp(path);
	cr_assert_eq(strlen(content), 1000);
	cr_assert_eq(sl_access_log_dropped(log), 5 - lines);
	sl_access_log_write(log, &r);
	sl_access_log_flush(log);
	cr_assert_eq(slurp(path), lines, "still full");
	cr_assert_eq(setrlimit(RLIMIT_FSIZE, &old), 0);
	sl_access_log_flush(log);
	cr_assert_eq(slurp(path), lines + 2);
	for (char *p = content; *p; p = strchr(p, '\n') + 1) {
		json_t *j = json_loadb(p, (size_t)(strchr(p, '\n') - p), 0, NULL);

		bad += !j;
		json_decref(j);
	}
	cr_assert_eq(bad, 1);
	cr_assert_eq(sl_access_log_dropped(log), 5 - lines);
	sl_access_log_close(log);
}

Test(access_log, standard_output_may_be_a_pipe_or_a_socket)
{
	struct sl_access_record r = full_record();

	for (int socket = 0; socket < 2; socket++) {
		struct sl_access_log *log = NULL;
		int fds[2], saved = dup(STDOUT_FILENO), flags, opened;

		cr_assert_eq(socket ? socketpair(AF_UNIX, SOCK_STREAM, 0, fds) : pipe(fds), 0);
		cr_assert_geq(dup2(fds[1], STDOUT_FILENO), 0);
		opened = sl_access_log_open("-", &log);
		for (int i = 0; i < 2000; i++)
			sl_access_log_write(log, &r);
		sl_access_log_flush(log);
		flags = fcntl(STDOUT_FILENO, F_GETFL);
		cr_assert_geq(dup2(saved, STDOUT_FILENO), 0);
		cr_assert_eq(opened, 0);
		cr_assert_gt(sl_access_log_dropped(log), 0, "it would have waited");
		cr_assert_eq(flags & O_NONBLOCK, 0,
			     "other users of the descriptor are not concerned");
		fcntl(fds[0], F_SETFL, O_NONBLOCK);
		cr_assert_gt(slurp_fd(fds[0]), 100);
		sl_access_log_close(log);
		close(fds[0]);
		close(fds[1]);
		close(saved);
	}
}

Test(access_log, no_log_is_a_log_that_does_nothing)
{
	struct sl_access_record r = full_record();

	sl_access_log_write(NULL, &r);
	sl_access_log_flush(NULL);
	cr_assert_eq(sl_access_log_dropped(NULL), 0);
	cr_assert_null(sl_access_log_close(NULL));
}

Test(access_log, opening_can_fail_cleanly)
{
	struct sl_access_log *log = NULL;
	int r = -1;

	cr_assert_eq(sl_access_log_open("/nonexistent/log", &log), -ENOENT);
	for (long n = 0; r; n++) {
		sl_alloc_fail_after(n);
		r = sl_access_log_open(path, &log);
		sl_alloc_fail_after(-1);
		cr_assert(r == 0 || r == -ENOMEM);
		cr_assert_lt(n, 10);
	}
	sl_alloc_fail_after(-1);
	for (int i = 0; i < 500; i++) {
		struct sl_access_record rec = full_record();

		sl_access_log_write(log, &rec);
	}
	cr_assert_eq(sl_alloc_fail_after(-1), 0, "writing does not allocate");
	sl_access_log_close(log);
	check_leaks();
}
