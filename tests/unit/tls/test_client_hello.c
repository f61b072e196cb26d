/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include "client_hello_check.h"
#include "tls/client_hello.h"

enum { MAX_BYTES = 70000 };

struct bytes {
	size_t n;
	unsigned char p[MAX_BYTES];
};

static void put(struct bytes *b, const void *p, size_t n)
{
	cr_assert_leq(b->n + n, sizeof(b->p));
	memcpy(b->p + b->n, p, n);
	b->n += n;
}

static void put_number(struct bytes *b, size_t v, unsigned bytes)
{
	while (bytes--) {
		unsigned char c = (unsigned char)(v >> bytes * 8);

		put(b, &c, 1);
	}
}

static void put_zeroes(struct bytes *b, size_t n)
{
	while (n--)
		put_number(b, 0, 1);
}

/* A server_name extension. */
static void put_name(struct bytes *b, const char *name, size_t len)
{
	put_number(b, 0, 2);
	put_number(b, len + 5, 2);
	put_number(b, len + 3, 2);
	put_number(b, 0, 1);
	put_number(b, len, 2);
	put(b, name, len);
}

static void put_extension(struct bytes *b, unsigned type, size_t len)
{
	put_number(b, type, 2);
	put_number(b, len, 2);
	put_zeroes(b, len);
}

/* A ClientHello with these extensions; NULL: without the field. */
static void make_message(struct bytes *out, const struct bytes *extensions)
{
	size_t len = 2 + 32 + 1 + 32 + 2 + 4 + 1 + 1 + (extensions ? 2 + extensions->n : 0);

	out->n = 0;
	put_number(out, 1, 1);
	put_number(out, len, 3);
	put_number(out, 0x0303, 2);
	put_zeroes(out, 32);
	put_number(out, 32, 1);
	put_zeroes(out, 32);
	put_number(out, 4, 2);
	put_number(out, 0x13011302, 4);
	put_number(out, 1, 1);
	put_number(out, 0, 1);
	if (!extensions)
		return;
	put_number(out, extensions->n, 2);
	put(out, extensions->p, extensions->n);
}

/* In records of that many bytes. */
static void make_records(struct bytes *out, const struct bytes *message, size_t size)
{
	out->n = 0;
	for (size_t i = 0; i < message->n; i += size) {
		size_t n = message->n - i < size ? message->n - i : size;

		put_number(out, 0x160301, 3);
		put_number(out, n, 2);
		put(out, message->p + i, n);
	}
}

static enum sl_client_hello_result parse(const struct bytes *b, struct sl_client_hello *h)
{
	const char *fault = client_hello_check((const char *)b->p, b->n);

	cr_assert_null(fault, "%s", fault);
	return sl_client_hello_parse((const char *)b->p, b->n, h);
}

static enum sl_client_hello_result parse_name(const char *name, size_t len, size_t record,
					      struct sl_client_hello *h)
{
	static struct bytes extensions, message, wire;

	extensions.n = 0;
	put_extension(&extensions, 10, 4);
	put_name(&extensions, name, len);
	put_extension(&extensions, 43, 3);
	make_message(&message, &extensions);
	make_records(&wire, &message, record);
	return parse(&wire, h);
}

Test(client_hello, the_name_is_read_in_lower_case)
{
	static const char *const names[][2] = {{"www.example.com", "www.example.com"},
					       {"WWW.Example.COM", "www.example.com"},
					       {"a", "a"},
					       {"xn--1ca.example", "xn--1ca.example"},
					       {"a_b.9-", "a_b.9-"},
					       {"10.0.0.1", "10.0.0.1"}};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		for (size_t record = 1; record < 200; record += 1 + record / 3) {
			struct sl_client_hello h;

			cr_assert_eq(parse_name(names[i][0], strlen(names[i][0]), record, &h),
				     SL_CLIENT_HELLO_DONE, "%s", names[i][0]);
			cr_expect(sl_str_eqc(h.name, names[i][1]), "%.*s", SL_STR_ARG(h.name));
		}
	}
}

Test(client_hello, a_name_that_is_none_is_malformed)
{
	static const char *const names[] = {"",	   ".",	    "a.",    ".a",	  "a..b", "a/b",
					    "a b", "a:443", "[::1]", "a\xc3\xa4", "*.a",  "a\n"};
	struct sl_client_hello h;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		cr_expect_eq(parse_name(names[i], strlen(names[i]), 500, &h), SL_CLIENT_HELLO_BAD,
			     "%s", names[i]);
	cr_expect_eq(parse_name("a\0b", 3, 500, &h), SL_CLIENT_HELLO_BAD);
}

Test(client_hello, the_longest_name_has_255_bytes)
{
	struct sl_client_hello h;
	char name[256];

	memset(name, 'a', sizeof(name));
	cr_expect_eq(parse_name(name, 255, 100, &h), SL_CLIENT_HELLO_DONE);
	cr_expect_eq(h.name.len, 255);
	cr_expect_eq(parse_name(name, 256, 100, &h), SL_CLIENT_HELLO_BAD);
}

Test(client_hello, a_client_may_name_no_server)
{
	static struct bytes extensions, message, wire;
	struct sl_client_hello h;

	make_message(&message, NULL);
	make_records(&wire, &message, 100);
	cr_expect_eq(parse(&wire, &h), SL_CLIENT_HELLO_DONE);
	cr_expect_eq(h.name.len, 0);
	extensions.n = 0;
	put_extension(&extensions, 16, 300);
	make_message(&message, &extensions);
	make_records(&wire, &message, 100);
	cr_expect_eq(parse(&wire, &h), SL_CLIENT_HELLO_DONE);
	cr_expect_eq(h.name.len, 0);
}

Test(client_hello, what_is_something_else_is_told_at_once)
{
	static const struct {
		const char *text;
		size_t n;
	} cases[] = {
		{"G", 1},
		{"SSH-2.0", 7},
		{"\x16\x02", 2},
		{"\x15\x03\x01\0\x02", 5},
		{"\x80\x2e", 2},
		{"\x16\x03\x01\0\0", 5},
		{"\0", 1},
		{"PRI * HT", 8},
		{"\x16\x03\x01\x40\x01", 5},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct sl_client_hello h;

		cr_expect_eq(sl_client_hello_parse(cases[i].text, cases[i].n, &h),
			     SL_CLIENT_HELLO_NOT_TLS, "case %zu", i);
	}
}

Test(client_hello, more_is_asked_for_while_it_may_come)
{
	struct sl_client_hello h;

	cr_expect_eq(sl_client_hello_parse("", 0, &h), SL_CLIENT_HELLO_MORE);
	cr_expect_eq(h.need, 5);
	cr_expect_eq(sl_client_hello_parse("\x16\x03\x01\x02\x00", 5, &h), SL_CLIENT_HELLO_MORE);
	cr_expect_gt(h.need, 5);
}

/* One byte of a good message at a time is made another. */
Test(client_hello, a_changed_byte_is_read_safely)
{
	static struct bytes extensions, message, wire;

	extensions.n = 0;
	put_name(&extensions, "a.example", 9);
	put_extension(&extensions, 43, 3);
	make_message(&message, &extensions);
	make_records(&wire, &message, 60);
	for (size_t i = 0; i < wire.n; i++) {
		unsigned char was = wire.p[i];

		for (unsigned k = 0; k < 8; k++) {
			const char *fault;

			wire.p[i] = was ^ (unsigned char)(1 << k);
			fault = client_hello_check((const char *)wire.p, wire.n);
			cr_assert_null(fault, "byte %zu, bit %u: %s", i, k, fault);
		}
		wire.p[i] = was;
	}
}

Test(client_hello, what_does_not_add_up_is_malformed)
{
	static struct bytes extensions, message, wire;
	struct sl_client_hello h;
	static const struct {
		const char *name;
		size_t at;
		unsigned char value;
	} changes[] = {
		{"another message", 0, 2},	 {"a length too short", 3, 60},
		{"a long session id", 38, 33},	 {"no ciphers", 72, 0},
		{"no compression", 77, 0},	 {"extensions too short", 80, 20},
		{"extensions too long", 80, 90}, {"extension too long", 84, 90},
		{"list too short", 86, 3},	 {"list too long", 86, 40},
		{"another type of name", 87, 1}, {"name too short", 89, 2},
		{"name too long", 89, 40},
	};

	for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
		extensions.n = 0;
		put_name(&extensions, "a.example", 9);
		put_extension(&extensions, 43, 3);
		make_message(&message, &extensions);
		cr_assert_neq(message.p[changes[i].at], changes[i].value, "%s", changes[i].name);
		message.p[changes[i].at] = changes[i].value;
		make_records(&wire, &message, 1000);
		cr_expect_eq(parse(&wire, &h), SL_CLIENT_HELLO_BAD, "%s", changes[i].name);
	}
	extensions.n = 0;
	put_name(&extensions, "a.example", 9);
	put_name(&extensions, "b.example", 9);
	make_message(&message, &extensions);
	make_records(&wire, &message, 1000);
	cr_expect_eq(parse(&wire, &h), SL_CLIENT_HELLO_BAD, "two names");
}

Test(client_hello, a_record_of_another_kind_between_is_malformed)
{
	static struct bytes extensions, message, wire;
	struct sl_client_hello h;

	extensions.n = 0;
	put_name(&extensions, "a.example", 9);
	make_message(&message, &extensions);
	make_records(&wire, &message, 50);
	wire.p[55] = 0x15;
	cr_expect_eq(parse(&wire, &h), SL_CLIENT_HELLO_BAD);
	wire.p[55] = 0x16;
	wire.p[56] = 2;
	cr_expect_eq(parse(&wire, &h), SL_CLIENT_HELLO_BAD);
}

Test(client_hello, its_length_is_limited)
{
	static struct bytes extensions, message, wire;
	struct sl_client_hello h;

	for (size_t over = 0; over < 2; over++) {
		extensions.n = 0;
		put_name(&extensions, "a.example", 9);
		put_extension(&extensions, 21,
			      SL_CLIENT_HELLO_MAX_BYTES - 77 - extensions.n - 4 + over);
		make_message(&message, &extensions);
		make_records(&wire, &message, 1000);
		cr_expect_eq(sl_client_hello_parse((const char *)wire.p, wire.n, &h),
			     over ? SL_CLIENT_HELLO_BAD : SL_CLIENT_HELLO_DONE, "%zu", message.n);
	}
	/* What of it fits into the limit, in records of one byte, does not fit on the wire. */
	extensions.n = 0;
	put_extension(&extensions, 21, 8000);
	make_message(&message, &extensions);
	make_records(&wire, &message, 1);
	cr_expect_eq(sl_client_hello_parse((const char *)wire.p, wire.n, &h), SL_CLIENT_HELLO_BAD);
}

Test(client_hello, the_alert_is_fatal)
{
	char alert[SL_ALERT_BYTES];

	sl_alert_write(SL_ALERT_UNRECOGNIZED_NAME, alert);
	cr_expect_eq(memcmp(alert, "\x15\x03\x03\0\x02\x02\x70", sizeof(alert)), 0);
}
