/* SPDX-License-Identifier: Apache-2.0 */
#include "resource/kinds.h"

enum { MAX_IPS = 16 };

static const char *const spec_fields[] = {
	"activeDeadlineSeconds",
	"affinity",
	"automountServiceAccountToken",
	"containers",
	"dnsConfig",
	"dnsPolicy",
	"enableServiceLinks",
	"ephemeralContainers",
	"hostAliases",
	"hostIPC",
	"hostNetwork",
	"hostPID",
	"hostUsers",
	"hostname",
	"hostnameOverride",
	"imagePullSecrets",
	"initContainers",
	"nodeName",
	"nodeSelector",
	"os",
	"overhead",
	"preemptionPolicy",
	"priority",
	"priorityClassName",
	"readinessGates",
	"resourceClaims",
	"resources",
	"restartPolicy",
	"runtimeClassName",
	"schedulerName",
	"schedulingGates",
	"schedulingGroup",
	"securityContext",
	"serviceAccount",
	"serviceAccountName",
	"setHostnameAsFQDN",
	"shareProcessNamespace",
	"subdomain",
	"terminationGracePeriodSeconds",
	"tolerations",
	"topologySpreadConstraints",
	"volumes",
	"workloadRef",
	NULL,
};
static const char *const ip_fields[] = {"ip", NULL};

/* Others have their own conditions, of which nothing is known here. */
static bool is_ready(json_t *status)
{
	json_t *conditions = json_object_get(status, "conditions"), *it;
	size_t i;

	json_array_foreach (conditions, i, it) {
		const char *type = json_string_value(json_object_get(it, "type"));
		const char *value = json_string_value(json_object_get(it, "status"));

		if (type && strcmp(type, "Ready") == 0)
			return value && strcmp(value, "True") == 0;
	}
	return true;
}

static void decode_ip(const struct sl_cursor *owner, const char *key, struct sl_pod *pod)
{
	struct sl_cursor at = sl_cursor_member(owner, key);
	struct sl_str text;

	/* An empty one stands for "not yet" */
	if (sl_cursor_str(&at, &sl_text_any, &text) && text.len &&
	    sl_cursor_ip(&at, &pod->ips[pod->n_ips]))
		pod->n_ips++;
}

static void decode_ips(const struct sl_cursor *status, struct sl_pod *pod)
{
	struct sl_cursor array;
	size_t n;

	pod->ips = sl_decoder_new_n(status->dec, struct sl_addr, MAX_IPS);
	if (!pod->ips)
		return;
	if (!sl_read_array(status, "podIPs", MAX_IPS, &array, &n) || n == 0) {
		decode_ip(status, "podIP", pod);
		return;
	}
	for (size_t i = 0; i < n; i++) {
		struct sl_cursor at = sl_cursor_item(&array, i);

		if (sl_cursor_is_object(&at, ip_fields))
			decode_ip(&at, "ip", pod);
	}
}

void sl_decode_pod(const struct sl_cursor *root)
{
	struct sl_pod *pod = (struct sl_pod *)root->dec->object;
	struct sl_cursor spec, status = sl_cursor_member(root, "status");

	pod->node = pod->phase = SL_STR("");
	pod->ready = true;
	pod->terminating = json_is_string(
		json_object_get(json_object_get(root->node, "metadata"), "deletionTimestamp"));
	if (sl_read_object(root, "spec", spec_fields, &spec)) {
		(void)sl_read_bool(&spec, "hostNetwork", &pod->host_network);	/* optional */
		(void)sl_read_str(&spec, "nodeName", &sl_text_any, &pod->node); /* optional */
	}
	if (!status.node)
		return;
	if (!json_is_object(status.node)) {
		sl_cursor_error(&status, "expected object");
		return;
	}
	decode_ips(&status, pod);
	pod->ready = is_ready(status.node);
	(void)sl_read_str(&status, "phase", &sl_text_any, &pod->phase); /* optional */
}
