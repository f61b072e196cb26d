/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <errno.h>
#include <math.h>
#include <pthread.h>
#include "base/alloc.h"
#include "base/clock.h"
#include "exposition.h"
#include "obs/metrics.h"
#include "../../lib/leak.h"

static struct sl_metrics *metrics;
static struct sl_buf text;
static struct exposition parsed;

static void start(uint32_t n_workers, uint32_t max_series)
{
	struct sl_metrics_opts opts = {.n_workers = n_workers, .max_series = max_series};

	cr_assert_eq(sl_metrics_new(&opts, &metrics), 0);
}

static void teardown(void)
{
	exposition_deinit(&parsed);
	sl_buf_deinit(&text);
	sl_metrics_free(metrics);
}

TestSuite(metrics, .fini = teardown);

static void render(void)
{
	exposition_deinit(&parsed);
	sl_buf_consume(&text, sl_buf_len(&text));
	cr_assert_eq(sl_metrics_render(metrics, &text), 0);
	exposition_parse(&parsed, sl_buf_str(&text));
	cr_assert_str_empty(parsed.error, "%s", parsed.error);
}

static double value(const char *series)
{
	double v = exposition_value(&parsed, series);

	cr_assert_not(isnan(v), "no %s in\n%.*s", series, SL_STR_ARG(sl_buf_str(&text)));
	return v;
}

static bool contains(const char *part)
{
	return memmem(sl_buf_ptr(&text), sl_buf_len(&text), part, strlen(part));
}

static struct sl_metrics_request request(const char *route, uint32_t code, uint64_t duration_ns)
{
	return (struct sl_metrics_request){
		.service = SL_STR("shop/cart:80"),
		.route = sl_str_from(route),
		.rule = SL_STR("0"),
		.backend = SL_STR("shop/cart-v2:8080"),
		.code = code,
		.duration_ns = duration_ns,
	};
}

Test(metrics, an_idle_agent_renders_a_valid_exposition)
{
	start(2, 0);
	render();
	cr_assert_eq(value("sluice_connections_total{result=\"accepted\"}"), 0);
	cr_assert_eq(value("sluice_upstream_pool{state=\"leased\"}"), 0);
	cr_assert_eq(value("sluice_build_info{version=\"" SL_VERSION "\"}"), 1);
	cr_assert_eq(value("sluice_upstream_first_byte_seconds_count"), 0);
}

Test(metrics, each_counter_and_gauge_has_a_sample_of_its_own)
{
	struct sl_metrics_shard *s;
	bool found[SL_COUNTER_MAX + SL_GAUGE_MAX + SL_END_MAX + 1] = {false};

	start(1, 0);
	s = sl_metrics_shard(metrics, 0);
	for (unsigned i = 0; i < SL_COUNTER_MAX; i++)
		sl_metrics_add(s, i, 1000 + i);
	for (unsigned i = 0; i < SL_GAUGE_MAX; i++)
		sl_metrics_gauge_set(s, i, 1000 + SL_COUNTER_MAX + i);
	for (unsigned i = 0; i < SL_END_MAX; i++) {
		for (unsigned n = 0; n < 1000 + SL_COUNTER_MAX + SL_GAUGE_MAX + i; n++)
			sl_metrics_end(s, i);
	}
	render();
	for (size_t i = 0; i < parsed.n; i++) {
		double v = parsed.samples[i].value - 1000;

		if (v >= 0 && v < SL_COUNTER_MAX + SL_GAUGE_MAX + SL_END_MAX)
			found[(int)v] = true;
	}
	for (size_t i = 0; i < SL_COUNTER_MAX + SL_GAUGE_MAX + SL_END_MAX; i++)
		cr_assert(found[i], "value %zu is not shown", i);
	cr_assert_eq(value("sluice_end_reason_total{reason=\"shutdown\"}"),
		     1000 + SL_COUNTER_MAX + SL_GAUGE_MAX + SL_END_SHUTDOWN);
}

static bool is_cart(void *arg, struct sl_str service)
{
	return sl_str_eqc(service, arg);
}

Test(metrics, requests_are_counted_by_what_shadow_routes_would_change)
{
	static char cart[] = "shop/cart:80";
	struct sl_metrics_shadows n;

	start(2, 0);
	for (uint32_t i = 0; i < 2; i++) {
		struct sl_metrics_shard *s = sl_metrics_shard(metrics, i);
		struct sl_metrics_request rq = request("HTTPRoute/shop/next", 0, 0), none = {0};

		none.service = rq.service;
		sl_metrics_shadow(s, &none, SL_SHADOW_UNAFFECTED);
		sl_metrics_shadow(s, &rq, SL_SHADOW_SAME);
		sl_metrics_shadow(s, &rq, SL_SHADOW_DIFFERS);
		rq.service = SL_STR("shop/other:80");
		sl_metrics_shadow(s, &rq, SL_SHADOW_DIFFERS);
	}
	render();
	cr_assert_eq(
		value("sluice_shadow_requests_total{service=\"shop/cart:80\",route=\"HTTPRoute/"
		      "shop/next\",rule=\"0\",result=\"same\"}"),
		2);
	cr_assert_eq(value("sluice_shadow_requests_total{service=\"shop/cart:80\",route=\"\",rule="
			   "\"\",result=\"unaffected\"}"),
		     2);
	n = sl_metrics_route_shadows(metrics, SL_STR("HTTPRoute/shop/next"), is_cart, cart);
	cr_assert_eq(n.evaluated, 6);
	cr_assert_eq(n.matched, 6);
	cr_assert_eq(n.differs, 4);
	n = sl_metrics_route_shadows(metrics, SL_STR("HTTPRoute/shop/nobody"), is_cart, cart);
	cr_assert_eq(n.evaluated, 6);
	cr_assert_eq(n.matched, 0);
}

Test(metrics, shards_are_added_up)
{
	start(3, 0);
	for (uint32_t i = 0; i < 3; i++) {
		struct sl_metrics_shard *s = sl_metrics_shard(metrics, i);
		struct sl_metrics_request rq = request("HTTPRoute/shop/cart", 200, SL_NS_PER_MS);

		sl_metrics_inc(s, SL_COUNTER_TUNNELS);
		sl_metrics_gauge_add(s, SL_GAUGE_CONNS, 5);
		sl_metrics_gauge_add(s, SL_GAUGE_CONNS, -(int64_t)i);
		sl_metrics_observe(s, SL_HISTOGRAM_CONNECT, SL_NS_PER_S);
		sl_metrics_request(s, &rq);
	}
	render();
	cr_assert_eq(value("sluice_tunnels_total"), 3);
	cr_assert_eq(sl_metrics_counter(metrics, SL_COUNTER_TUNNELS), 3);
	cr_assert_eq(value("sluice_connections_active"), 12);
	cr_assert_eq(sl_metrics_gauge(metrics, SL_GAUGE_CONNS), 12);
	cr_assert_eq(value("sluice_upstream_connect_duration_seconds_count"), 3);
	cr_assert_eq(value("sluice_upstream_connect_duration_seconds_sum"), 3);
	cr_assert_eq(value("sluice_requests_total{service=\"shop/cart:80\",route=\"HTTPRoute/shop/"
			   "cart\",rule=\"0\",backend=\"shop/cart-v2:8080\",code=\"200\"}"),
		     3);
	cr_assert_eq(sl_metrics_route_requests(metrics, SL_STR("HTTPRoute/shop/cart")), 3);
	cr_assert_eq(sl_metrics_route_requests(metrics, SL_STR("HTTPRoute/shop/car")), 0);
}

/* Label sets more than it can hold, each met twice, beside a shard that looks each one up. */
Test(metrics, what_was_found_lately_is_counted_the_same)
{
	enum { N = 3 * SL_METRICS_RECENT };
	static struct sl_metrics_recent recent;
	char names[N][2][8];

	start(1, 0);
	for (int again = 0; again < 2; again++) {
		for (uint32_t i = 0; i < N; i++) {
			struct sl_metrics_request rq = request("r", 200, 0);

			rq.recent = &recent;
			(void)snprintf(names[i][0], sizeof(names[i][0]), "s%u", i / 8);
			(void)snprintf(names[i][1], sizeof(names[i][1]), "b%u", i % 4);
			rq.service = sl_str_from(names[i / 8 * 8][0]);
			rq.backend = sl_str_from(names[i % 4][1]);
			rq.code = i % 8 < 4 ? 200 : 503;
			sl_metrics_request(sl_metrics_shard(metrics, 0), &rq);
		}
	}
	render();
	for (uint32_t i = 0; i < N; i++) {
		char name[128];

		(void)snprintf(name, sizeof(name),
			       "sluice_requests_total{service=\"s%u\",route=\"r\",rule=\"0\","
			       "backend=\"b%u\",code=\"%u\"}",
			       i / 8, i % 4, i % 8 < 4 ? 200 : 503);
		cr_assert_eq(value(name), 2, "%s", name);
		(void)snprintf(name, sizeof(name),
			       "sluice_request_duration_seconds_count{service=\"s%u\",route=\"r\"}",
			       i / 8);
		cr_assert_eq(value(name), 16, "%s", name);
	}
}

/* A label of the same address and another length is another one; so is none. */
Test(metrics, what_was_found_lately_is_told_apart_by_every_label)
{
	static struct sl_metrics_recent recent;
	struct sl_metrics_request base = request("r", 200, 0);
	struct sl_str *const labels[] = {&base.service, &base.route, &base.rule, &base.backend};

	base.recent = &recent;
	start(1, 0);
	for (int i = 0; i < 5; i++) {
		struct sl_str was = i < 4 ? *labels[i] : SL_STR_NULL;

		sl_metrics_request(sl_metrics_shard(metrics, 0), &base);
		if (i < 4)
			labels[i]->len--;
		else
			base.code = 0;
		sl_metrics_request(sl_metrics_shard(metrics, 0), &base);
		if (i < 4)
			*labels[i] = was;
	}
	render();
	cr_assert_eq(value("sluice_requests_total{service=\"shop/cart:80\",route=\"r\",rule=\"0\","
			   "backend=\"shop/cart-v2:8080\",code=\"200\"}"),
		     5);
}

Test(metrics, series_past_the_limit_are_not_remembered)
{
	static struct sl_metrics_recent recent;
	struct sl_metrics_request rq = request("r", 200, 0);

	rq.recent = &recent;
	start(1, 1);
	sl_metrics_request(sl_metrics_shard(metrics, 0), &rq);
	rq.code = 503;
	for (int i = 0; i < 3; i++)
		sl_metrics_request(sl_metrics_shard(metrics, 0), &rq);
	for (size_t i = 0; i < SL_METRICS_RECENT; i++)
		cr_assert_neq(recent.found[i].code, 503);
	render();
	cr_assert_eq(value("sluice_requests_total{service=\"other\",route=\"other\",rule=\"other\","
			   "backend=\"other\",code=\"other\"}"),
		     3);
}

Test(metrics, requests_differ_by_every_label)
{
	struct sl_metrics_request base = request("r", 200, 0);
	struct sl_metrics_shard *s;
	size_t n = 0;

	start(1, 0);
	s = sl_metrics_shard(metrics, 0);
	sl_metrics_request(s, &base);
	for (int i = 0; i < 5; i++) {
		struct sl_metrics_request rq = base;

		if (i < 4)
			(i == 0	  ? &rq.service
			 : i == 1 ? &rq.route
			 : i == 2 ? &rq.rule
				  : &rq.backend)
				->len = 0;
		else
			rq.code = 0;
		sl_metrics_request(s, &rq);
		sl_metrics_request(s, &rq);
	}
	/* The same text, divided otherwise. */
	base.route = SL_STR("r0");
	base.rule = SL_STR_NULL;
	sl_metrics_request(s, &base);
	render();
	for (size_t i = 0; i < parsed.n; i++)
		n += strcmp(parsed.samples[i].family, "sluice_requests_total") == 0;
	cr_assert_eq(n, 7);
	cr_assert_eq(value("sluice_requests_total{service=\"shop/cart:80\",route=\"\",rule=\"0\","
			   "backend=\"shop/cart-v2:8080\",code=\"200\"}"),
		     2);
	cr_assert_eq(value("sluice_request_duration_seconds_count{service=\"\",route=\"r\"}"), 2);
}

Test(metrics, durations_fall_into_the_right_bucket)
{
	static const struct {
		uint64_t ns;
		double le;
	} cases[] = {
		{0, 0.0005},	  {500 * SL_NS_PER_US, 0.0005}, {500 * SL_NS_PER_US + 1, 0.001},
		{SL_NS_PER_S, 1}, {60 * SL_NS_PER_S, 60},	{60 * SL_NS_PER_S + 1, INFINITY},
	};
	struct sl_metrics_shard *s;

	start(1, 0);
	s = sl_metrics_shard(metrics, 0);
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		double before = 0;

		sl_metrics_observe(s, SL_HISTOGRAM_FIRST_BYTE, cases[i].ns);
		render();
		for (size_t k = 0; k < parsed.n; k++) {
			const struct sample *b = &parsed.samples[k];
			double want = 0;

			if (strcmp(b->series, "sluice_upstream_first_byte_seconds_bucket") != 0)
				continue;
			for (size_t j = 0; j <= i; j++)
				want += cases[j].le <= b->le;
			cr_assert_eq(b->value, want, "case %zu, le %g", i, b->le);
			before = b->le;
		}
		cr_assert(isinf(before));
	}
	cr_assert_float_eq(value("sluice_upstream_first_byte_seconds_sum"), 121.001000002, 1e-9);
}

Test(metrics, label_values_are_escaped)
{
	struct sl_metrics_request rq = request("a\\b\"c\nd", 200, 0);

	start(1, 0);
	rq.rule = SL_STR("\xff\xc3\xa4\xed\xa0\x80");
	sl_metrics_request(sl_metrics_shard(metrics, 0), &rq);
	render();
	cr_assert(contains("route=\"a\\\\b\\\"c\\nd\""));
	cr_assert(contains("rule=\"\xef\xbf\xbd\xc3\xa4\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""));
}

Test(metrics, past_the_limit_of_series_requests_are_counted_as_other)
{
	struct sl_metrics_shard *s;
	double total = 0;
	size_t n = 0;

	start(1, 10);
	s = sl_metrics_shard(metrics, 0);
	for (uint32_t i = 0; i < 100; i++) {
		struct sl_metrics_request rq = request("r", i, 0);

		sl_metrics_request(s, &rq);
	}
	render();
	for (size_t i = 0; i < parsed.n; i++) {
		if (strcmp(parsed.samples[i].family, "sluice_requests_total") != 0)
			continue;
		total += parsed.samples[i].value;
		n++;
	}
	cr_assert_eq(n, 11);
	cr_assert_eq(total, 100);
	cr_assert_eq(value("sluice_requests_total{service=\"other\",route=\"other\",rule=\"other\","
			   "backend=\"other\",code=\"other\"}"),
		     90);
}

static void source(struct sl_metrics_out *o, void *arg)
{
	struct sl_metric_label cookie = {"netns", SL_STR("4026531840")};

	sl_metrics_out_family(o, "sluice_netns", "Namespaces\\served\nnow.", SL_METRIC_GAUGE);
	sl_metrics_out_u64(o, &cookie, 1, *(uint64_t *)arg);
	sl_metrics_out_family(o, "sluice_heartbeat_age_seconds", "Age.", SL_METRIC_GAUGE);
	sl_metrics_out_ns(o, NULL, 0, 1234 * SL_NS_PER_MS);
}

Test(metrics, sources_add_families)
{
	uint64_t n = UINT64_MAX;

	start(1, 0);
	cr_assert_eq(sl_metrics_add_source(metrics, source, &n), 0);
	render();
	cr_assert_eq(value("sluice_netns{netns=\"4026531840\"}"), (double)UINT64_MAX);
	cr_assert_float_eq(value("sluice_heartbeat_age_seconds"), 1.234, 1e-12);
	cr_assert(contains("# HELP sluice_netns Namespaces\\\\served\\nnow.\n"));
}

Test(metrics, end_reasons_have_distinct_names)
{
	for (unsigned i = 0; i < SL_END_MAX; i++) {
		cr_assert_neq(*sl_end_reason_name(i), '\0');
		for (unsigned k = 0; k < i; k++)
			cr_assert_str_neq(sl_end_reason_name(i), sl_end_reason_name(k));
	}
	cr_assert_str_eq(sl_end_reason_name(SL_END_MAX), "");
}

enum { N_ROUNDS = 20000 };

static void *work(void *arg)
{
	char route[16];

	for (uint32_t i = 0; i < N_ROUNDS; i++) {
		struct sl_metrics_request rq;

		(void)snprintf(route, sizeof(route), "r%u", i / 1000);
		rq = request(route, 200, i);
		sl_metrics_request(arg, &rq);
	}
	return NULL;
}

Test(metrics, rendering_while_workers_count)
{
	pthread_t threads[2];
	double seen = 0;

	start(2, 0);
	for (uint32_t i = 0; i < 2; i++)
		cr_assert_eq(pthread_create(&threads[i], NULL, work, sl_metrics_shard(metrics, i)),
			     0);
	while (seen < 2 * N_ROUNDS) {
		double now = 0;

		render();
		for (size_t i = 0; i < parsed.n; i++) {
			if (strcmp(parsed.samples[i].family, "sluice_requests_total") == 0)
				now += parsed.samples[i].value;
		}
		cr_assert_geq(now, seen, "a counter went back");
		seen = now;
	}
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	cr_assert_eq(value("sluice_request_duration_seconds_count{service=\"shop/cart:80\","
			   "route=\"r19\"}"),
		     2000);
}

Test(metrics, a_failed_allocation_is_survived)
{
	struct sl_metrics_opts opts = {.n_workers = 2, .max_series = 4};
	struct sl_metrics_request rq = request("r", 200, 0);
	int r = -1;

	for (long n = 0; r; n++) {
		sl_alloc_fail_after(n);
		r = sl_metrics_new(&opts, &metrics);
		sl_alloc_fail_after(-1);
		cr_assert(r == 0 || r == -ENOMEM);
		cr_assert_lt(n, 100);
	}
	/* A label set that cannot be remembered is counted as other. */
	for (long n = 0; n < 6; n++) {
		sl_alloc_fail_after(n);
		sl_metrics_request(sl_metrics_shard(metrics, 0), &rq);
		sl_alloc_fail_after(-1);
	}
	cr_assert_eq(sl_metrics_route_requests(metrics, SL_STR("r")) +
			     sl_metrics_route_requests(metrics, SL_STR("other")),
		     6);
	cr_assert_gt(sl_metrics_route_requests(metrics, SL_STR("other")), 0);
	r = -1;
	for (long n = 0; r; n++) {
		sl_buf_deinit(&text);
		sl_alloc_fail_after(n);
		r = sl_metrics_render(metrics, &text);
		sl_alloc_fail_after(-1);
		cr_assert(r == 0 || r == -ENOMEM);
		cr_assert_lt(n, 100);
	}
	sl_alloc_fail_after(0);
	r = sl_metrics_add_source(metrics, source, NULL);
	sl_alloc_fail_after(-1);
	cr_assert_eq(r, -ENOMEM);
	render();
	check_leaks();
}

Test(metrics, a_full_buffer_is_reported)
{
	struct sl_buf small = SL_BUF_INIT(500);

	start(1, 0);
	cr_assert_eq(sl_metrics_render(metrics, &small), -ENOBUFS);
	sl_buf_deinit(&small);
}

Test(exposition, the_reader_refuses_what_is_wrong)
{
	static const char *const bad[] = {
		"x_total 1\n",
		"# HELP x_total h\nx_total 1\n",
		"# HELP x_total h\n# TYPE x_total counter\nx_total 1",
		"# HELP x_total h\n# TYPE x_total counter\nx_total -1\n",
		"# HELP x_total h\n# TYPE x_total counter\nx_total 1\nx_total 1\n",
		"# HELP x_total h\n# TYPE x_total counter\ny_total 1\n",
		"# HELP x_total h\n# TYPE x_total counter\nx_total{} 1\n",
		"# HELP x_total h\n# TYPE x_total counter\nx_total{a=\"\\t\"} 1\n",
		"# HELP x_total h\n# TYPE x_total counter\nx_total{a=\"b\",} 1\n",
		"# HELP x_total h\n# TYPE x_total counter\nx_total{a=\"\xff\"} 1\n",
		"# HELP x h\n# TYPE x counter\nx 1\n",
		"# HELP x h\n# TYPE x histogram\nx_bucket{le=\"1\"} 2\nx_bucket{le=\"+Inf\"} 1\n",
		"# HELP x h\n# TYPE x histogram\nx_bucket{le=\"+Inf\"} 1\nx_sum 1\nx_count 2\n",
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		struct exposition e;

		exposition_parse(&e, sl_str_from(bad[i]));
		cr_assert_str_not_empty(e.error, "accepted: %s", bad[i]);
		exposition_deinit(&e);
	}
}
