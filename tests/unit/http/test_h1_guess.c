/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include "base/str.h"
#include "http/h1_parse.h"

#define PREFACE "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
#define T32	"ABCDEFGHIJKLMNOPQRSTUVWXYZ-12345"
#define N_OF(a) (sizeof(a) / sizeof((a)[0]))

/* Each answer is wanted at exactly the last byte: one byte less must still ask for more. */
static const struct {
	const char *name;
	struct sl_str in;
	enum sl_h1_guess want;
} decided[] = {
	{"GET and a path", SL_STR("GET /"), SL_H1_GUESS_HTTP1},
	{"DELETE and a path", SL_STR("DELETE /"), SL_H1_GUESS_HTTP1},
	{"OPTIONS *", SL_STR("OPTIONS *"), SL_H1_GUESS_HTTP1},
	{"absolute-form", SL_STR("GET http://"), SL_H1_GUESS_HTTP1},
	{"absolute-form with TLS", SL_STR("POST HttpS://"), SL_H1_GUESS_HTTP1},
	{"CONNECT and a name", SL_STR("CONNECT a"), SL_H1_GUESS_HTTP1},
	{"CONNECT and an address", SL_STR("CONNECT ["), SL_H1_GUESS_HTTP1},
	{"any token, a path and a version", SL_STR("PROPFIND /a HTTP/"), SL_H1_GUESS_HTTP1},
	{"a method of one letter", SL_STR("M / HTTP/"), SL_H1_GUESS_HTTP1},
	{"small letters", SL_STR("get / HTTP/"), SL_H1_GUESS_HTTP1},
	{"32 bytes of method", SL_STR(T32 " /a?b HTTP/"), SL_H1_GUESS_HTTP1},
	{"PRI that is no preface", SL_STR("PRI /x HTTP/"), SL_H1_GUESS_HTTP1},
	{"an empty line first", SL_STR("\r\nGET /"), SL_H1_GUESS_HTTP1},
	{"four empty lines first", SL_STR("\r\n\r\n\r\n\r\nGET /"), SL_H1_GUESS_HTTP1},
	{"HTTP/2 preface", SL_STR(PREFACE), SL_H1_GUESS_H2_PREFACE},
	{"33 bytes of method", SL_STR(T32 "x"), SL_H1_GUESS_OTHER},
	{"TLS ClientHello", SL_STR("\x16"), SL_H1_GUESS_OTHER},
	{"NUL", SL_STR("\0"), SL_H1_GUESS_OTHER},
	{"PostgreSQL startup", SL_STR("\0"), SL_H1_GUESS_OTHER},
	{"MQTT CONNECT", SL_STR("\x10"), SL_H1_GUESS_OTHER},
	{"a space", SL_STR(" "), SL_H1_GUESS_OTHER},
	{"a bare LF", SL_STR("\n"), SL_H1_GUESS_MORE},
	{"a bare LF first", SL_STR("\nGET /"), SL_H1_GUESS_HTTP1},
	{"a bare CR first", SL_STR("\rGET /"), SL_H1_GUESS_HTTP1},
	{"a bare LF before something else", SL_STR("\n\x16"), SL_H1_GUESS_OTHER},
	{"five empty lines", SL_STR("\r\n\r\n\r\n\r\n\r"), SL_H1_GUESS_HTTP1},
	{"SSH banner", SL_STR("SSH-2.0-OpenSSH_9.2\r"), SL_H1_GUESS_OTHER},
	{"SSH banner with a comment", SL_STR("SSH-2.0-OpenSSH_8.9p1 U"), SL_H1_GUESS_OTHER},
	{"SMTP", SL_STR("EHLO m"), SL_H1_GUESS_OTHER},
	{"SMTP to a host like a scheme", SL_STR("EHLO htm"), SL_H1_GUESS_OTHER},
	{"Redis", SL_STR("*1\r"), SL_H1_GUESS_OTHER},
	{"Redis inline", SL_STR("GET k\r\n"), SL_H1_GUESS_OTHER},
	{"memcached with a key like a path", SL_STR("get /k\r"), SL_H1_GUESS_OTHER},
	{"any token, a path and another word", SL_STR("LIST /a b"), SL_H1_GUESS_OTHER},
	{"any token, a path and nearly a version", SL_STR("LIST /a HTTX"), SL_H1_GUESS_OTHER},
	{"two spaces and no version", SL_STR("GET  /\n"), SL_H1_GUESS_OTHER},
	{"a tab behind GET", SL_STR("GET\t/ HTTP/"), SL_H1_GUESS_HTTP1},
	{"a tab behind GET and no version", SL_STR("GET\tk\n"), SL_H1_GUESS_OTHER},
	{"GET alone on its line", SL_STR("GET\r\n"), SL_H1_GUESS_OTHER},
	{"a tab behind another token", SL_STR("GETS\t"), SL_H1_GUESS_OTHER},
	{"GET *", SL_STR("GET * HTTP/"), SL_H1_GUESS_HTTP1},
	{"two spaces", SL_STR("GET  / HTTP/"), SL_H1_GUESS_HTTP1},
	{"a relative target", SL_STR("GET a HTTP/"), SL_H1_GUESS_HTTP1},
	{"CONNECT and a path", SL_STR("CONNECT /"), SL_H1_GUESS_HTTP1},
	{"nearly the HTTP/2 preface", SL_STR("PRI * H"), SL_H1_GUESS_MORE},
	{"HTTP/2 preface cut", SL_STR("PRI * HTTP/2.0\r\n\r\nSM\r\n\r"), SL_H1_GUESS_MORE},
	{"another end of the preface", SL_STR("PRI * HTTP/2.0\r\n\r\nSX"), SL_H1_GUESS_OTHER},
	{"an asterisk for PRI alone", SL_STR("PRJ *"), SL_H1_GUESS_OTHER},
	{"nothing", SL_STR(""), SL_H1_GUESS_MORE},
	{"GET and a space", SL_STR("GET "), SL_H1_GUESS_MORE},
	{"empty lines alone", SL_STR("\r\n\r"), SL_H1_GUESS_MORE},
	{"part of a scheme", SL_STR("GET https:/"), SL_H1_GUESS_MORE},
	{"any token and a path", SL_STR("PROPFIND /a"), SL_H1_GUESS_MORE},
	{"any token, a path and half a version", SL_STR("PROPFIND /a HTT"), SL_H1_GUESS_MORE},
};

Test(h1_guess, decides_at_the_first_byte_that_tells)
{
	for (size_t i = 0; i < N_OF(decided); i++) {
		struct sl_str in = decided[i].in;

		cr_assert_eq(sl_h1_guess(in.ptr, in.len), decided[i].want, "%s", decided[i].name);
		for (size_t n = 0; n < in.len; n++)
			cr_assert_eq(sl_h1_guess(in.ptr, n), SL_H1_GUESS_MORE, "%s, %zu bytes",
				     decided[i].name, n);
	}
}

Test(h1_guess, stands_by_its_answer)
{
	for (size_t i = 0; i < N_OF(decided); i++) {
		char more[64] = {0};

		if (decided[i].want == SL_H1_GUESS_MORE)
			continue;
		memcpy(more, decided[i].in.ptr, decided[i].in.len);
		for (size_t n = decided[i].in.len; n <= sizeof(more); n++)
			cr_assert_eq(sl_h1_guess(more, n), decided[i].want, "%s", decided[i].name);
	}
}

Test(h1_guess, does_not_wait_for_ever_for_a_version)
{
	char in[5000];

	memset(in, 'a', sizeof(in));
	memcpy(in, "PROPFIND /", 10);
	cr_assert_eq(sl_h1_guess(in, 4000), SL_H1_GUESS_MORE);
	cr_assert_eq(sl_h1_guess(in, sizeof(in)), SL_H1_GUESS_HTTP1);
}
