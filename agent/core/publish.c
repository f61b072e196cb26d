/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a loaded model to what is in force. Make before break: the kernel forgets the Services that
 * lost their rules, then the workers take the snapshot, then the kernel learns the new Services,
 * and only then the routes' conditions say that they are accepted.
 */
#include <errno.h>
#include <stdio.h>
#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "core/handover.h"
#include "core/state.h"

#define STATUS_PAUSE_NS	 (250 * SL_NS_PER_MS)
#define COMPILE_PAUSE_NS SL_NS_PER_S

static json_t *problem_json(const struct sl_diag *d)
{
	return json_pack("{s:s%, s:i, s:s%, s:s%, s:s%}", "file", d->file.ptr ? d->file.ptr : "",
			 d->file.len, "line", (int)d->line, "object",
			 d->object.ptr ? d->object.ptr : "", d->object.len, "field",
			 d->field.ptr ? d->field.ptr : "", d->field.len, "message",
			 d->message.ptr ? d->message.ptr : "", d->message.len);
}

static void log_problem(const struct sl_diag *d)
{
	enum sl_log_level level = d->severity == SL_SEVERITY_ERROR ? SL_LOG_ERROR : SL_LOG_WARN;
	char where[400] = "";

	if (d->file.len)
		(void)snprintf(where, sizeof(where), "file=\"%.*s\" line=%u ", SL_STR_ARG(d->file),
			       d->line);
	sl_log(level, "configuration %sobject=\"%.*s\" field=\"%.*s\": %.*s", where,
	       SL_STR_ARG(d->object), SL_STR_ARG(d->field), SL_STR_ARG(d->message));
}

static uint64_t problem_hash(const struct sl_diag *d)
{
	uint64_t parts[] = {sl_str_hash(d->file), d->line, sl_str_hash(d->object),
			    sl_str_hash(d->field), sl_str_hash(d->message)};

	return sl_hash_bytes(parts, sizeof(parts));
}

static int hash_cmp(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* What the log has from an earlier load is not said again. */
static void log_problems(struct sl_control *c, const struct sl_diags *diags, uint64_t *out)
{
	for (size_t i = 0; i < diags->n; i++) {
		uint64_t hash = problem_hash(&diags->items[i]);

		if (!c->n_logged ||
		    !bsearch(&hash, c->logged, c->n_logged, sizeof(hash), hash_cmp)) {
			log_problem(&diags->items[i]);
			sl_config_problem(c, &diags->items[i]);
		}
		if (out)
			out[i] = hash;
	}
}

static void remember_logged(struct sl_control *c, const struct sl_diags *load,
			    const struct sl_diags *compile)
{
	size_t n = load->n + compile->n;
	uint64_t *hashes = sl_new_n(uint64_t, n); /* without it the next load says all again */

	log_problems(c, load, hashes);
	log_problems(c, compile, hashes ? hashes + load->n : NULL);
	if (hashes)
		qsort(hashes, n, sizeof(*hashes), hash_cmp);
	free(c->logged);
	c->logged = hashes;
	c->n_logged = hashes ? n : 0;
}

static void add_problems(json_t *to, const struct sl_diags *diags)
{
	for (size_t i = 0; i < diags->n; i++) {
		const struct sl_diag *d = &diags->items[i];
		bool error = d->severity == SL_SEVERITY_ERROR;

		/* Out of memory leaves one line out of sluicectl status; the log has it. */
		(void)json_array_append_new(json_object_get(to, error ? "errors" : "warnings"),
					    problem_json(d));
	}
}

static void keep_problems(struct sl_control *c, const struct sl_diags *load,
			  const struct sl_diags *compile)
{
	json_t *now = json_pack("{s:[], s:[]}", "errors", "warnings");

	c->n_errors = load->n_errors + compile->n_errors;
	remember_logged(c, load, compile);
	if (!now)
		return;
	add_problems(now, load);
	add_problems(now, compile);
	json_decref(c->problems);
	c->problems = now;
}

static void on_service_failed(void *arg, const struct sl_plan_service *s, int error)
{
	char vip[SL_ADDR_TEXT];

	sl_error("service cannot be steered service=\"%.*s\" address=%s: %s", SL_STR_ARG(s->name),
		 sl_addr_format(&s->vip, vip), sl_strerror(error));
}

int sl_publish_apply(struct sl_control *c)
{
	int r = c->snap ? sl_datapath_retract(c->datapath, &c->snap->plan) : 0;

	if (!r && c->snap)
		r = sl_datapath_apply(c->datapath, &c->snap->plan, on_service_failed, NULL);
	if (r)
		sl_error("the kernel's maps do not hold all services: %s", sl_strerror(r));
	return r;
}

/* ---- status ---- */

static void write_status(struct sl_control *c)
{
	int r;

	/* Another process writes it. */
	if (c->passive || c->giving || !c->opts->status_file)
		return;
	r = sl_status_write(c->status, c->opts->status_file);
	if (r)
		sl_error("cannot write status file=\"%s\": %s", c->opts->status_file,
			 sl_strerror(r));
	c->status_written_ns = sl_clock_now_ns();
}

void sl_publish_write_status(struct sl_timer *t)
{
	write_status(sl_container_of(t, struct sl_control, status_due));
}

/* All of it is written each time: at once, but then not again for a while. */
static void set_status(struct sl_control *c)
{
	int r = sl_status_update(c->status, c->publishing_report, time(NULL));

	if (r)
		sl_error("cannot keep the routes' status: %s", sl_strerror(r));
	if (c->opts->status_file)
		sl_timer_arm(c->loop, &c->status_due, c->status_written_ns + STATUS_PAUSE_NS);
}

void sl_publish_close(struct sl_control *c)
{
	if (c->status_due.loop)
		write_status(c);
	sl_timer_cancel(&c->status_due);
	sl_timer_cancel(&c->compile_due);
	c->compiler = sl_compiler_free(c->compiler);
	free(sl_take(c->logged));
	c->n_logged = 0;
}

/* ---- snapshots ---- */

/* Nobody is steered here before there is a configuration. */
static void serve(struct sl_control *c)
{
	if (c->netns || c->draining)
		return;
	c->error = sl_control_watch_netns(c);
	if (c->error)
		sl_loop_stop(c->loop);
}

static void on_published(struct sl_mail *m)
{
	struct sl_ack *ack = sl_container_of(m, struct sl_ack, mail);
	struct sl_control *c = sl_container_of(ack, struct sl_control, publish_ack);
	int r = sl_datapath_apply(c->datapath, &c->publishing->plan, on_service_failed, NULL);

	if (r)
		sl_error("the kernel's maps do not hold all services: %s", sl_strerror(r));
	sl_snapshot_unref(c->snap);
	c->snap = sl_take(c->publishing);
	set_status(c);
	sl_config_in_force(c);
	c->publishing_report = sl_compile_report_free(c->publishing_report);
	sl_info("configuration in force generation=%llu services=%zu routes_rules=%u errors=%zu",
		(unsigned long long)c->snap->generation, c->snap->plan.services.n, c->snap->n_rules,
		c->n_errors);
	serve(c);
	/* Who serves now knows the hosts already. Once DNS has been asked, this comes again. */
	if (c->passive && !c->error && sl_resolver_is_settled(c->resolver))
		sl_takeover_prepared(c);
	if (c->queued && !c->draining) {
		struct sl_snapshot *snap = sl_take(c->queued);
		struct sl_compile_report *report = sl_take(c->queued_report);

		sl_publish_snapshot(c, snap, report);
	}
}

void sl_publish_snapshot(struct sl_control *c, struct sl_snapshot *snap,
			 struct sl_compile_report *report)
{
	int r;

	if (c->publishing) {
		/* The one before is still on its way; only the newest follows it. */
		sl_snapshot_unref(c->queued);
		sl_compile_report_free(c->queued_report);
		c->queued = snap;
		c->queued_report = report;
		return;
	}
	c->publishing = snap;
	c->publishing_report = report;
	r = sl_datapath_retract(c->datapath, &snap->plan);
	if (r)
		sl_error("the kernel's maps still hold services without rules: %s", sl_strerror(r));
	c->publish_ack.mail.fn = on_published;
	c->publish_ack.to = c->mailbox;
	atomic_store(&c->publish_ack.pending, c->n_workers);
	for (uint32_t i = 0; i < c->n_workers; i++) {
		if (sl_worker_publish(c->workers[i], snap, &c->publish_ack))
			sl_error("out of memory, worker %u keeps the configuration it has", i);
	}
}

/* Nothing needs to change for it to work the next time, or to have another result: memory was
 * short, or a policy has ended. */
void sl_publish_again(struct sl_timer *t)
{
	sl_config_reload(sl_container_of(t, struct sl_control, compile_due));
}

/* The workers know by themselves; it is the conditions that have to say so. */
static void follow_end(struct sl_control *c, int64_t at_s, int64_t now_s)
{
	sl_timer_cancel(&c->compile_due);
	if (at_s != INT64_MAX)
		sl_timer_arm(c->loop, &c->compile_due,
			     sl_loop_now(c->loop) + (uint64_t)(at_s - now_s) * SL_NS_PER_S);
}

void sl_publish_model(void *control, const struct sl_model *model,
		      const struct sl_config_report *report)
{
	struct sl_control *c = control;
	struct sl_compile_opts opts = {.failure_policy = c->opts->policy,
				       .node = sl_str_from(c->opts->node),
				       .generation = c->generation + 1,
				       .hosts = sl_resolver_hosts(c->resolver),
				       .now_s = time(NULL)};
	struct sl_compile_report *compiled = NULL;
	struct sl_snapshot *snap = NULL;
	int r = c->compiler ? 0 : sl_compiler_new(&c->compiler);

	if (!r)
		r = sl_resolver_follow(c->resolver, model);
	if (!r)
		r = sl_compiler_run(c->compiler, model, &opts, &snap, &compiled);
	c->model = model; /* the one before has gone */
	if (r) {
		sl_error("cannot compile the configuration, the last one stays in force: %s",
			 sl_strerror(r));
		sl_timer_arm(c->loop, &c->compile_due, sl_loop_now(c->loop) + COMPILE_PAUSE_NS);
		return;
	}
	follow_end(c, compiled->next_change_s, opts.now_s);
	c->generation++;
	c->n_documents = report->n_documents;
	sl_clock_wall(c->loaded_at);
	keep_problems(c, report->diags, &compiled->diags);
	sl_publish_snapshot(c, snap, compiled);
}
