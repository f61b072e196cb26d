/* SPDX-License-Identifier: Apache-2.0 */
/* Events that reach a server, and those that are not worth one. */
#include "status/events.h"

#include "../source/kube_case.h"

static const struct sl_event_object about = {"gateway.networking.k8s.io/v1", "HTTPRoute", "shop",
					     "cart", "uid-1"};

static struct sl_events *new_events(struct fixture *f)
{
	struct sl_events *e;

	set_up(f);
	cr_assert_eq(sl_events_new(f->pool.loop, f->pool.client, "node-1_7", &e), 0);
	sl_events_lead(e, true);
	return e;
}

static void end(struct fixture *f, struct sl_events *e)
{
	cr_expect_null(sl_events_free(e));
	tear_down(f);
}

/* Everything that was asked for before has been done when this one is there. */
static void flush(struct fixture *f, struct sl_events *e)
{
	sl_events_invalid(e, &about, "the last one");
	ROUNDS_UNTIL(f, ask(f, "events the last one"));
}

static json_t *entry(const char *controller, const char *type, const char *status,
		     const char *message)
{
	return json_pack("[{s:{s:s}, s:s, s:[{s:s, s:s, s:s, s:s}]}]", "parentRef", "name", "web",
			 "controllerName", controller, "conditions", "type", type, "status", status,
			 "reason", "R", "message", message);
}

Test(events, what_is_wrong_is_said_when_it_begins)
{
	static const struct {
		const char *controller, *type, *before, *after;
		long n;
	} cases[] = {
		{"sluice.dev/mesh", "Accepted", "True", "False", 1},
		{"sluice.dev/mesh", "Accepted", "False", "False", 0},
		{"sluice.dev/mesh", "Accepted", "False", "True", 0},
		{"sluice.dev/mesh", "ResolvedRefs", NULL, "False", 1},
		{"sluice.dev/mesh", "PartiallyInvalid", NULL, "True", 1},
		{"sluice.dev/mesh", "PartiallyInvalid", NULL, "False", 0},
		{"other.example/mesh", "Accepted", "True", "False", 0},
	};
	struct fixture f;
	struct sl_events *e = new_events(&f);
	char note[32], command[64];

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		json_t *before, *after;

		(void)snprintf(note, sizeof(note), "note-%zu-", i);
		before = cases[i].before
				 ? entry(cases[i].controller, cases[i].type, cases[i].before, note)
				 : json_array();
		after = entry(cases[i].controller, cases[i].type, cases[i].after, note);
		sl_events_status(e, &about, before, after);
		json_decref(before);
		json_decref(after);
	}
	flush(&f, e);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		(void)snprintf(command, sizeof(command), "events note-%zu-", i);
		if (cases[i].n)
			ROUNDS_UNTIL(&f, ask(&f, command) == cases[i].n);
		cr_expect_eq(ask(&f, command), cases[i].n, "%zu", i);
	}
	end(&f, e);
}

Test(events, the_same_again_is_no_other_event)
{
	struct fixture f;
	struct sl_events *e = new_events(&f);

	for (int i = 0; i < 3; i++)
		sl_events_invalid(e, &about, "again");
	flush(&f, e);
	ROUNDS_UNTIL(&f, ask(&f, "events again"));
	cr_expect_eq(ask(&f, "events again"), 1);
	end(&f, e);
}

Test(events, a_flood_is_cut)
{
	struct fixture f;
	struct sl_events *e = new_events(&f);
	char why[64];

	for (int i = 0; i < 40; i++) {
		(void)snprintf(why, sizeof(why), "flood %d.", i);
		sl_events_invalid(e, &about, why);
	}
	ROUNDS_UNTIL(&f, ask(&f, "events flood") >= 25);
	cr_expect_eq(ask(&f, "events flood"), 25);
	cr_expect_eq(ask(&f, "events flood 24."), 1);
	cr_expect_eq(ask(&f, "events flood 25."), 0);
	end(&f, e);
}

Test(events, a_note_is_cut_between_characters)
{
	struct fixture f;
	struct sl_events *e = new_events(&f);
	char why[1500] = "x";

	for (size_t i = 1; i + 2 < sizeof(why); i += 2)
		memcpy(why + i, "\xc3\xa4", 2);
	sl_events_invalid(e, &about, why);
	flush(&f, e);
	ROUNDS_UNTIL(&f, ask(&f, "events Decoding") == 2);
	end(&f, e);
}

Test(events, who_does_not_lead_says_nothing_and_one_that_was_refused_is_tried_anew)
{
	struct fixture f;
	struct sl_events *e = new_events(&f);

	sl_events_lead(e, false);
	sl_events_invalid(e, &about, "not by us");
	sl_events_lead(e, true);
	flush(&f, e);
	cr_expect_eq(ask(&f, "events not by us"), 0);
	(void)ask(&f, "event_fault 403");
	sl_events_invalid(e, &about, "refused");
	/* It is known until its answer is there, and repetitions are counted in it. */
	ROUNDS_UNTIL(&f, (sl_events_invalid(e, &about, "refused"), ask(&f, "event_fault 0"),
			  ask(&f, "events refused")));
	cr_expect_eq(ask(&f, "events refused"), 1);
	end(&f, e);
}

Test(events, every_allocation_may_fail)
{
	struct fixture f;
	struct sl_events *e = new_events(&f), *none = NULL;
	char why[64];
	size_t used;
	long n = 0;
	int r;

	do {
		(void)snprintf(why, sizeof(why), "without memory %ld", n);
		sl_alloc_fail_after(n++);
		sl_events_invalid(e, &about, why);
		used = sl_alloc_fail_after(-1);
	} while (used >= (size_t)n);
	cr_expect_gt(n, 4);
	for (n = 0;; n++) {
		sl_alloc_fail_after(n);
		r = sl_events_new(f.pool.loop, f.pool.client, "i", &none);
		sl_alloc_fail_after(-1);
		if (!r)
			break;
		cr_assert_eq(r, -ENOMEM);
	}
	cr_expect_eq(n, 2);
	sl_events_free(none);
	flush(&f, e);
	end(&f, e);
}
