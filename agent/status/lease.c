/* SPDX-License-Identifier: Apache-2.0 */
#include "status/lease.h"

#include <errno.h>
#include <jansson.h>
#include <sys/time.h>
#include <time.h>
#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"

#define RENEW_NS    (2 * SL_NS_PER_S)
#define GIVE_UP_NS  (4 * SL_NS_PER_S) /* without a renewal the holder stops writing */
#define DURATION_S  6		      /* unchanged for so long it may be taken */
#define DURATION_NS (DURATION_S * SL_NS_PER_S)

enum { REQUEST_TIMEOUT_S = 3 };

enum step { STEP_READ, STEP_WRITE };

struct sl_lease {
	struct sl_loop *loop;
	struct sl_kube_client *client;
	char *path, *collection, *name, *identity;
	void (*fn)(void *arg, bool leads);
	void *arg;

	struct sl_kube_request *request;
	enum step step;
	struct sl_timer next;	 /* try to get or to renew it */
	struct sl_timer give_up; /* while leading */
	uint64_t asked_ns;	 /* when the write that is under way began */

	char *seen;	  /* resourceVersion as last read */
	uint64_t seen_ns; /* since when it is the same, by our clock */
	json_t *spec;	  /* as last read or written; NULL: the Lease is not there */
	bool leads, releasing, released;
	bool must_read; /* what is known of it may be old */
	bool troubled;	/* and the log has it */
};

static void tell(struct sl_lease *l, bool leads)
{
	if (l->leads == leads)
		return;
	l->leads = leads;
	if (leads)
		sl_info("writes the routes' status from now on lease=\"%s\" identity=\"%s\"",
			l->name, l->identity);
	else
		sl_info("writes the routes' status no more lease=\"%s\"", l->name);
	if (!leads)
		sl_timer_cancel(&l->give_up);
	l->fn(l->arg, leads);
}

static void on_give_up(struct sl_timer *t)
{
	struct sl_lease *l = sl_container_of(t, struct sl_lease, give_up);

	sl_warn("the lease could not be renewed lease=\"%s\"", l->name);
	tell(l, false);
}

static void again_in(struct sl_lease *l, uint64_t ns)
{
	uint64_t now = sl_clock_now_ns();
	uint64_t dice = sl_hash_bytes(&now, sizeof(now)) % (ns / 8 + 1);

	if (!l->releasing)
		sl_timer_arm(l->loop, &l->next, now + ns + dice);
}

static void trouble(struct sl_lease *l, const struct sl_kube_result *result)
{
	if (!l->troubled)
		sl_warn("cannot read or write the lease path=\"%s\" status=%u: %s", l->path,
			result->status, result->message);
	l->troubled = true;
	l->must_read = true;
	again_in(l, RENEW_NS / 2);
}

/* ---- writing ---- */

/* MicroTime of Kubernetes. */
static void micro_time(char out[40])
{
	struct timeval tv;
	struct tm tm;
	char text[24];

	(void)gettimeofday(&tv, NULL); /* fails for a bad pointer only */
	(void)gmtime_r(&tv.tv_sec, &tm);
	(void)strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
	(void)snprintf(out, 40, "%s.%06ldZ", text, (long)tv.tv_usec);
}

static const char *holder(const struct sl_lease *l)
{
	const char *name = json_string_value(json_object_get(l->spec, "holderIdentity"));

	return name ? name : "";
}

static bool is_ours(const struct sl_lease *l)
{
	return strcmp(holder(l), l->identity) == 0;
}

/* What the Lease is to be: renewed, taken, or given back. */
static json_t *next_spec(const struct sl_lease *l)
{
	json_int_t transitions = json_integer_value(json_object_get(l->spec, "leaseTransitions"));
	const char *acquired = json_string_value(json_object_get(l->spec, "acquireTime"));
	char now[40];

	micro_time(now);
	if (!is_ours(l) || !acquired) {
		acquired = now;
		transitions += l->spec ? 1 : 0;
	}
	return json_pack("{s:s, s:i, s:s, s:s, s:I}", "holderIdentity",
			 l->releasing ? "" : l->identity, "leaseDurationSeconds", DURATION_S,
			 "acquireTime", acquired, "renewTime", now, "leaseTransitions",
			 transitions);
}

static void on_done(void *arg, const struct sl_kube_result *result);

static int call(struct sl_lease *l, const char *method, const char *path, struct sl_str body)
{
	struct sl_kube_call call = {
		.method = method,
		.path = path,
		.content_type = body.len ? "application/json" : NULL,
		.body = body,
		.timeout_s = REQUEST_TIMEOUT_S,
		.on_done = on_done,
		.arg = l,
	};

	return sl_kube_call(l->client, &call, &l->request);
}

static int write_lease(struct sl_lease *l)
{
	json_t *spec = next_spec(l);
	json_t *lease = json_pack("{s:s, s:s, s:{s:s, s:s*}, s:o}", "apiVersion",
				  "coordination.k8s.io/v1", "kind", "Lease", "metadata", "name",
				  l->name, "resourceVersion", l->seen, "spec", spec);
	_cleanup_(sl_freep) char *body = lease ? json_dumps(lease, JSON_COMPACT) : NULL;
	int r = -ENOMEM;

	l->step = STEP_WRITE;
	l->asked_ns = sl_clock_now_ns();
	if (body)
		r = call(l, l->seen ? "PUT" : "POST", l->seen ? l->path : l->collection,
			 sl_str_from(body));
	json_decref(lease);
	return r;
}

static int read_lease(struct sl_lease *l)
{
	l->step = STEP_READ;
	return call(l, "GET", l->path, SL_STR_NULL);
}

/* ---- answers ---- */

/* The Lease as the server has it. */
static int take_lease(struct sl_lease *l, struct sl_str body)
{
	json_t *root = json_loadb(body.ptr ? body.ptr : "", body.len, 0, NULL);
	const char *version = json_string_value(
		json_object_get(json_object_get(root, "metadata"), "resourceVersion"));
	char *seen = version ? sl_strdup(version) : NULL;

	if (!seen) {
		json_decref(root);
		return -EBADMSG;
	}
	if (!l->seen || strcmp(l->seen, seen) != 0)
		l->seen_ns = sl_clock_now_ns();
	free(l->seen);
	l->seen = seen;
	json_decref(l->spec);
	l->spec = json_incref(json_object_get(root, "spec"));
	json_decref(root);
	return 0;
}

static void forget(struct sl_lease *l)
{
	free(sl_take(l->seen));
	json_decref(sl_take(l->spec));
}

static void on_written(struct sl_lease *l, const struct sl_kube_result *result)
{
	if (l->releasing) {
		l->released = true; /* or it runs out by itself */
		return;
	}
	if (result->error || result->status / 100 != 2 || take_lease(l, result->body)) {
		/* 409: somebody else was faster. The next reading says who it is. */
		l->must_read = true;
		if (result->status == 409)
			again_in(l, RENEW_NS / 8);
		else
			trouble(l, result);
		return;
	}
	l->troubled = l->must_read = false;
	/* Counted from when the request was sent: so the others count later. */
	sl_timer_arm(l->loop, &l->give_up, l->asked_ns + GIVE_UP_NS);
	tell(l, true);
	again_in(l, RENEW_NS);
}

static bool may_take(const struct sl_lease *l)
{
	return !l->spec || !*holder(l) || is_ours(l) ||
	       sl_clock_now_ns() - l->seen_ns >= DURATION_NS;
}

static void on_read(struct sl_lease *l, const struct sl_kube_result *result)
{
	if (!result->error && result->status == 404) {
		forget(l);
	} else if (result->error || result->status != 200 || take_lease(l, result->body)) {
		trouble(l, result);
		return;
	}
	l->troubled = false;
	if (!is_ours(l))
		tell(l, false);
	if (!may_take(l) || write_lease(l))
		again_in(l, RENEW_NS);
}

static void on_done(void *arg, const struct sl_kube_result *result)
{
	struct sl_lease *l = arg;

	l->request = NULL;
	if (l->step == STEP_WRITE)
		on_written(l, result);
	else if (!l->releasing)
		on_read(l, result);
}

/* A holder renews without reading: a version that is not the last one is a conflict. */
static void on_next(struct sl_timer *t)
{
	struct sl_lease *l = sl_container_of(t, struct sl_lease, next);

	if (l->request)
		return;
	if (l->leads && !l->must_read ? write_lease(l) : read_lease(l))
		again_in(l, RENEW_NS / 2);
}

/* ---- life ---- */

bool sl_lease_leads(const struct sl_lease *l)
{
	return l->leads;
}

void sl_lease_release(struct sl_lease *l)
{
	bool led = l->leads;

	if (l->releasing)
		return;
	l->releasing = true;
	sl_timer_cancel(&l->next);
	l->request = sl_kube_cancel(l->request);
	tell(l, false);
	if (!led || write_lease(l))
		l->released = true;
}

bool sl_lease_is_released(const struct sl_lease *l)
{
	return l->released;
}

static int set_names(struct sl_lease *l, const struct sl_lease_opts *opts)
{
	l->collection =
		sl_asprintf("/apis/coordination.k8s.io/v1/namespaces/%s/leases", opts->namespace);
	l->path = sl_asprintf("/apis/coordination.k8s.io/v1/namespaces/%s/leases/%s",
			      opts->namespace, opts->name);
	l->name = sl_strdup(opts->name);
	l->identity = sl_strdup(opts->identity);
	return l->collection && l->path && l->name && l->identity ? 0 : -ENOMEM;
}

int sl_lease_open(struct sl_loop *loop, struct sl_kube_client *client,
		  const struct sl_lease_opts *opts, void (*fn)(void *arg, bool leads), void *arg,
		  struct sl_lease **ret)
{
	struct sl_lease *l = sl_new(struct sl_lease);

	if (!l)
		return -ENOMEM;
	l->loop = loop;
	l->client = client;
	l->fn = fn;
	l->arg = arg;
	l->next = SL_TIMER_INIT(on_next);
	l->give_up = SL_TIMER_INIT(on_give_up);
	if (set_names(l, opts)) {
		sl_lease_close(l);
		return -ENOMEM;
	}
	sl_timer_arm(loop, &l->next, sl_loop_now(loop));
	*ret = l;
	return 0;
}

struct sl_lease *sl_lease_close(struct sl_lease *l)
{
	if (!l)
		return NULL;
	sl_timer_cancel(&l->next);
	sl_timer_cancel(&l->give_up);
	l->request = sl_kube_cancel(l->request);
	forget(l);
	free(l->path);
	free(l->collection);
	free(l->name);
	free(l->identity);
	free(l);
	return NULL;
}
