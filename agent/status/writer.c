/* SPDX-License-Identifier: Apache-2.0 */
#include "status/writer.h"

#include <errno.h>
#include "base/alloc.h"
#include "base/clock.h"
#include "base/list.h"
#include "base/log.h"
#include "status/merge.h"

enum {
	IN_FLIGHT_MAX = 8, /* of the API server's patience, not of ours */
	REQUEST_TIMEOUT_S = 10,
};
#define PAUSE_MIN_NS (250 * SL_NS_PER_MS)
#define PAUSE_MAX_NS (30 * SL_NS_PER_S)

struct route {
	struct sl_status_writer *writer;
	struct sl_list due;    /* in writer->due, or alone */
	struct sl_timer pause; /* after an error */
	uint64_t pause_ns;
	struct sl_kube_request *request;
	const char *api_version, *plural;
	char *namespace, *name;
	bool has_ancestors; /* in place of parents */
	size_t max;	    /* how many of either */
	const char *kind;
	char *uid;
	json_t *before, *after; /* parents, of the write that is under way */
	char *version;		/* resourceVersion of what parents were read from */
	json_t *parents;	/* as the server has them; NULL: none */
	bool again;		/* became due while the request was under way */
	struct sl_str key;	/* in text */
	char text[];		/* "HTTPRoute/namespace/name" */
};

struct sl_status_writer {
	struct sl_loop *loop;
	struct sl_kube_client *client;
	struct sl_status *status;
	struct sl_events *events;
	struct sl_map routes; /* by key */
	struct sl_list due;
	struct sl_list gone; /* to be freed: what is seen is seen from within libcurl, which a
			      * request cannot be taken from then */
	struct sl_task run;
	size_t n_due, n_in_flight;
	bool leads;
	struct sl_log_limit limit;
};

/* ---- what is due ---- */

static void make_due(struct route *rt)
{
	struct sl_status_writer *w = rt->writer;

	if (rt->request) {
		rt->again = true;
		return;
	}
	if (!w->leads || rt->pause.loop || !sl_list_empty(&rt->due))
		return;
	sl_list_append(&w->due, &rt->due);
	w->n_due++;
	sl_task_queue(w->loop, &w->run);
}

static void not_due(struct route *rt)
{
	if (sl_list_empty(&rt->due))
		return;
	sl_list_remove(&rt->due);
	sl_list_init(&rt->due);
	rt->writer->n_due--;
}

static void on_pause_over(struct sl_timer *t)
{
	make_due(sl_container_of(t, struct route, pause));
}

static void free_route(struct route *rt)
{
	not_due(rt);
	sl_timer_cancel(&rt->pause);
	if (rt->request)
		rt->writer->n_in_flight--;
	rt->request = sl_kube_cancel(rt->request);
	free(rt->namespace);
	free(rt->name);
	free(rt->version);
	free(rt->uid);
	json_decref(rt->parents);
	json_decref(rt->before);
	json_decref(rt->after);
	free(rt);
}

/* ---- writing ---- */

static void pause_after(struct route *rt, const struct sl_kube_result *result)
{
	struct sl_status_writer *w = rt->writer;
	uint64_t now = sl_loop_now(w->loop), skipped;

	/* A conflict is no trouble: the newer version comes, and ends the pause. */
	if (result->status != 409 && sl_log_allowed(&w->limit, now, &skipped))
		sl_warn("cannot write status route=\"%.*s\" status=%u skipped=%llu: %s",
			SL_STR_ARG(rt->key), result->status, (unsigned long long)skipped,
			result->message);
	rt->pause_ns = rt->pause_ns ? rt->pause_ns * 2 : PAUSE_MIN_NS;
	if (rt->pause_ns > PAUSE_MAX_NS)
		rt->pause_ns = PAUSE_MAX_NS;
	sl_timer_arm(w->loop, &rt->pause, now + rt->pause_ns);
}

static struct sl_event_object about_of(const struct route *rt)
{
	return (struct sl_event_object){.api_version = rt->api_version,
					.kind = rt->kind,
					.namespace = rt->namespace,
					.name = rt->name,
					.uid = rt->uid ? rt->uid : ""};
}

static void on_written(void *arg, const struct sl_kube_result *result)
{
	struct route *rt = arg;
	struct sl_status_writer *w = rt->writer;
	const struct sl_event_object about = about_of(rt);
	bool again = rt->again;

	rt->request = NULL;
	rt->again = false;
	w->n_in_flight--;
	if (!result->error && result->status == 200)
		sl_events_status(w->events, &about, rt->before, rt->after);
	sl_task_queue(w->loop, &w->run);
	if (!result->error && (result->status == 200 || result->status == 404)) {
		/* The watch brings, or brought, what is there now. */
		rt->pause_ns = 0;
		if (again)
			make_due(rt);
	} else if (again) {
		/* A conflict, mostly: here is the version that it was about. */
		make_due(rt);
	} else {
		pause_after(rt, result);
	}
}

static char *patch_of(const struct route *rt, json_t *parents)
{
	json_t *list = rt->has_ancestors ? sl_status_to_ancestors(parents) : json_incref(parents);
	json_t *patch = json_pack("{s:{s:s}, s:{s:o}}", "metadata", "resourceVersion", rt->version,
				  "status", rt->has_ancestors ? "ancestors" : "parents", list);
	char *text = patch ? json_dumps(patch, JSON_COMPACT) : NULL;

	json_decref(patch);
	return text;
}

static int write_parents(struct route *rt, json_t *parents)
{
	struct sl_status_writer *w = rt->writer;
	_cleanup_(sl_freep) char *path =
		sl_asprintf("/apis/%s/namespaces/%s/%s/%s/status", rt->api_version, rt->namespace,
			    rt->plural, rt->name);
	_cleanup_(sl_freep) char *body = patch_of(rt, parents);
	struct sl_kube_call call = {
		.method = "PATCH",
		.path = path,
		.content_type = "application/merge-patch+json",
		.body = sl_str_from(body),
		.timeout_s = REQUEST_TIMEOUT_S,
		.on_done = on_written,
		.arg = rt,
	};
	int r = path && body ? sl_kube_call(w->client, &call, &rt->request) : -ENOMEM;

	if (r)
		return r;
	w->n_in_flight++;
	json_decref(rt->before);
	json_decref(rt->after);
	rt->before = json_incref(rt->parents);
	rt->after = json_incref(parents);
	return 0;
}

static void settle(struct route *rt)
{
	const json_t *desired = sl_status_parents(rt->writer->status, rt->key);
	json_t *merged = NULL;
	int r;

	if (!desired || !rt->version)
		return; /* not compiled yet: not ours to say anything */
	r = sl_status_merge(rt->parents, desired, rt->max, &merged);
	if (!r)
		r = write_parents(rt, merged);
	json_decref(merged);
	if (r < 0)
		pause_after(rt, &(struct sl_kube_result){.error = r, .message = sl_strerror(r)});
}

static void free_gone(struct sl_status_writer *w)
{
	while (!sl_list_empty(&w->gone)) {
		struct route *rt = sl_container_of(w->gone.next, struct route, due);

		sl_list_remove(&rt->due);
		sl_list_init(&rt->due);
		free_route(rt);
	}
}

static void run(struct sl_task *t)
{
	struct sl_status_writer *w = sl_container_of(t, struct sl_status_writer, run);

	free_gone(w);
	while (!sl_list_empty(&w->due) && w->n_in_flight < IN_FLIGHT_MAX) {
		struct route *rt = sl_container_of(w->due.next, struct route, due);

		not_due(rt);
		settle(rt);
	}
}

/* ---- what is known ---- */

static char *dup_str(struct sl_str s)
{
	return sl_asprintf("%.*s", SL_STR_ARG(s));
}

static size_t max_entries(enum sl_kind kind)
{
	if (sl_kind_is_route(kind))
		return SL_STATUS_PARENTS_MAX;
	return kind == SL_KIND_XBACKEND ? SL_STATUS_BACKEND_ANCESTORS_MAX : SL_STATUS_ANCESTORS_MAX;
}

static struct route *new_route(struct sl_status_writer *w, enum sl_kind kind,
			       struct sl_str namespace, struct sl_str name)
{
	const char *kind_name = sl_kind_name(kind);
	size_t size = strlen(kind_name) + namespace.len + name.len + 3;
	struct route *rt = sl_calloc(1, sizeof(*rt) + size);

	if (!rt)
		return NULL;
	rt->writer = w;
	rt->pause = SL_TIMER_INIT(on_pause_over);
	sl_list_init(&rt->due);
	(void)snprintf(rt->text, size, "%s/%.*s/%.*s", kind_name, SL_STR_ARG(namespace),
		       SL_STR_ARG(name));
	rt->key = sl_str_from(rt->text);
	rt->has_ancestors = !sl_kind_is_route(kind);
	rt->max = max_entries(kind);
	rt->kind = kind_name;
	rt->namespace = dup_str(namespace);
	rt->name = dup_str(name);
	if (!rt->namespace || !rt->name || sl_map_put(&w->routes, rt->key, rt, NULL)) {
		free_route(rt);
		return NULL;
	}
	return rt;
}

static void forget(struct route *rt)
{
	sl_map_del(&rt->writer->routes, rt->key);
	not_due(rt);
	sl_timer_cancel(&rt->pause);
	sl_list_append(&rt->writer->gone, &rt->due);
	sl_task_queue(rt->writer->loop, &rt->writer->run);
}

/* As they are in the object, in the form that ours have. NULL: none, or out of memory. */
static json_t *parents_of(const struct route *rt, const json_t *object)
{
	const json_t *status = json_object_get(object, "status");
	json_t *ancestors = json_object_get(status, "ancestors");

	if (!rt->has_ancestors)
		return json_incref(json_object_get(status, "parents"));
	return ancestors ? sl_status_from_ancestors(ancestors) : NULL;
}

static struct route *find(struct sl_status_writer *w, enum sl_kind kind, struct sl_str namespace,
			  struct sl_str name)
{
	_cleanup_(sl_freep) char *key = sl_asprintf("%s/%.*s/%.*s", sl_kind_name(kind),
						    SL_STR_ARG(namespace), SL_STR_ARG(name));

	return key ? sl_map_get(&w->routes, sl_str_from(key)) : NULL;
}

void sl_status_writer_seen(struct sl_status_writer *w, enum sl_kind kind, const char *api_version,
			   const char *plural, struct sl_str namespace, struct sl_str name,
			   const json_t *object)
{
	json_t *meta = json_object_get(object, "metadata");
	const char *version = json_string_value(json_object_get(meta, "resourceVersion"));
	const char *uid = json_string_value(json_object_get(meta, "uid"));
	struct route *rt = find(w, kind, namespace, name);
	char *copy;

	if (!object) {
		if (rt)
			forget(rt);
		return;
	}
	copy = version ? sl_strdup(version) : NULL;
	if (copy && !rt)
		rt = new_route(w, kind, namespace, name);
	if (!copy || !rt) {
		free(copy);
		return;
	}
	rt->api_version = api_version;
	rt->plural = plural;
	free(rt->version);
	rt->version = copy;
	if (!rt->uid || !uid || strcmp(rt->uid, uid) != 0) {
		free(rt->uid);
		rt->uid = uid ? sl_strdup(uid) : NULL; /* an Event would lack it, no more */
	}
	json_decref(rt->parents);
	rt->parents = parents_of(rt, object);
	sl_timer_cancel(&rt->pause);
	make_due(rt);
}

void sl_status_writer_check(struct sl_status_writer *w, struct sl_str key)
{
	struct route *rt = sl_map_get(&w->routes, key);

	if (rt)
		make_due(rt);
}

void sl_status_writer_invalid(struct sl_status_writer *w, struct sl_str key, const char *why)
{
	const struct route *rt = sl_map_get(&w->routes, key);
	const struct sl_event_object about = rt ? about_of(rt) : (struct sl_event_object){0};

	if (rt)
		sl_events_invalid(w->events, &about, why);
}

void sl_status_writer_lead(struct sl_status_writer *w, bool leads)
{
	struct route *rt;
	size_t pos = 0;

	w->leads = leads;
	while ((rt = sl_map_next(&w->routes, &pos, NULL))) {
		if (leads) {
			make_due(rt);
			continue;
		}
		not_due(rt);
		sl_timer_cancel(&rt->pause);
		/* What is on its way may have been done: nobody waits for it. */
		if (rt->request)
			w->n_in_flight--;
		rt->request = sl_kube_cancel(rt->request);
		rt->again = false;
	}
}

size_t sl_status_writer_pending(const struct sl_status_writer *w)
{
	return w->n_due + w->n_in_flight;
}

/* ---- life ---- */

int sl_status_writer_new(struct sl_loop *loop, struct sl_kube_client *client,
			 struct sl_status *status, struct sl_events *events,
			 struct sl_status_writer **ret)
{
	struct sl_status_writer *w = sl_new(struct sl_status_writer);

	if (!w)
		return -ENOMEM;
	w->loop = loop;
	w->client = client;
	w->status = status;
	w->events = events;
	w->run = SL_TASK_INIT(run);
	sl_list_init(&w->due);
	sl_list_init(&w->gone);
	*ret = w;
	return 0;
}

struct sl_status_writer *sl_status_writer_free(struct sl_status_writer *w)
{
	struct route *rt;
	size_t pos = 0;

	if (!w)
		return NULL;
	sl_task_cancel(&w->run);
	free_gone(w);
	while ((rt = sl_map_next(&w->routes, &pos, NULL)))
		free_route(rt);
	sl_map_deinit(&w->routes);
	free(w);
	return NULL;
}
