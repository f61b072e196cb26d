/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <errno.h>
#include <jansson.h>
#include "base/alloc.h"
#include "base/buf.h"
#include "source/yaml.h"

struct parsed {
	struct sl_yaml *yaml;
	struct sl_yaml_doc *doc;
	struct sl_yaml_error err;
	int r;
};

static void parse_bytes(struct sl_str text, struct parsed *p)
{
	*p = (struct parsed){0};
	cr_assert_eq(sl_yaml_new(text, &p->yaml), 0);
	p->r = sl_yaml_next(p->yaml, &p->doc, &p->err);
}

static void parse(const char *text, struct parsed *p)
{
	parse_bytes(sl_str_from(text), p);
}

static void parsed_free(struct parsed *p)
{
	sl_yaml_doc_free(p->doc);
	sl_yaml_free(p->yaml);
}

struct value_case {
	const char *yaml, *json;
};

static void check_values(const struct value_case *cases, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct parsed p;
		char *json;

		parse(cases[i].yaml, &p);
		cr_expect_eq(p.r, 0, "%s: line %u: %s", cases[i].yaml, p.err.line, p.err.message);
		if (p.r == 0) {
			json = json_dumps(sl_yaml_doc_root(p.doc), JSON_COMPACT | JSON_ENCODE_ANY);
			cr_expect_str_eq(json, cases[i].json, "%s: %s", cases[i].yaml, json);
			free(json);
		}
		parsed_free(&p);
	}
}

#define check(cases) check_values(cases, sizeof(cases) / sizeof((cases)[0]))

Test(yaml, plain_scalars_have_the_types_of_the_core_schema)
{
	static const struct value_case cases[] = {
		{"[null, ~, Null, NULL, ]", "[null,null,null,null]"},
		{"a:", "{\"a\":null}"},
		{"[true, True, TRUE, false, False, FALSE]", "[true,true,true,false,false,false]"},
		{"[yes, no, on, off, y, n, Yes, tRUE, nULL]",
		 "[\"yes\",\"no\",\"on\",\"off\",\"y\",\"n\",\"Yes\",\"tRUE\",\"nULL\"]"},
		{"[0, 1, -1, +1, 80, 9223372036854775807, -9223372036854775808]",
		 "[0,1,-1,1,80,9223372036854775807,-9223372036854775808]"},
		{"[9223372036854775808]", "[9.2233720368547758e18]"},
		{"[0x1F, 0o17, 0x, 0o8, -0x1, 0b1]", "[31,15,\"0x\",\"0o8\",\"-0x1\",\"0b1\"]"},
		{"[007, 0080, -01, 00]", "[\"007\",\"0080\",\"-01\",\"00\"]"},
		{"[1_000, 1:30, 1., .5, -.5, 1e3, 1E+2, 1e-2, 1.5e, ., e3, '']",
		 "[\"1_000\",\"1:30\",1.0,0.5,-0.5,1000.0,100.0,0.01,\"1.5e\",\".\",\"e3\",\"\"]"},
		{"[.inf, -.inf, .nan, 1e999, +, '-']",
		 "[\".inf\",\"-.inf\",\".nan\",\"1e999\",\"+\",\"-\"]"},
		{"[2024-01-02T03:04:05Z, 1.2.3.4, 10s, v1, '<<', =]",
		 "[\"2024-01-02T03:04:05Z\",\"1.2.3.4\",\"10s\",\"v1\",\"<<\",\"=\"]"},
	};

	check(cases);
}

Test(yaml, quoted_and_block_scalars_are_text)
{
	static const struct value_case cases[] = {
		{"['1', \"true\", 'null', \"\", '~']", "[\"1\",\"true\",\"null\",\"\",\"~\"]"},
		{"'it''s'", "\"it's\""},
		{"\"a\\tb\\u00e4\\n\"", "\"a\\tb\xc3\xa4\\n\""},
		{"a: |\n  1\n  2\nb: >-\n  x\n  y\n", "{\"a\":\"1\\n2\\n\",\"b\":\"x y\"}"},
		{"a: 'x\n  y'", "{\"a\":\"x y\"}"},
		{"a b: c # d\n#e", "{\"a b\":\"c\"}"},
	};

	check(cases);
}

Test(yaml, tags_of_the_core_schema_are_obeyed)
{
	static const struct value_case cases[] = {
		{"[!!str 1, !!int '1', !!float 1, !!bool 'true', !!null '', ! 1]",
		 "[\"1\",1,1,true,null,\"1\"]"},
		{"{a: !!map {}, b: !!seq []}", "{\"a\":{},\"b\":[]}"},
		{"[!<tag:yaml.org,2002:str> 1]", "[\"1\"]"},
	};

	check(cases);
}

Test(yaml, collections_nest_in_both_styles)
{
	static const struct value_case cases[] = {
		{"a:\n- b\n-  - c\n   - d: e\n     f: {g: [h, {i: j}]}\n",
		 "{\"a\":[\"b\",[\"c\",{\"d\":\"e\",\"f\":{\"g\":[\"h\",{\"i\":\"j\"}]}}]]}"},
		{"{\"a\":1,\"b\":[true,null]}", "{\"a\":1,\"b\":[true,null]}"},
		{"{\n\t\"a\":\t1\n}", "{\"a\":1}"},
		{"%YAML 1.2\n---\na: b\n...\n", "{\"a\":\"b\"}"},
		{"\xef\xbb\xbf"
		 "a: b",
		 "{\"a\":\"b\"}"},
		{"? a\n: b", "{\"a\":\"b\"}"},
		{"'1': a\n'': b\n", "{\"1\":\"a\",\"\":\"b\"}"},
		{"a: b\r\nc: d\r\n", "{\"a\":\"b\",\"c\":\"d\"}"},
	};

	check(cases);
}

Test(yaml, anchors_and_merge_keys_are_resolved)
{
	static const struct value_case cases[] = {
		{"{a: &x [1, 2], b: *x}", "{\"a\":[1,2],\"b\":[1,2]}"},
		{"{a: &x y, *x : z}", "{\"a\":\"y\",\"y\":\"z\"}"},
		{"[&a 1, *a, &a 2, *a]", "[1,1,2,2]"},
		{"&r {a: &b c, d: *b}", "{\"a\":\"c\",\"d\":\"c\"}"},
		{"a: &x {p: 1, q: 2}\nb: {<<: *x, q: 3}\nc: {q: 4, <<: *x}",
		 "{\"a\":{\"p\":1,\"q\":2},\"b\":{\"q\":3,\"p\":1},\"c\":{\"q\":4,\"p\":1}}"},
		{"- &x {p: 1}\n- &y {p: 2, q: 3}\n- {<<: [*x, *y], r: 4}",
		 "[{\"p\":1},{\"p\":2,\"q\":3},{\"r\":4,\"p\":1,\"q\":3}]"},
		{"{<<: {a: 1}, b: 2}", "{\"b\":2,\"a\":1}"},
		{"{<<: [], b: 2}", "{\"b\":2}"},
		{"{'<<': 1}", "{\"<<\":1}"},
	};

	check(cases);
}

Test(yaml, utf_16_is_read)
{
	struct parsed p;

	parse_bytes((struct sl_str){"\xff\xfe"
				    "a\0:\0 \0\xe4\0",
				    10},
		    &p);
	cr_assert_eq(p.r, 0, "%s", p.err.message);
	cr_expect_str_eq(json_string_value(json_object_get(sl_yaml_doc_root(p.doc), "a")),
			 "\xc3\xa4");
	parsed_free(&p);
}

Test(yaml, errors_name_line_and_cause)
{
	static const struct {
		const char *yaml;
		uint32_t line;
		const char *message;
	} cases[] = {
		{"a: b\na: c", 2, "key \"a\" appears twice"},
		{"{a: 1, 'a': 2}", 1, "key \"a\" appears twice"},
		{"x: &x {}\ny:\n  <<: *x\n  <<: *x", 4, "key \"<<\" appears twice"},
		{"a: 1\n80: b", 2, "a key must be text: put it in quotes"},
		{"true: b", 1, "a key must be text"},
		{"null: b", 1, "a key must be text"},
		{": b", 1, "did not find expected key"},
		{"? [a]\n: b", 1, "a key must be text, not a list"},
		{"? {a: b}\n: c", 1, "a key must be text, not a list"},
		{"- &a [1]\n- *a : x", 2, "a key must be text"},
		{"a:\n\tb: c", 2, "a tab is used for indentation"},
		{"a:\n  b: 1\n  \tc: 2", 3, "a tab is used for indentation"},
		{"a: *b", 1, "alias *b refers to no anchor"},
		{"a: &x [*x]", 1, "alias *x refers to what it is part of"},
		{"- &x 1\n- &x [*x]", 2, "alias *x refers to what it is part of"},
		{"a: {<<: 1}", 1, "the value of << must be a mapping"},
		{"a: {<<: [1]}", 1, "the value of << must be a mapping"},
		{"a: !ruby/object b", 1, "tag !ruby/object is not supported"},
		{"a: !!binary b", 1, "tag tag:yaml.org,2002:binary is not supported"},
		{"a: !!set {}", 1, "is not supported"},
		{"a: !!int b", 1, "the value is not what its tag"},
		{"a: !!bool 1", 1, "the value is not what its tag"},
		{"a: \"\\0\"", 1, "NUL characters"},
		{"a: b: c", 1, "mapping values are not allowed"},
		{"a:\n- b\nc", 3, "could not find expected ':'"},
		{"a: [b\nc: d", 2, "did not find expected ',' or ']'"},
		{"a: \"b", 1, "while scanning a quoted scalar"},
		{"a: b\n---\n- a\nb: c", 4, "did not find expected"},
		{"a: \xff\xfe", 1, "UTF-8"},
		{"a: \x01", 1, "control characters are not allowed"},
		{"a: @b", 1, "cannot start any token"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct parsed p;

		parse(cases[i].yaml, &p);
		while (p.r == 0) {
			p.doc = sl_yaml_doc_free(p.doc);
			p.r = sl_yaml_next(p.yaml, &p.doc, &p.err);
		}
		cr_expect_eq(p.r, SL_YAML_BAD, "%s", cases[i].yaml);
		cr_expect_eq(p.err.line, cases[i].line, "%s: line %u", cases[i].yaml, p.err.line);
		cr_expect(strstr(p.err.message, cases[i].message), "%s: %s", cases[i].yaml,
			  p.err.message);
		cr_expect_eq(sl_yaml_next(p.yaml, &p.doc, &p.err), SL_YAML_END,
			     "nothing comes after an error");
		cr_expect_null(p.doc);
		parsed_free(&p);
	}
}

static uint32_t line_at(const struct parsed *p, const char *key, size_t i)
{
	json_t *list = json_object_get(sl_yaml_doc_root(p->doc), key);

	return sl_yaml_doc_line(p->doc, json_is_array(list) ? json_array_get(list, i) : list);
}

Test(yaml, each_node_has_its_line)
{
	struct parsed p;
	json_t *foreign = json_string("x");

	parse("# a comment\n\na: text\nb:\n- 1\n- {c: d}\n-\n  - e\nf: |\n  long\n  text\ng: &g\n  "
	      "h: 1\ni: *g\nj: true\n",
	      &p);
	cr_assert_eq(p.r, 0);
	cr_expect_eq(sl_yaml_doc_line(p.doc, sl_yaml_doc_root(p.doc)), 3);
	cr_expect_eq(line_at(&p, "a", 0), 3);
	cr_expect_eq(sl_yaml_doc_line(p.doc, json_object_get(sl_yaml_doc_root(p.doc), "b")), 5);
	cr_expect_eq(line_at(&p, "b", 0), 5);
	cr_expect_eq(line_at(&p, "b", 1), 6);
	cr_expect_eq(line_at(&p, "b", 2), 8);
	cr_expect_eq(line_at(&p, "f", 0), 9);
	cr_expect_eq(line_at(&p, "g", 0), 12);
	cr_expect_eq(line_at(&p, "i", 0), 12, "an alias is where its anchor is");
	cr_expect_eq(line_at(&p, "j", 0), 0, "constants are shared, they have no line");
	cr_expect_eq(sl_yaml_doc_line(p.doc, foreign), 0);
	json_decref(foreign);
	parsed_free(&p);
}

Test(yaml, documents_come_one_by_one)
{
	static const char text[] =
		"---\n---\n# nothing\n---\na: 1\n---\n~\n---\n- b\n...\n---\nc\n";
	static const char *const expected[] = {"{\"a\":1}", "[\"b\"]", "\"c\""};
	struct sl_yaml_error err = {0};
	struct sl_yaml_doc *doc = NULL;
	struct sl_yaml *y = NULL;

	cr_assert_eq(sl_yaml_new(SL_STR(text), &y), 0);
	for (size_t i = 0; i < 3; i++) {
		char *json;

		cr_assert_eq(sl_yaml_next(y, &doc, &err), 0);
		json = json_dumps(sl_yaml_doc_root(doc), JSON_COMPACT | JSON_ENCODE_ANY);
		cr_expect_str_eq(json, expected[i]);
		free(json);
		doc = sl_yaml_doc_free(doc);
	}
	cr_expect_eq(sl_yaml_next(y, &doc, &err), SL_YAML_END);
	cr_expect_eq(sl_yaml_next(y, &doc, &err), SL_YAML_END);
	sl_yaml_free(y);
}

Test(yaml, nothing_is_no_document)
{
	static const char *const cases[] = {"", "\n\n", "# only\n", "---\n...\n",
					    "%YAML 1.1\n---\n"};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct parsed p;

		parse(cases[i], &p);
		cr_expect_eq(p.r, SL_YAML_END, "%s", cases[i]);
		parsed_free(&p);
	}
}

Test(yaml, anchors_end_with_their_document)
{
	struct parsed p;

	parse("a: &x 1\n---\nb: *x\n", &p);
	cr_assert_eq(p.r, 0);
	p.doc = sl_yaml_doc_free(p.doc);
	cr_expect_eq(sl_yaml_next(p.yaml, &p.doc, &p.err), SL_YAML_BAD);
	cr_expect_eq(p.err.line, 3);
	parsed_free(&p);
}

/* Levels of lists, each of ten aliases to the one before: 10^n items out of a few bytes. */
static void make_bomb(struct sl_buf *buf, int levels)
{
	cr_assert_eq(sl_buf_printf(buf, "a0: &a0 lol\n"), 0);
	for (int i = 1; i <= levels; i++) {
		cr_assert_eq(sl_buf_printf(buf, "a%d: &a%d [", i, i), 0);
		for (int k = 0; k < 10; k++)
			cr_assert_eq(sl_buf_printf(buf, "%s*a%d", k ? ", " : "", i - 1), 0);
		cr_assert_eq(sl_buf_printf(buf, "]\n"), 0);
	}
}

Test(yaml, an_expansion_bomb_is_refused)
{
	struct sl_buf buf = SL_BUF_INIT(0);
	struct parsed p;

	make_bomb(&buf, 3);
	parse_bytes(sl_buf_str(&buf), &p);
	cr_expect_eq(p.r, 0, "a thousand are fine: %s", p.err.message);
	parsed_free(&p);
	sl_buf_deinit(&buf);
	make_bomb(&buf, 9);
	parse_bytes(sl_buf_str(&buf), &p);
	cr_expect_eq(p.r, SL_YAML_BAD);
	cr_expect(strstr(p.err.message, "aliases make the file too large"), "%s", p.err.message);
	parsed_free(&p);
	sl_buf_deinit(&buf);
}

Test(yaml, one_long_text_repeated_is_an_expansion_too)
{
	struct sl_buf buf = SL_BUF_INIT(0);
	char *big = sl_calloc(1, 100001);
	struct parsed p;

	memset(big, 'x', 100000);
	cr_assert_eq(sl_buf_printf(&buf, "- &a %s\n", big), 0);
	for (int i = 0; i < 50; i++)
		cr_assert_eq(sl_buf_printf(&buf, "- *a\n"), 0);
	parse_bytes(sl_buf_str(&buf), &p);
	cr_expect_eq(p.r, SL_YAML_BAD);
	cr_expect(strstr(p.err.message, "too large"), "%s", p.err.message);
	cr_expect_eq(p.err.line, 43);
	parsed_free(&p);
	sl_buf_deinit(&buf);
	free(big);
}

Test(yaml, merging_does_not_get_around_the_limit)
{
	struct sl_buf buf = SL_BUF_INIT(0);
	struct parsed p;

	cr_assert_eq(sl_buf_printf(&buf, "- &a0 {k: 0123456789}\n"), 0);
	for (int i = 1; i < 40; i++)
		cr_assert_eq(sl_buf_printf(&buf, "- &a%d {x: *a%d, y: *a%d, <<: *a%d}\n", i, i - 1,
					   i - 1, i - 1),
			     0);
	parse_bytes(sl_buf_str(&buf), &p);
	cr_expect_eq(p.r, SL_YAML_BAD);
	cr_expect(strstr(p.err.message, "too large"), "%s", p.err.message);
	parsed_free(&p);
	sl_buf_deinit(&buf);
}

static int parse_nested(int depth, struct parsed *p)
{
	struct sl_buf buf = SL_BUF_INIT(0);

	for (int i = 0; i < depth; i++)
		cr_assert_eq(sl_buf_printf(&buf, "["), 0);
	for (int i = 0; i < depth; i++)
		cr_assert_eq(sl_buf_printf(&buf, "]"), 0);
	parse_bytes(sl_buf_str(&buf), p);
	sl_buf_deinit(&buf);
	return p->r;
}

Test(yaml, nesting_is_limited)
{
	struct parsed p;

	cr_expect_eq(parse_nested(128, &p), 0, "%s", p.err.message);
	parsed_free(&p);
	cr_expect_eq(parse_nested(129, &p), SL_YAML_BAD);
	cr_expect(strstr(p.err.message, "nested too deep"), "%s", p.err.message);
	parsed_free(&p);
}

Test(yaml, aliases_cannot_nest_deeper_than_that)
{
	struct sl_buf buf = SL_BUF_INIT(0);
	struct parsed p;

	cr_assert_eq(sl_buf_printf(&buf, "- &a0 []\n"), 0);
	for (int i = 1; i < 200; i++)
		cr_assert_eq(sl_buf_printf(&buf, "- &a%d [*a%d]\n", i, i - 1), 0);
	parse_bytes(sl_buf_str(&buf), &p);
	cr_expect_eq(p.r, SL_YAML_BAD);
	cr_expect(strstr(p.err.message, "nested too deep"), "%s", p.err.message);
	cr_expect_eq(p.err.line, 128);
	parsed_free(&p);
	sl_buf_deinit(&buf);
}

Test(yaml, each_allocation_may_fail)
{
	static const char text[] =
		"a: &x {b: 1, c: text}\nd: {<<: [*x, {e: f}], g: [1, 2]}\n---\nh: i\n";
	long n = 0;
	int r;

	json_set_alloc_funcs(sl_malloc, free);
	/* libyaml's own memory does not come from us: it reports -ENOMEM in its own way. */
	do {
		struct sl_yaml_doc *doc = NULL;
		struct sl_yaml *y = NULL;
		struct sl_yaml_error err;
		int n_docs = 0;

		sl_alloc_fail_after(n++);
		r = sl_yaml_new(SL_STR(text), &y);
		while (!r) {
			r = sl_yaml_next(y, &doc, &err);
			n_docs += !r;
			doc = sl_yaml_doc_free(doc);
		}
		sl_alloc_fail_after(-1);
		cr_assert(r == -ENOMEM || (r == SL_YAML_END && n_docs == 2), "%ld: %d", n, r);
		sl_yaml_free(y);
	} while (r != SL_YAML_END);
	cr_expect_gt(n, 20);
}
