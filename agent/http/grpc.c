/* SPDX-License-Identifier: Apache-2.0 */
#include "http/grpc.h"

#include <errno.h>
#include "base/clock.h"

enum { TIMEOUT_DIGITS = 8 };

/* Codes of gRPC, as far as a proxy has reason to use them. */
enum {
	DEADLINE_EXCEEDED = 4,
	RESOURCE_EXHAUSTED = 8,
	UNIMPLEMENTED = 12,
	INTERNAL = 13,
	UNAVAILABLE = 14,
};

bool sl_grpc_is_call(const struct sl_request *r)
{
	const struct sl_header *type = sl_headers_find(&r->headers, SL_STR("content-type"));
	struct sl_str grpc = SL_STR("application/grpc");
	char next;

	if (!type || type->value.len < grpc.len ||
	    !sl_str_ieq((struct sl_str){type->value.ptr, grpc.len}, grpc))
		return false;
	if (type->value.len == grpc.len)
		return true;
	next = type->value.ptr[grpc.len];
	return next == '+' || next == ';' || next == ' ';
}

int sl_grpc_timeout(struct sl_str value, uint64_t *ret_ns)
{
	uint64_t unit_ns, n;

	if (value.len < 2 || value.len > TIMEOUT_DIGITS + 1)
		return -EINVAL;
	switch (value.ptr[value.len - 1]) {
	case 'H':
		unit_ns = 3600 * SL_NS_PER_S;
		break;
	case 'M':
		unit_ns = 60 * SL_NS_PER_S;
		break;
	case 'S':
		unit_ns = SL_NS_PER_S;
		break;
	case 'm':
		unit_ns = SL_NS_PER_MS;
		break;
	case 'u':
		unit_ns = 1000;
		break;
	case 'n':
		unit_ns = 1;
		break;
	default:
		return -EINVAL;
	}
	value.len--;
	if (sl_str_to_u64(value, UINT64_MAX, &n))
		return -EINVAL;
	/* Eight digits of hours are some 11,000 years: no timer is set that far ahead. */
	if (n > INT64_MAX / 4 / unit_ns)
		n = INT64_MAX / 4 / unit_ns;
	*ret_ns = n * unit_ns;
	return 0;
}

unsigned sl_grpc_code(uint16_t status)
{
	switch (status) {
	case 404:
	case 501:
		return UNIMPLEMENTED;
	case 408:
	case 504:
		return DEADLINE_EXCEEDED;
	case 413:
	case 414:
	case 431:
		return RESOURCE_EXHAUSTED;
	case 500:
	case 502:
	case 503:
		return UNAVAILABLE;
	default:
		return INTERNAL;
	}
}

/* Percent-encoded, as far as it has to be. */
static int encode(struct sl_arena *a, struct sl_str text, struct sl_str *ret)
{
	char *out = sl_arena_alloc(a, 3 * text.len + 1), *end = out;

	if (!out)
		return -ENOMEM;
	for (size_t i = 0; i < text.len; i++) {
		char c = text.ptr[i];

		if (c >= ' ' && c <= '~' && c != '%')
			*end++ = c;
		else
			end = sl_percent_put(end, c);
	}
	*ret = (struct sl_str){out, (size_t)(end - out)};
	return 0;
}

int sl_grpc_answer(struct sl_response *res, struct sl_arena *a, unsigned code,
		   struct sl_str message)
{
	struct sl_str text;
	int r = sl_arena_printf(a, &text, "%u", code);

	if (!r)
		r = encode(a, message, &message);
	if (!r)
		r = sl_headers_set(&res->headers, a, SL_STR("content-type"),
				   SL_STR("application/grpc"));
	if (!r)
		r = sl_headers_set(&res->headers, a, SL_STR("grpc-status"), text);
	if (!r)
		r = sl_headers_set(&res->headers, a, SL_STR("grpc-message"), message);
	if (r)
		return r;
	res->status = 200;
	res->has_length = false;
	res->content_length = 0;
	res->body = SL_BODY_NONE;
	return 0;
}
