/* SPDX-License-Identifier: Apache-2.0 */
/* ConfigMap and Secret. */
#include "decoding.h"
#include <errno.h>

#define MAP    "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: m}\n"
#define SECRET "apiVersion: v1\nkind: Secret\nmetadata: {name: s, namespace: n}\n"

static const struct sl_data_object *data(const struct decoded *d, enum sl_kind kind)
{
	print_diags(&d->diags);
	cr_assert_eq(d->r, 0);
	cr_assert_eq(d->object->kind, kind);
	return (const struct sl_data_object *)d->object;
}

Test(data, a_config_map_has_text_and_bytes)
{
	const struct sl_data_object *o;
	struct decoded d;

	decode(MAP "data: {ca.crt: 'a\n\nb', empty: ''}\nbinaryData: {raw: AP8=}\nimmutable: true",
	       &d);
	o = data(&d, SL_KIND_CONFIGMAP);
	cr_expect_eq(d.diags.n, 0);
	cr_expect_eq(o->n_items, 3);
	expect_str(sl_data_get(o, SL_STR("ca.crt")), "a\nb");
	expect_str(sl_data_get(o, SL_STR("empty")), "");
	cr_assert_eq(sl_data_get(o, SL_STR("raw")).len, 2);
	cr_expect_arr_eq(sl_data_get(o, SL_STR("raw")).ptr, "\x00\xff", 2);
	cr_expect_null(sl_data_get(o, SL_STR("nothing")).ptr);
	decoded_free(&d);
}

Test(data, of_a_secret_the_plain_text_counts)
{
	const struct sl_data_object *o;
	struct decoded d;

	decode(SECRET "type: kubernetes.io/tls\ndata: {a: eA==, b: eQ==}\nstringData: {b: z, c: w}",
	       &d);
	o = data(&d, SL_KIND_SECRET);
	cr_expect_eq(d.diags.n, 0);
	expect_str(o->type, "kubernetes.io/tls");
	cr_expect_eq(o->n_items, 3);
	expect_str(sl_data_get(o, SL_STR("a")), "x");
	expect_str(sl_data_get(o, SL_STR("b")), "z");
	expect_str(sl_data_get(o, SL_STR("c")), "w");
	decoded_free(&d);
}

Test(data, neither_needs_any)
{
	static const char *const texts[] = {MAP, SECRET, MAP "data: null\nbinaryData: {}",
					    SECRET "data: {}\nstringData: null"};

	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		struct decoded d;

		decode(texts[i], &d);
		cr_assert_eq(d.r, 0, "%s", texts[i]);
		cr_expect_eq(((struct sl_data_object *)d.object)->n_items, 0);
		cr_expect_eq(d.diags.n, 0);
		decoded_free(&d);
	}
}

Test(data, bad_values_make_the_object_invalid)
{
	static const struct problem_case maps[] = {
		{"data", "data: [a]", "data", 4, "expected object with text for values"},
		{"value", "data: {a: 1}", "data.a", 4, "expected string"},
		{"binary", "binaryData: {a: x}", "binaryData.a", 4, "must be base64"},
		{"binary value", "binaryData: {a: [x]}", "binaryData.a", 4, "expected string"},
		{"key", "data: {'a b': x}", "data[\"a b\"]", 4, "the key must consist of"},
		{"dots", "data: {'..': x}", "data[\"..\"]", 4, "the key must consist of"},
		{"twice", "data: {a: x}\nbinaryData: {a: eA==}", "binaryData.a", 5,
		 "the key is in data too"},
	};
	static const struct problem_case secrets[] = {
		{"data", "data: {a: plain text}", "data.a", 4, "must be base64"},
		{"type", "type: 1", "type", 4, "expected string"},
	};

	check_all(MAP, maps, SL_DECODE_INVALID, SL_SEVERITY_ERROR);
	check_all(SECRET, secrets, SL_DECODE_INVALID, SL_SEVERITY_ERROR);
}

Test(data, unknown_fields_are_warnings)
{
	static const struct problem_case maps[] = {
		{"spec", "stringData: {a: b}", "stringData", 4, "unknown field"},
	};

	check_all(MAP, maps, 0, SL_SEVERITY_WARNING);
}

Test(data, a_megabyte_is_the_limit)
{
	enum { LIMIT = 1 << 20 };
	char *text = sl_malloc(LIMIT + 2);

	cr_assert_not_null(text);
	memset(text, 'x', LIMIT + 1);
	for (size_t more = 0; more < 2; more++) {
		char *yaml;
		struct decoded d;

		text[LIMIT + more] = '\0';
		yaml = sl_asprintf(MAP "data: {a: '%s'}", text);
		cr_assert_not_null(yaml);
		text[LIMIT] = 'x';
		decode(yaml, &d);
		cr_expect_eq(d.r, more ? SL_DECODE_INVALID : 0);
		decoded_free(&d);
		free(yaml);
	}
	free(text);
}

Test(data, every_allocation_may_fail)
{
	json_t *root = json_pack("{s:s, s:s, s:{s:s}, s:{s:s}, s:{s:s}, s:s}", "apiVersion", "v1",
				 "kind", "Secret", "metadata", "name", "s", "data", "a",
				 "eA==", "stringData", "b", "y", "type", "Opaque");
	struct sl_decode_opts opts = {0};
	long n = 0;
	int r;

	cr_assert_not_null(root);
	do {
		struct sl_diags diags = SL_DIAGS_INIT;
		struct sl_object *o = NULL;
		struct sl_str key;

		sl_alloc_fail_after(n++);
		r = sl_decode_object(root, &opts, &diags, &o, &key);
		sl_alloc_fail_after(-1);
		cr_expect(r == 0 || r == -ENOMEM, "%ld: %d", n, r);
		cr_expect_eq(!!o, r == 0);
		sl_object_unref(o);
		sl_diags_deinit(&diags);
	} while (r);
	cr_expect_gt(n, 2);
	json_decref(root);
}
