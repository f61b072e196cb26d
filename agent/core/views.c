/* SPDX-License-Identifier: Apache-2.0 */
/* What sluicectl and Prometheus see of the running agent. */
#include "core/views.h"

#include <errno.h>
#include <fcntl.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "datapath/probe.h"

/* Of what nobody is to steer. */
static bool counts_split(unsigned reason)
{
	return reason == SL_REASON_SPLIT || reason == SL_REASON_SPLIT_NONE ||
	       reason == SL_REASON_SPLIT_TCP || reason == SL_REASON_SPLIT_TCP_NONE;
}

static json_t *not_steered(const uint64_t stats[SL_REASON_MAX])
{
	json_t *out = json_object();

	for (unsigned i = 0; out && i < SL_REASON_MAX; i++) {
		/* A line that does not fit into memory is left out; metrics have it too. */
		if (i != SL_REASON_STEERED && !counts_split(i) && stats[i])
			(void)json_object_set_new(out, sl_reason_name(i),
						  json_integer((json_int_t)stats[i]));
	}
	return out;
}

static uint64_t beat_age_ms(const struct sl_control *c)
{
	return (sl_loop_now(c->loop) - c->last_beat_ns) / SL_NS_PER_MS;
}

static json_t *datapath_json(const struct sl_control *c)
{
	uint64_t stats[SL_REASON_MAX] = {0};

	if (!c->datapath)
		return json_pack("{s:s}", "state", "off");
	(void)sl_datapath_stats(c->datapath, stats); /* zeroes then */
	return json_pack("{s:s, s:s, s:s, s:I, s:I, s:o, s:{s:I, s:I}, s:{s:I, s:I}}", "state",
			 "attached", "cgroup", c->opts->cgroup ? c->opts->cgroup : "",
			 "failure_policy", c->opts->policy == SL_FAIL_CLOSED ? "closed" : "open",
			 "heartbeat_age_ms", (json_int_t)beat_age_ms(c), "steered",
			 (json_int_t)stats[SL_REASON_STEERED], "not_steered", not_steered(stats),
			 "udp", "flows", (json_int_t)stats[SL_REASON_SPLIT], "refused",
			 (json_int_t)stats[SL_REASON_SPLIT_NONE], "tcp_by_kernel", "connections",
			 (json_int_t)stats[SL_REASON_SPLIT_TCP], "refused",
			 (json_int_t)stats[SL_REASON_SPLIT_TCP_NONE]);
}

static json_t *whys_json(const struct sl_control *c,
			 uint64_t (*count)(const struct sl_metrics *m, enum sl_splice_why why))
{
	json_t *out = json_object();

	for (unsigned i = SL_SPLICE_NONE + 1; out && i < SL_SPLICE_WHY_MAX; i++) {
		uint64_t n = count(c->metrics, i);

		/* As not_steered(). */
		if (n)
			(void)json_object_set_new(out, sl_splice_why_name(i),
						  json_integer((json_int_t)n));
	}
	return out;
}

static json_t *splice_json(const struct sl_control *c)
{
	uint64_t active = sl_metrics_gauge(c->metrics, SL_GAUGE_SPLICED_CLIENT) +
			  sl_metrics_gauge(c->metrics, SL_GAUGE_SPLICED_ENDPOINT);
	uint64_t total = sl_metrics_counter(c->metrics, SL_COUNTER_SPLICED_CLIENT) +
			 sl_metrics_counter(c->metrics, SL_COUNTER_SPLICED_ENDPOINT);

	if (!c->splicer)
		return json_pack("{s:s, s:s}", "state", "off", "why", c->splice_off);
	return json_pack("{s:s, s:s, s:I, s:I, s:o, s:o}", "state", "on", "detector",
			 sl_splicer_stats(c->splicer).detector, "active", (json_int_t)active,
			 "total", (json_int_t)total, "left", whys_json(c, sl_metrics_splice_lefts),
			 "never", whys_json(c, sl_metrics_splice_nevers));
}

static json_t *config_json(const struct sl_control *c)
{
	_cleanup_(sl_view_decrefp) json_t *none = json_array();
	json_t *errors = json_object_get(c->problems, "errors");
	json_t *warnings = json_object_get(c->problems, "warnings");

	return json_pack("{s:I, s:s, s:s, s:I, s:O, s:O}", "generation", (json_int_t)c->generation,
			 "source", sl_config_name(c), "loaded_at", c->loaded_at, "objects",
			 (json_int_t)c->n_documents, "errors", errors ? errors : none, "warnings",
			 warnings ? warnings : none);
}

static int view_status(void *control, const json_t *request, json_t **ret)
{
	struct sl_control *c = control;
	_cleanup_(sl_view_decrefp) json_t *routes = NULL;
	int r = sl_view_routes(c, request, &routes);

	if (r)
		return r;
	*ret = json_pack(
		"{s:s, s:i, s:s*, s:I, s:o, s:i, s:{s:I, s:I}, s:o, s:o, s:O, s:i}", "version",
		SL_VERSION, "pid", (int)getpid(), "pod", getenv("POD_NAME"), "uptime_seconds",
		(json_int_t)((sl_loop_now(c->loop) - c->started_ns) / SL_NS_PER_S), "config",
		config_json(c), "workers", (int)c->n_workers, "connections", "active",
		(json_int_t)sl_metrics_gauge(c->metrics, SL_GAUGE_CONNS), "total",
		(json_int_t)sl_metrics_counter(c->metrics, SL_COUNTER_CONNS_ACCEPTED), "datapath",
		datapath_json(c), "splice", splice_json(c), "routes",
		json_object_get(routes, "routes"), "netns", (int)c->served.n);
	return *ret ? 0 : -ENOMEM;
}

static int view_check(void *control, const json_t *request, json_t **ret)
{
	struct sl_control *c = control;
	_cleanup_(sl_view_decrefp) json_t *out = json_array();
	struct sl_probe probes[SL_PROBE_MAX];
	size_t n = sl_probe_run(c->opts->cgroup, probes);
	int r = 0;

	for (size_t i = 0; i < n && !r; i++)
		r = json_array_append_new(out, json_pack("{s:s, s:b, s:b, s:s}", "name",
							 probes[i].name, "ok", probes[i].ok,
							 "required", probes[i].required, "message",
							 probes[i].message));
	if (!r)
		*ret = json_pack("{s:O}", "checks", out);
	return r || !*ret ? -ENOMEM : 0;
}

struct netns_view {
	struct sl_control *control;
	json_t *out;
	int r;
};

static json_t *listeners_json(const struct sl_served *s)
{
	json_t *out = json_array();
	char text[SL_ADDR_TEXT];

	for (uint32_t i = 0; s && i < s->n_fds; i++) {
		struct sockaddr_storage ss;
		socklen_t len = sizeof(ss);
		struct sl_addr a;

		if (!getsockname(s->fds[i], (struct sockaddr *)&ss, &len) &&
		    !sl_addr_from_sockaddr(&ss, &a))
			(void)json_array_append_new(out, json_string(sl_addr_format(&a, text)));
	}
	return out;
}

static struct sl_str pod_of(const struct sl_control *c, const struct sl_source *source, char *buf,
			    size_t len)
{
	const struct sl_pod_ref *pod = NULL;

	for (uint32_t i = 0; c->snap && !source->is_host && i < source->n_addrs && !pod; i++)
		pod = sl_snapshot_pod_by_ip(c->snap, &source->addrs[i]);
	if (!pod)
		return SL_STR("");
	(void)snprintf(buf, len, "%.*s/%.*s", SL_STR_ARG(pod->namespace), SL_STR_ARG(pod->name));
	return sl_str_from(buf);
}

static void add_netns(void *arg, const struct sl_source *source, const char *unusable)
{
	struct netns_view *v = arg;
	const struct sl_served *s = sl_map_get(&v->control->served, SL_KEY(&source->cookie));
	json_t *addresses = json_array();
	char ip[SL_ADDR_TEXT], pod[600];
	const char *state = unusable && *unusable ? unusable
			    : s && s->published	  ? "ready"
						  : "not published";

	for (uint32_t i = 0; i < source->n_addrs; i++)
		v->r |= json_array_append_new(
			addresses, json_string(sl_addr_format_ip(&source->addrs[i], ip)));
	v->r |= json_array_append_new(
		v->out,
		json_pack("{s:I, s:s, s:o, s:o, s:o, s:s}", "cookie", (json_int_t)source->cookie,
			  "name", source->name, "pod",
			  sl_view_str(pod_of(v->control, source, pod, sizeof(pod))), "addresses",
			  addresses, "listeners", listeners_json(s), "state", state));
}

static int view_netns(void *control, const json_t *request, json_t **ret)
{
	struct netns_view v = {.control = control, .out = json_array()};

	if (v.control->netns)
		sl_netns_each(v.control->netns, add_netns, &v);
	*ret = v.r ? NULL : json_pack("{s:O}", "netns", v.out);
	json_decref(v.out);
	return *ret ? 0 : -ENOMEM;
}

/* ---- Prometheus ---- */

static void host_metrics(struct sl_metrics_out *o, void *arg)
{
	struct sl_control *c = arg;
	uint64_t stats[SL_REASON_MAX] = {0};

	sl_metrics_out_family(o, "sluice_config_generation", "Loads of the configuration so far.",
			      SL_METRIC_GAUGE);
	sl_metrics_out_u64(o, NULL, 0, c->generation);
	sl_metrics_out_family(o, "sluice_config_errors",
			      "Errors in the configuration as it stands.", SL_METRIC_GAUGE);
	sl_metrics_out_u64(o, NULL, 0, c->n_errors);
	sl_metrics_out_family(o, "sluice_netns", "Network namespaces served.", SL_METRIC_GAUGE);
	sl_metrics_out_u64(o, NULL, 0, c->served.n);
	if (!c->datapath || sl_datapath_stats(c->datapath, stats))
		return;
	sl_metrics_out_family(o, "sluice_heartbeat_age_seconds",
			      "Time since all workers were last seen alive.", SL_METRIC_GAUGE);
	sl_metrics_out_ns(o, NULL, 0, sl_loop_now(c->loop) - c->last_beat_ns);
	sl_metrics_out_family(o, "sluice_datapath_connects_total",
			      "What the kernel's hooks did with sockets, by reason.",
			      SL_METRIC_COUNTER);
	for (unsigned i = 0; i < SL_REASON_MAX; i++) {
		struct sl_metric_label reason = {"reason", sl_str_from(sl_reason_name(i))};

		if (sl_reason_name(i))
			sl_metrics_out_u64(o, &reason, 1, stats[i]);
	}
}

static void splice_metrics(struct sl_metrics_out *o, void *arg)
{
	struct sl_control *c = arg;
	struct sl_splicer_stats stats = {.detector = "none"};
	struct sl_metric_label detector = {"detector", SL_STR("")};

	if (c->splicer)
		stats = sl_splicer_stats(c->splicer);
	detector.value = sl_str_from(stats.detector);
	sl_metrics_out_family(o, "sluice_splice_on",
			      "Whether connections may be spliced, and how splice(2) is noticed.",
			      SL_METRIC_GAUGE);
	sl_metrics_out_u64(o, &detector, 1, c->splicer != NULL);
	sl_metrics_out_family(o, "sluice_splice_passes_total",
			      "Walks over the sockets of a network namespace.", SL_METRIC_COUNTER);
	sl_metrics_out_u64(o, NULL, 0, stats.n_passes);
	sl_metrics_out_family(o, "sluice_splice_pass_seconds_total", "Time that they took.",
			      SL_METRIC_COUNTER);
	sl_metrics_out_ns(o, NULL, 0, stats.passes_ns);
}

static void read_flows(void *arg)
{
	struct sl_control *c = arg;

	if (c->datapath)
		sl_datapath_flows_read(c->datapath);
}

static const char *not_ready(void *arg)
{
	struct sl_control *c = arg;

	if (c->draining)
		return "stopping";
	if (!c->snap)
		return "no configuration in force yet";
	if (!c->last_beat_ns)
		return "workers not seen alive yet";
	return NULL;
}

static const char *not_healthy(void *arg)
{
	struct sl_control *c = arg;

	if (c->last_beat_ns &&
	    sl_loop_now(c->loop) - c->last_beat_ns > c->opts->heartbeat_limit_ns && !c->draining)
		return "a worker is stuck";
	return NULL;
}

static int open_metrics(struct sl_control *c)
{
	struct sl_metrics_http_opts opts = {.address = c->opts->metrics_address,
					    .metrics = c->metrics,
					    .not_ready = not_ready,
					    .not_healthy = not_healthy,
					    .arg = c};
	char text[SL_ADDR_TEXT];
	int r;

	if (!c->opts->metrics)
		return 0;
	if (c->metrics_fd >= 0)
		opts.inherited = &c->metrics_fd;
	r = sl_metrics_http_open(c->loop, &opts, &c->metrics_http);
	c->metrics_fd = -1;
	if (r)
		sl_error("cannot serve metrics on %s (--metrics chooses another address, or off): "
			 "%s",
			 sl_addr_format(&opts.address, text), sl_strerror(r));
	return r;
}

static int open_admin(struct sl_control *c)
{
	static const struct {
		const char *name;
		sl_admin_fn fn;
	} views[] = {
		{"status", view_status},	  {"routes", sl_view_routes},
		{"services", sl_view_services},	  {"check", view_check},
		{"endpoints", sl_view_endpoints}, {"netns", view_netns},
		{"explain", sl_view_explain},	  {"conns", sl_view_conns},
	};
	struct sl_admin_opts opts = {.path = c->opts->admin_socket};
	int r;

	if (c->admin_fd >= 0)
		opts.inherited = &c->admin_fd;
	r = sl_admin_open(c->loop, &opts, &c->admin);
	c->admin_fd = -1;
	if (r) {
		sl_error("cannot serve the admin socket path=\"%s\"%s: %s", c->opts->admin_socket,
			 r == -EADDRINUSE
				 ? " (another sluiced runs; --admin-socket chooses another path)"
				 : "",
			 sl_strerror(r));
		return r;
	}
	for (size_t i = 0; i < sizeof(views) / sizeof(*views) && !r; i++)
		r = sl_admin_register(c->admin, views[i].name, views[i].fn, c);
	if (!r)
		r = sl_admin_register_metrics(c->admin, c->metrics);
	return r;
}

int sl_views_open(struct sl_control *c)
{
	int r = open_admin(c);

	if (!r)
		r = open_metrics(c);
	if (!r && !c->host_metrics) {
		r = sl_metrics_add_source(c->metrics, host_metrics, c);
		if (!r)
			r = sl_metrics_add_source(c->metrics, splice_metrics, c);
		c->host_metrics = !r;
		sl_metrics_on_render(c->metrics, read_flows, c);
	}
	return r;
}

void sl_views_close(struct sl_control *c)
{
	sl_conn_dumps_free(c);
	c->metrics_http = sl_metrics_http_close(c->metrics_http);
	c->admin = sl_admin_close(c->admin);
	sl_closep(&c->metrics_fd);
	sl_closep(&c->admin_fd);
}

void sl_views_suspend(struct sl_control *c)
{
	c->admin_fd = fcntl(sl_admin_fd(c->admin), F_DUPFD_CLOEXEC, 3);
	sl_admin_leave(c->admin);
	c->admin = sl_admin_close(c->admin);
	if (!c->metrics_http)
		return;
	c->metrics_fd = fcntl(sl_metrics_http_fd(c->metrics_http), F_DUPFD_CLOEXEC, 3);
	c->metrics_http = sl_metrics_http_close(c->metrics_http);
}
