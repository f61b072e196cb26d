/* SPDX-License-Identifier: Apache-2.0 */
/* Where the configuration comes from, a folder or a Kubernetes API server, and where its status
 * goes. */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>
#include <sys/stat.h>
#include "base/alloc.h"
#include "base/log.h"
#include "core/state.h"

static int check_folder(const char *dir)
{
	struct stat st;
	int r = stat(dir, &st) ? -errno : S_ISDIR(st.st_mode) ? 0 : -ENOTDIR;

	if (r)
		sl_error("cannot load the configuration folder=\"%s\": %s", dir,
			 r == -ENOTDIR ? "not a folder" : sl_strerror(r));
	return r;
}

static int find_access(struct sl_control *c)
{
	char err[400] = "";
	int r;

	if (c->opts->kubeconfig)
		r = sl_kube_access_kubeconfig(c->opts->kubeconfig, c->opts->context, &c->access,
					      err, sizeof(err));
	else
		r = sl_kube_access_in_cluster(
			SL_KUBE_ACCOUNT_DIR, getenv("KUBERNETES_SERVICE_HOST"),
			getenv("KUBERNETES_SERVICE_PORT"), &c->access, err, sizeof(err));
	if (r)
		sl_error("no way to a Kubernetes API server: %s", err);
	return r;
}

int sl_config_check(struct sl_control *c)
{
	return c->opts->kubernetes ? find_access(c) : check_folder(c->opts->config_dir);
}

static int open_folder(struct sl_control *c)
{
	const char *dir = c->opts->config_dir;
	int r = sl_folder_open(c->loop, dir, sl_publish_model, c, &c->folder);

	if (!r && !c->generation)
		r = -ENOMEM; /* the first load did not compile: said already */
	if (r)
		sl_error("cannot load the configuration folder=\"%s\": %s", dir, sl_strerror(r));
	return r;
}

static void on_route(void *arg, enum sl_kind kind, const struct sl_kube_collection *what,
		     struct sl_str namespace, struct sl_str name, const json_t *object)
{
	struct sl_control *c = arg;

	sl_status_writer_seen(c->status_writer, kind, what->api_version, what->plural, namespace,
			      name, object);
}

static void on_status(void *arg, struct sl_str key)
{
	struct sl_control *c = arg;

	sl_status_writer_check(c->status_writer, key);
}

static void on_lead(void *arg, bool leads)
{
	struct sl_control *c = arg;

	sl_status_writer_lead(c->status_writer, leads);
	sl_events_lead(c->event_writer, leads);
	sl_config_in_force(c);
}

void sl_config_in_force(struct sl_control *c)
{
	if (c->mesh)
		sl_mesh_lead(c->mesh, c->snap && c->lease && sl_lease_leads(c->lease));
}

/* NULL: out of memory. */
static char *make_identity(void)
{
	const char *pod = getenv("POD_NAME");
	char host[256] = "";

	(void)gethostname(host, sizeof(host) - 1); /* fails for a bad pointer only */
	/* Two processes of one Pod can live side by side for a while: an upgrade. */
	return sl_asprintf("%s_%d", pod && *pod ? pod : host, (int)getpid());
}

static int open_lease(struct sl_control *c)
{
	_cleanup_(sl_freep) char *identity = make_identity();
	struct sl_lease_opts opts = {
		.namespace = c->access.namespace, .name = SL_LEASE_NAME, .identity = identity};

	return identity ? sl_lease_open(c->loop, sl_kube_get_client(c->kube), &opts, on_lead, c,
					&c->lease)
			: -ENOMEM;
}

static int open_events(struct sl_control *c)
{
	_cleanup_(sl_freep) char *identity = make_identity();

	return identity ? sl_events_new(c->loop, sl_kube_get_client(c->kube), identity,
					&c->event_writer)
			: -ENOMEM;
}

/* What is wrong inside a rule is in the route's conditions. */
void sl_config_problem(struct sl_control *c, const struct sl_diag *d)
{
	_cleanup_(sl_freep) char *key = NULL, *why = NULL;
	char *space;

	if (!c->status_writer || d->severity != SL_SEVERITY_ERROR ||
	    sl_str_starts(d->field, SL_STR("spec.rules[")))
		return;
	key = sl_asprintf("%.*s", SL_STR_ARG(d->object));
	why = sl_asprintf("%.*s%s%.*s; the last valid version stays in force", SL_STR_ARG(d->field),
			  d->field.len ? ": " : "", SL_STR_ARG(d->message));
	space = key ? strchr(key, ' ') : NULL;
	if (!space || !why)
		return; /* of no object, or no memory: the log has it */
	*space = '/';	/* as in status.h */
	sl_status_writer_invalid(c->status_writer, sl_str_from(key), why);
}

static int open_mesh(struct sl_control *c)
{
	struct sl_mesh_opts opts = {.name = c->opts->mesh_name, .namespace = c->access.namespace};

	return *opts.name ? sl_mesh_new(c->loop, sl_kube_get_client(c->kube), &opts, &c->mesh) : 0;
}

static int open_kube(struct sl_control *c)
{
	struct sl_kube_opts opts = {.node = c->opts->node, .on_route = on_route, .arg = c};
	int r = sl_kube_open(c->loop, &c->access, &opts, sl_publish_model, c, &c->kube);

	if (!r)
		r = open_events(c);
	if (!r)
		r = sl_status_writer_new(c->loop, sl_kube_get_client(c->kube), c->status,
					 c->event_writer, &c->status_writer);
	if (!r)
		r = open_mesh(c);
	if (!r)
		r = open_lease(c);
	if (!r)
		sl_status_watch(c->status, on_status, c);
	if (r)
		sl_error("cannot follow the API server=\"%s\": %s", c->access.server,
			 sl_strerror(r));
	return r;
}

static void on_hosts(void *arg)
{
	sl_config_tell(arg);
}

static int open_resolver(struct sl_control *c)
{
	const struct sl_resolver_opts opts = {
		.servers = c->opts->dns_servers, .changed = on_hosts, .arg = c};
	int r = sl_resolver_new(c->loop, &opts, &c->resolver);

	if (r)
		sl_error("cannot ask DNS servers=\"%s\": %s",
			 opts.servers ? opts.servers : "of resolv.conf", sl_strerror(r));
	return r;
}

int sl_config_open(struct sl_control *c)
{
	int r = open_resolver(c);

	if (r)
		return r;
	return c->opts->kubernetes ? open_kube(c) : open_folder(c);
}

void sl_config_reload(struct sl_control *c)
{
	int r;

	if (c->kube) {
		sl_kube_reload(c->kube);
		return;
	}
	r = sl_folder_reload(c->folder);
	if (r)
		sl_error("cannot load the configuration again: %s", sl_strerror(r));
}

void sl_config_tell(struct sl_control *c)
{
	if (c->kube)
		sl_kube_tell(c->kube);
	else
		sl_folder_tell(c->folder);
}

void sl_config_go_on(struct sl_control *c)
{
	if (!c->lease)
		return;
	c->lease = sl_lease_close(c->lease);
	if (open_lease(c))
		sl_error("out of memory, another agent has to write conditions");
}

void sl_config_begin_close(struct sl_control *c)
{
	if (c->lease)
		sl_lease_release(c->lease);
}

bool sl_config_may_close(const struct sl_control *c)
{
	return !c->lease || sl_lease_is_released(c->lease);
}

void sl_config_close(struct sl_control *c)
{
	if (c->status)
		sl_status_watch(c->status, NULL, NULL);
	c->lease = sl_lease_close(c->lease);
	c->mesh = sl_mesh_free(c->mesh);
	c->status_writer = sl_status_writer_free(c->status_writer);
	c->event_writer = sl_events_free(c->event_writer);
	c->folder = sl_folder_close(c->folder);
	c->kube = sl_kube_close(c->kube);
	c->resolver = sl_resolver_free(c->resolver);
	sl_kube_access_deinit(&c->access);
}

const char *sl_config_name(const struct sl_control *c)
{
	return c->opts->kubernetes ? c->access.server : c->opts->config_dir;
}
