/* SPDX-License-Identifier: Apache-2.0 */
#include "status/mesh.h"

#include <errno.h>
#include <stdio.h>
#include <time.h>
#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "compile/compile.h"
#include "source/kube_watch.h"
#include "status/merge.h"

#define X_API	    "gateway.networking.x-k8s.io/v1alpha1"
#define MESHES_PATH "/apis/" X_API "/xmeshes"

enum { REQUEST_TIMEOUT_S = 10 };
#define PAUSE_MIN_NS (500 * SL_NS_PER_MS)
#define PAUSE_MAX_NS (30 * SL_NS_PER_S)

/*
 * Names of gateway-api's pkg/features 1.7.0, ascending, as the API demands. Those that do not begin
 * with Mesh are what tests of the mesh profiles ask for besides.
 */
static const char *const features[] = {
	"GRPCRoute",
	"HTTPRoute",
	"HTTPRoute303RedirectStatusCode",
	"HTTPRoute307RedirectStatusCode",
	"HTTPRoute308RedirectStatusCode",
	"HTTPRouteParentRefPort",
	"HTTPRouteResponseHeaderModification",
	"Mesh",
	"MeshClusterIPMatching",
	"MeshConsumerRoute",
	"MeshHTTPRouteBackendRequestHeaderModification",
	"MeshHTTPRouteNamedRouteRule",
	"MeshHTTPRouteQueryParamMatching",
	"MeshHTTPRouteRedirectPath",
	"MeshHTTPRouteRedirectPort",
	"MeshHTTPRouteRewritePath",
	"MeshHTTPRouteSchemeRedirect",
};

struct sl_mesh {
	struct sl_loop *loop;
	struct sl_kube_client *client;
	char *name, *namespace, *selector, *path;
	struct sl_kube_collection what;
	struct sl_kube_watch *watch; /* NULL: not leading */
	json_t *object;		     /* as the server has it; NULL: it does not */
	bool listed;		     /* so that object is known */
	bool foreign;		     /* and the log has it */
	struct sl_task settle;
	struct sl_kube_request *request;
	struct sl_timer pause; /* after an error */
	uint64_t pause_ns;
};

static void unrefp(json_t **j)
{
	json_decref(*j); /* accepts NULL */
}

/* ---- what it is to say ---- */

static json_t *features_json(void)
{
	json_t *list = json_array();

	for (size_t i = 0; list && i < sizeof(features) / sizeof(*features); i++) {
		if (json_array_append_new(list, json_pack("{s:s}", "name", features[i]))) {
			json_decref(list);
			return NULL;
		}
	}
	return list;
}

/* As one entry of a route's status.parents, for sl_status_merge(). */
static json_t *as_entry(json_t *conditions)
{
	return conditions ? json_pack("[{s:{}, s:s, s:O}]", "parentRef", "controllerName",
				      SL_CONTROLLER_NAME, "conditions", conditions)
			  : json_array();
}

static json_t *accepted(const json_t *mesh, const char *namespace, int64_t now_s)
{
	json_t *meta = json_object_get(mesh, "metadata");
	json_t *spec = json_object_get(mesh, "spec");
	bool ok = !json_is_object(json_object_get(spec, "parametersRef"));
	_cleanup_(sl_freep) char *message =
		ok ? sl_asprintf("claimed by Sluice " SL_VERSION " in namespace %s", namespace)
		   : sl_strdup("spec.parametersRef is not supported");
	time_t t = (time_t)now_s;
	char since[32] = "";
	struct tm tm;

	if (gmtime_r(&t, &tm))
		(void)strftime(since, sizeof(since), "%Y-%m-%dT%H:%M:%SZ", &tm);
	return message ? json_pack("[{s:s, s:s, s:s, s:s, s:I, s:s}]", "type", "Accepted", "status",
				   ok ? "True" : "False", "reason",
				   ok ? "Accepted" : "InvalidParameters", "message", message,
				   "observedGeneration",
				   json_integer_value(json_object_get(meta, "generation")),
				   "lastTransitionTime", since)
		       : NULL;
}

/* Returns 0 also when nothing is to be changed: *ret is what is there then. */
static int merge(json_t *live, json_t *desired, json_t **ret)
{
	_cleanup_(unrefp) json_t *a = as_entry(live), *b = as_entry(desired), *merged = NULL;
	int r = a && b ? sl_status_merge(a, b, 1, &merged) : -ENOMEM;

	if (r < 0)
		return r;
	*ret = json_incref(r ? live : json_object_get(json_array_get(merged, 0), "conditions"));
	return 0;
}

int sl_mesh_status(const json_t *mesh, const char *namespace, int64_t now_s, json_t **ret)
{
	const char *controller =
		json_string_value(json_object_get(json_object_get(mesh, "spec"), "controllerName"));
	json_t *live = json_object_get(mesh, "status");
	json_t *live_conditions = json_object_get(live, "conditions");
	_cleanup_(unrefp) json_t *supported = features_json(), *conditions = NULL;
	_cleanup_(unrefp) json_t *desired = NULL;
	int r;

	if (!controller || strcmp(controller, SL_CONTROLLER_NAME) != 0)
		return SL_MESH_FOREIGN;
	desired = accepted(mesh, namespace, now_s);
	r = desired && supported ? merge(live_conditions, desired, &conditions) : -ENOMEM;
	if (r)
		return r;
	if (conditions == live_conditions &&
	    json_equal(json_object_get(live, "supportedFeatures"), supported))
		return SL_MERGE_SAME;
	*ret = json_pack("{s:O, s:O}", "conditions", conditions, "supportedFeatures", supported);
	return *ret ? 0 : -ENOMEM;
}

/* ---- writing ---- */

/* message: NULL when it is no trouble. */
static void pause_after(struct sl_mesh *m, const char *message)
{
	/* Once for each row of failures. */
	if (message && !m->pause_ns)
		sl_warn("cannot write the mesh xmesh=\"%s\": %s", m->name, message);
	m->pause_ns = m->pause_ns ? m->pause_ns * 2 : PAUSE_MIN_NS;
	if (m->pause_ns > PAUSE_MAX_NS)
		m->pause_ns = PAUSE_MAX_NS;
	sl_timer_arm(m->loop, &m->pause, sl_loop_now(m->loop) + m->pause_ns);
}

static void on_written(void *arg, const struct sl_kube_result *result)
{
	struct sl_mesh *m = arg;

	m->request = NULL;
	if (!result->error && result->status / 100 == 2)
		m->pause_ns = 0;
	/* A conflict: the newer version comes, and ends the pause. */
	else
		pause_after(m, result->status == 409 ? NULL : result->message);
	sl_task_queue(m->loop, &m->settle);
}

/* body: taken. */
static void write_mesh(struct sl_mesh *m, const char *method, const char *path, const char *type,
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
		.arg = m,
	};
	int r = text ? sl_kube_call(m->client, &call, &m->request) : -ENOMEM;

	json_decref(body);
	if (r)
		pause_after(m, sl_strerror(r));
}

static void create(struct sl_mesh *m)
{
	m->listed = false; /* the watch brings it */
	write_mesh(m, "POST", MESHES_PATH, "application/json",
		   json_pack("{s:s, s:s, s:{s:s}, s:{s:s}}", "apiVersion", X_API, "kind", "XMesh",
			     "metadata", "name", m->name, "spec", "controllerName",
			     SL_CONTROLLER_NAME));
}

static void update(struct sl_mesh *m)
{
	json_t *meta = json_object_get(m->object, "metadata");
	json_t *status = NULL;
	int r = sl_mesh_status(m->object, m->namespace, time(NULL), &status);

	if (r == SL_MESH_FOREIGN && !m->foreign)
		sl_warn("the mesh is another controller's, it is left alone xmesh=\"%s\"", m->name);
	m->foreign = r == SL_MESH_FOREIGN;
	if (r > 0)
		return;
	if (r) {
		pause_after(m, sl_strerror(r));
		return;
	}
	write_mesh(m, "PATCH", m->path, "application/merge-patch+json",
		   json_pack("{s:{s:O}, s:o}", "metadata", "resourceVersion",
			     json_object_get(meta, "resourceVersion"), "status", status));
	/* One writing for each version: the next one comes by the watch. */
	json_decref(sl_take(m->object));
	m->listed = false;
}

static void on_settle(struct sl_task *t)
{
	struct sl_mesh *m = sl_container_of(t, struct sl_mesh, settle);

	if (!m->watch || !m->listed || m->request || m->pause.loop)
		return;
	if (m->object)
		update(m);
	else
		create(m);
}

static void on_pause_over(struct sl_timer *t)
{
	struct sl_mesh *m = sl_container_of(t, struct sl_mesh, pause);

	/* What failed was about an object that is not kept. */
	if (m->watch && !m->listed)
		sl_kube_watch_again(m->watch);
	sl_task_queue(m->loop, &m->settle);
}

/* ---- what is there ---- */

static void set_object(struct sl_mesh *m, json_t *object)
{
	json_t *before = m->object;

	m->object = json_incref(object); /* may be the same */
	json_decref(before);
	m->listed = true;
	sl_timer_cancel(&m->pause);
	sl_task_queue(m->loop, &m->settle);
}

static void on_list(void *arg)
{
	struct sl_mesh *m = arg;

	json_decref(sl_take(m->object));
	m->listed = false;
}

static int on_object(void *arg, json_t *object)
{
	set_object(arg, object);
	return 0;
}

static void on_gone(void *arg, json_t *object)
{
	set_object(arg, NULL);
}

static void on_listed(void *arg)
{
	struct sl_mesh *m = arg;

	set_object(m, m->object);
}

/* Not installed: nothing is made until it is. */
static void on_absent(void *arg)
{
	on_list(arg);
}

static void on_trouble(void *arg, const char *message)
{
	struct sl_mesh *m = arg;

	if (message)
		sl_warn("cannot read the mesh xmesh=\"%s\": %s", m->name, message);
}

/* ---- life ---- */

static void stop(struct sl_mesh *m)
{
	m->watch = sl_kube_watch_close(m->watch);
	m->request = sl_kube_cancel(m->request);
	sl_timer_cancel(&m->pause);
	sl_task_cancel(&m->settle);
	json_decref(sl_take(m->object));
	m->listed = false;
	m->pause_ns = 0;
}

void sl_mesh_lead(struct sl_mesh *m, bool leads)
{
	const struct sl_kube_sink sink = {
		.arg = m,
		.on_list = on_list,
		.on_object = on_object,
		.on_gone = on_gone,
		.on_listed = on_listed,
		.on_absent = on_absent,
		.on_trouble = on_trouble,
	};

	if (leads == (m->watch != NULL))
		return;
	if (!leads)
		stop(m);
	else if (sl_kube_watch_open(m->loop, m->client, &m->what, &sink, &m->watch))
		sl_error("out of memory, the mesh has no status xmesh=\"%s\"", m->name);
}

int sl_mesh_new(struct sl_loop *loop, struct sl_kube_client *client,
		const struct sl_mesh_opts *opts, struct sl_mesh **ret)
{
	struct sl_mesh *m = sl_new(struct sl_mesh);

	if (!m)
		return -ENOMEM;
	m->loop = loop;
	m->client = client;
	m->settle = SL_TASK_INIT(on_settle);
	m->pause = SL_TIMER_INIT(on_pause_over);
	m->name = sl_strdup(opts->name);
	m->namespace = sl_strdup(opts->namespace);
	m->selector = sl_asprintf("fieldSelector=metadata.name%%3D%s", opts->name);
	m->path = sl_asprintf(MESHES_PATH "/%s/status", opts->name);
	if (!m->name || !m->namespace || !m->selector || !m->path) {
		sl_mesh_free(m);
		return -ENOMEM;
	}
	m->what = (struct sl_kube_collection){.api_version = X_API,
					      .kind = "XMesh",
					      .plural = "xmeshes",
					      .selector = m->selector};
	*ret = m;
	return 0;
}

struct sl_mesh *sl_mesh_free(struct sl_mesh *m)
{
	if (!m)
		return NULL;
	stop(m);
	free(m->name);
	free(m->namespace);
	free(m->selector);
	free(m->path);
	free(m);
	return NULL;
}
