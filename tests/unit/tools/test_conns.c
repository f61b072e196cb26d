/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include "answer.h"
#include "base/alloc.h"
#include "sluicectl/conns.h"
#include "sluicectl/human.h"
#include "sluicectl/view.h"
#include "../../lib/leak.h"

#define BEFORE                                                             \
	"{'connections':[{'id':'a','received':100,'sent':0,'requests':1}," \
	"{'id':'gone','received':5,'sent':5,'requests':1}],'total':2}"
#define NOW                                                                                      \
	"{'connections':[{'id':'a','pod':'shop/c','client':'10.0.0.1:4000','service':"           \
	"'shop/web:80','state':'waiting','protocol':'HTTP/1.1','method':'GET','path':'/x',"      \
	"'endpoint':'10.0.0.2:80','requests':3,'received':2148,'sent':10485760,'age_ms':61999}," \
	"{'id':'b','client':'10.0.0.1:4001','state':'tunnel','protocol':'tcp','requests':0,"     \
	"'received':1,'sent':2,'age_ms':10}],'total':2,'left_out':false,'workers_missing':0}"

Test(conns, a_table)
{
	answer_check(sl_view_conns, NOW,
		     "POD     CLIENT         SERVICE      STATE    PROTOCOL  REQUEST  ENDPOINT     "
		     "REQUESTS  RECEIVED  SENT  AGE\n"
		     "shop/c  10.0.0.1:4000  shop/web:80  waiting  HTTP/1.1  GET /x   10.0.0.2:80  "
		     "3         2.1K      10M   1m1s\n"
		     "-       10.0.0.1:4001  -            tunnel   tcp       -        -            "
		     "0         1         2     0s\n");
	answer_check(
		sl_view_conns,
		"{'connections':[{'client':'c'}],'total':7,'left_out':true,'workers_missing':1}",
		"CLIENT  AGE\nc       0s\n1 of 7 shown, --all shows all\n"
		"1 workers did not answer in time\n");
	answer_check(sl_view_conns, "{'connections':[],'total':0}", "no connections\n");
	answer_check(sl_view_conns, "{'connections':7}", "no connections\n");
	check_leaks();
}

Test(conns, who_carries_them)
{
	answer_check(
		sl_view_conns,
		"{'connections':["
		"{'client':'a','splice':'plain'},"
		"{'client':'b','splice':'candidate'},"
		"{'client':'c','splice':'spliced','endpoint_splice':'plain',"
		"'endpoint_splice_why':'remote'},"
		"{'client':'d','splice':'left','splice_why':'length','endpoint_splice':'spliced'},"
		"{'client':'e','splice':'plain','splice_why':'blocking'},"
		"{'client':'f','splice':'plain','endpoint_splice':'spliced'}],'total':6}",
		"CLIENT  SPLICE               AGE\n"
		"a       -                    0s\n"
		"b       candidate            0s\n"
		"c       spliced/no:remote    0s\n"
		"d       left:length/spliced  0s\n"
		"e       no:blocking          0s\n"
		"f       -/spliced            0s\n");
	check_leaks();
}

static double rate(const json_t *answer, size_t i, const char *key)
{
	const json_t *conn = json_array_get(json_object_get(answer, "connections"), i);
	const json_t *j = json_object_get(conn, key);

	return j ? json_real_value(j) : -1;
}

Test(conns, rates_are_between_two_samples)
{
	json_t *before = answer_load(BEFORE), *now = answer_load(NOW);
	struct sl_buf out = SL_BUF_INIT(0);

	cr_assert_eq(sl_conns_rates(before, now, 2000), 0);
	cr_assert_float_eq(rate(now, 0, "received_rate"), 1024, 0.01);
	cr_assert_float_eq(rate(now, 0, "sent_rate"), 5242880, 0.01);
	cr_assert_float_eq(rate(now, 0, "requests_rate"), 1, 0.01);
	cr_assert_float_eq(rate(now, 1, "received_rate"), -1, 0.01, "it is new");
	cr_assert_eq(sl_view_conns(now, &out), 0);
	cr_assert_eq(sl_buf_append(&out, "", 1), 0);
	cr_assert_not_null(strstr(sl_buf_ptr(&out), "  1.0K/5.0M  "), "%s", sl_buf_ptr(&out));
	sl_buf_deinit(&out);
	json_decref(before);
	json_decref(now);
	check_leaks();
}

Test(conns, a_failed_allocation_is_reported)
{
	json_t *before = answer_load(BEFORE);
	int r = -ENOMEM;

	for (long n = 0; r; n++) {
		struct sl_buf out = SL_BUF_INIT(0);
		json_t *now = answer_load(NOW);

		(void)sl_alloc_fail_after(n);
		r = sl_conns_rates(before, now, 1000);
		if (!r)
			r = sl_view_conns(now, &out);
		(void)sl_alloc_fail_after(-1);
		cr_assert(r == 0 || r == -ENOMEM);
		cr_assert_lt(n, 100);
		json_decref(now);
		sl_buf_deinit(&out);
	}
	json_decref(before);
	check_leaks();
}

Test(conns, numbers_for_people)
{
	char t[SL_HUMAN_TEXT];

	cr_expect_str_eq(sl_human_bytes(t, 0), "0");
	cr_expect_str_eq(sl_human_bytes(t, 1023), "1023");
	cr_expect_str_eq(sl_human_bytes(t, 1536), "1.5K");
	cr_expect_str_eq(sl_human_bytes(t, 123.0 * 1024 * 1024), "123M");
	cr_expect_str_eq(sl_human_bytes(t, 1e30), "867361737988E");
	cr_expect_str_eq(sl_human_seconds(t, 59), "59s");
	cr_expect_str_eq(sl_human_seconds(t, 3725), "1h2m");
	cr_expect_str_eq(sl_human_seconds(t, 90000), "1d1h");
	cr_expect_str_eq(sl_human_latency(t, 0.00052), "0.5ms");
	cr_expect_str_eq(sl_human_latency(t, 0.25), "250ms");
	cr_expect_str_eq(sl_human_latency(t, 2.5), "2.5s");
}
