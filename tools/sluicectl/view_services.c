/* SPDX-License-Identifier: Apache-2.0 */
#include "base/cleanup.h"
#include "view.h"

static void port_row(struct sl_table *t, const json_t *service, const json_t *port)
{
	const char *name = sl_json_text(port, "name");

	sl_table_printf(t, "%s/%s", sl_json_text(service, "namespace"),
			sl_json_text(service, "name"));
	sl_json_list_cell(t, json_object_get(service, "clusterIPs"));
	if (!port) {
		for (int i = 0; i < 5; i++)
			sl_table_add(t, NULL);
		return;
	}
	sl_table_printf(t, "%lld%s%s%s", sl_json_number(port, "port"),
			strcmp(sl_json_text(port, "protocol"), "UDP") == 0 ? "/udp" : "",
			*name ? "/" : "", name);
	sl_table_printf(t, "%lld/%lld", sl_json_number(port, "ready"),
			sl_json_number(port, "endpoints"));
	sl_table_add(t, json_is_true(json_object_get(port, "routed")) ? "yes" : "no");
	sl_table_add(t, sl_json_text(port, "failure_policy"));
	sl_json_list_cell(t, json_object_get(port, "routes"));
}

int sl_view_services(const json_t *answer, struct sl_buf *out)
{
	static const char *const titles[] = {"SERVICE", "CLUSTER-IP", "PORT",  "READY",
					     "ROUTED",	"ON-FAILURE", "ROUTES"};
	_cleanup_(sl_table_deinit) struct sl_table t = SL_TABLE_INIT(titles);
	const json_t *service, *port;
	size_t i, k;

	json_array_foreach (json_object_get(answer, "services"), i, service) {
		const json_t *ports = json_object_get(service, "ports");

		if (!json_array_size(ports))
			port_row(&t, service, NULL);
		json_array_foreach (ports, k, port)
			port_row(&t, service, port);
	}
	return sl_table_render(&t, "no services", out);
}

int sl_view_endpoints(const json_t *answer, struct sl_buf *out)
{
	static const char *const titles[] = {"SERVICE", "ADDRESS", "POD", "NODE",
					     "ZONE",	"READY",   "USED"};
	_cleanup_(sl_table_deinit) struct sl_table t = SL_TABLE_INIT(titles);
	const json_t *e;
	size_t i;

	json_array_foreach (json_object_get(answer, "endpoints"), i, e) {
		sl_table_add(&t, sl_json_text(e, "service"));
		sl_table_add(&t, sl_json_text(e, "address"));
		sl_table_add(&t, sl_json_text(e, "pod"));
		sl_table_add(&t, sl_json_text(e, "node"));
		sl_table_add(&t, sl_json_text(e, "zone"));
		sl_table_add(&t, json_is_true(json_object_get(e, "ready"))    ? "yes"
				 : json_is_true(json_object_get(e, "ending")) ? "ending"
									      : "no");
		sl_table_add(&t, json_is_true(json_object_get(e, "ejected")) ? "ejected"
				 : json_is_true(json_object_get(e, "used"))  ? "yes"
									     : "no");
	}
	return sl_table_render(&t, "no endpoints", out);
}
