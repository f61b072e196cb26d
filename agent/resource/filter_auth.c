/* SPDX-License-Identifier: Apache-2.0 */
/* Filters of type ExternalAuth (GEP-1494). */
#include "resource/kinds.h"

enum { MAX_NAMES = 64 };

static const char *const auth_fields[] = {"protocol", "backendRef",  "grpc",
					  "http",     "forwardBody", NULL};
static const char *const protocols[] = {"HTTP", "GRPC", NULL};
static const char *const http_fields[] = {"path", "allowedHeaders", "allowedResponseHeaders", NULL};
static const char *const grpc_fields[] = {"allowedHeaders", NULL};
static const char *const body_fields[] = {"maxSize", NULL};

static void decode_names(const struct sl_cursor *at, const char *key, struct sl_texts *ret)
{
	struct sl_cursor array;
	size_t n;

	if (!sl_read_array(at, key, MAX_NAMES, &array, &n))
		return;
	ret->items = sl_decoder_new_n(at->dec, struct sl_str, n);
	if (!ret->items)
		return;
	for (size_t i = 0; i < n; i++) {
		struct sl_cursor item = sl_cursor_item(&array, i);

		if (sl_cursor_str(&item, &sl_text_token, &ret->items[ret->n]))
			ret->n++;
	}
}

static void decode_protocol(const struct sl_cursor *auth, struct sl_auth_spec *ret)
{
	static const char *const members[] = {"http", "grpc"};
	struct sl_cursor at = sl_cursor_member(auth, "protocol");
	int protocol;

	if (!at.node)
		sl_cursor_error(&at, "required, but missing");
	if (!sl_read_enum(auth, "protocol", protocols, &protocol))
		return;
	ret->grpc = protocol == 1;
	at = sl_cursor_member(auth, members[!protocol]);
	if (at.node)
		sl_cursor_error(&at, "must not be set when protocol is %s", protocols[protocol]);
	if (!sl_read_object(auth, members[protocol], ret->grpc ? grpc_fields : http_fields, &at))
		return;
	decode_names(&at, "allowedHeaders", &ret->request_headers);
	if (ret->grpc)
		return;
	(void)sl_read_str(&at, "path", &sl_text_path_prefix, &ret->path); /* optional */
	decode_names(&at, "allowedResponseHeaders", &ret->response_headers);
}

void sl_decode_auth(const struct sl_cursor *filter, struct sl_auth_spec *ret)
{
	int64_t max_size = 0;
	struct sl_cursor at, body;

	ret->path = SL_STR("");
	if (!sl_read_object(filter, "externalAuth", auth_fields, &at))
		return;
	sl_decode_target(&at, &ret->backend);
	decode_protocol(&at, ret);
	if (!sl_read_object(&at, "forwardBody", body_fields, &body))
		return;
	(void)sl_read_int(&body, "maxSize", 0, INT32_MAX, &max_size); /* 0: no body */
	ret->body_bytes = (uint32_t)max_size;
}
