/* SPDX-License-Identifier: Apache-2.0 */
/* sluicectl check --pre: whether a cluster can have Sluice, before anything is changed in it. */
#include <errno.h>
#include <stdarg.h>
#include "base/alloc.h"
#include "base/cleanup.h"
#include "cluster.h"
#include "precheck.h"
#include "resource/decode.h"
#include "view.h"

enum {
	/* DaemonSets that start the new Pod before the old one ends. */
	MIN_API_MINOR = 25,
	/* docs/kernels.md */
	MIN_KERNEL_MAJOR = 6,
	MIN_KERNEL_MINOR = 1,
	TEXT_BYTES = 512,
};

static int add(json_t *checks, const char *name, bool ok, bool required, const char *fmt, ...)
	__attribute__((format(printf, 5, 6)));

static int add(json_t *checks, const char *name, bool ok, bool required, const char *fmt, ...)
{
	char text[TEXT_BYTES];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap); /* cut when too long */
	va_end(ap);
	return json_array_append_new(checks, json_pack("{s:s, s:b, s:b, s:s}", "name", name, "ok",
						       ok, "required", required, "message", text))
		       ? -ENOMEM
		       : 0;
}

/* The number that text begins with; *text goes behind it. */
static uint64_t take_number(const char **text)
{
	uint64_t n = 0;
	size_t len = strspn(*text, "0123456789");

	if (sl_str_to_u64((struct sl_str){*text, len}, UINT32_MAX, &n))
		n = 0;
	*text += len;
	return n;
}

/* ---- the API server ---- */

int sl_precheck_version(const json_t *version, json_t *checks)
{
	const json_t *server = json_object_get(version, "serverVersion");
	const char *major = sl_json_text(server, "major"), *minor = sl_json_text(server, "minor");
	uint64_t n_major = take_number(&major), n_minor = take_number(&minor);
	bool ok = n_major > 1 || (n_major == 1 && n_minor >= MIN_API_MINOR);

	return add(checks, "kubernetes", ok, true, "%s%s", sl_json_text(server, "gitVersion"),
		   ok ? "" : ", 1.25 or newer is needed");
}

static const struct {
	const char *plural;
	enum sl_kind kind;
	bool required;
} kinds[] = {
	{"httproutes", SL_KIND_HTTPROUTE, true},
	{"grpcroutes", SL_KIND_GRPCROUTE, false},
	{"tlsroutes", SL_KIND_TLSROUTE, false},
	{"tcproutes", SL_KIND_TCPROUTE, false},
	{"udproutes", SL_KIND_UDPROUTE, false},
	{"backendtlspolicies", SL_KIND_BACKENDTLSPOLICY, false},
};

static bool serves(const json_t *crd, const char *version)
{
	const json_t *v;
	size_t i;

	json_array_foreach (json_object_get(json_object_get(crd, "spec"), "versions"), i, v) {
		if (strcmp(sl_json_text(v, "name"), version) == 0)
			return json_is_true(json_object_get(v, "served"));
	}
	return false;
}

/* The version that an agent would read, without its group; NULL: none. */
static const char *version_of(const json_t *crd, enum sl_kind kind)
{
	for (const char *const *v = sl_kind_api_versions(kind); *v; v++) {
		const char *slash = strchr(*v, '/');

		if (slash && serves(crd, slash + 1))
			return slash + 1;
	}
	return NULL;
}

static const json_t *find_crd(const json_t *crds, const char *plural)
{
	const json_t *crd;
	size_t i;

	json_array_foreach (json_object_get(crds, "items"), i, crd) {
		const json_t *spec = json_object_get(crd, "spec");

		if (strcmp(sl_json_text(spec, "group"), "gateway.networking.k8s.io") == 0 &&
		    strcmp(sl_json_text(json_object_get(spec, "names"), "plural"), plural) == 0)
			return crd;
	}
	return NULL;
}

static int add_crd(const json_t *crd, size_t i, json_t *checks)
{
	const json_t *notes = json_object_get(json_object_get(crd, "metadata"), "annotations");
	const char *version = version_of(crd, kinds[i].kind);

	return add(checks, kinds[i].plural, version, kinds[i].required,
		   "%s%s: Gateway API %s, %s channel",
		   version ? "read as " : "serves no version that is known", version ? version : "",
		   sl_json_text(notes, "gateway.networking.k8s.io/bundle-version"),
		   sl_json_text(notes, "gateway.networking.k8s.io/channel"));
}

int sl_precheck_crds(const json_t *crds, json_t *checks)
{
	int r = 0;

	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds) && !r; i++) {
		const json_t *crd = find_crd(crds, kinds[i].plural);

		r = crd ? add_crd(crd, i, checks)
			: add(checks, kinds[i].plural, false, kinds[i].required,
			      "the Gateway API's CRD is not installed");
	}
	return r;
}

/* ---- what may be done ---- */

static const struct {
	const char *verb, *group, *resource;
} rights[] = {
	{"create", "", "namespaces"},
	{"create", "", "serviceaccounts"},
	{"create", "apps", "daemonsets"},
	{"create", "rbac.authorization.k8s.io", "clusterroles"},
	{"create", "rbac.authorization.k8s.io", "clusterrolebindings"},
	{"create", "rbac.authorization.k8s.io", "roles"},
	{"create", "rbac.authorization.k8s.io", "rolebindings"},
};

/* One SelfSubjectAccessReview for each. NULL: out of memory. */
static json_t *reviews(const char *namespace)
{
	json_auto_t *items = json_array();

	for (size_t i = 0; i < sizeof(rights) / sizeof(*rights); i++) {
		json_t *review = json_pack("{s:s, s:s, s:{s:{s:s, s:s, s:s, s:s}}}", "apiVersion",
					   "authorization.k8s.io/v1", "kind",
					   "SelfSubjectAccessReview", "spec", "resourceAttributes",
					   "namespace", namespace, "verb", rights[i].verb, "group",
					   rights[i].group, "resource", rights[i].resource);

		if (json_array_append_new(items, review))
			return NULL;
	}
	return json_pack("{s:s, s:s, s:O}", "apiVersion", "v1", "kind", "List", "items", items);
}

int sl_precheck_rights(const json_t *reviewed, json_t *checks)
{
	char missing[TEXT_BYTES] = "";
	const json_t *review;
	size_t i, len = 0, n = 0;

	json_array_foreach (json_object_get(reviewed, "items"), i, review) {
		const json_t *what =
			json_object_get(json_object_get(review, "spec"), "resourceAttributes");

		n++;
		if (json_is_true(json_object_get(json_object_get(review, "status"), "allowed")))
			continue;
		if (len < sizeof(missing))
			len += (size_t)snprintf(
				missing + len, sizeof(missing) - len, "%s%s %s",
				len ? ", " : "not allowed: ", sl_json_text(what, "verb"),
				sl_json_text(what, "resource"));
	}
	if (n < sizeof(rights) / sizeof(*rights) && !len)
		return add(checks, "permissions", false, true, "the API server did not say");
	return add(checks, "permissions", !len, true, "%s",
		   len ? missing : "all that the installation needs");
}

/* ---- nodes ---- */

static bool kernel_fits(const char *text)
{
	uint64_t major = take_number(&text);
	uint64_t minor = *text == '.' ? (text++, take_number(&text)) : 0;

	return major > MIN_KERNEL_MAJOR || (major == MIN_KERNEL_MAJOR && minor >= MIN_KERNEL_MINOR);
}

static bool node_is_ready(const json_t *node)
{
	const json_t *c;
	size_t i;

	json_array_foreach (json_object_get(json_object_get(node, "status"), "conditions"), i, c) {
		if (strcmp(sl_json_text(c, "type"), "Ready") == 0)
			return strcmp(sl_json_text(c, "status"), "True") == 0;
	}
	return false;
}

/* cgroup: 2, 1, or 0 when the kubelet does not say. */
int sl_precheck_node(const json_t *node, int cgroup, json_t *checks)
{
	const json_t *info = json_object_get(json_object_get(node, "status"), "nodeInfo");
	const char *kernel = sl_json_text(info, "kernelVersion");
	const char *arch = sl_json_text(info, "architecture");
	const char *os = sl_json_text(info, "operatingSystem");
	char name[TEXT_BYTES], ready[TEXT_BYTES];
	int r = 0;

	if (strcmp(os, "linux") != 0)
		return 0; /* no agent runs there, nothing is routed */
	(void)snprintf(name, sizeof(name), "node %s",
		       sl_json_text(json_object_get(node, "metadata"), "name"));
	(void)snprintf(ready, sizeof(ready), "%.500s ready", name);
	if (!node_is_ready(node))
		r = add(checks, ready, false, false, "no agent starts there now");
	if (!r && !kernel_fits(kernel))
		return add(checks, name, false, true, "Linux %s, 6.1 or newer is needed", kernel);
	if (!r && strcmp(arch, "amd64") != 0 && strcmp(arch, "arm64") != 0)
		return add(checks, name, false, true, "no image for %s", arch);
	/* Such a node may have a cgroup v2 hierarchy beside it: its agent will say. */
	if (!r && cgroup == 1) {
		(void)snprintf(ready, sizeof(ready), "%.500s cgroup", name);
		r = add(checks, ready, false, false,
			"the kubelet is on cgroup v1: Pods have to be in a v2 hierarchy too");
	}
	return r ? r
		 : add(checks, name, true, true, "Linux %s, %s%s", kernel, arch,
		       cgroup == 2 ? ", cgroup v2"
		       : cgroup	   ? ""
				   : ", which cgroup version is not known");
}

/* From the kubelet's metrics, through the API server; nothing that fails is worth a word. */
static int cgroup_of(const struct sl_kubectl *k, const char *node)
{
	_cleanup_(sl_freep) char *path = sl_asprintf("/api/v1/nodes/%s/proxy/metrics", node);
	_cleanup_(sl_buf_deinit) struct sl_buf out = SL_BUF_INIT(0);
	static const char line[] = "\nkubelet_cgroup_version ";
	struct sl_kubectl_job job;
	const char *at;

	if (!path || sl_kubectl_start(k, (const char *const[]){"get", "--raw", path, NULL},
				      SL_STR(""), &job))
		return 0;
	if (sl_kubectl_finish(&job, &out) || sl_buf_append(&out, "", 1))
		return 0;
	at = strstr(sl_buf_ptr(&out), line);
	return at ? at[sizeof(line) - 1] == '2' ? 2 : 1 : 0;
}

/* ---- all of it ---- */

static int ask(const struct sl_kubectl *k, const char *const words[], const json_t *input,
	       int (*fn)(const json_t *answer, json_t *checks), json_t *checks)
{
	_cleanup_(sl_buf_deinit) struct sl_buf text = SL_BUF_INIT(0);
	json_auto_t *answer = NULL;
	int r = input ? sl_json_dump(input, JSON_COMPACT, &text) : 0;

	if (!r)
		r = sl_kubectl_json(k, words, sl_buf_str(&text), &answer);
	return r ? r : fn(answer, checks);
}

static int check_nodes(const struct sl_kubectl *k, json_t *checks)
{
	json_auto_t *nodes = NULL;
	const json_t *node;
	size_t i;
	int r = sl_kubectl_json(k, (const char *const[]){"get", "nodes", "-o", "json", NULL},
				SL_STR(""), &nodes);

	if (r)
		return r;
	json_array_foreach (json_object_get(nodes, "items"), i, node) {
		const char *name = sl_json_text(json_object_get(node, "metadata"), "name");

		r = sl_precheck_node(node, cgroup_of(k, name), checks);
		if (r)
			return r;
	}
	return 0;
}

int sl_precheck(const struct sl_ctl_args *args, json_t **ret)
{
	const struct sl_kubectl k = sl_cluster_kubectl(args);
	json_auto_t *checks = json_array(), *rights_asked = reviews(sl_cluster_namespace(args));
	int r = ask(&k, (const char *const[]){"version", "-o", "json", NULL}, NULL,
		    sl_precheck_version, checks);

	if (!r)
		r = ask(&k,
			(const char *const[]){"get", "customresourcedefinitions", "-o", "json",
					      NULL},
			NULL, sl_precheck_crds, checks);
	if (!r)
		r = ask(&k, (const char *const[]){"create", "-f", "-", "-o", "json", NULL},
			rights_asked, sl_precheck_rights, checks);
	if (!r)
		r = check_nodes(&k, checks);
	if (r)
		return r;
	*ret = json_pack("{s:O}", "checks", checks);
	return *ret ? 0 : -ENOMEM;
}
