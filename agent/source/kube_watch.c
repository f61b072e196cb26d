/* SPDX-License-Identifier: Apache-2.0 */
#include "source/kube_watch.h"

#include <errno.h>
#include <stdio.h>
#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"

enum {
	PAGE_OBJECTS = 500,
	PIECE_LIMIT_BYTES =
		8 << 20, /* etcd stops at 1.5 MB; a list's fields can be written out longer */
	LIST_TIMEOUT_S = 60,
	WATCH_S = 300, /* after which the server is asked to end it: then it is resumed */
	WATCH_GRACE_S = 60,
};
#define PAUSE_MIN_NS	(100 * SL_NS_PER_MS)
#define PAUSE_MAX_NS	(30 * SL_NS_PER_S)
#define ABSENT_PAUSE_NS (5 * SL_NS_PER_S)
/* A server that starts says 404 for what it has not read yet. */
#define ABSENT_AFTER_NS (30 * SL_NS_PER_S)
/* A watch that lived this long was no failure. */
#define GOOD_WATCH_NS SL_NS_PER_S

struct sl_kube_watch {
	struct sl_loop *loop;
	struct sl_kube_client *client;
	const struct sl_kube_collection *what;
	struct sl_kube_sink sink;

	struct sl_kube_request *request; /* NULL: in a pause */
	struct sl_kube_split split;	 /* of its answer */
	bool listing;			 /* the request is a page of a list */
	bool gone;			 /* the server forgot the version: list */
	char *version;			 /* to watch from; NULL: list */
	char *next_page;		 /* of the list; NULL: none */
	uint64_t began_ns;
	struct sl_timer pause;
	uint64_t pause_ns; /* of the next failure */
	uint64_t absent_since_ns;
	bool present; /* it was listed */
	bool troubled;
};

static void begin(struct sl_kube_watch *w);

static void say(struct sl_kube_watch *w, const char *message)
{
	if (!message && !w->troubled)
		return;
	w->troubled = message;
	w->sink.on_trouble(w->sink.arg, message);
}

static void set(char **field, char *value)
{
	free(*field);
	*field = value;
}

/* A half to all of ns: not all agents of a cluster at once. */
static void pause_for(struct sl_kube_watch *w, uint64_t ns)
{
	uint64_t now = sl_clock_now_ns();
	uint64_t dice = sl_hash_bytes(&now, sizeof(now));

	sl_timer_arm(w->loop, &w->pause, now + ns / 2 + dice % (ns / 2 + 1));
}

/* at_least_s: a server that says when (Retry-After, RFC 9110 section 10.2.3) is asked then, not
 * later: one that begins to serve a resource refuses its lists for some seconds. 0: it did not. */
static void fail(struct sl_kube_watch *w, unsigned at_least_s, const char *message)
{
	uint64_t ns = w->pause_ns;

	if (at_least_s)
		ns = 2 * at_least_s * SL_NS_PER_S;
	else
		w->pause_ns = w->pause_ns > PAUSE_MAX_NS / 2 ? PAUSE_MAX_NS : w->pause_ns * 2;
	say(w, message);
	pause_for(w, ns);
}

/* ---- pieces ---- */

static int remember_version(struct sl_kube_watch *w, json_t *object)
{
	json_t *meta = json_object_get(object, "metadata");
	const char *version = json_string_value(json_object_get(meta, "resourceVersion"));
	char *copy;

	if (!version || !*version)
		return 0;
	copy = sl_strdup(version);
	if (!copy)
		return -ENOMEM;
	set(&w->version, copy);
	return 0;
}

static int on_list_piece(struct sl_kube_watch *w, enum sl_kube_piece piece, json_t *root)
{
	const char *next;

	if (piece == SL_KUBE_PIECE_ITEM) {
		if (json_object_set_new(root, "kind", json_string(w->what->kind)) ||
		    json_object_set_new(root, "apiVersion", json_string(w->what->api_version)))
			return -ENOMEM;
		return w->sink.on_object(w->sink.arg, root);
	}
	next = json_string_value(json_object_get(root, "continue"));
	set(&w->next_page, NULL);
	if (next && *next) {
		w->next_page = sl_strdup(next);
		if (!w->next_page)
			return -ENOMEM;
	}
	next = json_string_value(json_object_get(root, "resourceVersion"));
	set(&w->version, sl_strdup(next ? next : ""));
	return w->version ? 0 : -ENOMEM;
}

static int on_error_event(struct sl_kube_watch *w, json_t *status)
{
	json_int_t code = json_integer_value(json_object_get(status, "code"));

	w->gone = code == 410;
	return -ESTALE; /* ends the watch */
}

static int on_event(struct sl_kube_watch *w, json_t *root)
{
	const char *type = json_string_value(json_object_get(root, "type"));
	json_t *object = json_object_get(root, "object");
	int r = 0;

	if (!type || !json_is_object(object))
		return -EBADMSG;
	if (strcmp(type, "ERROR") == 0)
		return on_error_event(w, object);
	if (strcmp(type, "ADDED") == 0 || strcmp(type, "MODIFIED") == 0)
		r = w->sink.on_object(w->sink.arg, object);
	else if (strcmp(type, "DELETED") == 0)
		w->sink.on_gone(w->sink.arg, object);
	return r ? r : remember_version(w, object);
}

static int on_piece(void *arg, enum sl_kube_piece piece, struct sl_str text)
{
	struct sl_kube_watch *w = arg;
	json_t *root = json_loadb(text.ptr, text.len, 0, NULL);
	int r;

	if (!root)
		return -EBADMSG;
	r = w->listing ? on_list_piece(w, piece, root) : on_event(w, root);
	json_decref(root);
	return r;
}

static int on_data(void *arg, struct sl_str bytes)
{
	struct sl_kube_watch *w = arg;
	int r = sl_kube_split_feed(&w->split, bytes);

	if (!r && !w->listing)
		say(w, NULL); /* it goes on */
	return r;
}

/* A watch may have nothing to tell for a minute: that it was granted is enough to know. */
static void on_open(void *arg)
{
	struct sl_kube_watch *w = arg;

	if (!w->listing)
		say(w, NULL);
}

/* ---- ends of requests ---- */

static void list_anew(struct sl_kube_watch *w)
{
	set(&w->version, NULL);
	set(&w->next_page, NULL);
}

static void absent(struct sl_kube_watch *w)
{
	uint64_t now = sl_loop_now(w->loop);

	list_anew(w);
	if (!w->absent_since_ns)
		w->absent_since_ns = now;
	if (w->sink.on_missing)
		w->sink.on_missing(w->sink.arg);
	if (!w->present || now - w->absent_since_ns >= ABSENT_AFTER_NS) {
		w->present = false;
		w->sink.on_absent(w->sink.arg);
		say(w, NULL);
	}
	pause_for(w, ABSENT_PAUSE_NS);
}

static void listed(struct sl_kube_watch *w)
{
	w->absent_since_ns = 0;
	if (w->next_page) {
		begin(w);
		return;
	}
	if (!w->version || !*w->version) {
		list_anew(w);
		fail(w, 0, "a list without a resourceVersion");
		return;
	}
	w->present = true;
	w->sink.on_listed(w->sink.arg);
	begin(w);
}

static void watch_ended(struct sl_kube_watch *w, const struct sl_kube_result *result)
{
	bool was_good = sl_loop_now(w->loop) - w->began_ns >= GOOD_WATCH_NS;

	if (was_good)
		w->pause_ns = PAUSE_MIN_NS;
	if (w->gone) {
		list_anew(w);
		fail(w, 0, NULL);
	} else if (!result->error && was_good) {
		begin(w);
	} else {
		/* A cut is nothing to tell of: the next try says whether the server is there. */
		fail(w, result->retry_after_s, was_good ? NULL : result->message);
	}
}

static void on_done(void *arg, const struct sl_kube_result *result)
{
	struct sl_kube_watch *w = arg;
	int r = result->error;
	char message[256];

	w->request = NULL;
	if (!r && result->status == 200 && w->listing)
		r = sl_kube_split_end(&w->split);
	if (w->split.n_too_long)
		sl_warn("objects of the API server were left out, too long kind=%s n=%llu",
			w->what->kind, (unsigned long long)w->split.n_too_long);
	sl_kube_split_deinit(&w->split);
	if (!result->error && result->status == 404) {
		absent(w);
		return;
	}
	if (!result->error && result->status == 410)
		w->gone = true;
	if (!r && result->status == 200 && w->listing) {
		listed(w);
		return;
	}
	if (result->status == 200 && !w->listing) {
		watch_ended(w, result);
		return;
	}
	if (w->listing || w->gone)
		list_anew(w);
	if (result->status && !result->error)
		snprintf(message, sizeof(message), "HTTP %u: %s", result->status,
			 r ? sl_strerror(r) : result->message);
	else
		snprintf(message, sizeof(message), "%s", result->message);
	fail(w, result->retry_after_s, message);
}

/* ---- requests ---- */

static char *path_of(struct sl_kube_watch *w)
{
	const struct sl_kube_collection *c = w->what;
	/* The core group alone has no name. */
	const char *prefix = strchr(c->api_version, '/') ? "/apis/" : "/api/";
	const char *and = c->selector ? "&" : "", *selector = c->selector ? c->selector : "";

	const char *in = c->namespace ? "/namespaces/" : "";
	const char *namespace = c->namespace ? c->namespace : "";

	if (!w->listing)
		return sl_asprintf("%s%s%s%s/%s?watch=1&allowWatchBookmarks=true"
				   "&resourceVersion=%s&timeoutSeconds=%d%s%s",
				   prefix, c->api_version, in, namespace, c->plural, w->version,
				   WATCH_S, and, selector);
	return sl_asprintf("%s%s%s%s/%s?limit=%d%s%s%s%s", prefix, c->api_version, in, namespace,
			   c->plural, PAGE_OBJECTS, w->next_page ? "&continue=" : "",
			   w->next_page ? w->next_page : "", and, selector);
}

static int ask(struct sl_kube_watch *w)
{
	_cleanup_(sl_freep) char *path = path_of(w);
	struct sl_kube_call call = {
		.method = "GET",
		.path = path,
		.timeout_s = w->listing ? LIST_TIMEOUT_S : WATCH_S + WATCH_GRACE_S,
		.on_open = on_open,
		.on_data = on_data,
		.on_done = on_done,
		.arg = w,
	};

	return path ? sl_kube_call(w->client, &call, &w->request) : -ENOMEM;
}

static void begin(struct sl_kube_watch *w)
{
	int r;

	w->listing = !w->version || w->next_page;
	w->gone = false;
	w->began_ns = sl_loop_now(w->loop);
	sl_kube_split_init(&w->split, w->listing, PIECE_LIMIT_BYTES, on_piece, w);
	if (w->listing && !w->next_page)
		w->sink.on_list(w->sink.arg);
	r = ask(w);
	if (r)
		fail(w, 0, sl_strerror(r));
}

static void on_pause_over(struct sl_timer *t)
{
	begin(sl_container_of(t, struct sl_kube_watch, pause));
}

int sl_kube_watch_open(struct sl_loop *loop, struct sl_kube_client *client,
		       const struct sl_kube_collection *what, const struct sl_kube_sink *sink,
		       struct sl_kube_watch **ret)
{
	struct sl_kube_watch *w = sl_new(struct sl_kube_watch);

	if (!w)
		return -ENOMEM;
	w->loop = loop;
	w->client = client;
	w->what = what;
	w->sink = *sink;
	w->pause = SL_TIMER_INIT(on_pause_over);
	w->pause_ns = PAUSE_MIN_NS;
	/* From the loop, so that no callback comes before the caller has *ret. */
	sl_timer_arm(loop, &w->pause, sl_loop_now(loop));
	*ret = w;
	return 0;
}

void sl_kube_watch_again(struct sl_kube_watch *w)
{
	if (w->request)
		sl_kube_split_deinit(&w->split);
	w->request = sl_kube_cancel(w->request);
	list_anew(w);
	sl_timer_arm(w->loop, &w->pause, sl_loop_now(w->loop));
}

struct sl_kube_watch *sl_kube_watch_close(struct sl_kube_watch *w)
{
	if (!w)
		return NULL;
	if (w->request)
		sl_kube_split_deinit(&w->split);
	w->request = sl_kube_cancel(w->request);
	sl_timer_cancel(&w->pause);
	free(w->version);
	free(w->next_page);
	free(w);
	return NULL;
}
