/* SPDX-License-Identifier: Apache-2.0 */
#include "resource/kinds.h"

/* The API server's limits. */
enum { MAX_ENDPOINTS = 1000, MAX_ADDRESSES = 100, MAX_PORTS = 20000, MAX_HINTS = 8 };

static const char *const endpoint_fields[] = {
	"addresses", "conditions", "deprecatedTopology",
	"hints",     "hostname",   "nodeName",
	"targetRef", "zone",	   NULL,
};
static const char *const condition_fields[] = {"ready", "serving", "terminating", NULL};
static const char *const hint_fields[] = {"forZones", "forNodes", NULL};
static const char *const hint_name_fields[] = {"name", NULL};
static const char *const target_fields[] = {"apiVersion", "fieldPath",	     "kind", "name",
					    "namespace",  "resourceVersion", "uid",  NULL};
static const char *const port_fields[] = {"name", "port", "protocol", "appProtocol", NULL};

enum address_type { ADDRESS_IPV4, ADDRESS_IPV6, ADDRESS_FQDN, ADDRESS_UNKNOWN };
static const char *const address_types[] = {"IPv4", "IPv6", "FQDN", NULL};

static void decode_addresses(const struct sl_cursor *at, enum address_type type,
			     struct sl_slice_endpoint *ep)
{
	struct sl_cursor array = sl_cursor_member(at, "addresses");
	size_t n = 0;

	if (!array.node) {
		sl_cursor_error(&array, "required, but missing");
		return;
	}
	if (!sl_read_array(at, "addresses", MAX_ADDRESSES, &array, &n))
		return;
	if (n == 0)
		sl_cursor_error(&array, "must have at least one address");
	ep->addresses = sl_decoder_new_n(at->dec, struct sl_addr, n);
	if (!ep->addresses)
		return;
	for (size_t i = 0; i < n; i++) {
		struct sl_cursor item = sl_cursor_item(&array, i);
		struct sl_addr *addr = &ep->addresses[ep->n_addresses];

		if (!sl_cursor_ip(&item, addr))
			continue;
		if (type != ADDRESS_UNKNOWN && sl_addr_is_v4(addr) != (type == ADDRESS_IPV4))
			sl_cursor_error(&item, "must be an %s address, as addressType says",
					address_types[type]);
		ep->n_addresses++;
	}
}

static void decode_conditions(const struct sl_cursor *at, struct sl_slice_endpoint *ep)
{
	struct sl_cursor cond;

	ep->ready = ep->serving = true;
	if (!sl_read_object(at, "conditions", condition_fields, &cond))
		return;
	(void)sl_read_bool(&cond, "ready", &ep->ready); /* each of them is optional */
	ep->serving = ep->ready;
	(void)sl_read_bool(&cond, "serving", &ep->serving);
	(void)sl_read_bool(&cond, "terminating", &ep->terminating);
}

/* forZones or forNodes: whose clients it is meant for. */
static void decode_hint(const struct sl_cursor *hints, const char *key, struct sl_str **ret,
			uint32_t *ret_n)
{
	struct sl_cursor array;
	struct sl_str *names;
	size_t n;

	if (!sl_read_array(hints, key, MAX_HINTS, &array, &n) || !n)
		return;
	names = sl_decoder_new_n(hints->dec, struct sl_str, n);
	if (!names)
		return;
	for (size_t i = 0; i < n; i++) {
		struct sl_cursor at = sl_cursor_item(&array, i);

		names[i] = SL_STR("");
		if (sl_cursor_is_object(&at, hint_name_fields))
			(void)sl_require_str(&at, "name", &sl_text_any, &names[i]);
	}
	*ret = names;
	*ret_n = (uint32_t)n;
}

static void decode_hints(const struct sl_cursor *at, struct sl_slice_endpoint *ep)
{
	struct sl_cursor hints;

	if (!sl_read_object(at, "hints", hint_fields, &hints))
		return;
	decode_hint(&hints, "forZones", &ep->for_zones, &ep->n_for_zones);
	decode_hint(&hints, "forNodes", &ep->for_nodes, &ep->n_for_nodes);
}

static void decode_endpoint(const struct sl_cursor *at, enum address_type type,
			    struct sl_slice_endpoint *ep)
{
	struct sl_cursor target;
	struct sl_str kind = SL_STR("");

	ep->node = ep->zone = ep->pod = SL_STR("");
	if (!sl_cursor_is_object(at, endpoint_fields))
		return;
	if (type != ADDRESS_FQDN)
		decode_addresses(at, type, ep);
	decode_conditions(at, ep);
	decode_hints(at, ep);
	(void)sl_read_str(at, "nodeName", &sl_text_any, &ep->node); /* optional */
	(void)sl_read_str(at, "zone", &sl_text_any, &ep->zone);	    /* optional */
	if (sl_read_object(at, "targetRef", target_fields, &target) &&
	    sl_read_str(&target, "kind", &sl_text_any, &kind) && sl_str_eqc(kind, "Pod"))
		(void)sl_read_str(&target, "name", &sl_text_any, &ep->pod); /* optional */
}

static void decode_endpoints(const struct sl_cursor *root, enum address_type type,
			     struct sl_endpointslice *slice)
{
	struct sl_cursor array;
	size_t n;

	if (!sl_read_array(root, "endpoints", MAX_ENDPOINTS, &array, &n))
		return;
	slice->endpoints = sl_decoder_new_n(root->dec, struct sl_slice_endpoint, n);
	if (!slice->endpoints)
		return;
	for (size_t i = 0; i < n; i++) {
		struct sl_cursor at = sl_cursor_item(&array, i);

		decode_endpoint(&at, type, &slice->endpoints[i]);
	}
	slice->n_endpoints = (uint32_t)n;
}

static void decode_ports(const struct sl_cursor *root, struct sl_endpointslice *slice)
{
	struct sl_cursor array;
	size_t n;

	if (!sl_read_array(root, "ports", MAX_PORTS, &array, &n))
		return;
	slice->ports = sl_decoder_new_n(root->dec, struct sl_slice_port, n);
	if (!slice->ports)
		return;
	slice->n_ports = (uint32_t)n;
	for (size_t i = 0; i < n; i++) {
		struct sl_slice_port *port = &slice->ports[i];
		struct sl_cursor at = sl_cursor_item(&array, i);

		port->name = port->app_protocol = SL_STR("");
		if (!sl_cursor_is_object(&at, port_fields))
			continue;
		(void)sl_read_str(&at, "name", &sl_text_any, &port->name); /* each is optional */
		(void)sl_read_port(&at, "port", &port->port);
		sl_decode_protocol(&at, &port->protocol);
		(void)sl_read_str(&at, "appProtocol", &sl_text_any, &port->app_protocol);
	}
}

void sl_decode_endpointslice(const struct sl_cursor *root)
{
	struct sl_endpointslice *slice = (struct sl_endpointslice *)root->dec->object;
	const struct sl_meta *meta = &slice->object.meta;
	struct sl_cursor at = sl_cursor_member(root, "addressType");
	int type = ADDRESS_UNKNOWN;

	slice->service = SL_STR("");
	for (uint32_t i = 0; i < meta->n_labels; i++) {
		if (sl_str_eqc(meta->labels[i].name, "kubernetes.io/service-name"))
			slice->service = meta->labels[i].value;
	}
	if (!at.node)
		sl_cursor_error(&at, "required, but missing");
	(void)sl_read_enum(root, "addressType", address_types,
			   &type); /* required, as just checked */
	if (type == ADDRESS_FQDN)
		sl_cursor_warn(&at,
			       "endpoints that are names are not supported, they are left out");
	decode_endpoints(root, (enum address_type)type, slice);
	decode_ports(root, slice);
}
