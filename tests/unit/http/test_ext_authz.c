/* SPDX-License-Identifier: Apache-2.0 */
/* Both messages of an external authorization, byte by byte: what Google's library writes and reads.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include "../../lib/leak.h"
#include "base/alloc.h"
#include "base/cleanup.h"
#include "http/ext_authz.h"

#define BYTES(lit)                     \
	{                              \
		(lit), sizeof(lit) - 1 \
	}

static const struct sl_str check_text = BYTES(
	"\0\0\0\0\x67\ne\n\x11\n\x0f\n\r\x12\x08"
	"10.1.0.1\x18\xa0\x1f\x12\x11\n\x0f\n\r\x12\t10.96.0.1\x18P\"=\x12;\x12\x04POST\x1a\x08\n"
	"\x03x-a\x12\x01"
	"1\"\x04/p?q*\x04shop2\x04httpH\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01R\x08HTTP/"
	"1.1Z\x02hi");
/* What is not UTF-8 is a body of bytes, and "?" in text. */
static const struct sl_str check_bytes =
	BYTES("\0\0\0\0\x61\n_\n\x11\n\x0f\n\r\x12\x08"
	      "10.1.0.1\x18\xa0\x1f\x12\x11\n\x0f\n\r\x12\t10.96.0.1\x18P\"7\x12"
	      "5\x12\x04POST\x1a\n\n\x03x-a\x12\x03"
	      "a?b\"\x04/p?q*\x04shop2\x04httpH\xac\x02R\x08HTTP/1.1b\x02\xff\0");

static struct sl_authz_check make_check(struct sl_header *h)
{
	return (struct sl_authz_check){
		.source = {SL_STR("10.1.0.1"), 4000},
		.destination = {SL_STR("10.96.0.1"), 80},
		.method = SL_STR("POST"),
		.host = SL_STR("shop"),
		.scheme = SL_STR("http"),
		.path = SL_STR("/p?q"),
		.protocol = SL_STR("HTTP/1.1"),
		.headers = {h, 1, 1},
		.size = -1,
		.body = SL_STR("hi"),
	};
}

static void expect_written(const struct sl_authz_check *check, struct sl_str wanted)
{
	struct sl_buf out = SL_BUF_INIT(0);

	cr_assert_eq(sl_authz_write_check(&out, check), 0);
	cr_assert_eq(sl_buf_len(&out), wanted.len);
	cr_assert_eq(memcmp(sl_buf_ptr(&out), wanted.ptr, wanted.len), 0);
	sl_buf_deinit(&out);
}

Test(ext_authz, checks_are_written)
{
	struct sl_header h = {SL_STR("X-A"), SL_STR("1")};
	struct sl_authz_check check = make_check(&h);

	expect_written(&check, check_text);
	h.value = SL_STR("a\xff"
			 "b");
	check.size = 300;
	check.body = SL_STR("\xff\0");
	expect_written(&check, check_bytes);
}

Test(ext_authz, each_allocation_of_writing_may_fail)
{
	struct sl_header h = {SL_STR("X-A"), SL_STR("1")};
	struct sl_authz_check check = make_check(&h);
	long n = 0;
	int err;

	do {
		struct sl_buf out = SL_BUF_INIT(0);

		(void)sl_alloc_fail_after(n++);
		err = sl_authz_write_check(&out, &check);
		sl_buf_deinit(&out);
	} while (err == -ENOMEM);
	(void)sl_alloc_fail_after(-1);
	cr_assert_eq(err, 0);
	cr_assert_gt(n, 5);
	check_leaks();
}

static const struct sl_str ok_text = BYTES(
	"\0\0\0\0J\n\0\x1a;\x12\x0e\n\x0c\n\x06X-User\x12\x02me\x12\x10\n\n\n\x05x-add\x12\x01"
	"1\x12\x02\x08\x01\x12\x0f\n\x0b\n\x05x-raw\x1a\x02r\xff\x12\0*\x06x-"
	"gone\"\t\x12\x07skipped");
static const struct sl_str denied_text =
	BYTES("\0\0\0\0001\n\x06\x08\x07\x12\x02no\x12'\n\x03\x08\x91\x03\x12\x1b\n\x19\n\x10www-"
	      "authenticate"
	      "\x12\x05"
	      "Basic\x1a\x03why");

static int read_verdict(struct sl_str message, struct sl_authz_verdict *ret, struct sl_arena *a)
{
	*a = SL_ARENA_INIT(256);
	return sl_authz_read_verdict(a, message, ret);
}

static void expect_edits(const struct sl_authz_edits *edits, const char *wanted)
{
	static const char *const actions[] = {"+", "?+", "=", "?="};
	_cleanup_(sl_buf_deinit) struct sl_buf b = SL_BUF_INIT(0);

	for (const struct sl_authz_edit *e = edits->first; e; e = e->next)
		cr_assert_eq(sl_buf_printf(&b, "%.*s%s%.*s ", SL_STR_ARG(e->name),
					   actions[e->action], SL_STR_ARG(e->value)),
			     0);
	cr_expect(sl_str_eqc(sl_buf_str(&b), wanted), "%.*s, not %s", SL_STR_ARG(sl_buf_str(&b)),
		  wanted);
}

Test(ext_authz, verdicts_are_read)
{
	struct sl_authz_verdict v;
	struct sl_arena a;

	cr_assert_eq(read_verdict(ok_text, &v, &a), 0);
	cr_assert(v.allowed && v.removed.n == 1);
	expect_edits(&v.edits, "X-User=me x-add+1 x-raw=r\xff ");
	cr_assert(sl_str_eqc(v.removed.items[0].name, "x-gone"));
	sl_arena_deinit(&a);
	cr_assert_eq(read_verdict(denied_text, &v, &a), 0);
	cr_assert(!v.allowed && v.status == 401 && sl_str_eqc(v.body, "why"));
	expect_edits(&v.edits, "www-authenticate=Basic ");
	sl_arena_deinit(&a);
	cr_assert_eq(read_verdict(SL_STR("\0\0\0\0\4\n\2\10\7"), &v, &a), 0);
	cr_assert(!v.allowed && v.status == 403 && !v.edits.first && !v.body.len);
	sl_arena_deinit(&a);
	/* A service that says nothing at all has said 0, which is OK (proto3). */
	cr_assert_eq(read_verdict(SL_STR("\0\0\0\0\0"), &v, &a), 0);
	cr_assert(v.allowed);
	sl_arena_deinit(&a);
}

/* What the client's answer gets, with each action and with append, which counts for more; and query
 * parameters to set and to remove. */
static const struct sl_str answer_text =
	BYTES("\000\000\000\000W\032U2\010\012\006\012\001a\022\001v2\012\012\006\012"
	      "\001b\022\001v\030\0012\012\012\006\012\001c\022\001v\030\0022\012\012"
	      "\006\012\001d\022\001v\030\0032\016\012\006\012\001e\022\001v\022\002"
	      "\010\001\030\0022\012\012\006\012\001f\022\001v\022\000:\006\012\001"
	      "q\022\001 B\001t");

Test(ext_authz, edits_of_answer_and_query_are_read)
{
	struct sl_authz_verdict v;
	struct sl_arena a;

	cr_assert_eq(read_verdict(answer_text, &v, &a), 0);
	expect_edits(&v.edits, "");
	expect_edits(&v.of_answer, "a+v b?+v c=v d?=v e+v f=v ");
	cr_assert(v.query_set.n == 1 && sl_str_eqc(v.query_set.items[0].name, "q") &&
		  sl_str_eqc(v.query_set.items[0].value, " "));
	cr_assert(v.query_removed.n == 1 && sl_str_eqc(v.query_removed.items[0].name, "t"));
	sl_arena_deinit(&a);
}

Test(ext_authz, each_allocation_of_reading_may_fail)
{
	long n = 0;
	int err;

	do {
		struct sl_authz_verdict v;
		struct sl_arena a;

		(void)sl_alloc_fail_after(n++);
		err = read_verdict(answer_text, &v, &a);
		sl_arena_deinit(&a);
	} while (err == -ENOMEM);
	(void)sl_alloc_fail_after(-1);
	cr_assert_eq(err, 0);
	cr_assert_gt(n, 1);
	check_leaks();
}

static const struct {
	const char *name;
	struct sl_str message;
} bad[] = {
	{"nothing", BYTES("")},
	{"half a frame", BYTES("\0\0\0\0")},
	{"compressed", BYTES("\1\0\0\0\0")},
	{"shorter than said", BYTES("\0\0\0\0\5\n\2\10\7")},
	{"two messages", BYTES("\0\0\0\0\0\0\0\0\0\0")},
	{"a field past the end", BYTES("\0\0\0\0\2\n\5")},
	{"no field number", BYTES("\0\0\0\0\2\2\0")},
	{"a group", BYTES("\0\0\0\0\1\x0b")},
	{"a number without an end", BYTES("\0\0\0\0\2\10\xff")},
	{"a number of eleven bytes",
	 BYTES("\0\0\0\0\14\10\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\1")},
	{"a status that HTTP has not", BYTES("\0\0\0\0\13\n\2\10\7\22\5\n\3\10\xe8\7")},
	{"an interim status", BYTES("\0\0\0\0\12\n\2\10\7\22\4\n\2\10\x64")},
	{"a name that HTTP has not", BYTES("\0\0\0\0\14\32\n\22\10\n\6\n\1:\22\1b")},
	{"an action that nobody knows",
	 BYTES("\000\000\000\000\016\032\0142\012\012\006\012\001a\022\001v\030\004")},
	{"a parameter without a name", BYTES("\000\000\000\000\007\032\005:\003\022\001v")},
	{"a value that ends the line", BYTES("\0\0\0\0\16\32\14\22\n\n\10\n\1a\22\3b\r\n")},
};

Test(ext_authz, what_is_malformed_is_refused)
{
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		struct sl_authz_verdict v;
		struct sl_arena a;

		cr_expect_eq(read_verdict(bad[i].message, &v, &a), -EINVAL, "%s", bad[i].name);
		sl_arena_deinit(&a);
	}
	/* No prefix of a message is one. */
	for (size_t n = 0; n < ok_text.len; n++) {
		struct sl_authz_verdict v;
		struct sl_arena a;

		cr_expect_eq(read_verdict((struct sl_str){ok_text.ptr, n}, &v, &a), -EINVAL);
		sl_arena_deinit(&a);
	}
}
