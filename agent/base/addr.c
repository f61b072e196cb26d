/* SPDX-License-Identifier: Apache-2.0 */
#include "base/addr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>

static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

bool sl_addr_is_v4(const struct sl_addr *a)
{
	return memcmp(a->ip, mapped, sizeof(mapped)) == 0;
}

bool sl_addr_is_loopback(const struct sl_addr *a)
{
	static const uint8_t one[16] = {[15] = 1};

	return sl_addr_is_v4(a) ? a->ip[12] == 127 : memcmp(a->ip, one, 16) == 0;
}

int sl_addr_parse_ip(struct sl_str ip, uint16_t port, struct sl_addr *ret)
{
	char text[INET6_ADDRSTRLEN];
	struct sl_addr a = {.port = port};

	if (ip.len == 0 || ip.len >= sizeof(text))
		return -EINVAL;
	memcpy(text, ip.ptr, ip.len);
	text[ip.len] = '\0';
	if (strlen(text) != ip.len)
		return -EINVAL;
	if (inet_pton(AF_INET, text, a.ip + 12) == 1)
		memcpy(a.ip, mapped, sizeof(mapped));
	else if (inet_pton(AF_INET6, text, a.ip) != 1)
		return -EINVAL;
	*ret = a;
	return 0;
}

int sl_addr_parse(struct sl_str text, struct sl_addr *ret)
{
	const char *colon = text.len ? memrchr(text.ptr, ':', text.len) : NULL;
	struct sl_str ip, port;
	uint64_t n;
	bool v6;

	if (!colon)
		return -EINVAL;
	ip = (struct sl_str){text.ptr, (size_t)(colon - text.ptr)};
	port = sl_str_skip(text, ip.len + 1);
	v6 = ip.len >= 2 && ip.ptr[0] == '[' && ip.ptr[ip.len - 1] == ']';
	if (v6)
		ip = (struct sl_str){ip.ptr + 1, ip.len - 2};
	if (v6 != (ip.len && memchr(ip.ptr, ':', ip.len)))
		return -EINVAL;
	if (sl_str_to_u64(port, 65535, &n))
		return -EINVAL;
	return sl_addr_parse_ip(ip, (uint16_t)n, ret);
}

const char *sl_addr_format_ip(const struct sl_addr *a, char out[SL_ADDR_TEXT])
{
	if (sl_addr_is_v4(a))
		return inet_ntop(AF_INET, a->ip + 12, out, SL_ADDR_TEXT);
	return inet_ntop(AF_INET6, a->ip, out, SL_ADDR_TEXT);
}

const char *sl_addr_format(const struct sl_addr *a, char out[SL_ADDR_TEXT])
{
	char ip[SL_ADDR_TEXT];

	sl_addr_format_ip(a, ip);
	(void)snprintf(out, SL_ADDR_TEXT, sl_addr_is_v4(a) ? "%.46s:%u" : "[%.46s]:%u", ip,
		       a->port);
	return out;
}

socklen_t sl_addr_to_sockaddr(const struct sl_addr *a, struct sockaddr_storage *ret)
{
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)ret;
	struct sockaddr_in *in = (struct sockaddr_in *)ret;

	memset(ret, 0, sizeof(*ret));
	if (sl_addr_is_v4(a)) {
		in->sin_family = AF_INET;
		in->sin_port = htons(a->port);
		memcpy(&in->sin_addr, a->ip + 12, 4);
		return sizeof(*in);
	}
	in6->sin6_family = AF_INET6;
	in6->sin6_port = htons(a->port);
	memcpy(&in6->sin6_addr, a->ip, 16);
	return sizeof(*in6);
}

int sl_addr_from_sockaddr(const struct sockaddr_storage *ss, struct sl_addr *ret)
{
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)ss;
	const struct sockaddr_in *in = (const struct sockaddr_in *)ss;

	if (ss->ss_family == AF_INET) {
		memcpy(ret->ip, mapped, sizeof(mapped));
		memcpy(ret->ip + 12, &in->sin_addr, 4);
		ret->port = ntohs(in->sin_port);
		return 0;
	}
	if (ss->ss_family == AF_INET6) {
		memcpy(ret->ip, &in6->sin6_addr, 16);
		ret->port = ntohs(in6->sin6_port);
		return 0;
	}
	return -EAFNOSUPPORT;
}
