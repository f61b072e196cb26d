/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agents first, so that nothing is pinned anew; then a Pod on each node that takes away what
 * they left there; then the rest, without what people wrote.
 */
#include <errno.h>
#include "base/alloc.h"
#include "base/cleanup.h"
#include "cluster.h"
#include "install.h"
#include "view.h"

#define MESHES		"xmeshes.gateway.networking.x-k8s.io"
#define CONTROLLER_NAME "sluice.dev/mesh"
#define CLEANUP_LABEL	"app.kubernetes.io/name=sluice-uninstall"
#define RUN_FOLDER	"/run/sluice" /* of the host, in the manifests */
#define RUN_PARENT	"/host/run"   /* where its parent is mounted, so that it can go */

/* ---- the Pod ---- */

/* The volume of the agent's sockets becomes the folder around it. Returns its name; NULL: there is
 * none. */
static const char *widen_run_volume(const json_t *spec)
{
	const json_t *v;
	size_t i;

	json_array_foreach (json_object_get(spec, "volumes"), i, v) {
		json_t *host = json_object_get(v, "hostPath");

		if (strcmp(sl_json_text(host, "path"), RUN_FOLDER) != 0)
			continue;
		if (json_object_set_new(host, "path", json_string("/run")) ||
		    json_object_set_new(host, "type", json_string("Directory")))
			return NULL;
		return sl_json_text(v, "name");
	}
	return NULL;
}

static int move_mount(const json_t *container, const char *volume)
{
	json_t *m;
	size_t i;

	json_array_foreach (json_object_get(container, "volumeMounts"), i, m) {
		if (strcmp(sl_json_text(m, "name"), volume) == 0 &&
		    json_object_set_new(m, "mountPath", json_string(RUN_PARENT)))
			return -ENOMEM;
	}
	return 0;
}

static int add_arg(json_t *container, const char *text)
{
	json_t *args = json_object_get(container, "args");

	if (!args) {
		args = json_array();
		if (json_object_set_new(container, "args", args))
			return -ENOMEM;
	}
	return json_array_append_new(args, json_string(text)) ? -ENOMEM : 0;
}

static int make_container(const json_t *spec, json_t *container)
{
	static const char *const unused[] = {"startupProbe", "readinessProbe", "livenessProbe",
					     "lifecycle", "ports"};
	const char *volume = widen_run_volume(spec);
	int r = add_arg(container, "--uninstall");

	for (size_t i = 0; i < sizeof(unused) / sizeof(*unused); i++)
		(void)json_object_del(container, unused[i]); /* need not be there */
	if (!r && volume)
		r = move_mount(container, volume);
	if (!r && volume)
		r = add_arg(container, "--admin-socket=" RUN_PARENT "/sluice/admin.sock");
	return r;
}

json_t *sl_uninstall_pod(const json_t *daemonset, const char *node, size_t index)
{
	const json_t *template = json_object_get(json_object_get(daemonset, "spec"), "template");
	json_auto_t *spec = json_deep_copy(json_object_get(template, "spec"));
	json_t *container = json_array_get(json_object_get(spec, "containers"), 0);
	char name[64];

	if (!json_is_object(container) || make_container(spec, container))
		return NULL;
	(void)json_object_del(spec, "affinity"); /* need not be there */
	if (json_object_set_new(spec, "nodeName", json_string(node)) ||
	    json_object_set_new(spec, "restartPolicy", json_string("OnFailure")) ||
	    json_object_set_new(spec, "tolerations", json_pack("[{s:s}]", "operator", "Exists")))
		return NULL;
	(void)snprintf(name, sizeof(name), "sluice-uninstall-%zu", index);
	return json_pack("{s:s, s:s, s:{s:s, s:{s:s}}, s:O}", "apiVersion", "v1", "kind", "Pod",
			 "metadata", "name", name, "labels", "app.kubernetes.io/name",
			 "sluice-uninstall", "spec", spec);
}

/* ---- nodes ---- */

static bool is_ready(const json_t *node)
{
	const json_t *c;
	size_t i;

	json_array_foreach (json_object_get(json_object_get(node, "status"), "conditions"), i, c) {
		if (strcmp(sl_json_text(c, "type"), "Ready") == 0)
			return strcmp(sl_json_text(c, "status"), "True") == 0;
	}
	return false;
}

static bool is_linux(const json_t *node)
{
	const json_t *info = json_object_get(json_object_get(node, "status"), "nodeInfo");

	return strcmp(sl_json_text(info, "operatingSystem"), "linux") == 0;
}

/* A List of Pods for all nodes that can run one; *ret_left_out: of those that cannot now. */
static int make_pods(const json_t *nodes, const json_t *daemonset, json_t **ret,
		     size_t *ret_left_out)
{
	json_auto_t *items = json_array();
	const json_t *node;
	size_t i;

	json_array_foreach (json_object_get(nodes, "items"), i, node) {
		const char *name = sl_json_text(json_object_get(node, "metadata"), "name");

		if (!is_linux(node))
			continue;
		if (!is_ready(node)) {
			fprintf(stderr,
				"sluicectl: node %s is not ready: uninstall again when it is\n",
				name);
			++*ret_left_out;
			continue;
		}
		if (json_array_append_new(items, sl_uninstall_pod(daemonset, name, i)))
			return -ENOMEM;
	}
	*ret = json_pack("{s:s, s:s, s:O}", "apiVersion", "v1", "kind", "List", "items", items);
	return *ret ? 0 : -ENOMEM;
}

static int run_pods(const struct sl_ctl_args *args, const json_t *pods)
{
	_cleanup_(sl_buf_deinit) struct sl_buf text = SL_BUF_INIT(0);
	const char *namespace = sl_cluster_namespace(args);
	const struct sl_kubectl k = sl_cluster_kubectl(args);
	char timeout[32];
	int r;

	(void)snprintf(timeout, sizeof(timeout), "--timeout=%llus",
		       (unsigned long long)args->timeout_s);
	r = sl_json_dump(pods, JSON_COMPACT, &text);
	if (!r)
		r = sl_kubectl_show(
			&k, (const char *const[]){"apply", "-n", namespace, "-f", "-", NULL},
			sl_buf_str(&text));
	if (!r)
		r = sl_kubectl_show(
			&k,
			(const char *const[]){"wait", "-n", namespace, "pod", "-l", CLEANUP_LABEL,
					      "--for=jsonpath={.status.phase}=Succeeded", timeout,
					      NULL},
			SL_STR(""));
	if (r)
		fprintf(stderr, "sluicectl: a node was not cleaned: see kubectl -n %s logs -l %s\n",
			namespace, CLEANUP_LABEL);
	return r ? r
		 : sl_kubectl_show(&k,
				   (const char *const[]){"delete", "-n", namespace, "pod", "-l",
							 CLEANUP_LABEL, NULL},
				   SL_STR(""));
}

static int clean_nodes(const struct sl_ctl_args *args, const json_t *daemonset)
{
	const struct sl_kubectl k = sl_cluster_kubectl(args);
	json_auto_t *nodes = NULL, *pods = NULL;
	size_t left_out = 0;
	int r = sl_kubectl_json(&k, (const char *const[]){"get", "nodes", "-o", "json", NULL},
				SL_STR(""), &nodes);

	if (!r)
		r = make_pods(nodes, daemonset, &pods, &left_out);
	if (!r && json_array_size(json_object_get(pods, "items")))
		r = run_pods(args, pods);
	return r ? r : left_out ? 1 : 0;
}

/* ---- all of it ---- */

/* What is in the cluster; NULL when there is none. */
static int get_installed(const struct sl_ctl_args *args, json_t **ret)
{
	const char *const words[] = {"get", "daemonset",      "-n", sl_cluster_namespace(args),
				     "-l",  SL_CLUSTER_LABEL, "-o", "json",
				     NULL};
	const struct sl_kubectl k = sl_cluster_kubectl(args);
	json_auto_t *list = NULL;
	int r = sl_kubectl_json(&k, words, SL_STR(""), &list);

	if (!r)
		*ret = json_incref(json_array_get(json_object_get(list, "items"), 0));
	return r;
}

/* As it would be installed: an uninstallation that did not get through goes on. */
static int get_built_in(const struct sl_ctl_args *args, json_t **ret)
{
	_cleanup_(sl_buf_deinit) struct sl_buf manifests = SL_BUF_INIT(0);
	const char *const words[] = {"create", "--dry-run=client", "-o", "json", "-f", "-", NULL};
	const struct sl_kubectl k = sl_cluster_kubectl(args);
	json_auto_t *list = NULL;
	json_t *item;
	size_t i;
	int r = sl_install_manifests(args->image ? args->image : SL_INSTALL_IMAGE,
				     sl_cluster_namespace(args), &manifests);

	if (!r)
		r = sl_kubectl_json(&k, words, sl_buf_str(&manifests), &list);
	json_array_foreach (json_object_get(list, "items"), i, item) {
		if (strcmp(sl_json_text(item, "kind"), "DaemonSet") == 0)
			*ret = json_incref(item);
	}
	return r ? r : *ret ? 0 : -EPROTO;
}

/* Whether kubectl prints anything. */
static int prints(const struct sl_ctl_args *args, const char *const words[], bool *ret)
{
	_cleanup_(sl_buf_deinit) struct sl_buf out = SL_BUF_INIT(0);
	const struct sl_kubectl k = sl_cluster_kubectl(args);
	struct sl_kubectl_job job;
	int r = sl_kubectl_start(&k, words, SL_STR(""), &job);

	if (!r)
		r = sl_kubectl_finish(&job, &out);
	*ret = sl_buf_len(&out) > 0;
	return r;
}

static int namespace_exists(const struct sl_ctl_args *args, bool *ret)
{
	return prints(args,
		      (const char *const[]){"get", "namespace", sl_cluster_namespace(args),
					    "--ignore-not-found", "-o", "name", NULL},
		      ret);
}

static int delete_agents(const struct sl_ctl_args *args, const json_t *daemonset)
{
	const char *name = sl_json_text(json_object_get(daemonset, "metadata"), "name");
	const char *const words[] = {"delete", "daemonset",
				     "-n",     sl_cluster_namespace(args),
				     name,     "--cascade=foreground",
				     NULL};
	const struct sl_kubectl k = sl_cluster_kubectl(args);

	return sl_kubectl_show(&k, words, SL_STR(""));
}

/* Those that say they are ours: the agents made one, if nobody else did. */
static int delete_meshes(const struct sl_kubectl *k)
{
	json_auto_t *list = NULL;
	const json_t *mesh;
	size_t i;
	int r = sl_kubectl_json(k, (const char *const[]){"get", MESHES, "-o", "json", NULL},
				SL_STR(""), &list);

	json_array_foreach (json_object_get(list, "items"), i, mesh) {
		const char *name = sl_json_text(json_object_get(mesh, "metadata"), "name");
		const char *whose = sl_json_text(json_object_get(mesh, "spec"), "controllerName");

		if (!r && strcmp(whose, CONTROLLER_NAME) == 0)
			r = sl_kubectl_show(k, (const char *const[]){"delete", MESHES, name, NULL},
					    SL_STR(""));
	}
	return r;
}

/* With a CRD goes what people wrote, in all namespaces. */
static int leave_out_crds(struct sl_str text, struct sl_buf *out)
{
	static const char end[] = "\n---\n", crd[] = "\nkind: CustomResourceDefinition\n";
	int r = 0;

	while (text.len && !r) {
		const char *next = memmem(text.ptr, text.len, end, sizeof(end) - 1);
		struct sl_str one = {text.ptr,
				     next ? (size_t)(next - text.ptr) + sizeof(end) - 1 : text.len};

		if (!memmem(one.ptr, one.len, crd, sizeof(crd) - 1))
			r = sl_buf_append_str(out, one);
		text = sl_str_skip(text, one.len);
	}
	return r;
}

static int make_rest(const struct sl_ctl_args *args, struct sl_buf *out)
{
	_cleanup_(sl_buf_deinit) struct sl_buf all = SL_BUF_INIT(0);
	struct sl_buf *to = args->delete_crds ? out : &all;
	int r = sl_install_manifests(SL_INSTALL_IMAGE, sl_cluster_namespace(args), to);

	return r || args->delete_crds ? r : leave_out_crds(sl_buf_str(&all), out);
}

static int delete_rest(const struct sl_ctl_args *args)
{
	_cleanup_(sl_buf_deinit) struct sl_buf manifests = SL_BUF_INIT(0);
	const char *const words[] = {"delete", "--ignore-not-found", "-f", "-", NULL};
	const struct sl_kubectl k = sl_cluster_kubectl(args);
	bool has_meshes;
	int r = prints(args,
		       (const char *const[]){"get", "customresourcedefinition", MESHES,
					     "--ignore-not-found", "-o", "name", NULL},
		       &has_meshes);

	if (!r && has_meshes)
		r = delete_meshes(&k);
	if (!r)
		r = make_rest(args, &manifests);
	if (!r)
		r = sl_kubectl_show(&k, words, sl_buf_str(&manifests));
	if (!r && !args->delete_crds)
		fprintf(stderr,
			"sluicectl: policies of sluice.dev and their CRDs stay: --delete-crds "
			"deletes them\n");
	return r;
}

int sl_ctl_uninstall(const struct sl_ctl_args *args)
{
	json_auto_t *daemonset = NULL;
	bool exists;
	int r = namespace_exists(args, &exists);

	if (!r && exists)
		r = get_installed(args, &daemonset);
	if (!r && daemonset)
		r = delete_agents(args, daemonset);
	else if (!r && exists)
		r = get_built_in(args, &daemonset);
	if (!r && daemonset)
		r = clean_nodes(args, daemonset);
	if (!r)
		r = delete_rest(args);
	return r ? EXIT_FAILURE : EXIT_SUCCESS;
}
