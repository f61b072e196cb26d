/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include "base/addr.h"
#include "lib/addr.h"
#include "sluice/abi.h"

struct row {
	const char *text;
	int v4, any, loopback;
};

static const struct row rows[] = {
	{"0.0.0.0", 1, 1, 0},
	{"127.0.0.1", 1, 0, 1},
	{"127.255.0.9", 1, 0, 1},
	{"128.0.0.1", 1, 0, 0},
	{"10.96.0.1", 1, 0, 0},
	{"255.255.255.255", 1, 0, 0},
	{"::", 0, 1, 0},
	{"::1", 0, 0, 1},
	{"::2", 0, 0, 0},
	{"::7f00:1", 0, 0, 0},
	{"fd00::1", 0, 0, 0},
	{"::ffff:10.0.0.1", 1, 0, 0},
	{"fe80::ffff:127.0.0.1", 0, 0, 0},
};

static struct sl_ip ip(const char *text)
{
	struct sl_addr a;
	struct sl_ip r;

	cr_assert(sl_addr_parse_ip(sl_str_from(text), 0, &a) == 0, "%s", text);
	memcpy(&r, a.ip, sizeof(r));
	return r;
}

Test(addr, kinds_are_told_apart)
{
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct sl_ip a = ip(rows[i].text);

		cr_expect(sl_ip_is_v4(a) == rows[i].v4, "IPv4? %s", rows[i].text);
		cr_expect(sl_ip_is_any(a) == rows[i].any, "wildcard? %s", rows[i].text);
		cr_expect(sl_ip_is_loopback(a) == rows[i].loopback, "loopback? %s", rows[i].text);
	}
}

Test(addr, equality_looks_at_every_word)
{
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		for (size_t k = 0; k < sizeof(rows) / sizeof(*rows); k++)
			cr_expect(sl_ip_eq(ip(rows[i].text), ip(rows[k].text)) == (i == k),
				  "%s and %s", rows[i].text, rows[k].text);
	for (int w = 0; w < 4; w++) {
		struct sl_ip a = ip("fd00::1"), b = a;

		b.w[w] ^= bpf_htonl(0x00010000);
		cr_expect(!sl_ip_eq(a, b), "word %d", w);
	}
}

Test(addr, bytes_survive_a_round_trip)
{
	SL_ADDR_BYTES(bytes);

	sl_ip_store(bytes, ip("fd00:1:2:3:4:5:6:7"));
	cr_expect(sl_ip_eq(sl_ip_load(bytes), ip("fd00:1:2:3:4:5:6:7")));
	cr_expect(sl_ip_eq(sl_ip_from4(bpf_htonl(0x0a600001)), ip("10.96.0.1")));
}
