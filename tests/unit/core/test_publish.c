/* SPDX-License-Identifier: Apache-2.0 */
/* In which order a new configuration reaches the kernel, the workers and the conditions: publish.c
 * alone, everything around it is played by the test. */
#include <criterion/criterion.h>
#include <errno.h>
#include "../../lib/leak.h"
#include "base/alloc.h"
#include "base/clock.h"
#include "core/handover.h"
#include "core/state.h"

static char steps[512];
static struct sl_ack *acks[8];
static size_t n_acks;
static struct sl_snapshot *published; /* last one that workers were sent */
static int apply_error, worker_error;

static void note(const char *step)
{
	size_t n = strlen(steps);

	(void)snprintf(steps + n, sizeof(steps) - n, "%s%s", n ? " " : "", step);
}

static void expect(const char *text)
{
	cr_assert_str_eq(steps, text);
	steps[0] = '\0';
}

int sl_datapath_retract(struct sl_datapath *dp, const struct sl_plan *plan)
{
	(void)dp;
	(void)plan;
	note("retract");
	return 0;
}

int sl_datapath_apply(struct sl_datapath *dp, const struct sl_plan *plan,
		      sl_datapath_failed_fn failed, void *arg)
{
	struct sl_pmap_iter it = sl_pmap_iterate(&plan->services);
	const struct sl_part *first = sl_pmap_next(&it, NULL);

	(void)dp;
	note("apply");
	if (apply_error && first)
		failed(arg, sl_plan_service_of(first), apply_error);
	return apply_error;
}

int sl_status_update(struct sl_status *s, const struct sl_compile_report *report, time_t now)
{
	(void)s;
	(void)report;
	(void)now;
	note("status");
	return 0;
}

int sl_status_write(struct sl_status *s, const char *path)
{
	(void)s;
	(void)path;
	note("write");
	return 0;
}

static bool settled = true; /* each host has been asked for */

int sl_resolver_follow(struct sl_resolver *r, const struct sl_model *model)
{
	(void)r;
	(void)model;
	return 0;
}

const struct sl_hosts *sl_resolver_hosts(const struct sl_resolver *r)
{
	(void)r;
	return NULL;
}

bool sl_resolver_is_settled(const struct sl_resolver *r)
{
	(void)r;
	return settled;
}

void sl_takeover_prepared(struct sl_control *c)
{
	(void)c;
	note("prepared");
}

int sl_worker_publish(struct sl_worker *w, struct sl_snapshot *snap, struct sl_ack *ack)
{
	(void)w;
	note("worker");
	published = snap;
	acks[n_acks++] = ack;
	return worker_error;
}

static char served; /* stands for what watches namespaces */
static int serve_error;

int sl_control_watch_netns(struct sl_control *c)
{
	note("serve");
	if (!serve_error)
		c->netns = (struct sl_netns_watch *)&served;
	return serve_error;
}

void sl_config_problem(struct sl_control *c, const struct sl_diag *d)
{
	(void)c; /* likewise */
	(void)d;
}

void sl_config_in_force(struct sl_control *c)
{
	(void)c; /* there is no cluster here */
}

void sl_config_reload(struct sl_control *c)
{
	note("reload");
}

/* ---- the control thread's state ---- */

static struct sl_options opts;
static struct sl_control control;
static struct sl_model *model;
static struct sl_diags diags;
static struct sl_config_report report = {.diags = &diags};

static void set_up(void)
{
	control = (struct sl_control){.opts = &opts,
				      .n_workers = 2,
				      .netns = (struct sl_netns_watch *)&served,
				      .status_due = SL_TIMER_INIT(sl_publish_write_status),
				      .compile_due = SL_TIMER_INIT(sl_publish_again)};
	control.workers = sl_new_n(struct sl_worker *, 2);
	cr_assert_not_null(control.workers);
	cr_assert_eq(sl_loop_new(&control.loop), 0);
	cr_assert_eq(sl_mailbox_new(control.loop, &control.mailbox), 0);
	cr_assert_eq(sl_model_new(&model), 0);
}

static void tear_down(void)
{
	control.mailbox = sl_mailbox_free(control.mailbox);
	sl_publish_close(&control);
	control.loop = sl_loop_free(control.loop);
	(void)sl_snapshot_unref(control.snap);
	(void)sl_snapshot_unref(control.publishing);
	(void)sl_snapshot_unref(control.queued);
	(void)sl_compile_report_free(control.publishing_report);
	(void)sl_compile_report_free(control.queued_report);
	json_decref(control.problems);
	free(control.workers);
	model = sl_model_free(model);
	check_leaks();
}

TestSuite(publish, .init = set_up, .fini = tear_down);

/* The worker whose order is the oldest is done. */
static void acknowledge(void)
{
	struct sl_ack *ack = acks[0];

	cr_assert_gt(n_acks, 0);
	memmove(acks, acks + 1, --n_acks * sizeof(*acks));
	if (atomic_fetch_sub(&ack->pending, 1) == 1)
		sl_mailbox_post(ack->to, &ack->mail);
	cr_assert_eq(sl_loop_round(control.loop, 0), 0);
}

static void load(void)
{
	sl_publish_model(&control, model, &report);
}

Test(publish, the_kernel_steers_only_to_workers_that_know)
{
	opts.status_file = "status.json";
	load();
	expect("retract worker worker");
	acknowledge();
	expect("");
	cr_assert_null(control.snap, "not in force yet");
	acknowledge();
	expect("apply status write");
	cr_assert_eq(control.snap, published);
	cr_assert_null(control.publishing);
	cr_assert_eq(control.snap->generation, 1);
	opts.status_file = NULL;
}

Test(publish, namespaces_are_served_from_the_first_configuration_on)
{
	control.netns = NULL;
	load();
	acknowledge();
	expect("retract worker worker");
	acknowledge();
	expect("apply status serve");
	load();
	acknowledge();
	acknowledge();
	expect("retract worker worker apply status");
}

Test(publish, an_agent_that_cannot_serve_ends)
{
	control.netns = NULL;
	serve_error = -EPERM;
	load();
	acknowledge();
	acknowledge();
	cr_assert_eq(control.error, -EPERM);
	cr_assert_eq(sl_loop_run(control.loop), 0, "it was told to stop");
	serve_error = 0;
}

Test(publish, the_status_file_is_not_written_all_the_time)
{
	uint64_t begin = sl_clock_now_ns();

	opts.status_file = "status.json";
	for (int i = 0; i < 5; i++) {
		load();
		acknowledge();
		acknowledge();
	}
	if (sl_clock_now_ns() - begin < 200 * SL_NS_PER_MS)
		cr_expect_null(strstr(strstr(steps, "write") + 1, "write"), "%s", steps);
	steps[0] = '\0';
	while (!strstr(steps, "write"))
		cr_assert_eq(sl_loop_round(control.loop, SL_NS_PER_S), 0);
	expect("write");
	load();
	acknowledge();
	acknowledge();
	steps[0] = '\0';
	sl_publish_close(&control);
	expect("write");
	opts.status_file = NULL;
}

Test(publish, the_newest_of_several_follows_the_one_under_way)
{
	load();
	load();
	load();
	expect("retract worker worker");
	acknowledge();
	acknowledge();
	expect("apply status retract worker worker");
	cr_assert_eq(control.snap->generation, 1);
	acknowledge();
	acknowledge();
	expect("apply status");
	cr_assert_eq(control.snap->generation, 3);
	cr_assert_null(control.queued);
}

Test(publish, nothing_follows_while_the_agent_stops)
{
	load();
	load();
	control.draining = true;
	acknowledge();
	acknowledge();
	expect("retract worker worker apply status");
	cr_assert_eq(control.snap->generation, 1);
}

Test(publish, what_the_kernel_cannot_hold_does_not_stop_the_rest)
{
	apply_error = -E2BIG;
	load();
	acknowledge();
	acknowledge();
	expect("retract worker worker apply status");
	cr_assert_not_null(control.snap);
	apply_error = 0;
}

Test(publish, a_worker_without_memory_does_not_stop_the_rest)
{
	worker_error = -ENOMEM;
	load();
	/* sl_worker_publish() counts down all the same. */
	acknowledge();
	acknowledge();
	expect("retract worker worker apply status");
	worker_error = 0;
}

Test(publish, who_takes_over_has_asked_for_the_hosts_before)
{
	control.passive = true;
	settled = false;
	load();
	acknowledge();
	acknowledge();
	expect("retract worker worker apply status");
	settled = true;
	load();
	acknowledge();
	acknowledge();
	expect("retract worker worker apply status prepared");
}

Test(publish, what_did_not_compile_is_tried_again)
{
	(void)sl_alloc_fail_after(0);
	load();
	(void)sl_alloc_fail_after(-1);
	while (!*steps)
		cr_assert_eq(sl_loop_round(control.loop, 2 * SL_NS_PER_S), 0);
	expect("reload");
	(void)sl_alloc_fail_after(0);
	load();
	(void)sl_alloc_fail_after(-1);
	load();
	expect("retract worker worker");
	cr_assert_null(control.compile_due.loop, "there is nothing left to be done again");
	acknowledge();
	acknowledge();
}

Test(publish, without_memory_the_last_configuration_stays)
{
	struct sl_model *next;
	long n = 0;

	load();
	acknowledge();
	acknowledge();
	expect("retract worker worker apply status");
	for (;;) {
		uint64_t before = control.generation;

		cr_assert_eq(sl_model_new(&next), 0);
		(void)sl_alloc_fail_after(n++);
		sl_publish_model(&control, next, &report);
		(void)sl_alloc_fail_after(-1);
		/* The folder frees the one before whatever comes of the new one. */
		model = sl_model_free(model);
		model = next;
		cr_assert_eq(control.model, model);
		if (control.generation > before)
			break;
		expect("");
		cr_assert_eq(control.snap->generation, 1);
	}
	cr_assert_gt(n, 1);
	acknowledge();
	acknowledge();
	expect("retract worker worker apply status");
	cr_assert_eq(control.snap->generation, 2);
}
