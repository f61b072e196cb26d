/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * A transport address in one form for both families: 16 bytes in network order, IPv4 as
 * ::ffff:a.b.c.d, and a port in host order. Comparable with memcmp (there is no padding).
 */
#include <sys/socket.h>
#include "base/str.h"

struct sl_addr {
	uint8_t ip[16];
	uint16_t port;
};
_Static_assert(sizeof(struct sl_addr) == 18, "sl_addr has no padding: it is hashed as bytes");

#define SL_ADDR_TEXT 56 /* room for [v6]:port and NUL */

bool sl_addr_is_v4(const struct sl_addr *a);
bool sl_addr_is_loopback(const struct sl_addr *a);
static inline bool sl_addr_eq(const struct sl_addr *a, const struct sl_addr *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}
/* An IP literal without port; port is kept as given. Returns 0 or -EINVAL. */
int sl_addr_parse_ip(struct sl_str ip, uint16_t port, struct sl_addr *ret);
/* "1.2.3.4:80" or "[::1]:80". Returns 0 or -EINVAL. */
int sl_addr_parse(struct sl_str text, struct sl_addr *ret);
/* As sl_addr_parse() reads it; v4-mapped prints as IPv4. Returns out. */
const char *sl_addr_format(const struct sl_addr *a, char out[SL_ADDR_TEXT]);
const char *sl_addr_format_ip(const struct sl_addr *a, char out[SL_ADDR_TEXT]);
/* AF_INET for IPv4 (also v4-mapped), else AF_INET6. Returns the length. */
socklen_t sl_addr_to_sockaddr(const struct sl_addr *a, struct sockaddr_storage *ret);
/* -EAFNOSUPPORT for other families. */
int sl_addr_from_sockaddr(const struct sockaddr_storage *ss, struct sl_addr *ret);
