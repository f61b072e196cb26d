/* SPDX-License-Identifier: Apache-2.0 */
#include "status/events.h"

#include <errno.h>
#include <stdio.h>
#include <sys/time.h>
#include <time.h>
#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/list.h"
#include "base/log.h"
#include "base/map.h"
#include "base/utf8.h"
#include "compile/compile.h"

enum {
	BURST = 25, /* new ones at once */
	MAX_KNOWN = 512,
	MAX_NOTE_BYTES = 1024, /* of the API */
	MAX_NAME_BYTES = 253,
	REQUEST_TIMEOUT_S = 10,
	TIME_TEXT = 40,
};
#define REFILL_NS SL_NS_PER_S
#define FORGET_NS (600 * SL_NS_PER_S)
#define UPDATE_NS (60 * SL_NS_PER_S)

/* One Event at the API server. */
struct said {
	struct sl_events *events;
	struct sl_list node; /* by last_ns */
	uint64_t key;	     /* of object, reason and note */
	uint64_t last_ns;    /* when it was said */
	uint64_t written_ns; /* when the server was told */
	uint64_t count;
	char last_time[TIME_TEXT];
	struct sl_timer update; /* the count is to be written */
	struct sl_kube_request *request;
	char *path;
};

struct sl_events {
	struct sl_loop *loop;
	struct sl_kube_client *client;
	char *instance;
	bool leads;
	struct sl_map by_key;
	struct sl_list known;
	size_t n_known;
	uint64_t n_made;
	unsigned tokens;
	uint64_t refilled_ns;
	struct sl_log_limit limit, dropped;
};

/* MicroTime of Kubernetes. */
static void micro_time(char out[TIME_TEXT])
{
	struct timeval tv;
	struct tm tm;
	char text[24];

	(void)gettimeofday(&tv, NULL); /* fails for a bad pointer only */
	(void)gmtime_r(&tv.tv_sec, &tm);
	(void)strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
	(void)snprintf(out, TIME_TEXT, "%s.%06ldZ", text, (long)tv.tv_usec);
}

static void forget(struct said *s)
{
	sl_map_del(&s->events->by_key, SL_KEY(&s->key));
	sl_list_remove(&s->node);
	sl_timer_cancel(&s->update);
	s->request = sl_kube_cancel(s->request);
	s->events->n_known--;
	free(s->path);
	free(s);
}

/* ---- writing ---- */

static void on_written(void *arg, const struct sl_kube_result *result)
{
	struct said *s = arg;
	struct sl_events *e = s->events;
	uint64_t skipped;

	s->request = NULL;
	if (!result->error && result->status / 100 == 2)
		return;
	if (sl_log_allowed(&e->limit, sl_loop_now(e->loop), &skipped))
		sl_warn("cannot write an event path=\"%s\" status=%u skipped=%llu: %s", s->path,
			result->status, (unsigned long long)skipped, result->message);
	forget(s); /* the next time it is a new one */
}

/* body: taken. */
static void write_event(struct said *s, const char *method, const char *path, const char *type,
			json_t *body)
{
	_cleanup_(sl_freep) char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
	struct sl_kube_call call = {
		.method = method,
		.path = path,
		.content_type = type,
		.body = sl_str_from(text),
		.timeout_s = REQUEST_TIMEOUT_S,
		.on_done = on_written,
		.arg = s,
	};

	json_decref(body);
	s->written_ns = sl_loop_now(s->events->loop);
	if (!text || sl_kube_call(s->events->client, &call, &s->request))
		forget(s);
}

static void on_update(struct sl_timer *t)
{
	struct said *s = sl_container_of(t, struct said, update);

	if (s->request) {
		sl_timer_arm(s->events->loop, t, sl_loop_now(s->events->loop) + UPDATE_NS);
		return;
	}
	write_event(s, "PATCH", s->path, "application/merge-patch+json",
		    json_pack("{s:{s:I, s:s}}", "series", "count", (json_int_t)s->count,
			      "lastObservedTime", s->last_time));
}

static void say_again(struct said *s, uint64_t now)
{
	struct sl_events *e = s->events;

	s->count++;
	s->last_ns = now;
	micro_time(s->last_time);
	sl_list_remove(&s->node);
	sl_list_append(&e->known, &s->node);
	if (!s->update.loop)
		sl_timer_arm(e->loop, &s->update, s->written_ns + UPDATE_NS);
}

static json_t *event_json(const struct sl_events *e, const struct sl_event_object *about,
			  const char *name, const char *reason, const char *action,
			  struct sl_str note, const char *when)
{
	return json_pack("{s:s, s:s, s:{s:s, s:s}, s:s, s:s, s:s, s:s, s:s, s:s%, s:s,"
			 " s:{s:s, s:s, s:s, s:s, s:s}}",
			 "apiVersion", "events.k8s.io/v1", "kind", "Event", "metadata", "name",
			 name, "namespace", about->namespace, "eventTime", when,
			 "reportingController", SL_CONTROLLER_NAME, "reportingInstance",
			 e->instance, "action", action, "reason", reason, "note", note.ptr,
			 note.len, "type", "Warning", "regarding", "apiVersion", about->api_version,
			 "kind", about->kind, "namespace", about->namespace, "name", about->name,
			 "uid", about->uid);
}

/* ---- what is said ---- */

static bool take_token(struct sl_events *e, uint64_t now)
{
	uint64_t more = (now - e->refilled_ns) / REFILL_NS;

	if (more) {
		e->tokens = more > BURST - e->tokens ? BURST : e->tokens + (unsigned)more;
		e->refilled_ns = now;
	}
	if (!e->tokens)
		return false;
	e->tokens--;
	return true;
}

static void forget_old(struct sl_events *e, uint64_t now)
{
	while (!sl_list_empty(&e->known)) {
		struct said *s = sl_container_of(e->known.next, struct said, node);

		if (e->n_known < MAX_KNOWN && now - s->last_ns < FORGET_NS)
			return;
		forget(s);
	}
}

/* At most n bytes, of whole characters. */
static struct sl_str cut(const char *text, size_t n)
{
	struct sl_str s = sl_str_from(text);

	if (s.len <= n)
		return s;
	s.len = 0;
	for (struct sl_str rest = sl_str_from(text); rest.len;) {
		size_t len = sl_utf8_len(rest);

		if (!len || s.len + len > n)
			break;
		s.len += len;
		rest = sl_str_skip(rest, len);
	}
	s.ptr = text;
	return s;
}

static struct said *new_said(struct sl_events *e, uint64_t key, const struct sl_event_object *about,
			     const char *name, uint64_t now)
{
	struct said *s = sl_new(struct said);

	if (!s)
		return NULL;
	s->events = e;
	s->key = key;
	s->count = 1;
	s->last_ns = now;
	s->update = SL_TIMER_INIT(on_update);
	s->path = sl_asprintf("/apis/events.k8s.io/v1/namespaces/%s/events/%s", about->namespace,
			      name);
	if (!s->path || sl_map_put(&e->by_key, SL_KEY(&s->key), s, NULL)) {
		free(s->path);
		free(s);
		return NULL;
	}
	sl_list_append(&e->known, &s->node);
	e->n_known++;
	return s;
}

static void say_new(struct sl_events *e, uint64_t key, const struct sl_event_object *about,
		    const char *reason, const char *action, const char *note, uint64_t now)
{
	char name[MAX_NAME_BYTES + 1], suffix[48], when[TIME_TEXT];
	struct sl_str text = cut(note, MAX_NOTE_BYTES);
	_cleanup_(sl_freep) char *path =
		sl_asprintf("/apis/events.k8s.io/v1/namespaces/%s/events", about->namespace);
	struct said *s;
	uint64_t skipped;

	if (!take_token(e, now)) {
		if (sl_log_allowed(&e->dropped, now, &skipped))
			sl_warn("too many events, left out object=\"%s %s/%s\" reason=%s "
				"skipped=%llu",
				about->kind, about->namespace, about->name, reason,
				(unsigned long long)skipped);
		return;
	}
	micro_time(when);
	(void)snprintf(suffix, sizeof(suffix), ".%llx%02llx",
		       (unsigned long long)(key ^ sl_clock_now_ns()),
		       (unsigned long long)(e->n_made++ & 0xff));
	(void)snprintf(name, sizeof(name), "%.*s%s", (int)(MAX_NAME_BYTES - strlen(suffix)),
		       about->name, suffix);
	s = path ? new_said(e, key, about, name, now) : NULL;
	if (s)
		write_event(s, "POST", path, "application/json",
			    event_json(e, about, name, reason, action, text, when));
}

static void say(struct sl_events *e, const struct sl_event_object *about, const char *reason,
		const char *action, const char *note)
{
	uint64_t parts[] = {sl_str_hash(sl_str_from(about->uid)), sl_str_hash(sl_str_from(reason)),
			    sl_str_hash(sl_str_from(note))};
	uint64_t key = sl_hash_bytes(parts, sizeof(parts)), now = sl_loop_now(e->loop);
	struct said *s;

	if (!e->leads)
		return;
	forget_old(e, now);
	s = sl_map_get(&e->by_key, SL_KEY(&key));
	if (s)
		say_again(s, now);
	else
		say_new(e, key, about, reason, action, note, now);
}

/* ---- conditions ---- */

static const char *text_of(const json_t *object, const char *key)
{
	const char *s = json_string_value(json_object_get(object, key));

	return s ? s : "";
}

static bool is_trouble(const json_t *condition)
{
	const char *wrong =
		strcmp(text_of(condition, "type"), "PartiallyInvalid") == 0 ? "True" : "False";

	return strcmp(text_of(condition, "status"), wrong) == 0;
}

static bool is_ours(const json_t *entry)
{
	return strcmp(text_of(entry, "controllerName"), SL_CONTROLLER_NAME) == 0;
}

static bool same(const json_t *a, const json_t *b, const char *key)
{
	return strcmp(text_of(a, key), text_of(b, key)) == 0;
}

/* Of a route's status, or a policy's. */
static const json_t *ref_of(const json_t *entry)
{
	const json_t *parent = json_object_get(entry, "parentRef");

	return parent ? parent : json_object_get(entry, "ancestorRef");
}

/* The same was said there before. */
static bool was_there(const json_t *before, const json_t *entry, const json_t *condition)
{
	const json_t *old, *c;
	size_t i, k;

	json_array_foreach (before, i, old) {
		if (!is_ours(old) || !json_equal(ref_of(old), ref_of(entry)))
			continue;
		json_array_foreach (json_object_get(old, "conditions"), k, c) {
			if (same(c, condition, "type") && same(c, condition, "status") &&
			    same(c, condition, "reason") && same(c, condition, "message"))
				return true;
		}
	}
	return false;
}

void sl_events_status(struct sl_events *e, const struct sl_event_object *about,
		      const json_t *before, const json_t *after)
{
	const json_t *entry, *c;
	size_t i, k;

	json_array_foreach (after, i, entry) {
		if (!is_ours(entry))
			continue;
		json_array_foreach (json_object_get(entry, "conditions"), k, c) {
			if (is_trouble(c) && !was_there(before, entry, c))
				say(e, about, text_of(c, "reason"), "Routing",
				    text_of(c, "message"));
		}
	}
}

void sl_events_invalid(struct sl_events *e, const struct sl_event_object *about, const char *why)
{
	say(e, about, "Invalid", "Decoding", why);
}

/* ---- life ---- */

static void forget_all(struct sl_events *e)
{
	while (!sl_list_empty(&e->known))
		forget(sl_container_of(e->known.next, struct said, node));
}

void sl_events_lead(struct sl_events *e, bool leads)
{
	e->leads = leads;
	if (!leads)
		forget_all(e);
}

int sl_events_new(struct sl_loop *loop, struct sl_kube_client *client, const char *instance,
		  struct sl_events **ret)
{
	struct sl_events *e = sl_new(struct sl_events);

	if (!e)
		return -ENOMEM;
	e->loop = loop;
	e->client = client;
	e->tokens = BURST;
	e->refilled_ns = sl_loop_now(loop);
	sl_list_init(&e->known);
	e->instance = sl_asprintf("%.128s", instance); /* the API's limit */
	if (!e->instance) {
		free(e);
		return -ENOMEM;
	}
	*ret = e;
	return 0;
}

struct sl_events *sl_events_free(struct sl_events *e)
{
	if (!e)
		return NULL;
	forget_all(e);
	sl_map_deinit(&e->by_key);
	free(e->instance);
	free(e);
	return NULL;
}
