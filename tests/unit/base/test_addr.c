/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <errno.h>
#include <netinet/in.h>
#include "base/addr.h"

Test(addr, text_is_parsed_strictly_and_printed_back)
{
	static const struct {
		const char *in, *out; /* out NULL: refused */
	} cases[] = {
		{"1.2.3.4:80", "1.2.3.4:80"},
		{"0.0.0.0:0", "0.0.0.0:0"},
		{"255.255.255.255:65535", "255.255.255.255:65535"},
		{"[::1]:443", "[::1]:443"},
		{"[2001:db8::a:b]:8080", "[2001:db8::a:b]:8080"},
		{"[2001:DB8:0:0:0:0:0:1]:1", "[2001:db8::1]:1"},
		{"[::ffff:10.0.0.1]:80", "10.0.0.1:80"},
		{"[2001:db8:1111:2222:3333:4444:5555:6666]:65535",
		 "[2001:db8:1111:2222:3333:4444:5555:6666]:65535"},
		{"", NULL},
		{"1.2.3.4", NULL},
		{"1.2.3.4:", NULL},
		{":80", NULL},
		{"1.2.3.4:65536", NULL},
		{"1.2.3.4:-1", NULL},
		{"1.2.3.4: 80", NULL},
		{"1.2.3:80", NULL},
		{"1.2.3.256:80", NULL},
		{"01.2.3.4:80", NULL},
		{"::1:80", NULL},
		{"[::1]", NULL},
		{"[::1", NULL},
		{"[]:80", NULL},
		{"[1.2.3.4]:80", NULL},
		{"[::1%lo]:80", NULL},
		{"[::1]x:80", NULL},
		{"host:80", NULL},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct sl_addr a = {.port = 7};
		char text[SL_ADDR_TEXT];
		int r = sl_addr_parse(sl_str_from(cases[i].in), &a);

		cr_assert_eq(r, cases[i].out ? 0 : -EINVAL, "'%s': %d", cases[i].in, r);
		if (r)
			cr_assert_eq(a.port, 7, "'%s' touched the result", cases[i].in);
		else
			cr_assert_str_eq(sl_addr_format(&a, text), cases[i].out);
	}
}

Test(addr, an_ip_with_a_nul_inside_is_refused)
{
	struct sl_addr a;

	cr_assert_eq(sl_addr_parse_ip(SL_STR("1.2.3.4\0"), 1, &a), -EINVAL);
	cr_assert_eq(sl_addr_parse_ip(SL_STR_NULL, 1, &a), -EINVAL);
	cr_assert_eq(sl_addr_parse(SL_STR_NULL, &a), -EINVAL);
}

Test(addr, an_ip_keeps_the_port_given)
{
	struct sl_addr a;
	char text[SL_ADDR_TEXT];

	cr_assert_eq(sl_addr_parse_ip(SL_STR("fe80::1"), 53, &a), 0);
	cr_assert_eq(a.port, 53);
	cr_assert_str_eq(sl_addr_format_ip(&a, text), "fe80::1");
}

Test(addr, loopback_of_both_families)
{
	static const struct {
		const char *ip;
		bool loopback, v4;
	} cases[] = {
		{"127.0.0.1", true, true},  {"127.255.0.3", true, true},
		{"::1", true, false},	    {"::ffff:127.0.0.1", true, true},
		{"128.0.0.1", false, true}, {"::2", false, false},
		{"::", false, false},	    {"::127.0.0.1", false, false},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct sl_addr a;

		cr_assert_eq(sl_addr_parse_ip(sl_str_from(cases[i].ip), 1, &a), 0);
		cr_assert_eq(sl_addr_is_loopback(&a), cases[i].loopback, "%s", cases[i].ip);
		cr_assert_eq(sl_addr_is_v4(&a), cases[i].v4, "%s", cases[i].ip);
	}
}

Test(addr, sockaddr_and_back)
{
	static const char *const texts[] = {"10.1.2.3:80", "[2001:db8::1]:65535"};
	struct sockaddr_storage ss;

	for (size_t i = 0; i < 2; i++) {
		struct sl_addr a, b;

		memset(&b, 0xff, sizeof(b));
		cr_assert_eq(sl_addr_parse(sl_str_from(texts[i]), &a), 0);
		cr_assert_eq(sl_addr_to_sockaddr(&a, &ss),
			     i ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in));
		cr_assert_eq(ss.ss_family, i ? AF_INET6 : AF_INET);
		cr_assert_eq(sl_addr_from_sockaddr(&ss, &b), 0);
		cr_assert(sl_addr_eq(&a, &b));
	}
	ss.ss_family = AF_UNIX;
	cr_assert_eq(sl_addr_from_sockaddr(&ss, &(struct sl_addr){.port = 1}), -EAFNOSUPPORT);
}

Test(addr, the_port_of_a_sockaddr_is_in_network_order)
{
	struct sl_addr a;
	struct sockaddr_storage ss;

	cr_assert_eq(sl_addr_parse(SL_STR("1.2.3.4:258"), &a), 0);
	(void)sl_addr_to_sockaddr(&a, &ss);
	cr_assert_eq(((struct sockaddr_in *)&ss)->sin_port, htons(258));
	cr_assert_eq(memcmp(&((struct sockaddr_in *)&ss)->sin_addr, "\1\2\3\4", 4), 0);
}
