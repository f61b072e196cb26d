/* SPDX-License-Identifier: Apache-2.0 */
#include "resource/kinds.h"

enum {
	MAX_PORTS = 1000,
	MAX_CLUSTER_IPS = 2,
	DEFAULT_AFFINITY_S = 10800,
	MAX_AFFINITY_S = 86400,
};

static const char *const spec_fields[] = {
	"allocateLoadBalancerNodePorts",
	"clusterIP",
	"clusterIPs",
	"externalIPs",
	"externalName",
	"externalTrafficPolicy",
	"healthCheckNodePort",
	"internalTrafficPolicy",
	"ipFamilies",
	"ipFamilyPolicy",
	"loadBalancerClass",
	"loadBalancerIP",
	"loadBalancerSourceRanges",
	"ports",
	"publishNotReadyAddresses",
	"selector",
	"sessionAffinity",
	"sessionAffinityConfig",
	"trafficDistribution",
	"type",
	NULL,
};

static const char *const port_fields[] = {"name",	"port",	    "protocol", "appProtocol",
					  "targetPort", "nodePort", NULL};

static const char *const type_names[] = {"ClusterIP", "NodePort", "LoadBalancer", "ExternalName",
					 NULL};
static const char *const internal_policies[] = {"Cluster", "Local", NULL};
static const char *const affinities[] = {"None", "ClientIP", NULL};
static const char *const affinity_fields[] = {"clientIP", NULL};
static const char *const client_ip_fields[] = {"timeoutSeconds", NULL};
static const char *const protocol_names[] = {"TCP", "UDP", "SCTP", NULL};

static const struct sl_text_type port_name_type = {1, 63, NULL, "text"};

const char *sl_protocol_name(enum sl_protocol protocol)
{
	return protocol_names[protocol];
}

void sl_decode_protocol(const struct sl_cursor *port, enum sl_protocol *ret)
{
	int i = SL_PROTOCOL_TCP;

	(void)sl_read_enum(port, "protocol", protocol_names, &i); /* TCP unless told */
	*ret = (enum sl_protocol)i;
}

static void decode_target_port(const struct sl_cursor *at, struct sl_service_port *port)
{
	port->target_port = port->port;
	if (json_is_string(json_object_get(at->node, "targetPort"))) {
		/* A name is looked up in the EndpointSlices by the Service port's own name. */
		if (sl_read_str(at, "targetPort", &port_name_type, &port->target_port_name))
			port->target_port = 0;
	} else {
		(void)sl_read_port(at, "targetPort", &port->target_port); /* optional */
	}
}

static void decode_port(const struct sl_cursor *at, bool needs_name, struct sl_service_port *port)
{
	struct sl_cursor number;

	port->name = port->app_protocol = port->target_port_name = SL_STR("");
	if (!sl_cursor_is_object(at, port_fields))
		return;
	number = sl_cursor_member(at, "port");
	if (!number.node)
		sl_cursor_error(&number, "required, but missing");
	(void)sl_read_port(at, "port", &port->port); /* required, as just checked */
	if (needs_name)
		(void)sl_require_str(at, "name", &sl_text_dns_label, &port->name);
	else
		(void)sl_read_str(at, "name", &sl_text_optional_label, &port->name);
	sl_decode_protocol(at, &port->protocol);
	(void)sl_read_str(at, "appProtocol", &sl_text_any, &port->app_protocol); /* optional */
	decode_target_port(at, port);
}

static void check_unique(const struct sl_cursor *ports_at, const struct sl_service_port *ports,
			 size_t i)
{
	struct sl_cursor at = sl_cursor_item(ports_at, i);

	for (size_t k = 0; k < i; k++) {
		if (ports[i].port && ports[k].port == ports[i].port &&
		    ports[k].protocol == ports[i].protocol) {
			sl_cursor_error(&at, "port %u appears twice", (unsigned)ports[i].port);
			return;
		}
		if (ports[i].name.len && sl_str_eq(ports[k].name, ports[i].name)) {
			sl_cursor_error(&at, "port name \"%.*s\" appears twice",
					SL_STR_ARG(ports[i].name));
			return;
		}
	}
}

static void decode_ports(const struct sl_cursor *spec, struct sl_service *svc)
{
	struct sl_cursor array;
	size_t n = 0;

	if (sl_read_array(spec, "ports", MAX_PORTS, &array, &n) && n) {
		svc->ports = sl_decoder_new_n(spec->dec, struct sl_service_port, n);
		if (!svc->ports)
			return;
		svc->n_ports = (uint32_t)n;
		for (size_t i = 0; i < n; i++) {
			struct sl_cursor at = sl_cursor_item(&array, i);

			decode_port(&at, n > 1, &svc->ports[i]);
			check_unique(&array, svc->ports, i);
		}
	}
	if (n == 0 && !svc->headless && svc->type != SL_SERVICE_EXTERNALNAME) {
		struct sl_cursor at = sl_cursor_member(spec, "ports");

		sl_cursor_error(&at, "must have at least one port");
	}
}

/* "None" makes the Service headless, "" leaves it without an address. */
static void decode_cluster_ip(const struct sl_cursor *at, struct sl_service *svc)
{
	struct sl_str text;

	if (!sl_cursor_str(at, &sl_text_any, &text) || text.len == 0)
		return;
	if (sl_str_eqc(text, "None"))
		svc->headless = true;
	else if (sl_cursor_ip(at, &svc->cluster_ips[svc->n_cluster_ips]))
		svc->n_cluster_ips++;
}

static void decode_cluster_ips(const struct sl_cursor *spec, struct sl_service *svc)
{
	struct sl_cursor first = sl_cursor_member(spec, "clusterIP");
	struct sl_cursor array;
	size_t n = 0;

	svc->cluster_ips = sl_decoder_new_n(spec->dec, struct sl_addr, MAX_CLUSTER_IPS);
	if (!svc->cluster_ips)
		return;
	if (sl_read_array(spec, "clusterIPs", MAX_CLUSTER_IPS, &array, &n) && n) {
		for (size_t i = 0; i < n; i++) {
			struct sl_cursor at = sl_cursor_item(&array, i);

			decode_cluster_ip(&at, svc);
		}
		if (json_is_string(first.node) &&
		    !json_equal(first.node, json_array_get(array.node, 0)))
			sl_cursor_error(&first, "must be the same as the first of clusterIPs");
	} else {
		decode_cluster_ip(&first, svc);
	}
	if (svc->headless || svc->type == SL_SERVICE_EXTERNALNAME)
		svc->n_cluster_ips = 0;
}

static void decode_affinity(const struct sl_cursor *spec, struct sl_service *svc)
{
	int64_t timeout_s = DEFAULT_AFFINITY_S;
	struct sl_cursor config, client_ip;
	int affinity = 0;

	(void)sl_read_enum(spec, "sessionAffinity", affinities, &affinity); /* each is optional */
	if (sl_read_object(spec, "sessionAffinityConfig", affinity_fields, &config) &&
	    sl_read_object(&config, "clientIP", client_ip_fields, &client_ip))
		(void)sl_read_int(&client_ip, "timeoutSeconds", 1, MAX_AFFINITY_S, &timeout_s);
	svc->affinity_s = affinity ? (uint32_t)timeout_s : 0;
}

/* One that is not known is no mistake: newer clusters have more, and a preference is what it is. */
static void decode_distribution(const struct sl_cursor *spec, struct sl_service *svc)
{
	struct sl_cursor at = sl_cursor_member(spec, "trafficDistribution");
	char quoted[SL_QUOTE_TEXT];
	struct sl_str text;

	if (!sl_cursor_str(&at, &sl_text_any, &text))
		return;
	if (sl_str_eqc(text, "PreferClose") || sl_str_eqc(text, "PreferSameZone"))
		svc->distribution = SL_DISTRIBUTION_SAME_ZONE;
	else if (sl_str_eqc(text, "PreferSameNode"))
		svc->distribution = SL_DISTRIBUTION_SAME_NODE;
	else
		sl_cursor_warn(&at,
			       "must be one of PreferSameZone, PreferSameNode, PreferClose, got "
			       "%s: ignoring it",
			       sl_quote(text, quoted));
}

void sl_decode_service(const struct sl_cursor *root)
{
	struct sl_service *svc = (struct sl_service *)root->dec->object;
	struct sl_cursor spec = sl_cursor_member(root, "spec");
	int type = SL_SERVICE_CLUSTERIP, internal = 0;

	if (!spec.node) {
		sl_cursor_error(&spec, "required, but missing");
		return;
	}
	if (!sl_cursor_is_object(&spec, spec_fields))
		return;
	(void)sl_read_enum(&spec, "type", type_names, &type); /* ClusterIP unless told */
	svc->type = (enum sl_service_type)type;
	decode_cluster_ips(&spec, svc);
	(void)sl_read_enum(&spec, "internalTrafficPolicy", internal_policies,
			   &internal); /* Cluster unless told */
	svc->internal_local = internal;
	decode_affinity(&spec, svc);
	decode_distribution(&spec, svc);
	decode_ports(&spec, svc);
}
