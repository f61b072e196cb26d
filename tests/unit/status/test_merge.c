/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <errno.h>
#include <jansson.h>
#include "base/alloc.h"
#include "status/merge.h"

/* Entries in short: N is the parent, C the controller, then conditions. */
#define ENTRY(parent, controller, conditions)                              \
	"{'parentRef':{'name':'" parent "'},'controllerName':'" controller \
	"','conditions':[" conditions "]}"
#define OURS(parent, conditions)   ENTRY(parent, "sluice.dev/mesh", conditions)
#define THEIRS(parent, conditions) ENTRY(parent, "other.example/mesh", conditions)
#define CONDITION(type, status, generation, since)                                   \
	"{'type':'" type "','status':'" status "','observedGeneration':" #generation \
	",'lastTransitionTime':'" since "'}"

static json_t *parse(const char *text)
{
	char copy[4096];
	json_t *j;

	if (!text)
		return NULL;
	(void)snprintf(copy, sizeof(copy), "[%s]", text);
	for (char *p = copy; *p; p++) {
		if (*p == '\'')
			*p = '"';
	}
	j = json_loads(copy, 0, NULL);
	cr_assert_not_null(j, "%s", copy);
	return j;
}

struct merge_case {
	const char *what, *live, *desired, *merged;
	int r;
};

static const struct merge_case cases[] = {
	{"a first entry", NULL, OURS("a", CONDITION("Accepted", "True", 1, "now")),
	 OURS("a", CONDITION("Accepted", "True", 1, "now")), 0},
	{"nothing to say about nothing", NULL, "", NULL, SL_MERGE_SAME},
	{"nothing to say about an empty list", "", "", NULL, SL_MERGE_SAME},
	{"the same is not written", OURS("a", CONDITION("Accepted", "True", 1, "then")),
	 OURS("a", CONDITION("Accepted", "True", 1, "now")), NULL, SL_MERGE_SAME},
	{"a new generation keeps the time", OURS("a", CONDITION("Accepted", "True", 1, "then")),
	 OURS("a", CONDITION("Accepted", "True", 2, "now")),
	 OURS("a", CONDITION("Accepted", "True", 2, "then")), 0},
	{"a new status has a new time", OURS("a", CONDITION("Accepted", "True", 1, "then")),
	 OURS("a", CONDITION("Accepted", "False", 1, "now")),
	 OURS("a", CONDITION("Accepted", "False", 1, "now")), 0},
	{"what a later generation said is left",
	 OURS("a", CONDITION("Accepted", "True", 3, "then")),
	 OURS("a", CONDITION("Accepted", "False", 2, "now")), NULL, SL_MERGE_NEWER},
	{"others' entries keep place and bytes",
	 THEIRS("a", "{'type':'X'}") "," OURS("gone", "") "," THEIRS("b", ""),
	 OURS("a", CONDITION("Accepted", "True", 1, "now")),
	 THEIRS("a", "{'type':'X'}") "," THEIRS("b", "") "," OURS(
		 "a", CONDITION("Accepted", "True", 1, "now")),
	 0},
	{"ours is replaced where it is",
	 OURS("a", CONDITION("Accepted", "True", 1, "then")) "," THEIRS("a", ""),
	 OURS("b", CONDITION("Accepted", "True", 1, "now")) "," OURS(
		 "a", CONDITION("Accepted", "True", 2, "now")),
	 OURS("a", CONDITION("Accepted", "True", 2, "then")) "," THEIRS("a", "") "," OURS(
		 "b", CONDITION("Accepted", "True", 1, "now")),
	 0},
	{"a condition of somebody else in our entry stays, one of ours that is over goes",
	 OURS("a", CONDITION("PartiallyInvalid", "True", 1, "then") "," CONDITION(
			   "example.com/Seen", "True", 1, "then") "," CONDITION("Accepted", "True",
										1, "then")),
	 OURS("a", CONDITION("Accepted", "True", 1, "now") "," CONDITION("ResolvedRefs", "True", 1,
									 "now")),
	 OURS("a", CONDITION("example.com/Seen", "True", 1, "then") "," CONDITION(
			   "Accepted", "True", 1, "then") "," CONDITION("ResolvedRefs", "True", 1,
									"now")),
	 0},
	{"what is no entry is left alone", "7,{'controllerName':5},null", OURS("a", ""),
	 "7,{'controllerName':5},null," OURS("a", ""), 0},
};

static int merge(const struct merge_case *c, json_t **ret)
{
	json_t *live = parse(c->live), *desired = parse(c->desired);
	int r = sl_status_merge(live, desired, SL_STATUS_PARENTS_MAX, ret);

	json_decref(live);
	json_decref(desired);
	return r;
}

Test(merge, our_entries_come_and_go_beside_others)
{
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		json_t *got = NULL, *expected = parse(cases[i].merged);
		int r = merge(&cases[i], &got);
		char *text = got ? json_dumps(got, JSON_COMPACT) : NULL;

		cr_expect_eq(r, cases[i].r, "%s: %d", cases[i].what, r);
		if (expected)
			cr_expect(got && json_equal(got, expected), "%s: %s", cases[i].what, text);
		else
			cr_expect_null(got, "%s: %s", cases[i].what, text);
		free(text);
		json_decref(got);
		json_decref(expected);
	}
}

Test(merge, a_full_list_takes_no_more)
{
	json_t *live = json_array(), *desired = parse(OURS("a", "")), *got = NULL;

	for (int i = 0; i < SL_STATUS_PARENTS_MAX - 1; i++)
		cr_assert_eq(json_array_append_new(live, json_pack("{s:s}", "controllerName", "x")),
			     0);
	cr_assert_eq(sl_status_merge(live, desired, SL_STATUS_PARENTS_MAX, &got), 0);
	cr_assert_eq(json_array_size(got), SL_STATUS_PARENTS_MAX);
	json_decref(got);
	cr_assert_eq(json_array_append_new(live, json_pack("{s:s}", "controllerName", "x")), 0);
	cr_assert_eq(sl_status_merge(live, desired, SL_STATUS_PARENTS_MAX, &got), SL_MERGE_SAME);
	json_decref(live);
	json_decref(desired);
}

Test(merge, what_was_merged_is_the_same_the_next_time)
{
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		json_t *desired = parse(cases[i].desired), *got = NULL, *again = NULL;

		if (merge(&cases[i], &got) == 0)
			cr_expect_eq(sl_status_merge(got, desired, SL_STATUS_PARENTS_MAX, &again), SL_MERGE_SAME, "%s",
				     cases[i].what);
		json_decref(got);
		json_decref(desired);
	}
}
