/* SPDX-License-Identifier: Apache-2.0 */
/* "explain" where TLSRoutes and TCPRoutes take whole connections, or UDPRoutes flows. */
#include <errno.h>
#include "base/cleanup.h"
#include "core/views_explain.h"
#include "snapshot/match.h"

/* The host of an authority as SNI has it: without port, in lower case. */
static struct sl_str server_name(struct sl_str authority, char out[SL_SERVER_NAME_MAX])
{
	const char *colon = authority.len ? memchr(authority.ptr, ':', authority.len) : NULL;
	size_t n = colon ? (size_t)(colon - authority.ptr) : authority.len;

	if (n > SL_SERVER_NAME_MAX)
		return SL_STR("");
	for (size_t i = 0; i < n; i++) {
		char c = authority.ptr[i];

		out[i] = c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
	}
	return (struct sl_str){out, n};
}

static int put_none(struct explain *e)
{
	if (e->table->fallback_status != 404)
		return explain_put_result(e, "refused", 0,
					  "a route is attached whose rule cannot be used");
	return explain_put_result(e, "refused", 0,
				  "no attached TLSRoute has this name: alert unrecognized_name");
}

int explain_connection(struct explain *e)
{
	bool is_tls = e->table->kind == SL_ROUTE_TLS;
	char buf[SL_SERVER_NAME_MAX];
	struct sl_str name = server_name(explain_member(e->request, "authority"), buf);
	struct sl_explain x;
	int r;

	if (is_tls && !sl_str_eqc(explain_scheme(e), "https"))
		return explain_put_result(
			e, "pass_through", 0,
			"what is not TLS goes to an endpoint of the Service as it is");
	r = sl_route_table_explain(e->table, &e->req, is_tls ? name : SL_STR(""), &e->arena, &x);
	if (!r && is_tls)
		r = explain_put_str(e->answer, "server_name", name);
	if (!r)
		r = explain_put_steps(e, &x);
	if (r)
		return r;
	return x.rule ? explain_connection_rule(e, x.rule) : put_none(e);
}
