/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include "answer.h"
#include "base/alloc.h"
#include "sluicectl/prom.h"
#include "sluicectl/top.h"
#include "../../lib/leak.h"

Test(prom, samples_with_and_without_labels)
{
	struct sl_str text = SL_STR("# HELP a b\n"
				    "a 1\n"
				    "nonsense\n"
				    "b{x=\"1\",y=\"a\\\"}\\\\\\nb\"} 2.5\n"
				    "c{x=\"1} 3\n"
				    "d{x=\"1\"} three\n"
				    "e{} 4\n"
				    "f 5");
	static const struct {
		const char *name, *labels;
		double value;
	} want[] = {{"a", "", 1},
		    {"b", "x=\"1\",y=\"a\\\"}\\\\\\nb\"", 2.5},
		    {"e", "", 4},
		    {"f", "", 5}};
	struct sl_arena arena = SL_ARENA_INIT(256);
	struct sl_prom_sample s;
	struct sl_str label;

	for (size_t i = 0; i < sizeof(want) / sizeof(*want); i++) {
		cr_assert(sl_prom_next(&text, &s), "sample %zu", i);
		cr_assert(sl_str_eqc(s.name, want[i].name), "sample %zu", i);
		cr_assert(sl_str_eqc(s.labels, want[i].labels), "sample %zu", i);
		cr_assert_float_eq(s.value, want[i].value, 1e-9);
		if (i != 1)
			continue;
		cr_assert_eq(sl_prom_label(s.labels, "y", &arena, &label), 0);
		cr_assert(sl_str_eqc(label, "a\"}\\\nb"), "%.*s", SL_STR_ARG(label));
		cr_assert_eq(sl_prom_label(s.labels, "z", &arena, &label), 0);
		cr_assert_eq(label.len, 0);
	}
	cr_assert_not(sl_prom_next(&text, &s));
	sl_arena_deinit(&arena);
}

Test(prom, odd_labels_have_no_value)
{
	static const char *const odd[] = {"x",	 "x=",	   "x=\"", "x=\"a",
					  "x=a", "=\"b\"", ",",	   "y=\"1\"x"};
	struct sl_arena arena = SL_ARENA_INIT(256);

	for (size_t i = 0; i < sizeof(odd) / sizeof(*odd); i++) {
		struct sl_str label;

		cr_assert_eq(sl_prom_label(sl_str_from(odd[i]), "x", &arena, &label), 0);
		cr_assert_eq(label.len, 0, "%s", odd[i]);
	}
	sl_arena_deinit(&arena);
}

#define ROW(service, route, ok, failed, b1, b2, all)                                    \
	"sluice_requests_total{service=\"" service "\",route=\"" route                  \
	"\",rule=\"0\",backend=\"b\",code=\"200\"} " #ok "\n"                           \
	"sluice_requests_total{service=\"" service "\",route=\"" route                  \
	"\",rule=\"1\",backend=\"b\",code=\"503\"} " #failed "\n"                       \
	"sluice_request_duration_seconds_bucket{service=\"" service "\",route=\"" route \
	"\",le=\"0.01\"} " #b1 "\n"                                                     \
	"sluice_request_duration_seconds_bucket{service=\"" service "\",route=\"" route \
	"\",le=\"0.1\"} " #b2 "\n"                                                      \
	"sluice_request_duration_seconds_bucket{service=\"" service "\",route=\"" route \
	"\",le=\"+Inf\"} " #all "\n"
#define GAUGES                                                    \
	"sluice_connections_active 7\nsluice_requests_active 2\n" \
	"sluice_spliced_active{hop=\"client\"} 1\nsluice_spliced_active{hop=\"endpoint\"} 2\n"

static const char before_text[] = GAUGES ROW("a/b:80", "R/a/x", 10, 0, 10, 10, 10);
static const char now_text[] = GAUGES ROW("a/b:80", "R/a/x", 190, 20, 110, 210, 210)
	ROW("a/c:80", "R/a/y", 2, 0, 0, 0, 2) ROW("a/d:80", "", 0, 0, 0, 0, 0);

static int compare(const char *before, const char *now, json_t **ret)
{
	struct sl_top_sample a, b;
	int r = sl_top_read(sl_str_from(before), &a);

	if (r)
		return r;
	r = sl_top_read(sl_str_from(now), &b);
	if (!r) {
		r = sl_top_compare(&a, &b, 2000, ret);
		sl_top_deinit(&b);
	}
	sl_top_deinit(&a);
	return r;
}

static void check_view(const char *before, const char *now, size_t max_rows, const char *want)
{
	struct sl_buf out = SL_BUF_INIT(0);
	json_t *answer = NULL;

	cr_assert_eq(compare(before, now, &answer), 0);
	cr_assert_eq(sl_top_view(answer, max_rows, &out), 0);
	cr_assert_eq(sl_buf_append(&out, "", 1), 0);
	cr_assert_str_eq(sl_buf_ptr(&out), want, "%s", sl_buf_ptr(&out));
	sl_buf_deinit(&out);
	json_decref(answer);
}

Test(top, what_happened_between_two_samples)
{
	check_view(before_text, now_text, 0,
		   "101.0 requests/s, 10.0 errors/s, 2 under way, 7 connections, 3 spliced\n"
		   "\n"
		   "REQUESTS/S  ERRORS/S  P50    P99    SERVICE  ROUTE\n"
		   "100.0       10.0      10ms   98ms   a/b:80   R/a/x\n"
		   "1.0         0.0       100ms  100ms  a/c:80   R/a/y\n"
		   "0.0         0.0       -      -      a/d:80   -\n");
	check_view(before_text, now_text, 1,
		   "101.0 requests/s, 10.0 errors/s, 2 under way, 7 connections, 3 spliced\n"
		   "\n"
		   "REQUESTS/S  ERRORS/S  P50   P99   SERVICE  ROUTE\n"
		   "100.0       10.0      10ms  98ms  a/b:80   R/a/x\n"
		   "and 2 more\n");
	check_leaks();
}

Test(top, counters_that_went_back_began_again)
{
	check_view(now_text, before_text, 0,
		   "5.0 requests/s, 0.0 errors/s, 2 under way, 7 connections, 3 spliced\n"
		   "\n"
		   "REQUESTS/S  ERRORS/S  P50    P99    SERVICE  ROUTE\n"
		   "5.0         0.0       5.0ms  9.9ms  a/b:80   R/a/x\n");
}

Test(top, nothing_yet)
{
	check_view("", "", 0,
		   "0.0 requests/s, 0.0 errors/s, 0 under way, 0 connections, 0 spliced\n\nno "
		   "requests yet\n");
}

Test(top, a_failed_allocation_is_reported)
{
	int r = -ENOMEM;

	for (long n = 0; r; n++) {
		json_t *answer = NULL;

		(void)sl_alloc_fail_after(n);
		r = compare(before_text, now_text, &answer);
		(void)sl_alloc_fail_after(-1);
		cr_assert(r == 0 || r == -ENOMEM);
		cr_assert_lt(n, 100);
		json_decref(answer);
	}
	check_leaks();
}
