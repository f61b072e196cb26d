/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <errno.h>
#include "base/alloc.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "http/h1_parse.h"

#define N_OF(a) (sizeof(a) / sizeof((a)[0]))

static const struct sl_h1_limits limits = {.n_headers = 4, .trailer_bytes = 64};

/* How a body ended. */
enum end { DONE, MORE, BAD };

struct outcome {
	struct sl_buf text; /* body, then "|name:value" for each trailer */
	enum end end;
	size_t used;
	struct sl_h1_error err;
};

static void outcome_deinit(struct outcome *o)
{
	sl_buf_deinit(&o->text);
}

/* Decodes input that comes `step` bytes at a time. */
static void decode(struct outcome *o, enum sl_body_kind kind, uint64_t length, struct sl_str in,
		   size_t step)
{
	_cleanup_(sl_arena_deinit) struct sl_arena a = SL_ARENA_INIT(1024);
	struct sl_headers trailers = {0};
	struct sl_h1_body b;
	size_t avail = step < in.len ? step : in.len, used;
	struct sl_str data;

	sl_h1_body_init(&b, kind, length);
	for (;;) {
		if (sl_h1_body_next(&b, &limits, in.ptr + o->used, avail - o->used, &a, &trailers,
				    &data, &used, &o->err)) {
			o->end = BAD;
			return;
		}
		cr_assert_eq(sl_buf_append_str(&o->text, data), 0);
		o->used += used;
		if (b.done || (!used && avail == in.len))
			break;
		if (!used)
			avail = in.len - avail > step ? avail + step : in.len;
	}
	o->end = b.done ? DONE : MORE;
	for (uint32_t i = 0; i < trailers.n; i++)
		cr_assert_eq(sl_buf_printf(&o->text, "|%.*s:%.*s",
					   SL_STR_ARG(trailers.items[i].name),
					   SL_STR_ARG(trailers.items[i].value)),
			     0);
}

static const struct {
	const char *name;
	struct sl_str in;
	enum end end;
	const char *want; /* the text, or the fault */
	size_t behind;	  /* bytes that belong to the next message */
} chunked[] = {
	{"9112 7.1: one chunk", SL_STR("5\r\nhello\r\n0\r\n\r\n"), DONE, "hello", 0},
	{"9112 7.1: several", SL_STR("1\r\na\r\n0002\r\nbc\r\n0\r\n\r\n"), DONE, "abc", 0},
	{"9112 7.1: hexadecimal, either case",
	 SL_STR("a\r\n0123456789\r\nB\r\n0123456789a\r\n0\r\n\r\n"), DONE, "01234567890123456789a",
	 0},
	{"9112 7.1: data may look like framing", SL_STR("7\r\n\r\n0\r\n\r\n\r\n0\r\n\r\n"), DONE,
	 "\r\n0\r\n\r\n", 0},
	{"9112 7.1: no chunk at all", SL_STR("0\r\n\r\n"), DONE, "", 0},
	{"9112 7.1: zeros", SL_STR("0000\r\n\r\n"), DONE, "", 0},
	{"9112 7.1: what follows stays", SL_STR("0\r\n\r\nGET /"), DONE, "", 5},
	{"9112 7.1.1: extensions", SL_STR("1;a\r\nx\r\n1;a=b;c=\"d;\"\r\ny\r\n0;e=f\r\n\r\n"), DONE,
	 "xy", 0},
	{"9112 7.1.1: white space before an extension", SL_STR("1 \t;a\r\nx\r\n0\r\n\r\n"), DONE,
	 "x", 0},
	{"9112 7.1.2: trailers", SL_STR("1\r\nx\r\n0\r\nA: b\r\nC:d \r\n\r\nGET"), DONE,
	 "x|A:b|C:d", 3},
	{"9110 6.5.1: forbidden trailers are dropped",
	 SL_STR("0\r\nHost: b\r\nA: c\r\nTransfer-encoding: d\r\nCookie: e\r\n\r\n"), DONE, "|A:c",
	 0},
	{"9112 7.1: cut in the size", SL_STR("5"), MORE, "", 0},
	{"9112 7.1: cut before the LF", SL_STR("5\r"), MORE, "", 0},
	{"9112 7.1: cut in the data", SL_STR("5\r\nhel"), MORE, "hel", 0},
	{"9112 7.1: cut behind the data", SL_STR("5\r\nhello\r"), MORE, "hello", 0},
	{"9112 7.1: cut before the last line", SL_STR("0\r\n"), MORE, "", 0},
	{"9112 7.1: cut in the last line", SL_STR("0\r\n\r"), MORE, "", 1},
	{"9112 7.1: cut in the trailers", SL_STR("0\r\nA: b\r\n"), MORE, "", 6},
	{"9112 7.1: the greatest size", SL_STR("7fffffffffffffff\r\nx"), MORE, "x", 0},
	{"9112 7.1: too great", SL_STR("8000000000000000\r\n"), BAD, "chunk size too large", 0},
	{"9112 7.1: overflow", SL_STR("10000000000000005\r\nhello\r\n"), BAD,
	 "chunk size too large", 0},
	{"9112 7.1: no size", SL_STR("\r\nhello"), BAD, "malformed chunk size", 0},
	{"9112 7.1: prefix", SL_STR("0x5\r\nhello\r\n"), BAD, "malformed chunk size", 0},
	{"9112 7.1: minus", SL_STR("-1\r\n"), BAD, "malformed chunk size", 0},
	{"9112 7.1: plus", SL_STR("+1\r\n"), BAD, "malformed chunk size", 0},
	{"9112 7.1: not hexadecimal", SL_STR("1g\r\n"), BAD, "malformed chunk size", 0},
	{"9112 7.1: space in front", SL_STR(" 1\r\na\r\n"), BAD, "malformed chunk size", 0},
	{"9112 7.1: space behind", SL_STR("1 \r\na\r\n"), BAD, "malformed chunk size", 0},
	{"9112 7.1: underscore", SL_STR("1_0\r\n"), BAD, "malformed chunk size", 0},
	{"9112 7.1: bare LF behind the size", SL_STR("1\na\r\n"), BAD, "malformed chunk size", 0},
	{"9112 7.1: bare CR behind the size", SL_STR("1\ra\r\n"), BAD,
	 "bare CR in a chunk size line", 0},
	{"9112 7.1: no size but an extension", SL_STR(";a\r\n"), BAD, "malformed chunk size", 0},
	{"9112 7.1.1: bare LF in an extension", SL_STR("1;a\nx\r\n"), BAD,
	 "control character in a chunk extension", 0},
	{"9112 7.1.1: bare CR in an extension", SL_STR("1;a\rx\r\n"), BAD,
	 "bare CR in a chunk size line", 0},
	{"9112 7.1.1: NUL in an extension", SL_STR("1;a\0\r\n"), BAD,
	 "control character in a chunk extension", 0},
	{"9112 7.1: data too long", SL_STR("1\r\nab\r\n"), BAD, "no CRLF behind a chunk", 0},
	{"9112 7.1: bare LF behind data", SL_STR("1\r\na\n0\r\n\r\n"), BAD,
	 "no CRLF behind a chunk", 0},
	{"9112 7.1: bare CR behind data", SL_STR("1\r\na\r0\r\n\r\n"), BAD,
	 "no CRLF behind a chunk", 0},
	{"9112 7.1: bare LF at the end", SL_STR("0\r\n\n"), BAD, "line ends in a bare LF", 0},
	{"9112 7.1.2: bare LF behind a trailer", SL_STR("0\r\nA: b\n\r\n"), BAD,
	 "line ends in a bare LF", 0},
	{"9112 7.1.2: folded trailer", SL_STR("0\r\nA: b\r\n c\r\n\r\n"), BAD, "folded header line",
	 0},
	{"9112 7.1.2: trailer without a colon", SL_STR("0\r\nGET / HTTP/1.1\r\n\r\n"), BAD,
	 "white space before the colon", 0},
	{"9112 7.1.2: control character in a trailer", SL_STR("0\r\nA: \x01\r\n\r\n"), BAD,
	 "control character in a header value", 0},
	{"9112 7.1: zeros in front of a size", SL_STR("00000000000000000000001\r\nx\r\n0\r\n\r\n"),
	 DONE, "x", 0},
	{"9112 7.1.1: an extension of the last chunk, in quotes",
	 SL_STR("1\r\nx\r\n00;a=\"0\\\"\"\r\n\r\n"), DONE, "x", 0},
	{"9112 7.1.1: a malformed extension is none of our business",
	 SL_STR("1;;=\"\r\nx\r\n0;\r\n\r\n"), DONE, "x", 0},
	{"9112 7.1.2: an empty trailer", SL_STR("0\r\nA:\r\n\r\n"), DONE, "|A:", 0},
	{"9112 7.1: a second last chunk is the next message's", SL_STR("0\r\n\r\n0\r\n\r\n"), DONE,
	 "", 5},
	{"9112 7.1: comma behind the size", SL_STR("1,\r\na\r\n"), BAD, "malformed chunk size", 0},
	{"9112 7.1: NUL behind the size", SL_STR("1\0\r\na\r\n"), BAD, "malformed chunk size", 0},
	{"9112 7.1: a digit that is no ASCII", SL_STR("\xb1\r\na\r\n"), BAD, "malformed chunk size",
	 0},
	{"9112 7.1: CR CR LF behind the size", SL_STR("1\r\r\na\r\n"), BAD,
	 "bare CR in a chunk size line", 0},
	{"9112 7.1: data too short", SL_STR("3\r\nab\r\n0\r\n\r\n"), BAD, "no CRLF behind a chunk",
	 0},
	{"9112 7.1: no CRLF behind data", SL_STR("1\r\na0\r\n\r\n"), BAD, "no CRLF behind a chunk",
	 0},
	{"9112 7.1: an empty line between chunks", SL_STR("1\r\na\r\n\r\n0\r\n\r\n"), BAD,
	 "malformed chunk size", 0},
	{"9112 7.1: minus zero", SL_STR("-0\r\n\r\n"), BAD, "malformed chunk size", 0},
	{"9112 7.1.2: space before a trailer's colon", SL_STR("0\r\nA : b\r\n\r\n"), BAD,
	 "white space before the colon", 0},
	{"9112 7.1.2: a trailer without a name", SL_STR("0\r\n: b\r\n\r\n"), BAD,
	 "empty header name", 0},
	{"9112 7.1.2: bare CR in a trailer", SL_STR("0\r\nA: b\rC: d\r\n\r\n"), BAD,
	 "bare CR in a header value", 0},
	{"trailers over the limit of bytes",
	 SL_STR("0\r\nA: 1234567890123456789012345678901234567890123456789012345678901\r\n\r\n"),
	 BAD, "header section too long", 0},
	{"trailers over the limit of lines", SL_STR("0\r\nA:\r\nA:\r\nA:\r\nA:\r\nA:\r\n\r\n"), BAD,
	 "too many header lines", 0},
};

Test(h1_body, chunks_however_they_arrive)
{
	for (size_t i = 0; i < N_OF(chunked); i++) {
		for (size_t step = 1; step <= chunked[i].in.len; step++) {
			_cleanup_(outcome_deinit) struct outcome o = {.text = SL_BUF_INIT(0)};
			struct sl_str text;

			decode(&o, SL_BODY_CHUNKED, 0, chunked[i].in, step);
			text = sl_buf_str(&o.text);
			cr_assert_eq(o.end, chunked[i].end, "%s: %d", chunked[i].name, o.end);
			if (o.end == BAD) {
				cr_assert_str_eq(o.err.reason, chunked[i].want, "%s",
						 chunked[i].name);
				continue;
			}
			cr_assert(sl_str_eqc(text, chunked[i].want), "%s: %.*s", chunked[i].name,
				  SL_STR_ARG(text));
			cr_assert_eq(o.used + chunked[i].behind, chunked[i].in.len, "%s: %zu",
				     chunked[i].name, o.used);
		}
	}
}

Test(h1_body, a_size_line_has_a_limit)
{
	_cleanup_(sl_arena_deinit) struct sl_arena a = SL_ARENA_INIT(1024);
	struct sl_headers trailers = {0};
	struct sl_h1_error err = {0};
	struct sl_h1_body b;
	struct sl_str data;
	char in[2048];
	size_t used;

	memset(in, 'a', sizeof(in));
	memcpy(in, "1;", 2);
	sl_h1_body_init(&b, SL_BODY_CHUNKED, 0);
	cr_assert_eq(sl_h1_body_next(&b, &limits, in, 1024, &a, &trailers, &data, &used, &err), 0);
	cr_assert_eq(used, 1024);
	cr_assert_eq(sl_h1_body_next(&b, &limits, in + 1024, 1, &a, &trailers, &data, &used, &err),
		     SL_H1_BAD);
	cr_assert_str_eq(err.reason, "chunk size line too long");
	/* The limit is one line's, not the body's. */
	sl_h1_body_init(&b, SL_BODY_CHUNKED, 0);
	for (int i = 0; i < 400; i++) {
		static const char chunk[] = "1;a\r\nx\r\n";

		cr_assert_eq(sl_h1_body_next(&b, &limits, chunk, sizeof(chunk) - 1, &a, &trailers,
					     &data, &used, &err),
			     0);
		cr_assert_eq(sl_h1_body_next(&b, &limits, chunk + used, sizeof(chunk) - 1 - used,
					     &a, &trailers, &data, &used, &err),
			     0);
	}
}

Test(h1_body, a_trailer_section_over_the_limit_is_not_waited_for)
{
	_cleanup_(sl_arena_deinit) struct sl_arena a = SL_ARENA_INIT(1024);
	struct sl_headers trailers = {0};
	struct sl_h1_error err = {0};
	struct sl_h1_body b;
	struct sl_str data;
	char in[68];
	size_t used;

	memset(in, 'a', sizeof(in));
	memcpy(in, "0\r\n", 3);
	sl_h1_body_init(&b, SL_BODY_CHUNKED, 0);
	cr_assert_eq(sl_h1_body_next(&b, &limits, in, 67, &a, &trailers, &data, &used, &err), 0);
	cr_assert_eq(used, 3);
	cr_assert_eq(sl_h1_body_next(&b, &limits, in + 3, 65, &a, &trailers, &data, &used, &err),
		     SL_H1_BAD);
	cr_assert_eq(err.status, 431);
}

Test(h1_body, trailers_may_be_of_no_interest)
{
	_cleanup_(sl_arena_deinit) struct sl_arena a = SL_ARENA_INIT(1024);
	static const struct sl_str in = SL_STR("0\r\nA: b\r\n\r\n");
	struct sl_h1_error err;
	struct sl_h1_body b;
	struct sl_str data;
	size_t used;

	sl_h1_body_init(&b, SL_BODY_CHUNKED, 0);
	cr_assert_eq(sl_h1_body_next(&b, &limits, in.ptr, in.len, &a, NULL, &data, &used, &err), 0);
	cr_assert(b.done);
	cr_assert_eq(used, in.len);
}

static const struct {
	const char *name;
	enum sl_body_kind kind;
	uint64_t length;
	struct sl_str in;
	enum end end;
	const char *want;
	int eof; /* what the end of the connection means then */
} plain[] = {
	{"none", SL_BODY_NONE, 0, SL_STR("GET"), DONE, "", 0},
	{"9112 6.2: empty", SL_BODY_LENGTH, 0, SL_STR("GET"), DONE, "", 0},
	{"9112 6.2: exact", SL_BODY_LENGTH, 3, SL_STR("abc"), DONE, "abc", 0},
	{"9112 6.2: with the next behind", SL_BODY_LENGTH, 3, SL_STR("abcGET"), DONE, "abc", 0},
	{"9112 8: cut", SL_BODY_LENGTH, 4, SL_STR("abc"), MORE, "abc", -EPIPE},
	{"9112 8: cut at once", SL_BODY_LENGTH, 4, SL_STR(""), MORE, "", -EPIPE},
	{"9112 8: cut chunks", SL_BODY_CHUNKED, 0, SL_STR("1\r\na\r\n0\r\n"), MORE, "a", -EPIPE},
	{"9112 6.3: until the end", SL_BODY_EOF, 0, SL_STR("abc"), MORE, "abc", 0},
	{"9112 6.3: nothing until the end", SL_BODY_EOF, 0, SL_STR(""), MORE, "", 0},
};

Test(h1_body, ends_by_length_or_with_the_connection)
{
	for (size_t i = 0; i < N_OF(plain); i++) {
		for (size_t step = 1; step <= plain[i].in.len + 1; step++) {
			_cleanup_(outcome_deinit) struct outcome o = {.text = SL_BUF_INIT(0)};
			struct sl_str text;

			decode(&o, plain[i].kind, plain[i].length, plain[i].in, step);
			text = sl_buf_str(&o.text);
			cr_assert_eq(o.end, plain[i].end, "%s", plain[i].name);
			cr_assert(sl_str_eqc(text, plain[i].want), "%s: %.*s", plain[i].name,
				  SL_STR_ARG(text));
		}
	}
}

Test(h1_body, tells_a_cut_message_from_a_whole_one)
{
	for (size_t i = 0; i < N_OF(plain); i++) {
		_cleanup_(sl_arena_deinit) struct sl_arena a = SL_ARENA_INIT(1024);
		struct sl_str rest = plain[i].in, data;
		struct sl_headers trailers = {0};
		struct sl_h1_error err;
		struct sl_h1_body b;
		size_t used;

		sl_h1_body_init(&b, plain[i].kind, plain[i].length);
		do {
			cr_assert_eq(sl_h1_body_next(&b, &limits, rest.ptr, rest.len, &a, &trailers,
						     &data, &used, &err),
				     0);
			rest = sl_str_skip(rest, used);
		} while (used);
		cr_assert_eq(sl_h1_body_eof(&b), plain[i].eof, "%s", plain[i].name);
		cr_assert_eq(b.done, plain[i].eof == 0, "%s", plain[i].name);
	}
}

Test(h1_body, fails_whole_when_trailers_find_no_memory)
{
	static const struct sl_str in = SL_STR("0\r\nA: b\r\nC: d\r\n\r\n");
	long n = 0;
	int r;

	do {
		_cleanup_(sl_arena_deinit) struct sl_arena a = SL_ARENA_INIT(1);
		struct sl_headers trailers = {0};
		struct sl_h1_error err;
		struct sl_h1_body b;
		struct sl_str data;
		size_t used;

		cr_assert_not_null(sl_arena_alloc(&a, 1000));
		sl_h1_body_init(&b, SL_BODY_CHUNKED, 0);
		sl_alloc_fail_after(n++);
		r = sl_h1_body_next(&b, &limits, in.ptr, in.len, &a, &trailers, &data, &used, &err);
		sl_alloc_fail_after(-1);
		cr_assert(r == 0 || r == -ENOMEM, "%d", r);
		cr_assert_eq(trailers.n, r ? 0 : 2);
		cr_assert_eq(b.done, !r);
	} while (r);
	cr_assert_gt(n, 1);
}
