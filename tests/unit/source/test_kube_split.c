/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include "base/alloc.h"
#include "source/kube_split.h"

/* What came out, one piece a line: "i TEXT" or "m TEXT". */
struct pieces {
	char text[4096];
	int result; /* of the callback */
};

static int collect(void *arg, enum sl_kube_piece piece, struct sl_str text)
{
	struct pieces *p = arg;
	size_t len = strlen(p->text);

	(void)snprintf(p->text + len, sizeof(p->text) - len, "%c %.*s\n",
		       piece == SL_KUBE_PIECE_ITEM ? 'i' : 'm', SL_STR_ARG(text));
	return p->result;
}

static int feed_by(struct sl_kube_split *s, const char *text, size_t step)
{
	size_t len = strlen(text);

	for (size_t at = 0; at < len; at += step) {
		size_t n = len - at < step ? len - at : step;
		int r = sl_kube_split_feed(s, (struct sl_str){text + at, n});

		if (r)
			return r;
	}
	return sl_kube_split_end(s);
}

struct split_case {
	bool is_list;
	const char *in, *out;
	int r;
};

static const struct split_case cases[] = {
	/* lists */
	{true,
	 "{\"kind\":\"PodList\",\"metadata\":{\"resourceVersion\":\"7\"},\"items\":[{\"a\":1},{"
	 "\"b\":[{}]}]}",
	 "m {\"resourceVersion\":\"7\"}\ni {\"a\":1}\ni {\"b\":[{}]}\n", 0},
	{true, "{\"items\":[],\"metadata\":{}}", "m {}\n", 0},
	{true, "{\"items\":null,\"metadata\":{}}", "m {}\n", 0},
	{true, " {\n \"items\" : [ {\"a\" : \"}\"} ,\n {\"b\":\"\\\"]\"}\n]\n}\n",
	 "i {\"a\" : \"}\"}\ni {\"b\":\"\\\"]\"}\n", 0},
	{true,
	 "{\"x\":{\"items\":[{\"no\":1}],\"metadata\":{\"no\":1}},\"items\":[{\"metadata\":{"
	 "\"name\":\"n\"},\"items\":[{}]}]}",
	 "i {\"metadata\":{\"name\":\"n\"},\"items\":[{}]}\n", 0},
	{true, "{\"itemsx\":[{}],\"item\":[{}],\"xitems\":[{}]}", "", 0},
	{true, "{\"a name longer than what is kept of it\":[{}]}", "", 0},
	{true, "{\"\\u0069tems\":[{\"escaped names are none of ours\":1}]}", "", 0},
	{true, "{\"kind\":\"items\",\"other\":[{}]}", "", 0},
	{true, "{\"items\":[1,\"x\",[{}],{\"a\":1}]}", "i {\"a\":1}\n", 0},
	{true, "{\"items\":[{\"a\":1}", "i {\"a\":1}\n", -EBADMSG},
	{true, "", "", -EBADMSG},
	{true, "[]", "", -EBADMSG},
	{true, "{}{}", "", -EBADMSG},
	{true, "{\"items\":[]}]", "", -EBADMSG},
	{true, "Internal error", "", -EBADMSG},
	/* watches */
	{false, "{\"type\":\"ADDED\",\"object\":{\"a\":\"{\"}}\n{\"type\":\"DELETED\"}\n",
	 "i {\"type\":\"ADDED\",\"object\":{\"a\":\"{\"}}\ni {\"type\":\"DELETED\"}\n", 0},
	{false, "{}{} \r\n\t{}", "i {}\ni {}\ni {}\n", 0},
	{false, "", "", 0},
	{false, "{\"a\":1}{\"b\"", "i {\"a\":1}\n", -EBADMSG},
	{false, "[{}]", "", -EBADMSG},
	{false, "{},{}", "i {}\n", -EBADMSG},
	{false, "\"text\"", "", -EBADMSG},
	{false, "}", "", -EBADMSG},
};

Test(kube_split, pieces_are_the_same_however_the_bytes_come)
{
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		for (size_t step = 1; step <= strlen(cases[i].in) + 1; step++) {
			struct pieces p = {0};
			struct sl_kube_split s;
			int r;

			sl_kube_split_init(&s, cases[i].is_list, 1000, collect, &p);
			r = feed_by(&s, cases[i].in, step);
			cr_expect_eq(r, cases[i].r, "%s by %zu: %d", cases[i].in, step, r);
			cr_expect_str_eq(p.text, cases[i].out, "%s by %zu", cases[i].in, step);
			sl_kube_split_deinit(&s);
		}
	}
}

Test(kube_split, a_piece_over_the_limit_is_left_out_and_counted)
{
	static const char list[] =
		"{\"items\":[{\"a\":1},{\"b\":\"too long to be kept\"},{\"c\":1}]}";

	for (size_t step = 1; step < sizeof(list); step++) {
		struct pieces p = {0};
		struct sl_kube_split s;

		sl_kube_split_init(&s, true, 10, collect, &p);
		cr_expect_eq(feed_by(&s, list, step), 0);
		cr_expect_str_eq(p.text, "i {\"a\":1}\ni {\"c\":1}\n", "by %zu", step);
		cr_expect_eq(s.n_too_long, 1);
		sl_kube_split_deinit(&s);
	}
}

Test(kube_split, nesting_has_a_limit)
{
	struct pieces p = {0};
	struct sl_kube_split s;
	int r = 0;

	sl_kube_split_init(&s, false, 1 << 20, collect, &p);
	for (int i = 0; i < 100000 && !r; i++)
		r = sl_kube_split_feed(&s, i ? SL_STR("[") : SL_STR("{"));
	cr_assert_eq(r, -EBADMSG);
	sl_kube_split_deinit(&s);
}

Test(kube_split, what_the_callback_returns_ends_it)
{
	struct pieces p = {.result = -ESTALE};
	struct sl_kube_split s;

	sl_kube_split_init(&s, false, 100, collect, &p);
	cr_assert_eq(sl_kube_split_feed(&s, SL_STR("{}{}")), -ESTALE);
	cr_assert_str_eq(p.text, "i {}\n");
	sl_kube_split_deinit(&s);
}

Test(kube_split, each_allocation_may_fail)
{
	long n = 0;
	int r;

	do {
		struct pieces p = {0};
		struct sl_kube_split s;

		sl_kube_split_init(&s, true, 1000, collect, &p);
		sl_alloc_fail_after(n++);
		r = feed_by(&s, "{\"items\":[{\"a\":1}]}", 3);
		sl_alloc_fail_after(-1);
		cr_assert(r == 0 || r == -ENOMEM);
		sl_kube_split_deinit(&s);
	} while (r);
	cr_assert_gt(n, 1);
}
