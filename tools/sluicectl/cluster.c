/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster.h"

#include <errno.h>
#include "base/alloc.h"
#include "base/cleanup.h"
#include "client.h"
#include "view.h"

enum { AT_A_TIME = 16 };

struct sl_kubectl sl_cluster_kubectl(const struct sl_ctl_args *args)
{
	return (struct sl_kubectl){args->kubeconfig, args->context};
}

const char *sl_cluster_namespace(const struct sl_ctl_args *args)
{
	return args->namespace ? args->namespace : SL_CLUSTER_NAMESPACE;
}

/* ---- who there is ---- */

static bool is_ready(const json_t *pod)
{
	const json_t *conditions = json_object_get(json_object_get(pod, "status"), "conditions");
	const json_t *c;
	size_t i;

	json_array_foreach (conditions, i, c) {
		if (strcmp(sl_json_text(c, "type"), "Ready") == 0)
			return strcmp(sl_json_text(c, "status"), "True") == 0;
	}
	return false;
}

static json_t *find(const json_t *agents, const char *node)
{
	json_t *a;
	size_t i;

	json_array_foreach (agents, i, a) {
		if (strcmp(sl_json_text(a, "node"), node) == 0)
			return a;
	}
	return NULL;
}

static int cmp_nodes(const void *a, const void *b)
{
	return strcmp(sl_json_text(*(json_t *const *)a, "node"),
		      sl_json_text(*(json_t *const *)b, "node"));
}

static json_t *sorted(const json_t *agents)
{
	size_t n = json_array_size(agents);
	_cleanup_(sl_freep) json_t **list = sl_new_n(json_t *, n + 1);
	json_t *out = list ? json_array() : NULL;

	for (size_t i = 0; out && i < n; i++)
		list[i] = json_array_get(agents, i);
	if (out)
		qsort(list, n, sizeof(*list), cmp_nodes);
	for (size_t i = 0; out && i < n; i++) {
		if (json_array_append(out, list[i])) {
			json_decref(out);
			out = NULL;
		}
	}
	return out;
}

json_t *sl_cluster_agents_of(const json_t *pods)
{
	json_auto_t *agents = json_object(), *list = json_array();
	const json_t *pod;
	size_t i;

	json_array_foreach (json_object_get(pods, "items"), i, pod) {
		const char *node = sl_json_text(json_object_get(pod, "spec"), "nodeName");
		const char *name = sl_json_text(json_object_get(pod, "metadata"), "name");
		json_t *known = json_object_get(agents, node);
		json_t *a;

		if (!*node || (known && json_is_true(json_object_get(known, "ready"))))
			continue; /* not placed yet; there is a better one */
		a = json_pack("{s:s, s:s, s:b}", "node", node, "pod", name, "ready", is_ready(pod));
		if (json_object_set_new(agents, node, a))
			return NULL;
	}
	for (void *it = json_object_iter(agents); it; it = json_object_iter_next(agents, it)) {
		if (json_array_append(list, json_object_iter_value(it)))
			return NULL;
	}
	return sorted(list);
}

int sl_cluster_agents(const struct sl_ctl_args *args, json_t **ret)
{
	const char *const words[] = {"get", "pods",	      "-n", sl_cluster_namespace(args),
				     "-l",  SL_CLUSTER_LABEL, "-o", "json",
				     NULL};
	const struct sl_kubectl k = sl_cluster_kubectl(args);
	json_auto_t *pods = NULL;
	int r = sl_kubectl_json(&k, words, SL_STR(""), &pods);

	if (r)
		return r;
	*ret = sl_cluster_agents_of(pods);
	if (!*ret) {
		fprintf(stderr, "sluicectl: out of memory\n");
		return -ENOMEM;
	}
	if (json_array_size(*ret))
		return 0;
	json_decref(*ret);
	*ret = NULL;
	fprintf(stderr,
		"sluicectl: there is no agent in namespace %s (--namespace names another)\n",
		sl_cluster_namespace(args));
	return -ENOENT;
}

/* ---- which one ---- */

/* ns/pod: its node. A namespace alone is nowhere. */
static int node_of_pod(const struct sl_ctl_args *args, json_t **ret_node)
{
	const char *slash = args->from ? strchr(args->from, '/') : NULL;
	const struct sl_kubectl k = sl_cluster_kubectl(args);
	_cleanup_(sl_freep) char *namespace = NULL;
	json_auto_t *pod = NULL;
	json_t *node;
	int r;

	if (!slash)
		return 0;
	namespace = sl_asprintf("%.*s", (int)(slash - args->from), args->from);
	if (!namespace)
		return -ENOMEM;
	r = sl_kubectl_json(
		&k,
		(const char *const[]){"get", "pod", "-n", namespace, slash + 1, "-o", "json", NULL},
		SL_STR(""), &pod);
	if (r)
		return r;
	node = json_object_get(json_object_get(pod, "spec"), "nodeName");
	if (!json_is_string(node)) {
		fprintf(stderr, "sluicectl: Pod %s is on no node yet\n", args->from);
		return -ENOENT;
	}
	*ret_node = json_incref(node);
	return 0;
}

static const json_t *choose(const json_t *agents, const char *node)
{
	const json_t *a;
	size_t i;

	if (node)
		return find(agents, node);
	json_array_foreach (agents, i, a) {
		if (json_is_true(json_object_get(a, "ready")))
			return a;
	}
	return json_array_get(agents, 0);
}

/* ---- asking ---- */

static int start(const struct sl_ctl_args *args, const json_t *agent, const struct sl_buf *question,
		 struct sl_kubectl_job *ret)
{
	const char *const words[] = {"exec",
				     "-i",
				     "-n",
				     sl_cluster_namespace(args),
				     "-c",
				     "agent",
				     sl_json_text(agent, "pod"),
				     "--",
				     "sluicectl",
				     "ask",
				     NULL};
	const struct sl_kubectl k = sl_cluster_kubectl(args);

	return sl_kubectl_start(&k, words, sl_buf_str(question), ret);
}

static int finish(struct sl_kubectl_job *job, json_t **ret, char message[SL_CTL_MESSAGE])
{
	_cleanup_(sl_buf_deinit) struct sl_buf out = SL_BUF_INIT(0);
	int r = sl_kubectl_finish(job, &out);

	if (!r)
		return sl_ctl_parse(&out, ret, message);
	(void)snprintf(message, SL_CTL_MESSAGE, "kubectl exec failed");
	return r;
}

int sl_cluster_ask(const struct sl_ctl_args *args, const json_t *question, json_t **ret)
{
	_cleanup_(sl_buf_deinit) struct sl_buf text = SL_BUF_INIT(0);
	json_auto_t *agents = NULL, *node = NULL;
	char message[SL_CTL_MESSAGE];
	const char *name = args->node;
	struct sl_kubectl_job job;
	const json_t *agent;
	int r = sl_json_dump(question, JSON_COMPACT, &text);

	if (!r && !name)
		r = node_of_pod(args, &node);
	if (!r)
		r = sl_cluster_agents(args, &agents);
	if (r)
		return r;
	name = node ? json_string_value(node) : name;
	agent = choose(agents, name);
	if (!agent) {
		fprintf(stderr, "sluicectl: there is no agent on node %s\n", name);
		return -ENOENT;
	}
	r = start(args, agent, &text, &job);
	if (r)
		return r;
	r = finish(&job, ret, message);
	if (r)
		fprintf(stderr, "sluicectl: %s on node %s: %s\n", sl_json_text(agent, "pod"),
			sl_json_text(agent, "node"), message);
	return r;
}

static int take_answer(json_t *agent, struct sl_kubectl_job *job)
{
	char message[SL_CTL_MESSAGE];
	json_t *answer = NULL;
	int r = finish(job, &answer, message);

	return json_object_set_new(agent, r ? "error" : "answer",
				   r ? json_string(message) : answer);
}

/* Some at a time, in order. */
static int ask_some(const struct sl_ctl_args *args, const json_t *agents, size_t from,
		    const struct sl_buf *question)
{
	struct sl_kubectl_job jobs[AT_A_TIME];
	size_t n = 0;
	int r = 0;

	while (n < AT_A_TIME && from + n < json_array_size(agents) && !r) {
		r = start(args, json_array_get(agents, from + n), question, &jobs[n]);
		n += !r;
	}
	for (size_t i = 0; i < n; i++) {
		if (take_answer(json_array_get(agents, from + i), &jobs[i]))
			r = -ENOMEM;
	}
	return r;
}

int sl_cluster_ask_all(const struct sl_ctl_args *args, const char *command, json_t **ret)
{
	_cleanup_(sl_buf_deinit) struct sl_buf text = SL_BUF_INIT(0);
	json_auto_t *question = json_pack("{s:s}", "command", command);
	json_auto_t *agents = NULL;
	int r = sl_json_dump(question, JSON_COMPACT, &text);

	if (!r)
		r = sl_cluster_agents(args, &agents);
	for (size_t i = 0; !r && i < json_array_size(agents); i += AT_A_TIME)
		r = ask_some(args, agents, i, &text);
	if (r)
		return r;
	*ret = json_pack("{s:O}", "nodes", agents);
	return *ret ? 0 : -ENOMEM;
}
