/* SPDX-License-Identifier: Apache-2.0 */
#include "fixture.h"

#include <criterion/criterion.h>
#include <errno.h>
#include "base/buf.h"
#include "base/cleanup.h"
#include "resource/decode.h"

static void diags_print(const struct sl_diags *d)
{
	for (size_t i = 0; i < d->n; i++)
		fprintf(stderr, "%.*s: %.*s\n", SL_STR_ARG(d->items[i].field),
			SL_STR_ARG(d->items[i].message));
}

void model_add(struct sl_model *m, const char *json)
{
	struct sl_diags diags = SL_DIAGS_INIT;
	struct sl_decode_opts opts = {0};
	struct sl_object *o = NULL;
	struct sl_str key;
	json_error_t error;
	char *text = strdup(json);
	json_t *root;
	int r;

	cr_assert_not_null(text);
	for (char *p = text; *p; p++)
		*p = *p == '\'' ? '"' : *p;
	root = json_loads(text, 0, &error);
	cr_assert_not_null(root, "%s in %s", error.text, text);
	r = sl_decode_object(root, &opts, &diags, &o, &key);
	if (r)
		diags_print(&diags);
	cr_assert_eq(r, 0, "%d: %s", r, text);
	cr_assert_eq(sl_model_put(m, o), 0);
	sl_object_unref(o);
	sl_diags_deinit(&diags);
	json_decref(root);
	free(text);
}

struct sl_model *model_with_services(void)
{
	struct sl_model *m = NULL;

	cr_assert_eq(sl_model_new(&m), 0);
	model_add(
		m,
		"{'apiVersion':'v1','kind':'Service','metadata':{'name':'cart','namespace':'shop'},"
		"'spec':{'clusterIP':'10.96.0.1','ports':[{'port':80}]}}");
	model_add(m,
		  "{'apiVersion':'v1','kind':'Service','metadata':{'name':'v1','namespace':'shop'},"
		  "'spec':{'clusterIP':'10.96.0.11','ports':[{'port':80}]}}");
	return m;
}

void model_add_route(struct sl_model *m, const char *name, const char *rules)
{
	model_add_route_of(m, "HTTPRoute", name, rules);
}

void model_add_route_of(struct sl_model *m, const char *kind, const char *name, const char *rules)
{
	struct sl_buf text = SL_BUF_INIT(0);

	cr_assert_eq(
		sl_buf_printf(&text,
			      "{'apiVersion':'gateway.networking.k8s.io/v1','kind':'%s',"
			      "'metadata':{'name':'%s','namespace':'shop'},'spec':{'parentRefs':"
			      "[{'group':'','kind':'Service','name':'cart'}],'rules':%s}}",
			      kind, name, rules),
		0);
	cr_assert_eq(sl_buf_append(&text, "", 1), 0);
	model_add(m, sl_buf_ptr(&text));
	sl_buf_deinit(&text);
}

struct compiled compile_model(const struct sl_model *m)
{
	const struct sl_compile_opts opts = {.failure_policy = SL_FAIL_OPEN, .generation = 7};
	struct compiled c = {.arena = SL_ARENA_INIT(4096)};

	cr_assert_eq(sl_compile(m, &opts, &c.snap, &c.report), 0);
	cr_assert_eq(sl_match_scratch_new(&c.scratch), 0);
	return c;
}

void compiled_free(struct compiled *c)
{
	(void)sl_snapshot_unref(c->snap);
	(void)sl_compile_report_free(c->report);
	(void)sl_match_scratch_free(c->scratch);
	sl_arena_deinit(&c->arena);
}

static struct sl_str next_word(const char **text)
{
	struct sl_str word;

	*text += strspn(*text, " ");
	word = (struct sl_str){*text, strcspn(*text, " ")};
	*text += word.len;
	return word;
}

struct sl_request request_from(struct compiled *c, const char *text)
{
	struct sl_request req = {0};
	struct sl_str word;
	const char *mark;

	sl_arena_reset(&c->arena);
	req.method_text = next_word(&text);
	req.method = sl_method_from(req.method_text);
	req.path = req.target = next_word(&text);
	mark = memchr(req.path.ptr, '?', req.path.len);
	if (mark) {
		req.query = sl_str_skip(req.path, (size_t)(mark - req.path.ptr) + 1);
		req.path.len = (size_t)(mark - req.path.ptr);
	}
	while ((word = next_word(&text)).len) {
		size_t n = (size_t)((const char *)memchr(word.ptr, ':', word.len) - word.ptr);

		cr_assert_eq(sl_headers_append(&req.headers, &c->arena,
					       (struct sl_str){word.ptr, n},
					       sl_str_skip(word, n + 1)),
			     0);
	}
	return req;
}

const struct sl_frontend *cart_frontend(const struct compiled *c)
{
	const struct sl_frontend *f;
	struct sl_addr vip;

	cr_assert_eq(sl_addr_parse(SL_STR("10.96.0.1:80"), &vip), 0);
	f = sl_snapshot_frontend(c->snap, &vip);
	cr_assert_not_null(f);
	return f;
}

const struct sl_rule *match_request(struct compiled *c, const char *client, const char *request)
{
	struct sl_request req = request_from(c, request);
	const struct sl_route_table *table =
		sl_frontend_table(cart_frontend(c), sl_str_from(client));

	cr_assert_not_null(table, "no table for clients in %s", client);
	return sl_route_table_match(table, &req, req.path, c->scratch, &c->arena);
}

const struct sl_condition *find_condition(const struct compiled *c, const char *route,
					  const char *type)
{
	struct sl_pmap_iter it = sl_pmap_iterate(&c->report->routes);
	const struct sl_part *p;

	while ((p = sl_pmap_next(&it, NULL))) {
		const struct sl_route_status *rs = sl_route_status_of(p);

		if (!sl_str_eqc(rs->route->meta.name, route) || !rs->n_parents)
			continue;
		for (uint32_t j = 0; j < rs->parents[0].n_conditions; j++) {
			if (sl_str_eqc(rs->parents[0].conditions[j].type, type))
				return &rs->parents[0].conditions[j];
		}
	}
	return NULL;
}
