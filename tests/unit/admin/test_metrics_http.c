/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <errno.h>
#include <sys/socket.h>
#include "admin/metrics_http.h"
#include "base/alloc.h"
#include "obs/metrics.h"
#include "peer.h"
#include "../../lib/leak.h"

static struct sl_loop *loop;
static struct sl_metrics *metrics;
static struct sl_metrics_http *http;
static const char *sick, *busy;

static const char *not_healthy(void *arg)
{
	return sick;
}

static const char *not_ready(void *arg)
{
	return busy;
}

static struct sl_metrics_http_opts opts = {.not_healthy = not_healthy, .not_ready = not_ready};

static void setup(void)
{
	struct sl_metrics_opts mopts = {.n_workers = 1};

	cr_assert_eq(sl_loop_new(&loop), 0);
	cr_assert_eq(sl_metrics_new(&mopts, &metrics), 0);
	opts.metrics = metrics;
	cr_assert_eq(sl_addr_parse(SL_STR("127.0.0.1:0"), &opts.address), 0);
}

static void teardown(void)
{
	sl_metrics_http_close(http);
	sl_metrics_free(metrics);
	sl_loop_free(loop);
}

TestSuite(metrics_http, .init = setup, .fini = teardown);

static void start(void)
{
	cr_assert_eq(sl_metrics_http_open(loop, &opts, &http), 0);
}

/* The whole answer to a question; close it. */
static void ask(struct peer *p, const char *question, size_t n)
{
	peer_connect_tcp(p, sl_metrics_http_address(http));
	while (true) {
		ssize_t r = send(p->fd, question, n, MSG_NOSIGNAL);

		cr_assert(r >= 0 || errno == EAGAIN, "send: %d", errno);
		if (r >= 0)
			break;
		cr_assert_eq(sl_loop_round(loop, 0), 0);
	}
	peer_finish(p, loop);
	cr_assert_eq(p->error, 0, "error %d", p->error);
}

static void check_answer(const char *question, const char *start_with, const char *end_with)
{
	struct peer p;
	const char *got, *head_end;
	unsigned long length;

	ask(&p, question, strlen(question));
	got = sl_buf_ptr(&p.got);
	cr_assert_eq(strncmp(got, start_with, strlen(start_with)), 0, "to %s: %s", question, got);
	cr_assert_geq(strlen(got), strlen(end_with));
	cr_assert_str_eq(got + strlen(got) - strlen(end_with), end_with);
	head_end = strstr(got, "\r\n\r\n");
	cr_assert_not_null(head_end);
	length = strtoul(strstr(got, "Content-Length: ") + 16, NULL, 10);
	if (strncmp(question, "HEAD ", 5) == 0)
		cr_assert_eq(strlen(head_end), 4);
	else
		cr_assert_eq(strlen(head_end + 4), length);
	peer_close(&p);
}

Test(metrics_http, paths_and_methods)
{
	static const struct {
		const char *question, *start, *end;
	} cases[] = {
		{"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 200 OK\r\n", "\r\n\r\nok\n"},
		{"GET /readyz HTTP/1.0\r\n\r\n", "HTTP/1.1 200 OK\r\n", "\r\n\r\nok\n"},
		{"GET /readyz?verbose HTTP/1.1\n\n", "HTTP/1.1 200 OK\r\n", "\r\n\r\nok\n"},
		{"HEAD /healthz HTTP/1.1\r\n\r\n", "HTTP/1.1 200 OK\r\n", "\r\n\r\n"},
		{"GET /metrics HTTP/1.1\r\n\r\n",
		 "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n",
		 "\n"},
		{"HEAD /metrics HTTP/1.1\r\n\r\n", "HTTP/1.1 200 OK\r\n", "\r\n\r\n"},
		{"GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 404 ", "\n"},
		{"GET /metrics/ HTTP/1.1\r\n\r\n", "HTTP/1.1 404 ", "\n"},
		{"GET /METRICS HTTP/1.1\r\n\r\n", "HTTP/1.1 404 ", "\n"},
		{"POST /metrics HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", "HTTP/1.1 405 ", "\n"},
		{"get /metrics HTTP/1.1\r\n\r\n", "HTTP/1.1 405 ", "\n"},
		{"GET /metrics\r\n\r\n", "HTTP/1.1 400 ", "\n"},
		{"GET  /metrics HTTP/1.1\r\n\r\n", "HTTP/1.1 400 ", "\n"},
		{"GET /metrics HTTP/1.1 \r\n\r\n", "HTTP/1.1 400 ", "\n"},
		{"GET /metrics HTTP/2.0\r\n\r\n", "HTTP/1.1 400 ", "\n"},
		{"GET /met\x01rics HTTP/1.1\r\n\r\n", "HTTP/1.1 400 ", "\n"},
		{"\r\n\r\n", "HTTP/1.1 400 ", "\n"},
		{"\x16\x03\x01\x02\n\n", "HTTP/1.1 400 ", "\n"},
	};

	start();
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		check_answer(cases[i].question, cases[i].start, cases[i].end);
	check_answer("POST /metrics HTTP/1.1\r\n\r\n", "HTTP/1.1 405 ", "GET and HEAD only\n");
}

Test(metrics_http, a_method_not_allowed_names_those_that_are)
{
	struct peer p;

	start();
	ask(&p, "PUT /healthz HTTP/1.1\r\n\r\n", 25);
	cr_assert_not_null(strstr(sl_buf_ptr(&p.got), "\r\nAllow: GET, HEAD\r\n"));
	peer_close(&p);
}

Test(metrics_http, the_body_is_the_exposition)
{
	struct sl_buf text = SL_BUF_INIT(0);
	struct peer p;

	start();
	sl_metrics_inc(sl_metrics_shard(metrics, 0), SL_COUNTER_TUNNELS);
	cr_assert_eq(sl_metrics_render(metrics, &text), 0);
	cr_assert_eq(sl_buf_append(&text, "", 1), 0);
	ask(&p, "GET /metrics HTTP/1.1\r\n\r\n", 25);
	cr_assert_str_eq(strstr(sl_buf_ptr(&p.got), "\r\n\r\n") + 4, sl_buf_ptr(&text));
	peer_close(&p);
	sl_buf_deinit(&text);
}

Test(metrics_http, probes_say_why_not)
{
	start();
	busy = "no configuration has been loaded yet";
	check_answer("GET /readyz HTTP/1.1\r\n\r\n", "HTTP/1.1 503 ",
		     "\r\n\r\nno configuration has been loaded yet\n");
	check_answer("GET /healthz HTTP/1.1\r\n\r\n", "HTTP/1.1 200 ", "ok\n");
	sick = "worker 1 hangs";
	check_answer("GET /healthz HTTP/1.1\r\n\r\n", "HTTP/1.1 503 ", "worker 1 hangs\n");
}

Test(metrics_http, without_probes_all_is_well)
{
	opts.not_healthy = opts.not_ready = NULL;
	start();
	check_answer("GET /readyz HTTP/1.1\r\n\r\n", "HTTP/1.1 200 ", "ok\n");
	check_answer("GET /healthz HTTP/1.1\r\n\r\n", "HTTP/1.1 200 ", "ok\n");
}

Test(metrics_http, a_head_without_end_is_bounded)
{
	static char big[9000] = "GET /metrics HTTP/1.1\r\nx: ";
	struct peer p;

	start();
	memset(big + strlen(big), 'x', sizeof(big) - strlen(big));
	ask(&p, big, sizeof(big));
	cr_assert_eq(strncmp(sl_buf_ptr(&p.got), "HTTP/1.1 431 ", 13), 0);
	peer_close(&p);
}

Test(metrics_http, a_client_that_leaves_early_gets_nothing)
{
	struct peer p;

	start();
	peer_connect_tcp(&p, sl_metrics_http_address(http));
	peer_step(&p, loop);
	peer_send(&p, "GET /metrics", 12);
	shutdown(p.fd, SHUT_WR);
	peer_finish(&p, loop);
	cr_assert_eq(sl_buf_len(&p.got), 0);
	peer_close(&p);
}

Test(metrics_http, a_port_in_use_is_an_error)
{
	struct sl_metrics_http_opts again = opts;
	struct sl_metrics_http *second = NULL;

	start();
	again.address = *sl_metrics_http_address(http);
	cr_assert_neq(again.address.port, 0);
	cr_assert_eq(sl_metrics_http_open(loop, &again, &second), -EADDRINUSE);
	cr_assert_null(second);
}

Test(metrics_http, a_failed_allocation_is_survived)
{
	int r = -1;

	for (long n = 0; r; n++) {
		sl_alloc_fail_after(n);
		r = sl_metrics_http_open(loop, &opts, &http);
		sl_alloc_fail_after(-1);
		cr_assert(r == 0 || r == -ENOMEM);
		cr_assert_lt(n, 30);
	}
	for (long n = 0; n < 30; n++) {
		struct peer p;

		peer_connect_tcp(&p, sl_metrics_http_address(http));
		cr_assert_eq(sl_buf_reserve(&p.got, 65536), 0);
		while (send(p.fd, "GET /metrics HTTP/1.1\r\n\r\n", 25, MSG_NOSIGNAL) < 0)
			cr_assert_eq(errno, EAGAIN);
		sl_alloc_fail_after(n);
		for (int i = 0; i < 3; i++)
			cr_assert_eq(sl_loop_round(loop, 0), 0);
		sl_alloc_fail_after(-1);
		peer_finish(&p, loop);
		/* Either nothing, or one whole answer. */
		cr_assert(!sl_buf_len(&p.got) || strncmp(sl_buf_ptr(&p.got), "HTTP/1.1 ", 9) == 0);
		peer_close(&p);
	}
	check_answer("GET /healthz HTTP/1.1\r\n\r\n", "HTTP/1.1 200 ", "ok\n");
	check_leaks();
}
